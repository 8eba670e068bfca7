//! Whose access tokens a route takes. The `iss` of a token picks the provider, and with it the keys that verify the
//! token and the rules that it must keep: a key that two providers share still verifies for each its own tokens alone.

use std::{collections::HashSet, sync::Arc};

use base::Secret;
use gateway::error::ConfigError;
use jose::{Alg, CompactJws, KeySet, VerifyingKey, parse_json};
use rp::{
    bearer::{ClaimRules, Claims, Refusal},
    provider::{
        Provider, ProviderError, SourceConfig, issuer_matches, named_issuer_matches, names_every_tenant,
    },
};
use serde_json::{Map, Value};

use super::{
    AudienceRule, BearerConfig, ClaimRule, Config, Introspection, Services, Verification, answer,
    claims::Documents,
};

/// Where they are written.
const FIELD: &str = "additional_issuers";
/// Levels of nesting in a token that is looked into for its issuer.
const MAX_DEPTH: usize = 32;
/// Providers beside the route's own.
const MAX_ISSUERS: usize = 16;

/// A provider beside the route's own whose access tokens are taken. Its tokens are JWTs, verified by its keys. What is
/// `None` is as it is for the route's own provider.
#[derive(Clone, Debug)]
pub struct IssuerConfig {
    /// URL of its discovery document.
    pub discovery: String,
    /// Issuers that count instead of the one that discovery names; empty: that one.
    pub issuers: Vec<String>,
    /// The client's id there.
    pub client_id: Option<String>,
    /// Audiences of which a token must name one.
    pub audiences: Option<Vec<String>>,
    /// Scopes that every token must have.
    pub required_scopes: Option<Vec<String>>,
    /// Conditions over its claims.
    pub claim_rules: Option<Vec<ClaimRule>>,
}

/// A provider, compiled: how its tokens are verified, and what is asked of them.
pub(super) struct Issuer {
    pub(super) provider: Arc<Provider>,
    pub(super) verifier: Verifier,
    pub(super) algs: Vec<Alg>,
    client_id: String,
    /// Those that the configuration names; they replace the one that discovery names.
    named: Vec<String>,
    audience: AudienceRule,
    /// Whether a JWT must say that it is an access token.
    typed: bool,
    required_scopes: Vec<String>,
    claim_rules: Vec<ClaimRule>,
    /// Whether the userinfo endpoint is asked about tokens of which nobody else can be.
    pub(super) userinfo: bool,
}

/// By whom tokens are verified.
pub(super) enum Verifier {
    Key(VerifyingKey),
    Jwks,
    Introspection(Introspection),
    Discovered(Introspection),
    Userinfo,
}

/// What is done about a token of one provider.
pub(super) enum Way<'a> {
    /// Its signature is verified here.
    Keys,
    /// An endpoint is asked.
    Introspect(&'a Introspection),
    /// The userinfo endpoint is asked.
    Userinfo,
    /// Nothing can be.
    Refuse(Refusal),
}

/// The compiled providers of a route, its own first.
pub(super) fn compile(
    bearer: &BearerConfig,
    config: &Config,
    own: &Arc<Provider>,
    services: &Services,
) -> Result<Vec<Issuer>, ConfigError> {
    let further = &bearer.additional_issuers;
    if further.len() > MAX_ISSUERS {
        let reason = format!("a route takes tokens of {MAX_ISSUERS} further issuers at most");
        return Err(ConfigError::new(FIELD, reason));
    }
    let source = |issuer: &IssuerConfig| (issuer.discovery.clone(), issuer.issuers.clone());
    let mut known = HashSet::from([(config.discovery.clone(), config.issuers.clone())]);
    if let Some(place) = further.iter().position(|issuer| !known.insert(source(issuer))) {
        let reason = "this provider is there already";
        return Err(ConfigError::new(format!("{FIELD}[{place}].discovery"), reason));
    }
    let mut issuers = vec![Issuer::own(bearer, config, own)?];
    for (place, issuer) in further.iter().enumerate() {
        let compiled = Issuer::further(issuer, bearer, config, services);
        issuers.push(
            compiled.map_err(|error| {
                ConfigError::new(format!("{FIELD}[{place}].{}", error.path), error.reason)
            })?,
        );
    }
    Ok(issuers)
}

/// Which of `issuers` the token says it is by; `None`: that cannot be said before the metadata of all are there. What
/// the token says is not verified yet, and is only used to choose among what is configured.
pub(super) fn pick(issuers: &[Issuer], token: &str) -> Result<Option<usize>, Refusal> {
    let fallback = match issuers {
        [] => return Err(Refusal::Issuer),
        [_] => return Ok(Some(0)),
        _ if !is_jws(token) => return Ok(Some(0)),
        [own, ..] => matches!(own.verifier, Verifier::Introspection(_)).then_some(0),
    };
    let claimed = match claimed_issuer(token) {
        Ok(claimed) => claimed,
        Err(refusal) => return fallback.map(Some).ok_or(refusal),
    };
    let (iss, tid) = (claimed.0.as_str(), claimed.1.as_deref());
    let mut unknown = false;
    for (index, issuer) in issuers.iter().enumerate() {
        match issuer.is_by(iss, tid) {
            Some(true) => return Ok(Some(index)),
            Some(false) => {}
            None => unknown |= fallback.is_none() || index > 0,
        }
    }
    match (unknown, fallback) {
        (true, _) => Ok(None),
        (false, Some(own)) => Ok(Some(own)),
        (false, None) => Err(Refusal::Issuer),
    }
}

/// As [`pick`], with the metadata of all providers, which are waited for. One that is down may be the token's own.
pub(super) async fn pick_later(issuers: &[Issuer], token: &str) -> Result<usize, super::tokens::Failure> {
    if let Some(index) = pick(issuers, token)? {
        return Ok(index);
    }
    let mut down = None;
    for issuer in issuers.iter().filter(|issuer| issuer.named.is_empty()) {
        if let Err(error) = issuer.provider.ready().await {
            down = Some(error);
        }
        if let Some(index) = pick(issuers, token)? {
            return Ok(index);
        }
    }
    Err(down.unwrap_or(ProviderError::NotReady).into())
}

impl Issuer {
    /// The route's own provider.
    fn own(bearer: &BearerConfig, config: &Config, provider: &Arc<Provider>) -> Result<Self, ConfigError> {
        let public = config.public_algs();
        let (verifier, algs) = match &bearer.verification {
            Verification::PublicKey(pem) => (Verifier::Key(public_key(pem, &public)?), public),
            Verification::SymmetricKey { key, alg } => (Verifier::Key(symmetric_key(key, *alg)?), vec![*alg]),
            Verification::Jwks => (Verifier::Jwks, public),
            Verification::Introspection(how) => (Verifier::Introspection(how.clone()), public),
            Verification::Discovered(how) => (Verifier::Discovered(how.clone()), public),
            Verification::Userinfo => (Verifier::Userinfo, public),
        };
        Ok(Self {
            provider: Arc::clone(provider),
            verifier,
            algs,
            client_id: config.client_id.clone(),
            named: config.issuers.clone(),
            audience: bearer.audience.clone(),
            typed: bearer.typed,
            required_scopes: config.required_scopes.clone(),
            claim_rules: config.claim_rules.clone(),
            userinfo: bearer.userinfo,
        })
    }

    /// A provider beside it. What the configuration leaves open is as for the route's own.
    fn further(
        issuer: &IssuerConfig,
        bearer: &BearerConfig,
        config: &Config,
        services: &Services,
    ) -> Result<Self, ConfigError> {
        let source = SourceConfig {
            discovery_url: issuer.discovery.clone(),
            verify_tls: config.calls.verify_tls,
            timeout: config.calls.timeout,
            jwks_ttl: config.calls.jwks_ttl,
            metadata_ttl: config.calls.metadata_ttl,
            keep_alive: config.calls.keep_alive,
            proxies: config.calls.proxies.clone(),
            issuers: issuer.issuers.clone(),
            endpoints: Default::default(),
            headers: Default::default(),
            extra_jwks: Vec::new(),
        };
        let provider = services.providers.provider(&source);
        let mut audience = bearer.audience.clone();
        if let Some(values) = &issuer.audiences {
            audience.values.clone_from(values);
        }
        Ok(Self {
            provider: provider.map_err(|error| ConfigError::new("discovery", error.to_string()))?,
            verifier: Verifier::Jwks,
            algs: config.public_algs(),
            client_id: issuer.client_id.as_ref().unwrap_or(&config.client_id).clone(),
            named: issuer.issuers.clone(),
            audience,
            typed: bearer.typed,
            required_scopes: issuer.required_scopes.as_ref().unwrap_or(&config.required_scopes).clone(),
            claim_rules: issuer.claim_rules.as_ref().unwrap_or(&config.claim_rules).clone(),
            userinfo: false,
        })
    }

    /// Whether tokens of this issuer are the provider's. `None`: its metadata are not there yet.
    fn is_by(&self, iss: &str, tid: Option<&str>) -> Option<bool> {
        if self.named.is_empty() {
            return Some(issuer_matches(&*self.provider.metadata()?, iss, tid));
        }
        Some(self.named.iter().any(|named| named_issuer_matches(named, iss, tid)))
    }

    fn takes_every_tenant(&self) -> bool {
        match self.named.as_slice() {
            [] => self.provider.metadata().is_some_and(|metadata| names_every_tenant(&metadata.issuer)),
            named => named.iter().any(|issuer| names_every_tenant(issuer)),
        }
    }

    /// Whether an issuer can be compared now.
    pub(super) fn is_known(&self) -> bool {
        !self.named.is_empty() || self.provider.metadata().is_some()
    }

    /// Waits until an issuer can be compared.
    pub(super) async fn until_known(&self) -> Result<(), ProviderError> {
        if self.is_known() { Ok(()) } else { self.provider.ready().await.map(drop) }
    }

    /// What is done about `token`. Two dots make a JWS, four a JWE; anything else is opaque.
    pub(super) fn way(&self, token: &str) -> Way<'_> {
        let dots = token.bytes().filter(|byte| *byte == b'.').count();
        match &self.verifier {
            Verifier::Introspection(introspection) => Way::Introspect(introspection),
            Verifier::Discovered(introspection) if dots != 2 => Way::Introspect(introspection),
            Verifier::Userinfo => Way::Userinfo,
            Verifier::Jwks if dots != 2 && self.userinfo => Way::Userinfo,
            _ if dots == 4 => Way::Refuse(Refusal::Encrypted),
            Verifier::Key(_) | Verifier::Jwks | Verifier::Discovered(_) => Way::Keys,
        }
    }

    /// Reads the payload of a verified JWT.
    pub(super) fn read_jwt(
        &self,
        jws: &CompactJws<'_>,
        payload: &[u8],
        keys: Option<&KeySet>,
    ) -> Result<(Claims, Map<String, Value>), Refusal> {
        if self.typed && !jws.header().has_typ("at+jwt") {
            return Err(Refusal::NotAccessToken);
        }
        // A key that is published for one tenant vouches for no other, where tokens of many are taken.
        let of_key = keys.zip(jws.header().kid.as_deref()).and_then(|(keys, kid)| keys.issuer_of(kid));
        let of_key = of_key.filter(|issuer| self.takes_every_tenant() && !names_every_tenant(issuer));
        let issuer = |iss: &str, tid: Option<&str>| {
            self.is_by(iss, tid) == Some(true) && of_key.is_none_or(|issuer| issuer == iss)
        };
        self.rules(&issuer).read_jwt(jws.header(), payload)
    }

    /// Reads an introspection answer. Without metadata an issuer in it cannot be compared; the endpoint is the
    /// operator's own word then.
    pub(super) fn read_introspection(
        &self,
        object: &Map<String, Value>,
        expires: base::UnixMillis,
    ) -> Result<Claims, Refusal> {
        let issuer = |iss: &str, tid: Option<&str>| self.is_by(iss, tid) != Some(false);
        self.rules(&issuer).read_introspection(object, expires)
    }

    fn rules<'a>(&'a self, issuer: &'a dyn Fn(&str, Option<&str>) -> bool) -> ClaimRules<'a> {
        ClaimRules { client_id: &self.client_id, audience_claim: &self.audience.claim, issuer }
    }

    /// Why the claims of a verified token do not suffice here, in the words of the 403. All that they say stays as it is
    /// for as long as the token is good, so this is asked once.
    pub(super) fn objection(&self, claims: &Claims, object: &Map<String, Value>) -> Option<Box<str>> {
        if !self.required_scopes.iter().all(|scope| claims.has_scope(scope)) {
            return Some(answer::scopes_missing(&self.required_scopes).into());
        }
        let AudienceRule { required, is_client, values, .. } = &self.audience;
        if (*required || *is_client || !values.is_empty()) && !claims.has_audience() {
            return Some("required audience claim not present".into());
        }
        let for_client = !is_client || claims.is_for(&self.client_id);
        if !for_client || !(values.is_empty() || values.iter().any(|value| claims.is_for(value))) {
            return Some("mismatched audience".into());
        }
        answer::claims_failing(&Documents::of_token(object).failing(&self.claim_rules))
    }

    /// A wrong algorithm is named where one is configured.
    pub(super) fn signature_refusal(&self, jws: &CompactJws<'_>, error: jose::JoseError) -> Refusal {
        match (jws.alg(), error) {
            (Ok(alg), _) if !self.algs.contains(&alg) && self.algs.len() == 1 => Refusal::UnexpectedAlg(alg),
            (_, error) => error.into(),
        }
    }
}

fn is_jws(token: &str) -> bool {
    token.bytes().filter(|byte| *byte == b'.').count() == 2
}

/// `iss` and `tid`, as the token has them.
fn claimed_issuer(token: &str) -> Result<(String, Option<String>), Refusal> {
    let payload = CompactJws::parse(token)?.payload_unverified()?;
    let Ok(Value::Object(claims)) = parse_json(&payload, MAX_DEPTH) else { return Err(Refusal::Malformed) };
    let text = |name: &str| claims.get(name).and_then(Value::as_str).map(str::to_owned);
    match claims.get("iss") {
        None => Err(Refusal::IssuerMissing),
        Some(_) => Ok((text("iss").ok_or(Refusal::Issuer)?, text("tid"))),
    }
}

fn public_key(pem: &str, algs: &[Alg]) -> Result<VerifyingKey, ConfigError> {
    let key =
        VerifyingKey::from_pem(pem).map_err(|error| ConfigError::new("public_key", error.to_string()))?;
    let misfit = "the public key cannot verify this algorithm";
    key.restricted_to(algs).map_err(|_| ConfigError::new("token_signing_alg_values_expected", misfit))
}

fn symmetric_key(key: &Secret<String>, alg: Alg) -> Result<VerifyingKey, ConfigError> {
    VerifyingKey::from_hmac_secret(key.expose().as_bytes(), alg)
        .map_err(|error| ConfigError::new("symmetric_key", format!("it cannot verify {alg} tokens: {error}")))
}
