//! Certificates, server names, authorities and vaults.

use serde_json::{Value, json};

use super::World;

fn certificate(name: &str) -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let made = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
    (made.pem(), key.serialize_pem())
}

#[tokio::test]
async fn a_certificate_is_shown_for_its_server_names() {
    let world = World::new().await;
    let (cert, key) = certificate("a.example");
    let made = world
        .json(
            "POST",
            "/certificates",
            json!({"cert": cert, "key": key, "snis": ["a.example", "*.b.example"]}),
        )
        .await;
    assert_eq!((made.status, &made.body["snis"]), (201, &json!(["*.b.example", "a.example"])), "{made:?}");
    assert_eq!((&made.body["cert_alt"], &made.body["tags"]), (&Value::Null, &Value::Null));
    assert_eq!(world.get("/snis/a.example").await.body["certificate"], json!({"id": made.id()}));
    assert_eq!(world.get("/certificates/a.example").await.id(), made.id());
    assert_eq!(
        world.get(&format!("/certificates/{}/snis", made.id())).await.body["data"].as_array().unwrap().len(),
        2
    );
    let stored = world.stored("/portcullis/kong/certificates/").await;
    assert!(!stored.contains("PRIVATE KEY"), "{stored}");
    let taken =
        world.json("POST", "/certificates", json!({"cert": cert, "key": key, "snis": ["a.example"]})).await;
    let why = format!("a.example already associated with existing certificate '{}'", made.id());
    taken.assert_violation(json!({ "snis": why }));
    let patched =
        world.json("PATCH", &format!("/certificates/{}", made.id()), json!({"snis": ["c.example"]})).await;
    assert_eq!((patched.status, &patched.body["snis"]), (200, &json!(["c.example"])), "{patched:?}");
    assert_eq!(world.get("/snis/a.example").await.status, 404);
    let sni =
        world.json("POST", "/snis", json!({"name": "d.example", "certificate": {"id": made.id()}})).await;
    assert_eq!(sni.status, 201, "{sni:?}");
    assert_eq!(world.delete(&format!("/certificates/{}", made.id())).await.status, 204);
    assert_eq!(world.get("/snis").await.body["data"], json!([]), "they go with it");
}

#[tokio::test]
async fn what_is_no_certificate_is_refused() {
    let world = World::new().await;
    let ((cert, key), (_, other)) = (certificate("a"), certificate("b"));
    for (body, field) in [
        (json!({"cert": "x", "key": key}), "cert"),
        (json!({"cert": cert, "key": "x"}), "key"),
        (json!({"cert": cert, "key": other}), "@entity"),
        (json!({"cert": cert}), "key"),
        (json!({"cert": cert, "key": key, "snis": ["1.2.3.4"]}), "snis"),
        (json!({"cert": cert, "key": key, "snis": "a b"}), "snis"),
    ] {
        let refused = world.json("POST", "/certificates", body).await;
        assert!(refused.status == 400 && refused.body["fields"].get(field).is_some(), "{field}: {refused:?}");
    }
    assert_eq!(world.stored("/portcullis/kong/").await, "", "nothing half-written");
}

#[tokio::test]
async fn a_certificate_that_a_service_shows_is_kept() {
    let world = World::new().await;
    let (cert, key) = certificate("a");
    let made = world.json("POST", "/certificates", json!({"cert": cert, "key": key})).await;
    let service = json!({"name": "s", "url": "https://a", "client_certificate": {"id": made.id()}});
    assert_eq!(world.json("POST", "/services", service).await.status, 201);
    let used = world.delete(&format!("/certificates/{}", made.id())).await;
    assert_eq!(
        (used.status, used.message()),
        (400, "an existing 'services' entity references this 'certificates' entity")
    );
    assert_eq!(
        world.get(&format!("/certificates/{}/services", made.id())).await.body["data"][0]["name"],
        "s"
    );
    assert_eq!(world.get("/services/s/client_certificate").await.id(), made.id());
    let clear = world
        .json("POST", "/services", json!({"url": "http://a", "client_certificate": {"id": made.id()}}))
        .await;
    assert_eq!(clear.status, 400, "it cannot be shown in the clear");
}

#[tokio::test]
async fn an_authority_has_a_digest_and_is_there_once() {
    let world = World::new().await;
    let (cert, _) = certificate("ca");
    let made = world.json("POST", "/ca_certificates", json!({"cert": cert})).await;
    assert_eq!((made.status, made.body["cert_digest"].as_str().unwrap().len()), (201, 64), "{made:?}");
    assert_eq!(world.json("POST", "/ca_certificates", json!({"cert": cert})).await.status, 409);
    let both = format!("{cert}{}", certificate("x").0);
    let invalid = "invalid certificate: it is not one in PEM";
    let one = "please submit only one certificate at a time";
    for (bad, fields) in [("x", json!({"cert": invalid})), (both.as_str(), json!({"@entity": [one]}))] {
        world.json("POST", "/ca_certificates", json!({"cert": bad})).await.assert_violation(fields);
    }
}

#[tokio::test]
async fn a_vault_is_named_by_its_prefix_and_references_lead_through_it() {
    let world = World::new().await;
    let made = world.json("PUT", "/vaults/mine", json!({"name": "env", "config": {"prefix": "A_"}})).await;
    assert_eq!(
        (made.status, &made.body["prefix"], &made.body["config"]),
        (200, &json!("mine"), &json!({"prefix": "A_"})),
        "{made:?}"
    );
    for (body, field) in [
        (json!({"name": "aws", "prefix": "x"}), "name"),
        (json!({"name": "nope", "prefix": "x"}), "name"),
        (json!({"name": "env", "prefix": "env"}), "prefix"),
        (json!({"name": "env", "prefix": "Not Good"}), "prefix"),
    ] {
        let refused = world.json("POST", "/vaults", body).await;
        assert!(refused.status == 400 && refused.body["fields"].get(field).is_some(), "{field}: {refused:?}");
    }
    let consumer = world.json("POST", "/consumers", json!({"username": "bob"})).await;
    for reference in ["{vault://mine/secret}", "{vault://env/a-secret}"] {
        let key = world
            .json(
                "PUT",
                &format!("/consumers/{}/key-auth/{}", consumer.id(), consumer.id()),
                json!({"key": reference}),
            )
            .await;
        assert_eq!((key.status, &key.body["key"]), (200, &json!(reference)), "{key:?}");
        let consumers = world.publisher.current().consumers("kong").unwrap().clone();
        assert!(consumers.credential("key-auth", b"from the environment").is_some());
    }
    let nowhere = world.json("POST", "/consumers/bob/key-auth", json!({"key": "{vault://env/none}"})).await;
    assert!(nowhere.status == 400 && nowhere.message().contains("leads nowhere"), "{nowhere:?}");
}
