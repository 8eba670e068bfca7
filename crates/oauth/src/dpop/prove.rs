use aws_lc_rs::digest;
use base::UnixMillis;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jose::{JoseError, SigningKey, thumbprint};
use serde_json::{Map, Value};

/// Members of a public JWK that are the key itself (RFC 7638 section 3.2).
const KEY_MEMBERS: [&str; 6] = ["kty", "crv", "x", "y", "n", "e"];

/// A client's key for proofs, with its public half as proofs carry it.
#[derive(Debug)]
pub struct ProofKey {
    key: SigningKey,
    jwk: Value,
    thumbprint: String,
}

/// What one proof is for.
#[derive(Clone, Copy, Debug)]
pub struct Proof<'a> {
    /// The method of the request.
    pub method: &'a str,
    /// Its URL; query and fragment are left out of the proof.
    pub url: &'a str,
    /// Never the same twice.
    pub jti: &'a str,
    /// When it is made.
    pub at: UnixMillis,
    /// The access token that goes with the request (`ath`); none at the token endpoint.
    pub access_token: Option<&'a str>,
    /// What the server asked for last (section 8).
    pub nonce: Option<&'a str>,
}

impl ProofKey {
    /// Makes proofs with `key`.
    ///
    /// # Errors
    ///
    /// For a symmetric key, which proves nothing to others.
    pub fn new(key: SigningKey) -> Result<Self, JoseError> {
        let Value::Object(published) = key.public_jwk() else {
            return Err(JoseError::Key("a proof needs a key with a public half"));
        };
        let members: Map<String, Value> =
            published.into_iter().filter(|(name, _)| KEY_MEMBERS.contains(&name.as_str())).collect();
        let jwk = Value::Object(members);
        let thumbprint = thumbprint(&jwk)?;
        Ok(Self { key, jwk, thumbprint })
    }

    /// The public key alone: no id, no purpose.
    pub fn jwk(&self) -> &Value {
        &self.jwk
    }

    /// `dpop_jkt` of an authorization request (section 10), and what a bound token names in `cnf.jkt`.
    pub fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    /// The value of a request's `DPoP` header (section 4.2).
    ///
    /// # Errors
    ///
    /// When the cryptographic library fails.
    pub fn prove(&self, proof: &Proof<'_>) -> Result<String, JoseError> {
        let url = proof.url.split(['?', '#']).next().unwrap_or_default();
        let digest = |token: &str| URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, token.as_bytes()));
        let mut claims = Map::new();
        claims.insert("jti".to_owned(), proof.jti.into());
        claims.insert("htm".to_owned(), proof.method.into());
        claims.insert("htu".to_owned(), url.into());
        claims.insert("iat".to_owned(), proof.at.secs().into());
        claims.extend(proof.access_token.map(|token| ("ath".to_owned(), digest(token).into())));
        claims.extend(proof.nonce.map(|nonce| ("nonce".to_owned(), nonce.into())));
        let claims = Value::Object(claims);
        let mut header = Map::new();
        header.insert("typ".to_owned(), "dpop+jwt".into());
        header.insert("jwk".to_owned(), self.jwk.clone());
        header.insert("kid".to_owned(), Value::Null);
        self.key.sign_with_header(&header, claims.to_string().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use jose::{Alg, CompactJws};
    use serde_json::json;

    use super::*;

    fn part(token: &str, at: usize) -> Value {
        let part = URL_SAFE_NO_PAD.decode(token.split('.').nth(at).unwrap()).unwrap();
        serde_json::from_slice(&part).unwrap()
    }

    #[test]
    fn a_proof_is_as_rfc_9449_section_4_2_wants_it() {
        let key = ProofKey::new(SigningKey::generate(Alg::ES256, "k".to_owned()).unwrap()).unwrap();
        let proof = Proof {
            method: "GET",
            url: "https://op/userinfo?a=b#c",
            jti: "j",
            at: UnixMillis::from_secs(1000),
            access_token: Some("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"),
            nonce: Some("n"),
        };
        let token = key.prove(&proof).unwrap();
        assert_eq!(part(&token, 0), json!({"alg": "ES256", "typ": "dpop+jwt", "jwk": key.jwk()}));
        assert_eq!(key.jwk().as_object().unwrap().len(), 4, "the key and nothing beside it");
        // The digest is that of RFC 9449 figure 12 for this token.
        assert_eq!(
            part(&token, 1),
            json!({"jti": "j", "htm": "GET", "htu": "https://op/userinfo", "iat": 1000, "nonce": "n",
                   "ath": "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"})
        );
        let verifying = jose::VerifyingKey::from_public_jwk(key.jwk()).unwrap();
        assert!(CompactJws::parse(&token).unwrap().verify(&verifying).is_ok());
        assert_eq!(key.thumbprint(), thumbprint(key.jwk()).unwrap());
    }

    #[test]
    fn a_secret_makes_no_proofs() {
        let secret = SigningKey::generate(Alg::HS256, "k".to_owned()).unwrap();
        assert!(ProofKey::new(secret).is_err());
    }
}
