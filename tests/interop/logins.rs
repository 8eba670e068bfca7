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
    let port = place.peer.port;
    // Another key of the kind in front: it signs from now on.
    place.keys.insert(0, signing_key(Alg::ES256));
    let stopped = std::mem::replace(&mut place.peer, super::Peer::start(&json!([]), &place.keys));
    drop(stopped);
    let away = Browser::new().open_only(&place.url("page")).await;
    let reached = away.location().is_some_and(|location| location.port() == Some(port));
    assert!(reached, "known metadata are enough to begin a login: {away:?}");
    place.peer = super::Peer::start_at(port, &json!([place.client]), &place.keys);
    place.logged_in().await;
    assert_eq!(place.told("x-id-token")["sub"], "alice");
    let wrong = Place::new(json!({ "client_secret": format!("not {SECRET}") }), json!({})).await;
    let refused = wrong.visit(&mut Browser::new()).await;
    assert!(refused.has_id("error") && refused.status() >= 400, "{refused:?}");
    assert!(!refused.response.text().contains(SECRET) && !refused.response.text().contains(CLIENT));
}
