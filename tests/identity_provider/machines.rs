//! What programs ask without a browser: metadata, client credentials, introspection, revocation.

use serde_json::{Value, json};

use crate::{
    Door, posted,
    support::{Request, Upstream},
};

#[tokio::test]
async fn metadata_is_the_same_twice_and_names_one_origin() {
    for door in Door::both() {
        let document = door.get("/.well-known/openid-configuration").await.json();
        assert_eq!(document, door.get("/.well-known/oauth-authorization-server").await.json());
        assert_eq!(document["issuer"], door.issuer());
        for (name, value) in document.as_object().unwrap() {
            if name.ends_with("_endpoint") || name == "jwks_uri" {
                assert!(value.as_str().unwrap().starts_with(&door.issuer()), "{name}: {value}");
            }
        }
        assert_eq!(document["code_challenge_methods_supported"], json!(["S256"]));
    }
}

#[tokio::test]
async fn o53_published_keys_are_public_and_cover_what_metadata_lists() {
    for door in Door::both() {
        let document = door.get("/.well-known/openid-configuration").await.json();
        let keys = door.get("/.well-known/jwks.json").await.json();
        let keys = keys["keys"].as_array().unwrap();
        for key in keys {
            for private in ["d", "p", "q", "dp", "dq", "qi", "k"] {
                assert!(key.get(private).is_none(), "{private}");
            }
        }
        for alg in document["id_token_signing_alg_values_supported"].as_array().unwrap() {
            assert!(alg == "HS256" || keys.iter().any(|key| key["alg"] == *alg), "{alg}");
        }
    }
}

#[tokio::test]
async fn client_credentials_come_by_form_json_and_header() {
    for door in Door::both() {
        let (id, secret) = (door.gate.variable("AUTH0_CLIENT_ID"), door.gate.variable("AUTH0_CLIENT_SECRET"));
        let audience = door.gate.variable("AUTH0_AUDIENCE");
        let grant = [("grant_type", "client_credentials"), ("audience", audience.as_str())];
        let by_form = door.tokens(&grant).await;
        let body = json!({
            "grant_type": "client_credentials", "audience": audience, "client_id": id, "client_secret": secret,
        });
        let by_json = door.send(Request::new("POST", "/oauth/token").json(&body)).await.json();
        let basic = format!(
            "Basic {}",
            base64::Engine::encode(&base64::prelude::BASE64_STANDARD, format!("{id}:{secret}"))
        );
        let by_header =
            door.send(posted("/oauth/token", &grant).header("Authorization", &basic)).await.json();
        for tokens in [by_form, by_json, by_header] {
            assert_eq!(tokens["scope"], "read:things write:things");
            assert_eq!((&tokens["id_token"], &tokens["refresh_token"]), (&Value::Null, &Value::Null));
            let claims = door.claims(&tokens["access_token"]).await;
            assert_eq!((&claims["aud"], &claims["azp"]), (&json!(audience), &json!(id)));
            assert_eq!(
                (&claims["sub"], &claims["gty"]),
                (&json!(format!("{id}@clients")), &json!("client-credentials"))
            );
        }
    }
}

#[tokio::test]
async fn o08_wrong_credentials_and_two_at_once_are_refused() {
    for door in Door::both() {
        let grant = [("grant_type", "client_credentials"), ("client_id", "nobody"), ("client_secret", "x")];
        let answer = door.post("/oauth/token", &grant).await;
        assert_eq!((answer.status, &answer.json()["error"]), (401, &json!("invalid_client")));
        let both = posted("/oauth/token", &grant).header("Authorization", "Basic bm9ib2R5Ong=");
        let answer = door.send(both).await;
        assert_eq!((answer.status, &answer.json()["error"]), (400, &json!("invalid_request")));
    }
}

#[tokio::test]
async fn scopes_that_are_not_granted_are_trimmed_or_refused() {
    let [door, _] = Door::both();
    let audience = door.gate.variable("AUTH0_AUDIENCE");
    let grant = [("grant_type", "client_credentials"), ("audience", audience.as_str())];
    let ask = async |scope| door.demo("/oauth/token", &[&grant[..], &[("scope", scope)]].concat()).await;
    assert_eq!(ask("read:things no:such").await.json()["scope"], "read:things");
    assert_eq!(ask("openid").await.json()["scope"], "read:things write:things");
    assert_eq!(ask("no:such").await.json()["error"], "invalid_scope");
    let none = door.demo("/oauth/token", &grant[..1]).await;
    assert_eq!((none.status, &none.json()["error"]), (400, &json!("access_denied")));
}

/// A gate that reads tokens without asking is told of those that are taken back: in the same process before the client
/// is, and again after a restart.
#[tokio::test]
async fn a_revoked_token_opens_nothing_at_the_gate_beside_the_provider() {
    let door = Door::alone();
    let upstream = Upstream::start();
    let verified = json!({
        "client_id": "any", "discovery": format!("{}.well-known/openid-configuration", door.issuer()),
        "bearer_only": true, "use_jwks": true,
    });
    door.gate.admin().route("verified", "/verified", &upstream, json!({"openid-connect": verified})).await;
    let audience = door.gate.variable("AUTH0_AUDIENCE");
    let grant = [("grant_type", "client_credentials"), ("audience", audience.as_str())];
    let [revoked, kept] = [door.tokens(&grant).await, door.tokens(&grant).await]
        .map(|tokens| tokens["access_token"].as_str().unwrap().to_owned());
    let with = async |token: &str| {
        let request = Request::get("/verified").header("Authorization", &format!("Bearer {token}"));
        door.gate.send(request).await
    };
    assert_eq!((with(&revoked).await.status, with(&kept).await.status), (200, 200));
    assert_eq!(door.demo("/oauth/revoke", &[("token", &revoked)]).await.status, 200);
    let answer = with(&revoked).await;
    assert_eq!(answer.status, 401);
    let challenge = answer.header("www-authenticate").unwrap();
    assert!(
        challenge.contains(r#"error="invalid_token", error_description="the token was revoked""#),
        "{challenge}"
    );
    assert_eq!(with(&kept).await.status, 200);
    door.gate.restart();
    assert_eq!((with(&revoked).await.status, with(&kept).await.status), (401, 200));
}

#[tokio::test]
async fn o45_introspection_tells_the_tokens_owner_until_it_is_revoked() {
    for door in Door::both() {
        let audience = door.gate.variable("AUTH0_AUDIENCE");
        let grant = [("grant_type", "client_credentials"), ("audience", audience.as_str())];
        let tokens = door.tokens(&grant).await;
        let token = tokens["access_token"].as_str().unwrap();
        let told = door.introspect(token).await;
        assert_eq!((&told["active"], &told["scope"]), (&json!(true), &tokens["scope"]));
        assert_eq!(told["client_id"], door.gate.variable("AUTH0_CLIENT_ID"));
        let (id, secret) =
            (door.gate.variable("AUTH0_MGMT_CLIENT_ID"), door.gate.variable("AUTH0_MGMT_CLIENT_SECRET"));
        let stranger = [("token", token), ("client_id", id.as_str()), ("client_secret", secret.as_str())];
        assert_eq!(door.post("/oauth/introspect", &stranger).await.json(), json!({"active": false}));
        assert_eq!(door.post("/oauth/introspect", &[("token", token)]).await.status, 401);
        // Somebody else's revocation says nothing and does nothing.
        assert_eq!(door.post("/oauth/revoke", &stranger).await.status, 200);
        assert_eq!(door.introspect(token).await["active"], true);
        assert_eq!(door.demo("/oauth/revoke", &[("token", token)]).await.status, 200);
        assert_eq!(door.introspect(token).await, json!({"active": false}));
    }
}
