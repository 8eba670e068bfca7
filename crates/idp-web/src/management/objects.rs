//! Clients, APIs, client grants, connections.

use idp::{
    management::{ClientSearch, ManagementError},
    model::{Client, ResourceServer, SubjectType, fold},
    repository::{ClientGrantFilter, Page, UserFilter},
};
use serde_json::{Value, json};

use super::{Call, Done, Failed, invalid_body, listing::parameter};

/// Clients whose status one call may change.
const MAX_CHANGES: usize = 50;

impl Call<'_> {
    pub(super) async fn list_clients(self) -> Result<Done, Failed> {
        let filters = ["is_global", "is_first_party", "app_type", "external_client_id"];
        let listing = self.listing(&[&filters[..], &["q"]].concat())?;
        if let Some(q) = listing.filter("q") {
            if filters.iter().any(|other| listing.filter(other).is_some()) {
                return Err(parameter("Cannot be combined with other filters", "q").into());
            }
            if !listing.is_by_checkpoint() {
                return Err(parameter("Needs the paging parameters from and take", "q").into());
            }
            let found = self.management().clients.search(self.site, &ClientSearch::parse(q)?).await?;
            let items = found.iter().map(|client| self.shown_client(client)).collect();
            return Ok(Done::Found(listing.answer_from_all("clients", items)));
        }
        if listing.filter("external_client_id").is_some() {
            // No client is known by a document elsewhere.
            return Ok(Done::Found(listing.answer_from_all("clients", Vec::new())));
        }
        let (global, first_party) = (listing.flag("is_global")?, listing.flag("is_first_party")?);
        let app_types = listing.filter("app_type");
        if global.is_none() && first_party.is_none() && app_types.is_none() {
            let found = self.management().clients.list(self.site, listing.page()).await?;
            let items = found.items.iter().map(|client| self.shown_client(client)).collect();
            return Ok(Done::Found(listing.answer("clients", items, found.total)));
        }
        let found = self.management().clients.list(self.site, Page::ALL).await?;
        let fits = |client: &&Client| {
            let app_type = client.app_type.and_then(|kind| serde_json::to_value(kind).ok());
            let app_type = app_type.as_ref().and_then(Value::as_str).unwrap_or_default();
            global.is_none_or(|wanted| client.global == wanted)
                && first_party.is_none_or(|wanted| client.is_first_party == wanted)
                && app_types.is_none_or(|wanted| wanted.split(',').any(|wanted| wanted == app_type))
        };
        let items = found.items.iter().filter(fits).map(|client| self.shown_client(client)).collect();
        Ok(Done::Found(listing.answer_from_all("clients", items)))
    }

    pub(super) async fn create_client(mut self) -> Result<Done, Failed> {
        let body = self.new_object(&["name"])?;
        let client = self.management().clients.create(self.site, body).await?;
        Ok(Done::Created(Value::Object(client.to_wire(&self.site.tenant.name, true))))
    }

    pub(super) async fn read_client(self) -> Result<Done, Failed> {
        let listing = self.listing(&[])?;
        let client = self.management().clients.read(self.site, self.id()).await?;
        Ok(Done::Found(listing.select(self.shown_client(&client))))
    }

    pub(super) async fn update_client(mut self) -> Result<Done, Failed> {
        let body = self.object()?;
        if body.contains_key("client_secret") {
            self.caller.require_any(&["update:client_keys"])?;
        }
        let client = self.management().clients.update(self.site, self.id(), body).await?;
        Ok(Done::Found(self.shown_client(&client)))
    }

    pub(super) async fn delete_client(self) -> Result<Done, Failed> {
        self.management().clients.delete(self.site, self.id()).await?;
        Ok(Done::Gone)
    }

    pub(super) async fn rotate_secret(self) -> Result<Done, Failed> {
        let client = self.management().clients.rotate_secret(self.site, self.id()).await?;
        Ok(Done::Found(Value::Object(client.to_wire(&self.site.tenant.name, true))))
    }

    /// Who may read keys sees the secret.
    fn shown_client(&self, client: &Client) -> Value {
        Value::Object(client.to_wire(&self.site.tenant.name, self.caller.has("read:client_keys")))
    }

    pub(super) async fn list_apis(self) -> Result<Done, Failed> {
        let listing = self.listing(&["identifiers"])?;
        if listing.filter("identifiers").is_some() {
            let found = self.management().resource_servers.list(self.site, Page::ALL).await?;
            let named = found.items.iter().filter(|api| listing.admits("identifiers", &api.identifier));
            let items = named.map(|api| self.shown_api(api)).collect();
            return Ok(Done::Found(listing.answer_from_all("resource_servers", items)));
        }
        let found = self.management().resource_servers.list(self.site, listing.page()).await?;
        let items = found.items.iter().map(|api| self.shown_api(api)).collect();
        Ok(Done::Found(listing.answer("resource_servers", items, found.total)))
    }

    pub(super) async fn create_api(mut self) -> Result<Done, Failed> {
        let body = self.new_object(&["identifier"])?;
        let api = self.management().resource_servers.create(self.site, body).await?;
        Ok(Done::Created(Value::Object(api.to_wire(true))))
    }

    pub(super) async fn read_api(self) -> Result<Done, Failed> {
        let listing = self.listing(&[])?;
        let api = self.management().resource_servers.read(self.site, self.id()).await?;
        Ok(Done::Found(listing.select(self.shown_api(&api))))
    }

    pub(super) async fn update_api(mut self) -> Result<Done, Failed> {
        let body = self.object()?;
        let api = self.management().resource_servers.update(self.site, self.id(), body).await?;
        Ok(Done::Found(self.shown_api(&api)))
    }

    pub(super) async fn delete_api(self) -> Result<Done, Failed> {
        self.management().resource_servers.delete(self.site, self.id()).await?;
        Ok(Done::Gone)
    }

    /// Who may set the signing secret may see it; who may only read could forge tokens with it.
    fn shown_api(&self, api: &ResourceServer) -> Value {
        Value::Object(api.to_wire(self.caller.has("update:resource_servers")))
    }

    pub(super) async fn list_grants(self) -> Result<Done, Failed> {
        let filters = ["client_id", "audience", "subject_type", "allow_any_organization", "default_for"];
        let listing = self.listing(&filters)?;
        let for_groups = match listing.filter("default_for") {
            None => false,
            Some("third_party_clients") => true,
            Some(_) => {
                let text = "No enum match, must be one of: third_party_clients";
                return Err(parameter(text, "default_for").into());
            }
        };
        if for_groups || listing.flag("allow_any_organization")? == Some(true) {
            // Every grant is one client's, and none is an organization's.
            return Ok(Done::Found(listing.answer_from_all("client_grants", Vec::new())));
        }
        let subject_type = match listing.filter("subject_type") {
            None => None,
            Some("client") => Some(SubjectType::Client),
            Some("user") => Some(SubjectType::User),
            Some(_) => {
                return Err(parameter("No enum match, must be one of: client, user", "subject_type").into());
            }
        };
        let (client_id, audience) = (listing.filter("client_id"), listing.filter("audience"));
        let filter = ClientGrantFilter { client_id, audience, subject_type };
        let found = self.management().client_grants.list(self.site, filter, listing.page()).await?;
        let items = found.items.iter().map(|grant| Value::Object(grant.to_wire())).collect();
        Ok(Done::Found(listing.answer("client_grants", items, found.total)))
    }

    pub(super) async fn create_grant(mut self) -> Result<Done, Failed> {
        let body = self.new_object(&["client_id", "audience"])?;
        let grant = self.management().client_grants.create(self.site, body).await?;
        Ok(Done::Created(Value::Object(grant.to_wire())))
    }

    pub(super) async fn read_grant(self) -> Result<Done, Failed> {
        let listing = self.listing(&[])?;
        let grant = self.management().client_grants.read(self.site, self.id()).await?;
        Ok(Done::Found(listing.select(Value::Object(grant.to_wire()))))
    }

    pub(super) async fn update_grant(mut self) -> Result<Done, Failed> {
        let body = self.object()?;
        let grant = self.management().client_grants.update(self.site, self.id(), body).await?;
        Ok(Done::Found(Value::Object(grant.to_wire())))
    }

    pub(super) async fn delete_grant(self) -> Result<Done, Failed> {
        self.management().client_grants.delete(self.site, self.id()).await?;
        Ok(Done::Gone)
    }

    pub(super) async fn list_connections(self) -> Result<Done, Failed> {
        let listing = self.listing(&["strategy", "name"])?;
        let name = listing.filter("name");
        if listing.filter("strategy").is_none() && name.is_none() {
            let found = self.management().connections.list(self.site, listing.page()).await?;
            let items = found.items.iter().map(|connection| Value::Object(connection.to_wire())).collect();
            return Ok(Done::Found(listing.answer("connections", items, found.total)));
        }
        let found = self.management().connections.list(self.site, Page::ALL).await?;
        let fitting = found.items.iter().filter(|connection| {
            listing.admits("strategy", &connection.strategy)
                && name.is_none_or(|wanted| connection.name == wanted)
        });
        let items = fitting.map(|connection| Value::Object(connection.to_wire())).collect();
        Ok(Done::Found(listing.answer_from_all("connections", items)))
    }

    pub(super) async fn create_connection(mut self) -> Result<Done, Failed> {
        let body = self.new_object(&["name", "strategy"])?;
        let connection = self.management().connections.create(self.site, body).await?;
        Ok(Done::Created(Value::Object(connection.to_wire())))
    }

    pub(super) async fn read_connection(self) -> Result<Done, Failed> {
        let listing = self.listing(&[])?;
        let connection = self.management().connections.read(self.site, self.id()).await?;
        Ok(Done::Found(listing.select(Value::Object(connection.to_wire()))))
    }

    pub(super) async fn update_connection(mut self) -> Result<Done, Failed> {
        let body = self.object()?;
        let connection = self.management().connections.update(self.site, self.id(), body).await?;
        Ok(Done::Found(Value::Object(connection.to_wire())))
    }

    pub(super) async fn delete_connection(self) -> Result<Done, Failed> {
        self.management().connections.delete(self.site, self.id()).await?;
        Ok(Done::Gone)
    }

    pub(super) async fn list_connection_clients(self) -> Result<Done, Failed> {
        // This list has the checkpoint shape whatever is asked.
        let listing = self.listing(&[])?.by_checkpoint();
        let connection = self.management().connections.read(self.site, self.id()).await?;
        let items = connection.enabled_clients.iter().map(|id| json!({ "client_id": id })).collect();
        Ok(Done::Found(listing.answer_from_all("clients", items)))
    }

    /// The connections that a client's users may come from.
    pub(super) async fn list_client_connections(self) -> Result<Done, Failed> {
        let listing = self.listing(&["strategy"])?.by_checkpoint();
        let client = self.management().clients.read(self.site, self.id()).await?;
        let found = self.management().connections.list(self.site, Page::ALL).await?;
        let open = found.items.iter().filter(|connection| {
            connection.enabled_clients.contains(&client.client_id)
                && listing.admits("strategy", &connection.strategy)
        });
        let items = open.map(|connection| Value::Object(connection.to_wire())).collect();
        Ok(Done::Found(listing.answer_from_all("connections", items)))
    }

    /// The user of an e-mail address, if the connection has such a one.
    pub(super) async fn delete_connection_user(self) -> Result<Done, Failed> {
        let listing = self.listing(&["email"])?;
        let email = listing.filter("email").filter(|email| !email.is_empty());
        let email = fold(email.ok_or_else(|| parameter("Missing required property", "email"))?);
        let connection = self.management().connections.read(self.site, self.id()).await?;
        let filter =
            UserFilter { connection: Some(&connection.name), email: Some(&email), ..UserFilter::default() };
        let found = self.management().users.list(self.site, filter, Page::ALL).await?;
        for user in found.items {
            self.management().users.delete(self.site, &user.user_id).await?;
        }
        Ok(Done::Gone)
    }

    pub(super) async fn update_connection_clients(mut self) -> Result<Done, Failed> {
        let changes = changes(self.body.take())?;
        self.management().connections.set_clients(self.site, self.id(), &changes).await?;
        Ok(Done::Gone)
    }
}

/// Reads `[{"client_id": …, "status": true}]`.
fn changes(body: Option<Value>) -> Result<Vec<(String, bool)>, ManagementError> {
    let Some(Value::Array(items)) = body else { return Err(invalid_body("Expected type array")) };
    if items.is_empty() || items.len() > MAX_CHANGES {
        return Err(invalid_body(&format!("The array must have between 1 and {MAX_CHANGES} items")));
    }
    let change = |item: &Value| match item {
        Value::Object(object) if object.len() == 2 => {
            let client = object.get("client_id").and_then(Value::as_str)?;
            Some((client.to_owned(), object.get("status").and_then(Value::as_bool)?))
        }
        _ => None,
    };
    let changes: Option<Vec<_>> = items.iter().map(change).collect();
    changes.ok_or_else(|| invalid_body("Every item must have client_id, a string, and status, a boolean"))
}
