//! Logins at a provider that is down, talks nonsense or takes too long.

use super::*;

#[tokio::test]
async fn r37_a_login_waits_for_the_provider_and_says_so_when_it_is_down() {
    let gate = Gate::cold(|_| ()).await;
    assert!(gate.send(get(PAGE)).await.0.is(302), "it was only not asked yet");
    let gate = Gate::cold(|_| ()).await;
    gate.idp.answer("/.well-known/openid-configuration", 500, "");
    let got = gate.send(get(PAGE)).await.0;
    assert!(got.is(503) && got.set_cookies().is_empty(), "{got:?}");
}

#[tokio::test]
async fn r38_junk_from_the_token_endpoint_is_a_502_without_session_or_secret() {
    let gate = Gate::new().await;
    let junk = [
        (500, "canary".to_owned()),
        (200, "<html>canary</html>".to_owned()),
        (200, r#"{"access_token":"canary","access_token":"b","token_type":"Bearer"}"#.to_owned()),
        (200, r#"{"access_token":5,"token_type":"Bearer"}"#.to_owned()),
        (200, r#"{"access_token":"canary","token_type":"Bearer"}"#.to_owned()),
        (200, r#"{"access_token":"canary","token_type":"Bearer","id_token":"canary"}"#.to_owned()),
        (
            200,
            r#"{"access_token":"canary","token_type":"Bearer","id_token":"a.b.c","expires_in":-1}"#
                .to_owned(),
        ),
        (204, String::new()),
        (401, r#"{"error":"invalid_client","error_description":"canary"}"#.to_owned()),
    ];
    for (status, body) in junk {
        gate.idp.answer("/token", status, &body);
        let mut jar = Jar::default();
        let callback = begin(&gate, &mut jar).await;
        let got = jar.go(&gate, &callback).await;
        assert!(got.is(502) && !has_session(&jar), "{status} {body}: {got:?}");
        assert!(!got.body.contains("canary"));
        assert!(jar.0.is_empty(), "the login is forgotten");
    }
}

#[tokio::test]
async fn r39_a_provider_that_always_fails_is_tried_twice_and_no_more() {
    let gate = Gate::new().await;
    let mut jar = Jar::default();
    let mut callback = begin(&gate, &mut jar).await;
    let failing = |callback: &str| {
        let state = &query(callback)["state"];
        format!("https://app.example/callback?error=temporarily_unavailable&state={state}")
    };
    let again = jar.go(&gate, &failing(&callback)).await;
    assert!(again.is(302), "{again:?}");
    assert_eq!(jar.0.len(), 1, "the first login is forgotten");
    callback = gate.idp.authorize(again.location());
    let end = jar.go(&gate, &failing(&callback)).await;
    assert!(end.is(502), "{end:?}");
    let refused = |error: &'static str| {
        let gate = &gate;
        async move {
            let mut jar = Jar::default();
            let state = query(&begin(gate, &mut jar).await)["state"].clone();
            jar.go(gate, &format!("https://app.example/callback?error={error}&state={state}")).await
        }
    };
    assert!(refused("server_error").await.is(502));
    assert!(refused("login_required").await.is(403));
    assert!(refused("a%22b").await.is(400));
}

#[tokio::test]
async fn r39_a_login_that_took_too_long_is_begun_again_once() {
    let gate = Gate::new().await;
    let mut jar = Jar::default();
    let callback = begin(&gate, &mut jar).await;
    gate.pass(3601);
    let again = jar.go(&gate, &callback).await;
    assert!(again.is(302), "{again:?}");
    let callback = gate.idp.authorize(again.location());
    assert_eq!(jar.clone().go(&gate, &callback).await.location(), PAGE);
    gate.pass(3601);
    assert!(jar.go(&gate, &callback).await.is(400));
}
