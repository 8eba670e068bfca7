//! The languages of pages. Templates and handlers say everything in English; here it is said in the others.

/// A language that pages can be in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Language {
    /// What everything is written in first.
    #[default]
    English,
    /// `de`
    German,
    /// `fr`
    French,
    /// `es`
    Spanish,
}

/// Languages of one header or parameter that are looked at.
const MAX_ASKED: usize = 20;

impl Language {
    const ALL: [Self; 4] = [Self::English, Self::German, Self::French, Self::Spanish];

    /// The tag of `lang` (BCP 47).
    pub(crate) const fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
            Self::French => "fr",
            Self::Spanish => "es",
        }
    }

    /// The language of a tag, whatever region and script it names.
    pub(crate) fn of(tag: &str) -> Option<Self> {
        let primary = tag.split(['-', '_']).next().unwrap_or_default();
        Self::ALL.into_iter().find(|language| language.tag().eq_ignore_ascii_case(primary))
    }

    /// The first that `ui_locales` names (OpenID Connect Core 3.1.2.1) and that is `enabled`.
    pub(crate) fn asked(ui_locales: &str, enabled: &[Self]) -> Option<Self> {
        let mut asked = ui_locales.split(' ').take(MAX_ASKED).filter_map(Self::of);
        asked.find(|language| enabled.contains(language))
    }

    /// The one that a browser likes best (RFC 9110 section 12.5.4) of those `enabled`; the first of them where it likes
    /// none.
    pub(crate) fn liked(accept_language: &str, enabled: &[Self]) -> Self {
        let mut best: Option<(f32, Self)> = None;
        for range in accept_language.split(',').take(MAX_ASKED) {
            let mut parts = range.split(';').map(str::trim);
            let language = parts.next().and_then(Self::of);
            let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |q| q.parse().ok());
            let (Some(language), Some(weight)) = (language, weight) else { continue };
            let better = weight > best.map_or(0.0, |(known, _)| known);
            if better && enabled.contains(&language) {
                best = Some((weight, language));
            }
        }
        best.map(|(_, language)| language).or(enabled.first().copied()).unwrap_or_default()
    }

    /// `text` in this language, where it is known; as it is where it is not.
    pub(crate) fn say(self, text: &str) -> &str {
        let said = WORDS.iter().find(|(english, _)| *english == text).map(|(_, others)| others);
        match (self, said) {
            (Self::German, Some([said, _, _]))
            | (Self::French, Some([_, said, _]))
            | (Self::Spanish, Some([_, _, said])) => said,
            _ => text,
        }
    }
}

/// English, then German, French and Spanish.
const WORDS: &[(&str, [&str; 3])] = &[
    ("Log in", ["Anmelden", "Se connecter", "Iniciar sesión"]),
    ("to continue to", ["weiter zu", "pour continuer vers", "para continuar a"]),
    ("Email address", ["E-Mail-Adresse", "Adresse e-mail", "Correo electrónico"]),
    (
        "Email address or user name",
        [
            "E-Mail-Adresse oder Benutzername",
            "Adresse e-mail ou nom d’utilisateur",
            "Correo electrónico o nombre de usuario",
        ],
    ),
    ("User name", ["Benutzername", "Nom d’utilisateur", "Nombre de usuario"]),
    ("Password", ["Passwort", "Mot de passe", "Contraseña"]),
    ("Continue", ["Weiter", "Continuer", "Continuar"]),
    ("Cancel", ["Abbrechen", "Annuler", "Cancelar"]),
    (
        "Forgot your password?",
        ["Passwort vergessen?", "Mot de passe oublié ?", "¿Ha olvidado su contraseña?"],
    ),
    ("No account yet?", ["Noch kein Konto?", "Pas encore de compte ?", "¿Aún no tiene cuenta?"]),
    ("Sign up", ["Registrieren", "S’inscrire", "Registrarse"]),
    ("Privacy policy", ["Datenschutzerklärung", "Politique de confidentialité", "Política de privacidad"]),
    ("Terms of service", ["Nutzungsbedingungen", "Conditions d’utilisation", "Condiciones del servicio"]),
    ("Already have an account?", ["Schon ein Konto?", "Déjà un compte ?", "¿Ya tiene una cuenta?"]),
    ("Authorize", ["Zugriff erlauben", "Autoriser", "Autorizar"]),
    ("Authorize access", ["Zugriff erlauben", "Autoriser l’accès", "Autorizar el acceso"]),
    (
        "asks for access to your account",
        ["bittet um Zugriff auf Ihr Konto", "demande l’accès à votre compte", "pide acceso a su cuenta"],
    ),
    ("It would be able to:", ["Die Anwendung könnte dann:", "Elle pourrait alors :", "Podría entonces:"]),
    ("at", ["bei", "auprès de", "en"]),
    (
        "and exactly this, of the kind",
        ["und genau dies, von der Art", "et exactement ceci, du type", "y exactamente esto, del tipo"],
    ),
    (
        "Go on only if it shows you the same:",
        [
            "Fahren Sie nur fort, wenn Ihnen die Anwendung dasselbe zeigt:",
            "Ne continuez que si l’application affiche la même chose :",
            "Continúe solo si la aplicación le muestra lo mismo:",
        ],
    ),
    ("Decline", ["Ablehnen", "Refuser", "Rechazar"]),
    ("Accept", ["Zustimmen", "Accepter", "Aceptar"]),
    ("Know who you are", ["Wissen, wer Sie sind", "Savoir qui vous êtes", "Saber quién es usted"]),
    (
        "See your name and picture",
        ["Ihren Namen und Ihr Bild sehen", "Voir votre nom et votre photo", "Ver su nombre y su foto"],
    ),
    (
        "See your e-mail address",
        ["Ihre E-Mail-Adresse sehen", "Voir votre adresse e-mail", "Ver su correo electrónico"],
    ),
    (
        "See your postal address",
        ["Ihre Postanschrift sehen", "Voir votre adresse postale", "Ver su dirección postal"],
    ),
    (
        "See your phone number",
        ["Ihre Telefonnummer sehen", "Voir votre numéro de téléphone", "Ver su número de teléfono"],
    ),
    ("See your name", ["Ihren Namen sehen", "Voir votre nom", "Ver su nombre"]),
    ("See your picture", ["Ihr Bild sehen", "Voir votre photo", "Ver su foto"]),
    (
        "See your date of birth",
        ["Ihr Geburtsdatum sehen", "Voir votre date de naissance", "Ver su fecha de nacimiento"],
    ),
    (
        "Stay connected when you are away",
        [
            "Verbunden bleiben, wenn Sie nicht da sind",
            "Rester connectée en votre absence",
            "Seguir conectada cuando usted no está",
        ],
    ),
    ("Connect a device", ["Gerät verbinden", "Connecter un appareil", "Conectar un dispositivo"]),
    (
        "Type the code that your device shows. Go on only if you have started this yourself.",
        [
            "Geben Sie den Code ein, den Ihr Gerät zeigt. Fahren Sie nur fort, wenn Sie dies selbst begonnen haben.",
            "Saisissez le code affiché par votre appareil. Ne continuez que si vous avez commencé ceci vous-même.",
            "Escriba el código que muestra su dispositivo. Continúe solo si lo ha iniciado usted.",
        ],
    ),
    ("Code", ["Code", "Code", "Código"]),
    ("Log out", ["Abmelden", "Se déconnecter", "Cerrar sesión"]),
    (
        "Do you want to log out?",
        ["Möchten Sie sich abmelden?", "Voulez-vous vous déconnecter ?", "¿Quiere cerrar la sesión?"],
    ),
    (
        "If there is an account with this address, we have sent it a mail with a link to choose a new password.",
        [
            "Wenn es ein Konto mit dieser Adresse gibt, haben wir eine E-Mail mit einem Link für ein neues Passwort dorthin geschickt.",
            "S’il existe un compte avec cette adresse, nous lui avons envoyé un e-mail avec un lien pour choisir un nouveau mot de passe.",
            "Si hay una cuenta con esta dirección, le hemos enviado un correo con un enlace para elegir una contraseña nueva.",
        ],
    ),
    (
        "Enter your email address, and we will send you a link to choose a new one.",
        [
            "Geben Sie Ihre E-Mail-Adresse ein, und wir schicken Ihnen einen Link für ein neues.",
            "Saisissez votre adresse e-mail et nous vous enverrons un lien pour en choisir un nouveau.",
            "Escriba su correo electrónico y le enviaremos un enlace para elegir una nueva.",
        ],
    ),
    ("Back to login", ["Zurück zur Anmeldung", "Retour à la connexion", "Volver al inicio de sesión"]),
    (
        "Choose a new password",
        ["Neues Passwort wählen", "Choisir un nouveau mot de passe", "Elegir una contraseña nueva"],
    ),
    ("for", ["für", "pour", "para"]),
    ("New password", ["Neues Passwort", "Nouveau mot de passe", "Contraseña nueva"]),
    ("The same again", ["Noch einmal dasselbe", "Le même encore une fois", "La misma otra vez"]),
    ("Done", ["Fertig", "Terminé", "Listo"]),
    ("You are done", ["Fertig", "C’est terminé", "Ya está"]),
    (
        "Your device or application goes on by itself. You can close this page.",
        [
            "Ihr Gerät oder Ihre Anwendung macht von selbst weiter. Sie können diese Seite schließen.",
            "Votre appareil ou votre application continue d’elle-même. Vous pouvez fermer cette page.",
            "Su dispositivo o aplicación continúa por sí sola. Puede cerrar esta página.",
        ],
    ),
    ("Access was declined", ["Der Zugriff wurde abgelehnt", "L’accès a été refusé", "Se rechazó el acceso"]),
    (
        "Nothing was connected. You can close this page.",
        [
            "Es wurde nichts verbunden. Sie können diese Seite schließen.",
            "Rien n’a été connecté. Vous pouvez fermer cette page.",
            "No se conectó nada. Puede cerrar esta página.",
        ],
    ),
    ("Logged out", ["Abgemeldet", "Déconnexion", "Sesión cerrada"]),
    ("You are logged out", ["Sie sind abgemeldet", "Vous êtes déconnecté", "Ha cerrado la sesión"]),
    (
        "You may close this page.",
        ["Sie können diese Seite schließen.", "Vous pouvez fermer cette page.", "Puede cerrar esta página."],
    ),
    (
        "You can close this window.",
        [
            "Sie können dieses Fenster schließen.",
            "Vous pouvez fermer cette fenêtre.",
            "Puede cerrar esta ventana.",
        ],
    ),
    (
        "You are on your way back to the application.",
        [
            "Sie sind auf dem Weg zurück zur Anwendung.",
            "Vous retournez vers l’application.",
            "Está volviendo a la aplicación.",
        ],
    ),
    ("Something went wrong", ["Etwas ist schiefgegangen", "Un problème est survenu", "Algo ha fallado"]),
    ("Get help", ["Hilfe erhalten", "Obtenir de l’aide", "Obtener ayuda"]),
    (
        "Wrong email or password.",
        [
            "E-Mail-Adresse oder Passwort ist falsch.",
            "Adresse e-mail ou mot de passe incorrect.",
            "Correo electrónico o contraseña incorrectos.",
        ],
    ),
    (
        "Too many failed logins. Please wait a while before you try again.",
        [
            "Zu viele fehlgeschlagene Anmeldungen. Bitte warten Sie eine Weile, bevor Sie es wieder versuchen.",
            "Trop de connexions échouées. Veuillez patienter avant de réessayer.",
            "Demasiados intentos fallidos. Espere un rato antes de volver a intentarlo.",
        ],
    ),
    (
        "This user is blocked.",
        ["Dieser Benutzer ist gesperrt.", "Cet utilisateur est bloqué.", "Este usuario está bloqueado."],
    ),
    (
        "Nobody can sign up here.",
        [
            "Hier kann sich niemand registrieren.",
            "Personne ne peut s’inscrire ici.",
            "Aquí nadie puede registrarse.",
        ],
    ),
    (
        "This login has expired, was finished already, or began in another browser. Go back to the application and try again.",
        [
            "Diese Anmeldung ist abgelaufen, schon beendet, oder begann in einem anderen Browser. Gehen Sie zurück zur Anwendung und versuchen Sie es noch einmal.",
            "Cette connexion a expiré, est déjà terminée ou a commencé dans un autre navigateur. Retournez à l’application et réessayez.",
            "Este inicio de sesión ha caducado, ya terminó o empezó en otro navegador. Vuelva a la aplicación e inténtelo de nuevo.",
        ],
    ),
    (
        "This code is wrong, has expired or was used already. After several wrong codes, wait a while.",
        [
            "Dieser Code ist falsch, abgelaufen oder schon benutzt. Warten Sie nach mehreren falschen Codes eine Weile.",
            "Ce code est incorrect, a expiré ou a déjà été utilisé. Après plusieurs codes incorrects, patientez.",
            "Este código es incorrecto, ha caducado o ya se usó. Tras varios códigos incorrectos, espere un rato.",
        ],
    ),
    (
        "The two passwords are not the same.",
        [
            "Die beiden Passwörter sind nicht gleich.",
            "Les deux mots de passe ne sont pas identiques.",
            "Las dos contraseñas no son iguales.",
        ],
    ),
    (
        "This link was used already, was replaced by a newer one, or has expired. Ask for another one.",
        [
            "Dieser Link wurde schon benutzt, durch einen neueren ersetzt oder ist abgelaufen. Fordern Sie einen anderen an.",
            "Ce lien a déjà été utilisé, a été remplacé ou a expiré. Demandez-en un autre.",
            "Este enlace ya se usó, fue sustituido por otro o ha caducado. Pida otro.",
        ],
    ),
    (
        "Email verified",
        ["E-Mail-Adresse bestätigt", "Adresse e-mail vérifiée", "Correo electrónico verificado"],
    ),
    (
        "Your address is confirmed. You may close this page.",
        [
            "Ihre Adresse ist bestätigt. Sie können diese Seite schließen.",
            "Votre adresse est confirmée. Vous pouvez fermer cette page.",
            "Su dirección está confirmada. Puede cerrar esta página.",
        ],
    ),
    ("Password changed", ["Passwort geändert", "Mot de passe modifié", "Contraseña cambiada"]),
    (
        "You can log in with your new password. Go back to the application to do so.",
        [
            "Sie können sich mit Ihrem neuen Passwort anmelden. Gehen Sie dazu zurück zur Anwendung.",
            "Vous pouvez vous connecter avec votre nouveau mot de passe. Retournez pour cela à l’application.",
            "Puede iniciar sesión con su contraseña nueva. Vuelva para ello a la aplicación.",
        ],
    ),
    (
        "Enter a valid e-mail address.",
        [
            "Geben Sie eine gültige E-Mail-Adresse ein.",
            "Saisissez une adresse e-mail valide.",
            "Escriba un correo electrónico válido.",
        ],
    ),
    (
        "Enter a valid username.",
        [
            "Geben Sie einen gültigen Benutzernamen ein.",
            "Saisissez un nom d’utilisateur valide.",
            "Escriba un nombre de usuario válido.",
        ],
    ),
    (
        "You have used this password before. Choose another one.",
        [
            "Sie haben dieses Passwort schon benutzt. Wählen Sie ein anderes.",
            "Vous avez déjà utilisé ce mot de passe. Choisissez-en un autre.",
            "Ya ha usado esta contraseña. Elija otra.",
        ],
    ),
    (
        "This user already exists.",
        ["Diesen Benutzer gibt es schon.", "Cet utilisateur existe déjà.", "Este usuario ya existe."],
    ),
    (
        "Something went wrong. Try another address, or log in.",
        [
            "Etwas ist schiefgegangen. Versuchen Sie eine andere Adresse, oder melden Sie sich an.",
            "Un problème est survenu. Essayez une autre adresse ou connectez-vous.",
            "Algo ha fallado. Pruebe con otra dirección o inicie sesión.",
        ],
    ),
    (
        "There is no such page.",
        ["Diese Seite gibt es nicht.", "Cette page n’existe pas.", "Esta página no existe."],
    ),
    (
        "We could not do this. Please try again in a moment.",
        [
            "Das ging gerade nicht. Bitte versuchen Sie es gleich noch einmal.",
            "Nous n’avons pas pu faire cela. Veuillez réessayer dans un instant.",
            "No hemos podido hacerlo. Inténtelo de nuevo en un momento.",
        ],
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const BOTH: [Language; 2] = [Language::English, Language::German];

    #[test]
    fn a_request_names_its_languages_in_order() {
        assert_eq!(Language::asked("fr-CA de-CH en", &BOTH), Some(Language::German));
        assert_eq!(Language::asked("DE", &BOTH), Some(Language::German));
        for none in ["", " ", "fr", "pl tlh", "deu", "d", &"x ".repeat(20_000)] {
            assert_eq!(Language::asked(none, &BOTH), None);
        }
    }

    #[test]
    fn a_browser_weighs_its_languages() {
        for (header, expected) in [
            ("de-CH, de;q=0.9, en;q=0.8", Language::German),
            ("en;q=0.2, de;q=0.9", Language::German),
            ("fr, de;q=0.1", Language::German),
            ("de;q=0", Language::English),
            ("de;q=x", Language::English),
            ("*", Language::English),
            ("", Language::English),
            ("de;q=0.5, en;q=0.5", Language::German),
        ] {
            assert_eq!(Language::liked(header, &BOTH), expected, "{header}");
        }
        assert_eq!(Language::liked("en", &[Language::French]), Language::French);
        assert_eq!(Language::liked("de", &[]), Language::English);
    }

    #[test]
    fn every_text_of_the_templates_is_known_once_in_all_languages() {
        let known: BTreeSet<&str> = WORDS.iter().map(|(english, _)| *english).collect();
        assert_eq!(known.len(), WORDS.len());
        let texts = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/templates")).unwrap();
        let mut said = 0;
        for file in texts {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            for piece in text.split("{{ \"").skip(1) {
                let (english, rest) = piece.split_once('"').unwrap();
                if rest.starts_with("|say") {
                    assert!(known.contains(english), "{english}");
                    said += 1;
                }
            }
        }
        assert!(said > 40, "{said}");
        for (_, others) in WORDS {
            assert!(others.iter().all(|text| !text.is_empty()));
        }
        // What administrators may enable is what there is.
        for tag in idp::model::LOCALES {
            assert_eq!(Language::of(tag).map(Language::tag), Some(tag));
        }
    }
}
