//! Logins: the way to the provider and back.

mod callback;
mod trouble;
mod way_back;

use serde_json::json;

use super::*;

/// The parameters of a URL.
fn query(url: &str) -> BTreeMap<String, String> {
    Url::parse(url).unwrap().query_pairs().into_owned().collect()
}

fn login(config: &mut Config) -> &mut LoginConfig {
    config.login.as_mut().unwrap()
}

/// Opens the page and gives the callback that the provider sends the browser to.
async fn begin(gate: &Gate, jar: &mut Jar) -> String {
    let away = jar.go(gate, PAGE).await;
    assert!(away.is(302), "{away:?}");
    gate.idp.authorize(away.location())
}

fn exchanges(gate: &Gate) -> usize {
    gate.idp.hits("/token").len()
}

fn has_session(jar: &Jar) -> bool {
    jar.0.contains_key("__Host-session")
}

#[tokio::test]
async fn a_browser_logs_in_and_comes_back_to_the_page_it_asked_for() {
    let gate = Gate::new().await;
    let mut jar = Jar::default();
    let away = jar.go(&gate, PAGE).await;
    assert!(away.is(302));
    assert_eq!(away.header("cache-control"), "no-cache, no-store, max-age=0");
    let asked = query(away.location());
    assert_eq!(asked["scope"], "openid profile");
    assert_eq!(asked["redirect_uri"], "https://app.example/callback");
    assert_eq!(asked["state"].len(), 32);
    let back = jar.go(&gate, &gate.idp.authorize(away.location())).await;
    assert_eq!((back.status, back.location()), (Some(StatusCode::FOUND), PAGE));
    assert_eq!(back.header("cache-control"), "no-cache, no-store, max-age=0");
    assert_eq!(jar.0.len(), 1, "only the session is left: {jar:?}");

    let page = get(PAGE).with("cookie", &format!("app=1; {}; app2=2", jar.line()));
    let (got, waited) = gate.send(page).await;
    assert!(got.passed() && !waited, "{got:?}");
    assert_eq!(got.told("x-access-token").unwrap().split('-').next(), Some("access"));
    assert_eq!(got.told_json("x-id-token")["sub"], "user");
    assert_eq!(got.told_json("x-userinfo")["name"], "Ünï \"cödé\"\r\n");
    assert_eq!((got.told("x-refresh-token"), got.told("x-raw-id-token")), (None, None));
    assert_eq!(got.told("cookie"), Some("app=1; app2=2"));
    assert!(got.set_cookies().is_empty());
}

#[tokio::test]
async fn the_headers_that_are_asked_for_are_set_and_no_others() {
    let gate = Gate::with(|config| {
        config.headers = Headers {
            access_token: AccessTokenHeader::Authorization,
            id_token: false,
            raw_id_token: true,
            userinfo: false,
            refresh_token: true,
            named: Vec::new(),
            back: Vec::new(),
        };
    })
    .await;
    let got = Jar::log_in(&gate, PAGE).await.go(&gate, PAGE).await;
    assert!(got.told("authorization").unwrap().starts_with("Bearer access-"));
    assert_eq!(got.told("x-raw-id-token").unwrap().split('.').count(), 3);
    assert!(got.told("x-refresh-token").unwrap().starts_with("refresh-"));
    for absent in ["x-access-token", "x-id-token", "x-userinfo"] {
        assert_eq!(got.told(absent), None);
    }
    assert!(gate.idp.hits("/userinfo").is_empty());
}

#[tokio::test]
async fn without_a_redirect_uri_each_page_has_its_own_callback() {
    let gate = Gate::with(|config| login(config).redirect_uri = None).await;
    for (page, callback) in [
        ("https://app.example/a/b", "https://app.example/a/b/.apisix/redirect"),
        ("https://app.example:8443/a/", "https://app.example:8443/a/.apisix/redirect"),
        ("http://localhost:9080/", "http://localhost:9080/.apisix/redirect"),
    ] {
        let mut jar = Jar::default();
        let away = jar.go(&gate, page).await;
        assert_eq!(query(away.location())["redirect_uri"], callback);
        let back = jar.go(&gate, &gate.idp.authorize(away.location())).await;
        assert_eq!((back.status, back.location()), (Some(StatusCode::FOUND), page));
        assert!(jar.go(&gate, page).await.passed());
    }
}

#[tokio::test]
async fn further_parameters_go_to_the_provider() {
    let gate = Gate::with(|config| {
        login(config).authorization_params = vec![("audience".to_owned(), "https://api/".to_owned())];
    })
    .await;
    let away = Jar::default().go(&gate, PAGE).await;
    assert_eq!(query(away.location())["audience"], "https://api/");
}

#[tokio::test]
async fn over_plain_http_only_this_machines_own_names_log_in() {
    let gate = Gate::new().await;
    let got = Jar::default().go(&gate, "http://app.example/page").await;
    assert!(
        got.is(400) && got.body.contains("a login needs https") && got.set_cookies().is_empty(),
        "{got:?}"
    );
    for page in
        ["http://localhost:9080/x", "http://127.0.0.1:9080/x", "http://[::1]:9080/x", "http://a.localhost/x"]
    {
        let mut jar = Jar::log_in(&gate, page).await;
        assert!(jar.0.contains_key("session"));
        assert!(jar.go(&gate, page).await.passed());
    }
}

#[tokio::test]
async fn over_plain_http_a_session_of_https_does_not_count_either() {
    let gate = Gate::with(|config| login(config).cookies.secure = Some(false)).await;
    let mut jar = Jar::log_in(&gate, PAGE).await;
    gate.pass(60);
    let got = jar.clone().go(&gate, "http://app.example/page").await;
    assert!(got.is(400) && got.set_cookies().is_empty(), "{got:?}");
    assert!(jar.go(&gate, PAGE).await.passed());
    let fixed = gate.sibling(|config| {
        login(config).cookies.secure = Some(false);
        login(config).redirect_uri = Some("https://app.example/callback".to_owned());
    });
    let mut jar = Jar::default();
    let callback = begin(&fixed, &mut jar).await.replace("https://", "http://");
    let got = jar.go(&fixed, &callback).await;
    assert!(got.is(400) && got.set_cookies().is_empty(), "{got:?}");
    assert_eq!(exchanges(&gate), 1, "the first login's");
}

/// The provider's answer goes to the host of the redirect URI, where cookies of another host are not sent. The login is
/// begun all the same, as APISIX does; who ends up without it is told where to begin.
#[tokio::test]
async fn a_login_begun_at_another_host_than_it_comes_back_to_is_told_where_to_begin() {
    let gate = Gate::with(|config| {
        login(config).redirect_uri = Some("http://localhost:9080/callback".to_owned());
    })
    .await;
    let mut jar = Jar::default();
    let begun = jar.go(&gate, "http://127.0.0.1:9080/x").await;
    assert!(
        begun.is(302) && begun.location().contains("redirect_uri=http%3A%2F%2Flocalhost%3A9080%2Fcallback")
    );
    let callback = gate.idp.authorize(begun.location());
    let got = Jar::default().go(&gate, &callback).await;
    assert!(got.is(400) && got.body.contains("http://localhost:9080"), "{got:?}");
    assert!(
        Jar::default().go(&gate, "http://localhost:9081/x").await.is(302),
        "cookies do not separate ports"
    );
}

#[tokio::test]
async fn r06_every_login_has_a_challenge_nonce_and_state_of_its_own() {
    let gate = Gate::new().await;
    let mut seen = std::collections::HashSet::new();
    for _ in 0..1000 {
        let asked = query(gate.send(get(PAGE)).await.0.location());
        assert_eq!(asked["code_challenge_method"], "S256");
        assert_eq!(asked["code_challenge"].len(), 43);
        for name in ["code_challenge", "nonce", "state"] {
            assert!(seen.insert(asked[name].clone()), "{name} repeats");
        }
    }
}

#[tokio::test]
async fn r07_pkce_stays_when_the_provider_does_not_speak_of_it() {
    for methods in [Value::Null, json!(["plain"])] {
        let gate = Gate::cold(|_| ()).await;
        gate.idp.script(|script| {
            let change =
                move |metadata: &mut Value| metadata["code_challenge_methods_supported"] = methods.clone();
            script.metadata = Some(Box::new(change));
        });
        let away = gate.send(get(PAGE)).await.0;
        assert_eq!(query(away.location())["code_challenge_method"], "S256");
    }
}

#[tokio::test]
async fn r13_a_login_gives_a_new_session_and_the_old_one_is_dead() {
    let gate = Gate::new().await;
    let old = Jar::log_in(&gate, PAGE).await;
    let mut jar = old.clone();
    let away = gate.sibling(|config| login(config).force_reauthorize = true);
    gate.pass(11);
    let location = jar.go(&away, PAGE).await.location().to_owned();
    assert!(jar.go(&gate, &gate.idp.authorize(&location)).await.is(302));
    assert_ne!(jar.line(), old.line());
    assert!(jar.go(&gate, PAGE).await.passed());
    assert!(old.clone().go(&gate, PAGE).await.is(302));
    let mut planted = Jar(BTreeMap::from([("__Host-session".to_owned(), "1abcdplanted".to_owned())]));
    let away = planted.go(&gate, PAGE).await;
    assert!(planted.go(&gate, &gate.idp.authorize(away.location())).await.is(302));
    assert!(planted.go(&gate, PAGE).await.passed());
}

#[tokio::test]
async fn r27_fifty_tabs_all_end_logged_in() {
    let gate = Gate::new().await;
    let mut jar = Jar::default();
    let mut callbacks = Vec::new();
    let first: Vec<_> = futures_util::future::join_all((0..50).map(|_| gate.send(get(PAGE)))).await;
    for (away, _) in &first {
        jar.keep(away);
        callbacks.push(gate.idp.authorize(away.location()));
    }
    for callback in callbacks {
        assert!(jar.go(&gate, &callback).await.is(302));
    }
    assert_eq!(jar.0.len(), 1);
    assert!(jar.go(&gate, PAGE).await.passed());
}

#[tokio::test]
async fn r31_what_is_no_page_load_gets_401_and_is_never_sent_to_the_provider() {
    let gate = Gate::new().await;
    let requests = [
        get(PAGE).with("accept", "application/json"),
        get(PAGE).with("sec-fetch-mode", "cors"),
        get(PAGE).with("sec-fetch-mode", "no-cors"),
        get(PAGE).with("sec-fetch-mode", "websocket"),
        get(PAGE).with("x-requested-with", "XMLHttpRequest"),
        get(PAGE).method(Method::POST),
        get(PAGE).method(Method::PUT),
    ];
    for request in requests {
        let (got, _) = gate.send(request).await;
        assert!(got.is(401) && got.location().is_empty() && got.set_cookies().is_empty(), "{got:?}");
    }
    for request in [
        get(PAGE).with("sec-fetch-mode", "navigate"),
        get(PAGE).with("accept", "*/*"),
        get(PAGE).with("accept", "text/html, application/json"),
        get(PAGE).method(Method::HEAD),
    ] {
        assert!(gate.send(request).await.0.is(302));
    }
}

#[tokio::test]
async fn what_becomes_of_a_request_without_a_session_is_the_routes_choice() {
    let deny = Gate::with(|config| login(config).unauthenticated = Unauthenticated::Deny).await;
    let got = deny.send(get(PAGE)).await.0;
    assert!(got.is(401) && got.header("www-authenticate").is_empty());
    let pass = Gate::with(|config| login(config).unauthenticated = Unauthenticated::Pass).await;
    let cookies =
        "app=1; __Host-session=x; __Host-session_2=x; __Host-session_state_0=x; session=y; session_2=pc~x";
    let got = pass.send(get(PAGE).with("cookie", cookies)).await.0;
    assert!(got.passed());
    assert_eq!(got.told("cookie"), Some("app=1; session=y"), "the last is the application's");
    for name in ["x-userinfo", "x-access-token", "x-id-token"] {
        assert_eq!(got.told(name), None);
    }
}

#[tokio::test]
async fn a_strict_session_cookie_is_not_lost_on_the_way_back() {
    let gate = Gate::with(|config| login(config).cookies.same_site = rp::session::SameSite::Strict).await;
    let mut jar = Jar::default();
    let callback = begin(&gate, &mut jar).await;
    let got = jar.go(&gate, &callback).await;
    assert!(got.is(200) && got.body.contains("url=https://app.example/page?x=1&amp;y=%2F"), "{got:?}");
    assert!(got.set_cookies()[0].ends_with("SameSite=Strict"));
    assert!(jar.go(&gate, PAGE).await.passed());
}
