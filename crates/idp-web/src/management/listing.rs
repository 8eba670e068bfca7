//! Lists: which part of one is asked for, and the three shapes in which it is answered.

use std::collections::BTreeSet;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use idp::{management::ManagementError, repository::Page};
use serde_json::{Map, Value, json};

/// Things on a page when the caller does not say.
const DEFAULT_PAGE: u32 = 50;
/// Things on a page at most.
const MAX_PAGE: u32 = 100;
/// Pages by offset end here; beyond it checkpoints do.
const MAX_PAGE_NUMBER: u32 = 100_000;

/// Filters that are lists.
const LISTS: [&str; 2] = ["identifiers", "strategy"];

/// The query of a list, or of a single thing: paging and the choice of members.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listing {
    parameters: Vec<(String, String)>,
    shape: Shape,
    fields: Option<Fields>,
}

/// The shape of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Shape {
    /// A bare array.
    Array { page: u32, per_page: u32 },
    /// `{KEY: […], start, limit, total}`.
    Totals { page: u32, per_page: u32 },
    /// `{KEY: […], next}`, where `next` is absent on the last page.
    Checkpoint { from: u64, take: u32 },
}

#[derive(Clone, Debug)]
struct Fields {
    names: BTreeSet<String>,
    include: bool,
}

impl Default for Shape {
    fn default() -> Self {
        Self::Array { page: 0, per_page: DEFAULT_PAGE }
    }
}

impl Listing {
    /// Reads a query: paging, `fields`, `include_fields`, and the parameters in `filters`. All others are refused.
    pub(crate) fn parse(query: Option<&str>, filters: &[&str]) -> Result<Self, ManagementError> {
        const OWN: [&str; 7] =
            ["page", "per_page", "include_totals", "from", "take", "fields", "include_fields"];
        let query = query.unwrap_or_default();
        // Lists come as one parameter for each of their items; everything else comes once.
        let is_item = |piece: &&str| LISTS.contains(&piece.split('=').next().unwrap_or_default());
        let (items, others): (Vec<&str>, Vec<&str>) = query.split('&').partition(is_item);
        if items.len() > oauth::form::MAX_PARAMS {
            return Err(refused("there are too many parameters", None));
        }
        let mut listing = Self::default();
        for part in items.into_iter().chain([others.join("&").as_str()]) {
            let params =
                oauth::form::parse(part.as_bytes()).map_err(|error| refused(&error.to_string(), None))?;
            for (name, value) in params.iter() {
                if !OWN.contains(&name) && !filters.contains(&name) {
                    let shown: String = name.chars().take(64).collect();
                    return Err(refused(&format!("Additional properties not allowed: {shown}"), None));
                }
                if value.contains('\0') {
                    return Err(parameter("String has control characters in it", name));
                }
                listing.parameters.push((name.to_owned(), value.to_owned()));
            }
        }
        listing.shape = listing.read_shape()?;
        listing.fields = listing.read_fields()?;
        Ok(listing)
    }

    fn read_shape(&self) -> Result<Shape, ManagementError> {
        // Some SDKs send take and include_totals together and expect the checkpoint shape.
        if self.filter("take").is_some() || self.filter("from").is_some() {
            let take = self.number("take", DEFAULT_PAGE, 1, MAX_PAGE)?;
            let from = self.filter("from").map_or(Ok(0), checkpoint)?;
            return Ok(Shape::Checkpoint { from, take });
        }
        let page = self.number("page", 0, 0, MAX_PAGE_NUMBER)?;
        let per_page = self.number("per_page", DEFAULT_PAGE, 0, MAX_PAGE)?;
        let totals = self.flag("include_totals")?.unwrap_or(false);
        Ok(if totals { Shape::Totals { page, per_page } } else { Shape::Array { page, per_page } })
    }

    fn read_fields(&self) -> Result<Option<Fields>, ManagementError> {
        let include = self.flag("include_fields")?.unwrap_or(true);
        let Some(names) = self.filter("fields").filter(|names| !names.is_empty()) else { return Ok(None) };
        let names = names.split(',').map(|name| name.trim().to_owned()).collect();
        Ok(Some(Fields { names, include }))
    }

    /// The same part in the checkpoint shape.
    pub(crate) fn by_checkpoint(mut self) -> Self {
        let take = u32::try_from(self.limit()).unwrap_or(DEFAULT_PAGE);
        self.shape = Shape::Checkpoint { from: self.offset(), take };
        self
    }

    /// Whether that is how the caller wants to go through it.
    pub(crate) fn is_by_checkpoint(&self) -> bool {
        matches!(self.shape, Shape::Checkpoint { .. })
    }

    /// The value of a filter.
    pub(crate) fn filter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
    }

    /// Whether `value` is among those that a list asks for; any is where it asks for none.
    pub(crate) fn admits(&self, name: &str, value: &str) -> bool {
        let mut wanted = self.parameters.iter().filter(|(have, _)| have == name).peekable();
        wanted.peek().is_none() || wanted.any(|(_, wanted)| wanted == value)
    }

    /// The value of a filter that is true or false.
    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, ManagementError> {
        match self.filter(name) {
            None => Ok(None),
            Some("true" | "1") => Ok(Some(true)),
            Some("false" | "0") => Ok(Some(false)),
            Some(_) => Err(parameter("Expected type boolean", name)),
        }
    }

    fn number(&self, name: &str, default: u32, min: u32, max: u32) -> Result<u32, ManagementError> {
        let Some(text) = self.filter(name) else { return Ok(default) };
        let number = Some(text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        number
            .and_then(|text| text.parse().ok())
            .filter(|number| (min..=max).contains(number))
            .ok_or_else(|| parameter(format!("Value must be a whole number between {min} and {max}"), name))
    }

    /// The part asked for, as repositories take it.
    pub(crate) fn page(&self) -> Page {
        let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX >> 1).min(u32::MAX >> 1);
        Page { offset: narrow(self.offset()), limit: narrow(self.limit()) }
    }

    /// How many things come before the first one asked for.
    pub(crate) fn offset(&self) -> u64 {
        match self.shape {
            Shape::Array { page, per_page } | Shape::Totals { page, per_page } => {
                u64::from(page) * u64::from(per_page)
            }
            Shape::Checkpoint { from, .. } => from,
        }
    }

    /// How many things are asked for.
    pub(crate) fn limit(&self) -> u64 {
        match self.shape {
            Shape::Array { per_page, .. } | Shape::Totals { per_page, .. } => u64::from(per_page),
            Shape::Checkpoint { take, .. } => u64::from(take),
        }
    }

    /// Answers with `items`, the part asked for out of `total`. `key` is the name of the list in the shapes that are
    /// objects.
    pub(crate) fn answer(&self, key: &str, items: Vec<Value>, total: u64) -> Value {
        let count = items.len() as u64;
        let items: Vec<Value> = items.into_iter().map(|item| self.select(item)).collect();
        match self.shape {
            Shape::Array { .. } => Value::Array(items),
            Shape::Totals { per_page, .. } => {
                json!({ key: items, "start": self.offset(), "limit": per_page, "length": count, "total": total })
            }
            Shape::Checkpoint { from, .. } => {
                let mut answer = json!({ key: items });
                let next = from.saturating_add(count);
                if let (true, Some(object)) = (count > 0 && next < total, answer.as_object_mut()) {
                    object.insert("next".to_owned(), URL_SAFE_NO_PAD.encode(next.to_string()).into());
                }
                answer
            }
        }
    }

    /// Answers with the part asked for out of all of `items`.
    pub(crate) fn answer_from_all(&self, key: &str, items: Vec<Value>) -> Value {
        let total = items.len() as u64;
        let skip = usize::try_from(self.offset()).unwrap_or(usize::MAX);
        let take = usize::try_from(self.limit()).unwrap_or(usize::MAX);
        self.answer(key, items.into_iter().skip(skip).take(take).collect(), total)
    }

    /// Leaves of `item` what `fields` and `include_fields` ask for.
    pub(crate) fn select(&self, item: Value) -> Value {
        match (&self.fields, item) {
            (Some(fields), Value::Object(object)) => {
                let wanted = |name: &String| fields.names.contains(name) == fields.include;
                Value::Object(object.into_iter().filter(|(name, _)| wanted(name)).collect::<Map<_, _>>())
            }
            (_, item) => item,
        }
    }
}

/// `invalid_query_string` about one parameter.
pub(crate) fn parameter(reason: impl AsRef<str>, name: &str) -> ManagementError {
    refused(reason.as_ref(), Some(name))
}

fn refused(reason: &str, property: Option<&str>) -> ManagementError {
    let on = property.map(|property| format!(" on property {property}")).unwrap_or_default();
    ManagementError::InvalidQuery(format!("Query validation error: '{reason}'{on}."))
}

fn checkpoint(text: &str) -> Result<u64, ManagementError> {
    let decoded = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let number = decoded.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    number.and_then(|text| text.parse().ok()).ok_or_else(|| parameter("No such checkpoint", "from"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(query: &str) -> Value {
        let items = (0..5).map(|n| json!({"id": n, "name": "x"})).collect();
        Listing::parse(Some(query), &["q"]).unwrap().answer_from_all("things", items)
    }

    #[test]
    fn a_list_has_three_shapes() {
        assert_eq!(list("page=1&per_page=2&fields=id"), json!([{"id": 2}, {"id": 3}]));
        assert_eq!(
            list("per_page=2&page=2&include_totals=true&fields=name&include_fields=false"),
            json!({"things": [{"id": 4}], "start": 4, "limit": 2, "length": 1, "total": 5})
        );
        let first = list("take=3&include_totals=true&fields=id");
        assert_eq!(first["things"].as_array().unwrap().len(), 3);
        let next = first["next"].as_str().unwrap();
        let last = list(&format!("take=3&from={next}&fields=id"));
        assert_eq!(last, json!({"things": [{"id": 3}, {"id": 4}]}));
    }

    #[test]
    fn what_is_out_of_bounds_is_refused_by_name() {
        let bad = [
            "per_page=101",
            "page=-1",
            "per_page=a",
            "take=0",
            "take=101",
            "from=!!",
            "include_totals=maybe",
        ];
        for query in bad {
            let name = query.split('=').next().unwrap();
            let refused = Listing::parse(Some(query), &[]).unwrap_err().to_string();
            assert!(refused.starts_with("Query validation error") && refused.contains(name), "{refused}");
        }
        let refused = Listing::parse(Some("evil=1"), &["q"]).unwrap_err().to_string();
        assert_eq!(refused, "Query validation error: 'Additional properties not allowed: evil'.");
        assert!(Listing::parse(Some("q=a&q=b"), &["q"]).is_err());
        assert!(Listing::parse(Some("strategy=a&strategy=b"), &["q"]).is_err());
        assert!(Listing::parse(Some("strategy=%00"), &["strategy"]).is_err());
        assert!(Listing::parse(Some(&"strategy=a&".repeat(101)), &["strategy"]).is_err());
    }

    #[test]
    fn a_list_among_the_filters_has_a_parameter_for_each_item() {
        let listing = Listing::parse(Some("strategy=a&per_page=1&strategy=b%20c"), &["strategy"]).unwrap();
        assert!(listing.admits("strategy", "a") && listing.admits("strategy", "b c"));
        assert!(!listing.admits("strategy", "b") && listing.admits("identifiers", "x"));
        assert_eq!(listing.limit(), 1);
    }
}
