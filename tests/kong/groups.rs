//! Consumer groups, and the access lists that may name them.

use super::{methods::Known, *};

#[tokio::test]
async fn access_lists_name_consumer_groups_where_they_say_so() {
    let kong = Kong::new().await;
    let (gold, silver, ann) = (unique("gold-"), unique("silver-"), unique("ann-"));
    for group in [&gold, &silver] {
        kong.made("POST", "/consumer_groups", json!({"name": group})).await;
    }
    kong.made("POST", "/consumers", json!({"username": ann})).await;
    kong.made("POST", &format!("/consumers/{ann}/key-auth"), json!({"key": ann})).await;
    kong.made("POST", &format!("/consumers/{ann}/acls"), json!({"group": "staff"})).await;
    kong.made("POST", &format!("/consumer_groups/{gold}/consumers"), json!({"consumer": ann})).await;
    kong.plugin("key-auth", json!({})).await;
    let ask = async || kong.send(kong.request("GET", "/").header("apikey", &ann)).await.status;
    for (config, status) in [
        (json!({"allow": [gold]}), 403),
        (json!({"allow": [gold], "include_consumer_groups": true}), 200),
        (json!({"allow": [silver], "include_consumer_groups": true}), 403),
        (json!({"deny": [gold]}), 200),
        (json!({"deny": [gold], "include_consumer_groups": true}), 403),
        (json!({"allow": ["staff"], "include_consumer_groups": true}), 200),
    ] {
        kong.plugin("acl", config.clone()).await;
        assert_eq!(ask().await, status, "{config}");
    }
    let told =
        |kong: &Kong| kong.upstream.seen().pop().unwrap().header("x-consumer-groups").map(str::to_owned);
    assert_eq!(told(&kong), Some(format!("staff, {gold}")));
    let left = kong.ask("DELETE", &format!("/consumer_groups/{gold}/consumers/{ann}")).await;
    assert_eq!((left.status, ask().await, told(&kong)), (204, 200, Some("staff".to_owned())));
}

#[tokio::test]
async fn every_group_that_the_claims_name_counts_for_an_access_list() {
    let (kong, known) = (Kong::new().await, Known::start());
    let (gold, silver) = (unique("gold-"), unique("silver-"));
    for group in [&gold, &silver] {
        kong.made("POST", "/consumer_groups", json!({"name": group})).await;
    }
    let claim = json!({"consumer_groups_claim": ["groups"], "consumer_groups_optional": true});
    kong.plugin("openid-connect", known.config(json!(["bearer"]), claim)).await;
    let allow = json!({"allow": [gold], "include_consumer_groups": true});
    let deny = json!({"deny": [gold], "include_consumer_groups": true});
    for (config, groups, status) in [
        (&allow, json!([gold]), 200),
        (&allow, json!([silver, gold]), 200),
        (&allow, json!([silver]), 403),
        (&allow, json!([]), 403),
        (&deny, json!([silver]), 200),
        (&deny, json!([gold, silver]), 403),
        (&deny, json!([silver, gold]), 403),
        (&json!({"allow": [gold]}), json!([gold]), 403),
    ] {
        kong.plugin("acl", config.clone()).await;
        let token = known.token(&json!({"sub": "eve", "groups": groups}));
        assert_eq!(
            kong.send(kong.request("GET", "/").bearer(&token)).await.status,
            status,
            "{config} {groups}"
        );
    }
    // What another claim says counts beside them.
    let claims = json!({
        "consumer_groups_claim": ["groups"], "consumer_groups_optional": true, "authenticated_groups_claim": ["teams"],
    });
    kong.plugin("openid-connect", known.config(json!(["bearer"]), claims)).await;
    kong.plugin("acl", json!({"deny": [gold, "blue"], "include_consumer_groups": true})).await;
    for (groups, teams, status) in
        [(json!([silver]), "red", 200), (json!([gold]), "red", 403), (json!([silver]), "blue", 403)]
    {
        let token = known.token(&json!({"groups": groups, "teams": [teams]}));
        assert_eq!(
            kong.send(kong.request("GET", "/").bearer(&token)).await.status,
            status,
            "{groups} {teams}"
        );
    }
}
