use std::time::Duration;

use aws_lc_rs::digest;
use base::{Random, Secret, UnixMillis, same_bytes};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::HeaderValue;

use super::{Cookies, Jar, LoginCookies, Mark, SEALED, SessionSpan, jar::header};

/// How long a user may take at the provider at most.
pub const LOGIN_LIFETIME: Duration = Duration::from_secs(3600);
/// Logins that may be under way in one browser at most.
pub const MAX_LOGINS: usize = 50;
/// Bytes that their cookies may have together. A browser that comes with more than a request's head may hold could do
/// nothing any more until they expire.
const MAX_BYTES: usize = 16 * 1024;
/// Between the session cookie's name and the `state`.
pub(super) const INFIX: &str = "_state_";
/// A longer address is not returned to: its cookie would not fit.
const MAX_RETURN: usize = 2048;

/// A login that is under way: what must be known when the provider sends the browser back. It travels in a sealed
/// cookie of its own, named by its `state`, so that many tabs can log in at once and the gate keeps nothing.
#[derive(Clone, Debug)]
pub struct Login {
    /// The `state` of the authorization request: 128 random bits in hexadecimal.
    pub state: String,
    /// Nonce and PKCE verifier are derived from it.
    secret: Secret<[u8; 32]>,
    /// When it began.
    pub created: UnixMillis,
    /// How often it was begun again after a failure that a new try may cure.
    pub restarts: u8,
    /// Address of the page first asked for: absolute, of the gate's own making.
    pub return_to: String,
    /// First bytes of the SHA-256 of the redirect URI: a login ends where it was meant to.
    redirect: [u8; 8],
    /// The session that it asks the provider about, without a page; `None`: the user is asked.
    pub continues: Option<Continued>,
}

/// A session whose user may still be logged in at the provider, as the next request after a while asks (`prompt=none`,
/// OIDC Core 3.1.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Continued {
    /// The session.
    pub span: SessionSpan,
    /// Mark of its user.
    pub subject: Mark,
}

/// What is known of a `state`.
#[derive(Debug)]
pub enum Recalled {
    /// This browser began the login, and not too long ago.
    Current(Login),
    /// This browser began it, but too long ago.
    Expired(Login),
    /// Nothing: another browser's, another client's, made up, or finished.
    Unknown,
}

impl Login {
    /// A new login that returns to `return_to`. Where that is too long for a cookie, it returns to `/` of the same
    /// origin.
    pub fn begin(
        random: &Random,
        now: UnixMillis,
        origin: &str,
        path_and_query: &str,
        redirect_uri: &str,
    ) -> Self {
        let path = if origin.len() + path_and_query.len() > MAX_RETURN { "/" } else { path_and_query };
        Self {
            state: random.hex(16),
            secret: Secret::new(random.bytes()),
            created: now,
            restarts: 0,
            return_to: format!("{origin}{path}"),
            redirect: redirect_digest(redirect_uri),
            continues: None,
        }
    }

    /// The same login, which asks the provider about a session.
    pub fn continuing(self, continues: Option<Continued>) -> Self {
        Self { continues, ..self }
    }

    /// The same login begun again: a new `state`, nonce and verifier. The user is asked.
    pub fn again(&self, random: &Random, now: UnixMillis) -> Self {
        Self {
            state: random.hex(16),
            secret: Secret::new(random.bytes()),
            created: now,
            restarts: self.restarts.saturating_add(1),
            return_to: self.return_to.clone(),
            redirect: self.redirect,
            continues: None,
        }
    }

    /// The `nonce` of the authorization request (OIDC Core 3.1.2.1).
    pub fn nonce(&self) -> String {
        self.derive(b"nonce")
    }

    /// The PKCE verifier: 43 characters (RFC 7636 section 4.1).
    pub fn verifier(&self) -> String {
        self.derive(b"pkce")
    }

    fn derive(&self, purpose: &[u8]) -> String {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(purpose);
        context.update(self.secret.expose());
        URL_SAFE_NO_PAD.encode(context.finish())
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.return_to.len());
        out.extend_from_slice(&self.created.0.to_be_bytes());
        out.push(self.restarts);
        out.extend_from_slice(&self.redirect);
        out.extend_from_slice(self.secret.expose());
        out.push(u8::from(self.continues.is_some()));
        if let Some(Continued { span, subject }) = &self.continues {
            out.extend_from_slice(&span.id);
            out.extend_from_slice(&span.created.0.to_be_bytes());
            out.extend_from_slice(&span.ends.0.to_be_bytes());
            out.extend_from_slice(&subject.0);
        }
        out.extend_from_slice(self.return_to.as_bytes());
        out
    }

    fn decode(state: &str, bytes: &[u8]) -> Option<Self> {
        let (created, rest) = bytes.split_first_chunk::<8>()?;
        let (restarts, rest) = rest.split_first()?;
        let (redirect, rest) = rest.split_first_chunk::<8>()?;
        let (secret, rest) = rest.split_first_chunk::<32>()?;
        let (continues, rest) = match rest.split_first()? {
            (0, rest) => (None, rest),
            (_, rest) => Continued::decode(rest).map(|(continued, rest)| (Some(continued), rest))?,
        };
        Some(Self {
            state: state.to_owned(),
            secret: Secret::new(*secret),
            created: UnixMillis(i64::from_be_bytes(*created)),
            restarts: *restarts,
            return_to: std::str::from_utf8(rest).ok()?.to_owned(),
            redirect: *redirect,
            continues,
        })
    }
}

impl Continued {
    fn decode(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (id, rest) = bytes.split_first_chunk::<16>()?;
        let (created, rest) = rest.split_first_chunk::<8>()?;
        let (ends, rest) = rest.split_first_chunk::<8>()?;
        let (subject, rest) = rest.split_first_chunk::<16>()?;
        let moment = |raw: &[u8; 8]| UnixMillis(i64::from_be_bytes(*raw));
        let span = SessionSpan { id: *id, created: moment(created), ends: moment(ends) };
        Some((Self { span, subject: Mark(*subject) }, rest))
    }
}

impl Jar {
    /// `Set-Cookie` values that make the browser remember `login`, and forget what is expired, not ours, or too much.
    pub fn remember(&self, login: &Login, cookies: &Cookies<'_>, https: bool) -> Vec<HeaderValue> {
        let name = format!("{}{INFIX}{}", self.name(https), login.state);
        let sealed = self.keys.seal(&self.random, &login.encode(), login.state.as_bytes());
        let LoginCookies { lifetime, most, .. } = self.settings.logins;
        let (value, age) = (URL_SAFE_NO_PAD.encode(sealed), lifetime.as_secs());
        let attributes = self.login_attributes(https);
        let mut out = vec![header(&format!("{name}={SEALED}{value}; Max-Age={age}{attributes}"))];
        // What does not open sorts first.
        let mut others: Vec<(Option<UnixMillis>, &str, usize)> = self
            .logins(cookies, https)
            .map(|(state, value)| {
                let created = self.open_login(state, value).map(|login| login.created);
                (created, state, name.len() + value.len() + 3)
            })
            .collect();
        others.sort_unstable();
        others.dedup();
        let mut room = MAX_BYTES.saturating_sub(out.iter().map(HeaderValue::len).sum());
        // The newest stay, as many as there is room for.
        for (kept, (created, state, bytes)) in others.into_iter().rev().enumerate() {
            let lives = created.is_some_and(|created| login.created.since(created) < lifetime);
            if lives && kept + 1 < most && bytes <= room {
                room -= bytes;
            } else {
                room = if lives { 0 } else { room };
                out.push(self.forget(state, https));
            }
        }
        out
    }

    /// What this browser knows of `state`, which it must have begun for `redirect_uri`.
    pub fn recall(
        &self,
        state: &str,
        redirect_uri: &str,
        cookies: &Cookies<'_>,
        https: bool,
        now: UnixMillis,
    ) -> Recalled {
        let ours = |login: &Login| same_bytes(&login.redirect, &redirect_digest(redirect_uri));
        let login = self
            .logins(cookies, https)
            .filter(|(have, _)| *have == state)
            .take(4)
            .find_map(|(state, value)| self.open_login(state, value).filter(ours));
        match login {
            None => Recalled::Unknown,
            Some(login) if now.since(login.created) >= self.settings.logins.lifetime => {
                Recalled::Expired(login)
            }
            Some(login) => Recalled::Current(login),
        }
    }

    /// A `Set-Cookie` value that ends the login of `state` in the browser.
    pub fn forget(&self, state: &str, https: bool) -> HeaderValue {
        let (name, attributes) = (self.name(https), self.login_attributes(https));
        header(&format!("{name}{INFIX}{state}=; Max-Age=0{attributes}"))
    }

    fn logins<'a>(
        &'a self,
        cookies: &'a Cookies<'_>,
        https: bool,
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        let name = self.name(https);
        cookies
            .iter()
            .filter_map(move |(key, value)| Some((key.strip_prefix(name)?.strip_prefix(INFIX)?, value)))
            .filter(|(state, _)| is_state(state))
    }

    fn open_login(&self, state: &str, value: &str) -> Option<Login> {
        let sealed = URL_SAFE_NO_PAD.decode(value.strip_prefix(SEALED)?).ok()?;
        Login::decode(state, &self.keys.open(&sealed, state.as_bytes()).ok()?)
    }
}

/// Whether `text` can be a `state` of ours.
fn is_state(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn redirect_digest(redirect_uri: &str) -> [u8; 8] {
    let mut out = [0; 8];
    let digest = digest::digest(&digest::SHA256, redirect_uri.as_bytes());
    out.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    out
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, header::COOKIE};

    use super::{
        super::{
            CookieSettings,
            jar::tests::{browser, jar},
        },
        *,
    };

    const CALLBACK: &str = "https://app.example/callback";

    fn begin(random: &Random, now: i64) -> Login {
        Login::begin(random, UnixMillis::from_secs(now), "https://app.example", "/page?x=1", CALLBACK)
    }

    fn recall(jar: &Jar, state: &str, headers: &HeaderMap, now: i64) -> Recalled {
        jar.recall(state, CALLBACK, &Cookies::read(headers), true, UnixMillis::from_secs(now))
    }

    #[test]
    fn a_login_comes_back_with_the_nonce_and_verifier_it_left_with() {
        let jar = jar(CookieSettings::default());
        let login = begin(&Random::seeded(1), 0);
        let lines = jar.remember(&login, &Cookies::read(&HeaderMap::new()), true);
        assert!(
            lines[0].to_str().unwrap().contains("; Max-Age=3600; Path=/; Secure; HttpOnly; SameSite=Lax")
        );
        let Recalled::Current(back) = recall(&jar, &login.state, &browser(&lines), 10) else {
            panic!("unknown")
        };
        assert_eq!((back.nonce(), back.verifier()), (login.nonce(), login.verifier()));
        assert_eq!(back.return_to, "https://app.example/page?x=1");
        assert_ne!(login.nonce(), login.verifier());
        assert_eq!(login.verifier().len(), 43);
    }

    #[test]
    fn r03_a_login_of_another_browser_client_or_callback_is_unknown() {
        let ours = jar(CookieSettings::default());
        let random = Random::seeded(2);
        let (mine, theirs) = (begin(&random, 0), begin(&random, 0));
        let cookies = browser(&ours.remember(&mine, &Cookies::read(&HeaderMap::new()), true));
        assert!(matches!(recall(&ours, &theirs.state, &cookies, 1), Recalled::Unknown));
        let other = Jar::from_secret("0123456789abcdef", "d", "other", CookieSettings::default(), random);
        assert!(matches!(recall(&other, &mine.state, &cookies, 1), Recalled::Unknown));
        let elsewhere = "https://app.example/elsewhere";
        let cookies = Cookies::read(&cookies);
        assert!(matches!(
            ours.recall(&mine.state, elsewhere, &cookies, true, UnixMillis(0)),
            Recalled::Unknown
        ));
    }

    #[test]
    fn r16_no_altered_letter_of_the_state_or_its_cookie_is_accepted() {
        let jar = jar(CookieSettings::default());
        let login = begin(&Random::seeded(3), 0);
        let headers = browser(&jar.remember(&login, &Cookies::read(&HeaderMap::new()), true));
        let line = headers[COOKIE].to_str().unwrap();
        for at in 0..line.len() {
            let mut bytes = line.as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let altered = HeaderMap::from_iter([(COOKIE, HeaderValue::from_bytes(&bytes).unwrap())]);
            assert!(matches!(recall(&jar, &login.state, &altered, 1), Recalled::Unknown), "{at}");
        }
    }

    #[test]
    fn a_login_that_took_too_long_is_told_from_one_that_never_was() {
        let jar = jar(CookieSettings::default());
        let login = begin(&Random::seeded(4), 0);
        let cookies = browser(&jar.remember(&login, &Cookies::read(&HeaderMap::new()), true));
        assert!(matches!(recall(&jar, &login.state, &cookies, 3599), Recalled::Current(_)));
        let Recalled::Expired(old) = recall(&jar, &login.state, &cookies, 3600) else {
            panic!("not expired")
        };
        let again = old.again(&Random::seeded(5), UnixMillis::from_secs(3600));
        assert_eq!((again.restarts, again.return_to.as_str()), (1, "https://app.example/page?x=1"));
        assert_ne!(again.nonce(), old.nonce());
    }

    #[test]
    fn r12_where_the_answer_is_posted_from_another_site_only_the_logins_cookie_goes_along() {
        let logins = LoginCookies { cross_site: true, ..LoginCookies::default() };
        let jar = jar(CookieSettings { logins, ..CookieSettings::default() });
        let (login, none) = (begin(&Random::seeded(1), 0), HeaderMap::new());
        for https in [true, false] {
            let line = |value: &HeaderValue| value.to_str().unwrap().to_owned();
            let line_of_login = line(&jar.remember(&login, &Cookies::read(&none), https)[0]);
            assert!(line_of_login.ends_with("; Secure; HttpOnly; SameSite=None"), "{line_of_login}");
            assert!(line(&jar.forget(&login.state, https)).ends_with("; Secure; HttpOnly; SameSite=None"));
            let session = super::super::content::tests::session();
            let line_of_session = line(&jar.issue(&session, &Cookies::read(&none), https).unwrap()[0]);
            assert!(line_of_session.ends_with("; HttpOnly; SameSite=Lax"), "{line_of_session}");
            assert_eq!(line_of_session.contains("; Secure"), https);
        }
    }

    #[test]
    fn a_login_that_continues_a_session_remembers_which() {
        let jar = jar(CookieSettings::default());
        let span = SessionSpan { id: [3; 16], created: UnixMillis(4), ends: UnixMillis(5) };
        let continued = Continued { span, subject: Mark([6; 16]) };
        let login = Login { continues: Some(continued), ..begin(&Random::seeded(1), 0) };
        let lines = jar.remember(&login, &Cookies::read(&HeaderMap::new()), true);
        let Recalled::Current(back) = recall(&jar, &login.state, &browser(&lines), 10) else {
            panic!("unknown")
        };
        assert_eq!(
            (back.continues, back.return_to.as_str()),
            (Some(continued), "https://app.example/page?x=1")
        );
        assert_eq!(back.again(&Random::seeded(2), UnixMillis(0)).continues, None);
    }

    #[test]
    fn the_configuration_says_how_many_logins_are_under_way_and_how_long() {
        let logins = LoginCookies { lifetime: Duration::from_secs(60), most: 2, cross_site: false };
        let jar = jar(CookieSettings { logins, ..CookieSettings::default() });
        let random = Random::seeded(4);
        let mut lines = Vec::new();
        let states: Vec<String> = (0..3)
            .map(|second| {
                let login = begin(&random, second);
                lines.extend(jar.remember(&login, &Cookies::read(&browser(&lines)), true));
                login.state
            })
            .collect();
        assert!(lines[0].to_str().unwrap().contains("; Max-Age=60; "));
        let cookies = browser(&lines);
        assert!(matches!(recall(&jar, &states[0], &cookies, 5), Recalled::Unknown));
        assert!(matches!(recall(&jar, &states[1], &cookies, 5), Recalled::Current(_)));
        assert!(matches!(recall(&jar, &states[2], &cookies, 62), Recalled::Expired(_)));
    }

    #[test]
    fn r26_at_most_fifty_logins_are_kept_and_the_oldest_goes_first() {
        let jar = jar(CookieSettings::default());
        let random = Random::seeded(6);
        let mut lines = Vec::new();
        let mut states = Vec::new();
        for second in 0..60 {
            let login = begin(&random, second);
            let cookies = browser(&lines);
            lines.extend(jar.remember(&login, &Cookies::read(&cookies), true));
            states.push(login.state);
        }
        let cookies = browser(&lines);
        let known = |state: &String| matches!(recall(&jar, state, &cookies, 60), Recalled::Current(_));
        assert!(!states[..10].iter().any(known));
        assert!(states[10..].iter().all(known));
        let flood: Vec<String> =
            (0..200).map(|_| format!("__Host-session_state_{}=x", random.hex(16))).collect();
        let flood = HeaderMap::from_iter([(COOKIE, HeaderValue::from_str(&flood.join("; ")).unwrap())]);
        let removed = jar.remember(&begin(&random, 70), &Cookies::read(&flood), true).len() - 1;
        assert_eq!(removed, 200, "what does not open is taken away");
    }

    #[test]
    fn r27_fifty_tabs_that_begin_at_once_all_end() {
        let jar = jar(CookieSettings::default());
        let random = Random::seeded(7);
        let logins: Vec<Login> = (0..50).map(|_| begin(&random, 0)).collect();
        let none = HeaderMap::new();
        let lines: Vec<HeaderValue> =
            logins.iter().flat_map(|login| jar.remember(login, &Cookies::read(&none), true)).collect();
        let cookies = browser(&lines);
        assert!(cookies[COOKIE].len() < 14 * 1024);
        assert!(
            logins
                .iter()
                .all(|login| matches!(recall(&jar, &login.state, &cookies, 1), Recalled::Current(_)))
        );
    }

    #[test]
    fn r26_logins_with_long_addresses_do_not_fill_a_requests_head() {
        let jar = jar(CookieSettings::default());
        let (random, page) = (Random::seeded(9), format!("/{}", "x".repeat(2000)));
        let mut lines = Vec::new();
        let mut last = String::new();
        for second in 0..60 {
            let now = UnixMillis::from_secs(second);
            let login = Login::begin(&random, now, "https://app.example", &page, CALLBACK);
            lines.extend(jar.remember(&login, &Cookies::read(&browser(&lines)), true));
            last = login.state;
        }
        let cookies = browser(&lines);
        assert!((8 * 1024..MAX_BYTES).contains(&cookies[COOKIE].len()), "{}", cookies[COOKIE].len());
        assert!(matches!(recall(&jar, &last, &cookies, 60), Recalled::Current(_)));
    }

    #[test]
    fn an_address_too_long_for_a_cookie_is_returned_to_at_the_root() {
        let page = format!("/{}", "x".repeat(3000));
        let login = Login::begin(&Random::seeded(8), UnixMillis(0), "https://app.example", &page, CALLBACK);
        assert_eq!(login.return_to, "https://app.example/");
    }
}
