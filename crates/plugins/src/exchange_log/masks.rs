//! What is never written down: everything that whoever reads a log could use to act as a client, a user or the gate.

use std::borrow::Cow;

use expr::{Variable, Variables};
use gateway::is_identity;
use http::{HeaderMap, HeaderName, header};
use serde_json::{Map, Value};

/// What stands in the place of a secret.
pub(super) const MASK: &str = "***";

/// Arguments that carry credentials, codes or tokens, without case and separators.
const ARGUMENTS: [&str; 22] = [
    "accesstoken",
    "apikey",
    "assertion",
    "authorization",
    "clientassertion",
    "clientsecret",
    "code",
    "codeverifier",
    "idtoken",
    "idtokenhint",
    "jwt",
    "key",
    "loginticket",
    "otp",
    "password",
    "refreshtoken",
    "samlresponse",
    "secret",
    "session",
    "state",
    "ticket",
    "token",
];

/// Whether the value of this header is a secret.
pub(super) fn is_secret_header(name: &HeaderName) -> bool {
    const NAMES: [HeaderName; 4] =
        [header::AUTHORIZATION, header::COOKIE, header::SET_COOKIE, header::PROXY_AUTHORIZATION];
    NAMES.contains(name) || is_identity(name.as_str()) || names_secret(name.as_str())
}

/// Whether a header that somebody made up says that it carries a secret: `X-API-Key`, `X-Auth-Token`, `DPoP`.
fn names_secret(name: &str) -> bool {
    let letters = letters(name);
    ["apikey", "token", "secret", "password", "credential", "signature", "dpop", "jwt", "xauth"]
        .iter()
        .any(|part| letters.contains(part))
}

fn is_secret_argument(name: &str) -> bool {
    let letters = letters(name);
    ARGUMENTS.contains(&letters.as_str()) || names_secret(name)
}

fn letters(name: &str) -> String {
    let kept = name.bytes().filter(u8::is_ascii_alphanumeric);
    kept.map(|byte| char::from(byte.to_ascii_lowercase())).collect()
}

/// The headers as JSON; several values of one name become a list.
pub(super) fn headers(headers: &HeaderMap) -> Value {
    let mut out = Map::new();
    for name in headers.keys() {
        let all = headers.get_all(name).iter();
        let mut values: Vec<Value> = all
            .map(|value| match name {
                _ if is_secret_header(name) => Value::from(MASK),
                _ if *name == header::LOCATION || *name == header::REFERER => {
                    Value::from(target(&String::from_utf8_lossy(value.as_bytes())))
                }
                _ => Value::from(String::from_utf8_lossy(value.as_bytes())),
            })
            .collect();
        let value = if values.len() == 1 { values.pop().unwrap_or_default() } else { Value::Array(values) };
        out.insert(name.as_str().to_owned(), value);
    }
    Value::Object(out)
}

/// A path or URL with the secrets of its query masked, and what follows a `#` left out.
pub(super) fn target(target: &str) -> String {
    let target = target.split('#').next().unwrap_or_default();
    match target.split_once('?') {
        None => target.to_owned(),
        Some((path, rest)) => format!("{path}?{}", query(rest)),
    }
}

/// A query with its secrets masked; everything else keeps its bytes.
pub(super) fn query(query: &str) -> String {
    let mask = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decoded = form_urlencoded::parse(name.as_bytes()).next();
        let secret = decoded.is_some_and(|(name, _)| is_secret_argument(&name));
        if secret && !value.is_empty() { format!("{name}={MASK}") } else { pair.to_owned() }
    };
    query.split('&').map(mask).collect::<Vec<_>>().join("&")
}

/// The arguments of a query as JSON, secrets masked.
pub(super) fn arguments(query: &str) -> Value {
    let mut out = Map::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let value = if is_secret_argument(&name) { Value::from(MASK) } else { Value::from(value) };
        match out.get_mut(name.as_ref()) {
            None => {
                out.insert(name.into_owned(), value);
            }
            Some(Value::Array(items)) => items.push(value),
            Some(found) => *found = Value::Array(vec![found.take(), value]),
        }
    }
    Value::Object(out)
}

/// Variables of which those that would say a secret say the mask.
pub(super) struct Masked<V>(pub(super) V);

impl<V: Variables> Variables for Masked<V> {
    fn value<'a>(&'a self, name: &Variable) -> Option<Cow<'a, str>> {
        let value = self.0.value(name)?;
        let secret =
            |name: &str| HeaderName::from_bytes(name.as_bytes()).is_ok_and(|name| is_secret_header(&name));
        Some(match name {
            Variable::Header(name) | Variable::SentHeader(name) if secret(name) => Cow::Borrowed(MASK),
            Variable::Header(name) | Variable::SentHeader(name)
                if matches!(&**name, "location" | "referer") =>
            {
                Cow::Owned(target(&value))
            }
            Variable::Cookie(_) => Cow::Borrowed(MASK),
            Variable::Arg(name) if is_secret_argument(name) => Cow::Borrowed(MASK),
            Variable::RequestUri => Cow::Owned(target(&value)),
            Variable::QueryString => Cow::Owned(query(&value)),
            _ => value,
        })
    }
}
