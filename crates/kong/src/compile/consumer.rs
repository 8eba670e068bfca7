//! Consumers with the plugins they bring, and the credentials by which they are known.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use base::Secret;
use gateway::{
    consumer::{CompiledCredential, Consumer, Credential},
    error::ConfigError,
    route::{Binding, Entry, Layer},
};
use http::{HeaderName, HeaderValue};
use jose::Alg;
use plugins::{basic_auth, closed, jwt_auth, key_auth, signed_request};
use serde_json::{Map, Value};

use super::{Pass, content, named_in, text};
use crate::entities::{Kind, named};

const X_CONSUMER_ID: HeaderName = HeaderName::from_static("x-consumer-id");
const X_CONSUMER_USERNAME: HeaderName = HeaderName::from_static("x-consumer-username");
const X_CONSUMER_CUSTOM_ID: HeaderName = HeaderName::from_static("x-consumer-custom-id");
const X_CREDENTIAL_IDENTIFIER: HeaderName = HeaderName::from_static("x-credential-identifier");

/// How closely a plugin is bound, in Kong's order: of several of one name that apply, the highest runs.
pub(super) fn rank(route: bool, service: bool, consumer: bool, group: bool) -> u8 {
    match (consumer, group, route, service) {
        (true, _, true, true) => 11,
        (_, true, true, true) => 10,
        (true, _, true, false) => 9,
        (true, _, false, true) => 8,
        (_, true, true, false) => 7,
        (_, true, false, true) => 6,
        (false, false, true, true) => 5,
        (true, _, false, false) => 4,
        (_, true, false, false) => 3,
        (false, false, true, false) => 2,
        (false, false, false, true) => 1,
        (false, false, false, false) => 0,
    }
}

/// A consumer and its credentials, and what of them cannot be used.
#[derive(Debug, Default)]
pub(crate) struct Member {
    pub(crate) consumer: Option<Arc<Consumer>>,
    pub(crate) credentials: Vec<Arc<Credential>>,
    /// Names of entities, and why.
    pub(crate) broken: Vec<(String, String)>,
}

/// A consumer group, for callers who are no consumers.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) name: Arc<str>,
    /// What it brings.
    pub(crate) layer: Arc<Layer>,
    /// Why it cannot be used: its callers are refused.
    pub(crate) broken: Option<String>,
}

impl Pass<'_> {
    /// A consumer and everything of its own; `None`: there is no such consumer. One that cannot be compiled has no
    /// credentials, and whoever is found to be it otherwise is refused.
    pub(crate) fn member(&mut self, id: &str) -> Option<Member> {
        let value = self.view.find(Kind::Consumer, id)?;
        let consumer = match self.consumer(id) {
            Ok(consumer) => consumer,
            Err(reason) => {
                let broken = vec![(format!("consumers/{id}"), reason)];
                let consumer = Some(Arc::new(self.closed_consumer(id, value)));
                return Some(Member { consumer, broken, ..Member::default() });
            }
        };
        let mut member = Member { consumer: Some(Arc::clone(&consumer)), ..Member::default() };
        for kind in Kind::ALL.into_iter().filter(|kind| kind.is_credential()) {
            let ids: Vec<String> =
                self.view.children(kind, Kind::Consumer, id).map(|(id, _)| id.to_owned()).collect();
            for id in ids {
                match self.credential(kind, &id, &consumer) {
                    Ok(credential) => member.credentials.push(credential),
                    Err(reason) => member.broken.push((format!("{}/{id}", kind.plural()), reason)),
                }
            }
        }
        Some(member)
    }

    fn consumer(&mut self, id: &str) -> Result<Arc<Consumer>, String> {
        let value = self.open(Kind::Consumer, id)?;
        let mut headers = vec![(X_CONSUMER_ID, sendable("id", id)?)];
        for (field, header) in [("username", X_CONSUMER_USERNAME), ("custom_id", X_CONSUMER_CUSTOM_ID)] {
            if let Some(name) = text(&value, field) {
                headers.push((header, sendable(field, name)?));
            }
        }
        let acls = self.view.children(Kind::Acl, Kind::Consumer, id);
        let mut groups: Vec<Arc<str>> =
            acls.filter_map(|(_, acl)| Some(Arc::from(acl.get("group")?.as_str()?))).collect();
        groups.sort();
        groups.dedup();
        let layer = self.layer(id)?;
        let mut memberships: Vec<Arc<str>> =
            self.groups_of(id).filter_map(|group| self.name_of(group)).collect();
        memberships.sort();
        Ok(Arc::new(Consumer {
            id: id.into(),
            username: text(&value, "username").map(Arc::from),
            custom_id: text(&value, "custom_id").map(Arc::from),
            groups,
            memberships,
            labels: BTreeMap::new(),
            headers,
            layer,
            created: self.view.created(Kind::Consumer, id),
        }))
    }

    /// What keeps a caller whose claims name a consumer that cannot be compiled from counting as nobody, who may get in.
    fn closed_consumer(&self, id: &str, value: &Value) -> Consumer {
        let name = |field: &str| value.get(field).and_then(Value::as_str).map(Arc::from);
        Consumer {
            id: id.into(),
            username: name("username"),
            custom_id: name("custom_id"),
            groups: Vec::new(),
            memberships: Vec::new(),
            labels: BTreeMap::new(),
            headers: Vec::new(),
            layer: closed::layer(),
            created: self.view.created(Kind::Consumer, id),
        }
    }

    /// The plugins of the consumer and its groups. Consumers that bring the same plugins share them.
    fn layer(&mut self, consumer: &str) -> Result<Arc<Layer>, String> {
        let mut found: Vec<(u8, String)> = Vec::new();
        let mut collect = |kind: Kind, id: &str, of_consumer: bool| {
            for (plugin, value) in self.view.children(Kind::Plugin, kind, id) {
                if value.get("enabled").and_then(Value::as_bool).unwrap_or(true) {
                    let (route, service) = (named(value, "route"), named(value, "service"));
                    let rank = rank(route.is_some(), service.is_some(), of_consumer, !of_consumer);
                    found.push((rank, plugin.to_owned()));
                }
            }
        };
        collect(Kind::Consumer, consumer, true);
        self.groups_of(consumer).for_each(|group| collect(Kind::ConsumerGroup, group, false));
        self.layer_of(found)
    }

    /// Ids of the groups that a consumer belongs to.
    fn groups_of(&self, consumer: &str) -> impl Iterator<Item = &str> {
        let members = self.view.children(Kind::Member, Kind::Consumer, consumer);
        members.filter_map(|(_, member)| named(member, "consumer_group"))
    }

    fn name_of(&self, group: &str) -> Option<Arc<str>> {
        Some(Arc::from(self.view.find(Kind::ConsumerGroup, group)?.get("name")?.as_str()?))
    }

    /// A consumer group as those find it who belong to it by their claims; `None`: there is none that they could name.
    pub(crate) fn group(&mut self, id: &str) -> Option<Group> {
        let name = self.name_of(id)?;
        let mut found = Vec::new();
        for (plugin, value) in self.view.children(Kind::Plugin, Kind::ConsumerGroup, id) {
            if value.get("enabled").and_then(Value::as_bool).unwrap_or(true) {
                let (route, service) = (named(value, "route"), named(value, "service"));
                found.push((rank(route.is_some(), service.is_some(), false, true), plugin.to_owned()));
            }
        }
        Some(match self.layer_of(found) {
            Ok(layer) => Group { name, layer, broken: None },
            Err(reason) => Group { name, layer: closed::layer(), broken: Some(reason) },
        })
    }

    /// The plugins of these ranks and ids.
    fn layer_of(&mut self, mut found: Vec<(u8, String)>) -> Result<Arc<Layer>, String> {
        // The last of one name counts.
        found.sort();
        let (mut texts, mut layer) = (Vec::new(), Layer::default());
        for (rank, id) in found {
            let entity = self.open(Kind::Plugin, &id)?;
            let compiled = self.compiler.plugin(&entity);
            let (plugin, instance) =
                compiled.map_err(|violations| format!("plugins/{id}: {}", violations.message()))?;
            let binding = Binding {
                route: named_in(&entity, "route").map(Arc::from),
                service: named_in(&entity, "service").map(Arc::from),
            };
            let entry = Entry {
                name: plugin.name(),
                priority: plugin.priority(),
                rank,
                authenticates: plugin.authenticates(),
                plugin: Some(instance),
            };
            let config = entity.get("config").unwrap_or(&Value::Null).to_string();
            texts.push(format!("{} {rank} {binding:?} {config}", plugin.name()));
            if binding == Binding::default() {
                layer.entries.push(entry);
            } else {
                layer.bound.push((binding, entry));
            }
        }
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        self.compiler.layers.find_or(content(&texts), || Ok(Arc::new(layer)))
    }

    fn credential(&self, kind: Kind, id: &str, consumer: &Arc<Consumer>) -> Result<Arc<Credential>, String> {
        let value = self.open(kind, id)?;
        let compiled = credential(kind, &value).map_err(|error| error.to_string())?;
        let created = self.view.created(kind, id);
        let name: Arc<str> = format!("{}/{id}", kind.plural()).into();
        let identifier = match kind {
            Kind::BasicAuth | Kind::HmacAuth => text(&value, "username").unwrap_or(id),
            Kind::Jwt => text(&value, "key").unwrap_or(id),
            _ => id,
        };
        let mut credential = Credential::new(name, Arc::clone(consumer), created, compiled);
        credential.headers.push((X_CREDENTIAL_IDENTIFIER, sendable("username", identifier)?));
        Ok(Arc::new(credential))
    }
}

/// What a credential in the clear is judged by.
pub(super) fn credential(kind: Kind, value: &Map<String, Value>) -> Result<CompiledCredential, ConfigError> {
    let secret = |field: &str| Secret::new(text(value, field).unwrap_or_default().to_owned());
    let name = |field: &str| text(value, field).unwrap_or_default();
    match kind {
        Kind::KeyAuth => key_auth::credential(&secret("key")),
        Kind::BasicAuth => {
            let consumer = named_in(value, "consumer").unwrap_or_default();
            basic_auth::credential_of_sha1(name("username"), &secret("password"), consumer)
        }
        Kind::HmacAuth => signed_request::credential(name("username"), &secret("secret")),
        Kind::Jwt => {
            let alg: Alg = name("algorithm")
                .parse()
                .map_err(|_| ConfigError::new("algorithm", "it is not one that is implemented"))?;
            let verification = if alg.is_symmetric() {
                jwt_auth::Verification::Secret(Secret::new(secret("secret").expose().as_bytes().to_vec()))
            } else {
                jwt_auth::Verification::PublicKey(name("rsa_public_key").to_owned())
            };
            let compiled = jwt_auth::credential(name("key"), alg, &verification, Duration::ZERO);
            compiled.map_err(|error| match error.path.as_str() {
                "public_key" => ConfigError::new("rsa_public_key", error.reason),
                _ => error,
            })
        }
        _ => Err(ConfigError::new("id", "it proves nothing")),
    }
}

fn sendable(field: &str, text: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_bytes(text.as_bytes()).map_err(|_| format!("{field}: it cannot be sent in a header"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_binding_has_the_highest_rank() {
        let (yes, no) = (true, false);
        // Route, service, consumer, group, from the closest to none.
        let order = [
            (yes, yes, yes, no),
            (yes, yes, no, yes),
            (yes, no, yes, no),
            (no, yes, yes, no),
            (yes, no, no, yes),
            (no, yes, no, yes),
            (yes, yes, no, no),
            (no, no, yes, no),
            (no, no, no, yes),
            (yes, no, no, no),
            (no, yes, no, no),
            (no, no, no, no),
        ];
        for (pair, expected) in order.iter().zip((0..12).rev()) {
            let (route, service, consumer, group) = *pair;
            assert_eq!(rank(route, service, consumer, group), expected, "{pair:?}");
        }
    }
}
