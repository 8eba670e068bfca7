//! What stands in the way of callers for whom something is configured that cannot be used.

use super::{methods::Known, *};

#[tokio::test]
async fn whoever_cannot_have_the_plugins_of_its_group_or_its_own_is_refused_and_not_nobody() {
    let (kong, known) = (Kong::new().await, Known::start());
    let (vault, group, consumer) = (unique("vault-"), unique("gold-"), unique("ann-"));
    kong.made("PUT", &format!("/vaults/{vault}"), json!({"name": "env"})).await;
    let group_id = kong.made("POST", "/consumer_groups", json!({"name": group})).await["id"].clone();
    let consumer_id = kong.made("POST", "/consumers", json!({"username": consumer})).await["id"].clone();
    let stop = json!({
        "name": "request-termination",
        "config": {"status_code": 418, "message": format!("{{vault://{vault}/path}}")},
    });
    kong.made("POST", &format!("/consumer_groups/{group}/plugins"), stop.clone()).await;
    // A write that would close the group is refused.
    let astray = json!({"config": {"prefix": "NOTHING_IS_CALLED_SO_"}});
    let refused = kong.call("PATCH", &format!("/vaults/{vault}"), astray).await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert!(refused.text().contains(&format!("consumer group {}", group_id.as_str().unwrap())));
    kong.made("POST", &format!("/consumers/{consumer}/plugins"), stop).await;
    let optional = json!({
        "consumer_claim": ["name"], "consumer_optional": true,
        "consumer_groups_claim": ["groups"], "consumer_groups_optional": true,
    });
    kong.plugin("openid-connect", known.config(json!(["bearer", "client_credentials"]), optional)).await;
    let ask = async |claims: Value| {
        let token = known.token(&claims);
        kong.send(kong.request("GET", "/").bearer(&token)).await.status
    };
    known.claims(json!({"groups": [group]}));
    let machine = || kong.request("GET", "/").header("Authorization", &machines::basic("app", "secret"));
    let asked = async || {
        [
            ask(json!({"groups": [group]})).await,
            ask(json!({"groups": ["none", group]})).await,
            ask(json!({"name": consumer, "groups": []})).await,
            kong.send(machine()).await.status,
            ask(json!({"name": "nobody", "groups": ["none"]})).await,
        ]
    };
    assert_eq!(asked().await, [418, 418, 418, 418, 200]);
    let before = kong.upstream.seen().len();
    assert_eq!(kong.ask("DELETE", &format!("/vaults/{vault}")).await.status, 204);
    assert_eq!(asked().await, [503, 503, 503, 503, 200]);
    assert_eq!(kong.upstream.seen().len(), before + 1);
    let broken = kong.ask("GET", "/status").await.json()["broken"].clone();
    for (kind, id) in [("consumer_groups", &group_id), ("consumers", &consumer_id)] {
        let why = broken[format!("{kind}/{}", id.as_str().unwrap())].as_str().unwrap_or_default();
        assert!(why.contains("leads nowhere"), "{kind} {broken}");
    }
    kong.made("PUT", &format!("/vaults/{vault}"), json!({"name": "env"})).await;
    assert_eq!(asked().await, [418, 418, 418, 418, 200]);
    let broken = kong.ask("GET", "/status").await.json()["broken"].clone();
    assert_eq!(broken[format!("consumer_groups/{}", group_id.as_str().unwrap())], Value::Null);
}
