//! The kinds of entities, and what each is to the others: where it is found, what it names, and what only one of it may
//! have.

use std::sync::LazyLock;

use aws_lc_rs::digest;
use serde_json::{Map, Value, json};

use super::{
    ca_certificate, certificate, consumer, credentials, is_uuid, lua, plugin, route, service, upstream, vault,
};
use crate::schema::Schema;

/// Where the entities are stored.
pub(crate) const PREFIX: &str = "/portcullis/kong/";

/// In a stored entity whose unique fields are sealed: what stands for them. No field of Kong's has such a name.
pub(crate) const SEALED_KEYS: &str = "@keys";

/// By which services list whom they trust.
const AUTHORITIES: &str = "ca_certificates";

/// A kind of entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// What the gate shows its clients, and its upstreams.
    Certificate,
    /// Whom the gate trusts.
    CaCertificate,
    /// For which server name a certificate is shown.
    Sni,
    /// Where requests go.
    Service,
    /// Which requests go there.
    Route,
    /// Who sends them.
    Consumer,
    /// Consumers that share plugins.
    ConsumerGroup,
    /// That a consumer belongs to a group.
    Member,
    /// What happens to requests on the way.
    Plugin,
    /// Several targets under one name.
    Upstream,
    /// One of them.
    Target,
    /// Where `{vault://…}` leads.
    Vault,
    /// A consumer's key.
    KeyAuth,
    /// A consumer's name and password.
    BasicAuth,
    /// A consumer's key for tokens.
    Jwt,
    /// A consumer's name and secret for signatures.
    HmacAuth,
    /// A group for access lists that a consumer belongs to.
    Acl,
}

/// A field by which an entity names another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) field: &'static str,
    pub(crate) kind: Kind,
    /// Whether this entity goes with the one that it names; otherwise it keeps that one from going.
    pub(crate) cascades: bool,
}

const fn with(field: &'static str, kind: Kind) -> Reference {
    Reference { field, kind, cascades: true }
}

const fn holds(field: &'static str, kind: Kind) -> Reference {
    Reference { field, kind, cascades: false }
}

const OF_CONSUMER: [Reference; 1] = [with("consumer", Kind::Consumer)];

impl Kind {
    pub(crate) const ALL: [Self; 17] = [
        Self::Certificate,
        Self::CaCertificate,
        Self::Sni,
        Self::Service,
        Self::Route,
        Self::Consumer,
        Self::ConsumerGroup,
        Self::Member,
        Self::Plugin,
        Self::Upstream,
        Self::Target,
        Self::Vault,
        Self::KeyAuth,
        Self::BasicAuth,
        Self::Jwt,
        Self::HmacAuth,
        Self::Acl,
    ];

    /// Its name in errors, tags, the declarative file and the store.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Certificate => "certificates",
            Self::CaCertificate => "ca_certificates",
            Self::Sni => "snis",
            Self::Service => "services",
            Self::Route => "routes",
            Self::Consumer => "consumers",
            Self::ConsumerGroup => "consumer_groups",
            Self::Member => "consumer_group_consumers",
            Self::Plugin => "plugins",
            Self::Upstream => "upstreams",
            Self::Target => "targets",
            Self::Vault => "vaults",
            Self::KeyAuth => "keyauth_credentials",
            Self::BasicAuth => "basicauth_credentials",
            Self::Jwt => "jwt_secrets",
            Self::HmacAuth => "hmacauth_credentials",
            Self::Acl => "acls",
        }
    }

    /// Its name at the beginning of a path; `None`: it is found below others only.
    pub(crate) const fn path(self) -> Option<&'static str> {
        match self {
            Self::KeyAuth => Some("key-auths"),
            Self::BasicAuth => Some("basic-auths"),
            Self::Jwt => Some("jwts"),
            Self::HmacAuth => Some("hmac-auths"),
            Self::Target | Self::Member => None,
            other => Some(other.plural()),
        }
    }

    /// Its name in a path below another entity; `None`: it has paths of its own shape.
    pub(crate) const fn below(self) -> Option<&'static str> {
        match self {
            Self::KeyAuth => Some("key-auth"),
            Self::BasicAuth => Some("basic-auth"),
            Self::Jwt => Some("jwt"),
            Self::HmacAuth => Some("hmac-auth"),
            Self::Member => None,
            other => Some(other.plural()),
        }
    }

    pub(crate) fn of_path(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.path() == Some(text))
    }

    pub(crate) fn of_plural(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.plural() == text)
    }

    /// The kind that a schema is asked for by this name.
    pub(crate) fn of_schema(text: &str) -> Option<Self> {
        Self::of_plural(text).or_else(|| Self::of_path(text))
    }

    /// The field that stands for the id in paths; `None`: nothing does.
    pub(crate) const fn endpoint_key(self) -> Option<&'static str> {
        match self {
            Self::Service | Self::Route | Self::Upstream | Self::ConsumerGroup | Self::Sni => Some("name"),
            Self::Plugin => Some("instance_name"),
            Self::Consumer | Self::BasicAuth | Self::HmacAuth => Some("username"),
            Self::Vault => Some("prefix"),
            Self::Target => Some("target"),
            Self::KeyAuth | Self::Jwt => Some("key"),
            Self::Acl => Some("group"),
            Self::Certificate | Self::CaCertificate | Self::Member => None,
        }
    }

    /// The other entities that it may name.
    pub(crate) const fn parents(self) -> &'static [Reference] {
        const OF_GROUP: [Reference; 2] =
            [with("consumer", Kind::Consumer), with("consumer_group", Kind::ConsumerGroup)];
        const OF_PLUGIN: [Reference; 4] = [
            with("service", Kind::Service),
            with("route", Kind::Route),
            with("consumer", Kind::Consumer),
            with("consumer_group", Kind::ConsumerGroup),
        ];
        match self {
            Self::Sni => const { &[with("certificate", Kind::Certificate)] },
            Self::Service | Self::Upstream => const { &[holds("client_certificate", Kind::Certificate)] },
            Self::Route => const { &[holds("service", Kind::Service)] },
            Self::Plugin => &OF_PLUGIN,
            Self::Member => &OF_GROUP,
            Self::Target => const { &[with("upstream", Kind::Upstream)] },
            Self::KeyAuth | Self::BasicAuth | Self::Jwt | Self::HmacAuth | Self::Acl => &OF_CONSUMER,
            Self::Certificate | Self::CaCertificate | Self::Consumer | Self::ConsumerGroup | Self::Vault => {
                &[]
            }
        }
    }

    /// Whether it proves who a consumer is.
    pub(crate) const fn is_credential(self) -> bool {
        matches!(self, Self::KeyAuth | Self::BasicAuth | Self::Jwt | Self::HmacAuth)
    }

    /// Under which key an entity is stored.
    pub(crate) fn key(self, id: &str) -> String {
        format!("{PREFIX}{}/{id}", self.plural())
    }

    /// Kind and id of what is stored under `key`.
    pub(crate) fn of_key(key: &str) -> Option<(Self, &str)> {
        let (plural, id) = key.strip_prefix(PREFIX)?.split_once('/')?;
        Some((Self::of_plural(plural)?, id)).filter(|(_, id)| is_uuid(id))
    }

    /// The entities that this one names.
    pub(crate) fn references(self, value: &Value) -> Vec<(Self, String)> {
        let named = |reference: &Reference| Some((reference.kind, named(value, reference.field)?.to_owned()));
        let listed = self.listed(value).map(|(kind, id)| (kind, id.to_owned()));
        self.parents().iter().filter_map(named).chain(listed).collect()
    }

    /// Those that it names in a list, by their ids.
    pub(crate) fn listed(self, value: &Value) -> impl Iterator<Item = (Self, &str)> {
        let list = match self {
            Self::Service => value.get(AUTHORITIES).and_then(Value::as_array),
            _ => None,
        };
        list.into_iter().flatten().filter_map(|id| Some((Self::CaCertificate, id.as_str()?)))
    }

    /// Whether `value` names the entity `parent` and `id`.
    pub(crate) fn names(self, value: &Value, parent: Self, id: &str) -> bool {
        self.parents().iter().any(|other| other.kind == parent && named(value, other.field) == Some(id))
            || self.listed(value).any(|listed| listed == (parent, id))
    }

    /// The combinations of fields that only one entity may have: those of which every part is there, and for plugins
    /// the place where they work.
    fn unique(self, value: &Value) -> Vec<Map<String, Value>> {
        let of = |names: &[&str]| -> Map<String, Value> {
            let one = |name: &&str| ((*name).to_owned(), value.get(*name).cloned().unwrap_or(Value::Null));
            names.iter().map(one).collect()
        };
        let has = |name: &str| value.get(name).is_some_and(|found| !found.is_null());
        let single: Vec<&str> = match self {
            Self::Consumer => vec!["username", "custom_id"],
            Self::CaCertificate => vec!["cert_digest"],
            Self::Certificate | Self::Target | Self::Acl | Self::Member => Vec::new(),
            _ => self.endpoint_key().into_iter().collect(),
        };
        let mut unique: Vec<_> = single.iter().filter(|name| has(name)).map(|name| of(&[name])).collect();
        match self {
            Self::Plugin if has("consumer_group") => {
                unique.push(of(&["consumer", "consumer_group", "name", "route", "service"]));
            }
            Self::Plugin => unique.push(of(&["consumer", "name", "route", "service"])),
            Self::Target => unique.push(of(&["target", "upstream"])),
            Self::Acl => unique.push(of(&["consumer", "group"])),
            Self::Member => unique.push(of(&["consumer", "consumer_group"])),
            _ => {}
        }
        unique
    }

    /// Under which keys it is noted that this entity has what only one may have, and what that is. `value` is in the
    /// clear.
    pub(crate) fn unique_keys(self, value: &Value) -> Vec<(String, Map<String, Value>)> {
        self.unique(value).into_iter().map(|fields| (self.unique_key(&fields), fields)).collect()
    }

    /// The same keys of an entity as it is stored.
    pub(crate) fn stored_keys(self, stored: &Value) -> Vec<String> {
        match stored.get(SEALED_KEYS).and_then(Value::as_array) {
            Some(keys) => keys.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            None => self.unique_keys(stored).into_iter().map(|(key, _)| key).collect(),
        }
    }

    /// The key under which the entity with this name is noted, below `parent` where names are its parent's.
    pub(crate) fn name_key(self, name: &str, parent: Option<&str>) -> Option<String> {
        let mut fields = Map::from_iter([(self.endpoint_key()?.to_owned(), json!(name))]);
        let scope = match self {
            Self::Target => Some("upstream"),
            Self::Acl => Some("consumer"),
            _ => None,
        };
        if let Some(scope) = scope {
            fields.insert(scope.to_owned(), json!({ "id": parent? }));
        }
        Some(self.unique_key(&fields))
    }

    fn unique_key(self, fields: &Map<String, Value>) -> String {
        let digest = digest::digest(&digest::SHA256, lua(fields).as_bytes());
        let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("/portcullis/unique/kong/{}/{hex}", self.plural())
    }

    /// What may stand in an entity of this kind; a plugin's depends on its name.
    pub(crate) fn schema(self) -> &'static Schema {
        macro_rules! cached {
            ($make:expr) => {{
                static SCHEMA: LazyLock<Schema> = LazyLock::new(|| $make);
                &SCHEMA
            }};
        }
        match self {
            Self::Certificate => cached!(certificate::schema()),
            Self::CaCertificate => cached!(ca_certificate::schema()),
            Self::Sni => cached!(certificate::sni()),
            Self::Service => cached!(service::schema()),
            Self::Route => cached!(route::schema()),
            Self::Consumer => cached!(consumer::schema()),
            Self::ConsumerGroup => cached!(consumer::group()),
            Self::Member => cached!(consumer::member()),
            Self::Plugin => cached!(plugin::schema(None, true)),
            Self::Upstream => cached!(upstream::schema()),
            Self::Target => cached!(upstream::target()),
            Self::Vault => cached!(vault::schema()),
            Self::KeyAuth => cached!(credentials::key_auth()),
            Self::BasicAuth => cached!(credentials::basic_auth()),
            Self::Jwt => cached!(credentials::jwt()),
            Self::HmacAuth => cached!(credentials::hmac_auth()),
            Self::Acl => cached!(credentials::acl()),
        }
    }
}

/// The id of the entity that `value` names in `field`.
pub(crate) fn named<'v>(value: &'v Value, field: &str) -> Option<&'v str> {
    value.get(field)?.get("id")?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_names_and_its_references_are_fields() {
        for kind in Kind::ALL {
            assert_eq!(Kind::of_plural(kind.plural()), Some(kind));
            assert_eq!(kind.path().and_then(Kind::of_path), kind.path().map(|_| kind));
            for reference in kind.parents() {
                assert!(kind.schema().fields.contains_key(reference.field), "{kind:?} {}", reference.field);
            }
            if let Some(key) = kind.endpoint_key() {
                assert!(kind.schema().fields.contains_key(key), "{kind:?} {key}");
            }
        }
    }
}
