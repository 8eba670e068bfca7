//! Sessions of `openid-connect`: what ends them, and what is told of them.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use support::Browser;

use super::{methods::Known, *};

/// The cookies of a browser as a header.
fn cookies(browser: &Browser) -> String {
    let names = browser.cookie_names();
    let pairs: Vec<String> =
        names.iter().map(|name| format!("{name}={}", browser.cookie(name).unwrap())).collect();
    pairs.join("; ")
}

#[tokio::test]
async fn a_field_of_a_form_ends_the_session_and_other_forms_go_on() {
    let (kong, known) = (Kong::new().await, Known::start());
    known.provider.be_honest();
    let more =
        json!({"logout_post_arg": "bye", "logout_methods": ["POST"], "logout_redirect_uri": ["/after"]});
    kong.plugin("openid-connect", known.config(json!(["session", "authorization_code"]), more)).await;
    let host = format!("localhost:{}", kong.gate.port(9080));
    let url = format!("http://{host}/{}/page", kong.name);
    let mut browser = Browser::new();
    assert_eq!(browser.open(&url).await.status(), 200);
    let line = cookies(&browser);
    let post = |kind: &str, body: &str| {
        let request = kong.request("POST", "/form").header("Host", &host).header("Cookie", &line);
        request.header("Content-Type", kind).header("Sec-Fetch-Site", "same-origin").body(body)
    };
    let form = "application/x-www-form-urlencoded";
    for (kind, body) in
        [(form, "a=1&b=bye"), (form, ""), ("text/plain", "bye=1"), ("application/json", "{\"bye\":1}")]
    {
        let answer = kong.send(post(kind, body)).await;
        assert_eq!(answer.status, 200, "{kind} {body}: {}", answer.text());
        let seen = kong.upstream.seen().pop().unwrap();
        assert_eq!(seen.message.body, body.as_bytes(), "{kind}: the upstream gets it whole");
        assert!(seen.header("authorization").is_some_and(|value| value.starts_with("Bearer ")));
    }
    let foreign = post(form, "bye=").header("Origin", "https://evil.example");
    let before = kong.upstream.seen().len();
    let ended = kong.send(post(form, "a=1&bye=")).await;
    assert_eq!(ended.status, 303, "{}", ended.text());
    assert!(
        ended
            .all("set-cookie")
            .iter()
            .any(|cookie| cookie.contains("Max-Age=0") || cookie.contains("Expires=")),
        "{ended:?}"
    );
    assert_eq!(kong.upstream.seen().len(), before, "the upstream hears nothing of it");
    let again = kong.request("GET", "/page").header("Host", &host).header("Cookie", &line);
    let again = again.header("Accept", "application/json");
    assert_eq!(kong.send(again).await.status, 401, "the session is over");
    // Without a session there is nothing to end.
    assert_eq!(kong.send(foreign).await.status, 401);
}

#[tokio::test]
async fn a_session_that_the_provider_renews_no_more_ends_or_is_refused_as_is_said() {
    let kong = Kong::on(Arc::new(Portcullis::dev())).await;
    let known = Known::start();
    let host = format!("localhost:{}", kong.gate.port(9080));
    for (keeps, more) in [(false, json!({})), (true, json!({"unauthorized_destroy_session": false}))] {
        known.provider.be_honest();
        known.provider.answer_tokens_with(json!({"refresh_token": "one", "expires_in": 60}));
        let lives = json!({"session_idling_timeout": 0, "session_rolling_timeout": 0});
        let mut config = known.config(json!(["session", "authorization_code"]), lives);
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        kong.plugin("openid-connect", config).await;
        let mut browser = Browser::new();
        assert_eq!(browser.open(&format!("http://{host}/{}/page", kong.name)).await.status(), 200);
        let line = cookies(&browser);
        let ask = async || {
            let request = kong.request("GET", "/x").header("Host", &host).header("Cookie", &line);
            kong.send(request.header("Accept", "application/json")).await
        };
        assert_eq!(ask().await.status, 200);
        kong.gate.advance(Duration::from_secs(61)).await;
        let denial = r#"{"error":"invalid_grant"}"#;
        known
            .provider
            .lie("/token", move |_| Answer::with(400, &[("Content-Type", "application/json")], denial));
        let refused = ask().await;
        assert_eq!(refused.status, 401, "{}", refused.text());
        assert_eq!(refused.all("set-cookie").is_empty(), keeps, "{refused:?}");
        known.provider.be_honest();
        kong.gate.advance(Duration::from_secs(61)).await;
        assert_eq!(ask().await.status, if keeps { 200 } else { 401 });
    }
}

#[tokio::test]
async fn a_login_ends_as_its_action_says_and_the_session_has_begun() {
    let (kong, known) = (Kong::new().await, Known::start());
    known.provider.be_honest();
    let host = format!("localhost:{}", kong.gate.port(9080));
    let url = format!("http://{host}/{}/page?x=1", kong.name);
    let login = async |more: Value| {
        kong.plugin("openid-connect", known.config(json!(["session", "authorization_code"]), more)).await;
        let before = kong.upstream.seen().len();
        let mut browser = Browser::new();
        let page = browser.open(&url).await;
        let asked = kong.upstream.seen().len() - before;
        // The session holds whatever the login ended with.
        let request = kong.request("GET", "/x").header("Host", &host).header("Cookie", &cookies(&browser));
        assert_eq!(kong.send(request.header("Accept", "application/json")).await.status, 200);
        (page, asked)
    };
    let (page, asked) = login(json!({"login_action": "response"})).await;
    let told = page.response.json();
    let names = |told: &Value| told.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!((page.status(), asked, names(&told)), (200, 0, vec!["id_token".to_owned()]), "{page:?}");
    assert!(page.response.header("cache-control").unwrap().contains("no-store"));
    let all = json!({"login_action": "response", "login_tokens": ["access_token", "tokens"]});
    let told = login(all).await.0.response.json();
    assert_eq!(names(&told), ["access_token", "tokens"]);
    assert_eq!(
        (&told["tokens"]["access_token"], &told["tokens"]["token_type"]),
        (&told["access_token"], &json!("Bearer"))
    );
    assert_eq!(told["tokens"]["id_token"].as_str().unwrap().split('.').count(), 3);
    let nothing = json!({"login_action": "response", "login_tokens": []});
    assert_eq!(login(nothing).await.0.response.json(), json!({}));

    let elsewhere = format!("http://{host}/{}/welcome?y=2", kong.name);
    let (page, asked) = login(json!({"login_action": "redirect"})).await;
    assert_eq!((page.status(), asked), (200, 1));
    let told = page.url.fragment().unwrap();
    assert!(
        page.url.as_str().starts_with(&format!("{url}#")) && told.starts_with("id_token="),
        "{}",
        page.url
    );
    let query = json!({
        "login_action": "redirect", "login_redirect_uri": [elsewhere], "login_redirect_mode": "query",
        "login_tokens": ["id_token", "access_token"],
    });
    let page = login(query).await.0;
    let told: Vec<String> = page.url.query_pairs().map(|(name, _)| name.into_owned()).collect();
    assert_eq!((page.url.path(), page.url.fragment()), (format!("/{}/welcome", kong.name).as_str(), None));
    assert_eq!(told, ["y", "id_token", "access_token"]);
    let bare = json!({"login_action": "redirect", "login_redirect_uri": [elsewhere], "login_tokens": null});
    assert_eq!(login(bare).await.0.url.as_str(), elsewhere);
    for (field, value) in [("login_tokens", json!(["introspection"])), ("login_methods", json!(["password"]))]
    {
        let mut config =
            known.config(json!(["session", "authorization_code"]), json!({"login_action": "response"}));
        config[field] = value;
        let answer = kong.call("POST", "/plugins", json!({"name": "openid-connect", "config": config})).await;
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert!(answer.json()["fields"]["config"][field].is_string(), "{}", answer.text());
    }
}

#[tokio::test]
async fn upstream_and_client_are_told_which_session_it_is_and_by_which_keys() {
    let (kong, known) = (Kong::new().await, Known::start());
    known.provider.be_honest();
    let more = json!({
        "upstream_session_id_header": "x_session_id", "downstream_session_id_header": "x-session",
        "upstream_id_token_jwk_header": "x-id-jwk", "upstream_access_token_jwk_header": "x-access-jwk",
        "downstream_access_token_jwk_header": "x-jwk",
    });
    let methods = json!(["session", "bearer", "authorization_code"]);
    kong.plugin("openid-connect", known.config(methods, more)).await;
    let host = format!("localhost:{}", kong.gate.port(9080));
    let mut ids = Vec::new();
    for _ in 0..2 {
        let mut browser = Browser::new();
        assert_eq!(browser.open(&format!("http://{host}/{}/page", kong.name)).await.status(), 200);
        let line = cookies(&browser);
        for _ in 0..2 {
            let request = kong.request("GET", "/x").header("Host", &host).header("Cookie", &line);
            let answer = kong.send(request.header("X-Session-Id", "mine")).await;
            assert_eq!(answer.status, 200);
            let seen = kong.upstream.seen().pop().unwrap();
            let id = seen.header("x-session-id").unwrap().to_owned();
            assert_eq!(answer.header("x-session"), Some(id.as_str()));
            assert!(id.len() == 43 && !line.contains(&id), "{id}");
            let jwk: Value =
                serde_json::from_slice(&STANDARD.decode(seen.header("x-id-jwk").unwrap()).unwrap()).unwrap();
            assert_eq!(jwk, known.provider.published()["keys"][0]);
            ids.push(id);
        }
    }
    assert!(ids[0] == ids[1] && ids[2] == ids[3] && ids[0] != ids[2], "{ids:?}");
    let token = known.token(&json!({"sub": "jwt"}));
    let answer = kong.send(kong.request("GET", "/").bearer(&token)).await;
    let seen = kong.upstream.seen().pop().unwrap();
    let jwk: Value =
        serde_json::from_slice(&STANDARD.decode(seen.header("x-access-jwk").unwrap()).unwrap()).unwrap();
    assert_eq!((answer.status, &jwk), (200, &known.provider.published()["keys"][0]));
    assert_eq!(answer.header("x-jwk"), seen.header("x-access-jwk"));
    assert!(seen.header("x-session-id").is_none() && jwk.get("d").is_none());
}
