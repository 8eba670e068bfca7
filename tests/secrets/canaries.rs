//! S01, S02, S07 and S09: canaries go in everywhere and come out nowhere.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::{Value, json};

use crate::support::{
    Answer, Browser, Connection, Options, Portcullis, Provider, Request, Site, Upstream, tls::Authority,
    unique,
};

/// Everything of ours at its finest; libraries print frames at such levels, which is why theirs are never raised.
pub(super) const TRACE: &str =
    "trace,h2=warn,hyper=warn,hyper_util=warn,rustls=warn,sqlx=warn,tokio_tungstenite=warn,tungstenite=warn";

/// Secrets by what they are, each told from all others.
#[derive(Default)]
pub(super) struct Canaries(BTreeMap<&'static str, String>);

impl Canaries {
    fn new() -> Self {
        let names = [
            "client secret",
            "session secret",
            "forged bearer",
            "query token",
            "basic password",
            "foreign cookie",
            "callback code",
            "callback state",
            "wrong admin key",
            "refused secret",
            "upstream token",
            "body",
            "api key",
        ];
        Self(names.map(|name| (name, unique(&format!("canary-{}-", name.replace(' ', "-"))))).into())
    }

    pub(super) fn get(&self, name: &str) -> &str {
        &self.0[name]
    }

    pub(super) fn plant(&mut self, name: &'static str, value: String) {
        assert!(value.len() > 15, "{name} is too short to be told apart");
        self.0.insert(name, value);
    }

    /// The names of those that are in `text`.
    pub(super) fn found_in(&self, text: &str) -> Vec<&str> {
        self.0.iter().filter(|(_, canary)| text.contains(canary.as_str())).map(|(name, _)| *name).collect()
    }
}

/// `dev`, saying everything that it can say.
pub(super) fn talkative() -> Arc<Portcullis> {
    let environment = vec![("RUST_LOG".to_owned(), TRACE.to_owned())];
    Arc::new(Portcullis::start(Options { environment, ..Options::default() }))
}

/// Sends every canary through good and failing flows. What is planted, and what answered.
async fn sweep(gate: &Arc<Portcullis>) -> (Canaries, Vec<String>) {
    let (mut canaries, mut answers, provider) =
        (Canaries::new(), Vec::new(), Provider::start("canary-client"));
    let (secret, cookie_secret) =
        (canaries.get("client secret").to_owned(), canaries.get("session secret").to_owned());
    let session = |bearer: bool| {
        json!({"openid-connect": {
            "client_id": "canary-client", "client_secret": secret,
            "discovery": provider.discovery(), "bearer_only": bearer, "use_jwks": bearer,
            "scope": "openid", "session": {"secret": cookie_secret},
        }})
    };
    let protected = Site::on(Arc::clone(gate), session(true)).await;
    let mut note = |what: &str, answer: crate::support::Response| answers.push(format!("{what}: {answer:?}"));

    // Machines, with good tokens and bad ones.
    let token = provider.access_token(&json!({}));
    let good = Request::get(&protected.target("good")).bearer(&token).send(gate.port(9080)).await;
    assert_eq!(good.status, 200, "{good:?}");
    let parts: Vec<&str> = token.split('.').collect();
    for (case, request) in [
        ("forged", Request::get(&protected.target("a")).bearer(canaries.get("forged bearer"))),
        ("bent", Request::get(&protected.target("a")).bearer(&format!("{}.{}.AAAA", parts[0], parts[1]))),
        (
            "basic",
            Request::get(&protected.target("a")).header("Authorization", canaries.get("basic password")),
        ),
        (
            "query",
            Request::get(&protected.target(&format!("a?access_token={}", canaries.get("query token")))),
        ),
        (
            "cookie",
            Request::get(&protected.target("a"))
                .header("Cookie", &format!("session={}", canaries.get("foreign cookie"))),
        ),
        ("header", Request::get(&protected.target("a")).header("X-Api-Key", canaries.get("api key"))),
        ("body", Request::new("POST", &protected.target("a")).body(canaries.get("body"))),
    ] {
        note(case, request.send(gate.port(9080)).await);
    }
    canaries.plant("access token", token);

    // A browser, with a good login and bad callbacks.
    let (id, upstream) = (unique("login-"), Upstream::start());
    let route = json!({"uri": format!("/{id}/*"), "plugins": session(false), "upstream": crate::support::admin::node(&upstream)});
    gate.admin().set(&format!("routes/{id}"), &route).await;
    let mut browser = Browser::new();
    let home = format!("http://localhost:{}/{id}/home", gate.port(9080));
    let page = browser.open(&home).await;
    assert_eq!(page.status(), 200, "{page:?}");
    let cookie = browser.cookie_names().first().map(|name| browser.cookie(name).unwrap().to_owned());
    canaries.plant("session cookie", cookie.expect("a session cookie"));
    let callback =
        browser.history.iter().find(|url| url.query().is_some_and(|query| query.contains("code=")));
    let callback = callback.expect("a callback").clone();
    let lie = |code: &str, state: &str| {
        let mut url = callback.clone();
        url.query_pairs_mut().clear().append_pair("code", code).append_pair("state", state);
        url.to_string()
    };
    let failed = browser.open(&lie(canaries.get("callback code"), canaries.get("callback state"))).await;
    note("callback", failed.response);
    let error = Answer::with(
        400,
        &[("Content-Type", "application/json")],
        json!({"error": "invalid_grant", "error_description": canaries.get("upstream token")}).to_string(),
    );
    provider.lie("/token", move |_| error.clone());
    note("refused login", Browser::new().open(&home).await.response);

    // The Admin API, with what it takes and what it does not.
    let admin = gate.admin();
    let bad = json!({"uri": "/x", "plugins": {"openid-connect": {"client_secret": canaries.get("refused secret"), "bearer_only": 1}}});
    let refused = admin.put("routes/refused", &bad).await;
    assert_eq!(refused.status, 400);
    note("refused route", refused);
    let wrong = Request::get("/apisix/admin/routes").header("X-API-KEY", canaries.get("wrong admin key"));
    note("wrong key", wrong.send(gate.port(9180)).await);
    let identity = Authority::new().issue(&["canary.example"], |_| {});
    canaries.plant("private key", identity.key_pem().lines().nth(1).unwrap().to_owned());
    admin
        .set(
            "ssls/canary",
            &json!({"snis": ["canary.example"], "cert": identity.chain_pem(), "key": identity.key_pem()}),
        )
        .await;
    note("private key", admin.get("ssls/canary").await);
    let mut torn = Connection::open(gate.port(9180)).await;
    torn.send(format!(
        "PUT /apisix/admin/routes/t HTTP/1.1\r\nHost: localhost\r\nX-API-KEY: {}\r\nbad line\r\n\r\n",
        gate.variable("ADMIN_KEY")
    ))
    .await;
    torn.rest().await;
    canaries.plant("admin key", gate.variable("ADMIN_KEY"));
    for port in [9091] {
        note("metrics", Request::get("/metrics").send(gate.port(port)).await);
    }
    note("status", Request::get("/status/ready").send(gate.port(9180)).await);
    (canaries, answers)
}

#[tokio::test]
async fn s01_no_secret_is_in_logs_metrics_or_answers() {
    let gate = talkative();
    let (canaries, answers) = sweep(&gate).await;
    for answer in &answers {
        assert_eq!(canaries.found_in(answer), [""; 0], "in the answer {answer}");
    }
    assert!(gate.terminate().success());
    // The banner of `dev` names no secret either: it points to dev.env.
    for line in gate.output().lines() {
        assert_eq!(canaries.found_in(line), [""; 0], "in the log: {line}");
    }
}

#[tokio::test]
async fn s01_s07_no_secret_is_in_the_access_log() {
    for format in ["text", "json"] {
        let log = format!("log: {{level: info, format: {format}, access: stdout}}");
        let (gate, _) = Portcullis::production(&log);
        let gate = Arc::new(gate);
        let (canaries, _) = sweep(&gate).await;
        assert!(gate.terminate().success());
        let output = gate.output();
        assert!(output.lines().filter(|line| line.contains("/site-")).count() > 5, "no access log: {output}");
        for line in output.lines() {
            assert_eq!(canaries.found_in(line), [""; 0], "in the log: {line}");
        }
    }
}

#[tokio::test]
async fn s02_no_secret_is_plain_on_disk() {
    let gate = talkative();
    let (mut canaries, _) = sweep(&gate).await;
    // dev.env is for the operator's shell and holds the admin key on purpose; its mode is checked in A03.
    canaries.0.remove("admin key");
    let look = |gate: &Portcullis| {
        let files = files_below(&gate.state());
        assert!(files.len() > 5);
        for file in files {
            let text = String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned();
            assert_eq!(canaries.found_in(&text), [""; 0], "in {}", file.display());
        }
    };
    look(&gate);
    assert!(gate.terminate().success());
    look(&gate);
}

pub(super) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            files.extend(files_below(&entry.path()));
        } else {
            files.push(entry.path());
        }
    }
    files
}

#[tokio::test]
async fn s07_the_code_of_a_login_is_gone_from_the_address() {
    let (gate, provider) = (crate::support::shared(), Provider::start("s07-client"));
    let (id, upstream) = (unique("s07-"), Upstream::start());
    let plugins = json!({"openid-connect": {"client_id": "s07-client", "client_secret": "the secret of s07 in this test",
        "discovery": provider.discovery(), "scope": "openid"}});
    let route = json!({"uri": format!("/{id}/*"), "plugins": plugins, "upstream": crate::support::admin::node(&upstream)});
    gate.admin().set(&format!("routes/{id}"), &route).await;
    let mut browser = Browser::new();
    let page = browser.open(&format!("http://localhost:{}/{id}/home?a=b", gate.port(9080))).await;
    assert_eq!(page.status(), 200);
    assert_eq!((page.url.path(), page.url.query()), (format!("/{id}/home").as_str(), Some("a=b")));
    for seen in upstream.seen() {
        assert!(!seen.target.contains("code=") && !seen.target.contains("state="), "{}", seen.target);
        let raw = String::from_utf8_lossy(&seen.raw).into_owned();
        for name in browser.cookie_names() {
            let cookie = browser.cookie(name).unwrap();
            assert!(!raw.contains(cookie), "the session cookie went upstream");
        }
    }
}

#[tokio::test]
async fn s09_all_broken_cookies_and_tokens_are_told_the_same() {
    let (gate, provider) = (crate::support::shared(), Provider::start("s09-client"));
    let (id, upstream) = (unique("s09-"), Upstream::start());
    let plugins = |bearer: bool| {
        json!({"openid-connect": {"client_id": "s09-client", "client_secret": "the secret of s09 in this test",
            "discovery": provider.discovery(), "bearer_only": bearer, "use_jwks": bearer, "unauth_action": "deny"}})
    };
    for (name, bearer) in [("m", true), ("b", false)] {
        let route = json!({"uri": format!("/{id}/{name}"), "plugins": plugins(bearer), "upstream": crate::support::admin::node(&upstream)});
        gate.admin().set(&format!("routes/{id}-{name}"), &route).await;
    }
    let good = provider.access_token(&json!({}));
    let parts: Vec<&str> = good.split('.').collect();
    let foreign = Provider::start("s09-client");
    let tokens = [
        "opaque".to_owned(),
        "a.b.c".to_owned(),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}.{}.{}A", parts[0], parts[1], parts[2]),
        foreign.access_token(&json!({"iss": provider.issuer()})),
    ];
    let mut answers = Vec::new();
    for token in tokens {
        let answer = Request::get(&format!("/{id}/m")).bearer(&token).send(gate.port(9080)).await;
        assert_eq!(answer.status, 401);
        assert!(answer.header("www-authenticate").unwrap().contains("error=\"invalid_token\""));
        answers.push(answer.text());
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
    let mut answers: Vec<Value> = Vec::new();
    for cookie in ["x", "AAAA", &"A".repeat(400), &"_-".repeat(1000), "%00", "\"quoted\""] {
        let request = Request::get(&format!("/{id}/b")).header("Cookie", &format!("session={cookie}"));
        let answer = request.send(gate.port(9080)).await;
        answers.push(json!([answer.status, answer.text()]));
    }
    assert!(answers.iter().all(|answer| answer == &answers[0] && answer[0] == 401), "{answers:?}");
    assert!(upstream.received().is_empty());
}
