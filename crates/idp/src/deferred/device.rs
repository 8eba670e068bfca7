use std::{net::IpAddr, sync::Arc, time::Duration};

use oauth::{ErrorCode, Params};

use super::INTERVAL;
use crate::{
    Authorization, AuthorizeOutcome, Browser, ClientAuthentication, EndpointError, IdpError, Presented,
    RepositoryError, Site,
    idp::Core,
    model::{AuthorizeRequest, Deferred, DeferredKind, DeferredRequest, DeferredState, Digest},
};

/// The grant type's name.
pub(crate) const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// How long the person may take.
const LIFETIME: Duration = Duration::from_secs(15 * 60);
/// Letters without vowels, which spell no words, and without those that look like others (RFC 8628 section 6.1).
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
/// Letters of a code: 34 bits, tried no faster than [`crate::attempts`] lets.
const LENGTH: usize = 8;

/// The device flow (RFC 8628).
#[derive(Clone)]
pub struct DeviceFlow {
    core: Arc<Core>,
    clients: ClientAuthentication,
    authorization: Authorization,
}

/// The answer of `/oauth/device/code`.
#[derive(Debug)]
pub struct DeviceAuthorization {
    /// What the device polls with.
    pub device_code: String,
    /// What the person types, with a hyphen in the middle.
    pub user_code: String,
    /// Seconds.
    pub expires_in: u64,
    /// Seconds between two polls.
    pub interval: i64,
}

impl DeviceFlow {
    pub(crate) fn new(core: Arc<Core>, clients: ClientAuthentication, authorization: Authorization) -> Self {
        Self { core, clients, authorization }
    }

    /// Begins one (section 3.1).
    pub async fn begin<'a>(
        &self,
        site: &Site,
        presented: impl Into<Presented<'a>>,
        params: &Params<'_>,
    ) -> Result<DeviceAuthorization, EndpointError> {
        let client = self.clients.authenticate(site, presented, params).await?;
        if !client.allows_grant(GRANT_TYPE) {
            let text = format!("Grant type '{GRANT_TYPE}' not allowed for the client.");
            return Err(EndpointError::oauth(ErrorCode::UnauthorizedClient, &text));
        }
        if params.value("request_uri").is_some() {
            let text = "A device's request object comes by value.";
            return Err(EndpointError::oauth(ErrorCode::RequestUriNotSupported, text));
        }
        let read = match params.value("request") {
            Some(object) => Some(self.core.request_object(site, &client, object, params).await??.params),
            // RFC 9101 section 10.5: who must sign must not get by without.
            None if client.requires_signed_requests() => {
                let text = "Signed request objects are required.";
                return Err(EndpointError::oauth(ErrorCode::InvalidRequest, text));
            }
            None => None,
        };
        let request = self.core.deferred_request(site, &client, read.as_ref().unwrap_or(params)).await?;
        let device_code = self.core.random.token(32);
        let expires_at = (self.core.clock.now() + LIFETIME).0;
        // Two live codes that are the same are as good as impossible, and would still be refused by the store.
        for _ in 0..3 {
            let user_code = self.new_user_code();
            let deferred = DeferredRequest {
                handle: self.core.digester.digest(&device_code),
                kind: DeferredKind::Device,
                user_code: Some(self.core.digester.digest(&user_code)),
                user_id: None,
                request: request.clone(),
                notification: None,
                interval: INTERVAL,
                expires_at,
                state: DeferredState::Pending,
            };
            match self.core.repository.create_deferred(&site.tenant.id, &deferred).await {
                Err(RepositoryError::Conflict(_)) => continue,
                made => made?,
            }
            let (first, second) = user_code.split_at(LENGTH / 2);
            return Ok(DeviceAuthorization {
                device_code,
                user_code: format!("{first}-{second}"),
                expires_in: LIFETIME.as_secs(),
                interval: INTERVAL / 1000,
            });
        }
        Err(EndpointError::Internal(RepositoryError::Conflict("user_code").into()))
    }

    /// Goes on with the request whose code a person typed at `/activate`: to the login page, or to the consent page.
    /// `None`: there is no such code, or this address or this user has typed too many wrong ones (section 5.1).
    pub async fn activate(
        &self,
        site: &Site,
        user_code: &str,
        browser: &Browser,
    ) -> Result<Option<AuthorizeOutcome>, IdpError> {
        let now = self.core.clock.now();
        let guessers = self.guessers(site, browser).await?;
        let mut open = true;
        for (account, address) in &guessers {
            open &= self.core.begin_attempt(site, account, *address, true).await?;
        }
        if !open {
            return Ok(None);
        }
        let Some(code) = one_form(user_code) else { return Ok(None) };
        let digests: Vec<Digest> = self.core.digester.all(&code).collect();
        for digest in digests {
            let found = self.core.repository.deferred_by_user_code(&site.tenant.id, &digest, now).await?;
            let Some(found) = found else { continue };
            // Not all of them: whoever guesses at others' codes has one of their own to type in between.
            for (account, address) in &guessers {
                self.core.take_back_attempt(site, account, *address).await?;
            }
            let deferred = Some(Deferred { handle: found.handle, binding_message: None });
            let request = AuthorizeRequest { deferred, ..found.request };
            return self.authorization.start_deferred(site, request, browser).await.map(Some);
        }
        Ok(None)
    }

    /// What wrong codes are counted under: the address, and the user of the browser's session wherever it is. Whoever
    /// guesses, guesses at the codes of everybody (O30).
    async fn guessers(
        &self,
        site: &Site,
        browser: &Browser,
    ) -> Result<Vec<(String, Option<IpAddr>)>, IdpError> {
        let mut guessers = vec![("device codes".to_owned(), browser.ip)];
        if let Some((session, _)) = self.core.session(site, browser).await? {
            guessers.push((format!("device codes/{}", session.user_id), None));
        }
        Ok(guessers)
    }

    fn new_user_code(&self) -> String {
        let mut code = String::with_capacity(LENGTH);
        while code.len() < LENGTH {
            let mut bytes = [0_u8; 16];
            self.core.random.fill(&mut bytes);
            // 240 is the largest multiple of 20 in a byte: what lies beyond would favour the first letters.
            let letters = bytes.iter().filter(|byte| **byte < 240).filter_map(|byte| {
                LETTERS.get(usize::from(*byte) % LETTERS.len()).map(|letter| char::from(*letter))
            });
            code.extend(letters.take(LENGTH - code.len()));
        }
        code
    }
}

/// A code without what people type besides its letters.
fn one_form(typed: &str) -> Option<String> {
    if typed.len() > 64 {
        return None;
    }
    let letters = typed.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase());
    let code: String = letters.collect();
    (code.len() == LENGTH && code.bytes().all(|byte| LETTERS.contains(&byte))).then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_however_it_is_typed() {
        for typed in ["BCDF-GHJK", "bcdfghjk", " bcdf ghjk ", "b-c-d-f-g-h-j-k"] {
            assert_eq!(one_form(typed).as_deref(), Some("BCDFGHJK"), "{typed}");
        }
        for typed in ["", "BCDF", "BCDF-GHJA", "BCDF-GHJKL", "BCDF-GHJ1", &"-".repeat(65)] {
            assert_eq!(one_form(typed), None, "{typed}");
        }
    }
}
