use std::sync::Arc;

use oauth::{ErrorCode, OAuthError, Scopes};
use serde_json::Value;

use crate::{
    AuthorizeOutcome, Browser, IdpError, Site,
    authorization::{expired, identity_scopes, targets::Targets},
    idp::Core,
    model::{AuthorizeRequest, Client, Consent, ResourceServerScope, Session, Transaction, User},
    standard_claims,
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
    /// The names of the APIs.
    pub audience_names: Vec<String>,
    /// What the person is to compare with what the client shows.
    pub binding_message: Option<String>,
    /// What is asked for, scopes and single claims, with descriptions where there are any.
    pub scopes: Vec<ResourceServerScope>,
    /// What exactly is to be done (RFC 9396), each an object with a `type`.
    pub details: Vec<Value>,
    /// Preferred languages, as the request said.
    pub ui_locales: Option<String>,
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
        let request = &transaction.request;
        let targets = self.core.targets_of(site, request.audiences()).await?;
        let described = |name: &str| {
            let known = targets.apis().flat_map(|api| &api.scopes).find(|scope| scope.value == name);
            let own = known.and_then(|scope| scope.description.clone());
            ResourceServerScope { value: name.to_owned(), description: own.or_else(|| standard(name)) }
        };
        let single = standard_claims::beyond(&request.scope, request.claims.names());
        let scopes = request.scope.iter().chain(single).map(described).collect();
        let audience_names = targets.apis().map(|api| api.name.clone()).collect();
        let details = request.authorization_details.clone();
        let binding_message = request.deferred.as_ref().and_then(|deferred| deferred.binding_message.clone());
        let ui_locales = request.ui_locales.clone();
        Ok(Some(ConsentPage { client, user, audience_names, binding_message, scopes, details, ui_locales }))
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
        let targets = self.core.targets_of(site, request.audiences()).await?;
        for (audience, scope) in shares(request, &targets) {
            let known = repository.consent(tenant, &user.user_id, &client.client_id, &audience).await?;
            let consent = Consent {
                id: known.as_ref().map_or_else(|| self.core.random.hex(12), |known| known.id.clone()),
                user_id: user.user_id.clone(),
                client_id: client.client_id.clone(),
                audience,
                scope: known.map_or_else(|| scope.clone(), |known| known.scope.union(&scope)),
            };
            repository.put_consent(tenant, &consent, self.core.clock.now()).await?;
        }
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

/// What a consent says for each API of a request, or without one: its own scopes and, each time, the identity scopes and
/// the single claims that these do not give.
pub(crate) fn shares(request: &AuthorizeRequest, targets: &Targets) -> Vec<(String, Scopes)> {
    let single = standard_claims::beyond(&request.scope, request.claims.names());
    let single: Vec<String> = single.iter().map(|claim| format!("claim:{claim}")).collect();
    let single = Scopes::parse(&single.join(" ")).unwrap_or_default();
    let identity = identity_scopes();
    let mut shares: Vec<_> = targets
        .iter()
        .map(|(name, api)| {
            let scope = request.scope.intersection(&identity.union(&api.scope_names()));
            (name.to_owned(), scope.union(&single))
        })
        .collect();
    if shares.is_empty() {
        shares.push((String::new(), request.scope.union(&single)));
    }
    shares
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
        "address" => "See your postal address",
        "phone" | "phone_number" => "See your phone number",
        "name" | "given_name" | "family_name" | "middle_name" => "See your name",
        "picture" => "See your picture",
        "birthdate" => "See your date of birth",
        "offline_access" => "Stay connected when you are away",
        _ => return None,
    };
    Some(text.to_owned())
}
