use fetch::FetchError;
use oauth::{ErrorCode, OAuthError};

/// Why a provider did not give what it was asked for. Safe to log and to show: no secret, nothing of an answer's body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// The provider understood and said no, with an OAuth error. `Display` names only codes that an RFC defines.
    #[error("the provider refused: {}", known(.0))]
    Denied(OAuthError),
    /// No answer could be had, or none within the limits.
    #[error("{what}: {cause}")]
    Unreachable {
        /// Which document or endpoint.
        what: &'static str,
        /// What the fetch ran into.
        cause: FetchError,
    },
    /// The answer has a status that means neither yes nor a reasoned no: 5xx, a redirect, a 4xx without an OAuth error.
    #[error("{what}: the provider answered with status {status}")]
    Status {
        /// Which document or endpoint.
        what: &'static str,
        /// The status.
        status: u16,
    },
    /// The answer's status is right and its content is not.
    #[error("{what}: {why}")]
    Junk {
        /// Which document or endpoint.
        what: &'static str,
        /// What is wrong with it, in words of ours.
        why: String,
    },
    /// The provider's metadata name no such endpoint, and neither does the configuration.
    #[error("the provider has no {0}")]
    Missing(&'static str),
    /// Nothing has come yet, and the time for waiting is over.
    #[error("the provider's metadata and keys are not there yet")]
    NotReady,
    /// Something that exists in the protocols, but not here.
    #[error("{0} is not supported")]
    Unsupported(String),
}

impl ProviderError {
    /// The OAuth error, where the provider gave a reasoned no that asking again will not change. `server_error`,
    /// `temporarily_unavailable` and `slow_down` are not that.
    pub fn denial(&self) -> Option<&OAuthError> {
        let passing = |code| {
            matches!(code, ErrorCode::ServerError | ErrorCode::TemporarilyUnavailable | ErrorCode::SlowDown)
        };
        match self {
            Self::Denied(error) if !passing(error.code.clone()) => Some(error),
            _ => None,
        }
    }
}

fn known(error: &OAuthError) -> &str {
    match &error.code {
        ErrorCode::Other(_) => "with a code of its own",
        code => code.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s01_a_code_or_text_of_the_providers_own_is_not_displayed() {
        let error = OAuthError::from_parts("canary", Some("canary")).unwrap();
        assert!(!ProviderError::Denied(error).to_string().contains("canary"));
    }

    #[test]
    fn a_passing_trouble_is_no_denial() {
        let denied = |code| ProviderError::Denied(OAuthError { code, description: None });
        assert!(denied(ErrorCode::InvalidGrant).denial().is_some());
        assert!(denied(ErrorCode::TemporarilyUnavailable).denial().is_none());
        assert!(ProviderError::NotReady.denial().is_none());
    }
}
