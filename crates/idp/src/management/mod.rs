//! `/api/v2`: what administrators do, in Auth0's shapes. The services take the JSON object of the request and give the
//! object for the answer; paths, paging and status lines are the web's.

mod blocks;
mod client_grants;
mod client_search;
pub(crate) mod clients;
mod connections;
mod credentials;
mod error;
mod grants;
mod identities;
mod jobs;
mod logs;
mod overlay;
mod resource_servers;
mod roles;
mod scopes;
mod search;
mod sessions;
mod tenant_flags;
mod tenants;
mod tickets;
mod user_search;
mod users;
mod wording;

pub use client_grants::ClientGrantService;
pub use client_search::ClientSearch;
pub use clients::ClientService;
pub use connections::ConnectionService;
pub use error::ManagementError;
pub use grants::{GrantFilter, GrantService};
pub use jobs::{EXPORT_PATH, ExportOrder, ImportOrder, JobService};
pub use logs::{LogSearch, LogService};
pub use resource_servers::ResourceServerService;
pub use roles::RoleService;
pub use scopes::MANAGEMENT_SCOPES;
pub use sessions::SessionService;
pub use tenants::TenantService;
pub use tickets::TicketService;
pub use user_search::UserSearch;
pub use users::UserService;

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::{AccessClaims, Bearer, EndpointError, Site, idp::Core};

/// A JSON object, as it is sent or received.
pub type Object = Map<String, Value>;

/// The Management API's services.
#[derive(Clone)]
pub struct Management {
    bearer: Bearer,
    /// `/clients`
    pub clients: ClientService,
    /// `/resource-servers`
    pub resource_servers: ResourceServerService,
    /// `/client-grants`
    pub client_grants: ClientGrantService,
    /// `/connections`
    pub connections: ConnectionService,
    /// `/users`
    pub users: UserService,
    /// `/roles`, `/users/{id}/roles` and `/users/{id}/permissions`
    pub roles: RoleService,
    /// `/sessions` and `/refresh-tokens`, also of users
    pub sessions: SessionService,
    /// `/grants`
    pub grants: GrantService,
    /// `/jobs`
    pub jobs: JobService,
    /// `/logs`
    pub logs: LogService,
    /// `/tickets`
    pub tickets: TicketService,
    /// `/tenants/settings`
    pub tenants: TenantService,
}

/// Who calls the Management API.
#[derive(Clone, Debug)]
pub struct Caller(AccessClaims);

impl Management {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self {
            bearer: Bearer::new(core.clone()),
            clients: ClientService::new(core.clone()),
            resource_servers: ResourceServerService::new(core.clone()),
            client_grants: ClientGrantService::new(core.clone()),
            connections: ConnectionService::new(core.clone()),
            users: UserService::new(core.clone()),
            roles: RoleService::new(core.clone()),
            sessions: SessionService::new(core.clone()),
            grants: GrantService::new(core.clone()),
            jobs: JobService::new(core.clone()),
            logs: LogService::new(core.clone()),
            tickets: TicketService::new(core.clone()),
            tenants: TenantService::new(core),
        }
    }

    /// Who the `Authorization` header stands for. Errors are 401 in the Management API's shape.
    pub async fn caller(&self, site: &Site, authorization: Option<&str>) -> Result<Caller, ManagementError> {
        let header = authorization.ok_or(ManagementError::Unauthorized("Missing authentication"))?;
        let malformed = ManagementError::Unauthorized("Bad HTTP authentication header format");
        let token = match header.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
            _ => return Err(malformed),
        };
        let invalid = ManagementError::Unauthorized("Invalid token");
        let claims = match self.bearer.verify(site, token).await {
            Ok(claims) => claims,
            Err(EndpointError::OAuth(_)) => return Err(invalid),
            Err(EndpointError::Internal(error)) => return Err(error.into()),
        };
        let for_here = claims.audiences.iter().any(|audience| site.is_management_audience(audience));
        // Scopes of the Management API are an administrator's: they are granted to clients, never to users.
        if for_here && claims.is_machine() && !claims.opaque { Ok(Caller(claims)) } else { Err(invalid) }
    }
}

impl Caller {
    /// The token behind the call.
    pub fn claims(&self) -> &AccessClaims {
        &self.0
    }

    /// Whether the token has this scope.
    pub fn has(&self, scope: &str) -> bool {
        self.0.scope.contains(scope)
    }

    /// Refuses, with 403 `insufficient_scope`, a token that has none of `scopes`.
    pub fn require_any(&self, scopes: &[&str]) -> Result<(), ManagementError> {
        if scopes.iter().any(|scope| self.has(scope)) {
            return Ok(());
        }
        Err(ManagementError::InsufficientScope(scopes.join(",")))
    }
}
