//! Fields of older Kongs, which files and scripts still say and Kong still takes.

use serde_json::{Map, Value, json};

/// Older names, and what they are called now.
const RENAMED: [(&str, &str); 11] = [
    ("authorization_cookie_lifetime", "authorization_rolling_timeout"),
    ("authorization_cookie_samesite", "authorization_cookie_same_site"),
    ("authorization_cookie_httponly", "authorization_cookie_http_only"),
    ("session_cookie_lifetime", "session_rolling_timeout"),
    ("session_cookie_idletime", "session_idling_timeout"),
    ("session_cookie_samesite", "session_cookie_same_site"),
    ("session_cookie_httponly", "session_cookie_http_only"),
    ("session_memcache_host", "session_memcached_host"),
    ("session_memcache_port", "session_memcached_port"),
    ("session_memcache_prefix", "session_memcached_prefix"),
    ("session_memcache_socket", "session_memcached_socket"),
];
/// Fields of `redis` that stood beside it, as `session_redis_host`.
const OF_REDIS: [&str; 14] = [
    "host",
    "port",
    "username",
    "password",
    "prefix",
    "socket",
    "ssl",
    "ssl_verify",
    "server_name",
    "connect_timeout",
    "send_timeout",
    "read_timeout",
    "cluster_nodes",
    "cluster_max_redirections",
];
/// Said by files of before 3.2, and heeded by no Kong since.
const DROPPED: [&str; 4] =
    ["session_cookie_renew", "session_cookie_maxsize", "session_strategy", "session_compressor"];

/// Puts today's fields in their place. What is said in both ways counts as it is said today.
pub(super) fn expand(config: &mut Map<String, Value>) {
    for name in DROPPED {
        config.shift_remove(name);
    }
    for (older, newer) in RENAMED {
        if let Some(value) = taken(config, older) {
            put(config, newer, of_today(older, value));
        }
    }
    for name in OF_REDIS {
        let Some(value) = taken(config, &format!("session_redis_{name}")) else { continue };
        if config.get("redis").is_none_or(Value::is_null) {
            config.insert("redis".to_owned(), json!({}));
        }
        if let Some(redis) = config.get_mut("redis").and_then(Value::as_object_mut) {
            put(redis, name, of_today(name, value));
        }
    }
}

fn taken(config: &mut Map<String, Value>, name: &str) -> Option<Value> {
    config.shift_remove(name).filter(|value| !value.is_null())
}

fn put(members: &mut Map<String, Value>, name: &str, value: Value) {
    if members.get(name).is_none_or(Value::is_null) {
        members.insert(name.to_owned(), value);
    }
}

/// A value as it is written today. In a form it is a text still: its schema does not know the older name.
fn of_today(name: &str, value: Value) -> Value {
    let Value::String(text) = &value else { return value };
    let is_text = ["host", "username", "password", "prefix", "socket", "server_name"]
        .iter()
        .any(|kind| name == *kind || name.ends_with(&format!("_{kind}")));
    match text.as_str() {
        "off" if name.ends_with("samesite") => json!("Default"),
        "true" | "false" if !is_text => json!(text == "true"),
        number if !is_text => number.parse::<i64>().map_or(value, Value::from),
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_fields_become_todays_and_never_replace_them() {
        let mut config = json!({
            "issuer": "https://a/", "session_cookie_lifetime": 60, "session_cookie_idletime": null,
            "session_cookie_samesite": "off", "authorization_cookie_httponly": "true", "session_strategy": "regenerate",
            "session_redis_host": "r", "session_redis_port": "6380", "session_redis_password": "1234",
            "session_redis_username": null, "redis": {"host": "s", "password": null},
        });
        expand(config.as_object_mut().unwrap());
        let expected = json!({
            "issuer": "https://a/", "session_rolling_timeout": 60, "session_cookie_same_site": "Default",
            "authorization_cookie_http_only": true, "redis": {"host": "s", "password": "1234", "port": 6380},
        });
        assert_eq!(config, expected);
        let mut config = json!({"session_redis_host": null});
        expand(config.as_object_mut().unwrap());
        assert_eq!(config, json!({}));
    }
}
