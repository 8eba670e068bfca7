//! What a document said of its items beside what they are: their order, the versions that its sender gave them, and which
//! had no name of their own. It is kept apart from the resources, whose shape APISIX on the same store reads too.

use serde_json::{Map, Value, json};

/// The member in which a sender says which version of an item this is.
pub(crate) const MODIFIED: &str = "modifiedIndex";

/// What a resource is called in a document.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Naming {
    /// As it is stored.
    Own,
    /// A consumer that has its name also as `id`.
    Twice,
    /// It has none: its id is made of its place.
    Place,
}

/// One item of the last document.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Listed {
    /// As in the catalog.
    pub(crate) id: String,
    pub(crate) naming: Naming,
    /// Its version, as sent.
    pub(crate) modified: Option<i64>,
}

impl Listed {
    /// What is stored; the plain case, by far the most frequent, is the id alone.
    pub(crate) fn to_json(&self) -> Value {
        let naming = match self.naming {
            Naming::Own if self.modified.is_none() => return self.id.clone().into(),
            Naming::Own => None,
            Naming::Twice => Some("twice"),
            Naming::Place => Some("place"),
        };
        let mut out = Map::new();
        out.insert("id".to_owned(), json!(self.id));
        out.extend(naming.map(|naming| ("naming".to_owned(), json!(naming))));
        out.extend(self.modified.map(|modified| (MODIFIED.to_owned(), json!(modified))));
        Value::Object(out)
    }

    pub(crate) fn read(stored: &Value) -> Option<Self> {
        if let Some(id) = stored.as_str() {
            return Some(Self { id: id.to_owned(), naming: Naming::Own, modified: None });
        }
        let naming = match stored.get("naming").and_then(Value::as_str) {
            Some("twice") => Naming::Twice,
            Some("place") => Naming::Place,
            _ => Naming::Own,
        };
        let id = stored.get("id")?.as_str()?.to_owned();
        Some(Self { id, naming, modified: stored.get(MODIFIED).and_then(Value::as_i64) })
    }

    /// Puts a stored resource back into the shape in which it was sent.
    pub(crate) fn restore(&self, members: &mut Map<String, Value>) {
        match self.naming {
            Naming::Own => {}
            Naming::Twice => drop(members.insert("id".to_owned(), self.id.clone().into())),
            Naming::Place => drop(members.shift_remove("id")),
        }
        members.extend(self.modified.map(|modified| (MODIFIED.to_owned(), modified.into())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_of_an_item_is_kept() {
        for naming in [Naming::Own, Naming::Twice, Naming::Place] {
            for modified in [None, Some(-1), Some(7)] {
                let listed = Listed { id: "arr_1".to_owned(), naming, modified };
                assert_eq!(Listed::read(&listed.to_json()), Some(listed));
            }
        }
        assert_eq!(Listed::read(&json!({"id": 1})), None);
    }
}
