use std::sync::Arc;

use super::{ManagementError, Object, clients::is_document, overlay::Rules, tenant_flags, wording::invalid};
use crate::{
    Site,
    idp::Core,
    model::{LOCALES, SoftwareStatements, Tenant, TenantSettings},
    policy, urls,
};

const RULES: Rules = Rules {
    read_only: &[],
    merged: &["flags", "sessions", "session_cookie"],
    unsupported: &[
        "acr_values_supported",
        "allow_organization_name_in_authentication_api",
        "change_password",
        "client_id_metadata_document_supported",
        "country_codes",
        "customize_mfa_in_postlogin_action",
        "default_redirection_uri",
        "default_token_quota",
        "device_flow",
        "dynamic_client_registration_security_mode",
        "enable_ai_guide",
        "error_page",
        "guardian_mfa_page",
        "include_session_metadata_in_tenant_logs",
        "mtls",
        "oidc_logout",
        "phone_consolidated_experience",
        "resource_parameter_profile",
        "security_headers",
    ],
};

/// Tenant settings.
#[derive(Clone)]
pub struct TenantService {
    core: Arc<Core>,
}

impl TenantService {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// What is set.
    pub async fn read(&self, site: &Site) -> Result<TenantSettings, ManagementError> {
        Ok(site.tenant.settings.clone())
    }

    /// Changes what `body` names.
    pub async fn update(&self, site: &Site, mut body: Object) -> Result<TenantSettings, ManagementError> {
        tenant_flags::tidy(&mut body)?;
        let mut settings = RULES.apply(&site.tenant.settings, body)?;
        for name in [
            &mut settings.default_audience,
            &mut settings.default_directory,
            &mut settings.friendly_name,
            &mut settings.picture_url,
            &mut settings.support_email,
            &mut settings.support_url,
        ] {
            // Auth0 writes none as an empty string.
            *name = name.take().filter(|name| !name.is_empty());
        }
        for (name, hours) in [
            ("session_lifetime", settings.session_lifetime),
            ("idle_session_lifetime", settings.idle_session_lifetime),
            ("ephemeral_session_lifetime", settings.ephemeral_session_lifetime),
            ("idle_ephemeral_session_lifetime", settings.idle_ephemeral_session_lifetime),
        ] {
            if !(0.0..=8760.0).contains(&hours) {
                return Err(invalid(name, "Expected up to 8760 hours"));
            }
        }
        if !settings.allowed_logout_urls.iter().all(|url| urls::is_logout_url(url)) {
            return Err(invalid("allowed_logout_urls", "Expected acceptable URLs"));
        }
        check_look(&settings)?;
        check_statements(&settings.software_statements)?;
        // Every login that names no API would end in an error.
        let audience = settings.default_audience.as_deref();
        if audience != site.tenant.settings.default_audience.as_deref()
            && audience.is_some()
            && self.core.api(site, audience).await?.is_none()
        {
            return Err(invalid("default_audience", "The API does not exist"));
        }
        let tenant = Tenant { settings: settings.clone(), ..Tenant::clone(&site.tenant) };
        self.core.repository.put_tenant(&tenant).await?;
        Ok(settings)
    }
}

/// What shows on pages.
fn check_look(settings: &TenantSettings) -> Result<(), ManagementError> {
    let too_long = |text: &Option<String>| text.as_ref().is_some_and(|text| text.chars().count() > 255);
    if too_long(&settings.friendly_name) {
        return Err(invalid("friendly_name", "Expected up to 255 characters"));
    }
    // Pages may load pictures by https alone.
    let secure = |uri: &String| uri.starts_with("https://") && urls::is_callback(uri);
    if settings.picture_url.as_ref().is_some_and(|uri| !secure(uri)) {
        return Err(invalid("picture_url", "Expected an https URL"));
    }
    if settings.support_url.as_ref().is_some_and(|uri| !is_document(uri)) {
        return Err(invalid("support_url", "Expected an http or https URL"));
    }
    if settings.support_email.as_ref().is_some_and(|email| !policy::is_email(email)) {
        return Err(invalid("support_email", "Object didn't pass validation for format email"));
    }
    match settings.enabled_locales.iter().find(|tag| !LOCALES.contains(&tag.as_str())) {
        Some(_) => Err(ManagementError::Unsupported(format!(
            "enabled_locales with anything but {} is not supported.",
            LOCALES.join(", ")
        ))),
        None => Ok(()),
    }
}

fn check_statements(statements: &SoftwareStatements) -> Result<(), ManagementError> {
    const NAME: &str = "software_statements.issuers";
    if statements.issuers.len() > 20 {
        return Err(invalid(NAME, "Expected up to 20 issuers"));
    }
    for (place, known) in statements.issuers.iter().enumerate() {
        let wrong = |member: &str, text: &str| Err(invalid(&format!("{NAME}[{place}].{member}"), text));
        if known.issuer.is_empty() || known.issuer.len() > 600 {
            return wrong("issuer", "Expected 1 to 600 characters");
        }
        match (&known.jwks, &known.jwks_uri) {
            (Some(jwks), None) => {
                if jose::KeySet::parse(jwks.to_string().as_bytes()).map_or(true, |set| set.keys().is_empty())
                {
                    return wrong("jwks", "Expected a JWK Set of public keys");
                }
            }
            (None, Some(uri)) if is_document(uri) => {}
            (None, Some(_)) => return wrong("jwks_uri", "Expected an http or https URL"),
            _ => return wrong("jwks", "Expected either jwks or jwks_uri"),
        }
    }
    Ok(())
}
