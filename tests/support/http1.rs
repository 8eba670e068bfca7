//! HTTP/1.1 in bytes: a reader of messages, a connection that sends whatever it is told, a small client.

use std::net::Ipv4Addr;

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};

use super::within;

/// Anything that bytes go through.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A message as it was on the wire, split into its parts and nothing more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    /// Request line or status line.
    pub(crate) start: String,
    /// Header lines in order, names as sent.
    pub(crate) headers: Vec<(String, String)>,
    /// The content, without chunk framing.
    pub(crate) body: Vec<u8>,
    /// Trailer lines of a chunked body.
    pub(crate) trailers: Vec<(String, String)>,
}

impl Message {
    /// All values of a header, in order.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.headers
            .iter()
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect()
    }

    /// The only value of a header. Two lines of it fail the test.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() <= 1, "{name} came more than once: {all:?}");
        all.first().copied()
    }
}

/// What a reader found at the front of a buffer.
pub(crate) enum Read {
    /// A whole message, and how many bytes it took.
    Whole(Message, usize),
    /// More bytes are needed.
    Partial,
    /// Bytes that are no message.
    Malformed(String),
}

/// How the end of a message's body is known, beside its own headers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// No framing means no body.
    Request,
    /// No framing means until the end of the connection.
    Response,
    /// An answer to HEAD, or one whose status has no body.
    Bodiless,
}

/// Reads one message. `ended` says that no more bytes will come.
pub(crate) fn read(bytes: &[u8], kind: Kind, ended: bool) -> Read {
    let Some(end) = find(bytes, b"\r\n\r\n") else { return Read::Partial };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let mut message = Message { start: lines.next().unwrap_or_default().to_owned(), ..Message::default() };
    for line in lines {
        match line.split_once(':') {
            Some((name, value)) => message.headers.push((name.to_owned(), value.trim().to_owned())),
            None => return Read::Malformed(format!("a header line without a colon: {line:?}")),
        }
    }
    let at = end + 4;
    let rest = &bytes[at..];
    let status = message.start.split(' ').nth(1).and_then(|code| code.parse::<u16>().ok()).unwrap_or(0);
    let bodiless = kind == Kind::Bodiless
        || (kind == Kind::Response && (status < 200 || status == 204 || status == 304));
    if bodiless {
        return Read::Whole(message, at);
    }
    if message.all("transfer-encoding").iter().any(|coding| coding.eq_ignore_ascii_case("chunked")) {
        return match read_chunks(rest) {
            Ok(Some((body, trailers, length))) => {
                message.body = body;
                message.trailers = trailers;
                Read::Whole(message, at + length)
            }
            Ok(None) => Read::Partial,
            Err(why) => Read::Malformed(why),
        };
    }
    match message.all("content-length").first().map(|length| length.parse::<usize>()) {
        Some(Ok(length)) if rest.len() >= length => {
            message.body = rest[..length].to_vec();
            Read::Whole(message, at + length)
        }
        Some(Ok(_)) => Read::Partial,
        Some(Err(_)) => Read::Malformed("a Content-Length that is no number".to_owned()),
        None if kind == Kind::Request => Read::Whole(message, at),
        None if ended => {
            message.body = rest.to_vec();
            Read::Whole(message, bytes.len())
        }
        None => Read::Partial,
    }
}

type Chunks = (Vec<u8>, Vec<(String, String)>, usize);

fn read_chunks(bytes: &[u8]) -> Result<Option<Chunks>, String> {
    let (mut at, mut body) = (0, Vec::new());
    loop {
        let Some(end) = find(&bytes[at..], b"\r\n") else { return Ok(None) };
        let line = String::from_utf8_lossy(&bytes[at..at + end]).into_owned();
        let size = line.split(';').next().unwrap_or_default().trim();
        let size =
            usize::from_str_radix(size, 16).map_err(|_| format!("a chunk size that is none: {line:?}"))?;
        at += end + 2;
        if size == 0 {
            break;
        }
        let Some(chunk) = bytes.get(at..at + size + 2) else { return Ok(None) };
        if !chunk.ends_with(b"\r\n") {
            return Err("a chunk without its line end".to_owned());
        }
        body.extend_from_slice(&chunk[..size]);
        at += size + 2;
    }
    let mut trailers = Vec::new();
    loop {
        let Some(end) = find(&bytes[at..], b"\r\n") else { return Ok(None) };
        let line = String::from_utf8_lossy(&bytes[at..at + end]).into_owned();
        at += end + 2;
        match line.split_once(':') {
            Some((name, value)) => trailers.push((name.to_owned(), value.trim().to_owned())),
            None if line.is_empty() => return Ok(Some((body, trailers, at))),
            None => return Err(format!("a trailer line without a colon: {line:?}")),
        }
    }
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    /// Its status code.
    pub(crate) status: u16,
    /// All of it.
    pub(crate) message: Message,
}

impl Response {
    fn new(message: Message) -> Self {
        let status = message.start.split(' ').nth(1).and_then(|code| code.parse().ok());
        Self { status: status.unwrap_or_else(|| panic!("not a status line: {:?}", message.start)), message }
    }

    /// The only value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.message.header(name)
    }

    /// All values of a header.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.message.all(name)
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.message.body).into_owned()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.message.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A client's connection that sends bytes as they are.
pub(crate) struct Connection {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
    ended: bool,
}

impl Connection {
    /// A plain connection to a port of this machine.
    pub(crate) async fn open(port: u16) -> Self {
        Self::over(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap())
    }

    /// Over a stream that is open already.
    pub(crate) fn over(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::new(stream), buffer: Vec::new(), ended: false }
    }

    /// Sends bytes. A peer that has closed already is no failure here: the answer tells.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        let sent =
            within("sending", async { self.stream.write_all(bytes).await.and(self.stream.flush().await) });
        let _ = sent.await;
    }

    /// Says that nothing more will be sent, and keeps reading.
    pub(crate) async fn half_close(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// The next answer; `None` when the connection ended without one.
    pub(crate) async fn response(&mut self) -> Option<Response> {
        self.response_of(Kind::Response).await
    }

    /// The next answer, to a request of this method.
    pub(crate) async fn response_of(&mut self, kind: Kind) -> Option<Response> {
        within("an answer", self.read_response(kind)).await
    }

    async fn read_response(&mut self, kind: Kind) -> Option<Response> {
        loop {
            match read(&self.buffer, kind, self.ended) {
                Read::Whole(message, length) => {
                    self.buffer.drain(..length);
                    return Some(Response::new(message));
                }
                Read::Malformed(why) => panic!("{why}: {:?}", String::from_utf8_lossy(&self.buffer)),
                Read::Partial if self.ended => return None,
                Read::Partial => self.fill().await,
            }
        }
    }

    /// Everything up to the end of the connection, without a deadline of its own.
    pub(crate) async fn until_end(&mut self) -> Vec<u8> {
        while !self.ended {
            self.fill().await;
        }
        std::mem::take(&mut self.buffer)
    }

    /// Everything up to the end of the connection.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        within("the end of the connection", self.until_end()).await
    }

    /// The status of the next answer, or `None` when what comes is no HTTP/1.1 answer or nothing at all.
    pub(crate) async fn response_raw(&mut self) -> Option<u16> {
        let bytes = self.rest().await;
        let line = bytes.strip_prefix(b"HTTP/1.1 ")?;
        std::str::from_utf8(line.get(..3)?).ok()?.parse().ok()
    }

    /// Exactly this many bytes.
    pub(crate) async fn exactly(&mut self, length: usize) -> Vec<u8> {
        within("bytes", async {
            while self.buffer.len() < length && !self.ended {
                self.fill().await;
            }
        })
        .await;
        assert!(self.buffer.len() >= length, "only {:02x?} came", self.buffer);
        self.buffer.drain(..length).collect()
    }

    /// The first byte of what comes next.
    pub(crate) async fn first_byte(&mut self) -> Option<u8> {
        within("a byte", async {
            while self.buffer.is_empty() && !self.ended {
                self.fill().await;
            }
        })
        .await;
        self.buffer.first().copied()
    }

    /// Fails the test unless the peer closes without another byte.
    pub(crate) async fn expect_close(&mut self) {
        let rest = self.rest().await;
        assert!(rest.is_empty(), "bytes before the close: {:?}", String::from_utf8_lossy(&rest));
    }

    /// At least one more byte, or the end.
    async fn fill(&mut self) {
        // A reset is an end like any other.
        let read = self.stream.read_buf(&mut self.buffer).await.unwrap_or(0);
        self.ended = read == 0;
    }
}

/// Requests one after the other on one connection, which is opened anew when the other side has closed it.
pub(crate) struct Line {
    port: u16,
    connection: Connection,
}

impl Line {
    /// To a port of this machine.
    pub(crate) async fn to(port: u16) -> Self {
        Self { port, connection: Connection::open(port).await }
    }

    /// One request, and its answer.
    pub(crate) async fn send(&mut self, request: &Request) -> Response {
        let bytes = request.bytes();
        for _ in 0..2 {
            self.connection.send(&bytes).await;
            let answer = self.connection.response().await;
            let ends = |answer: &Response| {
                answer.all("connection").iter().any(|value| value.eq_ignore_ascii_case("close"))
            };
            if answer.as_ref().is_none_or(ends) {
                self.connection = Connection::open(self.port).await;
            }
            if let Some(answer) = answer {
                return answer;
            }
        }
        panic!("no answer to {:?}", String::from_utf8_lossy(&bytes));
    }
}

/// A well-formed request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

impl Request {
    /// A request without a body, for `Host: localhost` unless a header says otherwise.
    pub(crate) fn new(method: &str, target: &str) -> Self {
        Self { method: method.to_owned(), target: target.to_owned(), headers: Vec::new(), body: None }
    }

    /// A `GET`.
    pub(crate) fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// Adds a header line.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds `Authorization: Bearer`.
    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    /// Sets the body, sent with its length.
    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Sets a JSON body.
    pub(crate) fn json(self, body: &serde_json::Value) -> Self {
        self.header("Content-Type", "application/json").body(body.to_string())
    }

    /// The bytes of it, for a connection that goes on.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            out.push_str("Host: localhost\r\n");
        }
        for (name, value) in &self.headers {
            out.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(body) = &self.body {
            out.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        out.push_str("\r\n");
        let mut out = out.into_bytes();
        out.extend_from_slice(self.body.as_deref().unwrap_or_default());
        out
    }

    /// Sends it on a connection of its own, which is closed after the answer.
    pub(crate) async fn send(self, port: u16) -> Response {
        self.send_over(Connection::open(port).await).await
    }

    /// Sends it as the last request of `connection`.
    pub(crate) async fn send_over(self, mut connection: Connection) -> Response {
        let named = self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("connection"));
        let request = if named { self } else { self.header("Connection", "close") };
        connection.send(request.bytes()).await;
        let kind = if request.method == "HEAD" { Kind::Bodiless } else { Kind::Response };
        let what = format!("{} {}", request.method, request.target);
        loop {
            let response = connection.response_of(kind).await.unwrap_or_else(|| panic!("{what}: no answer"));
            if response.status == 101 || response.status >= 200 {
                return response;
            }
        }
    }
}
