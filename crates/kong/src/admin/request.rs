use axum::body::Body as HttpBody;
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use crate::{
    answer::Answer,
    change::Body,
    entities,
    form::{self, FormError},
};

/// Largest body, in bytes: Kong's 10 MB.
const MAX_BODY: usize = 10 * 1024 * 1024;
/// Deepest nesting of a JSON body.
const MAX_DEPTH: usize = 64;
/// Most members of a path.
const MAX_SEGMENTS: usize = 8;

/// The members of a path, each decoded by itself, without the prefixes that Kong's guides print: `/kong-admin`, and
/// the default workspace. Empty members, dots and control characters have no meaning here, so that there is one
/// spelling of each path; `None` for those.
pub(super) fn segments(path: &str) -> Option<Vec<String>> {
    let path = path.strip_prefix('/')?;
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() {
        return Some(Vec::new());
    }
    let mut segments = path.split('/').map(decode).collect::<Option<Vec<String>>>()?;
    for prefix in ["kong-admin", "default"] {
        if segments.first().is_some_and(|first| first == prefix) {
            segments.remove(0);
        }
    }
    (segments.len() <= MAX_SEGMENTS).then_some(segments)
}

fn decode(segment: &str) -> Option<String> {
    let text = percent_decode_str(segment).decode_utf8().ok()?.into_owned();
    let odd = text.is_empty() || text == "." || text == ".." || text.contains(['/', '\\']);
    (!odd && !text.chars().any(char::is_control)).then_some(text)
}

/// What was sent: JSON, a form, or nothing.
pub(super) async fn body(headers: &HeaderMap, body: HttpBody) -> Result<Body, Answer> {
    let encoding = headers.get(header::CONTENT_ENCODING);
    if encoding.is_some_and(|encoding| encoding != "identity") {
        return Err(Answer::message(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body must not be compressed"));
    }
    let bytes = Limited::new(body, MAX_BODY).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            Answer::message(StatusCode::PAYLOAD_TOO_LARGE, "request body is too large")
        } else {
            Answer::message(StatusCode::BAD_REQUEST, "the body could not be read to its end")
        }
    })?;
    let bytes = bytes.to_bytes();
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let content_type = types.next().map(|value| value.to_str().unwrap_or_default());
    if types.next().is_some() {
        return Err(Answer::message(StatusCode::BAD_REQUEST, "there is more than one Content-Type"));
    }
    let media_type =
        content_type.map(|value| value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    match media_type.as_deref() {
        _ if bytes.is_empty() => Ok(Body::Json(Map::new())),
        Some("application/json") => json(&bytes),
        Some("application/x-www-form-urlencoded") => form::parse(&bytes).map(Body::Form).map_err(refuse_form),
        Some("multipart/form-data") => {
            let why = "multipart/form-data is not implemented in this build; send JSON or a urlencoded form";
            Err(Answer::message(StatusCode::UNSUPPORTED_MEDIA_TYPE, why))
        }
        _ => Err(Answer::message(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported Content-Type")),
    }
}

/// Duplicate members are refused, because two readers could see two documents in one, and nothing of the body is
/// quoted, because it may hold secrets.
fn json(bytes: &[u8]) -> Result<Body, Answer> {
    match jose::parse_json(bytes, MAX_DEPTH) {
        Ok(mut value) => {
            entities::whole_numbers(&mut value);
            match value {
                Value::Object(members) => Ok(Body::Json(members)),
                _ => Err(Answer::message(
                    StatusCode::BAD_REQUEST,
                    "Cannot parse JSON body: it is not an object",
                )),
            }
        }
        Err(error) => {
            tracing::debug!(%error, "a JSON body cannot be read");
            Err(Answer::message(StatusCode::BAD_REQUEST, "Cannot parse JSON body"))
        }
    }
}

fn refuse_form(error: FormError) -> Answer {
    Answer::message(StatusCode::BAD_REQUEST, error.to_string())
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a08_a_path_has_one_spelling() {
        let read = |path: &str| segments(path).map(|segments| segments.join("|"));
        for path in [
            "/services/a/plugins",
            "/services/a/plugins/",
            "/kong-admin/services/a/plugins",
            "/default/services/a/plugins",
        ] {
            assert_eq!(read(path).as_deref(), Some("services|a|plugins"), "{path}");
        }
        assert_eq!(read("/").as_deref(), Some(""));
        assert_eq!(read("/kong-admin").as_deref(), Some(""));
        assert_eq!(read("/services/a%20b").as_deref(), Some("services|a b"));
        for bad in
            ["//services", "/services//a", "/./services", "/%2e%2e/x", "/services/a%2Fb", "/a%00", "/a%ff"]
        {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
