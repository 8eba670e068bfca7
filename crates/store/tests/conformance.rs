//! What every backend must do. Each case runs against each of them, on an empty store and a clock of its own.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // A test's helpers may panic as the tests do.

use std::{sync::Arc, time::Duration};

use base::{Clock, UnixMillis};
use store::{Condition, Entry, Event, MemoryStore, Operation, SqliteStore, Store, StoreError};

struct Case {
    store: Arc<dyn Store>,
    clock: Clock,
    _folder: Option<tempfile::TempDir>,
}

fn memory() -> Case {
    let clock = Clock::fixed(UnixMillis::from_secs(1_000));
    Case { store: Arc::new(MemoryStore::new(clock.clone())), clock, _folder: None }
}

async fn sqlite() -> Case {
    let clock = Clock::fixed(UnixMillis::from_secs(1_000));
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("config.db"), clock.clone()).await.unwrap();
    Case { store: Arc::new(store), clock, _folder: Some(folder) }
}

macro_rules! conformance {
    ($($name:ident),* $(,)?) => {
        mod in_memory { $(#[tokio::test] async fn $name() { super::$name(super::memory()).await; })* }
        mod in_sqlite { $(#[tokio::test] async fn $name() { super::$name(super::sqlite().await).await; })* }
    };
}

conformance!(
    a_key_remembers_who_made_and_who_changed_it,
    a_transaction_happens_whole_or_not_at_all,
    conditions_compare_revisions,
    a_deletion_of_nothing_is_no_revision,
    prefixes_are_ordered_by_bytes_and_end_where_they_end,
    pages_continue_where_the_last_one_ended,
    one_of_many_writers_wins,
    writers_that_wait_together_get_revisions_of_their_own,
    a_lease_runs_out_as_a_revision_of_its_own,
    writing_without_a_ttl_ends_the_lease,
    a_watch_reports_whole_revisions_in_order,
    a_watch_sees_only_its_prefix,
    a_watch_from_an_unknown_revision_is_compacted,
    a_watch_waits_for_what_comes,
    transactions_out_of_bounds_are_refused_before_anything_happens,
    values_are_opaque_bytes,
);

fn put(key: &str, value: &str) -> Operation {
    Operation::Put { key: key.into(), value: value.into(), ttl: None }
}

fn delete(key: &str) -> Operation {
    Operation::Delete { key: key.into() }
}

fn leased(key: &str, seconds: u64) -> Operation {
    Operation::Put { key: key.into(), value: b"x".to_vec(), ttl: Some(Duration::from_secs(seconds)) }
}

fn keys(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.key.as_str()).collect()
}

async fn a_key_remembers_who_made_and_who_changed_it(case: Case) {
    let store = &case.store;
    assert_eq!(store.get("/a").await.unwrap(), None);
    assert_eq!(store.range("/").await.unwrap(), (vec![], 0));
    assert_eq!(store.commit(vec![], vec![put("/a", "1")]).await, Ok(1));
    assert_eq!(store.commit(vec![], vec![put("/b", "1")]).await, Ok(2));
    assert_eq!(store.commit(vec![], vec![put("/a", "2")]).await, Ok(3));
    let entry = store.get("/a").await.unwrap().unwrap();
    assert_eq!((entry.create_revision, entry.modify_revision), (1, 3));
    assert_eq!(entry.value, b"2");
    store.commit(vec![], vec![delete("/a")]).await.unwrap();
    assert_eq!(store.get("/a").await.unwrap(), None);
    store.commit(vec![], vec![put("/a", "3")]).await.unwrap();
    let entry = store.get("/a").await.unwrap().unwrap();
    assert_eq!((entry.create_revision, entry.modify_revision), (5, 5));
}

async fn a_transaction_happens_whole_or_not_at_all(case: Case) {
    let store = &case.store;
    store.commit(vec![], vec![put("/taken", "1")]).await.unwrap();
    let failed = store
        .commit(
            vec![Condition::Absent("/free".into()), Condition::Absent("/taken".into())],
            vec![put("/free", "1"), put("/other", "1")],
        )
        .await;
    assert_eq!(failed, Err(StoreError::Conflict { key: "/taken".into() }));
    let (entries, revision) = store.range("").await.unwrap();
    assert_eq!((keys(&entries), revision), (vec!["/taken"], 1));
    let done = store
        .commit(
            vec![Condition::Absent("/free".into()), Condition::Present("/taken".into())],
            vec![put("/free", "1"), delete("/taken"), put("/other", "1")],
        )
        .await;
    assert_eq!(done, Ok(2));
    let (entries, _) = store.range("").await.unwrap();
    assert_eq!(keys(&entries), ["/free", "/other"]);
    assert!(entries.iter().all(|entry| entry.create_revision == 2 && entry.modify_revision == 2));
}

async fn conditions_compare_revisions(case: Case) {
    let store = &case.store;
    store.commit(vec![], vec![put("/a", "1")]).await.unwrap();
    let unchanged = |modify_revision| vec![Condition::Unchanged { key: "/a".into(), modify_revision }];
    assert_eq!(store.commit(unchanged(1), vec![put("/a", "2")]).await, Ok(2));
    let late = store.commit(unchanged(1), vec![put("/a", "3")]).await;
    assert_eq!(late, Err(StoreError::Conflict { key: "/a".into() }));
    store.commit(vec![], vec![delete("/a")]).await.unwrap();
    assert!(store.commit(unchanged(2), vec![put("/a", "3")]).await.is_err());
    assert!(store.commit(vec![Condition::Present("/a".into())], vec![]).await.is_err());
    assert_eq!(store.commit(vec![Condition::Absent("/a".into())], vec![]).await, Ok(3));
}

async fn a_deletion_of_nothing_is_no_revision(case: Case) {
    let store = &case.store;
    assert_eq!(store.commit(vec![], vec![delete("/a")]).await, Ok(0));
    assert_eq!(store.commit(vec![], vec![put("/b", "1"), delete("/a")]).await, Ok(1));
    assert_eq!(store.commit(vec![], vec![]).await, Ok(1));
    let events = store.watch("", 0).await.unwrap().next().await.unwrap();
    assert_eq!(events.len(), 1);
}

async fn prefixes_are_ordered_by_bytes_and_end_where_they_end(case: Case) {
    let store = &case.store;
    for key in ["/r/b", "/r/a", "/r", "/r0", "/r/é", "/r/Z", "/r/a/b", "/q", "/r/\u{10ffff}", "/s"] {
        store.commit(vec![], vec![put(key, "1")]).await.unwrap();
    }
    let (entries, revision) = store.range("/r/").await.unwrap();
    assert_eq!(keys(&entries), ["/r/Z", "/r/a", "/r/a/b", "/r/b", "/r/é", "/r/\u{10ffff}"]);
    assert_eq!(revision, 10);
    assert_eq!(keys(&store.range("/r/\u{10ffff}").await.unwrap().0), ["/r/\u{10ffff}"]);
    assert_eq!(store.range("").await.unwrap().0.len(), 10);
    assert!(store.range("/none/").await.unwrap().0.is_empty());
}

async fn pages_continue_where_the_last_one_ended(case: Case) {
    let store = &case.store;
    for n in 0..7 {
        store.commit(vec![], vec![put(&format!("/p/{n}"), "1")]).await.unwrap();
    }
    store.commit(vec![], vec![put("/pz", "1")]).await.unwrap();
    let (mut after, mut seen, mut pages) = (None::<String>, Vec::new(), 0);
    loop {
        let page = store.page("/p/", after.as_deref(), 3).await.unwrap();
        seen.extend(page.entries.iter().map(|entry| entry.key.clone()));
        pages += 1;
        assert_eq!(page.revision, 8);
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(pages, 3);
    assert_eq!(seen, (0..7).map(|n| format!("/p/{n}")).collect::<Vec<_>>());
    assert_eq!(store.page("/p/", Some("/p/6"), 3).await.unwrap().entries, []);
    assert_eq!(store.page("/p/", None, 7).await.unwrap().next, None);
}

async fn one_of_many_writers_wins(case: Case) {
    let writers = (0..50).map(|n| {
        let store = Arc::clone(&case.store);
        tokio::spawn(async move {
            store.commit(vec![Condition::Absent("/one".into())], vec![put("/one", &n.to_string())]).await
        })
    });
    let mut won = 0;
    for writer in writers.collect::<Vec<_>>() {
        match writer.await.unwrap() {
            Ok(_) => won += 1,
            Err(error) => assert_eq!(error, StoreError::Conflict { key: "/one".into() }),
        }
    }
    assert_eq!(won, 1);
    assert_eq!(case.store.range("").await.unwrap().1, 1);
}

async fn writers_that_wait_together_get_revisions_of_their_own(case: Case) {
    let writers = (0..100).map(|n| {
        let store = Arc::clone(&case.store);
        tokio::spawn(async move {
            let key = format!("/w/{n}");
            let revision = store.commit(vec![], vec![put(&key, "1")]).await.unwrap();
            // What was acknowledged is seen by whoever asks next.
            assert_eq!(store.get(&key).await.unwrap().unwrap().modify_revision, revision);
            revision
        })
    });
    let mut revisions = Vec::new();
    for writer in writers.collect::<Vec<_>>() {
        revisions.push(writer.await.unwrap());
    }
    revisions.sort_unstable();
    assert_eq!(revisions, (1..=100).collect::<Vec<u64>>());
}

async fn a_lease_runs_out_as_a_revision_of_its_own(case: Case) {
    let store = &case.store;
    store.commit(vec![], vec![leased("/l/1", 10), leased("/l/2", 10), put("/l/3", "1")]).await.unwrap();
    store.commit(vec![], vec![leased("/l/4", 11)]).await.unwrap();
    let expires = store.get("/l/1").await.unwrap().unwrap().lease_expires;
    assert_eq!(expires, Some(UnixMillis::from_secs(1_010)));
    assert_eq!(store.expire_due().await, Ok(0));
    case.clock.advance(Duration::from_millis(9_999));
    assert_eq!(store.expire_due().await, Ok(0));
    let mut watch = store.watch("/l/", 2).await.unwrap();
    case.clock.advance(Duration::from_millis(1));
    assert_eq!(store.expire_due().await, Ok(2));
    let (entries, revision) = store.range("").await.unwrap();
    assert_eq!((keys(&entries), revision), (vec!["/l/3", "/l/4"], 3));
    let gone = |key: &str| Event::Delete { key: key.into(), revision: 3 };
    assert_eq!(watch.next().await.unwrap(), [gone("/l/1"), gone("/l/2")]);
}

async fn writing_without_a_ttl_ends_the_lease(case: Case) {
    let store = &case.store;
    store.commit(vec![], vec![leased("/a", 1)]).await.unwrap();
    store.commit(vec![], vec![put("/a", "kept")]).await.unwrap();
    case.clock.advance(Duration::from_secs(5));
    assert_eq!(store.expire_due().await, Ok(0));
    assert_eq!(store.get("/a").await.unwrap().unwrap().lease_expires, None);
}

async fn a_watch_reports_whole_revisions_in_order(case: Case) {
    let store = &case.store;
    store.commit(vec![], vec![put("/a", "1"), put("/b", "1")]).await.unwrap();
    store.commit(vec![], vec![put("/a", "2"), delete("/b")]).await.unwrap();
    let mut watch = store.watch("/", 0).await.unwrap();
    let events = watch.next().await.unwrap();
    let seen: Vec<_> = events.iter().map(|event| (event.key(), event.revision())).collect();
    assert_eq!(seen, [("/a", 1), ("/b", 1), ("/a", 2), ("/b", 2)]);
    assert!(matches!(&events[2], Event::Put(entry) if entry.value == b"2" && entry.create_revision == 1));
    assert!(matches!(&events[3], Event::Delete { .. }));
    assert_eq!(watch.revision(), 2);
    let again = store.watch("/", 1).await.unwrap().next().await.unwrap();
    assert_eq!(again, events[2..]);
}

async fn a_watch_sees_only_its_prefix(case: Case) {
    let store = &case.store;
    let mut watch = store.watch("/a/", 0).await.unwrap();
    for key in ["/b/1", "/a", "/ab", "/a/1"] {
        store.commit(vec![], vec![put(key, "1")]).await.unwrap();
    }
    let events = watch.next().await.unwrap();
    assert_eq!(events.iter().map(Event::key).collect::<Vec<_>>(), ["/a/1"]);
    assert_eq!(watch.revision(), 4);
}

async fn a_watch_from_an_unknown_revision_is_compacted(case: Case) {
    let store = &case.store;
    store.commit(vec![], vec![put("/a", "1")]).await.unwrap();
    assert!(matches!(store.watch("/", 2).await, Err(StoreError::Compacted { .. })));
    assert!(store.watch("/", 1).await.is_ok());
}

async fn a_watch_waits_for_what_comes(case: Case) {
    let store = Arc::clone(&case.store);
    let (_, revision) = store.range("/").await.unwrap();
    let mut watch = store.watch("/", revision).await.unwrap();
    let watcher = tokio::spawn(async move {
        let mut seen = Vec::new();
        while seen.len() < 20 {
            seen.extend(watch.next().await.unwrap().iter().map(Event::revision));
        }
        seen
    });
    for n in 0..20 {
        store.commit(vec![], vec![put("/n", &n.to_string())]).await.unwrap();
    }
    assert_eq!(watcher.await.unwrap(), (1..=20).collect::<Vec<u64>>());
}

async fn transactions_out_of_bounds_are_refused_before_anything_happens(case: Case) {
    let store = &case.store;
    let many = (0..20_000).map(|n| put(&format!("/{n}"), "1")).collect();
    assert!(matches!(store.commit(vec![], many).await, Err(StoreError::TooLarge { .. })));
    let big = Operation::Put { key: "/big".into(), value: vec![0; 2 << 20], ttl: None };
    assert!(matches!(store.commit(vec![], vec![big]).await, Err(StoreError::TooLarge { .. })));
    for operations in [
        vec![put("", "1")],
        vec![put("/a\0b", "1")],
        vec![put(&"k".repeat(2000), "1")],
        vec![put("/a", "1"), delete("/a")],
    ] {
        assert!(matches!(store.commit(vec![], operations).await, Err(StoreError::Invalid { .. })));
    }
    assert_eq!(store.range("").await.unwrap(), (vec![], 0));
}

async fn values_are_opaque_bytes(case: Case) {
    let value: Vec<u8> = (0..=255).collect();
    let write = Operation::Put { key: "/bytes".into(), value: value.clone(), ttl: None };
    case.store.commit(vec![], vec![write]).await.unwrap();
    assert_eq!(case.store.get("/bytes").await.unwrap().unwrap().value, value);
    case.store.commit(vec![], vec![put("/bytes", "")]).await.unwrap();
    assert_eq!(case.store.get("/bytes").await.unwrap().unwrap().value, b"");
}

#[tokio::test]
async fn the_fake_takes_small_transactions_only_when_told_so() {
    let store = MemoryStore::with_limit(Clock::fixed(UnixMillis(0)), 2);
    let three = vec![put("/1", "1"), put("/2", "1"), put("/3", "1")];
    let refused = store.commit(vec![], three).await;
    assert_eq!(refused, Err(StoreError::TooLarge { size: 3, limit: 2, unit: "operations" }));
    assert_eq!(store.commit(vec![], vec![put("/1", "1"), put("/2", "1")]).await, Ok(1));
}
