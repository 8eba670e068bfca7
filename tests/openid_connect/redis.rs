//! Sessions in a real Redis, shared by two nodes.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{
    CLIENT, conf, form,
    login::cookies,
    proof::{Prover, send},
};
use crate::support::{
    Answer, DEADLINE, Options, Portcullis, Provider, Request, Response, Site, Upstream,
    redis::{Redis, SURE},
    tls, tokens, unique,
};

/// The same route on each of `gates`, its sessions in `redis`.
async fn on_all(gates: &[Arc<Portcullis>], provider: &Provider, redis: Value, further: Value) -> Vec<Site> {
    let id = unique("shared-");
    let path = format!("/{id}");
    let mut own = json!({
        "redirect_uri": format!("{path}/callback"),
        "logout_path": format!("{path}/logout"),
        "backchannel_logout_path": format!("{path}/backchannel"),
        "session": {"secret": "the secret of both these nodes", "storage": "redis", "redis": redis},
    });
    own.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
    let plugins = json!({"openid-connect": conf(provider, own)});
    let mut sites = Vec::new();
    for gate in gates {
        let upstream = Upstream::start();
        gate.admin().route(&id, &format!("{path}/*"), &upstream, plugins.clone()).await;
        sites.push(Site { gate: Arc::clone(gate), upstream, path: path.clone() });
    }
    sites
}

fn nodes() -> [Arc<Portcullis>; 2] {
    [Arc::new(Portcullis::dev()), Arc::new(Portcullis::dev())]
}

/// Asks until the answer is as wanted.
async fn until(site: &Site, cookies: &str, status: u16) -> Response {
    let began = Instant::now();
    loop {
        let answer = site.with_cookies("page", cookies).await;
        if answer.status == status {
            return answer;
        }
        assert!(began.elapsed() < DEADLINE, "{status} never came: {answer:?}");
    }
}

fn refreshes(provider: &Provider) -> usize {
    provider.hits("/token").iter().filter(|hit| form(hit)["grant_type"] == "refresh_token").count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r25_r28_a_shared_session_is_one_on_all_nodes_from_login_to_logout() {
    let (redis, provider) = (Redis::start(), Provider::start(CLIENT));
    let sites =
        on_all(&nodes(), &provider, redis.settings(), json!({"access_token_expires_leeway": 3300})).await;
    let [here, there] = sites.as_slice() else { panic!("two") };
    let browser = here.logged_in().await;
    let cookie = cookies(&browser);
    assert!(cookie.len() < 400, "the cookie holds a ticket: {} bytes", cookie.len());
    assert_eq!(there.with_cookies("page", &cookie).await.status, 200);
    let told = there.last();
    assert_eq!(told.header("x-access-token"), here.last().header("x-access-token"));
    assert!(told.header("cookie").is_none());

    // Whoever reads Redis learns nothing, and whoever copies a value makes no session.
    let held = redis.dump();
    assert!(held.iter().any(|(key, _)| key.starts_with("pc:session:")), "{held:?}");
    let access = told.header("x-access-token").unwrap().to_owned();
    for (key, value) in &held {
        let text = format!("{key} {}", String::from_utf8_lossy(value));
        for known in ["user-1", "A User", access.as_str(), "refresh-1", &provider.issuer()] {
            assert!(!text.contains(known), "{key} tells {known}");
        }
    }
    for gate in [&here.gate, &there.gate] {
        assert!(!gate.output().contains(redis.password()));
    }

    // One refresh for any number of requests on both nodes.
    for site in &sites {
        site.gate.advance(Duration::from_secs(301)).await;
    }
    let both =
        |count: usize| (0..count).flat_map(|_| sites.iter()).map(|site| site.with_cookies("again", &cookie));
    let answers = join_all(both(40)).await;
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    assert_eq!(refreshes(&provider), 1);
    let mut given: Vec<String> = sites
        .iter()
        .flat_map(|site| site.upstream.seen_with("/again"))
        .map(|seen| seen.header("x-access-token").unwrap().to_owned())
        .collect();
    given.sort_unstable();
    given.dedup();
    assert_eq!(given.len(), 1, "all have the one new token");
    assert_ne!(given[0], access);

    // Ended here, over there.
    assert_eq!(here.with_cookies("logout", &cookie).await.status, 200);
    assert_eq!(here.with_cookies("page", &cookie).await.status, 302, "at once where it was ended");
    there.gate.advance(SURE).await;
    assert_eq!(there.with_cookies("page", &cookie).await.status, 302);
    assert!(!redis.dump().iter().any(|(key, _)| key.starts_with("pc:session:")));
}

#[tokio::test]
async fn j35_r02_r20_states_and_logout_tokens_count_once_among_all_nodes() {
    let (redis, provider) = (Redis::start(), Provider::start(CLIENT));
    provider.claim(json!({"sid": "s1"}));
    let sites = on_all(&nodes(), &provider, redis.settings(), json!({})).await;
    let [here, there] = sites.as_slice() else { panic!("two") };
    let (browser, back) = here.before_the_callback(&provider).await;
    let target = format!("callback?{}", back.query().unwrap());
    let before = cookies(&browser);
    // The redirect URI names the node's port; both nodes stand for one host, as behind a balancer.
    let host = format!("localhost:{}", here.gate.port(9080));
    let ask = |site: &Site| {
        let request = Request::get(&site.target(&target)).header("Host", &host).header("Accept", "text/html");
        request.header("Cookie", &before)
    };
    let answers = [here.gate.send(ask(here)).await, there.gate.send(ask(there)).await];
    assert_eq!(answers.map(|answer| answer.status), [302, 400]);
    assert_eq!(provider.hits("/token").len(), 1);

    let browser = here.logged_in().await;
    let cookie = cookies(&browser);
    assert_eq!(there.with_cookies("page", &cookie).await.status, 200);
    let now = tokens::now();
    let token = provider.access_token(&json!({
        "aud": CLIENT, "iat": now, "exp": now + 120, "jti": "1", "sid": "s1",
        "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
    }));
    let tell = |site: &Site| {
        Request::new("POST", &site.target("backchannel"))
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(format!("logout_token={token}").as_str())
    };
    let answer = here.gate.send(tell(here)).await;
    assert_eq!((answer.status, answer.header("cache-control").is_some()), (200, true), "{answer:?}");
    assert_eq!(here.with_cookies("page", &cookie).await.status, 302);
    there.gate.advance(SURE).await;
    assert_eq!(there.with_cookies("page", &cookie).await.status, 302);
    assert_eq!(there.gate.send(tell(there)).await.status, 400, "a replay at another node");
}

#[tokio::test]
async fn f10_while_redis_is_away_nobody_is_taken_for_logged_in_and_it_heals_by_itself() {
    let (mut redis, provider) = (Redis::start(), Provider::start(CLIENT));
    let gate = Arc::new(Portcullis::dev());
    let mut sites = on_all(&[Arc::clone(&gate)], &provider, redis.settings(), json!({})).await;
    let site = sites.pop().unwrap();
    let open = on_all(
        &[Arc::clone(&gate)],
        &provider,
        redis.settings(),
        json!({"unauth_action": "pass", "use_jwks": true}),
    )
    .await
    .pop()
    .unwrap();
    let browser = site.logged_in().await;
    let cookie = cookies(&browser);
    let served = site.reached();
    redis.freeze();
    gate.advance(SURE).await;
    let first = site.with_cookies("page", &cookie).await;
    assert_eq!(first.status, 503, "{first:?}");
    assert!(first.text().contains("session storage") && first.text().contains("id=\"error\""));
    // The circuit is open: nobody waits any more.
    let began = Instant::now();
    for _ in 0..20 {
        assert_eq!(site.with_cookies("page", &cookie).await.status, 503);
        assert_eq!(site.with_cookies("page", "").await.status, 503, "a login could not end");
    }
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    let ticket = open.with_cookies("page", &cookie).await;
    assert_eq!(ticket.status, 503, "a session that cannot be looked up is not passed on as none");
    assert_eq!(open.with_cookies("page", "").await.status, 200, "who comes without one is nobody, as ever");
    assert_eq!(open.with_token(&provider.access_token(&json!({}))).await.status, 200, "tokens need no Redis");
    assert_eq!(site.reached(), served);
    redis.thaw();
    until(&site, &cookie, 200).await;
    redis.restart();
    gate.advance(SURE).await;
    let answer = until(&site, &cookie, 302).await;
    assert!(answer.header("location").unwrap().starts_with(&provider.issuer()), "what it held is gone");
    site.logged_in().await;
}

#[tokio::test]
async fn sessions_go_over_tls_with_a_password_and_not_to_whom_nobody_vouches_for() {
    let identity = tls::Authority::new().issue(&["localhost"], |_| ());
    let (redis, provider) = (Redis::over_tls(&identity), Provider::start(CLIENT));
    let gate = Arc::new(Portcullis::dev());
    let with = |name: &str, value: Value| {
        let mut settings = redis.settings();
        settings[name] = value;
        settings
    };
    let gates = [gate];
    let lax = on_all(&gates, &provider, with("ssl_verify", json!(false)), json!({})).await.pop().unwrap();
    let cookie = cookies(&lax.logged_in().await);
    assert_eq!(lax.with_cookies("page", &cookie).await.status, 200);
    let mut wrong = with("ssl_verify", json!(false));
    wrong["password"] = json!("another password");
    for settings in [redis.settings(), wrong] {
        let site = on_all(&gates, &provider, settings, json!({})).await.pop().unwrap();
        let answer = site.with_cookies("page", &cookie).await;
        assert_eq!(answer.status, 503, "{answer:?}");
        assert_eq!(site.reached(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn j54_a_proof_of_possession_is_shown_once_among_all_nodes() {
    let (redis, provider) = (Redis::start(), Provider::start(CLIENT));
    let gates = nodes();
    let further = json!({"use_jwks": true, "require_proof": "dpop"});
    let sites = on_all(&gates, &provider, redis.settings(), further).await;
    let [here, there] = sites.as_slice() else { panic!("two nodes") };
    let client = Prover::new();
    let token = provider.access_token(&client.cnf());
    for first in [here, there, here] {
        let proof = client.good(first, &token);
        let answer = send(first, "DPoP", &token, &[&proof]).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        for again in [here, there] {
            let answer = send(again, "DPoP", &token, &[&proof]).await;
            assert_eq!(answer.status, 401, "{answer:?}");
            assert!(answer.header("www-authenticate").unwrap().contains("the proof was used before"));
        }
    }
    let proof = client.good(here, &token);
    let proofs = [proof.as_str()];
    let racing =
        (0..10).map(|number| send(if number % 2 == 0 { here } else { there }, "DPoP", &token, &proofs));
    let served = join_all(racing).await.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(served, 1);
    assert_eq!(here.reached() + there.reached(), 4);
    for (key, value) in redis.dump() {
        let text = format!("{key} {}", String::from_utf8_lossy(&value));
        assert!(!text.contains(&token) && !text.contains("jti-"), "{text}");
    }
    // A record that does not answer takes no proof: nobody knows whether it is new.
    redis.freeze();
    let proof = client.good(here, &token);
    let answer = send(here, "DPoP", &token, &[&proof]).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(
        answer.text().contains("the record of proofs of possession is not available"),
        "{}",
        answer.text()
    );
    assert_eq!(here.reached() + there.reached(), 4);
    redis.thaw();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_spoken_to_as_the_route_says() {
    let authority = tls::Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let roots = folder.path().join("roots.pem");
    std::fs::write(&roots, authority.pem()).unwrap();
    let environment = vec![("SSL_CERT_FILE".to_owned(), roots.to_str().unwrap().to_owned())];
    let gates = [Arc::new(Portcullis::start(Options { environment, ..Options::default() }))];
    let (redis, provider) = (Redis::start(), Provider::start(CLIENT));
    let with = |redis: &Redis, changes: Value| {
        let mut settings = redis.settings();
        settings.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        settings
    };
    // What stands where in it.
    let changes = json!({"prefix": "own-prefix", "username": "default", "keepalive_timeout": 1000});
    let named = on_all(&gates, &provider, with(&redis, changes), json!({})).await.pop().unwrap();
    let cookie = cookies(&named.logged_in().await);
    let keys: Vec<String> = redis.dump().into_iter().map(|(key, _)| key).collect();
    assert!(!keys.is_empty() && keys.iter().all(|key| key.starts_with("own-prefix:")), "{keys:?}");
    let elsewhere =
        on_all(&gates, &provider, with(&redis, json!({"database": 3})), json!({})).await.pop().unwrap();
    elsewhere.logged_in().await;
    assert_eq!(redis.dump().len(), keys.len(), "another database");
    let nobody = on_all(&gates, &provider, with(&redis, json!({"username": "nobody"})), json!({}))
        .await
        .pop()
        .unwrap();
    assert_eq!(nobody.with_cookies("page", &cookie).await.status, 503);
    // How long it may take.
    for (limits, least, most) in [
        (json!({"send_timeout": 200, "read_timeout": 300}), 0, 2_900),
        (json!({"send_timeout": 200, "read_timeout": 5_000}), 5_000, 20_000),
        (json!({"send_timeout": 5_000, "read_timeout": 300}), 5_000, 20_000),
    ] {
        let site = on_all(&gates, &provider, with(&redis, limits.clone()), json!({})).await.pop().unwrap();
        let cookie = cookies(&site.logged_in().await);
        redis.freeze();
        gates[0].advance(SURE).await;
        let began = Instant::now();
        assert_eq!(site.with_cookies("page", &cookie).await.status, 503);
        let took = began.elapsed();
        redis.thaw();
        assert!(
            (Duration::from_millis(least)..Duration::from_millis(most)).contains(&took),
            "{limits}: {took:?}"
        );
    }
    // Connections are taken, and nobody speaks TLS.
    let silent = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).unwrap();
    let changes = json!({"port": silent.local_addr().unwrap().port(), "ssl": true, "ssl_verify": false, "connect_timeout": 3_000});
    let site = on_all(&gates, &provider, with(&redis, changes), json!({})).await.pop().unwrap();
    let began = Instant::now();
    assert_eq!(site.with_cookies("page", &cookie).await.status, 503);
    let took = began.elapsed();
    assert!((Duration::from_secs(3)..Duration::from_secs(20)).contains(&took), "{took:?}");
    // Its name.
    let secure = Redis::over_tls(&authority.issue(&["redis.test"], |_| ()));
    for (changes, status) in [
        (json!({"ssl_verify": true}), 503),
        (json!({"ssl_verify": true, "server_name": "other.test"}), 503),
        (json!({"ssl_verify": true, "server_name": "redis.test", "host": "localhost"}), 302),
    ] {
        let site = on_all(&gates, &provider, with(&secure, changes.clone()), json!({})).await.pop().unwrap();
        assert_eq!(site.with_cookies("page", &cookie).await.status, status, "{changes}");
        if status == 302 {
            site.logged_in().await;
        }
    }
    let plugins = json!({"openid-connect": conf(&provider, json!({"session": {"storage": "redis"}}))});
    let body = json!({"uri": "/x", "plugins": plugins});
    let answer = gates[0].admin().put("routes/no-redis", &body).await;
    assert_eq!(answer.status, 400);
    let text = r#"property \"session\" validation failed: then clause did not match"#;
    assert!(answer.text().contains(text), "{}", answer.text());
}

#[tokio::test]
async fn r14_tickets_of_two_users_in_one_browser_are_nobody_s() {
    let (redis, provider) = (Redis::start(), Provider::start(CLIENT));
    let sites = on_all(&[Arc::new(Portcullis::dev())], &provider, redis.settings(), json!({})).await;
    let [site] = sites.as_slice() else { panic!("one") };
    let as_user = async |user: &'static str| {
        provider.claim(json!({"sub": user}));
        provider.lie("/userinfo", move |_| Answer::json(&json!({"sub": user})));
        cookies(&site.logged_in().await)
    };
    let (attacker, own) = (as_user("attacker").await, as_user("victim").await);
    let reached = site.reached();
    for both in [format!("{attacker}; {own}"), format!("{own}; {attacker}")] {
        assert_eq!(site.with_cookies("page", &both).await.status, 302, "{both}");
    }
    assert_eq!(site.reached(), reached, "somebody was let in");
    let again = as_user("victim").await;
    assert_eq!(site.with_cookies("page", &format!("{own}; {again}")).await.status, 200);
    // One that has ended is no question.
    assert_eq!(site.with_cookies("logout", &attacker).await.status, 200);
    assert_eq!(site.with_cookies("page", &format!("{attacker}; {own}")).await.status, 200);
}

#[tokio::test]
async fn connections_to_redis_are_kept_for_as_long_as_the_route_says() {
    let (redis, provider) = (Redis::start(), Provider::start(CLIENT));
    let gate = Arc::new(Portcullis::dev());
    for (keepalive, kept) in [(60_000, true), (1000, false)] {
        let mut settings = redis.settings();
        settings["keepalive_timeout"] = json!(keepalive);
        let site = on_all(&[Arc::clone(&gate)], &provider, settings, json!({})).await.pop().unwrap();
        let cookie = cookies(&site.logged_in().await);
        // One on each core, and what the login took.
        for _ in 0..20 {
            gate.advance(SURE).await;
            assert_eq!(site.with_cookies("page", &cookie).await.status, 200);
        }
        let before = redis.connections();
        // Nobody asks Redis for a while, by the clock of the connections, which no test moves.
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(1100) {
            assert_eq!(site.with_cookies("page", "").await.status, 302);
        }
        gate.advance(SURE).await;
        assert_eq!(site.with_cookies("page", &cookie).await.status, 200);
        let new = redis.connections() - before - 1;
        assert_eq!(new, usize::from(!kept), "{keepalive} ms");
    }
}
