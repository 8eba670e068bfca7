//! How the provider is called.

use std::{sync::Arc, time::Duration};

use base::Secret;
use gateway::error::ConfigError;
use plugins::openid_connect::Calls;
use rp::provider::{Proxies, ProxyServer, TokenAuth};
use serde_json::Value;

use super::{client, seconds, text};
use crate::schema::Schema;

const AUTH_METHODS: &[&str] =
    &["client_secret_basic", "client_secret_post", "private_key_jwt", "client_secret_jwt", "none"];

pub(super) fn fields(schema: Schema) -> Schema {
    let auth =
        |doc: &'static str| Schema::string().choices(AUTH_METHODS).default("client_secret_basic").doc(doc);
    let verify = Schema::any_of(vec![Schema::boolean(), Schema::string().choices(&["no"])]);
    let keep = Schema::any_of(vec![Schema::boolean(), Schema::string().choices(&["yes", "no"])]);
    schema
        .field(
            "realm",
            Schema::string().default("apisix").doc("realm of WWW-Authenticate; `relm` is understood too"),
        )
        .field(
            "timeout",
            Schema::integer()
                .at_least(1)
                .default(3)
                .doc("seconds a call to the provider may take; a multiple of 1000 counts as milliseconds"),
        )
        .field(
            "ssl_verify",
            verify.default(true).doc("whether the provider's certificates are verified; \"no\" is false"),
        )
        .field(
            "keepalive",
            keep.default("yes").doc("\"no\": each call to the provider has a connection of its own"),
        )
        .field("proxy_opts", proxy_opts())
        .field(
            "token_endpoint_auth_method",
            auth("client authentication at the token and revocation endpoints"),
        )
        .field(
            "introspection_endpoint_auth_method",
            auth("client authentication at the introspection endpoint"),
        )
        .field(
            "jwk_expires_in",
            Schema::integer().at_least(1).default(86_400).doc("seconds a key set is used at most"),
        )
        .field(
            "discovery_expires_in",
            Schema::integer()
                .at_least(1)
                .default(86_400)
                .doc("seconds the discovery document is used before it is fetched again"),
        )
}

fn proxy_opts() -> Schema {
    let credentials = "Proxy-Authorization for it, such as `Basic dTpw`";
    Schema::object()
        .field(
            "http_proxy",
            Schema::string()
                .check(bare_proxy)
                .doc("http://host:port or https://host:port for providers at http URLs"),
        )
        .field("http_proxy_authorization", Schema::string().secret().doc(credentials))
        .field(
            "https_proxy",
            Schema::string()
                .check(bare_proxy)
                .doc("http://host:port or https://host:port for those at https URLs, through CONNECT"),
        )
        .field("https_proxy_authorization", Schema::string().secret().doc(credentials))
        .field("no_proxy", Schema::string().doc("hosts that are called directly, separated by commas"))
        .doc("the way to the provider through proxies, in place of the process's own")
}

/// Credentials in the URL would not be sealed.
fn bare_proxy(value: &Value) -> Result<(), String> {
    let url = value.as_str().unwrap_or_default();
    if url.contains('@') {
        return Err("credentials belong in the property for the proxy's authorization".to_owned());
    }
    ProxyServer::parse(url, None).map(drop).map_err(|error| error.to_string())
}

fn proxies(conf: &Value) -> Result<Option<Arc<Proxies>>, ConfigError> {
    let Some(opts) = conf.get("proxy_opts") else { return Ok(None) };
    let server = |name: &str, credentials: &str| {
        let credentials = text(opts, credentials).map(Secret::new);
        let server = text(opts, name).map(|url| ProxyServer::parse(&url, credentials.as_ref()));
        server.transpose().map_err(|error| ConfigError::new(format!("proxy_opts.{name}"), error.to_string()))
    };
    Ok(Some(Arc::new(Proxies {
        http: server("http_proxy", "http_proxy_authorization")?,
        https: server("https_proxy", "https_proxy_authorization")?,
        except: Proxies::exceptions(&text(opts, "no_proxy").unwrap_or_default()),
    })))
}

pub(super) fn calls(conf: &Value) -> Result<Calls, ConfigError> {
    let auth = |name: &str| match text(conf, name) {
        Some(method) => TokenAuth::parse(&method).map_err(|error| ConfigError::new(name, error.to_string())),
        None => Ok(TokenAuth::Basic),
    };
    let timeout = match conf.get("timeout").and_then(Value::as_u64).unwrap_or(3) {
        // Older configurations have milliseconds here.
        millis if millis >= 1000 && millis % 1000 == 0 => Duration::from_millis(millis),
        seconds => Duration::from_secs(seconds),
    };
    let verify_tls = conf.get("ssl_verify").is_none_or(|verify| verify.as_bool().unwrap_or(false));
    let keep_alive = conf.get("keepalive").is_none_or(|keep| keep.as_bool().unwrap_or(keep == "yes"));
    Ok(Calls {
        timeout,
        verify_tls,
        jwks_ttl: seconds(conf, "jwk_expires_in", 86_400),
        metadata_ttl: conf.get("discovery_expires_in").and_then(Value::as_u64).map(Duration::from_secs),
        keep_alive,
        proxies: proxies(conf)?,
        endpoints: Default::default(),
        discovery_headers: Default::default(),
        extra_jwks: Vec::new(),
        token_auth: auth("token_endpoint_auth_method")?,
        introspection_auth: auth("introspection_endpoint_auth_method")?,
        assertion: client::assertion_config(conf),
        possession: client::possession_config(conf),
        additions: Default::default(),
    })
}
