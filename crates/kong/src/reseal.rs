use std::fmt;

use base::{Keyring, Random};

use crate::{entities::Kind, plugins::Registry, seal::Sealer};

/// Seals the secrets of stored entities again, for a keyring that has a new first key.
pub struct Resealer {
    registry: Registry,
    sealer: Sealer,
}

impl Resealer {
    /// With the plugins of the dialect, which say where secrets are.
    pub const fn new(registry: Registry, keyring: Keyring, random: Random) -> Self {
        Self { registry, sealer: Sealer::new(keyring, random) }
    }

    /// What is stored under `key`, with its secrets sealed by the first key of the ring and all else as it is; `None` for
    /// what is sealed by it already, or is none of this dialect's entities.
    ///
    /// # Errors
    ///
    /// The field that no key of the ring opens, and why.
    pub fn again(&self, key: &str, stored: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let Some((kind, id)) = Kind::of_key(key) else { return Ok(None) };
        self.sealer.again(&self.registry, kind, id, stored)
    }
}

impl fmt::Debug for Resealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resealer").finish_non_exhaustive()
    }
}
