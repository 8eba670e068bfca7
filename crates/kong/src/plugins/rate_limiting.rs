//! Kong's `rate-limiting`.

use std::{sync::Arc, time::Duration};

use base::Secret;
use gateway::{error::ConfigError, plugin::Plugin};
use http::HeaderName;
use plugins::rate_limit::{
    Amount, Config, Key, Names, Period, Refusal, Rule, Services, Store, Window, compile,
};
use rp::session::{RedisLinks, RedisSettings, RedisTls};
use serde_json::{Map, Value, json};

use super::{
    DialectPlugin,
    conf::{flag, integer, record, text},
};
use crate::{
    entities::header_name,
    schema::{Field, Schema, Then},
};

/// Kong's names of the periods, from the shortest to the longest, and how headers name them.
const PERIODS: [(&str, &str, Period); 6] = [
    ("second", "second", Period::Second),
    ("minute", "minute", Period::Minute),
    ("hour", "hour", Period::Hour),
    ("day", "day", Period::Day),
    ("month", "month", Period::Month),
    ("year", "year", Period::Year),
];

/// Fields of `redis` that stood beside it once, as `redis_host`.
const OF_REDIS: [&str; 9] =
    ["host", "port", "timeout", "username", "password", "database", "ssl", "ssl_verify", "server_name"];

/// The plugin of the dialect.
pub struct RateLimiting {
    services: Services,
    redis: RedisLinks,
}

impl RateLimiting {
    /// With these counters, and these connections to Redis.
    pub const fn new(services: Services, redis: RedisLinks) -> Self {
        Self { services, redis }
    }

    fn store(&self, config: &Map<String, Value>) -> Store {
        let (Some("redis"), Some(redis)) = (text(config, "policy"), record(config, "redis")) else {
            return Store::Local;
        };
        let limit = Duration::from_millis(integer(redis, "timeout").unwrap_or(2000));
        Store::Redis(self.redis.scripts(&RedisSettings {
            host: text(redis, "host").unwrap_or_default().to_owned(),
            port: integer(redis, "port").and_then(|port| u16::try_from(port).ok()).unwrap_or(6379),
            database: redis.get("database").and_then(Value::as_i64).unwrap_or(0),
            prefix: "ratelimit".to_owned(),
            username: text(redis, "username").map(str::to_owned),
            password: text(redis, "password").map(|password| Secret::new(password.to_owned())),
            tls: flag(redis, "ssl", false).then(|| RedisTls {
                verify: flag(redis, "ssl_verify", true),
                server_name: text(redis, "server_name").map(str::to_owned),
            }),
            connect_timeout: limit,
            send_timeout: limit,
            read_timeout: limit,
            keepalive_timeout: Duration::from_secs(60),
        }))
    }
}

impl DialectPlugin for RateLimiting {
    fn name(&self) -> &'static str {
        "rate-limiting"
    }

    fn priority(&self) -> i64 {
        910
    }

    fn expand(&self, config: &mut Map<String, Value>) {
        for name in OF_REDIS {
            let Some(value) = config.shift_remove(&format!("redis_{name}")) else { continue };
            let redis = config.entry("redis").or_insert_with(|| json!({}));
            if let (Some(redis), false) = (redis.as_object_mut(), value.is_null()) {
                redis.insert(name.to_owned(), of_form(name, value));
            }
        }
    }

    fn schema(&self) -> Arc<Schema> {
        Arc::new(schema())
    }

    fn rules(&self, entity: Schema) -> Schema {
        rules(entity)
    }

    /// What it is bound to is part of what it counts.
    fn is_placed(&self) -> bool {
        true
    }

    fn compile(&self, config: &Map<String, Value>) -> Result<Arc<dyn Plugin>, ConfigError> {
        self.compile_at(config, "")
    }

    fn compile_at(&self, config: &Map<String, Value>, place: &str) -> Result<Arc<dyn Plugin>, ConfigError> {
        let shown = !flag(config, "hide_client_headers", false);
        let key = key(config)?;
        let mut rules = Vec::new();
        for (field, header, period) in PERIODS {
            let Some(count) = limit(config, field) else { continue };
            rules.push(Rule {
                key: key.clone(),
                count: Amount::Fixed(count as u64),
                window: Window::Calendar(period),
                names: if shown { Some(names(&format!("-{header}"), "x-ratelimit", false)?) } else { None },
            });
        }
        compile(
            Config {
                scope: place.to_owned(),
                rules,
                store: self.store(config),
                degrades: flag(config, "fault_tolerant", true),
                refusal: Refusal {
                    status: integer(config, "error_code")
                        .and_then(|code| u16::try_from(code).ok())
                        .unwrap_or(429),
                    message: text(config, "error_message").unwrap_or("API rate limit exceeded").to_owned(),
                },
                tightest: if shown { Some(names("", "ratelimit", true)?) } else { None },
                retry_after: shown,
                failure: "An unexpected error occurred".to_owned(),
            },
            &self.services,
        )
    }
}

/// `X-RateLimit-Limit-Minute`, or `RateLimit-Limit`.
fn names(suffix: &str, prefix: &str, reset: bool) -> Result<Names, ConfigError> {
    let name = |what: &str| {
        HeaderName::try_from(format!("{prefix}-{what}{suffix}"))
            .map_err(|error| ConfigError::new("limit_by", error.to_string()))
    };
    let reset = if reset { Some(name("reset")?) } else { None };
    Ok(Names { limit: name("limit")?, remaining: name("remaining")?, reset })
}

fn key(config: &Map<String, Value>) -> Result<Key, ConfigError> {
    Ok(match text(config, "limit_by") {
        Some("credential") => Key::Credential,
        Some("ip") => Key::Address,
        Some("service") => Key::Service,
        Some("header") => {
            let name = text(config, "header_name").unwrap_or_default();
            let name = HeaderName::from_bytes(name.as_bytes());
            Key::Header(name.map_err(|error| ConfigError::new("header_name", error.to_string()))?)
        }
        Some("path") => Key::Path(text(config, "path").unwrap_or_default().to_owned()),
        _ => Key::Consumer,
    })
}

fn limit(config: &Map<String, Value>, period: &str) -> Option<f64> {
    config.get(period).and_then(Value::as_f64)
}

/// A longer period does not let through less than a shorter one.
fn check(config: &Map<String, Value>) -> Result<(), String> {
    let written: Vec<(&str, f64)> =
        PERIODS.iter().filter_map(|(field, ..)| Some((*field, limit(config, field)?))).collect();
    for pair in written.windows(2) {
        if let [(shorter, less), (longer, more)] = pair
            && more < less
        {
            return Err(format!(
                "The limit for {longer}({more:.1}) cannot be lower than the limit for {shorter}({less:.1})"
            ));
        }
    }
    Ok(())
}

fn rules(entity: Schema) -> Schema {
    const ANY: &[&str] =
        &["config.second", "config.minute", "config.hour", "config.day", "config.month", "config.year"];
    entity
        .at_least_one_of(ANY)
        .conditional("config.policy", "redis", "config.redis.host", Then::Required)
        .conditional("config.limit_by", "header", "config.header_name", Then::Required)
        .conditional("config.limit_by", "path", "config.path", Then::Required)
}

fn limit_of(count: &Value) -> Result<(), String> {
    match count.as_f64() {
        Some(count) if count <= 0.0 => Err("value must be greater than 0".to_owned()),
        Some(count) if count < 1.0 => Err("less than 1 is not implemented in this build".to_owned()),
        _ => Ok(()),
    }
}

fn policy(text: &str) -> Result<(), String> {
    if text == "cluster" { Err("'cluster' is not implemented in this build".to_owned()) } else { Ok(()) }
}

/// What a form says of a field is a text, whatever the field takes.
fn of_form(name: &str, value: Value) -> Value {
    let text = value.as_str().unwrap_or_default();
    let read = match name {
        "port" | "timeout" | "database" => text.parse::<i64>().ok().map(Value::from),
        "ssl" | "ssl_verify" => text.parse::<bool>().ok().map(Value::from),
        _ => None,
    };
    read.unwrap_or(value)
}

fn schema() -> Schema {
    let redis = Schema::new()
        .field("host", Field::string().doc("host name or address"))
        .field("port", Field::integer().default(6379).between(0, 65_535).doc("its port"))
        .field("timeout", Field::integer().default(2000).between(1, 2_147_483_646).doc("milliseconds"))
        .field("username", Field::string().doc("user of Redis's access control lists"))
        .field("password", Field::string().secret().doc("the user's password"))
        .field("database", Field::integer().default(0).doc("number of the database"))
        .field("ssl", Field::boolean().required().default(false).doc("whether TLS is spoken"))
        .field(
            "ssl_verify",
            Field::boolean().required().default(true).doc("whether its certificate is verified"),
        )
        .field("server_name", Field::string().doc("name in its certificate, where that is not the host"));
    let mut schema = Schema::new();
    for (field, ..) in PERIODS {
        let limit = Field::number().value(limit_of);
        schema = schema.field(field, limit.doc("requests that are let through in it, in UTC"));
    }
    schema
        .field(
            "limit_by",
            Field::string()
                .default("consumer")
                .one_of(&["consumer", "credential", "ip", "service", "header", "path"])
                .doc("what tells requests apart; where a request has none of it, its address does"),
        )
        .field("header_name", Field::string().text(header_name).doc("the header, for `limit_by` `header`"))
        .field("path", Field::string().doc("the path, for `limit_by` `path`"))
        .field(
            "policy",
            Field::string()
                .default("local")
                .one_of(&["local", "cluster", "redis"])
                .text(policy)
                .doc("where is counted: in this process, or in a Redis; `cluster` is not built"),
        )
        .field(
            "fault_tolerant",
            Field::boolean()
                .required()
                .default(true)
                .doc("whether requests go on uncounted where counting fails, else 500"),
        )
        .field("redis", Field::record(Arc::new(redis)).required())
        .field(
            "hide_client_headers",
            Field::boolean().required().default(false).doc("whether clients are not told of limits"),
        )
        .field("error_code", Field::number().default(429).doc("status of a refusal"))
        .field(
            "error_message",
            Field::string().default("API rate limit exceeded").doc("message of a refusal"),
        )
        .field("sync_rate", Field::number().required().default(json!(-1)).unimplemented())
        .check_whole(check)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_grow_with_their_periods() {
        let told = |config: Value| check(config.as_object().unwrap());
        assert_eq!(told(json!({"second": 1, "hour": 5})), Ok(()));
        assert_eq!(
            told(json!({"second": 10, "minute": 5})).unwrap_err(),
            "The limit for minute(5.0) cannot be lower than the limit for second(10.0)"
        );
    }
}
