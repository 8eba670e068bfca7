use std::{collections::HashMap, sync::Arc};

use serde_json::{Value, json};

use super::{
    ManagementError, Object,
    overlay::Rules,
    wording::{additional, invalid},
};
use crate::{
    RepositoryError, Site,
    idp::Core,
    model::{HeldPermission, Permission, ResourceServer, Role, User, fold},
    repository::{Listing, Page},
};

const RULES: Rules = Rules { read_only: &["id", "created_at"], merged: &[], unsupported: &["owner_id"] };

/// What one call may give or take at most.
const MAX_ITEMS: usize = 1000;
/// Auth0's own limit.
const MAX_ROLES: u64 = 1000;

/// Roles, and what users hold by them or beside them.
#[derive(Clone)]
pub struct RoleService {
    core: Arc<Core>,
}

impl RoleService {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// One page of those whose name contains `name`.
    pub async fn list(
        &self,
        site: &Site,
        name: Option<&str>,
        page: Page,
    ) -> Result<Listing<Role>, ManagementError> {
        let name = name.map(fold);
        Ok(self.core.repository.roles(&site.tenant.id, name.as_deref(), page).await?)
    }

    /// One of them.
    pub async fn read(&self, site: &Site, id: &str) -> Result<Role, ManagementError> {
        self.core.repository.role(&site.tenant.id, id).await?.ok_or(MISSING)
    }

    /// Makes one (200, as Auth0 answers).
    pub async fn create(&self, site: &Site, body: Object) -> Result<Role, ManagementError> {
        let (tenant, repository) = (&site.tenant.id, &self.core.repository);
        let body = without_type(body)?;
        let mut role = RULES.apply(&Role::default(), body)?;
        role.id = format!("rol_{}", self.core.random.alphanumeric(16));
        role.created_at = self.core.clock.now().0;
        check(&role)?;
        if repository.roles(tenant, None, Page { offset: 0, limit: 1 }).await?.total >= MAX_ROLES {
            let text = format!("A tenant has up to {MAX_ROLES} roles.");
            return Err(ManagementError::Unsupported(text));
        }
        match repository.create_role(tenant, &role).await {
            Err(RepositoryError::Conflict(_)) => Err(taken(&role.name)),
            made => Ok(made.map(|()| role)?),
        }
    }

    /// Changes what `body` names.
    pub async fn update(&self, site: &Site, id: &str, body: Object) -> Result<Role, ManagementError> {
        let current = self.read(site, id).await?;
        let role = RULES.apply(&current, without_type(body)?)?;
        check(&role)?;
        match self.core.repository.update_role(&site.tenant.id, &role).await {
            Err(RepositoryError::Conflict(_)) => Err(taken(&role.name)),
            Ok(false) => Err(MISSING),
            done => Ok(done.map(|_| role)?),
        }
    }

    /// Deletes one (200), and with it what it gave.
    pub async fn delete(&self, site: &Site, id: &str) -> Result<(), ManagementError> {
        if self.core.repository.delete_role(&site.tenant.id, id).await? { Ok(()) } else { Err(MISSING) }
    }

    /// The permissions of a role.
    pub async fn permissions(
        &self,
        site: &Site,
        role: &str,
        page: Page,
    ) -> Result<Listing<Value>, ManagementError> {
        self.read(site, role).await?;
        let found = self.core.repository.role_permissions(&site.tenant.id, role, page).await?;
        let apis = self.apis(site).await?;
        let items = found.items.iter().map(|permission| Value::Object(shown(permission, &apis))).collect();
        Ok(Listing { items, total: found.total })
    }

    /// Gives a role permissions (201).
    pub async fn add_permissions(
        &self,
        site: &Site,
        role: &str,
        body: Object,
    ) -> Result<(), ManagementError> {
        let permissions = self.existing(site, read_permissions(body)?).await?;
        let given = self.core.repository.add_role_permissions(&site.tenant.id, role, &permissions).await?;
        if given { Ok(()) } else { Err(MISSING) }
    }

    /// Takes permissions from a role (204).
    pub async fn remove_permissions(
        &self,
        site: &Site,
        role: &str,
        body: Object,
    ) -> Result<(), ManagementError> {
        let permissions = read_permissions(body)?;
        self.read(site, role).await?;
        Ok(self.core.repository.remove_role_permissions(&site.tenant.id, role, &permissions).await?)
    }

    /// Who has a role.
    pub async fn users(&self, site: &Site, role: &str, page: Page) -> Result<Listing<User>, ManagementError> {
        self.read(site, role).await?;
        Ok(self.core.repository.role_users(&site.tenant.id, role, page).await?)
    }

    /// Gives a role to users (200).
    pub async fn add_users(&self, site: &Site, role: &str, body: Object) -> Result<(), ManagementError> {
        let users = read_ids(body, "users")?;
        self.read(site, role).await?;
        self.assign(site, &users, &[role.to_owned()]).await
    }

    /// The roles of a user.
    pub async fn of_user(
        &self,
        site: &Site,
        user: &str,
        page: Page,
    ) -> Result<Listing<Role>, ManagementError> {
        self.user_exists(site, user).await?;
        Ok(self.core.repository.user_roles(&site.tenant.id, user, page).await?)
    }

    /// Gives a user roles (204).
    pub async fn add_to_user(&self, site: &Site, user: &str, body: Object) -> Result<(), ManagementError> {
        let roles = read_ids(body, "roles")?;
        self.user_exists(site, user).await?;
        self.assign(site, &[user.to_owned()], &roles).await
    }

    /// Takes roles from a user (204).
    pub async fn remove_from_user(
        &self,
        site: &Site,
        user: &str,
        body: Object,
    ) -> Result<(), ManagementError> {
        let roles = read_ids(body, "roles")?;
        self.user_exists(site, user).await?;
        Ok(self.core.repository.unassign_roles(&site.tenant.id, user, &roles).await?)
    }

    /// What a user holds, with why.
    pub async fn held_by(&self, site: &Site, user: &str) -> Result<Vec<Value>, ManagementError> {
        self.user_exists(site, user).await?;
        let held = self.core.repository.held_permissions(&site.tenant.id, user).await?;
        let apis = self.apis(site).await?;
        let shown = |held: &HeldPermission| {
            let mut wire = shown(&held.permission, &apis);
            wire.insert("sources".to_owned(), Value::Array(held.sources()));
            Value::Object(wire)
        };
        Ok(held.iter().map(shown).collect())
    }

    /// Gives a user permissions without a role (201).
    pub async fn add_permissions_to_user(
        &self,
        site: &Site,
        user: &str,
        body: Object,
    ) -> Result<(), ManagementError> {
        let permissions = self.existing(site, read_permissions(body)?).await?;
        let given = self.core.repository.add_user_permissions(&site.tenant.id, user, &permissions).await?;
        if given { Ok(()) } else { Err(NO_USER) }
    }

    /// Takes permissions from a user that were given without a role (204).
    pub async fn remove_permissions_from_user(
        &self,
        site: &Site,
        user: &str,
        body: Object,
    ) -> Result<(), ManagementError> {
        let permissions = read_permissions(body)?;
        self.user_exists(site, user).await?;
        Ok(self.core.repository.remove_user_permissions(&site.tenant.id, user, &permissions).await?)
    }

    async fn assign(&self, site: &Site, users: &[String], roles: &[String]) -> Result<(), ManagementError> {
        let now = self.core.clock.now().0;
        if self.core.repository.assign_roles(&site.tenant.id, users, roles, now).await? {
            return Ok(());
        }
        for user in users {
            self.user_exists(site, user).await?;
        }
        Err(MISSING)
    }

    async fn user_exists(&self, site: &Site, user: &str) -> Result<(), ManagementError> {
        self.core.repository.user(&site.tenant.id, user).await?.map(|_| ()).ok_or(NO_USER)
    }

    /// What of these the APIs have; all of it, or an error. The Management API's scopes are granted to clients, never
    /// to users.
    async fn existing(
        &self,
        site: &Site,
        permissions: Vec<Permission>,
    ) -> Result<Vec<Permission>, ManagementError> {
        let apis = self.apis(site).await?;
        for (place, Permission { audience, name }) in permissions.iter().enumerate() {
            let api = apis.get(audience.as_str()).ok_or(NO_API)?;
            if api.is_system {
                let text = "Scopes of the Management API cannot be given to users.";
                return Err(ManagementError::Unsupported(text.to_owned()));
            }
            if !api.scopes.iter().any(|scope| scope.value == *name) {
                let member = format!("permissions[{place}].permission_name");
                return Err(invalid(&member, "The resource server has no such permission"));
            }
        }
        Ok(permissions)
    }

    async fn apis(&self, site: &Site) -> Result<HashMap<String, ResourceServer>, ManagementError> {
        let apis = self.core.repository.resource_servers(&site.tenant.id, Page::ALL).await?;
        Ok(apis.items.into_iter().map(|api| (api.identifier.clone(), api)).collect())
    }
}

const MISSING: ManagementError =
    ManagementError::NotFound { code: Some("inexistent_role"), message: "The role does not exist." };
const NO_USER: ManagementError =
    ManagementError::NotFound { code: Some("inexistent_user"), message: "The user does not exist." };
const NO_API: ManagementError = ManagementError::NotFound {
    code: Some("inexistent_resource_server"),
    message: "The resource server does not exist",
};

fn taken(name: &str) -> ManagementError {
    let message = format!("A role with the name {name} already exists.");
    ManagementError::Conflict { code: "resource_conflict", message }
}

/// Auth0 has two types of roles; organizations' own do not exist here.
fn without_type(mut body: Object) -> Result<Object, ManagementError> {
    match body.shift_remove("type") {
        None | Some(Value::Null) => Ok(body),
        Some(Value::String(kind)) if kind == "tenant" => Ok(body),
        Some(Value::String(kind)) if kind == "organization" => {
            Err(ManagementError::Unsupported("Roles of organizations are not supported.".to_owned()))
        }
        Some(_) => Err(invalid("type", "No enum match, must be one of: tenant, organization")),
    }
}

fn check(role: &Role) -> Result<(), ManagementError> {
    if role.name.trim().is_empty() || role.name.chars().count() > 50 || role.name.contains(['<', '>']) {
        return Err(invalid("name", "Expected 1 to 50 characters without < and >"));
    }
    if role.description.as_ref().is_some_and(|text| text.chars().count() > 255 || text.contains(['<', '>'])) {
        return Err(invalid("description", "Expected up to 255 characters without < and >"));
    }
    Ok(())
}

fn shown(permission: &Permission, apis: &HashMap<String, ResourceServer>) -> Object {
    let api = apis.get(&permission.audience);
    let scope = api.and_then(|api| api.scopes.iter().find(|scope| scope.value == permission.name));
    let mut wire = Object::new();
    wire.insert("permission_name".to_owned(), json!(permission.name));
    wire.insert("description".to_owned(), json!(scope.and_then(|scope| scope.description.as_ref())));
    wire.insert("resource_server_name".to_owned(), json!(api.map(|api| &api.name)));
    wire.insert("resource_server_identifier".to_owned(), json!(permission.audience));
    wire
}

/// Takes the one list of a body that has nothing else.
fn only_list(mut body: Object, member: &str) -> Result<Vec<Value>, ManagementError> {
    let list = body.shift_remove(member);
    if let Some(name) = body.keys().next() {
        return Err(additional(name));
    }
    match list {
        Some(Value::Array(items)) if (1..=MAX_ITEMS).contains(&items.len()) => Ok(items),
        Some(Value::Array(_)) => Err(invalid(member, &format!("Expected 1 to {MAX_ITEMS} items"))),
        Some(_) => Err(invalid(member, "Expected type array")),
        None => Err(invalid(member, &format!("Missing required property: {member}"))),
    }
}

fn read_ids(body: Object, member: &str) -> Result<Vec<String>, ManagementError> {
    let id = |item: Value| match item {
        Value::String(id) if !id.is_empty() && id.len() <= 512 => Ok(id),
        _ => Err(invalid(member, "Expected ids, each a string")),
    };
    only_list(body, member)?.into_iter().map(id).collect()
}

/// `{"permissions": [{"permission_name": …, "resource_server_identifier": …}]}`. What a list of permissions has beside is
/// accepted, so that what was read can be sent.
fn read_permissions(body: Object) -> Result<Vec<Permission>, ManagementError> {
    const SHOWN: [&str; 3] = ["description", "resource_server_name", "sources"];
    let permission = |item: Value| {
        let Value::Object(mut item) = item else {
            return Err(invalid("permissions", "Expected objects in the array"));
        };
        let mut text = |name: &str| match item.shift_remove(name) {
            Some(Value::String(text)) if !text.is_empty() && text.len() <= 1024 => Ok(text),
            _ => Err(invalid(&format!("permissions.{name}"), "Expected a string")),
        };
        let permission =
            Permission { name: text("permission_name")?, audience: text("resource_server_identifier")? };
        match item.keys().find(|name| !SHOWN.contains(&name.as_str())) {
            Some(name) => Err(additional(name)),
            None => Ok(permission),
        }
    };
    only_list(body, "permissions")?.into_iter().map(permission).collect()
}
