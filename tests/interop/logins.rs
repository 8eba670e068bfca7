//! Logins, and what a session lives on.

use std::time::Duration;

use futures_util::future::join_all;
use jose::Alg;
use serde_json::json;

use super::{CLIENT, Place, SECRET, signing_key};
use crate::support::{Browser, Request, peer::pem};

/// Past the sixty seconds that an access token is good for there.
const OVER: Duration = Duration::from_secs(61);

/// All cookies of a browser, for requests beside it.
fn cookies(browser: &Browser) -> String {
    let pair = |name: &&str| format!("{name}={}", browser.cookie(name).unwrap());
    browser.cookie_names().iter().map(pair).collect::<Vec<_>>().join("; ")
}

#[tokio::test]
async fn a_browser_logs_in_whatever_the_id_token_is_signed_with() {
    for alg in ["RS256", "PS256", "ES256", "EdDSA"] {
        let place = Place::new(json!({ "id_token_signed_response_alg": alg }), json!({})).await;
        place.logged_in().await;
        assert_eq!(place.told("x-userinfo")["email"], "alice@example.com", "{alg}");
        assert_eq!(place.told("x-id-token")["sub"], "alice", "{alg}");
        assert_eq!(place.peer.hits("/token").await, [200], "{alg}");
    }
}

#[tokio::test]
async fn a_login_by_form_post_comes_back() {
    let place = Place::new(json!({}), json!({ "response_mode": "form_post" })).await;
    // Its cookie travels across sites, which takes https.
    let mut browser = Browser::trusting(place.gate.variable("DEV_CA").into());
    let url = format!("https://localhost:{}{}/page", place.gate.port(9443), place.path);
    // The form that a script would send on its own is the third.
    let page = place.visit_at(&mut browser, &url).await;
    assert_eq!((page.status(), page.url.as_str()), (200, url.as_str()), "{page:?}");
    assert_eq!(place.told("x-id-token")["sub"], "alice");
}

#[tokio::test]
async fn every_way_to_authenticate_the_client_is_understood() {
    let key = signing_key(Alg::ES256);
    let ways = [
        (json!({ "token_endpoint_auth_method": "client_secret_basic" }), json!({})),
        (
            json!({ "token_endpoint_auth_method": "client_secret_post" }),
            json!({ "token_endpoint_auth_method": "client_secret_post" }),
        ),
        (
            json!({ "token_endpoint_auth_method": "client_secret_jwt", "token_endpoint_auth_signing_alg": "HS256" }),
            json!({ "token_endpoint_auth_method": "client_secret_jwt" }),
        ),
        (
            json!({
                "token_endpoint_auth_method": "private_key_jwt",
                "token_endpoint_auth_signing_alg": "ES256",
                "jwks": { "keys": [key.public_jwk()] },
            }),
            json!({
                "token_endpoint_auth_method": "private_key_jwt",
                "client_jwt_assertion_alg": "ES256",
                "client_rsa_private_key": pem(&key),
                "client_rsa_private_key_id": key.kid(),
            }),
        ),
    ];
    for (client, attributes) in ways {
        let place = Place::new(client.clone(), attributes).await;
        place.logged_in().await;
        assert_eq!(place.peer.hits("/token").await, [200], "{client}");
    }
}

#[tokio::test]
async fn a_request_is_pushed_before_the_browser_leaves() {
    let place = Place::new(
        json!({ "require_pushed_authorization_requests": true }),
        json!({ "par": { "enabled": true } }),
    )
    .await;
    let mut browser = Browser::new();
    let away = browser.open_only(&place.url("page")).await.location().unwrap();
    let names: Vec<String> = away.query_pairs().map(|(name, _)| name.into_owned()).collect();
    assert_eq!(names, ["client_id", "request_uri"], "{away}");
    place.logged_in().await;
    assert_eq!(place.peer.hits("/request").await, [201, 201]);
}

#[tokio::test]
async fn tokens_are_bound_to_the_gates_key() {
    let key = signing_key(Alg::ES256);
    let mut public = key.public_jwk();
    public.as_object_mut().unwrap().retain(|name, _| ["kty", "crv", "x", "y"].contains(&name.as_str()));
    let dpop = json!({ "enabled": true, "private_key": pem(&key), "public_jwk": public });
    let place = Place::new(json!({ "dpop_bound_access_tokens": true }), json!({ "dpop": dpop })).await;
    place.logged_in().await;
    assert_eq!(place.told("x-userinfo")["email"], "alice@example.com");
    // It asks for a nonce first, and takes the second proof.
    assert_eq!(place.peer.hits("/token").await, [400, 200]);
}

#[tokio::test]
async fn an_encrypted_id_token_is_opened() {
    for (alg, enc) in [("RSA-OAEP", "A128CBC-HS256"), ("RSA-OAEP-256", "A256GCM")] {
        let key = signing_key(Alg::RS256);
        let mut public = key.public_jwk();
        let members = public.as_object_mut().unwrap();
        members.insert("use".to_owned(), json!("enc"));
        members.insert("alg".to_owned(), json!(alg));
        let client = json!({
            "id_token_encrypted_response_alg": alg,
            "id_token_encrypted_response_enc": enc,
            "jwks": { "keys": [public] },
        });
        let place = Place::new(client, json!({ "id_token_decryption_key": pem(&key) })).await;
        place.logged_in().await;
        assert_eq!(place.told("x-id-token")["sub"], "alice", "{alg} {enc}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_requests_with_a_token_that_is_over_rotate_the_refresh_token_once() {
    let place = Place::new(json!({}), json!({})).await;
    let mut browser = place.logged_in().await;
    for refreshes in 1..=3 {
        place.gate.advance(OVER).await;
        let old = cookies(&browser);
        let ask = || {
            let target = format!("{}/page", place.path);
            let host = format!("localhost:{}", place.gate.port(9080));
            place.gate.send(Request::get(&target).header("Host", &host).header("Cookie", &old))
        };
        let answers = join_all((0..20).map(|_| ask())).await;
        assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
        // Whoever used a refresh token twice would lose the whole family there.
        assert_eq!(place.peer.hits("/token").await, vec![200; 1 + refreshes]);
        assert_eq!(browser.open(&place.url("page")).await.status(), 200);
    }
}

#[tokio::test]
async fn a_login_goes_on_with_new_keys_and_waits_for_a_provider_that_is_away() {
    let mut place = Place::new(json!({ "id_token_signed_response_alg": "ES256" }), json!({})).await;
    place.logged_in().await;
    let port = place.peer.port();
    // Another key of the kind in front: it signs from now on.
    place.keys.insert(0, signing_key(Alg::ES256));
    place.peer.stop();
    let away = Browser::new().open_only(&place.url("page")).await;
    let reached = away.location().is_some_and(|location| location.port() == Some(port));
    assert!(reached, "known metadata are enough to begin a login: {away:?}");
    place.peer.restart(&json!([place.client]), &place.keys);
    place.logged_in().await;
    assert_eq!(place.told("x-id-token")["sub"], "alice");
    let wrong = Place::new(json!({ "client_secret": format!("not {SECRET}") }), json!({})).await;
    let refused = wrong.visit(&mut Browser::new()).await;
    assert!(refused.has_id("error") && refused.status() >= 400, "{refused:?}");
    assert!(!refused.response.text().contains(SECRET) && !refused.response.text().contains(CLIENT));
}
