//! Changes a request on its way to the upstream: method, path, host, headers, query and body.
//!
//! Nothing that a client chose becomes more than the text it is: a path stays in its one form and never climbs, a header
//! ends where it ends, an argument stays one argument, and no header by which upstreams know the caller is filled with it.

mod body;
mod list;
mod multipart;
mod target;
#[cfg(test)]
mod tests;

use std::{any::Any, sync::Arc};

use bytes::Bytes;
use expr::Part;
use gateway::{
    error::{ConfigError, Failure},
    is_identity,
    plugin::{BodyEdit, BodyInspector, Flow, Phases, Plugin, PluginRequest, Suspended, Verdict},
};
use http::{HeaderValue, Method, StatusCode};
use regex::Regex;

use self::{
    body::BodyRules,
    list::{Query, QueryValue},
    target::Target,
};
pub use self::{body::MAX_BODY, list::Edit, target::TargetEdit};
use crate::{
    header_rule::HeaderRule,
    text::{Text, replaceable_header, request_header, settable_header},
    upstream_path::tell_path,
};

/// Bytes of a form that goes into the query; a longer one is answered with 413.
const MAX_FORM: usize = 32 << 10;

/// What changes.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Another method.
    pub method: Option<String>,
    /// Another path.
    pub target: Option<TargetEdit>,
    /// `Host` where the upstream does not say its own.
    pub host: Option<String>,
    /// Headers, in the order of the list.
    pub headers: Vec<Edit>,
    /// Whether a header whose value turns out empty is none, as with nginx, and is not sent as an empty one.
    pub empty_is_none: bool,
    /// Arguments of the query, in the order of the list.
    pub query: Vec<Edit>,
    /// Members of a form (also one in parts) or JSON body, in the order of the list.
    pub body: Vec<Edit>,
    /// Whether the fields of a form go into the query as well, where the new method is one that has no body.
    pub form_in_query: bool,
    /// Whether it works in the second round, after the plugins that find out who is calling.
    pub late: bool,
    /// Whether path and host are the upstream's, whatever route and upstream say.
    pub is_final: bool,
}

/// The compiled form.
struct RequestEdit {
    method: Option<Method>,
    target: Option<Target>,
    host: Option<HeaderValue>,
    headers: Vec<HeaderRule>,
    empty_is_none: bool,
    query: Arc<Query>,
    body: Option<Arc<BodyRules>>,
    form_in_query: bool,
    late: bool,
    is_final: bool,
}

/// Compiles `config`.
///
/// # Errors
///
/// Names the field at fault: a method, path, host or header that is none or not to be set, and variables that are not
/// built.
pub fn compile(config: Config) -> Result<Arc<dyn Plugin>, ConfigError> {
    let Config { method, target, host, headers, empty_is_none, query, body, form_in_query, late, is_final } =
        config;
    let method = method.map(|method| Method::from_bytes(method.as_bytes())).transpose();
    let method = method.map_err(|_| ConfigError::new("method", "not a method"))?;
    if let Some(forbidden @ (Method::CONNECT | Method::TRACE)) = &method {
        return Err(ConfigError::new("method", format!("{forbidden} goes to no upstream")));
    }
    let host = host.map(|host| {
        let value = HeaderValue::from_str(&host).ok();
        value.filter(|value| gateway::plugin::HostName::parse(value).is_some())
    });
    let host = match host {
        Some(None) => return Err(ConfigError::new("host", "not a host, with or without a port")),
        Some(host) => host,
        None => None,
    };
    Ok(Arc::new(RequestEdit {
        form_in_query: form_in_query && matches!(method, Some(Method::GET | Method::HEAD)),
        method,
        target: target.map(Target::compile).transpose()?,
        host,
        headers: headers.into_iter().map(header_rule).collect::<Result<_, _>>()?,
        empty_is_none,
        query: Arc::new(Query::compile(query)?),
        body: BodyRules::compile(body)?.map(Arc::new),
        late,
        is_final,
    }))
}

fn header_rule(edit: Edit) -> Result<HeaderRule, ConfigError> {
    let named = |name: &str, text: &Text| settable_header("headers", name, text);
    Ok(match edit {
        Edit::Remove(name) => HeaderRule::Remove(request_header("headers", &name)?),
        Edit::Rename(from, to) => {
            let (from, to) = (request_header("headers", &from)?, request_header("headers", &to)?);
            if is_identity(to.as_str()) {
                let why =
                    format!("upstreams take {to} for the caller's identity, which no client may choose");
                return Err(ConfigError::new("headers", why));
            }
            HeaderRule::Rename(from, to)
        }
        Edit::Replace(name, text) => HeaderRule::Replace(named(&name, &text)?, text),
        Edit::Set(name, text) => HeaderRule::Set(replaceable_header("headers", &name, &text)?, text),
        Edit::Add(name, text) => HeaderRule::Add(named(&name, &text)?, text),
        Edit::Append(name, text) => HeaderRule::Append(named(&name, &text)?, text),
    })
}

impl Plugin for RequestEdit {
    fn name(&self) -> &'static str {
        "request-edit"
    }

    fn phases(&self) -> Phases {
        if self.late { Phases::ACCESS } else { Phases::REWRITE }
    }

    fn rewrite(&self, request: &mut PluginRequest<'_>) -> Flow {
        self.edit(request)
    }

    fn access(&self, request: &mut PluginRequest<'_>) -> Flow {
        self.edit(request)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl RequestEdit {
    fn edit(&self, request: &mut PluginRequest<'_>) -> Flow {
        // Texts are filled with the request as it came, and put in place together.
        let (target, values, query) = {
            let (path, variables) = (request.head.path(), request.variables());
            let found = self.target.as_ref().and_then(|target| target.find(path));
            let target = self.target.as_ref().map(|target| target.of(path, &variables, found.as_ref()));
            let captures = found.as_ref().map(|found| &found.captures);
            let values: Vec<Option<HeaderValue>> = self
                .headers
                .iter()
                .map(|rule| rule.value(&variables, captures, self.empty_is_none))
                .collect();
            (target, values, self.query.fill(&variables))
        };
        let target = match target.transpose() {
            Ok(target) => target.flatten(),
            Err(why) => return Flow::respond(request.error(StatusCode::BAD_REQUEST, why)),
        };
        if target.is_some() {
            request.head.sending.is_upstream_path = self.is_final;
            if self.is_final {
                tell_path(request.head);
            }
        }
        let form = self.form_in_query && body::is_form(&request.head.headers);
        // Edits of the query come after the form, when it has been read.
        let none = Query::default();
        let rules = if form { &none } else { &*self.query };
        if let Err(why) = target::put(request.head, target, &query, rules) {
            return Flow::respond(request.error(StatusCode::BAD_REQUEST, why));
        }
        for (rule, value) in self.headers.iter().zip(values) {
            rule.apply(&mut request.head.headers, value);
        }
        if let Some(method) = &self.method {
            request.head.method = method.clone();
        }
        if let Some(host) = &self.host {
            request.head.sending.host = Some(host.clone());
            request.head.sending.overrides_upstream_host = self.is_final;
        }
        if let Some(rules) = self.body.as_ref().filter(|rules| rules.concern(&request.head.headers)) {
            let values = rules.fill(&request.variables());
            let rules = Arc::clone(rules);
            let kind = request.head.headers.get(http::header::CONTENT_TYPE).cloned();
            request.head.sending.body.push(BodyEdit {
                limit: MAX_BODY,
                apply: Arc::new(move |body| rules.apply(kind.as_ref(), &values, body)),
            });
        }
        if form { self.read_form(request, query) } else { Flow::Continue }
    }

    /// Puts the fields of a form behind the query.
    fn read_form(&self, request: &PluginRequest<'_>, values: Vec<QueryValue>) -> Flow {
        let (rules, target) = (Arc::clone(&self.query), request.head.target.clone());
        let (errors, html) = (request.errors(), request.head.prefers_html());
        let judge = move |body: Result<Bytes, Failure>| -> Suspended {
            let verdict = match body {
                Err(failure) => Verdict::respond(errors.reply(failure.status(), failure.message(), html)),
                Ok(form) => match target::with_form(&target, &form, &values, &rules) {
                    Ok(target) => Verdict { target: Some(Box::new(target)), ..Verdict::default() },
                    Err(why) => Verdict::respond(errors.reply(StatusCode::BAD_REQUEST, why, html)),
                },
            };
            Box::pin(async move { verdict })
        };
        Flow::Inspect(BodyInspector { limit: MAX_FORM, judge: Box::new(judge) })
    }
}

/// Whether a text names a group of a pattern.
fn has_captures(text: &Text) -> bool {
    text.parts().iter().any(|part| matches!(part, Part::Capture(_)))
}

/// A pattern in linear time.
fn pattern(member: &str, text: &str) -> Result<Regex, ConfigError> {
    let built = regex::RegexBuilder::new(text).size_limit(1 << 20).build();
    built.map_err(|error| ConfigError::new(member, error.to_string()))
}
