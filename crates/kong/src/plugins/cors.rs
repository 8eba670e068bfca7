//! Kong's `cors`.

use std::sync::Arc;

use gateway::{error::ConfigError, plugin::Plugin};
use plugins::cors::{AllowHeaders, Config, Origins, Preflight, compile};
use serde_json::{Map, Value, json};

use super::{
    DialectPlugin,
    conf::{flag, texts},
};
use crate::schema::{Field, Schema};

const METHODS: &[&str] = &["GET", "HEAD", "PUT", "PATCH", "POST", "DELETE", "OPTIONS", "TRACE", "CONNECT"];

/// The plugin of the dialect.
pub(super) struct Cors;

impl DialectPlugin for Cors {
    fn name(&self) -> &'static str {
        "cors"
    }

    fn priority(&self) -> i64 {
        2000
    }

    fn schema(&self) -> Arc<Schema> {
        Arc::new(schema())
    }

    fn compile(&self, config: &Map<String, Value>) -> Result<Arc<dyn Plugin>, ConfigError> {
        let joined = |field: &str| Some(texts(config, field).join(",")).filter(|list| !list.is_empty());
        let max_age = config.get("max_age").and_then(Value::as_f64).map(|seconds| seconds as i64);
        compile(Config {
            origins: origins(&texts(config, "origins")),
            methods: joined("methods").unwrap_or_else(|| METHODS.join(",")),
            headers: joined("headers").map_or(AllowHeaders::Echo, AllowHeaders::Listed),
            expose: joined("exposed_headers"),
            max_age,
            credentials: flag(config, "credentials", false),
            timing: None,
            preflight: match flag(config, "preflight_continue", false) {
                true => Preflight::Upstream,
                false => Preflight::Real,
            },
            apart: true,
            private_network: flag(config, "private_network", false),
            without_origin: flag(config, "allow_origin_absent", true),
        })
    }
}

/// One origin without letters of a pattern is said to everybody, as there; what has such letters is a pattern for the
/// whole of an origin, so that `https://a.example` does not stand for `https://a.example.evil`.
fn origins(written: &[&str]) -> Origins {
    if written.is_empty() || written.contains(&"*") {
        return Origins::Any;
    }
    let is_plain =
        |text: &&&str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".:/-".contains(&byte));
    let (plain, patterns): (Vec<&&str>, Vec<&&str>) = written.iter().partition(is_plain);
    Origins::Listed {
        exact: plain.into_iter().map(|text| (*text).to_owned()).collect(),
        patterns: patterns.into_iter().map(|text| format!("^(?:{text})$")).collect(),
        always: true,
    }
}

fn schema() -> Schema {
    Schema::new()
        .field(
            "origins",
            Field::strings()
                .doc("origins that may read answers, or patterns for them; left out or `*`: every one"),
        )
        .field(
            "headers",
            Field::strings().doc("headers that requests may have; left out: those that are asked for"),
        )
        .field("exposed_headers", Field::strings().doc("headers of answers that pages may read"))
        .field(
            "methods",
            Field::array(Field::string().one_of(METHODS))
                .default(json!(METHODS))
                .doc("methods that pages may use"),
        )
        .field("max_age", Field::number().doc("seconds that browsers remember a preflight"))
        .field(
            "credentials",
            Field::boolean()
                .required()
                .default(false)
                .doc("whether cookies and credentials may be sent; only with origins that are named"),
        )
        .field(
            "private_network",
            Field::boolean()
                .required()
                .default(false)
                .doc("whether requests from public pages to private networks are let through"),
        )
        .field(
            "preflight_continue",
            Field::boolean().required().default(false).doc("whether the upstream answers preflights"),
        )
        .field(
            "allow_origin_absent",
            Field::boolean()
                .required()
                .default(true)
                .doc("whether requests without `Origin` get the headers too"),
        )
}
