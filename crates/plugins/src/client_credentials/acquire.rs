//! Obtaining one token from the provider, and judging what it gave.

use std::time::Duration;

use base::UnixMillis;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jose::{Alg, CompactJws};
use oauth::{TokenResponse, TokenType};
use rp::{
    bearer::{ClaimRules, Refusal},
    provider::{Client, ProviderError, issuer_matches},
};

use super::{Credentials, Failure, Inner, Token};
use crate::openid_connect::{self, verify_by_jwks};

/// A token is replaced this long before its end, or a tenth of its life before where that is less: it still has to
/// travel to the upstream.
const EARLY: Duration = Duration::from_secs(30);

impl Inner {
    /// A token for `credentials`, verified where it is a JWT.
    pub(super) async fn acquire(&self, credentials: &Credentials) -> Result<Token, Failure> {
        let (id, secret) = (credentials.client_id.clone(), credentials.client_secret.clone());
        let client = Client::with_secret(id, secret, self.config.calls.token_auth, self.config.calls.timeout);
        let config = &self.config;
        let answer = self.provider.client_credentials(&client, config.scope.as_deref(), &config.args).await;
        let answer = answer.map_err(|error| failure(&error))?;
        if answer.token_type != TokenType::Bearer {
            tracing::warn!(
                "the provider gave a token that is bound to a key, which cannot be sent on as a bearer token"
            );
            return Err(Failure::Unavailable);
        }
        let expires = self.check(answer.access_token.expose(), &credentials.client_id).await?;
        let until = self.until(&answer, expires);
        Token::new(answer.access_token.expose(), until).ok_or(Failure::Unavailable)
    }

    /// When the token is replaced: now, where it is not to be kept at all.
    fn until(&self, answer: &TokenResponse, expires: Option<UnixMillis>) -> UnixMillis {
        let now = self.services.clock.now();
        let Some(rules) = &self.config.cache else { return now };
        let said = match (answer.expires_in, expires.map(|expires| expires.since(now))) {
            (Some(a), Some(b)) => a.min(b),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => rules.unknown,
        };
        now + rules.longest.map_or(said, |longest| said.min(longest)).saturating_sub(EARLY.min(said / 10))
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
                Failure::Denied
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
