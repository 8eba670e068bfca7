//! What is said of a request and its answer.

use expr::{Part, Template, Variable, Variables};
use gateway::plugin::Exchange;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::masks::{self, Masked};

/// Bytes of one value of an entry; longer ones end in `…`.
const MAX_VALUE: usize = 8192;

/// What an entry is.
#[derive(Clone, Debug)]
pub enum Shape {
    /// APISIX's own.
    Apisix,
    /// These members, and route and service.
    Members(Vec<(String, Member)>),
    /// APISIX's own, and these members.
    ApisixAnd(Vec<(String, Member)>),
    /// Kong's own.
    Kong,
}

/// What stands in one member of an entry.
#[derive(Clone, Debug)]
pub enum Member {
    /// A text of variables.
    Text(Template),
    /// Members again.
    Object(Vec<(String, Member)>),
}

impl Shape {
    /// One JSON object, on one line.
    pub(super) fn entry(&self, exchange: &Exchange<'_>, hostname: &str) -> String {
        let made = match self {
            Self::Apisix => apisix(exchange, hostname),
            Self::Kong => kong(exchange),
            Self::Members(members) => {
                let mut out = filled(members, exchange);
                if let Some(service) = &exchange.route.service_id {
                    out.insert("service_id".to_owned(), Value::from(&**service));
                }
                out.insert("route_id".to_owned(), Value::from(&*exchange.route.id));
                Value::Object(out)
            }
            Self::ApisixAnd(members) => {
                let mut out = apisix(exchange, hostname);
                if let Some(own) = out.as_object_mut() {
                    own.extend(filled(members, exchange));
                }
                out
            }
        };
        made.to_string()
    }
}

fn filled(members: &[(String, Member)], exchange: &Exchange<'_>) -> Map<String, Value> {
    fill(members, &Masked(exchange.variables()), exchange.status)
}

fn fill(members: &[(String, Member)], variables: &dyn Variables, status: StatusCode) -> Map<String, Value> {
    let value = |member: &Member| match member {
        Member::Text(template) => text(template, variables, status),
        Member::Object(members) => Some(Value::Object(fill(members, variables, status))),
    };
    members.iter().filter_map(|(name, member)| Some((name.clone(), value(member)?))).collect()
}

/// A text that is one variable is what that says, or nothing; the status by itself is a number.
fn text(template: &Template, variables: &dyn Variables, status: StatusCode) -> Option<Value> {
    if let [Part::Variable(Variable::Status)] = template.parts() {
        return Some(Value::from(status.as_u16()));
    }
    let mut text = String::new();
    for part in template.parts() {
        match part {
            Part::Text(literal) => text.push_str(literal),
            Part::Variable(variable) => text.push_str(&variables.value(variable)?),
            Part::Capture(_) => {}
        }
    }
    Some(Value::from(shortened(text)))
}

fn apisix(exchange: &Exchange<'_>, hostname: &str) -> Value {
    let millis = |time: std::time::Duration| time.as_secs_f64() * 1000.0;
    let (latency, upstream) = (millis(exchange.took), exchange.upstream_took.map(millis));
    let mut out = json!({
        "request": request(exchange),
        "response": {
            "status": exchange.status.as_u16(),
            "headers": exchange.headers.map(masks::headers).unwrap_or_default(),
            "size": exchange.sent,
        },
        "server": {"hostname": hostname, "version": "3.18.0"},
        "upstream": exchange.upstream.unwrap_or_default(),
        "service_id": exchange.route.service_id.as_deref().unwrap_or_default(),
        "route_id": &*exchange.route.id,
        "client_ip": exchange.peer.ip.to_string(),
        "start_time": exchange.at.0,
        "latency": latency,
        "apisix_latency": (latency - upstream.unwrap_or(0.0)).max(0.0),
    });
    if let Some(members) = out.as_object_mut() {
        members.extend(upstream.map(|upstream| ("upstream_latency".to_owned(), Value::from(upstream))));
        members.extend(exchange.consumer.map(|of| ("consumer".to_owned(), json!({"username": of.name()}))));
    }
    out
}

/// What both dialects say of a request.
fn request(exchange: &Exchange<'_>) -> Value {
    let Some(head) = exchange.head else { return json!({"size": exchange.received}) };
    let uri = shortened(masks::target(head.target.as_str()));
    json!({
        "url": format!("{}://{}:{}{uri}", exchange.peer.scheme(), head.host(), exchange.peer.local_port),
        "uri": uri,
        "method": head.method.as_str(),
        "headers": masks::headers(&head.headers),
        "querystring": masks::arguments(head.query().unwrap_or_default()),
        "size": exchange.received,
    })
}

fn kong(exchange: &Exchange<'_>) -> Value {
    let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let all = millis(exchange.took);
    let upstream = exchange.upstream_took.map(millis);
    let mut out = json!({
        "request": request(exchange),
        "response": {
            "status": exchange.status.as_u16(),
            "headers": exchange.headers.map(masks::headers).unwrap_or_default(),
            "size": exchange.sent,
        },
        "latencies": {"request": all, "kong": all.saturating_sub(upstream.unwrap_or(0)), "proxy": upstream.map_or(json!(-1), Value::from)},
        "client_ip": exchange.peer.ip.to_string(),
        "started_at": exchange.at.0,
        "upstream_status": exchange.upstream_status.as_ref().map(|status| status.as_str()).unwrap_or_default(),
        "upstream_uri": exchange.upstream_target.map(|sent| shortened(masks::target(sent.as_str()))).unwrap_or_default(),
        "source": if exchange.upstream.is_some() { "upstream" } else { "kong" },
        "route": {"id": &*exchange.route.id, "name": exchange.route.name.as_deref()},
        "workspace_name": "default",
    });
    if let Some(members) = out.as_object_mut() {
        let service = exchange.route.service_id.as_deref();
        let name = exchange.route.service_name.as_deref();
        members.extend(service.map(|id| ("service".to_owned(), json!({"id": id, "name": name}))));
        let entity = exchange.credential.map(|credential| {
            // Behind the name of its kind.
            let id = credential.id.rsplit('/').next();
            json!({"id": id, "consumer_id": &*credential.consumer.id})
        });
        members.extend(entity.map(|entity| ("authenticated_entity".to_owned(), entity)));
        let target = exchange.upstream.and_then(|target| target.rsplit_once(':'));
        members.extend(target.map(|(host, port)| {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            ("tries".to_owned(), json!([{"ip": host, "port": port.parse::<u16>().ok()}]))
        }));
        members.extend(exchange.consumer.map(|of| {
            let named = json!({"id": &*of.id, "username": of.username.as_deref(), "custom_id": of.custom_id.as_deref()});
            ("consumer".to_owned(), named)
        }));
    }
    out
}

fn shortened(mut text: String) -> String {
    if text.len() > MAX_VALUE {
        let end = (0..=MAX_VALUE).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}
