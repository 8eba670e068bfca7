//! Consumers known by a key that they send along.

use std::{any::Any, sync::Arc};

use base::Secret;
use gateway::{
    consumer::CompiledCredential,
    error::ConfigError,
    plugin::{Flow, Phases, Plugin, PluginRequest},
};

use crate::authentication::{Fallback, Found, Guard, Places};

/// The engine's name of it.
pub const NAME: &str = "key-auth";

/// Where keys are looked for, and what happens without one.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the key stands.
    pub places: Places,
    /// Whether the upstream gets it.
    pub hide: bool,
    /// What happens to requests without a good one.
    pub fallback: Fallback,
}

/// The compiled form.
struct KeyAuth {
    places: Places,
    hide: bool,
    guard: Guard,
}

/// Compiles `config`.
///
/// # Errors
///
/// When the realm cannot be sent.
pub fn compile(config: Config) -> Result<Arc<dyn Plugin>, ConfigError> {
    let Config { places, hide, fallback } = config;
    Ok(Arc::new(KeyAuth { places, hide, guard: Guard::new("apikey", fallback)? }))
}

/// A consumer's key: whoever has it is the consumer.
///
/// # Errors
///
/// When it is empty.
pub fn credential(key: &Secret<String>) -> Result<CompiledCredential, ConfigError> {
    if key.expose().is_empty() {
        return Err(ConfigError::new("key", "it is empty"));
    }
    let lookup = Secret::new(key.expose().as_bytes().to_vec());
    Ok(CompiledCredential { plugin: NAME, lookup, material: Arc::new(()) })
}

impl Plugin for KeyAuth {
    fn name(&self) -> &'static str {
        NAME
    }

    fn phases(&self) -> Phases {
        Phases::REWRITE
    }

    fn rewrite(&self, request: &mut PluginRequest<'_>) -> Flow {
        let found = match self.places.find(request.head) {
            Found::One(key) => request
                .consumers
                .credential(NAME, key.as_bytes())
                .cloned()
                .ok_or("Invalid API key in request"),
            Found::Nothing => Err("Missing API key in request"),
            Found::Unclear => Err("Invalid API key in request"),
        };
        let flow = self.guard.conclude(request, found);
        if self.hide && matches!(flow, Flow::Continue) {
            self.places.clear(request.head);
        }
        flow
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
