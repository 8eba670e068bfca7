//! What a client presents: a token, and the proof that it is the client's own. And the encrypted ID token that the
//! provider presents.

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jose::{Alg, thumbprint};

use super::{
    super::encrypted::{Recipient, seal},
    *,
};

#[tokio::test]
async fn j25_a_token_that_was_altered_opens_nothing() {
    let gate = Arc::new(Portcullis::dev());
    let provider = Provider::start(CLIENT);
    let site = guarded(Arc::clone(&gate), &provider, tokens_only(json!({}))).await;
    let good = provider.access_token(&json!({"exp": tokens::now() + 100_000}));
    let (mut fuzz, mut line) = (Fuzz::new("token", 1500), Line::to(gate.port(9080)).await);
    assert_eq!(site.with_token(&good).await.status, 200);
    let before = gate.resident();
    while fuzz.goes_on() {
        let mutated = fuzz.mutate_header(&good);
        if mutated.trim() == good {
            continue;
        }
        let answer = line.send(&Request::get(&site.target("api")).bearer(&mutated)).await;
        assert!(matches!(answer.status, 400 | 401 | 431), "{mutated}: {answer:?}");
    }
    assert_eq!(site.reached(), 1);
    fuzz.finish(&gate, before);
}

#[tokio::test]
async fn j54_a_proof_that_was_altered_proves_nothing() {
    let gate = Arc::new(Portcullis::dev());
    let provider = Provider::start(CLIENT);
    let site = guarded(Arc::clone(&gate), &provider, tokens_only(json!({}))).await;
    let key = tokens::key(Alg::ES256, "proof");
    let public = key.public_jwk();
    let jwk = json!({"kty": "EC", "crv": "P-256", "x": public["x"], "y": public["y"]});
    let token = provider
        .access_token(&json!({"exp": tokens::now() + 100_000, "cnf": {"jkt": thumbprint(&jwk).unwrap()}}));
    let proof = |fuzz: &Fuzz| {
        let header = json!({"typ": "dpop+jwt", "jwk": jwk});
        let claims = json!({
            "jti": unique("jti-"), "htm": "GET", "htu": format!("http://localhost{}", site.target("api")),
            "iat": tokens::now(), "ath": URL_SAFE_NO_PAD.encode(digest(&SHA256, token.as_bytes())),
        });
        let good = key.sign_with_header(header.as_object().unwrap(), claims.to_string().as_bytes()).unwrap();
        // Half of them are altered inside and signed for all that: claims that nobody should believe.
        if fuzz.pick(2) == 0 {
            let mutated = fuzz.mutate_header(&good);
            return (mutated.trim() != good).then_some(mutated);
        }
        let mutated = fuzz.mutate(claims.to_string().as_bytes());
        // Some alterations leave a good proof: another `jti`, a moment nearby, another spelling of the address.
        let still_good = serde_json::from_slice::<Value>(&mutated).is_ok_and(|read| {
            let address = |htu: &Value| {
                let mut url = url::Url::parse(htu.as_str()?).ok()?;
                url.set_query(None);
                url.set_fragment(None);
                Some(url)
            };
            let near = read["iat"].as_f64().is_some_and(|iat| (iat - tokens::now() as f64).abs() < 300.0);
            near && address(&read["htu"]) == address(&claims["htu"])
                && ["htm", "ath"].iter().all(|name| read[name] == claims[name])
                && read["jti"].is_string()
        });
        (!still_good).then(|| key.sign_with_header(header.as_object().unwrap(), &mutated).unwrap())
    };
    let (mut fuzz, mut line) = (Fuzz::new("dpop", 1000), Line::to(gate.port(9080)).await);
    let before = gate.resident();
    while fuzz.goes_on() {
        let Some(proof) = proof(&fuzz) else { continue };
        let request = Request::get(&site.target("api")).header("Authorization", &format!("DPoP {token}"));
        let answer = line.send(&request.header("DPoP", &proof)).await;
        assert!(matches!(answer.status, 400 | 401 | 431), "{proof}: {answer:?}");
    }
    assert_eq!(site.reached(), 0);
    fuzz.finish(&gate, before);
}

#[tokio::test]
async fn j46_an_encrypted_id_token_that_was_altered_makes_no_session() {
    let gate = Arc::new(Portcullis::dev());
    let provider = Provider::start(CLIENT);
    let recipient = Recipient::p256();
    let site =
        login::site(Arc::clone(&gate), &provider, json!({"id_token_decryption_key": recipient.jwk()})).await;
    let sign = Arc::new(provider.signer());
    let public = recipient.public();
    let (signer, to) = (Arc::clone(&sign), public.clone());
    provider.make_id_tokens(move |claims| seal(&to, json!({}), signer(&claims).as_bytes()));
    site.logged_in().await;
    let mut fuzz = Fuzz::new("jwe", 120);
    let before = gate.resident();
    while fuzz.goes_on() {
        // What is altered is one letter or more of the token that is good for this login.
        let altered = fuzz.mutate_header(&"x".repeat(600));
        let cut = fuzz.pick(600);
        let (signer, to) = (Arc::clone(&sign), public.clone());
        provider.make_id_tokens(move |claims| {
            let good = seal(&to, json!({}), signer(&claims).as_bytes());
            let at = cut.min(good.len());
            let piece: String = altered.chars().filter(|letter| *letter != 'x').take(8).collect();
            format!(
                "{}{}{}",
                &good[..at],
                if piece.is_empty() { "A.".to_owned() } else { piece },
                &good[at..]
            )
        });
        let browser = site.logged_in_or_not().await;
        assert_eq!(browser.cookie("session"), None);
    }
    assert_eq!(site.reached(), 1);
    fuzz.finish(&gate, before);
}
