use std::sync::Arc;

use base::Secret;
use oauth::ErrorCode;
use serde_json::{Map, Value, json};

use crate::{
    EndpointError, IdpError, PresentedToken, Site, bearer::invalid_token, idp::Core,
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
    /// A JWT, for a client that registered for one.
    Signed(Secret<String>),
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
        let (mut claims, client_id) = self.about(site, &token.into()).await?;
        let client = self.core.repository.client(&site.tenant.id, &client_id).await?;
        let client = client.ok_or_else(invalid_token)?;
        let Some(alg) = client.userinfo_signed_response_alg.as_deref() else {
            return Ok(UserinfoAnswer::Claims(claims));
        };
        claims.insert("iss".to_owned(), json!(site.issuer()));
        claims.insert("aud".to_owned(), json!(client_id));
        let signed: Result<_, IdpError> =
            self.core.sign(site, alg, client.client_secret.as_ref(), "JWT", &claims).await;
        Ok(UserinfoAnswer::Signed(signed?))
    }

    /// The claims, and the client that the token was made for.
    async fn about(
        &self,
        site: &Site,
        token: &PresentedToken<'_>,
    ) -> Result<(Map<String, Value>, String), EndpointError> {
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
        let mut claims = Map::new();
        claims.insert("sub".to_owned(), json!(user.user_id));
        user_claims(site, &user, &access.scope, access.asked_claims(), &mut claims);
        Ok((claims, access.client_id))
    }
}
