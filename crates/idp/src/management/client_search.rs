//! Finding clients by their grants: the two conditions of `q` that Auth0 has.

use serde_json::json;

use super::{
    ClientService, ManagementError,
    search::{Query, Test},
};
use crate::{
    Site,
    model::{Client, ClientGrant},
    repository::{ClientGrantFilter, Page},
};

/// What is asked of the grants of a client.
#[derive(Clone, Debug)]
pub struct ClientSearch(Query);

impl ClientSearch {
    /// Reads `q` of the Management API.
    ///
    /// # Errors
    ///
    /// Where it asks for anything but `client_grant.organization_id:ID` or `client_grant.allow_any_organization:true`.
    pub fn parse(q: &str) -> Result<Self, ManagementError> {
        let refused = |why: &str| {
            ManagementError::InvalidQuery(format!("Query validation error: '{why}' on property q."))
        };
        let query = Query::parse(q.trim()).map_err(refused)?;
        let known = match &query {
            Query::Condition { path, test: Test::Word(value) | Test::Phrase(value) } => {
                match path.join(".").as_str() {
                    "client_grant.organization_id" => true,
                    "client_grant.allow_any_organization" => value == "true",
                    _ => false,
                }
            }
            _ => false,
        };
        if !known {
            let text = "Expected client_grant.organization_id:ID or client_grant.allow_any_organization:true";
            return Err(refused(text));
        }
        Ok(Self(query))
    }

    fn admits(&self, grant: &ClientGrant) -> bool {
        // No grant is for one organization.
        let object = json!({ "client_grant": { "allow_any_organization": grant.allow_any_organization == Some(true) } });
        self.0.matches(&object, &[])
    }
}

impl ClientService {
    /// The clients with a grant that is looked for.
    pub async fn search(&self, site: &Site, search: &ClientSearch) -> Result<Vec<Client>, ManagementError> {
        let repository = &self.core().repository;
        let all = ClientGrantFilter { client_id: None, audience: None, subject_type: None };
        let mut grants = repository.client_grants(&site.tenant.id, all, Page::ALL).await?.items;
        grants.retain(|grant| search.admits(grant));
        let mut clients = self.list(site, Page::ALL).await?.items;
        clients.retain(|client| grants.iter().any(|grant| grant.client_id == client.client_id));
        Ok(clients)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_conditions_can_be_asked_for() {
        for good in [
            "client_grant.organization_id:org_1234567890abcdef",
            " client_grant.organization_id:\"org_1\"",
            "client_grant.allow_any_organization:true",
        ] {
            assert!(ClientSearch::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "name:x",
            "org_1",
            "client_grant.allow_any_organization:false",
            "client_grant.organization_id:org_*",
            "client_grant.organization_id:a OR client_grant.organization_id:b",
            "NOT client_grant.allow_any_organization:true",
            "_exists_:client_grant.organization_id",
            "client_grant.organization_id:",
        ] {
            assert!(ClientSearch::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_grants_of_organizations_are_found() {
        let any = ClientSearch::parse("client_grant.allow_any_organization:true").unwrap();
        let one = ClientSearch::parse("client_grant.organization_id:org_1").unwrap();
        let grant = ClientGrant { allow_any_organization: Some(true), ..ClientGrant::default() };
        assert!(any.admits(&grant) && !one.admits(&grant));
        assert!(!any.admits(&ClientGrant::default()));
    }
}
