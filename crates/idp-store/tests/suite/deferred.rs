//! Requests that are answered elsewhere than where they were made.

use base::{Secret, UnixMillis};
use idp::{
    model::{AuthorizeRequest, DeferredKind, DeferredRequest, DeferredState, Digest, Grant},
    repository::{Attempts, DeferredRequests, Repository},
};

use crate::{World, on_every_database};

on_every_database! {
    a_deferred_request_is_decided_once_and_redeemed_once,
    polling_too_soon_makes_the_interval_longer,
    an_attempt_that_was_none_is_taken_back_alone,
}

const T: &str = "t";
const NOW: UnixMillis = UnixMillis::from_secs(1_800_000_000);

fn request(number: u8) -> DeferredRequest {
    let request = AuthorizeRequest { client_id: "c".to_owned(), ..AuthorizeRequest::default() };
    DeferredRequest {
        handle: Digest([number; 32]),
        kind: DeferredKind::Device,
        user_code: Some(Digest([number + 100; 32])),
        user_id: None,
        request,
        notification: Some(Secret::new("told".to_owned())),
        interval: 5000,
        expires_at: NOW.0 + 900_000,
        state: DeferredState::Pending,
    }
}

async fn a_deferred_request_is_decided_once_and_redeemed_once(world: World) {
    let repository = &*world.repository;
    let one = request(1);
    repository.create_deferred(T, &one).await.unwrap();
    assert_eq!(repository.deferred(T, &one.handle, NOW).await.unwrap(), Some(one.clone()));
    let by_code = repository.deferred_by_user_code(T, &one.user_code.unwrap(), NOW).await.unwrap();
    assert_eq!(by_code, Some(one.clone()));
    let same_code = DeferredRequest { handle: Digest([2; 32]), ..one.clone() };
    assert!(repository.create_deferred(T, &same_code).await.is_err());
    assert_eq!(repository.deferred("other", &one.handle, NOW).await.unwrap(), None);
    let late = UnixMillis(one.expires_at);
    assert_eq!(repository.deferred(T, &one.handle, late).await.unwrap(), None);
    assert_eq!(repository.redeem_deferred(T, "c", &one.handle, NOW).await.unwrap(), None);

    let grant = Grant { client_id: "c".to_owned(), user_id: "u".to_owned(), ..Grant::default() };
    assert!(!repository.decide_deferred(T, &one.handle, Some(&grant), late).await.unwrap());
    let decide = || repository.decide_deferred(T, &one.handle, Some(&grant), NOW);
    let (first, second, third) = tokio::join!(decide(), decide(), decide());
    let yes = [first, second, third].into_iter().filter(|decided| *decided.as_ref().unwrap()).count();
    assert_eq!(yes, 1);
    assert_eq!(repository.deferred(T, &one.handle, NOW).await.unwrap(), None);
    assert_eq!(repository.redeem_deferred(T, "other", &one.handle, NOW).await.unwrap(), None);
    let redeem = || repository.redeem_deferred(T, "c", &one.handle, NOW);
    let (first, second, third) = tokio::join!(redeem(), redeem(), redeem());
    let got: Vec<_> = [first, second, third].into_iter().filter_map(Result::unwrap).collect();
    assert_eq!(got, [grant]);
    let polled =
        repository.poll_deferred(T, "c", DeferredKind::Device, &one.handle, NOW).await.unwrap().unwrap();
    assert_eq!(polled.request.state, DeferredState::Used);

    assert_eq!(repository.purge(UnixMillis(one.expires_at + 2 * 86_400_000)).await.unwrap(), 1);
    let gone = repository.poll_deferred(T, "c", DeferredKind::Device, &one.handle, NOW).await.unwrap();
    assert_eq!(gone, None);
}

async fn polling_too_soon_makes_the_interval_longer(world: World) {
    let repository = &*world.repository;
    let one = request(1);
    repository.create_deferred(T, &one).await.unwrap();
    let poll = async |seconds: i64| {
        let at = UnixMillis(NOW.0 + seconds * 1000);
        let polled = repository.poll_deferred(T, "c", DeferredKind::Device, &one.handle, at).await;
        let polled = polled.unwrap().unwrap();
        (polled.too_soon, polled.request.interval)
    };
    assert_eq!(poll(0).await, (false, 5000));
    assert_eq!(poll(4).await, (true, 10_000));
    assert_eq!(poll(13).await, (true, 15_000));
    assert_eq!(poll(28).await, (false, 15_000));
    for (client, kind) in [("other", DeferredKind::Device), ("c", DeferredKind::Backchannel)] {
        assert_eq!(repository.poll_deferred(T, client, kind, &one.handle, NOW).await.unwrap(), None);
    }
}

async fn an_attempt_that_was_none_is_taken_back_alone(world: World) {
    let repository = &*world.repository;
    let (one, other) = (Digest([1; 32]), Digest([2; 32]));
    let count = async |account: &Digest, address: &str| {
        repository.count_attempt(T, account, address, UnixMillis(0), NOW).await.unwrap()
    };
    assert_eq!(count(&one, "a").await, (1, 1));
    assert_eq!(count(&one, "a").await, (2, 2));
    assert_eq!(count(&one, "b").await, (1, 3));
    assert_eq!(count(&other, "a").await, (1, 1));
    repository.take_back_attempt(T, &one, "a").await.unwrap();
    assert_eq!(count(&one, "a").await, (2, 3));
    assert_eq!(count(&one, "b").await, (2, 4));
    assert_eq!(count(&other, "a").await, (2, 2));
    // Nobody gets any in advance.
    for _ in 0..3 {
        repository.take_back_attempt(T, &one, "c").await.unwrap();
        repository.take_back_attempt("other", &one, "a").await.unwrap();
        repository.take_back_attempt(T, &other, "a").await.unwrap();
    }
    assert_eq!(count(&other, "a").await, (1, 1));
    assert_eq!(count(&one, "c").await.0, 1);
    assert_eq!(count(&one, "a").await.0, 3);
}
