use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use gateway::error::ConfigError;
use http::{HeaderName, HeaderValue, header};
use rp::provider::{Provider, TokenAuth};

/// What one route asks of machine callers, in words of no dialect. Everything is there; defaults are the dialects'
/// matter.
#[derive(Clone, Debug)]
pub struct Config {
    /// URL of the provider's discovery document.
    pub discovery: String,
    /// Issuers of tokens that count instead of the one that discovery names; empty: that one.
    pub issuers: Vec<String>,
    /// How the provider is called.
    pub calls: Calls,
    /// Where the caller's id and secret are looked for.
    pub sources: Sources,
    /// `scope` of the token request.
    pub scope: Option<String>,
    /// Further parameters of the token request, such as `audience`.
    pub args: Vec<(String, String)>,
    /// What is checked of a token that is a JWT; others are taken on the provider's word.
    pub verification: Verification,
    /// How tokens are kept; `None`: each request obtains its own.
    pub cache: Option<CacheRules>,
    /// Whether the upstream does not see the credentials where they were found.
    pub hide_credentials: bool,
    /// Where the upstream finds the token; `None`: nowhere.
    pub upstream_header: Option<TokenHeader>,
    /// Whether `OPTIONS` needs credentials too.
    pub preflight: bool,
    /// How the gate words its own answers.
    pub answers: Answers,
}

/// How the provider is called.
#[derive(Clone, Copy, Debug)]
pub struct Calls {
    /// How long one call may take.
    pub timeout: Duration,
    /// Whether its certificates are verified.
    pub verify_tls: bool,
    /// How long a key set is used at most before it is fetched again.
    pub jwks_ttl: Duration,
    /// How the caller's id and secret are presented to the token endpoint.
    pub token_auth: TokenAuth,
}

/// Where the caller's id and secret are looked for, in this order.
#[derive(Clone, Copy, Debug)]
pub struct Sources {
    /// `Authorization: Basic`.
    pub header: bool,
    /// The arguments `client_id` and `client_secret` of the query.
    pub query: bool,
}

/// What is checked of a token that is a JWT.
#[derive(Clone, Copy, Debug)]
pub struct Verification {
    /// Its signature, by the provider's keys.
    pub signature: bool,
    /// Its issuer, times, and that it is an access token.
    pub claims: bool,
    /// How far its times may be off.
    pub leeway: Duration,
}

/// How tokens are kept.
#[derive(Clone, Debug)]
pub struct CacheRules {
    /// Instances with the same salt, and otherwise the same token request, share tokens.
    pub salt: String,
    /// For tokens that do not say how long they live.
    pub unknown: Duration,
    /// No token is kept longer.
    pub longest: Option<Duration>,
}

/// The header in which the upstream finds the token.
#[derive(Clone, Debug)]
pub struct TokenHeader {
    /// Its name.
    pub name: HeaderName,
    /// Whether `Bearer ` stands before the token.
    pub bearer: bool,
}

/// How the gate words its own answers.
#[derive(Clone, Debug)]
pub struct Answers {
    /// Message of a 401.
    pub unauthorized: String,
    /// Message of a 500.
    pub unexpected: String,
    /// `realm` of `WWW-Authenticate`.
    pub realm: String,
    /// Whether `WWW-Authenticate` says that the credentials were refused.
    pub error_code: bool,
}

impl Config {
    /// Refuses what could not work or would not be safe. Errors name fields as the Kong dialect does.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if !self.sources.header && !self.sources.query {
            return Err(ConfigError::new(
                "client_credentials_param_type",
                "there is nowhere to look for credentials",
            ));
        }
        if let Some((name, _)) = self.args.iter().find(|(name, _)| Provider::sets_itself(name)) {
            let reason = format!("the gate sets the parameter `{name}` itself");
            return Err(ConfigError::new("token_post_args_names", reason));
        }
        if self.args.iter().any(|(name, _)| name.is_empty()) {
            return Err(ConfigError::new("token_post_args_names", "a parameter without a name"));
        }
        if self.upstream_header.as_ref().is_some_and(|header| is_framing(&header.name)) {
            let reason = "this header belongs to the connection, not to the request";
            return Err(ConfigError::new("upstream_access_token_header", reason));
        }
        if HeaderValue::from_str(&self.answers.realm).is_err() {
            return Err(ConfigError::new("issuer", "its host cannot stand in a header"));
        }
        Ok(())
    }

    /// Digest of everything that a token depends on, besides who it is for. Two routes that would verify a token by
    /// different rules never share it.
    pub(super) fn identity(&self) -> [u8; 32] {
        let mut context = Context::new(&SHA256);
        let mut add = |part: &[u8]| {
            context.update(&part.len().to_be_bytes());
            context.update(part);
        };
        add(self.cache.as_ref().map_or(b"", |cache| cache.salt.as_bytes()));
        add(self.discovery.as_bytes());
        add(format!("{:?}", (&self.issuers, &self.calls, &self.verification)).as_bytes());
        add(format!("{:?}", self.cache.as_ref().map(|cache| (cache.unknown, cache.longest))).as_bytes());
        add(self.scope.as_deref().unwrap_or_default().as_bytes());
        for (name, value) in &self.args {
            add(name.as_bytes());
            add(value.as_bytes());
        }
        let mut out = [0; 32];
        out.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
        out
    }
}

/// Headers that frame a message or belong to one connection (RFC 9110 section 7.6.1): the engine's own.
fn is_framing(name: &HeaderName) -> bool {
    const FRAMING: [HeaderName; 8] = [
        header::HOST,
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::TE,
        header::TRAILER,
        header::UPGRADE,
        header::COOKIE,
    ];
    FRAMING.contains(name)
}
