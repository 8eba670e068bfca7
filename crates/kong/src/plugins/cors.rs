//! Kong's `cors`.

use std::sync::Arc;

use gateway::{error::ConfigError, plugin::Plugin};
use plugins::cors::{AllowHeaders, Config, Origins, Preflight, compile};
use serde_json::{Map, Value, json};

use super::{
    DialectPlugin,
    conf::{excerpt, flag, texts},
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
        patterns: patterns.into_iter().map(|text| pattern(text)).collect(),
        always: true,
    }
}

/// A pattern for the whole of an origin; one without a colon is for its host alone, as there.
fn pattern(text: &str) -> String {
    let text = text.strip_prefix('^').unwrap_or(text);
    let text = text.strip_suffix('$').filter(|rest| !rest.ends_with('\\')).unwrap_or(text);
    match text.contains(':') {
        true => format!("^(?:{text})$"),
        false => format!("^(?:[a-z][a-z0-9+.-]*://)?(?:{text})(?::[0-9]+)?$"),
    }
}

fn origin(text: &str) -> Result<(), String> {
    if text == "*" || regex::Regex::new(&pattern(text)).is_ok() {
        return Ok(());
    }
    Err(format!("'{}' is not a valid regex", excerpt(text)))
}

fn schema() -> Schema {
    Schema::new()
        .field(
            "origins",
            Field::array(Field::string().text(origin))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_without_a_colon_is_for_the_host_and_each_fits_the_whole() {
        for (written, origin, fits) in [
            (r"[a-z]+\.example\.com", "https://shop.example.com", true),
            (r"[a-z]+\.example\.com", "http://shop.example.com:8080", true),
            (r"^[a-z]+\.example\.com$", "https://shop.example.com", true),
            (r"[a-z]+\.example\.com", "https://shop.example.com.evil", false),
            (r"[a-z]+\.example\.com", "https://evil/shop.example.com", false),
            (r".*\.example\.com", "https://a.b.example.com", true),
            (r"https://.*\.example\.com", "https://a.example.com", true),
            (r"https://.*\.example\.com", "http://a.example.com", false),
            (r"^https?://a\.example(:[0-9]+)?$", "http://a.example:81", true),
            (r"https://a\.example", "https://a.example:81", false),
        ] {
            let found = regex::Regex::new(&pattern(written)).unwrap().is_match(origin);
            assert_eq!(found, fits, "{written} {origin}");
        }
    }
}
