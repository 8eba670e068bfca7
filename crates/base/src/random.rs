use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use aws_lc_rs::{digest, rand};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// The process's source of unpredictable bytes.
#[derive(Clone)]
pub struct Random(Source);

#[derive(Clone)]
enum Source {
    System,
    /// Repeatable bytes: SHA-256 over the seed and a counter. Tests only.
    Seeded {
        seed: u64,
        counter: Arc<AtomicU64>,
    },
}

impl Random {
    /// The operating system's generator, through aws-lc.
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// Repeatable bytes for tests. Never for keys or tokens that leave a test.
    pub fn seeded(seed: u64) -> Self {
        Self(Source::Seeded { seed, counter: Arc::new(AtomicU64::new(0)) })
    }

    /// Fills `out`.
    ///
    /// # Panics
    ///
    /// When the operating system has no randomness to give: nothing may go on without it.
    pub fn fill(&self, out: &mut [u8]) {
        match &self.0 {
            Source::System =>
            {
                #[allow(clippy::expect_used)]
                rand::fill(out).expect("the operating system's random source failed")
            }
            Source::Seeded { seed, counter } => {
                for chunk in out.chunks_mut(32) {
                    let mut input = [0; 16];
                    let count = counter.fetch_add(1, Ordering::Relaxed);
                    input.copy_from_slice(&(u128::from(*seed) << 64 | u128::from(count)).to_be_bytes());
                    let block = digest::digest(&digest::SHA256, &input);
                    chunk.iter_mut().zip(block.as_ref()).for_each(|(to, from)| *to = *from);
                }
            }
        }
    }

    /// `N` bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut out = [0; N];
        self.fill(&mut out);
        out
    }

    /// `bytes` bytes as unpadded base64url: 32 make 43 characters and 256 bits.
    pub fn token(&self, bytes: usize) -> String {
        let mut raw = vec![0; bytes];
        self.fill(&mut raw);
        URL_SAFE_NO_PAD.encode(raw)
    }

    /// `bytes` bytes as lower-case hexadecimal, two characters each.
    pub fn hex(&self, bytes: usize) -> String {
        let mut raw = vec![0; bytes];
        self.fill(&mut raw);
        raw.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// A UUID of version 4 (RFC 9562 section 5.4).
    pub fn uuid(&self) -> String {
        const VERSION: u128 = 0xf << 76;
        const VARIANT: u128 = 0b11 << 62;
        let bits = (u128::from_be_bytes(self.bytes()) & !VERSION & !VARIANT) | (4 << 76) | (0b10 << 62);
        let part = |shift: u32, digits: u32| (bits >> shift) & ((1 << (4 * digits)) - 1);
        let (a, b, c, d, e) = (part(96, 8), part(80, 4), part(64, 4), part(48, 4), part(0, 12));
        format!("{a:08x}-{b:04x}-{c:04x}-{d:04x}-{e:012x}")
    }

    /// `length` characters of `A–Z a–z 0–9`, each equally likely (5.95 bits a character).
    pub fn alphanumeric(&self, length: usize) -> String {
        const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let mut out = String::with_capacity(length);
        while out.len() < length {
            // Bytes of 248 and above would favour the first letters.
            for byte in self.bytes::<32>().into_iter().filter(|byte| *byte < 248) {
                if let (true, Some(letter)) = (out.len() < length, ALPHABET.get(usize::from(byte % 62))) {
                    out.push(char::from(*letter));
                }
            }
        }
        out
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Random")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seeded_source_repeats_itself_and_never_its_blocks() {
        let (a, b) = (Random::seeded(7), Random::seeded(7));
        assert_eq!(a.bytes::<64>(), b.bytes::<64>());
        assert_ne!(a.bytes::<32>(), a.bytes::<32>());
    }

    #[test]
    fn tokens_have_the_length_their_bytes_ask_for() {
        assert_eq!(Random::system().token(32).len(), 43);
        assert_eq!(Random::system().hex(12).len(), 24);
        assert_eq!(Random::system().alphanumeric(64).len(), 64);
    }

    #[test]
    fn a_uuid_is_of_version_4_and_never_the_same() {
        let random = Random::seeded(7);
        let uuid = random.uuid();
        let lengths: Vec<usize> = uuid.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{uuid}");
        assert!(uuid.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit()), "{uuid}");
        assert!(uuid[14..].starts_with('4') && "89ab".contains(&uuid[19..20]), "{uuid}");
        assert_ne!(uuid, random.uuid());
    }
}
