use base::{Keyring, Random};
use idp::RepositoryError;

use crate::{SqlRepository, cells::params};

pub(crate) fn place(_: &str, name: &str) -> String {
    format!("deployment_keys/{name}")
}

impl SqlRepository {
    /// The keys called `name`, made by whoever asks first.
    pub(crate) async fn deployment_keys(
        &self,
        name: &str,
        random: &Random,
    ) -> Result<Keyring, RepositoryError> {
        let place = place("", name);
        let select = "SELECT keys FROM deployment_keys WHERE name = $1";
        let mut found = self.database.row(select, params![name]).await?;
        if found.is_none() {
            let made = self.seal.seal(Keyring::generate(random).to_text().as_bytes(), &place);
            let insert =
                "INSERT INTO deployment_keys (name, keys) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
            self.database.write(insert, params![name, made]).await?;
            // Another process may have been first.
            found = self.database.row(select, params![name]).await?;
        }
        let row = found.ok_or_else(|| RepositoryError::Failed(format!("{place} cannot be read")))?;
        let text = self.seal.open_text(row.bytes_or_null(0)?.unwrap_or_default(), &place)?;
        Keyring::parse(text.expose()).map_err(|error| RepositoryError::Failed(format!("{place}: {error}")))
    }
}
