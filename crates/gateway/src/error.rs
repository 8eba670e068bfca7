//! The gate's own answers, and whose fault a failure is.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

use crate::{plugin::Reply, upstream::FailureWords};

/// Why a part of the configuration cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{reason}", prefix(.path))]
pub struct ConfigError {
    /// The field at fault, in the writer's own terms: `nodes[0].port`. Empty where the reason says it all.
    pub path: String,
    /// What is wrong with it, and what would be right.
    pub reason: String,
}

fn prefix(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!("{path}: ") }
}

impl ConfigError {
    /// The field at `path` is wrong because of `reason`.
    pub fn new(path: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { path: path.into(), reason: reason.into() }
    }
}

/// How errors are worded on a route: the JSON member that carries the message. Each dialect names its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorBody {
    /// Name of the member: `{"error_msg":"…"}`.
    pub member: &'static str,
}

impl ErrorBody {
    /// The answer: a page whose text has the id `error` when `html`, JSON otherwise.
    pub fn reply(self, status: StatusCode, message: &str, html: bool) -> Reply {
        let (kind, body) = if html {
            ("text/html; charset=utf-8", self.page(status, message))
        } else {
            ("application/json", format!("{{\"{}\":{}}}\n", self.member, serde_json::Value::from(message)))
        };
        let mut reply = Response::new(Bytes::from(body));
        *reply.status_mut() = status;
        let headers = reply.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if html {
            headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            headers.insert(
                header::CONTENT_SECURITY_POLICY,
                HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
            );
        }
        reply
    }

    fn page(self, status: StatusCode, message: &str) -> String {
        let reason = status.canonical_reason().unwrap_or("Error");
        let (code, message) = (status.as_u16(), escape_html(message));
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>{code} {reason}</title>\n\
             <h1>{code} {reason}</h1>\n<p id=\"error\">{message}</p>\n</html>\n"
        )
    }
}

/// `text` with the five characters that mean something in HTML written as references.
pub fn escape_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

/// Why a request failed: whose side, what happened, and whether it may be sent again.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    /// The client's request cannot be understood or is not allowed.
    #[error("{1}")]
    Client(StatusCode, &'static str),
    /// No target of the upstream can be used.
    #[error("no target of upstream {0} can be used")]
    NoTarget(String),
    /// The route has no upstream to send to.
    #[error("the route has no upstream")]
    NoUpstream,
    /// The target's name has no address.
    #[error("cannot connect to {target}: the name has no address")]
    Unresolved {
        /// `host:port` of the target.
        target: String,
    },
    /// A connection to the target could not be made.
    #[error("cannot connect to {target}: {reason}")]
    Connect {
        /// `host:port` of the target.
        target: String,
        /// What went wrong.
        reason: String,
    },
    /// Connecting, sending or waiting took longer than the upstream's timeout.
    #[error("{target} took too long to {what}")]
    Timeout {
        /// `host:port` of the target.
        target: String,
        /// `connect`, `send` or `answer`.
        what: &'static str,
    },
    /// The target broke the exchange off or broke the protocol.
    #[error("{target} broke the exchange: {reason}")]
    Exchange {
        /// `host:port` of the target.
        target: String,
        /// What went wrong.
        reason: String,
    },
}

impl Failure {
    /// The body of a request is longer than it may be.
    pub const TOO_LARGE: Self =
        Self::Client(StatusCode::PAYLOAD_TOO_LARGE, "the request's body is too large");

    /// Whether the rest of the client's body is not worth reading: its connection can carry no other request.
    pub(crate) const fn ends_connection(&self) -> bool {
        matches!(
            self,
            Self::Client(
                StatusCode::BAD_REQUEST | StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE,
                _
            )
        )
    }

    /// The status that tells the client.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Client(status, _) => *status,
            Self::NoUpstream | Self::NoTarget(_) | Self::Unresolved { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Connect { .. } | Self::Exchange { .. } => StatusCode::BAD_GATEWAY,
            Self::Timeout { .. } => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// The message that tells the client.
    pub const fn message(&self) -> &'static str {
        self.message_in(&FailureWords::OWN)
    }

    /// The same in the words of the upstream that was asked.
    pub(crate) const fn message_in(&self, words: &FailureWords) -> &'static str {
        match self {
            Self::Client(_, message) => message,
            Self::NoUpstream => "the route has no upstream",
            Self::NoTarget(_) => words.no_target,
            Self::Unresolved { .. } => words.unresolved,
            Self::Connect { .. } => words.unreachable,
            Self::Timeout { .. } => words.late,
            Self::Exchange { .. } => words.broken,
        }
    }
}
