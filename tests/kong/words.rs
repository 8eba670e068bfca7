//! Kong's own wording of what is wrong with a write: clients and their tests compare it.

use super::*;

const NOBODY: &str = "0f1e2d3c-4b5a-4978-8796-a5b4c3d2e1f0";

impl Kong {
    /// A write that is refused with 400 and code 2: its message, and its fields.
    async fn refused(&self, path: &str, body: Value) -> (String, Value) {
        let answer = self.call("POST", path, body.clone()).await;
        let told = answer.json();
        let head = (answer.status, &told["code"], told["name"].as_str());
        assert_eq!(head, (400, &json!(2), Some("schema violation")), "{path} {body}: {told}");
        (told["message"].as_str().unwrap().to_owned(), told["fields"].clone())
    }
}

#[tokio::test]
async fn what_is_wrong_with_one_field_is_said_in_kongs_words() {
    let kong = Kong::new().await;
    let upstream = unique("up-");
    kong.made("POST", "/upstreams", json!({"name": upstream})).await;
    let targets = format!("/upstreams/{upstream}/targets");
    let service = |field: &str, value: Value| {
        let mut service = json!({"host": "a.example"});
        service[field] = value;
        ("/services", service)
    };
    let route = |field: &str, value: Value| {
        let mut route = json!({"paths": ["/never"]});
        route[field] = value;
        ("/routes", route)
    };
    let consumer = |field: &str, value: Value| {
        let mut consumer = json!({"username": unique("nobody-")});
        consumer[field] = value;
        ("/consumers", consumer)
    };
    let upstreams = |field: &str, value: Value| {
        let mut upstream = json!({"name": unique("up-")});
        upstream[field] = value;
        ("/upstreams", upstream)
    };
    let protocols = "expected one of: grpc, grpcs, http, https, tcp, tls, tls_passthrough, udp";
    let hashed = "expected one of: none, consumer, ip, header, cookie, path, query_arg, uri_capture";
    for ((path, body), field, reason) in [
        // Presence and type.
        (("/services", json!({})), "host", json!("required field missing")),
        (service("host", Value::Null), "host", json!("required field missing")),
        (service("foo", json!(1)), "foo", json!("unknown field")),
        (service("host", json!(1)), "host", json!("expected a string")),
        (service("host", json!("")), "host", json!("length must be at least 1")),
        (service("port", json!("http")), "port", json!("expected an integer")),
        (service("port", json!(80.5)), "port", json!("expected an integer")),
        (service("enabled", json!("yes")), "enabled", json!("expected a boolean")),
        (service("tags", json!("a")), "tags", json!("expected a set")),
        (route("hosts", json!("a")), "hosts", json!("expected an array")),
        (route("headers", json!("a")), "headers", json!("expected a map")),
        (route("headers", json!({"x-a": "b"})), "headers", json!("expected an array")),
        (route("headers", json!({"x-a": [1]})), "headers", json!(["expected a string"])),
        (upstreams("healthchecks", json!(1)), "healthchecks", json!("expected a record")),
        (consumer("id", json!("x")), "id", json!("expected a valid UUID")),
        (route("service", json!({"id": "x"})), "service", json!({"id": "expected a valid UUID"})),
        (route("service", json!({})), "service", json!({"id": "missing primary key"})),
        // Ranges and lists.
        (service("port", json!(-1)), "port", json!("value should be between 0 and 65535")),
        (service("retries", json!(32_768)), "retries", json!("value should be between 0 and 32767")),
        (
            service("connect_timeout", json!(0)),
            "connect_timeout",
            json!("value should be between 1 and 2147483646"),
        ),
        (service("protocol", json!("ftp")), "protocol", json!(protocols)),
        (route("protocols", json!(["http", "ftp"])), "protocols", json!([null, protocols])),
        (
            route("https_redirect_status_code", json!(300)),
            "https_redirect_status_code",
            json!("expected one of: 426, 301, 302, 307, 308"),
        ),
        (upstreams("slots", json!(9)), "slots", json!("value should be between 10 and 65536")),
        (upstreams("hash_on", json!("x")), "hash_on", json!(hashed)),
        (
            upstreams("algorithm", json!("x")),
            "algorithm",
            json!("expected one of: consistent-hashing, least-connections, round-robin, latency"),
        ),
        (
            upstreams("healthchecks", json!({"active": {"timeout": -1, "type": "x"}})),
            "healthchecks",
            json!({"active": {
                "timeout": "value should be between 0 and 65535",
                "type": "expected one of: tcp, http, https, grpc, grpcs",
            }}),
        ),
        // Texts.
        (
            service("name", json!("a b")),
            "name",
            json!(
                "invalid value 'a b': the only accepted ascii characters are alphanumerics or ., -, _, and ~"
            ),
        ),
        (service("host", json!("a b")), "host", json!("invalid value: a b")),
        (service("host", json!("a:80")), "host", json!("must not have a port")),
        (service("path", json!("a")), "path", json!("should start with: /")),
        (service("path", json!("/a//b")), "path", json!("must not have empty segments")),
        (
            service("path", json!("/a b")),
            "path",
            json!("invalid path: '/a b' (characters outside of the reserved list of RFC 3986 found)"),
        ),
        (service("path", json!("/a%2")), "path", json!("invalid url-encoded value: '%2'")),
        (
            service("tags", json!(["a", "b,c"])),
            "tags",
            json!([
                null,
                "invalid tag 'b,c': expected printable ascii (except `,` and `/`) or valid utf-8 sequences",
            ]),
        ),
        (service("url", json!("x")), "url", json!("missing host in url")),
        (route("methods", json!(["get"])), "methods", json!(["invalid value: get"])),
        (
            route("hosts", json!(["*.a.*"])),
            "hosts",
            json!(["invalid wildcard: must have at most one wildcard"]),
        ),
        (
            route("hosts", json!(["a.example", "a*.example"])),
            "hosts",
            json!([null, "invalid wildcard: must be placed at leftmost or rightmost label"]),
        ),
        (route("hosts", json!(["a b"])), "hosts", json!(["invalid hostname: a b"])),
        (
            route("paths", json!(["a"])),
            "paths",
            json!(["should start with: / (fixed path) or ~/ (regex path)"]),
        ),
        (
            route("paths", json!(["/a/../b"])),
            "paths",
            json!(["non-normalized path, consider use '/b' instead"]),
        ),
        (
            route("headers", json!({"host": ["a"]})),
            "headers",
            json!("cannot contain 'host' header, which must be specified in the 'hosts' attribute"),
        ),
        (
            route("headers", json!({"a b": ["c"]})),
            "headers",
            json!("bad header name 'a b', allowed characters are A-Z, a-z, 0-9, '_', and '-'"),
        ),
        (
            ("/upstreams", json!({"name": "1.2.3.4"})),
            "name",
            json!("Invalid name ('1.2.3.4'); no ip addresses allowed"),
        ),
        (
            ("/upstreams", json!({"name": "a.example:80"})),
            "name",
            json!("Invalid name ('a.example:80'); no port allowed"),
        ),
        (
            ("/upstreams", json!({"name": "a b"})),
            "name",
            json!("Invalid name ('a b'); must be a valid hostname"),
        ),
        ((&targets, json!({})), "target", json!("required field missing")),
        (
            (&targets, json!({"target": "a b"})),
            "target",
            json!("Invalid target ('a b'); not a valid hostname or ip address"),
        ),
        (
            (&targets, json!({"target": "a", "weight": -1})),
            "weight",
            json!("value should be between 0 and 65535"),
        ),
        (
            ("/snis", json!({"name": "1.2.3.4", "certificate": {"id": NOBODY}})),
            "name",
            json!("must not be an IP"),
        ),
        (
            ("/snis", json!({"name": "a.example:1", "certificate": {"id": NOBODY}})),
            "name",
            json!("must not have a port"),
        ),
        (
            ("/snis", json!({"name": "a.*.b", "certificate": {"id": NOBODY}})),
            "name",
            json!("wildcard must be leftmost or rightmost character"),
        ),
        (
            ("/snis", json!({"name": "*.a.*", "certificate": {"id": NOBODY}})),
            "name",
            json!("only one wildcard must be specified"),
        ),
        (
            ("/vaults", json!({"name": "env", "prefix": "env"})),
            "prefix",
            json!("must not be one of: aws, azure, conjur, env, gcp, hcv"),
        ),
        (
            ("/vaults", json!({"name": "x", "prefix": "my-vault"})),
            "name",
            json!("vault 'x' is not installed"),
        ),
        // Plugins.
        (("/plugins", json!({})), "name", json!("required field missing")),
        (
            ("/plugins", json!({"name": "x"})),
            "name",
            json!("plugin 'x' not enabled; add it to the 'plugins' configuration property"),
        ),
        (
            ("/plugins", json!({"name": "key-auth", "consumer": {"id": NOBODY}})),
            "consumer",
            json!("value must be null"),
        ),
        (
            ("/plugins", json!({"name": "key-auth", "config": {"key_names": "a", "foo": 1}})),
            "config",
            json!({"foo": "unknown field", "key_names": "expected an array"}),
        ),
    ] {
        let (_, fields) = kong.refused(path, body.clone()).await;
        assert_eq!(fields, json!({ field: reason }), "{path} {body}");
    }
}

#[tokio::test]
async fn the_message_counts_what_is_wrong_and_names_the_entity_first() {
    let kong = Kong::new().await;
    let nothing = "at least one of these fields must be non-empty: 'custom_id', 'username'";
    let unmatched =
        "must set one of 'methods', 'hosts', 'headers', 'paths', 'snis' when 'protocols' is 'https'";
    for (path, body, message, fields) in [
        (
            "/services",
            json!({}),
            "schema violation (host: required field missing)".to_owned(),
            json!({"host": "required field missing"}),
        ),
        (
            "/certificates",
            json!({}),
            "2 schema violations (cert: required field missing; key: required field missing)".to_owned(),
            json!({"cert": "required field missing", "key": "required field missing"}),
        ),
        (
            "/consumers",
            json!({}),
            format!("schema violation ({nothing})"),
            json!({"@entity": [nothing]}),
        ),
        (
            "/consumers",
            json!({"tags": [1]}),
            format!("2 schema violations ({nothing}; tags.1: expected a string)"),
            json!({"@entity": [nothing], "tags": ["expected a string"]}),
        ),
        (
            "/routes",
            json!({}),
            format!("schema violation ({unmatched})"),
            json!({"@entity": [unmatched]}),
        ),
        (
            "/routes",
            json!({"paths": ["/a", "b"]}),
            "schema violation (paths.2: should start with: / (fixed path) or ~/ (regex path))".to_owned(),
            json!({"paths": [null, "should start with: / (fixed path) or ~/ (regex path)"]}),
        ),
        (
            "/plugins",
            json!({"name": "rate-limiting", "config": {"minute": "x"}, "foo": 1}),
            "2 schema violations (config.minute: expected a number; foo: unknown field)".to_owned(),
            json!({"config": {"minute": "expected a number"}, "foo": "unknown field"}),
        ),
        (
            "/services",
            json!({"host": "a", "protocol": "http", "tls_verify": true}),
            "2 schema violations (failed conditional validation given value of field 'protocol'; tls_verify: value must be null)"
                .to_owned(),
            json!({
                "@entity": ["failed conditional validation given value of field 'protocol'"],
                "tls_verify": "value must be null",
            }),
        ),
        (
            "/upstreams",
            json!({"name": "a.example", "hash_on": "header"}),
            "2 schema violations (failed conditional validation given value of field 'hash_on'; hash_on_header: required field missing)"
                .to_owned(),
            json!({
                "@entity": ["failed conditional validation given value of field 'hash_on'"],
                "hash_on_header": "required field missing",
            }),
        ),
    ] {
        assert_eq!(kong.refused(path, body.clone()).await, (message, fields), "{path} {body}");
    }
    let jwt = kong.call("POST", "/consumers", json!({"username": unique("jwt-")})).await.json();
    let path = format!("/consumers/{}/jwt", jwt["id"].as_str().unwrap());
    let (_, fields) = kong.refused(&path, json!({"algorithm": "RS256"})).await;
    assert_eq!(
        fields,
        json!({
            "@entity": ["failed conditional validation given value of field 'algorithm'"],
            "rsa_public_key": "required field missing",
        })
    );
}

#[tokio::test]
async fn keys_that_clash_or_lead_nowhere_are_named_as_kong_names_them() {
    let kong = Kong::new().await;
    let id = kong.ask("GET", &format!("/services/{}", kong.name)).await.json()["id"].clone();
    let id = id.as_str().unwrap();
    let told = async |method: &str, path: &str, body: Value| {
        let answer = kong.call(method, path, body).await;
        let told = answer.json();
        (
            answer.status,
            told["code"].clone(),
            told["message"].as_str().unwrap().to_owned(),
            told["fields"].clone(),
        )
    };
    assert_eq!(
        told("POST", "/routes", json!({"paths": ["/"], "service": {"id": NOBODY}})).await,
        (
            400,
            json!(4),
            format!(
                "the foreign key '{{id=\"{NOBODY}\"}}' does not reference an existing 'services' entity."
            ),
            json!({"service": {"id": NOBODY}}),
        )
    );
    assert_eq!(
        told("POST", "/routes", json!({"paths": ["/"], "service": {"name": "no-such"}})).await,
        (
            400,
            json!(13),
            "foreign key unresolved (service.name: the foreign key cannot be resolved with '{name=\"no-such\"}' for an existing 'services' entity)"
                .to_owned(),
            json!({"service": {"name": "the foreign key cannot be resolved with '{name=\"no-such\"}' for an existing 'services' entity"}}),
        )
    );
    assert_eq!(
        told("POST", "/services", json!({"id": id, "host": "a"})).await,
        (400, json!(3), format!("primary key violation on key '{{id=\"{id}\"}}'"), json!({"id": id}))
    );
    kong.made("POST", &format!("/services/{}/plugins", kong.name), json!({"name": "key-auth"})).await;
    let (status, code, message, fields) =
        told("POST", &format!("/services/{}/plugins", kong.name), json!({"name": "key-auth"})).await;
    assert_eq!((status, code), (409, json!(5)));
    assert_eq!(
        message,
        format!(
            "UNIQUE violation detected on '{{consumer=null,name=\"key-auth\",route=null,service={{id=\"{id}\"}}}}'"
        )
    );
    assert_eq!(fields, json!({"consumer": null, "name": "key-auth", "route": null, "service": {"id": id}}));
    assert_eq!(
        told("DELETE", &format!("/services/{}", kong.name), json!({})).await,
        (
            400,
            json!(4),
            "an existing 'routes' entity references this 'services' entity".to_owned(),
            json!({"@referenced_by": "routes"}),
        )
    );
}

#[tokio::test]
async fn what_is_wrong_with_the_question_is_said_in_kongs_words() {
    let kong = Kong::new().await;
    let syntax = json!({
        "code": 11, "name": "invalid options", "message": "invalid option (tags: invalid filter syntax)",
        "options": {"tags": "invalid filter syntax"},
    });
    for tags in ["a,b/c", "a/b,c", "", "a,,b", "/a", "a,"] {
        let answer = kong.ask("GET", &format!("/services?tags={tags}")).await;
        assert_eq!((answer.status, answer.json()), (400, syntax.clone()), "{tags}");
    }
    let answer = kong.ask("GET", "/consumers?custom_id=").await;
    let expected =
        json!({"code": 10, "name": "invalid unique custom_id", "message": "length must be at least 1"});
    assert_eq!((answer.status, answer.json()), (400, expected));
    let why = "invalid tag 'a,b': expected printable ascii (except `,` and `/`) or valid utf-8 sequences";
    let answer = kong.ask("GET", "/tags/a,b").await;
    let expected = json!({"code": 10, "name": "invalid unique tag", "message": why});
    assert_eq!((answer.status, answer.json()), (400, expected));
    for (query, message) in [
        ("size=1001", "size must be an integer between 1 and 1000"),
        ("size=1.5", "size must be an integer between 1 and 1000"),
        ("size=x", "size must be a number"),
    ] {
        let answer = kong.ask("GET", &format!("/services?{query}")).await;
        assert_eq!(
            (answer.status, answer.json()),
            (400, json!({"code": 9, "name": "invalid size", "message": message})),
            "{query}"
        );
    }
    for (offset, why) in [("!", "bad base64 encoding"), ("e30x", "bad json encoding")] {
        let answer = kong.ask("GET", &format!("/services?offset={offset}")).await;
        let message = format!("'{offset}' is not a valid offset: {why}");
        assert_eq!(
            (answer.status, answer.json()),
            (400, json!({"code": 7, "name": "invalid offset", "message": message}))
        );
    }
    for (path, message) in [
        ("/schemas/nothing", "No entity named 'nothing'"),
        ("/schemas/plugins/nothing", "No plugin named 'nothing'"),
        ("/nothing", "Not found"),
        (&format!("/services/{NOBODY}"), "Not found"),
    ] {
        let answer = kong.ask("GET", path).await;
        assert_eq!((answer.status, answer.json()), (404, json!({ "message": message })), "{path}");
    }
}

#[tokio::test]
async fn what_does_not_go_together_in_a_plugin_is_said_where_kong_says_it() {
    let kong = Kong::new().await;
    let conditional = |field: &str| format!("failed conditional validation given value of field '{field}'");
    let lists =
        |how: &str| format!("{how} one of these fields must be non-empty: 'config.allow', 'config.deny'");
    let periods = "at least one of these fields must be non-empty: 'config.second', 'config.minute', 'config.hour', \
                   'config.day', 'config.month', 'config.year'";
    for (plugin, config, fields) in [
        ("acl", json!({}), json!({"@entity": [lists("exactly"), lists("at least")]})),
        ("acl", json!({"allow": ["a"], "deny": ["b"]}), json!({"@entity": [lists("exactly")]})),
        (
            "acl",
            json!({"invalid": 1}),
            json!({"config": {"invalid": "unknown field"}, "@entity": [lists("exactly"), lists("at least")]}),
        ),
        ("ip-restriction", json!({"allow": [], "deny": []}), json!({"@entity": [lists("at least")]})),
        (
            "jwt",
            json!({"maximum_expiration": 60, "claims_to_verify": ["nbf"]}),
            json!({
                "@entity": [conditional("config.maximum_expiration")],
                "config": {"claims_to_verify": "expected to contain: exp"},
            }),
        ),
        ("rate-limiting", json!({}), json!({"@entity": [periods]})),
        (
            "rate-limiting",
            json!({"second": 20, "hour": 10}),
            json!({"config": "The limit for hour(10.0) cannot be lower than the limit for second(20.0)"}),
        ),
        (
            "rate-limiting",
            json!({"second": 0}),
            json!({"config": {"second": "value must be greater than 0"}}),
        ),
        (
            "rate-limiting",
            json!({"second": 10, "limit_by": "header"}),
            json!({
                "@entity": [conditional("config.limit_by")], "config": {"header_name": "required field missing"},
            }),
        ),
        (
            "rate-limiting",
            json!({"second": 10, "policy": "redis"}),
            json!({
                "@entity": [conditional("config.policy")], "config": {"redis": {"host": "required field missing"}},
            }),
        ),
        (
            "request-termination",
            json!({"message": "error", "body": "test"}),
            json!({"config": "message cannot be used with content_type or body"}),
        ),
        (
            "request-termination",
            json!({"content_type": "text/html"}),
            json!({"config": "content_type requires a body"}),
        ),
        (
            "hmac-auth",
            json!({"clock_skew": -10}),
            json!({"config": {"clock_skew": "value must be greater than 0"}}),
        ),
        (
            "cors",
            json!({"origins": ["*", "a("]}),
            json!({"config": {"origins": [null, "'a(' is not a valid regex"]}}),
        ),
        (
            "http-log",
            json!({"http_endpoint": "http://a.example/", "headers": {"X-A": "1", "coNTEnt-Length": "1"}}),
            json!({"config": {"headers": "cannot contain 'Content-Length' header"}}),
        ),
        (
            "http-log",
            json!({"http_endpoint": "http://a.example/", "headers": {"X-A": ""}}),
            json!({"config": {"headers": "length must be at least 1"}}),
        ),
    ] {
        let path = format!("/routes/{}/plugins", kong.name);
        let (_, told) = kong.refused(&path, json!({"name": plugin, "config": config})).await;
        assert_eq!(told, fields, "{plugin} {config}");
        let (_, told) =
            kong.refused("/schemas/plugins/validate", json!({"name": plugin, "config": config})).await;
        assert_eq!(told, fields, "{plugin} {config}");
    }
    let path = format!("/routes/{}/plugins", kong.name);
    let (message, _) = kong.refused(&path, json!({"name": "acl", "config": {"invalid": 1}})).await;
    assert_eq!(
        message,
        format!(
            "3 schema violations ({}; {}; config.invalid: unknown field)",
            lists("exactly"),
            lists("at least")
        )
    );
    let told = kong.ask("GET", "/schemas/plugins/acl").await.json()["entity_checks"].clone();
    let both = json!(["config.allow", "config.deny"]);
    assert_eq!(told, json!([{"only_one_of": both}, {"at_least_one_of": both}]));
}

#[tokio::test]
async fn a_name_in_the_path_that_is_none_is_told_as_such() {
    let kong = Kong::new().await;
    for (path, body, name, message) in [
        (
            "/vaults/env",
            json!({"name": "env"}),
            "invalid unique prefix",
            "must not be one of: aws, azure, conjur, env, gcp, hcv",
        ),
        (
            "/services/a%20b",
            json!({"host": "a"}),
            "invalid unique name",
            "invalid value 'a b': the only accepted ascii characters are alphanumerics or ., -, _, and ~",
        ),
        ("/snis/1.2.3.4", json!({"certificate": {"id": NOBODY}}), "invalid unique name", "must not be an IP"),
    ] {
        let answer = kong.call("PUT", path, body).await;
        let told = json!({"code": 10, "name": name, "message": message});
        assert_eq!((answer.status, answer.json()), (400, told), "{path}");
    }
    let typed = Request::new("POST", "/services").header("Content-Type", "application/json");
    let empty = typed.send(kong.gate.port(8001)).await;
    assert_eq!((empty.status, empty.json()), (400, json!({"message": "Cannot parse JSON body"})));
}
