//! What `openid-connect` says to the provider beside what each call needs, and what callers are told of its answers.

use support::{Browser, Provider};

use super::{
    machines::basic,
    methods::{Known, OPAQUE},
    *,
};

/// The fields of a form that a provider was sent.
fn form(seen: &support::Seen) -> Vec<(String, String)> {
    form_urlencoded::parse(&seen.message.body).into_owned().collect()
}

fn has(form: &[(String, String)], name: &str, value: &str) -> bool {
    form.iter().filter(|(own, _)| own == name).map(|(_, value)| value.as_str()).eq([value])
}

#[tokio::test]
async fn each_endpoint_is_told_the_headers_and_arguments_of_its_fields() {
    let (kong, known) = (Kong::new().await, Known::start());
    let more = json!({
        "token_headers_names": ["x_token", "X-Second"], "token_headers_values": ["t", "2"],
        "introspection_headers_names": ["X-Introspection"], "introspection_headers_values": ["i"],
        "introspection_post_args_names": ["resource"], "introspection_post_args_values": ["https://api/"],
    });
    kong.plugin("openid-connect", known.config(json!(["client_credentials", "introspection"]), more)).await;
    let machine = kong.request("GET", "/").header("Authorization", &basic("app", "secret"));
    assert_eq!(kong.send(machine).await.status, 200);
    let asked = known.provider.hits("/token").pop().unwrap();
    assert_eq!((asked.header("x-token"), asked.header("x-second")), (Some("t"), Some("2")));
    assert_eq!(asked.header("x-introspection"), None);
    assert_eq!(kong.send(kong.request("GET", "/").bearer(OPAQUE)).await.status, 200);
    let asked = known.provider.hits("/introspect").pop().unwrap();
    assert_eq!((asked.header("x-introspection"), asked.header("x-token")), (Some("i"), None));
    assert!(has(&form(&asked), "resource", "https://api/"));
    let more = json!({
        "userinfo_headers_names": ["X-Userinfo-Key"], "userinfo_headers_values": ["u"],
        "userinfo_query_args_names": ["schema"], "userinfo_query_args_values": ["openid plus"],
    });
    kong.plugin("openid-connect", known.config(json!(["userinfo"]), more)).await;
    known.provider.lie("/userinfo", |_| Answer::json(&json!({"sub": "ann"})));
    assert_eq!(kong.send(kong.request("GET", "/").bearer(OPAQUE)).await.status, 200);
    let asked = known.provider.hits("/userinfo").pop().unwrap();
    assert_eq!((asked.header("x-userinfo-key"), asked.header("x-token")), (Some("u"), None));
    assert_eq!(asked.target, "/userinfo?schema=openid+plus");
}

#[tokio::test]
async fn what_is_the_callers_goes_along_and_answers_are_kept_apart_by_it() {
    let (kong, known) = (Kong::new().await, Known::start());
    let config = |methods: Value, more: Value| known.config(methods, more);
    let more = json!({
        "token_headers_names": ["x-tenant"], "token_headers_values": ["default"],
        "token_headers_client": ["x-tenant"],
    });
    kong.plugin("openid-connect", config(json!(["client_credentials"]), more)).await;
    for (tenant, calls, told) in [
        (Some("a"), 1, "a"),
        (Some("a"), 1, "a"),
        (Some("b"), 2, "b"),
        (None, 3, "default"),
        (None, 3, "default"),
    ] {
        let request = kong.request("GET", "/").header("Authorization", &basic("app", "secret"));
        let request = match tenant {
            Some(tenant) => request.header("X-Tenant", tenant),
            None => request,
        };
        assert_eq!(kong.send(request).await.status, 200);
        let asked = known.provider.hits("/token");
        assert_eq!(asked.len(), calls, "{tenant:?}");
        assert_eq!(asked[calls - 1].message.all("x-tenant"), [told], "{tenant:?}");
    }
    let more = json!({
        "introspection_post_args_client": ["resource"], "introspection_post_args_client_headers": ["x-purpose"],
        "introspection_post_args_names": ["resource"], "introspection_post_args_values": ["own"],
    });
    kong.plugin("openid-connect", config(json!(["introspection"]), more)).await;
    for (query, purpose, calls, resource) in [
        ("", "p", 1, "own"),
        ("", "p", 1, "own"),
        ("?resource=theirs", "p", 2, "theirs"),
        ("", "q", 3, "own"),
    ] {
        let request = kong.request("GET", &format!("/{query}")).bearer(OPAQUE).header("X-Purpose", purpose);
        assert_eq!(kong.send(request).await.status, 200);
        let asked = known.provider.hits("/introspect");
        assert_eq!(asked.len(), calls, "{query} {purpose}");
        let form = form(&asked[calls - 1]);
        assert!(has(&form, "resource", resource) && has(&form, "x-purpose", purpose), "{form:?}");
    }
    let more = json!({"userinfo_headers_client": ["x-locale"], "userinfo_query_args_client": ["fields"]});
    kong.plugin("openid-connect", config(json!(["userinfo"]), more)).await;
    known.provider.lie("/userinfo", |_| Answer::json(&json!({"sub": "ann"})));
    for (target, locale, calls, sent) in [
        ("/?fields=a%26b&x=1", "de", 1, "/userinfo?fields=a%26b"),
        ("/?fields=a%26b", "de", 1, "/userinfo?fields=a%26b"),
        ("/?fields=a&fields=b", "de", 2, "/userinfo"),
        ("/", "fr", 3, "/userinfo"),
    ] {
        let request = kong.request("GET", target).bearer(OPAQUE).header("X-Locale", locale);
        assert_eq!(kong.send(request).await.status, 200);
        let asked = known.provider.hits("/userinfo");
        assert_eq!(asked.len(), calls, "{target} {locale}");
        let asked = &asked[calls - 1];
        assert_eq!((asked.target.as_str(), asked.header("x-locale")), (sent, Some(locale)));
    }
}

#[tokio::test]
async fn a_login_carries_what_the_page_was_asked_for_with() {
    let (kong, known) = (Kong::new().await, Known::start());
    known.provider.be_honest();
    let more = json!({
        "authorization_query_args_names": ["login_hint", "display"],
        "authorization_query_args_values": ["nobody", "page"],
        "authorization_query_args_client": ["login_hint"],
        "token_headers_names": ["x-token"], "token_headers_values": ["t"],
        "token_headers_client": ["user-agent"], "upstream_user_info_header": "x-user",
        "userinfo_headers_names": ["x-info"], "userinfo_headers_values": ["i"],
    });
    kong.plugin("openid-connect", known.config(json!(["session", "authorization_code"]), more)).await;
    let url = format!("http://localhost:{}/{}/page?login_hint=ann&x=1", kong.gate.port(9080), kong.name);
    let page = Browser::new().open(&url).await;
    assert_eq!((page.status(), page.url.as_str()), (200, url.as_str()), "{page:?}");
    let sent = known.provider.hits("/authorize").pop().unwrap();
    let query = sent.target.split_once('?').map(|(_, query)| query.to_owned()).unwrap_or_default();
    let query: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    assert!(has(&query, "login_hint", "ann") && has(&query, "display", "page"), "{query:?}");
    assert!(query.iter().all(|(name, _)| name != "x"), "{query:?}");
    let asked = known.provider.hits("/token").pop().unwrap();
    assert_eq!(asked.header("x-token"), Some("t"));
    assert_eq!(known.provider.hits("/userinfo").pop().unwrap().header("x-info"), Some("i"));
}

#[tokio::test]
async fn headers_of_the_token_endpoint_are_told_the_caller_for_the_grants_that_are_named() {
    let (kong, provider) = (Kong::new().await, Provider::start("gate"));
    let token = provider.access_token(&json!({"sub": "app@clients"}));
    provider.lie("/token", move |_| {
        let body = json!({"access_token": token, "token_type": "Bearer", "expires_in": 3600});
        let headers = [("Content-Type", "application/json"), ("X-Quota", "7"), ("X-Other", "no")];
        Answer::with(200, &headers, body.to_string())
    });
    for (more, name, told) in [
        (json!({"token_headers_replay": ["x_quota"]}), "x-quota", Some("7")),
        (
            json!({"token_headers_replay": ["X-Quota"], "token_headers_prefix": "idp_"}),
            "idp-x-quota",
            Some("7"),
        ),
        (
            json!({"token_headers_replay": ["X-Quota"], "token_headers_grants": ["client_credentials"]}),
            "x-quota",
            Some("7"),
        ),
        (json!({"token_headers_replay": ["X-Quota"], "token_headers_grants": ["password"]}), "x-quota", None),
        (json!({}), "x-quota", None),
    ] {
        let mut config = json!({"issuer": provider.issuer(), "auth_methods": ["client_credentials"]});
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        kong.plugin("openid-connect", config).await;
        // The second answer is to a token that was kept.
        for _ in 0..2 {
            let request = kong.request("GET", "/").header("Authorization", &basic("app", "secret"));
            let answer = kong.send(request).await;
            assert_eq!(
                (answer.status, answer.header(name), answer.header("x-other")),
                (200, told, None),
                "{more}"
            );
        }
    }
}

#[tokio::test]
async fn s_what_says_who_asks_cannot_be_added_by_anybody() {
    let kong = Kong::new().await;
    for (field, more) in [
        (
            "token_headers_names",
            json!({"token_headers_names": ["Authorization"], "token_headers_values": ["x"]}),
        ),
        ("token_headers_values", json!({"token_headers_names": ["x-a"], "token_headers_values": []})),
        ("token_headers_values", json!({"token_headers_names": ["x-a"], "token_headers_values": ["a\nb"]})),
        (
            "introspection_headers_names",
            json!({"introspection_headers_names": ["host"], "introspection_headers_values": ["x"]}),
        ),
        (
            "userinfo_headers_names",
            json!({"userinfo_headers_names": ["cookie"], "userinfo_headers_values": ["x"]}),
        ),
        ("token_headers_client", json!({"token_headers_client": ["authorization"]})),
        ("token_headers_client", json!({"token_headers_client": ["x-consumer-id"]})),
        ("userinfo_headers_client", json!({"userinfo_headers_client": ["Cookie"]})),
        ("introspection_post_args_client", json!({"introspection_post_args_client": ["client_secret"]})),
        ("introspection_post_args_client", json!({"introspection_post_args_client": ["token"]})),
        (
            "introspection_post_args_client_headers",
            json!({"introspection_post_args_client_headers": ["client_id"]}),
        ),
        ("authorization_query_args_client", json!({"authorization_query_args_client": ["redirect_uri"]})),
        ("authorization_query_args_client", json!({"authorization_query_args_client": ["max_age"]})),
        ("token_headers_replay", json!({"token_headers_replay": ["set-cookie"]})),
        ("token_headers_replay", json!({"token_headers_replay": ["connection"]})),
        ("token_headers_prefix", json!({"token_headers_replay": ["x-a"], "token_headers_prefix": "a b"})),
    ] {
        let mut config = json!({
            "issuer": "http://localhost:1/", "auth_methods": ["introspection", "authorization_code"],
            "client_id": ["gate"], "client_secret": ["own"],
        });
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let body = json!({"name": "openid-connect", "config": config});
        let answer = kong.call("POST", &format!("/routes/{}/plugins", kong.name), body).await;
        let told = answer.json();
        assert_eq!(answer.status, 400, "{more}: {told}");
        assert!(told["fields"]["config"][field].is_string(), "{more}: {told}");
    }
}

#[tokio::test]
async fn callers_who_are_no_consumers_are_told_apart_by_a_claim() {
    let (kong, known) = (Kong::new().await, Known::start());
    let config = |more: Value| known.config(json!(["bearer"]), more);
    let ask = async |claims: Value| {
        let request = kong.request("GET", "/").bearer(&known.token(&claims));
        let status = kong.send(request.header("X-Credential-Identifier", "forged")).await.status;
        let told = kong.upstream.seen().pop().unwrap().header("x-credential-identifier").map(str::to_owned);
        (status, told)
    };
    let known_as = |name: &str| (200, Some(name.to_owned()));
    kong.plugin("openid-connect", config(json!({}))).await;
    assert_eq!(ask(json!({"sub": "ann"})).await, known_as("ann"));
    kong.plugin("rate-limiting", json!({"year": 1, "policy": "local", "limit_by": "credential"})).await;
    for (who, status) in [("bob", 200), ("bob", 429), ("eve", 200), ("eve", 429)] {
        assert_eq!(ask(json!({"sub": who})).await.0, status, "{who}");
    }
    kong.plugin("rate-limiting", json!({"hour": 1000, "policy": "local", "limit_by": "credential"})).await;
    kong.plugin("openid-connect", config(json!({"credential_claim": ["app", "id"]}))).await;
    assert_eq!(ask(json!({"sub": "ann", "app": {"id": 7}})).await, known_as("7"));
    assert_eq!(ask(json!({"sub": "ann"})).await, (200, None));
    // Where callers are consumers, no claim stands for one.
    let named = json!({"consumer_claim": ["sub"], "consumer_optional": true});
    kong.plugin("openid-connect", config(named)).await;
    assert_eq!(ask(json!({"sub": "ann"})).await, (200, None));
}

#[tokio::test]
async fn userinfo_is_asked_for_in_the_form_that_is_named() {
    let (kong, known) = (Kong::new().await, Known::start());
    known.provider.lie("/userinfo", |_| Answer::json(&json!({"sub": "ann"})));
    for (more, asked) in
        [(json!({}), "application/json"), (json!({"userinfo_accept": "application/jwt"}), "application/jwt")]
    {
        kong.plugin("openid-connect", known.config(json!(["userinfo"]), more)).await;
        assert_eq!(kong.send(kong.request("GET", "/").bearer(OPAQUE)).await.status, 200);
        assert_eq!(known.provider.hits("/userinfo").pop().unwrap().message.all("accept"), [asked]);
    }
}
