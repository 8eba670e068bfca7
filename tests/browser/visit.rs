//! A visit of a new browser to a protected route of the shared instance.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

use super::webdriver::Chromium;
use crate::support::{Portcullis, Request, Response, shared};

/// A browser takes a core of the machine and hundreds of megabytes: one at a time.
static TURN: Mutex<()> = Mutex::const_new(());

/// A browser, the instance it visits, and its turn.
pub(crate) struct Visit {
    pub(crate) browser: Chromium,
    pub(crate) gate: Arc<Portcullis>,
    _turn: MutexGuard<'static, ()>,
}

impl Visit {
    /// With `/anything/*` behind a login, and `/anything/logout` as the way out.
    pub(crate) async fn start() -> Self {
        Self::with(Chromium::start).await
    }

    /// The same with a browser that takes the certificates of `dev` for good ones.
    pub(crate) async fn trusting() -> Self {
        Self::with(Chromium::trusting).await
    }

    async fn with(browser: impl FnOnce() -> Chromium) -> Self {
        let turn = TURN.lock().await;
        let gate = shared();
        let http = gate.port(9080);
        let plugin = json!({
            "client_id": gate.variable("AUTH0_CLIENT_ID"),
            "client_secret": gate.variable("AUTH0_CLIENT_SECRET"),
            "discovery": format!("{}.well-known/openid-configuration", gate.variable("ISSUER")),
            "scope": "openid profile email",
            "redirect_uri": format!("http://localhost:{http}/anything/callback"),
            "logout_path": "/anything/logout",
            "post_logout_redirect_uri": format!("http://localhost:{http}/"),
        });
        let route = json!({
            "uri": "/anything/*",
            "plugins": {"openid-connect": plugin},
            "upstream": {"type": "roundrobin", "nodes": {format!("localhost:{}", gate.port(9480)): 1}},
        });
        gate.admin().set("routes/behind-a-login", &route).await;
        Self { browser: browser(), gate, _turn: turn }
    }

    /// A URL of the gateway.
    pub(crate) fn at(&self, target: &str) -> String {
        format!("http://localhost:{}{target}", self.gate.port(9080))
    }

    /// Opens a page that sends to the login.
    pub(crate) fn open_login(&self, target: &str) {
        self.browser.open(&self.at(target));
        self.browser.text("#login-title");
        assert!(self.browser.url().starts_with(&self.gate.variable("ISSUER")), "{}", self.browser.url());
    }

    /// Fills in the login page and sends it.
    pub(crate) fn log_in(&self, password: &str) {
        self.browser.fill("#username", &self.gate.variable("DEMO_USER"));
        self.browser.fill("#password", password);
        self.browser.click("#submit-login");
    }

    /// Logs in as the demo user.
    pub(crate) fn log_in_well(&self) {
        self.log_in(&self.gate.variable("DEMO_PASSWORD"));
    }

    /// The request as the upstream saw it, which must be the one for `target`, with who has logged in.
    pub(crate) fn expect_echo(&self, target: &str) -> Value {
        let echo = self.browser.json();
        assert_eq!(self.browser.url(), self.at(target));
        for name in ["X-Access-Token", "X-Id-Token", "X-Userinfo"] {
            assert!(echo["headers"][name].is_string(), "no {name}: {echo:#}");
        }
        echo
    }

    /// One call of the Management API, as the application that may do everything.
    pub(crate) async fn manage(&self, method: &str, path: &str, body: &Value) -> Response {
        let (gate, issuer) = (&self.gate, self.gate.variable("ISSUER"));
        let asked = json!({
            "grant_type": "client_credentials",
            "client_id": gate.variable("AUTH0_MGMT_CLIENT_ID"),
            "client_secret": gate.variable("AUTH0_MGMT_CLIENT_SECRET"),
            "audience": format!("{issuer}api/v2/"),
        });
        let port = gate.port(9400);
        let host = format!("localhost:{port}");
        let request = Request::new("POST", "/oauth/token").header("Host", &host).json(&asked);
        let token = request.send(port).await.json()["access_token"].as_str().expect("a token").to_owned();
        let request = Request::new(method, &format!("/api/v2/{path}")).header("Host", &host).bearer(&token);
        let request = if body.is_null() { request } else { request.json(body) };
        let answer = request.send(port).await;
        assert!(answer.status < 300, "{method} {path}: {} {}", answer.status, answer.text());
        answer
    }
}
