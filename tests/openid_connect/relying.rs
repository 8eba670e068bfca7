//! Group R of the threat catalogue: attacks on logins, sessions and logouts, at the door of the built binary. Each looks
//! at what the browser is answered, at what reached the upstream, and at what the provider was asked.

use std::collections::BTreeMap;

use url::Url;

use super::{CLIENT, SECRET, conf, decoded, form, guarded, guarded_at, login};
use crate::support::{Browser, Line, Portcullis, Request, Response, Site};

#[path = "relying/callbacks.rs"]
mod callbacks;
#[path = "relying/cookies.rs"]
mod cookies;
#[path = "relying/leaks.rs"]
mod leaks;
#[path = "relying/logouts.rs"]
mod logouts;
#[path = "relying/people.rs"]
mod people;
#[path = "relying/trust.rs"]
mod trust;

/// The parameters of a URL.
fn query(url: &str) -> BTreeMap<String, String> {
    Url::parse(url).unwrap().query_pairs().into_owned().collect()
}

/// `name=value` of every cookie that an answer sets and does not take away.
fn given(answer: &Response) -> Vec<String> {
    let lines = answer.all("set-cookie").into_iter().filter(|line| !line.contains("Max-Age=0"));
    lines.map(|line| line.split(';').next().unwrap().to_owned()).collect()
}

/// Whether an answer gives a session.
fn gives_session(answer: &Response) -> bool {
    given(answer).iter().any(|pair| pair.starts_with("session=") || pair.starts_with("__Host-session="))
}

/// Fails the test unless a login from the start to its end gives this status, no session, and nothing reaches the
/// upstream.
pub(super) async fn expect_no_login(site: &Site, what: &str, status: u16) {
    let before = site.reached();
    let mut browser = Browser::new();
    let page = browser.open(&site.url("first")).await;
    assert_eq!((page.status(), browser.cookie("session")), (status, None), "{what}: {page:?}");
    assert_eq!(site.reached(), before, "{what} reached the upstream");
}

/// A browser's requests one after the other, with whatever cookies.
struct Visitor {
    host: String,
    line: Line,
}

impl Visitor {
    async fn of(gate: &Portcullis) -> Self {
        let port = gate.port(9080);
        Self { host: format!("localhost:{port}"), line: Line::to(port).await }
    }

    async fn ask(&mut self, target: &str, cookies: &str) -> Response {
        let request = Request::get(target).header("Host", &self.host).header("Accept", "text/html");
        let request = if cookies.is_empty() { request } else { request.header("Cookie", cookies) };
        self.line.send(&request).await
    }
}
