use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use aws_lc_rs::digest;
use base::UnixMillis;

/// Proofs that are remembered at once in the whole process, about 40 MB.
const CAPACITY: usize = 1 << 20;
/// Parts with a lock each, so that cores seldom wait for each other.
const SHARDS: usize = 64;
/// How often a part forgets what is over.
const SWEEP: Duration = Duration::from_secs(5);

/// The proofs of possession that were shown to this process and could be shown again (RFC 9449 section 11.1). Bounded:
/// when it is full, nobody's proof is taken, because a proof that is not remembered could be replayed. Other nodes have
/// records of their own.
pub struct SeenProofs {
    shards: Box<[Mutex<Shard>]>,
    /// Entries of one shard.
    room: usize,
}

#[derive(Default)]
struct Shard {
    /// By digest: until when.
    seen: HashMap<[u8; 16], UnixMillis>,
    swept: Option<UnixMillis>,
}

/// What the record says of a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It was not shown before, and now it was.
    First,
    /// It was shown before.
    Again,
    /// It cannot be remembered.
    Full,
}

impl SeenProofs {
    /// A record of at most `capacity` proofs.
    pub fn new(capacity: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, room: capacity.div_ceil(SHARDS) }
    }

    /// Notes that the key with this thumbprint has shown the proof `jti`, which is worth nothing after `until`.
    pub fn show(&self, thumbprint: &str, jti: &str, until: UnixMillis, now: UnixMillis) -> Seen {
        let key = digest_of(thumbprint, jti);
        let place = usize::from(key.first().copied().unwrap_or(0)) % SHARDS;
        let Some(shard) = self.shards.get(place) else { return Seen::Full };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        shard.sweep(now);
        if shard.seen.contains_key(&key) {
            return Seen::Again;
        }
        if shard.seen.len() >= self.room {
            return Seen::Full;
        }
        shard.seen.insert(key, until);
        Seen::First
    }
}

impl Default for SeenProofs {
    fn default() -> Self {
        Self::new(CAPACITY)
    }
}

impl Shard {
    fn sweep(&mut self, now: UnixMillis) {
        if self.swept.is_none_or(|swept| now >= swept + SWEEP || now < swept) {
            self.seen.retain(|_, until| *until >= now);
            self.swept = Some(now);
        }
    }
}

fn digest_of(thumbprint: &str, jti: &str) -> [u8; 16] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&thumbprint.len().to_be_bytes());
    context.update(thumbprint.as_bytes());
    context.update(jti.as_bytes());
    let mut key = [0; 16];
    key.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    key
}

impl fmt::Debug for SeenProofs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SeenProofs").field("room", &self.room).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis::from_secs(1000);

    fn later(seconds: u64) -> UnixMillis {
        NOW + Duration::from_secs(seconds)
    }

    #[test]
    fn j54_a_proof_is_shown_once_for_as_long_as_it_counts() {
        let proofs = SeenProofs::default();
        assert_eq!(proofs.show("key", "1", later(60), NOW), Seen::First);
        assert_eq!(proofs.show("key", "1", later(60), NOW), Seen::Again);
        assert_eq!(proofs.show("key", "1", later(90), later(60)), Seen::Again);
        assert_eq!(proofs.show("key", "2", later(60), NOW), Seen::First);
        assert_eq!(proofs.show("ke", "y1", later(60), NOW), Seen::First);
        assert_eq!(proofs.show("key", "1", later(130), later(70)), Seen::First);
    }

    #[test]
    fn j54_a_record_that_is_full_takes_nothing_until_something_is_over() {
        let proofs = SeenProofs::new(SHARDS);
        let (mut first, mut full) = (0, 0);
        for number in 0..4096 {
            match proofs.show("key", &number.to_string(), later(60), NOW) {
                Seen::First => first += 1,
                Seen::Full => full += 1,
                Seen::Again => panic!("{number} was not shown before"),
            }
        }
        assert_eq!((first, full), (SHARDS, 4096 - SHARDS));
        assert_eq!(proofs.show("key", "0", later(60), NOW), Seen::Again);
        assert_eq!(proofs.show("key", "4095", later(120), later(61)), Seen::First);
    }

    #[test]
    fn j54_of_parallel_requests_with_one_proof_one_is_the_first() {
        let proofs = SeenProofs::default();
        let first = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..8).map(|_| scope.spawn(|| proofs.show("key", "1", later(60), NOW))).collect();
            threads.into_iter().filter(|_| true).map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(first.iter().filter(|seen| **seen == Seen::First).count(), 1);
    }
}
