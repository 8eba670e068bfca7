//! The dialect's plugins: one file per APISIX name, and the one list of them.

pub mod attach_consumer_label;
pub mod authentication;
pub mod basic_auth;
pub mod client_control;
mod conf;
pub mod consumer_restriction;
pub mod cors;
pub mod fault_injection;
pub mod file_logger;
pub mod hmac_auth;
pub mod http_logger;
pub mod ip_restriction;
pub mod jwt_auth;
pub mod key_auth;
pub mod limit_count;
pub(crate) mod log_shape;
pub(crate) mod meta;
pub mod mocking;
pub mod multi_auth;
pub mod openid_connect;
pub mod prometheus;
pub mod proxy_rewrite;
pub mod redirect;
pub mod request_id;
pub mod response_rewrite;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

use base::{Clock, Random};
use gateway::{condition::Terms, consumer::CompiledCredential, error::ConfigError, plugin::Plugin};
use serde_json::{Map, Value};

use self::{authentication::Authentication, meta::Meta};
use crate::{
    references::{References, Resolved, has_references},
    schema::{Schema, excerpt},
};

/// A plugin as APISIX's users write it: name, priority, wire schema, texts, and the way to the engine's neutral form.
///
/// What it needs to run (sessions, provider clients, keys) it holds itself: the binary makes it with its services and
/// puts it into the [`Registry`].
pub trait DialectPlugin: Send + Sync {
    /// APISIX's name of it: `openid-connect`.
    fn name(&self) -> &'static str;

    /// APISIX's priority: plugins of a route run from the highest to the lowest.
    fn priority(&self) -> i64;

    /// The priority of a checked configuration, where that is another one.
    fn priority_of(&self, _conf: &Value) -> i64 {
        self.priority()
    }

    /// What may be written.
    fn schema(&self) -> &Schema;

    /// Whether it finds out who the consumer is (APISIX's `type=auth`).
    fn authenticates(&self) -> bool {
        false
    }

    /// What may be written of it in a consumer or a credential, where that is something else: what proves who it is.
    fn consumer_schema(&self) -> Option<&Schema> {
        None
    }

    /// Rules that APISIX checks after the consumer's schema.
    fn check_consumer(&self, _conf: &Map<String, Value>) -> Result<(), String> {
        Ok(())
    }

    /// Compiles a checked configuration of a consumer or credential, secrets in the clear.
    fn compile_credential(&self, _conf: &Value) -> Result<CompiledCredential, ConfigError> {
        Err(ConfigError::new(self.name(), "it proves of no consumer who it is"))
    }

    /// What may be written of it below `plugin_metadata`; nothing where it has no settings that hold for all routes.
    fn metadata_schema(&self) -> Option<&Schema> {
        None
    }

    /// Puts the settings for all routes into a checked configuration, where it leaves them room. What it holds then is
    /// for [`DialectPlugin::compile`] alone.
    fn apply_metadata(&self, _conf: &mut Map<String, Value>, _metadata: &Value) {}

    /// Dotted paths of the attributes that are sealed at rest and hidden from viewers.
    fn encrypt_fields(&self) -> Vec<String> {
        self.schema().secret_paths()
    }

    /// Other spellings of attributes, and what they mean: `("relm", "realm")`. What was written is what is returned.
    fn aliases(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    /// Rules that APISIX checks before its schema; the error is the text after `err: `. Aliases are resolved already.
    fn check_before_schema(&self, _conf: &Map<String, Value>) -> Result<(), String> {
        Ok(())
    }

    /// Rules that APISIX checks after its schema.
    fn check_after_schema(&self, _conf: &Map<String, Value>) -> Result<(), String> {
        Ok(())
    }

    /// Whether it matters in which resource a configuration stands. Otherwise one instance serves all that say the same.
    fn is_placed(&self) -> bool {
        false
    }

    /// Translates a checked configuration, aliases resolved and secrets in the clear, and compiles it. One instance
    /// serves every route on which this very configuration stands, unless the place matters.
    fn compile(&self, conf: &Value, cx: &CompileContext<'_>) -> Result<Arc<dyn Plugin>, ConfigError>;
}

/// The plugins that need nothing of the process but its dice and its clock.
pub fn shipped(random: &Random, clock: &Clock) -> Vec<Arc<dyn DialectPlugin>> {
    vec![
        Arc::new(client_control::ClientControl::default()),
        Arc::new(cors::Cors::default()),
        Arc::new(fault_injection::FaultInjection::new(random.clone())),
        Arc::new(ip_restriction::IpRestriction::default()),
        Arc::new(mocking::Mocking::new(random.clone())),
        Arc::new(proxy_rewrite::ProxyRewrite::default()),
        Arc::new(request_id::RequestId::new(random.clone(), clock.clone())),
        Arc::new(response_rewrite::ResponseRewrite::default()),
    ]
}

/// Where a configuration stands.
#[derive(Clone, Copy, Debug)]
pub struct CompileContext<'a> {
    /// The resource that holds it: `routes/1`, `services/x`.
    pub resource: &'a str,
}

/// A plugin and the configuration it is to be compiled with.
pub(crate) struct Prepared<'a> {
    pub(crate) plugin: &'a dyn DialectPlugin,
    /// Higher runs first.
    pub(crate) priority: i64,
    /// Whether `_meta` switches it off.
    pub(crate) disabled: bool,
    /// What else `_meta` says: for what [`Prepared::compile`] gives.
    pub(crate) terms: Terms,
    /// References are resolved.
    pub(crate) conf: Resolved,
}

impl Prepared<'_> {
    /// With the plugin's settings for all routes.
    pub(crate) fn with_metadata(mut self, metadata: Option<&Value>) -> Self {
        if let (Some(metadata), Some(conf)) = (metadata, self.conf.value.as_object_mut()) {
            self.plugin.apply_metadata(conf, metadata);
        }
        self
    }

    /// Compiles it; the error is the whole text for the client, without what references stand for.
    pub(crate) fn compile(&self, cx: &CompileContext<'_>) -> Result<Arc<dyn Plugin>, String> {
        let compiled = self.plugin.compile(&self.conf.value, cx);
        compiled.map_err(|error| wrong(self.plugin.name(), &self.conf.hide(error.to_string())))
    }
}

/// A configuration that was checked, references resolved and aliases too.
struct Checked<'a> {
    plugin: &'a dyn DialectPlugin,
    meta: Meta,
    conf: Resolved,
}

/// What a configuration is checked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// To run on requests.
    Route,
    /// To say who a consumer is, where the plugin has words for that.
    Consumer,
}

fn wrong(plugin: &str, error: &str) -> String {
    format!("failed to check the configuration of plugin {plugin} err: {error}")
}

fn no_object(plugin: &str, conf: &Value) -> String {
    format!("invalid plugin conf {conf} for plugin [{plugin}]")
}

/// Renames other spellings to the schema's; both at once contradict each other.
fn resolve_aliases(plugin: &dyn DialectPlugin, conf: &mut Map<String, Value>) -> Result<(), String> {
    for (alias, meaning) in plugin.aliases() {
        if let Some(value) = conf.shift_remove(*alias)
            && conf.insert((*meaning).to_owned(), value).is_some()
        {
            return Err(format!(
                "property \"{alias}\" is another spelling of \"{meaning}\": only one is allowed"
            ));
        }
    }
    Ok(())
}

/// Checks what a plugin is to be compiled from, and resolves its aliases.
fn check_resolved(plugin: &dyn DialectPlugin, conf: &mut Value, place: Place) -> Result<(), String> {
    if let (Place::Consumer, Some(schema)) = (place, plugin.consumer_schema()) {
        schema.validate(conf)?;
        return conf.as_object().map_or(Ok(()), |conf| plugin.check_consumer(conf));
    }
    if let Some(members) = conf.as_object_mut() {
        resolve_aliases(plugin, members)?;
        plugin.check_before_schema(members)?;
    }
    plugin.schema().validate(conf)?;
    conf.as_object().map_or(Ok(()), |conf| plugin.check_after_schema(conf))
}

/// All plugins of the dialect, by name.
#[derive(Clone)]
pub struct Registry {
    /// Sorted by name.
    plugins: Vec<Arc<dyn DialectPlugin>>,
    references: References,
    /// Whether what holds a reference without a value is let through unchecked.
    lenient: bool,
}

impl Registry {
    /// A registry of these.
    pub fn new(mut plugins: Vec<Arc<dyn DialectPlugin>>) -> Self {
        plugins.sort_by_key(|plugin| plugin.name());
        Self { plugins, references: References::none(), lenient: false }
    }

    /// The same, with references resolved so.
    pub fn with_references(self, references: References) -> Self {
        Self { references, ..self }
    }

    /// The same, for looking at what is not to serve yet.
    pub(crate) fn lenient(&self) -> Self {
        Self { lenient: true, ..self.clone() }
    }

    /// What resolves references.
    pub(crate) fn references(&self) -> &References {
        &self.references
    }

    /// A registry of `others` and of the plugins that know consumers.
    pub fn with_consumers(others: Vec<Arc<dyn DialectPlugin>>, clock: &Clock) -> Self {
        let mut plugins = others;
        plugins.push(Arc::new(Authentication::new(key_auth::KeyAuth)));
        plugins.push(Arc::new(Authentication::new(basic_auth::BasicAuth)));
        plugins.push(Arc::new(Authentication::new(hmac_auth::HmacAuth { clock: clock.clone() })));
        plugins.push(Arc::new(Authentication::new(jwt_auth::JwtAuth { clock: clock.clone() })));
        plugins.push(Arc::new(consumer_restriction::ConsumerRestriction::default()));
        plugins.push(Arc::new(attach_consumer_label::AttachConsumerLabel::default()));
        // It tries the others.
        plugins.push(Arc::new(multi_auth::MultiAuth::new(Self::new(plugins.clone()))));
        Self::new(plugins)
    }

    /// The plugin of that name.
    pub fn find(&self, name: &str) -> Option<&dyn DialectPlugin> {
        let at = self.plugins.binary_search_by(|plugin| plugin.name().cmp(name)).ok()?;
        self.plugins.get(at).map(Arc::as_ref)
    }

    /// Dotted paths of a plugin's secrets, other spellings included; none for a plugin that is not here.
    pub(crate) fn secret_fields(&self, name: &str) -> Vec<String> {
        let Some(plugin) = self.find(name) else { return Vec::new() };
        let mut fields = plugin.encrypt_fields();
        for (alias, meaning) in plugin.aliases() {
            if fields.iter().any(|field| field == meaning) {
                fields.push((*alias).to_owned());
            }
        }
        fields
    }

    /// Dotted paths of a plugin's secrets in a consumer or credential.
    pub(crate) fn consumer_secret_fields(&self, name: &str) -> Vec<String> {
        let schema = self.find(name).and_then(DialectPlugin::consumer_schema);
        schema.map(Schema::secret_paths).unwrap_or_default()
    }

    /// Checks the `plugins` of a resource; the error is the whole text for the client.
    pub(crate) fn check(&self, plugins: &Map<String, Value>) -> Result<(), String> {
        plugins.iter().try_for_each(|(name, conf)| self.check_one(name, conf, Place::Route).map(drop))
    }

    /// Checks the `plugins` of a consumer or credential.
    pub(crate) fn check_consumer(&self, plugins: &Map<String, Value>) -> Result<(), String> {
        plugins.iter().try_for_each(|(name, conf)| self.check_one(name, conf, Place::Consumer).map(drop))
    }

    /// Compiles what a consumer or credential says of an authentication plugin; `None` when it is disabled.
    pub(crate) fn compile_credential(
        &self,
        name: &str,
        conf: &Value,
    ) -> Result<Option<CompiledCredential>, String> {
        let Checked { plugin, meta, conf } = self.check_one(name, conf, Place::Consumer)?;
        if meta.disabled {
            return Ok(None);
        }
        let compiled = plugin.compile_credential(&conf.value);
        compiled.map(Some).map_err(|error| wrong(name, &conf.hide(error.to_string())))
    }

    /// Checks one plugin as it stands on a route.
    pub(crate) fn check_for_route(&self, name: &str, conf: &Value) -> Result<(), String> {
        self.check_one(name, conf, Place::Route).map(drop)
    }

    fn check_one(&self, name: &str, conf: &Value, place: Place) -> Result<Checked<'_>, String> {
        let plugin = self.find(name).ok_or_else(|| format!("unknown plugin [{}]", excerpt(name)))?;
        let Value::Object(sent) = conf else {
            return Err(no_object(name, conf));
        };
        let mut sent = sent.clone();
        let mut meta = Meta::take(name, &mut sent)?;
        if place == Place::Consumer && plugin.consumer_schema().is_some() && meta.is_about_running() {
            let why = "property \"_meta\" validation failed: what a consumer proves itself with does not run, so `disable` \
                       is all that may stand here: `filter`, `error_response` and `priority` belong to the plugin on the route";
            return Err(wrong(name, why));
        }
        let sent = Value::Object(sent);
        if meta.disabled {
            return Ok(Checked { plugin, meta, conf: Resolved::plain(sent) });
        }
        let mut conf = match self.references.resolve(&sent) {
            Ok(resolved) => resolved,
            Err(_) if self.lenient && has_references(&sent) => {
                meta.disabled = true;
                return Ok(Checked { plugin, meta, conf: Resolved::plain(sent) });
            }
            Err(error) => return Err(wrong(name, &error)),
        };
        let checked = check_resolved(plugin, &mut conf.value, place);
        checked.map_err(|error| wrong(name, &conf.hide(error)))?;
        Ok(Checked { plugin, meta, conf })
    }

    /// The configuration as its plugin takes it: without `_meta`, aliases and references resolved.
    pub(crate) fn prepare<'a>(&'a self, name: &str, conf: &Value) -> Result<Prepared<'a>, String> {
        let Checked { plugin, meta, conf } = self.check_one(name, conf, Place::Route)?;
        let Meta { disabled, priority, terms } = meta;
        let priority = priority.unwrap_or_else(|| plugin.priority_of(&conf.value));
        Ok(Prepared { plugin, priority, disabled, terms, conf })
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &dyn DialectPlugin> {
        self.plugins.iter().map(Arc::as_ref)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(DialectPlugin::name)).finish()
    }
}
