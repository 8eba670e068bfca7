//! Tokens, and what endpoints said of them, in headers of the request that goes upstream and of the answer.

use base64::{Engine, engine::general_purpose::STANDARD};
use gateway::{error::ConfigError, is_identity, is_same_header};
use http::{HeaderName, HeaderValue};
use jose::CompactJws;
use rp::provider::Provider;
use serde_json::{Map, Value};

use super::{browser::encoded, claim_headers};

/// What a header holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenPart {
    /// The access token.
    AccessToken,
    /// The ID token as it was signed. Sessions only.
    IdToken,
    /// The refresh token. Sessions only.
    RefreshToken,
    /// What the userinfo endpoint said, base64 of JSON.
    Userinfo,
    /// What the introspection endpoint said, base64 of JSON.
    Introspection,
    /// The public key that the access token is signed with, base64 of a JWK.
    AccessTokenJwk,
    /// The public key that the ID token is signed with, base64 of a JWK. Sessions only.
    IdTokenJwk,
    /// What the userinfo endpoint said, as it was signed.
    UserinfoJwt,
    /// What the introspection endpoint said, as it was signed.
    IntrospectionJwt,
    /// What tells a session from others, and opens none.
    SessionId,
}

/// A header of the gate's making.
#[derive(Clone, Debug)]
pub struct TokenHeader {
    /// What it holds.
    pub part: TokenPart,
    /// Its name.
    pub name: HeaderName,
    /// Whether `Bearer` stands before it.
    pub bearer: bool,
    /// Whether it is on the answer, instead of on the request that goes upstream.
    pub downstream: bool,
}

impl TokenHeader {
    /// The field that names it, in the words of the only dialect that has names for all of them.
    pub(crate) fn field(&self) -> &'static str {
        match (self.part, self.downstream) {
            (TokenPart::AccessToken, false) => "upstream_access_token_header",
            (TokenPart::AccessToken, true) => "downstream_access_token_header",
            (TokenPart::IdToken, false) => "upstream_id_token_header",
            (TokenPart::IdToken, true) => "downstream_id_token_header",
            (TokenPart::RefreshToken, false) => "upstream_refresh_token_header",
            (TokenPart::RefreshToken, true) => "downstream_refresh_token_header",
            (TokenPart::Userinfo, false) => "upstream_user_info_header",
            (TokenPart::Userinfo, true) => "downstream_user_info_header",
            (TokenPart::Introspection, false) => "upstream_introspection_header",
            (TokenPart::Introspection, true) => "downstream_introspection_header",
            (TokenPart::AccessTokenJwk, false) => "upstream_access_token_jwk_header",
            (TokenPart::AccessTokenJwk, true) => "downstream_access_token_jwk_header",
            (TokenPart::IdTokenJwk, false) => "upstream_id_token_jwk_header",
            (TokenPart::IdTokenJwk, true) => "downstream_id_token_jwk_header",
            (TokenPart::UserinfoJwt, false) => "upstream_user_info_jwt_header",
            (TokenPart::UserinfoJwt, true) => "downstream_user_info_jwt_header",
            (TokenPart::IntrospectionJwt, false) => "upstream_introspection_jwt_header",
            (TokenPart::IntrospectionJwt, true) => "downstream_introspection_jwt_header",
            (TokenPart::SessionId, false) => "upstream_session_id_header",
            (TokenPart::SessionId, true) => "downstream_session_id_header",
        }
    }

    /// The header with this value.
    pub(crate) fn with(&self, value: &str) -> Option<(HeaderName, HeaderValue)> {
        let value = if self.bearer { encoded(&format!("Bearer {value}")) } else { encoded(value) };
        Some((self.name.clone(), value?))
    }
}

/// Those of `headers` for one direction whose part is there.
pub(crate) fn told<'v>(
    headers: &[TokenHeader],
    downstream: bool,
    value: impl Fn(TokenPart) -> Option<std::borrow::Cow<'v, str>>,
) -> Vec<(HeaderName, HeaderValue)> {
    let of_direction = headers.iter().filter(|header| header.downstream == downstream);
    of_direction.filter_map(|header| header.with(&value(header.part)?)).collect()
}

/// The public key that a token names, of those that its provider publishes, as a header holds it.
pub(crate) fn jwk_of(provider: &Provider, token: &str) -> Option<String> {
    jwk_named(provider, CompactJws::parse(token).ok()?.header().kid.as_deref())
}

/// The same for a token that was read already.
pub(super) fn jwk_named(provider: &Provider, kid: Option<&str>) -> Option<String> {
    let keys = oauth::json_object(&provider.keys()?.document).ok()?;
    let keys = keys.get("keys")?.as_array()?;
    let named = |key: &&Value| key.get("kid").and_then(Value::as_str) == kid;
    let key = keys.iter().find(named).or_else(|| keys.first().filter(|_| keys.len() == 1))?;
    Some(STANDARD.encode(key.to_string()))
}

/// Claims as a header holds them.
pub(super) fn as_json(claims: &Map<String, Value>) -> Option<String> {
    serde_json::to_string(claims).ok().map(|json| STANDARD.encode(json))
}

/// Refuses names that have another meaning, and of one direction two that servers may take for one another.
pub(crate) fn check(headers: &[TokenHeader]) -> Result<(), ConfigError> {
    for (place, header) in headers.iter().enumerate() {
        let name = header.name.as_str();
        let is_token = header.part == TokenPart::AccessToken && header.name == http::header::AUTHORIZATION;
        // By these the gate tells tokens anyway, and no client gets through with them.
        let is_free =
            is_identity(name) && !name.starts_with("x-consumer") && !name.starts_with("x-credential");
        if !is_free && !is_token {
            claim_headers::check_name(header.field(), &header.name)?;
        }
        let before = headers.iter().take(place).filter(|other| other.downstream == header.downstream);
        if let Some(other) = before.into_iter().find(|other| is_same_header(other.name.as_str(), name)) {
            let reason = format!("`{name}` cannot be told from `{other}`", other = other.name);
            return Err(ConfigError::new(header.field(), reason));
        }
    }
    Ok(())
}
