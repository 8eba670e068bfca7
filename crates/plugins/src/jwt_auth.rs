//! Consumers known by a token that they, or somebody they gave their secret to, signed.
//!
//! The token names its consumer by a key; the consumer says by which algorithm and key it is verified. The token's own
//! opinion of that counts for nothing: one that names another algorithm is refused (CVE-2026-39999).

use std::{any::Any, borrow::Cow, sync::Arc, time::Duration};

use base::{Clock, Secret};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use gateway::{
    consumer::{CompiledCredential, Credential},
    error::ConfigError,
    plugin::{Flow, Phases, Plugin, PluginRequest},
};
use jose::{Alg, CompactJws, VerifyingKey, parse_json};
use rp::bearer::numeric_date;
use serde_json::{Map, Value};

use crate::authentication::{Fallback, Found, Guard, Places, Refusal};

/// The engine's name of it.
pub const NAME: &str = "jwt-auth";

/// Deepest nesting of a token's claims.
const MAX_DEPTH: usize = 16;

/// Where tokens are looked for, and how they are judged.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the token stands: the first places that have one count.
    pub places: Vec<Places>,
    /// Whether a header counts with `Bearer` before the token alone.
    pub bearer_only: bool,
    /// Whether a request must have one token in all places together.
    pub one_token: bool,
    /// Whether the secrets of consumers are base64 for what tokens are signed with.
    pub secrets_in_base64: bool,
    /// Whether the upstream gets it.
    pub hide: bool,
    /// The claim that names the consumer's key.
    pub key_claim: String,
    /// Whether the header's `kid` may name it where the claim is called so and is not there.
    pub key_in_header: bool,
    /// How far its end may be away.
    pub longest: Option<Duration>,
    /// How failures are worded.
    pub words: fn(&Fault<'_>) -> Refusal,
    /// Whether a token must say when it ends; when it does, it is always held to it.
    pub demands_exp: bool,
    /// The same for when it begins.
    pub demands_nbf: bool,
    /// What happens to requests without a good one.
    pub fallback: Fallback,
    /// Tells the time.
    pub clock: Clock,
}

/// What is wrong with a request's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault<'a> {
    /// There is none.
    Missing,
    /// There is more than one, or it is no text.
    Unclear,
    /// It is no signed token.
    Unreadable,
    /// It has not this claim, which names the consumer's key.
    NoKey(&'a str),
    /// This claim, which names the consumer's key, is empty.
    EmptyKey(&'a str),
    /// This claim names nobody's key.
    UnknownKey(&'a str),
    /// It names another algorithm than the consumer's.
    Algorithm,
    /// The consumer's secret is not in base64, and should be.
    Secret,
    /// It is not the consumer's.
    Signature,
    /// This claim does not hold, for this reason.
    Time(&'static str, &'static str),
}

impl Fault<'_> {
    /// In words that say no more than they must.
    pub fn plain(&self) -> Refusal {
        match self {
            Self::Missing => "Missing JWT token in request",
            Self::Unclear | Self::Unreadable => "JWT token invalid",
            Self::NoKey(_) => "missing user key in JWT token",
            Self::EmptyKey(_) | Self::UnknownKey(_) => "Invalid user key in JWT token",
            Self::Algorithm | Self::Secret | Self::Signature | Self::Time(..) => "failed to verify jwt",
        }
        .into()
    }
}

/// How the tokens of a consumer are verified.
#[derive(Clone, Debug)]
pub enum Verification {
    /// By a secret that signs them too.
    Secret(Secret<Vec<u8>>),
    /// By a public key in PEM.
    PublicKey(String),
}

/// The compiled form.
struct JwtAuth {
    config: Config,
    guard: Guard,
}

/// What the tokens of a consumer are judged by.
struct Material {
    alg: Alg,
    key: VerifyingKey,
    /// The same for the bytes of which the secret is the base64.
    decoded: Option<VerifyingKey>,
    /// How long a token counts beyond its times.
    grace: Duration,
}

/// Compiles `config`.
///
/// # Errors
///
/// When the realm cannot be sent.
pub fn compile(config: Config) -> Result<Arc<dyn Plugin>, ConfigError> {
    let guard = Guard::new("Bearer", config.fallback.clone())?;
    Ok(Arc::new(JwtAuth { config, guard }))
}

/// A consumer's key, and how tokens that name it are verified: by this algorithm and no other.
///
/// # Errors
///
/// When the secret or key is not one for the algorithm, or a public key is too weak. A secret that is shorter than its
/// hash is taken, because APISIX takes it, and named in the log.
pub fn credential(
    key: &str,
    alg: Alg,
    verification: &Verification,
    grace: Duration,
) -> Result<CompiledCredential, ConfigError> {
    if key.is_empty() {
        return Err(ConfigError::new("key", "it is empty"));
    }
    let (field, verifying) = match verification {
        Verification::Secret(secret) if alg.is_symmetric() => {
            if secret.expose().len() < alg.min_secret() {
                tracing::warn!(
                    %key, %alg, bytes = secret.expose().len(), at_least = alg.min_secret(),
                    "a jwt-auth secret is shorter than its hash (RFC 7518 section 3.2): it may be guessed from one token"
                );
            }
            ("secret", VerifyingKey::from_short_hmac_secret(secret.expose(), alg))
        }
        Verification::PublicKey(pem) if !alg.is_symmetric() => {
            ("public_key", VerifyingKey::from_pem(pem).and_then(|key| key.restricted_to(&[alg])))
        }
        _ => return Err(ConfigError::new("algorithm", "it is not one for this kind of key")),
    };
    let verifying = verifying.map_err(|error| ConfigError::new(field, error.to_string()))?;
    let decoded = match verification {
        Verification::Secret(secret) => {
            decoded(secret).and_then(|secret| VerifyingKey::from_short_hmac_secret(secret.expose(), alg).ok())
        }
        Verification::PublicKey(_) => None,
    };
    Ok(CompiledCredential {
        plugin: NAME,
        lookup: Secret::new(key.as_bytes().to_vec()),
        material: Arc::new(Material { alg, key: verifying, decoded, grace }),
    })
}

/// What a secret is the base64 of, by either alphabet.
fn decoded(secret: &Secret<Vec<u8>>) -> Option<Secret<Vec<u8>>> {
    let plain: Vec<u8> = secret.expose().iter().copied().filter(|byte| *byte != b'=').collect();
    STANDARD_NO_PAD.decode(&plain).or_else(|_| URL_SAFE_NO_PAD.decode(&plain)).ok().map(Secret::new)
}

impl JwtAuth {
    /// The token of a request.
    fn token<'r>(&self, request: &'r PluginRequest<'_>) -> Result<Cow<'r, str>, Fault<'static>> {
        let mut token: Option<Cow<'r, str>> = None;
        for places in &self.config.places {
            let found = match places.find(request.head) {
                Found::One(found) => found,
                Found::Nothing => continue,
                Found::Unclear => return Err(Fault::Unclear),
            };
            let bare = match found.split_once(' ') {
                Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
                    Cow::Owned(token.trim_start_matches(' ').to_owned())
                }
                _ if self.config.bearer_only && places.header.is_some() => continue,
                _ => found,
            };
            if !self.config.one_token {
                return Ok(bare);
            }
            match &token {
                Some(known) if *known != bare => return Err(Fault::Unclear),
                _ => token = Some(bare),
            }
        }
        token.ok_or(Fault::Missing)
    }

    fn find(&self, request: &PluginRequest<'_>) -> Result<Arc<Credential>, Fault<'_>> {
        let token = self.token(request)?;
        let jws = CompactJws::parse(&token).map_err(|_| Fault::Unreadable)?;
        let claims = jws.payload_unverified().and_then(|payload| parse_json(&payload, MAX_DEPTH));
        let Ok(Value::Object(claims)) = claims else { return Err(Fault::Unreadable) };
        let name = self.config.key_claim.as_str();
        let in_header = || jws.header().kid.as_deref().filter(|_| self.config.key_in_header && name == "kid");
        let key = claims.get(name).and_then(Value::as_str).or_else(in_header);
        let key = key.ok_or(Fault::NoKey(name))?;
        if key.is_empty() {
            return Err(Fault::EmptyKey(name));
        }
        let credential = request.consumers.credential(NAME, key.as_bytes());
        let credential = credential.ok_or(Fault::UnknownKey(name))?;
        let material = credential.material::<Material>().ok_or(Fault::UnknownKey(name))?;
        if jws.alg() != Ok(material.alg) {
            return Err(Fault::Algorithm);
        }
        let key = match self.config.secrets_in_base64 && material.alg.is_symmetric() {
            true => material.decoded.as_ref().ok_or(Fault::Secret)?,
            false => &material.key,
        };
        // What was read above is what is signed: the same bytes.
        jws.verify(key).map_err(|_| Fault::Signature)?;
        self.is_in_time(&claims, material.grace)?;
        Ok(Arc::clone(credential))
    }

    /// RFC 7519 sections 4.1.4 and 4.1.5.
    fn is_in_time(&self, claims: &Map<String, Value>, grace: Duration) -> Result<(), Fault<'static>> {
        const NUMBER: &str = "must be a number";
        let now = self.config.clock.now();
        let date = |name: &'static str, demanded: bool| match claims.get(name) {
            Some(date) => numeric_date(date).map(Some).ok_or(Fault::Time(name, NUMBER)),
            None if demanded => Err(Fault::Time(name, NUMBER)),
            None => Ok(None),
        };
        let exp = date("exp", self.config.demands_exp || self.config.longest.is_some())?;
        if exp.is_some_and(|exp| now >= exp + grace) {
            return Err(Fault::Time("exp", "token expired"));
        }
        if exp.zip(self.config.longest).is_some_and(|(exp, longest)| exp > now + longest) {
            return Err(Fault::Time("exp", "exceeds maximum allowed expiration"));
        }
        if date("nbf", self.config.demands_nbf)?.is_some_and(|nbf| nbf > now + grace) {
            return Err(Fault::Time("nbf", "token not valid yet"));
        }
        Ok(())
    }
}

impl Plugin for JwtAuth {
    fn name(&self) -> &'static str {
        NAME
    }

    fn phases(&self) -> Phases {
        Phases::REWRITE
    }

    fn rewrite(&self, request: &mut PluginRequest<'_>) -> Flow {
        if self.guard.passes(request) {
            return Flow::Continue;
        }
        let found = self.find(request).map_err(|fault| (self.config.words)(&fault));
        let flow = self.guard.conclude(request, found);
        if self.config.hide && matches!(flow, Flow::Continue) {
            self.config.places.iter().for_each(|places| places.clear(request.head));
        }
        flow
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
