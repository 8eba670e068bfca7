//! The whole configuration in one document: a list for each kind, and a version of each list.

use std::collections::{BTreeMap, BTreeSet};

use base::UnixMillis;
use serde_json::{Map, Value, json};

use crate::{
    listed::{Listed, MODIFIED, Naming},
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
    pub(crate) value: Value,
    /// Its id, and what else the document says of it.
    pub(crate) listed: Listed,
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
            if let Some(error) = duplicate(kind, index, sent, &mut seen) {
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
            if let Some(error) = duplicate(kind, index, sent, &mut seen) {
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
    let id = sent.get("id").and_then(id_text);
    if kind != Kind::Consumer {
        return id.map(|id| ("id", id));
    }
    let username = || Some(("username", sent.get("username")?.as_str()?.to_owned()));
    id.map(|id| ("credential id", id)).or_else(username)
}

fn duplicate(kind: Kind, index: usize, sent: &Value, seen: &mut BTreeSet<String>) -> Option<String> {
    let (word, name) = name_of(kind, sent).unwrap_or_else(|| ("id", place(index)));
    let text = format!("found duplicate {word} {} in {}", excerpt(&name), kind.plural());
    (!seen.insert(name)).then_some(text)
}

/// The id of an item that has none, as APISIX makes it: from 1 on.
fn place(index: usize) -> String {
    format!("arr_{}", index.saturating_add(1))
}

/// A resource as it would be stored, from one of the items of its section.
fn item(kind: Kind, index: usize, sent: &Value) -> Result<Item, String> {
    let mut value = sent.clone();
    let members = value.as_object_mut().ok_or("it is not an object")?;
    let modified = match members.shift_remove(MODIFIED) {
        None => None,
        Some(modified) => Some(modified.as_i64().ok_or_else(|| {
            format!("invalid configuration: property \"{MODIFIED}\" validation failed: it must be an integer")
        })?),
    };
    let item = |kind: Kind, value: Value, id: String, naming: Naming| Item {
        kind,
        value,
        listed: Listed { id, naming, modified },
        index,
    };
    let id = members.get("id").and_then(id_text);
    if kind == Kind::Consumer {
        if let Some((consumer, own)) = id.as_deref().and_then(declared_credential) {
            let whole = format!("{consumer}/{own}");
            members.insert("id".to_owned(), own.into());
            return Ok(item(Kind::Credential, value, whole, Naming::Own));
        }
        // A consumer's id is its name, whichever of both is written.
        let username = members.get("username").and_then(Value::as_str);
        let twice = id.is_some() && id.as_deref() == username;
        if twice {
            members.shift_remove("id");
        }
        let id = kind.declared_id(&value).ok_or("property \"username\" is required")?;
        return Ok(item(kind, value, id, if twice { Naming::Twice } else { Naming::Own }));
    }
    if members.contains_key("id") {
        let id = kind.declared_id(&value).ok_or_else(|| match kind {
            Kind::Secret => format!("invalid secret id: {}", excerpt(&id.unwrap_or_default())),
            _ => "property \"id\" validation failed: 1 to 64 letters, digits, `-`, `_` and `.`".to_owned(),
        })?;
        return Ok(item(kind, value, id, Naming::Own));
    }
    match kind {
        // These are nothing without their names.
        Kind::Secret => Err("invalid secret id: nil".to_owned()),
        Kind::PluginMetadata => Err("missing plugin name".to_owned()),
        _ => {
            let id = place(index);
            members.insert("id".to_owned(), id.clone().into());
            Ok(item(kind, value, id, Naming::Place))
        }
    }
}

/// Whether a resource is sound by itself.
fn check(registry: &Registry, item: &Item) -> Result<(), String> {
    item.kind.check(registry, &item.value)?;
    if matches!(item.kind, Kind::Consumer | Kind::Credential) {
        return Ok(());
    }
    let plugins = item.value.get("plugins").and_then(Value::as_object);
    let resource = item.kind.name(&item.listed.id);
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
    /// Its items by section, in their order.
    listed: BTreeMap<String, Vec<Listed>>,
    /// Stands for the resources as they were after it: other writes make it differ.
    pub(crate) resources: String,
}

impl State {
    /// What is stored; nothing that can be read is no document.
    pub(crate) fn read(stored: &[u8]) -> Self {
        let Ok(stored) = serde_json::from_slice::<Value>(stored) else { return Self::default() };
        let text = |name: &str| stored.get(name).and_then(Value::as_str).map(str::to_owned);
        let sections = stored.get("items").and_then(Value::as_object).into_iter().flatten();
        Self {
            last: text("digest").zip(stored.get("last_modified").and_then(Value::as_i64)),
            versions: stored.get("versions").and_then(Value::as_object).cloned().unwrap_or_default(),
            listed: sections
                .map(|(name, items)| {
                    (name.clone(), list(Some(items)).iter().filter_map(Listed::read).collect())
                })
                .collect(),
            resources: text("resources").unwrap_or_default(),
        }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let (digest, modified) = self.last.clone().unwrap_or_default();
        let items: Map<String, Value> = self
            .listed
            .iter()
            .map(|(name, items)| (name.clone(), items.iter().map(Listed::to_json).collect()))
            .collect();
        json!({
            "digest": digest,
            "last_modified": modified,
            "versions": self.versions,
            "items": items,
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

    /// The items of a section, as they were sent last.
    pub(crate) fn listed(&self, section: &str) -> &[Listed] {
        self.listed.get(section).map(Vec::as_slice).unwrap_or_default()
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

    /// What stands after `document`, whose items are `listed`.
    pub(crate) fn after(
        &self,
        document: &Document,
        listed: BTreeMap<String, Vec<Listed>>,
        digest: &str,
        now: UnixMillis,
    ) -> Self {
        let version = |section: &Section| {
            section.version.unwrap_or_else(|| self.version(section.name).saturating_add(1))
        };
        let versions = document
            .sections
            .iter()
            .map(|section| (section.name.to_owned(), version(section).into()))
            .collect();
        Self { last: Some((digest.to_owned(), now.secs())), versions, listed, resources: String::new() }
    }
}
