//! S01 and S02 for the embedded provider: passwords, client secrets, codes, tokens and cookies of logins.

use std::{collections::BTreeMap, fs, sync::Arc};

use serde_json::{Value, json};

use super::canaries::{Canaries, files_below, talkative};
use crate::support::{Browser, Portcullis, Request, Response, Upstream, admin::node, unique};

/// Logs in, gets and loses tokens, and plants what must not be seen again.
async fn sweep() -> (Arc<Portcullis>, Canaries, Vec<String>) {
    let gate = talkative();
    let (mut canaries, mut failures) = (Canaries::default(), Vec::new());
    let port = gate.port(9400);
    let token = |form: Value| Request::new("POST", "/oauth/token").json(&form).send(port);
    let mut note = |what: &str, answer: &Response| failures.push(format!("{what}: {answer:?}"));

    // Machines: the Management API's token makes a user and a client.
    let management = json!({"grant_type": "client_credentials", "client_id": gate.variable("AUTH0_MGMT_CLIENT_ID"),
        "client_secret": gate.variable("AUTH0_MGMT_CLIENT_SECRET"), "audience": format!("{}api/v2/", gate.variable("ISSUER"))});
    let answer = token(management).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let management = answer.json()["access_token"].as_str().unwrap().to_owned();
    let create = async |path: &str, body: Value| -> Value {
        let answer = Request::new("POST", path).bearer(&management).json(&body).send(port).await;
        assert_eq!(answer.status, 201, "{path}: {answer:?}");
        answer.json()
    };
    let (email, password) = (format!("{}@example.com", unique("user-")), unique("Canary-Password-1!"));
    create(
        "/api/v2/users",
        json!({"connection": "Username-Password-Authentication", "email": email, "password": password}),
    )
    .await;
    let client =
        create("/api/v2/clients", json!({"name": unique("client "), "app_type": "non_interactive"})).await;
    canaries.plant("user's password", password.clone());
    canaries.plant("new client's secret", client["client_secret"].as_str().unwrap().to_owned());
    canaries.plant("management token", management.clone());
    for (name, form) in [
        (
            "wrong client secret",
            json!({"grant_type": "client_credentials", "client_id": gate.variable("AUTH0_CLIENT_ID"), "audience": "x"}),
        ),
        (
            "wrong client secret for nobody",
            json!({"grant_type": "client_credentials", "client_id": "nobody", "audience": "x"}),
        ),
    ] {
        let mut form = form;
        form["client_secret"] = json!(unique("canary-secret-"));
        canaries.plant(name, form["client_secret"].as_str().unwrap().to_owned());
        let answer = token(form).await;
        assert!((400..500).contains(&answer.status), "{name}: {answer:?}");
        note(name, &answer);
    }
    for (name, form) in [
        (
            "wrong code",
            json!({"grant_type": "authorization_code", "code": unique("canary-code-"), "redirect_uri": "http://localhost/"}),
        ),
        (
            "wrong refresh token",
            json!({"grant_type": "refresh_token", "refresh_token": unique("canary-refresh-")}),
        ),
    ] {
        let mut form = form;
        canaries.plant(name, form["code"].as_str().or(form["refresh_token"].as_str()).unwrap().to_owned());
        form["client_id"] = json!(gate.variable("AUTH0_CLIENT_ID"));
        form["client_secret"] = json!(gate.variable("AUTH0_CLIENT_SECRET"));
        note(name, &token(form).await);
    }
    let broken = format!("{{\"client_secret\": \"{}\"", canaries.get("wrong code"));
    let broken = Request::new("POST", "/oauth/token")
        .header("Content-Type", "application/json")
        .body(broken)
        .send(port)
        .await;
    note("broken body", &broken);

    // A person, through a route of the gateway.
    let (id, upstream) = (unique("login-"), Upstream::start());
    let plugin = json!({"openid-connect": {
        "client_id": gate.variable("AUTH0_CLIENT_ID"), "client_secret": gate.variable("AUTH0_CLIENT_SECRET"),
        "discovery": format!("{}.well-known/openid-configuration", gate.variable("ISSUER")),
        "scope": "openid email offline_access", "set_refresh_token_header": true,
        "redirect_uri": format!("http://localhost:{}/anything/callback", gate.port(9080))}});
    let route = json!({"uri": "/anything/*", "plugins": plugin, "upstream": node(&upstream)});
    gate.admin().set(&format!("routes/{id}"), &route).await;
    let home = format!("http://localhost:{}/anything/home", gate.port(9080));
    let mut browser = Browser::new();
    let login = browser.open(&home).await;
    let wrong = unique("canary-wrong-password-");
    canaries.plant("wrong password", wrong.clone());
    let again = browser.log_in(&login, &email, &wrong).await;
    assert!(again.has_id("login-title"), "{again:?}");
    note("wrong password", &again.response);
    let page = browser.log_in(&again, &email, &password).await;
    assert_eq!((page.status(), page.url.path()), (200, "/anything/home"), "{page:?}");
    let seen = upstream.seen().pop().unwrap();
    for name in ["x-access-token", "x-refresh-token", "x-raw-id-token"] {
        if let Some(value) = seen.header(name) {
            canaries.plant(name, value.to_owned());
        }
    }
    let code = browser.history.iter().find_map(|url| url.query_pairs().find(|(name, _)| name == "code"));
    canaries.plant("authorization code", code.map(|(_, code)| code.into_owned()).unwrap());
    for name in browser.cookie_names() {
        let value = browser.cookie(name).unwrap().to_owned();
        canaries.plant(if name.contains("pc_idp") { "provider's cookie" } else { "gateway's cookie" }, value);
    }
    (gate, canaries, failures)
}

#[tokio::test]
async fn s01_nothing_of_a_login_is_in_logs_metrics_or_answers() {
    let (gate, canaries, failures) = sweep().await;
    for answer in &failures {
        assert_eq!(canaries.found_in(answer), [""; 0], "in the answer {answer}");
    }
    let metrics = Request::get("/metrics").send(gate.port(9091)).await.text();
    assert_eq!(canaries.found_in(&metrics), [""; 0]);
    assert!(gate.terminate().success());
    let shown: BTreeMap<_, _> =
        gate.variables().into_iter().filter(|(name, _)| name.contains("SECRET")).collect();
    for line in gate.output().lines() {
        assert_eq!(canaries.found_in(line), [""; 0], "in the log: {line}");
        assert!(
            shown.values().all(|secret| !line.contains(secret)),
            "a secret of dev.env in the log: {line}"
        );
    }
}

#[tokio::test]
async fn s02_nothing_of_a_login_is_plain_on_disk() {
    let (gate, canaries, _) = sweep().await;
    assert!(gate.terminate().success());
    let mut hashed = false;
    for file in files_below(&gate.state()) {
        let text = String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned();
        hashed |= text.contains("$argon2id$");
        assert_eq!(canaries.found_in(&text), [""; 0], "in {}", file.display());
        if !file.ends_with("dev.env") {
            for (name, value) in gate.variables().iter().filter(|(name, _)| name.contains("SECRET")) {
                assert!(!text.contains(value), "{name} is plain in {}", file.display());
            }
        }
    }
    assert!(hashed, "no password is hashed with Argon2id");
}
