//! What was answered survives the process's sudden end.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
};

use base::{Keyring, Random};
use idp::{model::Client, repository::Clients};

const FILE: &str = "IDENTITY_CRASH_FILE";

#[tokio::test]
async fn what_was_answered_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("identity.db");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::the_process_that_is_killed", "--nocapture", "--ignored"])
        .env(FILE, &path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let answered: Vec<String> = lines
        .map_while(Result::ok)
        .filter_map(|line| Some(line.strip_prefix("answered ")?.to_owned()))
        .take(200)
        .collect();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(answered.len(), 200);
    let keyring = Keyring::generate(&Random::system());
    let repository = idp_store::open_sqlite(&path, keyring, Random::system()).await.unwrap();
    for id in answered {
        assert!(repository.client("t", &id).await.unwrap().is_some(), "{id}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "is run, and killed, by what_was_answered_survives_a_kill"]
async fn the_process_that_is_killed() {
    let Some(path) = std::env::var_os(FILE).map(PathBuf::from) else { return };
    let repository =
        idp_store::open_sqlite(&path, Keyring::generate(&Random::system()), Random::system()).await.unwrap();
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let repository = repository.clone();
            tokio::spawn(async move {
                for n in 0..10_000 {
                    let id = format!("{writer}-{n}");
                    let client = Client { client_id: id.clone(), name: id.clone(), ..Client::default() };
                    repository.create_client("t", &client).await.unwrap();
                    println!("answered {id}");
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
}
