use std::collections::{HashMap, HashSet};

use aws_lc_rs::digest;
use serde_json::{Map, Value, json};

use super::Declaration;
use crate::{
    change::uuid,
    entities::{Kind, Reference, by_id, is_uuid},
};

/// Kong's namespace for the ids of declared entities.
const NAMESPACE: u128 = 0xfd02_801f_0957_4a15_a55a_c8d9_606f_30b5;
/// The identifier that decK writes for the groups of a consumer.
const GROUPS: &str = "groups";

/// An entity taken out of the tree, with its place in it.
#[derive(Clone, Debug)]
pub(crate) struct Flat {
    pub(crate) kind: Kind,
    pub(crate) id: String,
    pub(crate) value: Map<String, Value>,
    pub(crate) place: Place,
}

/// Names of lists and indices in them, from the top: `services`, 0, `routes`, 1.
pub(crate) type Place = Vec<(&'static str, usize)>;

/// What is wrong, in the shape of the document.
#[derive(Debug, Default)]
pub(crate) struct Wrong(Map<String, Value>);

impl Wrong {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn into_fields(self) -> Value {
        Value::Object(self.0)
    }

    /// Puts what is wrong with the entity at `place` where it stands in the document.
    pub(crate) fn add(&mut self, place: &[(&'static str, usize)], what: Value) {
        add(&mut self.0, place, what);
    }

    /// What is wrong with a whole list.
    fn add_list(&mut self, place: &[(&'static str, usize)], list: &str, what: &str) {
        let what = json!({ list: what });
        match (place.is_empty(), what) {
            (true, Value::Object(members)) => self.0.extend(members),
            (_, what) => self.add(place, what),
        }
    }
}

fn add(members: &mut Map<String, Value>, place: &[(&'static str, usize)], what: Value) {
    let Some(((list, index), rest)) = place.split_first() else {
        if let Value::Object(what) = what {
            members.extend(what);
        }
        return;
    };
    let items = members.entry(*list).or_insert_with(|| json!([]));
    let Value::Array(items) = items else { return };
    while items.len() <= *index {
        items.push(Value::Null);
    }
    let Some(item) = items.get_mut(*index) else { return };
    if rest.is_empty() && !what.is_object() {
        *item = what;
        return;
    }
    if !item.is_object() {
        *item = json!({});
    }
    if let Value::Object(inner) = item {
        add(inner, rest, what);
    }
}

impl Declaration {
    /// All entities, each with its id and its references by id.
    pub(crate) fn flatten(&self) -> Result<Vec<Flat>, Wrong> {
        let (mut flat, mut wrong) = (Vec::new(), Wrong::default());
        for (name, value) in &self.entities {
            let Some(kind) = Kind::of_plural(name) else { continue };
            take_list(kind, value, None, &mut Vec::new(), &mut flat, &mut wrong);
        }
        for entity in &mut flat {
            if let Err(what) = self.deck.complete(entity.kind, &mut entity.value) {
                wrong.add(&entity.place, what);
            }
        }
        if wrong.is_empty() {
            resolve(&mut flat, &mut wrong);
        }
        if wrong.is_empty() { Ok(flat) } else { Err(wrong) }
    }
}

fn take_list(
    kind: Kind,
    value: &Value,
    parent: Option<(&'static str, &Value)>,
    place: &mut Place,
    flat: &mut Vec<Flat>,
    wrong: &mut Wrong,
) {
    let Value::Array(items) = value else {
        wrong.add_list(place, kind.plural(), "expected an array");
        return;
    };
    for (index, item) in items.iter().enumerate() {
        place.push((kind.plural(), index));
        match item {
            Value::Object(members) => take(kind, members.clone(), parent, place, flat, wrong),
            // A server name may stand alone.
            Value::String(name) if kind == Kind::Sni => {
                let members = Map::from_iter([("name".to_owned(), json!(name))]);
                take(kind, members, parent, place, flat, wrong);
            }
            _ => wrong.add(place, json!("expected a record")),
        }
        place.pop();
    }
}

fn take(
    kind: Kind,
    mut members: Map<String, Value>,
    parent: Option<(&'static str, &Value)>,
    place: &mut Place,
    flat: &mut Vec<Flat>,
    wrong: &mut Wrong,
) {
    members.shift_remove("_comment");
    members.shift_remove("_ignore");
    if let Some((field, id)) = parent {
        if members.contains_key(field) {
            let nested = place.iter().rev().nth(1).map(|(list, _)| *list).unwrap_or_default();
            wrong.add(place, json!({ field: format!("it stands below one of the {nested} already") }));
            return;
        }
        members.insert(field.to_owned(), id.clone());
    }
    let mut nested = Vec::new();
    for child in Kind::ALL {
        let field = child.parents().iter().find(|reference| reference.kind == kind);
        let Some(Reference { field, .. }) = field else { continue };
        if kind.schema().fields.contains_key(child.plural()) {
            continue;
        }
        if let Some(list) = members.shift_remove(child.plural()) {
            nested.push((child, *field, list));
        }
    }
    let groups = (kind == Kind::Consumer).then(|| members.shift_remove(GROUPS)).flatten();
    let id = match members.get("id") {
        Some(Value::String(id)) if is_uuid(id) => id.clone(),
        Some(Value::Null) | None => generated_id(kind, &members, flat.len()),
        Some(_) => {
            wrong.add(place, json!({"id": "expected a valid UUID"}));
            return;
        }
    };
    members.insert("id".to_owned(), json!(id));
    let reference = by_id(&id);
    flat.push(Flat { kind, id, value: members, place: place.clone() });
    for (child, field, list) in nested {
        if !list.is_null() {
            take_list(child, &list, Some((field, &reference)), place, flat, wrong);
        }
    }
    let groups = groups.as_ref().and_then(Value::as_array).into_iter().flatten();
    for (index, group) in groups.enumerate() {
        let name = group.get("name").or_else(|| group.get("id")).unwrap_or(group);
        let members = Map::from_iter([
            ("consumer".to_owned(), reference.clone()),
            ("consumer_group".to_owned(), name.clone()),
        ]);
        place.push((Kind::Member.plural(), index));
        take(Kind::Member, members, None, place, flat, wrong);
        place.pop();
    }
}

/// The same id for the same entity each time: from what stands for it in paths, or, where nothing does, from all that
/// it says.
fn generated_id(kind: Kind, members: &Map<String, Value>, place: usize) -> String {
    let named = kind.endpoint_key().and_then(|key| members.get(key)?.as_str());
    let scope = |field: &str| members.get(field).map(Value::to_string).unwrap_or_default();
    let name = match (kind, named) {
        (Kind::Acl, Some(name)) => format!("{name}:{}", scope("consumer")),
        (Kind::Target, Some(name)) => format!("{name}:{}", scope("upstream")),
        (_, Some(name)) => name.to_owned(),
        (Kind::Plugin, None) => {
            ["name", "route", "service", "consumer", "consumer_group"].map(scope).join(":")
        }
        (Kind::Member, None) => ["consumer", "consumer_group"].map(scope).join(":"),
        (Kind::Certificate | Kind::CaCertificate, None) => scope("cert"),
        (_, None) => format!("{place}:{}", Value::Object(members.clone())),
    };
    stable_id(kind.plural(), &name)
}

/// The id of what `name` stands for among entities of that kind.
pub(crate) fn stable_id(kind: &str, name: &str) -> String {
    uuid(v5(v5(NAMESPACE, kind), name), 5)
}

/// The bits of a UUID version 5 (RFC 9562 section 5.5).
fn v5(namespace: u128, name: &str) -> u128 {
    let text = [&namespace.to_be_bytes(), name.as_bytes()].concat();
    let sha1 = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &text);
    let mut bits = [0; 16];
    bits.iter_mut().zip(sha1.as_ref()).for_each(|(to, from)| *to = *from);
    let bits = u128::from_be_bytes(bits);
    bits & !(0xf000 << 64) & !(0xc000 << 48) | (5 << 76) | (0x8000 << 48)
}

/// Puts ids in the place of names in references, and finds those that lead nowhere and entities that are there twice.
fn resolve(flat: &mut [Flat], wrong: &mut Wrong) {
    let mut ids: HashSet<(Kind, String)> = HashSet::new();
    let mut names: HashMap<(Kind, String), String> = HashMap::new();
    for entity in flat.iter() {
        if !ids.insert((entity.kind, entity.id.clone())) {
            let why = format!(
                "uniqueness violation: '{}' entity with primary key set to '{}' already declared",
                entity.kind.plural(),
                entity.id
            );
            wrong.add(&entity.place, json!(why));
        }
        let name = entity.kind.endpoint_key().and_then(|key| entity.value.get(key)?.as_str());
        if let Some(name) = name {
            names.insert((entity.kind, name.to_owned()), entity.id.clone());
        }
    }
    for entity in flat.iter_mut() {
        for Reference { field, kind, .. } in entity.kind.parents() {
            let Some(value) = entity.value.get(*field).filter(|value| !value.is_null()) else { continue };
            let key = kind.endpoint_key().unwrap_or("id");
            let named = match value {
                Value::String(name) => Some(name.as_str()),
                Value::Object(members) => {
                    members.get("id").or_else(|| members.get(key)).and_then(Value::as_str)
                }
                _ => None,
            };
            let Some(named) = named else {
                wrong.add(&entity.place, json!({ *field: "expected a record" }));
                continue;
            };
            let by_its_id = ids.contains(&(*kind, named.to_owned())).then(|| named.to_owned());
            match by_its_id.or_else(|| names.get(&(*kind, named.to_owned())).cloned()) {
                Some(id) => {
                    entity.value.insert((*field).to_owned(), by_id(&id));
                }
                None => {
                    let named = crate::entities::excerpt(named);
                    let why =
                        format!("invalid foreign reference: {} '{named}' is not declared", kind.plural());
                    wrong.add(&entity.place, json!({ *field: why }));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_that_kong_gives() {
        // Computed by another implementation of RFC 9562.
        let members = Map::from_iter([("name".to_owned(), json!("example"))]);
        let id = generated_id(Kind::Service, &members, 0);
        assert_eq!(id, "89dd9e9d-3f98-5e11-ab72-c90b6c2d30a2");
        assert_eq!(id, generated_id(Kind::Service, &members, 9), "wherever it stands");
        assert_ne!(id, generated_id(Kind::Route, &members, 0));
    }

    #[test]
    fn what_is_wrong_stands_where_it_is_in_the_document() {
        let mut wrong = Wrong::default();
        wrong.add(&[("services", 1), ("routes", 0)], json!({"paths": "x"}));
        wrong.add(&[("services", 1)], json!({"host": "y"}));
        assert_eq!(
            wrong.into_fields(),
            json!({"services": [null, {"routes": [{"paths": "x"}], "host": "y"}]})
        );
    }
}
