//! Memory to read into from clients and to write from to both sides, which a core's connections hold only while they need
//! it.

use std::{
    cell::RefCell,
    io,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::BytesMut;
use tokio::io::AsyncRead;

/// Room of a new buffer.
pub(crate) const ROOM: usize = 16 * 1024;
/// Room below which a buffer is not read into any more.
const LEAST: usize = ROOM / 4;
/// Most buffers that are kept.
const MOST: usize = 64;

/// The buffers of one core that nobody uses.
#[derive(Clone, Debug, Default)]
pub(crate) struct Buffers(Rc<RefCell<Vec<BytesMut>>>);

impl Buffers {
    /// An empty one.
    pub(crate) fn take(&self) -> BytesMut {
        self.0.borrow_mut().pop().unwrap_or_else(|| BytesMut::with_capacity(ROOM))
    }

    /// Takes `buffer`'s memory where that is of use to others, and leaves it without. It must hold nothing.
    pub(crate) fn give(&self, buffer: &mut BytesMut) {
        let mut given = std::mem::take(buffer);
        given.clear();
        let mut spare = self.0.borrow_mut();
        // What came of it may be in use still, or it may have grown.
        if spare.len() < MOST && given.try_reclaim(ROOM) && given.capacity() <= 2 * ROOM {
            spare.push(given);
        }
    }

    /// Reads into `buffer`, which has memory afterwards only where it holds something, or pieces of it are in use.
    pub(crate) fn poll_read<S: AsyncRead + Unpin>(
        &self,
        cx: &mut Context<'_>,
        stream: &mut S,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        if buffer.is_empty() {
            // What is left of one that others hold pieces of is read into, too: the pieces hold all of it anyway.
            if buffer.capacity() < LEAST {
                self.give(buffer);
                *buffer = self.take();
            }
        } else if buffer.capacity() - buffer.len() < ROOM / 2 {
            buffer.reserve(ROOM);
        }
        let reading = std::pin::pin!(tokio::io::AsyncReadExt::read_buf(stream, buffer));
        let read = Future::poll(reading, cx);
        if buffer.is_empty() && buffer.try_reclaim(ROOM) {
            self.give(buffer);
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_use_elsewhere_is_not_handed_out_again() {
        let buffers = Buffers::default();
        let mut buffer = buffers.take();
        buffer.extend_from_slice(&[1; ROOM]);
        let used = buffer.split_to(ROOM).freeze();
        buffers.give(&mut buffer);
        assert_eq!(buffer.capacity(), 0);
        let mut next = buffers.take();
        next.extend_from_slice(&[2; ROOM]);
        assert!(used.iter().all(|byte| *byte == 1));
    }

    #[test]
    fn memory_goes_round() {
        let buffers = Buffers::default();
        let mut buffer = buffers.take();
        buffer.extend_from_slice(b"GET ");
        let memory = buffer.as_ptr();
        buffers.give(&mut buffer);
        assert_eq!((buffers.take().as_ptr(), buffer.capacity()), (memory, 0));
    }

    #[tokio::test]
    async fn pieces_that_come_one_by_one_share_their_memory() {
        let buffers = Buffers::default();
        let (mut sender, mut receiver) = tokio::io::duplex(64);
        let (mut buffer, mut pieces) = (BytesMut::new(), Vec::new());
        for _ in 0..(ROOM - LEAST) / 64 {
            tokio::io::AsyncWriteExt::write_all(&mut sender, &[1; 64]).await.unwrap();
            let read = std::future::poll_fn(|cx| buffers.poll_read(cx, &mut receiver, &mut buffer)).await;
            assert_eq!(read.unwrap(), 64);
            pieces.push(buffer.split().freeze());
        }
        let first = pieces[0].as_ptr() as usize;
        assert!(pieces.iter().all(|piece| (first..first + ROOM).contains(&(piece.as_ptr() as usize))));
    }
}
