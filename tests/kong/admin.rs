//! Statuses, headers, errors and bodies: facts that clients of Kong's Admin API rely on.

use super::*;

#[tokio::test]
async fn verbs_have_kongs_statuses() {
    let kong = Kong::new().await;
    let name = unique("c-");
    let id = "0f1e2d3c-4b5a-4978-8796-a5b4c3d2e1f0";
    let path = format!("/consumers/{name}");
    for (method, path, body, status) in [
        ("GET", path.as_str(), None, 404),
        ("DELETE", &path, None, 204),
        ("PATCH", &path, Some(json!({"tags": ["a"]})), 404),
        ("PUT", &path, Some(json!({"custom_id": name})), 200),
        ("PUT", &path, Some(json!({})), 200),
        ("GET", &path, None, 200),
        ("PATCH", &format!("{path}/"), Some(json!({"tags": ["a"]})), 200),
        ("POST", "/consumers", Some(json!({"username": name})), 409),
        ("POST", "/consumers", Some(json!({})), 400),
        ("POST", &path, Some(json!({})), 405),
        ("PUT", "/consumers", Some(json!({})), 405),
        ("GET", "/nothing", None, 404),
        ("GET", &format!("{path}/key-auth/{id}"), None, 404),
        ("DELETE", &format!("{path}/key-auth/{id}"), None, 404),
        ("DELETE", &format!("/key-auths/{id}"), None, 204),
        ("DELETE", &path, None, 204),
    ] {
        let answer = match body {
            Some(body) => kong.call(method, path, body).await,
            None => kong.ask(method, path).await,
        };
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
    }
}

#[tokio::test]
async fn every_answer_has_kongs_headers() {
    let kong = Kong::new().await;
    for (method, path) in [
        ("GET", "/"),
        ("GET", "/services"),
        ("GET", "/nothing"),
        ("GET", "/kong-admin/services"),
        ("GET", "/default/services"),
    ] {
        let answer = kong.ask(method, path).await;
        assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"), "{path}");
        assert_eq!(answer.header("server"), Some("kong/3.9.1"), "{path}");
        assert!(answer.header("x-kong-admin-latency").is_some(), "{path}");
    }
    let options = kong.ask("OPTIONS", "/services").await;
    assert_eq!((options.status, options.header("allow")), (204, Some("GET, HEAD, OPTIONS, POST")));
    let wrong = kong.ask("DELETE", "/services").await;
    assert_eq!((wrong.status, wrong.json()), (405, json!({"message": "Method not allowed"})));
    assert_eq!(kong.ask("GET", "/nothing").await.json(), json!({"message": "Not found"}));
}

#[tokio::test]
async fn errors_have_a_code_a_name_a_message_and_fields() {
    let kong = Kong::new().await;
    let other = "0f1e2d3c-4b5a-4978-8796-a5b4c3d2e1f0";
    for (method, path, body, status, code, name, message) in [
        (
            "POST",
            "/services",
            json!({"port": 80}),
            400,
            2,
            "schema violation",
            "schema violation (host: required field missing)",
        ),
        (
            "POST",
            "/services",
            json!({"host": "a", "port": 99_999, "x": 1}),
            400,
            2,
            "schema violation",
            "2 schema violations (port: value should be between 0 and 65535; x: unknown field)",
        ),
        (
            "POST",
            "/routes",
            json!({"paths": ["/"], "service": {"id": other}}),
            400,
            4,
            "foreign key violation",
            "the foreign key '{id=\"0f1e2d3c-4b5a-4978-8796-a5b4c3d2e1f0\"}' does not reference an existing 'services' entity.",
        ),
        (
            "POST",
            "/routes",
            json!({"paths": ["/"], "service": {"name": "no-such"}}),
            400,
            13,
            "foreign keys unresolved",
            "foreign key unresolved (service.name: the foreign key cannot be resolved with '{name=\"no-such\"}' for an existing 'services' entity)",
        ),
        (
            "DELETE",
            &format!("/services/{}", kong.name),
            json!({}),
            400,
            4,
            "foreign key violation",
            "an existing 'routes' entity references this 'services' entity",
        ),
        (
            "GET",
            "/services?size=0",
            json!({}),
            400,
            9,
            "invalid size",
            "size must be an integer between 1 and 1000",
        ),
        (
            "GET",
            "/services?offset=x",
            json!({}),
            400,
            7,
            "invalid offset",
            "'x' is not a valid offset: bad base64 encoding",
        ),
        (
            "POST",
            "/config",
            json!({"_format_version": "9"}),
            400,
            14,
            "invalid declarative configuration",
            "declarative config is invalid: {_format_version=\"value must be one of: 1.1, 2.1, 3.0\"}",
        ),
    ] {
        let answer = kong.call(method, path, body).await;
        let told = answer.json();
        assert_eq!(
            (answer.status, &told["code"], told["name"].as_str()),
            (status, &json!(code), Some(name)),
            "{method} {path}"
        );
        assert_eq!(told["message"], message, "{method} {path}");
    }
    let taken = kong.call("POST", "/services", json!({"name": kong.name, "host": "a"})).await;
    let message = format!("UNIQUE violation detected on '{{name=\"{}\"}}'", kong.name);
    assert_eq!(
        (taken.status, &taken.json()["code"], taken.json()["message"].as_str()),
        (409, &json!(5), Some(message.as_str()))
    );
}

#[tokio::test]
async fn bodies_come_as_json_forms_and_parts_and_in_no_other_way() {
    let kong = Kong::new().await;
    let port = kong.gate.port(8001);
    let send = async |content_type: &str, body: String| {
        let request = Request::new("POST", "/services").header("Content-Type", content_type).body(body);
        request.send(port).await
    };
    let name = || unique("s-");
    let parts = format!(
        "--b\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\n{}\r\n--b\r\nContent-Disposition: form-data; name=\"url\"\r\n\r\nhttp://a:81/x\r\n--b--\r\n",
        name()
    );
    for (content_type, body, status) in [
        ("application/json", json!({"name": name(), "url": "http://a:81/x"}).to_string(), 201),
        (
            "application/x-www-form-urlencoded",
            format!("name={}&url=http://a:81/x&tags[]=t&tags[]=u", name()),
            201,
        ),
        ("multipart/form-data; boundary=b", parts, 201),
        ("text/plain", "host=a".to_owned(), 415),
        ("application/json", "{".to_owned(), 400),
        ("application/json", r#"{"host":"a","host":"b"}"#.to_owned(), 400),
        ("application/x-www-form-urlencoded", "a=1&".repeat(1001), 400),
    ] {
        let answer = send(content_type, body).await;
        assert_eq!(answer.status, status, "{content_type}: {}", answer.text());
        if status == 201 {
            let made = answer.json();
            assert_eq!(
                (&made["host"], &made["port"], &made["path"]),
                (&json!("a"), &json!(81), &json!("/x"))
            );
            assert!(made.get("url").is_none(), "a shorthand is never returned");
        }
    }
    let broken = send("application/json", "{".to_owned()).await;
    assert_eq!(broken.json(), json!({"message": "Cannot parse JSON body"}));
}

#[tokio::test]
async fn a09_bad_input_is_never_the_servers_fault() {
    let kong = Kong::new().await;
    for path in [
        "/services",
        "/routes",
        "/consumers",
        "/consumer_groups",
        "/plugins",
        "/upstreams",
        "/certificates",
        "/ca_certificates",
        "/snis",
        "/vaults",
        "/key-auths",
        "/basic-auths",
        "/jwts",
        "/hmac-auths",
        "/acls",
        "/config",
        "/schemas/services/validate",
        "/schemas/plugins/validate",
        "/consumers/none/acls",
        "/upstreams/none/targets",
        "/consumer_groups/none/consumers",
        "/services/%00",
        "/services/%ff",
        "/%2e%2e/services",
        "/openid-connect/x",
    ] {
        for body in [
            json!({}),
            json!({"id": 1}),
            json!({"id": {"a": []}}),
            json!({"name": {"x": 1}}),
            json!({"config": []}),
            json!({"tags": "x"}),
            json!({"consumer": 1}),
            json!({"service": []}),
            json!({"key": "x".repeat(70_000)}),
            json!({"cert": "-----BEGIN CERTIFICATE-----", "key": "x"}),
            json!({"name": "openid-connect", "config": {"issuer": 1}}),
        ] {
            for method in ["POST", "PUT", "PATCH"] {
                let answer = kong.call(method, path, body.clone()).await;
                assert!(
                    (400..500).contains(&answer.status) || answer.status < 300,
                    "{method} {path} {body}: {}",
                    answer.status
                );
            }
        }
    }
    assert!(kong.gate.is_running());
}

#[tokio::test]
async fn a_key_opens_a_route_and_the_upstream_is_told_whose_it_is() {
    let kong = Kong::new().await;
    let consumer = unique("bob-");
    kong.made("POST", "/consumers", json!({"username": consumer})).await;
    kong.made("POST", &format!("/consumers/{consumer}/key-auth"), json!({"key": format!("{consumer}-key")}))
        .await;
    kong.made("POST", &format!("/consumers/{consumer}/acls"), json!({"group": "admins"})).await;
    kong.plugin("key-auth", json!({"hide_credentials": true})).await;
    kong.plugin("acl", json!({"allow": ["admins"]})).await;
    let refused = kong.send(kong.request("GET", "/x")).await;
    assert_eq!(
        (refused.status, refused.text().trim()),
        (401, r#"{"message":"No API key found in request"}"#)
    );
    assert_eq!(refused.header("www-authenticate"), Some("Key"));
    let request = kong.request("GET", "/x?y=1").header("apikey", &format!("{consumer}-key"));
    let request = request.header("X-Consumer-Username", "eve").header("x_consumer_groups", "root");
    let answer = kong.send(request).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let seen = kong.upstream.seen();
    let seen = seen.last().unwrap();
    assert_eq!(seen.path(), "/up/x");
    assert_eq!(seen.header("x-consumer-username"), Some(consumer.as_str()));
    assert_eq!(seen.header("x-consumer-groups"), Some("admins"));
    let raw = String::from_utf8_lossy(&seen.raw).into_owned();
    assert!(!raw.contains("eve") && !raw.contains("root") && !raw.contains("-key"), "{raw}");
    let deleted = kong.ask("DELETE", &format!("/consumers/{consumer}")).await;
    assert_eq!(deleted.status, 204);
    let gone = kong.send(kong.request("GET", "/x").header("apikey", &format!("{consumer}-key"))).await;
    assert_eq!(gone.status, 401, "with the consumer its key is gone");
}
