//! Consumers: who uses the routes, by which credentials they are known, and which plugins they bring.
//!
//! The engine knows no way to authenticate. A plugin takes something from the request, asks [`Consumers`] for the
//! credential that it names, judges by what it once compiled into it, and attaches what it found.

mod table;

use std::{any::Any, collections::BTreeMap, fmt, sync::Arc};

use base::Secret;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::route::Layer;

pub use table::{Consumers, Contested};

/// Somebody, or something, that uses routes.
pub struct Consumer {
    /// Stable id, unique within its dialect.
    pub id: Arc<str>,
    /// Its name, unique within its dialect.
    pub username: Option<Arc<str>>,
    /// What another system calls it.
    pub custom_id: Option<Arc<str>>,
    /// Ids of the groups it belongs to.
    pub groups: Vec<Arc<str>>,
    /// Names of the groups whose plugins it brings, where those are others.
    pub memberships: Vec<Arc<str>>,
    /// Labels for people and policies.
    pub labels: BTreeMap<String, String>,
    /// What the upstream is told once it is attached.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The plugins that it and its groups bring.
    pub layer: Arc<Layer>,
    /// Revision that made it: of two that claim one name, the older has it.
    pub created: u64,
}

impl Consumer {
    /// What it is called in logs and variables: its name, or its id where it has none.
    pub fn name(&self) -> &str {
        self.username.as_deref().unwrap_or(&self.id)
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Consumer").field(&self.name()).finish()
    }
}

/// What groups bring to a caller who is no consumer.
#[derive(Clone, Debug)]
pub struct Brought {
    /// The plugins of one of them.
    pub layer: Arc<Layer>,
    /// What all of them are called.
    pub groups: Vec<Arc<str>>,
}

/// One way in which a consumer proves who it is.
pub struct Credential {
    /// Stable id, unique within its dialect: the subject of complaints.
    pub id: Arc<str>,
    /// Whose it is.
    pub consumer: Arc<Consumer>,
    /// What the upstream is told besides the consumer's own headers.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Revision that made it: of two that claim one key, the older has it.
    pub created: u64,
    compiled: CompiledCredential,
}

/// What an authentication plugin makes of a credential's configuration when that is written.
#[derive(Clone)]
pub struct CompiledCredential {
    /// The engine's name of the plugin that understands it.
    pub plugin: &'static str,
    /// What finds it: the key, the user's name, the key's id.
    pub lookup: Secret<Vec<u8>>,
    /// What it is judged by: a digest, a parsed key.
    pub material: Arc<dyn Any + Send + Sync>,
}

impl Credential {
    /// The credential `id` of `consumer`.
    pub fn new(id: Arc<str>, consumer: Arc<Consumer>, created: u64, compiled: CompiledCredential) -> Self {
        Self { id, consumer, headers: Vec::new(), created, compiled }
    }

    /// What the plugin compiled; `None` when it is another plugin's.
    pub fn material<M: Any>(&self) -> Option<&M> {
        self.compiled.material.downcast_ref()
    }
}

impl fmt::Debug for Credential {
    /// Its id and owner: the rest is secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("id", &self.id).field("consumer", &self.consumer).finish()
    }
}

impl fmt::Debug for CompiledCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompiledCredential").field("plugin", &self.plugin).finish_non_exhaustive()
    }
}

/// Who a request was found to come from.
#[derive(Clone, Debug)]
pub enum Attached {
    /// A consumer that proved itself by no credential of the gate's: an anonymous one, or the owner of a claim.
    Consumer(Arc<Consumer>),
    /// The owner of this credential.
    Credential(Arc<Credential>),
}

impl Attached {
    /// The consumer.
    pub fn consumer(&self) -> &Arc<Consumer> {
        match self {
            Self::Consumer(consumer) => consumer,
            Self::Credential(credential) => &credential.consumer,
        }
    }

    /// The credential it was known by.
    pub fn credential(&self) -> Option<&Arc<Credential>> {
        match self {
            Self::Consumer(_) => None,
            Self::Credential(credential) => Some(credential),
        }
    }

    fn headers(&self) -> impl Iterator<Item = &(HeaderName, HeaderValue)> {
        let of_credential = self.credential().map(|credential| credential.headers.as_slice());
        self.consumer().headers.iter().chain(of_credential.into_iter().flatten())
    }

    /// Makes this who the request comes from, in place of whom it was said to come from before: the upstream is told of
    /// one of them, never of a mixture.
    pub(crate) fn attach(self, place: &mut Option<Self>, headers: &mut HeaderMap) {
        for (name, _) in place.iter().flat_map(Self::headers) {
            headers.remove(name);
        }
        for (name, value) in self.headers() {
            headers.insert(name, value.clone());
        }
        *place = Some(self);
    }
}

impl From<Arc<Consumer>> for Attached {
    fn from(consumer: Arc<Consumer>) -> Self {
        Self::Consumer(consumer)
    }
}

impl From<Arc<Credential>> for Attached {
    fn from(credential: Arc<Credential>) -> Self {
        Self::Credential(credential)
    }
}
