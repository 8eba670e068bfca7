//! APISIX's `response-rewrite`: what may be written, and what it means.

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_STANDARD};
use expr::Expression;
use gateway::{error::ConfigError, plugin::Plugin};
use plugins::{
    response_edit::{BodyRule, Config, Filter, HeaderEdit, MAX_BODY, compile},
    text::Text,
};
use serde_json::{Map, Value};

use super::{
    CompileContext, DialectPlugin,
    conf::{
        check_header_edits, flag, header_values, integer, is_dictionary, is_grouped, is_names, text, texts,
    },
};
use crate::schema::Schema;

/// The plugin of the dialect.
pub struct ResponseRewrite {
    schema: Schema,
}

impl Default for ResponseRewrite {
    fn default() -> Self {
        Self { schema: schema() }
    }
}

impl DialectPlugin for ResponseRewrite {
    fn name(&self) -> &'static str {
        "response-rewrite"
    }

    fn priority(&self) -> i64 {
        899
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn check_after_schema(&self, conf: &Map<String, Value>) -> Result<(), String> {
        let conf = Value::Object(conf.clone());
        if conf.get("body").is_some() && conf.get("filters").is_some() {
            return Err(
                "failed to validate dependent schema for \"body\": value wasn't supposed to match schema"
                    .to_owned(),
            );
        }
        if flag(&conf, "body_base64", false) {
            let body = text(&conf, "body").filter(|body| !body.is_empty());
            let decoded = body.and_then(|body| BASE64_STANDARD.decode(body).ok());
            decoded.ok_or("invalid base64 content")?;
        }
        if let Some(vars) = conf.get("vars") {
            let compiled = Expression::compile(vars);
            compiled.map_err(|error| format!("failed to validate the 'vars' expression: {error}"))?;
        }
        for filter in conf.get("filters").and_then(Value::as_array).into_iter().flatten() {
            check_options(filter)?;
        }
        match body(&conf).and_then(|body| compile(Config { body, ..Config::default() })) {
            Err(error) if error.path == "filters" => Err(error.reason),
            _ => Ok(()),
        }
    }

    fn compile(&self, conf: &Value, _cx: &CompileContext<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
        let condition = conf.get("vars").map(Expression::compile).transpose();
        compile(Config {
            condition: condition.map_err(|error| ConfigError::new("vars", error.to_string()))?,
            status: integer(conf, "status_code").and_then(|status| u16::try_from(status).ok()),
            headers: headers(conf.get("headers"))?,
            empty_is_none: true,
            body: body(conf)?,
        })
    }
}

fn body(conf: &Value) -> Result<Option<BodyRule>, ConfigError> {
    if let Some(written) = text(conf, "body") {
        if !flag(conf, "body_base64", false) {
            return Ok(Some(BodyRule::Replace(written.to_owned().into())));
        }
        let decoded = BASE64_STANDARD.decode(written);
        let decoded = decoded.map_err(|_| ConfigError::new("body", "invalid base64 content"))?;
        return Ok(Some(BodyRule::Replace(decoded.into())));
    }
    let Some(filters) = conf.get("filters").and_then(Value::as_array) else { return Ok(None) };
    let filter = |filter: &Value| {
        let options = text(filter, "options").unwrap_or("jo");
        Ok(Filter {
            pattern: text(filter, "regex").unwrap_or_default().to_owned(),
            ignore_case: options.contains('i'),
            dot_all: options.contains('s'),
            multi_line: options.contains('m'),
            replacement: text(filter, "replace").unwrap_or_default().to_owned(),
            everywhere: text(filter, "scope") == Some("global"),
        })
    };
    let limit = integer(conf, "max_resp_body_size").and_then(|limit| usize::try_from(limit).ok());
    Ok(Some(BodyRule::Filters {
        filters: filters.iter().map(filter).collect::<Result<_, ConfigError>>()?,
        limit: limit.unwrap_or(MAX_BODY),
    }))
}

/// The edits in the order in which APISIX makes them: what is added, what is set, what is removed.
fn headers(headers: Option<&Value>) -> Result<Vec<HeaderEdit>, ConfigError> {
    let Some(headers) = headers else { return Ok(Vec::new()) };
    let set = |values: Option<&Value>| {
        let values = header_values(values)?;
        Ok(values.into_iter().map(|(name, value)| HeaderEdit::Set(name, value)))
    };
    if !is_grouped(headers) {
        return Ok(set(Some(headers))?.collect());
    }
    let mut edits = Vec::new();
    for line in texts(headers, "add") {
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        edits.push(HeaderEdit::Append(name.trim().to_owned(), Text::parse("headers.add", value.trim())?));
    }
    edits.extend(set(headers.get("set"))?);
    edits.extend(texts(headers, "remove").into_iter().map(HeaderEdit::Remove));
    Ok(edits)
}

/// `add` a list of lines, `set` by name, `remove` a list of names, none of them empty.
fn is_sorted(edits: &Map<String, Value>) -> bool {
    let is_line = |line: &Value| {
        let line = line.as_str().and_then(|line| line.split_once(':'));
        line.is_some_and(|(name, value)| !name.trim().is_empty() && !value.trim().is_empty())
    };
    edits.iter().all(|(name, value)| match name.as_str() {
        "add" => value.as_array().is_some_and(|lines| !lines.is_empty() && lines.iter().all(is_line)),
        "set" => is_dictionary(value, false),
        "remove" => is_names(value),
        _ => false,
    })
}

fn check_headers(headers: &Value) -> Result<(), String> {
    check_header_edits(headers, is_sorted, false)
}

/// Options of patterns that this build has; what nobody has is refused as APISIX does.
fn check_options(filter: &Value) -> Result<(), String> {
    let options = text(filter, "options").unwrap_or_default();
    let regex = text(filter, "regex").unwrap_or_default();
    match options.chars().find(|letter| !"joism".contains(*letter)) {
        None => Ok(()),
        Some(letter @ ('a' | 'd' | 'u' | 'U' | 'x' | 'D' | 'J')) => {
            Err(format!("regex \"{regex}\": option \"{letter}\" is not implemented in this build"))
        }
        Some(letter) => Err(format!(
            "regex \"{regex}\" validation failed: unknown flag \"{letter}\" (flags \"{options}\")"
        )),
    }
}

pub(crate) fn schema() -> Schema {
    let filter = Schema::object()
        .required("regex", Schema::string().length(1, 4096).doc("the pattern, in linear time"))
        .field(
            "scope",
            Schema::string()
                .choices(&["once", "global"])
                .default("once")
                .doc("the first place, or every place"),
        )
        .required("replace", Schema::string().length(0, 65536).doc("with `$1` for groups"))
        .field(
            "options",
            Schema::string()
                .length(0, 16)
                .default("jo")
                .doc("`i`: letter case does not matter; `s`: `.` is a line end too; `m`: `^` and `$` are ends of lines; `j` and `o` say nothing here"),
        );
    Schema::object()
        .field(
            "headers",
            Schema::object().open().check(check_headers).doc(
                "`add` (`[\"Name: value\"]`), `set` and `remove`, in this order; or names and values that are set. Values may hold variables; with an empty one the header is taken out",
            ),
        )
        .field("body", Schema::string().length(0, 1 << 20).doc("another body; not with `filters`"))
        .field("body_base64", Schema::boolean().default(false).doc("whether `body` is base64"))
        .field("status_code", Schema::integer().at_least(200).at_most(598).doc("another status"))
        .field(
            "vars",
            Schema::array(Schema::any()).doc("only answers of which this condition holds, `status` and `sent_http_…` among its variables"),
        )
        .field(
            "filters",
            Schema::array(filter).at_least(1).at_most(64).doc("patterns for the body, one after the other"),
        )
        .field(
            "max_resp_body_size",
            Schema::integer()
                .at_least(1)
                .at_most(1 << 30)
                .default(MAX_BODY)
                .doc("bytes of a body that `filters` read; a longer one is answered 502"),
        )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plugins::tests::told;

    #[test]
    fn what_is_written_is_checked_in_apisix_words() {
        let told = |conf: Value| told(ResponseRewrite::default(), conf);
        assert_eq!(told(json!({"body": "x", "headers": {"X-A": 1}, "status_code": 404})), "fine");
        assert_eq!(
            told(json!({"headers": {"add": ["Set-Cookie: a=b; Max-Age=5"], "remove": ["X-B"]}})),
            "fine"
        );
        assert_eq!(told(json!({"body": "!", "body_base64": true})), "invalid base64 content");
        assert_eq!(told(json!({"body_base64": true})), "invalid base64 content");
        assert_eq!(
            told(json!({"status_code": 599})),
            "property \"status_code\" validation failed: expected 599 to be at most 598"
        );
        assert!(
            told(json!({"vars": [["status", "=", 200]]}))
                .starts_with("failed to validate the 'vars' expression: ")
        );
        let filters = json!([{"regex": "a", "replace": "b"}]);
        assert_eq!(told(json!({"filters": filters})), "fine");
        assert_eq!(
            told(json!({"filters": filters, "body": "x"})),
            "failed to validate dependent schema for \"body\": value wasn't supposed to match schema"
        );
        assert!(
            told(json!({"filters": [{"regex": "(", "replace": "b"}]}))
                .starts_with("regex \"(\" validation failed: ")
        );
        assert!(told(json!({"filters": [{"regex": "a"}]})).contains("property \"replace\" is required"));
        for (option, why) in [
            ("x", "regex \"a\": option \"x\" is not implemented in this build"),
            ("h", "regex \"a\" validation failed: unknown flag \"h\" (flags \"h\")"),
        ] {
            let filter = json!({"regex": "a", "replace": "b", "options": option});
            assert_eq!(told(json!({"filters": [filter]})), why);
        }
        for bad in [
            json!({}),
            json!({"add": ["nothing"]}),
            json!({"add": [["headers:"]]}),
            json!({"remove": ["headers:"]}),
            json!({"set": [{"": 1}]}),
            json!({"set": {"a": true}}),
            json!({"set": {}}),
            json!({"X-Name": []}),
        ] {
            let why = "property \"headers\" validation failed: object matches none of the required";
            assert_eq!(told(json!({"headers": bad})), why, "{bad}");
        }
        assert_eq!(
            told(json!({"headers": {"X Name": "a"}})),
            "property \"headers\" validation failed: invalid field character in header"
        );
        assert!(told(json!({"headers": {"": "a"}})).contains("invalid field length in header"));
    }
}
