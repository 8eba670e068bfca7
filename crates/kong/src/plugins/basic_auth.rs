//! Kong's `basic-auth`.

use std::sync::Arc;

use gateway::{error::ConfigError, plugin::Plugin};
use plugins::basic_auth::{Config, Words, compile};
use serde_json::{Map, Value};

use super::{
    DialectPlugin,
    authentication::{fallback, fields, flag},
};
use crate::schema::Schema;

/// The plugin of the dialect.
pub(super) struct BasicAuth;

impl DialectPlugin for BasicAuth {
    fn name(&self) -> &'static str {
        "basic-auth"
    }

    fn priority(&self) -> i64 {
        1100
    }

    fn authenticates(&self) -> bool {
        true
    }

    fn schema(&self) -> Arc<Schema> {
        fields(Schema::new(), Some("service"))
    }

    fn compile(&self, config: &Map<String, Value>) -> Result<Arc<dyn Plugin>, ConfigError> {
        const UNAUTHORIZED: &str = "Unauthorized";
        compile(Config {
            hide: flag(config, "hide_credentials", false),
            words: Words { missing: UNAUTHORIZED, invalid: UNAUTHORIZED, wrong: UNAUTHORIZED },
            fallback: fallback(config),
        })
    }
}
