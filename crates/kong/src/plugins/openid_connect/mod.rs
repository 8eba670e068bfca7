//! `openid-connect`. Kong's nine ways to authenticate are here, but for tokens of its own `oauth2` plugin; every field of
//! the schema is known, and what is not implemented is refused by name when it is set to anything but its default.

mod calls;
mod claims;
mod fields;
mod grants;
mod login;
mod older;
#[cfg(test)]
mod tests;
mod tokens;

use std::{fmt, sync::Arc, time::Duration};

use base::Random;
use gateway::{error::ConfigError, is_identity, plugin::Plugin};
use http::HeaderName;
use plugins::{
    login_methods,
    openid_connect::{DeploymentKeys, TokenHeader, TokenPart},
};
use serde_json::{Map, Value, json};
use url::Url;

use super::DialectPlugin;
use crate::schema::Schema;

const WELL_KNOWN: &str = "/.well-known/openid-configuration";
/// Message of a 500.
const UNEXPECTED: &str = "An unexpected error occurred";
const PRIVATE_KEY_JWT: &str = "private_key_jwt";
/// As long as Kong makes its own.
const SALT_LETTERS: usize = 32;
/// The methods in which the gate asks as a client of its own.
const CLIENTS_OWN: [&str; 5] =
    ["session", "introspection", "refresh_token", "password", "authorization_code"];

/// The plugin, with what its instances share.
pub struct OpenidConnect(login_methods::Services);

impl OpenidConnect {
    /// Made once, by the binary.
    pub fn new(services: login_methods::Services) -> Self {
        Self(services)
    }
}

impl DialectPlugin for OpenidConnect {
    fn name(&self) -> &'static str {
        "openid-connect"
    }

    fn priority(&self) -> i64 {
        1050
    }

    fn authenticates(&self) -> bool {
        true
    }

    fn expand(&self, config: &mut Map<String, Value>) {
        older::expand(config);
    }

    fn schema(&self) -> Arc<Schema> {
        Arc::new(fields::schema())
    }

    /// A salt that nobody chose stays what it is for as long as the plugin is there, also when it is replaced: tools
    /// that compare what they wrote would see a change each time, and cached tokens would be lost.
    fn generate(&self, config: &mut Map<String, Value>, old: Option<&Map<String, Value>>, random: &Random) {
        let salt = config.entry(fields::SALT).or_insert(Value::Null);
        if salt.is_null() {
            let old = old.and_then(|old| old.get(fields::SALT)).filter(|old| old.is_string());
            *salt = old.cloned().unwrap_or_else(|| json!(random.alphanumeric(SALT_LETTERS)));
        }
    }

    fn compile(&self, config: &Map<String, Value>) -> Result<Arc<dyn Plugin>, ConfigError> {
        let reader = Reader::of(config)?;
        let mut config = reader.translate()?;
        let calls = [
            config.tokens.as_mut().map(|config| &mut config.calls),
            config.grants.as_mut().map(|config| &mut config.calls),
        ];
        for calls in calls.into_iter().flatten().filter(|_| reader.signs()) {
            let keys = Arc::clone(&self.0.tokens.assertion_keys);
            calls.assertion.deployments = Some(DeploymentKeys(keys));
        }
        login_methods::compile(config, &self.0).map_err(named_here)
    }
}

impl fmt::Debug for OpenidConnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpenidConnect")
    }
}

/// The engine's plugins name fields as the other dialect does.
fn named_here(error: ConfigError) -> ConfigError {
    let path = match error.path.as_str() {
        "discovery" | "realm" => "issuer",
        "par.endpoint" => "pushed_authorization_request_endpoint",
        "introspection_addon_headers" => "introspection_headers_client",
        "auth_accept_token_as_header_name" => "bearer_token_header_name",
        "further.token_headers" => "token_headers_names",
        "further.introspection_headers" => "introspection_headers_names",
        "further.userinfo_headers" => "userinfo_headers_names",
        "passed.token_headers" => "token_headers_client",
        "passed.introspection_query" => "introspection_post_args_client",
        "passed.introspection_fields" => "introspection_post_args_client_headers",
        "passed.userinfo_headers" => "userinfo_headers_client",
        "passed.authorization" => "authorization_query_args_client",
        "replay.names" => "token_headers_replay",
        "replay.prefix" => "token_headers_prefix",
        path if path.starts_with("claim_headers") => "upstream_headers_names",
        path if path.starts_with("session.") => "session_cookie_name",
        path if path.starts_with("authorization_params") => "authorization_query_args_names",
        path if path.starts_with("introspection_params") => "introspection_post_args_names",
        path => path,
    };
    ConfigError::new(path, error.reason)
}

/// A config that fits the schema.
struct Reader<'a> {
    config: &'a Map<String, Value>,
    /// Those of its methods that have what they need.
    methods: Vec<&'a str>,
}

impl<'a> Reader<'a> {
    /// Without a client of the gate's own, methods that need one are off where nobody named them, and refused where
    /// somebody did.
    fn of(config: &'a Map<String, Value>) -> Result<Self, ConfigError> {
        let all = Self { config, methods: Vec::new() };
        let mut methods = all.listed("auth_methods", &fields::GRANTS);
        if all.texts("client_id").is_empty() {
            let is_default = fields::GRANTS.iter().all(|method| methods.contains(method));
            match methods.iter().find(|method| CLIENTS_OWN.contains(method)) {
                Some(method) if !is_default => {
                    return Err(ConfigError::new("client_id", format!("the method {method} needs it")));
                }
                _ => methods.retain(|method| !CLIENTS_OWN.contains(method)),
            }
        }
        Ok(Self { config, methods })
    }

    fn translate(&self) -> Result<login_methods::Config, ConfigError> {
        self.check_possession()?;
        let has_grants =
            ["refresh_token", "password", "client_credentials"].iter().any(|method| self.has(method));
        let has_tokens = ["bearer", "introspection", "userinfo", "session", "authorization_code"]
            .iter()
            .any(|method| self.has(method));
        let exchanges = self.config.get("token_exchange").is_some_and(Value::is_object);
        if exchanges && !has_tokens {
            let reason = "it is for access tokens that callers bring: auth_methods has none that takes them";
            return Err(ConfigError::new("token_exchange", reason));
        }
        Ok(login_methods::Config {
            tokens: has_tokens.then(|| self.tokens()).transpose()?,
            grants: (has_grants || exchanges).then(|| self.grants()).transpose()?,
            anonymous: self.text("anonymous").map(str::to_owned),
            passes_preflight: !self.flag("run_on_preflight", true),
        })
    }

    /// A proof of possession is asked for of whoever brings a token. Where others get in without one, that is said.
    fn check_possession(&self) -> Result<(), ConfigError> {
        const PROVEN: [&str; 3] = ["bearer", "introspection", "session"];
        let modes = ["proof_of_possession_mtls", "proof_of_possession_dpop"];
        let asks = modes.iter().any(|mode| self.text(mode).is_some_and(|mode| mode != "off"));
        if !asks || !self.flag("proof_of_possession_auth_methods_validation", true) {
            return Ok(());
        }
        match self.methods.iter().find(|method| !PROVEN.contains(method)) {
            None => Ok(()),
            Some(method) => {
                let reason = format!(
                    "{method} knows no proof of possession: leave it out, or switch off \
                     proof_of_possession_auth_methods_validation"
                );
                Err(ConfigError::new("auth_methods", reason))
            }
        }
    }

    /// Whether the gate proves somewhere by a key who it is.
    fn signs(&self) -> bool {
        let methods = [
            "token_endpoint_auth_method",
            "introspection_endpoint_auth_method",
            "pushed_authorization_request_endpoint_auth_method",
        ];
        let methods = methods.iter().filter_map(|field| self.text(field)).chain(self.texts("client_auth"));
        methods.into_iter().any(|method| method == PRIVATE_KEY_JWT)
    }

    fn has(&self, method: &str) -> bool {
        self.methods.contains(&method)
    }

    /// The URL of the discovery document, and the issuer's host.
    fn issuer(&self) -> Result<(String, String), ConfigError> {
        let issuer = self.text("issuer").unwrap_or_default();
        discovery(issuer).map_err(|reason| ConfigError::new("issuer", reason))
    }

    /// Where upstream and client find the tokens, and what endpoints say of them.
    fn token_headers(&self) -> Result<Vec<TokenHeader>, ConfigError> {
        let mut headers = Vec::new();
        for (field, part) in [
            ("access_token_header", TokenPart::AccessToken),
            ("id_token_header", TokenPart::IdToken),
            ("refresh_token_header", TokenPart::RefreshToken),
            ("user_info_header", TokenPart::Userinfo),
            ("introspection_header", TokenPart::Introspection),
            ("user_info_jwt_header", TokenPart::UserinfoJwt),
            ("introspection_jwt_header", TokenPart::IntrospectionJwt),
            ("access_token_jwk_header", TokenPart::AccessTokenJwk),
            ("id_token_jwk_header", TokenPart::IdTokenJwk),
            ("session_id_header", TokenPart::SessionId),
        ] {
            for (direction, downstream) in [("upstream", false), ("downstream", true)] {
                let field = format!("{direction}_{field}");
                let Some(text) = self.text(&field) else { continue };
                // A header's name, and behind a colon whether `Bearer` stands before the token.
                let (name, bearer) = match text.split_once(':') {
                    None => (text, false),
                    Some((name, "bearer")) => (name, true),
                    Some(_) => {
                        let reason = "only `:bearer` may stand behind the header's name";
                        return Err(ConfigError::new(field, reason));
                    }
                };
                headers.push(TokenHeader { part, name: header_name(&field, name)?, bearer, downstream });
            }
        }
        Ok(headers)
    }

    /// Names, and in another field as many values.
    fn pairs(&self, names: &str, values: &str) -> Result<Vec<(String, String)>, ConfigError> {
        let (keys, texts) = (self.texts(names), self.texts(values));
        if keys.len() != texts.len() {
            return Err(ConfigError::new(values, format!("{names} and {values} must have as many elements")));
        }
        Ok(keys.into_iter().zip(texts).map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// A field of which Kong has one for each client: here there is one client.
    fn one(&self, field: &str) -> Result<Option<&'a str>, ConfigError> {
        match self.texts(field).as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(one)),
            _ => Err(ConfigError::new(field, "more than one client is not implemented in this build")),
        }
    }

    /// Words that stand for one parameter.
    fn joined(&self, field: &str) -> Option<String> {
        Some(self.texts(field).join(" ")).filter(|joined| !joined.is_empty())
    }

    fn text(&self, field: &str) -> Option<&'a str> {
        self.config.get(field)?.as_str()
    }

    fn texts(&self, field: &str) -> Vec<&'a str> {
        texts(self.config.get(field))
    }

    /// A list that is what Kong has by itself where it is null.
    fn listed(&self, field: &str, kongs: &[&'static str]) -> Vec<&'a str> {
        let written = self.texts(field);
        if written.is_empty() { kongs.to_vec() } else { written }
    }

    fn flag(&self, field: &str, unset: bool) -> bool {
        self.config.get(field).and_then(Value::as_bool).unwrap_or(unset)
    }

    fn seconds(&self, field: &str) -> Result<Option<Duration>, ConfigError> {
        seconds(field, self.config.get(field))
    }
}

/// The URL of an issuer's discovery document, with or without which it may be written, and the issuer's host.
pub(crate) fn discovery(issuer: &str) -> Result<(String, String), String> {
    let url = Url::parse(issuer).map_err(|error| format!("it is not a URL: {error}"))?;
    let host = url.host_str().filter(|_| matches!(url.scheme(), "http" | "https"));
    let host = host.ok_or("it is not an http or https URL with a host")?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err("it has a query or a fragment".to_owned());
    }
    let discovery = match issuer.ends_with(WELL_KNOWN) {
        true => issuer.to_owned(),
        false => format!("{}{WELL_KNOWN}", issuer.strip_suffix('/').unwrap_or(issuer)),
    };
    Ok((discovery, host.to_owned()))
}

fn texts(value: Option<&Value>) -> Vec<&str> {
    value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

fn seconds(field: &str, value: Option<&Value>) -> Result<Option<Duration>, ConfigError> {
    let Some(number) = value.and_then(Value::as_f64) else { return Ok(None) };
    let wrong = |_| ConfigError::new(field, "not a number of seconds that can be waited for");
    Duration::try_from_secs_f64(number).map(Some).map_err(wrong)
}

/// Kong writes `_` for `-`.
fn header_name(field: &str, name: &str) -> Result<HeaderName, ConfigError> {
    let name = HeaderName::from_bytes(name.replace('_', "-").as_bytes());
    name.map_err(|_| ConfigError::new(field, "it has what is not the name of a header"))
}

/// A header that callers may send something in.
fn callers_header(field: &str, name: &str) -> Result<HeaderName, ConfigError> {
    let name = header_name(field, name)?;
    match is_identity(name.as_str()) {
        false => Ok(name),
        true => {
            Err(ConfigError::new(field, "the gate takes this header from every caller: name another one"))
        }
    }
}
