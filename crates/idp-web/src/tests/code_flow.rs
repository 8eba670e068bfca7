//! Logins: from the authorization request to tokens, and every way not to get there.

use std::time::Duration;

use axum::http::StatusCode;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::world::{Agent, CALLBACK, CHALLENGE, HTTPS, VERIFIER, World};

fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

async fn third_party(world: &World) -> String {
    let token = world.management_token("").await;
    let body = json!({
        "name": "Stranger", "is_first_party": false, "callbacks": ["http://localhost:9080/stranger"],
        "app_type": "spa", "token_endpoint_auth_method": "none", "grant_types": ["authorization_code"],
        "oidc_conformant": true,
    });
    let client = world.call(&token, "POST", "clients", Some(body)).await;
    assert_eq!(client.status, StatusCode::CREATED, "{}", client.body);
    let connections = world.call(&token, "GET", "connections", None).await.json();
    let id = connections[0]["id"].as_str().unwrap();
    let update = json!({ "is_domain_connection": true });
    let updated = world.call(&token, "PATCH", &format!("connections/{id}"), Some(update)).await;
    assert_eq!(updated.status, StatusCode::OK, "{}", updated.body);
    client.json()["client_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_login_ends_in_tokens_userinfo_and_refresh() {
    let world = World::new().await;
    let mut agent = world.agent();
    let page = agent.open(&world.authorize(&[("scope", "openid profile email offline_access")])).await;
    assert_eq!(page.status, StatusCode::OK, "{page:?}");
    for id in ["login-title", "username", "password", "submit-login"] {
        assert!(page.has_id(id), "{id}");
    }
    let back = agent.log_in(&page).await;
    assert!(back.location().unwrap().starts_with(CALLBACK), "{back:?}");
    assert_eq!(back.param("state").as_deref(), Some("xyz"));
    assert_eq!(back.param("iss").as_deref(), Some("http://localhost:9400/"));

    let tokens = world.redeem(&back.param("code").unwrap()).await;
    assert_eq!(tokens.status, StatusCode::OK, "{}", tokens.body);
    assert_eq!(tokens.header("cache-control"), Some("no-store"));
    let tokens = tokens.json();
    assert_eq!(tokens["token_type"], "Bearer");
    let id_token = claims(tokens["id_token"].as_str().unwrap());
    assert_eq!(id_token["iss"], "http://localhost:9400/");
    assert_eq!(id_token["aud"], world.seeded.client_id.as_str());
    assert_eq!(id_token["nonce"], "n-1");

    let mut program = world.agent();
    program.extra.push(("authorization", format!("Bearer {}", tokens["access_token"].as_str().unwrap())));
    let userinfo = program.get("/userinfo").await;
    assert_eq!(userinfo.status, StatusCode::OK, "{}", userinfo.body);
    assert_eq!(userinfo.json()["sub"], id_token["sub"]);
    assert_eq!(userinfo.json()["email"], world.seeded.user.as_str());

    let refresh = tokens["refresh_token"].as_str().unwrap();
    let again = world.token(&[("grant_type", "refresh_token"), ("refresh_token", refresh)]).await;
    assert_eq!(again.status, StatusCode::OK, "{}", again.body);
    assert_eq!(claims(again.json()["id_token"].as_str().unwrap())["sub"], id_token["sub"]);
}

#[tokio::test]
async fn a_login_over_https_has_the_https_issuer_and_host_cookies() {
    let world = World::new().await;
    let mut agent = world.agent();
    agent.host = HTTPS;
    let page = agent.open(&world.authorize(&[])).await;
    let back = agent.log_in(&page).await;
    assert_eq!(back.param("iss").as_deref(), Some("https://localhost:9401/"));
    let names: Vec<_> = agent.cookies.keys().map(String::as_str).collect();
    assert_eq!(names, ["__Host-pc_idp", "__Host-pc_idp_browser", "__Host-pc_idp_state"]);
}

#[tokio::test]
async fn r22_every_cookie_is_http_only_lax_and_secure_on_https() {
    let world = World::new().await;
    for (host, https) in [("localhost:9400", false), (HTTPS, true)] {
        let mut agent = world.agent();
        agent.host = host;
        let start = agent.get(&world.authorize(&[])).await;
        let page = agent.get(&start.location().unwrap()).await;
        let fields = [("username", world.seeded.user.as_str()), ("password", world.seeded.password.expose())];
        let login = agent.submit(&page, &fields).await;
        let logout = agent.get("/v2/logout").await;
        for answer in [start, login, logout] {
            let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
            assert!(!cookies.is_empty());
            for cookie in cookies {
                let cookie = cookie.to_str().unwrap();
                // This one opens nothing, and is for a script in a frame (Session Management section 3.2).
                if cookie.contains("pc_idp_state=") {
                    assert_eq!(cookie.contains("; SameSite=None; Secure"), https, "{cookie}");
                    continue;
                }
                assert!(cookie.contains("; HttpOnly") && cookie.contains("; SameSite=Lax"), "{cookie}");
                assert!(cookie.contains("; Path=/") && !cookie.contains("Domain"), "{cookie}");
                assert_eq!(cookie.contains("; Secure") && cookie.starts_with("__Host-"), https, "{cookie}");
            }
        }
    }
}

#[tokio::test]
async fn a_session_answers_without_a_page_until_something_asks_for_one() {
    let world = World::new().await;
    let mut agent = world.agent();
    agent.code(&[]).await;
    let silent = agent.get(&world.authorize(&[("prompt", "none")])).await;
    assert!(silent.param("code").is_some(), "{silent:?}");
    for page in [("prompt", "login"), ("prompt", "select_account")] {
        assert!(agent.open(&world.authorize(&[page])).await.has_id("login-title"), "{page:?}");
    }
    world.clock.advance(Duration::from_secs(100));
    assert!(agent.open(&world.authorize(&[("max_age", "50")])).await.has_id("login-title"));
    let young = agent.get(&world.authorize(&[("max_age", "10000")])).await;
    assert!(young.param("code").is_some(), "{young:?}");
}

#[tokio::test]
async fn max_age_puts_auth_time_into_the_id_token() {
    let world = World::new().await;
    let code = world.agent().code(&[("max_age", "60")]).await;
    let tokens = world.redeem(&code).await.json();
    let auth_time = claims(tokens["id_token"].as_str().unwrap())["auth_time"].as_i64().unwrap();
    assert_eq!(auth_time, world.clock.now().secs());
}

#[tokio::test]
async fn prompt_none_without_session_is_login_required() {
    let world = World::new().await;
    let answer = world.agent().get(&world.authorize(&[("prompt", "none")])).await;
    assert_eq!(answer.param("error").as_deref(), Some("login_required"));
    assert_eq!(answer.param("state").as_deref(), Some("xyz"));
    let both = world.agent().get(&world.authorize(&[("prompt", "none login")])).await;
    assert_eq!(both.param("error").as_deref(), Some("invalid_request"));
}

#[tokio::test]
async fn o13_other_response_types_are_unsupported() {
    let world = World::new().await;
    for kind in ["token", "id_token", "code token", "none", "CODE", "code code", "code  id_token"] {
        let answer = world.agent().get(&world.authorize(&[("response_type", kind)])).await;
        let answer_text = answer.location().unwrap_or_default();
        assert!(answer_text.contains("error=unsupported_response_type"), "{kind}: {answer:?}");
    }
    let answer = world.agent().get(&world.authorize(&[("response_type", "-")])).await;
    assert_eq!(answer.param("error").as_deref(), Some("invalid_request"));
}

#[tokio::test]
async fn o01_a_redirect_uri_that_is_not_the_registered_string_gets_an_error_page() {
    let world = World::new().await;
    let bad = [
        "http://localhost:9080/callback/",
        "http://localhost:9080/callback/x",
        "http://localhost:9080/callback?x=1",
        "http://localhost:9080/Callback",
        "http://LOCALHOST:9080/callback",
        "http://localhost:9080//callback",
        "http://localhost/callback",
        "http://localhost:9081/callback",
        "http://127.0.0.1:9080/callback",
        "http://user@localhost:9080/callback",
        "http://localhost:9080@evil.example/callback",
        "http://localhost:9080/callback#f",
        "http://localhost:9080/%63allback",
        "http://localhost:9080/x/../callback",
        "http://evil.example/callback",
        "http://localhost.evil.example:9080/callback",
        "https://localhost:9080/callback",
        "*",
        "javascript:alert(1)",
        "http://localhost:9080/callback http://evil.example",
    ];
    for uri in bad {
        let answer = world.agent().get(&world.authorize(&[("redirect_uri", uri)])).await;
        answer.is_error_page();
        assert!(!answer.body.contains("evil.example"), "{uri}");
    }
    let unknown = world.agent().get(&world.authorize(&[("client_id", "nobody")])).await;
    unknown.is_error_page();
}

#[tokio::test]
async fn o03_the_redirect_uri_of_the_token_request_must_be_the_one_of_the_code() {
    let world = World::new().await;
    let other = Some("http://localhost:9080/anything/callback");
    for (uri, error) in [(None, "invalid_request"), (other, "invalid_grant")] {
        let code = world.agent().code(&[]).await;
        let mut form = vec![("grant_type", "authorization_code"), ("code", &code)];
        form.push(("code_verifier", super::world::VERIFIER));
        form.extend(uri.map(|uri| ("redirect_uri", uri)));
        let answer = world.token(&form).await;
        assert_eq!((answer.status, answer.json()["error"].as_str()), (StatusCode::BAD_REQUEST, Some(error)));
    }
}

#[tokio::test]
async fn o04_a_code_is_good_once() {
    let world = World::new().await;
    let code = world.agent().code(&[]).await;
    let tokens = world.redeem(&code).await.json();
    let second = world.redeem(&code).await;
    assert_eq!(
        (second.status, second.json()["error"].as_str()),
        (StatusCode::BAD_REQUEST, Some("invalid_grant"))
    );
    let mut program = world.agent();
    program.extra.push(("authorization", format!("Bearer {}", tokens["access_token"].as_str().unwrap())));
    assert_eq!(program.get("/userinfo").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn o05_a_code_dies_after_a_minute() {
    let world = World::new().await;
    let code = world.agent().code(&[]).await;
    world.clock.advance(Duration::from_secs(61));
    assert_eq!(world.redeem(&code).await.json()["error"], "invalid_grant");
}

#[tokio::test]
async fn o06_pkce_cannot_be_dropped_or_downgraded() {
    let world = World::new().await;
    let plain = world.agent().get(&world.authorize(&[("code_challenge_method", "plain")])).await;
    assert_eq!(plain.param("error").as_deref(), Some("invalid_request"));
    let absent = world.agent().get(&world.authorize(&[("code_challenge_method", "-")])).await;
    assert_eq!(absent.param("error").as_deref(), Some("invalid_request"));
    let code = world.agent().code(&[]).await;
    let without = [("grant_type", "authorization_code"), ("code", code.as_str()), ("redirect_uri", CALLBACK)];
    assert_eq!(world.token(&without).await.json()["error"], "invalid_grant");
    let client = third_party(&world).await;
    let public = [
        ("client_id", client.as_str()),
        ("redirect_uri", "http://localhost:9080/stranger"),
        ("code_challenge", "-"),
        ("code_challenge_method", "-"),
    ];
    let refused = world.agent().get(&world.authorize(&public)).await;
    assert_eq!(refused.param("error").as_deref(), Some("invalid_request"), "{refused:?}");
    // A tenant may have `plain`: the challenge is the verifier, and no other.
    world.set_tenant(json!({ "flags": { "enable_plain_code_challenges": true } })).await;
    let discovery = world.agent().get("/.well-known/openid-configuration").await.json();
    assert_eq!(discovery["code_challenge_methods_supported"], json!(["S256", "plain"]));
    for method in ["plain", "-"] {
        let plain = [("code_challenge", VERIFIER), ("code_challenge_method", method)];
        let code = world.agent().code(&plain).await;
        assert_eq!(world.redeem(&code).await.status, StatusCode::OK, "{method}");
        let other = [("code_challenge", CHALLENGE), plain[1]];
        let code = world.agent().code(&other).await;
        assert_eq!(world.redeem(&code).await.json()["error"], "invalid_grant", "{method}");
    }
}

#[tokio::test]
async fn o10_a_repeated_parameter_gets_an_error_page() {
    let world = World::new().await;
    for name in ["client_id", "redirect_uri", "scope", "state", "response_type"] {
        let answer = world.agent().get(&format!("{}&{name}=x", world.authorize(&[]))).await;
        answer.is_error_page();
        assert!(answer.body.contains(name), "{}", answer.body);
    }
}

#[tokio::test]
async fn an_authorization_request_may_be_posted() {
    let world = World::new().await;
    let mut agent = world.agent();
    let query = world.authorize(&[]);
    let params = oauth::form::parse(query.split_once('?').unwrap().1.as_bytes()).unwrap();
    let form: Vec<_> = params.iter().collect();
    let answer = agent.post("/authorize", &form).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    let page = agent.follow(answer).await;
    assert!(page.has_id("login-title"));
    agent.log_in(&page).await;
    let back = agent.post("/authorize", &form).await;
    assert!(back.status == StatusCode::SEE_OTHER && back.param("code").is_some(), "{back:?}");
    let twice = agent.post("/authorize?client_id=x", &form).await;
    twice.is_error_page();
}

#[tokio::test]
async fn the_login_page_is_prefilled_and_wrong_passwords_say_nothing_about_the_user() {
    let world = World::new().await;
    let mut agent = world.agent();
    let page = agent.open(&world.authorize(&[("login_hint", "jo\"hn@example.com")])).await;
    assert!(page.body.contains("value=\"jo&#34;hn@example.com\""), "{}", page.body);
    let known = world.seeded.user.clone();
    let mut bodies = Vec::new();
    for name in [known.as_str(), "nobody@example.com"] {
        let answer = agent.submit(&page, &[("username", name), ("password", "wrong-Passw0rd!")]).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert!(answer.has_id("login-title") && answer.body.contains("Wrong email or password."));
        assert!(answer.headers.get("set-cookie").is_none());
        bodies.push(answer.body.replace(name, "NAME"));
    }
    assert_eq!(bodies[0], bodies[1], "o19");
    assert!(agent.log_in(&page).await.param("code").is_some());
}

#[tokio::test]
async fn somebody_signs_up_and_is_logged_in() {
    let world = World::new().await;
    let mut agent = world.agent();
    let page = agent.open(&world.authorize(&[("screen_hint", "signup")])).await;
    for id in ["email", "password", "submit-signup"] {
        assert!(page.has_id(id), "{id}: {}", page.body);
    }
    let weak = agent.submit(&page, &[("email", "new@example.com"), ("password", "abc")]).await;
    assert_eq!(weak.status, StatusCode::BAD_REQUEST);
    assert!(weak.has_id("submit-signup") && weak.body.contains("too weak"), "{}", weak.body);
    let taken = [("email", world.seeded.user.as_str()), ("password", "corr3ct-Horse-battery")];
    assert_eq!(agent.submit(&page, &taken).await.status, StatusCode::BAD_REQUEST);
    let new = [("email", "new@example.com"), ("password", "corr3ct-Horse-battery")];
    let answer = agent.submit(&page, &new).await;
    let back = agent.follow(answer).await;
    let tokens = world.redeem(&back.param("code").unwrap()).await.json();
    assert_eq!(claims(tokens["id_token"].as_str().unwrap())["email"], "new@example.com");
}

#[tokio::test]
async fn a_third_party_asks_for_consent_once() {
    let world = World::new().await;
    let client = third_party(&world).await;
    let request = [("client_id", client.as_str()), ("redirect_uri", "http://localhost:9080/stranger")];
    let mut agent = world.agent();
    let page = agent.open(&world.authorize(&request)).await;
    let page = agent.log_in(&page).await;
    assert_eq!(page.status, StatusCode::OK, "{page:?}");
    assert!(page.has_id("allow") && page.has_id("deny") && page.body.contains("Stranger"));

    let silent = agent.get(&world.authorize(&[request[0], request[1], ("prompt", "none")])).await;
    assert_eq!(silent.param("error").as_deref(), Some("consent_required"));
    let denied = agent.submit(&page, &[("action", "deny")]).await;
    assert_eq!(denied.status, StatusCode::SEE_OTHER);
    assert_eq!(denied.param("error").as_deref(), Some("access_denied"));

    let page = agent.open(&world.authorize(&request)).await;
    let allowed = agent.submit(&page, &[("action", "accept")]).await;
    assert!(allowed.param("code").is_some(), "{allowed:?}");
    let again = agent.get(&world.authorize(&request)).await;
    assert!(again.param("code").is_some(), "{again:?}");
    let asked = agent.open(&world.authorize(&[request[0], request[1], ("prompt", "consent")])).await;
    assert!(asked.has_id("allow"));
}

#[tokio::test]
async fn o16_consent_cannot_be_skipped_widened_or_given_by_another_site() {
    let world = World::new().await;
    let client = third_party(&world).await;
    let request = [("client_id", client.as_str()), ("redirect_uri", "http://localhost:9080/stranger")];
    let mut agent = world.agent();
    let page = agent.open(&world.authorize(&request)).await;
    let page = agent.log_in(&page).await;
    let state = page.between("name=\"state\" value=\"", "\"").unwrap().to_owned();
    // Resuming without a decision asks again.
    assert!(agent.open(&format!("/authorize/resume?state={state}")).await.has_id("allow"));
    // No decision, no handle, another one's handle, another site.
    agent.submit(&page, &[]).await.is_error_page();
    agent.submit(&page, &[("action", "yes")]).await.is_error_page();
    agent.post("/u/consent", &[("action", "accept")]).await.is_error_page();
    agent.post("/u/consent", &[("action", "accept"), ("state", "forged")]).await.is_error_page();
    agent.post("/u/consent?state=a", &[("action", "accept"), ("state", &state)]).await.is_error_page();
    let mut foreign = world.agent();
    foreign.cookies = agent.cookies.clone();
    foreign.extra.push(("sec-fetch-site", "cross-site".to_owned()));
    foreign.submit(&page, &[("action", "accept")]).await.is_error_page();
    // A scope in the form changes nothing.
    let allowed = agent.submit(&page, &[("action", "accept"), ("scope", "openid admin")]).await;
    assert!(allowed.param("code").is_some());
    // Once decided, it is over.
    agent.submit(&page, &[("action", "accept")]).await.is_error_page();
}

#[tokio::test]
async fn o17_a_login_belongs_to_the_browser_that_began_it() {
    let world = World::new().await;
    let mut agent = world.agent();
    let page = agent.open(&world.authorize(&[])).await;
    let user = [("username", world.seeded.user.as_str()), ("password", world.seeded.password.expose())];
    // Another browser, with and without a transaction of its own.
    let mut other = world.agent();
    other.submit(&page, &user).await.is_error_page();
    other.open(&world.authorize(&[])).await;
    let answer = other.submit(&page, &user).await;
    answer.is_error_page();
    assert!(answer.headers.get("set-cookie").is_none());
    // The right browser, but the form comes from elsewhere.
    let mut forged = world.agent();
    forged.cookies = agent.cookies.clone();
    forged.extra.push(("sec-fetch-site", "same-site".to_owned()));
    forged.submit(&page, &user).await.is_error_page();
    // A session that was planted before the login is not the one after it.
    agent.cookies.insert("pc_idp".to_owned(), "x".repeat(43));
    let login = agent.submit(&page, &user).await;
    assert_eq!(login.status, StatusCode::SEE_OTHER, "{login:?}");
    let first = agent.cookies["pc_idp"].clone();
    assert_ne!(first, "x".repeat(43));
    let page = agent.open(&world.authorize(&[("prompt", "login")])).await;
    agent.log_in(&page).await;
    assert_ne!(agent.cookies["pc_idp"], first);
}

#[tokio::test]
async fn form_post_brings_the_answer_in_a_form() {
    let world = World::new().await;
    let mut agent = world.agent();
    agent.code(&[]).await;
    let answer = agent.get(&world.authorize(&[("response_mode", "form_post")])).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert!(answer.body.contains(&format!("action=\"{CALLBACK}\"")) && answer.body.contains("name=\"code\""));
    assert!(!answer.header("content-security-policy").unwrap().contains("unsafe"));
}

#[tokio::test]
async fn o50_oversized_parameters_are_refused() {
    let world = World::new().await;
    let long = "x".repeat(60 * 1024);
    for name in ["state", "nonce", "scope", "acr_values", "login_hint"] {
        let answer = world.agent().get(&world.authorize(&[(name, &long)])).await;
        answer.is_error_page();
    }
}

#[tokio::test]
async fn o12_scopes_that_are_not_registered_are_trimmed() {
    let world = World::new().await;
    let audience = world.seeded.audience.clone();
    let extra = [("audience", audience.as_str()), ("scope", "openid read:things admin:everything")];
    let tokens = world.redeem(&world.agent().code(&extra).await).await.json();
    let scope = tokens["scope"].as_str().unwrap();
    assert!(scope.contains("read:things") && !scope.contains("admin:everything"), "{scope}");
    let access = claims(tokens["access_token"].as_str().unwrap());
    assert!(access["aud"].to_string().contains("https://example.com/"), "{access}");
}

#[tokio::test]
async fn an_unknown_audience_is_told_to_the_client() {
    let world = World::new().await;
    let answer = world.agent().get(&world.authorize(&[("audience", "https://nothing/")])).await;
    assert_eq!(answer.param("error").as_deref(), Some("access_denied"));
    assert_eq!(answer.param("error_description").as_deref(), Some("Service not found: https://nothing/"));
}

#[tokio::test]
async fn ten_logins_in_one_browser_all_end_well() {
    let world = World::new().await;
    let mut agent: Agent<'_> = world.agent();
    let mut pages = Vec::new();
    for _ in 0..10 {
        pages.push(agent.open(&world.authorize(&[])).await);
    }
    for page in pages {
        assert!(agent.log_in(&page).await.param("code").is_some());
    }
    assert_eq!(agent.cookies.len(), 3, "a login leaves no cookie of its own");
    assert_eq!(CHALLENGE.len(), 43);
}

#[tokio::test]
async fn s01_what_was_typed_or_sent_in_secret_is_not_said_back() {
    let world = World::new().await;
    let canary = "canary-Pa55word";
    let mut agent = world.agent();
    let page = agent.open(&world.authorize(&[])).await;
    let wrong = agent.submit(&page, &[("username", "a@b.example"), ("password", canary)]).await;
    let page = agent.open(&world.authorize(&[("screen_hint", "signup")])).await;
    let refused = agent.submit(&page, &[("email", "nonsense"), ("password", canary)]).await;
    let grant = [("grant_type", "authorization_code"), ("code", canary), ("code_verifier", canary)];
    let code = world.token(&grant).await;
    let refresh = world.token(&[("grant_type", "refresh_token"), ("refresh_token", canary)]).await;
    let form =
        [("client_id", world.seeded.client_id.as_str()), ("client_secret", canary), ("grant_type", "x")];
    let secret = world.agent().post("/oauth/token", &form).await;
    let userinfo = world.agent().post("/userinfo", &[("access_token", canary)]).await;
    let resumed = agent.get(&format!("/authorize/resume?state={canary}")).await;
    for answer in [wrong, refused, code, refresh, secret, userinfo, resumed] {
        assert!(answer.status.is_client_error(), "{answer:?}");
        assert!(
            !answer.body.contains("canary") && !format!("{:?}", answer.headers).contains("canary"),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn o01_an_installed_application_listens_where_there_is_place_and_nobody_else_does() {
    let world = World::new().await;
    let callbacks = json!(["http://127.0.0.1/cb", "com.example.app:/cb"]);
    let native = world.client(json!({ "app_type": "native", "callbacks": callbacks })).await;
    let page = world.client(json!({ "app_type": "spa", "callbacks": callbacks })).await;
    let here = "http://127.0.0.1:51004/cb";
    let request = |client: &str, uri: &str| world.authorize(&[("client_id", client), ("redirect_uri", uri)]);
    let mut agent = world.agent();
    let login = agent.open(&request(&native.client_id, here)).await;
    let back = agent.log_in(&login).await;
    assert!(back.location().unwrap().starts_with(&format!("{here}?")), "{back:?}");
    let code = back.param("code").unwrap();
    let redeem = async |uri: &str| {
        let form = [
            ("grant_type", "authorization_code"),
            ("client_id", native.client_id.as_str()),
            ("code", code.as_str()),
            ("redirect_uri", uri),
            ("code_verifier", VERIFIER),
        ];
        world.agent().post("/oauth/token", &form).await
    };
    let tokens = redeem(here).await;
    assert_eq!(tokens.status, StatusCode::OK, "{}", tokens.body);
    for (client, uri) in [
        (&native, "http://127.0.0.1:51004/other"),
        (&native, "http://localhost:51004/cb"),
        (&native, "http://127.0.0.1:51004@evil.example/cb"),
        (&page, here),
    ] {
        agent.open(&request(&client.client_id, uri)).await.is_error_page();
    }
}

#[tokio::test]
async fn whoever_is_to_make_an_account_makes_one_although_somebody_is_logged_in() {
    // Initiating User Registration via OpenID Connect 1.0.
    let world = World::new().await;
    let metadata = world.agent().get("/.well-known/openid-configuration").await.json();
    assert!(metadata["prompt_values_supported"].as_array().unwrap().contains(&json!("create")), "{metadata}");
    let mut agent = world.agent();
    agent.code(&[]).await;
    // A hint yields to the session; the prompt does not.
    assert!(agent.get(&world.authorize(&[("screen_hint", "signup")])).await.param("code").is_some());
    for prompt in ["none create", "create none"] {
        let refused = agent.get(&world.authorize(&[("prompt", prompt)])).await;
        assert_eq!(refused.param("error").as_deref(), Some("invalid_request"), "{prompt}");
    }
    let page = agent.open(&world.authorize(&[("prompt", "create"), ("login_hint", "new@example.com")])).await;
    assert!(page.has_id("submit-signup") && page.body.contains("value=\"new@example.com\""), "{}", page.body);
    let new = [("email", "new@example.com"), ("password", "corr3ct-Horse-battery")];
    let answer = agent.submit(&page, &new).await;
    let back = agent.follow(answer).await;
    let tokens = world.redeem(&back.param("code").unwrap()).await.json();
    assert_eq!(claims(tokens["id_token"].as_str().unwrap())["email"], "new@example.com");
    // Who has an account already goes on to the login page.
    let page = agent.open(&world.authorize(&[("prompt", "create")])).await;
    let login = agent.get(page.between("id=\"login-link\" href=\"", "\"").unwrap()).await;
    assert!(agent.log_in(&login).await.param("code").is_some());
}
