//! Each way to prove who a client is, and that no other one will do.

use axum::http::StatusCode;
use base64::{Engine, engine::general_purpose::STANDARD};
use idp::{ClientCertificate, model::Client};
use jose::{Alg, SigningKey};
use serde_json::{Value, json};

use super::world::{Agent, Answer, World, basic, signed};

const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const KEYS: &str = "https://client.example/keys";

async fn machine(world: &World, body: Value) -> Client {
    let mut all = json!({"grant_types": ["client_credentials"]});
    all.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
    let client = world.client(all).await;
    world.grant(&client).await;
    client
}

/// Asks for a token with these parameters added.
async fn ask(agent: &mut Agent<'_>, world: &World, extra: &[(&str, &str)]) -> Answer {
    let mut form = vec![("grant_type", "client_credentials"), ("audience", world.seeded.audience.as_str())];
    form.extend(extra);
    agent.post("/oauth/token", &form).await
}

#[track_caller]
fn is_nobody(answer: &Answer) {
    let shown = (answer.status, answer.json()["error"].as_str().unwrap_or_default().to_owned());
    assert_eq!(shown, (StatusCode::UNAUTHORIZED, "invalid_client".to_owned()), "{}", answer.body);
}

fn keys(key: &SigningKey) -> Value {
    json!({ "keys": [key.public_jwk()] })
}

/// What a client says of itself, to be spoilt.
fn assertion(world: &World, client: &Client, jti: &str) -> Value {
    let now = world.clock.now().secs();
    json!({
        "iss": client.client_id, "sub": client.client_id, "aud": "http://localhost:9400/", "jti": jti,
        "iat": now, "exp": now + 60,
    })
}

async fn by_assertion(world: &World, assertion: &str) -> Answer {
    let extra = [("client_assertion_type", TYPE), ("client_assertion", assertion)];
    ask(&mut world.agent(), world, &extra).await
}

#[tokio::test]
async fn o08_a_client_is_held_to_the_method_that_it_registered() {
    let world = World::new().await;
    for (method, wanted_header) in [("client_secret_basic", true), ("client_secret_post", false)] {
        let client = machine(&world, json!({"token_endpoint_auth_method": method})).await;
        let secret = client.client_secret.clone().unwrap().expose().clone();
        let mut by_header = world.agent();
        by_header.extra.push(("authorization", basic(&client.client_id, &secret)));
        let in_header = ask(&mut by_header, &world, &[]).await;
        let posted = [("client_id", client.client_id.as_str()), ("client_secret", secret.as_str())];
        let in_body = ask(&mut world.agent(), &world, &posted).await;
        let (good, bad) = if wanted_header { (in_header, in_body) } else { (in_body, in_header) };
        assert_eq!(good.status, StatusCode::OK, "{}", good.body);
        is_nobody(&bad);
    }
}

#[tokio::test]
async fn o09_an_assertion_counts_once_for_us_and_in_time() {
    let world = World::new().await;
    let key = SigningKey::generate(Alg::ES256, "k-1".to_owned()).unwrap();
    let body = json!({"token_endpoint_auth_method": "private_key_jwt", "jwks": keys(&key)});
    let client = machine(&world, body).await;
    let header = || json!({"typ": "JWT"});
    let good = signed(&key, header(), &assertion(&world, &client, "1"));
    assert_eq!(by_assertion(&world, &good).await.status, StatusCode::OK);
    is_nobody(&by_assertion(&world, &good).await);

    let now = world.clock.now().secs();
    let spoilt: [(&str, Value); 14] = [
        ("iss", json!("nobody")),
        ("sub", json!("nobody")),
        ("sub", Value::Null),
        ("aud", json!("https://elsewhere.example/")),
        ("aud", json!(["http://localhost:9400/", "https://elsewhere.example/"])),
        ("aud", Value::Null),
        ("aud", json!([])),
        ("exp", json!(now - 1)),
        ("exp", json!(now + 7200)),
        ("exp", Value::Null),
        ("exp", json!("soon")),
        ("nbf", json!(now + 61)),
        ("iat", json!(now + 61)),
        ("jti", Value::Null),
    ];
    for (place, (name, value)) in spoilt.into_iter().enumerate() {
        let mut claims = assertion(&world, &client, &format!("bad {place}"));
        if value.is_null() {
            claims.as_object_mut().unwrap().shift_remove(name);
        } else {
            claims[name] = value.clone();
        }
        let answer = by_assertion(&world, &signed(&key, header(), &claims)).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{name} {value}: {}", answer.body);
    }
    let foreign = SigningKey::generate(Alg::ES256, "k-1".to_owned()).unwrap();
    let secret = SigningKey::from_hmac_secret(
        Alg::HS256,
        "k-1".to_owned(),
        client.client_secret.as_ref().unwrap().expose().as_bytes(),
    );
    for key in [foreign, secret.unwrap()] {
        is_nobody(&by_assertion(&world, &signed(&key, header(), &assertion(&world, &client, "f"))).await);
    }
    let both = {
        let mut agent = world.agent();
        let secret = client.client_secret.as_ref().unwrap().expose().clone();
        agent.extra.push(("authorization", basic(&client.client_id, &secret)));
        let good = signed(&key, header(), &assertion(&world, &client, "both"));
        ask(&mut agent, &world, &[("client_assertion_type", TYPE), ("client_assertion", &good)]).await
    };
    assert_eq!(both.json()["error"], "invalid_request");
}

#[tokio::test]
async fn an_assertion_may_name_the_endpoint_that_it_comes_to_by_each_of_its_addresses() {
    // CIBA 7.1, RFC 9126 section 2, RFC 8705 section 5.
    const CIBA: &str = "urn:openid:params:grant-type:ciba";
    let world = World::new().await;
    let key = SigningKey::generate(Alg::PS256, "k".to_owned()).unwrap();
    let body = json!({
        "token_endpoint_auth_method": "private_key_jwt", "jwks": keys(&key),
        "grant_types": [CIBA, "authorization_code", "urn:ietf:params:oauth:grant-type:device_code"],
    });
    let client = world.client(body.clone()).await;
    let mut strict = body;
    strict["compliance_level"] = json!("fapi2_sp_pkj_mtls");
    let strict = world.client(strict).await;
    let paths = ["/bc-authorize", "/oauth/par", "/oauth/introspect", "/oauth/revoke", "/oauth/device/code"];
    let mut made = 0;
    let mut is_known = async |client: &Client, host: &'static str, path: &str, aud: &str| {
        made += 1;
        let mut claims = assertion(&world, client, &format!("named {made}"));
        claims["aud"] = json!(aud);
        let assertion = signed(&key, json!({}), &claims);
        let mut agent = world.agent();
        agent.host = host;
        let form = [("client_assertion_type", TYPE), ("client_assertion", assertion.as_str())];
        let answer = agent.post(path, &form).await;
        answer.status.is_success() || answer.json()["error"] != "invalid_client"
    };
    for path in paths {
        for origin in ["https://localhost:9401", "https://localhost:9402"] {
            for host in ["localhost:9401", "localhost:9402"] {
                for name in [format!("{origin}{path}"), format!("{origin}/oauth/token")] {
                    assert!(is_known(&client, host, path, &name).await, "{path} at {host}: {name}");
                    assert!(!is_known(&strict, host, path, &name).await, "{path} at {host}: {name}");
                }
            }
        }
        assert!(is_known(&client, "localhost:9401", path, "https://localhost:9401/").await, "{path}");
        assert!(is_known(&strict, "localhost:9402", path, "https://localhost:9401/").await, "{path}");
        let elsewhere = ["https://localhost:9401/userinfo", "https://localhost:9403/oauth/token"];
        for name in elsewhere {
            assert!(!is_known(&client, "localhost:9401", path, name).await, "{path}: {name}");
        }
        // `dev` answers to every host: an assertion that was made for somebody else's is not for us.
        let foreign = format!("http://evil.example{path}");
        assert!(!is_known(&client, "evil.example", path, &foreign).await, "{path}");
    }
}

#[tokio::test]
async fn o09_a_client_of_fapi_2_names_the_issuer_alone_and_signs_with_no_pkcs1() {
    let world = World::new().await;
    let (strong, weak) = (
        SigningKey::generate(Alg::PS256, "p".to_owned()).unwrap(),
        SigningKey::generate(Alg::RS256, "r".to_owned()).unwrap(),
    );
    let jwks = json!({"keys": [strong.public_jwk(), weak.public_jwk()]});
    let body = json!({
        "token_endpoint_auth_method": "private_key_jwt", "jwks": jwks, "compliance_level": "fapi2_sp_pkj_dpop",
    });
    let client = machine(&world, body).await;
    for aud in [json!(["http://localhost:9400/"]), json!("http://localhost:9400/oauth/token")] {
        let mut claims = assertion(&world, &client, &aud.to_string());
        claims["aud"] = aud;
        is_nobody(&by_assertion(&world, &signed(&strong, json!({}), &claims)).await);
    }
    is_nobody(&by_assertion(&world, &signed(&weak, json!({}), &assertion(&world, &client, "weak"))).await);
    // Known, and then told that it needs a proof of possession.
    let known = by_assertion(&world, &signed(&strong, json!({}), &assertion(&world, &client, "good"))).await;
    assert_eq!(known.json()["error"], "invalid_request", "{}", known.body);
}

#[tokio::test]
async fn an_assertion_may_be_signed_with_the_secret_where_that_is_registered() {
    let world = World::new().await;
    let client = machine(&world, json!({"token_endpoint_auth_method": "client_secret_jwt"})).await;
    let secret = client.client_secret.as_ref().unwrap().expose().as_bytes();
    let key = SigningKey::from_hmac_secret(Alg::HS256, String::new(), secret).unwrap();
    let header = json!({"kid": null});
    let good = signed(&key, header, &assertion(&world, &client, "1"));
    assert_eq!(by_assertion(&world, &good).await.status, StatusCode::OK);
}

#[tokio::test]
async fn keys_at_an_address_are_fetched_again_when_they_have_changed() {
    let world = World::new().await;
    let publish = |key: &SigningKey| world.network.publish(KEYS, &keys(key).to_string());
    let old = SigningKey::generate(Alg::ES256, "old".to_owned()).unwrap();
    let body = json!({"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": KEYS});
    let client = machine(&world, body).await;
    let sign = |key: &SigningKey, jti: &str| signed(key, json!({}), &assertion(&world, &client, jti));
    is_nobody(&by_assertion(&world, &sign(&old, "0")).await);
    publish(&old);
    world.clock.advance(std::time::Duration::from_secs(11));
    assert_eq!(by_assertion(&world, &sign(&old, "1")).await.status, StatusCode::OK);
    let new = SigningKey::generate(Alg::ES256, "new".to_owned()).unwrap();
    publish(&new);
    world.clock.advance(std::time::Duration::from_secs(11));
    assert_eq!(by_assertion(&world, &sign(&new, "2")).await.status, StatusCode::OK);
    is_nobody(&by_assertion(&world, &sign(&old, "3")).await);
}

fn certificate(name: &str, trusted: bool) -> (ClientCertificate, Vec<u8>) {
    let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let der = params.self_signed(&key).unwrap().der().to_vec();
    (ClientCertificate::new(der.clone(), trusted), der)
}

async fn by_certificate(world: &World, client: &Client, shown: Option<ClientCertificate>) -> Answer {
    let mut agent = world.agent();
    agent.certificate = shown;
    ask(&mut agent, world, &[("client_id", &client.client_id)]).await
}

#[tokio::test]
async fn a_certificate_from_an_authority_counts_by_its_name() {
    let world = World::new().await;
    let body = json!({
        "token_endpoint_auth_method": "tls_client_auth", "tls_client_auth_san_dns": "client.example",
    });
    let client = machine(&world, body).await;
    let good = by_certificate(&world, &client, Some(certificate("client.example", true).0)).await;
    assert_eq!(good.status, StatusCode::OK, "{}", good.body);
    is_nobody(&by_certificate(&world, &client, Some(certificate("client.example", false).0)).await);
    is_nobody(&by_certificate(&world, &client, Some(certificate("other.example", true).0)).await);
    is_nobody(&by_certificate(&world, &client, None).await);
    let mut with_secret = world.agent();
    let secret = client.client_secret.as_ref().unwrap().expose();
    with_secret.extra.push(("authorization", basic(&client.client_id, secret)));
    is_nobody(&ask(&mut with_secret, &world, &[]).await);
}

#[tokio::test]
async fn a_certificate_of_one_s_own_counts_where_it_is_registered() {
    let world = World::new().await;
    let (own, der) = certificate("client.example", false);
    let key = SigningKey::generate(Alg::ES256, "k".to_owned()).unwrap();
    let mut jwk = key.public_jwk();
    jwk["x5c"] = json!([STANDARD.encode(der)]);
    let body = json!({"token_endpoint_auth_method": "self_signed_tls_client_auth", "jwks": {"keys": [jwk]}});
    let client = machine(&world, body).await;
    assert_eq!(by_certificate(&world, &client, Some(own)).await.status, StatusCode::OK);
    is_nobody(&by_certificate(&world, &client, Some(certificate("client.example", true).0)).await);
    is_nobody(&by_certificate(&world, &client, None).await);
}

#[tokio::test]
async fn registrations_that_could_never_authenticate_are_refused() {
    let world = World::new().await;
    let token = world.management_token("").await;
    for bad in [
        json!({"name": "a", "token_endpoint_auth_method": "tls_client_auth"}),
        json!({"name": "a", "tls_client_auth_san_dns": "a", "tls_client_auth_subject_dn": "CN=a"}),
        json!({"name": "a", "jwks_uri": "ftp://a.example/keys"}),
        json!({"name": "a", "jwks_uri": KEYS, "jwks": {"keys": []}}),
        json!({"name": "a", "token_endpoint_auth_signing_alg": "none"}),
        json!({"name": "a", "compliance_level": "best"}),
    ] {
        let answer = world.call(&token, "POST", "clients", Some(bad.clone())).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{bad}: {}", answer.body);
    }
}
