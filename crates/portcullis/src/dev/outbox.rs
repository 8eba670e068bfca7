//! The mail that `dev` would have sent, for `GET /dev/mail`.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use base::{Clock, UnixMillis};
use idp::{Mail, Mailer, model::iso8601};
use serde_json::{Value, json};

/// Mails that are kept; the oldest go first.
const MAX_MAILS: usize = 1000;

/// Keeps mail in memory until the process ends.
#[derive(Debug)]
pub(crate) struct Outbox {
    clock: Clock,
    mails: Mutex<VecDeque<(UnixMillis, Mail)>>,
}

impl Outbox {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, mails: Mutex::default() }
    }

    /// The newest last.
    pub(crate) fn to_wire(&self) -> Value {
        let mails = self.mails.lock().unwrap_or_else(PoisonError::into_inner);
        let mail = |(at, mail): &(UnixMillis, Mail)| {
            json!({
                "to": mail.to, "subject": mail.subject, "text": mail.text.expose(), "date": iso8601(*at),
            })
        };
        mails.iter().map(mail).collect()
    }
}

impl Mailer for Outbox {
    fn take(&self, mail: Mail) {
        let mut mails = self.mails.lock().unwrap_or_else(PoisonError::into_inner);
        if mails.len() >= MAX_MAILS {
            mails.pop_front();
        }
        mails.push_back((self.clock.now(), mail));
    }
}
