//! JWT bearer (RFC 7523 section 2.1): a client signs for itself, or for a user who has allowed it to.

use jose::{Alg, CompactJws};
use oauth::{ErrorCode, Params};
use serde_json::Value;

use super::{IssuedTokens, TokenEndpoint, grant_error, required};
use crate::{
    EndpointError, Site,
    client_authentication::{ASSERTION_ALGS, MAX_ASSERTION, SKEW, moment},
    model::{Client, Confirmation, Grant},
    possession::once,
};

/// The grant type's name.
pub(crate) const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

impl TokenEndpoint {
    /// The issuer of an assertion is the client whose registered key signed it. Its subject is the client itself, or a
    /// user whose consent covers what is asked for: a key alone makes nobody a user.
    pub(super) async fn assertion(
        &self,
        site: &Site,
        client: &Client,
        params: &Params<'_>,
        bound: Option<Confirmation>,
    ) -> Result<IssuedTokens, EndpointError> {
        let assertion = required(params, "assertion")?;
        let subject = self.subject_of(site, client, assertion).await?;
        if subject == client.client_id {
            return self.client_credentials(site, client, params, bound).await;
        }
        let request = self.core.deferred_request(site, client, params).await?;
        let audience = request.audience.clone().unwrap_or_default();
        let (tenant, repository) = (&site.tenant.id, &self.core.repository);
        let consent = repository.consent(tenant, &subject, &client.client_id, &audience).await?;
        if !consent.is_some_and(|consent| consent.scope.contains_all(&request.scope)) {
            return Err(grant_error("The subject has not allowed the client what it asks for."));
        }
        let grant = Grant {
            family: self.core.random.alphanumeric(22),
            client_id: client.client_id.clone(),
            user_id: subject,
            issuer: request.issuer,
            scope: request.scope.without("offline_access"),
            audience: request.audience,
            auth_time: self.core.clock.now().secs(),
            confirmation: bound,
            ..Grant::default()
        };
        self.tokens_of(site, client, params, grant, Some(GRANT_TYPE)).await
    }

    /// Whom a good assertion is about (section 3).
    async fn subject_of(
        &self,
        site: &Site,
        client: &Client,
        assertion: &str,
    ) -> Result<String, EndpointError> {
        let wrong = |text: &str| grant_error(&format!("The assertion {text}."));
        let jws = CompactJws::parse(assertion).map_err(|_| wrong("is no JWT"))?;
        // FAPI 2.0 Security Profile 5.4.1.
        let fits = |alg: &Alg| !client.is_fapi2() || *alg != Alg::RS256;
        let allowed: Vec<Alg> = ASSERTION_ALGS.into_iter().filter(fits).collect();
        let payload = self.core.verified_by_client(client, &jws, &allowed).await;
        let payload = payload.ok_or_else(|| wrong("is not signed by the client"))?;
        let Ok(Value::Object(claims)) = jose::parse_json(&payload, 8) else {
            return Err(wrong("has no claims"));
        };
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        if text("iss") != Some(client.client_id.as_str()) {
            return Err(wrong("has another issuer than the client"));
        }
        let ours = [site.issuer(), site.url("/oauth/token")];
        let names_us =
            |value: &Value| value.as_str().is_some_and(|name| ours.iter().any(|known| known == name));
        let for_us = match claims.get("aud") {
            Some(Value::Array(several)) => !several.is_empty() && several.iter().all(names_us),
            Some(one) => names_us(one),
            None => false,
        };
        if !for_us {
            return Err(wrong("is for somebody else"));
        }
        let now = self.core.clock.now();
        let until = moment(&claims, "exp").flatten().filter(|at| *at > now && *at <= now + MAX_ASSERTION);
        let until = until.ok_or_else(|| wrong("has expired, or is good for more than an hour"))?;
        for name in ["iat", "nbf"] {
            if moment(&claims, name).is_some_and(|at| at.is_none_or(|at| at > now + SKEW)) {
                return Err(wrong("is not good yet"));
            }
        }
        let jti =
            text("jti").filter(|jti| (1..=256).contains(&jti.len())).ok_or_else(|| wrong("has no jti"))?;
        let used = format!("grant/{}/{}", client.client_id, once(jti));
        if !self.core.repository.use_once(&site.tenant.id, &used, until).await? {
            return Err(wrong("has been used before"));
        }
        let subject = text("sub").ok_or_else(|| wrong("has no subject"))?;
        if subject == client.client_id {
            return Ok(subject.to_owned());
        }
        let user = self.core.user_of_subject(site, subject).await?;
        user.ok_or_else(|| wrong("is about nobody"))
    }
}

/// Clients that cannot sign cannot have it.
pub(super) fn check_client(client: &Client) -> Result<(), EndpointError> {
    if client.jwks.is_none() && client.jwks_uri.is_none() && client.client_authentication_methods.is_none() {
        let text = "The client has registered no keys to sign assertions with.";
        return Err(EndpointError::oauth(ErrorCode::UnauthorizedClient, text));
    }
    Ok(())
}
