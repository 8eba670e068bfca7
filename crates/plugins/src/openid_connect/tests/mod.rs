//! The plugin against a provider that is told what to do: tokens in `bearer`, what they say in `claims`, what is
//! remembered of them in `verdicts`, logins in `login`, sessions in `session`.

mod bearer;
mod claims;
mod details;
mod idp;
mod login;
mod logouts;
mod session;
mod verdicts;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use base::{Clock, Keyring, Secret, UnixMillis};
use base64::{Engine, engine::general_purpose::STANDARD};
use fetch::{Fetcher, Policy};
use gateway::{
    consumer::Consumers,
    error::ErrorBody,
    plugin::{Flow, HostName, Peer, Plugin, PluginRequest, RequestHead, Verdict},
    route::{Backend, Matcher, Plan, Route},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header, uri::PathAndQuery};
use rp::{
    assertion::{AssertionKey, AssertionKeys},
    provider::{Endpoints, Introspecting, Providers, TokenAuth},
    session::{
        CookieSettings, EndedError, EndedRecord, EndedSessions, EndedStore, Lifetimes, Refreshes, Saved,
    },
};
use serde_json::Value;
use tokio::runtime::Handle;
use url::Url;

use super::*;
use idp::{CLIENT, Idp, SECRET};

const PAGE: &str = "https://app.example/page?x=1&y=%2F";

/// One plugin, its provider, and a clock.
struct Gate {
    plugin: Arc<dyn Plugin>,
    idp: Idp,
    clock: Clock,
    store: Arc<Memory>,
    services: Services,
    /// Those of the process.
    consumers: Arc<Mutex<Arc<Consumers>>>,
}

/// What came of a request.
#[derive(Debug)]
struct Got {
    /// `None`: it went on to the upstream.
    status: Option<StatusCode>,
    /// Of the answer, or added to the upstream's.
    headers: HeaderMap,
    body: String,
    /// What the upstream got.
    upstream: HeaderMap,
    /// Name of the consumer it counts as.
    attached: Option<String>,
}

/// A browser's cookies, for one host.
#[derive(Clone, Default, Debug)]
struct Jar(BTreeMap<String, String>);

/// A request that is being made up.
struct Asking {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: String,
}

/// The record of ended sessions, which fails while `broken`.
#[derive(Default)]
pub(crate) struct Memory {
    lines: Mutex<Vec<EndedRecord>>,
    broken: AtomicBool,
}

impl EndedStore for Memory {
    fn save(&self, record: EndedRecord) -> Saved {
        let broken = self.broken.load(Ordering::Relaxed);
        if !broken {
            self.lines.lock().unwrap().push(record);
        }
        Box::pin(async move { if broken { Err(EndedError("disk full".to_owned())) } else { Ok(()) } })
    }

    fn forget(&self, _keys: Vec<String>) -> Saved {
        Box::pin(async { Ok(()) })
    }
}

/// What an introspection endpoint is asked where nothing is said about it.
fn introspection(endpoint: Option<String>) -> Introspection {
    let how =
        Introspecting { endpoint, token_param: "token".to_owned(), params: Vec::new(), always_asks: false };
    Introspection {
        how,
        headers: Vec::new(),
        cookies: Vec::new(),
        remembers_refusals: false,
        max_age: Duration::from_secs(60),
        lifetime_claim: None,
    }
}

/// Both branches, with the dialects' defaults.
fn config(idp: &Idp) -> Config {
    Config {
        client_id: CLIENT.to_owned(),
        client_secret: Some(Secret::new(SECRET.to_owned())),
        discovery: idp.discovery(),
        issuers: Vec::new(),
        calls: Calls {
            timeout: Duration::from_secs(3),
            verify_tls: true,
            jwks_ttl: Duration::from_secs(86_400),
            metadata_ttl: None,
            keep_alive: true,
            proxies: None,
            endpoints: Endpoints::default(),
            discovery_headers: HeaderMap::new(),
            extra_jwks: Vec::new(),
            token_auth: TokenAuth::Basic,
            introspection_auth: TokenAuth::Basic,
            assertion: ClientAssertionConfig::default(),
            possession: None,
            additions: Additions::default(),
        },
        alg: None,
        slack: Duration::from_secs(120),
        expiry_leeway: Duration::ZERO,
        required_scopes: Vec::new(),
        claim_rules: Vec::new(),
        credential: None,
        claim_headers: Vec::new(),
        assertion: None,
        consumer: None,
        realm: "apisix".to_owned(),
        bearer: Some(BearerConfig {
            optional: false,
            source: TokenSource::Authorization,
            additional_issuers: Vec::new(),
            typed: false,
            verification: Verification::Jwks,
            audience: AudienceRule {
                claim: "aud".to_owned(),
                required: false,
                is_client: false,
                values: Vec::new(),
            },
            uncached: false,
            userinfo: false,
            hides: false,
            cache_segment: None,
            proof_age: PROOF_AGE,
            proof: RequiredProof::None,
            proof_record: None,
        }),
        login: Some(LoginConfig {
            redirect_uri: Some("/callback".to_owned()),
            scope: "openid profile".to_owned(),
            authorization_params: Vec::new(),
            pushing: Pushing::default(),
            unauthenticated: Unauthenticated::Login,
            force_reauthorize: false,
            logout_path: "/logout".to_owned(),
            post_logout_redirect_uri: None,
            revoke_on_logout: false,
            secret: None,
            cookies: CookieSettings::default(),
            way_back: WayBack::default(),
            contents: Contents::default(),
            logout: LogoutConfig::default(),
            refresh_session_interval: None,
            decryption: None,
            storage: None,
            lifetimes: Lifetimes::default(),
            renew: true,
            default_expires_in: Duration::from_secs(3600),
            expires_leeway: Duration::ZERO,
        }),
        searches_userinfo: false,
        claim_schema: None,
        headers: Headers {
            access_token: AccessTokenHeader::XAccessToken,
            id_token: true,
            raw_id_token: false,
            userinfo: true,
            refresh_token: false,
            named: Vec::new(),
            back: Vec::new(),
        },
        words: Words::default(),
    }
}

/// What a process has for its instances.
pub(crate) fn services(clock: &Clock, store: Arc<dyn EndedStore>) -> Services {
    let random = idp::random();
    Services {
        providers: providers(clock),
        clock: clock.clone(),
        session_keys: Keyring::generate(&random),
        assertion_keys: Arc::new(AssertionKeys::new(vec![
            AssertionKey::generate(&random, clock.now()).unwrap(),
        ])),
        used_states: Arc::default(),
        used_logouts: Arc::default(),
        redis: redis(),
        ended: Arc::new(EndedSessions::new(store, [])),
        refreshes: Arc::new(Refreshes::new(Handle::current(), clock.clone(), random.clone())),
        proofs: Arc::default(),
        revocations: Arc::default(),
        random,
    }
}

impl Gate {
    async fn new() -> Self {
        Self::with(|_| ()).await
    }

    /// A gate whose configuration is changed, and whose provider is known to it.
    async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let gate = Self::cold(change).await;
        let provider = gate.inner().provider.clone();
        provider.ready_keys().await.unwrap();
        provider.ready().await.unwrap();
        gate
    }

    /// The same before the provider was asked anything.
    async fn cold(change: impl FnOnce(&mut Config)) -> Self {
        let clock = Clock::fixed(UnixMillis::from_secs(1_800_000_000));
        let idp = Idp::start(&clock).await;
        let store = Arc::new(Memory::default());
        let services = services(&clock, store.clone());
        let mut config = config(&idp);
        change(&mut config);
        let plugin = compile(config, &services).unwrap();
        Self { plugin, idp, clock, store, services, consumers: Arc::default() }
    }

    /// Another plugin of the same process, at the same provider.
    fn sibling(&self, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = config(&self.idp);
        change(&mut config);
        Self {
            plugin: compile(config, &self.services).unwrap(),
            idp: self.idp.clone(),
            clock: self.clock.clone(),
            store: self.store.clone(),
            services: self.services.clone(),
            consumers: self.consumers.clone(),
        }
    }

    /// The same configuration in a process that has not asked its provider anything yet.
    fn restarted(&self) -> Self {
        let providers = providers(&self.clock);
        let services = Services { providers, ..self.services.clone() };
        Self { plugin: compile(config(&self.idp), &services).unwrap(), services, ..self.sibling(|_| ()) }
    }

    fn inner(&self) -> &Inner {
        &self.plugin.as_any().downcast_ref::<OpenidConnect>().unwrap().0
    }

    fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// Sends a request; whether it had to wait for anything is in the second part.
    async fn send(&self, asking: Asking) -> (Got, bool) {
        let peer = Peer {
            ip: [127, 0, 0, 1].into(),
            port: 1,
            local_ip: [127, 0, 0, 1].into(),
            local_port: 2,
            https: asking.url.scheme() == "https",
            trusted: false,
            server_name: None,
            certificate: None,
        };
        let mut head = asking.head();
        let mut response = Vec::new();
        let consumers = self.consumers.lock().unwrap().clone();
        let mut attached = None;
        let flow = {
            let route = route();
            self.plugin.rewrite(&mut PluginRequest {
                head: &mut head,
                peer: &peer,
                route: &route,
                response: &mut response,
                consumers: &consumers,
                attached: &mut attached,
                brought: &mut None,
                decided: &mut gateway::condition::Decided::default(),
                notes: &mut Default::default(),
            })
        };
        let (verdict, waited) = match flow {
            Flow::Continue => (Verdict::default(), false),
            Flow::Respond(reply) => (Verdict { reply: Some(reply), ..Verdict::default() }, false),
            Flow::Suspend(future) => (future.await, true),
            Flow::Inspect(_) => panic!("it inspects no body"),
            Flow::Read(reader) => {
                assert!(asking.body.len() <= reader.limit);
                (Verdict::respond((reader.answer)(asking.body.into()).await), true)
            }
        };
        verdict.request.into_iter().for_each(|edit| edit.apply(&mut head.headers));
        response.extend(verdict.response);
        let attached = attached.or(verdict.attach).map(|who| who.consumer().name().to_owned());
        let mut got = Got {
            status: None,
            headers: HeaderMap::new(),
            body: String::new(),
            upstream: head.headers,
            attached,
        };
        if let Some(reply) = verdict.reply {
            got.status = Some(reply.status());
            got.headers = reply.headers().clone();
            got.body = String::from_utf8_lossy(reply.body()).into_owned();
        }
        got.headers.extend(response);
        (got, waited)
    }

    /// A request with a bearer token.
    async fn bearer(&self, token: &str) -> Got {
        self.send(get("https://app.example/api").with("authorization", &format!("Bearer {token}"))).await.0
    }
}

/// A request as a browser makes it when a person opens a page.
fn get(url: &str) -> Asking {
    let mut asking = Asking {
        method: Method::GET,
        url: Url::parse(url).unwrap(),
        headers: HeaderMap::new(),
        body: String::new(),
    };
    asking.headers.insert(header::ACCEPT, "text/html,*/*;q=0.8".parse().unwrap());
    asking
}

impl Asking {
    fn with(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().unwrap();
        let old = (name == header::ACCEPT).then(|| self.headers.remove(&name));
        drop(old);
        self.headers.append(name, value.parse().unwrap());
        self
    }

    fn method(self, method: Method) -> Self {
        Self { method, ..self }
    }

    /// The same as a POST of a form.
    fn form(self, body: &str) -> Self {
        let kind = "application/x-www-form-urlencoded";
        Self { body: body.to_owned(), ..self.method(Method::POST).with("content-type", kind) }
    }

    fn head(&self) -> RequestHead {
        let url = &self.url;
        let authority = &url[url::Position::BeforeHost..url::Position::AfterPort];
        let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
        RequestHead {
            named: None,
            method: self.method.clone(),
            target: PathAndQuery::try_from(target).unwrap(),
            host: HostName::parse(&HeaderValue::from_str(authority).unwrap()).unwrap(),
            headers: self.headers.clone(),
            version: Version::HTTP_11,
            websocket: false,
            sending: Default::default(),
        }
    }
}

impl Got {
    fn is(&self, status: u16) -> bool {
        self.status.map(|status| status.as_u16()) == Some(status)
    }

    fn passed(&self) -> bool {
        self.status.is_none()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn location(&self) -> &str {
        self.header("location")
    }

    fn set_cookies(&self) -> Vec<&str> {
        self.headers.get_all(header::SET_COOKIE).iter().map(|value| value.to_str().unwrap()).collect()
    }

    /// A header that the upstream got.
    fn told(&self, name: &str) -> Option<&str> {
        let mut values = self.upstream.get_all(name).iter();
        let value = values.next().map(|value| value.to_str().unwrap());
        assert!(values.next().is_none(), "{name} comes twice");
        value
    }

    /// The same, base64 of JSON.
    fn told_json(&self, name: &str) -> Value {
        serde_json::from_slice(&STANDARD.decode(self.told(name).unwrap()).unwrap()).unwrap()
    }
}

impl Jar {
    fn line(&self) -> String {
        self.0.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    fn keep(&mut self, got: &Got) {
        for line in got.set_cookies() {
            let (name, value) = line.split(';').next().unwrap().split_once('=').unwrap();
            match line.contains("Max-Age=0") {
                true => self.0.remove(name),
                false => self.0.insert(name.to_owned(), value.to_owned()),
            };
        }
    }

    /// Sends a request with these cookies and keeps those that come back.
    async fn send(&mut self, gate: &Gate, asking: Asking) -> Got {
        let asking = if self.0.is_empty() { asking } else { asking.with("cookie", &self.line()) };
        let got = gate.send(asking).await.0;
        self.keep(&got);
        got
    }

    async fn go(&mut self, gate: &Gate, url: &str) -> Got {
        self.send(gate, get(url)).await
    }

    /// Opens a page, logs in at the provider, and comes back to the page.
    async fn log_in(gate: &Gate, page: &str) -> Self {
        let mut jar = Self::default();
        let away = jar.go(gate, page).await;
        assert!(away.is(302), "{away:?}");
        let back = jar.go(gate, &gate.idp.authorize(away.location())).await;
        assert_eq!((back.status, back.location()), (Some(StatusCode::FOUND), page), "{back:?}");
        jar
    }
}

/// No Redis is asked for in these tests.
fn redis() -> rp::session::RedisLinks {
    let tls = fetch::tls_config(None, true).unwrap();
    let choices = rp::session::TlsChoices { verified: tls.clone(), unverified: tls };
    rp::session::RedisLinks::new(Handle::current(), choices, Vec::new())
}

/// Providers on this machine, none of them asked yet.
fn providers(clock: &Clock) -> Providers {
    let policy = Policy { allow_loopback: true, ..Policy::default() };
    let runtime = Handle::current();
    let fetcher = Fetcher::new(&policy, runtime.clone(), clock.clone()).unwrap();
    Providers::new(fetcher, clock.clone(), runtime)
}

fn route() -> Arc<Route> {
    Arc::new(Route {
        id: "1".into(),
        name: None,
        dialect: "test",
        service_id: None,
        service_name: None,
        matcher: Matcher::default(),
        plan: Arc::new(Plan::default()),
        backend: Backend::None(StatusCode::NOT_FOUND, "nothing here"),
        timeouts: None,
        websocket: false,
        errors: ErrorBody { member: "error_msg" },
    })
}
