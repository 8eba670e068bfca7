use std::{collections::HashMap, sync::Arc};

use http::StatusCode;
use serde_json::{Map, Value, json};
use store::{Condition, Operation};

use super::{
    Declaration,
    flatten::{Flat, Wrong},
};
use crate::{
    answer::Answer,
    catalog::{Catalog, Entity, View},
    change::{Changes, Context, Transaction, generate, hash_password, mark_key, stamp},
    entities::{self, Kind},
};

/// An entity that is to be there afterwards, in the clear.
struct Wanted {
    flat: Flat,
    value: Value,
}

impl Context<'_> {
    /// Judges a declarative configuration: afterwards there is what it says and nothing else.
    pub(crate) fn replace(&mut self, declaration: &Declaration) -> Result<Transaction, Answer> {
        let flat = match declaration.flatten() {
            Ok(flat) => flat,
            Err(wrong) => return Err(Answer::invalid_declaration(wrong.into_fields())),
        };
        let mut wrong = Wrong::default();
        let mut blamed = Vec::new();
        let mut wanted = Vec::with_capacity(flat.len());
        for flat in flat {
            match self.wanted(&flat, declaration.transform) {
                Ok(value) => wanted.push(Wanted { flat, value }),
                Err(fields) => {
                    wrong.add(&flat.place, fields.clone());
                    blamed.push((flat, fields));
                }
            }
        }
        if wrong.is_empty() {
            demand_unique(&wanted, &mut wrong);
        }
        if wrong.is_empty() {
            self.try_compile_all(&wanted, &mut wrong, &mut blamed);
        }
        if !wrong.is_empty() {
            let mut answer = Answer::invalid_declaration(wrong.into_fields());
            if declaration.flatten_errors {
                let flattened = blamed.iter().map(|(flat, fields)| flattened(flat, fields));
                let flattened: Value = flattened.collect();
                if let Value::Object(body) = &mut answer.body {
                    body.insert("flattened_errors".to_owned(), flattened);
                }
            }
            return Err(answer);
        }
        Ok(self.changes(wanted))
    }

    /// An entity as it is to be, or what is wrong with its fields.
    fn wanted(&self, flat: &Flat, transform: bool) -> Result<Value, Value> {
        let kind = flat.kind;
        let mut value = flat.value.clone();
        let fields = |violations: crate::schema::Violations| Value::Object(violations.into_fields());
        if kind == Kind::Plugin
            && let Some(name) = value.get("name").and_then(Value::as_str)
        {
            self.registry.demand(name).map_err(fields)?;
        }
        entities::expand(kind, &mut value).map_err(fields)?;
        let name = value.get("name").and_then(Value::as_str).map(str::to_owned);
        self.registry.expand(kind, name.as_deref(), &mut value);
        let old = self.stored(kind, &flat.id);
        stamp(kind, self.clock, &mut value, old.as_ref().and_then(|old| old.get("created_at")));
        let schema = self.registry.schema(kind, &value);
        let mut value = schema.complete(value);
        // What was made up once stays: the same document twice is the same configuration.
        for field in entities::generated(kind) {
            let kept = old.as_ref().and_then(|old| old.get(*field)).cloned();
            if value.get(*field).is_none_or(Value::is_null)
                && let Some(kept) = kept
            {
                value.insert((*field).to_owned(), kept);
            }
        }
        generate(self.registry, self.random, kind, &mut value, old.as_ref());
        schema.check(&value).map_err(fields)?;
        if kind == Kind::BasicAuth && transform {
            hash_password(&mut value);
        }
        if let Some(old) = old.filter(|old| is_same(old, &value)) {
            return Ok(Value::Object(old));
        }
        Ok(Value::Object(value))
    }

    /// What is stored, in the clear.
    fn stored(&self, kind: Kind, id: &str) -> Option<Map<String, Value>> {
        let mut value = self.catalog.find(kind, id)?.value.as_object()?.clone();
        self.sealer.open(self.registry, kind, id, &mut value).ok()?;
        Some(value)
    }

    /// Compiles everything as it would be.
    fn try_compile_all(&mut self, wanted: &[Wanted], wrong: &mut Wrong, blamed: &mut Vec<(Flat, Value)>) {
        let mut next = Catalog::at(self.catalog.revision);
        for Wanted { flat, value } in wanted {
            let created = self.catalog.find(flat.kind, &flat.id).map_or(next.revision + 1, |old| old.created);
            let (kind, id, modified) = (flat.kind, flat.id.clone(), next.revision);
            next.put(Entity { kind, id, value: value.clone(), created, modified });
        }
        let mut pass = self.compiler.pass(View::of(&next));
        for Wanted { flat, .. } in wanted {
            let entity = |reason: String| json!({"@entity": [reason]});
            let fields = match flat.kind {
                Kind::Route => pass.route(&flat.id).err().map(|broken| entity(broken.reason)),
                Kind::Certificate => pass.certificate(&flat.id).err().map(entity),
                Kind::Consumer => pass
                    .member(&flat.id)
                    .and_then(|member| member.broken.into_iter().next())
                    .map(|(_, reason)| entity(reason)),
                kind => pass
                    .try_entity(kind, &flat.id)
                    .err()
                    .map(|violations| Value::Object(violations.into_fields())),
            };
            if let Some(fields) = fields {
                wrong.add(&flat.place, fields.clone());
                blamed.push((flat.clone(), fields));
            }
        }
    }

    fn changes(&self, wanted: Vec<Wanted>) -> Transaction {
        let mut changes = Changes::default();
        let mut by_kind: HashMap<Kind, HashMap<&str, &Value>> = HashMap::new();
        for Wanted { flat, value } in &wanted {
            by_kind.entry(flat.kind).or_default().insert(&flat.id, value);
        }
        for kind in Kind::ALL {
            let wanted = by_kind.get(&kind);
            let gone = self
                .catalog
                .list(kind)
                .filter(|old| wanted.is_none_or(|wanted| !wanted.contains_key(old.id.as_str())));
            for old in gone {
                changes.delete(old);
                changes.operations.push(Operation::Delete { key: mark_key(kind, &old.id) });
            }
        }
        for kind in Kind::ALL {
            for (id, value) in by_kind.get(&kind).into_iter().flatten() {
                let existing = self.catalog.find(kind, id).map(Arc::as_ref);
                let same = existing.is_some_and(|old| {
                    let stored = self.stored(kind, &old.id);
                    stored.is_some_and(|stored| Some(&stored) == value.as_object())
                });
                if !same {
                    changes.put(self.registry, self.sealer, kind, id, value, existing);
                }
            }
        }
        // What one entity gives up another may take in the same transaction: its own condition watches over it.
        let taken = |condition: &Condition| match condition {
            Condition::Absent(key) => self.catalog.holder(key).is_some(),
            _ => false,
        };
        changes.conditions.retain(|condition| !taken(condition));
        Transaction { changes, answer: Answer::new(StatusCode::CREATED, shown(&wanted)) }
    }
}

/// Whether nothing but the time of the write differs.
fn is_same(old: &Map<String, Value>, new: &Map<String, Value>) -> bool {
    let without = |value: &Map<String, Value>| {
        let mut value = value.clone();
        value.shift_remove("updated_at");
        value
    };
    without(old) == without(new)
}

fn demand_unique(wanted: &[Wanted], wrong: &mut Wrong) {
    let mut holders: HashMap<String, ()> = HashMap::new();
    for Wanted { flat, value } in wanted {
        for (key, fields) in flat.kind.unique_keys(value) {
            if holders.insert(key, ()).is_some() {
                let named: Vec<String> = fields.keys().cloned().collect();
                let why = format!(
                    "uniqueness violation: '{}' entity with {} set to '{}' already declared",
                    flat.kind.plural(),
                    named.join(", "),
                    fields.values().map(entities::lua_value).collect::<Vec<_>>().join(", ").replace('"', "")
                );
                wrong.add(&flat.place, json!(why));
            }
        }
    }
}

/// `{services: {id: …}}`
fn shown(wanted: &[Wanted]) -> Value {
    let mut out = Map::new();
    for Wanted { flat, value } in wanted {
        let of_kind = out.entry(flat.kind.plural()).or_insert_with(|| json!({}));
        if let Value::Object(of_kind) = of_kind {
            of_kind.insert(flat.id.clone(), value.clone());
        }
    }
    Value::Object(out)
}

/// What is wrong with one entity, as tools that reconcile want it.
fn flattened(flat: &Flat, fields: &Value) -> Value {
    let mut errors = Vec::new();
    flatten("", fields, &mut errors);
    let mut out = json!({
        "entity_type": flat.kind.plural().strip_suffix('s').unwrap_or(flat.kind.plural()),
        "entity_id": flat.id,
        "entity": flat.value,
        "errors": errors,
    });
    for (member, field) in
        [("entity_name", flat.kind.endpoint_key().unwrap_or("name")), ("entity_tags", "tags")]
    {
        if let Some(found) = flat.value.get(field).filter(|found| !found.is_null()) {
            entities::set(&mut out, member, found.clone());
        }
    }
    out
}

fn flatten(path: &str, what: &Value, out: &mut Vec<Value>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match what {
        Value::Object(members) => {
            for (name, inner) in members {
                if name == "@entity" {
                    for message in inner.as_array().into_iter().flatten() {
                        out.push(json!({"type": "entity", "message": message}));
                    }
                } else {
                    flatten(&below(name), inner, out);
                }
            }
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, item)| flatten(&below(&(at + 1).to_string()), item, out));
        }
        Value::String(message) => out.push(json!({"type": "field", "field": path, "message": message})),
        _ => {}
    }
}
