//! Token exchange (RFC 8693): an API calls another one on behalf of whoever called it.

use oauth::{ErrorCode, Params, Scopes};
use serde_json::{Map, Value, json};

use super::{IssuedTokens, TokenEndpoint, required, scope_error, token_type};
use crate::{
    AccessClaims, EndpointError, Site,
    authorization::{details, targets::single_target},
    issue::{AccessToken, held_scope},
    model::{Client, Confirmation, ResourceServer},
    possession::check_possession,
};

/// The grant type's name.
pub(crate) const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// The one type of token that is given; section 3.
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// The types of tokens that are taken.
const TAKEN: [&str; 2] = [ACCESS_TOKEN, "urn:ietf:params:oauth:token-type:jwt"];
/// Actors one behind another; more is a loop.
const MAX_ACTORS: usize = 8;

impl TokenEndpoint {
    /// Changes an access token for one that is good elsewhere. The client must be who the token was made for: the one
    /// that got it, or the gateway of the API that it is good at. The new token never says more than the old one about
    /// the user, lives no longer, and dies with it. For another API the client's own grant sets the bounds.
    pub(super) async fn exchange(
        &self,
        site: &Site,
        client: &Client,
        params: &Params<'_>,
        bound: Option<Confirmation>,
    ) -> Result<IssuedTokens, EndpointError> {
        let subject = required(params, "subject_token")?;
        let kind = required(params, "subject_token_type")?;
        let wanted = params.value("requested_token_type").unwrap_or(ACCESS_TOKEN);
        if !TAKEN.contains(&kind) || !TAKEN.contains(&wanted) {
            return Err(invalid("Only access tokens are exchanged, and for access tokens."));
        }
        let subject = self.held_token(site, client, subject, "subject_token", bound.as_ref()).await?;
        let actor = match (params.value("actor_token"), params.value("actor_token_type")) {
            (None, None) => None,
            (Some(token), Some(kind)) if TAKEN.contains(&kind) => {
                let actor = self.held_token(site, client, token, "actor_token", bound.as_ref()).await?;
                if actor.client_id != client.client_id {
                    return Err(invalid("The actor_token is not the client's own."));
                }
                Some(actor)
            }
            _ => return Err(invalid("actor_token and actor_token_type, an access token's, come together.")),
        };
        let own = subject.audiences.iter().find(|audience| !site.is_userinfo_audience(audience)).cloned();
        let audience = single_target(params)?.map(str::to_owned).or(own);
        let audience = audience.ok_or_else(|| invalid("Missing required parameter: audience"))?;
        let api = self.core.api(site, Some(&audience)).await?;
        let api = api.filter(|api| !api.is_system).ok_or_else(|| {
            EndpointError::oauth(
                ErrorCode::InvalidTarget,
                "The audience is no API that tokens are exchanged for.",
            )
        })?;
        // What an API could have made itself says nothing elsewhere: it may name any user.
        let forged = |token: &AccessClaims| token.forgeable && !token.audiences.contains(&api.identifier);
        if forged(&subject) || actor.as_ref().is_some_and(forged) {
            return Err(invalid("A token under the secret of its API is exchanged for no other API."));
        }
        check_possession(&api, bound.as_ref())?;
        details::nothing_granted(params)?;
        let known = self.exchangeable(site, client, &api, &subject, &audience).await?;
        let scope = match params.value("scope") {
            None => known,
            Some(text) => {
                let asked = Scopes::parse(text).map_err(|error| scope_error(&error.to_string()))?;
                if !known.contains_all(&asked) {
                    return Err(scope_error("The requested scope exceeds what may be exchanged."));
                }
                asked
            }
        };
        // A user does not come to hold more of an API because somebody else asks.
        let user = match subject.is_machine() {
            true => None,
            false => self.core.repository.user(&site.tenant.id, &subject.subject).await?,
        };
        let (scope, permissions) = match &user {
            None => (scope.clone(), scope),
            Some(user) => {
                let permissions = self.core.permissions(site, &api, user).await?;
                (held_scope(&api, scope, &permissions), permissions)
            }
        };
        let act = match &actor {
            Some(actor) => Some(acting(&self.subject_for(site, client, actor).await?, &subject)?),
            None => None,
        };
        let family = subject.family.clone();
        let order = AccessToken {
            issuer: &site.issuer(),
            api: &api,
            audience: &audience,
            subject: &self.subject_for(site, client, &subject).await?,
            client_id: &client.client_id,
            scope: &scope,
            permissions: &permissions,
            gty: Some(GRANT_TYPE),
            family: &family,
            confirmation: bound.as_ref(),
            in_browser: false,
            until: Some(subject.expires_at),
            act: act.as_ref(),
            authorization_details: &[],
            userinfo_claims: Vec::new(),
        };
        let (access_token, expires_in) = self.core.sign_access_token(site, &order).await?;
        Ok(IssuedTokens {
            access_token,
            token_type: token_type(bound.as_ref()),
            expires_in,
            id_token: None,
            refresh_token: None,
            issued_token_type: Some(ACCESS_TOKEN),
            scope,
            authorization_details: Vec::new(),
        })
    }

    /// Whom a token is about, as the client is to know them.
    async fn subject_for(
        &self,
        site: &Site,
        client: &Client,
        access: &AccessClaims,
    ) -> Result<String, EndpointError> {
        match access.is_machine() {
            true => Ok(access.subject.clone()),
            false => Ok(self.core.subject(site, client, &access.subject).await?),
        }
    }

    /// A good access token that this client holds rightly.
    async fn held_token(
        &self,
        site: &Site,
        client: &Client,
        token: &str,
        name: &str,
        bound: Option<&Confirmation>,
    ) -> Result<AccessClaims, EndpointError> {
        let wrong = || invalid(&format!("The {name} is invalid, expired, revoked or somebody else's."));
        let access = self.core.access_token(site, token).await?.ok_or_else(wrong)?;
        // A token that is bound to a key is worth nothing to whoever does not have the key.
        if access.confirmation.is_some() && access.confirmation.as_ref() != bound {
            return Err(wrong());
        }
        if access.client_id == client.client_id {
            return Ok(access);
        }
        for audience in &access.audiences {
            let api = self.core.api(site, Some(audience)).await?;
            if api.is_some_and(|api| api.introspection_clients.contains(&client.client_id)) {
                return Ok(access);
            }
        }
        Err(wrong())
    }

    /// What the new token may allow: at the same API what the old one does, at another one what the client may do there
    /// in its own name.
    async fn exchangeable(
        &self,
        site: &Site,
        client: &Client,
        api: &ResourceServer,
        subject: &AccessClaims,
        audience: &str,
    ) -> Result<Scopes, EndpointError> {
        if subject.audiences.contains(&api.identifier) {
            return Ok(subject.scope.intersection(&api.scope_names()));
        }
        self.granted(site, client, api, audience).await
    }
}

/// `act` (section 4.1): who acts, and who acted before.
fn acting(actor: &str, subject: &AccessClaims) -> Result<Value, EndpointError> {
    let mut act = Map::new();
    act.insert("sub".to_owned(), json!(actor));
    if let Some(before) = subject.claims.get("act") {
        let mut depth = 1;
        let mut inner = before;
        while let Some(next) = inner.get("act") {
            (inner, depth) = (next, depth + 1);
        }
        if depth >= MAX_ACTORS {
            return Err(invalid("The subject_token has passed through too many hands."));
        }
        act.insert("act".to_owned(), before.clone());
    }
    Ok(Value::Object(act))
}

/// Section 2.2.2.
fn invalid(text: &str) -> EndpointError {
    EndpointError::oauth(ErrorCode::InvalidRequest, text)
}
