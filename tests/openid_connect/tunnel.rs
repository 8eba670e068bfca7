//! Calls to a provider at https through a forward proxy: a tunnel to the provider's name, in which the proxy reads nothing.

use std::{
    net::Ipv4Addr,
    sync::{Arc, Mutex},
};

use rustls::ServerConfig;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

use super::{CLIENT, guarded, login};
use crate::support::{
    Provider,
    http1::Stream,
    process::locked,
    server::listener,
    shared,
    tls::{self, Authority},
};

/// A forward proxy that knows CONNECT and absolute targets, asks for credentials, and keeps what it is sent in the clear.
struct Proxy {
    scheme: &'static str,
    port: u16,
    heads: Arc<Mutex<Vec<String>>>,
}

const CREDENTIALS: &str = "Basic dXNlcjpwYXNzd29yZA==";

impl Proxy {
    /// In the clear, or over TLS.
    async fn start(tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = listener();
        listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let port = listener.local_addr().unwrap().port();
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let (kept, acceptor) = (Arc::clone(&heads), tls.map(TlsAcceptor::from));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (kept, acceptor) = (Arc::clone(&kept), acceptor.clone());
                tokio::spawn(async move {
                    match acceptor {
                        None => serve(Box::new(client), &kept).await,
                        Some(acceptor) => match acceptor.accept(client).await {
                            Ok(client) => serve(Box::new(client), &kept).await,
                            Err(_) => None,
                        },
                    }
                });
            }
        });
        Self { scheme, port, heads }
    }

    fn heads(&self) -> Vec<String> {
        locked(&self.heads).clone()
    }

    fn url(&self) -> String {
        format!("{}://localhost:{}", self.scheme, self.port)
    }
}

async fn serve(mut client: Box<dyn Stream>, heads: &Mutex<Vec<String>>) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.ok()?);
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    locked(heads).push(text.clone());
    let mut words = text.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    let place = match method {
        "CONNECT" => target,
        _ => target.strip_prefix("http://")?.split('/').next()?,
    };
    let port: u16 = place.strip_prefix("localhost:")?.parse().ok()?;
    let wanted = format!("proxy-authorization: {}", CREDENTIALS.to_ascii_lowercase());
    if !text.to_ascii_lowercase().contains(&wanted) {
        let refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n";
        return client.write_all(refusal).await.ok();
    }
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok()?;
    match method {
        "CONNECT" => client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.ok()?,
        // As a target of its own; the absolute form is taken by all servers (RFC 9112 section 3.2.2).
        _ => {
            let own = text.replacen(&format!("http://{place}"), "", 1);
            server.write_all(own.as_bytes()).await.ok()?;
        }
    }
    copy_bidirectional(&mut client, &mut server).await.ok().map(drop)
}

#[tokio::test]
async fn a_provider_at_https_is_called_through_a_tunnel_and_in_no_other_way() {
    let (gate, proxy) = (shared(), Proxy::start(None).await);
    let identity = Authority::development(&gate).issue(&["localhost"], |_| ());
    let provider = Provider::over_tls(CLIENT, tls::server(&identity));
    let through =
        |credentials: &str| json!({"https_proxy": proxy.url(), "https_proxy_authorization": credentials});
    let tokens_only = |credentials: &str| json!({"bearer_only": true, "use_jwks": true, "proxy_opts": through(credentials)});
    let api = guarded(shared(), &provider, tokens_only(CREDENTIALS)).await;
    let token = provider.access_token(&json!({}));
    assert_eq!(api.with_token(&token).await.status, 200);
    let app = login::site(shared(), &provider, json!({"proxy_opts": through(CREDENTIALS)})).await;
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

#[tokio::test]
async fn a_proxy_at_https_is_spoken_to_over_tls_for_providers_of_both_schemes() {
    let gate = shared();
    let authority = Authority::development(&gate);
    let identity = authority.issue(&["localhost"], |_| ());
    let proxy = Proxy::start(Some(tls::server(&identity))).await;
    let over_tls = Provider::over_tls(CLIENT, tls::server(&authority.issue(&["localhost"], |_| ())));
    // One request on each connection: this proxy has a target for a connection, not for a request.
    let tokens_only = |proxy: &Proxy, credentials: &str| {
        let through = json!({"https_proxy": proxy.url(), "https_proxy_authorization": credentials,
            "http_proxy": proxy.url(), "http_proxy_authorization": credentials});
        json!({"bearer_only": true, "use_jwks": true, "keepalive": "no", "proxy_opts": through})
    };
    for (provider, first) in
        [(over_tls, "CONNECT localhost:"), (Provider::start(CLIENT), "GET http://localhost:")]
    {
        let before = proxy.heads().len();
        let token = provider.access_token(&json!({}));
        let api = guarded(shared(), &provider, tokens_only(&proxy, CREDENTIALS)).await;
        assert_eq!(api.with_token(&token).await.status, 200, "{first}");
        let heads = proxy.heads().split_off(before);
        assert!(!heads.is_empty() && heads.iter().all(|head| head.starts_with(first)), "{heads:?}");
        assert!(provider.connections() <= heads.len(), "somebody went round the proxy");

        // One that cannot show who it is is told nothing: neither credentials nor where the way leads.
        for (what, strange) in [
            ("of no authority", Authority::new().issue(&["localhost"], |_| ())),
            ("of another name", authority.issue(&["other.example"], |_| ())),
        ] {
            let strange = Proxy::start(Some(tls::server(&strange))).await;
            let (asked, api) = (provider.connections(), tokens_only(&strange, CREDENTIALS));
            let api = guarded(shared(), &provider, api).await;
            assert_eq!(api.with_token(&token).await.status, 503, "{what}");
            assert_eq!((strange.heads().len(), provider.connections()), (0, asked), "{what}");
            // Unless the route asks for no certificate at all.
            let mut blind = tokens_only(&strange, CREDENTIALS);
            blind["ssl_verify"] = json!(false);
            let api = guarded(shared(), &provider, blind).await;
            assert_eq!(api.with_token(&token).await.status, 200, "{what}");
        }
        let refused = guarded(shared(), &provider, tokens_only(&proxy, "Basic d3Jvbmc6d3Jvbmc=")).await;
        assert_eq!((refused.with_token(&token).await.status, refused.reached()), (503, 0));
    }
    // A proxy in the clear is not taken for one with TLS, nor the other way round.
    let plain = Proxy::start(None).await;
    let lying = Proxy { scheme: "https", port: plain.port, heads: Arc::clone(&plain.heads) };
    let provider = Provider::start(CLIENT);
    let api = guarded(shared(), &provider, tokens_only(&lying, CREDENTIALS)).await;
    assert_eq!(api.with_token(&provider.access_token(&json!({}))).await.status, 503);
    assert!(!gate.output().contains("d3Jvbmc6d3Jvbmc="), "the credentials are in no log");
}
