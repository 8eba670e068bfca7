use std::{sync::Arc, time::Duration};

use base::{Secret, UnixMillis, same_bytes};
use jose::{Alg, CompactJws, KeySet, VerifyingKey};
use oauth::{BasicCredentials, ClientAuthMethod, ErrorCode, Params};
use serde_json::Value;

use crate::{EndpointError, Site, idp::Core, model::Client};

/// RFC 7523 section 2.2.
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// What `private_key_jwt` may be signed with.
pub(crate) const ASSERTION_ALGS: [Alg; 4] = [Alg::RS256, Alg::PS256, Alg::ES256, Alg::EdDSA];
/// The methods that work, for discovery.
pub(crate) const METHODS: [ClientAuthMethod; 5] = [
    ClientAuthMethod::ClientSecretBasic,
    ClientAuthMethod::ClientSecretPost,
    ClientAuthMethod::PrivateKeyJwt,
    ClientAuthMethod::ClientSecretJwt,
    ClientAuthMethod::None,
];
/// How far the clock of a client may be ahead.
const SKEW: Duration = Duration::from_secs(60);
/// How far off the end of an assertion may lie: its `jti` is remembered until then.
const MAX_ASSERTION: Duration = Duration::from_secs(60 * 60);
/// Compared with where there is no secret, so that a missing client takes the time of a present one.
const NO_SECRET: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Who a client is (RFC 6749 section 2.3, RFC 7523), and that it uses exactly one way to prove it.
#[derive(Clone)]
pub struct ClientAuthentication {
    core: Arc<Core>,
}

/// What a request offers as proof.
enum Proof {
    Secret { client_id: String, secret: Secret<String>, method: ClientAuthMethod },
    Assertion { client_id: Option<String>, assertion: String },
    Name { client_id: String },
}

impl ClientAuthentication {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// The client that `authorization` (the header's value) or the form authenticates.
    ///
    /// # Errors
    ///
    /// `invalid_client` (401, with `WWW-Authenticate: Basic` where the header was used), `invalid_request` for two
    /// methods at once.
    pub async fn authenticate(
        &self,
        site: &Site,
        authorization: Option<&str>,
        params: &Params<'_>,
    ) -> Result<Client, EndpointError> {
        match read(authorization, params)? {
            Proof::Secret { client_id, secret, method } => {
                self.by_secret(site, &client_id, &secret, method).await
            }
            Proof::Assertion { client_id, assertion } => {
                self.by_assertion(site, client_id.as_deref(), &assertion).await
            }
            Proof::Name { client_id } => {
                let client = self.client(site, &client_id).await?;
                client.filter(Client::is_public).ok_or_else(refused)
            }
        }
    }

    async fn by_secret(
        &self,
        site: &Site,
        client_id: &str,
        secret: &Secret<String>,
        method: ClientAuthMethod,
    ) -> Result<Client, EndpointError> {
        let client = self.client(site, client_id).await?;
        let known = client.as_ref().and_then(|client| client.client_secret.as_ref());
        let expected = known.map_or(NO_SECRET, |secret| secret.expose().as_str());
        let right = same_bytes(expected.as_bytes(), secret.expose().as_bytes()) && known.is_some();
        let fits = |client: &Client| match client.token_endpoint_auth_method {
            None => true,
            Some(registered) => registered == method,
        };
        client.filter(|client| right && fits(client)).ok_or_else(refused)
    }

    async fn by_assertion(
        &self,
        site: &Site,
        client_id: Option<&str>,
        assertion: &str,
    ) -> Result<Client, EndpointError> {
        let jws = CompactJws::parse(assertion).map_err(|_| refused())?;
        // Only to find the keys: nothing of it counts before the signature does.
        let unverified = jws.payload_unverified().map_err(|_| refused())?;
        let issuer = claims(&unverified)?.get("iss").and_then(Value::as_str).unwrap_or_default().to_owned();
        if client_id.is_some_and(|named| named != issuer) {
            return Err(refused());
        }
        let client = self.client(site, &issuer).await?.ok_or_else(refused)?;
        let payload = verify_assertion(&client, &jws).ok_or_else(refused)?;
        let payload = claims(&payload)?;
        let now = self.core.clock.now();
        let (jti, until) = judge_assertion(site, &client, &payload, now).ok_or_else(refused)?;
        let once = format!("assertion/{}/{jti}", client.client_id);
        if !self.core.repository.use_once(&site.tenant.id, &once, until).await? {
            return Err(refused());
        }
        Ok(client)
    }

    async fn client(&self, site: &Site, client_id: &str) -> Result<Option<Client>, EndpointError> {
        let client = self.core.repository.client(&site.tenant.id, client_id).await?;
        Ok(client.filter(|client| !client.global))
    }
}

/// One answer for every cause, so that nobody learns which clients exist.
fn refused() -> EndpointError {
    EndpointError::oauth(ErrorCode::InvalidClient, "Unauthorized")
}

fn read(authorization: Option<&str>, params: &Params<'_>) -> Result<Proof, EndpointError> {
    let two = || {
        EndpointError::oauth(ErrorCode::InvalidRequest, "More than one client authentication method was used")
    };
    let named = params.value("client_id").map(str::to_owned);
    let posted = params.first("client_secret");
    let assertion = params.first("client_assertion");
    let basic = match authorization {
        Some(header) => BasicCredentials::parse(header.as_bytes()).map_err(|_| refused())?,
        None => None,
    };
    match (basic, posted, assertion) {
        (Some(basic), None, None) => {
            if named.is_some_and(|named| named != basic.client_id) {
                return Err(two());
            }
            let method = ClientAuthMethod::ClientSecretBasic;
            Ok(Proof::Secret { client_id: basic.client_id, secret: basic.secret, method })
        }
        (None, Some(secret), None) => {
            let method = ClientAuthMethod::ClientSecretPost;
            let client_id = named.ok_or_else(refused)?;
            Ok(Proof::Secret { client_id, secret: Secret::new(secret.to_owned()), method })
        }
        (None, None, Some(assertion)) => {
            if params.value("client_assertion_type") != Some(ASSERTION_TYPE) {
                return Err(refused());
            }
            Ok(Proof::Assertion { client_id: named, assertion: assertion.to_owned() })
        }
        (None, None, None) => Ok(Proof::Name { client_id: named.ok_or_else(refused)? }),
        _ => Err(two()),
    }
}

/// The payload, if the client's own key or secret signed it by the method it registered.
fn verify_assertion(client: &Client, jws: &CompactJws<'_>) -> Option<Vec<u8>> {
    match client.token_endpoint_auth_method? {
        ClientAuthMethod::PrivateKeyJwt => {
            let keys = KeySet::parse(client.jwks.as_ref()?.to_string().as_bytes()).ok()?;
            keys.verify(jws, &ASSERTION_ALGS).ok()
        }
        ClientAuthMethod::ClientSecretJwt => {
            let secret = client.client_secret.as_ref()?.expose().as_bytes();
            jws.verify(&VerifyingKey::from_hmac_secret(secret, Alg::HS256).ok()?).ok()
        }
        _ => None,
    }
}

/// RFC 7523 section 3: who, for whom, until when. The assertion's id and its end.
fn judge_assertion(
    site: &Site,
    client: &Client,
    claims: &serde_json::Map<String, Value>,
    now: UnixMillis,
) -> Option<(String, UnixMillis)> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let own = Some(client.client_id.as_str());
    if text("iss") != own || text("sub") != own {
        return None;
    }
    let ours = [site.issuer(), site.url("/oauth/token"), site.origin.to_string()];
    let names_us = |value: &Value| value.as_str().is_some_and(|name| ours.iter().any(|known| known == name));
    let audience = match claims.get("aud")? {
        Value::Array(several) => !several.is_empty() && several.iter().all(names_us),
        one => names_us(one),
    };
    let moment =
        |name: &str| claims.get(name).map(|value| value.as_f64().map(|at| UnixMillis((at * 1000.0) as i64)));
    let until = moment("exp")??;
    let begun = |name: &str| match moment(name) {
        None => true,
        Some(Some(at)) => at <= now + SKEW,
        Some(None) => false,
    };
    let jti = text("jti").filter(|jti| (1..=256).contains(&jti.len()))?;
    let lives = until > now && until <= now + MAX_ASSERTION && begun("nbf") && begun("iat");
    (audience && lives).then(|| (jti.to_owned(), until))
}

fn claims(payload: &[u8]) -> Result<serde_json::Map<String, Value>, EndpointError> {
    match jose::parse_json(payload, 8) {
        Ok(Value::Object(claims)) => Ok(claims),
        _ => Err(refused()),
    }
}
