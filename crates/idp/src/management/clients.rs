use std::{str::FromStr, sync::Arc};

use base::Secret;
use jose::{Alg, jwe::Enc};
use oauth::ClientAuthMethod;
use serde_json::Value;

use super::{
    ManagementError, Object,
    overlay::{Rules, no_callback_prompt, refuse_within},
    wording::invalid,
};
use crate::{
    Site,
    authorization::{pushed::LIFETIMES, request_object::REQUEST_ALGS},
    client_authentication::ASSERTION_ALGS,
    idp::Core,
    keys::SIGNING_ALGS,
    model::{AppType, BackchannelDelivery, Client, RotationType},
    repository::{Listing, Page},
    sealing::{KEY_ALGS, Protection},
    urls,
};

const RULES: Rules = Rules {
    read_only: &[
        "client_id",
        "tenant",
        "global",
        "created_at",
        "signing_keys",
        "callback_url_template",
        "registration_token",
        "credentials",
        "software_statement",
    ],
    merged: &["client_metadata", "jwt_configuration", "refresh_token", "signed_request_object"],
    unsupported: &[
        "addons",
        "async_approval_notification_channels",
        "b2b_integration_configuration",
        "client_aliases",
        "cross_origin_loc",
        "custom_login_page",
        "custom_login_page_preview",
        "default_organization",
        "encryption_key",
        "express_configuration",
        "fedcm_login",
        "form_template",
        "identity_assertion_authorization_grant",
        "mobile",
        "my_organization_configuration",
        "native_social_login",
        "organization_discovery_methods",
        "organization_require_behavior",
        "organization_usage",
        "redirection_policy",
        "resource_server_identifier",
        "session_transfer",
        "sso",
        "third_party_security_mode",
        "token_exchange",
        "token_quota",
        "token_vault_privileged_access",
    ],
};

/// The same inside of members that there are.
const UNSUPPORTED_WITHIN: [(&str, &str); 3] = [
    ("oidc_logout", "backchannel_logout_session_metadata"),
    ("refresh_token", "policies"),
    ("signed_request_object", "credentials"),
];

/// Grant types that Auth0 has. A client may be registered for each; those that do not work here are refused when used.
const GRANT_TYPES: [&str; 15] = [
    "authorization_code",
    "client_credentials",
    "refresh_token",
    "implicit",
    "password",
    "http://auth0.com/oauth/grant-type/password-realm",
    "http://auth0.com/oauth/grant-type/mfa-oob",
    "http://auth0.com/oauth/grant-type/mfa-otp",
    "http://auth0.com/oauth/grant-type/mfa-recovery-code",
    "http://auth0.com/oauth/grant-type/passwordless/otp",
    "urn:ietf:params:oauth:grant-type:device_code",
    "urn:ietf:params:oauth:grant-type:token-exchange",
    "urn:ietf:params:oauth:grant-type:jwt-bearer",
    "urn:openid:params:grant-type:ciba",
    "urn:okta:params:oauth:grant-type:webauthn",
];

/// Clients.
#[derive(Clone)]
pub struct ClientService {
    core: Arc<Core>,
}

impl ClientService {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// One page of them, the client that stands for all among them.
    pub async fn list(&self, site: &Site, page: Page) -> Result<Listing<Client>, ManagementError> {
        Ok(self.core.repository.clients(&site.tenant.id, page).await?)
    }

    /// One of them.
    pub async fn read(&self, site: &Site, id: &str) -> Result<Client, ManagementError> {
        self.core.repository.client(&site.tenant.id, id).await?.ok_or(MISSING)
    }

    /// Makes one (201).
    pub async fn create(&self, site: &Site, mut body: Object) -> Result<Client, ManagementError> {
        rename_logout(&mut body);
        refuse_unread(&mut body)?;
        let chosen = take_secret(&mut body)?;
        let methods = body.shift_remove("client_authentication_methods");
        let method_given = names_method(&body);
        let rotation_given = body.contains_key("refresh_token");
        let mut client = RULES.apply(&Client::default(), body)?;
        self.choose_methods(&mut client, methods, method_given)?;
        client.client_id = self.core.random.alphanumeric(32);
        client.client_secret = Some(chosen.unwrap_or_else(|| self.new_secret()));
        client.created_at = self.core.clock.now().0;
        let unset = !method_given && client.client_authentication_methods.is_none();
        if unset && matches!(client.app_type, Some(AppType::Spa | AppType::Native)) {
            client.token_endpoint_auth_method = Some(ClientAuthMethod::None);
        }
        if !rotation_given && client.is_public() {
            client.refresh_token.rotation_type = RotationType::Rotating;
        }
        self.check_all(site, None, &client).await?;
        self.core.repository.create_client(&site.tenant.id, &client).await?;
        Ok(client)
    }

    /// Changes what `body` names.
    pub async fn update(&self, site: &Site, id: &str, mut body: Object) -> Result<Client, ManagementError> {
        rename_logout(&mut body);
        refuse_unread(&mut body)?;
        let chosen = take_secret(&mut body)?;
        let current = self.read(site, id).await?;
        let methods = body.shift_remove("client_authentication_methods");
        let method_given = names_method(&body);
        if !method_given && current.client_authentication_methods.is_some() {
            // A null is what it is already: another member says how this client authenticates.
            body.shift_remove("token_endpoint_auth_method");
        }
        let mut client = RULES.apply(&current, body)?;
        self.choose_methods(&mut client, methods, method_given)?;
        client.client_secret = chosen.or_else(|| current.client_secret.clone());
        self.check_all(site, Some(&current), &client).await?;
        self.save(site, client).await
    }

    /// Deletes one (204).
    pub async fn delete(&self, site: &Site, id: &str) -> Result<(), ManagementError> {
        if self.read(site, id).await?.global {
            return Err(ManagementError::Unsupported("The global client cannot be deleted.".to_owned()));
        }
        let (tenant, repository) = (&site.tenant.id, &self.core.repository);
        if !repository.delete_client(tenant, id).await? {
            return Err(MISSING);
        }
        for mut connection in repository.connections(tenant, Page::ALL).await?.items {
            let before = connection.enabled_clients.len();
            connection.enabled_clients.retain(|enabled| enabled != id);
            if connection.enabled_clients.len() < before {
                repository.update_connection(tenant, &connection).await?;
            }
        }
        Ok(())
    }

    /// Gives it a new secret; the old one stops working.
    pub async fn rotate_secret(&self, site: &Site, client_id: &str) -> Result<Client, ManagementError> {
        let mut client = self.read(site, client_id).await?;
        client.client_secret = Some(self.new_secret());
        self.save(site, client).await
    }

    /// What takes more than the client to judge. `before` is what it was.
    async fn check_all(
        &self,
        site: &Site,
        before: Option<&Client>,
        client: &Client,
    ) -> Result<(), ManagementError> {
        check(client)?;
        check_unsigned(site, client)?;
        // The document at the sector's address is somebody else's to serve: it is asked for when it matters.
        if before.is_some_and(|before| before.names_same_sector(client)) {
            return Ok(());
        }
        match self.core.sector_problem(client).await {
            Some(problem) => Err(invalid("sector_identifier_uri", problem)),
            None => Ok(()),
        }
    }

    fn new_secret(&self) -> Secret<String> {
        Secret::new(self.core.random.alphanumeric(64))
    }

    pub(super) fn core(&self) -> &Core {
        &self.core
    }

    pub(super) async fn save(&self, site: &Site, client: Client) -> Result<Client, ManagementError> {
        if self.core.repository.update_client(&site.tenant.id, &client).await? {
            Ok(client)
        } else {
            Err(MISSING)
        }
    }
}

const MISSING: ManagementError =
    ManagementError::NotFound { code: Some("inexistent_client"), message: "The client does not exist" };

fn names_method(body: &Object) -> bool {
    body.get("token_endpoint_auth_method").is_some_and(|method| !method.is_null())
}

/// `oidc_logout` was called `oidc_backchannel_logout` before.
fn rename_logout(body: &mut Object) {
    if let Some(logout) = body.shift_remove("oidc_backchannel_logout") {
        body.entry("oidc_logout").or_insert(logout);
    }
}

/// What Auth0 reads of a client and this build does not: taken where it says what is the case anyway, as Auth0's tools
/// send it.
fn refuse_unread(body: &mut Object) -> Result<(), ManagementError> {
    // It was called so before.
    if let Some(value) = body.shift_remove("cross_origin_auth") {
        body.entry("cross_origin_authentication").or_insert(value);
    }
    for (member, name) in UNSUPPORTED_WITHIN {
        refuse_within(body, member, name)?;
    }
    no_callback_prompt(body)?;
    let on = |name: &str| body.get(name).and_then(Value::as_bool) == Some(true);
    let switches = ["cross_origin_authentication", "is_token_endpoint_ip_header_trusted"];
    if let Some(name) = switches.into_iter().find(|name| on(name)) {
        return Err(ManagementError::Unsupported(format!("{name}=true is not supported.")));
    }
    let named = body.get("allowed_clients").and_then(Value::as_array).is_some_and(|items| !items.is_empty());
    if named {
        return Err(ManagementError::Unsupported(
            "The property allowed_clients is not supported.".to_owned(),
        ));
    }
    Ok(())
}

/// The secret an administrator chose: long enough to be the key of HS256.
fn take_secret(body: &mut Object) -> Result<Option<Secret<String>>, ManagementError> {
    match body.shift_remove("client_secret") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(secret)) if (32..=255).contains(&secret.len()) => Ok(Some(Secret::new(secret))),
        Some(_) => Err(invalid("client_secret", "Expected a string of 32 to 255 characters")),
    }
}

/// Whether the tenant has unsigned ID tokens, where the client is to get such.
pub(crate) fn check_unsigned(site: &Site, client: &Client) -> Result<(), ManagementError> {
    let wanted = client.jwt_configuration.alg.as_deref() == Some("none");
    match wanted && !site.tenant.settings.flags.enable_unsigned_id_tokens {
        true => Err(invalid("jwt_configuration.alg", "Unsigned ID tokens are switched off")),
        false => Ok(()),
    }
}

/// Whether a client can be kept.
pub(crate) fn check(client: &Client) -> Result<(), ManagementError> {
    let name = client.name.trim();
    if name.is_empty() || client.name.len() > 255 || client.name.contains(['<', '>']) {
        return Err(invalid("name", "Expected 1 to 255 characters without < and >"));
    }
    if client.description.as_ref().is_some_and(|text| text.chars().count() > 140) {
        return Err(invalid("description", "String is too long"));
    }
    check_urls("callbacks", &client.callbacks, urls::is_callback)?;
    check_urls("allowed_logout_urls", &client.allowed_logout_urls, urls::is_logout_url)?;
    check_urls("web_origins", &client.web_origins, urls::is_origin)?;
    check_urls("allowed_origins", &client.allowed_origins, urls::is_origin)?;
    // A login that begins on an unprotected page can be begun by anybody on the way.
    let login = |uri: &String| uri.starts_with("https://") && urls::is_callback(uri);
    if client.initiate_login_uri.as_ref().is_some_and(|uri| !login(uri)) {
        return Err(invalid("initiate_login_uri", "Expected an https URL"));
    }
    let image =
        |uri: &String| (uri.starts_with("https://") || uri.starts_with("http://")) && urls::is_callback(uri);
    let pages = [
        ("client_uri", &client.client_uri),
        ("policy_uri", &client.policy_uri),
        ("tos_uri", &client.tos_uri),
    ];
    if let Some((name, _)) = pages.into_iter().find(|(_, uri)| uri.as_ref().is_some_and(|uri| !image(uri))) {
        return Err(invalid(name, "Expected an http or https URL"));
    }
    if client.contacts.len() > 10 || client.contacts.iter().any(|contact| contact.len() > 320) {
        return Err(invalid("contacts", "Expected up to 10 addresses"));
    }
    if client.logo_uri.as_ref().is_some_and(|uri| !uri.is_empty() && !image(uri)) {
        return Err(invalid("logo_uri", "Expected an http or https URL"));
    }
    if let Some(place) = client.grant_types.iter().position(|name| !GRANT_TYPES.contains(&name.as_str())) {
        let text = format!("No enum match, must be one of: {}", GRANT_TYPES.join(", "));
        return Err(invalid(&format!("grant_types[{place}]"), &text));
    }
    let methods = crate::client_authentication::METHODS;
    if client.token_endpoint_auth_method.is_some_and(|method| !methods.contains(&method)) {
        return Err(ManagementError::Unsupported(
            "This token_endpoint_auth_method is not supported.".to_owned(),
        ));
    }
    let metadata_fits = |(name, value): (&String, &Value)| {
        name.len() <= 255 && value.as_str().is_some_and(|text| text.chars().count() <= 255)
    };
    if client.client_metadata.len() > 10 || !client.client_metadata.iter().all(metadata_fits) {
        return Err(invalid("client_metadata", "Expected up to 10 strings of up to 255 characters"));
    }
    check_requests(client)?;
    let logout = client.oidc_logout.as_ref().map_or(&[][..], |logout| &logout.backchannel_logout_urls);
    check_urls("oidc_logout.backchannel_logout_urls", logout, urls::is_callback)?;
    if logout.len() > 5 || !logout.iter().all(|url| url.starts_with("https://") || url.starts_with("http://"))
    {
        return Err(invalid("oidc_logout.backchannel_logout_urls", "Expected up to 5 http or https URLs"));
    }
    if !client.frames_its_own() {
        return Err(invalid(
            "frontchannel_logout_uri",
            "Expected an http or https URL on the origin of a callback",
        ));
    }
    check_tokens(client)
}

/// What the client's authorization requests and their answers look like.
fn check_requests(client: &Client) -> Result<(), ManagementError> {
    let lifetime = |seconds: i64| LIFETIMES.contains(&seconds);
    if client.par_request_expiry.is_some_and(|seconds| !lifetime(seconds)) {
        return Err(invalid("par_request_expiry", "Expected 10 to 600"));
    }
    let signs = |name: &String| name == "none" || REQUEST_ALGS.iter().any(|alg| alg.as_str() == name);
    if client.request_object_signing_alg.as_ref().is_some_and(|name| !signs(name)) {
        let text = "Expected RS256, PS256, ES256, EdDSA or none";
        return Err(invalid("request_object_signing_alg", text));
    }
    if client.requires_signed_requests() && client.request_object_signing_alg.as_deref() == Some("none") {
        return Err(invalid("request_object_signing_alg", "none does not go with signed_request_object"));
    }
    check_encryption(
        "request_object_encryption",
        client.request_object_encryption_alg.as_deref(),
        client.request_object_encryption_enc.as_deref(),
    )?;
    for (name, text) in [("software_id", &client.software_id), ("software_version", &client.software_version)]
    {
        if text.as_ref().is_some_and(|text| text.chars().count() > 255) {
            return Err(invalid(name, "Expected up to 255 characters"));
        }
    }
    if client.default_max_age.is_some_and(|seconds| !(0..=31_536_000).contains(&seconds)) {
        return Err(invalid("default_max_age", "Expected 0 to 31536000"));
    }
    let word =
        |value: &String| !value.is_empty() && value.len() <= 255 && !value.contains(char::is_whitespace);
    if client.default_acr_values.len() > 20 || !client.default_acr_values.iter().all(word) {
        return Err(invalid("default_acr_values", "Expected up to 20 values without blanks"));
    }
    // OpenID Connect Core 6.2: https, and a fragment that says what the content is.
    let place = |uri: &str| uri.split_once('#').map_or(uri, |(place, _)| place).to_owned();
    if client.request_uris.len() > 100 || !client.request_uris.iter().all(|uri| is_document(&place(uri))) {
        return Err(invalid("request_uris", "Expected up to 100 http or https URLs"));
    }
    match &client.jwks_uri {
        Some(_) if client.jwks.is_some() => Err(invalid("jwks_uri", "It does not go with jwks")),
        Some(uri) if !is_document(uri) => Err(invalid("jwks_uri", "Expected an http or https URL")),
        _ => Ok(()),
    }
}

/// An address that something can be fetched from. The guard of outbound requests says whether it is.
pub(super) fn is_document(uri: &str) -> bool {
    (uri.starts_with("https://") || uri.starts_with("http://")) && urls::is_callback(uri)
}

fn check_tokens(client: &Client) -> Result<(), ManagementError> {
    let signs =
        |name: &String| Alg::from_str(name).is_ok_and(|alg| SIGNING_ALGS.contains(&alg) || alg == Alg::HS256);
    let jwt = &client.jwt_configuration;
    let unsigned = jwt.alg.as_deref() == Some("none");
    if !unsigned && jwt.alg.as_ref().is_some_and(|alg| !signs(alg)) {
        return Err(invalid("jwt_configuration.alg", "Expected RS256, PS256, ES256, EdDSA or HS256"));
    }
    let answers = [
        ("authorization_signed_response_alg", &client.authorization_signed_response_alg),
        ("userinfo_signed_response_alg", &client.userinfo_signed_response_alg),
        ("introspection_signed_response_alg", &client.introspection_signed_response_alg),
    ];
    for (name, alg) in answers {
        if alg.as_ref().is_some_and(|alg| !signs(alg)) {
            return Err(invalid(name, "Expected RS256, PS256, ES256, EdDSA or HS256"));
        }
    }
    check_protection(client)?;
    check_compliance(client)?;
    if !(1..=2_592_000).contains(&jwt.lifetime_in_seconds) {
        return Err(invalid("jwt_configuration.lifetime_in_seconds", "Expected 1 to 2592000"));
    }
    let refresh = &client.refresh_token;
    if !(0..=60).contains(&refresh.leeway) {
        return Err(invalid("refresh_token.leeway", "Expected 0 to 60"));
    }
    let lifetimes = [refresh.token_lifetime, refresh.idle_token_lifetime];
    if lifetimes.iter().any(|seconds| !(1..=157_788_000).contains(seconds)) {
        return Err(invalid("refresh_token", "Expected lifetimes of 1 to 157788000 seconds"));
    }
    check_keys(client)?;
    if client.jwks.as_ref().is_some_and(|jwks| jose::KeySet::parse(jwks.to_string().as_bytes()).is_err()) {
        return Err(invalid("jwks", "Expected a JWK Set of public keys"));
    }
    // What a client keeps to itself is nobody's to store, and a key that was sent about is no secret any more.
    let keys = client.jwks.as_ref().and_then(|jwks| jwks.get("keys")).and_then(Value::as_array);
    let private =
        |key: &Value| ["d", "k", "p", "q", "dp", "dq", "qi"].iter().any(|name| key.get(name).is_some());
    if keys.into_iter().flatten().any(private) {
        return Err(invalid("jwks", "Expected public keys alone"));
    }
    Ok(())
}

/// A client cannot follow the FAPI 2.0 Security Profile and be set to what that forbids (sections 5.3.2 and 5.4.1).
fn check_compliance(client: &Client) -> Result<(), ManagementError> {
    let Some(level) = client.compliance_level else { return Ok(()) };
    if !level.allows_method(client.token_endpoint_auth_method) {
        let text = "The compliance_level asks for private_key_jwt, or for a certificate";
        return Err(invalid("token_endpoint_auth_method", text));
    }
    let algs = [
        ("jwt_configuration.alg", &client.jwt_configuration.alg),
        ("authorization_signed_response_alg", &client.authorization_signed_response_alg),
        ("request_object_signing_alg", &client.request_object_signing_alg),
        ("token_endpoint_auth_signing_alg", &client.token_endpoint_auth_signing_alg),
        ("userinfo_signed_response_alg", &client.userinfo_signed_response_alg),
        ("introspection_signed_response_alg", &client.introspection_signed_response_alg),
        (
            "backchannel_authentication_request_signing_alg",
            &client.backchannel_authentication_request_signing_alg,
        ),
    ];
    let weak = |alg: &String| !["PS256", "ES256", "EdDSA"].contains(&alg.as_str());
    match algs.into_iter().find(|(_, alg)| alg.as_ref().is_some_and(weak)) {
        Some((name, _)) => Err(invalid(name, "Expected PS256, ES256 or EdDSA with this compliance_level")),
        None => Ok(()),
    }
}

/// How it proves who it is.
fn check_keys(client: &Client) -> Result<(), ManagementError> {
    if client.jwks.is_some() && client.jwks_uri.is_some() {
        return Err(invalid("jwks_uri", "Expected either jwks or jwks_uri"));
    }
    let web =
        |uri: &String| (uri.starts_with("https://") || uri.starts_with("http://")) && urls::is_callback(uri);
    if client.jwks_uri.as_ref().is_some_and(|uri| !web(uri)) {
        return Err(invalid("jwks_uri", "Expected an http or https URL"));
    }
    let known = |name: &String| {
        Alg::from_str(name).is_ok_and(|alg| alg == Alg::HS256 || ASSERTION_ALGS.contains(&alg))
    };
    if client.token_endpoint_auth_signing_alg.as_ref().is_some_and(|name| !known(name)) {
        let text = "Expected RS256, PS256, ES256, EdDSA or HS256";
        return Err(invalid("token_endpoint_auth_signing_alg", text));
    }
    let backchannel = client.backchannel_authentication_request_signing_alg.as_ref();
    if backchannel.is_some_and(|name| !known(name) || name == "HS256") {
        let text = "Expected RS256, PS256, ES256 or EdDSA";
        return Err(invalid("backchannel_authentication_request_signing_alg", text));
    }
    let endpoint = client.backchannel_client_notification_endpoint.as_ref();
    let ping = client.backchannel_token_delivery_mode == Some(BackchannelDelivery::Ping);
    if endpoint.is_some_and(|uri| !web(uri)) || (ping && endpoint.is_none()) {
        let text = "Expected an http or https URL";
        return Err(invalid("backchannel_client_notification_endpoint", text));
    }
    let names = [
        &client.tls_client_auth_subject_dn,
        &client.tls_client_auth_san_dns,
        &client.tls_client_auth_san_uri,
        &client.tls_client_auth_san_ip,
        &client.tls_client_auth_san_email,
    ];
    let named = names.into_iter().flatten().count();
    let by_name = client.token_endpoint_auth_method == Some(ClientAuthMethod::TlsClientAuth)
        && client.client_authentication_methods.is_none();
    if named > 1 || (by_name && named == 0) {
        // RFC 8705 section 2.1.2.
        return Err(invalid("tls_client_auth_subject_dn", "Expected exactly one name of the certificate"));
    }
    Ok(())
}

/// How what the client gets is encrypted, and whose subjects it gets.
fn check_protection(client: &Client) -> Result<(), ManagementError> {
    let kinds = [
        ("id_token", client.id_token_protection()),
        ("userinfo", client.userinfo_protection()),
        ("introspection", client.introspection_protection()),
        ("authorization", client.authorization_protection()),
    ];
    for (kind, Protection { encrypted, content, .. }) in kinds {
        check_encryption(&format!("{kind}_encrypted_response"), encrypted, content)?;
        if encrypted.is_some() && client.jwks.is_none() && client.jwks_uri.is_none() {
            let member = format!("{kind}_encrypted_response_alg");
            return Err(invalid(&member, "Expected jwks or jwks_uri with a key to encrypt for"));
        }
    }
    match &client.sector_identifier_uri {
        Some(uri) if !uri.starts_with("https://") || !is_document(uri) => {
            Err(invalid("sector_identifier_uri", "Expected an https URL"))
        }
        _ => Ok(()),
    }
}

/// The algorithms of one kind of message: `NAME_alg` and `NAME_enc`.
fn check_encryption(name: &str, alg: Option<&str>, enc: Option<&str>) -> Result<(), ManagementError> {
    if alg.is_none() && enc.is_some() {
        return Err(invalid(&format!("{name}_enc"), &format!("Expected {name}_alg beside it")));
    }
    if alg.is_some_and(|alg| !KEY_ALGS.iter().any(|known| known.as_str() == alg)) {
        let text = "Expected RSA-OAEP, RSA-OAEP-256, ECDH-ES, ECDH-ES+A128KW or ECDH-ES+A256KW";
        return Err(invalid(&format!("{name}_alg"), text));
    }
    if enc.is_some_and(|enc| Enc::from_str(enc).is_err()) {
        let text = "Expected A128CBC-HS256, A192CBC-HS384, A256CBC-HS512, A128GCM, A192GCM or A256GCM";
        return Err(invalid(&format!("{name}_enc"), text));
    }
    Ok(())
}

fn check_urls(member: &str, list: &[String], good: fn(&str) -> bool) -> Result<(), ManagementError> {
    if list.len() > 100 {
        return Err(invalid(member, "Expected up to 100 URLs"));
    }
    match list.iter().position(|url| !good(url)) {
        Some(place) => {
            let text = "Object didn't pass validation for format absolute-uri";
            Err(invalid(&format!("{member}[{place}]"), text))
        }
        None => Ok(()),
    }
}
