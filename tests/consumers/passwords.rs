//! key-auth, basic-auth and multi-auth.

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{
    support::{shared, unique},
    *,
};

const KEY: &str = "apikey realm=\"key\"";
const BASIC: &str = "Basic realm=\"basic\"";

fn basic(username: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))
}

#[tokio::test]
async fn a_key_opens_in_header_and_query_and_the_upstream_learns_whose_it_is() {
    let site = Site::with_plugins(json!({"key-auth": {}})).await;
    let (name, key) = (unique("jack-"), unique("key-"));
    let body =
        json!({"username": name, "labels": {"custom_id": "c-1"}, "plugins": {"key-auth": {"key": key}}});
    site.gate.admin().set("consumers", &body).await;
    let answer = site.gate.send(forged(&site, "none")).await;
    refused(&site, &answer, "Missing API key in request", KEY);
    for wrong in [&key[1..], &format!("{key}x"), &key.to_uppercase(), &format!("{key},{key}"), ""] {
        let answer = site.gate.send(forged(&site, "wrong").header("apikey", wrong)).await;
        refused(&site, &answer, "Invalid API key in request", KEY);
    }
    assert_eq!(site.gate.send(forged(&site, "h").header("APIKEY", &key)).await.status, 200);
    assert_eq!(told(&site), [Some(name.clone()), Some("c-1".to_owned()), None]);
    assert_eq!(site.gate.send(forged(&site, &format!("q?a=1&apikey={key}"))).await.status, 200);
    assert_eq!(told(&site)[0], Some(name));
    assert!(site.upstream.received().contains(&key), "it is not hidden unless it is asked for");
}

#[tokio::test]
async fn h19_two_keys_are_none() {
    let site = Site::with_plugins(json!({"key-auth": {}})).await;
    let key = unique("key-");
    consumer(&site.gate, &unique("jack-"), json!({"key-auth": {"key": key}})).await;
    let good = || forged(&site, "x").header("apikey", &key);
    for twice in [good().header("apikey", &key), good().header("apikey", "other")] {
        refused(&site, &site.gate.send(twice).await, "Invalid API key in request", KEY);
    }
    let twice = forged(&site, &format!("x?apikey={key}&%61pikey={key}"));
    refused(&site, &site.gate.send(twice).await, "Invalid API key in request", KEY);
}

#[tokio::test]
async fn a_hidden_key_does_not_reach_the_upstream_wherever_it_stood() {
    let plugins = json!({"key-auth": {"hide_credentials": true, "header": "x-key", "query": "k"}});
    let site = Site::with_plugins(plugins).await;
    let key = unique("key-");
    consumer(&site.gate, &unique("jack-"), json!({"key-auth": {"key": key}})).await;
    let request = forged(&site, &format!("x?a=%31&k={key}&b")).header("x-key", &key);
    assert_eq!(site.gate.send(request).await.status, 200);
    assert!(!site.upstream.received().contains(&key));
    assert_eq!(site.upstream.seen().last().unwrap().target, site.target("x?a=%31&b"));
}

#[tokio::test]
async fn a_changed_key_counts_from_the_answer_on() {
    let site = Site::with_plugins(json!({"key-auth": {}})).await;
    let (name, gate) = (unique("jack-"), &site.gate);
    let ask = async |key: &str| gate.send(Request::get(&site.target("x")).header("apikey", key)).await.status;
    let mut old = None;
    for _ in 0..10 {
        let key = unique("key-");
        consumer(gate, &name, json!({"key-auth": {"key": key}})).await;
        assert_eq!(ask(&key).await, 200);
        if let Some(old) = old.replace(key) {
            assert_eq!(ask(&old).await, 401, "the key before it");
        }
    }
    let (credential, key) = (format!("consumers/{name}/credentials/phone"), unique("key-"));
    gate.admin().set(&credential, &json!({"plugins": {"key-auth": {"key": key}}})).await;
    assert_eq!(ask(&key).await, 200);
    assert_eq!(told(&site), [Some(name.clone()), None, Some("phone".to_owned())]);
    assert_eq!(gate.admin().delete(&credential).await.status, 200);
    assert_eq!(ask(&key).await, 401);
    assert_eq!(gate.admin().delete(&format!("consumers/{name}")).await.status, 200);
    assert_eq!(ask(&old.unwrap()).await, 401);
}

#[tokio::test]
async fn a_name_and_its_password_open_and_nothing_else_does() {
    let site = Site::with_plugins(json!({"basic-auth": {"hide_credentials": true}})).await;
    let (user, password) = (unique("user-"), format!("{}:with colon", unique("password-")));
    let name = unique("jack-");
    consumer(&site.gate, &name, json!({"basic-auth": {"username": user, "password": password}})).await;
    let ask = async |authorization: &str| {
        site.gate.send(forged(&site, "x").header("Authorization", authorization)).await
    };
    refused(&site, &site.gate.send(forged(&site, "x")).await, "Missing authorization in request", BASIC);
    for bad in ["Bearer abc", "Basic", "Basic %%%", &format!("Basic {}", STANDARD.encode(&user))] {
        refused(&site, &ask(bad).await, "Invalid authorization in request", BASIC);
    }
    let half = password.split_once(':').unwrap().0;
    for (user, password) in [
        (user.as_str(), half),
        (&user, ""),
        ("nobody", &password),
        (&format!("{user}:x"), &password),
        (&format!(" {user}"), &password),
        (&user, &format!("{password} ")),
    ] {
        refused(&site, &ask(&basic(user, password)).await, "Invalid user authorization", BASIC);
    }
    let twice = forged(&site, "x")
        .header("Authorization", &basic(&user, &password))
        .header("Authorization", "Basic x");
    refused(&site, &site.gate.send(twice).await, "Invalid authorization in request", BASIC);
    assert_eq!(ask(&basic(&user, &password)).await.status, 200);
    assert_eq!(told(&site)[0], Some(name));
    assert!(site.upstream.seen().last().unwrap().header("authorization").is_none(), "it is hidden");
}

#[tokio::test]
async fn h29_parallel_logins_with_colliding_splits_never_swap() {
    let site = std::sync::Arc::new(Site::with_plugins(json!({"basic-auth": {}})).await);
    let stem = unique("u-");
    // `STEM:b:c` is one string: who it is depends on which colon counts, and it is always the first.
    consumer(&site.gate, &format!("{stem}-1"), json!({"basic-auth": {"username": stem, "password": "b:c"}}))
        .await;
    consumer(
        &site.gate,
        &format!("{stem}-2"),
        json!({"basic-auth": {"username": format!("{stem}b"), "password": "c"}}),
    )
    .await;
    let mut asking = tokio::task::JoinSet::new();
    for number in 0..200 {
        let (site, stem) = (std::sync::Arc::clone(&site), stem.clone());
        asking.spawn(async move {
            let (user, password, expected) = match number % 4 {
                0 => (stem.clone(), "b:c", Some("1")),
                1 => (format!("{stem}b"), "c", Some("2")),
                2 => (format!("{stem}b"), ":c", None),
                _ => (stem.clone(), "bc", None),
            };
            let request = Request::get(&site.target(&format!("n-{number}-{}", expected.unwrap_or("none"))));
            let answer = site.gate.send(request.header("Authorization", &basic(&user, password))).await;
            assert_eq!(answer.status, if expected.is_some() { 200 } else { 401 }, "{number}");
        });
    }
    while let Some(asked) = asking.join_next().await {
        asked.unwrap();
    }
    let seen = site.upstream.seen();
    assert_eq!(seen.len(), 100);
    for seen in seen {
        let expected = seen.target.rsplit('-').next().unwrap().to_owned();
        assert_eq!(seen.header("x-consumer-username"), Some(format!("{stem}-{expected}").as_str()));
    }
}

#[tokio::test]
async fn cve_2025_62232_no_password_and_no_key_is_logged() {
    let gate = shared();
    let canary = unique("canary-");
    let site = Site::on(std::sync::Arc::clone(&gate), json!({"basic-auth": {}})).await;
    let keyed = Site::on(std::sync::Arc::clone(&gate), json!({"key-auth": {}})).await;
    let plugins = json!({
        "basic-auth": {"username": unique("u-"), "password": canary}, "key-auth": {"key": format!("{canary}-key")},
    });
    consumer(&gate, &unique("jack-"), plugins.clone()).await;
    let user = plugins["basic-auth"]["username"].as_str().unwrap().to_owned();
    for password in [canary.as_str(), &format!("{canary}-wrong")] {
        let authorization = basic(&user, password);
        gate.send(Request::get(&site.target("x")).header("Authorization", &authorization)).await;
        assert!(!gate.output().contains(authorization.trim_start_matches("Basic ")));
    }
    gate.get(&keyed.target(&format!("x?apikey={canary}-key"))).await;
    gate.get(&keyed.target(&format!("x?apikey={canary}-wrong"))).await;
    let refused = gate.admin().put("consumers", &json!({"username": "x y", "plugins": plugins})).await;
    assert!(refused.status == 400 && !refused.text().contains(&canary), "{}", refused.text());
    assert!(!gate.output().contains(&canary), "a secret is in the log");
}

#[tokio::test]
async fn an_anonymous_consumer_takes_who_fails_and_only_if_it_exists() {
    let name = unique("anonymous-");
    let site = Site::with_plugins(json!({"key-auth": {"anonymous_consumer": name}})).await;
    refused(&site, &site.gate.send(forged(&site, "x")).await, "Invalid user authorization", KEY);
    consumer(&site.gate, &name, json!({})).await;
    for request in [forged(&site, "none"), forged(&site, "wrong").header("apikey", "wrong")] {
        assert_eq!(site.gate.send(request).await.status, 200);
        assert_eq!(told(&site), [Some(name.clone()), None, None]);
    }
}

#[tokio::test]
async fn the_first_of_several_ways_that_succeeds_counts() {
    let site =
        Site::with_plugins(json!({"multi-auth": {"auth_plugins": [{"basic-auth": {}}, {"key-auth": {}}]}}))
            .await;
    let (one, two, key) = (unique("one-"), unique("two-"), unique("key-"));
    consumer(&site.gate, &one, json!({"basic-auth": {"username": one, "password": "password"}})).await;
    consumer(&site.gate, &two, json!({"key-auth": {"key": key}})).await;
    let answer = site.gate.send(forged(&site, "x")).await;
    assert_eq!((answer.status, answer.text().as_str()), (401, "{\"message\":\"Authorization Failed\"}\n"));
    assert_eq!(answer.all("www-authenticate"), [BASIC, KEY]);
    assert_eq!(site.upstream.received(), "");
    let (good, bad) = (basic(&one, "password"), basic(&one, "wrong"));
    for (authorization, key, name) in [(&good, "", &one), (&bad, key.as_str(), &two), (&good, &key, &one)] {
        let request = forged(&site, "x").header("Authorization", authorization).header("apikey", key);
        assert_eq!(site.gate.send(request).await.status, 200);
        assert_eq!(told(&site)[0].as_ref(), Some(name));
    }
}
