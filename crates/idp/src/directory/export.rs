use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::{DirectoryError, Document};
use crate::{Idp, Site, model::Permission, repository::Page};

/// A tenant's own objects as a document that [`import`](super::import) takes: no ids and no secrets, and clients by name.
pub async fn export(idp: &Idp, site: &Site) -> Result<Document, DirectoryError> {
    let (tenant, repository) = (&site.tenant.id, idp.repository());
    let clients = repository.clients(tenant, Page::ALL).await?.items;
    let names: HashMap<String, String> =
        clients.iter().map(|client| (client.client_id.clone(), client.name.clone())).collect();
    let name = |id: &str| names.get(id).cloned().unwrap_or_else(|| id.to_owned());
    let mut document = Document::new();
    let settings = serde_json::to_value(&site.tenant.settings).unwrap_or_default();
    document.insert("tenant".to_owned(), without_nulls(settings));
    let own = clients.iter().filter(|client| !client.global).map(|client| {
        let mut wire = client.to_wire(&site.tenant.name, false);
        for member in ["client_id", "tenant", "global"] {
            wire.remove(member);
        }
        // Credentials stay here, and nobody is to be this client without one.
        if let (Some(_), Some(method)) =
            (wire.remove("client_authentication_methods"), client.token_endpoint_auth_method)
        {
            wire.insert("token_endpoint_auth_method".to_owned(), json!(method));
        }
        Value::Object(wire)
    });
    document.insert("clients".to_owned(), own.collect());
    let apis = repository.resource_servers(tenant, Page::ALL).await?.items;
    let servers = apis.iter().filter(|api| !api.is_system).map(|api| {
        let mut wire = api.to_wire(false);
        for member in ["id", "is_system"] {
            wire.remove(member);
        }
        Value::Object(wire)
    });
    document.insert("resourceServers".to_owned(), servers.collect());
    let grants = repository.client_grants(tenant, Default::default(), Page::ALL).await?.items;
    let grants = grants.iter().filter(|grant| names.contains_key(&grant.client_id)).map(|grant| {
        let mut wire = grant.to_wire();
        wire.remove("id");
        wire.insert("client_id".to_owned(), json!(name(&grant.client_id)));
        Value::Object(wire)
    });
    document.insert("clientGrants".to_owned(), grants.collect());
    let connections = repository.connections(tenant, Page::ALL).await?.items;
    let databases = connections.iter().map(|connection| {
        let mut wire = connection.to_wire();
        wire.remove("id");
        let enabled: Vec<String> = connection.enabled_clients.iter().map(|id| name(id)).collect();
        wire.insert("enabled_clients".to_owned(), json!(enabled));
        Value::Object(wire)
    });
    document.insert("databases".to_owned(), databases.collect());
    let mut roles = Vec::new();
    for role in repository.roles(tenant, None, Page::ALL).await?.items {
        let held = repository.role_permissions(tenant, &role.id, Page::ALL).await?.items;
        let permission = |permission: &Permission| {
            json!({
                "permission_name": permission.name, "resource_server_identifier": permission.audience,
            })
        };
        let mut wire = role.to_wire();
        wire.remove("id");
        wire.retain(|_, value| !value.is_null());
        wire.insert("permissions".to_owned(), held.iter().map(permission).collect());
        roles.push(Value::Object(wire));
    }
    document.insert("roles".to_owned(), Value::Array(roles));
    Ok(document)
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(name, value)| (name, without_nulls(value))).collect::<Map<_, _>>())
        }
        other => other,
    }
}
