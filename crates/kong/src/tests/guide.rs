//! "OpenID Connect with Auth0", pasted: from the Admin API through the engine to the upstream.

use super::{
    World,
    upstream::{Echo, Engine, Idp},
};

/// The body of the guide's curl command, with the issuer's host filled in.
fn guide(issuer: &str) -> String {
    // curl joins the values of --data by `&` as they are.
    [
        "name=openid-connect",
        "config.auth_methods=client_credentials",
        &format!("config.issuer={issuer}/.well-known/openid-configuration"),
        "config.token_post_args_names=audience",
        "config.token_post_args_values=https://example.com/",
    ]
    .join("&")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_guides_command_protects_a_service() {
    let (world, idp, echo) = (World::new().await, Idp::start().await, Echo::start().await);
    let engine = Engine::start(&world);
    let made = world.form("POST", "/services", &format!("name=example&url={}/anything", echo.url)).await;
    assert_eq!(made.status, 201, "{made:?}");
    let route = world.form("POST", "/services/example/routes", "paths=/example").await;
    assert_eq!(route.status, 201, "{route:?}");
    let open = engine.get("/example/x?y=1", &[]).await;
    assert!(open.starts_with("HTTP/1.1 200") && open.contains("GET /anything/x?y=1 HTTP/1.1"), "{open}");

    let plugin = world.form("POST", "/kong-admin/services/example/plugins", &guide(&idp.url)).await;
    assert_eq!(plugin.status, 201, "{plugin:?}");
    let refused = engine.get("/example/x", &[]).await;
    assert!(
        refused.starts_with("HTTP/1.1 401") && refused.contains(r#"{"message":"Unauthorized"}"#),
        "{refused}"
    );
    let wrong = engine.get("/example/x", &[("authorization", "Basic YXBwOndyb25n")]).await;
    assert!(wrong.starts_with("HTTP/1.1 401"), "{wrong}");
    // app:secret
    for _ in 0..2 {
        let let_in = engine.get("/example/x", &[("authorization", "Basic YXBwOnNlY3JldA==")]).await;
        assert!(
            let_in.contains("GET /anything/x HTTP/1.1")
                && let_in.contains("authorization: Bearer token-1\r\n"),
            "{let_in}"
        );
        assert!(!let_in.contains("YXBwOnNlY3JldA"), "{let_in}");
    }
    let by_query = engine.get("/example/x?client_id=app&client_secret=secret", &[]).await;
    assert!(
        by_query.contains("GET /anything/x HTTP/1.1")
            && by_query.contains("authorization: Bearer token-1\r\n"),
        "{by_query}"
    );
    let asked = idp.asked();
    assert_eq!(asked.len(), 2, "one refused, one for everything else: {asked:?}");
    assert!(asked.iter().all(|body| body.contains("audience=https%3A%2F%2Fexample.com%2F")), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_serve_when_they_are_answered() {
    let (world, idp, echo) = (World::new().await, Idp::start().await, Echo::start().await);
    let engine = Engine::start(&world);
    let nothing = engine.get("/a", &[]).await;
    assert!(nothing.starts_with("HTTP/1.1 404"), "{nothing}");
    world.form("POST", "/services", &format!("name=s&url={}", echo.url)).await;
    world.form("POST", "/services/s/routes", "name=r&paths=/a&hosts=one.example").await;
    let other_host = engine.get("/a", &[]).await;
    assert!(other_host.contains(r#"{"message":"no Route matched with those values"}"#), "{other_host}");
    world.json("PATCH", "/routes/r", serde_json::json!({"hosts": null, "strip_path": false})).await;
    assert!(engine.get("/a/b", &[]).await.contains("GET /a/b HTTP/1.1"));
    world.form("PATCH", "/routes/r", "strip_path=true&preserve_host=true").await;
    let stripped = engine.get("/a/b", &[]).await;
    assert!(stripped.contains("GET /b HTTP/1.1") && stripped.contains("host: gate.example"), "{stripped}");
    assert!(stripped.contains("x-forwarded-prefix: /a"), "{stripped}");
    assert!(engine.get("/a../b", &[]).await.starts_with("HTTP/1.1 400"));

    world.form("POST", "/plugins", &guide(&idp.url)).await;
    assert!(engine.get("/a", &[]).await.starts_with("HTTP/1.1 401"), "a global plugin");
    let free = world
        .form("POST", "/routes/r/plugins", &format!("{}&config.run_on_preflight=false", guide(&idp.url)))
        .await;
    assert!(
        engine.ask("OPTIONS", "/a", &[]).await.starts_with("HTTP/1.1 200"),
        "the route's own goes before it"
    );
    world.delete(&format!("/plugins/{}", free.id())).await;
    assert!(engine.ask("OPTIONS", "/a", &[]).await.starts_with("HTTP/1.1 401"));

    world.form("PATCH", "/services/s", "enabled=false").await;
    assert!(engine.get("/a", &[]).await.starts_with("HTTP/1.1 404"), "a service that is off has no routes");
    world.form("PATCH", "/services/s", "enabled=true").await;
    world.delete("/routes/r").await;
    assert!(engine.get("/a", &[]).await.starts_with("HTTP/1.1 404"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_is_down_is_500_and_found_again() {
    let (world, mut idp, echo) = (World::new().await, Idp::down().await, Echo::start().await);
    let engine = Engine::start(&world);
    world.form("POST", "/services", &format!("name=s&url={}", echo.url)).await;
    world.form("POST", "/services/s/routes", "paths=/").await;
    let plugin =
        world.form("POST", "/services/s/plugins", &format!("{}&config.timeout=400", guide(&idp.url))).await;
    assert_eq!(plugin.status, 201, "the provider is not needed to configure it: {plugin:?}");
    let down = engine.get("/", &[("authorization", "Basic YXBwOnNlY3JldA==")]).await;
    assert!(
        down.starts_with("HTTP/1.1 500") && down.contains(r#"{"message":"An unexpected error occurred"}"#),
        "{down}"
    );
    idp.up().await;
    world.clock.advance(std::time::Duration::from_secs(60));
    world.providers.refresh_due().await;
    let up = engine.get("/", &[("authorization", "Basic YXBwOnNlY3JldA==")]).await;
    assert!(up.contains("authorization: Bearer token-1"), "{up}");
}
