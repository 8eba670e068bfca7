use serde::{Deserialize, Serialize};

use crate::MessageError;

/// What a provider says about itself: OIDC Discovery 1.0 section 3 and RFC 8414 section 2. Unknown members are
/// ignored; absent lists mean the defaults those documents give.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the members are named and described by the specifications, one to one")]
pub struct ProviderMetadata {
    pub issuer: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization_endpoint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_endpoint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub userinfo_endpoint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_uri: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration_endpoint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocation_endpoint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub introspection_endpoint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_authorization_endpoint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pushed_authorization_request_endpoint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_session_endpoint: Option<String>,
    /// Ping Federate's own way to end a session, by a place to return to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ping_end_session_endpoint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mfa_challenge_endpoint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes_supported: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_types_supported: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_modes_supported: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant_types_supported: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acr_values_supported: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_values_supported: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject_types_supported: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id_token_signing_alg_values_supported: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub userinfo_signing_alg_values_supported: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_object_signing_alg_values_supported: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_endpoint_auth_signing_alg_values_supported: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub introspection_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocation_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claims_supported: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_challenge_methods_supported: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dpop_signing_alg_values_supported: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_parameter_supported: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_uri_parameter_supported: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claims_parameter_supported: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub require_pushed_authorization_requests: Option<bool>,
    /// RFC 9207: when true, a redirect back without `iss` is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization_response_iss_parameter_supported: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backchannel_logout_supported: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backchannel_logout_session_supported: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frontchannel_logout_supported: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_client_certificate_bound_access_tokens: Option<bool>,
    /// RFC 8705 section 5: where clients with certificates go instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtls_endpoint_aliases: Option<MtlsEndpoints>,
}

/// Endpoints for clients that present a certificate (RFC 8705 section 5).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the members are named and described by RFC 8414, one to one")]
pub struct MtlsEndpoints {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_endpoint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub userinfo_endpoint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocation_endpoint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub introspection_endpoint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_authorization_endpoint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pushed_authorization_request_endpoint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration_endpoint: Option<String>,
}

impl ProviderMetadata {
    /// Reads the document of a discovery endpoint. Where it says it came from, and whether that is true, is for the
    /// caller to check.
    ///
    /// # Errors
    ///
    /// Not a JSON object with distinct names, no `issuer`, or a member of the wrong type.
    pub fn parse(document: &[u8]) -> Result<Self, MessageError> {
        let object = crate::json_object(document)?;
        if object.get("issuer").and_then(serde_json::Value::as_str).is_none_or(str::is_empty) {
            return Err(MessageError::Missing("issuer"));
        }
        serde_json::from_value(serde_json::Value::Object(object))
            .map_err(|_| MessageError::Invalid("members"))
    }

    /// Every endpoint the document names, with its name, those for client certificates included.
    pub fn endpoints(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let mtls = self.mtls_endpoint_aliases.as_ref();
        [
            ("authorization_endpoint", &self.authorization_endpoint),
            ("token_endpoint", &self.token_endpoint),
            ("userinfo_endpoint", &self.userinfo_endpoint),
            ("jwks_uri", &self.jwks_uri),
            ("registration_endpoint", &self.registration_endpoint),
            ("revocation_endpoint", &self.revocation_endpoint),
            ("introspection_endpoint", &self.introspection_endpoint),
            ("device_authorization_endpoint", &self.device_authorization_endpoint),
            ("pushed_authorization_request_endpoint", &self.pushed_authorization_request_endpoint),
            ("end_session_endpoint", &self.end_session_endpoint),
            ("mfa_challenge_endpoint", &self.mfa_challenge_endpoint),
        ]
        .into_iter()
        .filter_map(|(name, url)| Some((name, url.as_deref()?)))
        .chain(mtls.into_iter().flat_map(MtlsEndpoints::endpoints))
    }
}

impl MtlsEndpoints {
    fn endpoints(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("mtls_endpoint_aliases.token_endpoint", &self.token_endpoint),
            ("mtls_endpoint_aliases.userinfo_endpoint", &self.userinfo_endpoint),
            ("mtls_endpoint_aliases.revocation_endpoint", &self.revocation_endpoint),
            ("mtls_endpoint_aliases.introspection_endpoint", &self.introspection_endpoint),
            ("mtls_endpoint_aliases.device_authorization_endpoint", &self.device_authorization_endpoint),
            (
                "mtls_endpoint_aliases.pushed_authorization_request_endpoint",
                &self.pushed_authorization_request_endpoint,
            ),
            ("mtls_endpoint_aliases.registration_endpoint", &self.registration_endpoint),
        ]
        .into_iter()
        .filter_map(|(name, url)| Some((name, url.as_deref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_members_are_ignored_and_absent_ones_stay_absent() {
        let document = br#"{"issuer":"https://op/","jwks_uri":"https://op/k","new_thing":[1],
            "mtls_endpoint_aliases":{"token_endpoint":"https://mtls.op/t"}}"#;
        let metadata = ProviderMetadata::parse(document).unwrap();
        assert_eq!(metadata.issuer, "https://op/");
        assert_eq!(metadata.token_endpoint, None);
        assert_eq!(
            metadata.endpoints().collect::<Vec<_>>(),
            [("jwks_uri", "https://op/k"), ("mtls_endpoint_aliases.token_endpoint", "https://mtls.op/t")]
        );
    }

    #[test]
    fn r35_repeated_members_and_wrong_types_are_refused() {
        for bad in [
            &br#"{"issuer":"https://a","issuer":"https://b"}"#[..],
            br#"{"issuer":"https://a","jwks_uri":1}"#,
            br#"{"issuer":1}"#,
            br#"{"issuer":""}"#,
            b"{}",
            b"[]",
            b"<html>",
            b"",
        ] {
            assert!(ProviderMetadata::parse(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }
}
