//! Sessions in a real Redis, shared by two nodes.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{CLIENT, conf, form, login::cookies};
use crate::support::{
    DEADLINE, Portcullis, Provider, Request, Response, Site, Upstream,
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
async fn r02_r20_states_and_logout_tokens_count_once_among_all_nodes() {
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
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
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
