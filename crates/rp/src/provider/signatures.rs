//! What the provider signed: verified by the keys that it publishes.

use std::sync::Arc;

use jose::{Alg, CompactJws, JoseError, KeySet};
use oauth::json_object;
use serde_json::{Map, Value};

use super::{Client, Provider, ProviderError, issuer_matches};

/// `typ` of an introspection answer (RFC 9701 section 5).
const INTROSPECTION: &str = "token-introspection+jwt";

/// Why a signature is not verified.
#[derive(Debug, thiserror::Error)]
pub enum Unverified {
    /// It is no JWS, or its signature is wrong.
    #[error("its signature cannot be verified: {0}")]
    Jose(#[from] JoseError),
    /// The provider's keys could not be had.
    #[error("{0}")]
    Provider(#[from] ProviderError),
}

/// Whether the provider may have published a key that fits since its keys were fetched: also where there is one of that
/// name, because some replace a key and keep its id, or give it none.
pub fn may_be_newer(error: &JoseError) -> bool {
    matches!(error, JoseError::UnknownKid | JoseError::NoKey | JoseError::Signature)
}

impl Provider {
    /// Verifies `jws` with the provider's keys, which are fetched again where none of them fits, and says by which set.
    ///
    /// # Errors
    ///
    /// When it is not the provider's, or the keys could not be had.
    pub async fn verify(
        &self,
        jws: &CompactJws<'_>,
        algs: &[Alg],
    ) -> Result<(Vec<u8>, Arc<KeySet>), Unverified> {
        let keys = self.ready_keys().await?;
        let (error, generation) = match keys.set.verify(jws, algs) {
            Ok(payload) => return Ok((payload, Arc::clone(&keys.set))),
            Err(error) => (error, keys.generation),
        };
        if !may_be_newer(&error) {
            return Err(error.into());
        }
        match self.keys_after_unknown_kid(generation).await {
            Ok(newer) if newer.generation == generation => Err(error.into()),
            Ok(newer) => Ok((newer.set.verify(jws, algs)?, Arc::clone(&newer.set))),
            // Its key is known, and did not sign it: nothing is left to be found out.
            Err(_) if matches!(error, JoseError::Signature) => Err(error.into()),
            Err(unknown) => Err(unknown.into()),
        }
    }

    /// What a signed introspection answer says of a token: of this provider, to this client (RFC 9701 section 5). A JWT
    /// without `token_introspection` is something else that the provider signed.
    pub(super) async fn introspection_of(
        &self,
        client: &Client,
        jwt: &str,
    ) -> Result<Map<String, Value>, ProviderError> {
        const WHAT: &str = "introspection_endpoint";
        let junk = |why: String| ProviderError::Junk { what: WHAT, why };
        let jws = CompactJws::parse(jwt).map_err(|error| junk(error.to_string()))?;
        let typ = jws.header().typ.as_deref().unwrap_or_default();
        let typ = typ.strip_prefix("application/").unwrap_or(typ);
        if !typ.eq_ignore_ascii_case(INTROSPECTION) {
            return Err(junk("the JWT is no introspection answer".to_owned()));
        }
        let algs: Vec<Alg> = Alg::ALL.into_iter().filter(|alg| !alg.is_symmetric()).collect();
        let payload = match self.verify(&jws, &algs).await {
            Ok((payload, _)) => payload,
            Err(Unverified::Provider(error)) => return Err(error),
            Err(error) => return Err(junk(error.to_string())),
        };
        let mut claims = json_object(&payload).map_err(|error| junk(error.to_string()))?;
        let metadata = self.ready().await?;
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        if !text("iss").is_some_and(|iss| issuer_matches(&metadata, iss, text("tid"))) {
            return Err(junk("the answer is not signed by this issuer".to_owned()));
        }
        let own = client.client_id.as_str();
        let is_ours = match claims.get("aud") {
            Some(Value::Array(all)) => all.iter().any(|one| one == own),
            Some(one) => one == own,
            None => false,
        };
        if !is_ours {
            return Err(junk("the answer is for another client".to_owned()));
        }
        match claims.remove("token_introspection") {
            Some(Value::Object(members)) => Ok(members),
            _ => Err(junk("the JWT has no token_introspection".to_owned())),
        }
    }
}
