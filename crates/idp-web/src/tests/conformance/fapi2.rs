//! The plans fapi2-security-profile-final and fapi2-message-signing-final, for clients with assertions and DPoP. What is
//! the same for certificates is in `possession.rs` and `client_authentication.rs`.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use idp::model::Client;
use jose::{Alg, CompactJws, SigningKey};
use serde_json::{Value, json};

use super::{ISSUER, callback, is_error, is_refusal, through};
use crate::tests::world::{Agent, Answer, CALLBACK, CHALLENGE, VERIFIER, World, claims, signed};

const PAR: &str = "/oauth/par";
const TOKEN: &str = "/oauth/token";

/// A client of the profile with its keys.
struct Member {
    client: Client,
    key: SigningKey,
    prover: SigningKey,
    /// Whether its requests are signed (Message Signing).
    signs: bool,
}

/// What is different about one request.
#[derive(Clone, Default)]
struct Twist {
    /// Laid over the assertion's claims; a null takes one away.
    assertion: Value,
    /// No assertion at all.
    anonymous: bool,
    /// Signs the assertion in the place of the client's key.
    assertion_key: Option<&'static SigningKey>,
    /// Laid over the proof's claims.
    proof: Value,
    /// No proof at all.
    unproven: bool,
}

impl Member {
    async fn new(world: &World, signs: bool) -> Self {
        let key = SigningKey::generate(Alg::PS256, "k".to_owned()).unwrap();
        let prover = SigningKey::generate(Alg::ES256, "d".to_owned()).unwrap();
        let mut body = json!({
            "app_type": "regular_web", "token_endpoint_auth_method": "private_key_jwt",
            "jwks": { "keys": [key.public_jwk()] }, "compliance_level": "fapi2_sp_pkj_dpop",
        });
        if signs {
            body["signed_request_object"] = json!({ "required": true });
        }
        Self { client: world.client(body).await, key, prover, signs }
    }

    fn id(&self) -> &str {
        &self.client.client_id
    }

    fn proof(&self, world: &World, key: &SigningKey, method: &str, path: &str, change: &Value) -> String {
        let url = format!("http://localhost:9400{path}");
        let claims = json!({ "jti": unique(), "htm": method, "htu": url, "iat": world.clock.now().secs() });
        let mut jwk = key.public_jwk();
        let public = ["kty", "crv", "x", "y", "n", "e"];
        jwk.as_object_mut().unwrap().retain(|name, _| public.contains(&name.as_str()));
        signed(key, json!({ "typ": "dpop+jwt", "jwk": jwk, "kid": null }), &laid(claims, change))
    }

    /// A form with assertion and proof.
    async fn post(&self, world: &World, path: &str, form: &[(&str, &str)], twist: &Twist) -> Answer {
        let now = world.clock.now().secs();
        let claims = json!({
            "iss": self.id(), "sub": self.id(), "aud": ISSUER, "jti": unique(), "iat": now, "exp": now + 60,
        });
        let key = twist.assertion_key.unwrap_or(&self.key);
        let assertion = signed(key, json!({}), &laid(claims, &twist.assertion));
        let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        let mut form = [&[("client_id", self.id())], form].concat();
        if !twist.anonymous {
            form.extend([("client_assertion_type", kind), ("client_assertion", assertion.as_str())]);
        }
        let mut agent = world.agent();
        if !twist.unproven {
            agent.extra.push(("dpop", self.proof(world, &self.prover, "POST", path, &twist.proof)));
        }
        agent.post(path, &form).await
    }

    /// A good request's parameters with `change` laid over them (a null takes one away).
    fn request(&self, change: &Value) -> Value {
        let good = json!({
            "client_id": self.id(), "response_type": "code", "redirect_uri": CALLBACK,
            "scope": "openid offline_access", "state": "a-state", "nonce": "a-nonce",
            "code_challenge": CHALLENGE, "code_challenge_method": "S256",
        });
        laid(good, change)
    }

    /// Pushes it, by value or in an object that is signed with `key`, `about` being laid over what it says of itself.
    async fn push_as(
        &self,
        world: &World,
        change: &Value,
        about: &Value,
        key: Option<&SigningKey>,
    ) -> Answer {
        let request = self.request(change);
        let no_twist = Twist::default();
        if !self.signs {
            let form: Vec<_> = fields(&request).filter(|(name, _)| *name != "client_id").collect();
            return self.post(world, PAR, &form, &no_twist).await;
        }
        let now = world.clock.now().secs();
        let mut object = json!({ "iss": self.id(), "aud": ISSUER, "nbf": now, "exp": now + 300 });
        object.as_object_mut().unwrap().extend(request.as_object().unwrap().clone());
        let object = laid(object, about);
        let object = signed(key.unwrap_or(&self.key), json!({ "typ": "oauth-authz-req+jwt" }), &object);
        self.post(world, PAR, &[("request", &object)], &no_twist).await
    }

    async fn push(&self, world: &World, change: &Value) -> Answer {
        self.push_as(world, change, &Value::Null, None).await
    }

    fn address(&self, pushed: &Answer) -> String {
        assert_eq!(pushed.status, StatusCode::CREATED, "{}", pushed.body);
        let uri = pushed.json()["request_uri"].as_str().unwrap().to_owned();
        let query = [("client_id", self.id()), ("request_uri", uri.as_str())];
        format!("/authorize?{}", crate::fields::to_query(query.into_iter()))
    }

    async fn authorize(&self, world: &World, agent: &mut Agent<'_>, change: &Value) -> super::Callback {
        let pushed = self.push(world, change).await;
        let page = agent.open(&self.address(&pushed)).await;
        through(agent, page).await
    }

    async fn code(&self, world: &World) -> String {
        self.authorize(world, &mut world.agent(), &Value::Null).await["code"].clone()
    }

    async fn redeem(&self, world: &World, code: &str, twist: &Twist) -> Answer {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
        ];
        self.post(world, TOKEN, &form, twist).await
    }

    /// `/userinfo` under a scheme in some spelling.
    async fn userinfo(&self, world: &World, scheme: &str, token: &str, change: &Value) -> Answer {
        use aws_lc_rs::digest::{SHA256, digest};
        let ath = URL_SAFE_NO_PAD.encode(digest(&SHA256, token.as_bytes()));
        let mut claims = json!({ "ath": ath });
        claims.as_object_mut().unwrap().extend(change.as_object().cloned().unwrap_or_default());
        let mut agent = world.agent();
        agent.extra.push(("dpop", self.proof(world, &self.prover, "GET", "/userinfo", &claims)));
        agent.extra.push(("authorization", format!("{scheme} {token}")));
        agent.get("/userinfo").await
    }
}

fn unique() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("id-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

fn laid(mut object: Value, change: &Value) -> Value {
    for (name, value) in change.as_object().into_iter().flatten() {
        match value {
            Value::Null => drop(object.as_object_mut().unwrap().shift_remove(name)),
            value => object[name] = value.clone(),
        }
    }
    object
}

/// A key that is generated once and lives as long as the tests.
fn weak() -> &'static SigningKey {
    static KEY: std::sync::OnceLock<SigningKey> = std::sync::OnceLock::new();
    KEY.get_or_init(|| SigningKey::generate(Alg::RS256, "k".to_owned()).unwrap())
}

/// The parameters of a request as a form has them.
fn fields(request: &Value) -> impl Iterator<Item = (&str, &str)> {
    request.as_object().unwrap().iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
}

#[tokio::test]
async fn fapi2_final_happy_flow_states_nonces_and_scope_order() {
    let world = World::new().await;
    for signs in [false, true] {
        let member = Member::new(&world, signs).await;
        let long = "n".repeat(384);
        for change in [
            json!({}),
            // -ensure-authorization-request-without-state-success and -without-nonce-success.
            json!({ "state": null }),
            json!({ "nonce": null }),
            // -with-64-char-nonce-success, -with-long-nonce, -with-long-state.
            json!({ "nonce": &long[..64] }),
            json!({ "nonce": long }),
            json!({ "state": long }),
            // -ensure-other-scope-order-succeeds, -test-claims-parameter-identity-claims.
            json!({ "scope": "offline_access openid" }),
            json!({ "claims": "{\"id_token\":{\"given_name\":null},\"userinfo\":{\"name\":null}}" }),
        ] {
            let back = member.authorize(&world, &mut world.agent(), &change).await;
            let request = member.request(&change);
            assert_eq!(back.get("state").map(String::as_str), request["state"].as_str(), "{change}");
            assert_eq!(back["iss"], ISSUER);
            let answer = member.redeem(&world, &back["code"], &Twist::default()).await;
            assert_eq!(answer.status, StatusCode::OK, "{change}: {}", answer.body);
            let tokens = answer.json();
            assert_eq!(tokens["token_type"], "DPoP");
            let id_token = tokens["id_token"].as_str().unwrap();
            assert_eq!(CompactJws::parse(id_token).unwrap().alg().unwrap(), Alg::PS256);
            let said = claims(id_token);
            assert_eq!(said.get("nonce"), request.get("nonce"), "{change}");
            if change.get("claims").is_some() {
                assert_eq!(said["given_name"], "Demo");
            }
            // -access-token-type-header-case-sensitivity.
            let token = tokens["access_token"].as_str().unwrap();
            for scheme in ["DPoP", "dpop", "DPOP"] {
                let told = member.userinfo(&world, scheme, token, &Value::Null).await;
                assert_eq!((told.status, &told.json()["sub"]), (StatusCode::OK, &said["sub"]), "{scheme}");
            }
        }
        // With JARM.
        let jarm = json!({ "response_mode": "jwt" });
        let back = member.authorize(&world, &mut world.agent(), &jarm).await;
        assert_eq!(back.len(), 1, "{back:?}");
        let response = CompactJws::parse(&back["response"]).unwrap();
        assert_eq!(response.alg().unwrap(), Alg::PS256);
        let said = claims(&back["response"]);
        assert_eq!((&said["iss"], &said["aud"]), (&json!(ISSUER), &json!(member.id())));
        let left = said["exp"].as_i64().unwrap() - world.clock.now().secs();
        assert!(said["code"].is_string() && said["state"] == "a-state" && (1..=600).contains(&left));
    }
}

#[tokio::test]
async fn fapi2_final_par_reuse_expiry_binding_and_verbs() {
    let world = World::new().await;
    let (member, other) = (Member::new(&world, false).await, Member::new(&world, false).await);
    let address = member.address(&member.push(&world, &Value::Null).await);
    // -par-ensure-reused-request-uri-prior-to-auth-completion-succeeds.
    let mut agent = world.agent();
    agent.open(&address).await;
    let page = agent.open(&address).await;
    assert!(through(&mut agent, page).await.contains_key("code"));
    // -par-attempt-reuse-request_uri.
    let again = agent.open(&address).await;
    assert!(!callback(&again).contains_key("code"), "{again:?}");
    // -par-attempt-to-use-expired-request_uri.
    let pushed = member.push(&world, &Value::Null).await;
    let seconds = pushed.json()["expires_in"].as_u64().unwrap();
    assert!((5..600).contains(&seconds));
    let address = member.address(&pushed);
    world.clock.advance(Duration::from_secs(seconds + 1));
    world.agent().open(&address).await.is_error_page();
    // -par-ensure-request-uri-is-bound-to-client.
    let address = member.address(&member.push(&world, &Value::Null).await);
    world.agent().open(&address.replace(member.id(), other.id())).await.is_error_page();
    // -par-authorization-request-containing-request_uri-form-param.
    let answer = member.push(&world, &json!({ "request_uri": "urn:ietf:params:oauth:request_uri:x" })).await;
    is_error(&answer, &["invalid_request"]);
    // -par-endpoint-invalid-http-method.
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let answer = world.agent().send(method.clone(), PAR, None).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
    }
    // -ensure-unsigned-authorization-request-without-using-par-fails.
    let params = member.request(&Value::Null);
    let direct =
        world.agent().open(&format!("/authorize?{}", crate::fields::to_query(fields(&params)))).await;
    is_refusal(&callback(&direct), &["invalid_request"]);
}

#[tokio::test]
async fn fapi2_final_pushed_requests_that_the_profile_forbids() {
    let world = World::new().await;
    for signs in [false, true] {
        let member = Member::new(&world, signs).await;
        for (change, codes) in [
            // -par-ensure-pkce-required, -par-plain-pkce-rejected.
            (json!({ "code_challenge": null, "code_challenge_method": null }), &["invalid_request"][..]),
            (json!({ "code_challenge_method": "plain" }), &["invalid_request"]),
            // -ensure-redirect-uri-in-authorization-request, -ensure-registered-redirect-uri.
            (json!({ "redirect_uri": null }), &["invalid_request", "invalid_request_object"]),
            (
                json!({ "redirect_uri": "https://suite.example/x" }),
                &["invalid_request", "invalid_redirect_uri"],
            ),
            // -ensure-response-type-code-idtoken-fails, -ensure-response-type-token-fails.
            (json!({ "response_type": "code id_token" }), &["unsupported_response_type", "invalid_request"]),
            (json!({ "response_type": "token" }), &["unsupported_response_type", "invalid_request"]),
        ] {
            let answer = member.push(&world, &change).await;
            is_error(&answer, codes);
        }
        // -par-ensure-pkce-code-verifier-required, -par-incorrect-pkce-code-verifier-rejected.
        let wrong = format!("{VERIFIER}x");
        for verifier in [&[][..], &[("code_verifier", wrong.as_str())]] {
            let code = member.code(&world).await;
            let form =
                [("grant_type", "authorization_code"), ("code", code.as_str()), ("redirect_uri", CALLBACK)];
            let answer = member.post(&world, TOKEN, &[&form, verifier].concat(), &Twist::default()).await;
            is_error(&answer, &["invalid_grant", "invalid_request"]);
        }
    }
}

#[tokio::test]
async fn fapi2_final_client_assertions_at_par_and_token_endpoint() {
    let world = World::new().await;
    let member = Member::new(&world, false).await;
    let now = world.clock.now().secs();
    let twist = |assertion: Value| Twist { assertion, ..Twist::default() };
    let form = async |twist: &Twist| {
        let request = member.request(&json!({ "client_id": null }));
        let form: Vec<(&str, &str)> = fields(&request).collect();
        member.post(&world, PAR, &form, twist).await
    };
    // -par-ensure-jwt-client-assertion-nbf-8-seconds-in-the-future-is-accepted.
    let ahead = twist(json!({ "iat": now + 8, "nbf": now + 8 }));
    assert_eq!(form(&ahead).await.status, StatusCode::CREATED);
    let bad = [
        // -par-ensure-jwt-client-assertion-with-iat-nbf-over-60-seconds-in-the-future-fails.
        json!({ "iat": now + 61, "nbf": now + 61, "exp": now + 300 }),
        // -ensure-client-assertion-with-exp-is-5-minutes-in-past-fails, -with-wrong-aud-fails, -with-no-sub-fails.
        json!({ "exp": now - 300 }),
        json!({ "aud": "https://elsewhere.example/" }),
        json!({ "sub": null }),
        json!({ "iss": null }),
        json!({ "jti": null }),
        // -par-endpoint-as-array-audience-fails, -par-endpoint-as-audience-fails, -token-endpoint-as-audience-fails.
        json!({ "aud": [ISSUER] }),
        json!({ "aud": "http://localhost:9400/oauth/par" }),
        json!({ "aud": "http://localhost:9400/oauth/token" }),
    ];
    let mut twists: Vec<Twist> = bad.into_iter().map(twist).collect();
    // -ensure-signed-client-assertion-with-RS256-fails, -ensure-client-assertion-in-token-endpoint.
    twists.push(Twist { assertion_key: Some(weak()), ..Twist::default() });
    twists.push(Twist { anonymous: true, ..Twist::default() });
    for twist in &twists {
        is_error(&form(twist).await, &["invalid_client", "invalid_request"]);
        let code = member.code(&world).await;
        is_error(&member.redeem(&world, &code, twist).await, &["invalid_client", "invalid_request"]);
        let again = member.redeem(&world, &code, &Twist::default()).await;
        assert_eq!(again.status, StatusCode::OK, "nothing was used up: {}", again.body);
    }
}

#[tokio::test]
async fn fapi2_final_codes_are_bound_to_client_and_time_and_good_once() {
    let world = World::new().await;
    let (member, other) = (Member::new(&world, false).await, Member::new(&world, false).await);
    let fine = Twist::default();
    // -ensure-authorization-code-is-bound-to-client.
    let code = member.code(&world).await;
    is_error(&other.redeem(&world, &code, &fine).await, &["invalid_grant"]);
    // -attempt-reuse-authorization-code-after-one-second.
    let tokens = member.redeem(&world, &code, &fine).await.json();
    world.clock.advance(Duration::from_secs(1));
    is_error(&member.redeem(&world, &code, &fine).await, &["invalid_grant"]);
    let token = tokens["access_token"].as_str().unwrap();
    assert_eq!(member.userinfo(&world, "DPoP", token, &Value::Null).await.status, StatusCode::UNAUTHORIZED);
    // -attempt-to-use-expired-auth-code: the profile has 60 seconds at most.
    let code = member.code(&world).await;
    world.clock.advance(Duration::from_secs(61));
    is_error(&member.redeem(&world, &code, &fine).await, &["invalid_grant"]);
    // -ensure-client-id-in-token-endpoint: of somebody else.
    let code = member.code(&world).await;
    let form = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
    ];
    let theirs = json!({ "iss": other.id(), "sub": other.id() });
    let answer = member.post(&world, TOKEN, &form, &Twist { assertion: theirs, ..Twist::default() }).await;
    is_error(&answer, &["invalid_client", "invalid_request", "invalid_grant"]);
}

#[tokio::test]
async fn fapi2_final_holder_of_key_required_and_dpop_bindings_and_negative_tests() {
    let world = World::new().await;
    let member = Member::new(&world, false).await;
    let now = world.clock.now().secs();
    let proof = |proof: Value| Twist { proof, ..Twist::default() };
    for twist in [
        // -check-dpop-proof-nbf-exp, -ensure-dpop-proof-with-iat-10seconds-before and -after-succeeds.
        proof(json!({ "nbf": now, "exp": now + 300 })),
        proof(json!({ "iat": now - 10 })),
        proof(json!({ "iat": now + 10 })),
    ] {
        let code = member.code(&world).await;
        let answer = member.redeem(&world, &code, &twist).await;
        assert_eq!(answer.status, StatusCode::OK, "{}: {}", twist.proof, answer.body);
        let token = answer.json()["access_token"].as_str().unwrap().to_owned();
        let told = member.userinfo(&world, "DPoP", &token, &twist.proof).await;
        assert_eq!(told.status, StatusCode::OK, "{}: {}", twist.proof, told.body);
    }
    let codes = ["invalid_dpop_proof", "invalid_request", "invalid_grant"];
    for twist in [
        Twist { unproven: true, ..Twist::default() },
        proof(json!({ "htm": "GET" })),
        proof(json!({ "htu": "http://localhost:9400/oauth/revoke" })),
        proof(json!({ "iat": now - 3600 })),
        proof(json!({ "iat": now + 3600 })),
        proof(json!({ "iat": null })),
        proof(json!({ "jti": null })),
        proof(json!({ "htm": null })),
        proof(json!({ "htu": null })),
    ] {
        let code = member.code(&world).await;
        is_error(&member.redeem(&world, &code, &twist).await, &codes);
    }
    // FAPI 2.0 Security Profile 5.4.1: no RS256, in proofs either.
    let legacy = Member {
        prover: SigningKey::generate(Alg::RS256, "d".to_owned()).unwrap(),
        ..Member::new(&world, false).await
    };
    let unproven = Twist { unproven: true, ..Twist::default() };
    let request = legacy.request(&json!({ "client_id": null }));
    let form: Vec<(&str, &str)> = fields(&request).collect();
    is_error(&legacy.post(&world, PAR, &form, &Twist::default()).await, &["invalid_dpop_proof"]);
    let pushed = legacy.post(&world, PAR, &form, &unproven).await;
    let mut agent = world.agent();
    let page = agent.open(&legacy.address(&pushed)).await;
    let code = through(&mut agent, page).await["code"].clone();
    is_error(&legacy.redeem(&world, &code, &Twist::default()).await, &["invalid_dpop_proof"]);
    // At the resource: without a proof, with another one's, with one of another token, under Bearer.
    let code = member.code(&world).await;
    let tokens = member.redeem(&world, &code, &Twist::default()).await.json();
    let token = tokens["access_token"].as_str().unwrap();
    for change in
        [json!({ "ath": null }), json!({ "ath": "AAAA" }), json!({ "htm": "POST" }), json!({ "jti": null })]
    {
        let answer = member.userinfo(&world, "DPoP", token, &change).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{change}");
    }
    assert_eq!(member.userinfo(&world, "Bearer", token, &Value::Null).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn fapi2_final_dpop_jkt_binds_the_code_from_par_on() {
    let world = World::new().await;
    let member = Member::new(&world, false).await;
    let own = jose::thumbprint(&member.prover.public_jwk()).unwrap();
    let stranger = SigningKey::generate(Alg::ES256, "x".to_owned()).unwrap();
    // -ensure-mismatched-dpop-jkt-fails: the parameter and the proof beside it differ.
    let answer =
        member.push(&world, &json!({ "dpop_jkt": jose::thumbprint(&stranger.public_jwk()).unwrap() })).await;
    is_error(&answer, &["invalid_dpop_proof", "invalid_request"]);
    // -ensure-dpop-auth-code-binding-success, -ensure-dpop-proof-at-par-endpoint-binding-success.
    for change in [json!({ "dpop_jkt": own }), json!({})] {
        let back = member.authorize(&world, &mut world.agent(), &change).await;
        let other = Member {
            client: member.client.clone(),
            key: SigningKey::generate(Alg::PS256, "k".to_owned()).unwrap(),
            prover: SigningKey::generate(Alg::ES256, "y".to_owned()).unwrap(),
            signs: false,
        };
        // -ensure-token-endpoint-fails-with-mismatched-dpop-proof-jkt and -dpop-jkt.
        let form = [
            ("grant_type", "authorization_code"),
            ("code", back["code"].as_str()),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
        ];
        let now = world.clock.now().secs();
        let id = member.id();
        let assertion =
            json!({ "iss": id, "sub": id, "aud": ISSUER, "jti": unique(), "iat": now, "exp": now + 60 });
        let assertion = signed(&member.key, json!({}), &assertion);
        let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        let proof = [("client_assertion_type", kind), ("client_assertion", assertion.as_str())];
        let mut agent = world.agent();
        agent.extra.push(("dpop", other.proof(&world, &other.prover, "POST", TOKEN, &Value::Null)));
        let answer = agent.post(TOKEN, &[&form[..], &proof].concat()).await;
        is_error(&answer, &["invalid_dpop_proof", "invalid_grant"]);
        // With its own key it is good: another one, for the first is used up.
        let back = member.authorize(&world, &mut world.agent(), &change).await;
        let answer = member.redeem(&world, &back["code"], &Twist::default()).await;
        assert_eq!(answer.status, StatusCode::OK, "{change}: {}", answer.body);
    }
}

#[tokio::test]
async fn fapi2_final_refresh_token_and_user_rejects_authentication() {
    let world = World::new().await;
    let (member, other) = (Member::new(&world, false).await, Member::new(&world, false).await);
    let code = member.code(&world).await;
    let tokens = member.redeem(&world, &code, &Twist::default()).await.json();
    let refresh = tokens["refresh_token"].as_str().unwrap();
    let form = [("grant_type", "refresh_token"), ("refresh_token", refresh)];
    let fine = Twist::default();
    // Section 5.3.2.1: it does not rotate, is its client's alone, and stays good.
    is_error(&other.post(&world, TOKEN, &form, &fine).await, &["invalid_grant"]);
    let bare = Twist { unproven: true, ..Twist::default() };
    is_error(&member.post(&world, TOKEN, &form, &bare).await, &["invalid_request", "invalid_grant"]);
    for _ in 0..2 {
        let again = member.post(&world, TOKEN, &form, &fine).await;
        assert_eq!(again.status, StatusCode::OK, "{}", again.body);
        let again = again.json();
        assert!(again.get("refresh_token").is_none() && again["token_type"] == "DPoP");
        assert_eq!(
            claims(again["id_token"].as_str().unwrap())["sub"],
            claims(tokens["id_token"].as_str().unwrap())["sub"]
        );
    }
    // -user-rejects-authentication.
    let pushed = member.push(&world, &json!({ "prompt": "consent" })).await;
    let mut agent = world.agent();
    let login = agent.open(&member.address(&pushed)).await;
    let consent = agent.log_in(&login).await;
    assert!(consent.has_id("deny"), "{consent:?}");
    let denied = agent.submit(&consent, &[("action", "deny")]).await;
    let denied = agent.follow(denied).await;
    let back = callback(&denied);
    is_refusal(&back, &["access_denied"]);
    assert_eq!((back["state"].as_str(), back["iss"].as_str()), ("a-state", ISSUER));
}

#[tokio::test]
async fn fapi2_message_signing_final_request_objects() {
    let world = World::new().await;
    let (member, other) = (Member::new(&world, true).await, Member::new(&world, true).await);
    let now = world.clock.now().secs();
    for about in [
        // -ensure-server-accepts-request-object-with-multiple-aud, -with-nbf-8-seconds-in-the-future-is-accepted.
        json!({ "aud": [ISSUER, "https://other.example/"] }),
        json!({ "nbf": now + 8 }),
        json!({ "iat": now }),
    ] {
        let pushed = member.push_as(&world, &Value::Null, &about, None).await;
        assert_eq!(pushed.status, StatusCode::CREATED, "{about}: {}", pushed.body);
    }
    let codes = ["invalid_request_object", "invalid_request"];
    for about in [
        // -without-exp, -without-nbf, -expired, -with-bad-aud, -with-exp-over-60, -with-nbf-over-60-fails.
        json!({ "exp": null }),
        json!({ "nbf": null }),
        json!({ "exp": now - 1 }),
        json!({ "aud": "https://other.example/" }),
        json!({ "aud": null }),
        json!({ "exp": now + 70 * 60 }),
        json!({ "nbf": now - 70 * 60 }),
        json!({ "iss": null }),
        // -par-authorization-request-containing-request_uri.
        json!({ "request_uri": "urn:ietf:params:oauth:request_uri:x" }),
        json!({ "client_id": other.id() }),
    ] {
        is_error(&member.push_as(&world, &Value::Null, &about, None).await, &codes);
    }
    // -ensure-signed-request-object-with-RS256-fails, -ensure-matching-key-in-authorization-request.
    for key in [weak(), &other.key] {
        is_error(&member.push_as(&world, &Value::Null, &Value::Null, Some(key)).await, &codes);
    }
    let object = laid(
        member.request(&Value::Null),
        &json!({ "iss": member.id(), "aud": ISSUER, "nbf": now, "exp": now + 300 }),
    );
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let good = signed(&member.key, json!({ "typ": "oauth-authz-req+jwt" }), &object);
    let (text, signature) = good.rsplit_once('.').unwrap();
    let flipped = format!("{text}.{}{}", if signature.starts_with('A') { "B" } else { "A" }, &signature[1..]);
    for request in [
        // -ensure-request-object-signature-algorithm-is-not-none, -with-invalid-signature-fails.
        format!("{}.{}.", encode(&json!({ "alg": "none" })), encode(&object)),
        flipped,
    ] {
        let answer = member.post(&world, PAR, &[("request", &request)], &Twist::default()).await;
        is_error(&answer, &codes);
    }
    // -ensure-unsigned-request-at-par-endpoint-fails.
    let plain = Member { signs: false, ..member };
    is_error(&plain.push(&world, &Value::Null).await, &codes);
    // -different-state- and -nonce-inside-and-outside, -state-only-outside-request-object-not-used: the inside counts.
    let signer = Member { signs: true, ..plain };
    let without = laid(object.clone(), &json!({ "state": null }));
    for (object, state) in [(&object, Some("a-state")), (&without, None)] {
        let request = signed(&signer.key, json!({}), object);
        let form = [("request", request.as_str()), ("state", "outside"), ("nonce", "outside")];
        let pushed = signer.post(&world, PAR, &form, &Twist::default()).await;
        let address = format!("{}&state=outside&nonce=outside", signer.address(&pushed));
        let mut agent = world.agent();
        let page = agent.open(&address).await;
        let back = through(&mut agent, page).await;
        assert_eq!(back.get("state").map(String::as_str), state);
        let answer = signer.redeem(&world, &back["code"], &Twist::default()).await;
        assert_eq!(claims(answer.json()["id_token"].as_str().unwrap())["nonce"], "a-nonce");
    }
}
