//! Browser sessions of a relying party: what a session holds, how it travels in sealed cookies, how a login that is
//! under way is remembered, and what the whole process must agree on (states used, sessions ended, refreshes running).
//!
//! With [`SharedSessions`] the cookie holds a ticket, and the session is in a Redis that several nodes share.
//!
//! [`Jar`] seals and opens cookies; [`Session`] and [`Login`] are what is in them. [`UsedStates`], [`EndedSessions`]
//! and [`Refreshes`] each have one instance per process. Of these a warm request reads [`EndedSessions`] alone, and
//! that without a lock.

mod content;
mod cookies;
mod ended;
mod id_token;
mod jar;
mod login;
mod logout_token;
mod marks;
mod refresh;
mod shared;
mod used;

pub use content::{Lifetimes, Session, SessionId, SessionSpan, Standing};
pub use cookies::{Cookies, SameSite};
pub use ended::{Ended, EndedError, EndedRecord, EndedSessions, EndedStore, Saved};
pub use id_token::{IdToken, IdTokenError, IdTokenRules};
pub use jar::{CookieSettings, Jar, LoginCookies, Prefix, Realm, SEALED, SealedSession, TooLarge};
pub use login::{Continued, LOGIN_LIFETIME, Login, MAX_LOGINS, Recalled};
pub use logout_token::{LogoutToken, LogoutTokenError, LogoutTokenRules, Unusable, UsedTokens};
pub use marks::{Mark, Marks};
pub use refresh::{REFRESH_KEPT, RefreshError, Refreshes};
pub use shared::{
    RedisLinks, RedisScripts, RedisSettings, RedisTls, SharedProofs, SharedSessions, StorageError, Stored,
    Ticket, TlsChoices, Turn,
};
pub use used::UsedStates;

#[cfg(test)]
pub(crate) use jar::tests::opened_cookie;
