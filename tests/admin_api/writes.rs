//! A15, A16 and A18: writes that are refused, that meet, and that others depend on.

use serde_json::json;

use crate::support::{Portcullis, Site, Upstream, admin::node, shared, unique};

#[tokio::test]
async fn a15_a_refused_write_leaves_the_old_configuration_serving() {
    let site = Site::new().await;
    let id = site.path[1..].to_owned();
    let admin = site.gate.admin();
    let before = admin.get(&format!("routes/{id}")).await.json();
    for (method, path, body) in [
        ("PUT", format!("routes/{id}"), json!({"uri": 1})),
        ("PUT", format!("routes/{id}"), json!({"uri": "/x", "plugins": {"openid-connect": {}}})),
        ("PATCH", format!("routes/{id}"), json!({"uri": null, "uris": null})),
        ("PATCH", format!("routes/{id}"), json!({"vars": [["uri", "~~", "("]]})),
        ("PATCH", format!("routes/{id}/upstream/nodes"), json!("x")),
        ("PATCH", format!("routes/{id}/upstream"), json!({"type": "roundrobin"})),
        ("PATCH", format!("routes/{id}/no/such/path"), json!(1)),
    ] {
        let answer = admin.call(method, &format!("/apisix/admin/{path}"), Some(&body)).await;
        assert_eq!(answer.status, 400, "{method} {path} {body}: {}", answer.text());
        assert_eq!(admin.get(&format!("routes/{id}")).await.json(), before, "{method} {path} {body}");
        site.still_serves().await;
    }
}

/// Without the service's plugins the route is closed; it must not leave its requests to a looser one.
#[tokio::test]
async fn a_route_whose_service_is_deleted_by_force_is_closed_at_once_and_after_a_restart() {
    let gate = Portcullis::dev();
    let (admin, upstream) = (gate.admin(), Upstream::start());
    let service = json!({"plugins": {"key-auth": {}}, "upstream": node(&upstream)});
    admin.set("services/guarded", &service).await;
    admin.set("routes/guarded", &json!({"uri": "/private/*", "service_id": "guarded"})).await;
    admin.route("loose", "/*", &upstream, json!({})).await;
    assert_eq!(gate.get("/private/x").await.status, 401);
    let answer = admin.call("DELETE", "/apisix/admin/services/guarded?force=true", None).await;
    assert_eq!(answer.status, 200);
    assert_eq!(gate.get("/private/x").await.status, 404);
    gate.restart();
    assert_eq!(gate.get("/private/x").await.status, 404);
    assert_eq!(gate.get("/else").await.status, 200);
}

#[tokio::test]
async fn a16_no_update_is_lost_among_a_hundred() {
    let site = Site::new().await;
    let id = site.path[1..].to_owned();
    let mut writers = tokio::task::JoinSet::new();
    for n in 0..100 {
        let (admin, path) = (site.gate.admin(), format!("/apisix/admin/routes/{id}"));
        writers.spawn(async move {
            let label = format!("w{n}");
            let answer = admin.call("PATCH", &path, Some(&json!({"labels": {label.clone(): "1"}}))).await;
            // The loser of a race is told to read again.
            assert!(matches!(answer.status, 200 | 503), "{}: {}", answer.status, answer.text());
            (answer.status == 200).then_some(label)
        });
    }
    let mut written = Vec::new();
    while let Some(label) = writers.join_next().await {
        written.extend(label.unwrap());
    }
    assert!(!written.is_empty());
    let stored = site.gate.admin().get(&format!("routes/{id}")).await.json();
    let labels = stored["value"]["labels"].as_object().unwrap();
    assert_eq!(labels.len(), written.len());
    assert!(written.iter().all(|label| labels.contains_key(label)));
}

#[tokio::test]
async fn a18_what_is_in_use_is_not_deleted() {
    let (gate, upstream, id) = (shared(), Upstream::start(), unique("used-"));
    let admin = gate.admin();
    admin.set(&format!("upstreams/{id}"), &node(&upstream)).await;
    admin.set(&format!("services/{id}"), &json!({"upstream_id": id})).await;
    admin.set(&format!("routes/{id}"), &json!({"uri": format!("/{id}"), "service_id": id})).await;
    assert_eq!(gate.get(&format!("/{id}")).await.status, 200);
    let refused = admin.delete(&format!("upstreams/{id}")).await;
    assert_eq!(refused.status, 400);
    let expected = format!("can not delete this upstream, service [{id}] is still using it now");
    assert_eq!(refused.json()["error_msg"], expected);
    let refused = admin.delete(&format!("services/{id}")).await;
    assert_eq!(refused.status, 400);
    assert_eq!(
        refused.json()["error_msg"],
        format!("can not delete this service directly, route [{id}] is still using it now")
    );
    assert_eq!(gate.get(&format!("/{id}")).await.status, 200);
    for kind in ["routes", "services", "upstreams"] {
        assert_eq!(admin.delete(&format!("{kind}/{id}")).await.status, 200, "{kind}");
    }
    assert_eq!(gate.get(&format!("/{id}")).await.status, 404);
}
