use super::*;

/// Asserts that each body is refused with exactly this text, as a PUT of `path`.
async fn all_refused(path: &str, cases: Vec<(Value, &str)>) {
    let gate = Gate::new().await;
    for (body, why) in cases {
        assert_eq!(gate.put(path, body.clone()).await.refusal(), (400, why.to_owned()), "{body}");
    }
    assert_eq!(gate.get(path.split_once('/').unwrap().0).await.json()["total"], 0);
}

#[tokio::test]
async fn routes_are_refused_in_apisix_words() {
    let with = |member: &str, value: Value| {
        let mut body = route("/a");
        body[member] = value;
        body
    };
    all_refused(
        "routes/1",
        vec![
            (json!({"uri": "/a"}), "invalid configuration: object matches none of the required: [\"plugins\",\"uri\"] or [\"upstream\",\"uri\"] or [\"upstream_id\",\"uri\"] or [\"service_id\",\"uri\"] or [\"plugins\",\"uris\"] or [\"upstream\",\"uris\"] or [\"upstream_id\",\"uris\"] or [\"service_id\",\"uris\"] or [\"script\",\"uri\"] or [\"script\",\"uris\"]"),
            (json!({"plugins": {}}), "invalid configuration: allOf 1 failed: value should match only one schema, but matches none"),
            (with("uris", json!(["/b"])), "invalid configuration: allOf 1 failed: value should match only one schema, but matches both schemas 1 and 2"),
            (with("uri", json!("")), "invalid configuration: property \"uri\" validation failed: string too short, expected at least 1, got 0"),
            (with("urii", json!("/b")), "invalid configuration: additional properties forbidden, found urii"),
            (with("host", json!("a b")), "invalid configuration: property \"host\" validation failed: failed to match pattern \"^\\\\*$|^\\\\*?[0-9a-zA-Z-._\\\\[\\\\]:]+$\" with \"a b\""),
            (json!({"uri": "/", "host": "a", "hosts": ["b"], "plugins": {}}), "only one of host or hosts is allowed"),
            (json!({"uri": "/", "remote_addr": "::1", "remote_addrs": ["::1"], "plugins": {}}), "only one of remote_addr or remote_addrs is allowed"),
            (with("remote_addr", json!("10.0.0.0/33")), "invalid configuration: property \"remote_addr\" validation failed: object matches none of the required"),
            (with("methods", json!(["GET", "get"])), "invalid configuration: property \"methods\" validation failed: failed to validate item 2: matches none of the enum values"),
            (with("methods", json!(["GET", "GET"])), "invalid configuration: property \"methods\" validation failed: expected unique items but items 1 and 2 are equal"),
            (with("vars", json!([["arg_x", "=", "y"]])), "failed to validate the 'vars' expression: invalid operator '='"),
            (with("vars", json!(["arg_x", "==", "y"])), "failed to validate the 'vars' expression: rule should be wrapped inside brackets"),
            (with("vars", json!([["arg_x"]])), "failed to validate the 'vars' expression: invalid expression"),
            (with("id", json!(-100)), "wrong route id"),
            (with("status", json!(2)), "invalid configuration: property \"status\" validation failed: matches none of the enum values"),
            (with("timeout", json!({"connect": 1, "send": 1})), "invalid configuration: property \"timeout\" validation failed: property \"read\" is required"),
            (with("timeout", json!({"connect": 0, "send": 1, "read": 1})), "invalid configuration: property \"timeout\" validation failed: property \"connect\" validation failed: expected 0 to be greater than 0"),
            (with("filter_func", json!("function(vars) return true end")), "invalid configuration: property \"filter_func\" is not implemented in this build"),
            (with("script", json!("local a = 1")), "invalid configuration: property \"script\" is not implemented in this build"),
            (with("plugin_config_id", json!("1")), "failed to fetch plugin config info by plugin config id [1], response code: 404"),
            (with("create_time", json!(1)), "the property is forbidden:  create_time"),
            (with("id", json!("2")), "wrong route id"),
            (with("plugins", json!({"wolf-rbac": {}})), "unknown plugin [wolf-rbac]"),
            (with("plugins", json!({"stamp": 1})), "invalid plugin conf 1 for plugin [stamp]"),
            (with("plugins", json!({"stamp": {}})), "failed to check the configuration of plugin stamp err: property \"text\" is required"),
            (with("plugins", json!({"stamp": {"text": "a", "x": 1}})), "failed to check the configuration of plugin stamp err: additional properties forbidden, found x"),
            (with("plugins", json!({"stamp": {"text": "a", "later": true}})), "failed to check the configuration of plugin stamp err: property \"later\" is not implemented in this build"),
            (with("plugins", json!({"stamp": {"text": "a\nb"}})), "failed to check the configuration of plugin stamp err: text: not a header's value"),
            (with("plugins", json!({"stamp": {"text": "a", "_meta": {"filter": [["a", "==", "b"]]}}})), "failed to validate the 'vars' expression: unknown variable `a`"),
            (with("plugins", json!({"stamp": {"text": "a", "txet": "b"}})), "failed to check the configuration of plugin stamp err: property \"txet\" is another spelling of \"text\": only one is allowed"),
            (with("plugins", json!({"stamp": {"text": "$ENV://X"}})), "failed to check the configuration of plugin stamp err: text: $ENV://X: the environment variable X is not set for references"),
            (with("upstream_id", json!("9")), "failed to fetch upstream info by upstream id [9], response code: 404"),
            (with("service_id", json!(9)), "failed to fetch service info by service id [9], response code: 404"),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_condition_that_does_not_compile_is_refused_with_its_place() {
    let gate = Gate::new().await;
    for vars in [json!([["arg_x", "~~", "(?=a)"]]), json!([1])] {
        let mut body = route("/a");
        body["vars"] = vars;
        let (status, text) = gate.put("routes/1", body).await.refusal();
        assert_eq!(status, 400);
        assert!(text.starts_with("failed to validate the 'vars' expression: vars"), "{text}");
    }
}

#[tokio::test]
async fn upstreams_are_refused_in_apisix_words() {
    let with = |member: &str, value: Value| {
        let mut body = upstream();
        body[member] = value;
        body
    };
    all_refused(
        "upstreams/1",
        vec![
            (json!({}), "invalid configuration: value should match only one schema, but matches none"),
            (with("type", json!("fair")), "invalid configuration: property \"type\" validation failed: matches none of the enum values"),
            (with("type", json!("chash")), "missing key"),
            (with("hash_on", json!("nothing")), "invalid configuration: property \"hash_on\" validation failed: matches none of the enum values"),
            (with("type", json!("x")), "invalid configuration: property \"type\" validation failed: matches none of the enum values"),
            (with("scheme", json!("kafka")), "invalid configuration: property \"scheme\" validation failed: `kafka` is not implemented in this build"),
            (with("checks", json!({"active": {"http_path": "x"}})), "invalid configuration: checks.active.http_path: `x` is not a path that begins with `/`"),
            (with("checks", json!({"active": {"req_headers": ["x"]}})), "invalid configuration: checks.active.req_headers: `x` is not a header: expected `Name: value`"),
            (with("service_name", json!("x")), "invalid configuration: property \"service_name\" is not implemented in this build"),
            (with("pass_host", json!("rewrite")), "`upstream_host` can't be empty when `pass_host` is `rewrite`"),
            (with("nodes", json!({"a:99999": 1})), "invalid configuration: nodes[\"a:99999\"]: the port is not 1 to 65535"),
            (with("nodes", json!({"a": -1})), "invalid configuration: property \"nodes\" validation failed: object matches none of the required"),
            (with("nodes", json!([{"host": "a"}])), "invalid configuration: property \"nodes\" validation failed: object matches none of the required"),
            (with("retries", json!(-1)), "invalid configuration: property \"retries\" validation failed: expected -1 to be at least 0"),
            (with("keepalive_pool", json!({"size": 0})), "invalid configuration: property \"keepalive_pool\" validation failed: property \"size\" validation failed: expected 0 to be at least 1"),
            (with("tls", json!({"client_cert": "x".repeat(128)})), "invalid configuration: property \"tls\" validation failed: failed to validate dependent schema for \"client_cert\": property \"client_key\" is required"),
            (with("tls", json!({"client_cert_id": 1})), "failed to fetch ssl info by ssl id [1], response code: 404"),
            (
                with("tls", json!({"client_cert_id": 1, "client_cert": "x".repeat(128), "client_key": "x".repeat(128)})),
                "invalid configuration: property \"tls\" validation failed: failed to validate dependent schema for \"client_cert\": value wasn't supposed to match schema",
            ),
        ],
    )
    .await;
    let gate = Gate::new().await;
    gate.created("upstreams/1", with("hash_on", json!("vars"))).await;
}

/// What `openssl x509 -req` without extensions makes.
const VERSION_1: &str = "-----BEGIN CERTIFICATE-----
MIIBNzCB3wIUS//MzRsqn7QvMqkJVhCRBcOED6cwCgYIKoZIzj0EAwIwITEfMB0G
A1UEAwwWQXV0aG9yaXR5IG9mIHRoZSB0ZXN0czAgFw0yNjExMjcwMjM1NTZaGA8y
MTI2MTEwMzAyMzU1NlowGzEZMBcGA1UEAwwQdmVyc2lvbi1vbmUudGVzdDBZMBMG
ByqGSM49AgEGCCqGSM49AwEHA0IABEi2YIJZpxlJS59CdbjHFoRqgUM42F0oQKo6
wpdceqe89C4uNyeBoqt8hkuLYFcnqXAEzA0p8BgWBjJBlkDWlRIwCgYIKoZIzj0E
AwIDRwAwRAIgSEMPDQLxhLXjgJE9aP5LChIXD6eVDYO/xrDiPESp6MgCIGRNDiFC
OujClUG0ySWk356RLlps0vkEJlPgoybhlwyA
-----END CERTIFICATE-----
";

#[tokio::test]
async fn an_upstreams_certificate_of_version_1_is_refused_with_the_remedy() {
    let gate = Gate::new().await;
    let key = verbs::ssl(&["a.test"])["key"].clone();
    let mut body = upstream();
    body["scheme"] = json!("https");
    body["tls"] = json!({"client_cert": VERSION_1, "client_key": key});
    let (status, text) = gate.put("upstreams/1", body.clone()).await.refusal();
    assert_eq!(status, 400);
    assert!(text.contains("tls.client_cert: certificate 1 of it is of X.509 version 1"), "{text}");
    assert!(text.contains("openssl x509 -req") && text.contains("subjectAltName"), "{text}");
    body["tls"] = json!({"client_cert": "$env://NONE", "client_key": "$env://NONE"});
    let (status, text) = gate.put("routes/1", json!({"uri": "/x", "upstream": body})).await.refusal();
    assert_eq!(status, 400);
    assert!(text.contains("upstream.tls.client_cert: $env://NONE: the environment variable NONE"), "{text}");
}

#[tokio::test]
async fn certificates_are_refused_with_the_reason() {
    let gate = Gate::new().await;
    let good = verbs::ssl(&["a.test"]);
    let other = verbs::ssl(&["a.test"]);
    let with = |member: &str, value: Value| {
        let mut body = good.clone();
        body[member] = value;
        body
    };
    let cases = [
        (with("type", json!("other")), "matches none of the enum values"),
        (with("key", other["key"].clone()), "the key does not belong to the certificate"),
        (with("cert", json!("x".repeat(200))), "failed to parse cert: PEM_read_bio_X509_AUX() failed"),
        (with("key", json!("x".repeat(200))), "failed to decrypt previous encrypted key"),
        (
            with("key", json!(format!("-----BEGIN RSA PRIVATE KEY-----{}", "x".repeat(200)))),
            "failed to parse key: PEM_read_bio_PrivateKey() failed",
        ),
        (
            json!({"sni": "a.test", "cert": good["cert"], "key": good["key"], "certs": [good["cert"]], "keys": ["x".repeat(200)]}),
            "failed to handle cert-key pair[1]: failed to decrypt previous encrypted key",
        ),
        (
            json!({"sni": "a.test", "cert": good["cert"], "key": good["key"], "certs": ["x".repeat(200)], "keys": [good["key"]]}),
            "failed to handle cert-key pair[1]: failed to parse cert: PEM_read_bio_X509_AUX() failed",
        ),
        (with("key", json!("$secret://vault/1/a/b")), "key: $secret://vault/1/a/b: "),
        (with("cert", json!("$env://NONE")), "cert: $env://NONE: the environment variable NONE is not set"),
        (
            with("keys", json!([good["key"], "$env://NONE"])),
            "keys[1]: $env://NONE: the environment variable NONE is not set",
        ),
        (
            with("client", json!({"ca": "$env://NONE"})),
            "client.ca: $env://NONE: the environment variable NONE is not",
        ),
        (
            with("cert", json!(VERSION_1)),
            "cert: certificate 1 of it is of X.509 version 1, which TLS does not take here",
        ),
        (
            with("client", json!({"ca": "x".repeat(200)})),
            "failed to validate client_cert: failed to parse cert: PEM_read_bio_X509_AUX() failed",
        ),
        (with("client", json!({})), "property \"ca\" is required"),
        (
            with("client", json!({"ca": good["cert"], "skip_mtls_uri_regex": ["(?=a)"]})),
            "client.skip_mtls_uri_regex: not a pattern that is matched in linear time",
        ),
        (with("client", json!({"ca": good["cert"], "skip_mtls_uri_regex": []})), "at least 1 items"),
        (
            json!({"type": "client", "cert": good["cert"], "key": good["key"], "client": {"ca": good["cert"]}}),
            "it needs `type: server`",
        ),
        (with("certs", json!([good["cert"]])), "mismatched number of certs and keys"),
        (
            json!({"sni": "a.test", "cert": good["cert"], "key": good["key"], "certs": [good["cert"]], "keys": [other["key"]]}),
            "the key does not belong to the certificate",
        ),
        (with("snis", json!(["*a.test"])), "`*a.test`: expected a name"),
        (with("ssl_protocols", json!(["TLSv1.1"])), "`TLSv1.1` is not implemented"),
        (json!({"cert": good["cert"], "key": good["key"]}), "then clause did not match"),
    ];
    for (body, why) in cases {
        let (status, text) = gate.put("ssls/1", body).await.refusal();
        assert!(status == 400 && text.contains(why), "{status} {text}");
    }
    gate.created("ssls/1", with("ssl_protocols", json!(["TLSv1.3"]))).await;
    let skip = json!({"ca": good["cert"], "depth": 0, "skip_mtls_uri_regex": ["^/health"]});
    gate.created("ssls/2", with("client", skip)).await;
    gate.created("ssls/3", json!({"type": "client", "cert": good["cert"], "key": good["key"]})).await;
}

#[tokio::test]
async fn a18_a_certificate_that_an_upstream_shows_stays_what_it_is() {
    let gate = Gate::new().await;
    let good = verbs::ssl(&["a.test"]);
    let client = json!({"type": "client", "cert": good["cert"], "key": good["key"]});
    gate.created("ssls/server", good.clone()).await;
    gate.created("ssls/client", client.clone()).await;
    let mut upstream = upstream();
    upstream["scheme"] = json!("https");
    let mut showing = |id: &str| {
        upstream["tls"] = json!({"client_cert_id": id});
        upstream.clone()
    };
    let wrong = "failed to fetch ssl info by ssl id [server], wrong ssl type";
    let refused = async |path: &str, body: Value| gate.put(path, body).await.refusal();
    assert_eq!(refused("upstreams/1", showing("server")).await, (400, wrong.to_owned()));
    assert_eq!(refused("services/1", json!({"upstream": showing("server")})).await, (400, wrong.to_owned()));
    let absent = "failed to fetch ssl info by ssl id [absent], response code: 404";
    assert_eq!(
        refused("routes/1", json!({"uri": "/", "upstream": showing("absent")})).await,
        (400, absent.to_owned())
    );

    gate.created("upstreams/1", showing("client")).await;
    gate.created("routes/1", json!({"uri": "/", "upstream_id": 1})).await;
    let (status, text) = gate.ask("DELETE", "ssls/client", Value::Null).await.refusal();
    assert_eq!((status, text.as_str()), (400, "can not delete this ssl, upstream [1] is still using it now"));
    let (status, text) = refused("ssls/client", good.clone()).await;
    assert!(status == 400 && text.contains("route [1] would not work with it"), "{text}");
    let (status, text) = refused(
        "ssls/client",
        json!({"type": "client", "status": 0, "cert": good["cert"], "key": good["key"]}),
    )
    .await;
    assert!(status == 400 && text.contains("it is switched off"), "{text}");
    assert_eq!(gate.put("ssls/client", client).await.status, 200);
    for path in ["routes/1", "upstreams/1", "ssls/client"] {
        assert_eq!(gate.ask("DELETE", path, Value::Null).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn s02_the_keys_of_further_certificates_are_sealed_and_never_returned() {
    let gate = Gate::new().await;
    let (mut ssl, second) = (verbs::ssl(&["a.test"]), verbs::ssl(&["a.test"]));
    ssl["certs"] = json!([second["cert"]]);
    ssl["keys"] = json!([second["key"]]);
    gate.created("ssls/1", ssl).await;
    let stored = gate.store.get("/apisix/ssls/1").await.unwrap().unwrap().value;
    assert!(!String::from_utf8(stored).unwrap().contains("PRIVATE KEY"));
    let told = gate.get("ssls/1").await;
    assert!(!told.text.contains("PRIVATE KEY") && told.json()["value"]["certs"].is_array());
    assert_eq!(gate.ask("PATCH", "ssls/1", json!({"desc": "x"})).await.status, 200);
}

#[tokio::test]
async fn ids_are_where_they_belong() {
    let gate = Gate::new().await;
    let cases = [
        ("POST", "routes/1", route("/a"), "wrong route id, do not need it"),
        ("POST", "services", json!({"id": 1}), "wrong service id, do not need it"),
        ("PUT", "upstreams", upstream(), "missing upstream id"),
        ("PUT", "ssls/1", json!({"id": 2}), "wrong ssl id"),
        ("DELETE", "routes", json!({}), "missing route id"),
    ];
    for (method, path, body, why) in cases {
        assert_eq!(gate.ask(method, path, body).await.refusal(), (400, why.to_owned()), "{method} {path}");
    }
    assert_eq!(gate.raw("PUT", "routes/1", "").await.refusal(), (400, "missing configurations".to_owned()));
    assert_eq!(gate.raw("POST", "routes", "").await.refusal(), (400, "missing configurations".to_owned()));
}

#[tokio::test]
async fn what_does_not_exist_is_not_found_by_name() {
    let gate = Gate::new().await;
    let told = gate.get("nonsense/1").await;
    assert_eq!(told.refusal(), (404, "Unsupported resource type: nonsense".to_owned()));
    let told = gate.put("protos/1", json!({"content": ""})).await;
    assert_eq!(told.refusal(), (404, "protos is not implemented in this build".to_owned()));
    for verb in ["GET", "PUT", "DELETE"] {
        let told = gate.ask(verb, "stream_routes/1", json!({})).await;
        assert_eq!(told.refusal(), (400, "stream mode is disabled, can not add stream routes".to_owned()));
    }
    assert_eq!(gate.raw("TRACE", "routes/1", "").await.refusal(), (404, "not found".to_owned()));
    assert_eq!(gate.delete("routes/1/upstream").await.refusal(), (404, "not found".to_owned()));
    assert_eq!(gate.get("routes/1/upstream").await.refusal(), (404, "not found".to_owned()));
}

#[tokio::test]
async fn the_gateway_group_is_default_or_refused_by_name() {
    let gate = Gate::new().await;
    assert_eq!(gate.put("routes/1?gateway_group_id=default", route("/a")).await.status, 201);
    assert_eq!(gate.get("routes/1?gateway_group_id=").await.status, 200);
    let (status, text) = gate.get("routes/1?gateway_group_id=blue").await.refusal();
    assert!(status == 400 && text.contains("`blue`"), "{text}");
}

#[tokio::test]
async fn what_is_in_use_is_deleted_only_by_force() {
    let gate = Gate::new().await;
    gate.created("upstreams/1", upstream()).await;
    gate.created("services/1", json!({"upstream_id": 1})).await;
    gate.created("routes/1", json!({"uri": "/a", "service_id": "1"})).await;
    gate.created("routes/2", json!({"uri": "/b", "upstream_id": "1"})).await;
    let why = |told: Told| told.refusal();
    assert_eq!(
        why(gate.delete("upstreams/1").await),
        (400, "can not delete this upstream, route [2] is still using it now".to_owned())
    );
    assert_eq!(
        why(gate.delete("services/1").await),
        (400, "can not delete this service directly, route [1] is still using it now".to_owned())
    );
    gate.created("routes/2", route("/b")).await;
    assert_eq!(
        why(gate.delete("upstreams/1").await),
        (400, "can not delete this upstream, service [1] is still using it now".to_owned())
    );
    assert_eq!(gate.delete("upstreams/1?force=1").await.status, 400);
    assert_eq!(gate.delete("upstreams/1?force=true").await.status, 200);
    assert_eq!(gate.delete("routes/1").await.status, 200);
    assert_eq!(gate.delete("services/1").await.status, 200);
}
