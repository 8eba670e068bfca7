//! Consumers known by a token that they, or somebody they gave their secret to, signed.
//!
//! The token names its consumer by a key; the consumer says by which algorithm and key it is verified. The token's own
//! opinion of that counts for nothing: one that names another algorithm is refused (CVE-2026-39999).

use std::{any::Any, sync::Arc, time::Duration};

use base::{Clock, Secret};
use gateway::{
    consumer::{CompiledCredential, Credential},
    error::ConfigError,
    plugin::{Flow, Phases, Plugin, PluginRequest},
};
use jose::{Alg, CompactJws, VerifyingKey, parse_json};
use rp::bearer::numeric_date;
use serde_json::{Map, Value};

use crate::authentication::{Fallback, Found, Guard, Places};

/// The engine's name of it.
pub const NAME: &str = "jwt-auth";

/// Deepest nesting of a token's claims.
const MAX_DEPTH: usize = 16;

/// Where tokens are looked for, and how they are judged.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the token stands.
    pub places: Places,
    /// Whether the upstream gets it.
    pub hide: bool,
    /// The claim that names the consumer's key.
    pub key_claim: String,
    /// Whether a token must say when it ends; when it does, it is always held to it.
    pub demands_exp: bool,
    /// The same for when it begins.
    pub demands_nbf: bool,
    /// What happens to requests without a good one.
    pub fallback: Fallback,
    /// Tells the time.
    pub clock: Clock,
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
    Ok(CompiledCredential {
        plugin: NAME,
        lookup: Secret::new(key.as_bytes().to_vec()),
        material: Arc::new(Material { alg, key: verifying, grace }),
    })
}

impl JwtAuth {
    fn find(&self, request: &PluginRequest<'_>) -> Result<Arc<Credential>, &'static str> {
        const INVALID: &str = "JWT token invalid";
        const UNVERIFIED: &str = "failed to verify jwt";
        let found = match self.config.places.find(request.head) {
            Found::One(token) => token,
            Found::Nothing => return Err("Missing JWT token in request"),
            Found::Unclear => return Err(INVALID),
        };
        let token = match found.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim_start_matches(' '),
            _ => &*found,
        };
        let jws = CompactJws::parse(token).map_err(|_| INVALID)?;
        let claims = jws.payload_unverified().and_then(|payload| parse_json(&payload, MAX_DEPTH));
        let Ok(Value::Object(claims)) = claims else { return Err(INVALID) };
        let key = claims.get(&self.config.key_claim).and_then(Value::as_str);
        let key = key.ok_or("missing user key in JWT token")?;
        let credential = request.consumers.credential(NAME, key.as_bytes());
        let credential = credential.ok_or("Invalid user key in JWT token")?;
        let material = credential.material::<Material>().ok_or("Invalid user key in JWT token")?;
        if jws.alg() != Ok(material.alg) {
            return Err(UNVERIFIED);
        }
        // What was read above is what is signed: the same bytes.
        jws.verify(&material.key).map_err(|_| UNVERIFIED)?;
        if !self.is_in_time(&claims, material.grace) {
            return Err(UNVERIFIED);
        }
        Ok(Arc::clone(credential))
    }

    /// RFC 7519 sections 4.1.4 and 4.1.5.
    fn is_in_time(&self, claims: &Map<String, Value>, grace: Duration) -> bool {
        let now = self.config.clock.now();
        let holds =
            |name: &str, demanded: bool, holds: &dyn Fn(base::UnixMillis) -> bool| match claims.get(name) {
                Some(date) => numeric_date(date).is_some_and(holds),
                None => !demanded,
            };
        holds("exp", self.config.demands_exp, &|exp| now < exp + grace)
            && holds("nbf", self.config.demands_nbf, &|nbf| nbf <= now + grace)
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
        let found = self.find(request);
        let flow = self.guard.conclude(request, found);
        if self.config.hide && matches!(flow, Flow::Continue) {
            self.config.places.clear(request.head);
        }
        flow
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
