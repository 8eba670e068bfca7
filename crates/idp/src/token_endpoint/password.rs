//! The password grant (RFC 6749 section 4.3), and Auth0's with a realm. No client has it unless somebody gives it the
//! grant type: RFC 9700 section 2.4 advises against it.

use oauth::{ErrorCode, Params};

use super::{IssuedTokens, TokenEndpoint, grant_error, required};
use crate::{
    Browser, EndpointError, Presented, Site,
    login::PasswordCheck,
    model::{Client, Confirmation, Grant},
};

/// The grant type with a realm.
pub(crate) const REALM_GRANT_TYPE: &str = "http://auth0.com/oauth/grant-type/password-realm";

impl TokenEndpoint {
    pub(super) async fn password(
        &self,
        site: &Site,
        client: &Client,
        presented: &Presented<'_>,
        params: &Params<'_>,
        bound: Option<Confirmation>,
    ) -> Result<IssuedTokens, EndpointError> {
        let (username, password) = (required(params, "username")?, required(params, "password")?);
        let with_realm = params.value("grant_type") == Some(REALM_GRANT_TYPE);
        let realm = if with_realm { Some(required(params, "realm")?) } else { None };
        let realm = realm.or(site.tenant.settings.default_directory.as_deref());
        let Some(realm) = realm else {
            let text = "Authorization server not configured with default connection.";
            return Err(EndpointError::oauth(ErrorCode::InvalidRequest, text));
        };
        let connection = self.core.login_connection(site, client, Some(realm)).await?;
        let Some(connection) = connection else {
            return Err(EndpointError::oauth(
                ErrorCode::InvalidRequest,
                "The realm is no connection of this client.",
            ));
        };
        let request = self.core.deferred_request(site, client, params).await?;
        let browser = Browser { ip: presented.ip, ..Browser::default() };
        let secret = base::Secret::new(password.to_owned());
        let user = match self.core.check_password(site, &connection, &browser, username, &secret).await? {
            PasswordCheck::Right(user) if user.blocked => return Err(grant_error("user is blocked")),
            PasswordCheck::Right(user) => user,
            PasswordCheck::Wrong(_) => return Err(grant_error("Wrong email or password.")),
            PasswordCheck::Locked(_) | PasswordCheck::Spraying => {
                let text = "Too many failed logins. Please wait a while before you try again.";
                return Err(EndpointError::oauth(ErrorCode::TooManyAttempts, text));
            }
        };
        if !self.core.may_use(site, client, &user).await? {
            return Err(grant_error("Wrong email or password."));
        }
        let now = self.core.clock.now();
        let ip = presented.ip.map(|ip| ip.to_string());
        self.core.repository.record_login(&site.tenant.id, &user.user_id, ip.as_deref(), now).await?;
        let grant = Grant {
            family: self.core.random.alphanumeric(22),
            client_id: client.client_id.clone(),
            user_id: user.user_id.clone(),
            issuer: request.issuer,
            scope: request.scope,
            audience: request.audience,
            auth_time: now.secs(),
            confirmation: bound,
            ..Grant::default()
        };
        self.tokens_of(site, client, params, grant, Some("password")).await
    }
}
