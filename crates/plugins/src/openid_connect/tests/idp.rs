//! A provider that does what a test tells it to, and remembers what it was asked.

use std::{
    collections::HashMap,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use base::{Clock, Random};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use jose::{Alg, SigningKey, half_hash};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use url::Url;

pub(super) const CLIENT: &str = "client";
pub(super) const SECRET: &str = "a client secret of more than 32 bytes";

/// Changes a JSON value that the provider is about to send or sign.
type Change = Box<dyn Fn(&mut Value) + Send>;

/// One answer of an endpoint.
#[derive(Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
    /// What is waited before it is sent.
    pub(super) after: Duration,
}

impl Answer {
    pub(super) fn new(status: u16, body: impl ToString) -> Self {
        Self { status, body: body.to_string(), after: Duration::ZERO }
    }
}

/// What the provider does otherwise than a good one.
#[derive(Default)]
pub(super) struct Script {
    pub(super) metadata: Option<Change>,
    pub(super) id_token: Option<Change>,
    pub(super) token_response: Option<Change>,
    /// By path: this answer in place of its own.
    pub(super) answers: HashMap<&'static str, Answer>,
    /// Signs with this in place of its own key.
    pub(super) key: Option<Arc<SigningKey>>,
    /// Keys that it publishes beside its own.
    pub(super) published: Vec<Value>,
}

struct Login {
    nonce: String,
    challenge: String,
    redirect_uri: String,
}

/// One request to the provider.
#[derive(Clone)]
pub(super) struct Hit {
    pub(super) path: String,
    pub(super) form: HashMap<String, String>,
    pub(super) headers: HeaderMap,
}

pub(super) struct State {
    pub(super) url: String,
    clock: Clock,
    pub(super) script: Mutex<Script>,
    hits: Mutex<Vec<Hit>>,
    codes: Mutex<HashMap<String, Login>>,
    serial: AtomicU64,
}

#[derive(Clone)]
pub(super) struct Idp(pub(super) Arc<State>);

/// One key for all tests of the process: making it takes time.
static KEY: LazyLock<Arc<SigningKey>> = LazyLock::new(|| Arc::new(key("1")));

pub(super) fn key(kid: &str) -> SigningKey {
    SigningKey::generate(Alg::ES256, kid.to_owned()).unwrap()
}

impl Idp {
    pub(super) async fn start(clock: &Clock) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = State {
            url,
            clock: clock.clone(),
            script: Mutex::default(),
            hits: Mutex::default(),
            codes: Mutex::default(),
            serial: AtomicU64::new(1),
        };
        let idp = Self(Arc::new(state));
        let accepting = idp.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let idp = accepting.clone();
                let service = service_fn(move |request| idp.clone().serve(request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        idp
    }

    pub(super) fn discovery(&self) -> String {
        format!("{}/.well-known/openid-configuration", self.0.url)
    }

    pub(super) fn issuer(&self) -> String {
        format!("{}/", self.0.url)
    }

    /// Changes what it does from now on.
    pub(super) fn script(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.0.script.lock().unwrap());
    }

    pub(super) fn answer(&self, path: &'static str, status: u16, body: impl ToString) {
        self.script(|script| drop(script.answers.insert(path, Answer::new(status, body))));
    }

    pub(super) fn hits(&self, path: &str) -> Vec<Hit> {
        self.0.hits.lock().unwrap().iter().filter(|hit| hit.path == path).cloned().collect()
    }

    /// What the login page does in the end: the callback's URL for the authorization request at `location`.
    pub(super) fn authorize(&self, location: &str) -> String {
        let url = Url::parse(location).unwrap();
        assert!(location.starts_with(&format!("{}/authorize?", self.0.url)), "{location}");
        let query: HashMap<String, String> = url.query_pairs().into_owned().collect();
        assert_eq!((query["response_type"].as_str(), query["client_id"].as_str()), ("code", CLIENT));
        assert_eq!(query["code_challenge_method"], "S256");
        let code = format!("code-{}", self.0.serial.fetch_add(1, Ordering::Relaxed));
        let login = Login {
            nonce: query["nonce"].clone(),
            challenge: query["code_challenge"].clone(),
            redirect_uri: query["redirect_uri"].clone(),
        };
        let mut callback = Url::parse(&login.redirect_uri).unwrap();
        callback.query_pairs_mut().append_pair("code", &code).append_pair("state", &query["state"]);
        self.0.codes.lock().unwrap().insert(code, login);
        callback.into()
    }

    /// An access token with these claims beside the usual ones.
    pub(super) fn token(&self, claims: Value) -> String {
        let now = self.0.clock.now().secs();
        let mut token = json!({
            "iss": self.issuer(), "sub": "user", "aud": "https://api.example/", "iat": now, "exp": now + 3600,
            "scope": "openid read:things",
        });
        let members = claims.as_object().unwrap().clone();
        token.as_object_mut().unwrap().extend(members);
        token.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        self.sign("at+jwt", &token)
    }

    pub(super) fn sign(&self, typ: &str, claims: &Value) -> String {
        let key = self.0.script.lock().unwrap().key.clone().unwrap_or_else(|| KEY.clone());
        key.sign(Some(typ), claims.to_string().as_bytes()).unwrap()
    }

    fn jwks(&self) -> Value {
        let mut keys = vec![KEY.public_jwk()];
        keys.extend(self.0.script.lock().unwrap().published.iter().cloned());
        json!({ "keys": keys })
    }

    fn metadata(&self) -> Value {
        let url = &self.0.url;
        let mut metadata = json!({
            "issuer": self.issuer(),
            "authorization_endpoint": format!("{url}/authorize"),
            "token_endpoint": format!("{url}/token"),
            "userinfo_endpoint": format!("{url}/userinfo"),
            "introspection_endpoint": format!("{url}/introspect"),
            "revocation_endpoint": format!("{url}/revoke"),
            "end_session_endpoint": format!("{url}/logout"),
            "jwks_uri": format!("{url}/jwks"),
        });
        if let Some(change) = &self.0.script.lock().unwrap().metadata {
            change(&mut metadata);
        }
        metadata
    }

    async fn serve(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let form: HashMap<String, String> = url::form_urlencoded::parse(&body).into_owned().collect();
        let path = parts.uri.path().to_owned();
        self.0.hits.lock().unwrap().push(Hit {
            path: path.clone(),
            form: form.clone(),
            headers: parts.headers.clone(),
        });
        let scripted = self.0.script.lock().unwrap().answers.get(path.as_str()).cloned();
        let answer = match scripted {
            Some(answer) => answer,
            None => self.own_answer(&path, &form),
        };
        tokio::time::sleep(answer.after).await;
        let mut response = Response::new(Full::new(Bytes::from(answer.body)));
        *response.status_mut() = StatusCode::from_u16(answer.status).unwrap();
        response.headers_mut().insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
        Ok(response)
    }

    fn own_answer(&self, path: &str, form: &HashMap<String, String>) -> Answer {
        match path {
            "/.well-known/openid-configuration" => Answer::new(200, self.metadata()),
            "/jwks" => Answer::new(200, self.jwks()),
            "/userinfo" => Answer::new(200, json!({"sub": "user", "name": "Ünï \"cödé\"\r\n"})),
            "/introspect" => Answer::new(200, json!({"active": false})),
            "/revoke" => Answer::new(200, ""),
            "/token" => self.tokens(form),
            _ => Answer::new(404, ""),
        }
    }

    fn tokens(&self, form: &HashMap<String, String>) -> Answer {
        let refused = || Answer::new(400, json!({"error": "invalid_grant", "error_description": "no"}));
        let nonce = match form["grant_type"].as_str() {
            "authorization_code" => {
                let login = self.0.codes.lock().unwrap().remove(&form["code"]);
                let Some(login) = login else { return refused() };
                let verifier = oauth::Verifier::parse(&form["code_verifier"]).unwrap();
                if verifier.challenge().as_str() != login.challenge
                    || form["redirect_uri"] != login.redirect_uri
                {
                    return refused();
                }
                Some(login.nonce)
            }
            "refresh_token" => None,
            other => panic!("{other}"),
        };
        let number = self.0.serial.fetch_add(1, Ordering::Relaxed);
        let now = self.0.clock.now().secs();
        let access_token = format!("access-{number}");
        let mut claims = json!({
            "iss": self.issuer(), "sub": "user", "aud": CLIENT, "iat": now, "exp": now + 3600, "name": "User",
            "at_hash": half_hash(Alg::ES256, &access_token),
        });
        if let Some(nonce) = nonce {
            claims["nonce"] = json!(nonce);
        }
        if let Some(change) = &self.0.script.lock().unwrap().id_token {
            change(&mut claims);
        }
        let mut response = json!({
            "access_token": access_token, "token_type": "Bearer", "expires_in": 600,
            "refresh_token": format!("refresh-{number}"), "id_token": self.sign("JWT", &claims),
            "scope": "openid profile",
        });
        if let Some(change) = &self.0.script.lock().unwrap().token_response {
            change(&mut response);
        }
        Answer::new(200, response)
    }
}

pub(super) fn random() -> Random {
    Random::system()
}
