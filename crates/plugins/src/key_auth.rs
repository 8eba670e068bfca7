//! Consumers known by a key that they send along.

use std::{any::Any, collections::HashSet, sync::Arc};

use base::Secret;
use gateway::{
    consumer::CompiledCredential,
    error::ConfigError,
    plugin::{BodyEdit, Flow, Phases, Plugin, PluginRequest},
};

use crate::{
    authentication::{Fallback, Found, Guard, Places},
    fields::{BodyKind, Fields},
};

/// The engine's name of it.
pub const NAME: &str = "key-auth";

/// Bytes of a body that is looked at for a key.
const MAX_BODY: usize = 1 << 20;

/// Where keys are looked for, and what happens without one.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the key stands: the first places that have one count.
    pub places: Vec<Places>,
    /// Fields of a body with it: the first that is there counts, where no place has one.
    pub in_body: Vec<String>,
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
    in_body: Vec<String>,
    hide: bool,
    words: Words,
    guard: Arc<Guard>,
}

/// Compiles `config`.
///
/// # Errors
///
/// When the realm cannot be sent.
pub fn compile(config: Config) -> Result<Arc<dyn Plugin>, ConfigError> {
    let Config { places, in_body, hide, words, scheme, fallback } = config;
    let guard = Arc::new(Guard::new(scheme, fallback)?);
    Ok(Arc::new(KeyAuth { places, in_body, hide, words, guard }))
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

impl KeyAuth {
    /// Waits for the body, and goes by the key in it.
    fn look_into_body(&self, kind: BodyKind, request: &mut PluginRequest<'_>) -> Flow {
        if self.hide {
            let hidden: HashSet<String> = self.in_body.iter().cloned().collect();
            let apply = Arc::new(move |body| kind.without(body, &hidden));
            request.head.sending.body.push(BodyEdit { limit: MAX_BODY, apply });
        }
        let (names, words) = (self.in_body.clone(), self.words);
        let consumers = Arc::clone(request.consumers);
        self.guard.inspect(request, MAX_BODY, None, move |body| {
            let fields = Fields::read(kind, body).ok_or(words.missing)?;
            let name = names.iter().find(|name| fields.has(name)).ok_or(words.missing)?;
            let key = fields.one(name).ok_or(words.unclear)?;
            Ok(consumers.credential(NAME, key.as_bytes()).cloned().ok_or(words.wrong)?)
        })
    }
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
            Found::Nothing => match BodyKind::of(request.head).filter(|_| !self.in_body.is_empty()) {
                Some(kind) => return self.look_into_body(kind, request),
                None => Err(self.words.missing),
            },
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
