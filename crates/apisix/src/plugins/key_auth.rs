//! APISIX's `key-auth`.

use std::sync::Arc;

use base::Secret;
use gateway::{consumer::CompiledCredential, error::ConfigError, plugin::Plugin};
use http::HeaderName;
use plugins::{
    Places,
    key_auth::{Config, compile, credential},
};
use serde_json::Value;

use super::{
    CompileContext, DialectPlugin,
    authentication::{fallback, fields, header_name, hides, text},
};
use crate::schema::Schema;

/// The plugin of the dialect.
pub struct KeyAuth {
    schema: Schema,
    consumer: Schema,
}

impl Default for KeyAuth {
    fn default() -> Self {
        Self { schema: schema(), consumer: consumer_schema() }
    }
}

/// What may be written on a route.
pub(crate) fn schema() -> Schema {
    let schema = Schema::object()
        .field("header", header_name().default("apikey").doc("header with the key; it goes before the query"))
        .field("query", Schema::string().length(1, 256).default("apikey").doc("query argument with the key"));
    fields(schema, "key")
}

/// What may be written in a consumer.
pub(crate) fn consumer_schema() -> Schema {
    let key = Schema::string().length(1, 4096).secret();
    Schema::object().required("key", key.doc("the consumer's key; no other consumer has it"))
}

impl DialectPlugin for KeyAuth {
    fn name(&self) -> &'static str {
        "key-auth"
    }

    fn priority(&self) -> i64 {
        2500
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

    fn compile_credential(&self, conf: &Value) -> Result<CompiledCredential, ConfigError> {
        credential(&Secret::new(text(conf, "key", "")))
    }

    fn compile(&self, conf: &Value, _cx: &CompileContext<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
        let header = HeaderName::from_bytes(text(conf, "header", "apikey").as_bytes());
        compile(Config {
            places: Places {
                header: header.map_err(|error| ConfigError::new("header", error.to_string()))?,
                query: Some(text(conf, "query", "apikey")),
                cookie: None,
            },
            hide: hides(conf),
            fallback: fallback(conf, "key"),
        })
    }
}
