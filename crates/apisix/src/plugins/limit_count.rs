//! APISIX's `limit-count`: what may be written, and what it means.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use base::Secret;
use expr::{Part, Template, Variable, VariableError};
use gateway::{error::ConfigError, plugin::Plugin};
use http::HeaderName;
use plugins::rate_limit::{
    Amount, Config, Key, MAX_COUNT, MAX_WINDOW, Names, Refusal, Rule, Services, Store, Window, compile,
};
use rp::session::{RedisLinks, RedisSettings, RedisTls};
use serde_json::{Map, Value, json};

use super::{
    CompileContext, DialectPlugin,
    authentication::header_name,
    conf::{flag, integer, text},
};
use crate::schema::Schema;

/// The plugin of the dialect.
pub struct LimitCount {
    schema: Schema,
    metadata: Schema,
    services: Services,
    redis: RedisLinks,
    groups: Mutex<HashMap<String, Group>>,
}

/// What the members of a group are configured with.
struct Group {
    conf: Value,
    members: Vec<Weak<dyn Plugin>>,
}

impl LimitCount {
    /// With these counters, and these connections to Redis.
    pub fn new(services: Services, redis: RedisLinks) -> Self {
        Self { schema: schema(), metadata: metadata(), services, redis, groups: Mutex::default() }
    }

    fn store(&self, conf: &Value) -> Store {
        if text(conf, "policy") != Some("redis") {
            return Store::Local;
        }
        let limit = Duration::from_millis(integer(conf, "redis_timeout").unwrap_or(1000));
        let port = integer(conf, "redis_port").and_then(|port| u16::try_from(port).ok());
        Store::Redis(
            self.redis.scripts(&RedisSettings {
                host: text(conf, "redis_host").unwrap_or_default().to_owned(),
                port: port.unwrap_or(6379),
                database: integer(conf, "redis_database")
                    .and_then(|number| i64::try_from(number).ok())
                    .unwrap_or(0),
                prefix: "plugin-limit-count".to_owned(),
                username: text(conf, "redis_username").map(str::to_owned),
                password: text(conf, "redis_password").map(|password| Secret::new(password.to_owned())),
                tls: flag(conf, "redis_ssl", false)
                    .then(|| RedisTls { verify: flag(conf, "redis_ssl_verify", true), server_name: None }),
                connect_timeout: limit,
                send_timeout: limit,
                read_timeout: limit,
                keepalive_timeout: Duration::from_millis(
                    integer(conf, "redis_keepalive_timeout").unwrap_or(10_000),
                ),
            }),
        )
    }

    /// All members of a group count together, so they must say the same.
    fn join(&self, name: &str, conf: &Value, plugin: &Arc<dyn Plugin>) -> Result<(), ConfigError> {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        groups.retain(|_, group| {
            group.members.retain(|member| member.strong_count() > 0);
            !group.members.is_empty()
        });
        let group = groups
            .entry(name.to_owned())
            .or_insert_with(|| Group { conf: conf.clone(), members: Vec::new() });
        if group.conf != *conf {
            return Err(ConfigError::new("", "group conf mismatched"));
        }
        group.members.push(Arc::downgrade(plugin));
        Ok(())
    }
}

impl DialectPlugin for LimitCount {
    fn name(&self) -> &'static str {
        "limit-count"
    }

    fn priority(&self) -> i64 {
        1002
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Where it stands is part of what it counts.
    fn is_placed(&self) -> bool {
        true
    }

    fn check_after_schema(&self, conf: &Map<String, Value>) -> Result<(), String> {
        let conf = Value::Object(conf.clone());
        if text(&conf, "policy") == Some("redis") && text(&conf, "redis_host").is_none() {
            return Err("then clause did not match".to_owned());
        }
        let mut keys = Vec::new();
        for rule in conf.get("rules").and_then(Value::as_array).into_iter().flatten() {
            let key = text(rule, "key").unwrap_or_default();
            if keys.contains(&key) {
                return Err(format!("duplicate key '{key}' in rules"));
            }
            keys.push(key);
        }
        Ok(())
    }

    fn metadata_schema(&self) -> Option<&Schema> {
        Some(&self.metadata)
    }

    fn apply_metadata(&self, conf: &mut Map<String, Value>, metadata: &Value) {
        for (name, _) in HEADERS {
            if let Some(header) = metadata.get(name) {
                conf.insert(name.to_owned(), header.clone());
            }
        }
    }

    fn compile(&self, conf: &Value, cx: &CompileContext<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
        let group = text(conf, "group");
        let scope = match group {
            Some(group) => format!("group:{group}"),
            // Another configuration begins to count anew.
            None => format!("{}:{}", cx.resource, digest(conf)),
        };
        let plugin = compile(
            Config {
                scope,
                rules: rules(conf)?,
                store: self.store(conf),
                degrades: flag(conf, "allow_degradation", false),
                refusal: Refusal {
                    status: integer(conf, "rejected_code")
                        .and_then(|code| u16::try_from(code).ok())
                        .unwrap_or(503),
                    message: text(conf, "rejected_msg").unwrap_or("the rate limit is exceeded").to_owned(),
                },
                tightest: None,
                retry_after: false,
                failure: "failed to limit count".to_owned(),
            },
            &self.services,
        )?;
        if let Some(group) = group {
            self.join(group, conf, &plugin)?;
        }
        Ok(plugin)
    }
}

/// Names in `plugin_metadata` for the headers of a limit, and what they are called where it says nothing.
const HEADERS: [(&str, &str); 3] = [
    ("limit_header", "X-RateLimit-Limit"),
    ("remaining_header", "X-RateLimit-Remaining"),
    ("reset_header", "X-RateLimit-Reset"),
];

/// What `plugin_metadata` may hold.
pub(crate) fn metadata() -> Schema {
    let header = |default: &'static str| header_name().default(default);
    HEADERS.into_iter().fold(Schema::object(), |schema, (name, default)| {
        schema.field(name, header(default).doc("header of answers, for limits that are no `rules`"))
    })
}

/// Stands for a configuration in the names of its counters.
fn digest(conf: &Value) -> String {
    use aws_lc_rs::digest::{SHA256, digest};
    let hash = digest(&SHA256, conf.to_string().as_bytes());
    hash.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn rules(conf: &Value) -> Result<Vec<Rule>, ConfigError> {
    let shown = flag(conf, "show_limit_quota_header", true);
    let is_sliding = text(conf, "window_type") == Some("sliding");
    let rule = |of: &Value, key: Key, names: Result<Names, ConfigError>| {
        let seconds = amount(of, "time_window")?;
        Ok(Rule {
            key,
            count: amount(of, "count")?,
            window: if is_sliding { Window::Sliding(seconds) } else { Window::Fixed(seconds) },
            names: if shown { Some(names?) } else { None },
        })
    };
    let Some(rules) = conf.get("rules").and_then(Value::as_array) else {
        return Ok(vec![rule(conf, key(conf)?, own_names(conf))?]);
    };
    rules
        .iter()
        .enumerate()
        .map(|(place, of)| {
            let key = template("rules.key", text(of, "key").unwrap_or_default())?;
            let number = (place + 1).to_string();
            let prefix = text(of, "header_prefix").unwrap_or(&number);
            rule(of, Key::VariablesOrNone(key), prefixed_names(prefix))
        })
        .collect()
}

fn key(conf: &Value) -> Result<Key, ConfigError> {
    let key = text(conf, "key").unwrap_or("remote_addr");
    Ok(match text(conf, "key_type") {
        Some("constant") => Key::Constant(key.to_owned()),
        Some("var_combination") => Key::Variables(template("key", key)?),
        _ => match Variable::parse(key) {
            Ok(variable) => Key::Variables(Template::of(vec![Part::Variable(variable)])),
            // As there: a name that nobody knows has no value, and the address takes its place.
            Err(VariableError::Unknown(_)) => Key::Address,
            Err(error) => return Err(ConfigError::new("key", error.to_string())),
        },
    })
}

fn template(member: &str, text: &str) -> Result<Template, ConfigError> {
    Template::parse(text).map_err(|error| ConfigError::new(member, error.to_string()))
}

/// A number, or a text of variables that make one.
fn amount(of: &Value, member: &str) -> Result<Amount, ConfigError> {
    if let Some(written) = text(of, member) {
        return match written.parse() {
            Ok(number) => Ok(Amount::Fixed(number)),
            Err(_) => Ok(Amount::Variable(template(member, written)?)),
        };
    }
    integer(of, member).map(Amount::Fixed).ok_or_else(|| ConfigError::new(member, "it is required"))
}

fn own_names(conf: &Value) -> Result<Names, ConfigError> {
    let [limit, remaining, reset] = HEADERS.map(|(name, default)| {
        let written = text(conf, name).unwrap_or(default);
        HeaderName::from_bytes(written.as_bytes())
            .map_err(|_| ConfigError::new(name, "it is not the name of a header"))
    });
    Ok(Names { limit: limit?, remaining: remaining?, reset: Some(reset?) })
}

fn prefixed_names(prefix: &str) -> Result<Names, ConfigError> {
    let name = |what: &str| {
        HeaderName::try_from(format!("x-{}-ratelimit-{what}", prefix.to_ascii_lowercase()))
            .map_err(|_| ConfigError::new("rules.header_prefix", "it cannot be part of a header's name"))
    };
    Ok(Names { limit: name("limit")?, remaining: name("remaining")?, reset: Some(name("reset")?) })
}

fn most(most: u64) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX)
}

pub(crate) fn schema() -> Schema {
    let count = || {
        let number = Schema::integer().above(0).at_most(most(MAX_COUNT));
        Schema::one_of(vec![number, Schema::string().length(1, 256)])
            .doc("requests that a window lets through; a text may be made of variables")
    };
    let window = || {
        let number = Schema::integer().above(0).at_most(most(MAX_WINDOW));
        Schema::one_of(vec![number, Schema::string().length(1, 256)])
            .doc("seconds of a window; a text may be made of variables")
    };
    let rule = Schema::object()
        .required("count", count())
        .required("time_window", window())
        .required(
            "key",
            Schema::string().length(1, 1024).doc(
                "text of variables that tells requests apart; without any of them the rule does not count",
            ),
        )
        .field(
            "header_prefix",
            Schema::string()
                .length(1, 64)
                .doc("of its headers, `X-{prefix}-RateLimit-…`; left out, the rule's number from 1"),
        );
    let schema = Schema::object()
        .field("count", count())
        .field("time_window", window())
        .field(
            "window_type",
            Schema::string().choices(&["fixed", "sliding"]).default("fixed").doc(
                "`fixed`: a window begins with its first request; `sliding`: the last seconds count, estimated from two windows",
            ),
        )
        .field("rules", Schema::array(rule).at_least(1).at_most(64).doc("several limits, all of which hold"))
        .field(
            "group",
            Schema::string().length(1, 256).doc("routes of one group count together; they must say the same"),
        )
        .field(
            "key",
            Schema::string()
                .length(1, 1024)
                .default("remote_addr")
                .doc("what tells requests apart; where a request has none of it, its address does"),
        )
        .field(
            "key_type",
            Schema::string().choices(&["var", "var_combination", "constant"]).default("var").doc(
                "`key` is a variable's name, a text of variables (`$consumer_name $http_x`), or the same for all",
            ),
        )
        .field(
            "rejected_code",
            Schema::integer().at_least(200).at_most(599).default(503).doc("status of a refusal"),
        )
        .field("rejected_msg", Schema::string().length(1, 4096).doc("its `error_msg`"))
        .field(
            "policy",
            Schema::string()
                .choices(&["local", "redis"])
                .absent_choices(&["redis-cluster", "redis-sentinel"])
                .default("local")
                .doc("where is counted"),
        )
        .field(
            "allow_degradation",
            Schema::boolean().default(false).doc("whether requests go on uncounted where counting fails, else 500"),
        )
        .field(
            "show_limit_quota_header",
            Schema::boolean().default(true).doc("whether `X-RateLimit-Limit`, `-Remaining` and `-Reset` are said"),
        );
    redis_fields(schema).one_required(&[&["count", "time_window"], &["rules"]])
}

fn redis_fields(schema: Schema) -> Schema {
    let port = || Schema::integer().at_least(1).at_most(65_535);
    schema
        .field(
            "redis_host",
            Schema::string().length(2, 253).doc("host name or address; required for `redis`"),
        )
        .field("redis_port", port().default(6379).doc("its port"))
        .field("redis_username", Schema::string().length(1, 256).doc("user of Redis's access control lists"))
        .field("redis_password", Schema::string().length(0, 4096).secret().doc("the user's password"))
        .field("redis_database", Schema::integer().at_least(0).default(0).doc("number of the database"))
        .field(
            "redis_timeout",
            Schema::integer()
                .at_least(1)
                .default(1000)
                .doc("milliseconds to connect, to send, and to answer"),
        )
        .field("redis_ssl", Schema::boolean().default(false).doc("whether TLS is spoken"))
        .field("redis_ssl_verify", Schema::boolean().default(true).doc("whether its certificate is verified"))
        .field(
            "redis_keepalive_timeout",
            Schema::integer()
                .at_least(1000)
                .default(10_000)
                .doc("milliseconds after which an unused connection is replaced"),
        )
        .field("redis_keepalive_pool", Schema::integer().at_least(1).unimplemented_except(json!(100)))
        .field("redis_cluster_nodes", Schema::array(Schema::any()).unimplemented())
        .field("redis_cluster_name", Schema::string().unimplemented())
        .field("redis_cluster_ssl", Schema::boolean().unimplemented())
        .field("redis_cluster_ssl_verify", Schema::boolean().unimplemented())
        .field("redis_sentinels", Schema::array(Schema::any()).unimplemented())
        .field("redis_master_name", Schema::string().unimplemented())
        .field("sync_interval", Schema::number().unimplemented_except(json!(-1)))
}

#[cfg(test)]
mod tests {
    use base::{Clock, UnixMillis};

    use super::*;
    use crate::plugins::tests::told;

    fn plugin() -> LimitCount {
        let services = Services { counters: Arc::default(), clock: Clock::fixed(UnixMillis(0)) };
        let tls = rp::session::TlsChoices {
            verified: fetch::tls_config(None, true).unwrap(),
            unverified: fetch::tls_config(None, false).unwrap(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        LimitCount::new(services, RedisLinks::new(runtime.handle().clone(), tls, Vec::new()))
    }

    #[test]
    fn what_is_written_is_checked_in_apisix_words() {
        let told = |conf: Value| told(plugin(), conf);
        assert_eq!(told(json!({"count": 2, "time_window": 60})), "fine");
        assert_eq!(told(json!({"count": "$http_count", "time_window": "60"})), "fine");
        let none = "value should match only one schema, but matches none";
        assert_eq!(told(json!({"count": 2})), none);
        assert_eq!(
            told(json!({"count": 0, "time_window": 60})),
            format!("property \"count\" validation failed: {none}")
        );
        assert!(told(json!({"count": 2, "time_window": 60, "rejected_code": 199})).contains("at least 200"));
        assert_eq!(
            told(json!({"count": 2, "time_window": 60, "policy": "redis"})),
            "then clause did not match"
        );
        assert!(
            told(json!({"count": 2, "time_window": 60, "policy": "redis-cluster"})).contains("redis-cluster")
        );
        assert!(told(json!({"count": 2, "time_window": 60, "sync_interval": 0.5})).contains("sync_interval"));
        let rule = |key: &str| json!({"count": 1, "time_window": 1, "key": key});
        assert_eq!(
            told(json!({"rules": [rule("$remote_addr"), rule("$remote_addr")]})),
            "duplicate key '$remote_addr' in rules"
        );
        assert_eq!(told(json!({"rules": [rule("$remote_addr"), rule("$http_x")]})), "fine");
    }

    #[test]
    fn a_group_says_the_same_everywhere() {
        let plugin = plugin();
        let cx = CompileContext { resource: "routes/1" };
        let conf = |count: u64| json!({"count": count, "time_window": 60, "group": "g"});
        let first = plugin.compile(&conf(2), &cx).unwrap();
        assert!(plugin.compile(&conf(2), &cx).is_ok());
        let Err(error) = plugin.compile(&conf(3), &cx) else { panic!("it compiles") };
        assert_eq!(error.to_string(), "group conf mismatched");
        drop(first);
        assert!(plugin.compile(&conf(3), &cx).is_ok());
    }
}
