use serde_json::{Value, json};

use crate::support::{Request, Response, Site, admin::node, unique};

fn quota(answer: &Response) -> (u16, Option<&str>, Option<&str>) {
    (answer.status, answer.header("x-ratelimit-limit"), answer.header("x-ratelimit-remaining"))
}

async fn limited(conf: Value) -> Site {
    Site::with_plugins(json!({ "limit-count": conf })).await
}

#[tokio::test]
async fn so_many_requests_are_let_through_and_no_more() {
    let conf = json!({"count": 2, "time_window": 600, "rejected_code": 429, "rejected_msg": "slow down"});
    let site = limited(conf).await;
    assert_eq!(quota(&site.get("a").await), (200, Some("2"), Some("1")));
    let answer = site.get("b").await;
    assert_eq!(quota(&answer), (200, Some("2"), Some("0")));
    let reset: u64 = answer.header("x-ratelimit-reset").unwrap().parse().unwrap();
    assert!((590..=600).contains(&reset), "{reset}");
    let answer = site.get("c").await;
    assert_eq!(quota(&answer), (429, Some("2"), Some("0")));
    assert_eq!(answer.text(), "{\"error_msg\":\"slow down\"}\n");
    assert_eq!(site.upstream.seen().len(), 2);
    let site = limited(json!({"count": 1, "time_window": 600, "show_limit_quota_header": false})).await;
    assert_eq!(quota(&site.get("a").await), (200, None, None));
    assert_eq!(quota(&site.get("a").await), (503, None, None));
}

#[tokio::test]
async fn metadata_name_the_headers_of_every_route_and_of_global_rules() {
    // An instance of its own: metadata hold for every route.
    let site = Site::alone().await;
    let admin = site.gate.admin();
    let conf = json!({"limit-count": {"count": 2, "time_window": 600, "key_type": "constant", "key": "all"}});
    admin.set("global_rules/limits", &json!({ "plugins": conf })).await;
    assert_eq!(quota(&site.get("a").await), (200, Some("2"), Some("1")));
    let names = json!({"limit_header": "X-Custom-Limit", "remaining_header": "X-Custom-Remaining"});
    admin.set("plugin_metadata/limit-count", &names).await;
    let answer = site.get("b").await;
    assert_eq!(quota(&answer), (200, None, None));
    assert_eq!(answer.header("x-custom-limit"), Some("2"));
    assert!(answer.header("x-custom-remaining").is_some() && answer.header("x-ratelimit-reset").is_some());
    let answer = admin.put("plugin_metadata/limit-count", &json!({"limit_header": "a b"})).await;
    assert_eq!(answer.status, 400);
}

#[tokio::test]
async fn a_limit_holds_over_all_cores() {
    let site = limited(json!({"count": 25, "time_window": 600, "key_type": "constant", "key": "all"})).await;
    let target = site.target("x");
    let asking = (0..60).map(|_| {
        let (port, request) = (site.gate.port(9080), Request::get(&target));
        tokio::spawn(async move { request.send(port).await.status })
    });
    let mut let_through = 0;
    for asked in asking.collect::<Vec<_>>() {
        let_through += usize::from(asked.await.unwrap() == 200);
    }
    assert_eq!((let_through, site.upstream.seen().len()), (25, 25));
}

#[tokio::test]
async fn requests_are_told_apart_by_their_key() {
    let conf =
        json!({"count": 1, "time_window": 600, "key_type": "var_combination", "key": "$http_a $http_b"});
    let site = limited(conf).await;
    let ask =
        |a: &str, b: &str| site.gate.send(Request::get(&site.target("x")).header("A", a).header("B", b));
    assert_eq!([ask("1", "1").await.status, ask("1", "2").await.status], [200, 200]);
    assert_eq!([ask("1", "1").await.status, ask("1", "2").await.status], [503, 503]);
    // Without any of it the address counts.
    assert_eq!([site.get("x").await.status, site.get("y").await.status], [200, 503]);
    let by_header = limited(json!({"count": "$http_count", "time_window": 600, "key": "http_who"})).await;
    let ask = |who: &str, count: &str| {
        by_header.gate.send(Request::get(&by_header.target("x")).header("Who", who).header("Count", count))
    };
    assert_eq!(quota(&ask("a", "3").await), (200, Some("3"), Some("2")));
    let answer = ask("a", "many").await;
    assert_eq!((answer.status, answer.text().as_str()), (500, "{\"error_msg\":\"failed to limit count\"}\n"));
}

#[tokio::test]
async fn a_consumer_is_counted_wherever_its_requests_come_in() {
    let (jack, jill) = (unique("jack-"), unique("jill-"));
    let limit = json!({"count": 1, "time_window": 600});
    let one = Site::with_plugins(json!({"key-auth": {}})).await;
    let other = Site::with_plugins(json!({"key-auth": {}})).await;
    let admin = one.gate.admin();
    admin
        .set(
            "consumers",
            &json!({"username": jack, "plugins": {"key-auth": {"key": jack}, "limit-count": limit}}),
        )
        .await;
    admin.set("consumers", &json!({"username": jill, "plugins": {"key-auth": {"key": jill}}})).await;
    let ask = |site: &Site, who: &str| {
        let request = Request::get(&site.target("x")).header("apikey", who);
        request.send(site.gate.port(9080))
    };
    assert_eq!([ask(&one, &jack).await.status, ask(&other, &jack).await.status], [200, 503]);
    assert_eq!([ask(&one, &jill).await.status, ask(&other, &jill).await.status], [200, 200]);
}

#[tokio::test]
async fn resources_count_for_themselves_and_groups_together() {
    let conf = json!({"count": 1, "time_window": 600});
    let (one, other) = (limited(conf.clone()).await, limited(conf.clone()).await);
    assert_eq!([one.get("x").await.status, other.get("x").await.status], [200, 200]);
    assert_eq!([one.get("x").await.status, other.get("x").await.status], [503, 503]);
    // A service's routes have one counter.
    let (admin, service) = (one.gate.admin(), unique("service-"));
    admin
        .set(
            &format!("services/{service}"),
            &json!({"plugins": {"limit-count": conf}, "upstream": node(&one.upstream)}),
        )
        .await;
    for path in ["a", "b"] {
        let route = json!({"uri": format!("/{service}/{path}"), "service_id": service});
        admin.set(&format!("routes/{service}-{path}"), &route).await;
    }
    assert_eq!(one.gate.get(&format!("/{service}/a")).await.status, 200);
    assert_eq!(one.gate.get(&format!("/{service}/b")).await.status, 503);
    let group = unique("group-");
    let grouped = json!({"count": 1, "time_window": 600, "group": group});
    let (one, other) = (limited(grouped.clone()).await, limited(grouped).await);
    assert_eq!([one.get("x").await.status, other.get("x").await.status], [200, 503]);
    let body = json!({"uri": "/x", "plugins": {"limit-count": {"count": 2, "time_window": 600, "group": group}},
        "upstream": node(&one.upstream)});
    let answer = admin.put("routes/group-mismatch", &body).await;
    assert!(answer.status == 400 && answer.text().contains("group conf mismatched"), "{}", answer.text());
}

#[tokio::test]
async fn several_rules_hold_together() {
    let rules = json!([
        {"count": 5, "time_window": 600, "key": "$remote_addr"},
        {"count": 1, "time_window": 600, "key": "$http_user", "header_prefix": "User"},
    ]);
    let site = limited(json!({"rules": rules, "rejected_code": 429})).await;
    let ask = |user: Option<&str>| {
        let request = Request::get(&site.target("x"));
        let request = user.into_iter().fold(request, |request, user| request.header("User", user));
        site.gate.send(request)
    };
    let left = |answer: &Response| {
        ["x-1-ratelimit-remaining", "x-user-ratelimit-remaining"]
            .map(|name| answer.header(name).map(str::to_owned))
    };
    let some = |text: &str| Some(text.to_owned());
    let answer = ask(Some("jack")).await;
    assert_eq!((answer.status, left(&answer)), (200, [some("4"), some("0")]));
    // What one rule stops, the other does not count.
    let answer = ask(Some("jack")).await;
    assert_eq!((answer.status, left(&answer)), (429, [some("4"), some("0")]));
    let answer = ask(None).await;
    assert_eq!((answer.status, left(&answer)), (200, [some("3"), None]));
}

#[cfg(feature = "peers")]
mod redis {
    use serde_json::{Value, json};

    use super::{limited, quota};
    use crate::support::{Site, redis::Redis, unique};

    fn conf(redis: &Redis, more: Value) -> Value {
        let settings = redis.settings();
        let mut conf = json!({
            "count": 2, "time_window": 600, "policy": "redis", "redis_host": "127.0.0.1",
            "redis_port": settings["port"], "redis_password": redis.password(), "redis_timeout": 2_000,
        });
        conf.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        conf
    }

    #[tokio::test]
    async fn gateways_share_what_is_counted_in_redis() {
        let redis = Redis::start();
        let group = unique("group-");
        for (window, key) in [("fixed", "remote_addr"), ("sliding", "server_addr")] {
            let conf =
                conf(&redis, json!({"group": format!("{group}{window}"), "window_type": window, "key": key}));
            let plugins = json!({ "limit-count": conf });
            let one = Site::with_plugins(plugins.clone()).await;
            let other = Site::on(std::sync::Arc::new(crate::support::Portcullis::dev()), plugins).await;
            assert_eq!(quota(&one.get("x").await), (200, Some("2"), Some("1")), "{window}");
            assert_eq!(quota(&other.get("x").await), (200, Some("2"), Some("0")), "{window}");
            let answer = one.get("x").await;
            assert_eq!(quota(&answer), (503, Some("2"), Some("0")), "{window}");
            let reset: u64 = answer.header("x-ratelimit-reset").unwrap().parse().unwrap();
            assert!((1..=600).contains(&reset), "{reset}");
        }
    }

    #[tokio::test]
    async fn a_redis_that_is_away_stops_requests_or_lets_them_go_uncounted_as_is_written() {
        let redis = Redis::start();
        let strict = limited(conf(&redis, json!({}))).await;
        let lenient = limited(conf(&redis, json!({"allow_degradation": true}))).await;
        assert_eq!([strict.get("x").await.status, lenient.get("x").await.status], [200, 200]);
        redis.freeze();
        let answer = strict.get("x").await;
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (500, "{\"error_msg\":\"failed to limit count\"}\n")
        );
        for _ in 0..4 {
            assert_eq!(quota(&lenient.get("x").await), (200, None, None));
        }
        redis.thaw();
    }
}
