use std::{sync::Arc, time::Duration};

use base::{Random, Secret};
use http::{HeaderMap, HeaderValue, header};
use jose::{Alg, CompactJws, SigningKey};
use oauth::{ErrorCode, Verifier, dpop::ProofKey};
use serde_json::{Value, json};

use super::{
    super::{
        Assertions, Client, Grant, Introspecting, Possession, Provider, ProviderError, TokenAuth, Userinfo,
    },
    NOW, Op, providers, source,
};
use crate::provider::tests::op::Reply;

const DISCOVERY: &str = "/.well-known/openid-configuration";

fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

fn client() -> Client {
    let timeout = Duration::from_secs(2);
    let client =
        Client::with_secret("my:client".to_owned(), secret("canary secret"), TokenAuth::Basic, timeout);
    Client { introspection_auth: TokenAuth::Post, ..client }
}

fn asking(endpoint: Option<String>) -> Introspecting {
    Introspecting { endpoint, token_param: "token".to_owned(), params: Vec::new(), always_asks: false }
}

async fn provider(op: &Op) -> Arc<Provider> {
    let (providers, _clock) = providers();
    let provider = providers.provider(&source(op)).unwrap();
    provider.ready().await.unwrap();
    provider
}

fn tokens() -> Reply {
    Reply::json(
        &json!({ "access_token": "at", "token_type": "Bearer", "expires_in": 60, "id_token": "a.b.c" }),
    )
}

#[tokio::test]
async fn a_code_is_exchanged_with_basic_and_the_verifier() {
    let op = Op::start().await;
    op.set("/token", tokens());
    let provider = provider(&op).await;
    let verifier = Verifier::generate(&Random::seeded(1));
    let redirect = "http://localhost/cb?a=b";
    let response =
        provider.exchange_code(&client(), "co&de", redirect, Some(&verifier)).await.unwrap().tokens;
    assert_eq!(response.access_token.expose(), "at");
    let seen = op.last("/token");
    // base64 of "my%3Aclient:canary+secret"
    assert!(seen.head.contains("authorization: Basic bXklM0FjbGllbnQ6Y2FuYXJ5K3NlY3JldA=="), "{}", seen.head);
    assert!(seen.head.contains("accept: application/json"));
    assert_eq!(
        seen.body,
        format!(
            "grant_type=authorization_code&code=co%26de&redirect_uri=http%3A%2F%2Flocalhost%2Fcb%3Fa%3Db&code_verifier={}",
            verifier.expose()
        )
    );
}

#[tokio::test]
async fn the_secret_goes_into_the_body_where_the_provider_takes_it_only_there() {
    let op = Op::start().await;
    let listed = json!({ "token_endpoint_auth_methods_supported": ["client_secret_post"] });
    op.set(DISCOVERY, Reply::json(&op.metadata_with(&listed)));
    op.set("/token", tokens());
    let provider = provider(&op).await;
    provider.refresh(&client(), &secret("rt"), Some("openid email")).await.unwrap();
    let seen = op.last("/token");
    assert!(!seen.head.contains("authorization:"));
    assert_eq!(
        seen.body,
        "grant_type=refresh_token&refresh_token=rt&scope=openid+email&client_id=my%3Aclient&client_secret=canary+secret"
    );
    let public = Client { client_secret: None, ..client() };
    provider.refresh(&public, &secret("rt"), None).await.unwrap();
    assert_eq!(op.last("/token").body, "grant_type=refresh_token&refresh_token=rt&client_id=my%3Aclient");
}

#[tokio::test]
async fn a_provider_that_says_no_is_told_from_one_that_cannot() {
    let op = Op::start().await;
    let provider = provider(&op).await;
    let no = json!({ "error": "invalid_grant", "error_description": "used" }).to_string();
    let later = json!({ "error": "temporarily_unavailable" }).to_string();
    for (reply, denied) in [
        (Reply::of(400, no.clone()), true),
        (Reply::of(403, no.clone()), true),
        (Reply::of(400, later), false),
        (Reply::of(400, "<html>"), false),
        (Reply::of(429, no.clone()), false),
        (Reply::of(503, no.clone()), false),
        (Reply::of(302, no), false),
    ] {
        op.set("/token", reply);
        let error = provider.refresh(&client(), &secret("rt"), None).await.unwrap_err();
        assert_eq!(
            error.denial().is_some_and(|error| error.code == ErrorCode::InvalidGrant),
            denied,
            "{error}"
        );
    }
}

#[tokio::test]
async fn r38_junk_from_the_token_endpoint_is_an_error_without_secrets() {
    let op = Op::start().await;
    let provider = provider(&op).await;
    let with = |members: &str| {
        Reply::of(200, format!(r#"{{"access_token":"canary","token_type":"Bearer"{members}}}"#))
    };
    for junk in [
        Reply::of(500, "canary"),
        Reply::of(200, "<html>canary</html>"),
        with(r#","access_token":"canary2""#),
        Reply::of(200, r#"{"access_token":1,"token_type":"Bearer"}"#),
        with(r#","expires_in":-1"#),
        with(r#","expires_in":"x""#),
        with(r#","expires_in":1e30"#),
        Reply::of(204, ""),
        Reply::of(200, ""),
        Reply::of(200, vec![b' '; 2 << 20]),
        Reply::Drip,
        Reply::Cut,
    ] {
        op.set("/token", junk);
        let error =
            provider.exchange_code(&client(), "canary", "http://localhost/cb", None).await.unwrap_err();
        assert!(error.denial().is_none(), "{error}");
        assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    }
}

#[tokio::test]
async fn j51_only_a_clear_yes_makes_a_token_active() {
    let op = Op::start().await;
    let provider = provider(&op).await;
    let ask = |endpoint: Option<String>| {
        let provider = provider.clone();
        async move {
            let token = secret("canary");
            provider.introspect(&client(), &asking(endpoint), &token, &HeaderMap::new()).await
        }
    };
    op.set("/introspect", Reply::json(&json!({ "active": true, "sub": "s", "token": "canary" })));
    assert_eq!(ask(None).await.unwrap().unwrap().sub(), Some("s"));
    for lie in [
        json!({ "active": "true" }),
        json!({ "active": 1 }),
        json!({ "active": false }),
        json!({ "active": true, "token": "another" }),
        json!({ "active": true, "token": null }),
        json!({}),
    ] {
        op.set("/introspect", Reply::json(&lie));
        assert_eq!(ask(None).await, Ok(None), "{lie}");
    }
    for broken in
        [Reply::of(500, "{\"active\":true}"), Reply::of(200, vec![b' '; 10 << 20]), Reply::Drip, Reply::Cut]
    {
        op.set("/introspect", broken);
        let error = ask(None).await.unwrap_err();
        assert!(error.denial().is_none() && !format!("{error:?}").contains("canary"), "{error:?}");
    }
    op.set("/introspect", Reply::of(401, json!({ "error": "invalid_client" }).to_string()));
    assert!(ask(None).await.unwrap_err().denial().is_some());
    op.set("/elsewhere", Reply::json(&json!({ "active": true })));
    assert!(ask(Some(op.url("/elsewhere"))).await.unwrap().is_some());
}

#[tokio::test]
async fn further_headers_of_an_introspection_do_not_replace_its_own() {
    let op = Op::start().await;
    let provider = provider(&op).await;
    op.set("/introspect", Reply::json(&json!({ "active": true })));
    let mut headers = HeaderMap::new();
    headers.insert("x-tenant", HeaderValue::from_static("t"));
    headers.insert(header::AUTHORIZATION, HeaderValue::from_static("Bearer evil"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/evil"));
    let basic = Client { introspection_auth: TokenAuth::Basic, ..client() };
    provider.introspect(&basic, &asking(None), &secret("t"), &headers).await.unwrap();
    let head = op.last("/introspect").head;
    assert!(
        head.contains("x-tenant: t") && head.contains("authorization: Basic") && !head.contains("evil"),
        "{head}"
    );
    assert_eq!(op.last("/introspect").body, "token=t&token_type_hint=access_token");
}

#[tokio::test]
async fn userinfo_is_a_json_object_or_says_that_it_is_a_jwt() {
    let op = Op::start().await;
    let provider = provider(&op).await;
    let ask = async || provider.userinfo(&client(), &secret("at")).await;
    op.set("/userinfo", Reply::json(&json!({ "sub": "s" })));
    let Ok(Userinfo::Plain(claims)) = ask().await else { panic!("no claims") };
    assert_eq!(claims.get("sub"), Some(&json!("s")));
    assert!(op.last("/userinfo").head.contains("authorization: Bearer at"));
    op.set("/userinfo", Reply::with(200, "content-type: application/jwt; charset=utf-8\r\n", "a.b.c\n"));
    assert!(matches!(ask().await, Ok(Userinfo::Signed(text)) if text.expose() == "a.b.c"));
    for junk in ["[]", "", r#"{"sub":"a","sub":"b"}"#] {
        op.set("/userinfo", Reply::of(200, junk));
        assert!(matches!(ask().await, Err(ProviderError::Junk { .. })), "{junk}");
    }
}

fn field(body: &str, name: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(body.as_bytes());
    pairs.find(|(own, _)| own == name).map(|(_, value)| value.into_owned())
}

/// The claims of a JWS, verified with `key`.
fn claims(token: &str, key: &jose::VerifyingKey) -> Value {
    serde_json::from_slice(&CompactJws::parse(token).unwrap().verify(key).unwrap()).unwrap()
}

#[tokio::test]
async fn an_assertion_takes_the_place_of_the_secret_at_every_endpoint() {
    let op = Op::start().await;
    op.set("/token", tokens());
    op.set("/introspect", Reply::json(&json!({ "active": true })));
    op.set("/revoke", Reply::of(200, ""));
    op.set("/par", Reply::of(201, json!({ "request_uri": "urn:x:1", "expires_in": 60 }).to_string()));
    let provider = provider(&op).await;
    let key = SigningKey::generate(Alg::ES256, "k-1".to_owned()).unwrap();
    let public = key.verifying_key();
    let assertions = Assertions {
        deployments: None,
        secret: None,
        key: Some(Ok(key)),
        lifetime: Duration::from_secs(60),
        audience: None,
        random: Random::seeded(1),
    };
    let client = Client {
        token_auth: TokenAuth::PrivateKeyJwt,
        introspection_auth: TokenAuth::PrivateKeyJwt,
        assertions: Some(Arc::new(assertions)),
        ..client()
    };
    provider.refresh(&client, &secret("rt"), None).await.unwrap();
    provider.introspect(&client, &asking(None), &secret("t"), &HeaderMap::new()).await.unwrap();
    provider.revoke(&client, &secret("rt"), "refresh_token").await.unwrap();
    let par = op.url("/par");
    let pushed =
        provider.push(&client, Some(&par), None, &[("client_id", "my:client"), ("state", "s")]).await;
    assert_eq!(pushed.unwrap(), "urn:x:1");
    let mut ids = Vec::new();
    for endpoint in ["/token", "/introspect", "/revoke", "/par"] {
        let seen = op.last(endpoint);
        assert!(!seen.head.contains("authorization:") && !seen.body.contains("canary"), "{endpoint}");
        let kind = field(&seen.body, "client_assertion_type").unwrap();
        assert_eq!(kind, "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
        let claims = claims(&field(&seen.body, "client_assertion").unwrap(), &public);
        assert_eq!((&claims["iss"], &claims["sub"]), (&json!("my:client"), &json!("my:client")));
        assert_eq!(claims["aud"], json!(op.url(endpoint)));
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 60);
        assert_eq!(seen.body.matches("client_id=").count(), 1, "{endpoint}: {}", seen.body);
        ids.push(claims["jti"].to_string());
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 4);
}

#[tokio::test]
async fn a_pushed_request_that_is_not_taken_is_an_error() {
    let op = Op::start().await;
    let provider = provider(&op).await;
    let par = op.url("/par");
    let push = async || provider.push(&client(), Some(&par), None, &[("client_id", "my:client")]).await;
    op.set("/par", Reply::of(400, json!({ "error": "invalid_request" }).to_string()));
    assert!(push().await.unwrap_err().denial().is_some());
    for junk in [
        Reply::of(201, "{}"),
        Reply::of(201, r#"{"request_uri":""}"#),
        Reply::of(201, r#"{"request_uri":"a b"}"#),
        Reply::of(201, r#"{"request_uri":1}"#),
        Reply::of(500, "{}"),
        Reply::Cut,
    ] {
        op.set("/par", junk);
        assert!(push().await.unwrap_err().denial().is_none());
    }
    assert_eq!(op.last("/par").body, "client_id=my%3Aclient", "also beside Basic (RFC 9126 section 2)");
    let missing = provider.push(&client(), None, None, &[]).await.unwrap_err();
    assert_eq!(missing, ProviderError::Missing("pushed_authorization_request_endpoint"));
}

#[tokio::test]
async fn a_bound_client_proves_its_key_and_answers_for_a_nonce_once() {
    let op = Op::start().await;
    let provider = provider(&op).await;
    let key = ProofKey::new(SigningKey::generate(Alg::ES256, "k".to_owned()).unwrap()).unwrap();
    let public = jose::VerifyingKey::from_public_jwk(key.jwk()).unwrap();
    let possession = Some(Arc::new(Possession::new(key, Random::seeded(1))));
    let client = Client { possession, ..client() };
    let proof = |path: &str| {
        let head = op.last(path).head;
        let line = head.lines().find_map(|line| line.strip_prefix("dpop: ")).unwrap().to_owned();
        claims(&line, &public)
    };
    let nonce = "content-type: application/json\r\ndpop-nonce: n-1\r\n";
    let body = json!({ "error": "use_dpop_nonce" }).to_string();
    op.set("/token", Reply::with(400, nonce, body));
    let error = provider.refresh(&client, &secret("rt"), None).await.unwrap_err();
    assert_eq!(error.denial().unwrap().code, ErrorCode::UseDpopNonce);
    assert_eq!(op.hits("/token"), 2, "asked again once, and no more");
    assert_eq!(proof("/token")["nonce"], "n-1");
    let bound = json!({ "access_token": "at", "token_type": "DPoP", "expires_in": 60 });
    op.set("/token", Reply::with(200, "dpop-nonce: n-2\r\n", bound.to_string()));
    provider.refresh(&client, &secret("rt"), None).await.unwrap();
    assert_eq!((op.hits("/token"), &proof("/token")["nonce"]), (3, &json!("n-1")), "remembered");
    provider.refresh(&client, &secret("rt"), None).await.unwrap();
    let sent = proof("/token");
    assert_eq!(
        (&sent["nonce"], &sent["htm"], &sent["htu"]),
        (&json!("n-2"), &json!("POST"), &json!(op.url("/token")))
    );
    assert!(sent.get("ath").is_none());

    op.set("/userinfo", Reply::json(&json!({ "sub": "s" })));
    provider.userinfo(&client, &secret("at")).await.unwrap();
    assert!(op.last("/userinfo").head.contains("authorization: DPoP at"));
    let sent = proof("/userinfo");
    assert!(sent["ath"].is_string() && sent.get("nonce").is_none(), "another server's nonce: {sent}");
    let challenge = "www-authenticate: DPoP error=\"use_dpop_nonce\"\r\ndpop-nonce: u-1\r\n";
    op.set("/userinfo", Reply::with(401, challenge, ""));
    assert!(provider.userinfo(&client, &secret("at")).await.is_err());
    assert_eq!((op.hits("/userinfo"), &proof("/userinfo")["nonce"]), (3, &json!("u-1")));
}

#[tokio::test]
async fn an_introspection_is_asked_for_as_it_is_configured() {
    let op = Op::start().await;
    let provider = provider(&op).await;
    op.set("/introspect", Reply::json(&json!({ "active": true, "sub": "s" })));
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let how = Introspecting {
        token_param: "access_token".to_owned(),
        params: vec![pair("realm", "r"), pair("token_type_hint", "jwt")],
        ..asking(None)
    };
    let ask = async |how: &Introspecting, headers: &HeaderMap| {
        let until = |answer: Option<&crate::provider::Introspected>| {
            Some(answer.map_or(NOW, |answer| answer.at) + Duration::from_secs(60))
        };
        provider.introspected(&client(), how, &secret("t"), headers, &[0; 32], until).await.unwrap()
    };
    let none = HeaderMap::new();
    assert!(ask(&how, &none).await.is_some());
    assert!(op.last("/introspect").body.starts_with("access_token=t&realm=r&token_type_hint=jwt&client_id="));
    ask(&how, &none).await;
    assert_eq!(op.hits("/introspect"), 1);
    let mut headers = HeaderMap::new();
    headers.insert("x-tenant", HeaderValue::from_static("t"));
    ask(&how, &headers).await;
    ask(&how, &headers).await;
    assert_eq!(op.hits("/introspect"), 2, "another header is another question");
    let always = Introspecting { always_asks: true, ..how.clone() };
    ask(&always, &none).await;
    ask(&always, &none).await;
    assert_eq!(op.hits("/introspect"), 4);
    op.set("/introspect", Reply::json(&json!({ "active": false })));
    let other = Introspecting { params: Vec::new(), ..how };
    assert_eq!(ask(&other, &none).await, None);
    assert_eq!(ask(&other, &none).await, None);
    assert_eq!(op.hits("/introspect"), 5, "a no is remembered where it is asked for");
    let jwt = "content-type: application/token-introspection+jwt\r\n";
    op.set("/introspect", Reply::with(200, jwt, r#"{"active":true}"#));
    let error = provider.introspect(&client(), &asking(None), &secret("t"), &none).await.unwrap_err();
    assert!(matches!(error, ProviderError::Junk { .. }), "{error}");
}

#[tokio::test]
async fn a_token_is_revoked_where_the_provider_can() {
    let op = Op::start().await;
    op.set("/revoke", Reply::of(200, ""));
    provider(&op).await.revoke(&client(), &secret("rt"), "refresh_token").await.unwrap();
    assert_eq!(op.last("/revoke").body, "token=rt&token_type_hint=refresh_token");
    op.set(DISCOVERY, Reply::json(&op.metadata_with(&json!({ "revocation_endpoint": null }))));
    let error = provider(&op).await.revoke(&client(), &secret("rt"), "refresh_token").await.unwrap_err();
    assert_eq!(error, ProviderError::Missing("revocation_endpoint"));
}

#[tokio::test]
async fn a_client_obtains_a_token_for_itself_and_cannot_be_made_to_ask_as_somebody_else() {
    let op = Op::start().await;
    op.set("/token", tokens());
    let provider = provider(&op).await;
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let args = [
        pair("audience", "https://example.com/"),
        pair("grant_type", "password"),
        pair("client_id", "other"),
    ];
    let response =
        provider.grant(&client(), Grant::ClientCredentials, Some("openid"), &args).await.unwrap().tokens;
    assert_eq!(response.access_token.expose(), "at");
    let seen = op.last("/token");
    assert!(seen.head.contains("authorization: Basic bXklM0FjbGllbnQ6Y2FuYXJ5K3NlY3JldA=="), "{}", seen.head);
    assert_eq!(seen.body, "grant_type=client_credentials&scope=openid&audience=https%3A%2F%2Fexample.com%2F");
}
