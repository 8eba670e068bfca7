//! HTTP/2: a client on the `h2` crate, and frames built by hand for what no library would send.

use std::net::Ipv4Addr;

use bytes::Bytes;
use h2::client::{self, SendRequest};
use http::{HeaderMap, Request as HttpRequest};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{http1::Stream, within};

/// An answer over HTTP/2.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Its status code.
    pub(crate) status: u16,
    /// Its headers.
    pub(crate) headers: HeaderMap,
    /// Its body.
    pub(crate) body: Vec<u8>,
    /// Its trailers.
    pub(crate) trailers: Option<HeaderMap>,
}

/// A client's connection.
pub(crate) struct Client(SendRequest<Bytes>);

impl Client {
    /// By prior knowledge, to a plain port of this machine.
    pub(crate) async fn open(port: u16) -> Self {
        Self::over(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap()).await
    }

    /// Over a stream that is open already.
    pub(crate) async fn over(stream: impl Stream + 'static) -> Self {
        let (sender, connection) = within("the HTTP/2 preface", client::handshake(stream)).await.unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    /// Sends a request with its whole body and optional trailers.
    pub(crate) async fn send(
        &self,
        request: HttpRequest<Vec<u8>>,
        trailers: Option<HeaderMap>,
    ) -> Result<Answer, h2::Error> {
        within("an HTTP/2 answer", async {
            let mut sender = self.0.clone().ready().await?;
            let (parts, body) = request.into_parts();
            let only_head = body.is_empty() && trailers.is_none();
            let (response, mut stream) =
                sender.send_request(HttpRequest::from_parts(parts, ()), only_head)?;
            if !only_head {
                stream.send_data(body.into(), trailers.is_none())?;
            }
            if let Some(trailers) = trailers {
                stream.send_trailers(trailers)?;
            }
            let (parts, mut incoming) = response.await?.into_parts();
            let mut body = Vec::new();
            while let Some(data) = incoming.data().await {
                let data = data?;
                let _ = incoming.flow_control().release_capacity(data.len());
                body.extend_from_slice(&data);
            }
            let trailers = incoming.trailers().await?;
            Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body, trailers })
        })
        .await
    }

    /// A `GET` for `http://localhost`.
    pub(crate) async fn get(&self, target: &str) -> Result<Answer, h2::Error> {
        let request = HttpRequest::get(format!("http://localhost{target}")).body(Vec::new()).unwrap();
        self.send(request, None).await
    }
}

/// Frame types and flags of RFC 9113 section 6.
pub(crate) const DATA: u8 = 0;
/// HEADERS.
pub(crate) const HEADERS: u8 = 1;
/// PRIORITY.
pub(crate) const PRIORITY: u8 = 2;
/// RST_STREAM.
pub(crate) const RST_STREAM: u8 = 3;
/// SETTINGS.
pub(crate) const SETTINGS: u8 = 4;
/// PING.
pub(crate) const PING: u8 = 6;
/// GOAWAY.
pub(crate) const GOAWAY: u8 = 7;
/// WINDOW_UPDATE.
pub(crate) const WINDOW_UPDATE: u8 = 8;
/// CONTINUATION.
pub(crate) const CONTINUATION: u8 = 9;
/// On DATA and HEADERS.
pub(crate) const END_STREAM: u8 = 1;
/// On SETTINGS and PING.
pub(crate) const ACK: u8 = 1;
/// On HEADERS and CONTINUATION.
pub(crate) const END_HEADERS: u8 = 4;

/// ENHANCE_YOUR_CALM of RFC 9113 section 7.
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;
/// COMPRESSION_ERROR.
pub(crate) const COMPRESSION_ERROR: u32 = 9;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// One frame as read.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    /// Its type.
    pub(crate) kind: u8,
    /// Its flags.
    pub(crate) flags: u8,
    /// Its stream.
    pub(crate) stream: u32,
    /// What it carries.
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The error code of a GOAWAY or RST_STREAM.
    pub(crate) fn error(&self) -> Option<u32> {
        let code = match self.kind {
            GOAWAY => self.payload.get(4..8)?,
            RST_STREAM => self.payload.get(..4)?,
            _ => return None,
        };
        Some(u32::from_be_bytes(code.try_into().unwrap()))
    }
}

/// The bytes of a frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// A header block of literals that are neither indexed nor compressed (RFC 7541 section 6.2.2).
pub(crate) fn block(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        string(&mut out, name);
        string(&mut out, value);
    }
    out
}

fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    integer(out, 7, bytes.len());
    out.extend_from_slice(bytes);
}

/// An integer with a prefix of `bits` (RFC 7541 section 5.1), the other bits of its first byte being zero.
fn integer(out: &mut Vec<u8>, bits: u32, value: usize) {
    let limit = (1_usize << bits) - 1;
    if value < limit {
        out.push(u8::try_from(value).unwrap());
        return;
    }
    out.push(u8::try_from(limit).unwrap());
    let mut rest = value - limit;
    while rest >= 128 {
        out.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    out.push(u8::try_from(rest).unwrap());
}

/// The pseudo-headers of a request.
pub(crate) fn pseudo<'a>(method: &'a str, path: &'a str) -> Vec<(&'a [u8], &'a [u8])> {
    vec![
        (b":method", method.as_bytes()),
        (b":scheme", b"http"),
        (b":authority", b"localhost"),
        (b":path", path.as_bytes()),
    ]
}

/// A connection on which any frame can be sent.
pub(crate) struct Frames {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
}

impl Frames {
    /// By prior knowledge, to a plain port of this machine. Preface and settings are exchanged.
    pub(crate) async fn open(port: u16) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        let mut frames = Self { stream: Box::new(stream), buffer: Vec::new() };
        frames.send(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await;
        let first = frames.next().await.expect("the server's settings");
        assert_eq!(first.kind, SETTINGS);
        frames.send(&frame(SETTINGS, ACK, 0, &[])).await;
        frames
    }

    /// Sends bytes; whether they all went.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> bool {
        within("sending frames", self.stream.write_all(bytes)).await.is_ok()
    }

    /// Sends bytes while reading what comes, so that neither side waits for the other. The frames that came, and
    /// whether the connection is still open.
    pub(crate) async fn flood(&mut self, bytes: &[u8]) -> (Vec<Frame>, bool) {
        let (mut reader, mut writer) = tokio::io::split(&mut self.stream);
        let buffer = &mut self.buffer;
        let open = within("a flood", async {
            let write = writer.write_all(bytes);
            tokio::pin!(write);
            loop {
                tokio::select! {
                    sent = &mut write => return sent.is_ok(),
                    read = reader.read_buf(buffer) => if read.unwrap_or(0) == 0 { return false },
                }
            }
        })
        .await;
        let mut frames = Vec::new();
        while let Some(frame) = take(&mut self.buffer) {
            frames.push(frame);
        }
        (frames, open)
    }

    /// The next frame; `None` when the connection ended.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        within("a frame", async {
            loop {
                if let Some(frame) = take(&mut self.buffer) {
                    return Some(frame);
                }
                if self.stream.read_buf(&mut self.buffer).await.unwrap_or(0) == 0 {
                    return None;
                }
            }
        })
        .await
    }

    /// Reads on until a frame that `wanted` takes; `None` when the connection ended first.
    pub(crate) async fn find(&mut self, wanted: impl Fn(&Frame) -> bool) -> Option<Frame> {
        loop {
            match self.next().await {
                Some(frame) if wanted(&frame) => return Some(frame),
                Some(_) => {}
                None => return None,
            }
        }
    }

    /// Sends a whole request of these fields on a stream.
    pub(crate) async fn request(&mut self, stream: u32, fields: &[(&[u8], &[u8])]) {
        let flags = END_STREAM | END_HEADERS;
        self.send(&frame(HEADERS, flags, stream, &block(fields))).await;
    }

    /// How the server ended the stream: its reset, the connection's end, or the first bytes of an answer's head.
    pub(crate) async fn outcome(&mut self, stream: u32) -> Outcome {
        let ends = |frame: &Frame| {
            frame.kind == GOAWAY || (frame.stream == stream && matches!(frame.kind, HEADERS | RST_STREAM))
        };
        match self.find(ends).await {
            None => Outcome::Closed(None),
            Some(frame) => match frame.kind {
                GOAWAY => Outcome::Closed(frame.error()),
                RST_STREAM => Outcome::Reset(frame.error().unwrap_or(0)),
                _ => Outcome::Answered(frame.payload),
            },
        }
    }
}

/// How a stream ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// RST_STREAM with this code.
    Reset(u32),
    /// GOAWAY with this code, or the end of the connection.
    Closed(Option<u32>),
    /// An answer with this header block.
    Answered(Vec<u8>),
}

impl Outcome {
    /// Whether an answer's status is 400: the static table has it at index 12 (RFC 7541 appendix A).
    pub(crate) fn is_bad_request(&self) -> bool {
        matches!(self, Self::Answered(block) if block.first() == Some(&(0x80 | 12)))
    }
}

fn take(buffer: &mut Vec<u8>) -> Option<Frame> {
    let head: [u8; 9] = buffer.get(..9)?.try_into().unwrap();
    let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
    let payload = buffer.get(9..9 + length)?.to_vec();
    buffer.drain(..9 + length);
    let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
    Some(Frame { kind: head[3], flags: head[4], stream, payload })
}
