//! Passwords that a user had before, where the connection refuses them (`password_history`).

use base::Secret;

use crate::{IdpError, Site, idp::Core, model::Connection};

impl Core {
    /// Whether `password` is among the user's last ones. Each of them costs a hash: Auth0's bound is 24.
    pub(crate) async fn is_remembered(
        &self,
        site: &Site,
        connection: &Connection,
        user_id: &str,
        password: &Secret<String>,
    ) -> Result<bool, IdpError> {
        let size = connection.options.remembered_passwords();
        if size == 0 {
            return Ok(false);
        }
        for hash in self.repository.last_passwords(&site.tenant.id, user_id, size).await? {
            if self.hasher.verify(password.clone(), Some(hash)).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Replaces the password's hash, and remembers as many of the last ones as the connection wants.
    pub(crate) async fn change_password(
        &self,
        site: &Site,
        connection: &Connection,
        user_id: &str,
        hash: &str,
    ) -> Result<bool, IdpError> {
        let (size, now) = (connection.options.remembered_passwords(), self.clock.now());
        Ok(self.repository.change_password(&site.tenant.id, user_id, hash, size, now).await?)
    }
}
