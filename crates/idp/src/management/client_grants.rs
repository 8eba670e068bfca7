use std::sync::Arc;

use super::{ManagementError, Object, overlay::Rules, wording::invalid};
use crate::{
    RepositoryError, Site,
    idp::Core,
    model::{ClientGrant, ResourceServer},
    repository::{ClientGrantFilter, Listing, Page},
};

const UNSUPPORTED: &[&str] =
    &["allow_any_organization", "authorization_details_types", "default_for", "organization_usage"];
const CREATE: Rules =
    Rules { read_only: &["id", "created_at", "is_system"], merged: &[], unsupported: UNSUPPORTED };
const UPDATE: Rules = Rules {
    read_only: &["id", "created_at", "is_system", "client_id", "audience", "subject_type"],
    merged: &[],
    unsupported: UNSUPPORTED,
};

/// Client grants.
#[derive(Clone)]
pub struct ClientGrantService {
    core: Arc<Core>,
}

impl ClientGrantService {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// One page of them.
    pub async fn list(
        &self,
        site: &Site,
        filter: ClientGrantFilter<'_>,
        page: Page,
    ) -> Result<Listing<ClientGrant>, ManagementError> {
        let api = self.core.api(site, filter.audience).await?;
        let audience = api.as_ref().map(|api| api.identifier.as_str()).or(filter.audience);
        let filter = ClientGrantFilter { audience, ..filter };
        Ok(self.core.repository.client_grants(&site.tenant.id, filter, page).await?)
    }

    /// One of them.
    pub async fn read(&self, site: &Site, id: &str) -> Result<ClientGrant, ManagementError> {
        self.core.repository.client_grant(&site.tenant.id, id).await?.ok_or(MISSING)
    }

    /// Makes one (201).
    pub async fn create(&self, site: &Site, body: Object) -> Result<ClientGrant, ManagementError> {
        let mut grant = CREATE.apply(&ClientGrant::default(), body)?;
        grant.id = format!("cgr_{}", self.core.random.alphanumeric(16));
        grant.created_at = self.core.clock.now().0;
        let (tenant, repository) = (&site.tenant.id, &self.core.repository);
        if repository.client(tenant, &grant.client_id).await?.is_none_or(|client| client.global) {
            return Err(ManagementError::NotFound {
                code: Some("inexistent_client"),
                message: "The client does not exist",
            });
        }
        let api = self.api(site, &grant).await?;
        // The Management API goes by several names; grants have the one it is registered under.
        grant.audience.clone_from(&api.identifier);
        check(&grant, &api)?;
        match repository.create_client_grant(tenant, &grant).await {
            Err(RepositoryError::Conflict(_)) => Err(ManagementError::Conflict {
                code: "resource_conflict",
                message: "A resource with the given parameters already exists.".to_owned(),
            }),
            made => Ok(made.map(|()| grant)?),
        }
    }

    /// Changes what `body` names.
    pub async fn update(&self, site: &Site, id: &str, body: Object) -> Result<ClientGrant, ManagementError> {
        let grant = UPDATE.apply(&self.read(site, id).await?, body)?;
        check(&grant, &self.api(site, &grant).await?)?;
        if self.core.repository.update_client_grant(&site.tenant.id, &grant).await? {
            Ok(grant)
        } else {
            Err(MISSING)
        }
    }

    /// Deletes one (204).
    pub async fn delete(&self, site: &Site, id: &str) -> Result<(), ManagementError> {
        let deleted = self.core.repository.delete_client_grant(&site.tenant.id, id).await?;
        if deleted { Ok(()) } else { Err(MISSING) }
    }

    async fn api(&self, site: &Site, grant: &ClientGrant) -> Result<ResourceServer, ManagementError> {
        self.core.api(site, Some(&grant.audience)).await?.ok_or(ManagementError::NotFound {
            code: Some("inexistent_resource_server"),
            message: "The resource server does not exist",
        })
    }
}

const MISSING: ManagementError =
    ManagementError::NotFound { code: None, message: "The client grant does not exist" };

fn check(grant: &ClientGrant, api: &ResourceServer) -> Result<(), ManagementError> {
    let known = api.scope_names();
    match grant.scope.iter().position(|scope| !known.contains(scope)) {
        Some(place) => Err(invalid(&format!("scope[{place}]"), "The API has no such scope")),
        None => Ok(()),
    }
}
