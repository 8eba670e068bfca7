//! A page of somebody else's making: `@auth0/auth0-spa-js` from npm, which `cargo xtask install` installs.

use std::path::Path;

use serde_json::{Value, json};

use super::{visit::Visit, webdriver::Chromium};
use crate::support::{Answer, Request, Upstream, unique};

/// The library, which the page includes.
const LIBRARY: &str =
    "../../target/peers/oauth-clients/node_modules/@auth0/auth0-spa-js/dist/auth0-spa-js.production.js";

/// What an application does with it: everything that comes of it is shown.
const PAGE: &str = r#"<!doctype html>
<title>An application</title>
<button id="login">Log in</button>
<button id="silent">Without a page</button>
<button id="refresh">Refresh</button>
<button id="logout">Log out</button>
<div id="states"></div>
<script src="library.js"></script>
<script>
const here = location.origin + location.pathname
const rotating = { useRefreshTokens: true, useRefreshTokensFallback: false, cacheLocation: 'localstorage' }
const client = new auth0.Auth0Client({
  domain: 'DOMAIN', clientId: 'CLIENT', authorizationParams: { redirect_uri: here, audience: 'AUDIENCE' },
  ...(location.pathname.includes('rotating') ? rotating : {}),
})
const seen = {}
const show = (name, value) => {
  seen[name] = (seen[name] ?? 0) + 1
  const line = document.createElement('pre')
  line.id = `${name}-${seen[name]}`
  line.textContent = JSON.stringify(value)
  document.querySelector('#states').append(line)
}
const kept = () => {
  for (const entry of Object.values(localStorage)) {
    const token = JSON.parse(entry).body?.refresh_token
    if (token) return token
  }
  return null
}
const does = (id, work) => document.querySelector(`#${id}`).addEventListener('click', async () => {
  try { show(id, await work()) } catch (error) { show(id, { error: error.error ?? String(error) }) }
})
does('login', () => client.loginWithRedirect())
does('logout', () => client.logout({ logoutParams: { returnTo: here } }))
does('silent', async () => ({ token: await client.getTokenSilently({ cacheMode: 'off' }) }))
does('refresh', async () => ({ token: await client.getTokenSilently({ cacheMode: 'off' }), kept: kept() }))
;(async () => {
  if (location.search.includes('code=')) {
    await client.handleRedirectCallback()
    history.replaceState({}, '', location.pathname)
  }
  show('user', await client.getUser() ?? null)
})().catch((error) => show('user', { error: error.error ?? String(error) }))
</script>
"#;

/// The page behind the gate, on https like the provider, and the client that it is.
struct Application {
    visit: Visit,
    url: String,
    client: String,
    _upstream: Upstream,
}

impl Application {
    async fn start(name: &str) -> Self {
        let visit = Visit::trusting().await;
        let gate = &visit.gate;
        let origin = format!("https://localhost:{}", gate.port(9443));
        let url = format!("{origin}/{name}/page");
        let made = visit
            .manage(
                "POST",
                "clients",
                &json!({
                    "name": unique("A page "),
                    "app_type": "spa",
                    "callbacks": [&url],
                    "web_origins": [&origin],
                    "allowed_logout_urls": [&url],
                    "grant_types": ["authorization_code", "refresh_token"],
                }),
            )
            .await
            .json();
        let client = made["client_id"].as_str().unwrap().to_owned();
        let found =
            visit.manage("GET", "connections?name=Username-Password-Authentication", &Value::Null).await;
        let path = format!("connections/{}/clients", found.json()[0]["id"].as_str().unwrap());
        visit.manage("PATCH", &path, &json!([{"client_id": client, "status": true}])).await;
        let api =
            form_urlencoded::byte_serialize(gate.variable("AUTH0_AUDIENCE").as_bytes()).collect::<String>();
        let offline = json!({"allow_offline_access": true});
        visit.manage("PATCH", &format!("resource-servers/{api}"), &offline).await;
        let page = PAGE
            .replace("DOMAIN", &gate.variable("AUTH0_DOMAIN"))
            .replace("CLIENT", &client)
            .replace("AUDIENCE", &gate.variable("AUTH0_AUDIENCE"));
        let library = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(LIBRARY)).unwrap();
        let upstream = Upstream::scripted(move |seen| match seen.path().rsplit('/').next() {
            Some("library.js") => Answer::with(200, &[("Content-Type", "text/javascript")], &library),
            Some("page") => Answer::with(200, &[("Content-Type", "text/html")], &page),
            _ => Answer::with(404, &[], ""),
        });
        gate.admin().route(&unique("page-"), &format!("/{name}/*"), &upstream, json!({})).await;
        Self { visit, url, client, _upstream: upstream }
    }

    fn browser(&self) -> &Chromium {
        &self.visit.browser
    }

    /// What the page showed of something for the n-th time.
    fn shown(&self, what: &str, times: usize) -> Value {
        serde_json::from_str(&self.browser().text(&format!("#{what}-{times}"))).unwrap()
    }

    /// Logs in from the page that says that nobody is.
    fn log_in(&self) {
        self.browser().open(&self.url);
        assert_eq!(self.shown("user", 1), Value::Null);
        self.browser().click("#login");
        self.browser().text("#login-title");
        self.visit.log_in_well();
        let user = self.shown("user", 1);
        assert_eq!(user["email"], self.visit.gate.variable("DEMO_USER").as_str(), "{user}");
        assert_eq!(self.browser().url(), self.url);
    }

    /// Logs out, and finds nobody logged in on the page that it comes back to.
    fn log_out(&self) {
        self.browser().click("#logout");
        self.browser().text("#user-1");
        assert_eq!((self.browser().url(), self.shown("user", 1)), (self.url.clone(), Value::Null));
    }
}

#[tokio::test]
async fn a_page_logs_in_gets_tokens_in_a_frame_and_logs_out() {
    let page = Application::start(&unique("spa-")).await;
    page.log_in();
    let mut tokens = Vec::new();
    for times in 1..=2 {
        page.browser().click("#silent");
        let got = page.shown("silent", times);
        tokens.push(got["token"].as_str().unwrap_or_else(|| panic!("{got}")).to_owned());
    }
    assert!(tokens.iter().all(|token| token.split('.').count() == 3), "JWTs for the API: {tokens:?}");
    page.log_out();
    page.browser().click("#silent");
    assert_eq!(page.shown("silent", 1)["error"], "login_required");
    page.browser().expect_calm();
}

#[tokio::test]
async fn a_page_rotates_its_refresh_token() {
    let page = Application::start(&unique("rotating-")).await;
    page.log_in();
    let mut kept: Vec<String> = Vec::new();
    for times in 1..=3 {
        page.browser().click("#refresh");
        let got = page.shown("refresh", times);
        let token = got["kept"].as_str().unwrap_or_else(|| panic!("{got}")).to_owned();
        assert!(!kept.contains(&token), "each refresh gives another");
        kept.push(token);
    }
    // Whoever found an old one ends them all.
    let old = json!({"grant_type": "refresh_token", "client_id": page.client, "refresh_token": kept[0]});
    let port = page.visit.gate.port(9400);
    let stolen = Request::new("POST", "/oauth/token").header("Host", &format!("localhost:{port}")).json(&old);
    assert_eq!(stolen.send(port).await.json()["error"], "invalid_grant");
    page.browser().click("#refresh");
    assert_eq!(page.shown("refresh", 4)["error"], "invalid_grant");
    page.log_out();
    page.browser().expect_calm();
}
