//! Logins of browsers, and the sessions that begin with them.

use std::time::Duration;

use base::Secret;
use gateway::error::ConfigError;
use plugins::openid_connect::{
    Contents, LoginConfig, LoginEnd, LoginPart, LogoutConfig, Pushing, ResponseMode, Unauthenticated, WayBack,
};
use rp::session::{
    CookieSettings, LOGIN_LIFETIME, Lifetimes, LoginCookies, RedisSettings, RedisTls, SameSite,
};
use serde_json::{Map, Value};

use super::Reader;

impl Reader<'_> {
    pub(super) fn login(&self, starts: bool) -> Result<LoginConfig, ConfigError> {
        let redirect_uri = self.one("redirect_uri")?.map(str::to_owned);
        let target = self.one("post_logout_redirect_uri")?.or(self.one("logout_redirect_uri")?);
        self.check_logout()?;
        Ok(LoginConfig {
            redirect_uri,
            scope: self.texts("scopes").join(" "),
            authorization_params: self.authorization_params()?,
            pushing: Pushing {
                enabled: self.flag("require_pushed_authorization_requests", false),
                endpoint: self.text("pushed_authorization_request_endpoint").map(str::to_owned),
                auth: self.auth("pushed_authorization_request_endpoint_auth_method")?,
            },
            unauthenticated: if starts { Unauthenticated::Login } else { Unauthenticated::Deny },
            force_reauthorize: false,
            logout_path: String::new(),
            post_logout_redirect_uri: target.map(str::to_owned),
            revoke_on_logout: self.flag("logout_revoke", false),
            secret: self.text("session_secret").map(|secret| Secret::new(secret.to_owned())),
            cookies: self.cookies()?,
            way_back: WayBack {
                mode: match self.text("response_mode") {
                    Some("form_post") => ResponseMode::FormPost,
                    _ => ResponseMode::Query,
                },
                local_path: None,
                scheme: None,
                is_page: true,
                end: self.login_end()?,
            },
            contents: Contents::default(),
            logout: LogoutConfig {
                client_id: true,
                bare: true,
                suffix: self.text("logout_uri_suffix").map(str::to_owned),
                argument: self.text("logout_query_arg").map(str::to_owned),
                field: self.text("logout_post_arg").map(str::to_owned),
                methods: self
                    .listed("logout_methods", &["POST", "DELETE"])
                    .into_iter()
                    .map(str::to_owned)
                    .collect(),
                ..LogoutConfig::default()
            },
            refresh_session_interval: None,
            storage: self.storage(),
            decryption: None,
            lifetimes: Lifetimes {
                idling: self.seconds("session_idling_timeout")?.unwrap_or_default(),
                rolling: self.seconds("session_rolling_timeout")?.unwrap_or_default(),
                absolute: self.seconds("session_absolute_timeout")?.unwrap_or_default(),
            },
            renew: self.flag("refresh_tokens", true),
            default_expires_in: self.seconds("cache_ttl")?.unwrap_or(Duration::from_secs(3600)),
            expires_leeway: Duration::ZERO,
        })
    }

    /// What a login of a browser ends with.
    fn login_end(&self) -> Result<LoginEnd, ConfigError> {
        const METHODS: &str = "login_methods";
        const TOKENS: &str = "login_tokens";
        let action = self.text("login_action").unwrap_or("upstream");
        if action == "upstream" {
            return Ok(LoginEnd::Page);
        }
        let methods = self.listed(METHODS, &["authorization_code"]);
        if let Some(method) = methods.iter().find(|method| **method != "authorization_code") {
            let reason =
                format!("not implemented in this build: {method} goes on to the upstream in any case");
            return Err(ConfigError::new(METHODS, reason));
        }
        let part = |name: &&str| match *name {
            "access_token" => Ok(LoginPart::AccessToken),
            "refresh_token" => Ok(LoginPart::RefreshToken),
            "tokens" => Ok(LoginPart::Tokens),
            "introspection" => Err(ConfigError::new(
                TOKENS,
                "not implemented in this build: nothing is introspected in a login",
            )),
            _ => Ok(LoginPart::IdToken),
        };
        let parts = self.texts(TOKENS).iter().map(part).collect::<Result<_, _>>()?;
        if action == "response" {
            return Ok(LoginEnd::Answer(parts));
        }
        let place = self.one("login_redirect_uri")?.map(str::to_owned);
        Ok(LoginEnd::Redirect { place, parts, in_query: self.text("login_redirect_mode") == Some("query") })
    }

    /// `audience`, `max_age`, then the named arguments.
    fn authorization_params(&self) -> Result<Vec<(String, String)>, ConfigError> {
        let audience = self.joined("audience").map(|audience| ("audience".to_owned(), audience));
        let max_age = self.config.get("max_age").and_then(Value::as_u64);
        let max_age = max_age.map(|age| ("max_age".to_owned(), age.to_string()));
        let named = self.pairs("authorization_query_args_names", "authorization_query_args_values")?;
        Ok(audience.into_iter().chain(max_age).chain(named).collect())
    }

    /// The engine revokes the tokens of a session together.
    fn check_logout(&self) -> Result<(), ConfigError> {
        let revokes = self.flag("logout_revoke", false);
        for field in ["logout_revoke_access_token", "logout_revoke_refresh_token"] {
            if revokes && !self.flag(field, true) {
                let reason =
                    "not implemented in this build: `logout_revoke` revokes all tokens of the session";
                return Err(ConfigError::new(field, reason));
            }
        }
        Ok(())
    }

    fn cookies(&self) -> Result<CookieSettings, ConfigError> {
        let lifetime = self.seconds("authorization_rolling_timeout")?;
        let changed =
            |field: &str, kongs: &str| self.text(field).filter(|value| *value != kongs).map(str::to_owned);
        Ok(CookieSettings {
            logins: LoginCookies {
                lifetime: lifetime.unwrap_or(LOGIN_LIFETIME).min(LOGIN_LIFETIME),
                cross_site: self.text("response_mode") == Some("form_post"),
                ..LoginCookies::default()
            },
            // Kong's name is the gate's own, which is `__Host-session` where it can be.
            name: changed("session_cookie_name", "session"),
            path: changed("session_cookie_path", "/"),
            domain: self.text("session_cookie_domain").map(str::to_owned),
            secure: self.config.get("session_cookie_secure").and_then(Value::as_bool),
            readable_by_scripts: !self.flag("session_cookie_http_only", true),
            same_site: match self.text("session_cookie_same_site") {
                Some("Strict") => SameSite::Strict,
                Some("None") => SameSite::None,
                Some("Default") => SameSite::Unset,
                _ => SameSite::Lax,
            },
            ..CookieSettings::default()
        })
    }

    pub(super) fn storage(&self) -> Option<RedisSettings> {
        if self.text("session_storage") != Some("redis") {
            return None;
        }
        let empty = Map::new();
        let redis = Reader {
            config: self.config.get("redis").and_then(Value::as_object).unwrap_or(&empty),
            methods: Vec::new(),
        };
        let millis = |field: &str| {
            Duration::from_millis(redis.config.get(field).and_then(Value::as_u64).unwrap_or(2000))
        };
        let port = redis.config.get("port").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok());
        Some(RedisSettings {
            host: redis.text("host").unwrap_or("127.0.0.1").to_owned(),
            port: port.unwrap_or(6379),
            database: redis.config.get("database").and_then(Value::as_i64).unwrap_or(0),
            prefix: redis.text("prefix").unwrap_or("sessions").to_owned(),
            username: redis.text("username").map(str::to_owned),
            password: redis.text("password").map(|password| Secret::new(password.to_owned())),
            tls: redis.flag("ssl", false).then(|| RedisTls {
                verify: redis.flag("ssl_verify", true),
                server_name: redis.text("server_name").map(str::to_owned),
            }),
            connect_timeout: millis("connect_timeout"),
            send_timeout: millis("send_timeout"),
            read_timeout: millis("read_timeout"),
            keepalive_timeout: Duration::from_secs(10),
        })
    }
}
