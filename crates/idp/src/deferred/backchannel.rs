use std::sync::Arc;

use base::Secret;
use jose::{Alg, CompactJws};
use oauth::{ErrorCode, Params};
use serde_json::{Map, Value};

use super::INTERVAL;
use crate::{
    Authorization, AuthorizeOutcome, Browser, ClientAuthentication, EndpointError, IdpError, Presented, Site,
    authorization::request_object::parameters,
    client_authentication::{ASSERTION_ALGS, MAX_ASSERTION, SKEW, moment},
    idp::Core,
    model::{
        AuthorizeRequest, BackchannelDelivery, Client, Deferred, DeferredKind, DeferredRequest,
        DeferredState, User, fold,
    },
    possession::once,
};

/// The grant type's name.
pub(crate) const GRANT_TYPE: &str = "urn:openid:params:grant-type:ciba";
/// Seconds a person may take, unless the request says otherwise.
const LIFETIME: i64 = 300;
/// Characters of a binding message: it is to be compared at a glance.
const MAX_MESSAGE: usize = 64;
/// Bytes of a notification token (CIBA 7.1).
const MAX_TOKEN: usize = 1024;
/// Parameters that name the user; exactly one of them comes.
const HINTS: [&str; 3] = ["login_hint", "id_token_hint", "login_hint_token"];

/// The members of a signed request that count here. What else is in it is passed over.
const PARAMETERS: [&str; 18] = [
    "acr_values",
    "audience",
    "authorization_details",
    "binding_message",
    "claims",
    "client_id",
    "client_notification_token",
    "connection_scope",
    "id_token_hint",
    "invitation",
    "login_hint",
    "login_hint_token",
    "max_age",
    "organization",
    "registration",
    "requested_expiry",
    "resource",
    "scope",
];

/// OpenID Connect Client-Initiated Backchannel Authentication, by polling and by ping.
#[derive(Clone)]
pub struct Backchannel {
    core: Arc<Core>,
    clients: ClientAuthentication,
    authorization: Authorization,
}

/// The answer of `/bc-authorize`.
#[derive(Debug)]
pub struct BackchannelAnswer {
    /// What the client polls with.
    pub auth_req_id: String,
    /// Seconds.
    pub expires_in: i64,
    /// Seconds between two polls.
    pub interval: i64,
}

impl Backchannel {
    pub(crate) fn new(core: Arc<Core>, clients: ClientAuthentication, authorization: Authorization) -> Self {
        Self { core, clients, authorization }
    }

    /// Begins one (CIBA 7.1).
    pub async fn begin<'a>(
        &self,
        site: &Site,
        presented: impl Into<Presented<'a>>,
        params: &Params<'_>,
    ) -> Result<BackchannelAnswer, EndpointError> {
        let client = self.clients.authenticate(site, presented, params).await?;
        if client.is_public() || !client.allows_grant(GRANT_TYPE) {
            let text = format!("Grant type '{GRANT_TYPE}' not allowed for the client.");
            return Err(EndpointError::oauth(ErrorCode::UnauthorizedClient, &text));
        }
        if params.value("request_uri").is_some() {
            let text = "A signed authentication request comes by value.";
            return Err(EndpointError::oauth(ErrorCode::RequestUriNotSupported, text));
        }
        let inner = match params.value("request") {
            Some(request) => Some(self.signed_params(site, &client, request).await?),
            None if client.backchannel_authentication_request_signing_alg.is_some() || client.is_fapi2() => {
                return Err(invalid("The client's authentication requests must be signed."));
            }
            None => None,
        };
        let params = inner.as_ref().unwrap_or(params);
        let request = self.core.deferred_request(site, &client, params).await?;
        if !request.scope.contains("openid") {
            return Err(EndpointError::oauth(ErrorCode::InvalidScope, "The scope openid is missing."));
        }
        let user = self.user(site, &client, params).await?;
        if request.expected_user.as_ref().is_some_and(|expected| *expected != user.user_id) {
            return Err(invalid("The hint and claims name two users."));
        }
        let binding_message = binding_message(params)?;
        let seconds = requested_expiry(params)?;
        let auth_req_id = self.core.random.token(32);
        let notification = notification(&client, params, &auth_req_id)?;
        let handle = self.core.digester.digest(&auth_req_id);
        let deferred = Some(Deferred { handle, binding_message });
        let expected_user = Some(user.user_id.clone());
        let request = AuthorizeRequest { deferred, expected_user, ..request };
        let deferred = DeferredRequest {
            handle,
            kind: DeferredKind::Backchannel,
            user_code: None,
            user_id: Some(user.user_id),
            request,
            notification,
            interval: INTERVAL,
            expires_at: self.core.clock.now().0.saturating_add(seconds.saturating_mul(1000)),
            state: DeferredState::Pending,
        };
        self.core.repository.create_deferred(&site.tenant.id, &deferred).await?;
        Ok(BackchannelAnswer { auth_req_id, expires_in: seconds, interval: INTERVAL / 1000 })
    }

    /// Shows the browser's user the oldest request that waits for them; `None` where there is none.
    pub async fn next(&self, site: &Site, browser: &Browser) -> Result<Option<AuthorizeOutcome>, IdpError> {
        let Some((session, _)) = self.core.session(site, browser).await? else { return Ok(None) };
        let now = self.core.clock.now();
        let waiting = self.core.repository.deferred_of_user(&site.tenant.id, &session.user_id, now).await?;
        match waiting.into_iter().next() {
            Some(found) => self.authorization.start_deferred(site, found.request, browser).await.map(Some),
            None => Ok(None),
        }
    }

    /// Decides a request in its user's place. For `dev`, where nobody can be asked. `false`: there is no such request
    /// that waits.
    pub async fn decide(&self, site: &Site, auth_req_id: &str, allow: bool) -> Result<bool, IdpError> {
        let (tenant, now) = (&site.tenant.id, self.core.clock.now());
        for handle in self.core.digester.all(auth_req_id) {
            let Some(found) = self.core.repository.deferred(tenant, &handle, now).await? else { continue };
            let request = found.request;
            let Some(client) = self.core.repository.client(tenant, &request.client_id).await? else {
                return Ok(false);
            };
            let grant = allow.then(|| self.core.granted(&client, &request, None));
            let deferred = Deferred { handle, binding_message: None };
            return self.core.decide_deferred(site, &deferred, grant.as_ref()).await;
        }
        Ok(false)
    }

    /// The user that the request names in exactly one way.
    async fn user(&self, site: &Site, client: &Client, params: &Params<'_>) -> Result<User, EndpointError> {
        let unknown =
            || EndpointError::oauth(ErrorCode::UnknownUserId, "The hint names no user of this client.");
        let mut hints = HINTS.into_iter().filter_map(|name| Some((name, params.value(name)?)));
        let (hint, None) = (hints.next(), hints.next()) else {
            return Err(invalid("Expected exactly one of login_hint, id_token_hint and login_hint_token."));
        };
        let repository = &self.core.repository;
        let found = match hint {
            None => return Err(invalid("Missing required parameter: login_hint")),
            Some(("login_hint", hint)) => match subject_of(site, hint)? {
                Some(subject) => match self.core.user_of_subject(site, &subject).await? {
                    Some(id) => repository.user(&site.tenant.id, &id).await?,
                    None => None,
                },
                None => match self.core.login_connection(site, client, None).await? {
                    Some(connection) => {
                        let name = fold(hint);
                        let known = repository
                            .user_by_identifier(&site.tenant.id, &connection.name, &name)
                            .await?
                            .map(|(user, _)| user);
                        match known {
                            None => repository.user(&site.tenant.id, hint).await?,
                            known => known,
                        }
                    }
                    None => None,
                },
            },
            Some(("id_token_hint", hint)) => match self.core.id_token_hint(site, hint).await? {
                Some(hint) if hint.client_id == client.client_id => {
                    repository.user(&site.tenant.id, &hint.subject).await?
                }
                _ => return Err(invalid("The id_token_hint is not an ID token of this client.")),
            },
            Some(_) => return Err(invalid("login_hint_token is not supported.")),
        };
        let user = found.filter(|user| !user.blocked).ok_or_else(unknown)?;
        if self.core.may_use(site, client, &user).await? { Ok(user) } else { Err(unknown()) }
    }

    /// The parameters of a signed authentication request (CIBA 7.1.1).
    async fn signed_params(
        &self,
        site: &Site,
        client: &Client,
        request: &str,
    ) -> Result<Params<'static>, EndpointError> {
        let wrong = |text: &str| invalid(&format!("The signed authentication request {text}."));
        let jws = CompactJws::parse(request).map_err(|_| wrong("is no JWT"))?;
        let alg = jws.alg().map_err(|_| wrong("is signed with no algorithm that is known here"))?;
        let registered = client.backchannel_authentication_request_signing_alg.as_deref();
        let weak = alg == Alg::RS256 && registered.is_none();
        if weak || registered.is_some_and(|name| name != alg.as_str()) {
            return Err(wrong("is not signed with the algorithm that the client registered"));
        }
        let payload = self.core.verified_by_client(client, &jws, &ASSERTION_ALGS).await;
        let payload = payload.ok_or_else(|| wrong("is not signed by the client"))?;
        let Ok(Value::Object(claims)) = jose::parse_json(&payload, 16) else {
            return Err(wrong("has no claims"));
        };
        let until =
            self.judge(site, client, &claims).map_err(|name| wrong(&format!("has no good {name}")))?;
        let jti = claims.get("jti").and_then(Value::as_str).unwrap_or_default();
        let used = format!("request/{}/{}", client.client_id, once(jti));
        if !self.core.repository.use_once(&site.tenant.id, &used, until).await? {
            return Err(wrong("has been used before"));
        }
        parameters(&claims, &PARAMETERS).map_err(|why| wrong(&format!("cannot be used: {why}")))
    }

    /// The end of a signed request, or the claim that is missing or wrong.
    fn judge(
        &self,
        site: &Site,
        client: &Client,
        claims: &Map<String, Value>,
    ) -> Result<base::UnixMillis, &'static str> {
        let now = self.core.clock.now();
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        if text("iss") != Some(client.client_id.as_str()) {
            return Err("iss");
        }
        let issuer = site.issuer();
        let audience = match claims.get("aud") {
            Some(Value::String(one)) => *one == issuer,
            Some(Value::Array(several)) => several.iter().any(|one| one.as_str() == Some(issuer.as_str())),
            _ => false,
        };
        if !audience {
            return Err("aud");
        }
        let until = moment(claims, "exp").flatten().filter(|at| *at > now && *at <= now + MAX_ASSERTION);
        let until = until.ok_or("exp")?;
        for name in ["iat", "nbf"] {
            let begun = moment(claims, name).flatten();
            if begun.is_none_or(|at| at > now + SKEW || now.since(at) > MAX_ASSERTION) {
                return Err(if name == "iat" { "iat" } else { "nbf" });
            }
        }
        match text("jti") {
            Some(jti) if (1..=256).contains(&jti.len()) => Ok(until),
            _ => Err("jti"),
        }
    }
}

/// The subject of a hint in Auth0's form, `{"format":"iss_sub","iss":…,"sub":…}`; `None` for plain text.
fn subject_of(site: &Site, hint: &str) -> Result<Option<String>, EndpointError> {
    if !hint.trim_start().starts_with('{') {
        return Ok(None);
    }
    let wrong = || invalid("The login_hint must have the members format (iss_sub), iss and sub.");
    let Ok(Value::Object(members)) = jose::parse_json(hint.as_bytes(), 4) else { return Err(wrong()) };
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    match (text("format"), text("iss"), text("sub")) {
        (Some("iss_sub"), Some(issuer), Some(subject)) if site.is_issuer(issuer) => {
            Ok(Some(subject.to_owned()))
        }
        _ => Err(wrong()),
    }
}

fn binding_message(params: &Params<'_>) -> Result<Option<String>, EndpointError> {
    let Some(message) = params.value("binding_message") else { return Ok(None) };
    let plain = |c: char| c.is_alphanumeric() || " +-_.,:#!?/()'".contains(c);
    if message.chars().count() > MAX_MESSAGE || !message.chars().all(plain) {
        let text = "The binding_message must be up to 64 letters, digits and plain marks.";
        return Err(EndpointError::oauth(ErrorCode::InvalidBindingMessage, text));
    }
    Ok(Some(message.to_owned()))
}

fn requested_expiry(params: &Params<'_>) -> Result<i64, EndpointError> {
    let Some(text) = params.value("requested_expiry") else { return Ok(LIFETIME) };
    match text.parse::<i64>() {
        Ok(seconds) if (1..=LIFETIME).contains(&seconds) => Ok(seconds),
        _ => Err(invalid("requested_expiry must be 1 to 300 seconds.")),
    }
}

/// What the client is told with, and about what. A client of the ping mode must give a token for it (CIBA 7.1).
fn notification(
    client: &Client,
    params: &Params<'_>,
    auth_req_id: &str,
) -> Result<Option<Secret<String>>, EndpointError> {
    if client.backchannel_token_delivery_mode != Some(BackchannelDelivery::Ping) {
        return Ok(None);
    }
    let token = params.value("client_notification_token");
    let token = token.ok_or_else(|| invalid("Missing required parameter: client_notification_token"))?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    if token.len() > MAX_TOKEN || !token.bytes().all(plain) {
        return Err(invalid("client_notification_token must be a bearer token of up to 1024 characters."));
    }
    Ok(Some(Secret::new(format!("{token} {auth_req_id}"))))
}

fn invalid(text: &str) -> EndpointError {
    EndpointError::oauth(ErrorCode::InvalidRequest, text)
}
