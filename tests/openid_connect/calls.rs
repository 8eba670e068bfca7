//! What the gate says of itself when it calls the provider, and how it asks.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jose::{Alg, CompactJws, SigningKey, VerifyingKey};
use serde_json::{Value, json};

use super::{CLIENT, SECRET, decoded, expect_refused, form, guarded, login::site};
use crate::support::{
    Answer, Browser, Provider, Request, Seen, Upstream, shared,
    tls::{self, Authority},
    tokens,
};

/// The private key as an operator pastes it: PKCS#8 in PEM.
fn pem(key: &SigningKey) -> String {
    let der = base64::engine::general_purpose::STANDARD.encode(key.to_pkcs8().unwrap().as_slice());
    format!("-----BEGIN PRIVATE KEY-----\n{der}\n-----END PRIVATE KEY-----\n")
}

/// The claims of a JWS, verified.
fn claims(token: &str, key: &VerifyingKey) -> Value {
    serde_json::from_slice(&CompactJws::parse(token).unwrap().verify(key).unwrap()).unwrap()
}

fn header(token: &str) -> Value {
    let part = token.split('.').next().unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// The assertion of a request, with all that must be true of it.
fn assertion(seen: &Seen, key: &VerifyingKey, audience: &str) -> Value {
    let form = form(seen);
    assert_eq!(form["client_assertion_type"], "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    assert!(seen.header("authorization").is_none() && !form.contains_key("client_secret"), "{form:?}");
    let claims = claims(&form["client_assertion"], key);
    assert_eq!(
        (&claims["iss"], &claims["sub"], &claims["aud"]),
        (&json!(CLIENT), &json!(CLIENT), &json!(audience))
    );
    assert!((claims["iat"].as_i64().unwrap() - tokens::now()).abs() < 60);
    claims
}

#[tokio::test]
async fn a_login_with_private_key_jwt_shows_no_secret_and_repeats_no_assertion() {
    let provider = Provider::start(CLIENT);
    let key = tokens::key(Alg::ES256, "client-key");
    let further = json!({
        "token_endpoint_auth_method": "private_key_jwt", "client_rsa_private_key": pem(&key),
        "client_rsa_private_key_id": "client-key", "client_jwt_assertion_alg": "ES256",
        "client_jwt_assertion_expires_in": 30,
    });
    let site = site(shared(), &provider, further).await;
    let (_one, _two) = (site.logged_in().await, site.logged_in().await);
    let hits = provider.hits("/token");
    let audience = format!("{}token", provider.issuer());
    let made: Vec<_> = hits.iter().map(|hit| assertion(hit, &key.verifying_key(), &audience)).collect();
    assert_eq!(made.len(), 2);
    assert_ne!(made[0]["jti"], made[1]["jti"], "each is used once");
    assert_eq!(made[0]["exp"].as_i64().unwrap() - made[0]["iat"].as_i64().unwrap(), 30);
    assert_eq!(header(&form(&hits[0])["client_assertion"])["kid"], "client-key");
    assert_eq!(form(&hits[0])["client_id"], CLIENT);
}

#[tokio::test]
async fn introspection_authenticates_by_every_method() {
    let provider = Provider::start(CLIENT);
    let key = tokens::key(Alg::ES256, "client-key");
    let secret = VerifyingKey::from_hmac_secret(SECRET.as_bytes(), Alg::HS512);
    assert!(secret.is_err(), "the secret of these tests is too short for HS512");
    let secret = VerifyingKey::from_hmac_secret(SECRET.as_bytes(), Alg::HS256).unwrap();
    let endpoint = format!("{}introspect", provider.issuer());
    let ask = async |further: Value| {
        let mut conf = json!({"bearer_only": true, "introspection_endpoint": endpoint});
        conf.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
        let site = guarded(shared(), &provider, conf).await;
        assert_eq!(site.with_token("opaque").await.status, 200, "{further}");
        provider.hits("/introspect").pop().unwrap()
    };
    let seen = ask(json!({"introspection_endpoint_auth_method": "client_secret_basic"})).await;
    assert!(seen.header("authorization").is_some_and(|value| value.starts_with("Basic ")));
    // One way to authenticate in each request (RFC 6749 section 2.3).
    assert!(!form(&seen).contains_key("client_id") && !form(&seen).contains_key("client_secret"));
    let seen = ask(json!({"introspection_endpoint_auth_method": "client_secret_post"})).await;
    assert!(seen.header("authorization").is_none());
    assert_eq!((form(&seen)["client_id"].as_str(), form(&seen)["client_secret"].as_str()), (CLIENT, SECRET));
    let seen = ask(json!({"introspection_endpoint_auth_method": "client_secret_jwt"})).await;
    assertion(&seen, &secret, &endpoint);
    let further = json!({
        "introspection_endpoint_auth_method": "private_key_jwt", "client_rsa_private_key": pem(&key),
        "client_jwt_assertion_alg": "ES256", "client_jwt_assertion_audience": "https://as.example/",
    });
    let seen = ask(further).await;
    assertion(&seen, &key.verifying_key(), "https://as.example/");
    assert!(header(&form(&seen)["client_assertion"]).get("kid").is_none());
    let seen = ask(json!({"introspection_endpoint_auth_method": "none"})).await;
    assert!(seen.header("authorization").is_none() && form(&seen).len() == 3, "{:?}", form(&seen));
}

#[tokio::test]
async fn a_key_that_cannot_sign_fails_closed_and_reaches_nobody() {
    let provider = Provider::start(CLIENT);
    let further = json!({
        "bearer_only": true, "introspection_endpoint": format!("{}introspect", provider.issuer()),
        "introspection_endpoint_auth_method": "private_key_jwt",
        "client_rsa_private_key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
    });
    let site = guarded(shared(), &provider, further).await;
    let answer = site.with_token("opaque").await;
    assert_eq!((answer.status, site.reached()), (503, 0), "{answer:?}");
    assert!(provider.hits("/introspect").is_empty());
}

#[tokio::test]
async fn introspection_asks_as_it_is_told_to_and_keeps_tenants_apart() {
    let provider = Provider::start(CLIENT);
    provider.lie("/introspect", |seen| {
        let tenant = seen.header("x-tenant").unwrap_or("none").to_owned();
        let exp = tokens::now() + 600;
        Answer::json(&json!({"active": tenant != "evil", "sub": tenant, "exp": exp}))
    });
    let further = json!({
        "bearer_only": true, "introspection_endpoint": format!("{}introspect", provider.issuer()),
        "introspection_addon_headers": ["X-Tenant"], "introspection_params": {"realm": "r", "level": 2},
        "introspection_token_param_name": "access_token",
    });
    let site = guarded(shared(), &provider, further).await;
    let ask = async |tenant: Option<&str>| {
        let request = Request::get(&site.target("api")).bearer("opaque");
        let request = tenant.map_or(request.clone(), |tenant| request.header("X-Tenant", tenant));
        site.gate.send(request).await.status
    };
    for (tenant, subject) in [(Some("a"), "a"), (Some("b"), "b"), (None, "none"), (Some("a"), "a")] {
        assert_eq!(ask(tenant).await, 200);
        assert_eq!(decoded(&site.last(), "x-userinfo")["sub"], subject);
    }
    assert_eq!(ask(Some("evil")).await, 401, "a good answer to one tenant is none to another");
    let hits = provider.hits("/introspect");
    assert_eq!(hits.len(), 4, "each set of headers was asked about once");
    let sent = form(&hits[0]);
    assert_eq!(
        (sent["access_token"].as_str(), sent["realm"].as_str(), sent["level"].as_str()),
        ("opaque", "r", "2")
    );
    assert!(!sent.contains_key("token"));
}

#[tokio::test]
async fn pass_cookies_takes_the_named_cookies_along_and_keeps_their_answers_apart() {
    let provider = Provider::start(CLIENT);
    provider.lie("/introspect", |seen| {
        let cookies = seen.header("cookie").unwrap_or("none").to_owned();
        Answer::json(
            &json!({"active": !cookies.contains("evil"), "sub": cookies, "exp": tokens::now() + 600}),
        )
    });
    let endpoint = format!("{}introspect", provider.issuer());
    let further =
        json!({"bearer_only": true, "introspection_endpoint": endpoint, "pass_cookies": " lb  tenant gate"});
    let site = guarded(shared(), &provider, further).await;
    let ask = async |cookies: &[&str]| {
        let request = Request::get(&site.target("api")).bearer("opaque");
        let request = cookies.iter().fold(request, |request, line| request.header("Cookie", line));
        site.gate.send(request).await.status
    };
    for (cookies, sent) in [
        (&["other=1; tenant=a"][..], "tenant=a"),
        (&["tenant=b; lb=1"], "lb=1; tenant=b"),
        (&["tenant=b", "lb=1; x=y"], "lb=1; tenant=b"),
        (&["other=1"], "none"),
        // What the gate sealed is nobody else's, whatever it is called.
        (&["gate=pc~1abc; tenant=a"], "tenant=a"),
    ] {
        assert_eq!(ask(cookies).await, 200, "{cookies:?}");
        assert_eq!(decoded(&site.last(), "x-userinfo")["sub"], sent, "{cookies:?}");
    }
    assert_eq!(ask(&["tenant=evil"]).await, 401, "a good answer to one tenant is none to another");
    assert_eq!(provider.hits("/introspect").len(), 4, "each set of cookies was asked about once");
    for (further, told) in [
        (json!({"pass_cookies": "a;b"}), "one of them is no name of a cookie"),
        (json!({"pass_cookies": "a", "use_jwks": true}), "it is for introspection, and use_jwks verifies"),
    ] {
        let mut conf = json!({"client_id": CLIENT, "client_secret": "s", "bearer_only": true, "discovery": provider.discovery()});
        conf.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
        let body = json!({"uri": "/x", "plugins": {"openid-connect": conf}});
        let answer = site.gate.admin().put("routes/pass-cookies", &body).await;
        assert!(answer.status == 400 && answer.text().contains(told), "{}", answer.text());
    }
}

#[tokio::test]
async fn introspection_answers_are_remembered_as_far_as_configured() {
    let provider = Provider::start(CLIENT);
    let endpoint = format!("{}introspect", provider.issuer());
    let with = async |further: Value| {
        let mut conf = json!({"bearer_only": true, "introspection_endpoint": endpoint});
        conf.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
        guarded(shared(), &provider, conf).await
    };
    let always = with(json!({"introspection_cache_ignore": true})).await;
    for _ in 0..3 {
        assert_eq!(always.with_token("opaque").await.status, 200);
    }
    assert_eq!(provider.hits("/introspect").len(), 3);
    provider.lie("/introspect", |_| Answer::json(&json!({"active": false})));
    expect_refused(&always, "one that was active a moment ago", "opaque").await;
    let before = provider.hits("/introspect").len();
    let forgetful = with(json!({})).await;
    let mindful = with(json!({"introspection_enable_negative_cache": true})).await;
    for _ in 0..3 {
        expect_refused(&forgetful, "one that is not active", "opaque").await;
    }
    assert_eq!(provider.hits("/introspect").len(), before + 3);
    for _ in 0..3 {
        expect_refused(&mindful, "one that is not active", "opaque").await;
    }
    assert_eq!(provider.hits("/introspect").len(), before + 4);
}

#[tokio::test]
async fn j51_an_introspection_endpoint_that_lies_lets_nobody_in() {
    let provider = Provider::start(CLIENT);
    let further = json!({
        "bearer_only": true, "introspection_endpoint": format!("{}introspect", provider.issuer()), "timeout": 3,
    });
    let site = guarded(shared(), &provider, further).await;
    let exp = tokens::now() + 600;
    for (what, lie) in [
        ("a text for active", json!({"active": "true", "sub": "u", "exp": exp})),
        ("a number for active", json!({"active": 1, "sub": "u", "exp": exp})),
        ("another token's answer", json!({"active": true, "token": "another", "sub": "u", "exp": exp})),
        ("no exp", json!({"active": true, "sub": "u"})),
        ("one that is over", json!({"active": true, "sub": "u", "exp": tokens::now() - 1})),
    ] {
        provider.lie("/introspect", move |_| Answer::json(&lie));
        expect_refused(&site, what, &format!("opaque-{}", what.len())).await;
    }
    let huge = format!(r#"{{"active":true,"exp":{exp},"x":"{}"}}"#, "x".repeat(10 << 20));
    for (what, lie) in [
        ("500", Answer::with(500, &[], r#"{"active":true}"#)),
        ("10 MiB", Answer::with(200, &[("Content-Type", "application/json")], huge)),
        ("silence", Answer::Stall),
        (
            "a JWT",
            Answer::with(
                200,
                &[("Content-Type", "application/token-introspection+jwt")],
                r#"{"active":true}"#,
            ),
        ),
    ] {
        provider.lie("/introspect", move |_| lie.clone());
        let answer = site.with_token("opaque").await;
        assert_eq!((answer.status, answer.header("www-authenticate")), (503, None), "{what}: {answer:?}");
    }
    assert_eq!(site.reached(), 0);
}

#[tokio::test]
async fn a_pushed_request_leaves_two_parameters_to_the_browser() {
    let provider = Provider::start(CLIENT);
    let par = json!({"enabled": true, "endpoint": format!("{}par", provider.issuer()),
                     "endpoint_auth_method": "client_secret_post"});
    let further = json!({"par": par, "authorization_params": {"audience": "https://api.example/"}});
    let site = site(shared(), &provider, further).await;
    let browser = site.logged_in().await;
    assert!(browser.cookie("session").is_some());
    let pushed = form(&provider.hits("/par")[0]);
    assert_eq!((pushed["client_id"].as_str(), pushed["client_secret"].as_str()), (CLIENT, SECRET));
    for name in ["state", "nonce", "code_challenge", "redirect_uri", "scope"] {
        assert!(pushed.contains_key(name), "{name}: {pushed:?}");
    }
    assert_eq!(
        (pushed["response_type"].as_str(), pushed["audience"].as_str()),
        ("code", "https://api.example/")
    );
    let asked = provider.hits("/authorize").pop().unwrap();
    let query = asked.target.split_once('?').unwrap().1;
    let query: std::collections::BTreeMap<_, _> =
        form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    assert_eq!(query.keys().map(String::as_str).collect::<Vec<_>>(), ["client_id", "request_uri"]);
}

#[tokio::test]
async fn a_provider_that_takes_pushed_requests_only_gets_them() {
    let provider = Provider::start(CLIENT);
    let endpoint = format!("{}par", provider.issuer());
    provider.publish(json!({
        "pushed_authorization_request_endpoint": endpoint, "require_pushed_authorization_requests": true,
    }));
    let site = site(shared(), &provider, json!({})).await;
    site.logged_in().await;
    assert!(provider.hits("/par")[0].header("authorization").is_some(), "as at the token endpoint");
    for (what, lie, status) in [
        ("a no", Answer::with(400, &[], r#"{"error":"invalid_request","error_description":"canary"}"#), 502),
        ("an error", Answer::with(500, &[], "canary"), 502),
        ("no reference", Answer::with(201, &[], r#"{"expires_in":60}"#), 502),
        ("a reference that is none", Answer::with(201, &[], "{\"request_uri\":\"a\\r\\nb\"}"), 502),
        ("a close", Answer::Close, 503),
    ] {
        provider.lie("/par", move |_| lie.clone());
        let mut browser = Browser::new();
        let page = browser.open(&site.url("first")).await;
        assert_eq!((page.status(), page.has_id("error")), (status, true), "{what}: {page:?}");
        assert!(!page.response.text().contains("canary") && browser.cookie_names().is_empty(), "{what}");
    }
    assert_eq!(provider.hits("/authorize").len(), 1);
}

#[tokio::test]
async fn a_session_can_be_bound_to_a_key() {
    let provider = Provider::start(CLIENT);
    let key = tokens::key(Alg::ES256, "proof-key");
    let mut jwk = key.public_jwk();
    for name in ["use", "alg", "kid"] {
        jwk.as_object_mut().unwrap().remove(name);
    }
    let further = json!({"dpop": {"enabled": true, "private_key": pem(&key), "public_jwk": jwk}});
    let site = site(shared(), &provider, further).await;
    let refused = Browser::new().open(&site.url("first")).await;
    assert_eq!(refused.status(), 502, "a bearer token is not what was asked for: {refused:?}");

    provider.answer_tokens_with(json!({"token_type": "DPoP"}));
    let issuer = provider.issuer();
    provider.demand_nonce("/token", 400, "nonce-1");
    let browser = site.logged_in().await;
    assert!(browser.cookie("session").is_some());
    let asked = provider.hits("/authorize").pop().unwrap().target;
    let thumbprint = jose::thumbprint(&jwk).unwrap();
    assert!(asked.contains(&format!("dpop_jkt={thumbprint}")), "{asked}");
    let hits = provider.hits("/token");
    let proofs: Vec<_> =
        hits.iter().map(|hit| claims(hit.header("dpop").unwrap(), &key.verifying_key())).collect();
    let last = proofs.last().unwrap();
    assert_eq!(
        (&last["nonce"], &last["htm"], &last["htu"]),
        (&json!("nonce-1"), &json!("POST"), &json!(format!("{issuer}token")))
    );
    assert_eq!(
        header(hits[0].header("dpop").unwrap()),
        json!({"alg": "ES256", "typ": "dpop+jwt", "jwk": jwk})
    );
    let before: Vec<_> = proofs.iter().filter(|proof| proof["nonce"] == "nonce-1").collect();
    assert_eq!(before.len(), 1, "asked again once with the server's nonce");
    let userinfo = provider.hits("/userinfo").pop().unwrap();
    assert!(userinfo.header("authorization").unwrap().starts_with("DPoP "));
    let proof = claims(userinfo.header("dpop").unwrap(), &key.verifying_key());
    assert!(proof["ath"].is_string() && proof["htm"] == "GET", "{proof}");
    site.logged_in().await;
    let later = provider.hits("/token").pop().unwrap();
    let later = claims(later.header("dpop").unwrap(), &key.verifying_key());
    assert_eq!(later["nonce"], "nonce-1", "the nonce is remembered");
    assert_eq!(provider.hits("/token").len(), hits.len() + 1);
}

#[tokio::test]
async fn claims_must_match_the_schema() {
    let provider = Provider::start(CLIENT);
    let schema = json!({"type": "object", "required": ["roles"],
                        "properties": {"roles": {"type": "array", "contains": {"const": "admin"}}}});
    let further = json!({"bearer_only": true, "use_jwks": true, "claim_schema": schema});
    let bearer = guarded(shared(), &provider, further).await;
    let good = provider.access_token(&json!({"roles": ["user", "admin"]}));
    for _ in 0..2 {
        assert_eq!(bearer.with_token(&good).await.status, 200);
    }
    for (claims, why) in [
        (json!({}), r#"property \"roles\" is required"#),
        (
            json!({"roles": "admin"}),
            r#"property \"roles\" validation failed: wrong type: expected array, got string"#,
        ),
        (json!({"roles": ["canary"]}), r#"property \"roles\" validation failed"#),
    ] {
        let token = provider.access_token(&claims);
        for _ in 0..2 {
            let answer = bearer.with_token(&token).await;
            let challenge = answer.header("www-authenticate").unwrap_or_default();
            assert_eq!(answer.status, 401, "{claims}: {answer:?}");
            assert!(challenge.contains(r#"error="invalid_token""#), "{challenge}");
            let plain = why.replace('\\', "");
            assert!(challenge.contains(why) || challenge.replace('\'', "\"").contains(&plain), "{challenge}");
            assert!(!challenge.contains("canary"), "{challenge}");
        }
    }
    assert_eq!(bearer.reached(), 2);

    let schema = json!({"type": "object", "required": ["user", "id_token", "access_token"], "properties": {
        "user": {"required": ["name"]}, "id_token": {"required": ["sub"]}, "access_token": {"type": "string"}}});
    let session = site(shared(), &provider, json!({"claim_schema": schema})).await;
    session.logged_in().await;
    provider.lie("/userinfo", |_| Answer::json(&json!({"sub": "user-1"})));
    let mut browser = Browser::new();
    let page = browser.open(&session.url("first")).await;
    assert_eq!((page.status(), session.reached()), (401, 1), "{page:?}");
}

#[tokio::test]
async fn userinfo_may_be_a_jwt_that_the_provider_signed() {
    let provider = Provider::start(CLIENT);
    let site = site(shared(), &provider, json!({})).await;
    let answer = |jwt: &str| Answer::with(200, &[("Content-Type", "application/jwt")], jwt);
    let signed = provider.access_token(&json!({"aud": CLIENT, "name": "Signed"}));
    let told = answer(&signed);
    provider.lie("/userinfo", move |_| told.clone());
    site.logged_in().await;
    assert_eq!(decoded(&site.last(), "x-userinfo")["name"], "Signed");
    let stranger = Provider::start(CLIENT);
    for (what, jwt) in [
        ("a stranger's", stranger.access_token(&json!({"aud": CLIENT, "iss": provider.issuer()}))),
        ("another client's", provider.access_token(&json!({"aud": "another"}))),
        ("another issuer's", provider.access_token(&json!({"aud": CLIENT, "iss": "https://evil.example/"}))),
        (
            "an unsigned one",
            format!("{}.{}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), signed.split('.').nth(1).unwrap()),
        ),
        ("an encrypted one", "a.b.c.d.e".to_owned()),
    ] {
        let told = answer(&jwt);
        provider.lie("/userinfo", move |_| told.clone());
        site.logged_in().await;
        assert!(site.last().header("x-userinfo").is_none(), "{what} is believed");
    }
    let other = answer(&provider.access_token(&json!({"aud": CLIENT, "sub": "user-2"})));
    provider.lie("/userinfo", move |_| other.clone());
    let mut browser = Browser::new();
    let page = browser.open(&site.url("first")).await;
    assert_eq!((page.status(), browser.cookie("session")), (502, None), "somebody else's");
}

#[tokio::test]
async fn calls_go_through_the_configured_proxy() {
    let provider = Provider::start(CLIENT);
    let proxy = Upstream::start();
    let issuer = provider.issuer();
    let host = issuer.trim_start_matches("http://").trim_end_matches('/').to_owned();
    proxy.script(move |seen| {
        let path = seen.target.strip_prefix(&format!("http://{host}")).unwrap_or("/not-absolute");
        let document = match path {
            "/.well-known/openid-configuration" => {
                json!({"issuer": format!("http://{host}/"), "jwks_uri": format!("http://{host}/jwks"),
                       "introspection_endpoint": format!("http://{host}/introspect")})
            }
            "/introspect" => json!({"active": true, "sub": "proxied", "exp": tokens::now() + 60}),
            "/jwks" => json!({"keys": []}),
            _ => return Answer::with(400, &[], ""),
        };
        Answer::json(&document)
    });
    let opts =
        json!({"http_proxy": format!("http://{}", proxy.node()), "http_proxy_authorization": "Basic dTpw"});
    let further = json!({
        "bearer_only": true, "introspection_endpoint": format!("{issuer}introspect"), "proxy_opts": opts,
        "keepalive": "no",
    });
    let site = guarded(shared(), &provider, further).await;
    assert_eq!(site.with_token("opaque").await.status, 200);
    assert_eq!(decoded(&site.last(), "x-userinfo")["sub"], "proxied");
    assert!(provider.hits("/introspect").is_empty(), "nothing goes round the proxy");
    let seen = proxy.seen();
    assert!(seen.iter().all(|seen| seen.header("proxy-authorization") == Some("Basic dTpw")), "{seen:?}");
    let asked = seen.iter().find(|seen| seen.target.ends_with("/introspect")).unwrap();
    assert_eq!(asked.header("host"), Some(issuer.trim_start_matches("http://").trim_end_matches('/')));

    let direct = json!({
        "bearer_only": true, "introspection_endpoint": format!("{issuer}introspect"),
        "proxy_opts": {"http_proxy": format!("http://{}", proxy.node()), "no_proxy": "localhost"},
    });
    let site = guarded(shared(), &provider, direct).await;
    assert_eq!(site.with_token("opaque").await.status, 200);
    assert_eq!(provider.hits("/introspect").len(), 1);
}

#[tokio::test]
async fn connections_to_the_provider_are_kept_unless_the_route_says_no() {
    let provider = Provider::start(CLIENT);
    let endpoint = format!("{}introspect", provider.issuer());
    for (keepalive, is_kept) in [(json!("yes"), true), (Value::Null, true), (json!("no"), false)] {
        let mut further = json!({"bearer_only": true, "introspection_endpoint": endpoint,
            "introspection_cache_ignore": true});
        if !keepalive.is_null() {
            further["keepalive"] = keepalive.clone();
        }
        let site = guarded(shared(), &provider, further).await;
        assert_eq!(site.with_token("opaque").await.status, 200);
        let before = provider.connections();
        for _ in 0..4 {
            assert_eq!(site.with_token("opaque").await.status, 200);
        }
        let opened = provider.connections() - before;
        // A kept one may be a moment late to be free again.
        assert!(if is_kept { opened < 4 } else { opened == 4 }, "{keepalive}: {opened}");
    }
    assert_eq!(provider.hits("/introspect").len(), 15);
}

#[tokio::test]
async fn a_provider_s_certificate_is_verified_unless_the_route_says_no() {
    // One for the whole test: another would have another authority.
    let gate = shared();
    let (known, stranger) = (Authority::development(&gate), Authority::new());
    for (what, identity, is_good) in [
        ("of an authority that is known", known.issue(&["localhost"], |_| ()), true),
        ("of another one", stranger.issue(&["localhost"], |_| ()), false),
        ("for another name", known.issue(&["other.example"], |_| ()), false),
        (
            "that is over",
            known.issue(&["localhost"], |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1)),
            false,
        ),
    ] {
        let provider = Provider::over_tls(CLIENT, tls::server(&identity));
        let token = provider.access_token(&json!({}));
        for (verify, status) in [
            (Value::Null, if is_good { 200 } else { 503 }),
            (json!(true), if is_good { 200 } else { 503 }),
            (json!(false), 200),
        ] {
            let mut further = json!({"bearer_only": true, "use_jwks": true});
            if !verify.is_null() {
                further["ssl_verify"] = verify.clone();
            }
            let site = guarded(gate.clone(), &provider, further).await;
            assert_eq!(site.with_token(&token).await.status, status, "{what}, ssl_verify {verify}");
            assert_eq!(provider.hits("/jwks").is_empty(), status != 200, "{what}: nothing is asked of it");
        }
    }
}

#[tokio::test]
async fn the_secret_reaches_the_provider_as_it_is_and_nobody_else() {
    const ODD: &str = "a+b /%:&=\u{e9} and so on";
    let provider = Provider::start(CLIENT);
    for method in ["client_secret_basic", "client_secret_post"] {
        let further = json!({"client_secret": ODD, "token_endpoint_auth_method": method});
        let site = site(shared(), &provider, further).await;
        site.logged_in().await;
        let hit = provider.hits("/token").pop().unwrap();
        let secret = match method {
            "client_secret_post" => form(&hit)["client_secret"].clone(),
            _ => {
                let basic = hit.header("authorization").unwrap().strip_prefix("Basic ").unwrap().to_owned();
                let basic = base64::engine::general_purpose::STANDARD.decode(basic).unwrap();
                let basic = String::from_utf8(basic).unwrap();
                // RFC 6749 section 2.3.1: both are form-encoded first.
                let (client, secret) = basic.split_once(':').unwrap();
                assert_eq!(client, CLIENT);
                let pair = format!("secret={secret}");
                form_urlencoded::parse(pair.as_bytes()).next().unwrap().1.into_owned()
            }
        };
        assert_eq!(secret, ODD, "{method}");
        let raw = site.upstream.received();
        assert!(!raw.contains("and so on") && !site.gate.output().contains("and so on"), "{method}: {raw}");
        let asked = provider.hits("/authorize").pop().unwrap().target;
        assert!(!asked.contains("secret") && !asked.contains("and+so+on"), "{method}: {asked}");
    }
}

#[tokio::test]
async fn proofs_of_possession_are_signed_as_configured() {
    for alg in [Alg::ES256, Alg::RS256, Alg::PS256] {
        let provider = Provider::start(CLIENT);
        let key = tokens::key(alg, "proof-key");
        let mut jwk = key.public_jwk();
        for name in ["use", "alg", "kid"] {
            jwk.as_object_mut().unwrap().remove(name);
        }
        let dpop = json!({"enabled": true, "signing_alg": alg.to_string(), "private_key": pem(&key), "public_jwk": jwk});
        provider.answer_tokens_with(json!({"token_type": "DPoP"}));
        site(shared(), &provider, json!({ "dpop": dpop })).await.logged_in().await;
        let hit = provider.hits("/token").pop().unwrap();
        let proof = hit.header("dpop").unwrap();
        assert_eq!(header(proof), json!({"alg": alg.to_string(), "typ": "dpop+jwt", "jwk": jwk}));
        claims(proof, &key.verifying_key());
    }
}
