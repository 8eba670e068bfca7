use std::sync::Arc;

use oauth::{ErrorCode, OAuthError};

use crate::{
    AuthorizeOutcome, Browser, IdpError, Site,
    authorization::expired,
    idp::Core,
    model::{Client, Consent, ResourceServerScope, Session, Transaction, User},
};

/// The consent page of a transaction.
#[derive(Clone)]
pub struct ConsentPages {
    core: Arc<Core>,
}

/// What a consent page shows.
#[derive(Clone, Debug)]
pub struct ConsentPage {
    /// Who asks.
    pub client: Client,
    /// Who is asked.
    pub user: User,
    /// The API's name, if any.
    pub audience_name: Option<String>,
    /// What the person is to compare with what the client shows.
    pub binding_message: Option<String>,
    /// What is asked for, with descriptions where there are any.
    pub scopes: Vec<ResourceServerScope>,
}

impl ConsentPages {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// What the page shows; `None` where the transaction is over, expired, not logged in, or another browser's.
    pub async fn page(
        &self,
        site: &Site,
        handle: &str,
        browser: &Browser,
    ) -> Result<Option<ConsentPage>, IdpError> {
        let Some(Asked { transaction, user, client, .. }) = self.asked(site, handle, browser).await? else {
            return Ok(None);
        };
        let api = self.core.api(site, transaction.request.audience.as_deref()).await?;
        let described = |name: &str| {
            let known = api.iter().flat_map(|api| &api.scopes).find(|scope| scope.value == name);
            let own = known.and_then(|scope| scope.description.clone());
            ResourceServerScope { value: name.to_owned(), description: own.or_else(|| standard(name)) }
        };
        let scopes = transaction.request.scope.iter().map(described).collect();
        let binding_message = transaction.request.deferred.and_then(|deferred| deferred.binding_message);
        let audience_name = api.map(|api| api.name);
        Ok(Some(ConsentPage { client, user, audience_name, binding_message, scopes }))
    }

    /// Notes the user's decision on what the transaction asked for (nothing of it comes from the form) and finishes
    /// the transaction.
    pub async fn decide(
        &self,
        site: &Site,
        handle: &str,
        browser: &Browser,
        allow: bool,
    ) -> Result<AuthorizeOutcome, IdpError> {
        let Some(Asked { transaction, session, user, client }) = self.asked(site, handle, browser).await?
        else {
            return Ok(expired());
        };
        let request = &transaction.request;
        if request.expected_user.as_ref().is_some_and(|expected| *expected != user.user_id) {
            return Ok(expired());
        }
        if !allow {
            let error = OAuthError::new(ErrorCode::AccessDenied, "User did not authorize the request");
            return self.core.refuse(site, &client, &transaction, &error).await;
        }
        let (tenant, repository) = (&site.tenant.id, &self.core.repository);
        let audience = request.audience.clone().unwrap_or_default();
        let known = repository.consent(tenant, &user.user_id, &client.client_id, &audience).await?;
        let consent = Consent {
            id: known.as_ref().map_or_else(|| self.core.random.hex(12), |known| known.id.clone()),
            user_id: user.user_id,
            client_id: client.client_id.clone(),
            audience,
            scope: known.map_or_else(|| request.scope.clone(), |known| known.scope.union(&request.scope)),
        };
        repository.put_consent(tenant, &consent, self.core.clock.now()).await?;
        self.core.finish(site, &client, &transaction, &session).await
    }

    async fn asked(&self, site: &Site, handle: &str, browser: &Browser) -> Result<Option<Asked>, IdpError> {
        let Some(transaction) = self.core.transaction(site, handle, browser).await? else { return Ok(None) };
        let Some((session, user)) = self.core.transaction_session(site, &transaction, browser).await? else {
            return Ok(None);
        };
        let client = self.core.client_of(site, &transaction).await?;
        Ok(client.map(|client| Asked { transaction, session, user, client }))
    }
}

/// A consent page's transaction with all that belongs to it.
struct Asked {
    transaction: Transaction,
    session: Session,
    user: User,
    client: Client,
}

/// What the scopes of OpenID Connect mean to a person.
fn standard(scope: &str) -> Option<String> {
    let text = match scope {
        "openid" => "Know who you are",
        "profile" => "See your name and picture",
        "email" => "See your e-mail address",
        "offline_access" => "Stay connected when you are away",
        _ => return None,
    };
    Some(text.to_owned())
}
