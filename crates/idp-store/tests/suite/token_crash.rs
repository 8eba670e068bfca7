//! Tokens after the process's sudden end, again and again: what was given counts, what was used up stays used up.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use base::{Keyring, Random};
use idp::repository::{RefreshTokenFilter, RefreshTokens};
use oauth::Verifier;

use crate::{
    Person, World,
    world::{TENANT, refusal, revoke},
};

const FILE: &str = "IDENTITY_CRASH_TOKENS";
const KEYRING: &str = "IDENTITY_CRASH_KEYRING";
/// How often the process is killed, where not ten times.
const KILLS: &str = "IDENTITY_CRASH_KILLS";

/// What one process said before it was killed. A thing is said to begin before it does and to be done after it did.
#[derive(Default)]
struct Said {
    /// Codes and their verifiers.
    codes: BTreeMap<String, String>,
    redeeming: BTreeSet<String>,
    redeemed: BTreeSet<String>,
    /// Refresh tokens that were given.
    given: BTreeSet<String>,
    rotating: BTreeSet<String>,
    rotated: BTreeSet<String>,
    revoking: BTreeSet<String>,
    revoked: BTreeSet<String>,
}

impl Said {
    fn take(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let own = |word: &str| word.to_owned();
        match *words.as_slice() {
            ["code", code, verifier] => drop(self.codes.insert(own(code), own(verifier))),
            ["redeem", code] => drop(self.redeeming.insert(own(code))),
            ["redeemed", code, token] => {
                self.redeemed.insert(own(code));
                self.given.insert(own(token));
            }
            ["rotate", token] => drop(self.rotating.insert(own(token))),
            ["rotated", token, next] => {
                self.rotated.insert(own(token));
                self.given.insert(own(next));
            }
            ["revoke", token] => drop(self.revoking.insert(own(token))),
            ["revoked", token] => drop(self.revoked.insert(own(token))),
            _ => panic!("{line}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_code_counts_twice_and_no_token_is_lost_or_comes_back_whenever_the_process_is_killed() {
    let kills = std::env::var(KILLS).ok().and_then(|text| text.parse().ok()).unwrap_or(10);
    let world = World::sqlite().await;
    let mut ended = BTreeSet::new();
    for round in 0..kills {
        let said = run_and_kill(&world, 7 + (round * 37) % 90);
        check(&world, &said).await;
        ended.extend(said.rotated);
        ended.extend(said.revoked);
    }
    assert!(!ended.is_empty());
    for token in &ended {
        assert_eq!(refusal(world.refresh(token).await), "invalid_grant");
    }
}

/// Lets a process give out tokens until it has said so many lines.
fn run_and_kill(world: &World, lines: usize) -> Said {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "token_crash::the_process_that_gives_tokens", "--nocapture", "--ignored"])
        .env(FILE, &world.path)
        .env(KEYRING, &*world.keyring.to_text())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut said = Said::default();
    let mut output =
        output.map_while(Result::ok).filter_map(|line| Some(line.strip_prefix("said ")?.to_owned()));
    output.by_ref().take(lines).for_each(|line| said.take(&line));
    child.kill().unwrap();
    // What was said while the signal was on its way counts too.
    output.for_each(|line| said.take(&line));
    child.wait().unwrap();
    said
}

async fn check(world: &World, said: &Said) {
    let world = &World::on_file(world.path.clone(), world.keyring.clone()).await;
    let used = |token: &String| said.rotating.contains(token) || said.revoking.contains(token);
    // The newest tokens first: an old one that comes again ends them all.
    for token in said.given.iter().filter(|token| !used(token)) {
        world.refresh(token).await.unwrap_or_else(|error| panic!("{token} was given and is lost: {error}"));
    }
    for token in said.rotated.iter().chain(&said.revoked) {
        assert_eq!(refusal(world.refresh(token).await), "invalid_grant", "{token} was used up");
    }
    for (code, verifier) in &said.codes {
        let verifier = Verifier::parse(verifier).unwrap();
        let first = world.redeem(code, &verifier).await;
        if said.redeemed.contains(code) {
            assert_eq!(refusal(first), "invalid_grant", "{code} was used up");
            continue;
        }
        if !said.redeeming.contains(code) {
            assert!(first.is_ok(), "{code} was given and is lost");
        }
        assert_eq!(refusal(world.redeem(code, &verifier).await), "invalid_grant", "{code} counts twice");
    }
    // A user has only so many tokens of a client at a time; those of this round make room for the next one's.
    let all = RefreshTokenFilter::default();
    world.repository.revoke_refresh_tokens(TENANT, all, world.clock.now()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "is run, and killed, by the test above"]
async fn the_process_that_gives_tokens() {
    let (Some(file), Ok(keyring)) = (std::env::var_os(FILE), std::env::var(KEYRING)) else { return };
    let keyring = Keyring::parse(&keyring).unwrap();
    let world = std::sync::Arc::new(World::on_file(file.into(), keyring).await);
    let clients: Vec<_> = (0..4).map(|_| tokio::spawn(give_tokens(world.clone()))).collect();
    for client in clients {
        client.await.unwrap();
    }
}

async fn give_tokens(world: std::sync::Arc<World>) {
    let mut person = Person::new();
    loop {
        let verifier = Verifier::generate(&Random::system());
        let code = person.code(&world, "openid offline_access", None, &verifier).await;
        println!("said code {code} {}", verifier.expose());
        println!("said redeem {code}");
        let tokens = world.redeem(&code, &verifier).await.unwrap();
        let mut token = tokens.refresh_token.unwrap().expose().clone();
        println!("said redeemed {code} {token}");
        for _ in 0..2 {
            println!("said rotate {token}");
            let next = world.refresh(&token).await.unwrap().refresh_token.unwrap().expose().clone();
            println!("said rotated {token} {next}");
            token = next;
        }
        println!("said revoke {token}");
        revoke(&world, &token).await;
        println!("said revoked {token}");
    }
}
