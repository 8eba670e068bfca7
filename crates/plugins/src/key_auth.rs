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
    /// Where the key stands: the first places that have one count.
    pub places: Vec<Places>,
    /// Whether the upstream gets it.
    pub hide: bool,
    /// What is said to requests without a good one.
    pub words: Words,
    /// The scheme of the challenge.
    pub scheme: &'static str,
    /// What happens to requests without a good one.
    pub fallback: Fallback,
}

/// What is said to requests without a good key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Words {
    /// There is none.
    pub missing: &'static str,
    /// It is nobody's.
    pub wrong: &'static str,
    /// There is more than one, or it is no text.
    pub unclear: &'static str,
}

impl Default for Words {
    fn default() -> Self {
        const INVALID: &str = "Invalid API key in request";
        Self { missing: "Missing API key in request", wrong: INVALID, unclear: INVALID }
    }
}

/// The compiled form.
struct KeyAuth {
    places: Vec<Places>,
    hide: bool,
    words: Words,
    guard: Guard,
}

/// Compiles `config`.
///
/// # Errors
///
/// When the realm cannot be sent.
pub fn compile(config: Config) -> Result<Arc<dyn Plugin>, ConfigError> {
    let Config { places, hide, words, scheme, fallback } = config;
    Ok(Arc::new(KeyAuth { places, hide, words, guard: Guard::new(scheme, fallback)? }))
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
        if self.guard.passes(request) {
            return Flow::Continue;
        }
        let mut places = self.places.iter().map(|places| places.find(request.head));
        let found = match places.find(|found| *found != Found::Nothing).unwrap_or(Found::Nothing) {
            Found::One(key) => {
                request.consumers.credential(NAME, key.as_bytes()).cloned().ok_or(self.words.wrong)
            }
            Found::Nothing => Err(self.words.missing),
            Found::Unclear => Err(self.words.unclear),
        };
        let flow = self.guard.conclude(request, found);
        if self.hide && matches!(flow, Flow::Continue) {
            self.places.iter().for_each(|places| places.clear(request.head));
        }
        flow
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
