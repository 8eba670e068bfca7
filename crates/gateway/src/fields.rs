//! The fields of a request's body, for routes that depend on them.

use std::{borrow::Cow, cell::OnceCell};

use expr::Variable;
use http::{HeaderMap, Method, header};
use memchr::memmem;
use serde_json::Value;

use crate::{
    arrival::argument,
    graphql::{Operation, operation},
    plugin::RequestHead,
};

/// Bytes of a body that is read to find its route; a longer one is answered with 413.
pub(crate) const MAX_BODY: u64 = 1 << 20;
/// Most parts of a multipart body; those after them are not looked at.
const MAX_PARTS: usize = 256;
/// RFC 2046 section 5.1.1.
const MAX_BOUNDARY: usize = 70;

/// How the fields are written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Form,
    Json,
    /// With this boundary.
    Multipart(String),
    Graphql,
}

/// What the body says.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    body: Body,
    /// `query` of a GET's own query, which stands for a body in GraphQL over HTTP.
    argument: Option<String>,
    /// Read when it is asked for.
    graphql: OnceCell<Option<Operation>>,
}

#[derive(Debug, Default)]
enum Body {
    /// Nothing that can be asked for.
    #[default]
    None,
    Form(String),
    Json(Value),
    Multipart(Vec<(String, String)>),
    Graphql(String),
}

impl Encoding {
    /// What the one `Content-Type` says; `None`: these are no fields.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(header::CONTENT_TYPE).iter();
        let (Some(line), None) = (lines.next(), lines.next()) else { return None };
        let mut parts = line.to_str().ok()?.split(';').map(str::trim);
        match parts.next()?.to_ascii_lowercase().as_str() {
            "application/x-www-form-urlencoded" => Some(Self::Form),
            "application/json" => Some(Self::Json),
            "application/graphql" => Some(Self::Graphql),
            "multipart/form-data" => {
                let boundary = parts.find_map(|part| parameter(part, "boundary"))?;
                let fits = !boundary.is_empty() && boundary.len() <= MAX_BOUNDARY;
                fits.then(|| Self::Multipart(boundary.to_owned()))
            }
            _ => None,
        }
    }

    /// Reads a body.
    pub(crate) fn read(&self, body: &[u8]) -> Fields {
        let body = match self {
            Self::Form => Body::Form(String::from_utf8_lossy(body).into_owned()),
            Self::Json => serde_json::from_slice(body).map_or(Body::None, Body::Json),
            Self::Multipart(boundary) => Body::Multipart(parts(body, boundary)),
            Self::Graphql => Body::Graphql(String::from_utf8_lossy(body).into_owned()),
        };
        Fields { body, ..Fields::default() }
    }
}

impl Fields {
    /// Of a request without a body, or with one that has no fields.
    pub(crate) fn of_head(head: &RequestHead) -> Self {
        let query = head.query().filter(|_| head.method == Method::GET);
        let argument = query.and_then(|query| argument(query, "query")).map(Cow::into_owned);
        Self { argument, ..Self::default() }
    }

    /// The field that `name` asks for. Lists and objects are no values.
    pub(crate) fn value(&self, name: &Variable) -> Option<Cow<'_, str>> {
        match (&self.body, name) {
            (Body::Form(form), Variable::PostArg(name)) => argument(form, name),
            (_, Variable::PostPath(path)) => self.at(path),
            (_, Variable::GraphqlOperation) => Some(Cow::Borrowed(&self.graphql()?.kind)),
            (_, Variable::GraphqlName) => Some(Cow::Borrowed(&self.graphql()?.name)),
            (_, Variable::GraphqlRootField(field)) => {
                let fields = &self.graphql()?.root_fields;
                fields.iter().find(|own| **own == **field).map(|own| Cow::Borrowed(own.as_str()))
            }
            _ => None,
        }
    }

    fn graphql(&self) -> Option<&Operation> {
        let document = || match &self.body {
            Body::Graphql(document) => Some(document.as_str()),
            Body::Json(json) => json.get("query")?.as_str(),
            Body::None => self.argument.as_deref(),
            Body::Form(_) | Body::Multipart(_) => None,
        };
        self.graphql.get_or_init(|| operation(document()?)).as_ref()
    }

    fn at(&self, path: &[Box<str>]) -> Option<Cow<'_, str>> {
        match (&self.body, path) {
            (Body::Json(json), path) => {
                let found = path.iter().try_fold(json, |value, name| value.as_object()?.get(&**name))?;
                match found {
                    Value::String(text) => Some(Cow::Borrowed(text)),
                    Value::Number(number) => Some(Cow::Owned(number.to_string())),
                    Value::Bool(truth) => Some(Cow::Borrowed(if *truth { "true" } else { "false" })),
                    Value::Null | Value::Array(_) | Value::Object(_) => None,
                }
            }
            (Body::Form(form), [name]) => argument(form, name),
            (Body::Multipart(parts), [name]) => {
                let part = parts.iter().find(|(own, _)| *own == **name);
                part.map(|(_, value)| Cow::Borrowed(value.as_str()))
            }
            _ => None,
        }
    }
}

/// The value of a parameter of this name, without its quotes.
fn parameter<'a>(part: &'a str, name: &str) -> Option<&'a str> {
    let (own, value) = part.trim().split_once('=')?;
    let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    own.eq_ignore_ascii_case(name).then(|| quoted.unwrap_or(value))
}

/// The parts of a multipart body (RFC 7578) by their names, as far as they are well-formed.
fn parts(body: &[u8], boundary: &str) -> Vec<(String, String)> {
    let delimiter = format!("\r\n--{boundary}");
    let delimiter = memmem::Finder::new(delimiter.as_bytes());
    let opening = format!("--{boundary}");
    let mut found = Vec::new();
    let mut rest = match body.strip_prefix(opening.as_bytes()) {
        Some(rest) => Some(rest),
        // A preamble may come first.
        None => after(&delimiter, body).map(|(_, rest)| rest),
    };
    while let Some((part, following)) = rest
        .and_then(|rest| after(&delimiter, rest.strip_prefix(b"\r\n")?))
        .filter(|_| found.len() < MAX_PARTS)
    {
        found.extend(field(part));
        rest = Some(following);
    }
    found
}

/// What comes before the delimiter, and what after it.
fn after<'a>(delimiter: &memmem::Finder<'_>, text: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = delimiter.find(text)?;
    text.get(..at).zip(text.get(at + delimiter.needle().len()..))
}

fn field(part: &[u8]) -> Option<(String, String)> {
    let end = memmem::find(part, b"\r\n\r\n")?;
    let head = std::str::from_utf8(part.get(..end)?).ok()?;
    let disposition = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-disposition").then_some(value)
    })?;
    let name = disposition.split(';').skip(1).find_map(|part| parameter(part, "name"))?;
    let value = String::from_utf8_lossy(part.get(end + 4..)?).into_owned();
    Some((name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn fields(kind: &'static str, body: &str) -> Fields {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(kind))]);
        Encoding::of(&headers).map_or_else(Fields::default, |encoding| encoding.read(body.as_bytes()))
    }

    fn path(path: &str) -> Variable {
        Variable::PostPath(path.split('.').map(Box::from).collect())
    }

    #[test]
    fn a_form_has_fields_by_both_spellings() {
        let form = fields("application/x-www-form-urlencoded; charset=utf-8", "a=1&b=x%20y+z&a=2&c");
        for (name, value) in [("a", Some("1")), ("b", Some("x y z")), ("c", Some("")), ("d", None)] {
            assert_eq!(form.value(&Variable::PostArg(name.into())).as_deref(), value);
            assert_eq!(form.value(&path(name)).as_deref(), value);
        }
        assert_eq!(form.value(&path("a.b")), None);
    }

    #[test]
    fn json_is_walked_by_names() {
        let json = fields("Application/JSON", r#"{"a":{"b":"x","n":1.5,"t":true,"l":["x"]},"z":null}"#);
        for (at, value) in [
            ("a.b", Some("x")),
            ("a.n", Some("1.5")),
            ("a.t", Some("true")),
            ("a", None),
            ("a.l", None),
            ("a.l.0", None),
            ("z", None),
            ("a.b.c", None),
        ] {
            assert_eq!(json.value(&path(at)).as_deref(), value, "{at}");
        }
        // `post_arg_NAME` is of forms alone.
        assert_eq!(fields("application/json", r#"{"a":"x"}"#).value(&Variable::PostArg("a".into())), None);
        assert!(matches!(fields("application/json", "{").body, Body::None));
    }

    #[test]
    fn parts_are_found_by_their_names() {
        let body = "preamble\r\n--b\r\nContent-Disposition: form-data; filename=\"n\"; name=\"file\"\r\n\
                    Content-Type: text/plain\r\n\r\nline\r\n--c\r\n--b\r\ncontent-disposition: form-data; name=model\r\n\r\n\
                    gpt\r\n--b\r\n\r\nnameless\r\n--b--\r\nepilogue";
        let parts = fields("multipart/form-data; boundary=\"b\"", body);
        assert_eq!(parts.value(&path("file")).as_deref(), Some("line\r\n--c"));
        assert_eq!(parts.value(&path("model")).as_deref(), Some("gpt"));
        assert!(matches!(&parts.body, Body::Multipart(found) if found.len() == 2));
        for (kind, body) in [
            ("multipart/form-data; boundary=b", ""),
            ("multipart/form-data; boundary=b", "--b"),
            ("multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=a\r\n\r\nx"),
            ("multipart/form-data", "--\r\n"),
        ] {
            assert_eq!(fields(kind, body).value(&path("a")), None, "{kind}: {body:?}");
        }
    }

    #[test]
    fn an_operation_comes_as_a_document_or_in_json() {
        let document = "query getRepo { owner repo }";
        for (kind, body) in [
            ("application/graphql", document.to_owned()),
            ("application/json", serde_json::json!({"query": document}).to_string()),
        ] {
            let found = fields(kind, &body);
            let value = |name: Variable| found.value(&name).map(Cow::into_owned);
            assert_eq!(value(Variable::GraphqlOperation).as_deref(), Some("query"), "{kind}");
            assert_eq!(value(Variable::GraphqlName).as_deref(), Some("getRepo"), "{kind}");
            assert_eq!(value(Variable::GraphqlRootField("repo".into())).as_deref(), Some("repo"), "{kind}");
            assert_eq!(value(Variable::GraphqlRootField("name".into())), None, "{kind}");
        }
        assert_eq!(fields("text/plain", document).value(&Variable::GraphqlName), None);
        assert_eq!(fields("application/json", "{\"query\":1}").value(&Variable::GraphqlName), None);
    }

    #[test]
    fn other_bodies_and_doubtful_ones_have_no_fields() {
        assert!(matches!(fields("text/plain", "a=1").body, Body::None));
        let mut headers = HeaderMap::new();
        headers.append(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.append(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        assert_eq!(Encoding::of(&headers), None);
    }
}
