//! Gives every request a name by which log lines of several servers are found again: the client's, or a new one.

use std::{
    any::Any,
    process,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use base::{Clock, Random};
use gateway::{
    error::ConfigError,
    plugin::{Flow, Peer, Phases, Plugin, PluginRequest, PluginResponse},
};
use http::{HeaderName, HeaderValue};

use crate::text::request_header;

/// Bytes of a client's own name for its request; a longer one is replaced, because every log line would carry it.
const MAX_FOREIGN: usize = 256;
/// Bytes of a name of letters that were chosen.
const MAX_LENGTH: usize = 256;
/// 2014-05-13T16:53:20Z, where KSUIDs begin to count.
const KSUID_EPOCH: i64 = 1_400_000_000;

/// How requests are named.
#[derive(Clone, Debug)]
pub struct Config {
    /// The header that carries the name.
    pub header: String,
    /// Whether the client is told.
    pub echo: bool,
    /// Whether a client's own name for its request stays.
    pub keeps_clients: bool,
    /// Whether an upstream's header of that name stays in the answer.
    pub keeps_upstreams: bool,
    /// What new names look like.
    pub algorithm: Algorithm,
}

/// What new names look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RFC 9562, version 4.
    Uuid,
    /// RFC 9562, version 7: in the order of time.
    UuidV7,
    /// 21 letters of a URL's alphabet.
    Nanoid,
    /// So many of these letters.
    Letters(usize, String),
    /// 20 bytes in base 62, the first four of them seconds.
    Ksuid,
    /// One UUID for the process, and a number: `uuid#1`.
    Counter,
    /// Address, port, process, number and time of the request.
    Tracker,
}

/// The compiled form.
struct RequestId {
    header: HeaderName,
    echo: bool,
    keeps_clients: bool,
    keeps_upstreams: bool,
    generator: Generator,
}

struct Generator {
    algorithm: Algorithm,
    random: Random,
    clock: Clock,
    prefix: String,
    count: AtomicU64,
}

/// Compiles `config`.
///
/// # Errors
///
/// A header that is not to be set, and letters that no header can carry.
pub fn compile(config: Config, random: &Random, clock: &Clock) -> Result<Arc<dyn Plugin>, ConfigError> {
    let Config { header, echo, keeps_clients, keeps_upstreams, algorithm } = config;
    if let Algorithm::Letters(length, letters) = &algorithm {
        if *length == 0 || *length > MAX_LENGTH {
            return Err(ConfigError::new(
                "range_id.length",
                format!("1 to {MAX_LENGTH} letters are allowed"),
            ));
        }
        if letters.is_empty() || !letters.bytes().all(|letter| letter.is_ascii_graphic()) {
            return Err(ConfigError::new("range_id.char_set", "visible ASCII letters are needed"));
        }
    }
    let header = request_header("header_name", &header)?;
    if gateway::is_identity(header.as_str()) {
        return Err(ConfigError::new("header_name", "upstreams take it for the caller's identity"));
    }
    let generator = Generator {
        algorithm,
        prefix: uuid(random.bytes()),
        random: random.clone(),
        clock: clock.clone(),
        count: AtomicU64::new(0),
    };
    Ok(Arc::new(RequestId { header, echo, keeps_clients, keeps_upstreams, generator }))
}

impl Plugin for RequestId {
    fn name(&self) -> &'static str {
        "request-id"
    }

    fn phases(&self) -> Phases {
        let echo = if self.echo { Phases::RESPONSE_HEADERS } else { Phases::default() };
        Phases::REWRITE.and(echo)
    }

    fn rewrite(&self, request: &mut PluginRequest<'_>) -> Flow {
        let headers = &mut request.head.headers;
        let own = headers
            .get(&self.header)
            .filter(|own| self.keeps_clients && !own.is_empty() && own.len() <= MAX_FOREIGN);
        let id = match own {
            Some(own) => own.clone(),
            None => match HeaderValue::try_from(self.generator.make(request.peer)) {
                Ok(made) => made,
                Err(_) => return Flow::Continue,
            },
        };
        headers.insert(self.header.clone(), id.clone());
        if self.echo {
            request.notes.set(self, id);
        }
        Flow::Continue
    }

    fn response_headers(&self, response: &mut PluginResponse<'_>) {
        let Some(id) = response.notes.get::<_, HeaderValue>(self) else { return };
        let upstreams = response.headers.get(&self.header).is_some_and(|value| !value.is_empty());
        if !(upstreams && self.keeps_upstreams) {
            response.headers.insert(self.header.clone(), id.clone());
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Generator {
    fn make(&self, peer: &Peer) -> String {
        const URL: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
        match &self.algorithm {
            Algorithm::Uuid => uuid(self.random.bytes()),
            Algorithm::UuidV7 => self.uuid_v7(),
            Algorithm::Nanoid => self.letters(21, URL.as_bytes()),
            Algorithm::Letters(length, letters) => self.letters(*length, letters.as_bytes()),
            Algorithm::Ksuid => self.ksuid(),
            Algorithm::Counter => format!("{}#{}", self.prefix, self.number()),
            Algorithm::Tracker => {
                let now = self.clock.now().0;
                let (address, port, process) = (peer.local_ip, peer.local_port, process::id());
                let (seconds, millis) = (now.div_euclid(1000), now.rem_euclid(1000));
                let number = self.number();
                format!("{address}-{port}-{process}-{number}-{}-{seconds}.{millis:03}", peer.port)
            }
        }
    }

    fn number(&self) -> u64 {
        self.count.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Every letter is as likely as any other: bytes beyond the last whole round of the alphabet are thrown away.
    fn letters(&self, length: usize, letters: &[u8]) -> String {
        let count = letters.len().clamp(1, 256);
        let fair = 256 - 256 % count;
        let mut out = String::with_capacity(length);
        while out.len() < length {
            for byte in self.random.bytes::<32>() {
                let byte = usize::from(byte);
                let Some(letter) = letters.get(byte % count).filter(|_| byte < fair) else { continue };
                if out.len() < length {
                    out.push(char::from(*letter));
                }
            }
        }
        out
    }

    fn uuid_v7(&self) -> String {
        let mut bytes = self.random.bytes::<16>();
        let millis = u64::try_from(self.clock.now().0).unwrap_or(0).to_be_bytes();
        bytes.iter_mut().zip(millis.iter().skip(2)).for_each(|(to, from)| *to = *from);
        format_uuid(bytes, 0x70)
    }

    fn ksuid(&self) -> String {
        let mut bytes = [0_u8; 20];
        let seconds = u32::try_from(self.clock.now().secs() - KSUID_EPOCH).unwrap_or(0).to_be_bytes();
        let random = self.random.bytes::<16>();
        bytes.iter_mut().zip(seconds.iter().chain(&random)).for_each(|(to, from)| *to = *from);
        base62(bytes)
    }
}

/// RFC 9562 section 5.4.
pub(crate) fn uuid(random: [u8; 16]) -> String {
    format_uuid(random, 0x40)
}

fn format_uuid(bytes: [u8; 16], version: u8) -> String {
    let mut number = u128::from_be_bytes(bytes);
    number &= !((0xf0_u128 << 72) | (0xc0_u128 << 56));
    number |= (u128::from(version) << 72) | (0x80_u128 << 56);
    let (a, b, c) = (number >> 96, (number >> 80) & 0xffff, (number >> 64) & 0xffff);
    let (d, e) = ((number >> 48) & 0xffff, number & 0xffff_ffff_ffff);
    format!("{a:08x}-{b:04x}-{c:04x}-{d:04x}-{e:012x}")
}

/// 27 digits, the most significant first.
fn base62(mut bytes: [u8; 20]) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut out: Vec<u8> = Vec::with_capacity(27);
    for _ in 0..27 {
        let mut rest = 0_u32;
        for byte in &mut bytes {
            let value = rest * 256 + u32::from(*byte);
            *byte = u8::try_from(value / 62).unwrap_or(0);
            rest = value % 62;
        }
        out.extend(usize::try_from(rest).ok().and_then(|rest| DIGITS.get(rest)).copied());
    }
    out.iter().rev().map(|digit| char::from(*digit)).collect()
}

#[cfg(test)]
mod tests {
    use base::UnixMillis;

    use super::*;

    fn made(algorithm: Algorithm) -> String {
        let generator = Generator {
            algorithm,
            random: Random::seeded(1),
            clock: Clock::fixed(UnixMillis(1_800_000_000_123)),
            prefix: "p".to_owned(),
            count: AtomicU64::new(0),
        };
        let peer = Peer {
            ip: [127, 0, 0, 1].into(),
            port: 4,
            local_ip: [127, 0, 0, 1].into(),
            local_port: 80,
            https: false,
            trusted: false,
            server_name: None,
            certificate: None,
        };
        generator.make(&peer)
    }

    #[test]
    fn names_look_as_their_specifications_say() {
        let uuid = made(Algorithm::Uuid);
        assert_eq!((uuid.len(), &uuid[14..15]), (36, "4"));
        assert!(matches!(&uuid[19..20], "8" | "9" | "a" | "b"), "{uuid}");
        let v7 = made(Algorithm::UuidV7);
        assert!(v7.starts_with("01a3185c-507b-7"), "{v7}");
        assert_eq!(made(Algorithm::Nanoid).len(), 21);
        let letters = made(Algorithm::Letters(40, "abc".to_owned()));
        assert!(letters.len() == 40 && letters.bytes().all(|letter| b"abc".contains(&letter)));
        assert_eq!(made(Algorithm::Ksuid).len(), 27);
        assert_eq!(made(Algorithm::Counter), "p#1");
        assert!(made(Algorithm::Tracker).starts_with("127.0.0.1-80-"));
    }

    #[test]
    fn a_ksuid_is_its_bytes_in_base_62() {
        assert_eq!(base62([0; 20]), "0".repeat(27));
        // The largest one there is.
        assert_eq!(base62([255; 20]), "aWgEPTl1tmebfsQzFP4bxwgy80V");
    }
}
