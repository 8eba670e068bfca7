//! APISIX's `consumer-restriction`.

use std::sync::Arc;

use gateway::{error::ConfigError, plugin::Plugin};
use http::{Method, StatusCode};
use plugins::consumer_restriction::{Config, Subject, compile};
use serde_json::Value;

use super::{
    CompileContext, DialectPlugin,
    authentication::{member, text},
};
use crate::schema::Schema;

const METHODS: &[&str] =
    &["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "CONNECT", "TRACE", "PURGE"];

/// The plugin of the dialect.
pub struct ConsumerRestriction {
    schema: Schema,
}

impl Default for ConsumerRestriction {
    fn default() -> Self {
        Self { schema: schema() }
    }
}

/// What may be written.
pub(crate) fn schema() -> Schema {
    let names = || Schema::array(Schema::string()).at_least(1);
    let by_method = Schema::object().field("user", Schema::string().doc("whom it is about")).field(
        "methods",
        Schema::array(Schema::string().choices(METHODS)).at_least(1).doc("what they may use"),
    );
    Schema::object()
        .field(
            "type",
            Schema::string()
                .choices(&["consumer_name", "service_id", "route_id", "consumer_group_id"])
                .default("consumer_name")
                .doc("what is looked at"),
        )
        .field("blacklist", names().doc("these do not get in; it goes before the other lists"))
        .field("whitelist", names().doc("only these get in, with every method"))
        .field(
            "allowed_by_methods",
            Schema::array(by_method).doc("those who are named here get in with their methods only"),
        )
        .field(
            "rejected_code",
            Schema::integer()
                .at_least(200)
                .at_most(599)
                .default(403)
                .doc("status for those who do not get in"),
        )
        .field("rejected_msg", Schema::string().doc("what they are told"))
        .any_required(&[&["blacklist"], &["whitelist"], &["allowed_by_methods"]])
}

impl DialectPlugin for ConsumerRestriction {
    fn name(&self) -> &'static str {
        "consumer-restriction"
    }

    fn priority(&self) -> i64 {
        2400
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn compile(&self, conf: &Value, _cx: &CompileContext<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
        let kind = text(conf, "type", "consumer_name");
        let names = |value: Option<&Value>| -> Vec<String> {
            let names = value.and_then(Value::as_array).into_iter().flatten();
            names.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let by_methods = conf.get("allowed_by_methods").and_then(Value::as_array).into_iter().flatten();
        let methods = by_methods.filter_map(|rule| {
            let methods = names(rule.get("methods"));
            let methods =
                methods.iter().filter_map(|name| Method::from_bytes(name.as_bytes()).ok()).collect();
            Some((member(rule, "user")?, methods))
        });
        let status = conf.get("rejected_code").and_then(Value::as_u64).unwrap_or(403);
        let status = u16::try_from(status).ok().and_then(|status| StatusCode::from_u16(status).ok());
        compile(Config {
            subject: match &*kind {
                "service_id" => Subject::Service,
                "route_id" => Subject::Route,
                "consumer_group_id" => Subject::Group,
                _ => Subject::Consumer,
            },
            allowed: conf.get("whitelist").map(|names_of| names(Some(names_of))),
            denied: names(conf.get("blacklist")),
            methods: methods.collect(),
            status: status.ok_or_else(|| ConfigError::new("rejected_code", "not a status"))?,
            refusal: member(conf, "rejected_msg").unwrap_or_else(|| format!("The {kind} is forbidden.")),
            unknown: format!("The request is rejected, please check the {kind} for this request"),
        })
    }
}
