//! What the Admin API tells: one entity, a list of them, and what the node is.

use std::{collections::BTreeSet, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use gateway::engine::Totals;
use serde_json::{Map, Value, json};

use super::request::Query;
use crate::{
    VERSION,
    answer::Answer,
    catalog::{Catalog, Entity},
    dialect::Dialect,
    entities::{self, Kind, Reference, is_uuid, named, set},
    schema::Schema,
};

/// Entities on a page unless the client says otherwise, and at most.
const PAGE: usize = 100;
const LARGEST_PAGE: usize = 1000;

/// Which entities of a kind are asked for.
pub(super) struct Listing<'a> {
    pub(super) kind: Kind,
    /// The entity that they name, by id or name.
    pub(super) parent: Option<(Reference, &'a str)>,
    /// Where the list is found.
    pub(super) path: &'a str,
    pub(super) query: &'a Query,
}

/// One entity.
pub(super) fn one(dialect: &Dialect, catalog: &Catalog, entity: &Entity, secrets: bool) -> Answer {
    Answer::ok(dialect.show(catalog, entity, secrets))
}

/// `{"data": […], "next": null}`
pub(super) fn list(data: impl Iterator<Item = Value>) -> Answer {
    Answer::ok(json!({"data": data.collect::<Vec<_>>(), "next": null}))
}

impl Listing<'_> {
    /// A page of them.
    pub(super) fn answer(&self, dialect: &Dialect, secrets: bool) -> Result<Answer, Answer> {
        let (size, tags) = (size(self.query)?, Tags::parse(self.query.get("tags"))?);
        let after = self.query.get("offset").map(last_id).transpose()?;
        let catalog = dialect.read();
        if let Some(custom_id) = self.query.get("custom_id").filter(|_| self.kind == Kind::Consumer) {
            return by_custom_id(dialect, &catalog, custom_id, secrets);
        }
        let after = after.as_deref();
        let mut found: Box<dyn Iterator<Item = &Arc<Entity>>> = match self.parent {
            None => Box::new(catalog.list_after(self.kind, after)),
            Some((of, key)) => {
                let parent = catalog.lookup(of.kind, key, None).ok_or_else(Answer::not_found)?.id.as_str();
                let children = catalog.children(self.kind, of.kind, parent);
                let own = move |entity: &&Arc<Entity>| {
                    named(&entity.value, of.field) == Some(parent)
                        && after.is_none_or(|after| *entity.id > *after)
                };
                Box::new(children.filter(own))
            }
        };
        let mut found = found.by_ref().filter(|entity| tags.fit(&entity.value));
        let page: Vec<&Arc<Entity>> = found.by_ref().take(size).collect();
        let more = found.next().is_some();
        let mut body = Map::new();
        body.insert(
            "data".to_owned(),
            page.iter().map(|entity| dialect.show(&catalog, entity, secrets)).collect(),
        );
        let offset =
            page.last().filter(|_| more).map(|last| URL_SAFE_NO_PAD.encode(json!([last.id]).to_string()));
        body.insert("next".to_owned(), offset.as_deref().map_or(Value::Null, |offset| self.next(offset)));
        body.extend(offset.map(|offset| ("offset".to_owned(), Value::String(offset))));
        Ok(Answer::ok(Value::Object(body)))
    }

    fn next(&self, offset: &str) -> Value {
        next(self.path, self.query, offset)
    }
}

fn next(path: &str, query: &Query, offset: &str) -> Value {
    let mut pairs = form_urlencoded::Serializer::new(String::new());
    pairs.append_pair("offset", offset);
    for name in ["tags", "size"] {
        if let Some(value) = query.get(name) {
            pairs.append_pair(name, value);
        }
    }
    json!(format!("{path}?{}", pairs.finish()))
}

/// How many entities a page is to have.
fn size(query: &Query) -> Result<usize, Answer> {
    let Some(text) = query.get("size") else { return Ok(PAGE) };
    let number: f64 = text.parse().map_err(|_| Answer::invalid_size("size must be a number"))?;
    let size = text.parse().ok().filter(|size| (1..=LARGEST_PAGE).contains(size));
    let wrong = || match number.is_finite() {
        true => Answer::invalid_size("size must be an integer between 1 and 1000"),
        false => Answer::invalid_size("size must be a number"),
    };
    size.ok_or_else(wrong)
}

/// `GET /consumers?custom_id=…`
fn by_custom_id(
    dialect: &Dialect,
    catalog: &Catalog,
    custom_id: &str,
    secrets: bool,
) -> Result<Answer, Answer> {
    if custom_id.is_empty() {
        return Err(Answer::invalid_unique("custom_id", "length must be at least 1"));
    }
    let named =
        |entity: &&Arc<Entity>| entity.value.get("custom_id").and_then(Value::as_str) == Some(custom_id);
    Ok(list(catalog.list(Kind::Consumer).filter(named).map(|entity| dialect.show(catalog, entity, secrets))))
}

/// `GET /tags`, `GET /tags/{tag}`: who is labelled how.
pub(super) fn tags(
    dialect: &Dialect,
    only: Option<&str>,
    path: &str,
    query: &Query,
) -> Result<Answer, Answer> {
    if let Some(tag) = only {
        entities::tag(tag).map_err(|why| Answer::invalid_unique("tag", &why))?;
    }
    let size = size(query)?;
    let after = query.get("offset").map(last_label).transpose()?;
    let catalog = dialect.read();
    let mut labels: BTreeSet<(String, &str, &str)> = BTreeSet::new();
    for kind in Kind::ALL {
        for entity in catalog.list(kind) {
            let own = entity.value.get("tags").and_then(Value::as_array).into_iter().flatten();
            for tag in own.filter_map(Value::as_str).filter(|tag| only.is_none_or(|only| only == *tag)) {
                labels.insert((tag.to_owned(), kind.plural(), &entity.id));
            }
        }
    }
    let behind = |label: &&(String, &str, &str)| {
        let own = (label.0.as_str(), label.1, label.2);
        after.as_ref().is_none_or(|(tag, name, id)| own > (tag.as_str(), name.as_str(), id.as_str()))
    };
    let mut rest = labels.iter().filter(behind);
    let page: Vec<_> = rest.by_ref().take(size).collect();
    let more = rest.next().is_some();
    let offset = page
        .last()
        .filter(|_| more)
        .map(|(tag, name, id)| URL_SAFE_NO_PAD.encode(json!([tag, name, id]).to_string()));
    let data = page.iter().map(|(tag, name, id)| json!({"tag": tag, "entity_name": name, "entity_id": id}));
    let mut body = json!({"data": data.collect::<Vec<_>>(), "next": null});
    if let Some(offset) = offset {
        set(&mut body, "next", next(path, query, &offset));
        set(&mut body, "offset", json!(offset));
    }
    Ok(Answer::ok(body))
}

/// The label behind which a page begins.
fn last_label(offset: &str) -> Result<(String, String, String), Answer> {
    let value = decoded(offset)?;
    let text = |at: usize| value.get(at).and_then(Value::as_str).map(str::to_owned);
    let label = text(0).zip(text(1)).zip(text(2)).map(|((tag, name), id)| (tag, name, id));
    label.ok_or_else(|| Answer::invalid_offset(&shown(offset), "bad json encoding"))
}

/// `GET /schemas/plugins/{name}`
pub(super) fn plugin_schema(dialect: &Dialect, name: &str) -> Result<Answer, Answer> {
    const FIELDS: [&str; 4] = ["protocols", "consumer", "consumer_group", "config"];
    if dialect.registry().find(name).is_none() {
        return Err(Answer::message(
            http::StatusCode::NOT_FOUND,
            format!("No plugin named '{}'", shown(name)),
        ));
    }
    let whole = dialect.registry().schema(Kind::Plugin, &Map::from_iter([("name".to_owned(), json!(name))]));
    let mut schema = Schema {
        any_of: whole.any_of.clone(),
        one_of: whole.one_of.clone(),
        conditionals: whole.conditionals.clone(),
        ..Schema::new()
    };
    for (name, field) in whole.fields.iter().filter(|(name, _)| FIELDS.contains(name)) {
        schema = schema.field(name, field.clone());
    }
    Ok(Answer::ok(schema.describe()))
}

/// `GET /schemas/vaults/{name}`
pub(super) fn vault_schema(name: &str) -> Result<Answer, Answer> {
    if name != entities::VAULT {
        let why = format!("No vault named '{}'", shown(name));
        return Err(Answer::message(http::StatusCode::NOT_FOUND, why));
    }
    let whole = Kind::Vault.schema();
    let config = whole.fields.get("config").cloned();
    let schema = config.map(|config| Schema::new().field("config", config)).unwrap_or_default();
    Ok(Answer::ok(schema.describe()))
}

/// `GET /config`: every entity, as a declarative configuration in YAML.
pub(super) fn config(dialect: &Dialect, secrets: bool) -> Answer {
    let catalog = dialect.read();
    let mut document = json!({"_format_version": "3.0", "_transform": false});
    for kind in Kind::ALL {
        let entities: Vec<Value> = catalog
            .list(kind)
            .map(|entity| {
                let mut shown = dialect.show(&catalog, entity, secrets);
                if let Value::Object(members) = &mut shown {
                    members.retain(|name, value| {
                        !(value.is_null() || kind == Kind::Certificate && name == "snis")
                    });
                }
                shown
            })
            .collect();
        if !entities.is_empty() {
            set(&mut document, kind.plural(), json!(entities));
        }
    }
    Answer::ok(json!({"config": base::yaml::text(&document)}))
}

/// The id behind which a page begins.
fn last_id(offset: &str) -> Result<String, Answer> {
    let value = decoded(offset)?;
    let id = value.get(0).and_then(Value::as_str).filter(|id| is_uuid(id));
    id.map(str::to_owned).ok_or_else(|| Answer::invalid_offset(&shown(offset), "bad json encoding"))
}

fn decoded(offset: &str) -> Result<Value, Answer> {
    let wrong = |why| Answer::invalid_offset(&shown(offset), why);
    let decoded = URL_SAFE_NO_PAD.decode(offset).map_err(|_| wrong("bad base64 encoding"))?;
    serde_json::from_slice(&decoded).map_err(|_| wrong("bad json encoding"))
}

fn shown(text: &str) -> String {
    text.chars().take(128).collect()
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
            return Err(Answer::invalid_option("tags", "invalid filter syntax"));
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
pub(super) fn node(dialect: &Dialect, hostname: &str, declared: bool) -> Answer {
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
        "hostname": hostname,
        "node_id": dialect.node_id(),
        "pids": {"master": std::process::id(), "workers": []},
        "plugins": {"available_on_server": available, "enabled_in_cluster": enabled},
        "configuration": {"database": if declared { "off" } else { "portcullis" }, "router_flavor": "traditional_compatible"},
    }))
}

/// `GET /status`
pub(super) async fn status(dialect: &Dialect, traffic: Totals) -> Answer {
    let broken: Map<String, Value> =
        dialect.broken().into_iter().map(|(name, why)| (name, Value::String(why))).collect();
    // As long as Kong's own, which is all zeros before there is one.
    let hash = dialect.declared_hash().unwrap_or_default();
    let hash: String = hash.chars().chain(std::iter::repeat('0')).take(32).collect();
    let database = json!({"reachable": dialect.is_reachable().await});
    let server = json!({
        "connections_accepted": traffic.accepted,
        "connections_active": traffic.open,
        // Every connection that is accepted is served.
        "connections_handled": traffic.accepted,
        "connections_reading": traffic.reading,
        "connections_waiting": traffic.waiting(),
        "connections_writing": traffic.answering,
        "total_requests": traffic.requests,
    });
    Answer::ok(json!({
        "server": server,
        "database": database,
        "configuration_hash": hash,
        "broken": broken,
    }))
}

/// `GET /plugins/enabled`
pub(super) fn enabled_plugins(dialect: &Dialect) -> Answer {
    let names: Vec<&str> = dialect.registry().iter().map(crate::plugins::DialectPlugin::name).collect();
    Answer::ok(json!({"enabled_plugins": names}))
}
