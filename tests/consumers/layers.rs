//! Plugins that a consumer brings, that its group brings, and that hold for every route.

use std::sync::Arc;

use super::{
    support::{Upstream, admin::node, unique},
    *,
};

fn whitelist(kind: &str, names: &[&str]) -> Value {
    json!({"type": kind, "whitelist": names})
}

#[tokio::test]
async fn restrictions_judge_the_consumer_that_was_found() {
    let (jack, jill, joe) = (unique("jack-"), unique("jill-"), unique("joe-"));
    let restriction = json!({"whitelist": [jack], "blacklist": [joe]});
    let site = Site::with_plugins(json!({"key-auth": {}, "consumer-restriction": restriction})).await;
    for name in [&jack, &jill, &joe] {
        consumer(&site.gate, name, json!({"key-auth": {"key": name}})).await;
    }
    for name in [&jill, &joe] {
        let answer = site.gate.send(forged(&site, "x").header("apikey", name)).await;
        let text = "{\"message\":\"The consumer_name is forbidden.\"}\n";
        assert_eq!(
            (answer.status, answer.text().as_str(), site.upstream.received().as_str()),
            (403, text, "")
        );
    }
    assert_eq!(site.gate.send(forged(&site, "x").header("apikey", &jack)).await.status, 200);
    let open = Site::with_plugins(json!({"consumer-restriction": {"whitelist": ["evil"]}})).await;
    let answer = open.gate.send(forged(&open, "x")).await;
    let text = "{\"message\":\"The request is rejected, please check the consumer_name for this request\"}\n";
    assert_eq!((answer.status, answer.text().as_str()), (401, text));
}

#[tokio::test]
async fn h02_labels_are_told_and_a_clients_own_are_not() {
    let labels = json!({"headers": {"X-Team": "$team", "X-Consumer-Role": "$role", "X-None": "$none"}});
    let site = Site::with_plugins(json!({"key-auth": {}, "attach-consumer-label": labels})).await;
    let name = unique("jack-");
    let body = json!({"username": name, "labels": {"team": "red", "role": "chief"}, "plugins": {"key-auth": {"key": name}}});
    site.gate.admin().set("consumers", &body).await;
    let claims = ["X-Team", "x_team", "X.Team", "X-None", "x_none", "X_Consumer-Role"];
    let request = claims.into_iter().fold(forged(&site, "x"), |request, name| request.header(name, "evil"));
    assert_eq!(site.gate.send(request.header("apikey", &name)).await.status, 200);
    assert_eq!(told(&site)[0], Some(name));
    let seen = site.upstream.seen();
    let newest = seen.last().unwrap();
    let told = ["x-team", "x-consumer-role", "x-none"].map(|name| newest.header(name));
    assert_eq!(told, [Some("red"), Some("chief"), None]);
    let open = Site::with_plugins(json!({"attach-consumer-label": {"headers": {"X-Team": "$team"}}})).await;
    open.gate.send(Request::get(&open.target("x")).header("X_Team", "evil")).await;
    assert!(!open.upstream.received().contains("evil"), "nobody is no reason to believe the client");
}

#[tokio::test]
async fn methods_and_groups_are_judged_too() {
    let (jack, jill, group) = (unique("jack-"), unique("jill-"), unique("group-"));
    let by_method = json!({"allowed_by_methods": [{"user": jack, "methods": ["GET"]}], "rejected_code": 405, "rejected_msg": "not so"});
    let site = Site::with_plugins(json!({"key-auth": {}, "consumer-restriction": by_method})).await;
    let admin = site.gate.admin();
    admin.set(&format!("consumer_groups/{group}"), &json!({"plugins": {}})).await;
    consumer(&site.gate, &jack, json!({"key-auth": {"key": jack}})).await;
    let body = json!({"username": jill, "group_id": group, "plugins": {"key-auth": {"key": jill}}});
    admin.set("consumers", &body).await;
    let ask = async |method: &str, name: &str| {
        let answer = site.gate.send(Request::new(method, &site.target("x")).header("apikey", name)).await;
        (answer.status, answer.text())
    };
    assert_eq!(ask("GET", &jack).await.0, 200);
    assert_eq!(ask("DELETE", &jack).await, (405, "{\"message\":\"not so\"}\n".to_owned()));
    assert_eq!(ask("DELETE", &jill).await.0, 200, "who is not named may use every method");
    let restriction = whitelist("consumer_group_id", &[&group]);
    let groups = Site::with_plugins(json!({"key-auth": {}, "consumer-restriction": restriction})).await;
    for (name, status) in [(&jill, 200), (&jack, 401)] {
        assert_eq!(groups.gate.send(forged(&groups, "x").header("apikey", name)).await.status, status);
    }
}

#[tokio::test]
async fn a_consumer_goes_before_its_group_before_the_route_before_the_plugin_config() {
    let site = Site::with_plugins(json!({})).await;
    let (admin, id) = (site.gate.admin(), site.path.trim_start_matches('/').to_owned());
    let (name, shared, group) = (unique("jack-"), unique("shared-"), unique("group-"));
    let nobody = || json!({"consumer-restriction": whitelist("route_id", &["none"])});
    let here = || json!({"consumer-restriction": whitelist("route_id", &[&id])});
    let route = async |plugins: Value| {
        let body = json!({"uri": format!("{}/*", site.path), "plugin_config_id": shared, "plugins": plugins, "upstream": node(&site.upstream)});
        admin.set(&format!("routes/{id}"), &body).await;
    };
    let consumer = async |extra: Value| {
        let mut body = json!({"username": name, "plugins": {"key-auth": {"key": name}}});
        for (member, value) in extra.as_object().unwrap() {
            match member.as_str() {
                "consumer-restriction" => body["plugins"][member] = value.clone(),
                _ => body[member] = value.clone(),
            }
        }
        admin.set("consumers", &body).await;
    };
    let ask = async || site.gate.send(forged(&site, "x").header("apikey", &name)).await.status;
    consumer(json!({})).await;
    let mut plugins = nobody();
    plugins["key-auth"] = json!({});
    admin.set(&format!("plugin_configs/{shared}"), &json!({"plugins": plugins})).await;
    route(json!({})).await;
    assert_eq!(ask().await, 403, "the plugin config's");
    assert_eq!(site.gate.send(forged(&site, "x")).await.status, 401, "key-auth is the plugin config's too");
    route(here()).await;
    assert_eq!(ask().await, 200, "the route's");
    admin.set(&format!("consumer_groups/{group}"), &json!({"plugins": nobody()})).await;
    consumer(json!({"group_id": group})).await;
    assert_eq!(ask().await, 403, "the group's");
    let mut own = here();
    own["group_id"] = json!(group);
    consumer(own).await;
    assert_eq!(ask().await, 200, "the consumer's");
    admin.set(&format!("consumer_groups/{group}"), &json!({"plugins": here()})).await;
    consumer(json!({"group_id": group})).await;
    assert_eq!(ask().await, 200, "the group's, changed");
    admin.delete(&format!("plugin_configs/{shared}?force=true")).await;
    let before = site.upstream.seen().len();
    assert_eq!(ask().await, 503, "without the plugins that guarded it, the route does nothing");
    assert_eq!(site.upstream.seen().len(), before);
}

#[tokio::test]
async fn a_global_rule_guards_every_route_and_what_no_route_takes() {
    let gate = Arc::new(Portcullis::dev());
    let (admin, upstream) = (gate.admin(), Upstream::start());
    admin.route("1", "/x", &upstream, json!({})).await;
    let ask =
        async |target: &str, key: &str| gate.send(Request::get(target).header("apikey", key)).await.status;
    assert_eq!((ask("/x", "").await, ask("/nowhere", "").await), (200, 404));
    admin.set("global_rules/1", &json!({"plugins": {"key-auth": {}}})).await;
    consumer(&gate, "jack", json!({"key-auth": {"key": "the-key"}})).await;
    assert_eq!((ask("/x", "").await, ask("/nowhere", "").await), (401, 401));
    assert_eq!((ask("/x", "the-key").await, ask("/nowhere", "the-key").await), (200, 404));
    assert_eq!(upstream.seen().last().unwrap().header("x-consumer-username"), Some("jack"));
    // The consumer that the rule found brings its plugins.
    let plugins =
        json!({"key-auth": {"key": "the-key"}, "consumer-restriction": whitelist("route_id", &["2"])});
    consumer(&gate, "jack", plugins).await;
    assert_eq!(ask("/x", "the-key").await, 403);
    admin.delete("global_rules/1").await;
    assert_eq!((ask("/x", "").await, ask("/nowhere", "").await), (200, 404));
}
