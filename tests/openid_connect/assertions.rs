//! The gate's own word on a caller: a signed assertion, and the consumer that a claim names.

use std::{sync::Arc, time::Duration};

use jose::{Alg, CompactJws, KeySet};
use serde_json::{Value, json};

use super::{CLIENT, conf, guarded_at, login};
use crate::support::{Portcullis, Provider, Request, Site, Upstream, shared, tokens, unique};

const HEADER: &str = "x-identity-assertion";

async fn asserting(gate: Arc<Portcullis>, provider: &Provider, further: Value) -> Site {
    guarded_at(gate, provider, |path| {
        let mut own = json!({
            "bearer_only": true, "use_jwks": true,
            "identity_assertion": {"jwks_path": format!("{path}/keys.json"), "claims": {
                "email": "email", "roles": "realm_access.roles", "absent": "absent",
            }},
        });
        own.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
        own
    })
    .await
}

/// The key set as an upstream fetches it.
async fn published(site: &Site) -> KeySet {
    let answer = site.get("keys.json").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/jwk-set+json")));
    assert!(answer.header("cache-control").unwrap().contains("max-age=300"));
    assert!(!answer.text().contains("\"d\""), "{}", answer.text());
    KeySet::parse(answer.text().as_bytes()).unwrap()
}

/// The claims of an assertion that this set verifies.
fn verified(keys: &KeySet, assertion: &str) -> Value {
    let jws = CompactJws::parse(assertion).unwrap();
    serde_json::from_slice(&keys.verify(&jws, &[Alg::ES256]).unwrap()).unwrap()
}

fn kid(assertion: &str) -> String {
    CompactJws::parse(assertion).unwrap().header().kid.clone().unwrap()
}

#[tokio::test]
async fn an_upstream_is_told_who_calls_by_a_token_that_it_can_verify() {
    let provider = Provider::start(CLIENT);
    let site = asserting(shared(), &provider, json!({})).await;
    let keys = published(&site).await;
    assert_eq!(site.reached(), 0, "the key set is the gate's own answer, and needs no token");
    let caller = json!({"email": "u@example.com", "realm_access": {"roles": ["a", "b"]}, "secret": "canary"});
    let token = provider.access_token(&caller);
    let spellings = ["X-Identity-Assertion", "x_identity_assertion", "X.Identity-Assertion"];
    let request = Request::get(&site.target("x")).bearer(&token);
    let request = spellings.iter().fold(request, |request, name| request.header(name, "forged"));
    assert_eq!(site.gate.send(request).await.status, 200);
    let seen = site.last();
    let [assertion] = seen.message.all(HEADER).try_into().unwrap();
    assert!(!String::from_utf8_lossy(&seen.raw).contains("forged"), "h01 h02");
    let claims = verified(&keys, assertion);
    let now = tokens::now();
    assert_eq!((claims["iss"].as_str(), claims["sub"].as_str()), (Some("portcullis"), Some("user-1")));
    assert_eq!(claims["aud"], format!("routes{}", site.path));
    assert_eq!((claims["email"].as_str(), &claims["roles"]), (Some("u@example.com"), &json!(["a", "b"])));
    assert!(claims.get("absent").is_none() && !claims.to_string().contains("canary"));
    let (iat, exp) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
    assert!(exp - iat == 60 && (now - iat).abs() < 20, "{claims}");
    assert_eq!(site.with_token(&token).await.status, 200);
    let open = Site::new().await;
    let request = Request::get(&open.target("x")).header("X-Identity-Assertion", "forged");
    assert_eq!(open.gate.send(request.header("x_identity_assertion", "forged")).await.status, 200);
    assert!(!open.upstream.received().contains("forged"), "h01: it is taken from clients on every route");
}

#[tokio::test]
async fn an_assertion_never_outlives_its_token_and_names_the_route_it_is_for() {
    let gate = Arc::new(Portcullis::dev());
    let provider = Provider::start(CLIENT);
    let mut further = json!({"identity_assertion": {"audience": "https://up.example/", "issuer": "https://gate.example",
        "header": "X-Caller", "lifetime": 3600}});
    further["identity_assertion"]["jwks_path"] = json!("/never");
    let site = asserting(Arc::clone(&gate), &provider, further).await;
    let keys = published(&asserting(Arc::clone(&gate), &provider, json!({})).await).await;
    let exp = tokens::now() + 600;
    let token = provider.access_token(&json!({"exp": exp}));
    assert_eq!(site.with_token(&token).await.status, 200);
    let first = site.last().header("x-caller").unwrap().to_owned();
    let claims = verified(&keys, &first);
    assert_eq!(
        (claims["aud"].as_str(), claims["iss"].as_str()),
        (Some("https://up.example/"), Some("https://gate.example"))
    );
    assert_eq!(claims["exp"], exp);
    gate.advance(Duration::from_secs(31)).await;
    assert_eq!(site.with_token(&token).await.status, 200);
    let second = site.last().header("x-caller").unwrap().to_owned();
    assert!(
        verified(&keys, &second)["iat"].as_i64() > claims["iat"].as_i64(),
        "it is made anew after a while"
    );
}

#[tokio::test]
async fn a_session_is_vouched_for_as_a_token_is() {
    let gate = Arc::new(Portcullis::dev());
    let provider = Provider::start(CLIENT);
    let further = json!({"identity_assertion": {"claims": {"name": {"claim": "name", "in": "userinfo"}}}});
    let site = login::site(Arc::clone(&gate), &provider, further).await;
    let keys = published(&asserting(gate, &provider, json!({})).await).await;
    let browser = site.logged_in().await;
    let first = site.last().header(HEADER).unwrap().to_owned();
    let claims = verified(&keys, &first);
    assert_eq!((claims["sub"].as_str(), claims["name"].as_str()), (Some("user-1"), Some("A User")));
    assert_eq!(site.with_cookies("page", &login::cookies(&browser)).await.status, 200);
    assert!(site.last().header(HEADER).is_some());
}

#[tokio::test]
async fn keys_of_assertions_rotate_with_an_overlap_and_survive_a_restart() {
    let gate = Arc::new(Portcullis::dev());
    let provider = Provider::start(CLIENT);
    let site = asserting(Arc::clone(&gate), &provider, json!({})).await;
    let far = json!({"exp": tokens::now() + 400 * 86_400});
    let assertion = async || {
        assert_eq!(site.with_token(&provider.access_token(&far)).await.status, 200);
        site.last().header(HEADER).unwrap().to_owned()
    };
    let first = assertion().await;
    gate.restart();
    assert_eq!(kid(&assertion().await), kid(&first), "a restart changes nothing");
    gate.advance(Duration::from_secs(30 * 86_400)).await;
    let keys = published(&site).await;
    assert_eq!(keys.keys().len(), 2, "a successor is published");
    assert_eq!(kid(&assertion().await), kid(&first), "and does not sign yet");
    gate.advance(Duration::from_secs(3600)).await;
    let second = assertion().await;
    assert_ne!(kid(&second), kid(&first));
    verified(&keys, &second);
    verified(&published(&site).await, &first);
    gate.advance(Duration::from_secs(86_400)).await;
    assert_eq!(published(&site).await.keys().len(), 1, "the old key is gone when nothing of it counts");
}

#[tokio::test]
async fn j53_a_claim_names_a_consumer_and_one_that_is_deleted_is_nobodys() {
    let gate = shared();
    let provider = Provider::start(CLIENT);
    let admin = gate.admin();
    let (known, guest) = (unique("jack"), unique("guest"));
    for name in [&known, &guest] {
        admin.set("consumers", &json!({"username": name})).await;
    }
    let with = async |consumer: Value| {
        let (upstream, id) = (Upstream::start(), unique("consumer-"));
        let path = format!("/{id}");
        let further = json!({"bearer_only": true, "use_jwks": true, "consumer": consumer});
        gate.admin()
            .route(&id, &format!("{path}/*"), &upstream, json!({"openid-connect": conf(&provider, further)}))
            .await;
        Site { gate: Arc::clone(&gate), upstream, path }
    };
    let token = |client: &str| provider.access_token(&json!({"client": {"name": client}}));
    let site = with(json!({"claim": "client.name"})).await;
    for _ in 0..2 {
        let request =
            Request::get(&site.target("x")).bearer(&token(&known)).header("X-Consumer-Username", "forged");
        assert_eq!(site.gate.send(request).await.status, 200);
        assert_eq!(site.last().message.all("x-consumer-username"), [known.as_str()]);
    }
    let nobody = site.with_token(&token("nobody")).await;
    assert_eq!(
        (nobody.status, nobody.text().as_str()),
        (403, r#"{"error":"no consumer is known for this caller"}"#)
    );
    for odd in [json!([known, guest]), json!({}), json!(""), Value::Null] {
        let answer = site.with_token(&provider.access_token(&json!({"client": {"name": odd}}))).await;
        assert_eq!(answer.status, 403, "{odd}");
    }
    assert_eq!(site.reached(), 2);
    let optional = with(json!({"claim": "client.name", "required": false})).await;
    assert_eq!(optional.with_token(&token("nobody")).await.status, 200);
    assert!(optional.last().header("x-consumer-username").is_none());
    let anonymous = with(json!({"claim": "client.name", "anonymous": guest})).await;
    assert_eq!(anonymous.with_token(&token("nobody")).await.status, 200);
    assert_eq!(anonymous.last().header("x-consumer-username"), Some(guest.as_str()));
    let subject = format!("auth0|{}", unique(""));
    admin.set("consumers", &json!({"username": guest, "labels": {"custom_id": subject}})).await;
    let by_id = with(json!({"claim": "sub", "by": "custom_id"})).await;
    assert_eq!(by_id.with_token(&provider.access_token(&json!({"sub": subject}))).await.status, 200);
    assert_eq!(by_id.last().header("x-consumer-username"), Some(guest.as_str()));
    assert_eq!(by_id.with_token(&provider.access_token(&json!({"sub": guest}))).await.status, 403);
    admin.delete(&format!("consumers/{known}")).await;
    assert_eq!(
        site.with_token(&token(&known)).await.status,
        403,
        "its token is still remembered, and it is gone"
    );
}
