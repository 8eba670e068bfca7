use base::UnixMillis;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::iso8601;

/// Another record of a person's that was linked to this one: its own login leads here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LinkedIdentity {
    /// The id it had, prefix and all, and has again when it is unlinked.
    pub user_id: String,
    /// Its connection.
    pub connection: String,
    /// What was known about it: `email`, `name` …
    pub profile: Map<String, Value>,
}

/// A person. The password's hash is kept beside, see [`crate::repository::Users`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct User {
    /// `auth0|` and 24 hexadecimal digits, or what the administrator chose.
    pub user_id: String,
    /// The name of the connection the user lives in.
    pub connection: String,
    /// In lower case, as Auth0 keeps it.
    pub email: Option<String>,
    /// Whether it was proven.
    pub email_verified: bool,
    /// Compared in lower case.
    pub username: Option<String>,
    /// A plus sign and digits.
    pub phone_number: Option<String>,
    /// Whether it was proven.
    pub phone_verified: bool,
    /// The full name; the e-mail address where absent.
    pub name: Option<String>,
    /// The e-mail address's local part where absent.
    pub nickname: Option<String>,
    /// A URL; Gravatar's where a user is made without one.
    pub picture: Option<String>,
    /// First name.
    pub given_name: Option<String>,
    /// Last name.
    pub family_name: Option<String>,
    /// No login while set.
    pub blocked: bool,
    /// The user's own.
    pub user_metadata: Map<String, Value>,
    /// The application's; users cannot write it.
    pub app_metadata: Map<String, Value>,
    /// Beside the person's own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub linked: Vec<LinkedIdentity>,
    /// Milliseconds since the epoch.
    pub created_at: i64,
    /// Milliseconds since the epoch.
    pub updated_at: i64,
    /// Milliseconds since the epoch.
    pub last_login: Option<i64>,
    /// Address of the last login.
    pub last_ip: Option<String>,
    /// Logins that succeeded.
    pub logins_count: i64,
    /// When the password last changed, milliseconds since the epoch.
    pub last_password_reset: Option<i64>,
}

impl User {
    /// As it is kept when it is made: the address in lower case, and a picture.
    pub fn newly_made(mut self) -> Self {
        self.email = self.email.map(|email| fold(&email));
        self.picture = self.picture.take().or_else(|| crate::picture::of(&self));
        self
    }

    /// The name to show and to put into tokens.
    pub fn display_name(&self) -> &str {
        let known = [&self.name, &self.email, &self.username];
        known.into_iter().flatten().next().map_or(self.user_id.as_str(), String::as_str)
    }

    /// The nickname, or the local part of the e-mail address, or the username.
    pub fn nickname(&self) -> &str {
        let local = self.email.as_deref().and_then(|email| email.split('@').next());
        self.nickname.as_deref().or(local).or(self.username.as_deref()).unwrap_or(&self.user_id)
    }

    /// The id without the provider's prefix.
    pub fn local_id(&self) -> &str {
        self.user_id.split_once('|').map_or(self.user_id.as_str(), |(_, id)| id)
    }

    /// `identities` of the Management API: the person's own first.
    pub fn identities(&self) -> Vec<Value> {
        let one = |user_id: &str, connection: &str| {
            let (provider, id) = user_id.split_once('|').unwrap_or(("auth0", user_id));
            json!({ "connection": connection, "provider": provider, "user_id": id, "isSocial": false })
        };
        let linked = self.linked.iter().map(|linked| {
            let mut identity = one(&linked.user_id, &linked.connection);
            if let Some(members) = identity.as_object_mut() {
                members.insert("profileData".to_owned(), json!(linked.profile));
            }
            identity
        });
        std::iter::once(one(&self.user_id, &self.connection)).chain(linked).collect()
    }

    /// What a record keeps of this one that is linked to it.
    pub fn as_linked(&self) -> LinkedIdentity {
        const PROFILE: [&str; 8] = [
            "email",
            "email_verified",
            "username",
            "name",
            "nickname",
            "picture",
            "given_name",
            "family_name",
        ];
        let mut profile = self.to_wire();
        profile.retain(|name, _| PROFILE.contains(&name.as_str()));
        LinkedIdentity { user_id: self.user_id.clone(), connection: self.connection.clone(), profile }
    }

    /// The object as the Management API sends it.
    pub fn to_wire(&self) -> Map<String, Value> {
        let mut wire = Map::new();
        let mut put = |name: &str, value: Value| {
            if !value.is_null() {
                wire.insert(name.to_owned(), value);
            }
        };
        put("created_at", json!(iso8601(UnixMillis(self.created_at))));
        put("email", json!(self.email));
        if self.email.is_some() {
            put("email_verified", json!(self.email_verified));
        }
        put("identities", Value::Array(self.identities()));
        put("username", json!(self.username));
        put("phone_number", json!(self.phone_number));
        if self.phone_number.is_some() {
            put("phone_verified", json!(self.phone_verified));
        }
        put("name", json!(self.display_name()));
        put("nickname", json!(self.nickname()));
        put("picture", json!(self.picture));
        put("given_name", json!(self.given_name));
        put("family_name", json!(self.family_name));
        put("updated_at", json!(iso8601(UnixMillis(self.updated_at))));
        put("user_id", json!(self.user_id));
        if self.blocked {
            put("blocked", json!(true));
        }
        if !self.user_metadata.is_empty() {
            put("user_metadata", json!(self.user_metadata));
        }
        if !self.app_metadata.is_empty() {
            put("app_metadata", json!(self.app_metadata));
        }
        put("last_login", json!(self.last_login.map(|at| iso8601(UnixMillis(at)))));
        put("last_ip", json!(self.last_ip));
        put("logins_count", json!(self.logins_count));
        put("last_password_reset", json!(self.last_password_reset.map(|at| iso8601(UnixMillis(at)))));
        wire
    }
}

/// What an e-mail address or username is compared by: without blanks around it, in lower case.
pub fn fold(identifier: &str) -> String {
    identifier.trim().to_lowercase()
}
