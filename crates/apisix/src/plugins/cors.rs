//! APISIX's `cors`: what may be written, and what it means.

use std::sync::Arc;

use gateway::{error::ConfigError, plugin::Plugin};
use plugins::cors::{AllowHeaders, Config, Origins, Preflight, compile};
use serde_json::{Map, Value};

use super::{
    CompileContext, DialectPlugin,
    conf::{flag, text, texts},
};
use crate::schema::Schema;

/// What `**` stands for among methods.
const ALL_METHODS: &str = "GET,POST,PUT,DELETE,PATCH,HEAD,OPTIONS,CONNECT,TRACE";
const ORIGIN_PATTERN: &str = r"^(\*|\*\*|null|\w+://[^,]+(,\w+://[^,]+)*)$";

/// The plugin of the dialect.
pub struct Cors {
    schema: Schema,
    metadata: Schema,
}

impl Default for Cors {
    fn default() -> Self {
        Self { schema: schema(), metadata: metadata() }
    }
}

impl DialectPlugin for Cors {
    fn name(&self) -> &'static str {
        "cors"
    }

    fn priority(&self) -> i64 {
        4000
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn check_after_schema(&self, conf: &Map<String, Value>) -> Result<(), String> {
        let conf = Value::Object(conf.clone());
        if flag(&conf, "allow_credential", false) {
            let is_star = |name: &str, unset: &str| text(&conf, name).unwrap_or(unset) == "*";
            // A list by pattern takes the place of `allow_origins`.
            let by_pattern = conf.get("allow_origins_by_regex").is_some();
            if (is_star("allow_origins", "*") && !by_pattern)
                || is_star("allow_methods", "*")
                || is_star("allow_headers", "*")
                || is_star("expose_headers", "")
                || is_star("timing_allow_origins", "")
            {
                let why = "you can not set '*' for other option when 'allow_credential' is true";
                return Err(why.to_owned());
            }
        }
        match compile(config(&conf)) {
            Err(error) if error.path == "origins" || error.path == "timing" => Err(error.reason),
            _ => Ok(()),
        }
    }

    fn metadata_schema(&self) -> Option<&Schema> {
        Some(&self.metadata)
    }

    fn apply_metadata(&self, conf: &mut Map<String, Value>, metadata: &Value) {
        let named = conf.get(BY_METADATA).and_then(Value::as_array).into_iter().flatten();
        let lists = metadata.get("allow_origins");
        let found: Vec<String> =
            named.filter_map(|name| Some(lists?.get(name.as_str()?)?.as_str()?.to_owned())).collect();
        conf.insert(FOUND.to_owned(), found.into());
    }

    fn compile(&self, conf: &Value, _cx: &CompileContext<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
        compile(config(conf))
    }
}

/// Names of lists in the metadata.
const BY_METADATA: &str = "allow_origins_by_metadata";
/// Where the lists themselves are put; nobody can write this member.
const FOUND: &str = "allow_origins_found_in_metadata";

/// What `plugin_metadata` may hold.
pub(crate) fn metadata() -> Schema {
    let origins = Schema::string().length(1, 4096).pattern(ORIGIN_PATTERN);
    let lists = Schema::additional(origins).at_most(1024);
    Schema::object().field("allow_origins", lists.doc("lists of origins, each with its name"))
}

pub(crate) fn schema() -> Schema {
    let patterns = || Schema::array(Schema::string().length(1, 4096)).at_least(1).unique();
    Schema::object()
        .field(
            "allow_origins",
            Schema::string().pattern(ORIGIN_PATTERN).default("*").doc(
                "origins that may read answers, separated by commas; `*`: every one; `**`: every one, by its own name",
            ),
        )
        .field(
            "allow_methods",
            Schema::string().default("*").doc("methods, separated by commas; `*` or `**`: every one"),
        )
        .field(
            "allow_headers",
            Schema::string()
                .default("*")
                .doc("headers that requests may have, separated by commas; `**`: those that are asked for"),
        )
        .field(
            "expose_headers",
            Schema::string().doc("headers of answers that pages may read, separated by commas"),
        )
        .field(
            "max_age",
            Schema::integer().default(5).doc("seconds that browsers remember a preflight; `-1`: not at all"),
        )
        .field(
            "allow_credential",
            Schema::boolean().default(false).doc("whether cookies and credentials may be sent; not with `*`"),
        )
        .field(
            "allow_origins_by_regex",
            patterns().doc("patterns for origins, in place of `allow_origins`"),
        )
        .field(
            "allow_origins_by_metadata",
            Schema::array(Schema::string().length(1, 4096))
                .at_least(1)
                .unique()
                .doc("names of further lists of origins, in the plugin's `plugin_metadata`"),
        )
        .field(
            "timing_allow_origins",
            Schema::string()
                .pattern(ORIGIN_PATTERN)
                .doc("`Timing-Allow-Origin`: origins that may see how long things took"),
        )
        .field(
            "timing_allow_origins_by_regex",
            patterns().doc("patterns for origins, in place of `timing_allow_origins`"),
        )
}

fn config(conf: &Value) -> Config {
    let timing =
        conf.get("timing_allow_origins").is_some() || conf.get("timing_allow_origins_by_regex").is_some();
    Config {
        origins: with_metadata(conf, origins(conf, "allow_origins", "allow_origins_by_regex")),
        methods: match text(conf, "allow_methods") {
            Some("**") => ALL_METHODS.to_owned(),
            methods => methods.unwrap_or("*").to_owned(),
        },
        headers: match text(conf, "allow_headers") {
            Some("**") => AllowHeaders::Echo,
            headers => AllowHeaders::Listed(headers.unwrap_or("*").to_owned()),
        },
        expose: text(conf, "expose_headers").filter(|expose| !expose.is_empty()).map(str::to_owned),
        max_age: Some(conf.get("max_age").and_then(Value::as_i64).unwrap_or(5)),
        credentials: flag(conf, "allow_credential", false),
        timing: timing.then(|| origins(conf, "timing_allow_origins", "timing_allow_origins_by_regex")),
        preflight: Preflight::EveryOptions,
        apart: false,
        private_network: false,
        without_origin: true,
    }
}

/// With the lists of the metadata, which count beside those that are written. `*` and `**` among them let everybody in.
fn with_metadata(conf: &Value, own: Origins) -> Origins {
    let Origins::Listed { mut exact, patterns, always } = own else { return own };
    for list in texts(conf, FOUND) {
        match list.as_str() {
            // A list is written without knowing which routes name it.
            "*" if flag(conf, "allow_credential", false) => {}
            "*" => return Origins::Any,
            "**" => return Origins::Echo,
            list => exact.extend(list.split(',').map(str::to_owned)),
        }
    }
    Origins::Listed { exact, patterns, always }
}

fn origins(conf: &Value, list: &str, patterns: &str) -> Origins {
    if conf.get(patterns).is_some() {
        return Origins::Listed { exact: Vec::new(), patterns: texts(conf, patterns), always: false };
    }
    match text(conf, list).unwrap_or("*") {
        "*" => Origins::Any,
        "**" => Origins::Echo,
        written => Origins::Listed {
            exact: written.split(',').map(str::to_owned).collect(),
            patterns: Vec::new(),
            always: false,
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plugins::tests::told;

    #[test]
    fn credentials_and_every_origin_are_refused_in_apisix_words() {
        let told = |conf: Value| told(Cors::default(), conf);
        let both = "you can not set '*' for other option when 'allow_credential' is true";
        assert_eq!(told(json!({})), "fine");
        assert_eq!(told(json!({"allow_credential": true})), both);
        let named = json!({
            "allow_credential": true, "allow_origins": "https://a.example,http://b.example:80",
            "allow_methods": "GET", "allow_headers": "X-A", "expose_headers": "X-B",
        });
        assert_eq!(told(named), "fine");
        let star = json!({
            "allow_credential": true, "allow_origins": "https://a.example", "allow_methods": "GET",
            "allow_headers": "X-A", "expose_headers": "*",
        });
        assert_eq!(told(star), both);
        let odd = told(json!({"allow_origins": "a.example"}));
        assert!(
            odd.starts_with("property \"allow_origins\" validation failed: failed to match pattern"),
            "{odd}"
        );
        assert!(told(json!({"allow_origins_by_regex": ["("]})).contains("regex parse error"));
        assert_eq!(
            told(json!({"allow_origins_by_regex": ["a", "a"]})),
            "property \"allow_origins_by_regex\" validation failed: expected unique items but items 1 and 2 are equal"
        );
        assert_eq!(told(json!({"allow_origins_by_metadata": ["a"]})), "fine");
    }
}
