//! New key pairs that something can be encrypted for.

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{DecryptionKey, KeyAlg, reading::from_pkcs8};
use crate::{Alg, JoseError, SigningKey};

/// A key pair that was just made.
pub struct NewKeyPair {
    /// The private key as PKCS#8, for sealed storage. [`DecryptionKey::from_pkcs8`] reads it.
    pub pkcs8: Zeroizing<Vec<u8>>,
    /// The public key, for publication: with `use` `enc`, and for every algorithm of its kind.
    pub public_jwk: Value,
}

impl DecryptionKey {
    /// A new key pair for `alg` and its like: RSA with 2048 bits, or P-256. RSA takes a tenth of a second and more.
    ///
    /// # Errors
    ///
    /// For algorithms with a shared key.
    pub fn generate(alg: KeyAlg, kid: String) -> Result<NewKeyPair, JoseError> {
        let kind = if KeyAlg::RSA.contains(&alg) {
            Alg::RS256
        } else if KeyAlg::AGREEMENT.contains(&alg) {
            Alg::ES256
        } else {
            return Err(JoseError::Key("a shared key is not half public"));
        };
        // The same numbers; what they may be used for is said by whoever keeps and publishes them.
        let key = SigningKey::generate(kind, kid)?;
        let mut public_jwk = key.public_jwk();
        if let Some(members) = public_jwk.as_object_mut() {
            members.shift_remove("alg");
            members.shift_remove("key_ops");
            members.insert("use".to_owned(), json!("enc"));
        }
        Ok(NewKeyPair { pkcs8: key.to_pkcs8()?, public_jwk })
    }

    /// Reads a PKCS#8 private key. It does all that its kind allows.
    ///
    /// # Errors
    ///
    /// When it is weak, or of a kind that nothing is encrypted for.
    pub fn from_pkcs8(kid: String, der: &[u8]) -> Result<Self, JoseError> {
        from_pkcs8(kid, der)
    }
}

#[cfg(test)]
mod tests {
    use base::Random;

    use super::*;
    use crate::jwe::{Enc, EncryptionKey, decrypt};

    #[test]
    fn what_is_encrypted_for_a_new_pair_it_decrypts() {
        for (made_for, algs) in
            [(KeyAlg::RsaOaep256, &KeyAlg::RSA[..]), (KeyAlg::EcdhEs, &KeyAlg::AGREEMENT[..])]
        {
            let pair = DecryptionKey::generate(made_for, "k1".to_owned()).unwrap();
            assert_eq!((&pair.public_jwk["use"], &pair.public_jwk["kid"]), (&json!("enc"), &json!("k1")));
            assert!(pair.public_jwk.get("alg").is_none() && pair.public_jwk.get("d").is_none());
            let public = EncryptionKey::from_public_jwk(&pair.public_jwk).unwrap();
            let private = DecryptionKey::from_pkcs8("k1".to_owned(), &pair.pkcs8).unwrap();
            assert_eq!((private.kid(), private.algs()), (Some("k1"), algs));
            for &alg in algs {
                let token = public.encrypt(&Random::system(), alg, Enc::A256Gcm, None, b"hello").unwrap();
                assert_eq!(decrypt(&token, &private, &[alg], &[Enc::A256Gcm]).unwrap(), b"hello");
            }
            // It verifies nothing.
            assert!(crate::VerifyingKey::from_public_jwk(&pair.public_jwk).is_err());
        }
        assert!(DecryptionKey::generate(KeyAlg::Dir, String::new()).is_err());
        assert!(DecryptionKey::from_pkcs8(String::new(), b"none").is_err());
    }
}
