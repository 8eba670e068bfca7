use base::UnixMillis;
use http::HeaderValue;

use crate::session::{Cookies, Jar, Mark, Marks, SealedSession, Session, SessionSpan, TooLarge};

/// What the cookie of a shared session is sealed for; a session's own never opens as one.
const PURPOSE: &[u8] = b"ticket";

/// What the browser holds of a shared session: which it is, and by what it may have ended. It stays the same from login
/// to logout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Which session.
    pub span: SessionSpan,
    /// By what the provider may have ended it.
    pub marks: Marks,
}

impl Ticket {
    /// That of `session`.
    pub const fn of(session: &Session) -> Self {
        Self { span: session.span(), marks: session.marks }
    }

    fn encode(&self) -> Vec<u8> {
        let Self { span, marks } = self;
        let mut out = Vec::with_capacity(80);
        out.extend_from_slice(&span.id);
        out.extend_from_slice(&span.created.0.to_be_bytes());
        out.extend_from_slice(&span.ends.0.to_be_bytes());
        out.extend_from_slice(&marks.subject.0);
        for mark in [marks.sid, marks.both].into_iter().flatten() {
            out.extend_from_slice(&mark.0);
        }
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (id, rest) = bytes.split_first_chunk::<16>()?;
        let (created, rest) = rest.split_first_chunk::<8>()?;
        let (ends, rest) = rest.split_first_chunk::<8>()?;
        let (subject, rest) = rest.split_first_chunk::<16>()?;
        let (sid, both) = match rest.split_first_chunk::<16>() {
            None if rest.is_empty() => (None, None),
            None => return None,
            Some((sid, both)) => (Some(Mark(*sid)), Some(Mark(both.try_into().ok()?))),
        };
        let moment = |raw: &[u8; 8]| UnixMillis(i64::from_be_bytes(*raw));
        let span = SessionSpan { id: *id, created: moment(created), ends: moment(ends) };
        Some(Self { span, marks: Marks { subject: Mark(*subject), sid, both } })
    }
}

impl Jar {
    /// Opens the cookie of a shared session. `None` where it is not ours, was altered, or is bound elsewhere.
    pub fn open_ticket(&self, sealed: &SealedSession<'_>) -> Option<Ticket> {
        Ticket::decode(&self.open_sealed(sealed, PURPOSE)?)
    }

    /// `Set-Cookie` values that make a shared session the browser's.
    ///
    /// # Errors
    ///
    /// When name, path and domain are so long that there is no room for it.
    pub fn issue_ticket(
        &self,
        ticket: &Ticket,
        cookies: &Cookies<'_>,
        https: bool,
    ) -> Result<Vec<HeaderValue>, TooLarge> {
        self.issue_sealed(&ticket.encode(), PURPOSE, cookies, https)
    }
}

#[cfg(test)]
mod tests {
    use base::Random;

    use super::*;
    use crate::session::{
        CookieSettings,
        content::tests::session,
        jar::tests::{browser, jar},
    };

    #[test]
    fn a_ticket_is_no_session_and_a_session_no_ticket() {
        let jar = jar(CookieSettings::default());
        let none = http::HeaderMap::new();
        let ticket = Ticket::of(&session());
        let lines = browser(&jar.issue_ticket(&ticket, &Cookies::read(&none), true).unwrap());
        let found = jar.find(&Cookies::read(&lines), true);
        assert_eq!(jar.open_ticket(&found[0]), Some(ticket));
        assert!(jar.open(&found[0]).is_none());
        let lines = browser(&jar.issue(&session(), &Cookies::read(&none), true).unwrap());
        assert!(jar.open_ticket(&jar.find(&Cookies::read(&lines), true)[0]).is_none());
        let other =
            Jar::from_secret("another secret 16", "d", "c", CookieSettings::default(), Random::seeded(1));
        let lines = browser(&jar.issue_ticket(&ticket, &Cookies::read(&none), true).unwrap());
        assert!(other.open_ticket(&other.find(&Cookies::read(&lines), true)[0]).is_none());
    }

    #[test]
    fn a_ticket_reads_back_with_and_without_a_sid() {
        for sid in [None, Some(Mark([3; 16]))] {
            let marks = Marks { sid, both: sid.map(|_| Mark([4; 16])), ..session().marks };
            let ticket = Ticket { marks, ..Ticket::of(&session()) };
            assert_eq!(Ticket::decode(&ticket.encode()), Some(ticket));
        }
        assert_eq!(Ticket::decode(&[0; 50]), None);
    }
}
