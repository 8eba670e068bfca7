//! `openid-connect`. Of Kong's nine ways to authenticate, `client_credentials` is here; every field of the schema is
//! known, and what is not implemented is refused by name when it is set to anything but its default.

mod fields;

use std::{
    fmt,
    sync::{Arc, LazyLock},
    time::Duration,
};

use base::Random;
use gateway::{error::ConfigError, plugin::Plugin};
use http::HeaderName;
use plugins::client_credentials::{
    self, Answers, CacheRules, Calls, Config, Services, Sources, TokenHeader, Verification,
};
use rp::provider::TokenAuth;
use serde_json::{Map, Value, json};
use url::Url;

use super::DialectPlugin;
use crate::schema::Schema;

const WELL_KNOWN: &str = "/.well-known/openid-configuration";
const CLIENT_CREDENTIALS: &str = "client_credentials";
/// Kong fetches keys again when one is missing, and so does the gate; besides, once a day.
const JWKS_TTL: Duration = Duration::from_secs(86_400);
/// As long as Kong makes its own.
const SALT_LETTERS: usize = 32;

/// The plugin, with what its instances share.
pub struct OpenidConnect {
    services: Services,
}

impl OpenidConnect {
    /// Made once, by the binary.
    pub fn new(services: Services) -> Self {
        Self { services }
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

    fn schema(&self) -> Arc<Schema> {
        static SCHEMA: LazyLock<Arc<Schema>> = LazyLock::new(|| Arc::new(fields::schema()));
        Arc::clone(&SCHEMA)
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
        client_credentials::compile(Reader(config).translate()?, &self.services)
    }
}

impl fmt::Debug for OpenidConnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpenidConnect")
    }
}

/// A config that fits the schema.
struct Reader<'a>(&'a Map<String, Value>);

impl Reader<'_> {
    fn translate(&self) -> Result<Config, ConfigError> {
        if self.texts("auth_methods") != [CLIENT_CREDENTIALS] {
            let reason = "only [\"client_credentials\"] is implemented in this build, and it must be named: without \
                          this field Kong takes all its methods";
            return Err(ConfigError::new("auth_methods", reason));
        }
        let (discovery, realm) = self.issuer()?;
        let calls = Calls {
            timeout: self.millis("timeout"),
            verify_tls: self.flag("ssl_verify", true),
            jwks_ttl: JWKS_TTL,
            token_auth: self.token_auth()?,
        };
        Ok(Config {
            discovery,
            issuers: self.texts("issuers_allowed").into_iter().map(str::to_owned).collect(),
            calls,
            sources: self.sources()?,
            scope: Some(self.texts("scopes").join(" ")).filter(|scope| !scope.is_empty()),
            args: self.args()?,
            verification: Verification {
                signature: self.flag("verify_signature", true)
                    && !self.texts("ignore_signature").contains(&CLIENT_CREDENTIALS),
                claims: self.flag("verify_claims", true),
                leeway: self.seconds("leeway")?.unwrap_or_default(),
            },
            cache: self.cache()?,
            hide_credentials: self.flag("hide_credentials", true),
            upstream_header: self.upstream_header()?,
            preflight: self.flag("run_on_preflight", true),
            answers: Answers {
                unauthorized: self.text("unauthorized_error_message").unwrap_or("Unauthorized").to_owned(),
                unexpected: "An unexpected error occurred".to_owned(),
                realm,
                error_code: self.flag("expose_error_code", true),
            },
        })
    }

    /// The URL of the discovery document, and the issuer's host.
    fn issuer(&self) -> Result<(String, String), ConfigError> {
        let issuer = self.text("issuer").unwrap_or_default();
        let wrong = |reason: String| ConfigError::new("issuer", reason);
        let url = Url::parse(issuer).map_err(|error| wrong(format!("it is not a URL: {error}")))?;
        let host = url.host_str().filter(|_| matches!(url.scheme(), "http" | "https"));
        let host = host.ok_or_else(|| wrong("it is not an http or https URL with a host".to_owned()))?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("it has a query or a fragment".to_owned()));
        }
        let discovery = match issuer.ends_with(WELL_KNOWN) {
            true => issuer.to_owned(),
            false => format!("{}{WELL_KNOWN}", issuer.strip_suffix('/').unwrap_or(issuer)),
        };
        Ok((discovery, host.to_owned()))
    }

    /// `token_endpoint_auth_method`, else the first of `client_auth`, else `client_secret_basic`; a provider that
    /// lists only another one gets that.
    fn token_auth(&self) -> Result<TokenAuth, ConfigError> {
        let (field, method) = match self.text("token_endpoint_auth_method") {
            Some(method) => ("token_endpoint_auth_method", method),
            None => match self.texts("client_auth").first() {
                Some(method) => ("client_auth", *method),
                None => return Ok(TokenAuth::Basic),
            },
        };
        // The caller brings a secret; methods that need more than showing it are not built here.
        match TokenAuth::parse(method) {
            Ok(method) if method.shows_secret() => Ok(method),
            _ => {
                let reason =
                    format!("the client authentication method {method:?} is not supported in this build");
                Err(ConfigError::new(field, reason))
            }
        }
    }

    fn sources(&self) -> Result<Sources, ConfigError> {
        const FIELD: &str = "client_credentials_param_type";
        let named = self.texts(FIELD);
        if named.contains(&"body") {
            let reason = "credentials in the body are not implemented in this build: name \"header\" or \"query\" only";
            return Err(ConfigError::new(FIELD, reason));
        }
        Ok(Sources { header: named.contains(&"header"), query: named.contains(&"query") })
    }

    /// `audience`, then the named arguments; an argument that `audience` says already is sent once.
    fn args(&self) -> Result<Vec<(String, String)>, ConfigError> {
        let (names, values) = (self.texts("token_post_args_names"), self.texts("token_post_args_values"));
        if names.len() != values.len() {
            let reason = "token_post_args_names and token_post_args_values must have as many elements";
            return Err(ConfigError::new("token_post_args_values", reason));
        }
        let audience = Some(self.texts("audience").join(" ")).filter(|audience| !audience.is_empty());
        let named =
            names.into_iter().zip(values).filter(|(name, _)| audience.is_none() || *name != "audience");
        let named: Vec<(&str, &str)> = named.collect();
        let audience = audience.iter().map(|audience| ("audience", audience.as_str()));
        Ok(audience.chain(named).map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    fn cache(&self) -> Result<Option<CacheRules>, ConfigError> {
        if !self.flag("cache_tokens", true) {
            return Ok(None);
        }
        Ok(Some(CacheRules {
            salt: self.text(fields::SALT).unwrap_or_default().to_owned(),
            unknown: self.seconds("cache_ttl")?.unwrap_or_default(),
            longest: self.seconds("cache_ttl_max")?,
        }))
    }

    /// A header's name, and behind a colon whether `Bearer` stands before the token.
    fn upstream_header(&self) -> Result<Option<TokenHeader>, ConfigError> {
        const FIELD: &str = "upstream_access_token_header";
        let Some(text) = self.text(FIELD) else { return Ok(None) };
        let (name, bearer) = match text.split_once(':') {
            None => (text, false),
            Some((name, "bearer")) => (name, true),
            Some(_) => {
                return Err(ConfigError::new(FIELD, "only `:bearer` may stand behind the header's name"));
            }
        };
        let name = HeaderName::from_bytes(name.replace('_', "-").as_bytes());
        let name = name.map_err(|_| ConfigError::new(FIELD, "it is not the name of a header"))?;
        Ok(Some(TokenHeader { name, bearer }))
    }

    fn text(&self, field: &str) -> Option<&str> {
        self.0.get(field)?.as_str()
    }

    fn texts(&self, field: &str) -> Vec<&str> {
        self.0.get(field).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
    }

    fn flag(&self, field: &str, unset: bool) -> bool {
        self.0.get(field).and_then(Value::as_bool).unwrap_or(unset)
    }

    fn millis(&self, field: &str) -> Duration {
        const KONGS: u64 = 10_000;
        Duration::from_millis(self.0.get(field).and_then(Value::as_u64).unwrap_or(KONGS))
    }

    fn seconds(&self, field: &str) -> Result<Option<Duration>, ConfigError> {
        let Some(number) = self.0.get(field).and_then(Value::as_f64) else { return Ok(None) };
        let wrong = |_| ConfigError::new(field, "not a number of seconds that can be waited for");
        Duration::try_from_secs_f64(number).map(Some).map_err(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(members: Value) -> Result<Config, ConfigError> {
        let schema = fields::schema();
        let config = schema.complete(members.as_object().unwrap().clone());
        schema.check(&config).map_err(|violations| ConfigError::new("schema", violations.message()))?;
        Reader(&config).translate()
    }

    fn with(member: &str, value: Value) -> Result<Config, ConfigError> {
        let mut members = json!({"issuer": "https://idp.example/", "auth_methods": ["client_credentials"]});
        members[member] = value;
        translated(members)
    }

    #[test]
    fn every_field_is_known_once() {
        let schema = fields::schema();
        assert!(schema.fields.len() >= 230, "{}", schema.fields.len());
        assert!(schema.check(&schema.complete(json!({"issuer": "x"}).as_object().unwrap().clone())).is_ok());
    }

    #[test]
    fn the_issuer_is_taken_with_and_without_its_suffix() {
        for issuer in [
            "https://a.auth0.com",
            "https://a.auth0.com/",
            "https://a.auth0.com/.well-known/openid-configuration",
        ] {
            let config = with("issuer", json!(issuer)).unwrap();
            assert_eq!(config.discovery, "https://a.auth0.com/.well-known/openid-configuration");
            assert_eq!(config.answers.realm, "a.auth0.com");
        }
        for bad in ["a", "ftp://a/", "https://a/?x=1"] {
            assert_eq!(with("issuer", json!(bad)).unwrap_err().path, "issuer", "{bad}");
        }
    }

    #[test]
    fn both_ways_to_name_the_audience_send_it_once() {
        let audience = |members: Value| {
            let mut all = json!({"issuer": "https://a/", "auth_methods": ["client_credentials"]});
            all.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
            translated(all).unwrap().args
        };
        let expected = vec![("audience".to_owned(), "https://example.com/".to_owned())];
        let args = json!({"token_post_args_names": ["audience"], "token_post_args_values": ["https://example.com/"]});
        assert_eq!(audience(args.clone()), expected);
        assert_eq!(audience(json!({"audience": ["https://example.com/"]})), expected);
        let mut both = args;
        both["audience"] = json!(["https://example.com/"]);
        assert_eq!(audience(both), expected);
        assert!(with("token_post_args_names", json!(["a"])).is_err());
    }

    #[test]
    fn what_is_not_built_is_refused_by_name() {
        for (field, value) in [
            ("session_secret", json!("x")),
            ("scopes_required", json!(["a"])),
            ("proof_of_possession_dpop", json!("strict")),
            ("client_id", json!(["x"])),
            ("anonymous", json!("x")),
            ("cache_ttl_neg", json!(1)),
        ] {
            let error = with(field, value).unwrap_err();
            assert!(error.reason.contains(&format!("({field}: not implemented")), "{error}");
        }
        let parts = with("client_credentials_param_type", json!(["header", "body"])).unwrap_err();
        assert_eq!(parts.path, "client_credentials_param_type");
        for methods in [Value::Null, json!(["bearer"]), json!(["client_credentials", "session"]), json!([])] {
            assert_eq!(with("auth_methods", methods).unwrap_err().path, "auth_methods");
        }
        assert_eq!(with("client_auth", json!(["private_key_jwt"])).unwrap_err().path, "client_auth");
    }

    #[test]
    fn the_header_for_the_upstream_has_a_name_and_perhaps_bearer() {
        let header = |value: Value| {
            with("upstream_access_token_header", value).map(|config| {
                config.upstream_header.map(|header| (header.name.as_str().to_owned(), header.bearer))
            })
        };
        assert_eq!(header(json!("authorization:bearer")).unwrap(), Some(("authorization".to_owned(), true)));
        assert_eq!(header(json!("x_token")).unwrap(), Some(("x-token".to_owned(), false)));
        assert_eq!(header(Value::Null).unwrap(), None);
        assert!(header(json!("a b")).is_err() && header(json!("a:basic")).is_err());
    }
}
