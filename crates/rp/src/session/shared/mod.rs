//! Sessions that several nodes share: kept in Redis, sealed with the keys of the route's cookies, so that who reads Redis
//! learns nothing and who writes to it makes no session. The browser holds a ticket: which session, sealed as well.

mod link;
mod proofs;
mod scripts;
mod settings;
mod ticket;

use std::{fmt, sync::Arc, time::Duration};

use ::redis::{Cmd, Value, cmd};
use aws_lc_rs::digest;
use base::{Keyring, Random, UnixMillis};
use zeroize::Zeroizing;

pub use link::{RedisLinks, StorageError, TlsChoices};
pub use proofs::SharedProofs;
pub use scripts::RedisScripts;
pub use settings::{RedisSettings, RedisTls};
pub use ticket::Ticket;

use self::link::Link;
use super::{Jar, Lifetimes, Login, Mark, Realm, Session, SessionId};

/// Replaces a value by another if it is still the same.
const REPLACE: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then \
     redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) return 1 else return 0 end";
/// Removes a value if it is still the same.
const REMOVE: &str =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) else return 0 end";

/// The shared sessions of one client at one provider.
pub struct SharedSessions {
    link: Arc<Link>,
    prefix: String,
    realm: Realm,
    keys: Keyring,
    random: Random,
}

/// A session as it is in the storage now.
pub struct Stored {
    /// The session.
    pub session: Session,
    /// Its bytes there, by which a later change of it is noticed.
    sealed: Vec<u8>,
}

/// The right to refresh a session, for as long as it was asked for.
pub struct Turn {
    key: String,
    token: String,
}

impl SharedSessions {
    /// Those that `jar`'s tickets name, in the Redis of `settings`.
    pub fn new(links: &RedisLinks, settings: &RedisSettings, jar: &Jar) -> Self {
        Self {
            link: links.link(settings),
            prefix: settings.prefix.clone(),
            realm: jar.realm(),
            keys: jar.keys.clone(),
            random: jar.random.clone(),
        }
    }

    /// Whether the storage answered the last time.
    pub fn is_available(&self) -> bool {
        !self.link.is_broken()
    }

    /// The session of `ticket`; `None`: it has ended.
    ///
    /// # Errors
    ///
    /// When the storage does not answer: then nobody knows.
    pub async fn load(&self, ticket: &Ticket) -> Result<Option<Stored>, StorageError> {
        let mut command = cmd("MGET");
        command.arg(self.session_key(&ticket.span.id));
        for mark in ticket.marks.iter() {
            command.arg(self.mark_key(mark));
        }
        let Value::Array(answers) = self.link.ask(command).await? else { return Err(StorageError) };
        let mut answers = answers.into_iter();
        let sealed = match answers.next() {
            Some(Value::BulkString(sealed)) => sealed,
            Some(Value::Nil) => return Ok(None),
            _ => return Err(StorageError),
        };
        for mark in answers {
            let before = match mark {
                Value::Nil => continue,
                Value::BulkString(text) => std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok()),
                _ => None,
            };
            // What cannot be read must not let a session live.
            if before.is_none_or(|before| ticket.span.created <= UnixMillis(before)) {
                return Ok(None);
            }
        }
        let place = place(&ticket.span.id);
        let session = self.keys.open(&sealed, &place).ok().and_then(|plain| Session::decode(&plain));
        let session = session.filter(|session| session.id == ticket.span.id);
        Ok(session.map(|session| Stored { session, sealed }))
    }

    /// Keeps a session that is new, or begins anew.
    ///
    /// # Errors
    ///
    /// When the storage does not answer.
    pub async fn put(
        &self,
        session: &Session,
        lifetimes: &Lifetimes,
        now: UnixMillis,
    ) -> Result<(), StorageError> {
        let mut command = cmd("SET");
        command.arg(self.session_key(&session.id)).arg(self.seal(session));
        command.arg("PX").arg(millis(lifetimes.left(session, now)));
        self.link.ask(command).await.map(drop)
    }

    /// Keeps `session` in place of `stored`, unless that was changed or removed meanwhile: then `false`.
    ///
    /// # Errors
    ///
    /// When the storage does not answer.
    pub async fn replace(
        &self,
        stored: &Stored,
        session: &Session,
        lifetimes: &Lifetimes,
        now: UnixMillis,
    ) -> Result<bool, StorageError> {
        let mut command = script(REPLACE, &self.session_key(&session.id));
        command.arg(stored.sealed.as_slice()).arg(self.seal(session));
        command.arg(millis(lifetimes.left(session, now)));
        Ok(self.link.ask(command).await? == Value::Int(1))
    }

    /// Ends a session on all nodes.
    ///
    /// # Errors
    ///
    /// When the storage does not answer.
    pub async fn remove(&self, id: &SessionId) -> Result<(), StorageError> {
        let mut command = cmd("DEL");
        command.arg(self.session_key(id));
        self.link.ask(command).await.map(drop)
    }

    /// Ends every session with `mark` that began by `now`, on all nodes; remembered until `until`.
    ///
    /// # Errors
    ///
    /// When the storage does not answer.
    pub async fn remove_marked(
        &self,
        mark: Mark,
        until: UnixMillis,
        now: UnixMillis,
    ) -> Result<(), StorageError> {
        let mut command = cmd("SET");
        command.arg(self.mark_key(mark)).arg(now.0).arg("PX").arg(millis(until.since(now)));
        self.link.ask(command).await.map(drop)
    }

    /// Uses the state of `login`, on all nodes. `false` if it was used before.
    ///
    /// # Errors
    ///
    /// When the storage does not answer.
    pub async fn claim(&self, login: &Login, lifetime: Duration) -> Result<bool, StorageError> {
        let key = self.key("state", login.state.as_bytes());
        let mut command = cmd("SET");
        command.arg(key).arg(1).arg("NX").arg("PX").arg(millis(lifetime));
        Ok(self.link.ask(command).await? != Value::Nil)
    }

    /// Uses something else that is good once, by its name, on all nodes. `false` if it was used before.
    ///
    /// # Errors
    ///
    /// When the storage does not answer.
    pub async fn claim_once(&self, name: &str, lifetime: Duration) -> Result<bool, StorageError> {
        let mut command = cmd("SET");
        command.arg(self.key("once", name.as_bytes())).arg(1).arg("NX").arg("PX").arg(millis(lifetime));
        Ok(self.link.ask(command).await? != Value::Nil)
    }

    /// Takes such a use back.
    pub async fn release(&self, name: &str) {
        let mut command = cmd("DEL");
        command.arg(self.key("once", name.as_bytes()));
        // Where it fails, the thing stays used: nothing happens twice for that.
        let _ = self.link.ask(command).await;
    }

    /// The turn to refresh the session `id`, for `lasting` at most; `None` while another node has it.
    ///
    /// # Errors
    ///
    /// When the storage does not answer.
    pub async fn take_turn(&self, id: &SessionId, lasting: Duration) -> Result<Option<Turn>, StorageError> {
        let turn = Turn { key: self.key("turn", id), token: self.random.hex(16) };
        let mut command = cmd("SET");
        command.arg(&turn.key).arg(&turn.token).arg("NX").arg("PX").arg(millis(lasting));
        Ok((self.link.ask(command).await? != Value::Nil).then_some(turn))
    }

    /// Gives a turn back. One that has run out may be another's by now, and stays.
    pub async fn give_back(&self, turn: Turn) {
        let mut command = script(REMOVE, &turn.key);
        command.arg(&turn.token);
        // It runs out by itself.
        let _ = self.link.ask(command).await;
    }

    fn seal(&self, session: &Session) -> Vec<u8> {
        self.keys.seal(&self.random, &Zeroizing::new(session.encode()), &place(&session.id))
    }

    fn session_key(&self, id: &SessionId) -> String {
        self.key("session", id)
    }

    fn mark_key(&self, mark: Mark) -> String {
        self.key("ended", &mark.0)
    }

    /// A key tells what it is for, and nothing of whom: ids are digested with the realm.
    fn key(&self, kind: &str, name: &[u8]) -> String {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(kind.as_bytes());
        context.update(&self.realm.0);
        context.update(name);
        let digest = context.finish();
        let mut key = format!("{}:{kind}:", self.prefix);
        for byte in digest.as_ref().iter().take(16) {
            key.push_str(&format!("{byte:02x}"));
        }
        key
    }
}

/// What a sealed session is bound to: it opens under no other id.
fn place(id: &SessionId) -> Vec<u8> {
    [b"shared session/".as_slice(), id].concat()
}

fn script(text: &str, key: &str) -> Cmd {
    let mut command = cmd("EVAL");
    command.arg(text).arg(1).arg(key);
    command
}

/// Redis takes no zero.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).clamp(1, 400 * 86_400 * 1000)
}

impl fmt::Debug for SharedSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedSessions").field("link", &self.link).finish_non_exhaustive()
    }
}
