use std::time::Duration;

use base::{Secret, UnixMillis};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jose::CompactJws;

use super::{Mark, Marks};

/// Identifies a session from its login to its end, over all re-issues of its cookie.
pub type SessionId = [u8; 16];

/// Layout of [`Session::encode`]; others do not decode.
const LAYOUT: u8 = 4;
/// A session that asks for no absolute end has one all the same: browsers keep no cookie longer, and the record of an
/// ended session must be allowed to end too.
const LONGEST: Duration = Duration::from_secs(400 * 24 * 3600);

/// What a login left behind, and what is needed to go on from there.
#[derive(Clone, Debug)]
pub struct Session {
    /// Stays the same from login to logout.
    pub id: SessionId,
    /// When the user logged in: the absolute timeout counts from here.
    pub created: UnixMillis,
    /// When the session was last renewed: the rolling timeout counts from here.
    pub renewed: UnixMillis,
    /// When the session was last seen in use, to within the touch interval: the idling timeout counts from here.
    pub touched: UnixMillis,
    /// When it ends at the latest, wherever its cookie is shown and whatever is configured later: the record of ended
    /// sessions forgets it then. See [`Lifetimes::last_moment`].
    pub ends: UnixMillis,
    /// When the provider last said that the user is logged in there: at the login, or asked since without a page.
    pub authenticated: UnixMillis,
    /// By what the provider may end it.
    pub marks: Marks,
    /// Issuer of the ID token.
    pub issuer: String,
    /// `sub` of the ID token.
    pub subject: String,
    /// The ID token as the provider signed it; absent where it is not to be kept.
    pub id_token: Option<Secret<String>>,
    /// The ID token's claims, one JSON object, where they are to be kept and the token itself is not.
    pub claims: Option<String>,
    /// The access token, if the provider gave one.
    pub access_token: Option<Secret<String>>,
    /// When the access token ends, leeway already taken off.
    pub access_expires: Option<UnixMillis>,
    /// The refresh token, if the provider gave one.
    pub refresh_token: Option<Secret<String>>,
    /// Scopes that were granted, as the token endpoint said them.
    pub scope: Option<String>,
    /// The answer of the userinfo endpoint: one JSON object.
    pub userinfo: Option<String>,
}

/// What tells a session from all others, and for how long that matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionSpan {
    /// [`Session::id`].
    pub id: SessionId,
    /// [`Session::created`].
    pub created: UnixMillis,
    /// [`Session::ends`].
    pub ends: UnixMillis,
}

/// How long sessions live. Zero switches a limit off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// Without a request for so long, it is over. Default 900 s.
    pub idling: Duration,
    /// Without a renewal for so long, it is over. Default 3600 s.
    pub rolling: Duration,
    /// After so long it is over in any case. Default 86400 s; 0 means 400 days.
    pub absolute: Duration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { idling: seconds(900), rolling: seconds(3600), absolute: seconds(86_400) }
    }
}

/// How a session stands at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Valid, and its cookie is fresh enough.
    Good,
    /// Valid; its cookie is to be issued anew (see [`Session::reissued`]).
    Stale,
    /// Over.
    Over,
}

impl Lifetimes {
    /// How `session` stands at `now`. Its cookie is issued anew when a quarter of the idling timeout has passed since
    /// it was touched, but at most once a minute, or when three quarters of the rolling timeout have passed since it
    /// was renewed; so most answers carry no cookie.
    pub fn standing(&self, session: &Session, now: UnixMillis) -> Standing {
        let over = |limit: Duration, from: UnixMillis| !limit.is_zero() && now.since(from) >= limit;
        if now >= self.last_moment(session.created).min(session.ends)
            || over(self.idling, session.touched)
            || over(self.rolling, session.renewed)
        {
            return Standing::Over;
        }
        let touch = Duration::from_secs(60).min(self.idling / 4);
        if over(touch, session.touched) || self.is_due(session, now) {
            Standing::Stale
        } else {
            Standing::Good
        }
    }

    /// When a session that began at `created` ends whatever its user does.
    pub fn last_moment(&self, created: UnixMillis) -> UnixMillis {
        let absolute = if self.absolute.is_zero() { LONGEST } else { self.absolute.min(LONGEST) };
        created + absolute
    }

    /// How long `session` would live if nothing more came for it.
    pub fn left(&self, session: &Session, now: UnixMillis) -> Duration {
        let end = self.last_moment(session.created).min(session.ends).since(now);
        let until = |limit: Duration, from: UnixMillis| match limit.is_zero() {
            true => end,
            false => limit.saturating_sub(now.since(from)),
        };
        end.min(until(self.idling, session.touched)).min(until(self.rolling, session.renewed))
    }

    fn is_due(&self, session: &Session, now: UnixMillis) -> bool {
        !self.rolling.is_zero() && now.since(session.renewed) >= self.rolling / 4 * 3
    }
}

impl Session {
    /// What tells it from all others.
    pub const fn span(&self) -> SessionSpan {
        SessionSpan { id: self.id, created: self.created, ends: self.ends }
    }

    /// The claims of its ID token, one JSON object, if they were kept.
    pub fn id_claims(&self) -> Option<Vec<u8>> {
        match (&self.claims, &self.id_token) {
            (Some(claims), _) => Some(claims.clone().into_bytes()),
            // It was verified when it came.
            (None, Some(token)) => CompactJws::parse(token.expose()).ok()?.payload_unverified().ok(),
            (None, None) => None,
        }
    }

    /// The session as it goes into a cookie issued at `now`.
    pub fn reissued(mut self, lifetimes: &Lifetimes, now: UnixMillis) -> Self {
        if lifetimes.is_due(&self, now) {
            self.renewed = now;
        }
        self.touched = now;
        self
    }

    /// The session as bytes, to be sealed. JWTs are stored decoded, which makes the cookie a quarter smaller.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1024);
        out.push(LAYOUT);
        out.extend_from_slice(&self.id);
        let access_expires = self.access_expires.unwrap_or(UnixMillis(0));
        for moment in
            [self.created, self.renewed, self.touched, self.ends, self.authenticated, access_expires]
        {
            out.extend_from_slice(&moment.0.to_be_bytes());
        }
        out.extend_from_slice(&self.marks.subject.0);
        out.push(u8::from(self.marks.sid.is_some()));
        for mark in [self.marks.sid, self.marks.both] {
            out.extend_from_slice(&mark.unwrap_or(Mark([0; 16])).0);
        }
        put(&mut out, Some(&self.issuer));
        put(&mut out, Some(&self.subject));
        put_token(&mut out, self.id_token.as_ref());
        put(&mut out, self.claims.as_deref());
        put_token(&mut out, self.access_token.as_ref());
        put_token(&mut out, self.refresh_token.as_ref());
        put(&mut out, self.scope.as_deref());
        put(&mut out, self.userinfo.as_deref());
        out
    }

    /// Reads what [`Session::encode`] wrote; `None` for anything else.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (layout, rest) = bytes.split_first()?;
        let (id, mut rest) = rest.split_first_chunk::<16>()?;
        if *layout != LAYOUT {
            return None;
        }
        let mut moments = [UnixMillis(0); 6];
        for moment in &mut moments {
            let (raw, after) = rest.split_first_chunk::<8>()?;
            *moment = UnixMillis(i64::from_be_bytes(*raw));
            rest = after;
        }
        let [created, renewed, touched, ends, authenticated, access_expires] = moments;
        let (subject, rest) = rest.split_first_chunk::<16>()?;
        let (has_sid, rest) = rest.split_first()?;
        let (sid, rest) = rest.split_first_chunk::<16>()?;
        let (both, rest) = rest.split_first_chunk::<16>()?;
        let [sid, both] = [sid, both].map(|mark| (*has_sid != 0).then_some(Mark(*mark)));
        let mut reader = Reader(rest);
        let session = Self {
            id: *id,
            created,
            renewed,
            touched,
            ends,
            authenticated,
            marks: Marks { subject: Mark(*subject), sid, both },
            access_expires: (access_expires.0 != 0).then_some(access_expires),
            issuer: reader.text()??,
            subject: reader.text()??,
            id_token: reader.token()?,
            claims: reader.text()?,
            access_token: reader.token()?,
            refresh_token: reader.token()?,
            scope: reader.text()?,
            userinfo: reader.text()?,
        };
        reader.0.is_empty().then_some(session)
    }
}

/// A field is a kind and, unless absent, a length (4 bytes) and that many bytes.
const ABSENT: u8 = 0;
const TEXT: u8 = 1;
/// Three lengths and three parts: a compact JWS whose parts re-encode to exactly what was given.
const JWS: u8 = 2;

fn put(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        None => out.push(ABSENT),
        Some(text) => {
            out.push(TEXT);
            put_bytes(out, text.as_bytes());
        }
    }
}

fn put_token(out: &mut Vec<u8>, token: Option<&Secret<String>>) {
    let Some(token) = token.map(Secret::expose) else { return put(out, None) };
    // The decoder is strict (no padding, no stray bits), so what decodes re-encodes to the same text.
    let parts: Option<Vec<Vec<u8>>> =
        token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).ok()).collect();
    match parts.as_deref() {
        Some([header, payload, signature]) => {
            out.push(JWS);
            [header, payload, signature].into_iter().for_each(|part| put_bytes(out, part));
        }
        _ => put(out, Some(token)),
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    // Cookies hold 36 KB at most; a longer length could not be sealed into one anyway.
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(bytes);
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn kind(&mut self) -> Option<u8> {
        let (kind, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*kind)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk::<4>()?;
        let (bytes, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        self.0 = rest;
        Some(bytes)
    }

    fn string(&mut self) -> Option<String> {
        self.bytes().and_then(|bytes| String::from_utf8(bytes.to_vec()).ok())
    }

    /// Outer `None`: malformed; inner `None`: absent.
    fn text(&mut self) -> Option<Option<String>> {
        match self.kind()? {
            ABSENT => Some(None),
            TEXT => self.string().map(Some),
            _ => None,
        }
    }

    fn token(&mut self) -> Option<Option<Secret<String>>> {
        let token = match self.kind()? {
            ABSENT => return Some(None),
            TEXT => self.string()?,
            JWS => {
                let [header, payload, signature] = [self.bytes()?, self.bytes()?, self.bytes()?];
                let encode = |part| URL_SAFE_NO_PAD.encode(part);
                format!("{}.{}.{}", encode(header), encode(payload), encode(signature))
            }
            _ => return None,
        };
        Some(Some(Secret::new(token)))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::session) fn session() -> Session {
        let jwt =
            |body: &str| Secret::new(format!("eyJhbGciOiJSUzI1NiJ9.{}.c2ln", URL_SAFE_NO_PAD.encode(body)));
        Session {
            id: [7; 16],
            created: UnixMillis(1_000_000),
            renewed: UnixMillis(1_000_000),
            touched: UnixMillis(1_000_000),
            ends: UnixMillis(i64::MAX),
            authenticated: UnixMillis(1_000_000),
            marks: Marks { subject: Mark([8; 16]), sid: Some(Mark([9; 16])), both: Some(Mark([10; 16])) },
            issuer: "https://issuer.example/".to_owned(),
            subject: "auth0|1".to_owned(),
            id_token: Some(jwt(r#"{"sub":"auth0|1"}"#)),
            claims: None,
            access_token: Some(Secret::new("opaque token".to_owned())),
            access_expires: Some(UnixMillis(2_000_000)),
            refresh_token: None,
            scope: Some("openid profile".to_owned()),
            userinfo: Some(r#"{"sub":"auth0|1"}"#.to_owned()),
        }
    }

    #[test]
    fn a_session_reads_back_as_it_was_written() {
        let session = session();
        let bytes = session.encode();
        let back = Session::decode(&bytes).unwrap();
        assert_eq!(back.encode(), bytes);
        assert_eq!(back.id_token, session.id_token);
        assert_eq!(back.access_token, session.access_token);
        assert_eq!((back.access_expires, back.ends), (session.access_expires, session.ends));
        assert_eq!((back.authenticated, back.marks), (session.authenticated, session.marks));
        assert_eq!(back.id_claims().unwrap(), br#"{"sub":"auth0|1"}"#);
        assert_eq!(back.userinfo, session.userinfo);
    }

    #[test]
    fn a_token_that_only_looks_like_a_jws_keeps_its_bytes() {
        for odd in ["a.b.c", "YQ==.YQ.YQ", "YR.YQ.YQ", "..", "YQ.YQ", "a b.c.d"] {
            let session = Session { access_token: Some(Secret::new(odd.to_owned())), ..session() };
            let back = Session::decode(&session.encode()).unwrap();
            assert_eq!(back.access_token, session.access_token, "{odd}");
        }
    }

    #[test]
    fn every_cut_of_an_encoded_session_is_refused() {
        let bytes = session().encode();
        (0..bytes.len()).for_each(|cut| assert!(Session::decode(&bytes[..cut]).is_none(), "{cut}"));
    }

    #[test]
    fn the_three_timeouts_end_a_session_each_by_itself() {
        let seconds = Duration::from_secs;
        let session = session();
        let at = |after: u64| session.created + seconds(after);
        let limits = |idling, rolling, absolute| Lifetimes {
            idling: seconds(idling),
            rolling: seconds(rolling),
            absolute: seconds(absolute),
        };
        for limits in [limits(100, 0, 0), limits(0, 100, 0), limits(0, 0, 100)] {
            assert_ne!(limits.standing(&session, at(99)), Standing::Over, "{limits:?}");
            assert_eq!(limits.standing(&session, at(100)), Standing::Over, "{limits:?}");
        }
        assert_eq!(limits(0, 0, 0).standing(&session, at(399 * 24 * 3600)), Standing::Good);
        assert_eq!(limits(0, 0, 0).standing(&session, at(400 * 24 * 3600)), Standing::Over);
    }

    #[test]
    fn r25_a_session_ends_no_later_than_was_said_at_its_login() {
        let session = Session { ends: UnixMillis(1_000_000) + Duration::from_secs(100), ..session() };
        let longer = Lifetimes { idling: Duration::ZERO, rolling: Duration::ZERO, absolute: Duration::ZERO };
        let at = |after: u64| session.created + Duration::from_secs(after);
        assert_eq!(longer.standing(&session, at(99)), Standing::Good);
        assert_eq!(longer.standing(&session, at(100)), Standing::Over);
    }

    #[test]
    fn no_timeout_is_too_long_to_be_reckoned_with() {
        let most = Duration::from_secs(u64::MAX);
        let limits = Lifetimes { idling: most, rolling: most, absolute: most };
        assert_eq!(limits.standing(&session(), UnixMillis(1_000_000)), Standing::Good);
    }

    #[test]
    fn a_cookie_is_issued_anew_once_a_minute_and_renewed_in_the_last_quarter() {
        let lifetimes = Lifetimes::default();
        let session = session();
        let at = |after: u64| session.created + Duration::from_secs(after);
        assert_eq!(lifetimes.standing(&session, at(59)), Standing::Good);
        assert_eq!(lifetimes.standing(&session, at(60)), Standing::Stale);
        let touched = session.clone().reissued(&lifetimes, at(60));
        assert_eq!((touched.touched, touched.renewed), (at(60), at(0)));
        let renewed = Session { touched: at(2650), ..session.clone() };
        assert_eq!(lifetimes.standing(&renewed, at(2699)), Standing::Good);
        assert_eq!(lifetimes.standing(&renewed, at(2700)), Standing::Stale);
        assert_eq!(renewed.reissued(&lifetimes, at(2700)).renewed, at(2700));
    }
}
