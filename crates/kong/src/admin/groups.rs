//! Who belongs to which group of consumers: paths of a shape of their own.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::{
    answer::Answer,
    catalog::{Catalog, Entity},
    change::{Body, Verb, Write},
    dialect::Dialect,
    entities::{Kind, by_id, named, set},
};

/// A group as tools ask for it: with its consumers and plugins.
pub(super) fn describe(dialect: &Dialect, catalog: &Catalog, group: &Entity, answer: Answer) -> Answer {
    let mut body = answer.body.clone();
    let consumers = members(catalog, Kind::ConsumerGroup, &group.id, "consumer", Kind::Consumer);
    let plugins = catalog.children(Kind::Plugin, Kind::ConsumerGroup, &group.id);
    set(&mut body, "consumer_group", answer.body);
    set(&mut body, "consumers", shown(dialect, catalog, &consumers));
    set(&mut body, "plugins", plugins.map(|plugin| dialect.show(catalog, plugin, false)).collect());
    Answer::ok(body)
}

/// `GET /consumer_groups/{group}/consumers`
pub(super) fn consumers(dialect: &Dialect, group: &str, only: Option<&str>) -> Result<Answer, Answer> {
    tell(dialect, (Kind::ConsumerGroup, group), (Kind::Consumer, "consumer", "consumers"), only)
}

/// `GET /consumers/{consumer}/consumer_groups`
pub(super) fn groups(dialect: &Dialect, consumer: &str, only: Option<&str>) -> Result<Answer, Answer> {
    let of = (Kind::ConsumerGroup, "consumer_group", "consumer_groups");
    tell(dialect, (Kind::Consumer, consumer), of, only)
}

fn tell(
    dialect: &Dialect,
    (kind, key): (Kind, &str),
    (other, field, list): (Kind, &'static str, &'static str),
    only: Option<&str>,
) -> Result<Answer, Answer> {
    let catalog = dialect.read();
    let one = catalog.lookup(kind, key, None).ok_or_else(Answer::not_found)?;
    let mut found = members(&catalog, kind, &one.id, field, other);
    if let Some(only) = only {
        let wanted = catalog.lookup(other, only, None).ok_or_else(Answer::not_found)?;
        found.retain(|found| found.id == wanted.id);
        if found.is_empty() {
            return Err(Answer::not_found());
        }
    }
    let data = shown(dialect, &catalog, &found);
    Ok(Answer::ok(json!({list: data, "data": data, "next": null})))
}

/// `POST` and `DELETE` of `/consumer_groups/{group}/consumers`
pub(super) async fn write_consumers(
    dialect: &Dialect,
    group: &str,
    only: Option<&str>,
    verb: Verb,
    body: Body,
) -> Result<Answer, Answer> {
    if verb == Verb::Delete {
        return remove(dialect, (Kind::ConsumerGroup, group), (Kind::Consumer, "consumer"), only).await;
    }
    let names = names(body, "consumer")?;
    let mut added = Vec::new();
    for name in names {
        let (consumer, group) = both(dialect, &name, group)?;
        let answer = join(dialect, &consumer.id, &group.id).await;
        if answer.status != StatusCode::CREATED {
            return Ok(answer);
        }
        added.push(consumer);
    }
    let catalog = dialect.read();
    let group = catalog.lookup(Kind::ConsumerGroup, group, None).ok_or_else(Answer::not_found)?;
    let body = json!({
        "consumer_group": dialect.show(&catalog, group, false),
        "consumers": added.iter().map(|consumer| dialect.show(&catalog, consumer, false)).collect::<Vec<_>>(),
    });
    Ok(Answer::new(StatusCode::CREATED, body))
}

/// `POST` and `DELETE` of `/consumers/{consumer}/consumer_groups`
pub(super) async fn write_groups(
    dialect: &Dialect,
    consumer: &str,
    only: Option<&str>,
    verb: Verb,
    body: Body,
) -> Result<Answer, Answer> {
    if verb == Verb::Delete {
        let of = (Kind::ConsumerGroup, "consumer_group");
        return remove(dialect, (Kind::Consumer, consumer), of, only).await;
    }
    let mut joined = Vec::new();
    for name in names(body, "group")? {
        let (consumer, group) = both(dialect, consumer, &name)?;
        let answer = join(dialect, &consumer.id, &group.id).await;
        if answer.status != StatusCode::CREATED {
            return Ok(answer);
        }
        joined.push(group);
    }
    let catalog = dialect.read();
    let consumer = catalog.lookup(Kind::Consumer, consumer, None).ok_or_else(Answer::not_found)?;
    let body = json!({
        "consumer": dialect.show(&catalog, consumer, false),
        "consumer_groups": joined.iter().map(|group| dialect.show(&catalog, group, false)).collect::<Vec<_>>(),
    });
    Ok(Answer::new(StatusCode::CREATED, body))
}

/// The ids or names that a body has under `field`.
fn names(body: Body, field: &str) -> Result<Vec<String>, Answer> {
    let members = match body {
        Body::Json(members) => members,
        Body::Form(members) => members.into_iter().map(|(name, node)| (name, node.into_plain())).collect(),
    };
    let missing = || crate::schema::Violations::of(field, "required field missing").into();
    let named = match members.get(field) {
        Some(Value::String(name)) => vec![name.clone()],
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Some(Value::Object(members)) => {
            let id = members.get("id").or_else(|| members.get("username")).or_else(|| members.get("name"));
            id.and_then(Value::as_str).map(str::to_owned).into_iter().collect()
        }
        _ => Vec::new(),
    };
    if named.is_empty() { Err(missing()) } else { Ok(named) }
}

fn both(dialect: &Dialect, consumer: &str, group: &str) -> Result<(Arc<Entity>, Arc<Entity>), Answer> {
    let catalog = dialect.read();
    let group = catalog.lookup(Kind::ConsumerGroup, group, None).ok_or_else(Answer::not_found)?;
    let consumer = catalog.lookup(Kind::Consumer, consumer, None).ok_or_else(Answer::not_found)?;
    Ok((Arc::clone(consumer), Arc::clone(group)))
}

async fn join(dialect: &Dialect, consumer: &str, group: &str) -> Answer {
    let members = [("consumer".to_owned(), by_id(consumer)), ("consumer_group".to_owned(), by_id(group))];
    let body = Body::Json(Map::from_iter(members));
    dialect.write(Write { verb: Verb::Post, kind: Kind::Member, key: None, parent: None, body }).await
}

async fn remove(
    dialect: &Dialect,
    (kind, key): (Kind, &str),
    (other, field): (Kind, &'static str),
    only: Option<&str>,
) -> Result<Answer, Answer> {
    let ids: Vec<String> = {
        let catalog = dialect.read();
        let one = catalog.lookup(kind, key, None).ok_or_else(Answer::not_found)?;
        let wanted = match only {
            Some(only) => Some(catalog.lookup(other, only, None).ok_or_else(Answer::not_found)?.id.clone()),
            None => None,
        };
        let fits = |member: &&Arc<Entity>| {
            wanted.as_ref().is_none_or(|wanted| named(&member.value, field) == Some(wanted))
        };
        catalog.children(Kind::Member, kind, &one.id).filter(fits).map(|member| member.id.clone()).collect()
    };
    if ids.is_empty() && only.is_some() {
        return Err(Answer::not_found());
    }
    for id in ids {
        let body = Body::Json(Map::new());
        let write = Write { verb: Verb::Delete, kind: Kind::Member, key: Some(id), parent: None, body };
        let answer = dialect.write(write).await;
        if answer.status != StatusCode::NO_CONTENT {
            return Ok(answer);
        }
    }
    Ok(Answer::nothing())
}

/// The entities at the other end of memberships.
fn members<'c>(catalog: &'c Catalog, kind: Kind, id: &str, field: &str, other: Kind) -> Vec<&'c Arc<Entity>> {
    let members = catalog.children(Kind::Member, kind, id);
    members.filter_map(|member| catalog.find(other, named(&member.value, field)?)).collect()
}

fn shown(dialect: &Dialect, catalog: &Catalog, entities: &[&Arc<Entity>]) -> Value {
    entities.iter().map(|entity| dialect.show(catalog, entity, false)).collect()
}
