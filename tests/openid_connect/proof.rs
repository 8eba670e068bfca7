//! J54 and J55: tokens that are bound to a key or to a certificate, and what passes for a proof of it.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::future::join_all;
use jose::{Alg, SigningKey, thumbprint};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose};
use serde_json::{Value, json};

use super::{CLIENT, guarded};
use crate::support::{
    Answer, Connection, Portcullis, Provider, Request, Response, Site, shared,
    tls::{self, Authority, Identity, Wanted},
    tokens, unique,
};

/// A client with a key of its own.
pub(super) struct Prover {
    key: SigningKey,
    jwk: Value,
}

impl Prover {
    pub(super) fn new() -> Self {
        let key = tokens::key(Alg::ES256, "proof");
        let public = key.public_jwk();
        let jwk = json!({"kty": public["kty"], "crv": public["crv"], "x": public["x"], "y": public["y"]});
        Self { key, jwk }
    }

    /// `cnf` of a token that is bound to the key.
    pub(super) fn cnf(&self) -> Value {
        json!({"cnf": {"jkt": thumbprint(&self.jwk).unwrap()}})
    }

    /// A proof for one `GET` with this token, altered by `change` before it is signed.
    fn proof(&self, site: &Site, token: &str, change: impl FnOnce(&mut Value, &mut Value)) -> String {
        let mut header = json!({"typ": "dpop+jwt", "jwk": self.jwk});
        let mut claims = json!({
            "jti": unique("jti-"), "htm": "GET", "htu": format!("http://localhost{}", site.target("api")),
            "iat": tokens::now(), "ath": encoded_digest(token.as_bytes()),
        });
        change(&mut header, &mut claims);
        self.key.sign_with_header(header.as_object().unwrap(), claims.to_string().as_bytes()).unwrap()
    }

    pub(super) fn good(&self, site: &Site, token: &str) -> String {
        self.proof(site, token, |_, _| ())
    }
}

fn encoded_digest(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, bytes))
}

fn request(site: &Site, scheme: &str, token: &str, proofs: &[&str]) -> Request {
    let request = Request::get(&site.target("api")).header("Authorization", &format!("{scheme} {token}"));
    proofs.iter().fold(request, |request, proof| request.header("DPoP", proof))
}

pub(super) async fn send(site: &Site, scheme: &str, token: &str, proofs: &[&str]) -> Response {
    site.gate.send(request(site, scheme, token, proofs)).await
}

/// Fails the test unless the answer is the 401 of RFC 9449 with this error, and nothing reached the upstream.
fn expect_unproven(site: &Site, reached: usize, what: &str, answer: &Response, error: &str) {
    let challenge = answer.header("www-authenticate").unwrap_or_default();
    assert_eq!(answer.status, 401, "{what}: {answer:?}");
    assert!(challenge.starts_with(&format!(r#"DPoP error="{error}""#)), "{what}: {challenge}");
    assert!(challenge.contains(r#"algs="ES256 "#), "{what}: {challenge}");
    assert_eq!(site.reached(), reached, "{what} reached the upstream");
}

/// Access tokens are made to be used more than once, and no route asks for otherwise. What is for one use is taken once:
/// here a proof; a logout token and a `state` have tests that carry this number as well, on one node and on two.
#[tokio::test]
async fn j35_a_proof_counts_once_and_the_token_it_is_for_again_and_again() {
    let provider = Provider::start(CLIENT);
    let site = guarded(shared(), &provider, json!({"bearer_only": true, "use_jwks": true})).await;
    let client = Prover::new();
    let token = provider.access_token(&client.cnf());
    for round in 1..=3 {
        let proof = client.good(&site, &token);
        assert_eq!(send(&site, "DPoP", &token, &[&proof]).await.status, 200);
        let again = send(&site, "DPoP", &token, &[&proof]).await;
        expect_unproven(&site, round, "a proof that was used", &again, "invalid_dpop_proof");
    }
}

#[tokio::test]
async fn j54_a_proof_is_for_the_host_that_the_client_named_to_a_trusted_proxy() {
    let (gate, _) = Portcullis::production("trusted_proxies: [127.0.0.0/8]");
    let (gate, provider, client) = (Arc::new(gate), Provider::start(CLIENT), Prover::new());
    let further = json!({"bearer_only": true, "use_jwks": true});
    let [trusting, other] =
        [guarded(gate, &provider, further.clone()).await, guarded(shared(), &provider, further).await];
    let token = provider.access_token(&client.cnf());
    for (site, origin, status) in [
        (&trusting, "https://app.example", 200),
        (&trusting, "http://app.example", 401),
        (&trusting, "https://internal:9080", 401),
        (&other, "https://app.example", 401),
        (&other, "http://internal:9080", 200),
    ] {
        let htu = format!("{origin}{}", site.target("api"));
        let proof = client.proof(site, &token, |_, claims| claims["htu"] = json!(htu));
        let request = request(site, "DPoP", &token, &[&proof]).header("Host", "internal:9080");
        let told = request.header("X-Forwarded-Host", "app.example").header("X-Forwarded-Proto", "https");
        assert_eq!(site.gate.send(told).await.status, status, "{origin}");
    }
}

#[tokio::test]
async fn j54_a_token_that_is_bound_to_a_key_needs_a_fresh_proof_for_every_request() {
    let provider = Provider::start(CLIENT);
    let site = guarded(shared(), &provider, json!({"bearer_only": true, "use_jwks": true})).await;
    let (client, thief) = (Prover::new(), Prover::new());
    let token = provider.access_token(&client.cnf());
    for round in 1..=3 {
        // The first is about a token that nobody has verified yet, the others are about one that is known.
        let answer = send(&site, "DPoP", &token, &[&client.good(&site, &token)]).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(site.reached(), round);
        let seen = site.last();
        assert!(seen.header("dpop").is_none(), "the proof is for the gateway alone");
        assert_eq!(seen.header("x-access-token"), Some(token.as_str()));
    }
    let dpop = send(&site, "dpop", &token, &[&client.good(&site, &token)]).await;
    assert_eq!((dpop.status, site.reached()), (200, 4), "a scheme has no case");

    let claim = |name: &'static str, value: Value| {
        client.proof(&site, &token, move |_, claims| match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value,
        })
    };
    let header = |change: fn(&mut Value)| client.proof(&site, &token, |header, _| change(header));
    let secret = tokens::key(Alg::HS256, "secret");
    let symmetric = Prover { key: secret, jwk: client.jwk.clone() }.good(&site, &token);
    let good = client.good(&site, &token);
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let payload = good.split('.').nth(1).unwrap();
    let none = part(json!({"typ": "dpop+jwt", "alg": "none", "jwk": client.jwk}));
    let now = tokens::now();
    let used = client.good(&site, &token);
    assert_eq!(send(&site, "DPoP", &token, &[&used]).await.status, 200);
    let elsewhere = format!("http://localhost{}", site.target("other"));
    for (what, proof) in [
        ("no htm", claim("htm", Value::Null)),
        ("no htu", claim("htu", Value::Null)),
        ("no ath", claim("ath", Value::Null)),
        ("no jti", claim("jti", Value::Null)),
        ("no iat", claim("iat", Value::Null)),
        ("another method", claim("htm", json!("POST"))),
        ("another path", claim("htu", json!(elsewhere))),
        ("another host", claim("htu", json!(format!("http://evil{}", site.target("api"))))),
        ("another scheme", claim("htu", json!(format!("https://localhost{}", site.target("api"))))),
        ("another token's", claim("ath", json!(encoded_digest(b"other")))),
        ("an old one", claim("iat", json!(now - 3600))),
        ("one of tomorrow", claim("iat", json!(now + 86_400))),
        ("one that was used", used),
        ("a private key in it", header(|header| header["jwk"]["d"] = json!("AAAA"))),
        ("no key in it", header(|header| drop(header.as_object_mut().unwrap().remove("jwk")))),
        ("another type", header(|header| header["typ"] = json!("JWT"))),
        ("a secret's signature", symmetric),
        ("no signature", format!("{none}.{payload}.AA")),
        ("a signature that is cut", good[..good.len() - 3].to_owned()),
        ("an access token", token.clone()),
        ("noise", "noise".to_owned()),
        ("nothing", String::new()),
    ] {
        let answer = send(&site, "DPoP", &token, &[&proof]).await;
        expect_unproven(&site, 5, what, &answer, "invalid_dpop_proof");
    }
    let answer = send(&site, "DPoP", &token, &[]).await;
    expect_unproven(&site, 5, "no proof", &answer, "invalid_dpop_proof");
    let answer = send(&site, "DPoP", &token, &[&good, &client.good(&site, &token)]).await;
    expect_unproven(&site, 5, "two proofs", &answer, "invalid_dpop_proof");
    let answer = send(&site, "DPoP", &token, &[&thief.good(&site, &token)]).await;
    expect_unproven(&site, 5, "another key", &answer, "invalid_token");
    for proofs in [&[][..], &[good.as_str()]] {
        let answer = send(&site, "Bearer", &token, proofs).await;
        expect_unproven(&site, 5, "as a bearer token", &answer, "invalid_token");
    }
    let free = provider.access_token(&json!({}));
    for proof in [client.good(&site, &free), "noise".to_owned()] {
        let answer = send(&site, "DPoP", &free, &[&proof]).await;
        expect_unproven(&site, 5, "a token that is bound to nothing", &answer, "invalid_token");
    }
    let forged = format!("{}x", free);
    let answer = send(&site, "DPoP", &forged, &[&client.good(&site, &forged)]).await;
    expect_unproven(&site, 5, "a forged token", &answer, "invalid_token");
    // What was refused before its `jti` was looked at is not used up.
    assert_eq!(send(&site, "DPoP", &token, &[&good]).await.status, 200);
}

#[tokio::test]
async fn j54_of_parallel_requests_with_one_proof_one_is_served() {
    let provider = Provider::start(CLIENT);
    let site = guarded(shared(), &provider, json!({"bearer_only": true, "use_jwks": true})).await;
    let client = Prover::new();
    let token = provider.access_token(&client.cnf());
    let proof = client.good(&site, &token);
    let proofs = [proof.as_str()];
    let answers = join_all((0..10).map(|_| send(&site, "DPoP", &token, &proofs))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
    assert_eq!(answers.iter().filter(|answer| answer.status == 401).count(), 9);
    assert_eq!(site.reached(), 1);
}

#[tokio::test]
async fn j54_an_introspected_token_that_is_bound_needs_its_proof_too() {
    let provider = Provider::start(CLIENT);
    let further =
        json!({"bearer_only": true, "introspection_endpoint": format!("{}introspect", provider.issuer())});
    let site = guarded(shared(), &provider, further).await;
    let client = Prover::new();
    let mut claims = json!({"active": true, "sub": "user-1", "exp": tokens::now() + 600});
    claims["cnf"] = client.cnf()["cnf"].clone();
    provider.lie("/introspect", move |_| Answer::json(&claims));
    for _ in 0..2 {
        let answer = send(&site, "Bearer", "opaque", &[]).await;
        expect_unproven(&site, 0, "as a bearer token", &answer, "invalid_token");
    }
    for reached in 1..=2 {
        assert_eq!(send(&site, "DPoP", "opaque", &[&client.good(&site, "opaque")]).await.status, 200);
        assert_eq!(site.reached(), reached);
    }
    assert_eq!(provider.hits("/introspect").len(), 1, "the verdict is kept, the proof is not");
    let answer = send(&site, "DPoP", "opaque", &[&Prover::new().good(&site, "opaque")]).await;
    expect_unproven(&site, 2, "another key", &answer, "invalid_token");
}

#[tokio::test]
async fn j54_a_route_may_take_bound_tokens_only() {
    let provider = Provider::start(CLIENT);
    let further = |proof: &str| json!({"bearer_only": true, "use_jwks": true, "require_proof": proof});
    let client = Prover::new();
    let (free, bound) = (provider.access_token(&json!({})), provider.access_token(&client.cnf()));
    for (required, served) in [("none", true), ("dpop", true), ("any", true), ("mtls", false)] {
        let site = guarded(shared(), &provider, further(required)).await;
        let answer = send(&site, "DPoP", &bound, &[&client.good(&site, &bound)]).await;
        assert_eq!(answer.status == 200, served, "{required}: {answer:?}");
        let answer = send(&site, "Bearer", &free, &[]).await;
        assert_eq!(answer.status == 200, required == "none", "{required}: {answer:?}");
        let asked = site.get("api").await;
        let asks = asked.all("www-authenticate");
        assert_eq!(asks[0], r#"Bearer realm="apisix""#);
        assert_eq!(asks.len() == 2, matches!(required, "dpop" | "any"), "{asks:?}");
        assert!(asks.iter().skip(1).all(|ask| ask.starts_with("DPoP algs=")), "{asks:?}");
    }
}

#[tokio::test]
async fn j55_a_token_that_is_bound_to_a_certificate_needs_the_connection_to_have_it() {
    let provider = Provider::start(CLIENT);
    let site = guarded(shared(), &provider, json!({"bearer_only": true, "use_jwks": true})).await;
    let (servers, clients, folder) = (Authority::new(), Authority::new(), tempfile::tempdir().unwrap());
    let (roots, host) = (folder.path().join("ca.pem"), format!("{}.example", unique("bound-")));
    std::fs::write(&roots, servers.pem()).unwrap();
    let server = servers.issue(&[&host], |_| {});
    let ssl = json!({"snis": [host], "cert": server.chain_pem(), "key": server.key_pem(),
                     "client": {"ca": clients.pem(), "skip_mtls_uri_regex": ["^/"]}});
    site.gate.admin().set(&format!("ssls/{}", unique("bound-")), &ssl).await;
    let ask = async |identity: Option<Identity>, headers: &[(&str, String)]| {
        let config = tls::client(&roots, &Wanted { identity, ..Wanted::default() });
        let stream = tls::handshake(config, site.gate.port(9443), &host).await.unwrap();
        let request = Request::get(&site.target("api")).header("Host", &host);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        request.send_over(Connection::over(stream)).await
    };
    check_certificates(&site, &provider, &clients, ask).await;
    // The same in the clear, where there is no certificate at all.
    let token = provider.access_token(&json!({"cnf": {"x5t#S256": encoded_digest(b"x")}}));
    super::expect_refused(&site, "a bound token in the clear", &token).await;
}

#[tokio::test]
async fn j55_a_listener_that_asks_for_certificates_binds_tokens_as_well() {
    let (provider, gate) = (Provider::start(CLIENT), shared());
    let site = guarded(Arc::clone(&gate), &provider, json!({"bearer_only": true, "use_jwks": true})).await;
    let clients = Authority::development(&gate);
    let ask = async |identity: Option<Identity>, headers: &[(&str, String)]| {
        let config = tls::client(&gate.authority(), &Wanted { identity, ..Wanted::default() });
        let stream = tls::handshake(config, gate.port(9444), "localhost").await.unwrap();
        let request = Request::get(&site.target("api"));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        request.send_over(Connection::over(stream)).await
    };
    check_certificates(&site, &provider, &clients, ask).await;
}

/// What a token that is bound to one client's certificate opens.
async fn check_certificates(
    site: &Site,
    provider: &Provider,
    clients: &Authority,
    ask: impl AsyncFn(Option<Identity>, &[(&str, String)]) -> Response,
) {
    let client = || {
        clients.issue(&["localhost"], |params: &mut CertificateParams| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        })
    };
    let (own, other) = (client(), client());
    let token = provider.access_token(&json!({"cnf": {"x5t#S256": encoded_digest(&own.chain[0])}}));
    let authorization = ("Authorization", format!("Bearer {token}"));
    let expect_refused = |what: &str, answer: &Response| {
        let challenge = answer.header("www-authenticate").unwrap_or_default();
        assert_eq!(answer.status, 401, "{what}: {answer:?}");
        assert!(challenge.starts_with(r#"Bearer realm="apisix", error="invalid_token""#), "{challenge}");
    };
    let reached = site.reached();
    expect_refused("no certificate", &ask(None, std::slice::from_ref(&authorization)).await);
    expect_refused("another certificate", &ask(Some(other), std::slice::from_ref(&authorization)).await);
    let pem = own.chain_pem().replace('\n', "%0A");
    let der = base64::engine::general_purpose::STANDARD.encode(&own.chain[0]);
    for (name, value) in [
        ("X-Client-Cert", pem.clone()),
        ("X-SSL-Client-Cert", pem.clone()),
        ("SSL-Client-Cert", pem.clone()),
        ("X-SSL-Client-Verify", "SUCCESS".to_owned()),
        ("Client-Cert", format!(":{der}:")),
        ("X-Forwarded-Client-Cert", format!("Hash={};Cert=\"{pem}\"", encoded_digest(&own.chain[0]))),
        ("X-Forwarded-Tls-Client-Cert", der.clone()),
    ] {
        expect_refused(name, &ask(None, &[authorization.clone(), (name, value)]).await);
    }
    assert_eq!(site.reached(), reached);
    for _ in 0..2 {
        let answer = ask(Some(own.clone()), std::slice::from_ref(&authorization)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    // A certificate makes nothing of a token that is bound to a key as well.
    let (prover, digest) = (Prover::new(), encoded_digest(&own.chain[0]));
    let mut cnf = prover.cnf();
    cnf["cnf"]["x5t#S256"] = json!(digest);
    let both = provider.access_token(&cnf);
    let answer = ask(Some(own), &[("Authorization", format!("Bearer {both}"))]).await;
    assert_eq!(answer.status, 401, "{answer:?}");
    assert_eq!(site.reached(), reached + 2);
}
