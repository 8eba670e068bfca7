//! Dynamic client registration and its management.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::world::{Agent, Answer, Payload, World, basic};

const CALLBACK: &str = "https://client.example/cb";

async fn open_world() -> World {
    let world = World::new().await;
    let token = world.management_token("").await;
    let flags = json!({"flags": {"enable_dynamic_client_registration": true}});
    let set = world.call(&token, "PATCH", "tenants/settings", Some(flags)).await;
    assert_eq!(set.status, StatusCode::OK, "{}", set.body);
    world
}

async fn register(world: &World, metadata: &Value) -> Answer {
    world.agent().send(Method::POST, "/oidc/register", Some(Payload::Json(metadata))).await
}

fn manager<'w>(world: &'w World, registered: &Value) -> (Agent<'w>, String) {
    let mut agent = world.agent();
    let token = registered["registration_access_token"].as_str().unwrap();
    agent.extra.push(("authorization", format!("Bearer {token}")));
    let url = registered["registration_client_uri"].as_str().unwrap();
    (agent, url.strip_prefix("http://localhost:9400").unwrap().to_owned())
}

#[track_caller]
fn is_refused(answer: &Answer, error: &str) {
    let shown = (answer.status, answer.json()["error"].as_str().unwrap_or_default().to_owned());
    assert_eq!(shown, (StatusCode::BAD_REQUEST, error.to_owned()), "{}", answer.body);
}

#[tokio::test]
async fn registration_is_off_until_the_tenant_has_it() {
    let world = World::new().await;
    let answer = register(&world, &json!({"redirect_uris": [CALLBACK]})).await;
    assert_eq!(
        (answer.status, &answer.json()["error"]),
        (StatusCode::NOT_FOUND, &json!("endpoint_disabled"))
    );
    let document = world.agent().get("/.well-known/openid-configuration").await.json();
    assert!(document.get("registration_endpoint").is_none());
}

#[tokio::test]
async fn a_client_registers_is_used_and_manages_itself() {
    let world = open_world().await;
    let document = world.agent().get("/.well-known/openid-configuration").await.json();
    assert_eq!(document["registration_endpoint"], "http://localhost:9400/oidc/register");
    let metadata = json!({
        "redirect_uris": [CALLBACK], "client_name": "Stranger", "response_types": ["code"],
        "grant_types": ["authorization_code", "refresh_token", "client_credentials"],
        "token_endpoint_auth_method": "client_secret_post", "contacts": ["a@client.example"],
        "logo_uri": "https://client.example/logo.png", "policy_uri": "https://client.example/policy",
        "tos_uri": "https://client.example/tos", "unknown_member": {"x": 1},
    });
    let registered = register(&world, &metadata).await;
    assert_eq!(registered.status, StatusCode::CREATED, "{}", registered.body);
    assert_eq!(registered.header("cache-control"), Some("no-store"));
    let registered = registered.json();
    for name in
        ["client_name", "grant_types", "redirect_uris", "contacts", "tos_uri", "token_endpoint_auth_method"]
    {
        assert_eq!(registered[name], metadata[name], "{name}");
    }
    assert!(registered.get("unknown_member").is_none());
    assert_eq!(registered["client_secret_expires_at"], 0);
    let (id, secret) =
        (registered["client_id"].as_str().unwrap(), registered["client_secret"].as_str().unwrap());

    // Known from now on, though nobody granted it an API.
    let form = [
        ("grant_type", "client_credentials"),
        ("audience", world.seeded.audience.as_str()),
        ("client_id", id),
        ("client_secret", secret),
    ];
    is_refused(&world.agent().post("/oauth/token", &form).await, "access_denied");
    // Nor has it a connection, until one is for everybody.
    let path = world.authorize(&[("client_id", id), ("redirect_uri", CALLBACK)]);
    let told = world.agent().get(&path).await;
    assert_eq!(told.param("error_description").as_deref(), Some("no connections enabled for the client"));
    let token = world.management_token("").await;
    let found = world.call(&token, "GET", "connections", None).await.json();
    let place = format!("connections/{}", found[0]["id"].as_str().unwrap());
    let opened = world.call(&token, "PATCH", &place, Some(json!({"is_domain_connection": true}))).await;
    assert_eq!(opened.status, StatusCode::OK, "{}", opened.body);
    let page = world.agent().open(&path).await;
    assert!(page.body.contains("https://client.example/policy"), "{}", page.body);
    assert!(page.body.contains("https://client.example/tos"), "{}", page.body);
    assert!(page.body.contains("https://client.example/logo.png"), "{}", page.body);

    let (mut manager, path) = manager(&world, &registered);
    let read = manager.get(&path).await;
    assert_eq!(read.status, StatusCode::OK, "{}", read.body);
    assert_eq!(read.json(), registered);
    let mut change = json!({"client_id": id, "redirect_uris": ["https://client.example/other"]});
    let changed = manager.send(Method::PUT, &path, Some(Payload::Json(&change))).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.body);
    let changed = changed.json();
    assert_eq!(changed["redirect_uris"], change["redirect_uris"]);
    assert_eq!(changed["token_endpoint_auth_method"], "client_secret_basic");
    assert!(changed.get("contacts").is_none());
    assert_eq!(changed["client_secret"], registered["client_secret"]);
    change["client_secret"] = json!("mine");
    is_refused(
        &manager.send(Method::PUT, &path, Some(Payload::Json(&change))).await,
        "invalid_client_metadata",
    );
    change = json!({"redirect_uris": [CALLBACK]});
    is_refused(
        &manager.send(Method::PUT, &path, Some(Payload::Json(&change))).await,
        "invalid_client_metadata",
    );
    assert_eq!(manager.send(Method::DELETE, &path, None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(manager.get(&path).await.status, StatusCode::UNAUTHORIZED);
    let mut gone = world.agent();
    gone.extra.push(("authorization", basic(id, secret)));
    assert_eq!(gone.post("/oauth/token", &form[..2]).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn o44_an_update_takes_back_nothing_that_an_administrator_has_set() {
    let world = open_world().await;
    let registered = register(&world, &json!({ "redirect_uris": [CALLBACK] })).await.json();
    let admin = world.management_token("").await;
    let place = format!("clients/{}", registered["client_id"].as_str().unwrap());
    let set = json!({
        "description": "watched", "sso_disabled": true, "signed_request_object": { "required": true },
        "par_request_expiry": 30, "default_audience": world.seeded.audience,
        "web_origins": ["https://client.example"], "allowed_origins": ["https://client.example"],
        "jwt_configuration": { "lifetime_in_seconds": 60 },
        "refresh_token": {
            "rotation_type": "rotating", "expiration_type": "expiring", "token_lifetime": 3600,
            "idle_token_lifetime": 600, "infinite_token_lifetime": false, "infinite_idle_token_lifetime": false,
        },
        "oidc_logout": {
            "backchannel_logout_urls": ["https://client.example/out"],
            "backchannel_logout_initiators": { "mode": "custom", "selected_initiators": ["rp-logout"] },
        },
    });
    let changed = world.call(&admin, "PATCH", &place, Some(set.clone())).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.body);
    let before = changed.json();
    let (mut manager, path) = manager(&world, &registered);
    let update = json!({
        "client_id": registered["client_id"], "redirect_uris": ["https://client.example/other"],
        "id_token_signed_response_alg": "PS256", "backchannel_logout_uri": "https://client.example/elsewhere",
    });
    let updated = manager.send(Method::PUT, &path, Some(Payload::Json(&update))).await;
    assert_eq!(updated.status, StatusCode::OK, "{}", updated.body);
    let after = world.call(&admin, "GET", &place, None).await.json();
    for name in set
        .as_object()
        .unwrap()
        .keys()
        .filter(|name| !["oidc_logout", "jwt_configuration"].contains(&name.as_str()))
    {
        assert_eq!(after[name], before[name], "{name}");
    }
    assert_eq!(after["jwt_configuration"]["lifetime_in_seconds"], 60);
    assert_eq!(after["jwt_configuration"]["alg"], "PS256");
    let logout = &after["oidc_logout"];
    assert_eq!(logout["backchannel_logout_urls"], json!(["https://client.example/elsewhere"]));
    assert_eq!(
        logout["backchannel_logout_initiators"],
        before["oidc_logout"]["backchannel_logout_initiators"]
    );
}

#[tokio::test]
async fn an_update_has_no_member_that_only_the_server_sets() {
    // RFC 7592 section 2.2.
    let world = open_world().await;
    let registered = register(&world, &json!({"redirect_uris": [CALLBACK]})).await.json();
    let (mut manager, path) = manager(&world, &registered);
    let mut whole = registered.clone();
    let ours = [
        "registration_access_token",
        "registration_client_uri",
        "client_secret_expires_at",
        "client_id_issued_at",
    ];
    for name in ours {
        whole.as_object_mut().unwrap().shift_remove(name).unwrap_or_else(|| panic!("no {name}"));
    }
    for name in ours {
        for value in [registered[name].clone(), json!(null), json!("x")] {
            let mut change = whole.clone();
            change[name] = value;
            change["client_name"] = json!("Changed");
            let answer = manager.send(Method::PUT, &path, Some(Payload::Json(&change))).await;
            is_refused(&answer, "invalid_client_metadata");
            assert!(answer.body.contains(name), "{}", answer.body);
        }
    }
    assert_eq!(manager.get(&path).await.json(), registered, "nothing has changed");
    // Without them all that was told can be sent back, and means the same.
    let answer = manager.send(Method::PUT, &path, Some(Payload::Json(&whole))).await;
    assert_eq!((answer.status, answer.json()), (StatusCode::OK, registered), "{}", answer.body);
}

#[tokio::test]
async fn o44_a_registration_is_managed_with_its_own_token_alone() {
    let world = open_world().await;
    let one = register(&world, &json!({"redirect_uris": [CALLBACK]})).await.json();
    let two = register(&world, &json!({"redirect_uris": [CALLBACK]})).await.json();
    let ((mut first, own), (_, other)) = (manager(&world, &one), manager(&world, &two));
    assert_eq!(first.get(&own).await.status, StatusCode::OK);
    let change = json!({"client_id": two["client_id"], "redirect_uris": [CALLBACK]});
    for (method, body) in [(Method::GET, None), (Method::PUT, Some(&change)), (Method::DELETE, None)] {
        let answer = first.send(method, &other, body.map(Payload::Json)).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{}", answer.body);
        assert!(answer.header("www-authenticate").unwrap().contains("invalid_token"));
    }
    assert_eq!(world.agent().get(&own).await.status, StatusCode::UNAUTHORIZED);
    let management = world.management_token("").await;
    let mut administrator = world.agent();
    administrator.extra.push(("authorization", format!("Bearer {management}")));
    assert_eq!(administrator.get(&own).await.status, StatusCode::UNAUTHORIZED);
    let path = format!("clients/{}", one["client_id"].as_str().unwrap());
    let seen = world.call(&management, "GET", &path, None).await;
    assert!(seen.status == StatusCode::OK && !seen.body.contains("registration_token"), "{}", seen.body);
    assert_eq!(seen.json()["is_first_party"], false);
}

#[tokio::test]
async fn o44_metadata_that_cannot_be_kept_is_refused_with_the_codes_of_rfc_7591() {
    let world = open_world().await;
    let misdirected = [
        json!([]),
        json!(null),
        json!("https://client.example/cb"),
        json!([1]),
        json!(["http://client.example/cb"]),
        json!(["https://client.example/cb#fragment"]),
        json!(["https://192.0.2.1/cb"]),
        json!(["javascript:alert(1)"]),
        json!(["https://*.client.example/cb"]),
        json!(["com.example.app:/cb"]),
    ];
    for uris in misdirected {
        is_refused(&register(&world, &json!({"redirect_uris": uris})).await, "invalid_redirect_uri");
    }
    let key = jose::SigningKey::generate(jose::Alg::ES256, "k".to_owned()).unwrap().public_jwk();
    let unfit = [
        json!({"grant_types": ["password"]}),
        json!({"grant_types": ["made-up"]}),
        json!({"grant_types": "authorization_code"}),
        json!({"response_types": ["magic"]}),
        json!({"grant_types": ["authorization_code"], "response_types": ["code id_token"]}),
        json!({"application_type": "toaster"}),
        json!({"token_endpoint_auth_method": "magic"}),
        json!({"token_endpoint_auth_method": "private_key_jwt"}),
        json!({"token_endpoint_auth_method": "tls_client_auth"}),
        json!({"id_token_signed_response_alg": "none"}),
        json!({"id_token_signed_response_alg": 256}),
        json!({"jwks": {"keys": [key.clone()]}, "jwks_uri": "https://client.example/keys"}),
        json!({"jwks": {"keys": "none"}}),
        json!({"jwks": {"keys": [{"kty": "oct", "k": "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3JldCE", "kid": "s"}]}}),
        json!({"jwks_uri": "file:///etc/passwd"}),
        json!({"jwks_uri": "http://169.254.169.254/keys"}),
        json!({"logo_uri": "javascript:alert(1)"}),
        json!({"policy_uri": "javascript:alert(1)"}),
        json!({"initiate_login_uri": "http://client.example/login"}),
        json!({"post_logout_redirect_uris": ["https://*.client.example/"]}),
        json!({"subject_type": "made-up"}),
        json!({"client_name": 1}),
        json!({"client_name": "<script>"}),
        json!({"dpop_bound_access_tokens": "yes"}),
    ];
    for mut metadata in unfit {
        metadata["redirect_uris"] = json!([CALLBACK]);
        is_refused(&register(&world, &metadata).await, "invalid_client_metadata");
    }
    let bodies: [(&str, Vec<u8>); 6] = [
        ("application/json", b"{".to_vec()),
        ("application/json", b"[]".to_vec()),
        ("application/json", b"{\"redirect_uris\":[],\"redirect_uris\":[]}".to_vec()),
        ("application/json", vec![b' '; 1 << 20]),
        ("application/json", b"{\"client_name\":\"a\\u0000b\"}".to_vec()),
        ("text/plain", b"{}".to_vec()),
    ];
    for (kind, body) in bodies {
        let answer = world.agent().send(Method::POST, "/oidc/register", Some(Payload::Raw(kind, body))).await;
        is_refused(&answer, "invalid_client_metadata");
    }
    let management = world.management_token("").await;
    let clients = world.call(&management, "GET", "clients?per_page=100", None).await.json();
    let strangers = clients.as_array().unwrap().iter().filter(|client| client["is_first_party"] == false);
    assert_eq!(strangers.count(), 0);
}

#[tokio::test]
async fn unsigned_id_tokens_are_for_tenants_that_have_them_and_the_token_endpoint() {
    let world = open_world().await;
    let metadata =
        json!({"redirect_uris": ["http://localhost:9080/callback"], "id_token_signed_response_alg": "none"});
    is_refused(&register(&world, &metadata).await, "invalid_client_metadata");
    let flags = json!({"flags": {"enable_unsigned_id_tokens": true}});
    world.set_tenant(flags).await;
    let document = world.agent().get("/.well-known/openid-configuration").await.json();
    let algs = document["id_token_signing_alg_values_supported"].as_array().unwrap();
    assert!(algs.contains(&json!("none")));
    let mut front = metadata.clone();
    front["response_types"] = json!(["code id_token"]);
    is_refused(&register(&world, &front).await, "invalid_client_metadata");
    assert_eq!(register(&world, &metadata).await.status, StatusCode::CREATED);

    let token = world.management_token("").await;
    let path = format!("clients/{}", world.seeded.client_id);
    let change = json!({"jwt_configuration": {"alg": "none"}, "grant_types": ["authorization_code", "client_credentials"]});
    let set = world.call(&token, "PATCH", &path, Some(change)).await;
    assert_eq!(set.status, StatusCode::OK, "{}", set.body);
    let code = world.agent().code(&[]).await;
    let tokens = world.redeem(&code).await.json();
    let id_token = tokens["id_token"].as_str().unwrap();
    let (rest, signature) = id_token.rsplit_once('.').unwrap();
    assert!(signature.is_empty() && rest.contains('.'));
    assert_eq!(super::request_objects::claims(id_token)["nonce"], "n-1");
    // What proves nothing is no hint.
    let hinted = world.agent().open(&world.authorize(&[("id_token_hint", id_token)])).await;
    assert_eq!(hinted.param("error").as_deref(), Some("invalid_request"), "{hinted:?}");
    let off = json!({"flags": {"enable_unsigned_id_tokens": false}});
    world.set_tenant(off).await;
    let code = world.agent().code(&[]).await;
    assert!(
        world.redeem(&code).await.status.is_server_error(),
        "switched off, also for who has been set to it"
    );
}
