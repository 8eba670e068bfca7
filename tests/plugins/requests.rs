use serde_json::{Value, json};

use crate::support::{Connection, Portcullis, Request, Site, admin::node, shared, unique};

async fn rewriting(conf: Value) -> Site {
    Site::with_plugins(json!({ "proxy-rewrite": conf })).await
}

#[tokio::test]
async fn the_upstream_sees_the_path_that_is_written() {
    for (conf, sent, seen) in [
        (json!({"uri": "/test/home.html"}), "x?q=1", "/test/home.html?q=1"),
        (json!({"uri": "/a?b=c"}), "x?q=1", "/a?b=c&q=1"),
        (json!({"uri": "/a?b=c"}), "x", "/a?b=c"),
        (json!({"uri": "/$arg_new/home"}), "x?new=hello", "/hello/home?new=hello"),
        (json!({"uri": "/$arg_new"}), "x?new=a%3Fb%26c", "/a%3Fb&c?new=a%3Fb%26c"),
        (
            json!({"regex_uri": ["^/[^/]*/test/(.*)/(.*)", "/$2_$1"]}),
            "test/plugin/proxy?q",
            "/proxy_plugin?q",
        ),
        (
            json!({"regex_uri": ["^/[^/]*/a/(.*)", "/first/$1", "^/[^/]*/(.*)", "/second/$1"]}),
            "b",
            "/second/b",
        ),
        (json!({"regex_uri": ["^/nothing", "/x"]}), "b?c=%zz", "${path}/b?c=%zz"),
        (json!({"uri": "/u", "regex_uri": ["^/", "/r"]}), "b", "/u"),
    ] {
        let site = rewriting(conf.clone()).await;
        assert_eq!(site.get(sent).await.status, 200, "{conf}");
        assert_eq!(site.upstream.seen()[0].target, seen.replace("${path}", &site.path), "{conf}");
    }
}

#[tokio::test]
async fn method_host_and_headers_are_the_upstreams_too() {
    let conf = json!({
        "method": "POST",
        "host": "other.example:81",
        "regex_uri": ["^/[^/]*/(.*)$", "/$1"],
        "headers": {
            "add": {"X-Added": "2"},
            "set": {"X-Set": "$remote_addr-$1", "X-Many": ["a", 1], "X-Empty": "", "X-Nobody": "$http_nobody"},
            "remove": ["X-Gone"],
        },
    });
    let site = rewriting(conf).await;
    let request = Request::get(&site.target("cap")).header("X-Added", "1").header("X-Set", "old");
    let request = request.header("X-Gone", "1").header("X-Empty", "1").header("X-Nobody", "1");
    assert_eq!(site.gate.send(request).await.status, 200);
    let seen = &site.upstream.seen()[0];
    assert_eq!((seen.method.as_str(), seen.header("host")), ("POST", Some("other.example:81")));
    assert_eq!(seen.message.all("x-added"), ["1", "2"]);
    assert_eq!(seen.message.all("x-set"), ["127.0.0.1-cap"]);
    assert_eq!(seen.message.all("x-many"), ["a", "1"]);
    for gone in ["x-empty", "x-nobody", "x-gone"] {
        assert_eq!(seen.message.all(gone), Vec::<&str>::new(), "{gone}");
    }
    // An upstream that says its own host keeps it.
    let site = rewriting(json!({"host": "other.example"})).await;
    let mut upstream = node(&site.upstream);
    upstream["pass_host"] = json!("node");
    let id = unique("node-");
    let route = json!({"uri": format!("/{id}"), "plugins": {"proxy-rewrite": {"host": "other.example"}}, "upstream": upstream});
    site.gate.admin().set(&format!("routes/{id}"), &route).await;
    site.gate.get(&format!("/{id}")).await;
    assert_eq!(site.upstream.seen()[0].header("host"), Some(site.upstream.node().as_str()));
}

#[tokio::test]
async fn h16_nothing_a_client_says_climbs_or_ends_a_header() {
    let conf = json!({"uri": "/files/$arg_name", "headers": {"set": {"X-Name": "$arg_name"}}});
    let site = rewriting(conf).await;
    for climbing in
        ["../admin", "..%2Fadmin", "..", "%252e%252e/admin", "%252e%252e%252fadmin", "a/../../b", "..;/x"]
    {
        let answer = site.get(&format!("x?name={climbing}")).await;
        assert_eq!(answer.status, 400, "{climbing}");
    }
    assert!(site.upstream.seen().is_empty());
    let answer = site.get("x?name=a%0d%0aX-Evil:%201%0d%0a%0d%0aGET%20/smuggled%20HTTP/1.1").await;
    assert_eq!(answer.status, 200);
    let seen = site.upstream.seen();
    assert_eq!((seen.len(), seen[0].header("x-evil"), seen[0].header("x-name")), (1, None, None));
    assert!(seen[0].target.starts_with("/files/a%0D%0AX-Evil:%201"), "{}", seen[0].target);
    site.still_serves().await;
}

#[tokio::test]
async fn r06_no_rewrite_makes_an_identity_of_what_a_client_says() {
    let site = Site::new().await;
    let admin = site.gate.admin();
    for headers in [
        json!({"X-Userinfo": "$http_x_mine"}),
        json!({"set": {"X-Consumer-Username": "$arg_user"}}),
        json!({"add": {"X_Credential_Identifier": "a$cookie_x"}}),
        json!({"set": {"X-Forwarded-For": "1.1.1.1"}}),
        json!({"set": {"Content-Length": "0"}}),
        json!({"remove": ["Transfer-Encoding"]}),
        json!({"set": {"Host": "x"}}),
    ] {
        let route = json!({"uri": "/x", "plugins": {"proxy-rewrite": {"headers": headers}}, "upstream": node(&site.upstream)});
        let answer = admin.put("routes/rewrite-refused", &route).await;
        assert_eq!(answer.status, 400, "{headers}");
        assert!(answer.text().contains("proxy-rewrite err: headers: "), "{}", answer.text());
    }
}

#[tokio::test]
async fn every_request_has_a_name() {
    let site = Site::with_plugins(json!({"request-id": {}})).await;
    let answer = site.get("x").await;
    let id = answer.header("x-request-id").unwrap().to_owned();
    assert_eq!((id.len(), &id[14..15]), (36, "4"));
    assert_eq!(site.upstream.seen()[0].header("x-request-id"), Some(id.as_str()));
    let answer = site.gate.send(Request::get(&site.target("x")).header("X-Request-Id", "mine")).await;
    assert_eq!(answer.all("x-request-id"), ["mine"]);
    assert_eq!(site.upstream.seen()[1].message.all("x-request-id"), ["mine"]);
    let long = "a".repeat(300);
    let answer = site.gate.send(Request::get(&site.target("x")).header("X-Request-Id", &long)).await;
    assert_eq!(answer.header("x-request-id").map(str::len), Some(36));
    let conf = json!({"header_name": "X-Trace", "include_in_response": false, "algorithm": "range_id",
        "range_id": {"length": 8, "char_set": "abcdef"}});
    let site = Site::with_plugins(json!({ "request-id": conf })).await;
    assert_eq!(site.get("x").await.header("x-trace"), None);
    let seen = site.upstream.seen();
    let id = seen[0].header("x-trace").unwrap();
    assert!(id.len() == 8 && id.bytes().all(|letter| b"abcdef".contains(&letter)), "{id}");
}

#[tokio::test]
async fn an_address_that_is_not_let_in_is_told_so() {
    for (conf, status, text) in [
        (json!({"whitelist": ["127.0.0.0/24"]}), 200, "ok"),
        (json!({"whitelist": ["10.0.0.1"]}), 403, "{\"message\":\"Your IP address is not allowed\"}\n"),
        (
            json!({"blacklist": ["127.0.0.1"], "message": "no", "response_code": 404}),
            404,
            "{\"message\":\"no\"}\n",
        ),
    ] {
        let site = Site::with_plugins(json!({ "ip-restriction": conf })).await;
        // Nobody vouches for what a client says of itself.
        let request = Request::get(&site.target("x")).header("X-Forwarded-For", "10.0.0.1");
        let answer = site.gate.send(request.header("X-Real-IP", "10.0.0.1")).await;
        assert_eq!((answer.status, answer.text().as_str()), (status, text), "{conf}");
    }
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused_said_or_not() {
    let site = Site::with_plugins(json!({"client-control": {"max_body_size": 5}})).await;
    let post = || Request::new("POST", &site.target("x"));
    assert_eq!(site.gate.send(post().body("12345")).await.status, 200);
    let answer = site.gate.send(post().body("123456")).await;
    assert_eq!((answer.status, site.upstream.seen().len()), (413, 1));
    let mut connection = Connection::open(site.gate.port(9080)).await;
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
        site.target("x")
    );
    connection.send(format!("{head}4\r\n1234\r\n4\r\n5678\r\n0\r\n\r\n")).await;
    assert_eq!(connection.response().await.unwrap().status, 413);
    assert_eq!(site.upstream.seen().len(), 1, "no whole request reached it");
    let site = Site::with_plugins(json!({"client-control": {"max_body_size": 0}})).await;
    let answer = site.gate.send(Request::new("POST", &site.target("x")).body("123456")).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn an_operator_tells_the_upstream_how_clients_came_and_no_client_does() {
    let told = json!({"X-Forwarded-Proto": "https", "X-Forwarded-Port": 10080, "X-Forwarded-Host": "app.example",
        "X-Forwarded-Prefix": "/app"});
    let names = ["X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Host", "X-Forwarded-Prefix"];
    let own = ["https", "10080", "app.example", "/app"];
    let (trusting, _) = Portcullis::production("trusted_proxies: [127.0.0.0/8]");
    for gate in [shared(), std::sync::Arc::new(trusting)] {
        for headers in [told.clone(), json!({"set": told})] {
            let site = Site::on(gate.clone(), json!({"proxy-rewrite": {"headers": headers}})).await;
            let request = names.iter().fold(Request::get(&site.target("x")), |request, name| {
                request.header(name, "evil").header(&name.replace('-', "_"), "evil")
            });
            assert_eq!(site.gate.send(request).await.status, 200);
            let seen = &site.upstream.seen()[0];
            for (name, value) in names.iter().zip(own) {
                assert_eq!(seen.message.all(name), [value], "{name}");
            }
            assert_eq!(seen.message.all("x-forwarded-for"), ["127.0.0.1"]);
            assert!(!String::from_utf8_lossy(&seen.raw).contains("evil"), "{seen:?}");
        }
    }
    for headers in [
        json!({"X-Forwarded-Proto": "$http_x"}),
        json!({"X-Forwarded-Host": "$host"}),
        json!({"X-Forwarded-For": "10.0.0.1"}),
        json!({"X-Real-IP": "10.0.0.1"}),
        json!({"add": {"X-Forwarded-Proto": "https"}}),
        json!({"remove": ["X-Forwarded-Proto"]}),
    ] {
        let route = json!({"uri": "/x", "plugins": {"proxy-rewrite": {"headers": headers}}});
        let answer = shared().admin().put("routes/forwarded-refused", &route).await;
        assert_eq!(answer.status, 400, "{headers}: {}", answer.text());
    }
}
