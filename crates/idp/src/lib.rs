//! The identity provider's domain: tenants, clients, APIs, users, keys, logins and tokens, in Auth0's shapes.
//!
//! What it is: decisions. Services judge requests whose parameters somebody else read, and answer with values that
//! somebody else renders. What it is not: there is no HTTP, no SQL and no page here. `idp-web` calls it; `idp-store`
//! implements its [`repository`] traits; the binary puts them together.
//!
//! A request first finds its [`Site`] (tenant and issuer) by its host with [`Idp::site`], then calls one service of
//! [`Idp`]. Everything that expires does so by `base::Clock`, everything random comes from `base::Random`.

mod attempts;
mod authorization;
mod backchannel;
mod bearer;
mod certificate;
mod client_authentication;
mod client_keys;
mod consent;
mod deferred;
mod digest;
pub mod directory;
mod discovery;
mod error;
mod front_channel;
mod idp;
mod introspection;
mod issue;
mod key_certificate;
mod keys;
mod login;
mod logout;
mod logs;
mod mail;
pub mod management;
pub mod model;
mod outbound;
mod password;
mod password_history;
mod picture;
mod policy;
mod possession;
mod presented;
mod refresh;
mod registration;
pub mod repository;
mod revocation;
mod sealing;
pub mod seed;
mod session;
mod sign_up;
mod site;
mod software_statement;
mod standard_claims;
mod subjects;
mod tickets;
mod token_endpoint;
mod urls;
mod userinfo;

pub use authorization::{
    Authorization, AuthorizationResponse, AuthorizeOutcome, Browser, ClaimsRequest, Interaction, Pushed,
    PushedRequests,
};
pub use bearer::{AccessClaims, Bearer};
pub use certificate::ClientCertificate;
pub use client_authentication::ClientAuthentication;
pub use consent::{ConsentPage, ConsentPages};
pub use deferred::{Backchannel, BackchannelAnswer, DeviceAuthorization, DeviceFlow};
pub use discovery::Discovery;
pub use error::{EndpointError, IdpError, RepositoryError};
pub use front_channel::CHECK_SESSION_PATH;
pub use idp::{Idp, Parts};
pub use introspection::Introspection;
pub use keys::Keys;
pub use login::{Login, LoginOutcome, LoginPage, NewSession, SignUpError, SignUpOutcome};
pub use logout::{Logout, LogoutOutcome};
pub use mail::{Mail, Mailer};
pub use outbound::{Call, Exchange, Outbound, OutboundError, Reply};
pub use password::{Argon2Pool, Cost, Hashing, PasswordHasher};
pub use presented::{Presented, PresentedToken};
pub use registration::Registration;
pub use revocation::{Revocation, RevocationListener};
pub use sign_up::DirectSignUp;
pub use site::Site;
pub use tickets::{TicketOutcome, Tickets};
pub use token_endpoint::{IssuedTokens, TokenEndpoint};
pub use userinfo::{Userinfo, UserinfoAnswer};
