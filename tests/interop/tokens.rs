//! Access tokens of machines: JWTs by the provider's keys, opaque ones by its introspection endpoint.

use serde_json::{Value, json};

use super::{API, CLIENT, Place, SECRET};
use crate::support::{Request, Response};

/// A token of the client itself, for the API or for none.
async fn token(place: &Place, api: Option<&str>) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials").append_pair("client_id", CLIENT);
    form.append_pair("client_secret", SECRET).append_pair("scope", if api.is_some() { "read" } else { "" });
    if let Some(api) = api {
        form.append_pair("resource", api);
    }
    let answer = Request::new("POST", "/token")
        .header("Host", &format!("localhost:{}", place.peer.port()))
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(form.finish())
        .send(place.peer.port())
        .await;
    let answer: Value = answer.json();
    answer["access_token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

async fn ask(place: &Place, token: &str) -> Response {
    place.gate.send(Request::get(&format!("{}/api", place.path)).bearer(token)).await
}

fn post() -> Value {
    json!({ "token_endpoint_auth_method": "client_secret_post" })
}

#[tokio::test]
async fn a_jwt_access_token_is_verified_by_the_published_keys() {
    let attributes = json!({ "bearer_only": true, "use_jwks": true, "required_scopes": ["read"] });
    let place = Place::new(post(), attributes).await;
    let token = token(&place, Some(API)).await;
    assert_eq!(ask(&place, &token).await.status, 200);
    assert_eq!(place.told("x-userinfo")["aud"], API);
    let (head, signature) = token.rsplit_once('.').unwrap();
    let forged = format!("{head}.{}", signature.chars().rev().collect::<String>());
    assert_eq!(ask(&place, &forged).await.status, 401);
}

#[tokio::test]
async fn an_opaque_access_token_is_introspected_once() {
    let attributes =
        json!({ "bearer_only": true, "introspection_endpoint_auth_method": "client_secret_post" });
    let place = Place::new(post(), attributes).await;
    let token = token(&place, None).await;
    for _ in 0..3 {
        assert_eq!(ask(&place, &token).await.status, 200);
    }
    assert_eq!(place.told("x-userinfo")["client_id"], CLIENT);
    assert_eq!(place.peer.hits("/token/introspection").await, [200]);
    assert_eq!(ask(&place, &format!("{token}x")).await.status, 401);
}
