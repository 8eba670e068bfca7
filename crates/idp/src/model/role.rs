use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// A role: a name for permissions that users are given together, in Auth0's shape.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Role {
    /// `rol_` and 16 characters.
    pub id: String,
    /// One of a kind in its tenant.
    pub name: String,
    /// For administrators.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Milliseconds since the epoch.
    pub created_at: i64,
}

/// A scope of an API, as something that a role or a user holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Permission {
    /// The API's identifier.
    pub audience: String,
    /// The scope.
    pub name: String,
}

/// A permission that a user holds, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldPermission {
    /// What.
    pub permission: Permission,
    /// The roles that give it, by id and name.
    pub roles: Vec<(String, String)>,
    /// Whether it was given to the user without a role.
    pub direct: bool,
}

impl Role {
    /// The object as the Management API sends it.
    pub fn to_wire(&self) -> Map<String, Value> {
        let mut wire = match serde_json::to_value(self) {
            Ok(Value::Object(wire)) => wire,
            _ => Map::new(),
        };
        wire.remove("created_at");
        // Auth0 sends it in any case.
        wire.entry("description").or_insert(Value::Null);
        wire
    }
}

impl HeldPermission {
    /// `sources` of the Management API.
    pub fn sources(&self) -> Vec<Value> {
        let direct =
            self.direct.then(|| json!({ "source_id": "", "source_name": "", "source_type": "DIRECT" }));
        let roles = self
            .roles
            .iter()
            .map(|(id, name)| json!({ "source_id": id, "source_name": name, "source_type": "ROLE" }));
        direct.into_iter().chain(roles).collect()
    }
}
