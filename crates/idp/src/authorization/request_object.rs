//! Request objects (RFC 9101, OpenID Connect Core 6): an authorization request as a JWT, by value or by reference.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jose::{Alg, CompactJws};
use oauth::{ErrorCode, OAuthError, Params, form};
use serde_json::{Map, Value};
use url::form_urlencoded::Serializer;

use super::reading::Reading;
use crate::{IdpError, Site, idp::Core, keys::is_encrypted, model::Client};

/// What request objects may be signed with.
pub(crate) const REQUEST_ALGS: [Alg; 4] = [Alg::RS256, Alg::PS256, Alg::ES256, Alg::EdDSA];
/// How far the clock of a client may be ahead.
const SKEW: i64 = 60;
/// How long a request object that must be signed may live, and how old it may be (FAPI 2.0 Message Signing 5.3.1).
const MAX_AGE: i64 = 60 * 60;
/// The object, `claims` in it, its members, a claim's wishes, and the list in them.
const MAX_DEPTH: usize = 8;
const REQUEST_TYPE: &str = "oauth-authz-req+jwt";

impl Core {
    /// Reads the object that lies at `uri`: fetched only where the client has registered that very address.
    pub(super) async fn request_object_at(
        &self,
        site: &Site,
        client: &Client,
        uri: &str,
        outer: &Params<'_>,
    ) -> Result<Result<Reading, OAuthError>, IdpError> {
        let unusable = |text: &str| Ok(Err(OAuthError::new(ErrorCode::InvalidRequestUri, text)));
        let address = uri.split('#').next().unwrap_or_default();
        if !client.request_uris.iter().any(|known| known == uri || known == address) {
            return unusable("The request_uri is not one that the client has registered.");
        }
        let accept = "application/oauth-authz-req+jwt, application/jwt";
        let document = self.document(address, accept).await;
        match document.and_then(|bytes| String::from_utf8(bytes).ok()) {
            Some(object) => self.request_object(site, client, object.trim(), outer).await,
            None => unusable("The request object cannot be fetched."),
        }
    }

    /// Reads the object `text`. Of the parameters outside it nothing counts (RFC 9101 section 6.3), but that they must
    /// not contradict it in who asks for what.
    pub(crate) async fn request_object(
        &self,
        site: &Site,
        client: &Client,
        text: &str,
        outer: &Params<'_>,
    ) -> Result<Result<Reading, OAuthError>, IdpError> {
        // Signed first, encrypted then (RFC 9101 section 6.1).
        let text = match is_encrypted(text) {
            true => self.keys.decrypted(&site.tenant.id, text).await?,
            false => Some(text.to_owned()),
        };
        let Some(text) = text else {
            return Ok(Err(refused("The request object cannot be decrypted.")));
        };
        let (claims, signed) = match self.opened(site, client, &text).await {
            Ok(opened) => opened,
            Err(error) => return Ok(Err(error)),
        };
        let strict = client.requires_signed_requests();
        let now = self.clock.now().secs();
        Ok(judge(site, client, &claims, strict, now)
            .and_then(|until| agrees(client, &claims, outer).map(|()| until))
            .and_then(|until| match parameters(&claims, &PARAMETERS) {
                Ok(params) => Ok(Reading { params, signed, pushed: None, until }),
                Err(why) => Err(refused(&format!("The request object cannot be used: {why}."))),
            }))
    }

    /// The claims of an object, and whether the client signed them.
    async fn opened(
        &self,
        site: &Site,
        client: &Client,
        text: &str,
    ) -> Result<(Map<String, Value>, bool), OAuthError> {
        let wanted = client.request_object_signing_alg.as_deref();
        if let Some(payload) = unsigned(text) {
            let allowed = site.tenant.settings.flags.enable_unsigned_request_objects
                && !client.requires_signed_requests()
                && !client.is_fapi2()
                && wanted.is_none_or(|alg| alg == "none");
            if !allowed {
                return Err(refused("The request object is not signed."));
            }
            return Ok((object(&payload)?, false));
        }
        let jws = CompactJws::parse(text).map_err(|_| refused("The request object is not a signed JWT."))?;
        // RFC 9101 section 10.8: no token that was made for something else.
        let header = jws.header();
        if header.typ.is_some() && !header.has_typ(REQUEST_TYPE) && !header.has_typ("JWT") {
            return Err(refused("The request object's typ is another one."));
        }
        let allowed: Vec<Alg> = REQUEST_ALGS
            .into_iter()
            .filter(|alg| wanted.is_none_or(|wanted| wanted == alg.as_str()))
            // FAPI 2.0 Security Profile 5.4.1.
            .filter(|alg| !client.is_fapi2() || *alg != Alg::RS256)
            .collect();
        let payload = self.verified_by_client(client, &jws, &allowed).await;
        let payload = payload.ok_or_else(|| refused("The request object's signature cannot be verified."))?;
        Ok((object(&payload)?, true))
    }
}

/// The payload of a JWT with `alg` `none` (RFC 7519 section 6).
fn unsigned(text: &str) -> Option<Vec<u8>> {
    let (header, payload) = text.strip_suffix('.')?.split_once('.')?;
    let Ok(Value::Object(header)) = jose::parse_json(&URL_SAFE_NO_PAD.decode(header).ok()?, 4) else {
        return None;
    };
    let none = header.get("alg").and_then(Value::as_str) == Some("none") && !header.contains_key("crit");
    none.then(|| URL_SAFE_NO_PAD.decode(payload).ok()).flatten()
}

fn object(payload: &[u8]) -> Result<Map<String, Value>, OAuthError> {
    match jose::parse_json(payload, MAX_DEPTH) {
        Ok(Value::Object(claims)) => Ok(claims),
        _ => Err(refused("The request object's payload is not a JSON object.")),
    }
}

/// Who wrote the object, for whom, and for how long; its `exp`. What must be there is `strict`.
fn judge(
    site: &Site,
    client: &Client,
    claims: &Map<String, Value>,
    strict: bool,
    now: i64,
) -> Result<Option<i64>, OAuthError> {
    match claims.get("iss") {
        Some(issuer) if issuer.as_str() != Some(&client.client_id) => {
            return Err(refused("The request object's iss is not the client."));
        }
        None if strict => return Err(refused("The request object has no iss.")),
        _ => {}
    }
    // With it the object could pass for a client assertion (RFC 9101 section 10.8).
    if claims.get("sub").and_then(Value::as_str) == Some(&client.client_id) {
        return Err(refused("The request object's sub is the client."));
    }
    let names_us =
        |value: &Value| value.as_str().is_some_and(|name| name == site.issuer() || name == &*site.origin);
    let ours = match claims.get("aud") {
        None => !strict,
        Some(Value::Array(several)) => several.iter().any(names_us),
        Some(one) => names_us(one),
    };
    if !ours {
        return Err(refused("The request object's aud is not this issuer."));
    }
    let moment = |name: &str| match claims.get(name) {
        None => Ok(None),
        Some(value) => value
            .as_f64()
            .map(|at| Some(at as i64))
            .ok_or_else(|| refused("exp, nbf and iat of a request object are numbers.")),
    };
    let (end, begin, made) = (moment("exp")?, moment("nbf")?, moment("iat")?);
    if end.is_some_and(|end| end <= now) {
        return Err(refused("The request object has expired."));
    }
    if begin.is_some_and(|begin| begin > now + SKEW) || made.is_some_and(|made| made > now + SKEW) {
        return Err(refused("The request object is not valid yet."));
    }
    if strict {
        let (Some(end), Some(begin)) = (end, begin) else {
            return Err(refused("The request object needs exp and nbf."));
        };
        if begin < now - MAX_AGE || end > begin + MAX_AGE {
            return Err(refused("The request object is too old, or lives too long."));
        }
    }
    Ok(end)
}

/// RFC 9101 section 5 and OpenID Connect Core 6.1: what stands outside too must be the same.
fn agrees(client: &Client, claims: &Map<String, Value>, outer: &Params<'_>) -> Result<(), OAuthError> {
    if claims.contains_key("request") || claims.contains_key("request_uri") {
        return Err(refused("A request object cannot hold request or request_uri."));
    }
    if claims.get("client_id").is_some_and(|id| id.as_str() != Some(&client.client_id)) {
        return Err(refused("The request object's client_id is another one."));
    }
    if let (Some(inner), Some(outer)) = (claims.get("response_type"), outer.value("response_type"))
        && inner.as_str() != Some(outer)
    {
        return Err(refused("The response_type differs inside and outside the request object."));
    }
    Ok(())
}

/// The members of an object that are parameters of an authorization request here, those that are refused by name among
/// them. What else is in it is passed over, as it is among parameters (OpenID Connect Core 3.1.2.1, RFC 6749 section 3.1).
const PARAMETERS: [&str; 28] = [
    "acr_values",
    "audience",
    "authorization_details",
    "claims",
    "claims_locales",
    "client_id",
    "code_challenge",
    "code_challenge_method",
    "connection",
    "connection_scope",
    "display",
    "dpop_jkt",
    "id_token_hint",
    "invitation",
    "login_hint",
    "max_age",
    "nonce",
    "organization",
    "prompt",
    "redirect_uri",
    "registration",
    "resource",
    "response_mode",
    "response_type",
    "scope",
    "screen_hint",
    "state",
    "ui_locales",
];

/// The members of `claims` that are named in `known`, as the parameters that they stand for (RFC 9101 section 4).
///
/// # Errors
///
/// Where one is of a type that its parameter does not have.
pub(crate) fn parameters(
    claims: &Map<String, Value>,
    known: &[&str],
) -> Result<Params<'static>, &'static str> {
    let mut form = Serializer::new(String::new());
    for (name, value) in claims.iter().filter(|(name, _)| known.contains(&name.as_str())) {
        match (name.as_str(), value) {
            (_, Value::String(text)) => drop(form.append_pair(name, text)),
            (_, Value::Number(number)) if number.is_i64() || number.is_u64() => {
                form.append_pair(name, &number.to_string());
            }
            ("resource", Value::Array(several)) => {
                for one in several {
                    form.append_pair(name, one.as_str().ok_or("resource holds something else than strings")?);
                }
            }
            ("claims" | "registration", Value::Object(_)) | ("authorization_details", Value::Array(_)) => {
                form.append_pair(name, &value.to_string());
            }
            _ => return Err("a parameter in it is of the wrong type"),
        }
    }
    let text = form.finish();
    form::parse(text.as_bytes()).map(Params::into_owned).map_err(|_| "a parameter in it is too long")
}

fn refused(description: &str) -> OAuthError {
    OAuthError::new(ErrorCode::InvalidRequestObject, description)
}
