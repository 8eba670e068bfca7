use std::{
    collections::{HashMap, VecDeque},
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use base::UnixMillis;
use serde_json::{Map, Value};

use super::ProviderError;

/// Bytes of answers that are kept for one provider.
const CAPACITY: usize = 16 << 20;
/// What a kept answer takes beside its text; and its parsed form is about three times as large as that.
const OVERHEAD: usize = 256;
/// Answers "not active" that are kept for one provider.
const MOST_REFUSED: usize = 8192;

/// How an introspection endpoint is asked.
#[derive(Clone, Debug)]
pub struct Introspecting {
    /// Its URL; `None`: the one that discovery names.
    pub endpoint: Option<String>,
    /// Name of the form's field that holds the token; `token` by RFC 7662.
    pub token_param: String,
    /// Further fields.
    pub params: Vec<(String, String)>,
    /// Whether every question goes to the provider: nothing is shared or remembered.
    pub always_asks: bool,
}

/// What an introspection endpoint said of an active token, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Introspected {
    /// All members of the answer.
    pub claims: Arc<Map<String, Value>>,
    /// The answer as it was signed, where it was.
    pub signed: Option<Arc<str>>,
    /// When it was given.
    pub at: UnixMillis,
}

pub(super) type Answer = Result<Option<Introspected>, ProviderError>;

/// The introspections of one provider, over all cores: one call at a time for a token, however many requests wait for
/// it, and the answer remembered for as long as who asks says. A failure is told to those who waited for it and forgotten.
#[derive(Default)]
pub(super) struct Introspections {
    tokens: Mutex<Tokens>,
    /// Counts calls that begin or end, so that a waiter knows whether an answer was asked for after it came.
    moments: AtomicU64,
}

#[derive(Default)]
struct Tokens {
    by_key: HashMap<[u8; 32], Entry>,
    /// Kept answers, oldest first, each with the moment it came at.
    kept: VecDeque<([u8; 32], u64)>,
    /// Those of tokens that are not active, in a row of their own: whoever makes tokens up drives out no good one.
    refused: VecDeque<([u8; 32], u64)>,
    bytes: usize,
}

struct Entry {
    slot: Arc<Slot>,
    /// Bytes of the answer and the moment it came at, while one is kept.
    kept: Option<(usize, u64)>,
}

/// Held while somebody asks.
type Slot = tokio::sync::Mutex<Option<Said>>;

/// What was said last, at which moment, and until when it counts for who did not wait for it.
struct Said {
    moment: u64,
    answer: Answer,
    until: Option<UnixMillis>,
}

/// Somebody who asks or waits. What it leaves behind is taken away.
struct Visit<'a> {
    introspections: &'a Introspections,
    key: [u8; 32],
    slot: Arc<Slot>,
}

impl Introspections {
    /// What is known under `key`, if it counts at `now`; otherwise what `ask` says, which counts `until` then.
    pub(super) async fn answer(
        &self,
        key: [u8; 32],
        now: UnixMillis,
        ask: impl Future<Output = Answer>,
        until: impl FnOnce(Option<&Introspected>) -> Option<UnixMillis>,
    ) -> Answer {
        let came = self.moment();
        let visit = self.visit(key);
        let mut slot = visit.slot.lock().await;
        let counts = |said: &&Said| said.moment > came || said.until.is_some_and(|until| now < until);
        if let Some(said) = slot.as_ref().filter(counts) {
            return said.answer.clone();
        }
        let answer = ask.await;
        let moment = self.moment();
        let introspected = answer.as_ref().ok().map(Option::as_ref);
        let until = introspected.and_then(until);
        let kept = introspected.filter(|_| until.is_some());
        self.tokens().settle(key, &visit.slot, moment, kept);
        *slot = Some(Said { moment, answer: answer.clone(), until });
        answer
    }

    fn moment(&self) -> u64 {
        self.moments.fetch_add(1, Ordering::SeqCst)
    }

    fn tokens(&self) -> MutexGuard<'_, Tokens> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn visit(&self, key: [u8; 32]) -> Visit<'_> {
        let mut tokens = self.tokens();
        let entry = tokens.by_key.entry(key).or_insert_with(|| Entry { slot: Arc::default(), kept: None });
        Visit { introspections: self, key, slot: Arc::clone(&entry.slot) }
    }
}

impl Tokens {
    /// `kept`: outer `None`, nothing is; inner `None`, that the token is not active.
    #[allow(clippy::option_option, reason = "whether something is kept, and what, are two questions")]
    fn settle(&mut self, key: [u8; 32], slot: &Arc<Slot>, moment: u64, kept: Option<Option<&Introspected>>) {
        let Some(entry) = self.by_key.get_mut(&key).filter(|entry| Arc::ptr_eq(&entry.slot, slot)) else {
            return;
        };
        self.bytes -= entry.kept.take().map_or(0, |(bytes, _)| bytes);
        match kept {
            Some(Some(introspected)) => {
                let members = introspected.claims.iter();
                let text: usize = members.map(|(name, value)| name.len() + length(value)).sum();
                let signed = introspected.signed.as_ref().map_or(0, |signed| signed.len());
                let bytes = OVERHEAD + 3 * text + signed;
                entry.kept = Some((bytes, moment));
                self.bytes += bytes;
                self.kept.push_back((key, moment));
            }
            Some(None) => {
                entry.kept = Some((0, moment));
                self.refused.push_back((key, moment));
            }
            None => {}
        }
        while self.bytes > CAPACITY || self.kept.len() > CAPACITY / OVERHEAD {
            let Some(oldest) = self.kept.pop_front() else { break };
            self.forget(oldest);
        }
        while self.refused.len() > MOST_REFUSED {
            let Some(oldest) = self.refused.pop_front() else { break };
            self.forget(oldest);
        }
    }

    /// Entries that were settled again leave their older places behind; those are passed over.
    fn forget(&mut self, (key, moment): ([u8; 32], u64)) {
        let is_it = |entry: &Entry| entry.kept.is_some_and(|(_, kept)| kept == moment);
        if self.by_key.get(&key).is_some_and(is_it) {
            let bytes = self.by_key.remove(&key).and_then(|entry| entry.kept).map_or(0, |(bytes, _)| bytes);
            self.bytes -= bytes;
        }
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        let mut tokens = self.introspections.tokens();
        let Some(entry) = tokens.by_key.get(&self.key) else { return };
        // Nothing is kept, and the last two who hold it are the table and this visit.
        if entry.kept.is_none() && Arc::ptr_eq(&entry.slot, &self.slot) && Arc::strong_count(&self.slot) <= 2
        {
            tokens.by_key.remove(&self.key);
        }
    }
}

/// About how long a value is as text.
fn length(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 2,
        Value::Array(items) => items.iter().map(|item| length(item) + 1).sum(),
        Value::Object(members) => members.iter().map(|(name, value)| name.len() + length(value) + 4).sum(),
        _ => 8,
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::atomic::AtomicUsize, time::Duration};

    use serde_json::json;

    use super::*;

    const NOW: UnixMillis = UnixMillis::from_secs(1000);

    fn active(text: &str, at: UnixMillis) -> Answer {
        let Value::Object(claims) = json!({"active": true, "sub": text}) else { panic!("an object") };
        Ok(Some(Introspected { claims: Arc::new(claims), signed: None, at }))
    }

    fn minute(introspected: Option<&Introspected>) -> Option<UnixMillis> {
        Some(introspected?.at + Duration::from_secs(60))
    }

    /// Counts how often it is asked, and gives others a turn meanwhile.
    async fn asked(count: &AtomicUsize, answer: Answer) -> Answer {
        tokio::task::yield_now().await;
        count.fetch_add(1, Ordering::Relaxed);
        answer
    }

    #[tokio::test]
    async fn requests_that_come_at_once_share_one_call_whatever_it_says() {
        for answer in [active("u", NOW), Ok(None), Err(ProviderError::NotReady)] {
            let (all, count) = (Introspections::default(), AtomicUsize::new(0));
            let one = || all.answer([1; 32], NOW, asked(&count, answer.clone()), minute);
            let got = futures_util::future::join_all((0..100).map(|_| one())).await;
            assert!(got.iter().all(|got| *got == answer));
            assert_eq!(count.load(Ordering::Relaxed), 1);
            one().await.ok();
            let again = usize::from(!matches!(answer, Ok(Some(_))));
            assert_eq!(count.load(Ordering::Relaxed), 1 + again, "only a yes is remembered");
            assert_eq!(all.tokens().by_key.len(), 1 - again);
        }
    }

    #[tokio::test]
    async fn an_answer_counts_until_the_moment_that_who_asked_named() {
        let (all, count) = (Introspections::default(), AtomicUsize::new(0));
        for (key, after, calls) in [(1, 0, 1), (1, 59, 1), (1, 60, 2), (1, 119, 2), (2, 119, 3)] {
            let now = NOW + Duration::from_secs(after);
            all.answer([key; 32], now, asked(&count, active("u", now)), minute).await.unwrap();
            assert_eq!(count.load(Ordering::Relaxed), calls, "{key} {after}");
        }
        {
            let tokens = all.tokens();
            let kept = tokens.by_key.values().filter_map(|entry| entry.kept);
            assert_eq!((tokens.by_key.len(), tokens.bytes), (2, kept.map(|(bytes, _)| bytes).sum()));
        }
        for calls in [4, 5] {
            all.answer([3; 32], NOW, asked(&count, active("u", NOW)), |_| None).await.unwrap();
            assert_eq!(
                (count.load(Ordering::Relaxed), all.tokens().by_key.len()),
                (calls, 2),
                "it is not taken"
            );
        }
    }

    #[tokio::test]
    async fn a_no_is_remembered_where_asked_for_and_floods_out_no_yes() {
        let (all, count) = (Introspections::default(), AtomicUsize::new(0));
        all.answer([1; 32], NOW, asked(&count, active("u", NOW)), minute).await.unwrap();
        let always = |_: Option<&Introspected>| Some(NOW + Duration::from_secs(60));
        for number in 0..=MOST_REFUSED {
            let mut key = [2; 32];
            key.iter_mut().zip(number.to_be_bytes()).for_each(|(to, from)| *to = from);
            for _ in 0..2 {
                assert_eq!(all.answer(key, NOW, asked(&count, Ok(None)), always).await, Ok(None));
            }
        }
        assert_eq!(count.load(Ordering::Relaxed), MOST_REFUSED + 2);
        assert_eq!(all.tokens().by_key.len(), MOST_REFUSED + 1);
        all.answer([1; 32], NOW, asked(&count, active("u", NOW)), minute).await.unwrap();
        assert_eq!(count.load(Ordering::Relaxed), MOST_REFUSED + 2, "the good one is still known");
    }

    #[tokio::test]
    async fn who_gives_up_keeps_nobody_waiting_and_leaves_nothing_behind() {
        let (all, count) = (Introspections::default(), AtomicUsize::new(0));
        {
            let stalled = all.answer([1; 32], NOW, std::future::pending(), minute);
            let waiting = all.answer([1; 32], NOW, asked(&count, active("u", NOW)), minute);
            assert!(futures_util::FutureExt::now_or_never(stalled).is_none());
            assert!(waiting.await.unwrap().is_some());
        }
        let stalled = all.answer([2; 32], NOW, std::future::pending(), minute);
        assert!(futures_util::FutureExt::now_or_never(stalled).is_none());
        assert_eq!((all.tokens().by_key.len(), count.load(Ordering::Relaxed)), (1, 1));
    }

    #[tokio::test]
    async fn what_is_kept_is_bounded_and_the_oldest_goes_first() {
        let all = Introspections::default();
        let large = "x".repeat(CAPACITY / 12);
        for key in 1..=10 {
            all.answer([key; 32], NOW, async { active(&large, NOW) }, minute).await.unwrap();
        }
        let tokens = all.tokens();
        assert!(tokens.bytes <= CAPACITY && tokens.by_key.len() == 3 && tokens.kept.len() == 3);
        assert!(tokens.by_key.contains_key(&[10; 32]));
    }
}
