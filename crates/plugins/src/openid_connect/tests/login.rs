//! Logins: the way to the provider and back.

use jose::{Alg, SigningKey};
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
async fn r01_a_callback_that_this_browser_did_not_begin_is_refused() {
    let gate = Gate::new().await;
    let mut jar = Jar::default();
    let callback = begin(&gate, &mut jar).await;
    let state = query(&callback)["state"].clone();
    let tries = [
        (Jar::default(), callback.clone()),
        (jar.clone(), callback.replace(&state, "")),
        (jar.clone(), callback.replace(&state, &"0".repeat(32))),
        (jar.clone(), format!("{callback}&state={state}")),
        (jar.clone(), "https://app.example/callback".to_owned()),
        (jar.clone(), "https://app.example/callback?code=x".to_owned()),
        (jar.clone(), format!("https://app.example/callback?state={state}")),
        (jar.clone(), format!("{callback}&x=%zz")),
    ];
    for (mut jar, url) in tries {
        let got = jar.go(&gate, &url).await;
        assert!(got.is(400) && !has_session(&jar), "{url}: {got:?}");
    }
    assert_eq!(exchanges(&gate), 0);
}

#[tokio::test]
async fn r02_one_state_buys_one_exchange_also_with_fifty_at_once() {
    let gate = Gate::new().await;
    let mut jar = Jar::default();
    let callback = begin(&gate, &mut jar).await;
    let line = jar.line();
    let sent = (0..50).map(|_| gate.send(get(&callback).with("cookie", &line)));
    let got = futures_util::future::join_all(sent).await;
    assert_eq!(got.iter().filter(|(got, _)| got.is(302)).count(), 1);
    assert_eq!(got.iter().filter(|(got, _)| got.is(400)).count(), 49);
    assert_eq!(exchanges(&gate), 1);
    assert!(gate.send(get(&callback).with("cookie", &line)).await.0.is(400));
    assert_eq!(exchanges(&gate), 1);
}

#[tokio::test]
async fn r03_a_state_of_another_browser_or_route_is_refused() {
    let gate = Gate::new().await;
    let (mut mine, mut theirs) = (Jar::default(), Jar::default());
    let (my_callback, their_callback) = (begin(&gate, &mut mine).await, begin(&gate, &mut theirs).await);
    assert!(mine.go(&gate, &their_callback).await.is(400));
    let other_client = gate.sibling(|config| config.client_id = "another".to_owned());
    assert!(mine.go(&other_client, &my_callback).await.is(400));
    let other_callback = gate.sibling(|config| login(config).redirect_uri = Some("/elsewhere".to_owned()));
    assert!(mine.go(&other_callback, &my_callback.replace("/callback", "/elsewhere")).await.is(400));
    assert_eq!(exchanges(&gate), 0);
}

#[tokio::test]
async fn r04_an_id_token_without_this_logins_nonce_makes_no_session() {
    let gate = Gate::new().await;
    for nonce in [Value::Null, json!("wrong"), json!(1)] {
        let claim = nonce.clone();
        gate.idp
            .script(|script| script.id_token = Some(Box::new(move |claims| claims["nonce"] = claim.clone())));
        let mut jar = Jar::default();
        let callback = begin(&gate, &mut jar).await;
        let got = jar.go(&gate, &callback).await;
        assert!(got.is(502) && !has_session(&jar), "{nonce}: {got:?}");
    }
}

#[tokio::test]
async fn r05_a_code_of_another_login_fails_on_pkce() {
    let gate = Gate::new().await;
    let (mut attacker, mut victim) = (Jar::default(), Jar::default());
    let stolen = query(&begin(&gate, &mut attacker).await)["code"].clone();
    let callback = begin(&gate, &mut victim).await;
    let code = query(&callback)["code"].clone();
    let got = victim.go(&gate, &callback.replace(&code, &stolen)).await;
    assert!(got.is(400) && !has_session(&victim), "{got:?}");
    assert_eq!(exchanges(&gate), 1);
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
async fn r08_an_answer_of_another_provider_is_refused_before_the_exchange() {
    let gate = Gate::cold(|_| ()).await;
    gate.idp.script(|script| {
        script.metadata = Some(Box::new(|metadata| {
            metadata["authorization_response_iss_parameter_supported"] = json!(true);
        }));
    });
    let mut jar = Jar::default();
    let callback = begin(&gate, &mut jar).await;
    let issuer = gate.idp.issuer();
    for bad in ["", "&iss=https%3A%2F%2Fother.example%2F", &format!("&iss={issuer}&iss={issuer}"), "&iss="] {
        assert!(jar.clone().go(&gate, &format!("{callback}{bad}")).await.is(400), "{bad}");
    }
    assert!(jar.clone().go(&gate, &format!("{callback}&iss={issuer}&client_id=other")).await.is(400));
    assert_eq!(exchanges(&gate), 0);
    let good = jar.go(&gate, &format!("{callback}&iss={issuer}&client_id={CLIENT}")).await;
    assert!(good.is(302), "{good:?}");
}

#[tokio::test]
async fn r09_an_id_token_that_breaks_a_rule_makes_no_session() {
    let gate = Gate::new().await;
    let broken = [
        ("iss", json!("https://other.example/")),
        ("aud", json!("other")),
        ("aud", json!([CLIENT, "other"])),
        ("azp", json!("other")),
        ("at_hash", json!("AAAA")),
        ("c_hash", json!("AAAA")),
        ("exp", json!(1)),
        ("iat", json!(4_000_000_000_i64)),
        ("sub", Value::Null),
    ];
    for (name, value) in broken {
        let claim = value.clone();
        gate.idp
            .script(|script| script.id_token = Some(Box::new(move |claims| claims[name] = claim.clone())));
        let mut jar = Jar::default();
        let callback = begin(&gate, &mut jar).await;
        let got = jar.go(&gate, &callback).await;
        assert!(got.is(502) && !has_session(&jar), "{name}: {value}: {got:?}");
    }
}

#[tokio::test]
async fn r09_a_login_older_than_the_max_age_that_was_asked_for_makes_no_session() {
    let gate = Gate::with(|config| {
        login(config).authorization_params = vec![("max_age".to_owned(), "60".to_owned())];
    })
    .await;
    for (age, logged_in) in [(Some(0), true), (Some(180), true), (Some(181), false), (None, false)] {
        let auth_time = age.map(|age| gate.clock.now().secs() - age);
        gate.idp.script(|script| {
            script.id_token = Some(Box::new(move |claims| claims["auth_time"] = json!(auth_time)));
        });
        let mut jar = Jar::default();
        let callback = begin(&gate, &mut jar).await;
        let got = jar.go(&gate, &callback).await;
        assert_eq!((got.is(302), has_session(&jar)), (logged_in, logged_in), "{age:?}: {got:?}");
    }
}

#[tokio::test]
async fn r09_an_id_token_signed_otherwise_than_published_makes_no_session() {
    let gate = Gate::cold(|_| ()).await;
    gate.idp.script(|script| {
        script.metadata = Some(Box::new(|metadata| {
            metadata["id_token_signing_alg_values_supported"] = json!(["ES256"]);
        }));
    });
    let rsa = SigningKey::generate(Alg::RS256, "rsa".to_owned()).unwrap();
    let hmac = SigningKey::from_hmac_secret(Alg::HS256, "1".to_owned(), SECRET.as_bytes()).unwrap();
    gate.idp.script(|script| script.published.push(rsa.public_jwk()));
    for key in [rsa, hmac, idp::key("1"), idp::key("unknown")] {
        gate.idp.script(|script| script.key = Some(Arc::new(key)));
        let mut jar = Jar::default();
        let callback = begin(&gate, &mut jar).await;
        let got = jar.go(&gate, &callback).await;
        assert!(got.is(502) && !has_session(&jar), "{got:?}");
    }
    gate.idp.script(|script| {
        script.key = None;
        script.token_response = Some(Box::new(|response| {
            let token = response["id_token"].as_str().unwrap().to_owned();
            let payload = token.split('.').nth(1).unwrap().to_owned();
            response["id_token"] = json!(format!("eyJhbGciOiJub25lIn0.{payload}."));
        }));
    });
    let mut jar = Jar::default();
    let callback = begin(&gate, &mut jar).await;
    assert!(jar.go(&gate, &callback).await.is(502));
}

#[tokio::test]
async fn a_symmetric_id_token_is_taken_where_the_route_expects_it_and_nothing_else_is() {
    let gate = Gate::with(|config| {
        (config.alg, config.bearer) = (Some(Alg::HS256), None);
    })
    .await;
    let mut jar = Jar::default();
    let callback = begin(&gate, &mut jar).await;
    assert!(jar.go(&gate, &callback).await.is(502), "it is signed with ES256");
    let hmac = SigningKey::from_hmac_secret(Alg::HS256, "1".to_owned(), SECRET.as_bytes()).unwrap();
    gate.idp.script(|script| script.key = Some(Arc::new(hmac)));
    Jar::log_in(&gate, PAGE).await;
}

#[tokio::test]
async fn r10_userinfo_about_somebody_else_ends_the_login_and_junk_is_dropped() {
    let gate = Gate::new().await;
    gate.idp.answer("/userinfo", 200, json!({"sub": "somebody else"}));
    let mut jar = Jar::default();
    let callback = begin(&gate, &mut jar).await;
    assert!(jar.go(&gate, &callback).await.is(502));
    assert!(!has_session(&jar));
    for junk in [json!(["sub"]).to_string(), "x".repeat(2 << 20), "<html>".to_owned()] {
        gate.idp.answer("/userinfo", 200, junk);
        let got = Jar::log_in(&gate, PAGE).await.go(&gate, PAGE).await;
        assert_eq!(got.told("x-userinfo"), None);
        assert_eq!(got.told_json("x-id-token")["sub"], "user");
    }
}

#[tokio::test]
async fn r11_what_a_callback_says_is_escaped_and_splits_no_header() {
    let gate = Gate::new().await;
    for description in [
        "%3Cscript%3Ealert(1)%3C%2Fscript%3E",
        "a%0d%0aSet-Cookie:%20x=1",
        "%E2%80%AEtxt",
        "x".repeat(16_000).as_str(),
    ] {
        let mut jar = Jar::default();
        let state = query(&begin(&gate, &mut jar).await)["state"].clone();
        let url = format!(
            "https://app.example/callback?error=access_denied&error_description={description}&state={state}"
        );
        let got = jar.go(&gate, &url).await;
        assert!(got.is(403), "{got:?}");
        assert!(got.body.contains("access_denied"));
        assert!(!got.body.contains("<script") && !got.body.contains('\r') && !got.body.contains('\u{202e}'));
        assert!(got.body.len() < 2000 && !got.header("set-cookie").contains("x=1"));
    }
}

#[tokio::test]
async fn r12_only_a_get_brings_a_login_back() {
    let gate = Gate::new().await;
    let mut jar = Jar::default();
    let callback = begin(&gate, &mut jar).await;
    for method in [Method::POST, Method::HEAD, Method::PUT] {
        let got = jar.clone().send(&gate, get(&callback).method(method)).await;
        assert!(got.is(405) && got.header("allow") == "GET", "{got:?}");
    }
    assert!(jar.clone().go(&gate, "https://app.example/callback#code=x&state=y").await.is(400));
    assert_eq!(exchanges(&gate), 0);
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
async fn r15_the_way_back_never_leaves_the_origin() {
    let gate = Gate::new().await;
    let pages = [
        "https://app.example//evil.example/",
        "https://app.example/%2F%2Fevil.example",
        "https://app.example/%5Cevil.example",
        "https://app.example/?rd=https://evil.example",
        "https://app.example/@evil.example",
        "https://app.example/.evil.example",
        "https://app.example/x?next=//evil.example&a=%0d%0aLocation:%20https://evil.example",
    ];
    for page in pages.map(str::to_owned).into_iter().chain(tricks()) {
        let mut jar = Jar::default();
        let away = jar.go(&gate, &page).await;
        let back = jar.go(&gate, &gate.idp.authorize(away.location())).await;
        assert!(back.location().starts_with("https://app.example/"), "{}", back.location());
        assert_eq!(Url::parse(back.location()).unwrap().host_str(), Some("app.example"));
        assert_eq!(back.location(), page, "what was asked for is what is returned to");
    }
}

/// Addresses that some reader takes for another host: every way to begin, with every way to name the host.
fn tricks() -> impl Iterator<Item = String> {
    let starts = [
        "/",
        "//",
        "///",
        "/\\",
        "/\\/",
        "/%2f",
        "/%2F%2f",
        "/%5c",
        "/%5C%5c",
        "/%09/",
        "/%0d%0a/",
        "/%0a//",
        "/%00/",
        "/.",
        "/..;/",
        "/./%2f",
        "/;/",
        "/@",
        "/:80/",
        "/https:",
        "/https://",
        "/javascript:",
        "/data:text/html,",
        "/%68ttps://",
        "/?/",
        "/?next=//",
        "/?url=https://",
        "/?a=%0d%0aLocation:%20https://",
        "/?\\",
        "/?@",
        "/?%2f%2f",
    ];
    let hosts = [
        "evil.example",
        "evil.example:443",
        "evil.example%2f..",
        "user:pass@evil.example",
        "evil%E3%80%82example",
    ];
    let url = |(start, host): (&str, &str)| format!("https://app.example{start}{host}");
    let pairs = starts.into_iter().flat_map(move |start| hosts.into_iter().map(move |host| (start, host)));
    // As the engine hands them over: a URL parser has been there, and dot segments are gone.
    pairs.map(url).filter_map(|text| Some(Url::parse(&text).ok()?.to_string()))
}

#[tokio::test]
async fn a_page_whose_address_has_letters_beyond_ascii_is_returned_to() {
    let gate = Gate::new().await;
    let login = rp::session::Login::begin(
        &gate.services.random,
        gate.clock.now(),
        "https://app.example",
        "/caf\u{e9}?q=\u{fc}",
        "https://app.example/callback",
    );
    let reply = answer::redirect(StatusCode::FOUND, &login.return_to, Vec::new());
    assert_eq!(reply.headers()["location"], "https://app.example/caf%C3%A9?q=%C3%BC");
    let split = answer::redirect(StatusCode::FOUND, "https://a/\r\nSet-Cookie: x=1", Vec::new());
    assert_eq!(split.headers()["location"], "https://a/%0D%0ASet-Cookie: x=1");
}

#[tokio::test]
async fn r02_only_an_exchange_uses_a_state_up() {
    let gate = Gate::new().await;
    let mut jar = Jar::default();
    let callback = begin(&gate, &mut jar).await;
    let state = query(&callback)["state"].clone();
    for _ in 0..2 {
        let refused = format!("https://app.example/callback?error=access_denied&state={state}");
        assert!(jar.clone().go(&gate, &refused).await.is(403));
        let empty = format!("https://app.example/callback?state={state}");
        assert!(jar.clone().go(&gate, &empty).await.is(400));
    }
    assert!(jar.clone().go(&gate, &callback).await.is(302));
    assert!(jar.clone().go(&gate, &callback).await.is(400));
    assert_eq!(exchanges(&gate), 1);
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
