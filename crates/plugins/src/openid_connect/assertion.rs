//! The gate's own word on who is calling, for upstreams that want more than a header: a JWT signed with the gate's key,
//! short-lived and for one route or service.

use std::{cell::RefCell, time::Duration};

use base::UnixMillis;
use bytes::Bytes;
use gateway::{
    error::ConfigError,
    is_same_header,
    plugin::{Reply, RequestHead},
    route::Route,
};
use http::{HeaderName, HeaderValue, Method, Response, header};
use rp::{assertion::AssertionKeys, bearer::Found};
use serde_json::{Map, Value, json};

use super::{
    claim_headers,
    claims::{ClaimRef, Documents},
};

/// The header that is taken from every client on every route.
const X_IDENTITY_ASSERTION: &str = "x-identity-assertion";
/// Claims that are the gate's to make.
const RESERVED: [&str; 8] = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "cnf"];
/// An assertion is used again for so long, so that a busy caller costs a signature now and then.
const USED_FOR: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_secs(3600);
/// Bytes of an assertion: what common servers take in a line.
const MAX_BYTES: usize = 8 * 1024;

/// How callers are vouched for.
#[derive(Clone, Debug)]
pub struct AssertionConfig {
    /// The header that carries it.
    pub header: HeaderName,
    /// `iss`.
    pub issuer: String,
    /// `aud`; `None`: the route's service, or the route.
    pub audience: Option<String>,
    /// Further claims, and where they come from.
    pub claims: Vec<(String, ClaimRef)>,
    /// From `iat` to `exp`.
    pub lifetime: Duration,
    /// Path below which the key set is published on the same route.
    pub jwks_path: String,
}

/// What is vouched for, of one verified token or session on this core.
pub(super) struct Assertion {
    claims: Map<String, Value>,
    last: RefCell<Option<Made>>,
}

struct Made {
    audience: Box<str>,
    value: HeaderValue,
    until: UnixMillis,
}

impl AssertionConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let wrong =
            |field: &str, reason: &str| Err(ConfigError::new(format!("identity_assertion.{field}"), reason));
        if !is_same_header(self.header.as_str(), X_IDENTITY_ASSERTION) {
            claim_headers::check_name("identity_assertion.header", &self.header)?;
        }
        if self.issuer.is_empty() || self.audience.as_deref() == Some("") {
            return wrong("issuer", "issuer and audience must not be empty");
        }
        if let Some((name, _)) = self.claims.iter().find(|(name, _)| RESERVED.contains(&name.as_str())) {
            return wrong(&format!("claims.{name}"), "the gate makes this claim itself");
        }
        if !(Duration::from_secs(5)..=LONGEST).contains(&self.lifetime) {
            return wrong("lifetime", "it must be 5 to 3600 seconds");
        }
        let plain =
            self.jwks_path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte));
        if !plain
            || !self.jwks_path.starts_with('/')
            || self.jwks_path.contains("//")
            || self.jwks_path.contains("/.") && !self.jwks_path.starts_with("/.well-known/")
        {
            return wrong("jwks_path", "it must be a path such as /.well-known/portcullis/jwks.json");
        }
        Ok(())
    }

    /// What can be said of this caller; `None`: nobody knows who it is.
    pub(super) fn of(&self, subject: Option<&str>, documents: &Documents<'_>) -> Option<Assertion> {
        let mut claims = Map::new();
        claims.insert("iss".to_owned(), self.issuer.as_str().into());
        claims.insert("sub".to_owned(), subject.filter(|subject| !subject.is_empty())?.into());
        for (name, claim) in &self.claims {
            if let Found::Values(values) = documents.find(claim) {
                let value = match values.as_slice() {
                    [one] => (*one).clone(),
                    many => many.iter().map(|value| (*value).clone()).collect(),
                };
                claims.insert(name.clone(), value);
            }
        }
        Some(Assertion { claims, last: RefCell::default() })
    }

    /// The answer at the path of the key set.
    pub(super) fn published(&self, head: &RequestHead, keys: &AssertionKeys) -> Option<Reply> {
        if head.path() != self.jwks_path || !matches!(head.method, Method::GET | Method::HEAD) {
            return None;
        }
        let mut reply = Response::new(Bytes::from(keys.jwks().as_bytes().to_vec()));
        let headers = reply.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/jwk-set+json"));
        // Well within the time that a new key is published before it signs.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
        Some(reply)
    }
}

impl Assertion {
    /// The header's value for a request on `route`, which counts until `expires` at most.
    pub(super) fn value(
        &self,
        config: &AssertionConfig,
        keys: &AssertionKeys,
        route: &Route,
        expires: UnixMillis,
        now: UnixMillis,
    ) -> Option<HeaderValue> {
        let audience = Audience::of(config, route);
        if let Some(made) = &*self.last.borrow()
            && now < made.until
            && audience.is(&made.audience)
        {
            return Some(made.value.clone());
        }
        let audience = audience.into_text();
        let end = (now + config.lifetime).min(expires);
        let mut claims = self.claims.clone();
        claims.insert("aud".to_owned(), audience.as_str().into());
        claims.insert("iat".to_owned(), now.secs().into());
        claims.insert("exp".to_owned(), end.secs().into());
        let token = match keys.sign(&Value::Object(claims), now) {
            Ok(token) if token.len() <= MAX_BYTES => token,
            Ok(token) => {
                tracing::warn!(
                    bytes = token.len(),
                    "an identity assertion is left out because it is too long"
                );
                return None;
            }
            Err(error) => {
                tracing::error!(%error, "an identity assertion cannot be signed");
                return None;
            }
        };
        let mut value = HeaderValue::try_from(token).ok()?;
        value.set_sensitive(true);
        // At least half of its life is left when it is used last.
        let until = (now + USED_FOR.min(config.lifetime / 2)).min(end);
        *self.last.borrow_mut() = Some(Made { audience: audience.into(), value: value.clone(), until });
        Some(value)
    }

    /// About how many bytes it takes.
    pub(super) fn weight(&self) -> usize {
        2 * json!(self.claims).to_string().len() + 1024
    }
}

/// Whom an assertion is for.
enum Audience<'a> {
    Named(&'a str),
    Part(&'static str, &'a str),
}

impl<'a> Audience<'a> {
    fn of(config: &'a AssertionConfig, route: &'a Route) -> Self {
        match (&config.audience, &route.service_id) {
            (Some(name), _) => Self::Named(name),
            (None, Some(service)) => Self::Part("services/", service),
            (None, None) => Self::Part("routes/", &route.id),
        }
    }

    fn is(&self, text: &str) -> bool {
        match self {
            Self::Named(name) => *name == text,
            Self::Part(kind, id) => text.strip_prefix(kind) == Some(*id),
        }
    }

    fn into_text(self) -> String {
        match self {
            Self::Named(name) => name.to_owned(),
            Self::Part(kind, id) => format!("{kind}{id}"),
        }
    }
}
