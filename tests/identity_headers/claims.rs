//! H01 to H05, H07 to H10, H20 and H28: headers by which a client claims what only the gateway may say.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::protected;
use crate::support::{Answer, Portcullis, Probe, Request, Seen, Site, unique};

/// Everything that this gateway or its peers assert about a caller.
const IDENTITY: &[&str] = &[
    "X-Userinfo",
    "X-Access-Token",
    "X-ID-Token",
    "X-Refresh-Token",
    "X-Raw-ID-Token",
    "X-Consumer-ID",
    "X-Consumer-Username",
    "X-Consumer-Custom-ID",
    "X-Consumer-Groups",
    "X-Consumer-Anything",
    "X-Credential-Identifier",
    "X-Credential-Username",
    "X-Authenticated-Scope",
    "X-Authenticated-UserId",
    "X-Authenticated-Groups",
    "X-Auth-Request-User",
    "X-Auth-Request-Email",
    "X-Auth-Request-Groups",
    "X-Auth-Request-Access-Token",
    "Remote-User",
];

const EVIL: &str = "c3Bvb2ZlZC1ieS1jbGllbnQ=";

/// Other ways to write a name that a server may read as the same one.
fn spellings(name: &str) -> Vec<String> {
    vec![
        name.to_owned(),
        name.to_lowercase(),
        name.to_uppercase(),
        name.replace('-', "_"),
        name.replace('-', ".").to_lowercase(),
        name.replacen('-', "_", 1),
        format!("{name}_"),
        format!("{name}-"),
        name.replace('-', "__"),
        name.replace('-', ""),
        // lighttpd's CGI folds whatever is no letter and no digit.
        name.replace('-', "!"),
        name.replacen('-', "~", 1),
        format!("{name}'"),
    ]
}

/// One request cannot carry all spellings of all names: heads have limits.
fn spoofed_with(request: Request, name: &str) -> Request {
    spellings(name).iter().fold(request, |request, name| request.header(name, EVIL))
}

fn userinfo(seen: &Seen) -> Value {
    let value = seen.header("x-userinfo").unwrap_or_else(|| panic!("no X-Userinfo: {seen:?}"));
    serde_json::from_slice(&STANDARD.decode(value).unwrap()).unwrap()
}

fn raw(seen: &Seen) -> String {
    String::from_utf8_lossy(&seen.raw).into_owned()
}

#[tokio::test]
async fn h01_h02_identity_of_the_client_s_making_never_arrives_on_an_open_route() {
    let site = Site::new().await;
    let mut probe = Probe::new(&site);
    for name in IDENTITY {
        let answer = site.gate.send(spoofed_with(Request::get(&site.target(name)), name)).await;
        probe.check(name, answer.status == 200, format!("answered {}", answer.status));
        let sent = site.upstream.seen().pop().map(|seen| raw(&seen)).unwrap_or_default();
        probe.check(name, !sent.contains(EVIL), format!("the upstream got {sent:?}"));
    }
    probe.finish().await;
}

#[tokio::test]
async fn h01_h02_identity_of_the_client_s_making_never_arrives_on_a_protected_route() {
    let (site, provider) = protected().await;
    let token = provider.access_token(&json!({}));
    let mut probe = Probe::new(&site);
    for name in IDENTITY {
        let request = spoofed_with(Request::get(&site.target(name)), name).bearer(&token);
        let answer = site.gate.send(request).await;
        probe.check(name, answer.status == 200, format!("answered {} {}", answer.status, answer.text()));
        let Some(seen) = site.upstream.seen().pop() else { continue };
        probe.check(name, !raw(&seen).contains(EVIL), format!("the upstream got {:?}", raw(&seen)));
        probe.check(name, userinfo(&seen)["sub"] == "user-1", format!("{:?}", userinfo(&seen)));
    }
    probe.report();
}

#[tokio::test]
async fn h01_identity_headers_open_no_protected_route() {
    let (site, provider) = protected().await;
    let token = provider.access_token(&json!({}));
    let mut probe = Probe::new(&site);
    for name in IDENTITY {
        for value in [EVIL, &token] {
            let answer = site.gate.send(Request::get(&site.target("x")).header(name, value)).await;
            probe.check(name, answer.status == 401, format!("answered {}", answer.status));
        }
    }
    probe.check("all", site.upstream.received().is_empty(), "something went upstream");
    probe.report();
}

#[tokio::test]
async fn h03_there_is_one_line_of_each_header_the_gateway_sets() {
    let (site, provider) = protected().await;
    let token = provider.access_token(&json!({}));
    let mut probe = Probe::new(&site);
    let start = Request::get(&site.target("x"));
    let before = start.clone().header("X-Userinfo", EVIL).header("X-Access-Token", EVIL).bearer(&token);
    let after = start.clone().bearer(&token).header("X-Userinfo", EVIL).header("X-Access-Token", EVIL);
    let twice = start.clone().header("X-Userinfo", EVIL).bearer(&token).header("x-userinfo", EVIL);
    let joined = start.header("X-Userinfo", &format!("{EVIL}, {EVIL}")).bearer(&token);
    for (case, request) in [("before", before), ("after", after), ("around", twice), ("joined", joined)] {
        let answer = site.gate.send(request).await;
        probe.check(case, answer.status == 200, format!("answered {}", answer.status));
        let seen = site.upstream.seen().pop().unwrap();
        for name in ["x-userinfo", "x-access-token"] {
            let lines = seen.message.all(name);
            probe.check(case, lines.len() == 1 && !lines[0].contains(EVIL), format!("{name}: {lines:?}"));
        }
    }
    probe.report();
}

#[tokio::test]
async fn h04_hop_by_hop_tricks_take_nothing_away_that_the_gateway_set() {
    let (site, provider) = protected().await;
    let token = provider.access_token(&json!({}));
    let mut probe = Probe::new(&site);
    for (name, value) in [
        ("Connection", "close, X-Userinfo"),
        ("Connection", "close, x-userinfo, X-ACCESS-TOKEN"),
        ("connection", "close,x-forwarded-for,x-real-ip,host,x-userinfo"),
        ("Connection", "close, authorization"),
        ("Keep-Alive", "X-Userinfo"),
        ("TE", "X-Userinfo"),
        ("Proxy-Connection", "X-Userinfo"),
        ("Trailer", "X-Userinfo"),
    ] {
        let case = format!("{name}: {value}");
        let request = Request::get(&site.target("x")).bearer(&token).header(name, value);
        let answer = site.gate.send(request).await;
        // Who nominates the credentials themselves may be left without them.
        if value.contains("authorization") && answer.status == 401 {
            continue;
        }
        probe.check(&case, answer.status == 200, format!("answered {}", answer.status));
        let Some(seen) = site.upstream.seen().pop() else { continue };
        probe.check(&case, userinfo(&seen)["sub"] == "user-1", "X-Userinfo is gone");
        for kept in ["x-access-token", "x-forwarded-for", "x-real-ip", "host"] {
            probe.check(&case, seen.header(kept).is_some(), format!("{kept} is gone"));
        }
        for gone in ["keep-alive", "proxy-connection", "te"] {
            probe.check(&case, seen.header(gone).is_none(), format!("{gone} went upstream"));
        }
    }
    probe.report();
}

/// What frames a message or names its host, whose it is, and what a server may fold into one of these.
const FRAMING: &[&str] = &[
    "Content-Length",
    "Transfer-Encoding",
    "Content-Type",
    "Content-Encoding",
    "Host",
    "Connection",
    "Keep-Alive",
    "Proxy-Connection",
    "Proxy-Authorization",
    "Authorization",
    "Cookie",
    "Expect",
    "Trailer",
    "TE",
    "Upgrade",
];

#[tokio::test]
async fn h02_t23_no_other_spelling_of_what_frames_a_message_arrives() {
    let site = Site::new().await;
    let mut probe = Probe::new(&site);
    for name in FRAMING {
        let twisted = [
            name.replace('-', "_"),
            name.replace('-', "_").to_lowercase(),
            name.replace('-', "."),
            name.replace('-', "__"),
            format!("{name}_"),
            format!("_{name}"),
            format!("{name}."),
            name.replace('-', "|"),
            format!("{name}*"),
        ];
        for spelling in twisted.into_iter().filter(|spelling| spelling.contains(['_', '.', '|', '*'])) {
            let request = Request::new("POST", &site.target("x")).header(&spelling, EVIL).body("hello");
            let answer = site.gate.send(request).await;
            probe.check(&spelling, matches!(answer.status, 200 | 400), format!("answered {}", answer.status));
            let sent = site.upstream.received();
            probe.check(&spelling, !sent.contains(EVIL), "it went upstream");
        }
    }
    for seen in site.upstream.seen() {
        probe.check("the body", seen.message.body == b"hello", format!("{seen:?}"));
    }
    // In trailers as well.
    let chunks = "5\r\nhello\r\n0\r\nContent_Length: evil\r\ntransfer.encoding: evil\r\nX_Userinfo: evil\r\nX-Good: 1\r\n\r\n";
    let framing = "Transfer-Encoding: chunked\r\nConnection: close\r\n";
    let start = format!("POST {} HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n", site.target("trailers"));
    probe.forwards("trailers", format!("{start}{chunks}"), b"hello").await;
    let seen = site.upstream.seen_with("trailers").pop().unwrap();
    probe.check("trailers", !raw(&seen).contains("evil") && raw(&seen).contains("x-good"), raw(&seen));
    // `Proxy` becomes HTTP_PROXY in CGI, which clients take for a proxy to go through (CVE-2016-5385).
    for name in ["Proxy", "proxy", "PROXY_", "P.roxy"] {
        site.gate.send(Request::get(&site.target("x")).header(name, EVIL)).await;
        probe.check(name, !site.upstream.received().contains(EVIL), "it went upstream");
    }
    // Names of applications with such letters stay what they are.
    let request = Request::get(&site.target("own")).header("api_key", "a").header("X_Own.Name", "b");
    site.gate.send(request).await;
    let seen = site.upstream.seen_with("own").pop().unwrap();
    let own = (seen.header("api_key"), seen.header("x_own.name"));
    probe.check("own", own == (Some("a"), Some("b")), raw(&seen));
    probe.finish().await;
}

#[tokio::test]
async fn h01_nobody_but_a_trusted_proxy_says_what_certificate_a_client_has_shown() {
    const NAMES: &[&str] = &[
        "Client-Cert",
        "Client-Cert-Chain",
        "Client-Certificate",
        "Client-Certificate-CA-Verified",
        "X-Forwarded-Client-Cert",
        "X-Client-Cert",
        "X-SSL-Client-Cert",
        "X-SSL-Client-S-DN",
        "X-SSL-Client-Verify",
        "SSL-Client-Cert",
        "SSL-Client-Subject-DN",
        "SSL-Client-Verify",
        "X-ARR-ClientCert",
        "X-Amzn-Mtls-Clientcert-Subject",
    ];
    let site = Site::new().await;
    let mut probe = Probe::new(&site);
    for name in NAMES {
        let answer = site.gate.send(spoofed_with(Request::get(&site.target(name)), name)).await;
        probe.check(name, answer.status == 200, format!("answered {}", answer.status));
        let sent = site.upstream.seen().pop().map(|seen| raw(&seen)).unwrap_or_default();
        probe.check(name, !sent.contains(EVIL), format!("the upstream got {sent:?}"));
    }
    probe.finish().await;

    let (gate, _) = Portcullis::production("trusted_proxies: [127.0.0.0/8]");
    let site = Site::on(std::sync::Arc::new(gate), json!({})).await;
    for name in NAMES {
        let told = Request::get(&site.target("x")).header(name, "good").header(&name.replace('-', "_"), EVIL);
        assert_eq!(site.gate.send(told).await.status, 200, "{name}");
        let seen = site.upstream.seen().pop().unwrap();
        assert_eq!(seen.header(name), Some("good"), "{name}");
        assert!(!raw(&seen).contains(EVIL), "{name}: {}", raw(&seen));
    }
}

#[tokio::test]
async fn h05_odd_syntax_of_an_identity_header_is_a_400() {
    let site = Site::new().await;
    let mut probe = Probe::new(&site);
    let start = format!("GET {} HTTP/1.1\r\nHost: localhost\r\nX-First: 1\r\n", site.target("x"));
    for line in [
        "X-Userinfo : evil",
        " X-Userinfo: evil",
        "X-Userinfo\t: evil",
        "X-Other: a\r\n X-Userinfo: evil",
        "X-Userinfo\0: evil",
        "X-User\0info: evil",
        "X-Userinfo: evil\r",
        "X-Userinfo\r: evil",
    ] {
        probe.refuses(&format!("{line:?}"), format!("{start}{line}\r\n\r\n"), &[400]).await;
    }
    probe.finish().await;
}

#[tokio::test]
async fn h07_side_doors_are_cleaned_as_well() {
    let site = Site::new().await;
    let mut probe = Probe::new(&site);
    for method in ["OPTIONS", "HEAD", "PUT", "DELETE", "PATCH", "PROPFIND"] {
        let request = spoofed_with(Request::new(method, &site.target("x")), "X-Userinfo")
            .header("Origin", "https://evil.example")
            .header("Access-Control-Request-Method", "GET");
        let answer = site.gate.send(request).await;
        probe.check(method, answer.status == 200, format!("answered {}", answer.status));
        let own =
            answer.message.headers.iter().any(|(name, _)| name.to_lowercase().starts_with("access-control"));
        probe.check(method, !own, "the gateway answered for the upstream");
        let seen = site.upstream.seen().pop().unwrap();
        probe.check(method, seen.method == method && !raw(&seen).contains(EVIL), raw(&seen));
    }
    // A 404 and a 400 say nothing of what was sent.
    let missing = site.gate.send(spoofed_with(Request::get(&unique("/missing-")), "X-Userinfo")).await;
    probe.check("404", missing.status == 404 && !missing.text().contains(EVIL), format!("{missing:?}"));
    probe.finish().await;
}

#[tokio::test]
async fn h08_the_client_s_address_is_the_connection_s() {
    let site = Site::new().await;
    let id = unique("h08-");
    let vip = json!({"uri": format!("/{id}"), "remote_addrs": ["10.0.0.0/8"],
        "upstream": crate::support::admin::node(&site.upstream)});
    site.gate.admin().set(&format!("routes/{id}"), &vip).await;
    let mut probe = Probe::new(&site);
    for (name, value) in [
        ("X-Forwarded-For", "10.0.0.1"),
        ("x-forwarded-for", "10.0.0.1, 127.0.0.1"),
        ("X-Real-IP", "10.0.0.1"),
        ("Forwarded", "for=10.0.0.1;proto=https;host=evil"),
        ("True-Client-IP", "10.0.0.1"),
        ("X-Client-IP", "10.0.0.1"),
        ("X-Cluster-Client-IP", "10.0.0.1"),
        ("X-Forwarded-Host", "10.0.0.1"),
        ("X-Forwarded-Proto", "10.0.0.1"),
        ("X-Forwarded-Port", "10.0.0.1"),
        ("X-Forwarded-Prefix", "10.0.0.1"),
    ] {
        site.gate.send(Request::get(&site.target("x")).header(name, value)).await;
        let seen = site.upstream.seen().pop().unwrap();
        probe.check(name, !raw(&seen).contains("10.0.0.1"), format!("the upstream got {:?}", raw(&seen)));
        for set in ["x-forwarded-for", "x-real-ip"] {
            probe.check(
                name,
                seen.header(set) == Some("127.0.0.1"),
                format!("{set}: {:?}", seen.header(set)),
            );
        }
        let vip = site.gate.send(Request::get(&format!("/{id}")).header(name, value)).await;
        probe.check(name, vip.status == 404, format!("opened a route for other addresses: {}", vip.status));
    }
    let request = format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", site.target("x"));
    let v1 = format!("PROXY TCP4 10.0.0.1 127.0.0.1 5 80\r\n{request}");
    probe.refuses("PROXY v1", v1, &[400]).await;
    let signature = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x0a\0\0\x01\x7f\0\0\x01\0\x05\0\x50";
    probe.refuses("PROXY v2", [signature, request.as_bytes()].concat(), &[400]).await;
    probe.finish().await;
}

#[tokio::test]
async fn h09_h10_other_targets_and_methods_in_headers_are_not_passed_on() {
    let site = Site::new().await;
    let mut probe = Probe::new(&site);
    for name in [
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-Original-URI",
        "X-Forwarded-Uri",
        "X-Forwarded-Method",
        "X-Forwarded-Path",
        "X-Envoy-Original-Path",
        "X-HTTP-Method-Override",
        "X-HTTP-Method",
        "X-Method-Override",
    ] {
        let answer = site.gate.send(Request::get(&site.target("x")).header(name, "/evil")).await;
        probe.check(name, answer.status == 200, format!("answered {}", answer.status));
        let seen = site.upstream.seen().pop().unwrap();
        probe.check(name, seen.target == site.target("x") && seen.method == "GET", format!("{seen:?}"));
        probe.check(name, !raw(&seen).contains("/evil"), format!("the upstream got {:?}", raw(&seen)));
    }
    // `_method` is the upstream's business, but the gateway's decisions do not read it.
    let id = unique("h10-");
    let only_get = json!({"uri": format!("/{id}"), "methods": ["GET"],
        "upstream": crate::support::admin::node(&site.upstream)});
    site.gate.admin().set(&format!("routes/{id}"), &only_get).await;
    let tricked =
        Request::new("DELETE", &format!("/{id}?_method=GET")).header("X-HTTP-Method-Override", "GET");
    probe.check("_method", site.gate.send(tricked).await.status == 404, "DELETE passed as GET");
    probe.finish().await;
}

#[tokio::test]
async fn h20_no_user_agent_and_no_health_check_needs_no_token() {
    let (site, _provider) = protected().await;
    for agent in ["kube-probe/1.30", "GoogleHC/1.0", "ELB-HealthChecker/2.0", "Go-http-client/1.1", ""] {
        for target in ["x", "healthz", "health", "ping", "robots.txt", "favicon.ico"] {
            let answer = site.gate.send(Request::get(&site.target(target)).header("User-Agent", agent)).await;
            assert_eq!(answer.status, 401, "{agent} {target}");
        }
    }
    assert!(site.upstream.received().is_empty());
}

#[tokio::test]
async fn h28_every_answer_reaches_the_client_it_belongs_to() {
    let site = Site::new().await;
    site.upstream.script(|seen| match seen.target.rsplit('=').next() {
        // Some answers are left half-way, by the upstream or by the client.
        Some(n) if n.ends_with('7') => {
            Answer::SendAndClose(format!("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{n}").into())
        }
        Some(n) => Answer::text(n),
        None => Answer::Close,
    });
    let mut clients = tokio::task::JoinSet::new();
    for worker in 0..8 {
        let (gate, target) = (site.gate.clone(), site.target("mixed"));
        clients.spawn(async move {
            for n in (worker..800).step_by(8) {
                let mut connection = gate.connect().await;
                let request = Request::new("POST", &format!("{target}?n={n}")).body(format!("body of {n}"));
                connection.send(request.header("Connection", "close").bytes()).await;
                if n % 5 == 0 {
                    continue;
                }
                let answer = connection.response().await;
                if n % 10 != 7 {
                    let answer = answer.unwrap_or_else(|| panic!("{n}: no answer"));
                    assert_eq!((answer.status, answer.text()), (200, n.to_string()));
                }
            }
        });
    }
    while let Some(done) = clients.join_next().await {
        done.unwrap();
    }
    for seen in site.upstream.seen() {
        let n = seen.target.rsplit('=').next().unwrap();
        assert_eq!(seen.message.body, format!("body of {n}").as_bytes());
    }
    site.still_serves().await;
}
