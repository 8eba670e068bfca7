//! The secrets inside resources: where they are, and how they are sealed, opened and hidden.

use base::{Keyring, Random, TextSealer};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::Kind;
use crate::plugins::Registry;

/// Seals secrets before a resource is stored and opens them after it is read. A sealed value opens only at the key
/// and field it was sealed for.
#[derive(Clone, Debug)]
pub(crate) struct Sealer(TextSealer);

/// The secrets of secret managers, of whichever kind.
const MANAGERS: [&str; 4] = ["token", "secret_access_key", "session_token", "auth_config.private_key"];

/// Who looks at a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// Sees secrets, because tools compare what they wrote; no TLS keys.
    Admin,
    /// Sees none.
    Viewer,
}

impl Sealer {
    pub(crate) const fn new(keyring: Keyring, random: Random) -> Self {
        Self(TextSealer::new(keyring, random))
    }

    /// Seals every secret of `value`, which is to be stored under the key of `kind` and `id`.
    pub(crate) fn seal(&self, registry: &Registry, kind: Kind, id: &str, value: &mut Value) {
        let key = kind.key(id);
        for_each(registry, kind, value, &mut |field, secret| {
            if let Value::String(plain) = secret {
                let plain = Zeroizing::new(std::mem::take(plain));
                *secret = Value::String(self.0.seal(&plain, (&key, field)));
            }
        });
    }

    /// Opens every secret of `value`; the error names the field that does not open.
    pub(crate) fn open(
        &self,
        registry: &Registry,
        kind: Kind,
        id: &str,
        value: &mut Value,
    ) -> Result<(), String> {
        let key = kind.key(id);
        let mut failure = None;
        for_each(registry, kind, value, &mut |field, secret| {
            let Some(text) = secret.as_str() else { return };
            match self.0.open(text, (&key, field)) {
                Ok(None) => {}
                Ok(Some(plain)) => *secret = Value::String(plain),
                Err(reason) => failure = Some(format!("{field}: {reason}")),
            }
        });
        failure.map_or(Ok(()), Err)
    }

    /// What is stored for a resource, with its secrets sealed by the keyring's first key and all else as it is, byte for
    /// byte; `None` where the first key has sealed them all. The error names the field that does not open.
    pub(crate) fn again(
        &self,
        registry: &Registry,
        kind: Kind,
        id: &str,
        stored: &[u8],
    ) -> Result<Option<Vec<u8>>, String> {
        let key = kind.key(id);
        let Ok(mut value) = crate::json::parse(stored) else { return Ok(None) };
        let (mut changes, mut failure) = (Vec::new(), None);
        for_each(registry, kind, &mut value, &mut |field, secret| {
            let Some(old) = secret.as_str() else { return };
            match self.0.again(old, (&key, field)) {
                Ok(None) => {}
                Ok(Some(new)) => changes.push((old.to_owned(), new)),
                Err(reason) => failure = Some(format!("{field}: {reason}")),
            }
        });
        failure.map_or_else(|| TextSealer::replace(stored, &changes), Err)
    }

    /// `value` as `reader` may see it. A secret that cannot be opened is left out.
    pub(crate) fn show(
        &self,
        registry: &Registry,
        kind: Kind,
        id: &str,
        value: &Value,
        reader: Reader,
    ) -> Value {
        let mut shown = value.clone();
        if reader == Reader::Admin && self.open(registry, kind, id, &mut shown).is_err() {
            hide(registry, kind, &mut shown);
        }
        if reader == Reader::Viewer {
            hide(registry, kind, &mut shown);
        }
        remove_tls_keys(&mut shown);
        shown
    }
}

/// Calls `visit` with the path and the place of every secret in `value`.
fn for_each(registry: &Registry, kind: Kind, value: &mut Value, visit: &mut dyn FnMut(&str, &mut Value)) {
    let fixed: &[&str] = match kind {
        Kind::Ssl => &["key"],
        Kind::Upstream => &["tls.client_key"],
        Kind::Route | Kind::Service => &["upstream.tls.client_key"],
        Kind::Secret => &MANAGERS,
        Kind::Consumer
        | Kind::Credential
        | Kind::ConsumerGroup
        | Kind::GlobalRule
        | Kind::PluginConfig
        | Kind::PluginMetadata => &[],
    };
    for path in fixed {
        if let Some(secret) = at(value, path.split('.')) {
            visit(path, secret);
        }
    }
    if kind == Kind::Ssl {
        let keys = value.get_mut("keys").and_then(Value::as_array_mut);
        keys.into_iter().flatten().enumerate().for_each(|(at, key)| visit(&format!("keys.{at}"), key));
    }
    let Some(plugins) = value.get_mut("plugins").and_then(Value::as_object_mut) else { return };
    for (name, conf) in plugins {
        for field in secret_fields(registry, kind, name) {
            if let Some(secret) = at(conf, field.split('.')) {
                visit(&format!("plugins.{name}.{field}"), secret);
            }
        }
    }
}

/// The secrets of a plugin's configuration, which is another one where it proves who a consumer is.
fn secret_fields(registry: &Registry, kind: Kind, plugin: &str) -> Vec<String> {
    let mut fields = registry.secret_fields(plugin);
    if matches!(kind, Kind::Consumer | Kind::Credential) {
        fields.extend(registry.consumer_secret_fields(plugin));
    }
    fields
}

fn at<'a>(value: &'a mut Value, path: impl Iterator<Item = &'a str>) -> Option<&'a mut Value> {
    let mut value = value;
    for name in path {
        value = value.get_mut(name)?;
    }
    Some(value)
}

/// Takes every secret out. Of plugins that this build does not know, nothing is known not to be a secret.
fn hide(registry: &Registry, kind: Kind, value: &mut Value) {
    for_each(registry, kind, value, &mut |_, secret| *secret = Value::Null);
    if kind == Kind::Secret {
        MANAGERS.iter().for_each(|path| remove(value, path));
    }
    let Some(plugins) = value.get_mut("plugins").and_then(Value::as_object_mut) else { return };
    for (name, conf) in plugins {
        if registry.find(name).is_none() {
            *conf = Value::Object(Map::new());
        }
        for field in secret_fields(registry, kind, name) {
            remove(conf, &field);
        }
    }
}

/// Private keys of certificates are written, never read.
fn remove_tls_keys(value: &mut Value) {
    for path in ["key", "keys", "tls.client_key", "upstream.tls.client_key"] {
        remove(value, path);
    }
}

fn remove(value: &mut Value, path: &str) {
    let (parent, name) = match path.rsplit_once('.') {
        Some((parent, name)) => (at(value, parent.split('.')), name),
        None => (Some(value), path),
    };
    if let Some(members) = parent.and_then(Value::as_object_mut) {
        members.shift_remove(name);
    }
}
