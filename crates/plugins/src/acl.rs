//! Lets consumers in or keeps them out by the groups they belong to.

use std::{any::Any, collections::HashSet, sync::Arc};

use gateway::{
    error::{ConfigError, ErrorBody},
    plugin::{Flow, Phases, Plugin, PluginRequest},
};
use http::{HeaderName, HeaderValue, StatusCode};

use crate::openid_connect::CREDENTIAL_IDENTIFIER;

/// The engine's name of it.
pub const NAME: &str = "acl";

/// What the upstream is told of a consumer's groups.
const X_CONSUMER_GROUPS: HeaderName = HeaderName::from_static("x-consumer-groups");
/// Groups that another plugin found in what the caller was verified by; a client's own are removed.
pub const X_AUTHENTICATED_GROUPS: HeaderName = HeaderName::from_static("x-authenticated-groups");

const ERRORS: ErrorBody = ErrorBody { member: "message" };
const FORBIDDEN: &str = "You cannot consume this service";

/// Who gets in.
#[derive(Clone, Debug)]
pub struct Config {
    /// Members of these groups only, or everybody but members of these.
    pub list: List,
    /// Whether the upstream is told of the groups.
    pub hide_groups: bool,
    /// Whether the groups whose plugins run for a caller count, too.
    pub with_memberships: bool,
    /// Whether the groups that another plugin found count before the consumer's own.
    pub prefer_authenticated: bool,
}

/// Groups that get in, or that do not.
#[derive(Clone, Debug)]
pub enum List {
    /// These alone.
    Allow(Vec<String>),
    /// All but these.
    Deny(Vec<String>),
}

/// The compiled form.
struct Acl {
    groups: HashSet<String>,
    allows: bool,
    hide_groups: bool,
    with_memberships: bool,
    prefer_authenticated: bool,
}

/// Compiles `config`.
///
/// # Errors
///
/// When it names no group.
pub fn compile(config: Config) -> Result<Arc<dyn Plugin>, ConfigError> {
    let (allows, groups) = match config.list {
        List::Allow(groups) => (true, groups),
        List::Deny(groups) => (false, groups),
    };
    if groups.is_empty() {
        return Err(ConfigError::new(if allows { "allow" } else { "deny" }, "it names no group"));
    }
    Ok(Arc::new(Acl {
        groups: groups.into_iter().collect(),
        allows,
        hide_groups: config.hide_groups,
        with_memberships: config.with_memberships,
        prefer_authenticated: config.prefer_authenticated,
    }))
}

/// Whose groups they are.
struct Groups {
    names: Vec<String>,
    /// Those of a caller who is no consumer that count beside `names`.
    others: Vec<String>,
    authenticated: bool,
}

impl Acl {
    fn groups(&self, request: &PluginRequest<'_>) -> Option<Groups> {
        let authenticated = || {
            let line = request.head.headers.get(X_AUTHENTICATED_GROUPS)?.to_str().ok()?;
            let names = line.split(',').map(|name| name.trim().to_owned()).collect();
            Some(Groups { names, others: Vec::new(), authenticated: true })
        };
        let own = || {
            let consumer = request.consumer()?;
            let memberships = consumer.memberships.iter().filter(|_| self.with_memberships);
            let mut names: Vec<String> = Vec::new();
            for name in consumer.groups.iter().chain(memberships) {
                if names.iter().all(|known| **known != **name) {
                    names.push((**name).to_owned());
                }
            }
            Some(Groups { names, others: Vec::new(), authenticated: false })
        };
        let found = if self.prefer_authenticated {
            authenticated().or_else(own)
        } else {
            own().or_else(authenticated)
        };
        let brought =
            request.brought.as_ref().filter(|_| self.with_memberships && request.attached.is_none());
        let Some(brought) = brought else { return found };
        let names = brought.groups.iter().map(|name| (**name).to_owned()).collect();
        Some(match found {
            Some(found) => Groups { others: names, ..found },
            None => Groups { names, others: Vec::new(), authenticated: false },
        })
    }
}

impl Plugin for Acl {
    fn name(&self) -> &'static str {
        NAME
    }

    fn phases(&self) -> Phases {
        Phases::ACCESS
    }

    fn access(&self, request: &mut PluginRequest<'_>) -> Flow {
        let Some(groups) = self.groups(request) else {
            // A claim may stand for the credential of a caller who is no consumer.
            let known = request.attached.as_ref().is_some_and(|who| who.credential().is_some())
                || request.head.headers.contains_key(CREDENTIAL_IDENTIFIER);
            let (status, text) = if known {
                (StatusCode::FORBIDDEN, FORBIDDEN)
            } else {
                (StatusCode::UNAUTHORIZED, "Unauthorized")
            };
            return Flow::respond(ERRORS.reply(status, text, false));
        };
        if groups.names.iter().chain(&groups.others).any(|name| self.groups.contains(name)) != self.allows {
            return Flow::respond(ERRORS.reply(StatusCode::FORBIDDEN, FORBIDDEN, false));
        }
        let header = if groups.authenticated { X_AUTHENTICATED_GROUPS } else { X_CONSUMER_GROUPS };
        request.head.headers.remove(&header);
        let told = HeaderValue::from_str(&groups.names.join(", ")).ok();
        let told = told.filter(|_| !self.hide_groups && !groups.names.is_empty());
        request.head.headers.extend(told.map(|told| (header, told)));
        Flow::Continue
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
