//! A request on its way to a target: which one is asked, how it is greeted, and when another one is tried.

use std::{rc::Rc, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use smallvec::SmallVec;
use tokio::time::Instant;

use crate::{
    client_body::ClientBody,
    core::Core,
    error::Failure,
    host::HostName,
    plugin::RequestHead,
    route::Route,
    upstream::{
        Answer, Broken, Busy, H2Body, KeyHash, Outgoing, SentHost, Sign, Target, Timeouts, Tried, Upstream,
        deadline,
    },
};

/// A request on its way to an upstream, over as many tries as that takes and allows.
pub(crate) struct Delivery<'a> {
    pub(crate) core: &'a Rc<Core>,
    pub(crate) route: &'a Route,
    pub(crate) upstream: &'a Upstream,
    pub(crate) hash: KeyHash,
    pub(crate) head: &'a RequestHead,
    /// Lines of where the request came from, where they are not among the head's.
    pub(crate) own: Option<&'a [u8]>,
    pub(crate) timeouts: Timeouts,
    pub(crate) body: &'a mut Option<ClientBody>,
    pub(crate) had_body: bool,
    /// What the tries came to that were given up.
    pub(crate) failed: SmallVec<[StatusCode; 2]>,
}

/// The last target tried, and what came of it.
pub(crate) struct DeliveryResult<'a> {
    pub(crate) target: Option<&'a Arc<Target>>,
    pub(crate) answer: Result<Delivered, Failure>,
    /// Has the request counted until its answer has ended.
    pub(crate) busy: Option<Busy>,
}

/// An answer that has begun.
pub(crate) enum Delivered {
    H1(Answer),
    H2(StatusCode, HeaderMap, H2Body),
}

impl Delivered {
    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            Self::H1(Answer::Response(status, ..)) | Self::H2(status, ..) => *status,
            Self::H1(Answer::Switched(..)) => StatusCode::SWITCHING_PROTOCOLS,
        }
    }
}

impl<'a> Delivery<'a> {
    /// Sends the request to one target after another, until one answers or no further try is allowed.
    pub(crate) async fn deliver(&mut self) -> DeliveryResult<'a> {
        let until = self.upstream.retry_timeout.map(deadline);
        let mut tried = Tried::new();
        let mut retries_left = self.upstream.retries;
        let none = || Failure::NoTarget(self.upstream.id.to_string());
        let Some(mut target) = self.upstream.choose(&tried, self.hash) else {
            return DeliveryResult { target: None, answer: Err(none()), busy: None };
        };
        let mut fresh = false;
        let mut busy = self.upstream.engage(target);
        loop {
            let began = self.upstream.begin();
            let broken = match self.attempt(target, fresh).await {
                Ok(answer) => {
                    self.upstream.end(target, began, Duration::ZERO);
                    self.upstream.note(target, Sign::Status(answer.status().as_u16()));
                    return DeliveryResult { target: Some(target), answer: Ok(answer), busy };
                }
                Err(broken) => broken,
            };
            self.core.metrics.upstream_failed();
            tracing::debug!(target = %target.label, error = %broken.failure, "a try failed");
            let repeatable = self.can_repeat(&broken);
            // The target closed a kept connection just as the request set out: that is nobody's failure.
            let closed = matches!(broken.failure, Failure::Exchange { .. });
            if repeatable && closed && broken.reused && broken.silent && !fresh {
                fresh = true;
                continue;
            }
            drop(busy.take());
            if !matches!(broken.failure, Failure::Client(..)) {
                self.upstream.end(target, began, self.timeouts.connect);
            }
            match &broken.failure {
                Failure::Timeout { .. } => self.upstream.note(target, Sign::Late),
                Failure::Unresolved { .. } | Failure::Connect { .. } | Failure::Exchange { .. } => {
                    self.upstream.note(target, Sign::Broken)
                }
                Failure::Client(..) | Failure::NoTarget(_) | Failure::NoUpstream => {}
            }
            tried.push(target.id);
            if !matches!(broken.failure, Failure::Client(..)) {
                self.failed.push(broken.failure.status());
            }
            let in_time = until.is_none_or(|until| Instant::now() < until);
            let again = repeatable && in_time && retries_left > 0;
            match again.then(|| self.upstream.choose(&tried, self.hash)).flatten() {
                Some(next) => (target, fresh, busy) = (next, false, self.upstream.engage(next)),
                None => {
                    // The status that stands for it may be among those that count.
                    if !matches!(broken.failure, Failure::Client(..)) {
                        self.upstream.note(target, Sign::Status(broken.failure.status().as_u16()));
                    }
                    return DeliveryResult { target: Some(target), answer: Err(broken.failure), busy };
                }
            }
            retries_left -= 1;
        }
    }

    /// Whether the same request may be sent again: nothing of it left, or sending it twice does no harm (RFC 9110
    /// section 9.2.2) and no answer had begun; and the body can be sent from its beginning.
    fn can_repeat(&mut self, broken: &Broken) -> bool {
        let harmless = matches!(
            self.head.method,
            Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE
        );
        let allowed = match &broken.failure {
            Failure::Client(..) => false,
            _ => broken.unsent || (harmless && broken.silent && !self.head.websocket),
        };
        let whole = match self.body.as_mut() {
            Some(body) => body.rewind(),
            None => !self.had_body,
        };
        allowed && whole
    }

    async fn attempt(&mut self, target: &Arc<Target>, fresh: bool) -> Result<Delivered, Broken> {
        let sending = &self.head.sending;
        let host = match (&sending.host, &self.upstream.host) {
            (Some(host), _) if sending.overrides_upstream_host => host,
            (Some(host), SentHost::Pass) => host,
            (None, SentHost::Pass) => self.head.host.as_header(),
            (_, SentHost::Node) => &target.authority,
            (_, SentHost::Fixed(host)) => host,
        };
        let greeted = target.tls.as_ref().and_then(|_| self.greeted(target, host));
        let target = greeted.as_ref().unwrap_or(target);
        let client_silence = self.core.settings.limits.body;
        let Self { head, own: forwarded, timeouts, .. } = *self;
        let outgoing = Outgoing { head, host, forwarded, timeouts, client_silence };
        let not_connected = |failure| Broken { failure, silent: true, unsent: true, reused: false };
        let pools = &self.core.pools;
        if target.scheme.is_h2() {
            let connection = pools.multiplexed(target, self.timeouts.connect);
            let connection = Box::pin(connection).await.map_err(not_connected)?;
            let exchange = connection.exchange(outgoing, self.body);
            let (status, headers, body) = Box::pin(exchange).await?;
            return Ok(Delivered::H2(status, headers, body));
        }
        let kept = if fresh { None } else { pools.take(target) };
        let connection = match kept {
            Some(connection) => connection,
            // Boxed, because the future of every request is as large as the largest thing it waits for.
            None => Box::pin(pools.connect(target, self.timeouts.connect)).await.map_err(not_connected)?,
        };
        connection.exchange(outgoing, self.body).await.map(Delivered::H1)
    }

    /// `target` under the name that the request has for it, where neither it nor its upstream says one.
    fn greeted(&self, target: &Arc<Target>, host: &HeaderValue) -> Option<Arc<Target>> {
        let of_client = std::ptr::eq(host, self.head.host.as_header());
        let of_plugin = self.head.sending.host.as_ref().is_some_and(|own| std::ptr::eq(host, own));
        let pools = &self.core.pools;
        if of_client {
            let name = self.head.host.name();
            return pools.greeted(target, name, self.route.matcher.names(name));
        }
        let host = of_plugin.then(|| HostName::parse(host)).flatten()?;
        pools.greeted(target, host.name(), true)
    }
}

/// What the targets said, in the order in which they were tried, where the last of them failed: `502, 503`.
pub(crate) fn told(failed: &[StatusCode], last: Option<StatusCode>) -> Option<HeaderValue> {
    if !last.or(failed.last().copied())?.is_server_error() {
        return None;
    }
    let all: Vec<&str> = failed.iter().chain(&last).map(StatusCode::as_str).collect();
    HeaderValue::try_from(all.join(", ")).ok()
}
