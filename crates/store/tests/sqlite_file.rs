//! The SQLite backend as a file: what survives, what is noticed, what is refused.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // Helpers may panic as the tests do.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::fs::{FileExt, PermissionsExt},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use base::{Clock, Random};
use store::{Condition, Operation, Pass, SqliteFile, SqliteStore, Store, StoreError};

/// Set for the child process of the crash test: the store it writes to until it is killed.
const VICTIM: &str = "PORTCULLIS_TEST_STORE";
const WRITERS: u64 = 4;

fn put(key: &str, value: impl Into<Vec<u8>>) -> Operation {
    Operation::Put { key: key.to_owned(), value: value.into(), ttl: None }
}

async fn open(path: &Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(path, Clock::system()).await
}

#[tokio::test]
async fn s02_the_files_are_readable_by_their_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.db");
    fs::write(&path, b"").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let store = open(&path).await.unwrap();
    store.commit(vec![], vec![put("/a", "1")]).await.unwrap();
    store.get("/a").await.unwrap();
    let mut names = Vec::new();
    for file in fs::read_dir(folder.path()).unwrap().map(Result::unwrap) {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.file_name());
        names.push(file.file_name());
    }
    assert!(names.len() >= 3, "{names:?}");
}

#[tokio::test]
async fn what_was_written_is_there_after_closing_and_opening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.db");
    let store = open(&path).await.unwrap();
    store.commit(vec![], vec![put("/a", "1")]).await.unwrap();
    store.commit(vec![], vec![put("/a", "2")]).await.unwrap();
    let before = store.range("").await.unwrap();
    store.close().await;
    assert!(matches!(store.commit(vec![], vec![]).await, Err(StoreError::Unavailable { .. })));
    assert!(matches!(store.range("").await, Err(StoreError::Unavailable { .. })));
    drop(store);
    let store = open(&path).await.unwrap();
    assert_eq!(store.range("").await.unwrap(), before);
    // The history did not survive, and the store says so.
    assert_eq!(store.watch("", 1).await.map(|_| ()), Err(StoreError::Compacted { revision: 2 }));
    assert_eq!(store.commit(vec![], vec![put("/b", "1")]).await, Ok(3));
}

#[tokio::test]
async fn a_store_belongs_to_one_process_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.db");
    let store = open(&path).await.unwrap();
    let Err(StoreError::Unavailable { reason }) = open(&path).await else { panic!("opened twice") };
    assert!(reason.starts_with("another process uses it"), "{reason}");
    store.close().await;
    drop(store);
    open(&path).await.unwrap();
}

#[tokio::test]
async fn f05_a_full_disk_refuses_the_write_and_heals() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.db");
    let store = SqliteStore::open_with(&path, Clock::system(), 1 << 20).await.unwrap();
    store.commit(vec![], vec![put("/small", "1")]).await.unwrap();
    let mut written = 0;
    let reason = loop {
        match store.commit(vec![], vec![put(&format!("/fill/{written}"), vec![7; 64 << 10])]).await {
            Ok(_) => written += 1,
            Err(StoreError::Unavailable { reason }) => break reason,
            Err(other) => panic!("{other}"),
        }
    };
    assert_eq!(reason, "database or disk is full");
    let (entries, revision) = store.range("").await.unwrap();
    assert_eq!(entries.len(), written + 1);
    assert_eq!(revision, written as u64 + 1);
    let mut watch = store.watch("", revision).await.unwrap();
    let delete = (0..written).map(|n| Operation::Delete { key: format!("/fill/{n}") }).collect();
    assert_eq!(store.commit(vec![], delete).await, Ok(revision + 1));
    assert_eq!(store.commit(vec![], vec![put("/again", vec![7; 64 << 10])]).await, Ok(revision + 2));
    assert_eq!(watch.next().await.unwrap().len(), written + 1);
}

#[tokio::test]
async fn one_write_that_does_not_fit_fails_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store =
        SqliteStore::open_with(folder.path().join("config.db"), Clock::system(), 1 << 20).await.unwrap();
    let store = Arc::new(store);
    let writers: Vec<_> = (0..20)
        .map(|n| {
            let store = Arc::clone(&store);
            // More than the file may hold; no other write is to suffer from it.
            let value = if n == 7 { vec![1; 1_400_000] } else { b"small".to_vec() };
            tokio::spawn(async move { store.commit(vec![], vec![put(&format!("/{n}"), value)]).await })
        })
        .collect();
    for (n, writer) in writers.into_iter().enumerate() {
        assert_eq!(writer.await.unwrap().is_ok(), n != 7, "{n}");
    }
    assert_eq!(store.range("").await.unwrap().0.len(), 19);
}

#[tokio::test]
async fn f07_every_flipped_byte_is_noticed_or_harmless() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.db");
    let store = open(&path).await.unwrap();
    for n in 0..40 {
        let value = format!("{{\"uri\":\"/{n}\"}}").repeat(10);
        store.commit(vec![], vec![put(&format!("/apisix/routes/{n}"), value)]).await.unwrap();
    }
    let sound = store.range("").await.unwrap();
    store.close().await;
    drop(store);
    let length = fs::metadata(&path).unwrap().len();
    let random = Random::seeded(7);
    let mut noticed = 0;
    for _ in 0..200 {
        let offset = u64::from_be_bytes(random.bytes()) % length;
        let mut byte = [0];
        let file = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        file.read_exact_at(&mut byte, offset).unwrap();
        file.write_all_at(&[byte[0] ^ 0x10], offset).unwrap();
        match open(&path).await {
            Ok(store) => {
                assert_eq!(store.range("").await.unwrap(), sound, "byte {offset} changed what is read");
                for entry in &sound.0 {
                    assert_eq!(store.get(&entry.key).await.unwrap().as_ref(), Some(entry), "byte {offset}");
                }
                store.close().await;
            }
            Err(StoreError::Corrupt { .. }) => noticed += 1,
            Err(other) => panic!("byte {offset}: {other}"),
        }
        file.write_all_at(&byte, offset).unwrap();
    }
    assert!(noticed > 50, "{noticed}");
    assert_eq!(open(&path).await.unwrap().range("").await.unwrap(), sound);
}

#[tokio::test]
async fn a_file_that_is_no_store_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.db");
    let text = "this is somebody's diary\n".repeat(500);
    fs::write(&path, &text).unwrap();
    let Err(error) = open(&path).await else { panic!("opened") };
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[tokio::test]
async fn a_folder_that_is_missing_is_named() {
    let Err(error) = open(Path::new("/nonexistent/config.db")).await else { panic!("opened") };
    assert!(error.to_string().contains("/nonexistent/config.db"), "{error}");
}

/// Not a test of its own: the process that the next test kills.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn victim() {
    let Ok(path) = std::env::var(VICTIM) else { return };
    let store = Arc::new(open(Path::new(&path)).await.unwrap());
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let key = format!("/writer/{writer}");
                let known = store.get(&key).await.unwrap();
                let mut n = known.map_or(0, |entry| String::from_utf8(entry.value).unwrap().parse().unwrap());
                loop {
                    n += 1_u64;
                    // Both keys change together, or the store has torn a transaction apart.
                    let pair = vec![put(&key, n.to_string()), put(&format!("/twin/{writer}"), n.to_string())];
                    store.commit(vec![], pair).await.unwrap();
                    writeln!(std::io::stdout(), "acknowledged {writer} {n}").unwrap();
                }
            })
        })
        .collect();
    // They write until this process is killed; one that stops has failed.
    let stopped: Result<(), _> = writers.into_iter().next().unwrap().await;
    stopped.unwrap();
}

#[tokio::test]
async fn f01_acknowledged_commits_survive_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.db");
    let random = Random::seeded(1);
    let mut acknowledged = BTreeMap::new();
    for _ in 0..15 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "victim", "--nocapture", "--test-threads", "1"])
            .env(VICTIM, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let wanted = 1 + usize::from(random.bytes::<1>()[0]);
        let mut note = |line: &str| {
            let mut words = line.rsplit(' ');
            let mut number = || words.next()?.parse::<u64>().ok();
            if let (true, Some(n), Some(writer)) = (line.contains("acknowledged"), number(), number()) {
                acknowledged.insert(writer, n);
            }
        };
        for line in lines.by_ref().take(wanted) {
            note(&line.unwrap());
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it said before it died counts as well, except for a line that it could not finish.
        let rest: Vec<String> = lines.map_while(Result::ok).collect();
        rest.iter().take(rest.len().saturating_sub(1)).for_each(|line| note(line));

        let store = open(&path).await.unwrap();
        for (writer, n) in &acknowledged {
            let value = async |key: String| -> u64 {
                let entry = store.get(&key).await.unwrap().unwrap();
                String::from_utf8(entry.value).unwrap().parse().unwrap()
            };
            let kept = value(format!("/writer/{writer}")).await;
            assert!(kept >= *n, "writer {writer}: {n} was acknowledged, {kept} is stored");
            assert_eq!(kept, value(format!("/twin/{writer}")).await);
        }
        store.close().await;
    }
    assert_eq!(acknowledged.len() as u64, WRITERS);
}

/// Every value in capitals; what is in capitals stays.
fn capitals(entry: &store::Entry) -> Result<Option<Vec<u8>>, String> {
    let capitals = entry.value.to_ascii_uppercase();
    Ok((capitals != entry.value).then_some(capitals))
}

#[tokio::test]
async fn s03_values_get_other_words_beside_the_process_that_has_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.db");
    let store = open(&path).await.unwrap();
    for number in 0..250 {
        store.commit(vec![], vec![put(&format!("/{number:03}"), format!("value {number}"))]).await.unwrap();
    }
    let with_lease = Operation::Put {
        key: "/lease".to_owned(),
        value: b"v".to_vec(),
        ttl: Some(std::time::Duration::from_secs(3600)),
    };
    let revision = store.commit(vec![], vec![with_lease]).await.unwrap();
    let mut watch = store.watch("/", revision).await.unwrap();
    let before = store.range("/").await.unwrap();

    assert!(SqliteFile::is_in_use(&path).unwrap());
    let mut file = SqliteFile::open(&path).await.unwrap();
    let mut told = Vec::new();
    let pass = file.reword(capitals, |replaced| told.push(replaced)).await.unwrap();
    assert_eq!(pass, Pass { replaced: 251, ..Pass::default() });
    assert_eq!(told, [100, 200, 251]);
    assert_eq!(file.reword(capitals, |_| panic!("nothing is left")).await.unwrap(), Pass::default());
    file.scrub().await.unwrap();

    // The values are others; revisions, leases and whoever watches know of nothing.
    let (mut entries, at) = store.range("/").await.unwrap();
    assert_eq!(at, before.1);
    for (entry, old) in entries.iter_mut().zip(&before.0) {
        assert_eq!(entry.value, old.value.to_ascii_uppercase());
        entry.value.clone_from(&old.value);
    }
    assert_eq!(entries, before.0);
    let unchanged =
        Condition::Unchanged { key: "/007".to_owned(), modify_revision: entries[7].modify_revision };
    store.commit(vec![unchanged], vec![put("/007", "seven")]).await.unwrap();
    assert_eq!(watch.next().await.unwrap().len(), 1);
    store.close().await;
    drop(store);
    assert!(!SqliteFile::is_in_use(&path).unwrap());
    let store = open(&path).await.unwrap();
    assert_eq!(store.get("/007").await.unwrap().unwrap().value, b"seven");
    assert_eq!(store.get("/249").await.unwrap().unwrap().value, b"VALUE 249");
}

#[tokio::test]
async fn s03_what_the_process_writes_meanwhile_stands_and_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.db");
    let store = open(&path).await.unwrap();
    store.commit(vec![], vec![put("/a", "a"), put("/b", "b"), put("/c", "c")]).await.unwrap();
    let mut file = SqliteFile::open(&path).await.unwrap();
    // Between reading and replacing, the store writes one of them and deletes another.
    let runtime = tokio::runtime::Handle::current();
    let pass = tokio::task::spawn_blocking({
        let store = Arc::new(store);
        move || {
            let mut written = false;
            let pass = runtime.block_on(file.reword(
                |entry| {
                    if !written {
                        written = true;
                        let store = Arc::clone(&store);
                        let (done, is_done) = std::sync::mpsc::channel();
                        runtime.spawn(async move {
                            let delete = Operation::Delete { key: "/c".to_owned() };
                            let done_so = store.commit(vec![], vec![put("/b", "later"), delete]).await;
                            done.send(done_so).unwrap();
                        });
                        is_done.recv().unwrap().unwrap();
                    }
                    if entry.key == "/a" { Err("no words".to_owned()) } else { capitals(entry) }
                },
                |_| {},
            ));
            (pass, store)
        }
    });
    let (pass, store) = pass.await.unwrap();
    let failed = vec![("/a".to_owned(), "no words".to_owned())];
    assert_eq!(pass.unwrap(), Pass { replaced: 0, overtaken: 2, failed });
    let values: Vec<_> = store.range("/").await.unwrap().0.into_iter().map(|entry| entry.value).collect();
    assert_eq!(values, [b"a".to_vec(), b"later".to_vec()]);
}

#[tokio::test]
async fn a_file_that_is_no_store_gets_no_other_words() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.db");
    fs::write(
        &path,
        b"this is not a database, but it is longer than a header of one hundred bytes would be ......",
    )
    .unwrap();
    assert!(SqliteFile::open(&path).await.is_err());
    assert!(SqliteFile::open(folder.path().join("none.db")).await.is_err());
}
