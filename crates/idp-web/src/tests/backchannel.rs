//! Clients that are told of sessions that ended.

use std::time::Duration;

use axum::http::StatusCode;
use jose::{Alg, CompactJws, KeySet};
use serde_json::{Value, json};

use super::world::{Agent, World};

const ENDPOINT: &str = "https://app.example/backchannel";
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// An administrator, and the demo application with a back-channel.
struct Told {
    world: World,
    token: String,
}

impl Told {
    async fn new() -> Self {
        let world = World::new().await;
        let token = world.management_token("").await;
        let told = Self { world, token };
        told.configure(json!({ "backchannel_logout_urls": [ENDPOINT] })).await;
        told
    }

    async fn configure(&self, logout: Value) {
        let path = format!("clients/{}", self.world.seeded.client_id);
        let body = json!({ "oidc_logout": logout });
        let answer = self.world.call(&self.token, "PATCH", &path, Some(body.clone())).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        assert_eq!(answer.json()["oidc_logout"], body["oidc_logout"]);
    }

    /// A browser with a session, and the claims of the ID token that the client got.
    async fn log_in(&self) -> (Agent<'_>, Value) {
        let mut agent = self.world.agent();
        let code = agent.code(&[]).await;
        let tokens = self.world.redeem(&code).await.json();
        (agent, payload(tokens["id_token"].as_str().unwrap()))
    }

    /// Delivers what is due. The claims of each logout token that arrived, verified by the published keys.
    async fn deliver(&self) -> Vec<Value> {
        self.world.idp.deliver_logouts().await.unwrap();
        let jwks = self.world.agent().get("/.well-known/jwks.json").await.body;
        let keys = KeySet::parse(jwks.as_bytes()).unwrap();
        let token = |(url, body): (String, String)| {
            assert_eq!(url, ENDPOINT);
            let token = body.strip_prefix("logout_token=").unwrap().to_owned();
            let jws = CompactJws::parse(&token).unwrap();
            let header: Value = serde_json::from_slice(&base64(token.split('.').next().unwrap())).unwrap();
            assert_eq!(header["typ"], "logout+jwt");
            serde_json::from_slice(&keys.verify(&jws, &[Alg::RS256]).unwrap()).unwrap()
        };
        self.world.network.posted().into_iter().map(token).collect()
    }
}

fn base64(text: &str) -> Vec<u8> {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

fn payload(token: &str) -> Value {
    serde_json::from_slice(&base64(token.split('.').nth(1).unwrap())).unwrap()
}

#[tokio::test]
async fn a_logout_is_told_with_a_token_that_names_session_and_user() {
    let told = Told::new().await;
    told.world.network.publish(ENDPOINT, "");
    let (mut agent, id_token) = told.log_in().await;
    assert!(told.deliver().await.is_empty());
    agent.get(&format!("/v2/logout?client_id={}", told.world.seeded.client_id)).await;
    let tokens = told.deliver().await;
    assert_eq!(tokens.len(), 1);
    let token = &tokens[0];
    for claim in ["iss", "sub", "aud", "sid"] {
        assert_eq!(token[claim], id_token[claim], "{claim}");
    }
    assert_eq!(token["events"], json!({ EVENT: {} }));
    assert!(token["exp"].as_i64().unwrap() - token["iat"].as_i64().unwrap() <= 120);
    assert!(token["jti"].as_str().unwrap().len() >= 20 && token.get("nonce").is_none());
    // Once.
    told.world.clock.advance(Duration::from_secs(3600));
    assert!(told.deliver().await.is_empty());
    let logs =
        told.world.call(&told.token, "GET", "logs?q=type:oidc_backchannel_logout_succeeded", None).await;
    assert_eq!(logs.json().as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn what_ends_a_session_is_told_where_the_client_wants_it() {
    let told = Told::new().await;
    told.world.network.publish(ENDPOINT, "");
    let user = told.world.call(&told.token, "GET", "users", None).await.json()[0]["user_id"].clone();
    let user = format!("users/{}", user.as_str().unwrap().replace('|', "%7C"));
    let call = async |method: &str, path: &str, body: Option<Value>| {
        let answer = told.world.call(&told.token, method, path, body).await;
        assert!(answer.status.is_success(), "{method} {path}: {}", answer.body);
    };
    let new_password = json!({ "password": told.world.seeded.password.expose() });
    told.log_in().await;
    call("DELETE", &format!("{user}/sessions"), None).await;
    assert_eq!(told.deliver().await.len(), 1, "revoked");
    told.log_in().await;
    told.log_in().await;
    call("PATCH", &user, Some(new_password.clone())).await;
    assert_eq!(told.deliver().await.len(), 2, "password changed");
    let custom = json!({ "mode": "custom", "selected_initiators": ["account-deactivated"] });
    told.configure(json!({ "backchannel_logout_urls": [ENDPOINT], "backchannel_logout_initiators": custom }))
        .await;
    let (mut agent, _) = told.log_in().await;
    call("PATCH", &user, Some(new_password)).await;
    assert_eq!(told.deliver().await.len(), 0, "not wanted");
    assert!(agent.get(&told.world.authorize(&[("prompt", "none")])).await.param("error").is_some());
    told.log_in().await;
    call("PATCH", &user, Some(json!({ "blocked": true }))).await;
    assert_eq!(told.deliver().await.len(), 1, "blocked");
}

#[tokio::test]
async fn a_client_that_is_away_is_told_again_until_it_is_there_or_five_times() {
    let told = Told::new().await;
    let out = format!("/v2/logout?client_id={}", told.world.seeded.client_id);
    told.log_in().await.0.get(&out).await;
    assert_eq!(told.deliver().await.len(), 1);
    assert_eq!(told.deliver().await.len(), 0, "not at once");
    told.world.clock.advance(Duration::from_secs(3));
    told.world.network.refuse(ENDPOINT, 503);
    let second = told.deliver().await;
    assert_eq!(second.len(), 1);
    told.world.clock.advance(Duration::from_secs(20));
    told.world.network.refuse(ENDPOINT, 204);
    let third = told.deliver().await;
    assert_eq!((third.len(), &third[0]["jti"]), (1, &second[0]["jti"]), "the same to the client");
    told.world.clock.advance(Duration::from_secs(86_400));
    assert_eq!(told.deliver().await.len(), 0);

    told.world.network.refuse(ENDPOINT, 500);
    let token = told.world.management_token("").await;
    told.log_in().await.0.get(&out).await;
    let mut tries = 0;
    for _ in 0..10 {
        tries += told.deliver().await.len();
        told.world.clock.advance(Duration::from_secs(2000));
    }
    assert_eq!(tries, 5);
    // Who has understood and refuses is not asked again.
    told.world.network.refuse(ENDPOINT, 400);
    told.log_in().await.0.get(&out).await;
    assert_eq!(told.deliver().await.len(), 1);
    told.world.clock.advance(Duration::from_secs(2000));
    assert_eq!(told.deliver().await.len(), 0);
    let failed = told.world.call(&token, "GET", "logs?q=type:oidc_backchannel_logout_failed", None).await;
    assert_eq!(failed.json().as_array().unwrap().len(), 2, "{}", failed.body);
}

#[tokio::test]
async fn o44_back_channels_are_few_web_addresses() {
    let told = Told::new().await;
    let path = format!("clients/{}", told.world.seeded.client_id);
    let many: Vec<String> = (0..6).map(|n| format!("https://app.example/{n}")).collect();
    for (logout, word) in [
        (json!({ "backchannel_logout_urls": ["javascript:alert(1)"] }), "backchannel_logout_urls"),
        (json!({ "backchannel_logout_urls": ["app:/cb"] }), "backchannel_logout_urls"),
        (json!({ "backchannel_logout_urls": ["https://a.example/#x"] }), "backchannel_logout_urls"),
        (json!({ "backchannel_logout_urls": many }), "backchannel_logout_urls"),
        (json!({ "backchannel_logout_urls": "https://a.example/" }), "oidc_logout"),
        (json!({ "backchannel_logout_initiators": { "mode": "some" } }), "oidc_logout"),
        (json!({ "evil": 1 }), "evil"),
        (json!([]), "oidc_logout"),
    ] {
        let body = json!({ "oidc_logout": logout });
        let answer = told.world.call(&told.token, "PATCH", &path, Some(body)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{logout}: {}", answer.body);
        assert!(answer.json()["message"].as_str().unwrap().contains(word), "{logout}: {}", answer.body);
    }
    let old = json!({ "oidc_backchannel_logout": { "backchannel_logout_urls": ["https://old.example/"] } });
    let renamed = told.world.call(&told.token, "PATCH", &path, Some(old)).await.json();
    assert_eq!(renamed["oidc_logout"]["backchannel_logout_urls"], json!(["https://old.example/"]));
}
