//! `/authorize` and `/oauth/par`: which parameters a request has (`reading`, `request_object`, `pushed`), whether they will
//! do (`request`, `claims_request`, `targets`, `details`), what the browser gets to see, and how the answer travels (`response`).

mod claims_request;
pub(crate) mod details;
pub(crate) mod pushed;
mod reading;
pub(crate) mod request;
pub(crate) mod request_object;
mod response;
pub(crate) mod targets;

use std::{net::IpAddr, sync::Arc, time::Duration};

use base::Secret;
use oauth::{ErrorCode, OAuthError, Params, Scopes};

pub use self::{
    claims_request::ClaimsRequest,
    pushed::{Pushed, PushedRequests},
    response::AuthorizationResponse,
};
use self::{
    reading::Reading,
    request::{IDENTITY_SCOPES, ReturnAddress, invalid},
    targets::Targets,
};
use crate::{
    EndpointError, IdpError, Site, consent,
    idp::Core,
    issue::{Hashed, Holder},
    model::{
        AuthorizeRequest, Client, Confirmation, Grant, Prompt, ResourceServer, ResponseType, ScreenHint,
        Session, SubjectType, Transaction, User,
    },
    repository::{ClientGrantFilter, Page},
    urls,
};

/// How long a code is good for (RFC 6749 section 4.1.2 says ten minutes at most, FAPI 2.0 one).
pub(crate) const CODE_LIFETIME: Duration = Duration::from_secs(60);
/// How long a user may take to log in.
const TRANSACTION_LIFETIME: Duration = Duration::from_secs(60 * 60);

/// What the provider knows of the browser that sent a request.
#[derive(Clone, Debug, Default)]
pub struct Browser {
    /// The session cookie's value.
    pub session: Option<Secret<String>>,
    /// The binding cookie's value: random, made with the first transaction, so that a transaction started in one
    /// browser cannot be finished in another.
    pub binding: Option<Secret<String>>,
    /// Where the request came from, as trusted peers tell it.
    pub ip: Option<IpAddr>,
    /// What the browser calls itself.
    pub user_agent: Option<String>,
}

/// `/authorize`: RFC 6749 section 4.1.1 and OpenID Connect Core 3.1.2, with Auth0's `audience`.
#[derive(Clone)]
pub struct Authorization {
    core: Arc<Core>,
}

/// What the browser gets to see next.
#[derive(Debug)]
pub enum AuthorizeOutcome {
    /// A page for the person in front of it: the request names no client and redirect URI that could be trusted with an
    /// answer.
    ErrorPage(OAuthError),
    /// The answer for the client, a code or an error.
    Respond(AuthorizationResponse),
    /// The login page (or the sign-up page) of this transaction.
    Login(Interaction),
    /// The consent page of this transaction.
    Consent(Interaction),
    /// A deferred request was decided; its client is elsewhere.
    Decided {
        /// Whether the user said yes.
        allowed: bool,
    },
}

/// A transaction that waits for a page.
#[derive(Debug)]
pub struct Interaction {
    /// The transaction's handle: unguessable, only good in the browser that it was made for, and so the pages' protection
    /// against forged posts as well. It travels as `state` in the pages' URLs and forms.
    pub handle: String,
    /// A new value for the binding cookie, where the browser had none.
    pub new_binding: Option<Secret<String>>,
    /// The page to open first, where the request asks for another one than the login page.
    pub screen_hint: Option<ScreenHint>,
}

/// A request on its way through [`Authorization::start`].
struct Judged {
    client: Client,
    address: ReturnAddress,
    request: AuthorizeRequest,
    targets: Targets,
}

impl Authorization {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// Reads and judges a request; goes as far as it can without a page.
    pub async fn start(
        &self,
        site: &Site,
        params: &Params<'_>,
        browser: &Browser,
    ) -> Result<AuthorizeOutcome, IdpError> {
        let Some(client_id) = params.value("client_id") else {
            return Ok(AuthorizeOutcome::ErrorPage(invalid("Missing required parameter: client_id")));
        };
        let known = self.core.repository.client(&site.tenant.id, client_id).await?;
        let Some(client) = known.filter(|client| !client.global) else {
            return Ok(AuthorizeOutcome::ErrorPage(invalid("Unknown client")));
        };
        let reading = match self.core.read_request(site, &client, params).await? {
            Ok(reading) => reading,
            Err(error) => return self.refuse_unread(site, &client, params, error).await,
        };
        let address = match ReturnAddress::parse(&client, &reading.params) {
            Ok(address) => address,
            Err(error) => return Ok(AuthorizeOutcome::ErrorPage(error)),
        };
        match self.judge(site, client.clone(), address.clone(), &reading).await? {
            Ok(judged) => self.proceed(site, judged, browser).await,
            Err(error) => self.tell(site, &client, &address, &error).await,
        }
    }

    /// A request whose parameters cannot be had is refused where it says outside of them that the answer shall go, else
    /// with a page.
    async fn refuse_unread(
        &self,
        site: &Site,
        client: &Client,
        params: &Params<'_>,
        error: OAuthError,
    ) -> Result<AuthorizeOutcome, IdpError> {
        match ReturnAddress::parse(client, params) {
            Ok(address) if address.given => self.tell(site, client, &address, &error).await,
            _ => Ok(AuthorizeOutcome::ErrorPage(error)),
        }
    }

    /// Tells the client about an error.
    async fn tell(
        &self,
        site: &Site,
        client: &Client,
        address: &ReturnAddress,
        error: &OAuthError,
    ) -> Result<AuthorizeOutcome, IdpError> {
        let response = self.core.error_response(site, client, address, &site.issuer(), error).await?;
        Ok(AuthorizeOutcome::Respond(response))
    }

    /// Goes on after a page: `/authorize/resume?state=handle`.
    pub async fn resume(
        &self,
        site: &Site,
        handle: &str,
        browser: &Browser,
    ) -> Result<AuthorizeOutcome, IdpError> {
        let Some(transaction) = self.core.transaction(site, handle, browser).await? else {
            return Ok(expired());
        };
        let Some(client) = self.core.client_of(site, &transaction).await? else { return Ok(expired()) };
        let again = Interaction { handle: handle.to_owned(), new_binding: None, screen_hint: None };
        let Some((session, user)) = self.core.transaction_session(site, &transaction, browser).await? else {
            return Ok(AuthorizeOutcome::Login(again));
        };
        let request = &transaction.request;
        if request.expected_user.as_ref().is_some_and(|expected| *expected != user.user_id) {
            let error =
                OAuthError::new(ErrorCode::LoginRequired, "Another user than the requested one logged in.");
            return self.core.refuse(site, &client, &transaction, &error).await;
        }
        let targets = self.core.targets_of(site, request.audiences()).await?;
        if self.core.needs_consent(site, &client, &targets, request, &user).await? {
            return Ok(AuthorizeOutcome::Consent(again));
        }
        self.core.finish(site, &client, &transaction, &session).await
    }

    /// `Err` is for the client.
    async fn judge(
        &self,
        site: &Site,
        client: Client,
        address: ReturnAddress,
        reading: &Reading,
    ) -> Result<Result<Judged, OAuthError>, IdpError> {
        let params = &reading.params;
        let targets = match self.core.targets(site, params).await? {
            Ok(targets) => targets,
            Err(error) => return Ok(Err(error)),
        };
        let mut request = match request::parse(site, &client, &address, &targets, params) {
            Ok(request) => AuthorizeRequest { pushed: reading.pushed, ..request },
            Err(error) => return Ok(Err(error)),
        };
        let mut scope = request.scope.intersection(&identity_scopes());
        for api in targets.apis() {
            match self.core.user_scope(site, &client, api, &request.scope).await? {
                Ok(allowed) => scope = scope.union(&allowed),
                Err(reason) => return Ok(Err(OAuthError::new(ErrorCode::AccessDenied, reason))),
            }
        }
        request.scope = scope;
        if let Some(asked) = &request.connection {
            // A name that is not offered to the client is no other than one that does not exist: who asks is a stranger.
            match self.core.login_connection(site, &client, Some(asked)).await? {
                // A session is judged by the connection's name, whichever of its realms was asked for.
                Some(found) => request.connection = Some(found.name),
                None => return Ok(Err(invalid("the connection was not found"))),
            }
        }
        match request.claims.subject() {
            Ok(None) => {}
            // Nobody's subject is nobody: no login will do.
            Ok(Some(subject)) => {
                let user = self.core.user_of_subject(site, &subject).await?;
                request.expected_user = Some(user.unwrap_or(subject));
            }
            Err(error) => return Ok(Err(error)),
        }
        if let Some(hint) = params.value("id_token_hint") {
            match self.core.id_token_hint(site, hint).await? {
                Some(hint) if request.expected_user.as_ref().is_some_and(|user| *user != hint.subject) => {
                    return Ok(Err(invalid("id_token_hint and claims name two users.")));
                }
                Some(hint) => request.expected_user = Some(hint.subject),
                None => return Ok(Err(invalid("The id_token_hint is not an ID token of this issuer."))),
            }
        }
        Ok(Ok(Judged { client, address, request, targets }))
    }

    async fn proceed(
        &self,
        site: &Site,
        judged: Judged,
        browser: &Browser,
    ) -> Result<AuthorizeOutcome, IdpError> {
        let Judged { client, address, request, targets } = judged;
        let silent = request.prompt.contains(&Prompt::None);
        let Some((session, user)) = self.usable_session(site, &client, &request, browser).await? else {
            if silent {
                let error = OAuthError::new(ErrorCode::LoginRequired, "Login required");
                return self.refuse_unasked(site, &client, &address, &request, &error).await;
            }
            let connection = request.connection.as_deref();
            if self.core.login_connection(site, &client, connection).await?.is_none() {
                let error = invalid("no connections enabled for the client");
                return self.refuse_unasked(site, &client, &address, &request, &error).await;
            }
            return Ok(AuthorizeOutcome::Login(self.begin(site, request, None, browser).await?));
        };
        if self.core.needs_consent(site, &client, &targets, &request, &user).await? {
            if silent {
                let error = OAuthError::new(ErrorCode::ConsentRequired, "Consent required");
                return self.refuse_unasked(site, &client, &address, &request, &error).await;
            }
            let sid = Some(session.sid);
            return Ok(AuthorizeOutcome::Consent(self.begin(site, request, sid, browser).await?));
        }
        self.core.respond(site, &client, &request, &session).await
    }

    /// Answers a request without a page: none may be shown, or none would help.
    async fn refuse_unasked(
        &self,
        site: &Site,
        client: &Client,
        address: &ReturnAddress,
        request: &AuthorizeRequest,
        error: &OAuthError,
    ) -> Result<AuthorizeOutcome, IdpError> {
        match self.core.settle(site, request).await? {
            true => self.tell(site, client, address, error).await,
            false => Ok(response::answered()),
        }
    }

    /// The page that decides a deferred request, after a login where one is needed.
    pub(crate) async fn start_deferred(
        &self,
        site: &Site,
        request: AuthorizeRequest,
        browser: &Browser,
    ) -> Result<AuthorizeOutcome, IdpError> {
        let known = self.core.repository.client(&site.tenant.id, &request.client_id).await?;
        let Some(client) = known else { return Ok(expired()) };
        match self.usable_session(site, &client, &request, browser).await? {
            None => Ok(AuthorizeOutcome::Login(self.begin(site, request, None, browser).await?)),
            Some((session, _)) => {
                let sid = Some(session.sid);
                Ok(AuthorizeOutcome::Consent(self.begin(site, request, sid, browser).await?))
            }
        }
    }

    /// The browser's session, if it will do for this request.
    async fn usable_session(
        &self,
        site: &Site,
        client: &Client,
        request: &AuthorizeRequest,
        browser: &Browser,
    ) -> Result<Option<(Session, User)>, IdpError> {
        let asks = |prompt: &Prompt| matches!(prompt, Prompt::Login | Prompt::SelectAccount | Prompt::Create);
        if client.sso_disabled || request.prompt.iter().any(asks) {
            return Ok(None);
        }
        let Some((session, user)) = self.core.session(site, browser).await? else { return Ok(None) };
        let age = self.core.clock.now().0.saturating_sub(session.authenticated_at);
        let too_old =
            request.max_age.is_some_and(|seconds| seconds == 0 || age > seconds.saturating_mul(1000));
        let other = request.expected_user.as_ref().is_some_and(|expected| *expected != user.user_id);
        let elsewhere = match &request.connection {
            Some(name) => user.connection != *name,
            None => false,
        };
        if too_old || other || elsewhere || !self.core.may_use(site, client, &user).await? {
            return Ok(None);
        }
        Ok(Some((session, user)))
    }

    async fn begin(
        &self,
        site: &Site,
        request: AuthorizeRequest,
        sid: Option<String>,
        browser: &Browser,
    ) -> Result<Interaction, IdpError> {
        let core = &self.core;
        let handle = core.random.token(32);
        let known = browser.binding.as_ref().filter(|value| (43..=256).contains(&value.expose().len()));
        let new_binding = known.is_none().then(|| Secret::new(core.random.token(32)));
        let binding = known.or(new_binding.as_ref()).map(|value| core.digester.digest(value.expose()));
        let screen_hint = request.screen_hint;
        let transaction = Transaction {
            handle: core.digester.digest(&handle),
            browser: binding.unwrap_or_else(|| core.digester.digest(&core.random.token(32))),
            request,
            sid,
            expires_at: (core.clock.now() + TRANSACTION_LIFETIME).0,
        };
        core.repository.create_transaction(&site.tenant.id, &transaction).await?;
        Ok(Interaction { handle, new_binding, screen_hint })
    }
}

/// The scopes that no API has to know.
pub(crate) fn identity_scopes() -> Scopes {
    Scopes::parse(&IDENTITY_SCOPES.join(" ")).unwrap_or_default()
}

pub(crate) fn expired() -> AuthorizeOutcome {
    AuthorizeOutcome::ErrorPage(invalid(
        "This login has expired, was finished already, or was started in another browser. Go back to the application and try again.",
    ))
}

impl Core {
    /// The API of an audience; the Management API by any origin of the tenant.
    pub(crate) async fn api(
        &self,
        site: &Site,
        audience: Option<&str>,
    ) -> Result<Option<ResourceServer>, IdpError> {
        let Some(audience) = audience else { return Ok(None) };
        if site.is_management_audience(audience) {
            let apis = self.repository.resource_servers(&site.tenant.id, Page::ALL).await?;
            return Ok(apis.items.into_iter().find(|api| api.is_system));
        }
        let api = self.repository.resource_server(&site.tenant.id, audience).await?;
        // The store also finds APIs by their ids, which are no audiences.
        Ok(api.filter(|api| api.identifier == audience))
    }

    /// What of `scope` the API lets users have through this client at this moment, or why nothing.
    pub(crate) async fn user_scope(
        &self,
        site: &Site,
        client: &Client,
        api: &ResourceServer,
        scope: &Scopes,
    ) -> Result<Result<Scopes, &'static str>, IdpError> {
        let identity = identity_scopes();
        let known = scope.intersection(&identity.union(&api.scope_names()));
        match api.user_policy() {
            "allow_all" => Ok(Ok(known)),
            "require_client_grant" => {
                let filter = ClientGrantFilter {
                    client_id: Some(&client.client_id),
                    audience: Some(&api.identifier),
                    subject_type: Some(SubjectType::User),
                };
                let grants = self.repository.client_grants(&site.tenant.id, filter, Page::ALL).await?;
                Ok(match grants.items.first() {
                    None => Err("The client has no grant for this API."),
                    Some(grant) if grant.allow_all_scopes => Ok(known),
                    Some(grant) => Ok(known.intersection(&identity.union(&grant.scopes()))),
                })
            }
            _ => Ok(Err("This API gives no tokens to users.")),
        }
    }

    pub(crate) async fn client_of(
        &self,
        site: &Site,
        transaction: &Transaction,
    ) -> Result<Option<Client>, IdpError> {
        Ok(self.repository.client(&site.tenant.id, &transaction.request.client_id).await?)
    }

    /// Whether the user must be asked: third parties once for each scope, everybody with `prompt=consent` or with
    /// details, which stand for one act, first parties where an API wants it.
    pub(crate) async fn needs_consent(
        &self,
        site: &Site,
        client: &Client,
        targets: &Targets,
        request: &AuthorizeRequest,
        user: &User,
    ) -> Result<bool, IdpError> {
        if request.prompt.contains(&Prompt::Consent) || !request.authorization_details.is_empty() {
            return Ok(true);
        }
        let verifiable =
            !site.tenant.settings.flags.consent_on_localhost || !urls::is_loopback(&request.redirect_uri);
        let mut apis = targets.apis();
        let skips = apis.all(|api| api.skip_consent_for_verifiable_first_party_clients && verifiable);
        if client.is_first_party && skips {
            return Ok(false);
        }
        for (audience, scope) in consent::shares(request, targets) {
            let consent =
                self.repository.consent(&site.tenant.id, &user.user_id, &client.client_id, &audience).await?;
            if consent.is_none_or(|consent| !consent.scope.contains_all(&scope)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Ends the transaction with a code.
    pub(crate) async fn finish(
        &self,
        site: &Site,
        client: &Client,
        transaction: &Transaction,
        session: &Session,
    ) -> Result<AuthorizeOutcome, IdpError> {
        let now = self.clock.now();
        if !self.repository.finish_transaction(&site.tenant.id, &transaction.handle, now).await? {
            return Ok(expired());
        }
        if let Some(deferred) = &transaction.request.deferred {
            let grant = self.granted(client, &transaction.request, Some(session));
            return self.settle_deferred(site, deferred, Some(&grant)).await;
        }
        self.respond(site, client, &transaction.request, session).await
    }

    /// Ends the transaction with an error for the client.
    pub(crate) async fn refuse(
        &self,
        site: &Site,
        client: &Client,
        transaction: &Transaction,
        error: &OAuthError,
    ) -> Result<AuthorizeOutcome, IdpError> {
        let now = self.clock.now();
        if !self.repository.finish_transaction(&site.tenant.id, &transaction.handle, now).await? {
            return Ok(expired());
        }
        let request = &transaction.request;
        if let Some(deferred) = &request.deferred {
            return self.settle_deferred(site, deferred, None).await;
        }
        if !self.settle(site, request).await? {
            return Ok(response::answered());
        }
        let address = ReturnAddress::from(request);
        let response = self.error_response(site, client, &address, &request.issuer, error).await?;
        Ok(AuthorizeOutcome::Respond(response))
    }

    /// What is granted to the client where the user of `session` allows the request; without one, where somebody does
    /// in the place of the user that it expects.
    pub(crate) fn granted(
        &self,
        client: &Client,
        request: &AuthorizeRequest,
        session: Option<&Session>,
    ) -> Grant {
        let user_id = session.map(|session| &session.user_id).or(request.expected_user.as_ref());
        Grant {
            family: self.random.alphanumeric(22),
            client_id: request.client_id.clone(),
            user_id: user_id.cloned().unwrap_or_default(),
            sid: session.map(|session| session.sid.clone()).unwrap_or_default(),
            issuer: request.issuer.clone(),
            scope: request.scope.clone(),
            audience: request.audience.clone(),
            resources: request.resources.clone(),
            authorization_details: request.authorization_details.clone(),
            claims: request.claims.clone(),
            acr_requested: request.acr_requested,
            auth_time: session
                .map_or(self.clock.now().0, |session| session.authenticated_at)
                .div_euclid(1000),
            auth_time_requested: request.max_age.is_some()
                || client.require_auth_time
                || request.prompt.contains(&Prompt::Login)
                || request.claims.id_token.contains_key("auth_time"),
            nonce: request.nonce.clone(),
            redirect_uri: request.redirect_uri.clone(),
            redirect_uri_given: request.redirect_uri_given,
            code_challenge: request.code_challenge.clone(),
            confirmation: request.dpop_jkt.clone().map(Confirmation::Key),
        }
    }

    /// The answer that the request asked for.
    async fn respond(
        &self,
        site: &Site,
        client: &Client,
        request: &AuthorizeRequest,
        session: &Session,
    ) -> Result<AuthorizeOutcome, IdpError> {
        if !self.settle(site, request).await? {
            return Ok(response::answered());
        }
        let now = self.clock.now();
        let grant = self.granted(client, request, Some(session));
        let address = ReturnAddress::from(request);
        let code = request.response_type.code.then(|| self.random.token(32));
        let mut params: Vec<_> = code.iter().map(|code| ("code", code.clone())).collect();
        if request.response_type.is_front_channel() {
            let hashed =
                Hashed { code: code.as_deref(), state: request.state.as_deref(), access_token: None };
            match self.front_channel(site, client, request.response_type, &grant, hashed).await {
                Ok(tokens) => params.extend(tokens),
                Err(EndpointError::OAuth(error)) => {
                    let response =
                        self.error_response(site, client, &address, &request.issuer, &error).await?;
                    return Ok(AuthorizeOutcome::Respond(response));
                }
                Err(EndpointError::Internal(error)) => return Err(error),
            }
        }
        if let Some(code) = &code {
            let digest = self.digester.digest(code);
            self.repository.create_code(&site.tenant.id, &digest, &grant, now + CODE_LIFETIME).await?;
        } else {
            // A code notes it by itself; a client that has its tokens right away is told of the session's end too.
            let (tenant, client) = (&site.tenant.id, &client.client_id);
            self.repository.add_session_client(tenant, &session.sid, client, &request.issuer).await?;
        }
        let browser_state = request.scope.contains("openid").then(|| self.browser_state(&session.sid));
        if let Some(state) = &browser_state {
            let session_state = self.session_state(&client.client_id, &address.redirect_uri, state);
            params.extend(session_state.map(|state| ("session_state", state)));
        }
        let response = self.response(site, client, &address, &request.issuer, params).await?;
        Ok(AuthorizeOutcome::Respond(AuthorizationResponse { browser_state, ..response }))
    }

    /// The tokens of an implicit or hybrid answer (OpenID Connect Core 3.2.2.5 and 3.3.2.5).
    async fn front_channel(
        &self,
        site: &Site,
        client: &Client,
        response_type: ResponseType,
        grant: &Grant,
        mut hashed: Hashed<'_>,
    ) -> Result<Vec<(&'static str, String)>, EndpointError> {
        let gone = || EndpointError::oauth(ErrorCode::AccessDenied, "The user does not exist any more.");
        let user = self.repository.user(&site.tenant.id, &grant.user_id).await?.ok_or_else(gone)?;
        let holder = Holder { issuer: &grant.issuer, client, grant, user: &user, in_browser: true };
        let mut params = Vec::new();
        let issued = match response_type.token {
            true => Some(self.user_access_token(site, &holder, &grant.scope, None).await?),
            false => None,
        };
        if let Some(issued) = &issued {
            hashed.access_token = Some(issued.token.expose().as_str());
            params.push(("access_token", issued.token.expose().clone()));
            params.push(("token_type", "Bearer".to_owned()));
            params.push(("expires_in", issued.expires_in.to_string()));
            params.push(("scope", issued.scope.to_string()));
        }
        if response_type.id_token {
            // The client may have come to it after the request was judged.
            if client.id_token_alg() == "none" {
                let text = "A client of unsigned ID tokens gets none through the browser.";
                return Err(EndpointError::oauth(ErrorCode::InvalidRequest, text));
            }
            let nonce = grant.nonce.as_deref();
            let id_token = self.sign_id_token(site, &holder, &grant.scope, nonce, hashed).await?;
            params.push(("id_token", id_token.expose().clone()));
        }
        Ok(params)
    }
}
