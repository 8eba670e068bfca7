//! What decK's `gateway sync`, `diff` and `dump` ask of the Admin API, request by request.

use super::*;

/// A list, followed by its `offset` as the tool does.
async fn all(kong: &Kong, path: &str) -> Vec<Value> {
    let mut out = Vec::new();
    let mut offset = String::new();
    loop {
        let page = kong.ask("GET", &format!("{path}?size=2{offset}")).await;
        assert_eq!(page.status, 200, "{path}: {}", page.text());
        let page = page.json();
        out.extend(page["data"].as_array().unwrap().clone());
        match page["offset"].as_str() {
            Some(next) => offset = format!("&offset={next}"),
            None => return out,
        }
    }
}

#[tokio::test]
async fn the_version_and_the_lists_are_there() {
    let kong = Kong::new().await;
    let node = kong.ask("GET", "/").await.json();
    assert!(node["version"].as_str().unwrap().starts_with("3.9"), "{node}");
    for mandatory in ["services", "routes", "plugins", "certificates", "snis", "upstreams", "consumers"] {
        all(&kong, &format!("/{mandatory}")).await;
    }
    for tolerated in [
        "ca_certificates",
        "vaults",
        "keys",
        "key-sets",
        "partials",
        "licenses",
        "consumer_groups",
        "key-auths",
        "basic-auths",
        "jwts",
        "hmac-auths",
        "oauth2",
        "acls",
        "mtls-auths",
        "filter-chains",
    ] {
        let answer = kong.ask("GET", &format!("/{tolerated}?size=1000")).await;
        assert!(matches!(answer.status, 200 | 404), "{tolerated}: {}", answer.status);
    }
    for schema in ["services", "routes", "upstreams", "targets", "consumers", "consumer_groups"] {
        let answer = kong.ask("GET", &format!("/schemas/{schema}")).await;
        assert!(answer.status == 200 && answer.json()["fields"].is_array(), "{schema}");
    }
    for plugin in ["key-auth", "acl", "jwt", "basic-auth", "hmac-auth", "openid-connect"] {
        let schema = kong.ask("GET", &format!("/schemas/plugins/{plugin}")).await.json();
        let fields = schema["fields"].as_array().unwrap();
        assert!(fields.iter().any(|field| field["config"]["fields"].is_array()), "{plugin}: {schema}");
    }
}

#[tokio::test]
async fn what_is_put_with_ids_of_its_own_reads_back_and_is_the_same_the_second_time() {
    let kong = Kong::new().await;
    let tag = unique("deck-");
    let id = || {
        let digits = base::Random::system().hex(16);
        format!(
            "{}-{}-4{}-8{}-{}",
            &digits[..8],
            &digits[8..12],
            &digits[13..16],
            &digits[17..20],
            &digits[20..]
        )
    };
    let (service, route, consumer, upstream) = (id(), id(), id(), id());
    let entities = [
        (
            format!("/services/{service}"),
            json!({"id": service, "name": tag, "host": "h.example", "port": 80, "protocol": "http", "tags": [tag]}),
        ),
        (
            format!("/routes/{route}"),
            json!({"id": route, "name": tag, "paths": ["~/deck/\\d+"], "headers": {"x-a": ["1"]}, "service": {"id": service}, "tags": [tag]}),
        ),
        (
            format!("/upstreams/{upstream}"),
            json!({"id": upstream, "name": format!("{tag}.local"), "tags": [tag]}),
        ),
        (format!("/consumers/{consumer}"), json!({"id": consumer, "username": tag, "tags": [tag]})),
    ];
    for (path, body) in &entities {
        let first = kong.made("PUT", path, body.clone()).await;
        let again = kong.made("PUT", path, first.clone()).await;
        let (mut first, mut again) = (first, again);
        for answer in [&mut first, &mut again] {
            answer.as_object_mut().unwrap().remove("updated_at");
        }
        assert_eq!(first, again, "{path}");
    }
    let target = kong
        .made(
            "POST",
            &format!("/upstreams/{upstream}/targets"),
            json!({"target": "127.0.0.1:1", "tags": [tag]}),
        )
        .await;
    assert_eq!(all(&kong, &format!("/upstreams/{upstream}/targets")).await, [target]);
    // A plugin comes with an explicit null for every field without a default.
    let plugin = id();
    let body = json!({
        "id": plugin, "name": "key-auth", "route": {"id": route}, "tags": [tag], "enabled": true,
        "protocols": ["grpc", "grpcs", "http", "https"],
        "config": {"anonymous": null, "realm": null, "hide_credentials": false, "key_in_body": false, "key_in_header": true,
            "key_in_query": true, "key_names": ["apikey"], "run_on_preflight": true},
    });
    let made = kong.made("PUT", &format!("/plugins/{plugin}"), body).await;
    assert_eq!(kong.made("PUT", &format!("/plugins/{plugin}"), made.clone()).await["config"], made["config"]);
    let acl =
        kong.made("POST", &format!("/consumers/{consumer}/acls"), json!({"group": "g", "tags": [tag]})).await;
    let key = kong
        .made("PUT", &format!("/consumers/{consumer}/key-auth/{}", id()), json!({"key": tag, "tags": [tag]}))
        .await;
    assert_eq!(key["key"], tag);
    for path in ["/services", "/routes", "/upstreams", "/consumers", "/plugins", "/acls", "/key-auths"] {
        let listed = kong.ask("GET", &format!("{path}?size=1000&tags={tag}")).await.json();
        assert_eq!(listed["data"].as_array().unwrap().len(), 1, "{path}: {listed}");
    }
    for path in [
        format!("/consumers/{consumer}/acls/{}", acl["id"].as_str().unwrap()),
        format!("/plugins/{plugin}"),
        format!("/routes/{route}"),
        format!("/services/{service}"),
        format!("/consumers/{consumer}"),
        format!("/upstreams/{upstream}"),
    ] {
        assert_eq!(kong.ask("DELETE", &path).await.status, 204, "{path}");
    }
    assert_eq!(kong.ask("GET", &format!("/tags/{tag}")).await.json()["data"], json!([]));
}

/// A config with every field of a schema: its default, or an explicit null, as the tool sends it.
fn filled(fields: &Value) -> Value {
    let mut config = json!({});
    for field in fields.as_array().unwrap() {
        let (name, described) = field.as_object().unwrap().iter().next().unwrap();
        config[name] = match (&described["default"], described["type"].as_str()) {
            (Value::Null, Some("record")) if described["required"] == true => filled(&described["fields"]),
            (default, _) => default.clone(),
        };
    }
    config
}

#[tokio::test]
async fn every_plugin_takes_all_of_its_schema_and_tells_it_back() {
    let kong = Kong::new().await;
    let enabled = kong.ask("GET", "/plugins/enabled").await.json();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    std::fs::write(&log, "").unwrap();
    for name in enabled["enabled_plugins"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()) {
        let schema = kong.ask("GET", &format!("/schemas/plugins/{name}")).await.json();
        let fields = schema["fields"].as_array().unwrap();
        let config = fields.iter().find_map(|field| field.get("config")).unwrap();
        let mut config = filled(&config["fields"]);
        let more = match name {
            "acl" => json!({"allow": ["g"]}),
            "ip-restriction" => json!({"allow": ["10.0.0.0/8"]}),
            "rate-limiting" => json!({"minute": 5}),
            "http-log" => json!({"http_endpoint": "http://127.0.0.1:9/"}),
            "file-log" => json!({"path": log}),
            "openid-connect" => json!({"issuer": "http://127.0.0.1:9/"}),
            _ => json!({}),
        };
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let first = kong.plugin(name, config.clone()).await;
        for (field, value) in config.as_object().unwrap() {
            // What the gate fills in by itself.
            let is_made = field == "cache_tokens_salt";
            assert!(
                is_made || first["config"][field] == *value,
                "{name}.{field}: {value} {}",
                first["config"][field]
            );
        }
        let again = kong.plugin(name, first["config"].clone()).await;
        assert_eq!(again["config"], first["config"], "{name}: the second time nothing changes");
        assert_eq!(again["config"].as_object().unwrap().len(), config.as_object().unwrap().len(), "{name}");
    }
}

#[tokio::test]
async fn ten_writers_at_once_read_what_they_wrote() {
    let kong = Kong::new().await;
    let tag = unique("many-");
    let one = async |place: usize| {
        let name = format!("{tag}-{place}");
        let service =
            kong.made("PUT", &format!("/services/{name}"), json!({"host": "a", "tags": [tag]})).await;
        let route = json!({"paths": [format!("/{name}")], "service": {"id": service["id"]}, "tags": [tag]});
        let route = kong.made("PUT", &format!("/routes/{name}"), route).await;
        let read = kong.ask("GET", &format!("/routes/{name}")).await.json();
        assert_eq!((&read["id"], &read["service"]), (&route["id"], &json!({"id": service["id"]})), "{name}");
        let plugin = json!({"name": "cors", "route": {"id": route["id"]}, "tags": [tag]});
        kong.made("POST", "/plugins", plugin).await;
    };
    futures_util::future::join_all((0..10).map(one)).await;
    for kind in ["services", "routes", "plugins"] {
        assert_eq!(
            all(&kong, &format!("/{kind}")).await.iter().filter(|one| one["tags"] == json!([tag])).count(),
            10,
            "{kind}"
        );
    }
}
