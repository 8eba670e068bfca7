//! H11 to H14, H24 and H25: the path that is judged is the path that is sent.

use std::sync::Arc;

use serde_json::json;

use super::bearer;
use crate::support::{
    Connection, Portcullis, Provider, Upstream,
    admin::node,
    http2::{Frames, Outcome, pseudo},
    shared, unique,
};

/// A host on which everything is open except what begins with `/admin`.
struct House {
    gate: Arc<Portcullis>,
    host: String,
    open: Upstream,
    admin: Upstream,
    _provider: Provider,
}

impl House {
    async fn new() -> Self {
        let (gate, host) = (shared(), format!("{}.example", unique("house-")));
        let (open, admin, provider) = (Upstream::start(), Upstream::start(), Provider::start("h-client"));
        let client = gate.admin();
        let route = json!({"uri": "/*", "hosts": [host], "upstream": node(&open)});
        client.set(&format!("routes/{}", unique("open-")), &route).await;
        let route = json!({"uri": "/admin*", "hosts": [host], "upstream": node(&admin), "plugins": bearer(&provider)});
        client.set(&format!("routes/{}", unique("admin-")), &route).await;
        Self { gate, host, open, admin, _provider: provider }
    }

    /// Sends `target` as it is; the status, and the paths that the open upstream got.
    async fn try_path(&self, target: &str) -> (Option<u16>, Vec<String>) {
        let before = self.open.seen().len();
        let mut connection = self.gate.connect().await;
        let bytes = format!("GET {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.host);
        connection.send(bytes).await;
        let status = connection.response().await.map(|answer| answer.status);
        (status, self.open.seen().split_off(before).into_iter().map(|seen| seen.path().to_owned()).collect())
    }

    /// Whatever the verdict on each target, none may come out as open with the protected path.
    async fn holds(&self, targets: &[&str]) {
        let mut failures = Vec::new();
        for target in targets {
            let (status, sent) = self.try_path(target).await;
            for path in &sent {
                if folded(path).starts_with("/admin") || path != &resolved(path) {
                    failures.push(format!("{target}: {status:?}, sent as {path}"));
                }
            }
            if !matches!(status, Some(200 | 400 | 401 | 404)) || (status == Some(200) && sent.len() != 1) {
                failures.push(format!("{target}: {status:?}, sent as {sent:?}"));
            }
        }
        assert!(self.admin.received().is_empty(), "the protected upstream got {}", self.admin.received());
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    }

    /// These targets mean the protected path in any reading: they need a token, or are refused.
    async fn refuses(&self, targets: &[&str]) {
        for target in targets {
            let (status, sent) = self.try_path(target).await;
            assert!(matches!(status, Some(400 | 401)), "{target}: {status:?}, sent as {sent:?}");
        }
        assert!(self.admin.received().is_empty(), "the protected upstream got {}", self.admin.received());
    }
}

/// What a server makes of a path when it resolves what RFC 3986 section 6.2.2 lets it resolve.
fn resolved(path: &str) -> String {
    let mut out: Vec<&str> = Vec::new();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    for (n, segment) in segments.iter().enumerate() {
        match *segment {
            "." | "" if n + 1 < segments.len() => {}
            ".." => drop(out.pop()),
            segment => out.push(segment),
        }
    }
    format!("/{}", out.join("/"))
}

/// What a server makes of it that also decodes letters and drops parameters.
fn folded(path: &str) -> String {
    let mut out = String::new();
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        match rest.get(at + 1..at + 3).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            // An escaped slash is data; the contract keeps it.
            Some(b'/' | b'\\') | None => out.push('%'),
            Some(byte) => {
                out.push(char::from(byte));
                rest = &rest[at + 3..];
                continue;
            }
        }
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    let bare: Vec<&str> =
        out.split('/').map(|segment| segment.split(';').next().unwrap_or_default()).collect();
    resolved(&bare.join("/"))
}

#[tokio::test]
async fn h11_slashes_and_dots_lead_nowhere_else() {
    let house = House::new().await;
    house
        .refuses(&[
            "/admin",
            "//admin",
            "/./admin",
            "/x/../admin",
            "/admin/.",
            "/admin/..//admin",
            "///admin///",
            "/x/y/../../admin",
            "/../admin",
            "/../../../admin",
            "/.//./admin",
            "/x/./../admin/",
        ])
        .await;
    house
        .holds(&[
            "/\\admin",
            "\\admin",
            "/x\\..\\admin",
            "/x/..\\admin",
            "/.../admin",
            "/x/..admin",
            "/..admin",
            "/x/.admin/",
            "/x/../y",
            "/x//y",
            "/x/.",
            "/x/..",
            "/",
        ])
        .await;
}

#[tokio::test]
async fn h12_percent_escapes_lead_nowhere_else() {
    let house = House::new().await;
    house
        .refuses(&[
            "/%61dmin",
            "/%61%64%6d%69%6e",
            "/%61%64%6D%69%6E",
            "/x/%2e%2e/admin",
            "/x/%2E%2e/admin",
            "/x/.%2e/admin",
            "/%2e/admin",
            "/x/%2e%2e/%61dmin",
            "//%61dmin",
        ])
        .await;
    for bad in [
        "/%00",
        "/admin%00",
        "/%zz",
        "/%",
        "/x%2",
        "/%c0%af",
        "/%c0%ae%c0%ae/admin",
        "/%e9",
        "/%ff%fe",
        "/%u0061dmin",
    ] {
        let (status, sent) = house.try_path(bad).await;
        assert_eq!((status, sent), (Some(400), vec![]), "{bad}");
    }
    house
        .holds(&[
            "/x%2f..%2fadmin",
            "/x%2F..%2Fadmin",
            "/%2fadmin",
            "/x%5c..%5cadmin",
            "/%5cadmin",
            "/%252e%252e/admin",
            "/x/%252e%252e/admin",
            "/%2561dmin",
            "/%25%36%31dmin",
            "/x%3badmin",
            "/%3fadmin",
            "/%23admin",
            "/%20admin",
            "/caf%c3%a9",
            "/%7e",
        ])
        .await;
    // Kept as they were sent, in the one spelling.
    let (status, sent) = house.try_path("/a%2fb%5cc%7e").await;
    assert_eq!((status, sent), (Some(200), vec!["/a%2Fb%5Cc~".to_owned()]));
}

#[tokio::test]
async fn h13_parameters_queries_and_fragments_do_not_hide_the_path() {
    let house = House::new().await;
    house
        .refuses(&[
            "/admin;x",
            "/admin;/x",
            "/public;/../admin",
            "/x/..;/admin",
            "/x/..;a=b/admin",
            "/admin?.js",
            "/admin?/../public",
            "/admin#/public",
            "/admin%3f.js",
            "/admin;.css",
            "/admin/..;/admin",
        ])
        .await;
    house
        .holds(&["/x?/../admin", "/x;/admin", "/x?;/admin", "/;/admin", "/x;a=/../y", "/;admin", "/.;/admin"])
        .await;
}

#[tokio::test]
async fn h14_case_dots_and_spaces_are_part_of_the_path() {
    let house = House::new().await;
    house.refuses(&["/admin.", "/admin%20", "/admin..", "/admin%09", "/admin::$DATA", "/admin~1"]).await;
    // Paths are told apart by case (documented): what is sent is what was asked for.
    for (sent, form) in [
        ("/ADMIN", "/ADMIN"),
        ("/Admin/x", "/Admin/x"),
        ("/%41DMIN", "/ADMIN"),
        ("/adm%C4%B1n", "/adm%C4%B1n"),
    ] {
        assert_eq!(house.try_path(sent).await, (Some(200), vec![form.to_owned()]), "{sent}");
    }
}

#[tokio::test]
async fn h24_odd_methods_do_not_pass() {
    let house = House::new().await;
    let long = "M".repeat(1024);
    for (line, allowed) in [
        ("CONNECT localhost:22 HTTP/1.1", &[400, 405, 501][..]),
        ("CONNECT / HTTP/1.1", &[400, 405, 501]),
        ("TRACE / HTTP/1.1", &[405, 501]),
        ("get / HTTP/1.1", &[400, 405, 501]),
        ("G=x / HTTP/1.1", &[400, 405, 501]),
        ("GET\0 / HTTP/1.1", &[400]),
        (&format!("{long} / HTTP/1.1"), &[400, 405, 431, 501]),
        ("PRI * HTTP/2.0", &[400, 405, 501]),
    ] {
        let mut connection = Connection::open(house.gate.port(9080)).await;
        connection.send(format!("{line}\r\nHost: {}\r\nConnection: close\r\n\r\n", house.host)).await;
        connection.half_close().await;
        let answer = connection.response_raw().await;
        let refused = answer.is_none_or(|status| allowed.contains(&status));
        assert!(refused, "{line}: {answer:?}");
    }
    assert!(house.open.received().is_empty());
}

#[tokio::test]
async fn h25_grpc_paths_are_judged_like_all_others() {
    let house = House::new().await;
    for path in [
        "admin.Service/Method",
        "/%61dmin.Service/Method",
        "//admin.Service/Method",
        "/x/../admin.Service/M",
        "",
    ] {
        let mut frames = Frames::open(house.gate.port(9080)).await;
        let mut fields = pseudo("POST", path);
        let host = house.host.clone();
        fields[2].1 = host.as_bytes();
        fields.extend([(&b"content-type"[..], &b"application/grpc"[..]), (b"te", b"trailers")]);
        frames.request(1, &fields).await;
        let outcome = frames.outcome(1).await;
        let served = matches!(&outcome, Outcome::Answered(block) if block.first() == Some(&(0x80 | 8)));
        assert!(!served, "{path}: {outcome:?}");
    }
    assert!(house.open.received().is_empty() && house.admin.received().is_empty());
}
