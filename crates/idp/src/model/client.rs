use base::{Secret, UnixMillis};
use oauth::ClientAuthMethod;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{ClientAuthenticationMethods, Credential, Digest, OidcLogout, PossessionMechanism};

/// An application, in Auth0's shape. The secret is no part of the serialised form: [`Client::to_wire`] adds it where
/// the reader may see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Client {
    /// 32 characters.
    pub client_id: String,
    /// 64 characters; absent for clients that were made public.
    #[serde(skip)]
    pub client_secret: Option<Secret<String>>,
    /// What people call it. Shown on login and consent pages.
    pub name: String,
    /// For administrators.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// `native`, `spa`, `regular_web` or `non_interactive`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_type: Option<AppType>,
    /// `false` for third parties: they always ask for consent.
    pub is_first_party: bool,
    /// `true` only for the one client that stands for all.
    pub global: bool,
    /// Kept for Auth0's tools; every client here is conformant.
    pub oidc_conformant: bool,
    /// Whether a session that began elsewhere is not enough: each of its requests asks for a login.
    pub sso_disabled: bool,
    /// Only `false` works: there is no cross-origin authentication.
    pub cross_origin_authentication: bool,
    /// Kept for Auth0's tools; there is no other login page.
    pub custom_login_page_on: bool,
    /// Only `false` works: forwarded addresses count from trusted peers, not from clients.
    pub is_token_endpoint_ip_header_trusted: bool,
    /// How it authenticates at the token endpoint. Absent: `client_secret_basic` or `client_secret_post`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_endpoint_auth_method: Option<ClientAuthMethod>,
    /// The same by credentials of [`Client::credentials`]; then `token_endpoint_auth_method` says the method that is
    /// chosen here, and is not shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_authentication_methods: Option<ClientAuthenticationMethods>,
    /// Keys and certificates, and names of such. Listed at `/clients/{id}/credentials`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub credentials: Vec<Credential>,
    /// What it may do at the token endpoint, by name.
    pub grant_types: Vec<String>,
    /// Redirect URIs, compared as exact strings.
    pub callbacks: Vec<String>,
    /// Where logout may return to.
    pub allowed_logout_urls: Vec<String>,
    /// Origins for `response_mode=web_message`.
    pub web_origins: Vec<String>,
    /// Origins for CORS.
    pub allowed_origins: Vec<String>,
    /// Only an empty list works: there is no delegation between clients.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_clients: Vec<String>,
    /// Where login begins when the provider sends somebody (OpenID Connect Core section 4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initiate_login_uri: Option<String>,
    /// Shown on login and consent pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logo_uri: Option<String>,
    /// Its home page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_uri: Option<String>,
    /// What it does with data of its users. Shown on the login page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_uri: Option<String>,
    /// Its terms of service. Shown on the login page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tos_uri: Option<String>,
    /// Who answers for it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub contacts: Vec<String>,
    /// Of the token that manages its registration, where it registered itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registration_token: Option<Digest>,
    /// ID tokens.
    pub jwt_configuration: JwtConfiguration,
    /// Refresh tokens.
    pub refresh_token: RefreshTokenPolicy,
    /// Up to 255 characters each.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub client_metadata: Map<String, Value>,
    /// Only `deny` (the default) works: there are no organizations yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organization_usage: Option<String>,
    /// The audience of client-credentials requests that name none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_audience: Option<String>,
    /// Its public keys, for `private_key_jwt` and request objects: a JWKS by value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks: Option<Value>,
    /// The same by its address; not beside `jwks`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks_uri: Option<String>,
    /// Whether its authorization requests must come by `/oauth/par` (RFC 9126 section 6).
    pub require_pushed_authorization_requests: bool,
    /// Seconds a pushed request is good for, where not a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub par_request_expiry: Option<i64>,
    /// What its request objects must be (RFC 9101).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signed_request_object: Option<SignedRequestObject>,
    /// The one algorithm of its request objects; `none` where the tenant allows them unsigned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_object_signing_alg: Option<String>,
    /// How it may encrypt the keys of its request objects. It may encrypt them otherwise, or not at all (OpenID Connect
    /// Dynamic Client Registration 2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_object_encryption_alg: Option<String>,
    /// How it may encrypt its request objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_object_encryption_enc: Option<String>,
    /// Seconds after which a login is too old for it, where its request says nothing (OpenID Connect Dynamic Client
    /// Registration 2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_max_age: Option<i64>,
    /// Whether its ID tokens always say when the user logged in.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub require_auth_time: bool,
    /// `acr_values` of requests that say nothing of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub default_acr_values: Vec<String>,
    /// Which software it is, as its makers name it (RFC 7591 section 2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub software_id: Option<String>,
    /// Of which version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub software_version: Option<String>,
    /// What it was registered with (RFC 7591 section 2.3).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub software_statement: Option<String>,
    /// Where its request objects may lie: nothing else is fetched for it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub request_uris: Vec<String>,
    /// How signed authorization responses (JARM) are signed. `RS256` where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization_signed_response_alg: Option<String>,
    /// How `/userinfo` signs what it tells the client; plain JSON where absent (OpenID Connect Core 5.3.2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub userinfo_signed_response_alg: Option<String>,
    /// How introspection answers are signed for those who ask for them so (RFC 9701). `RS256` where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub introspection_signed_response_alg: Option<String>,
    /// The one algorithm of its assertions (OpenID Connect Dynamic Client Registration 2); any of those it can have
    /// where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_endpoint_auth_signing_alg: Option<String>,
    /// The subject of its certificate as RFC 4514 writes it, for `tls_client_auth` (RFC 8705 section 2.1.2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_client_auth_subject_dn: Option<String>,
    /// A DNS name in its certificate, in place of the subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_client_auth_san_dns: Option<String>,
    /// A URI in its certificate, in place of the subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_client_auth_san_uri: Option<String>,
    /// An address in its certificate, in place of the subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_client_auth_san_ip: Option<String>,
    /// An e-mail address in its certificate, in place of the subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_client_auth_san_email: Option<String>,
    /// Its access tokens are bound to its certificate (RFC 8705 section 3.4): without one there are none.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tls_client_certificate_bound_access_tokens: bool,
    /// Its access tokens are bound to a key it proves to have, by DPoP or by its certificate: without one there are
    /// none.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub require_proof_of_possession: bool,
    /// How it learns of decisions of its backchannel requests (CIBA 4); it polls where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backchannel_token_delivery_mode: Option<BackchannelDelivery>,
    /// Where it is told of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backchannel_client_notification_endpoint: Option<String>,
    /// The one algorithm of its backchannel requests, which are then signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backchannel_authentication_request_signing_alg: Option<String>,
    /// The profile that it follows, in Auth0's names, with `fapi2_sp_pkj_dpop` and `fapi2_sp_mtls_dpop` besides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compliance_level: Option<ComplianceLevel>,
    /// Who is told when a session ends that it got something from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oidc_logout: Option<OidcLogout>,
    /// What a frame of the logout page is to load for it (OpenID Connect Front-Channel Logout 1.0).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frontchannel_logout_uri: Option<String>,
    /// Whether that frame is to name issuer and session. It always does.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub frontchannel_logout_session_required: bool,
    /// How the keys of its ID tokens are encrypted; in the clear where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_token_encrypted_response_alg: Option<String>,
    /// How its ID tokens are encrypted; `A128CBC-HS256` where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_token_encrypted_response_enc: Option<String>,
    /// How the keys of its userinfo are encrypted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub userinfo_encrypted_response_alg: Option<String>,
    /// How its userinfo is encrypted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub userinfo_encrypted_response_enc: Option<String>,
    /// How their keys are encrypted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub introspection_encrypted_response_alg: Option<String>,
    /// How they are encrypted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub introspection_encrypted_response_enc: Option<String>,
    /// How the keys of signed authorization responses are encrypted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization_encrypted_response_alg: Option<String>,
    /// How signed authorization responses are encrypted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization_encrypted_response_enc: Option<String>,
    /// Whether a user is the same to it as to other clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject_type: Option<SubjectKind>,
    /// Whose host its pairwise subjects are for: a document that lists all its callbacks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sector_identifier_uri: Option<String>,
    /// Milliseconds since the epoch.
    pub created_at: i64,
}

/// `subject_type` (OpenID Connect Core 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubjectKind {
    /// The same `sub` for all clients.
    Public,
    /// Another `sub` for each sector.
    Pairwise,
}

/// `signed_request_object`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SignedRequestObject {
    /// Whether every authorization request must be a signed one.
    pub required: bool,
}

/// What kind of application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AppType {
    /// An installed application.
    Native,
    /// In the browser.
    Spa,
    /// On a server, with users.
    RegularWeb,
    /// On a server, without users.
    NonInteractive,
}

/// `backchannel_token_delivery_mode`. There is no push: FAPI forbids it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackchannelDelivery {
    /// It asks.
    Poll,
    /// It is told to ask.
    Ping,
}

/// `compliance_level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ComplianceLevel {
    /// FAPI 2.0 Security Profile: assertions and certificate-bound tokens.
    #[serde(rename = "fapi2_sp_pkj_mtls")]
    Fapi2PkjMtls,
    /// FAPI 2.0 Security Profile: certificates and certificate-bound tokens.
    #[serde(rename = "fapi2_sp_mtls_mtls")]
    Fapi2MtlsMtls,
    /// FAPI 2.0 Security Profile: assertions and DPoP.
    #[serde(rename = "fapi2_sp_pkj_dpop")]
    Fapi2PkjDpop,
    /// FAPI 2.0 Security Profile: certificates and DPoP.
    #[serde(rename = "fapi2_sp_mtls_dpop")]
    Fapi2MtlsDpop,
}

impl ComplianceLevel {
    /// Whether the profile lets a client prove itself so.
    pub fn allows_method(self, method: Option<ClientAuthMethod>) -> bool {
        use ClientAuthMethod::{PrivateKeyJwt, SelfSignedTlsClientAuth, TlsClientAuth};
        match self {
            Self::Fapi2PkjMtls | Self::Fapi2PkjDpop => method == Some(PrivateKeyJwt),
            Self::Fapi2MtlsMtls | Self::Fapi2MtlsDpop => {
                matches!(method, Some(TlsClientAuth | SelfSignedTlsClientAuth))
            }
        }
    }

    /// What access tokens are bound by.
    pub const fn binding(self) -> PossessionMechanism {
        match self {
            Self::Fapi2PkjMtls | Self::Fapi2MtlsMtls => PossessionMechanism::Mtls,
            Self::Fapi2PkjDpop | Self::Fapi2MtlsDpop => PossessionMechanism::Dpop,
        }
    }
}

/// `jwt_configuration`: ID tokens of the client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JwtConfiguration {
    /// Seconds an ID token is good for.
    pub lifetime_in_seconds: i64,
    /// Kept for Auth0's tools; the secret is used as it reads.
    pub secret_encoded: bool,
    /// `RS256` where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alg: Option<String>,
    /// Kept for Auth0's tools.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Value>,
}

/// `refresh_token`: how refresh tokens of the client live.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RefreshTokenPolicy {
    /// Whether each use gives a new token.
    pub rotation_type: RotationType,
    /// Whether the lifetimes below count.
    pub expiration_type: ExpirationType,
    /// Seconds in which the token just replaced is still accepted.
    pub leeway: i64,
    /// Seconds from the first token of a family to the end of all of them.
    pub token_lifetime: i64,
    /// Seconds without use after which a token dies.
    pub idle_token_lifetime: i64,
    /// `token_lifetime` does not count.
    pub infinite_token_lifetime: bool,
    /// `idle_token_lifetime` does not count.
    pub infinite_idle_token_lifetime: bool,
}

/// `rotation_type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RotationType {
    /// One token until it expires or is revoked.
    #[default]
    NonRotating,
    /// A new token at each use.
    Rotating,
}

/// `expiration_type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExpirationType {
    /// Lifetimes do not count.
    #[default]
    NonExpiring,
    /// Lifetimes count.
    Expiring,
}

impl Default for Client {
    fn default() -> Self {
        let grants = ["authorization_code", "implicit", "refresh_token", "client_credentials"];
        Self {
            client_id: String::new(),
            client_secret: None,
            name: String::new(),
            description: None,
            app_type: None,
            is_first_party: true,
            global: false,
            oidc_conformant: false,
            sso_disabled: false,
            cross_origin_authentication: false,
            custom_login_page_on: true,
            is_token_endpoint_ip_header_trusted: false,
            token_endpoint_auth_method: None,
            client_authentication_methods: None,
            credentials: Vec::new(),
            grant_types: grants.map(str::to_owned).to_vec(),
            callbacks: Vec::new(),
            allowed_logout_urls: Vec::new(),
            web_origins: Vec::new(),
            allowed_origins: Vec::new(),
            allowed_clients: Vec::new(),
            initiate_login_uri: None,
            logo_uri: None,
            client_uri: None,
            policy_uri: None,
            tos_uri: None,
            contacts: Vec::new(),
            registration_token: None,
            jwt_configuration: JwtConfiguration::default(),
            refresh_token: RefreshTokenPolicy::default(),
            client_metadata: Map::new(),
            organization_usage: None,
            default_audience: None,
            jwks: None,
            jwks_uri: None,
            require_pushed_authorization_requests: false,
            par_request_expiry: None,
            signed_request_object: None,
            request_object_signing_alg: None,
            request_object_encryption_alg: None,
            request_object_encryption_enc: None,
            default_max_age: None,
            require_auth_time: false,
            default_acr_values: Vec::new(),
            software_id: None,
            software_version: None,
            software_statement: None,
            request_uris: Vec::new(),
            authorization_signed_response_alg: None,
            id_token_encrypted_response_alg: None,
            id_token_encrypted_response_enc: None,
            userinfo_signed_response_alg: None,
            userinfo_encrypted_response_alg: None,
            userinfo_encrypted_response_enc: None,
            introspection_signed_response_alg: None,
            introspection_encrypted_response_alg: None,
            introspection_encrypted_response_enc: None,
            authorization_encrypted_response_alg: None,
            authorization_encrypted_response_enc: None,
            subject_type: None,
            sector_identifier_uri: None,
            token_endpoint_auth_signing_alg: None,
            tls_client_auth_subject_dn: None,
            tls_client_auth_san_dns: None,
            tls_client_auth_san_uri: None,
            tls_client_auth_san_ip: None,
            tls_client_auth_san_email: None,
            tls_client_certificate_bound_access_tokens: false,
            require_proof_of_possession: false,
            backchannel_token_delivery_mode: None,
            backchannel_client_notification_endpoint: None,
            backchannel_authentication_request_signing_alg: None,
            compliance_level: None,
            oidc_logout: None,
            frontchannel_logout_uri: None,
            frontchannel_logout_session_required: false,
            created_at: 0,
        }
    }
}

impl Default for JwtConfiguration {
    fn default() -> Self {
        Self { lifetime_in_seconds: 36_000, secret_encoded: false, alg: None, scopes: None }
    }
}

impl Default for RefreshTokenPolicy {
    fn default() -> Self {
        Self {
            rotation_type: RotationType::NonRotating,
            expiration_type: ExpirationType::NonExpiring,
            leeway: 0,
            token_lifetime: 2_592_000,
            idle_token_lifetime: 1_296_000,
            infinite_token_lifetime: true,
            infinite_idle_token_lifetime: true,
        }
    }
}

impl Client {
    /// Whether it may use this grant type.
    pub fn allows_grant(&self, grant_type: &str) -> bool {
        self.grant_types.iter().any(|allowed| allowed == grant_type)
    }

    /// Whether it has no way to prove who it is.
    pub fn is_public(&self) -> bool {
        self.token_endpoint_auth_method == Some(ClientAuthMethod::None)
    }

    /// The credentials that count for how it authenticates; `None` where it does without such.
    pub fn chosen_credentials(&self, now: UnixMillis) -> Option<impl Iterator<Item = &Credential>> {
        let (_, _, list) = self.client_authentication_methods.as_ref()?.chosen()?;
        let chosen = move |known: &&Credential| {
            known.is_current(now) && list.credentials.iter().any(|named| named.id == known.id)
        };
        Some(self.credentials.iter().filter(chosen))
    }

    /// Whether its authorization requests must be signed.
    pub fn requires_signed_requests(&self) -> bool {
        self.signed_request_object.as_ref().is_some_and(|object| object.required)
    }

    /// Whether it promised to keep to the FAPI 2.0 Security Profile.
    pub fn is_fapi2(&self) -> bool {
        self.compliance_level.is_some()
    }

    /// What is signed for it with where it names no algorithm: FAPI 2.0 Security Profile 5.4.1 leaves RS256 out.
    pub fn default_alg(&self) -> &'static str {
        if self.is_fapi2() { "PS256" } else { "RS256" }
    }

    /// What its ID tokens and logout tokens are signed with.
    pub fn id_token_alg(&self) -> &str {
        self.jwt_configuration.alg.as_deref().unwrap_or(self.default_alg())
    }

    /// Whether its access tokens are bound to a key, whatever the API wants.
    pub fn needs_possession(&self) -> bool {
        self.require_proof_of_possession || self.tls_client_certificate_bound_access_tokens || self.is_fapi2()
    }

    /// The object as the Management API sends it. `tenant` is the tenant's name; the secret is in it only
    /// `with_secret`, which takes the scope `read:client_keys`.
    pub fn to_wire(&self, tenant: &str, with_secret: bool) -> Map<String, Value> {
        let mut wire = match serde_json::to_value(self) {
            Ok(Value::Object(wire)) => wire,
            _ => Map::new(),
        };
        wire.remove("created_at");
        wire.remove("registration_token");
        wire.remove("credentials");
        if self.client_authentication_methods.is_some() {
            wire.remove("token_endpoint_auth_method");
        }
        wire.insert("tenant".to_owned(), json!(tenant));
        if let (true, Some(secret)) = (with_secret, &self.client_secret) {
            wire.insert("client_secret".to_owned(), json!(secret.expose()));
        }
        wire
    }
}
