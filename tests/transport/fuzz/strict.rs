//! HTTP/1.1 as RFC 9112 has it and nothing that "may" be taken beside it, so that there is one reading of what is taken. The
//! exceptions: in heads of answers a line may end in LF alone (section 2.2), and empty lines may stand before them.

/// A request that is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) body: Vec<u8>,
}

/// An answer that is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

/// What is left of a stream.
struct Stream<'a>(&'a [u8]);

/// What ends a line.
#[derive(Clone, Copy)]
enum LineEnd {
    CrLf,
    LfToo,
}

struct Field {
    name: String,
    value: Vec<u8>,
}

/// How a message's body ends.
enum Framing {
    None,
    Length(usize),
    Chunks,
}

/// The whole requests at the front of a client's stream, up to the first that is not, and up to one that is the last.
pub(super) fn requests(bytes: &[u8]) -> Vec<Request> {
    let mut stream = Stream(bytes);
    let mut requests = Vec::new();
    while let Some((request, goes_on)) = stream.request() {
        requests.push(request);
        if !goes_on {
            break;
        }
    }
    requests
}

/// The final answer at the front of an upstream's stream, which has ended, to a request of this method.
pub(super) fn answer(bytes: &[u8], method: &str) -> Option<Answer> {
    let mut stream = Stream(bytes);
    loop {
        match stream.answer(method)? {
            Answer { status: 101, .. } => return None,
            Answer { status: 100..200, .. } => {}
            last => return Some(last),
        }
    }
}

impl<'a> Stream<'a> {
    fn request(&mut self) -> Option<(Request, bool)> {
        // RFC 9112 section 2.2: an empty line before a request is overlooked.
        while let Some(rest) = self.0.strip_prefix(b"\r\n") {
            self.0 = rest;
        }
        let line = self.line(LineEnd::CrLf)?;
        let [method, target, version] = words(line)?;
        let visible = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_graphic);
        if !is_token(method) || !visible(target) {
            return None;
        }
        let modern = modern(version)?;
        let fields = self.fields(LineEnd::CrLf)?;
        match all(&fields, "host").count() {
            1 => {}
            0 if !modern => {}
            _ => return None,
        }
        let framing = framing(&fields, modern)?;
        let body = self.body(&framing.unwrap_or(Framing::None))?;
        let options = || all(&fields, "connection").flat_map(entries);
        let says = |word: &str| options().any(|option| option == word);
        let goes_on = !says("close") && (modern || says("keep-alive"));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Some((Request { method: text(method), target: text(target), body }, goes_on))
    }

    fn answer(&mut self, method: &str) -> Option<Answer> {
        let mut line = self.line(LineEnd::LfToo)?;
        while line.is_empty() {
            line = self.line(LineEnd::LfToo)?;
        }
        let (version, rest) = line.split_at_checked(8)?;
        let modern = modern(version)?;
        let code = rest.strip_prefix(b" ")?.get(..3)?;
        let after = rest.get(4..).unwrap_or_default();
        if !code.iter().all(u8::is_ascii_digit) || !matches!(after.first(), None | Some(b' ')) {
            return None;
        }
        let status: u16 = std::str::from_utf8(code).ok()?.parse().ok()?;
        let fields = self.fields(LineEnd::LfToo)?;
        let framing = framing(&fields, modern)?;
        let bodiless = method == "HEAD" || matches!(status, 100..200 | 204 | 304);
        let body = match framing {
            _ if bodiless => Vec::new(),
            Some(framing) => self.body(&framing)?,
            // The end of the stream ends it.
            None => std::mem::take(&mut self.0).to_vec(),
        };
        (100..1000).contains(&status).then_some(Answer { status, body })
    }

    /// Up to its end, which is taken too. A line holds no control but tabs.
    fn line(&mut self, end: LineEnd) -> Option<&'a [u8]> {
        let feed = self.0.iter().position(|byte| *byte == b'\n')?;
        let (line, rest) = self.0.split_at(feed);
        self.0 = &rest[1..];
        let line = match (line.strip_suffix(b"\r"), end) {
            (Some(line), _) => line,
            (None, LineEnd::CrLf) => return None,
            (None, LineEnd::LfToo) => line,
        };
        line.iter().all(|byte| *byte == b'\t' || !byte.is_ascii_control()).then_some(line)
    }

    fn fields(&mut self, end: LineEnd) -> Option<Vec<Field>> {
        let mut fields = Vec::new();
        loop {
            let line = self.line(end)?;
            if line.is_empty() {
                return Some(fields);
            }
            let colon = line.iter().position(|byte| *byte == b':')?;
            let (name, value) = (&line[..colon], &line[colon + 1..]);
            if !is_token(name) {
                return None;
            }
            let name = String::from_utf8_lossy(name).to_ascii_lowercase();
            fields.push(Field { name, value: value.trim_ascii().to_vec() });
        }
    }

    fn body(&mut self, framing: &Framing) -> Option<Vec<u8>> {
        match framing {
            Framing::None => Some(Vec::new()),
            Framing::Length(length) => self.take(*length).map(<[u8]>::to_vec),
            Framing::Chunks => self.chunks(),
        }
    }

    fn chunks(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line(LineEnd::CrLf)?;
            let (size, extension) =
                line.split_at(line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count());
            // Blanks may stand before an extension, and nowhere else (section 7.1.1).
            if !extension.is_empty() && !extension.trim_ascii_start().starts_with(b";") {
                return None;
            }
            let size = usize::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()?;
            if size == 0 {
                self.fields(LineEnd::CrLf)?;
                return Some(body);
            }
            body.extend_from_slice(self.take(size)?);
            self.0 = self.0.strip_prefix(b"\r\n")?;
        }
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}

/// RFC 9112 section 6: none, or one that can be read in one way. The outer `None` is one that cannot.
fn framing(fields: &[Field], modern: bool) -> Option<Option<Framing>> {
    let codings: Vec<_> = all(fields, "transfer-encoding").collect();
    let lengths: Vec<_> = all(fields, "content-length").collect();
    match (codings.as_slice(), lengths.as_slice()) {
        ([], []) => Some(None),
        ([coding], []) if modern && coding.eq_ignore_ascii_case(b"chunked") => Some(Some(Framing::Chunks)),
        ([], [length, more @ ..])
            if length.iter().all(u8::is_ascii_digit) && more.iter().all(|more| more == length) =>
        {
            Some(Some(Framing::Length(std::str::from_utf8(length).ok()?.parse().ok()?)))
        }
        _ => None,
    }
}

fn all<'a>(fields: &'a [Field], name: &str) -> impl Iterator<Item = &'a [u8]> {
    fields.iter().filter(move |field| field.name == name).map(|field| field.value.as_slice())
}

fn entries(value: &[u8]) -> impl Iterator<Item = String> {
    value
        .split(|byte| *byte == b',')
        .map(|entry| String::from_utf8_lossy(entry.trim_ascii()).to_ascii_lowercase())
}

fn words(line: &[u8]) -> Option<[&[u8]; 3]> {
    let words: Vec<_> = line.split(|byte| *byte == b' ').collect();
    words.try_into().ok()
}

fn modern(version: &[u8]) -> Option<bool> {
    match version {
        b"HTTP/1.1" => Some(true),
        b"HTTP/1.0" => Some(false),
        _ => None,
    }
}

/// RFC 9110 section 5.6.2.
fn is_token(text: &[u8]) -> bool {
    !text.is_empty()
        && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}
