use std::{borrow::Cow, sync::Arc, time::Duration};

use base::Secret;
use gateway::{error::ConfigError, is_same_header};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use jose::{Alg, VerifyingKey};
use oauth::AuthorizationRequest;
use rp::{
    provider::{Endpoints, Introspecting, Proxies, TokenAuth},
    session::{CookieSettings, Lifetimes, RedisSettings, SameSite},
};
use serde_json::Value;

use super::{
    additions::{Additions, CALLS_OWN_FIELDS, CALLS_OWN_HEADERS},
    assertion::AssertionConfig,
    caller::ConsumerConfig,
    claim_headers::{self, ClaimHeader},
    claims::{ClaimRef, ClaimRule, Document},
    client::{ClientAssertionConfig, PossessionConfig},
    issuers::IssuerConfig,
    login_config::{Contents, DecryptionKeys, LogoutConfig, ResponseMode, WayBack},
    proof::RequiredProof,
    source::TokenSource,
    token_headers::{self, TokenHeader, TokenPart},
};

/// Longer is a mistake: no client waits so long.
const LONGEST_CALL: Duration = Duration::from_secs(3600);
/// A client assertion that counts for longer is a secret that travels.
const LONGEST_ASSERTION: Duration = Duration::from_secs(3600);
/// What one route asks of OpenID Connect, in words of no dialect. Everything is there; defaults are the dialects' matter.
#[derive(Clone, Debug)]
pub struct Config {
    /// The client's id at the provider.
    pub client_id: String,
    /// The client's secret; a public client has none.
    pub client_secret: Option<Secret<String>>,
    /// URL of the provider's discovery document.
    pub discovery: String,
    /// Issuers that count instead of the one that discovery names; empty: that one.
    pub issuers: Vec<String>,
    /// How the provider is called.
    pub calls: Calls,
    /// The one algorithm that tokens may be signed with; `None`: any with a public key. HS256 and its like are for ID
    /// tokens, with the client's secret, and for access tokens verified with a symmetric key.
    pub alg: Option<Alg>,
    /// How far `iat` and `nbf` may lie ahead, and how long an ID token counts after its `exp`.
    pub slack: Duration,
    /// How long an access token counts after its `exp`.
    pub expiry_leeway: Duration,
    /// Scopes that every token or session must have.
    pub required_scopes: Vec<String>,
    /// Conditions over the claims of every token or session.
    pub claim_rules: Vec<ClaimRule>,
    /// The claim that tells callers apart who are no consumers.
    pub credential: Option<ClaimRef>,
    /// Headers that tell claims to the upstream.
    pub claim_headers: Vec<ClaimHeader>,
    /// A JWT of the gate's own that tells the upstream who is calling.
    pub assertion: Option<AssertionConfig>,
    /// Which consumer a caller is.
    pub consumer: Option<ConsumerConfig>,
    /// `realm` of `WWW-Authenticate`.
    pub realm: String,
    /// Access tokens that clients send; `None`: they are not looked at.
    pub bearer: Option<BearerConfig>,
    /// Logins of browsers; `None`: a request needs a token.
    pub login: Option<LoginConfig>,
    /// Whether the userinfo endpoint is asked for further claims of whom an access token is of, which decide its consumer
    /// and are told in headers.
    pub searches_userinfo: bool,
    /// JSON Schema that claims must match: the payload of a token, or `{user, access_token, id_token}` of a session.
    pub claim_schema: Option<Value>,
    /// What is told to the upstream.
    pub headers: Headers,
    /// What clients are told in place of the plugin's own words.
    pub words: Words,
}

/// What clients are told in place of the plugin's own words.
#[derive(Clone, Debug, Default)]
pub struct Words {
    /// To those who are not known: 401.
    pub unauthorized: Option<String>,
    /// To those who may not: 403.
    pub forbidden: Option<String>,
    /// Where the provider is down: 500 instead of 503.
    pub unexpected: Option<String>,
    /// Where those who are not known are sent in place of the 401.
    pub unauthorized_redirect: Option<String>,
    /// Where those who may not are sent in place of the 403.
    pub forbidden_redirect: Option<String>,
    /// Where everybody is sent in place of the 500.
    pub unexpected_redirect: Option<String>,
    /// Whether `WWW-Authenticate` leaves the error out.
    pub hides_errors: bool,
    /// Whether a message says, behind its own words, why.
    pub shows_reasons: bool,
    /// Whether a session ends with the first request that it may not make.
    pub ends_forbidden_sessions: bool,
    /// Whether a session goes on, refused, that the provider renews no more.
    pub keeps_refused_sessions: bool,
}

/// How the provider is called.
#[derive(Clone, Debug)]
pub struct Calls {
    /// How long one call may take.
    pub timeout: Duration,
    /// Whether its certificates are verified.
    pub verify_tls: bool,
    /// How long a key set is used at most before it is fetched again.
    pub jwks_ttl: Duration,
    /// How long its metadata are used; `None`: a day.
    pub metadata_ttl: Option<Duration>,
    /// Whether connections to it are kept for further calls.
    pub keep_alive: bool,
    /// The way to it through proxies; `None`: that of the process.
    pub proxies: Option<Arc<Proxies>>,
    /// Endpoints in place of those that discovery names.
    pub endpoints: Endpoints,
    /// Further headers of the request for the discovery document.
    pub discovery_headers: HeaderMap,
    /// Where further key sets are, whose keys count like the provider's own.
    pub extra_jwks: Vec<String>,
    /// Client authentication at the token and revocation endpoints.
    pub token_auth: TokenAuth,
    /// Client authentication at the introspection endpoint.
    pub introspection_auth: TokenAuth,
    /// How assertions of who the client is are made.
    pub assertion: ClientAssertionConfig,
    /// The key that tokens from logins are bound to; `None`: they are bearer tokens.
    pub possession: Option<PossessionConfig>,
    /// What is said beside what the calls need, and what callers are told of their answers.
    pub additions: Additions,
}

/// How access tokens are judged.
#[derive(Clone, Debug)]
pub struct BearerConfig {
    /// Where a token is looked for.
    pub source: TokenSource,
    /// By whom a token is verified.
    pub verification: Verification,
    /// What its audience must be.
    pub audience: AudienceRule,
    /// Providers whose tokens are taken beside those of the route's own.
    pub additional_issuers: Vec<IssuerConfig>,
    /// Whether a JWT must say in its header that it is an access token (RFC 9068 section 4).
    pub typed: bool,
    /// Whether a request without a token goes on, where there are no logins.
    pub optional: bool,
    /// Verify on every request, without a cache.
    pub uncached: bool,
    /// Whether the userinfo endpoint is asked about tokens that are no JWTs and that no introspection endpoint is asked
    /// about.
    pub userinfo: bool,
    /// Whether the upstream does not see a token where the client sent it, but where it is told.
    pub hides: bool,
    /// Separates the cached verdicts of routes that say so.
    pub cache_segment: Option<String>,
    /// Which proofs of possession it needs.
    pub proof: RequiredProof,
    /// How old one may be that a client makes (RFC 9449), beside what clocks may differ.
    pub proof_age: Duration,
    /// Where all nodes note the proofs they were shown; `None`: each process for itself.
    pub proof_record: Option<RedisSettings>,
}

/// By whom access tokens are verified.
#[derive(Clone, Debug)]
pub enum Verification {
    /// This key, PEM.
    PublicKey(String),
    /// This secret, with this one HMAC. Tokens signed with a public key are no matter for it.
    SymmetricKey {
        /// The secret.
        key: Secret<String>,
        /// HS256 or its like.
        alg: Alg,
    },
    /// The keys that the provider publishes.
    Jwks,
    /// An introspection endpoint.
    Introspection(Introspection),
    /// JWTs by the provider's keys, other tokens by its introspection endpoint.
    Discovered(Introspection),
    /// The userinfo endpoint alone.
    Userinfo,
}

/// How an introspection endpoint is asked.
#[derive(Clone, Debug)]
pub struct Introspection {
    /// What it is asked.
    pub how: Introspecting,
    /// Headers of the client's request that go along, and that the answer may depend on.
    pub headers: Vec<HeaderName>,
    /// Cookies of the client's request that go along, but for those that the gate sealed, and that the answer may depend
    /// on.
    pub cookies: Vec<String>,
    /// Whether it is remembered that a token is not active.
    pub remembers_refusals: bool,
    /// How long an answer counts at most.
    pub max_age: Duration,
    /// Member of the answer that says for how many seconds it counts; `None`: `exp` says until when.
    pub lifetime_claim: Option<String>,
}

/// What the audience of an access token must be.
#[derive(Clone, Debug)]
pub struct AudienceRule {
    /// The claim that names it.
    pub claim: String,
    /// Whether there must be one.
    pub required: bool,
    /// Whether it must be the client's id.
    pub is_client: bool,
    /// If not empty, it must be one of these.
    pub values: Vec<String>,
}

/// How browsers log in, and how long that lasts.
#[derive(Clone, Debug)]
pub struct LoginConfig {
    /// Where the provider sends the browser back to: an absolute URL or a path. `None`: the path of the page that was
    /// asked for, and `/.apisix/redirect` behind it.
    pub redirect_uri: Option<String>,
    /// `scope` of the authorization request.
    pub scope: String,
    /// Further parameters of the authorization request.
    pub authorization_params: Vec<(String, String)>,
    /// Whether the provider is told of an authorization request before the browser brings it.
    pub pushing: Pushing,
    /// What becomes of a request without a session.
    pub unauthenticated: Unauthenticated,
    /// Whether a session counts only right after its login, so that each visit goes through the provider.
    pub force_reauthorize: bool,
    /// Path that ends the session; empty: there is none.
    pub logout_path: String,
    /// Where the browser goes after that: an absolute URL or a path.
    pub post_logout_redirect_uri: Option<String>,
    /// Whether logout also revokes the session's tokens at the provider.
    pub revoke_on_logout: bool,
    /// Key material of this route's cookies; `None`: the deployment's own.
    pub secret: Option<Secret<String>>,
    /// How cookies are named and marked, and how many logins are remembered.
    pub cookies: CookieSettings,
    /// The way back from the provider.
    pub way_back: WayBack,
    /// What a session keeps.
    pub contents: Contents,
    /// How logouts go.
    pub logout: LogoutConfig,
    /// After so long since the provider last said so, it is asked again whether the user is still logged in there,
    /// without a page.
    pub refresh_session_interval: Option<Duration>,
    /// The Redis that sessions are kept in; `None`: in the cookies.
    pub storage: Option<RedisSettings>,
    /// Keys that ID tokens are encrypted for; `None`: they are not encrypted.
    pub decryption: Option<DecryptionKeys>,
    /// How long sessions live.
    pub lifetimes: Lifetimes,
    /// Whether an access token that is over is exchanged for a new one.
    pub renew: bool,
    /// Lifetime of an access token of which the provider does not say it.
    pub default_expires_in: Duration,
    /// How long before its end an access token counts as over.
    pub expires_leeway: Duration,
}

/// Pushed authorization requests (RFC 9126).
#[derive(Clone, Debug, Default)]
pub struct Pushing {
    /// Whether requests are pushed although the provider takes others.
    pub enabled: bool,
    /// Where to; `None`: the endpoint that discovery names.
    pub endpoint: Option<String>,
    /// Client authentication there; `None`: as at the token endpoint.
    pub auth: Option<TokenAuth>,
}

/// What becomes of a request without a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unauthenticated {
    /// A page load is sent to log in, anything else gets 401.
    #[default]
    Login,
    /// 401.
    Deny,
    /// It goes on without identity.
    Pass,
}

/// What the upstream is told about a request that is authenticated.
#[derive(Clone, Debug)]
pub struct Headers {
    /// The access token.
    pub access_token: AccessTokenHeader,
    /// `X-ID-Token`: the ID token's claims, base64 of JSON. Sessions only.
    pub id_token: bool,
    /// `X-Raw-ID-Token`: the ID token as it was signed. Sessions only.
    pub raw_id_token: bool,
    /// `X-Userinfo`: who it is, base64 of JSON.
    pub userinfo: bool,
    /// `X-Refresh-Token`. Sessions only.
    pub refresh_token: bool,
    /// Tokens, and what endpoints said of them, in headers of these names.
    pub named: Vec<TokenHeader>,
    /// Headers that tell claims to the client.
    pub back: Vec<ClaimHeader>,
}

impl Headers {
    /// Whether anybody is told this.
    pub(super) fn tells(&self, part: TokenPart) -> bool {
        self.named.iter().any(|header| header.part == part)
    }
}

/// Where the upstream finds the access token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessTokenHeader {
    /// Nowhere.
    None,
    /// `X-Access-Token`.
    XAccessToken,
    /// `Authorization: Bearer`.
    Authorization,
}

impl Config {
    /// Refuses what could not work or would not be safe. Errors name fields as the APISIX dialect does.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if HeaderValue::from_str(&self.realm).is_err() || self.realm.contains(['"', '\\']) {
            return Err(ConfigError::new("realm", "it must be visible ASCII without quotes and backslashes"));
        }
        if !(Duration::from_millis(1)..=LONGEST_CALL).contains(&self.calls.timeout) {
            return Err(ConfigError::new("timeout", "a call to the provider may take an hour at most"));
        }
        let local = self.bearer.as_ref().is_some_and(|bearer| {
            let BearerConfig { verification, additional_issuers, .. } = bearer;
            let public = !matches!(
                verification,
                Verification::Introspection(_) | Verification::SymmetricKey { .. } | Verification::Userinfo
            );
            public || !additional_issuers.is_empty()
        });
        if local && self.alg.is_some_and(Alg::is_symmetric) {
            let reason =
                "access tokens are verified with public keys here, so a symmetric algorithm never fits";
            return Err(ConfigError::new("token_signing_alg_values_expected", reason));
        }
        if let Some(alg) = self.alg.filter(|alg| alg.is_symmetric() && self.login.is_some()) {
            let secret =
                self.client_secret.as_ref().map(|secret| secret.expose().as_bytes()).unwrap_or_default();
            VerifyingKey::from_hmac_secret(secret, alg).map_err(|error| {
                ConfigError::new("client_secret", format!("it cannot verify {alg} ID tokens: {error}"))
            })?;
        }
        if let Some(introspection) = self.bearer.as_ref().and_then(BearerConfig::introspection) {
            introspection.check()?;
            let passed = &self.calls.additions.passed;
            for (field, names) in [
                ("passed.introspection_query", &passed.introspection_query),
                ("passed.introspection_fields", &passed.introspection_fields),
            ] {
                if names.contains(&introspection.how.token_param) {
                    return Err(ConfigError::new(field, "callers cannot set the field with the token"));
                }
            }
        }
        self.calls.additions.check()?;
        if !(Duration::from_secs(1)..=LONGEST_ASSERTION).contains(&self.calls.assertion.lifetime) {
            let reason = "an assertion counts for a second at least and an hour at most";
            return Err(ConfigError::new("client_jwt_assertion_expires_in", reason));
        }
        claim_headers::check("claim_headers", &self.claim_headers)?;
        claim_headers::check("claim_headers", &self.headers.back)?;
        token_headers::check(&self.headers.named)?;
        if let Some(assertion) = &self.assertion {
            assertion.check()?;
            let name = assertion.header.as_str();
            if let Some(same) =
                self.claim_headers.iter().find(|header| is_same_header(header.name.as_str(), name))
            {
                let reason = "identity_assertion has this header already";
                return Err(ConfigError::new(format!("claim_headers.{}", same.name), reason));
            }
        }
        if self.consumer.as_ref().is_some_and(|consumer| consumer.anonymous.is_some() && !consumer.required) {
            let reason =
                "with required false a caller without a consumer goes on as nobody; leave one of the two out";
            return Err(ConfigError::new("consumer.anonymous", reason));
        }
        if let Some(TokenSource::Header(name)) = self.bearer.as_ref().map(|bearer| &bearer.source) {
            claim_headers::check_name("auth_accept_token_as_header_name", name)?;
        }
        self.login.as_ref().map_or(Ok(()), LoginConfig::check)
    }

    /// The claims that are looked into beside those that every token is judged by.
    fn claims(&self) -> impl Iterator<Item = &ClaimRef> {
        let tests = self.claim_rules.iter().flat_map(|rule| match rule {
            ClaimRule::Test(test) => std::slice::from_ref(test),
            ClaimRule::AnyOf(tests) => tests,
            ClaimRule::Absent(_) => &[],
        });
        let absent = self.claim_rules.iter().filter_map(|rule| match rule {
            ClaimRule::Absent(claim) => Some(claim),
            _ => None,
        });
        let asserted =
            self.assertion.iter().flat_map(|assertion| assertion.claims.iter().map(|(_, claim)| claim));
        let headers = self.claim_headers.iter().chain(&self.headers.back).map(|header| &header.claim);
        let consumer = self.consumer.iter().flat_map(|consumer| &consumer.claims);
        tests.map(|test| &test.claim).chain(absent).chain(headers).chain(asserted).chain(consumer)
    }

    /// Whether a session's claims are looked into.
    pub(super) fn looks_into_claims(&self) -> bool {
        self.credential.is_some() || self.claims().next().is_some()
    }

    /// Whether what the userinfo endpoint says may decide anything.
    pub(super) fn looks_into_userinfo(&self) -> bool {
        self.headers.tells(TokenPart::Userinfo)
            || self.claims().any(|claim| matches!(claim.document, Document::Any | Document::Userinfo))
    }
}

impl BearerConfig {
    pub(super) fn introspection(&self) -> Option<&Introspection> {
        match &self.verification {
            Verification::Introspection(introspection) | Verification::Discovered(introspection) => {
                Some(introspection)
            }
            _ => None,
        }
    }
}

impl Introspection {
    /// The question with further fields, which count before the route's own.
    pub(super) fn asking(&self, fields: &[(String, String)]) -> Cow<'_, Introspecting> {
        if fields.is_empty() {
            return Cow::Borrowed(&self.how);
        }
        let mut params = self.how.params.clone();
        params.retain(|(name, _)| !fields.iter().any(|(other, _)| other == name));
        params.extend(fields.iter().cloned());
        Cow::Owned(Introspecting { params, ..self.how.clone() })
    }

    fn check(&self) -> Result<(), ConfigError> {
        if let Some(endpoint) = &self.how.endpoint {
            absolute("introspection_endpoint", endpoint)?;
        }
        if let Some(name) = self.headers.iter().find(|name| CALLS_OWN_HEADERS.contains(name)) {
            let reason = format!("{name} of the call is the gate's own and cannot be the client's");
            return Err(ConfigError::new("introspection_addon_headers", reason));
        }
        let own = |name: &str| name == self.how.token_param || CALLS_OWN_FIELDS.contains(&name);
        if let Some((name, _)) = self.how.params.iter().find(|(name, _)| own(name)) {
            let reason = "the gate sets this field itself";
            return Err(ConfigError::new(format!("introspection_params.{name}"), reason));
        }
        if CALLS_OWN_FIELDS.contains(&self.how.token_param.as_str()) {
            let reason = "this field says who asks, so it cannot hold the token";
            return Err(ConfigError::new("introspection_token_param_name", reason));
        }
        Ok(())
    }
}

impl LoginConfig {
    /// How old an authentication may be, where the authorization request says so (OIDC Core 3.1.2.1). A later parameter
    /// of the same name replaces an earlier one.
    pub(super) fn max_age(&self) -> Option<Duration> {
        let (_, value) = self.authorization_params.iter().rev().find(|(name, _)| name == "max_age")?;
        value.parse().ok().map(Duration::from_secs)
    }

    fn check(&self) -> Result<(), ConfigError> {
        if let Some(redirect_uri) = &self.redirect_uri {
            absolute_or_path("redirect_uri", redirect_uri)?;
        }
        if let Some(target) = &self.post_logout_redirect_uri {
            absolute_or_path("post_logout_redirect_uri", target)?;
        }
        if !self.logout_path.is_empty() {
            absolute_or_path("logout_path", &self.logout_path)?;
        }
        if let Some(endpoint) = &self.pushing.endpoint {
            absolute("par.endpoint", endpoint)?;
        }
        for (name, value) in &self.authorization_params {
            let reason = match name.as_str() {
                "response_mode" => {
                    let mode =
                        if self.way_back.mode == ResponseMode::FormPost { "form_post" } else { "query" };
                    if value == mode {
                        continue;
                    }
                    "the attribute response_mode says how the answer comes, and this is another way"
                }
                "max_age" if value.parse::<u32>().is_ok() => continue,
                "max_age" => "it must be a number of seconds",
                "request" | "request_uri" => "request objects are not implemented in this build",
                "dpop_jkt" => "the gate sets this parameter itself",
                name if AuthorizationRequest::is_protected(name) => "the gate sets this parameter itself",
                _ => continue,
            };
            return Err(ConfigError::new(format!("authorization_params.{name}"), reason));
        }
        self.check_details()?;
        check_cookies(&self.cookies)
    }
}

fn check_cookies(cookies: &CookieSettings) -> Result<(), ConfigError> {
    let refuse = |field: &str, reason: &str| Err(ConfigError::new(format!("session.{field}"), reason));
    // RFC 6265 section 4.1.1: a name is a token, an attribute's value has neither controls nor semicolons.
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let plain = |text: &str| text.bytes().all(|byte| (0x21..0x7f).contains(&byte) && byte != b';');
    if cookies
        .name
        .as_deref()
        .is_some_and(|name| name.is_empty() || name.len() > 64 || !name.bytes().all(token))
    {
        return refuse("cookie_name", "it must be 1 to 64 letters that a cookie name may have");
    }
    if cookies.path.as_deref().is_some_and(|path| !path.starts_with('/') || path.len() > 256 || !plain(path))
    {
        return refuse("cookie_path", "it must be a path that begins with `/`");
    }
    if cookies
        .domain
        .as_deref()
        .is_some_and(|domain| domain.is_empty() || domain.len() > 253 || !plain(domain))
    {
        return refuse("cookie_domain", "it must be a domain name");
    }
    if cookies.same_site == SameSite::None && cookies.secure == Some(false) {
        return refuse("cookie_same_site", "browsers take `None` only together with `cookie_secure`");
    }
    let host_only = cookies.path.as_deref().is_none_or(|path| path == "/") && cookies.domain.is_none();
    if cookies.name.as_deref().is_some_and(|name| name.starts_with("__Host-")) && !host_only {
        return refuse(
            "cookie_name",
            "browsers take a name with `__Host-` only for the path `/` and without a domain",
        );
    }
    Ok(())
}

/// An absolute http or https URL without user, or a path of this host.
pub(super) fn absolute_or_path(field: &str, text: &str) -> Result<(), ConfigError> {
    if is_path(text) { Ok(()) } else { absolute(field, text) }
}

/// A path of this host, without a query.
pub(super) fn path_only(field: &str, text: &str) -> Result<(), ConfigError> {
    let plain = is_path(text) && !text.contains(['?', '#']);
    plain.then_some(()).ok_or_else(|| ConfigError::new(field, "it must be a path that begins with `/`"))
}

fn is_path(text: &str) -> bool {
    // `//host` and `/\host` are other hosts to a browser.
    let path = text.strip_prefix('/').is_some_and(|rest| !rest.starts_with(['/', '\\']));
    path && text.bytes().all(|byte| byte > b' ') && Uri::try_from(text).is_ok()
}

pub(super) fn absolute(field: &str, text: &str) -> Result<(), ConfigError> {
    let uri = Uri::try_from(text).ok().filter(|uri| matches!(uri.scheme_str(), Some("http" | "https")));
    match uri.as_ref().and_then(Uri::authority) {
        Some(authority) if !authority.as_str().contains('@') => Ok(()),
        _ => Err(ConfigError::new(
            field,
            "it must be an absolute http or https URL, or a path where paths are allowed",
        )),
    }
}
