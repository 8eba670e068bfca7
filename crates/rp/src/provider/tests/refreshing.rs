use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{
    super::{Keys, Provider, ProviderError, Providers, SourceConfig},
    Op, providers, source,
};
use crate::provider::tests::op::{Reply, jwks};

const DISCOVERY: &str = "/.well-known/openid-configuration";

fn kids(keys: &Keys) -> Vec<&str> {
    keys.set.keys().iter().filter_map(jose::VerifyingKey::kid).collect()
}

/// A provider that has its first keys, `a`.
async fn warm(op: &Op, providers: &Providers) -> Arc<Provider> {
    op.set_keys(&["a"]);
    let provider = providers.provider(&source(op)).unwrap();
    assert_eq!(kids(&provider.ready_keys().await.unwrap()), ["a"]);
    provider
}

/// Asks as often at once as a flood of tokens with made-up key ids does.
async fn flood(provider: &Arc<Provider>, seen: u64) -> Vec<Result<Arc<Keys>, ProviderError>> {
    let ask = |_| {
        let provider = provider.clone();
        tokio::spawn(async move { provider.keys_after_unknown_kid(seen).await })
    };
    let mut answers = Vec::new();
    for asked in (0..500).map(ask).collect::<Vec<_>>() {
        answers.push(asked.await.unwrap());
    }
    answers
}

#[tokio::test]
async fn r37_a_provider_that_is_down_at_start_heals_when_it_comes_up() {
    let mut op = Op::down().await;
    let (providers, _clock) = providers();
    let provider = providers.provider(&source(&op)).unwrap();
    assert!(matches!(provider.ready().await, Err(ProviderError::Unreachable { .. })));
    assert!(provider.metadata().is_none() && provider.keys().is_none());
    op.set_keys(&["a"]);
    op.up().await;
    // Who waits brings the retry forward to one second after the failure.
    assert_eq!(provider.ready().await.unwrap().issuer, op.url(""));
    assert_eq!(kids(&provider.ready_keys().await.unwrap()), ["a"]);
}

#[tokio::test]
async fn metadata_and_keys_are_fetched_once_before_anybody_asks() {
    let op = Op::start().await;
    op.set_keys(&["a"]);
    let (providers, _clock) = providers();
    let provider = providers.provider(&source(&op)).unwrap();
    let (metadata, keys) = (provider.ready().await.unwrap(), provider.ready_keys().await.unwrap());
    assert!(Arc::ptr_eq(&provider.metadata().unwrap(), &metadata));
    assert!(Arc::ptr_eq(&provider.keys().unwrap(), &keys));
    providers.refresh_due().await;
    assert_eq!((op.hits(DISCOVERY), op.hits("/jwks")), (1, 1));
}

#[tokio::test]
async fn a_source_has_one_provider_for_as_long_as_it_is_used() {
    let op = Op::start().await;
    let (providers, _clock) = providers();
    let first = providers.provider(&source(&op)).unwrap();
    let again = providers.provider(&SourceConfig { timeout: Duration::from_secs(9), ..source(&op) }).unwrap();
    assert!(Arc::ptr_eq(&first, &again));
    assert_eq!(first.timeout(), Duration::from_secs(9));
    let unverified = providers.provider(&SourceConfig { verify_tls: false, ..source(&op) }).unwrap();
    assert!(!Arc::ptr_eq(&first, &unverified));
    let weak = Arc::downgrade(&first);
    drop((first, again));
    assert!(weak.upgrade().is_none());
}

#[tokio::test]
async fn j38_a_new_key_is_found_with_exactly_one_fetch() {
    let op = Op::start().await;
    let (providers, _clock) = providers();
    let provider = warm(&op, &providers).await;
    let seen = provider.keys().unwrap().generation;
    op.set_keys(&["a", "b"]);
    for keys in flood(&provider, seen).await {
        let keys = keys.unwrap();
        assert_eq!(kids(&keys), ["a", "b"]);
        assert!(keys.generation > seen);
    }
    assert_eq!(op.hits("/jwks"), 2);
}

#[tokio::test]
async fn j36_a_flood_of_unknown_kids_costs_one_fetch_in_30_seconds() {
    let op = Op::start().await;
    let (providers, clock) = providers();
    let provider = warm(&op, &providers).await;
    let seen = provider.keys().unwrap().generation;
    for (seconds, fetches) in [(0, 2), (29, 2), (1, 3), (29, 3), (60, 4)] {
        clock.advance(Duration::from_secs(seconds));
        for keys in flood(&provider, seen).await {
            // The same keys stay the same generation, so that cached verdicts stay too.
            assert_eq!(keys.unwrap().generation, seen);
        }
        assert_eq!(op.hits("/jwks"), fetches);
    }
}

#[tokio::test]
async fn j37_neither_an_empty_set_nor_an_error_lifts_the_limit() {
    let op = Op::start().await;
    let (providers, clock) = providers();
    let provider = warm(&op, &providers).await;
    let seen = provider.keys().unwrap().generation;
    op.set_keys(&[]);
    for keys in flood(&provider, seen).await {
        assert_eq!(kids(&keys.unwrap()), ["a"]);
    }
    assert_eq!(op.hits("/jwks"), 2);
    clock.advance(Duration::from_secs(30));
    op.set("/jwks", Reply::of(500, ""));
    for keys in flood(&provider, seen).await {
        assert_eq!(keys.unwrap_err(), ProviderError::Status { what: "jwks_uri", status: 500 });
    }
    assert_eq!(op.hits("/jwks"), 3);
    assert_eq!(kids(&provider.keys().unwrap()), ["a"]);
}

#[tokio::test]
async fn j39_a_withdrawn_key_is_gone_after_the_keys_lifetime() {
    let op = Op::start().await;
    let (providers, clock) = providers();
    op.set("/jwks", Reply::with(200, "cache-control: max-age=120\r\n", jwks(&["a", "b"])));
    let provider = providers.provider(&source(&op)).unwrap();
    assert_eq!(kids(&provider.ready_keys().await.unwrap()), ["a", "b"]);
    op.set_keys(&["b"]);
    clock.advance(Duration::from_secs(119));
    providers.refresh_due().await;
    assert_eq!(kids(&provider.keys().unwrap()), ["a", "b"]);
    clock.advance(Duration::from_secs(1));
    providers.refresh_due().await;
    assert_eq!(kids(&provider.keys().unwrap()), ["b"]);
}

#[tokio::test]
async fn j39_a_set_that_stays_empty_is_believed() {
    let op = Op::start().await;
    let (providers, clock) = providers();
    let provider = warm(&op, &providers).await;
    op.set_keys(&[]);
    clock.advance(Duration::from_secs(3600));
    providers.refresh_due().await;
    assert_eq!(kids(&provider.keys().unwrap()), Vec::<&str>::new());
    // It is looked at again soon, in case it was a mistake.
    op.set_keys(&["c"]);
    clock.advance(Duration::from_secs(60));
    providers.refresh_due().await;
    assert_eq!(kids(&provider.keys().unwrap()), ["c"]);
}

#[tokio::test]
async fn j41_hostile_key_sets_leave_the_last_good_one() {
    let op = Op::start().await;
    let (providers, clock) = providers();
    let provider = warm(&op, &providers).await;
    let one: Value = serde_json::from_str(&jwks(&["x"])).unwrap();
    let thousand = json!({ "keys": vec![one["keys"][0].clone(); 1001] });
    let oct = json!({ "keys": [{ "kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "kid": "x" }] });
    for hostile in [
        Reply::of(200, vec![b' '; 10 << 20]),
        Reply::json(&thousand),
        Reply::json(&oct),
        Reply::of(200, "<html></html>"),
        Reply::of(200, r#"{"keys":[{"kty":"OKP","#),
        Reply::of(200, r#"{"keys":[],"keys":[]}"#),
        Reply::with(200, "content-encoding: gzip\r\n", jwks(&["x"])),
        Reply::with(302, "location: http://127.0.0.1:1/\r\n", ""),
        Reply::Cut,
        Reply::Drip,
    ] {
        op.set("/jwks", hostile);
        clock.advance(Duration::from_secs(30));
        let seen = provider.keys().unwrap().generation;
        let _ = provider.keys_after_unknown_kid(seen).await;
        assert_eq!(kids(&provider.keys().unwrap()), ["a"]);
    }
    assert_eq!(op.hits("/jwks"), 11);
    op.set_keys(&["a", "b"]);
    providers.refresh_due().await;
    assert_eq!(kids(&provider.keys().unwrap()), ["a", "b"]);
}

#[tokio::test]
async fn r35_a_document_that_lies_leaves_the_last_good_one() {
    let op = Op::start().await;
    let (providers, clock) = providers();
    let provider = warm(&op, &providers).await;
    let good = provider.metadata().unwrap();
    let repeated = op.metadata().to_string().replacen('{', r#"{"issuer":"http://evil.example","#, 1);
    for lie in [
        Reply::json(&op.metadata_with(&json!({ "issuer": "https://evil.example" }))),
        Reply::json(&op.metadata_with(&json!({ "issuer": op.url("/other") }))),
        Reply::json(&op.metadata_with(&json!({ "jwks_uri": "file:///etc/passwd" }))),
        Reply::json(&op.metadata_with(&json!({ "token_endpoint": "http://169.254.169.254/token" }))),
        Reply::json(&op.metadata_with(&json!({ "authorization_endpoint": "javascript:alert(1)" }))),
        Reply::json(&op.metadata_with(&json!({ "userinfo_endpoint": "/userinfo" }))),
        Reply::json(&op.metadata_with(&json!({ "jwks_uri": 1 }))),
        Reply::of(200, repeated),
        Reply::of(200, vec![b' '; 10 << 20]),
        Reply::with(200, "content-encoding: gzip\r\n", op.metadata().to_string()),
        Reply::with(301, "location: http://127.0.0.1:1/\r\n", ""),
        Reply::of(503, op.metadata().to_string()),
        Reply::Drip,
    ] {
        op.set(DISCOVERY, lie);
        let before = op.hits(DISCOVERY);
        clock.advance(Duration::from_secs(25 * 3600));
        providers.refresh_due().await;
        assert_eq!(op.hits(DISCOVERY), before + 1);
        assert!(Arc::ptr_eq(&provider.metadata().unwrap(), &good));
    }
    op.set(DISCOVERY, Reply::json(&op.metadata_with(&json!({ "end_session_endpoint": op.url("/logout") }))));
    providers.refresh_due().await;
    assert_eq!(provider.metadata().unwrap().end_session_endpoint, Some(op.url("/logout")));
}

#[tokio::test]
async fn an_issuer_that_the_operator_names_is_believed() {
    let op = Op::start().await;
    let (providers, _clock) = providers();
    op.set(
        DISCOVERY,
        Reply::json(&op.metadata_with(&json!({ "issuer": "https://public.example/realms/r" }))),
    );
    let named = vec!["https://public.example/realms/r".to_owned()];
    let provider = providers.provider(&SourceConfig { issuers: named, ..source(&op) }).unwrap();
    assert_eq!(provider.ready().await.unwrap().issuer, "https://public.example/realms/r");
    let other = providers.provider(&source(&op)).unwrap();
    assert!(matches!(other.ready().await, Err(ProviderError::Junk { what: "discovery", .. })));
    assert!(matches!(other.ready_keys().await, Err(ProviderError::Junk { what: "discovery", .. })));
}

#[tokio::test]
async fn keys_that_moved_are_found_by_new_metadata() {
    let op = Op::start().await;
    let (providers, clock) = providers();
    let provider = warm(&op, &providers).await;
    op.set("/jwks", Reply::of(404, ""));
    op.set("/keys", Reply::of(200, jwks(&["b"])));
    op.set(DISCOVERY, Reply::json(&op.metadata_with(&json!({ "jwks_uri": op.url("/keys") }))));
    clock.advance(Duration::from_secs(3600));
    // The first finds them gone and the metadata worth another look, the second looks.
    providers.refresh_due().await;
    providers.refresh_due().await;
    assert_eq!(kids(&provider.keys().unwrap()), ["b"]);
}

#[tokio::test]
async fn a_provider_without_keys_says_so() {
    let op = Op::start().await;
    let (providers, _clock) = providers();
    op.set(DISCOVERY, Reply::json(&op.metadata_with(&json!({ "jwks_uri": null }))));
    let provider = providers.provider(&source(&op)).unwrap();
    assert!(provider.ready().await.is_ok());
    assert_eq!(provider.ready_keys().await.unwrap_err(), ProviderError::Missing("jwks_uri"));
}

#[tokio::test]
async fn a_provider_that_does_not_answer_costs_its_waiters_the_timeout() {
    let op = Op::start().await;
    let (providers, _clock) = providers();
    op.set(DISCOVERY, Reply::Drip);
    let quick = SourceConfig { timeout: Duration::from_millis(100), ..source(&op) };
    let provider = providers.provider(&quick).unwrap();
    assert!(matches!(
        provider.ready().await,
        Err(ProviderError::NotReady | ProviderError::Unreachable { cause: fetch::FetchError::Timeout(_), .. })
    ));
}

#[tokio::test]
async fn r34_a_discovery_url_that_the_guard_refuses_is_refused_when_it_is_configured() {
    let (providers, _clock) = providers();
    for bad in ["file:///etc/passwd", "http://169.254.169.254/x", "https://10.0.0.1/x", "not a url", ""] {
        let op = Op::down().await;
        let source = SourceConfig { discovery_url: bad.to_owned(), ..source(&op) };
        assert!(matches!(providers.provider(&source), Err(ProviderError::Unsupported(_))), "{bad}");
    }
}
