//! Kong's `ip-restriction`.

use std::{net::IpAddr, sync::Arc};

use gateway::{error::ConfigError, plugin::Plugin};
use ipnet::IpNet;
use plugins::ip_restriction::{Config, compile};
use serde_json::{Map, Value};

use super::{
    DialectPlugin,
    conf::{integer, text, texts},
};
use crate::schema::{Field, Schema};

/// The plugin of the dialect.
pub(super) struct IpRestriction;

impl DialectPlugin for IpRestriction {
    fn name(&self) -> &'static str {
        "ip-restriction"
    }

    fn priority(&self) -> i64 {
        990
    }

    fn schema(&self) -> Arc<Schema> {
        Arc::new(schema())
    }

    fn rules(&self, entity: Schema) -> Schema {
        entity.at_least_one_of(&["config.allow", "config.deny"])
    }

    fn compile(&self, config: &Map<String, Value>) -> Result<Arc<dyn Plugin>, ConfigError> {
        let networks = |field: &str| {
            let networks = texts(config, field).into_iter().map(network);
            networks.collect::<Result<_, _>>().map_err(|error| ConfigError::new(field, error))
        };
        let message = text(config, "message");
        compile(Config {
            allow: networks("allow")?,
            deny: networks("deny")?,
            status: integer(config, "status").and_then(|status| u16::try_from(status).ok()).unwrap_or(403),
            message: message.unwrap_or("IP address not allowed").to_owned(),
            member: "message",
            names_address: message.is_none(),
        })
    }
}

fn network(text: &str) -> Result<IpNet, String> {
    let address = text.parse::<IpAddr>().map(IpNet::from);
    address.or_else(|_| text.parse()).map_err(|_| format!("invalid ip or cidr range: '{text}'"))
}

fn schema() -> Schema {
    let list = || Field::array(Field::string().text(|text| network(text).map(drop)));
    Schema::new()
        .field("allow", list().doc("addresses and networks (CIDR) that alone are let in"))
        .field("deny", list().doc("addresses and networks (CIDR) that are not let in"))
        .field("status", Field::integer().between(400, 599).doc("status of a refusal; left out: 403"))
        .field(
            "message",
            Field::string()
                .doc("what the others are told; left out: `IP address not allowed: ` and the address"),
        )
}
