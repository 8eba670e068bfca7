//! The cookies of sessions and of logins that are under way.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use serde_json::json;

use super::{CLIENT, Visitor, form, given, login, query};
use crate::support::{Browser, Connection, Portcullis, Provider, Request, Response, Site, shared, tls};

#[tokio::test]
async fn r13_a_login_gives_a_new_session_and_the_old_one_is_dead() {
    let gate = Arc::new(Portcullis::dev());
    let provider = Provider::start(CLIENT);
    let site = login::site(Arc::clone(&gate), &provider, json!({})).await;
    let again = login::site(Arc::clone(&gate), &provider, json!({"force_reauthorize": true})).await;
    let mut browser = Browser::new();
    for planted in ["pc~1abcdplanted", "planted", ""] {
        browser.plant("session", planted);
        let page = browser.open(&site.url("first")).await;
        assert_eq!(page.status(), 200, "{planted}: {page:?}");
        assert_ne!(browser.cookie("session"), Some(planted), "the session is of the gate's own making");
        browser.plant("session", "");
    }
    let mut browser = site.logged_in().await;
    let old = login::cookies(&browser);
    gate.advance(Duration::from_secs(11)).await;
    assert_eq!(browser.open(&again.url("first")).await.status(), 200, "it went by way of the provider");
    let new = login::cookies(&browser);
    assert_ne!(old, new);
    let reached = (site.reached(), again.reached());
    assert_eq!(site.with_cookies("page", &old).await.status, 302);
    assert_eq!(again.with_cookies("page", &old).await.status, 302);
    assert_eq!((site.reached(), again.reached()), reached);
    assert_eq!(site.with_cookies("page", &new).await.status, 200);
}

/// A browser's request over https, with whatever cookies.
async fn over_https(site: &Site, rest: &str, cookies: &str) -> Response {
    let config = tls::client(&site.gate.authority(), &tls::Wanted::default());
    let port = site.gate.port(9443);
    let stream = tls::handshake(config, port, "localhost").await.unwrap();
    let request = Request::get(&site.target(rest)).header("Host", &format!("localhost:{port}"));
    let request = request.header("Accept", "text/html").header("Cookie", cookies);
    request.send_over(Connection::over(stream)).await
}

fn secure_url(site: &Site, rest: &str) -> String {
    format!("https://localhost:{}{}", site.gate.port(9443), site.target(rest))
}

#[tokio::test]
async fn r14_cookies_of_the_same_name_that_others_planted_are_passed_over() {
    let provider = Provider::start(CLIENT);
    let site = login::site(shared(), &provider, json!({})).await;
    let good = login::cookies(&site.logged_in().await);
    let (_, value) = good.split_once('=').unwrap();
    let other = login::cookies(&site.logged_in().await);
    for (what, cookies) in [
        ("junk before", format!("session=junk; {good}")),
        ("junk after", format!("{good}; session=junk")),
        ("an empty one before", format!("session=; {good}")),
        ("ours, cut, before", format!("session={}; {good}", &value[..40])),
        ("junk all around", format!("session=a; session=b; {good}; session=c")),
        ("another of ours after", format!("{good}; {other}")),
    ] {
        let answer = site.with_cookies("page", &cookies).await;
        assert_eq!(answer.status, 200, "{what}: {answer:?}");
        let kept = site.last().header("cookie").unwrap_or_default().to_owned();
        assert!(!kept.contains("pc~"), "{what}: the upstream was told {kept}");
    }

    let mut browser = Browser::trusting(site.gate.authority());
    let page = browser.open(&secure_url(&site, "first")).await;
    assert_eq!(page.status(), 200, "{page:?}");
    let (good, reached) = (login::cookies(&browser), site.reached());
    assert!(good.starts_with("__Host-session=pc~"), "a name that no other host can set: {good}");
    let bare = good.replace("__Host-", "");
    assert_eq!(over_https(&site, "page", &bare).await.status, 302, "the bare name counts for nothing here");
    assert_eq!(site.reached(), reached);
    for cookies in [format!("session=junk; {good}"), format!("{good}; {bare}; __Host-session=junk")] {
        assert_eq!(over_https(&site, "page", &cookies).await.status, 200, "{cookies}");
    }
}

#[tokio::test]
async fn r14_sessions_of_two_users_in_one_browser_are_nobody_s() {
    let gate = Arc::new(Portcullis::dev());
    let provider = Provider::start(CLIENT);
    let plain = login::site(Arc::clone(&gate), &provider, json!({})).await;
    // What a sibling host can set: the name is not one that browsers keep for this host.
    let named = json!({"session": {"cookie_name": "mine", "cookie_path": "/"}});
    let named = login::site(Arc::clone(&gate), &provider, named).await;
    for (site, name) in [(&plain, "session"), (&named, "mine")] {
        let as_user = async |user: &str| {
            provider.claim(json!({"sub": user}));
            provider.lie("/userinfo", {
                let user = user.to_owned();
                move |_| crate::support::Answer::json(&json!({"sub": user}))
            });
            site.logged_in().await
        };
        let (attacker, victim) = (login::cookies(&as_user("attacker").await), as_user("victim").await);
        let own = login::cookies(&victim);
        let again = login::cookies(&as_user("victim").await);
        let reached = site.reached();
        for cookies in [
            format!("{attacker}; {own}"),
            format!("{own}; {attacker}"),
            format!("{name}=junk; {own}; {attacker}"),
        ] {
            let answer = site.with_cookies("page", &cookies).await;
            assert_eq!(answer.status, 302, "{cookies}: {answer:?}");
            let scripted = Request::get(&site.target("page"))
                .header("Host", &format!("localhost:{}", gate.port(9080)))
                .header("Sec-Fetch-Mode", "cors")
                .header("Cookie", &cookies);
            assert_eq!(gate.send(scripted).await.status, 401, "{cookies}");
        }
        assert_eq!(site.reached(), reached, "somebody was let in");
        // Two sessions of one user are no question of who it is.
        assert_eq!(site.with_cookies("page", &format!("{own}; {again}")).await.status, 200);

        // A login ends all of them, so that the next page is not asked the same again.
        provider.claim(json!({"sub": "victim"}));
        let away = site.with_cookies("page", &format!("{attacker}; {own}")).await;
        let state = given(&away).pop().unwrap();
        let back = Browser::new().open_only(away.header("location").unwrap()).await.location().unwrap();
        let target = back.path().rsplit('/').next().unwrap().to_owned();
        let target = format!("{target}?{}", back.query().unwrap());
        let done = site.with_cookies(&target, &format!("{attacker}; {own}; {state}")).await;
        assert_eq!(done.status, 302, "{done:?}");
        let new = given(&done).into_iter().find(|pair| pair.starts_with(&format!("{name}=pc~"))).unwrap();
        let page = site.with_cookies("page", &format!("{attacker}; {new}")).await;
        assert_eq!(page.status, 200, "the planted one still counts: {page:?}");
        assert_eq!(super::super::decoded(&site.last(), "x-userinfo")["sub"], "victim");
        assert_eq!(site.with_cookies("page", &attacker).await.status, 302);
    }
}

#[tokio::test]
async fn r14_among_too_many_cookies_of_the_name_none_counts_and_no_logout_is_said_to_be_one() {
    let provider = Provider::start(CLIENT);
    let site = login::site(shared(), &provider, json!({})).await;
    let good = login::cookies(&site.logged_in().await);
    let planted = |count: usize| -> String {
        (0..count).map(|number| format!("session=pc~1abcdplanted{number}; ")).collect()
    };
    let reached = site.reached();
    assert_eq!(site.with_cookies("page", &format!("{}{good}", planted(7))).await.status, 200);
    for cookies in [format!("{}{good}", planted(8)), format!("{good}; {}", planted(40))] {
        assert_eq!(site.with_cookies("page", &cookies).await.status, 302);
        let out = site.with_cookies("logout", &cookies).await;
        assert_eq!(out.status, 503, "{out:?}");
        assert!(out.text().contains("could not be recorded"), "{out:?}");
    }
    assert_eq!(site.reached(), reached + 1);
    // What does not look like one of the gate's own takes no place among them.
    let junk: String = (0..100).map(|number| format!("session=junk{number}; ")).collect();
    assert_eq!(site.with_cookies("page", &format!("{junk}{good}")).await.status, 200);
    assert_eq!(site.with_cookies("logout", &format!("{junk}{good}")).await.status, 200);
    assert_eq!(site.with_cookies("page", &good).await.status, 302);
}

#[tokio::test]
async fn r22_every_cookie_is_locked_to_this_host_and_hidden_from_scripts() {
    let gate = Arc::new(Portcullis::dev());
    let provider = Provider::start(CLIENT);
    let lines = json!({"access_token_expires_leeway": 3300});
    let site = login::site(Arc::clone(&gate), &provider, lines).await;
    let mut browser = Browser::trusting(gate.authority());
    let mut answers = Vec::new();
    let away = browser.open_only(&secure_url(&site, "first")).await;
    let back = browser.open_only(away.location().unwrap().as_str()).await;
    let done = browser.open_only(back.location().unwrap().as_str()).await;
    answers.extend([("a login begins", away), ("a login ends", done)]);
    gate.advance(Duration::from_secs(301)).await;
    answers.push(("a refresh", browser.open_only(&secure_url(&site, "page")).await));
    gate.advance(Duration::from_secs(120)).await;
    answers.push(("a session in use", browser.open_only(&secure_url(&site, "page")).await));
    let away = Browser::trusting(gate.authority()).open_only(&secure_url(&site, "page")).await;
    let state = query(away.location().unwrap().as_str())["state"].clone();
    let failed = secure_url(&site, &format!("callback?error=access_denied&state={state}"));
    let mut other = Browser::trusting(gate.authority());
    let pair = given(&away.response).pop().unwrap();
    let (name, value) = pair.split_once('=').unwrap();
    other.plant(name, value);
    answers.push(("a login fails", other.open_only(&failed).await));
    answers.push(("a logout", browser.open_only(&secure_url(&site, "logout")).await));
    let mut seen = BTreeSet::new();
    for (what, page) in &answers {
        let lines = page.response.all("set-cookie");
        assert!(!lines.is_empty() || *what == "a session in use", "{what} sets no cookie: {page:?}");
        for line in lines {
            let mut parts = line.split("; ");
            let name = parts.next().unwrap().split('=').next().unwrap().to_owned();
            let attributes: BTreeSet<&str> = parts.collect();
            assert!(name.starts_with("__Host-session"), "{what}: {line}");
            for attribute in ["Secure", "HttpOnly", "SameSite=Lax", "Path=/"] {
                assert!(attributes.contains(attribute), "{what}: {attribute} is missing in {line}");
            }
            assert!(!line.contains("Domain"), "{what}: {line}");
            seen.insert(name);
        }
    }
    assert!(seen.len() >= 3, "the session and two logins: {seen:?}");
}

#[tokio::test]
async fn r23_a_large_session_is_split_and_no_other_set_of_parts_counts() {
    let provider = Provider::start(CLIENT);
    let site = login::site(shared(), &provider, json!({})).await;
    let large = |letters: usize| json!({"access_token": base::Random::system().alphanumeric(letters)});
    provider.answer_tokens_with(large(12_000));
    let mut browser = Browser::new();
    let (away, _) = (browser.open_only(&site.url("first")).await, ());
    let back = browser.open_only(away.location().unwrap().as_str()).await;
    let done = browser.open_only(back.location().unwrap().as_str()).await;
    let lines = done.response.all("set-cookie");
    assert!(lines.iter().filter(|line| line.contains("pc~")).count() >= 4, "{lines:?}");
    assert!(lines.iter().all(|line| line.len() < 4096), "{:?}", lines.iter().map(|line| line.len()).max());
    let parts = given(&done.response);
    let own = parts.join("; ");
    assert_eq!(site.with_cookies("page", &own).await.status, 200);
    let mut backwards = parts.clone();
    backwards.reverse();
    assert_eq!(site.with_cookies("page", &backwards.join("; ")).await.status, 200, "their order is nothing");
    let reached = site.reached();

    let other = given(&{
        let mut browser = Browser::new();
        let away = browser.open_only(&site.url("first")).await;
        let back = browser.open_only(away.location().unwrap().as_str()).await;
        browser.open_only(back.location().unwrap().as_str()).await.response
    });
    let value = |pair: &str| pair.split_once('=').unwrap().1.to_owned();
    let with = |at: usize, pair: String| {
        let mut parts = parts.clone();
        parts[at] = pair;
        parts.join("; ")
    };
    let first = value(&parts[0]);
    let counted = |count: &str| with(0, format!("session=pc~{count}{}", &first[4..]));
    for (what, cookies) in [
        ("one is missing", parts[1..].join("; ")),
        ("the last is missing", parts[..parts.len() - 1].join("; ")),
        ("two are swapped", {
            let swapped = with(1, format!("session_2={}", value(&parts[2])));
            swapped.replace(&parts[2], &format!("session_3={}", value(&parts[1])))
        }),
        ("one is another session's", with(1, other[1].clone())),
        ("the first is another session's", with(0, other[0].clone())),
        ("one is shorter", with(1, parts[1][..parts[1].len() - 1].to_owned())),
        ("a count of 99999999", counted("99999999")),
        ("a count of 0", counted("0")),
        ("a count that is too small", counted("1")),
        ("a count that is too large", counted("9")),
        ("no count", counted("x")),
    ] {
        let begun = std::time::Instant::now();
        let answer = site.with_cookies("page", &cookies).await;
        assert_eq!(answer.status, 302, "{what}: {answer:?}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{what}: {:?}", begun.elapsed());
    }
    assert_eq!(site.reached(), reached);

    provider.answer_tokens_with(large(64 << 10));
    super::expect_no_login(&site, "a session that no cookies can hold", 502).await;
}

#[tokio::test]
async fn r26_a_flood_of_logins_costs_no_memory_and_a_browser_keeps_fifty() {
    let gate = Arc::new(Portcullis::dev());
    let provider = Provider::start(CLIENT);
    let site = login::site(Arc::clone(&gate), &provider, json!({})).await;
    site.logged_in().await;
    let mut visitor = Visitor::of(&gate).await;
    let target = site.target("page");
    for _ in 0..500 {
        visitor.ask(&target, "").await;
    }
    let before = gate.resident();
    for _ in 0..5000 {
        assert_eq!(visitor.ask(&target, "").await.status, 302);
    }
    let grown = gate.resident().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes for 5000 logins that nobody ends");

    let mut browser = Browser::new();
    for number in 0..60 {
        let page = browser.open_only(&site.url(&format!("page-{number}"))).await;
        assert_eq!(page.status(), 302, "{page:?}");
    }
    let begun = browser.cookie_names().iter().filter(|name| name.starts_with("session_state_")).count();
    assert!((40..=50).contains(&begun), "{begun} logins are kept");

    let random = base::Random::system();
    let stranger =
        |number: usize| format!("session_state_{}=pc~{}", random.hex(16), "A".repeat(20 + number % 7));
    let many: Vec<String> = (0..200).map(stranger).collect();
    let answer = visitor.ask(&target, &many.join("; ")).await;
    assert_eq!(answer.status, 302, "{answer:?}");
    let gone = answer.all("set-cookie").iter().filter(|line| line.contains("Max-Age=0")).count();
    assert!((150..=200).contains(&gone), "{gone} of 200 are taken away");
    assert_eq!(provider.hits("/token").len(), 1);
}

#[tokio::test]
async fn r06_r27_fifty_tabs_all_end_logged_in_each_with_a_verifier_of_its_own() {
    let provider = Provider::start(CLIENT);
    let site = login::site(shared(), &provider, json!({})).await;
    let mut browser = Browser::new();
    let mut tabs = Vec::new();
    for _ in 0..50 {
        tabs.push(browser.open_only(&site.url("first")).await.location().unwrap());
    }
    for away in tabs {
        let page = browser.open(away.as_str()).await;
        assert_eq!((page.status(), page.url.as_str()), (200, site.url("first").as_str()), "{page:?}");
    }
    assert_eq!(browser.cookie_names(), ["session"], "no login is left over");
    let exchanges = provider.hits("/token");
    let verifiers: BTreeSet<String> =
        exchanges.iter().map(|hit| form(hit)["code_verifier"].clone()).collect();
    assert_eq!((exchanges.len(), verifiers.len(), site.reached()), (50, 50, 50));
    assert!(verifiers.iter().all(|verifier| (43..=128).contains(&verifier.len())));
}
