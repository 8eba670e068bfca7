//! Sessions: how long they live, how they are refreshed, and how they end.

use serde_json::json;

use super::*;

fn login(config: &mut Config) -> &mut LoginConfig {
    config.login.as_mut().unwrap()
}

fn access_token(got: &Got) -> String {
    got.told("x-access-token").unwrap_or_default().to_owned()
}

fn refreshes(gate: &Gate) -> usize {
    gate.idp.hits("/token").iter().filter(|hit| hit.form["grant_type"] == "refresh_token").count()
}

#[tokio::test]
async fn a_session_ends_by_idling_and_by_age_and_lives_on_while_it_is_used() {
    let gate = Gate::with(|config| login(config).default_expires_in = Duration::from_secs(100_000)).await;
    gate.idp.script(|script| {
        script.token_response =
            Some(Box::new(|response| drop(response.as_object_mut().unwrap().remove("expires_in"))));
    });
    let mut idle = Jar::log_in(&gate, PAGE).await;
    let mut used = idle.clone();
    gate.pass(899);
    assert!(used.go(&gate, PAGE).await.passed());
    gate.pass(1);
    assert!(idle.go(&gate, PAGE).await.is(302));
    for _ in 0..106 {
        gate.pass(800);
        assert!(used.go(&gate, PAGE).await.passed());
    }
    gate.pass(800);
    assert!(used.go(&gate, PAGE).await.is(302), "a day has passed since the login");
}

#[tokio::test]
async fn a_cookie_is_issued_anew_once_a_minute_and_kept_by_no_cache() {
    let gate = Gate::new().await;
    let mut jar = Jar::log_in(&gate, PAGE).await;
    gate.pass(59);
    assert!(jar.go(&gate, PAGE).await.set_cookies().is_empty());
    gate.pass(1);
    let got = jar.go(&gate, PAGE).await;
    assert!(got.passed());
    assert_eq!(got.set_cookies().len(), 1);
    assert_eq!(got.header("cache-control"), "no-store", "r33");
    assert!(jar.go(&gate, PAGE).await.set_cookies().is_empty());
}

#[tokio::test]
async fn a_client_that_sends_its_stale_cookie_over_and_over_gets_a_new_one_once_a_second() {
    let gate = Gate::new().await;
    let jar = Jar::log_in(&gate, PAGE).await;
    gate.pass(60);
    let line = jar.line();
    let mut issued = Vec::new();
    for _ in 0..3 {
        for _ in 0..5 {
            let got = gate.send(get(PAGE).with("cookie", &line)).await;
            issued.push(got.0.set_cookies().len());
        }
        gate.pass(1);
    }
    assert_eq!(issued, [1, 0, 0, 0, 0].repeat(3));
}

#[tokio::test]
async fn the_engine_knows_every_cookie_of_the_gates_by_its_value() {
    assert_eq!(rp::session::SEALED.as_bytes(), gateway::plugin::SEALED_COOKIE);
    let gate = Gate::with(|config| login(config).cookies.name = Some("any".to_owned())).await;
    let mut jar = Jar::log_in(&gate, PAGE).await;
    jar.go(&gate.sibling(|config| login(config).force_reauthorize = true), PAGE).await;
    let mut head = get(PAGE).with("cookie", &jar.line()).head();
    head.remove_cookies(|_| false);
    assert!(!jar.0.is_empty() && !head.headers.contains_key("cookie"), "{jar:?}");
}

#[tokio::test]
async fn r24_a_cookie_opens_for_its_own_provider_client_and_secret_alone() {
    let gate = Gate::new().await;
    let jar = Jar::log_in(&gate, PAGE).await;
    let same = gate.sibling(|config| config.realm = "other".to_owned());
    assert!(jar.clone().go(&same, PAGE).await.passed());
    let client = gate.sibling(|config| config.client_id = "other".to_owned());
    let discovery = gate.sibling(|config| config.discovery.push_str("?x"));
    let secret =
        gate.sibling(|config| login(config).secret = Some(Secret::new("0123456789abcdef".to_owned())));
    for other in [client, discovery, secret] {
        assert!(!jar.clone().go(&other, PAGE).await.passed());
    }
}

#[tokio::test]
async fn required_scopes_hold_for_sessions_too() {
    let gate = Gate::with(|config| config.required_scopes = vec!["profile".to_owned()]).await;
    assert!(Jar::log_in(&gate, PAGE).await.go(&gate, PAGE).await.passed());
    let more = gate.sibling(|config| config.required_scopes = vec!["profile".to_owned(), "admin".to_owned()]);
    let got = Jar::log_in(&more, PAGE).await.go(&more, PAGE).await;
    assert!(got.is(403));
    assert_eq!(got.body, r#"{"error":"required scopes profile, admin not present"}"#);
}

#[tokio::test]
async fn r28_a_hundred_requests_with_one_expired_token_make_one_refresh() {
    let gate = Gate::new().await;
    let mut jar = Jar::log_in(&gate, PAGE).await;
    let old = access_token(&jar.go(&gate, PAGE).await);
    gate.pass(600);
    let line = jar.line();
    let got =
        futures_util::future::join_all((0..100).map(|_| gate.send(get(PAGE).with("cookie", &line)))).await;
    let new = access_token(&got[0].0);
    assert_ne!(new, old);
    assert!(
        got.iter().all(|(got, _)| got.passed() && access_token(got) == new && got.set_cookies().len() == 1)
    );
    assert_eq!(refreshes(&gate), 1);
    // An older cookie gets the same session for a while, and a newer one needs no refresh.
    gate.pass(30);
    assert_eq!(access_token(&jar.clone().go(&gate, PAGE).await), new);
    jar.keep(&got[0].0);
    assert_eq!(access_token(&jar.go(&gate, PAGE).await), new);
    assert_eq!(refreshes(&gate), 1);
    let hit = gate.idp.hits("/token").pop().unwrap();
    assert!(hit.form["refresh_token"].starts_with("refresh-"));
}

#[tokio::test]
async fn r29_invalid_grant_ends_the_session_for_good() {
    let gate = Gate::new().await;
    let jar = Jar::log_in(&gate, PAGE).await;
    gate.pass(600);
    gate.idp.answer("/token", 400, json!({"error": "invalid_grant"}));
    let got = jar.clone().go(&gate, PAGE).await;
    assert!(got.is(302), "{got:?}");
    assert!(got.set_cookies().iter().any(|line| line.starts_with("__Host-session=; Max-Age=0")));
    let api = jar.clone().send(&gate, get(PAGE).with("accept", "application/json")).await;
    assert!(api.is(401));
    gate.idp.script(|script| script.answers.clear());
    assert!(jar.clone().go(&gate, PAGE).await.is(302), "the old cookie is dead");
    assert_eq!(gate.store.lines.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn r29_a_provider_that_is_away_keeps_the_session_until_its_hard_end() {
    let gate = Gate::with(|config| {
        login(config).lifetimes =
            Lifetimes { idling: Duration::ZERO, rolling: Duration::ZERO, ..Lifetimes::default() };
    })
    .await;
    let mut jar = Jar::log_in(&gate, PAGE).await;
    gate.pass(600);
    for (status, body) in
        [(503, ""), (200, "<html>"), (429, ""), (400, r#"{"error":"temporarily_unavailable"}"#)]
    {
        gate.idp.answer("/token", status, body);
        let got = jar.go(&gate, PAGE).await;
        assert!(got.passed(), "{status}: {got:?}");
        assert_eq!(got.told("x-access-token"), None, "it is over");
        assert_eq!(got.told_json("x-userinfo")["sub"], "user");
        gate.pass(6);
    }
    let mut later = jar.clone();
    gate.pass(86_400);
    assert!(jar.go(&gate, PAGE).await.is(302));
    gate.idp.script(|script| script.answers.clear());
    assert!(later.go(&gate, PAGE).await.is(302));
}

#[tokio::test]
async fn r29_a_session_in_use_does_not_idle_away_while_the_provider_is_down() {
    let gate = Gate::new().await;
    let mut jar = Jar::log_in(&gate, PAGE).await;
    gate.idp.answer("/token", 503, "");
    for _ in 0..20 {
        gate.pass(600);
        assert!(jar.go(&gate, PAGE).await.passed());
    }
}

#[tokio::test]
async fn a_cookie_of_odd_bytes_beside_it_does_not_log_a_user_out() {
    let gate = Gate::new().await;
    let jar = Jar::log_in(&gate, PAGE).await;
    let mut line = format!("{}; odd=", jar.line()).into_bytes();
    line.push(0xff);
    let mut asking = get(PAGE);
    asking.headers.insert(header::COOKIE, HeaderValue::from_bytes(&line).unwrap());
    let got = gate.send(asking).await.0;
    assert!(got.passed());
    assert_eq!(got.upstream[header::COOKIE].as_bytes(), b"odd=\xff");
}

#[tokio::test]
async fn r39_an_access_token_that_is_over_at_once_is_no_loop() {
    let gate = Gate::with(|config| login(config).expires_leeway = Duration::from_secs(700)).await;
    gate.idp.script(|script| {
        script.token_response =
            Some(Box::new(|response| drop(response.as_object_mut().unwrap().remove("refresh_token"))));
    });
    let mut jar = Jar::default();
    let away = jar.go(&gate, PAGE).await;
    assert!(jar.go(&gate, &gate.idp.authorize(away.location())).await.is(502));
}

#[tokio::test]
async fn r29_a_refresh_that_comes_too_late_keeps_the_session() {
    let gate = Gate::with(|config| config.calls.timeout = Duration::from_secs(2)).await;
    let mut jar = Jar::log_in(&gate, PAGE).await;
    gate.pass(600);
    gate.idp.script(|script| {
        let late = idp::Answer { after: Duration::from_secs(4), ..idp::Answer::new(200, "{}") };
        script.answers.insert("/token", late);
    });
    let got = jar.go(&gate, PAGE).await;
    assert!(got.passed() && got.told("x-access-token").is_none());
}

#[tokio::test]
async fn r30_a_refresh_that_gives_somebody_else_ends_the_session() {
    for (name, value) in [("sub", json!("other")), ("iss", json!("https://other/")), ("aud", json!("other"))]
    {
        let gate = Gate::new().await;
        let jar = Jar::log_in(&gate, PAGE).await;
        gate.pass(600);
        gate.idp
            .script(|script| script.id_token = Some(Box::new(move |claims| claims[name] = value.clone())));
        assert!(jar.clone().go(&gate, PAGE).await.is(302), "{name}");
        gate.idp.script(|script| script.id_token = None);
        gate.pass(61);
        assert!(jar.clone().go(&gate, PAGE).await.is(302), "{name}");
        assert_eq!(refreshes(&gate), 1);
    }
}

#[tokio::test]
async fn without_renewal_an_expired_token_just_disappears() {
    let gate = Gate::with(|config| login(config).renew = false).await;
    let mut jar = Jar::log_in(&gate, PAGE).await;
    gate.pass(600);
    let got = jar.go(&gate, PAGE).await;
    assert!(got.passed() && got.told("x-access-token").is_none() && got.told("x-userinfo").is_some());
    assert_eq!(refreshes(&gate), 0);
}

#[tokio::test]
async fn without_a_refresh_token_an_expired_session_logs_in_again() {
    let gate = Gate::new().await;
    gate.idp.script(|script| {
        script.token_response =
            Some(Box::new(|response| drop(response.as_object_mut().unwrap().remove("refresh_token"))));
    });
    let mut jar = Jar::log_in(&gate, PAGE).await;
    gate.pass(599);
    assert!(jar.go(&gate, PAGE).await.is(302));
}

#[tokio::test]
async fn r25_after_logout_every_cookie_of_the_session_is_dead() {
    let gate = Gate::with(|config| login(config).revoke_on_logout = true).await;
    let old = Jar::log_in(&gate, PAGE).await;
    let mut jar = old.clone();
    gate.pass(60);
    assert!(jar.go(&gate, PAGE).await.passed());
    let newer = jar.clone();
    let out = jar.go(&gate, "https://app.example/logout").await;
    assert!(out.is(302), "{out:?}");
    assert!(out.location().starts_with(&format!("{}/logout?id_token_hint=ey", gate.idp.0.url)));
    assert_eq!(out.header("cache-control"), "no-cache, no-store, max-age=0");
    assert!(jar.0.is_empty());
    for mut dead in [old, newer] {
        assert!(dead.go(&gate, PAGE).await.is(302));
    }
    assert_eq!(gate.store.lines.lock().unwrap().len(), 1, "it was recorded before the answer");
    let hints: Vec<_> =
        gate.idp.hits("/revoke").iter().map(|hit| hit.form["token_type_hint"].clone()).collect();
    assert_eq!(hints, ["refresh_token", "access_token"]);
}

#[tokio::test]
async fn a_logout_that_cannot_be_recorded_is_not_called_done() {
    let gate = Gate::new().await;
    let mut jar = Jar::log_in(&gate, PAGE).await;
    gate.store.broken.store(true, Ordering::Relaxed);
    let out = jar.go(&gate, "https://app.example/logout").await;
    assert!(out.is(503) && jar.0.is_empty(), "{out:?}");
}

#[tokio::test]
async fn r25_a_logout_that_was_not_recorded_is_recorded_when_it_is_tried_again() {
    let gate = Gate::new().await;
    let jar = Jar::log_in(&gate, PAGE).await;
    gate.store.broken.store(true, Ordering::Relaxed);
    assert!(jar.clone().go(&gate, "https://app.example/logout").await.is(503));
    gate.store.broken.store(false, Ordering::Relaxed);
    assert!(jar.clone().go(&gate, "https://app.example/logout").await.is(302));
    assert_eq!(gate.store.lines.lock().unwrap().len(), 1, "it would be alive again after a restart");
}

#[tokio::test]
async fn r25_a_logout_ends_what_counts_as_over_only_by_the_rules_of_today() {
    let gate = Gate::with(|config| login(config).lifetimes.idling = Duration::from_secs(100)).await;
    let jar = Jar::log_in(&gate, PAGE).await;
    gate.pass(100);
    assert!(jar.clone().go(&gate, PAGE).await.is(302), "it has idled away");
    let longer = gate.sibling(|config| login(config).lifetimes.idling = Duration::from_secs(1000));
    assert!(jar.clone().go(&longer, PAGE).await.passed());
    assert!(jar.clone().go(&gate, "https://app.example/logout").await.is(302));
    assert!(jar.clone().go(&longer, PAGE).await.is(302));
}

#[tokio::test]
async fn r25_no_route_keeps_a_session_longer_than_its_end_is_remembered() {
    let never = Lifetimes { idling: Duration::ZERO, rolling: Duration::ZERO, absolute: Duration::ZERO };
    let day = Lifetimes { absolute: Duration::from_secs(86_400), ..never };
    let gate = Gate::with(|config| login(config).lifetimes = day).await;
    let other = gate.sibling(|config| {
        login(config).lifetimes = never;
        login(config).renew = false;
    });
    let jar = Jar::log_in(&gate, PAGE).await;
    assert!(jar.clone().go(&other, PAGE).await.passed());
    assert!(jar.clone().go(&gate, "https://app.example/logout").await.is(302));
    gate.pass(86_400);
    // The next logout tidies the record.
    let next = Jar::log_in(&gate, PAGE).await;
    assert!(next.clone().go(&gate, "https://app.example/logout").await.is(302));
    assert!(jar.clone().go(&other, PAGE).await.is(302));
}

#[tokio::test]
async fn h01_what_the_client_sends_in_authorization_is_not_taken_for_the_gates_word() {
    let gate = Gate::with(|config| {
        config.bearer = None;
        config.headers.access_token = AccessTokenHeader::Authorization;
        login(config).unauthenticated = Unauthenticated::Pass;
        login(config).renew = false;
    })
    .await;
    let spoof = || get(PAGE).with("authorization", "Bearer spoofed");
    let got = gate.send(spoof()).await.0;
    assert!(got.passed() && got.told("authorization").is_none(), "{got:?}");
    let mut jar = Jar::default();
    let by_login = gate.sibling(|config| config.headers.access_token = AccessTokenHeader::Authorization);
    let away = jar.go(&by_login, PAGE).await;
    assert!(jar.go(&gate, &gate.idp.authorize(away.location())).await.is(302));
    let got = jar.send(&gate, spoof()).await;
    assert!(got.told("authorization").unwrap().starts_with("Bearer access-"), "{got:?}");
    gate.pass(600);
    let got = jar.send(&gate, spoof()).await;
    assert!(got.passed() && got.told("authorization").is_none(), "the session's token is over: {got:?}");
    let beside = gate.sibling(|config| login(config).unauthenticated = Unauthenticated::Pass);
    let got = beside.send(get(PAGE).with("authorization", "Basic eDp5")).await.0;
    assert_eq!(got.told("authorization"), Some("Basic eDp5"), "elsewhere it is the application's");
}

#[tokio::test]
async fn r18_a_logout_goes_where_the_configuration_says_and_nowhere_else() {
    let gate = Gate::with(|config| login(config).post_logout_redirect_uri = Some("/bye".to_owned())).await;
    let mut jar = Jar::log_in(&gate, PAGE).await;
    let evil = "https://app.example/logout?post_logout_redirect_uri=https://evil.example/&rd=//evil.example";
    let out = jar.go(&gate, evil).await;
    let target = Url::parse(out.location()).unwrap();
    let query: BTreeMap<_, _> = target.query_pairs().into_owned().collect();
    assert_eq!(query["post_logout_redirect_uri"], "https://app.example/bye");
    assert!(!out.location().contains("evil"));
    let again = jar.go(&gate, "https://app.example/logout").await;
    assert!(again.location().contains("client_id=client") && !again.location().contains("id_token_hint"));

    let alone =
        Gate::cold(|config| login(config).post_logout_redirect_uri = Some("https://x.example/".to_owned()))
            .await;
    alone.idp.script(|script| {
        script.metadata =
            Some(Box::new(|metadata| drop(metadata.as_object_mut().unwrap().remove("end_session_endpoint"))));
    });
    assert_eq!(
        Jar::default().go(&alone, "https://app.example/logout").await.location(),
        "https://x.example/?post_logout_redirect_uri=https%3A%2F%2Fx.example%2F",
        "as APISIX has it"
    );
    let nowhere = alone.sibling(|_| ());
    let got = Jar::default().go(&nowhere, "https://app.example/logout").await;
    assert!(got.is(200));
    assert_eq!(got.body, "<html><body>Logged Out</body></html>\n");
}

#[tokio::test]
async fn r19_another_sites_page_cannot_log_a_user_out_in_silence() {
    let gate = Gate::new().await;
    let mut jar = Jar::log_in(&gate, PAGE).await;
    let logout = || get("https://app.example/logout");
    for foreign in [
        logout().with("sec-fetch-site", "cross-site"),
        logout().with("sec-fetch-site", "cross-site").method(Method::POST),
        logout().with("sec-fetch-site", "cross-site").with("sec-fetch-dest", "image"),
        logout().with("origin", "https://evil.example").method(Method::POST),
        logout().with("referer", "https://evil.example/x"),
        logout().with("origin", "null").method(Method::POST),
    ] {
        let got = jar.send(&gate, foreign).await;
        assert!(got.is(200) && got.body.contains(r#"id="confirm-logout""#), "{got:?}");
        assert!(got.header("content-security-policy").contains("frame-ancestors 'none'"));
        assert!(got.set_cookies().is_empty());
    }
    assert!(jar.go(&gate, PAGE).await.passed());
    let confirmed = logout().with("sec-fetch-site", "same-origin").method(Method::POST);
    let got = jar.send(&gate, confirmed).await;
    assert!(got.is(303) && jar.0.is_empty());
}

#[tokio::test]
async fn r37_while_the_provider_is_away_sessions_go_on_and_can_be_ended_here() {
    let gate = Gate::new().await;
    let mut jar = Jar::log_in(&gate, PAGE).await;
    gate.idp.answer("/.well-known/openid-configuration", 500, "");
    let restarted = gate.restarted();
    assert!(jar.go(&restarted, PAGE).await.passed());
    let old = jar.clone();
    let out = jar.go(&restarted, "https://app.example/logout").await;
    assert!(out.is(503) && out.body.contains("you are logged out here") && jar.0.is_empty(), "{out:?}");
    assert!(old.clone().go(&gate, PAGE).await.is(302));
}

#[tokio::test]
async fn a_session_too_large_for_cookies_is_an_error_and_no_loop() {
    let gate = Gate::new().await;
    gate.idp.script(|script| {
        let noise = idp::random().alphanumeric(40_000);
        script.token_response = Some(Box::new(move |response| response["access_token"] = json!(noise)));
        script.id_token = Some(Box::new(|claims| drop(claims.as_object_mut().unwrap().remove("at_hash"))));
    });
    let mut jar = Jar::default();
    let away = jar.go(&gate, PAGE).await;
    let got = jar.go(&gate, &gate.idp.authorize(away.location())).await;
    assert!(got.is(502) && jar.0.is_empty(), "{got:?}");
}

#[tokio::test]
async fn r40_claims_reach_the_upstream_encoded_whatever_is_in_them() {
    let gate = Gate::new().await;
    let claims: serde_json::Map<String, Value> =
        (0..200).map(|number| (format!("claim\r\n{number}"), json!("\u{1f600}\r\nx: y\u{0001}"))).collect();
    let mut claims = Value::Object(claims);
    claims["sub"] = json!("user");
    gate.idp.answer("/userinfo", 200, &claims);
    let got = Jar::log_in(&gate, PAGE).await.go(&gate, PAGE).await;
    assert_eq!(got.told_json("x-userinfo"), claims);
}

#[tokio::test]
async fn a_login_counts_for_ten_seconds_where_each_visit_must_go_through_the_provider() {
    let gate = Gate::with(|config| login(config).force_reauthorize = true).await;
    let mut jar = Jar::log_in(&gate, PAGE).await;
    assert!(jar.go(&gate, PAGE).await.passed());
    gate.pass(10);
    assert!(jar.go(&gate, PAGE).await.is(302));
}
