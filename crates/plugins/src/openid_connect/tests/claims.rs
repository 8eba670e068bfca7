//! What becomes of verified claims: rules over them, headers made of them, and whose they may be.

use gateway::consumer::Consumer;
use jose::Alg;
use rp::bearer::ClaimPath;
use serde_json::json;

use super::*;

fn claim(path: &str) -> ClaimRef {
    ClaimRef { path: ClaimPath::parse(path).unwrap(), document: Document::Any }
}

fn one_of(path: &str, values: Value) -> ClaimRule {
    let any_of = values.as_array().unwrap().clone();
    ClaimRule::Test(ClaimTest { claim: claim(path), any_of, all_of: Vec::new(), none_of: Vec::new() })
}

fn header(name: &'static str, path: &str) -> ClaimHeader {
    ClaimHeader { name: HeaderName::from_static(name), claim: claim(path) }
}

fn further(idp: &Idp) -> IssuerConfig {
    IssuerConfig {
        discovery: idp.discovery(),
        issuers: Vec::new(),
        client_id: None,
        audiences: None,
        required_scopes: None,
        claim_rules: None,
    }
}

fn bearer(config: &mut Config) -> &mut BearerConfig {
    config.login = None;
    config.bearer.as_mut().unwrap()
}

#[tokio::test]
async fn a_token_whose_claims_break_a_rule_is_a_403_that_names_them_and_no_values() {
    let gate = Gate::with(|config| {
        config.login = None;
        config.claim_rules = vec![
            one_of("realm_access.roles", json!(["canary-admin", "canary-editor"])),
            one_of("https://example.com/plan", json!(["canary-paid"])),
        ];
    })
    .await;
    let good =
        json!({"realm_access": {"roles": ["x", "canary-editor"]}, "https://example.com/plan": "canary-paid"});
    for _ in 0..2 {
        assert!(gate.bearer(&gate.idp.token(good.clone())).await.passed());
    }
    let bad = gate.idp.token(
        json!({"realm_access": {"roles": ["canary-admins"]}, "https://example.com/plan": "canary-free"}),
    );
    for _ in 0..2 {
        let got = gate.bearer(&bad).await;
        assert!(got.is(403), "{got:?}");
        let text =
            "the claims realm_access.roles, https://example.com/plan do not satisfy the rules of this route";
        assert_eq!(got.body, json!({ "error": text }).to_string());
    }
    let one = gate.idp.token(json!({"realm_access": {"roles": "canary-admin"}}));
    let got = gate.bearer(&one).await;
    let text = "the claim https://example.com/plan does not satisfy the rules of this route";
    assert_eq!(got.body, json!({ "error": text }).to_string());
}

#[tokio::test]
async fn an_audience_may_be_one_of_several() {
    let gate = Gate::with(|config| {
        bearer(config).audience.values = vec!["https://a/".to_owned(), "https://b/".to_owned()];
    })
    .await;
    for (aud, expected) in [
        (json!("https://a/"), None),
        (json!(["x", "https://b/"]), None),
        (json!("https://a"), Some("mismatched audience")),
        (json!(["https://a/x"]), Some("mismatched audience")),
        (json!([]), Some("required audience claim not present")),
        (Value::Null, Some("required audience claim not present")),
    ] {
        let got = gate.bearer(&gate.idp.token(json!({ "aud": aud }))).await;
        match expected {
            None => assert!(got.passed(), "{aud}: {got:?}"),
            Some(why) => {
                assert_eq!((got.is(403), got.body), (true, json!({ "error": why }).to_string()), "{aud}")
            }
        }
    }
}

#[tokio::test]
async fn claims_become_headers_and_a_clients_own_never_arrive_in_any_spelling() {
    let gate = Gate::with(|config| {
        config.claim_headers = vec![header("x-user-email", "email"), header("x-roles", "realm_access.roles")];
        config.login.as_mut().unwrap().unauthenticated = Unauthenticated::Pass;
    })
    .await;
    let forged = |asking: Asking| {
        ["X-User-Email", "X_User_Email", "x.user.email", "X-Roles", "X_ROLES"]
            .iter()
            .fold(asking, |asking, name| asking.with(name, "forged"))
    };
    let token = gate
        .idp
        .token(json!({"email": "u@example.com\r\nX-Roles: admin", "realm_access": {"roles": ["a", "b,c"]}}));
    for _ in 0..2 {
        let asking = get("https://app.example/api").with("authorization", &format!("Bearer {token}"));
        let got = gate.send(forged(asking)).await.0;
        assert!(got.passed(), "{got:?}");
        assert_eq!(got.told("x-user-email"), Some("u@example.com%0D%0AX-Roles: admin"));
        assert_eq!(got.told("x-roles"), Some("a,b%2Cc"));
        assert!(!format!("{:?}", got.upstream).contains("forged"), "h02: {got:?}");
    }
    let nobody = gate.send(forged(get("https://app.example/api"))).await.0;
    assert!(nobody.passed() && !format!("{:?}", nobody.upstream).contains("forged"), "h01: {nobody:?}");
    let without = gate.idp.token(json!({}));
    let asking = get("https://app.example/api").with("authorization", &format!("Bearer {without}"));
    let got = gate.send(forged(asking)).await.0;
    assert!(got.passed() && got.told("x-roles").is_none(), "{got:?}");
}

#[tokio::test]
async fn a_sessions_claims_are_judged_and_told_as_a_tokens_are() {
    let gate = Gate::with(|config| {
        config.claim_headers = vec![header("x-name", "name"), header("x-team", "team")];
        config.claim_rules = vec![one_of("team", json!(["ops"]))];
    })
    .await;
    gate.idp.script(|script| script.id_token = Some(Box::new(|claims| claims["team"] = json!(["dev"]))));
    let mut jar = Jar::log_in(&gate, PAGE).await;
    let got = jar.go(&gate, PAGE).await;
    assert!(got.is(403) && got.body.contains("the claim team"), "{got:?}");
    gate.idp
        .script(|script| script.id_token = Some(Box::new(|claims| claims["team"] = json!(["dev", "ops"]))));
    let mut jar = Jar::log_in(&gate, PAGE).await;
    for _ in 0..2 {
        let got = jar.send(&gate, get(PAGE).with("x-team", "forged")).await;
        assert!(got.passed(), "{got:?}");
        assert_eq!((got.told("x-name"), got.told("x-team")), (Some("User"), Some("dev,ops")));
    }
    let elsewhere = gate.sibling(|config| {
        let document = Document::Userinfo;
        config.claim_headers = vec![ClaimHeader {
            name: HeaderName::from_static("x-name"),
            claim: ClaimRef { document, ..claim("name") },
        }];
    });
    let got = jar.go(&elsewhere, PAGE).await;
    assert_eq!(got.told("x-name"), Some("%C3%9Cn%C3%AF \"c%C3%B6d%C3%A9\"%0D%0A"), "{got:?}");
}

#[tokio::test]
async fn j50_the_scopes_of_a_session_are_whole_words_of_scope_or_scp() {
    let gate = Gate::with(|config| config.required_scopes = vec!["admin".to_owned()]).await;
    for (scope, passes) in [
        (json!({"scope": "openid admin"}), true),
        (json!({"scp": ["admin"]}), true),
        (json!({"scope": "not-admin"}), false),
        (json!({"scp": "admin-not"}), false),
        (json!({}), false),
    ] {
        let token = gate.idp.token(json!({"scope": null, "sub": "user"}));
        let with = gate.idp.sign("at+jwt", &scope);
        assert_ne!(token, with);
        gate.idp.script(|script| {
            script.token_response = Some(Box::new(move |answer| answer["access_token"] = json!(with)));
            script.id_token =
                Some(Box::new(|claims| drop(claims.as_object_mut().unwrap().remove("at_hash"))));
        });
        let got = Jar::log_in(&gate, PAGE).await.go(&gate, PAGE).await;
        assert_eq!(got.passed(), passes, "{scope}: {got:?}");
    }
}

#[tokio::test]
async fn the_issuer_of_a_token_picks_its_keys_and_its_rules() {
    let clock = Clock::fixed(UnixMillis::from_secs(1_800_000_000));
    let other = Idp::start(&clock).await;
    let strange = Idp::start(&clock).await;
    let own = Arc::new(idp::key("other"));
    other.script(|script| {
        script.published.push(own.public_jwk());
        script.key = Some(own);
    });
    let gate = Gate::with(|config| {
        bearer(config).audience.is_client = true;
        config.required_scopes = vec!["read:things".to_owned()];
        let mut issuer = further(&other);
        issuer.client_id = Some("there".to_owned());
        issuer.required_scopes = Some(Vec::new());
        issuer.claim_rules = Some(vec![one_of("tid", json!(["t"]))]);
        bearer(config).additional_issuers = vec![issuer];
    })
    .await;
    for _ in 0..2 {
        let here = gate.idp.token(json!({"aud": CLIENT}));
        assert!(gate.bearer(&here).await.passed());
        let there = other.token(json!({"aud": "there", "scope": null, "tid": "t"}));
        let got = gate.bearer(&there).await;
        assert!(got.passed(), "{got:?}");
        assert_eq!(got.told_json("x-userinfo")["iss"], other.issuer());
    }
    let rule = gate.bearer(&other.token(json!({"aud": "there", "tid": "x"}))).await;
    assert!(rule.is(403) && rule.body.contains("tid"), "{rule:?}");
    let audience = gate.bearer(&other.token(json!({"aud": CLIENT, "tid": "t"}))).await;
    assert!(audience.is(403) && audience.body.contains("mismatched"), "{audience:?}");
    let scope = gate.bearer(&gate.idp.token(json!({"aud": CLIENT, "scope": "x"}))).await;
    assert!(scope.is(403), "{scope:?}");
    for unknown in [strange.issuer(), String::new(), other.issuer().trim_end_matches('/').to_owned()] {
        let got = gate.bearer(&strange.token(json!({"iss": unknown, "aud": CLIENT}))).await;
        assert!(got.is(401), "j29: {unknown}: {got:?}");
    }
    assert!(gate.bearer(&strange.token(json!({"iss": null, "aud": CLIENT}))).await.is(401));
    assert!(strange.hits("/.well-known/openid-configuration").is_empty() && strange.hits("/jwks").is_empty());
    assert!(gate.bearer("opaque").await.is(401));
}

#[tokio::test]
async fn j42_issuers_that_share_a_key_still_vouch_for_their_own_tokens_alone() {
    let clock = Clock::fixed(UnixMillis::from_secs(1_800_000_000));
    // All providers of these tests sign with one key.
    let other = Idp::start(&clock).await;
    let alone = Gate::with(|config| config.login = None).await;
    assert!(alone.bearer(&alone.idp.token(json!({}))).await.passed());
    assert!(alone.bearer(&other.token(json!({}))).await.is(401), "the key is right and the issuer is not");
    let both = alone.sibling(|config| {
        let mut issuer = further(&other);
        issuer.required_scopes = Some(vec!["only-there".to_owned()]);
        bearer(config).additional_issuers = vec![issuer];
    });
    assert!(both.bearer(&both.idp.token(json!({}))).await.passed());
    assert!(both.bearer(&other.token(json!({}))).await.is(403), "the other's rules hold for its tokens");
    let withdrawn = Arc::new(idp::key("2"));
    other.script(|script| {
        script.published = vec![withdrawn.public_jwk()];
        script.key = Some(withdrawn);
    });
    let as_ours = other.token(json!({"iss": both.idp.issuer()}));
    assert!(both.bearer(&as_ours).await.is(401), "a key of the other issuer verifies nothing of ours");
}

#[tokio::test]
async fn an_issuer_that_is_down_is_a_503_for_what_may_be_its_own_and_nothing_to_the_others() {
    let clock = Clock::fixed(UnixMillis::from_secs(1_800_000_000));
    let other = Idp::start(&clock).await;
    other.answer("/.well-known/openid-configuration", 500, "");
    let gate = Gate::with(|config| bearer(config).additional_issuers = vec![further(&other)]).await;
    assert!(gate.bearer(&gate.idp.token(json!({}))).await.passed());
    assert!(gate.bearer(&other.token(json!({}))).await.is(503));
    other.script(|script| script.answers.clear());
    gate.services.providers.refresh_due().await;
    assert!(gate.bearer(&other.token(json!({}))).await.passed());
}

#[tokio::test]
async fn entra_tokens_name_their_tenant_in_both_versions() {
    let gate = Gate::with(|config| {
        config.login = None;
        let host = config.discovery.replace("/.well-known/openid-configuration", "");
        config.issuers =
            vec![format!("{host}/{{tenantid}}/v2.0"), "https://sts.windows.net/{tenantid}/".to_owned()];
    })
    .await;
    let (v1, v2) = ("https://sts.windows.net/t-1/".to_owned(), format!("{}t-1/v2.0", gate.idp.issuer()));
    for (iss, tid, passes) in [
        (&v2, json!("t-1"), true),
        (&v1, json!("t-1"), true),
        (&v2, json!("t-2"), false),
        (&v1, Value::Null, false),
        (&gate.idp.issuer(), json!("t-1"), false),
    ] {
        let got = gate.bearer(&gate.idp.token(json!({"iss": iss, "tid": tid}))).await;
        assert_eq!((got.passed(), got.is(401)), (passes, !passes), "{iss} {tid}: {got:?}");
    }
}

#[tokio::test]
async fn j42_a_key_that_is_published_for_one_tenant_vouches_for_no_other() {
    let gate = Gate::cold(|config| {
        config.login = None;
        let host = config.discovery.replace("/.well-known/openid-configuration", "");
        config.issuers = vec![format!("{host}/{{tenantid}}/v2.0")];
    })
    .await;
    let of = |tenant: &str| format!("{}{tenant}/v2.0", gate.idp.issuer());
    let key = |kid: &str, issuer: String| {
        let key = Arc::new(idp::key(kid));
        let mut jwk = key.public_jwk();
        jwk["issuer"] = json!(issuer);
        gate.idp.script(|script| script.published.push(jwk));
        key
    };
    let (consumers, all) = (key("consumers", of("t-9")), key("all", of("{tenantid}")));
    let token = |key: &Arc<jose::SigningKey>, tenant: &str| {
        gate.idp.script(|script| script.key = Some(key.clone()));
        gate.idp.token(json!({"iss": of(tenant), "tid": tenant}))
    };
    assert!(gate.bearer(&token(&all, "t-1")).await.passed());
    assert!(gate.bearer(&token(&consumers, "t-9")).await.passed());
    assert!(gate.bearer(&token(&consumers, "t-1")).await.is(401));
    let one = gate.sibling(|config| {
        config.login = None;
        config.issuers = vec![of("t-1"), gate.idp.issuer()];
    });
    assert!(
        one.bearer(&token(&consumers, "t-1")).await.passed(),
        "where one issuer is named, its word on keys is enough"
    );
}

#[tokio::test]
async fn j04_j05_j06_a_symmetric_key_is_the_only_one_of_its_route() {
    const KEY: &str = "0123456789abcdef0123456789abcdef";
    let secret = |key: &str| Verification::SymmetricKey { key: Secret::new(key.to_owned()), alg: Alg::HS256 };
    let gate = Gate::with(|config| bearer(config).verification = secret(KEY)).await;
    let published = gate.idp.token(json!({}));
    assert!(gate.bearer(&published).await.is(401), "a public key verifies nothing here");
    let sign = |alg: Alg, key: &[u8]| {
        let key = jose::SigningKey::from_hmac_secret(alg, "1".to_owned(), key).unwrap();
        gate.idp.script(|script| script.key = Some(Arc::new(key)));
        gate.idp.token(json!({}))
    };
    let good = sign(Alg::HS256, KEY.as_bytes());
    for _ in 0..2 {
        assert!(gate.bearer(&good).await.passed());
    }
    let longer = [KEY, KEY].concat();
    assert!(gate.bearer(&sign(Alg::HS256, longer.as_bytes())).await.is(401));
    let other_alg = gate.bearer(&sign(Alg::HS512, longer.as_bytes())).await;
    assert!(other_alg.is(401) && other_alg.header("www-authenticate").contains("HS512"), "{other_alg:?}");
    let other_key = gate.sibling(|config| bearer(config).verification = secret(&longer));
    assert!(
        other_key.bearer(&good).await.is(401),
        "j52: what was verified by another key is not remembered for it"
    );
    for short in ["", "x", &KEY[1..]] {
        let mut config = config(&gate.idp);
        bearer(&mut config).verification = secret(short);
        let error = compile(config, &gate.services).map(drop).unwrap_err();
        assert_eq!(error.path, "symmetric_key", "j16: {error}");
    }
}

#[tokio::test]
async fn j47_a_token_comes_from_the_one_place_that_is_configured() {
    let from = |source: TokenSource| move |config: &mut Config| bearer(config).source = source;
    let name = HeaderName::from_static("x-token");
    let header = Gate::with(from(TokenSource::Header(name))).await;
    let cookie = header.sibling(from(TokenSource::Cookie("at".to_owned())));
    let token = header.idp.token(json!({}));
    let page = || get("https://app.example/api");
    let send = async |gate: &Gate, asking: Asking| gate.send(asking).await.0;
    for value in [token.clone(), format!("Bearer {token}"), format!("bEARER  {token}")] {
        let got = send(&header, page().with("x-token", &value)).await;
        assert!(got.passed(), "{got:?}");
        assert_eq!(got.told("x-access-token"), Some(token.as_str()));
    }
    for (asking, status) in [
        (page(), 401),
        (page().with("authorization", &format!("Bearer {token}")), 401),
        (page().with("x-token", "Basic eDp5"), 401),
        (page().with("x-token", &format!("Bearer {token} x")), 401),
        (page().with("x-token", ""), 400),
        (page().with("x-token", &token).with("x-token", &token), 400),
        (page().with("x-token", &token).with("authorization", &format!("Bearer {token}")), 400),
        (get(&format!("https://app.example/api?access_token={token}")).with("x-token", &token), 400),
    ] {
        let got = send(&header, asking).await;
        assert!(got.is(status), "{status}: {got:?}");
    }
    let line = format!("a=b; at={token}");
    assert!(send(&cookie, page().with("cookie", &line)).await.passed());
    assert!(send(&cookie, page().with("cookie", &format!("at={token}; at={token}"))).await.passed());
    for (asking, status) in [
        (page(), 401),
        (page().with("cookie", "at="), 401),
        (page().with("cookie", "at=x y"), 401),
        (page().with("cookie", &format!("{line}; at=other")), 400),
        (page().with("cookie", &line).with("authorization", &format!("Bearer {token}")), 400),
        (page().with("authorization", &format!("Bearer {token}")), 401),
        (page().method(Method::POST).with("cookie", &line).with("sec-fetch-site", "cross-site"), 401),
    ] {
        let got = send(&cookie, asking).await;
        assert!(got.is(status), "{status}: {got:?}");
    }
    let own = page().method(Method::POST).with("cookie", &line).with("sec-fetch-site", "same-origin");
    assert!(send(&cookie, own).await.passed());
    let in_authorization = header.sibling(|config| {
        bearer(config).source = TokenSource::Cookie("at".to_owned());
        config.headers.access_token = AccessTokenHeader::Authorization;
    });
    let got = send(&in_authorization, page().with("cookie", &line)).await;
    assert_eq!(got.told("authorization"), Some(format!("Bearer {token}").as_str()));
}

fn consumer(username: &str, custom_id: &str) -> Arc<Consumer> {
    Arc::new(Consumer {
        id: username.into(),
        username: Some(username.into()),
        custom_id: Some(custom_id.into()),
        groups: Vec::new(),
        memberships: Vec::new(),
        labels: BTreeMap::new(),
        headers: vec![(
            HeaderName::from_static("x-consumer-username"),
            HeaderValue::from_str(username).unwrap(),
        )],
        layer: Arc::default(),
        created: 1,
    })
}

#[tokio::test]
async fn j53_a_claim_names_a_consumer_and_one_that_is_deleted_is_nobodys() {
    let named = |by: ConsumerName, required: bool, anonymous: Option<&str>| {
        let anonymous = anonymous.map(str::to_owned);
        move |config: &mut Config| {
            config.login = None;
            config.consumer = Some(ConsumerConfig {
                groups: None,
                claims: vec![claim("client.name")],
                by: vec![by],
                required,
                anonymous,
            });
        }
    };
    let gate = Gate::with(named(ConsumerName::Username, true, None)).await;
    let (jack, guest) = (consumer("jack", "7"), consumer("guest", "8"));
    let table = |of: &[&Arc<Consumer>]| {
        let mut consumers = Consumers::new(&[7; 32]);
        of.iter().for_each(|consumer| consumers.insert(consumer, &[]));
        *gate.consumers.lock().unwrap() = Arc::new(consumers);
    };
    table(&[&jack, &guest]);
    let token = |name: Value| gate.idp.token(json!({"client": {"name": name}}));
    for _ in 0..2 {
        let got = gate.bearer(&token(json!("jack"))).await;
        assert_eq!((got.passed(), got.attached.as_deref()), (true, Some("jack")), "{got:?}");
        assert_eq!(got.told("x-consumer-username"), Some("jack"));
    }
    for nobody in
        [json!("nobody"), json!("Jack"), json!(""), json!(["jack", "guest"]), json!({}), Value::Null]
    {
        let got = gate.bearer(&token(nobody.clone())).await;
        assert!(got.is(403) && got.body.contains("no consumer is known"), "{nobody}: {got:?}");
    }
    let by_id = gate.sibling(named(ConsumerName::CustomId, true, None));
    for id in [json!("7"), json!(7), json!(["7"])] {
        assert_eq!(by_id.bearer(&token(id)).await.attached.as_deref(), Some("jack"));
    }
    assert!(by_id.bearer(&token(json!("jack"))).await.is(403));
    let optional = gate.sibling(named(ConsumerName::Username, false, None));
    let got = optional.bearer(&token(json!("nobody"))).await;
    assert_eq!((got.passed(), got.attached), (true, None));
    let anonymous = gate.sibling(named(ConsumerName::Username, true, Some("guest")));
    assert_eq!(anonymous.bearer(&token(json!("nobody"))).await.attached.as_deref(), Some("guest"));
    let asked = gate.sibling(|config| {
        named(ConsumerName::Username, true, None)(config);
        config.bearer.as_mut().unwrap().verification = Verification::Discovered(introspection(None));
    });
    let answer =
        json!({"active": true, "exp": gate.clock.now().secs() + 60, "sub": "u", "client": {"name": "jack"}});
    gate.idp.answer("/introspect", 200, answer);
    for _ in 0..2 {
        assert_eq!(asked.bearer("opaque").await.attached.as_deref(), Some("jack"), "cold and warm");
    }
    table(&[&guest]);
    assert!(
        gate.bearer(&token(json!("jack"))).await.is(403),
        "its token is still remembered, and it is gone"
    );
    assert!(asked.bearer("opaque").await.is(403));
    table(&[]);
    assert!(anonymous.bearer(&token(json!("nobody"))).await.is(403), "there is no guest either");
}

#[tokio::test]
async fn a_session_is_a_consumer_and_is_vouched_for_also_when_it_was_just_refreshed() {
    let gate = Gate::with(|config| {
        config.consumer = Some(ConsumerConfig {
            groups: None,
            claims: vec![claim("name")],
            by: vec![ConsumerName::Username],
            required: true,
            anonymous: None,
        });
        config.assertion = Some(AssertionConfig {
            header: HeaderName::from_static("x-identity-assertion"),
            issuer: "gate".to_owned(),
            audience: None,
            claims: Vec::new(),
            lifetime: Duration::from_secs(60),
            jwks_path: "/keys".to_owned(),
        });
    })
    .await;
    let mut consumers = Consumers::new(&[7; 32]);
    consumers.insert(&consumer("User", "7"), &[]);
    *gate.consumers.lock().unwrap() = Arc::new(consumers);
    let mut jar = Jar::log_in(&gate, PAGE).await;
    let mut told = Vec::new();
    for seconds in [0, 1, 40, 600] {
        gate.pass(seconds);
        let got = jar.go(&gate, PAGE).await;
        assert_eq!((got.passed(), got.attached.as_deref()), (true, Some("User")), "{got:?}");
        told.push(got.told("x-identity-assertion").unwrap().to_owned());
    }
    assert_eq!(told[0], told[1], "it is used again for a while");
    assert!(told[1] != told[2] && told[2] != told[3]);
    let keys = jar.go(&gate, "https://app.example/keys").await;
    assert!(keys.is(200) && keys.body.starts_with(r#"{"keys":[{"#), "{keys:?}");
    *gate.consumers.lock().unwrap() = Arc::default();
    assert!(jar.go(&gate, PAGE).await.is(403));
}
