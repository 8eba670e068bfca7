//! Rich Authorization Requests (RFC 9396): what exactly a user is to allow, beyond scopes.

use oauth::{ErrorCode, OAuthError, Params};
use serde_json::{Map, Value};

use super::targets::Targets;
use crate::model::Grant;

/// Bytes of the parameter.
const MAX_BYTES: usize = 8 * 1024;
/// Things that may be asked for at once.
const MAX_DETAILS: usize = 20;
/// The list, a detail, and four levels of its own.
const MAX_DEPTH: usize = 6;
/// Members that are lists of strings wherever they stand (RFC 9396 section 2.2).
const LISTS: [&str; 4] = ["locations", "actions", "datatypes", "privileges"];

/// The details of a request for these APIs: each of a type that one of them has, and for no other place.
pub(crate) fn parse(params: &Params<'_>, targets: &Targets) -> Result<Vec<Value>, OAuthError> {
    let details = read(params)?;
    for detail in &details {
        let kind = detail.get("type").and_then(Value::as_str).unwrap_or_default();
        let knows = |(name, api): &(&str, &crate::model::ResourceServer)| {
            let located = match detail.get("locations").and_then(Value::as_array) {
                Some(places) => places.iter().any(|place| place.as_str() == Some(name)),
                None => true,
            };
            located && api.authorization_details.iter().any(|known| known.kind == kind)
        };
        if !targets.iter().any(|target| knows(&target)) {
            let shown: String = kind.chars().take(100).collect();
            return Err(refused(&format!("No API of this request has the type {shown} there.")));
        }
    }
    Ok(details)
}

impl Grant {
    /// The grant with those of its details that a token request asks for; all of them where it asks for none (RFC 9396
    /// section 6).
    ///
    /// # Errors
    ///
    /// `invalid_authorization_details` for others than were granted.
    pub(crate) fn narrowed(self, params: &Params<'_>) -> Result<Self, OAuthError> {
        let asked = read(params)?;
        if asked.is_empty() {
            return Ok(self);
        }
        match asked.iter().all(|detail| self.authorization_details.contains(detail)) {
            true => Ok(Self { authorization_details: asked, ..self }),
            false => Err(refused("These authorization_details were not granted.")),
        }
    }
}

/// For grants that no user allowed details of.
///
/// # Errors
///
/// `invalid_authorization_details` where the token request asks for some.
pub(crate) fn nothing_granted(params: &Params<'_>) -> Result<(), OAuthError> {
    match read(params)?.is_empty() {
        true => Ok(()),
        false => Err(refused("Only users grant authorization_details.")),
    }
}

fn read(params: &Params<'_>) -> Result<Vec<Value>, OAuthError> {
    let Some(text) = params.value("authorization_details") else { return Ok(Vec::new()) };
    let wrong = || refused("authorization_details is not a list of objects with a type.");
    if text.len() > MAX_BYTES {
        return Err(refused("authorization_details is too long."));
    }
    match jose::parse_json(text.as_bytes(), MAX_DEPTH) {
        Ok(Value::Array(details)) if (1..=MAX_DETAILS).contains(&details.len()) => {
            let good = details.iter().all(|detail| detail.as_object().is_some_and(is_detail));
            if good { Ok(details) } else { Err(wrong()) }
        }
        _ => Err(wrong()),
    }
}

fn is_detail(detail: &Map<String, Value>) -> bool {
    let strings = |value: &Value| value.as_array().is_some_and(|all| all.iter().all(Value::is_string));
    detail.get("type").and_then(Value::as_str).is_some_and(|kind| !kind.is_empty())
        && LISTS.iter().all(|name| detail.get(*name).is_none_or(strings))
        && detail.get("identifier").is_none_or(Value::is_string)
}

fn refused(description: &str) -> OAuthError {
    OAuthError::new(ErrorCode::InvalidAuthorizationDetails, description)
}
