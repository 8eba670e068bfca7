//! The gate with a provider that nobody here wrote: panva's `oidc-provider`. It refuses what is not in the
//! specifications, and so says whether the gate speaks them. And our own provider with clients that nobody here wrote.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, as tests do"
)]

mod support;

#[path = "interop/clients.rs"]
mod clients;
#[path = "interop/logins.rs"]
mod logins;
#[path = "interop/logouts.rs"]
mod logouts;
#[path = "interop/tokens.rs"]
mod tokens;

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use jose::{Alg, SigningKey};
use serde_json::{Map, Value, json};
use support::{Browser, Portcullis, Upstream, browser::Page, peer::Peer, unique};

const CLIENT: &str = "gate";
const SECRET: &str = "a secret of the gate that is long enough for HS256";
/// The API whose access tokens are JWTs there.
const API: &str = "https://api.example/";

/// A gate, a provider, and a route between them.
struct Place {
    gate: Arc<Portcullis>,
    peer: Peer,
    upstream: Upstream,
    path: String,
    keys: Vec<SigningKey>,
    client: Value,
}

impl Place {
    /// `client` are further metadata of the client's registration, `attributes` further ones of the plugin.
    async fn new(client: Value, attributes: Value) -> Self {
        let algs = [Alg::RS256, Alg::PS256, Alg::ES256, Alg::EdDSA];
        let keys: Vec<SigningKey> = algs.into_iter().map(signing_key).collect();
        let gate = Arc::new(Portcullis::dev());
        let path = format!("/{}", unique("interop-"));
        let origin = format!("http://localhost:{}", gate.port(9080));
        let secure = format!("https://localhost:{}", gate.port(9443));
        let mut registered = json!({
            "client_id": CLIENT,
            "client_secret": SECRET,
            "grant_types": ["authorization_code", "refresh_token", "client_credentials"],
            "redirect_uris": [format!("{origin}{path}/callback"), format!("{secure}{path}/callback")],
            "post_logout_redirect_uris": [format!("{origin}{path}/bye")],
            "response_types": ["code"],
            "backchannel_logout_uri": format!("http://127.0.0.1:{}{path}/backchannel", gate.port(9080)),
            "backchannel_logout_session_required": true,
        });
        extend(&mut registered, client);
        let peer = Peer::start(&json!([registered]), &keys);
        let mut plugin = json!({
            "client_id": CLIENT,
            "client_secret": SECRET,
            "discovery": peer.discovery(),
            "scope": "openid email offline_access",
            "redirect_uri": format!("{path}/callback"),
            "logout_path": format!("{path}/logout"),
            "post_logout_redirect_uri": format!("{path}/bye"),
        });
        // Paths of the route's own are written `PATH/…` by the tests, which do not know it yet.
        let attributes = attributes.to_string().replace("PATH/", &format!("{path}/"));
        extend(&mut plugin, serde_json::from_str(&attributes).unwrap());
        let upstream = Upstream::start();
        let plugins = json!({ "openid-connect": plugin });
        gate.admin().route(&unique("route-"), &format!("{path}/*"), &upstream, plugins).await;
        Self { gate, peer, upstream, path, keys, client: registered }
    }

    fn url(&self, rest: &str) -> String {
        format!("http://localhost:{}{}/{rest}", self.gate.port(9080), self.path)
    }

    /// Opens a page and logs in on the way; where that ends.
    async fn visit(&self, browser: &mut Browser) -> Page {
        self.visit_at(browser, &self.url("page")).await
    }

    /// The same for a page by its whole address.
    async fn visit_at(&self, browser: &mut Browser, url: &str) -> Page {
        let mut page = browser.open(url).await;
        // The provider's own pages: a login, then a consent.
        for _ in 0..3 {
            if page.url.port() != Some(self.peer.port()) || page.status() != 200 {
                break;
            }
            page = browser.submit(&page, &[("login", "alice"), ("password", "any")]).await;
        }
        page
    }

    /// A browser that is logged in.
    async fn logged_in(&self) -> Browser {
        let mut browser = Browser::new();
        let page = self.visit(&mut browser).await;
        assert_eq!((page.status(), page.url.as_str()), (200, self.url("page").as_str()), "{page:?}");
        browser
    }

    /// A header of the request that reached the upstream last: base64 of JSON.
    fn told(&self, name: &str) -> Value {
        let seen = self.upstream.seen().pop().expect("nothing reached the upstream");
        let value = seen.header(name).unwrap_or_else(|| panic!("no {name}: {seen:?}"));
        serde_json::from_slice(&STANDARD.decode(value).unwrap()).unwrap()
    }
}

fn extend(object: &mut Value, further: Value) {
    let further: Map<String, Value> = further.as_object().unwrap().clone();
    object.as_object_mut().unwrap().extend(further);
}

fn signing_key(alg: Alg) -> SigningKey {
    support::tokens::key(alg, &unique("key-"))
}
