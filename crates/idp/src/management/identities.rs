//! Records of one person, linked to each other.

use base::UnixMillis;
use serde_json::Value;

use super::{
    ManagementError, Object, UserService,
    wording::{additional, invalid},
};
use crate::{Site, model::User};

/// Records that may be linked to one.
const MAX_LINKED: usize = 50;

impl UserService {
    /// Links a record to the user (201): its own login leads to the user from then on, and what it was given is gone.
    /// All `identities` afterwards. `body` is `{provider, user_id}` or `{link_with: ID_TOKEN}`.
    pub async fn link(&self, site: &Site, id: &str, body: Object) -> Result<Vec<Value>, ManagementError> {
        let secondary = self.secondary(site, body).await?;
        let known = self.read(site, id).await?;
        if secondary == known.user_id {
            return Err(refused("Main account and secondary account must be different."));
        }
        let other = self.core().repository.user(&site.tenant.id, &secondary).await?;
        let other =
            other.ok_or_else(|| refused("The secondary account does not exist, or is linked already."))?;
        if !other.linked.is_empty() {
            return Err(refused("The secondary account has accounts linked to it. Unlink them first."));
        }
        if known.linked.len() >= MAX_LINKED {
            return Err(refused("The main account has too many accounts linked to it."));
        }
        let mut primary = known.clone();
        primary.linked.push(other.as_linked());
        let now = self.core().clock.now();
        primary.updated_at = now.0;
        // Sessions of the record would name somebody who is no user any more.
        self.core().repository.end_everything(&site.tenant.id, &secondary, now).await?;
        self.swap(site, &known, &primary, &secondary, now, true).await?;
        Ok(primary.identities())
    }

    /// Makes a linked record a user of its own again. What is left of `identities`.
    pub async fn unlink(
        &self,
        site: &Site,
        id: &str,
        provider: &str,
        local_id: &str,
    ) -> Result<Vec<Value>, ManagementError> {
        let known = self.read(site, id).await?;
        let secondary = format!("{provider}|{local_id}");
        if secondary == known.user_id {
            return Err(refused("The main identity cannot be unlinked."));
        }
        let mut primary = known.clone();
        primary.linked.retain(|linked| linked.user_id != secondary);
        if primary.linked.len() == known.linked.len() {
            return Err(ManagementError::NotFound {
                code: Some("inexistent_identity"),
                message: "The user has no such identity.",
            });
        }
        let now = self.core().clock.now();
        primary.updated_at = now.0;
        self.swap(site, &known, &primary, &secondary, now, false).await?;
        Ok(primary.identities())
    }

    async fn swap(
        &self,
        site: &Site,
        known: &User,
        primary: &User,
        secondary: &str,
        now: UnixMillis,
        link: bool,
    ) -> Result<(), ManagementError> {
        let (tenant, repository) = (&site.tenant.id, &self.core().repository);
        let done = if link {
            repository.link_user(tenant, known, primary, secondary).await?
        } else {
            repository.unlink_user(tenant, known, primary, secondary).await?
        };
        if !done {
            let message = "One of the accounts was changed meanwhile. Try again.".to_owned();
            return Err(ManagementError::Conflict { code: "resource_conflict", message });
        }
        // Whoever logged in by it is the other one now.
        repository.end_everything(tenant, secondary, now).await?;
        Ok(())
    }

    /// The id of the record to link.
    async fn secondary(&self, site: &Site, mut body: Object) -> Result<String, ManagementError> {
        let mut text = |name: &str| match body.shift_remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if !text.is_empty() && text.len() <= 8192 => Ok(Some(text)),
            Some(_) => Err(invalid(name, "Expected type string")),
        };
        let (token, provider, user) = (text("link_with")?, text("provider")?, text("user_id")?);
        let connection = text("connection_id")?;
        if let Some(name) = body.keys().next() {
            return Err(additional(name));
        }
        match (token, provider, user) {
            (Some(token), None, None) => {
                let hint = self.core().id_token_hint(site, &token).await?;
                let hint = hint.filter(|hint| !hint.expired);
                hint.map(|hint| hint.subject).ok_or_else(|| {
                    invalid("link_with", "Expected an ID token of this tenant that has not expired")
                })
            }
            (None, Some(provider), Some(user)) => {
                let id = match user.split_once('|') {
                    Some((prefix, _)) if prefix == provider => user,
                    _ => format!("{provider}|{user}"),
                };
                self.check_connection(site, &id, connection).await?;
                Ok(id)
            }
            _ => Err(refused("Expected either link_with, or provider and user_id.")),
        }
    }

    async fn check_connection(
        &self,
        site: &Site,
        id: &str,
        connection: Option<String>,
    ) -> Result<(), ManagementError> {
        let Some(connection) = connection else { return Ok(()) };
        let (tenant, repository) = (&site.tenant.id, &self.core().repository);
        let found = repository.connection(tenant, &connection).await?;
        let user = repository.user(tenant, id).await?;
        match (found, user) {
            (Some(connection), Some(user)) if connection.name == user.connection => Ok(()),
            _ => Err(invalid("connection_id", "The secondary account is not in this connection")),
        }
    }
}

fn refused(why: &str) -> ManagementError {
    ManagementError::InvalidBody(why.to_owned())
}
