use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A tenant: users, clients, APIs and keys that belong together, reachable at one or more origins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tenant {
    /// The tenant's id: part of the key of every identity row.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Where it answers: scheme, host and port without a slash at the end (`https://login.example.com`). The first one
    /// stands in where a request names none of them and may be answered all the same.
    pub origins: Vec<String>,
    /// What administrators may change.
    pub settings: TenantSettings,
}

/// The languages that pages can be in.
pub const LOCALES: [&str; 4] = ["en", "de", "fr", "es"];

/// The settings of `/api/v2/tenants/settings` that this build honours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TenantSettings {
    /// Who mails are from.
    pub friendly_name: Option<String>,
    /// Shown on the login page of applications that have no picture of their own.
    pub picture_url: Option<String>,
    /// Shown on error pages.
    pub support_email: Option<String>,
    /// Shown on error pages.
    pub support_url: Option<String>,
    /// The audience of requests that name none.
    pub default_audience: Option<String>,
    /// The database connection of requests that name none.
    pub default_directory: Option<String>,
    /// Where `/v2/logout` without a client may return to.
    pub allowed_logout_urls: Vec<String>,
    /// Languages of pages, of [`LOCALES`], the preferred one first.
    pub enabled_locales: Vec<String>,
    /// Hours after which a browser session ends whatever happens.
    pub session_lifetime: f64,
    /// Hours without use after which a browser session ends.
    pub idle_session_lifetime: f64,
    /// The same for sessions whose cookie goes with the browser.
    pub ephemeral_session_lifetime: f64,
    /// The same for sessions whose cookie goes with the browser.
    pub idle_ephemeral_session_lifetime: f64,
    /// Whether the session cookie outlives the browser.
    pub session_cookie: SessionCookie,
    /// Whether `/oidc/logout` may be followed by a confirmation page.
    pub sessions: SessionSettings,
    /// Whether there is `/oauth/par`.
    pub pushed_authorization_requests_supported: bool,
    /// Whose word counts of the software that registers itself.
    #[serde(skip_serializing_if = "SoftwareStatements::is_default")]
    pub software_statements: SoftwareStatements,
    /// Switches.
    pub flags: TenantFlags,
}

/// `software_statements` of the tenant settings (RFC 7591 section 2.3). Auth0 has none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SoftwareStatements {
    /// Who is trusted.
    pub issuers: Vec<StatementIssuer>,
    /// Whether nothing is registered without a statement.
    pub required: bool,
}

/// One who is trusted to say what software is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatementIssuer {
    /// `iss` of its statements.
    pub issuer: String,
    /// The keys that sign them,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<Value>,
    /// or where they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_uri: Option<String>,
}

impl SoftwareStatements {
    fn is_default(&self) -> bool {
        self.issuers.is_empty() && !self.required
    }
}

/// `session_cookie` of the tenant settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SessionCookie {
    /// How long the browser keeps it.
    pub mode: SessionCookieMode,
}

/// How long a browser keeps the session cookie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SessionCookieMode {
    /// As long as the session may live.
    #[default]
    Persistent,
    /// Until it is closed.
    NonPersistent,
}

/// `sessions` of the tenant settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SessionSettings {
    /// Ask for confirmation at `/oidc/logout` where nothing proves who asks.
    pub oidc_logout_prompt_enabled: bool,
}

/// `flags` of the tenant settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TenantFlags {
    /// Auth0's claim types where they break OpenID Connect Core (`updated_at` as a string).
    pub auth0_claims: bool,
    /// Auth0's status codes where they differ from the RFCs' (403 for `invalid_grant` …).
    pub auth0_status_codes: bool,
    /// Whether strangers may register clients at `/oidc/register`.
    pub enable_dynamic_client_registration: bool,
    /// Access tokens in authorization responses, and authorization responses without a code (RFC 6749 section 4.2, RFC
    /// 9700 section 2.1.2), for clients with the grant type `implicit`.
    pub enable_implicit_flow: bool,
    /// Sign-up says that the user exists instead of `invalid_signup`.
    pub enable_public_signup_user_exists_error: bool,
    /// First-party clients on `localhost` ask for consent as Auth0's do.
    pub consent_on_localhost: bool,
    /// Request objects with `alg` `none` (OpenID Connect Core 6.1), for clients that are not held to signed ones.
    pub enable_unsigned_request_objects: bool,
    /// ID tokens with `alg` `none` (OpenID Connect Core 3.1.3.7), for clients that have no other way to get one than
    /// the token endpoint.
    pub enable_unsigned_id_tokens: bool,
    /// PKCE with the method `plain` (RFC 7636 section 4.2), but for FAPI clients.
    pub enable_plain_code_challenges: bool,
    /// Every client's authorization requests must come by `/oauth/par`.
    pub require_pushed_authorization_requests: bool,
    /// Where there is an access token, `/userinfo` alone tells the claims of the scopes (OpenID Connect Core 5.4).
    /// Auth0's SDKs read them from the ID token, so they are there too without this.
    pub scope_claims_in_userinfo_alone: bool,
}

impl Default for TenantSettings {
    fn default() -> Self {
        Self {
            friendly_name: None,
            picture_url: None,
            support_email: None,
            support_url: None,
            default_audience: None,
            default_directory: None,
            allowed_logout_urls: Vec::new(),
            enabled_locales: vec!["en".to_owned()],
            session_lifetime: 168.0,
            idle_session_lifetime: 72.0,
            ephemeral_session_lifetime: 72.0,
            idle_ephemeral_session_lifetime: 24.0,
            session_cookie: SessionCookie::default(),
            sessions: SessionSettings::default(),
            pushed_authorization_requests_supported: true,
            software_statements: SoftwareStatements::default(),
            flags: TenantFlags::default(),
        }
    }
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self { oidc_logout_prompt_enabled: true }
    }
}

impl TenantSettings {
    /// How long browsers keep their cookies of a session; `None` until they are closed.
    pub fn cookie_lifetime(&self) -> Option<Duration> {
        match self.session_cookie.mode {
            SessionCookieMode::Persistent => Some(self.absolute_lifetime()),
            SessionCookieMode::NonPersistent => None,
        }
    }

    /// After how long a session ends whatever happens.
    pub fn absolute_lifetime(&self) -> Duration {
        hours(match self.session_cookie.mode {
            SessionCookieMode::Persistent => self.session_lifetime,
            SessionCookieMode::NonPersistent => self.ephemeral_session_lifetime,
        })
    }

    /// After how long without use a session ends.
    pub fn idle_lifetime(&self) -> Duration {
        hours(match self.session_cookie.mode {
            SessionCookieMode::Persistent => self.idle_session_lifetime,
            SessionCookieMode::NonPersistent => self.idle_ephemeral_session_lifetime,
        })
    }
}

/// Between one minute and a year, whatever was stored.
fn hours(hours: f64) -> Duration {
    let seconds = if hours.is_finite() { (hours * 3600.0).clamp(60.0, 31_536_000.0) } else { 60.0 };
    Duration::from_secs_f64(seconds)
}
