//! What Kong's plugins make of requests on their way.

use super::*;

#[tokio::test]
async fn templates_say_what_the_routes_pattern_took_and_what_else_where_it_took_nothing() {
    let kong = Kong::new().await;
    let root = format!("/{}-t", kong.name);
    let name = format!("{}-users", kong.name);
    let pattern = format!("~{root}/(?<kind>\\w+)/(\\d+)(?:/(?<part>\\w+))?$");
    let route = json!({"name": name, "paths": [pattern], "strip_path": false});
    kong.made("POST", &format!("/services/{}/routes", kong.name), route).await;
    let config = json!({
        "replace": {"uri": "/v2/$(uri_captures['kind'])/$(uri_captures[2])/$((uri_captures.part or 'all'))"},
        "add": {
            "headers": [
                "X-Kind:$(uri_captures[1])",
                "X-Language:$(query_params.lang or headers['accept-language'] or \"en\")",
                "X-Nothing:$(uri_captures.nothing)",
            ],
            "querystring": ["whole:$(uri_captures[0])"],
        },
    });
    let plugin = json!({"name": "request-transformer", "config": config});
    kong.made("POST", &format!("/routes/{name}/plugins"), plugin).await;
    for (target, language, seen, told) in [
        ("/users/7", None, "/v2/users/7/all", "en"),
        ("/users/7/keys?lang=de", Some("fr"), "/v2/users/7/keys", "de"),
        ("/users/7/keys", Some("fr"), "/v2/users/7/keys", "fr"),
    ] {
        let request = Request::get(&format!("{root}{target}"));
        let request = match language {
            Some(language) => request.header("Accept-Language", language),
            None => request,
        };
        assert_eq!(kong.send(request).await.status, 200, "{target}");
        let last = kong.upstream.seen().pop().unwrap();
        assert_eq!(last.path(), seen, "{target}");
        assert_eq!(
            (last.header("x-kind"), last.header("x-language")),
            (Some("users"), Some(told)),
            "{target}"
        );
        let query = last.target.split_once('?').map(|(_, query)| query.to_owned()).unwrap_or_default();
        let path = target.split('?').next().unwrap();
        let whole = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "whole");
        assert_eq!(whole.unwrap().1, format!("{root}{path}"), "{query}");
    }
    let bad = json!({"name": "request-transformer", "config": {"add": {"headers": ["X-A:$(os.time())"]}}});
    let refused = kong.call("POST", "/schemas/plugins/validate", bad).await;
    assert_eq!(refused.status, 400);
    assert!(refused.json()["fields"]["config"].to_string().contains("os.time()"), "{}", refused.text());
}

#[tokio::test]
async fn what_a_path_took_becomes_no_identity() {
    let kong = Kong::new().await;
    for header in ["X-Consumer-Username", "X-Credential-Identifier"] {
        let config = json!({"add": {"headers": [format!("{header}:$(uri_captures.user or 'nobody')")]}});
        let refused = kong.call(
            "POST",
            "/schemas/plugins/validate",
            json!({"name": "request-transformer", "config": config}),
        );
        assert_eq!(refused.await.status, 400, "{header}");
    }
}

#[tokio::test]
async fn the_fields_of_a_form_go_into_the_query_where_the_method_has_no_body() {
    const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";
    let kong = Kong::new().await;
    let send = async |target: &str, kind: &str, body: &str| {
        let request = kong.request("POST", target).header("Content-Type", kind).body(body);
        let status = kong.send(request).await.status;
        (status, kong.upstream.seen().pop())
    };
    for (method, target, kind, body, sent) in [
        ("GET", "/x?q=1", FORM, "name=marco&a=%41&flag", "/up/x?q=1&name=marco&a=%41&flag"),
        ("GET", "/x", FORM, "name=marco&&b=c", "/up/x?name=marco&b=c"),
        ("GET", "/x", FORM, "odd=a b\"#é", "/up/x?odd=a%20b%22%23%C3%A9"),
        ("GET", "/x?q=1", FORM, "", "/up/x?q=1"),
        ("GET", "/x?q=1", "application/json", "{}", "/up/x?q=1"),
        ("PUT", "/x?q=1", FORM, "name=marco", "/up/x?q=1"),
    ] {
        kong.plugin("request-transformer", json!({"http_method": method})).await;
        let (status, seen) = send(target, kind, body).await;
        let seen = seen.unwrap();
        assert_eq!(
            (status, seen.method.as_str(), seen.target.as_str()),
            (200, method, sent),
            "{target} {kind} {body}"
        );
        assert_eq!(seen.message.body, body.as_bytes(), "{target} {kind}");
    }
    let config = json!({
        "http_method": "GET", "remove": {"querystring": ["gone"]}, "rename": {"querystring": ["old:new"]},
        "add": {"querystring": ["name:no", "added:$(query_params.q)"], "body": ["more:1"]},
    });
    kong.plugin("request-transformer", config).await;
    let (status, seen) = send("/x?q=1", FORM, "name=marco&old=2&gone=3").await;
    let seen = seen.unwrap();
    assert_eq!((status, seen.target.as_str()), (200, "/up/x?q=1&name=marco&new=2&added=1"));
    assert_eq!(String::from_utf8_lossy(&seen.message.body), "name=marco&old=2&gone=3&more=1");
    let before = kong.upstream.seen().len();
    assert_eq!(send("/x", FORM, &format!("a={}", "x".repeat(40_000))).await.0, 413);
    assert_eq!(kong.upstream.seen().len(), before);
}
