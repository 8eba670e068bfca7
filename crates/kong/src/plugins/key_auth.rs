//! Kong's `key-auth`.

use std::sync::Arc;

use gateway::{error::ConfigError, plugin::Plugin};
use http::HeaderName;
use plugins::{
    Places,
    key_auth::{Config, Words, compile},
};
use serde_json::{Map, Value, json};

use super::{
    DialectPlugin,
    authentication::{fallback, fields, flag, preflight, texts},
};
use crate::{
    entities::header_name,
    schema::{Field, Schema},
};

/// The plugin of the dialect.
pub(super) struct KeyAuth;

fn schema() -> Arc<Schema> {
    let schema = Schema::new()
        .field(
            "key_names",
            Field::array(Field::string().text(header_name))
                .required()
                .default(json!(["apikey"]))
                .fewest(1)
                .doc("headers and query arguments with the key; the first that is there counts"),
        )
        .field(
            "key_in_header",
            Field::boolean().required().default(true).doc("whether it may stand in a header"),
        )
        .field(
            "key_in_query",
            Field::boolean().required().default(true).doc("whether it may stand in the query"),
        )
        .field(
            "key_in_body",
            Field::boolean()
                .required()
                .default(false)
                .doc("whether it may stand in a form or JSON body, of at most 1 MiB"),
        );
    fields(preflight(schema), None)
}

impl DialectPlugin for KeyAuth {
    fn name(&self) -> &'static str {
        "key-auth"
    }

    fn priority(&self) -> i64 {
        1250
    }

    fn authenticates(&self) -> bool {
        true
    }

    fn schema(&self) -> Arc<Schema> {
        schema()
    }

    fn compile(&self, config: &Map<String, Value>) -> Result<Arc<dyn Plugin>, ConfigError> {
        let (in_header, in_query) = (flag(config, "key_in_header", true), flag(config, "key_in_query", true));
        let place = |name: &str| {
            let header = HeaderName::from_bytes(name.as_bytes());
            let header = header.map_err(|error| ConfigError::new("key_names", error.to_string()))?;
            Ok(Places {
                header: in_header.then_some(header),
                query: in_query.then(|| name.to_owned()),
                cookie: None,
            })
        };
        compile(Config {
            places: texts(config, "key_names").into_iter().map(place).collect::<Result<_, _>>()?,
            in_body: match flag(config, "key_in_body", false) {
                true => texts(config, "key_names").into_iter().map(str::to_owned).collect(),
                false => Vec::new(),
            },
            hide: flag(config, "hide_credentials", false),
            words: Words {
                missing: "No API key found in request",
                wrong: "Unauthorized",
                unclear: "Duplicate API key found",
            },
            scheme: "Key",
            fallback: fallback(config),
        })
    }
}
