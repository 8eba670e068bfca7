//! Consumers from outside: who is attached, what the upstream is told, and which plugins run then.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // a test that cannot go on fails

mod support;

use std::{any::Any, collections::BTreeMap, net::SocketAddr, sync::Arc};

use base::Secret;
use expr::{Variable, Variables};
use gateway::{
    consumer::{CompiledCredential, Consumer, Consumers, Credential},
    engine::Limits,
    plugin::{Flow, HeaderEdit, Phases, Plugin, PluginRequest, PluginResponse, Verdict},
    route::{Entry, Layer, Plan},
    upstream::{Scheme, Timeouts},
};
use http::{HeaderName, HeaderValue, StatusCode};
use support::{Gate, OK, Target, route};

/// Attaches the owner of the key in `apikey`, at once or after waiting.
struct ByKey {
    waits: bool,
}

impl Plugin for ByKey {
    fn name(&self) -> &'static str {
        "by-key"
    }

    fn phases(&self) -> Phases {
        Phases::REWRITE
    }

    fn rewrite(&self, request: &mut PluginRequest<'_>) -> Flow {
        let key = request.head.headers.get("apikey").map(|key| key.as_bytes().to_vec()).unwrap_or_default();
        let consumers = Arc::clone(request.consumers);
        if !self.waits {
            let Some(found) = consumers.credential("by-key", &key) else {
                return Flow::respond(request.error(StatusCode::UNAUTHORIZED, "who?"));
            };
            request.attach(Arc::clone(found));
            return Flow::Continue;
        }
        Flow::Suspend(Box::pin(async move {
            tokio::task::yield_now().await;
            let attach = consumers.credential("by-key", &key).cloned().map(Into::into);
            let seen = HeaderEdit::Set(HeaderName::from_static("x-waited"), HeaderValue::from_static("yes"));
            Verdict { attach, request: vec![seen], ..Verdict::default() }
        }))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Says in the request and the answer that it ran, and for whom.
struct Mark(&'static str);

impl Mark {
    fn mark(&self, request: &mut PluginRequest<'_>, phase: &str) -> Flow {
        let who = request.variables().value(&Variable::ConsumerName).map(|name| name.into_owned());
        let group = request.variables().value(&Variable::ConsumerGroupId).map(|name| name.into_owned());
        let text = format!("{}:{phase}:{}:{}", self.0, who.unwrap_or_default(), group.unwrap_or_default());
        request.head.headers.append("x-ran", text.parse().unwrap());
        Flow::Continue
    }
}

impl Plugin for Mark {
    fn name(&self) -> &'static str {
        "mark"
    }

    fn phases(&self) -> Phases {
        Phases::REWRITE.and(Phases::ACCESS).and(Phases::RESPONSE_HEADERS)
    }

    fn rewrite(&self, request: &mut PluginRequest<'_>) -> Flow {
        self.mark(request, "rewrite")
    }

    fn access(&self, request: &mut PluginRequest<'_>) -> Flow {
        self.mark(request, "access")
    }

    fn response_headers(&self, response: &mut PluginResponse<'_>) {
        response.headers.append("x-ran", HeaderValue::from_static(self.0));
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

fn mark(name: &'static str, priority: i64, says: &'static str) -> Entry {
    Entry::new(name, priority, Arc::new(Mark(says)))
}

/// One consumer, `jack`, known by the key `jack-key`, who brings the plugins of `layer`.
fn jack(layer: Layer) -> Arc<Consumers> {
    let headers = vec![(HeaderName::from_static("x-consumer-username"), HeaderValue::from_static("jack"))];
    let consumer = Arc::new(Consumer {
        id: "jack".into(),
        username: Some("jack".into()),
        custom_id: None,
        groups: vec!["g".into()],
        memberships: Vec::new(),
        labels: BTreeMap::new(),
        headers,
        layer: Arc::new(layer),
        created: 1,
    });
    let compiled = CompiledCredential {
        plugin: "by-key",
        lookup: Secret::new(b"jack-key".to_vec()),
        material: Arc::new(()),
    };
    let credential = Arc::new(Credential::new("jack/1".into(), Arc::clone(&consumer), 1, compiled));
    let mut consumers = Consumers::new(&[1; 32]);
    consumers.insert(&consumer, &[credential]);
    Arc::new(consumers)
}

fn publish(gate: &Gate, target: SocketAddr, waits: bool, consumers: Arc<Consumers>, global: Vec<Entry>) {
    let by_key = Entry { authenticates: true, ..Entry::new("by-key", 100, Arc::new(ByKey { waits })) };
    let plan = Plan::new(vec![mark("own", 50, "route's own"), by_key, mark("late", 5, "late")]);
    let backend = gate.backend(Scheme::Http, &[target], Timeouts::default());
    gate.publish(vec![route(Arc::new(plan), backend)], consumers, Plan::new(global));
}

fn ask(gate: &Gate, key: &str) -> String {
    gate.ask(&format!(
        "GET / HTTP/1.1\r\nhost: a\r\napikey: {key}\r\nX-Consumer-Username: evil\r\nx_consumer_username: evil\r\n\
         Connection: close, x-consumer-username\r\n\r\n"
    ))
}

/// The values of `x-ran`, in order.
fn ran(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.strip_prefix("x-ran: ")).collect()
}

#[test]
fn an_attached_consumer_is_told_to_the_upstream_and_to_later_plugins() {
    let (gate, target) = (Gate::start(Limits::default()), Target::answering(OK));
    for waits in [false, true] {
        publish(&gate, target.address, waits, jack(Layer::default()), Vec::new());
        assert!(ask(&gate, "jack-key").starts_with("HTTP/1.1 200"));
        let seen = target.next();
        assert_eq!(seen.matches("consumer").count(), 1, "{seen}");
        assert!(seen.contains("x-consumer-username: jack\r\n") && !seen.contains("evil"), "{seen}");
        assert_eq!(seen.contains("x-waited"), waits);
        assert_eq!(
            ran(&seen),
            [
                "route's own:rewrite:jack:g",
                "late:rewrite:jack:g",
                "route's own:access:jack:g",
                "late:access:jack:g"
            ]
        );
    }
    publish(&gate, target.address, false, jack(Layer::default()), Vec::new());
    assert!(ask(&gate, "other-key").starts_with("HTTP/1.1 401"));
}

#[test]
fn a_consumer_brings_its_plugins_and_replaces_the_routes() {
    let (gate, target) = (Gate::start(Limits::default()), Target::answering(OK));
    let layer = || Layer {
        entries: vec![
            mark("own", 1, "consumer's own"),
            mark("new", 60, "consumer's new"),
            Entry { plugin: None, ..mark("late", 5, "") },
            Entry { authenticates: true, ..mark("auth", 70, "consumer's auth") },
        ],
        ..Layer::default()
    };
    publish(&gate, target.address, false, jack(layer()), Vec::new());
    // The second request takes the plan that the first one merged.
    for _ in 0..2 {
        let answer = ask(&gate, "jack-key");
        assert_eq!(
            ran(&target.next()),
            [
                "route's own:rewrite:jack:g",
                "late:rewrite:jack:g",
                "consumer's new:rewrite:jack:g",
                "consumer's auth:access:jack:g",
                "consumer's new:access:jack:g",
                "consumer's own:access:jack:g"
            ]
        );
        assert_eq!(ran(&answer), ["consumer's auth", "consumer's new", "consumer's own"]);
    }
    // A changed layer is another one.
    publish(
        &gate,
        target.address,
        false,
        jack(Layer { entries: vec![mark("own", 1, "changed")], ..Layer::default() }),
        Vec::new(),
    );
    ask(&gate, "jack-key");
    assert!(ran(&target.next()).contains(&"changed:access:jack:g"));
}

#[test]
fn what_holds_for_every_request_runs_first_and_where_no_route_is() {
    let (gate, target) = (Gate::start(Limits::default()), Target::answering(OK));
    publish(&gate, target.address, false, jack(Layer::default()), vec![mark("g", 1, "global")]);
    let answer = ask(&gate, "jack-key");
    let seen = target.next();
    assert_eq!(ran(&seen).first(), Some(&"global:rewrite::"));
    assert_eq!(ran(&seen)[3], "global:access:jack:g");
    assert_eq!(ran(&answer), ["global", "route's own", "late"]);
    // A request without a key is answered by the route's plugin, after the global ones.
    assert_eq!(ran(&ask(&gate, "")), ["global", "route's own", "late"]);

    gate.publish(Vec::new(), Arc::default(), Plan::new(vec![mark("g", 1, "global")]));
    let answer = ask(&gate, "");
    assert!(
        answer.starts_with("HTTP/1.1 404") && answer.ends_with("{\"error_msg\":\"404 Route Not Found\"}\n")
    );
    assert_eq!(ran(&answer), ["global"]);
    let by_key = Entry::new("by-key", 100, Arc::new(ByKey { waits: false }));
    gate.publish(Vec::new(), Arc::default(), Plan::new(vec![by_key]));
    assert!(ask(&gate, "").starts_with("HTTP/1.1 401"), "a rule for every request answers before the 404");
}
