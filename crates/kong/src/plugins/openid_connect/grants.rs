//! What callers bring for the gate to obtain a token with, in the words of the engine's plugin.

use base::Secret;
use gateway::error::ConfigError;
use plugins::grants::{
    Answers, CacheRules, Conditions, Config, Exchange, ExchangedIssuer, Kind, Sources, Verification, Way,
};
use serde_json::Value;

use super::{Reader, UNEXPECTED, callers_header, fields, seconds, texts};

const CLIENT_CREDENTIALS: &str = "client_credentials";
const AUDIENCE: &str = "audience";

impl Reader<'_> {
    pub(super) fn grants(&self) -> Result<Config, ConfigError> {
        let (discovery, realm) = self.issuer()?;
        let own = self.one("client_id")?.map(str::to_owned);
        let secret = self.one("client_secret")?.map(|secret| Secret::new(secret.to_owned()));
        Ok(Config {
            discovery,
            issuers: self.texts("issuers_allowed").into_iter().map(str::to_owned).collect(),
            calls: self.calls()?,
            own: own.map(|id| (id, secret)),
            ways: self.ways()?,
            exchange: self.exchange()?,
            scope: self.joined("scopes"),
            args: self.args()?,
            client_args: self.texts("token_post_args_client").into_iter().map(str::to_owned).collect(),
            verification: Verification {
                signature: self.flag("verify_signature", true)
                    && !self.texts("ignore_signature").contains(&CLIENT_CREDENTIALS),
                claims: self.flag("verify_claims", true),
                leeway: self.seconds("leeway")?.unwrap_or_default(),
            },
            cache: self.cache()?,
            hide_credentials: self.flag("hide_credentials", true),
            headers: self.token_headers()?,
            judging: self.judging()?,
            answers: Answers {
                unauthorized: self.text("unauthorized_error_message").unwrap_or("Unauthorized").to_owned(),
                forbidden: self.text("forbidden_error_message").unwrap_or("Forbidden").to_owned(),
                unexpected: UNEXPECTED.to_owned(),
                realm,
                error_code: self.flag("expose_error_code", true),
                shows_reasons: self.flag("display_errors", false),
                unauthorized_redirect: self.one("unauthorized_redirect_uri")?.map(str::to_owned),
                forbidden_redirect: self.one("forbidden_redirect_uri")?.map(str::to_owned),
                unexpected_redirect: self.one("unexpected_redirect_uri")?.map(str::to_owned),
            },
        })
    }

    /// In Kong's order.
    fn ways(&self) -> Result<Vec<Way>, ConfigError> {
        const REFRESH_TOKEN_NAME: &str = "refresh_token_param_name";
        let name = self.text(REFRESH_TOKEN_NAME).map(str::to_owned);
        if let Some(name) = &name {
            callers_header(REFRESH_TOKEN_NAME, name)?;
        }
        let kinds = [
            ("refresh_token", Kind::RefreshToken(name), "refresh_token_param_type"),
            ("password", Kind::Password, "password_param_type"),
            (CLIENT_CREDENTIALS, Kind::ClientCredentials, "client_credentials_param_type"),
        ];
        let built = kinds.into_iter().filter(|(method, ..)| self.has(method));
        Ok(built.map(|(_, kind, places)| Way { kind, sources: self.sources(places) }).collect())
    }

    fn sources(&self, field: &str) -> Sources {
        let named = self.listed(field, &fields::PLACES);
        let has = |place: &str| named.contains(&place);
        Sources { header: has("header"), query: has("query"), body: has("body") }
    }

    /// `audience`, then the named arguments; an argument that `audience` says already is sent once.
    fn args(&self) -> Result<Vec<(String, String)>, ConfigError> {
        let audience = self.joined(AUDIENCE).map(|audience| (AUDIENCE.to_owned(), audience));
        let named = self.pairs("token_post_args_names", "token_post_args_values")?;
        let is_said = audience.is_some();
        let named = named.into_iter().filter(|(name, _)| !is_said || name != AUDIENCE);
        Ok(audience.into_iter().chain(named).collect())
    }

    fn cache(&self) -> Result<Option<CacheRules>, ConfigError> {
        if !self.flag("cache_tokens", true) {
            return Ok(None);
        }
        Ok(Some(CacheRules {
            salt: self.text(fields::SALT).unwrap_or_default().to_owned(),
            unknown: self.seconds("cache_ttl")?.unwrap_or_default(),
            longest: self.seconds("cache_ttl_max")?,
            shortest: self.seconds("cache_ttl_min")?.unwrap_or_default(),
            refused: self.seconds("cache_ttl_neg")?.unwrap_or_default(),
            kept_on: self.seconds("cache_ttl_resurrect")?.unwrap_or_default(),
        }))
    }

    fn exchange(&self) -> Result<Option<Exchange>, ConfigError> {
        let Some(exchange) = self.config.get("token_exchange").filter(|exchange| exchange.is_object()) else {
            return Ok(None);
        };
        let words = |value: &Value, name: &str| -> Vec<String> {
            texts(value.get(name)).into_iter().map(str::to_owned).collect()
        };
        let issuer = |entry: &Value| {
            let conditions = entry.get("conditions").unwrap_or(&Value::Null);
            ExchangedIssuer {
                issuer: entry.get("issuer").and_then(Value::as_str).unwrap_or_default().to_owned(),
                conditions: Conditions {
                    has_scopes: words(conditions, "has_scopes"),
                    missing_scopes: words(conditions, "missing_scopes"),
                    has_audience: words(conditions, "has_audience"),
                    missing_audience: words(conditions, "missing_audience"),
                },
            }
        };
        let issuers = exchange.get("subject_token_issuers").and_then(Value::as_array);
        let request = exchange.get("request").unwrap_or(&Value::Null);
        let asked = |name: &str, empty: &str, otherwise: Option<String>| {
            if request.get(empty) == Some(&Value::Bool(true)) {
                return None;
            }
            Some(texts(request.get(name)).join(" ")).filter(|words| !words.is_empty()).or(otherwise)
        };
        let cache = exchange.get("cache").unwrap_or(&Value::Null);
        let kept =
            cache.get("enabled") != Some(&Value::Bool(false)) && self.flag("cache_token_exchange", true);
        let ttl = seconds("token_exchange", cache.get("ttl"))?;
        Ok(Some(Exchange {
            issuers: issuers.into_iter().flatten().map(issuer).collect(),
            scope: asked("scopes", "empty_scopes", self.joined("scopes")),
            audience: asked("audience", "empty_audience", self.joined(AUDIENCE)),
            longest: kept.then_some(ttl),
        }))
    }
}
