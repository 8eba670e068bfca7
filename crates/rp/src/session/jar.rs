use std::{fmt, time::Duration};

use aws_lc_rs::{digest, hkdf};
use base::{Keyring, Random};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use http::HeaderValue;
use smallvec::SmallVec;
use zeroize::Zeroizing;

use super::{Cookies, LOGIN_LIFETIME, MAX_LOGINS, SameSite, Session};
use crate::bearer::VerdictKey;

/// Bytes of one cookie, name and attributes included, stay below this (RFC 6265 section 6.1).
const COOKIE_BYTES: usize = 4096;
/// Parts a session is split into at most: 36 KB, which is what lua-resty-session allows too.
const MAX_PARTS: usize = 9;
/// What every value the gate seals into a cookie begins with: whatever its name, and on whatever route it is shown, the
/// engine knows it by that and keeps it from upstreams.
pub const SEALED: &str = "pc~";
/// Letters that say which parts belong together, so that parts of two issues, or of a stranger, are never mixed. The seal
/// holds for them too: not one letter of a cookie can be another.
const SET_LETTERS: usize = 4;
/// Cookies of one name that can be ours and are tried: a parent domain or a path may have planted others. Where there are
/// more, none is: the right one might be among those that are not looked at.
const MAX_CANDIDATES: usize = 8;
/// What the prefix demands, browsers see to: Secure, no Domain, Path=/ (RFC 6265bis section 4.1.3.2).
const HOST_PREFIX: &str = "__Host-";

/// How the cookies of a client are named and marked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CookieSettings {
    /// Name; `session` where none is given.
    pub name: Option<String>,
    /// `Path`; `/` where none is given.
    pub path: Option<String>,
    /// `Domain`; none where none is given.
    pub domain: Option<String>,
    /// `Secure`; where nothing is said, on https.
    pub secure: Option<bool>,
    /// Without `HttpOnly`, so that scripts can read it.
    pub readable_by_scripts: bool,
    /// A prefix of the name, over https, with what browsers demand for it; `None`: `__Host-` where it can be.
    pub prefix: Option<Prefix>,
    /// `Priority`, by which browsers choose whom to drop first: `Low`, `Medium` or `High`.
    pub priority: Option<&'static str>,
    /// `Partitioned` over https: a jar for each site whose pages embed this one.
    pub partitioned: bool,
    /// `SameSite` of the session. Cookies of a login that is under way are `Lax` or, where the provider's answer is
    /// posted, `None`: it sends the browser back from another site.
    pub same_site: SameSite,
    /// The cookies of logins that are under way.
    pub logins: LoginCookies,
}

/// What a cookie's name begins with, so that browsers take it from nobody else (RFC 6265bis section 4.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefix {
    /// `__Host-`: of this very host, with `Secure`, `Path=/` and no `Domain`.
    Host,
    /// `__Secure-`: with `Secure`.
    Secure,
}

impl Prefix {
    const fn text(self) -> &'static str {
        match self {
            Self::Host => HOST_PREFIX,
            Self::Secure => "__Secure-",
        }
    }
}

/// How logins that are under way are remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoginCookies {
    /// How long a user may take at the provider; [`LOGIN_LIFETIME`] at most.
    pub lifetime: Duration,
    /// How many may be under way in one browser; [`MAX_LOGINS`] at most. The oldest is dropped for the next.
    pub most: usize,
    /// Whether the provider's answer comes as a POST from its own page, which browsers send no `Lax` cookie with.
    pub cross_site: bool,
}

impl Default for LoginCookies {
    fn default() -> Self {
        Self { lifetime: LOGIN_LIFETIME, most: MAX_LOGINS, cross_site: false }
    }
}

/// Digest of what a cookie is bound to: provider and client. Sessions end and are counted by realm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Realm(pub [u8; 16]);

/// Seals, splits and opens the cookies of one client at one provider.
#[derive(Clone)]
pub struct Jar {
    pub(super) keys: Keyring,
    pub(super) random: Random,
    realm: Realm,
    /// Of realm and keys: what opens here opens nowhere else.
    fingerprint: [u8; 32],
    pub(super) settings: CookieSettings,
    /// Cookie name over http and over https.
    names: [String; 2],
}

/// The session cookie of a request as it came, not yet opened: its parts in order, the set's letters before the first.
#[derive(Debug)]
pub struct SealedSession<'a>(SmallVec<[&'a str; 2]>);

/// The session does not fit into nine cookies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the session is larger than {MAX_PARTS} cookies can hold")]
pub struct TooLarge;

impl Jar {
    /// A jar whose key comes from a secret that the configuration gives (HKDF-SHA256).
    pub fn from_secret(
        secret: &str,
        discovery: &str,
        client_id: &str,
        settings: CookieSettings,
        random: Random,
    ) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        #[allow(clippy::expect_used)]
        hkdf::Salt::new(hkdf::HKDF_SHA256, b"portcullis session secret")
            .extract(secret.as_bytes())
            .expand(&[b"keyring"], hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(key.as_mut_slice()))
            .expect("32 bytes are within what HKDF-SHA256 gives");
        Self::new(&ring(&[key]), discovery, client_id, settings, random)
    }

    /// A jar whose keys come from the deployment's own. Whatever the ring, each provider and client has keys of its
    /// own, derived from it.
    pub fn new(
        ring_of_all: &Keyring,
        discovery: &str,
        client_id: &str,
        settings: CookieSettings,
        random: Random,
    ) -> Self {
        let realm = Realm::of(discovery, client_id);
        let derived = ring_of_all.derive(&format!("session/{}", URL_SAFE_NO_PAD.encode(realm.0)));
        let fingerprint =
            sha256(std::iter::once(realm.0.as_slice()).chain(derived.iter().map(|key| key.as_slice())));
        let keys = ring(&derived);
        let name = settings.name.as_deref().unwrap_or("session");
        let unnamed = settings.name.is_none() && settings.path.is_none() && settings.domain.is_none();
        let on_https = match settings.prefix {
            Some(prefix) => prefix.text(),
            None if unnamed && settings.secure != Some(false) => HOST_PREFIX,
            None => "",
        };
        let names = [name.to_owned(), format!("{on_https}{name}")];
        Self { keys, random, realm, fingerprint, names, settings }
    }

    /// What its cookies are bound to.
    pub const fn realm(&self) -> Realm {
        self.realm
    }

    /// Digest of what opens cookies here and of who reads them (`identity`: a digest of all that it goes by).
    pub fn reader(&self, identity: &[u8; 32]) -> [u8; 32] {
        sha256([self.fingerprint.as_slice(), identity])
    }

    /// Whether a page that another site sent the browser to gets its session cookie.
    pub fn is_strict(&self) -> bool {
        self.settings.same_site == SameSite::Strict
    }

    /// Whether `name` is one of its cookies: session, further parts, logins under way. Over https the name without the
    /// prefix is free for the application, and `session` is what many call theirs.
    pub fn owns(&self, name: &str, https: bool) -> bool {
        name.strip_prefix(self.name(https)).is_some_and(|rest| {
            rest.is_empty() || part_number(rest).is_some() || rest.strip_prefix(super::login::INFIX).is_some()
        })
    }

    /// The session cookies of a request. Usually there is one; where another of that name was planted, each is to be
    /// tried. None where there are too many of them: see [`Jar::is_crowded`].
    pub fn find<'a>(&self, cookies: &Cookies<'a>, https: bool) -> SmallVec<[SealedSession<'a>; 1]> {
        let found: SmallVec<[SealedSession<'a>; 1]> =
            self.candidates(cookies, https).take(MAX_CANDIDATES + 1).collect();
        if found.len() > MAX_CANDIDATES { SmallVec::new() } else { found }
    }

    /// Whether a request has more cookies that may be its session than are tried.
    pub fn is_crowded(&self, cookies: &Cookies<'_>, https: bool) -> bool {
        self.candidates(cookies, https).nth(MAX_CANDIDATES).is_some()
    }

    fn candidates<'s, 'a>(
        &'s self,
        cookies: &'s Cookies<'a>,
        https: bool,
    ) -> impl Iterator<Item = SealedSession<'a>> + use<'s, 'a> {
        let name = self.name(https);
        cookies.all(name).filter_map(move |first| assemble(name, first, cookies))
    }

    /// Opens a session cookie. `None` where it is not ours, was altered, or is bound elsewhere.
    pub fn open(&self, sealed: &SealedSession<'_>) -> Option<Session> {
        Session::decode(&self.open_sealed(sealed, b"session")?)
    }

    /// What was sealed into a cookie for `purpose`.
    pub(super) fn open_sealed(
        &self,
        sealed: &SealedSession<'_>,
        purpose: &[u8],
    ) -> Option<Zeroizing<Vec<u8>>> {
        let text = sealed.0.concat();
        let (set, text) = text.split_at_checked(SET_LETTERS)?;
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        self.keys.open(&bytes, &bound(purpose, set)).ok()
    }

    /// `Set-Cookie` values that make `session` the browser's, and take away the parts of a longer one before it.
    ///
    /// # Errors
    ///
    /// When it is larger than nine cookies can hold.
    pub fn issue(
        &self,
        session: &Session,
        cookies: &Cookies<'_>,
        https: bool,
    ) -> Result<Vec<HeaderValue>, TooLarge> {
        self.issue_sealed(&Zeroizing::new(session.encode()), b"session", cookies, https)
    }

    /// `Set-Cookie` values that hold `plain`, sealed for `purpose`.
    pub(super) fn issue_sealed(
        &self,
        plain: &[u8],
        purpose: &[u8],
        cookies: &Cookies<'_>,
        https: bool,
    ) -> Result<Vec<HeaderValue>, TooLarge> {
        let set = self.random.token(SET_LETTERS * 3 / 4);
        let sealed = self.keys.seal(&self.random, plain, &bound(purpose, &set));
        let text = URL_SAFE_NO_PAD.encode(sealed);
        let (name, attributes) = (self.name(https), self.attributes(https, self.settings.same_site));
        // One less than the limit, and room for `=`, `_9`, the count and the set.
        let taken = name.len() + attributes.len() + SEALED.len() + SET_LETTERS + 4;
        let room = (COOKIE_BYTES - 1).saturating_sub(taken);
        let parts: Vec<&str> = split(&text, room).ok_or(TooLarge)?;
        let mut out = Vec::with_capacity(parts.len());
        for (index, part) in parts.iter().enumerate() {
            let line = match index {
                0 => format!("{name}={SEALED}{}{set}{part}{attributes}", parts.len()),
                _ => format!("{name}_{}={SEALED}{set}{part}{attributes}", index + 1),
            };
            out.push(header(&line));
        }
        out.extend(self.expired(cookies, https, |number| number > parts.len()));
        Ok(out)
    }

    /// `Set-Cookie` values that take the session away from the browser.
    pub fn clear(&self, cookies: &Cookies<'_>, https: bool) -> Vec<HeaderValue> {
        self.expired(cookies, https, |_| true).collect()
    }

    fn expired<'a>(
        &'a self,
        cookies: &'a Cookies<'_>,
        https: bool,
        which: impl Fn(usize) -> bool + 'a,
    ) -> impl Iterator<Item = HeaderValue> + 'a {
        let name = self.name(https);
        (1..=MAX_PARTS)
            .map(move |number| (number, part_name(name, number)))
            .filter(move |(number, part)| which(*number) && cookies.all(part).next().is_some())
            .map(move |(_, part)| self.expire(&part, https))
    }

    /// A `Set-Cookie` value that takes the cookie `name` away.
    fn expire(&self, name: &str, https: bool) -> HeaderValue {
        header(&format!("{name}=; Max-Age=0{}", self.attributes(https, self.settings.same_site)))
    }

    /// Name of its session cookie, and what the names of its other cookies begin with.
    pub(super) fn name(&self, https: bool) -> &str {
        let [plain, secure] = &self.names;
        if https { secure } else { plain }
    }

    /// Attributes of the cookies of logins.
    pub(super) fn login_attributes(&self, https: bool) -> String {
        if self.settings.logins.cross_site {
            // Browsers demand `Secure` with it, and take that from this machine's own names over plain http too.
            self.marked(true, SameSite::None)
        } else {
            self.attributes(https, SameSite::Lax)
        }
    }

    fn attributes(&self, https: bool, same_site: SameSite) -> String {
        let is_secure = self.settings.secure.unwrap_or(https);
        // Browsers drop a cookie with `None` and without `Secure`, and its user would log in for ever.
        let same_site = if same_site == SameSite::None && !is_secure { SameSite::Lax } else { same_site };
        self.marked(is_secure, same_site)
    }

    fn marked(&self, is_secure: bool, same_site: SameSite) -> String {
        let settings = &self.settings;
        let path = settings.path.as_deref().unwrap_or("/");
        let domain =
            settings.domain.as_deref().map(|domain| format!("; Domain={domain}")).unwrap_or_default();
        let secure = if is_secure { "; Secure" } else { "" };
        let http_only = if settings.readable_by_scripts { "" } else { "; HttpOnly" };
        let priority = settings.priority.map(|priority| format!("; Priority={priority}")).unwrap_or_default();
        // Browsers drop one that is not `Secure` as well.
        let partitioned = if settings.partitioned && is_secure { "; Partitioned" } else { "" };
        format!("; Path={path}{domain}{secure}{http_only}{}{priority}{partitioned}", same_site.attribute())
    }
}

impl Realm {
    fn of(discovery: &str, client_id: &str) -> Self {
        let [discovery_len, client_len] = [discovery, client_id].map(|text| text.len().to_be_bytes());
        let digest =
            sha256([discovery_len.as_slice(), discovery.as_bytes(), &client_len, client_id.as_bytes()]);
        let mut realm = [0; 16];
        realm.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        Self(realm)
    }
}

impl SealedSession<'_> {
    /// The key under which to remember what `reader` opened it to: see [`Jar::reader`].
    pub fn key(&self, reader: &[u8; 32]) -> VerdictKey {
        match self.0.as_slice() {
            [only] => VerdictKey::of(reader, only.as_bytes()),
            parts => VerdictKey::of_parts(reader, parts.iter().map(|part| part.as_bytes())),
        }
    }
}

impl fmt::Debug for Jar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jar").field("realm", &self.realm).field("names", &self.names).finish_non_exhaustive()
    }
}

fn sha256<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    parts.into_iter().for_each(|part| context.update(part));
    let mut out = [0; 32];
    out.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    out
}

fn ring(keys: &[Zeroizing<[u8; 32]>]) -> Keyring {
    let text: Zeroizing<String> =
        Zeroizing::new(keys.iter().map(|key| STANDARD.encode(key.as_slice()) + "\n").collect());
    #[allow(clippy::expect_used)]
    Keyring::parse(&text).expect("a ring derives at least one key, each of 32 bytes")
}

/// The parts that belong to the first part `value`, or `None` where they are not all there.
fn assemble<'a>(name: &str, value: &'a str, cookies: &Cookies<'a>) -> Option<SealedSession<'a>> {
    let (count, rest) = value.strip_prefix(SEALED)?.split_at_checked(1)?;
    let count = count.parse().ok().filter(|count| (1..=MAX_PARTS).contains(count))?;
    let (set, _) = rest.split_at_checked(SET_LETTERS)?;
    let mut parts = SmallVec::new();
    parts.push(rest);
    for number in 2..=count {
        let part = part_name(name, number);
        parts.push(cookies.all(&part).find_map(|value| value.strip_prefix(SEALED)?.strip_prefix(set))?);
    }
    Some(SealedSession(parts))
}

/// What the seal of a cookie holds for, beside its content.
fn bound(purpose: &[u8], set: &str) -> Vec<u8> {
    [purpose, b"/", set.as_bytes()].concat()
}

fn part_name(name: &str, number: usize) -> String {
    if number == 1 { name.to_owned() } else { format!("{name}_{number}") }
}

fn part_number(rest: &str) -> Option<u8> {
    let [digit] = *rest.strip_prefix('_')?.as_bytes() else { return None };
    (b'2'..=b'9').contains(&digit).then(|| digit - b'0')
}

/// `text`, which is ASCII, in as few pieces of at most `room` bytes as it takes.
fn split(text: &str, room: usize) -> Option<Vec<&str>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (part, after) = rest.split_at_checked(room.min(rest.len()))?;
        if part.is_empty() || parts.len() == MAX_PARTS {
            return None;
        }
        parts.push(part);
        rest = after;
    }
    Some(parts)
}

pub(super) fn header(line: &str) -> HeaderValue {
    // Names, paths and domains are checked when the configuration is compiled; values are base64url.
    let mut value = HeaderValue::from_str(line).unwrap_or(HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

#[cfg(test)]
pub(crate) mod tests {
    use base::Secret;
    use http::{HeaderMap, header::COOKIE};

    use super::{super::content::tests::session, *};

    pub(in crate::session) fn jar(settings: CookieSettings) -> Jar {
        let random = Random::seeded(9);
        Jar::from_secret("0123456789abcdef", "https://issuer.example/d", "client", settings, random)
    }

    /// What a browser sends after it got `lines`, in the order they came.
    pub(in crate::session) fn browser(lines: &[HeaderValue]) -> HeaderMap {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for line in lines {
            let line = line.to_str().unwrap();
            let (name, value) = line.split(';').next().unwrap().split_once('=').unwrap();
            pairs.retain(|(have, _)| have != name);
            if !line.contains("Max-Age=0") {
                pairs.push((name.to_owned(), value.to_owned()));
            }
        }
        let line = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
        HeaderMap::from_iter([(COOKIE, HeaderValue::from_str(&line).unwrap())])
    }

    fn none() -> Cookies<'static> {
        static EMPTY: std::sync::LazyLock<HeaderMap> = std::sync::LazyLock::new(HeaderMap::new);
        Cookies::read(&EMPTY)
    }

    fn opened(jar: &Jar, headers: &HeaderMap, https: bool) -> Option<Session> {
        jar.find(&Cookies::read(headers), https).iter().find_map(|sealed| jar.open(sealed))
    }

    /// A block for `crate::budgets`: a session of usual size is found among the request's cookies and opened.
    pub(crate) fn opened_cookie() -> Box<dyn FnMut()> {
        let jar = jar(CookieSettings::default());
        let headers = browser(&jar.issue(&session(), &none(), false).unwrap());
        Box::new(move || assert!(std::hint::black_box(opened(&jar, &headers, false)).is_some()))
    }

    fn large(bytes: usize) -> Session {
        let noise = Random::seeded(1).alphanumeric(bytes);
        Session { access_token: Some(Secret::new(noise)), ..session() }
    }

    #[test]
    fn r22_cookies_are_secure_http_only_lax_and_for_this_host_alone() {
        let jar = jar(CookieSettings::default());
        let line = |https| jar.issue(&session(), &none(), https).unwrap()[0].to_str().unwrap().to_owned();
        assert!(line(true).starts_with("__Host-session=pc~1"));
        assert!(line(true).ends_with("; Path=/; Secure; HttpOnly; SameSite=Lax"));
        assert!(line(false).starts_with("session=pc~1"));
        assert!(line(false).ends_with("; Path=/; HttpOnly; SameSite=Lax"));
    }

    #[test]
    fn a_configured_name_path_or_domain_takes_the_host_prefix_away() {
        let settings = CookieSettings {
            name: Some("sid".to_owned()),
            path: Some("/app".to_owned()),
            domain: Some("example.com".to_owned()),
            secure: Some(true),
            readable_by_scripts: true,
            same_site: SameSite::None,
            ..CookieSettings::default()
        };
        let line = jar(settings).issue(&session(), &none(), true).unwrap()[0].to_str().unwrap().to_owned();
        assert!(line.starts_with("sid=pc~1"), "{line}");
        assert!(line.ends_with("; Path=/app; Domain=example.com; Secure; SameSite=None"), "{line}");
    }

    #[test]
    fn a_cookie_that_browsers_would_drop_is_not_issued() {
        let settings = CookieSettings { same_site: SameSite::None, ..CookieSettings::default() };
        let line = |https| jar(settings.clone()).issue(&session(), &none(), https).unwrap()[0].clone();
        assert!(line(true).to_str().unwrap().ends_with("; Secure; HttpOnly; SameSite=None"));
        assert!(line(false).to_str().unwrap().ends_with("; HttpOnly; SameSite=Lax"));
    }

    #[test]
    fn r23_a_large_session_is_split_below_4096_bytes_each() {
        let jar = jar(CookieSettings::default());
        for (bytes, parts) in [(100, 1), (10_000, 4), (26_000, 9)] {
            let session = large(bytes);
            let lines = jar.issue(&session, &none(), true).unwrap();
            assert_eq!(lines.len(), parts);
            assert!(lines.iter().all(|line| line.len() < COOKIE_BYTES));
            assert_eq!(opened(&jar, &browser(&lines), true).unwrap().access_token, session.access_token);
        }
        assert_eq!(jar.issue(&large(28_000), &none(), true), Err(TooLarge));
    }

    #[test]
    fn r23_a_wrong_count_or_missing_swapped_and_foreign_parts_are_refused() {
        let jar = jar(CookieSettings::default());
        let lines = jar.issue(&large(10_000), &none(), false).unwrap();
        let sent = browser(&lines)[COOKIE].to_str().unwrap().to_owned();
        let pairs: Vec<&str> = sent.split("; ").collect();
        let other =
            browser(&jar.issue(&large(10_001), &none(), false).unwrap())[COOKIE].to_str().unwrap().to_owned();
        let foreign = other.split("; ").nth(1).unwrap();
        let try_line = |line: String| {
            let headers = HeaderMap::from_iter([(COOKIE, HeaderValue::from_str(&line).unwrap())]);
            opened(&jar, &headers, false)
        };
        assert!(try_line(sent.clone()).is_some());
        assert!(try_line(pairs[..3].join("; ")).is_none(), "a part is missing");
        assert!(
            try_line(sent.replacen("session=pc~4", "session=pc~9", 1)).is_none(),
            "the count is too high"
        );
        assert!(
            try_line(sent.replacen("session=pc~4", "session=pc~99999999", 1)).is_none(),
            "the count is absurd"
        );
        assert!(try_line(sent.replacen("session=pc~4", "session=pc~3", 1)).is_none(), "the count is too low");
        assert!(try_line([pairs[0], foreign, pairs[2], pairs[3]].join("; ")).is_none(), "a part is foreign");
        let swapped = sent.replace("session_2=", "session_x=").replace("session_3=", "session_2=");
        assert!(try_line(swapped.replace("session_x=", "session_3=")).is_none(), "two parts are swapped");
    }

    #[test]
    fn a_shorter_session_takes_the_parts_of_the_longer_one_away() {
        let jar = jar(CookieSettings::default());
        let mut lines = jar.issue(&large(10_000), &none(), true).unwrap();
        let before = browser(&lines);
        lines.extend(jar.issue(&session(), &Cookies::read(&before), true).unwrap());
        let after = browser(&lines);
        assert_eq!(Cookies::read(&after).iter().count(), 1);
        assert!(opened(&jar, &after, true).is_some());
        lines.extend(jar.clear(&Cookies::read(&after), true));
        assert!(opened(&jar, &browser(&lines), true).is_none());
    }

    #[test]
    fn r14_a_planted_cookie_of_the_same_name_is_passed_over() {
        let jar = jar(CookieSettings::default());
        let good =
            browser(&jar.issue(&session(), &none(), false).unwrap())[COOKIE].to_str().unwrap().to_owned();
        for line in [
            format!("session=pc~1abcdZZZZ; {good}"),
            format!("{good}; session=pc~1abcdZZZZ"),
            format!("session=; {good}"),
        ] {
            let headers = HeaderMap::from_iter([(COOKIE, HeaderValue::from_str(&line).unwrap())]);
            assert!(opened(&jar, &headers, false).is_some(), "{line}");
        }
        let headers = HeaderMap::from_iter([(COOKIE, HeaderValue::from_str(&good).unwrap())]);
        assert!(opened(&jar, &headers, true).is_none(), "over https only the prefixed name counts");
    }

    #[test]
    fn r24_no_mutation_truncation_other_key_or_other_client_opens() {
        let jar = jar(CookieSettings::default());
        let lines = jar.issue(&session(), &none(), false).unwrap();
        let good = browser(&lines)[COOKIE].to_str().unwrap().to_owned();
        let random = Random::seeded(24);
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut accepted = 0;
        for _ in 0..10_000 {
            let [at, with] =
                [random.bytes::<4>(), random.bytes::<4>()].map(|raw| u32::from_be_bytes(raw) as usize);
            let at = "session=".len() + at % (good.len() - "session=".len());
            let mut bytes = good.clone().into_bytes();
            bytes[at] = letters[with % 64];
            if bytes != good.as_bytes() {
                let headers = HeaderMap::from_iter([(COOKIE, HeaderValue::from_bytes(&bytes).unwrap())]);
                accepted += usize::from(opened(&jar, &headers, false).is_some());
            }
        }
        for cut in "session=".len()..good.len() {
            let headers = HeaderMap::from_iter([(COOKIE, HeaderValue::from_str(&good[..cut]).unwrap())]);
            accepted += usize::from(opened(&jar, &headers, false).is_some());
        }
        let headers = browser(&lines);
        let strangers = [
            ("another secret 16", "https://issuer.example/d", "client"),
            ("0123456789abcdef", "https://other.example/d", "client"),
            ("0123456789abcdef", "https://issuer.example/d", "other"),
        ];
        for (secret, discovery, client) in strangers {
            let other =
                Jar::from_secret(secret, discovery, client, CookieSettings::default(), Random::seeded(1));
            accepted += usize::from(opened(&other, &headers, false).is_some());
        }
        assert_eq!(accepted, 0);
    }

    #[test]
    fn s03_a_rotated_deployment_key_opens_and_the_new_one_seals() {
        let random = Random::seeded(5);
        let jar = |ring: &Keyring| Jar::new(ring, "d", "c", CookieSettings::default(), random.clone());
        let (old, new) = (Keyring::generate(&random), Keyring::generate(&random));
        let both = Keyring::parse(&format!("{}{}", *new.to_text(), *old.to_text())).unwrap();
        let before = browser(&jar(&old).issue(&session(), &none(), true).unwrap());
        assert!(opened(&jar(&both), &before, true).is_some());
        let after = browser(&jar(&both).issue(&session(), &none(), true).unwrap());
        assert!(opened(&jar(&new), &after, true).is_some());
        assert!(opened(&jar(&old), &after, true).is_none());
    }

    #[test]
    fn its_own_cookies_are_told_from_the_applications() {
        let jar = jar(CookieSettings::default());
        for rest in ["", "_2", "_9", "_state_0123"] {
            assert!(jar.owns(&format!("session{rest}"), false), "{rest}");
            assert!(jar.owns(&format!("__Host-session{rest}"), true), "{rest}");
            assert!(!jar.owns(&format!("session{rest}"), true), "{rest}");
        }
        for other in
            ["session_1", "session_10", "session_id", "sessions", "mysession", "__Host-", "session_", ""]
        {
            assert!(!jar.owns(other, false), "{other}");
        }
    }
}
