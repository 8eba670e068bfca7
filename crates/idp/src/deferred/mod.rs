//! Requests that are answered elsewhere than where they were made: the device flow (RFC 8628) and CIBA. A person finds
//! one by its code or is asked for it, logs in like for any other request, and decides on the consent page.

mod backchannel;
mod device;

use oauth::{ErrorCode, OAuthError, Params, Scopes};
use serde_json::json;

pub(crate) use self::{backchannel::GRANT_TYPE as CIBA, device::GRANT_TYPE as DEVICE_CODE};
pub use self::{
    backchannel::{Backchannel, BackchannelAnswer},
    device::{DeviceAuthorization, DeviceFlow},
};
use crate::{
    AuthorizeOutcome, Call, EndpointError, IdpError, Site,
    authorization::{
        ClaimsRequest, details,
        request::{IDENTITY_SCOPES, acr, max_age, without_refused},
        targets::single_target,
    },
    idp::Core,
    model::{
        AuthorizeRequest, Client, Deferred, DeferredKind, DeferredRequest, DeferredState, Grant, Prompt,
    },
};

/// Milliseconds between two polls, unless a client is too fast.
const INTERVAL: i64 = 5000;
/// Nobody else's code is longer.
const MAX_HANDLE: usize = 256;

impl Core {
    /// What a deferred request asks for: each parameter that it can have is judged like an authorization request's.
    pub(crate) async fn deferred_request(
        &self,
        site: &Site,
        client: &Client,
        params: &Params<'_>,
    ) -> Result<AuthorizeRequest, EndpointError> {
        without_refused(params)?;
        let default = site.tenant.settings.default_audience.as_deref();
        let audience = single_target(params)?.or(default).filter(|name| *name != site.userinfo_audience());
        let targets = self.targets_of(site, audience.into_iter()).await?;
        let api = targets.apis().next();
        if let (Some(name), None) = (audience, api) {
            // RFC 8707 section 2; what Auth0's parameter names is told as Auth0 does.
            let code = match params.value("audience") {
                None => ErrorCode::InvalidTarget,
                Some(_) => ErrorCode::AccessDenied,
            };
            return Err(EndpointError::oauth(code, &format!("Service not found: {name}")));
        }
        let asked = Scopes::parse(params.value("scope").unwrap_or_default())
            .map_err(|error| EndpointError::oauth(ErrorCode::InvalidScope, &error.to_string()))?;
        let offline = client.allows_grant("refresh_token") && api.is_none_or(|api| api.allow_offline_access);
        let allowed: Vec<&str> =
            IDENTITY_SCOPES.into_iter().filter(|scope| offline || *scope != "offline_access").collect();
        let identity = Scopes::parse(&allowed.join(" ")).unwrap_or_default();
        let known = api.map(|api| api.scope_names()).unwrap_or_default();
        let mut scope = asked.intersection(&identity.union(&known));
        if let Some(api) = api {
            scope = self
                .user_scope(site, client, api, &scope)
                .await?
                .map_err(|reason| EndpointError::oauth(ErrorCode::AccessDenied, reason))?;
        }
        let claims = params.value("claims").map(ClaimsRequest::parse).transpose()?.unwrap_or_default();
        let acr_requested = acr(client, params, &claims)?;
        let expected_user = match claims.subject()? {
            None => None,
            // Nobody's subject is nobody: no login will do.
            Some(subject) => Some(self.user_of_subject(site, &subject).await?.unwrap_or(subject)),
        };
        Ok(AuthorizeRequest {
            issuer: site.issuer(),
            client_id: client.client_id.clone(),
            scope,
            audience: audience.map(str::to_owned),
            authorization_details: details::parse(params, &targets)?,
            claims,
            acr_requested,
            max_age: max_age(params)?.or(client.default_max_age),
            expected_user,
            // Whoever made the request may be somebody else than who is asked to allow it (RFC 8628 section 5.4).
            prompt: vec![Prompt::Consent],
            ..AuthorizeRequest::default()
        })
    }

    /// Decides the deferred request that a page was about: with a grant or, without one, against it.
    pub(crate) async fn settle_deferred(
        &self,
        site: &Site,
        deferred: &Deferred,
        grant: Option<&Grant>,
    ) -> Result<AuthorizeOutcome, IdpError> {
        match self.decide_deferred(site, deferred, grant).await? {
            true => Ok(AuthorizeOutcome::Decided { allowed: grant.is_some() }),
            false => Ok(AuthorizeOutcome::ErrorPage(OAuthError::new(
                ErrorCode::InvalidRequest,
                "This request has expired or was decided already.",
            ))),
        }
    }

    /// `true` for exactly one decision, which the client is then told of, where it wants to be.
    async fn decide_deferred(
        &self,
        site: &Site,
        deferred: &Deferred,
        grant: Option<&Grant>,
    ) -> Result<bool, IdpError> {
        let (tenant, now) = (&site.tenant.id, self.clock.now());
        let Some(found) = self.repository.deferred(tenant, &deferred.handle, now).await? else {
            return Ok(false);
        };
        if !self.repository.decide_deferred(tenant, &deferred.handle, grant, now).await? {
            return Ok(false);
        }
        self.notify(site, &found).await?;
        Ok(true)
    }

    /// OpenID Connect CIBA 10.2. A client that does not listen can still poll.
    async fn notify(&self, site: &Site, found: &DeferredRequest) -> Result<(), IdpError> {
        let Some(notification) = &found.notification else { return Ok(()) };
        let client = self.repository.client(&site.tenant.id, &found.request.client_id).await?;
        let endpoint = client.and_then(|client| client.backchannel_client_notification_endpoint);
        let Some(endpoint) = endpoint else { return Ok(()) };
        let Some((token, auth_req_id)) = notification.expose().split_once(' ') else { return Ok(()) };
        let outbound = self.outbound.clone();
        let (bearer, body) = (format!("Bearer {token}"), json!({ "auth_req_id": auth_req_id }).to_string());
        // Nobody waits for the client.
        tokio::spawn(async move {
            let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
            let call = Call {
                url: &endpoint,
                headers: &headers,
                body: Some(body.as_bytes()),
                max_body: MAX_NOTIFICATION_ANSWER,
            };
            if let Err(error) = outbound.send(call).await {
                tracing::info!(%error, "a client cannot be told that its request was decided");
            }
        });
        Ok(())
    }

    /// The grant that a client polls for (RFC 8628 section 3.5, CIBA 11): exactly once.
    pub(crate) async fn polled_grant(
        &self,
        site: &Site,
        client: &Client,
        kind: DeferredKind,
        code: &str,
    ) -> Result<Grant, EndpointError> {
        let unknown = || EndpointError::oauth(ErrorCode::InvalidGrant, "Unknown or used code.");
        if code.len() > MAX_HANDLE {
            return Err(unknown());
        }
        let (tenant, now) = (&site.tenant.id, self.clock.now());
        for handle in self.digester.all(code) {
            let polled = self.repository.poll_deferred(tenant, &client.client_id, kind, &handle, now).await?;
            let Some(polled) = polled else { continue };
            let refused = |code, text| Err(EndpointError::oauth(code, text));
            return match polled.request.state {
                DeferredState::Used => Err(unknown()),
                _ if polled.request.expires_at <= now.0 => {
                    refused(ErrorCode::ExpiredToken, "The code has expired.")
                }
                DeferredState::Denied => {
                    refused(ErrorCode::AccessDenied, "User did not authorize the request")
                }
                DeferredState::Pending if polled.too_soon => refused(
                    ErrorCode::SlowDown,
                    "You are polling too fast; add five seconds to the interval.",
                ),
                DeferredState::Pending => {
                    refused(ErrorCode::AuthorizationPending, "User has yet to authorize the request")
                }
                DeferredState::Allowed => {
                    let grant =
                        self.repository.redeem_deferred(tenant, &client.client_id, &handle, now).await?;
                    grant.ok_or_else(unknown)
                }
            };
        }
        Err(unknown())
    }
}

/// Bytes of the answer to a notification that are read. They say nothing.
const MAX_NOTIFICATION_ANSWER: usize = 16 * 1024;
