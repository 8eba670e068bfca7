//! Declarative configuration: every entity at once, nested or flat, named by ids or by names.

mod deck;
mod flatten;
mod replace;

use serde_json::{Map, Value};

pub(crate) use flatten::stable_id;

use self::deck::Deck;
use crate::entities::Kind;

/// The formats that are read.
const VERSIONS: [&str; 3] = ["3.0", "2.1", "1.1"];

/// A declarative configuration as it was sent.
#[derive(Clone, Debug)]
pub(crate) struct Declaration {
    /// Its members, without those that begin with `_`.
    entities: Map<String, Value>,
    /// Whether passwords stand there in the clear.
    transform: bool,
    /// Whether errors are also told entity by entity.
    pub(crate) flatten_errors: bool,
    /// What decK's files say of all entities.
    deck: Deck,
}

impl Declaration {
    /// Reads the frame; the error is `fields` of the answer.
    pub(crate) fn read(document: Value, flatten_errors: bool) -> Result<Self, Value> {
        let Value::Object(members) = document else {
            return Err(Value::from("expected an object"));
        };
        let (mut entities, mut wrong) = (Map::new(), Map::new());
        let (mut version, mut transform, mut deck) = (None, true, Deck::default());
        for (name, value) in members {
            let mut complain = |why: &str| {
                wrong.insert(name.clone(), Value::from(why));
            };
            match (name.as_str(), value) {
                ("_format_version", Value::String(text)) => version = Some(text),
                ("_format_version", _) => complain("expected a string"),
                ("_transform", Value::Bool(on)) => transform = on,
                ("_transform", _) => complain("expected a boolean"),
                // What tools write for themselves.
                ("_comment" | "_ignore", _) | (_, Value::Null) => {}
                ("_info", info) => {
                    if let Err(what) = deck.read_info(info) {
                        wrong.insert(name.clone(), what);
                    }
                }
                ("_plugin_configs", Value::Object(configs)) => deck.configs = configs,
                ("_plugin_configs", _) => complain("expected a map"),
                ("_workspace", Value::String(text)) if text == "default" => {}
                ("_workspace", _) => complain("there is one workspace, `default`"),
                (_, value) if Kind::of_plural(&name).is_some() => {
                    entities.insert(name, value);
                }
                _ => complain("unknown field"),
            }
        }
        if !wrong.contains_key("_format_version") {
            match version.as_deref() {
                None => {
                    drop(wrong.insert("_format_version".to_owned(), Value::from("required field missing")))
                }
                Some(version) if VERSIONS.contains(&version) => {}
                Some(_) => drop(wrong.insert(
                    "_format_version".to_owned(),
                    Value::from("value must be one of: 1.1, 2.1, 3.0"),
                )),
            }
        }
        if !wrong.is_empty() {
            return Err(Value::Object(wrong));
        }
        let mut declaration = Self { entities, transform, flatten_errors, deck };
        if version.as_deref() != Some("3.0") {
            declaration.mark_patterns();
        }
        Ok(declaration)
    }

    /// Before 3.0, a path with anything but the letters of plain paths was a pattern.
    fn mark_patterns(&mut self) {
        let plain = |path: &str| {
            path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~/%:@!$&'()*+,;=".contains(&byte))
                && !path.bytes().any(|byte| b"*+()$".contains(&byte))
        };
        let mark = |route: &mut Value| {
            for path in route.get_mut("paths").and_then(Value::as_array_mut).into_iter().flatten() {
                if let Value::String(text) = path
                    && text.starts_with('/')
                    && !plain(text)
                {
                    text.insert(0, '~');
                }
            }
        };
        let list = |value: Option<&mut Value>, change: &dyn Fn(&mut Value)| {
            value.and_then(Value::as_array_mut).into_iter().flatten().for_each(change);
        };
        list(self.entities.get_mut("routes"), &mark);
        list(self.entities.get_mut("services"), &|service| list(service.get_mut("routes"), &mark));
    }
}
