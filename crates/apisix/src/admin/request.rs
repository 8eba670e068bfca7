use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{StatusCode, header, request::Parts};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::{answer::Answer, json, schema::excerpt};

/// Largest body, in bytes: APISIX's 1.5 MiB.
const MAX_BODY: usize = 1_572_864;
/// Largest document of a whole configuration.
const MAX_DOCUMENT: usize = 16 * 1024 * 1024;
/// Longest time to live: what a store's clock can hold without doubt.
const MAX_TTL: f64 = 315_360_000.0;
/// Most members of a path.
const MAX_SEGMENTS: usize = 32;

/// What stands after `/apisix/admin/`, each member decoded by itself. Empty members, dots and control characters have
/// no meaning here and are refused, so that there is one spelling of each path.
pub(super) fn segments(path: &str) -> Result<Vec<String>, Answer> {
    let rest = path.strip_prefix("/apisix/admin").unwrap_or_default();
    let rest = rest.strip_prefix('/').unwrap_or(rest);
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.is_empty() {
        return Ok(Vec::new());
    }
    let segments: Option<Vec<String>> = rest.split('/').map(decode).collect();
    segments
        .filter(|segments| segments.len() <= MAX_SEGMENTS)
        .ok_or_else(|| Answer::refuse("invalid path: empty, dot or control members are not allowed"))
}

fn decode(segment: &str) -> Option<String> {
    let text = percent_decode_str(segment).decode_utf8().ok()?.into_owned();
    let odd = text.is_empty() || text == "." || text == ".." || text.contains(['/', '\\']);
    (!odd && !text.chars().any(char::is_control)).then_some(text)
}

/// The body as JSON; `None` when there is none.
pub(super) async fn body(parts: &Parts, body: Body) -> Result<Option<Value>, Answer> {
    let bytes = read(parts, body, MAX_BODY).await?;
    if bytes.is_empty() {
        return Ok(None);
    }
    // APISIX quotes the body here; it may hold secrets, and this text ends in terminals and logs.
    json::parse(&bytes).map(Some).map_err(unreadable)
}

/// A whole configuration as JSON or YAML; `None` when there is none.
pub(super) async fn document(parts: &Parts, body: Body, is_yaml: bool) -> Result<Option<Value>, Answer> {
    let bytes = read(parts, body, MAX_DOCUMENT).await?;
    if bytes.is_empty() {
        return Ok(None);
    }
    let read = if is_yaml { base::yaml::parse(&bytes) } else { json::parse(&bytes) };
    read.map(Some).map_err(unreadable)
}

fn unreadable(error: String) -> Answer {
    Answer::refuse(format!("invalid request body: {error}"))
}

async fn read(parts: &Parts, body: Body, limit: usize) -> Result<Bytes, Answer> {
    let encoding = parts.headers.get(header::CONTENT_ENCODING);
    if encoding.is_some_and(|encoding| encoding != "identity") {
        return Err(Answer::error(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "invalid request body: it must not be compressed",
        ));
    }
    let declared =
        parts.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if let Some(length) = declared.filter(|length: &u64| *length > limit as u64) {
        return Err(too_large(&format!("request size {length}"), limit));
    }
    let bytes = Limited::new(body, limit).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            too_large("the request's size", limit)
        } else {
            Answer::refuse("invalid request body: it could not be read to its end")
        }
    })?;
    Ok(bytes.to_bytes())
}

fn too_large(what: &str, limit: usize) -> Answer {
    let text = format!("invalid request body: {what} is greater than the maximum size {limit} allowed");
    Answer::error(StatusCode::PAYLOAD_TOO_LARGE, text)
}

/// The query's arguments.
#[derive(Debug)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(query: Option<&str>) -> Self {
        Self(form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect())
    }

    /// The first argument of that name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// There is one gateway group, API7's default.
    pub(super) fn check_gateway_group(&self) -> Result<(), Answer> {
        match self.get("gateway_group_id") {
            None | Some("" | "default") => Ok(()),
            Some(other) => Err(Answer::refuse(format!(
                "gateway_group_id: there is no gateway group `{}`; this gate has one, `default`",
                excerpt(other)
            ))),
        }
    }

    /// Time to live of what is written.
    pub(super) fn ttl(&self) -> Result<Option<Duration>, Answer> {
        let Some(text) = self.get("ttl") else { return Ok(None) };
        let seconds =
            number(text).ok_or_else(|| Answer::refuse("invalid argument ttl: should be a number"))?;
        if !(seconds > 0.0 && seconds <= MAX_TTL) {
            return Err(Answer::refuse(format!(
                "invalid argument ttl: should be above 0 and at most {MAX_TTL}"
            )));
        }
        Ok(Some(Duration::from_secs_f64(seconds)))
    }
}

/// A number in decimal digits; not what Rust reads besides (`inf`, `NaN`).
pub(super) fn number(text: &str) -> Option<f64> {
    let plausible = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    text.parse().ok().filter(|number: &f64| plausible && number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a08_a_path_has_one_spelling() {
        assert_eq!(segments("/apisix/admin/routes/1/").unwrap(), ["routes", "1"]);
        assert_eq!(
            segments("/apisix/admin/routes/1/upstream/nodes/a%3A1").unwrap(),
            ["routes", "1", "upstream", "nodes", "a:1"]
        );
        assert_eq!(segments("/apisix/admin").unwrap(), Vec::<String>::new());
        for bad in [
            "/apisix/admin//routes",
            "/apisix/admin/routes//1",
            "/apisix/admin/%2e%2e/x",
            "/apisix/admin/./routes",
        ] {
            assert!(segments(bad).is_err(), "{bad}");
        }
        for bad in ["/apisix/admin/a%2Fb", "/apisix/admin/a%00", "/apisix/admin/%ff", "/apisix/admin/a%5Cb"] {
            assert!(segments(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_time_to_live_is_a_positive_number() {
        let ttl = |text: &str| Query::parse(Some(text)).ttl();
        assert_eq!(ttl("ttl=1.5").unwrap(), Some(Duration::from_millis(1500)));
        assert_eq!(ttl("a=b").unwrap(), None);
        for bad in ["ttl=x", "ttl=", "ttl=NaN", "ttl=inf", "ttl=0x10"] {
            assert_eq!(
                ttl(bad).unwrap_err(),
                Answer::refuse("invalid argument ttl: should be a number"),
                "{bad}"
            );
        }
        for bad in ["ttl=0", "ttl=-1", "ttl=1e300"] {
            assert!(ttl(bad).is_err(), "{bad}");
        }
    }
}
