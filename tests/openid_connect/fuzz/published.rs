//! What a provider publishes and answers: its metadata, its keys, its word on a token.

use std::time::Duration;

use super::*;

/// A provider whose document at `path` is altered in every round. Nobody's forged token gets in, and what it said before
/// goes on or nothing does: 200, 401 or 503, and never anything else.
async fn published(
    name: &'static str,
    path: &'static str,
    rounds: usize,
    document: impl Fn(&Provider) -> Value,
) {
    let gate = Arc::new(Portcullis::dev());
    let (provider, stranger) = (Provider::start(CLIENT), Provider::start(CLIENT));
    let conf = tokens_only(json!({"discovery_expires_in": 60, "jwk_expires_in": 60, "iat_slack": 120}));
    let site = guarded(Arc::clone(&gate), &provider, conf).await;
    let far = json!({"exp": tokens::now() + 100_000_000});
    let good = provider.access_token(&far);
    let forged = stranger.access_token(&json!({"iss": provider.issuer(), "exp": far["exp"]}));
    assert_eq!(site.with_token(&good).await.status, 200);
    let own = document(&provider).to_string();
    let (mut fuzz, mut line) = (Fuzz::new(name, rounds), Line::to(gate.port(9080)).await);
    let before = gate.resident();
    let served = site.reached();
    let mut passed = 0;
    while fuzz.goes_on() {
        let told = Answer::with(200, &[("Content-Type", "application/json")], fuzz.mutate(own.as_bytes()));
        provider.lie(path, move |_| told.clone());
        gate.advance(Duration::from_secs(61)).await;
        let bearer = |token: &str| Request::get(&site.target("api")).bearer(token);
        let answer = line.send(&bearer(&good)).await;
        assert!(matches!(answer.status, 200 | 401 | 503), "{answer:?}");
        passed += usize::from(answer.status == 200);
        let answer = line.send(&bearer(&forged)).await;
        assert!(matches!(answer.status, 401 | 503), "a forged token: {answer:?}");
    }
    provider.be_honest();
    gate.advance(Duration::from_secs(61)).await;
    assert_eq!(site.with_token(&good).await.status, 200, "the truth is believed again");
    assert_eq!(site.reached(), served + passed + 1);
    fuzz.finish(&gate, before);
}

#[tokio::test]
async fn r35_metadata_that_were_altered_let_nobody_in() {
    published("discovery", "/.well-known/openid-configuration", 150, Provider::described).await;
}

#[tokio::test]
async fn j41_keys_that_were_altered_let_nobody_in() {
    published("jwks", "/jwks", 150, |provider| {
        let mut keys = provider.published_keys();
        let more = keys["keys"].as_array_mut().unwrap();
        more.push(tokens::key(jose::Alg::EdDSA, "ed").public_jwk());
        keys
    })
    .await;
}

#[tokio::test]
async fn j51_an_introspection_answer_that_was_altered_is_a_clear_yes_or_none() {
    let gate = Arc::new(Portcullis::dev());
    let provider = Provider::start(CLIENT);
    let endpoint = format!("{}introspect", provider.issuer());
    let conf = json!({"bearer_only": true, "introspection_endpoint": endpoint, "required_scopes": ["read"],
                      "introspection_cache_ignore": true});
    let site = guarded(Arc::clone(&gate), &provider, conf).await;
    let mut good = json!({"active": true, "scope": "read write", "sub": "user-1", "iss": provider.issuer(),
                          "aud": provider.audience(), "iat": tokens::now(), "exp": tokens::now() + 100_000});
    let yes = good.to_string();
    good["active"] = json!(false);
    let no = good.to_string();
    let (mut fuzz, mut line) = (Fuzz::new("introspection", 600), Line::to(gate.port(9080)).await);
    let before = gate.resident();
    let mut passed = 0;
    while fuzz.goes_on() {
        let is_no = fuzz.pick(2) == 1;
        let said = fuzz.mutate(if is_no { no.as_bytes() } else { yes.as_bytes() });
        let told = Answer::with(200, &[("Content-Type", "application/json")], &said);
        provider.lie("/introspect", move |_| told.clone());
        let answer = line.send(&Request::get(&site.target("api")).bearer(&unique("opaque-"))).await;
        let what = String::from_utf8_lossy(&said).into_owned();
        assert!(matches!(answer.status, 200 | 401 | 403 | 503), "{what}: {answer:?}");
        passed += usize::from(answer.status == 200);
        if answer.status == 200 {
            let read: Value = serde_json::from_slice(&said).unwrap_or_else(|error| panic!("{error}: {what}"));
            assert_eq!(read["active"], json!(true), "{what} lets a token in");
        }
    }
    assert_eq!(site.reached(), passed);
    fuzz.finish(&gate, before);
}
