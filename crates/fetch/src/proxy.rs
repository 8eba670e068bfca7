use std::{fmt, io};

use base::Secret;
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderValue, StatusCode, header};
use http_body_util::Empty;
use hyper::{body::Bytes, client::conn::http1, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use url::{Host, Url};

use crate::{FetchError, guard::Target};

/// Bytes that are buffered for a proxy's answer to CONNECT.
const MAX_HEAD: usize = 16 * 1024;

/// The ways out through forward proxies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For what is fetched over http: the request goes to it in absolute form (RFC 9112 section 3.2.2).
    pub http: Option<ProxyServer>,
    /// For what is fetched over https: through a tunnel (CONNECT, RFC 9110 section 9.3.6), so that it sees names alone.
    pub https: Option<ProxyServer>,
    /// Hosts that are fetched directly, in lower case: a name stands for itself and all below it, `*` for all.
    pub except: Vec<String>,
}

/// A forward proxy.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyServer {
    /// Whether it is spoken to over TLS.
    tls: bool,
    pub(crate) host: Host<String>,
    pub(crate) port: u16,
    authorization: Option<Secret<String>>,
}

/// Why a text is no proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// Neither `http://host:port` nor `https://host:port`.
    #[error("it is neither http://host:port nor https://host:port")]
    Url,
    /// A header value cannot hold these credentials.
    #[error("its credentials cannot stand in a header")]
    Credentials,
}

impl Proxies {
    /// The same proxy for both schemes.
    pub fn all(server: &ProxyServer, except: Vec<String>) -> Self {
        Self { http: Some(server.clone()), https: Some(server.clone()), except }
    }

    /// Reads a list of hosts as `no_proxy` has it: separated by commas, with or without a dot in front.
    pub fn exceptions(list: &str) -> Vec<String> {
        let host =
            |text: &str| text.trim().trim_start_matches("*.").trim_start_matches('.').to_ascii_lowercase();
        list.split(',').map(host).filter(|host| !host.is_empty()).collect()
    }

    /// The proxy on the way to `target`.
    pub(crate) fn way_to(&self, target: &Target) -> Option<&ProxyServer> {
        let server = if target.tls { &self.https } else { &self.http };
        server.as_ref().filter(|_| !self.is_excepted(&target.host))
    }

    fn is_excepted(&self, host: &Host<String>) -> bool {
        let host = host.to_string().to_ascii_lowercase();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        self.except.iter().any(|except| {
            let below = || host.strip_suffix(except.as_str()).is_some_and(|front| front.ends_with('.'));
            except == "*" || except == host || below()
        })
    }
}

impl ProxyServer {
    /// Reads `http://host:port` or `https://host:port`; credentials before the host make an `authorization`, unless one is given.
    ///
    /// # Errors
    ///
    /// See [`ProxyError`].
    pub fn parse(url: &str, authorization: Option<&Secret<String>>) -> Result<Self, ProxyError> {
        let url = Url::parse(url).map_err(|_| ProxyError::Url)?;
        let bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
        let tls = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err(ProxyError::Url),
        };
        if !bare {
            return Err(ProxyError::Url);
        }
        let host = url.host().ok_or(ProxyError::Url)?.to_owned();
        let port = url.port_or_known_default().ok_or(ProxyError::Url)?;
        let own = || {
            let plain =
                |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
            let (user, password) = (plain(url.username()), plain(url.password().unwrap_or_default()));
            (!user.is_empty())
                .then(|| Secret::new(format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))))
        };
        let authorization = authorization.cloned().or_else(own);
        let sound = |text: &Secret<String>| HeaderValue::from_str(text.expose()).is_ok();
        if !authorization.as_ref().is_none_or(sound) {
            return Err(ProxyError::Credentials);
        }
        Ok(Self { tls, host, port, authorization })
    }

    /// The credentials as a header value that no debug output shows.
    pub(crate) fn authorization(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::from_str(self.authorization.as_ref()?.expose()).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Its address as a URL, for the guard.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}:{}/", self.host, self.port)
    }

    /// A tunnel to `target` over a connection to this proxy.
    pub(crate) async fn tunnel<S>(&self, stream: S, target: &Target) -> Result<TokioIo<Upgraded>, FetchError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let broke = |_| FetchError::Protocol("the proxy ended the connection");
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(MAX_HEAD)
            .handshake::<_, Empty<Bytes>>(TokioIo::new(stream))
            .await
            .map_err(broke)?;
        tokio::spawn(connection.with_upgrades());
        let authority = format!("{}:{}", target.host, target.port);
        let mut request = http::Request::connect(authority.as_str())
            .header(header::HOST, authority.as_str())
            .body(Empty::new())
            .map_err(|_| FetchError::Refused(crate::Refusal::Url))?;
        if let Some(authorization) = self.authorization() {
            request.headers_mut().insert(header::PROXY_AUTHORIZATION, authorization);
        }
        let response = sender.send_request(request).await.map_err(broke)?;
        match response.status() {
            StatusCode::OK => hyper::upgrade::on(response).await.map(TokioIo::new).map_err(broke),
            status => Err(FetchError::Proxy { host: self.host.to_string(), status: status.as_u16() }),
        }
    }

    pub(crate) fn failed(&self, kind: io::ErrorKind) -> FetchError {
        FetchError::Connect { host: self.host.to_string(), kind }
    }
}

impl fmt::Debug for ProxyServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.url())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Policy, guard::Guard};

    #[test]
    fn hosts_without_a_proxy_are_named_with_all_that_is_below_them() {
        let guard = Guard::new(&Policy { allow_private: true, ..Policy::default() }).unwrap();
        let server = ProxyServer::parse("http://proxy:3128", None).unwrap();
        let proxies =
            Proxies::all(&server, Proxies::exceptions("localhost, .corp.example,*.Other.example,10.0.0.1,,"));
        let direct = |host: &str| {
            let target = guard.target(&format!("https://{host}/")).unwrap();
            proxies.way_to(&target).is_none()
        };
        for host in ["localhost", "corp.example", "a.b.corp.example", "x.other.example", "10.0.0.1"] {
            assert!(direct(host), "{host}");
        }
        for host in ["notcorp.example", "corp.example.evil", "example", "10.0.0.2"] {
            assert!(!direct(host), "{host}");
        }
        let none = Proxies::all(&server, Proxies::exceptions("*"));
        assert!(none.way_to(&guard.target("https://a.example/").unwrap()).is_none());
        let only_http = Proxies { http: Some(server), ..Proxies::default() };
        assert!(only_http.way_to(&guard.target("https://a.example/").unwrap()).is_none());
    }

    #[test]
    fn a_proxy_is_a_bare_url_and_its_credentials_are_not_shown() {
        let server = ProxyServer::parse("http://us%40er:canary@proxy:3128/", None).unwrap();
        assert_eq!(server.authorization().unwrap(), "Basic dXNAZXI6Y2FuYXJ5");
        assert_eq!(format!("{server:?} {:?}", server.authorization()), "http://proxy:3128/ Some(Sensitive)");
        let named = Secret::new("Basic named".to_owned());
        let server = ProxyServer::parse("http://u:p@proxy", Some(&named)).unwrap();
        assert_eq!(
            (server.authorization().unwrap(), server.port),
            (HeaderValue::from_static("Basic named"), 80)
        );
        let secure = ProxyServer::parse("https://u:canary@proxy", None).unwrap();
        assert_eq!((format!("{secure:?}").as_str(), secure.tls), ("https://proxy:443/", true));
        for bad in
            ["https://p/x", "https://", "socks5://proxy:1", "proxy:1", "http://", "http://p/x", "http://p/?x"]
        {
            assert_eq!(ProxyServer::parse(bad, None).unwrap_err(), ProxyError::Url, "{bad}");
        }
        let line = Secret::new("Basic a\r\nX: y".to_owned());
        assert_eq!(ProxyServer::parse("http://p", Some(&line)).unwrap_err(), ProxyError::Credentials);
    }
}
