//! The plugin against a provider that does what a test tells it to.

mod op;

use std::{sync::Arc, time::Duration};

use base::{Clock, Random, UnixMillis};
use base64::{Engine, engine::general_purpose::STANDARD};
use gateway::{
    error::ErrorBody,
    plugin::{Flow, HostName, Peer, Plugin, PluginRequest, RequestHead, Verdict},
    route::{Backend, Matcher, Plan, Route},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use rp::{
    assertion::AssertionKeys,
    provider::{Endpoints, TokenAuth},
};
use serde_json::json;
use tokio::runtime::Handle;

use super::{Answers, CacheRules, ClientTokens, Config, Kind, Services, Sources, Verification, Way, compile};
use crate::{
    login_methods,
    openid_connect::{
        Additions, Calls, ClientAssertionConfig, DeploymentKeys, Judging, TokenHeader, TokenPart,
        tests::{Memory, services},
    },
};
use op::{Op, basic};

/// One provider, the process around it, and a clock.
struct World {
    op: Op,
    clock: Clock,
    services: Services,
    /// With those of the other ways to be known.
    all: login_methods::Services,
}

/// What came of a request.
#[derive(Debug)]
struct Got {
    /// `None`: it went on to the upstream.
    reply: Option<(StatusCode, HeaderMap, String)>,
    /// What the upstream sees.
    target: String,
    headers: HeaderMap,
    waited: bool,
}

impl World {
    async fn new() -> Self {
        let clock = Clock::fixed(UnixMillis::from_secs(1_800_000_000));
        let op = Op::start(&clock).await;
        let around = services(&clock, Arc::new(Memory::default()));
        let services = Services {
            providers: around.providers.clone(),
            clock: clock.clone(),
            random: Random::system(),
            tokens: Arc::new(ClientTokens::new(Handle::current(), clock.clone(), &Random::system())),
        };
        let all = login_methods::Services { tokens: around, grants: services.clone() };
        Self { op, clock, services, all }
    }

    fn config(&self) -> Config {
        Config {
            discovery: self.op.url("/.well-known/openid-configuration"),
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
            own: None,
            ways: vec![Way {
                kind: Kind::ClientCredentials,
                sources: Sources { header: true, query: true, body: false },
            }],
            exchange: None,
            scope: Some("openid".to_owned()),
            args: vec![("audience".to_owned(), "https://example.com/".to_owned())],
            client_args: Vec::new(),
            verification: Verification { signature: true, claims: true, leeway: Duration::ZERO },
            cache: Some(CacheRules {
                shortest: Duration::ZERO,
                refused: Duration::ZERO,
                kept_on: Duration::ZERO,
                salt: "s".to_owned(),
                unknown: Duration::from_secs(3600),
                longest: None,
            }),
            hide_credentials: true,
            headers: vec![upstream(header::AUTHORIZATION, true)],
            judging: Judging::default(),
            answers: Answers {
                unauthorized: "Unauthorized".to_owned(),
                forbidden: "Forbidden".to_owned(),
                unexpected: "An unexpected error occurred".to_owned(),
                realm: "idp.example".to_owned(),
                error_code: true,
                shows_reasons: false,
                unauthorized_redirect: None,
                forbidden_redirect: None,
                unexpected_redirect: None,
            },
        }
    }

    fn plugin(&self, change: impl FnOnce(&mut Config)) -> Arc<dyn Plugin> {
        self.preflighted(false, change)
    }

    fn preflighted(&self, passes_preflight: bool, change: impl FnOnce(&mut Config)) -> Arc<dyn Plugin> {
        let mut config = self.config();
        change(&mut config);
        let config =
            login_methods::Config { tokens: None, grants: Some(config), anonymous: None, passes_preflight };
        login_methods::compile(config, &self.all).unwrap()
    }
}

fn upstream(name: HeaderName, bearer: bool) -> TokenHeader {
    TokenHeader { part: TokenPart::AccessToken, name, bearer, downstream: false }
}

/// A request that is being made up.
fn get(target: &str, headers: &[(&str, &str)]) -> RequestHead {
    let pair = |(name, value): &(&str, &str)| {
        (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
    };
    RequestHead {
        named: None,
        method: Method::GET,
        target: target.parse().unwrap(),
        host: HostName::parse(&HeaderValue::from_static("api.example")).unwrap(),
        headers: headers.iter().map(pair).collect(),
        version: Version::HTTP_11,
        websocket: false,
        sending: Default::default(),
    }
}

async fn send(plugin: &Arc<dyn Plugin>, mut head: RequestHead) -> Got {
    let address = [127, 0, 0, 1].into();
    let peer = Peer {
        ip: address,
        port: 1,
        local_ip: address,
        local_port: 2,
        https: false,
        trusted: false,
        server_name: None,
        certificate: None,
    };
    let route = Arc::new(Route {
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
        errors: ErrorBody { member: "message" },
    });
    let mut added = Vec::new();
    let flow = plugin.rewrite(&mut PluginRequest {
        head: &mut head,
        peer: &peer,
        route: &route,
        response: &mut added,
        consumers: &Arc::default(),
        attached: &mut None,
        brought: &mut None,
        decided: &mut gateway::condition::Decided::default(),
        notes: &mut Default::default(),
    });
    let (verdict, waited) = match flow {
        Flow::Continue => (Verdict::default(), false),
        Flow::Respond(reply) => (Verdict { reply: Some(reply), ..Verdict::default() }, false),
        Flow::Suspend(future) => (future.await, true),
        Flow::Read(_) | Flow::Inspect(_) => panic!("it reads no body"),
    };
    verdict.request.into_iter().for_each(|edit| edit.apply(&mut head.headers));
    let reply = verdict.reply.map(|reply| {
        let (parts, body) = reply.into_parts();
        (parts.status, parts.headers, String::from_utf8(body.to_vec()).unwrap())
    });
    Got { reply, target: head.target.to_string(), headers: head.headers, waited }
}

async fn ask(plugin: &Arc<dyn Plugin>, id: &str, secret: &str) -> Got {
    send(plugin, get("/", &[("authorization", &basic(id, secret))])).await
}

impl Got {
    fn status(&self) -> Option<u16> {
        self.reply.as_ref().map(|(status, ..)| status.as_u16())
    }

    fn challenge(&self) -> &str {
        self.reply.as_ref().unwrap().1[header::WWW_AUTHENTICATE].to_str().unwrap()
    }

    fn body(&self) -> &str {
        &self.reply.as_ref().unwrap().2
    }

    /// The one value of a header that the upstream sees.
    fn told(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next().map(|value| value.to_str().unwrap());
        assert!(values.next().is_none(), "{name} comes twice");
        value
    }
}

#[tokio::test]
async fn id_and_secret_become_a_token_and_the_upstream_never_sees_them() {
    let world = World::new().await;
    let plugin = world.plugin(|_| ());
    let first = ask(&plugin, "app", "secret").await;
    assert_eq!((first.status(), first.waited), (None, true), "{first:?}");
    assert_eq!(first.told("authorization"), Some(format!("Bearer {}", world.op.last_token()).as_str()));
    let asked = world.op.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].authorization, basic("app", "secret"));
    assert_eq!(
        asked[0].body,
        "grant_type=client_credentials&scope=openid&audience=https%3A%2F%2Fexample.com%2F"
    );
    let second = ask(&plugin, "app", "secret").await;
    assert!(!second.waited, "a warm request waits for nothing");
    assert_eq!(second.told("authorization"), first.told("authorization"));
    assert_eq!(world.op.asked().len(), 1);
}

#[tokio::test]
async fn credentials_in_the_query_leave_it() {
    let world = World::new().await;
    let plugin = world.plugin(|_| ());
    let got = send(
        &plugin,
        get("/a?x=%7e&client_id=app&client_secret=secret", &[("authorization", "Bearer mine")]),
    )
    .await;
    assert_eq!(got.target, "/a?x=%7e");
    assert_eq!(got.told("authorization"), Some(format!("Bearer {}", world.op.last_token()).as_str()));
    let shown = world.plugin(|config| config.hide_credentials = false);
    let got = send(&shown, get("/a?client_id=app&client_secret=secret", &[])).await;
    assert_eq!(got.target, "/a?client_id=app&client_secret=secret");
}

#[tokio::test]
async fn only_the_places_that_are_allowed_are_looked_at() {
    let world = World::new().await;
    let header = world.plugin(|config| config.ways[0].sources.query = false);
    assert_eq!(send(&header, get("/?client_id=app&client_secret=secret", &[])).await.status(), Some(401));
    let query = world.plugin(|config| config.ways[0].sources.header = false);
    assert_eq!(ask(&query, "app", "secret").await.status(), Some(401));
    assert!(world.op.asked().is_empty());
}

#[tokio::test]
async fn without_credentials_the_answer_is_401_and_the_provider_is_not_asked() {
    let world = World::new().await;
    let plugin = world.plugin(|_| ());
    for head in [get("/", &[]), get("/", &[("authorization", "Bearer x")]), get("/?client_id=app", &[])] {
        let got = send(&plugin, head).await;
        assert_eq!(got.status(), Some(401));
        assert_eq!(got.body().trim(), r#"{"message":"Unauthorized"}"#);
        assert_eq!(got.challenge(), r#"Bearer realm="idp.example""#);
    }
    assert!(world.op.asked().is_empty());
}

#[tokio::test]
async fn a_wrong_secret_never_meets_a_right_ones_token() {
    let world = World::new().await;
    let plugin = world.plugin(|_| ());
    assert_eq!(ask(&plugin, "app", "secret").await.status(), None);
    for (id, secret) in
        [("app", "wrong"), ("app", "secre"), ("ap", "psecret"), ("App", "secret"), ("app", "secret ")]
    {
        let got = ask(&plugin, id, secret).await;
        assert_eq!(got.status(), Some(401), "{id} {secret}");
        assert_eq!(got.challenge(), r#"Bearer realm="idp.example", error="invalid_token""#);
        assert!(got.told("authorization").is_none());
    }
    let asked = world.op.asked().len();
    assert_eq!(ask(&plugin, "app", "wrong").await.status(), Some(401));
    assert_eq!(world.op.asked().len(), asked + 1, "what was refused is not kept");
    let other = ask(&plugin, "other", "secret2").await;
    assert_ne!(other.told("authorization"), ask(&plugin, "app", "secret").await.told("authorization"));
}

#[tokio::test]
async fn plugins_share_tokens_only_with_one_salt_and_one_question() {
    let world = World::new().await;
    let token = async |plugin: Arc<dyn Plugin>| {
        ask(&plugin, "app", "secret").await.told("authorization").unwrap().to_owned()
    };
    let first = token(world.plugin(|_| ())).await;
    assert_eq!(token(world.plugin(|_| ())).await, first);
    let salted = |salt: &str| {
        let salt = salt.to_owned();
        world.plugin(move |config| config.cache.as_mut().unwrap().salt = salt)
    };
    assert_ne!(token(salted("t")).await, first);
    assert_ne!(token(world.plugin(|config| config.scope = None)).await, first);
    assert_ne!(token(world.plugin(|config| config.args.clear())).await, first);
    assert_ne!(token(world.plugin(|config| config.verification.signature = false)).await, first);
}

#[tokio::test]
async fn a_hundred_parallel_first_requests_ask_once() {
    let world = World::new().await;
    world.op.slow(Duration::from_millis(50));
    let plugin = world.plugin(|_| ());
    let tasks = tokio::task::LocalSet::new();
    let asking: Vec<_> = (0..100)
        .map(|_| {
            let plugin = plugin.clone();
            tasks.spawn_local(async move { ask(&plugin, "app", "secret").await.status() })
        })
        .collect();
    tasks.await;
    for one in asking {
        assert_eq!(one.await.unwrap(), None);
    }
    assert_eq!(world.op.asked().len(), 1);
}

#[tokio::test]
async fn a_token_is_used_until_shortly_before_its_end() {
    let world = World::new().await;
    let plugin = world.plugin(|_| ());
    ask(&plugin, "app", "secret").await;
    world.clock.advance(Duration::from_secs(3569));
    assert!(!ask(&plugin, "app", "secret").await.waited);
    world.clock.advance(Duration::from_secs(2));
    assert!(ask(&plugin, "app", "secret").await.waited);
    assert_eq!(world.op.asked().len(), 2);
}

#[tokio::test]
async fn a_token_that_one_core_obtained_is_waited_for_once_on_another() {
    let world = World::new().await;
    let plugin = world.plugin(|_| ());
    ask(&plugin, "app", "secret").await;
    let another = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let waited = || runtime.block_on(ask(&plugin, "app", "secret")).waited;
        [waited(), waited()]
    });
    assert_eq!(another.join().unwrap(), [true, false]);
    assert_eq!(world.op.asked().len(), 1);
}

#[tokio::test]
async fn tokens_that_are_thrown_away_are_obtained_anew_on_every_core() {
    let world = World::new().await;
    let plugin = world.plugin(|_| ());
    ask(&plugin, "app", "secret").await;
    assert!(!ask(&plugin, "app", "secret").await.waited);
    world.services.tokens.clear();
    assert!(ask(&plugin, "app", "secret").await.waited);
    assert_eq!(world.op.asked().len(), 2);
}

#[tokio::test]
async fn what_the_provider_says_of_a_tokens_life_is_believed_with_care() {
    let world = World::new().await;
    let calls = async |answer: serde_json::Value, change: fn(&mut Config), later: u64| {
        world.op.opaque(answer);
        // A salt of its own, so that each case begins cold.
        let salt = Random::system().token(8);
        let plugin = world.plugin(move |config| {
            config.cache.as_mut().unwrap().salt = salt;
            change(config);
        });
        let before = world.op.asked().len();
        for _ in 0..2 {
            let got = ask(&plugin, "app", "secret").await;
            assert_eq!(got.status(), None, "{got:?}");
            world.clock.advance(Duration::from_secs(later));
        }
        world.op.asked().len() - before
    };
    assert_eq!(calls(json!({"expires_in": 0}), |_| (), 0).await, 2, "over at once: not kept");
    assert_eq!(calls(json!({"expires_in": 60}), |_| (), 50).await, 1);
    assert_eq!(calls(json!({"expires_in": 60}), |_| (), 55).await, 2);
    assert_eq!(calls(json!({}), |_| (), 3500).await, 1, "the configured life of those that say nothing");
    assert_eq!(calls(json!({}), |_| (), 3600).await, 2);
    let capped =
        |config: &mut Config| config.cache.as_mut().unwrap().longest = Some(Duration::from_secs(100));
    assert_eq!(calls(json!({"expires_in": 86_400}), capped, 101).await, 2);
    assert_eq!(calls(json!({"expires_in": 86_400}), |config| config.cache = None, 0).await, 2, "no cache");
    for junk in [json!({"expires_in": -1}), json!({"expires_in": 1e30}), json!({"expires_in": "x"})] {
        world.op.opaque(junk.clone());
        let plugin = world.plugin(|config| config.cache = None);
        assert_eq!(ask(&plugin, "app", "secret").await.status(), Some(500), "{junk}");
    }
}

#[tokio::test]
async fn a_provider_that_is_down_is_not_one_that_says_no() {
    let world = World::new().await;
    let plugin = world.plugin(|_| ());
    for (status, body, expected) in [
        (400, json!({"error": "invalid_client"}), 401),
        (401, json!({"error": "access_denied"}), 401),
        (403, json!({"error": "unauthorized_client"}), 401),
        (401, json!("no reason given"), 401),
        (400, json!({"error": "temporarily_unavailable"}), 500),
        (403, json!("a firewall"), 500),
        (429, json!({"error": "invalid_client"}), 500),
        (500, json!({"error": "invalid_client"}), 500),
        (503, json!({}), 500),
        (302, json!({}), 500),
        (200, json!({"access_token": 1}), 500),
        (200, json!({"access_token": "x", "token_type": "DPoP"}), 500),
    ] {
        world.op.answer(status, &body);
        let got = ask(&plugin, "app", "secret").await;
        assert_eq!(got.status(), Some(expected), "{status} {body}");
        let message = if expected == 401 { "Unauthorized" } else { "An unexpected error occurred" };
        assert_eq!(got.body().trim(), json!({"message": message}).to_string());
    }
    world.op.slow(Duration::from_secs(5));
    assert_eq!(ask(&plugin, "app", "secret").await.status(), Some(500), "too late");
    world.op.slow(Duration::ZERO);
    world.op.recover();
    assert_eq!(ask(&plugin, "app", "secret").await.status(), None, "no failure is kept");
}

#[tokio::test]
async fn a_provider_that_was_down_at_first_is_found_when_it_comes() {
    let world = World::new().await;
    world.op.discovery(false);
    let plugin = world.plugin(|_| ());
    assert_eq!(ask(&plugin, "app", "secret").await.status(), Some(500));
    world.op.discovery(true);
    world.clock.advance(Duration::from_secs(60));
    world.services.providers.refresh_due().await;
    assert_eq!(ask(&plugin, "app", "secret").await.status(), None);
}

#[tokio::test]
async fn a_token_that_was_had_serves_while_the_provider_is_down() {
    let world = World::new().await;
    let plugin = world.plugin(|_| ());
    assert_eq!(ask(&plugin, "app", "secret").await.status(), None);
    world.op.answer(503, &json!({}));
    assert_eq!(ask(&plugin, "app", "secret").await.status(), None);
    assert_eq!(ask(&plugin, "new", "secret3").await.status(), Some(500));
}

#[tokio::test]
async fn j01_j29_a_jwt_that_does_not_hold_is_not_sent_on() {
    let world = World::new().await;
    let plugin = world.plugin(|_| ());
    let now = world.clock.now().secs();
    let none = "eyJhbGciOiJub25lIn0";
    let good = world.op.sign(&json!({"iss": world.op.url("/"), "sub": "a", "exp": now + 60}));
    let payload = good.split('.').nth(1).unwrap();
    for (token, why) in [
        (world.op.sign(&json!({"iss": "https://evil/", "sub": "a", "exp": now + 60})), "issuer"),
        (world.op.sign(&json!({"iss": world.op.url("/"), "sub": "a", "exp": now})), "expired"),
        (world.op.sign(&json!({"iss": world.op.url("/"), "sub": "a"})), "no exp"),
        (
            world.op.sign(&json!({"iss": world.op.url("/"), "sub": "a", "exp": now + 60, "nbf": now + 60})),
            "nbf",
        ),
        (world.op.sign(&json!({"iss": world.op.url("/"), "sub": "a", "exp": now + 60, "cnf": {}})), "bound"),
        (format!("{none}.{payload}.AAAA"), "alg none"),
        (format!("{none}.{payload}."), "no signature"),
        (Op::foreign(&json!({"iss": world.op.url("/"), "sub": "a", "exp": now + 60})), "another key"),
    ] {
        world.op.answer(200, &json!({"access_token": token, "token_type": "Bearer", "expires_in": 60}));
        let got = ask(&plugin, "app", "secret").await;
        assert_eq!(got.status(), Some(401), "{why}");
    }
    world.op.answer(200, &json!({"access_token": good, "token_type": "Bearer", "expires_in": 60}));
    assert_eq!(ask(&plugin, "app", "secret").await.status(), None);
}

#[tokio::test]
async fn a_token_for_a_named_issuer_counts_and_verification_can_be_switched_off() {
    let world = World::new().await;
    let now = world.clock.now().secs();
    let foreign = json!({"iss": "https://named/", "sub": "a", "exp": now + 60});
    let answer =
        |token: String| world.op.answer(200, &json!({"access_token": token, "token_type": "Bearer"}));
    answer(world.op.sign(&foreign));
    let named = world.plugin(|config| config.issuers = vec!["https://named/".to_owned()]);
    assert_eq!(ask(&named, "app", "secret").await.status(), None);
    answer(Op::foreign(&json!({"iss": world.op.url("/"), "sub": "a", "exp": now + 60})));
    let unsigned = world.plugin(|config| config.verification.signature = false);
    assert_eq!(ask(&unsigned, "app", "secret").await.status(), None);
    answer(Op::foreign(&foreign));
    assert_eq!(ask(&unsigned, "app2", "secret").await.status(), Some(401));
    let blind =
        world.plugin(|config| (config.verification.signature, config.verification.claims) = (false, false));
    assert_eq!(ask(&blind, "app", "secret").await.status(), None);
}

#[tokio::test]
async fn h01_h02_a_header_of_another_name_is_the_gates_alone() {
    let world = World::new().await;
    let plugin = world.preflighted(true, |config| {
        config.headers = vec![upstream(HeaderName::from_static("x-token"), false)];
    });
    let credentials = basic("app", "secret");
    let spoofs = [("x-token", "evil"), ("x_token", "evil"), ("x.token", "evil")];
    let mut headers = spoofs.to_vec();
    headers.push(("authorization", &credentials));
    let got = send(&plugin, get("/", &headers)).await;
    assert_eq!(got.told("x-token"), Some(world.op.last_token().as_str()));
    assert!(
        got.told("x_token").is_none() && got.told("x.token").is_none() && got.told("authorization").is_none()
    );
    let mut preflight = get("/", &spoofs);
    preflight.method = Method::OPTIONS;
    let got = send(&plugin, preflight).await;
    assert_eq!((got.status(), got.told("x-token")), (None, None));
}

#[tokio::test]
async fn h01_a_preflight_that_is_let_through_brings_no_token_of_its_own() {
    let world = World::new().await;
    let plugin = world.preflighted(true, |_| ());
    let mut preflight = get("/", &[("authorization", "Bearer forged")]);
    preflight.method = Method::OPTIONS;
    let got = send(&plugin, preflight).await;
    assert_eq!((got.status(), got.told("authorization")), (None, None));
}

#[tokio::test]
async fn callers_always_show_their_secret_whatever_the_gates_own_client_proves_itself_by() {
    let world = World::new().await;
    let keys = AssertionKeys::due(&[], &Random::system(), world.clock.now()).unwrap().unwrap();
    for method in [TokenAuth::None, TokenAuth::PrivateKeyJwt] {
        let keys = DeploymentKeys(Arc::new(AssertionKeys::new(keys.clone())));
        let plugin = world.plugin(move |config| {
            config.calls.token_auth = method;
            config.calls.assertion.deployments = Some(keys);
            config.cache = None;
        });
        assert_eq!(ask(&plugin, "app", "wrong").await.status(), Some(401), "{method:?}");
        assert_eq!(ask(&plugin, "app", "secret").await.status(), None, "{method:?}");
        let asked = world.op.asked().pop().unwrap();
        assert_eq!(asked.authorization, basic("app", "secret"), "{method:?}");
        assert!(!asked.body.contains("assertion"), "{method:?}: {}", asked.body);
    }
}

#[tokio::test]
async fn s01_secrets_are_in_no_debug_output() {
    let world = World::new().await;
    let plugin = world.plugin(|_| ());
    let got = send(&plugin, get("/", &[("authorization", &basic("app", "secret"))])).await;
    let shown = format!("{:?} {:?}", got.headers, world.services.tokens);
    assert!(
        !shown.contains(&world.op.last_token()) && !shown.contains(&STANDARD.encode("app:secret")),
        "{shown}"
    );
}

#[tokio::test]
async fn what_could_not_work_is_refused_when_it_is_configured() {
    let world = World::new().await;
    let refused = |change: fn(&mut Config)| {
        let mut config = world.config();
        change(&mut config);
        compile(config, &world.services).err().map(|error| error.path)
    };
    assert_eq!(refused(|_| ()), None);
    let grant = |config: &mut Config| config.args.push(("grant_type".to_owned(), "password".to_owned()));
    assert_eq!(refused(grant).as_deref(), Some("token_post_args_names"));
    let host = |config: &mut Config| config.headers[0].name = header::HOST;
    assert_eq!(refused(host).as_deref(), Some("upstream_access_token_header"));
    let nowhere = |config: &mut Config| config.ways[0].sources = Sources::default();
    assert_eq!(refused(nowhere).as_deref(), Some("client_credentials_param_type"));
    let metadata = |config: &mut Config| config.discovery = "http://169.254.169.254/".to_owned();
    assert_eq!(refused(metadata).as_deref(), Some("discovery"));
}
