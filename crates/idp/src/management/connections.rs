use std::sync::Arc;

use serde_json::Value;

use super::{ManagementError, Object, overlay::Rules, wording::invalid};
use crate::{
    RepositoryError, Site,
    idp::Core,
    model::{AuthenticationMethod, Connection, ConnectionOptions},
    repository::{Listing, Page},
};

const RULES: Rules = Rules {
    read_only: &["id", "created_at"],
    merged: &["metadata"],
    unsupported: &[
        "connected_accounts",
        "cross_app_access_requesting_app",
        "cross_app_access_resource_app",
        "show_as_button",
    ],
};

/// Members of `options` that are refused unless they say "off".
const UNSUPPORTED_OPTIONS: [&str; 9] = [
    "attributes",
    "configuration",
    "customScripts",
    "disable_self_service_change_password",
    "non_persistent_attrs",
    "password_options",
    "set_user_root_attributes",
    "upstream_params",
    "userid_attribute",
];

/// Passwords that are remembered at most.
const MAX_HISTORY: usize = 24;

/// Connections. `id` is the id.
#[derive(Clone)]
pub struct ConnectionService {
    core: Arc<Core>,
}

impl ConnectionService {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// One page of them.
    pub async fn list(&self, site: &Site, page: Page) -> Result<Listing<Connection>, ManagementError> {
        Ok(self.core.repository.connections(&site.tenant.id, page).await?)
    }

    /// One of them.
    pub async fn read(&self, site: &Site, id: &str) -> Result<Connection, ManagementError> {
        let found = self.core.repository.connection(&site.tenant.id, id).await?;
        found.filter(|connection| connection.id == id).ok_or(MISSING)
    }

    /// Makes one (201).
    pub async fn create(&self, site: &Site, mut body: Object) -> Result<Connection, ManagementError> {
        tidy(&mut body)?;
        let mut connection =
            RULES.apply(&Connection { strategy: String::new(), ..Connection::default() }, body)?;
        connection.id = format!("con_{}", self.core.random.alphanumeric(16));
        connection.created_at = self.core.clock.now().0;
        if connection.realms.is_empty() {
            connection.realms = vec![connection.name.clone()];
        }
        check(&connection)?;
        self.check_clients(site, &connection.enabled_clients, &[]).await?;
        match self.core.repository.create_connection(&site.tenant.id, &connection).await {
            Err(RepositoryError::Conflict(_)) => Err(ManagementError::Conflict {
                code: "resource_conflict",
                message: "A connection with the same name already exists".to_owned(),
            }),
            made => Ok(made.map(|()| connection)?),
        }
    }

    /// Changes what `body` names; `options` as a whole, as Auth0 does. Name and strategy never change.
    pub async fn update(
        &self,
        site: &Site,
        id: &str,
        mut body: Object,
    ) -> Result<Connection, ManagementError> {
        tidy(&mut body)?;
        let current = self.read(site, id).await?;
        let connection = RULES.apply(&current, body)?;
        if connection.name != current.name || connection.strategy != current.strategy {
            return Err(invalid("name", "Name and strategy cannot be changed"));
        }
        check(&connection)?;
        self.check_clients(site, &connection.enabled_clients, &current.enabled_clients).await?;
        self.save(site, connection).await
    }

    /// Deletes one with its users (204).
    pub async fn delete(&self, site: &Site, id: &str) -> Result<(), ManagementError> {
        let connection = self.read(site, id).await?;
        let deleted = self.core.repository.delete_connection(&site.tenant.id, &connection.id).await?;
        if deleted { Ok(()) } else { Err(MISSING) }
    }

    /// Adds clients (`true`) or removes them (`false`): `PATCH /connections/{id}/clients`.
    pub async fn set_clients(
        &self,
        site: &Site,
        id: &str,
        changes: &[(String, bool)],
    ) -> Result<(), ManagementError> {
        let mut connection = self.read(site, id).await?;
        let added = changes.iter().filter(|(_, enabled)| *enabled).map(|(client_id, _)| client_id.clone());
        self.check_clients(site, &added.collect::<Vec<_>>(), &connection.enabled_clients).await?;
        for (client_id, enabled) in changes {
            connection.enabled_clients.retain(|known| known != client_id);
            if *enabled {
                connection.enabled_clients.push(client_id.clone());
            }
        }
        self.save(site, connection).await.map(|_| ())
    }

    /// Whether each client that is not enabled already exists.
    async fn check_clients(
        &self,
        site: &Site,
        ids: &[String],
        known: &[String],
    ) -> Result<(), ManagementError> {
        for (place, id) in ids.iter().enumerate().filter(|(_, id)| !known.contains(id)) {
            if ids.iter().take(place).any(|other| other == id) {
                continue;
            }
            if self.core.repository.client(&site.tenant.id, id).await?.is_none() {
                return Err(invalid(&format!("enabled_clients[{place}]"), "The client does not exist"));
            }
        }
        Ok(())
    }

    async fn save(&self, site: &Site, connection: Connection) -> Result<Connection, ManagementError> {
        let saved = self.core.repository.update_connection(&site.tenant.id, &connection).await?;
        if saved { Ok(connection) } else { Err(MISSING) }
    }
}

const MISSING: ManagementError = ManagementError::NotFound {
    code: Some("inexistent_connection"),
    message: "The connection does not exist",
};

/// Takes out what says nothing, and refuses what this build cannot do.
fn tidy(body: &mut Object) -> Result<(), ManagementError> {
    let authentication = body.shift_remove("authentication");
    let active = authentication.as_ref().and_then(|members| members.get("active")).and_then(Value::as_bool);
    if active == Some(false) {
        return Err(ManagementError::Unsupported("authentication.active=false is not supported.".to_owned()));
    }
    let Some(Value::Object(options)) = body.get_mut("options") else { return Ok(()) };
    for name in UNSUPPORTED_OPTIONS {
        let refused = match options.shift_remove(name) {
            None | Some(Value::Null | Value::Bool(false)) => false,
            Some(Value::Object(members)) => !members.is_empty(),
            Some(Value::Array(items)) => !items.is_empty(),
            Some(Value::String(text)) => text != "on_each_login",
            Some(_) => true,
        };
        if refused {
            return Err(ManagementError::Unsupported(format!("The option {name} is not supported.")));
        }
    }
    Ok(())
}

fn check(connection: &Connection) -> Result<(), ManagementError> {
    if connection.strategy.is_empty() {
        return Err(invalid("strategy", "Missing required property: strategy"));
    }
    if connection.strategy != "auth0" {
        let text = format!("The strategy {} is not supported.", connection.strategy);
        return Err(ManagementError::Unsupported(text));
    }
    let inner = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let name = &connection.name;
    if name.is_empty()
        || name.len() > 128
        || !name.chars().all(inner)
        || name.starts_with('-')
        || name.ends_with('-')
    {
        return Err(invalid("name", "Expected letters, digits and inner dashes"));
    }
    let options = &connection.options;
    if options.enabled_database_customization || options.import_mode {
        return Err(ManagementError::Unsupported("Custom databases are not supported.".to_owned()));
    }
    if options.password_complexity_options.min_length.is_some_and(|length| !(1..=128).contains(&length)) {
        return Err(invalid("options.password_complexity_options.min_length", "Expected 1 to 128"));
    }
    if options.password_history.is_some_and(|history| history.size > MAX_HISTORY) {
        return Err(invalid("options.password_history.size", "Expected 0 to 24"));
    }
    check_methods(options)?;
    let lengths = options.validation.username;
    if lengths.is_some_and(|lengths| lengths.min < 1 || lengths.max > 128 || lengths.min > lengths.max) {
        return Err(invalid("options.validation.username", "Expected lengths of 1 to 128"));
    }
    Ok(())
}

/// Passwords are the one way to log in: that cannot be said otherwise.
fn check_methods(options: &ConnectionOptions) -> Result<(), ManagementError> {
    let Some(methods) = &options.authentication_methods else { return Ok(()) };
    let unsupported = |what: &str| {
        let text = format!("The option authentication_methods.{what} is not supported.");
        Err(ManagementError::Unsupported(text))
    };
    let on = |method: Option<AuthenticationMethod>| method.is_some_and(|method| method.enabled);
    let others = [
        ("passkey.enabled=true", on(methods.passkey)),
        ("email_otp.enabled=true", on(methods.email_otp)),
        ("phone_otp.enabled=true", on(methods.phone_otp)),
    ];
    if let Some((what, _)) = others.into_iter().find(|(_, on)| *on) {
        return unsupported(what);
    }
    let Some(password) = &methods.password else { return Ok(()) };
    let is = |value: &Option<String>, only: &str| value.as_deref().is_none_or(|value| value == only);
    if !password.enabled {
        return unsupported("password.enabled=false");
    }
    if !is(&password.api_behavior, "required") {
        return unsupported("password.api_behavior");
    }
    if !is(&password.signup_behavior, "allow") {
        return unsupported("password.signup_behavior");
    }
    Ok(())
}
