//! Edits of a list of names and values: headers, arguments, members of a form.

use expr::Variables;
use gateway::error::ConfigError;

use crate::text::Text;

/// One change to a list of names and values.
#[derive(Clone, Debug)]
pub enum Edit {
    /// Takes all of this name out.
    Remove(String),
    /// Gives all of the first name the second.
    Rename(String, String),
    /// Puts one in the place of all of this name, where there is any.
    Replace(String, Text),
    /// Puts one in the place of all of this name.
    Set(String, Text),
    /// Puts one there where there is none.
    Add(String, Text),
    /// Puts one more there.
    Append(String, Text),
}

impl Edit {
    /// What it says; nothing for those that say nothing.
    pub(super) fn text(&self) -> Option<&Text> {
        match self {
            Self::Remove(_) | Self::Rename(..) => None,
            Self::Replace(_, text) | Self::Set(_, text) | Self::Add(_, text) | Self::Append(_, text) => {
                Some(text)
            }
        }
    }
}

/// The filled text of an edit.
pub(super) type QueryValue = String;

/// Edits of a query or of a form.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<Edit>);

impl Query {
    pub(super) fn compile(edits: Vec<Edit>) -> Result<Self, ConfigError> {
        for edit in &edits {
            let (Edit::Remove(name)
            | Edit::Rename(name, _)
            | Edit::Replace(name, _)
            | Edit::Set(name, _)
            | Edit::Add(name, _)
            | Edit::Append(name, _)) = edit;
            if name.is_empty() {
                return Err(ConfigError::new("query", "a name is empty"));
            }
        }
        Ok(Self(edits))
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The texts of the edits, in their order.
    pub(super) fn fill(&self, variables: &dyn Variables) -> Vec<QueryValue> {
        let text = |edit: &Edit| edit.text().map(|text| text.fill(variables, None)).unwrap_or_default();
        self.0.iter().map(text).collect()
    }

    /// The edited list; `None` when nothing is left of it. Arguments that no edit names keep their bytes.
    pub(super) fn apply(&self, query: Option<&str>, values: &[QueryValue]) -> Option<String> {
        let mut pairs: Vec<(String, String)> = query
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| (decoded_name(pair), pair.to_owned()))
            .collect();
        for (edit, value) in self.0.iter().zip(values) {
            edit_pairs(&mut pairs, edit, value);
        }
        let kept: Vec<String> = pairs.into_iter().map(|(_, written)| written).collect();
        (!kept.is_empty()).then(|| kept.join("&"))
    }
}

fn edit_pairs(pairs: &mut Vec<(String, String)>, edit: &Edit, value: &str) {
    let holds = |pairs: &[(String, String)], name: &str| pairs.iter().any(|(own, _)| own == name);
    match edit {
        Edit::Remove(name) => pairs.retain(|(own, _)| own != name),
        Edit::Rename(from, to) => {
            if holds(pairs, from) && from != to {
                pairs.retain(|(own, _)| own != to);
                for (own, written) in pairs.iter_mut().filter(|(own, _)| own == from) {
                    let rest = written.split_once('=').map(|(_, value)| value.to_owned());
                    *own = to.clone();
                    *written = encoded(to);
                    if let Some(rest) = rest {
                        written.push('=');
                        written.push_str(&rest);
                    }
                }
            }
        }
        Edit::Replace(name, _) if !holds(pairs, name) => {}
        Edit::Add(name, _) if holds(pairs, name) => {}
        Edit::Replace(name, _) | Edit::Set(name, _) | Edit::Add(name, _) => {
            let place = pairs.iter().position(|(own, _)| own == name).unwrap_or(pairs.len());
            pairs.retain(|(own, _)| own != name);
            pairs.insert(place.min(pairs.len()), written(name, value));
        }
        Edit::Append(name, _) => pairs.push(written(name, value)),
    }
}

fn written(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), format!("{}={}", encoded(name), encoded(value)))
}

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn decoded_name(pair: &str) -> String {
    let name = pair.split_once('=').map_or(pair, |(name, _)| name);
    form_urlencoded::parse(name.as_bytes()).next().map(|(name, _)| name.into_owned()).unwrap_or_default()
}
