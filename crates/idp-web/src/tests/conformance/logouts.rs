//! The plans oidcc-rp-initiated-logout, -backchannel, -frontchannel and -session-management.

use axum::http::StatusCode;
use jose::Alg;
use serde_json::{Value, json};

use super::{Callback, Party, Suite, callback, is_refusal};
use crate::tests::world::{Agent, Answer};

const OUT: &str = "https://suite.example/test/a/p/post_logout_redirect";
const BACK: &str = "https://suite.example/test/a/p/backchannel_logout";
const FRONT: &str = "https://suite.example/test/a/p/frontchannel_logout";
/// As long as the suite's: nothing of it may get lost.
const STATE: &str = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-._~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

async fn client(suite: &Suite, change: Value) -> Party<'_> {
    let mut metadata = json!({ "post_logout_redirect_uris": [OUT] });
    metadata.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    suite.register(metadata).await
}

/// A browser that is logged in, and its ID token.
async fn logged_in<'w>(client: &Party<'w>) -> (Agent<'w>, String, Callback) {
    let mut agent = client.world.agent();
    let back = client.authorize(&mut agent, "code", &[]).await;
    let tokens = client.tokens(&back["code"]).await;
    (agent, tokens["id_token"].as_str().unwrap().to_owned(), back)
}

async fn log_out(agent: &mut Agent<'_>, params: &[(&str, &str)]) -> Answer {
    agent.open(&format!("/oidc/logout?{}", crate::fields::to_query(params.iter().copied()))).await
}

async fn is_logged_out(client: &Party<'_>, agent: &mut Agent<'_>) {
    let page = agent.open(&client.request("code", &[("prompt", "none")])).await;
    is_refusal(&callback(&page), &["login_required"]);
}

fn returned(answer: &Answer) -> Callback {
    let location = answer.location().unwrap_or_else(|| panic!("{answer:?}"));
    assert!(location == OUT || location.starts_with(&format!("{OUT}?")), "{location}");
    callback(answer)
}

#[tokio::test]
async fn oidcc_rp_initiated_logout_with_and_without_state() {
    let suite = Suite::new().await;
    let client = client(&suite, json!({})).await;
    let (mut agent, hint, _) = logged_in(&client).await;
    let good = [("id_token_hint", hint.as_str()), ("post_logout_redirect_uri", OUT), ("state", STATE)];
    let answer = log_out(&mut agent, &good).await;
    assert_eq!(returned(&answer), Callback::from([("state".to_owned(), STATE.to_owned())]));
    is_logged_out(&client, &mut agent).await;
    // oidcc-rp-initiated-logout-no-state.
    let (mut agent, hint, _) = logged_in(&client).await;
    let answer = log_out(&mut agent, &[("id_token_hint", &hint), ("post_logout_redirect_uri", OUT)]).await;
    assert_eq!(returned(&answer), Callback::new());
    is_logged_out(&client, &mut agent).await;
}

#[tokio::test]
async fn oidcc_rp_initiated_logout_bad_post_logout_redirect_uri_hints_and_query_added_lead_nowhere() {
    let suite = Suite::new().await;
    let client = client(&suite, json!({})).await;
    let (mut agent, hint, _) = logged_in(&client).await;
    let (head, rest) = hint.split_once('.').unwrap();
    let payload = rest.split_once('.').unwrap().0;
    let modified = format!("eyJhbGciOiJub25lIn0.{payload}.");
    let foreign = jose::SigningKey::generate(Alg::RS256, "k".to_owned()).unwrap();
    let forged =
        foreign.sign(Some("JWT"), &jose::CompactJws::parse(&hint).unwrap().payload_unverified().unwrap());
    let forged = forged.unwrap();
    let broken = format!("{head}.{payload}.AAAA");
    let added = format!("{OUT}?foo=bar");
    let cases: [&[(&str, &str)]; 6] = [
        // -bad-post-logout-redirect-uri, -query-added-to-post-logout-redirect-uri.
        &[
            ("id_token_hint", &hint),
            ("post_logout_redirect_uri", "https://suite.example/else"),
            ("state", STATE),
        ],
        &[("id_token_hint", &hint), ("post_logout_redirect_uri", &added), ("state", STATE)],
        // -modified-id-token-hint, -bad-id-token-hint.
        &[("id_token_hint", &modified), ("post_logout_redirect_uri", OUT), ("state", STATE)],
        &[("id_token_hint", &forged), ("post_logout_redirect_uri", OUT), ("state", STATE)],
        &[("id_token_hint", &broken), ("post_logout_redirect_uri", OUT), ("state", STATE)],
        // -no-id-token-hint.
        &[("post_logout_redirect_uri", OUT), ("state", STATE)],
    ];
    for params in cases {
        let answer = log_out(&mut agent, params).await;
        assert!(answer.location().is_none(), "{params:?}: {answer:?}");
        assert!(answer.has_id("error") || answer.has_id("confirm-logout"), "{params:?}: {answer:?}");
        assert!(!answer.body.contains("href=\"https://suite.example"), "{params:?}: {answer:?}");
    }
}

#[tokio::test]
async fn oidcc_rp_initiated_logout_no_params_only_state_and_no_post_logout_redirect_uri_end_on_a_page() {
    let suite = Suite::new().await;
    let client = client(&suite, json!({})).await;
    for params in [&[][..], &[("state", STATE)]] {
        let (mut agent, _, _) = logged_in(&client).await;
        let page = log_out(&mut agent, params).await;
        assert!(page.has_id("confirm-logout"), "{page:?}");
        let done = agent.submit(&page, &[]).await;
        assert!(done.status == StatusCode::OK && done.has_id("logged-out"), "{done:?}");
        is_logged_out(&client, &mut agent).await;
    }
    let (mut agent, hint, _) = logged_in(&client).await;
    let done = log_out(&mut agent, &[("id_token_hint", &hint), ("state", STATE)]).await;
    assert!(done.status == StatusCode::OK && done.has_id("logged-out"), "{done:?}");
    is_logged_out(&client, &mut agent).await;
}

#[tokio::test]
async fn oidcc_backchannel_rp_initiated_logout() {
    let suite = Suite::new().await;
    let wish = json!({ "backchannel_logout_uri": BACK, "backchannel_logout_session_required": true });
    let client = client(&suite, wish).await;
    let (mut agent, hint, _) = logged_in(&client).await;
    let id_token = client.id_token(&hint, Alg::RS256).await;
    suite.world.network.publish(BACK, "");
    let good = [("id_token_hint", hint.as_str()), ("post_logout_redirect_uri", OUT), ("state", STATE)];
    returned(&log_out(&mut agent, &good).await);
    suite.world.idp.deliver_logouts().await.unwrap();
    let posted = suite.world.network.posted();
    let [(url, body)] = posted.as_slice() else { panic!("{posted:?}") };
    let token = body.strip_prefix("logout_token=").unwrap();
    assert_eq!(url, BACK);
    let jws = jose::CompactJws::parse(token).unwrap();
    assert!(jws.header().has_typ("logout+jwt"));
    let said = client.id_token(token, Alg::RS256).await;
    assert_eq!((&said["sub"], &said["sid"]), (&id_token["sub"], &id_token["sid"]));
    assert!(said["jti"].is_string() && said.get("nonce").is_none());
    let event = "http://schemas.openid.net/event/backchannel-logout";
    assert_eq!(said["events"], json!({ event: {} }));
    is_logged_out(&client, &mut agent).await;
}

#[tokio::test]
async fn oidcc_frontchannel_rp_initiated_logout() {
    let suite = Suite::new().await;
    let wish = json!({ "frontchannel_logout_uri": FRONT, "frontchannel_logout_session_required": true });
    let client = client(&suite, wish).await;
    let (mut agent, hint, _) = logged_in(&client).await;
    let sid = client.id_token(&hint, Alg::RS256).await["sid"].as_str().unwrap().to_owned();
    let good = [("id_token_hint", hint.as_str()), ("post_logout_redirect_uri", OUT), ("state", STATE)];
    let page = log_out(&mut agent, &good).await;
    let frame =
        page.between("<iframe hidden sandbox=\"allow-same-origin allow-scripts\" src=\"", "\"").unwrap();
    let query = frame.strip_prefix(FRONT).unwrap().replace("&#38;", "&").replace("&amp;", "&");
    let told = oauth::form::parse(query.trim_start_matches('?').as_bytes()).unwrap().into_owned();
    let told: Callback = told.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    // These two, and no others.
    let expected = [("iss".to_owned(), super::ISSUER.to_owned()), ("sid".to_owned(), sid)];
    assert_eq!(told, Callback::from(expected));
    let next = page.between("id=\"continue\" href=\"", "\"").unwrap().strip_prefix(OUT).unwrap();
    let next = oauth::form::parse(next.trim_start_matches('?').as_bytes()).unwrap().into_owned();
    assert_eq!(next.iter().collect::<Vec<_>>(), [("state", STATE)]);
    is_logged_out(&client, &mut agent).await;
}

#[tokio::test]
async fn oidcc_session_management_rp_initiated_logout() {
    let suite = Suite::new().await;
    let client = client(&suite, json!({})).await;
    let (mut agent, hint, back) = logged_in(&client).await;
    let state = &back["session_state"];
    assert!(!state.contains(' ') && state.contains('.'), "{state}");
    // What the frame then says, session_management.rs and the browser's tests see.
    let good = [("id_token_hint", hint.as_str()), ("post_logout_redirect_uri", OUT), ("state", STATE)];
    let answer = log_out(&mut agent, &good).await;
    assert!(returned(&answer).contains_key("state") && !agent.cookies.contains_key("pc_idp_state"));
}
