//! What is known of the providers that `openid-connect` asks, and the keys by which the gate proves to them who it is.

use std::{collections::BTreeMap, sync::Arc};

use http::StatusCode;
use rp::provider::Provider;
use serde_json::{Value, json};

use crate::{
    answer::Answer, declared::stable_id, dialect::Dialect, entities::Kind, plugins::openid_connect::discovery,
};

const PLUGIN: &str = "openid-connect";
/// The name that Kong has for its entities of this kind.
const ISSUERS: &str = "oic_issuers";

/// What is told of a provider.
struct Issuer {
    /// As plugins name it.
    names: Vec<String>,
    value: Value,
    providers: Vec<Arc<Provider>>,
}

/// `GET /openid-connect/issuers`
pub(super) fn list(dialect: &Dialect) -> Answer {
    let data: Vec<Value> = known(dialect).into_values().map(|issuer| issuer.value).collect();
    Answer::ok(json!({"data": data, "next": null}))
}

/// `GET /openid-connect/issuers/{issuer-or-id}`
pub(super) fn one(dialect: &Dialect, key: &str) -> Result<Answer, Answer> {
    find(dialect, key).map(|issuer| Answer::ok(issuer.value))
}

/// `DELETE` of one or all of them: what is known is asked for anew, and serves until the answer has come.
pub(super) async fn forget(dialect: &Dialect, key: Option<&str>) -> Result<Answer, Answer> {
    let found = match key {
        Some(key) => vec![find(dialect, key)?],
        None => known(dialect).into_values().collect(),
    };
    for provider in found.into_iter().flat_map(|issuer| issuer.providers) {
        provider.rediscover().await;
    }
    Ok(Answer::nothing())
}

/// `GET /openid-connect/jwks`
pub(super) fn own_keys(dialect: &Dialect) -> Answer {
    let keys = serde_json::from_str(&dialect.own_keys().keys.jwks());
    Answer::ok(keys.unwrap_or_else(|_| json!({"keys": []})))
}

/// `DELETE /openid-connect/jwks`
pub(super) async fn replace_own_keys(dialect: &Dialect) -> Result<Answer, Answer> {
    match (dialect.own_keys().replace)().await {
        Ok(()) => Ok(Answer::nothing()),
        Err(error) => {
            tracing::error!(%error, "the gate's own keys are not replaced");
            Err(Answer::message(StatusCode::INTERNAL_SERVER_ERROR, "An unexpected error occurred"))
        }
    }
}

fn find(dialect: &Dialect, key: &str) -> Result<Issuer, Answer> {
    let by_id = known(dialect);
    let named = |(id, issuer): (String, Issuer)| {
        (id == key || issuer.names.iter().any(|name| name == key)).then_some(issuer)
    };
    by_id.into_iter().find_map(named).ok_or_else(Answer::not_found)
}

/// The providers of all plugins that have been discovered, by their ids.
fn known(dialect: &Dialect) -> BTreeMap<String, Issuer> {
    let mut found: BTreeMap<String, Issuer> = BTreeMap::new();
    let in_use = dialect.providers().in_use();
    let catalog = dialect.read();
    let is_one = |value: &Value| value.get("name").and_then(Value::as_str) == Some(PLUGIN);
    for plugin in catalog.list(Kind::Plugin).filter(|plugin| is_one(&plugin.value)) {
        let Some(written) = plugin.value.pointer("/config/issuer").and_then(Value::as_str) else { continue };
        let Ok((url, _)) = discovery(written) else { continue };
        let id = stable_id(ISSUERS, &url);
        if let Some(issuer) = found.get_mut(&id) {
            issuer.names.push(written.to_owned());
            continue;
        }
        let providers: Vec<_> =
            in_use.iter().filter(|provider| provider.discovery_url() == url).cloned().collect();
        let metadata = providers.iter().find_map(|provider| provider.metadata());
        let Some(metadata) = metadata else { continue };
        let keys = providers.iter().find_map(|provider| provider.keys());
        let set = keys.as_ref().and_then(|keys| serde_json::from_slice::<Value>(&keys.document).ok());
        let value = json!({
            "id": id,
            "issuer": url,
            "created_at": keys.as_ref().map(|keys| keys.fetched_at.secs()),
            "configuration": &*metadata,
            "keys": set.as_ref().and_then(|set| set.get("keys")).unwrap_or(&json!([])),
        });
        let names = vec![url, written.to_owned(), metadata.issuer.clone()];
        found.insert(id, Issuer { names, value, providers });
    }
    found
}
