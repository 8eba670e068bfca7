//! Seeded mutations. A run of the tests does a fixed number of rounds from a fixed seed; `cargo xtask fuzz` gives a time
//! and a seed of its own, which it prints, so that whatever it finds can be had again.

use std::{
    env, thread,
    time::{Duration, Instant},
};

use base::Random;

use super::Portcullis;

/// How much a process may grow under a fuzzer.
const MAX_GROWTH: u64 = 24 << 20;
/// How long a single round may take.
const MAX_ROUND: Duration = Duration::from_secs(10);
/// What mutations put in beside the bytes that are there: what parsers of every kind stumble over.
const PIECES: &[&[u8]] = &[
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"=",
    b"&",
    b";",
    b"%",
    b"%00",
    b"%zz",
    b"+",
    b" ",
    b"\t",
    b".",
    b"~",
    b"0",
    b"-1",
    b"1e999",
    b"99999999999999999999",
    b"null",
    b"true",
    b"\"\"",
    b"{}",
    b"[]",
    b"[[[[[[[[[[[[[[[[",
    b"\\u0000",
    b"\\ud800",
    b"\xff",
    b"\xc0\x80",
    b"\xef\xbb\xbf",
    b"alg",
    b"none",
    b"kid",
    b"iss",
    b"aud",
    b"exp",
    b"crit",
    b"http://",
    b"file:///etc/passwd",
    b"AAAA",
    b"eyJ",
    b"pc~",
    b"session=",
    b"&a",
    b"*a",
    b"<<: ",
    b"!!",
    b"- ",
    b"\n",
    b"\r\n",
];

/// One fuzzer.
pub(crate) struct Fuzz {
    name: &'static str,
    random: Random,
    seed: u64,
    rounds: usize,
    until: Option<Instant>,
    done: usize,
    begun: Instant,
}

impl Fuzz {
    /// `rounds` is how many there are when no time is given.
    pub(crate) fn new(name: &'static str, rounds: usize) -> Self {
        let number = |name: &str| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let seconds = number("PORTCULLIS_FUZZ_SECONDS");
        let seed = number("PORTCULLIS_FUZZ_SEED").unwrap_or(13);
        let until = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        Self { name, random: Random::seeded(seed), seed, rounds, until, done: 0, begun: Instant::now() }
    }

    /// Whether there is to be another round. A round that took too long fails the test.
    pub(crate) fn goes_on(&mut self) -> bool {
        let took = self.begun.elapsed();
        assert!(took < MAX_ROUND, "{}: round {} took {took:?}", self.name, self.done);
        self.begun = Instant::now();
        let goes_on = match self.until {
            Some(until) => self.begun < until,
            None => self.done < self.rounds,
        };
        self.done += usize::from(goes_on);
        goes_on
    }

    /// A number below `limit`.
    pub(crate) fn pick(&self, limit: usize) -> usize {
        usize::try_from(u32::from_be_bytes(self.random.bytes())).unwrap() % limit.max(1)
    }

    /// One of `items`.
    pub(crate) fn one<'a, T>(&self, items: &'a [T]) -> &'a T {
        &items[self.pick(items.len())]
    }

    /// `bytes` with one to four places cut, doubled, bent, or filled with something else.
    pub(crate) fn mutate(&self, bytes: &[u8]) -> Vec<u8> {
        self.mutate_with(bytes, PIECES)
    }

    /// The same, filled with some of `pieces`.
    pub(crate) fn mutate_with(&self, bytes: &[u8], pieces: &[&[u8]]) -> Vec<u8> {
        let mut out = bytes.to_vec();
        for _ in 0..=self.pick(4) {
            let at = self.pick(out.len() + 1);
            let end = (at + 1 + self.pick(12)).min(out.len());
            match self.pick(8) {
                0 => drop(out.drain(at..end)),
                1 => out.truncate(at),
                2 if at < out.len() => out[at] ^= 1 << self.pick(8),
                3 if at < out.len() => out[at] = self.random.bytes::<1>()[0],
                4 => {
                    let again = out[at..end].to_vec();
                    drop(out.splice(at..at, again));
                }
                5 => {
                    let times = 1 + self.pick(40);
                    let piece = self.one(pieces).repeat(times);
                    drop(out.splice(at..at, piece));
                }
                6 => drop(out.splice(at..end, self.one(pieces).iter().copied())),
                _ => drop(out.splice(at..at, self.one(pieces).iter().copied())),
            }
        }
        out
    }

    /// The same for what must stay text.
    pub(crate) fn mutate_text(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.mutate(text.as_bytes())).into_owned()
    }

    /// The same for what stands in a header: no byte that no header can hold.
    pub(crate) fn mutate_header(&self, text: &str) -> String {
        let mutated = self.mutate_text(text);
        mutated.chars().filter(|letter| matches!(letter, ' '..='~')).collect()
    }

    /// Fails the test if the process is gone, panicked, or grew. `before` is its size when it had warmed up.
    pub(crate) fn finish(self, gate: &Portcullis, before: u64) {
        assert!(gate.is_running(), "the process is gone");
        assert!(!gate.output().contains("panicked"), "something panicked");
        let grown = gate.resident().saturating_sub(before);
        assert!(grown < MAX_GROWTH, "{} bytes more after {} rounds", grown, self.done);
        assert!(self.done > 0, "nothing was tried");
        if self.until.is_some() {
            println!("{}: {} rounds from seed {}", self.name, self.done, self.seed);
        }
    }
}

impl Drop for Fuzz {
    fn drop(&mut self) {
        if thread::panicking() {
            let Self { name, seed, done, .. } = self;
            eprintln!(
                "{name}: round {done} from seed {seed}; again: cargo xtask fuzz --seconds 60 --seed {seed} {name}"
            );
        }
    }
}
