use std::sync::Arc;

use base::UnixMillis;
use oauth::{ErrorCode, Params};
use serde_json::Value;

use crate::{ClientAuthentication, EndpointError, IdpError, Presented, Site, idp::Core};

/// Who reads this provider's tokens in the same process without asking it.
pub trait RevocationListener: Send + Sync {
    /// Tokens whose id is `id`, or begins with it and a dot, are good no longer. None of them lives on after `until`.
    fn revoked(&self, id: &str, until: UnixMillis);
}

impl Core {
    /// Revokes `id`, durably, and has it known in this process when it returns. Other nodes read it.
    pub(crate) async fn add_revocation(
        &self,
        site: &Site,
        id: &str,
        until: UnixMillis,
    ) -> Result<(), IdpError> {
        self.repository.add_revocation(&site.tenant.id, id, until, self.clock.now()).await?;
        if let Some(listener) = &self.revocation_listener {
            listener.revoked(id, until);
        }
        Ok(())
    }
}

/// `/oauth/revoke` (RFC 7009).
#[derive(Clone)]
pub struct Revocation {
    core: Arc<Core>,
    clients: ClientAuthentication,
}

impl Revocation {
    pub(crate) fn new(core: Arc<Core>, clients: ClientAuthentication) -> Self {
        Self { core, clients }
    }

    /// Revokes the form's `token` if it is the caller's: a refresh token with everything made from it, or one access
    /// token. Success (200 with an empty body) says nothing about whether there was one.
    pub async fn revoke<'a>(
        &self,
        site: &Site,
        presented: impl Into<Presented<'a>>,
        params: &Params<'_>,
    ) -> Result<(), EndpointError> {
        let caller = self.clients.authenticate(site, presented, params).await?;
        let token = params.value("token").ok_or_else(|| {
            EndpointError::oauth(ErrorCode::InvalidRequest, "Missing required parameter: token")
        })?;
        if let Some(found) = self.core.find_refresh_token(site, token).await? {
            if found.grant.client_id == caller.client_id {
                self.core.revoke_family(site, &found.grant.family).await?;
            }
            return Ok(());
        }
        let access = self.core.access_token(site, token).await?;
        let Some(access) = access.filter(|access| access.client_id == caller.client_id) else {
            return Ok(());
        };
        if access.opaque {
            for digest in self.core.digester.all(token) {
                let tenant = &site.tenant.id;
                self.core.repository.revoke_access_token(tenant, &digest, self.core.clock.now()).await?;
            }
        } else if let Some(jti) = access.claims.get("jti").and_then(Value::as_str) {
            self.core.add_revocation(site, jti, UnixMillis::from_secs(access.expires_at)).await?;
        }
        Ok(())
    }
}
