use oauth::Scopes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What a client may ask of an API in its own name, in Auth0's shape.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClientGrant {
    /// `cgr_` and 16 characters.
    pub id: String,
    /// Whose grant.
    pub client_id: String,
    /// The API's identifier.
    pub audience: String,
    /// The scopes granted.
    pub scope: Vec<String>,
    /// Every scope of the API, whatever `scope` says.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub allow_all_scopes: bool,
    /// For tokens in the client's own name, or in a user's.
    pub subject_type: SubjectType,
    /// Only `deny` (the default) works: there are no organizations yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organization_usage: Option<String>,
    /// Only `false` works.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_any_organization: Option<bool>,
    /// Milliseconds since the epoch.
    pub created_at: i64,
}

/// `subject_type` of a client grant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubjectType {
    /// Client credentials.
    #[default]
    Client,
    /// User flows, for APIs whose user policy is `require_client_grant`.
    User,
}

impl ClientGrant {
    /// The scopes granted, as a set.
    pub fn scopes(&self) -> Scopes {
        Scopes::parse(&self.scope.join(" ")).unwrap_or_default()
    }

    /// The object as the Management API sends it.
    pub fn to_wire(&self) -> Map<String, Value> {
        let mut wire = match serde_json::to_value(self) {
            Ok(Value::Object(wire)) => wire,
            _ => Map::new(),
        };
        wire.remove("created_at");
        wire
    }
}
