use std::time::Duration;

use base::Secret;
use serde_json::{Map, Value};

use crate::{MessageError, Scopes};

/// Seconds a token may claim to live at most: ten years. More is not a lifetime but a mistake (or an attack on the
/// arithmetic behind it).
const MAX_LIFETIME: u64 = 10 * 365 * 24 * 3600;
/// Bytes one token may have at most.
const MAX_TOKEN: usize = 64 * 1024;
/// Levels of arrays and objects in a message at most.
const MAX_DEPTH: usize = 32;

/// How an access token is to be used (RFC 6749 section 7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenType {
    /// RFC 6750.
    Bearer,
    /// RFC 9449: with a proof of possession.
    Dpop,
}

/// A successful answer of the token endpoint (RFC 6749 section 5.1, OIDC Core 3.1.3.3).
#[derive(Clone, Debug)]
pub struct TokenResponse {
    /// The access token.
    pub access_token: Secret<String>,
    /// How it is used.
    pub token_type: TokenType,
    /// How long it lives from now, where the server says so.
    pub expires_in: Option<Duration>,
    /// The refresh token, where there is one.
    pub refresh_token: Option<Secret<String>>,
    /// The ID token, not verified.
    pub id_token: Option<Secret<String>>,
    /// What was granted, where it differs from what was asked for.
    pub scope: Option<Scopes>,
}

impl TokenResponse {
    /// Reads the body of a 200 answer.
    ///
    /// # Errors
    ///
    /// Not a JSON object with distinct names; no access token; a token that is no string; a token type other than
    /// Bearer and DPoP; an `expires_in` that is no whole number of seconds within ten years.
    pub fn parse(body: &[u8]) -> Result<Self, MessageError> {
        let object = json_object(body)?;
        Ok(Self {
            access_token: token(&object, "access_token")?.ok_or(MessageError::Missing("access_token"))?,
            token_type: token_type(&object)?,
            expires_in: expires_in(&object)?,
            refresh_token: token(&object, "refresh_token")?,
            id_token: token(&object, "id_token")?,
            scope: scope(&object)?,
        })
    }
}

/// Reads a JSON object whose names are distinct at every depth: 32 levels at most, as [`jose::parse_json`] reads it.
///
/// # Errors
///
/// [`MessageError::NotAnObject`] for anything else.
pub fn json_object(body: &[u8]) -> Result<Map<String, Value>, MessageError> {
    match jose::parse_json(body, MAX_DEPTH) {
        Ok(Value::Object(object)) => Ok(object),
        _ => Err(MessageError::NotAnObject),
    }
}

/// A string of visible characters; `null` and the empty string, which some servers send for "none", are none.
fn token(object: &Map<String, Value>, name: &'static str) -> Result<Option<Secret<String>>, MessageError> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        // RFC 6749 appendix A.12 and A.17: 1*VSCHAR. It also ends up in headers.
        Some(Value::String(text))
            if text.len() <= MAX_TOKEN && text.bytes().all(|b| matches!(b, 0x20..=0x7e)) =>
        {
            Ok(Some(Secret::new(text.clone())))
        }
        Some(_) => Err(MessageError::Invalid(name)),
    }
}

fn token_type(object: &Map<String, Value>) -> Result<TokenType, MessageError> {
    let name = object.get("token_type").ok_or(MessageError::Missing("token_type"))?;
    match name.as_str() {
        Some(name) if name.eq_ignore_ascii_case("bearer") => Ok(TokenType::Bearer),
        Some(name) if name.eq_ignore_ascii_case("dpop") => Ok(TokenType::Dpop),
        _ => Err(MessageError::Invalid("token_type")),
    }
}

/// A number, or a number in a string as some servers send; whole, not negative, ten years at most.
fn expires_in(object: &Map<String, Value>) -> Result<Option<Duration>, MessageError> {
    let seconds = match object.get("expires_in") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => number.as_u64(),
        Some(Value::String(text)) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
        Some(_) => None,
    };
    match seconds {
        Some(seconds) if seconds <= MAX_LIFETIME => Ok(Some(Duration::from_secs(seconds))),
        _ => Err(MessageError::Invalid("expires_in")),
    }
}

fn scope(object: &Map<String, Value>) -> Result<Option<Scopes>, MessageError> {
    match object.get("scope") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => {
            Scopes::parse(text).map(Some).map_err(|_| MessageError::Invalid("scope"))
        }
        Some(_) => Err(MessageError::Invalid("scope")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Result<TokenResponse, MessageError> {
        TokenResponse::parse(body.as_bytes())
    }

    #[test]
    fn a_token_response_is_read() {
        let response = parse(
            r#"{"access_token":"at","token_type":"bearer","expires_in":"3600","refresh_token":"",
               "id_token":"a.b.c","scope":"openid email","example":[1]}"#,
        )
        .unwrap();
        assert_eq!(response.access_token.expose(), "at");
        assert_eq!(response.token_type, TokenType::Bearer);
        assert_eq!(response.expires_in, Some(Duration::from_secs(3600)));
        assert!(response.refresh_token.is_none());
        assert_eq!(response.id_token.unwrap().expose(), "a.b.c");
        assert_eq!(response.scope.unwrap().to_string(), "openid email");
    }

    #[test]
    fn r38_junk_is_refused() {
        let with = |members: &str| format!(r#"{{"access_token":"at","token_type":"Bearer"{members}}}"#);
        for bad in [
            String::new(),
            "<html></html>".to_owned(),
            "null".to_owned(),
            r#"{"token_type":"Bearer"}"#.to_owned(),
            r#"{"access_token":"at"}"#.to_owned(),
            r#"{"access_token":1,"token_type":"Bearer"}"#.to_owned(),
            r#"{"access_token":"a\r\nb","token_type":"Bearer"}"#.to_owned(),
            r#"{"access_token":"at","token_type":"mac"}"#.to_owned(),
            with(r#","access_token":"other""#),
            with(r#","refresh_token":1"#),
            with(r#","id_token":{}"#),
            with(r#","scope":["a"]"#),
            with(r#","expires_in":-1"#),
            with(r#","expires_in":"x""#),
            with(r#","expires_in":"""#),
            with(r#","expires_in":1e30"#),
            with(r#","expires_in":315360001"#),
        ] {
            assert!(parse(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn s01_tokens_are_not_in_the_debug_output() {
        let response =
            parse(r#"{"access_token":"canary","token_type":"Bearer","id_token":"canary"}"#).unwrap();
        assert!(!format!("{response:?}").contains("canary"));
    }
}
