//! `portcullis jose` and the vectors of others: all of Wycheproof's files for JOSE, and the examples of the RFCs, each
//! judged by a process of its own. The policy is written in `docs/jose.md`.

use std::{
    fs,
    path::Path,
    process::Output,
    sync::{Mutex, PoisonError},
    thread,
};

use serde_json::Value;

use super::{portcullis, text, with_input};

#[path = "../../crates/jose/tests/policy/mod.rs"]
mod policy;
use policy::{WYCHEPROOF, example_table, examples, policy_table};

/// Processes that run at the same time.
const AT_ONCE: usize = 4;

/// One token, judged by the binary.
fn judge(folder: &Path, name: &str, key: &Value, is_encrypted: bool, token: &str) -> Output {
    let file = folder.join(name);
    fs::write(&file, key.to_string()).unwrap();
    let verb = if is_encrypted { "decrypt" } else { "verify" };
    with_input(portcullis().args(["jose", verb, "--jwk"]).arg(&file), token)
}

/// What was opened, or the one line that says why not.
fn verdict(output: &Output) -> Result<Vec<u8>, String> {
    match output.status.code() {
        Some(0) => {
            let opened = output.stdout.strip_prefix(b"valid\n").and_then(|rest| rest.strip_suffix(b"\n"));
            Ok(opened.expect("`valid`, and what the token holds").to_vec())
        }
        Some(1) => {
            assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
            let reason = text(&output.stderr);
            assert_eq!(reason.lines().count(), 1, "{reason}");
            Err(reason)
        }
        code => panic!("exit code {code:?}: {}", text(&output.stderr)),
    }
}

/// Does `work` to all of `items`, a few at the same time, and returns what it found wrong.
fn all<T: Send>(items: Vec<T>, work: impl Fn(usize, T) -> Option<String> + Sync) -> Vec<String> {
    let queue = Mutex::new(items.into_iter().enumerate());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    thread::scope(|scope| {
        let work_off = || {
            let mut wrong = Vec::new();
            while let Some((number, item)) = next() {
                wrong.extend(work(number, item));
            }
            wrong
        };
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work_off)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    })
}

#[test]
fn wycheproofs_vectors_are_judged_as_labelled_but_for_the_policy() {
    let folder = tempfile::tempdir().unwrap();
    let vectors: Vec<_> = WYCHEPROOF.iter().flat_map(policy::Wycheproof::vectors).collect();
    assert_eq!(vectors.len(), 649);
    let wrong = all(vectors, |number, vector| {
        let key = vector.public.as_ref().filter(|_| !vector.is_encrypted).unwrap_or(&vector.private);
        let name = format!("{number}.json");
        let opened = verdict(&judge(folder.path(), &name, key, vector.is_encrypted, &vector.token));
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let is_plain = match (&opened, &vector.plain) {
            (Ok(opened), Some(plain)) => hex(opened) == *plain,
            _ => true,
        };
        (opened.is_ok() != vector.is_good || !is_plain)
            .then(|| format!("{} {}: {opened:?}", vector.id, vector.comment))
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_examples_of_the_rfcs_come_out_byte_for_byte_or_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = all(examples(), |number, example| {
        let name = format!("{number}.json");
        let opened =
            verdict(&judge(folder.path(), &name, &example.key, example.is_encrypted, &example.token));
        let is_right = match (&opened, &example.expected) {
            (Ok(payload), Ok(expected)) => payload == expected,
            (Err(reason), Err(expected)) => reason.contains(expected.as_str()),
            _ => false,
        };
        (!is_right).then(|| format!("{}: {opened:?}", example.name))
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_algorithm_that_is_expected_is_the_only_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key.json");
    let run = |verb: &str, further: &[&str], token: &str| {
        with_input(portcullis().args(["jose", verb, "--jwk"]).arg(&file).args(further), token)
    };
    for example in examples() {
        fs::write(&file, example.key.to_string()).unwrap();
        match example.name.as_str() {
            "RFC 7515 A.3" => {
                assert_eq!(run("verify", &["--alg", "ES256"], &example.token).status.code(), Some(0));
                assert_eq!(run("verify", &["--alg", "RS256"], &example.token).status.code(), Some(1));
                let unknown = run("verify", &["--alg", "ES256K"], &example.token);
                assert!(text(&unknown.stderr).contains("ES256K"), "{}", text(&unknown.stderr));
            }
            "RFC 7516 A.1" => {
                let fitting = ["--alg", "RSA-OAEP", "--enc", "A256GCM"];
                assert_eq!(run("decrypt", &fitting, &example.token).status.code(), Some(0));
                for other in [["--alg", "RSA-OAEP-256"], ["--enc", "A128GCM"]] {
                    assert_eq!(run("decrypt", &other, &example.token).status.code(), Some(1), "{other:?}");
                }
            }
            _ => {}
        }
    }
}

#[test]
fn the_written_policy_is_the_one_that_is_tested() {
    let written = include_str!("../../docs/jose.md");
    for (what, table) in [("departures", policy_table()), ("examples", example_table())] {
        assert!(written.contains(&table), "docs/jose.md must show the {what} as\n{table}");
    }
}
