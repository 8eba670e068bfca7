//! Routes by every verb, also below their service.

use serde_json::{Value, json};

use super::World;

async fn with_service() -> (World, String) {
    let world = World::new().await;
    let service = world.json("POST", "/services", json!({"name": "s", "host": "a"})).await;
    let id = service.id().to_owned();
    (world, id)
}

#[tokio::test]
async fn a_route_is_made_with_every_field() {
    let (world, service) = with_service().await;
    let made = world
        .form("POST", "/services/s/routes", "name=r&paths[]=/a&paths[]=/b&methods=GET&hosts=*.example.com")
        .await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(
        made.body,
        json!({
            "id": made.id(), "created_at": 1_800_000_000, "updated_at": 1_800_000_000, "name": "r",
            "protocols": ["http", "https"], "methods": ["GET"], "hosts": ["*.example.com"], "paths": ["/a", "/b"],
            "headers": null, "https_redirect_status_code": 426, "regex_priority": 0, "strip_path": true, "path_handling": "v0",
            "preserve_host": false, "request_buffering": true, "response_buffering": true, "snis": null, "sources": null,
            "destinations": null, "tags": null, "service": {"id": service},
        })
    );
    for path in ["/routes/r", "/services/s/routes/r", &format!("/services/{service}/routes/{}", made.id())] {
        assert_eq!(world.get(path).await.body, made.body, "{path}");
    }
    assert_eq!(world.get("/routes/r/service").await.body["name"], "s");
}

#[tokio::test]
async fn a_route_names_its_service_by_id_or_name_in_json_and_in_forms() {
    let (world, service) = with_service().await;
    for (at, body) in
        [json!({"service": {"id": service}}), json!({"service": {"name": "s"}})].into_iter().enumerate()
    {
        let mut body = body;
        body["paths"] = json!([format!("/{at}")]);
        assert_eq!(world.json("POST", "/routes", body).await.body["service"], json!({"id": service}));
    }
    for form in [format!("paths=/&service.id={service}"), "paths=/&service.name=s".to_owned()] {
        assert_eq!(
            world.form("POST", "/routes", &form).await.body["service"],
            json!({"id": service}),
            "{form}"
        );
    }
    let free = world.json("POST", "/routes", json!({"paths": ["/"]})).await;
    assert_eq!((free.status, &free.body["service"]), (201, &Value::Null));
    let other = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";
    let unknown = world.json("POST", "/routes", json!({"paths": ["/"], "service": {"id": other}})).await;
    assert_eq!((unknown.status, &unknown.body["code"]), (400, &json!(4)));
    let text =
        format!("the foreign key '{{id=\"{other}\"}}' does not reference an existing 'services' entity.");
    assert_eq!(
        (unknown.message(), &unknown.body["fields"]),
        (text.as_str(), &json!({"service": {"id": other}}))
    );
    let unresolved = world.json("POST", "/routes", json!({"paths": ["/"], "service": {"name": "x"}})).await;
    assert_eq!((unresolved.status, &unresolved.body["code"]), (400, &json!(13)));
    let odd = world.json("POST", "/routes", json!({"paths": ["/"], "service": {"id": "x"}})).await;
    odd.assert_violation(json!({"service": {"id": "expected a valid UUID"}}));
}

#[tokio::test]
async fn a_route_matches_something_that_is_built() {
    let (world, _) = with_service().await;
    let post = async |body: Value| world.json("POST", "/routes", body).await;
    let nothing = post(json!({})).await;
    nothing.assert_violation(json!({"@entity": ["must set one of 'methods', 'hosts', 'headers', 'paths', 'snis' when 'protocols' is 'https'"]}));
    post(json!({"paths": ["x"]}))
        .await
        .assert_violation(json!({"paths": ["should start with: / (fixed path) or ~/ (regex path)"]}));
    for (field, value) in [
        ("sources", json!([{"ip": "127.0.0.1"}])),
        ("destinations", json!([{"port": 1}])),
        ("protocols", json!(["ws"])),
        ("snis", json!(["a.*"])),
    ] {
        let mut body = json!({"paths": ["/"]});
        body[field] = value;
        let refused = post(body).await;
        assert!(
            refused.status == 400 && refused.message().contains("not implemented in this build"),
            "{field}: {refused:?}"
        );
        assert!(refused.body["fields"].get(field).is_some(), "{field}: {refused:?}");
    }
    assert_eq!(post(json!({"methods": ["GET"]})).await.status, 201);
    assert_eq!(post(json!({"hosts": ["a"]})).await.status, 201);
    assert_eq!(
        post(json!({"paths": ["/"], "protocols": ["https", "http"], "headers": {}, "snis": []})).await.status,
        201
    );
    post(json!({"paths": ["/"], "methods": ["get"]}))
        .await
        .assert_violation(json!({"methods": ["invalid value: get"]}));
}

#[tokio::test]
async fn an_expression_stands_alone_and_can_be_read() {
    let (world, _) = with_service().await;
    let post = async |body: Value| world.json("POST", "/routes", body).await;
    let fields = "'methods', 'hosts', 'paths', 'headers', 'snis', 'sources' or 'destinations' simultaneously";
    let good = r#"http.path ^= "/a""#;
    for (body, told) in [
        (
            json!({"expression": good, "paths": ["/"]}),
            format!("cannot set 'expression' with {fields}").as_str(),
        ),
        (json!({"paths": ["/"], "priority": 1}), &format!("cannot set 'priority' with {fields}")),
        (
            json!({"expression": good, "regex_priority": 1}),
            "cannot set 'regex_priority' with 'expression' simultaneously",
        ),
        (json!({"expression": "http.path"}), "expected an operator at 9"),
        (json!({"expression": "net.foo == 1"}), "Unknown LHS field at 0"),
    ] {
        let told = format!("Router Expression failed validation: {told}");
        post(body).await.assert_violation(json!({"@entity": [told]}));
    }
    post(json!({"expression": good, "priority": 70_368_744_177_664_u64}))
        .await
        .assert_violation(json!({"priority": "value should be between 0 and 70368744177663"}));
    let made = post(json!({"expression": good, "priority": 70_368_744_177_663_u64, "hosts": []})).await;
    assert_eq!((made.status, &made.body["expression"]), (201, &json!(good)), "{made:?}");
    let changed = world.json("PATCH", &format!("/routes/{}", made.id()), json!({"expression": null})).await;
    assert_eq!(changed.status, 400, "it would match nothing: {changed:?}");
}

#[tokio::test]
async fn below_a_service_only_its_own_routes_are_found() {
    let (world, _) = with_service().await;
    world.json("POST", "/services", json!({"name": "t", "host": "b"})).await;
    world.json("POST", "/services/s/routes", json!({"name": "r", "paths": ["/"]})).await;
    for method in ["GET", "DELETE"] {
        assert_eq!(world.call(method, "/services/t/routes/r").await.status, 404, "{method}");
        assert_eq!(world.call(method, "/services/none/routes/r").await.status, 404, "{method}");
    }
    assert_eq!(world.json("PATCH", "/services/t/routes/r", json!({"name": "x"})).await.status, 404);
    assert_eq!(world.json("POST", "/services/none/routes", json!({"paths": ["/"]})).await.status, 404);
    assert_eq!(world.get("/services/t/routes").await.body["data"], json!([]));
    assert_eq!(world.get("/services/none/routes").await.status, 404);
    let moved = world.json("PATCH", "/routes/r", json!({"service": {"name": "t"}})).await;
    assert_eq!(moved.status, 200);
    assert_eq!(world.get("/services/t/routes/r").await.status, 200);
    assert_eq!(world.delete("/services/s").await.status, 204, "nothing names it any more");
    let put = world.json("PUT", "/services/t/routes/new", json!({"paths": ["/n"]})).await;
    assert_eq!((put.status, &put.body["name"]), (200, &json!("new")));
    assert_eq!(world.delete("/services/t/routes/r").await.status, 204);
}

#[tokio::test]
async fn through_a_route_its_service_is_changed() {
    let (world, _) = with_service().await;
    world.json("POST", "/services/s/routes", json!({"name": "r", "paths": ["/"]})).await;
    let patched = world.json("PATCH", "/routes/r/service", json!({"retries": 0})).await;
    assert_eq!((patched.status, &patched.body["retries"]), (200, &json!(0)));
    assert_eq!(world.delete("/routes/r/service").await.status, 405);
    world.json("POST", "/routes", json!({"name": "free", "paths": ["/"]})).await;
    assert_eq!(world.get("/routes/free/service").await.status, 404);
}
