//! What each attribute does that the other tests leave at its default. The table in `docs/plugins/openid-connect.md` names
//! a test for every attribute; many of them are here.

use std::{cell::Cell, sync::Arc, time::Duration};

use serde_json::{Value, json};
use url::Url;

use super::{
    CLIENT, decoded, form, guarded,
    login::{cookies, site},
};
use crate::support::{Answer, Browser, Portcullis, Provider, Request, Response, Site, shared, tokens};

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A gateway whose clock is this test's own.
fn own() -> Arc<Portcullis> {
    Arc::new(Portcullis::dev())
}

/// A gateway of a test's own, and how far its clock is ahead by now.
struct Timed {
    gate: Arc<Portcullis>,
    ahead: Cell<u64>,
}

impl Timed {
    fn new() -> Self {
        Self { gate: own(), ahead: Cell::new(0) }
    }

    async fn pass(&self, wait: u64) {
        self.gate.advance(seconds(wait)).await;
        self.ahead.set(self.ahead.get() + wait);
    }

    /// The times of a token that a provider with the same clock issues now.
    fn times(&self) -> Value {
        let now = tokens::now() + i64::try_from(self.ahead.get()).unwrap();
        json!({"iat": now, "exp": now + 200_000})
    }
}

fn query(url: &Url) -> std::collections::BTreeMap<String, String> {
    url.query_pairs().into_owned().collect()
}

/// Where a browser without a session is sent.
async fn sent_away(site: &Site) -> Url {
    Browser::new().open_only(&site.url("first")).await.location().expect("it is sent to the provider")
}

/// The `Set-Cookie` lines of a login that begins and ends at this host.
async fn set_cookies(site: &Site, host: &str) -> Vec<String> {
    let host = format!("{host}:{}", site.gate.port(9080));
    let ask = async |target: &str, cookies: &str| -> Response {
        let request = Request::get(target).header("Host", &host).header("Accept", "text/html");
        site.gate.send(request.header("Cookie", cookies)).await
    };
    let away = ask(&site.target("first"), "").await;
    let login: Vec<String> = away.all("set-cookie").into_iter().map(str::to_owned).collect();
    let pairs: Vec<&str> = login.iter().map(|line| line.split(';').next().unwrap()).collect();
    let back = Browser::new().open_only(away.header("location").unwrap()).await.location().unwrap();
    let target = format!("{}?{}", back.path(), back.query().unwrap());
    let arrived = ask(&target, &pairs.join("; ")).await;
    // A page that leads on, where a `Strict` cookie would not go along with a redirect from another site.
    assert!(matches!(arrived.status, 200 | 302), "{arrived:?}");
    arrived.all("set-cookie").into_iter().map(str::to_owned).collect()
}

#[tokio::test]
async fn each_header_goes_upstream_where_its_flag_says_so() {
    let provider = Provider::start(CLIENT);
    let none = json!({
        "set_access_token_header": false, "set_id_token_header": false, "set_userinfo_header": false,
        "set_refresh_token_header": true, "set_raw_id_token_header": false, "use_jwks": true,
    });
    let quiet = site(shared(), &provider, none).await;
    quiet.logged_in().await;
    let seen = quiet.last();
    assert_eq!(seen.header("x-refresh-token"), Some("refresh-1"));
    for name in ["x-access-token", "x-id-token", "x-userinfo", "x-raw-id-token", "authorization"] {
        assert!(seen.header(name).is_none(), "{name}");
    }
    let token = provider.access_token(&json!({}));
    assert_eq!(quiet.with_token(&token).await.status, 200);
    assert!(quiet.last().header("x-access-token").is_none() && quiet.last().header("x-userinfo").is_none());
    let further = json!({"access_token_in_authorization_header": true, "use_jwks": true});
    let standard = site(shared(), &provider, further).await;
    standard.logged_in().await;
    let seen = standard.last();
    assert!(seen.header("authorization").unwrap().starts_with("Bearer ey"), "{seen:?}");
    assert!(seen.header("x-access-token").is_none());
}

#[tokio::test]
async fn an_introspection_answer_counts_for_as_long_as_it_is_told() {
    let (provider, gate) = (Provider::start(CLIENT), own());
    let endpoint = format!("{}introspect", provider.issuer());
    let with = async |further: Value| {
        let mut conf = json!({"bearer_only": true, "introspection_endpoint": endpoint});
        conf.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
        guarded(Arc::clone(&gate), &provider, conf).await
    };
    let asked = || provider.hits("/introspect").len();
    let once = async |site: &Site| {
        assert_eq!(site.with_token("opaque").await.status, 200);
        asked()
    };
    for (interval, after, again) in [(1_000, 900, 0), (1_000, 1_100, 1), (0, 300, 0)] {
        let site = with(json!({"introspection_interval": interval})).await;
        let before = once(&site).await;
        assert_eq!(once(&site).await, before);
        gate.advance(seconds(after)).await;
        assert_eq!(once(&site).await - before, again, "{interval} {after}");
    }
    provider.lie("/introspect", |_| Answer::json(&json!({"active": true, "sub": "u", "lasts": 5})));
    let site = with(json!({"introspection_expiry_claim": "lasts"})).await;
    let before = once(&site).await;
    assert_eq!(once(&site).await, before);
    gate.advance(seconds(6)).await;
    assert_eq!(once(&site).await, before + 1);
    let plain = with(json!({})).await;
    assert_eq!(
        plain.with_token("opaque").await.status,
        401,
        "an answer without exp says not how long it counts"
    );
}

#[tokio::test]
async fn verdicts_are_kept_apart_by_segment_and_not_at_all_where_asked_for() {
    let provider = Provider::start(CLIENT);
    let endpoint = format!("{}introspect", provider.issuer());
    let with = async |further: Value| {
        let mut conf = json!({"bearer_only": true, "introspection_endpoint": endpoint});
        conf.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
        guarded(shared(), &provider, conf).await
    };
    let asked = || provider.hits("/introspect").len();
    let (one, same, other) = (
        with(json!({"cache_segment": "a"})).await,
        with(json!({"cache_segment": "a"})).await,
        with(json!({"cache_segment": "b"})).await,
    );
    for (site, hits) in [(&one, 1), (&one, 1), (&same, 1), (&other, 2), (&other, 2), (&one, 2)] {
        assert_eq!(site.with_token("opaque").await.status, 200);
        assert_eq!(asked(), hits);
    }
    let always = with(json!({"jwt_verification_cache_ignore": true})).await;
    for hits in [3, 4, 5] {
        assert_eq!(always.with_token("opaque").await.status, 200);
        assert_eq!(asked(), hits);
    }
}

#[tokio::test]
async fn a_session_cookie_is_what_its_attributes_say() {
    let provider = Provider::start(CLIENT);
    let session = json!({
        "cookie_name": "mine", "cookie_path": "/", "cookie_domain": "app.localhost", "cookie_secure": true,
        "cookie_http_only": false, "cookie_same_site": "None",
    });
    let told = site(shared(), &provider, json!({"session": session})).await;
    let lines = set_cookies(&told, "app.localhost").await;
    let line = lines.iter().find(|line| line.starts_with("mine=")).unwrap_or_else(|| panic!("{lines:?}"));
    let attributes: Vec<String> = line.split("; ").skip(1).map(str::to_ascii_lowercase).collect();
    for wanted in ["path=/", "domain=app.localhost", "secure", "samesite=none"] {
        assert!(attributes.iter().any(|attribute| attribute == wanted), "{wanted}: {line}");
    }
    assert!(!attributes.iter().any(|attribute| attribute == "httponly"), "{line}");
    let plain = site(shared(), &provider, json!({"session": {"cookie_same_site": "Strict"}})).await;
    let lines = set_cookies(&plain, "localhost").await;
    let line = lines.iter().find(|line| line.contains("=pc~")).unwrap_or_else(|| panic!("{lines:?}"));
    let line = line.to_ascii_lowercase();
    assert!(
        line.contains("; httponly") && line.contains("; samesite=strict") && !line.contains("domain="),
        "{line}"
    );
}

#[tokio::test]
async fn a_session_ends_when_its_timeouts_say() {
    let (provider, timed) = (Provider::start(CLIENT), Timed::new());
    provider.answer_tokens_with(json!({"expires_in": 100_000}));
    let lives =
        async |browser: &mut Browser, site: &Site| browser.open_only(&site.url("page")).await.status() == 200;
    for (session, waits) in [
        // Each visit begins the time anew.
        (json!({"idling_timeout": 100}), &[(90, true), (90, true), (101, false)][..]),
        (json!({"idling_timeout": 0, "rolling_timeout": 100}), &[(101, false)]),
        (
            json!({"idling_timeout": 0, "rolling_timeout": 0, "absolute_timeout": 100}),
            &[(60, true), (60, false)],
        ),
        (
            json!({"idling_timeout": 0, "rolling_timeout": 0, "cookie": {"lifetime": 100}}),
            &[(60, true), (60, false)],
        ),
        (json!({"idling_timeout": 0, "rolling_timeout": 0}), &[(80_000, true), (7000, false)]),
    ] {
        let site = site(Arc::clone(&timed.gate), &provider, json!({"session": session})).await;
        provider.claim(timed.times());
        let mut browser = site.logged_in().await;
        for (wait, alive) in waits {
            timed.pass(*wait).await;
            assert_eq!(lives(&mut browser, &site).await, *alive, "{session} {wait}");
        }
    }
}

#[tokio::test]
async fn a_session_keeps_what_session_contents_lists() {
    let provider = Provider::start(CLIENT);
    let headers = [
        ("access_token", "x-access-token"),
        ("id_token", "x-id-token"),
        ("enc_id_token", "x-raw-id-token"),
        ("user", "x-userinfo"),
    ];
    for (kept, header) in headers {
        let further = json!({"session_contents": {kept: true}, "set_raw_id_token_header": true});
        let site = site(shared(), &provider, further).await;
        site.logged_in().await;
        let seen = site.last();
        for (other, name) in headers {
            assert_eq!(seen.header(name).is_some(), name == header, "{kept}: {other} {name}");
        }
    }
}

#[tokio::test]
async fn an_authorization_request_says_what_the_route_says() {
    let provider = Provider::start(CLIENT);
    let further = json!({
        "prompt": "consent", "display": "popup", "scope": "openid email", "use_pkce": false, "use_nonce": false,
        "authorization_params": {"audience": "https://api.example", "hd": "corp.example"}, "redirect_uri_scheme": "https",
    });
    let asked = query(&sent_away(&site(shared(), &provider, further).await).await);
    for (name, value) in [
        ("prompt", "consent"),
        ("display", "popup"),
        ("scope", "openid email"),
        ("audience", "https://api.example"),
        ("hd", "corp.example"),
        ("code_challenge_method", "S256"),
    ] {
        assert_eq!(asked.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert!(asked["redirect_uri"].starts_with("https://localhost"), "{asked:?}");
    assert!(asked["nonce"].len() >= 32, "a nonce goes along whatever is configured");
}

#[tokio::test]
async fn an_answer_may_arrive_at_another_path_than_the_browser_was_sent_to() {
    let provider = Provider::start(CLIENT);
    let outside = "http://localhost/outside/callback";
    let site = super::guarded_at(
        shared(),
        &provider,
        |path| json!({"redirect_uri": outside, "local_redirect_uri_path": format!("{path}/inside")}),
    )
    .await;
    let mut browser = Browser::new();
    let away = browser.open_only(&site.url("first")).await.location().unwrap();
    assert_eq!(query(&away)["redirect_uri"], outside);
    let back = browser.open_only(away.as_str()).await.location().unwrap();
    // What stands in front of the gate.
    let inside = format!("{}?{}", site.url("inside"), back.query().unwrap());
    assert_eq!(browser.open_only(&inside).await.location().unwrap().as_str(), site.url("first"));
    assert_eq!(browser.open_only(&site.url("page")).await.status(), 200);
    let exchange = form(&provider.hits("/token")[0]);
    assert_eq!(exchange["redirect_uri"], outside);
}

/// How often the provider was asked for new tokens.
fn refreshes(provider: &Provider) -> usize {
    provider.hits("/token").iter().filter(|hit| form(hit)["grant_type"] == "refresh_token").count()
}

#[tokio::test]
async fn an_access_token_is_renewed_when_it_is_over_and_where_that_is_wanted() {
    let timed = Timed::new();
    for (answer, further, wait, renewed, told) in [
        (json!({"expires_in": 100}), json!({}), 90, 0, true),
        (json!({"expires_in": 100}), json!({}), 110, 1, true),
        (json!({"expires_in": 100}), json!({"access_token_expires_leeway": 50}), 60, 1, true),
        (json!({"expires_in": null}), json!({"access_token_expires_in": 100}), 90, 0, true),
        (json!({"expires_in": null}), json!({"access_token_expires_in": 100}), 110, 1, true),
        // The session goes on, and nothing of a token that is over.
        (json!({"expires_in": 100}), json!({"renew_access_token_on_expiry": false}), 110, 0, false),
    ] {
        let provider = Provider::start(CLIENT);
        provider.answer_tokens_with(answer.clone());
        let site = site(Arc::clone(&timed.gate), &provider, further.clone()).await;
        provider.claim(timed.times());
        let mut browser = site.logged_in().await;
        timed.pass(wait).await;
        let page = browser.open_only(&site.url("page")).await;
        assert_eq!((page.status(), refreshes(&provider)), (200, renewed), "{answer} {further} {wait}");
        assert_eq!(site.last().header("x-access-token").is_some(), told, "{answer} {further} {wait}");
    }
}

#[tokio::test]
async fn a_session_is_confirmed_at_the_provider_as_often_as_configured() {
    let (provider, gate) = (Provider::start(CLIENT), own());
    let site = site(Arc::clone(&gate), &provider, json!({"refresh_session_interval": 100})).await;
    let mut browser = site.logged_in().await;
    gate.advance(seconds(90)).await;
    assert_eq!(browser.open_only(&site.url("page")).await.status(), 200);
    gate.advance(seconds(20)).await;
    let away = browser.open_only(&site.url("page")).await.location().expect("it is sent to the provider");
    assert_eq!(query(&away)["prompt"], "none");
    let forced = super::login::site(gate, &provider, json!({"force_reauthorize": true})).await;
    let mut browser = forced.logged_in().await;
    forced.gate.advance(seconds(11)).await;
    let again = browser.open_only(&forced.url("page")).await;
    assert!(again.location().unwrap().as_str().starts_with(&provider.issuer()), "{again:?}");
}

#[tokio::test]
async fn logins_under_way_are_as_many_and_last_as_long_as_configured() {
    let (provider, gate) = (Provider::start(CLIENT), own());
    let site = site(Arc::clone(&gate), &provider, json!({"authorization_state_expires_in": 100})).await;
    let (mut browser, back) = site.before_the_callback(&provider).await;
    gate.advance(seconds(101)).await;
    let late = browser.open_only(back.as_str()).await;
    assert_ne!(late.location().map(|to| to.to_string()), Some(site.url("first")), "{late:?}");
    assert!(provider.hits("/token").is_empty(), "a code was exchanged for a login that was over");
    let two_tabs = super::login::site(gate, &provider, json!({"authorization_state_max_number": 1})).await;
    let (mut browser, first) = two_tabs.before_the_callback(&provider).await;
    let away = browser.open_only(&two_tabs.url("second")).await.location().unwrap();
    let second = browser.open_only(away.as_str()).await.location().unwrap();
    let older = browser.open_only(first.as_str()).await;
    assert_ne!(older.location().map(|to| to.to_string()), Some(two_tabs.url("first")), "{older:?}");
    assert!(provider.hits("/token").is_empty());
    let newer = browser.open_only(second.as_str()).await;
    assert_eq!(newer.location().map(|to| to.to_string()), Some(two_tabs.url("second")), "{newer:?}");
}

#[tokio::test]
async fn a_logout_goes_where_the_route_says_and_revokes_where_it_says_so() {
    let provider = Provider::start(CLIENT);
    let issuer = provider.issuer();
    provider.publish(json!({"end_session_endpoint": format!("{issuer}end"), "revocation_endpoint": format!("{issuer}revoke")}));
    provider.lie("/revoke", |_| Answer::with(200, &[], ""));
    let away = async |further: Value| {
        let site = site(shared(), &provider, further).await;
        let mut browser = site.logged_in().await;
        let left = browser.open_only(&site.url("logout")).await.location().expect("it goes somewhere");
        assert_eq!(site.with_cookies("page", &cookies(&browser)).await.status, 302, "the session is over");
        left
    };
    let goodbye = "https://goodbye.example/bye?x=1";
    let plain = away(json!({"redirect_after_logout_uri": goodbye})).await;
    assert!(plain.as_str().starts_with(goodbye), "{plain}");
    assert!(!plain.as_str().contains("id_token_hint") && provider.hits("/revoke").is_empty());
    let further = json!({
        "redirect_after_logout_uri": goodbye, "redirect_after_logout_with_id_token_hint": true,
        "redirect_after_logout_with_client_id": true, "revoke_tokens_on_logout": true,
        "post_logout_redirect_uri": "https://app.example/out",
    });
    let told = away(further).await;
    let said = query(&told);
    assert_eq!(
        (told.host_str(), said["x"].as_str(), said["client_id"].as_str()),
        (Some("goodbye.example"), "1", CLIENT)
    );
    assert!(said["id_token_hint"].starts_with("ey"));
    assert_eq!(said["post_logout_redirect_uri"], "https://app.example/out");
    let revoked: Vec<String> =
        provider.hits("/revoke").iter().map(|hit| form(hit)["token_type_hint"].clone()).collect();
    assert_eq!(revoked, ["refresh_token", "access_token"]);
}

#[tokio::test]
async fn a_logout_at_the_provider_ends_the_session_by_a_frame() {
    let provider = Provider::start(CLIENT);
    provider.claim(json!({"sid": "session-1"}));
    let site = super::guarded_at(shared(), &provider, |path| {
        json!({"redirect_uri": format!("{path}/callback"), "frontchannel_logout_path": format!("{path}/frame")})
    })
    .await;
    let browser = site.logged_in().await;
    let held = cookies(&browser);
    let iss = url::form_urlencoded::byte_serialize(provider.issuer().as_bytes()).collect::<String>();
    for (sid, after) in [("another", 200), ("session-1", 302)] {
        let frame = site.with_cookies(&format!("frame?iss={iss}&sid={sid}"), &held).await;
        assert_eq!(frame.status, 200, "{frame:?}");
        assert_eq!(site.with_cookies("page", &held).await.status, after, "{sid}");
    }
}

#[tokio::test]
async fn signatures_are_verified_whatever_is_said_about_that() {
    let provider = Provider::start(CLIENT);
    let site =
        site(shared(), &provider, json!({"accept_unsupported_alg": true, "accept_none_alg": false})).await;
    let forged = tokens::mint(
        &tokens::key(jose::Alg::ES512, "other"),
        &json!({
            "iss": provider.issuer(), "sub": "user-1", "aud": CLIENT, "iat": tokens::now(), "exp": tokens::now() + 60,
        }),
    );
    provider.answer_tokens_with(json!({"id_token": forged}));
    let mut browser = Browser::new();
    let page = browser.open(&site.url("first")).await;
    assert!(page.status() >= 400, "{page:?}");
    assert_eq!(site.reached(), 0);
    let conf = super::conf(&provider, json!({"accept_none_alg": true}));
    let body = json!({"uri": "/x", "plugins": {"openid-connect": conf}});
    let answer = site.gate.admin().put("routes/unsigned", &body).await;
    assert!(
        answer.status == 400 && answer.text().contains("unsigned tokens are never accepted"),
        "{}",
        answer.text()
    );
    // One that is good is taken, with `x-userinfo` as ever.
    provider.answer_tokens_with(json!({}));
    site.logged_in().await;
    assert_eq!(decoded(&site.last(), "x-userinfo")["sub"], "user-1");
}

#[tokio::test]
async fn a_cookie_is_opened_by_the_secret_that_sealed_it() {
    let provider = Provider::start(CLIENT);
    let with = async |secret: &str| site(shared(), &provider, json!({"session": {"secret": secret}})).await;
    let (one, same, other) = (
        with("sixteen letters and").await,
        with("sixteen letters and").await,
        with("sixteen others, and").await,
    );
    let held = cookies(&one.logged_in().await);
    assert_eq!(same.with_cookies("page", &held).await.status, 200);
    assert_eq!(other.with_cookies("page", &held).await.status, 302, "it asks for a login of its own");
    assert_eq!(other.reached(), 0);
}

#[tokio::test]
async fn who_has_no_login_is_sent_to_one_turned_away_or_let_through_as_nobody() {
    // One for the whole test: another would seal sessions with another key.
    let (provider, gate) = (Provider::start(CLIENT), shared());
    let with = async |action: Value| {
        let mut further = json!({"use_jwks": true, "realm": "things"});
        if !action.is_null() {
            further["unauth_action"] = action;
        }
        site(gate.clone(), &provider, further).await
    };
    for (action, status) in
        [(Value::Null, 302), (json!("auth"), 302), (json!("deny"), 401), (json!("pass"), 200)]
    {
        let site = with(action.clone()).await;
        let page = site.with_cookies("page", "app=1; session=pc~1abcdmade-up").await;
        assert_eq!(page.status, status, "{action}: {page:?}");
        assert_eq!(page.header("location").is_some(), status == 302, "{action}");
        assert_eq!(site.reached(), usize::from(status == 200), "{action}");
        if status == 200 {
            let seen = site.last();
            assert_eq!(seen.header("cookie"), Some("app=1"), "what passes for a session goes no further");
            for name in ["x-access-token", "x-id-token", "x-userinfo", "authorization"] {
                assert!(seen.header(name).is_none(), "{name}");
            }
        }
        // A token that is bad is nobody's, whatever becomes of requests without one.
        let bad = provider.access_token(&json!({"exp": 1}));
        let before = site.reached();
        assert_eq!((site.with_token(&bad).await.status, site.reached()), (401, before), "{action}");
        assert_eq!(site.with_token(&provider.access_token(&json!({}))).await.status, 200, "{action}");
        if status == 302 {
            assert_eq!(site.logged_in().await.cookie_names(), ["session"], "{action}");
        }
    }
    // With a session from a route beside it, all of them know who it is.
    let held = cookies(&with(Value::Null).await.logged_in().await);
    for action in ["auth", "deny", "pass"] {
        let site = with(json!(action)).await;
        assert_eq!(site.with_cookies("page", &held).await.status, 200, "{action}");
        assert_eq!(decoded(&site.last(), "x-userinfo")["sub"], "user-1", "{action}");
    }
    // Where tokens alone count, the realm is named.
    for (further, challenge) in [(json!({"realm": "things"}), "things"), (json!({}), "apisix")] {
        let mut further = further;
        further["bearer_only"] = json!(true);
        let site = guarded(shared(), &provider, further).await;
        let answer = site.gate.get(&site.target("api")).await;
        let told = answer.header("www-authenticate").unwrap_or_default();
        assert_eq!((answer.status, told), (401, format!("Bearer realm=\"{challenge}\"").as_str()));
    }
}

#[tokio::test]
async fn a_cookie_has_the_path_and_the_marks_that_are_written_and_a_prefix_where_it_can() {
    let (provider, gate) = (Provider::start(CLIENT), shared());
    let over_tls = async |site: &Site| {
        let mut browser = Browser::trusting(gate.authority());
        let page = format!("https://localhost:{}{}", gate.port(9443), site.target("first"));
        let away = browser.open_only(&page).await;
        let back = browser.open_only(away.location().unwrap().as_str()).await.location().unwrap();
        let done = browser.open_only(back.as_str()).await;
        assert_eq!(browser.open(&page).await.status(), 200, "the browser sends it back");
        let lines = [away.response.all("set-cookie"), done.response.all("set-cookie")].concat();
        lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>()
    };
    for (session, path, secure, prefix, further) in [
        (json!({}), "/", true, "__Host-session", &[][..]),
        (json!({"cookie_path": "{site}"}), "{site}", true, "session", &[]),
        (json!({"cookie_secure": false}), "/", false, "session", &[]),
        (json!({"cookie_secure": true}), "/", true, "__Host-session", &[]),
        (json!({"cookie_name": "mine"}), "/", true, "mine", &[]),
        (json!({"cookie_name": "mine", "cookie_prefix": "__Host-"}), "/", true, "__Host-mine", &[]),
        (
            json!({"cookie_path": "{site}", "cookie_prefix": "__Secure-", "cookie_priority": "High"}),
            "{site}",
            true,
            "__Secure-session",
            &["Priority=High"],
        ),
        (
            json!({"cookie_partitioned": true, "cookie_same_site": "None"}),
            "/",
            true,
            "__Host-session",
            &["Partitioned"],
        ),
    ] {
        let place = Cell::new(String::new());
        let site = super::guarded_at(Arc::clone(&gate), &provider, |own| {
            place.set(path.replace("{site}", own));
            let session: Value = serde_json::from_str(&session.to_string().replace("{site}", own)).unwrap();
            json!({"redirect_uri": format!("{own}/callback"), "session": session})
        })
        .await;
        let place = place.take();
        let lines = over_tls(&site).await;
        assert!(lines.len() >= 2, "the login's and the session's: {lines:?}");
        for line in lines {
            let attributes: Vec<&str> = line.split("; ").skip(1).collect();
            assert!(line.starts_with(prefix), "{session}: {line}");
            assert!(attributes.contains(&format!("Path={place}").as_str()), "{session}: {line}");
            assert_eq!(attributes.contains(&"Secure"), secure, "{session}: {line}");
            for one in ["Priority=High", "Partitioned"] {
                assert_eq!(attributes.contains(&one), further.contains(&one), "{session}: {line}");
            }
        }
    }
    // What browsers would drop is refused, and what is not built by its name.
    for (session, named) in [
        (json!({"cookie_prefix": "__Host-", "cookie_path": "/app"}), "cookie_prefix"),
        (json!({"cookie_prefix": "__Host-", "cookie_domain": "example.com"}), "cookie_prefix"),
        (json!({"cookie_prefix": "__Secure-", "cookie_secure": false}), "cookie_prefix"),
        (json!({"cookie_prefix": "mine-"}), "cookie_prefix"),
        (json!({"cookie_partitioned": true, "cookie_secure": false}), "cookie_partitioned"),
        (json!({"cookie_priority": "SuperHigh"}), "cookie_priority"),
        (json!({"remember": true}), "remember"),
        (json!({"unknown_property": "value"}), "unknown_property"),
    ] {
        let conf = super::conf(&provider, json!({ "session": session }));
        let body = json!({"uri": "/x", "plugins": {"openid-connect": conf}});
        let answer = gate.admin().put("routes/cookies-refused", &body).await;
        assert_eq!(answer.status, 400, "{session}");
        assert!(answer.text().contains(named), "{session}: {}", answer.text());
    }
}

#[tokio::test]
async fn an_audience_may_stand_in_another_claim() {
    let provider = Provider::start(CLIENT);
    let audience = json!({"claim": "resource", "required": true, "match_with_client_id": true});
    let further = json!({"bearer_only": true, "use_jwks": true, "claim_validator": {"audience": audience}});
    let site = guarded(shared(), &provider, further).await;
    for (claims, status) in [
        (json!({"resource": CLIENT}), 200),
        (json!({"resource": ["x", CLIENT], "aud": "somebody else's"}), 200),
        (json!({"aud": CLIENT}), 403),
        (json!({"resource": "x", "aud": CLIENT}), 403),
    ] {
        assert_eq!(site.with_token(&provider.access_token(&claims)).await.status, status, "{claims}");
    }
    assert_eq!(site.reached(), 2);
}
