use std::time::Duration;

use base::{UnixMillis, same_bytes};
use jose::{Alg, half_hash, parse_json};
use serde_json::{Map, Value};

use crate::bearer::numeric_date;

/// Levels of nesting in an ID token.
const MAX_DEPTH: usize = 32;
/// Longest `sub` (OIDC Core section 2).
const MAX_SUBJECT: usize = 255;

/// What an ID token must be (OIDC Core 3.1.3.7), its signature aside.
#[derive(Clone, Copy)]
pub struct IdTokenRules<'a> {
    /// Whether tokens of this `iss`, with this `tid` beside it, are the provider's.
    pub issuer: &'a dyn Fn(&str, Option<&str>) -> bool,
    /// The client it must be for.
    pub client_id: &'a str,
    /// The nonce of the authorization request; `None` at a refresh, where there was none (OIDC Core 12.2).
    pub nonce: Option<&'a str>,
    /// When the user must have been asked who they are at the earliest, where the authorization request had `max_age`.
    pub authenticated_since: Option<UnixMillis>,
    /// The access token that came with it, for `at_hash`.
    pub access_token: Option<&'a str>,
    /// The code that bought it, for `c_hash`.
    pub code: Option<&'a str>,
    /// The algorithm it was signed with, which names the hash of `at_hash` and `c_hash`.
    pub alg: Alg,
    /// How far clocks may differ.
    pub slack: Duration,
}

/// An ID token that keeps all the rules.
#[derive(Clone, Debug)]
pub struct IdToken {
    /// Who says so.
    pub issuer: String,
    /// Who logged in.
    pub subject: String,
    /// All its claims.
    pub claims: Map<String, Value>,
}

/// The rule that an ID token breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdTokenError {
    /// Not a JSON object with distinct names.
    #[error("the ID token's payload is not acceptable JSON")]
    Json,
    /// A claim is missing, of the wrong type, or not what it must be.
    #[error("the ID token's {0} is missing or wrong")]
    Claim(&'static str),
    /// Over.
    #[error("the ID token has expired")]
    Expired,
    /// From the future.
    #[error("the ID token was issued in the future")]
    Future,
}

impl IdTokenRules<'_> {
    /// Checks the payload of a token whose signature is verified.
    pub fn check(&self, payload: &[u8], now: UnixMillis) -> Result<IdToken, IdTokenError> {
        use IdTokenError::Claim;
        let Ok(Value::Object(claims)) = parse_json(payload, MAX_DEPTH) else {
            return Err(IdTokenError::Json);
        };
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        let issuer = text("iss").filter(|issuer| (self.issuer)(issuer, text("tid"))).ok_or(Claim("iss"))?;
        let subject =
            text("sub").filter(|sub| !sub.is_empty() && sub.len() <= MAX_SUBJECT).ok_or(Claim("sub"))?;
        self.check_audience(&claims)?;
        let date = |name: &'static str| claims.get(name).and_then(numeric_date).ok_or(Claim(name));
        if now >= date("exp")? + self.slack {
            return Err(IdTokenError::Expired);
        }
        if date("iat")? > now + self.slack {
            return Err(IdTokenError::Future);
        }
        // RFC 7519 section 4.1.5 has it optional, and binding where it is there.
        if claims.contains_key("nbf") && date("nbf")? > now + self.slack {
            return Err(IdTokenError::Future);
        }
        if let Some(nonce) = self.nonce {
            let same = text("nonce").is_some_and(|have| same_bytes(have.as_bytes(), nonce.as_bytes()));
            same.then_some(()).ok_or(Claim("nonce"))?;
        }
        // OIDC Core 3.1.2.1 and 3.1.3.7, rule 13: who asked for it must be told, and must look.
        if let Some(since) = self.authenticated_since
            && date("auth_time")? + self.slack < since
        {
            return Err(Claim("auth_time"));
        }
        self.check_hash(&claims, "at_hash", self.access_token)?;
        self.check_hash(&claims, "c_hash", self.code)?;
        Ok(IdToken { issuer: issuer.to_owned(), subject: subject.to_owned(), claims })
    }

    /// The client must be in `aud`. Further audiences are strangers unless `azp` says that the token was made for this
    /// client; an `azp` that names another never does (OIDC Core 3.1.3.7, rules 3 to 5).
    fn check_audience(&self, claims: &Map<String, Value>) -> Result<(), IdTokenError> {
        let alone = match claims.get("aud") {
            Some(Value::String(aud)) if aud == self.client_id => true,
            Some(Value::Array(items)) if items.iter().all(Value::is_string) => {
                if !items.iter().any(|item| item.as_str() == Some(self.client_id)) {
                    return Err(IdTokenError::Claim("aud"));
                }
                items.len() == 1
            }
            _ => return Err(IdTokenError::Claim("aud")),
        };
        match claims.get("azp") {
            Some(azp) if azp.as_str() != Some(self.client_id) => Err(IdTokenError::Claim("azp")),
            None if !alone => Err(IdTokenError::Claim("aud")),
            _ => Ok(()),
        }
    }

    fn check_hash(
        &self,
        claims: &Map<String, Value>,
        name: &'static str,
        hashed: Option<&str>,
    ) -> Result<(), IdTokenError> {
        match (claims.get(name), hashed) {
            (Some(claim), Some(text)) if claim.as_str() != Some(&half_hash(self.alg, text)) => {
                Err(IdTokenError::Claim(name))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: UnixMillis = UnixMillis::from_secs(1_000_000);

    fn rules() -> IdTokenRules<'static> {
        IdTokenRules {
            issuer: &|issuer, _| issuer == "https://issuer.example/",
            client_id: "client",
            nonce: Some("nonce"),
            authenticated_since: None,
            access_token: Some("jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"),
            code: Some("code"),
            alg: Alg::RS256,
            slack: Duration::from_secs(120),
        }
    }

    fn good() -> Value {
        json!({
            "iss": "https://issuer.example/", "sub": "u", "aud": "client", "exp": 1_000_100, "iat": 1_000_000,
            "nonce": "nonce", "at_hash": "77QmUPtjPfzWtF2AnpK9RQ",
        })
    }

    fn check(change: impl Fn(&mut Value)) -> Result<IdToken, IdTokenError> {
        let mut token = good();
        change(&mut token);
        rules().check(token.to_string().as_bytes(), NOW)
    }

    #[test]
    fn a_token_that_keeps_the_rules_says_who_logged_in() {
        assert_eq!(check(|_| ()).unwrap().subject, "u");
        assert!(check(|token| token["aud"] = json!(["client"])).is_ok());
        assert!(check(|token| token["azp"] = json!("client")).is_ok());
        assert!(
            check(|token| (token["aud"], token["azp"]) = (json!(["client", "api"]), json!("client"))).is_ok()
        );
        assert!(check(|token| token["exp"] = json!(999_881)).is_ok(), "within the slack");
    }

    #[test]
    fn r09_every_broken_claim_is_refused() {
        let cases = [
            ("iss", json!("https://issuer.example")),
            ("iss", json!(["https://issuer.example/"])),
            ("iss", Value::Null),
            ("sub", json!("")),
            ("sub", json!(1)),
            ("sub", json!("x".repeat(256))),
            ("aud", json!("other")),
            ("aud", json!(["other"])),
            ("aud", json!(["client", "other"])),
            ("aud", json!(["client", 1])),
            ("aud", json!([])),
            ("aud", json!("client2")),
            ("azp", json!("other")),
            ("azp", json!(1)),
            ("exp", json!(999_880)),
            ("exp", json!("1000100")),
            ("exp", json!(1e300)),
            ("exp", Value::Null),
            ("iat", json!(1_000_121)),
            ("iat", Value::Null),
            ("nbf", json!(1_000_121)),
            ("nbf", json!("soon")),
            ("nbf", Value::Null),
            ("nonce", json!("other")),
            ("nonce", Value::Null),
            ("at_hash", json!("77QmUPtjPfzWtF2AnpK9RR")),
            ("at_hash", json!(1)),
            ("c_hash", json!("wrong")),
        ];
        for (name, value) in cases {
            assert!(check(|token| token[name] = value.clone()).is_err(), "{name}: {value}");
        }
        assert!(rules().check(b"[]", NOW).is_err());
        let twice = good().to_string().replacen('{', r#"{"sub":"v","#, 1);
        assert!(rules().check(twice.as_bytes(), NOW).is_err());
    }

    #[test]
    fn r09_where_max_age_was_asked_for_the_user_was_asked_since() {
        let rules = IdTokenRules { authenticated_since: Some(UnixMillis::from_secs(999_000)), ..rules() };
        let check = |auth_time: Value| {
            let mut token = good();
            token["auth_time"] = auth_time;
            rules.check(token.to_string().as_bytes(), NOW).map(drop)
        };
        assert_eq!(check(json!(998_880)), Ok(()), "within the slack");
        for bad in [json!(998_879), json!("999000"), Value::Null] {
            assert_eq!(check(bad.clone()), Err(IdTokenError::Claim("auth_time")), "{bad}");
        }
    }

    #[test]
    fn r04_a_nonce_is_asked_for_at_login_and_not_at_refresh() {
        assert_eq!(check(|token| token["nonce"] = json!("older")).unwrap_err(), IdTokenError::Claim("nonce"));
        let mut token = good();
        token.as_object_mut().unwrap().remove("nonce");
        let refresh = IdTokenRules { nonce: None, code: None, ..rules() };
        assert!(refresh.check(token.to_string().as_bytes(), NOW).is_ok());
    }
}
