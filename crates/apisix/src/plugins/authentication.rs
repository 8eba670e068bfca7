//! What APISIX's authentication plugins have in common: attributes, and how the dialect sees them.

use std::sync::Arc;

use gateway::{consumer::CompiledCredential, error::ConfigError, plugin::Plugin};
use http::HeaderName;
use plugins::{Fallback, Realm};
use serde_json::{Map, Value};

use super::{CompileContext, DialectPlugin};
use crate::schema::Schema;

/// What one way to find out who the consumer is differs in from another.
pub trait Scheme: Send + Sync {
    /// APISIX's name of it.
    const NAME: &'static str;
    /// APISIX's priority.
    const PRIORITY: i64;

    /// What may be written on a route.
    fn schema() -> Schema;

    /// What may be written in a consumer.
    fn consumer_schema() -> Schema;

    /// Rules that APISIX checks after the consumer's schema.
    fn check_consumer(_conf: &Map<String, Value>) -> Result<(), String> {
        Ok(())
    }

    /// What a consumer is known by.
    fn compile_credential(conf: &Value) -> Result<CompiledCredential, ConfigError>;

    /// What runs on a route.
    fn compile(&self, conf: &Value) -> Result<Arc<dyn Plugin>, ConfigError>;
}

/// A scheme as a plugin of the dialect.
#[derive(Debug)]
pub struct Authentication<S> {
    scheme: S,
    schema: Schema,
    consumer: Schema,
}

impl<S: Scheme> Authentication<S> {
    /// The plugin of this scheme.
    pub fn new(scheme: S) -> Self {
        Self { scheme, schema: S::schema(), consumer: S::consumer_schema() }
    }
}

impl<S: Scheme> DialectPlugin for Authentication<S> {
    fn name(&self) -> &'static str {
        S::NAME
    }

    fn priority(&self) -> i64 {
        S::PRIORITY
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn authenticates(&self) -> bool {
        true
    }

    fn consumer_schema(&self) -> Option<&Schema> {
        Some(&self.consumer)
    }

    fn check_consumer(&self, conf: &Map<String, Value>) -> Result<(), String> {
        S::check_consumer(conf)
    }

    fn compile_credential(&self, conf: &Value) -> Result<CompiledCredential, ConfigError> {
        S::compile_credential(conf)
    }

    fn compile(&self, conf: &Value, _cx: &CompileContext<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
        self.scheme.compile(conf)
    }
}

/// `hide_credentials`, `realm` and `anonymous_consumer`.
pub(super) fn fields(schema: Schema, realm: &'static str) -> Schema {
    schema
        .field(
            "hide_credentials",
            Schema::boolean().default(false).doc("true: the credential is not sent to the upstream"),
        )
        .field(
            "realm",
            Schema::string()
                .length(1, 128)
                .pattern(r#"^[\x20-\x21\x23-\x5B\x5D-\x7E]+$"#)
                .default(realm)
                .doc("realm of the challenge"),
        )
        .field(
            "anonymous_consumer",
            Schema::string()
                .length(1, 256)
                .doc("name of the consumer that requests without a good credential are taken for"),
        )
}

pub(super) fn fallback(conf: &Value, realm: &str) -> Fallback {
    let realm = Realm::Named(text(conf, "realm", realm));
    Fallback { realm, anonymous: member(conf, "anonymous_consumer"), ..Fallback::default() }
}

pub(super) fn hides(conf: &Value) -> bool {
    is_on(conf, "hide_credentials")
}

/// A header's name in a schema.
pub(super) fn header_name() -> Schema {
    Schema::string().length(1, 256).check(|value| {
        let name = value.as_str().unwrap_or_default();
        HeaderName::from_bytes(name.as_bytes())
            .map(drop)
            .map_err(|_| "it is not the name of a header".to_owned())
    })
}

/// The header that `conf` names, or the scheme's own.
pub(super) fn header(conf: &Value, default: &str) -> Result<HeaderName, ConfigError> {
    HeaderName::from_bytes(text(conf, "header", default).as_bytes())
        .map_err(|error| ConfigError::new("header", error.to_string()))
}

pub(super) fn is_on(conf: &Value, name: &str) -> bool {
    conf.get(name).and_then(Value::as_bool).unwrap_or(false)
}

pub(super) fn member(conf: &Value, name: &str) -> Option<String> {
    conf.get(name).and_then(Value::as_str).map(str::to_owned)
}

pub(super) fn text(conf: &Value, name: &str, default: &str) -> String {
    member(conf, name).unwrap_or_else(|| default.to_owned())
}
