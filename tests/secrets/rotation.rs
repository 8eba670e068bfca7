//! S03: a new key in front of the keyring, `reseal`, and the old key is gone.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    process::{Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use base::{Keyring, Random};
use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::canaries::files_below;
use crate::support::{Browser, Portcullis, Request, Response};

/// More consumers than `reseal` takes in a few batches.
const CONSUMERS: usize = 450;

/// `dev`, whose keyring is a file of its folder.
struct Deployment {
    gate: Arc<Portcullis>,
    old: Keyring,
    new: Keyring,
}

impl Deployment {
    fn start() -> Self {
        let gate = Arc::new(Portcullis::dev());
        let old = Keyring::parse(&fs::read_to_string(gate.state().join("keys")).unwrap()).unwrap();
        Self { gate, old, new: Keyring::generate(&Random::system()) }
    }

    fn write_keys(&self, keys: &[&Keyring]) {
        let text: String = keys.iter().map(|ring| ring.to_text().to_string()).collect();
        fs::write(self.gate.state().join("keys"), text).unwrap();
    }

    /// `portcullis reseal` for the file that `dev` wrote.
    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        command.args(["reseal", "--config"]).arg(self.gate.state().join("portcullis.yaml"));
        command.env("ADMIN_KEY", self.gate.variable("ADMIN_KEY")).env_remove("RUST_LOG");
        command
    }

    async fn reseal(&self) -> Output {
        let mut command = self.command();
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    /// How many values it sealed again in each store.
    async fn resealed(&self) -> [u64; 2] {
        let output = self.reseal().await;
        assert!(output.status.success(), "{output:?}");
        counts(&output.stdout)
    }

    /// The files in which something is that the old key sealed.
    fn files_with_old_ciphertext(&self) -> Vec<String> {
        let id = &self.old.ids()[0];
        let id = (0..id.len()).step_by(2).map(|at| u8::from_str_radix(&id[at..at + 2], 16).unwrap());
        // The layout's version and the key's id.
        let raw: Vec<u8> = std::iter::once(1).chain(id).collect();
        let text = format!("pc:sealed:{}", STANDARD_NO_PAD.encode(&raw));
        let holds = |bytes: &[u8]| {
            [raw.as_slice(), text.as_bytes()]
                .iter()
                .any(|canary| bytes.windows(canary.len()).any(|window| window == *canary))
        };
        let files = files_below(&self.gate.state()).into_iter();
        files.filter(|file| holds(&fs::read(file).unwrap())).map(|file| file.display().to_string()).collect()
    }

    /// A call of the Management API.
    async fn manage(&self, method: &str, path: &str, body: Option<&Value>) -> Response {
        let token =
            self.machine_token("AUTH0_MGMT", &format!("{}api/v2/", self.gate.variable("ISSUER"))).await;
        let request = Request::new(method, path).bearer(&token);
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        request.send(self.gate.port(9400)).await
    }

    async fn machine_token(&self, application: &str, audience: &str) -> String {
        let variable = |name: &str| self.gate.variable(&format!("{application}_{name}"));
        let (id, secret) = (variable("CLIENT_ID"), variable("CLIENT_SECRET"));
        let body = json!({"grant_type": "client_credentials", "client_id": id, "client_secret": secret,
            "audience": audience});
        let answer = Request::new("POST", "/oauth/token").json(&body).send(self.gate.port(9400)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["access_token"].as_str().unwrap().to_owned()
    }

    fn page(&self) -> String {
        format!("http://localhost:{}/anything/page", self.gate.port(9080))
    }

    async fn log_in(&self) -> Browser {
        let mut browser = Browser::new();
        let login = browser.open(&self.page()).await;
        let (user, password) = (self.gate.variable("DEMO_USER"), self.gate.variable("DEMO_PASSWORD"));
        let inside = browser.log_in(&login, &user, &password).await;
        assert_eq!((inside.status(), inside.url.as_str()), (200, self.page().as_str()), "{inside:?}");
        browser
    }
}

/// The last line of each store.
fn counts(stdout: &[u8]) -> [u64; 2] {
    let text = String::from_utf8_lossy(stdout);
    ["gateway.db: ", "identity.db: "].map(|store| {
        let line = text.lines().find_map(|line| line.split_once(store)).unwrap_or_else(|| panic!("{text}"));
        line.1.split(' ').next().unwrap().parse().unwrap()
    })
}

/// Everything with a secret in it that an administrator can write, and read again.
struct Written {
    consumer: Value,
    route: Value,
    plugin: String,
    client: Value,
}

impl Written {
    async fn write(deployment: &Deployment) -> Self {
        let gate = &deployment.gate;
        let admin = gate.admin();
        let consumer = json!({"username": "jack", "plugins": {"key-auth": {"key": "canary-key-of-jack"}}});
        admin.set("consumers", &consumer).await;
        let plugin = json!({"openid-connect": {
            "client_id": gate.variable("AUTH0_CLIENT_ID"), "client_secret": gate.variable("AUTH0_CLIENT_SECRET"),
            "discovery": format!("{}.well-known/openid-configuration", gate.variable("ISSUER")),
            "scope": "openid profile offline_access",
            "redirect_uri": format!("http://localhost:{}/anything/callback", gate.port(9080))}});
        let upstream = json!({"type": "roundrobin", "nodes": {format!("127.0.0.1:{}", gate.port(9480)): 1}});
        // The deployment's own session keys seal the cookies of this one.
        let mut route = json!({"uri": "/anything/*", "plugins": plugin, "upstream": upstream});
        admin.set("routes/pages", &route).await;
        route["uri"] = json!("/headers");
        route["plugins"]["openid-connect"]["session"] =
            json!({"secret": "canary-session-secret-of-16-or-more"});
        admin.set("routes/secret", &route).await;
        let kong = |path: &str, body: Value| Request::new("POST", path).json(&body).send(gate.port(8001));
        let service = json!({"name": "sealed", "url": "http://localhost:1"});
        assert_eq!(kong("/services", service).await.status, 201);
        let config = json!({"issuer": gate.variable("ISSUER"), "auth_methods": ["client_credentials"],
            "token_post_args_names": ["audience"], "token_post_args_values": ["canary-kong-secret"]});
        let body = json!({"name": "openid-connect", "config": config});
        let answer = kong("/services/sealed/plugins", body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        let plugin = format!("/plugins/{}", answer.json()["id"].as_str().unwrap());
        let client = json!({"name": "sealed", "app_type": "non_interactive"});
        let answer = deployment.manage("POST", "/api/v2/clients", Some(&client)).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        Self { consumer, route, plugin, client: answer.json() }
    }

    /// Everything is as it was written, secrets too.
    async fn expect(&self, deployment: &Deployment) {
        let admin = deployment.gate.admin();
        let secret = |value: &Value| value["plugins"]["openid-connect"]["client_secret"].clone();
        let consumer = admin.get("consumers/jack").await.json();
        assert_eq!(consumer["value"]["plugins"], self.consumer["plugins"]);
        let route = admin.get("routes/secret").await.json();
        assert_eq!(secret(&route["value"]), secret(&self.route));
        assert_eq!(
            route["value"]["plugins"]["openid-connect"]["session"]["secret"],
            self.route["plugins"]["openid-connect"]["session"]["secret"]
        );
        let plugin = Request::get(&self.plugin).send(deployment.gate.port(8001)).await.json();
        assert_eq!(plugin["config"]["token_post_args_values"], json!(["canary-kong-secret"]), "{plugin}");
        let id = self.client["client_id"].as_str().unwrap();
        let client = deployment.manage("GET", &format!("/api/v2/clients/{id}"), None).await.json();
        assert_eq!(client["client_secret"], self.client["client_secret"]);
        let status = Request::get("/status/ready").send(deployment.gate.port(9180)).await;
        assert_eq!(status.status, 200, "{status:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s03_keys_rotate_under_load_and_the_old_one_goes() {
    let deployment = Deployment::start();
    let gate = Arc::clone(&deployment.gate);
    let written = Written::write(&deployment).await;
    let mut browser = deployment.log_in().await;
    assert!(!deployment.files_with_old_ciphertext().is_empty());

    // The process that runs does not know the new key yet: nothing is taken from it.
    deployment.write_keys(&[&deployment.new, &deployment.old]);
    let refused = deployment.reseal().await;
    let reason = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{reason}");
    assert!(reason.contains("restart it with this keyring") && reason.lines().count() == 1, "{reason}");
    written.expect(&deployment).await;

    // With both keys everything opens, sessions too.
    gate.restart();
    written.expect(&deployment).await;
    assert_eq!(browser.open_only(&deployment.page()).await.status(), 200);

    // Sealing again beside the running process, which goes on to serve and to write.
    let done = Arc::new(AtomicBool::new(false));
    let load = tokio::spawn({
        let (gate, done) = (Arc::clone(&gate), Arc::clone(&done));
        async move {
            let mut number = 0;
            while !done.load(Ordering::SeqCst) {
                number += 1;
                let body =
                    json!({"username": "busy", "plugins": {"key-auth": {"key": format!("busy-{number}")}}});
                gate.admin().set("consumers", &body).await;
            }
            number
        }
    });
    let [configuration, identity] = deployment.resealed().await;
    done.store(true, Ordering::SeqCst);
    let last = load.await.unwrap();
    // Session and assertion keys, a consumer, two routes, a plugin; the clients with secrets, the signing keys, the keys
    // of hashes.
    assert!(configuration >= 6 && identity >= 5, "{configuration} {identity}");
    written.expect(&deployment).await;
    assert_eq!(deployment.resealed().await, [0, 0]);
    assert_eq!(deployment.files_with_old_ciphertext(), [""; 0]);

    // Without the old key.
    assert!(gate.terminate().success());
    deployment.write_keys(&[&deployment.new]);
    gate.restart();
    written.expect(&deployment).await;
    let busy = gate.admin().get("consumers/busy").await.json();
    assert_eq!(busy["value"]["plugins"]["key-auth"]["key"], format!("busy-{last}"));
    assert_eq!(browser.open_only(&deployment.page()).await.status(), 200, "the gate's session is gone");
    browser.plant("session", "none");
    let again = browser.open(&deployment.page()).await;
    assert_eq!(again.url.as_str(), deployment.page(), "the provider's session is gone");
    assert_eq!(again.status(), 200);
    deployment.log_in().await;
    assert!(!gate.output().contains("cannot be opened"), "something was left behind");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s03_sealing_again_is_taken_up_where_it_was_killed() {
    let deployment = Deployment::start();
    let gate = Arc::clone(&deployment.gate);
    let mut writers = JoinSet::new();
    for writer in 0..10 {
        let admin = gate.admin();
        writers.spawn(async move {
            for number in (writer..CONSUMERS).step_by(10) {
                let plugins = json!({"key-auth": {"key": format!("canary-{number}")}});
                admin
                    .set("consumers", &json!({"username": format!("user{number}"), "plugins": plugins}))
                    .await;
            }
        });
    }
    writers.join_all().await;
    assert!(gate.terminate().success());
    deployment.write_keys(&[&deployment.new, &deployment.old]);

    // Killed after a batch that was told to be durable, twice.
    let mut least = 0;
    for _ in 0..2 {
        let mut child = deployment.command().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut told = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        told.read_line(&mut line).unwrap();
        child.kill().unwrap();
        let mut stdout = String::new();
        child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
        assert!(!child.wait().unwrap().success(), "it was done before it was killed: {stdout}");
        let count = line.split_once(": ").unwrap().1.split(' ').next().unwrap();
        least += count.parse::<u64>().unwrap();
    }
    assert!(least >= 100, "{least}");
    let [configuration, _] = deployment.resealed().await;
    // The consumers, and the keys of sessions and assertions.
    assert!(configuration > 0 && configuration + least <= CONSUMERS as u64 + 2, "{configuration} {least}");
    assert_eq!(deployment.resealed().await, [0, 0]);
    assert_eq!(deployment.files_with_old_ciphertext(), [""; 0]);

    deployment.write_keys(&[&deployment.new]);
    gate.restart();
    for number in 0..CONSUMERS {
        let consumer = gate.admin().get(&format!("consumers/user{number}")).await.json();
        assert_eq!(consumer["value"]["plugins"]["key-auth"]["key"], format!("canary-{number}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s03_what_no_key_opens_is_named_and_never_told() {
    let deployment = Deployment::start();
    let gate = Arc::clone(&deployment.gate);
    let plugins = json!({"key-auth": {"key": "canary-of-nobody"}});
    gate.admin().set("consumers", &json!({"username": "nobody", "plugins": plugins})).await;
    assert!(gate.terminate().success());
    deployment.write_keys(&[&deployment.new]);
    let output = deployment.reseal().await;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    for place in ["/portcullis/session-keys", "/apisix/consumers/nobody", "client/dev/"] {
        assert!(errors.contains(place), "{place}: {errors}");
    }
    let all = [output.stdout, output.stderr].concat();
    assert!(!String::from_utf8_lossy(&all).contains("canary"), "{errors}");
    assert!(String::from_utf8_lossy(&all).contains("cannot be opened"));
    // The right keyring comes back, and everything is there.
    deployment.write_keys(&[&deployment.old]);
    gate.restart();
    let consumer = gate.admin().get("consumers/nobody").await.json();
    assert_eq!(consumer["value"]["plugins"], plugins);
}
