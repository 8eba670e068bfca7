//! APISIX's Control API: for everybody on the machine, so nothing secret is in it.

use serde_json::json;

use crate::support::{Portcullis, Request, Upstream, admin::node, unique};

#[tokio::test]
async fn a19_the_control_api_shows_what_there_is_and_no_secret() {
    // A port of the contract that `run` does not use here.
    let (gate, _) = Portcullis::production("control: {listen: \"127.0.0.1:{8001}\"}");
    let (port, admin, upstream) = (gate.port(8001), gate.admin(), Upstream::start());
    let canary = unique("secret-canary-");
    let oidc = json!({
        "client_id": "c", "client_secret": canary, "discovery": "http://127.0.0.1:1/", "bearer_only": true,
    });
    admin.set("upstreams/u", &node(&upstream)).await;
    admin.set("services/s", &json!({"upstream_id": "u"})).await;
    let route = json!({"uri": "/x", "service_id": "s", "plugins": {"openid-connect": oidc}});
    admin.set("routes/r", &route).await;
    let get = async |path: &str| Request::get(path).send(port).await;
    let routes = get("/v1/routes").await;
    assert_eq!(routes.json()[0]["value"]["uri"], "/x");
    assert_eq!(get("/v1/route/r").await.json()["key"], "/apisix/routes/r");
    assert_eq!(get("/v1/service/s").await.json()["value"]["upstream_id"], "u");
    assert_eq!(get("/v1/services").await.json().as_array().unwrap().len(), 1);
    assert_eq!(get("/v1/upstreams").await.json()[0]["value"]["id"], "u");
    assert_eq!(get("/v1/plugin_metadatas").await.json(), json!([]));
    assert_eq!(get("/v1/healthcheck").await.json(), json!([]));
    let schema = get("/v1/schema").await.json();
    assert_eq!(schema["main"]["route"]["type"], "object");
    assert_eq!(schema["plugins"]["redirect"]["priority"], 900);
    assert_eq!(get("/v1/server_info").await.json()["version"], "3.18.0");
    let missing = get("/v1/route/none").await;
    assert_eq!((missing.status, missing.json()), (404, json!({"error_msg": "route[none] not found"})));
    assert_eq!(Request::new("POST", "/v1/gc").send(port).await.status, 200);
    assert_eq!(Request::new("PUT", "/v1/plugins/reload").send(port).await.text(), "done");
    for (method, path) in
        [("GET", "/v1/gc"), ("DELETE", "/v1/route/r"), ("PUT", "/v1/route/r"), ("GET", "/v1/nonsense")]
    {
        assert_eq!(Request::new(method, path).send(port).await.status, 404, "{method} {path}");
    }
    for path in ["/v1/routes", "/v1/route/r", "/v1/schema"] {
        assert!(!get(path).await.text().contains(&canary), "{path}");
    }
    // A web page cannot read it: neither as another origin nor under a name of its own.
    let foreign = Request::get("/v1/routes").header("Origin", "https://evil.example");
    assert_eq!(foreign.send(port).await.status, 403);
    let rebound = Request::get("/v1/routes").header("Host", "evil.example");
    assert_eq!(rebound.send(port).await.status, 403);
    // No route leads to it.
    let inside = json!({"uri": "/v1/*", "upstream": {"nodes": {format!("127.0.0.1:{port}"): 1}}});
    admin.set("routes/inside", &inside).await;
    assert!(gate.get("/v1/routes").await.status >= 500);
}
