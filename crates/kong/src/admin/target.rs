//! What a path of the Admin API names.

use http::{Method, StatusCode};

use crate::{
    answer::Answer,
    entities::{Kind, Reference, is_uuid},
};

/// What Kong's Admin API has and this build has not.
const ABSENT: [&str; 12] = [
    "clustering",
    "debug",
    "filter-chains",
    "key-sets",
    "keys",
    "licenses",
    "oauth2",
    "oauth2_tokens",
    "partials",
    "mtls-auths",
    "sessions",
    "timers",
];

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Target<'p> {
    Node,
    Status,
    Config,
    Endpoints,
    EnabledPlugins,
    Tags(Option<&'p str>),
    /// The schema of an entity, or of a plugin's configuration.
    Schema(Kind),
    PluginSchema(&'p str),
    /// The schema of a vault's configuration.
    VaultSchema(&'p str),
    Validate(Kind),
    /// All of a kind, or those under one entity.
    Collection(Kind, Option<(Reference, &'p str)>),
    /// One, perhaps under another.
    Entity(Kind, &'p str, Option<(Reference, &'p str)>),
    /// The entity that another one names in a field.
    Named(Kind, &'p str, Reference),
    /// The consumers of a group, or one of them.
    GroupConsumers(&'p str, Option<&'p str>),
    /// The groups of a consumer, or one of them.
    ConsumerGroups(&'p str, Option<&'p str>),
    /// Targets with their health.
    Health(&'p str),
    /// The health that somebody says a target of an upstream has.
    Settled(Settled<'p>),
    /// The providers of `openid-connect`, or one of them.
    Issuers(Option<&'p str>),
    /// The gate's own keys.
    OwnKeys,
    /// Tokens that are kept for callers.
    Cache,
}

/// What a write changes of the entities.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Written<'p> {
    /// All of them.
    Everything,
    /// Of this kind a new one, or the one of that id or name.
    Kind(Kind, Option<&'p str>),
}

impl Written<'_> {
    /// What Kong says where it has no database.
    pub(super) fn refusal(self, method: &Method) -> String {
        let Self::Kind(kind, key) = self else {
            return "cannot replace the entities: they are declared in the configuration file".to_owned();
        };
        let operation = match *method {
            Method::PUT => "create or update",
            Method::PATCH => "update",
            Method::DELETE => "remove",
            _ => "create",
        };
        let by = key.filter(|key| !is_uuid(key)).and_then(|_| kind.endpoint_key());
        let by = by.map(|field| format!(" by '{field}'")).unwrap_or_default();
        format!("cannot {operation} '{}' entities{by} when not using a database", kind.plural())
    }
}

/// What is said of the health of a target, or of one of its addresses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Settled<'p> {
    pub(super) upstream: &'p str,
    pub(super) target: &'p str,
    pub(super) address: Option<&'p str>,
    pub(super) is_well: bool,
}

impl<'p> Target<'p> {
    pub(super) fn of(path: &'p [String]) -> Result<Self, Answer> {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let target = match path.as_slice() {
            [] => Some(Self::Node),
            ["status"] => Some(Self::Status),
            ["config"] => Some(Self::Config),
            ["endpoints"] => Some(Self::Endpoints),
            ["tags"] => Some(Self::Tags(None)),
            ["tags", tag] => Some(Self::Tags(Some(tag))),
            ["plugins", "enabled"] => Some(Self::EnabledPlugins),
            ["schemas", "plugins", "validate"] => Some(Self::Validate(Kind::Plugin)),
            ["schemas", "plugins", name] | ["plugins", "schema", name] => Some(Self::PluginSchema(name)),
            ["schemas", name] => Some(Self::Schema(of_schema(name)?)),
            ["schemas", name, "validate"] => Some(Self::Validate(of_schema(name)?)),
            ["schemas", "vaults", name] => Some(Self::VaultSchema(name)),
            ["consumer_groups", group, "consumers"] => Some(Self::GroupConsumers(group, None)),
            ["consumer_groups", group, "consumers", consumer] => {
                Some(Self::GroupConsumers(group, Some(consumer)))
            }
            ["consumers", consumer, "consumer_groups"] => Some(Self::ConsumerGroups(consumer, None)),
            ["consumers", consumer, "consumer_groups", group] => {
                Some(Self::ConsumerGroups(consumer, Some(group)))
            }
            ["cache"] => Some(Self::Cache),
            ["openid-connect", "issuers"] => Some(Self::Issuers(None)),
            ["openid-connect", "issuers", issuer] => Some(Self::Issuers(Some(issuer))),
            ["openid-connect", "jwks"] => Some(Self::OwnKeys),
            ["upstreams", upstream, "health"] => Some(Self::Health(upstream)),
            ["upstreams", upstream, "targets", target, word @ ("healthy" | "unhealthy")] => {
                let is_well = *word == "healthy";
                Some(Self::Settled(Settled { upstream, target, address: None, is_well }))
            }
            ["upstreams", upstream, "targets", target, address, word @ ("healthy" | "unhealthy")] => {
                let is_well = *word == "healthy";
                Some(Self::Settled(Settled { upstream, target, address: Some(address), is_well }))
            }
            ["upstreams", upstream, "targets", "all"] => Self::below(Kind::Upstream, upstream, "targets"),
            [plural] => Kind::of_path(plural).map(|kind| Self::Collection(kind, None)),
            [plural, key] => Kind::of_path(plural).map(|kind| Self::Entity(kind, key, None)),
            [plural, key, below] => Kind::of_path(plural).and_then(|kind| Self::below(kind, key, below)),
            [plural, key, below, child] => {
                match Kind::of_path(plural).and_then(|kind| Self::below(kind, key, below)) {
                    Some(Self::Collection(kind, parent)) => Some(Self::Entity(kind, child, parent)),
                    _ => None,
                }
            }
            _ => None,
        };
        target.ok_or_else(|| match path.first().filter(|name| ABSENT.contains(*name)) {
            Some(name) => Answer::message(
                StatusCode::NOT_FOUND,
                format!("Not found: /{name} is not implemented in this build"),
            ),
            None => Answer::not_found(),
        })
    }

    fn below(kind: Kind, key: &'p str, below: &str) -> Option<Self> {
        if let Some(named) = kind.parents().iter().find(|reference| reference.field == below) {
            return Some(Self::Named(kind, key, *named));
        }
        let child = Kind::ALL.into_iter().find(|child| child.below() == Some(below))?;
        let reference = child.parents().iter().find(|reference| reference.kind == kind)?;
        Some(Self::Collection(child, Some((*reference, key))))
    }

    /// What a write to it changes of the entities; `None`: nothing, or it cannot be written to.
    pub(super) const fn written(&self) -> Option<Written<'p>> {
        match *self {
            Self::Config => Some(Written::Everything),
            Self::Collection(kind, _) => Some(Written::Kind(kind, None)),
            Self::Entity(kind, key, _) => Some(Written::Kind(kind, Some(key))),
            // The path has the key of the one that names it.
            Self::Named(_, _, reference) => Some(Written::Kind(reference.kind, None)),
            Self::GroupConsumers(..) | Self::ConsumerGroups(..) => Some(Written::Kind(Kind::Member, None)),
            _ => None,
        }
    }

    pub(super) const fn methods(&self) -> &'static str {
        match self {
            Self::Node
            | Self::Status
            | Self::Endpoints
            | Self::EnabledPlugins
            | Self::Tags(_)
            | Self::Schema(_)
            | Self::PluginSchema(_)
            | Self::VaultSchema(_)
            | Self::Health(_) => "GET, HEAD, OPTIONS",
            // Kong before 3.0 wanted a POST.
            Self::Settled(_) => "OPTIONS, POST, PUT",
            Self::Cache => "DELETE, OPTIONS",
            Self::Issuers(_) | Self::OwnKeys => "DELETE, GET, HEAD, OPTIONS",
            Self::Config => "GET, HEAD, OPTIONS, POST",
            Self::Validate(_) => "OPTIONS, POST",
            Self::Collection(..) => "GET, HEAD, OPTIONS, POST",
            Self::Entity(..) => "DELETE, GET, HEAD, OPTIONS, PATCH, PUT",
            Self::Named(..) => "GET, HEAD, OPTIONS, PATCH, PUT",
            Self::GroupConsumers(_, None) | Self::ConsumerGroups(_, None) => {
                "DELETE, GET, HEAD, OPTIONS, POST"
            }
            Self::GroupConsumers(..) | Self::ConsumerGroups(..) => "DELETE, GET, HEAD, OPTIONS",
        }
    }
}

/// The kind of entity that a schema is asked for, or what the client is told.
fn of_schema(name: &str) -> Result<Kind, Answer> {
    let unknown = || {
        let shown: String = name.chars().take(128).collect();
        Answer::message(StatusCode::NOT_FOUND, format!("No entity named '{shown}'"))
    };
    Kind::of_schema(name).ok_or_else(unknown)
}

/// Every path of the Admin API, as `GET /endpoints` lists them.
pub(super) fn endpoints() -> Vec<String> {
    let mut out: Vec<String> = [
        "/",
        "/cache",
        "/config",
        "/endpoints",
        "/openid-connect/issuers",
        "/openid-connect/issuers/{issuer}",
        "/openid-connect/jwks",
        "/plugins/enabled",
        "/schemas/{db_entity_name}",
        "/schemas/{db_entity_name}/validate",
        "/schemas/plugins/validate",
        "/schemas/plugins/{name}",
        "/schemas/vaults/{name}",
        "/status",
        "/tags",
        "/tags/{tags}",
        "/upstreams/{upstreams}/health",
        "/upstreams/{upstreams}/targets/all",
        "/upstreams/{upstreams}/targets/{targets}/healthy",
        "/upstreams/{upstreams}/targets/{targets}/unhealthy",
        "/upstreams/{upstreams}/targets/{targets}/{address}/healthy",
        "/upstreams/{upstreams}/targets/{targets}/{address}/unhealthy",
        "/consumer_groups/{consumer_groups}/consumers",
        "/consumer_groups/{consumer_groups}/consumers/{consumers}",
        "/consumers/{consumers}/consumer_groups",
        "/consumers/{consumers}/consumer_groups/{consumer_groups}",
    ]
    .map(str::to_owned)
    .to_vec();
    for kind in Kind::ALL {
        if let Some(path) = kind.path() {
            out.extend([format!("/{path}"), format!("/{path}/{{{path}}}")]);
        }
        for reference in kind.parents() {
            let Some(parent) = reference.kind.path() else { continue };
            if let Some(below) = kind.below() {
                let base = format!("/{parent}/{{{parent}}}/{below}");
                out.extend([format!("{base}/{{{below}}}"), base]);
            }
            if let Some(path) = kind.path() {
                out.push(format!("/{path}/{{{path}}}/{}", reference.field));
            }
        }
    }
    out.sort();
    out.dedup();
    out
}
