//! Sessions and refresh tokens, as administrators see and end them.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::world::{Agent, Answer, World};

struct Watched {
    world: World,
    token: String,
    user: String,
}

impl Watched {
    async fn new() -> Self {
        let world = World::new().await;
        let token = world.management_token("").await;
        let users = world.call(&token, "GET", "users", None).await.json();
        let user = format!("users/{}", users[0]["user_id"].as_str().unwrap().replace('|', "%7C"));
        Self { world, token, user }
    }

    async fn call(&self, method: &str, path: &str) -> Answer {
        self.world.call(&self.token, method, path, None).await
    }

    /// A browser with a session, and the refresh token that it gave the demo application.
    async fn log_in(&self) -> (Agent<'_>, String) {
        // Sessions are listed in the order in which they began.
        self.world.clock.advance(std::time::Duration::from_secs(1));
        let mut agent = self.world.agent();
        agent.extra.push(("user-agent", "Test/1".to_owned()));
        let code = agent.code(&[("scope", "openid offline_access")]).await;
        let token = self.world.redeem(&code).await.json()["refresh_token"].as_str().unwrap().to_owned();
        (agent, token)
    }

    async fn sessions(&self) -> Vec<Value> {
        let answer = self.call("GET", &format!("{}/sessions", self.user)).await;
        answer.json()["sessions"].as_array().unwrap_or_else(|| panic!("{}", answer.body)).clone()
    }

    async fn tokens(&self) -> Vec<Value> {
        let answer = self.call("GET", &format!("{}/refresh-tokens", self.user)).await;
        answer.json()["tokens"].as_array().unwrap_or_else(|| panic!("{}", answer.body)).clone()
    }

    /// Whether the browser is still logged in.
    async fn is_in(&self, agent: &mut Agent<'_>) -> bool {
        let answer = agent.get(&self.world.authorize(&[("prompt", "none")])).await;
        answer.param("code").is_some()
    }

    async fn refresh(&self, token: &str) -> Answer {
        self.world.token(&[("grant_type", "refresh_token"), ("refresh_token", token)]).await
    }
}

#[tokio::test]
async fn o47_a_session_is_listed_and_ended_by_its_sid() {
    let watched = Watched::new().await;
    let (mut agent, token) = watched.log_in().await;
    let (mut other, _) = watched.log_in().await;
    let sessions = watched.sessions().await;
    assert_eq!(sessions.len(), 2);
    let first = &sessions[0];
    assert_eq!(first["clients"], json!([{ "client_id": watched.world.seeded.client_id }]));
    assert_eq!(first["device"]["initial_user_agent"], "Test/1");
    assert_eq!(first["authentication"]["methods"][0]["name"], "pwd");
    let path = format!("sessions/{}", first["id"].as_str().unwrap());
    assert_eq!(watched.call("GET", &path).await.json(), *first);
    assert_eq!(watched.call("DELETE", &path).await.status, StatusCode::ACCEPTED);
    assert!(!watched.is_in(&mut agent).await && watched.is_in(&mut other).await);
    for method in ["GET", "DELETE"] {
        assert_eq!(watched.call(method, &path).await.status, StatusCode::NOT_FOUND);
    }
    // What the user allowed for later is for later.
    assert_eq!(watched.refresh(&token).await.status, StatusCode::OK);
    let all = format!("{}/sessions", watched.user);
    assert_eq!(watched.call("DELETE", &all).await.status, StatusCode::ACCEPTED);
    assert!(!watched.is_in(&mut other).await && watched.sessions().await.is_empty());
}

#[tokio::test]
async fn o47_a_revoked_session_takes_its_refresh_tokens_along() {
    let watched = Watched::new().await;
    let (mut agent, token) = watched.log_in().await;
    let (_, kept) = watched.log_in().await;
    let sid = watched.sessions().await[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(watched.call("POST", &format!("sessions/{sid}/revoke")).await.status, StatusCode::ACCEPTED);
    assert!(!watched.is_in(&mut agent).await);
    assert_eq!(watched.refresh(&token).await.json()["error"], "invalid_grant");
    assert_eq!(watched.refresh(&kept).await.status, StatusCode::OK);
}

#[tokio::test]
async fn o47_refresh_tokens_are_listed_and_revoked_by_family() {
    let watched = Watched::new().await;
    let (_, first) = watched.log_in().await;
    let (_, second) = watched.log_in().await;
    let rotated = watched.refresh(&first).await.json()["refresh_token"].as_str().unwrap().to_owned();
    let tokens = watched.tokens().await;
    assert_eq!(tokens.len(), 2, "{tokens:?}");
    for token in &tokens {
        assert_eq!(token["client_id"], watched.world.seeded.client_id.as_str());
        let path = format!("refresh-tokens/{}", token["id"].as_str().unwrap());
        assert_eq!(watched.call("GET", &path).await.json(), *token);
    }
    let exchanged = tokens.iter().find(|token| !token["last_exchanged_at"].is_null()).unwrap();
    let path = format!("refresh-tokens/{}", exchanged["id"].as_str().unwrap());
    assert_eq!(watched.call("DELETE", &path).await.status, StatusCode::ACCEPTED);
    assert_eq!(watched.call("DELETE", &path).await.status, StatusCode::NOT_FOUND);
    assert_eq!(watched.refresh(&rotated).await.json()["error"], "invalid_grant");
    assert_eq!(watched.tokens().await.len(), 1);
    let all = format!("{}/refresh-tokens", watched.user);
    assert_eq!(watched.call("DELETE", &all).await.status, StatusCode::ACCEPTED);
    assert_eq!(watched.refresh(&second).await.json()["error"], "invalid_grant");
    assert!(watched.tokens().await.is_empty());
}

#[tokio::test]
async fn o47_revoking_access_ends_everything_or_what_is_named() {
    let watched = Watched::new().await;
    let (mut agent, token) = watched.log_in().await;
    let path = format!("{}/revoke-access", watched.user);
    let call = async |body: Value| watched.world.call(&watched.token, "POST", &path, Some(body)).await.status;
    for bad in [json!({ "evil": 1 }), json!({ "session_id": 1 }), json!({ "preserve_refresh_tokens": "yes" })]
    {
        assert_eq!(call(bad).await, StatusCode::BAD_REQUEST);
    }
    assert_eq!(call(json!({ "session_id": "nope" })).await, StatusCode::NOT_FOUND);
    assert!(watched.is_in(&mut agent).await);
    assert_eq!(call(json!({ "preserve_refresh_tokens": true })).await, StatusCode::ACCEPTED);
    assert!(!watched.is_in(&mut agent).await);
    let next = watched.refresh(&token).await.json()["refresh_token"].as_str().unwrap().to_owned();
    assert_eq!(call(json!({})).await, StatusCode::ACCEPTED);
    assert_eq!(watched.refresh(&next).await.json()["error"], "invalid_grant");
}

#[tokio::test]
async fn o41_sessions_of_nobody_are_404() {
    let watched = Watched::new().await;
    for (method, path) in [
        ("GET", "sessions/x"),
        ("POST", "sessions/x/revoke"),
        ("GET", "refresh-tokens/x"),
        ("GET", "users/auth0%7Cno/sessions"),
        ("DELETE", "users/auth0%7Cno/sessions"),
        ("GET", "users/auth0%7Cno/refresh-tokens"),
        ("POST", "users/auth0%7Cno/revoke-access"),
    ] {
        assert_eq!(watched.call(method, path).await.status, StatusCode::NOT_FOUND, "{method} {path}");
    }
}

#[tokio::test]
async fn a_session_ends_without_use_and_after_its_time_whatever_happens() {
    let watched = Watched::new().await;
    let settings = json!({ "session_lifetime": 3, "idle_session_lifetime": 1 });
    let changed = watched.world.call(&watched.token, "PATCH", "tenants/settings", Some(settings)).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.body);
    let hours = |hours: f64| watched.world.clock.advance(std::time::Duration::from_secs_f64(hours * 3600.0));
    let (mut idle, _) = watched.log_in().await;
    let (mut used, _) = watched.log_in().await;
    hours(0.7);
    assert!(watched.is_in(&mut used).await);
    hours(0.7);
    assert!(watched.is_in(&mut used).await && !watched.is_in(&mut idle).await);
    assert_eq!(watched.sessions().await.len(), 1);
    hours(0.8);
    assert!(watched.is_in(&mut used).await);
    hours(0.9);
    assert!(!watched.is_in(&mut used).await, "three hours are over");
}

#[tokio::test]
async fn lifetimes_come_in_minutes_too_and_auth0s_flags_count_where_they_say_what_is_so() {
    let watched = Watched::new().await;
    let set =
        async |body: Value| watched.world.call(&watched.token, "PATCH", "tenants/settings", Some(body)).await;
    let minutes =
        set(json!({ "session_lifetime_in_minutes": 90, "idle_session_lifetime_in_minutes": 30 })).await;
    assert_eq!(minutes.json()["session_lifetime"], 1.5, "{}", minutes.body);
    assert_eq!(minutes.json()["idle_session_lifetime"], 0.5);
    let flags = json!({ "flags": { "enable_sso": true, "enable_client_connections": false } });
    assert_eq!(set(flags).await.status, StatusCode::OK);
    for (body, status, word) in [
        (json!({ "flags": { "enable_client_connections": true } }), 403, "enable_client_connections"),
        (json!({ "flags": { "enable_sso": "yes" } }), 400, "enable_sso"),
        (json!({ "flags": { "no_such_flag": false } }), 400, "no_such_flag"),
        (json!({ "session_lifetime_in_minutes": 0 }), 400, "session_lifetime_in_minutes"),
        (json!({ "session_lifetime": 9000 }), 400, "session_lifetime"),
        (json!({ "ephemeral_session_lifetime": -1 }), 400, "ephemeral_session_lifetime"),
    ] {
        let answer = set(body.clone()).await;
        assert_eq!(answer.status.as_u16(), status, "{body}: {}", answer.body);
        assert!(answer.json()["message"].as_str().unwrap().contains(word), "{body}: {}", answer.body);
    }
}

#[tokio::test]
async fn a_new_login_keeps_the_sid_of_the_same_user_and_of_nobody_else() {
    let watched = Watched::new().await;
    let world = &watched.world;
    let claims = async |agent: &mut Agent<'_>, extra: &[(&str, &str)], user: (&str, &str)| {
        let extra = [&[("scope", "openid offline_access"), ("max_age", "1000")], extra].concat();
        let page = agent.open(&world.authorize(&extra)).await;
        let form = [("username", user.0), ("password", user.1)];
        let next = agent.submit(&page, &form).await;
        let code = agent.follow(next).await.param("code").unwrap();
        let tokens = world.redeem(&code).await.json();
        super::world::claims(tokens["id_token"].as_str().unwrap())
    };
    let demo = (world.seeded.user.as_str(), world.seeded.password.expose().as_str());
    let mut agent = world.agent();
    let first = claims(&mut agent, &[], demo).await;
    let (cookie, state) = (agent.cookies["pc_idp"].clone(), agent.cookies["pc_idp_state"].clone());
    world.clock.advance(std::time::Duration::from_secs(60));
    for extra in [&[("prompt", "login")][..], &[("max_age", "1")]] {
        let again = claims(&mut agent, extra, demo).await;
        assert_eq!(again["sid"], first["sid"]);
        assert!(again["auth_time"].as_i64() > first["auth_time"].as_i64(), "{again} {first}");
        world.clock.advance(std::time::Duration::from_secs(60));
    }
    // The same session to clients, and another secret.
    assert_eq!(agent.cookies["pc_idp_state"], state);
    assert_ne!(agent.cookies["pc_idp"], cookie);
    let mut old = world.agent();
    old.cookies.insert("pc_idp".to_owned(), cookie);
    assert!(!watched.is_in(&mut old).await && watched.is_in(&mut agent).await);
    let sessions = watched.sessions().await;
    assert_eq!((sessions.len(), &sessions[0]["id"]), (1, &first["sid"]));

    let other = json!({
        "connection": "Username-Password-Authentication", "email": "other@example.com",
        "password": "Quite-l0ng-enough",
    });
    let made = world.call(&watched.token, "POST", "users", Some(other)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    let told = json!({ "oidc_logout": { "backchannel_logout_urls": ["https://app.example/out"] } });
    world.set_client(told).await;
    world.network.publish("https://app.example/out", "");
    let next = claims(&mut agent, &[("prompt", "login")], ("other@example.com", "Quite-l0ng-enough")).await;
    assert!(next["sid"] != first["sid"] && next["sub"] != first["sub"], "{next} {first}");
    assert_ne!(agent.cookies["pc_idp_state"], state);
    assert!(watched.sessions().await.is_empty());
    world.idp.deliver_logouts().await.unwrap();
    let posted = world.network.posted();
    assert_eq!(posted.len(), 1, "the clients of the session that ended are told");
    let token = super::world::claims(posted[0].1.strip_prefix("logout_token=").unwrap());
    assert_eq!((&token["sid"], &token["sub"]), (&first["sid"], &first["sub"]));
}
