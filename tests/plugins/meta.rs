//! `_meta` on whichever plugin.

use serde_json::{Value, json};

use super::support::{Request, Site, unique};

/// The challenge that a refusal of key-auth keeps, whatever it says.
const CHALLENGE: &str = "apikey realm=\"key\"";

#[tokio::test]
async fn a_filter_says_on_which_requests_a_plugin_runs() {
    let conf = json!({"_meta": {"filter": [["arg_v", "==", "1"], ["http_x_open", "~=", "yes"]]}});
    let site = Site::with_plugins(json!({"key-auth": conf})).await;
    for (target, open, status) in [
        ("x?v=1", "no", 401),
        ("x?v=1", "yes", 200),
        ("x?v=2", "no", 200),
        ("x", "no", 200),
        ("x?v=%31", "", 401),
    ] {
        let before = site.upstream.seen().len();
        let request = Request::get(&site.target(target)).header("X-Open", open);
        assert_eq!(site.gate.send(request).await.status, status, "{target} {open}");
        assert_eq!(site.upstream.seen().len() - before, usize::from(status == 200), "{target} {open}");
    }
}

#[tokio::test]
async fn an_error_response_is_said_in_place_of_every_refusal() {
    let said = |error: Value| json!({"key-auth": {"_meta": {"error_response": error}}});
    for (plugins, kind, body) in [
        (said(json!("no")), "text/plain; charset=utf-8", "no"),
        (
            said(json!({"message": "Missing credential in request"})),
            "application/json",
            "{\"message\":\"Missing credential in request\"}\n",
        ),
        (said(json!("")), "text/plain; charset=utf-8", ""),
    ] {
        let site = Site::with_plugins(plugins).await;
        for key in [None, Some("wrong")] {
            let request = Request::get(&site.target("x")).header("Accept", "text/html");
            let request = key.into_iter().fold(request, |request, key| request.header("apikey", key));
            let answer = site.gate.send(request).await;
            assert_eq!((answer.status, answer.text().as_str()), (401, body));
            assert_eq!(answer.header("content-type"), Some(kind));
            assert_eq!(answer.header("www-authenticate"), Some(CHALLENGE));
        }
        assert_eq!(site.upstream.received(), "");
    }
}

#[tokio::test]
async fn an_error_response_leaves_other_answers_alone() {
    let site =
        Site::with_plugins(json!({"redirect": {"uri": "/there", "_meta": {"error_response": "no"}}})).await;
    let answer = site.get("x").await;
    assert_eq!((answer.status, answer.header("location")), (302, Some("/there")));
    assert_ne!(answer.text(), "no");
}

#[tokio::test]
async fn a_refusal_that_waited_or_was_tried_among_others_is_worded_too() {
    let hmac = json!({"validate_request_body": true, "_meta": {"error_response": "unsigned"}});
    let site = Site::with_plugins(json!({"hmac-auth": hmac})).await;
    let request = Request::new("POST", &site.target("x")).body("body");
    assert_eq!(site.gate.send(request).await.text(), "unsigned");
    let either = json!([{"basic-auth": {"_meta": {"filter": [["arg_a", "==", "1"]]}}}, {"key-auth": {}}]);
    let conf = json!({"auth_plugins": either, "_meta": {"error_response": "neither"}});
    let site = Site::with_plugins(json!({"multi-auth": conf})).await;
    let answer = site.get("x?a=1").await;
    assert_eq!((answer.status, answer.text().as_str()), (401, "neither"));
}

#[tokio::test]
async fn priority_orders_and_disable_takes_away() {
    let key = unique("key-");
    let redirect = |priority: i64| json!({"redirect": {"uri": "/there", "_meta": {"priority": priority}}, "key-auth": {}});
    let first = Site::with_plugins(redirect(9000)).await;
    assert_eq!(first.get("x").await.status, 302, "before the key is asked for");
    let last = Site::with_plugins(redirect(1)).await;
    assert_eq!(last.get("x").await.status, 401);
    let plugins = json!({"key-auth": {"key": key}});
    last.gate.admin().set("consumers", &json!({"username": unique("u-"), "plugins": plugins})).await;
    let known = Request::get(&last.target("x")).header("apikey", &key);
    assert_eq!(last.gate.send(known).await.status, 302);
    let off =
        Site::with_plugins(json!({"key-auth": {"_meta": {"disable": true, "error_response": "no"}}})).await;
    assert_eq!(off.get("x").await.status, 200);
}

#[tokio::test]
async fn what_meta_cannot_mean_is_refused_in_apisix_words() {
    let site = Site::new().await;
    let wrong = |error: &str| {
        format!(
            "failed to check the configuration of plugin key-auth err: property \"_meta\" validation failed: {error}"
        )
    };
    for (meta, told) in [
        (json!(true), wrong("wrong type: expected object, got boolean")),
        (
            json!({"error_response": true}),
            wrong(
                "property \"error_response\" validation failed: value should match only one schema, but matches none",
            ),
        ),
        (
            json!({"filter": "arg_k == v"}),
            wrong("property \"filter\" validation failed: wrong type: expected array, got string"),
        ),
        (
            json!({"filter": ["arg_name", "==", "json"]}),
            "failed to validate the 'vars' expression: rule should be wrapped inside brackets".to_owned(),
        ),
        (
            json!({"filter": [["arg_name", "*=", "json"]]}),
            "failed to validate the 'vars' expression: invalid operator '*='".to_owned(),
        ),
        // What cannot be found out before the plugin runs is not taken for a condition that holds, or does not.
        (
            json!({"filter": [["post_arg_key", "==", "abc"]]}),
            "failed to validate the 'vars' expression: variable `post_arg_key` is not supported".to_owned(),
        ),
        (
            json!({"pre_function": "return function() end"}),
            wrong("property \"pre_function\" is not implemented in this build"),
        ),
        (json!({"nonsense": 1}), wrong("additional properties forbidden, found nonsense")),
    ] {
        let body = json!({"plugins": {"key-auth": {"_meta": meta}}});
        let answer = site.gate.admin().put("plugin_configs/meta", &body).await;
        assert_eq!(
            (answer.status, answer.json()["error_msg"].as_str()),
            (400, Some(told.as_str())),
            "{body}"
        );
    }
    let proof = json!({"username": "u", "plugins": {"key-auth": {"key": "k", "_meta": {"filter": [["uri", "==", "/"]]}}}});
    let answer = site.gate.admin().put("consumers", &proof).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("what a consumer proves itself with does not run"), "{}", answer.text());
}

#[tokio::test]
async fn every_plugins_schema_has_meta() {
    let site = Site::new().await;
    let all = site.gate.admin().get("plugins?all=true").await.json();
    let plugins = all.as_object().unwrap();
    assert!(plugins.len() > 8);
    for (name, about) in plugins {
        let meta = &about["schema"]["properties"]["_meta"];
        assert_eq!(meta["additionalProperties"], false, "{name}");
        assert_eq!(
            meta["properties"]["error_response"]["oneOf"],
            json!([{"type": "string"}, {"type": "object"}]),
            "{name}"
        );
        assert_eq!(meta["properties"]["filter"]["type"], "array", "{name}");
    }
}
