//! What an operator adds to a plugin, whichever it is: a condition under which it runs, and what its refusals say.
//!
//! Whether it runs is found out once for each request, before its first phase, and holds for all of them: what a later
//! plugin changes about the request does not take half of a plugin away.

use std::{any::Any, sync::Arc};

use bytes::Bytes;
use expr::Expression;
use http::{HeaderValue, header};
use smallvec::SmallVec;

use crate::plugin::{
    BodyInspector, BodyReader, Exchange, Flow, Phases, Plugin, PluginRequest, PluginResponse, Reply, Verdict,
};

/// What is added to a plugin.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// It runs where this holds; `None`: always.
    pub when: Option<Expression>,
    /// What is said in place of its own words where it answers with 400 or more.
    pub refusal: Option<Refusal>,
}

/// The body of refusals. Status and headers stay the plugin's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The whole body.
    pub body: Bytes,
    /// Its media type.
    pub media_type: &'static str,
}

/// The conditional plugins of one request about which is known whether they run.
#[derive(Debug, Default)]
pub struct Decided(SmallVec<[(usize, bool); 2]>);

struct Conditional {
    plugin: Arc<dyn Plugin>,
    when: Option<Expression>,
    refusal: Option<Arc<Refusal>>,
}

impl Terms {
    /// `plugin` under these terms.
    pub fn apply(self, plugin: Arc<dyn Plugin>) -> Arc<dyn Plugin> {
        if self.when.is_none() && self.refusal.is_none() {
            return plugin;
        }
        Arc::new(Conditional { plugin, when: self.when, refusal: self.refusal.map(Arc::new) })
    }
}

impl Refusal {
    fn reword(&self, mut reply: Reply) -> Reply {
        if !(reply.status().is_client_error() || reply.status().is_server_error()) {
            return reply;
        }
        *reply.body_mut() = self.body.clone();
        reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(self.media_type));
        reply
    }

    fn reword_in(&self, mut verdict: Verdict) -> Verdict {
        verdict.reply = verdict.reply.map(|reply| Box::new(self.reword(*reply)));
        verdict
    }
}

impl Decided {
    /// Whether it is known that this plugin does not run.
    pub(crate) fn is_ruled_out(&self, plugin: &Arc<dyn Plugin>) -> bool {
        let key = Arc::as_ptr(plugin).cast::<()>().addr();
        self.0.contains(&(key, false))
    }

    /// What is known of the plugin at this address, or what is found out now.
    fn or_decide(&mut self, key: usize, decide: impl FnOnce() -> bool) -> bool {
        if let Some((_, known)) = self.0.iter().find(|(decided, _)| *decided == key) {
            return *known;
        }
        let runs = decide();
        self.0.push((key, runs));
        runs
    }
}

impl Conditional {
    /// The route's snapshot keeps it where it is for as long as the request lasts.
    fn key(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    fn runs(&self, request: &mut PluginRequest<'_>) -> bool {
        let Some(when) = &self.when else { return true };
        // Taken out, so that the request can be looked at meanwhile.
        let mut decided = std::mem::take(request.decided);
        let runs = decided.or_decide(self.key(), || when.matches(&request.variables()));
        *request.decided = decided;
        runs
    }

    fn in_its_words(&self, flow: Flow) -> Flow {
        let Some(refusal) = self.refusal.clone() else { return flow };
        match flow {
            Flow::Continue => Flow::Continue,
            Flow::Respond(reply) => Flow::respond(refusal.reword(*reply)),
            Flow::Suspend(future) => Flow::Suspend(Box::pin(async move { refusal.reword_in(future.await) })),
            Flow::Read(BodyReader { limit, answer }) => Flow::Read(BodyReader {
                limit,
                answer: Box::new(move |body| {
                    let answering = answer(body);
                    Box::pin(async move { refusal.reword(answering.await) })
                }),
            }),
            Flow::Inspect(BodyInspector { limit, judge }) => Flow::Inspect(BodyInspector {
                limit,
                judge: Box::new(move |body| {
                    let judging = judge(body);
                    Box::pin(async move { refusal.reword_in(judging.await) })
                }),
            }),
        }
    }
}

impl Plugin for Conditional {
    fn name(&self) -> &'static str {
        self.plugin.name()
    }

    fn phases(&self) -> Phases {
        let own = self.plugin.phases();
        // Whether it is told of the end is decided when the answer is known at the latest.
        if own.contains(Phases::LOG) { own.and(Phases::RESPONSE_HEADERS) } else { own }
    }

    fn rewrite(&self, request: &mut PluginRequest<'_>) -> Flow {
        if self.runs(request) { self.in_its_words(self.plugin.rewrite(request)) } else { Flow::Continue }
    }

    fn access(&self, request: &mut PluginRequest<'_>) -> Flow {
        if self.runs(request) { self.in_its_words(self.plugin.access(request)) } else { Flow::Continue }
    }

    fn response_headers(&self, response: &mut PluginResponse<'_>) {
        let runs = self.when.as_ref().is_none_or(|when| {
            let mut decided = std::mem::take(response.decided);
            let runs = decided.or_decide(self.key(), || when.matches(&response.variables()));
            *response.decided = decided;
            runs
        });
        if runs && self.plugin.phases().contains(Phases::RESPONSE_HEADERS) {
            self.plugin.response_headers(response);
        }
    }

    fn log(&self, exchange: &Exchange<'_>) {
        self.plugin.log(exchange);
    }

    fn as_any(&self) -> &dyn Any {
        self.plugin.as_any()
    }
}
