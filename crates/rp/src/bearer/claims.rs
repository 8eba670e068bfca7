use std::time::Duration;

use base::UnixMillis;
use jose::{Header, parse_json};
use serde_json::{Map, Value};

use super::{Binding, Refusal, RevocationMarks};

/// Levels of nesting in a token's payload.
const MAX_DEPTH: usize = 32;
/// The end of the year 9999: later dates are mistakes or attacks.
const LAST_DATE: f64 = 253_402_300_799.0;

/// What is left of a verified token: everything that is judged on each request.
#[derive(Clone, Debug)]
pub struct Claims {
    /// `exp`, or what stands in for it.
    pub expires: UnixMillis,
    not_before: Option<UnixMillis>,
    issued: Option<UnixMillis>,
    /// The values of the audience claim; `None` where there is none.
    audience: Option<Box<[Box<str>]>>,
    scopes: Box<[Box<str>]>,
    binding: Option<Box<Binding>>,
    marks: Option<Box<RevocationMarks>>,
}

/// How a payload is read.
#[derive(Clone, Copy)]
pub struct ClaimRules<'a> {
    /// The client whose ID tokens are no access tokens.
    pub client_id: &'a str,
    /// Claim that names the audience: `aud` unless configured.
    pub audience_claim: &'a str,
    /// Whether tokens of this `iss`, with this `tid` beside it, are the provider's.
    pub issuer: &'a dyn Fn(&str, Option<&str>) -> bool,
}

impl ClaimRules<'_> {
    /// Reads the payload of a JWT whose signature is verified, and refuses what can never be an access token for here:
    /// another issuer, claims of the wrong type, no `exp`, no `sub`, a binding (`cnf`) that is not known, a token of another kind.
    pub fn read_jwt(&self, header: &Header, payload: &[u8]) -> Result<(Claims, Map<String, Value>), Refusal> {
        let Ok(Value::Object(object)) = parse_json(payload, MAX_DEPTH) else {
            return Err(Refusal::Malformed);
        };
        match object.get("iss") {
            None => return Err(Refusal::IssuerMissing),
            Some(issuer) if !self.is_ours(issuer, &object) => return Err(Refusal::Issuer),
            Some(_) => {}
        }
        self.check_kind(header, &object)?;
        if object.get("sub").and_then(Value::as_str).is_none_or(str::is_empty) {
            return Err(Refusal::Claim("sub"));
        }
        let expires = object.get("exp").and_then(numeric_date).ok_or(Refusal::Claim("exp"))?;
        Ok((self.read(&object, expires)?, object))
    }

    /// Reads what an introspection endpoint says of an active token (RFC 7662 section 2.2). `expires` is what the
    /// configured expiry claim came to.
    pub fn read_introspection(
        &self,
        object: &Map<String, Value>,
        expires: UnixMillis,
    ) -> Result<Claims, Refusal> {
        if object.get("iss").is_some_and(|issuer| !self.is_ours(issuer, object)) {
            return Err(Refusal::Issuer);
        }
        self.read(object, expires)
    }

    fn read(&self, object: &Map<String, Value>, expires: UnixMillis) -> Result<Claims, Refusal> {
        let binding = object.get("cnf").map(Binding::read).transpose()?.map(Box::new);
        let date = |name: &'static str| match object.get(name) {
            None => Ok(None),
            Some(value) => numeric_date(value).map(Some).ok_or(Refusal::Claim(name)),
        };
        texts(object.get("aud")).ok_or(Refusal::Claim("aud"))?;
        let audience = texts(object.get(self.audience_claim)).ok_or(Refusal::Claim("audience"))?;
        let scopes = scopes(object);
        let marks = object.get("jti").and_then(Value::as_str).map(RevocationMarks::of).map(Box::new);
        let (not_before, issued) = (date("nbf")?, date("iat")?);
        Ok(Claims { expires, not_before, issued, audience, scopes, binding, marks })
    }

    fn is_ours(&self, issuer: &Value, object: &Map<String, Value>) -> bool {
        issuer.as_str().is_some_and(|issuer| (self.issuer)(issuer, object.get("tid").and_then(Value::as_str)))
    }

    /// Providers sign ID tokens, logout tokens, refresh tokens and access tokens with the same keys. Only a type that
    /// access tokens have is taken (RFC 8725 section 3.11, RFC 9068 section 4), and no claim that marks another kind.
    fn check_kind(&self, header: &Header, object: &Map<String, Value>) -> Result<(), Refusal> {
        let declared = header.has_typ("at+jwt");
        if header.typ.is_some() && !declared && !header.has_typ("jwt") {
            return Err(Refusal::NotAccessToken);
        }
        // Keycloak says in the payload what it does not say in the header.
        let kind = object.get("typ").and_then(Value::as_str).unwrap_or_default();
        let other_kind = ["ID", "Refresh", "Offline", "Logout"].contains(&kind);
        // `events`: logout and security event tokens. `htm`: DPoP proofs.
        if other_kind || object.contains_key("events") || object.contains_key("htm") {
            return Err(Refusal::NotAccessToken);
        }
        let for_client = match object.get("aud") {
            Some(Value::String(aud)) => aud == self.client_id,
            Some(Value::Array(items)) => items.len() == 1 && items.iter().all(|item| *item == self.client_id),
            _ => false,
        };
        let of_a_login =
            ["nonce", "at_hash", "c_hash", "s_hash"].iter().any(|name| object.contains_key(*name));
        if for_client && of_a_login && !declared { Err(Refusal::NotAccessToken) } else { Ok(()) }
    }
}

impl Claims {
    /// Whether the token is valid at `now`. `leeway` is added to `exp`, `slack` is how far `nbf` and `iat` may lie
    /// ahead.
    pub fn check_times(&self, now: UnixMillis, leeway: Duration, slack: Duration) -> Result<(), Refusal> {
        if now >= self.expires + leeway {
            return Err(Refusal::Expired);
        }
        if self.not_before.is_some_and(|moment| moment > now + slack) {
            return Err(Refusal::NotYet);
        }
        if self.issued.is_some_and(|moment| moment > now + slack) {
            return Err(Refusal::Future);
        }
        Ok(())
    }

    /// Whether the token names an audience at all.
    pub fn has_audience(&self) -> bool {
        self.audience.as_ref().is_some_and(|audience| audience.iter().any(|one| !one.is_empty()))
    }

    /// Whether `audience` is one of the token's, byte for byte.
    pub fn is_for(&self, audience: &str) -> bool {
        self.audience.iter().flatten().any(|one| **one == *audience)
    }

    /// Whether the token has this very scope.
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scopes.iter().any(|one| **one == *scope)
    }

    /// To whom the token is bound.
    pub fn binding(&self) -> Option<&Binding> {
        self.binding.as_deref()
    }

    /// What the token can be revoked by; `None` where it has no id.
    pub fn revocation_marks(&self) -> Option<&RevocationMarks> {
        self.marks.as_deref()
    }

    /// About how many bytes it takes.
    pub fn weight(&self) -> usize {
        let texts = self.scopes.iter().chain(self.audience.iter().flatten());
        let binding = self.binding.as_ref().map_or(0, |_| size_of::<Binding>() + 43);
        let marks = self.marks.as_ref().map_or(0, |_| size_of::<RevocationMarks>());
        size_of::<Self>()
            + binding
            + marks
            + texts.map(|text| size_of::<Box<str>>() + text.len()).sum::<usize>()
    }
}

/// The scopes of a token: those of `scope` (RFC 8693 section 4.2) and those of `scp`, which Okta and Entra have in its
/// place; each a text with spaces or a list. A list with anything but texts in it names none.
pub fn scopes(object: &Map<String, Value>) -> Box<[Box<str>]> {
    let named = |name: &str| -> Box<[Box<str>]> {
        match object.get(name) {
            Some(Value::String(text)) => {
                text.split(' ').filter(|scope| !scope.is_empty()).map(Box::from).collect()
            }
            Some(list @ Value::Array(_)) => texts(Some(list)).flatten().unwrap_or_default(),
            _ => Box::default(),
        }
    };
    named("scope").into_iter().chain(named("scp")).collect()
}

/// A JSON number of seconds since 1970, whole or not (RFC 7519 section 2). `None` for anything else, and for dates that
/// cannot be meant.
pub fn numeric_date(value: &Value) -> Option<UnixMillis> {
    let seconds =
        value.as_f64().filter(|_| value.is_number()).filter(|seconds| seconds.abs() <= LAST_DATE)?;
    // Bounded above, so the product fits.
    #[allow(clippy::cast_possible_truncation)]
    Some(UnixMillis((seconds * 1000.0).floor() as i64))
}

/// One string or a list of strings. Outer `None`: something else; inner `None`: absent.
#[allow(clippy::option_option)]
fn texts(value: Option<&Value>) -> Option<Option<Box<[Box<str>]>>> {
    match value {
        None => Some(None),
        Some(Value::String(text)) => Some(Some([text.as_str().into()].into())),
        Some(Value::Array(items)) => {
            items.iter().map(|item| item.as_str().map(Box::from)).collect::<Option<Box<[_]>>>().map(Some)
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const RULES: ClaimRules<'static> = ClaimRules {
        client_id: "client",
        audience_claim: "aud",
        issuer: &|issuer, _| issuer == "https://idp.example/",
    };
    const NOW: UnixMillis = UnixMillis::from_secs(1_000_000);

    fn header(typ: Option<&str>) -> Header {
        Header { alg: "RS256".to_owned(), kid: None, typ: typ.map(str::to_owned), cty: None }
    }

    fn good() -> Value {
        json!({"iss": "https://idp.example/", "sub": "u", "aud": "https://api/", "exp": 1_000_100, "iat": 1_000_000,
               "scope": "read:things admin-not"})
    }

    fn read_as(typ: Option<&str>, change: impl Fn(&mut Value)) -> Result<Claims, Refusal> {
        let mut token = good();
        change(&mut token);
        let claims = RULES.read_jwt(&header(typ), token.to_string().as_bytes())?.0;
        claims.check_times(NOW, Duration::ZERO, Duration::from_secs(120))?;
        Ok(claims)
    }

    fn read(change: impl Fn(&mut Value)) -> Result<Claims, Refusal> {
        read_as(Some("JWT"), change)
    }

    fn without(name: &'static str) -> impl Fn(&mut Value) {
        move |token| drop(token.as_object_mut().unwrap().remove(name))
    }

    #[test]
    fn j27_only_a_numeric_exp_in_the_future_passes() {
        for good in [json!(1_000_001), json!(1_000_000.5), json!(1_000_100)] {
            assert!(read(|token| token["exp"] = good.clone()).is_ok(), "{good}");
        }
        let bad = [
            json!(999_999),
            json!(1_000_000),
            json!("1000100"),
            json!(-1),
            json!(1e300),
            json!(null),
            json!(true),
        ];
        for bad in bad {
            assert!(read(|token| token["exp"] = bad.clone()).is_err(), "{bad}");
        }
        assert_eq!(read(without("exp")).unwrap_err(), Refusal::Claim("exp"));
    }

    #[test]
    fn j27_leeway_extends_exp_only_where_it_is_given() {
        let claims = read(|_| ()).unwrap();
        let late = UnixMillis::from_secs(1_000_110);
        let seconds = Duration::from_secs;
        assert_eq!(claims.check_times(late, Duration::ZERO, seconds(120)), Err(Refusal::Expired));
        assert_eq!(claims.check_times(late, seconds(11), seconds(120)), Ok(()));
        assert_eq!(claims.check_times(late, seconds(10), seconds(120)), Err(Refusal::Expired));
    }

    #[test]
    fn j28_nbf_and_iat_lie_ahead_by_the_slack_at_most() {
        for name in ["nbf", "iat"] {
            assert!(read(|token| token[name] = json!(1_000_120)).is_ok());
            assert!(read(|token| token[name] = json!(1_000_121)).is_err());
            assert_eq!(read(|token| token[name] = json!("1000000")).unwrap_err(), Refusal::Claim(name));
        }
    }

    #[test]
    fn j29_the_issuer_is_compared_byte_for_byte() {
        let tricks = [
            "https://idp.example",
            "https://IDP.example/",
            "http://idp.example/",
            "https://idp.example:443/",
            "https://idp.example.evil.com/",
            "https://idp.example/x",
            "xhttps://idp.example/",
            "idp.example",
            "https://\u{456}dp.example/",
            "",
        ];
        for trick in tricks {
            assert_eq!(read(|token| token["iss"] = json!(trick)).unwrap_err(), Refusal::Issuer, "{trick}");
        }
        assert_eq!(
            read(|token| token["iss"] = json!(["https://idp.example/"])).unwrap_err(),
            Refusal::Issuer
        );
        assert_eq!(read(without("iss")).unwrap_err(), Refusal::IssuerMissing);
    }

    #[test]
    fn j30_an_audience_is_one_of_the_tokens_strings_and_nothing_near_it() {
        let claims = |aud: Value| read(|token| token["aud"] = aud.clone());
        for (aud, ours) in [
            (json!("https://api/"), true),
            (json!(["x", "https://api/"]), true),
            (json!("https://api"), false),
            (json!("https://api/x"), false),
            (json!(""), false),
            (json!([]), false),
            (json!("https://other/"), false),
        ] {
            assert_eq!(claims(aud.clone()).unwrap().is_for("https://api/"), ours, "{aud}");
        }
        for odd in [json!(1), json!({"a": "https://api/"}), json!([["https://api/"]]), json!(null)] {
            assert_eq!(claims(odd.clone()).unwrap_err(), Refusal::Claim("aud"), "{odd}");
        }
        for none in [json!(""), json!([])] {
            assert!(!claims(none).unwrap().has_audience());
        }
        assert!(!read(without("aud")).unwrap().has_audience());
    }

    #[test]
    fn j31_an_id_token_is_not_an_access_token() {
        for mark in ["nonce", "at_hash", "c_hash"] {
            for aud in [json!("client"), json!(["client"])] {
                let id_token = |token: &mut Value| (token["aud"], token[mark]) = (aud.clone(), json!("x"));
                assert_eq!(read(id_token).unwrap_err(), Refusal::NotAccessToken);
                assert_eq!(read_as(None, id_token).unwrap_err(), Refusal::NotAccessToken);
            }
        }
        assert!(read(|token| token["aud"] = json!("client")).is_ok(), "nothing marks it as an ID token");
        assert!(read(|token| token["nonce"] = json!("x")).is_ok(), "it is for an API");
    }

    #[test]
    fn j32_tokens_of_other_kinds_are_refused() {
        for typ in [
            "logout+jwt",
            "dpop+jwt",
            "secevent+jwt",
            "application/logout+jwt",
            "rt+jwt",
            "token-introspection+jwt",
        ] {
            assert_eq!(read_as(Some(typ), |_| ()).unwrap_err(), Refusal::NotAccessToken, "{typ}");
        }
        for typ in ["ID", "Refresh", "Offline", "Logout"] {
            assert_eq!(
                read(|token| token["typ"] = json!(typ)).unwrap_err(),
                Refusal::NotAccessToken,
                "{typ}"
            );
        }
        for mark in ["events", "htm"] {
            assert_eq!(read(|token| token[mark] = json!({})).unwrap_err(), Refusal::NotAccessToken, "{mark}");
        }
        assert!(read(|token| token["typ"] = json!("Bearer")).is_ok());
    }

    #[test]
    fn j33_the_type_is_compared_without_case_and_prefix() {
        for typ in [None, Some("JWT"), Some("at+jwt"), Some("AT+JWT"), Some("application/at+jwt")] {
            assert!(read_as(typ, |_| ()).is_ok(), "{typ:?}");
        }
        for typ in ["at+jwtx", "", "at+jwt ", "xat+jwt"] {
            assert!(read_as(Some(typ), |_| ()).is_err(), "{typ}");
        }
    }

    #[test]
    fn j34_a_token_says_whose_it_is() {
        assert_eq!(read(without("sub")).unwrap_err(), Refusal::Claim("sub"));
        for odd in [json!(""), json!(1), json!(null), json!(["u"])] {
            assert_eq!(read(|token| token["sub"] = odd.clone()).unwrap_err(), Refusal::Claim("sub"));
        }
    }

    #[test]
    fn j50_scopes_are_compared_as_whole_tokens() {
        let claims = |name: &'static str, scope: Value| {
            read(|token| {
                token.as_object_mut().unwrap().remove("scope");
                token[name] = scope.clone();
            })
            .unwrap()
        };
        assert!(!claims("scope", json!("not-admin admin-not administrator")).has_scope("admin"));
        assert!(!claims("scope", json!("read\u{a0}admin")).has_scope("admin"));
        assert!(!claims("scope", json!("read\tadmin")).has_scope("admin"));
        assert!(claims("scope", json!(["read", "admin"])).has_scope("admin"));
        assert!(!claims("scope", json!(["read admin"])).has_scope("admin"));
        assert!(!claims("scope", json!(["admin", 1])).has_scope("admin"));
        assert!(claims("scp", json!("read admin")).has_scope("admin"));
        assert!(claims("scp", json!(["read", "admin"])).has_scope("admin"));
        assert!(!claims("scp", json!(["read", "not-admin"])).has_scope("admin"));
        assert!(!claims("scp", json!("Admin")).has_scope("admin"), "letters are compared as they are");
        let many: Vec<String> = (0..10_000).map(|number| format!("scope-{number}")).collect();
        assert!(claims("scope", json!(many.join(" "))).has_scope("scope-9999"));
        assert!(!claims("scope", json!(many.join(" "))).has_scope("scope-"));
        assert!(!claims("scope", json!({"admin": true})).has_scope("admin"));
    }

    #[test]
    fn j50_scope_and_scp_count_together() {
        let both = read(|token| token["scp"] = json!(["write:things"])).unwrap();
        assert!(both.has_scope("read:things") && both.has_scope("write:things"));
    }

    #[test]
    fn j55_a_token_that_is_bound_says_to_what() {
        assert_eq!(read(|token| token["cnf"] = json!({"jkt": "x"})).unwrap_err(), Refusal::Bound);
        let jkt = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
        let claims = read(|token| token["cnf"] = json!({"jkt": jkt})).unwrap();
        assert_eq!(claims.binding().unwrap().jkt.as_deref(), Some(jkt));
        assert!(read(|_| ()).unwrap().binding().is_none());
    }

    #[test]
    fn j51_an_introspection_answer_of_another_issuer_or_for_a_bound_token_is_refused() {
        let read = |answer: Value| RULES.read_introspection(answer.as_object().unwrap(), NOW);
        assert!(read(json!({"active": true})).is_ok());
        assert_eq!(read(json!({"active": true, "iss": "https://other/"})).unwrap_err(), Refusal::Issuer);
        assert_eq!(read(json!({"active": true, "cnf": {}})).unwrap_err(), Refusal::Bound);
    }
}
