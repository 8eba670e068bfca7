use super::*;

/// A collection, a valid body, and a PATCH of it.
fn kinds() -> Vec<(&'static str, Value, Value)> {
    vec![
        ("routes", route("/a"), json!({"desc": "x"})),
        ("services", json!({"upstream": upstream()}), json!({"desc": "x"})),
        ("upstreams", upstream(), json!({"desc": "x"})),
        ("ssls", ssl(&["a.test"]), json!({"desc": "x"})),
    ]
}

pub(super) fn ssl(names: &[&str]) -> Value {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names.clone()).unwrap();
    json!({"snis": names, "cert": made.cert.pem(), "key": made.signing_key.serialize_pem()})
}

#[tokio::test]
async fn each_kind_is_created_replaced_patched_read_and_deleted() {
    for (collection, body, patch) in kinds() {
        let gate = Gate::new().await;
        let (path, key) = (format!("{collection}/1"), format!("/apisix/{collection}/1"));
        let created = gate.put(&path, body.clone()).await;
        assert_eq!(created.status, 201, "{}", created.text);
        assert_eq!(created.json()["key"], key);
        assert_eq!(created.json()["value"]["id"], "1");
        assert_eq!(created.json()["value"]["create_time"], 1_700_000_000);
        assert!(created.json().get("createdIndex").is_none());
        gate.clock.advance(SECOND);
        let replaced = gate.put(&path, body.clone()).await;
        assert_eq!(replaced.status, 200);
        assert_eq!(replaced.json()["value"]["create_time"], 1_700_000_000);
        assert_eq!(replaced.json()["value"]["update_time"], 1_700_000_001);
        gate.clock.advance(SECOND);
        let patched = gate.ask("PATCH", &path, patch).await;
        assert_eq!(
            (patched.status.as_u16(), &patched.json()["value"]["desc"]),
            (200, &json!("x")),
            "{}",
            patched.text
        );
        assert_eq!(patched.json()["value"]["update_time"], 1_700_000_002);
        let got = gate.get(&path).await;
        assert_eq!(got.status, 200);
        assert_eq!(got.json()["value"], patched.json()["value"]);
        assert!(got.json()["modifiedIndex"].as_u64().unwrap() > got.json()["createdIndex"].as_u64().unwrap());
        let listed = gate.get(collection).await.json();
        assert_eq!((&listed["total"], &listed["list"][0]), (&json!(1), &got.json()));
        let deleted = gate.delete(&path).await;
        assert_eq!((deleted.status.as_u16(), deleted.json()), (200, json!({"key": key, "deleted": "1"})));
        for told in
            [gate.get(&path).await, gate.delete(&path).await, gate.ask("PATCH", &path, json!({})).await]
        {
            assert_eq!(
                (told.status.as_u16(), told.text.as_str()),
                (404, "{\"message\":\"Key not found\"}\n")
            );
        }
        assert_eq!(gate.get(collection).await.text, "{\"total\":0,\"list\":[]}\n");
    }
}

#[tokio::test]
async fn every_answer_has_apisix_headers_and_ends_its_line() {
    let gate = Gate::new().await;
    gate.created("routes/1", route("/a")).await;
    for told in [gate.get("routes/1").await, gate.get("routes/2").await, gate.get("nonsense").await] {
        assert_eq!(told.headers["content-type"], "application/json");
        assert_eq!(told.headers["server"], "APISIX/3.18.0");
        assert_eq!(told.headers["x-api-version"], "v3");
        assert!(told.text.ends_with("}\n"));
        assert!(told.headers.keys().all(|name| !name.as_str().starts_with("access-control-")));
    }
}

#[tokio::test]
async fn a_post_makes_an_id_of_twenty_digits_from_the_revision() {
    let gate = Gate::new().await;
    let told = gate.ask("POST", "routes", route("/a")).await;
    assert_eq!(told.status, 201);
    let id = told.json()["value"]["id"].as_str().unwrap().to_owned();
    assert_eq!(id.len(), 20);
    let got = gate.get(&format!("routes/{id}")).await.json();
    assert_eq!(id, format!("{:020}", got["createdIndex"].as_u64().unwrap()));
    let other = gate.ask("POST", "routes/", route("/b")).await.json();
    assert_ne!(other["value"]["id"], json!(id));
}

#[tokio::test]
async fn the_id_may_stand_in_the_body_of_a_put() {
    let gate = Gate::new().await;
    let told = gate
        .put("routes", json!({"id": "auth-with-oidc", "uri": "/anything/*", "upstream": upstream()}))
        .await;
    assert_eq!((told.status.as_u16(), &told.json()["key"]), (201, &json!("/apisix/routes/auth-with-oidc")));
    let told = gate.put("upstreams", json!({"id": 5, "nodes": {"a": 1}})).await;
    assert_eq!(
        (&told.json()["key"], &told.json()["value"]["id"]),
        (&json!("/apisix/upstreams/5"), &json!(5))
    );
    let told = gate.put("upstreams/5", json!({"id": 5, "nodes": {"a": 1}})).await;
    assert_eq!((told.status.as_u16(), &told.json()["value"]["id"]), (200, &json!("5")));
}

#[tokio::test]
async fn what_was_sent_is_what_is_stored_and_no_defaults_are_added() {
    let gate = Gate::new().await;
    let sent = json!({"paths": ["/secure-api/*"], "name": "n", "labels": {"a": "b"}, "upstream": {"nodes": [{"host": "h", "weight": 1.0}]}});
    gate.created("routes/1", sent.clone()).await;
    let mut got = gate.get("routes/1").await.json()["value"].clone();
    for added in ["id", "create_time", "update_time"] {
        got.as_object_mut().unwrap().shift_remove(added).unwrap();
    }
    assert_eq!(got["paths"], sent["paths"]);
    assert_eq!(got["upstream"], json!({"nodes": [{"host": "h", "weight": 1}]}));
    assert_eq!(got.as_object().unwrap().len(), sent.as_object().unwrap().len());
}

#[tokio::test]
async fn a_patch_merges_or_replaces_one_node_and_the_result_is_checked_whole() {
    let gate = Gate::new().await;
    gate.created(
        "routes/1",
        json!({"uri": "/a", "upstream": {"nodes": {"a:1": 1, "b:1": 1}}, "methods": ["GET", "PUT"]}),
    )
    .await;
    let told = gate
        .ask("PATCH", "routes/1", json!({"upstream": {"nodes": {"a:1": null}}, "methods": ["PUT"]}))
        .await;
    assert_eq!(told.json()["value"]["upstream"]["nodes"], json!({"b:1": 1}));
    assert_eq!(told.json()["value"]["methods"], json!(["PUT"]));
    let told = gate.ask("PATCH", "routes/1/upstream/nodes", json!({"c:1": 2})).await;
    assert_eq!(told.json()["value"]["upstream"]["nodes"], json!({"c:1": 2}));
    let told = gate.raw("PATCH", "routes/1/priority", "7").await;
    assert_eq!(told.json()["value"]["priority"], 7);
    assert_eq!(
        gate.raw("PATCH", "routes/1/uri/x", "7").await.refusal(),
        (400, "invalid sub-path: /uri".to_owned())
    );
    assert_eq!(gate.raw("PATCH", "routes/1", "7").await.refusal(), (400, "invalid configuration".to_owned()));
    assert_eq!(
        gate.raw("PATCH", "routes/1", "").await.refusal(),
        (400, "missing new configuration".to_owned())
    );
    assert_eq!(gate.raw("PATCH", "routes", "{}").await.refusal(), (400, "missing route id".to_owned()));
    assert_eq!(
        gate.ask("PATCH", "routes/1", json!({"id": "2"})).await.refusal(),
        (400, "wrong route id".to_owned())
    );
    let told = gate.ask("PATCH", "routes/1", json!({"priority": "x"})).await;
    let why = "invalid configuration: property \"priority\" validation failed: wrong type: expected integer, got string";
    assert_eq!(told.refusal(), (400, why.to_owned()));
    assert_eq!(gate.get("routes/1").await.json()["value"]["priority"], 7);
}

#[tokio::test]
async fn a_time_to_live_ends_a_resource_when_the_clock_passes_it() {
    let gate = Gate::new().await;
    assert_eq!(gate.put("routes/1?ttl=5", route("/a")).await.status, 201);
    assert_eq!(gate.put("routes/2?ttl=5", route("/b")).await.status, 201);
    gate.created("routes/2", route("/b")).await;
    gate.clock.advance(SECOND * 4);
    gate.dialect.expire_due().await.unwrap();
    assert_eq!(gate.get("routes/1").await.status, 200);
    gate.clock.advance(SECOND);
    gate.dialect.expire_due().await.unwrap();
    assert_eq!(gate.get("routes/1").await.status, 404);
    assert_eq!(gate.get("routes/2").await.status, 200, "a write without a time to live ends the old one");
    let told = gate.put("routes/1?ttl=x", route("/a")).await;
    assert_eq!(told.refusal(), (400, "invalid argument ttl: should be a number".to_owned()));
}

#[tokio::test]
async fn schemas_and_plugins_are_described() {
    let gate = Gate::new().await;
    let list = gate.get("plugins/list").await.json();
    let names: Vec<&str> = list.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(names.first().zip(names.last()), Some((&"multi-auth", &"late")));
    assert!(
        names.iter().position(|name| *name == "basic-auth")
            < names.iter().position(|name| *name == "jwt-auth")
    );
    assert_eq!(gate.get("plugins/stamp").await.json()["required"], json!(["text"]));
    assert_eq!(gate.get("schema/plugins/stamp").await.json(), gate.get("plugins/stamp").await.json());
    assert_eq!(gate.get("plugins?all=true").await.json()["late"]["priority"], -1);
    assert_eq!(gate.get("schema/route").await.json()["properties"]["uri"]["maxLength"], 4096);
    assert_eq!(gate.get("schema/nonsense").await.refusal(), (400, "not found schema: nonsense".to_owned()));
    assert_eq!(
        gate.get("plugins/nonsense").await.refusal(),
        (404, "plugin not found in subsystem http".to_owned())
    );
    assert_eq!(
        gate.get("plugins/stamp?subsystem=stream").await.refusal(),
        (404, "plugin not found in subsystem stream".to_owned())
    );
    for path in ["plugins/stamp", "plugins"] {
        let refusal = gate.get(&format!("{path}?subsystem=asdf")).await.refusal();
        assert_eq!(refusal, (400, "unsupported subsystem: asdf".to_owned()), "{path}");
    }
    assert_eq!(gate.get("plugins").await.refusal(), (404, "plugin not found in subsystem http".to_owned()));
    let list = gate.get("plugins/list?subsystem=asdf").await;
    assert_eq!((list.status.as_u16(), &*list.text), (400, "invalid subsystem passed"));
    assert_eq!(
        gate.get("schema/plugins/stamp?schema_type=consumer").await.refusal(),
        (400, "not found schema".to_owned())
    );
    assert_eq!(gate.get("plugins?all=true&subsystem=stream").await.json(), json!({}));
    assert_eq!(gate.get("plugins/list?subsystem=stream").await.json(), json!([]));
    assert_eq!(gate.put("plugins/reload", json!({})).await.text, "done");
    assert_eq!(
        gate.get("plugins/reload").await.refusal(),
        (405, "please use PUT method to reload the plugins, GET method is not allowed.".to_owned())
    );
}

#[tokio::test]
async fn a_resource_is_checked_against_its_schema_alone() {
    let gate = Gate::new().await;
    for (kind, value) in [
        ("routes", json!({"uri": "/a", "upstream_id": "none"})),
        ("routes", json!({"uri": "/a", "plugins": {"no-such-plugin": {}}})),
        ("services", json!({})),
        ("upstreams", json!({"nodes": {"a:1": 1}})),
    ] {
        let told = gate.ask("POST", &format!("schema/validate/{kind}"), value).await;
        assert_eq!((told.status.as_u16(), told.text.as_str()), (200, ""), "{kind}");
    }
    let told = gate.ask("POST", "schema/validate/routes", json!({"uri": 1, "upstream_id": "1"})).await;
    let wrong = "property \"uri\" validation failed: wrong type: expected string, got number";
    assert_eq!(told.refusal(), (400, wrong.to_owned()));
    let told = gate.ask("POST", "schema/validate/nonsense", json!({})).await;
    assert_eq!(told.refusal(), (404, "Unsupported resource type: nonsense".to_owned()));
    assert_eq!(gate.get("routes").await.json()["total"], 0);
}

#[tokio::test]
async fn options_and_head_answer_without_a_body() {
    let gate = Gate::new().await;
    gate.created("routes/1", route("/a")).await;
    let told = gate.send(request("OPTIONS", "routes").body(Body::empty()).unwrap()).await;
    assert_eq!((told.status.as_u16(), told.text.as_str()), (200, ""));
    assert!(told.headers["allow"].to_str().unwrap().contains("PATCH"));
    let told = gate.send(request("HEAD", "").body(Body::empty()).unwrap()).await;
    assert_eq!((told.status.as_u16(), told.text.as_str()), (200, ""));
    let told = gate.raw("HEAD", "routes/1", "").await;
    assert_eq!((told.status.as_u16(), told.text.as_str()), (200, ""));
    assert_eq!(gate.raw("HEAD", "routes/2", "").await.status, 404);
}
