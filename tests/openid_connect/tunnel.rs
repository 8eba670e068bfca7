//! Calls to a provider at https through a forward proxy: a tunnel to the provider's name, in which the proxy reads nothing.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::{Value, json};

use super::{CLIENT, guarded, login};
use crate::support::{
    Provider,
    process::locked,
    shared,
    tls::{self, Authority},
};

/// A forward proxy that knows CONNECT alone, asks for credentials, and keeps what it is sent in the clear.
struct Proxy {
    port: u16,
    heads: Arc<Mutex<Vec<String>>>,
}

const CREDENTIALS: &str = "Basic dXNlcjpwYXNzd29yZA==";

impl Proxy {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let kept = Arc::clone(&heads);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let kept = Arc::clone(&kept);
                thread::spawn(move || serve(client, &kept));
            }
        });
        Self { port, heads }
    }

    fn heads(&self) -> Vec<String> {
        locked(&self.heads).clone()
    }

    fn options(&self, credentials: &str) -> Value {
        json!({"https_proxy": format!("http://127.0.0.1:{}", self.port), "https_proxy_authorization": credentials})
    }
}

fn serve(mut client: TcpStream, heads: &Mutex<Vec<String>>) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        match client.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    locked(heads).push(head.clone());
    let mut words = head.split(' ');
    let (method, target) = (words.next(), words.next());
    let port =
        target.and_then(|target| target.strip_prefix("localhost:")).and_then(|port| port.parse::<u16>().ok());
    let (Some("CONNECT"), Some(port)) = (method, port) else {
        let _ = client.write_all(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n");
        return;
    };
    if !head
        .to_ascii_lowercase()
        .contains(&format!("proxy-authorization: {}", CREDENTIALS.to_ascii_lowercase()))
    {
        let _ = client.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n");
        return;
    }
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { return };
    if client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").is_err() {
        return;
    }
    let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    thread::spawn(move || {
        let _ = std::io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Write);
    });
    let (mut from_server, mut to_client) = (server, client);
    let _ = std::io::copy(&mut from_server, &mut to_client);
    let _ = to_client.shutdown(Shutdown::Both);
}

#[tokio::test]
async fn a_provider_at_https_is_called_through_a_tunnel_and_in_no_other_way() {
    let (gate, proxy) = (shared(), Proxy::start());
    let identity = Authority::development(&gate).issue(&["localhost"], |_| ());
    let provider = Provider::over_tls(CLIENT, tls::server(&identity));
    let tokens_only = |credentials: &str| json!({"bearer_only": true, "use_jwks": true, "proxy_opts": proxy.options(credentials)});
    let api = guarded(shared(), &provider, tokens_only(CREDENTIALS)).await;
    let token = provider.access_token(&json!({}));
    assert_eq!(api.with_token(&token).await.status, 200);
    let app = login::site(shared(), &provider, json!({"proxy_opts": proxy.options(CREDENTIALS)})).await;
    let browser = {
        // The browser itself goes to the provider directly, over TLS.
        let mut browser = crate::support::Browser::trusting(gate.authority());
        let page = browser.open(&app.url("first")).await;
        assert_eq!((page.status(), page.response.text().as_str()), (200, "ok"), "{page:?}");
        browser
    };
    assert!(browser.cookie("session").is_some());
    let heads = proxy.heads();
    let port = provider.issuer().trim_end_matches('/').rsplit(':').next().unwrap().to_owned();
    assert!(!heads.is_empty());
    for head in &heads {
        let mut lines = head.lines();
        assert_eq!(lines.next(), Some(format!("CONNECT localhost:{port} HTTP/1.1").as_str()), "{head}");
        assert!(
            !head.contains("code") && !head.contains("Bearer"),
            "the proxy is shown a name alone: {head}"
        );
    }
    let by_browser = 1;
    assert!(
        provider.connections() <= heads.len() + by_browser,
        "{} connections, {} tunnels: somebody went round the proxy",
        provider.connections(),
        heads.len()
    );
    assert_eq!(provider.hits("/token").len(), 1);

    let asked = provider.connections();
    let refused = guarded(shared(), &provider, tokens_only("Basic d3Jvbmc6d3Jvbmc=")).await;
    let answer = refused.with_token(&token).await;
    assert_eq!((answer.status, refused.reached()), (503, 0), "a proxy that says no: {answer:?}");
    assert_eq!(provider.connections(), asked, "nobody goes round it");
    assert!(!gate.output().contains("d3Jvbmc6d3Jvbmc="), "the credentials are in no log");
}
