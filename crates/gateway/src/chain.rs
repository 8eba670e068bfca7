//! The plugins of a request, one after the other: what holds for every route of the dialect, the route's own, and those
//! that a consumer brings who was found on the way.

use std::{
    cell::RefCell,
    fmt,
    rc::Rc,
    sync::{Arc, LazyLock},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use quick_cache::unsync::Cache;
use smallvec::SmallVec;

use crate::{
    client_body::ClientBody,
    condition::Decided,
    consumer::{Attached, Brought, Consumers},
    core::Core,
    plugin::{
        BodyChange, BodyInspector, BodyReader, Flow, Notes, Peer, Plugin, PluginRequest, PluginResponse,
        Reply, RequestHead, Verdict,
    },
    route::{Layer, Plan, Route},
    snapshot::Part,
};

/// Plans that one core remembers together with what a consumer brings.
const MERGED: usize = 4096;

/// Plugins that are told when the answer has ended.
pub(crate) type Observers = SmallVec<[Arc<dyn Plugin>; 2]>;

type Phase = fn(&(dyn Plugin + 'static), &mut PluginRequest<'_>) -> Flow;
const REWRITE: Phase = |plugin, request| plugin.rewrite(request);
const ACCESS: Phase = |plugin, request| plugin.access(request);

/// A request whose plugins are to run.
pub(crate) struct Chain<'a, 's> {
    pub(crate) core: &'a Core,
    pub(crate) head: &'a mut RequestHead,
    pub(crate) peer: &'a Peer,
    /// Headers that plugins add to whatever is answered.
    pub(crate) added: &'a mut Vec<(HeaderName, HeaderValue)>,
    pub(crate) ran: &'a mut Ran<'s>,
    /// The request's body; `None`: there is none.
    pub(crate) body: &'a mut Option<ClientBody>,
}

/// What a plugin ends a request with.
pub(crate) enum End {
    /// This answer.
    Reply(Reply),
    /// An answer that depends on the request's body.
    Read(BodyReader),
}

/// What ran, for the answer and the log.
#[derive(Default)]
pub(crate) struct Ran<'s> {
    /// Who the request was found to come from.
    pub(crate) attached: Option<Attached>,
    /// What groups bring to a caller who is no consumer.
    brought: Option<Box<Brought>>,
    /// What plugins remember until the answer comes.
    notes: Notes,
    /// The request as it was matched, where somebody logs it.
    pub(crate) arrived: Option<Box<RequestHead>>,
    /// The dialects whose rules for every request ran.
    parts: SmallVec<[&'s Part; 2]>,
    /// What the route's plan became with the plugins of the consumer.
    merged: Option<Rc<Merged>>,
    decided: Decided,
}

impl<'s> Chain<'_, 's> {
    /// Runs the plugins of `route`, until one of them ends the request.
    pub(crate) async fn run(mut self, route: &Arc<Route>, part: Option<&'s Part>) -> Option<End> {
        let global = part.map(|part| &part.global).filter(|global| !global.is_empty());
        // The common case of a route that has nothing to judge.
        if global.is_none() && route.plan.is_empty() {
            return None;
        }
        let consumers = part.map(|part| &part.consumers).unwrap_or(&NOBODY);
        if route.plan.logs_heads || global.is_some_and(|global| global.logs_heads) {
            self.ran.arrived = Some(Box::new(self.head.clone()));
        }
        if let (Some(global), Some(part)) = (global, part) {
            self.ran.parts.push(part);
            if let Some(end) = self.phase(&global.rewrite, REWRITE, route, consumers).await {
                return Some(end);
            }
        }
        if let Some(end) = self.phase(&route.plan.rewrite, REWRITE, route, consumers).await {
            return Some(end);
        }
        let of_consumer = self.ran.attached.as_ref().map(|attached| &attached.consumer().layer);
        let of_groups = self.ran.brought.as_ref().map(|brought| &brought.layer);
        let layer = of_consumer.or(of_groups).filter(|layer| !layer.is_empty());
        self.ran.merged = layer.map(|layer| self.core.merged.find(&route.plan, layer));
        let merged = self.ran.merged.clone();
        if self.ran.arrived.is_none() && merged.as_ref().is_some_and(|merged| merged.plan.logs_heads) {
            self.ran.arrived = Some(Box::new(self.head.clone()));
        }
        if let Some(merged) = &merged
            && let Some(end) = self.phase(&merged.new, REWRITE, route, consumers).await
        {
            return Some(end);
        }
        if let Some(global) = global
            && let Some(end) = self.phase(&global.access, ACCESS, route, consumers).await
        {
            return Some(end);
        }
        let plan = merged.as_ref().map_or(&*route.plan, |merged| &merged.plan);
        self.phase(&plan.access, ACCESS, route, consumers).await
    }

    /// Runs what holds for every request on one that no route takes.
    pub(crate) async fn run_nowhere(mut self, parts: &'s [Part]) -> Option<End> {
        self.ran.parts = parts.iter().filter(|part| !part.global.is_empty()).collect();
        let parts = self.ran.parts.clone();
        if parts.iter().any(|part| part.global.logs_heads) {
            self.ran.arrived = Some(Box::new(self.head.clone()));
        }
        for part in &parts {
            if let Some(end) = self.phase(&part.global.rewrite, REWRITE, &part.nowhere, &part.consumers).await
            {
                return Some(end);
            }
        }
        for part in &parts {
            if let Some(end) = self.phase(&part.global.access, ACCESS, &part.nowhere, &part.consumers).await {
                return Some(end);
            }
        }
        None
    }

    async fn phase(
        &mut self,
        plugins: &[Arc<dyn Plugin>],
        phase: Phase,
        route: &Arc<Route>,
        consumers: &Arc<Consumers>,
    ) -> Option<End> {
        for plugin in plugins {
            let flow = phase(
                plugin.as_ref(),
                &mut PluginRequest {
                    head: self.head,
                    peer: self.peer,
                    route,
                    response: self.added,
                    consumers,
                    attached: &mut self.ran.attached,
                    brought: &mut self.ran.brought,
                    decided: &mut self.ran.decided,
                    notes: &mut self.ran.notes,
                },
            );
            let verdict = match flow {
                Flow::Continue => continue,
                Flow::Respond(reply) => return Some(End::Reply(*reply)),
                Flow::Read(reader) => return Some(End::Read(reader)),
                Flow::Suspend(future) => future.await,
                // Boxed, because hardly any request takes this way and every request's future would have room for it.
                Flow::Inspect(inspector) => Box::pin(self.inspect(inspector)).await,
            };
            verdict.request.into_iter().for_each(|edit| edit.apply(&mut self.head.headers));
            self.added.extend(verdict.response);
            if let Some(who) = verdict.attach {
                who.attach(&mut self.ran.attached, &mut self.head.headers);
            }
            if let Some(target) = verdict.target {
                self.head.target = *target;
            }
            if verdict.bring.is_some() {
                self.ran.brought = verdict.bring;
            }
            if let Some(reply) = verdict.reply {
                return Some(End::Reply(*reply));
            }
        }
        None
    }

    async fn inspect(&mut self, inspector: BodyInspector) -> Verdict {
        let limits = &self.core.settings.limits;
        let whole = match self.body {
            None => Ok(Bytes::new()),
            Some(body) => body.whole(limits.body_bytes.min(inspector.limit as u64), limits.body).await,
        };
        (inspector.judge)(whole).await
    }
}

impl Ran<'_> {
    /// Shows the head of the answer to the plugins that take part in it.
    pub(crate) fn on_response(&mut self, route: Option<&Arc<Route>>, answer: &mut Answered<'_>) {
        // Taken out, so that the plugins can be shown the rest meanwhile.
        let mut decided = std::mem::take(&mut self.decided);
        for part in &self.parts {
            let route = route.unwrap_or(&part.nowhere);
            for plugin in &part.global.response_headers {
                plugin.response_headers(&mut answer.show(self, route, &mut decided));
            }
        }
        if let Some(route) = route {
            for plugin in &self.plan(route).response_headers {
                plugin.response_headers(&mut answer.show(self, route, &mut decided));
            }
        }
        self.decided = decided;
    }

    /// The plugins that are told when the answer has ended, and of which route.
    pub(crate) fn observers(&self, route: Option<&Arc<Route>>) -> Option<(Observers, Arc<Route>)> {
        let own = route.map(|route| self.plan(route).log.as_slice()).unwrap_or_default();
        let global = self.parts.iter().flat_map(|part| &part.global.log);
        let runs = |plugin: &&Arc<dyn Plugin>| !self.decided.is_ruled_out(plugin);
        let plugins: Observers = global.chain(own).filter(runs).cloned().collect();
        let route = route.or_else(|| self.parts.first().map(|part| &part.nowhere))?;
        (!plugins.is_empty()).then(|| (plugins, Arc::clone(route)))
    }

    /// Whether any plugin looks at the answer.
    pub(crate) fn is_watched(&self, route: &Route) -> bool {
        let watches = |plan: &Plan| !plan.response_headers.is_empty() || !plan.log.is_empty();
        watches(self.plan(route)) || self.parts.iter().any(|part| watches(&part.global))
    }

    fn plan<'a>(&'a self, route: &'a Route) -> &'a Plan {
        self.merged.as_ref().map_or(&*route.plan, |merged| &merged.plan)
    }
}

/// The head of an answer on its way through the plugins.
pub(crate) struct Answered<'a> {
    pub(crate) head: &'a RequestHead,
    pub(crate) peer: &'a Peer,
    pub(crate) status: &'a mut StatusCode,
    pub(crate) headers: &'a mut HeaderMap,
    pub(crate) upstream: Option<&'a str>,
    pub(crate) upstream_status: Option<StatusCode>,
    pub(crate) began: Duration,
    pub(crate) upstream_took: Option<Duration>,
    pub(crate) body: &'a mut Vec<BodyChange>,
}

impl Answered<'_> {
    fn show<'s>(
        &'s mut self,
        ran: &'s Ran<'_>,
        route: &'s Arc<Route>,
        decided: &'s mut Decided,
    ) -> PluginResponse<'s> {
        PluginResponse {
            status: self.status,
            headers: self.headers,
            route,
            peer: self.peer,
            head: self.head,
            consumer: ran.attached.as_ref().map(|attached| attached.consumer().as_ref()),
            upstream: self.upstream,
            upstream_status: self.upstream_status,
            began: self.began,
            upstream_took: self.upstream_took,
            decided,
            notes: &ran.notes,
            body: self.body,
        }
    }
}

/// The table of a route that no dialect vouches for: it has no consumers.
static NOBODY: LazyLock<Arc<Consumers>> = LazyLock::new(Arc::default);

/// A plan with what a consumer brings.
struct Merged {
    plan: Plan,
    /// Plugins whose first round is still to run.
    new: Vec<Arc<dyn Plugin>>,
    /// What it was made from: as long as they are held, nothing else has their addresses.
    _from: (Arc<Plan>, Arc<Layer>),
}

/// The merged plans of one core, by the addresses of what they were made from.
pub(crate) struct MergedPlans(RefCell<Cache<(usize, usize), Rc<Merged>>>);

impl MergedPlans {
    fn find(&self, plan: &Arc<Plan>, layer: &Arc<Layer>) -> Rc<Merged> {
        let key = (Arc::as_ptr(plan).addr(), Arc::as_ptr(layer).addr());
        let mut plans = self.0.borrow_mut();
        if let Some(found) = plans.get(&key) {
            return Rc::clone(found);
        }
        let (merged, new) = plan.with(layer);
        let made = Rc::new(Merged { plan: merged, new, _from: (Arc::clone(plan), Arc::clone(layer)) });
        plans.insert(key, Rc::clone(&made));
        made
    }
}

impl Default for MergedPlans {
    fn default() -> Self {
        Self(RefCell::new(Cache::new(MERGED)))
    }
}

impl fmt::Debug for MergedPlans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MergedPlans")
    }
}
