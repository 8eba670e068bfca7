//! F05 and F06: a disk that fails and a disk that is full, by strace, which answers the process's system calls in the
//! kernel's place.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{management_token, support};
use support::{Portcullis, Request, Response, Site, unique};

/// A fault that lasts until it is dropped.
struct Fault(Child);

impl Fault {
    /// Every call of `calls` by the process fails with `error` when this returns.
    fn inject(gate: &Portcullis, calls: &str, error: &str) -> Self {
        let mut child = Command::new("strace")
            .args(["-f", "-o", "/dev/null", "-e", &format!("trace={calls}")])
            .args(["-e", &format!("inject={calls}:error={error}"), "-e", "signal=none"])
            .args(["-p", &gate.pid().to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{error}: cannot run strace: `cargo xtask install` installs it"));
        let mut told = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        told.read_line(&mut line).unwrap();
        assert!(line.contains("attached"), "strace may not trace the process: {line}");
        // It goes on to tell of new threads, and must not be kept from it.
        std::thread::spawn(move || std::io::copy(&mut told, &mut std::io::sink()));
        Self(child)
    }
}

impl Drop for Fault {
    /// Lets the process go, and returns when it is on its own again.
    fn drop(&mut self) {
        let pid = Pid::from_raw(i32::try_from(self.0.id()).unwrap()).unwrap();
        let _ = kill_process(pid, Signal::INT);
        let _ = self.0.wait();
    }
}

/// Everything that is written, in each API.
struct Writes {
    gate: std::sync::Arc<Portcullis>,
    token: String,
    route: String,
    service: String,
    email: String,
    client: String,
}

impl Writes {
    async fn new(site: &Site) -> Self {
        let gate = std::sync::Arc::clone(&site.gate);
        Self {
            token: management_token(&gate).await,
            gate,
            route: unique("route-"),
            service: unique("service-"),
            email: format!("{}@example.com", unique("user-")),
            client: unique("client-"),
        }
    }

    async fn route(&self) -> Response {
        let port = self.gate.port(9480);
        let body = json!({"uri": format!("/{}", self.route), "plugins": {"key-auth": {}},
            "upstream": {"type": "roundrobin", "nodes": {format!("127.0.0.1:{port}"): 1}}});
        self.gate.admin().put(&format!("routes/{}", self.route), &body).await
    }

    async fn service(&self) -> Response {
        let body = json!({"name": self.service, "url": "http://localhost:1"});
        Request::new("POST", "/services").json(&body).send(self.gate.port(8001)).await
    }

    async fn manage(&self, method: &str, path: &str, body: Option<Value>) -> Response {
        let request = Request::new(method, path).bearer(&self.token);
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        request.send(self.gate.port(9400)).await
    }

    async fn user(&self) -> Response {
        let body = json!({"connection": "Username-Password-Authentication", "email": self.email,
            "password": "Long-enough-1!"});
        self.manage("POST", "/api/v2/users", Some(body)).await
    }

    async fn client(&self) -> Response {
        self.manage("POST", "/api/v2/clients", Some(json!({"name": self.client}))).await
    }

    /// Refused in the words of each API, with nothing of it to be seen.
    async fn expect_refused(&self, site: &Site) {
        let (route, service, user, client) =
            (self.route().await, self.service().await, self.user().await, self.client().await);
        for (answer, member) in
            [(&route, "error_msg"), (&service, "message"), (&user, "message"), (&client, "message")]
        {
            assert!((500..600).contains(&answer.status), "{answer:?}");
            assert!(answer.json()[member].is_string(), "{answer:?}");
        }
        for answer in [&user, &client] {
            assert_eq!(answer.json()["statusCode"], answer.status, "{answer:?}");
        }
        // What was asked before is served on; what was refused is not, nor shown.
        site.still_serves().await;
        assert_eq!(self.gate.get(&format!("/{}", self.route)).await.status, 404);
        assert_eq!(self.gate.admin().get(&format!("routes/{}", self.route)).await.status, 404);
        let service = Request::get(&format!("/services/{}", self.service));
        assert_eq!(service.send(self.gate.port(8001)).await.status, 404);
        self.expect_unseen().await;
    }

    async fn expect_unseen(&self) {
        let users = format!("/api/v2/users-by-email?email={}", self.email.replace('@', "%40"));
        assert_eq!(self.manage("GET", &users, None).await.json(), json!([]));
        let clients = self.manage("GET", "/api/v2/clients?per_page=100", None).await.text();
        assert!(!clients.contains(&self.client), "{clients}");
    }

    /// The same writes, which nothing keeps from being done.
    async fn expect_done(&self) {
        let (route, service, user, client) =
            (self.route().await, self.service().await, self.user().await, self.client().await);
        for answer in [&route, &service, &user, &client] {
            assert_eq!(answer.status, 201, "{answer:?}");
        }
        self.expect_there().await;
    }

    async fn expect_there(&self) {
        assert_eq!(self.gate.get(&format!("/{}", self.route)).await.status, 401);
        assert_eq!(self.gate.admin().get(&format!("routes/{}", self.route)).await.status, 200);
        let service = Request::get(&format!("/services/{}", self.service));
        assert_eq!(service.send(self.gate.port(8001)).await.status, 200);
        let users = format!("/api/v2/users-by-email?email={}", self.email.replace('@', "%40"));
        assert_eq!(self.manage("GET", &users, None).await.json().as_array().unwrap().len(), 1);
        let clients = self.manage("GET", "/api/v2/clients?per_page=100", None).await.text();
        assert!(clients.contains(&self.client), "{clients}");
    }
}

async fn fails_and_heals(calls: &str, error: &str) {
    let site = Site::alone().await;
    let (before, writes) = (Writes::new(&site).await, Writes::new(&site).await);
    before.expect_done().await;
    let fault = Fault::inject(&site.gate, calls, error);
    writes.expect_refused(&site).await;
    // Twice, because the first failure changes the state that the second one meets.
    writes.expect_refused(&site).await;
    before.expect_there().await;
    drop(fault);
    writes.expect_unseen().await;
    writes.expect_done().await;
    site.gate.kill9();
    site.gate.restart();
    before.expect_there().await;
    writes.expect_there().await;
    site.still_serves().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f06_a_write_whose_sync_failed_is_neither_answered_as_done_nor_served() {
    fails_and_heals("fsync,fdatasync", "EIO").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f05_a_full_disk_refuses_writes_and_heals() {
    fails_and_heals("pwrite64,ftruncate,fallocate", "ENOSPC").await;
}
