//! The `openid-connect` plugin from outside: tokens, keys that change, a provider that is down, and logins of browsers.
//!
//! Every test looks at three places: what the client is answered, what reached the upstream, and what the provider was
//! asked. The provider is scripted; logins at the embedded one are in `browser.rs`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, as tests do"
)]

mod support;

#[path = "openid_connect/assertions.rs"]
mod assertions;
#[path = "openid_connect/attributes.rs"]
mod attributes;
#[path = "openid_connect/bearer.rs"]
mod bearer;
#[cfg(feature = "count-allocations")]
#[path = "openid_connect/budgets.rs"]
mod budgets;
#[path = "openid_connect/calls.rs"]
mod calls;
#[path = "openid_connect/claims.rs"]
mod claims;
#[path = "openid_connect/encrypted.rs"]
mod encrypted;
#[path = "openid_connect/forged.rs"]
mod forged;
#[path = "openid_connect/fuzz.rs"]
mod fuzz;
#[path = "openid_connect/keys.rs"]
mod keys;
#[path = "openid_connect/login.rs"]
mod login;
#[path = "openid_connect/proof.rs"]
mod proof;
#[path = "openid_connect/providers.rs"]
mod providers;
#[cfg(feature = "peers")]
#[path = "openid_connect/redis.rs"]
mod redis;
#[path = "openid_connect/relying.rs"]
mod relying;
#[path = "openid_connect/session.rs"]
mod session;
#[path = "openid_connect/trouble.rs"]
mod trouble;
#[path = "openid_connect/tunnel.rs"]
mod tunnel;

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use support::{Portcullis, Provider, Request, Response, Seen, Site, Upstream, unique};

const CLIENT: &str = "oidc-client";
const SECRET: &str = "the secret of this client in these tests";

/// A route that asks this provider, with `further` attributes.
async fn guarded(gate: Arc<Portcullis>, provider: &Provider, further: Value) -> Site {
    guarded_at(gate, provider, |_| further).await
}

/// The same, with attributes that depend on the site's path.
async fn guarded_at(gate: Arc<Portcullis>, provider: &Provider, further: impl FnOnce(&str) -> Value) -> Site {
    let (upstream, id) = (Upstream::start(), unique("oidc-"));
    let path = format!("/{id}");
    let plugins = json!({"openid-connect": conf(provider, further(&path))});
    gate.admin().route(&id, &format!("{path}/*"), &upstream, plugins).await;
    Site { gate, upstream, path }
}

fn conf(provider: &Provider, further: Value) -> Value {
    let mut conf = json!({"client_id": CLIENT, "client_secret": SECRET, "discovery": provider.discovery()});
    conf.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
    conf
}

impl Site {
    /// One `GET` with a token.
    async fn with_token(&self, token: &str) -> Response {
        self.gate.send(Request::get(&self.target("api")).bearer(token)).await
    }

    /// The request that reached the upstream last.
    fn last(&self) -> Seen {
        self.upstream.seen().pop().expect("nothing reached the upstream")
    }

    /// How many requests have reached the upstream.
    fn reached(&self) -> usize {
        self.upstream.seen().len()
    }
}

/// A header that is base64 of JSON.
fn decoded(seen: &Seen, name: &str) -> Value {
    let value = seen.header(name).unwrap_or_else(|| panic!("no {name}: {seen:?}"));
    serde_json::from_slice(&STANDARD.decode(value).unwrap()).unwrap()
}

/// The fields of a form.
fn form(seen: &Seen) -> std::collections::BTreeMap<String, String> {
    form_urlencoded::parse(&seen.message.body).into_owned().collect()
}

/// Fails the test unless the token is refused by RFC 6750 and nothing reaches the upstream.
async fn expect_refused(site: &Site, what: &str, token: &str) {
    let before = site.reached();
    let answer = site.with_token(token).await;
    let challenge = answer.header("www-authenticate").unwrap_or_default();
    assert_eq!(answer.status, 401, "{what}: {answer:?}");
    assert!(challenge.starts_with(r#"Bearer realm="apisix", error="invalid_token""#), "{what}: {challenge}");
    assert_eq!(site.reached(), before, "{what} reached the upstream");
}
