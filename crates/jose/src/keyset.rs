use std::collections::HashSet;

use serde_json::Value;

use crate::{Alg, CompactJws, JoseError, VerifyingKey, header::is_plausible_kid, jwk::Jwk, parse_json};

/// Bytes of a key set.
const MAX_BYTES: usize = 1 << 20;
/// Keys of a set.
const MAX_KEYS: usize = 1000;
/// The set, its array, a key, and a member such as `x5c`.
const MAX_DEPTH: usize = 8;
/// Keys that are tried for a token without `kid`, so that one token cannot cost a thousand verifications.
const MAX_TRIED: usize = 8;

/// The public keys of a provider or a client: a JWK Set (RFC 7517 section 5), without what cannot be used.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: Vec<VerifyingKey>,
    skipped: Vec<String>,
    /// Ids that stand at several entries of one kind and algorithm, of which one may have been left out.
    contested: Vec<String>,
    /// Ids of keys, and the issuer whose alone they are.
    issuers: Vec<(String, String)>,
}

impl KeySet {
    /// Reads a set of at most 1 MiB and 1000 keys. A key that is malformed, weak, private, symmetric, or for something
    /// else than verifying is left out and named in [`KeySet::skipped`]; the others are there.
    pub fn parse(json: &[u8]) -> Result<Self, JoseError> {
        Self::parse_with(json, VerifyingKey::from_public_jwk)
    }

    /// A set of keys that were made otherwise.
    pub fn new(keys: Vec<VerifyingKey>) -> Self {
        Self { keys, ..Self::default() }
    }

    pub(crate) fn parse_with(
        json: &[u8],
        read: impl Fn(&Value) -> Result<VerifyingKey, JoseError>,
    ) -> Result<Self, JoseError> {
        if json.len() > MAX_BYTES {
            return Err(JoseError::TooLong(MAX_BYTES));
        }
        let document = parse_json(json, MAX_DEPTH)?;
        let entries = document.get("keys").and_then(Value::as_array);
        let entries = entries.ok_or(JoseError::KeySet("it is no object with an array `keys`"))?;
        if entries.len() > MAX_KEYS {
            return Err(JoseError::KeySet("it has more than 1000 keys"));
        }
        let mut set = Self::default();
        let mut identities = HashSet::new();
        for (index, entry) in entries.iter().enumerate() {
            if let Some(kid) = entry.get("kid").and_then(Value::as_str)
                && !identities.insert([
                    entry.get("kid"),
                    entry.get("kty"),
                    entry.get("use"),
                    entry.get("alg"),
                ])
            {
                set.contested.push(kid.to_owned());
                set.skipped.push(skipped(index, entry, &JoseError::AmbiguousKid));
            }
            match read(entry) {
                Ok(key) => {
                    let text = |name: &str| entry.get(name).and_then(Value::as_str).map(str::to_owned);
                    set.issuers.extend(text("kid").zip(text("issuer")));
                    set.keys.push(key);
                }
                Err(reason) => set.skipped.push(skipped(index, entry, &reason)),
            }
        }
        Ok(set)
    }

    /// The keys that can be used, in the set's order.
    pub fn keys(&self) -> &[VerifyingKey] {
        &self.keys
    }

    /// One line for each key that was left out, or whose id is another's too, with its place, its id and the reason.
    /// For logs.
    pub fn skipped(&self) -> &[String] {
        &self.skipped
    }

    /// The issuer that the key of this id is for, if the set says so. Entra ID publishes the keys of many issuers in one
    /// set, and a member `issuer` with each.
    pub fn issuer_of(&self, kid: &str) -> Option<&str> {
        self.issuers.iter().find(|(id, _)| id == kid).map(|(_, issuer)| issuer.as_str())
    }

    /// Verifies `jws` with the set's key for it and returns the payload. The algorithm must be in `allowed` and in the
    /// key's own list. With a `kid`, only a key of that id is tried; when two would fit, none is, as either may be the
    /// intruder. Without, the first eight keys that fit the algorithm are tried.
    ///
    /// [`JoseError::UnknownKid`] is the answer when no key has the id, before any signature is verified; a key of the
    /// id that does not do the algorithm is [`JoseError::AlgNotAllowed`], and no reason to fetch the set again.
    pub fn verify(&self, jws: &CompactJws<'_>, allowed: &[Alg]) -> Result<Vec<u8>, JoseError> {
        let alg = jws.alg()?;
        if !allowed.contains(&alg) {
            return Err(JoseError::AlgNotAllowed);
        }
        let fitting = self.keys.iter().filter(|key| key.algs().contains(&alg));
        let verified = match jws.header().kid.as_deref() {
            Some(kid) if self.contested.iter().any(|contested| contested == kid) => {
                return Err(JoseError::AmbiguousKid);
            }
            Some(kid) => {
                let mut named = fitting.filter(|key| key.kid() == Some(kid));
                match (named.next(), named.next()) {
                    (Some(key), None) => jws.is_signed_by(key, alg),
                    (Some(_), Some(_)) => return Err(JoseError::AmbiguousKid),
                    (None, _) if self.keys.iter().any(|key| key.kid() == Some(kid)) => {
                        return Err(JoseError::AlgNotAllowed);
                    }
                    (None, _) => return Err(JoseError::UnknownKid),
                }
            }
            None => {
                let mut fitting = fitting.take(MAX_TRIED).peekable();
                if fitting.peek().is_none() {
                    return Err(JoseError::NoKey);
                }
                fitting.any(|key| jws.is_signed_by(key, alg))
            }
        };
        if verified { jws.payload_unverified() } else { Err(JoseError::Signature) }
    }
}

/// Says which key and why, with the id only where it cannot upset a log.
fn skipped(index: usize, entry: &Value, reason: &JoseError) -> String {
    let kid = Jwk::new(entry).and_then(Jwk::kid).ok().flatten();
    match kid.filter(|kid| is_plausible_kid(kid)) {
        Some(kid) => format!("key {index} ({kid}): {reason}"),
        None => format!("key {index}: {reason}"),
    }
}
