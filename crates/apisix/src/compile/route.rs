use std::{net::IpAddr, sync::Arc};

use gateway::{
    error::{ConfigError, ErrorBody},
    route::{Backend, Entry, HostPattern, Matcher, PathPattern, Plan, Route},
};
use http::{Method, StatusCode};
use indexmap::IndexMap;
use ipnet::IpNet;
use serde_json::Value;

use super::{Pass, upstream::timeouts};
use crate::{
    resources::{Kind, id_text},
    writer::NAME,
};

/// How the gate words its own answers on routes of this dialect.
pub(crate) const ERRORS: ErrorBody = ErrorBody { member: "error_msg" };

/// A route that cannot be compiled.
#[derive(Debug)]
pub(crate) struct Broken {
    /// Why not.
    pub(crate) reason: String,
    /// The same route, answering 503; `None` when not even what it matches is known for certain.
    pub(crate) closed: Option<Arc<Route>>,
    /// Whether what it was before may go on.
    pub(crate) was_good: bool,
}

impl Pass<'_> {
    /// A route; `None` when it is switched off or gone.
    pub(crate) fn route(&mut self, id: &str) -> Result<Option<Arc<Route>>, Broken> {
        let Some(stored) = self.view.find(Kind::Route, id) else { return Ok(None) };
        if stored.get("status").is_some_and(|status| status == 0) {
            return Ok(None);
        }
        if let Some(orphaned) = self.orphaned(id, stored) {
            return Err(orphaned);
        }
        let compiled = self.compile_route(id).map(|route| Some(Arc::new(route)));
        compiled.map_err(|reason| Broken {
            reason,
            closed: self.closed(id, stored).map(Arc::new),
            was_good: true,
        })
    }

    fn compile_route(&mut self, id: &str) -> Result<Route, String> {
        let value = self.open(Kind::Route, id)?;
        let service_id = value.get("service_id").and_then(id_text);
        let service = match &service_id {
            Some(service_id) => {
                Some(self.service(service_id).map_err(|error| format!("service [{service_id}]: {error}"))?)
            }
            None => None,
        };
        let service = service.as_deref();
        let wrong = |error: ConfigError| format!("invalid configuration: {error}");
        let matcher = matcher(&value, service).map_err(wrong)?;
        let shared = match value.get("plugin_config_id").and_then(id_text) {
            // Without the plugins that guard it, the route does nothing.
            Some(shared) if self.view.find(Kind::PluginConfig, &shared).is_none() => {
                let why = "the route's plugin config does not exist";
                return Ok(Route { matcher, ..self.nowhere(id, StatusCode::SERVICE_UNAVAILABLE, why) });
            }
            Some(shared) => {
                let opened = self.open(Kind::PluginConfig, &shared);
                Some((opened.map_err(|error| format!("plugin config [{shared}]: {error}"))?, shared))
            }
            None => None,
        };
        let layers = [
            service.zip(service_id.as_deref()).map(|(service, id)| (service, Kind::Service.name(id))),
            shared.as_ref().map(|(shared, id)| (shared, Kind::PluginConfig.name(id))),
            Some((&value, Kind::Route.name(id))),
        ];
        let plugins = self.plugins(&layers)?;
        let websocket = value.get("enable_websocket").or_else(|| service?.get("enable_websocket"));
        Ok(Route {
            id: id.into(),
            name: value.get("name").and_then(Value::as_str).map(Arc::from),
            dialect: NAME,
            service_id: service_id.as_deref().map(Arc::from),
            service_name: service.and_then(|service| service.get("name")?.as_str()).map(Arc::from),
            matcher,
            plan: Arc::new(Plan::new(plugins)),
            backend: self.backend(id, &value, service_id.as_deref(), service)?,
            timeouts: timeouts(&value).map_err(wrong)?,
            websocket: websocket.and_then(Value::as_bool).unwrap_or(false),
            errors: ERRORS,
        })
    }

    /// The plugins of these resources, of which a later one's replace those of the same name, in the order they run.
    fn plugins(&mut self, layers: &[Option<(&Value, String)>]) -> Result<Vec<Entry>, String> {
        let mut merged: IndexMap<&str, (&Value, &str)> = IndexMap::new();
        for (value, resource) in layers.iter().flatten() {
            for (name, conf) in value.get("plugins").and_then(Value::as_object).into_iter().flatten() {
                merged.insert(name, (conf, resource));
            }
        }
        let mut compiled = Vec::with_capacity(merged.len());
        for (name, (conf, resource)) in merged {
            compiled.push(self.plugin(name, conf, resource)?);
        }
        compiled.sort_by(|a, b| b.priority.cmp(&a.priority).then(a.name.cmp(b.name)));
        Ok(compiled)
    }

    /// The route's upstream before the service's, and one by id before one inline.
    fn backend(
        &mut self,
        id: &str,
        route: &Value,
        service_id: Option<&str>,
        service: Option<&Value>,
    ) -> Result<Backend, String> {
        let places = [
            (Some(route), format!("routes/{id}")),
            (service, format!("services/{}", service_id.unwrap_or(""))),
        ];
        for (value, place) in places {
            let Some(value) = value else { continue };
            if let Some(upstream_id) = value.get("upstream_id").and_then(id_text) {
                return match self.view.find(Kind::Upstream, &upstream_id) {
                    Some(_) => self
                        .named_upstream(&upstream_id)
                        .map(Backend::Upstream)
                        .map_err(|error| format!("upstream [{upstream_id}]: {error}")),
                    None => Ok(Backend::None(StatusCode::BAD_GATEWAY, "the route's upstream does not exist")),
                };
            }
            if let Some(upstream) = value.get("upstream") {
                return self.upstream(&place, upstream).map(Backend::Upstream);
            }
        }
        Ok(Backend::None(StatusCode::SERVICE_UNAVAILABLE, "the route has no upstream"))
    }

    /// A route whose service was deleted by force. It keeps what it matched, as far as it says so itself: without the
    /// plugins that guarded it, it does nothing, and a looser one may be less protected.
    fn orphaned(&self, id: &str, stored: &Value) -> Option<Broken> {
        let service_id = id_text(stored.get("service_id")?)?;
        if self.view.find(Kind::Service, &service_id).is_some() {
            return None;
        }
        let nowhere = self.nowhere(id, StatusCode::NOT_FOUND, "the route's service does not exist");
        let closed = matcher(stored, None).ok().map(|matcher| Arc::new(Route { matcher, ..nowhere }));
        Some(Broken { reason: format!("service [{service_id}]: it does not exist"), closed, was_good: false })
    }

    /// A route that keeps what it matched from falling to a looser one, which may be less protected.
    fn closed(&self, id: &str, stored: &Value) -> Option<Route> {
        let service = match stored.get("service_id") {
            Some(service) => Some(self.view.find(Kind::Service, &id_text(service)?)?),
            None => None,
        };
        let matcher = matcher(stored, service).ok()?;
        let why = "the configuration of this route cannot be used";
        Some(Route { matcher, ..self.nowhere(id, StatusCode::SERVICE_UNAVAILABLE, why) })
    }

    /// A route that answers `status` and says `why`.
    fn nowhere(&self, id: &str, status: StatusCode, why: &'static str) -> Route {
        Route {
            id: id.into(),
            name: None,
            dialect: NAME,
            service_id: None,
            service_name: None,
            matcher: Matcher::default(),
            plan: Arc::default(),
            backend: Backend::None(status, why),
            timeouts: None,
            websocket: false,
            errors: ERRORS,
        }
    }
}

/// What a route matches. Anything that narrows it and is not understood is an error: it must not match more loosely.
fn matcher(route: &Value, service: Option<&Value>) -> Result<Matcher, ConfigError> {
    if route.get("filter_func").is_some() {
        return Err(ConfigError::new("filter_func", "not implemented in this build"));
    }
    let mut hosts = texts(route, &["host", "hosts"])?;
    if hosts.is_empty()
        && let Some(service) = service
    {
        hosts = texts(service, &["hosts"])?;
    }
    let paths = texts(route, &["uri", "uris", "paths"])?;
    if paths.is_empty() {
        return Err(ConfigError::new("uri", "there is none"));
    }
    let remotes = texts(route, &["remote_addr", "remote_addrs"])?;
    let method = |name: &str| {
        Method::from_bytes(name.as_bytes()).map_err(|_| ConfigError::new("methods", "not a method"))
    };
    let vars = route.get("vars").map(expr::Expression::compile_for_routes).transpose();
    Ok(Matcher {
        hosts: hosts.into_iter().map(HostPattern::parse).collect::<Result<_, _>>()?,
        paths: paths.into_iter().map(PathPattern::parse).collect(),
        methods: texts(route, &["methods"])?.into_iter().map(method).collect::<Result<_, _>>()?,
        remotes: remotes
            .into_iter()
            .map(|text| network(text).map_err(|reason| ConfigError::new("remote_addr", reason)))
            .collect::<Result<_, _>>()?,
        vars: vars.map_err(|error| ConfigError::new("vars", error.to_string()))?,
        rule: None,
        priority: route.get("priority").and_then(Value::as_i64).unwrap_or(0),
        ranked: None,
    })
}

/// The texts of these members, each a text or a list of texts; anything else in them is an error.
fn texts<'a>(value: &'a Value, members: &[&str]) -> Result<Vec<&'a str>, ConfigError> {
    let mut out = Vec::new();
    for member in members {
        let wrong = || ConfigError::new(*member, "neither a text nor a list of texts");
        match value.get(*member) {
            None => {}
            Some(Value::String(text)) => out.push(text.as_str()),
            Some(Value::Array(items)) => {
                for item in items {
                    out.push(item.as_str().ok_or_else(wrong)?);
                }
            }
            Some(_) => return Err(wrong()),
        }
    }
    Ok(out)
}

/// An address, or a network in CIDR notation.
pub(crate) fn network(text: &str) -> Result<IpNet, String> {
    text.parse::<IpAddr>()
        .map(IpNet::from)
        .or_else(|_| text.parse::<IpNet>())
        .map_err(|_| "expected an IP address or a network in CIDR notation".to_owned())
}
