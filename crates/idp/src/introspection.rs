use std::sync::Arc;

use base::Secret;
use oauth::{ErrorCode, Params};
use serde_json::{Map, Value, json};

use crate::{
    AccessClaims, ClientAuthentication, EndpointError, Presented, Site,
    idp::Core,
    model::{Client, Confirmation, RefreshTokenRecord},
};

/// `/oauth/introspect` (RFC 7662).
#[derive(Clone)]
pub struct Introspection {
    core: Arc<Core>,
    clients: ClientAuthentication,
}

impl Introspection {
    pub(crate) fn new(core: Arc<Core>, clients: ClientAuthentication) -> Self {
        Self { core, clients }
    }

    /// The answer, `{"active": false}` for every token the caller has no business with. The caller must authenticate
    /// with more than its name.
    ///
    /// # Errors
    ///
    /// Where the caller is not known or no token is there, and `invalid_request` for a caller whose answers are
    /// encrypted: in the clear it gets none.
    pub async fn answer<'a>(
        &self,
        site: &Site,
        presented: impl Into<Presented<'a>>,
        params: &Params<'_>,
    ) -> Result<Map<String, Value>, EndpointError> {
        let caller = self.caller(site, presented.into(), params).await?;
        if caller.introspection_encrypted_response_alg.is_some() {
            let text =
                "The client's answers are encrypted: it must accept application/token-introspection+jwt.";
            return Err(EndpointError::oauth(ErrorCode::InvalidRequest, text));
        }
        self.about(site, &caller, params).await
    }

    /// The same as a JWT for the caller (RFC 9701 section 5).
    ///
    /// # Errors
    ///
    /// Where the caller is not known or no token is there.
    pub async fn signed<'a>(
        &self,
        site: &Site,
        presented: impl Into<Presented<'a>>,
        params: &Params<'_>,
    ) -> Result<Secret<String>, EndpointError> {
        let caller = self.caller(site, presented.into(), params).await?;
        let answer = self.about(site, &caller, params).await?;
        // No `sub` and no `exp`: it must pass for no access token.
        let claims = Map::from_iter([
            ("iss".to_owned(), json!(site.issuer())),
            ("aud".to_owned(), json!(caller.client_id)),
            ("iat".to_owned(), json!(self.core.clock.now().secs())),
            ("token_introspection".to_owned(), Value::Object(answer)),
        ]);
        let (protection, typ) = (caller.introspection_protection(), "token-introspection+jwt");
        Ok(self.core.protected(site, &caller, protection, typ, &claims).await?)
    }

    async fn caller(
        &self,
        site: &Site,
        presented: Presented<'_>,
        params: &Params<'_>,
    ) -> Result<Client, EndpointError> {
        let caller = self.clients.authenticate(site, presented, params).await?;
        if caller.is_public() {
            return Err(EndpointError::oauth(
                ErrorCode::InvalidClient,
                "A public client cannot introspect tokens.",
            ));
        }
        Ok(caller)
    }

    async fn about(
        &self,
        site: &Site,
        caller: &Client,
        params: &Params<'_>,
    ) -> Result<Map<String, Value>, EndpointError> {
        let token = params.value("token").ok_or_else(|| {
            EndpointError::oauth(ErrorCode::InvalidRequest, "Missing required parameter: token")
        })?;
        // The hint is only a hint: both kinds are looked for, whatever it says.
        if let Some(mut access) = self.core.access_token(site, token).await? {
            let mine = access.client_id == caller.client_id || self.guards(site, caller, &access).await?;
            if mine && access.opaque && !access.is_machine() {
                let subject = self.core.subject(site, caller, &access.subject).await?;
                access.claims.insert("sub".to_owned(), json!(subject));
            }
            return Ok(if mine { describe_access_token(access) } else { inactive() });
        }
        match self.core.refresh_token(site, caller, token).await {
            Ok(found) if found.rotated_at.is_none() => {
                self.describe_refresh_token(site, caller, &found).await
            }
            Ok(_) | Err(EndpointError::OAuth(_)) => Ok(inactive()),
            Err(error) => Err(error),
        }
    }

    /// Whether the caller stands in front of an API that the token is for.
    async fn guards(
        &self,
        site: &Site,
        caller: &Client,
        access: &AccessClaims,
    ) -> Result<bool, EndpointError> {
        for audience in &access.audiences {
            let api = self.core.api(site, Some(audience)).await?;
            if api.is_some_and(|api| api.introspection_clients.contains(&caller.client_id)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn describe_refresh_token(
        &self,
        site: &Site,
        caller: &Client,
        found: &RefreshTokenRecord,
    ) -> Result<Map<String, Value>, EndpointError> {
        let grant = &found.grant;
        let user = self.core.repository.user(&site.tenant.id, &grant.user_id).await?;
        if user.is_none_or(|user| user.blocked) {
            return Ok(inactive());
        }
        let mut answer = active();
        answer.insert("token_type".to_owned(), json!("refresh_token"));
        answer.insert("client_id".to_owned(), json!(grant.client_id));
        let subject = self.core.subject(site, caller, &grant.user_id).await?;
        answer.insert("sub".to_owned(), json!(subject));
        answer.insert("iss".to_owned(), json!(grant.issuer));
        answer.insert("scope".to_owned(), json!(grant.scope.to_string()));
        answer.insert("iat".to_owned(), json!(found.created_at.div_euclid(1000)));
        let end = found.expires_at.min(found.idle_expires_at);
        if end != i64::MAX {
            answer.insert("exp".to_owned(), json!(end.div_euclid(1000)));
        }
        Ok(answer)
    }
}

fn describe_access_token(access: AccessClaims) -> Map<String, Value> {
    let mut answer = active();
    answer.extend(access.claims);
    answer.insert("client_id".to_owned(), json!(access.client_id));
    let token_type = access.confirmation.as_ref().map_or("Bearer", Confirmation::token_type);
    answer.insert("token_type".to_owned(), json!(token_type));
    answer
}

fn active() -> Map<String, Value> {
    Map::from_iter([("active".to_owned(), json!(true))])
}

fn inactive() -> Map<String, Value> {
    Map::from_iter([("active".to_owned(), json!(false))])
}
