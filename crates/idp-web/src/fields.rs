//! Parameters of the protocol endpoints: a query, a form, or, as Auth0's SDKs send it, the same as a JSON object.

use axum::{
    body::Body,
    http::{HeaderMap, header},
};
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use oauth::{ErrorCode, OAuthError, Params, form};
use serde_json::Value;

/// Bytes of a query or body at a protocol endpoint. The longest honest ones hold a signed assertion.
const MAX_BYTES: usize = 64 * 1024;

/// Reads a query.
pub(crate) fn of_query(query: Option<&str>) -> Result<Params<'static>, OAuthError> {
    let query = query.unwrap_or_default();
    if query.len() > MAX_BYTES {
        return Err(refused("the query is too long"));
    }
    of_form(query.as_bytes())
}

/// Refuses parameters in the query: URLs are logged (RFC 6749 section 2.3.1).
pub(crate) fn none_in_query(query: Option<&str>) -> Result<(), OAuthError> {
    match query {
        None | Some("") => Ok(()),
        Some(_) => Err(refused("the parameters must be in the body, none in the query")),
    }
}

/// Reads a body that must be a form.
pub(crate) async fn of_form_body(headers: &HeaderMap, body: Body) -> Result<Params<'static>, OAuthError> {
    match media_type(headers).as_deref() {
        Some("application/x-www-form-urlencoded") => of_form(&bytes(body).await?),
        _ => Err(refused("the body must be application/x-www-form-urlencoded")),
    }
}

/// Reads a body that may be a form or a JSON object with strings in it.
pub(crate) async fn of_body(headers: &HeaderMap, body: Body) -> Result<Params<'static>, OAuthError> {
    match media_type(headers).as_deref() {
        Some("application/x-www-form-urlencoded") => of_form(&bytes(body).await?),
        Some("application/json") => of_json(&bytes(body).await?),
        _ => Err(refused("the body must be application/x-www-form-urlencoded or application/json")),
    }
}

fn of_form(bytes: &[u8]) -> Result<Params<'static>, OAuthError> {
    let params = form::parse(bytes).map_err(|error| refused(&error.to_string()))?.into_owned();
    // No parameter of any protocol here has a NUL in it, and databases disagree on what one means.
    if let Some((name, _)) = params.iter().find(|(name, value)| name.contains('\0') || value.contains('\0')) {
        return Err(refused(&format!("{} has a NUL character in it", shown(name))));
    }
    Ok(params)
}

fn of_json(bytes: &[u8]) -> Result<Params<'static>, OAuthError> {
    let value = jose::parse_json(bytes, 4)
        .map_err(|error| refused(&format!("the body is no usable JSON: {error}")))?;
    let Value::Object(object) = value else { return Err(refused("the body is not a JSON object")) };
    let mut form = form_urlencoded::Serializer::new(String::new());
    for (name, value) in &object {
        match value {
            Value::String(text) => drop(form.append_pair(name, text)),
            Value::Null => {}
            _ => return Err(refused(&format!("{} must be a string", shown(name)))),
        }
    }
    // From here on there is one set of rules for both.
    of_form(form.finish().as_bytes())
}

/// Writes parameters as a query.
pub(crate) fn to_query<'a>(params: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish()
}

/// `invalid_request` with words.
pub(crate) fn refused(description: &str) -> OAuthError {
    OAuthError::new(ErrorCode::InvalidRequest, description)
}

/// The media type of a body, in lower case and without parameters.
pub(crate) fn media_type(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

pub(crate) async fn bytes(body: Body) -> Result<Bytes, OAuthError> {
    let collected = Limited::new(body, MAX_BYTES).collect().await;
    collected.map(|body| body.to_bytes()).map_err(|_| refused("the body is too long or broke off"))
}

/// A stranger's name for a parameter, short enough to say back.
fn shown(name: &str) -> String {
    name.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Result<Params<'static>, OAuthError> {
        of_json(text.as_bytes())
    }

    fn words(result: Result<Params<'static>, OAuthError>) -> String {
        result.unwrap_err().description.unwrap()
    }

    #[test]
    fn o10_a_repeated_parameter_is_refused_in_query_form_and_json() {
        assert_eq!(words(of_query(Some("scope=a&scope=a"))), "the parameter scope is repeated");
        assert!(of_form(b"code=1&c%6fde=2").is_err());
        assert!(json(r#"{"code":"1","code":"2"}"#).is_err());
        assert!(json(r#"{"code":"1","c\u006fde":"2"}"#).is_err());
    }

    #[test]
    fn json_bodies_hold_strings_only() {
        assert_eq!(json(r#"{"a":"b&c= d","e":null}"#).unwrap().value("a"), Some("b&c= d"));
        assert_eq!(words(json(r#"{"code":["1"]}"#)), "code must be a string");
        for bad in ["[]", "", "\"a\"", "{\"a\":\"\u{0}\"}", "{\"a\":\"\\u0000\"}", "{\"a\":"] {
            assert!(json(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn o50_what_is_too_long_is_refused() {
        assert!(of_query(Some(&format!("state={}", "x".repeat(64 * 1024)))).is_err());
        assert!(json(&format!("{{\"scope\":\"{}\"}}", "x".repeat(17 * 1024))).is_err());
    }

    #[test]
    fn a_nul_is_refused_by_name() {
        assert_eq!(words(of_query(Some("state=a%00b"))), "state has a NUL character in it");
    }
}
