use std::time::Duration;

use base::UnixMillis;
use jose::{JoseError, SigningKey};
use serde_json::{Map, Value, json};

/// What a client says of itself in place of showing a secret (RFC 7523 section 3, OIDC Core 9).
#[derive(Clone, Copy, Debug)]
pub struct ClientAssertion<'a> {
    /// Issuer and subject.
    pub client_id: &'a str,
    /// Whom it is for: the endpoint's URL, or what the server asks for in its place.
    pub audience: &'a str,
    /// Never the same twice: servers take each once.
    pub jti: &'a str,
    /// When it is made.
    pub at: UnixMillis,
    /// How long it counts.
    pub lifetime: Duration,
}

impl ClientAssertion<'_> {
    /// `client_assertion_type` of a request that carries one.
    pub const TYPE: &'static str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

    /// Signs it. `kid` goes into the header where the key has an id.
    ///
    /// # Errors
    ///
    /// When the cryptographic library fails.
    pub fn sign(&self, key: &SigningKey) -> Result<String, JoseError> {
        let now = self.at.secs();
        let lifetime = i64::try_from(self.lifetime.as_secs()).unwrap_or(i64::MAX);
        let claims = json!({
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": self.audience,
            "jti": self.jti,
            "iat": now,
            "exp": now.saturating_add(lifetime),
        });
        let mut header = Map::new();
        header.insert("typ".to_owned(), "JWT".into());
        if key.kid().is_empty() {
            header.insert("kid".to_owned(), Value::Null);
        }
        key.sign_with_header(&header, claims.to_string().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use jose::{Alg, CompactJws};

    use super::*;

    #[test]
    fn an_assertion_has_the_claims_of_rfc_7523_and_a_kid_only_where_there_is_one() {
        for kid in ["", "k-1"] {
            let key = SigningKey::generate(Alg::ES256, kid.to_owned()).unwrap();
            let assertion = ClientAssertion {
                client_id: "c",
                audience: "https://op/token",
                jti: "j",
                at: UnixMillis::from_secs(1000),
                lifetime: Duration::from_secs(60),
            };
            let token = assertion.sign(&key).unwrap();
            let jws = CompactJws::parse(&token).unwrap();
            let claims: Value = serde_json::from_slice(&jws.verify(&key.verifying_key()).unwrap()).unwrap();
            assert_eq!(
                claims,
                json!({"iss": "c", "sub": "c", "aud": "https://op/token", "jti": "j", "iat": 1000, "exp": 1060})
            );
            assert_eq!(jws.header().kid.as_deref().unwrap_or_default(), kid);
        }
    }
}
