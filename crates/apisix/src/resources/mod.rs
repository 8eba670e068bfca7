//! The kinds of resources: what each may hold, where it is stored, and the checks that come before everything else.

mod route;
mod secrets;
mod service;
mod ssl;
mod upstream;

use std::sync::LazyLock;

use serde_json::{Map, Value};

pub(crate) use secrets::{Reader, Sealer};

use crate::{plugins::Registry, schema::Schema};

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
}

impl Kind {
    /// Every kind that this build has.
    pub const ALL: [Self; 4] = [Self::Route, Self::Service, Self::Upstream, Self::Ssl];

    /// The collection's name in paths and keys.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Route => "routes",
            Self::Service => "services",
            Self::Upstream => "upstreams",
            Self::Ssl => "ssls",
        }
    }

    /// The word in error texts.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Route => "route",
            Self::Service => "service",
            Self::Upstream => "upstream",
            Self::Ssl => "ssl",
        }
    }

    /// The kind whose collection has this name.
    pub fn of_plural(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.plural() == name)
    }

    /// The kind that error texts and `schema/…` call so.
    pub fn of_word(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == name)
    }

    /// The key of one resource in the store: `/apisix/routes/1`.
    pub fn key(self, id: &str) -> String {
        format!("{PREFIX}{}/{id}", self.plural())
    }

    /// Kind and id of a stored key; `None` for keys that are no resource of this build.
    pub(crate) fn of_key(key: &str) -> Option<(Self, &str)> {
        let (plural, id) = key.strip_prefix(PREFIX)?.split_once('/')?;
        Some((Self::of_plural(plural)?, id)).filter(|(_, id)| !id.is_empty() && !id.contains('/'))
    }

    /// What may be written.
    pub fn schema(self) -> &'static Schema {
        static SCHEMAS: LazyLock<[Schema; 4]> =
            LazyLock::new(|| [route::schema(), service::schema(), upstream::schema(), ssl::schema()]);
        let [route, service, upstream, ssl] = &*SCHEMAS;
        match self {
            Self::Route => route,
            Self::Service => service,
            Self::Upstream => upstream,
            Self::Ssl => ssl,
        }
    }

    /// Checks a complete resource, secrets in the clear; the error is what the client is told.
    pub(crate) fn check(self, registry: &Registry, value: &Value) -> Result<(), String> {
        if self == Self::Route {
            route::check_before_schema(value)?;
        }
        self.schema().validate(value).map_err(|error| format!("invalid configuration: {error}"))?;
        match self {
            Self::Upstream => upstream::check(value)?,
            Self::Route | Self::Service => {
                if let Some(upstream) = value.get("upstream") {
                    upstream::check(upstream)?;
                }
            }
            Self::Ssl => ssl::check(value)?,
        }
        if let Some(plugins) = value.get("plugins").and_then(Value::as_object) {
            registry.check(plugins)?;
        }
        if self == Self::Route { route::check_after_plugins(value) } else { Ok(()) }
    }

    /// The other resources that one of this kind names: which member, which kind, which id.
    pub(crate) fn references(self, value: &Value) -> Vec<(&'static str, Self, String)> {
        let members: &[(&str, Self)] = match self {
            Self::Route => &[("upstream_id", Self::Upstream), ("service_id", Self::Service)],
            Self::Service => &[("upstream_id", Self::Upstream)],
            Self::Upstream | Self::Ssl => &[],
        };
        members
            .iter()
            .filter_map(|(member, kind)| Some((*member, *kind, id_text(value.get(*member)?)?)))
            .collect()
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
        Schema::string().length(1, 64).pattern("^[a-zA-Z0-9_.-]+$"),
        Schema::integer().at_least(1),
    ])
}

/// The members that every kind has.
fn with_common(schema: Schema) -> Schema {
    schema
        .field("id", id().doc("id; made up by a POST"))
        .field("name", Schema::string().length(1, 256).doc("name for people"))
        .field("desc", Schema::string().length(0, 256).doc("description for people"))
        .field("labels", labels())
        .field("create_time", Schema::integer().doc("seconds since 1970 of its creation; set by the gate"))
        .field("update_time", Schema::integer().doc("seconds since 1970 of its last change; set by the gate"))
}

fn labels() -> Schema {
    Schema::map(Schema::string().length(1, 256).pattern(r"^\S+$")).doc("labels for people and for `?label=`")
}

fn host() -> Schema {
    Schema::string().length(1, 255).pattern(r"^\*$|^\*?[0-9a-zA-Z._\[\]:-]+$")
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

/// `$env://` and `$secret://` would be taken for the secret itself: refused by name until they are resolved.
pub(crate) fn refuse_references(value: &Value, path: &str) -> Result<(), String> {
    match value {
        Value::String(text) => {
            let lower: String = text.chars().take(10).flat_map(char::to_lowercase).collect();
            if lower.starts_with("$env://") || lower.starts_with("$secret://") {
                return Err(format!(
                    "{path}: references to `$env://` and `$secret://` are not implemented in this build"
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
        assert_eq!(Kind::of_key("/apisix/routes/a.b"), Some((Kind::Route, "a.b")));
        for other in
            ["/apisix/routes", "/apisix/routes/", "/apisix/consumers/a", "/apisix/routes/a/b", "/x/routes/1"]
        {
            assert_eq!(Kind::of_key(other), None, "{other}");
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
            assert!(kind.schema().rows().iter().any(|row| row.path == "id"));
            assert!(kind.schema().to_json()["properties"].is_object());
            assert_eq!(Kind::of_word(kind.word()), Some(kind));
        }
    }
}
