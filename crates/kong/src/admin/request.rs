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
    multipart,
};

/// Where paths may name a URL.
const ISSUERS: &str = "openid-connect/issuers";
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
    // An issuer is a URL, whose slashes are encoded.
    let of_issuer = path.rsplit_once('/').filter(|(before, _)| before.ends_with(ISSUERS));
    let mut segments = match of_issuer {
        Some((before, issuer)) => {
            let mut segments = before.split('/').map(decode).collect::<Option<Vec<String>>>()?;
            segments.push(percent_decode_str(issuer).decode_utf8().ok()?.into_owned());
            segments
        }
        None => path.split('/').map(decode).collect::<Option<Vec<String>>>()?,
    };
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
    let bytes = whole(headers, body).await?;
    let (content_type, media_type) = content_type(headers)?;
    match media_type.as_deref() {
        Some("application/json") => json(&bytes),
        _ if bytes.is_empty() => Ok(Body::Json(Map::new())),
        Some("application/x-www-form-urlencoded") => form::parse(&bytes).map(Body::Form).map_err(refuse_form),
        Some("multipart/form-data") => {
            let boundary = content_type.and_then(multipart::boundary).ok_or(FormError::Multipart);
            let read = boundary.and_then(|boundary| multipart::parse(&bytes, boundary));
            read.map(Body::Form).map_err(refuse_form)
        }
        _ => Err(Answer::message(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported Content-Type")),
    }
}

/// A declarative configuration: in JSON, in YAML, or in the field `config` of a form, and its digest.
pub(super) async fn document(headers: &HeaderMap, body: HttpBody) -> Result<(Value, String), Answer> {
    let bytes = whole(headers, body).await?;
    let (content_type, media_type) = content_type(headers)?;
    let refuse = |why: String| Answer::invalid_declaration(serde_json::json!({ "error": why }));
    let in_form = |pairs: Vec<(String, String)>| {
        let config = pairs.into_iter().find(|(name, _)| name == "config").map(|(_, text)| text);
        config.ok_or_else(|| {
            Answer::message(
                StatusCode::BAD_REQUEST,
                "expected a declarative configuration in the field 'config'",
            )
        })
    };
    let text = match media_type.as_deref() {
        Some("application/json") => {
            let Body::Json(mut members) = json(&bytes)? else { return Err(Answer::not_found()) };
            match members.shift_remove("config") {
                Some(Value::String(text)) if members.is_empty() => text,
                Some(config) => {
                    members.insert("config".to_owned(), config);
                    return Ok((Value::Object(members), digest(&bytes)));
                }
                None => return Ok((Value::Object(members), digest(&bytes))),
            }
        }
        Some("application/yaml" | "text/yaml" | "application/x-yaml") => {
            String::from_utf8(bytes.to_vec()).map_err(|_| refuse("it is not UTF-8".to_owned()))?
        }
        Some("application/x-www-form-urlencoded") => {
            in_form(form_urlencoded::parse(&bytes).into_owned().collect())?
        }
        Some("multipart/form-data") => {
            let boundary = content_type.and_then(multipart::boundary).ok_or(FormError::Multipart);
            in_form(boundary.and_then(|it| multipart::pairs(&bytes, it)).map_err(refuse_form)?)?
        }
        _ => return Err(Answer::message(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported Content-Type")),
    };
    let mut value = base::yaml::parse(text.as_bytes())
        .map_err(|why| refuse(format!("failed parsing declarative configuration: {why}")))?;
    entities::whole_numbers(&mut value);
    Ok((value, digest(text.as_bytes())))
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn whole(headers: &HeaderMap, body: HttpBody) -> Result<bytes::Bytes, Answer> {
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
    Ok(bytes.to_bytes())
}

/// The content type as it was sent, and its media type.
fn content_type(headers: &HeaderMap) -> Result<(Option<&str>, Option<String>), Answer> {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let content_type = types.next().map(|value| value.to_str().unwrap_or_default());
    if types.next().is_some() {
        return Err(Answer::message(StatusCode::BAD_REQUEST, "there is more than one Content-Type"));
    }
    let media_type = |value: &str| value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    Ok((content_type, content_type.map(media_type)))
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
