//! What a browser sends: the session's cookie, and the way back from the provider.

use super::*;

/// The session cookies that stand in a `Cookie` line, read as loosely as anybody might.
fn holds(line: &str, pair: &str) -> bool {
    line.split(';').any(|one| one.trim() == pair)
}

#[tokio::test]
async fn r24_a_cookie_that_was_altered_opens_nothing() {
    let gate = Arc::new(Portcullis::dev());
    let provider = Provider::start(CLIENT);
    let site = login::site(Arc::clone(&gate), &provider, json!({})).await;
    let small = login::cookies(&site.logged_in().await);
    provider.answer_tokens_with(json!({"access_token": base::Random::seeded(1).alphanumeric(7000)}));
    let large = login::cookies(&site.logged_in().await);
    let (served, mut line) = (site.reached(), Line::to(gate.port(9080)).await);
    for cookies in [&small, &large] {
        assert_eq!(line.send(&page(&site, "page").header("Cookie", cookies)).await.status, 200);
    }
    let mut fuzz = Fuzz::new("cookie", 1500);
    let before = gate.resident();
    let mut passed = 0;
    while fuzz.goes_on() {
        let good = *fuzz.one(&[&small, &large]);
        let mutated = fuzz.mutate_header(good);
        // All parts of one that is good, whatever stands around them, are that session.
        let is_whole = [&small, &large].iter().any(|good| good.split("; ").all(|pair| holds(&mutated, pair)));
        let answer = line.send(&page(&site, "page").header("Cookie", &mutated)).await;
        assert!(matches!(answer.status, 200 | 302 | 400 | 431), "{mutated}: {answer:?}");
        assert!(is_whole || answer.status != 200, "{mutated} opens a session");
        passed += usize::from(answer.status == 200);
    }
    assert_eq!(site.reached(), served + 2 + passed);
    fuzz.finish(&gate, before);
}

/// A login that has come as far as the provider: its cookies, and what the provider would send back.
async fn begin(line: &mut Line, site: &Site) -> (String, String) {
    let away = line.send(&page(site, "first")).await;
    let cookies: Vec<&str> =
        away.all("set-cookie").iter().map(|set| set.split(';').next().unwrap()).collect();
    let location = away.header("location").unwrap_or_else(|| panic!("{away:?}"));
    let back = Browser::new().open_only(location).await.location().unwrap();
    (cookies.join("; "), back.query().unwrap().to_owned())
}

/// The values of `code` and `state`, as a form has them.
fn essence(sent: &[u8]) -> Vec<(String, String)> {
    let all = form_urlencoded::parse(sent).into_owned();
    let mut kept: Vec<_> = all.filter(|(name, _)| name == "code" || name == "state").collect();
    kept.sort();
    kept
}

#[tokio::test]
async fn r01_a_callback_that_was_altered_begins_nothing() {
    let gate = Arc::new(Portcullis::dev());
    let provider = Provider::start(CLIENT);
    let by_query = login::site(Arc::clone(&gate), &provider, json!({})).await;
    let by_form = login::site(Arc::clone(&gate), &provider, json!({"response_mode": "form_post"})).await;
    by_query.logged_in().await;
    let (mut line, mut fuzz) = (Line::to(gate.port(9080)).await, Fuzz::new("callback", 1200));
    let issuer: String = form_urlencoded::byte_serialize(provider.issuer().as_bytes()).collect();
    let before = gate.resident();
    let mut logins = [begin(&mut line, &by_query).await, begin(&mut line, &by_form).await];
    let (mut round, mut begun) = (0, 0);
    while fuzz.goes_on() {
        round += 1;
        let kind = fuzz.pick(2);
        let site = [&by_query, &by_form][kind];
        if round % 20 == 0 {
            // What is altered may have used the login up.
            logins[kind] = begin(&mut line, site).await;
        }
        let (cookies, good) = logins[kind].clone();
        let (code, state) = good.split_once('&').unwrap();
        let seeds = [
            good.clone(),
            format!("{good}&iss={issuer}&session_state=x"),
            format!("error=access_denied&error_description=no&{good}"),
            format!("{state}&error=server_error&{code}x"),
        ];
        let mut sent = fuzz.mutate(fuzz.one(&seeds).as_bytes());
        let request = if kind == 1 {
            let host = format!("localhost:{}", gate.port(9080));
            let request = Request::new("POST", &site.target("callback")).header("Host", &host);
            request.header("Content-Type", "application/x-www-form-urlencoded").body(sent.clone())
        } else {
            sent.retain(u8::is_ascii_graphic);
            page(site, &format!("callback?{}", String::from_utf8_lossy(&sent)))
        };
        let answer = line.send(&request.header("Cookie", &cookies)).await;
        let what = String::from_utf8_lossy(&sent).into_owned();
        // 502: the provider says, in this login's own words, that it failed.
        assert!(matches!(answer.status, 302 | 303 | 400 | 403 | 405 | 414 | 431 | 502), "{what}: {answer:?}");
        if answer.all("set-cookie").iter().any(|set| set.starts_with("session=pc~")) {
            assert_eq!(essence(&sent), essence(good.as_bytes()), "{what} begins a session");
            begun += 1;
            logins[kind] = begin(&mut line, site).await;
        }
    }
    assert_eq!((by_query.reached(), by_form.reached()), (1, 0), "{begun} were logged in");
    fuzz.finish(&gate, before);
}
