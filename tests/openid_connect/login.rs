//! Logins: from the first page, by way of the provider, and back.

use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use url::Url;

use super::{CLIENT, SECRET, conf, decoded, form, guarded_at};
use crate::support::{
    Answer, Browser, Portcullis, Provider, Request, Response, Site, Upstream, shared, unique,
};

/// A site that browsers log in to.
pub(super) async fn site(gate: std::sync::Arc<Portcullis>, provider: &Provider, further: Value) -> Site {
    guarded_at(gate, provider, |path| {
        let mut own = json!({
            "redirect_uri": format!("{path}/callback"),
            "logout_path": format!("{path}/logout"),
            "scope": "openid profile",
        });
        own.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
        own
    })
    .await
}

impl Site {
    /// The address of a page as a browser on this machine names it.
    pub(super) fn url(&self, rest: &str) -> String {
        format!("http://localhost:{}{}", self.gate.port(9080), self.target(rest))
    }

    /// A browser that has opened a page and logged in on the way.
    pub(super) async fn logged_in(&self) -> Browser {
        let mut browser = Browser::new();
        let page = browser.open(&self.url("first")).await;
        assert_eq!((page.status(), page.url.as_str()), (200, self.url("first").as_str()), "{page:?}");
        browser
    }

    /// A browser that has logged in, whatever the page says then.
    pub(super) async fn logged_in_or_not(&self) -> Browser {
        let mut browser = Browser::new();
        browser.open(&self.url("first")).await;
        browser
    }

    /// What a browser with these cookies is answered.
    pub(super) async fn with_cookies(&self, rest: &str, cookies: &str) -> Response {
        let host = format!("localhost:{}", self.gate.port(9080));
        let request = Request::get(&self.target(rest)).header("Host", &host).header("Accept", "text/html");
        self.gate.send(request.header("Cookie", cookies)).await
    }

    /// Goes up to the provider, and no further: the browser, and where the provider sends it back to.
    pub(super) async fn before_the_callback(&self, provider: &Provider) -> (Browser, Url) {
        let mut browser = Browser::new();
        let away = browser.open_only(&self.url("first")).await.location().unwrap();
        assert!(away.as_str().starts_with(&provider.issuer()), "{away}");
        let back = browser.open_only(away.as_str()).await.location().unwrap();
        (browser, back)
    }
}

/// All cookies of a browser.
pub(super) fn cookies(browser: &Browser) -> String {
    let pair = |name: &&str| format!("{name}={}", browser.cookie(name).unwrap());
    browser.cookie_names().iter().map(pair).collect::<Vec<_>>().join("; ")
}

#[tokio::test]
async fn a_browser_logs_in_and_the_upstream_is_told_who_it_is() {
    let provider = Provider::start(CLIENT);
    let site = site(shared(), &provider, json!({"set_raw_id_token_header": true})).await;
    let mut browser = site.logged_in().await;
    browser.plant("app", "1");
    let page = browser.open(&site.url("page?a=1&b=%2F")).await;
    assert_eq!((page.status(), page.response.text().as_str()), (200, "ok"));
    let seen = site.last();
    assert!(seen.target.ends_with("/page?a=1&b=%2F"));
    assert_eq!(seen.header("cookie"), Some("app=1"), "the session's own cookie stays here");
    assert!(seen.header("x-access-token").unwrap().starts_with("ey"));
    assert_eq!(decoded(&seen, "x-id-token")["aud"], CLIENT);
    assert_eq!(decoded(&seen, "x-userinfo")["name"], "A User");
    assert!(
        seen.header("x-raw-id-token").unwrap().starts_with("ey") && seen.header("x-refresh-token").is_none()
    );
    assert_eq!(site.reached(), 2, "nothing reaches the upstream without a login");

    let [asked] = provider.hits("/authorize").try_into().unwrap();
    let query = Url::parse(&format!("http://idp{}", asked.target)).unwrap();
    let query: std::collections::BTreeMap<_, _> = query.query_pairs().into_owned().collect();
    assert_eq!((query["client_id"].as_str(), query["response_type"].as_str()), (CLIENT, "code"));
    assert_eq!(
        (query["scope"].as_str(), query["redirect_uri"].clone()),
        ("openid profile", site.url("callback"))
    );
    let [exchange] = provider.hits("/token").try_into().unwrap();
    let sent = form(&exchange);
    assert_eq!((sent["grant_type"].as_str(), sent["code"].as_str()), ("authorization_code", "code-1"));
    assert_eq!(sent["redirect_uri"], query["redirect_uri"]);
    let challenge = digest::digest(&digest::SHA256, sent["code_verifier"].as_bytes());
    assert_eq!(URL_SAFE_NO_PAD.encode(challenge), query["code_challenge"]);
    assert!(
        exchange.header("authorization").unwrap().starts_with("Basic ")
            && !sent.contains_key("client_secret")
    );
    assert_eq!(provider.hits("/userinfo").len(), 1);
    assert!(!site.gate.output().contains(SECRET));
}

#[tokio::test]
async fn a_user_logs_in_at_the_embedded_provider_and_logs_out_of_both() {
    let gate = std::sync::Arc::new(Portcullis::dev());
    let upstream = Upstream::start();
    let home = format!("http://localhost:{}/", gate.port(9080));
    let plugins = json!({"openid-connect": {
        "client_id": gate.variable("AUTH0_CLIENT_ID"),
        "client_secret": gate.variable("AUTH0_CLIENT_SECRET"),
        "discovery": format!("{}.well-known/openid-configuration", gate.variable("ISSUER")),
        "scope": "openid profile email offline_access",
        "redirect_uri": format!("{home}anything/callback"),
        "logout_path": "/anything/logout",
        "post_logout_redirect_uri": home,
    }});
    gate.admin().route("app", "/anything/*", &upstream, plugins).await;
    let site = Site { gate, upstream, path: "/anything".to_owned() };
    let (user, password) = (site.gate.variable("DEMO_USER"), site.gate.variable("DEMO_PASSWORD"));
    let mut browser = Browser::new();
    let login = browser.open(&site.url("page?x=1")).await;
    assert_eq!(site.reached(), 0);
    let page = browser.log_in(&login, &user, &password).await;
    assert_eq!((page.status(), page.url.as_str()), (200, site.url("page?x=1").as_str()), "{page:?}");
    let seen = site.last();
    assert_eq!(decoded(&seen, "x-userinfo")["email"], user.as_str());
    assert_eq!(decoded(&seen, "x-id-token")["iss"], site.gate.variable("ISSUER"));
    assert_eq!(seen.header("cookie"), None, "neither the gate's cookies nor the provider's go upstream");
    let old = cookies(&browser);

    site.gate.advance(std::time::Duration::from_secs(800)).await;
    assert_eq!(browser.open(&site.url("later")).await.status(), 200);
    let out = browser.open(&site.url("logout")).await;
    assert_eq!(out.url.as_str(), home, "{out:?}");
    let reached = site.reached();
    assert!(
        browser.open(&site.url("page")).await.has_id("login-title"),
        "logged out at the provider as well"
    );
    let session = old.split("; ").find(|pair| pair.starts_with("session=")).unwrap();
    assert_eq!(site.with_cookies("page", session).await.status, 302);
    assert_eq!(site.reached(), reached);
}

#[tokio::test]
async fn r02_one_state_buys_one_exchange_also_with_ten_at_once() {
    let provider = Provider::start(CLIENT);
    let site = site(shared(), &provider, json!({})).await;
    let (browser, back) = site.before_the_callback(&provider).await;
    let (target, cookies) = (format!("{}?{}", back.path(), back.query().unwrap()), cookies(&browser));
    let target = target.strip_prefix(&format!("{}/", site.path)).unwrap();
    let answers = futures_util::future::join_all((0..10).map(|_| site.with_cookies(target, &cookies))).await;
    let won: Vec<_> = answers.iter().filter(|answer| answer.status == 302).collect();
    assert_eq!(won.len(), 1, "{answers:?}");
    assert_eq!(won[0].header("location"), Some(site.url("first").as_str()));
    for lost in answers.iter().filter(|answer| answer.status != 302) {
        assert_eq!(lost.status, 400);
        assert!(!lost.all("set-cookie").iter().any(|line| line.starts_with("session=")), "{lost:?}");
    }
    assert_eq!((provider.hits("/token").len(), site.reached()), (1, 0));
}

#[tokio::test]
async fn r01_r03_a_callback_that_this_browser_did_not_begin_makes_no_session() {
    let provider = Provider::start(CLIENT);
    let site = site(shared(), &provider, json!({})).await;
    let (attacker, back) = site.before_the_callback(&provider).await;
    let (victim, own) = site.before_the_callback(&provider).await;
    let state = |url: &Url| url.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    let mine = cookies(&victim);
    for (what, query, cookies) in [
        ("without cookies", back.query().unwrap().to_owned(), ""),
        ("with another browser's", back.query().unwrap().to_owned(), mine.as_str()),
        ("without a state", "code=code-1".to_owned(), &mine),
        ("with an empty one", "code=code-1&state=".to_owned(), &mine),
        ("with two", format!("code=code-1&state={}&state={}", state(&own), state(&back)), &mine),
        ("with a longer one", format!("code=code-1&state={}0", state(&own)), &mine),
        ("without a code", format!("state={}", state(&own)), &mine),
        (
            "from another provider",
            format!("{}&iss=https%3A%2F%2Fevil.example%2F", own.query().unwrap()),
            &mine,
        ),
    ] {
        let answer = site.with_cookies(&format!("callback?{query}"), cookies).await;
        assert_eq!(answer.status, 400, "{what}: {answer:?}");
        assert!(
            !answer.all("set-cookie").iter().any(|line| line.starts_with("session=")),
            "{what}: {answer:?}"
        );
    }
    for method in ["POST", "HEAD", "PUT"] {
        let request = Request::new(method, &format!("{}?{}", own.path(), own.query().unwrap()));
        let answer = site.gate.send(request.header("Cookie", &mine)).await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET")), "{method}");
    }
    assert_eq!((provider.hits("/token").len(), site.reached()), (0, 0));
    drop(attacker);
    let good = format!("callback?{}", own.query().unwrap());
    assert_eq!(site.with_cookies(&good, &mine).await.status, 302, "none of that has used the login up");
    assert_eq!(provider.hits("/token").len(), 1);
}

#[tokio::test]
async fn r11_what_a_callback_says_is_escaped_and_splits_no_header() {
    let provider = Provider::start(CLIENT);
    let site = site(shared(), &provider, json!({})).await;
    for said in ["%3Cscript%3Ealert(1)%3C/script%3E", "a%0d%0aSet-Cookie:%20evil=1", "%E2%80%AEx", "%00"] {
        let (browser, back) = site.before_the_callback(&provider).await;
        let state = back.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
        let query = format!("callback?error=access_denied&error_description={said}&state={state}");
        let host = format!("localhost:{}", site.gate.port(9080));
        let request = Request::get(&site.target(&query)).header("Host", &host).header("Accept", "text/html");
        let answer = site.gate.send(request.header("Cookie", &cookies(&browser))).await;
        assert_eq!(answer.status, 403, "{said}: {answer:?}");
        let text = answer.text();
        assert!(text.contains("id=\"error\"") && text.contains("access_denied"), "{text}");
        assert!(!text.contains("<script") && !text.contains('\u{202e}'), "{text}");
        assert!(!answer.all("set-cookie").iter().any(|line| line.starts_with("evil")));
    }
    assert_eq!(provider.hits("/token").len(), 0);
}

#[tokio::test]
async fn r15_r17_the_way_back_never_leaves_the_origin() {
    let (provider, gate) = (Provider::start(CLIENT), std::sync::Arc::new(Portcullis::dev()));
    let upstream = Upstream::start();
    let plugins = json!({"openid-connect": conf(&provider, json!({"redirect_uri": "/the-callback"}))});
    gate.admin().route("all", "/*", &upstream, plugins).await;
    let site = Site { gate, upstream, path: String::new() };
    let host = format!("localhost:{}", site.gate.port(9080));
    let mut returned = 0;
    for target in tricks() {
        let ask = |target: &str, cookies: &str| {
            let request = Request::get(target).header("Host", &host).header("Accept", "text/html");
            // Nobody on this connection is trusted to say any of this.
            let request = [
                "X-Forwarded-Host",
                "X-Forwarded-Server",
                "X-Original-URL",
                "X-Forwarded-Prefix",
                "Forwarded",
            ]
            .iter()
            .fold(request, |request, name| request.header(name, "host=evil.example"));
            site.gate.send(if cookies.is_empty() { request } else { request.header("Cookie", cookies) })
        };
        let away = ask(&target, "").await;
        if away.status == 400 {
            continue;
        }
        assert_eq!(away.status, 302, "{target}: {away:?}");
        let location = Url::parse(away.header("location").unwrap()).unwrap();
        let asked: std::collections::BTreeMap<_, _> = location.query_pairs().into_owned().collect();
        assert!(location.as_str().starts_with(&provider.issuer()), "{target}: {location}");
        assert_eq!(asked["redirect_uri"], format!("http://{host}/the-callback"), "{target}");
        let cookie = away.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        let mut idp = Browser::new();
        let back = idp.open_only(location.as_str()).await.location().unwrap();
        let home = ask(&format!("{}?{}", back.path(), back.query().unwrap()), &cookie).await;
        assert_eq!(home.status, 302, "{target}: {home:?}");
        let lines = home.all("location");
        assert!(lines.len() == 1 && home.header("x-evil").is_none(), "{target}: {home:?}");
        assert!(lines[0].starts_with(&format!("http://{host}/")), "{target}: {}", lines[0]);
        let home = Url::parse(lines[0]).unwrap();
        assert_eq!((home.host_str(), home.username()), (Some("localhost"), ""), "{target}: {home}");
        returned += 1;
    }
    assert!(returned > 100, "only {returned} were followed");
    assert_eq!(site.reached(), 0);
}

/// Targets that some reader takes for another host: every way to begin, with every way to name the host.
fn tricks() -> Vec<String> {
    let starts = [
        "/",
        "//",
        "///",
        "/\\",
        "/\\/",
        "/\\\\",
        "/%2f",
        "/%2F%2f",
        "/%5c",
        "/%5C%5c",
        "/%09/",
        "/%0d%0a/",
        "/%0a//",
        "/.",
        "/..;/",
        "/./",
        "/.//",
        "/x/..//",
        "/;/",
        "/@",
        "/:80/",
        "/https:",
        "/https://",
        "/https:/",
        "/javascript:",
        "/%68ttps://",
        "/?/",
        "/?next=//",
        "/?rd=https://",
        "/?a=%0d%0aX-Evil:%201%0d%0aLocation:%20https://",
        "/?\\",
        "/?@",
        "/?%2f%2f",
        "/#//",
        "//@",
        "/%20//",
        "/%c0%af",
        "/%e2%80%ae",
    ];
    let hosts = [
        "evil.example",
        "evil.example/",
        "evil.example:443",
        "evil.example%2f..",
        "evil.example/%2f..",
        "user:pass@evil.example",
        "localhost@evil.example",
        "evil%E3%80%82example",
        "evil.example?@localhost",
        "[::1]",
    ];
    starts.iter().flat_map(|start| hosts.iter().map(move |host| format!("{start}{host}"))).collect()
}

#[tokio::test]
async fn r31_a_request_that_is_no_page_load_gets_401_and_goes_nowhere() {
    let provider = Provider::start(CLIENT);
    let site = site(shared(), &provider, json!({})).await;
    for (method, name, value) in [
        ("GET", "Accept", "application/json"),
        ("GET", "Sec-Fetch-Mode", "cors"),
        ("GET", "X-Requested-With", "XMLHttpRequest"),
        ("POST", "Accept", "text/html"),
        ("DELETE", "Accept", "text/html"),
    ] {
        let request = Request::new(method, &site.target("api")).header(name, value);
        let answer = site.gate.send(request).await;
        assert_eq!((answer.status, answer.header("location")), (401, None), "{method} {name}: {value}");
    }
    for (name, value) in
        [("Accept", "text/html,application/json"), ("Sec-Fetch-Mode", "navigate"), ("Accept", "*/*")]
    {
        let answer = site.gate.send(Request::get(&site.target("page")).header(name, value)).await;
        assert_eq!(answer.status, 302, "{name}: {value}");
        assert_eq!(answer.header("cache-control"), Some("no-cache, no-store, max-age=0"));
    }
    let abroad =
        Request::get(&site.target("page")).header("Host", "app.example").header("Accept", "text/html");
    let answer = site.gate.send(abroad).await;
    assert_eq!(
        (answer.status, answer.all("set-cookie").len()),
        (400, 0),
        "plain http only within this machine"
    );
    assert_eq!((provider.hits("/authorize").len(), site.reached()), (0, 0));
}

#[tokio::test]
async fn r40_claims_reach_the_upstream_encoded_whatever_is_in_them() {
    let provider = Provider::start(CLIENT);
    let site = site(shared(), &provider, json!({"set_raw_id_token_header": true})).await;
    let mut odd: serde_json::Map<String, Value> =
        (0..500).map(|n| (format!("claim-{n}"), json!(n))).collect();
    odd.insert("sub".to_owned(), json!("user-1"));
    odd.insert("name".to_owned(), json!("\u{1f600}\r\nX-Evil: 1\u{1}\u{202e}"));
    let said = Value::Object(odd);
    provider.claim(json!({"name": "a\r\nX-Evil: 1", "x\r\ny": "\u{1}"}));
    let userinfo = said.clone();
    provider.lie("/userinfo", move |_| Answer::json(&userinfo));
    site.logged_in().await;
    let seen = site.last();
    assert_eq!(decoded(&seen, "x-userinfo"), said);
    assert_eq!(decoded(&seen, "x-id-token")["name"], "a\r\nX-Evil: 1");
    assert!(seen.header("x-evil").is_none());
    provider.lie("/userinfo", |_| Answer::json(&json!({"sub": "user-2", "name": "somebody else"})));
    let mut browser = Browser::new();
    let page = browser.open(&site.url("first")).await;
    assert_eq!((page.status(), browser.cookie("session")), (502, None), "r10: {page:?}");
    assert_eq!(site.reached(), 1);
}

#[tokio::test]
async fn r38_a_provider_that_talks_nonsense_is_a_502_without_a_session_or_a_secret() {
    let provider = Provider::start(CLIENT);
    let site = site(shared(), &provider, json!({})).await;
    let canary = unique("canary-");
    let token = json!({"access_token": canary, "token_type": "Bearer"});
    for lie in [
        Answer::with(500, &[], &canary),
        Answer::text(&canary),
        Answer::Close,
        Answer::json(&token),
        Answer::json(&json!({"access_token": canary, "token_type": "Bearer", "id_token": canary})),
        Answer::json(&json!({"access_token": 7, "token_type": "Bearer", "id_token": "x.y.z"})),
        Answer::raw(format!("HTTP/1.1 302 Found\r\nLocation: http://{canary}/\r\nContent-Length: 0\r\n\r\n")),
    ] {
        provider.lie("/token", move |_| lie.clone());
        let mut browser = Browser::new();
        let page = browser.open(&site.url("first")).await;
        assert_eq!(page.status(), 502, "{page:?}");
        assert!(page.has_id("error") && !page.response.text().contains(&canary));
        assert_eq!(browser.cookie("session"), None);
    }
    assert!(!site.gate.output().contains(&canary));
    assert_eq!(site.reached(), 0);
}
