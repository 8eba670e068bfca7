//! Mail to users, as the domain hands it over.

use base::Secret;

/// One mail, in plain text.
#[derive(Clone, Debug)]
pub struct Mail {
    /// One address.
    pub to: String,
    /// One line.
    pub subject: String,
    /// What it says. Has a ticket in it, and is as secret as that.
    pub text: Secret<String>,
}

/// Takes mail and sees to its delivery.
pub trait Mailer: Send + Sync {
    /// Takes one mail. What becomes of it is the mailer's to log: whoever asked for it is told nothing either way.
    fn take(&self, mail: Mail);
}
