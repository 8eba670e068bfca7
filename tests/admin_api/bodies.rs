//! A09 to A12: what cannot be a resource.

use std::io::Write;

use base::Random;
use serde_json::{Value, json};

use crate::support::{Connection, Request, Response, shared, unique};

const REFUSED: &[u16] = &[400, 413, 415];

async fn put(path: &str, body: impl AsRef<[u8]>) -> Response {
    let gate = shared();
    Request::new("PUT", path)
        .header("X-API-KEY", &gate.variable("ADMIN_KEY"))
        .header("Content-Type", "application/json")
        .body(body.as_ref())
        .send(gate.port(9180))
        .await
}

fn route() -> Value {
    json!({"uri": "/fuzz", "upstream": {"type": "roundrobin", "nodes": {"127.0.0.1:1": 1}}})
}

#[tokio::test]
async fn a10_bodies_that_are_no_resources_are_refused() {
    let gate = shared();
    let (id, good) = (unique("bad-"), route().to_string());
    let path = format!("/apisix/admin/routes/{id}");
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let deep_object = format!("{}1{}", "{\"uri\":".repeat(10_000), "}".repeat(10_000));
    let inner = &good[1..good.len() - 1];
    for (case, body) in [
        ("empty", String::new()),
        ("white space", "  \n".to_owned()),
        ("null", "null".to_owned()),
        ("a number", "1".to_owned()),
        ("a string", "\"uri\"".to_owned()),
        ("a list", format!("[{good}]")),
        ("cut off", good[..good.len() - 1].to_owned()),
        ("something behind", format!("{good}{good}")),
        ("trailing comma", format!("{{{inner},}}")),
        ("comment", format!("{{/* */{inner}}}")),
        ("single quotes", good.replace('"', "'")),
        ("NaN", format!("{{{inner},\"priority\":NaN}}")),
        ("Infinity", format!("{{{inner},\"priority\":Infinity}}")),
        ("1e400", format!("{{{inner},\"priority\":1e400}}")),
        ("integer overflow", format!("{{{inner},\"priority\":99999999999999999999999}}")),
        ("number of a million digits", format!("{{{inner},\"priority\":{}}}", "9".repeat(1_000_000))),
        ("depth of 10,000 lists", format!("{{{inner},\"vars\":{deep}}}")),
        ("depth of 10,000 objects", deep_object),
        ("duplicate member", format!("{{{inner},\"uri\":\"/other\"}}")),
        ("duplicate member, escaped", format!("{{{inner},\"\\u0075ri\":\"/other\"}}")),
        ("duplicate member inside", good.replace("\"type\"", "\"type\":\"roundrobin\",\"type\"")),
        ("__proto__", format!("{{{inner},\"__proto__\":{{\"a\":1}}}}")),
        ("constructor", format!("{{{inner},\"constructor\":{{\"prototype\":{{}}}}}}")),
        ("unknown member", format!("{{{inner},\"urii\":\"/x\"}}")),
        ("lone surrogate", format!("{{{inner},\"desc\":\"\\ud800\"}}")),
        ("control character in a string", format!("{{{inner},\"desc\":\"a\u{1}b\"}}")),
        ("NUL in a string", format!("{{{inner},\"desc\":\"a\\u0000b\",\"uri\":\"/a\\u0000\"}}")),
        ("more than the limit", format!("{{{inner},\"desc\":\"{}\"}}", "d".repeat(2 << 20))),
        (
            "100,000 members",
            format!("{{{}}}", (0..100_000).map(|n| format!("\"m{n}\":1")).collect::<Vec<_>>().join(",")),
        ),
    ] {
        let answer = put(&path, &body).await;
        assert!(
            REFUSED.contains(&answer.status),
            "{case}: {} {}",
            answer.status,
            &answer.text()[..200.min(answer.text().len())]
        );
        assert!(answer.message.body.len() < 2_000_000, "{case}: the answer repeats all of it");
    }
    for (case, body) in [
        ("invalid UTF-8", &b"{\"uri\":\"/\xff\"}"[..]),
        ("byte order mark", b"\xef\xbb\xbf{}"),
        ("UTF-16", b"\xff\xfe{\0}\0"),
    ] {
        assert!(REFUSED.contains(&put(&path, body).await.status), "{case}");
    }
    assert_eq!(gate.admin().get(&format!("routes/{id}")).await.status, 404);
    assert_eq!(put(&path, &good).await.status, 201);
    gate.admin().delete(&format!("routes/{id}")).await;
}

#[tokio::test]
async fn a10_a_body_that_says_it_is_huge_or_packed_is_refused_before_it_is_read() {
    let gate = shared();
    let key = gate.variable("ADMIN_KEY");
    let head = |extra: &str| {
        format!(
            "PUT /apisix/admin/routes/huge HTTP/1.1\r\nHost: localhost\r\nX-API-KEY: {key}\r\n{extra}\r\n\r\n"
        )
    };
    let mut connection = Connection::open(gate.port(9180)).await;
    connection.send(head("Content-Length: 104857600")).await;
    assert_eq!(connection.response().await.unwrap().status, 413);
    let mut connection = Connection::open(gate.port(9180)).await;
    connection.send(head("Transfer-Encoding: chunked")).await;
    for _ in 0..64 {
        connection
            .send([format!("{:x}\r\n", 1 << 20).as_bytes(), &vec![b' '; 1 << 20], b"\r\n"].concat())
            .await;
    }
    assert!(connection.response().await.is_none_or(|answer| REFUSED.contains(&answer.status)));
    // A gzip bomb is bytes that are no JSON, whatever its header says.
    let mut bomb = Vec::new();
    bomb.write_all(b"\x1f\x8b\x08\0\0\0\0\0\0\x03").unwrap();
    bomb.extend(vec![0; 1000]);
    let packed = Request::new("PUT", "/apisix/admin/routes/packed")
        .header("X-API-KEY", &key)
        .header("Content-Encoding", "gzip")
        .body(bomb)
        .send(gate.port(9180))
        .await;
    assert!(REFUSED.contains(&packed.status), "{}", packed.status);
    assert_eq!(gate.admin().get("routes/huge").await.status, 404);
}

#[tokio::test]
async fn a11_ids_and_labels_are_plain_words() {
    let gate = shared();
    let long = "a".repeat(65);
    let body = route().to_string();
    for id in [
        "..",
        ".",
        "%2e%2e",
        "a%2Fb",
        "a%00b",
        "%00",
        "a%20b",
        "%E2%80%AEgnp",
        "%F0%9F%92%A3",
        "a'b",
        "a%22b",
        "a;b",
        "1%20OR%201=1",
        "'%20UNION%20SELECT%201--",
        "a%0d%0ab",
        "a*b",
        "a$b",
        "a@b",
        "a:b",
        &long,
    ] {
        let answer = put(&format!("/apisix/admin/routes/{id}"), &body).await;
        assert!(matches!(answer.status, 400 | 404), "{id}: {} {}", answer.status, answer.text());
    }
    let id = unique("labels-");
    let path = format!("/apisix/admin/routes/{id}");
    for (case, change) in [
        ("label that is no string", json!({"labels": {"a": 1}})),
        ("label that is an object", json!({"labels": {"a": {"b": "c"}}})),
        ("labels that are a list", json!({"labels": ["a"]})),
        ("label of a mebibyte", json!({"labels": {"a": "b".repeat(1 << 20)}})),
        ("empty label", json!({"labels": {"a": ""}})),
        ("name of a mebibyte", json!({"name": "n".repeat(1 << 20)})),
        ("empty name", json!({"name": ""})),
        ("another id", json!({"id": "other"})),
        ("uri that is a list", json!({"uri": ["/x"]})),
        ("empty uri", json!({"uri": ""})),
        ("empty uris", json!({"uris": [], "uri": null})),
        ("host with a slash", json!({"host": "a/b"})),
        ("unknown method", json!({"methods": ["FETCH"]})),
        ("priority that is no integer", json!({"priority": 1.5})),
        ("status of 2", json!({"status": 2})),
        ("address that is none", json!({"remote_addr": "10.0.0.256"})),
        ("network that is none", json!({"remote_addrs": ["10.0.0.0/40"]})),
        ("negative timeout", json!({"timeout": {"connect": -1, "send": 1, "read": 1}})),
        ("unknown plugin", json!({"plugins": {"no-such-plugin": {}}})),
        ("unknown upstream", json!({"upstream_id": "no-such-upstream", "upstream": null})),
        ("negative weight", json!({"upstream": {"type": "roundrobin", "nodes": {"127.0.0.1:1": -1}}})),
        ("port of 0", json!({"upstream": {"type": "roundrobin", "nodes": {"127.0.0.1:0": 1}}})),
        ("port of 65536", json!({"upstream": {"type": "roundrobin", "nodes": {"127.0.0.1:65536": 1}}})),
        ("host of a node with CRLF", json!({"upstream": {"type": "roundrobin", "nodes": {"a\r\nb:80": 1}}})),
        ("creation time", json!({"create_time": 1})),
    ] {
        let mut body = route();
        for (name, value) in change.as_object().unwrap() {
            match value {
                Value::Null => drop(body.as_object_mut().unwrap().remove(name)),
                value => body[name] = value.clone(),
            }
        }
        let answer = put(&path, body.to_string()).await;
        assert_eq!(answer.status, 400, "{case}: {}", answer.text());
        assert!(answer.json()["error_msg"].is_string(), "{case}: {}", answer.text());
    }
    assert_eq!(gate.admin().get(&format!("routes/{id}")).await.status, 404);
}

#[tokio::test]
async fn a12_conditions_run_in_linear_time_or_are_refused() {
    let gate = shared();
    let (id, path) = (unique("vars-"), unique("/vars-"));
    let mut deep = json!([["arg_a", "==", "1"]]);
    for _ in 0..30 {
        deep = json!([deep]);
    }
    for (case, vars, named) in [
        ("look-ahead", json!([["uri", "~~", "^(?!/a)"]]), "look-around"),
        ("back-reference", json!([["uri", "~~", "(a)\\1"]]), "backreference"),
        ("huge repetition", json!([["uri", "~~", "((a{1000}){1000}){1000}"]]), "size limit"),
        ("unclosed", json!([["uri", "~~", "("]]), "unclosed"),
        ("deep", deep, "deep"),
        ("unknown variable", json!([["nonsense", "==", "1"]]), "nonsense"),
        ("unsupported variable", json!([["uri_param_a", "==", "1"]]), "uri_param_a"),
        ("unsupported path", json!([["post_arg.a[0]", "==", "1"]]), "post_arg.a[0]"),
        ("known too late", json!([["request_time", ">", 1]]), "request_time"),
        ("unknown operator", json!([["uri", "=~", "1"]]), "=~"),
    ] {
        let mut body = route();
        body["vars"] = vars;
        let answer = put(&format!("/apisix/admin/routes/{id}"), body.to_string()).await;
        assert_eq!(answer.status, 400, "{case}: {}", answer.text());
        assert!(answer.text().contains(named) && answer.text().contains("vars"), "{case}: {}", answer.text());
    }
    // A pattern made to backtrack costs nothing here.
    let upstream = crate::support::Upstream::start();
    let body = json!({"uri": path, "vars": [["arg_a", "~~", "^(a+)+$"]], "upstream": crate::support::admin::node(&upstream)});
    gate.admin().set(&format!("routes/{id}"), &body).await;
    let evil = format!("{path}?a={}!", "a".repeat(20_000));
    assert_eq!(crate::support::within("a pattern that does not run away", gate.get(&evil)).await.status, 404);
    assert_eq!(gate.get(&format!("{path}?a=aaaa")).await.status, 200);
}

#[tokio::test]
async fn a09_bent_resources_are_refused_or_served_but_never_a_5xx() {
    let gate = shared();
    let random = Random::seeded(9);
    let pick = |limit: usize| usize::from(u16::from_be_bytes(random.bytes())) % limit.max(1);
    let values = [
        json!(null),
        json!(true),
        json!(-1),
        json!(0),
        json!(1e300),
        json!(""),
        json!("\u{0}"),
        json!("/x"),
        json!([]),
        json!([[]]),
        json!({}),
        json!({"a": {}}),
        json!(["a", 1, null]),
        json!("a".repeat(5000)),
        json!("*"),
        json!("[::1]:80"),
    ];
    let names = [
        "uri",
        "uris",
        "host",
        "hosts",
        "methods",
        "priority",
        "vars",
        "remote_addr",
        "remote_addrs",
        "plugins",
        "upstream",
        "upstream_id",
        "service_id",
        "timeout",
        "enable_websocket",
        "status",
        "labels",
        "name",
        "desc",
        "filter_func",
        "plugin_config_id",
        "script",
        "nodes",
        "type",
        "scheme",
        "pass_host",
        "retries",
        "tls",
        "checks",
        "key",
        "hash_on",
        "snis",
        "sni",
        "cert",
        "openid-connect",
        "client_id",
        "client_secret",
        "discovery",
        "session",
        "bearer_only",
    ];
    let id = unique("bent-");
    for n in 0..400 {
        let kind = ["routes", "services", "upstreams", "ssls"][pick(4)];
        let mut body = match kind {
            "upstreams" => json!({"type": "roundrobin", "nodes": {"127.0.0.1:1": 1}}),
            "ssls" => json!({"snis": ["a.example"], "cert": "x", "key": "y"}),
            _ => {
                json!({"uri": "/bent", "upstream": {"type": "roundrobin", "nodes": {"127.0.0.1:1": 1}}, "plugins":
                {"openid-connect": {"client_id": "a", "client_secret": "b", "discovery": "http://127.0.0.1:1/", "bearer_only": true}}})
            }
        };
        for _ in 0..=pick(3) {
            let inner = ["/upstream", "/plugins/openid-connect", "/plugins", ""][pick(4)];
            if let Some(object) = body.pointer_mut(inner).and_then(Value::as_object_mut) {
                object.insert(names[pick(names.len())].to_owned(), values[pick(values.len())].clone());
            }
        }
        let path = format!("{kind}/{id}-{}", n % 7);
        let answer = gate.admin().put(&path, &body).await;
        assert!(
            matches!(answer.status, 200 | 201 | 400),
            "{kind} {body}: {} {}",
            answer.status,
            answer.text()
        );
    }
    assert_eq!(Request::get("/status/ready").send(gate.port(9180)).await.status, 200);
    for n in 0..7 {
        for kind in ["routes", "services", "upstreams", "ssls"] {
            gate.admin().call("DELETE", &format!("/apisix/admin/{kind}/{id}-{n}?force=true"), None).await;
        }
    }
}
