use serde::{Deserialize, Serialize};

use super::Digest;

/// What a link in a mail stands for.
#[derive(Clone, Debug, PartialEq)]
pub struct Ticket {
    /// Of the link's secret.
    pub token: Digest,
    /// What it is good for.
    pub kind: TicketKind,
    /// For whom. Nobody has an empty id.
    pub user_id: String,
    /// What goes along.
    pub terms: TicketTerms,
    /// Milliseconds since the epoch.
    pub expires_at: i64,
}

/// What a ticket is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TicketKind {
    /// Proves that mail to the user's address arrives.
    EmailVerification,
    /// Sets a new password.
    PasswordChange,
}

/// What goes along with a ticket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TicketTerms {
    /// The address that it was sent to: it proves nothing about another one.
    pub email: String,
    /// Where the browser goes afterwards.
    pub result_url: Option<String>,
    /// Where else: the application that it was asked for at begins another login (OpenID Connect Core section 4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login_url: Option<String>,
    /// Whether that address gets the user's added.
    pub include_email_in_redirect: bool,
    /// Whether a new password proves the address too.
    pub mark_email_as_verified: bool,
}

impl TicketKind {
    /// Its name in the store.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EmailVerification => "email_verification",
            Self::PasswordChange => "password_change",
        }
    }
}
