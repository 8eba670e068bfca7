//! How the provider is called.

use std::{sync::Arc, time::Duration};

use base::Secret;
use gateway::error::ConfigError;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use jose::Alg;
use plugins::openid_connect::{Additions, Calls, ClientAssertionConfig, PassedOn, Replay};
use rp::provider::{Endpoints, Further, Proxies, ProxyServer, TokenAuth};
use serde_json::Value;

use super::{Reader, header_name};

/// Kong fetches keys again when one is missing, and so does the gate; besides, once a day.
const JWKS_TTL: Duration = Duration::from_secs(86_400);
const REVOCATION: &str = "revocation_endpoint_auth_method";
const KONGS_TIMEOUT: u64 = 10_000;

impl Reader<'_> {
    pub(super) fn calls(&self) -> Result<Calls, ConfigError> {
        let timeout = self.config.get("timeout").and_then(Value::as_u64).unwrap_or(KONGS_TIMEOUT);
        let endpoint = |field: &str| self.text(field).map(str::to_owned);
        let alg = self.one("client_alg")?.map(str::parse::<Alg>).transpose();
        let alg = alg.map_err(|error| ConfigError::new("client_alg", error.to_string()))?;
        let token_auth = self.auth("token_endpoint_auth_method")?.unwrap_or_default();
        if let Some(method) = self.text(REVOCATION)
            && TokenAuth::parse(method).ok() != Some(token_auth)
        {
            let reason =
                "not implemented in this build: tokens are revoked by the method of the token endpoint";
            return Err(ConfigError::new(REVOCATION, reason));
        }
        Ok(Calls {
            timeout: Duration::from_millis(timeout),
            verify_tls: self.flag("ssl_verify", true),
            jwks_ttl: JWKS_TTL,
            metadata_ttl: None,
            keep_alive: self.flag("keepalive", true),
            proxies: self.proxies()?,
            endpoints: Endpoints {
                authorization: endpoint("authorization_endpoint"),
                token: endpoint("token_endpoint"),
                userinfo: endpoint("userinfo_endpoint"),
                revocation: endpoint("revocation_endpoint"),
                end_session: endpoint("end_session_endpoint"),
                jwks: endpoint("jwks_endpoint"),
            },
            discovery_headers: self.constants("discovery")?,
            extra_jwks: self.texts("extra_jwks_uris").into_iter().map(str::to_owned).collect(),
            token_auth,
            introspection_auth: self.auth("introspection_endpoint_auth_method")?.unwrap_or_default(),
            assertion: ClientAssertionConfig { alg, ..ClientAssertionConfig::default() },
            possession: None,
            additions: self.additions()?,
        })
    }

    /// The method that a field names, else that of `client_auth`.
    pub(super) fn auth(&self, field: &'static str) -> Result<Option<TokenAuth>, ConfigError> {
        let (field, method) = match (self.text(field), self.one("client_auth")?) {
            (Some(method), _) => (field, method),
            (None, Some(method)) => ("client_auth", method),
            (None, None) => return Ok(None),
        };
        match TokenAuth::parse(method) {
            Ok(known) => Ok(Some(known)),
            Err(_) => {
                let reason =
                    format!("the client authentication method {method:?} is not implemented in this build");
                Err(ConfigError::new(field, reason))
            }
        }
    }

    fn proxies(&self) -> Result<Option<Arc<Proxies>>, ConfigError> {
        let proxy = |url: &str, credentials: &str| {
            let credentials = self.text(credentials).map(|text| Secret::new(text.to_owned()));
            let server = self.text(url).map(|text| ProxyServer::parse(text, credentials.as_ref()));
            server.transpose().map_err(|error| ConfigError::new(url, error.to_string()))
        };
        let http = proxy("http_proxy", "http_proxy_authorization")?;
        let https = proxy("https_proxy", "https_proxy_authorization")?;
        let except = Proxies::exceptions(self.text("no_proxy").unwrap_or_default());
        let proxied = http.is_some() || https.is_some();
        Ok(proxied.then(|| Arc::new(Proxies { http, https, except })))
    }

    /// Headers of calls to the provider, whose names and values are in two fields.
    fn constants(&self, of: &str) -> Result<HeaderMap, ConfigError> {
        let (names, values) = (format!("{of}_headers_names"), format!("{of}_headers_values"));
        let mut headers = HeaderMap::new();
        for (name, value) in self.pairs(&names, &values)? {
            let value = HeaderValue::try_from(value);
            let mut value = value
                .map_err(|_| ConfigError::new(values.as_str(), "one of them cannot be a header's value"))?;
            value.set_sensitive(true);
            headers.append(header_name(&names, &name)?, value);
        }
        Ok(headers)
    }

    /// What is said beside what the calls need.
    fn additions(&self) -> Result<Additions, ConfigError> {
        let names = |field: &str| self.texts(field).into_iter().map(str::to_owned).collect();
        let headers = |field: &str| -> Result<Vec<HeaderName>, ConfigError> {
            self.texts(field).into_iter().map(|name| header_name(field, name)).collect()
        };
        let mut userinfo_headers = self.constants("userinfo")?;
        if self.text("userinfo_accept") == Some("application/jwt") {
            let accept = userinfo_headers.entry(header::ACCEPT);
            accept.or_insert(HeaderValue::from_static("application/jwt"));
        }
        let mut introspection_headers = self.constants("introspection")?;
        if let Some(kind) = self.text("introspection_accept").filter(|kind| *kind != "application/json") {
            let value = HeaderValue::from_str(kind);
            let value = value.map_err(|_| ConfigError::new("introspection_accept", "not a media type"))?;
            introspection_headers.entry(header::ACCEPT).or_insert(value);
        }
        Ok(Additions {
            further: Further {
                token_headers: self.constants("token")?,
                introspection_headers,
                userinfo_headers,
                userinfo_query: self.pairs("userinfo_query_args_names", "userinfo_query_args_values")?,
            },
            passed: PassedOn {
                token_headers: headers("token_headers_client")?,
                introspection_query: names("introspection_post_args_client"),
                introspection_fields: names("introspection_post_args_client_headers"),
                userinfo_headers: headers("userinfo_headers_client")?,
                userinfo_query: names("userinfo_query_args_client"),
                authorization: names("authorization_query_args_client"),
            },
            replay: Replay {
                names: headers("token_headers_replay")?,
                prefix: self.text("token_headers_prefix").unwrap_or_default().replace('_', "-"),
                grants: names("token_headers_grants"),
            },
        })
    }
}
