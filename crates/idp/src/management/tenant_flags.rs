//! What Auth0's tenants have and this build does not: accepted where it says what is the case here anyway.

use serde_json::Value;

use super::{
    ManagementError, Object,
    overlay::{no_callback_prompt, settled},
    wording::invalid,
};

/// Auth0's switches that do not exist here, and what is the case instead.
const FLAGS: &[(&str, bool)] = &[
    ("allow_changing_enable_sso", false),
    ("allow_legacy_delegation_grant_types", false),
    ("allow_legacy_ro_grant_types", false),
    ("allow_legacy_tokeninfo_endpoint", false),
    ("cannot_change_enforce_client_authentication_on_passwordless_start", true),
    ("change_pwd_flow_v1", false),
    ("custom_domains_provisioning", false),
    ("dashboard_insights_view", false),
    ("dashboard_log_streams_next", false),
    ("dashboard_new_onboarding", false),
    ("disable_clickjack_protection_headers", false),
    ("disable_fields_map_fix", false),
    ("disable_impersonation", true),
    ("disable_management_api_sms_obfuscation", false),
    ("enable_adfs_waad_email_verification", false),
    ("enable_apis_section", false),
    ("enable_client_connections", false),
    ("enable_custom_domain_in_emails", false),
    ("enable_idtoken_api2", false),
    ("enable_legacy_logs_search_v2", false),
    ("enable_legacy_profile", false),
    ("enable_pipeline2", false),
    ("enable_sso", true),
    ("enforce_client_authentication_on_passwordless_start", true),
    ("genai_trial", false),
    ("improved_signup_bot_detection_in_classic", false),
    ("include_email_in_reset_pwd_redirect", false),
    ("include_email_in_verify_email_redirect", false),
    ("mfa_show_factor_list_on_enrollment", false),
    ("new_universal_login_experience_enabled", true),
    ("no_disclose_enterprise_connections", true),
    ("phone_consolidated_experience", false),
    ("remove_alg_from_jwks", false),
    ("revoke_refresh_token_grant", false),
    ("trust_azure_adfs_email_verified_connection_property", false),
    ("universal_login", true),
    ("use_scope_descriptions_for_consent", true),
];

/// Lifetimes that can be given in minutes, and their names in hours.
const MINUTES: [(&str, &str); 4] = [
    ("session_lifetime_in_minutes", "session_lifetime"),
    ("idle_session_lifetime_in_minutes", "idle_session_lifetime"),
    ("ephemeral_session_lifetime_in_minutes", "ephemeral_session_lifetime"),
    ("idle_ephemeral_session_lifetime_in_minutes", "idle_ephemeral_session_lifetime"),
];

/// Takes out of `body` the flags that say what is so, refuses by name those that do not, and turns minutes into hours.
pub(super) fn tidy(body: &mut Object) -> Result<(), ManagementError> {
    if let Some(Value::Object(flags)) = body.get_mut("flags") {
        for (name, here) in FLAGS {
            match flags.shift_remove(*name) {
                None | Some(Value::Null) => {}
                Some(Value::Bool(value)) if value == *here => {}
                Some(Value::Bool(value)) => {
                    let text = format!("The flag {name} cannot be {value}: it is not supported.");
                    return Err(ManagementError::Unsupported(text));
                }
                Some(_) => return Err(invalid(&format!("flags.{name}"), "Expected type boolean")),
            }
        }
    }
    // There are no scripts that would run in it.
    for script in ["legacy_sandbox_version", "sandbox_version"] {
        body.shift_remove(script);
    }
    settled(body, "authorization_response_iss_parameter_supported", true)?;
    no_callback_prompt(body)?;
    if let Some(Value::Object(logout)) = body.get_mut("oidc_logout") {
        settled(logout, "rp_logout_end_session_endpoint_discovery", true)?;
    }
    for (minutes, hours) in MINUTES {
        match body.shift_remove(minutes) {
            None | Some(Value::Null) => {}
            Some(value) => {
                let number = value.as_f64().filter(|number| number.is_finite() && *number > 0.0);
                let number = number.ok_or_else(|| invalid(minutes, "Expected a number of minutes"))?;
                body.insert(hours.to_owned(), serde_json::json!(number / 60.0));
            }
        }
    }
    Ok(())
}
