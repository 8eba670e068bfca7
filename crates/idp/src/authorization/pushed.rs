use std::{sync::Arc, time::Duration};

use oauth::{ErrorCode, Params};
use url::form_urlencoded::Serializer;

use super::{Authorization, reading::PUSHED_PREFIX, request::ReturnAddress};
use crate::{ClientAuthentication, EndpointError, Presented, Site, idp::Core, model::PushedRequest};

/// Seconds a pushed request is good for where its client says nothing: more than FAPI 2.0 needs, less than it forbids.
const LIFETIME: i64 = 60;
/// What an administrator may set, in seconds (RFC 9126 section 2.2 advises 5 to 600).
pub(crate) const LIFETIMES: std::ops::RangeInclusive<i64> = 10..=600;
/// Parameters that prove who the client is, and are no part of the request.
const CREDENTIALS: [&str; 3] = ["client_secret", "client_assertion", "client_assertion_type"];

/// `/oauth/par` (RFC 9126): authorization requests that their clients leave beforehand.
#[derive(Clone)]
pub struct PushedRequests {
    core: Arc<Core>,
    clients: ClientAuthentication,
    authorization: Authorization,
}

/// A request that was kept.
#[derive(Clone, Debug)]
pub struct Pushed {
    /// What to send the browser to `/authorize` with, beside `client_id`.
    pub request_uri: String,
    /// Seconds.
    pub expires_in: i64,
}

impl PushedRequests {
    pub(crate) fn new(core: Arc<Core>, clients: ClientAuthentication) -> Self {
        Self { authorization: Authorization::new(core.clone()), core, clients }
    }

    /// Judges the request as `/authorize` would, and keeps it. The client authenticates as at the token endpoint.
    ///
    /// # Errors
    ///
    /// Those of `/authorize` and of client authentication; `endpoint_disabled` where the tenant has none.
    pub async fn push<'a>(
        &self,
        site: &Site,
        presented: impl Into<Presented<'a>>,
        params: &Params<'_>,
    ) -> Result<Pushed, EndpointError> {
        let presented = presented.into();
        if !site.tenant.settings.pushed_authorization_requests_supported {
            let code = ErrorCode::parse("endpoint_disabled").unwrap_or(ErrorCode::InvalidRequest);
            return Err(EndpointError::oauth(code, "This tenant has no pushed authorization requests."));
        }
        let client = self.clients.authenticate(site, presented, params).await?;
        let reading = self.core.read_pushed(site, &client, params).await??;
        let named = reading.params.value("client_id").is_none_or(|named| named == client.client_id);
        if !named {
            let text = "The client_id is not the authenticated client.";
            return Err(EndpointError::oauth(ErrorCode::InvalidRequest, text));
        }
        let address = ReturnAddress::parse(&client, &reading.params)?;
        self.authorization.judge(site, client.clone(), address, &reading).await??;
        let mut kept = without_credentials(&reading.params);
        // RFC 9449 section 10.1: a proof that comes with the request binds the code like `dpop_jkt`.
        if let Some(thumbprint) = self.core.proven_key(site, &client, &presented, None).await? {
            match reading.params.value("dpop_jkt") {
                None => kept.push_str(&format!("&dpop_jkt={thumbprint}")),
                Some(named) if named == thumbprint => {}
                Some(_) => {
                    let text = "The DPoP proof is not made with the key that dpop_jkt names.";
                    return Err(EndpointError::oauth(ErrorCode::InvalidDpopProof, text));
                }
            }
        }
        let seconds =
            client.par_request_expiry.unwrap_or(LIFETIME).clamp(*LIFETIMES.start(), *LIFETIMES.end());
        let now = self.core.clock.now();
        // What the client signed for a while is good for no longer because it was pushed.
        let left = reading.until.map(|until| until.saturating_sub(now.secs()));
        let seconds = left.map_or(seconds, |left| left.min(seconds));
        let handle = self.core.random.token(32);
        let lifetime = Duration::from_secs(seconds.unsigned_abs());
        let request = PushedRequest {
            handle: self.core.digester.digest(&handle),
            client_id: client.client_id,
            params: kept,
            signed: reading.signed,
            expires_at: (now + lifetime).0,
        };
        self.core.repository.create_pushed_request(&site.tenant.id, &request).await?;
        Ok(Pushed { request_uri: format!("{PUSHED_PREFIX}{handle}"), expires_in: seconds })
    }
}

fn without_credentials(params: &Params<'_>) -> String {
    let kept = params.iter().filter(|(name, _)| !CREDENTIALS.contains(name));
    Serializer::new(String::new()).extend_pairs(kept).finish()
}
