//! The body of an answer on its way to the client.

use std::{
    error::Error,
    fmt,
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use base::UnixMillis;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, uri::PathAndQuery};
use http_body::{Body, Frame, SizeHint};

use crate::{
    access_log::Record,
    chain::Observers,
    consumer::Attached,
    core::Core,
    plugin::{Exchange, Peer, RequestHead},
    route::Route,
    upstream::{Busy, H1Body, H2Body},
};

/// What the client reads, and what is noted when it is done.
#[derive(Debug)]
pub(crate) struct GateBody {
    source: Source,
    /// Written to the log when the body ends, however it ends.
    note: Option<Note>,
}

#[derive(Debug)]
pub(crate) enum Source {
    Full(Option<Bytes>),
    H1(H1Body),
    H2(H2Body),
}

impl Source {
    /// All of it, where that is not more than `limit` bytes; trailers are left out.
    pub(crate) async fn whole(self, limit: usize) -> Result<Bytes, String> {
        if let Self::Full(bytes) = self {
            return Ok(bytes.unwrap_or_default());
        }
        let mut body = GateBody::new(self, None);
        let mut whole = BytesMut::new();
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            let frame = frame.map_err(|error| error.to_string())?;
            let Ok(data) = frame.into_data() else { continue };
            if data.len() > limit - whole.len() {
                return Err(format!("the answer is longer than {limit} bytes"));
            }
            whole.extend_from_slice(&data);
        }
        Ok(whole.freeze())
    }
}

#[derive(Debug)]
pub(crate) struct Note {
    pub(crate) core: Rc<Core>,
    /// Present until this is dropped.
    pub(crate) record: Option<Box<Record>>,
    /// What plugins are told, where any of them asked.
    pub(crate) observed: Option<Box<Observed>>,
    /// Has the target counted as busy until this is dropped.
    pub(crate) _busy: Option<Busy>,
}

/// What plugins are told when the answer has ended.
pub(crate) struct Observed {
    pub(crate) plugins: Observers,
    pub(crate) at: UnixMillis,
    /// By the clock that nobody moves.
    pub(crate) began: Duration,
    pub(crate) head: Option<Box<RequestHead>>,
    pub(crate) headers: Option<HeaderMap>,
    pub(crate) peer: Peer,
    pub(crate) route: Arc<Route>,
    pub(crate) attached: Option<Attached>,
    pub(crate) status: StatusCode,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) upstream_took: Option<Duration>,
    pub(crate) upstream: Option<Arc<str>>,
    pub(crate) upstream_status: Option<StatusCode>,
    pub(crate) upstream_target: Option<PathAndQuery>,
    pub(crate) failure: Option<Box<str>>,
}

impl Observed {
    fn tell(&self, now: Duration) {
        let exchange = Exchange {
            at: self.at,
            head: self.head.as_deref(),
            headers: self.headers.as_ref(),
            peer: &self.peer,
            route: &self.route,
            consumer: self.attached.as_ref().map(Attached::consumer),
            credential: self.attached.as_ref().and_then(Attached::credential),
            status: self.status,
            received: self.received,
            sent: self.sent,
            took: now.saturating_sub(self.began),
            upstream_took: self.upstream_took,
            upstream: self.upstream.as_deref(),
            upstream_status: self.upstream_status,
            upstream_target: self.upstream_target.as_ref(),
            failure: self.failure.as_deref(),
        };
        for plugin in &self.plugins {
            plugin.log(&exchange);
        }
    }
}

impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observed").field("route", &self.route.id).finish_non_exhaustive()
    }
}

impl GateBody {
    pub(crate) const fn new(source: Source, note: Option<Note>) -> Self {
        Self { source, note }
    }

    /// Whether all of it is here.
    pub(crate) fn is_at_hand(&self) -> bool {
        match &self.source {
            Source::Full(_) => true,
            Source::H1(body) => body.is_at_hand(),
            Source::H2(_) => self.is_end_stream(),
        }
    }
}

impl Note {
    fn see(&mut self, frame: &Result<Frame<Bytes>, BoxedError>) {
        match frame {
            Ok(frame) => {
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                self.record.iter_mut().for_each(|record| record.bytes += bytes);
                self.observed.iter_mut().for_each(|observed| observed.sent += bytes);
            }
            Err(error) => {
                let failure: Box<str> = error.to_string().into();
                self.observed.iter_mut().for_each(|observed| observed.failure = Some(failure.clone()));
                self.record.iter_mut().for_each(|record| record.failure = Some(failure.clone()));
            }
        }
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        if let Some(record) = self.record.take() {
            self.core.log.add(&record, &self.core.metrics);
        }
        if let Some(observed) = self.observed.take() {
            observed.tell(self.core.settings.clock.monotonic());
        }
    }
}

type BoxedError = Box<dyn Error + Send + Sync>;

impl Body for GateBody {
    type Data = Bytes;
    type Error = BoxedError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxedError>>> {
        let this = self.get_mut();
        let frame = match &mut this.source {
            Source::Full(bytes) => Poll::Ready(
                bytes.take().filter(|bytes| !bytes.is_empty()).map(|bytes| Ok(Frame::data(bytes))),
            ),
            Source::H1(body) => {
                Pin::new(body).poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(BoxedError::from)))
            }
            Source::H2(body) => {
                Pin::new(body).poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(BoxedError::from)))
            }
        };
        if let (Some(note), Poll::Ready(Some(frame))) = (this.note.as_mut(), &frame) {
            note.see(frame);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Full(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Source::H1(body) => body.is_end_stream(),
            Source::H2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Source::H1(body) => body.size_hint(),
            Source::H2(body) => body.size_hint(),
        }
    }
}
