//! A provider with discovery, keys and a token endpoint that knows three clients.

use std::{
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use base::Clock;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use jose::{Alg, SigningKey};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// One key for all tests of the process: making it takes time.
static KEY: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::generate(Alg::ES256, "1".to_owned()).unwrap());
static FOREIGN: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::generate(Alg::ES256, "1".to_owned()).unwrap());

const CLIENTS: [(&str, &str); 4] =
    [("app", "secret"), ("app2", "secret"), ("other", "secret2"), ("new", "secret3")];

/// One request to the token endpoint.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) authorization: String,
    pub(super) body: String,
}

#[derive(Default)]
struct Script {
    /// This answer in place of its own.
    answer: Option<(u16, String)>,
    /// Opaque tokens, with these members beside them.
    opaque: Option<Value>,
    undiscoverable: bool,
    delay: Duration,
    asked: Vec<Asked>,
    tokens: Vec<String>,
}

struct State {
    url: String,
    clock: Clock,
    script: Mutex<Script>,
}

#[derive(Clone)]
pub(super) struct Op(Arc<State>);

pub(super) fn basic(id: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
}

impl Op {
    pub(super) async fn start(clock: &Clock) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let op = Self(Arc::new(State { url, clock: clock.clone(), script: Mutex::default() }));
        let accepting = op.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let op = accepting.clone();
                let service = service_fn(move |request| op.clone().serve(request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        op
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.0.url)
    }

    /// Every answer of the token endpoint is this.
    pub(super) fn answer(&self, status: u16, body: &Value) {
        self.script().answer = Some((status, body.to_string()));
    }

    pub(super) fn recover(&self) {
        self.script().answer = None;
    }

    pub(super) fn opaque(&self, members: Value) {
        self.script().opaque = Some(members);
    }

    pub(super) fn slow(&self, delay: Duration) {
        self.script().delay = delay;
    }

    pub(super) fn discovery(&self, there: bool) {
        self.script().undiscoverable = !there;
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.script().asked.clone()
    }

    pub(super) fn last_token(&self) -> String {
        self.script().tokens.last().cloned().unwrap()
    }

    pub(super) fn sign(&self, claims: &Value) -> String {
        KEY.sign(Some("at+jwt"), claims.to_string().as_bytes()).unwrap()
    }

    /// Signed with a key that is not the provider's, under the same id.
    pub(super) fn foreign(claims: &Value) -> String {
        FOREIGN.sign(Some("at+jwt"), claims.to_string().as_bytes()).unwrap()
    }

    fn script(&self) -> std::sync::MutexGuard<'_, Script> {
        self.0.script.lock().unwrap()
    }

    async fn serve(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
        let (parts, body) = request.into_parts();
        let body = String::from_utf8(body.collect().await?.to_bytes().to_vec()).unwrap();
        let (status, answer) = match parts.uri.path() {
            "/.well-known/openid-configuration" if self.script().undiscoverable => (503, String::new()),
            "/.well-known/openid-configuration" => (200, self.metadata().to_string()),
            "/jwks" => (200, json!({"keys": [KEY.public_jwk()]}).to_string()),
            "/token" => {
                let value = parts.headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap());
                let authorization = value.unwrap_or_default().to_owned();
                self.script().asked.push(Asked { authorization: authorization.clone(), body });
                let delay = self.script().delay;
                tokio::time::sleep(delay).await;
                self.token(&authorization)
            }
            _ => (404, String::new()),
        };
        let mut response = Response::new(Full::new(Bytes::from(answer)));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        response.headers_mut().insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
        Ok(response)
    }

    fn token(&self, authorization: &str) -> (u16, String) {
        let mut script = self.script();
        if let Some(answer) = &script.answer {
            return answer.clone();
        }
        let Some((id, _)) = CLIENTS.iter().find(|(id, secret)| authorization == basic(id, secret)) else {
            return (401, json!({"error": "access_denied", "error_description": "Unauthorized"}).to_string());
        };
        let now = self.0.clock.now().secs();
        let number = script.tokens.len();
        let (token, mut answer) = match &script.opaque {
            Some(members) => (format!("opaque-{number}"), members.clone()),
            None => {
                let claims = json!({"iss": self.url("/"), "sub": format!("{id}@clients"), "aud": "https://example.com/",
                                    "iat": now, "exp": now + 3600, "jti": number});
                (self.sign(&claims), json!({"expires_in": 3600}))
            }
        };
        answer["access_token"] = json!(token);
        answer["token_type"] = json!("Bearer");
        script.tokens.push(token);
        (200, answer.to_string())
    }

    fn metadata(&self) -> Value {
        json!({
            "issuer": self.url("/"),
            "authorization_endpoint": self.url("/authorize"),
            "token_endpoint": self.url("/token"),
            "jwks_uri": self.url("/jwks"),
        })
    }
}
