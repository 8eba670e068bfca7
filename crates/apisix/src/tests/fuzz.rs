//! Arbitrary bodies: refused or accepted, never a 5xx, never a panic.

use proptest::prelude::*;

use super::*;

/// JSON that likes to look like a resource.
fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[ -~]{0,12}".prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
        prop::sample::select(vec![
            "/a",
            "/a*",
            "*.x.test",
            "GET",
            "1",
            "pc:sealed:AA",
            "$env://A",
            "roundrobin",
            "rewrite"
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        let name = prop_oneof![
            4 => prop::sample::select(vec![
                "uri", "uris", "paths", "host", "hosts", "methods", "vars", "priority", "plugins", "upstream", "upstream_id",
                "service_id", "timeout", "status", "labels", "id", "name", "nodes", "type", "scheme", "pass_host", "retries",
                "keepalive_pool", "tls", "stamp", "text", "secret", "_meta", "cert", "key", "sni", "snis", "connect", "127.0.0.1:80",
            ]).prop_map(str::to_owned),
            1 => "[a-z_]{0,6}",
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((name, inner), 0..6).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// A valid resource with one part replaced.
fn bent() -> impl Strategy<Value = (&'static str, Value)> {
    let full = json!({
        "uri": "/a", "hosts": ["a.test"], "methods": ["GET"], "remote_addrs": ["10.0.0.0/8"], "vars": [["arg_a", "==", "1"]],
        "priority": 1, "timeout": {"connect": 1, "send": 1, "read": 1}, "plugins": {"stamp": {"text": "a"}}, "labels": {"a": "b"},
        "upstream": {"nodes": [{"host": "a", "port": 1, "weight": 1}], "keepalive_pool": {"size": 1}, "tls": {"verify": false}},
    });
    let paths = vec![
        "/uri",
        "/hosts",
        "/hosts/0",
        "/methods",
        "/remote_addrs/0",
        "/vars",
        "/vars/0",
        "/vars/0/2",
        "/priority",
        "/timeout",
        "/timeout/read",
        "/plugins",
        "/plugins/stamp",
        "/plugins/stamp/text",
        "/labels",
        "/labels/a",
        "/upstream",
        "/upstream/nodes",
        "/upstream/nodes/0",
        "/upstream/nodes/0/port",
        "/upstream/keepalive_pool/size",
        "/upstream/tls",
    ];
    (prop::sample::select(paths), json_value()).prop_map(move |(path, value)| {
        let mut body = full.clone();
        *body.pointer_mut(path).unwrap() = value;
        ("routes", body)
    })
}

fn check(cases: impl Strategy<Value = (&'static str, Value)>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let gate = runtime.block_on(Gate::new());
    proptest!(ProptestConfig::with_cases(400), |((collection, body) in cases)| {
        for method in ["PUT", "POST", "PATCH"] {
            let path = if method == "POST" { collection.to_owned() } else { format!("{collection}/1") };
            let told = runtime.block_on(gate.ask(method, &path, body.clone()));
            prop_assert!(told.status.as_u16() < 500, "{} {}", told.status, told.text);
            if told.status.is_success() {
                let listed = runtime.block_on(gate.get(collection));
                prop_assert_eq!(listed.status.as_u16(), 200);
            }
        }
        prop_assert!(gate.publisher.current().broken.is_empty(), "{:?}", gate.publisher.current().broken);
    });
}

#[test]
fn a09_arbitrary_json_is_never_a_server_error() {
    check((prop::sample::select(vec!["routes", "services", "upstreams", "ssls"]), json_value()));
}

#[test]
fn a09_a_bent_resource_is_never_a_server_error_and_never_breaks_what_serves() {
    check(bent());
}

#[test]
fn a09_arbitrary_bytes_are_never_a_server_error() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let gate = runtime.block_on(Gate::new());
    proptest!(ProptestConfig::with_cases(400), |(body in prop::collection::vec(any::<u8>(), 0..200), path in "[ -~&&[^ #?<>\"`{}\\\\^|]]{0,20}")| {
        let Ok(request) = request("PUT", &path).header("x-api-key", ADMIN).body(Body::from(body)) else { return Ok(()) };
        let told = runtime.block_on(gate.send(request));
        prop_assert!(told.status.as_u16() < 500, "{} {}", told.status, told.text);
    });
}
