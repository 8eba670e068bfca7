//! Sends the client elsewhere: to a place made of the request, to what a pattern makes of its path, or from http to
//! https. Beside that, it can have browsers remember that only https is spoken (HSTS, RFC 6797).

mod location;
#[cfg(test)]
mod tests;

use std::{any::Any, sync::Arc, time::Duration};

use bytes::Bytes;
use expr::{Part, Template, Variable, Variables};
use gateway::{
    error::ConfigError,
    plugin::{Flow, Phases, Plugin, PluginRequest, PluginResponse, Reply},
};
use http::{HeaderValue, Method, StatusCode, header};
use regex::{Captures, Regex, RegexBuilder};

use self::location::Location;

/// Bytes of a compiled pattern.
const MAX_COMPILED: usize = 1 << 20;
/// What browsers' list of https-only hosts asks for: a year.
const PRELOAD_AGE: Duration = Duration::from_secs(31_536_000);

/// What is sent where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where to.
    pub target: Target,
    /// The status, 200 to 599. [`Target::Https`] has its own.
    pub status: u16,
    /// Whether what a URL cannot hold is percent-encoded in the operator's text too; a client's always is.
    pub encode: bool,
    /// Whether the request's query goes on.
    pub append_query: bool,
    /// What browsers are to remember.
    pub hsts: Option<Hsts>,
}

/// Where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Nowhere: the request goes on.
    Nowhere,
    /// A text with variables: `https://$host/x`.
    Template(String),
    /// A pattern, and what replaces the part of the path in which it is found; other paths go on.
    Pattern(String, String),
    /// The same over https; requests over https go on. The port, where it is not 443.
    Https(Option<u16>),
}

/// `Strict-Transport-Security`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hsts {
    /// How long browsers speak https alone.
    pub max_age: Duration,
    /// To the host's subdomains too.
    pub include_subdomains: bool,
    /// Whether the host asks for a place in the browsers' own list.
    pub preload: bool,
}

/// The compiled form.
struct Redirect {
    rule: Option<Rule>,
    status: StatusCode,
    encode: bool,
    append_query: bool,
    hsts: Option<HeaderValue>,
}

enum Rule {
    Template(Template),
    Pattern(Regex, Template),
    /// What stands behind the host: nothing, or a colon and a port.
    Https(String),
}

/// Compiles `config`.
///
/// # Errors
///
/// A status out of range, a variable that is not built, a pattern that is none, control characters, and a preload that
/// the browsers' list would not take.
pub fn compile(config: Config) -> Result<Arc<dyn Plugin>, ConfigError> {
    let Config { target, status, encode, append_query, hsts } = config;
    let status = StatusCode::from_u16(status).ok().filter(|status| status.as_u16() >= 200);
    let rule = match target {
        Target::Nowhere => None,
        Target::Template(text) => Some(Rule::Template(template(&text)?)),
        Target::Pattern(pattern, replacement) => Some(pattern_rule(&pattern, &replacement)?),
        Target::Https(port) => {
            let port = port.filter(|port| *port != 443).map(|port| format!(":{port}")).unwrap_or_default();
            Some(Rule::Https(port))
        }
    };
    Ok(Arc::new(Redirect {
        rule,
        status: status.ok_or_else(|| ConfigError::new("status", "a status from 200 to 599 is needed"))?,
        encode,
        append_query,
        hsts: hsts.map(hsts_header).transpose()?,
    }))
}

fn template(text: &str) -> Result<Template, ConfigError> {
    refuse_controls("uri", text)?;
    Template::parse(text).map_err(|error| ConfigError::new("uri", error.to_string()))
}

fn pattern_rule(pattern: &str, replacement: &str) -> Result<Rule, ConfigError> {
    refuse_controls("regex_uri", replacement)?;
    let invalid = |error: String| {
        ConfigError::new("regex_uri", format!("invalid regex_uri ({pattern}, {replacement}), err:{error}"))
    };
    let regex = RegexBuilder::new(pattern).size_limit(MAX_COMPILED).build();
    let regex = regex.map_err(|error| invalid(error.to_string()))?;
    let replacement = Template::captures(replacement).map_err(|error| invalid(error.to_string()))?;
    Ok(Rule::Pattern(regex, replacement))
}

fn refuse_controls(member: &str, text: &str) -> Result<(), ConfigError> {
    if text.chars().any(char::is_control) {
        return Err(ConfigError::new(member, "it has control characters, which no header can carry"));
    }
    Ok(())
}

fn hsts_header(hsts: Hsts) -> Result<HeaderValue, ConfigError> {
    if hsts.preload && (!hsts.include_subdomains || hsts.max_age < PRELOAD_AGE) {
        let why = "the browsers' list takes hosts with `include_subdomains` and a `max_age` of a year alone";
        return Err(ConfigError::new("hsts.preload", why));
    }
    let mut text = format!("max-age={}", hsts.max_age.as_secs());
    if hsts.include_subdomains {
        text.push_str("; includeSubDomains");
    }
    if hsts.preload {
        text.push_str("; preload");
    }
    HeaderValue::try_from(text).map_err(|error| ConfigError::new("hsts", error.to_string()))
}

impl Plugin for Redirect {
    fn name(&self) -> &'static str {
        "redirect"
    }

    fn phases(&self) -> Phases {
        let rewrite = self.rule.as_ref().map(|_| Phases::REWRITE).unwrap_or_default();
        let answer = self.hsts.as_ref().map(|_| Phases::RESPONSE_HEADERS).unwrap_or_default();
        rewrite.and(answer)
    }

    fn rewrite(&self, request: &mut PluginRequest<'_>) -> Flow {
        let location = match self.location(request) {
            None => return Flow::Continue,
            Some(location) => location,
        };
        let status = match &self.rule {
            Some(Rule::Https(_)) if matches!(request.head.method, Method::GET | Method::HEAD) => {
                StatusCode::MOVED_PERMANENTLY
            }
            // RFC 9110 section 15.4.9: method and body stay as they are.
            Some(Rule::Https(_)) => StatusCode::PERMANENT_REDIRECT,
            _ => self.status,
        };
        match self.finish(request, location) {
            Some(value) => {
                let mut reply = Reply::new(Bytes::new());
                *reply.status_mut() = status;
                reply.headers_mut().insert(header::LOCATION, value);
                Flow::respond(reply)
            }
            None => {
                Flow::respond(request.error(
                    StatusCode::BAD_REQUEST,
                    "the request leads to another site than this route means",
                ))
            }
        }
    }

    fn response_headers(&self, response: &mut PluginResponse<'_>) {
        let Some(hsts) = &self.hsts else { return };
        // RFC 6797 section 7.2: never over plain http, and section 7.1: once.
        if response.peer.https {
            response.headers.insert(header::STRICT_TRANSPORT_SECURITY, hsts.clone());
        } else {
            response.headers.remove(header::STRICT_TRANSPORT_SECURITY);
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Redirect {
    /// Where this request is sent; `None` when it goes on.
    fn location(&self, request: &PluginRequest<'_>) -> Option<Location> {
        match self.rule.as_ref()? {
            Rule::Https(_) if request.peer.https => None,
            Rule::Https(port) => {
                let mut location = Location::default();
                location.push_own(&format!("https://{}{port}", request.head.public_host().name()));
                location.push_foreign(request.head.target.as_str());
                Some(location)
            }
            Rule::Template(template) => {
                let mut location = Location::default();
                fill(&mut location, template, Some(&request.variables()), None);
                Some(location)
            }
            Rule::Pattern(pattern, replacement) => {
                let path = request.head.path();
                let captures = pattern.captures(path)?;
                let found = captures.get(0)?;
                let mut location = Location::default();
                location.push_foreign(path.get(..found.start()).unwrap_or_default());
                fill(&mut location, replacement, None, Some(&captures));
                location.push_foreign(path.get(found.end()..).unwrap_or_default());
                Some(location)
            }
        }
    }

    fn finish(&self, request: &PluginRequest<'_>, location: Location) -> Option<HeaderValue> {
        let mut text = location.finish(self.encode)?;
        if let Some(query) = request.head.query().filter(|query| self.append_query && !query.is_empty()) {
            text.push(if text.contains('?') { '&' } else { '?' });
            text.push_str(query);
        }
        HeaderValue::try_from(text).ok()
    }
}

fn fill(
    location: &mut Location,
    template: &Template,
    variables: Option<&dyn Variables>,
    captures: Option<&Captures<'_>>,
) {
    for part in template.parts() {
        match part {
            Part::Text(text) => location.push_own(text),
            Part::Capture(group) => {
                let found = captures.and_then(|captures| captures.get(*group));
                location.push_foreign(found.map(|found| found.as_str()).unwrap_or_default());
            }
            Part::Variable(variable) => {
                let value = variables.and_then(|variables| variables.value(variable)).unwrap_or_default();
                if may_be_a_site(variable) {
                    location.push_own(&value)
                } else {
                    location.push_foreign(&value)
                }
            }
        }
    }
}

/// What a client cannot choose freely, or what was checked to be a host and nothing else.
const fn may_be_a_site(variable: &Variable) -> bool {
    matches!(
        variable,
        Variable::Host | Variable::HttpHost | Variable::Scheme | Variable::ServerAddr | Variable::ServerPort
    )
}
