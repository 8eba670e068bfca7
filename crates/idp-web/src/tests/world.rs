//! A provider with its store in a file of its own, and browsers that talk to it.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock},
};

use axum::{
    Router,
    body::Body,
    extract::ConnectInfo,
    http::{HeaderMap, Method, Request, StatusCode, header},
};
use base::{Clock, Keyring, Random, Secret, UnixMillis};
use base64::{Engine, engine::general_purpose::STANDARD};
use http_body_util::BodyExt;
use idp::{
    Call, ClientCertificate, Exchange, Hashing, Idp, Mail, Mailer, Outbound, OutboundError, Parts,
    PasswordHasher, Reply, model::Client, repository::Page, seed,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;

use crate::{IdpState, PeerCertificate, router};

pub(super) const HTTP: &str = "localhost:9400";
pub(super) const HTTPS: &str = "localhost:9401";
pub(super) const CALLBACK: &str = "http://localhost:9080/callback";
pub(super) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub(super) const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// When tests begin.
const START: UnixMillis = UnixMillis::from_secs(1_800_000_000);

/// A provider of one test.
pub(super) struct World {
    pub(super) router: Router,
    pub(super) idp: Arc<Idp>,
    pub(super) clock: Clock,
    pub(super) seeded: seed::DevCredentials,
    pub(super) network: Arc<Network>,
    outbox: Arc<Outbox>,
    _directory: TempDir,
}

/// What lies at the addresses that the provider asks, what it asked, and what it told.
#[derive(Default)]
pub(super) struct Network {
    documents: Mutex<BTreeMap<String, String>>,
    asked: Mutex<Vec<String>>,
    posted: Mutex<Vec<(String, String)>>,
    refusals: Mutex<BTreeMap<String, u16>>,
    told: Mutex<Vec<Told>>,
    arrived: tokio::sync::Notify,
}

/// URL, headers and body of a message.
pub(super) type Told = (String, BTreeMap<String, String>, Vec<u8>);

impl Network {
    /// Puts `body` at `url`.
    pub(super) fn publish(&self, url: &str, body: &str) {
        self.documents.lock().unwrap().insert(url.to_owned(), body.to_owned());
    }

    /// Answers whatever is sent to `url` with `status`.
    pub(super) fn refuse(&self, url: &str, status: u16) {
        self.refusals.lock().unwrap().insert(url.to_owned(), status);
    }

    /// What was posted since this was asked last, with where.
    pub(super) fn posted(&self) -> Vec<(String, String)> {
        std::mem::take(&mut *self.posted.lock().unwrap())
    }

    /// The addresses that were asked, in order.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// The last message that somebody is told.
    pub(super) async fn told(&self) -> Told {
        loop {
            if let Some(told) = self.told.lock().unwrap().pop() {
                return told;
            }
            self.arrived.notified().await;
        }
    }
}

impl Outbound for Network {
    fn permits(&self, url: &str) -> Result<(), OutboundError> {
        // One private network for all.
        if url.contains("//169.254.") { Err(OutboundError("refused".to_owned())) } else { Ok(()) }
    }

    fn send<'a>(&'a self, call: Call<'a>) -> Exchange<'a> {
        self.asked.lock().unwrap().push(call.url.to_owned());
        if let Some(body) = call.body {
            let body = String::from_utf8(body.to_vec()).unwrap();
            self.posted.lock().unwrap().push((call.url.to_owned(), body));
        }
        let status = self.refusals.lock().unwrap().get(call.url).copied();
        if let Some(status) = status {
            return Box::pin(async move { Ok(Reply { status, body: Vec::new() }) });
        }
        let found = self.documents.lock().unwrap().get(call.url).cloned();
        Box::pin(async move {
            if let Some(body) = call.body {
                let headers = call.headers.iter();
                let headers =
                    headers.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
                self.told.lock().unwrap().push((call.url.to_owned(), headers, body.to_vec()));
                self.arrived.notify_one();
                // Forms are logout tokens, which need somebody who takes them; everything else is taken.
                let form = call.headers.iter().any(|(_, value)| value.contains("form-urlencoded"));
                if form && found.is_none() {
                    return Err(OutboundError("nobody answers".to_owned()));
                }
                return Ok(Reply { status: 204, body: Vec::new() });
            }
            match found {
                Some(body) => Ok(Reply { status: 200, body: body.into_bytes() }),
                None => Err(OutboundError("nobody answers".to_owned())),
            }
        })
    }
}

/// The mail that the provider sent.
#[derive(Default)]
struct Outbox(Mutex<Vec<Mail>>);

impl Mailer for Outbox {
    fn take(&self, mail: Mail) {
        self.0.lock().unwrap().push(mail);
    }
}

/// What all tests start from: making keys and demo data takes too long to do it for each.
struct Template {
    file: PathBuf,
    keyring: String,
    seeded: seed::DevCredentials,
    _directory: TempDir,
}

impl World {
    pub(super) async fn new() -> Self {
        static TEMPLATE: OnceLock<Template> = OnceLock::new();
        let template = TEMPLATE.get_or_init(|| {
            let made = std::thread::spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(make_template())
            });
            made.join().unwrap()
        });
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("identity.db");
        copy(&template.file, &file);
        let clock = Clock::fixed(START);
        let store = open(&file, &template.keyring).await;
        let network = Arc::new(Network::default());
        let keyring = Keyring::parse(&template.keyring).unwrap();
        let outbox = Arc::new(Outbox::default());
        let idp = Arc::new(build(store, keyring, clock.clone(), network.clone(), outbox.clone()));
        let router = router(IdpState::new(idp.clone(), clock.clone()).for_development(true));
        let seeded = template.seeded.clone();
        Self { router, idp, clock, seeded, network, outbox, _directory: directory }
    }

    /// The mail that the provider sent, the newest last.
    pub(super) fn mails(&self) -> Vec<Mail> {
        self.outbox.0.lock().unwrap().clone()
    }

    /// A browser without cookies.
    pub(super) fn agent(&self) -> Agent<'_> {
        Agent {
            world: self,
            host: HTTP,
            cookies: BTreeMap::new(),
            extra: Vec::new(),
            certificate: None,
            peer: None,
        }
    }

    /// The query of an authorization request of the demo application.
    pub(super) fn authorize(&self, extra: &[(&str, &str)]) -> String {
        let mut params = vec![
            ("response_type", "code"),
            ("client_id", self.seeded.client_id.as_str()),
            ("redirect_uri", CALLBACK),
            ("scope", "openid profile email"),
            ("state", "xyz"),
            ("nonce", "n-1"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ];
        for (name, value) in extra {
            params.retain(|(known, _)| known != name);
            if *value != "-" {
                params.push((name, value));
            }
        }
        format!("/authorize?{}", crate::fields::to_query(params.into_iter()))
    }

    /// `Authorization` of the demo application.
    pub(super) fn basic(&self) -> String {
        basic(&self.seeded.client_id, self.seeded.client_secret.expose())
    }

    /// A Management API token with these scopes; all of them where there are none.
    pub(super) async fn management_token(&self, scope: &str) -> String {
        let mut request = json!({
            "grant_type": "client_credentials",
            "client_id": self.seeded.management_client_id,
            "client_secret": self.seeded.management_client_secret.expose(),
            "audience": format!("http://{HTTP}/api/v2/"),
        });
        if !scope.is_empty() {
            request["scope"] = scope.into();
        }
        let answer = self.agent().send(Method::POST, "/oauth/token", Some(Payload::Json(&request))).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        answer.json()["access_token"].as_str().unwrap().to_owned()
    }

    /// A call of the Management API with a token.
    pub(super) async fn call(&self, token: &str, method: &str, path: &str, body: Option<Value>) -> Answer {
        let mut agent = self.agent();
        agent.extra.push(("authorization", format!("Bearer {token}")));
        let payload = body.as_ref().map(Payload::Json);
        agent.send(method.parse().unwrap(), &format!("/api/v2/{path}"), payload).await
    }

    /// Changes the demo application.
    pub(super) async fn set_client(&self, change: Value) {
        let token = self.management_token("").await;
        let path = format!("clients/{}", self.seeded.client_id);
        let set = self.call(&token, "PATCH", &path, Some(change)).await;
        assert_eq!(set.status, StatusCode::OK, "{}", set.body);
    }

    /// Changes the tenant's settings.
    pub(super) async fn set_tenant(&self, change: Value) {
        let token = self.management_token("").await;
        let set = self.call(&token, "PATCH", "tenants/settings", Some(change)).await;
        assert_eq!(set.status, StatusCode::OK, "{}", set.body);
    }

    /// The parameters of [`World::authorize`] as pairs.
    pub(super) fn parameters(&self, extra: &[(&str, &str)]) -> Vec<(String, String)> {
        let query = self.authorize(extra);
        let params = oauth::form::parse(query.split_once('?').unwrap().1.as_bytes()).unwrap();
        params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// Pushes an authorization request of the demo application.
    pub(super) async fn push(&self, extra: &[(&str, &str)]) -> Answer {
        let mut agent = self.agent();
        agent.extra.push(("authorization", self.basic()));
        let query = self.authorize(extra);
        let form = query.split_once('?').unwrap().1.to_owned();
        agent.send(Method::POST, "/oauth/par", Some(Payload::Form(form))).await
    }

    /// The address of `/authorize` for a pushed request of the demo application.
    pub(super) fn authorize_pushed(&self, pushed: &Answer) -> String {
        assert_eq!(pushed.status, StatusCode::CREATED, "{}", pushed.body);
        let uri = pushed.json()["request_uri"].as_str().unwrap().to_owned();
        let params = [("client_id", self.seeded.client_id.as_str()), ("request_uri", &uri)];
        format!("/authorize?{}", crate::fields::to_query(params.into_iter()))
    }

    /// Redeems a code of the demo application.
    pub(super) async fn redeem(&self, code: &str) -> Answer {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
        ];
        self.token(&form).await
    }

    /// A token request of the demo application.
    pub(super) async fn token(&self, form: &[(&str, &str)]) -> Answer {
        let mut agent = self.agent();
        agent.extra.push(("authorization", self.basic()));
        agent.post("/oauth/token", form).await
    }
}

fn build(
    store: Arc<idp_store::SqlRepository>,
    keyring: Keyring,
    clock: Clock,
    outbound: Arc<dyn Outbound>,
    mailer: Arc<dyn Mailer>,
) -> Idp {
    Idp::new(Parts {
        revocation_listener: None,
        repository: store,
        clock,
        random: Random::system(),
        keyring,
        hasher: Arc::new(PlainHasher),
        outbound,
        mailer: Some(mailer),
        mtls_port: Some(9402),
        fallback_tenant: Some("dev".to_owned()),
    })
}

/// Copies a database with what is still in its log.
fn copy(from: &Path, to: &Path) {
    for suffix in ["", "-wal"] {
        let part = |path: &Path| PathBuf::from(format!("{}{suffix}", path.display()));
        if part(from).exists() {
            std::fs::copy(part(from), part(to)).unwrap();
        }
    }
}

async fn open(file: &Path, keyring: &str) -> Arc<idp_store::SqlRepository> {
    let keyring = Keyring::parse(keyring).unwrap();
    idp_store::open_sqlite(file, keyring, Random::system()).await.unwrap()
}

async fn make_template() -> Template {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("identity.db");
    let keyring = Keyring::generate(&Random::system()).to_text().to_string();
    let store = open(&file, &keyring).await;
    let network = Arc::new(Network::default());
    let ring = Keyring::parse(&keyring).unwrap();
    let idp = build(store, ring, Clock::fixed(START), network, Arc::new(Outbox::default()));
    let seed = seed::DevSeed {
        tenant: "dev".to_owned(),
        origins: vec![format!("http://{HTTP}"), format!("https://{HTTPS}")],
        callbacks: vec!["http://localhost:9080/anything/callback".to_owned(), CALLBACK.to_owned()],
        logout_urls: vec!["http://localhost:9080/".to_owned()],
    };
    let seeded = seed::dev(&idp, &seed).await.unwrap();
    drop(idp);
    Template { file, keyring, seeded, _directory: directory }
}

pub(super) fn basic(id: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
}

/// What a request carries.
pub(super) enum Payload<'a> {
    Form(String),
    Json(&'a Value),
    Raw(&'a str, Vec<u8>),
}

/// A browser or a program.
pub(super) struct Agent<'w> {
    world: &'w World,
    pub(super) host: &'static str,
    pub(super) cookies: BTreeMap<String, String>,
    /// Headers of every request.
    pub(super) extra: Vec<(&'static str, String)>,
    /// What it has shown in its handshake.
    pub(super) certificate: Option<ClientCertificate>,
    /// Where it connects from.
    pub(super) peer: Option<IpAddr>,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Agent<'_> {
    pub(super) async fn get(&mut self, path: &str) -> Answer {
        self.send(Method::GET, path, None).await
    }

    pub(super) async fn post(&mut self, path: &str, form: &[(&str, &str)]) -> Answer {
        let form = crate::fields::to_query(form.iter().copied());
        self.send(Method::POST, path, Some(Payload::Form(form))).await
    }

    pub(super) async fn send(&mut self, method: Method, path: &str, payload: Option<Payload<'_>>) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, self.host);
        for (name, value) in &self.extra {
            request = request.header(*name, value);
        }
        if let Some(certificate) = &self.certificate {
            request = request.extension(PeerCertificate(certificate.clone()));
        }
        if let Some(peer) = self.peer {
            request = request.extension(ConnectInfo(SocketAddr::new(peer, 1)));
        }
        if !self.cookies.is_empty() {
            let cookies: Vec<_> =
                self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header(header::COOKIE, cookies.join("; "));
        }
        let (kind, body) = match payload {
            None => (None, Vec::new()),
            Some(Payload::Form(form)) => (Some("application/x-www-form-urlencoded"), form.into_bytes()),
            Some(Payload::Json(value)) => (Some("application/json"), value.to_string().into_bytes()),
            Some(Payload::Raw(kind, bytes)) => (Some(kind), bytes),
        };
        if let Some(kind) = kind {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        let response =
            self.world.router.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        self.keep_cookies(&head.headers);
        let body = String::from_utf8(bytes.to_vec()).unwrap();
        Answer { status: head.status, headers: head.headers, body }
    }

    fn keep_cookies(&mut self, headers: &HeaderMap) {
        for cookie in headers.get_all(header::SET_COOKIE) {
            let cookie = cookie.to_str().unwrap();
            let (name, rest) = cookie.split_once('=').unwrap();
            if cookie.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                let value = rest.split(';').next().unwrap();
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    /// Follows redirects as long as they stay on this host; answers the first that leaves, or the page.
    pub(super) async fn follow(&mut self, mut answer: Answer) -> Answer {
        for _ in 0..10 {
            match answer.location() {
                Some(location) if location.starts_with('/') => answer = self.get(&location).await,
                _ => return answer,
            }
        }
        panic!("too many redirects")
    }

    /// Opens an address and follows it to a page or out.
    pub(super) async fn open(&mut self, path: &str) -> Answer {
        let answer = self.get(path).await;
        self.follow(answer).await
    }

    /// Fills in the login page `page` and follows where that leads.
    pub(super) async fn log_in(&mut self, page: &Answer) -> Answer {
        let user = self.world.seeded.user.clone();
        let password = self.world.seeded.password.expose().clone();
        let answer = self.submit(page, &[("username", &user), ("password", &password)]).await;
        self.follow(answer).await
    }

    /// Posts the form of `page` with its hidden fields and `fields`.
    pub(super) async fn submit(&mut self, page: &Answer, fields: &[(&str, &str)]) -> Answer {
        let action =
            page.between("<form method=\"post\" action=\"", "\"").expect("a form").replace("&amp;", "&");
        let mut form: Vec<(&str, &str)> = Vec::new();
        for input in page.body.split("<input type=\"hidden\" ").skip(1) {
            let attribute = |name: &str| {
                let rest = input.split_once(&format!("{name}=\"")).unwrap().1;
                rest.split('"').next().unwrap()
            };
            form.push((attribute("name"), attribute("value")));
        }
        form.extend(fields);
        self.post(&action, &form).await
    }

    /// Logs in from nothing and returns the code.
    pub(super) async fn code(&mut self, extra: &[(&str, &str)]) -> String {
        let page = self.open(&self.world.authorize(extra)).await;
        let answer = if page.status == StatusCode::OK { self.log_in(&page).await } else { page };
        answer.param("code").unwrap_or_else(|| panic!("no code in {answer:?}"))
    }
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {} {}", self.status, self.body))
    }

    pub(super) fn location(&self) -> Option<String> {
        let redirect = self.status.is_redirection();
        self.header("location").filter(|_| redirect).map(str::to_owned)
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// A parameter of the redirect's query or fragment.
    pub(super) fn param(&self, name: &str) -> Option<String> {
        let location = self.location()?;
        let query = location.split_once(['?', '#'])?.1;
        let params = oauth::form::parse(query.as_bytes()).ok()?.into_owned();
        params.value(name).map(str::to_owned)
    }

    pub(super) fn has_id(&self, id: &str) -> bool {
        self.body.contains(&format!("id=\"{id}\""))
    }

    pub(super) fn between(&self, before: &str, after: &str) -> Option<&str> {
        self.body.split_once(before)?.1.split_once(after).map(|(found, _)| found)
    }

    /// Asserts that this is an error page that leads nowhere.
    #[track_caller]
    pub(super) fn is_error_page(&self) {
        assert!(self.status.is_client_error(), "{self:?}");
        assert!(self.has_id("error") && self.location().is_none(), "{self:?}");
        assert_eq!(self.header("cache-control"), Some("no-store"));
    }
}

/// Says quickly what Argon2 says slowly.
struct PlainHasher;

impl PasswordHasher for PlainHasher {
    fn hash(&self, password: Secret<String>) -> Hashing<'_, String> {
        Box::pin(async move { Ok(format!("plain:{}", password.expose())) })
    }

    fn verify(&self, password: Secret<String>, hash: Option<String>) -> Hashing<'_, bool> {
        Box::pin(async move { Ok(hash.is_some_and(|hash| hash == format!("plain:{}", password.expose()))) })
    }
}

impl World {
    /// Makes a client by the Management API's service: `body` over what every client has.
    pub(super) async fn client(&self, body: Value) -> Client {
        let site = self.idp.site(HTTP).await.unwrap().unwrap();
        let mut object = json!({"name": "A client", "callbacks": [CALLBACK], "oidc_conformant": true});
        object.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        let made = self.idp.management.clients.create(&site, object.as_object().unwrap().clone()).await;
        let client = made.unwrap();
        let connections = self.idp.repository().connections("dev", Page::ALL).await.unwrap().items;
        for mut connection in connections {
            connection.enabled_clients.push(client.client_id.clone());
            assert!(self.idp.repository().update_connection("dev", &connection).await.unwrap());
        }
        client
    }

    /// Lets a client have these scopes of the demo API in its own name.
    pub(super) async fn grant(&self, client: &Client) {
        let site = self.idp.site(HTTP).await.unwrap().unwrap();
        let body = json!({
            "client_id": client.client_id, "audience": self.seeded.audience, "scope": ["read:things"],
        });
        self.idp.management.client_grants.create(&site, body.as_object().unwrap().clone()).await.unwrap();
    }

    /// Changes the demo API.
    pub(super) async fn change_api(&self, change: Value) {
        let site = self.idp.site(HTTP).await.unwrap().unwrap();
        let change = change.as_object().unwrap().clone();
        self.idp.management.resource_servers.update(&site, &self.seeded.audience, change).await.unwrap();
    }
}

/// The claims of a compact JWS, unverified.
pub(super) fn claims(token: &str) -> Value {
    let jws = jose::CompactJws::parse(token).unwrap();
    serde_json::from_slice(&jws.payload_unverified().unwrap()).unwrap()
}

/// A signature over `claims` with the header's members added.
pub(super) fn signed(key: &jose::SigningKey, header: Value, claims: &Value) -> String {
    key.sign_with_header(header.as_object().unwrap(), claims.to_string().as_bytes()).unwrap()
}
