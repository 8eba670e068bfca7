//! The ways in which `openid-connect` finds out who calls, each by itself and in their order.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use support::{Browser, Provider, Seen, tokens};

use super::{machines::basic, *};

/// A token of which only the provider knows what it says.
pub(super) const OPAQUE: &str = "opaque-but-good";

/// A provider that knows the gate, one machine, and Ann, and answers each grant with a token that says which it was.
pub(super) struct Known {
    pub(super) provider: Provider,
    /// Beside what every token says.
    claims: Arc<Mutex<Value>>,
}

impl Known {
    pub(super) fn start() -> Self {
        let provider = Provider::start("gate");
        let (issuer, sign) = (provider.issuer(), provider.signer());
        let claims = Arc::new(Mutex::new(json!({})));
        let further = Arc::clone(&claims);
        let token = move |sub: &str, grant: &str| {
            let now = tokens::now();
            let mut all = json!({
                "iss": issuer, "sub": sub, "aud": "https://api.example/", "iat": now, "exp": now + 3600, "grant": grant,
            });
            let further = further.lock().unwrap_or_else(PoisonError::into_inner).clone();
            all.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
            sign(&all)
        };
        let answers = move |seen: &Seen| {
            let form: BTreeMap<String, String> =
                form_urlencoded::parse(&seen.message.body).into_owned().collect();
            let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
            let by =
                |id: &str, secret: &str| seen.header("authorization") == Some(basic(id, secret).as_str());
            let subject = match field("grant_type") {
                "client_credentials" if by("app", "secret") => Some("app@clients"),
                "password"
                    if by("gate", "own")
                        && (field("username"), field("password")) == ("ann", "open-sesame") =>
                {
                    Some("ann")
                }
                "refresh_token" if by("gate", "own") && field("refresh_token") == "refresh-one" => {
                    Some("ann")
                }
                "urn:ietf:params:oauth:grant-type:token-exchange" if by("gate", "own") => Some("exchanged"),
                _ => None,
            };
            match subject {
                Some(subject) => Answer::json(&json!({
                    "access_token": token(subject, field("grant_type")), "token_type": "Bearer", "expires_in": 3600,
                    "refresh_token": "refresh-two",
                })),
                None => Answer::with(
                    401,
                    &[("Content-Type", "application/json")],
                    r#"{"error":"invalid_client"}"#,
                ),
            }
        };
        provider.lie("/token", answers);
        let known = Self { provider, claims };
        known.introspected(json!({"active": true, "sub": "introspected", "exp": tokens::now() + 3600}));
        known
    }

    /// Says this of `OPAQUE` at its introspection endpoint, and of everything else that it is not active.
    fn introspected(&self, claims: Value) {
        self.provider.lie("/introspect", move |seen| {
            let form: BTreeMap<String, String> =
                form_urlencoded::parse(&seen.message.body).into_owned().collect();
            let good = form.get("token").is_some_and(|token| token == OPAQUE || token.contains('.'));
            Answer::json(&if good { claims.clone() } else { json!({"active": false}) })
        });
    }

    /// Adds claims to every token.
    pub(super) fn claims(&self, claims: Value) {
        *self.claims.lock().unwrap_or_else(PoisonError::into_inner) = claims.clone();
        self.provider.claim(claims);
    }

    /// An access token of the provider's.
    pub(super) fn token(&self, claims: &Value) -> String {
        self.provider.access_token(claims)
    }

    /// A config of the plugin.
    pub(super) fn config(&self, methods: Value, more: Value) -> Value {
        let mut config = json!({
            "issuer": self.provider.issuer(), "auth_methods": methods, "client_id": ["gate"], "client_secret": ["own"],
        });
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        config
    }

    /// The `grant_type`s that it was asked for.
    fn grants(&self) -> Vec<String> {
        let form = |seen: &Seen| {
            let form = form_urlencoded::parse(&seen.message.body).into_owned();
            form.into_iter().find(|(name, _)| name == "grant_type").map(|(_, value)| value)
        };
        self.provider.hits("/token").iter().filter_map(form).collect()
    }
}

/// Claims of a token that was not verified.
fn claims(token: &str) -> Value {
    let payload = jose::CompactJws::parse(token).unwrap().payload_unverified().unwrap();
    serde_json::from_slice(&payload).unwrap()
}

impl Kong {
    /// The `sub` of the token that the upstream was last told, if it is a JWT; else the token.
    fn told(&self) -> String {
        let seen = self.upstream.seen();
        let line = seen.last().unwrap().header("authorization").unwrap_or_default().to_owned();
        let token = line.strip_prefix("Bearer ").unwrap_or(&line);
        match token.split('.').count() {
            3 => claims(token)["sub"].as_str().unwrap().to_owned(),
            _ => token.to_owned(),
        }
    }

    fn last(&self) -> Seen {
        self.upstream.seen().pop().unwrap()
    }
}

#[tokio::test]
async fn each_method_by_itself_lets_in_what_is_its_own_and_nothing_else() {
    let (kong, known) = (Kong::new().await, Known::start());
    let jwt = known.token(&json!({"sub": "jwt"}));
    let brought = || {
        [
            ("bearer", kong.request("GET", "/").bearer(&jwt), "jwt"),
            ("introspection", kong.request("GET", "/").bearer(OPAQUE), OPAQUE),
            ("refresh_token", kong.request("GET", "/").header("Refresh-Token", "refresh-one"), "ann"),
            (
                "password",
                kong.request("GET", "/").header("Authorization", &basic("ann", "open-sesame")),
                "ann",
            ),
            (
                "client_credentials",
                kong.request("GET", "/").header("Authorization", &basic("app", "secret")),
                "app@clients",
            ),
        ]
    };
    for method in ["bearer", "introspection", "refresh_token", "password", "client_credentials"] {
        kong.plugin("openid-connect", known.config(json!([method]), json!({}))).await;
        for (of, request, told) in brought() {
            // An introspection endpoint says of JWTs what they are worth, too.
            let fits = of == method || (method, of) == ("introspection", "bearer");
            let answer = kong.send(request).await;
            assert_eq!(answer.status, if fits { 200 } else { 401 }, "{of} at {method}: {}", answer.text());
            if of == method {
                assert_eq!(kong.told(), told, "{method}");
            }
        }
    }
    assert!(known.grants().iter().all(|grant| grant != "authorization_code"));
}

#[tokio::test]
async fn the_first_method_in_kongs_order_that_finds_something_decides() {
    let (kong, known) = (Kong::new().await, Known::start());
    kong.plugin("openid-connect", known.config(Value::Null, json!({}))).await;
    let jwt = known.token(&json!({"sub": "jwt"}));
    let machine = basic("app", "secret");
    // A bearer token goes before a refresh token, that before a name and password, those before a machine's.
    let both = kong.request("GET", "/").bearer(&jwt).header("Refresh-Token", "refresh-one");
    assert_eq!((kong.send(both).await.status, kong.told().as_str()), (200, "jwt"));
    let both =
        kong.request("GET", "/").header("Refresh-Token", "refresh-one").header("Authorization", &machine);
    assert_eq!((kong.send(both).await.status, kong.told().as_str()), (200, "ann"));
    assert_eq!(known.grants(), ["refresh_token"]);
    let basic_alone = kong.request("GET", "/").header("Authorization", &machine);
    assert_eq!((kong.send(basic_alone).await.status, kong.told().as_str()), (200, "app@clients"));
    assert_eq!(
        known.grants(),
        ["refresh_token", "password", "client_credentials"],
        "the password is tried first"
    );
    // What was found and is bad is the end: no later method is asked.
    let bad = known.token(&json!({"exp": tokens::now() - 10}));
    let both = kong.request("GET", "/").bearer(&bad).header("Refresh-Token", "refresh-one");
    assert_eq!(kong.send(both).await.status, 401);
    let both = kong.request("GET", "/?client_id=app&client_secret=secret").header("Refresh-Token", "wrong");
    assert_eq!(kong.send(both).await.status, 401);
    // With a password and a machine's credentials in use, neither is asked for again.
    let before = known.grants().len();
    let again = kong.request("GET", "/").header("Authorization", &machine);
    assert_eq!(kong.send(again).await.status, 200);
    assert_eq!(known.grants().len(), before, "the token of the machine is found");
}

#[tokio::test]
async fn a_session_goes_before_a_token_and_begins_with_a_login() {
    let (kong, known) = (Kong::new().await, Known::start());
    known.provider.be_honest();
    kong.plugin(
        "openid-connect",
        known.config(
            json!(["session", "bearer", "authorization_code"]),
            json!({"scopes": ["openid", "email"]}),
        ),
    )
    .await;
    let url = format!("http://localhost:{}/{}/page?x=1", kong.gate.port(9080), kong.name);
    let mut browser = Browser::new();
    let page = browser.open(&url).await;
    assert_eq!((page.status(), page.url.as_str()), (200, url.as_str()), "{page:?}");
    assert_eq!(kong.told(), "user-1");
    let names = browser.cookie_names();
    let cookies: Vec<String> =
        names.iter().map(|name| format!("{name}={}", browser.cookie(name).unwrap())).collect();
    let host = format!("localhost:{}", kong.gate.port(9080));
    let with_session =
        || kong.request("GET", "/").header("Host", &host).header("Cookie", &cookies.join("; "));
    let bad = known.token(&json!({"sub": "jwt", "exp": tokens::now() - 10}));
    let answer = kong.send(with_session().bearer(&bad)).await;
    assert_eq!((answer.status, kong.told().as_str()), (200, "user-1"), "the session counts, not the token");
    let raw = String::from_utf8_lossy(&kong.last().raw).into_owned();
    assert!(!raw.contains(&cookies[0]), "the upstream sees no session: {raw}");
    let answer = kong.send(kong.request("GET", "/").bearer(&known.token(&json!({"sub": "jwt"})))).await;
    assert_eq!((answer.status, kong.told().as_str()), (200, "jwt"));
}

#[tokio::test]
async fn a_session_that_may_not_is_403_and_over() {
    let (kong, known) = (Kong::new().await, Known::start());
    known.provider.be_honest();
    let put = async |more: Value| {
        let methods = json!(["session", "authorization_code"]);
        kong.plugin("openid-connect", known.config(methods, more)).await;
    };
    let url = format!("http://localhost:{}/{}/page", kong.gate.port(9080), kong.name);
    for (keeps, more) in [
        (false, json!({"groups_required": ["admins"]})),
        (true, json!({"groups_required": ["admins"], "forbidden_destroy_session": false})),
    ] {
        put(more).await;
        let mut browser = Browser::new();
        let page = browser.open(&url).await;
        assert_eq!(page.status(), 403, "{page:?}");
        assert_eq!(!browser.cookie_names().is_empty(), keeps, "{:?}", browser.cookie_names());
    }
}

#[tokio::test]
async fn logouts_are_asked_for_by_suffix_or_argument_and_end_at_the_provider() {
    let (kong, known) = (Kong::new().await, Known::start());
    known.provider.be_honest();
    let url = |rest: &str| format!("http://localhost:{}/{}{rest}", kong.gate.port(9080), kong.name);
    for (more, published, rest, place) in [
        (json!({"logout_uri_suffix": "/bye"}), true, "/any/bye", "end"),
        (json!({"logout_query_arg": "logout"}), true, "/page?logout=1", "end"),
        (
            json!({"logout_query_arg": "logout", "logout_redirect_uri": ["https://bye.example/"]}),
            false,
            "/page?logout",
            "bye",
        ),
        (json!({"logout_query_arg": "logout"}), false, "/page?logout", ""),
    ] {
        let end = format!("{}end", known.provider.issuer());
        known.provider.publish(if published { json!({"end_session_endpoint": end}) } else { json!({}) });
        let mut all = json!({"logout_methods": ["GET"], "discovery_headers_names": ["x-case"], "discovery_headers_values": [unique("c-")]});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        kong.plugin("openid-connect", known.config(json!(["session", "authorization_code"]), all)).await;
        let mut browser = Browser::new();
        assert_eq!(browser.open(&url("/page")).await.status(), 200);
        let page = browser.open_only(&url(rest)).await;
        match place {
            "end" => {
                let to = page.location().unwrap();
                assert!(to.as_str().starts_with(&end) && to.as_str().contains("id_token_hint="), "{to}");
                assert!(to.as_str().contains("client_id=gate"), "{to}");
            }
            "bye" => assert_eq!(page.location().unwrap().as_str(), "https://bye.example/"),
            _ => assert_eq!(page.status(), 200, "{page:?}"),
        }
        assert!(browser.cookie_names().iter().all(|name| !name.contains("session")), "{more}");
    }
}

#[tokio::test]
async fn tokens_are_found_in_every_place_that_is_named_and_in_no_other() {
    let (kong, known) = (Kong::new().await, Known::start());
    let token = known.token(&json!({"sub": "jwt"}));
    let form = "application/x-www-form-urlencoded";
    let requests = || {
        [
            ("header", kong.request("GET", "/p").bearer(&token)),
            ("header", kong.request("GET", "/p").header("Access-Token", &token)),
            ("query", kong.request("GET", &format!("/p?a=%7e&access_token={token}&b"))),
            (
                "body",
                kong.request("POST", "/p")
                    .header("Content-Type", form)
                    .body(format!("a=1&access_token={token}")),
            ),
            ("body", kong.request("POST", "/p").json(&json!({"access_token": token, "a": null}))),
            ("cookie", kong.request("GET", "/p").header("Cookie", &format!("a=1; t={token}"))),
            ("x-token", kong.request("GET", "/p").header("X-Token", &token)),
        ]
    };
    for (more, found) in [
        (json!({}), &["header", "query", "body"][..]),
        (json!({"bearer_token_param_type": ["header"]}), &["header"]),
        (json!({"bearer_token_param_type": ["query"]}), &["query"]),
        (json!({"bearer_token_param_type": ["body"]}), &["body"]),
        (json!({"bearer_token_param_type": ["cookie"], "bearer_token_cookie_name": "t"}), &["cookie"]),
        (json!({"bearer_token_param_type": ["header"], "bearer_token_header_name": "x-token"}), &["x-token"]),
    ] {
        kong.plugin("openid-connect", known.config(json!(["bearer"]), more.clone())).await;
        for (place, request) in requests() {
            let answer = kong.send(request).await;
            let expected = if found.contains(&place) { 200 } else { 401 };
            assert_eq!(answer.status, expected, "{place} with {more}: {}", answer.text());
            if expected == 200 {
                let seen = kong.last();
                let raw = String::from_utf8_lossy(&seen.raw).into_owned();
                assert_eq!(raw.matches(&token).count(), 1, "once, in Authorization: {place} {raw}");
                assert_eq!(seen.header("authorization"), Some(format!("Bearer {token}").as_str()), "{place}");
            }
        }
    }
    kong.plugin("openid-connect", known.config(json!(["bearer"]), json!({"hide_credentials": false}))).await;
    let answer = kong.send(kong.request("GET", &format!("/p?access_token={token}"))).await;
    assert_eq!(answer.status, 200);
    assert!(kong.last().target.contains(&token));
}

#[tokio::test]
async fn passwords_and_refresh_tokens_are_found_where_they_may_be_and_hidden() {
    let (kong, known) = (Kong::new().await, Known::start());
    let form = "application/x-www-form-urlencoded";
    let methods = json!(["password", "refresh_token"]);
    kong.plugin("openid-connect", known.config(methods.clone(), json!({}))).await;
    for (what, request) in [
        ("query", kong.request("GET", "/?username=ann&password=open-sesame&a=1")),
        (
            "form",
            kong.request("POST", "/")
                .header("Content-Type", form)
                .body("a=1&username=ann&password=open-sesame"),
        ),
        (
            "json",
            kong.request("POST", "/").json(&json!({"username": "ann", "password": "open-sesame", "a": null})),
        ),
        ("refresh in the query", kong.request("GET", "/?refresh_token=refresh-one&a=1")),
        (
            "refresh in a form",
            kong.request("POST", "/").header("Content-Type", form).body("refresh_token=refresh-one&a=1"),
        ),
    ] {
        let answer = kong.send(request).await;
        assert_eq!((answer.status, kong.told().as_str()), (200, "ann"), "{what}: {}", answer.text());
        let raw = String::from_utf8_lossy(&kong.last().raw).into_owned();
        assert!(
            !raw.contains("open-sesame") && !raw.contains("refresh-one") && raw.contains('a'),
            "{what}: {raw}"
        );
    }
    for (more, request) in [
        (
            json!({"password_param_type": ["header"]}),
            kong.request("GET", "/?username=ann&password=open-sesame"),
        ),
        (json!({"refresh_token_param_type": ["header"]}), kong.request("GET", "/?refresh_token=refresh-one")),
        (json!({"refresh_token_param_name": "x_rt"}), kong.request("GET", "/?refresh_token=refresh-one")),
    ] {
        kong.plugin("openid-connect", known.config(methods.clone(), more.clone())).await;
        assert_eq!(kong.send(request).await.status, 401, "{more}");
    }
    assert_eq!(kong.send(kong.request("GET", "/?x_rt=refresh-one")).await.status, 200);
    assert_eq!(kong.send(kong.request("GET", "/").header("X-Rt", "refresh-one")).await.status, 200);
}

#[tokio::test]
async fn what_nobody_can_read_is_asked_about_by_introspection_or_else_at_userinfo() {
    let (kong, known) = (Kong::new().await, Known::start());
    let good = format!("Bearer {OPAQUE}");
    known.provider.lie("/userinfo", move |seen| match seen.header("authorization") == Some(&good) {
        true => Answer::json(&json!({"sub": "by-userinfo", "email": "a@example"})),
        false => Answer::with(401, &[], ""),
    });
    let headers = json!({
        "upstream_user_info_header": "x_about_user", "upstream_introspection_header": "x-introspected",
        "upstream_headers_claims": ["sub"], "upstream_headers_names": ["x_subject"],
        "downstream_headers": [{"header": "x-you-are", "path": ["sub"]}],
    });
    for (methods, subject) in [
        (json!(["userinfo"]), "by-userinfo"),
        (json!(["bearer", "userinfo"]), "by-userinfo"),
        (json!(["introspection", "userinfo"]), "introspected"),
    ] {
        kong.plugin("openid-connect", known.config(methods.clone(), headers.clone())).await;
        for _ in 0..2 {
            let request =
                kong.request("GET", "/").bearer(OPAQUE).header("X-Subject", "me").header("X_Subject", "me");
            let answer = kong.send(request).await;
            assert_eq!(answer.status, 200, "{methods}: {}", answer.text());
            assert_eq!(answer.header("x-you-are"), Some(subject), "{methods}");
            let seen = kong.last();
            assert_eq!(seen.header("x-subject"), Some(subject), "{methods}");
            assert!(!String::from_utf8_lossy(&seen.raw).contains("X_Subject"), "{methods}");
            let by_userinfo = subject == "by-userinfo";
            assert_eq!(seen.header("x-about-user").is_some(), by_userinfo, "{methods}");
            assert_eq!(seen.header("x-introspected").is_some(), !by_userinfo, "{methods}");
        }
        assert_eq!(kong.send(kong.request("GET", "/").bearer("unknown")).await.status, 401, "{methods}");
    }
    assert_eq!(known.provider.hits("/introspect").len(), 2, "an answer is kept, a refusal is not");
    let asked = &known.provider.hits("/introspect")[0];
    assert_eq!(asked.header("authorization"), Some(basic("gate", "own").as_str()));
}

#[tokio::test]
async fn what_endpoints_sign_is_verified_and_told_as_it_was_signed() {
    const KIND: &str = "application/token-introspection+jwt";
    let (kong, known) = (Kong::new().await, Known::start());
    let config = known.config(
        json!(["introspection"]),
        json!({
            "introspection_accept": KIND, "cache_introspection": false, "upstream_introspection_jwt_header": "x-said",
            "downstream_introspection_jwt_header": "x_said_too", "upstream_introspection_header": "x-plain",
        }),
    );
    kong.plugin("openid-connect", config).await;
    let said = json!({"active": true, "sub": "introspected", "exp": tokens::now() + 600});
    let good = json!({
        "iss": known.provider.issuer(), "aud": ["other", "gate"], "iat": tokens::now(), "token_introspection": said,
    });
    let answer = |typ: &str, claims: &Value| {
        let jwt = known.provider.signed(typ, claims);
        let told = jwt.clone();
        known.provider.lie("/introspect", move |_| Answer::with(200, &[("Content-Type", KIND)], &told));
        jwt
    };
    let ask = async || kong.send(kong.request("GET", "/").bearer(OPAQUE).header("X-Said", "mine")).await;
    let jwt = answer("token-introspection+jwt", &good);
    let response = ask().await;
    assert_eq!(
        (response.status, response.header("x-said-too")),
        (200, Some(jwt.as_str())),
        "{}",
        response.text()
    );
    assert_eq!(kong.last().header("x-said"), Some(jwt.as_str()));
    let plain = STANDARD.decode(kong.last().header("x-plain").unwrap()).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&plain).unwrap(), said);
    assert_eq!(known.provider.hits("/introspect").pop().unwrap().header("accept"), Some(KIND));
    answer("token-introspection+jwt", &with(&good, "token_introspection", json!({"active": false})));
    assert_eq!(ask().await.status, 401, "it is not active");
    // What is not this provider's word to this client about a token is none.
    for (typ, claims) in [
        ("JWT", good.clone()),
        ("at+jwt", good.clone()),
        ("token-introspection+jwt", with(&good, "iss", json!("https://evil.example/"))),
        ("token-introspection+jwt", with(&good, "aud", json!("other"))),
        ("token-introspection+jwt", with(&good, "aud", Value::Null)),
        ("token-introspection+jwt", with(&good, "token_introspection", json!("active"))),
    ] {
        answer(typ, &claims);
        assert_eq!(ask().await.status, 500, "{typ} {claims}");
    }
    let foreign = Provider::start("gate").signed("token-introspection+jwt", &good);
    for body in [foreign, "x.y.z".to_owned(), said.to_string()] {
        known.provider.lie("/introspect", move |_| Answer::with(200, &[("Content-Type", KIND)], &body));
        assert_eq!(ask().await.status, 500);
    }
    known.introspected(said.clone());
    assert_eq!(ask().await.status, 200, "a provider may give the other form");
    assert_eq!(kong.last().header("x-said"), None, "and no client speaks in its name");

    let config = json!({
        "userinfo_accept": "application/jwt", "cache_user_info": false, "upstream_user_info_jwt_header": "x-said",
    });
    kong.plugin("openid-connect", known.config(json!(["userinfo"]), config)).await;
    let jwt =
        known.provider.signed("JWT", &json!({"iss": known.provider.issuer(), "aud": "gate", "sub": "ann"}));
    let told = jwt.clone();
    known
        .provider
        .lie("/userinfo", move |_| Answer::with(200, &[("Content-Type", "application/jwt")], &told));
    assert_eq!((ask().await.status, kong.last().header("x-said")), (200, Some(jwt.as_str())));
}

#[tokio::test]
async fn a_caller_who_is_no_consumer_has_what_its_group_brings() {
    let (kong, known) = (Kong::new().await, Known::start());
    let (gold, silver) = (unique("gold-"), unique("silver-"));
    for group in [&gold, &silver] {
        kong.made("POST", "/consumer_groups", json!({"name": group})).await;
    }
    let plugins = format!("/consumer_groups/{gold}/plugins");
    let stop = |status: u16| json!({"name": "request-termination", "config": {"status_code": status}});
    let everywhere = kong.made("POST", &plugins, stop(418)).await["id"].as_str().unwrap().to_owned();
    let put = async |more: Value| {
        let mut config = known.config(json!(["bearer", "client_credentials"]), more);
        config["consumer_groups_claim"] = json!(["realm", "groups"]);
        kong.plugin("openid-connect", config).await;
    };
    let ask = async |groups: Value| {
        let token = known.token(&json!({"sub": "ann", "realm": {"groups": groups}}));
        kong.send(kong.request("GET", "/").bearer(&token)).await.status
    };
    put(json!({})).await;
    for (groups, status) in [
        (json!([gold]), 418),
        (json!(gold), 418),
        (json!(format!("none {gold}")), 418),
        (json!([silver]), 200),
        (json!(["none", gold]), 418),
        (json!([silver, gold]), 200),
        (json!([]), 403),
        (json!(["none"]), 403),
        (json!(null), 403),
    ] {
        assert_eq!(ask(groups.clone()).await, status, "{groups}");
    }
    known.claims(json!({"realm": {"groups": [gold]}}));
    let machine = || kong.request("GET", "/").header("Authorization", &basic("app", "secret"));
    assert_eq!((kong.send(machine()).await.status, kong.send(machine()).await.status), (418, 418));
    // Of two that apply, the closer one runs, and another route's does not.
    let mut closer = stop(409);
    closer["route"] = json!({"name": kong.name});
    let closer = kong.made("POST", &plugins, closer).await["id"].as_str().unwrap().to_owned();
    assert_eq!(ask(json!([gold])).await, 409);
    kong.call("DELETE", &format!("/plugins/{closer}"), Value::Null).await;
    assert_eq!(ask(json!([gold])).await, 418);
    kong.call("DELETE", &format!("/plugins/{everywhere}"), Value::Null).await;
    assert_eq!(ask(json!([gold])).await, 200);
    put(json!({"consumer_groups_optional": true})).await;
    assert_eq!((ask(json!(["none"])).await, ask(json!([silver])).await), (200, 200));
    // Who is a consumer is that alone.
    kong.made("POST", &format!("/consumer_groups/{silver}/plugins"), stop(418)).await;
    let consumer = unique("ann-");
    kong.made("POST", "/consumers", json!({"username": consumer})).await;
    put(json!({"consumer_claim": ["name"], "consumer_optional": true})).await;
    for (name, status) in [(consumer.as_str(), 200), ("nobody", 418)] {
        let token = known.token(&json!({"name": name, "realm": {"groups": [silver]}}));
        assert_eq!(kong.send(kong.request("GET", "/").bearer(&token)).await.status, status, "{name}");
    }
    kong.call("DELETE", &format!("/consumer_groups/{silver}"), Value::Null).await;
    put(json!({})).await;
    assert_eq!(ask(json!([silver])).await, 403, "the group is gone");
}

/// `claims` with another value of one of them.
fn with(claims: &Value, name: &str, value: Value) -> Value {
    let mut claims = claims.clone();
    claims[name] = value;
    claims
}

#[tokio::test]
async fn a_jwt_is_introspected_as_well_where_that_is_asked_for() {
    let (kong, known) = (Kong::new().await, Known::start());
    let jwt = known.token(&json!({"sub": "jwt"}));
    let both = json!(["bearer", "introspection"]);
    kong.plugin("openid-connect", known.config(both.clone(), json!({}))).await;
    assert_eq!(kong.send(kong.request("GET", "/").bearer(&jwt)).await.status, 200);
    assert!(known.provider.hits("/introspect").is_empty());
    known.introspected(json!({"active": false}));
    kong.plugin("openid-connect", known.config(both, json!({"introspect_jwt_tokens": true}))).await;
    assert_eq!(kong.send(kong.request("GET", "/").bearer(&jwt)).await.status, 401, "it was revoked");
}

#[tokio::test]
async fn tokens_of_named_issuers_are_exchanged_and_others_are_not() {
    let (kong, known) = (Kong::new().await, Known::start());
    let other = Provider::start("gate");
    let exchange = json!({"token_exchange": {
        "subject_token_issuers": [{"issuer": other.issuer(), "conditions": {"has_scopes": ["swap"]}}],
        "request": {"audience": ["https://inner.example/"]},
    }});
    kong.plugin("openid-connect", known.config(json!(["bearer"]), exchange)).await;
    let foreign = other.access_token(&json!({"scope": "swap"}));
    for _ in 0..2 {
        let answer = kong.send(kong.request("GET", "/").bearer(&foreign)).await;
        assert_eq!((answer.status, kong.told().as_str()), (200, "exchanged"), "{}", answer.text());
    }
    let asked = known.provider.hits("/token");
    let body = String::from_utf8_lossy(&asked[0].message.body).into_owned();
    assert!(asked.len() == 1 && body.contains("audience=https%3A%2F%2Finner.example%2F"), "{body}");
    assert!(body.contains(&format!("subject_token={foreign}")), "{body}");
    let unfit = other.access_token(&json!({"scope": "other"}));
    assert_eq!(kong.send(kong.request("GET", "/").bearer(&unfit)).await.status, 401);
    let own = kong.send(kong.request("GET", "/").bearer(&known.token(&json!({"sub": "own"})))).await;
    assert_eq!((own.status, kong.told().as_str()), (200, "own"));
}

#[tokio::test]
async fn preflights_pass_without_credentials_only_where_that_is_said() {
    let (kong, known) = (Kong::new().await, Known::start());
    for (runs, status) in [(true, 401), (false, 200)] {
        let more = json!({"run_on_preflight": runs});
        kong.plugin("openid-connect", known.config(json!(["bearer", "client_credentials"]), more)).await;
        let preflight = kong.request("OPTIONS", "/").bearer("forged");
        assert_eq!(kong.send(preflight).await.status, status, "{runs}");
    }
    assert!(kong.last().header("authorization").is_none(), "nobody judged it");
}
