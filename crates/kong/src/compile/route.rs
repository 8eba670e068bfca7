use std::sync::Arc;

use expr::{Beginning, Rule};
use gateway::{
    error::{ConfigError, ErrorBody},
    path_pattern,
    ranked::{HeaderRule, HostRule, NameRule, PathRule, Rank, Ranked},
    route::{Backend, Binding, Entry, Matcher, Plan, Route},
};
use http::{HeaderName, Method, StatusCode};
use indexmap::IndexMap;
use plugins::upstream_path;
use serde_json::{Map, Value};

use super::{Pass, consumer::rank, flag, grpc, https, named_in, text, texts};
use crate::{
    entities::{Kind, header_pattern, named},
    writer::NAME,
};

/// How the gate words its own answers on routes of this dialect.
pub(crate) const ERRORS: ErrorBody = ErrorBody { member: "message" };

/// A route that cannot be compiled.
#[derive(Debug)]
pub(crate) struct Broken {
    /// Why not.
    pub(crate) reason: String,
    /// The same route, answering 503; `None` when not even what it matches is known for certain.
    pub(crate) closed: Option<Arc<Route>>,
}

impl Pass<'_> {
    /// A route; `None` when its service is switched off.
    pub(crate) fn route(&mut self, id: &str) -> Result<Option<Arc<Route>>, Broken> {
        let compiled = self.compile_route(id).map(|route| route.map(Arc::new));
        compiled.map_err(|reason| Broken { reason, closed: self.closed(id).map(Arc::new) })
    }

    fn compile_route(&mut self, id: &str) -> Result<Option<Route>, String> {
        let route = self.open(Kind::Route, id)?;
        let service_id = named_in(&route, "service");
        let service = match service_id {
            Some(service_id) => Some(self.open(Kind::Service, service_id)?),
            None => None,
        };
        if service.as_ref().is_some_and(|service| !flag(service, "enabled", true)) {
            return Ok(None);
        }
        let wrong = |error: ConfigError| format!("routes/{id}: {error}");
        let mut plugins = self.compiler.everywhere.clone();
        plugins.extend(self.plugins(id, service_id)?);
        let protocols: Vec<&str> = texts(&route, "protocols").collect();
        if ["grpc", "grpcs"].iter().any(|calls| protocols.contains(calls)) {
            let tls = !protocols.contains(&"grpc");
            plugins.push(Entry::new("calls-only", i64::MAX, grpc::compile(tls)));
        } else if protocols.iter().all(|protocol| *protocol == "https") {
            plugins.push(Entry::new("https-only", i64::MAX, https::compile(https_status(&route))));
        }
        let strip = match flag(&route, "strip_path", true) {
            true => strips(&route).map_err(wrong)?,
            false => Vec::new(),
        };
        let base = service.as_ref().and_then(|service| text(service, "path")).unwrap_or("/").to_owned();
        if let Some(service) = &service
            && let Some(key) = self.hash_key(&route, service).map_err(wrong)?
        {
            plugins.push(Entry::new("hash-key", i64::MIN + 1, key));
        }
        // After every plugin that judges the request.
        let joint = joint(&route);
        let last = upstream_path::compile(upstream_path::Config { strip, base, joint }).map_err(wrong)?;
        plugins.push(Entry::new("upstream-path", i64::MIN, last));
        let backend = match (service_id, &service) {
            (Some(service_id), Some(service)) => {
                let upstream =
                    self.service_upstream(service_id, service, flag(&route, "preserve_host", false));
                Backend::Upstream(upstream.map_err(|error| format!("services/{service_id}: {error}"))?)
            }
            _ => Backend::None(StatusCode::SERVICE_UNAVAILABLE, "no Service found with those values"),
        };
        let place = Binding { route: Some(id.into()), service: service_id.map(Arc::from) };
        Ok(Some(Route {
            id: id.into(),
            name: text(&route, "name").map(Arc::from),
            dialect: NAME,
            service_id: service_id.map(Arc::from),
            service_name: service.as_ref().and_then(|service| text(service, "name")).map(Arc::from),
            matcher: matcher(&route).map_err(wrong)?,
            plan: Arc::new(Plan::new(plugins).of(place)),
            backend,
            timeouts: None,
            websocket: true,
            errors: ERRORS,
        }))
    }

    /// The plugins of a route in the order they run. Of each name one counts: the one that is bound most closely. Those
    /// that are bound to consumers, too, come with the consumer.
    fn plugins(&mut self, route: &str, service: Option<&str>) -> Result<Vec<Entry>, String> {
        let mut chosen: IndexMap<&str, (u8, &str)> = IndexMap::new();
        for (id, plugin) in self.view.list(Kind::Plugin) {
            let Some(rank) = applies(plugin, route, service) else { continue };
            let name = plugin.get("name").and_then(Value::as_str).unwrap_or_default();
            let best = chosen.entry(name).or_insert((rank, id));
            if rank > best.0 {
                *best = (rank, id);
            }
        }
        let mut compiled = Vec::with_capacity(chosen.len());
        for (_, (rank, id)) in chosen {
            let entity = self.open(Kind::Plugin, id)?;
            let (plugin, instance) = self
                .compiler
                .plugin(&entity)
                .map_err(|violations| format!("plugins/{id}: {}", violations.message()))?;
            compiled.push(Entry {
                name: plugin.name(),
                priority: plugin.priority(),
                rank,
                authenticates: plugin.authenticates(),
                plugin: Some(instance),
            });
        }
        // Of equal priority, the later name in the alphabet goes first.
        compiled.sort_by(|a, b| b.priority.cmp(&a.priority).then(b.name.cmp(a.name)));
        Ok(compiled)
    }

    /// A route that keeps what it matched from falling to a looser one, which may be less protected.
    fn closed(&self, id: &str) -> Option<Route> {
        let route = self.view.find(Kind::Route, id)?.as_object()?;
        Some(Route {
            id: id.into(),
            name: None,
            dialect: NAME,
            service_id: None,
            service_name: None,
            matcher: matcher(route).ok()?,
            plan: Arc::default(),
            backend: Backend::None(
                StatusCode::SERVICE_UNAVAILABLE,
                "the configuration of this route cannot be used",
            ),
            timeouts: None,
            websocket: false,
            errors: ERRORS,
        })
    }
}

/// How closely a plugin is bound to a route, whoever asks; `None`: not at all, or switched off.
fn applies(plugin: &Value, route: &str, service: Option<&str>) -> Option<u8> {
    let set = |field: &str| plugin.get(field).is_some_and(|found| !found.is_null());
    let enabled = plugin.get("enabled").and_then(Value::as_bool).unwrap_or(true);
    if !enabled || set("consumer") || set("consumer_group") {
        return None;
    }
    let (of_route, of_service) = (named(plugin, "route"), named(plugin, "service"));
    let applies = of_route.is_none_or(|id| id == route) && of_service.is_none_or(|id| Some(id) == service);
    applies.then(|| rank(of_route.is_some(), of_service.is_some(), false, false))
}

fn https_status(route: &Map<String, Value>) -> StatusCode {
    let status = route.get("https_redirect_status_code").and_then(Value::as_u64);
    let status = status.and_then(|status| u16::try_from(status).ok());
    status.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(StatusCode::UPGRADE_REQUIRED)
}

/// What is taken off the path: what a route's paths or its expression say of its beginning.
fn strips(route: &Map<String, Value>) -> Result<Vec<upstream_path::Strip>, ConfigError> {
    let Some(rule) = rule(route)? else { return texts(route, "paths").map(strip).collect() };
    let strips = rule.beginnings().into_iter().map(|beginning| match beginning {
        Beginning::Text(text) => Ok(upstream_path::Strip::Prefix(text.to_owned())),
        Beginning::Folded(text) => {
            let pattern = path_pattern(&format!("(?i:{})", regex::escape(text)));
            pattern.map(upstream_path::Strip::Pattern)
        }
        Beginning::Pattern(pattern) => {
            path_pattern(pattern.trim_start_matches('^')).map(upstream_path::Strip::Pattern)
        }
    });
    strips.collect()
}

/// What a route matches by its expression, instead of by single fields.
fn rule(route: &Map<String, Value>) -> Result<Option<Rule>, ConfigError> {
    let Some(text) = text(route, "expression") else { return Ok(None) };
    Rule::parse(&amended(route, text))
        .map(Some)
        .map_err(|why| ConfigError::new("expression", why.to_string()))
}

/// With the protocols of the route, unless the expression speaks of them. Where it is for TLS alone, requests in the clear
/// are matched as well and told so.
fn amended(route: &Map<String, Value>, text: &str) -> String {
    let tls = |protocol: &str| matches!(protocol, "https" | "grpcs");
    match texts(route, "protocols").any(tls) || text.contains("net.protocol") {
        true => text.to_owned(),
        false => format!("({text}) && net.protocol == \"http\""),
    }
}

fn joint(route: &Map<String, Value>) -> upstream_path::Joint {
    match text(route, "path_handling") {
        Some("v1") => upstream_path::Joint::Bare,
        _ => upstream_path::Joint::Slash,
    }
}

fn strip(path: &str) -> Result<upstream_path::Strip, ConfigError> {
    match path.strip_prefix('~') {
        Some(pattern) => path_pattern(pattern).map(upstream_path::Strip::Pattern),
        None => Ok(upstream_path::Strip::Prefix(path.to_owned())),
    }
}

/// What a route matches. Anything that narrows it and is not understood is an error: it must not match more loosely.
fn matcher(route: &Map<String, Value>) -> Result<Matcher, ConfigError> {
    for narrower in ["sources", "destinations"] {
        let empty = match route.get(narrower) {
            None | Some(Value::Null) => true,
            Some(Value::Array(items)) => items.is_empty(),
            Some(_) => false,
        };
        if !empty {
            return Err(ConfigError::new(narrower, "not implemented in this build"));
        }
    }
    let method = |name: &str| {
        Method::from_bytes(name.as_bytes()).map_err(|_| ConfigError::new("methods", "not a method"))
    };
    let methods = texts(route, "methods").map(method).collect::<Result<Vec<_>, _>>()?;
    let rule = rule(route)?;
    let ranked = match &rule {
        None => ranked(route)?,
        Some(rule) => ranked_by(rule, route),
    };
    Ok(Matcher { methods, rule, ranked: Some(ranked), ..Matcher::default() })
}

/// Kong's `traditional_compatible` order: how many kinds of conditions the route has; then hosts without wildcards;
/// then how many headers; then patterns before beginnings, by `regex_priority` and by length.
fn ranked(route: &Map<String, Value>) -> Result<Ranked, ConfigError> {
    let hosts: Vec<HostRule> = texts(route, "hosts").map(HostRule::parse).collect();
    let headers = headers(route)?;
    let server_names: Vec<NameRule> = texts(route, "snis").map(NameRule::parse).collect();
    let has = |field: &str| texts(route, field).next().is_some();
    let parts =
        [has("methods"), !hosts.is_empty(), !headers.is_empty(), !server_names.is_empty(), has("paths")];
    let rank = Rank {
        parts: parts.into_iter().map(u8::from).sum(),
        plain_hosts: !hosts.is_empty() && hosts.iter().all(|host| matches!(host.name, NameRule::Exact(_))),
        headers: u8::try_from(headers.len()).unwrap_or(u8::MAX),
        ..Rank::default()
    };
    let mut paths = Vec::new();
    for path in texts(route, "paths") {
        paths.push(match path.strip_prefix('~') {
            Some(pattern) => {
                let priority = route.get("regex_priority").and_then(Value::as_i64).unwrap_or(0);
                (PathRule::Pattern(path_pattern(pattern)?), Rank { pattern: true, priority, ..rank })
            }
            None if path.starts_with('/') => {
                (PathRule::Prefix(path.into()), Rank { length: path.len(), ..rank })
            }
            None => return Err(ConfigError::new("paths", "neither the beginning of a path nor a pattern")),
        });
    }
    if paths.is_empty() {
        paths.push((PathRule::Prefix("".into()), rank));
    }
    Ok(Ranked { hosts, paths, headers, server_names })
}

/// After the routes that say what they match in single fields, by priority. What an expression plainly demands of host
/// and path keeps it from being tried on other requests.
fn ranked_by(rule: &Rule, route: &Map<String, Value>) -> Ranked {
    let priority = route.get("priority").and_then(Value::as_i64).unwrap_or(0);
    let rank = Rank { priority, ..Rank::default() };
    let beginning = rule.required_beginning().unwrap_or_default();
    let host = rule
        .required_host()
        .map(|host| HostRule { name: NameRule::Exact(host.to_ascii_lowercase().into()), port: None });
    Ranked {
        hosts: host.into_iter().collect(),
        paths: vec![(PathRule::Prefix(beginning.into()), rank)],
        ..Ranked::default()
    }
}

fn headers(route: &Map<String, Value>) -> Result<Vec<HeaderRule>, ConfigError> {
    let wrong = |why: &str| ConfigError::new("headers", why);
    let mut rules = Vec::new();
    let members = match route.get("headers") {
        None | Some(Value::Null) => return Ok(rules),
        Some(Value::Object(members)) => members,
        Some(_) => return Err(wrong("expected a map")),
    };
    for (name, values) in members {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong("not the name of a header"))?;
        let mut rule = HeaderRule { name, values: Vec::new(), patterns: Vec::new() };
        for value in values.as_array().into_iter().flatten().filter_map(Value::as_str) {
            match header_pattern(value) {
                Some(pattern) => rule.patterns.push(pattern.map_err(|why| wrong(&why))?),
                None => rule.values.push(value.into()),
            }
        }
        rules.push(rule);
    }
    Ok(rules)
}
