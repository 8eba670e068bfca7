//! APISIX's `redirect`: what may be written, and what it means. `hsts` is an extension.

use std::{sync::Arc, time::Duration};

use gateway::{error::ConfigError, plugin::Plugin};
use plugins::redirect::{Config, Hsts, Target, compile};
use serde_json::{Map, Value};

use super::{CompileContext, DialectPlugin};
use crate::schema::Schema;

/// One more than `multi-auth`, the first of the plugins that find out who the consumer is.
const BEFORE_AUTHENTICATION: i64 = 2601;

/// The plugin of the dialect.
pub struct Redirect {
    schema: Schema,
    https_port: Option<u16>,
}

impl Redirect {
    /// The plugin; clients reach the gate's TLS at `https_port`, or at 443 where nothing is said.
    pub fn new(https_port: Option<u16>) -> Self {
        Self { schema: schema(), https_port }
    }
}

impl DialectPlugin for Redirect {
    fn name(&self) -> &'static str {
        "redirect"
    }

    fn priority(&self) -> i64 {
        900
    }

    /// Nobody is asked who it is over http who is to come over https: a login would begin in the clear, and credentials
    /// would be judged there.
    fn priority_of(&self, conf: &Value) -> i64 {
        match conf.get("http_to_https").and_then(Value::as_bool) {
            Some(true) => BEFORE_AUTHENTICATION,
            _ => self.priority(),
        }
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn check_after_schema(&self, conf: &Map<String, Value>) -> Result<(), String> {
        let on = |name: &str| conf.get(name).and_then(Value::as_bool).unwrap_or(false);
        if on("http_to_https") && on("append_query_string") {
            let why = "only one of `http_to_https` and `append_query_string` can be configured.";
            return Err(why.to_owned());
        }
        // APISIX tries the pattern when it is written.
        match compile(config(&Value::Object(conf.clone()), self.https_port)) {
            Err(error) if error.path == "regex_uri" => Err(error.reason),
            _ => Ok(()),
        }
    }

    fn compile(&self, conf: &Value, _cx: &CompileContext<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
        compile(config(conf, self.https_port))
    }
}

pub(crate) fn schema() -> Schema {
    Schema::object()
        .field(
            "uri",
            Schema::string()
                .length(2, 4096)
                .doc("where to; `$name` and `${name}` are variables, `\\$name` stands for itself"),
        )
        .field(
            "regex_uri",
            Schema::array(Schema::string().length(0, 4096)).at_least(2).at_most(2).doc(
                "a pattern for the path, and what replaces it, with `$1` for its groups; other paths go on",
            ),
        )
        .field(
            "http_to_https",
            Schema::boolean()
                .doc("to the same over https: 301 for GET and HEAD, 308 for all else; `false`: nowhere"),
        )
        .field(
            "ret_code",
            Schema::integer().at_least(200).at_most(599).default(302).doc("status of the answer"),
        )
        .field(
            "encode_uri",
            Schema::boolean()
                .default(false)
                .doc("whether the text of `uri` is percent-encoded too; what a client chose always is"),
        )
        .field(
            "append_query_string",
            Schema::boolean()
                .default(false)
                .doc("whether the request's query goes on; not with `http_to_https`"),
        )
        .field(
            "hsts",
            hsts().doc("extension: `Strict-Transport-Security` on every answer over https (RFC 6797)"),
        )
        .one_required(&[&["uri"], &["regex_uri"], &["http_to_https"]])
}

fn hsts() -> Schema {
    Schema::object()
        .required(
            "max_age",
            Schema::integer()
                .at_least(0)
                .at_most(i64::from(u32::MAX))
                .doc("seconds that browsers remember it"),
        )
        .field("include_subdomains", Schema::boolean().default(false).doc("for subdomains too"))
        .field(
            "preload",
            Schema::boolean()
                .default(false)
                .doc("ask for a place in the browsers' own list; needs a year and subdomains"),
        )
}

fn config(conf: &Value, https_port: Option<u16>) -> Config {
    let on = |name: &str| conf.get(name).and_then(Value::as_bool).unwrap_or(false);
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let target = if let Some(uri) = conf.get("uri") {
        Target::Template(text(Some(uri)))
    } else if let Some(pattern) = conf.get("regex_uri") {
        Target::Pattern(text(pattern.get(0)), text(pattern.get(1)))
    } else if on("http_to_https") {
        Target::Https(https_port)
    } else {
        Target::Nowhere
    };
    let status = conf.get("ret_code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
    let hsts = conf.get("hsts").map(|hsts| {
        let on = |name: &str| hsts.get(name).and_then(Value::as_bool).unwrap_or(false);
        Hsts {
            max_age: Duration::from_secs(hsts.get("max_age").and_then(Value::as_u64).unwrap_or(0)),
            include_subdomains: on("include_subdomains"),
            preload: on("preload"),
        }
    });
    Config {
        target,
        status: status.unwrap_or(302),
        encode: on("encode_uri"),
        append_query: on("append_query_string"),
        hsts,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plugins::Registry;

    fn told(conf: Value) -> String {
        let plugins = json!({"redirect": conf});
        let registry = Registry::new(vec![Arc::new(Redirect::new(None))]);
        let checked = registry.check(plugins.as_object().unwrap());
        let prefix = "failed to check the configuration of plugin redirect err: ";
        match checked {
            Ok(()) => "fine".to_owned(),
            Err(error) => error.strip_prefix(prefix).unwrap_or_else(|| panic!("{error}")).to_owned(),
        }
    }

    #[test]
    fn exactly_one_rule_is_written_and_the_rest_is_refused_in_apisix_words() {
        assert_eq!(told(json!({"uri": "/x", "ret_code": 301})), "fine");
        assert_eq!(told(json!({})), "value should match only one schema, but matches none");
        assert_eq!(
            told(json!({"uri": "/x", "http_to_https": true})),
            "value should match only one schema, but matches both schemas 1 and 3"
        );
        assert_eq!(
            told(json!({"uri": "/x", "regex_uri": ["/", "/"]})),
            "value should match only one schema, but matches both schemas 1 and 2"
        );
        assert_eq!(
            told(json!({"http_to_https": true, "append_query_string": true})),
            "only one of `http_to_https` and `append_query_string` can be configured."
        );
        assert_eq!(
            told(json!({"uri": "/x", "ret_code": 100})),
            "property \"ret_code\" validation failed: expected 100 to be at least 200"
        );
        assert_eq!(
            told(json!({"regex_uri": ["/"]})),
            "property \"regex_uri\" validation failed: expect array to have at least 2 items"
        );
        assert!(told(json!({"regex_uri": ["(", "/$1"]})).starts_with("invalid regex_uri ((, /$1), err:"));
        assert_eq!(
            told(json!({"http_to_https": true, "hsts": {}})),
            "property \"hsts\" validation failed: property \"max_age\" is required"
        );
    }
}
