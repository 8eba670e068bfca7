use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Where users come from, in Auth0's shape. This build has one strategy: `auth0`, its own database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Connection {
    /// `con_` and 16 characters.
    pub id: String,
    /// Never changes.
    pub name: String,
    /// Shown on pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// `auth0`.
    pub strategy: String,
    /// How it works.
    pub options: ConnectionOptions,
    /// The clients it is offered to.
    pub enabled_clients: Vec<String>,
    /// Offered to third-party clients too.
    pub is_domain_connection: bool,
    /// Names under which it can be asked for.
    pub realms: Vec<String>,
    /// Free text for administrators.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
    /// Milliseconds since the epoch.
    pub created_at: i64,
}

/// `options` of a database connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConnectionOptions {
    /// How strong passwords must be.
    #[serde(rename = "passwordPolicy")]
    pub password_policy: PasswordPolicy,
    /// `min_length`.
    pub password_complexity_options: PasswordComplexity,
    /// Refuse passwords that are on the built-in list of common ones.
    pub password_dictionary: Switch,
    /// Refuse passwords that hold the user's own data.
    pub password_no_personal_info: Switch,
    /// Lengths of usernames.
    pub validation: ValidationOptions,
    /// Users have a username beside the e-mail address.
    pub requires_username: bool,
    /// Lock after failures.
    pub brute_force_protection: bool,
    /// No sign-up page.
    pub disable_signup: bool,
    /// Kept for Auth0's tools; users are always kept here.
    pub import_mode: bool,
    /// Only `false` works: there are no custom database scripts.
    #[serde(rename = "enabledDatabaseCustomization")]
    pub enabled_database_customization: bool,
    /// Kept for Auth0's tools.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy_version: Option<i64>,
    /// Whether a second factor may be asked for here. There is none in this build, so it decides nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mfa: Option<ConnectionMfa>,
    /// Ways to log in. Only passwords work, and no other can be switched on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authentication_methods: Option<AuthenticationMethods>,
    /// How passkeys would be offered, if they could be switched on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passkey_options: Option<PasskeyOptions>,
    /// Which passwords of before cannot be chosen again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_history: Option<PasswordHistory>,
}

/// `password_history`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PasswordHistory {
    /// On.
    pub enable: bool,
    /// How many of the user's last passwords, the one in use among them, 0 to 24.
    pub size: usize,
}

/// `authentication_methods`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthenticationMethods {
    /// Passwords: cannot be switched off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<PasswordMethod>,
    /// Passkeys: cannot be switched on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passkey: Option<AuthenticationMethod>,
    /// Codes by mail: cannot be switched on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email_otp: Option<AuthenticationMethod>,
    /// Codes by telephone: cannot be switched on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone_otp: Option<AuthenticationMethod>,
}

/// One of `authentication_methods`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthenticationMethod {
    /// On.
    pub enabled: bool,
}

/// `authentication_methods.password`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PasswordMethod {
    /// On.
    pub enabled: bool,
    /// Only `required` works: nobody is made by the API without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_behavior: Option<String>,
    /// Only `allow` works; `disable_signup` switches sign-up off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signup_behavior: Option<String>,
}

/// `mfa`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConnectionMfa {
    /// Whether factors that the tenant has on are asked for.
    pub active: bool,
    /// Whether enrolments are told where there are factors.
    pub return_enroll_settings: bool,
}

/// `passkey_options`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PasskeyOptions {
    /// `both`, `autofill` or `button`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub challenge_ui: Option<ChallengeUi>,
    /// Whether users who have a password are offered a passkey.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progressive_enrollment_enabled: Option<bool>,
    /// Whether users who came with another device's passkey are offered one for this device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_enrollment_enabled: Option<bool>,
}

/// `challenge_ui`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChallengeUi {
    /// Both of the others.
    Both,
    /// Offered by the browser.
    Autofill,
    /// A button.
    Button,
}

/// `passwordPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PasswordPolicy {
    /// One character will do.
    None,
    /// A length.
    Low,
    /// A length; lower case, upper case and digits.
    Fair,
    /// A length; three of lower case, upper case, digits and special characters.
    #[default]
    Good,
    /// As `Good`, with no more than two identical characters in a row and ten characters at least.
    Excellent,
}

/// `password_complexity_options`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PasswordComplexity {
    /// Characters at least, 1 to 128; the policy's own minimum where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_length: Option<usize>,
}

/// Something that is on or off.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Switch {
    /// On.
    pub enable: bool,
    /// Own words to refuse, for `password_dictionary`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dictionary: Vec<String>,
}

/// `validation`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ValidationOptions {
    /// Lengths of usernames.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<UsernameLengths>,
}

/// Lengths of usernames, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsernameLengths {
    /// At least.
    pub min: usize,
    /// At most.
    pub max: usize,
}

impl Default for PasswordHistory {
    fn default() -> Self {
        Self { enable: false, size: 5 }
    }
}

impl ConnectionOptions {
    /// How many of a user's last passwords cannot be chosen again.
    pub fn remembered_passwords(&self) -> usize {
        self.password_history.filter(|history| history.enable).map_or(0, |history| history.size)
    }
}

impl Default for Connection {
    fn default() -> Self {
        Self {
            id: String::new(),
            name: String::new(),
            display_name: None,
            strategy: "auth0".to_owned(),
            options: ConnectionOptions::default(),
            enabled_clients: Vec::new(),
            is_domain_connection: false,
            realms: Vec::new(),
            metadata: Map::new(),
            created_at: 0,
        }
    }
}

impl Default for ConnectionOptions {
    fn default() -> Self {
        Self {
            password_policy: PasswordPolicy::Good,
            password_complexity_options: PasswordComplexity::default(),
            password_dictionary: Switch::default(),
            password_no_personal_info: Switch::default(),
            validation: ValidationOptions::default(),
            requires_username: false,
            brute_force_protection: true,
            disable_signup: false,
            import_mode: false,
            enabled_database_customization: false,
            strategy_version: Some(2),
            mfa: None,
            authentication_methods: None,
            passkey_options: None,
            password_history: None,
        }
    }
}

impl Connection {
    /// Whether users of this connection may log in to the client.
    pub fn serves(&self, client: &super::Client) -> bool {
        (self.is_domain_connection && !client.is_first_party)
            || self.enabled_clients.contains(&client.client_id)
    }

    /// The object as the Management API sends it.
    pub fn to_wire(&self) -> Map<String, Value> {
        let mut wire = match serde_json::to_value(self) {
            Ok(Value::Object(wire)) => wire,
            _ => Map::new(),
        };
        wire.remove("created_at");
        wire.insert("authentication".to_owned(), json!({ "active": true }));
        wire.insert("connected_accounts".to_owned(), json!({ "active": false }));
        wire
    }
}
