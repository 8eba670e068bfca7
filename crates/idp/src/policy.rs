//! What e-mail addresses, usernames and passwords must look like.

use base::Secret;

use crate::{
    login::SignUpError,
    model::{Connection, PasswordPolicy, User},
    password::MAX_PASSWORD,
};

/// The passwords that attackers try first, as far as they are long enough to pass otherwise. Compared in lower case.
const COMMON: &str = include_str!("common_passwords.txt");

/// Judges a user who is about to be made, with the password.
pub(crate) fn check_user(
    connection: &Connection,
    user: &User,
    password: &Secret<String>,
) -> Result<(), SignUpError> {
    match &user.email {
        Some(email) if is_email(email) => {}
        Some(_) => return Err(SignUpError::Email),
        None if connection.options.requires_username => {}
        None => return Err(SignUpError::Email),
    }
    match &user.username {
        Some(name) if !is_username(connection, name) => return Err(SignUpError::Username),
        None if connection.options.requires_username => return Err(SignUpError::Username),
        _ => {}
    }
    check_password(connection, user, password)
}

/// Judges a password that is about to be set.
pub(crate) fn check_password(
    connection: &Connection,
    user: &User,
    password: &Secret<String>,
) -> Result<(), SignUpError> {
    let options = &connection.options;
    let password = password.expose();
    let folded = password.to_lowercase();
    let mut broken = Vec::new();
    let minimum = minimum_length(connection);
    if password.chars().count() < minimum {
        broken.push(format!("at least {minimum} characters"));
    }
    if password.len() > MAX_PASSWORD {
        broken.push(format!("at most {MAX_PASSWORD} bytes"));
    }
    broken.extend(classes(options.password_policy, password));
    let checks_lists = options.password_policy != PasswordPolicy::None;
    let own = options.password_dictionary.enable.then_some(&options.password_dictionary.dictionary);
    let listed = own.into_iter().flatten().any(|word| word.to_lowercase() == folded);
    if listed || (checks_lists && COMMON.lines().any(|common| common == folded)) {
        broken.push("not one of the most common passwords".to_owned());
    }
    if options.password_no_personal_info.enable && personal(user).any(|word| folded.contains(&word)) {
        broken.push("no part of your name or e-mail address".to_owned());
    }
    if broken.is_empty() { Ok(()) } else { Err(SignUpError::WeakPassword(broken)) }
}

fn minimum_length(connection: &Connection) -> usize {
    let default = match connection.options.password_policy {
        PasswordPolicy::None => 1,
        PasswordPolicy::Low => 6,
        PasswordPolicy::Fair | PasswordPolicy::Good => 8,
        PasswordPolicy::Excellent => 10,
    };
    connection.options.password_complexity_options.min_length.map_or(default, |length| length.clamp(1, 128))
}

fn classes(policy: PasswordPolicy, password: &str) -> Option<String> {
    let lower = password.chars().any(char::is_lowercase);
    let upper = password.chars().any(char::is_uppercase);
    let digit = password.chars().any(|c| c.is_ascii_digit());
    let special = password.chars().any(|c| !c.is_alphanumeric());
    let three = [lower, upper, digit, special].into_iter().filter(|has| *has).count() >= 3;
    let (met, rule) = match policy {
        PasswordPolicy::None | PasswordPolicy::Low => return None,
        PasswordPolicy::Fair => (lower && upper && digit, "lower case, upper case and digits"),
        PasswordPolicy::Good => (three, "three of lower case, upper case, digits and special characters"),
        PasswordPolicy::Excellent => (
            three && !repeats(password),
            "three of lower case, upper case, digits and special characters, and no character three times in a row",
        ),
    };
    (!met).then(|| rule.to_owned())
}

fn repeats(password: &str) -> bool {
    let characters: Vec<char> = password.chars().collect();
    characters.windows(3).any(|three| matches!(three, [a, b, c] if a == b && b == c))
}

/// Words of at least four characters: shorter ones are in everything.
fn personal(user: &User) -> impl Iterator<Item = String> + '_ {
    let local = user.email.as_deref().and_then(|email| email.split('@').next());
    let fields = [local, user.username.as_deref(), user.name.as_deref(), user.nickname.as_deref()];
    let names = [user.given_name.as_deref(), user.family_name.as_deref()];
    fields
        .into_iter()
        .chain(names)
        .flatten()
        .flat_map(|field| field.split(|c: char| !c.is_alphanumeric()))
        .filter(|word| word.chars().count() >= 4)
        .map(str::to_lowercase)
}

/// Something before and after one `@`, a dot or `localhost` after it, nothing that ends a header or a line, and nothing that
/// looks like another address or cannot be seen.
pub(crate) fn is_email(email: &str) -> bool {
    let Some((local, domain)) = email.rsplit_once('@') else { return false };
    let clean = |c: char| match c.is_ascii() {
        true => c.is_ascii_graphic() && !matches!(c, '<' | '>' | ',' | ';' | '"' | '@' | '\\'),
        false => c.is_alphanumeric(),
    };
    email.len() <= 320
        && !local.is_empty()
        && local.len() <= 64
        && email.replacen('@', "", 1).chars().all(clean)
        && (domain == "localhost" || domain.split('.').count() > 1)
        && domain.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.chars().all(|c| c.is_alphanumeric() || c == '-')
        })
}

pub(crate) fn is_username(connection: &Connection, name: &str) -> bool {
    let lengths = connection.options.validation.username;
    let (min, max) = lengths.map_or((1, 15), |lengths| (lengths.min, lengths.max.min(128)));
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_+-.!#$^`~@'".contains(c);
    (min..=max).contains(&name.chars().count()) && name.chars().all(allowed) && !is_email(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(policy: PasswordPolicy, password: &str) -> bool {
        let mut connection = Connection::default();
        connection.options.password_policy = policy;
        connection.options.password_no_personal_info.enable = true;
        let user = User { email: Some("margaret@example.com".to_owned()), ..User::default() };
        check_password(&connection, &user, &Secret::new(password.to_owned())).is_ok()
    }

    #[test]
    fn o52_each_policy_asks_for_what_it_says() {
        assert!(judge(PasswordPolicy::None, "x"));
        assert!(!judge(PasswordPolicy::Low, "xyzzy"));
        assert!(judge(PasswordPolicy::Fair, "Xyzzy987"));
        assert!(!judge(PasswordPolicy::Fair, "xyzzy987"));
        assert!(judge(PasswordPolicy::Good, "xyzzy-987"));
        assert!(!judge(PasswordPolicy::Good, "xyzzyxyzzy"));
        assert!(judge(PasswordPolicy::Excellent, "Xyzzy-9876"));
        assert!(!judge(PasswordPolicy::Excellent, "Xyzzzy-9876"));
    }

    #[test]
    fn o52_long_unicode_and_blank_led_passwords_are_fine_and_common_ones_are_not() {
        assert!(judge(PasswordPolicy::Good, &"Aa1 ".repeat(20)));
        assert!(judge(PasswordPolicy::Good, " Größe und 1 Maß"));
        assert!(!judge(PasswordPolicy::Good, "Password1"));
        assert!(!judge(PasswordPolicy::Good, "P@ssw0rd"));
        assert!(!judge(PasswordPolicy::Good, "Margaret-1959"));
    }

    #[test]
    fn addresses_that_could_break_a_mail_are_refused() {
        for good in ["a@b.example", "a+b@sub.example.org", "demo@localhost", "ä@exämple.org"] {
            assert!(is_email(good), "{good}");
        }
        for bad in
            ["", "a", "@b.c", "a@", "a@b", "a@b..c", "a b@c.d", "a@b.c\r\nBcc: x@y.z", "a@b@c.d", "<a@b.c>"]
        {
            assert!(!is_email(bad), "{bad:?}");
        }
        for bad in ["\u{202e}a@b.c", "a\u{200b}@b.c", "a\u{ad}@b.c", "a\u{feff}@b.c", "a\u{2028}@b.c"] {
            assert!(!is_email(bad), "{bad:?}");
        }
    }
}
