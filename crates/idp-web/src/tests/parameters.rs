//! Every parameter of the token endpoint missing, empty, doubled and oversized: an error code of the RFC, and nothing
//! that fails on our side.

use axum::http::{Method, StatusCode};
use serde_json::json;

use super::world::{Agent, Answer, CALLBACK, Payload, VERIFIER, World, basic};

const DEVICE: &str = "urn:ietf:params:oauth:grant-type:device_code";
const CIBA: &str = "urn:openid:params:grant-type:ciba";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ASSERTION: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const REALM: &str = "http://auth0.com/oauth/grant-type/password-realm";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// Parameters that may be left out, or that no code of an RFC is for when they are.
const OPTIONAL: [&str; 5] = ["scope", "audience", "redirect_uri", "code_verifier", "requested_token_type"];

async fn send(agent: &mut Agent<'_>, path: &str, form: &str) -> Answer {
    let payload = Payload::Raw("application/x-www-form-urlencoded", form.as_bytes().to_vec());
    agent.send(Method::POST, path, Some(payload)).await
}

fn encoded(form: &[(&str, &str)]) -> String {
    crate::fields::to_query(form.iter().copied())
}

#[tokio::test]
async fn o10_and_o50_each_parameter_of_each_grant_may_be_wrong_in_every_way() {
    let world = World::new().await;
    let grants = [
        "authorization_code",
        "client_credentials",
        "refresh_token",
        DEVICE,
        CIBA,
        EXCHANGE,
        ASSERTION,
        REALM,
    ];
    let key = jose::SigningKey::generate(jose::Alg::ES256, "k".to_owned()).unwrap();
    let client = world.client(json!({"grant_types": grants, "jwks": {"keys": [key.public_jwk()]}})).await;
    world.grant(&client).await;
    let mut agent = world.agent();
    let secret = client.client_secret.as_ref().unwrap().expose();
    agent.extra.push(("authorization", basic(&client.client_id, secret)));
    let audience = world.seeded.audience.clone();
    let (user, password) = (world.seeded.user.clone(), "wrong");
    let forms: [&[(&str, &str)]; 8] = [
        &[("code", "c"), ("redirect_uri", CALLBACK), ("code_verifier", VERIFIER)],
        &[("audience", &audience), ("scope", "read:things")],
        &[("refresh_token", "v1.r"), ("scope", "openid")],
        &[("device_code", "d")],
        &[("auth_req_id", "a")],
        &[
            ("subject_token", "s"),
            ("subject_token_type", ACCESS_TOKEN),
            ("requested_token_type", ACCESS_TOKEN),
            ("audience", &audience),
            ("scope", "read:things"),
        ],
        &[("assertion", "a.b.c"), ("audience", &audience), ("scope", "read:things")],
        &[
            ("username", &user),
            ("password", password),
            ("realm", "Username-Password-Authentication"),
            ("scope", "openid"),
        ],
    ];
    let long = "a".repeat(40_000);
    for (grant, form) in grants.into_iter().zip(forms) {
        let whole = [&[("grant_type", grant)], form].concat();
        for (place, (name, value)) in whole.iter().enumerate() {
            let mut without = whole.clone();
            without.remove(place);
            let missing = send(&mut agent, "/oauth/token", &encoded(&without)).await;
            let mut empty = whole.clone();
            empty[place].1 = "";
            let emptied = send(&mut agent, "/oauth/token", &encoded(&empty)).await;
            if !OPTIONAL.contains(name) {
                for answer in [&missing, &emptied] {
                    is(answer, &["invalid_request"], grant, name);
                }
            }
            let twice = [&whole[..], &[(*name, *value)]].concat();
            let doubled = send(&mut agent, "/oauth/token", &encoded(&twice)).await;
            is(&doubled, &["invalid_request"], grant, name);
            let mut oversized = whole.clone();
            oversized[place].1 = &long;
            let oversized = send(&mut agent, "/oauth/token", &encoded(&oversized)).await;
            let codes = [
                "invalid_request",
                "invalid_grant",
                "invalid_scope",
                "invalid_target",
                "access_denied",
                "unsupported_grant_type",
            ];
            is(&oversized, &codes, grant, name);
            let nul = format!("{}&{name}=%00", encoded(&without));
            is(&send(&mut agent, "/oauth/token", &nul).await, &["invalid_request"], grant, name);
        }
    }
}

#[tokio::test]
async fn o08_and_o50_each_credential_may_be_wrong_in_every_way() {
    let world = World::new().await;
    let (id, secret) = (world.seeded.client_id.clone(), world.seeded.client_secret.expose().clone());
    let long = "a".repeat(40_000);
    let form = |id: &str, secret: &str| {
        encoded(&[
            ("grant_type", "refresh_token"),
            ("refresh_token", "x"),
            ("client_id", id),
            ("client_secret", secret),
        ])
    };
    for path in ["/oauth/token", "/oauth/revoke", "/oauth/introspect", "/oauth/device/code", "/bc-authorize"]
    {
        let wrong = [("", secret.as_str()), (&id, ""), ("nobody", &secret), (&id, &secret[..20])];
        for (id, secret) in wrong {
            let answer = send(&mut world.agent(), path, &form(id, secret)).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path} {}", answer.body);
            is(&answer, &["invalid_client"], path, "client_id");
        }
        for (id, secret) in [(long.as_str(), secret.as_str()), (&id, &long)] {
            let answer = send(&mut world.agent(), path, &form(id, secret)).await;
            is(&answer, &["invalid_client", "invalid_request"], path, "client_id");
        }
        for name in ["client_id", "client_secret"] {
            let twice = format!("{}&{name}=x", form(&id, &secret));
            is(&send(&mut world.agent(), path, &twice).await, &["invalid_request"], path, name);
        }
        let kinds = [("client_assertion", "a.b.c"), ("client_assertion_type", "urn:x")];
        let assertion = encoded(&[("grant_type", "refresh_token"), kinds[0], kinds[1]]);
        is(&send(&mut world.agent(), path, &assertion).await, &["invalid_client"], path, "client_assertion");
        let both = format!("{}&client_assertion=a.b.c", form(&id, &secret));
        is(&send(&mut world.agent(), path, &both).await, &["invalid_request"], path, "client_assertion");
    }
}

#[track_caller]
fn is(answer: &Answer, codes: &[&str], grant: &str, name: &str) {
    assert!(answer.status.is_client_error(), "{grant} {name}: {answer:?}");
    let code = answer.json()["error"].as_str().unwrap_or_default().to_owned();
    assert!(codes.contains(&code.as_str()), "{grant} {name}: {}", answer.body);
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{grant} {name}");
}

#[tokio::test]
async fn the_one_callback_stands_in_for_a_missing_redirect_uri_but_not_in_openid_connect() {
    let world = World::new().await;
    let one = world.client(json!({ "name": "One" })).await;
    let two = world.client(json!({ "name": "Two", "callbacks": [CALLBACK, "https://b.example/cb"] })).await;
    let ask = async |client: &idp::model::Client, scope: &str| {
        let params = [
            ("client_id", client.client_id.as_str()),
            ("redirect_uri", "-"),
            ("scope", scope),
            ("nonce", "-"),
        ];
        let mut agent = world.agent();
        let page = agent.open(&world.authorize(&params)).await;
        if page.status == StatusCode::OK { agent.log_in(&page).await } else { page }
    };
    let answer = ask(&one, "profile").await;
    assert!(answer.location().unwrap().starts_with(&format!("{CALLBACK}?")), "{answer:?}");
    // What was not sent then need not be sent now (RFC 6749 section 4.1.3).
    let code = answer.param("code").unwrap();
    let secret = one.client_secret.as_ref().unwrap().expose().clone();
    let form = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("code_verifier", VERIFIER),
        ("client_id", one.client_id.as_str()),
        ("client_secret", secret.as_str()),
    ];
    let tokens = world.agent().post("/oauth/token", &form).await;
    assert_eq!(tokens.status, StatusCode::OK, "{}", tokens.body);
    // oidcc-ensure-redirect-uri-in-authorization-request.
    ask(&one, "openid profile").await.is_error_page();
    ask(&two, "profile").await.is_error_page();
}
