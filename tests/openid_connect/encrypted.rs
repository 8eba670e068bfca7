//! ID tokens that are encrypted for the route's own key, and what passes for one: rows J43 to J46.

use aws_lc_rs::{
    aead::{self, Aad, LessSafeKey, Nonce, UnboundKey},
    agreement::{self, PrivateKey, UnparsedPublicKey},
    digest,
    encoding::{AsBigEndian, Curve25519SeedBin, EcPrivateKeyBin},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jose::Alg;
use serde_json::{Value, json};

use super::{CLIENT, decoded, login};
use crate::support::{Browser, Provider, shared, tokens, unique};

/// What stands before the 32 bytes of an X25519 key in PKCS#8 (RFC 8410 section 7).
const X25519_PKCS8: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x6e, 0x04, 0x22, 0x04, 0x20];

/// Whom tokens are encrypted for.
pub(super) struct Recipient {
    curve: &'static str,
    kid: String,
    private: PrivateKey,
    pkcs8: Vec<u8>,
}

/// What the provider knows of it.
#[derive(Clone)]
pub(super) struct Public {
    curve: &'static str,
    kid: String,
    point: Vec<u8>,
}

fn algorithm(curve: &str) -> &'static agreement::Algorithm {
    match curve {
        "P-256" => &agreement::ECDH_P256,
        "P-384" => &agreement::ECDH_P384,
        "P-521" => &agreement::ECDH_P521,
        _ => &agreement::X25519,
    }
}

impl Recipient {
    pub(super) fn p256() -> Self {
        Self::ec("P-256", Alg::ES256)
    }

    fn ec(curve: &'static str, alg: Alg) -> Self {
        let pkcs8 = tokens::key(alg, "x").to_pkcs8().unwrap().to_vec();
        let private = PrivateKey::from_private_key_der(algorithm(curve), &pkcs8).unwrap();
        Self { curve, kid: unique("enc-"), private, pkcs8 }
    }

    fn x25519() -> Self {
        let private = PrivateKey::generate(&agreement::X25519).unwrap();
        let seed = AsBigEndian::<Curve25519SeedBin<'_>>::as_be_bytes(&private).unwrap();
        let pkcs8 = [&X25519_PKCS8, seed.as_ref()].concat();
        Self { curve: "X25519", kid: unique("enc-"), private, pkcs8 }
    }

    pub(super) fn public(&self) -> Public {
        let point = self.private.compute_public_key().unwrap().as_ref().to_vec();
        Public { curve: self.curve, kid: self.kid.clone(), point }
    }

    /// The private key as a JWK.
    fn private_jwk(&self) -> Value {
        let mut jwk = self.public().jwk();
        let d = match self.curve {
            "X25519" => {
                AsBigEndian::<Curve25519SeedBin<'_>>::as_be_bytes(&self.private).unwrap().as_ref().to_vec()
            }
            _ => AsBigEndian::<EcPrivateKeyBin<'_>>::as_be_bytes(&self.private).unwrap().as_ref().to_vec(),
        };
        jwk["d"] = json!(b64(d));
        jwk["kid"] = json!(self.kid);
        jwk["use"] = json!("enc");
        jwk
    }

    /// The same as text.
    pub(super) fn jwk(&self) -> String {
        self.private_jwk().to_string()
    }

    /// The private key as PEM.
    fn pem(&self) -> String {
        format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(&self.pkcs8))
    }
}

impl Public {
    fn jwk(&self) -> Value {
        match self.curve {
            "X25519" => json!({"kty": "OKP", "crv": "X25519", "x": b64(&self.point)}),
            curve => {
                let (x, y) = self.point[1..].split_at(self.point.len() / 2);
                json!({"kty": "EC", "crv": curve, "x": b64(x), "y": b64(y)})
            }
        }
    }
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A compact JWE by ECDH-ES, directly, and AES-256 in GCM. Members of `further` go into the header, over what stands there.
pub(super) fn seal(to: &Public, further: Value, plain: &[u8]) -> String {
    let ephemeral = PrivateKey::generate(algorithm(to.curve)).unwrap();
    let peer = UnparsedPublicKey::new(algorithm(to.curve), &to.point);
    let agreed = |shared: &[u8]| Ok(concat_kdf(shared));
    let key: [u8; 32] = agreement::agree(&ephemeral, peer, "no agreement", agreed).unwrap();
    let own = ephemeral.compute_public_key().unwrap().as_ref().to_vec();
    let epk = Public { curve: to.curve, kid: String::new(), point: own }.jwk();
    let mut header = json!({"alg": "ECDH-ES", "enc": "A256GCM", "cty": "JWT", "kid": to.kid, "epk": epk});
    header.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
    header.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    seal_with(&header, &[], &key, plain)
}

/// A compact JWE under this header, encrypted key and content key.
fn seal_with(header: &Value, encrypted_key: &[u8], key: &[u8; 32], plain: &[u8]) -> String {
    let protected = b64(header.to_string());
    let key = LessSafeKey::new(UnboundKey::new(&aead::AES_256_GCM, key).unwrap());
    let mut text = plain.to_vec();
    let nonce = Nonce::assume_unique_for_key([9; 12]);
    let tag = key.seal_in_place_separate_tag(nonce, Aad::from(protected.as_bytes()), &mut text).unwrap();
    format!("{protected}.{}.{}.{}.{}", b64(encrypted_key), b64([9; 12]), b64(text), b64(tag))
}

/// The key that ECDH-ES gives A256GCM for a shared secret (RFC 7518 section 4.6.2): one round.
fn concat_kdf(shared: &[u8]) -> [u8; 32] {
    let info = [&[0, 0, 0, 7][..], b"A256GCM", &[0; 8], &[0, 0, 1, 0]].concat();
    let input = [&[0, 0, 0, 1][..], shared, &info].concat();
    digest::digest(&digest::SHA256, &input).as_ref().try_into().unwrap()
}

#[tokio::test]
async fn a_key_is_taken_in_every_form_that_people_write_it_in() {
    let (p256, p384, p521, x25519) = (
        Recipient::p256(),
        Recipient::ec("P-384", Alg::ES384),
        Recipient::ec("P-521", Alg::ES512),
        Recipient::x25519(),
    );
    let set = json!({"keys": [p256.private_jwk(), x25519.private_jwk()]}).to_string();
    let several = format!("{}{}", p384.pem(), x25519.pem());
    let without_kid = |recipient: &Recipient| {
        let mut public = recipient.public();
        public.kid.clear();
        public
    };
    for (what, written, to) in [
        ("P-256 as PEM", p256.pem(), without_kid(&p256)),
        ("P-256 as JWK", p256.jwk(), p256.public()),
        ("P-384 as JWK", p384.jwk(), p384.public()),
        ("P-521 as PEM", p521.pem(), without_kid(&p521)),
        ("X25519 as PEM", x25519.pem(), without_kid(&x25519)),
        ("X25519 as JWK", x25519.jwk(), x25519.public()),
        ("the first of a set", set.clone(), p256.public()),
        ("the second of a set", set, x25519.public()),
        ("the first of two PEM blocks", several.clone(), without_kid(&p384)),
        ("the second of two PEM blocks", several, without_kid(&x25519)),
    ] {
        let provider = Provider::start(CLIENT);
        let site = login::site(shared(), &provider, json!({"id_token_decryption_key": written})).await;
        let sign = provider.signer();
        let further = if to.kid.is_empty() { json!({"kid": null}) } else { json!({}) };
        provider.make_id_tokens(move |claims| seal(&to, further.clone(), sign(&claims).as_bytes()));
        let mut browser = Browser::new();
        let page = browser.open(&site.url("first")).await;
        assert_eq!(page.status(), 200, "{what}: {page:?}");
        assert_eq!(decoded(&site.last(), "x-id-token")["sub"], "user-1", "{what}");
        provider.make_good_id_tokens();
        let mut browser = Browser::new();
        let page = browser.open(&site.url("first")).await;
        assert_eq!((page.status(), browser.cookie("session")), (502, None), "{what}: in the clear: {page:?}");
        assert_eq!(site.reached(), 1, "{what}");
    }
}

#[tokio::test]
async fn j43_j44_j45_j46_an_encrypted_token_that_is_a_trap_costs_nothing_and_tells_nothing() {
    let provider = Provider::start(CLIENT);
    let (p256, x25519) = (Recipient::p256(), Recipient::x25519());
    let rsa = tokens::key(Alg::RS256, "rsa");
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        STANDARD.encode(rsa.to_pkcs8().unwrap().as_slice())
    );
    let keys = format!("{}{}{pem}", p256.pem(), x25519.pem());
    let site = login::site(shared(), &provider, json!({"id_token_decryption_key": keys})).await;
    let header = |alg: &str, further: Value| {
        let mut header = json!({"alg": alg, "enc": "A256GCM", "cty": "JWT"});
        header.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
        header
    };
    let nothing_shared = concat_kdf(&[0; 32]);
    let ecdh = |epk: Value| (header("ECDH-ES", json!({"epk": epk})), Vec::new(), nothing_shared);
    let ec = |x: &[u8], y: &[u8]| json!({"kty": "EC", "crv": "P-256", "x": b64(x), "y": b64(y)});
    let own = p256.public().point;
    let mut one = [0; 32];
    one[0] = 1;
    let okp = |x: [u8; 32]| json!({"kty": "OKP", "crv": "X25519", "x": b64(x)});
    let traps = [
        (
            "j43: a bomb",
            (header("ECDH-ES", json!({"zip": "DEF", "epk": p256.public().jwk()})), vec![], [1; 32]),
        ),
        ("j44: endless work", {
            let count = json!({"p2s": "AAAAAAAAAAA", "p2c": 2_147_483_647});
            (header("PBES2-HS256+A128KW", count), vec![0; 40], [1; 32])
        }),
        ("j45: RSA1_5", (header("RSA1_5", json!({})), vec![7; 256], [1; 32])),
        ("j45: OAEP that does not open", (header("RSA-OAEP", json!({})), vec![7; 256], [1; 32])),
        ("j45: OAEP of another length", (header("RSA-OAEP-256", json!({})), vec![7; 255], [1; 32])),
        ("j46: the point at zero", ecdh(ec(&[0; 32], &[0; 32]))),
        ("j46: a point off the curve", ecdh(ec(&own[33..], &own[1..33]))),
        (
            "j46: another curve",
            ecdh(json!({"kty": "EC", "crv": "P-384", "x": b64([1; 48]), "y": b64([1; 48])})),
        ),
        ("j46: X25519, zero", ecdh(okp([0; 32]))),
        ("j46: X25519, order one", ecdh(okp(one))),
        ("j46: no point", (header("ECDH-ES", json!({})), vec![], nothing_shared)),
        ("j46: a text", ecdh(json!("EC"))),
        ("the shared key of nobody", (header("dir", json!({})), vec![], [1; 32])),
    ];
    let mut pages = std::collections::BTreeSet::new();
    for (what, (header, encrypted_key, key)) in traps {
        let sign = provider.signer();
        provider
            .make_id_tokens(move |claims| seal_with(&header, &encrypted_key, &key, sign(&claims).as_bytes()));
        let begun = std::time::Instant::now();
        let mut browser = Browser::new();
        let page = browser.open(&site.url("first")).await;
        assert_eq!((page.status(), browser.cookie("session")), (502, None), "{what}: {page:?}");
        assert!(begun.elapsed() < std::time::Duration::from_secs(5), "{what}: {:?}", begun.elapsed());
        pages.insert(page.response.text());
    }
    assert_eq!(pages.len(), 1, "one page for all: {pages:?}");
    assert_eq!(site.reached(), 0);
    let (sign, to) = (provider.signer(), p256.public());
    provider.make_id_tokens(move |claims| seal(&to, json!({"kid": null}), sign(&claims).as_bytes()));
    site.logged_in().await;
    let (to, stranger) = (p256.public(), tokens::key(Alg::ES256, "key-1"));
    provider.make_id_tokens(move |claims| {
        seal(&to, json!({"kid": null}), tokens::mint(&stranger, &claims).as_bytes())
    });
    super::relying::expect_no_login(&site, "well encrypted, and signed by nobody", 502).await;
}
