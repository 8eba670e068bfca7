//! Changes an answer on its way to the client: status, headers, and the body by another one, by patterns, or member by
//! member where it is JSON.

mod json;

use std::{any::Any, sync::Arc};

use bytes::Bytes;
use expr::Expression;
use gateway::{
    error::ConfigError,
    plugin::{BodyChange, Flow, Phases, Plugin, PluginRequest, PluginResponse},
};
use http::{HeaderValue, StatusCode, header};
use regex::bytes::{Captures, Regex, RegexBuilder};

pub use self::json::{JsonEdit, Members};
use crate::{
    header_rule::HeaderRule,
    text::{Text, response_header},
};

/// Bytes of a body that is read to be changed, where nothing is said.
pub const MAX_BODY: usize = 8 << 20;
/// Bytes that replacements may make of a body: so many times its limit.
const MAX_GROWTH: usize = 4;
/// Bytes of a compiled pattern.
const MAX_COMPILED: usize = 1 << 20;

/// What changes.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Only answers of which this holds.
    pub condition: Option<Expression>,
    /// Another status.
    pub status: Option<u16>,
    /// Headers, in the order of the list.
    pub headers: Vec<HeaderEdit>,
    /// Whether a header whose value turns out empty is none, as with nginx, and is not sent as an empty one.
    pub empty_is_none: bool,
    /// The body.
    pub body: Option<BodyRule>,
}

/// One change to the headers of an answer.
#[derive(Clone, Debug)]
pub enum HeaderEdit {
    /// Takes all of this name out.
    Remove(String),
    /// Takes out the one with this value.
    RemoveValue(String, String),
    /// Gives all of the first name the second.
    Rename(String, String),
    /// Puts one in the place of all, where there is any.
    Replace(String, Text),
    /// Puts one in the place of all.
    Set(String, Text),
    /// Puts one there where there is none.
    Add(String, Text),
    /// Puts one more there.
    Append(String, Text),
}

/// What becomes of the body.
#[derive(Clone, Debug)]
pub enum BodyRule {
    /// This one takes its place.
    Replace(Bytes),
    /// What the patterns find in it is replaced, one pattern after the other.
    Filters {
        /// In this order.
        filters: Vec<Filter>,
        /// Bytes that it may have; a longer one makes the answer a 502.
        limit: usize,
    },
    /// Members of a JSON object are edited; other bodies stay.
    Json {
        /// In this order.
        edits: Vec<JsonEdit>,
        /// Bytes that it may have.
        limit: usize,
    },
}

/// A pattern and what takes the place of what it finds.
#[derive(Clone, Debug)]
pub struct Filter {
    /// The pattern, in linear time.
    pub pattern: String,
    /// Letter case does not matter.
    pub ignore_case: bool,
    /// `.` is a line end too.
    pub dot_all: bool,
    /// `^` and `$` are ends of lines.
    pub multi_line: bool,
    /// With `$1` for groups.
    pub replacement: String,
    /// Every place, not the first alone.
    pub everywhere: bool,
}

/// The compiled form.
struct ResponseEdit {
    condition: Option<Expression>,
    status: Option<StatusCode>,
    headers: Vec<HeaderRule>,
    empty_is_none: bool,
    body: Option<Change>,
}

struct CompiledFilter {
    pattern: Regex,
    replacement: Bytes,
    everywhere: bool,
    /// Whether a `$` may stand before the line end that ends the body, as it does in PCRE, but not in this engine.
    ends_early: bool,
}

enum Change {
    Replace(Bytes),
    Filters(Arc<[CompiledFilter]>, usize),
    Json(Arc<[JsonEdit]>, usize),
}

/// Compiles `config`.
///
/// # Errors
///
/// A status out of range, headers that frame the answer, and patterns that are none.
pub fn compile(config: Config) -> Result<Arc<dyn Plugin>, ConfigError> {
    let Config { condition, status, headers, empty_is_none, body } = config;
    let status = status.map(|status| {
        let status = StatusCode::from_u16(status).ok().filter(|status| status.as_u16() >= 200);
        status.ok_or_else(|| ConfigError::new("status_code", "a status from 200 to 599 is needed"))
    });
    let name = |name: &str| response_header("headers", name);
    let edit = |edit: HeaderEdit| {
        Ok(match edit {
            HeaderEdit::Remove(of) => HeaderRule::Remove(name(&of)?),
            HeaderEdit::RemoveValue(of, value) => HeaderRule::RemoveValue(name(&of)?, value),
            HeaderEdit::Rename(from, to) => HeaderRule::Rename(name(&from)?, name(&to)?),
            HeaderEdit::Replace(of, text) => HeaderRule::Replace(name(&of)?, text),
            HeaderEdit::Set(of, text) => HeaderRule::Set(name(&of)?, text),
            HeaderEdit::Add(of, text) => HeaderRule::Add(name(&of)?, text),
            HeaderEdit::Append(of, text) => HeaderRule::Append(name(&of)?, text),
        })
    };
    let body = match body {
        None => None,
        Some(BodyRule::Replace(bytes)) => Some(Change::Replace(bytes)),
        Some(BodyRule::Json { edits, limit }) => Some(Change::Json(edits.into(), limit)),
        Some(BodyRule::Filters { filters, limit }) => {
            let filters = filters.into_iter().map(compile_filter).collect::<Result<_, _>>()?;
            Some(Change::Filters(filters, limit))
        }
    };
    Ok(Arc::new(ResponseEdit {
        condition,
        status: status.transpose()?,
        headers: headers.into_iter().map(edit).collect::<Result<_, ConfigError>>()?,
        empty_is_none,
        body,
    }))
}

fn compile_filter(filter: Filter) -> Result<CompiledFilter, ConfigError> {
    let built = RegexBuilder::new(&filter.pattern)
        .case_insensitive(filter.ignore_case)
        .dot_matches_new_line(filter.dot_all)
        .multi_line(filter.multi_line)
        .size_limit(MAX_COMPILED)
        .build();
    let regex = built.map_err(|error| {
        ConfigError::new("filters", format!("regex \"{}\" validation failed: {error}", filter.pattern))
    })?;
    // Of `$1a`, the group's number is 1: the crate would take `1a` for a name.
    let mut replacement = String::with_capacity(filter.replacement.len());
    let mut rest = filter.replacement.as_str();
    while let Some(at) = rest.find('$') {
        let (before, after) = rest.split_at_checked(at).unwrap_or((rest, ""));
        replacement.push_str(before);
        let after = after.get(1..).unwrap_or_default();
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        if digits > 0 {
            let (number, further) = after.split_at_checked(digits).unwrap_or((after, ""));
            replacement.push_str("${");
            replacement.push_str(number);
            replacement.push('}');
            rest = further;
        } else {
            replacement.push('$');
            rest = after;
        }
    }
    replacement.push_str(rest);
    Ok(CompiledFilter {
        pattern: regex,
        replacement: Bytes::from(replacement),
        everywhere: filter.everywhere,
        ends_early: !filter.multi_line && filter.pattern.contains('$'),
    })
}

impl Plugin for ResponseEdit {
    fn name(&self) -> &'static str {
        "response-edit"
    }

    fn phases(&self) -> Phases {
        let reads = matches!(self.body, Some(Change::Filters(..) | Change::Json(..)));
        let first = if reads { Phases::REWRITE } else { Phases::default() };
        first.and(Phases::RESPONSE_HEADERS)
    }

    /// A body that is to be read must come as it is: no coding is asked for, and no part.
    fn rewrite(&self, request: &mut PluginRequest<'_>) -> Flow {
        let headers = &mut request.head.headers;
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.remove(header::RANGE);
        headers.remove(header::IF_RANGE);
        Flow::Continue
    }

    fn response_headers(&self, response: &mut PluginResponse<'_>) {
        let concerned =
            self.condition.as_ref().is_none_or(|condition| condition.matches(&response.variables()));
        if !concerned {
            return;
        }
        // Texts are filled with the answer as it came.
        let values: Vec<Option<HeaderValue>> = {
            let variables = response.variables();
            self.headers.iter().map(|rule| rule.value(&variables, None, self.empty_is_none)).collect()
        };
        if let Some(status) = self.status {
            *response.status = status;
        }
        if let Some(change) = &self.body {
            change.announce(response);
        }
        for (rule, value) in self.headers.iter().zip(values) {
            rule.apply(response.headers, value);
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Change {
    fn announce(&self, response: &mut PluginResponse<'_>) {
        let encoded =
            response.headers.get(header::CONTENT_ENCODING).is_some_and(|coding| coding != "identity");
        let change = match self {
            Self::Replace(bytes) => BodyChange::Replace(bytes.clone()),
            // The upstream was asked not to: what it encoded all the same cannot be read here.
            _ if encoded => {
                let upstream = response.upstream.unwrap_or_default();
                tracing::warn!(upstream, route = %response.route.id, "an encoded answer stays as it is");
                return;
            }
            Self::Json(..) if !json::is_json(response.headers) => return,
            Self::Json(edits, limit) => {
                let edits = Arc::clone(edits);
                BodyChange::Transform {
                    limit: *limit,
                    apply: Box::new(move |body| Some(json::apply(&edits, body))),
                }
            }
            Self::Filters(filters, limit) => {
                let (filters, limit) = (Arc::clone(filters), *limit);
                BodyChange::Transform { limit, apply: Box::new(move |body| filter(&filters, body, limit)) }
            }
        };
        response.change_body(change);
    }
}

/// The body with what the filters find in it replaced; `None` when that would make it far too long.
fn filter(filters: &[CompiledFilter], body: Bytes, limit: usize) -> Option<Bytes> {
    let most = limit.saturating_mul(MAX_GROWTH);
    let mut body = body;
    for filter in filters {
        let mut made = Vec::new();
        // Up to where the body is copied, and from where the next place is looked for.
        let (mut copied, mut at) = (0, 0);
        let mut replaced = false;
        while let Some(captures) = filter.find(&body, at) {
            let Some(found) = captures.get(0) else { break };
            // Nothing right behind what was just replaced is no place of its own.
            if found.is_empty() && replaced && found.end() == copied && at == copied {
                at += 1;
                continue;
            }
            made.extend_from_slice(body.get(copied..found.start()).unwrap_or_default());
            captures.expand(&filter.replacement, &mut made);
            (copied, at, replaced) = (found.end(), found.end(), true);
            if made.len() > most {
                return None;
            }
            if !filter.everywhere {
                break;
            }
        }
        if replaced {
            made.extend_from_slice(body.get(copied..).unwrap_or_default());
            body = Bytes::from(made);
        }
    }
    Some(body)
}

impl CompiledFilter {
    /// The first place in `body` from `at` on.
    fn find<'b>(&self, body: &'b [u8], at: usize) -> Option<Captures<'b>> {
        if at > body.len() {
            return None;
        }
        let whole = self.pattern.captures_at(body, at);
        let line = body.strip_suffix(b"\n").filter(|line| self.ends_early && at <= line.len());
        let Some(early) = line.and_then(|line| self.pattern.captures_at(line, at)) else { return whole };
        let start = |captures: &Captures<'_>| captures.get(0).map_or(usize::MAX, |found| found.start());
        match whole {
            Some(whole) if start(&whole) <= start(&early) => Some(whole),
            _ => Some(early),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filtered(filters: &[(&str, &str, bool)], body: &str) -> String {
        let compiled: Vec<_> = filters
            .iter()
            .map(|(pattern, replacement, everywhere)| {
                let filter = Filter {
                    pattern: (*pattern).to_owned(),
                    ignore_case: false,
                    dot_all: false,
                    multi_line: false,
                    replacement: (*replacement).to_owned(),
                    everywhere: *everywhere,
                };
                compile_filter(filter).unwrap()
            })
            .collect();
        let made = filter(&compiled, Bytes::from(body.to_owned()), 1024);
        made.map(|made| String::from_utf8(made.to_vec()).unwrap()).unwrap_or_else(|| "too long".to_owned())
    }

    #[test]
    fn filters_work_one_after_the_other() {
        assert_eq!(filtered(&[("hello", "bye", false)], "hello hello"), "bye hello");
        assert_eq!(filtered(&[("hello", "bye", true)], "hello hello"), "bye bye");
        assert_eq!(filtered(&[("a", "b", true), ("b", "c", true)], "ab"), "cc");
        assert_eq!(filtered(&[("(a)(b)", "$2$1x", false)], "ab"), "bax");
        assert_eq!(filtered(&[("x", "$", true)], "axa"), "a$a");
        assert_eq!(filtered(&[("x*", "-", true)], "axxb"), "-a-b-");
    }

    #[test]
    fn a_dollar_stands_before_the_last_line_end_too() {
        assert_eq!(filtered(&[(r"\w\S+$", "*", false)], "hello world\n"), "hello *\n");
        assert_eq!(filtered(&[(r"\w\S+$", "*", false)], "hello world"), "hello *");
        assert_eq!(filtered(&[("$", "!", true)], "a\n"), "a!\n!");
        assert_eq!(filtered(&[(r"\s+$", "", false)], "a \n"), "a");
        assert_eq!(filtered(&[("a$", "b", true)], "a\na\n"), "a\nb\n");
        assert_eq!(filtered(&[("^$", "empty", false)], "\n"), "empty\n");
    }

    #[test]
    fn h15_replacements_do_not_grow_without_bound() {
        let ten = "x".repeat(10);
        let filters: Vec<(&str, &str, bool)> = vec![("x", ten.as_str(), true); 9];
        assert_eq!(filtered(&filters, "xxxx"), "too long");
        assert_eq!(filtered(&[("^", "a", false), ("x*$", "", false)], "xx"), "a");
    }

    #[test]
    fn headers_that_frame_the_answer_are_not_to_be_set() {
        for name in ["Content-Length", "transfer-encoding", "Connection", "a b"] {
            let headers = vec![HeaderEdit::Set(name.to_owned(), Text::parse("headers", "1").unwrap())];
            assert!(compile(Config { headers, ..Config::default() }).is_err(), "{name}");
        }
    }

    #[test]
    fn a_pattern_that_is_none_is_refused_in_apisix_words() {
        let filter = Filter {
            pattern: "(".to_owned(),
            ignore_case: false,
            dot_all: false,
            multi_line: false,
            replacement: String::new(),
            everywhere: false,
        };
        let body = Some(BodyRule::Filters { filters: vec![filter], limit: 1 });
        let Err(error) = compile(Config { body, ..Config::default() }) else { panic!("it compiles") };
        assert!(error.reason.starts_with("regex \"(\" validation failed: "), "{error}");
    }
}
