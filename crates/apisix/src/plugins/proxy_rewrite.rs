//! APISIX's `proxy-rewrite`: what may be written, and what it means.

use std::sync::Arc;

use gateway::{error::ConfigError, plugin::Plugin};
use plugins::{
    request_edit::{Config, Edit, TargetEdit, compile},
    text::Text,
};
use serde_json::{Map, Value};

use super::{
    CompileContext, DialectPlugin,
    conf::{check_header_edits, header_values, is_dictionary, is_grouped, is_names, text, texts},
};
use crate::schema::Schema;

const METHODS: &[&str] = &[
    "GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "MKCOL", "COPY", "MOVE", "PROPFIND", "LOCK", "UNLOCK",
    "PATCH",
];

/// The plugin of the dialect.
pub struct ProxyRewrite {
    schema: Schema,
}

impl Default for ProxyRewrite {
    fn default() -> Self {
        Self { schema: schema() }
    }
}

impl DialectPlugin for ProxyRewrite {
    fn name(&self) -> &'static str {
        "proxy-rewrite"
    }

    fn priority(&self) -> i64 {
        1008
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn check_after_schema(&self, conf: &Map<String, Value>) -> Result<(), String> {
        let conf = Value::Object(conf.clone());
        let pairs = texts(&conf, "regex_uri");
        if !pairs.len().is_multiple_of(2) {
            return Err("The length of regex_uri should be an even number".to_owned());
        }
        for pair in pairs.chunks_exact(2) {
            let [pattern, with] = pair else { continue };
            let target = Some(TargetEdit::Patterns(vec![(pattern.clone(), with.clone())]));
            if let Err(error) = compile(Config { target, ..Config::default() }) {
                return Err(format!("invalid regex_uri({pattern}, {with}): {}", error.reason));
            }
        }
        Ok(())
    }

    fn compile(&self, conf: &Value, _cx: &CompileContext<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
        let pairs = texts(conf, "regex_uri");
        let pairs = pairs.chunks_exact(2).filter_map(|pair| match pair {
            [pattern, with] => Some((pattern.clone(), with.clone())),
            _ => None,
        });
        let target = match (text(conf, "uri"), conf.get("regex_uri")) {
            (Some(uri), _) => Some(TargetEdit::Path(Text::parse("uri", uri)?)),
            (None, Some(_)) => Some(TargetEdit::Patterns(pairs.collect())),
            (None, None) => None,
        };
        compile(Config {
            method: text(conf, "method").map(str::to_owned),
            target,
            host: text(conf, "host").map(str::to_owned),
            headers: headers(conf.get("headers"))?,
            empty_is_none: true,
            ..Config::default()
        })
    }
}

/// The edits in the order in which APISIX makes them: what is added, what is set, what is removed.
fn headers(headers: Option<&Value>) -> Result<Vec<Edit>, ConfigError> {
    let Some(headers) = headers else { return Ok(Vec::new()) };
    let mut edits = Vec::new();
    if !is_grouped(headers) {
        add_all(&mut edits, Some(headers))?;
        return Ok(edits);
    }
    for (name, value) in header_values(headers.get("add"))? {
        edits.push(Edit::Append(name, value));
    }
    add_all(&mut edits, headers.get("set"))?;
    edits.extend(texts(headers, "remove").into_iter().map(Edit::Remove));
    Ok(edits)
}

/// The first value of a name takes the place of all there are, the others follow it.
fn add_all(edits: &mut Vec<Edit>, values: Option<&Value>) -> Result<(), ConfigError> {
    let mut last = None;
    for (name, value) in header_values(values)? {
        let again = last.as_ref() == Some(&name);
        last = Some(name.clone());
        edits.push(if again { Edit::Append(name, value) } else { Edit::Set(name, value) });
    }
    Ok(())
}

/// `add` and `set` by name, `remove` a list of names, none of them empty.
fn is_sorted(edits: &Map<String, Value>) -> bool {
    edits.iter().all(|(name, value)| match name.as_str() {
        "add" | "set" => is_dictionary(value, true),
        "remove" => is_names(value),
        _ => false,
    })
}

fn check_headers(headers: &Value) -> Result<(), String> {
    check_header_edits(headers, is_sorted, true)
}

pub(crate) fn schema() -> Schema {
    Schema::object()
        .at_least(1)
        .field(
            "uri",
            Schema::string()
                .length(1, 4096)
                .pattern(r"^\/.*")
                .doc("the path for the upstream; `$name` and `${name}` are variables"),
        )
        .field(
            "method",
            Schema::string().choices(METHODS).absent_choices(&["TRACE"]).doc("the method for the upstream"),
        )
        .field(
            "regex_uri",
            Schema::array(Schema::string().length(0, 4096)).at_least(2).at_most(64).doc(
                "pairs of a pattern for the path and what replaces it, with `$1` for groups; the first that fits counts",
            ),
        )
        .field(
            "host",
            Schema::string()
                .pattern(r"^[0-9a-zA-Z-.]+(:\d{1,5})?$")
                .doc("`Host` for the upstream, where it does not say its own (`pass_host`)"),
        )
        .field(
            "headers",
            Schema::object().open().check(check_headers).doc(
                "`add`, `set` and `remove`, in this order; or names and values that are set. Values may hold variables and `$1`; with an empty one the header is taken out",
            ),
        )
        .field("use_real_request_uri_unsafe", Schema::boolean().unimplemented_except(false))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plugins::tests::told;

    fn compiled(conf: Value) -> Result<(), String> {
        let compiled = ProxyRewrite::default().compile(&conf, &CompileContext { resource: "routes/1" });
        compiled.map(drop).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_written_is_checked_in_apisix_words() {
        let told = |conf: Value| told(ProxyRewrite::default(), conf);
        assert_eq!(told(json!({"uri": "/x", "headers": {"X-Api": "v", "X-Num": 1}})), "fine");
        assert_eq!(
            told(json!({"headers": {"set": {"a": "b"}, "add": {"c": ["d", 1]}, "remove": ["e"]}})),
            "fine"
        );
        assert!(
            told(json!({"uri": "x"}))
                .starts_with("property \"uri\" validation failed: failed to match pattern")
        );
        assert_eq!(
            told(json!({"method": "GETS"})),
            "property \"method\" validation failed: matches none of the enum values"
        );
        assert_eq!(
            told(json!({"regex_uri": ["^/a"]})),
            "property \"regex_uri\" validation failed: expect array to have at least 2 items"
        );
        assert_eq!(
            told(json!({"regex_uri": ["a", "b", "c"]})),
            "The length of regex_uri should be an even number"
        );
        assert!(told(json!({"regex_uri": ["(", "b"]})).starts_with("invalid regex_uri((, b): "));
        assert_eq!(told(json!({"scheme": "https"})), "additional properties forbidden, found scheme");
        assert!(told(json!({"use_real_request_uri_unsafe": true})).contains("use_real_request_uri_unsafe"));
        for bad in [json!({}), json!({"a": true}), json!({"set": {"a": true}}), json!({"remove": ["a:b"]})] {
            let why = "property \"headers\" validation failed: object matches none of the required";
            assert_eq!(told(json!({"headers": bad})), why, "{bad}");
        }
        assert!(told(json!({"headers": {"": "b"}})).contains("invalid field length in header"));
        assert!(told(json!({})) == "expect object to have at least 1 properties");
    }

    #[test]
    fn r06_what_only_the_gate_may_say_is_not_to_be_written() {
        assert!(compiled(json!({"headers": {"X-Userinfo": "$http_x"}})).unwrap_err().contains("identity"));
        assert!(compiled(json!({"headers": {"set": {"X-Forwarded-For": "1.1.1.1"}}})).is_err());
        assert!(compiled(json!({"headers": {"add": {"Content-Length": "1"}}})).is_err());
        assert!(compiled(json!({"headers": {"a": "b\r\nc: d"}})).is_err());
        assert!(compiled(json!({"headers": {"a": "$graphql_name"}})).is_err());
        assert!(compiled(json!({"headers": {"X-Userinfo": "nobody"}})).is_ok());
    }
}
