use base::Secret;
use oauth::Scopes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Deferred;
use crate::authorization::ClaimsRequest;

/// The keyed hash under which a bearer-like value is stored: who reads the database can use none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Digest(pub [u8; 32]);

/// An authorization request that was found good.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AuthorizeRequest {
    /// The issuer that was asked, with its slash.
    pub issuer: String,
    /// Who asks.
    pub client_id: String,
    /// Where the answer goes.
    pub redirect_uri: String,
    /// Whether the request named it: then the token request must too (RFC 6749 section 4.1.3).
    pub redirect_uri_given: bool,
    /// What the answer is to hold. Transactions of older versions are about codes.
    #[serde(default)]
    pub response_type: ResponseType,
    /// How the answer goes there.
    pub response_mode: ResponseMode,
    /// Whether it goes as one signed JWT (JARM).
    #[serde(default)]
    pub response_jwt: bool,
    /// What was asked for and can be granted, before consent.
    pub scope: Scopes,
    /// The API's identifier, if any.
    pub audience: Option<String>,
    /// Identifiers of further APIs (RFC 8707).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// What exactly the user is to allow (RFC 9396).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authorization_details: Vec<Value>,
    /// Single claims asked for.
    #[serde(default, skip_serializing_if = "ClaimsRequest::is_empty")]
    pub claims: ClaimsRequest,
    /// Whether the ID token is to say how well the user is known.
    #[serde(default)]
    pub acr_requested: bool,
    /// Returned as it came.
    pub state: Option<String>,
    /// For the ID token.
    pub nonce: Option<String>,
    /// S256 (RFC 7636).
    pub code_challenge: Option<String>,
    /// Thumbprint of the key that the code is bound to (RFC 9449 section 10).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dpop_jkt: Option<String>,
    /// What the user must or must not be asked.
    pub prompt: Vec<Prompt>,
    /// Seconds the last login may lie back at most.
    pub max_age: Option<i64>,
    /// Prefills the login page.
    pub login_hint: Option<String>,
    /// Preferred languages of pages.
    pub ui_locales: Option<String>,
    /// The page that opens first, where it is not the login page.
    pub screen_hint: Option<ScreenHint>,
    /// The connection to log in with, by name.
    pub connection: Option<String>,
    /// The user that must come out, from `id_token_hint`.
    pub expected_user: Option<String>,
    /// The pushed request that this is, to be used up by its answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pushed: Option<Digest>,
    /// The deferred request that it decides: nothing goes to a redirect URI then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deferred: Option<Deferred>,
}

/// An authorization request that its client left at `/oauth/par` (RFC 9126). Found by the digest of its `request_uri`.
#[derive(Clone, Debug, PartialEq)]
pub struct PushedRequest {
    /// Of the `request_uri`.
    pub handle: Digest,
    /// Who pushed it, and alone may use it.
    pub client_id: String,
    /// Its parameters as a form, without the client's credentials.
    pub params: String,
    /// Whether they come from a signed request object.
    pub signed: bool,
    /// Milliseconds since the epoch.
    pub expires_at: i64,
}

/// What an authorization response is to hold: one of the three at least (OAuth 2.0 Multiple Response Types 1.0).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResponseType {
    /// A code for the token endpoint.
    pub code: bool,
    /// An ID token.
    pub id_token: bool,
    /// An access token.
    pub token: bool,
}

impl Default for ResponseType {
    fn default() -> Self {
        Self::CODE
    }
}

impl AuthorizeRequest {
    /// Identifiers of all APIs that it is for.
    pub fn audiences(&self) -> impl Iterator<Item = &str> {
        self.audience.iter().chain(&self.resources).map(String::as_str)
    }
}

impl ResponseType {
    /// The code flow.
    pub const CODE: Self = Self { code: true, id_token: false, token: false };

    /// Every combination that OpenID Connect Core and RFC 6749 define, and its registered name.
    pub const ALL: [(&'static str, Self); 7] = [
        ("code", Self::CODE),
        ("code id_token", Self { code: true, id_token: true, token: false }),
        ("id_token", Self { code: false, id_token: true, token: false }),
        ("token", Self { code: false, id_token: false, token: true }),
        ("id_token token", Self { code: false, id_token: true, token: true }),
        ("code token", Self { code: true, id_token: false, token: true }),
        ("code id_token token", Self { code: true, id_token: true, token: true }),
    ];

    /// Reads `response_type`; the order of its words says nothing, and none comes twice.
    pub fn parse(text: &str) -> Option<Self> {
        let mut found = Self { code: false, id_token: false, token: false };
        for word in text.split(' ') {
            let place = match word {
                "code" => &mut found.code,
                "id_token" => &mut found.id_token,
                "token" => &mut found.token,
                _ => return None,
            };
            if std::mem::replace(place, true) {
                return None;
            }
        }
        Some(found)
    }

    /// Whether tokens travel through the browser: then never in a query.
    pub const fn is_front_channel(self) -> bool {
        self.id_token || self.token
    }

    /// Whether it is one of those that RFC 9700 section 2.1.2 advises against: an access token goes through the browser,
    /// or nothing is ever redeemed at the token endpoint.
    pub const fn is_implicit(self) -> bool {
        self.token || !self.code
    }
}

/// How an authorization response travels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResponseMode {
    /// In the query of a redirect.
    #[default]
    Query,
    /// In the fragment of a redirect.
    Fragment,
    /// In a form that the browser posts.
    FormPost,
    /// In a message to the opening page.
    WebMessage,
}

/// A value of `prompt` (OpenID Connect Core 3.1.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prompt {
    /// No page at all.
    None,
    /// The login page, also with a session.
    Login,
    /// The consent page, also with a consent.
    Consent,
    /// A choice of account: here the login page.
    SelectAccount,
    /// The sign-up page, also with a session (Initiating User Registration via OpenID Connect 1.0).
    Create,
}

/// A page to open before the login page, which takes its place where it cannot be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ScreenHint {
    /// The sign-up page.
    #[serde(rename = "signup")]
    SignUp,
    /// The page of who has forgotten a password.
    #[serde(rename = "reset-password")]
    ResetPassword,
}

/// An authorization request while its user logs in. Found by the digest of its handle, bound to one browser.
#[derive(Clone, Debug, PartialEq)]
pub struct Transaction {
    /// Of the handle that travels through the pages.
    pub handle: Digest,
    /// Of the browser's cookie.
    pub browser: Digest,
    /// What was asked.
    pub request: AuthorizeRequest,
    /// The session in which the login of this transaction happened.
    pub sid: Option<String>,
    /// Milliseconds since the epoch.
    pub expires_at: i64,
}

/// A browser's login. The cookie holds a secret; only its digest is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    /// The public name, in ID tokens.
    pub sid: String,
    /// Of the cookie's secret.
    pub cookie: Digest,
    /// Who.
    pub user_id: String,
    /// The address of the browser, where it is known.
    pub ip: Option<String>,
    /// What the browser calls itself.
    pub user_agent: Option<String>,
    /// When the user last proved it, milliseconds since the epoch.
    pub authenticated_at: i64,
    /// Milliseconds since the epoch.
    pub created_at: i64,
    /// Ends whatever happens, milliseconds since the epoch.
    pub expires_at: i64,
    /// Ends without use, milliseconds since the epoch.
    pub idle_expires_at: i64,
}

/// What a user let a client do with one API, or without one.
#[derive(Clone, Debug, PartialEq)]
pub struct Consent {
    /// 24 hexadecimal digits.
    pub id: String,
    /// Who allowed it.
    pub user_id: String,
    /// To whom.
    pub client_id: String,
    /// The API; empty where none.
    pub audience: String,
    /// What.
    pub scope: Scopes,
}

/// What a user's login gave a client: what codes and refresh tokens stand for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Grant {
    /// One id for a code and everything made from it; a reused code or refresh token ends them all.
    pub family: String,
    /// To whom.
    pub client_id: String,
    /// By whom.
    pub user_id: String,
    /// The session it happened in; empty where there was none.
    pub sid: String,
    /// The issuer that was asked, with its slash.
    pub issuer: String,
    /// What was granted.
    pub scope: Scopes,
    /// For which API, if any.
    pub audience: Option<String>,
    /// For which further APIs (RFC 8707).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// What exactly was allowed (RFC 9396).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authorization_details: Vec<Value>,
    /// Single claims asked for.
    #[serde(default, skip_serializing_if = "ClaimsRequest::is_empty")]
    pub claims: ClaimsRequest,
    /// Whether ID tokens say how well the user is known.
    #[serde(default)]
    pub acr_requested: bool,
    /// When the user authenticated, seconds since the epoch.
    pub auth_time: i64,
    /// Whether ID tokens say so.
    pub auth_time_requested: bool,
    /// For the first ID token.
    pub nonce: Option<String>,
    /// Codes only.
    pub redirect_uri: String,
    /// Codes only: whether the token request must repeat the redirect URI.
    pub redirect_uri_given: bool,
    /// Codes only.
    pub code_challenge: Option<String>,
    /// The key that whoever uses this must prove to have: of a code what `dpop_jkt` named, of a refresh token what a
    /// public client proved first, of an opaque access token what it is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmation: Option<Confirmation>,
}

/// A key that somebody proved to have, as `cnf` of a token names it (RFC 7800, RFC 8705 section 3.1, RFC 9449 section
/// 6.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Confirmation {
    /// Thumbprint of the key of a DPoP proof.
    #[serde(rename = "jkt")]
    Key(String),
    /// Thumbprint of a client certificate.
    #[serde(rename = "x5t#S256")]
    Certificate(String),
}

impl Confirmation {
    /// `token_type` of an access token that is bound so.
    pub const fn token_type(&self) -> &'static str {
        match self {
            Self::Key(_) => "DPoP",
            Self::Certificate(_) => "Bearer",
        }
    }
}

/// A refresh token.
#[derive(Clone, Debug, PartialEq)]
pub struct RefreshTokenRecord {
    /// A name for administrators; no secret.
    pub id: String,
    /// Of the token.
    pub token: Digest,
    /// What it stands for.
    pub grant: Grant,
    /// Milliseconds since the epoch.
    pub created_at: i64,
    /// The end of the whole family, milliseconds since the epoch; `i64::MAX` for never.
    pub expires_at: i64,
    /// Ends without use, milliseconds since the epoch; `i64::MAX` for never.
    pub idle_expires_at: i64,
    /// When another took its place, milliseconds since the epoch.
    pub rotated_at: Option<i64>,
    /// The token it replaced, by [`RefreshTokenRecord::id`].
    pub parent: Option<String>,
    /// When it was revoked, milliseconds since the epoch.
    pub revoked_at: Option<i64>,
}

/// An opaque access token: for `/userinfo` only.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessTokenRecord {
    /// Of the token.
    pub token: Digest,
    /// What it stands for.
    pub grant: Grant,
    /// Milliseconds since the epoch.
    pub created_at: i64,
    /// Milliseconds since the epoch.
    pub expires_at: i64,
    /// When it was revoked, milliseconds since the epoch.
    pub revoked_at: Option<i64>,
}

/// A key of a tenant: one that signs, or one that clients encrypt for.
#[derive(Clone, Debug)]
pub struct SigningKeyRecord {
    /// The key's id.
    pub kid: String,
    /// The one algorithm it signs with; `RSA-OAEP-256` or `ECDH-ES` for a key of that kind to encrypt for.
    pub alg: String,
    /// Where it stands in its life.
    pub state: KeyState,
    /// As in the JWKS.
    pub public_jwk: Value,
    /// PKCS #8.
    pub pkcs8: Secret<Vec<u8>>,
    /// Milliseconds since the epoch.
    pub created_at: i64,
}

/// The life of a signing key. All but `Revoked` ones are in the JWKS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// Published, so that clients know it before it signs.
    Next,
    /// Signs.
    Current,
    /// Signed once; published until its last token has expired.
    Previous,
    /// Gone.
    Revoked,
}
