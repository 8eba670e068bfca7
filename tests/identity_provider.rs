//! The embedded identity provider over its own listeners: what each endpoint is for, by the plain origin and by the
//! one with TLS.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, as tests do"
)]

mod support;

#[path = "identity_provider/bad_forms.rs"]
mod bad_forms;
#[path = "identity_provider/bad_input.rs"]
mod bad_input;
#[path = "identity_provider/login.rs"]
mod login;
#[path = "identity_provider/machines.rs"]
mod machines;
#[path = "identity_provider/management.rs"]
mod management;
#[cfg(feature = "peers")]
#[path = "identity_provider/nodes.rs"]
mod nodes;
#[cfg(feature = "peers")]
#[path = "../crates/idp-store/tests/suite/postgres.rs"]
mod postgres;
#[path = "identity_provider/tenant.rs"]
mod tenant;

use std::{collections::BTreeMap, sync::Arc};

use jose::{Alg, CompactJws, KeySet};
use serde_json::Value;
use support::{Browser, Connection, Portcullis, Request, Response, browser::Page, shared};
use url::Url;

/// RFC 7636 appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// The provider by one of its origins.
#[derive(Clone)]
struct Door {
    gate: Arc<Portcullis>,
    secure: bool,
}

impl Door {
    /// Both origins of the shared instance.
    fn both() -> [Self; 2] {
        let gate = shared();
        [false, true].map(|secure| Self { gate: Arc::clone(&gate), secure })
    }

    /// The plain origin of an instance of its own, whose clock may be moved.
    fn alone() -> Self {
        Self { gate: Arc::new(Portcullis::dev()), secure: false }
    }

    /// The issuer, with its slash.
    fn issuer(&self) -> String {
        match self.secure {
            true => format!("https://{}/", self.gate.variable("AUTH0_DOMAIN")),
            false => self.gate.variable("ISSUER"),
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.issuer())
    }

    fn callback(&self) -> String {
        format!("http://localhost:{}/anything/callback", self.gate.port(9080))
    }

    async fn send(&self, request: Request) -> Response {
        let issuer = Url::parse(&self.issuer()).unwrap();
        let host = format!("localhost:{}", issuer.port().unwrap());
        let connection = match self.secure {
            true => self.gate.connect_tls(9401).await,
            false => Connection::open(self.gate.port(9400)).await,
        };
        request.header("Host", &host).send_over(connection).await
    }

    async fn get(&self, path: &str) -> Response {
        self.send(Request::get(path)).await
    }

    async fn post(&self, path: &str, form: &[(&str, &str)]) -> Response {
        self.send(posted(path, form)).await
    }

    /// A form of the demo application, which proves itself in it.
    async fn demo(&self, path: &str, form: &[(&str, &str)]) -> Response {
        let (id, secret) = (self.gate.variable("AUTH0_CLIENT_ID"), self.gate.variable("AUTH0_CLIENT_SECRET"));
        self.post(path, &[form, &[("client_id", &id), ("client_secret", &secret)]].concat()).await
    }

    /// Tokens for a form of the demo application.
    async fn tokens(&self, form: &[(&str, &str)]) -> Value {
        let answer = self.demo("/oauth/token", form).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        answer.json()
    }

    /// What introspection says of a token to the demo application.
    async fn introspect(&self, token: &str) -> Value {
        self.demo("/oauth/introspect", &[("token", token)]).await.json()
    }

    async fn userinfo(&self, token: &str) -> Response {
        self.send(Request::get("/userinfo").bearer(token)).await
    }

    /// A browser that may come by either origin.
    fn browser(&self) -> Browser {
        Browser::trusting(self.gate.authority())
    }

    /// The URL of an authorization request of the demo application.
    fn authorize(&self, extra: &[(&str, &str)]) -> String {
        let (client, callback) = (self.gate.variable("AUTH0_CLIENT_ID"), self.callback());
        let mut params = BTreeMap::from([
            ("client_id", client.as_str()),
            ("redirect_uri", &callback),
            ("response_type", "code"),
            ("scope", "openid profile email"),
            ("state", "st&te"),
            ("nonce", "n-1"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ]);
        params.extend(extra.iter().copied());
        format!("{}?{}", self.url("authorize"), encoded(params))
    }

    /// Logs in as the demo user, where that is asked for; what the callback gets.
    async fn visit(&self, browser: &mut Browser, extra: &[(&str, &str)]) -> BTreeMap<String, String> {
        let mut page = browser.open(&self.authorize(extra)).await;
        if page.has_id("login-title") {
            let (user, password) = (self.gate.variable("DEMO_USER"), self.gate.variable("DEMO_PASSWORD"));
            page = browser.log_in(&page, &user, &password).await;
        }
        self.arrived(&page)
    }

    /// What the callback got.
    fn arrived(&self, page: &Page) -> BTreeMap<String, String> {
        assert!(page.url.as_str().starts_with(&self.callback()), "{}: {}", page.url, page.response.text());
        let answer: BTreeMap<_, _> = page.url.query_pairs().into_owned().collect();
        assert_eq!((answer["state"].as_str(), &answer["iss"]), ("st&te", &self.issuer()));
        answer
    }

    /// Redeems a code of [`Self::visit`].
    async fn redeem(&self, code: &str) -> Response {
        let callback = self.callback();
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", callback.as_str()),
            ("code_verifier", VERIFIER),
        ];
        self.demo("/oauth/token", &form).await
    }

    /// The tokens of a login.
    async fn log_in(&self, browser: &mut Browser, extra: &[(&str, &str)]) -> Value {
        let answer = self.visit(browser, extra).await;
        let answer = self.redeem(&answer["code"]).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    /// The claims of a token that this origin's published keys verify, for this origin's issuer.
    async fn claims(&self, token: &Value) -> Value {
        let keys = KeySet::parse(&self.get("/.well-known/jwks.json").await.message.body).unwrap();
        let jws = CompactJws::parse(token.as_str().unwrap()).unwrap();
        let claims: Value = serde_json::from_slice(&keys.verify(&jws, &[Alg::RS256]).unwrap()).unwrap();
        assert_eq!(claims["iss"], self.issuer());
        let (issued, until) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
        assert!(issued < until);
        claims
    }
}

fn posted(path: &str, form: &[(&str, &str)]) -> Request {
    let body = encoded(form.iter().copied());
    Request::new("POST", path).header("Content-Type", "application/x-www-form-urlencoded").body(body)
}

fn encoded<'a>(params: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish()
}
