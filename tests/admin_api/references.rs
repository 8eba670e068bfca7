//! Values that stand elsewhere: in the environment, and in Vault.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};

use crate::support::{Answer, Options, Portcullis, Upstream, process::locked, unique};

pub(super) fn started(environment: &[(&str, &str)]) -> Portcullis {
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Portcullis::start(Options { environment: environment.iter().map(pair).collect(), ..Options::default() })
}

pub(super) fn redirect(uri: &str, to: &str) -> Value {
    json!({"uri": uri, "plugins": {"redirect": {"uri": to}}})
}

pub(super) async fn sent_to(gate: &Portcullis, path: &str) -> Option<String> {
    gate.get(path).await.header("location").map(str::to_owned)
}

/// A Vault of one secret.
struct Vault {
    server: Upstream,
    /// Status and data, by path.
    secret: Arc<Mutex<(u16, Value)>>,
}

impl Vault {
    fn start(token: &str, data: Value) -> Self {
        let secret = Arc::new(Mutex::new((200, data)));
        let (held, token) = (Arc::clone(&secret), token.to_owned());
        let server = Upstream::scripted(move |seen| {
            if seen.header("x-vault-token") != Some(&token) {
                return Answer::with(403, &[], "{}");
            }
            let (status, data) = locked(&held).clone();
            if !["/v1/kv/apps/gate", "/vault/v1/kv/apps/gate"].contains(&seen.path()) {
                return Answer::with(404, &[], "{}");
            }
            Answer::with(status, &[("Content-Type", "application/json")], json!({"data": data}).to_string())
        });
        Self { server, secret }
    }

    fn set(&self, status: u16, data: Value) {
        *locked(&self.secret) = (status, data);
    }

    fn manager(&self, token: &str) -> Value {
        json!({"uri": format!("http://{}", self.server.node()), "prefix": "kv", "token": token})
    }
}

#[tokio::test]
async fn s01_a_value_of_the_environment_is_used_and_never_told() {
    let canary = unique("/env-canary-");
    let object = json!({"target": "/member", "n": {}}).to_string();
    let gate = started(&[("GATE_TARGET", &canary), ("GATE_OBJECT", &object)]);
    let admin = gate.admin();
    admin.set("routes/whole", &redirect("/whole", "$env://GATE_TARGET")).await;
    admin.set("routes/member", &redirect("/member", "$ENV://GATE_OBJECT/target")).await;
    assert_eq!(sent_to(&gate, "/whole").await.as_deref(), Some(canary.as_str()));
    assert_eq!(sent_to(&gate, "/member").await.as_deref(), Some("/member"));
    let listed = admin.get("routes/whole").await;
    assert_eq!(listed.json()["value"]["plugins"]["redirect"]["uri"], "$env://GATE_TARGET");
    for (to, told) in [
        (
            "$env://GATE_NONE",
            "uri: $env://GATE_NONE: the environment variable GATE_NONE is not set for references",
        ),
        (
            "$env://GATE_OBJECT/n",
            "uri: $env://GATE_OBJECT/n: the environment variable GATE_OBJECT is no JSON object",
        ),
        ("$secret://vault/none/a/b", "uri: $secret://vault/none/a/b: there is no secret manager vault/none"),
        (
            "$secret://azure/1/a/b",
            "it is not `$secret://MANAGER/ID/PATH/KEY` of a manager `vault`, `aws` or `gcp`",
        ),
    ] {
        let answer = admin.put("routes/refused", &redirect("/refused", to)).await;
        let error = answer.json()["error_msg"].as_str().unwrap_or_default().to_owned();
        assert_eq!(answer.status, 400, "{to}");
        assert!(error.contains(told), "{error}");
    }
    // What the value is checked for is said of the reference.
    let wrong = json!({"uri": "/x", "plugins": {"redirect": {"regex_uri": ["$env://GATE_OBJECT", "/$x"]}}});
    let answer = admin.put("routes/refused", &wrong).await;
    assert_eq!(answer.status, 400);
    assert!(!answer.text().contains("/member"), "{}", answer.text());
    gate.restart();
    assert_eq!(sent_to(&gate, "/whole").await.as_deref(), Some(canary.as_str()));
    assert!(!listed.text().contains(&canary) && !gate.output().contains(&canary));
}

#[tokio::test]
async fn s01_what_the_process_itself_is_made_of_is_not_to_be_had() {
    let (gate, _) = Portcullis::production("");
    let admin = gate.admin();
    for name in ["KEYRING", "ADMIN", "VIEWER", "PORTCULLIS_ADMIN_KEY"] {
        let answer = admin.put("routes/x", &redirect("/x", &format!("$env://{name}"))).await;
        assert_eq!(answer.status, 400, "{name}");
        assert!(answer.text().contains("is not set for references"), "{}", answer.text());
    }
}

#[tokio::test]
async fn values_of_vault_are_fetched_refreshed_and_kept_while_it_is_down() {
    let token = unique("vault-token-canary-");
    let gate = started(&[("GATE_VAULT_TOKEN", &token)]);
    let admin = gate.admin();
    let vault = Vault::start(&token, json!({"target": "/one"}));
    admin.set("secrets/vault/1", &vault.manager("$env://GATE_VAULT_TOKEN")).await;
    let reference = "$secret://vault/1/apps/gate/target";
    admin.set("routes/v", &redirect("/v", reference)).await;
    assert_eq!(sent_to(&gate, "/v").await.as_deref(), Some("/one"));
    assert_eq!(admin.get("routes/v").await.json()["value"]["plugins"]["redirect"]["uri"], reference);

    // Requests ask nobody; the value is asked for again when its time has come.
    let asked = vault.server.seen().len();
    vault.set(200, json!({"target": "/two"}));
    assert_eq!(sent_to(&gate, "/v").await.as_deref(), Some("/one"));
    assert_eq!(vault.server.seen().len(), asked);
    gate.advance(Duration::from_secs(301)).await;
    assert_eq!(sent_to(&gate, "/v").await.as_deref(), Some("/two"));

    // One may stand below a path; slashes at its ends say nothing.
    let mut below = vault.manager(&token);
    below["uri"] = json!(format!("http://{}/vault/", vault.server.node()));
    below["prefix"] = json!("/kv/");
    admin.set("secrets/vault/below", &below).await;
    admin.set("routes/b", &redirect("/b", "$secret://vault/below/apps/gate/target")).await;
    assert_eq!(sent_to(&gate, "/b").await.as_deref(), Some("/two"));
    assert_eq!(vault.server.seen().last().unwrap().path(), "/vault/v1/kv/apps/gate");

    // Version 2 of the engine wraps it once more.
    vault.set(200, json!({"data": {"target": "/three"}, "metadata": {"version": 3}}));
    gate.advance(Duration::from_secs(301)).await;
    assert_eq!(sent_to(&gate, "/v").await.as_deref(), Some("/three"));

    // A Vault that cannot answer takes nothing away, and keeps nothing from being written that it has answered for.
    vault.set(503, json!({}));
    gate.advance(Duration::from_secs(301)).await;
    assert_eq!(sent_to(&gate, "/v").await.as_deref(), Some("/three"));
    admin.set("routes/w", &redirect("/w", reference)).await;
    let answer = admin.put("routes/z", &redirect("/z", "$secret://vault/1/apps/gate/other")).await;
    assert_eq!(answer.status, 400);
    let told = answer.json()["error_msg"].as_str().unwrap().to_owned();
    assert!(told.contains("uri: $secret://vault/1/apps/gate/other: Vault answers 503"), "{told}");

    // One that says the value is gone has it named; after a restart the route is closed.
    vault.set(404, json!({}));
    gate.advance(Duration::from_secs(301)).await;
    let status = admin.call("GET", "/status", None).await;
    assert!(status.text().contains("Vault has no secret at this path"), "{}", status.text());
    gate.restart();
    assert_eq!(gate.get("/v").await.status, 503);
    vault.set(200, json!({"target": "/four"}));
    gate.advance(Duration::from_secs(61)).await;
    assert_eq!(sent_to(&gate, "/v").await.as_deref(), Some("/four"));
    assert!(!gate.output().contains(&token));
}

#[tokio::test]
async fn a_secret_manager_is_written_read_and_hidden() {
    let (gate, viewer) = Portcullis::production("");
    let admin = gate.admin();
    let manager = json!({"uri": "https://vault.example:8200", "prefix": "kv", "token": "a-token-canary"});
    let answer = admin.put("secrets/vault/test", &manager).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(answer.json()["key"], "/apisix/secrets/vault/test");
    assert_eq!(answer.json()["value"]["id"], "vault/test");
    let patch = json!({"prefix": "kv2"});
    let answer = admin.call("PATCH", "/apisix/admin/secrets/vault/test", Some(&patch)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let read = admin.get("secrets/vault/test").await.json();
    assert_eq!(
        (&read["value"]["prefix"], &read["value"]["token"]),
        (&json!("kv2"), &json!("a-token-canary"))
    );
    assert_eq!(admin.get("secrets").await.json()["total"], 1);
    assert_eq!(admin.get("secrets/vault").await.json()["total"], 1);
    assert!(!viewer.get("secrets/vault/test").await.text().contains("a-token-canary"));
    for (method, path, body, status, told) in [
        ("POST", "secrets/vault", &manager, 405, "not supported `POST` method for secret"),
        ("PUT", "secrets/nobody/1", &manager, 400, "invalid secret manager: nobody"),
        ("PUT", "secrets/azure/1", &json!({}), 400, "invalid secret manager: azure"),
        (
            "PUT",
            "secrets/vault/1",
            &json!({"uri": "x"}),
            400,
            "invalid configuration: property \"uri\" validation failed",
        ),
        (
            "PUT",
            "secrets/vault/1",
            &json!({"uri": "http://a", "prefix": "kv"}),
            400,
            "property \"token\" is required",
        ),
    ] {
        let answer = admin.call(method, &format!("/apisix/admin/{path}"), Some(body)).await;
        assert_eq!(answer.status, status, "{method} {path}");
        assert!(answer.text().contains(&told.replace('"', "\\\"")), "{}", answer.text());
    }
    assert_eq!(admin.delete("secrets/vault/test").await.status, 200);
    assert_eq!(admin.get("secrets/vault/test").await.status, 404);
    assert_eq!(
        admin.put("plugin_metadata/nonsense", &json!({})).await.json()["error_msg"],
        "invalid plugin name"
    );
    assert_eq!(admin.put("plugin_metadata/redirect", &json!({"x": 1})).await.status, 400);
    assert_eq!(admin.put("plugin_metadata/redirect", &json!({})).await.status, 201);
    assert_eq!(admin.get("plugin_metadata").await.json()["total"], 1);
    assert_eq!(admin.delete("plugin_metadata/redirect").await.status, 200);
}
