//! Sessions and their cookies.

use std::time::Duration;

use base::Secret;
use gateway::error::ConfigError;
use plugins::openid_connect::Contents;
use rp::session::{CookieSettings, Lifetimes, LoginCookies, Prefix, RedisSettings, RedisTls, SameSite};
use serde_json::Value;

use super::{is_on, seconds, text};
use crate::schema::Schema;

/// What lua-resty-session has beside what is built.
const LATER: [&str; 15] = [
    "cookie_same_party",
    "remember",
    "remember_cookie_name",
    "remember_rolling_timeout",
    "remember_absolute_timeout",
    "remember_safety",
    "audience",
    "subject",
    "enforce_same_subject",
    "stale_ttl",
    "touch_threshold",
    "compression_threshold",
    "hash_storage_key",
    "hash_subject",
    "store_metadata",
];

pub(super) fn schema() -> Schema {
    let seconds = |default: i64, doc: &'static str| Schema::integer().at_least(0).default(default).doc(doc);
    let later = || Schema::any().unimplemented();
    LATER
        .iter()
        .fold(Schema::object(), |schema, name| schema.field(name, later()))
        .doc("the session cookie")
        .field(
            "secret",
            Schema::string()
                .length(16, 4096)
                .secret()
                .doc("key material; left out, the deployment's own key is used"),
        )
        .field(
            "cookie_name",
            Schema::string()
                .doc("default session, __Host-session on https where name, path and domain are left out"),
        )
        .field("cookie_path", Schema::string().default("/").doc("Path of the cookie"))
        .field("cookie_domain", Schema::string().doc("Domain of the cookie; none by default"))
        .field("cookie_secure", Schema::boolean().doc("Secure; left out: on https"))
        .field("cookie_http_only", Schema::boolean().default(true).doc("HttpOnly"))
        .field(
            "cookie_same_site",
            Schema::string().choices(&["Strict", "Lax", "None", "Default"]).default("Lax").doc("SameSite"),
        )
        .field(
            "cookie_prefix",
            Schema::string().choices(&["__Host-", "__Secure-"]).doc(
                "put before the name over https, with what browsers demand for it: Secure, and for __Host- the Path / and no Domain",
            ),
        )
        .field("cookie_priority", Schema::string().choices(&["Low", "Medium", "High"]).doc("Priority"))
        .field(
            "cookie_partitioned",
            Schema::boolean().default(false).doc("Partitioned, over https: for pages that other sites embed"),
        )
        .field(
            "idling_timeout",
            seconds(900, "seconds without a request after which it is over; 0: no such limit"),
        )
        .field(
            "rolling_timeout",
            seconds(3600, "seconds without a renewal after which it is over; 0: no such limit"),
        )
        .field("absolute_timeout", seconds(86_400, "seconds after login at which it is over; 0: 400 days"))
        .field(
            "cookie",
            Schema::object().field(
                "lifetime",
                Schema::integer().at_least(0).doc("deprecated: absolute_timeout where that is left out"),
            ),
        )
        .field(
            "storage",
            Schema::string().choices(&["cookie", "redis"]).default("cookie").doc(
                "where sessions are kept; redis: the cookie holds a ticket, and session.redis is needed; with bearer_only, too, the DPoP proofs of all nodes are noted there",
            ),
        )
        .field("redis", redis_schema())
        .check(redis_is_given)
        .check(cookies_can_be)
}

fn redis_schema() -> Schema {
    let millis = |least: i64, default: i64, doc: &'static str| {
        Schema::integer().at_least(least).default(default).doc(doc)
    };
    Schema::object()
        .doc("the Redis where sessions are kept, sealed with the keys of the route's cookies")
        .field("host", Schema::string().length(2, 253).default("127.0.0.1").doc("host name or address"))
        .field("port", Schema::integer().at_least(1).at_most(65_535).default(6379).doc("port"))
        .field("database", Schema::integer().at_least(0).default(0).doc("number of the database"))
        .field("prefix", Schema::string().length(1, 256).default("sessions").doc("what its keys begin with"))
        .field("username", Schema::string().length(1, 256).doc("user of Redis's access control lists"))
        .field("password", Schema::string().length(1, 4096).secret().doc("the user's password"))
        .field("ssl", Schema::boolean().default(false).doc("whether TLS is spoken"))
        .field("ssl_verify", Schema::boolean().default(true).doc("whether its certificate is verified"))
        .field(
            "server_name",
            Schema::string().length(1, 253).doc("name in its certificate, where that is not host"),
        )
        .field("connect_timeout", millis(1, 1000, "milliseconds a connection may take"))
        .field("send_timeout", millis(1, 1000, "milliseconds sending may take"))
        .field("read_timeout", millis(1, 1000, "milliseconds an answer may take after that"))
        .field(
            "keepalive_timeout",
            millis(1000, 10_000, "milliseconds after which an unused connection is replaced"),
        )
}

/// APISIX has an `if` with a `then` here, and this is what its library says of it.
fn redis_is_given(session: &Value) -> Result<(), String> {
    if text(session, "storage").as_deref() == Some("redis") && session.get("redis").is_none() {
        return Err("then clause did not match".to_owned());
    }
    Ok(())
}

/// Browsers drop a cookie that lacks what its prefix, or `Partitioned`, demands, and its user would log in for ever.
fn cookies_can_be(session: &Value) -> Result<(), String> {
    let prefix = text(session, "cookie_prefix");
    let demands = |name: &str| Err(format!("property \"{name}\" cannot be kept to with these attributes"));
    let insecure = !is_on(session, "cookie_secure", true);
    let elsewhere = session.get("cookie_domain").is_some()
        || text(session, "cookie_path").is_some_and(|path| path != "/");
    match prefix.as_deref() {
        Some("__Host-") if insecure || elsewhere => demands("cookie_prefix"),
        Some(_) if insecure => demands("cookie_prefix"),
        _ if insecure && is_on(session, "cookie_partitioned", false) => demands("cookie_partitioned"),
        _ => Ok(()),
    }
}

/// The Redis that sessions are kept in, if they are.
pub(super) fn storage(session: &Value) -> Result<Option<RedisSettings>, ConfigError> {
    if text(session, "storage").as_deref() != Some("redis") {
        return Ok(None);
    }
    let redis = session
        .get("redis")
        .ok_or_else(|| ConfigError::new("session.redis", "it is required when session.storage is redis"))?;
    let millis = |name: &str, default: u64| {
        Duration::from_millis(redis.get(name).and_then(Value::as_u64).unwrap_or(default))
    };
    let port = redis.get("port").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok());
    Ok(Some(RedisSettings {
        host: text(redis, "host").unwrap_or_else(|| "127.0.0.1".to_owned()),
        port: port.unwrap_or(6379),
        database: redis.get("database").and_then(Value::as_i64).unwrap_or(0),
        prefix: text(redis, "prefix").unwrap_or_else(|| "sessions".to_owned()),
        username: text(redis, "username"),
        password: text(redis, "password").map(Secret::new),
        tls: is_on(redis, "ssl", false).then(|| RedisTls {
            verify: is_on(redis, "ssl_verify", true),
            server_name: text(redis, "server_name"),
        }),
        connect_timeout: millis("connect_timeout", 1000),
        send_timeout: millis("send_timeout", 1000),
        read_timeout: millis("read_timeout", 1000),
        keepalive_timeout: millis("keepalive_timeout", 10_000),
    }))
}

/// What may be in a session. Once it is written, only what it names is kept.
pub(super) fn contents_schema() -> Schema {
    let flag = |doc: &'static str| Schema::boolean().default(false).doc(doc);
    Schema::object()
        .doc("what a session keeps; left out, everything")
        .field("access_token", flag("the access token, and the refresh token with it"))
        .field("id_token", flag("the ID token's claims"))
        .field("enc_id_token", flag("the ID token as signed, for X-Raw-ID-Token and the provider's logout"))
        .field("user", flag("the userinfo answer"))
}

pub(super) fn contents(conf: &Value) -> Contents {
    let Some(contents) = conf.get("session_contents") else { return Contents::default() };
    Contents {
        access_token: is_on(contents, "access_token", false),
        claims: is_on(contents, "id_token", false),
        id_token: is_on(contents, "enc_id_token", false),
        userinfo: is_on(contents, "user", false),
    }
}

pub(super) fn cookies(session: &Value) -> CookieSettings {
    CookieSettings {
        logins: LoginCookies::default(),
        name: text(session, "cookie_name"),
        path: text(session, "cookie_path"),
        domain: text(session, "cookie_domain"),
        secure: session.get("cookie_secure").and_then(Value::as_bool),
        readable_by_scripts: !is_on(session, "cookie_http_only", true),
        prefix: match text(session, "cookie_prefix").as_deref() {
            Some("__Host-") => Some(Prefix::Host),
            Some("__Secure-") => Some(Prefix::Secure),
            _ => None,
        },
        priority: match text(session, "cookie_priority").as_deref() {
            Some("Low") => Some("Low"),
            Some("Medium") => Some("Medium"),
            Some("High") => Some("High"),
            _ => None,
        },
        partitioned: is_on(session, "cookie_partitioned", false),
        same_site: match text(session, "cookie_same_site").as_deref() {
            Some("Strict") => SameSite::Strict,
            Some("None") => SameSite::None,
            Some("Default") => SameSite::Unset,
            _ => SameSite::Lax,
        },
    }
}

pub(super) fn lifetimes(session: &Value) -> Lifetimes {
    let lifetime = session.pointer("/cookie/lifetime").and_then(Value::as_u64);
    Lifetimes {
        idling: seconds(session, "idling_timeout", 900),
        rolling: seconds(session, "rolling_timeout", 3600),
        absolute: seconds(session, "absolute_timeout", lifetime.unwrap_or(86_400)),
    }
}
