//! T13: streams that are cut, doubled and bent at random, from both sides. A parser of the test's own, which takes
//! nothing that can be read in two ways, says what they mean: what the gateway passes on is that, or nothing is. `cargo xtask
//! fuzz` runs these for as long as one likes; see `support/fuzz.rs`.

use crate::support::{Site, fuzz::Fuzz};

#[path = "fuzz/answers.rs"]
mod answers;
#[path = "fuzz/requests.rs"]
mod requests;
#[path = "fuzz/strict.rs"]
mod strict;

/// What the mutations are made of.
const PIECES: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b";",
    b",",
    b"0",
    b"5",
    b"-",
    b"+",
    b"\xff",
    b" \r\n",
    b"\r\n ",
    b"\r\n\r\n",
    b"chunked",
    b"0\r\n\r\n",
    b"5\r\nhello\r\n",
    b"5;a=b\r\nhello\r\n",
    b"ffffffffffffffff\r\n",
    b"10000000000000005\r\n",
    b"GET ",
    b"HEAD ",
    b"HTTP/1.0",
    b"HTTP/1.1",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"Host: evil\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length:\r\n",
    b"Content-Length : 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Transfer-Encoding:\x0bchunked\r\n",
    b"Connection: close\r\n",
    b"Connection: keep-alive\r\n",
    b"Connection: content-length\r\n",
    b"Expect: 100-continue\r\n",
    b"Trailer: x\r\n",
];

/// One to four messages of `seeds`, bent.
fn bent(fuzz: &Fuzz, seeds: &[String]) -> Vec<u8> {
    let whole: String = (0..=fuzz.pick(3)).map(|_| fuzz.one(seeds).as_str()).collect();
    fuzz.mutate_with(whole.as_bytes(), PIECES)
}

/// As it is read, for whoever has to find out what happened.
fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}
