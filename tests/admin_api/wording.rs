//! Requests as APISIX's own tests send them, and the words in which they are refused: its users' scripts compare them.

use serde_json::{Value, json};

use crate::support::{shared, unique};

const ID: &str =
    "invalid configuration: property \"id\" validation failed: object matches none of the required";
const NODES: &str =
    "invalid configuration: property \"nodes\" validation failed: object matches none of the required";

/// Asserts method, path, body, status and `error_msg` of each case.
async fn answered(cases: Vec<(&str, &str, Value, u16, &str)>) {
    let gate = shared();
    let admin = gate.admin();
    for (method, path, body, status, why) in cases {
        let sent = (!body.is_null()).then_some(&body);
        let answer = admin.call(method, &format!("/apisix/admin/{path}"), sent).await;
        assert_eq!(
            (answer.status, &answer.json()["error_msg"]),
            (status, &json!(why)),
            "{method} {path} {body}"
        );
    }
}

fn node() -> Value {
    json!({"nodes": {"127.0.0.1:8080": 1}, "type": "roundrobin"})
}

fn with(mut body: Value, member: &str, value: Value) -> Value {
    body[member] = value;
    body
}

#[tokio::test]
async fn routes() {
    let route = || json!({"uri": "/index.html", "methods": ["GET"], "upstream": node()});
    let of = |member: &str, value: Value| with(route(), member, value);
    let none = "object matches none of the required";
    let property = |name: &str, why: &str| {
        format!("invalid configuration: property \"{name}\" validation failed: {why}")
    };
    let bare = format!(
        "invalid configuration: {none}: {}",
        ["uri", "uris"]
            .iter()
            .flat_map(|path| ["plugins", "upstream", "upstream_id", "service_id"].map(|to| (to, *path)))
            .chain([("script", "uri"), ("script", "uris")])
            .map(|(to, path)| format!("[\"{to}\",\"{path}\"]"))
            .collect::<Vec<_>>()
            .join(" or ")
    );
    let host = property(
        "host",
        "failed to match pattern \"^\\\\*$|^\\\\*?[0-9a-zA-Z-._\\\\[\\\\]:]+$\" with \"a b\"",
    );
    let unique_items = property("methods", "expected unique items but items 1 and 2 are equal");
    let methods = property("methods", "failed to validate item 1: matches none of the enum values");
    let addresses = property("remote_addrs", &format!("failed to validate item 1: {none}"));
    let pathless =
        "invalid configuration: allOf 1 failed: value should match only one schema, but matches none";
    let paths = "invalid configuration: allOf 1 failed: value should match only one schema, but matches both schemas 1 and 2";
    let vars = |why: &str| format!("failed to validate the 'vars' expression: {why}");
    answered(vec![
        ("PUT", "routes/1", of("methods", json!(["GET", "GET"])), 400, &unique_items),
        ("PUT", "routes/1", json!({"methods": ["invalid_method"], "uri": "/"}), 400, &methods),
        (
            "PUT",
            "routes/1",
            json!({"service_id": "invalid_id$", "uri": "/"}),
            400,
            &property("service_id", none),
        ),
        (
            "PUT",
            "routes/1",
            json!({"upstream_id": "invalid$", "uri": "/"}),
            400,
            &property("upstream_id", none),
        ),
        (
            "PUT",
            "routes/1",
            json!({"service_id": "99999999999999", "uri": "/"}),
            400,
            "failed to fetch service info by service id [99999999999999], response code: 404",
        ),
        (
            "PUT",
            "routes/1",
            json!({"upstream_id": "99999999", "uri": "/"}),
            400,
            "failed to fetch upstream info by upstream id [99999999], response code: 404",
        ),
        ("PUT", "routes/1", of("id", json!(3)), 400, "wrong route id"),
        ("PUT", "routes", of("id", json!(-100)), 400, ID),
        ("PUT", "routes", of("id", json!("invalid_id$")), 400, ID),
        ("PUT", "routes/invalid_id$", route(), 400, ID),
        ("POST", "routes/1", route(), 400, "wrong route id, do not need it"),
        ("POST", "routes", of("id", json!(1)), 400, "wrong route id, do not need it"),
        ("PUT", "routes", route(), 400, "missing route id"),
        ("PUT", "routes/1", Value::Null, 400, "missing configurations"),
        ("PUT", "routes/1", json!({"uri": "/"}), 400, &bare),
        ("PUT", "routes/1", json!({"upstream": node()}), 400, pathless),
        ("PUT", "routes/1", of("uris", json!(["/"])), 400, paths),
        ("PUT", "routes/1", of("host", json!("a b")), 400, &host),
        ("PUT", "routes/1", of("remote_addr", json!("127.0.0.")), 400, &property("remote_addr", none)),
        ("PUT", "routes/1", of("remote_addrs", json!([""])), 400, &addresses),
        ("PUT", "routes/1", of("remote_addrs", json!(["/16"])), 400, &addresses),
        (
            "PUT",
            "routes/1",
            of("vars", json!([["remote_addr", "=", "::1"]])),
            400,
            &vars("invalid operator '='"),
        ),
        (
            "PUT",
            "routes/1",
            of("vars", json!(["http_user_agent", "~*", "android"])),
            400,
            &vars("rule should be wrapped inside brackets"),
        ),
        ("PUT", "routes/1", of("vars", json!([["uri"]])), 400, &vars("invalid expression")),
        ("PUT", "routes/1", of("vars", json!([["OR", ["uri", "/"]]])), 400, &vars("rule too short")),
        (
            "PUT",
            "routes/1",
            with(of("remote_addr", json!("::1")), "remote_addrs", json!(["::1"])),
            400,
            "only one of remote_addr or remote_addrs is allowed",
        ),
        (
            "PUT",
            "routes/1",
            with(of("host", json!("a.com")), "hosts", json!(["b.com"])),
            400,
            "only one of host or hosts is allowed",
        ),
        ("PUT", "routes/1", of("create_time", json!(1)), 400, "the property is forbidden:  create_time"),
        (
            "POST",
            "schema/validate/routes",
            json!({"upstream": node()}),
            400,
            pathless.split_once(": ").unwrap().1,
        ),
        (
            "POST",
            "schema/validate/routes",
            json!({"uri": 1, "upstream": node()}),
            400,
            "property \"uri\" validation failed: wrong type: expected string, got number",
        ),
    ])
    .await;
}

#[tokio::test]
async fn upstreams() {
    let tls = |tls: Value| with(node(), "tls", tls);
    let hashing = |on: &str, key: &str| {
        with(with(with(node(), "type", json!("chash")), "hash_on", json!(on)), "key", json!(key))
    };
    let pem = "x".repeat(128);
    let dependent = |member: &str, why: &str| {
        format!(
            "invalid configuration: property \"tls\" validation failed: failed to validate dependent schema for \"{member}\": {why}"
        )
    };
    answered(vec![
        ("PUT", "upstreams/1", with(node(), "id", json!(3)), 400, "wrong upstream id"),
        ("PUT", "upstreams", with(node(), "id", json!(-100)), 400, ID),
        ("PUT", "upstreams", with(node(), "id", json!("invalid_id$")), 400, ID),
        ("PUT", "upstreams/1", with(node(), "nodes", json!({"127.0.0.1:8080": "1"})), 400, NODES),
        ("PUT", "upstreams/1", with(node(), "nodes", json!({"127.0.0.1:8080": -100})), 400, NODES),
        (
            "PUT",
            "upstreams/1",
            with(node(), "nodes", json!([{"host": "127.0.0.1", "port": 0, "weight": 1}])),
            400,
            NODES,
        ),
        ("PUT", "upstreams/1", with(node(), "nodes", json!([{"host": "127.0.0.1", "port": 80}])), 400, NODES),
        (
            "PUT",
            "upstreams/1",
            with(node(), "_service_name", json!("xyz")),
            400,
            "invalid configuration: additional properties forbidden, found _service_name",
        ),
        ("POST", "upstreams/1", node(), 400, "wrong upstream id, do not need it"),
        ("PUT", "upstreams/1", with(node(), "type", json!("chash")), 400, "missing key"),
        (
            "PUT",
            "upstreams/1",
            hashing("vars", "not_support"),
            400,
            "invalid configuration: failed to match pattern \"^((uri|server_name|server_addr|request_uri|remote_port|\
             remote_addr|query_string|host|hostname|mqtt_client_id)|arg_[0-9a-zA-z_-]+)$\" with \"not_support\"",
        ),
        (
            "PUT",
            "upstreams/1",
            hashing("header", "h ello"),
            400,
            "invalid configuration: failed to match pattern \"^[a-zA-Z0-9-_]+$\" with \"h ello\"",
        ),
        (
            "PUT",
            "upstreams/1",
            hashing("aabbcc", "arg_a"),
            400,
            "invalid configuration: property \"hash_on\" validation failed: matches none of the enum values",
        ),
        (
            "PUT",
            "upstreams/1",
            tls(json!({"client_cert": pem})),
            400,
            &dependent("client_cert", "property \"client_key\" is required"),
        ),
        (
            "PUT",
            "upstreams/1",
            tls(json!({"client_cert_id": 1, "client_cert": pem, "client_key": pem})),
            400,
            &dependent("client_cert", "value wasn't supposed to match schema"),
        ),
        (
            "PUT",
            "upstreams/1",
            tls(json!({"client_cert_id": 9_999_999})),
            400,
            "failed to fetch ssl info by ssl id [9999999], response code: 404",
        ),
        (
            "PUT",
            "upstreams/1",
            with(node(), "pass_host", json!("rewrite")),
            400,
            "`upstream_host` can't be empty when `pass_host` is `rewrite`",
        ),
    ])
    .await;
}

#[tokio::test]
async fn ssls() {
    let pem = "x".repeat(128);
    let key = format!("-----BEGIN RSA PRIVATE KEY-----\n{pem}");
    let certificate = "failed to parse cert: PEM_read_bio_X509_AUX() failed";
    let signed = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
    let (cert, own_key) = (signed.cert.pem(), signed.signing_key.serialize_pem());
    answered(vec![
        (
            "PUT",
            "ssls/1",
            json!({"cert": cert, "key": own_key}),
            400,
            "invalid configuration: then clause did not match",
        ),
        ("PUT", "ssls/1", json!({"sni": "a.test", "cert": pem, "key": own_key}), 400, certificate),
        (
            "PUT",
            "ssls/1",
            json!({"sni": "a.test", "cert": cert, "key": key}),
            400,
            "failed to parse key: PEM_read_bio_PrivateKey() failed",
        ),
        (
            "PUT",
            "ssls/1",
            json!({"sni": "a.test", "cert": cert, "key": pem}),
            400,
            "failed to decrypt previous encrypted key",
        ),
        (
            "PUT",
            "ssls/1",
            json!({"sni": "a.test", "cert": cert, "key": own_key, "certs": [cert]}),
            400,
            "mismatched number of certs and keys",
        ),
        (
            "PUT",
            "ssls/1",
            json!({"sni": "a.test", "cert": cert, "key": own_key, "certs": [pem], "keys": [own_key]}),
            400,
            &format!("failed to handle cert-key pair[1]: {certificate}"),
        ),
        (
            "PUT",
            "ssls/1",
            json!({"sni": "a.test", "cert": cert, "key": own_key, "certs": [cert], "keys": [pem]}),
            400,
            "failed to handle cert-key pair[1]: failed to decrypt previous encrypted key",
        ),
        (
            "PUT",
            "ssls/1",
            json!({"sni": "a.test", "cert": cert, "key": own_key, "client": {"ca": pem}}),
            400,
            &format!("failed to validate client_cert: {certificate}"),
        ),
    ])
    .await;
}

#[tokio::test]
async fn metadata_are_answered_as_they_were_written() {
    answered(vec![
        ("PUT", "plugin_metadata", json!({"a": 1}), 400, "missing plugin name"),
        ("PUT", "plugin_metadata/test", json!({"k": "v"}), 400, "invalid plugin name"),
        ("PUT", "plugin_metadata/redirect", Value::Null, 400, "missing configurations"),
    ])
    .await;
    let gate = shared();
    let admin = gate.admin();
    let (path, key) = ("plugin_metadata/mocking", "/apisix/plugin_metadata/mocking");
    let answer = admin.put(path, &json!({})).await;
    assert_eq!((answer.status, answer.json()), (201, json!({"key": key, "value": {}})));
    let answer = admin.get(path).await.json();
    assert_eq!((&answer["key"], &answer["value"]), (&json!(key), &json!({})));
    assert!(answer["createdIndex"].is_number() && answer["modifiedIndex"].is_number());
    assert_eq!(admin.delete(path).await.json(), json!({"key": key, "deleted": "1"}));
}

#[tokio::test]
async fn pages_are_refused_in_bare_words() {
    let gate = shared();
    let answer = gate.admin().get("routes/?page=1&page_size=2").await;
    assert_eq!((answer.status, answer.text().as_str()), (400, "page_size must be between 10 and 500"));
}

#[tokio::test]
async fn plugins() {
    let id = unique("wording-");
    let gate = shared();
    let admin = gate.admin();
    let none = "object matches none of the required";
    for (plugin, conf, why) in [
        ("fault-injection", json!({}), "expect object to have at least 1 properties".to_owned()),
        ("proxy-rewrite", json!({}), "expect object to have at least 1 properties".to_owned()),
        ("proxy-rewrite", json!({"headers": {}}), format!("property \"headers\" validation failed: {none}")),
        (
            "proxy-rewrite",
            json!({"uri": "home"}),
            "property \"uri\" validation failed: failed to match pattern \"^\\\\/.*\" with \"home\"".to_owned(),
        ),
        (
            "response-rewrite",
            json!({"body": "a", "filters": [{"regex": "l", "replace": "m"}]}),
            "failed to validate dependent schema for \"body\": value wasn't supposed to match schema".to_owned(),
        ),
        (
            "response-rewrite",
            json!({"filters": [{"regex": "hello", "replace": "HELLO", "options": "h"}]}),
            "regex \"hello\" validation failed: unknown flag \"h\" (flags \"h\")".to_owned(),
        ),
        ("response-rewrite", json!({"headers": {"set": {"a": true}}}), format!("property \"headers\" validation failed: {none}")),
        (
            "attach-consumer-label",
            json!({"headers": {}}),
            "property \"headers\" validation failed: expect object to have at least 1 properties".to_owned(),
        ),
        (
            "attach-consumer-label",
            json!({"headers": {"X-Consumer-Department": "department"}}),
            "property \"headers\" validation failed: failed to validate additional property X-Consumer-Department: \
             failed to match pattern \"^\\\\$.*\" with \"department\""
                .to_owned(),
        ),
        ("ip-restriction", json!({"whitelist": ["::1/129"]}), "invalid ip address: ::1/129".to_owned()),
        (
            "ip-restriction",
            json!({"whitelist": ["::ffgg"]}),
            format!("property \"whitelist\" validation failed: failed to validate item 1: {none}"),
        ),
    ] {
        let route = json!({"uri": format!("/{id}"), "plugins": {plugin: conf}});
        let answer = admin.put(&format!("routes/{id}"), &route).await;
        let told = format!("failed to check the configuration of plugin {plugin} err: {why}");
        assert_eq!((answer.status, &answer.json()["error_msg"]), (400, &json!(told)), "{conf}");
    }
    let both = json!({"whitelist": ["a"], "blacklist": ["b"], "allowed_by_methods": []});
    let route =
        json!({"uri": format!("/{id}"), "plugins": {"consumer-restriction": both}, "upstream": node()});
    assert_eq!(admin.put(&format!("routes/{id}"), &route).await.status, 201);
    assert_eq!(admin.delete(&format!("routes/{id}")).await.status, 200);
}
