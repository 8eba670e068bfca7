//! An OpenID provider that nobody here wrote: `oidc-provider` from npm, which `cargo xtask install` installs.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use jose::SigningKey;
use loopback::Reserved;
use serde_json::{Value, json};

use super::Request;

/// A running provider, stopped when it is dropped.
pub(crate) struct Peer {
    reserved: Reserved,
    child: Child,
}

impl Peer {
    /// Starts it with these clients, and keys of which the first of each kind signs.
    pub(crate) fn start(clients: &Value, keys: &[SigningKey]) -> Self {
        let reserved = Reserved::any().unwrap();
        let child = spawn(reserved.port(), clients, keys);
        Self { reserved, child }
    }

    /// Nobody answers at its port.
    pub(crate) fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again at its port.
    pub(crate) fn restart(&mut self, clients: &Value, keys: &[SigningKey]) {
        self.stop();
        self.child = spawn(self.reserved.port(), clients, keys);
    }

    /// Where it listens, on loopback.
    pub(crate) const fn port(&self) -> u16 {
        self.reserved.port()
    }

    /// Its issuer.
    pub(crate) fn issuer(&self) -> String {
        format!("http://localhost:{}", self.port())
    }

    /// The URL of its metadata.
    pub(crate) fn discovery(&self) -> String {
        format!("{}/.well-known/openid-configuration", self.issuer())
    }

    /// The statuses of its answers at this path, in order.
    pub(crate) async fn hits(&self, path: &str) -> Vec<u64> {
        let answer = Request::get("/hits").header("Host", "localhost").send(self.port()).await.json();
        answer[path].as_array().into_iter().flatten().filter_map(Value::as_u64).collect()
    }
}

fn spawn(port: u16, clients: &Value, keys: &[SigningKey]) -> Child {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let key = |key: &SigningKey| json!({ "pem": pem(key), "kid": key.kid(), "alg": key.alg().as_str() });
    let keys: Vec<Value> = keys.iter().map(key).collect();
    let options = json!({ "port": port, "clients": clients, "keys": keys });
    let mut child = Command::new("node")
        .arg("server.mjs")
        .current_dir(root.join("target/peers/oidc-provider"))
        .env("OPTIONS", options.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("cannot run node: `cargo xtask install` installs it");
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let ready = output.any(|line| line == "ready");
    assert!(ready, "the provider did not start: {:?}", child.wait());
    // What it says later is read as well: it would end on a closed pipe.
    thread::spawn(move || output.for_each(drop));
    child
}

/// A private key as PEM.
pub(crate) fn pem(key: &SigningKey) -> String {
    let text = STANDARD.encode(key.to_pkcs8().unwrap().as_slice());
    format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n")
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.stop();
    }
}
