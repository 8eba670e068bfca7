//! Consumers with the plugins they bring, and the credentials by which they are known.

use std::{collections::BTreeMap, sync::Arc};

use gateway::{
    consumer::{CompiledCredential, Consumer, Credential},
    route::{Entry, Layer},
};
use http::{HeaderName, HeaderValue};
use indexmap::IndexMap;
use plugins::closed;
use serde_json::Value;

use super::{Pass, content};
use crate::resources::{Kind, id_text};

const X_CONSUMER_USERNAME: HeaderName = HeaderName::from_static("x-consumer-username");
const X_CONSUMER_CUSTOM_ID: HeaderName = HeaderName::from_static("x-consumer-custom-id");
const X_CREDENTIAL_IDENTIFIER: HeaderName = HeaderName::from_static("x-credential-identifier");

/// A consumer and its credentials, and what of them cannot be used.
#[derive(Debug, Default)]
pub(crate) struct Member {
    pub(crate) consumer: Option<Arc<Consumer>>,
    pub(crate) credentials: Vec<Arc<Credential>>,
    /// Names of resources, and why.
    pub(crate) broken: Vec<(String, String)>,
}

/// A key that a resource claims for its consumer.
#[derive(Debug)]
pub(crate) struct Claim {
    /// APISIX's name of the plugin.
    pub(crate) plugin: &'static str,
    pub(crate) compiled: CompiledCredential,
}

impl Claim {
    /// What stands for it where two writes may meet; it says nothing about the key.
    pub(crate) fn name(&self) -> String {
        let digest = content(&[self.plugin, &String::from_utf8_lossy(self.compiled.lookup.expose())]);
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Pass<'_> {
    /// A consumer and everything of its own. One that cannot be compiled has no keys: an older version of it might be let
    /// in by a key that was taken away, or without a limit that was put on it. Whoever is found to be it otherwise is
    /// refused, and is not nobody, who may get in.
    pub(crate) fn member(&mut self, username: &str) -> Member {
        let Some(value) = self.view.find(Kind::Consumer, username) else { return Member::default() };
        let name = Kind::Consumer.name(username);
        let (consumer, mut credentials) = match self.consumer(username) {
            Ok(compiled) => compiled,
            Err(reason) => {
                let consumer = Some(Arc::new(self.closed_consumer(username, value)));
                return Member { consumer, broken: vec![(name, reason)], ..Member::default() };
            }
        };
        let mut broken = Vec::new();
        for id in self.view.credentials_of(username) {
            match self.credential(&id, &consumer) {
                Ok(credential) => credentials.extend(credential),
                Err(reason) => broken.push((Kind::Credential.name(&id), reason)),
            }
        }
        Member { consumer: Some(consumer), credentials, broken }
    }

    fn closed_consumer(&self, username: &str, value: &Value) -> Consumer {
        let custom_id = value.pointer("/labels/custom_id").and_then(Value::as_str);
        Consumer {
            id: username.into(),
            username: Some(username.into()),
            custom_id: custom_id.map(Arc::from),
            groups: Vec::new(),
            memberships: Vec::new(),
            labels: BTreeMap::new(),
            headers: Vec::new(),
            layer: closed::layer(),
            created: self.view.created(Kind::Consumer, username),
        }
    }

    /// The consumer, and the credentials that stand in it.
    pub(super) fn consumer(
        &mut self,
        username: &str,
    ) -> Result<(Arc<Consumer>, Vec<Arc<Credential>>), String> {
        let value = self.open(Kind::Consumer, username)?;
        if value.get("username").is_none_or(|name| name != username) {
            return Err("its username is not the one in its key".to_owned());
        }
        let group_id = value.get("group_id").and_then(id_text);
        let group = match &group_id {
            Some(id) => Some(self.open(Kind::ConsumerGroup, id)?),
            None => None,
        };
        let labels: BTreeMap<String, String> = value
            .get("labels")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .filter_map(|(name, label)| Some((name.clone(), label.as_str()?.to_owned())))
            .collect();
        let custom_id = labels.get("custom_id").map(|id| Arc::from(id.as_str()));
        let mut headers = vec![(X_CONSUMER_USERNAME, sendable("username", username)?)];
        if let Some(custom_id) = labels.get("custom_id") {
            headers.push((X_CONSUMER_CUSTOM_ID, sendable("labels.custom_id", custom_id)?));
        }
        let name = Kind::Consumer.name(username);
        let layer = self.layer(&name, &value, group_id.as_deref().zip(group.as_ref()))?;
        let created = self.view.created(Kind::Consumer, username);
        let consumer = Arc::new(Consumer {
            id: username.into(),
            username: Some(username.into()),
            custom_id,
            groups: group_id.as_deref().map(Arc::from).into_iter().collect(),
            memberships: Vec::new(),
            labels,
            headers,
            layer,
            created,
        });
        let id: Arc<str> = name.into();
        let own = |claim: Claim| {
            Arc::new(Credential::new(Arc::clone(&id), Arc::clone(&consumer), created, claim.compiled))
        };
        let credentials = self.compiled_credentials(&value)?.into_iter().map(own).collect();
        Ok((consumer, credentials))
    }

    /// The plugins of the group, and over them those of the consumer that are no proof of who it is. Consumers that
    /// bring the same plugins share them.
    fn layer(
        &mut self,
        name: &str,
        consumer: &Value,
        group: Option<(&str, &Value)>,
    ) -> Result<Arc<Layer>, String> {
        let of_group = group.map(|(id, _)| Kind::ConsumerGroup.name(id)).unwrap_or_default();
        let mut merged: IndexMap<&str, (&Value, &str)> = IndexMap::new();
        for (plugin, conf) in plugins(group.map(|(_, value)| value)) {
            merged.insert(plugin, (conf, &of_group));
        }
        let registry = self.compiler.registry.clone();
        for (plugin, conf) in plugins(Some(consumer)) {
            if !registry.find(plugin).is_some_and(|plugin| plugin.authenticates()) {
                merged.insert(plugin, (conf, name));
            }
        }
        let mut texts: Vec<String> = Vec::with_capacity(merged.len() * 2);
        let mut entries: Vec<Entry> = Vec::with_capacity(merged.len());
        for (plugin, (conf, resource)) in merged {
            let metadata = self.view.find(Kind::PluginMetadata, plugin);
            texts.extend([
                plugin.to_owned(),
                conf.to_string(),
                metadata.map(Value::to_string).unwrap_or_default(),
            ]);
            entries.push(self.plugin(plugin, conf, resource)?);
        }
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        self.compiler.layers.find_or(content(&texts), || Ok(Arc::new(Layer { entries, ..Layer::default() })))
    }

    /// A credential of its own; `None` when it proves nothing.
    fn credential(&mut self, id: &str, consumer: &Arc<Consumer>) -> Result<Option<Arc<Credential>>, String> {
        let value = self.open(Kind::Credential, id)?;
        let Some(claim) = self.compiled_credentials(&value)?.into_iter().next() else { return Ok(None) };
        let created = self.view.created(Kind::Credential, id);
        let own_id = id.split_once('/').map_or(id, |(_, own)| own);
        let name: Arc<str> = Kind::Credential.name(id).into();
        let mut credential = Credential::new(name, Arc::clone(consumer), created, claim.compiled);
        credential.headers.push((X_CREDENTIAL_IDENTIFIER, sendable("id", own_id)?));
        Ok(Some(Arc::new(credential)))
    }

    /// The keys that a consumer or credential claims.
    pub(crate) fn claims(&mut self, kind: Kind, id: &str) -> Result<Vec<Claim>, String> {
        match kind {
            Kind::Consumer | Kind::Credential => {
                let value = self.open(kind, id)?;
                self.compiled_credentials(&value)
            }
            _ => Ok(Vec::new()),
        }
    }

    fn compiled_credentials(&self, value: &Value) -> Result<Vec<Claim>, String> {
        let registry = &self.compiler.registry;
        let mut claims = Vec::new();
        for (name, conf) in plugins(Some(value)) {
            let Some(plugin) = registry.find(name).filter(|plugin| plugin.authenticates()) else { continue };
            let compiled = registry.compile_credential(name, conf)?;
            claims.extend(compiled.map(|compiled| Claim { plugin: plugin.name(), compiled }));
        }
        Ok(claims)
    }
}

fn plugins(value: Option<&Value>) -> impl Iterator<Item = (&str, &Value)> {
    let plugins = value.and_then(|value| value.get("plugins")).and_then(Value::as_object);
    plugins.into_iter().flatten().map(|(name, conf)| (name.as_str(), conf))
}

fn sendable(member: &str, text: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_bytes(text.as_bytes()).map_err(|_| format!("{member}: it cannot be sent in a header"))
}
