use std::fmt;

use aws_lc_rs::{
    encoding::AsDer,
    hmac,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaEncoding, RsaKeyPair},
};
use base::Random;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use crate::{
    Alg, JoseError, VerifyingKey, base64url,
    jwk::{Curve, Jwk},
    key::hmac_key,
    pem,
};

/// Header members that come from the key, or that no token made here has.
const RESERVED: [&str; 3] = ["alg", "crit", "b64"];

/// A private key with its one algorithm and its id.
pub struct SigningKey {
    alg: Alg,
    kid: String,
    pair: Pair,
    public: VerifyingKey,
    /// `kty` and the public members; empty for HMAC.
    public_members: Map<String, Value>,
}

enum Pair {
    Rsa(Box<RsaKeyPair>),
    Ec(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Hmac(Box<hmac::Key>),
}

impl SigningKey {
    /// A new key: RSA with 2048 bits, the algorithm's curve, or a secret of the hash's length. RSA takes a tenth of a
    /// second and more.
    pub fn generate(alg: Alg, kid: String) -> Result<Self, JoseError> {
        let pair = match Family::of(alg) {
            Family::Rsa => {
                Pair::Rsa(Box::new(RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| JoseError::Crypto)?))
            }
            Family::Ec(curve) => {
                Pair::Ec(EcdsaKeyPair::generate(curve.signing()).map_err(|_| JoseError::Crypto)?)
            }
            Family::Ed25519 => Pair::Ed25519(Ed25519KeyPair::generate().map_err(|_| JoseError::Crypto)?),
            Family::Hmac => {
                let mut secret = Zeroizing::new(vec![0; alg.min_secret()]);
                Random::system().fill(&mut secret);
                return Self::from_hmac_secret(alg, kid, &secret);
            }
        };
        Self::new(alg, kid, pair)
    }

    /// Reads a PKCS#8 private key, which must be of the algorithm's kind.
    pub fn from_pkcs8(alg: Alg, kid: String, der: &[u8]) -> Result<Self, JoseError> {
        let pair = match Family::of(alg) {
            Family::Rsa => RsaKeyPair::from_pkcs8(der).map(Box::new).map(Pair::Rsa),
            Family::Ec(curve) => EcdsaKeyPair::from_pkcs8(curve.signing(), der).map(Pair::Ec),
            Family::Ed25519 => Ed25519KeyPair::from_pkcs8(der).map(Pair::Ed25519),
            Family::Hmac => return Err(JoseError::Key("an HMAC secret is no PKCS#8 key")),
        };
        Self::new(alg, kid, pair.map_err(|_| NOT_OF_ITS_KIND)?)
    }

    /// Reads PEM: `PRIVATE KEY` (PKCS#8), `RSA PRIVATE KEY` (PKCS#1) or `EC PRIVATE KEY` (SEC1), unencrypted.
    pub fn from_pem(alg: Alg, kid: String, pem: &str) -> Result<Self, JoseError> {
        let block = pem::first_block(pem, &["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"])?;
        let pair = match (block.label.as_str(), Family::of(alg)) {
            ("PRIVATE KEY", _) => return Self::from_pkcs8(alg, kid, &block.der),
            ("RSA PRIVATE KEY", Family::Rsa) => RsaKeyPair::from_der(&block.der).map(Box::new).map(Pair::Rsa),
            ("EC PRIVATE KEY", Family::Ec(curve)) => {
                EcdsaKeyPair::from_private_key_der(curve.signing(), &block.der).map(Pair::Ec)
            }
            _ => return Err(NOT_OF_ITS_KIND),
        };
        Self::new(alg, kid, pair.map_err(|_| NOT_OF_ITS_KIND)?)
    }

    /// A key for one HMAC, of a secret at least as long as the hash.
    pub fn from_hmac_secret(alg: Alg, kid: String, secret: &[u8]) -> Result<Self, JoseError> {
        let public = VerifyingKey::from_hmac_secret(secret, alg)?;
        Ok(Self::with_public(alg, kid, Pair::Hmac(Box::new(hmac_key(alg, secret)?)), public, Map::new()))
    }

    /// Reads a private JWK that has `alg`, `kid` and every private member of its kind (RFC 7518 section 6, RFC 8037).
    pub fn from_jwk(jwk: &Value) -> Result<Self, JoseError> {
        let jwk = Jwk::new(jwk)?;
        jwk.check_purpose("sig", &["sign"])?;
        let alg: Alg = jwk.text("alg")?.ok_or(JoseError::Key("a private JWK must have alg"))?.parse()?;
        let kid = jwk.kid()?.ok_or(JoseError::Key("a private JWK must have kid"))?;
        let pair = match (jwk.kty()?, Family::of(alg)) {
            ("RSA", Family::Rsa) => Pair::Rsa(Box::new(jwk.rsa_key_pair()?)),
            ("EC", Family::Ec(curve)) if jwk.curve()? == curve => {
                let secret = Zeroizing::new(jwk.bytes("d")?);
                EcdsaKeyPair::from_private_key_and_public_key(curve.signing(), &secret, &jwk.point(curve)?)
                    .map(Pair::Ec)
                    .map_err(|_| NOT_OF_ITS_KIND)?
            }
            ("OKP", Family::Ed25519) if jwk.text("crv")? == Some("Ed25519") => {
                let seed = Zeroizing::new(jwk.bytes("d")?);
                Ed25519KeyPair::from_seed_and_public_key(&seed, &jwk.bytes("x")?)
                    .map(Pair::Ed25519)
                    .map_err(|_| NOT_OF_ITS_KIND)?
            }
            ("oct", Family::Hmac) => {
                return Self::from_hmac_secret(alg, kid, &Zeroizing::new(jwk.bytes("k")?));
            }
            _ => return Err(NOT_OF_ITS_KIND),
        };
        Self::new(alg, kid, pair)
    }

    /// The private key as PKCS#8, for sealed storage. An HMAC key has none.
    pub fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, JoseError> {
        let der = match &self.pair {
            Pair::Rsa(pair) => pair.as_der().map(|der| der.as_ref().to_vec()),
            Pair::Ec(pair) => pair.to_pkcs8v1().map(|der| der.as_ref().to_vec()),
            Pair::Ed25519(pair) => pair.to_pkcs8v1().map(|der| der.as_ref().to_vec()),
            Pair::Hmac(_) => return Err(JoseError::Key("an HMAC secret has no PKCS#8 form")),
        };
        der.map(Zeroizing::new).map_err(|_| JoseError::Crypto)
    }

    /// The algorithm it signs with.
    pub fn alg(&self) -> Alg {
        self.alg
    }

    /// The id that goes into headers and the key set.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public key as a JWK with `use`, `alg` and `kid`; `null` for HMAC, which has nothing to publish.
    pub fn public_jwk(&self) -> Value {
        if self.public_members.is_empty() {
            return Value::Null;
        }
        let mut jwk = self.public_members.clone();
        jwk.insert("use".to_owned(), "sig".into());
        jwk.insert("alg".to_owned(), self.alg.as_str().into());
        jwk.insert("kid".to_owned(), self.kid.as_str().into());
        Value::Object(jwk)
    }

    /// The key that verifies what this one signs, for this algorithm only.
    pub fn verifying_key(&self) -> VerifyingKey {
        self.public.clone()
    }

    /// Signs `payload` into a compact JWS whose header has `alg`, `typ` if given, and `kid`.
    pub fn sign(&self, typ: Option<&str>, payload: &[u8]) -> Result<String, JoseError> {
        let mut header = Map::new();
        header.insert("alg".to_owned(), self.alg.as_str().into());
        if let Some(typ) = typ {
            header.insert("typ".to_owned(), typ.into());
        }
        header.insert("kid".to_owned(), self.kid.as_str().into());
        self.compact(&Value::Object(header), payload)
    }

    /// Signs `payload` with further header members, such as `typ` and `jwk` of a DPoP proof. `alg` is always the key's;
    /// `kid` too, unless `extra` has its own or a null, which leaves it out. `crit` and `b64` are refused.
    pub fn sign_with_header(&self, extra: &Map<String, Value>, payload: &[u8]) -> Result<String, JoseError> {
        if RESERVED.iter().any(|name| extra.contains_key(*name)) {
            return Err(JoseError::Header("alg, crit and b64 cannot be given"));
        }
        let mut header = Map::new();
        header.insert("alg".to_owned(), self.alg.as_str().into());
        header.insert("kid".to_owned(), self.kid.as_str().into());
        for (name, value) in extra {
            header.insert(name.clone(), value.clone());
        }
        if header.get("kid").is_some_and(Value::is_null) {
            header.shift_remove("kid");
        }
        self.compact(&Value::Object(header), payload)
    }

    fn compact(&self, header: &Value, payload: &[u8]) -> Result<String, JoseError> {
        let header = header.to_string();
        // Base64 takes four thirds; the longest signature, of an RSA key with 8192 bits, 1366 characters.
        let mut token = String::with_capacity((header.len() + payload.len()) * 4 / 3 + 512);
        base64url::encode_to(header.as_bytes(), &mut token);
        token.push('.');
        base64url::encode_to(payload, &mut token);
        let signature = self.signature(token.as_bytes())?;
        token.push('.');
        base64url::encode_to(&signature, &mut token);
        Ok(token)
    }

    fn signature(&self, input: &[u8]) -> Result<Vec<u8>, JoseError> {
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(rsa_encoding(self.alg)?, &SystemRandom::new(), input, &mut signature)
                    .map(|()| signature)
                    .map_err(|_| JoseError::Crypto)
            }
            Pair::Ec(pair) => pair
                .sign(&SystemRandom::new(), input)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(|_| JoseError::Crypto),
            Pair::Ed25519(pair) => pair
                .try_sign(input)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(|_| JoseError::Crypto),
            Pair::Hmac(key) => Ok(hmac::sign(key, input).as_ref().to_vec()),
        }
    }

    fn new(alg: Alg, kid: String, pair: Pair) -> Result<Self, JoseError> {
        let (public, members) = match &pair {
            Pair::Rsa(pair) => {
                let key = pair.public_key();
                let n = key.modulus().big_endian_without_leading_zero();
                let e = key.exponent().big_endian_without_leading_zero();
                let members = json!({"kty": "RSA", "n": base64url::encode(n), "e": base64url::encode(e)});
                (VerifyingKey::rsa(n, e, &[alg])?, members)
            }
            Pair::Ec(pair) => {
                let Family::Ec(curve) = Family::of(alg) else { return Err(NOT_OF_ITS_KIND) };
                let point = pair.public_key().as_ref();
                let (x, y) = point
                    .split_first()
                    .and_then(|(_, coordinates)| coordinates.split_at_checked(curve.field_bytes()))
                    .ok_or(JoseError::Crypto)?;
                let (x, y) = (base64url::encode(x), base64url::encode(y));
                let members = json!({"kty": "EC", "crv": curve.name(), "x": x, "y": y});
                (VerifyingKey::ec(curve, point)?, members)
            }
            Pair::Ed25519(pair) => {
                let x = pair.public_key().as_ref();
                let members = json!({"kty": "OKP", "crv": "Ed25519", "x": base64url::encode(x)});
                (VerifyingKey::ed25519(x)?, members)
            }
            Pair::Hmac(_) => return Err(NOT_OF_ITS_KIND),
        };
        let Value::Object(members) = members else { return Err(JoseError::Crypto) };
        Ok(Self::with_public(alg, kid, pair, public, members))
    }

    fn with_public(
        alg: Alg,
        kid: String,
        pair: Pair,
        public: VerifyingKey,
        public_members: Map<String, Value>,
    ) -> Self {
        let public = public.with_kid(&kid);
        Self { alg, kid, pair, public, public_members }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("alg", &self.alg).field("kid", &self.kid).finish_non_exhaustive()
    }
}

const NOT_OF_ITS_KIND: JoseError =
    JoseError::Key("the private key cannot be read, or is not of the algorithm's kind");

enum Family {
    Rsa,
    Ec(Curve),
    Ed25519,
    Hmac,
}

impl Family {
    fn of(alg: Alg) -> Self {
        match alg {
            Alg::RS256 | Alg::RS384 | Alg::RS512 | Alg::PS256 | Alg::PS384 | Alg::PS512 => Self::Rsa,
            Alg::ES256 => Self::Ec(Curve::P256),
            Alg::ES384 => Self::Ec(Curve::P384),
            Alg::ES512 => Self::Ec(Curve::P521),
            Alg::EdDSA => Self::Ed25519,
            Alg::HS256 | Alg::HS384 | Alg::HS512 => Self::Hmac,
        }
    }
}

fn rsa_encoding(alg: Alg) -> Result<&'static dyn RsaEncoding, JoseError> {
    match alg {
        Alg::RS256 => Ok(&signature::RSA_PKCS1_SHA256),
        Alg::RS384 => Ok(&signature::RSA_PKCS1_SHA384),
        Alg::RS512 => Ok(&signature::RSA_PKCS1_SHA512),
        Alg::PS256 => Ok(&signature::RSA_PSS_SHA256),
        Alg::PS384 => Ok(&signature::RSA_PSS_SHA384),
        Alg::PS512 => Ok(&signature::RSA_PSS_SHA512),
        _ => Err(NOT_OF_ITS_KIND),
    }
}
