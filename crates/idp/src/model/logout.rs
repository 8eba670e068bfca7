use serde::{Deserialize, Serialize};

/// `oidc_logout` of a client: who is told when a session ends that it got something from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OidcLogout {
    /// Where logout tokens are posted (OpenID Connect Back-Channel Logout 1.0).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub backchannel_logout_urls: Vec<String>,
    /// Which ends of sessions are told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backchannel_logout_initiators: Option<LogoutInitiators>,
}

/// `backchannel_logout_initiators`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogoutInitiators {
    /// All of them, or those selected.
    pub mode: InitiatorMode,
    /// Which, where `mode` is `custom`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub selected_initiators: Vec<LogoutInitiator>,
}

/// `mode` of the initiators.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InitiatorMode {
    /// The selected ones.
    #[default]
    Custom,
    /// Every one.
    All,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogoutInitiator {
    /// A client sent the user to `/oidc/logout` or `/v2/logout`.
    RpLogout,
    /// The user logged out here.
    IdpLogout,
    /// The password was changed.
    PasswordChanged,
    /// The session's time was over.
    SessionExpired,
    /// An administrator ended it.
    SessionRevoked,
    /// The user was deleted.
    AccountDeleted,
    /// The user was blocked.
    AccountDeactivated,
    /// The e-mail address was changed.
    EmailIdentifierChanged,
}

/// A logout token that is to be delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogoutDelivery {
    /// 22 characters; the token's `jti`.
    pub id: String,
    /// To whom.
    pub client_id: String,
    /// Where.
    pub url: String,
    /// The issuer that the client knows the session by, with its slash.
    pub issuer: String,
    /// Who was logged in.
    pub user_id: String,
    /// Which session ended.
    pub sid: String,
    /// How often it was tried before.
    pub attempts: i64,
}

impl OidcLogout {
    /// Whether an end of this kind is told. The ends that are a logout always are.
    pub fn tells(&self, initiator: LogoutInitiator) -> bool {
        let initiators = self.backchannel_logout_initiators.as_ref();
        match initiators {
            _ if matches!(initiator, LogoutInitiator::RpLogout | LogoutInitiator::IdpLogout) => true,
            // Auth0 tells of logouts alone where nothing is said. What an administrator ends ends for clients too.
            None => true,
            Some(chosen) => {
                chosen.mode == InitiatorMode::All || chosen.selected_initiators.contains(&initiator)
            }
        }
    }
}
