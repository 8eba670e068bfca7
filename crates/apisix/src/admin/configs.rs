//! `configs`: the whole configuration in one document, as APISIX's standalone mode and ADC send it.

use http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts};
use serde_json::{Map, Value, json};

use crate::{
    answer::Answer,
    dialect::Dialect,
    document::{self, Document},
    resources::Reader,
};

const DIGEST: &str = "x-digest";
const LAST_MODIFIED: &str = "x-last-modified";
const YAML: HeaderValue = HeaderValue::from_static("application/yaml");
/// Longest digest that is kept.
const MAX_DIGEST: usize = 256;

/// Whether a body of this path may be YAML.
pub(super) fn is_yaml(headers: &HeaderMap) -> bool {
    begins(headers, &header::CONTENT_TYPE)
}

fn begins(headers: &HeaderMap, name: &header::HeaderName) -> bool {
    headers.get(name).is_some_and(|value| value.as_bytes().starts_with(b"application/yaml"))
}

/// `POST configs/validate`, and `GET`, `HEAD` and `PUT configs`.
pub(super) async fn serve(
    dialect: &Dialect,
    parts: &Parts,
    rest: &[String],
    body: Option<Value>,
    reader: Reader,
    read_only: bool,
) -> Result<Answer, Answer> {
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    match (&parts.method, rest.as_slice()) {
        (&Method::POST, ["validate"]) => validate(dialect, &sent(body)?),
        (&Method::GET | &Method::HEAD, []) => read(dialect, parts, reader).await,
        (&Method::PUT, []) if read_only => Err(Answer::error(StatusCode::FORBIDDEN, super::READ_ONLY)),
        (&Method::PUT, []) => {
            let digest = parts.headers.get(DIGEST).and_then(|digest| digest.to_str().ok());
            let digest = digest.ok_or_else(|| Answer::refuse("missing digest header"))?;
            if digest.is_empty() || digest.len() > MAX_DIGEST {
                return Err(Answer::refuse(format!("X-Digest has 1 to {MAX_DIGEST} characters")));
            }
            let document = Document::read(&sent(body)?).map_err(Answer::refuse)?;
            let answer = dialect.replace(document, digest.to_owned()).await;
            Ok(with_state(answer, dialect).await)
        }
        _ => Err(Answer::error(StatusCode::NOT_FOUND, "not found")),
    }
}

fn sent(body: Option<Value>) -> Result<Value, Answer> {
    body.ok_or_else(|| Answer::refuse("invalid request body: empty request body"))
}

/// Every error at once, in the shape that ADC reads.
fn validate(dialect: &Dialect, sent: &Value) -> Result<Answer, Answer> {
    let Some(sections) = sent.as_object() else {
        return Err(Answer::refuse("invalid request body: it is not an object"));
    };
    let errors: Vec<Value> = document::problems(dialect.registry(), sections)
        .into_iter()
        .map(|problem| problem.to_json())
        .collect();
    if errors.is_empty() {
        return Ok(Answer::new(StatusCode::OK, json!({})));
    }
    let told = json!({"error_msg": "Configuration validation failed", "errors": errors});
    Err(Answer::new(StatusCode::BAD_REQUEST, told))
}

async fn read(dialect: &Dialect, parts: &Parts, reader: Reader) -> Result<Answer, Answer> {
    let state = dialect.document_state().await?;
    let mut whole = Map::new();
    for section in document::sections() {
        let items = dialect.section(section, &state, reader);
        if !items.is_empty() {
            whole.insert(section.to_owned(), Value::Array(items));
        }
        whole.insert(format!("{section}{}", document::VERSION), state.version(section).into());
    }
    let mut answer = Answer::new(StatusCode::OK, Value::Object(whole));
    if begins(&parts.headers, &header::ACCEPT) {
        answer.body = Value::from(base::yaml::text(&answer.body));
        answer.headers.push((header::CONTENT_TYPE, YAML));
    }
    Ok(with_state(answer, dialect).await)
}

/// What the last PUT left behind, once there was one.
async fn with_state(mut answer: Answer, dialect: &Dialect) -> Answer {
    if answer.status.is_success()
        && let Ok(state) = dialect.document_state().await
        && let Some((digest, modified)) = state.last()
        && let Ok(digest) = HeaderValue::from_str(digest)
    {
        answer.headers.push((header::HeaderName::from_static(DIGEST), digest));
        answer.headers.push((header::HeaderName::from_static(LAST_MODIFIED), modified.into()));
    }
    answer
}
