use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use jose::{Alg, SigningKey};
use loopback::Reserved;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// A provider whose every answer can be set, and that remembers what it was asked.
pub(super) struct Op {
    reserved: Reserved,
    answers: Arc<Mutex<HashMap<String, Reply>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
    listening: Option<JoinHandle<()>>,
}

#[derive(Clone)]
pub(super) enum Reply {
    Answer {
        status: u16,
        headers: String,
        body: Vec<u8>,
    },
    /// A byte now and again, for ever.
    Drip,
    /// Half of what was announced, then the end.
    Cut,
}

#[derive(Clone)]
pub(super) struct Seen {
    pub(super) path: String,
    /// Request line and headers, names in lower case.
    pub(super) head: String,
    pub(super) body: String,
}

impl Reply {
    pub(super) fn json(body: &Value) -> Self {
        Self::of(200, body.to_string())
    }

    pub(super) fn of(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::with(status, "content-type: application/json\r\n", body)
    }

    pub(super) fn with(status: u16, headers: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::Answer { status, headers: headers.to_owned(), body: body.into() }
    }
}

impl Op {
    /// A provider with metadata and no keys, listening.
    pub(super) async fn start() -> Self {
        let mut op = Self::down().await;
        op.up().await;
        op
    }

    /// The same, not listening yet.
    pub(super) async fn down() -> Self {
        let reserved = Reserved::any().unwrap();
        let op = Self { reserved, answers: Arc::default(), seen: Arc::default(), listening: None };
        op.set("/.well-known/openid-configuration", Reply::json(&op.metadata()));
        op.set_keys(&[]);
        op
    }

    pub(super) async fn up(&mut self) {
        let listener = TcpListener::bind(self.reserved.address()).await.unwrap();
        let (answers, seen) = (self.answers.clone(), self.seen.clone());
        self.listening = Some(tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, answers.clone(), seen.clone()));
            }
        }));
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.reserved.address())
    }

    pub(super) fn metadata(&self) -> Value {
        json!({
            "issuer": self.url(""),
            "authorization_endpoint": self.url("/authorize"),
            "token_endpoint": self.url("/token"),
            "userinfo_endpoint": self.url("/userinfo"),
            "introspection_endpoint": self.url("/introspect"),
            "revocation_endpoint": self.url("/revoke"),
            "jwks_uri": self.url("/jwks"),
        })
    }

    /// Metadata with some members replaced.
    pub(super) fn metadata_with(&self, members: &Value) -> Value {
        let mut metadata = self.metadata();
        for (name, value) in members.as_object().unwrap() {
            metadata[name] = value.clone();
        }
        metadata
    }

    pub(super) fn set(&self, path: &str, reply: Reply) {
        self.answers.lock().unwrap().insert(path.to_owned(), reply);
    }

    pub(super) fn set_keys(&self, kids: &[&str]) {
        self.set("/jwks", Reply::of(200, jwks(kids)));
    }

    pub(super) fn hits(&self, path: &str) -> usize {
        self.seen.lock().unwrap().iter().filter(|seen| seen.path == path).count()
    }

    /// The last request for `path`.
    pub(super) fn last(&self, path: &str) -> Seen {
        self.seen.lock().unwrap().iter().rfind(|seen| seen.path == path).cloned().unwrap()
    }
}

impl Drop for Op {
    fn drop(&mut self) {
        if let Some(listening) = &self.listening {
            listening.abort();
        }
    }
}

/// A set of Ed25519 keys with these ids, new ones each time.
pub(super) fn jwks(kids: &[&str]) -> String {
    let key = |kid: &&str| SigningKey::generate(Alg::EdDSA, (*kid).to_owned()).unwrap().public_jwk();
    json!({ "keys": kids.iter().map(key).collect::<Vec<_>>() }).to_string()
}

async fn serve(
    mut stream: TcpStream,
    answers: Arc<Mutex<HashMap<String, Reply>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
) -> Option<()> {
    let request = read(&mut stream).await?;
    let path = request.path.clone();
    seen.lock().unwrap().push(request);
    let reply = answers.lock().unwrap().get(&path).cloned().unwrap_or(Reply::of(404, "{}"));
    match reply {
        Reply::Answer { status, headers, body } => {
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n"
            );
            stream.write_all(head.as_bytes()).await.ok()?;
            stream.write_all(&body).await.ok()?;
        }
        Reply::Cut => stream.write_all(b"HTTP/1.1 200 X\r\ncontent-length: 90\r\n\r\n{\"a\":").await.ok()?,
        Reply::Drip => {
            stream.write_all(b"HTTP/1.1 200 X\r\ncontent-length: 90\r\n\r\n").await.ok()?;
            loop {
                stream.write_all(b" ").await.ok()?;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    stream.shutdown().await.ok()
}

async fn read(stream: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                let path = head.split(' ').nth(1)?.to_owned();
                return Some(Seen { path, head: head.to_owned(), body: body.to_owned() });
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}
