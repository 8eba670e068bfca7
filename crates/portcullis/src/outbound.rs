//! The identity provider's way out: the guarded client, as its domain asks for it.

use std::time::Duration;

use axum::{
    body::Bytes,
    http::{HeaderName, HeaderValue},
};
use fetch::{Fetcher, Request};
use idp::{Call, Exchange, Outbound, OutboundError, Reply};

/// From now to the last byte of the answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Requests to addresses that clients of the identity provider name. No connection serves two of them.
pub(crate) struct Guarded(pub(crate) Fetcher);

impl Outbound for Guarded {
    fn permits(&self, url: &str) -> Result<(), OutboundError> {
        self.0.permits(url).map_err(|refusal| OutboundError(refusal.to_string()))
    }

    fn send<'a>(&'a self, call: Call<'a>) -> Exchange<'a> {
        Box::pin(async move {
            let mut request = match call.body {
                Some(body) => Request::post(call.url, Bytes::copy_from_slice(body)),
                None => Request::get(call.url),
            };
            request.timeout = TIMEOUT;
            request.max_body = call.max_body;
            request.keep_alive = false;
            for (name, value) in call.headers {
                let value = HeaderValue::from_str(value).map_err(|_| no_header(name))?;
                request.headers.insert(HeaderName::from_static(name), value);
            }
            let response = self.0.send(request).await.map_err(|error| OutboundError(error.to_string()))?;
            Ok(Reply { status: response.status.as_u16(), body: response.body.to_vec() })
        })
    }
}

fn no_header(name: &str) -> OutboundError {
    OutboundError(format!("the value of the header {name} cannot be sent"))
}
