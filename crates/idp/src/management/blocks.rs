//! Users who are locked out after failed logins.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::{ManagementError, UserService};
use crate::{
    Site,
    login::account_of,
    model::{Connection, User, fold},
    repository::Page,
};

const NOT_BLOCKED: ManagementError =
    ManagementError::NotFound { code: None, message: "The IP address is not blocked" };

fn read(address: &str) -> Result<IpAddr, ManagementError> {
    address.parse().map_err(|_| {
        ManagementError::InvalidQuery(
            "Path validation error: 'Expected an IP address' on property id.".to_owned(),
        )
    })
}

impl UserService {
    /// `blocked_for` of whoever has this e-mail address or username, in any connection.
    pub async fn blocks_by_name(&self, site: &Site, name: &str) -> Result<Vec<Value>, ManagementError> {
        let mut blocks = Vec::new();
        for (connection, account, _) in self.accounts(site, name).await? {
            blocks.extend(self.locked(site, name, &connection.name, &account).await?);
        }
        Ok(blocks)
    }

    /// Lets whoever has this e-mail address or username try again.
    pub async fn unblock_by_name(&self, site: &Site, name: &str) -> Result<(), ManagementError> {
        for (_, account, _) in self.accounts(site, name).await? {
            self.core().unlock(site, &account).await?;
        }
        Ok(())
    }

    /// `blocked_for` of a user.
    pub async fn blocks(&self, site: &Site, id: &str) -> Result<Vec<Value>, ManagementError> {
        let user = self.read(site, id).await?;
        let name = user.email.as_deref().or(user.username.as_deref()).unwrap_or(&user.user_id);
        let account = account_of(&user.connection, Some(&user), "");
        self.locked(site, name, &user.connection, &account).await
    }

    /// Lets a user try again.
    pub async fn unblock(&self, site: &Site, id: &str) -> Result<(), ManagementError> {
        let user = self.read(site, id).await?;
        Ok(self.core().unlock(site, &account_of(&user.connection, Some(&user), "")).await?)
    }

    /// 404 where logins from an address are looked at as usual.
    pub async fn block_of_address(&self, site: &Site, address: &str) -> Result<(), ManagementError> {
        let spraying = self.core().is_spraying(site, Some(read(address)?)).await?;
        if spraying { Ok(()) } else { Err(NOT_BLOCKED) }
    }

    /// Lets logins from an address be looked at again.
    pub async fn unblock_address(&self, site: &Site, address: &str) -> Result<(), ManagementError> {
        Ok(self.core().forgive(site, read(address)?).await?)
    }

    async fn locked(
        &self,
        site: &Site,
        name: &str,
        connection: &str,
        account: &str,
    ) -> Result<Vec<Value>, ManagementError> {
        let locks = self.core().locks(site, account).await?;
        let block = |address: String| {
            let mut block = json!({ "identifier": name, "connection": connection });
            if let (false, Some(members)) = (address.is_empty(), block.as_object_mut()) {
                members.insert("ip".to_owned(), json!(address));
            }
            block
        };
        Ok(locks.into_iter().map(block).collect())
    }

    /// What failed logins with this name are counted under, in each connection.
    async fn accounts(
        &self,
        site: &Site,
        name: &str,
    ) -> Result<Vec<(Connection, String, Option<User>)>, ManagementError> {
        let (tenant, repository) = (&site.tenant.id, &self.core().repository);
        let name = fold(name);
        let mut accounts = Vec::new();
        for connection in repository.connections(tenant, Page::ALL).await?.items {
            let found = repository.user_by_identifier(tenant, &connection.name, &name).await?;
            let user = found.map(|(user, _)| user);
            let account = account_of(&connection.name, user.as_ref(), &name);
            accounts.push((connection, account, user));
        }
        Ok(accounts)
    }
}
