//! S04 and S06: what is said when something is wrong is one line without the secret.

use std::{fs, process::Command};

use serde_json::json;

use crate::support::{Options, Portcullis, Request, unique};

#[test]
fn s04_an_error_of_the_configuration_does_not_repeat_its_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("portcullis.yaml");
    let key = unique("canary-admin-key-");
    let base = |keys: &str, keyring: &str, extra: &str| {
        format!(
            "listeners: [{{address: \"127.0.0.1:1\"}}]\nadmin:\n  apisix:\n    listen: 127.0.0.1:2\n    keys: {keys}\n\
             store: {{sqlite: gateway.db}}\nencryption: {{keyring: {{keys: \"{keyring}\"}}}}\n{extra}\n"
        )
    };
    let good_key = format!("[{{key: {key}, role: admin}}]");
    for (case, text) in [
        ("role", base(&format!("[{{key: {key}, role: king}}]"), "AAAA", "")),
        ("key of the wrong type", base(&format!("{{key: {key}}}"), "AAAA", "")),
        ("unknown member", base(&format!("[{{key: {key}, rôle: admin, password: {key}}}]"), "AAAA", "")),
        ("keyring", base(&good_key, &key, "")),
        ("unknown section", base(&good_key, "AAAA", &format!("secrets: {{redis: \"redis://:{key}@host\"}}"))),
        ("broken YAML", base(&format!("[{{key: {key}"), "AAAA", "")),
        ("tab", base(&format!("\n\t- {key}"), "AAAA", "")),
        ("duplicate member", base(&format!("[{{key: {key}, key: {key}, role: admin}}]"), "AAAA", "")),
        (
            "database",
            base(
                &good_key,
                "AAAA",
                &format!("identity: {{listen: x, database: {{postgres: \"postgres://u:{key}@h/d?x\"}}}}"),
            ),
        ),
        (
            "database of the wrong type",
            base(&good_key, "AAAA", &format!("identity: {{database: [\"postgres://u:{key}@h/d\"]}}")),
        ),
    ] {
        fs::write(&file, &text).unwrap();
        let done = Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .arg("check")
            .arg("--config")
            .arg(&file)
            .output()
            .unwrap();
        let said =
            format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert_eq!(done.status.code(), Some(1), "{case}: {said}");
        assert!(!said.contains(&key), "{case}: {said}");
        assert!(said.contains("portcullis.yaml"), "{case}: {said}");
    }
}

#[tokio::test]
async fn s06_a_request_is_one_line_of_the_access_log() {
    for format in ["text", "json"] {
        let log = format!("log: {{level: info, format: {format}, access: stdout}}");
        let (gate, _) = Portcullis::production(&log);
        let mark = unique("mark-");
        let targets = [
            "",
            "%0a%0dforged",
            "%1b[31m",
            "?a\"b",
            "/\"x",
            "/a'b",
            "/%22%5c",
            "/%E2%80%A8forged",
            "/é",
            "|x|{}^`",
        ];
        for target in targets {
            let mut connection = gate.connect().await;
            let head = format!("GET /{mark}{target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
            let lies = format!("User-Agent: {mark}\tforged\r\nReferer: {mark}\u{9b}31m\r\n");
            connection.send(format!("{head}{lies}\r\n")).await;
            connection.rest().await;
        }
        assert!(gate.terminate().success());
        let output = gate.output();
        let lines: Vec<&str> = output.lines().filter(|line| line.contains(&mark)).collect();
        assert!(lines.len() >= 5 && lines.len() <= targets.len(), "{}", lines.join("\n"));
        for line in lines {
            assert!(!line.contains(|c: char| c.is_control() || c == '\u{2028}'), "{line:?}");
            assert!(!line.starts_with("forged"), "{line:?}");
        }
    }
}

#[tokio::test]
async fn s06_what_a_client_sends_cannot_write_a_line_of_its_own() {
    let gate = Portcullis::start(Options {
        environment: vec![(
            "RUST_LOG".to_owned(),
            "trace,h2=warn,hyper=warn,hyper_util=warn,rustls=warn,sqlx=warn".to_owned(),
        )],
        ..Options::default()
    });
    let mark = unique("mark-");
    let forged = format!("{mark}%0aINFO forged%0d%0aforged%1b[31m");
    for target in [
        format!("/{forged}"),
        format!("/x?q={forged}"),
        format!("/{mark}\u{1b}[2J"),
        format!("/\"{mark}\\\""),
    ] {
        let mut connection = gate.connect().await;
        connection
            .send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
            .await;
        connection.rest().await;
    }
    for (name, value) in [
        ("User-Agent", format!("{mark}\u{9b}31m")),
        ("Referer", format!("{mark}\" INFO forged \"")),
        ("X-Request-Id", format!("{mark}\\nINFO forged")),
        ("X-Forwarded-For", format!("{mark}\tforged")),
        ("Cookie", format!("session={mark}\u{85}forged")),
        ("Authorization", format!("Bearer {mark}\u{2028}forged")),
        ("Host", format!("{mark}.example")),
    ] {
        Request::get("/x").header(name, &value).send(gate.port(9080)).await;
    }
    for id in [format!("{mark}%0aforged"), format!("{mark}%1b[31m"), format!("{mark}\"")] {
        let put = Request::new("PUT", &format!("/apisix/admin/routes/{id}"))
            .header("X-API-KEY", &gate.variable("ADMIN_KEY"));
        put.json(&json!({"uri": 1, "desc": format!("{mark}\nINFO forged\u{1b}[31m")}))
            .send(gate.port(9180))
            .await;
    }
    assert!(gate.terminate().success());
    for line in gate.output().lines() {
        assert!(!line.starts_with("INFO forged") && !line.starts_with("forged"), "{line:?}");
        let control = line.chars().any(|c| c.is_control() && c != '\t');
        assert!(!(control && line.contains(&mark)), "{line:?}");
    }
}
