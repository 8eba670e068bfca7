//! Token, introspection, revocation and userinfo endpoint.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::world::{Answer, Payload, VERIFIER, World, basic};

async fn json(world: &World, body: &Value) -> Answer {
    world.agent().send(Method::POST, "/oauth/token", Some(Payload::Json(body))).await
}

#[track_caller]
fn is_refused(answer: &Answer, status: StatusCode, error: &str) {
    assert_eq!((answer.status, answer.json()["error"].as_str()), (status, Some(error)), "{}", answer.body);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn client_credentials_work_as_form_and_as_json() {
    let world = World::new().await;
    let audience = world.seeded.audience.clone();
    let form = [("grant_type", "client_credentials"), ("audience", audience.as_str())];
    let answer = world.token(&form).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let body = json!({
        "grant_type": "client_credentials", "audience": audience, "client_id": world.seeded.client_id,
        "client_secret": world.seeded.client_secret.expose(), "scope": "read:things",
    });
    let answer = json(&world, &body).await;
    assert_eq!((answer.status, answer.json()["scope"].as_str()), (StatusCode::OK, Some("read:things")));
}

#[tokio::test]
async fn client_credentials_need_an_audience_and_granted_scopes() {
    let world = World::new().await;
    let grant = ("grant_type", "client_credentials");
    let none = world.token(&[grant]).await;
    assert!(none.status.is_client_error(), "{}", none.body);
    let unknown = world.token(&[grant, ("audience", "https://nothing/")]).await;
    is_refused(&unknown, StatusCode::BAD_REQUEST, "access_denied");
    let scope = world.token(&[grant, ("audience", &world.seeded.audience), ("scope", "admin:all")]).await;
    is_refused(&scope, StatusCode::BAD_REQUEST, "invalid_scope");
}

#[tokio::test]
async fn o08_a_client_proves_itself_one_way_and_rightly() {
    let world = World::new().await;
    let (id, secret) = (world.seeded.client_id.as_str(), world.seeded.client_secret.expose().as_str());
    let grant = [("grant_type", "client_credentials"), ("audience", world.seeded.audience.as_str())];
    let bad = [
        basic(id, "wrong"),
        basic(id, ""),
        basic(id, &secret[..20]),
        basic(id, &format!("{secret}\0")),
        basic("nobody", secret),
        basic(id, "%zz"),
        "Basic !!!".to_owned(),
        "Basic".to_owned(),
    ];
    for header in bad {
        let mut agent = world.agent();
        agent.extra.push(("authorization", header.clone()));
        let answer = agent.post("/oauth/token", &grant).await;
        is_refused(&answer, StatusCode::UNAUTHORIZED, "invalid_client");
        assert!(answer.header("www-authenticate").unwrap().starts_with("Basic "), "{header}");
    }
    let mut both = world.agent();
    both.extra.push(("authorization", world.basic()));
    let answer =
        both.post("/oauth/token", &[grant[0], grant[1], ("client_id", id), ("client_secret", secret)]).await;
    assert!(answer.status.is_client_error(), "{}", answer.body);
    let mut twice = world.agent();
    twice.extra.extend([("authorization", world.basic()), ("authorization", world.basic())]);
    is_refused(&twice.post("/oauth/token", &grant).await, StatusCode::BAD_REQUEST, "invalid_request");
    let query = format!("/oauth/token?client_id={id}&client_secret={secret}");
    is_refused(&world.agent().post(&query, &grant).await, StatusCode::BAD_REQUEST, "invalid_request");
    let nameless = world.agent().post("/oauth/token", &grant).await;
    assert!(nameless.status.is_client_error());
    let public = world.agent().post("/oauth/token", &[grant[0], grant[1], ("client_id", id)]).await;
    is_refused(&public, StatusCode::UNAUTHORIZED, "invalid_client");
}

#[tokio::test]
async fn o10_repeated_parameters_and_strange_bodies_are_refused() {
    let world = World::new().await;
    let id = &world.seeded.client_id;
    let twice = format!("grant_type=client_credentials&grant_type=refresh_token&client_id={id}");
    let bodies: Vec<(&str, Vec<u8>)> = vec![
        ("application/x-www-form-urlencoded", twice.into_bytes()),
        ("application/x-www-form-urlencoded", b"grant_type=%ff".to_vec()),
        ("application/x-www-form-urlencoded", b"grant_type=%".to_vec()),
        ("application/x-www-form-urlencoded", b"grant_type=a%00b".to_vec()),
        ("application/x-www-form-urlencoded", vec![b'a'; 70_000]),
        ("application/json", b"{\"grant_type\":\"a\",\"grant_type\":\"b\"}".to_vec()),
        ("application/json", b"{\"grant_type\":".to_vec()),
        ("application/json", b"[]".to_vec()),
        ("application/json", b"{\"grant_type\":{\"a\":1}}".to_vec()),
        ("application/json", "[".repeat(60_000).into_bytes()),
        ("application/json", b"\xff\xfe".to_vec()),
        ("multipart/form-data; boundary=x", b"--x--".to_vec()),
        ("text/plain", b"grant_type=client_credentials".to_vec()),
    ];
    for (kind, body) in bodies {
        let mut agent = world.agent();
        agent.extra.push(("authorization", world.basic()));
        let shown = String::from_utf8_lossy(&body).chars().take(40).collect::<String>();
        let answer = agent.send(Method::POST, "/oauth/token", Some(Payload::Raw(kind, body))).await;
        assert_eq!(
            (answer.status, &answer.json()["error"]),
            (StatusCode::BAD_REQUEST, &json!("invalid_request")),
            "{shown}"
        );
    }
    let empty = world.token(&[]).await;
    is_refused(&empty, StatusCode::BAD_REQUEST, "invalid_request");
    is_refused(
        &world.token(&[("grant_type", "magic")]).await,
        StatusCode::BAD_REQUEST,
        "unsupported_grant_type",
    );
}

#[tokio::test]
async fn o07_a_code_and_a_refresh_token_are_their_clients_alone() {
    let world = World::new().await;
    let mut other = world.agent();
    let secret = world.seeded.management_client_secret.expose();
    other.extra.push(("authorization", basic(&world.seeded.management_client_id, secret)));
    let code = world.agent().code(&[("scope", "openid offline_access")]).await;
    let form = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", super::world::CALLBACK),
        ("code_verifier", VERIFIER),
    ];
    let stolen = other.post("/oauth/token", &form).await;
    assert!(
        matches!(stolen.json()["error"].as_str(), Some("invalid_grant" | "unauthorized_client")),
        "{}",
        stolen.body
    );
    let code = world.agent().code(&[("scope", "openid offline_access")]).await;
    let tokens = world.redeem(&code).await.json();
    let refresh = tokens["refresh_token"].as_str().unwrap();
    let stolen =
        other.post("/oauth/token", &[("grant_type", "refresh_token"), ("refresh_token", refresh)]).await;
    assert!(
        matches!(stolen.json()["error"].as_str(), Some("invalid_grant" | "unauthorized_client")),
        "{}",
        stolen.body
    );
}

#[tokio::test]
async fn o11_a_rotated_refresh_token_kills_its_family_when_it_comes_again() {
    let world = World::new().await;
    let code = world.agent().code(&[("scope", "openid offline_access")]).await;
    let first = world.redeem(&code).await.json()["refresh_token"].as_str().unwrap().to_owned();
    let refresh =
        async |token: &str| world.token(&[("grant_type", "refresh_token"), ("refresh_token", token)]).await;
    let second = refresh(&first).await.json()["refresh_token"].as_str().unwrap().to_owned();
    assert_ne!(first, second);
    is_refused(&refresh(&first).await, StatusCode::BAD_REQUEST, "invalid_grant");
    is_refused(&refresh(&second).await, StatusCode::BAD_REQUEST, "invalid_grant");
    let wider = [("grant_type", "refresh_token"), ("refresh_token", second.as_str()), ("scope", "admin:all")];
    assert!(world.token(&wider).await.status.is_client_error());
}

#[tokio::test]
async fn o45_introspection_tells_those_who_may_know() {
    let world = World::new().await;
    let audience = world.seeded.audience.clone();
    let grant = [("grant_type", "client_credentials"), ("audience", audience.as_str())];
    let token = world.token(&grant).await.json()["access_token"].as_str().unwrap().to_owned();
    let mut gateway = world.agent();
    gateway.extra.push(("authorization", world.basic()));
    let known = gateway.post("/oauth/introspect", &[("token", &token)]).await;
    assert_eq!((known.status, &known.json()["active"]), (StatusCode::OK, &json!(true)), "{}", known.body);
    assert_eq!(known.header("cache-control"), Some("no-store"));
    let hinted =
        gateway.post("/oauth/introspect", &[("token", &token), ("token_type_hint", "refresh_token")]).await;
    assert_eq!(hinted.json()["active"], true);
    for nonsense in ["x", "a.b.c", &token[..token.len() - 4]] {
        let answer = gateway.post("/oauth/introspect", &[("token", nonsense)]).await;
        assert_eq!((answer.status, answer.json()), (StatusCode::OK, json!({ "active": false })));
    }
    is_refused(&gateway.post("/oauth/introspect", &[]).await, StatusCode::BAD_REQUEST, "invalid_request");
    let mut stranger = world.agent();
    let secret = world.seeded.management_client_secret.expose();
    stranger.extra.push(("authorization", basic(&world.seeded.management_client_id, secret)));
    let hidden = stranger.post("/oauth/introspect", &[("token", &token)]).await;
    assert_eq!((hidden.status, hidden.json()), (StatusCode::OK, json!({ "active": false })));
    let nobody = world.agent().post("/oauth/introspect", &[("token", &token)]).await;
    assert!(nobody.status.is_client_error() && !nobody.body.contains("active"), "{}", nobody.body);
}

#[tokio::test]
async fn a_revoked_refresh_token_is_dead_and_revocation_says_nothing() {
    let world = World::new().await;
    let code = world.agent().code(&[("scope", "openid offline_access")]).await;
    let refresh = world.redeem(&code).await.json()["refresh_token"].as_str().unwrap().to_owned();
    let mut client = world.agent();
    client.extra.push(("authorization", world.basic()));
    for token in [refresh.as_str(), "unknown"] {
        let answer = client.post("/oauth/revoke", &[("token", token)]).await;
        assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, ""));
    }
    let again = world.token(&[("grant_type", "refresh_token"), ("refresh_token", &refresh)]).await;
    is_refused(&again, StatusCode::BAD_REQUEST, "invalid_grant");
}

#[tokio::test]
async fn o46_userinfo_takes_user_access_tokens_only() {
    let world = World::new().await;
    let tokens = world.redeem(&world.agent().code(&[]).await).await.json();
    let access = tokens["access_token"].as_str().unwrap();
    let with = async |token: &str| {
        let mut agent = world.agent();
        agent.extra.push(("authorization", format!("Bearer {token}")));
        agent.get("/userinfo").await
    };
    assert_eq!(with(access).await.status, StatusCode::OK);
    let grant = [("grant_type", "client_credentials"), ("audience", world.seeded.audience.as_str())];
    let machine = world.token(&grant).await.json()["access_token"].as_str().unwrap().to_owned();
    for bad in [tokens["id_token"].as_str().unwrap(), &machine, "x", &access[..access.len() - 2]] {
        let answer = with(bad).await;
        assert!(matches!(answer.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN), "{answer:?}");
        assert!(answer.header("www-authenticate").unwrap().contains("error=\""), "{answer:?}");
    }
    let none = world.agent().get("/userinfo").await;
    assert_eq!((none.status, none.body.as_str()), (StatusCode::UNAUTHORIZED, ""));
    assert!(!none.header("www-authenticate").unwrap().contains("error"));
    assert_eq!(
        world.agent().get(&format!("/userinfo?access_token={access}")).await.status,
        StatusCode::UNAUTHORIZED
    );

    let posted = world.agent().post("/userinfo", &[("access_token", access)]).await;
    assert_eq!(posted.status, StatusCode::OK, "{}", posted.body);
    let mut both = world.agent();
    both.extra.push(("authorization", format!("Bearer {access}")));
    assert_eq!(both.post("/userinfo", &[("access_token", access)]).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(both.send(Method::POST, "/userinfo", None).await.status, StatusCode::OK);
    world.clock.advance(std::time::Duration::from_secs(30 * 86_400));
    assert_eq!(with(access).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn web_pages_of_known_origins_may_read_tokens() {
    let world = World::new().await;
    for (origin, allowed) in
        [("http://localhost:9080", true), ("http://evil.example", false), ("null", false)]
    {
        let mut page = world.agent();
        page.extra.push(("origin", origin.to_owned()));
        let preflight = page.send(Method::OPTIONS, "/oauth/token", None).await;
        assert_eq!(preflight.status, StatusCode::NO_CONTENT);
        assert_eq!(preflight.header("access-control-allow-origin"), allowed.then_some(origin));
        let answer = page.post("/oauth/token", &[("grant_type", "x")]).await;
        assert_eq!(answer.header("access-control-allow-origin"), allowed.then_some(origin));
        assert_eq!(answer.header("access-control-allow-credentials"), None);
        assert_eq!(answer.header("vary"), Some("Origin"));
    }
    assert_eq!(world.token(&[]).await.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn a_program_in_a_page_may_ask_and_read_every_endpoint_that_it_needs() {
    let world = World::new().await;
    let origin = "http://localhost:9080";
    let asked = [
        ("access-control-request-method", "POST".to_owned()),
        ("access-control-request-headers", "dpop, authorization, content-type".to_owned()),
    ];
    let (post, get) = (Method::POST, Method::GET);
    for (method, path, everybody) in [
        (&post, "/oauth/token", false),
        (&post, "/oauth/par", false),
        (&post, "/oauth/revoke", false),
        (&post, "/oauth/device/code", false),
        (&get, "/userinfo", false),
        (&post, "/userinfo", false),
        (&get, "/.well-known/openid-configuration", true),
        (&get, "/.well-known/oauth-authorization-server", true),
        (&get, "/.well-known/jwks.json", true),
    ] {
        for (page, known) in [(origin, true), ("https://evil.example", false)] {
            let told = if everybody { Some("*") } else { known.then_some(page) };
            let mut agent = world.agent();
            agent.extra.push(("origin", page.to_owned()));
            let answer = agent.send(method.clone(), path, None).await;
            assert_eq!(answer.header("access-control-allow-origin"), told, "{path} {page}");
            agent.extra.extend(asked.clone());
            let preflight = agent.send(Method::OPTIONS, path, None).await;
            assert_eq!(preflight.status, StatusCode::NO_CONTENT, "{path} {page}");
            assert_eq!(preflight.header("access-control-allow-origin"), told, "{path} {page}");
            let headers = preflight.header("access-control-allow-headers").unwrap_or_default();
            assert_eq!(headers.contains("dpop"), told.is_some(), "{path} {page}: {headers}");
            let methods = preflight.header("access-control-allow-methods").unwrap_or_default();
            assert_eq!(methods.contains(method.as_str()), told.is_some(), "{path} {page}: {methods}");
            assert_eq!(preflight.header("access-control-allow-credentials"), None);
        }
    }
    // What a page pushes, it can read; what only servers ask, no page can.
    let mut page = world.agent();
    page.extra.extend([("origin", origin.to_owned()), ("authorization", world.basic())]);
    let form: Vec<(String, String)> = world.parameters(&[]);
    let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let pushed = page.post("/oauth/par", &form).await;
    assert_eq!(
        (pushed.status, pushed.header("access-control-allow-origin")),
        (StatusCode::CREATED, Some(origin)),
        "{pushed:?}"
    );
    let told = page.post("/oauth/introspect", &[("token", "x")]).await;
    assert_eq!((told.status, told.header("access-control-allow-origin")), (StatusCode::OK, None));
}

#[tokio::test]
async fn resources_say_the_interaction_id_back_or_give_one() {
    let world = World::new().await;
    let token = world.management_token("").await;
    let code = world.agent().code(&[]).await;
    let access = world.redeem(&code).await.json()["access_token"].as_str().unwrap().to_owned();
    let sent = "93bac548-d2de-4546-b106-880a5018460d";
    for (path, token) in [("/userinfo", &access), ("/api/v2/clients", &token)] {
        for (bearer, status) in [(token.as_str(), StatusCode::OK), ("wrong", StatusCode::UNAUTHORIZED)] {
            let ask = async |ids: &[&str]| {
                let mut agent = world.agent();
                agent.extra.push(("authorization", format!("Bearer {bearer}")));
                agent.extra.extend(ids.iter().map(|id| ("x-fapi-interaction-id", (*id).to_owned())));
                let answer = agent.get(path).await;
                assert_eq!(answer.status, status, "{path} {}", answer.body);
                answer.header("x-fapi-interaction-id").unwrap_or_else(|| panic!("{path}: none")).to_owned()
            };
            assert_eq!(ask(&[sent]).await, sent);
            let made = ask(&[]).await;
            assert!(made.len() == 36 && made != ask(&[]).await, "{made}");
            // What is no name is not said back.
            for odd in [&["x y"][..], &[""], &["a", "b"], &["x".repeat(200).as_str()]] {
                assert_eq!(ask(odd).await.len(), 36, "{odd:?}");
            }
        }
    }
    let other = world.agent().get("/.well-known/jwks.json").await;
    assert_eq!(other.header("x-fapi-interaction-id"), None);
}
