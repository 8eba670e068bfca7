//! What every database must keep.

use base::UnixMillis;
use idp::{
    RepositoryError,
    model::{
        Client, Connection, Digest, Grant, KeyState, RefreshTokenRecord, ResourceServer, Session,
        SigningKeyRecord, User,
    },
    repository::{
        Clients, Codes, Connections, Page, PairwiseSubjects, Redemption, RefreshTokenFilter, RefreshTokens,
        Repository, ResourceServers, Revocations, RevokedId, Sessions, SigningKeys, Transactions, UserFilter,
        Users,
    },
};
use oauth::Scopes;

use crate::{World, on_every_database};

const T: &str = "t";
const NOW: UnixMillis = UnixMillis(1_000_000);

on_every_database! {
    o04_of_fifty_parallel_redemptions_of_a_code_one_succeeds,
    a_pairwise_subject_is_made_once_and_goes_with_its_user,
    o05_an_expired_code_is_unknown,
    o07_a_code_is_unknown_to_another_client_and_stays_good,
    o11_of_twenty_parallel_rotations_of_a_refresh_token_one_succeeds,
    o11_a_token_made_after_its_family_was_revoked_is_dead,
    what_was_revoked_since_a_moment_is_found_and_what_was_used_up_is_not,
    a_user_has_200_refresh_tokens_of_a_client_at_most,
    a_transaction_is_finished_once,
    a_one_time_id_is_used_once,
    unique_names_clash_by_field,
    o41_tenants_do_not_see_each_other,
    o47_ending_everything_ends_sessions_and_tokens,
    a_session_is_renewed_by_who_has_its_cookie_and_once,
    deleting_a_client_or_user_takes_what_is_theirs,
    users_are_found_by_address_name_and_part,
    lists_are_paged_in_order,
    of_two_rotations_of_a_signing_key_one_happens,
    purging_takes_only_what_is_over,
    five_hundred_parallel_writes_are_all_kept,
}

fn digest(name: &str) -> Digest {
    let mut bytes = [0; 32];
    bytes.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from);
    Digest(bytes)
}

fn grant(family: &str) -> Grant {
    Grant {
        family: family.to_owned(),
        client_id: "c".to_owned(),
        user_id: "auth0|u".to_owned(),
        sid: "s".to_owned(),
        issuer: "http://localhost/".to_owned(),
        scope: Scopes::parse("openid").unwrap(),
        audience: None,
        auth_time: 0,
        auth_time_requested: false,
        nonce: None,
        redirect_uri: "http://localhost/cb".to_owned(),
        redirect_uri_given: true,
        code_challenge: None,
        confirmation: None,
        resources: Vec::new(),
        authorization_details: Vec::new(),
        claims: idp::ClaimsRequest::default(),
        acr_requested: false,
    }
}

fn refresh_token(id: &str, family: &str) -> RefreshTokenRecord {
    RefreshTokenRecord {
        id: id.to_owned(),
        token: digest(id),
        grant: grant(family),
        created_at: NOW.0,
        expires_at: i64::MAX,
        idle_expires_at: i64::MAX,
        rotated_at: None,
        parent: None,
        revoked_at: None,
    }
}

fn user(id: &str, email: &str, username: Option<&str>) -> User {
    User {
        user_id: id.to_owned(),
        connection: "db".to_owned(),
        email: Some(email.to_owned()),
        username: username.map(str::to_owned),
        ..User::default()
    }
}

fn client(id: &str) -> Client {
    Client { client_id: id.to_owned(), name: id.to_owned(), ..Client::default() }
}

async fn o04_of_fifty_parallel_redemptions_of_a_code_one_succeeds(world: World) {
    let repository = world.repository.clone();
    repository.create_code(T, &digest("code"), &grant("f"), UnixMillis(NOW.0 + 1)).await.unwrap();
    let tries: Vec<_> = (0..50)
        .map(|_| {
            let repository = repository.clone();
            tokio::spawn(async move { repository.redeem_code(T, "c", &digest("code"), NOW).await.unwrap() })
        })
        .collect();
    let mut fresh = 0;
    for outcome in tries {
        match outcome.await.unwrap() {
            Redemption::Fresh(_) => fresh += 1,
            Redemption::Used(used) => assert_eq!(used, grant("f")),
            Redemption::Unknown => panic!("the code is known"),
        }
    }
    assert_eq!(fresh, 1);
}

async fn a_pairwise_subject_is_made_once_and_goes_with_its_user(world: World) {
    let repository = world.repository.clone();
    repository.create_user(T, &user("db|p", "p@example.com", None), None).await.unwrap();
    let tries: Vec<_> = (0..20)
        .map(|n| {
            let repository = repository.clone();
            let fresh = format!("fresh{n}");
            tokio::spawn(
                async move { repository.pairwise_subject(T, "a.example", "db|p", &fresh).await.unwrap() },
            )
        })
        .collect();
    let mut given = Vec::new();
    for outcome in tries {
        given.push(outcome.await.unwrap());
    }
    given.dedup();
    let [subject] = given.as_slice() else { panic!("{given:?}") };
    let other = repository.pairwise_subject(T, "b.example", "db|p", "elsewhere").await.unwrap();
    assert_eq!(other, "elsewhere");
    for known in [subject.as_str(), "elsewhere"] {
        let found = repository.user_of_pairwise_subject(T, known).await.unwrap();
        assert_eq!(found.as_deref(), Some("db|p"));
        assert_eq!(repository.user_of_pairwise_subject("other", known).await.unwrap(), None, "O41");
    }
    assert!(repository.delete_user(T, "db|p").await.unwrap());
    assert_eq!(repository.user_of_pairwise_subject(T, subject).await.unwrap(), None);
}

async fn o05_an_expired_code_is_unknown(world: World) {
    world.repository.create_code(T, &digest("code"), &grant("f"), NOW).await.unwrap();
    let outcome = world.repository.redeem_code(T, "c", &digest("code"), NOW).await.unwrap();
    assert_eq!(outcome, Redemption::Unknown);
}

async fn o07_a_code_is_unknown_to_another_client_and_stays_good(world: World) {
    let repository = &world.repository;
    repository.create_code(T, &digest("code"), &grant("f"), UnixMillis(NOW.0 + 1)).await.unwrap();
    assert_eq!(repository.redeem_code(T, "d", &digest("code"), NOW).await.unwrap(), Redemption::Unknown);
    assert!(matches!(
        repository.redeem_code(T, "c", &digest("code"), NOW).await.unwrap(),
        Redemption::Fresh(_)
    ));
}

async fn o11_of_twenty_parallel_rotations_of_a_refresh_token_one_succeeds(world: World) {
    let repository = world.repository.clone();
    repository.create_refresh_token(T, &refresh_token("old", "f")).await.unwrap();
    let tries: Vec<_> = (0..20)
        .map(|n| {
            let repository = repository.clone();
            tokio::spawn(async move {
                let next = RefreshTokenRecord {
                    parent: Some("old".to_owned()),
                    ..refresh_token(&format!("new{n}"), "f")
                };
                repository.rotate_refresh_token(T, "old", None, &next, NOW).await.unwrap()
            })
        })
        .collect();
    let mut won = 0;
    for outcome in tries {
        won += u32::from(outcome.await.unwrap());
    }
    assert_eq!(won, 1);
    let mut made = 0;
    for n in 0..20 {
        made += u32::from(repository.refresh_token(T, &digest(&format!("new{n}"))).await.unwrap().is_some());
    }
    assert_eq!(made, 1, "the losers leave nothing behind");
    // Within the leeway the winner's moment must be named.
    let retry = refresh_token("retry", "f");
    assert!(!repository.rotate_refresh_token(T, "old", Some(NOW.0 + 1), &retry, NOW).await.unwrap());
    assert!(repository.rotate_refresh_token(T, "old", Some(NOW.0), &retry, NOW).await.unwrap());
}

async fn o11_a_token_made_after_its_family_was_revoked_is_dead(world: World) {
    let repository = &world.repository;
    repository.add_revocation(T, "f", UnixMillis(NOW.0 + 1000), NOW).await.unwrap();
    repository.create_refresh_token(T, &refresh_token("late", "f")).await.unwrap();
    let late = repository.refresh_token(T, &digest("late")).await.unwrap().unwrap();
    assert_eq!(late.revoked_at, Some(NOW.0));
}

async fn what_was_revoked_since_a_moment_is_found_and_what_was_used_up_is_not(world: World) {
    let repository = &world.repository;
    let (before, now, end) = (UnixMillis(NOW.0 - 1), NOW, UnixMillis(NOW.0 + 5000));
    repository.add_revocation("t1", "old", end, before).await.unwrap();
    repository.add_revocation("t2", "new", UnixMillis(NOW.0 + 1), now).await.unwrap();
    // The later end counts, and that it was said again.
    repository.add_revocation("t2", "new", end, now).await.unwrap();
    assert!(repository.use_once("t1", "used", end).await.unwrap());
    let new = RevokedId { id: "new".to_owned(), until: end, at: now };
    assert_eq!(repository.revocations_since(now).await.unwrap(), [new]);
    assert_eq!(repository.revocations_since(before).await.unwrap().len(), 2);
}

async fn a_user_has_200_refresh_tokens_of_a_client_at_most(world: World) {
    for n in 0..203 {
        let token = RefreshTokenRecord { created_at: n, ..refresh_token(&format!("r{n}"), &format!("f{n}")) };
        world.repository.create_refresh_token(T, &token).await.unwrap();
    }
    let mut alive = Vec::new();
    for n in 0..203 {
        let token = world.repository.refresh_token(T, &digest(&format!("r{n}"))).await.unwrap().unwrap();
        if token.revoked_at.is_none() {
            alive.push(n);
        }
    }
    assert_eq!(alive, (3..203).collect::<Vec<_>>());
}

async fn a_transaction_is_finished_once(world: World) {
    let mut person = crate::Person::new();
    let page = crate::world::login_page(person.authorize(&world, &[]).await);
    let browser = person.browser.clone();
    assert!(world.idp.login.page(&world.site, &page.handle, &browser).await.unwrap().is_some());
    person.log_in(&world, &page).await;
    assert!(world.idp.login.page(&world.site, &page.handle, &browser).await.unwrap().is_none());
    let unknown = world.repository.finish_transaction(T, &digest("none"), NOW).await.unwrap();
    assert!(!unknown);
}

async fn a_one_time_id_is_used_once(world: World) {
    let until = UnixMillis(NOW.0 + 1);
    let tries: Vec<_> = (0..20)
        .map(|_| {
            let repository = world.repository.clone();
            tokio::spawn(async move { repository.use_once(T, "jti", until).await.unwrap() })
        })
        .collect();
    let mut won = 0;
    for outcome in tries {
        won += u32::from(outcome.await.unwrap());
    }
    assert_eq!(won, 1);
}

async fn unique_names_clash_by_field(world: World) {
    let repository = &world.repository;
    let field = |result: Result<(), RepositoryError>| match result {
        Err(RepositoryError::Conflict(field)) => field,
        other => panic!("{other:?}"),
    };
    repository.create_user(T, &user("auth0|1", "A@b.example", Some("ann")), None).await.unwrap();
    let same_address = user("auth0|2", "a@B.example", None);
    assert_eq!(field(repository.create_user(T, &same_address, None).await), "email");
    let same_name = user("auth0|2", "b@b.example", Some("ANN"));
    assert_eq!(field(repository.create_user(T, &same_name, None).await), "username");
    assert_eq!(
        field(repository.create_user(T, &user("auth0|1", "c@b.example", None), None).await),
        "user_id"
    );
    repository.create_user(T, &user("auth0|2", "b@b.example", None), None).await.unwrap();
    let moved = user("auth0|2", "a@b.example", None);
    assert!(matches!(repository.update_user(T, &moved).await, Err(RepositoryError::Conflict("email"))));
    let elsewhere = User { connection: "other".to_owned(), ..user("auth0|3", "a@b.example", None) };
    repository.create_user(T, &elsewhere, None).await.unwrap();

    let api =
        |id: &str| ResourceServer { id: id.to_owned(), identifier: "urn:x".to_owned(), ..Default::default() };
    repository.create_resource_server(T, &api("1")).await.unwrap();
    assert_eq!(field(repository.create_resource_server(T, &api("2")).await), "identifier");
    let connection = |id: &str| Connection { id: id.to_owned(), name: "db".to_owned(), ..Default::default() };
    repository.create_connection(T, &connection("1")).await.unwrap();
    assert_eq!(field(repository.create_connection(T, &connection("2")).await), "name");
}

async fn o41_tenants_do_not_see_each_other(world: World) {
    let repository = &world.repository;
    repository.create_client(T, &client("c")).await.unwrap();
    repository.create_user(T, &user("auth0|u", "a@b.example", None), Some("hash")).await.unwrap();
    repository.create_code(T, &digest("code"), &grant("f"), UnixMillis(i64::MAX)).await.unwrap();
    repository.create_refresh_token(T, &refresh_token("r", "f")).await.unwrap();
    repository.add_revocation(T, "f", UnixMillis(i64::MAX), NOW).await.unwrap();
    assert!(repository.client("other", "c").await.unwrap().is_none());
    assert!(!repository.delete_client("other", "c").await.unwrap());
    assert!(!repository.update_client("other", &client("c")).await.unwrap());
    assert!(repository.user("other", "auth0|u").await.unwrap().is_none());
    assert!(repository.user_by_identifier("other", "db", "a@b.example").await.unwrap().is_none());
    assert!(!repository.delete_user("other", "auth0|u").await.unwrap());
    let outcome = repository.redeem_code("other", "c", &digest("code"), NOW).await.unwrap();
    assert_eq!(outcome, Redemption::Unknown);
    assert!(repository.refresh_token("other", &digest("r")).await.unwrap().is_none());
    assert!(!repository.is_revoked("other", "f").await.unwrap());
    let filter = RefreshTokenFilter::default();
    assert_eq!(repository.revoke_refresh_tokens("other", filter, NOW).await.unwrap(), 0);
    assert!(repository.client(T, "c").await.unwrap().is_some());
    assert!(repository.user(T, "auth0|u").await.unwrap().is_some());
    // The same names in another tenant are other records.
    repository.create_client("other", &client("c")).await.unwrap();
    repository.create_user("other", &user("auth0|u", "a@b.example", None), None).await.unwrap();
}

fn session(sid: &str) -> Session {
    Session {
        sid: sid.to_owned(),
        cookie: digest(sid),
        user_id: "auth0|u".to_owned(),
        ip: Some("192.0.2.1".to_owned()),
        user_agent: None,
        authenticated_at: NOW.0,
        created_at: NOW.0,
        expires_at: NOW.0 + 100_000,
        idle_expires_at: NOW.0 + 1_000,
    }
}

async fn o47_ending_everything_ends_sessions_and_tokens(world: World) {
    let repository = &world.repository;
    repository.create_session(T, &session("s")).await.unwrap();
    repository.create_code(T, &digest("code"), &grant("f"), UnixMillis(i64::MAX)).await.unwrap();
    repository.create_refresh_token(T, &refresh_token("r", "f")).await.unwrap();
    assert!(repository.session(T, &digest("s"), NOW).await.unwrap().is_some());
    let idle = UnixMillis(NOW.0 + 1_000);
    assert!(repository.session(T, &digest("s"), idle).await.unwrap().is_none(), "idle");
    repository.touch_session(T, "s", UnixMillis(NOW.0 + 5_000)).await.unwrap();
    assert!(repository.session_by_sid(T, "s", idle).await.unwrap().is_some());
    repository.end_everything(T, "auth0|u", NOW).await.unwrap();
    assert!(repository.session(T, &digest("s"), NOW).await.unwrap().is_none());
    assert!(matches!(
        repository.redeem_code(T, "c", &digest("code"), NOW).await.unwrap(),
        Redemption::Used(_)
    ));
    let token = repository.refresh_token(T, &digest("r")).await.unwrap().unwrap();
    assert_eq!(token.revoked_at, Some(NOW.0));
    assert!(!repository.touch_refresh_token(T, "r", i64::MAX).await.unwrap());
}

async fn a_session_is_renewed_by_who_has_its_cookie_and_once(world: World) {
    let repository = &world.repository;
    repository.create_session(T, &session("s")).await.unwrap();
    let renewed = Session {
        cookie: digest("next"),
        authenticated_at: NOW.0 + 1,
        expires_at: NOW.0 + 200_000,
        idle_expires_at: NOW.0 + 2_000,
        ..session("s")
    };
    for (tenant, cookie) in [("other", "s"), (T, "guessed")] {
        assert!(!repository.renew_session(tenant, &digest(cookie), &renewed).await.unwrap());
    }
    let old = digest("s");
    let renew = || repository.renew_session(T, &old, &renewed);
    let (one, two) = tokio::join!(renew(), renew());
    assert_ne!(one.unwrap(), two.unwrap());
    assert!(repository.session(T, &digest("s"), NOW).await.unwrap().is_none());
    assert_eq!(repository.session(T, &digest("next"), NOW).await.unwrap(), Some(renewed.clone()));
    repository.end_everything(T, "auth0|u", NOW).await.unwrap();
    assert!(!repository.renew_session(T, &digest("next"), &renewed).await.unwrap());
}

async fn deleting_a_client_or_user_takes_what_is_theirs(world: World) {
    let repository = &world.repository;
    repository.create_client(T, &client("c")).await.unwrap();
    repository.create_user(T, &user("auth0|u", "a@b.example", None), None).await.unwrap();
    repository.create_refresh_token(T, &refresh_token("r1", "f1")).await.unwrap();
    assert!(repository.delete_client(T, "c").await.unwrap());
    assert!(repository.refresh_token(T, &digest("r1")).await.unwrap().is_none());
    repository.create_refresh_token(T, &refresh_token("r2", "f2")).await.unwrap();
    repository.create_session(T, &session("s")).await.unwrap();
    assert!(repository.delete_user(T, "auth0|u").await.unwrap());
    assert!(!repository.delete_user(T, "auth0|u").await.unwrap());
    assert!(repository.refresh_token(T, &digest("r2")).await.unwrap().is_none());
    assert!(repository.session(T, &digest("s"), NOW).await.unwrap().is_none());
    // A connection takes its users with it.
    let connection = Connection { id: "con_1".to_owned(), name: "db".to_owned(), ..Connection::default() };
    repository.create_connection(T, &connection).await.unwrap();
    repository.create_user(T, &user("auth0|v", "v@b.example", None), None).await.unwrap();
    assert!(repository.delete_connection(T, "con_1").await.unwrap());
    assert!(repository.user(T, "auth0|v").await.unwrap().is_none());
}

async fn users_are_found_by_address_name_and_part(world: World) {
    let repository = &world.repository;
    repository.create_user(T, &user("auth0|1", "Ann@b.example", Some("ann")), Some("hash")).await.unwrap();
    repository.create_user(T, &user("auth0|2", "bob_x@b.example", None), None).await.unwrap();
    for name in ["ann@b.example", "ann"] {
        let (found, hash) = repository.user_by_identifier(T, "db", name).await.unwrap().unwrap();
        assert_eq!((found.user_id.as_str(), hash.as_deref()), ("auth0|1", Some("hash")));
    }
    repository.record_login(T, "auth0|1", Some("192.0.2.9"), NOW).await.unwrap();
    repository.set_password(T, "auth0|1", "other", NOW).await.unwrap();
    let mut found = repository.user(T, "auth0|1").await.unwrap().unwrap();
    assert_eq!((found.logins_count, found.last_ip.as_deref()), (1, Some("192.0.2.9")));
    found.name = Some("Ann".to_owned());
    found.logins_count = 77;
    assert!(repository.update_user(T, &found).await.unwrap());
    assert_eq!(repository.user(T, "auth0|1").await.unwrap().unwrap().logins_count, 1);
    let count = async |filter: UserFilter<'_>| repository.users(T, filter, Page::ALL).await.unwrap().total;
    assert_eq!(count(UserFilter { contains: Some("b.exa"), ..Default::default() }).await, 2);
    assert_eq!(count(UserFilter { contains: Some("b_x"), ..Default::default() }).await, 1);
    assert_eq!(count(UserFilter { contains: Some("%"), ..Default::default() }).await, 0);
    assert_eq!(count(UserFilter { email: Some("ann@b.example"), ..Default::default() }).await, 1);
    assert_eq!(count(UserFilter { connection: Some("no"), ..Default::default() }).await, 0);
}

async fn lists_are_paged_in_order(world: World) {
    for n in 0..7 {
        let made = Client { created_at: n, ..client(&format!("c{n}")) };
        world.repository.create_client(T, &made).await.unwrap();
    }
    let page = world.repository.clients(T, Page { offset: 5, limit: 5 }).await.unwrap();
    let ids: Vec<_> = page.items.iter().map(|client| client.client_id.as_str()).collect();
    assert_eq!((ids, page.total), (vec!["c5", "c6"], 7));
    let beyond = world.repository.clients(T, Page { offset: 50, limit: 5 }).await.unwrap();
    assert_eq!((beyond.items.len(), beyond.total), (0, 7));
}

async fn of_two_rotations_of_a_signing_key_one_happens(world: World) {
    let repository = &world.repository;
    let key = |kid: &str, state| SigningKeyRecord {
        kid: kid.to_owned(),
        alg: "ES256".to_owned(),
        state,
        public_jwk: serde_json::json!({ "kid": kid }),
        pkcs8: base::Secret::new(kid.as_bytes().to_vec()),
        created_at: NOW.0,
    };
    let first = [key("a", KeyState::Current), key("b", KeyState::Next)];
    repository.add_signing_keys(T, &first).await.unwrap();
    // A second process starting up adds nothing.
    let late = [key("x", KeyState::Current), key("y", KeyState::Next)];
    repository.add_signing_keys(T, &late).await.unwrap();
    assert!(repository.rotate_signing_key(T, "a", &key("c", KeyState::Next), NOW).await.unwrap());
    assert!(!repository.rotate_signing_key(T, "a", &key("d", KeyState::Next), NOW).await.unwrap());
    let keys = repository.signing_keys(T).await.unwrap();
    let shown: Vec<_> = keys.iter().map(|key| (key.kid.as_str(), key.state)).collect();
    assert_eq!(shown, [("a", KeyState::Previous), ("b", KeyState::Current), ("c", KeyState::Next)]);
    assert_eq!(keys[0].pkcs8.expose(), b"a");
    assert!(repository.set_signing_key_state(T, "a", KeyState::Revoked).await.unwrap());
    assert_eq!(repository.signing_keys(T).await.unwrap().len(), 2);
}

async fn purging_takes_only_what_is_over(world: World) {
    let repository = &world.repository;
    let day = 24 * 60 * 60 * 1000;
    repository.create_session(T, &session("s")).await.unwrap();
    repository.create_code(T, &digest("code"), &grant("f"), NOW).await.unwrap();
    repository.create_refresh_token(T, &refresh_token("r", "f")).await.unwrap();
    repository.purge(NOW).await.unwrap();
    assert!(repository.session(T, &digest("s"), NOW).await.unwrap().is_some());
    assert!(repository.purge(UnixMillis(NOW.0 + 2 * day)).await.unwrap() >= 2);
    assert!(repository.session(T, &digest("s"), NOW).await.unwrap().is_none());
    assert!(repository.refresh_token(T, &digest("r")).await.unwrap().is_some());
}

async fn five_hundred_parallel_writes_are_all_kept(world: World) {
    let tries: Vec<_> = (0..500)
        .map(|n| {
            let repository = world.repository.clone();
            tokio::spawn(async move { repository.create_client(T, &client(&format!("c{n}"))).await })
        })
        .collect();
    for outcome in tries {
        outcome.await.unwrap().unwrap();
    }
    assert_eq!(world.repository.clients(T, Page { offset: 0, limit: 1 }).await.unwrap().total, 500);
}

#[tokio::test]
async fn a_failing_write_takes_no_other_with_it() {
    let world = World::sqlite().await;
    world.repository.create_client(T, &client("taken")).await.unwrap();
    let tries: Vec<_> = (0..100)
        .map(|n| {
            let repository = world.repository.clone();
            let id = if n % 2 == 0 { "taken".to_owned() } else { format!("c{n}") };
            tokio::spawn(async move { repository.create_client(T, &client(&id)).await })
        })
        .collect();
    let mut kept = 0;
    for outcome in tries {
        kept += usize::from(outcome.await.unwrap().is_ok());
    }
    assert_eq!(kept, 50);
    assert_eq!(world.repository.clients(T, Page::ALL).await.unwrap().total, 51);
}

#[tokio::test]
async fn s02_the_file_holds_no_secret_and_belongs_to_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::sqlite().await;
    let (person, issued) = world.tokens("openid offline_access", None).await;
    let keys = world.repository.signing_keys("dev").await.unwrap();
    let canaries = [
        world.demo.client_secret.expose().as_bytes().to_vec(),
        world.demo.management_client_secret.expose().as_bytes().to_vec(),
        world.demo.password.expose().as_bytes().to_vec(),
        issued.access_token.expose().as_bytes().to_vec(),
        issued.refresh_token.unwrap().expose().as_bytes().to_vec(),
        person.browser.session.clone().unwrap().expose().as_bytes().to_vec(),
        person.browser.binding.clone().unwrap().expose().as_bytes().to_vec(),
        // Of a P-256 key this is the private scalar; the keys come in any order, and differ in length.
        keys.iter().find(|key| key.alg == "ES256").unwrap().pkcs8.expose()[36..68].to_vec(),
    ];
    let mut looked_at = 0;
    for file in std::fs::read_dir(world.path.parent().unwrap()).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o077, 0, "{path:?}");
        let bytes = std::fs::read(&path).unwrap();
        looked_at += bytes.len();
        for (number, canary) in canaries.iter().enumerate() {
            assert!(
                !bytes.windows(canary.len()).any(|window| window == canary),
                "canary {number} in {path:?}"
            );
        }
    }
    assert!(looked_at > 10_000);
}
