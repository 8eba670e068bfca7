//! Declarative files: by `POST /config`, and at the start.

use std::fs;

use support::{Admin, Options, Portcullis};

use super::*;

fn file(upstream: &Upstream, name: &str) -> String {
    format!(
        r#"_format_version: "3.0"
_transform: true
services:
- name: {name}
  url: http://{node}/declared
  routes:
  - name: {name}
    paths: [/{name}]
    plugins:
    - name: key-auth
      config: {{key_names: [apikey]}}
consumers:
- username: {name}
  keyauth_credentials: [{{key: {name}-key}}]
"#,
        node = upstream.node()
    )
}

async fn post(gate: &Portcullis, query: &str, content_type: &str, body: &str) -> Response {
    let request = Request::new("POST", &format!("/config{query}")).header("Content-Type", content_type);
    request.body(body).send(gate.port(8001)).await
}

async fn served(gate: &Portcullis, name: &str) -> u16 {
    gate.send(Request::get(&format!("/{name}/x")).header("apikey", &format!("{name}-key"))).await.status
}

#[tokio::test]
async fn a_file_replaces_everything_at_once_or_nothing_and_leaves_the_other_dialect_alone() {
    let (gate, upstream) = (Portcullis::dev(), Upstream::start());
    let apisix =
        json!({"uri": "/apisix-one", "upstream": {"type": "roundrobin", "nodes": {upstream.node(): 1}}});
    assert_eq!(gate.admin().put("routes/1", &apisix).await.status, 201);
    let one = file(&upstream, "one");
    let taken = post(&gate, "", "text/yaml", &one).await;
    assert_eq!(taken.status, 201, "{}", taken.text());
    assert_eq!(served(&gate, "one").await, 200);
    assert_eq!(upstream.seen().pop().unwrap().path(), "/declared/x");
    assert_eq!(gate.get("/one/x").await.status, 401);
    assert_eq!(post(&gate, "?check_hash=1", "text/yaml", &one).await.status, 304);
    let hash = Request::get("/status").send(gate.port(8001)).await.json()["configuration_hash"].clone();
    assert_ne!(hash, json!("0".repeat(32)));
    // A bad one, in one of its last lines, changes nothing.
    let bad = format!("{}plugins: [{{name: nope}}]\n", file(&upstream, "two"));
    for (query, content_type, body, status) in [
        ("?flatten_errors=1", "text/yaml", bad.as_str(), 400),
        ("", "text/yaml", "a: [", 400),
        ("", "text/plain", &one, 415),
        ("", "application/json", r#"{"_format_version":"9"}"#, 400),
        ("", "application/json", "{}", 400),
    ] {
        let refused = post(&gate, query, content_type, body).await;
        assert_eq!(refused.status, status, "{body}: {}", refused.text());
        if status == 400 {
            let told = refused.json();
            assert_eq!(
                (&told["code"], &told["name"]),
                (&json!(14), &json!("invalid declarative configuration"))
            );
        }
        if query.contains("flatten") {
            assert_eq!(refused.json()["flattened_errors"][0]["entity_type"], "plugin");
        }
        assert_eq!((served(&gate, "one").await, served(&gate, "two").await), (200, 404), "{body}");
    }
    let text = file(&upstream, "two");
    let form = form_urlencoded::Serializer::new(String::new()).append_pair("config", &text).finish();
    let taken = post(&gate, "", "application/x-www-form-urlencoded", &form).await;
    assert_eq!(taken.status, 201, "{}", taken.text());
    assert_eq!((served(&gate, "one").await, served(&gate, "two").await), (404, 200));
    // What is told is taken back.
    let told =
        Request::get("/config").send(gate.port(8001)).await.json()["config"].as_str().unwrap().to_owned();
    assert!(told.contains("_format_version") && told.contains("two-key"), "{told}");
    let services = Request::get("/services").send(gate.port(8001)).await.json();
    assert_eq!(post(&gate, "", "text/yaml", &told).await.status, 201);
    assert_eq!(Request::get("/services").send(gate.port(8001)).await.json(), services);
    assert_eq!(served(&gate, "two").await, 200);
    gate.restart();
    assert_eq!(served(&gate, "two").await, 200, "it is kept");
    assert_eq!(post(&gate, "", "application/json", r#"{"_format_version":"3.0"}"#).await.status, 201);
    assert_eq!((served(&gate, "two").await, gate.get("/apisix-one").await.status), (404, 200));
}

#[tokio::test]
async fn a_file_is_served_from_the_start_and_is_not_written_to() {
    let upstream = Upstream::start();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kong.yaml");
    fs::write(&path, file(&upstream, "start")).unwrap();
    let keyring = base::Keyring::generate(&base::Random::system()).to_text().trim().to_owned();
    let config = format!(
        r#"
listeners: [{{address: "127.0.0.1:{{9080}}"}}]
admin:
  apisix: {{listen: "127.0.0.1:{{9180}}", keys: [{{key: "${{ADMIN}}"}}]}}
  kong: {{listen: "127.0.0.1:{{8001}}"}}
store: {{sqlite: gateway.db}}
encryption: {{keyring: {{keys: "${{KEYRING}}"}}}}
declarative_config: {path}
"#,
        path = path.display()
    );
    let admin = unique("admin-key-");
    let environment = vec![("KEYRING".to_owned(), keyring), ("ADMIN".to_owned(), admin.clone())];
    let gate =
        Portcullis::start(Options { config: Some(config), environment, real_clock: true, tenant: None });
    assert_eq!(served(&gate, "start").await, 200);
    let listed = Request::get("/services/start").send(gate.port(8001)).await;
    assert_eq!((listed.status, &listed.json()["host"]), (200, &json!("127.0.0.1")));
    let id = listed.json()["id"].as_str().unwrap().to_owned();
    for (method, path, what) in [
        ("POST", "/services", "create 'services' entities"),
        ("POST", "/services/start/routes", "create 'routes' entities"),
        ("PUT", "/services/other", "create or update 'services' entities by 'name'"),
        ("PATCH", &format!("/services/{id}"), "update 'services' entities"),
        ("PATCH", "/routes/start/service", "update 'services' entities"),
        ("DELETE", "/services/start", "remove 'services' entities by 'name'"),
        ("DELETE", &format!("/services/{id}"), "remove 'services' entities"),
        ("POST", "/consumers/start/key-auth", "create 'keyauth_credentials' entities"),
    ] {
        let request = Request::new(method, path).json(&json!({"host": "a"}));
        let answer = request.send(gate.port(8001)).await;
        let message = format!("cannot {what} when not using a database");
        let expected = json!({"code": 12, "name": "operation unsupported", "message": message});
        assert_eq!((answer.status, answer.json()), (405, expected), "{method} {path}");
    }
    let replaced = Request::new("POST", "/config").json(&json!({"_format_version": "3.0"}));
    let replaced = replaced.send(gate.port(8001)).await;
    assert_eq!((replaced.status, &replaced.json()["code"]), (405, &json!(12)));
    let root = Request::get("/").send(gate.port(8001)).await.json();
    assert_eq!(root["configuration"]["database"], "off");
    // What changes no entity is done as ever.
    for (method, path, body, status) in [
        ("POST", "/schemas/services/validate", json!({"host": "a"}), 200),
        ("POST", "/schemas/services/validate", json!({}), 400),
        ("DELETE", "/cache", json!({}), 204),
    ] {
        let answer = Request::new(method, path).json(&body).send(gate.port(8001)).await;
        assert_eq!(answer.status, status, "{method} {path}");
    }
    assert_eq!(served(&gate, "start").await, 200);
    let apisix =
        json!({"uri": "/apisix-one", "upstream": {"type": "roundrobin", "nodes": {upstream.node(): 1}}});
    let written = Admin::new(gate.port(9180), admin).put("routes/1", &apisix).await;
    assert_eq!(
        (written.status, gate.get("/apisix-one").await.status),
        (201, 200),
        "the other dialect is not declared"
    );
    fs::write(&path, file(&upstream, "later")).unwrap();
    gate.restart();
    assert_eq!(
        (served(&gate, "start").await, served(&gate, "later").await),
        (404, 200),
        "the file is all there is"
    );
}

#[tokio::test]
async fn a_file_of_decks_says_once_what_holds_for_all() {
    let (gate, upstream) = (Portcullis::dev(), Upstream::start());
    let (host, port) =
        upstream.node().rsplit_once(':').map(|(host, port)| (host.to_owned(), port.to_owned())).unwrap();
    let text = format!(
        r#"_format_version: "3.0"
_comment: of the team
_workspace: default
_info:
  select_tags: [team-a]
  defaults:
    service: {{host: {host}, port: {port}, retries: 0}}
    route: {{strip_path: false, preserve_host: true}}
_plugin_configs:
  shared: {{key_names: [x-key], hide_credentials: true}}
services:
- name: deck
  _comment: the first
  tags: [own]
  routes:
  - name: deck
    paths: [/deck]
    strip_path: true
  - {{name: kept, paths: [/kept]}}
  plugins:
  - {{name: key-auth, _config: shared, config: {{hide_credentials: false}}}}
consumers:
- username: ann
  _ignore: [{{username: whatever}}]
  keyauth_credentials: [{{key: deck-key}}]
"#
    );
    let taken = post(&gate, "", "text/yaml", &text).await;
    assert_eq!(taken.status, 201, "{}", taken.text());
    let read = async |path: &str| Request::get(path).send(gate.port(8001)).await.json();
    let service = read("/services/deck").await;
    assert_eq!((&service["retries"], &service["tags"]), (&json!(0), &json!(["own", "team-a"])));
    let (own, kept) = (read("/routes/deck").await, read("/routes/kept").await);
    assert_eq!((&own["strip_path"], &own["preserve_host"]), (&json!(true), &json!(true)));
    assert_eq!((&kept["strip_path"], &kept["tags"]), (&json!(false), &json!(["team-a"])));
    let plugin = read("/services/deck/plugins").await["data"][0].clone();
    assert_eq!(
        (&plugin["config"]["key_names"], &plugin["config"]["hide_credentials"]),
        (&json!(["x-key"]), &json!(false))
    );
    assert_eq!(read("/consumers?tags=team-a").await["data"].as_array().unwrap().len(), 1);
    let send = async |target: &str| gate.send(Request::get(target).header("x-key", "deck-key")).await.status;
    assert_eq!(
        (send("/deck/x").await, send("/kept/x").await, gate.get("/deck").await.status),
        (200, 200, 401)
    );
    let seen: Vec<String> = upstream.seen().iter().map(|seen| seen.target.clone()).collect();
    assert_eq!(seen, ["/x", "/kept/x"]);
    for (line, field) in [
        ("_info: {default_lookup_tags: {services: [a]}}", "_info"),
        ("_info: {defaults: {servise: {port: 1}}}", "_info"),
        ("_workspace: other", "_workspace"),
        ("plugins: [{name: key-auth, _config: lost}]", "plugins"),
        ("_konnect: {}", "_konnect"),
    ] {
        let refused = post(&gate, "", "text/yaml", &format!("_format_version: \"3.0\"\n{line}\n")).await;
        assert_eq!(refused.status, 400, "{line}");
        assert!(refused.json()["fields"].get(field).is_some(), "{line}: {}", refused.text());
    }
    assert_eq!(send("/deck/x").await, 200, "nothing changed");
}
