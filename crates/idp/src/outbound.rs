//! What the domain asks of the network: documents that clients name, and messages to them.
//!
//! Every URL here is a stranger's, so whoever implements [`Outbound`] guards against forged requests: no connection to
//! this machine or a private network that the configuration does not allow, no redirects, an end in time.

use std::{future::Future, pin::Pin};

use crate::idp::Core;

/// Bytes of a document that a client names.
pub(crate) const MAX_DOCUMENT: usize = 256 * 1024;

/// One request. With a body it is a POST, without one a GET.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// Absolute, http or https.
    pub url: &'a str,
    /// Further headers, names in lower case.
    pub headers: &'a [(&'static str, &'a str)],
    /// What is posted.
    pub body: Option<&'a [u8]>,
    /// Bytes that the answer may have.
    pub max_body: usize,
}

/// What came back, complete.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Redirects are answers like any other.
    pub status: u16,
    /// The body, not compressed.
    pub body: Vec<u8>,
}

/// Why there is no answer: refused by the guard, unreachable, late, too long. For the log; no client is told.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct OutboundError(pub String);

/// A call on its way.
pub type Exchange<'a> = Pin<Box<dyn Future<Output = Result<Reply, OutboundError>> + Send + 'a>>;

/// The way out.
pub trait Outbound: Send + Sync {
    /// Whether the guard lets a URL through, as far as it can be told without looking its host up.
    fn permits(&self, url: &str) -> Result<(), OutboundError>;
    /// Sends one request and reads the whole answer.
    fn send<'a>(&'a self, call: Call<'a>) -> Exchange<'a>;
}

impl Core {
    /// The document at `url`; `None`, and the reason in the log, where it cannot be had.
    pub(crate) async fn document(&self, url: &str, accept: &str) -> Option<Vec<u8>> {
        let call = Call { url, headers: &[("accept", accept)], body: None, max_body: MAX_DOCUMENT };
        match self.outbound.send(call).await {
            Ok(reply) if reply.status == 200 => Some(reply.body),
            Ok(reply) => {
                tracing::info!(status = reply.status, "a document that a client names cannot be fetched");
                None
            }
            Err(error) => {
                tracing::info!(%error, "a document that a client names cannot be fetched");
                None
            }
        }
    }
}
