//! What must not come out: protected pages, one user's answer to the next, secrets in errors.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{CLIENT, decoded, expect_no_login, gives_session, login, query};
use crate::support::{Answer, Browser, Portcullis, Provider, Request, Response, shared, tokens, unique};

#[tokio::test]
async fn r10_userinfo_about_somebody_else_ends_the_login_and_junk_is_dropped() {
    let provider = Provider::start(CLIENT);
    let site = login::site(shared(), &provider, json!({})).await;
    let json = |body: Value| Answer::json(&body);
    for (what, lie) in [
        ("another user's", json(json!({"sub": "user-2", "name": "somebody else"}))),
        ("a longer name", json(json!({"sub": "user-1 "}))),
    ] {
        provider.lie("/userinfo", move |_| lie.clone());
        expect_no_login(&site, what, 502).await;
    }
    let stranger = tokens::key(jose::Alg::ES256, "key-1");
    let forged = tokens::mint(&stranger, &json!({"iss": provider.issuer(), "aud": CLIENT, "sub": "user-1"}));
    for (what, lie) in [
        ("a list", json(json!([{"sub": "user-1"}]))),
        ("a JWT by another key", Answer::with(200, &[("Content-Type", "application/jwt")], forged)),
        ("10 MiB", json(json!({"sub": "user-1", "x": "x".repeat(10 << 20)}))),
        ("a page", Answer::text("<html>")),
        ("an error", Answer::with(500, &[], "")),
        ("two subjects", Answer::text(r#"{"sub":"user-1","sub":"user-1"}"#)),
    ] {
        provider.lie("/userinfo", move |_| lie.clone());
        site.logged_in().await;
        let seen = site.last();
        assert_eq!(seen.header("x-userinfo"), None, "{what}");
        assert_eq!(decoded(&seen, "x-id-token")["sub"], "user-1", "{what}: the login holds");
    }
}

#[tokio::test]
async fn r32_a_page_that_is_protected_shows_nothing_of_itself_or_of_what_was_posted() {
    let provider = Provider::start(CLIENT);
    let site = login::site(shared(), &provider, json!({})).await;
    let (canary, posted) = (unique("upstream-canary-"), unique("posted-canary-"));
    site.upstream.answer(Answer::with(200, &[("X-Canary", &canary)], &canary));
    let host = format!("localhost:{}", site.gate.port(9080));
    let body = format!("field={posted}&script=%3Cscript%3E");
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        for accept in ["text/html", "application/json"] {
            let request = Request::new(method, &site.target("page")).header("Host", &host);
            let request = request.header("Content-Type", "application/x-www-form-urlencoded");
            let answer = site.gate.send(request.header("Accept", accept).body(body.as_str())).await;
            let all = format!("{:?}", answer.message) + &answer.text();
            assert_eq!(
                (answer.status, answer.header("location")),
                (401, None),
                "{method} {accept}: {answer:?}"
            );
            assert!(!all.contains(&canary) && !all.contains(&posted), "{method} {accept}: {all}");
        }
    }
    let page = site.with_cookies("page", "").await;
    assert!(
        page.status == 302 && page.header("x-canary").is_none() && !page.text().contains(&canary),
        "{page:?}"
    );
    assert_eq!((site.reached(), provider.hits("/authorize").len()), (0, 0));
}

/// Whether a shared cache may store an answer (RFC 9111 section 3). Every line of `Cache-Control` counts.
fn may_be_stored(answer: &Response) -> bool {
    let directives = answer.all("cache-control").join(",").to_ascii_lowercase();
    let has = |name: &str| directives.split(',').any(|one| one.trim().split('=').next() == Some(name));
    let is_cacheable =
        matches!(answer.status, 200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501);
    let is_allowed = has("public") || has("max-age") || has("s-maxage") || answer.header("expires").is_some();
    !has("no-store") && !has("private") && (is_cacheable || is_allowed)
}

#[tokio::test]
async fn r33_no_shared_cache_may_keep_what_sets_a_cookie_or_tells_of_a_login() {
    let gate = Arc::new(Portcullis::dev());
    let provider = Provider::start(CLIENT);
    let short = json!({"access_token_expires_leeway": 3300, "post_logout_redirect_uri": "/bye"});
    let site = login::site(Arc::clone(&gate), &provider, short).await;
    let inviting = [("Cache-Control", "public, max-age=3600"), ("Expires", "Thu, 01 Jan 2099 00:00:00 GMT")];
    site.upstream.answer(Answer::with(200, &inviting, "somebody's page"));
    let mut browser = Browser::new();
    let away = browser.open_only(&site.url("first")).await;
    let callback = Browser::new().open_only(away.location().unwrap().as_str()).await.location().unwrap();
    let home = browser.open_only(callback.as_str()).await;
    let cookies = login::cookies(&browser);
    let calm = site.with_cookies("page", &cookies).await;
    assert_eq!(calm.header("cache-control"), Some("public, max-age=3600"), "the application's own word");
    gate.advance(Duration::from_secs(301)).await;
    let refreshed = site.with_cookies("page", &cookies).await;
    gate.advance(Duration::from_secs(200)).await;
    let cookies = super::given(&refreshed).join("; ");
    let used = site.with_cookies("page", &cookies).await;
    let fresh = super::given(&used);
    let state = query(away.location().unwrap().as_str())["state"].clone();
    let failed = site.with_cookies(&format!("callback?error=access_denied&state={state}"), "").await;
    let cookies = if fresh.is_empty() { cookies } else { fresh.join("; ") };
    let out = site.with_cookies("logout", &cookies).await;
    for (what, answer) in [
        ("a login begins", &away.response),
        ("a login ends", &home.response),
        ("a session is refreshed", &refreshed),
        ("a session is in use", &used),
        ("a login fails", &failed),
        ("a logout", &out),
    ] {
        assert!(answer.status < 500, "{what}: {answer:?}");
        let is_about_a_login = answer.status != 200 || !answer.all("set-cookie").is_empty();
        assert!(!(is_about_a_login && may_be_stored(answer)), "{what}: {answer:?}");
    }
    assert!(gives_session(&home.response) && gives_session(&refreshed), "{refreshed:?}");
    assert_eq!(refreshed.text(), "somebody's page");
    assert_eq!(refreshed.all("cache-control").len(), 1, "{refreshed:?}");
}

#[tokio::test]
async fn r38_an_answer_of_the_token_endpoint_is_whole_and_well_formed_or_none() {
    let provider = Provider::start(CLIENT);
    let site = login::site(shared(), &provider, json!({"timeout": 3})).await;
    let canary = unique("canary-");
    let id_token = "a.b.c";
    let good = json!({"access_token": canary, "token_type": "Bearer", "id_token": id_token}).to_string();
    let inside = good.strip_prefix('{').unwrap();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        good.len()
    );
    let chunked = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    let lies = [
        ("a member twice", Answer::text(&format!(r#"{{"access_token":"{canary}",{inside}"#))),
        ("a negative lifetime", Answer::text(&format!(r#"{{"expires_in":-1,{inside}"#))),
        ("a lifetime that is a text", Answer::text(&format!(r#"{{"expires_in":"x",{inside}"#))),
        ("a lifetime without end", Answer::text(&format!(r#"{{"expires_in":1e30,{inside}"#))),
        ("a number as token", Answer::text(r#"{"access_token":7,"token_type":"Bearer","id_token":"a.b.c"}"#)),
        ("nothing", Answer::with(204, &[], "")),
        ("a list", Answer::text("[]")),
        ("a body that breaks off", Answer::SendAndClose(format!("{head}{}", &good[..20]).into_bytes())),
        ("chunks that break off", Answer::SendAndClose(format!("{chunked}5\r\n{{\"acc").into_bytes())),
        (
            "a drip",
            Answer::Drip(head.clone().into_bytes(), good.clone().into_bytes(), Duration::from_millis(300)),
        ),
        ("a head that drips", Answer::Drip(Vec::new(), head.into_bytes(), Duration::from_millis(300))),
        ("10 MiB", Answer::text(&format!(r#"{{"x":"{}",{inside}"#, "x".repeat(10 << 20)))),
        ("packed", Answer::with(200, &[("Content-Encoding", "gzip")], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3])),
    ];
    for (what, lie) in lies {
        provider.lie("/token", move |_| lie.clone());
        let begun = std::time::Instant::now();
        let mut browser = Browser::new();
        let page = browser.open(&site.url("first")).await;
        assert!(page.status() == 502 && page.has_id("error"), "{what}: {page:?}");
        assert!(browser.cookie_names().is_empty() && !page.response.text().contains(&canary), "{what}");
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}: {:?}", begun.elapsed());
    }
    assert!(!site.gate.output().contains(&canary), "nothing of it is in the log");
    assert_eq!(site.reached(), 0);
    provider.be_honest();
    site.logged_in().await;
}
