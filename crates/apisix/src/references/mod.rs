//! References: `$env://NAME[/member]` and `$secret://MANAGER/ID/PATH/KEY` stand for values that are kept elsewhere.
//!
//! They are resolved when a configuration is compiled, never on the request path. What is stored and listed is the
//! reference as it was written. Values of a secret manager are fetched on the control runtime before the compiler asks
//! for them, kept here, and fetched again in the background. One that cannot be resolved is an error: what needs it does
//! not serve, and the reference is never taken for the value.

mod aws;
mod gcp;
mod sigv4;
mod text;
mod vault;

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use base::{Clock, Secret, UnixMillis};
use fetch::Fetcher;
use futures_util::{StreamExt, stream};
use serde_json::Value;

use self::{aws::Aws, gcp::Gcp, text::Reference, vault::Vault};
use crate::schema::{Schema, excerpt};

pub(crate) use self::text::ManagerKind;

/// A fetched value is fetched again after so long.
const FRESH: Duration = Duration::from_secs(300);
/// A fetch that failed is repeated after so long.
const FAILED: Duration = Duration::from_secs(60);
/// Fetches that are on their way at once.
const AT_ONCE: usize = 8;
/// Bytes of a manager's answer: one secret, whatever else stands beside it.
const MAX_ANSWER: usize = 256 * 1024;

/// What the process's environment says.
pub type Environment = dyn Fn(&str) -> Option<String> + Send + Sync;

/// Resolves references. Clones share what was fetched.
#[derive(Clone)]
pub struct References(Arc<Inner>);

struct Inner {
    environment: Box<Environment>,
    fetcher: Option<Fetcher>,
    clock: Clock,
    /// Values of secret managers, by the reference as it is written.
    known: Mutex<HashMap<String, Known>>,
    /// What Google's managers are asked with.
    tokens: gcp::Tokens,
}

/// What may be written below `secrets/MANAGER`.
pub(crate) fn schema_of(kind: ManagerKind) -> Schema {
    match kind {
        ManagerKind::Vault => vault::schema(),
        ManagerKind::Aws => aws::schema(),
        ManagerKind::Gcp => gcp::schema(),
    }
}

/// A secret manager, ready to be asked.
enum Manager {
    Vault(Vault),
    Aws(Aws),
    Gcp(Box<Gcp>),
}

impl Manager {
    fn read(kind: ManagerKind, conf: &Value, clock: &Clock) -> Result<Self, String> {
        match kind {
            ManagerKind::Vault => Vault::read(conf).map(Self::Vault),
            ManagerKind::Aws => Aws::read(conf, clock).map(Self::Aws),
            ManagerKind::Gcp => Gcp::read(conf, clock).map(Box::new).map(Self::Gcp),
        }
    }
}

struct Known {
    /// The value, or why there is none.
    value: Result<Secret<String>, String>,
    /// When it is asked for again.
    due: UnixMillis,
}

/// Why a secret manager gave no value.
#[derive(Debug)]
struct Failure {
    why: String,
    /// Whether the manager itself says that there is none: then an older value does not count any more.
    gone: bool,
}

impl Failure {
    fn passing(why: impl Into<String>) -> Self {
        Self { why: why.into(), gone: false }
    }

    fn gone(why: impl Into<String>) -> Self {
        Self { why: why.into(), gone: true }
    }
}

/// A configuration with values in the place of references.
pub(crate) struct Resolved {
    pub(crate) value: Value,
    /// The values, and what stood in their place.
    found: Vec<(Secret<String>, String)>,
}

impl Resolved {
    /// Without references.
    pub(crate) const fn plain(value: Value) -> Self {
        Self { value, found: Vec::new() }
    }

    /// An error without the values: what stands in the configuration is said in their place.
    pub(crate) fn hide(&self, error: String) -> String {
        self.found.iter().fold(error, |error, (value, reference)| match value.expose().as_str() {
            "" => error,
            value => error.replace(value, reference),
        })
    }
}

impl References {
    /// References to `environment`, and to secret managers that are asked by `fetcher`.
    pub fn new(environment: Box<Environment>, fetcher: Option<Fetcher>, clock: Clock) -> Self {
        let (known, tokens) = (Mutex::default(), gcp::Tokens::default());
        Self(Arc::new(Inner { environment, fetcher, clock, known, tokens }))
    }

    /// None can be resolved.
    pub fn none() -> Self {
        Self::new(Box::new(|_| None), None, Clock::system())
    }

    /// `value` with every reference replaced; the error names the member and the reference.
    pub(crate) fn resolve(&self, value: &Value) -> Result<Resolved, String> {
        let mut resolved = Resolved { value: value.clone(), found: Vec::new() };
        self.replace(&mut resolved.value, "", &mut resolved.found)?;
        Ok(resolved)
    }

    fn replace(
        &self,
        value: &mut Value,
        path: &str,
        found: &mut Vec<(Secret<String>, String)>,
    ) -> Result<(), String> {
        match value {
            Value::String(text) => {
                let Some(reference) = Reference::parse(text) else { return Ok(()) };
                let plain = reference.and_then(|reference| self.look_up(text, &reference));
                let plain = plain.map_err(|why| {
                    let place = if path.is_empty() { String::new() } else { format!("{path}: ") };
                    format!("{place}{}: {why}", excerpt(text))
                })?;
                found.push((Secret::new(plain.clone()), std::mem::replace(text, plain)));
                Ok(())
            }
            Value::Array(items) => (items.iter_mut().enumerate())
                .try_for_each(|(index, item)| self.replace(item, &format!("{path}[{index}]"), found)),
            Value::Object(members) => members.iter_mut().try_for_each(|(name, member)| {
                let dot = if path.is_empty() { "" } else { "." };
                self.replace(member, &format!("{path}{dot}{name}"), found)
            }),
            _ => Ok(()),
        }
    }

    fn look_up(&self, text: &str, reference: &Reference<'_>) -> Result<String, String> {
        match reference {
            Reference::Environment { name, member } => {
                let value = (self.0.environment)(name)
                    .ok_or_else(|| format!("the environment variable {name} is not set for references"))?;
                match member {
                    None => Ok(value),
                    Some(member) => member_of(&value, name, member),
                }
            }
            Reference::Manager { .. } => {
                let mut known = self.known();
                // What nobody fetched yet is due at once.
                let due = self.0.clock.now();
                let unknown = || Known { value: Err("it has not been fetched yet".to_owned()), due };
                let known = known.entry(text.to_owned()).or_insert_with(unknown);
                known.value.as_ref().map(|value| value.expose().clone()).map_err(Clone::clone)
            }
        }
    }

    /// Those of `wanted` that have no value.
    pub(crate) fn missing(&self, wanted: BTreeSet<String>) -> BTreeSet<String> {
        let known = self.known();
        wanted.into_iter().filter(|text| known.get(text).is_none_or(|known| known.value.is_err())).collect()
    }

    /// Those that are to be fetched now.
    pub(crate) fn due(&self) -> BTreeSet<String> {
        let now = self.0.clock.now();
        self.known().iter().filter(|(_, known)| known.due <= now).map(|(text, _)| text.clone()).collect()
    }

    /// Forgets all but these.
    pub(crate) fn retain(&self, used: &BTreeSet<String>) {
        self.known().retain(|text, _| used.contains(text));
    }

    /// What a manager (`vault/1`) holds is asked for again.
    pub(crate) fn distrust(&self, manager: &str) {
        let now = self.0.clock.now();
        let of_it = |text: &String| matches!(Reference::parse(text), Some(Ok(reference)) if reference.manager() == manager);
        self.known().iter_mut().filter(|(text, _)| of_it(text)).for_each(|(_, known)| known.due = now);
    }

    /// Fetches these, and says which of them became something else. `managers` gives the configuration of a manager,
    /// secrets in the clear.
    pub(crate) async fn fetch(
        &self,
        wanted: BTreeSet<String>,
        managers: impl Fn(&str) -> Option<Value>,
    ) -> BTreeSet<String> {
        let prepared: Vec<_> = wanted
            .into_iter()
            .map(|text| {
                let manager = self.manager_of(&text, &managers);
                (text, manager)
            })
            .collect();
        let outcomes: Vec<_> = stream::iter(prepared)
            .map(|(text, manager)| async move {
                let outcome = match manager {
                    Ok(manager) => self.ask(&text, &manager).await,
                    Err(failure) => Err(failure),
                };
                (text, outcome)
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        outcomes.into_iter().filter_map(|(text, outcome)| self.keep(&text, outcome).then_some(text)).collect()
    }

    fn manager_of(&self, text: &str, managers: &impl Fn(&str) -> Option<Value>) -> Result<Manager, Failure> {
        let (reference, kind) = match Reference::parse(text) {
            Some(Ok(reference @ Reference::Manager { kind, .. })) => (reference, kind),
            _ => return Err(Failure::gone("this is no reference")),
        };
        let name = reference.manager();
        let conf =
            managers(&name).ok_or_else(|| Failure::gone(format!("there is no secret manager {name}")))?;
        // The token may stand in the environment; nothing in a manager may lead to a manager.
        let conf = if references_in(&conf).is_empty() {
            self.resolve(&conf)
        } else {
            Err("it refers to a secret manager itself".to_owned())
        };
        let conf = conf.map_err(|why| Failure::gone(format!("secret manager {name}: {why}")))?;
        Manager::read(kind, &conf.value, &self.0.clock)
            .map_err(|why| Failure::gone(format!("secret manager {name}: {why}")))
    }

    async fn ask(&self, text: &str, manager: &Manager) -> Result<Secret<String>, Failure> {
        let Some(fetcher) = &self.0.fetcher else {
            return Err(Failure::passing("secret managers are not asked here"));
        };
        let Some(Ok(Reference::Manager { path, key, .. })) = Reference::parse(text) else {
            return Err(Failure::gone("this is no reference"));
        };
        match manager {
            Manager::Vault(vault) => vault.fetch(fetcher, path, key).await,
            Manager::Aws(aws) => aws.fetch(fetcher, path, key).await,
            Manager::Gcp(gcp) => gcp.fetch(fetcher, &self.0.tokens, path, key).await,
        }
    }

    /// Keeps what came of a fetch; whether it is something else than before.
    fn keep(&self, text: &str, outcome: Result<Secret<String>, Failure>) -> bool {
        let now = self.0.clock.now();
        let mut known = self.known();
        let before = known.get(text).map(|known| &known.value);
        let (value, due) = match (outcome, before) {
            (Ok(value), _) => (Ok(value), now + FRESH),
            (Err(failure), Some(Ok(value))) if !failure.gone => {
                tracing::warn!(reference = %excerpt(text), reason = %failure.why, "a value of a secret manager is kept though it is old");
                (Ok(value.clone()), now + FAILED)
            }
            (Err(failure), _) => {
                tracing::warn!(reference = %excerpt(text), reason = %failure.why, "a reference cannot be resolved");
                (Err(failure.why), now + FAILED)
            }
        };
        let changed = before != Some(&value);
        known.insert(text.to_owned(), Known { value, due });
        changed
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for References {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("References").field("known", &self.known().len()).finish_non_exhaustive()
    }
}

fn member_of(value: &str, name: &str, member: &str) -> Result<String, String> {
    let found = crate::json::parse(value.as_bytes()).ok().and_then(|value| match value.get(member)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    });
    found.ok_or_else(|| {
        format!("the environment variable {name} is no JSON object with a text `{}`", excerpt(member))
    })
}

/// A text of the JSON object that a secret is.
fn member(secret: &str, key: &str) -> Result<Secret<String>, Failure> {
    let object =
        crate::json::parse(secret.as_bytes()).map_err(|_| Failure::gone("the secret is no JSON object"))?;
    match object.get(key) {
        Some(Value::String(text)) => Ok(Secret::new(text.clone())),
        Some(_) => Err(Failure::gone("what the secret has under this key is no text")),
        None => Err(Failure::gone("the secret has no such key")),
    }
}

/// Every reference in `value` to a secret manager.
pub(crate) fn references_in(value: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    collect(value, &mut found);
    found
}

fn collect(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => {
            if matches!(Reference::parse(text), Some(Ok(Reference::Manager { .. }))) {
                found.insert(text.clone());
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Object(members) => members.values().for_each(|member| collect(member, found)),
        _ => {}
    }
}

/// Whether there is a reference of any sort in `value`.
pub(crate) fn has_references(value: &Value) -> bool {
    match value {
        Value::String(text) => Reference::parse(text).is_some(),
        Value::Array(items) => items.iter().any(has_references),
        Value::Object(members) => members.values().any(has_references),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn references() -> References {
        let environment = |name: &str| match name {
            "TEXT" => Some("from the environment".to_owned()),
            "OBJECT" => Some(r#"{"a": "member", "n": 7, "o": {}}"#.to_owned()),
            _ => None,
        };
        References::new(Box::new(environment), None, Clock::fixed(base::UnixMillis::from_secs(1000)))
    }

    #[test]
    fn the_environment_is_read_whole_or_by_member() {
        let written =
            json!({"a": ["$env://TEXT", "$ENV://OBJECT/a"], "b": {"c": "$env://OBJECT/n"}, "d": "plain"});
        let resolved = references().resolve(&written).unwrap();
        let expected = json!({"a": ["from the environment", "member"], "b": {"c": "7"}, "d": "plain"});
        assert_eq!(resolved.value, expected);
        assert_eq!(resolved.hide("x member y".to_owned()), "x $ENV://OBJECT/a y");
    }

    #[test]
    fn what_does_not_resolve_is_an_error_that_names_member_and_reference() {
        for (written, told) in [
            (
                json!({"a": {"b": "$env://NONE"}}),
                "a.b: $env://NONE: the environment variable NONE is not set",
            ),
            (json!(["$env://OBJECT/o"]), "[0]: $env://OBJECT/o: the environment variable OBJECT is no JSON"),
            (json!("$env://TEXT/a"), "$env://TEXT/a: the environment variable TEXT is no JSON"),
            (json!("$env://"), "$env://: "),
            (json!("$secret://vault/1/a/b"), "$secret://vault/1/a/b: it has not been fetched yet"),
            (json!("$secret://aws/1/a/b"), "$secret://aws/1/a/b: it has not been fetched yet"),
            (json!("$secret://azure/1/a/b"), "$secret://azure/1/a/b: it is not `$secret://MANAGER"),
        ] {
            let Err(error) = references().resolve(&written) else { panic!("{written} resolves") };
            assert!(error.starts_with(told), "{error}");
            assert!(!error.contains("from the"), "{error}");
        }
    }

    #[tokio::test]
    async fn an_old_value_counts_until_the_manager_says_that_it_is_gone() {
        let references = references();
        let text = "$secret://vault/1/a/b";
        let look = || references.resolve(&json!(text)).map(|resolved| resolved.value);
        assert!(references.keep(text, Ok(Secret::new("one".to_owned()))));
        assert!(!references.keep(text, Ok(Secret::new("one".to_owned()))));
        assert!(!references.keep(text, Err(Failure::passing("down"))));
        assert_eq!(look().unwrap(), "one");
        assert!(references.due().is_empty());
        references.0.clock.advance(FAILED);
        assert_eq!(references.due(), BTreeSet::from([text.to_owned()]));
        assert!(references.keep(text, Err(Failure::gone("no such key"))));
        assert!(look().is_err());
        references.retain(&BTreeSet::new());
        assert!(references.due().is_empty());
    }
}
