//! jwt-auth: thirteen algorithms, each with the consumer's own key and no other.

use std::sync::OnceLock;

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jose::{Alg, SigningKey};

use super::{
    support::{
        tokens::{key, mint, now},
        unique,
    },
    *,
};

const CHALLENGE: &str = "Bearer realm=\"jwt\"";
const UNVERIFIED: &str = "failed to verify jwt";
const ED25519_PRIVATE: &str = include_str!("../../crates/jose/tests/keys/ed25519_private.pem");
const ED25519_PUBLIC: &str = include_str!("../../crates/jose/tests/keys/ed25519_public.pem");

fn secret() -> String {
    "a secret of more than sixty-four bytes, which is what HS512 asks for, and HS256 takes as well".to_owned()
}

fn hs(alg: Alg) -> SigningKey {
    SigningKey::from_hmac_secret(alg, "k".to_owned(), secret().as_bytes()).unwrap()
}

/// An RSA or EC key with its public half as PEM.
fn pair(alg: Alg) -> (SigningKey, String) {
    static RSA: OnceLock<SigningKey> = OnceLock::new();
    let made = match alg {
        Alg::RS256 | Alg::RS384 | Alg::RS512 | Alg::PS256 | Alg::PS384 | Alg::PS512 => {
            let rsa = RSA.get_or_init(|| key(Alg::RS256, "k"));
            SigningKey::from_pkcs8(alg, "k".to_owned(), &rsa.to_pkcs8().unwrap()).unwrap()
        }
        _ => key(alg, "k"),
    };
    let pem = public_pem(alg, &made);
    (made, pem)
}

/// SubjectPublicKeyInfo of a key, by its JWK (RFC 5480, RFC 8017 appendix A.1.1).
fn public_pem(alg: Alg, key: &SigningKey) -> String {
    let jwk = key.public_jwk();
    let part = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
    let der = |tag: u8, content: &[u8]| {
        let mut out = vec![tag];
        match content.len() {
            length @ 0..=127 => out.push(length as u8),
            length @ 128..=255 => out.extend([0x81, length as u8]),
            length => out.extend([0x82, (length >> 8) as u8, length as u8]),
        }
        out.extend(content);
        out
    };
    let integer = |bytes: Vec<u8>| {
        let padded = if bytes[0] & 0x80 == 0 { bytes } else { [&[0], bytes.as_slice()].concat() };
        der(2, &padded)
    };
    let bits = |content: &[u8]| der(3, &[&[0], content].concat());
    let rsa: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];
    let ec = |curve: &[u8]| [&[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1][..], curve].concat();
    let (algorithm, content) = match alg {
        Alg::ES256 | Alg::ES384 | Alg::ES512 => {
            let curve: &[u8] = match alg {
                Alg::ES256 => &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7],
                Alg::ES384 => &[6, 5, 0x2b, 0x81, 4, 0, 0x22],
                _ => &[6, 5, 0x2b, 0x81, 4, 0, 0x23],
            };
            (ec(curve), [vec![4], part("x"), part("y")].concat())
        }
        _ => (rsa.to_vec(), der(0x30, &[integer(part("n")), integer(part("e"))].concat())),
    };
    let spki = der(0x30, &[der(0x30, &algorithm), bits(&content)].concat());
    let text = base64::engine::general_purpose::STANDARD.encode(spki);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
}

async fn ask(site: &Site, token: &str) -> Response {
    site.gate.send(forged(site, "x").header("Authorization", &format!("Bearer {token}"))).await
}

#[tokio::test]
async fn each_algorithm_is_verified_by_the_consumers_own_key() {
    let site = Site::with_plugins(json!({"jwt-auth": {}})).await;
    for alg in Alg::ALL {
        let name = unique("jack-");
        let (signing, conf) = if alg.is_symmetric() {
            (hs(alg), json!({"key": name, "secret": secret(), "algorithm": alg.as_str()}))
        } else if alg == Alg::EdDSA {
            let signing = SigningKey::from_pem(alg, "k".to_owned(), ED25519_PRIVATE).unwrap();
            (signing, json!({"key": name, "public_key": ED25519_PUBLIC, "algorithm": "EdDSA"}))
        } else {
            let (signing, pem) = pair(alg);
            (signing, json!({"key": name, "public_key": pem, "algorithm": alg.as_str()}))
        };
        consumer(&site.gate, &name, json!({"jwt-auth": conf})).await;
        let token = mint(&signing, &json!({"key": name, "exp": now() + 600}));
        assert_eq!(ask(&site, &token).await.status, 200, "{alg:?}");
        assert_eq!(told(&site)[0], Some(name), "{alg:?}");
    }
}

#[tokio::test]
async fn j04_and_cve_2026_39999_a_token_does_not_choose_its_algorithm() {
    let site = Site::with_plugins(json!({"jwt-auth": {}})).await;
    let (signing, pem) = pair(Alg::RS256);
    let (name, other) = (unique("rsa-"), unique("hmac-"));
    let conf = json!({"key": name, "public_key": pem, "algorithm": "RS256"});
    consumer(&site.gate, &name, json!({"jwt-auth": conf})).await;
    consumer(&site.gate, &other, json!({"jwt-auth": {"key": other, "secret": secret()}})).await;
    let claims = json!({"key": name, "exp": now() + 600}).to_string();
    let forge = |header: &str, secret: &[u8]| {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(&claims));
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes())))
    };
    let hs256 = "{\"alg\":\"HS256\",\"typ\":\"JWT\"}";
    let secrets = [pem.as_str(), pem.trim_end(), &format!("\n{pem}"), &secret(), ""];
    for secret in secrets {
        refused(&site, &ask(&site, &forge(hs256, secret.as_bytes())).await, UNVERIFIED, CHALLENGE);
    }
    // The right key under another algorithm of the same family.
    for alg in [Alg::RS512, Alg::PS256] {
        let signing = SigningKey::from_pkcs8(alg, "k".to_owned(), &signing.to_pkcs8().unwrap()).unwrap();
        let token = mint(&signing, &json!({"key": name, "exp": now() + 600}));
        refused(&site, &ask(&site, &token).await, UNVERIFIED, CHALLENGE);
    }
    for alg in ["none", "None", "RS256 ", "ES256K"] {
        let answer = ask(&site, &forge(&format!("{{\"alg\":\"{alg}\"}}"), b"x")).await;
        assert_eq!((answer.status, site.upstream.received()), (401, String::new()), "{alg}");
    }
    // Another consumer's secret opens that consumer's door only.
    let token = mint(&hs(Alg::HS512), &json!({"key": other, "exp": now() + 600}));
    refused(&site, &ask(&site, &token).await, UNVERIFIED, CHALLENGE);
    let token = mint(&signing, &json!({"key": name, "exp": now() + 600}));
    assert_eq!(ask(&site, &token).await.status, 200);
}

#[tokio::test]
async fn what_is_wrong_with_a_token_is_said_in_apisix_words() {
    let plugins = json!({"jwt-auth": {"claims_to_verify": ["exp"], "realm": "here"}});
    let site = Site::with_plugins(plugins).await;
    let name = unique("jack-");
    let conf = json!({"key": name, "secret": secret(), "lifetime_grace_period": 10});
    consumer(&site.gate, &name, json!({"jwt-auth": conf})).await;
    let key = hs(Alg::HS256);
    let challenge = "Bearer realm=\"here\"";
    let none = site.gate.send(forged(&site, "x")).await;
    refused(&site, &none, "Missing JWT token in request", challenge);
    for odd in ["x", "a.b", "a.b.c", ""] {
        refused(&site, &ask(&site, odd).await, "JWT token invalid", challenge);
    }
    let token = |claims: &Value| mint(&key, claims);
    let (past, future) = (now() - 600, now() + 600);
    for (claims, why) in [
        (json!({"exp": future}), "missing user key in JWT token"),
        (json!({"key": [name], "exp": future}), "missing user key in JWT token"),
        (json!({"key": "nobody", "exp": future}), "Invalid user key in JWT token"),
        (json!({"key": name}), UNVERIFIED),
        (json!({"key": name, "exp": past}), UNVERIFIED),
        (json!({"key": name, "exp": "soon"}), UNVERIFIED),
        (json!({"key": name, "exp": future, "nbf": future}), UNVERIFIED),
    ] {
        refused(&site, &ask(&site, &token(&claims)).await, why, challenge);
    }
    let good = token(&json!({"key": name, "exp": now() - 2, "nbf": now() + 2}));
    let (head, signature) = good.rsplit_once('.').unwrap();
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    let changed = format!("{head}.{first}{}", &signature[1..]);
    refused(&site, &ask(&site, &changed).await, UNVERIFIED, challenge);
    let twice = forged(&site, "x").header("Authorization", &good).header("Authorization", &good);
    refused(&site, &site.gate.send(twice).await, "JWT token invalid", challenge);
    assert_eq!(ask(&site, &good).await.status, 200, "within the grace period");
}

#[tokio::test]
async fn a_token_is_found_in_header_query_and_cookie_and_hidden_in_all_of_them() {
    let plugins = json!({"jwt-auth": {"hide_credentials": true, "key_claim_name": "iss"}});
    let site = Site::with_plugins(plugins).await;
    let name = unique("jack-");
    consumer(&site.gate, &name, json!({"jwt-auth": {"key": name, "secret": secret()}})).await;
    let token = mint(&hs(Alg::HS256), &json!({"iss": name}));
    for request in [
        forged(&site, "x").header("Authorization", &format!("bearer {token}")),
        forged(&site, "x").header("Authorization", &token),
        forged(&site, &format!("x?jwt={token}")),
        forged(&site, "x").header("Cookie", &format!("a=b; jwt={token}")),
    ] {
        assert_eq!(site.gate.send(request).await.status, 200);
        assert_eq!(told(&site)[0].as_ref(), Some(&name));
    }
    assert!(!site.upstream.received().contains(&token));
    assert_eq!(site.upstream.seen().last().unwrap().header("cookie"), Some("a=b"));
}

#[tokio::test]
async fn j16_a_short_secret_of_jwt_auth_is_taken_as_by_apisix_and_named_in_the_log() {
    let gate = std::sync::Arc::new(Portcullis::dev());
    let site = Site::on(gate, json!({"jwt-auth": {}})).await;
    let (name, secret) = (unique("jack-"), "my-secret-canary");
    consumer(&site.gate, &name, json!({"jwt-auth": {"key": name, "secret": secret}})).await;
    let token = |secret: &str| {
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!(
            "{}.{}",
            part(json!({"alg": "HS256", "typ": "JWT"})),
            part(json!({"key": name, "exp": now() + 60}))
        );
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), text.as_bytes());
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    };
    assert_eq!(ask(&site, &token(secret)).await.status, 200);
    assert_eq!(ask(&site, &token("")).await.status, 401);
    let output = site.gate.output();
    assert!(
        output.contains("a jwt-auth secret is shorter than its hash") && output.contains(&name),
        "{output}"
    );
    assert!(!output.contains(secret));
    for empty in ["", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"] {
        let body =
            json!({"username": unique("x"), "plugins": {"jwt-auth": {"key": unique("k"), "secret": empty}}});
        assert_eq!(site.gate.admin().put("consumers", &body).await.status, 400, "{empty}");
    }
}
