//! S03: what a keyring's old key sealed is sealed again by its new one, while others write.

use std::sync::atomic::{AtomicBool, Ordering};

use base::{Keyring, Random, Secret};
use idp::{
    model::Client,
    repository::{Clients, SigningKeys},
};

use crate::{World, on_every_database, world::TENANT};

/// More than two batches.
const CLIENTS: usize = 230;

on_every_database! {
    s03_after_sealing_again_the_old_key_is_not_needed,
    s03_what_is_written_while_it_is_sealed_again_stays,
    s03_what_no_key_opens_is_named_and_the_rest_is_sealed_again,
}

/// A keyring with a new first key, and the new key alone.
fn rotated(old: &Keyring) -> (Keyring, Keyring) {
    let new = Keyring::generate(&Random::system());
    let both = Keyring::parse(&format!("{}{}", *new.to_text(), *old.to_text())).unwrap();
    (both, new)
}

fn client(number: usize, secret: String) -> Client {
    Client {
        client_id: format!("client-{number:03}"),
        client_secret: Some(Secret::new(secret)),
        name: format!("client {number}"),
        ..Client::default()
    }
}

async fn make_clients(world: &World) {
    for number in 0..CLIENTS {
        world.repository.create_client(TENANT, &client(number, format!("secret-{number}"))).await.unwrap();
    }
}

async fn s03_after_sealing_again_the_old_key_is_not_needed(world: World) {
    make_clients(&world).await;
    let hashes = world.repository.hash_keys(&Random::system()).await.unwrap();
    let (both, new) = rotated(&world.keyring);
    let repository = world.reopened(&both).await;
    let mut told = Vec::new();
    let resealed = repository.reseal(|count| told.push(count)).await.unwrap();
    assert!(resealed.failed.is_empty(), "{resealed:?}");
    assert!(resealed.sealed_again > CLIENTS as u64 + 3, "{resealed:?}");
    assert!(told.len() > 3 && told.last() == Some(&resealed.sealed_again), "{told:?}");
    let again = repository.reseal(|count| panic!("{count} more")).await.unwrap();
    assert_eq!((again.sealed_again, again.failed.len()), (0, 0));
    let only_new = world.reopened(&new).await;
    for number in 0..CLIENTS {
        let found = only_new.client(TENANT, &format!("client-{number:03}")).await.unwrap().unwrap();
        assert_eq!(*found.client_secret.unwrap().expose(), format!("secret-{number}"));
    }
    let demo = only_new.client(TENANT, &world.demo.client_id).await.unwrap().unwrap();
    assert_eq!(demo.client_secret.unwrap(), world.demo.client_secret);
    assert!(!only_new.signing_keys(TENANT).await.unwrap().is_empty());
    // Cookies and tokens are known by what these keys make of them.
    assert_eq!(*only_new.hash_keys(&Random::system()).await.unwrap().to_text(), *hashes.to_text());
    assert!(world.repository.client(TENANT, &world.demo.client_id).await.is_err(), "the old key still opens");
}

async fn s03_what_is_written_while_it_is_sealed_again_stays(world: World) {
    make_clients(&world).await;
    let (both, new) = rotated(&world.keyring);
    let (server, resealing) = (world.reopened(&both).await, world.reopened(&both).await);
    let done = AtomicBool::new(false);
    let write = async {
        let mut written = Vec::new();
        for round in 0.. {
            for number in (0..CLIENTS).step_by(7) {
                let secret = format!("changed-{round}-{number}");
                server.update_client(TENANT, &client(number, secret.clone())).await.unwrap();
                written.push((number, secret));
            }
            if done.load(Ordering::SeqCst) {
                break;
            }
        }
        written
    };
    let reseal = async {
        let resealed = resealing.reseal(|_| {}).await.unwrap();
        done.store(true, Ordering::SeqCst);
        resealed
    };
    let (written, resealed) = tokio::join!(write, reseal);
    assert!(resealed.failed.is_empty() && resealed.sealed_again > 100, "{resealed:?}");
    let only_new = world.reopened(&new).await;
    let mut expected: Vec<String> = (0..CLIENTS).map(|number| format!("secret-{number}")).collect();
    for (number, secret) in written {
        expected[number] = secret;
    }
    for (number, secret) in expected.into_iter().enumerate() {
        let found = only_new.client(TENANT, &format!("client-{number:03}")).await.unwrap().unwrap();
        assert_eq!(*found.client_secret.unwrap().expose(), secret);
    }
}

async fn s03_what_no_key_opens_is_named_and_the_rest_is_sealed_again(world: World) {
    let (_, stranger) = rotated(&world.keyring);
    let lost = client(1, "canary".to_owned());
    world.reopened(&stranger).await.create_client(TENANT, &lost).await.unwrap();
    world.repository.create_client(TENANT, &client(2, "kept".to_owned())).await.unwrap();
    let (both, new) = rotated(&world.keyring);
    let resealed = world.reopened(&both).await.reseal(|_| {}).await.unwrap();
    let [failed] = resealed.failed.as_slice() else { panic!("{resealed:?}") };
    assert!(failed.contains("client/dev/client-001/secret") && !failed.contains("canary"), "{failed}");
    assert!(world.reopened(&new).await.client(TENANT, "client-002").await.unwrap().is_some());
}

#[tokio::test]
async fn s03_nothing_that_the_old_key_sealed_is_left_in_the_file() {
    let world = World::sqlite().await;
    for number in 0..40 {
        world.repository.create_client(TENANT, &client(number, "x".repeat(3000))).await.unwrap();
    }
    // Pages of the file that are free again.
    for number in 0..30 {
        world.repository.delete_client(TENANT, &format!("client-{number:03}")).await.unwrap();
    }
    let old = hex(&world.keyring.ids()[0]);
    let holds = |path: &std::path::Path| {
        let folder = std::fs::read_dir(path.parent().unwrap()).unwrap();
        folder
            .map(|file| std::fs::read(file.unwrap().path()).unwrap())
            .any(|bytes| bytes.windows(9).any(|window| window[0] == 1 && window[1..] == old[..]))
    };
    assert!(holds(&world.path));
    let (both, _) = rotated(&world.keyring);
    let repository = world.reopened(&both).await;
    repository.reseal(|_| {}).await.unwrap();
    idp_store::scrub_sqlite(&world.path).await.unwrap();
    assert!(!holds(&world.path));
    // Whoever has the file open goes on.
    assert!(repository.client(TENANT, "client-035").await.unwrap().is_some());
    repository.create_client(TENANT, &client(1, "new".to_owned())).await.unwrap();
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}
