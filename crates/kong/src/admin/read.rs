//! What the Admin API tells: one entity, a list of them, and what the node is.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};

use super::request::Query;
use crate::{
    VERSION,
    answer::Answer,
    catalog::Entity,
    dialect::Dialect,
    entities::{Kind, is_uuid, reference},
};

/// Entities on a page unless the client says otherwise, and at most.
const PAGE: usize = 100;
const LARGEST_PAGE: usize = 1000;

/// Which entities of a kind are asked for.
pub(super) struct Listing<'a> {
    pub(super) kind: Kind,
    /// The entity that they name, by id or name.
    pub(super) parent: Option<(Kind, &'a str)>,
    /// Where the list is found.
    pub(super) path: &'a str,
    pub(super) query: &'a Query,
}

/// One entity.
pub(super) fn one(dialect: &Dialect, entity: &Entity, secrets: bool) -> Answer {
    Answer::ok(dialect.show(entity, secrets))
}

impl Listing<'_> {
    /// A page of them.
    pub(super) fn answer(&self, dialect: &Dialect, secrets: bool) -> Result<Answer, Answer> {
        let (size, tags) = (self.size()?, Tags::parse(self.query.get("tags"))?);
        let after = self.query.get("offset").map(last_id).transpose()?;
        let catalog = dialect.read();
        let parent = match self.parent {
            Some((kind, key)) => {
                Some((kind, catalog.lookup(kind, key).ok_or_else(Answer::not_found)?.id.as_str()))
            }
            None => None,
        };
        let belongs = |entity: &&Arc<Entity>| {
            parent.is_none_or(|(kind, id)| reference(&entity.value, kind) == Some(id))
        };
        let mut found = catalog
            .list_after(self.kind, after.as_deref())
            .filter(belongs)
            .filter(|entity| tags.fit(&entity.value));
        let page: Vec<&Arc<Entity>> = found.by_ref().take(size).collect();
        let more = found.next().is_some();
        let mut body = Map::new();
        body.insert("data".to_owned(), page.iter().map(|entity| dialect.show(entity, secrets)).collect());
        let offset =
            page.last().filter(|_| more).map(|last| URL_SAFE_NO_PAD.encode(json!([last.id]).to_string()));
        body.insert("next".to_owned(), offset.as_deref().map_or(Value::Null, |offset| self.next(offset)));
        body.extend(offset.map(|offset| ("offset".to_owned(), Value::String(offset))));
        Ok(Answer::ok(Value::Object(body)))
    }

    fn size(&self) -> Result<usize, Answer> {
        let Some(text) = self.query.get("size") else { return Ok(PAGE) };
        let number: f64 = text.parse().map_err(|_| Answer::invalid_size("size must be a number"))?;
        let size = text.parse().ok().filter(|size| (1..=LARGEST_PAGE).contains(size));
        let wrong = || match number.is_finite() {
            true => Answer::invalid_size("size must be an integer between 1 and 1000"),
            false => Answer::invalid_size("size must be a number"),
        };
        size.ok_or_else(wrong)
    }

    fn next(&self, offset: &str) -> Value {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("offset", offset);
        for name in ["tags", "size"] {
            if let Some(value) = self.query.get(name) {
                query.append_pair(name, value);
            }
        }
        json!(format!("{}?{}", self.path, query.finish()))
    }
}

/// The id behind which a page begins.
fn last_id(offset: &str) -> Result<String, Answer> {
    let shown: String = offset.chars().take(128).collect();
    let wrong = |why| Answer::invalid_offset(&shown, why);
    let decoded = URL_SAFE_NO_PAD.decode(offset).map_err(|_| wrong("bad base64 encoding"))?;
    let value: Value = serde_json::from_slice(&decoded).map_err(|_| wrong("bad json encoding"))?;
    let id = value.get(0).and_then(Value::as_str).filter(|id| is_uuid(id));
    id.map(str::to_owned).ok_or_else(|| wrong("bad json encoding"))
}

/// `a,b`: all of them; `a/b`: one of them.
enum Tags<'a> {
    Any,
    All(Vec<&'a str>),
    One(Vec<&'a str>),
}

impl<'a> Tags<'a> {
    fn parse(text: Option<&'a str>) -> Result<Self, Answer> {
        let Some(text) = text else { return Ok(Self::Any) };
        let (all, one): (Vec<&str>, Vec<&str>) = (text.split(',').collect(), text.split('/').collect());
        if text.is_empty() || (all.len() > 1 && one.len() > 1) || all.contains(&"") || one.contains(&"") {
            let why = "invalid filter syntax: tags are joined by `,` (all of them) or by `/` (one of them)";
            return Err(Answer::invalid_option("tags", why));
        }
        Ok(if one.len() > 1 { Self::One(one) } else { Self::All(all) })
    }

    fn fit(&self, value: &Value) -> bool {
        let has = |tag: &&str| {
            let tags = value.get("tags").and_then(Value::as_array);
            tags.into_iter().flatten().any(|own| own.as_str() == Some(*tag))
        };
        match self {
            Self::Any => true,
            Self::All(tags) => tags.iter().all(&has),
            Self::One(tags) => tags.iter().any(&has),
        }
    }
}

/// `GET /`
pub(super) fn node(dialect: &Dialect) -> Answer {
    let version = |plugin: &dyn crate::plugins::DialectPlugin| {
        (plugin.name().to_owned(), json!({"version": VERSION, "priority": plugin.priority()}))
    };
    let available: Map<String, Value> = dialect.registry().iter().map(version).collect();
    let mut enabled: Vec<String> = Vec::new();
    for entity in dialect.read().list(Kind::Plugin) {
        let name = entity.value.get("name").and_then(Value::as_str).unwrap_or_default();
        if !enabled.iter().any(|known| known == name) {
            enabled.push(name.to_owned());
        }
    }
    Answer::ok(json!({
        "tagline": "Welcome to kong",
        "version": VERSION,
        "edition": "community",
        "node_id": dialect.node_id(),
        "plugins": {"available_on_server": available, "enabled_in_cluster": enabled},
        "configuration": {"database": "portcullis", "router_flavor": "traditional_compatible"},
    }))
}

/// `GET /status`
pub(super) async fn status(dialect: &Dialect) -> Answer {
    let broken: Map<String, Value> =
        dialect.broken().into_iter().map(|(name, why)| (name, Value::String(why))).collect();
    Answer::ok(json!({"database": {"reachable": dialect.is_reachable().await}, "broken": broken}))
}

/// `GET /plugins/enabled`
pub(super) fn enabled_plugins(dialect: &Dialect) -> Answer {
    let names: Vec<&str> = dialect.registry().iter().map(crate::plugins::DialectPlugin::name).collect();
    Answer::ok(json!({"enabled_plugins": names}))
}
