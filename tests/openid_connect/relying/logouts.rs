//! Logouts: where they lead, who may cause them, and what the provider may end.

use std::sync::Arc;

use jose::{Alg, SigningKey};
use serde_json::{Value, json};

use super::{CLIENT, SECRET, conf, guarded_at, login, query};
use crate::support::{
    Answer, Portcullis, Provider, Request, Response, Site, Upstream, shared, tokens, unique,
};

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
const FORM: &str = "application/x-www-form-urlencoded";

#[tokio::test]
async fn r18_a_logout_goes_where_the_configuration_says_and_nowhere_else() {
    let provider = Provider::start(CLIENT);
    let end = format!("{}logout", provider.issuer());
    provider.publish(json!({"end_session_endpoint": end}));
    let site = login::site(shared(), &provider, json!({"post_logout_redirect_uri": "/bye"})).await;
    let bye = format!("http://localhost:{}/bye", site.gate.port(9080));
    let evil = [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "\\\\evil.example",
        "https:evil.example",
        "https://localhost@evil.example/",
        "https://evil.example#localhost",
        "/%09/evil.example",
        "/%2f/evil.example",
        "javascript:alert(1)",
        "data:text/html,x",
        "https://evil.example%00.localhost/",
    ];
    let names = ["post_logout_redirect_uri", "rd", "redirect_uri", "returnTo", "next", "state"];
    let mut tried = 0;
    for (number, evil) in evil.iter().cycle().take(24).enumerate() {
        let cookies = login::cookies(&site.logged_in().await);
        let value: String = form_urlencoded::byte_serialize(evil.as_bytes()).collect();
        let value = if number % 2 == 0 { value } else { evil.replace(['#', ' '], "") };
        let rest = format!("logout?{}={value}", names[number % names.len()]);
        let out = site.with_cookies(&rest, &cookies).await;
        if out.status == 400 {
            continue;
        }
        let location = out.header("location").unwrap_or_else(|| panic!("{evil}: {out:?}")).to_owned();
        assert!(location.starts_with(&format!("{end}?")), "{evil}: {location}");
        assert_eq!(query(&location)["post_logout_redirect_uri"], bye, "{evil}");
        assert!(!location.contains("evil"), "{evil}: {location}");
        tried += 1;
    }
    assert!(tried >= 20, "only {tried} were tried");
    let upstream = Upstream::start();
    for open in [
        "//evil.example/",
        "/\\evil.example/",
        "https:evil.example",
        "https://a@evil.example/",
        "javascript:x",
    ] {
        for name in ["post_logout_redirect_uri", "redirect_after_logout_uri"] {
            let plugins = json!({"openid-connect": conf(&provider, json!({name: open}))});
            let route =
                json!({"uri": "/r18", "plugins": plugins, "upstream": {"nodes": {upstream.node(): 1}}});
            let answer = site.gate.admin().put("routes/r18", &route).await;
            assert!(answer.status == 400 && answer.text().contains(name), "{name} {open}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn r19_another_sites_page_cannot_log_a_user_out_in_silence() {
    let provider = Provider::start(CLIENT);
    provider.publish(json!({
        "end_session_endpoint": format!("{}logout", provider.issuer()),
        "revocation_endpoint": format!("{}revoke", provider.issuer()),
    }));
    let site = login::site(shared(), &provider, json!({"revoke_tokens_on_logout": true})).await;
    let cookies = login::cookies(&site.logged_in().await);
    let host = format!("localhost:{}", site.gate.port(9080));
    let send = async |method: &str, headers: &[(&str, &str)]| {
        let request = Request::new(method, &site.target("logout")).header("Host", &host);
        let request = request.header("Cookie", &cookies).header("Accept", "text/html,image/*");
        site.gate
            .send(headers.iter().fold(request, |request, (name, value)| request.header(name, value)))
            .await
    };
    for (what, method, headers) in [
        ("a link", "GET", &[("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate")][..]),
        ("an image", "GET", &[("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Dest", "image")]),
        ("a form", "POST", &[("Sec-Fetch-Site", "cross-site"), ("Origin", "https://evil.example")]),
        ("a form of an old browser", "POST", &[("Origin", "https://evil.example")]),
        ("a form of nobody's", "POST", &[("Origin", "null")]),
        ("a link of an old browser", "GET", &[("Referer", "https://evil.example/page")]),
    ] {
        let answer = send(method, headers).await;
        assert!(answer.text().contains("id=\"confirm-logout\""), "{what}: {answer:?}");
        assert_eq!((answer.status, answer.all("set-cookie").len()), (200, 0), "{what}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.contains("frame-ancestors 'none'"), "{what}: {policy}");
        assert_eq!(site.with_cookies("page", &cookies).await.status, 200, "{what} ended the session");
    }
    assert_eq!((provider.hits("/revoke").len(), provider.hits("/logout").len()), (0, 0));
    let reached = site.reached();
    let own = format!("http://{host}");
    let out = send("POST", &[("Sec-Fetch-Site", "same-origin"), ("Origin", own.as_str())]).await;
    assert!(
        out.status == 303 && query(out.header("location").unwrap()).contains_key("id_token_hint"),
        "{out:?}"
    );
    assert_eq!(site.with_cookies("page", &cookies).await.status, 302);
    assert_eq!((provider.hits("/revoke").len(), site.reached()), (2, reached), "both tokens, once");
}

/// A site that the provider may tell of logouts, and a way to tell it.
struct Told {
    site: Site,
    provider: Provider,
}

impl Told {
    async fn start() -> Self {
        let provider = Provider::start(CLIENT);
        let site = guarded_at(Arc::new(Portcullis::dev()), &provider, |path| {
            json!({
                "redirect_uri": format!("{path}/callback"),
                "backchannel_logout_path": format!("{path}/back"),
                "frontchannel_logout_path": format!("{path}/front"),
            })
        });
        Self { site: site.await, provider }
    }

    /// The cookies of a browser that logged in within the provider's session `sid`.
    async fn logged_in(&self, subject: &str, sid: &str) -> String {
        self.provider.claim(json!({"sub": subject, "sid": sid}));
        let userinfo = json!({ "sub": subject });
        self.provider.lie("/userinfo", move |_| Answer::json(&userinfo));
        let cookies = login::cookies(&self.site.logged_in().await);
        self.provider.claim(json!({}));
        cookies
    }

    /// Claims of a logout token; null takes one away.
    fn claims(&self, further: &Value) -> Value {
        let now = tokens::now();
        let mut claims = json!({
            "iss": self.provider.issuer(), "aud": CLIENT, "iat": now, "exp": now + 120, "jti": unique("jti-"),
            "events": {EVENT: {}},
        });
        claims.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        claims
    }

    fn token(&self, further: &Value) -> String {
        self.provider.signed("logout+jwt", &self.claims(further))
    }

    async fn post(&self, kind: &str, body: &str) -> Response {
        let request = Request::new("POST", &self.site.target("back")).header("Content-Type", kind);
        self.site.gate.send(request.body(body)).await
    }

    async fn tell(&self, token: &str) -> Response {
        self.post(FORM, &format!("logout_token={token}")).await
    }

    async fn is_alive(&self, cookies: &str) -> bool {
        self.site.with_cookies("page", cookies).await.status == 200
    }
}

#[tokio::test]
async fn j35_r20_a_logout_token_ends_exactly_the_sessions_it_names_and_a_wrong_one_none() {
    let told = Told::start().await;
    let one = told.logged_in("user-1", "s1").await;
    let two = told.logged_in("user-1", "s2").await;
    let other = told.logged_in("user-2", "s3").await;
    let good = json!({"sub": "user-1", "sid": "s1"});
    let now = tokens::now();
    let mut bad: Vec<(&str, String)> = [
        ("no events", json!({"events": null})),
        ("a sub that is no text", json!({"sub": 1})),
        ("another event", json!({"events": {"http://schemas.openid.net/event/other": {}}})),
        ("an event that is no object", json!({"events": {EVENT: "x"}})),
        ("a nonce", json!({"nonce": "n"})),
        ("no iat", json!({"iat": null})),
        ("an iat to come", json!({"iat": now + 600})),
        ("no jti", json!({"jti": null})),
        ("another audience", json!({"aud": "another"})),
        ("another issuer", json!({"iss": "https://evil.example/"})),
        ("one that is over", json!({"exp": now - 121})),
        ("neither sub nor sid", json!({"sub": null, "sid": null})),
        ("a sid that is no text", json!({"sid": 1})),
    ]
    .map(|(what, change)| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        (what, told.token(&claims))
    })
    .into();
    let claims = told.claims(&good).to_string().into_bytes();
    let typed = |key: &SigningKey| key.sign(Some("logout+jwt"), &claims).unwrap();
    let mac = SigningKey::from_hmac_secret(Alg::HS256, "key-1".to_owned(), SECRET.as_bytes()).unwrap();
    let signed = told.token(&good);
    let payload = signed.split('.').nth(1).unwrap();
    bad.extend([
        ("another key", typed(&tokens::key(Alg::ES256, "key-1"))),
        ("the client's secret", typed(&mac)),
        ("no signature", format!("eyJhbGciOiJub25lIiwidHlwIjoibG9nb3V0K2p3dCJ9.{payload}.")),
        ("an access token's type", told.provider.signed("at+jwt", &told.claims(&good))),
        ("an ID token", told.provider.signed("JWT", &told.claims(&json!({"sub": "user-1", "events": null})))),
        ("nonsense", "x.y.z".to_owned()),
        ("nothing", String::new()),
    ]);
    for (what, token) in &bad {
        let answer = told.tell(token).await;
        assert_eq!(answer.status, 400, "{what}: {answer:?}");
        assert_eq!(answer.json()["error"], "invalid_request", "{what}");
        assert!(answer.header("cache-control").unwrap().contains("no-store"), "{what}");
    }
    let twice = format!("logout_token={signed}&logout_token={signed}");
    assert_eq!(told.post(FORM, &twice).await.status, 400);
    assert_eq!(told.post("application/json", &json!({"logout_token": signed}).to_string()).await.status, 400);
    let by_get = told.site.gate.get(&format!("{}?logout_token={signed}", told.site.target("back"))).await;
    assert_eq!((by_get.status, by_get.header("allow")), (405, Some("POST")));
    for (what, cookies) in [("one", &one), ("two", &two), ("other", &other)] {
        assert!(told.is_alive(cookies).await, "{what} lives");
    }

    // There is no list of sessions that could tell the two apart; what matters is that none ends.
    let mixed = told.token(&json!({"sub": "user-2", "sid": "s1"}));
    assert_eq!(told.tell(&mixed).await.status, 200);
    assert!(told.is_alive(&one).await && told.is_alive(&other).await, "a sid is of the sub beside it");

    let answer = told.tell(&signed).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, ""), "{answer:?}");
    let reached = told.site.reached();
    assert!(!told.is_alive(&one).await);
    assert_eq!(told.site.reached(), reached, "nothing of it reaches the upstream");
    assert!(told.is_alive(&two).await && told.is_alive(&other).await, "exactly the session it names");
    assert_eq!(told.tell(&signed).await.status, 400, "one token counts once");
    told.site.gate.restart();
    assert!(!told.is_alive(&one).await, "also after a restart");
    assert_eq!(told.tell(&told.token(&json!({"sub": "user-1"}))).await.status, 200);
    assert!(!told.is_alive(&two).await && told.is_alive(&other).await, "all sessions of that user");
    assert!(told.provider.hits("/jwks").len() <= 4, "{}", told.provider.hits("/jwks").len());
}

#[tokio::test]
async fn r21_a_frame_ends_the_session_whose_issuer_and_sid_it_names_and_no_other() {
    let told = Told::start().await;
    let cookies = told.logged_in("user-1", "s1").await;
    let (issuer, host) = (told.provider.issuer(), format!("localhost:{}", told.site.gate.port(9080)));
    let frame = async |method: &str, query: &str| {
        let request =
            Request::new(method, &format!("{}{query}", told.site.target("front"))).header("Host", &host);
        let request = request.header("Sec-Fetch-Site", "cross-site").header("Sec-Fetch-Dest", "iframe");
        told.site.gate.send(request.header("Cookie", &cookies)).await
    };
    let named = |iss: &str, sid: &str| {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("iss", iss)
            .append_pair("sid", sid)
            .finish();
        format!("?{query}")
    };
    for (iss, sid) in [
        (issuer.as_str(), "s2"),
        ("https://evil.example/", "s1"),
        (issuer.trim_end_matches('/'), "s1"),
        (issuer.as_str(), ""),
        (issuer.as_str(), "S1"),
    ] {
        let answer = frame("GET", &named(iss, sid)).await;
        assert!(answer.status < 500 && answer.all("set-cookie").is_empty(), "{iss} {sid}: {answer:?}");
    }
    for query in ["", "?sid=s1", "?iss=x", "?sid=s1&sid=s2&iss=x"] {
        assert_eq!(frame("GET", query).await.status, 400, "{query}");
    }
    assert_eq!(frame("POST", &named(&issuer, "s1")).await.status, 405);
    assert!(told.is_alive(&cookies).await, "none of that had an effect");
    let reached = told.site.reached();
    let answer = frame("GET", &named(&issuer, "s1")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.all("set-cookie").iter().all(|line| line.contains("Max-Age=0")), "{answer:?}");
    assert!(answer.header("cache-control").unwrap().contains("no-store"));
    assert!(!told.is_alive(&cookies).await);
    assert_eq!((told.provider.hits("/revoke").len(), told.site.reached()), (0, reached));
}
