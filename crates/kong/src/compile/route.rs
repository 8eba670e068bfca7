use std::{sync::Arc, time::Duration};

use gateway::{
    error::{ConfigError, ErrorBody},
    route::{Backend, Entry, HostPattern, Matcher, PathPattern, Plan, Route},
    upstream::{HostRewrite, KeepAlive, Node, Scheme, Timeouts, TlsPolicy, Upstream, UpstreamSpec},
};
use http::{Method, StatusCode};
use indexmap::IndexMap;
use plugins::upstream_path;
use serde_json::{Map, Value};

use super::Pass;
use crate::{
    entities::{Kind, reference},
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
        let service_id = reference_in(&route, Kind::Service);
        let service = match service_id {
            Some(service_id) => Some(self.open(Kind::Service, service_id)?),
            None => None,
        };
        if service.as_ref().is_some_and(|service| !flag(service, "enabled", true)) {
            return Ok(None);
        }
        let wrong = |error: ConfigError| format!("routes/{id}: {error}");
        let mut plugins = self.plugins(id, service_id)?;
        let rewrite = upstream_path::Config {
            strip: if flag(&route, "strip_path", true) {
                texts(&route, "paths").map(str::to_owned).collect()
            } else {
                Vec::new()
            },
            base: service.as_ref().and_then(|service| text(service, "path")).unwrap_or("/").to_owned(),
        };
        // After every plugin that judges the request.
        let last = upstream_path::compile(rewrite).map_err(wrong)?;
        plugins.extend(last.map(|plugin| Entry::new("upstream-path", i64::MIN, plugin)));
        let backend = match (service_id, &service) {
            (Some(service_id), Some(service)) => {
                let upstream =
                    self.service_upstream(service_id, service, flag(&route, "preserve_host", false));
                Backend::Upstream(upstream.map_err(|error| format!("services/{service_id}: {error}"))?)
            }
            _ => Backend::None(StatusCode::SERVICE_UNAVAILABLE, "no Service found with those values"),
        };
        Ok(Some(Route {
            id: id.into(),
            name: text(&route, "name").map(Arc::from),
            dialect: NAME,
            service_id: service_id.map(Arc::from),
            matcher: matcher(&route).map_err(wrong)?,
            plan: Arc::new(Plan::new(plugins)),
            backend,
            timeouts: None,
            websocket: true,
            errors: ERRORS,
        }))
    }

    /// The plugins of a route in the order they run. Of each name one counts: the one that is bound most closely.
    fn plugins(&mut self, route: &str, service: Option<&str>) -> Result<Vec<Entry>, String> {
        let mut chosen: IndexMap<&str, (u8, &str)> = IndexMap::new();
        for (id, plugin) in self.view.list(Kind::Plugin) {
            let Some(closeness) = closeness(plugin, route, service) else { continue };
            let name = plugin.get("name").and_then(Value::as_str).unwrap_or_default();
            let best = chosen.entry(name).or_insert((closeness, id));
            if closeness > best.0 {
                *best = (closeness, id);
            }
        }
        let mut compiled = Vec::with_capacity(chosen.len());
        for (_, (_, id)) in chosen {
            let plugin = self.open(Kind::Plugin, id)?;
            let (plugin_name, priority, plugin) = self
                .compiler
                .plugin(&plugin)
                .map_err(|violations| format!("plugins/{id}: {}", violations.message()))?;
            compiled.push(Entry::new(plugin_name, priority, plugin));
        }
        // Of equal priority, the later name in the alphabet goes first.
        compiled.sort_by(|a, b| b.priority.cmp(&a.priority).then(b.name.cmp(a.name)));
        Ok(compiled)
    }

    pub(super) fn service_upstream(
        &mut self,
        id: &str,
        service: &Map<String, Value>,
        preserve_host: bool,
    ) -> Result<Arc<Upstream>, ConfigError> {
        let scheme = if text(service, "protocol") == Some("https") { Scheme::Https } else { Scheme::Http };
        let timeout =
            |field| Duration::from_millis(service.get(field).and_then(Value::as_u64).unwrap_or(60_000));
        let port = service.get("port").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok());
        let host = text(service, "host").unwrap_or_default();
        self.compiler.upstream(UpstreamSpec {
            id: format!("services/{id}").into(),
            scheme,
            nodes: vec![Node { host: host.into(), port: port.unwrap_or(80), weight: 1, priority: 0 }],
            host: if preserve_host { HostRewrite::Pass } else { HostRewrite::Node },
            timeouts: Timeouts {
                connect: timeout("connect_timeout"),
                send: timeout("write_timeout"),
                read: timeout("read_timeout"),
            },
            retries: service
                .get("retries")
                .and_then(Value::as_u64)
                .and_then(|retries| u32::try_from(retries).ok()),
            retry_timeout: None,
            keep_alive: KeepAlive::default(),
            // Kong verifies upstreams only where it is told to; here they are unless it is told not to.
            tls: TlsPolicy { verify: flag(service, "tls_verify", true), client: None },
        })
    }

    /// A route that keeps what it matched from falling to a looser one, which may be less protected.
    fn closed(&self, id: &str) -> Option<Route> {
        let route = self.view.find(Kind::Route, id)?.as_object()?;
        Some(Route {
            id: id.into(),
            name: None,
            dialect: NAME,
            service_id: None,
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

/// How closely a plugin is bound to a route: 3 to both it and its service, 2 to it, 1 to its service, 0 to everything;
/// `None`: not at all, or switched off. One that is bound to a consumer is refused when it is written, and must not be
/// taken for a looser one if it is stored.
fn closeness(plugin: &Value, route: &str, service: Option<&str>) -> Option<u8> {
    let enabled = plugin.get("enabled").and_then(Value::as_bool).unwrap_or(true);
    let (of_route, of_service) = (reference(plugin, Kind::Route), reference(plugin, Kind::Service));
    let applies = of_route.is_none_or(|id| id == route) && of_service.is_none_or(|id| Some(id) == service);
    (enabled && applies).then(|| 2 * u8::from(of_route.is_some()) + u8::from(of_service.is_some()))
}

/// What a route matches. Anything that narrows it and is not understood is an error: it must not match more loosely.
fn matcher(route: &Map<String, Value>) -> Result<Matcher, ConfigError> {
    for narrower in ["headers", "snis", "sources", "destinations"] {
        let empty = match route.get(narrower) {
            None | Some(Value::Null) => true,
            Some(Value::Array(items)) => items.is_empty(),
            Some(Value::Object(members)) => members.is_empty(),
            Some(_) => false,
        };
        if !empty {
            return Err(ConfigError::new(narrower, "not implemented in this build"));
        }
    }
    let mut paths = Vec::new();
    for path in texts(route, "paths") {
        if !path.starts_with('/') {
            return Err(ConfigError::new("paths", "not the beginning of a path"));
        }
        paths.push(PathPattern::Prefix(path.into()));
    }
    if paths.is_empty() {
        paths.push(PathPattern::Prefix("/".into()));
    }
    let method = |name: &str| {
        Method::from_bytes(name.as_bytes()).map_err(|_| ConfigError::new("methods", "not a method"))
    };
    let methods = texts(route, "methods").map(method).collect::<Result<Vec<_>, _>>()?;
    Ok(Matcher {
        hosts: texts(route, "hosts").map(HostPattern::parse).collect::<Result<_, _>>()?,
        paths,
        // Among routes of one path, the one that says more goes first.
        priority: i64::from(!methods.is_empty()),
        methods,
        remotes: Vec::new(),
        vars: None,
    })
}

fn reference_in(entity: &Map<String, Value>, kind: Kind) -> Option<&str> {
    entity.get(kind.singular())?.get("id")?.as_str()
}

fn text<'a>(entity: &'a Map<String, Value>, field: &str) -> Option<&'a str> {
    entity.get(field)?.as_str()
}

fn texts<'a>(entity: &'a Map<String, Value>, field: &str) -> impl Iterator<Item = &'a str> {
    entity.get(field).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn flag(entity: &Map<String, Value>, field: &str, unset: bool) -> bool {
    entity.get(field).and_then(Value::as_bool).unwrap_or(unset)
}
