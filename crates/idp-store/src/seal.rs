use base::{Keyring, Random, SealError, Secret};
use idp::RepositoryError;

/// Seals secrets for one record and field.
pub(crate) struct Seal {
    keyring: Keyring,
    random: Random,
}

impl Seal {
    pub(crate) fn new(keyring: Keyring, random: Random) -> Self {
        Self { keyring, random }
    }

    pub(crate) fn seal(&self, plain: &[u8], place: &str) -> Vec<u8> {
        self.keyring.seal(&self.random, plain, place.as_bytes())
    }

    pub(crate) fn open(&self, sealed: &[u8], place: &str) -> Result<Secret<Vec<u8>>, RepositoryError> {
        let plain = self.keyring.open(sealed, place.as_bytes()).map_err(|error| unopened(place, &error))?;
        Ok(Secret::new(plain.to_vec()))
    }

    pub(crate) fn open_text(&self, sealed: &[u8], place: &str) -> Result<Secret<String>, RepositoryError> {
        let plain = self.open(sealed, place)?;
        String::from_utf8(plain.expose().clone())
            .map(Secret::new)
            .map_err(|_| RepositoryError::Failed(format!("{place} is not text")))
    }

    /// The value under the first key, where another one sealed it.
    pub(crate) fn again(&self, sealed: &[u8], place: &str) -> Result<Option<Vec<u8>>, RepositoryError> {
        self.keyring.again(&self.random, sealed, place.as_bytes()).map_err(|error| unopened(place, &error))
    }
}

fn unopened(place: &str, error: &SealError) -> RepositoryError {
    RepositoryError::Failed(format!("{place} cannot be opened: {error}"))
}
