//! Which target of an upstream a request goes to.

use super::{health::named, *};

/// Which of two targets answers, three times out of three.
async fn owner(kong: &Kong, request: &Request) -> String {
    let mut all = Vec::new();
    for _ in 0..3 {
        let answer = kong.send(request.clone()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        all.push(answer.text());
    }
    all.dedup();
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

/// Values among which some go to the one target and some to the other, as good as certainly.
const VALUES: usize = 48;

/// That requests which differ in what is hashed go to both targets, and equal ones to one.
async fn spreads(kong: &Kong, request: impl Fn(usize) -> Request) {
    let first = owner(kong, &request(0)).await;
    for number in 1..VALUES {
        if owner(kong, &request(number)).await != first {
            return;
        }
    }
    panic!("all go to {first}");
}

#[tokio::test]
async fn equal_values_go_to_one_target_and_others_to_others() {
    let kong = Kong::new().await;
    let (one, two) = (named("one"), named("two"));
    let host = kong.balanced(&[&one, &two], json!({"hash_on": "header", "hash_on_header": "x-who"})).await;
    let on = async |body: Value| {
        kong.made("PATCH", &format!("/upstreams/{host}"), body).await;
    };
    let get = |rest: String| kong.request("GET", &rest);
    spreads(&kong, |number| get("/x".to_owned()).header("x-who", &number.to_string())).await;
    on(json!({"hash_on": "query_arg", "hash_on_query_arg": "q"})).await;
    spreads(&kong, |number| get(format!("/x?n={number}&q=b{number}&q=a"))).await;
    let (ab, ba) = (get("/x?q=a&q=b".to_owned()), get("/x?q=b&n=1&q=a".to_owned()));
    assert_eq!(owner(&kong, &ab).await, owner(&kong, &ba).await);
    on(json!({"hash_on": "path"})).await;
    spreads(&kong, |number| get(format!("/{number}?{number}"))).await;
    let pattern = format!("~/{}/users/(?<user>[0-9]+)", kong.name);
    kong.made("PATCH", &format!("/routes/{}", kong.name), json!({"paths": [pattern]})).await;
    on(json!({"hash_on": "uri_capture", "hash_on_uri_capture": "user"})).await;
    spreads(&kong, |number| get(format!("/users/{number}/things"))).await;
    let (first, second) = (get("/users/7/a".to_owned()), get("/users/7/b".to_owned()));
    assert_eq!(owner(&kong, &first).await, owner(&kong, &second).await);
    // There is one client address here, and so one target; with none of the two there are turns.
    on(json!({"hash_on": "query_arg", "hash_fallback": "ip"})).await;
    owner(&kong, &get("/users/7".to_owned())).await;
    on(json!({"hash_fallback": "none"})).await;
    let answers = kong.answers_to(&get("/users/7".to_owned()), VALUES).await;
    assert!(answers.contains(&"one".to_owned()) && answers.contains(&"two".to_owned()), "{answers:?}");
}

#[tokio::test]
async fn consumers_stay_with_a_target() {
    let kong = Kong::new().await;
    let (one, two) = (named("one"), named("two"));
    kong.balanced(&[&one, &two], json!({"hash_on": "consumer"})).await;
    kong.plugin("key-auth", json!({})).await;
    let mut keys = Vec::new();
    for _ in 0..VALUES {
        let name = unique("c-");
        kong.made("POST", "/consumers", json!({"username": name})).await;
        kong.made("POST", &format!("/consumers/{name}/key-auth"), json!({"key": name})).await;
        keys.push(name);
    }
    spreads(&kong, |number| kong.request("GET", "/x").header("apikey", &keys[number])).await;
}

#[tokio::test]
async fn a_client_without_the_cookie_gets_one_that_keeps_it_with_its_target() {
    let kong = Kong::new().await;
    let (one, two) = (named("one"), named("two"));
    let upstream = json!({"hash_on": "cookie", "hash_on_cookie": "stick", "hash_on_cookie_path": "/p"});
    kong.balanced(&[&one, &two], upstream).await;
    for _ in 0..6 {
        let first = kong.send(kong.request("GET", "/x")).await;
        let cookie = first.header("set-cookie").unwrap().to_owned();
        let (pair, rest) = cookie.split_once("; ").unwrap();
        assert!(pair.starts_with("stick=") && rest == "Path=/p; SameSite=Lax; HttpOnly", "{cookie}");
        let again = kong.request("GET", "/x").header("Cookie", pair);
        assert_eq!(owner(&kong, &again).await, first.text());
        assert_eq!(kong.send(again).await.header("set-cookie"), None);
    }
}

#[tokio::test]
async fn the_faster_target_is_asked_and_the_slower_one_left_alone() {
    let kong = Kong::new().await;
    let slow = Upstream::scripted(|_| {
        std::thread::sleep(std::time::Duration::from_secs(2));
        Answer::text("slow")
    });
    let fast = named("fast");
    kong.balanced(&[&slow, &fast], json!({"algorithm": "latency"})).await;
    let answers = kong.answers(12).await;
    let slow = answers.iter().filter(|answer| *answer == "slow").count();
    assert!(slow <= 2, "{answers:?}");
}
