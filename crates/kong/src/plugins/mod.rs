//! The dialect's plugins: one file or folder per Kong name, and the one list of them.

mod acl;
mod authentication;
mod basic_auth;
mod conf;
mod correlation_id;
mod cors;
pub mod file_log;
mod hmac_auth;
pub mod http_log;
mod ip_restriction;
mod jwt;
mod key_auth;
pub mod openid_connect;
pub mod prometheus;
pub mod rate_limiting;
mod request_size_limiting;
mod request_termination;
mod request_transformer;
mod response_transformer;

use std::{fmt, sync::Arc};

use base::{Clock, Random};
use gateway::{error::ConfigError, plugin::Plugin};
use serde_json::{Map, Value};

use crate::{
    entities::{Kind, plugin_schema},
    schema::{Schema, Violations},
};

/// Plugins that Kong ships and this build does not have.
const ABSENT: [&str; 24] = [
    "acme",
    "aws-lambda",
    "azure-functions",
    "bot-detection",
    "datadog",
    "grpc-gateway",
    "grpc-web",
    "ldap-auth",
    "loggly",
    "oauth2",
    "oauth2-introspection",
    "opentelemetry",
    "post-function",
    "pre-function",
    "proxy-cache",
    "redirect",
    "response-ratelimiting",
    "saml",
    "session",
    "statsd",
    "syslog",
    "tcp-log",
    "udp-log",
    "zipkin",
];

/// A plugin as Kong's users write it: name, priority, the schema of its `config`, and the way to the engine's neutral
/// form.
///
/// What it needs to run (provider clients, caches, keys) it holds itself: the binary makes it with its services and
/// puts it into the [`Registry`].
pub trait DialectPlugin: Send + Sync {
    /// Kong's name of it: `openid-connect`.
    fn name(&self) -> &'static str;

    /// Kong's priority: plugins of a request run from the highest to the lowest.
    fn priority(&self) -> i64;

    /// Whether it finds out who the consumer is.
    fn authenticates(&self) -> bool {
        false
    }

    /// Whether it may be bound to consumers and their groups.
    fn takes_consumers(&self) -> bool {
        !self.authenticates()
    }

    /// What may stand in `config`. The registry asks once.
    fn schema(&self) -> Arc<Schema>;

    /// Adds Kong's rules over several fields to the schema of the plugin's entities, in which they are named
    /// `config.allow`.
    fn rules(&self, entity: Schema) -> Schema {
        entity
    }

    /// Replaces fields by which Kong still takes what has others by now.
    fn expand(&self, _config: &mut Map<String, Value>) {}

    /// Fills in what Kong generates, in a config whose other defaults are there. `old` is what stood there before.
    fn generate(
        &self,
        _config: &mut Map<String, Value>,
        _old: Option<&Map<String, Value>>,
        _random: &base::Random,
    ) {
    }

    /// Translates a config that fits the schema, secrets in the clear, and compiles it. One instance serves every
    /// route on which this very config stands. The error's path is a field of `config`.
    fn compile(&self, config: &Map<String, Value>) -> Result<Arc<dyn Plugin>, ConfigError>;

    /// Whether it matters what a config is bound to. Otherwise one instance serves all that say the same.
    fn is_placed(&self) -> bool {
        false
    }

    /// Compiles a config that is bound to `place`: the ids of route and service, where it is bound to them.
    fn compile_at(&self, config: &Map<String, Value>, _place: &str) -> Result<Arc<dyn Plugin>, ConfigError> {
        self.compile(config)
    }
}

/// The plugins that need nothing of the process but its dice and its clock.
pub fn shipped(random: &Random, clock: &Clock) -> Vec<Arc<dyn DialectPlugin>> {
    vec![
        Arc::new(correlation_id::CorrelationId { random: random.clone(), clock: clock.clone() }),
        Arc::new(cors::Cors),
        Arc::new(ip_restriction::IpRestriction),
        Arc::new(request_size_limiting::RequestSizeLimiting),
        Arc::new(request_termination::RequestTermination(random.clone())),
        Arc::new(request_transformer::RequestTransformer),
        Arc::new(response_transformer::ResponseTransformer),
    ]
}

/// All plugins of the dialect.
#[derive(Clone)]
pub struct Registry {
    /// Sorted by name.
    plugins: Arc<[Known]>,
}

struct Known {
    plugin: Arc<dyn DialectPlugin>,
    /// Of the whole entity.
    schema: Schema,
}

impl Registry {
    /// A registry of these.
    pub fn new(mut plugins: Vec<Arc<dyn DialectPlugin>>) -> Self {
        plugins.sort_by_key(|plugin| plugin.name());
        let known = |plugin: Arc<dyn DialectPlugin>| Known {
            schema: plugin.rules(plugin_schema(Some(plugin.schema()), plugin.takes_consumers())),
            plugin,
        };
        Self { plugins: plugins.into_iter().map(known).collect() }
    }

    /// A registry of these and of every plugin that needs nothing but to know the time.
    pub fn with_built_in(mut plugins: Vec<Arc<dyn DialectPlugin>>, clock: &Clock) -> Self {
        plugins.extend([
            Arc::new(acl::Acl) as Arc<dyn DialectPlugin>,
            Arc::new(basic_auth::BasicAuth),
            Arc::new(hmac_auth::HmacAuth(clock.clone())),
            Arc::new(jwt::Jwt(clock.clone())),
            Arc::new(key_auth::KeyAuth),
        ]);
        Self::new(plugins)
    }

    /// The plugin of that name.
    pub fn find(&self, name: &str) -> Option<&Arc<dyn DialectPlugin>> {
        self.known(name).map(|known| &known.plugin)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &dyn DialectPlugin> {
        self.plugins.iter().map(|known| known.plugin.as_ref())
    }

    /// The description of an entity, which for a plugin depends on its name.
    pub(crate) fn schema(&self, kind: Kind, value: &Map<String, Value>) -> &Schema {
        let name = (kind == Kind::Plugin).then(|| value.get("name")?.as_str()).flatten();
        name.and_then(|name| self.known(name)).map_or_else(|| kind.schema(), |known| &known.schema)
    }

    /// The plugin of that name, or what the client is told.
    pub(crate) fn demand(&self, name: &str) -> Result<&Arc<dyn DialectPlugin>, Violations> {
        self.find(name).ok_or_else(|| {
            let shown: String = name.chars().take(128).collect();
            Violations::of(
                "name",
                match ABSENT.contains(&name) {
                    true => format!("plugin '{shown}' is not implemented in this build"),
                    false => format!(
                        "plugin '{shown}' not enabled; add it to the 'plugins' configuration property"
                    ),
                },
            )
        })
    }

    /// Replaces what a plugin that is written so says in an older way.
    pub(crate) fn expand(&self, kind: Kind, name: Option<&str>, members: &mut Map<String, Value>) {
        let plugin = name.filter(|_| kind == Kind::Plugin).and_then(|name| self.find(name));
        if let (Some(plugin), Some(Value::Object(config))) = (plugin, members.get_mut("config")) {
            plugin.expand(config);
        }
    }

    fn known(&self, name: &str) -> Option<&Known> {
        let at = self.plugins.binary_search_by(|known| known.plugin.name().cmp(name)).ok()?;
        self.plugins.get(at)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(DialectPlugin::name)).finish()
    }
}
