//! Grants besides codes and refresh tokens: token exchange, JWT bearer, passwords.

use axum::http::StatusCode;
use idp::model::Client;
use jose::{Alg, SigningKey};
use serde_json::{Value, json};

use super::world::{Agent, Answer, World, basic, claims, signed};

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const ASSERTION: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const REALM: &str = "http://auth0.com/oauth/grant-type/password-realm";
const CONNECTION: &str = "Username-Password-Authentication";
const ORDERS: &str = "https://orders.example/";

fn caller<'w>(world: &'w World, client: &Client) -> Agent<'w> {
    let mut agent = world.agent();
    let secret = client.client_secret.as_ref().unwrap().expose();
    agent.extra.push(("authorization", basic(&client.client_id, secret)));
    agent
}

#[track_caller]
fn is_refused(answer: &Answer, error: &str) {
    assert!(answer.status.is_client_error(), "{answer:?}");
    assert_eq!(answer.json()["error"], error, "{}", answer.body);
}

/// A token of the demo user for the demo API, by the demo application.
async fn user_token(world: &World) -> String {
    let audience = world.seeded.audience.clone();
    let code = world.agent().code(&[("audience", &audience), ("scope", "openid read:things")]).await;
    world.redeem(&code).await.json()["access_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn o31_a_token_is_exchanged_by_whom_it_was_made_for_and_for_nothing_more() {
    let world = World::new().await;
    let client = world.client(json!({"grant_types": [EXCHANGE, "client_credentials"]})).await;
    world.grant(&client).await;
    let demo = world.idp.repository().client("dev", &world.seeded.client_id).await.unwrap().unwrap();
    let mut gateway = demo.clone();
    gateway.grant_types.push(EXCHANGE.to_owned());
    assert!(world.idp.repository().update_client("dev", &gateway).await.unwrap());
    let site = world.idp.site("localhost:9400").await.unwrap().unwrap();
    let api = json!({"identifier": ORDERS, "scopes": [{"value": "read:orders"}, {"value": "write:orders"}]});
    world.idp.management.resource_servers.create(&site, api.as_object().unwrap().clone()).await.unwrap();
    let grant = json!({"client_id": gateway.client_id, "audience": ORDERS, "scope": ["read:orders"]});
    world.idp.management.client_grants.create(&site, grant.as_object().unwrap().clone()).await.unwrap();

    let token = user_token(&world).await;
    let form = [
        ("grant_type", EXCHANGE),
        ("subject_token", token.as_str()),
        ("subject_token_type", ACCESS_TOKEN),
        ("audience", ORDERS),
    ];
    let exchanged = caller(&world, &gateway).post("/oauth/token", &form).await;
    assert_eq!(exchanged.status, StatusCode::OK, "{}", exchanged.body);
    let exchanged = exchanged.json();
    assert_eq!(exchanged["issued_token_type"], ACCESS_TOKEN);
    assert!(exchanged.get("refresh_token").is_none() && exchanged.get("id_token").is_none());
    let (old, new) = (claims(&token), claims(exchanged["access_token"].as_str().unwrap()));
    assert_eq!(
        (&new["sub"], &new["aud"], &new["scope"]),
        (&old["sub"], &json!(ORDERS), &json!("read:orders"))
    );
    assert!(new["exp"].as_i64() <= old["exp"].as_i64());

    let wider = [form[0], form[1], form[2], form[3], ("scope", "write:orders")];
    is_refused(&caller(&world, &gateway).post("/oauth/token", &wider).await, "invalid_scope");
    let management = [form[0], form[1], form[2], ("audience", "http://localhost:9400/api/v2/")];
    is_refused(&caller(&world, &gateway).post("/oauth/token", &management).await, "invalid_target");
    let unknown = [form[0], form[1], form[2], ("audience", "https://nowhere.example/")];
    is_refused(&caller(&world, &gateway).post("/oauth/token", &unknown).await, "invalid_target");
    is_refused(&caller(&world, &client).post("/oauth/token", &form).await, "invalid_request");
    let kind = [form[0], form[1], ("subject_token_type", "urn:x"), form[3]];
    is_refused(&caller(&world, &gateway).post("/oauth/token", &kind).await, "invalid_request");
    let spoilt = format!("{}x", &token[..token.len() - 2]);
    let spoilt = [form[0], ("subject_token", spoilt.as_str()), form[2], form[3]];
    is_refused(&caller(&world, &gateway).post("/oauth/token", &spoilt).await, "invalid_request");

    let own = [("grant_type", "client_credentials"), ("audience", world.seeded.audience.as_str())];
    let actor = caller(&world, &gateway).post("/oauth/token", &own).await.json();
    let actor = actor["access_token"].as_str().unwrap();
    let acting = [&form[..], &[("actor_token", actor), ("actor_token_type", ACCESS_TOKEN)]].concat();
    let acted = caller(&world, &gateway).post("/oauth/token", &acting).await;
    assert_eq!(acted.status, StatusCode::OK, "{}", acted.body);
    let acted = claims(acted.json()["access_token"].as_str().unwrap());
    assert_eq!(acted["act"], json!({"sub": format!("{}@clients", gateway.client_id)}));

    // What the old token was made from ends the new one too.
    let introspect = [("token", exchanged["access_token"].as_str().unwrap())];
    let alive = caller(&world, &gateway).post("/oauth/introspect", &introspect).await.json();
    assert_eq!(alive["active"], true);
    caller(&world, &gateway).post("/oauth/revoke", &[("token", &token)]).await;
    is_refused(&caller(&world, &gateway).post("/oauth/token", &form).await, "invalid_request");
}

#[tokio::test]
async fn o31_a_token_that_its_api_may_have_forged_opens_no_other_api() {
    const LEDGER: &str = "https://ledger.example/";
    const SECRET: &str = "a secret that the ledger and the provider share";
    let world = World::new().await;
    let mut gateway = world.idp.repository().client("dev", &world.seeded.client_id).await.unwrap().unwrap();
    gateway.grant_types.push(EXCHANGE.to_owned());
    assert!(world.idp.repository().update_client("dev", &gateway).await.unwrap());
    let site = world.idp.site("localhost:9400").await.unwrap().unwrap();
    for api in [
        json!({ "identifier": ORDERS, "scopes": [{ "value": "read:orders" }] }),
        json!({
            "identifier": LEDGER, "signing_alg": "HS256", "signing_secret": SECRET,
            "scopes": [{ "value": "read:ledger" }, { "value": "write:ledger" }],
        }),
    ] {
        world.idp.management.resource_servers.create(&site, api.as_object().unwrap().clone()).await.unwrap();
    }
    let grant = json!({ "client_id": gateway.client_id, "audience": ORDERS, "scope": ["read:orders"] });
    world.idp.management.client_grants.create(&site, grant.as_object().unwrap().clone()).await.unwrap();

    // The ledger makes a token of a user who never was there.
    let victim = claims(&user_token(&world).await)["sub"].clone();
    let now = world.clock.now().secs();
    let key = SigningKey::from_hmac_secret(Alg::HS256, String::new(), SECRET.as_bytes()).unwrap();
    let forged = signed(
        &key,
        json!({ "typ": "JWT", "kid": null }),
        &json!({
            "iss": "http://localhost:9400/", "sub": victim, "aud": LEDGER, "azp": gateway.client_id,
            "iat": now, "exp": now + 3600, "jti": "family.token", "scope": "read:ledger write:ledger",
        }),
    );
    let own = [("token", forged.as_str())];
    assert_eq!(caller(&world, &gateway).post("/oauth/introspect", &own).await.json()["active"], true);
    let form =
        [("grant_type", EXCHANGE), ("subject_token", forged.as_str()), ("subject_token_type", ACCESS_TOKEN)];
    let elsewhere = [&form[..], &[("audience", ORDERS)]].concat();
    is_refused(&caller(&world, &gateway).post("/oauth/token", &elsewhere).await, "invalid_request");
    // Nor does it say who acts.
    let true_token = user_token(&world).await;
    let acting = [
        ("grant_type", EXCHANGE),
        ("subject_token", true_token.as_str()),
        ("subject_token_type", ACCESS_TOKEN),
        ("audience", ORDERS),
        ("actor_token", forged.as_str()),
        ("actor_token_type", ACCESS_TOKEN),
    ];
    is_refused(&caller(&world, &gateway).post("/oauth/token", &acting).await, "invalid_request");
    // At the ledger itself it may be narrowed like any other: who makes it there needs no provider.
    let narrowed = [&form[..], &[("audience", LEDGER), ("scope", "read:ledger")]].concat();
    let narrowed = caller(&world, &gateway).post("/oauth/token", &narrowed).await;
    assert_eq!(narrowed.status, StatusCode::OK, "{}", narrowed.body);
    assert_eq!(narrowed.json()["scope"], "read:ledger");
}

#[tokio::test]
async fn a_token_is_exchanged_for_the_resource_as_for_the_audience() {
    // RFC 8693 section 2.1, RFC 8707 section 2.
    let world = World::new().await;
    let mut gateway = world.idp.repository().client("dev", &world.seeded.client_id).await.unwrap().unwrap();
    gateway.grant_types.push(EXCHANGE.to_owned());
    assert!(world.idp.repository().update_client("dev", &gateway).await.unwrap());
    let site = world.idp.site("localhost:9400").await.unwrap().unwrap();
    let api = json!({"identifier": ORDERS, "scopes": [{"value": "read:orders"}]});
    world.idp.management.resource_servers.create(&site, api.as_object().unwrap().clone()).await.unwrap();
    let grant = json!({"client_id": gateway.client_id, "audience": ORDERS, "scope": ["read:orders"]});
    world.idp.management.client_grants.create(&site, grant.as_object().unwrap().clone()).await.unwrap();
    let token = user_token(&world).await;
    let things = world.seeded.audience.clone();
    let exchange = async |targets: &[(&str, &str)]| {
        let form = [
            ("grant_type", EXCHANGE),
            ("subject_token", token.as_str()),
            ("subject_token_type", ACCESS_TOKEN),
        ];
        caller(&world, &gateway).post("/oauth/token", &[&form, targets].concat()).await
    };
    for (targets, audience) in [
        (&[("resource", ORDERS)][..], ORDERS),
        (&[("resource", ORDERS), ("audience", ORDERS)], ORDERS),
        (&[("resource", &things)], things.as_str()),
        (&[], things.as_str()),
    ] {
        let exchanged = exchange(targets).await;
        assert_eq!(exchanged.status, StatusCode::OK, "{targets:?}: {}", exchanged.body);
        let exchanged = claims(exchanged.json()["access_token"].as_str().unwrap());
        let good = &exchanged["aud"];
        assert!(good == audience || good[0] == audience, "{targets:?}: {exchanged}");
    }
    for targets in [
        &[("resource", ORDERS), ("audience", things.as_str())][..],
        &[("resource", ORDERS), ("resource", things.as_str())],
        &[("resource", "https://nowhere.example/")],
        &[("resource", "relative")],
        &[("resource", "https://orders.example/#part")],
        &[("resource", "http://localhost:9400/api/v2/")],
    ] {
        is_refused(&exchange(targets).await, "invalid_target");
    }
}

#[tokio::test]
async fn devices_and_backchannel_requests_name_their_api_by_resource_too() {
    let world = World::new().await;
    let device = "urn:ietf:params:oauth:grant-type:device_code";
    let ciba = "urn:openid:params:grant-type:ciba";
    let client = world.client(json!({"grant_types": [device, ciba]})).await;
    let user = world.seeded.user.clone();
    for path in ["/oauth/device/code", "/bc-authorize"] {
        let ask = async |targets: &[(&str, &str)]| {
            let form = [("scope", "openid read:things"), ("login_hint", user.as_str())];
            caller(&world, &client).post(path, &[&form, targets].concat()).await
        };
        let things = world.seeded.audience.as_str();
        assert_eq!(ask(&[("resource", things)]).await.status, StatusCode::OK, "{path}");
        for targets in [
            &[("resource", "https://nowhere.example/")][..],
            &[("resource", "relative")],
            &[("resource", things), ("audience", ORDERS)],
            &[("resource", things), ("resource", ORDERS)],
        ] {
            is_refused(&ask(targets).await, "invalid_target");
        }
    }
    // The token is for it.
    let form = [("scope", "openid read:things"), ("login_hint", user.as_str())];
    let target = ("resource", world.seeded.audience.as_str());
    let begun = caller(&world, &client).post("/bc-authorize", &[&form[..], &[target]].concat()).await.json();
    let id = begun["auth_req_id"].as_str().unwrap();
    world.agent().get(&format!("/dev/ciba?auth_req_id={id}&action=allow")).await;
    let polled = [("grant_type", ciba), ("auth_req_id", id)];
    let tokens = caller(&world, &client).post("/oauth/token", &polled).await.json();
    let access = claims(tokens["access_token"].as_str().unwrap());
    assert_eq!(access["aud"][0], world.seeded.audience.as_str(), "{access}");
}

#[tokio::test]
async fn o31_a_client_s_own_signature_speaks_for_itself_and_for_who_allowed_it() {
    let world = World::new().await;
    let key = SigningKey::generate(Alg::ES256, "k".to_owned()).unwrap();
    let body = json!({"grant_types": [ASSERTION], "jwks": {"keys": [key.public_jwk()]}});
    let client = world.client(body).await;
    world.grant(&client).await;
    let now = world.clock.now().secs();
    let good = |jti: &str, subject: &str| {
        json!({
            "iss": client.client_id, "sub": subject, "aud": "http://localhost:9400/oauth/token", "exp": now + 60,
            "iat": now, "jti": jti,
        })
    };
    let audience = world.seeded.audience.clone();
    let send = async |assertion: &str, scope: &str| {
        let form = [
            ("grant_type", ASSERTION),
            ("assertion", assertion),
            ("audience", audience.as_str()),
            ("scope", scope),
        ];
        caller(&world, &client).post("/oauth/token", &form).await
    };
    let own = signed(&key, json!({}), &good("1", &client.client_id));
    let issued = send(&own, "read:things").await;
    assert_eq!(issued.status, StatusCode::OK, "{}", issued.body);
    is_refused(&send(&own, "read:things").await, "invalid_grant");

    let user = claims(&user_token(&world).await)["sub"].as_str().unwrap().to_owned();
    let theirs = signed(&key, json!({}), &good("2", &user));
    is_refused(&send(&theirs, "read:things").await, "invalid_grant");
    let consent = idp::model::Consent {
        id: "c".repeat(24),
        user_id: user.clone(),
        client_id: client.client_id.clone(),
        audience: audience.clone(),
        scope: oauth::Scopes::parse("read:things").unwrap(),
    };
    world.idp.repository().put_consent("dev", &consent, world.clock.now()).await.unwrap();
    let theirs = signed(&key, json!({}), &good("3", &user));
    let issued = send(&theirs, "read:things").await;
    assert_eq!(issued.status, StatusCode::OK, "{}", issued.body);
    let issued = issued.json();
    assert_eq!(claims(issued["access_token"].as_str().unwrap())["sub"], user.as_str());
    assert!(issued.get("refresh_token").is_none());
    let wider = signed(&key, json!({}), &good("4", &user));
    is_refused(&send(&wider, "read:things write:things").await, "invalid_grant");

    let spoilt: [(&str, Value); 8] = [
        ("iss", json!("somebody")),
        ("aud", json!("https://elsewhere.example/")),
        ("aud", Value::Null),
        ("exp", json!(now - 1)),
        ("exp", Value::Null),
        ("iat", json!(now + 600)),
        ("nbf", json!(now + 600)),
        ("jti", Value::Null),
    ];
    for (place, (name, value)) in spoilt.into_iter().enumerate() {
        let mut claims = good(&format!("bad {place}"), &client.client_id);
        claims[name] = value;
        is_refused(&send(&signed(&key, json!({}), &claims), "read:things").await, "invalid_grant");
    }
    let foreign = SigningKey::generate(Alg::ES256, "k".to_owned()).unwrap();
    is_refused(&send(&signed(&foreign, json!({}), &good("5", &user)), "").await, "invalid_grant");
}

#[tokio::test]
async fn o31_an_assertion_is_signed_as_the_client_authenticates() {
    let world = World::new().await;
    let now = world.clock.now().secs();
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let own = SigningKey::from_pem(Alg::ES256, "k".to_owned(), &pair.serialize_pem()).unwrap();
    let weak = SigningKey::generate(Alg::RS256, "weak".to_owned()).unwrap();
    let credential = json!({ "credential_type": "public_key", "alg": "ES256", "pem": pair.public_key_pem() });
    let by_credential = json!({
        "grant_types": [ASSERTION],
        "client_authentication_methods": { "private_key_jwt": { "credentials": [credential] } },
    });
    let by_profile = json!({
        "grant_types": [ASSERTION], "token_endpoint_auth_method": "private_key_jwt",
        "compliance_level": "fapi2_sp_pkj_mtls", "jwks": { "keys": [own.public_jwk(), weak.public_jwk()] },
    });
    let mut number = 0;
    for (body, kid, signer, good) in [
        (by_credential.clone(), Value::Null, &own, true),
        (by_credential, json!("weak"), &weak, false),
        (by_profile.clone(), json!("k"), &own, true),
        // FAPI 2.0 Security Profile 5.4.1.
        (by_profile, json!("weak"), &weak, false),
    ] {
        let client = world.client(body).await;
        world.grant(&client).await;
        let mut sign = |key: &SigningKey, kid: &Value| {
            number += 1;
            let claims = json!({
                "iss": client.client_id, "sub": client.client_id, "aud": "http://localhost:9400/",
                "iat": now, "exp": now + 60, "jti": format!("{number}"),
            });
            signed(key, json!({ "kid": kid }), &claims)
        };
        let own_kid = if client.jwks.is_some() { json!("k") } else { Value::Null };
        let (proof, assertion) = (sign(&own, &own_kid), sign(signer, &kid));
        let mut agent = world.agent();
        agent.certificate = Some(idp::ClientCertificate::new(vec![1, 2, 3], false));
        let form = [
            ("grant_type", ASSERTION),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", &proof),
            ("assertion", &assertion),
            ("audience", &world.seeded.audience),
            ("scope", "read:things"),
        ];
        let answer = agent.post("/oauth/token", &form).await;
        match good {
            true => assert_eq!(answer.status, StatusCode::OK, "{}", answer.body),
            false => is_refused(&answer, "invalid_grant"),
        }
    }
}

#[tokio::test]
async fn passwords_are_taken_from_clients_that_were_given_the_grant() {
    let world = World::new().await;
    let client = world.client(json!({"grant_types": ["password", REALM, "refresh_token"]})).await;
    let (user, password) = (world.seeded.user.clone(), world.seeded.password.expose().clone());
    let form = |kind, password| {
        [
            ("grant_type", kind),
            ("username", world.seeded.user.as_str()),
            ("password", password),
            ("scope", "openid offline_access"),
        ]
    };
    let demo = world.token(&form("password", password.as_str())).await;
    is_refused(&demo, "unauthorized_client");
    is_refused(
        &caller(&world, &client).post("/oauth/token", &form("password", &password)).await,
        "invalid_request",
    );
    let realm = |password| [&form(REALM, password)[..], &[("realm", CONNECTION)]].concat();
    let tokens = caller(&world, &client).post("/oauth/token", &realm(password.as_str())).await;
    assert_eq!(tokens.status, StatusCode::OK, "{}", tokens.body);
    let tokens = tokens.json();
    let id_token = claims(tokens["id_token"].as_str().unwrap());
    assert_eq!(id_token["aud"], client.client_id.as_str());
    assert!(tokens["refresh_token"].is_string() && id_token.get("sid").is_none());
    for missing in ["username", "password", "realm"] {
        let mut form = realm(password.as_str());
        form.retain(|(name, _)| *name != missing);
        is_refused(&caller(&world, &client).post("/oauth/token", &form).await, "invalid_request");
    }
    // Wrong ones count together with those of the login page.
    for _ in 0..10 {
        is_refused(&caller(&world, &client).post("/oauth/token", &realm("wrong")).await, "invalid_grant");
    }
    let locked = caller(&world, &client).post("/oauth/token", &realm(password.as_str())).await;
    assert_eq!(locked.status, StatusCode::TOO_MANY_REQUESTS);
    is_refused(&locked, "too_many_attempts");
    let _ = user;
}

#[tokio::test]
async fn grants_that_no_user_saw_give_no_details() {
    // RFC 9396 section 5: what is not granted is refused, not left out.
    let world = World::new().await;
    world.change_api(json!({ "authorization_details": [{ "type": "payment" }] })).await;
    let mut gateway = world.idp.repository().client("dev", &world.seeded.client_id).await.unwrap().unwrap();
    gateway.grant_types.extend([EXCHANGE, "password"].map(str::to_owned));
    assert!(world.idp.repository().update_client("dev", &gateway).await.unwrap());
    world.set_tenant(json!({ "default_directory": CONNECTION })).await;
    let (token, things) = (user_token(&world).await, world.seeded.audience.clone());
    let (user, password) = (world.seeded.user.clone(), world.seeded.password.expose().clone());
    let forms: [&[(&str, &str)]; 3] = [
        &[("grant_type", "client_credentials")],
        &[("grant_type", EXCHANGE), ("subject_token", &token), ("subject_token_type", ACCESS_TOKEN)],
        &[("grant_type", "password"), ("username", &user), ("password", &password)],
    ];
    for form in forms {
        let form = [form, &[("audience", things.as_str())]].concat();
        let given = caller(&world, &gateway).post("/oauth/token", &form).await;
        assert_eq!(given.status, StatusCode::OK, "{form:?}: {}", given.body);
        for details in [r#"[{"type":"payment"}]"#, r#"[{"type":"unknown"}]"#, "{}"] {
            let asked = [&form[..], &[("authorization_details", details)]].concat();
            let answer = caller(&world, &gateway).post("/oauth/token", &asked).await;
            is_refused(&answer, "invalid_authorization_details");
        }
    }
}
