//! Consumers, what they prove themselves by, and the groups they belong to.

use serde_json::{Value, json};

use super::World;

async fn with_consumer() -> (World, String) {
    let world = World::new().await;
    let made =
        world.json("POST", "/consumers", json!({"username": "bob", "custom_id": "b1", "tags": ["t"]})).await;
    assert_eq!(made.status, 201, "{made:?}");
    let id = made.id().to_owned();
    (world, id)
}

#[tokio::test]
async fn a_consumer_has_a_name_or_the_name_of_another_system() {
    let (world, id) = with_consumer().await;
    assert_eq!(
        world.get("/consumers/bob").await.body,
        json!({
            "id": id, "created_at": 1_800_000_000, "updated_at": 1_800_000_000, "username": "bob", "custom_id": "b1",
            "tags": ["t"],
        })
    );
    let neither = world.json("POST", "/consumers", json!({})).await;
    let why = "at least one of these fields must be non-empty: 'custom_id', 'username'";
    neither.assert_violation(json!({"@entity": [why]}));
    assert_eq!(neither.message(), format!("schema violation ({why})"));
    for (body, field) in [(json!({"username": "bob"}), "username"), (json!({"custom_id": "b1"}), "custom_id")]
    {
        let taken = world.json("POST", "/consumers", body.clone()).await;
        let text = format!("UNIQUE violation detected on '{{{field}={}}}'", body[field]);
        assert_eq!((taken.status, taken.message()), (409, text.as_str()));
    }
    let found = world.get("/consumers?custom_id=b1").await.body;
    assert_eq!((found["data"].as_array().unwrap().len(), &found["next"]), (1, &Value::Null));
    assert_eq!(world.get("/consumers?custom_id=none").await.body["data"], json!([]));
    assert_eq!(world.get("/consumers?custom_id=").await.body["code"], 10);
}

#[tokio::test]
async fn credentials_are_found_below_their_consumer_and_among_all() {
    let (world, id) = with_consumer().await;
    for (below, top, body, key) in [
        ("key-auth", "key-auths", json!({"key": "a-key"}), "a-key"),
        ("basic-auth", "basic-auths", json!({"username": "u", "password": "p"}), "u"),
        ("jwt", "jwts", json!({"key": "issuer"}), "issuer"),
        ("hmac-auth", "hmac-auths", json!({"username": "u"}), "u"),
        ("acls", "acls", json!({"group": "admins"}), "admins"),
    ] {
        let path = format!("/consumers/bob/{below}");
        let made = world.json("POST", &path, body.clone()).await;
        assert_eq!((made.status, &made.body["consumer"]), (201, &json!({"id": id})), "{below}: {made:?}");
        for found in
            [format!("{path}/{}", made.id()), format!("{path}/{key}"), format!("/{top}/{}", made.id())]
        {
            assert_eq!(world.get(&found).await.body, made.body, "{found}");
        }
        assert_eq!(world.get(&format!("/{top}/{}/consumer", made.id())).await.body["username"], "bob");
        assert_eq!(world.get(&path).await.body["data"], json!([made.body]));
        assert_eq!(world.get(&format!("/{top}")).await.body["data"], json!([made.body]));
        assert_eq!(world.json("POST", &path, body).await.status, 409, "{below}");
        assert_eq!(world.get(&format!("/consumers/none/{below}")).await.status, 404);
        assert_eq!(world.delete(&format!("{path}/{}", made.id())).await.status, 204);
        assert_eq!(
            world.delete(&format!("{path}/{}", made.id())).await.status,
            404,
            "it is not below it any more"
        );
        assert_eq!(world.delete(&format!("/{top}/{}", made.id())).await.status, 204);
    }
}

#[tokio::test]
async fn what_is_left_out_of_a_credential_is_made_up() {
    let (world, _) = with_consumer().await;
    let key = world.form("POST", "/consumers/bob/key-auth", "").await;
    assert_eq!((key.status, key.body["key"].as_str().unwrap().len()), (201, 32), "{key:?}");
    let jwt = world.form("POST", "/consumers/bob/jwt", "").await;
    assert_eq!(
        (jwt.body["algorithm"].as_str(), jwt.body["secret"].as_str().unwrap().len()),
        (Some("HS256"), 32)
    );
    let hmac = world.form("POST", "/consumers/bob/hmac-auth", "username=bob").await;
    assert_eq!(hmac.body["secret"].as_str().unwrap().len(), 32);
    world.json("POST", "/consumers/bob/jwt", json!({"algorithm": "RS256"})).await.assert_violation(json!({
        "@entity": ["failed conditional validation given value of field 'algorithm'"],
        "rsa_public_key": "required field missing",
    }));
    assert_eq!(world.json("POST", "/consumers/bob/jwt", json!({"algorithm": "none"})).await.status, 400);
    assert_eq!(
        world
            .json("POST", "/consumers/bob/basic-auth", json!({"username": "a:b", "password": "p"}))
            .await
            .status,
        400
    );
}

#[tokio::test]
async fn s01_secrets_of_consumers_are_sealed_in_the_store() {
    let (world, _) = with_consumer().await;
    world.json("POST", "/consumers/bob/key-auth", json!({"key": "canary-key"})).await;
    world
        .json(
            "POST",
            "/consumers/bob/jwt",
            json!({"key": "iss", "secret": "canary-secret-of-thirty-two-bytes!"}),
        )
        .await;
    world.json("POST", "/consumers/bob/hmac-auth", json!({"username": "u", "secret": "canary-hmac"})).await;
    let basic = world
        .json("POST", "/consumers/bob/basic-auth", json!({"username": "u", "password": "canary-p"}))
        .await;
    let stored = world.stored("/").await;
    let hash = basic.body["password"].as_str().unwrap();
    assert!(!stored.contains("canary") && !stored.contains(hash), "{stored}");
    let again = world.restarted().await;
    assert_eq!(again.get("/consumers/bob/key-auth/canary-key").await.body["key"], "canary-key");
}

#[tokio::test]
async fn of_a_password_kongs_hash_is_kept_and_nothing_else() {
    let (world, id) = with_consumer().await;
    let made =
        world.json("POST", "/consumers/bob/basic-auth", json!({"username": "u", "password": "kong"})).await;
    let hash = |password: &str| crate::entities::password_hash(password, &id);
    assert_eq!(made.body["password"], hash("kong"));
    let path = format!("/basic-auths/{}", made.id());
    let patched = world.json("PATCH", &path, json!({"tags": ["x"]})).await;
    assert_eq!(patched.body["password"], hash("kong"), "what is not sent is not hashed again");
    let patched = world.json("PATCH", &path, json!({"password": "new"})).await;
    assert_eq!(patched.body["password"], hash("new"));
}

#[tokio::test]
async fn with_a_consumer_everything_of_it_goes() {
    let (world, _) = with_consumer().await;
    world.json("POST", "/consumer_groups", json!({"name": "gold"})).await;
    world.json("POST", "/consumer_groups/gold/consumers", json!({"consumer": "bob"})).await;
    for (path, body) in [
        ("/consumers/bob/key-auth", json!({"key": "k"})),
        ("/consumers/bob/acls", json!({"group": "g"})),
        ("/consumers/bob/basic-auth", json!({"username": "u", "password": "p"})),
    ] {
        assert_eq!(world.json("POST", path, body).await.status, 201, "{path}");
    }
    assert_eq!(world.delete("/consumers/bob").await.status, 204);
    for top in ["/key-auths", "/acls", "/basic-auths"] {
        assert_eq!(world.get(top).await.body["data"], json!([]), "{top}");
    }
    assert_eq!(world.get("/consumer_groups/gold/consumers").await.body["consumers"], json!([]));
    assert_eq!(world.json("POST", "/consumers", json!({"username": "eve"})).await.status, 201);
    assert_eq!(
        world.json("POST", "/consumers/eve/key-auth", json!({"key": "k"})).await.status,
        201,
        "the key is free"
    );
}

#[tokio::test]
async fn consumers_belong_to_groups() {
    let (world, id) = with_consumer().await;
    let group = world.json("POST", "/consumer_groups", json!({"name": "gold", "tags": ["vip"]})).await;
    assert_eq!(group.status, 201, "{group:?}");
    let joined = world.form("POST", "/consumer_groups/gold/consumers", "consumer=bob").await;
    assert_eq!((joined.status, &joined.body["consumers"][0]["id"]), (201, &json!(id)), "{joined:?}");
    assert_eq!(joined.body["consumer_group"]["name"], "gold");
    assert_eq!(
        world.json("POST", "/consumer_groups/gold/consumers", json!({"consumer": id})).await.status,
        409
    );
    assert_eq!(
        world.json("POST", "/consumer_groups/gold/consumers", json!({"consumer": "x"})).await.status,
        404
    );
    world
        .json("POST", "/consumer_groups/gold/consumers", json!({}))
        .await
        .assert_violation(json!({"consumer": "required field missing"}));
    let of = world.get("/consumers/bob/consumer_groups").await;
    assert_eq!(of.body["consumer_groups"][0]["name"], "gold");
    let whole = world.get("/consumer_groups/gold").await;
    assert_eq!(
        (&whole.body["consumer_group"]["id"], &whole.body["consumers"][0]["username"]),
        (&json!(group.id()), &json!("bob"))
    );
    assert_eq!(world.get("/consumer_groups/gold/consumers/bob").await.status, 200);
    assert_eq!(world.delete("/consumer_groups/gold/consumers/bob").await.status, 204);
    assert_eq!(world.delete("/consumer_groups/gold/consumers/bob").await.status, 404);
    let joined = world.json("POST", "/consumers/bob/consumer_groups", json!({"group": "gold"})).await;
    assert_eq!((joined.status, &joined.body["consumer_groups"][0]["name"]), (201, &json!("gold")));
    assert_eq!(world.delete("/consumer_groups/gold").await.status, 204);
    assert_eq!(world.get("/consumers/bob/consumer_groups").await.body["data"], json!([]));
}

#[tokio::test]
async fn plugins_are_bound_to_consumers_and_groups_but_not_those_that_find_out_who_they_are() {
    let (world, id) = with_consumer().await;
    let refused = world.json("POST", "/consumers/bob/plugins", json!({"name": "key-auth"})).await;
    refused.assert_violation(json!({"consumer": "value must be null"}));
    let refused = world
        .json("POST", "/plugins", json!({"name": "acl", "consumer": {"id": id}, "config": {"allow": ["a"]}}))
        .await;
    refused.assert_violation(json!({"consumer": "value must be null"}));
    let both = world
        .json("POST", "/plugins", json!({"name": "acl", "config": {"allow": ["a"], "deny": ["b"]}}))
        .await;
    assert!(both.message().contains("exactly one of these fields must be non-empty"), "{both:?}");
}
