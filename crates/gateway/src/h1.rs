//! HTTP/1.1 on the wire (RFC 9112): what reading requests and reading answers have in common, and writing them.

pub(crate) mod body;
pub(crate) mod buffers;
pub(crate) mod lines;
pub(crate) mod outbox;
