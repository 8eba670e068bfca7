//! A tenant that begins as a directory of Auth0's deploy CLI, and what its sessions, mails and logs do in the binary.

use std::{process::Command, sync::Arc, time::Duration};

use serde_json::{Value, json};

use crate::{
    Door,
    support::{Browser, Options, Portcullis, Request, Response, Upstream},
};

const TENANT: &str = r###"
tenant:
  friendly_name: ##COMPANY##
  session_lifetime: 24
  flags:
    enable_client_connections: false
resourceServers:
  - name: Orders
    identifier: https://orders.example/
    enforce_policies: true
    token_dialect: access_token_authz
    scopes:
      - value: read:orders
        description: Read orders
      - value: write:orders
clients:
  - name: Worker
    app_type: non_interactive
    grant_types: [client_credentials]
    client_secret: "a secret of forty characters in this file"
  - name: Shop
    app_type: regular_web
    callbacks: @@CALLBACKS@@
databases:
  - name: Shoppers
    strategy: auth0
    enabled_clients: [Shop]
    options:
      passwordPolicy: low
clientGrants:
  - client_id: Worker
    audience: https://orders.example/
    scope: [read:orders]
roles:
  - name: Clerk
    description: Sees orders
    permissions:
      - permission_name: read:orders
        resource_server_identifier: https://orders.example/
actions:
  - name: not here
"###;

/// An instance whose tenant is the one above, and its administrator's token.
struct Shop {
    door: Door,
    token: String,
}

impl Shop {
    async fn open() -> Self {
        let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let callbacks = "[\"https://shop.example/a\", \"https://shop.example/b\"]";
        let gate = Portcullis::start(Options {
            tenant: Some(TENANT.to_owned()),
            environment: vec![variable("COMPANY", "Example Ltd"), variable("CALLBACKS", callbacks)],
            ..Options::default()
        });
        let mut shop = Self { door: Door { gate: Arc::new(gate), secure: false }, token: String::new() };
        shop.log_in().await;
        shop
    }

    async fn log_in(&mut self) {
        let gate = &self.door.gate;
        let (id, secret) = (gate.variable("AUTH0_MGMT_CLIENT_ID"), gate.variable("AUTH0_MGMT_CLIENT_SECRET"));
        self.token = self.machine(&id, &secret, &self.door.url("api/v2/")).await["access_token"]
            .as_str()
            .unwrap()
            .to_owned();
    }

    async fn machine(&self, id: &str, secret: &str, audience: &str) -> Value {
        let grant = [
            ("grant_type", "client_credentials"),
            ("audience", audience),
            ("client_id", id),
            ("client_secret", secret),
        ];
        self.door.post("/oauth/token", &grant).await.json()
    }

    async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Response {
        let request = Request::new(method, &format!("/api/v2/{path}")).bearer(&self.token);
        let request = match &body {
            Some(body) => request.json(body),
            None => request,
        };
        self.door.send(request).await
    }

    async fn list(&self, path: &str) -> Vec<Value> {
        self.call("GET", path, None).await.json().as_array().unwrap().clone()
    }
}

#[tokio::test]
async fn a_tenant_is_what_its_directory_says_also_after_a_restart_and_can_be_written_to_one() {
    let mut shop = Shop::open().await;
    let find = |items: &[Value], name: &str| items.iter().find(|item| item["name"] == name).unwrap().clone();
    let clients = shop.list("clients").await;
    let (worker, web) = (find(&clients, "Worker"), find(&clients, "Shop"));
    assert_eq!(web["callbacks"], json!(["https://shop.example/a", "https://shop.example/b"]));
    let id = worker["client_id"].as_str().unwrap();
    let tokens = shop.machine(id, worker["client_secret"].as_str().unwrap(), "https://orders.example/").await;
    let claims = shop.door.claims(&tokens["access_token"]).await;
    assert_eq!(claims["permissions"], json!(["read:orders"]), "{tokens}");
    let connection = find(&shop.list("connections").await, "Shoppers");
    assert_eq!(connection["enabled_clients"], json!([web["client_id"]]));
    let role = find(&shop.list("roles").await, "Clerk");
    let held = shop.list(&format!("roles/{}/permissions", role["id"].as_str().unwrap())).await;
    assert_eq!(held[0]["permission_name"], "read:orders");
    let settings = shop.call("GET", "tenants/settings", None).await.json();
    assert_eq!(
        (&settings["friendly_name"], &settings["session_lifetime"]),
        (&json!("Example Ltd"), &json!(24.0))
    );

    shop.door.gate.restart();
    shop.log_in().await;
    assert_eq!(shop.list("clients").await, clients, "importing again changes nothing");
    assert_eq!(shop.list("roles").await.len(), 1);

    let folder = shop.door.gate.folder().join("exported");
    let export = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["tenant", "export", "--dir"])
        .arg(shop.door.gate.state())
        .arg("--output")
        .arg(&folder)
        .output()
        .unwrap();
    assert!(export.status.success(), "{}", String::from_utf8_lossy(&export.stderr));
    let text = std::fs::read_to_string(folder.join("tenant.yaml")).unwrap();
    for told in ["Worker", "https://orders.example/", "Shoppers", "Clerk", "Example Ltd"] {
        assert!(text.contains(told), "{told}: {text}");
    }
    for secret in [worker["client_secret"].as_str().unwrap(), "client_secret", "signing_secret"] {
        assert!(!text.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn o47_a_session_that_an_administrator_ends_is_over_at_the_gate_too() {
    let shop = Shop::open().await;
    let (gate, upstream) = (&shop.door.gate, Upstream::start());
    let home = format!("http://localhost:{}/", gate.port(9080));
    let client = gate.variable("AUTH0_CLIENT_ID");
    let plugins = json!({"openid-connect": {
        "client_id": client,
        "client_secret": gate.variable("AUTH0_CLIENT_SECRET"),
        "discovery": format!("{}.well-known/openid-configuration", gate.variable("ISSUER")),
        "redirect_uri": format!("{home}anything/callback"),
        "backchannel_logout_path": "/anything/backchannel",
    }});
    gate.admin().route("app", "/anything/*", &upstream, plugins).await;
    let told =
        json!({ "oidc_logout": { "backchannel_logout_urls": [format!("{home}anything/backchannel")] } });
    let changed = shop.call("PATCH", &format!("clients/{client}"), Some(told)).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    let page = format!("{home}anything/page");
    let mut browser = Browser::new();
    let login = browser.open(&page).await;
    let (user, password) = (gate.variable("DEMO_USER"), gate.variable("DEMO_PASSWORD"));
    browser.log_in(&login, &user, &password).await;
    assert_eq!(browser.open_only(&page).await.status(), 200);
    let id = shop.list("users").await[0]["user_id"].as_str().unwrap().replace('|', "%7C");
    let ended = shop.call("DELETE", &format!("users/{id}/sessions"), None).await;
    assert_eq!(ended.status, 202, "{ended:?}");
    // Whatever is due after a second has run when this answers.
    gate.advance(Duration::from_secs(1)).await;
    assert_eq!(browser.open_only(&page).await.status(), 302, "the gate was told");
    let logs = shop.list("logs?q=type:oidc_backchannel_logout_succeeded").await;
    assert_eq!((logs.len(), &logs[0]["client_id"]), (1, &json!(client)));
}

#[tokio::test]
async fn o23_a_forgotten_password_is_replaced_by_way_of_a_mail() {
    let shop = Shop::open().await;
    let (gate, mut browser) = (&shop.door.gate, shop.door.browser());
    let login = browser.open(&shop.door.authorize(&[])).await;
    let page = login.response.text();
    let link = page.split("id=\"reset-link\" href=\"").nth(1).unwrap().split('"').next().unwrap();
    let ask = browser.open(&format!("{}{}", shop.door.issuer().trim_end_matches('/'), link)).await;
    let user = gate.variable("DEMO_USER");
    let sent = browser.submit(&ask, &[("email", &user)]).await;
    assert!(sent.has_id("reset-sent"), "{sent:?}");
    let mails = gate.admin().call("GET", "/dev/mail", None).await.json();
    let mail = &mails.as_array().unwrap()[0];
    assert_eq!(mail["to"], user.as_str());
    let text = mail["text"].as_str().unwrap().to_owned();
    let link = text.split_whitespace().find(|word| word.starts_with("http")).unwrap();
    assert!(link.starts_with(&shop.door.issuer()));
    let form = browser.open(link).await;
    let new = "Quite-a-new-passw0rd";
    let done = browser.submit(&form, &[("password", new), ("password_again", new)]).await;
    assert!(done.has_id("message"), "{done:?}");
    let login = browser.open(&shop.door.authorize(&[])).await;
    let wrong = browser.log_in(&login, &user, &gate.variable("DEMO_PASSWORD")).await;
    assert!(wrong.has_id("login-title"));
    let right = browser.log_in(&wrong, &user, new).await;
    assert!(shop.door.arrived(&right).contains_key("code"));
    let token = link.split("ticket=").nth(1).unwrap().trim_end_matches('#');
    assert!(!gate.output().contains(token) && !gate.output().contains(new), "secrets are in no log");
}
