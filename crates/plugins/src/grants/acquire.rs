//! Obtaining one token from the provider, and judging what it gave.

use std::{borrow::Cow, time::Duration};

use base::UnixMillis;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jose::{Alg, CompactJws, parse_json};
use oauth::{TokenResponse, TokenType};
use rp::{
    bearer::{ClaimRules, Refusal},
    provider::{Client, Grant, Granted, ProviderError, issuer_matches},
};

use serde_json::Value;

use super::{Args, Conditions, Credentials, Exchange, Failure, Inner, Means, Token};
use crate::openid_connect::{
    self, TokenHeader, TokenPart, client_of, judge_token, told_tokens, verify_by_jwks,
};

const SCOPE: &str = "scope";
const AUDIENCE: &str = "audience";

/// Deepest nesting of a token's claims.
const MAX_DEPTH: usize = 16;

/// A token is replaced this long before its end, or a tenth of its life before where that is less: it still has to
/// travel to the upstream.
const EARLY: Duration = Duration::from_secs(30);

impl Inner {
    /// A token for what `means` says that `credentials` are, verified where it is a JWT.
    pub(super) async fn acquire(
        &self,
        means: Means,
        credentials: &Credentials,
        args: &Args,
    ) -> Result<Token, Failure> {
        let granted = self.ask(means, credentials, args).await.map_err(|error| failure(&error))?;
        let Granted { tokens: answer, headers } = granted;
        if answer.token_type != TokenType::Bearer {
            tracing::warn!(
                "the provider gave a token that is bound to a key, which cannot be sent on as a bearer token"
            );
            return Err(Failure::Unavailable);
        }
        let token = answer.access_token.expose();
        let client_id = match means {
            Means::ClientCredentials => credentials.name.as_str(),
            _ => self.own.as_ref().map(|own| own.client_id.as_str()).unwrap_or_default(),
        };
        let expires = self.check(token, client_id).await?;
        let (until, ends) = self.until(means, &answer, expires);
        // What was verified above, or is the provider's own word.
        let claims = looks_like_jwt(token).then(|| CompactJws::parse(token).ok()?.payload_unverified().ok());
        let claims = claims.flatten().and_then(|payload| parse_json(&payload, MAX_DEPTH).ok());
        let claims = claims.as_ref().and_then(Value::as_object);
        let known = judge_token(claims, &self.config.judging);
        let part = |part: TokenPart| match part {
            TokenPart::AccessToken => Some(Cow::Borrowed(token.as_str())),
            TokenPart::IdToken => {
                answer.id_token.as_ref().map(|token| Cow::Borrowed(token.expose().as_str()))
            }
            TokenPart::RefreshToken => {
                answer.refresh_token.as_ref().map(|token| Cow::Borrowed(token.expose().as_str()))
            }
            TokenPart::AccessTokenJwk => openid_connect::jwk_of(&self.provider, token).map(Cow::Owned),
            TokenPart::IdTokenJwk => {
                let token = answer.id_token.as_ref().map(|token| token.expose().as_str());
                token.and_then(|token| openid_connect::jwk_of(&self.provider, token)).map(Cow::Owned)
            }
            TokenPart::Userinfo
            | TokenPart::Introspection
            | TokenPart::UserinfoJwt
            | TokenPart::IntrospectionJwt
            | TokenPart::SessionId => None,
        };
        let told: Box<[_]> = told_tokens(&self.config.headers, false, part).into();
        let is_token = |header: &&TokenHeader| !header.downstream && header.part == TokenPart::AccessToken;
        if self.config.headers.iter().any(|header| is_token(&header)) && told.is_empty() {
            tracing::warn!("the provider gave a token that cannot stand in a header");
            return Err(Failure::Unavailable);
        }
        let mut answered = told_tokens(&self.config.headers, true, part);
        answered.extend(self.config.calls.additions.replay.of(means.name(), &headers));
        let answered = answered.into();
        Ok(Token { told, answered, until, ends, known })
    }

    async fn ask(
        &self,
        means: Means,
        credentials: &Credentials,
        further: &Args,
    ) -> Result<Granted, ProviderError> {
        let config = &self.config;
        let Credentials { name, secret } = credentials;
        let (client, grant) = match means {
            Means::ClientCredentials => {
                let client = client_of(name, Some(secret), &self.callers, &self.services.random);
                let client = client.map_err(|error| ProviderError::Unsupported(error.to_string()))?;
                (Cow::Owned(client), Grant::ClientCredentials)
            }
            Means::Password => (self.own_client()?, Grant::Password { username: name, password: secret }),
            Means::RefreshToken => (self.own_client()?, Grant::RefreshToken(secret)),
            Means::Exchange => (self.own_client()?, Grant::TokenExchange(secret)),
        };
        let chosen = further.params.iter().find(|(name, _)| name == SCOPE).map(|(_, scope)| scope);
        let mut scope = chosen.or(config.scope.as_ref()).map(String::as_str);
        let chosen = |name: &String| further.params.iter().any(|(own, _)| own == name);
        let mut args: Vec<(String, String)> =
            config.args.iter().filter(|(name, _)| !chosen(name)).chain(&further.params).cloned().collect();
        if let (Means::Exchange, Some(exchange)) = (means, &config.exchange) {
            scope = exchange.scope.as_deref();
            args.retain(|(name, _)| name != AUDIENCE);
            args.extend(exchange.audience.iter().map(|audience| (AUDIENCE.to_owned(), audience.clone())));
        }
        // RFC 6749 section 6: without it the scope is what was granted at first.
        if means == Means::RefreshToken {
            scope = None;
        }
        self.provider.grant(&client.saying(&further.headers), grant, scope, &args).await
    }

    fn own_client(&self) -> Result<Cow<'_, Client>, ProviderError> {
        let missing = || ProviderError::Unsupported("a request without a client".to_owned());
        self.own.as_ref().map(Cow::Borrowed).ok_or_else(missing)
    }

    /// When the token is replaced (now, where it is not to be kept at all), and when it ends, where that is said.
    fn until(
        &self,
        means: Means,
        answer: &TokenResponse,
        expires: Option<UnixMillis>,
    ) -> (UnixMillis, Option<UnixMillis>) {
        let now = self.services.clock.now();
        let Some(rules) = &self.config.cache else { return (now, None) };
        let longest = match (means, &self.config.exchange) {
            (Means::Exchange, Some(Exchange { longest: None, .. })) => return (now, None),
            (Means::Exchange, Some(Exchange { longest: Some(longest), .. })) => longest.or(rules.longest),
            _ => rules.longest,
        };
        let said = match (answer.expires_in, expires.map(|expires| expires.since(now))) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (one, other) => one.or(other),
        };
        let lives = said.unwrap_or(rules.unknown.max(rules.shortest));
        let kept = longest.map_or(lives, |longest| lives.min(longest));
        (now + kept.saturating_sub(EARLY.min(lives / 10)), said.map(|said| now + said))
    }

    /// Verifies a JWT, and says when it ends. Another kind of token is taken on the word of the provider, with whom
    /// the gate speaks over TLS.
    async fn check(&self, token: &str, client_id: &str) -> Result<Option<UnixMillis>, Failure> {
        let rules = self.config.verification;
        if !looks_like_jwt(token) || !(rules.signature || rules.claims) {
            return Ok(None);
        }
        self.verify(token, client_id).await.map_err(|error| match error {
            Unverified::Refused(refusal) => {
                tracing::warn!(%refusal, "the provider gave a token that does not hold");
                Failure::Unsound
            }
            Unverified::Provider(error) => failure(&error),
        })
    }

    async fn verify(&self, token: &str, client_id: &str) -> Result<Option<UnixMillis>, Unverified> {
        let rules = self.config.verification;
        let jws = CompactJws::parse(token).map_err(Refusal::from)?;
        let payload = if rules.signature {
            let algs: Vec<Alg> = Alg::ALL.into_iter().filter(|alg| !alg.is_symmetric()).collect();
            verify_by_jwks(&self.provider, &jws, &algs).await?.0
        } else {
            jws.payload_unverified().map_err(Refusal::from)?
        };
        if !rules.claims {
            return Ok(None);
        }
        let metadata = self.provider.ready().await?;
        let issuer = |iss: &str, tid: Option<&str>| match self.config.issuers.as_slice() {
            [] => issuer_matches(&metadata, iss, tid),
            named => named.iter().any(|issuer| issuer == iss),
        };
        let read = ClaimRules { client_id, audience_claim: "aud", issuer: &issuer };
        let (claims, _) = read.read_jwt(jws.header(), &payload)?;
        // Whoever sends it on has no key to prove.
        if claims.binding().is_some() {
            return Err(Refusal::ProofMissing.into());
        }
        claims.check_times(self.services.clock.now(), rules.leeway, rules.leeway)?;
        Ok(Some(claims.expires))
    }
}

/// Why a JWT does not count.
enum Unverified {
    Refused(Refusal),
    Provider(ProviderError),
}

impl From<Refusal> for Unverified {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<openid_connect::Unverified> for Unverified {
    fn from(error: openid_connect::Unverified) -> Self {
        match error {
            openid_connect::Unverified::Jose(error) => Self::Refused(error.into()),
            openid_connect::Unverified::Provider(error) => Self::Provider(error),
        }
    }
}

impl From<ProviderError> for Unverified {
    fn from(error: ProviderError) -> Self {
        Self::Provider(error)
    }
}

/// Whose fault it is. A provider that is down is not one that says no; a bare 400 or 401 is a no, though without the
/// reason that RFC 6749 section 5.2 asks for.
fn failure(error: &ProviderError) -> Failure {
    if error.denial().is_some() || matches!(error, ProviderError::Status { status: 400 | 401, .. }) {
        tracing::debug!(%error, "a client's credentials are refused");
        return Failure::Denied;
    }
    tracing::warn!(%error, "no token can be obtained from the identity provider");
    Failure::Unavailable
}

/// Three parts, the first of them base64url of what may be a JSON object.
fn looks_like_jwt(token: &str) -> bool {
    let header = token.split('.').next().unwrap_or_default();
    let object =
        || URL_SAFE_NO_PAD.decode(header).is_ok_and(|bytes| bytes.trim_ascii_start().first() == Some(&b'{'));
    token.split('.').count() == 3 && object()
}

/// Whether a token is by an issuer whose tokens are exchanged, and meets its conditions. What it says is not verified: the
/// provider that is asked for another one does that, and until then it opens nothing.
pub(super) fn is_exchanged(exchange: &Exchange, token: &str) -> bool {
    if !looks_like_jwt(token) {
        return false;
    }
    let payload = CompactJws::parse(token).ok().and_then(|jws| jws.payload_unverified().ok());
    let claims = payload.and_then(|payload| parse_json(&payload, MAX_DEPTH).ok());
    let Some(Value::Object(claims)) = claims else { return false };
    // A bound token needs its proof, and what it would be exchanged for needs none.
    if claims.contains_key("cnf") {
        return false;
    }
    let words = |name: &str| -> Vec<String> {
        match claims.get(name) {
            Some(Value::String(text)) => text.split_ascii_whitespace().map(str::to_owned).collect(),
            Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        }
    };
    let scopes = words(SCOPE);
    let scopes = if scopes.is_empty() { words("scp") } else { scopes };
    let audience = words("aud");
    let issuer = claims.get("iss").and_then(Value::as_str);
    let of_issuer = exchange.issuers.iter().filter(|one| Some(one.issuer.as_str()) == issuer);
    of_issuer.into_iter().any(|one| one.conditions.hold(&scopes, &audience))
}

impl Conditions {
    fn hold(&self, scopes: &[String], audience: &[String]) -> bool {
        let has = |wanted: &[String], have: &[String]| wanted.iter().all(|one| have.contains(one));
        let lacks = |wanted: &[String], have: &[String]| wanted.is_empty() || !has(wanted, have);
        has(&self.has_scopes, scopes)
            && has(&self.has_audience, audience)
            && lacks(&self.missing_scopes, scopes)
            && lacks(&self.missing_audience, audience)
    }
}
