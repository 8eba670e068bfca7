use std::sync::Arc;

use base::Secret;
use jose::{Alg, CompactJws, VerifyingKey};
use oauth::{ErrorCode, Scopes};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    EndpointError, IdpError, PresentedToken, Site,
    idp::Core,
    issue::USERINFO_CLAIMS,
    keys::{SIGNING_ALGS, is_encrypted},
    model::Confirmation,
};

/// Access tokens as the provider's own resources accept them: `/userinfo`, `/oauth/introspect`, `/api/v2`.
#[derive(Clone)]
pub struct Bearer {
    core: Arc<Core>,
}

/// What a good access token says.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessClaims {
    /// All of them; for an opaque token those that a JWT would have.
    pub claims: Map<String, Value>,
    /// Who it was made for: a user's id, or `CLIENT_ID@clients`.
    pub subject: String,
    /// Which client got it.
    pub client_id: String,
    /// What it allows.
    pub scope: Scopes,
    /// Where it may be used.
    pub audiences: Vec<String>,
    /// Seconds since the epoch.
    pub expires_at: i64,
    /// The key that whoever uses it must prove to have.
    pub confirmation: Option<Confirmation>,
    /// What is revoked together with it.
    pub family: String,
    /// Whether it is opaque.
    pub opaque: bool,
    /// Whether its API could have made it: whoever runs an API of HS256 has the secret too.
    pub(crate) forgeable: bool,
}

impl AccessClaims {
    /// The single claims that `/userinfo` is to give for it.
    pub(crate) fn asked_claims(&self) -> impl Iterator<Item = &str> {
        let asked = self.claims.get(USERINFO_CLAIMS).and_then(Value::as_array);
        asked.into_iter().flatten().filter_map(Value::as_str)
    }

    /// Whether it stands for a client and no user.
    pub fn is_machine(&self) -> bool {
        // An administrator may give a user an id that ends so too.
        self.subject.strip_suffix("@clients") == Some(self.client_id.as_str())
    }
}

impl Bearer {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// The claims of an access token of this site's tenant that is neither expired nor revoked, and whose user or client
    /// still exists and is not blocked. Its audience is for the caller to check.
    ///
    /// # Errors
    ///
    /// `invalid_token`, with one description for every cause; of a token that is bound to a key also what is wrong with
    /// the proof.
    pub async fn verify<'a>(
        &self,
        site: &Site,
        token: impl Into<PresentedToken<'a>>,
    ) -> Result<AccessClaims, EndpointError> {
        self.core.proven_token(site, &token.into()).await
    }
}

pub(crate) fn invalid_token() -> EndpointError {
    EndpointError::oauth(ErrorCode::InvalidToken, "The access token is invalid, expired or revoked.")
}

/// What an ID token says that came as a hint.
pub(crate) struct IdTokenHint {
    pub(crate) subject: String,
    pub(crate) client_id: String,
    pub(crate) sid: Option<String>,
    pub(crate) expired: bool,
}

impl Core {
    /// The claims of an access token that is good here and now.
    pub(crate) async fn access_token(
        &self,
        site: &Site,
        token: &str,
    ) -> Result<Option<AccessClaims>, IdpError> {
        let found = match CompactJws::parse(token) {
            Ok(jws) => self.signed_access_token(site, &jws).await?,
            Err(_) => self.stored_access_token(site, token).await?,
        };
        let Some((mut access, family)) = found else { return Ok(None) };
        if !access.is_machine() {
            let Some(user) = self.user_of_subject(site, &access.subject).await? else { return Ok(None) };
            access.subject = user;
        }
        let tenant = &site.tenant.id;
        if access.expires_at <= self.clock.now().secs() || self.repository.is_revoked(tenant, &family).await?
        {
            return Ok(None);
        }
        let holder = if access.is_machine() {
            self.repository.client(tenant, &access.client_id).await?.is_some()
        } else {
            self.repository.user(tenant, &access.subject).await?.is_some_and(|user| !user.blocked)
        };
        Ok(holder.then_some(access))
    }

    async fn signed_access_token(
        &self,
        site: &Site,
        jws: &CompactJws<'_>,
    ) -> Result<Option<(AccessClaims, String)>, IdpError> {
        let found = match jws.alg() {
            Ok(alg) if alg.is_symmetric() => self.claims_by_api_secret(site, jws).await?,
            _ => self.claims_by_tenant(site, jws).await?,
        };
        let Some(claims) = found else { return Ok(None) };
        // ID tokens and logout tokens are signed with the same keys; only access tokens have an id that begins with
        // their family's, and none of them has what belongs to a login.
        let foreign = ["nonce", "at_hash", "c_hash", "events"].iter().any(|name| claims.contains_key(*name));
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        // The id may come to be revoked, among ids of other kinds.
        let plain = |jti: &&str| jti.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.');
        let jti =
            text("jti").filter(plain).and_then(|jti| jti.split_once('.').map(|(family, _)| (jti, family)));
        let (Some((jti, family)), Some(subject), Some(client_id), false) =
            (jti, text("sub"), text("azp").or(text("client_id")), foreign)
        else {
            return Ok(None);
        };
        if self.repository.is_revoked(&site.tenant.id, jti).await? {
            return Ok(None);
        }
        let (family, subject, client_id) = (family.to_owned(), subject.to_owned(), client_id.to_owned());
        let scope = Scopes::parse(text("scope").unwrap_or_default()).unwrap_or_default();
        let expires_at = claims.get("exp").and_then(Value::as_i64).unwrap_or(0);
        let audiences = audiences(&claims);
        let Ok(confirmation) = confirmation(&claims) else { return Ok(None) };
        let access = AccessClaims {
            claims,
            subject,
            client_id,
            scope,
            audiences,
            expires_at,
            confirmation,
            family: family.clone(),
            opaque: false,
            forgeable: jws.alg().is_ok_and(Alg::is_symmetric),
        };
        Ok(Some((access, family)))
    }

    async fn stored_access_token(
        &self,
        site: &Site,
        token: &str,
    ) -> Result<Option<(AccessClaims, String)>, IdpError> {
        if token.len() != 43 {
            return Ok(None);
        }
        for digest in self.digester.all(token) {
            let Some(record) = self.repository.access_token(&site.tenant.id, &digest).await? else {
                continue;
            };
            if record.revoked_at.is_some() {
                return Ok(None);
            }
            let grant = record.grant;
            let audience = format!("{}userinfo", grant.issuer);
            let expires_at = record.expires_at.div_euclid(1000);
            let mut claims = Map::new();
            claims.insert("iss".to_owned(), json!(grant.issuer));
            claims.insert("sub".to_owned(), json!(grant.user_id));
            claims.insert("aud".to_owned(), json!(audience));
            claims.insert("iat".to_owned(), json!(record.created_at.div_euclid(1000)));
            claims.insert("exp".to_owned(), json!(expires_at));
            claims.insert("scope".to_owned(), json!(grant.scope.to_string()));
            claims.insert("azp".to_owned(), json!(grant.client_id));
            if let Some(confirmation) = &grant.confirmation {
                claims.insert("cnf".to_owned(), json!(confirmation));
            }
            if !grant.claims.userinfo.is_empty() {
                let names: Vec<&String> = grant.claims.userinfo.keys().collect();
                claims.insert(USERINFO_CLAIMS.to_owned(), json!(names));
            }
            let access = AccessClaims {
                claims,
                subject: grant.user_id,
                client_id: grant.client_id,
                scope: grant.scope,
                audiences: vec![audience],
                expires_at,
                confirmation: grant.confirmation,
                family: grant.family.clone(),
                opaque: true,
                forgeable: false,
            };
            return Ok(Some((access, grant.family)));
        }
        Ok(None)
    }

    /// The claims of something that this tenant's keys signed, for one of its issuers.
    async fn claims_by_tenant(
        &self,
        site: &Site,
        jws: &CompactJws<'_>,
    ) -> Result<Option<Map<String, Value>>, IdpError> {
        let keys = self.keys.verifying(&site.tenant.id).await?;
        Ok(keys.verify(jws, &SIGNING_ALGS).ok().and_then(|payload| own_claims(site, &payload)))
    }

    /// The claims of an access token under HS256. Who runs the API has its secret too and can make any token with it: it
    /// is good for this one API, whatever else it names (`/userinfo`, the Management API).
    async fn claims_by_api_secret(
        &self,
        site: &Site,
        jws: &CompactJws<'_>,
    ) -> Result<Option<Map<String, Value>>, IdpError> {
        for audience in unverified_audiences(jws) {
            let api = self.api(site, Some(&audience)).await?;
            let api = api.filter(|api| api.signing_alg == "HS256" && !api.is_system);
            let claims =
                api.and_then(|api| api.signing_secret).and_then(|secret| by_secret(site, jws, &secret));
            if let Some(mut claims) = claims {
                claims.insert("aud".to_owned(), json!(audience));
                return Ok(Some(claims));
            }
        }
        Ok(None)
    }

    /// The claims of an ID token under HS256: of the client that has the secret, and no other.
    async fn claims_by_client_secret(
        &self,
        site: &Site,
        jws: &CompactJws<'_>,
    ) -> Result<Option<Map<String, Value>>, IdpError> {
        let audiences = unverified_audiences(jws);
        let [client_id] = audiences.as_slice() else { return Ok(None) };
        let client = self.repository.client(&site.tenant.id, client_id).await?;
        let client = client.filter(|client| client.jwt_configuration.alg.as_deref() == Some("HS256"));
        let secret = client.and_then(|client| client.client_secret.clone());
        Ok(secret.and_then(|secret| by_secret(site, jws, &secret)))
    }

    /// An ID token of this tenant, also an expired one; `None` for everything else.
    pub(crate) async fn id_token_hint(
        &self,
        site: &Site,
        token: &str,
    ) -> Result<Option<IdTokenHint>, IdpError> {
        // A client that gets its ID tokens encrypted may encrypt them for us in turn (OpenID Connect Core 3.1.2.1).
        let opened = match is_encrypted(token) {
            true => self.keys.decrypted(&site.tenant.id, token).await?,
            false => None,
        };
        let Ok(jws) = CompactJws::parse(opened.as_deref().unwrap_or(token)) else { return Ok(None) };
        let found = match jws.alg() {
            Ok(alg) if alg.is_symmetric() => self.claims_by_client_secret(site, &jws).await?,
            _ => self.claims_by_tenant(site, &jws).await?,
        };
        let Some(claims) = found else { return Ok(None) };
        let text = |name: &str| claims.get(name).and_then(Value::as_str).map(str::to_owned);
        let one = match audiences(&claims).as_slice() {
            [one] => Some(one.clone()),
            _ => None,
        };
        // Access tokens have an id, ID tokens of this provider have none.
        let (Some(subject), Some(client_id), None) = (text("sub"), one, text("jti")) else { return Ok(None) };
        // Signed userinfo has no end, and says nothing about a login.
        if !claims.contains_key("exp") || !claims.contains_key("iat") {
            return Ok(None);
        }
        let Some(subject) = self.user_of_subject(site, &subject).await? else { return Ok(None) };
        let expired =
            claims.get("exp").and_then(Value::as_i64).is_none_or(|exp| exp <= self.clock.now().secs());
        Ok(Some(IdTokenHint { subject, client_id, sid: text("sid"), expired }))
    }
}

/// What a token is bound to. A binding that cannot be read is not the same as none.
fn confirmation(claims: &Map<String, Value>) -> Result<Option<Confirmation>, serde_json::Error> {
    claims.get("cnf").map(Confirmation::deserialize).transpose()
}

fn by_secret(site: &Site, jws: &CompactJws<'_>, secret: &Secret<String>) -> Option<Map<String, Value>> {
    let key = VerifyingKey::from_hmac_secret(secret.expose().as_bytes(), Alg::HS256).ok()?;
    own_claims(site, &jws.verify(&key).ok()?)
}

/// The claims of a payload, if it names one of the tenant's issuers.
fn own_claims(site: &Site, payload: &[u8]) -> Option<Map<String, Value>> {
    let Ok(Value::Object(claims)) = jose::parse_json(payload, 16) else { return None };
    let ours = claims.get("iss").and_then(Value::as_str).is_some_and(|issuer| site.is_issuer(issuer));
    ours.then_some(claims)
}

/// Only to find the secret that then has to fit.
fn unverified_audiences(jws: &CompactJws<'_>) -> Vec<String> {
    let payload = jws.payload_unverified().unwrap_or_default();
    match jose::parse_json(&payload, 16) {
        Ok(Value::Object(claims)) => audiences(&claims),
        _ => Vec::new(),
    }
}

fn audiences(claims: &Map<String, Value>) -> Vec<String> {
    match claims.get("aud") {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}
