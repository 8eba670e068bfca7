//! A01 to A08, A13, A14, A17, A19 and A20: who may ask, from where, and what is told.

use std::{fs, process::Command};

use serde_json::{Value, json};

use crate::support::{
    Admin, Connection, Portcullis, Request, Site, Upstream, admin::node, shared, tls::Authority, unique,
};

const ROUTES: &str = "/apisix/admin/routes";

#[tokio::test]
async fn a01_only_the_key_in_its_header_opens() {
    let gate = shared();
    let (port, key) = (gate.port(9180), gate.variable("ADMIN_KEY"));
    let ask = async |request: Request| request.send(port).await;
    assert_eq!(ask(Request::get(ROUTES).header("X-API-KEY", &key)).await.status, 200);
    let flipped: String =
        key.chars().map(|c| if c.is_lowercase() { c.to_ascii_uppercase() } else { c }).collect();
    assert_ne!(flipped, key);
    for (case, request) in [
        ("none", Request::get(ROUTES)),
        ("empty", Request::get(ROUTES).header("X-API-KEY", "")),
        ("wrong", Request::get(ROUTES).header("X-API-KEY", "wrong")),
        ("first half", Request::get(ROUTES).header("X-API-KEY", &key[..key.len() / 2])),
        ("one more", Request::get(ROUTES).header("X-API-KEY", &format!("{key}0"))),
        ("other case", Request::get(ROUTES).header("X-API-KEY", &flipped)),
        ("two keys", Request::get(ROUTES).header("X-API-KEY", &key).header("X-API-KEY", &key)),
        ("right and wrong", Request::get(ROUTES).header("X-API-KEY", &key).header("X-API-KEY", "wrong")),
        ("cookie", Request::get(ROUTES).header("Cookie", &format!("x_api_key={key}"))),
        ("query", Request::get(&format!("{ROUTES}?api_key={key}"))),
        ("bearer", Request::get(ROUTES).bearer(&key)),
        ("Kong's header", Request::get(ROUTES).header("Kong-Admin-Token", &key)),
        ("sample key", Request::get(ROUTES).header("X-API-KEY", "edd1c9f034335f136f87ad84b625c8f1")),
    ] {
        let answer = ask(request).await;
        assert_eq!(answer.status, 401, "{case}");
        assert_eq!(answer.json()["error_msg"], "failed to check token", "{case}");
        assert!(!answer.text().contains(&key));
    }
}

#[tokio::test]
async fn a03_a_key_that_anybody_knows_or_guesses_stops_the_start() {
    for key in ["edd1c9f034335f136f87ad84b625c8f1", "4054f7cf07e344346cd3f287985e76a2", "admin", "short"] {
        let folder = tempfile::tempdir().unwrap();
        let done = Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .arg("dev")
            .arg("--dir")
            .arg(folder.path().join("state"))
            .args(["--port-offset", "31000"])
            .env("PORTCULLIS_ADMIN_KEY", key)
            .output()
            .unwrap();
        assert_eq!(done.status.code(), Some(1), "{key}");
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(said.contains("key"), "{said}");
        assert!(!said.contains(key) || key == "admin", "the key is in the error: {said}");
    }
}

#[tokio::test]
async fn a03_a_generated_key_is_new_each_time_and_its_file_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let (one, other) = (Portcullis::dev(), Portcullis::dev());
    assert_ne!(one.variable("ADMIN_KEY"), other.variable("ADMIN_KEY"));
    assert!(one.variable("ADMIN_KEY").len() >= 32);
    for file in ["admin.key", "dev.env", "keys"] {
        let mode = fs::metadata(one.state().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{file} is {mode:o}");
    }
}

#[tokio::test]
async fn a04_nothing_listens_beyond_this_machine() {
    let gate = shared();
    let sockets = format!("/proc/{}/net", gate.pid());
    let own: Vec<u16> = [9080, 9443, 9444, 9180, 7443, 8001, 9091, 9400, 9401, 9402, 9480]
        .map(|port| gate.port(port))
        .into_iter()
        .collect();
    for table in ["tcp", "tcp6"] {
        let text = fs::read_to_string(format!("{sockets}/{table}")).unwrap_or_default();
        for line in text.lines().skip(1) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (address, port) = words[1].split_once(':').unwrap();
            let port = u16::from_str_radix(port, 16).unwrap();
            // State 0A is LISTEN; 0100007F is 127.0.0.1 in the machine's order.
            if words[3] == "0A" && own.contains(&port) {
                assert!(
                    ["0100007F", "00000000000000000000000001000000"].contains(&address),
                    "{port} on {address}"
                );
            }
        }
    }
}

/// The comparison is one of digests; what can be seen without a clock is that no wrong key is told more than another.
#[tokio::test]
async fn a02_a_key_that_is_wrong_early_is_answered_like_one_that_is_wrong_late() {
    let gate = shared();
    let (port, key) = (gate.port(9180), gate.variable("ADMIN_KEY"));
    let other = |at: usize| {
        let mut bytes = key.clone().into_bytes();
        bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
        String::from_utf8(bytes).unwrap()
    };
    let mut answers = Vec::new();
    for wrong in [other(0), other(key.len() / 2), other(key.len() - 1), "0".repeat(key.len())] {
        let answer = Request::get(ROUTES).header("X-API-KEY", &wrong).send(port).await;
        let mut headers = answer.message.headers.clone();
        headers.retain(|(name, _)| name != "date");
        answers.push((answer.status, headers, answer.text()));
    }
    assert_eq!(answers[0].0, 401);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
}

#[tokio::test]
async fn a13_a_viewer_cannot_have_the_gateway_ask_its_own_ports_or_the_cloud() {
    let (gate, admin, viewer) = two_roles();
    for target in [format!("127.0.0.1:{}", gate.port(9180)), "169.254.169.254:80".to_owned()] {
        let upstream = json!({"type": "roundrobin", "nodes": {target: 1}});
        for (path, body) in [
            ("routes/self", json!({"uri": "/self", "upstream": upstream})),
            ("services/self", json!({"upstream": upstream})),
            ("upstreams/self", upstream.clone()),
        ] {
            assert_eq!(viewer.put(path, &body).await.status, 403, "{path}");
            assert_eq!(admin.get(path).await.status, 404, "{path}");
        }
        assert_eq!(Request::get("/self").send(gate.port(9080)).await.status, 404);
    }
}

/// A gateway in `run` with an administrator and a viewer.
fn two_roles() -> (Portcullis, Admin, Admin) {
    let (gate, viewer) = Portcullis::production("log: {level: info}");
    let admin = gate.admin();
    (gate, admin, viewer)
}

#[tokio::test]
async fn a05_a_viewer_reads_and_does_not_write() {
    let (gate, admin, viewer) = two_roles();
    let route = json!({"uri": "/a", "upstream": {"type": "roundrobin", "nodes": {"127.0.0.1:1": 1}}});
    admin.set("routes/a", &route).await;
    assert_eq!(viewer.get("routes/a").await.status, 200);
    assert_eq!(viewer.get("routes").await.status, 200);
    for kind in ["routes", "services", "upstreams", "ssls"] {
        for (method, path) in [
            ("PUT", format!("{kind}/a")),
            ("POST", kind.to_owned()),
            ("PATCH", format!("{kind}/a")),
            ("PATCH", format!("{kind}/a/uri")),
            ("DELETE", format!("{kind}/a")),
            ("DELETE", format!("{kind}/a?force=true")),
        ] {
            let answer = viewer.call(method, &format!("/apisix/admin/{path}"), Some(&route)).await;
            assert_eq!(answer.status, 403, "{method} {path}: {}", answer.text());
        }
    }
    assert_eq!(admin.get("routes").await.json()["total"], 1);
    assert!(gate.is_running());
}

#[tokio::test]
async fn a06_a_web_page_cannot_use_the_admin_api() {
    let gate = shared();
    let (port, key, id) = (gate.port(9180), gate.variable("ADMIN_KEY"), unique("page-"));
    let path = format!("{ROUTES}/{id}");
    let body = json!({"uri": "/evil", "upstream": {"type": "roundrobin", "nodes": {"127.0.0.1:1": 1}}});
    let put = || Request::new("PUT", &path).header("X-API-KEY", &key);
    for (case, request) in [
        ("foreign origin", put().header("Origin", "https://evil.example").json(&body)),
        ("null origin", put().header("Origin", "null").json(&body)),
        ("cross-site", put().header("Sec-Fetch-Site", "cross-site").json(&body)),
        ("same-site", put().header("Sec-Fetch-Site", "same-site").json(&body)),
        ("rebound name", put().header("Host", &format!("evil.example:{port}")).json(&body)),
        ("name that looks local", put().header("Host", "localhost.evil.example").json(&body)),
        ("name that begins like an address", put().header("Host", "127.0.0.1.evil.example").json(&body)),
        (
            "text/plain",
            Request::new("POST", ROUTES)
                .header("Origin", "https://evil.example")
                .header("Content-Type", "text/plain")
                .body(body.to_string()),
        ),
    ] {
        let answer = request.send(port).await;
        assert_eq!(answer.status, 403, "{case}: {}", answer.text());
    }
    let preflight = Request::new("OPTIONS", &path)
        .header("Origin", "https://evil.example")
        .header("Access-Control-Request-Method", "PUT")
        .header("Access-Control-Request-Headers", "x-api-key")
        .send(port)
        .await;
    assert_ne!(preflight.header("access-control-allow-origin"), Some("*"));
    assert_ne!(preflight.header("access-control-allow-origin"), Some("https://evil.example"));
    assert_eq!(preflight.header("access-control-allow-credentials"), None);
    assert_eq!(gate.admin().get(&format!("routes/{id}")).await.status, 404);
    let own = put()
        .header("Origin", &format!("http://localhost:{port}"))
        .header("Host", &format!("localhost:{port}"));
    assert_eq!(own.json(&body).send(port).await.status, 201);
    gate.admin().delete(&format!("routes/{id}")).await;
}

#[tokio::test]
async fn a07_the_admin_port_is_not_reached_through_the_gateway() {
    let gate = shared();
    let key = gate.variable("ADMIN_KEY");
    for port in [9180, 7443, 9091] {
        for host in ["127.0.0.1", "localhost", "[::1]"] {
            let (id, path) = (unique("self-"), unique("/self-"));
            let target = format!("{host}:{}", gate.port(port));
            let route = json!({"uri": format!("{path}/*"), "upstream":
                {"type": "roundrobin", "nodes": {target.clone(): 1}, "timeout": {"connect": 2, "send": 2, "read": 2}}});
            let written = gate.admin().put(&format!("routes/{id}"), &route).await;
            if written.status == 400 {
                continue;
            }
            let through = gate.send(Request::get(&format!("{path}/x")).header("X-API-KEY", &key)).await;
            assert!(matches!(through.status, 502 | 503), "{target}: {} {}", through.status, through.text());
            gate.admin().delete(&format!("routes/{id}")).await;
        }
    }
    // Headers that name another client do not stand in for a key.
    for (name, value) in
        [("X-Forwarded-For", "127.0.0.1"), ("X-Real-IP", "127.0.0.1"), ("Forwarded", "for=127.0.0.1")]
    {
        assert_eq!(Request::get(ROUTES).header(name, value).send(gate.port(9180)).await.status, 401);
    }
}

#[tokio::test]
async fn a08_no_spelling_of_a_path_needs_no_key() {
    let gate = shared();
    let key = gate.variable("ADMIN_KEY");
    for path in [
        "//apisix/admin/routes",
        "/apisix//admin/routes",
        "/apisix/./admin/routes",
        "/x/../apisix/admin/routes",
        "/apisix/admin/routes/",
        "/apisix/admin/%72outes",
        "/%61pisix/admin/routes",
        "/APISIX/ADMIN/ROUTES",
        "/apisix/admin/routes;x",
        "/apisix/admin/routes/..",
        "/apisix/admin/routes%00",
        "/apisix/admin\\routes",
        "/apisix/admin/routes/00",
        "/apisix/admin/routes?x=/status/ready",
        "/status/../apisix/admin/routes",
        "/status/ready/../../apisix/admin/routes",
        "/apisix/admin/",
        "/apisix/admin",
    ] {
        let mut connection = Connection::open(gate.port(9180)).await;
        connection.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")).await;
        let answer = connection.response().await.unwrap();
        assert!(matches!(answer.status, 400 | 401 | 404), "{path}: {} {}", answer.status, answer.text());
        assert!(!answer.text().contains("\"list\""), "{path}");
        let mut connection = Connection::open(gate.port(9180)).await;
        connection
            .send(format!(
                "DELETE {path} HTTP/1.1\r\nHost: localhost\r\nX-API-KEY: {key}\r\nConnection: close\r\n\r\n"
            ))
            .await;
        let answer = connection.response().await.unwrap();
        assert!(answer.status < 500, "{path}: {}", answer.status);
    }
}

#[tokio::test]
async fn a14_s01_secrets_are_for_administrators_and_private_keys_for_nobody() {
    let (gate, admin, viewer) = two_roles();
    let (secret, session) = (unique("canary-client-"), unique("canary-session-cookie-secret-"));
    let plugin = json!({"openid-connect": {"client_id": "c", "client_secret": secret, "bearer_only": true,
        "session": {"secret": session}, "discovery": "http://127.0.0.1:1/.well-known/openid-configuration"}});
    let route = json!({"uri": "/a", "plugins": plugin,
        "upstream": {"type": "roundrobin", "nodes": {"127.0.0.1:1": 1}}});
    admin.set("routes/a", &route).await;
    let identity = Authority::new().issue(&["a.example"], |_| {});
    let pem = identity.key_pem();
    let key = pem.lines().nth(1).unwrap();
    let ssl = json!({"snis": ["a.example"], "cert": identity.chain_pem(), "key": pem});
    admin.set("ssls/a", &ssl).await;

    // What an administrator wrote comes back, because tools compare it.
    let own = admin.get("routes/a").await.text();
    assert!(own.contains(&secret) && own.contains(&session), "{own}");
    for what in ["ssls/a", "ssls"] {
        assert!(!admin.get(what).await.text().contains(key), "the private key was returned by {what}");
    }
    let patched = admin.call("PATCH", "/apisix/admin/ssls/a", Some(&json!({"labels": {"a": "b"}}))).await;
    assert_eq!(patched.status, 200);
    assert!(!patched.text().contains(key), "the private key was echoed");
    for what in ["routes/a", "routes", "ssls/a", "ssls"] {
        let seen = viewer.get(what).await;
        assert_eq!(seen.status, 200, "{what}");
        for canary in [secret.as_str(), session.as_str(), key] {
            assert!(!seen.text().contains(canary), "a viewer sees a secret in {what}");
        }
    }
    assert!(gate.is_running());
}

#[tokio::test]
async fn a17_every_write_and_every_refused_write_leaves_one_line() {
    let (gate, admin, viewer) = two_roles();
    let (id, canary) = (unique("audited-"), unique("canary-"));
    let route =
        json!({"uri": "/a", "desc": canary, "upstream": {"type": "roundrobin", "nodes": {"127.0.0.1:1": 1}}});
    admin.set(&format!("routes/{id}"), &route).await;
    assert_eq!(viewer.delete(&format!("routes/{id}")).await.status, 403);
    assert_eq!(admin.put(&format!("routes/{id}"), &json!({"uri": 1})).await.status, 400);
    assert_eq!(Admin::new(gate.port(9180), canary.clone()).delete(&format!("routes/{id}")).await.status, 401);
    assert_eq!(admin.delete(&format!("routes/{id}")).await.status, 200);
    assert!(gate.terminate().success());
    let output = gate.output();
    let lines: Vec<&str> = output.lines().filter(|line| line.contains(&id)).collect();
    assert_eq!(lines.len(), 5, "{}", lines.join("\n"));
    assert!(lines.iter().all(|line| !line.contains(&canary)), "{}", lines.join("\n"));
}

#[tokio::test]
async fn a19_what_is_for_operators_tells_nothing_that_is_secret() {
    let gate = shared();
    for path in [
        "/debug/pprof",
        "/debug/vars",
        "/env",
        "/actuator",
        "/v1/schema",
        "/metrics",
        "/dev/mail",
        "/dev/clock",
    ] {
        let answer = Request::get(path).send(gate.port(9180)).await;
        assert!(matches!(answer.status, 401 | 404 | 405), "{path}: {}", answer.status);
    }
    let ready = Request::get("/status/ready").send(gate.port(9180)).await;
    assert_eq!(ready.status, 200);
    for path in ["/metrics", "/apisix/prometheus/metrics"] {
        let answer = Request::get(path).send(gate.port(9091)).await;
        assert_eq!(answer.status, 200, "{path}");
        for (name, value) in gate.variables() {
            let secret = name.contains("SECRET") || name.contains("KEY") || name.contains("PASSWORD");
            assert!(!secret || value.is_empty() || !answer.text().contains(&value), "{path} tells {name}");
        }
    }
    assert_eq!(Request::get("/apisix/admin/routes").send(gate.port(9091)).await.status, 404);
    assert_eq!(gate.get("/apisix/admin/routes").await.status, 404);
    assert_eq!(gate.get("/metrics").await.status, 404);
}

#[tokio::test]
async fn a20_slow_clients_of_the_admin_port_disturb_nobody() {
    let site = Site::new().await;
    let mut slow = Vec::new();
    for _ in 0..500 {
        let mut connection = Connection::open(site.gate.port(9180)).await;
        connection
            .send("PUT /apisix/admin/routes/slow HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n")
            .await;
        slow.push(connection);
    }
    for _ in 0..20 {
        site.still_serves().await;
    }
    assert_eq!(site.gate.admin().get("routes").await.status, 200);
}

#[tokio::test]
async fn a01_the_same_api_over_tls_asks_for_the_same_key() {
    let (gate, upstream, id) = (shared(), Upstream::start(), unique("tls-"));
    let key = gate.variable("ADMIN_KEY");
    let refused = Request::get(ROUTES).send_over(gate.connect_tls(7443).await).await;
    assert_eq!(refused.status, 401);
    let path = format!("{ROUTES}/{id}?gateway_group_id=default");
    let route: Value = json!({"uri": format!("/{id}"), "upstream": node(&upstream)});
    let put = Request::new("PUT", &path).header("X-API-KEY", &key).json(&route);
    assert_eq!(put.send_over(gate.connect_tls(7443).await).await.status, 201);
    assert_eq!(gate.get(&format!("/{id}")).await.status, 200);
}
