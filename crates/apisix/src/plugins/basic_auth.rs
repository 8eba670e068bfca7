//! APISIX's `basic-auth`.

use std::sync::Arc;

use base::Secret;
use gateway::{consumer::CompiledCredential, error::ConfigError, plugin::Plugin};
use plugins::basic_auth::{Config, compile, credential};
use serde_json::Value;

use super::{
    CompileContext, DialectPlugin,
    authentication::{fallback, fields, hides, text},
};
use crate::schema::Schema;

/// The plugin of the dialect.
pub struct BasicAuth {
    schema: Schema,
    consumer: Schema,
}

impl Default for BasicAuth {
    fn default() -> Self {
        Self { schema: schema(), consumer: consumer_schema() }
    }
}

/// What may be written on a route.
pub(crate) fn schema() -> Schema {
    fields(Schema::object(), "basic")
}

/// What may be written in a consumer.
pub(crate) fn consumer_schema() -> Schema {
    let password = Schema::string().length(1, 4096).secret();
    Schema::object()
        .required(
            "username",
            Schema::string().length(1, 256).doc("the name it logs in with; without a colon"),
        )
        .required("password", password.doc("its password"))
}

impl DialectPlugin for BasicAuth {
    fn name(&self) -> &'static str {
        "basic-auth"
    }

    fn priority(&self) -> i64 {
        2520
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
        credential(&text(conf, "username", ""), &Secret::new(text(conf, "password", "")))
    }

    fn compile(&self, conf: &Value, _cx: &CompileContext<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
        compile(Config { hide: hides(conf), fallback: fallback(conf, "basic") })
    }
}
