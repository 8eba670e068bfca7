//! What stands around the gate: an engine of one core, a provider, and an upstream that says what it was sent.

use std::sync::{Arc, Mutex};

use base::Clock;
use gateway::{
    TlsAcceptance,
    engine::{self, EngineConfig, Limits, ListenerSpec, Running, Traffic},
};
use loopback::Reserved;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::World;

pub(super) struct Engine {
    reserved: Reserved,
    running: Option<Running>,
}

impl Engine {
    pub(super) fn start(world: &World) -> Self {
        let reserved = Reserved::any().unwrap();
        let config = EngineConfig {
            traffic: Traffic::of(1),
            limits: Limits::default(),
            trusted_proxies: Vec::new(),
            access_log: None,
            tls: TlsAcceptance::new(None, None).unwrap(),
            clock: Clock::system(),
            live: Arc::clone(&world.live),
            publisher: Arc::clone(&world.publisher),
        };
        let spec = ListenerSpec {
            address: reserved.address(),
            tls: false,
            http2: true,
            client_certificates: false,
            proxy_protocol: false,
        };
        Self { reserved, running: Some(engine::start(config, &[spec]).unwrap()) }
    }

    pub(super) async fn get(&self, target: &str, headers: &[(&str, &str)]) -> String {
        self.ask("GET", target, headers).await
    }

    pub(super) async fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> String {
        self.send(method, target, headers, "").await
    }

    /// The whole answer, as it came.
    pub(super) async fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> String {
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let mut stream = TcpStream::connect(self.reserved.address()).await.unwrap();
        let length = match body.len() {
            0 => String::new(),
            length => format!("content-length: {length}\r\n"),
        };
        let request = format!(
            "{method} {target} HTTP/1.1\r\nhost: gate.example\r\nconnection: close\r\n{length}{headers}\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.drain(std::time::Duration::ZERO);
        }
    }
}

/// Reads the head of a request, and its body by its length.
async fn read(stream: &mut TcpStream) -> Option<(String, String)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let lower = head.to_ascii_lowercase();
            let length = lower
                .lines()
                .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())
                .unwrap_or(0);
            if bytes.len() >= end + 4 + length {
                return Some((head, String::from_utf8_lossy(&bytes[end + 4..]).into_owned()));
            }
        }
        let mut more = [0; 4096];
        let read = stream.read(&mut more).await.ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&more[..read]);
    }
}

async fn answer(stream: &mut TcpStream, status: u16, body: &str) {
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
}

/// Answers with the head it was sent.
pub(super) struct Echo {
    pub(super) url: String,
}

impl Echo {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                if let Some((head, body)) = read(&mut stream).await {
                    answer(&mut stream, 200, &format!("{head}\r\n{body}")).await;
                }
            }
        });
        Self { url }
    }
}

/// A provider that knows one client, `app` with `secret`.
pub(super) struct Idp {
    pub(super) url: String,
    reserved: Reserved,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Idp {
    pub(super) async fn start() -> Self {
        let mut idp = Self::down().await;
        idp.up().await;
        idp
    }

    /// Not listening yet.
    pub(super) async fn down() -> Self {
        let reserved = Reserved::any().unwrap();
        Self { url: format!("http://{}", reserved.address()), reserved, asked: Arc::default() }
    }

    pub(super) async fn up(&mut self) {
        let listener = TcpListener::bind(self.reserved.address()).await.unwrap();
        let (url, asked) = (self.url.clone(), Arc::clone(&self.asked));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let Some((head, body)) = read(&mut stream).await else { continue };
                if head.starts_with("POST /token ") {
                    let known = head.contains("Basic YXBwOnNlY3JldA==");
                    asked.lock().unwrap().push(body);
                    match known {
                        true => {
                            let token = json!({"access_token": "token-1", "token_type": "Bearer", "expires_in": 3600});
                            answer(&mut stream, 200, &token.to_string()).await;
                        }
                        false => {
                            answer(&mut stream, 401, &json!({"error": "invalid_client"}).to_string()).await
                        }
                    }
                    continue;
                }
                let metadata = json!({
                    "issuer": url, "authorization_endpoint": format!("{url}/authorize"), "token_endpoint": format!("{url}/token"),
                    "jwks_uri": format!("{url}/jwks"),
                });
                let document = if head.starts_with("GET /jwks ") { json!({"keys": []}) } else { metadata };
                answer(&mut stream, 200, &document.to_string()).await;
            }
        });
    }

    /// The bodies of the token requests.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}
