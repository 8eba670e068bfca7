//! Proof of possession: DPoP (RFC 9449) and client certificates (RFC 8705 section 3).

use std::time::Duration;

use aws_lc_rs::{digest, hmac};
use base::{Keyring, UnixMillis, same_bytes};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jose::{Alg, CompactJws};
use oauth::{ErrorCode, dpop};

use crate::{
    AccessClaims, EndpointError, Presented, PresentedToken, Site,
    bearer::invalid_token,
    idp::Core,
    model::{Client, Confirmation, PossessionMechanism, ResourceServer},
};

/// How old a proof may be, and how far ahead the client's clock.
const PROOF_AGE: Duration = Duration::from_secs(60);
/// What proofs of FAPI 2.0 clients are signed with (FAPI 2.0 Security Profile 5.4.1).
const FAPI2_ALGS: [Alg; 3] = [Alg::PS256, Alg::ES256, Alg::EdDSA];
/// How long a nonce is given out; it is accepted as long again.
const NONCE_AGE: Duration = Duration::from_secs(5 * 60);

/// The nonces that proofs are asked for (RFC 9449 section 8). A nonce is a moment and a keyed hash of it, so that every
/// node knows those of the others and none is stored.
pub(crate) struct Nonces {
    keys: Vec<hmac::Key>,
}

impl Nonces {
    pub(crate) fn new(keyring: &Keyring) -> Self {
        let keys = keyring.derive("idp dpop nonces");
        Self { keys: keys.iter().map(|key| hmac::Key::new(hmac::HMAC_SHA256, key.as_slice())).collect() }
    }

    /// The nonce of the moment.
    pub(crate) fn current(&self, now: UnixMillis) -> String {
        self.keys.first().map(|key| nonce(key, period(now))).unwrap_or_default()
    }

    fn is_ours(&self, text: &str, now: UnixMillis) -> bool {
        let now = period(now);
        let fits = |key, period| same_bytes(nonce(key, period).as_bytes(), text.as_bytes());
        // The next one too: the clocks of several nodes differ.
        self.keys.iter().any(|key| [now, now - 1, now + 1].iter().any(|period| fits(key, *period)))
    }
}

fn period(now: UnixMillis) -> i64 {
    now.secs().div_euclid(NONCE_AGE.as_secs().cast_signed())
}

fn nonce(key: &hmac::Key, period: i64) -> String {
    let tag = hmac::sign(key, &period.to_be_bytes());
    URL_SAFE_NO_PAD.encode(tag.as_ref().get(..24).unwrap_or_default())
}

impl Core {
    /// Thumbprint of the key that the request's proof shows; `None` where there is no proof. Each proof counts once.
    ///
    /// # Errors
    ///
    /// `invalid_dpop_proof`; `use_dpop_nonce` where the proof lacks the nonce: of a public client, whose key nothing
    /// else protects against proofs made in advance, each must have one; of others one that is there must be ours.
    pub(crate) async fn proven_key(
        &self,
        site: &Site,
        client: &Client,
        presented: &Presented<'_>,
        access_token: Option<&str>,
    ) -> Result<Option<String>, EndpointError> {
        let Some(proof) = presented.dpop else { return Ok(None) };
        let now = self.clock.now();
        let expected = dpop::Expected {
            method: presented.method,
            url: presented.url,
            access_token,
            nonce: None,
            now,
            max_age: PROOF_AGE,
            ahead: PROOF_AGE,
        };
        let bad = |text: &str| EndpointError::oauth(ErrorCode::InvalidDpopProof, text);
        let proven = dpop::verify(proof, &expected).map_err(|error| bad(&error.to_string()))?;
        let alg = CompactJws::parse(proof).and_then(|jws| jws.alg());
        if client.is_fapi2() && !alg.is_ok_and(|alg| FAPI2_ALGS.contains(&alg)) {
            return Err(bad("The client's profile has proofs with PS256, ES256 and EdDSA alone."));
        }
        match &proven.nonce {
            Some(nonce) if self.nonces.is_ours(nonce, now) => {}
            None if !client.is_public() => {}
            _ => {
                let text = "The DPoP proof must have the nonce of the header DPoP-Nonce.";
                return Err(EndpointError::oauth(ErrorCode::UseDpopNonce, text));
            }
        }
        let until = proven.until + PROOF_AGE;
        let once = format!("dpop/{}/{}", proven.thumbprint, once(&proven.jti));
        if !self.repository.use_once(&site.tenant.id, &once, until).await? {
            let text = "The DPoP proof has been used before.";
            return Err(EndpointError::oauth(ErrorCode::InvalidDpopProof, text));
        }
        Ok(Some(proven.thumbprint))
    }

    /// What access tokens of this request are bound to, by its proof or its certificate.
    ///
    /// # Errors
    ///
    /// As [`Core::proven_key`], and `invalid_request` where the client's tokens must be bound and nothing is there to
    /// bind them to.
    pub(crate) async fn possession(
        &self,
        site: &Site,
        client: &Client,
        presented: &Presented<'_>,
    ) -> Result<Option<Confirmation>, EndpointError> {
        let proven = self.proven_key(site, client, presented, None).await?;
        let certificate = presented.certificate.map(|found| Confirmation::Certificate(found.thumbprint()));
        let by_certificate = client.tls_client_certificate_bound_access_tokens
            || client.compliance_level.is_some_and(|level| level.binding() == PossessionMechanism::Mtls);
        let by_proof =
            client.compliance_level.is_some_and(|level| level.binding() == PossessionMechanism::Dpop);
        match proven {
            Some(_) if by_certificate && certificate.is_some() => Ok(certificate),
            Some(thumbprint) if !by_certificate => Ok(Some(Confirmation::Key(thumbprint))),
            None if !client.needs_possession() => Ok(None),
            None if certificate.is_some() && !by_proof => Ok(certificate),
            _ if by_certificate => {
                Err(unbound("The client's access tokens are bound to its certificate, and it shows none."))
            }
            _ => Err(unbound("The client's access tokens are bound to a key, and the request proves none.")),
        }
    }

    /// The access token of a request at one of the provider's own resources, with the proof that it may need (RFC 9449
    /// section 7.1, RFC 8705 section 3).
    ///
    /// # Errors
    ///
    /// `invalid_token`, or what is wrong with the proof.
    pub(crate) async fn proven_token(
        &self,
        site: &Site,
        presented: &PresentedToken<'_>,
    ) -> Result<AccessClaims, EndpointError> {
        let access = self.access_token(site, presented.token).await?.ok_or_else(invalid_token)?;
        let request = &presented.request;
        match &access.confirmation {
            None if presented.dpop => Err(invalid_token()),
            None => Ok(access),
            Some(Confirmation::Certificate(thumbprint)) => {
                let shown = request.certificate.map(|found| found.thumbprint());
                if presented.dpop || shown.as_ref() != Some(thumbprint) {
                    return Err(invalid_token());
                }
                Ok(access)
            }
            Some(Confirmation::Key(thumbprint)) => {
                if !presented.dpop {
                    return Err(invalid_token());
                }
                let client = self.repository.client(&site.tenant.id, &access.client_id).await?;
                let client = client.ok_or_else(invalid_token)?;
                let proven = self.proven_key(site, &client, request, Some(presented.token)).await?;
                match proven {
                    None => {
                        let text = "A DPoP proof is missing.";
                        Err(EndpointError::oauth(ErrorCode::InvalidDpopProof, text))
                    }
                    Some(proven) if proven == *thumbprint => Ok(access),
                    Some(_) => Err(invalid_token()),
                }
            }
        }
    }
}

/// A one-time id in a form of fixed length and harmless letters, whatever the client chose.
pub(crate) fn once(id: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, id.as_bytes()))
}

/// Whether an API takes tokens that are bound so, or not at all.
///
/// # Errors
///
/// Where it takes bound ones only, and this is not.
pub(crate) fn check_possession(
    api: &ResourceServer,
    confirmation: Option<&Confirmation>,
) -> Result<(), EndpointError> {
    let Some(wanted) = api.proof_of_possession.filter(|wanted| wanted.required) else { return Ok(()) };
    match (wanted.mechanism, confirmation) {
        (PossessionMechanism::Dpop, Some(Confirmation::Key(_)))
        | (PossessionMechanism::Mtls, Some(Confirmation::Certificate(_))) => Ok(()),
        (PossessionMechanism::Dpop, _) => {
            Err(unbound("The API takes tokens that are bound to a key, and the request has no DPoP proof."))
        }
        (PossessionMechanism::Mtls, _) => {
            Err(unbound("The API takes tokens that are bound to a certificate, and the client shows none."))
        }
    }
}

/// Where something that the request must have is missing: `invalid_dpop_proof` is for proofs that are there (RFC 9449
/// section 5).
fn unbound(text: &str) -> EndpointError {
    EndpointError::oauth(ErrorCode::InvalidRequest, text)
}

#[cfg(test)]
mod tests {
    use base::Random;

    use super::*;

    #[test]
    fn a_nonce_is_known_to_every_node_for_a_while() {
        let keyring = Keyring::generate(&Random::system());
        let (one, other) = (Nonces::new(&keyring), Nonces::new(&keyring));
        let now = UnixMillis::from_secs(1_800_000_000);
        let nonce = one.current(now);
        assert!(other.is_ours(&nonce, now) && other.is_ours(&nonce, now + NONCE_AGE));
        assert!(!other.is_ours(&nonce, now + 3 * NONCE_AGE));
        assert!(!other.is_ours("", now) && !other.is_ours(&nonce[1..], now));
        assert!(!Nonces::new(&Keyring::generate(&Random::system())).is_ours(&nonce, now));
    }
}
