//! `cargo xtask fuzz`: the fuzzers of the tests, each for as long as one likes, from a seed that is told.

use std::{
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, bail};

/// A fuzzer: its name, the test program it is in, and its test.
struct Target {
    name: &'static str,
    program: &'static str,
    test: &'static str,
}

const TARGETS: [Target; 12] = [
    in_transport("requests", "fuzz::requests::t13_what_the_upstream_sees_is_what_the_client_meant"),
    in_transport("answers", "fuzz::answers::t13_what_the_client_sees_is_what_the_upstream_meant"),
    in_openid_connect("cookie", "fuzz::browsers::r24_a_cookie_that_was_altered_opens_nothing"),
    in_openid_connect("callback", "fuzz::browsers::r01_a_callback_that_was_altered_begins_nothing"),
    in_openid_connect("discovery", "fuzz::published::r35_metadata_that_were_altered_let_nobody_in"),
    in_openid_connect("jwks", "fuzz::published::j41_keys_that_were_altered_let_nobody_in"),
    in_openid_connect(
        "introspection",
        "fuzz::published::j51_an_introspection_answer_that_was_altered_is_a_clear_yes_or_none",
    ),
    in_openid_connect("token", "fuzz::presented::j25_a_token_that_was_altered_opens_nothing"),
    in_openid_connect("dpop", "fuzz::presented::j54_a_proof_that_was_altered_proves_nothing"),
    in_openid_connect("jwe", "fuzz::presented::j46_an_encrypted_id_token_that_was_altered_makes_no_session"),
    in_openid_connect(
        "claim_schema",
        "fuzz::operators::a09_a_claim_schema_that_was_altered_is_refused_or_judges",
    ),
    in_openid_connect("yaml", "fuzz::operators::a09_yaml_that_was_altered_is_refused_or_taken"),
];

const fn in_transport(name: &'static str, test: &'static str) -> Target {
    Target { name, program: "transport", test }
}

const fn in_openid_connect(name: &'static str, test: &'static str) -> Target {
    Target { name, program: "openid_connect", test }
}

/// Reads `--seconds N [--seed S] [TARGET]` and runs the target, or one after the other.
pub(crate) fn run(words: &[&str]) -> anyhow::Result<()> {
    let (mut seconds, mut seed, mut chosen) = (None, None, None);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "--seconds" | "--seed" => {
                let value = words.next().with_context(|| format!("{word} needs a number"))?;
                let number: u64 = value.parse().with_context(|| format!("{word}: {value} is no number"))?;
                *(if *word == "--seconds" { &mut seconds } else { &mut seed }) = Some(number);
            }
            name if chosen.is_none() && !name.starts_with('-') => chosen = Some(name),
            other => bail!("{other} is not understood; see `cargo xtask`"),
        }
    }
    let seconds = seconds.context("--seconds N says how long each target runs")?;
    let targets: Vec<&Target> =
        TARGETS.iter().filter(|target| chosen.is_none_or(|name| name == target.name)).collect();
    if targets.is_empty() {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        bail!("there is no such target; there are {}", names.join(", "));
    }
    // A seed of its own each time: the tests have a fixed one.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    let seed = seed.unwrap_or(now.as_secs());
    for target in targets {
        println!("== {}: {seconds} s from seed {seed}", target.name);
        fuzz(target, seconds, seed)?;
    }
    Ok(())
}

fn fuzz(target: &Target, seconds: u64, seed: u64) -> anyhow::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // As `cargo xtask test` selects features, so that nothing is compiled twice.
    let status = Command::new(cargo)
        .args(["test", "--quiet", "--workspace", "--all-features", "--test", target.program, "--"])
        .args(["--exact", target.test, "--nocapture"])
        .env("PORTCULLIS_FUZZ_SECONDS", seconds.to_string())
        .env("PORTCULLIS_FUZZ_SEED", seed.to_string())
        .status()
        .context("cannot run cargo")?;
    if !status.success() {
        bail!(
            "{} found something; again: cargo xtask fuzz --seconds {seconds} --seed {seed} {}",
            target.name,
            target.name
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_a_test() {
        for target in TARGETS {
            let (module, test) = target.test.rsplit_once("::").unwrap();
            let file = module.rsplit("::").next().unwrap();
            let path = format!("{}/../tests/{}/fuzz/{file}.rs", env!("CARGO_MANIFEST_DIR"), target.program);
            let source = std::fs::read_to_string(&path).unwrap();
            assert!(source.contains(&format!("fn {test}(")), "{test}");
            assert!(source.contains(&format!("\"{}\"", target.name)), "{}", target.name);
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for words in
            [&[][..], &["--seconds"], &["--seconds", "x"], &["--seconds", "1", "nothing"], &["--x", "1"]]
        {
            assert!(run(words).is_err(), "{words:?}");
        }
    }
}
