use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use aws_lc_rs::digest;
use base::UnixMillis;
use jose::parse_json;
use serde_json::{Map, Value};

use crate::bearer::numeric_date;

/// What `events` must have a member of (OpenID Connect Back-Channel Logout 1.0 section 2.4).
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// Types that a logout token may have. Without one it is told from an ID token by its claims (section 2.4).
const TYPES: [&str; 3] = ["logout+jwt", "application/logout+jwt", "JWT"];
/// Levels of nesting.
const MAX_DEPTH: usize = 8;
/// Longest claim that names something.
const MAX_NAME: usize = 255;
/// A token that would count longer is refused: it must be remembered for as long.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// Tokens that are remembered. All of them are the providers' own.
const CAPACITY: usize = 100_000;

/// What a logout token must be (OpenID Connect Back-Channel Logout 1.0 section 2.6), its signature aside.
#[derive(Clone, Copy)]
pub struct LogoutTokenRules<'a> {
    /// Whether tokens of this `iss`, with this `tid` beside it, are the provider's.
    pub issuer: &'a dyn Fn(&str, Option<&str>) -> bool,
    /// The client it must be for.
    pub client_id: &'a str,
    /// How far clocks may differ.
    pub slack: Duration,
}

/// A logout token that keeps all the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogoutToken {
    /// Who says so.
    pub issuer: String,
    /// Its id, with which it counts once.
    pub id: String,
    /// When it no longer counts, the clocks' difference added.
    pub expires: UnixMillis,
    /// The user whose sessions end, or whose one session does.
    pub subject: Option<String>,
    /// The one session that ends.
    pub sid: Option<String>,
}

/// The rule that a logout token breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogoutTokenError {
    /// Its `typ` is that of another kind of token.
    #[error("the token is no logout token")]
    Type,
    /// Not a JSON object with distinct names.
    #[error("the logout token's payload is not acceptable JSON")]
    Json,
    /// A claim is missing, of the wrong type, or not what it must be.
    #[error("the logout token's {0} is missing or wrong")]
    Claim(&'static str),
    /// Over.
    #[error("the logout token has expired")]
    Expired,
    /// From the future.
    #[error("the logout token was issued in the future")]
    Future,
}

impl LogoutTokenRules<'_> {
    /// Checks the payload of a token of type `typ` whose signature is verified.
    ///
    /// # Errors
    ///
    /// The first rule that it breaks.
    pub fn check(
        &self,
        typ: Option<&str>,
        payload: &[u8],
        now: UnixMillis,
    ) -> Result<LogoutToken, LogoutTokenError> {
        use LogoutTokenError::Claim;
        if typ.is_some_and(|typ| !TYPES.iter().any(|known| known.eq_ignore_ascii_case(typ))) {
            return Err(LogoutTokenError::Type);
        }
        let Ok(Value::Object(claims)) = parse_json(payload, MAX_DEPTH) else {
            return Err(LogoutTokenError::Json);
        };
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        let issuer = text("iss").filter(|issuer| (self.issuer)(issuer, text("tid"))).ok_or(Claim("iss"))?;
        if !self.is_for_client(&claims) {
            return Err(Claim("aud"));
        }
        // What makes it one: an ID token has a nonce and no such event.
        let event = claims.get("events").and_then(|events| events.get(EVENT));
        if !event.is_some_and(Value::is_object) {
            return Err(Claim("events"));
        }
        if claims.contains_key("nonce") {
            return Err(Claim("nonce"));
        }
        let date = |name: &'static str| claims.get(name).and_then(numeric_date).ok_or(Claim(name));
        if date("iat")? > now + self.slack {
            return Err(LogoutTokenError::Future);
        }
        if claims.contains_key("nbf") && date("nbf")? > now + self.slack {
            return Err(LogoutTokenError::Future);
        }
        let expires = date("exp")? + self.slack;
        if now >= expires {
            return Err(LogoutTokenError::Expired);
        }
        if expires > now + LONGEST {
            return Err(Claim("exp"));
        }
        let name = |name: &'static str| match claims.get(name) {
            None => Ok(None),
            Some(Value::String(text)) if !text.is_empty() && text.len() <= MAX_NAME => Ok(Some(text.clone())),
            Some(_) => Err(Claim(name)),
        };
        let id = name("jti")?.ok_or(Claim("jti"))?;
        let (subject, sid) = (name("sub")?, name("sid")?);
        if subject.is_none() && sid.is_none() {
            return Err(Claim("sub and sid"));
        }
        Ok(LogoutToken { issuer: issuer.to_owned(), id, expires, subject, sid })
    }

    fn is_for_client(&self, claims: &Map<String, Value>) -> bool {
        match claims.get("aud") {
            Some(Value::String(aud)) => aud == self.client_id,
            Some(Value::Array(all)) => {
                all.iter().all(Value::is_string) && all.iter().any(|aud| aud.as_str() == Some(self.client_id))
            }
            _ => false,
        }
    }
}

/// The logout tokens that have done their work, for the whole process: each does it once.
#[derive(Debug, Default)]
pub struct UsedTokens(Mutex<BTreeMap<(UnixMillis, [u8; 32]), ()>>);

/// A logout token cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// It was used before.
    Used,
    /// Too many are remembered.
    Full,
}

impl UsedTokens {
    /// Uses `token`.
    ///
    /// # Errors
    ///
    /// When it was used before, or nothing more can be remembered.
    pub fn claim(&self, token: &LogoutToken, now: UnixMillis) -> Result<(), Unusable> {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while used.first_key_value().is_some_and(|((expires, _), ())| *expires <= now) {
            used.pop_first();
        }
        if used.len() >= CAPACITY {
            return Err(Unusable::Full);
        }
        match used.insert(key(token), ()) {
            None => Ok(()),
            Some(()) => Err(Unusable::Used),
        }
    }

    /// Takes a use back: what the token asks for could not be done, and the provider may ask again.
    pub fn release(&self, token: &LogoutToken) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&key(token));
    }
}

/// Two tokens of one issuer and one id are the same, whatever they say of their end: a signed token cannot say two things.
fn key(token: &LogoutToken) -> (UnixMillis, [u8; 32]) {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&token.issuer.len().to_be_bytes());
    context.update(token.issuer.as_bytes());
    context.update(token.id.as_bytes());
    let mut out = [0; 32];
    out.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    (token.expires, out)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: UnixMillis = UnixMillis::from_secs(1_000_000);

    fn rules() -> LogoutTokenRules<'static> {
        LogoutTokenRules {
            issuer: &|issuer, _| issuer == "https://issuer.example/",
            client_id: "client",
            slack: Duration::from_secs(120),
        }
    }

    fn good() -> Value {
        json!({
            "iss": "https://issuer.example/", "aud": "client", "iat": 1_000_000, "exp": 1_000_120, "jti": "1",
            "sub": "user", "sid": "s", "events": {EVENT: {}},
        })
    }

    fn check(change: impl Fn(&mut Value)) -> Result<LogoutToken, LogoutTokenError> {
        let mut token = good();
        change(&mut token);
        token.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        rules().check(Some("logout+jwt"), token.to_string().as_bytes(), NOW)
    }

    #[test]
    fn r20_a_logout_token_that_keeps_the_rules_says_what_ends() {
        let token = check(|_| ()).unwrap();
        assert_eq!((token.subject.as_deref(), token.sid.as_deref()), (Some("user"), Some("s")));
        assert_eq!(check(|token| token["sid"] = Value::Null).unwrap().sid, None);
        assert_eq!(check(|token| token["sub"] = Value::Null).unwrap().subject, None);
        assert!(check(|token| token["aud"] = json!(["other", "client"])).is_ok());
        let payload = good().to_string();
        for typ in [None, Some("JWT"), Some("application/LOGOUT+jwt")] {
            assert!(rules().check(typ, payload.as_bytes(), NOW).is_ok(), "{typ:?}");
        }
    }

    #[test]
    fn r20_every_broken_rule_is_refused() {
        let cases = [
            ("events", Value::Null),
            ("events", json!({})),
            ("events", json!([EVENT])),
            ("events", json!({EVENT: true})),
            ("events", json!({EVENT: "{}"})),
            ("events", json!(EVENT)),
            ("nonce", json!("n")),
            ("nonce", json!("")),
            ("iat", Value::Null),
            ("nbf", json!(1_000_121)),
            ("iat", json!(1_000_121)),
            ("jti", Value::Null),
            ("jti", json!(1)),
            ("jti", json!("")),
            ("exp", Value::Null),
            ("exp", json!(999_880)),
            ("exp", json!(2_000_000)),
            ("iss", json!("https://issuer.example")),
            ("iss", Value::Null),
            ("aud", json!("other")),
            ("aud", json!([])),
            ("aud", json!(["client", 1])),
            ("aud", Value::Null),
            ("sub", json!(7)),
            ("sid", json!("")),
            ("sid", json!("x".repeat(256))),
        ];
        for (name, value) in cases {
            assert!(check(|token| token[name] = value.clone()).is_err(), "{name}: {value}");
        }
        let neither = check(|token| (token["sub"], token["sid"]) = (Value::Null, Value::Null));
        assert_eq!(neither, Err(LogoutTokenError::Claim("sub and sid")));
        let payload = good().to_string();
        for typ in ["at+jwt", "dpop+jwt", "secevent+jwt", "id_token"] {
            assert_eq!(rules().check(Some(typ), payload.as_bytes(), NOW), Err(LogoutTokenError::Type));
        }
        assert!(rules().check(None, b"[]", NOW).is_err());
        let twice = payload.replacen('{', r#"{"sid":"other","#, 1);
        assert!(rules().check(None, twice.as_bytes(), NOW).is_err());
    }

    #[test]
    fn r20_a_logout_token_does_its_work_once_unless_it_could_not() {
        let used = UsedTokens::default();
        let token = check(|_| ()).unwrap();
        assert_eq!(used.claim(&token, NOW), Ok(()));
        assert_eq!(used.claim(&token, NOW), Err(Unusable::Used));
        used.release(&token);
        assert_eq!(used.claim(&token, NOW), Ok(()));
        let other = check(|token| token["jti"] = json!("2")).unwrap();
        assert_eq!(used.claim(&other, NOW + Duration::from_secs(600)), Ok(()));
        assert_eq!(used.0.lock().unwrap().len(), 1, "what no longer counts is not remembered");
    }
}
