//! Lists, tags, schemas, and what the Admin API has beside entities.

use support::{Provider, tokens};

use super::{machines::basic, methods::Known, *};

#[tokio::test]
async fn lists_come_in_pages_and_by_tags() {
    let kong = Kong::new().await;
    let tag = unique("t-");
    for place in 0..5 {
        let tags =
            if place < 3 { json!([tag, format!("{tag}-a")]) } else { json!([tag, format!("{tag}-b")]) };
        kong.made("POST", "/consumers", json!({"username": format!("{tag}-{place}"), "tags": tags})).await;
    }
    let mut seen = Vec::new();
    let mut path = format!("/consumers?size=2&tags={tag}");
    for sizes in [2, 2, 1] {
        let page = kong.ask("GET", &path).await.json();
        let data = page["data"].as_array().unwrap();
        assert_eq!(data.len(), sizes, "{page}");
        seen.extend(data.iter().map(|one| one["username"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => {
                assert!(next.starts_with("/consumers?") && next.contains("size=2"), "{next}");
                assert!(next.contains(page["offset"].as_str().unwrap()), "{page}");
                path = next.to_owned();
            }
            None => assert!(sizes == 1 && page["next"].is_null() && page.get("offset").is_none(), "{page}"),
        }
    }
    seen.sort();
    assert_eq!(seen, (0..5).map(|place| format!("{tag}-{place}")).collect::<Vec<_>>());
    for (query, count) in [
        (format!("tags={tag}-a"), 3),
        (format!("tags={tag},{tag}-b"), 2),
        (format!("tags={tag}-a/{tag}-b"), 5),
        (format!("tags={tag}-a,{tag}-b"), 0),
    ] {
        let listed = kong.ask("GET", &format!("/consumers?{query}")).await.json();
        assert_eq!(listed["data"].as_array().unwrap().len(), count, "{query}");
    }
    for (query, code, message) in [
        ("size=0", 9, "size must be an integer between 1 and 1000"),
        ("size=1001", 9, "size must be an integer between 1 and 1000"),
        ("size=x", 9, "size must be a number"),
        ("offset=!", 7, "'!' is not a valid offset: bad base64 encoding"),
        ("offset=eA", 7, "'eA' is not a valid offset: bad json encoding"),
        ("tags=a,b/c", 11, "invalid option (tags: "),
    ] {
        let answer = kong.ask("GET", &format!("/services?{query}")).await;
        let told = answer.json();
        assert_eq!((answer.status, &told["code"]), (400, &json!(code)), "{query}: {told}");
        assert!(told["message"].as_str().unwrap().starts_with(message), "{query}: {told}");
    }
    let labelled = kong.ask("GET", &format!("/tags/{tag}")).await.json();
    assert_eq!(labelled["data"].as_array().unwrap().len(), 5);
    assert_eq!(labelled["data"][0]["entity_name"], "consumers");
    let custom = unique("id-");
    kong.made("POST", "/consumers", json!({"custom_id": custom})).await;
    let found = kong.ask("GET", &format!("/consumers?custom_id={custom}")).await.json();
    assert_eq!((found["data"].as_array().unwrap().len(), &found["next"]), (1, &json!(null)));
    assert_eq!(kong.ask("GET", "/consumers?custom_id=").await.status, 400);
}

#[tokio::test]
async fn the_node_its_schemas_and_its_paths_are_told() {
    let kong = Kong::new().await;
    let node = kong.ask("GET", "/").await.json();
    assert_eq!((&node["tagline"], &node["edition"]), (&json!("Welcome to kong"), &json!("community")));
    assert_eq!(node["plugins"]["available_on_server"]["openid-connect"]["priority"], 1050);
    assert!(node["pids"]["master"].is_number(), "{node}");
    assert_eq!(node["node_id"].as_str().unwrap().split('-').count(), 5, "a UUID");
    let status = kong.ask("GET", "/status").await.json();
    assert_eq!(status["database"]["reachable"], true);
    assert_eq!(status["configuration_hash"].as_str().unwrap().len(), 32);
    let paths = kong.ask("GET", "/endpoints").await.json();
    for path in ["/services", "/openid-connect/issuers", "/openid-connect/jwks", "/config"] {
        assert!(paths["data"].as_array().unwrap().contains(&json!(path)), "{path}");
    }
    for (path, status, message) in [
        ("/schemas/nope", 404, "No entity named 'nope'"),
        ("/schemas/plugins/nope", 404, "No plugin named 'nope'"),
        ("/schemas/vaults/nope", 404, "No vault named 'nope'"),
        ("/schemas/vaults/env", 200, ""),
        ("/services/nope", 404, "Not found"),
        ("/plugins/schema/cors", 200, ""),
        ("/schemas/services", 200, ""),
    ] {
        let answer = kong.ask("GET", path).await;
        assert_eq!(answer.status, status, "{path}");
        if status == 404 {
            assert_eq!(answer.json()["message"], message, "{path}");
        }
    }
    let schema = kong.ask("GET", "/schemas/vaults/env").await.json();
    assert_eq!(schema["fields"][0]["config"]["fields"][0]["prefix"]["type"], "string", "{schema}");
    let schema = kong.ask("GET", "/schemas/plugins/openid-connect").await.json();
    let config = schema["fields"].as_array().unwrap().iter().find_map(|field| field.get("config")).unwrap();
    assert!(config["fields"].as_array().unwrap().len() >= 234);
    for (path, body, status) in [
        ("/schemas/services/validate", json!({"host": "a"}), 200),
        ("/schemas/services/validate", json!({}), 400),
        ("/schemas/plugins/validate", json!({"name": "cors"}), 200),
        ("/schemas/plugins/validate", json!({"name": "openid-connect"}), 400),
    ] {
        let answer = kong.call("POST", path, body.clone()).await;
        assert_eq!(answer.status, status, "{path} {body}: {}", answer.text());
        if status == 200 {
            assert_eq!(answer.json(), json!({"message": "schema validation successful"}));
        }
    }
    let enabled = kong.ask("GET", "/plugins/enabled").await.json();
    assert!(enabled["enabled_plugins"].as_array().unwrap().contains(&json!("openid-connect")));
    let head = kong.ask("HEAD", "/services").await;
    assert_eq!((head.status, head.text().as_str()), (200, ""));
}

#[tokio::test]
async fn issuers_are_told_when_they_are_known_and_asked_for_anew() {
    let (kong, known) = (Kong::new().await, Known::start());
    kong.plugin("openid-connect", known.config(json!(["bearer"]), json!({}))).await;
    let send = async || kong.send(kong.request("GET", "/").bearer(&known.token(&json!({})))).await.status;
    assert_eq!(send().await, 200);
    let issuer = known.provider.issuer();
    let listed = kong.ask("GET", "/openid-connect/issuers").await.json();
    let ours = |entry: &&Value| entry["configuration"]["issuer"] == issuer.as_str();
    let entry = listed["data"].as_array().unwrap().iter().find(ours).unwrap().clone();
    assert_eq!(
        (&entry["issuer"], &entry["keys"][0]["kid"]),
        (&json!(known.provider.discovery()), &json!("key-1"))
    );
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    for key in [entry["id"].as_str().unwrap(), &encode(&issuer), &encode(&known.provider.discovery())] {
        let one = kong.ask("GET", &format!("/openid-connect/issuers/{key}")).await;
        assert_eq!((one.status, one.json()), (200, entry.clone()), "{key}");
    }
    let fetched = known.provider.hits("/.well-known/openid-configuration").len();
    known.provider.rotate("key-2", false);
    let path = format!("/kong-admin/openid-connect/issuers/{}", encode(&issuer));
    assert_eq!(kong.ask("DELETE", &path).await.status, 204);
    assert_eq!(known.provider.hits("/.well-known/openid-configuration").len(), fetched + 1);
    let one = kong.ask("GET", &path).await.json();
    assert_eq!(one["keys"][0]["kid"], "key-2");
    assert_eq!(send().await, 200);
    for missing in ["nothing", &encode("https://other.example/")] {
        let path = format!("/openid-connect/issuers/{missing}");
        assert_eq!(kong.ask("GET", &path).await.status, 404, "{missing}");
        assert_eq!(kong.ask("DELETE", &path).await.status, 404, "{missing}");
    }
    assert_eq!(kong.ask("POST", "/openid-connect/issuers").await.status, 405);
    assert_eq!(kong.ask("DELETE", "/openid-connect/issuers").await.status, 204);
    known.provider.stop();
    assert_eq!(
        kong.ask("DELETE", &path).await.status,
        204,
        "what is known stays where it cannot be asked for"
    );
    assert_eq!(send().await, 200);
}

#[tokio::test]
async fn the_gates_own_key_proves_who_it_is_and_is_replaced_on_demand() {
    let kong = Kong::new().await;
    let provider = Provider::start("gate");
    let published = kong.ask("GET", "/openid-connect/jwks").await.json();
    let keys = published["keys"].as_array().unwrap();
    assert!(keys.iter().all(|key| key.get("d").is_none() && key["kty"] == "EC"), "{published}");
    let set = jose::KeySet::parse(published.to_string().as_bytes()).unwrap();
    let (audience, sign) = (format!("{}token", provider.issuer()), provider.signer());
    let (issuer, token_audience) = (provider.issuer(), audience.clone());
    provider.lie("/token", move |seen| {
        let form: std::collections::BTreeMap<String, String> =
            form_urlencoded::parse(&seen.message.body).into_owned().collect();
        let assertion = form.get("client_assertion").map(String::as_str).unwrap_or_default();
        let claims: Option<Value> = jose::CompactJws::parse(assertion).ok().and_then(|jws| {
            let (payload, _) = (set.verify(&jws, &[jose::Alg::ES256]).ok()?, ());
            serde_json::from_slice(&payload).ok()
        });
        let good = claims.is_some_and(|claims| {
            claims["iss"] == "gate" && claims["sub"] == "gate" && claims["aud"] == token_audience.as_str()
        });
        let by_secret = seen.header("authorization") == Some(basic("app", "secret").as_str());
        if !good && !by_secret {
            return Answer::with(
                401,
                &[("Content-Type", "application/json")],
                r#"{"error":"invalid_client"}"#,
            );
        }
        let now = tokens::now();
        let token = sign(&json!({"iss": issuer, "sub": "ann", "exp": now + 3600, "iat": now}));
        Answer::json(&json!({"access_token": token, "token_type": "Bearer", "expires_in": 3600}))
    });
    let config = json!({
        "issuer": provider.issuer(), "auth_methods": ["password", "client_credentials"], "client_id": ["gate"],
        "client_auth": ["private_key_jwt"], "password_param_type": ["query"],
    });
    kong.plugin("openid-connect", config).await;
    let user = kong.send(kong.request("GET", "/?username=ann&password=pw")).await;
    assert_eq!(user.status, 200, "{} {audience}", user.text());
    // Nobody becomes the gate, or another client, by the gate's own key.
    for (id, secret, status) in [("gate", "x", 401), ("app", "wrong", 401), ("app", "secret", 200)] {
        let request = kong.request("GET", "/").header("Authorization", &basic(id, secret));
        assert_eq!(kong.send(request).await.status, status, "{id} {secret}");
    }
    assert_eq!(kong.ask("DELETE", "/openid-connect/jwks").await.status, 204);
    let again = kong.ask("GET", "/openid-connect/jwks").await.json();
    let kids = |set: &Value| -> Vec<String> {
        set["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
    };
    assert!(kids(&published).iter().all(|kid| kids(&again).contains(kid)), "an old key is published on");
}

#[tokio::test]
async fn a_target_is_found_by_its_host_alone_and_a_certificate_is_made_for_a_server_name() {
    let kong = Kong::new().await;
    let upstream = unique("up-");
    kong.made("POST", "/upstreams", json!({"name": upstream})).await;
    let targets = format!("/upstreams/{upstream}/targets");
    let made = kong.made("POST", &targets, json!({"target": "a.example"})).await;
    let six = kong.made("POST", &targets, json!({"target": "::1"})).await;
    for (key, target) in [
        ("a.example", &made),
        ("a.example:8000", &made),
        ("::1", &six),
        ("%5B::1%5D:8000", &six),
        (made["id"].as_str().unwrap(), &made),
    ] {
        let found = kong.ask("GET", &format!("{targets}/{key}")).await;
        assert_eq!((found.status, found.json()["target"].clone()), (200, target["target"].clone()), "{key}");
    }
    assert_eq!(kong.ask("GET", &format!("{targets}/a.example:81")).await.status, 404);
    let changed = kong.made("PATCH", &format!("{targets}/a.example"), json!({"weight": 7})).await;
    assert_eq!((&changed["weight"], &changed["target"]), (&json!(7), &json!("a.example:8000")));
    assert_eq!(kong.ask("DELETE", &format!("{targets}/a.example")).await.status, 204);
    assert_eq!(kong.ask("GET", &format!("{targets}/a.example")).await.status, 404);
    let pair = || {
        let (name, key) = (format!("{}.example", unique("n-")), rcgen::KeyPair::generate().unwrap());
        let cert = rcgen::CertificateParams::new(vec![name.clone()]).unwrap().self_signed(&key).unwrap();
        (name, json!({"cert": cert.pem(), "key": key.serialize_pem()}))
    };
    let (name, mut body) = pair();
    let other = format!("other-{name}");
    body["snis"] = json!([other]);
    let made = kong.made("PUT", &format!("/certificates/{name}"), body.clone()).await;
    assert_eq!(made["snis"], json!([name, other]));
    let again = kong.made("PUT", &format!("/certificates/{other}"), body).await;
    assert_eq!((&again["id"], &again["snis"]), (&made["id"], &json!([other])));
    assert_eq!(kong.ask("GET", &format!("/certificates/{name}")).await.status, 404);
    let patched = kong.made("PATCH", &format!("/certificates/{other}"), json!({"tags": ["x"]})).await;
    assert_eq!((&patched["id"], &patched["tags"]), (&made["id"], &json!(["x"])));
}
