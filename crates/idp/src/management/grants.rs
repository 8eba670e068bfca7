use std::sync::Arc;

use serde_json::{Value, json};

use super::ManagementError;
use crate::{
    Site,
    idp::Core,
    model::Consent,
    repository::{Listing, Page},
};

/// `/grants`: what users let clients do.
#[derive(Clone)]
pub struct GrantService {
    core: Arc<Core>,
}

/// Which grants are asked for. Everything that is set must fit.
#[derive(Clone, Copy, Debug, Default)]
pub struct GrantFilter<'a> {
    /// Of this user.
    pub user_id: Option<&'a str>,
    /// To this client.
    pub client_id: Option<&'a str>,
    /// For this API.
    pub audience: Option<&'a str>,
}

impl GrantService {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// One page of them.
    pub async fn list(
        &self,
        site: &Site,
        filter: GrantFilter<'_>,
        page: Page,
    ) -> Result<Listing<Value>, ManagementError> {
        let (tenant, repository) = (&site.tenant.id, &self.core.repository);
        if filter.client_id.is_none() && filter.audience.is_none() {
            let found = repository.consents(tenant, filter.user_id, page).await?;
            let items = found.items.iter().map(shown).collect();
            return Ok(Listing { items, total: found.total });
        }
        let found = repository.consents(tenant, filter.user_id, Page::ALL).await?;
        let fits = |consent: &&Consent| {
            filter.client_id.is_none_or(|wanted| consent.client_id == wanted)
                && filter.audience.is_none_or(|wanted| consent.audience == wanted)
        };
        let fitting: Vec<Value> = found.items.iter().filter(fits).map(shown).collect();
        let total = fitting.len() as u64;
        let skip = usize::try_from(page.offset).unwrap_or(usize::MAX);
        let take = usize::try_from(page.limit).unwrap_or(usize::MAX);
        Ok(Listing { items: fitting.into_iter().skip(skip).take(take).collect(), total })
    }

    /// Takes one back, with the refresh tokens that the user gave the client (204).
    pub async fn delete(&self, site: &Site, id: &str) -> Result<(), ManagementError> {
        let missing = ManagementError::NotFound {
            code: Some("inexistent_grant"),
            message: "The grant does not exist.",
        };
        let now = self.core.clock.now();
        if self.core.repository.delete_consent(&site.tenant.id, id, now).await? {
            Ok(())
        } else {
            Err(missing)
        }
    }

    /// Takes back all that a user gave (204).
    pub async fn delete_of(&self, site: &Site, user_id: &str) -> Result<(), ManagementError> {
        let (tenant, repository, now) = (&site.tenant.id, &self.core.repository, self.core.clock.now());
        for consent in repository.consents(tenant, Some(user_id), Page::ALL).await?.items {
            repository.delete_consent(tenant, &consent.id, now).await?;
        }
        Ok(())
    }
}

fn shown(consent: &Consent) -> Value {
    let scope: Vec<&str> = consent.scope.iter().collect();
    let audience = (!consent.audience.is_empty()).then_some(&consent.audience);
    json!({
        "id": consent.id,
        "clientID": consent.client_id,
        "user_id": consent.user_id,
        "audience": audience,
        "scope": scope,
    })
}
