//! APISIX's `ip-restriction`: what may be written, and what it means.

use std::sync::Arc;

use gateway::{error::ConfigError, plugin::Plugin};
use plugins::ip_restriction::{Config, compile};
use serde_json::{Map, Value};

use super::{
    CompileContext, DialectPlugin,
    conf::{integer, text, texts},
};
use crate::{
    compile::network,
    schema::{NONE_FITS, Schema},
};

/// The plugin of the dialect.
pub struct IpRestriction {
    schema: Schema,
}

impl Default for IpRestriction {
    fn default() -> Self {
        Self { schema: schema() }
    }
}

impl DialectPlugin for IpRestriction {
    fn name(&self) -> &'static str {
        "ip-restriction"
    }

    fn priority(&self) -> i64 {
        3000
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn check_after_schema(&self, conf: &Map<String, Value>) -> Result<(), String> {
        let conf = Value::Object(conf.clone());
        for list in ["whitelist", "blacklist"] {
            for address in texts(&conf, list) {
                network(&address).map_err(|_| format!("invalid ip address: {address}"))?;
            }
        }
        Ok(())
    }

    fn compile(&self, conf: &Value, _cx: &CompileContext<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
        let networks = |list: &str| {
            let networks = texts(conf, list).into_iter().map(|address| network(&address));
            networks.collect::<Result<_, _>>().map_err(|error| ConfigError::new(list, error))
        };
        compile(Config {
            allow: networks("whitelist")?,
            deny: networks("blacklist")?,
            status: u16::try_from(integer(conf, "response_code").unwrap_or(403)).unwrap_or(403),
            message: text(conf, "message").unwrap_or("Your IP address is not allowed").to_owned(),
            member: "message",
            names_address: false,
        })
    }
}

/// APISIX's schemas for addresses let everything through that has an IPv6 address's letters and a number behind a slash;
/// what is wrong with that is said later, and with its own text.
fn looks_like_one(value: &Value) -> Result<(), String> {
    let text = value.as_str().unwrap_or_default();
    let is_loose = text.split_once('/').is_some_and(|(address, bits)| {
        address.contains(':')
            && address.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':')
            && (1..=3).contains(&bits.len())
            && bits.bytes().all(|byte| byte.is_ascii_digit())
    });
    if is_loose || network(text).is_ok() { Ok(()) } else { Err(NONE_FITS.to_owned()) }
}

pub(crate) fn schema() -> Schema {
    let addresses = || Schema::array(Schema::string().length(0, 64).check(looks_like_one)).at_least(1);
    Schema::object()
        .field("whitelist", addresses().doc("addresses and networks (CIDR) that alone are let in"))
        .field("blacklist", addresses().doc("addresses and networks (CIDR) that are not let in"))
        .field(
            "message",
            Schema::string()
                .length(1, 1024)
                .default("Your IP address is not allowed")
                .doc("what the others are told"),
        )
        .field(
            "response_code",
            Schema::integer().at_least(403).at_most(404).default(403).doc("status of a refusal: 403 or 404"),
        )
        .one_required(&[&["whitelist"], &["blacklist"]])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plugins::tests::told;

    #[test]
    fn one_list_of_addresses_is_written() {
        let told = |conf: Value| told(IpRestriction::default(), conf);
        assert_eq!(told(json!({"whitelist": ["127.0.0.1", "10.0.0.0/8", "::1", "fe80::/10"]})), "fine");
        assert_eq!(told(json!({})), "value should match only one schema, but matches none");
        assert_eq!(
            told(json!({"whitelist": ["::1"], "blacklist": ["::1"]})),
            "value should match only one schema, but matches both schemas 1 and 2"
        );
        assert_eq!(told(json!({"blacklist": ["::1/129"]})), "invalid ip address: ::1/129");
        for bad in ["10.255.256.0/24", "10.0.0.0/40", "::ffgg", "a.example"] {
            let why = "failed to validate item 1: object matches none of the required";
            assert_eq!(
                told(json!({"blacklist": [bad]})),
                format!("property \"blacklist\" validation failed: {why}")
            );
        }
    }
}
