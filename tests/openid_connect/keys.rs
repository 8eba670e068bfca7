//! The provider's keys change, and the provider is not always there.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::json;

use super::{CLIENT, expect_refused, guarded};
use crate::support::{Answer, Portcullis, Provider, Request, shared, tokens};

const CLIENTS: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn j38_a_provider_that_changes_its_key_under_load_costs_no_request() {
    let provider = Arc::new(Provider::start(CLIENT));
    let site = Arc::new(guarded(shared(), &provider, json!({"bearer_only": true, "use_jwks": true})).await);
    let old = provider.access_token(&json!({}));
    assert_eq!(site.with_token(&old).await.status, 200);
    let (over, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (site, provider) = (Arc::clone(&site), Arc::clone(&provider));
            let (over, served, old) = (Arc::clone(&over), Arc::clone(&served), old.clone());
            tokio::spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    // Half of the clients have a token of before, the others get theirs as they go.
                    let token = if client % 2 == 0 { old.clone() } else { provider.access_token(&json!({})) };
                    let answer = site.with_token(&token).await;
                    assert_eq!(answer.status, 200, "{answer:?}");
                    served.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let more = async |count: usize| {
        let until = served.load(Ordering::Relaxed) + count;
        while served.load(Ordering::Relaxed) < until {
            assert!(!clients.iter().any(tokio::task::JoinHandle::is_finished), "a client was refused");
            tokio::task::yield_now().await;
        }
    };
    more(100).await;
    assert_eq!(provider.hits("/jwks").len(), 1);
    provider.rotate("key-2", true);
    more(300).await;
    over.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(provider.hits("/jwks").len(), 2, "the first token with the new key fetches the keys, once");
    assert_eq!(site.reached(), served.load(Ordering::Relaxed) + 1, "all that were served, and nothing else");
}

#[tokio::test]
async fn j36_j39_made_up_key_ids_cost_one_fetch_and_a_key_withdrawn_opens_nothing() {
    let gate = Arc::new(Portcullis::dev());
    let provider = Provider::start(CLIENT);
    let further = json!({"bearer_only": true, "use_jwks": true, "jwk_expires_in": 600});
    let site = guarded(Arc::clone(&gate), &provider, further).await;
    let lasting = json!({"exp": tokens::now() + 100_000});
    let old = provider.access_token(&lasting);
    assert_eq!(site.with_token(&old).await.status, 200);
    let stranger = Provider::start(CLIENT);
    for number in 0..50 {
        stranger.rotate(&format!("made-up-{number}"), false);
        let token = stranger.access_token(&json!({"iss": provider.issuer()}));
        expect_refused(&site, "one by a key nobody has", &token).await;
    }
    assert_eq!(provider.hits("/jwks").len(), 2);
    provider.rotate("key-2", false);
    assert_eq!(site.with_token(&old).await.status, 200, "nobody has said yet that the key is gone");
    gate.advance(Duration::from_secs(601)).await;
    expect_refused(&site, "one by a key that is withdrawn", &old).await;
    assert_eq!(site.with_token(&provider.access_token(&lasting)).await.status, 200);
    assert_eq!(
        provider.hits("/jwks").len(),
        4,
        "when the set's time was over, and for the key id that is unknown now"
    );
}

#[tokio::test]
async fn a_key_that_is_replaced_under_its_id_and_a_set_that_has_moved_are_found_at_once() {
    let provider = Provider::start(CLIENT);
    let site = guarded(shared(), &provider, json!({"bearer_only": true, "use_jwks": true})).await;
    let old = provider.access_token(&json!({}));
    assert_eq!(site.with_token(&old).await.status, 200);
    let id = provider.published_keys()["keys"][0]["kid"].as_str().unwrap().to_owned();
    provider.rotate(&id, false);
    assert_eq!(
        site.with_token(&provider.access_token(&json!({}))).await.status,
        200,
        "another key of that id"
    );
    expect_refused(&site, "a token by the key that is gone", &old).await;
    assert_eq!(provider.hits("/jwks").len(), 2);

    let provider = Provider::start(CLIENT);
    let site = guarded(shared(), &provider, json!({"bearer_only": true, "use_jwks": true})).await;
    assert_eq!(site.with_token(&provider.access_token(&json!({}))).await.status, 200);
    let before = provider.published_keys();
    provider.lie("/jwks", move |_| Answer::json(&before));
    provider.rotate("key-2", false);
    let after = provider.published_keys();
    provider.lie("/moved", move |_| Answer::json(&after));
    provider.publish(json!({"jwks_uri": format!("{}moved", provider.issuer())}));
    assert_eq!(
        site.with_token(&provider.access_token(&json!({}))).await.status,
        200,
        "the new address is asked"
    );
}

#[tokio::test]
async fn r37_f11_a_provider_that_is_down_at_the_start_is_a_503_and_heals_within_ten_seconds() {
    let provider = Provider::start(CLIENT);
    let down = || {
        for path in ["/.well-known/openid-configuration", "/jwks"] {
            provider.lie(path, |_| Answer::Close);
        }
    };
    down();
    let tokens_only = guarded(shared(), &provider, json!({"bearer_only": true, "use_jwks": true})).await;
    let logins = guarded(shared(), &provider, json!({"session": {"idling_timeout": 100}})).await;
    let token = provider.access_token(&json!({}));
    for _ in 0..2 {
        let answer = tokens_only.with_token(&token).await;
        assert_eq!((answer.status, answer.header("www-authenticate")), (503, None), "{answer:?}");
        let page = Request::get(&logins.target("page")).header("Accept", "text/html");
        assert_eq!(logins.gate.send(page).await.status, 503);
    }
    let answer = tokens_only.with_token("no.jwt.atall").await;
    assert_eq!(answer.status, 401, "what can be judged without the provider is: {answer:?}");
    assert_eq!((tokens_only.reached(), logins.reached()), (0, 0));
    provider.be_honest();
    let back = Instant::now();
    while tokens_only.with_token(&token).await.status == 503 {
        assert!(back.elapsed() < Duration::from_secs(10), "it does not heal");
    }
    assert_eq!(tokens_only.with_token(&token).await.status, 200);
    let page = Request::get(&logins.target("page")).header("Accept", "text/html");
    assert_eq!(logins.gate.send(page).await.status, 302);
    // What is known stays in use when it goes away again.
    down();
    assert_eq!(tokens_only.with_token(&provider.access_token(&json!({}))).await.status, 200);
}
