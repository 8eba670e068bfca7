//! Services: where requests go.

use serde_json::{Map, Value, json};
use url::{ParseError, Url};

use super::{stamped, tags, values};
use crate::schema::{Field, Schema, Violations};

/// Longest timeout, in milliseconds.
const LONGEST: i64 = (1 << 31) - 2;
const OTHER_PROTOCOLS: [&str; 4] = ["tcp", "tls", "tls_passthrough", "udp"];
/// With which a service may say something of TLS.
const OVER_TLS: [&str; 3] = ["https", "grpcs", "tls"];
/// With which it may have a path.
const WITH_PATH: [&str; 2] = ["http", "https"];

pub(super) fn schema() -> Schema {
    let timeout = || Field::integer().default(60_000).between(1, LONGEST);
    stamped()
        .field("name", Field::string().unique().text(values::name).doc("stands for the id in paths; unique"))
        .field(
            "retries",
            Field::integer().default(5).between(0, 32_767).doc("further tries after a failed connection"),
        )
        .field("protocol", Field::string().required().default("http").text(protocol).doc("`http`, `https`, `grpc` or `grpcs`"))
        .field("host", Field::string().required().text(values::host).doc("name or address of the upstream"))
        .field("port", Field::integer().required().default(80).between(0, 65_535))
        .field("path", Field::string().text(values::path).doc("stands before the path of every request"))
        .field("connect_timeout", timeout().doc("milliseconds"))
        .field("write_timeout", timeout().doc("milliseconds between two writes"))
        .field("read_timeout", timeout().doc("milliseconds between two reads"))
        .field("tags", tags())
        .field(
            "client_certificate",
            Field::foreign("certificates").doc("what the upstream is shown over TLS"),
        )
        .field(
            "tls_verify",
            Field::boolean().doc("false: any certificate of the upstream will do; null: verified"),
        )
        .field("tls_verify_depth", Field::integer().unimplemented())
        .field(
            "ca_certificates",
            Field::array(Field::string().text(values::uuid))
                .doc("ids of `ca_certificates`, whom the upstream's certificate is verified by; null: the system's"),
        )
        .field(
            "enabled",
            Field::boolean().required().default(true).doc("false: as if its routes were not there"),
        )
        .only_with("protocol", &WITH_PATH, "path")
        .only_with("protocol", &OVER_TLS, "client_certificate")
        .only_with("protocol", &OVER_TLS, "tls_verify")
        .only_with("protocol", &OVER_TLS, "ca_certificates")
}

fn protocol(text: &str) -> Result<(), String> {
    match text {
        "http" | "https" | "grpc" | "grpcs" => Ok(()),
        other if OTHER_PROTOCOLS.contains(&other) => {
            Err(format!("the protocol {other} is not implemented in this build"))
        }
        _ => Err(super::NO_PROTOCOL.to_owned()),
    }
}

/// Replaces the shorthand `url` by what it stands for.
pub(super) fn expand_url(service: &mut Map<String, Value>) -> Result<(), Violations> {
    let Some(url) = service.shift_remove("url").filter(|url| !url.is_null()) else { return Ok(()) };
    let wrong = |reason: &str| Violations::of("url", reason);
    let text = url.as_str().ok_or_else(|| wrong("expected a string"))?;
    let parsed = Url::parse(text).map_err(|error| match error {
        ParseError::RelativeUrlWithoutBase | ParseError::EmptyHost => wrong("missing host in url"),
        error => wrong(&format!("could not parse url. {error}")),
    })?;
    let host = parsed.host_str().ok_or_else(|| wrong("missing host in url"))?;
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(wrong("credentials in the url are not sent to the upstream: leave them out"));
    }
    if parsed.query().is_some() || parsed.fragment().is_some() {
        return Err(wrong("a query or a fragment in the url would be lost: leave it out"));
    }
    // The parser writes `/` where nothing was written.
    let written = text.split_once("://").is_some_and(|(_, rest)| rest.contains('/'));
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    service.insert("protocol".to_owned(), json!(parsed.scheme()));
    service.insert("host".to_owned(), json!(host));
    service.insert("port".to_owned(), json!(parsed.port_or_known_default().unwrap_or(80)));
    service.insert("path".to_owned(), if written { json!(parsed.path()) } else { Value::Null });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(url: &str) -> Value {
        let mut service = Map::from_iter([("url".to_owned(), json!(url))]);
        match expand_url(&mut service) {
            Ok(()) => Value::Object(service),
            Err(violations) => Value::Object(violations.into_fields()),
        }
    }

    #[test]
    fn a_url_stands_for_four_fields() {
        for (url, protocol, host, port, path) in [
            ("http://h:8080/p/q", "http", "h", 8080, json!("/p/q")),
            ("http://h", "http", "h", 80, Value::Null),
            ("https://h/", "https", "h", 443, json!("/")),
            ("http://[::1]:81", "http", "::1", 81, Value::Null),
            ("grpc://h:50051", "grpc", "h", 50_051, Value::Null),
            ("grpcs://h", "grpcs", "h", 80, Value::Null),
        ] {
            assert_eq!(
                expanded(url),
                json!({"protocol": protocol, "host": host, "port": port, "path": path}),
                "{url}"
            );
        }
        for bad in ["", "h:80", "http://", "http://u:p@h/", "http://h/?a=b", "/x"] {
            let wrong = expanded(bad);
            assert!(wrong.get("url").is_some() || wrong["protocol"] == "h", "{bad}: {wrong}");
        }
    }

    #[test]
    fn protocols_that_are_not_built_are_named() {
        assert!(protocol("tcp").unwrap_err().contains("tcp is not implemented"));
        assert!(protocol("ftp").unwrap_err().starts_with("expected one of: "));
    }
}
