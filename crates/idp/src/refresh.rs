//! How refresh tokens live and die (RFC 9700 section 4.14, with Auth0's settings).

use std::time::Duration;

use base::{Secret, UnixMillis};
use oauth::ErrorCode;

use crate::{
    EndpointError, IdpError, Site,
    idp::Core,
    model::{Client, ExpirationType, Grant, RefreshTokenPolicy, RefreshTokenRecord, RotationType},
    repository::RefreshTokenFilter,
};

/// Longer than any JWT lives (30 days).
const FAMILY_MEMORY: Duration = Duration::from_secs(31 * 24 * 60 * 60);
/// In front of every refresh token, as in Auth0's.
const PREFIX: &str = "v1.";

impl Core {
    /// The first refresh token of a family.
    pub(crate) async fn first_refresh_token(
        &self,
        site: &Site,
        client: &Client,
        grant: Grant,
    ) -> Result<Secret<String>, IdpError> {
        let now = self.clock.now();
        let policy = &client.refresh_token;
        // The code's own members are of no more use.
        // A confidential client proves itself at every use; a public one's tokens are bound to the key it has shown
        // (RFC 9449 section 5, RFC 8705 section 4).
        let confirmation = grant.confirmation.clone().filter(|_| client.is_public());
        let grant = Grant { nonce: None, code_challenge: None, confirmation, ..grant };
        let expires_at = end(policy, policy.infinite_token_lifetime, now, policy.token_lifetime);
        let (token, record) = self.new_refresh_token(policy, grant, expires_at, None, now);
        self.repository.create_refresh_token(&site.tenant.id, &record).await?;
        Ok(token)
    }

    /// The token presented, if this client may use it. Whether its turn has come is for [`Core::use_refresh_token`].
    pub(crate) async fn refresh_token(
        &self,
        site: &Site,
        client: &Client,
        token: &str,
    ) -> Result<RefreshTokenRecord, EndpointError> {
        let found = self.find_refresh_token(site, token).await?;
        let found = found.filter(|found| found.grant.client_id == client.client_id).ok_or_else(unknown)?;
        let now = self.clock.now().0;
        let alive = found.revoked_at.is_none() && found.expires_at > now && found.idle_expires_at > now;
        if !alive || self.repository.is_revoked(&site.tenant.id, &found.grant.family).await? {
            return Err(unknown());
        }
        Ok(found)
    }

    pub(crate) async fn find_refresh_token(
        &self,
        site: &Site,
        token: &str,
    ) -> Result<Option<RefreshTokenRecord>, IdpError> {
        if token.len() > 256 || !token.starts_with(PREFIX) {
            return Ok(None);
        }
        for digest in self.digester.all(token) {
            if let Some(found) = self.repository.refresh_token(&site.tenant.id, &digest).await? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Uses the token: the one to use next, where it rotates. A token that was replaced before is only accepted within
    /// the leeway and as long as its successors are unused; otherwise somebody has a copy, and the family dies.
    pub(crate) async fn use_refresh_token(
        &self,
        site: &Site,
        client: &Client,
        found: RefreshTokenRecord,
    ) -> Result<Option<Secret<String>>, EndpointError> {
        let (tenant, now) = (&site.tenant.id, self.clock.now());
        let policy = &client.refresh_token;
        // FAPI 2.0 Security Profile 5.3.2.1: no rotation, which loses sessions and guards nothing that is bound anyway.
        let rotates = policy.rotation_type == RotationType::Rotating && !client.is_fapi2();
        if !rotates && found.rotated_at.is_none() {
            let idle = end(policy, policy.infinite_idle_token_lifetime, now, policy.idle_token_lifetime);
            let alive = self.repository.touch_refresh_token(tenant, &found.id, idle).await?;
            return if alive { Ok(None) } else { Err(unknown()) };
        }
        let parent = Some(found.id.clone());
        let (token, next) =
            self.new_refresh_token(policy, found.grant.clone(), found.expires_at, parent, now);
        let mut replaced_at = found.rotated_at;
        if replaced_at.is_none() {
            if self.repository.rotate_refresh_token(tenant, &found.id, None, &next, now).await? {
                return Ok(Some(token));
            }
            // Somebody else was faster: see what became of it.
            let again = self.repository.refresh_token(tenant, &found.token).await?;
            replaced_at = again.and_then(|again| again.rotated_at);
        }
        if let Some(at) = replaced_at {
            let leeway = policy.leeway.clamp(0, 60).saturating_mul(1000);
            let recent = now.0.saturating_sub(at) <= leeway && leeway > 0;
            if recent
                && !self.repository.has_grandchild(tenant, &found.id).await?
                && self.repository.rotate_refresh_token(tenant, &found.id, Some(at), &next, now).await?
            {
                return Ok(Some(token));
            }
        }
        self.revoke_family(site, &found.grant.family).await?;
        Err(unknown())
    }

    /// Ends a code and everything made from it.
    pub(crate) async fn revoke_family(&self, site: &Site, family: &str) -> Result<(), IdpError> {
        let (tenant, now) = (&site.tenant.id, self.clock.now());
        // First the family as a whole, which every token is checked against; a token that is being made right now is
        // dead with it. Remembered as long as any JWT of it could live; refresh tokens are marked one by one.
        self.add_revocation(site, family, now + FAMILY_MEMORY).await?;
        let filter = RefreshTokenFilter { family: Some(family), ..RefreshTokenFilter::default() };
        self.repository.revoke_refresh_tokens(tenant, filter, now).await?;
        Ok(())
    }

    fn new_refresh_token(
        &self,
        policy: &RefreshTokenPolicy,
        grant: Grant,
        expires_at: i64,
        parent: Option<String>,
        now: UnixMillis,
    ) -> (Secret<String>, RefreshTokenRecord) {
        let token = Secret::new(format!("{PREFIX}{}", self.random.token(48)));
        let record = RefreshTokenRecord {
            id: self.random.alphanumeric(18),
            token: self.digester.digest(token.expose()),
            grant,
            created_at: now.0,
            expires_at,
            idle_expires_at: end(
                policy,
                policy.infinite_idle_token_lifetime,
                now,
                policy.idle_token_lifetime,
            ),
            rotated_at: None,
            parent,
            revoked_at: None,
        };
        (token, record)
    }
}

fn end(policy: &RefreshTokenPolicy, infinite: bool, now: UnixMillis, seconds: i64) -> i64 {
    match policy.expiration_type {
        ExpirationType::Expiring if !infinite => now.0.saturating_add(seconds.max(1).saturating_mul(1000)),
        _ => i64::MAX,
    }
}

fn unknown() -> EndpointError {
    EndpointError::oauth(ErrorCode::InvalidGrant, "Unknown or invalid refresh token.")
}
