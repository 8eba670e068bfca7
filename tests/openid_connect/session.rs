//! Sessions: refreshed once for all, and ended for good.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{
    CLIENT, form,
    login::{cookies, site},
};
use crate::support::{Answer, Portcullis, Provider, Site};

/// A session whose access token counts as over five minutes after it came.
fn short_tokens() -> Value {
    json!({"access_token_expires_leeway": 3300})
}

const SHORT: Duration = Duration::from_secs(301);

fn refreshes(provider: &Provider) -> usize {
    provider.hits("/token").iter().filter(|hit| form(hit)["grant_type"] == "refresh_token").count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r28_a_hundred_requests_with_one_expired_token_make_one_refresh_and_are_all_served() {
    let gate = Arc::new(Portcullis::dev());
    let provider = Provider::start(CLIENT);
    let site = site(Arc::clone(&gate), &provider, short_tokens()).await;
    let browser = site.logged_in().await;
    let first = site.last().header("x-access-token").unwrap().to_owned();
    let old = cookies(&browser);
    gate.advance(SHORT).await;
    let answers = join_all((0..100).map(|_| site.with_cookies("page", &old))).await;
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    assert!(
        answers.iter().all(|answer| answer.all("set-cookie").iter().any(|line| line.starts_with("session=")))
    );
    assert_eq!(refreshes(&provider), 1);
    let sent = form(&provider.hits("/token")[1]);
    assert_eq!((sent["refresh_token"].as_str(), sent["scope"].as_str()), ("refresh-1", "openid profile"));
    assert_eq!(sent.len(), 3);
    let seen = site.upstream.seen_with("/page");
    let mut given: Vec<_> = seen.iter().map(|seen| seen.header("x-access-token").unwrap()).collect();
    given.sort_unstable();
    given.dedup();
    assert_eq!((seen.len(), given.len()), (100, 1), "all have the one new token");
    assert_ne!(given[0], first);
    assert_eq!(
        site.with_cookies("later", &old).await.status,
        200,
        "an older cookie gets the same new session"
    );
    assert_eq!((site.last().header("x-access-token"), refreshes(&provider)), (Some(given[0]), 1));
}

#[tokio::test]
async fn a_provider_that_granted_less_than_was_asked_for_is_asked_for_what_it_granted() {
    let gate = Arc::new(Portcullis::dev());
    let provider = Provider::start(CLIENT);
    let site = site(Arc::clone(&gate), &provider, short_tokens()).await;
    let browser = site.logged_in().await;
    let tokens =
        json!({"access_token": provider.access_token(&json!({"jti": "less"})), "token_type": "Bearer"});
    provider.lie("/token", move |seen| match form(seen).contains_key("scope") {
        true => Answer::with(400, &[], r#"{"error":"invalid_scope"}"#),
        false => Answer::json(&tokens),
    });
    gate.advance(SHORT).await;
    assert_eq!(site.with_cookies("page", &cookies(&browser)).await.status, 200);
    assert_eq!(refreshes(&provider), 2);
    assert!(site.last().header("x-access-token").is_some());
}

#[tokio::test]
async fn r29_a_provider_that_is_away_ends_no_session_and_one_that_says_no_does() {
    let gate = Arc::new(Portcullis::dev());
    let provider = Provider::start(CLIENT);
    let site = site(Arc::clone(&gate), &provider, short_tokens()).await;
    let browser = site.logged_in().await;
    let old = cookies(&browser);
    gate.advance(SHORT).await;
    for (what, lie) in [
        ("503", Answer::with(503, &[], "")),
        ("a close", Answer::Close),
        ("a page", Answer::text("<html>")),
        ("a busy one", Answer::with(429, &[], r#"{"error":"invalid_grant"}"#)),
    ] {
        provider.lie("/token", move |_| lie.clone());
        let answer = site.with_cookies("page", &old).await;
        assert_eq!(answer.status, 200, "{what}: {answer:?}");
        let seen = site.last();
        assert!(seen.header("x-access-token").is_none(), "{what}: a token that is over is not handed on");
        assert!(seen.header("x-userinfo").is_some(), "{what}");
        gate.advance(Duration::from_secs(6)).await;
    }
    assert_eq!(refreshes(&provider), 4);
    let reached = site.reached();
    provider.lie("/token", |_| Answer::with(400, &[], r#"{"error":"invalid_grant"}"#));
    let answer = site.with_cookies("page", &old).await;
    assert_eq!(answer.status, 302, "{answer:?}");
    assert!(answer.header("location").unwrap().starts_with(&provider.issuer()));
    provider.be_honest();
    assert_eq!(site.with_cookies("page", &old).await.status, 302, "it is over for good");
    gate.restart();
    assert_eq!(site.with_cookies("page", &old).await.status, 302, "also after a restart");
    assert_eq!((site.reached(), refreshes(&provider)), (reached, 5));
}

#[tokio::test]
async fn r30_a_refresh_that_gives_somebody_else_ends_the_session() {
    let gate = Arc::new(Portcullis::dev());
    let provider = Provider::start(CLIENT);
    let site = site(Arc::clone(&gate), &provider, short_tokens()).await;
    let browser = site.logged_in().await;
    let reached = site.reached();
    gate.advance(SHORT).await;
    provider.claim(json!({"sub": "user-2"}));
    let answer = site.with_cookies("page", &cookies(&browser)).await;
    assert_eq!((answer.status, site.reached()), (302, reached), "{answer:?}");
}

#[tokio::test]
async fn r25_after_a_logout_the_old_cookie_is_dead_also_after_a_restart() {
    let gate = Arc::new(Portcullis::dev());
    let provider = Provider::start(CLIENT);
    let site = site(Arc::clone(&gate), &provider, json!({"post_logout_redirect_uri": "/bye"})).await;
    let mut browser = site.logged_in().await;
    let (old, other) = (cookies(&browser), cookies(&site.logged_in().await));
    let large =
        format!("{old}; {}", (2..=9).map(|n| format!("session_{n}=x")).collect::<Vec<_>>().join("; "));
    assert_eq!(site.with_cookies("page", &large).await.status, 200);
    assert_eq!(site.last().header("cookie"), None, "parts of a session stay here, too");

    let open = Site::on(Arc::clone(&gate), json!({})).await;
    let beside = format!("session=the-applications; {}", old.replace("session=", "app="));
    assert_eq!(open.with_cookies("page", &beside).await.status, 200);
    assert_eq!(
        open.last().header("cookie"),
        Some("session=the-applications"),
        "on every route, under any name"
    );

    let foreign = crate::support::Request::get(&site.target("logout")).header("Cookie", &old);
    let answer = gate.send(foreign.header("Sec-Fetch-Site", "cross-site")).await;
    assert!(answer.status == 200 && answer.text().contains("confirm-logout"), "r19: {answer:?}");
    assert_eq!(site.with_cookies("page", &old).await.status, 200);

    let out = browser.open_only(&site.url("logout")).await;
    // The provider has no place to log out at, and APISIX asks the next place as it would ask the provider.
    let port = gate.port(9080);
    let itself = format!("post_logout_redirect_uri=http%3A%2F%2Flocalhost%3A{port}%2Fbye");
    let bye = format!("http://localhost:{port}/bye?{itself}");
    assert_eq!((out.status(), out.location().map(String::from)), (302, Some(bye)));
    assert_eq!(browser.cookie("session"), None);
    let reached = site.reached();
    assert_eq!(site.with_cookies("page", &old).await.status, 302);
    gate.restart();
    assert_eq!(site.with_cookies("page", &old).await.status, 302, "a restart forgets no logout");
    assert_eq!(site.reached(), reached);
    assert_eq!(site.with_cookies("page", &other).await.status, 200, "nor any other session");
}

#[tokio::test]
async fn r24_a_cookie_opens_for_its_own_client_and_provider_alone() {
    let gate = Arc::new(Portcullis::dev());
    let (provider, other) = (Provider::start(CLIENT), Provider::start(CLIENT));
    let secret = json!({"session": {"secret": "0123456789abcdef"}});
    let here = site(Arc::clone(&gate), &provider, secret.clone()).await;
    let cookie = cookies(&here.logged_in().await);
    let mut client = secret.clone();
    client["client_id"] = json!("another");
    let mut key = secret.clone();
    key["session"]["secret"] = json!("fedcba9876543210");
    for (what, there) in [
        ("another client", site(Arc::clone(&gate), &provider, client).await),
        ("another secret", site(Arc::clone(&gate), &provider, key).await),
        ("the deployment's own key", site(Arc::clone(&gate), &provider, json!({})).await),
        ("another provider", site(Arc::clone(&gate), &other, secret.clone()).await),
    ] {
        assert_eq!(there.with_cookies("page", &cookie).await.status, 302, "{what}");
        assert_eq!(there.reached(), 0, "{what}");
    }
    let same = site(gate, &provider, secret).await;
    assert_eq!(same.with_cookies("page", &cookie).await.status, 200);
}
