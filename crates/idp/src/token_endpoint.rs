mod assertion;
mod exchange;
mod password;

use std::sync::Arc;

use base::Secret;
use oauth::{Challenge, ErrorCode, Params, Scopes, Verifier};
use serde_json::{Map, Value, json};

use crate::{
    ClientAuthentication, EndpointError, Presented, Site,
    authorization::{details, request::IDENTITY_SCOPES, targets::single_target},
    deferred::{CIBA, DEVICE_CODE},
    idp::Core,
    issue::{AccessToken, Hashed, Holder, UserAccessToken},
    model::{Client, Confirmation, DeferredKind, Grant, ResourceServer, SubjectType, User},
    possession::check_possession,
    repository::{ClientGrantFilter, Page, Redemption},
};

/// The grant types that work, for discovery.
pub(crate) const GRANT_TYPES: [&str; 9] = [
    "authorization_code",
    "client_credentials",
    "refresh_token",
    DEVICE_CODE,
    CIBA,
    exchange::GRANT_TYPE,
    assertion::GRANT_TYPE,
    "password",
    password::REALM_GRANT_TYPE,
];

/// `/oauth/token`: every grant, one method or file each.
#[derive(Clone)]
pub struct TokenEndpoint {
    core: Arc<Core>,
    clients: ClientAuthentication,
}

/// A successful answer of the token endpoint.
#[derive(Debug)]
pub struct IssuedTokens {
    /// A JWT for an API, or an opaque token for `/userinfo`.
    pub access_token: Secret<String>,
    /// `DPoP` where the access token is bound to a key that way, else `Bearer`.
    pub token_type: &'static str,
    /// Seconds.
    pub expires_in: i64,
    /// With `openid`.
    pub id_token: Option<Secret<String>>,
    /// With `offline_access`.
    pub refresh_token: Option<Secret<String>>,
    /// What kind of token it is, where the request left that open (RFC 8693 section 2.2.1).
    pub issued_token_type: Option<&'static str>,
    /// What was granted.
    pub scope: Scopes,
    /// What exactly was allowed (RFC 9396).
    pub authorization_details: Vec<Value>,
}

impl IssuedTokens {
    /// What the ID token that goes along names.
    fn hashed(&self) -> Hashed<'_> {
        Hashed { access_token: Some(self.access_token.expose()), ..Hashed::default() }
    }

    /// Whose tokens they are, as far as they say so.
    pub(crate) fn subject(&self) -> Option<String> {
        let told = self.id_token.as_ref().unwrap_or(&self.access_token);
        let payload = jose::CompactJws::parse(told.expose()).ok()?.payload_unverified().ok()?;
        let claims: Value = serde_json::from_slice(&payload).ok()?;
        claims.get("sub").and_then(Value::as_str).map(str::to_owned)
    }

    /// The JSON body (RFC 6749 section 5.1). To be sent with `Cache-Control: no-store`.
    pub fn to_wire(&self) -> Map<String, Value> {
        let mut wire = Map::new();
        wire.insert("access_token".to_owned(), json!(self.access_token.expose()));
        for (name, token) in [("refresh_token", &self.refresh_token), ("id_token", &self.id_token)] {
            if let Some(token) = token {
                wire.insert(name.to_owned(), json!(token.expose()));
            }
        }
        if !self.scope.is_empty() {
            wire.insert("scope".to_owned(), json!(self.scope.to_string()));
        }
        if !self.authorization_details.is_empty() {
            wire.insert("authorization_details".to_owned(), json!(self.authorization_details));
        }
        wire.insert("expires_in".to_owned(), json!(self.expires_in));
        if let Some(kind) = self.issued_token_type {
            wire.insert("issued_token_type".to_owned(), json!(kind));
        }
        wire.insert("token_type".to_owned(), json!(self.token_type));
        wire
    }
}

impl TokenEndpoint {
    pub(crate) fn new(core: Arc<Core>, clients: ClientAuthentication) -> Self {
        Self { core, clients }
    }

    /// Answers a token request. A JSON body comes as the parameters it holds.
    pub async fn answer<'a>(
        &self,
        site: &Site,
        presented: impl Into<Presented<'a>>,
        params: &Params<'_>,
    ) -> Result<IssuedTokens, EndpointError> {
        let presented = presented.into();
        let grant_type = params.value("grant_type").ok_or_else(|| {
            EndpointError::oauth(ErrorCode::InvalidRequest, "Missing required parameter: grant_type")
        })?;
        let client = self.clients.authenticate(site, presented, params).await?;
        if !GRANT_TYPES.contains(&grant_type) {
            return Err(EndpointError::oauth(ErrorCode::UnsupportedGrantType, "Unsupported grant type"));
        }
        // FAPI 2.0 Security Profile 5.3.2.1.
        let barred = client.is_fapi2() && ["password", password::REALM_GRANT_TYPE].contains(&grant_type);
        if barred || !client.allows_grant(grant_type) {
            let text = format!("Grant type '{grant_type}' not allowed for the client.");
            return Err(EndpointError::oauth(ErrorCode::UnauthorizedClient, &text));
        }
        let bound = self.core.possession(site, &client, &presented).await?;
        match grant_type {
            "authorization_code" => self.authorization_code(site, &client, params, bound).await,
            "client_credentials" => self.client_credentials(site, &client, params, bound).await,
            "refresh_token" => self.refresh_token(site, &client, params, bound).await,
            DEVICE_CODE => self.polled(site, &client, DeferredKind::Device, params, bound).await,
            CIBA => self.polled(site, &client, DeferredKind::Backchannel, params, bound).await,
            exchange::GRANT_TYPE => self.exchange(site, &client, params, bound).await,
            assertion::GRANT_TYPE => {
                assertion::check_client(&client)?;
                self.assertion(site, &client, params, bound).await
            }
            _ => self.password(site, &client, &presented, params, bound).await,
        }
    }

    /// RFC 8628 section 3.4 and CIBA 10.1.
    async fn polled(
        &self,
        site: &Site,
        client: &Client,
        kind: DeferredKind,
        params: &Params<'_>,
        bound: Option<Confirmation>,
    ) -> Result<IssuedTokens, EndpointError> {
        let name = match kind {
            DeferredKind::Device => "device_code",
            DeferredKind::Backchannel => "auth_req_id",
        };
        let grant = self.core.polled_grant(site, client, kind, required(params, name)?).await?;
        self.tokens_of(site, client, params, take_possession(grant, bound)?, None).await
    }

    async fn authorization_code(
        &self,
        site: &Site,
        client: &Client,
        params: &Params<'_>,
        bound: Option<Confirmation>,
    ) -> Result<IssuedTokens, EndpointError> {
        let code = required(params, "code")?;
        let grant = self.redeem(site, client, code).await?;
        check_redirect_uri(&grant, params.value("redirect_uri"))?;
        check_verifier(&grant, params.value("code_verifier"))?;
        let grant = take_possession(grant, bound)?;
        self.tokens_of(site, client, params, grant, None).await
    }

    /// Everything that a grant of a user gives the first time.
    async fn tokens_of(
        &self,
        site: &Site,
        client: &Client,
        params: &Params<'_>,
        grant: Grant,
        gty: Option<&str>,
    ) -> Result<IssuedTokens, EndpointError> {
        let user = self.user(site, &grant).await?;
        let part = grant.aimed(site, params)?.narrowed(params)?;
        // The issuer that was asked for the code: the client knows no other.
        let holder = Holder { issuer: &grant.issuer, client, grant: &part, user: &user, in_browser: false };
        let mut issued = self.issue(site, &holder, &grant.scope, gty).await?;
        if grant.scope.contains("openid") {
            let (nonce, hashed) = (grant.nonce.as_deref(), issued.hashed());
            issued.id_token =
                Some(self.core.sign_id_token(site, &holder, &grant.scope, nonce, hashed).await?);
        }
        if grant.scope.contains("offline_access") && client.allows_grant("refresh_token") {
            issued.refresh_token = Some(self.core.first_refresh_token(site, client, grant).await?);
        }
        Ok(issued)
    }

    /// Uses the code up. A code that comes a second time ends everything that was made from it (RFC 6749 4.1.2).
    async fn redeem(&self, site: &Site, client: &Client, code: &str) -> Result<Grant, EndpointError> {
        let wrong = || EndpointError::oauth(ErrorCode::InvalidGrant, "Invalid authorization code");
        if code.len() > 256 {
            return Err(wrong());
        }
        let (tenant, now) = (&site.tenant.id, self.core.clock.now());
        for digest in self.core.digester.all(code) {
            match self.core.repository.redeem_code(tenant, &client.client_id, &digest, now).await? {
                Redemption::Fresh(grant) => return Ok(grant),
                Redemption::Used(grant) => {
                    self.core.revoke_family(site, &grant.family).await?;
                    return Err(wrong());
                }
                Redemption::Unknown => {}
            }
        }
        Err(wrong())
    }

    async fn client_credentials(
        &self,
        site: &Site,
        client: &Client,
        params: &Params<'_>,
        bound: Option<Confirmation>,
    ) -> Result<IssuedTokens, EndpointError> {
        if client.is_public() {
            let text = "A public client cannot use client credentials.";
            return Err(EndpointError::oauth(ErrorCode::UnauthorizedClient, text));
        }
        let own = client.default_audience.as_deref().filter(|audience| !audience.is_empty());
        let default = own.or(site.tenant.settings.default_audience.as_deref());
        let named = single_target(params)?;
        let audience = named.or(default).ok_or_else(|| {
            denied("No audience parameter was provided, and no default audience has been configured")
        })?;
        let api = self.core.api(site, Some(audience)).await?;
        let api = api.ok_or_else(|| denied(&format!("Service not enabled within domain: {audience}")))?;
        let granted = self.granted(site, client, &api, audience).await?;
        let scope = requested(params, &api, granted)?;
        details::nothing_granted(params)?;
        let subject = format!("{}@clients", client.client_id);
        let family = self.core.random.alphanumeric(22);
        let order = AccessToken {
            issuer: &site.issuer(),
            api: &api,
            audience,
            subject: &subject,
            client_id: &client.client_id,
            scope: &scope,
            permissions: &scope,
            gty: Some("client-credentials"),
            family: &family,
            confirmation: bound.as_ref(),
            in_browser: false,
            until: None,
            act: None,
            authorization_details: &[],
            userinfo_claims: Vec::new(),
        };
        check_possession(&api, bound.as_ref())?;
        let (access_token, expires_in) = self.core.sign_access_token(site, &order).await?;
        let token_type = token_type(bound.as_ref());
        Ok(IssuedTokens {
            access_token,
            token_type,
            expires_in,
            id_token: None,
            refresh_token: None,
            issued_token_type: None,
            scope,
            authorization_details: Vec::new(),
        })
    }

    /// The scopes that the client grant gives, of those the API still has.
    async fn granted(
        &self,
        site: &Site,
        client: &Client,
        api: &ResourceServer,
        audience: &str,
    ) -> Result<Scopes, EndpointError> {
        let filter = ClientGrantFilter {
            client_id: Some(&client.client_id),
            audience: Some(&api.identifier),
            subject_type: Some(SubjectType::Client),
        };
        let grants = self.core.repository.client_grants(&site.tenant.id, filter, Page::ALL).await?;
        let grant = grants.items.first().filter(|_| api.client_policy() == "require_client_grant");
        let grant = grant.ok_or_else(|| {
            denied(&format!(
                "Client is not authorized to access '{audience}'. You need to create a 'client-grant' associated to this API."
            ))
        })?;
        let known = api.scope_names();
        Ok(if grant.allow_all_scopes { known } else { grant.scopes().intersection(&known) })
    }

    async fn refresh_token(
        &self,
        site: &Site,
        client: &Client,
        params: &Params<'_>,
        bound: Option<Confirmation>,
    ) -> Result<IssuedTokens, EndpointError> {
        let token = required(params, "refresh_token")?;
        let found = self.core.refresh_token(site, client, token).await?;
        let grant = take_possession(found.grant.clone(), bound)?;
        let scope = match params.value("scope") {
            None => grant.scope.clone(),
            Some(text) => {
                let asked = Scopes::parse(text).map_err(|error| scope_error(&error.to_string()))?;
                if !grant.scope.contains_all(&asked) {
                    return Err(scope_error("The requested scope exceeds what was granted."));
                }
                asked
            }
        };
        let user = self.user(site, &grant).await?;
        let part = grant.aimed(site, params)?.narrowed(params)?;
        let next = self.core.use_refresh_token(site, client, found).await?;
        let holder = Holder { issuer: &site.issuer(), client, grant: &part, user: &user, in_browser: false };
        let mut issued = self.issue(site, &holder, &scope, Some("refresh_token")).await?;
        if scope.contains("openid") {
            // OpenID Connect Core 12.2: no nonce.
            let hashed = issued.hashed();
            issued.id_token = Some(self.core.sign_id_token(site, &holder, &scope, None, hashed).await?);
        }
        issued.refresh_token = next;
        Ok(issued)
    }

    async fn issue(
        &self,
        site: &Site,
        holder: &Holder<'_>,
        scope: &Scopes,
        gty: Option<&str>,
    ) -> Result<IssuedTokens, EndpointError> {
        let issued = self.core.user_access_token(site, holder, scope, gty).await?;
        let UserAccessToken { token: access_token, expires_in, scope } = issued;
        let token_type = token_type(holder.grant.confirmation.as_ref());
        Ok(IssuedTokens {
            access_token,
            token_type,
            expires_in,
            id_token: None,
            refresh_token: None,
            issued_token_type: None,
            scope,
            authorization_details: holder.grant.authorization_details.clone(),
        })
    }

    async fn user(&self, site: &Site, grant: &Grant) -> Result<User, EndpointError> {
        let user = self.core.repository.user(&site.tenant.id, &grant.user_id).await?;
        user.filter(|user| !user.blocked).ok_or_else(|| grant_error("user is blocked"))
    }
}

fn required<'p>(params: &'p Params<'_>, name: &str) -> Result<&'p str, EndpointError> {
    params.value(name).ok_or_else(|| {
        EndpointError::oauth(ErrorCode::InvalidRequest, &format!("Missing required parameter: {name}"))
    })
}

/// The grant with what its access tokens are bound to; not where it is itself bound to something else (RFC 9449 sections
/// 5 and 10).
fn take_possession(grant: Grant, bound: Option<Confirmation>) -> Result<Grant, EndpointError> {
    if grant.confirmation.is_some() && grant.confirmation != bound {
        return Err(grant_error("The request does not prove the key that this grant is bound to."));
    }
    Ok(Grant { confirmation: bound, ..grant })
}

fn token_type(bound: Option<&Confirmation>) -> &'static str {
    bound.map_or("Bearer", Confirmation::token_type)
}

/// RFC 6749 section 4.1.3.
fn check_redirect_uri(grant: &Grant, sent: Option<&str>) -> Result<(), EndpointError> {
    match sent {
        None if grant.redirect_uri_given => {
            Err(EndpointError::oauth(ErrorCode::InvalidRequest, "Missing required parameter: redirect_uri"))
        }
        Some(sent) if sent != grant.redirect_uri => {
            Err(grant_error("The redirect URI is not the one of the authorization request."))
        }
        _ => Ok(()),
    }
}

/// RFC 7636 section 4.6; a verifier without a challenge is a downgrade (RFC 9700 section 2.1.1, CVE-2024-23647).
fn check_verifier(grant: &Grant, sent: Option<&str>) -> Result<(), EndpointError> {
    let wrong = || grant_error("Failed to verify code verifier");
    match (grant.code_challenge.as_deref(), sent) {
        (None, None) => Ok(()),
        (Some(challenge), Some(verifier)) => {
            let challenge = Challenge::parse(challenge, Some(Challenge::METHOD)).map_err(|_| wrong())?;
            let verifier = Verifier::parse(verifier).map_err(|_| wrong())?;
            if challenge.matches(&verifier) { Ok(()) } else { Err(wrong()) }
        }
        _ => Err(wrong()),
    }
}

/// What of the granted scopes a client-credentials request gets: all of them, or those it asks for. Identity scopes mean
/// nothing without a user and are passed over, unless the API defines them.
fn requested(params: &Params<'_>, api: &ResourceServer, granted: Scopes) -> Result<Scopes, EndpointError> {
    let asked = Scopes::parse(params.value("scope").unwrap_or_default())
        .map_err(|error| scope_error(&error.to_string()))?;
    let known = api.scope_names();
    let counts = |scope: &&str| known.contains(scope) || !IDENTITY_SCOPES.contains(scope);
    let asked: Vec<&str> = asked.iter().filter(counts).collect();
    if asked.is_empty() {
        return Ok(granted);
    }
    let asked = Scopes::parse(&asked.join(" ")).map_err(|error| scope_error(&error.to_string()))?;
    let given = asked.intersection(&granted);
    if given.is_empty() {
        return Err(scope_error("None of the requested scopes has been granted to the client."));
    }
    Ok(given)
}

fn denied(text: &str) -> EndpointError {
    EndpointError::oauth(ErrorCode::AccessDenied, text)
}

fn grant_error(text: &str) -> EndpointError {
    EndpointError::oauth(ErrorCode::InvalidGrant, text)
}

fn scope_error(text: &str) -> EndpointError {
    EndpointError::oauth(ErrorCode::InvalidScope, text)
}
