use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use base::Secret;
use gateway::error::ConfigError;
use http::{HeaderName, HeaderValue, header};
use rp::provider::Provider;

use crate::openid_connect::{self, Calls, Judging, TokenHeader};

/// What one route gives to the provider for tokens, in words of no dialect. Everything is there; defaults are the
/// dialects' matter.
#[derive(Clone, Debug)]
pub struct Config {
    /// URL of the provider's discovery document.
    pub discovery: String,
    /// Issuers of tokens that count instead of the one that discovery names; empty: that one.
    pub issuers: Vec<String>,
    /// How the provider is called.
    pub calls: Calls,
    /// The gate's own client, which asks in everybody's name but that of callers with client credentials.
    pub own: Option<(String, Option<Secret<String>>)>,
    /// What is taken from callers, in the order in which it is looked for.
    pub ways: Vec<Way>,
    /// Tokens of callers that are exchanged for others.
    pub exchange: Option<Exchange>,
    /// `scope` of the token request.
    pub scope: Option<String>,
    /// Further parameters of the token request, such as `audience`.
    pub args: Vec<(String, String)>,
    /// Parameters of the token request that are the caller's, from its query, its headers, or the body that its
    /// credentials are in. `scope` among them goes before the route's own.
    pub client_args: Vec<String>,
    /// What is checked of a token that is a JWT; others are taken on the provider's word.
    pub verification: Verification,
    /// How tokens are kept; `None`: each request obtains its own.
    pub cache: Option<CacheRules>,
    /// Whether the upstream does not see the credentials where they were found.
    pub hide_credentials: bool,
    /// Where upstream and client find the tokens.
    pub headers: Vec<TokenHeader>,
    /// What is asked and told of the claims of tokens.
    pub judging: Judging,
    /// How the gate words its own answers.
    pub answers: Answers,
}

/// What a caller may bring, and where it is looked for.
#[derive(Clone, Debug)]
pub struct Way {
    /// What it is.
    pub kind: Kind,
    /// Where it is.
    pub sources: Sources,
}

/// What a caller may bring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A refresh token, in the header or argument of this name; `None`: `Refresh-Token` and `refresh_token`.
    RefreshToken(Option<String>),
    /// A user's name and password.
    Password,
    /// A client's id and secret.
    ClientCredentials,
}

/// Where something is looked for, in this order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sources {
    /// `Authorization: Basic`, or a refresh token's own header.
    pub header: bool,
    /// The query.
    pub query: bool,
    /// The body, where it is a form or a JSON object.
    pub body: bool,
}

/// Exchange of the access tokens that callers bring (RFC 8693).
#[derive(Clone, Debug)]
pub struct Exchange {
    /// Whose tokens are exchanged.
    pub issuers: Vec<ExchangedIssuer>,
    /// `scope` of the exchange.
    pub scope: Option<String>,
    /// `audience` of the exchange.
    pub audience: Option<String>,
    /// For how long a new token is kept at most; `None`: not at all.
    pub longest: Option<Option<Duration>>,
}

/// An issuer whose tokens are exchanged. The provider that is asked verifies them.
#[derive(Clone, Debug)]
pub struct ExchangedIssuer {
    /// `iss` of its tokens.
    pub issuer: String,
    /// Conditions that a token has to meet; none: all are exchanged.
    pub conditions: Conditions,
}

/// Conditions over a token that may be exchanged.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    /// It has all of these scopes.
    pub has_scopes: Vec<String>,
    /// It lacks one of these scopes at least.
    pub missing_scopes: Vec<String>,
    /// It is for all of these.
    pub has_audience: Vec<String>,
    /// It is not for one of these at least.
    pub missing_audience: Vec<String>,
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
    /// A token that does not say how long it lives is kept no shorter.
    pub shortest: Duration,
    /// For so long nobody is asked again about credentials that were refused.
    pub refused: Duration,
    /// How long at a time a token serves on that the provider cannot be asked to replace; zero: not at all.
    pub kept_on: Duration,
}

/// How the gate words its own answers.
#[derive(Clone, Debug)]
pub struct Answers {
    /// Message of a 401.
    pub unauthorized: String,
    /// Message of a 403.
    pub forbidden: String,
    /// Message of a 500.
    pub unexpected: String,
    /// `realm` of `WWW-Authenticate`.
    pub realm: String,
    /// Whether `WWW-Authenticate` says that the credentials were refused.
    pub error_code: bool,
    /// Whether a message says, behind its own words, why.
    pub shows_reasons: bool,
    /// Where callers are sent in place of the 401.
    pub unauthorized_redirect: Option<String>,
    /// Where they are sent in place of the 403.
    pub forbidden_redirect: Option<String>,
    /// Where they are sent in place of the 500.
    pub unexpected_redirect: Option<String>,
}

impl Config {
    /// Refuses what could not work or would not be safe. Errors name fields as the Kong dialect does.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let nowhere = |way: &&Way| !(way.sources.header || way.sources.query || way.sources.body);
        if let Some(way) = self.ways.iter().find(nowhere) {
            return Err(ConfigError::new(way.kind.places(), "there is nowhere to look for credentials"));
        }
        let owns = self.ways.iter().any(|way| way.kind != Kind::ClientCredentials);
        if (owns || self.exchange.is_some()) && self.own.is_none() {
            let reason = "the gate asks for these tokens as a client of its own, which must be named";
            return Err(ConfigError::new("client_id", reason));
        }
        let own = |name: &&String| name.is_empty() || (Provider::sets_itself(name) && *name != SCOPE);
        if let Some(name) = self.client_args.iter().find(own) {
            let reason = format!("callers cannot set the parameter `{name}`");
            return Err(ConfigError::new("token_post_args_client", reason));
        }
        if let Some((name, _)) = self.args.iter().find(|(name, _)| Provider::sets_itself(name)) {
            let reason = format!("the gate sets the parameter `{name}` itself");
            return Err(ConfigError::new("token_post_args_names", reason));
        }
        if self.args.iter().any(|(name, _)| name.is_empty()) {
            return Err(ConfigError::new("token_post_args_names", "a parameter without a name"));
        }
        if let Some(header) = self.headers.iter().find(|header| is_framing(&header.name)) {
            let reason = "this header belongs to the connection, not to the request";
            return Err(ConfigError::new(header.field(), reason));
        }
        self.calls.additions.check()?;
        openid_connect::check_token_headers(&self.headers)?;
        openid_connect::check_claim_headers("claim_headers", &self.judging.headers)?;
        openid_connect::check_claim_headers("claim_headers", &self.judging.back)?;
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
        // The debug texts show no secret; the gate's own is added by itself.
        add(format!("{:?}", (&self.issuers, &self.calls, &self.verification, &self.judging)).as_bytes());
        add(format!("{:?}", (&self.headers, &self.client_args, &self.exchange)).as_bytes());
        add(format!("{:?}", self.cache.as_ref().map(|cache| (cache.unknown, cache.longest, cache.shortest)))
            .as_bytes());
        if let Some((id, secret)) = &self.own {
            add(id.as_bytes());
            add(secret.as_ref().map_or(b"", |secret| secret.expose().as_bytes()));
        }
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

const SCOPE: &str = "scope";

impl Kind {
    /// The field that says where it is looked for.
    fn places(&self) -> &'static str {
        match self {
            Self::RefreshToken(_) => "refresh_token_param_type",
            Self::Password => "password_param_type",
            Self::ClientCredentials => "client_credentials_param_type",
        }
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
