use super::*;

const CANARY: &str = "canary-5f1c0de5";

async fn with_headers(gate: &Gate, method: &str, path: &str, headers: &[(&str, &str)]) -> Told {
    let mut request = request(method, path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    gate.send(request.body(Body::from(route("/a").to_string())).unwrap()).await
}

fn denial(told: &Told) -> (u16, String) {
    assert_eq!(told.json()["error_msg"], "failed to check token");
    (told.status.as_u16(), told.json()["description"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a01_only_the_whole_key_in_the_header_opens() {
    let gate = Gate::new().await;
    let missing = (401, "missing apikey".to_owned());
    assert_eq!(denial(&with_headers(&gate, "GET", "routes", &[]).await), missing);
    assert_eq!(denial(&with_headers(&gate, "GET", "routes", &[("x-api-key", "")]).await), missing);
    let told = with_headers(&gate, "GET", "routes", &[]).await;
    assert_eq!(told.text, "{\"error_msg\":\"failed to check token\",\"description\":\"missing apikey\"}\n");
    let query = format!("routes?api_key={ADMIN}");
    assert_eq!(denial(&with_headers(&gate, "GET", &query, &[]).await), missing);
    let cookie = format!("x_api_key={ADMIN}");
    assert_eq!(denial(&with_headers(&gate, "GET", "routes", &[("cookie", &cookie)]).await), missing);
    for wrong in [
        "x",
        &ADMIN[1..],
        &ADMIN[..ADMIN.len() - 1],
        &format!("{ADMIN}x"),
        &ADMIN.to_uppercase(),
        "edd1c9f034335f136f87ad84b625c8f1",
    ] {
        let told = with_headers(&gate, "GET", "routes", &[("x-api-key", wrong)]).await;
        assert_eq!(denial(&told), (401, "wrong apikey".to_owned()), "{wrong}");
    }
    let twice = with_headers(&gate, "GET", "routes", &[("x-api-key", ADMIN), ("x-api-key", ADMIN)]).await;
    assert_eq!(denial(&twice), (401, "wrong apikey".to_owned()));
    assert_eq!(with_headers(&gate, "GET", "routes", &[("X-Api-Key", ADMIN)]).await.status, 200);
}

#[tokio::test]
async fn a01_nothing_is_told_before_the_key() {
    let gate = Gate::new().await;
    for path in [
        "nonsense",
        "routes/1",
        "schema/route",
        "plugins/list",
        "routes?ttl=x",
        "routes?gateway_group_id=x",
        "",
    ] {
        for method in ["GET", "PUT", "DELETE", "TRACE"] {
            assert_eq!(with_headers(&gate, method, path, &[]).await.status, 401, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn a05_a_viewer_writes_nothing() {
    let gate = Gate::new().await;
    gate.created("routes/1", route("/a")).await;
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        for path in [
            "routes",
            "routes/1",
            "services/1",
            "upstreams/1",
            "ssls/1",
            "plugins/reload",
            "schema/validate/routes",
            "consumers",
            "consumers/x",
            "consumers/x/credentials/1",
            "consumer_groups/1",
            "plugin_configs/1",
            "global_rules/1",
            "plugin_metadata/cors",
            "secrets/vault/1",
            "configs",
            "configs/validate",
        ] {
            let told = with_headers(&gate, method, path, &[("x-api-key", VIEWER)]).await;
            assert_eq!(denial(&told), (403, "invalid method for role viewer".to_owned()), "{method} {path}");
        }
    }
    assert_eq!(with_headers(&gate, "GET", "routes/1", &[("x-api-key", VIEWER)]).await.status, 200);
}

#[tokio::test]
async fn a06_what_a_web_page_can_send_is_refused() {
    let gate = Gate::new().await;
    let refused: [&[(&str, &str)]; 7] = [
        &[("origin", "https://evil.test")],
        &[("origin", "null")],
        &[("origin", "http://127.0.0.1:9181")],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("origin", "http://127.0.0.1:9180.evil.test"), ("content-type", "text/plain")],
        &[("host", "127.0.0.1:9180")],
    ];
    for headers in refused {
        for method in ["GET", "POST", "OPTIONS"] {
            let headers: Vec<_> = headers.iter().copied().chain([("x-api-key", ADMIN)]).collect();
            let told = with_headers(&gate, method, "routes", &headers).await;
            assert_eq!(told.status, 403, "{headers:?}");
            assert!(told.headers.get("access-control-allow-origin").is_none());
        }
    }
    let allowed: [&[(&str, &str)]; 3] = [
        &[("origin", "http://127.0.0.1:9180")],
        &[("sec-fetch-site", "same-origin")],
        &[("sec-fetch-site", "none")],
    ];
    for headers in allowed {
        let headers: Vec<_> = headers.iter().copied().chain([("x-api-key", ADMIN)]).collect();
        assert_eq!(with_headers(&gate, "GET", "routes", &headers).await.status, 200, "{headers:?}");
    }
}

#[tokio::test]
async fn a06_a_rebound_name_is_refused() {
    let gate = Gate::new().await;
    for (host, status) in [
        ("evil.test", 403),
        ("evil.test:9180", 403),
        ("localhost:9180", 200),
        ("admin.test", 200),
        ("[::1]:9180", 200),
    ] {
        let request =
            Request::builder().uri("/apisix/admin/routes").header("host", host).header("x-api-key", ADMIN);
        assert_eq!(gate.send(request.body(Body::empty()).unwrap()).await.status, status, "{host}");
    }
    let nameless = Request::builder().uri("/apisix/admin/routes").header("x-api-key", ADMIN);
    assert_eq!(gate.send(nameless.body(Body::empty()).unwrap()).await.status, 403);
}

#[tokio::test]
async fn a07_the_address_a_client_claims_opens_nothing() {
    let gate = Gate::new().await;
    let claims =
        [("x-forwarded-for", "127.0.0.1"), ("x-real-ip", "127.0.0.1"), ("forwarded", "for=127.0.0.1")];
    assert_eq!(with_headers(&gate, "GET", "routes", &claims).await.status, 401);
}

#[tokio::test]
async fn a08_odd_paths_reach_no_resource() {
    let gate = Gate::new().await;
    gate.created("routes/1", route("/a")).await;
    for path in [
        "routes//1",
        "routes/%2e%2e/routes/1",
        "routes/1%2F",
        "Routes/1",
        "routes/01",
        "routes/1/x",
        "routes/1%00",
    ] {
        let told = gate.delete(path).await;
        assert!(told.status.is_client_error(), "{path}");
    }
    assert_eq!(gate.get("routes/1").await.status, 200);
}

#[tokio::test]
async fn a10_bad_bodies_are_refused_and_change_nothing() {
    let gate = Gate::new().await;
    let deep = format!("{{\"vars\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let long = format!("{{\"uri\":\"/{}\"}}", "a".repeat(1 << 20));
    let bodies = [
        "{",
        "[]",
        "null",
        "1",
        "\"x\"",
        "{\"uri\":}",
        "{\"uri\":\"/a\",}",
        "NaN",
        "{\"priority\":NaN}",
        "{\"priority\":1e400}",
        "{\"uri\":\"/a\",\"uri\":\"/b\",\"plugins\":{}}",
        "{\"uri\":\"/a\",\"\\u0075ri\":\"/b\",\"plugins\":{}}",
        "{\"uri\":\"/a\",\"plugins\":{},\"priority\":99999999999999999999}",
        "{\"__proto__\":{\"uri\":\"/a\"},\"plugins\":{}}",
        "{\"uri\":\"/a\",\"plugins\":{}} trailing",
        "\u{feff}{}",
        &deep,
        &long,
    ];
    for body in bodies {
        let told = gate.raw("PUT", "routes/1", body.to_owned()).await;
        assert_eq!(told.status, 400, "{}", &body[..body.len().min(60)]);
        assert!(told.text.len() < 1000, "the body is not echoed");
    }
    let invalid: &[u8] = b"{\"uri\":\"/\xff\"}";
    assert_eq!(gate.raw("PUT", "routes/1", invalid).await.status, 400);
    assert_eq!(gate.get("routes").await.json()["total"], 0);
}

#[tokio::test]
async fn a10_large_and_compressed_bodies_are_refused_unread() {
    let gate = Gate::new().await;
    let told = gate.raw("PUT", "routes/1", format!("\"{}\"", "a".repeat(1_572_864))).await;
    assert_eq!(told.status, 413);
    let declared =
        request("PUT", "routes/1").header("x-api-key", ADMIN).header("content-length", "104857600");
    assert_eq!(gate.send(declared.body(Body::empty()).unwrap()).await.status, 413);
    let packed = request("PUT", "routes/1").header("x-api-key", ADMIN).header("content-encoding", "gzip");
    assert_eq!(gate.send(packed.body(Body::from(vec![0x1f, 0x8b])).unwrap()).await.status, 415);
}

#[tokio::test]
async fn a11_odd_ids_and_labels_are_refused() {
    let gate = Gate::new().await;
    for id in ["%2e%2e", "a%00", &"a".repeat(65), "%E2%80%AEx", "%F0%9F%98%80", "1'%20OR%201=1", "*", "a%20b"]
    {
        assert_eq!(gate.put(&format!("routes/{id}"), route("/a")).await.status, 400, "{id}");
    }
    for id in [
        json!(0),
        json!(-1),
        json!(1.5),
        json!([]),
        json!({}),
        json!(null),
        json!(true),
        json!(""),
        json!(".."),
    ] {
        let told = gate.put("routes", json!({"id": id, "uri": "/a", "upstream": upstream()})).await;
        assert_eq!(told.status, 400, "{id}");
    }
    for label in [json!(""), json!("a b"), json!("x".repeat(257)), json!(1), json!({})] {
        let mut body = route("/a");
        body["labels"] = json!({"k": label});
        assert_eq!(gate.put("routes/1", body).await.status, 400, "{label}");
    }
    assert_eq!(gate.put("routes/ok-_.1", route("/a")).await.status, 201);
}

fn with_secrets() -> Value {
    let mut body = route("/a");
    body["plugins"] = json!({"stamp": {"text": "t", "sceret": CANARY, "inner": {"key": CANARY}}});
    body
}

#[tokio::test]
async fn a14_an_administrator_reads_what_was_written_and_a_viewer_no_secret() {
    let gate = Gate::new().await;
    let written = gate.put("routes/1", with_secrets()).await;
    assert_eq!(written.json()["value"]["plugins"], with_secrets()["plugins"]);
    assert_eq!(gate.get("routes/1").await.json()["value"]["plugins"], with_secrets()["plugins"]);
    let patched = gate.ask("PATCH", "routes/1", json!({"plugins": {"stamp": {"text": "u"}}})).await;
    assert_eq!(patched.json()["value"]["plugins"]["stamp"]["sceret"], CANARY);
    for path in ["routes/1", "routes"] {
        let told = with_headers(&gate, "GET", path, &[("x-api-key", VIEWER)]).await;
        assert_eq!(told.status, 200);
        assert!(
            told.text.contains("\"text\":\"u\"")
                && !told.text.contains(CANARY)
                && !told.text.contains("pc:sealed"),
            "{}",
            told.text
        );
    }
}

#[tokio::test]
async fn s10_the_whole_configuration_in_one_answer_tells_no_more_than_its_parts() {
    let gate = Gate::new().await;
    gate.created("routes/1", with_secrets()).await;
    gate.created("ssls/1", verbs::ssl(&["a.test"])).await;
    let whole = gate.get("configs").await;
    // An administrator's tools compare what they wrote (A14); private keys are for nobody.
    assert!(whole.status == 200 && whole.text.contains(CANARY), "{}", whole.text);
    assert!(
        whole.text.contains("BEGIN CERTIFICATE") && !whole.text.contains("PRIVATE KEY"),
        "{}",
        whole.text
    );
    let told = with_headers(&gate, "GET", "configs", &[("x-api-key", VIEWER)]).await;
    assert!(told.status == 200 && told.text.contains("BEGIN CERTIFICATE"), "{}", told.text);
    for secret in [CANARY, "pc:sealed", "PRIVATE KEY"] {
        assert!(!told.text.contains(secret), "{secret}: {}", told.text);
    }
}

#[tokio::test]
async fn a14_private_keys_of_certificates_are_never_returned() {
    let gate = Gate::new().await;
    let ssl = verbs::ssl(&["a.test"]);
    let mut upstream = upstream();
    upstream["scheme"] = json!("https");
    upstream["tls"] = json!({"client_cert": ssl["cert"], "client_key": ssl["key"]});
    let told = [
        gate.put("ssls/1", ssl.clone()).await,
        gate.ask("PATCH", "ssls/1", json!({"desc": "x"})).await,
        gate.get("ssls/1").await,
        gate.get("ssls").await,
        gate.put("upstreams/1", upstream.clone()).await,
        gate.put("routes/1", json!({"uri": "/", "upstream": upstream})).await,
        gate.get("routes").await,
    ];
    for told in told {
        assert!(told.status.is_success(), "{}", told.text);
        assert!(
            !told.text.contains("PRIVATE KEY") && told.text.contains("BEGIN CERTIFICATE"),
            "{}",
            told.text
        );
    }
}

#[tokio::test]
async fn s01_a_refusal_quotes_no_secret() {
    let gate = Gate::new().await;
    gate.created("routes/1", with_secrets()).await;
    let mut wrong = with_secrets();
    wrong["plugins"]["stamp"]["inner"]["key"] = json!([CANARY]);
    let mut unknown = with_secrets();
    unknown["plugins"]["stamp"]["other"] = json!(CANARY);
    let mut refused = vec![
        gate.put("routes/1", wrong).await,
        gate.put("routes/1", unknown).await,
        gate.raw("PUT", "routes/1", format!("{{\"plugins\":{{\"stamp\":{{\"secret\":\"{CANARY}\"}}}}")).await,
        gate.raw("PUT", "routes/1", CANARY).await,
    ];
    refused.push(gate.ask("PATCH", "routes/1/plugins/stamp/sceret/x", json!(CANARY)).await);
    for told in refused {
        assert_eq!(told.status, 400);
        assert!(!told.text.contains(CANARY), "{}", told.text);
    }
}

#[tokio::test]
async fn s02_nothing_secret_is_stored_in_the_clear() {
    let gate = Gate::new().await;
    gate.created("routes/1", with_secrets()).await;
    gate.created("services/1", json!({"plugins": with_secrets()["plugins"]})).await;
    gate.created("ssls/1", verbs::ssl(&["a.test"])).await;
    let (entries, _) = gate.store.range("").await.unwrap();
    for entry in entries {
        let text = String::from_utf8(entry.value).unwrap();
        assert!(!text.contains(CANARY) && !text.contains("PRIVATE KEY"), "{}: {text}", entry.key);
    }
}

#[tokio::test]
async fn s02_a_sealed_value_moved_elsewhere_does_not_open() {
    let gate = Gate::new().await;
    gate.created("routes/1", with_secrets()).await;
    let stored = gate.store.get("/apisix/routes/1").await.unwrap().unwrap().value;
    let moved = store::Operation::Put { key: "/apisix/routes/2".to_owned(), value: stored, ttl: None };
    gate.store.commit(Vec::new(), vec![moved]).await.unwrap();
    gate.dialect.reload().await.unwrap();
    let told = gate.get("routes/2").await;
    assert!(told.status == 200 && !told.text.contains(CANARY), "{}", told.text);
    let broken = gate.publisher.current().broken.clone();
    assert!(
        broken.len() == 1 && broken[0].0 == "routes/2" && broken[0].1.contains("belongs elsewhere"),
        "{broken:?}"
    );
}

#[tokio::test]
async fn a18_what_is_referred_to_stays() {
    let gate = Gate::new().await;
    gate.created("upstreams/1", upstream()).await;
    gate.created("routes/1", json!({"uri": "/", "upstream_id": "1"})).await;
    assert_eq!(gate.delete("upstreams/1").await.status, 400);
    assert_eq!(gate.get("upstreams/1").await.status, 200);
}

#[tokio::test]
async fn a_declared_configuration_is_read_only() {
    let gate = Gate::new().await;
    let keys = [AdminKey { secret: Secret::new(ADMIN.to_owned()), role: Role::Admin }];
    let access = Arc::new(Access::new(&keys, Vec::new()).unwrap());
    let router = router(AdminState { dialect: Arc::clone(&gate.dialect), access, read_only: true });
    let gate = Gate { router, ..gate };
    let (status, text) = gate.put("routes/1", route("/a")).await.refusal();
    assert!(status == 403 && text.contains("read-only"));
    assert_eq!(gate.get("routes").await.status, 200);
}

/// Collects what is logged.
#[derive(Clone, Default)]
struct Log(Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a17_each_write_and_each_refusal_is_one_line_without_secrets() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    // With one subscriber alone, tests on other threads that have none would switch the call sites off for all.
    let _other = tracing::Dispatch::new(tracing_subscriber::registry());
    let _guard = tracing::subscriber::set_default(subscriber);
    let gate = Gate::new().await;
    gate.put("routes/1?ttl=9", with_secrets()).await;
    gate.raw("PUT", "routes/2", CANARY).await;
    with_headers(&gate, "DELETE", "routes/1", &[("x-api-key", VIEWER)]).await;
    with_headers(&gate, "DELETE", "routes/1", &[("x-api-key", CANARY)]).await;
    gate.get("routes/1").await;
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let audit: Vec<&str> = text.lines().filter(|line| line.contains(" audit: ")).collect();
    assert_eq!(audit.len(), 4, "{text}");
    let expected = [
        ("admin", "routes/1", "201"),
        ("admin", "routes/2", "400"),
        ("viewer", "routes/1", "403"),
        ("nobody", "routes/1", "401"),
    ];
    for (line, (role, path, status)) in audit.iter().zip(expected) {
        assert!(
            line.contains(&format!("role=\"{role}\""))
                && line.contains(path)
                && line.contains(&format!("status={status}")),
            "{line}"
        );
    }
    assert!(!text.contains(CANARY) && !text.contains(ADMIN), "{text}");
}
