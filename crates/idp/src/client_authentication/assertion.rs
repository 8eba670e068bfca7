use std::time::Duration;

use base::UnixMillis;
use jose::{Alg, CompactJws, VerifyingKey};
use oauth::ClientAuthMethod;
use serde_json::{Map, Value};
use url::Url;

use super::{ClientAuthentication, refused};
use crate::{EndpointError, Site, model::Client, possession::once};

/// What `private_key_jwt` may be signed with.
pub(crate) const ASSERTION_ALGS: [Alg; 4] = [Alg::RS256, Alg::PS256, Alg::ES256, Alg::EdDSA];
/// How far the clock of a client may be ahead.
pub(crate) const SKEW: Duration = Duration::from_secs(60);
/// How far off the end of an assertion may lie: its `jti` is remembered until then.
pub(crate) const MAX_ASSERTION: Duration = Duration::from_secs(60 * 60);

impl ClientAuthentication {
    /// `private_key_jwt` and `client_secret_jwt` (RFC 7523 section 3).
    pub(super) async fn by_assertion(
        &self,
        site: &Site,
        client_id: Option<&str>,
        assertion: &str,
        url: &str,
    ) -> Result<Client, EndpointError> {
        let jws = CompactJws::parse(assertion).map_err(|_| refused())?;
        // Only to find the keys: nothing of it counts before the signature does.
        let unverified = jws.payload_unverified().map_err(|_| refused())?;
        let issuer = claims(&unverified)?.get("iss").and_then(Value::as_str).unwrap_or_default().to_owned();
        if client_id.is_some_and(|named| named != issuer) {
            return Err(refused());
        }
        let client = self.client(site, &issuer).await?.ok_or_else(refused)?;
        let payload = self.verify(&client, &jws).await.ok_or_else(refused)?;
        let payload = claims(&payload)?;
        let now = self.core.clock.now();
        let names = self.names(site, &client, url);
        let (jti, until) = judge(&client, &names, &payload, now).ok_or_else(refused)?;
        let used = format!("assertion/{}/{}", client.client_id, once(&jti));
        if !self.core.repository.use_once(&site.tenant.id, &used, until).await? {
            return Err(refused());
        }
        Ok(client)
    }

    /// What the client may call us by in an assertion that comes to `url`: the issuer, and outside FAPI 2.0 the token
    /// endpoint (RFC 7523 section 3) and the endpoint itself (RFC 9126 section 2, CIBA 7.1), each by its alias for
    /// certificates too. What the client wrote as host does not count: it may be anybody's.
    fn names(&self, site: &Site, client: &Client, url: &str) -> Vec<String> {
        let mut names = vec![site.issuer()];
        // FAPI 2.0 Security Profile 5.3.2.1.
        if client.is_fapi2() {
            return names;
        }
        names.push(site.origin.to_string());
        let own = Url::parse(url).map(|url| url.path().to_owned()).ok();
        for origin in [Some(site.origin.to_string()), self.core.mtls_origin(site)].into_iter().flatten() {
            names.push(format!("{origin}/oauth/token"));
            names.extend(own.as_ref().map(|path| format!("{origin}{path}")));
        }
        names
    }

    /// The payload, if the client's own key or secret signed it by the method and with the algorithm it registered.
    async fn verify(&self, client: &Client, jws: &CompactJws<'_>) -> Option<Vec<u8>> {
        let alg = jws.alg().ok()?;
        let registered = client.token_endpoint_auth_signing_alg.as_deref();
        if registered.is_some_and(|name| name != alg.as_str()) {
            return None;
        }
        // FAPI 2.0 Security Profile 5.4.1.
        if client.is_fapi2() && alg == Alg::RS256 {
            return None;
        }
        match client.token_endpoint_auth_method? {
            ClientAuthMethod::PrivateKeyJwt => {
                self.core.verified_by_client(client, jws, &ASSERTION_ALGS).await
            }
            ClientAuthMethod::ClientSecretJwt => {
                let secret = client.client_secret.as_ref()?.expose().as_bytes();
                jws.verify(&VerifyingKey::from_hmac_secret(secret, Alg::HS256).ok()?).ok()
            }
            _ => None,
        }
    }
}

/// RFC 7523 section 3: who, for whom, until when. The assertion's id and its end.
fn judge(
    client: &Client,
    ours: &[String],
    claims: &Map<String, Value>,
    now: UnixMillis,
) -> Option<(String, UnixMillis)> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let own = Some(client.client_id.as_str());
    if text("iss") != own || text("sub") != own {
        return None;
    }
    let names_us = |value: &Value| value.as_str().is_some_and(|name| ours.iter().any(|known| known == name));
    let audience = match claims.get("aud")? {
        // FAPI 2.0 Security Profile 5.3.2.1: alone and as a string.
        one if client.is_fapi2() => names_us(one),
        Value::Array(several) => !several.is_empty() && several.iter().all(names_us),
        one => names_us(one),
    };
    let until = moment(claims, "exp")??;
    let begun = |name: &str| match moment(claims, name) {
        None => true,
        Some(Some(at)) => at <= now + SKEW,
        Some(None) => false,
    };
    let jti = text("jti").filter(|jti| (1..=256).contains(&jti.len()))?;
    let lives = until > now && until <= now + MAX_ASSERTION && begun("nbf") && begun("iat");
    (audience && lives).then(|| (jti.to_owned(), until))
}

/// A claim that is a moment: `None` where there is none, `Some(None)` where it is no number.
pub(crate) fn moment(claims: &Map<String, Value>, name: &str) -> Option<Option<UnixMillis>> {
    // The cast saturates.
    #[allow(clippy::cast_possible_truncation)]
    claims.get(name).map(|value| value.as_f64().map(|at| UnixMillis((at * 1000.0) as i64)))
}

fn claims(payload: &[u8]) -> Result<Map<String, Value>, EndpointError> {
    match jose::parse_json(payload, 8) {
        Ok(Value::Object(claims)) => Ok(claims),
        _ => Err(refused()),
    }
}
