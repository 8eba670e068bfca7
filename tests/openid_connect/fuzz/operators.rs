//! What an operator writes: a schema for claims, and resources in YAML. Both are refused or taken, and never an error of
//! the server's; what is taken works.

use super::*;

#[tokio::test]
async fn a09_a_claim_schema_that_was_altered_is_refused_or_judges() {
    let gate = Arc::new(Portcullis::dev());
    let provider = Provider::start(CLIENT);
    let (upstream, key) = (Upstream::start(), gate.variable("ADMIN_KEY"));
    let schemas = [
        json!({"type": "object", "required": ["roles"], "properties": {
            "roles": {"type": "array", "contains": {"const": "admin"}, "minItems": 1, "uniqueItems": true},
            "sub": {"type": "string", "pattern": "^user-[0-9]+$", "maxLength": 40}, "exp": {"minimum": 1}}}),
        json!({"$ref": "#/definitions/a", "definitions": {"a": {"anyOf": [{"required": ["sub"]}, {"not": {}}]},
               "b": {"$ref": "#/definitions/a"}}, "dependencies": {"sub": ["iss"]}, "additionalProperties": true}),
        json!({"patternProperties": {"^x-": {"enum": [1, "a", null, {"b": []}]}}, "propertyNames": {"maxLength": 30},
               "if": {"required": ["a"]}, "then": {"multipleOf": 0.1}, "items": [{"format": "email"}]}),
    ];
    let good = provider.access_token(&json!({"exp": tokens::now() + 100_000, "roles": ["admin"]}));
    let (mut fuzz, mut admin) = (Fuzz::new("claim_schema", 500), Line::to(gate.port(9180)).await);
    let mut line = Line::to(gate.port(9080)).await;
    let body = |schema: &str| {
        let conf = conf(&provider, tokens_only(json!({"claim_schema": "SCHEMA"})));
        let route = json!({"uri": "/schema", "plugins": {"openid-connect": conf},
                           "upstream": {"nodes": {upstream.node(): 1}}});
        route.to_string().replace("\"SCHEMA\"", schema)
    };
    for schema in &schemas {
        let request = Request::new("PUT", "/apisix/admin/routes/schema").header("X-API-KEY", &key);
        let answer = admin.send(&request.body(body(&schema.to_string()))).await;
        assert!(answer.status < 300, "{schema}: {answer:?}");
    }
    let before = gate.resident();
    let mut taken = 0;
    while fuzz.goes_on() {
        let schema = fuzz.mutate_text(&fuzz.one(&schemas).to_string());
        let request = Request::new("PUT", "/apisix/admin/routes/schema").header("X-API-KEY", &key);
        let answer = admin.send(&request.body(body(&schema))).await;
        assert!(matches!(answer.status, 200 | 201 | 400 | 413), "{schema}: {answer:?}");
        if answer.status < 300 {
            taken += 1;
            let judged = line.send(&Request::get("/schema").bearer(&good)).await;
            assert!(matches!(judged.status, 200 | 401), "{schema}: {judged:?}");
        }
    }
    assert!(taken > 0, "not one was taken");
    fuzz.finish(&gate, before);
}

#[tokio::test]
async fn a09_yaml_that_was_altered_is_refused_or_taken() {
    let gate = Arc::new(Portcullis::dev());
    let key = gate.variable("ADMIN_KEY");
    let documents = [
        "routes:\n  - id: r1\n    uri: /r1\n    methods: [GET, POST]\n    upstream:\n      nodes: {\"127.0.0.1:1\": 1}\n",
        "services:\n- id: s1\n  name: \"a: b\"\n  upstream: {type: roundrobin, nodes: [{host: a, port: 80, weight: 1}]}\n\
         routes:\n- {id: r2, uri: \"/r2/*\", service_id: s1, vars: [[arg_a, \"==\", \"1\"]], priority: 10}\n",
        "consumers:\n  - username: jack\n    plugins:\n      key-auth:\n        key: |\n          the-key\n    desc: >-\n      folded\n      text\n",
    ];
    let (mut fuzz, mut admin) = (Fuzz::new("yaml", 600), Line::to(gate.port(9180)).await);
    let send = |document: Vec<u8>| {
        Request::new("POST", "/apisix/admin/configs/validate")
            .header("X-API-KEY", &key)
            .header("Content-Type", "application/yaml")
            .body(document)
    };
    for document in documents {
        let answer = admin.send(&send(document.into())).await;
        assert_eq!(answer.status, 200, "{document}: {answer:?}");
    }
    let before = gate.resident();
    while fuzz.goes_on() {
        let document = fuzz.mutate(fuzz.one(&documents).as_bytes());
        let what = String::from_utf8_lossy(&document).into_owned();
        let answer = admin.send(&send(document)).await;
        assert!(matches!(answer.status, 200 | 400 | 413), "{what}: {answer:?}");
    }
    let routes = gate.admin().get("routes").await;
    assert_eq!(routes.json()["total"], 0, "nothing was written");
    fuzz.finish(&gate, before);
}
