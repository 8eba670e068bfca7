//! Logouts that begin at the gate, and those that begin at the provider.

use serde_json::json;

use super::{CLIENT, Place};
use crate::support::{Browser, browser::Page};

/// Says yes on the provider's own page.
async fn confirm(browser: &mut Browser, page: &Page) -> Page {
    browser.submit(page, &[("logout", "yes")]).await
}

#[tokio::test]
async fn a_logout_at_the_gate_ends_the_session_there_and_comes_back() {
    let place = Place::new(json!({}), json!({})).await;
    let mut browser = place.logged_in().await;
    let page = browser.open(&place.url("logout")).await;
    let asked = browser.history.iter().rfind(|url| url.path() == "/session/end").unwrap();
    assert!(asked.query().unwrap().contains("id_token_hint="), "{asked}");
    let back = confirm(&mut browser, &page).await;
    assert!(browser.history.iter().any(|url| url.as_str() == place.url("bye")), "{:?}", browser.history);
    drop(back);
    let again = browser.open(&place.url("page")).await;
    assert_eq!(again.url.port(), Some(place.peer.port()), "the login page again: {}", again.url);
}

#[tokio::test]
async fn a_logout_at_the_provider_ends_the_session_here() {
    let place = Place::new(json!({}), json!({ "backchannel_logout_path": "PATH/backchannel" })).await;
    let mut browser = place.logged_in().await;
    assert_eq!(browser.open_only(&place.url("page")).await.status(), 200);
    let end = format!("{}/session/end?client_id={CLIENT}", place.peer.issuer());
    let page = browser.open(&end).await;
    confirm(&mut browser, &page).await;
    let after = browser.open_only(&place.url("page")).await;
    assert_eq!(after.status(), 302, "the old cookie is dead: {after:?}");
}
