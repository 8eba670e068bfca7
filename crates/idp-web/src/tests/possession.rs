//! Tokens that are bound to a key: DPoP (RFC 9449) and client certificates (RFC 8705).

use std::time::Duration;

use axum::http::StatusCode;
use idp::{ClientCertificate, model::Client};
use jose::{Alg, SigningKey};
use oauth::dpop::{Proof, ProofKey};
use serde_json::{Value, json};

use super::world::{Agent, Answer, CALLBACK, HTTPS, VERIFIER, World, basic, claims};

const TOKEN: &str = "http://localhost:9400/oauth/token";
const USERINFO: &str = "http://localhost:9400/userinfo";

/// Somebody with a key, who never makes the same proof twice.
struct Prover {
    key: ProofKey,
    made: u32,
    nonce: Option<String>,
}

impl Prover {
    fn new() -> Self {
        let key = ProofKey::new(SigningKey::generate(Alg::ES256, "k".to_owned()).unwrap()).unwrap();
        Self { key, made: 0, nonce: None }
    }

    fn prove(&mut self, world: &World, method: &str, url: &str, token: Option<&str>) -> String {
        self.made += 1;
        let jti = format!("proof {}", self.made);
        let (nonce, at) = (self.nonce.as_deref(), world.clock.now());
        self.key.prove(&Proof { method, url, jti: &jti, at, access_token: token, nonce }).unwrap()
    }

    /// A token request with a proof.
    async fn token(&mut self, world: &World, client: &Client, form: &[(&str, &str)]) -> Answer {
        let proof = self.prove(world, "POST", TOKEN, None);
        token(world, client, form, &[&proof]).await
    }

    /// `/userinfo` with a proof.
    async fn userinfo(&mut self, world: &World, token: &str) -> Answer {
        let proof = self.prove(world, "GET", USERINFO, Some(token));
        userinfo(world, &format!("DPoP {token}"), Some(&proof)).await
    }
}

async fn userinfo(world: &World, authorization: &str, proof: Option<&str>) -> Answer {
    let mut agent = world.agent();
    agent.extra.push(("authorization", authorization.to_owned()));
    agent.extra.extend(proof.map(|proof| ("dpop", proof.to_owned())));
    agent.get("/userinfo").await
}

/// A token request of a client, with these proofs.
async fn token(world: &World, client: &Client, form: &[(&str, &str)], proofs: &[&str]) -> Answer {
    let mut agent = caller(world, client);
    agent.extra.extend(proofs.iter().map(|proof| ("dpop", (*proof).to_owned())));
    let mut form = form.to_vec();
    if client.is_public() {
        form.push(("client_id", &client.client_id));
    }
    agent.post("/oauth/token", &form).await
}

fn caller<'w>(world: &'w World, client: &Client) -> Agent<'w> {
    let mut agent = world.agent();
    if let (false, Some(secret)) = (client.is_public(), &client.client_secret) {
        agent.extra.push(("authorization", basic(&client.client_id, secret.expose())));
    }
    agent
}

/// The code of a login for this client, and the form that redeems it.
async fn code(world: &World, client: &Client, extra: &[(&str, &str)]) -> Vec<(&'static str, String)> {
    let mut params = vec![("client_id", client.client_id.as_str())];
    params.extend(extra);
    let code = world.agent().code(&params).await;
    vec![
        ("grant_type", "authorization_code".to_owned()),
        ("code", code),
        ("redirect_uri", CALLBACK.to_owned()),
        ("code_verifier", VERIFIER.to_owned()),
    ]
}

fn borrowed<'a>(form: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    form.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

#[track_caller]
fn is_refused(answer: &Answer, error: &str) {
    assert!(answer.status.is_client_error(), "{answer:?}");
    assert_eq!(answer.json()["error"], error, "{}", answer.body);
}

async fn public_client(world: &World) -> Client {
    world.client(json!({"app_type": "spa", "grant_types": ["authorization_code", "refresh_token"]})).await
}

#[tokio::test]
async fn a_public_client_s_tokens_are_bound_to_its_key_and_so_are_its_refresh_tokens() {
    let world = World::new().await;
    let client = public_client(&world).await;
    let mut prover = Prover::new();
    let form = code(&world, &client, &[("scope", "openid offline_access")]).await;

    // First without the nonce: the code is not used up by that.
    let asked = prover.token(&world, &client, &borrowed(&form)).await;
    is_refused(&asked, "use_dpop_nonce");
    assert_eq!(asked.status, StatusCode::BAD_REQUEST);
    prover.nonce = asked.header("dpop-nonce").map(str::to_owned);
    let issued = prover.token(&world, &client, &borrowed(&form)).await;
    assert_eq!(issued.status, StatusCode::OK, "{}", issued.body);
    assert!(issued.header("dpop-nonce").is_some());
    let issued = issued.json();
    assert_eq!(issued["token_type"], "DPoP");

    let access = issued["access_token"].as_str().unwrap();
    assert_eq!(prover.userinfo(&world, access).await.status, StatusCode::OK);
    let as_bearer = userinfo(&world, &format!("Bearer {access}"), None).await;
    assert_eq!(as_bearer.status, StatusCode::UNAUTHORIZED);
    // RFC 9449 section 7.2: it is told which scheme there is besides.
    let schemes: Vec<_> = as_bearer.headers.get_all("www-authenticate").iter().collect();
    assert!(schemes.len() == 2 && schemes[1].to_str().unwrap().starts_with("DPoP algs="), "{schemes:?}");
    let without = userinfo(&world, &format!("DPoP {access}"), None).await;
    assert_eq!(without.status, StatusCode::UNAUTHORIZED);
    assert!(without.header("www-authenticate").unwrap().starts_with("DPoP error=\""), "{without:?}");
    let mut thief = Prover { nonce: prover.nonce.clone(), ..Prover::new() };
    assert_eq!(thief.userinfo(&world, access).await.status, StatusCode::UNAUTHORIZED);
    let forgetful = Prover { nonce: None, key: prover.key, made: 100 };
    let mut prover = forgetful;
    let asked = prover.userinfo(&world, access).await;
    assert_eq!(asked.status, StatusCode::UNAUTHORIZED);
    assert!(asked.header("www-authenticate").unwrap().contains("use_dpop_nonce"), "{asked:?}");
    prover.nonce = asked.header("dpop-nonce").map(str::to_owned);

    let refresh = issued["refresh_token"].as_str().unwrap();
    let form = [("grant_type", "refresh_token"), ("refresh_token", refresh)];
    is_refused(&thief.token(&world, &client, &form).await, "invalid_grant");
    is_refused(&token(&world, &client, &form, &[]).await, "invalid_grant");
    let again = prover.token(&world, &client, &form).await;
    assert_eq!((again.status, &again.json()["token_type"]), (StatusCode::OK, &json!("DPoP")), "{again:?}");
}

#[tokio::test]
async fn o09_a_proof_counts_once_and_only_for_what_it_was_made() {
    let world = World::new().await;
    let client = world.client(json!({"grant_types": ["client_credentials"]})).await;
    world.grant(&client).await;
    let form = [("grant_type", "client_credentials"), ("audience", world.seeded.audience.as_str())];
    let mut prover = Prover::new();

    let proof = prover.prove(&world, "POST", TOKEN, None);
    let issued = token(&world, &client, &form, &[&proof]).await;
    assert_eq!(issued.status, StatusCode::OK, "{}", issued.body);
    let bound = claims(issued.json()["access_token"].as_str().unwrap());
    assert_eq!(bound["cnf"], json!({"jkt": prover.key.thumbprint()}));
    is_refused(&token(&world, &client, &form, &[&proof]).await, "invalid_dpop_proof");

    let other_method = prover.prove(&world, "GET", TOKEN, None);
    let other_url = prover.prove(&world, "POST", USERINFO, None);
    let old = prover.prove(&world, "POST", TOKEN, None);
    for proof in [&other_method, &other_url, "x", ""] {
        is_refused(&token(&world, &client, &form, &[proof]).await, "invalid_dpop_proof");
    }
    let (one, two) = (prover.prove(&world, "POST", TOKEN, None), prover.prove(&world, "POST", TOKEN, None));
    is_refused(&token(&world, &client, &form, &[&one, &two]).await, "invalid_dpop_proof");
    prover.nonce = Some("made up".to_owned());
    is_refused(&prover.token(&world, &client, &form).await, "use_dpop_nonce");
    world.clock.advance(Duration::from_secs(61));
    is_refused(&token(&world, &client, &form, &[&old]).await, "invalid_dpop_proof");
}

#[tokio::test]
async fn a_code_may_be_bound_to_a_key_from_the_start() {
    let world = World::new().await;
    let client = world.client(json!({"grant_types": ["authorization_code"]})).await;
    let (mut owner, mut thief) = (Prover::new(), Prover::new());
    for (prover, good) in [(&mut thief, false), (&mut owner, true)] {
        let jkt = if good { prover.key.thumbprint().to_owned() } else { "x".repeat(43) };
        let form = code(&world, &client, &[("dpop_jkt", &jkt)]).await;
        let answer = prover.token(&world, &client, &borrowed(&form)).await;
        if good {
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        } else {
            is_refused(&answer, "invalid_grant");
        }
    }
    let jkt = owner.key.thumbprint().to_owned();
    let form = code(&world, &client, &[("dpop_jkt", &jkt)]).await;
    is_refused(&token(&world, &client, &borrowed(&form), &[]).await, "invalid_grant");
}

#[tokio::test]
async fn clients_and_apis_may_demand_bound_tokens() {
    let world = World::new().await;
    let strict = world
        .client(json!({"grant_types": ["client_credentials"], "require_proof_of_possession": true}))
        .await;
    let lax = world.client(json!({"grant_types": ["client_credentials"]})).await;
    for client in [&strict, &lax] {
        world.grant(client).await;
    }
    let form = [("grant_type", "client_credentials"), ("audience", world.seeded.audience.as_str())];
    is_refused(&token(&world, &strict, &form, &[]).await, "invalid_request");
    assert_eq!(token(&world, &lax, &form, &[]).await.status, StatusCode::OK);
    world.change_api(json!({"proof_of_possession": {"mechanism": "dpop", "required": true}})).await;
    is_refused(&token(&world, &lax, &form, &[]).await, "invalid_request");
    let mut prover = Prover::new();
    for client in [&strict, &lax] {
        let answer = prover.token(&world, client, &form).await;
        assert_eq!((answer.status, &answer.json()["token_type"]), (StatusCode::OK, &json!("DPoP")));
    }
}

#[tokio::test]
async fn introspection_says_what_a_token_is_bound_to() {
    let world = World::new().await;
    let client = world.client(json!({"grant_types": ["authorization_code"]})).await;
    let mut prover = Prover::new();
    let form = code(&world, &client, &[]).await;
    let issued = prover.token(&world, &client, &borrowed(&form)).await.json();
    let form = [("token", issued["access_token"].as_str().unwrap())];
    let described = caller(&world, &client).post("/oauth/introspect", &form).await.json();
    assert_eq!(described["token_type"], "DPoP", "{described}");
    assert_eq!(described["cnf"], json!({"jkt": prover.key.thumbprint()}));
}

fn certificate(name: &str, trusted: bool) -> ClientCertificate {
    let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    ClientCertificate::new(params.self_signed(&key).unwrap().der().to_vec(), trusted)
}

#[tokio::test]
async fn a_token_that_is_bound_to_a_certificate_needs_it_at_userinfo_too() {
    let world = World::new().await;
    let settings = json!({
        "grant_types": ["authorization_code"], "tls_client_certificate_bound_access_tokens": true,
    });
    let client = world.client(settings).await;
    let (own, other) = (certificate("client.example", false), certificate("client.example", false));
    let form = code(&world, &client, &[]).await;
    is_refused(&token(&world, &client, &borrowed(&form), &[]).await, "invalid_request");
    let mut agent = caller(&world, &client);
    agent.certificate = Some(own.clone());
    let issued = agent.post("/oauth/token", &borrowed(&form)).await;
    assert_eq!(
        (issued.status, &issued.json()["token_type"]),
        (StatusCode::OK, &json!("Bearer")),
        "{issued:?}"
    );
    let access = issued.json()["access_token"].as_str().unwrap().to_owned();
    for (shown, status) in [
        (Some(own), StatusCode::OK),
        (Some(other), StatusCode::UNAUTHORIZED),
        (None, StatusCode::UNAUTHORIZED),
    ] {
        let mut agent = world.agent();
        agent.certificate = shown;
        agent.extra.push(("authorization", format!("Bearer {access}")));
        assert_eq!(agent.get("/userinfo").await.status, status);
    }
}

#[tokio::test]
async fn discovery_says_where_certificates_count() {
    let world = World::new().await;
    let mut agent = world.agent();
    agent.host = HTTPS;
    let document: Value = agent.get("/.well-known/openid-configuration").await.json();
    let alias = &document["mtls_endpoint_aliases"];
    assert_eq!(alias["token_endpoint"], "https://localhost:9402/oauth/token", "{document}");
    assert_eq!(alias["userinfo_endpoint"], "https://localhost:9402/userinfo");
    assert_eq!(document["tls_client_certificate_bound_access_tokens"], true);
    agent.host = "localhost:9402";
    let same = agent.get("/.well-known/openid-configuration").await.json();
    assert_eq!(same["issuer"], "https://localhost:9401/");
    let plain = world.agent().get("/.well-known/openid-configuration").await.json();
    assert!(plain.get("mtls_endpoint_aliases").is_none());
    assert!(
        !plain["token_endpoint_auth_methods_supported"]
            .as_array()
            .unwrap()
            .contains(&json!("tls_client_auth"))
    );
    assert!(plain["dpop_signing_alg_values_supported"].as_array().unwrap().contains(&json!("ES256")));
}
