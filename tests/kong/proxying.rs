//! What Kong's routes and services do to requests, and what they answer by themselves.

use super::{
    support::{
        Options,
        tls::{self, Authority},
    },
    *,
};

impl Kong {
    async fn route(&self, name: &str, body: Value) {
        let mut body = body;
        body["name"] = json!(format!("{}-{name}", self.name));
        self.made("POST", &format!("/services/{}/routes", self.name), body).await;
    }

    async fn path_seen(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> String {
        let request = headers
            .iter()
            .fold(Request::new(method, target), |request, (name, value)| request.header(name, value));
        let answer = self.send(request).await;
        match answer.status {
            200 => self.upstream.seen().pop().unwrap().target,
            status => format!("{status} {}", answer.text().trim()),
        }
    }
}

#[tokio::test]
async fn paths_are_joined_stripped_and_kept_as_kong_does() {
    let kong = Kong::new().await;
    let root = format!("/{}", kong.name);
    kong.route("keep", json!({"paths": [format!("{root}/keep")], "strip_path": false})).await;
    kong.route("host", json!({"paths": [format!("{root}/host")], "preserve_host": true})).await;
    kong.route("regex", json!({"paths": [format!("~{root}/r/(?<id>\\d+)$")]})).await;
    kong.route("older", json!({"paths": [format!("{root}/o/")], "path_handling": "v1"})).await;
    let kept = json!({"paths": [format!("{root}/p")], "path_handling": "v1", "strip_path": false});
    kong.route("older-kept", kept).await;
    for (target, seen) in [
        (format!("{root}/x"), "/up/x".to_owned()),
        (root.clone(), "/up".to_owned()),
        (format!("{root}/"), "/up/".to_owned()),
        (format!("{root}/x/?a=%2f&b"), "/up/x/?a=%2f&b".to_owned()),
        (format!("{root}/keep/x"), format!("/up{root}/keep/x")),
        (format!("{root}/a/../b//c"), "/up/b/c".to_owned()),
        (format!("{root}/o/12"), "/up12".to_owned()),
        (format!("{root}/p/12?a"), format!("/up{}/p/12?a", kong.name)),
        (format!("{root}/r/12"), "/up".to_owned()),
        (format!("{root}/r/ab"), "/up/r/ab".to_owned()),
    ] {
        let got = kong.path_seen("GET", &target, &[]).await;
        assert_eq!(got.trim_end_matches('/'), seen.trim_end_matches('/'), "{target}");
    }
    let seen = kong.upstream.seen();
    let last = seen.last().unwrap();
    assert_eq!(last.header("host"), Some(kong.upstream.node().as_str()), "the service's host");
    assert_eq!(last.header("x-forwarded-prefix"), Some(root.as_str()));
    for (name, value) in
        [("x-forwarded-for", "127.0.0.1"), ("x-forwarded-proto", "http"), ("x-forwarded-host", "localhost")]
    {
        assert_eq!(last.header(name), Some(value), "{name}");
    }
    kong.path_seen("GET", &format!("{root}/host"), &[("Host", "shop.example")]).await;
    assert_eq!(kong.upstream.seen().pop().unwrap().header("host"), Some("shop.example"));
}

#[tokio::test]
async fn of_several_routes_kongs_order_decides() {
    let kong = Kong::new().await;
    let root = format!("/{}-o", kong.name);
    for (name, body) in [
        ("plain", json!({"paths": [root]})),
        ("method", json!({"paths": [root], "methods": ["DELETE"]})),
        ("wild", json!({"paths": [root], "hosts": ["*.example"]})),
        ("exact", json!({"paths": [root], "hosts": ["a.example"]})),
        ("header", json!({"paths": [root], "headers": {"x-v": ["1", "2"]}})),
        ("headers", json!({"paths": [root], "headers": {"x-v": ["1"], "x-w": ["~*^q+$"]}})),
        ("long", json!({"paths": [format!("{root}/long")]})),
        ("pattern", json!({"paths": [format!("~{root}/l.*")]})),
        ("first", json!({"paths": [format!("~{root}/lo.*")], "regex_priority": 3})),
    ] {
        kong.made("POST", "/services", json!({"name": format!("{}-{name}", kong.name), "url": format!("http://{}/{name}", kong.upstream.node())})).await;
        let route = body;
        kong.made("POST", &format!("/services/{}-{name}/routes", kong.name), route).await;
    }
    for (method, rest, headers, taken) in [
        ("GET", "/x", &[][..], "plain"),
        ("DELETE", "/x", &[], "method"),
        ("GET", "/x", &[("Host", "b.example")], "wild"),
        ("GET", "/x", &[("Host", "a.example")], "exact"),
        ("GET", "/x", &[("Host", "A.Example:9080")], "exact"),
        ("GET", "/x", &[("X-V", "2")], "header"),
        ("GET", "/x", &[("X-V", "1"), ("X-W", "qq")], "headers"),
        ("GET", "/x", &[("X-V", "1"), ("X-W", "r")], "header"),
        ("GET", "/long/x", &[], "first"),
        ("GET", "/l", &[], "pattern"),
    ] {
        let seen = kong.path_seen(method, &format!("{root}{rest}"), headers).await;
        assert!(seen.starts_with(&format!("/{taken}")), "{method} {rest} {headers:?}: {seen}");
    }
}

#[tokio::test]
async fn what_the_gate_answers_itself_has_kongs_shape() {
    let kong = Kong::new().await;
    let root = format!("/{}", kong.name);
    kong.route("tls", json!({"paths": [format!("{root}/tls")], "protocols": ["https"]})).await;
    let moved = json!({"paths": [format!("{root}/moved")], "protocols": ["https"], "https_redirect_status_code": 301});
    kong.route("moved", moved).await;
    let upgrade = kong.send(Request::get(&format!("{root}/tls"))).await;
    assert_eq!((upgrade.status, upgrade.text().trim()), (426, r#"{"message":"Please use HTTPS protocol"}"#));
    assert_eq!(upgrade.header("upgrade"), Some("TLS/1.2, HTTP/1.1"));
    let moved = kong.send(Request::get(&format!("{root}/moved?x=1")).header("Host", "a.example")).await;
    assert_eq!((moved.status, moved.header("location").unwrap().ends_with("/moved?x=1")), (301, true));
    kong.upstream.answer(Answer::Close);
    let broken = kong.send(Request::new("POST", &root)).await;
    assert!(broken.status == 502 && broken.json()["message"].is_string(), "{}", broken.text());
    kong.upstream.stop();
    let down = kong.send(Request::new("POST", &root)).await;
    assert!(matches!(down.status, 502 | 503) && down.json()["message"].is_string(), "{}", down.text());
    let name = unique("none-");
    kong.made("POST", "/services", json!({"name": name, "host": format!("{name}.invalid")})).await;
    kong.made("POST", &format!("/services/{name}/routes"), json!({"paths": [format!("/{name}")]})).await;
    let unresolved = kong.send(Request::get(&format!("/{name}"))).await;
    assert!(matches!(unresolved.status, 502 | 503) && unresolved.json()["message"].is_string());
    kong.made("PATCH", &format!("/services/{name}"), json!({"enabled": false})).await;
    assert_eq!(
        kong.send(Request::get(&format!("/{name}"))).await.status,
        404,
        "as if its routes were not there"
    );
}

#[tokio::test]
async fn clients_are_told_how_long_each_side_took_and_whom_the_answer_went_through() {
    const TIMES: [&str; 3] = ["x-kong-upstream-latency", "x-kong-proxy-latency", "x-kong-response-latency"];
    let kong = Kong::new().await;
    let times =
        |answer: &Response| TIMES.map(|name| answer.header(name).map(|time| time.parse::<u64>().unwrap()));
    kong.upstream.answer(Answer::with(201, &[("Via", "1.0 cache"), ("X-Kong-Proxy-Latency", "mine")], "x"));
    let answer = kong.send(kong.request("GET", "/")).await;
    assert!(matches!(times(&answer), [Some(_), Some(_), None]), "{answer:?}");
    assert_eq!(answer.all("via"), ["1.0 cache", "1.1 portcullis"]);
    assert_eq!(answer.header("x-kong-request-id"), None, "nobody asked for it");
    kong.upstream.answer(Answer::Close);
    let broken = kong.send(kong.request("POST", "/")).await;
    assert!(broken.status == 502 && matches!(times(&broken), [None, None, Some(_)]), "{broken:?}");
    kong.plugin("request-termination", json!({"status_code": 418})).await;
    let own = kong.send(kong.request("GET", "/")).await;
    assert!(own.status == 418 && matches!(times(&own), [None, None, Some(_)]), "{own:?}");
    assert!(own.all("via").is_empty());
    let path = format!("/{}-apisix", kong.name);
    kong.gate.admin().route(&kong.name, &path, &kong.upstream, json!({})).await;
    kong.upstream.answer(Answer::text("x"));
    let other = kong.send(Request::get(&path)).await;
    assert!(other.status == 200 && matches!(times(&other), [None, None, None]), "{other:?}");
    assert!(other.all("via").is_empty());
}

#[tokio::test]
async fn requests_have_names_where_the_configuration_says_so_and_no_client_gives_them() {
    let keyring = base::Keyring::generate(&base::Random::system()).to_text().trim().to_owned();
    let config = r#"
listeners: [{address: "127.0.0.1:{9080}"}]
admin:
  kong: {listen: "127.0.0.1:{8001}", headers: [X-Kong-Request-Id, x-kong-upstream-status]}
store: {sqlite: gateway.db}
encryption: {keyring: {keys: "${KEYRING}"}}
"#;
    let environment = vec![("KEYRING".to_owned(), keyring)];
    let options =
        Options { config: Some(config.to_owned()), environment, real_clock: true, ..Options::default() };
    let kong = Kong::on(Arc::new(Portcullis::start(options))).await;
    let mut names = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let answer = kong.send(kong.request("GET", "/").header("X-Kong-Request-Id", "mine")).await;
        let name = answer.header("x-kong-request-id").unwrap().to_owned();
        assert!(name.len() == 32 && name.bytes().all(|letter| letter.is_ascii_hexdigit()), "{name}");
        assert_eq!(kong.upstream.seen().pop().unwrap().header("x-kong-request-id"), Some(name.as_str()));
        assert_eq!(answer.header("x-kong-upstream-status"), Some("200"));
        assert_eq!((answer.header("x-kong-proxy-latency"), answer.header("via")), (None, None));
        names.insert(name);
    }
    kong.plugin("key-auth", json!({})).await;
    let refused = kong.send(kong.request("GET", "/")).await;
    assert!(refused.status == 401 && names.insert(refused.header("x-kong-request-id").unwrap().to_owned()));
    assert_eq!(names.len(), 4);
}

#[tokio::test]
async fn of_several_plugins_of_one_name_the_closest_runs() {
    let kong = Kong::new().await;
    let consumer = unique("c-");
    kong.made("POST", "/consumers", json!({"username": consumer})).await;
    kong.made("POST", &format!("/consumers/{consumer}/key-auth"), json!({"key": consumer})).await;
    kong.plugin("key-auth", json!({"anonymous": null})).await;
    let terminate = |message: &str| json!({"name": "request-termination", "config": {"status_code": 418, "message": message}});
    let said = async || {
        let answer = kong.send(kong.request("GET", "/").header("apikey", &consumer)).await;
        if answer.status == 418 {
            answer.json()["message"].as_str().unwrap().to_owned()
        } else {
            answer.status.to_string()
        }
    };
    assert_eq!(said().await, "200");
    kong.made("POST", &format!("/services/{}/plugins", kong.name), terminate("service")).await;
    assert_eq!(said().await, "service");
    kong.made("POST", &format!("/routes/{}/plugins", kong.name), terminate("route")).await;
    assert_eq!(said().await, "route");
    kong.made("POST", &format!("/consumers/{consumer}/plugins"), terminate("consumer")).await;
    assert_eq!(said().await, "consumer");
    let mut both = terminate("route and consumer");
    both["route"] = json!({"name": kong.name});
    kong.made("POST", &format!("/consumers/{consumer}/plugins"), both).await;
    assert_eq!(said().await, "route and consumer");
}

#[tokio::test]
async fn least_connections_leaves_a_target_alone_for_as_long_as_it_is_at_a_request() {
    let kong = Kong::new().await;
    let (held, mut holding) = tokio::sync::mpsc::unbounded_channel();
    let (one, two) = (Upstream::holding("one", &held), Upstream::holding("two", &held));
    let host = format!("{}.local", kong.name);
    kong.made("POST", "/upstreams", json!({"name": host, "algorithm": "least-connections"})).await;
    for target in [&one, &two] {
        kong.made("POST", &format!("/upstreams/{host}/targets"), json!({"target": target.node()})).await;
    }
    kong.made("PATCH", &format!("/services/{}", kong.name), json!({"host": host})).await;
    let (gate, request) = (Arc::clone(&kong.gate), kong.request("GET", "/hold"));
    let hold = tokio::spawn(async move { gate.send(request).await });
    let busy = within("a request at a target", holding.recv()).await.unwrap();
    let idle = if busy == "one" { "two" } else { "one" };
    let ask = async || kong.send(kong.request("GET", "/x")).await.text();
    for _ in 0..6 {
        assert_eq!(ask().await, idle);
    }
    if busy == "one" { &one } else { &two }.drop_connections();
    assert_eq!(hold.await.unwrap().status, 502);
    // Equals take turns.
    assert_ne!(ask().await, ask().await);
}

#[tokio::test]
async fn an_upstream_is_verified_by_the_authorities_that_its_service_names() {
    let (kong, ours, others) = (Kong::new().await, Authority::new(), Authority::new());
    let upstream = Upstream::over_tls(tls::server(&ours.issue(&["localhost"], |_| ())));
    let mut ids = Vec::new();
    for authority in [&ours, &others] {
        let made = kong.made("POST", "/ca_certificates", json!({"cert": authority.pem()})).await;
        ids.push(made["id"].as_str().unwrap().to_owned());
    }
    let service = format!("/services/{}", kong.name);
    let port = upstream.node().rsplit_once(':').unwrap().1.to_owned();
    let url = format!("https://localhost:{port}");
    kong.made("PATCH", &service, json!({"url": url})).await;
    let target = format!("/{}/x", kong.name);
    let status = async || kong.send(Request::get(&target)).await.status;
    assert_eq!(status().await, 502, "nobody vouches for it");
    for (named, expected) in [
        (json!([ids[1]]), 502),
        (json!([ids[1], ids[0]]), 200),
        (json!([ids[0]]), 200),
        (json!([]), 502),
        (json!(null), 502),
        (json!([ids[0]]), 200),
    ] {
        kong.made("PATCH", &service, json!({"ca_certificates": named})).await;
        assert_eq!(status().await, expected, "{named}");
    }
    let kept = kong.call("DELETE", &format!("/ca_certificates/{}", ids[0]), Value::Null).await;
    let id = kong.made("PATCH", &service, json!({})).await["id"].clone();
    let told =
        format!("ca certificate {} is still referenced by services (id = {})", ids[0], id.as_str().unwrap());
    assert_eq!((kept.status, &kept.json()["message"], &kept.json()["code"]), (400, &json!(told), &json!(17)));
    // What it says of whom it trusts counts at once.
    let path = format!("/ca_certificates/{}", ids[0]);
    let third = Authority::new();
    kong.made("PATCH", &path, json!({"cert": third.pem()})).await;
    assert_eq!(status().await, 502);
    kong.made("PATCH", &service, json!({"ca_certificates": null})).await;
    for id in ids {
        assert_eq!(kong.call("DELETE", &format!("/ca_certificates/{id}"), Value::Null).await.status, 204);
    }
    let lost = json!({"ca_certificates": ["5a1c2d3e-4f50-4617-8293-a4b5c6d7e8f9"]});
    let answer = kong.call("PATCH", &service, lost).await;
    assert_eq!((answer.status, &answer.json()["name"]), (400, &json!("foreign key violation")));
}

#[tokio::test]
async fn the_upstream_is_told_which_path_was_asked_for() {
    let kong = Kong::new().await;
    let root = format!("/{}", kong.name);
    kong.route("keep", json!({"paths": [format!("{root}/keep")], "strip_path": false})).await;
    kong.route("made", json!({"paths": [format!("{root}/made")]})).await;
    let config = json!({"replace": {"uri": "/elsewhere"}});
    let plugin = json!({"name": "request-transformer", "config": config});
    kong.made("POST", &format!("/routes/{}-made/plugins", kong.name), plugin).await;
    let bare = format!("{}-bare", kong.name);
    kong.made("POST", "/services", json!({"name": bare, "url": format!("http://{}", kong.upstream.node())}))
        .await;
    let route = json!({"paths": [format!("/{bare}")], "strip_path": false});
    kong.made("POST", &format!("/services/{bare}/routes"), route).await;
    for (target, seen, told) in [
        (format!("{root}/x?q=/y"), "/up/x?q=/y".to_owned(), format!("{root}/x")),
        (format!("{root}/a/../b//c"), "/up/b/c".to_owned(), format!("{root}/b/c")),
        (format!("{root}/keep/x"), format!("/up{root}/keep/x"), format!("{root}/keep/x")),
        (format!("{root}/made/x"), "/elsewhere".to_owned(), format!("{root}/made/x")),
        (format!("/{bare}/x"), format!("/{bare}/x"), format!("/{bare}/x")),
    ] {
        let request = Request::get(&target).header("X-Forwarded-Path", "/evil");
        assert_eq!(kong.send(request).await.status, 200, "{target}");
        let last = kong.upstream.seen().pop().unwrap();
        assert_eq!(
            (last.target.as_str(), last.message.all("x-forwarded-path")),
            (seen.as_str(), vec![told.as_str()])
        );
    }
}
