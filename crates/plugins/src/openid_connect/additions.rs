//! What calls to the provider say beside what they need: what the route says, and what of the caller's request goes along;
//! and what of the provider's answers the caller is told.

use gateway::{error::ConfigError, is_identity, plugin::RequestHead};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use oauth::AuthorizationRequest;
use rp::provider::Further;

use super::claim_headers;
use crate::query;

/// Headers of a call to the provider that nothing else may set: they say who asks and how the message is framed, or
/// would show the gate's own cookies.
pub(super) const CALLS_OWN_HEADERS: [HeaderName; 11] = [
    header::ACCEPT,
    header::AUTHORIZATION,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::EXPECT,
    header::HOST,
    header::PROXY_AUTHORIZATION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];
/// Fields of an introspection request that say who asks.
pub(super) const CALLS_OWN_FIELDS: [&str; 4] =
    ["client_id", "client_secret", "client_assertion", "client_assertion_type"];
/// Parameters of an authorization request that a route says or leaves out.
const ROUTES_OWN: [&str; 5] = ["dpop_jkt", "max_age", "request", "request_uri", "response_mode"];

/// What is said in the calls of one route, and told of their answers.
#[derive(Clone, Debug, Default)]
pub struct Additions {
    /// What the route says.
    pub further: Further,
    /// What of the caller's request goes along.
    pub passed: PassedOn,
    /// What the caller is told of the token endpoint's answers.
    pub replay: Replay,
}

/// What of a caller's request goes along in the calls that it causes. What the caller says counts before what the route
/// says.
#[derive(Clone, Debug, Default)]
pub struct PassedOn {
    /// Headers, at the token endpoint; but for the renewal of a session, which is nobody's request.
    pub token_headers: Vec<HeaderName>,
    /// Arguments of the query, as fields of introspection requests.
    pub introspection_query: Vec<String>,
    /// Headers, as fields of introspection requests; a `_` of a field is a `-` of its header.
    pub introspection_fields: Vec<String>,
    /// Headers, at the userinfo endpoint.
    pub userinfo_headers: Vec<HeaderName>,
    /// Arguments of the query, at the userinfo endpoint.
    pub userinfo_query: Vec<String>,
    /// Arguments of the query, in authorization requests.
    pub authorization: Vec<String>,
}

/// Headers of the token endpoint's answers that the caller is told.
#[derive(Clone, Debug, Default)]
pub struct Replay {
    /// Their names.
    pub names: Vec<HeaderName>,
    /// What stands before the names.
    pub prefix: String,
    /// The grants whose answers they are of, by their names; empty: all.
    pub grants: Vec<String>,
}

/// What goes along of one request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Along {
    /// To the endpoints, beside introspection.
    pub(crate) further: Further,
    /// Headers of introspection requests.
    pub(crate) headers: HeaderMap,
    /// Fields of introspection requests.
    pub(crate) fields: Vec<(String, String)>,
}

impl Along {
    pub(crate) fn is_empty(&self) -> bool {
        self.further.is_empty() && self.headers.is_empty() && self.fields.is_empty()
    }

    /// Appends it to a text that things are told apart by.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        self.further.write(out);
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let fields = self.fields.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        for (name, value) in headers.chain(fields) {
            for part in [name.as_bytes(), value] {
                out.extend_from_slice(&part.len().to_be_bytes());
                out.extend_from_slice(part);
            }
        }
    }
}

impl PassedOn {
    /// What goes along of a request with this head. Where nothing is configured, nothing is looked at.
    pub(crate) fn of(&self, head: &RequestHead) -> Along {
        let mut fields = arguments(&self.introspection_query, head);
        for name in &self.introspection_fields {
            let value = of_field(name).and_then(|name| head.headers.get(name)?.to_str().ok());
            fields.extend(value.map(|value| (name.clone(), value.to_owned())));
        }
        let further = Further {
            token_headers: headers(&self.token_headers, head),
            introspection_headers: HeaderMap::new(),
            userinfo_headers: headers(&self.userinfo_headers, head),
            userinfo_query: arguments(&self.userinfo_query, head),
        };
        Along { further, headers: HeaderMap::new(), fields }
    }

    /// Parameters of an authorization request.
    pub(super) fn authorization(&self, head: &RequestHead) -> Vec<(String, String)> {
        arguments(&self.authorization, head)
    }
}

/// The header whose value is that of a field.
fn of_field(name: &str) -> Option<HeaderName> {
    HeaderName::from_bytes(name.replace('_', "-").as_bytes()).ok()
}

fn headers(names: &[HeaderName], head: &RequestHead) -> HeaderMap {
    let lines = |name| head.headers.get_all(name).iter().map(move |value| (HeaderName::clone(name), value));
    names.iter().flat_map(lines).map(|(name, value)| (name, value.clone())).collect()
}

/// Of an argument that is there more than once nobody could say which one is meant.
fn arguments(names: &[String], head: &RequestHead) -> Vec<(String, String)> {
    let Some(asked) = head.query().filter(|_| !names.is_empty()) else { return Vec::new() };
    names.iter().filter_map(|name| Some((name.clone(), query::one(asked, name)?))).collect()
}

impl Replay {
    /// What the caller is told of an answer to a request by this grant.
    pub(crate) fn of(&self, grant: &str, answer: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
        let applies = self.grants.is_empty() || self.grants.iter().any(|named| named == grant);
        let names = self.names.iter().filter(|_| applies);
        let told = names.flat_map(|name| {
            let own = self.name(name);
            answer.get_all(name).iter().filter_map(move |value| Some((own.clone()?, value.clone())))
        });
        told.collect()
    }

    fn name(&self, name: &HeaderName) -> Option<HeaderName> {
        HeaderName::from_bytes(format!("{}{name}", self.prefix).as_bytes()).ok()
    }
}

impl Additions {
    /// Refuses what says who asks, or has a meaning of its own.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let Self { further, passed, replay } = self;
        let constants = [
            ("further.token_headers", &further.token_headers),
            ("further.introspection_headers", &further.introspection_headers),
            ("further.userinfo_headers", &further.userinfo_headers),
        ];
        for (field, headers) in constants {
            // As what claims come, their endpoints may be told: signed ones are read as well.
            let is_form = |name: &HeaderName| field != "further.token_headers" && *name == header::ACCEPT;
            headers.keys().filter(|name| !is_form(name)).try_for_each(|name| check_header(field, name))?;
        }
        let fields = passed.introspection_fields.iter().map(|name| {
            let reason = "it has what is not the name of a header";
            of_field(name).ok_or_else(|| ConfigError::new("passed.introspection_fields", reason))
        });
        let fields = fields.collect::<Result<Vec<_>, _>>()?;
        let callers = [
            ("passed.token_headers", &passed.token_headers),
            ("passed.introspection_fields", &fields),
            ("passed.userinfo_headers", &passed.userinfo_headers),
        ];
        for (field, names) in callers {
            names.iter().try_for_each(|name| check_header(field, name))?;
            if let Some(name) = names.iter().find(|name| is_identity(name.as_str())) {
                let reason = format!("the gate takes {name} from every caller: name another one");
                return Err(ConfigError::new(field, reason));
            }
        }
        for (field, names) in [
            ("passed.introspection_query", &passed.introspection_query),
            ("passed.introspection_fields", &passed.introspection_fields),
        ] {
            let own = |name: &&str| name.is_empty() || CALLS_OWN_FIELDS.contains(name);
            if let Some(name) = texts(names).find(own) {
                return Err(ConfigError::new(field, format!("callers cannot set the field `{name}`")));
            }
        }
        let own = |name: &&str| {
            name.is_empty() || ROUTES_OWN.contains(name) || AuthorizationRequest::is_protected(name)
        };
        if let Some(name) = texts(&passed.authorization).find(own) {
            let reason = format!("callers cannot set the parameter `{name}`");
            return Err(ConfigError::new("passed.authorization", reason));
        }
        for name in &replay.names {
            let own = replay.name(name);
            let own =
                own.ok_or_else(|| ConfigError::new("replay.prefix", "it cannot begin the name of a header"))?;
            claim_headers::check_name("replay.names", &own)?;
        }
        Ok(())
    }
}

fn texts(names: &[String]) -> impl Iterator<Item = &str> {
    names.iter().map(String::as_str)
}

fn check_header(field: &str, name: &HeaderName) -> Result<(), ConfigError> {
    match CALLS_OWN_HEADERS.contains(name) {
        false => Ok(()),
        true => Err(ConfigError::new(field, format!("{name} of the call is the gate's own"))),
    }
}
