use std::collections::HashMap;

use serde_json::{Map, Value};

use super::{DirectoryError, Document, Imported, NOT_HERE};
use crate::{
    Idp, IdpError, RepositoryError, Site,
    management::{Management, ManagementError, Object},
    model::LOCALES,
    repository::{ClientGrantFilter, Page},
};

/// Things of one kind.
const MAX_THINGS: usize = 10_000;

/// Brings a tenant to what a document says of it.
///
/// # Errors
///
/// At the first thing that is refused, by its place.
pub async fn import(idp: &Idp, site: &Site, document: Document) -> Result<Imported, DirectoryError> {
    let mut run = Run { idp, site, done: Imported::default() };
    run.all(document).await?;
    Ok(run.done)
}

struct Run<'a> {
    idp: &'a Idp,
    site: &'a Site,
    done: Imported,
}

impl Run<'_> {
    /// In the order in which things need one another.
    async fn all(&mut self, mut document: Document) -> Result<(), DirectoryError> {
        for kind in NOT_HERE {
            if document.shift_remove(*kind).is_some_and(|value| !is_empty(&value)) {
                self.done.left_out.push(format!("{kind} are not supported"));
            }
        }
        let mut take = |kind: &str| things(&mut document, kind);
        let (apis, clients) = (take("resourceServers")?, take("clients")?);
        let mut connections = take("databases")?;
        connections.extend(take("connections")?);
        let (grants, roles) = (take("clientGrants")?, take("roles")?);
        let tenant = document.shift_remove("tenant").filter(|value| !is_empty(value));
        if let Some(kind) = document.keys().next() {
            let reason = "is no kind of thing that is known here".to_owned();
            return Err(DirectoryError::Shape { place: kind.clone(), reason });
        }
        for (place, api) in apis {
            self.api(place, api).await?;
        }
        for (place, client) in clients {
            self.client(place, client).await?;
        }
        for (place, connection) in connections {
            self.connection(place, connection).await?;
        }
        for (place, grant) in grants {
            self.grant(place, grant).await?;
        }
        for (place, role) in roles {
            self.role(place, role).await?;
        }
        match tenant {
            None => Ok(()),
            Some(Value::Object(settings)) => self.tenant(settings).await,
            Some(_) => Err(shape("tenant", "must be a mapping")),
        }
    }

    fn management(&self) -> &Management {
        &self.idp.management
    }

    async fn api(&mut self, place: String, mut body: Object) -> Result<(), DirectoryError> {
        let identifier = text(&body, "identifier").ok_or_else(|| shape(&place, "needs an identifier"))?;
        body.shift_remove("id");
        if self.site.is_management_audience(&identifier)
            || body.shift_remove("is_system") == Some(true.into())
        {
            self.done.left_out.push(format!("{place} is the provider's own"));
            return Ok(());
        }
        let apis = &self.management().resource_servers;
        let outcome = match apis.read(self.site, &identifier).await {
            Ok(known) => {
                body.shift_remove("identifier");
                apis.update(self.site, &known.id, body).await.map(|_| false)
            }
            Err(ManagementError::NotFound { .. }) => apis.create(self.site, body).await.map(|_| true),
            Err(error) => Err(error),
        };
        self.note(place, outcome)
    }

    async fn client(&mut self, place: String, mut body: Object) -> Result<(), DirectoryError> {
        let name = text(&body, "name").ok_or_else(|| shape(&place, "needs a name"))?;
        for own in ["client_id", "tenant", "global", "signing_keys", "callback_url_template"] {
            body.shift_remove(own);
        }
        let known = self.clients().await?;
        let clients = &self.management().clients;
        let outcome = match known.get(&name) {
            Some(id) => clients.update(self.site, id, body).await.map(|_| false),
            None => clients.create(self.site, body).await.map(|_| true),
        };
        self.note(place, outcome)
    }

    async fn connection(&mut self, place: String, mut body: Object) -> Result<(), DirectoryError> {
        let name = text(&body, "name").ok_or_else(|| shape(&place, "needs a name"))?;
        body.shift_remove("id");
        let clients = self.clients().await?;
        if let Some(Value::Array(enabled)) = body.get_mut("enabled_clients") {
            for client in enabled {
                name_to_id(client, &clients)
                    .map_err(|name| shape(&place, &format!("enables the unknown client {name}")))?;
            }
        }
        let known = self.idp.repository().connection(&self.site.tenant.id, &name).await?;
        let known = known.filter(|known| known.name == name);
        let connections = &self.management().connections;
        let outcome = match known {
            Some(known) => {
                body.shift_remove("name");
                body.shift_remove("strategy");
                connections.update(self.site, &known.id, body).await.map(|_| false)
            }
            None => connections.create(self.site, body).await.map(|_| true),
        };
        self.note(place, outcome)
    }

    async fn grant(&mut self, place: String, mut body: Object) -> Result<(), DirectoryError> {
        body.shift_remove("id");
        let clients = self.clients().await?;
        let client = body.get_mut("client_id").ok_or_else(|| shape(&place, "needs a client_id"))?;
        name_to_id(client, &clients)
            .map_err(|name| shape(&place, &format!("is for the unknown client {name}")))?;
        let client = text(&body, "client_id").unwrap_or_default();
        let audience = text(&body, "audience").ok_or_else(|| shape(&place, "needs an audience"))?;
        let filter = ClientGrantFilter {
            client_id: Some(&client),
            audience: Some(&audience),
            ..ClientGrantFilter::default()
        };
        let grants = &self.management().client_grants;
        let wanted = text(&body, "subject_type").unwrap_or_else(|| "client".to_owned());
        let outcome = match grants.list(self.site, filter, Page::ALL).await {
            Ok(found) => {
                let same = found.items.into_iter().find(|grant| {
                    serde_json::to_value(grant.subject_type).is_ok_and(|kind| kind == wanted.as_str())
                });
                match same {
                    Some(known) => {
                        for fixed in ["client_id", "audience", "subject_type"] {
                            body.shift_remove(fixed);
                        }
                        grants.update(self.site, &known.id, body).await.map(|_| false)
                    }
                    None => grants.create(self.site, body).await.map(|_| true),
                }
            }
            Err(error) => Err(error),
        };
        self.note(place, outcome)
    }

    async fn role(&mut self, place: String, mut body: Object) -> Result<(), DirectoryError> {
        let name = text(&body, "name").ok_or_else(|| shape(&place, "needs a name"))?;
        body.shift_remove("id");
        let permissions = body.shift_remove("permissions").filter(|value| !is_empty(value));
        let (tenant, roles) = (&self.site.tenant.id, &self.management().roles);
        let known = self.idp.repository().roles(tenant, None, Page::ALL).await?.items;
        let known = known.into_iter().find(|role| role.name == name);
        let outcome = match &known {
            Some(known) => roles.update(self.site, &known.id, body).await.map(|role| (role.id, false)),
            None => roles.create(self.site, body).await.map(|role| (role.id, true)),
        };
        let (id, made) = match outcome {
            Ok(done) => done,
            Err(error) => return self.note(place, Err(error)),
        };
        let outcome = match permissions {
            None => Ok(made),
            Some(permissions) => {
                // The list is what the role holds, no more.
                let held = self.idp.repository().role_permissions(tenant, &id, Page::ALL).await?.items;
                self.idp.repository().remove_role_permissions(tenant, &id, &held).await?;
                let body = Map::from_iter([("permissions".to_owned(), permissions)]);
                roles.add_permissions(self.site, &id, body).await.map(|()| made)
            }
        };
        self.note(place, outcome)
    }

    async fn tenant(&mut self, mut settings: Object) -> Result<(), DirectoryError> {
        for script in ["sandbox_version", "sandbox_versions_available", "legacy_sandbox_version"] {
            if settings.shift_remove(script).is_some() {
                self.done.left_out.push(format!("tenant.{script}: there are no scripts"));
            }
        }
        if let Some(Value::Array(locales)) = settings.get_mut("enabled_locales") {
            locales.retain(|tag| {
                let known = tag.as_str().is_none_or(|tag| LOCALES.contains(&tag));
                if !known {
                    self.done.left_out.push(format!("tenant.enabled_locales: there are no pages in {tag}"));
                }
                known
            });
            // As Auth0 has it: at least one.
            if locales.is_empty() {
                settings.shift_remove("enabled_locales");
            }
        }
        let outcome = self.management().tenants.update(self.site, settings).await.map(|_| false);
        self.note("tenant".to_owned(), outcome)
    }

    /// Clients by name. Of several with one name the first counts.
    async fn clients(&self) -> Result<HashMap<String, String>, DirectoryError> {
        let found = self.idp.repository().clients(&self.site.tenant.id, Page::ALL).await?;
        let mut clients = HashMap::new();
        for client in found.items.into_iter().filter(|client| !client.global) {
            clients.entry(client.name).or_insert(client.client_id);
        }
        Ok(clients)
    }

    fn note(&mut self, place: String, outcome: Result<bool, ManagementError>) -> Result<(), DirectoryError> {
        match outcome {
            Ok(true) => self.done.created += 1,
            Ok(false) => self.done.updated += 1,
            Err(ManagementError::Internal(error)) => return Err(error.into()),
            Err(error) => return Err(DirectoryError::Refused { place, error }),
        }
        Ok(())
    }
}

impl From<RepositoryError> for DirectoryError {
    fn from(error: RepositoryError) -> Self {
        Self::Internal(IdpError::from(error))
    }
}

fn shape(place: &str, reason: &str) -> DirectoryError {
    DirectoryError::Shape { place: place.to_owned(), reason: reason.to_owned() }
}

/// The mappings of a list, with their places.
fn things(document: &mut Document, kind: &str) -> Result<Vec<(String, Object)>, DirectoryError> {
    let items = match document.shift_remove(kind) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(items)) if items.len() <= MAX_THINGS => items,
        Some(_) => return Err(shape(kind, &format!("must be a list of up to {MAX_THINGS} items"))),
    };
    let thing = |(number, item): (usize, Value)| match item {
        Value::Object(body) => {
            let named = text(&body, "name").or_else(|| text(&body, "identifier"));
            let named: String = named.unwrap_or_default().chars().take(60).collect();
            Ok((format!("{kind}[{number}] ({named})"), body))
        }
        _ => Err(shape(&format!("{kind}[{number}]"), "must be a mapping")),
    };
    items.into_iter().enumerate().map(thing).collect()
}

fn text(body: &Object, name: &str) -> Option<String> {
    body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// Puts the id of a client in the place of its name; an id that exists stays.
fn name_to_id(value: &mut Value, clients: &HashMap<String, String>) -> Result<(), String> {
    let Some(name) = value.as_str() else { return Err("that is no text".to_owned()) };
    if clients.values().any(|id| id == name) {
        return Ok(());
    }
    match clients.get(name) {
        Some(id) => {
            *value = Value::String(id.clone());
            Ok(())
        }
        None => Err(name.chars().take(60).collect()),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}
