//! Claims as headers of the request that goes upstream.

use std::fmt::Write;

use gateway::{error::ConfigError, is_identity, is_same_header, is_the_gates, plugin::RequestHead};
use http::{HeaderMap, HeaderName, HeaderValue};
use rp::bearer::Found;
use serde_json::Value;

use super::claims::{ClaimRef, Documents};

/// Bytes of one such header: what common servers take in a line.
const MAX_VALUE: usize = 8 * 1024;
/// How many a route may set.
const MAX_HEADERS: usize = 32;

/// A header of the gate's making, and the claim it carries.
#[derive(Clone, Debug)]
pub struct ClaimHeader {
    /// The header.
    pub name: HeaderName,
    /// The claim.
    pub claim: ClaimRef,
}

/// Refuses names that are not free for a claim. `field` is where they are written.
pub(crate) fn check(field: &str, headers: &[ClaimHeader]) -> Result<(), ConfigError> {
    if headers.len() > MAX_HEADERS {
        return Err(ConfigError::new(
            field,
            format!("a route may set {MAX_HEADERS} headers from claims at most"),
        ));
    }
    for (place, header) in headers.iter().enumerate() {
        let name = &header.name;
        let wrong = |reason: String| Err(ConfigError::new(format!("{field}.{name}"), reason));
        check_name(&format!("{field}.{name}"), name)?;
        let same =
            headers.iter().take(place).find(|other| is_same_header(other.name.as_str(), name.as_str()));
        if let Some(other) = same {
            return wrong(format!(
                "upstreams may not tell it from `{other}`; name it differently",
                other = other.name
            ));
        }
    }
    Ok(())
}

/// Refuses a name that frames messages, that the gate sets for another purpose, or that carries credentials.
pub(super) fn check_name(field: &str, name: &HeaderName) -> Result<(), ConfigError> {
    const MESSAGE: [&str; 12] = [
        "accept",
        "accept-encoding",
        "authorization",
        "content-encoding",
        "content-length",
        "content-type",
        "cookie",
        "date",
        "expect",
        "host",
        "range",
        "set-cookie",
    ];
    let text = name.as_str();
    let taken = MESSAGE.iter().any(|known| is_same_header(known, text))
        || text.starts_with("sec-")
        || is_the_gates(text)
        || (is_identity(text) && !is_free_identity(text));
    match taken {
        true => Err(ConfigError::new(
            field,
            "this header has a meaning of its own; name another one, such as X-User-Email",
        )),
        false => Ok(()),
    }
}

/// Who a caller is that is no consumer. A client's own is removed.
pub const CREDENTIAL_IDENTIFIER: HeaderName = HeaderName::from_static("x-credential-identifier");

/// Names by which other proxies say who the caller is, which the gate takes from every client and never sets itself.
fn is_free_identity(name: &str) -> bool {
    is_same_header(name, "remote-user")
        || ["x-auth-request-", "x-authenticated-user", "x-authenticated-groups"]
            .iter()
            .any(|family| name.starts_with(family))
}

/// Takes from the client what only the gate may say on this route, in every spelling that an upstream might fold.
pub(crate) fn remove_from<'a>(head: &mut RequestHead, names: impl Iterator<Item = &'a HeaderName> + Clone) {
    let is_ours =
        |header: &HeaderName| names.clone().any(|name| is_same_header(name.as_str(), header.as_str()));
    while let Some(found) = found(&head.headers, is_ours) {
        head.headers.remove(found);
    }
}

fn found(headers: &HeaderMap, is_ours: impl Fn(&HeaderName) -> bool) -> Option<HeaderName> {
    headers.keys().find(|header| is_ours(header)).cloned()
}

/// The headers that these claims come to. A claim that is not there has none.
pub(super) fn told(headers: &[ClaimHeader], documents: &Documents<'_>) -> Vec<(HeaderName, HeaderValue)> {
    let one = |header: &ClaimHeader| match documents.find(&header.claim) {
        Found::Values(values) => Some((header.name.clone(), joined(&header.name, &values)?)),
        Found::Nothing | Found::Elsewhere => None,
    };
    headers.iter().filter_map(one).collect()
}

/// Who the caller is by this claim, for upstreams and limits.
pub(super) fn credential(
    claim: Option<&ClaimRef>,
    documents: &Documents<'_>,
) -> Option<(HeaderName, HeaderValue)> {
    match documents.find(claim?) {
        Found::Values(values) => Some((CREDENTIAL_IDENTIFIER, joined(&CREDENTIAL_IDENTIFIER, &values)?)),
        Found::Nothing | Found::Elsewhere => None,
    }
}

/// The values, joined by commas. In each value every byte that is not visible ASCII or a space, and every comma and
/// per cent sign, is percent-encoded (RFC 3986 section 2.1), so that no value splits the header or passes for two.
fn joined(name: &HeaderName, values: &[&Value]) -> Option<HeaderValue> {
    let mut out = String::new();
    for (place, value) in values.iter().enumerate() {
        if place > 0 {
            out.push(',');
        }
        match value {
            Value::String(text) => encode(&mut out, text),
            other => encode(&mut out, &other.to_string()),
        }
        if out.len() > MAX_VALUE {
            // Part of a list of groups would be a lie about the rest.
            tracing::warn!(%name, "a claim is left out of the request because it is too long for a header");
            return None;
        }
    }
    let mut value = HeaderValue::from_str(&out).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn encode(out: &mut String, text: &str) {
    let last = text.len().saturating_sub(1);
    for (place, byte) in text.bytes().enumerate() {
        let plain = match byte {
            b'%' | b',' => false,
            // A space at an end would be lost on the way (RFC 9110 section 5.5).
            b' ' => place > 0 && place < last,
            other => other.is_ascii_graphic(),
        };
        if plain {
            out.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use rp::bearer::ClaimPath;
    use serde_json::json;

    use super::{super::claims::Document, *};

    fn header(name: &str, path: &str) -> ClaimHeader {
        let claim = ClaimRef { path: ClaimPath::parse(path).unwrap(), document: Document::Any };
        ClaimHeader { name: HeaderName::from_bytes(name.as_bytes()).unwrap(), claim }
    }

    fn value(claim: Value) -> Option<String> {
        let claims = json!({ "claim": claim });
        let told = told(&[header("x-claim", "claim")], &Documents::of_token(claims.as_object().unwrap()));
        told.first().map(|(_, value)| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn r40_no_claim_splits_a_header_or_passes_for_two_values() {
        for (claim, expected) in [
            (json!("u@example.com"), "u@example.com"),
            (json!("A User"), "A User"),
            (json!(" a "), "%20a%20"),
            (json!("a\r\nX-Admin: 1"), "a%0D%0AX-Admin: 1"),
            (json!("nul\0"), "nul%00"),
            (json!("\u{1f600}é"), "%F0%9F%98%80%C3%A9"),
            (json!("100%,sure"), "100%25%2Csure"),
            (json!(["a", "b,admin", "c%2C"]), "a,b%2Cadmin,c%252C"),
            (json!([1, true, "x"]), "1,true,x"),
            (json!({"street": "x"}), "{\"street\":\"x\"}"),
            (json!(""), ""),
        ] {
            assert_eq!(value(claim.clone()).as_deref(), Some(expected), "{claim}");
        }
        assert_eq!(value(json!(null)), None);
        assert_eq!(value(json!([])), None);
        assert_eq!(value(json!("x".repeat(64 << 10))), None, "too long is left out, not cut");
        let many: Vec<String> = (0..500).map(|number| format!("group-{number}")).collect();
        assert_eq!(value(json!(many)), Some(many.join(",")));
    }

    #[test]
    fn r40_five_hundred_claims_are_headers_only_where_they_are_named() {
        let claims: serde_json::Map<String, Value> = (0..500).map(|n| (format!("c{n}"), json!(n))).collect();
        let told = told(&[header("x-a", "c7"), header("x-b", "missing")], &Documents::of_token(&claims));
        assert_eq!(told, [(HeaderName::from_static("x-a"), HeaderValue::from_static("7"))]);
    }

    #[test]
    fn names_with_a_meaning_of_their_own_are_refused() {
        for bad in [
            "Host",
            "Content-Length",
            "Transfer-Encoding",
            "Connection",
            "TE",
            "Upgrade",
            "Trailer",
            "Keep-Alive",
            "Proxy-Authorization",
            "Cookie",
            "Authorization",
            "X-Userinfo",
            "x_userinfo",
            "X-Access-Token",
            "X-Consumer-Username",
            "X-Credential-Identifier",
            "X-Forwarded-For",
            "Forwarded",
            "X-Real-IP",
            "X-Original-URL",
            "X-HTTP-Method-Override",
            "Sec-WebSocket-Key",
            "Content.Length",
            "Expect",
        ] {
            assert!(check("claim_headers", &[header(bad, "a")]).is_err(), "{bad}");
        }
        for good in
            ["X-User-Email", "X-Roles", "Remote-User", "X-Auth-Request-Email", "X-Authenticated-Userid"]
        {
            assert!(check("claim_headers", &[header(good, "a")]).is_ok(), "{good}");
        }
        let twice = check("claim_headers", &[header("x-roles", "a"), header("x_roles", "b")]).unwrap_err();
        assert_eq!(twice.path, "claim_headers.x_roles");
        let many: Vec<_> = (0..33).map(|number| header(&format!("x-{number}"), "a")).collect();
        assert!(check("claim_headers", &many).is_err());
    }
}
