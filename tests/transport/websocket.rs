//! T25: the case families of the Autobahn test suite for WebSocket (RFC 6455), each asked twice: of the echo upstream
//! itself, and of the same through the gateway. What comes back must be the same bytes, and the same end.

use std::sync::Arc;

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{Portcullis, within};

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CONTINUATION: u8 = 0;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const FIN: u8 = 0x80;

/// What a client sends. Its last frame is a close, or one that the other side must end the connection for: so every
/// case ends by itself, and nothing is left unread that could turn the end into a reset.
struct Case {
    name: String,
    bytes: Vec<u8>,
    /// Bytes for each write.
    chop: usize,
}

fn case(name: impl Into<String>, frames: &[Vec<u8>]) -> Case {
    Case { name: name.into(), bytes: frames.concat(), chop: usize::MAX }
}

/// The same bytes in writes of other sizes.
fn chopped(cases: Vec<Case>, sizes: &[usize]) -> Vec<Case> {
    let pieces = |case: Case| {
        let each = |size: &usize| Case {
            name: format!("{} in writes of {size}", case.name),
            bytes: case.bytes.clone(),
            chop: *size,
        };
        sizes.iter().map(each).collect::<Vec<_>>()
    };
    cases.into_iter().flat_map(pieces).collect()
}

/// One frame, masked as a client's must be (RFC 6455 section 5.3). `first` has FIN, the reserved bits and the opcode.
fn raw(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..=125 => frame.push(0x80 | u8::try_from(short).unwrap()),
        middle @ 126..=65_535 => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(middle).unwrap().to_be_bytes());
        }
        long => {
            frame.push(0x80 | 127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    raw(FIN | opcode, payload)
}

fn part(opcode: u8, payload: &[u8]) -> Vec<u8> {
    raw(opcode, payload)
}

fn close() -> Vec<u8> {
    frame(CLOSE, &1000_u16.to_be_bytes())
}

/// 1: messages of each kind and of the lengths where the framing changes.
fn framing() -> Vec<Case> {
    let mut cases = Vec::new();
    for (kind, opcode) in [("text", TEXT), ("binary", BINARY)] {
        for length in [0, 1, 125, 126, 127, 128, 65_535, 65_536] {
            let payload = vec![b'*'; length];
            cases.push(case(format!("1 {kind} of {length}"), &[frame(opcode, &payload), close()]));
        }
    }
    chopped(cases, &[usize::MAX, 997])
}

/// 2: pings and pongs.
fn pings() -> Vec<Case> {
    let ten: Vec<_> = (0..10_u8).map(|number| frame(PING, &[b'0' + number])).chain([close()]).collect();
    let cases = vec![
        case("2 ping without payload", &[frame(PING, b""), close()]),
        case("2 ping with text", &[frame(PING, b"Hello, world!"), close()]),
        case("2 ping with bytes", &[frame(PING, &[0x00, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0x00, 0xff]), close()]),
        case("2 ping of 125", &[frame(PING, &[0xfe; 125]), close()]),
        case("2 ping of 126 is too long", &[frame(PING, &[0xfe; 126])]),
        case("2 pong unasked", &[frame(PONG, b""), close()]),
        case("2 pong unasked with payload", &[frame(PONG, b"unsolicited"), close()]),
        case("2 pong unasked, then ping", &[frame(PONG, b"unsolicited"), frame(PING, b"own"), close()]),
        case("2 ten pings", &ten),
    ];
    chopped(cases, &[usize::MAX, 1, 7])
}

/// 3: reserved bits without an extension, alone and behind a good message.
fn reserved_bits() -> Vec<Case> {
    let mut cases = Vec::new();
    for bits in 1..8_u8 {
        for opcode in [TEXT, BINARY, PING, CLOSE] {
            let bad = raw(FIN | (bits << 4) | opcode, b"");
            cases.push(case(format!("3 bits {bits} on {opcode}"), std::slice::from_ref(&bad)));
            let behind = [frame(TEXT, b"Hello, world!"), bad];
            cases.push(case(format!("3 bits {bits} on {opcode} behind a message"), &behind));
        }
    }
    cases
}

/// 4: opcodes that mean nothing.
fn opcodes() -> Vec<Case> {
    let mut cases = Vec::new();
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        for payload in [&b""[..], b"reserved opcode payload"] {
            let bad = frame(opcode, payload);
            let length = payload.len();
            cases.push(case(format!("4 opcode {opcode} of {length}"), std::slice::from_ref(&bad)));
            let behind = [frame(TEXT, b"Hello, world!"), bad];
            cases.push(case(format!("4 opcode {opcode} of {length} behind a message"), &behind));
        }
    }
    cases
}

/// 5: messages in pieces.
fn fragmentation() -> Vec<Case> {
    let last = |payload: &[u8]| frame(CONTINUATION, payload);
    let cases = vec![
        case("5 ping in two", &[part(PING, b"frag"), last(b"ment")]),
        case("5 pong in two", &[part(PONG, b"frag"), last(b"ment")]),
        case("5 text in two", &[part(TEXT, b"frag"), last(b"ment"), close()]),
        case(
            "5 text in three, the middle empty",
            &[part(TEXT, b"a"), part(CONTINUATION, b""), last(b"b"), close()],
        ),
        case("5 text in three empty ones", &[part(TEXT, b""), part(CONTINUATION, b""), last(b""), close()]),
        case("5 a ping between two parts", &[part(TEXT, b"a"), frame(PING, b"p"), last(b"b"), close()]),
        case("5 a pong between two parts", &[part(BINARY, b"a"), frame(PONG, b"p"), last(b"b"), close()]),
        case("5 a continuation of nothing", &[last(b"non-continuation payload")]),
        case("5 an open continuation of nothing", &[part(CONTINUATION, b"non-continuation payload")]),
        case("5 a continuation behind a whole message", &[frame(TEXT, b"whole"), last(b"more")]),
        case("5 a new message inside another", &[part(TEXT, b"a"), frame(TEXT, b"b")]),
        case("5 a new binary inside a text", &[part(TEXT, b"a"), frame(BINARY, b"b")]),
        case(
            "5 five parts with pings between",
            &[
                part(TEXT, b"1"),
                part(CONTINUATION, b"2"),
                frame(PING, b"a"),
                part(CONTINUATION, b"3"),
                part(CONTINUATION, b"4"),
                frame(PING, b"b"),
                last(b"5"),
                close(),
            ],
        ),
        case("5 a close between two parts", &[part(TEXT, b"a"), close()]),
    ];
    chopped(cases, &[usize::MAX, 1, 5])
}

/// 6: text that is UTF-8 and text that is not, whole, in two parts, and octet by octet.
fn utf8() -> Vec<Case> {
    let texts: [&[u8]; 62] = [
        b"",
        b"Hello-\xc2\xb5@\xc3\x9f\xc3\xb6\xc3\xa4\xc3\xbc\xc3\xa0\xc3\xa1-UTF-8!!",
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5",
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80edited",
        b"\x00",
        b"\xc2\x80",
        b"\xe0\xa0\x80",
        b"\xf0\x90\x80\x80",
        b"\xf8\x88\x80\x80\x80",
        b"\xfc\x84\x80\x80\x80\x80",
        b"\x7f",
        b"\xdf\xbf",
        b"\xef\xbf\xbf",
        b"\xf4\x8f\xbf\xbf",
        b"\xf7\xbf\xbf\xbf",
        b"\xfb\xbf\xbf\xbf\xbf",
        b"\xfd\xbf\xbf\xbf\xbf\xbf",
        b"\xed\x9f\xbf",
        b"\xee\x80\x80",
        b"\xef\xbf\xbd",
        b"\xf4\x90\x80\x80",
        b"\x80",
        b"\xbf",
        b"\x80\xbf",
        b"\x80\xbf\x80",
        b"\x80\xbf\x80\xbf",
        b"\xc0 \xc1 \xc2 \xc3 ",
        b"\xe0 \xe1 \xe2 \xe3 ",
        b"\xf0 \xf1 \xf2 \xf3 ",
        b"\xf8 \xf9 \xfa \xfb ",
        b"\xfc \xfd ",
        b"\xc0",
        b"\xe0\x80",
        b"\xf0\x80\x80",
        b"\xf8\x80\x80\x80",
        b"\xfc\x80\x80\x80\x80",
        b"\xdf",
        b"\xef\xbf",
        b"\xf7\xbf\xbf",
        b"\xfb\xbf\xbf\xbf",
        b"\xfd\xbf\xbf\xbf\xbf",
        b"\xfe",
        b"\xff",
        b"\xfe\xfe\xff\xff",
        b"\xc0\xaf",
        b"\xe0\x80\xaf",
        b"\xf0\x80\x80\xaf",
        b"\xc1\xbf",
        b"\xe0\x9f\xbf",
        b"\xf0\x8f\xbf\xbf",
        b"\xc0\x80",
        b"\xe0\x80\x80",
        b"\xf0\x80\x80\x80",
        b"\xed\xa0\x80",
        b"\xed\xad\xbf",
        b"\xed\xae\x80",
        b"\xed\xaf\xbf",
        b"\xed\xb0\x80",
        b"\xed\xbf\xbf",
        b"\xed\xa0\x80\xed\xb0\x80",
        b"\xef\xbf\xbe",
    ];
    let mut cases = Vec::new();
    for (number, text) in texts.into_iter().enumerate() {
        // What is not UTF-8 ends the connection: a close behind it would be left unread.
        let end = || if std::str::from_utf8(text).is_ok() { close() } else { Vec::new() };
        let whole = case(format!("6 text {number}"), &[frame(TEXT, text), end()]);
        cases.extend(chopped(vec![whole], &[usize::MAX, 1]));
        let (left, right) = text.split_at(text.len() / 2);
        // The first part alone may already be what nobody may send: the second is not sent behind it then.
        if std::str::from_utf8(left).map_or_else(|error| error.error_len().is_none(), |_| true) {
            let parts = [part(TEXT, left), frame(CONTINUATION, right), end()];
            cases.push(case(format!("6 text {number} in two parts"), &parts));
        }
    }
    cases
}

/// 7: closes with every code that may be sent and with those that may not, and with reasons.
fn closes() -> Vec<Case> {
    let code = |code: u16, reason: &[u8]| [&code.to_be_bytes()[..], reason].concat();
    let mut cases = vec![
        case("7 close without payload", &[frame(CLOSE, b"")]),
        case("7 close with half a code", &[frame(CLOSE, b"a")]),
        case("7 close with a reason", &[frame(CLOSE, &code(1000, b"Hello, world!"))]),
        case("7 close of 125", &[frame(CLOSE, &code(1000, &[b'*'; 123]))]),
        case("7 close of 126 is too long", &[frame(CLOSE, &code(1000, &[b'*'; 124]))]),
        case("7 close with a reason that is no text", &[frame(CLOSE, &code(1000, b"\xce\xba\xed\xa0\x80"))]),
        case("7 close behind a message", &[frame(TEXT, b"last words"), close()]),
        case("7 close in parts", &[part(CLOSE, &code(1000, b""))]),
    ];
    let good = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999];
    let bad = [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535];
    for number in good.into_iter().chain(bad) {
        cases.push(case(format!("7 close {number}"), &[frame(CLOSE, &code(number, b""))]));
        cases.push(case(format!("7 close {number} with a reason"), &[frame(CLOSE, &code(number, b"why"))]));
    }
    chopped(cases, &[usize::MAX, 1])
}

/// 9 and 10: large messages, whole, in parts, and in small writes.
fn large() -> Vec<Case> {
    let mut cases = Vec::new();
    for (kind, opcode) in [("text", TEXT), ("binary", BINARY)] {
        for size in [64 << 10, 256 << 10, 1 << 20, 4 << 20] {
            let payload = vec![b'*'; size];
            cases.push(case(format!("9 {kind} of {size}"), &[frame(opcode, &payload), close()]));
            for piece in [1300, 4 << 10, 64 << 10] {
                let mut parts: Vec<Vec<u8>> =
                    payload.chunks(piece).map(|piece| part(CONTINUATION, piece)).collect();
                *parts.first_mut().unwrap() = part(opcode, &payload[..piece.min(size)]);
                parts.extend([frame(CONTINUATION, b""), close()]);
                cases.push(case(format!("10 {kind} of {size} in parts of {piece}"), &parts));
            }
        }
    }
    cases
}

/// Sends the case and reads to the end; `None` when no tunnel was opened. Writes and reads run side by side: a large
/// message comes back while it is still sent.
async fn ask(port: u16, path: &str, case: &Case) -> Option<Vec<u8>> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let handshake = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    writer.write_all(handshake.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(reader.read_u8().await.ok()?);
    }
    if !head.starts_with(b"HTTP/1.1 101 ") {
        return None;
    }
    let send = async {
        for piece in case.bytes.chunks(case.chop.min(case.bytes.len()).max(1)) {
            // Whoever has ended the connection takes nothing more.
            if writer.write_all(piece).await.is_err() {
                return;
            }
        }
    };
    let mut answer = Vec::new();
    let receive = async {
        // A reset is an end like another here: which of the two it is depends on who is faster.
        let _ = reader.read_to_end(&mut answer).await;
    };
    within(&case.name, async { tokio::join!(send, receive) }).await;
    Some(answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn t25_a_websocket_through_the_gateway_is_what_it_is_without() {
    let gate = Arc::new(Portcullis::dev());
    let upstream = json!({ "nodes": { format!("127.0.0.1:{}", gate.port(9480)): 1 } });
    let route = json!({ "uri": "/ws", "enable_websocket": true, "upstream": upstream });
    gate.admin().set("routes/websocket", &route).await;
    let families =
        [framing(), pings(), reserved_bits(), opcodes(), fragmentation(), utf8(), closes(), large()];
    let cases: Vec<Case> = families.into_iter().flatten().collect();
    assert!(cases.len() >= 500, "{} cases", cases.len());
    let (mut failures, mut echoed) = (Vec::new(), 0);
    for case in &cases {
        let (direct, through) =
            tokio::join!(ask(gate.port(9480), "/ws", case), ask(gate.port(9080), "/ws", case));
        let direct = direct.expect("the echo upstream opens a WebSocket");
        echoed += direct.len();
        if through.as_ref() != Some(&direct) {
            let seen = through.map(|bytes| bytes.len());
            failures.push(format!(
                "{}: {} bytes directly, {seen:?} through the gateway",
                case.name,
                direct.len()
            ));
        }
    }
    // Two kinds of four sizes, each whole and in parts of three sizes.
    assert!(echoed > 8 * ((4 << 20) + (1 << 20)), "only {echoed} bytes were echoed");
    assert!(failures.is_empty(), "{} of {} cases:\n{}", failures.len(), cases.len(), failures.join("\n"));
}
