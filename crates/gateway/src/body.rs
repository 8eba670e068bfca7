//! The body of an answer on its way to the client.

use std::{
    error::Error,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::{
    access_log::Record,
    core::Core,
    upstream::{H1Body, H2Body},
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

#[derive(Debug)]
pub(crate) struct Note {
    pub(crate) core: Rc<Core>,
    /// Present until this is dropped.
    pub(crate) record: Option<Box<Record>>,
}

impl GateBody {
    pub(crate) const fn new(source: Source, note: Option<Note>) -> Self {
        Self { source, note }
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        if let Some(record) = self.record.take() {
            self.core.log.add(*record, &self.core.metrics);
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
        let record = this.note.as_mut().and_then(|note| note.record.as_mut());
        if let (Some(record), Poll::Ready(frame)) = (record, &frame) {
            match frame {
                Some(Ok(frame)) => record.bytes += frame.data_ref().map_or(0, |data| data.len() as u64),
                Some(Err(error)) => record.failure = Some(error.to_string().into()),
                None => {}
            }
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
