//! Kong's authentication plugins and access lists, at the engine: who gets in, what the others are told, and what the
//! upstream is told of those who do.

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jose::{Alg, SigningKey};
use serde_json::{Value, json};

use super::{
    World,
    upstream::{Echo, Engine},
};

const SECRET: &str = "a secret of thirty-two bytes or m";

struct Gate {
    world: World,
    engine: Engine,
}

/// A gate with one route and the consumer bob with every kind of credential.
async fn gate() -> Gate {
    let (world, echo) = (World::new().await, Echo::start().await);
    let engine = Engine::start(&world);
    let post = async |path: &str, body: Value| {
        let made = world.json("POST", path, body).await;
        assert_eq!(made.status, 201, "{path}: {made:?}");
    };
    post("/services", json!({"name": "s", "url": echo.url})).await;
    post("/services/s/routes", json!({"name": "r", "paths": ["/"]})).await;
    post("/consumers", json!({"username": "bob", "custom_id": "b1"})).await;
    post("/consumers", json!({"username": "nobody"})).await;
    post("/consumers/bob/key-auth", json!({"key": "bobs-key"})).await;
    post("/consumers/bob/basic-auth", json!({"username": "bob", "password": "secret"})).await;
    post("/consumers/bob/jwt", json!({"key": "issuer", "secret": SECRET})).await;
    post("/consumers/bob/hmac-auth", json!({"username": "bob", "secret": "shared"})).await;
    post("/consumers/bob/acls", json!({"group": "admins"})).await;
    Gate { world, engine }
}

impl Gate {
    async fn plugin(&self, name: &str, config: Value) {
        let body = json!({"name": name, "instance_name": name, "config": config});
        let made = self.world.json("PUT", &format!("/routes/r/plugins/{name}"), body).await;
        assert_eq!(made.status, 200, "{made:?}");
    }

    /// The answer is this status with this body and challenge.
    async fn refuses(
        &self,
        target: &str,
        headers: &[(&str, &str)],
        status: u16,
        body: &str,
        challenge: Option<&str>,
    ) {
        let answer = self.engine.get(target, headers).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{target} {headers:?}: {answer}");
        assert!(answer.ends_with(&format!("{body}\n")), "{target} {headers:?}: {answer}");
        let told = answer.lines().find_map(|line| line.strip_prefix("www-authenticate: "));
        assert_eq!(told, challenge, "{target} {headers:?}");
    }

    /// The upstream is told that this is bob, by this credential.
    async fn knows_bob(&self, target: &str, headers: &[(&str, &str)], credential: Option<&str>) -> String {
        let answer = self.engine.get(target, headers).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{target} {headers:?}: {answer}");
        assert!(
            answer.contains("x-consumer-username: bob\r\n")
                && answer.contains("x-consumer-custom-id: b1\r\n"),
            "{answer}"
        );
        assert!(answer.contains("x-consumer-id: ") && !answer.contains("x-anonymous-consumer"), "{answer}");
        let told = answer.lines().find_map(|line| line.strip_prefix("x-credential-identifier: "));
        if credential.is_some() {
            assert_eq!(told, credential);
        }
        answer
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_opens_from_header_and_query_and_only_once() {
    let gate = gate().await;
    gate.plugin("key-auth", json!({})).await;
    gate.refuses("/", &[], 401, r#"{"message":"No API key found in request"}"#, Some("Key")).await;
    gate.refuses("/", &[("apikey", "wrong")], 401, r#"{"message":"Unauthorized"}"#, Some("Key")).await;
    let twice = [("apikey", "bobs-key"), ("apikey", "bobs-key")];
    gate.refuses("/", &twice, 401, r#"{"message":"Duplicate API key found"}"#, Some("Key")).await;
    let forged = [("apikey", "bobs-key"), ("x-consumer-username", "eve"), ("X_Anonymous_Consumer", "true")];
    let seen = gate.knows_bob("/", &forged, None).await;
    assert!(seen.contains("apikey: bobs-key") && !seen.contains("eve"), "{seen}");
    gate.knows_bob("/?apikey=bobs-key&a=1", &[], None).await;
    gate.plugin(
        "key-auth",
        json!({"key_names": ["x-key"], "hide_credentials": true, "key_in_query": false, "realm": "r"}),
    )
    .await;
    let seen = gate.knows_bob("/?a=1", &[("x-key", "bobs-key")], None).await;
    assert!(!seen.contains("bobs-key"), "{seen}");
    let missing = r#"{"message":"No API key found in request"}"#;
    gate.refuses("/?x-key=bobs-key", &[], 401, missing, Some("Key realm=\"r\"")).await;
    let preflight = gate.engine.ask("OPTIONS", "/", &[]).await;
    assert!(preflight.starts_with("HTTP/1.1 401 "), "{preflight}");
    gate.plugin("key-auth", json!({"run_on_preflight": false})).await;
    let preflight = gate.engine.ask("OPTIONS", "/", &[]).await;
    assert!(preflight.starts_with("HTTP/1.1 200 "), "{preflight}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_opens_from_a_body_where_that_is_looked_at() {
    const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
    const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");
    let gate = gate().await;
    gate.plugin("key-auth", json!({"key_in_body": true, "key_names": ["x-key", "k"]})).await;
    let opens = async |content: (&str, &str), body: &str| {
        let answer = gate.engine.send("POST", "/", &[content], body).await;
        let kept = answer.ends_with(&format!("\r\n{body}"));
        (answer.starts_with("HTTP/1.1 200 ") && answer.contains("x-consumer-username: bob\r\n"), kept)
    };
    assert_eq!(opens(FORM, "a=1&k=bobs-key").await, (true, true));
    assert_eq!(opens(JSON, r#"{"a": 1, "x-key": "bobs-key"}"#).await, (true, true));
    for (content, body, told) in [
        (FORM, "k=bobs-key&k=bobs-key", "Duplicate API key found"),
        (JSON, r#"{"k": ["bobs-key"]}"#, "Duplicate API key found"),
        (FORM, "x-key=wrong&k=bobs-key", "Unauthorized"),
        (FORM, "a=1", "No API key found in request"),
        (JSON, "k=bobs-key", "No API key found in request"),
        (("content-type", "text/plain"), "k=bobs-key", "No API key found in request"),
    ] {
        let answer = gate.engine.send("POST", "/", &[content], body).await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{body}: {answer}");
        assert!(answer.ends_with(&format!("{{\"message\":\"{told}\"}}\n")), "{body}: {answer}");
        assert!(answer.contains("www-authenticate: Key\r\n"), "{body}: {answer}");
    }
    gate.plugin("key-auth", json!({"key_in_body": true, "key_names": ["k"], "hide_credentials": true})).await;
    let seen = gate.engine.send("POST", "/", &[FORM], "a=1&k=bobs-key&b=%20").await;
    assert!(seen.contains("x-consumer-username: bob\r\n") && seen.ends_with("\r\na=1&b=%20"), "{seen}");
    gate.plugin("key-auth", json!({"key_in_body": true, "key_names": ["k"], "anonymous": "nobody"})).await;
    let seen = gate.engine.send("POST", "/", &[FORM], "a=1").await;
    assert!(
        seen.contains("x-consumer-username: nobody\r\n") && seen.contains("x-anonymous-consumer: true\r\n"),
        "{seen}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_in_base64_signs_as_what_it_is_of() {
    let gate = gate().await;
    let post = async |key: &str, secret: &str| {
        let made = gate.world.json("POST", "/consumers/bob/jwt", json!({"key": key, "secret": secret})).await;
        assert_eq!(made.status, 201, "{made:?}");
    };
    post("padded", &base64::engine::general_purpose::STANDARD.encode(SECRET)).await;
    post("url", &base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(SECRET)).await;
    post("plain", SECRET).await;
    gate.plugin("jwt", json!({"secret_is_base64": true})).await;
    let bearer = |issuer: &str| {
        let key = SigningKey::from_hmac_secret(Alg::HS256, "k".to_owned(), SECRET.as_bytes()).unwrap();
        format!("Bearer {}", key.sign(None, json!({"iss": issuer}).to_string().as_bytes()).unwrap())
    };
    for issuer in ["padded", "url"] {
        gate.knows_bob("/", &[("authorization", &bearer(issuer))], Some(issuer)).await;
    }
    let (told, error) = (r#"{"message":"Invalid key/secret"}"#, Some("Bearer error=\"invalid_token\""));
    gate.refuses("/", &[("authorization", &bearer("plain"))], 401, told, error).await;
    gate.plugin("jwt", json!({})).await;
    gate.knows_bob("/", &[("authorization", &bearer("plain"))], Some("plain")).await;
    let told = r#"{"message":"Invalid signature"}"#;
    gate.refuses("/", &[("authorization", &bearer("url"))], 401, told, error).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_compared_with_kongs_hash_of_it() {
    let gate = gate().await;
    gate.plugin("basic-auth", json!({"hide_credentials": true})).await;
    let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
    let (unauthorized, challenge) = (r#"{"message":"Unauthorized"}"#, Some("Basic realm=\"service\""));
    for wrong in ["bob:wrong", "eve:secret", "bob", "bob:", ":secret"] {
        gate.refuses("/", &[("authorization", &basic(wrong))], 401, unauthorized, challenge).await;
    }
    gate.refuses("/", &[], 401, unauthorized, challenge).await;
    let stored = gate.world.get("/consumers/bob/basic-auth").await.body["data"][0]["password"].clone();
    let hash = basic(&format!("bob:{}", stored.as_str().unwrap()));
    gate.refuses("/", &[("authorization", &hash)], 401, unauthorized, challenge).await;
    let seen = gate.knows_bob("/", &[("authorization", &basic("bob:secret"))], Some("bob")).await;
    assert!(!seen.contains("authorization"), "{seen}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_names_its_consumer_and_failures_have_kongs_words() {
    let gate = gate().await;
    gate.plugin(
        "jwt",
        json!({"claims_to_verify": ["exp"], "maximum_expiration": 3600, "cookie_names": ["tok"]}),
    )
    .await;
    let sign = |secret: &str, claims: Value| {
        let key = SigningKey::from_hmac_secret(Alg::HS256, "k".to_owned(), secret.as_bytes()).unwrap();
        key.sign(None, claims.to_string().as_bytes()).unwrap()
    };
    let at = |seconds: i64| super::NOW.secs() + seconds;
    let good = sign(SECRET, json!({"iss": "issuer", "exp": at(60)}));
    let bearer = |token: &str| format!("Bearer {token}");
    let error = Some("Bearer error=\"invalid_token\"");
    gate.refuses("/", &[], 401, r#"{"message":"Unauthorized"}"#, Some("Bearer")).await;
    for (token, body) in [
        ("abc".to_owned(), r#"{"message":"Bad token; invalid JWT"}"#),
        (sign(SECRET, json!({"exp": at(60)})), r#"{"message":"No mandatory 'iss' in claims"}"#),
        (sign(SECRET, json!({"iss": "", "exp": at(60)})), r#"{"message":"Invalid 'iss' in claims"}"#),
        (
            sign(SECRET, json!({"iss": "x", "exp": at(60)})),
            r#"{"message":"No credentials found for given 'iss'"}"#,
        ),
        (
            sign(&SECRET.to_uppercase(), json!({"iss": "issuer", "exp": at(60)})),
            r#"{"message":"Invalid signature"}"#,
        ),
        (sign(SECRET, json!({"iss": "issuer", "exp": at(-1)})), r#"{"exp":"token expired"}"#),
        (
            sign(SECRET, json!({"iss": "issuer", "exp": at(7200)})),
            r#"{"exp":"exceeds maximum allowed expiration"}"#,
        ),
        (sign(SECRET, json!({"iss": "issuer"})), r#"{"exp":"must be a number"}"#),
        (
            sign(SECRET, json!({"iss": "issuer", "exp": at(60), "nbf": at(30)})),
            r#"{"nbf":"token not valid yet"}"#,
        ),
    ] {
        gate.refuses("/", &[("authorization", &bearer(&token))], 401, body, error).await;
    }
    gate.knows_bob("/", &[("authorization", &bearer(&good))], Some("issuer")).await;
    gate.knows_bob(&format!("/?jwt={good}"), &[], Some("issuer")).await;
    gate.knows_bob("/", &[("cookie", &format!("tok={good}"))], Some("issuer")).await;
    let other = sign(SECRET, json!({"iss": "issuer", "exp": at(61)}));
    let several = r#"{"message":"Multiple tokens provided"}"#;
    gate.refuses(&format!("/?jwt={other}"), &[("authorization", &bearer(&good))], 401, several, error).await;
    gate.refuses("/", &[("authorization", &good)], 401, r#"{"message":"Unauthorized"}"#, Some("Bearer"))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signed_request_has_a_date_and_what_is_demanded() {
    let gate = gate().await;
    gate.plugin("hmac-auth", json!({"enforce_headers": ["request-line"], "hide_credentials": true})).await;
    // 1 800 000 000 seconds after the epoch.
    const DATE: &str = "Fri, 15 Jan 2027 08:00:00 GMT";
    let signed = |secret: &str, headers: &str, text: &str| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let signature = STANDARD.encode(hmac::sign(&key, text.as_bytes()));
        format!(
            r#"hmac username="bob", algorithm="hmac-sha256", headers="{headers}", signature="{signature}""#
        )
    };
    let text = format!("date: {DATE}\nGET /x?y=1 HTTP/1.1");
    let good = signed("shared", "date request-line", &text);
    let seen = gate.knows_bob("/x?y=1", &[("date", DATE), ("authorization", &good)], Some("bob")).await;
    assert!(!seen.contains("authorization"), "{seen}");
    let mismatch = r#"{"message":"HMAC signature does not match"}"#;
    gate.refuses("/x?y=2", &[("date", DATE), ("authorization", &good)], 401, mismatch, Some("hmac")).await;
    let forged = signed("guessed", "date request-line", &text);
    gate.refuses("/x?y=1", &[("date", DATE), ("authorization", &forged)], 401, mismatch, Some("hmac")).await;
    let less = signed("shared", "date", &format!("date: {DATE}"));
    let unverified = r#"{"message":"HMAC signature cannot be verified"}"#;
    gate.refuses("/x?y=1", &[("date", DATE), ("authorization", &less)], 401, unverified, Some("hmac")).await;
    let undated = r#"{"message":"HMAC signature cannot be verified, a valid date or x-date header is required for HMAC Authentication"}"#;
    gate.refuses("/x?y=1", &[("authorization", &good)], 401, undated, Some("hmac")).await;
    let old = "Fri, 15 Jan 2027 07:50:00 GMT";
    gate.refuses("/x?y=1", &[("date", old), ("authorization", &good)], 401, undated, Some("hmac")).await;
    gate.refuses("/x", &[], 401, r#"{"message":"Unauthorized"}"#, Some("hmac")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signed_request_has_the_body_that_its_digest_is_of_where_that_is_demanded() {
    let gate = gate().await;
    gate.plugin("hmac-auth", json!({"validate_request_body": true, "hide_credentials": true})).await;
    const DATE: &str = "Fri, 15 Jan 2027 08:00:00 GMT";
    let digest = |body: &str| {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, body.as_bytes());
        format!("SHA-256={}", STANDARD.encode(digest))
    };
    let signed = |headers: &str, text: &str| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"shared");
        let signature = STANDARD.encode(hmac::sign(&key, text.as_bytes()));
        format!(
            r#"hmac username="bob", algorithm="hmac-sha256", headers="{headers}", signature="{signature}""#
        )
    };
    let sent = async |digest: Option<&str>, is_signed: bool, body: &str| {
        let mut text = format!("date: {DATE}");
        let named = match digest.filter(|_| is_signed) {
            Some(digest) => {
                text.push_str(&format!("\ndigest: {digest}"));
                "date digest"
            }
            None => "date",
        };
        let authorization = signed(named, &text);
        let mut headers = vec![("date", DATE), ("authorization", authorization.as_str())];
        headers.extend(digest.map(|digest| ("digest", digest)));
        gate.engine.send("POST", "/", &headers, body).await
    };
    for (told, body) in [(Some(digest("a body")), "a body"), (Some(digest("")), ""), (None, "")] {
        let seen = sent(told.as_deref(), true, body).await;
        assert!(seen.contains("x-consumer-username: bob\r\n"), "{body}: {seen}");
        assert!(seen.ends_with(&format!("\r\n{body}")) && !seen.contains("authorization"), "{seen}");
    }
    for (told, is_signed, body) in [
        (Some(digest("a body")), true, "another"),
        (Some(digest("a body")), false, "a body"),
        (Some("SHA-512=YQ==".to_owned()), true, "a body"),
        (None, true, "a body"),
    ] {
        let answer = sent(told.as_deref(), is_signed, body).await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{told:?}: {answer}");
        assert!(answer.ends_with("{\"message\":\"HMAC signature does not match\"}\n"), "{told:?}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_get_in_or_do_not_and_the_upstream_is_told_of_them() {
    let gate = gate().await;
    gate.plugin("acl", json!({"allow": ["admins"]})).await;
    gate.refuses("/", &[], 401, r#"{"message":"Unauthorized"}"#, None).await;
    gate.plugin("key-auth", json!({})).await;
    let seen = gate.knows_bob("/", &[("apikey", "bobs-key"), ("x-consumer-groups", "forged")], None).await;
    assert!(seen.contains("x-consumer-groups: admins\r\n") && !seen.contains("forged"), "{seen}");
    let forbidden = r#"{"message":"You cannot consume this service"}"#;
    for config in [json!({"deny": ["admins", "x"]}), json!({"allow": ["others"]})] {
        gate.plugin("acl", config).await;
        gate.refuses("/", &[("apikey", "bobs-key")], 403, forbidden, None).await;
    }
    gate.plugin("acl", json!({"deny": ["others"], "hide_groups_header": true})).await;
    let seen = gate.knows_bob("/", &[("apikey", "bobs-key")], None).await;
    assert!(!seen.contains("x-consumer-groups"), "{seen}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_an_anonymous_consumer_on_each_several_plugins_are_alternatives() {
    let gate = gate().await;
    for name in ["key-auth", "basic-auth"] {
        gate.plugin(name, json!({"anonymous": "nobody"})).await;
    }
    let basic = format!("Basic {}", STANDARD.encode("bob:secret"));
    gate.knows_bob("/", &[("apikey", "bobs-key")], None).await;
    gate.knows_bob("/", &[("authorization", &basic)], None).await;
    let anonymous = gate.engine.get("/", &[("apikey", "wrong")]).await;
    assert!(anonymous.contains("x-consumer-username: nobody\r\n"), "{anonymous}");
    assert!(
        anonymous.contains("x-anonymous-consumer: true\r\n")
            && !anonymous.contains("x-credential-identifier"),
        "{anonymous}"
    );
    // Without one, each of them must be satisfied.
    for name in ["key-auth", "basic-auth"] {
        gate.plugin(name, json!({"anonymous": null})).await;
    }
    let unauthorized = r#"{"message":"Unauthorized"}"#;
    gate.refuses("/", &[("apikey", "bobs-key")], 401, unauthorized, Some("Basic realm=\"service\"")).await;
    gate.knows_bob("/", &[("apikey", "bobs-key"), ("authorization", &basic)], Some("bob")).await;
    let id = gate.world.get("/consumers/nobody").await.id().to_owned();
    gate.plugin("basic-auth", json!({"anonymous": id})).await;
    gate.plugin("key-auth", json!({"anonymous": "missing"})).await;
    let nobody = r#"{"message":"Invalid user authorization"}"#;
    gate.refuses("/", &[], 401, nobody, Some("Key")).await;
}
