//! The kinds of entities: where they are stored, what they name, and what must be unique about them. What may stand in
//! each is in the file of its name.

mod plugin;
mod route;
mod service;
mod values;

use std::sync::LazyLock;

use aws_lc_rs::digest;
use serde_json::{Map, Value, json};

use crate::schema::{Field, Schema};

pub(crate) use self::{plugin::schema as plugin_schema, service::expand_url};

/// Where the entities are stored.
pub(crate) const PREFIX: &str = "/portcullis/kong/";

/// A kind of entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Where requests go.
    Service,
    /// Which requests go there.
    Route,
    /// What happens to them on the way.
    Plugin,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Service, Self::Route, Self::Plugin];

    /// Its name in paths.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Service => "services",
            Self::Route => "routes",
            Self::Plugin => "plugins",
        }
    }

    /// Its name as a field of others.
    pub(crate) const fn singular(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Route => "route",
            Self::Plugin => "plugin",
        }
    }

    pub(crate) fn of_plural(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.plural() == text)
    }

    pub(crate) fn of_singular(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.singular() == text)
    }

    /// The field that stands for the id in paths.
    pub(crate) const fn endpoint_key(self) -> &'static str {
        match self {
            Self::Service | Self::Route => "name",
            Self::Plugin => "instance_name",
        }
    }

    /// The kinds that its fields of their names may refer to.
    pub(crate) const fn parents(self) -> &'static [Self] {
        match self {
            Self::Service => &[],
            Self::Route => &[Self::Service],
            Self::Plugin => &[Self::Service, Self::Route],
        }
    }

    /// Under which key an entity is stored.
    pub(crate) fn key(self, id: &str) -> String {
        format!("{PREFIX}{}/{id}", self.plural())
    }

    /// Kind and id of what is stored under `key`.
    pub(crate) fn of_key(key: &str) -> Option<(Self, &str)> {
        let (plural, id) = key.strip_prefix(PREFIX)?.split_once('/')?;
        Some((Self::of_plural(plural)?, id)).filter(|(_, id)| is_uuid(id))
    }

    /// The entities that this one names.
    pub(crate) fn references(self, value: &Value) -> Vec<(Self, String)> {
        let named = |kind: &Self| Some((*kind, reference(value, *kind)?.to_owned()));
        self.parents().iter().filter_map(named).collect()
    }

    /// The combinations of fields that only one entity may have: those of which every part is there, and for plugins
    /// the place where they work.
    fn unique(self, value: &Value) -> Vec<Map<String, Value>> {
        let of = |names: &[&str]| -> Map<String, Value> {
            names
                .iter()
                .map(|name| ((*name).to_owned(), value.get(*name).cloned().unwrap_or(Value::Null)))
                .collect()
        };
        let mut unique = Vec::new();
        if value.get(self.endpoint_key()).is_some_and(Value::is_string) {
            unique.push(of(&[self.endpoint_key()]));
        }
        if self == Self::Plugin {
            unique.push(of(&["consumer", "name", "route", "service"]));
        }
        unique
    }

    /// Under which keys it is noted that this entity has what only one may have, and what that is.
    pub(crate) fn unique_keys(self, value: &Value) -> Vec<(String, Map<String, Value>)> {
        self.unique(value).into_iter().map(|fields| (self.unique_key(&fields), fields)).collect()
    }

    /// The key under which the entity with this name is noted.
    pub(crate) fn name_key(self, name: &str) -> String {
        self.unique_key(&Map::from_iter([(self.endpoint_key().to_owned(), json!(name))]))
    }

    fn unique_key(self, fields: &Map<String, Value>) -> String {
        let digest = digest::digest(&digest::SHA256, lua(fields).as_bytes());
        let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("/portcullis/unique/kong/{}/{hex}", self.plural())
    }

    /// What may stand in an entity of this kind; a plugin's depends on its name.
    pub(crate) fn schema(self) -> &'static Schema {
        static SERVICES: LazyLock<Schema> = LazyLock::new(service::schema);
        static ROUTES: LazyLock<Schema> = LazyLock::new(route::schema);
        static PLUGINS: LazyLock<Schema> = LazyLock::new(|| plugin::schema(None));
        match self {
            Self::Service => &SERVICES,
            Self::Route => &ROUTES,
            Self::Plugin => &PLUGINS,
        }
    }
}

/// The id of the entity that `value` names in its field for `kind`.
pub(crate) fn reference(value: &Value, kind: Kind) -> Option<&str> {
    value.get(kind.singular())?.get("id")?.as_str()
}

/// A lower-case UUID, as ids are.
pub(crate) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
        })
}

/// What every entity begins with.
fn stamped() -> Schema {
    Schema::new()
        .field(
            "id",
            Field::string()
                .text(|id| if is_uuid(id) { Ok(()) } else { Err("expected a valid UUID".to_owned()) }),
        )
        .field("created_at", Field::integer().doc("seconds since 1970"))
        .field("updated_at", Field::integer().doc("seconds since 1970; set by each write"))
}

fn tags() -> Field {
    Field::set(Field::string().text(values::tag)).doc("labels to list entities by")
}

/// Makes every whole number an integer, as Lua has it.
pub(crate) fn whole_numbers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            if let Some(whole) = crate::schema::whole(number) {
                *value = whole;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(whole_numbers),
        Value::Object(members) => members.values_mut().for_each(whole_numbers),
        _ => {}
    }
}

/// `{name="x"}`: a table as Lua prints it, names sorted.
pub(crate) fn lua(fields: &Map<String, Value>) -> String {
    let text = |value: &Value| match value {
        Value::Object(members) => lua(members),
        other => other.to_string(),
    };
    let mut pairs: Vec<String> =
        fields.iter().map(|(name, value)| format!("{name}={}", text(value))).collect();
    pairs.sort();
    format!("{{{}}}", pairs.join(","))
}

/// `{"id": id}`
pub(crate) fn by_id(id: &str) -> Value {
    json!({ "id": id })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lower_case_uuids_are_ids() {
        assert!(is_uuid("0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"));
        for bad in ["", "0F1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0", "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f", "x"] {
            assert!(!is_uuid(bad), "{bad}");
        }
    }

    #[test]
    fn tables_are_printed_as_lua_prints_them() {
        let fields = json!({"service": {"id": "x"}, "consumer": null, "name": "a"});
        assert_eq!(lua(fields.as_object().unwrap()), r#"{consumer=null,name="a",service={id="x"}}"#);
    }
}
