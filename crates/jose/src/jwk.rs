use aws_lc_rs::{
    agreement, digest,
    rsa::{KeyPairComponents, PublicKeyComponents},
    signature::{self, RsaKeyPair},
};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::{Alg, JoseError, alg::ES256K_REFUSED, base64url, rsa};

/// Members that only a private RSA, EC or OKP key has (RFC 7518 sections 6.2.2 and 6.3.2).
const PRIVATE_MEMBERS: [&str; 7] = ["d", "p", "q", "dp", "dq", "qi", "oth"];

/// A JWK's members, read strictly.
#[derive(Clone, Copy)]
pub(crate) struct Jwk<'a>(&'a Map<String, Value>);

impl<'a> Jwk<'a> {
    pub(crate) fn new(value: &'a Value) -> Result<Self, JoseError> {
        value.as_object().map(Self).ok_or(JoseError::Key("a JWK is a JSON object"))
    }

    /// The members of a JWE header, which are read by the same rules.
    pub(crate) fn of_members(members: &'a Map<String, Value>) -> Self {
        Self(members)
    }

    /// A member that must be a string if it is there.
    pub(crate) fn text(self, name: &'static str) -> Result<Option<&'a str>, JoseError> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(JoseError::Key("a member of the JWK is not a string")),
        }
    }

    /// A member of base64url that must be there and not empty.
    pub(crate) fn bytes(self, name: &'static str) -> Result<Vec<u8>, JoseError> {
        let text = self.text(name)?.ok_or(JoseError::Key("a member of the JWK is missing"))?;
        match base64url::decode(text) {
            Some(bytes) if !bytes.is_empty() => Ok(bytes),
            _ => Err(JoseError::Key("a member of the JWK is not base64url, or empty")),
        }
    }

    pub(crate) fn kty(self) -> Result<&'a str, JoseError> {
        self.text("kty")?.ok_or(JoseError::Key("the JWK has no kty"))
    }

    pub(crate) fn kid(self) -> Result<Option<String>, JoseError> {
        Ok(self.text("kid")?.map(ToOwned::to_owned))
    }

    pub(crate) fn has_private_members(self) -> bool {
        PRIVATE_MEMBERS.iter().any(|name| self.0.contains_key(*name))
    }

    /// Checks `use` and `key_ops` (RFC 7517 sections 4.2 and 4.3): absent, or in favour of what the key is made for.
    pub(crate) fn check_purpose(self, used: &str, operations: &[&str]) -> Result<(), JoseError> {
        if self.text("use")?.is_some_and(|actual| actual != used) {
            return Err(JoseError::Key("the JWK's use is another one"));
        }
        let Some(listed) = self.0.get("key_ops") else { return Ok(()) };
        let listed = listed.as_array().ok_or(JoseError::Key("the JWK's key_ops is not an array"))?;
        if listed.iter().any(|item| !item.is_string()) {
            return Err(JoseError::Key("the JWK's key_ops has a value that is not a string"));
        }
        let allowed = listed.iter().filter_map(Value::as_str).any(|item| operations.contains(&item));
        if allowed { Ok(()) } else { Err(JoseError::Key("the JWK's key_ops leaves this operation out")) }
    }

    /// The signature algorithms of a key that could do `possible`: all of them, or the one that `alg` pins.
    pub(crate) fn algs(self, possible: &[Alg]) -> Result<Vec<Alg>, JoseError> {
        let Some(name) = self.text("alg")? else { return Ok(possible.to_vec()) };
        match name.parse() {
            Ok(alg) if possible.contains(&alg) => Ok(vec![alg]),
            Ok(_) => Err(JoseError::Key("the JWK's alg does not go with its kty or crv")),
            Err(_) => Err(JoseError::Key("the JWK's alg is no signature algorithm that is supported")),
        }
    }

    pub(crate) fn curve(self) -> Result<Curve, JoseError> {
        match self.text("crv")? {
            Some("P-256") => Ok(Curve::P256),
            Some("P-384") => Ok(Curve::P384),
            Some("P-521") => Ok(Curve::P521),
            Some("secp256k1") => Err(ES256K_REFUSED),
            _ => Err(JoseError::Key("an EC key's crv must be P-256, P-384 or P-521")),
        }
    }

    /// The uncompressed point of `x` and `y`, which must have the field's full length (RFC 7518 section 6.2.1.2).
    pub(crate) fn point(self, curve: Curve) -> Result<Vec<u8>, JoseError> {
        let (x, y) = (self.bytes("x")?, self.bytes("y")?);
        if x.len() != curve.field_bytes() || y.len() != curve.field_bytes() {
            return Err(JoseError::Key("a coordinate has not the length of its curve"));
        }
        Ok([&[4], x.as_slice(), y.as_slice()].concat())
    }
}

impl Jwk<'_> {
    /// The RSA key pair of a private JWK, which must have every number of RFC 7518 section 6.3.2 but `oth`.
    pub(crate) fn rsa_key_pair(self) -> Result<RsaKeyPair, JoseError> {
        let (n, e) = (self.bytes("n")?, self.bytes("e")?);
        rsa::check_public(&n, &e)?;
        let secret = |name| self.bytes(name).map(Zeroizing::new);
        let components = KeyPairComponents {
            public_key: PublicKeyComponents { n, e },
            d: secret("d")?,
            p: secret("p")?,
            q: secret("q")?,
            dP: secret("dp")?,
            dQ: secret("dq")?,
            qInv: secret("qi")?,
        };
        RsaKeyPair::from_components(&components)
            .map_err(|_| JoseError::Key("the RSA numbers make no key pair"))
    }
}

/// A curve of RFC 7518 section 6.2.1.1. secp256k1 is not among them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    pub(crate) const ALL: [Self; 3] = [Self::P256, Self::P384, Self::P521];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
        }
    }

    /// Its object identifier (RFC 5480 section 2.1.1.1).
    pub(crate) const fn oid(self) -> &'static str {
        match self {
            Self::P256 => "1.2.840.10045.3.1.7",
            Self::P384 => "1.3.132.0.34",
            Self::P521 => "1.3.132.0.35",
        }
    }

    pub(crate) const fn field_bytes(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    /// The one signature algorithm that goes with the curve (RFC 7518 section 3.4).
    pub(crate) const fn alg(self) -> Alg {
        match self {
            Self::P256 => Alg::ES256,
            Self::P384 => Alg::ES384,
            Self::P521 => Alg::ES512,
        }
    }

    pub(crate) fn verification(self) -> &'static signature::EcdsaVerificationAlgorithm {
        match self {
            Self::P256 => &signature::ECDSA_P256_SHA256_FIXED,
            Self::P384 => &signature::ECDSA_P384_SHA384_FIXED,
            Self::P521 => &signature::ECDSA_P521_SHA512_FIXED,
        }
    }

    pub(crate) fn signing(self) -> &'static signature::EcdsaSigningAlgorithm {
        match self {
            Self::P256 => &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
            Self::P384 => &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
            Self::P521 => &signature::ECDSA_P521_SHA512_FIXED_SIGNING,
        }
    }

    pub(crate) fn agreement(self) -> &'static agreement::Algorithm {
        match self {
            Self::P256 => &agreement::ECDH_P256,
            Self::P384 => &agreement::ECDH_P384,
            Self::P521 => &agreement::ECDH_P521,
        }
    }
}

/// The JWK's thumbprint (RFC 7638, RFC 8037 section 2): SHA-256 over its required members, in base64url. The members
/// are taken as they are; whether they make a key is [`crate::VerifyingKey::from_jwk`]'s to say.
pub fn thumbprint(jwk: &Value) -> Result<String, JoseError> {
    let jwk = Jwk::new(jwk)?;
    let names: &[&'static str] = match jwk.kty()? {
        "RSA" => &["e", "kty", "n"],
        "EC" => &["crv", "kty", "x", "y"],
        "OKP" => &["crv", "kty", "x"],
        "oct" => &["k", "kty"],
        _ => return Err(JoseError::Key("the JWK's kty is not supported")),
    };
    let mut members = Map::new();
    for &name in names {
        let text = jwk.text(name)?.ok_or(JoseError::Key("a member of the JWK is missing"))?;
        members.insert(name.to_owned(), Value::from(text));
    }
    // serde_json writes no white space, and keeps the lexicographic order in which the names stand above.
    let json = Value::Object(members).to_string();
    Ok(base64url::encode(digest::digest(&digest::SHA256, json.as_bytes())))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_thumbprints_of_rfc_7638_and_rfc_8037_come_out() {
        let rsa = json!({
            "kty": "RSA",
            "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
            "e": "AQAB",
            "alg": "RS256",
            "kid": "2011-04-29"
        });
        assert_eq!(thumbprint(&rsa).unwrap(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
        let okp = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
        assert_eq!(thumbprint(&okp).unwrap(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        assert!(thumbprint(&json!({"kty": "RSA", "n": "AQAB"})).is_err());
    }
}
