//! The secrets inside entities: sealed before they are stored, opened when they are compiled or shown to an
//! administrator, and never shown to a viewer.

use base::{Keyring, Random};
use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use crate::{
    entities::{Kind, SEALED_KEYS},
    plugins::Registry,
};

/// In front of everything sealed.
const SEALED: &str = "pc:sealed:";

/// Seals secrets, and opens them at the key and field they were sealed for.
#[derive(Clone, Debug)]
pub(crate) struct Sealer {
    keyring: Keyring,
    random: Random,
}

impl Sealer {
    pub(crate) const fn new(keyring: Keyring, random: Random) -> Self {
        Self { keyring, random }
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
                let sealed = self.keyring.seal(&self.random, plain.as_bytes(), place(&key, field).as_bytes());
                *secret = Value::String(format!("{SEALED}{}", STANDARD_NO_PAD.encode(sealed)));
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
            let Some(sealed) = secret.as_str().and_then(|text| text.strip_prefix(SEALED)) else { return };
            match self.open_one(sealed, &place(&key, field)) {
                Ok(plain) => *secret = Value::String(plain),
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
            let Some(old) = secret.as_str().and_then(|text| text.strip_prefix(SEALED)) else { return };
            match self.again_one(old, &place(&key, field)) {
                Ok(None) => {}
                Ok(Some(new)) => changes.push((old.to_owned(), new)),
                Err(reason) => failure = Some(format!("{field}: {reason}")),
            }
        });
        if let Some(failure) = failure {
            return Err(failure);
        }
        if changes.is_empty() {
            return Ok(None);
        }
        let mut text = String::from_utf8(stored.to_vec()).map_err(|_| "it is not text".to_owned())?;
        for (old, new) in changes {
            // No two values were sealed with one nonce, so each stands there once.
            if !text.contains(&old) {
                return Err("it is not written as this version writes it".to_owned());
            }
            text = text.replacen(&old, &new, 1);
        }
        Ok(Some(text.into_bytes()))
    }

    fn again_one(&self, sealed: &str, place: &str) -> Result<Option<String>, String> {
        let sealed = STANDARD_NO_PAD.decode(sealed).map_err(|_| "this is not a sealed value".to_owned())?;
        let again = self.keyring.again(&self.random, &sealed, place.as_bytes());
        Ok(again.map_err(|error| error.to_string())?.map(|sealed| STANDARD_NO_PAD.encode(sealed)))
    }

    fn open_one(&self, sealed: &str, place: &str) -> Result<String, String> {
        let sealed = STANDARD_NO_PAD.decode(sealed).map_err(|_| "this is not a sealed value".to_owned())?;
        let plain = self.keyring.open(&sealed, place.as_bytes()).map_err(|error| error.to_string())?;
        String::from_utf8(plain.to_vec()).map_err(|_| "this is not a sealed value".to_owned())
    }
}

/// Record and field: what the sealed value is bound to.
fn place(key: &str, field: &str) -> String {
    format!("{key}#{field}")
}
