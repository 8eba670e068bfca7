//! The whole configuration in one document: a list for each kind, and a version of each list.

use std::collections::BTreeSet;

use base::UnixMillis;
use serde_json::{Map, Value, json};

use crate::{
    plugins::{CompileContext, Registry},
    references::references_in,
    resources::{Kind, declared_credential, id_text},
    schema::excerpt,
    writer::FOREIGN,
};

/// What follows a section's name where its version stands.
pub(crate) const VERSION: &str = "_conf_version";
/// Where what the last document left behind is stored.
pub(crate) const STATE_KEY: &str = "/portcullis/apisix/configs";

/// The names of all sections, in the order in which they are written.
pub(crate) fn sections() -> impl Iterator<Item = &'static str> {
    Kind::DECLARED.into_iter().map(Kind::plural).chain(FOREIGN)
}

/// One resource of a document.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) kind: Kind,
    /// As in the catalog.
    pub(crate) id: String,
    pub(crate) value: Value,
    /// Its place in its section.
    pub(crate) index: usize,
}

/// One list of a document.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) name: &'static str,
    /// As sent.
    pub(crate) version: Option<i64>,
    items: Vec<Value>,
}

/// A document whose outline is sound.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) sections: Vec<Section>,
}

impl Document {
    /// Reads the outline; the items are for [`Section::items`]. The error is what the client is told.
    pub(crate) fn read(sent: &Value) -> Result<Self, String> {
        let Some(sent) = sent.as_object() else {
            return Err("invalid request body: it is not an object".to_owned());
        };
        let mut sections = Vec::new();
        if let Some(problem) = outline(sent).into_iter().next() {
            return Err(problem.error);
        }
        for name in self::sections() {
            let version = sent.get(&format!("{name}{VERSION}")).and_then(Value::as_i64);
            sections.push(Section { name, version, items: list(sent.get(name)).to_vec() });
        }
        Ok(Self { sections })
    }
}

impl Document {
    /// References to secret managers in it.
    pub(crate) fn references(&self) -> BTreeSet<String> {
        self.sections.iter().flat_map(|section| &section.items).flat_map(references_in).collect()
    }

    /// A secret manager that it brings.
    pub(crate) fn manager(&self, name: &str) -> Option<Value> {
        let secrets = self.sections.iter().find(|section| section.name == Kind::Secret.plural())?;
        secrets.items.iter().find(|item| item.get("id").is_some_and(|id| id == name)).cloned()
    }
}

impl Section {
    /// The items, each checked by itself; the error is APISIX's for the first that is wrong.
    pub(crate) fn items(&self, registry: &Registry) -> Result<Vec<Item>, String> {
        let Some(kind) = Kind::of_plural(self.name) else { return Ok(Vec::new()) };
        let mut seen = BTreeSet::new();
        let mut items = Vec::with_capacity(self.items.len());
        for (index, sent) in self.items.iter().enumerate() {
            let item = item(kind, index, sent)
                .and_then(|item| check(registry, &item).map(|()| item))
                .map_err(|error| at(self.name, index, &error))?;
            if let Some(error) = duplicate(kind, sent, &mut seen) {
                return Err(error);
            }
            items.push(item);
        }
        Ok(items)
    }
}

/// Something wrong with a document.
#[derive(Debug)]
pub(crate) struct Problem {
    resource_type: String,
    resource_id: Option<String>,
    index: Option<usize>,
    error: String,
}

impl Problem {
    /// As ADC reads it.
    pub(crate) fn to_json(&self) -> Value {
        let mut out = Map::new();
        out.insert("resource_type".to_owned(), json!(self.resource_type));
        if let Some(id) = &self.resource_id {
            out.insert("resource_id".to_owned(), json!(id));
        }
        if let Some(index) = self.index {
            out.insert("index".to_owned(), json!(index));
        }
        out.insert("error".to_owned(), json!(self.error));
        Value::Object(out)
    }
}

/// Everything wrong with a document. References between resources are not looked at, nor those to values that are kept
/// elsewhere: what they lead to may come later.
pub(crate) fn problems(registry: &Registry, sent: &Map<String, Value>) -> Vec<Problem> {
    let registry = registry.lenient();
    let mut problems = outline(sent);
    for kind in Kind::DECLARED {
        let section = kind.plural();
        let mut seen = BTreeSet::new();
        for (index, sent) in list(sent.get(section)).iter().enumerate() {
            let mut found = |error: String| {
                let resource_id = name_of(kind, sent).map(|(_, name)| excerpt(&name));
                problems.push(Problem {
                    resource_type: section.to_owned(),
                    resource_id,
                    index: Some(index),
                    error,
                });
            };
            if let Err(error) = item(kind, index, sent).and_then(|item| check(&registry, &item)) {
                found(at(section, index, &error));
            }
            if let Some(error) = duplicate(kind, sent, &mut seen) {
                found(error);
            }
        }
    }
    problems
}

/// What is wrong with the names of a document's members, and with the type of what they hold.
fn outline(sent: &Map<String, Value>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, value) in sent {
        let section = name.strip_suffix(VERSION).unwrap_or(name);
        let known = sections().any(|known| known == section);
        let foreign = FOREIGN.contains(&section);
        let error = if !known {
            let all: Vec<_> = sections().collect();
            Some(format!("unknown section `{}`; known are {}", excerpt(name), all.join(", ")))
        } else if name.ends_with(VERSION) {
            (!value.is_i64()).then(|| format!("{name} must be a number"))
        } else if !is_list(value) {
            Some(format!("{name} must be a list"))
        } else {
            (foreign && !list(Some(value)).is_empty())
                .then(|| format!("{name} are not implemented in this build"))
        };
        problems.extend(error.map(|error| Problem {
            resource_type: excerpt(section),
            resource_id: None,
            index: None,
            error,
        }));
    }
    problems
}

/// An empty table of Lua is written as an object.
fn is_list(value: &Value) -> bool {
    value.is_array() || value.is_null() || value.as_object().is_some_and(Map::is_empty)
}

fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn at(section: &str, index: usize, error: &str) -> String {
    format!("invalid {section} at index {index}, err: {error}")
}

/// What a resource is called in a document, and the word for that.
fn name_of(kind: Kind, sent: &Value) -> Option<(&'static str, String)> {
    let id = sent.get("id").and_then(id_text).map(|id| ("id", id));
    let username = || Some(("username", sent.get("username")?.as_str()?.to_owned()));
    if kind == Kind::Consumer { id.or_else(username) } else { id }
}

fn duplicate(kind: Kind, sent: &Value, seen: &mut BTreeSet<String>) -> Option<String> {
    let (word, name) = name_of(kind, sent)?;
    let text = format!("found duplicate {word} {} in {}", excerpt(&name), kind.plural());
    (!seen.insert(name)).then_some(text)
}

/// A resource as it would be stored, from one of the items of its section.
fn item(kind: Kind, index: usize, sent: &Value) -> Result<Item, String> {
    let mut value = sent.clone();
    let members = value.as_object_mut().ok_or("it is not an object")?;
    // The version that the sender gave to this item: it says when it changed, which the content says as well.
    if members.get("modifiedIndex").is_some_and(Value::is_number) {
        members.shift_remove("modifiedIndex");
    }
    let id = members.get("id").and_then(id_text);
    let credential = id.as_deref().filter(|_| kind == Kind::Consumer).and_then(declared_credential);
    if let Some((consumer, own)) = credential {
        let whole = format!("{consumer}/{own}");
        members.insert("id".to_owned(), own.into());
        return Ok(Item { kind: Kind::Credential, id: whole, value, index });
    }
    if kind == Kind::Consumer {
        // A consumer's id is its name, whichever of both is written.
        let username = members.get("username").and_then(Value::as_str).map(str::to_owned);
        if id.as_ref().is_some_and(|id| Some(id) == username.as_ref()) {
            members.shift_remove("id");
        }
        let id = kind.declared_id(&value).ok_or("property \"username\" is required")?;
        return Ok(Item { kind, id, value, index });
    }
    let id =
        kind.declared_id(&value).ok_or("property \"id\" is required: letters, digits, `-`, `_` and `.`")?;
    Ok(Item { kind, id, value, index })
}

/// Whether a resource is sound by itself.
fn check(registry: &Registry, item: &Item) -> Result<(), String> {
    item.kind.check(registry, &item.value)?;
    if matches!(item.kind, Kind::Consumer | Kind::Credential) {
        return Ok(());
    }
    let plugins = item.value.get("plugins").and_then(Value::as_object);
    let resource = item.kind.name(&item.id);
    for (name, conf) in plugins.into_iter().flatten() {
        let prepared = registry.prepare(name, conf)?;
        if !prepared.disabled {
            prepared.compile(&CompileContext { resource: &resource })?;
        }
    }
    Ok(())
}

/// What the last document left behind.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct State {
    /// Its digest, and when it came, in seconds since 1970.
    last: Option<(String, i64)>,
    versions: Map<String, Value>,
    /// Stands for the resources as they were after it: other writes make it differ.
    pub(crate) resources: String,
}

impl State {
    /// What is stored; nothing that can be read is no document.
    pub(crate) fn read(stored: &[u8]) -> Self {
        let Ok(stored) = serde_json::from_slice::<Value>(stored) else { return Self::default() };
        let text = |name: &str| stored.get(name).and_then(Value::as_str).map(str::to_owned);
        Self {
            last: text("digest").zip(stored.get("last_modified").and_then(Value::as_i64)),
            versions: stored.get("versions").and_then(Value::as_object).cloned().unwrap_or_default(),
            resources: text("resources").unwrap_or_default(),
        }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let (digest, modified) = self.last.clone().unwrap_or_default();
        json!({
            "digest": digest,
            "last_modified": modified,
            "versions": self.versions,
            "resources": self.resources,
        })
        .to_string()
        .into_bytes()
    }

    /// Digest and time of the last document.
    pub(crate) fn last(&self) -> Option<(&str, i64)> {
        self.last.as_ref().map(|(digest, modified)| (digest.as_str(), *modified))
    }

    /// The version of a section; 0 before the first document.
    pub(crate) fn version(&self, section: &str) -> i64 {
        self.versions.get(section).and_then(Value::as_i64).unwrap_or(0)
    }

    /// Whether a section of `version` replaces the one that is there; an older one is an error.
    pub(crate) fn replaces(&self, section: &Section) -> Result<bool, String> {
        let known = self.version(section.name);
        match section.version {
            Some(version) if version < known => {
                Err(format!("{}{VERSION} must be greater than or equal to ({known})", section.name))
            }
            Some(version) => Ok(version > known),
            None => Ok(true),
        }
    }

    /// What stands after `document`.
    pub(crate) fn after(&self, document: &Document, digest: &str, now: UnixMillis) -> Self {
        let version = |section: &Section| section.version.unwrap_or_else(|| self.version(section.name) + 1);
        let versions = document
            .sections
            .iter()
            .map(|section| (section.name.to_owned(), version(section).into()))
            .collect();
        Self { last: Some((digest.to_owned(), now.secs())), versions, resources: String::new() }
    }
}
