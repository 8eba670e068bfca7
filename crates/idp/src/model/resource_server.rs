use base::Secret;
use oauth::Scopes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// An API that tokens are made for, in Auth0's shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ResourceServer {
    /// 24 hexadecimal digits.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// The audience of its tokens. Never changes.
    pub identifier: String,
    /// What can be asked for.
    pub scopes: Vec<ResourceServerScope>,
    /// How its access tokens are signed: `RS256`, `PS256`, `ES256`, `EdDSA` or `HS256`.
    pub signing_alg: String,
    /// The key of `HS256`, as it reads.
    #[serde(skip)]
    pub signing_secret: Option<Secret<String>>,
    /// Whether `offline_access` gives a refresh token.
    pub allow_offline_access: bool,
    /// Whether first-party clients skip the consent page.
    pub skip_consent_for_verifiable_first_party_clients: bool,
    /// Seconds an access token is good for.
    pub token_lifetime: i64,
    /// Seconds an access token is good for that went through the browser.
    pub token_lifetime_for_web: i64,
    /// Whether users get only those of its scopes that they hold, by a role or directly.
    pub enforce_policies: bool,
    /// The claims of its access tokens.
    pub token_dialect: TokenDialect,
    /// Who may get tokens for it, and how.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject_type_authorization: Option<SubjectTypeAuthorization>,
    /// Whether its tokens are bound to a key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proof_of_possession: Option<ProofOfPossession>,
    /// How its access tokens are encrypted; in the clear where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_encryption: Option<TokenEncryption>,
    /// The types that `authorization_details` of requests for it may have (RFC 9396).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub authorization_details: Vec<AuthorizationDetailsType>,
    /// `true` for the Management API.
    pub is_system: bool,
    /// Clients that may introspect its tokens, beside the ones that got them: the gateways in front of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub introspection_clients: Vec<String>,
    /// Milliseconds since the epoch.
    pub created_at: i64,
}

/// One scope of an API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResourceServerScope {
    /// The scope token.
    pub value: String,
    /// What the consent page says of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// One of an API's `authorization_details`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthorizationDetailsType {
    /// The name of the type.
    #[serde(rename = "type")]
    pub kind: String,
}

/// `token_dialect`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenDialect {
    /// Auth0's claims.
    #[default]
    AccessToken,
    /// Auth0's claims and `permissions`.
    AccessTokenAuthz,
    /// RFC 9068: `typ` is `at+jwt`, `client_id` instead of `azp`.
    Rfc9068Profile,
    /// RFC 9068 and `permissions`.
    Rfc9068ProfileAuthz,
}

/// `subject_type_authorization`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SubjectTypeAuthorization {
    /// For users.
    pub user: SubjectPolicy,
    /// For machines.
    pub client: SubjectPolicy,
}

/// `proof_of_possession`: how tokens of an API are bound to a key of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProofOfPossession {
    /// By what.
    pub mechanism: PossessionMechanism,
    /// Whether there are no other tokens.
    #[serde(default)]
    pub required: bool,
}

/// `token_encryption`: the access tokens of an API are for it alone to read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenEncryption {
    /// A signed JWT inside of a JWE.
    pub format: TokenEncryptionFormat,
    /// What they are encrypted for.
    pub encryption_key: TokenEncryptionKey,
}

/// `format` of `token_encryption`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TokenEncryptionFormat {
    /// RFC 7519 section 5.2.
    #[serde(rename = "compact-nested-jwe")]
    CompactNestedJwe,
}

/// `encryption_key` of `token_encryption`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenEncryptionKey {
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `RSA-OAEP-256`.
    pub alg: String,
    /// Its id in the tokens' headers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<String>,
    /// An RSA public key, or a certificate with one.
    pub pem: String,
    /// The SHA-256 digest of what that holds. Always computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thumbprint_sha256: Option<String>,
}

/// `mechanism` of `proof_of_possession`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PossessionMechanism {
    /// A client certificate (RFC 8705).
    Mtls,
    /// DPoP (RFC 9449).
    Dpop,
}

/// The policy for one kind of subject.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SubjectPolicy {
    /// `allow_all`, `deny_all` or `require_client_grant`. Absent: `allow_all` for users, `require_client_grant` for
    /// machines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
}

impl Default for ResourceServer {
    fn default() -> Self {
        Self {
            id: String::new(),
            name: String::new(),
            identifier: String::new(),
            scopes: Vec::new(),
            signing_alg: "RS256".to_owned(),
            signing_secret: None,
            allow_offline_access: false,
            skip_consent_for_verifiable_first_party_clients: true,
            token_lifetime: 86_400,
            token_lifetime_for_web: 7_200,
            enforce_policies: false,
            token_dialect: TokenDialect::AccessToken,
            subject_type_authorization: None,
            proof_of_possession: None,
            token_encryption: None,
            authorization_details: Vec::new(),
            is_system: false,
            introspection_clients: Vec::new(),
            created_at: 0,
        }
    }
}

impl TokenDialect {
    /// Whether the token follows RFC 9068.
    pub const fn is_rfc9068(self) -> bool {
        matches!(self, Self::Rfc9068Profile | Self::Rfc9068ProfileAuthz)
    }

    /// Whether the token has `permissions`.
    pub const fn has_permissions(self) -> bool {
        matches!(self, Self::AccessTokenAuthz | Self::Rfc9068ProfileAuthz)
    }
}

impl ResourceServer {
    /// The names of its scopes.
    pub fn scope_names(&self) -> Scopes {
        let names: Vec<&str> = self.scopes.iter().map(|scope| scope.value.as_str()).collect();
        Scopes::parse(&names.join(" ")).unwrap_or_default()
    }

    /// The policy for users: `allow_all` unless set.
    pub fn user_policy(&self) -> &str {
        self.policy(|all| &all.user).unwrap_or("allow_all")
    }

    /// The policy for machines: `require_client_grant` unless set.
    pub fn client_policy(&self) -> &str {
        self.policy(|all| &all.client).unwrap_or("require_client_grant")
    }

    fn policy(&self, pick: impl Fn(&SubjectTypeAuthorization) -> &SubjectPolicy) -> Option<&str> {
        self.subject_type_authorization.as_ref().and_then(|all| pick(all).policy.as_deref())
    }

    /// The object as the Management API sends it. The signing secret is in it only `with_secret`.
    pub fn to_wire(&self, with_secret: bool) -> Map<String, Value> {
        let mut wire = match serde_json::to_value(self) {
            Ok(Value::Object(wire)) => wire,
            _ => Map::new(),
        };
        wire.remove("created_at");
        wire.remove("introspection_clients");
        if let (true, Some(secret)) = (with_secret, &self.signing_secret) {
            wire.insert("signing_secret".to_owned(), json!(secret.expose()));
        }
        wire
    }
}
