use std::sync::Arc;

use base::Secret;
use oauth::ErrorCode;
use serde_json::{Map, Value, json};

use crate::{
    EndpointError, PresentedToken, Site, bearer::invalid_token, idp::Core, model::Client,
    standard_claims::user_claims,
};

/// `/userinfo` (OpenID Connect Core 5.3).
#[derive(Clone)]
pub struct Userinfo {
    core: Arc<Core>,
}

/// What `/userinfo` answers.
#[derive(Debug)]
pub enum UserinfoAnswer {
    /// JSON.
    Claims(Map<String, Value>),
    /// Signed, encrypted, or both, for a client that registered for that.
    Token(Secret<String>),
}

impl Userinfo {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// The claims that the token's scopes allow. `token` is what followed `Bearer`, or the form's `access_token`.
    ///
    /// # Errors
    ///
    /// `invalid_token` (401) or `insufficient_scope` (403), both with `WWW-Authenticate: Bearer`.
    pub async fn claims<'a>(
        &self,
        site: &Site,
        token: impl Into<PresentedToken<'a>>,
    ) -> Result<Map<String, Value>, EndpointError> {
        self.about(site, &token.into()).await.map(|(claims, _)| claims)
    }

    /// The same in the form that the token's client registered for (OpenID Connect Core 5.3.2).
    ///
    /// # Errors
    ///
    /// As [`Userinfo::claims`].
    pub async fn answer<'a>(
        &self,
        site: &Site,
        token: impl Into<PresentedToken<'a>>,
    ) -> Result<UserinfoAnswer, EndpointError> {
        let (mut claims, client) = self.about(site, &token.into()).await?;
        let protection = client.userinfo_protection();
        if protection.signed.is_none() && protection.encrypted.is_none() {
            return Ok(UserinfoAnswer::Claims(claims));
        }
        if protection.signed.is_some() {
            claims.insert("iss".to_owned(), json!(site.issuer()));
            claims.insert("aud".to_owned(), json!(client.client_id));
        }
        let token = self.core.protected(site, &client, protection, "JWT", &claims).await?;
        Ok(UserinfoAnswer::Token(token))
    }

    /// The claims, and the client that the token was made for.
    async fn about(
        &self,
        site: &Site,
        token: &PresentedToken<'_>,
    ) -> Result<(Map<String, Value>, Client), EndpointError> {
        let access = self.core.proven_token(site, token).await?;
        let own = site.userinfo_audience();
        let user = self.core.repository.user(&site.tenant.id, &access.subject).await?;
        let (Some(user), true) = (user, access.audiences.contains(&own)) else { return Err(invalid_token()) };
        if !access.scope.contains("openid") {
            return Err(EndpointError::oauth(
                ErrorCode::InsufficientScope,
                "The access token lacks the scope openid.",
            ));
        }
        let client = self.core.repository.client(&site.tenant.id, &access.client_id).await?;
        let client = client.ok_or_else(invalid_token)?;
        let mut claims = Map::new();
        claims.insert("sub".to_owned(), json!(self.core.subject(site, &client, &user.user_id).await?));
        user_claims(site, &user, &access.scope, access.asked_claims(), &mut claims);
        Ok((claims, client))
    }
}
