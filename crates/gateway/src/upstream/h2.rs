//! HTTP/2 towards targets, for gRPC.

use std::{
    cell::Cell,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, header, uri};
use http_body::{Body, Frame, SizeHint};
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::{
    connect::Stream,
    deadline,
    h1::{Broken, Outgoing},
    live::Target,
};
use crate::{
    client_body::{BodyError, ClientBody},
    error::Failure,
    local::LocalExecutor,
};

/// Exchanges put on one connection before another is opened. Servers commonly allow 100 and more.
const MAX_EXCHANGES: usize = 100;

/// An HTTP/2 connection of one core.
#[derive(Clone, Debug)]
pub(crate) struct Multiplexed {
    sender: http2::SendRequest<OutgoingBody>,
    target: Arc<Target>,
    load: Rc<Load>,
}

#[derive(Debug)]
struct Load {
    exchanges: Cell<usize>,
    last_used: Cell<Instant>,
}

impl Multiplexed {
    pub(super) async fn start(stream: Stream, target: &Arc<Target>) -> Result<Self, Failure> {
        let failed = |error: hyper::Error| Failure::Connect {
            target: target.label.to_string(),
            reason: error.to_string(),
        };
        let (sender, connection) = http2::Builder::new(LocalExecutor)
            .timer(TokioTimer::new())
            .keep_alive_interval(std::time::Duration::from_secs(30))
            .max_header_list_size(64 * 1024)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(failed)?;
        tokio::task::spawn_local(async move {
            // How it ended shows in the exchanges that were on it.
            let _ = connection.await;
        });
        let load = Rc::new(Load { exchanges: Cell::new(0), last_used: Cell::new(Instant::now()) });
        Ok(Self { sender, target: Arc::clone(target), load })
    }

    pub(super) fn has_room(&self) -> bool {
        !self.sender.is_closed() && self.sender.is_ready() && self.load.exchanges.get() < MAX_EXCHANGES
    }

    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    pub(super) fn is_stale(&self, now: Instant) -> bool {
        self.load.exchanges.get() == 0
            && now.duration_since(self.load.last_used.get()) > self.target.keep_alive.idle_timeout
    }

    /// Sends the request and waits for the head of the answer.
    pub(crate) async fn exchange(
        mut self,
        outgoing: Outgoing<'_>,
        body: &mut Option<ClientBody>,
    ) -> Result<(StatusCode, HeaderMap, H2Body), Broken> {
        let label = self.target.label.to_string();
        let broken = |failure, unsent| Broken { failure, silent: true, unsent, reused: true };
        let request = self.request(outgoing, body.take()).map_err(|failure| broken(failure, true))?;
        let busy = Busy::new(Rc::clone(&self.load));
        match timeout(outgoing.timeouts.read, self.sender.try_send_request(request)).await {
            Err(_) => Err(broken(Failure::Timeout { target: label, what: "answer" }, false)),
            Ok(Ok(response)) => {
                let (mut parts, incoming) = response.into_parts();
                crate::hygiene::remove_hop_by_hop(&mut parts.headers);
                let body = H2Body {
                    incoming,
                    timer: None,
                    limit: outgoing.timeouts.read,
                    label: label.into(),
                    _busy: busy,
                };
                Ok((parts.status, parts.headers, body))
            }
            Ok(Err(mut error)) => {
                let request = error.take_message();
                let unsent = request.is_some();
                *body = request.and_then(|request| request.into_body().0);
                let reason = error.into_error().to_string();
                Err(broken(Failure::Exchange { target: label, reason }, unsent))
            }
        }
    }

    fn request(
        &self,
        outgoing: Outgoing<'_>,
        body: Option<ClientBody>,
    ) -> Result<Request<OutgoingBody>, Failure> {
        let unusable =
            |_| Failure::Client(StatusCode::BAD_REQUEST, "the request cannot be expressed in HTTP/2");
        let scheme = if self.target.scheme.is_tls() { uri::Scheme::HTTPS } else { uri::Scheme::HTTP };
        let authority = outgoing.host.to_str().unwrap_or_default();
        let uri = Uri::builder()
            .scheme(scheme)
            .authority(authority)
            .path_and_query(outgoing.head.target.clone())
            .build()
            .map_err(unusable)?;
        let mut request = Request::new(OutgoingBody(body));
        *request.method_mut() = outgoing.head.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = outgoing.head.headers.clone();
        request.headers_mut().remove(header::HOST);
        if outgoing.head.headers.get(header::TE).is_some() {
            request.headers_mut().insert(header::TE, HeaderValue::from_static("trailers"));
        }
        Ok(request)
    }
}

/// Counts an exchange as long as it, or its answer's body, lives.
#[derive(Debug)]
struct Busy(Rc<Load>);

impl Busy {
    fn new(load: Rc<Load>) -> Self {
        load.exchanges.set(load.exchanges.get() + 1);
        Self(load)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.exchanges.set(self.0.exchanges.get().saturating_sub(1));
        self.0.last_used.set(Instant::now());
    }
}

/// The client's body in hyper's terms.
#[derive(Debug)]
struct OutgoingBody(Option<ClientBody>);

impl Body for OutgoingBody {
    type Data = Bytes;
    type Error = OutgoingBroken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, OutgoingBroken>>> {
        let Some(body) = self.0.as_mut() else { return Poll::Ready(None) };
        Poll::Ready(match ready!(body.poll_data(cx)) {
            Some(Ok(data)) => Some(Ok(Frame::data(data))),
            Some(Err(error)) => Some(Err(OutgoingBroken(error))),
            None => body.take_trailers().map(|trailers| Ok(Frame::trailers(trailers))),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|body| body.is_ended() && !body.has_trailers())
    }
}

/// The client's body did not come to its end.
#[derive(Debug, thiserror::Error)]
#[error("the request's body broke off: {0:?}")]
struct OutgoingBroken(BodyError);

/// The body of an HTTP/2 answer, trailers included.
#[derive(Debug)]
pub(crate) struct H2Body {
    incoming: Incoming,
    timer: Option<Pin<Box<Sleep>>>,
    limit: std::time::Duration,
    label: Arc<str>,
    _busy: Busy,
}

/// Why the body of an HTTP/2 answer broke off.
#[derive(Debug, thiserror::Error)]
#[error("the answer of {0} broke off: {1}")]
pub(crate) struct H2Broken(Arc<str>, String);

impl Body for H2Body {
    type Data = Bytes;
    type Error = H2Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, H2Broken>>> {
        let this = &mut *self;
        match Pin::new(&mut this.incoming).poll_frame(cx) {
            Poll::Ready(frame) => {
                this.timer = None;
                Poll::Ready(
                    frame.map(|frame| frame.map_err(|error| H2Broken(this.label.clone(), error.to_string()))),
                )
            }
            Poll::Pending => {
                let limit = this.limit;
                let timer = this.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline(limit))));
                ready!(timer.as_mut().poll(cx));
                Poll::Ready(Some(Err(H2Broken(this.label.clone(), "it was silent for too long".to_owned()))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
