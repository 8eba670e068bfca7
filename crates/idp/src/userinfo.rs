use std::sync::Arc;

use oauth::ErrorCode;
use serde_json::{Map, Value, json};

use crate::{
    EndpointError, PresentedToken, Site, bearer::invalid_token, idp::Core, standard_claims::user_claims,
};

/// `/userinfo` (OpenID Connect Core 5.3).
#[derive(Clone)]
pub struct Userinfo {
    core: Arc<Core>,
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
        let access = self.core.proven_token(site, &token.into()).await?;
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
        Ok(claims)
    }
}
