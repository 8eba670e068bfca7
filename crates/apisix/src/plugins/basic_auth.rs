//! APISIX's `basic-auth`.

use std::sync::Arc;

use base::Secret;
use gateway::{consumer::CompiledCredential, error::ConfigError, plugin::Plugin};
use plugins::basic_auth::{Config, Words, compile, credential};
use serde_json::Value;

use super::authentication::{Scheme, fallback, fields, hides, text};
use crate::schema::Schema;

/// Consumers known by a name and a password.
#[derive(Debug)]
pub struct BasicAuth;

impl Scheme for BasicAuth {
    const NAME: &'static str = "basic-auth";
    const PRIORITY: i64 = 2520;

    fn schema() -> Schema {
        fields(Schema::object(), "basic")
    }

    fn consumer_schema() -> Schema {
        let username = Schema::string().length(1, 256);
        let password = Schema::string().length(1, 4096).secret();
        Schema::object()
            .required("username", username.doc("the name it logs in with; without a colon"))
            .required("password", password.doc("its password"))
    }

    fn compile_credential(conf: &Value) -> Result<CompiledCredential, ConfigError> {
        credential(&text(conf, "username", ""), &Secret::new(text(conf, "password", "")))
    }

    fn compile(&self, conf: &Value) -> Result<Arc<dyn Plugin>, ConfigError> {
        compile(Config { hide: hides(conf), words: Words::default(), fallback: fallback(conf, "basic") })
    }
}
