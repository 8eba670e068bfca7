//! The secrets inside entities: sealed before they are stored, opened when they are compiled or shown to an
//! administrator, and never shown to a viewer.

use base::{Keyring, Random, TextSealer};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use crate::{
    entities::{Kind, SEALED_KEYS},
    plugins::Registry,
};

/// Seals secrets, and opens them at the key and field they were sealed for.
#[derive(Clone, Debug)]
pub(crate) struct Sealer(TextSealer);

impl Sealer {
    pub(crate) const fn new(keyring: Keyring, random: Random) -> Self {
        Self(TextSealer::new(keyring, random))
    }

    /// Seals every secret of `value`, which is to be stored under the key of `kind` and `id`. Of a key that is found by
    /// itself, a digest stays in sight.
    pub(crate) fn seal(&self, registry: &Registry, kind: Kind, id: &str, value: &mut Map<String, Value>) {
        let key = kind.key(id);
        if kind == Kind::KeyAuth {
            let keys = kind.unique_keys(&Value::Object(value.clone()));
            let keys: Vec<String> = keys.into_iter().map(|(key, _)| key).collect();
            value.insert(SEALED_KEYS.to_owned(), json!(keys));
        }
        registry.schema(kind, value).for_each_secret("", value, &mut |field, secret| {
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
        value: &mut Map<String, Value>,
    ) -> Result<(), String> {
        let key = kind.key(id);
        value.shift_remove(SEALED_KEYS);
        let mut failure = None;
        registry.schema(kind, value).for_each_secret("", value, &mut |field, secret| {
            let Some(text) = secret.as_str() else { return };
            match self.0.open(text, (&key, field)) {
                Ok(None) => {}
                Ok(Some(plain)) => *secret = Value::String(plain),
                Err(reason) => failure = Some(format!("{field}: {reason}")),
            }
        });
        failure.map_or(Ok(()), Err)
    }

    /// `value` as an administrator may see it, because tools compare what they wrote, or as a viewer may. A secret
    /// that cannot be opened is left out.
    pub(crate) fn show(
        &self,
        registry: &Registry,
        kind: Kind,
        id: &str,
        value: &Value,
        secrets: bool,
    ) -> Value {
        let Value::Object(mut shown) = value.clone() else { return Value::Null };
        shown.shift_remove(SEALED_KEYS);
        if !secrets || self.open(registry, kind, id, &mut shown).is_err() {
            registry
                .schema(kind, &shown)
                .for_each_secret("", &mut shown, &mut |_, secret| *secret = Value::Null);
        }
        Value::Object(shown)
    }

    /// What is stored for an entity, with its secrets sealed by the keyring's first key and all else as it is, byte for
    /// byte; `None` where the first key has sealed them all. The error names the field that does not open.
    pub(crate) fn again(
        &self,
        registry: &Registry,
        kind: Kind,
        id: &str,
        stored: &[u8],
    ) -> Result<Option<Vec<u8>>, String> {
        let key = kind.key(id);
        let Ok(mut value) = serde_json::from_slice::<Map<String, Value>>(stored) else { return Ok(None) };
        let (mut changes, mut failure) = (Vec::new(), None);
        registry.schema(kind, &value).for_each_secret("", &mut value, &mut |field, secret| {
            let Some(old) = secret.as_str() else { return };
            match self.0.again(old, (&key, field)) {
                Ok(None) => {}
                Ok(Some(new)) => changes.push((old.to_owned(), new)),
                Err(reason) => failure = Some(format!("{field}: {reason}")),
            }
        });
        failure.map_or_else(|| TextSealer::replace(stored, &changes), Err)
    }
}
