use serde_json::json;

use super::Object;
use crate::{IdpError, RepositoryError};

/// Why the Management API does not do what was asked: `{statusCode, error, message, errorCode}`.
#[derive(Debug, thiserror::Error)]
pub enum ManagementError {
    /// 400 `invalid_body`.
    #[error("{0}")]
    InvalidBody(String),
    /// 400 `invalid_query_string`.
    #[error("{0}")]
    InvalidQuery(String),
    /// 401.
    #[error("{0}")]
    Unauthorized(&'static str),
    /// 403 `insufficient_scope`, with the scopes of which one is needed.
    #[error("Insufficient scope, expected any of: {0}")]
    InsufficientScope(String),
    /// 403 `operation_not_supported`: known to Auth0, not to this build.
    #[error("{0}")]
    Unsupported(String),
    /// 404, with Auth0's `errorCode` where it has one.
    #[error("{message}")]
    NotFound {
        /// `inexistent_client` …
        code: Option<&'static str>,
        /// In words.
        message: &'static str,
    },
    /// 409 with its `errorCode`.
    #[error("{message}")]
    Conflict {
        /// `resource_conflict`, `auth0_idp_error` …
        code: &'static str,
        /// In words.
        message: String,
    },
    /// 500 or 503.
    #[error(transparent)]
    Internal(#[from] IdpError),
}

impl From<RepositoryError> for ManagementError {
    fn from(error: RepositoryError) -> Self {
        Self::Internal(error.into())
    }
}

impl ManagementError {
    /// The HTTP status.
    pub fn status(&self) -> u16 {
        match self {
            Self::InvalidBody(_) | Self::InvalidQuery(_) => 400,
            Self::Unauthorized(_) => 401,
            Self::InsufficientScope(_) | Self::Unsupported(_) => 403,
            Self::NotFound { .. } => 404,
            Self::Conflict { .. } => 409,
            Self::Internal(IdpError::Busy | IdpError::Repository(RepositoryError::Unavailable(_))) => 503,
            Self::Internal(_) => 500,
        }
    }

    /// The body.
    pub fn to_wire(&self) -> Object {
        let status = self.status();
        let (error, code) = match self {
            Self::InvalidBody(_) => ("Bad Request", Some("invalid_body")),
            Self::InvalidQuery(_) => ("Bad Request", Some("invalid_query_string")),
            Self::Unsupported(_) => ("Forbidden", Some("operation_not_supported")),
            Self::Unauthorized(_) => ("Unauthorized", None),
            Self::InsufficientScope(_) => ("Forbidden", Some("insufficient_scope")),
            Self::NotFound { code, .. } => ("Not Found", *code),
            Self::Conflict { code, .. } => ("Conflict", Some(*code)),
            Self::Internal(_) if status == 503 => ("Service Unavailable", None),
            Self::Internal(_) => ("Internal Server Error", None),
        };
        // What failed inside is for the log, not for the caller.
        let message = match self {
            Self::Internal(_) => "The request could not be processed. Try again later.".to_owned(),
            other => other.to_string(),
        };
        let mut body = Object::new();
        body.insert("statusCode".to_owned(), json!(status));
        body.insert("error".to_owned(), json!(error));
        body.insert("message".to_owned(), json!(message));
        if let Some(code) = code {
            body.insert("errorCode".to_owned(), json!(code));
        }
        body
    }
}
