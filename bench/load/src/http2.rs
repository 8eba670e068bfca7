//! HTTP/2 requests that share a connection.

use anyhow::{Context, bail};
use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use http::Request;

use crate::{connect::Stream, http1::Seen, steps};

/// Bytes that a stream, and a connection, may send unasked: large bodies are not to wait for us.
const WINDOW: u32 = 4 * 1024 * 1024;

/// A new connection, driven by a task of its own.
pub(crate) async fn open(stream: Stream) -> anyhow::Result<SendRequest<Bytes>> {
    let (send, connection) = Builder::new()
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .enable_push(false)
        .handshake(stream)
        .await?;
    tokio::task::spawn_local(async move {
        // Whoever waits for an answer on it hears of the end.
        let _ = connection.await;
    });
    Ok(send)
}

/// The request of a plan that has one, without variables and without body.
pub(crate) fn request(requests: &[steps::Request]) -> anyhow::Result<Request<()>> {
    let [request] = requests else { bail!("HTTP/2 takes one step") };
    let step = &request.step;
    if step.body.is_some() || request.captures() || step.target.contains('{') {
        bail!("HTTP/2 takes no bodies and no variables");
    }
    let mut built =
        Request::builder().method(step.method.as_str()).uri(format!("https://localhost{}", step.target));
    for line in &step.headers {
        let (name, value) = line.split_once(':').context("a header line without colon")?;
        built = built.header(name.trim(), value.trim());
    }
    Ok(built.body(())?)
}

/// Sends it and reads the answer to its end.
pub(crate) async fn exchange(send: &SendRequest<Bytes>, request: &Request<()>) -> Result<Seen, h2::Error> {
    let mut send = send.clone().ready().await?;
    let (answer, _) = send.send_request(request.clone(), true)?;
    let answer = answer.await?;
    let status = answer.status().as_u16();
    let (mut body, mut length) = (answer.into_body(), 0);
    while let Some(bytes) = body.data().await {
        let bytes = bytes?;
        length += bytes.len();
        body.flow_control().release_capacity(bytes.len())?;
    }
    Ok(Seen { status, length })
}
