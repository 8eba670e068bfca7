use base::UnixMillis;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::iso8601;

/// Something that happened in a tenant, as Auth0's logs tell it. Holds no secret: neither passwords, nor tokens, nor
/// codes, nor the parameters of requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogEvent {
    /// Digits that sort by time.
    pub log_id: String,
    /// Milliseconds since the epoch.
    pub at: i64,
    /// Auth0's code: `s`, `fp`, `seccft` …
    #[serde(rename = "type")]
    pub kind: String,
    /// In words; for failures why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Who asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Who asked, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_name: Option<String>,
    /// Where the user comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<String>,
    /// Whom it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// The name that was typed, or the user's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_name: Option<String>,
    /// Where the request came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    /// What the caller calls itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// The origin's host that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// The API asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// The scopes asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// More, by kind.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub details: Map<String, Value>,
}

/// Characters of a text that a stranger chose.
const MAX_TEXT: usize = 256;

impl LogEvent {
    /// An event of a kind.
    pub fn new(kind: &str) -> Self {
        Self { kind: kind.to_owned(), ..Self::default() }
    }

    /// In words.
    #[must_use]
    pub fn described(self, description: &str) -> Self {
        Self { description: Some(short(description)), ..self }
    }

    /// By this client.
    #[must_use]
    pub fn by(self, client_id: &str) -> Self {
        Self { client_id: Some(short(client_id)), ..self }
    }

    /// About this user.
    #[must_use]
    pub fn about(self, user_id: &str) -> Self {
        Self { user_id: Some(short(user_id)), ..self }
    }

    /// About whoever typed this name.
    #[must_use]
    pub fn named(self, user_name: &str) -> Self {
        Self { user_name: Some(short(user_name)), ..self }
    }

    /// The object as the Management API sends it.
    pub fn to_wire(&self) -> Map<String, Value> {
        let mut wire = match serde_json::to_value(self) {
            Ok(Value::Object(wire)) => wire,
            _ => Map::new(),
        };
        wire.remove("at");
        wire.insert("date".to_owned(), json!(iso8601(UnixMillis(self.at))));
        wire.insert("_id".to_owned(), json!(self.log_id));
        if self.connection.is_some() {
            wire.insert("strategy".to_owned(), json!("auth0"));
            wire.insert("strategy_type".to_owned(), json!("database"));
        }
        let agent = self.user_agent.as_deref().unwrap_or_default();
        wire.insert("isMobile".to_owned(), json!(agent.contains("Mobile")));
        wire
    }
}

/// What a stranger wrote, without line ends and short enough to keep.
fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_TEXT).collect()
}
