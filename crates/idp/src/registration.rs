//! Dynamic client registration and its management (RFC 7591, RFC 7592, OpenID Connect Dynamic Client Registration 1.0).
//!
//! Whoever registers is a stranger: such clients are third parties. They get consent pages, the connections that are
//! offered to everybody, and no grant that takes passwords.

use std::sync::Arc;

use base::{Secret, same_bytes};
use oauth::{ClientAuthMethod, ErrorCode, OAuthError};
use serde_json::{Map, Value, json};
use url::{Host, Url};

use crate::{
    EndpointError, Site,
    bearer::invalid_token,
    deferred::{CIBA, DEVICE_CODE},
    idp::Core,
    management::clients::{check, check_unsigned},
    model::{AppType, Client, OidcLogout, ResponseType, RotationType},
    urls,
};

/// The grant types that a client may register for.
const GRANT_TYPES: [&str; 8] = [
    "authorization_code",
    "implicit",
    "refresh_token",
    "client_credentials",
    DEVICE_CODE,
    CIBA,
    "urn:ietf:params:oauth:grant-type:token-exchange",
    "urn:ietf:params:oauth:grant-type:jwt-bearer",
];

/// Metadata that a client has under the same name, and that means the same there.
const SAME: [&str; 45] = [
    "authorization_encrypted_response_alg",
    "authorization_encrypted_response_enc",
    "authorization_signed_response_alg",
    "backchannel_authentication_request_signing_alg",
    "backchannel_client_notification_endpoint",
    "backchannel_token_delivery_mode",
    "client_uri",
    "contacts",
    "default_acr_values",
    "default_max_age",
    "frontchannel_logout_session_required",
    "frontchannel_logout_uri",
    "id_token_encrypted_response_alg",
    "id_token_encrypted_response_enc",
    "initiate_login_uri",
    "introspection_encrypted_response_alg",
    "introspection_encrypted_response_enc",
    "introspection_signed_response_alg",
    "jwks",
    "jwks_uri",
    "logo_uri",
    "policy_uri",
    "request_object_encryption_alg",
    "request_object_encryption_enc",
    "request_object_signing_alg",
    "request_uris",
    "require_auth_time",
    "require_pushed_authorization_requests",
    "sector_identifier_uri",
    "software_id",
    "software_statement",
    "software_version",
    "subject_type",
    "tls_client_auth_san_dns",
    "tls_client_auth_san_email",
    "tls_client_auth_san_ip",
    "tls_client_auth_san_uri",
    "tls_client_auth_subject_dn",
    "tls_client_certificate_bound_access_tokens",
    "token_endpoint_auth_method",
    "token_endpoint_auth_signing_alg",
    "tos_uri",
    "userinfo_encrypted_response_alg",
    "userinfo_encrypted_response_enc",
    "userinfo_signed_response_alg",
];

/// Members of an information response that an update must not have (RFC 7592 section 2.2): whoever sends them means to
/// change what only the server sets.
const OURS: [&str; 4] = [
    "registration_access_token",
    "registration_client_uri",
    "client_secret_expires_at",
    "client_id_issued_at",
];

/// `/oidc/register`.
#[derive(Clone)]
pub struct Registration {
    core: Arc<Core>,
}

impl Registration {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// Whether the tenant has it.
    pub fn is_enabled(&self, site: &Site) -> bool {
        site.tenant.settings.flags.enable_dynamic_client_registration
    }

    /// Registers a client: the information response (RFC 7591 section 3.2.1).
    ///
    /// # Errors
    ///
    /// `invalid_redirect_uri` and `invalid_client_metadata`.
    pub async fn register(
        &self,
        site: &Site,
        metadata: &Map<String, Value>,
    ) -> Result<Map<String, Value>, EndpointError> {
        let token = Secret::new(self.core.random.token(32));
        let blank = Client {
            client_id: self.core.random.alphanumeric(32),
            client_secret: Some(Secret::new(self.core.random.alphanumeric(64))),
            created_at: self.core.clock.now().0,
            is_first_party: false,
            oidc_conformant: true,
            registration_token: Some(self.core.digester.digest(token.expose())),
            ..Client::default()
        };
        let client = self.read_metadata(site, blank, metadata).await?;
        self.core.repository.create_client(&site.tenant.id, &client).await?;
        Ok(describe(site, &client, token.expose()))
    }

    /// Reads a registration (RFC 7592 section 2.1).
    ///
    /// # Errors
    ///
    /// `invalid_token`, for a client that is not there as well.
    pub async fn read(
        &self,
        site: &Site,
        client_id: &str,
        token: &str,
    ) -> Result<Map<String, Value>, EndpointError> {
        let client = self.own(site, client_id, token).await?;
        Ok(describe(site, &client, token))
    }

    /// Replaces a registration (RFC 7592 section 2.2): what is left out goes back to its default.
    ///
    /// # Errors
    ///
    /// As [`Registration::register`] and [`Registration::read`].
    pub async fn replace(
        &self,
        site: &Site,
        client_id: &str,
        token: &str,
        metadata: &Map<String, Value>,
    ) -> Result<Map<String, Value>, EndpointError> {
        let client = self.own(site, client_id, token).await?;
        if metadata.get("client_id").and_then(Value::as_str) != Some(client_id) {
            return Err(unfit("client_id must be the client's own"));
        }
        if let Some(name) = OURS.into_iter().find(|name| metadata.contains_key(*name)) {
            return Err(unfit(&format!("{name} is not for clients to send")));
        }
        let secret = client.client_secret.as_ref().map_or("", |secret| secret.expose().as_str());
        let same = |sent: &str| same_bytes(sent.as_bytes(), secret.as_bytes());
        if metadata.get("client_secret").is_some_and(|sent| !sent.as_str().is_some_and(same)) {
            return Err(unfit("client_secret must be the client's own"));
        }
        let by_credentials = client.client_authentication_methods.is_some();
        let method = client.token_endpoint_auth_method.filter(|_| by_credentials);
        let client = self.read_metadata(site, without_registration(client), metadata).await?;
        if by_credentials && client.token_endpoint_auth_method != method {
            return Err(unfit("token_endpoint_auth_method is set by an administrator"));
        }
        if !self.core.repository.update_client(&site.tenant.id, &client).await? {
            return Err(invalid_token());
        }
        Ok(describe(site, &client, token))
    }

    /// Ends a registration, and everything that the client has (RFC 7592 section 2.3).
    ///
    /// # Errors
    ///
    /// As [`Registration::read`].
    pub async fn delete(&self, site: &Site, client_id: &str, token: &str) -> Result<(), EndpointError> {
        let client = self.own(site, client_id, token).await?;
        self.core.repository.delete_client(&site.tenant.id, &client.client_id).await?;
        Ok(())
    }

    /// The client whose registration this token manages.
    async fn own(&self, site: &Site, client_id: &str, token: &str) -> Result<Client, EndpointError> {
        let client = self.core.repository.client(&site.tenant.id, client_id).await?;
        let fits = |client: &Client| {
            let known = client.registration_token;
            token.len() <= 256 && self.core.digester.all(token).any(|digest| Some(digest) == known)
        };
        client.filter(fits).ok_or_else(invalid_token)
    }

    async fn read_metadata(
        &self,
        site: &Site,
        blank: Client,
        metadata: &Map<String, Value>,
    ) -> Result<Client, EndpointError> {
        let metadata = &self.core.stated(site, metadata).await?;
        let mut client = same_members(blank, metadata)?;
        let text = |name: &str| match metadata.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(unfit(&format!("{name} must be a string"))),
        };
        client.token_endpoint_auth_method.get_or_insert(ClientAuthMethod::ClientSecretBasic);
        client.name = text("client_name")?.unwrap_or_else(|| "A registered application".to_owned());
        let native = match text("application_type")?.as_deref() {
            None | Some("web") => false,
            Some("native") => true,
            Some(_) => return Err(unfit("application_type must be web or native")),
        };
        client.app_type = Some(if native { AppType::Native } else { AppType::RegularWeb });
        client.jwt_configuration.alg = text("id_token_signed_response_alg")?;
        client.require_proof_of_possession = match metadata.get("dpop_bound_access_tokens") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(bound)) => *bound,
            Some(_) => return Err(unfit("dpop_bound_access_tokens must be true or false")),
        };
        client.grant_types = grant_types(metadata)?;
        client.callbacks =
            list(metadata, "redirect_uris", ErrorCode::InvalidRedirectUri)?.unwrap_or_default();
        let returns = ["authorization_code", "implicit"].iter().any(|grant| client.allows_grant(grant));
        if returns && client.callbacks.is_empty() {
            return Err(misdirected("redirect_uris is missing"));
        }
        let front_only = client.allows_grant("implicit") && !client.allows_grant("authorization_code");
        if let Some(bad) = client.callbacks.iter().find(|uri| !is_redirect_uri(uri, native, front_only)) {
            let shown: String = bad.chars().filter(|c| !c.is_control()).take(100).collect();
            return Err(misdirected(&format!("{shown} cannot be registered as a redirect URI")));
        }
        client.allowed_logout_urls =
            list(metadata, "post_logout_redirect_uris", ErrorCode::InvalidClientMetadata)?
                .unwrap_or_default();
        if client.allowed_logout_urls.iter().any(|uri| uri.contains('*')) {
            return Err(unfit("post_logout_redirect_uris cannot have wildcards"));
        }
        // Logout tokens name the session whether that is required or not.
        if metadata
            .get("backchannel_logout_session_required")
            .is_some_and(|value| !value.is_null() && !value.is_boolean())
        {
            return Err(unfit("backchannel_logout_session_required must be true or false"));
        }
        let logout = client.oidc_logout.take().unwrap_or_default();
        client.oidc_logout = text("backchannel_logout_uri")?
            .map(|uri| OidcLogout { backchannel_logout_urls: vec![uri], ..logout });
        if client.is_public() {
            client.refresh_token.rotation_type = RotationType::Rotating;
        }
        let keyed = client.token_endpoint_auth_method == Some(ClientAuthMethod::PrivateKeyJwt);
        if keyed && client.jwks.is_none() && client.jwks_uri.is_none() {
            return Err(unfit("private_key_jwt needs jwks or jwks_uri"));
        }
        let fetched = [
            &client.jwks_uri,
            &client.backchannel_client_notification_endpoint,
            &client.sector_identifier_uri,
        ];
        let told = client.oidc_logout.iter().flat_map(|logout| &logout.backchannel_logout_urls);
        for uri in fetched.into_iter().flatten().chain(told) {
            if self.core.outbound.permits(uri).is_err() {
                return Err(unfit("jwks_uri or another address is none that may be fetched"));
            }
        }
        let fronts = |name: &String| ResponseType::parse(name).is_some_and(|kind| kind.id_token);
        let responses = list(metadata, "response_types", ErrorCode::InvalidClientMetadata)?;
        let unsigned = client.jwt_configuration.alg.as_deref() == Some("none");
        if unsigned && responses.iter().flatten().any(fronts) {
            // OpenID Connect Core 3.1.3.7: only what comes straight from the token endpoint may be unsigned.
            return Err(unfit("id_token_signed_response_alg none does not go with these response_types"));
        }
        check(&client)
            .and_then(|()| check_unsigned(site, &client))
            .map_err(|error| unfit(&error.to_string()))?;
        if let Some(problem) = self.core.sector_problem(&client).await {
            return Err(unfit(&format!("sector_identifier_uri: {problem}")));
        }
        Ok(client)
    }
}

/// What of a client no registration sets: administrators do, and an update takes nothing of it back.
fn without_registration(client: Client) -> Client {
    let by_credentials = client.client_authentication_methods.is_some();
    Client {
        client_id: client.client_id,
        client_secret: client.client_secret,
        created_at: client.created_at,
        description: client.description,
        is_first_party: client.is_first_party,
        oidc_conformant: client.oidc_conformant,
        sso_disabled: client.sso_disabled,
        custom_login_page_on: client.custom_login_page_on,
        token_endpoint_auth_method: client.token_endpoint_auth_method.filter(|_| by_credentials),
        client_authentication_methods: client.client_authentication_methods,
        credentials: client.credentials,
        web_origins: client.web_origins,
        allowed_origins: client.allowed_origins,
        registration_token: client.registration_token,
        jwt_configuration: client.jwt_configuration,
        refresh_token: client.refresh_token,
        client_metadata: client.client_metadata,
        organization_usage: client.organization_usage,
        default_audience: client.default_audience,
        par_request_expiry: client.par_request_expiry,
        signed_request_object: client.signed_request_object,
        compliance_level: client.compliance_level,
        oidc_logout: client.oidc_logout,
        ..Client::default()
    }
}

/// Lays the members that a client has under the same names over `blank`.
fn same_members(blank: Client, metadata: &Map<String, Value>) -> Result<Client, EndpointError> {
    let (secret, token) = (blank.client_secret.clone(), blank.registration_token);
    let Ok(Value::Object(mut object)) = serde_json::to_value(&blank) else {
        return Err(unfit("the metadata cannot be read"));
    };
    for name in SAME {
        let Some(value) = metadata.get(name).filter(|value| !value.is_null()) else { continue };
        object.insert(name.to_owned(), value.clone());
        if serde_json::from_value::<Client>(Value::Object(object.clone())).is_err() {
            return Err(unfit(&format!("{name} is of a wrong type or has a value that is not supported")));
        }
    }
    let read = serde_json::from_value::<Client>(Value::Object(object));
    let client = read.map_err(|_| unfit("the metadata cannot be read"))?;
    Ok(Client { client_secret: secret, registration_token: token, ..client })
}

/// The grant types, which must fit the response types (OpenID Connect Dynamic Client Registration 2).
fn grant_types(metadata: &Map<String, Value>) -> Result<Vec<String>, EndpointError> {
    let code = ErrorCode::InvalidClientMetadata;
    let grants = list(metadata, "grant_types", code.clone())?;
    let responses = list(metadata, "response_types", code)?;
    let mut needed = Vec::new();
    for response in responses.iter().flatten() {
        let Some(kind) = ResponseType::parse(response) else {
            return Err(unfit("response_types names one that does not exist"));
        };
        needed.extend(kind.code.then_some("authorization_code"));
        needed.extend(kind.is_front_channel().then_some("implicit"));
    }
    let Some(grants) = grants else {
        let mut grants: Vec<String> = vec!["authorization_code".to_owned()];
        if !needed.is_empty() {
            needed.sort_unstable();
            needed.dedup();
            grants = needed.into_iter().map(str::to_owned).collect();
        }
        return Ok(grants);
    };
    if let Some(unknown) = grants.iter().find(|grant| !GRANT_TYPES.contains(&grant.as_str())) {
        let shown: String = unknown.chars().filter(|c| !c.is_control()).take(100).collect();
        return Err(unfit(&format!("grant_types: {shown} cannot be registered for")));
    }
    if let Some(missing) = needed.iter().find(|needed| !grants.iter().any(|grant| grant == *needed)) {
        return Err(unfit(&format!("response_types needs the grant type {missing}")));
    }
    Ok(grants)
}

/// A list of strings.
fn list(
    metadata: &Map<String, Value>,
    name: &str,
    code: ErrorCode,
) -> Result<Option<Vec<String>>, EndpointError> {
    let wrong = || EndpointError::oauth(code, &format!("{name} must be a list of up to 100 strings"));
    match metadata.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(items)) if items.len() <= 100 => {
            let texts = items.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>();
            texts.map(Some).ok_or_else(wrong)
        }
        Some(_) => Err(wrong()),
    }
}

/// Web applications are reached by https under a name, on this machine by http as well unless tokens go there through the
/// browser; native ones by a scheme of their own or on this machine (OpenID Connect Dynamic Client Registration 2, RFC
/// 8252 section 7).
fn is_redirect_uri(uri: &str, native: bool, front_only: bool) -> bool {
    let Ok(url) = Url::parse(uri) else { return false };
    if !urls::is_callback(uri) {
        return false;
    }
    let loopback = urls::is_loopback(uri);
    let address = matches!(url.host(), Some(Host::Ipv4(_) | Host::Ipv6(_)));
    match url.scheme() {
        "https" => !address || loopback,
        "http" => loopback && !front_only,
        // RFC 8252 section 7.1: a scheme is a domain name backwards, so that nobody takes `mailto`.
        scheme => native && scheme.contains('.'),
    }
}

/// The information response. The token is the one that came, or the new one.
fn describe(site: &Site, client: &Client, token: &str) -> Map<String, Value> {
    let stored = match serde_json::to_value(client) {
        Ok(Value::Object(stored)) => stored,
        _ => Map::new(),
    };
    let mut wire = Map::new();
    wire.insert("client_id".to_owned(), json!(client.client_id));
    wire.insert("client_id_issued_at".to_owned(), json!(client.created_at.div_euclid(1000)));
    if let (true, Some(secret)) = (uses_secret(client), &client.client_secret) {
        wire.insert("client_secret".to_owned(), json!(secret.expose()));
        wire.insert("client_secret_expires_at".to_owned(), json!(0));
    }
    let place = site.url(&format!("/oidc/register/{}", client.client_id));
    wire.insert("registration_client_uri".to_owned(), json!(place));
    wire.insert("registration_access_token".to_owned(), json!(token));
    wire.insert("client_name".to_owned(), json!(client.name));
    let native = client.app_type == Some(AppType::Native);
    wire.insert("application_type".to_owned(), json!(if native { "native" } else { "web" }));
    wire.insert("redirect_uris".to_owned(), json!(client.callbacks));
    wire.insert("grant_types".to_owned(), json!(client.grant_types));
    wire.insert("response_types".to_owned(), json!(response_types(site, client)));
    wire.insert("post_logout_redirect_uris".to_owned(), json!(client.allowed_logout_urls));
    let alg = client.id_token_alg();
    wire.insert("id_token_signed_response_alg".to_owned(), json!(alg));
    wire.insert("subject_type".to_owned(), json!("public"));
    wire.insert("dpop_bound_access_tokens".to_owned(), json!(client.require_proof_of_possession));
    if let Some(uri) = client.oidc_logout.as_ref().and_then(|logout| logout.backchannel_logout_urls.first()) {
        wire.insert("backchannel_logout_uri".to_owned(), json!(uri));
        wire.insert("backchannel_logout_session_required".to_owned(), json!(true));
    }
    for name in SAME {
        if let Some(value) = stored.get(name) {
            wire.insert(name.to_owned(), value.clone());
        }
    }
    wire
}

/// Whether the secret is of any use to the client.
fn uses_secret(client: &Client) -> bool {
    use ClientAuthMethod::{ClientSecretBasic, ClientSecretJwt, ClientSecretPost};
    let by_secret = |method| matches!(method, ClientSecretBasic | ClientSecretPost | ClientSecretJwt);
    client.token_endpoint_auth_method.is_none_or(by_secret)
        || [
            &client.jwt_configuration.alg,
            &client.userinfo_signed_response_alg,
            &client.introspection_signed_response_alg,
            &client.authorization_signed_response_alg,
        ]
        .into_iter()
        .any(|alg| alg.as_deref() == Some("HS256"))
}

/// The response types that the client may use here.
fn response_types(site: &Site, client: &Client) -> Vec<&'static str> {
    let implicit = site.tenant.settings.flags.enable_implicit_flow;
    let may = |kind: ResponseType| {
        (!kind.code || client.allows_grant("authorization_code"))
            && (!kind.is_front_channel() || client.allows_grant("implicit"))
            && (implicit || !kind.is_implicit())
    };
    ResponseType::ALL.into_iter().filter(|(_, kind)| may(*kind)).map(|(name, _)| name).collect()
}

fn unfit(text: &str) -> EndpointError {
    OAuthError::new(ErrorCode::InvalidClientMetadata, text).into()
}

fn misdirected(text: &str) -> EndpointError {
    OAuthError::new(ErrorCode::InvalidRedirectUri, text).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Metadata that is read here.
    const OWN: [&str; 10] = [
        "application_type",
        "backchannel_logout_session_required",
        "backchannel_logout_uri",
        "client_name",
        "dpop_bound_access_tokens",
        "grant_types",
        "id_token_signed_response_alg",
        "post_logout_redirect_uris",
        "redirect_uris",
        "response_types",
    ];

    #[test]
    fn o44_redirect_uris_fit_the_kind_of_application() {
        for good in ["https://a.example/cb", "https://a.example/cb?x=1", "http://localhost:3000/cb"] {
            assert!(is_redirect_uri(good, false, false), "{good}");
        }
        for bad in [
            "http://a.example/cb",
            "https://192.0.2.1/cb",
            "https://[2001:db8::1]/cb",
            "https://a.example/cb#x",
            "com.example.app:/cb",
            "javascript:alert(1)",
        ] {
            assert!(!is_redirect_uri(bad, false, false), "{bad}");
        }
        assert!(is_redirect_uri("com.example.app:/cb", true, false));
        assert!(is_redirect_uri("http://127.0.0.1/cb", true, false));
        assert!(!is_redirect_uri("mailto:/cb", true, false));
        assert!(!is_redirect_uri("http://localhost/cb", false, true));
    }

    #[test]
    fn nothing_is_read_twice() {
        let known: Vec<&str> = SAME.into_iter().chain(OWN).collect();
        assert!(known.iter().enumerate().all(|(place, name)| !known[..place].contains(name)));
    }
}
