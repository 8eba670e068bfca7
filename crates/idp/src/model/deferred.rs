use base::Secret;
use serde::{Deserialize, Serialize};

use super::{AuthorizeRequest, Digest};

/// A request that is answered elsewhere than where it was made: by a person with another device (RFC 8628), or by one
/// who is asked there (OpenID Connect CIBA). Found by the digest of the code that its client polls with.
#[derive(Clone, Debug, PartialEq)]
pub struct DeferredRequest {
    /// Of the device code or `auth_req_id`.
    pub handle: Digest,
    /// How it is answered.
    pub kind: DeferredKind,
    /// Of the code that the person types, in its one form.
    pub user_code: Option<Digest>,
    /// Who is asked, where that is known.
    pub user_id: Option<String>,
    /// What is asked for.
    pub request: AuthorizeRequest,
    /// What tells the client of the decision, where it does not only poll.
    pub notification: Option<Secret<String>>,
    /// Milliseconds between two polls at least.
    pub interval: i64,
    /// Milliseconds since the epoch.
    pub expires_at: i64,
    /// What became of it.
    pub state: DeferredState,
}

/// How a deferred request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeferredKind {
    /// By whoever types its code.
    Device,
    /// By the user it names.
    Backchannel,
}

/// What became of a deferred request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeferredState {
    /// Nobody has decided yet.
    Pending,
    /// Tokens may be fetched, once.
    Allowed,
    /// No.
    Denied,
    /// The tokens were fetched.
    Used,
}

/// What ties an authorization request to the deferred one that its page decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deferred {
    /// Of the deferred request.
    pub handle: Digest,
    /// What the client wants the person to compare.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding_message: Option<String>,
}

impl DeferredKind {
    /// The name in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Backchannel => "backchannel",
        }
    }

    /// The kind of this name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Device, Self::Backchannel].into_iter().find(|kind| kind.as_str() == name)
    }
}

impl DeferredState {
    /// The name in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Used => "used",
        }
    }

    /// The state of this name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Pending, Self::Allowed, Self::Denied, Self::Used]
            .into_iter()
            .find(|state| state.as_str() == name)
    }
}
