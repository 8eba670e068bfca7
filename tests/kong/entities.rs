//! The entities as clients make and change them: every field with its default, forms, references, what is refused, and
//! what goes with what.

use super::*;

impl Kong {
    async fn form(&self, method: &str, path: &str, body: &str) -> Response {
        let request = Request::new(method, path).header("Content-Type", "application/x-www-form-urlencoded");
        request.body(body).send(self.gate.port(8001)).await
    }
}

/// Without what differs from one run to the next.
fn plain(mut entity: Value) -> Value {
    for name in ["id", "created_at", "updated_at"] {
        entity.as_object_mut().unwrap().remove(name).unwrap_or_else(|| panic!("{name} is missing"));
    }
    entity
}

#[tokio::test]
async fn every_field_is_returned_and_has_kongs_default() {
    let kong = Kong::new().await;
    let name = unique("e-");
    let consumer = kong.made("POST", "/consumers", json!({"username": name})).await;
    let consumer = json!({"id": consumer["id"]});
    for (path, body, whole) in [
        (
            "/services".to_owned(),
            json!({"name": name, "host": "a"}),
            json!({
                "name": name, "host": "a", "port": 80, "protocol": "http", "path": null, "retries": 5, "connect_timeout": 60000,
                "write_timeout": 60000, "read_timeout": 60000, "tags": null, "client_certificate": null, "tls_verify": null,
                "tls_verify_depth": null, "ca_certificates": null, "enabled": true,
            }),
        ),
        (
            "/routes".to_owned(),
            json!({"name": name, "paths": [format!("/{name}")]}),
            json!({
                "name": name, "paths": [format!("/{name}")], "protocols": ["http", "https"], "methods": null, "hosts": null,
                "headers": null, "snis": null, "sources": null, "destinations": null, "https_redirect_status_code": 426,
                "regex_priority": 0, "strip_path": true, "preserve_host": false, "path_handling": "v0",
                "request_buffering": true, "response_buffering": true, "tags": null, "service": null,
            }),
        ),
        (
            "/consumers".to_owned(),
            json!({"custom_id": format!("{name}-c")}),
            json!({"username": null, "custom_id": format!("{name}-c"), "tags": null}),
        ),
        (
            format!("/consumers/{name}/key-auth"),
            json!({"key": format!("{name}-k")}),
            json!({"key": format!("{name}-k"), "consumer": consumer, "ttl": null, "tags": null}),
        ),
        (
            format!("/consumers/{name}/jwt"),
            json!({"key": name, "secret": "s"}),
            json!({
                "key": name, "secret": "s", "algorithm": "HS256", "rsa_public_key": null, "consumer": consumer, "tags": null,
            }),
        ),
        (
            format!("/consumers/{name}/hmac-auth"),
            json!({"username": name, "secret": "s"}),
            json!({"username": name, "secret": "s", "consumer": consumer, "tags": null}),
        ),
        (
            format!("/consumers/{name}/acls"),
            json!({"group": "g"}),
            json!({"group": "g", "consumer": consumer, "tags": null}),
        ),
    ] {
        let made = kong.made("POST", &path, body).await;
        let id = made["id"].as_str().unwrap().to_owned();
        let top = path.rsplit_once('/').map_or(path.as_str(), |(_, last)| last).to_owned();
        assert!(
            id.len() == 36 && made["created_at"].is_i64() && made["updated_at"].is_i64(),
            "{path}: {made}"
        );
        assert_eq!(plain(made.clone()), whole, "{path}");
        // What was told is taken back, and changes nothing.
        let again = kong.made("PUT", &format!("{path}/{id}"), made).await;
        assert_eq!(plain(again), whole, "{path} {top}");
    }
    let upstream = kong.made("POST", "/upstreams", json!({"name": format!("{name}.local")})).await;
    for (pointer, default) in [
        ("/algorithm", json!("round-robin")),
        ("/hash_on", json!("none")),
        ("/hash_on_cookie_path", json!("/")),
        ("/slots", json!(10000)),
        ("/use_srv_name", json!(false)),
        ("/healthchecks/active/type", json!("http")),
        ("/healthchecks/active/healthy/http_statuses", json!([200, 302])),
        ("/healthchecks/active/unhealthy/http_statuses", json!([429, 404, 500, 501, 502, 503, 504, 505])),
        ("/healthchecks/passive/unhealthy/http_statuses", json!([429, 500, 503])),
        ("/healthchecks/threshold", json!(0)),
    ] {
        assert_eq!(upstream.pointer(pointer), Some(&default), "{pointer}");
    }
    let target = format!("/upstreams/{name}.local/targets");
    let target = kong.made("POST", &target, json!({"target": "127.0.0.1"})).await;
    assert_eq!((&target["target"], &target["weight"]), (&json!("127.0.0.1:8000"), &json!(100)));
    assert!(target["created_at"].is_f64() || target["created_at"].is_i64());
    assert_eq!(kong.ask("GET", "/targets").await.status, 404);
    // What is left out of a credential is made up; a password is hashed with the consumer's id.
    let key = kong.made("POST", &format!("/consumers/{name}/key-auth"), json!({})).await;
    assert_eq!(key["key"].as_str().unwrap().len(), 32);
    let password = kong
        .made("POST", &format!("/consumers/{name}/basic-auth"), json!({"username": name, "password": "p"}))
        .await;
    let text = format!("p{}", consumer["id"].as_str().unwrap());
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    let hash: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(password["password"], hash);
    let acl = kong.ask("GET", &format!("/consumers/{name}/acls/g")).await;
    assert_eq!((acl.status, &acl.json()["group"]), (200, &json!("g")), "also by the group's name");
}

#[tokio::test]
async fn what_is_wrong_is_told_in_kongs_words_and_nothing_is_written() {
    let kong = Kong::new().await;
    let count = async |path: &str, tag: &str| {
        kong.ask("GET", &format!("{path}?tags={tag}")).await.json()["data"].as_array().unwrap().len()
    };
    for (path, body, fields) in [
        ("/services", json!({}), json!({"host": "required field missing"})),
        ("/services", json!({"host": 1}), json!({"host": "expected a string"})),
        ("/services", json!({"host": "a", "port": "80"}), json!({"port": "expected an integer"})),
        (
            "/services",
            json!({"host": "a", "port": 70000}),
            json!({"port": "value should be between 0 and 65535"}),
        ),
        ("/services", json!({"host": "a", "enabled": "yes"}), json!({"enabled": "expected a boolean"})),
        ("/services", json!({"host": "a", "path": "x"}), json!({"path": "should start with: /"})),
        (
            "/services",
            json!({"host": "a", "x": 1, "y": 2}),
            json!({"x": "unknown field", "y": "unknown field"}),
        ),
        ("/services", json!({"host": "a", "id": "x"}), json!({"id": "expected a valid UUID"})),
        ("/services", json!({"host": "a", "name": ""}), json!({"name": "length must be at least 1"})),
        ("/routes", json!({"paths": "x"}), json!({"paths": "expected an array"})),
        ("/routes", json!({"methods": {}}), json!({"methods": "expected a set"})),
        ("/routes", json!({"headers": []}), json!({"headers": "expected a map"})),
        (
            "/consumers",
            json!({}),
            json!({"@entity": ["at least one of these fields must be non-empty: 'custom_id', 'username'"]}),
        ),
        ("/upstreams", json!({"name": "a", "healthchecks": 1}), json!({"healthchecks": "expected a record"})),
        (
            "/plugins",
            json!({"name": "nope"}),
            json!({"name": "plugin 'nope' not enabled; add it to the 'plugins' configuration property"}),
        ),
        (
            "/plugins",
            json!({"name": "cors", "config": {"max_age": "x"}}),
            json!({"config": {"max_age": "expected a number"}}),
        ),
    ] {
        let tag = unique("bad-");
        let mut body = body;
        body["tags"] = json!([tag]);
        let answer = kong.call("POST", path, body.clone()).await;
        let told = answer.json();
        assert_eq!(
            (answer.status, &told["code"], &told["name"]),
            (400, &json!(2), &json!("schema violation")),
            "{path} {body}"
        );
        assert_eq!(told["fields"], fields, "{path} {body}");
        assert_eq!(count(path, &tag).await, 0, "{path} {body}");
    }
    // Unique violations, in every way to write.
    let (one, two) = (unique("u-"), unique("u-"));
    for (path, key) in [("/services", "name"), ("/consumers", "username"), ("/upstreams", "name")] {
        let body = |name: &str| match path {
            "/services" => json!({"name": name, "host": "a"}),
            _ => json!({key: name}),
        };
        kong.made("POST", path, body(&one)).await;
        kong.made("POST", path, body(&two)).await;
        for (method, target, body) in
            [("POST", path.to_owned(), body(&one)), ("PATCH", format!("{path}/{two}"), json!({key: one}))]
        {
            let taken = kong.call(method, &target, body).await;
            let told = taken.json();
            let message = format!("UNIQUE violation detected on '{{{key}=\"{one}\"}}'");
            assert_eq!((taken.status, &told["code"]), (409, &json!(5)), "{method} {target}");
            assert_eq!(
                (&told["name"], &told["message"]),
                (&json!("unique constraint violation"), &json!(message))
            );
            assert_eq!(told["fields"], json!({key: one}), "{method} {target}");
        }
        assert_eq!(kong.ask("GET", &format!("{path}/{two}")).await.status, 200, "{path}: nothing changed");
    }
    let plugin = json!({"name": "cors", "route": {"name": kong.name}});
    kong.made("POST", "/plugins", plugin.clone()).await;
    assert_eq!(kong.call("POST", "/plugins", plugin).await.status, 409, "one of a name in one place");
    // A plugin with one good and one bad half leaves nothing.
    let half =
        json!({"name": "openid-connect", "config": {"issuer": "https://a/", "session_audience": "other"}});
    let half = kong.call("POST", &format!("/routes/{}/plugins", kong.name), half).await;
    assert_eq!((half.status, half.json()["fields"]["config"]["session_audience"].is_string()), (400, true));
    let plugins = kong.ask("GET", &format!("/routes/{}/plugins", kong.name)).await.json();
    assert_eq!(plugins["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn patch_merges_records_put_replaces_and_null_clears() {
    let kong = Kong::new().await;
    let path = format!("/services/{}", unique("p-"));
    let put = kong
        .made("PUT", &path, json!({"host": "a", "retries": 1, "tags": ["x", "y", "x"], "path": "/p"}))
        .await;
    assert_eq!((&put["retries"], &put["tags"]), (&json!(1), &json!(["x", "y"])), "sets have everything once");
    let patched = kong.made("PATCH", &path, json!({"tags": ["z"], "path": null})).await;
    assert_eq!(
        (&patched["tags"], &patched["path"], &patched["retries"]),
        (&json!(["z"]), &json!(null), &json!(1))
    );
    assert_eq!(patched["id"], put["id"]);
    assert_eq!(kong.call("PATCH", &path, json!({"host": null})).await.status, 400, "a required field stays");
    let replaced = kong.made("PUT", &path, json!({"host": "b"})).await;
    assert_eq!(
        (&replaced["retries"], &replaced["tags"]),
        (&json!(5), &json!(null)),
        "what is left out is the default"
    );
    let upstream = format!("/upstreams/{}.local", unique("p-"));
    kong.made("PUT", &upstream, json!({"slots": 100, "healthchecks": {"active": {"http_path": "/h"}}})).await;
    let patched = kong.made("PATCH", &upstream, json!({"healthchecks": {"active": {"timeout": 2}}})).await;
    let active = &patched["healthchecks"]["active"];
    assert_eq!(
        (&active["http_path"], &active["timeout"], &patched["slots"]),
        (&json!("/h"), &json!(2), &json!(100))
    );
    for (method, path, status) in
        [("DELETE", path.as_str(), 204), ("DELETE", &path, 204), ("GET", &path, 404), ("PATCH", &path, 404)]
    {
        assert_eq!(kong.call(method, path, json!({"retries": 1})).await.status, status, "{method}");
    }
}

#[tokio::test]
async fn forms_are_typed_by_the_schema_and_json_is_not() {
    let kong = Kong::new().await;
    let name = unique("f-");
    let made = kong
        .form(
            "POST",
            "/services",
            &format!("name={name}&url=https%3A%2F%2Fh%2Fp&retries=3&tags=a&enabled=false&path="),
        )
        .await;
    assert_eq!(made.status, 201, "{}", made.text());
    let service = made.json();
    assert_eq!(
        (&service["protocol"], &service["port"], &service["host"]),
        (&json!("https"), &json!(443), &json!("h"))
    );
    assert_eq!(
        (&service["retries"], &service["enabled"], &service["tags"]),
        (&json!(3), &json!(false), &json!(["a"]))
    );
    let of_service = format!("/services/{name}/routes");
    for (body, field, value) in [
        ("paths=%2Fa".to_owned(), "paths", json!(["/a"])),
        ("paths=%2Fa,%2Fb".to_owned(), "paths", json!(["/a,/b"])),
        ("paths=%2Fa&paths=%2Fb".to_owned(), "paths", json!(["/a", "/b"])),
        ("paths[]=%2Fa&paths%5B%5D=%2Fb".to_owned(), "paths", json!(["/a", "/b"])),
        ("paths[2]=%2Fb&paths[1]=%2Fa".to_owned(), "paths", json!(["/a", "/b"])),
        ("headers.x-a=1".to_owned(), "headers", json!({"x-a": ["1"]})),
        ("headers[x.a][]=1&headers[x.a][]=2&paths=/".to_owned(), "headers", json!({"x.a": ["1", "2"]})),
        (
            format!("paths=/&service.id={}", service["id"].as_str().unwrap()),
            "service",
            json!({"id": service["id"]}),
        ),
        (format!("paths=/&service.name={name}"), "service", json!({"id": service["id"]})),
        ("paths=/&regex_priority=-5".to_owned(), "regex_priority", json!(-5)),
    ] {
        let answer = kong.form("POST", &of_service, &body).await;
        assert_eq!((answer.status, &answer.json()[field]), (201, &value), "{body}: {}", answer.text());
    }
    let wrong = kong.form("POST", "/services", "host=a&retries=many&enabled=yes").await;
    let fields = json!({"retries": "expected an integer", "enabled": "expected a boolean"});
    assert_eq!((wrong.status, &wrong.json()["fields"]), (400, &fields));
    let plugin = format!("/services/{name}/plugins");
    let made = kong
        .form(
            "POST",
            &plugin,
            "name=rate-limiting&config.minute=5&config.policy=local&config.hide_client_headers=true",
        )
        .await;
    assert_eq!(made.status, 201, "{}", made.text());
    let config = &made.json()["config"];
    assert_eq!((&config["minute"], &config["hide_client_headers"]), (&json!(5), &json!(true)));
    // A PATCH without a name is typed by the stored one's.
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let patched = kong.form("PATCH", &format!("/plugins/{id}"), "config.minute=6&config.limit_by=ip").await;
    assert_eq!((patched.status, &patched.json()["config"]["minute"]), (200, &json!(6)), "{}", patched.text());
    assert_eq!(patched.json()["config"]["hide_client_headers"], true, "the rest stays");
    let json = kong.call("POST", "/services", json!({"host": "a", "retries": "3"})).await;
    assert_eq!(json.status, 400, "JSON says its types itself");
}

#[tokio::test]
async fn what_belongs_to_others_is_found_below_them_alone_and_goes_with_them() {
    let kong = Kong::new().await;
    let (one, two) = (unique("c-"), unique("c-"));
    for name in [&one, &two] {
        kong.made("POST", "/consumers", json!({"username": name})).await;
    }
    let key = kong.made("POST", &format!("/consumers/{one}/key-auth"), json!({})).await;
    let id = key["id"].as_str().unwrap();
    for (method, path, status) in [
        ("GET", format!("/consumers/{one}/key-auth/{id}"), 200),
        ("GET", format!("/consumers/{two}/key-auth/{id}"), 404),
        ("PATCH", format!("/consumers/{two}/key-auth/{id}"), 404),
        ("DELETE", format!("/consumers/{two}/key-auth/{id}"), 404),
        ("GET", format!("/key-auths/{id}"), 200),
        ("GET", format!("/key-auths/{id}/consumer"), 200),
        ("DELETE", format!("/key-auths/{id}/consumer"), 405),
        ("DELETE", format!("/consumers/{one}"), 204),
        ("GET", format!("/key-auths/{id}"), 404),
        ("DELETE", format!("/services/{}", kong.name), 400),
        ("GET", format!("/routes/{}/service", kong.name), 200),
        ("GET", format!("/services/{}/routes/{}", kong.name, kong.name), 200),
        ("DELETE", format!("/services/{}/routes/{}", kong.name, kong.name), 204),
        ("DELETE", format!("/services/{}", kong.name), 204),
    ] {
        let answer = match method {
            "PATCH" => kong.call(method, &path, json!({"tags": ["x"]})).await,
            _ => kong.ask(method, &path).await,
        };
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
    }
}

#[tokio::test]
async fn fields_of_older_and_newer_deployments_are_taken_where_they_mean_what_is_built() {
    let kong = Kong::new().await;
    let limit = json!({
        "minute": 1, "redis_host": "redis.example", "redis_port": 6380, "redis_password": "1234", "redis_ssl": true,
    });
    let limit = kong.plugin("rate-limiting", limit).await;
    let config = &limit["config"];
    let of = |config: &Value| {
        ["host", "port", "password", "ssl"].map(|name| config["redis"][name].clone()).to_vec()
    };
    assert_eq!(of(config), [json!("redis.example"), json!(6380), json!("1234"), json!(true)]);
    assert!(config.get("redis_host").is_none());
    let path = format!("/plugins/{}", limit["id"].as_str().unwrap());
    let form = Request::new("PATCH", &path)
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body("config.redis_port=6381&config.redis_ssl=false");
    let changed = form.send(kong.gate.port(8001)).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    let config = &changed.json()["config"];
    assert_eq!(of(config), [json!("redis.example"), json!(6381), json!("1234"), json!(false)]);
    let oidc = json!({
        "issuer": "https://a.example/", "auth_methods": ["client_credentials"], "session_cookie_lifetime": 120,
        "session_cookie_samesite": "Strict", "session_redis_host": "redis.example", "session_redis_port": 6380,
        "session_cookie_renew": 600, "session_strategy": "default", "session_compressor": "none",
    });
    let oidc = kong.plugin("openid-connect", oidc).await;
    let config = &oidc["config"];
    assert_eq!(
        (&config["session_rolling_timeout"], &config["session_cookie_same_site"]),
        (&json!(120), &json!("Strict"))
    );
    assert_eq!((&config["redis"]["host"], &config["redis"]["port"]), (&json!("redis.example"), &json!(6380)));
    assert!(
        ["session_cookie_lifetime", "session_redis_host", "session_strategy"]
            .iter()
            .all(|name| config.get(name).is_none())
    );
    let path = format!("/plugins/{}", oidc["id"].as_str().unwrap());
    let form = Request::new("PATCH", &path)
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body("config.session_redis_port=6381&config.session_cookie_idletime=60");
    let changed = form.send(kong.gate.port(8001)).await;
    let config = &changed.json()["config"];
    assert_eq!(
        (&config["redis"]["port"], &config["session_idling_timeout"]),
        (&json!(6381), &json!(60)),
        "{}",
        changed.text()
    );
    let acl = json!({"allow": [], "deny": ["eve"], "include_consumer_groups": false});
    assert_eq!(kong.plugin("acl", acl).await["config"]["include_consumer_groups"], false);
    let log =
        json!({"http_endpoint": "http://a.example/", "retry_count": 10, "queue_size": 1, "flush_timeout": 2});
    kong.plugin("http-log", log).await;
}
