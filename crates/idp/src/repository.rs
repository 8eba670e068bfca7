//! What the domain asks of its store. Every call names its tenant first; nothing crosses tenants.
//!
//! A write is durable when its future is ready. Uniqueness is the store's to keep: a clash is
//! [`RepositoryError::Conflict`](crate::RepositoryError::Conflict) with the field's name.

mod attempts;
mod deferred;
mod jobs;
mod logouts;
mod logs;
mod pairwise_subjects;
mod pushed_requests;
mod roles;
mod tickets;

use std::{future::Future, pin::Pin};

use base::UnixMillis;

use crate::{
    RepositoryError,
    model::{
        AccessTokenRecord, Client, ClientGrant, Connection, Consent, Digest, Grant, KeyState,
        RefreshTokenRecord, ResourceServer, Session, SigningKeyRecord, SubjectType, Tenant, Transaction,
        User,
    },
};

pub use attempts::Attempts;
pub use deferred::{DeferredRequests, Polled};
pub use jobs::Jobs;
pub use logouts::Logouts;
pub use logs::{LogFilter, Logs};
pub use pairwise_subjects::PairwiseSubjects;
pub use pushed_requests::PushedRequests;
pub use roles::Roles;
pub use tickets::Tickets;

/// The answer of a repository, in the making.
pub type Fut<'a, T> = Pin<Box<dyn Future<Output = Result<T, RepositoryError>> + Send + 'a>>;

/// A part of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Records to leave out.
    pub offset: u32,
    /// Records at most.
    pub limit: u32,
}

impl Page {
    /// Everything.
    pub const ALL: Self = Self { offset: 0, limit: i32::MAX as u32 };
}

/// A part of a list, and how long the whole is.
#[derive(Clone, Debug, PartialEq)]
pub struct Listing<T> {
    /// In the order in which they were made.
    pub items: Vec<T>,
    /// How many there are altogether.
    pub total: u64,
}

/// Everything the domain asks of its store.
pub trait Repository:
    Tenants
    + Clients
    + ResourceServers
    + ClientGrants
    + Connections
    + Users
    + Roles
    + SigningKeys
    + Sessions
    + Attempts
    + Jobs
    + Logs
    + Logouts
    + Tickets
    + Transactions
    + PushedRequests
    + PairwiseSubjects
    + Consents
    + Codes
    + RefreshTokens
    + AccessTokens
    + Revocations
    + DeferredRequests
    + Send
    + Sync
{
    /// Deletes what has been of no use since before `now`: expired sessions, transactions, codes, tokens, revocations.
    fn purge(&self, now: UnixMillis) -> Fut<'_, u64>;
}

/// Tenants.
pub trait Tenants {
    /// All of them.
    fn tenants(&self) -> Fut<'_, Vec<Tenant>>;
    /// Makes or replaces one.
    fn put_tenant<'a>(&'a self, tenant: &'a Tenant) -> Fut<'a, ()>;
}

/// Clients, with their secrets.
pub trait Clients {
    /// One client.
    fn client<'a>(&'a self, tenant: &'a str, client_id: &'a str) -> Fut<'a, Option<Client>>;
    /// Clients in the order in which they were made.
    fn clients<'a>(&'a self, tenant: &'a str, page: Page) -> Fut<'a, Listing<Client>>;
    /// Makes one.
    fn create_client<'a>(&'a self, tenant: &'a str, client: &'a Client) -> Fut<'a, ()>;
    /// Replaces one; `false` when there is none.
    fn update_client<'a>(&'a self, tenant: &'a str, client: &'a Client) -> Fut<'a, bool>;
    /// Deletes one with its grants, consents, codes and tokens; `false` when there is none.
    fn delete_client<'a>(&'a self, tenant: &'a str, client_id: &'a str) -> Fut<'a, bool>;
}

/// APIs.
pub trait ResourceServers {
    /// One API by its id or its identifier.
    fn resource_server<'a>(&'a self, tenant: &'a str, id: &'a str) -> Fut<'a, Option<ResourceServer>>;
    /// APIs in the order in which they were made.
    fn resource_servers<'a>(&'a self, tenant: &'a str, page: Page) -> Fut<'a, Listing<ResourceServer>>;
    /// Makes one. Conflict: `identifier`.
    fn create_resource_server<'a>(&'a self, tenant: &'a str, api: &'a ResourceServer) -> Fut<'a, ()>;
    /// Replaces the one of the same id; `false` when there is none.
    fn update_resource_server<'a>(&'a self, tenant: &'a str, api: &'a ResourceServer) -> Fut<'a, bool>;
    /// Deletes one by its id, with the client grants for it; `false` when there is none.
    fn delete_resource_server<'a>(&'a self, tenant: &'a str, id: &'a str) -> Fut<'a, bool>;
}

/// Which client grants to list. Everything that is set must fit.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClientGrantFilter<'a> {
    /// Of this client.
    pub client_id: Option<&'a str>,
    /// For this API.
    pub audience: Option<&'a str>,
    /// Of this kind.
    pub subject_type: Option<SubjectType>,
}

/// Client grants.
pub trait ClientGrants {
    /// One grant by its id.
    fn client_grant<'a>(&'a self, tenant: &'a str, id: &'a str) -> Fut<'a, Option<ClientGrant>>;
    /// Grants in the order in which they were made.
    fn client_grants<'a>(
        &'a self,
        tenant: &'a str,
        filter: ClientGrantFilter<'a>,
        page: Page,
    ) -> Fut<'a, Listing<ClientGrant>>;
    /// Makes one. Conflict: `client_id`, where client, audience and kind are taken.
    fn create_client_grant<'a>(&'a self, tenant: &'a str, grant: &'a ClientGrant) -> Fut<'a, ()>;
    /// Replaces the one of the same id; `false` when there is none.
    fn update_client_grant<'a>(&'a self, tenant: &'a str, grant: &'a ClientGrant) -> Fut<'a, bool>;
    /// Deletes one; `false` when there is none.
    fn delete_client_grant<'a>(&'a self, tenant: &'a str, id: &'a str) -> Fut<'a, bool>;
}

/// Connections.
pub trait Connections {
    /// One connection by its id or its name.
    fn connection<'a>(&'a self, tenant: &'a str, id: &'a str) -> Fut<'a, Option<Connection>>;
    /// Connections in the order in which they were made.
    fn connections<'a>(&'a self, tenant: &'a str, page: Page) -> Fut<'a, Listing<Connection>>;
    /// Makes one. Conflict: `name`.
    fn create_connection<'a>(&'a self, tenant: &'a str, connection: &'a Connection) -> Fut<'a, ()>;
    /// Replaces the one of the same id; `false` when there is none.
    fn update_connection<'a>(&'a self, tenant: &'a str, connection: &'a Connection) -> Fut<'a, bool>;
    /// Deletes one by its id, with its users and all that is theirs; `false` when there is none.
    fn delete_connection<'a>(&'a self, tenant: &'a str, id: &'a str) -> Fut<'a, bool>;
}

/// Which users to list. Everything that is set must fit.
#[derive(Clone, Copy, Debug, Default)]
pub struct UserFilter<'a> {
    /// Of this connection, by name.
    pub connection: Option<&'a str>,
    /// With this e-mail address, folded.
    pub email: Option<&'a str>,
    /// With this text in the e-mail address, username, name or id, folded.
    pub contains: Option<&'a str>,
}

/// Users and the hashes of their passwords.
pub trait Users {
    /// One user.
    fn user<'a>(&'a self, tenant: &'a str, user_id: &'a str) -> Fut<'a, Option<User>>;
    /// The user of a connection whose e-mail address or username is `identifier` (folded), and the password's hash.
    fn user_by_identifier<'a>(
        &'a self,
        tenant: &'a str,
        connection: &'a str,
        identifier: &'a str,
    ) -> Fut<'a, Option<(User, Option<String>)>>;
    /// Users in the order in which they were made.
    fn users<'a>(&'a self, tenant: &'a str, filter: UserFilter<'a>, page: Page) -> Fut<'a, Listing<User>>;
    /// The next of them after the one made at this moment with this id, in the order of [`Users::users`].
    fn users_after<'a>(
        &'a self,
        tenant: &'a str,
        filter: UserFilter<'a>,
        after: Option<(i64, &'a str)>,
        limit: u32,
    ) -> Fut<'a, Vec<User>>;
    /// Puts `primary` in the place of the record that `known` was read from, and links `secondary` to it, which is found
    /// by its own identifier only from then on, and leads to `primary`. `false`, and nothing happens, where one of them
    /// has changed or is linked already.
    fn link_user<'a>(
        &'a self,
        tenant: &'a str,
        known: &'a User,
        primary: &'a User,
        secondary: &'a str,
    ) -> Fut<'a, bool>;
    /// The reverse.
    fn unlink_user<'a>(
        &'a self,
        tenant: &'a str,
        known: &'a User,
        primary: &'a User,
        secondary: &'a str,
    ) -> Fut<'a, bool>;
    /// Makes one. Conflict: `user_id`, `email`, `username`.
    fn create_user<'a>(&'a self, tenant: &'a str, user: &'a User, password: Option<&'a str>) -> Fut<'a, ()>;
    /// Replaces all of one but password and login counts; `false` when there is none. Conflict: `email`, `username`.
    fn update_user<'a>(&'a self, tenant: &'a str, user: &'a User) -> Fut<'a, bool>;
    /// Replaces the password's hash; `false` when there is no such user.
    fn set_password<'a>(
        &'a self,
        tenant: &'a str,
        user_id: &'a str,
        password: &'a str,
        now: UnixMillis,
    ) -> Fut<'a, bool>;
    /// Puts another hash of the same password in the place of `known`; `false` when that is gone.
    fn rehash_password<'a>(
        &'a self,
        tenant: &'a str,
        user_id: &'a str,
        known: &'a str,
        password: &'a str,
    ) -> Fut<'a, bool>;
    /// Replaces the password's hash and keeps the `remembered` last ones, the new one among them; `false` when there is
    /// no such user.
    fn change_password<'a>(
        &'a self,
        tenant: &'a str,
        user_id: &'a str,
        password: &'a str,
        remembered: usize,
        now: UnixMillis,
    ) -> Fut<'a, bool>;
    /// The hashes of a user's last passwords, the one in use first.
    fn last_passwords<'a>(&'a self, tenant: &'a str, user_id: &'a str, limit: usize) -> Fut<'a, Vec<String>>;
    /// Counts a login.
    fn record_login<'a>(
        &'a self,
        tenant: &'a str,
        user_id: &'a str,
        ip: Option<&'a str>,
        now: UnixMillis,
    ) -> Fut<'a, ()>;
    /// Deletes one with sessions, consents and tokens; `false` when there is none.
    fn delete_user<'a>(&'a self, tenant: &'a str, user_id: &'a str) -> Fut<'a, bool>;
    /// Ends the user's sessions and revokes codes, refresh tokens and opaque access tokens, in one transaction.
    fn end_everything<'a>(&'a self, tenant: &'a str, user_id: &'a str, now: UnixMillis) -> Fut<'a, ()>;
}

/// Signing keys, private halves included.
pub trait SigningKeys {
    /// All keys of a tenant that are not revoked, in the order in which they were made.
    fn signing_keys<'a>(&'a self, tenant: &'a str) -> Fut<'a, Vec<SigningKeyRecord>>;
    /// Something that is another whenever a key was added or changed its state since, by whichever process. Asked for
    /// each signature: nothing is unsealed for it.
    fn signing_keys_version<'a>(&'a self, tenant: &'a str) -> Fut<'a, String>;
    /// Adds keys. A key whose algorithm and state (`current` or `next`) are taken is left out, so that two processes
    /// that start together agree.
    fn add_signing_keys<'a>(&'a self, tenant: &'a str, keys: &'a [SigningKeyRecord]) -> Fut<'a, ()>;
    /// In one transaction: current becomes previous, next becomes current, `key` becomes next. `false`, and nothing
    /// happens, when `current` is not current any more.
    fn rotate_signing_key<'a>(
        &'a self,
        tenant: &'a str,
        current: &'a str,
        key: &'a SigningKeyRecord,
        now: UnixMillis,
    ) -> Fut<'a, bool>;
    /// Puts `public_jwk` in the place of the one that `known` has; `false`, and nothing happens, where another one is
    /// there meanwhile.
    fn set_public_jwk<'a>(
        &'a self,
        tenant: &'a str,
        known: &'a SigningKeyRecord,
        public_jwk: &'a serde_json::Value,
    ) -> Fut<'a, bool>;
    /// Moves one key to `state`; `false` when there is none.
    fn set_signing_key_state<'a>(&'a self, tenant: &'a str, kid: &'a str, state: KeyState) -> Fut<'a, bool>;
}

/// Browser sessions.
pub trait Sessions {
    /// The sessions of a user that live at `now`, in the order in which they were made.
    fn user_sessions<'a>(
        &'a self,
        tenant: &'a str,
        user_id: &'a str,
        now: UnixMillis,
        page: Page,
    ) -> Fut<'a, Listing<Session>>;
    /// Notes that a client got something from a session, of this issuer.
    fn add_session_client<'a>(
        &'a self,
        tenant: &'a str,
        sid: &'a str,
        client_id: &'a str,
        issuer: &'a str,
    ) -> Fut<'a, ()>;
    /// The clients that got something from a session, also after its end, each with the issuer it asked.
    fn session_clients<'a>(&'a self, tenant: &'a str, sid: &'a str) -> Fut<'a, Vec<(String, String)>>;
    /// Starts one.
    fn create_session<'a>(&'a self, tenant: &'a str, session: &'a Session) -> Fut<'a, ()>;
    /// A session that lives at `now`, by the cookie's digest.
    fn session<'a>(
        &'a self,
        tenant: &'a str,
        cookie: &'a Digest,
        now: UnixMillis,
    ) -> Fut<'a, Option<Session>>;
    /// A session that lives at `now`, by its public name.
    fn session_by_sid<'a>(
        &'a self,
        tenant: &'a str,
        sid: &'a str,
        now: UnixMillis,
    ) -> Fut<'a, Option<Session>>;
    /// Sets the end without use.
    fn touch_session<'a>(&'a self, tenant: &'a str, sid: &'a str, idle_expires_at: UnixMillis)
    -> Fut<'a, ()>;
    /// Gives a session that lives the cookie and the times of `renewed`, under the name that both have. `false` where
    /// `cookie` is not its cookie any more, or it has ended.
    fn renew_session<'a>(
        &'a self,
        tenant: &'a str,
        cookie: &'a Digest,
        renewed: &'a Session,
    ) -> Fut<'a, bool>;
}

/// Authorization requests whose users are logging in.
pub trait Transactions {
    /// Begins one.
    fn create_transaction<'a>(&'a self, tenant: &'a str, transaction: &'a Transaction) -> Fut<'a, ()>;
    /// One that is neither finished nor expired at `now`.
    fn transaction<'a>(
        &'a self,
        tenant: &'a str,
        handle: &'a Digest,
        now: UnixMillis,
    ) -> Fut<'a, Option<Transaction>>;
    /// Notes the session of its login.
    fn set_transaction_session<'a>(
        &'a self,
        tenant: &'a str,
        handle: &'a Digest,
        sid: &'a str,
    ) -> Fut<'a, ()>;
    /// Ends it: `true` for exactly one caller.
    fn finish_transaction<'a>(
        &'a self,
        tenant: &'a str,
        handle: &'a Digest,
        now: UnixMillis,
    ) -> Fut<'a, bool>;
}

/// What users allowed clients.
pub trait Consents {
    /// The consent for one client and API (`audience` empty where none).
    fn consent<'a>(
        &'a self,
        tenant: &'a str,
        user_id: &'a str,
        client_id: &'a str,
        audience: &'a str,
    ) -> Fut<'a, Option<Consent>>;
    /// All consents of a user, or of every user.
    fn consents<'a>(
        &'a self,
        tenant: &'a str,
        user_id: Option<&'a str>,
        page: Page,
    ) -> Fut<'a, Listing<Consent>>;
    /// Makes or replaces one.
    fn put_consent<'a>(&'a self, tenant: &'a str, consent: &'a Consent, now: UnixMillis) -> Fut<'a, ()>;
    /// Deletes one and revokes the refresh tokens of its user and client; `false` when there is none.
    fn delete_consent<'a>(&'a self, tenant: &'a str, id: &'a str, now: UnixMillis) -> Fut<'a, bool>;
}

/// What became of a code that was presented.
#[derive(Clone, Debug, PartialEq)]
pub enum Redemption {
    /// It was good, and is used up now.
    Fresh(Grant),
    /// It had been used before.
    Used(Grant),
    /// There is no such code, or it has expired.
    Unknown,
}

/// Authorization codes.
pub trait Codes {
    /// Keeps one.
    fn create_code<'a>(
        &'a self,
        tenant: &'a str,
        code: &'a Digest,
        grant: &'a Grant,
        expires_at: UnixMillis,
    ) -> Fut<'a, ()>;
    /// Uses up a code of this client: of any number of callers one gets [`Redemption::Fresh`]. Somebody else's code is
    /// [`Redemption::Unknown`] and stays as it is. A used one is known for a day.
    fn redeem_code<'a>(
        &'a self,
        tenant: &'a str,
        client_id: &'a str,
        code: &'a Digest,
        now: UnixMillis,
    ) -> Fut<'a, Redemption>;
}

/// Which refresh tokens to list or revoke. Everything that is set must fit.
#[derive(Clone, Copy, Debug, Default)]
pub struct RefreshTokenFilter<'a> {
    /// Of this user.
    pub user_id: Option<&'a str>,
    /// Of this client.
    pub client_id: Option<&'a str>,
    /// From this session.
    pub sid: Option<&'a str>,
    /// Of this family.
    pub family: Option<&'a str>,
}

/// Refresh tokens.
pub trait RefreshTokens {
    /// Keeps one, and revokes the oldest of the same user and client beyond 200.
    fn create_refresh_token<'a>(&'a self, tenant: &'a str, token: &'a RefreshTokenRecord) -> Fut<'a, ()>;
    /// One token, also when rotated, expired or revoked.
    fn refresh_token<'a>(&'a self, tenant: &'a str, token: &'a Digest)
    -> Fut<'a, Option<RefreshTokenRecord>>;
    /// Puts `next` in the place of `old`, in one transaction. With `rotated_at` absent `old` must not be rotated yet;
    /// with it, `old` must have been rotated at that very moment (a retry within the leeway, which leaves its mark
    /// alone). Not when `old` is revoked. `false`: nothing happened.
    fn rotate_refresh_token<'a>(
        &'a self,
        tenant: &'a str,
        old: &'a str,
        rotated_at: Option<i64>,
        next: &'a RefreshTokenRecord,
        now: UnixMillis,
    ) -> Fut<'a, bool>;
    /// Moves the end without use of a token that does not rotate. `false` when it is revoked.
    fn touch_refresh_token<'a>(&'a self, tenant: &'a str, id: &'a str, idle_expires_at: i64)
    -> Fut<'a, bool>;
    /// Whether a younger token of the family than the children of `id` exists: then `id` is not the immediately
    /// previous one.
    fn has_grandchild<'a>(&'a self, tenant: &'a str, id: &'a str) -> Fut<'a, bool>;
    /// The families of which a token can be used at `now`, each by its youngest one, in the order in which those were
    /// made.
    fn refresh_tokens<'a>(
        &'a self,
        tenant: &'a str,
        filter: RefreshTokenFilter<'a>,
        now: UnixMillis,
        page: Page,
    ) -> Fut<'a, Listing<RefreshTokenRecord>>;
    /// Revokes every token that fits; how many.
    fn revoke_refresh_tokens<'a>(
        &'a self,
        tenant: &'a str,
        filter: RefreshTokenFilter<'a>,
        now: UnixMillis,
    ) -> Fut<'a, u64>;
}

/// Opaque access tokens.
pub trait AccessTokens {
    /// Keeps one.
    fn create_access_token<'a>(&'a self, tenant: &'a str, token: &'a AccessTokenRecord) -> Fut<'a, ()>;
    /// One token, also when expired or revoked.
    fn access_token<'a>(&'a self, tenant: &'a str, token: &'a Digest) -> Fut<'a, Option<AccessTokenRecord>>;
    /// Revokes one.
    fn revoke_access_token<'a>(&'a self, tenant: &'a str, token: &'a Digest, now: UnixMillis) -> Fut<'a, ()>;
}

/// An id that was added to the revoked ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokedId {
    /// Of a token, or of what tokens were made from.
    pub id: String,
    /// Until when a token of it could live.
    pub until: UnixMillis,
    /// When it was added.
    pub at: UnixMillis,
}

/// Ids that are dead before their time: of single JWTs (`jti`) and of whole families. Every token is checked against
/// its family when it is used, so that revoking a family cannot race with a token being made from it.
pub trait Revocations {
    /// Adds an id at `now`, to be remembered until `until`.
    fn add_revocation<'a>(
        &'a self,
        tenant: &'a str,
        id: &'a str,
        until: UnixMillis,
        now: UnixMillis,
    ) -> Fut<'a, ()>;
    /// What was added at `since` or later, in every tenant.
    fn revocations_since(&self, since: UnixMillis) -> Fut<'_, Vec<RevokedId>>;
    /// Whether the id was added.
    fn is_revoked<'a>(&'a self, tenant: &'a str, id: &'a str) -> Fut<'a, bool>;
    /// Uses up a one-time id, such as the `jti` of a client's assertion: `true` for exactly one caller.
    fn use_once<'a>(&'a self, tenant: &'a str, id: &'a str, until: UnixMillis) -> Fut<'a, bool>;
}
