//! Which parameters an authorization request has: its own, those of a request object (RFC 9101, OpenID Connect Core 6), or
//! those that were pushed before (RFC 9126).

use oauth::{ErrorCode, OAuthError, Params, form};

use super::request::invalid;
use crate::{
    IdpError, Site,
    idp::Core,
    model::{Client, Digest},
};

/// What stands in front of the handle of a pushed request.
pub(super) const PUSHED_PREFIX: &str = "urn:ietf:params:oauth:request_uri:";
/// A longer handle is nobody's.
const MAX_HANDLE: usize = 128;

/// The parameters that count.
pub(crate) struct Reading {
    pub(crate) params: Params<'static>,
    /// Whether the client signed them.
    pub(super) signed: bool,
    /// The pushed request that they come from.
    pub(super) pushed: Option<Digest>,
    /// When the request object that they come from expires, in seconds since the epoch.
    pub(super) until: Option<i64>,
}

impl Core {
    /// Reads a request as it came to `/authorize`. `Err` is for the client, where it says by itself where it wants to be
    /// told, else for a page.
    pub(super) async fn read_request(
        &self,
        site: &Site,
        client: &Client,
        params: &Params<'_>,
    ) -> Result<Result<Reading, OAuthError>, IdpError> {
        let reading = match (params.value("request"), params.value("request_uri")) {
            (Some(_), Some(_)) => return Ok(Err(invalid("request and request_uri exclude each other."))),
            (None, Some(uri)) if uri.starts_with(PUSHED_PREFIX) => {
                self.pushed_request(site, client, uri).await?
            }
            (None, Some(uri)) => self.request_object_at(site, client, uri, params).await?,
            (Some(object), None) => self.request_object(site, client, object, params).await?,
            (None, None) => Ok(plain(params)),
        };
        Ok(reading.and_then(|reading| self.admit(site, client, reading)))
    }

    /// Reads a request as it came to `/oauth/par`.
    pub(super) async fn read_pushed(
        &self,
        site: &Site,
        client: &Client,
        params: &Params<'_>,
    ) -> Result<Result<Reading, OAuthError>, IdpError> {
        if params.first("request_uri").is_some() {
            // RFC 9126 section 2.1.
            return Ok(Err(invalid("request_uri must not be pushed.")));
        }
        let reading = match params.value("request") {
            Some(object) => self.request_object(site, client, object, params).await?,
            None => Ok(plain(params)),
        };
        Ok(reading.and_then(|reading| self.must_be_signed(client, reading)))
    }

    /// Whether the request came by the way that its client must take.
    fn admit(&self, site: &Site, client: &Client, reading: Reading) -> Result<Reading, OAuthError> {
        let tenant = site.tenant.settings.flags.require_pushed_authorization_requests;
        let must_push = client.require_pushed_authorization_requests || tenant || client.is_fapi2();
        if must_push && reading.pushed.is_none() {
            return Err(invalid("Pushed authorization requests are required."));
        }
        self.must_be_signed(client, reading)
    }

    fn must_be_signed(&self, client: &Client, reading: Reading) -> Result<Reading, OAuthError> {
        match client.requires_signed_requests() && !reading.signed {
            true => Err(invalid("Signed request objects are required.")),
            false => Ok(reading),
        }
    }

    async fn pushed_request(
        &self,
        site: &Site,
        client: &Client,
        uri: &str,
    ) -> Result<Result<Reading, OAuthError>, IdpError> {
        let gone = || {
            let text = "The request_uri is unknown, has expired, or has been used.";
            OAuthError::new(ErrorCode::InvalidRequestUri, text)
        };
        let handle = uri.strip_prefix(PUSHED_PREFIX).filter(|handle| handle.len() <= MAX_HANDLE);
        let Some(handle) = handle else { return Ok(Err(gone())) };
        let now = self.clock.now();
        for digest in self.digester.all(handle) {
            let Some(found) = self.repository.pushed_request(&site.tenant.id, &digest, now).await? else {
                continue;
            };
            if found.client_id != client.client_id {
                return Ok(Err(gone()));
            }
            let Ok(params) = form::parse(found.params.as_bytes()) else { return Ok(Err(gone())) };
            let params = params.into_owned();
            return Ok(Ok(Reading { params, signed: found.signed, pushed: Some(digest), until: None }));
        }
        Ok(Err(gone()))
    }
}

fn plain(params: &Params<'_>) -> Reading {
    Reading { params: params.clone().into_owned(), signed: false, pushed: None, until: None }
}
