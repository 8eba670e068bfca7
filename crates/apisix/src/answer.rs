//! What a client of the Admin API is told: a status and a JSON body.

use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};
use store::StoreError;

/// An answer of the Admin API.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// `Null`: no body.
    pub(crate) body: Value,
    /// Further headers.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
}

impl Answer {
    pub(crate) const fn new(status: StatusCode, body: Value) -> Self {
        Self { status, body, headers: Vec::new() }
    }

    /// `{"error_msg": …}` with this status.
    pub(crate) fn error(status: StatusCode, message: impl Into<String>) -> Self {
        Self::new(status, json!({"error_msg": message.into()}))
    }

    /// 400 `{"error_msg": …}`.
    pub(crate) fn refuse(message: impl Into<String>) -> Self {
        Self::error(StatusCode::BAD_REQUEST, message)
    }

    /// 404, in the words of etcd.
    pub(crate) fn key_not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, json!({"message": "Key not found"}))
    }

    /// A write that lost against another one.
    pub(crate) fn overtaken() -> Self {
        Self::error(StatusCode::SERVICE_UNAVAILABLE, "value changed before overwritten")
    }
}

impl From<StoreError> for Answer {
    fn from(error: StoreError) -> Self {
        let status = match error {
            StoreError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            StoreError::Invalid { .. } => StatusCode::BAD_REQUEST,
            StoreError::Conflict { .. } => return Self::overtaken(),
            StoreError::Unavailable { .. } | StoreError::Compacted { .. } | StoreError::Corrupt { .. } => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        };
        Self::error(status, error.to_string())
    }
}
