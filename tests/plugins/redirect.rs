use serde_json::{Value, json};

use crate::support::{Answer, Portcullis, Provider, Request, Response, Site, shared};

async fn redirecting(conf: Value) -> Site {
    Site::with_plugins(json!({ "redirect": conf })).await
}

/// Status and `Location`.
fn sent(answer: &Response) -> (u16, Option<&str>) {
    (answer.status, answer.header("location"))
}

#[tokio::test]
async fn a_client_is_sent_where_the_route_says() {
    for (conf, rest, status, location) in [
        (json!({"uri": "/test/add"}), "x", 302, "/test/add"),
        (json!({"uri": "/foo$$uri", "ret_code": 301}), "x", 301, "/foo$${path}/x"),
        (json!({"uri": "/foo$asdf233"}), "x", 302, "/foo"),
        (
            json!({"uri": "https://new.example$request_uri"}),
            "x?a=b%20c",
            302,
            "https://new.example${path}/x?a=b%20c",
        ),
        (json!({"uri": "/x?y=${arg_y}z"}), "?y=1%262", 302, "/x?y=1&2z"),
        (json!({"uri": "/x", "append_query_string": true}), "?a=b", 302, "/x?a=b"),
        (json!({"uri": "/x?c", "append_query_string": true}), "?a=b", 302, "/x?c&a=b"),
        (json!({"uri": "/x", "append_query_string": true}), "", 302, "/x"),
        (json!({"uri": "/ä b"}), "", 302, "/ä b"),
        (json!({"uri": "/ä b%20", "encode_uri": true}), "", 302, "/%C3%A4%20b%20"),
        (json!({"regex_uri": ["^/[^/]*/v1/(.*)/(.*)$", "/$2-${1}$$"]}), "v1/a/b", 302, "/b-a$"),
        (json!({"regex_uri": ["/v1/", "/v2/"]}), "v1/a", 302, "${path}/v2/a"),
    ] {
        let site = redirecting(conf.clone()).await;
        let answer = site.get(rest).await;
        let expected = location.replace("${path}", &site.path);
        assert_eq!(answer.status, status, "{conf}");
        assert_eq!(answer.header("location"), Some(expected.as_str()), "{conf}");
        assert!(site.upstream.seen().is_empty(), "{conf}");
    }
    let site = redirecting(json!({"regex_uri": ["^/v1/(.*)$", "/$1"]})).await;
    site.still_serves().await;
}

#[tokio::test]
async fn plain_http_is_sent_to_the_tls_listener_and_https_goes_on() {
    let site = redirecting(json!({"http_to_https": true})).await;
    let target = site.target("a?b=c");
    let port = site.gate.port(9443);
    let https = format!("https://localhost:{port}{target}");
    for (method, status) in [("GET", 301), ("HEAD", 301), ("POST", 308), ("PUT", 308), ("DELETE", 308)] {
        let answer = site.gate.send(Request::new(method, &target)).await;
        assert_eq!(sent(&answer), (status, Some(https.as_str())), "{method}");
    }
    // Nobody vouches for this peer.
    let lying = Request::get(&target).header("X-Forwarded-Proto", "https");
    assert_eq!(site.gate.send(lying).await.status, 301);
    assert!(site.upstream.seen().is_empty());
    site.upstream.answer(Answer::text("ok"));
    let answer = Request::get(&target).send_over(site.gate.connect_tls(9443).await).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
}

#[tokio::test]
async fn plain_http_is_left_before_anybody_is_asked_who_it_is() {
    let provider = Provider::start("app");
    let login = json!({"client_id": "app", "client_secret": "the secret of this client",
        "discovery": provider.discovery(), "redirect_uri": "/callback-of-redirect", "use_jwks": true});
    let own = json!({"header": "X-Key"});
    for plugins in [
        json!({"openid-connect": login}),
        json!({"key-auth": own}),
        json!({"basic-auth": {}}),
        json!({"multi-auth": {"auth_plugins": [{"key-auth": own}, {"basic-auth": {}}]}}),
        json!({"proxy-rewrite": {"uri": "/elsewhere"}, "openid-connect": login}),
    ] {
        let mut both = plugins.clone();
        both["redirect"] = json!({"http_to_https": true});
        let site = Site::with_plugins(both).await;
        let port = site.gate.port(9443);
        for (method, status) in [("GET", 301), ("POST", 308)] {
            for (name, value) in [("Accept", "text/html"), ("Authorization", "Bearer x"), ("X-Key", "x")] {
                let target = site.target("a?b");
                let answer = site.gate.send(Request::new(method, &target).header(name, value)).await;
                let https = format!("https://localhost:{port}{target}");
                assert_eq!(sent(&answer), (status, Some(https.as_str())), "{plugins} {method} {name}");
                assert!(answer.all("set-cookie").is_empty(), "{plugins}: {answer:?}");
                assert!(answer.all("www-authenticate").is_empty(), "{plugins}: {answer:?}");
            }
        }
        // Over https it is asked all the same.
        let answer = Request::get(&site.target("a")).send_over(site.gate.connect_tls(9443).await).await;
        assert!(matches!(answer.status, 302 | 401), "{plugins}: {answer:?}");
        assert!(site.upstream.seen().is_empty(), "{plugins}");
    }
    // A redirect of another kind keeps APISIX's place: behind the login.
    let plugins = json!({"redirect": {"uri": "/b"}, "key-auth": own});
    assert_eq!(Site::with_plugins(plugins).await.get("a").await.status, 401);
    // And an operator's own order counts.
    let plugins = json!({"redirect": {"http_to_https": true, "_meta": {"priority": 900}}, "key-auth": own});
    assert_eq!(Site::with_plugins(plugins).await.get("a").await.status, 401);
}

#[tokio::test]
async fn a_trusted_proxy_says_what_the_client_speaks() {
    let (gate, _) =
        Portcullis::production("trusted_proxies: [127.0.0.0/8]\nplugin_attr: {redirect: {https_port: 443}}");
    let site = Site::on(std::sync::Arc::new(gate), json!({"redirect": {"http_to_https": true}})).await;
    let ask = |proto: &str| Request::get(&site.target("a")).header("X-Forwarded-Proto", proto);
    let https = format!("https://localhost{}", site.target("a"));
    assert_eq!(sent(&site.gate.send(ask("http")).await), (301, Some(https.as_str())));
    site.upstream.answer(Answer::text("ok"));
    assert_eq!(site.gate.send(ask("https")).await.status, 200);
}

#[tokio::test]
async fn a_trusted_proxy_that_rewrites_the_host_says_which_one_the_client_named() {
    let (gate, _) =
        Portcullis::production("trusted_proxies: [127.0.0.0/8]\nplugin_attr: {redirect: {https_port: 8443}}");
    let site = Site::on(std::sync::Arc::new(gate), json!({"redirect": {"http_to_https": true}})).await;
    for (host, port) in [("app.example", ":8443"), ("app.example:8080", ":8443"), ("junk junk", "")] {
        let ask = Request::get(&site.target("a?b"))
            .header("Host", "internal:9080")
            .header("X-Forwarded-Host", host);
        let answer = site.gate.send(ask).await;
        let named = if port.is_empty() { "internal:8443" } else { "app.example:8443" };
        assert_eq!(
            sent(&answer),
            (301, Some(format!("https://{named}{}", site.target("a?b")).as_str())),
            "{host}"
        );
    }
    // Nobody vouches for this peer.
    let site = redirecting(json!({"http_to_https": true})).await;
    let ask = Request::get(&site.target("a")).header("X-Forwarded-Host", "evil.example");
    let answer = site.gate.send(ask).await;
    assert!(answer.header("location").unwrap().starts_with("https://localhost:"), "{answer:?}");
}

#[tokio::test]
async fn strict_transport_security_is_said_once_over_https_and_never_over_http() {
    let hsts = json!({"max_age": 600, "include_subdomains": true});
    let site = redirecting(json!({"http_to_https": false, "hsts": hsts})).await;
    site.upstream.answer(Answer::with(200, &[("Strict-Transport-Security", "max-age=1")], "ok"));
    let target = site.target("a");
    let answer = Request::get(&target).send_over(site.gate.connect_tls(9443).await).await;
    assert_eq!(answer.all("strict-transport-security"), ["max-age=600; includeSubDomains"]);
    assert_eq!(site.gate.get(&target).await.all("strict-transport-security"), Vec::<&str>::new());
    // The gate's own answers have it too.
    site.upstream.stop();
    let answer = Request::get(&target).send_over(site.gate.connect_tls(9443).await).await;
    assert_eq!(answer.status, 502);
    assert_eq!(answer.all("strict-transport-security"), ["max-age=600; includeSubDomains"]);
}

#[tokio::test]
async fn r15_no_argument_header_or_path_leads_to_another_site() {
    let site = redirecting(json!({"uri": "$arg_next"})).await;
    for (next, expected) in [
        ("/a/b", (302, Some("/a/b"))),
        ("//evil.example", (302, Some("/evil.example"))),
        ("/%5Cevil.example", (302, Some("/%5Cevil.example"))),
        ("https://evil.example", (400, None)),
        ("javascript:alert(1)", (400, None)),
        ("/a%0d%0aSet-Cookie:%20a=b", (302, Some("/a%0D%0ASet-Cookie:%20a=b"))),
    ] {
        let answer = site.get(&format!("?next={next}")).await;
        assert_eq!(sent(&answer), expected, "{next}");
        assert_eq!(answer.header("set-cookie"), None, "{next}");
    }
    let site = redirecting(json!({"uri": "https://good.example$http_x_next"})).await;
    for next in [".evil.example", "@evil.example", ":1@evil.example"] {
        let ask = Request::get(&site.target("")).header("X-Next", next);
        assert_eq!(site.gate.send(ask).await.status, 400, "{next}");
    }
    let site = redirecting(json!({"regex_uri": ["^/[^/]*/(.*)$", "//$1"]})).await;
    assert_eq!(sent(&site.get("evil.example").await), (400, None));
}

#[tokio::test]
async fn what_cannot_work_is_refused_when_it_is_written() {
    let gate = shared();
    let admin = gate.admin();
    for (conf, text) in [
        (json!({}), "value should match only one schema, but matches none"),
        (json!({"uri": "/x", "http_to_https": true}), "matches both schemas 1 and 3"),
        (json!({"regex_uri": ["(", "/"]}), "invalid regex_uri ((, /), err:"),
        (json!({"uri": "/$graphql_name"}), "`graphql_name` is not supported"),
        (json!({"uri": "/x", "nonsense": 1}), "additional properties forbidden, found nonsense"),
        (json!({"http_to_https": true, "hsts": {"max_age": 1, "preload": true}}), "hsts.preload"),
    ] {
        let route = json!({"uri": "/x", "plugins": {"redirect": conf}});
        let answer = admin.put("routes/redirect-refused", &route).await;
        assert_eq!(answer.status, 400, "{route}");
        let told = answer.json()["error_msg"].as_str().unwrap().to_owned();
        let prefix = "failed to check the configuration of plugin redirect err: ";
        assert!(told.starts_with(prefix) && told.contains(text), "{told}");
    }
}
