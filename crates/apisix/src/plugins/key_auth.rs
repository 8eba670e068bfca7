//! APISIX's `key-auth`.

use std::sync::Arc;

use base::Secret;
use gateway::{consumer::CompiledCredential, error::ConfigError, plugin::Plugin};
use plugins::{
    Places,
    key_auth::{Config, Words, compile, credential},
};
use serde_json::Value;

use super::authentication::{Scheme, fallback, fields, header, header_name, hides, text};
use crate::schema::Schema;

/// Consumers known by a key.
#[derive(Debug)]
pub struct KeyAuth;

impl Scheme for KeyAuth {
    const NAME: &'static str = "key-auth";
    const PRIORITY: i64 = 2500;

    fn schema() -> Schema {
        let schema = Schema::object()
            .field(
                "header",
                header_name().default("apikey").doc("header with the key; it goes before the query"),
            )
            .field(
                "query",
                Schema::string().length(1, 256).default("apikey").doc("query argument with the key"),
            );
        fields(schema, "key")
    }

    fn consumer_schema() -> Schema {
        let key = Schema::string().length(1, 4096).secret();
        Schema::object().required("key", key.doc("the consumer's key; no other consumer has it"))
    }

    fn compile_credential(conf: &Value) -> Result<CompiledCredential, ConfigError> {
        credential(&Secret::new(text(conf, "key", "")))
    }

    fn compile(&self, conf: &Value) -> Result<Arc<dyn Plugin>, ConfigError> {
        compile(Config {
            places: vec![Places {
                header: Some(header(conf, "apikey")?),
                query: Some(text(conf, "query", "apikey")),
                cookie: None,
            }],
            in_body: Vec::new(),
            hide: hides(conf),
            words: Words::default(),
            scheme: "apikey",
            fallback: fallback(conf, "key"),
        })
    }
}
