//! Auth0's search language (a part of Lucene's) over the JSON objects of the Management API.
//!
//! `field:word`, `field:"a phrase"`, `field:begin*`, `field:[low TO high]`, `field:{low TO high}`, `field:>5`,
//! `_exists_:field`, groups, `AND`, `OR`, `NOT`, `+`, `-`. Texts are compared without regard to case, numbers and ISO
//! dates as such. Matching takes time in proportion to the text: there is no backtracking.

mod matching;
mod parse;

use serde_json::Value;

/// Bytes of a search.
pub(super) const MAX_LENGTH: usize = 2048;

/// What is looked for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Query {
    /// All of these.
    And(Vec<Query>),
    /// Any of these.
    Or(Vec<Query>),
    /// Not this.
    Not(Box<Query>),
    /// One condition.
    Condition {
        /// Members by name, one inside the other; empty for any of the fields that are looked at without a name.
        path: Vec<String>,
        /// What one of the values has to be.
        test: Test,
    },
}

/// What a value has to be.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Test {
    /// There, whatever it is.
    Exists,
    /// This word: the whole value, or one word of it.
    Word(String),
    /// This, as a whole.
    Phrase(String),
    /// Like this, where `*` stands for anything and `?` for one character.
    Pattern(String),
    /// Between two ends.
    Range(Range),
}

/// Two ends; an absent one is open.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Range {
    /// The lower one.
    pub(super) low: Option<End>,
    /// The upper one.
    pub(super) high: Option<End>,
}

/// One end of a range.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct End {
    /// A number, a date, or a text.
    pub(super) value: String,
    /// Whether it is itself in the range.
    pub(super) inclusive: bool,
}

impl Query {
    /// Reads a search; what is wrong with it where it is none.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        parse::query(text)
    }

    /// Whether `object` is what is looked for. Words without a field are looked for in `anywhere`.
    pub(super) fn matches(&self, object: &Value, anywhere: &[&str]) -> bool {
        match self {
            Self::And(parts) => parts.iter().all(|part| part.matches(object, anywhere)),
            Self::Or(parts) => parts.iter().any(|part| part.matches(object, anywhere)),
            Self::Not(part) => !part.matches(object, anywhere),
            Self::Condition { path, test } if path.is_empty() => {
                anywhere.iter().any(|name| object.get(*name).is_some_and(|value| test.is_part_of(value)))
            }
            Self::Condition { path, test } => matching::any_value(object, path, &|value| test.holds(value)),
        }
    }

    /// A condition that everything found fulfils, to narrow a search before each object is looked at.
    pub(super) fn required(&self) -> Vec<&Self> {
        match self {
            Self::And(parts) => parts.iter().flat_map(Self::required).collect(),
            one @ Self::Condition { .. } => vec![one],
            Self::Or(_) | Self::Not(_) => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(query: &str) -> bool {
        let user = json!({
            "email": "Jane.Doe@Example.com", "name": "Jane Doe", "logins_count": 7, "email_verified": true,
            "created_at": "2026-03-05T10:00:00.000Z", "user_id": "auth0|Ab1",
            "app_metadata": { "plan": "pro", "tags": ["a b", "c"], "nested": { "n": 1.5 } },
            "identities": [{ "connection": "Users", "provider": "auth0" }, { "connection": "Others" }],
        });
        Query::parse(query).unwrap_or_else(|why| panic!("{query}: {why}")).matches(&user, &["email", "name"])
    }

    #[test]
    fn conditions_of_every_kind_are_found() {
        for query in [
            "email:jane.doe@example.com",
            "email:\"jane.doe@example.com\"",
            "email:jane*",
            "email:*@example.com",
            "email:jane?doe*",
            "name:jane",
            "name:\"jane doe\"",
            "name:(john OR jane)",
            "(name:(john OR jane)) AND email_verified:true",
            "logins_count:7",
            "logins_count:[1 TO 7]",
            "logins_count:{6 TO *]",
            "logins_count:>=7",
            "created_at:[2026-03 TO 2026-03-05]",
            "created_at:[2026-03-05T10:00 TO *]",
            "app_metadata.plan:\"pro\"",
            "app_metadata.tags:c",
            "app_metadata.nested.n:[1 TO 2}",
            "identities.connection:\"Others\"",
            "_exists_:app_metadata.plan",
            "NOT _exists_:blocked",
            "-email:john* +name:doe",
            "name:john name:jane",
            "name:jane && logins_count:7",
            "name:john || name:jane",
            "jane",
            "*doe*",
            "\"jane doe\"",
            r"user_id:auth0\|Ab1",
            "user_id:\"auth0|Ab1\"",
        ] {
            assert!(found(query), "{query}");
        }
    }

    #[test]
    fn what_is_not_so_is_not_found() {
        for query in [
            "email:jane",
            "email:\"jane\"",
            "name:\"jane\"",
            "name:jan",
            "logins_count:{7 TO 9]",
            "logins_count:<7",
            "created_at:[2026-04 TO *]",
            "created_at:{2026-03 TO *]",
            "created_at:[* TO 2026-03}",
            "name:jane AND NOT email_verified:true",
            "name:jane -logins_count:7",
            "user_id:\"auth0|ab1\"",
            "_exists_:nothing",
            "nothing:*",
            "john",
            "name:john AND name:jane OR name:jim",
        ] {
            assert!(!found(query), "{query}");
        }
    }

    #[test]
    fn o37_what_is_no_query_is_refused() {
        let long = "x".repeat(MAX_LENGTH + 1);
        let deep = format!("{}a{}", "(".repeat(200), ")".repeat(200));
        let many = ["a"; 500].join(" ");
        for query in [
            "",
            " ",
            "(",
            ")",
            "a)",
            "name:",
            "name:(",
            "name:(a OR",
            "name:[1 TO",
            "name:[1 2]",
            "name:[TO]",
            "AND a",
            "a OR",
            "a AND",
            "NOT",
            "\"a",
            "name:\"a",
            ":a",
            "a\\",
            "_exists_:",
            "name::a",
            "name:a~2",
            "a^2",
            "/a+/",
            "{a}",
            &long,
            &deep,
            &many,
        ] {
            assert!(Query::parse(query).is_err(), "{query}");
        }
    }

    #[test]
    fn o37_patterns_take_no_more_time_than_the_text_is_long() {
        let pattern = format!("name:{}b", "*a".repeat(500));
        let query = Query::parse(&pattern).unwrap();
        let object = json!({ "name": "a".repeat(100_000) });
        let begin = std::time::Instant::now();
        assert!(!query.matches(&object, &[]));
        assert!(begin.elapsed() < std::time::Duration::from_secs(2));
    }
}
