use std::fmt;

use aws_lc_rs::digest;

use super::Realm;

/// Digest of what a provider ends sessions by: its session with the user (`sid`), or the user (`sub`), for one client
/// (OpenID Connect Back-Channel Logout 1.0 section 2.6). Taken once, at the login, so that a warm request takes none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mark(pub [u8; 16]);

/// The marks of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    /// Of the user.
    pub subject: Mark,
    /// Of the user's session at the provider, where the ID token names it.
    pub sid: Option<Mark>,
    /// Of that session and the user together.
    pub both: Option<Mark>,
}

impl Mark {
    /// Of the provider's session `sid`.
    pub fn of_sid(realm: Realm, issuer: &str, sid: &str) -> Self {
        Self::of(b"sid", realm, issuer, sid)
    }

    /// Of the user `subject`.
    pub fn of_subject(realm: Realm, issuer: &str, subject: &str) -> Self {
        Self::of(b"sub", realm, issuer, subject)
    }

    /// Of the provider's session `sid`, if it is one of `subject`: a logout token that names both ends no session where
    /// one of them is another.
    pub fn of_both(realm: Realm, issuer: &str, sid: &str, subject: &str) -> Self {
        Self::of(b"sid+sub", realm, issuer, &format!("{}\n{sid}\n{subject}", sid.len()))
    }

    fn of(kind: &[u8], realm: Realm, issuer: &str, name: &str) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(kind);
        context.update(&realm.0);
        // An issuer of another length cannot make up for a name.
        context.update(&issuer.len().to_be_bytes());
        context.update(issuer.as_bytes());
        context.update(name.as_bytes());
        let mut mark = [0; 16];
        mark.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
        Self(mark)
    }
}

impl Marks {
    /// Of a session of `subject` at `issuer`, within the provider's session `sid`.
    pub fn new(realm: Realm, issuer: &str, subject: &str, sid: Option<&str>) -> Self {
        Self {
            subject: Mark::of_subject(realm, issuer, subject),
            sid: sid.map(|sid| Mark::of_sid(realm, issuer, sid)),
            both: sid.map(|sid| Mark::of_both(realm, issuer, sid, subject)),
        }
    }

    /// All there are.
    pub fn iter(&self) -> impl Iterator<Item = Mark> {
        std::iter::once(self.subject).chain(self.sid).chain(self.both)
    }
}

impl fmt::Debug for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mark({:032x})", u128::from_be_bytes(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r20_a_mark_is_of_one_kind_one_client_one_issuer_and_one_name() {
        let (here, there) = (Realm([1; 16]), Realm([2; 16]));
        let marks = [
            Mark::of_sid(here, "https://a/", "1"),
            Mark::of_subject(here, "https://a/", "1"),
            Mark::of_sid(there, "https://a/", "1"),
            Mark::of_sid(here, "https://b/", "1"),
            Mark::of_sid(here, "https://a/", "2"),
            Mark::of_sid(here, "https://a", "/1"),
            Mark::of_both(here, "https://a/", "1", "1"),
            Mark::of_both(here, "https://a/", "1", "2"),
            Mark::of_both(here, "https://a/", "1\n1", ""),
        ];
        let distinct: std::collections::BTreeSet<_> = marks.iter().collect();
        assert_eq!(distinct.len(), marks.len());
    }
}
