//! What every answer has, and what is not served.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::world::{CALLBACK, HTTP, HTTPS, World};

#[tokio::test]
async fn o18_every_page_says_how_it_may_be_used() {
    let world = World::new().await;
    let mut agent = world.agent();
    agent.host = HTTPS;
    let login = agent.open(&world.authorize(&[])).await;
    let state = login.between("name=\"state\" value=\"", "\"").unwrap().to_owned();
    let mut answers = vec![login];
    for path in ["/u/signup", "/u/login"] {
        answers.push(agent.get(&format!("{path}?state={state}")).await);
    }
    for path in
        ["/u/consent?state=x", "/u/login", "/authorize", "/nothing", "/v2/logout", "/oidc/logout", "/"]
    {
        answers.push(agent.get(path).await);
    }
    answers.push(agent.get(&world.authorize(&[("response_mode", "form_post"), ("prompt", "none")])).await);
    for answer in answers {
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"), "{answer:?}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        assert!(policy.contains("base-uri 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("x-frame-options"), Some("DENY"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert!(
            !answer.body.contains("<style")
                && !answer.body.contains(" style=")
                && ![" onload", " onclick", " onsubmit", " onerror"]
                    .iter()
                    .any(|on| answer.body.contains(on)),
            "{answer:?}"
        );
        let scripts = answer.body.matches("<script").count();
        assert_eq!(scripts, answer.body.matches("<script src=\"/u/submit.js\"></script>").count());
    }
}

#[tokio::test]
async fn a_stylesheet_and_a_script_are_all_that_pages_load() {
    let world = World::new().await;
    for (path, kind) in
        [("/u/style.css", "text/css; charset=utf-8"), ("/u/submit.js", "text/javascript; charset=utf-8")]
    {
        let answer = world.agent().get(path).await;
        assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, Some(kind)));
        assert!(answer.header("cache-control").unwrap().contains("max-age"));
    }
}

#[tokio::test]
async fn discovery_tells_each_origin_its_own_addresses() {
    let world = World::new().await;
    for (host, origin) in [(HTTP, "http://localhost:9400"), (HTTPS, "https://localhost:9401")] {
        let mut agent = world.agent();
        agent.host = host;
        for path in ["/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"] {
            let answer = agent.get(path).await;
            let document = answer.json();
            assert_eq!(document["issuer"], format!("{origin}/"));
            assert!(answer.header("cache-control").unwrap().contains("max-age"));
            assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
            for (name, value) in document.as_object().unwrap() {
                let Some(url) = value.as_str().filter(|_| name.ends_with("_endpoint") || name == "jwks_uri")
                else {
                    continue;
                };
                let path = url.strip_prefix(origin).unwrap_or_else(|| panic!("{name}: {url}"));
                assert_ne!(agent.get(path).await.status, StatusCode::NOT_FOUND, "{name} is not served");
            }
        }
    }
}

#[tokio::test]
async fn o53_the_key_set_is_public_and_for_every_listed_algorithm() {
    let world = World::new().await;
    let answer = world.agent().get("/.well-known/jwks.json").await;
    assert!(answer.header("cache-control").unwrap().contains("max-age"));
    let keys = answer.json()["keys"].as_array().unwrap().clone();
    assert!(keys.len() >= 2);
    for key in &keys {
        let names: Vec<_> = key.as_object().unwrap().keys().map(String::as_str).collect();
        assert!(
            !names.iter().any(|name| ["d", "p", "q", "dp", "dq", "qi", "k", "oth"].contains(name)),
            "{names:?}"
        );
        assert_ne!(key["kty"], "oct");
    }
    let discovery = world.agent().get("/.well-known/openid-configuration").await.json();
    for alg in discovery["id_token_signing_alg_values_supported"].as_array().unwrap() {
        let symmetric = alg.as_str().unwrap().starts_with("HS");
        assert!(symmetric || keys.iter().any(|key| key["alg"] == *alg), "{alg}");
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_get_error_pages() {
    let world = World::new().await;
    for path in ["/", "/nothing", "/oauth/device", "/oidc/other", "/u", "/api/v1/x", "/api/v20", "/%ff"] {
        let answer = world.agent().get(path).await;
        answer.is_error_page();
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
    }
    for (method, path) in
        [(Method::PUT, "/authorize"), (Method::GET, "/oauth/token"), (Method::DELETE, "/userinfo")]
    {
        let answer = world.agent().send(method, path, None).await;
        answer.is_error_page();
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
        assert!(answer.header("allow").is_some(), "{path}");
    }
}

#[tokio::test]
async fn a_head_is_a_get_without_its_body() {
    let world = World::new().await;
    for path in
        ["/.well-known/openid-configuration", "/u/style.css", "/authorize", "/nothing", "/api/v2/clients"]
    {
        let get = world.agent().get(path).await;
        let head = world.agent().send(Method::HEAD, path, None).await;
        assert_eq!((head.status, head.body.as_str()), (get.status, ""), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
        assert_eq!(head.header("content-length"), Some(get.body.len().to_string().as_str()), "{path}");
    }
}

#[tokio::test]
async fn h17_a_host_that_is_none_is_refused_and_unknown_ones_get_the_fallback_tenant() {
    let world = World::new().await;
    for host in ["a@b", "a:b", "", "[::1"] {
        let mut agent = world.agent();
        agent.host = host;
        let answer = agent.get("/.well-known/openid-configuration").await;
        answer.is_error_page();
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{host}");
    }
    let issuers =
        [("127.0.0.1:9400", "http://localhost:9400/"), ("127.0.0.1:9401", "https://localhost:9401/")];
    for (host, issuer) in issuers {
        let mut agent = world.agent();
        agent.host = host;
        let document: Value = agent.get("/.well-known/openid-configuration").await.json();
        assert_eq!(document["issuer"], issuer);
    }
}

#[tokio::test]
async fn localhost_is_never_pinned_to_https() {
    let world = World::new().await;
    let mut agent = world.agent();
    agent.host = HTTPS;
    assert_eq!(agent.get("/nothing").await.header("strict-transport-security"), None);
}

#[tokio::test]
async fn endpoints_that_are_not_served_say_so_to_programs() {
    let world = World::new().await;
    for path in ["/passwordless/start", "/mfa/challenge"] {
        let answer = world.agent().post(path, &[("client_id", "x")]).await;
        assert_eq!(
            (answer.status, &answer.json()["error"]),
            (StatusCode::NOT_FOUND, &"endpoint_disabled".into())
        );
    }
    world.agent().get("/oauth/other").await.is_error_page();
}

#[tokio::test]
async fn what_is_wrong_with_a_sign_up_is_said_at_its_field() {
    let world = World::new().await;
    let mut agent = world.agent();
    let page = agent.open(&world.authorize(&[("screen_hint", "signup")])).await;
    let taken = world.seeded.user.clone();
    for (email, password, field) in [
        ("new@example.com", "weak", "password"),
        ("no address", "corr3ct-Horse-battery", "email"),
        (&taken, "corr3ct-Horse-battery", "email"),
    ] {
        let answer = agent.submit(&page, &[("email", email), ("password", password)]).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.body);
        assert_eq!(answer.body.matches("error-element-").count(), 2, "{}", answer.body);
        assert!(answer.has_id(&format!("error-element-{field}")), "{email}: {}", answer.body);
        let input = answer.between(&format!("<input id=\"{field}\""), ">").unwrap();
        assert!(input.contains(&format!("aria-describedby=\"error-element-{field}\"")), "{input}");
    }
}

#[tokio::test]
async fn h30_pages_of_other_origins_cannot_read_the_provider() {
    let world = World::new().await;
    let mut agent = world.agent();
    for (origin, known) in [
        ("http://localhost:9080", true),
        ("null", false),
        ("http://localhost:9080.evil.example", false),
        ("http://localhost:90801", false),
        ("https://localhost:9080", false),
        ("http://evil.localhost:9080", false),
        ("http://LOCALHOST:9080", false),
    ] {
        agent.extra = vec![("origin", origin.to_owned())];
        for (method, path) in [(Method::POST, "/oauth/token"), (Method::GET, "/userinfo")] {
            let answer = agent.send(method, path, None).await;
            let told = answer.header("access-control-allow-origin");
            assert_eq!(told, known.then_some(origin), "{path}: {answer:?}");
            assert_eq!(answer.header("access-control-allow-credentials"), None);
            assert_eq!(answer.header("vary"), Some("Origin"));
        }
    }
}

#[tokio::test]
async fn whoever_cancels_a_login_is_sent_back_with_access_denied() {
    // fapi2-security-profile-final-user-rejects-authentication, before anybody has logged in.
    let world = World::new().await;
    for (mode, separator) in [("query", "?"), ("fragment", "#")] {
        for (hint, id) in [("login", "cancel-login"), ("signup", "cancel-signup")] {
            let mut agent = world.agent();
            let page = agent.open(&world.authorize(&[("response_mode", mode), ("screen_hint", hint)])).await;
            assert!(page.has_id(id), "{}", page.body);
            let back = agent.submit(&page, &[("action", "cancel")]).await;
            assert_eq!(back.status, StatusCode::SEE_OTHER, "{back:?}");
            assert!(back.location().unwrap().starts_with(&format!("{CALLBACK}{separator}")), "{back:?}");
            let told = ["error", "state", "iss"].map(|name| back.param(name).unwrap_or_default());
            assert_eq!(told, ["access_denied", "xyz", "http://localhost:9400/"]);
            // The login is over, in this tab and in every other.
            let user =
                [("username", world.seeded.user.as_str()), ("password", world.seeded.password.expose())];
            agent.submit(&page, &user).await.is_error_page();
            agent.submit(&page, &[("action", "cancel")]).await.is_error_page();
        }
    }
    // Nobody else cancels it.
    let mut agent = world.agent();
    let page = agent.open(&world.authorize(&[])).await;
    world.agent().submit(&page, &[("action", "cancel")]).await.is_error_page();
    let mut foreign = agent.extra.clone();
    foreign.push(("sec-fetch-site", "cross-site".to_owned()));
    let own = std::mem::replace(&mut agent.extra, foreign);
    agent.submit(&page, &[("action", "cancel")]).await.is_error_page();
    agent.extra = own;
    assert!(agent.log_in(&page).await.param("code").is_some());
}

#[tokio::test]
async fn a_pushed_request_is_used_up_by_cancelling_and_a_device_is_told() {
    let world = World::new().await;
    let mut agent = world.agent();
    let address = world.authorize_pushed(&world.push(&[("response_mode", "form_post")]).await);
    let page = agent.open(&address).await;
    let back = agent.submit(&page, &[("action", "cancel")]).await;
    assert!(back.has_id("form-post") && back.body.contains("access_denied"), "{back:?}");
    agent.open(&address).await.is_error_page();

    let device = "urn:ietf:params:oauth:grant-type:device_code";
    let client = world.client(json!({"app_type": "native", "grant_types": [device]})).await;
    let id = ("client_id", client.client_id.as_str());
    let begun = world.agent().post("/oauth/device/code", &[id, ("scope", "openid")]).await.json();
    let typed = [("user_code", begun["user_code"].as_str().unwrap())];
    let page = agent.post("/activate", &typed).await;
    let login = agent.follow(page).await;
    let done = agent.submit(&login, &[("action", "cancel")]).await;
    assert!(done.has_id("device-denied"), "{done:?}");
    let code = ("device_code", begun["device_code"].as_str().unwrap());
    let told = world.agent().post("/oauth/token", &[("grant_type", device), id, code]).await;
    assert_eq!(told.json()["error"], "access_denied", "{}", told.body);
}

#[tokio::test]
async fn pages_are_in_the_language_that_request_or_browser_ask_for_of_those_enabled() {
    const ENGLISH: &str = "<html lang=\"en\">";
    const GERMAN: &str = "<html lang=\"de\">";
    let world = World::new().await;
    let open = async |path: &str, accepted: &str| {
        let mut agent = world.agent();
        agent.extra.push(("accept-language", accepted.to_owned()));
        agent.open(path).await
    };
    let plain = world.authorize(&[]);
    let asking = world.authorize(&[("ui_locales", "tlh de-CH en")]);
    // English alone until others are enabled.
    for page in [open(&asking, "de").await, open("/nothing", "de").await] {
        assert!(page.body.contains(ENGLISH), "{}", page.body);
    }
    let languages = async || {
        let mut agent = world.agent();
        agent.get("/.well-known/openid-configuration").await.json()["ui_locales_supported"].clone()
    };
    assert_eq!(languages().await, json!(["en"]));
    world.set_tenant(json!({ "enabled_locales": ["en", "de"] })).await;
    assert_eq!(languages().await, json!(["en", "de"]));

    for (path, accepted) in [(&asking, "en"), (&plain, "de-DE,de;q=0.9,en;q=0.1")] {
        let page = open(path, accepted).await;
        assert!(page.body.contains(GERMAN) && page.body.contains(">Weiter</button>"), "{}", page.body);
    }
    // The request goes before the browser; what is not enabled is nobody's language.
    let english = world.authorize(&[("ui_locales", "fr en-GB")]);
    for (path, accepted) in [(&plain, "fr"), (&plain, "ü"), (&english, "de")] {
        let page = open(path, accepted).await;
        assert!(page.body.contains(ENGLISH) && page.body.contains(">Continue</button>"), "{}", page.body);
    }
    // Pages of no request go by the browser, and the first that is enabled where it says nothing.
    let error = open("/nothing", "de").await;
    assert!(error.body.contains(GERMAN) && error.body.contains("Diese Seite gibt es nicht."), "{error:?}");
    world.set_tenant(json!({ "enabled_locales": ["es", "en"] })).await;
    assert!(open("/activate", "de").await.body.contains("Conectar un dispositivo"));
}

#[tokio::test]
async fn the_language_of_a_request_stays_until_consent() {
    let world = World::new().await;
    world.set_tenant(json!({ "enabled_locales": ["en", "fr"] })).await;
    world.set_client(json!({ "is_first_party": false })).await;
    let mut agent = world.agent();
    let login = agent.open(&world.authorize(&[("ui_locales", "fr"), ("scope", "openid email")])).await;
    let wrong = agent.submit(&login, &[("username", "nobody@example.com"), ("password", "x")]).await;
    assert!(wrong.body.contains("Adresse e-mail ou mot de passe incorrect."), "{}", wrong.body);
    let consent = agent.log_in(&login).await;
    assert!(consent.has_id("allow") && consent.body.contains("<html lang=\"fr\">"), "{}", consent.body);
    assert!(consent.body.contains("Voir votre adresse e-mail"), "{}", consent.body);
}

#[tokio::test]
async fn a_tenants_picture_and_where_it_helps_show_on_its_pages() {
    const PICTURE: &str = "https://img.example/tenant.png";
    let world = World::new().await;
    let login = async || world.agent().open(&world.authorize(&[])).await.body;
    assert!(!login().await.contains("<img"));
    let error = world.agent().get("/nothing").await;
    assert!(!error.has_id("support") && !error.has_id("support-email"), "{error:?}");
    let help = json!({
        "picture_url": PICTURE,
        "support_url": "https://example.com/help?a=1&b=2",
        "support_email": "help@example.com",
    });
    world.set_tenant(help).await;
    let page = login().await;
    assert!(page.contains(&format!("src=\"{PICTURE}\"")), "{page}");
    // An application's own goes before.
    world.set_client(json!({ "logo_uri": "https://img.example/app.png" })).await;
    let page = login().await;
    assert!(page.contains("src=\"https://img.example/app.png\"") && !page.contains(PICTURE), "{page}");
    for path in ["/nothing", "/authorize?client_id=unknown"] {
        let error = world.agent().get(path).await;
        assert!(error.has_id("support") && error.has_id("support-email"), "{error:?}");
        assert!(error.body.contains("mailto:help@example.com"), "{error:?}");
        assert_eq!(error.between("href=\"https://example.com/help?a=1&", "b=2\""), Some("#38;"));
    }
    let none = json!({ "picture_url": "", "support_url": "", "support_email": "" });
    world.set_tenant(none).await;
    assert!(!world.agent().get("/nothing").await.has_id("support"));
}

#[tokio::test]
async fn what_cannot_show_on_pages_is_refused() {
    let world = World::new().await;
    let token = world.management_token("").await;
    for (name, value, expected) in [
        ("picture_url", json!("http://img.example/a.png"), StatusCode::BAD_REQUEST),
        ("picture_url", json!("javascript:alert(1)"), StatusCode::BAD_REQUEST),
        ("picture_url", json!("data:image/png;base64,AA"), StatusCode::BAD_REQUEST),
        ("support_url", json!("javascript:alert(1)"), StatusCode::BAD_REQUEST),
        ("support_url", json!("mailto:a@example.com"), StatusCode::BAD_REQUEST),
        ("support_email", json!("a@example.com?bcc=b@example.com"), StatusCode::BAD_REQUEST),
        ("support_email", json!("nobody"), StatusCode::BAD_REQUEST),
        ("friendly_name", json!("x".repeat(256)), StatusCode::BAD_REQUEST),
        ("enabled_locales", json!(["en", "tlh"]), StatusCode::FORBIDDEN),
    ] {
        let answer =
            world.call(&token, "PATCH", "tenants/settings", Some(json!({ (name): value.clone() }))).await;
        assert_eq!(answer.status, expected, "{name} {value}: {}", answer.body);
    }
}

#[tokio::test]
async fn a_directorys_languages_that_pages_are_not_in_are_told_and_left_out() {
    let world = World::new().await;
    for (locales, expected, left_out) in [
        (json!(["ja", "fr", "pt-BR", "en"]), json!(["fr", "en"]), 2),
        (json!(["ja"]), json!(["fr", "en"]), 1),
    ] {
        let document = json!({ "tenant": { "enabled_locales": locales } });
        let document = document.as_object().unwrap().clone();
        let site = world.idp.site_of("dev").await.unwrap().unwrap();
        let done = idp::directory::import(&world.idp, &site, document).await.unwrap();
        assert_eq!((done.updated, done.left_out.len()), (1, left_out), "{:?}", done.left_out);
        let token = world.management_token("").await;
        let settings = world.call(&token, "GET", "tenants/settings", None).await.json();
        assert_eq!(settings["enabled_locales"], expected);
    }
}
