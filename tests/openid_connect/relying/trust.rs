//! Which providers are spoken to: by address, and by certificate.

use rcgen::KeyPair;
use serde_json::{Value, json};

use super::{CLIENT, conf, guarded};
use crate::support::{
    Browser, Options, Portcullis, Provider, Request, Upstream, shared,
    tls::{self, Authority},
    unique,
};

fn tokens_only() -> Value {
    json!({"bearer_only": true, "use_jwks": true})
}

#[tokio::test]
async fn r34_a_name_that_leads_inside_is_not_followed_when_it_is_fetched() {
    let trap = Upstream::start();
    let upstream = Upstream::start();
    let admin_key = unique("admin-key-");
    let keyring = base::Keyring::generate(&base::Random::system()).to_text().trim().to_owned();
    // As an operator writes it who allows nothing: no network of this machine.
    let config = r#"
listeners: [{address: "127.0.0.1:{9080}"}]
admin: {apisix: {listen: "127.0.0.1:{9180}", keys: [{key: "${ADMIN}", role: admin}]}}
store: {sqlite: gateway.db}
encryption: {keyring: {keys: "${KEYRING}"}}
"#;
    let environment = vec![("ADMIN".to_owned(), admin_key.clone()), ("KEYRING".to_owned(), keyring)];
    let gate = Portcullis::start(Options {
        config: Some(config.to_owned()),
        environment,
        real_clock: true,
        tenant: None,
    });
    let admin = crate::support::Admin::new(gate.port(9180), admin_key);
    let put = async |discovery: &str| {
        let conf = json!({"client_id": CLIENT, "client_secret": "x", "discovery": discovery, "bearer_only": true,
                          "use_jwks": true});
        let route = json!({"uri": "/r34", "plugins": {"openid-connect": conf},
                           "upstream": {"nodes": {upstream.node(): 1}}});
        admin.put("routes/r34", &route).await
    };
    let port = trap.port();
    // What is an address is refused when it is written, in every spelling.
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "0.0.0.0",
        "[::]",
        "169.254.169.254",
        "[fd00::1]",
        "100.64.0.1",
    ] {
        let answer = put(&format!("https://{host}:{port}/.well-known/openid-configuration")).await;
        assert!(answer.status == 400 && answer.text().contains("discovery"), "{host}: {answer:?}");
    }
    // What is a name is looked up when it is fetched, and only then it is known where it leads: here, this machine.
    let mut refused = 0;
    for host in ["localhost", "LOCALHOST", "localhost."] {
        let answer = put(&format!("https://{host}:{port}/.well-known/openid-configuration")).await;
        if answer.status == 400 {
            refused += 1;
            continue;
        }
        let answer = Request::get("/r34").bearer("a.b.c").send(gate.port(9080)).await;
        assert!(matches!(answer.status, 401 | 503), "{host}: {answer:?}");
    }
    assert!(refused < 3, "a name that resolves inside is known by its address, not by its letters");
    assert_eq!((trap.connections(), upstream.seen().len()), (0, 0), "nobody went there");
}

#[tokio::test]
async fn r36_a_provider_must_prove_who_it_is() {
    let gate = shared();
    let ours = Authority::development(&gate);
    let long_ago = |params: &mut rcgen::CertificateParams| {
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    };
    let self_signed = {
        let key = KeyPair::generate().unwrap();
        let certificate =
            rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        tls::Identity { chain: vec![certificate.der().clone()], key: key.serialize_der() }
    };
    for (what, identity) in [
        ("self-signed", self_signed),
        ("over", ours.issue(&["localhost"], long_ago)),
        ("for another name", ours.issue(&["other.example"], |_| ())),
        ("by nobody we know", Authority::new().issue(&["localhost"], |_| ())),
    ] {
        let provider = Provider::over_tls(CLIENT, tls::server(&identity));
        let site = guarded(shared(), &provider, tokens_only()).await;
        let token = provider.access_token(&json!({}));
        let answer = site.with_token(&token).await;
        assert_eq!((answer.status, site.reached()), (503, 0), "{what}: {answer:?}");
        let asked = ["/.well-known/openid-configuration", "/jwks"].map(|path| provider.hits(path).len());
        assert_eq!(asked, [0, 0], "{what}: it was told something");
        let mut lax = tokens_only();
        lax["ssl_verify"] = json!(false);
        let lax = guarded(shared(), &provider, lax).await;
        assert_eq!(lax.with_token(&token).await.status, 200, "{what}: in so many words it is let in");
    }
    let provider = Provider::over_tls(CLIENT, tls::server(&ours.issue(&["localhost"], |_| ())));
    let site = guarded(shared(), &provider, tokens_only()).await;
    assert_eq!(site.with_token(&provider.access_token(&json!({}))).await.status, 200, "a good one");
    // `conf` says nothing of certificates: this is what a route does by itself.
    assert!(conf(&provider, json!({})).get("ssl_verify").is_none());
}

#[tokio::test]
async fn r17_a_trusted_proxy_that_rewrites_the_host_says_which_one_the_browser_named() {
    let (gate, _) = Portcullis::production("trusted_proxies: [127.0.0.0/8]");
    let (provider, upstream) = (Provider::start(CLIENT), Upstream::start());
    let lines = json!({"redirect_uri": "/app/callback", "logout_path": "/app/logout", "use_jwks": true});
    let plugins = json!({"openid-connect": conf(&provider, lines)});
    gate.admin().route("app", "/app/*", &upstream, plugins).await;
    let ask = async |target: &str, further: &[(&str, &str)]| {
        let request = Request::get(target).header("Host", "internal:9080").header("Accept", "text/html");
        gate.send(further.iter().fold(request, |request, (name, value)| request.header(name, value))).await
    };
    let https = ("X-Forwarded-Proto", "https");
    for (told, named) in [
        (&[("X-Forwarded-Host", "app.example")][..], "app.example"),
        (&[("X-Forwarded-Host", "app.example:8443")], "app.example:8443"),
        // Of several, the last is this proxy's; those before it may be anybody's.
        (&[("X-Forwarded-Host", "evil.example, app.example")], "app.example"),
        (&[("X-Forwarded-Host", "evil.example"), ("X-Forwarded-Host", "app.example")], "app.example"),
        (&[("X-Forwarded-Host", "a b")], "internal:9080"),
        (&[("X_Forwarded_Host", "evil.example")], "internal:9080"),
        (&[], "internal:9080"),
    ] {
        let with = |more: &[(&'static str, &str)]| -> Vec<(String, String)> {
            let pairs = told.iter().chain([&https]).chain(more);
            pairs.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let send = async |target: &str, more: &[(&'static str, &str)]| {
            let pairs = with(more);
            let pairs: Vec<(&str, &str)> =
                pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            ask(target, &pairs).await
        };
        let away = send("/app/page?x=1", &[]).await;
        assert_eq!(away.status, 302, "{told:?}: {away:?}");
        let asked = super::query(away.header("location").unwrap());
        assert_eq!(asked["redirect_uri"], format!("https://{named}/app/callback"), "{told:?}");
        let cookie = super::given(&away).join("; ");
        assert!(cookie.starts_with("__Host-"), "{cookie}");
        let back = Browser::new().open_only(away.header("location").unwrap()).await.location().unwrap();
        let home = send(&format!("/app/callback?{}", back.query().unwrap()), &[("Cookie", &cookie)]).await;
        let place = format!("https://{named}/app/page?x=1");
        assert_eq!((home.status, home.header("location")), (302, Some(place.as_str())), "{told:?}: {home:?}");
        let session = super::given(&home).join("; ");
        assert_eq!(send("/app/page", &[("Cookie", &session)]).await.status, 200);
        // Whose page asks for a logout is told by the host that the browser knows.
        let others = send("/app/logout", &[("Cookie", &session), ("Origin", "https://other.example")]).await;
        assert_eq!(others.status, 200, "{told:?}: the user is asked: {others:?}");
        assert!(others.text().contains("confirm-logout"), "{others:?}");
        let own = format!("https://{named}");
        let own = send("/app/logout", &[("Cookie", &session), ("Origin", &own)]).await;
        assert!(!own.text().contains("confirm-logout"), "{told:?}: {own:?}");
        assert_eq!(send("/app/page", &[("Cookie", &session)]).await.status, 302);
    }
    // A host of this machine may have cookies in the clear; the one that the browser named may not.
    let plain = [("X-Forwarded-Proto", "http"), ("X-Forwarded-Host", "app.example"), ("Host", "localhost")];
    let request = Request::get("/app/page").header("Accept", "text/html");
    let answer =
        gate.send(plain.iter().fold(request, |request, (name, value)| request.header(name, value))).await;
    assert!(answer.status >= 400 && answer.all("set-cookie").is_empty(), "{answer:?}");

    // Nobody is trusted on this one.
    let site = guarded(shared(), &provider, json!({"redirect_uri": "/callback"})).await;
    let request = Request::get(&site.target("page")).header("Accept", "text/html");
    let answer = site.gate.send(request.header("X-Forwarded-Host", "evil.example")).await;
    let asked = super::query(answer.header("location").unwrap());
    assert_eq!(asked["redirect_uri"], "http://localhost/callback");
}
