//! Kong's `request-transformer`.

use std::sync::Arc;

use expr::{Part, Template, Variable};
use gateway::{error::ConfigError, plugin::Plugin};
use plugins::{
    request_edit::{Config, Edit, TargetEdit, compile},
    text::Text,
};
use serde_json::{Map, Value, json};

use super::{
    DialectPlugin,
    conf::{excerpt, record, text, texts},
};
use crate::schema::{Field, Schema};

/// The plugin of the dialect.
pub(super) struct RequestTransformer;

impl DialectPlugin for RequestTransformer {
    fn name(&self) -> &'static str {
        "request-transformer"
    }

    fn priority(&self) -> i64 {
        801
    }

    fn schema(&self) -> Arc<Schema> {
        Arc::new(schema())
    }

    fn compile(&self, config: &Map<String, Value>) -> Result<Arc<dyn Plugin>, ConfigError> {
        let mut headers = edits(config, "headers")?;
        let host = host(&mut headers)?;
        let target = record(config, "replace").and_then(|replace| text(replace, "uri"));
        let target = target.map(|uri| Ok::<_, ConfigError>(TargetEdit::Path(template("replace.uri", uri)?)));
        compile(Config {
            method: text(config, "http_method").map(str::to_owned),
            target: target.transpose()?,
            host,
            headers,
            query: edits(config, "querystring")?,
            body: edits(config, "body")?,
            form_in_query: true,
            late: true,
            is_final: true,
            ..Config::default()
        })
    }
}

/// The edits of one list, in the order in which Kong makes them.
fn edits(config: &Map<String, Value>, list: &str) -> Result<Vec<Edit>, ConfigError> {
    let mut edits = Vec::new();
    let of = |what: &str| {
        let items = record(config, what).map(|record| texts(record, list)).unwrap_or_default();
        items.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    for name in of("remove") {
        edits.push(Edit::Remove(name));
    }
    for pair in of("rename") {
        let (from, to) = split("rename", list, &pair)?;
        edits.push(Edit::Rename(from.to_owned(), to.to_owned()));
    }
    type Make = fn(String, Text) -> Edit;
    let rest: [(&str, Make); 3] = [("replace", Edit::Replace), ("add", Edit::Add), ("append", Edit::Append)];
    for (what, make) in rest {
        for pair in of(what) {
            let (name, value) = split(what, list, &pair)?;
            edits.push(make(name.to_owned(), template(&format!("{what}.{list}"), value)?));
        }
    }
    Ok(edits)
}

/// `Host` is no header like the others: it is what the upstream is called.
fn host(edits: &mut Vec<Edit>) -> Result<Option<String>, ConfigError> {
    let mut host = None;
    let mut wrong = None;
    edits.retain(|edit| match edit {
        Edit::Replace(name, value) | Edit::Add(name, value) if name.eq_ignore_ascii_case("host") => {
            match value.constant() {
                Some(text) => host = Some(text.to_owned()),
                None => wrong = Some("a `Host` of variables is not implemented in this build"),
            }
            false
        }
        _ => true,
    });
    match wrong {
        None => Ok(host),
        Some(why) => Err(ConfigError::new("replace.headers", why)),
    }
}

fn split<'a>(what: &str, list: &str, pair: &'a str) -> Result<(&'a str, &'a str), ConfigError> {
    pair.split_once(':')
        .filter(|(name, _)| !name.is_empty())
        .ok_or_else(|| ConfigError::new(format!("{what}.{list}"), "expected the form 'name:value'"))
}

/// Reads `$(headers.name)`, `$(headers["name"])`, the same of `query_params` and `uri_captures`, `$(uri_captures[1])`, and
/// several of them with `or` between, of which the last may be a text. Kong's other templates are Lua.
fn template(member: &str, written: &str) -> Result<Text, ConfigError> {
    let mut parts = Vec::new();
    let mut rest = written;
    while let Some(at) = rest.find("$(") {
        let (before, after) = rest.split_at_checked(at).unwrap_or((rest, ""));
        let inside = after.get(2..).unwrap_or_default();
        let end = closing(inside);
        let end = end.ok_or_else(|| ConfigError::new(member, "a template is not closed: `)` is missing"))?;
        let (found, further) = inside.split_at_checked(end).unwrap_or((inside, ""));
        if !before.is_empty() {
            parts.push(Part::Text(before.into()));
        }
        let part = part(found).ok_or_else(|| {
            let why = format!(
                "the template `$({})` is not implemented in this build: only headers, query_params and uri_captures \
                 are, and `or` between them",
                excerpt(found)
            );
            ConfigError::new(member, why)
        })?;
        parts.push(part);
        rest = further.get(1..).unwrap_or_default();
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.into()));
    }
    Text::of(member, Template::of(parts))
}

/// Where the template that begins in front of `text` is closed.
fn closing(text: &str) -> Option<usize> {
    let (mut open, mut quote) = (0, None);
    for (at, letter) in text.char_indices() {
        match (quote, letter) {
            (Some(mark), letter) if mark == letter => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(letter),
            (None, '(') => open += 1,
            (None, ')') if open == 0 => return Some(at),
            (None, ')') => open -= 1,
            (None, _) => {}
        }
    }
    None
}

/// What stands within a template.
fn part(inside: &str) -> Option<Part> {
    let inside = inside.trim();
    let inside = inside.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).unwrap_or(inside).trim();
    let mut operands: Vec<&str> = inside.split(" or ").map(str::trim).collect();
    let text = operands.last().and_then(|last| literal(last));
    if text.is_some() {
        operands.pop();
    }
    let mut variables = operands.into_iter().map(variable).collect::<Option<Vec<Variable>>>()?;
    match (variables.len(), text) {
        (0, Some(text)) => Some(Part::Text(text.into())),
        (1, None) => variables.pop().map(Part::Variable),
        (_, text) => {
            Some(Part::Variable(Variable::FirstOf(variables.into(), text.unwrap_or_default().into())))
        }
    }
}

/// A text or a number, as Lua writes it.
fn literal(text: &str) -> Option<&str> {
    let quoted = |mark: char| {
        let inside = text.strip_prefix(mark)?.strip_suffix(mark)?;
        (!inside.contains([mark, '\\'])).then_some(inside)
    };
    let number = || (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then_some(text);
    quoted('"').or_else(|| quoted('\'')).or_else(number)
}

fn variable(inside: &str) -> Option<Variable> {
    let of = |table: &str| {
        let rest = inside.strip_prefix(table)?;
        let name = match rest.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(key) => literal(key.trim())?,
            None => rest.strip_prefix('.').filter(|name| !name.contains('-'))?,
        };
        let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (!name.is_empty() && name.bytes().all(known)).then_some(name)
    };
    if let Some(name) = of("headers") {
        return Some(Variable::Header(name.to_ascii_lowercase().replace('_', "-").into()));
    }
    of("query_params")
        .map(|name| Variable::Arg(name.into()))
        .or_else(|| of("uri_captures").map(|name| Variable::PathGroup(name.into())))
}

fn pair(text: &str) -> Result<(), String> {
    match text.split_once(':') {
        Some((name, _)) if !name.is_empty() => Ok(()),
        _ => Err(format!("invalid value: {}", excerpt(text))),
    }
}

fn schema() -> Schema {
    let names = || Field::array(Field::string()).required().default(json!([]));
    let pairs = || Field::array(Field::string().text(pair)).required().default(json!([]));
    let lists = |field: fn(Schema) -> Schema, each: &dyn Fn() -> Field| {
        let schema = Schema::new()
            .field("body", each().doc("members of a form or JSON body"))
            .field("headers", each().doc("headers"))
            .field("querystring", each().doc("arguments of the query"));
        Field::record(Arc::new(field(schema))).required()
    };
    let plain = |schema: Schema| schema;
    Schema::new()
        .field("http_method", Field::string().text(method).doc(
            "the method for the upstream; where it is `GET` or `HEAD`, the fields of a form stand in the query, too",
        ))
        .field("remove", lists(plain, &names).doc("what is taken out"))
        .field("rename", lists(plain, &pairs).doc("what gets another name, `old:new`"))
        .field(
            "replace",
            lists(|schema| schema.field("uri", Field::string().doc("the path for the upstream")), &pairs)
                .doc("what takes the place of something, `name:value`"),
        )
        .field("add", lists(plain, &pairs).doc("what is put where there is nothing, `name:value`"))
        .field("append", lists(plain, &pairs).doc("what is put beside, `name:value`"))
}

fn method(text: &str) -> Result<(), String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Ok(());
    }
    Err("invalid value: ".to_owned() + excerpt(text).as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(config: Value) -> Result<(), ConfigError> {
        RequestTransformer.compile(config.as_object().unwrap()).map(drop)
    }

    #[test]
    fn templates_are_headers_and_arguments() {
        assert_eq!(variable("headers.x_foo"), Some(Variable::Header("x-foo".into())));
        assert_eq!(variable("headers[\"X-Foo\"]"), Some(Variable::Header("x-foo".into())));
        assert_eq!(variable("query_params['a']"), Some(Variable::Arg("a".into())));
        assert_eq!(variable("uri_captures[1]"), Some(Variable::PathGroup("1".into())));
        assert_eq!(variable("uri_captures.user_id"), Some(Variable::PathGroup("user_id".into())));
        let either = |text: &str| {
            let all = [Variable::PathGroup("x".into()), Variable::Arg("y".into())];
            Some(Part::Variable(Variable::FirstOf(all.into(), text.into())))
        };
        assert_eq!(part("uri_captures['x'] or query_params.y or 'a (b)'"), either("a (b)"));
        assert_eq!(part(" (uri_captures['x'] or query_params.y) "), either(""));
        assert_eq!(part("'x'"), Some(Part::Text("x".into())));
        for lua in [
            "os.time()",
            "shared.x",
            "headers",
            "headers.",
            "headers.a .. 'b'",
            "headers.a-b",
            "'a\\n'",
            "a or b",
        ] {
            assert_eq!(part(lua), None, "{lua}");
        }
        for (open, reason) in [("$(headers.a", "not closed"), ("$(headers['a)", "not closed")] {
            let error = compiled(json!({"add": {"headers": [format!("X-A:{open}")]}})).unwrap_err();
            assert!(error.reason.contains(reason), "{error}");
        }
        let error = compiled(json!({"add": {"headers": ["X-A:$(shared.x)"]}})).unwrap_err();
        assert!(error.path == "add.headers" && error.reason.contains("shared.x"), "{error}");
    }

    #[test]
    fn r06_no_identity_is_made_of_what_a_client_says() {
        for config in [
            json!({"rename": {"headers": ["X-Mine:X-Consumer-Username"]}}),
            json!({"add": {"headers": ["X-Consumer-Id:$(headers.x_mine)"]}}),
            json!({"replace": {"headers": ["X-Credential-Identifier:$(query_params.a)"]}}),
            json!({"append": {"headers": ["X-Forwarded-For:1.1.1.1"]}}),
            json!({"add": {"headers": ["Content-Length:1"]}}),
        ] {
            assert!(compiled(config.clone()).is_err(), "{config}");
        }
        assert!(compiled(json!({"add": {"headers": ["X-Consumer-Tier:gold"]}})).is_ok());
        assert!(
            compiled(json!({"replace": {"headers": ["Host:other.example"], "uri": "/a/$(headers.x)"}}))
                .is_ok()
        );
    }
}
