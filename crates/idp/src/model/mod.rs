//! What the provider knows: the objects administrators manage, in Auth0's shapes, and the records that logins leave.

mod client;
mod client_grant;
mod connection;
mod credential;
mod deferred;
mod job;
mod log_event;
mod logout;
mod records;
mod resource_server;
mod role;
mod tenant;
mod ticket;
mod user;

pub use client::{
    AppType, BackchannelDelivery, Client, ComplianceLevel, ExpirationType, JwtConfiguration,
    RefreshTokenPolicy, RotationType, SignedRequestObject, SubjectKind,
};
pub use client_grant::{ClientGrant, SubjectType};
pub use connection::{
    AuthenticationMethod, AuthenticationMethods, ChallengeUi, Connection, ConnectionMfa, ConnectionOptions,
    PasskeyOptions, PasswordComplexity, PasswordHistory, PasswordMethod, PasswordPolicy, Switch,
    UsernameLengths, ValidationOptions,
};
pub use credential::{ClientAuthenticationMethods, Credential, CredentialId, CredentialList, CredentialType};
pub use deferred::{Deferred, DeferredKind, DeferredRequest, DeferredState};
pub use job::{ExportFormat, Job, JobKind, JobStatus, JobSummary};
pub use log_event::LogEvent;
pub use logout::{InitiatorMode, LogoutDelivery, LogoutInitiator, LogoutInitiators, OidcLogout};
pub use records::{
    AccessTokenRecord, AuthorizeRequest, Confirmation, Consent, Digest, Grant, KeyState, Prompt,
    PushedRequest, RefreshTokenRecord, ResponseMode, ResponseType, ScreenHint, Session, SigningKeyRecord,
    Transaction,
};
pub use resource_server::{
    AuthorizationDetailsType, PossessionMechanism, ProofOfPossession, ResourceServer, ResourceServerScope,
    SubjectPolicy, SubjectTypeAuthorization, TokenDialect, TokenEncryption, TokenEncryptionFormat,
    TokenEncryptionKey,
};
pub use role::{HeldPermission, Permission, Role};
pub use tenant::{
    LOCALES, SessionCookie, SessionCookieMode, SessionSettings, SoftwareStatements, StatementIssuer, Tenant,
    TenantFlags, TenantSettings,
};
pub use ticket::{Ticket, TicketKind, TicketTerms};
pub use user::{LinkedIdentity, User, fold};

use base::UnixMillis;
use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};

/// The moment as Auth0 writes it: `2026-01-31T23:59:59.000Z`.
pub fn iso8601(at: UnixMillis) -> String {
    const SHAPE: &[BorrowedFormatItem<'_>] =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.0) * 1_000_000)
        .ok()
        .and_then(|time| time.format(SHAPE).ok())
        .unwrap_or_default()
}
