//! Tokens in `Authorization`. What claims may be is tested in `rp`; here is what becomes of the request.

use jose::{Alg, SigningKey};
use serde_json::json;

use super::*;

fn only_tokens(config: &mut Config) {
    config.login = None;
}

fn verification(config: &mut Config, verification: Verification) {
    config.login = None;
    config.bearer.as_mut().unwrap().verification = verification;
}

fn challenge(got: &Got) -> &str {
    got.header("www-authenticate")
}

#[tokio::test]
async fn a_good_token_goes_on_with_who_it_is_for_the_upstream() {
    let gate = Gate::with(only_tokens).await;
    let token = gate.idp.token(json!({"name": "Ünï\r\n"}));
    let (got, waited) =
        gate.send(get("https://app.example/api").with("authorization", &format!("bearer {token}"))).await;
    assert!(got.passed() && !waited, "{got:?}");
    assert_eq!(got.told("x-access-token"), Some(token.as_str()));
    assert_eq!(got.told("authorization"), Some(format!("bearer {token}").as_str()));
    assert_eq!(got.told_json("x-userinfo")["name"], "Ünï\r\n");
    assert_eq!(got.told("x-id-token"), None);
}

#[tokio::test]
async fn without_a_token_the_realm_is_named_and_nothing_else() {
    let gate = Gate::with(|config| {
        only_tokens(config);
        config.realm = "things".to_owned();
    })
    .await;
    let got = gate.send(get("https://app.example/api")).await.0;
    assert!(got.is(401));
    assert_eq!(challenge(&got), r#"Bearer realm="things""#);
    let basic = gate.send(get("https://app.example/api").with("authorization", "Basic YTpi")).await.0;
    assert!(basic.is(401));
    assert_eq!(challenge(&basic), r#"Bearer realm="things""#);
}

#[tokio::test]
async fn j01_j02_unsigned_and_stripped_tokens_are_refused() {
    let gate = Gate::with(only_tokens).await;
    let token = gate.idp.token(json!({}));
    let parts: Vec<&str> = token.split('.').collect();
    let none = "eyJhbGciOiJub25lIn0";
    let (header, payload) = (parts[0], parts[1]);
    for bad in [
        format!("{none}.{payload}."),
        format!("{none}.{payload}.{}", parts[2]),
        format!("{header}.{payload}."),
        format!("{header}.{payload}"),
        format!("{header}..{}", parts[2]),
        format!(".{payload}.{}", parts[2]),
        "..".to_owned(),
        format!("{header}.{payload}.AAAA"),
    ] {
        let got = gate.bearer(&bad).await;
        assert!(got.is(401), "{bad}: {got:?}");
        assert!(
            challenge(&got)
                .starts_with(r#"Bearer realm="apisix", error="invalid_token", error_description=""#)
        );
    }
    assert!(gate.bearer(&token).await.passed());
}

#[tokio::test]
async fn j04_a_token_never_chooses_a_symmetric_algorithm() {
    let gate = Gate::with(only_tokens).await;
    let hmac = SigningKey::from_hmac_secret(Alg::HS256, "1".to_owned(), SECRET.as_bytes()).unwrap();
    gate.idp.script(|script| script.key = Some(Arc::new(hmac)));
    let got = gate.bearer(&gate.idp.token(json!({}))).await;
    assert!(got.is(401), "{got:?}");
}

#[tokio::test]
async fn j23_a_token_of_more_than_8_kib_is_refused_before_anything_is_decoded() {
    let gate = Gate::with(only_tokens).await;
    for long in ["a".repeat(8193), gate.idp.token(json!({"x": "y".repeat(9000)})), ".".repeat(10_000) + "a"] {
        assert!(gate.bearer(&long).await.is(401));
    }
}

#[tokio::test]
async fn j27_a_token_is_refused_from_the_second_it_expires_also_from_the_cache() {
    let gate = Gate::with(only_tokens).await;
    let token = gate.idp.token(json!({"exp": gate.clock.now().secs() + 10}));
    assert!(gate.bearer(&token).await.passed());
    gate.pass(9);
    assert!(gate.bearer(&token).await.passed());
    gate.pass(1);
    let got = gate.bearer(&token).await;
    assert!(got.is(401));
    assert!(challenge(&got).ends_with(r#"error_description="JWT expired""#), "{got:?}");
}

#[tokio::test]
async fn a_leeway_that_is_configured_holds_for_cached_tokens_too() {
    let gate = Gate::with(|config| {
        only_tokens(config);
        config.expiry_leeway = Duration::from_secs(30);
    })
    .await;
    let token = gate.idp.token(json!({"exp": gate.clock.now().secs() + 10}));
    assert!(gate.bearer(&token).await.passed());
    gate.pass(39);
    assert!(gate.bearer(&token).await.passed());
    gate.pass(1);
    assert!(gate.bearer(&token).await.is(401));
}

#[tokio::test]
async fn j29_only_the_provider_or_those_the_operator_names_may_have_issued_it() {
    let gate = Gate::with(only_tokens).await;
    let other = gate.idp.token(json!({"iss": "https://other.example/"}));
    let got = gate.bearer(&other).await;
    assert!(got.is(401) && challenge(&got).contains("Claim 'iss' returned failure"), "{got:?}");
    assert!(
        challenge(&gate.bearer(&gate.idp.token(json!({"iss": null}))).await)
            .contains("'iss' claim is required.")
    );
    let named = gate.sibling(|config| {
        only_tokens(config);
        config.issuers = vec!["https://other.example/".to_owned()];
    });
    assert!(named.bearer(&other).await.passed());
    assert!(named.bearer(&gate.idp.token(json!({}))).await.is(401));
}

#[tokio::test]
async fn j30_the_audience_is_judged_where_the_route_asks_for_it() {
    let gate = Gate::with(|config| {
        only_tokens(config);
        let audience = &mut config.bearer.as_mut().unwrap().audience;
        (audience.required, audience.is_client) = (true, true);
    })
    .await;
    let with = |aud: Value| gate.idp.token(json!({"aud": aud}));
    for (aud, body) in [
        (Value::Null, r#"{"error":"required audience claim not present"}"#),
        (json!(""), r#"{"error":"required audience claim not present"}"#),
        (json!([]), r#"{"error":"required audience claim not present"}"#),
        (json!("clien"), r#"{"error":"mismatched audience"}"#),
        (json!(["client2", "https://api/"]), r#"{"error":"mismatched audience"}"#),
    ] {
        let got = gate.bearer(&with(aud.clone())).await;
        assert!(got.is(403), "{aud}");
        assert_eq!(got.body, body);
        assert_eq!(got.header("content-type"), "application/json");
    }
    assert!(gate.bearer(&with(json!(5))).await.is(401));
    assert!(gate.bearer(&with(json!(["x", "client"]))).await.passed());
}

#[tokio::test]
async fn j31_an_id_token_of_this_client_does_not_open_the_api() {
    let gate = Gate::with(only_tokens).await;
    let now = gate.clock.now().secs();
    let claims = json!({
        "iss": gate.idp.issuer(), "sub": "user", "aud": CLIENT, "iat": now, "exp": now + 60, "nonce": "n",
    });
    assert!(gate.bearer(&gate.idp.sign("JWT", &claims)).await.is(401));
}

#[tokio::test]
async fn j47_two_tokens_are_one_too_many() {
    let gate = Gate::with(only_tokens).await;
    let token = gate.idp.token(json!({}));
    let bearer = format!("Bearer {token}");
    let api = || get("https://app.example/api");
    let twice = gate.send(api().with("authorization", &bearer).with("authorization", &bearer)).await.0;
    let mixed = gate.send(api().with("authorization", "Basic YTpi").with("authorization", &bearer)).await.0;
    let query = get(&format!("https://app.example/api?access_token={token}"));
    let query = gate.send(query.with("authorization", &bearer)).await.0;
    for got in [twice, mixed, query] {
        assert!(got.is(400), "{got:?}");
        assert!(challenge(&got).contains(r#"error="invalid_request""#));
    }
}

#[tokio::test]
async fn j48_the_scheme_is_read_in_any_case_and_nothing_odd_behind_it() {
    let gate = Gate::with(only_tokens).await;
    let token = gate.idp.token(json!({}));
    for (value, status) in [
        (format!("Bearer {token}"), None),
        (format!("BEARER {token}"), None),
        (format!("Bearer\t{token}"), Some(401)),
        (format!("Bearer {token} x"), Some(401)),
        (format!("Bearer {token}, Bearer {token}"), Some(401)),
        ("Bearer".to_owned(), Some(400)),
        (token.clone(), Some(400)),
    ] {
        let got = gate.send(get("https://app.example/api").with("authorization", &value)).await.0;
        assert_eq!(got.status.map(|status| status.as_u16()), status, "{value}");
    }
}

#[tokio::test]
async fn j49_a_token_in_the_query_alone_is_no_token() {
    let gate = Gate::with(only_tokens).await;
    let token = gate.idp.token(json!({}));
    let got = gate.send(get(&format!("https://app.example/api?access_token={token}"))).await.0;
    assert!(got.is(401));
    assert_eq!(challenge(&got), r#"Bearer realm="apisix""#);
}

#[tokio::test]
async fn j50_missing_scopes_are_a_403_that_names_all_that_are_needed() {
    let gate = Gate::with(|config| {
        only_tokens(config);
        config.required_scopes = vec!["read:things".to_owned(), "admin".to_owned()];
    })
    .await;
    let got = gate.bearer(&gate.idp.token(json!({"scope": "read:things not-admin"}))).await;
    assert!(got.is(403));
    assert_eq!(got.body, r#"{"error":"required scopes read:things, admin not present"}"#);
    assert!(gate.bearer(&gate.idp.token(json!({"scope": "admin read:things"}))).await.passed());
}

#[tokio::test]
async fn j52_the_same_token_is_judged_by_each_routes_own_rules() {
    let gate = Gate::with(only_tokens).await;
    let token = gate.idp.token(json!({}));
    assert!(gate.bearer(&token).await.passed());
    let admins = gate.sibling(|config| {
        only_tokens(config);
        config.required_scopes = vec!["admin".to_owned()];
    });
    let clients = gate.sibling(|config| {
        only_tokens(config);
        config.bearer.as_mut().unwrap().audience.is_client = true;
    });
    let others = gate.sibling(|config| {
        only_tokens(config);
        config.issuers = vec!["https://other.example/".to_owned()];
    });
    assert!(admins.bearer(&token).await.is(403));
    assert!(clients.bearer(&token).await.is(403));
    assert!(others.bearer(&token).await.is(401));
    let last = token.len() - 10;
    let flipped = if token.as_bytes()[last] == b'A' { "B" } else { "A" };
    let altered = format!("{}{flipped}{}", &token[..last], &token[last + 1..]);
    assert!(gate.bearer(&altered).await.is(401));
    assert!(gate.bearer(&token).await.passed());
}

#[tokio::test]
async fn a_warm_token_waits_for_nothing_and_asks_nobody() {
    let gate = Gate::with(only_tokens).await;
    let token = gate.idp.token(json!({}));
    assert!(gate.bearer(&token).await.passed());
    let asked = gate.idp.hits("/jwks").len();
    let again = gate.sibling(only_tokens);
    for gate in [&gate, &again] {
        let api = get("https://app.example/api").with("authorization", &format!("Bearer {token}"));
        let (got, waited) = gate.send(api).await;
        assert!(got.passed() && !waited);
    }
    assert_eq!(gate.idp.hits("/jwks").len(), asked);
}

#[tokio::test]
async fn j38_a_new_key_is_fetched_when_its_first_token_comes_and_the_old_one_still_counts() {
    let gate = Gate::with(only_tokens).await;
    let old = gate.idp.token(json!({}));
    let new = Arc::new(idp::key("2"));
    gate.idp.script(|script| {
        script.published.push(new.public_jwk());
        script.key = Some(new);
    });
    let before = gate.idp.hits("/jwks").len();
    let token = gate.idp.token(json!({}));
    for token in [&token, &old, &token] {
        let got = gate.bearer(token).await;
        assert!(got.passed(), "{got:?}");
    }
    assert_eq!(gate.idp.hits("/jwks").len(), before + 1);
}

#[tokio::test]
async fn j36_a_flood_of_made_up_key_ids_costs_the_provider_one_fetch() {
    let gate = Gate::with(only_tokens).await;
    let before = gate.idp.hits("/jwks").len();
    for number in 0..20 {
        let stranger = Arc::new(idp::key(&format!("stranger-{number}")));
        gate.idp.script(|script| script.key = Some(stranger));
        assert!(gate.bearer(&gate.idp.token(json!({}))).await.is(401));
    }
    assert_eq!(gate.idp.hits("/jwks").len(), before + 1);
}

#[tokio::test]
async fn j53_a_key_that_is_withdrawn_verifies_no_more_cached_or_not() {
    let gate = Gate::with(only_tokens).await;
    let (withdrawn, newer) = (Arc::new(idp::key("2")), Arc::new(idp::key("3")));
    gate.idp.script(|script| {
        script.published.push(withdrawn.public_jwk());
        script.key = Some(withdrawn);
    });
    let token = gate.idp.token(json!({}));
    assert!(gate.bearer(&token).await.passed());
    gate.pass(31);
    gate.idp.script(|script| {
        script.published = vec![newer.public_jwk()];
        script.key = Some(newer);
    });
    assert!(gate.bearer(&gate.idp.token(json!({}))).await.passed());
    gate.pass(31);
    assert!(gate.bearer(&token).await.is(401));
}

#[tokio::test]
async fn a_public_key_of_the_configuration_verifies_by_itself() {
    let key = SigningKey::generate(Alg::RS256, "x".to_owned()).unwrap();
    let pem = spki_pem(&key);
    let gate = Gate::with(|config| verification(config, Verification::PublicKey(pem.clone()))).await;
    assert!(gate.bearer(&gate.idp.token(json!({}))).await.is(401));
    gate.idp.script(|script| script.key = Some(Arc::new(key)));
    let token = gate.idp.token(json!({}));
    assert!(gate.bearer(&token).await.passed());
    assert!(gate.bearer(&token).await.passed());
    let narrow = gate.sibling(|config| {
        verification(config, Verification::PublicKey(pem.clone()));
        config.alg = Some(Alg::PS256);
    });
    let got = narrow.bearer(&token).await;
    assert!(challenge(&got).contains(r#"token is signed by unexpected algorithm \"RS256\""#), "{got:?}");
}

/// The public half of an RSA key as PEM, by way of its JWK: what an operator copies from a provider.
fn spki_pem(key: &SigningKey) -> String {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let jwk = key.public_jwk();
    let part = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
    let length = |length: usize| match length {
        0..128 => vec![length as u8],
        128..256 => vec![0x81, length as u8],
        _ => vec![0x82, (length >> 8) as u8, length as u8],
    };
    let wrap = |tag: u8, content: Vec<u8>| [vec![tag], length(content.len()), content].concat();
    let integer = |bytes: Vec<u8>| wrap(2, [vec![0], bytes].concat());
    let rsa = wrap(0x30, [integer(part("n")), wrap(2, part("e"))].concat());
    let oid = [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
    let spki = wrap(0x30, [oid.to_vec(), wrap(3, [vec![0], rsa].concat())].concat());
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(spki))
}

#[tokio::test]
async fn an_opaque_token_is_introspected_and_counts_for_the_time_that_is_configured() {
    let gate = Gate::with(|config| {
        verification(config, Verification::Discovered(introspection(None)));
    })
    .await;
    assert!(gate.bearer("opaque").await.is(401));
    let exp = gate.clock.now().secs() + 600;
    let active = json!({"active": true, "exp": exp, "scope": "a b", "sub": "user", "username": "x"});
    gate.idp.answer("/introspect", 200, active);
    let got = gate.bearer("opaque").await;
    assert!(got.passed(), "{got:?}");
    assert_eq!(got.told("x-access-token"), Some("opaque"));
    assert_eq!(got.told_json("x-userinfo")["username"], "x");
    let hit = gate.idp.hits("/introspect").pop().unwrap();
    assert_eq!(hit.form["token"], "opaque");
    assert!(hit.headers["authorization"].to_str().unwrap().starts_with("Basic "));
    let asked = gate.idp.hits("/introspect").len();
    gate.idp.answer("/introspect", 200, json!({"active": false}));
    gate.pass(59);
    assert!(gate.bearer("opaque").await.passed());
    assert_eq!(gate.idp.hits("/introspect").len(), asked);
    gate.pass(1);
    let got = gate.bearer("opaque").await;
    assert!(got.is(401) && challenge(&got).ends_with(r#"error_description="invalid token""#), "{got:?}");
}

#[tokio::test]
async fn r40_an_answer_of_half_a_megabyte_becomes_no_header() {
    let gate = Gate::with(|config| {
        verification(config, Verification::Discovered(introspection(None)));
    })
    .await;
    let exp = gate.clock.now().secs() + 600;
    let answer = json!({"active": true, "exp": exp, "sub": "user", "groups": "x".repeat(500_000)});
    gate.idp.answer("/introspect", 200, answer);
    let got = gate.bearer("opaque").await;
    assert!(got.passed() && got.told("x-userinfo").is_none(), "{:?}", got.status);
    assert_eq!(got.told("x-access-token"), Some("opaque"));
}

#[tokio::test]
async fn bearer_only_alone_verifies_jwts_by_keys_and_refuses_opaque_tokens_nobody_knows() {
    let gate = Gate::cold(|config| verification(config, Verification::Discovered(introspection(None)))).await;
    gate.idp.script(|script| {
        script.metadata = Some(Box::new(|metadata| {
            drop(metadata.as_object_mut().unwrap().remove("introspection_endpoint"))
        }));
    });
    let got = gate.bearer(&gate.idp.token(json!({}))).await;
    assert!(got.passed(), "{got:?}");
    let got = gate.bearer("opaque").await;
    assert!(got.is(401) && challenge(&got).contains("no endpoint URI for introspection"), "{got:?}");
    assert!(gate.bearer("a.b.c").await.is(401));
}

#[tokio::test]
async fn j51_an_introspection_endpoint_that_lies_or_fails_lets_nobody_in() {
    let gate = Gate::with(|config| {
        let endpoint = config.discovery.replace(".well-known/openid-configuration", "introspect");
        verification(config, Verification::Introspection(introspection(Some(endpoint))));
    })
    .await;
    let exp = gate.clock.now().secs() + 600;
    for (status, body, expected) in [
        (200, json!({"active": "true", "exp": exp}), 401),
        (200, json!({"active": 1, "exp": exp}), 401),
        (200, json!({"active": true}), 401),
        (200, json!({"active": true, "exp": "x"}), 401),
        (200, json!({"active": true, "exp": exp - 600}), 401),
        (200, json!({"active": true, "exp": exp, "token": "another"}), 401),
        (200, json!({"active": true, "exp": exp, "cnf": {"jkt": "x"}}), 401),
        (200, json!({"active": true, "exp": exp, "iss": "https://other.example/"}), 401),
        (200, json!(["active"]), 503),
        (500, json!({"active": true, "exp": exp}), 503),
        (401, json!({"error": "invalid_client"}), 503),
    ] {
        gate.idp.answer("/introspect", status, &body);
        let got = gate.bearer("opaque").await;
        assert!(got.is(expected), "{body}: {got:?}");
        assert!(!got.header("www-authenticate").contains("another") && !got.body.contains("invalid_client"));
    }
}

#[tokio::test]
async fn r37_a_provider_that_is_down_is_a_503_and_heals() {
    let gate = Gate::cold(only_tokens).await;
    gate.idp.answer("/.well-known/openid-configuration", 500, "");
    let token = gate.idp.token(json!({}));
    let got = gate.bearer(&token).await;
    assert!(got.is(503) && got.header("www-authenticate").is_empty(), "{got:?}");
    gate.idp.script(|script| script.answers.clear());
    gate.services.providers.refresh_due().await;
    assert!(gate.bearer(&token).await.passed());
}

#[tokio::test]
async fn r42_a_token_wins_over_a_cookie_and_their_claims_are_not_mixed() {
    let gate = Gate::new().await;
    let mut jar = Jar::log_in(&gate, PAGE).await;
    let token = gate.idp.token(json!({"sub": "machine"}));
    let both = get(PAGE).with("authorization", &format!("Bearer {token}"));
    let got = jar.send(&gate, both).await;
    assert!(got.passed());
    assert_eq!(got.told_json("x-userinfo")["sub"], "machine");
    assert_eq!((got.told("x-id-token"), got.told("cookie")), (None, None));
    let bad = get(PAGE).with("authorization", "Bearer bad");
    assert!(jar.send(&gate, bad).await.is(401), "a bad token is not rescued by a cookie");
}

#[tokio::test]
async fn what_could_not_work_is_refused_when_it_is_configured() {
    let gate = Gate::new().await;
    let refused = |change: &dyn Fn(&mut Config)| {
        let mut config = config(&gate.idp);
        change(&mut config);
        match compile(config, &gate.services) {
            Ok(_) => panic!("it is accepted"),
            Err(error) => error.path,
        }
    };
    let login = |change: fn(&mut LoginConfig)| refused(&move |config| change(config.login.as_mut().unwrap()));
    assert_eq!(refused(&|config| config.realm = "a\"b".to_owned()), "realm");
    assert_eq!(refused(&|config| config.discovery = "ftp://x/".to_owned()), "discovery");
    assert_eq!(refused(&|config| config.alg = Some(Alg::HS256)), "token_signing_alg_values_expected");
    assert_eq!(refused(&|config| config.calls.timeout = Duration::from_secs(u64::MAX)), "timeout");
    let weak = |config: &mut Config| {
        (config.alg, config.bearer) = (Some(Alg::HS256), None);
        config.client_secret = Some(Secret::new("j16: too short".to_owned()));
    };
    assert_eq!(refused(&weak), "client_secret");
    let pem = |config: &mut Config| verification(config, Verification::PublicKey("nonsense".to_owned()));
    assert_eq!(refused(&pem), "public_key");
    let ftp = |config: &mut Config| {
        verification(config, Verification::Introspection(introspection(Some("ftp://x/".to_owned()))));
    };
    assert_eq!(refused(&ftp), "introspection_endpoint");
    let metadata_service = |config: &mut Config| {
        let url = Some("http://169.254.169.254/introspect".to_owned());
        verification(config, Verification::Introspection(introspection(url)));
    };
    assert_eq!(refused(&metadata_service), "introspection_endpoint");
    assert_eq!(login(|login| login.redirect_uri = Some("callback".to_owned())), "redirect_uri");
    for open in [
        "//evil.example/",
        "/\\evil.example/",
        "https:evil.example",
        "https://a@evil.example/",
        "javascript:x",
    ] {
        let change = move |config: &mut Config| {
            config.login.as_mut().unwrap().post_logout_redirect_uri = Some(open.to_owned());
        };
        assert_eq!(refused(&change), "post_logout_redirect_uri", "{open}");
    }
    for name in ["state", "nonce", "redirect_uri", "code_challenge", "client_id", "request", "response_mode"]
    {
        let change = move |config: &mut Config| {
            config.login.as_mut().unwrap().authorization_params = vec![(name.to_owned(), "x".to_owned())];
        };
        assert_eq!(refused(&change), format!("authorization_params.{name}"));
    }
    assert_eq!(login(|login| login.cookies.name = Some("a;b".to_owned())), "session.cookie_name");
    assert_eq!(login(|login| login.cookies.path = Some("app".to_owned())), "session.cookie_path");
    let dropped = |login: &mut LoginConfig| {
        (login.cookies.same_site, login.cookies.secure) = (rp::session::SameSite::None, Some(false));
    };
    assert_eq!(login(dropped), "session.cookie_same_site");
    assert_eq!(login(|login| login.cookies.domain = Some("a; Secure".to_owned())), "session.cookie_domain");
}
