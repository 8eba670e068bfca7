use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, Ordering},
};

use arc_swap::ArcSwap;
use aws_lc_rs::digest;
use base::UnixMillis;

/// A change copies one shard, so that reading needs no lock.
const SHARDS: usize = 64;

/// Digest of what a token can be revoked by. Taken once, when the token is verified.
type Mark = [u8; 16];

/// What the ids are that end one token before its time: its own (`jti`), and the part of it before the first dot, where
/// the provider of this process writes what the token was made from.
#[derive(Clone, Copy, Debug)]
pub struct RevocationMarks {
    whole: Mark,
    family: Option<Mark>,
}

impl RevocationMarks {
    /// Of a token with this `jti`.
    pub fn of(token_id: &str) -> Self {
        let family = token_id.split_once('.').map(|(family, _)| mark(family));
        Self { whole: mark(token_id), family }
    }
}

/// The ids that the provider of this process has revoked, for those who read its tokens without asking it. Reading takes
/// no lock. The provider keeps the record; this is a copy of it, in which an id is before its end is told.
pub struct Revocations {
    /// By id: until when a token of it could live.
    shards: [ArcSwap<HashMap<Mark, UnixMillis>>; SHARDS],
    /// Whether there ever was one. Most gates are never told of any, and their requests look no further.
    any: AtomicBool,
}

impl Default for Revocations {
    fn default() -> Self {
        Self { shards: std::array::from_fn(|_| ArcSwap::default()), any: AtomicBool::new(false) }
    }
}

impl Revocations {
    /// Takes in an id. No token of it lives on after `until`.
    pub fn add(&self, id: &str, until: UnixMillis) {
        let mark = mark(id);
        if self.shard(mark).load().get(&mark).is_some_and(|known| *known >= until) {
            return;
        }
        self.shard(mark).rcu(|ids| {
            let mut ids = HashMap::clone(ids);
            let known = ids.entry(mark).or_insert(until);
            *known = until.max(*known);
            ids
        });
        self.any.store(true, Ordering::Release);
    }

    /// Drops ids whose tokens are over by themselves.
    pub fn forget(&self, now: UnixMillis) {
        for shard in &self.shards {
            if shard.load().values().any(|until| *until < now) {
                shard.rcu(|ids| {
                    let alive = ids.iter().filter(|(_, until)| **until >= now);
                    alive.map(|(mark, until)| (*mark, *until)).collect::<HashMap<_, _>>()
                });
            }
        }
    }

    /// Whether a token with these marks is revoked.
    pub fn contains(&self, marks: &RevocationMarks) -> bool {
        let is_revoked = |mark: Mark| self.shard(mark).load().contains_key(&mark);
        self.any.load(Ordering::Acquire) && (is_revoked(marks.whole) || marks.family.is_some_and(is_revoked))
    }

    fn shard(&self, mark: Mark) -> &ArcSwap<HashMap<Mark, UnixMillis>> {
        let [first, ..] = mark;
        #[allow(clippy::indexing_slicing)] // below the length, by the remainder
        &self.shards[usize::from(first) % SHARDS]
    }
}

fn mark(id: &str) -> Mark {
    let mut mark = [0; 16];
    let digest = digest::digest(&digest::SHA256, id.as_bytes());
    mark.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    mark
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_ends_with_its_own_id_and_with_what_it_was_made_from() {
        let revocations = Revocations::default();
        let [one, sibling, other] = ["f1.a", "f1.b", "f2.a"].map(RevocationMarks::of);
        revocations.add("f1.a", UnixMillis(1000));
        assert!(revocations.contains(&one) && !revocations.contains(&sibling));
        revocations.add("f1", UnixMillis(1000));
        assert!(revocations.contains(&sibling) && !revocations.contains(&other));
        assert!(!revocations.contains(&RevocationMarks::of("a")), "what follows the dot is no id of its own");
    }

    #[test]
    fn nothing_is_revoked_where_nobody_revoked_anything() {
        assert!(!Revocations::default().contains(&RevocationMarks::of("f1.a")));
    }

    #[test]
    fn an_id_is_forgotten_when_no_token_of_it_can_live() {
        let revocations = Revocations::default();
        revocations.add("f", UnixMillis(1000));
        revocations.add("f", UnixMillis(500));
        revocations.forget(UnixMillis(1000));
        assert!(revocations.contains(&RevocationMarks::of("f.1")), "the later end counts");
        revocations.forget(UnixMillis(1001));
        assert!(!revocations.contains(&RevocationMarks::of("f.1")));
    }
}
