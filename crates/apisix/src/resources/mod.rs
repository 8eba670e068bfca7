//! The kinds of resources: what each may hold, where it is stored, and the checks that come before everything else.

mod consumer;
mod manager;
mod route;
mod secrets;
mod service;
mod shared;
mod ssl;
pub(crate) mod upstream;

use std::{borrow::Cow, sync::LazyLock};

use serde_json::{Map, Value};

pub(crate) use consumer::{declared_credential, is_username};
#[cfg(test)]
pub(crate) use manager::secret_of;
pub(crate) use manager::{answered, check_manager, manager_of};
pub(crate) use secrets::{Reader, Sealer};

use crate::{plugins::Registry, references::has_references, schema::Schema};

/// Where resources are stored: APISIX's own place.
pub(crate) const PREFIX: &str = "/apisix/";

/// A kind of resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `routes`
    Route,
    /// `services`
    Service,
    /// `upstreams`
    Upstream,
    /// `ssls`
    Ssl,
    /// `consumers`
    Consumer,
    /// `consumers/{username}/credentials`; its id in the catalog is `{username}/{id}`.
    Credential,
    /// `consumer_groups`
    ConsumerGroup,
    /// `global_rules`
    GlobalRule,
    /// `plugin_configs`
    PluginConfig,
    /// `plugin_metadata`; its id is the plugin's name.
    PluginMetadata,
    /// `secrets`; its id is the kind of manager and an id: `vault/1`.
    Secret,
}

/// What a kind is called, and what may be written to it.
struct Description {
    /// The collection's name in paths and keys.
    plural: &'static str,
    /// The words in error texts.
    word: &'static str,
    /// What `schema/…` calls it.
    schema_name: &'static str,
    schema: LazyLock<Schema>,
    /// Whether there is a POST.
    posts: bool,
    /// Whether there is a PATCH.
    patches: bool,
    /// Members that name resources of other kinds.
    references: &'static [(&'static str, Kind)],
}

impl Kind {
    /// Every kind that this build has, in the order in which references to them are looked for.
    pub const ALL: [Self; 11] = [
        Self::Route,
        Self::Service,
        Self::Upstream,
        Self::Ssl,
        Self::Consumer,
        Self::Credential,
        Self::ConsumerGroup,
        Self::GlobalRule,
        Self::PluginConfig,
        Self::PluginMetadata,
        Self::Secret,
    ];

    /// The kinds that a configuration file declares as lists: what is referred to before what refers to it.
    pub const DECLARED: [Self; 10] = [
        Self::Secret,
        Self::PluginMetadata,
        Self::Ssl,
        Self::Upstream,
        Self::PluginConfig,
        Self::ConsumerGroup,
        Self::Service,
        Self::Consumer,
        Self::GlobalRule,
        Self::Route,
    ];

    fn describe(self) -> &'static Description {
        match self {
            Self::Route => &route::KIND,
            Self::Service => &service::KIND,
            Self::Upstream => &upstream::KIND,
            Self::Ssl => &ssl::KIND,
            Self::Consumer => &consumer::CONSUMER,
            Self::Credential => &consumer::CREDENTIAL,
            Self::ConsumerGroup => &consumer::GROUP,
            Self::GlobalRule => &shared::GLOBAL_RULE,
            Self::PluginConfig => &shared::PLUGIN_CONFIG,
            Self::PluginMetadata => &manager::PLUGIN_METADATA,
            Self::Secret => &manager::SECRET,
        }
    }

    /// The collection's name in paths and keys.
    pub fn plural(self) -> &'static str {
        self.describe().plural
    }

    /// The words in error texts.
    pub fn word(self) -> &'static str {
        self.describe().word
    }

    /// Whether there is a POST.
    pub(crate) fn posts(self) -> bool {
        self.describe().posts
    }

    /// Whether there is a PATCH.
    pub(crate) fn patches(self) -> bool {
        self.describe().patches
    }

    /// The kind whose collection has this name.
    pub fn of_plural(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.plural() == name)
    }

    /// What `schema/…` calls it.
    pub(crate) fn schema_name(self) -> &'static str {
        self.describe().schema_name
    }

    /// The kind that `schema/…` calls so.
    pub fn of_schema_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.describe().schema_name == name)
    }

    /// The resource's name among all: `routes/1`, `consumers/jack/credentials/1`.
    pub fn name(self, id: &str) -> String {
        match (self, id.split_once('/')) {
            (Self::Credential, Some((consumer, id))) => format!("consumers/{consumer}/credentials/{id}"),
            _ => format!("{}/{id}", self.plural()),
        }
    }

    /// The key of one resource in the store: `/apisix/routes/1`.
    pub fn key(self, id: &str) -> String {
        format!("{PREFIX}{}", self.name(id))
    }

    /// Kind and id of a stored key; `None` for keys that are no resource of this build.
    pub(crate) fn of_key(key: &str) -> Option<(Self, String)> {
        let (plural, id) = key.strip_prefix(PREFIX)?.split_once('/')?;
        let segments: Vec<&str> = id.split('/').collect();
        match segments.as_slice() {
            [manager, id] if plural == "secrets" && !manager.is_empty() && !id.is_empty() => {
                Some((Self::Secret, format!("{manager}/{id}")))
            }
            [id] if !id.is_empty() && !matches!(plural, "credentials" | "secrets") => {
                Some((Self::of_plural(plural)?, (*id).to_owned()))
            }
            [consumer, "credentials", id]
                if plural == "consumers" && !consumer.is_empty() && !id.is_empty() =>
            {
                Some((Self::Credential, format!("{consumer}/{id}")))
            }
            _ => None,
        }
    }

    /// What may be written.
    pub fn schema(self) -> &'static Schema {
        &self.describe().schema
    }

    /// The id of a resource that a configuration file declares: a consumer's is its name, a credential stands among
    /// the consumers as `{username}/credentials/{id}`.
    pub fn declared_id(self, value: &Value) -> Option<String> {
        let in_id = value.get("id").and_then(id_text);
        match self {
            Self::Consumer => in_id.filter(|id| declared_credential(id).is_some()).or_else(|| {
                value.get("username")?.as_str().filter(|name| is_username(name)).map(str::to_owned)
            }),
            Self::Secret => in_id.filter(|id| manager_of(id).is_some()),
            _ => in_id.filter(|id| is_id(id)),
        }
    }

    /// Checks a complete resource, secrets in the clear; the error is what the client is told.
    pub(crate) fn check(self, registry: &Registry, value: &Value) -> Result<(), String> {
        if self == Self::Route {
            route::check_before_schema(value)?;
        }
        match self {
            Self::PluginMetadata => return manager::check_metadata(registry, value),
            Self::Secret => return manager::check_secret(value),
            _ => {}
        }
        let resolved = self.resolve(registry, value)?;
        let value = &*resolved;
        self.schema().validate(value).map_err(|error| format!("invalid configuration: {error}"))?;
        match self {
            Self::Upstream => upstream::check(value)?,
            Self::Route | Self::Service => {
                if let Some(upstream) = value.get("upstream") {
                    upstream::check(upstream)?;
                }
            }
            Self::Ssl => ssl::check(value)?,
            Self::Consumer
            | Self::Credential
            | Self::ConsumerGroup
            | Self::GlobalRule
            | Self::PluginConfig
            | Self::PluginMetadata
            | Self::Secret => {}
        }
        if let Some(plugins) = value.get("plugins").and_then(Value::as_object) {
            match self {
                Self::Consumer | Self::Credential => consumer::check_plugins(self, registry, plugins)?,
                _ => registry.check(plugins)?,
            }
        }
        if self == Self::Route { route::check_after_plugins(value) } else { Ok(()) }
    }

    /// A resource with values in the place of the references outside its plugins, which resolve their own.
    pub(crate) fn resolve<'a>(self, registry: &Registry, value: &'a Value) -> Result<Cow<'a, Value>, String> {
        let places: &[&str] = match self {
            Self::Ssl => &["/cert", "/key", "/certs", "/keys", "/client/ca"],
            Self::Upstream => &["/tls/client_cert", "/tls/client_key"],
            Self::Route | Self::Service => &["/upstream/tls/client_cert", "/upstream/tls/client_key"],
            _ => &[],
        };
        let mut resolved = Cow::Borrowed(value);
        for place in places {
            let Some(written) = value.pointer(place).filter(|written| has_references(written)) else {
                continue;
            };
            let found = registry.references().resolve(written).map_err(|error| {
                let member = place.trim_start_matches('/').replace('/', ".");
                // Items of lists say their own place.
                let colon = if error.starts_with('[') { "" } else { ": " };
                format!("invalid configuration: {member}{colon}{error}")
            })?;
            if let Some(member) = resolved.to_mut().pointer_mut(place) {
                *member = found.value;
            }
        }
        Ok(resolved)
    }

    /// The other resources that the one of this id names: which kind, which id.
    pub(crate) fn references(self, id: &str, value: &Value) -> Vec<(Self, String)> {
        let owner = if self == Self::Credential { id.split_once('/') } else { None };
        let member = |path: &str| path.split('.').try_fold(value, |value, name| value.get(name));
        let named = self
            .describe()
            .references
            .iter()
            .filter_map(|(path, kind)| Some((*kind, id_text(member(path)?)?)));
        named.chain(owner.map(|(consumer, _)| (Self::Consumer, consumer.to_owned()))).collect()
    }
}

/// An id as text: ids are strings or integers, and `1` is `"1"`.
pub(crate) fn id_text(id: &Value) -> Option<String> {
    match id {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Whether text may be an id. Dots alone would be path members with a meaning of their own.
pub(crate) fn is_id(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=64).contains(&text.len()) && text.bytes().all(allowed) && !text.bytes().all(|byte| byte == b'.')
}

fn id() -> Schema {
    Schema::any_of(vec![
        Schema::string().length(1, 64).pattern("^[a-zA-Z0-9-_.]+$"),
        Schema::integer().at_least(1),
    ])
}

/// The members that every kind has.
fn with_common(schema: Schema) -> Schema {
    let schema = schema
        .field("id", id().doc("id; made up by a POST"))
        .field("name", Schema::string().length(1, 256).doc("name for people"))
        .field("desc", Schema::string().length(0, 256).doc("description for people"))
        .field("labels", labels());
    with_times(schema)
}

fn with_times(schema: Schema) -> Schema {
    schema
        .field("create_time", Schema::integer().doc("seconds since 1970 of its creation; set by the gate"))
        .field("update_time", Schema::integer().doc("seconds since 1970 of its last change; set by the gate"))
}

fn labels() -> Schema {
    Schema::map(Schema::string().length(1, 256).pattern(r"^\S+$")).doc("labels for people and for `?label=`")
}

fn host() -> Schema {
    Schema::string().length(1, 255).pattern(r"^\*$|^\*?[0-9a-zA-Z-._\[\]:]+$")
}

fn plugins() -> Schema {
    Schema::object().open().doc("plugins by name, each with its configuration")
}

fn timeout() -> Schema {
    // A year is as good as no limit, and far from what a timer cannot hold.
    let seconds = || Schema::number().above(0).at_most(31_536_000);
    Schema::object()
        .required("connect", seconds().doc("seconds for name resolution, TCP and TLS"))
        .required("send", seconds().doc("seconds between two writes of the request"))
        .required("read", seconds().doc("seconds between two reads of the answer"))
}

/// `create_time` and `update_time` are the gate's to write; the error lists those that a client sent.
pub(crate) fn refuse_times(value: &Map<String, Value>) -> Result<(), String> {
    let mut found = Vec::new();
    for name in ["create_time", "update_time"] {
        if value.contains_key(name) {
            found.push(name.to_owned());
        }
        for parent in ["upstream", "plugins"] {
            if value.get(parent).is_some_and(|parent| parent.get(name).is_some()) {
                found.push(format!("{parent}.{name}"));
            }
        }
    }
    // Two spaces: APISIX's text, which its clients compare.
    if found.is_empty() { Ok(()) } else { Err(format!("the property is forbidden:  {}", found.join(" "))) }
}

/// Where `$env://` and `$secret://` are not resolved they would be taken for the secret itself: refused by name.
pub(crate) fn refuse_references(value: &Value, path: &str) -> Result<(), String> {
    match value {
        Value::String(text) => {
            let lower: String = text.chars().take(10).flat_map(char::to_lowercase).collect();
            if lower.starts_with("$env://") || lower.starts_with("$secret://") {
                return Err(format!(
                    "{path}: references to `$env://` and `$secret://` are not implemented here"
                ));
            }
            Ok(())
        }
        Value::Array(items) => items.iter().try_for_each(|item| refuse_references(item, path)),
        Value::Object(members) => {
            members.iter().try_for_each(|(name, member)| refuse_references(member, &format!("{path}.{name}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_apisix_keys() {
        assert_eq!(Kind::Ssl.key("1"), "/apisix/ssls/1");
        assert_eq!(Kind::Credential.key("jack/1"), "/apisix/consumers/jack/credentials/1");
        for (key, found) in [
            ("/apisix/routes/a.b", (Kind::Route, "a.b")),
            ("/apisix/consumers/jack", (Kind::Consumer, "jack")),
            ("/apisix/consumers/jack/credentials/1", (Kind::Credential, "jack/1")),
        ] {
            assert_eq!(Kind::of_key(key), Some((found.0, found.1.to_owned())));
            assert_eq!(found.0.key(found.1), key);
        }
        for other in [
            "/apisix/routes",
            "/apisix/routes/",
            "/apisix/routes/a/b",
            "/x/routes/1",
            "/apisix/credentials/1",
            "/apisix/routes/jack/credentials/1",
            "/apisix/consumers/jack/credentials",
            "/apisix/consumers//credentials/1",
            "/apisix/consumers/jack/credentials/1/2",
        ] {
            assert_eq!(Kind::of_key(other), None, "{other}");
        }
    }

    #[test]
    fn declared_ids_are_what_the_admin_api_takes() {
        let id = |kind: Kind, value: Value| kind.declared_id(&value);
        assert_eq!(id(Kind::Route, json!({"id": 1})).as_deref(), Some("1"));
        assert_eq!(id(Kind::Route, json!({"id": "a.b-c_d"})).as_deref(), Some("a.b-c_d"));
        for bad in [json!("a/b"), json!(""), json!(".."), json!(null), json!("x".repeat(65))] {
            assert_eq!(id(Kind::Route, json!({"id": bad})), None, "{bad}");
        }
        assert_eq!(id(Kind::Consumer, json!({"username": "jack"})).as_deref(), Some("jack"));
        assert_eq!(
            id(Kind::Consumer, json!({"id": "jack/credentials/1"})).as_deref(),
            Some("jack/credentials/1")
        );
        for bad in [
            json!({"id": "jack"}),
            json!({"username": "a.b"}),
            json!({"id": "a/b/c"}),
            json!({"id": "a/credentials/"}),
        ] {
            assert_eq!(id(Kind::Consumer, bad.clone()), None, "{bad}");
        }
    }

    #[test]
    fn forbidden_times_are_listed_after_two_spaces() {
        let sent = json!({"create_time": 1, "upstream": {"update_time": 1}});
        assert_eq!(
            refuse_times(sent.as_object().unwrap()).unwrap_err(),
            "the property is forbidden:  create_time upstream.update_time"
        );
    }

    #[test]
    fn every_kind_has_a_schema_and_a_reference() {
        for kind in Kind::ALL {
            let names_it = |path: &str| path == "id" || path == "username";
            assert!(kind.schema().rows().iter().any(|row| names_it(&row.path)));
            assert!(kind.schema().to_json()["properties"].is_object());
            assert_eq!(Kind::of_schema_name(kind.describe().schema_name), Some(kind));
            assert_eq!(Kind::of_plural(kind.plural()), Some(kind));
        }
    }
}
