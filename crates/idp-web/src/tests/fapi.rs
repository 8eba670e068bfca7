//! The FAPI 2.0 Security Profile as `compliance_level` of a client turns it on, and answers that are signed.

use axum::http::{Method, StatusCode};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use idp::model::Client;
use jose::{Alg, CompactJws, KeySet, SigningKey};
use serde_json::{Value, json};

use super::world::{Answer, CALLBACK, CHALLENGE, Payload, VERIFIER, World, claims, signed};

/// A client of the profile, its key, and the key of its proofs.
struct Member {
    world: World,
    client: Client,
    key: SigningKey,
    prover: SigningKey,
    count: u32,
}

impl Member {
    async fn new(further: Value) -> Self {
        let world = World::new().await;
        let key = SigningKey::generate(Alg::ES256, "k".to_owned()).unwrap();
        let prover = SigningKey::generate(Alg::ES256, "d".to_owned()).unwrap();
        let mut body = json!({
            "app_type": "regular_web", "token_endpoint_auth_method": "private_key_jwt",
            "jwks": { "keys": [key.public_jwk()] }, "compliance_level": "fapi2_sp_pkj_dpop",
            "refresh_token": { "rotation_type": "rotating", "expiration_type": "expiring" },
        });
        body.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
        let client = world.client(body).await;
        Self { world, client, key, prover, count: 0 }
    }

    fn jti(&mut self) -> String {
        self.count += 1;
        format!("jti-{}", self.count)
    }

    /// A form with the client's assertion, posted with a proof of possession.
    async fn post(&mut self, path: &str, form: &[(&str, &str)]) -> Answer {
        let (now, id) = (self.world.clock.now().secs(), self.client.client_id.clone());
        let claims = json!({
            "iss": id, "sub": id, "aud": "http://localhost:9400/", "jti": self.jti(), "iat": now, "exp": now + 60,
        });
        let assertion = signed(&self.key, json!({}), &claims);
        let url = format!("http://localhost:9400{path}");
        let proof = json!({ "jti": self.jti(), "htm": "POST", "htu": url, "iat": now });
        let mut jwk = self.prover.public_jwk();
        jwk.as_object_mut().unwrap().retain(|name, _| ["kty", "crv", "x", "y"].contains(&name.as_str()));
        let proof = signed(&self.prover, json!({ "typ": "dpop+jwt", "jwk": jwk, "kid": null }), &proof);
        let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        let proven =
            [("client_id", id.as_str()), ("client_assertion_type", kind), ("client_assertion", &assertion)];
        let mut agent = self.world.agent();
        agent.extra.push(("dpop", proof));
        agent.post(path, &[form, &proven].concat()).await
    }

    /// Pushes a request that has these parameters beside, or in place of, a good one's; `-` takes one away.
    async fn push(&mut self, change: &[(&str, &str)]) -> Answer {
        let mut form = vec![
            ("response_type", "code"),
            ("redirect_uri", CALLBACK),
            ("scope", "openid offline_access"),
            ("state", "xyz"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ];
        for (name, value) in change {
            form.retain(|(known, _)| known != name);
            form.extend((*value != "-").then_some((*name, *value)));
        }
        self.post("/oauth/par", &form).await
    }
}

#[tokio::test]
async fn o09_a_client_of_fapi_2_is_held_to_the_whole_profile() {
    let mut member = Member::new(json!({})).await;
    let id = member.client.client_id.clone();
    let direct = member.world.agent().open(&member.world.authorize(&[("client_id", &id)])).await;
    assert_eq!(direct.param("error").as_deref(), Some("invalid_request"), "not pushed: {direct:?}");
    let refusals = [
        (&[("code_challenge", "-"), ("code_challenge_method", "-")][..], "invalid_request"),
        (&[("code_challenge_method", "plain")], "invalid_request"),
        (&[("response_type", "code id_token"), ("nonce", "n")], "unsupported_response_type"),
        (&[("redirect_uri", "-"), ("scope", "offline_access")], "invalid_request"),
        (&[("redirect_uri", "https://other.example/")], "invalid_request"),
        (&[("request_uri", "urn:ietf:params:oauth:request_uri:x")], "invalid_request"),
    ];
    for (change, error) in refusals {
        let answer = member.push(change).await;
        let told = (answer.status, answer.json()["error"].as_str().unwrap_or_default().to_owned());
        assert_eq!(told, (StatusCode::BAD_REQUEST, error.to_owned()), "{change:?}");
    }
    member.world.set_tenant(json!({ "flags": { "enable_unsigned_request_objects": true } })).await;
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let inner = json!({ "response_type": "code", "redirect_uri": CALLBACK, "code_challenge": CHALLENGE, "code_challenge_method": "S256" });
    let unsigned = format!("{}.{}.", encode(&json!({ "alg": "none" })), encode(&inner));
    let answer = member.push(&[("request", &unsigned)]).await;
    assert_eq!(answer.json()["error"], "invalid_request_object", "{}", answer.body);
    let pushed = member.push(&[]).await;
    assert_eq!(pushed.status, StatusCode::CREATED, "{}", pushed.body);
    let uri = pushed.json()["request_uri"].as_str().unwrap().to_owned();
    let query = crate::fields::to_query([("client_id", id.as_str()), ("request_uri", &uri)].into_iter());
    let mut agent = member.world.agent();
    // Opened twice before the user is done, as browsers do; after the answer no more.
    agent.open(&format!("/authorize?{query}")).await;
    let page = agent.open(&format!("/authorize?{query}")).await;
    let answer = agent.log_in(&page).await;
    let code = answer.param("code").unwrap_or_else(|| panic!("{answer:?}"));
    assert_eq!(answer.param("iss").as_deref(), Some("http://localhost:9400/"));
    agent.open(&format!("/authorize?{query}")).await.is_error_page();
    let form = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
    ];
    let tokens = member.post("/oauth/token", &form).await;
    assert_eq!(tokens.status, StatusCode::OK, "{}", tokens.body);
    let tokens = tokens.json();
    assert_eq!(tokens["token_type"], "DPoP");
    let jws = CompactJws::parse(tokens["id_token"].as_str().unwrap()).unwrap();
    assert_eq!(jws.alg().unwrap(), Alg::PS256, "what the profile allows, where the client names nothing");
    let refresh = tokens["refresh_token"].as_str().unwrap();
    for _ in 0..2 {
        let again =
            member.post("/oauth/token", &[("grant_type", "refresh_token"), ("refresh_token", refresh)]).await;
        assert_eq!(again.status, StatusCode::OK, "{}", again.body);
        assert!(again.json().get("refresh_token").is_none(), "not rotated, whatever the client is set to");
    }
}

#[tokio::test]
async fn o09_what_contradicts_the_profile_cannot_be_set() {
    let world = World::new().await;
    let token = world.management_token("").await;
    let fapi = |level: &str, change: Value| {
        let mut body = json!({ "name": "a", "compliance_level": level, "token_endpoint_auth_method": "private_key_jwt" });
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        body
    };
    let dpop = "fapi2_sp_pkj_dpop";
    for bad in [
        fapi(dpop, json!({ "token_endpoint_auth_method": "client_secret_basic" })),
        fapi(dpop, json!({ "token_endpoint_auth_method": "none" })),
        fapi("fapi2_sp_mtls_mtls", json!({})),
        fapi(dpop, json!({ "jwt_configuration": { "alg": "RS256" } })),
        fapi(dpop, json!({ "request_object_signing_alg": "none" })),
        fapi(dpop, json!({ "backchannel_authentication_request_signing_alg": "RS256" })),
        fapi(dpop, json!({ "authorization_signed_response_alg": "HS256" })),
    ] {
        let answer = world.call(&token, "POST", "clients", Some(bad.clone())).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{bad}: {}", answer.body);
    }
    let good = fapi(dpop, json!({ "jwt_configuration": { "alg": "EdDSA" } }));
    assert_eq!(world.call(&token, "POST", "clients", Some(good)).await.status, StatusCode::CREATED);
}

/// The claims of a JWT that the tenant's published keys verify with `alg`.
async fn verified(world: &World, token: &str, alg: Alg) -> Value {
    let keys = world.agent().get("/.well-known/jwks.json").await;
    let jws = CompactJws::parse(token).unwrap();
    KeySet::parse(keys.body.as_bytes()).unwrap().verify(&jws, &[alg]).unwrap();
    claims(token)
}

#[tokio::test]
async fn o45_introspection_answers_are_signed_for_who_asks_and_pass_for_no_access_token() {
    let world = World::new().await;
    let code = world.agent().code(&[]).await;
    let tokens = world.redeem(&code).await.json();
    let mut agent = world.agent();
    agent.extra.push(("authorization", world.basic()));
    let form = crate::fields::to_query([("token", tokens["access_token"].as_str().unwrap())].into_iter());
    let plain = agent.send(Method::POST, "/oauth/introspect", Some(Payload::Form(form.clone()))).await.json();
    agent.extra.push(("accept", "application/token-introspection+jwt".to_owned()));
    let answer = agent.send(Method::POST, "/oauth/introspect", Some(Payload::Form(form.clone()))).await;
    assert_eq!(answer.header("content-type"), Some("application/token-introspection+jwt"));
    let header = CompactJws::parse(&answer.body).unwrap();
    assert!(header.header().has_typ("token-introspection+jwt"));
    let claims = verified(&world, &answer.body, Alg::RS256).await;
    assert_eq!(claims["token_introspection"], plain);
    assert_eq!(
        (&claims["aud"], &claims["iss"]),
        (&json!(world.seeded.client_id), &json!("http://localhost:9400/"))
    );
    assert!(claims.get("sub").is_none() && claims.get("exp").is_none());
    let mut thief = world.agent();
    thief.extra.push(("authorization", format!("Bearer {}", answer.body)));
    assert_eq!(thief.get("/userinfo").await.status, StatusCode::UNAUTHORIZED);
    agent.extra.retain(|(name, _)| *name != "authorization");
    let stranger = agent.send(Method::POST, "/oauth/introspect", Some(Payload::Form(form))).await;
    assert_eq!(stranger.status, StatusCode::UNAUTHORIZED);
}
