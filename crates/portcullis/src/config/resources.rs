//! Routes, services, upstreams and certificates declared in the file, in the words of the APISIX dialect. What they
//! mean, and whether they are sound, is the dialect's to say.

use std::collections::HashSet;

use apisix::Kind;
use serde_json::{Map, Value};

use super::{
    section::{Findings, Section},
    tree::{self, Mark, Node, Problem},
};

/// One resource.
#[derive(Debug)]
pub(crate) struct Declared {
    pub(crate) kind: Kind,
    id: String,
    /// As the Admin API takes it, `id` included.
    pub(crate) value: Value,
    mark: Mark,
}

impl Declared {
    /// What is wrong with it, and where it stands.
    pub(super) fn problem(&self, reason: &str) -> Problem {
        tree::problem(self.mark, format!("`resources`: {}/{}: {reason}", self.kind.plural(), self.id))
    }
}

/// The section `resources`: what is referred to before what refers to it.
pub(super) fn read(top: &Section<'_>, findings: &mut Findings) -> Option<Vec<Declared>> {
    let kinds = Kind::DECLARED.map(Kind::plural);
    let section = top.section("resources", &kinds, findings)?;
    let mut resources = Vec::new();
    let mut seen = HashSet::new();
    for kind in Kind::DECLARED {
        for (index, item) in section.items(kind.plural(), findings).iter().enumerate() {
            let path = format!("resources.{}[{index}]", kind.plural());
            let value = json(item);
            let Some(id) = kind.declared_id(&value) else {
                let (member, expected) = match kind {
                    Kind::Consumer => ("username", "letters, digits, `-` and `_`, 256 at most"),
                    _ => ("id", "letters, digits, `-`, `_` and `.`, 64 at most"),
                };
                findings.add(item.mark, format!("`{path}.{member}` must be there: {expected}"));
                continue;
            };
            if !seen.insert((kind, id.clone())) {
                findings.add(item.mark, format!("`{path}.id` is taken by another of the {}", kind.plural()));
            }
            resources.push(Declared { kind, id, value, mark: item.mark });
        }
    }
    Some(resources)
}

/// YAML as the JSON that the Admin API takes: plain words are typed as in YAML's core schema, quoted ones are texts.
fn json(node: &Node) -> Value {
    match &node.kind {
        tree::Kind::Null => Value::Null,
        tree::Kind::Text { text, plain: false } => Value::from(text.expose().as_str()),
        tree::Kind::Text { text, plain: true } => apisix::typed(text.expose()),
        tree::Kind::Sequence(items) => items.iter().map(json).collect(),
        tree::Kind::Mapping(entries) => {
            let entries = entries.iter().map(|entry| (entry.key.clone(), json(&entry.value)));
            entries.collect::<Map<_, _>>().into()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn plain_words_are_typed_and_quoted_ones_are_texts() {
        let node = tree::parse("a: [1, -2, 1.5, true, '1', \"true\", x, 1.2.3, ~, inf, e, '']\n", &|_| None)
            .unwrap();
        assert_eq!(
            json(&node),
            json!({"a": [1, -2, 1.5, true, "1", "true", "x", "1.2.3", null, "inf", "e", ""]})
        );
    }
}
