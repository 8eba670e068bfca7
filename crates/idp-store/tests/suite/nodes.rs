//! Two nodes on one database: what one of them ends or counts, the other one knows at once.

use std::sync::Arc;

use base::{Secret, UnixMillis};
use idp::{
    AuthorizeOutcome, Idp, LoginOutcome,
    model::{LogEvent, LogoutDelivery, Ticket, TicketKind, TicketTerms},
    repository::{LogFilter, Logouts, Logs, Page, Tickets},
};

use crate::{
    Person, World, on_every_database, params,
    world::{CALLBACK, TENANT, answer, login_page, provider},
};

on_every_database! {
    o47_a_session_that_one_node_ends_is_over_at_the_other,
    o47_a_family_that_one_node_revokes_is_dead_at_the_other,
    o20_failed_logins_at_two_nodes_count_together,
    o23_of_many_uses_of_a_ticket_one_succeeds_and_a_newer_one_voids_it,
    a_logout_is_delivered_by_one_of_two_nodes,
    logs_are_listed_either_way_and_purged_by_age,
    o54_rotations_one_after_the_other_are_known_to_both_nodes_at_once,
    o54_a_key_that_one_node_revokes_neither_signs_nor_verifies_at_the_other,
}

/// Another process on the same database.
fn other_node(world: &World) -> Arc<Idp> {
    provider(world.repository.clone(), world.keyring.clone(), world.clock.clone())
}

async fn is_in(idp: &Idp, world: &World, person: &Person) -> bool {
    let form = [
        ("client_id", world.demo.client_id.as_str()),
        ("redirect_uri", CALLBACK),
        ("response_type", "code"),
        ("prompt", "none"),
    ];
    let outcome = idp.authorization.start(&world.site, &params(&form), &person.browser).await.unwrap();
    answer(&outcome, "code").is_some()
}

async fn o47_a_session_that_one_node_ends_is_over_at_the_other(world: World) {
    let other = other_node(&world);
    let (person, _) = world.tokens("openid", None).await;
    assert!(is_in(&other, &world, &person).await);
    let user = {
        let users =
            world.idp.management.users.list(&world.site, Default::default(), Page::ALL).await.unwrap();
        users.items[0].user_id.clone()
    };
    let sessions = other.management.sessions.of_user(&world.site, &user, Page::ALL).await.unwrap();
    let sid = sessions.items[0]["id"].as_str().unwrap().to_owned();
    other.management.sessions.end(&world.site, &sid).await.unwrap();
    assert!(!is_in(&world.idp, &world, &person).await && !is_in(&other, &world, &person).await);
}

async fn o47_a_family_that_one_node_revokes_is_dead_at_the_other(world: World) {
    let other = other_node(&world);
    let (_, tokens) = world.tokens("openid offline_access", None).await;
    let refresh = tokens.refresh_token.unwrap();
    let user = {
        let users =
            world.idp.management.users.list(&world.site, Default::default(), Page::ALL).await.unwrap();
        users.items[0].user_id.clone()
    };
    other.management.sessions.end_tokens_of_user(&world.site, &user).await.unwrap();
    assert!(world.refresh(refresh.expose()).await.is_err());
    // What was made from it before is refused where it is asked about.
    assert!(world.idp.bearer.verify(&world.site, tokens.access_token.expose()).await.is_err());
}

async fn o20_failed_logins_at_two_nodes_count_together(world: World) {
    let nodes = [world.idp.clone(), other_node(&world)];
    let wrong = Secret::new("wrong".to_owned());
    let mut person = Person::new();
    let page = login_page(person.authorize(&world, &[]).await);
    for n in 0..10 {
        let attempt = nodes[n % 2].login.with_password(
            &world.site,
            &page.handle,
            &person.browser,
            &world.demo.user,
            &wrong,
        );
        assert!(matches!(attempt.await.unwrap(), LoginOutcome::Wrong), "{n}");
    }
    for node in &nodes {
        let right = &world.demo.password;
        let attempt =
            node.login.with_password(&world.site, &page.handle, &person.browser, &world.demo.user, right);
        assert!(matches!(attempt.await.unwrap(), LoginOutcome::Blocked));
    }
    let blocks = nodes[1].management.users.blocks_by_name(&world.site, &world.demo.user).await.unwrap();
    assert_eq!(blocks.len(), 1);
    nodes[1].management.users.unblock_by_name(&world.site, &world.demo.user).await.unwrap();
    assert!(matches!(person.log_in(&world, &page).await, AuthorizeOutcome::Respond(_)));
}

async fn o23_of_many_uses_of_a_ticket_one_succeeds_and_a_newer_one_voids_it(world: World) {
    let store = world.repository.clone();
    let ticket = |name: &str| Ticket {
        token: idp::model::Digest([name.len() as u8; 32]),
        kind: TicketKind::PasswordChange,
        user_id: "auth0|u".to_owned(),
        terms: TicketTerms::default(),
        expires_at: 1000,
    };
    let (first, second) = (ticket("1"), ticket("22"));
    store.create_ticket(TENANT, &first).await.unwrap();
    store.create_ticket(TENANT, &second).await.unwrap();
    let now = UnixMillis(999);
    assert!(!store.use_ticket(TENANT, &first.token, now).await.unwrap());
    let kind = TicketKind::PasswordChange;
    assert_eq!(store.ticket(TENANT, &second.token, kind, now).await.unwrap(), Some(second.clone()));
    assert_eq!(store.ticket(TENANT, &second.token, TicketKind::EmailVerification, now).await.unwrap(), None);
    assert_eq!(store.ticket(TENANT, &second.token, kind, UnixMillis(1000)).await.unwrap(), None);
    assert_eq!(store.ticket("other", &second.token, kind, now).await.unwrap(), None);
    let uses = (0..20).map(|_| {
        let (store, token) = (store.clone(), second.token);
        tokio::spawn(async move { store.use_ticket(TENANT, &token, now).await.unwrap() })
    });
    let mut won = 0;
    for used in uses.collect::<Vec<_>>() {
        won += u32::from(used.await.unwrap());
    }
    assert_eq!(won, 1);
}

async fn a_logout_is_delivered_by_one_of_two_nodes(world: World) {
    let store = world.repository.clone();
    let (person, _) = world.tokens("openid", None).await;
    assert!(person.browser.session.is_some());
    let delivery = |n: u32| LogoutDelivery {
        id: format!("delivery{n}"),
        client_id: world.demo.client_id.clone(),
        url: "https://app.example/".to_owned(),
        issuer: "http://localhost:9400/".to_owned(),
        user_id: "auth0|u".to_owned(),
        sid: "s".to_owned(),
        attempts: 0,
    };
    let deliveries: Vec<LogoutDelivery> = (0..10).map(delivery).collect();
    let now = world.clock.now();
    // A session that is over tells nothing.
    assert!(!store.end_session_telling(TENANT, "nobody's", &deliveries, now).await.unwrap());
    let users = world.idp.management.users.list(&world.site, Default::default(), Page::ALL).await.unwrap();
    let user = &users.items[0].user_id;
    let sessions =
        idp::repository::Sessions::user_sessions(&*store, TENANT, user, now, Page::ALL).await.unwrap();
    let sid = &sessions.items[0].sid;
    assert!(store.end_session_telling(TENANT, sid, &deliveries, now).await.unwrap());
    assert!(!store.end_session_telling(TENANT, sid, &deliveries, now).await.unwrap());
    let until = UnixMillis(now.0 + 60_000);
    let claims = (0..4).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.claim_logouts(now, until, 16).await.unwrap() })
    });
    let mut claimed: Vec<String> = Vec::new();
    for claim in claims.collect::<Vec<_>>() {
        claimed.extend(claim.await.unwrap().into_iter().map(|(_, delivery)| delivery.id));
    }
    claimed.sort();
    assert_eq!(claimed, deliveries.iter().map(|delivery| delivery.id.clone()).collect::<Vec<_>>());
    store.forget_logout(TENANT, "delivery0").await.unwrap();
    let again = store.claim_logouts(until, UnixMillis(i64::MAX), 16).await.unwrap();
    assert_eq!((again.len(), again[0].1.attempts), (9, 2));
}

async fn logs_are_listed_either_way_and_purged_by_age(world: World) {
    let store = &world.repository;
    let event = |n: i64| {
        let log_id = format!("90020000{n:04}");
        let user_id = (n % 2 == 0).then(|| "auth0|u".to_owned());
        (TENANT.to_owned(), LogEvent { log_id, at: n, user_id, ..LogEvent::new("s") })
    };
    let events: Vec<_> = (0..10).map(event).collect();
    store.add_logs(&events).await.unwrap();
    store.add_logs(&events).await.unwrap();
    let all = LogFilter::default();
    assert_eq!(store.count_logs(TENANT, all).await.unwrap(), 10, "twice is once");
    let times = |events: Vec<LogEvent>| events.into_iter().map(|event| event.at).collect::<Vec<_>>();
    let page = |offset, limit| Page { offset, limit };
    assert_eq!(times(store.logs(TENANT, all, true, page(1, 3)).await.unwrap()), [8, 7, 6]);
    let after = LogFilter { after: Some("900200000006"), ..all };
    assert_eq!(times(store.logs(TENANT, after, false, Page::ALL).await.unwrap()), [7, 8, 9]);
    let before = LogFilter { before: Some("900200000002"), ..all };
    assert_eq!(times(store.logs(TENANT, before, true, Page::ALL).await.unwrap()), [1, 0]);
    let of_user = LogFilter { user_id: Some("auth0|u"), ..all };
    assert_eq!(store.count_logs(TENANT, of_user).await.unwrap(), 5);
    assert_eq!(store.count_logs("other", all).await.unwrap(), 0);
    assert_eq!(store.purge_logs(UnixMillis(8)).await.unwrap(), 8);
    assert_eq!(store.count_logs(TENANT, all).await.unwrap(), 2);
}

/// The key ids that a node publishes.
async fn published(idp: &Idp) -> Vec<String> {
    let jwks = idp.keys.jwks(TENANT).await.unwrap();
    let kid = |key: &serde_json::Value| key["kid"].as_str().unwrap().to_owned();
    jwks["keys"].as_array().unwrap().iter().map(kid).collect()
}

/// A token of the Management API by a node, and the key that signed it.
async fn signed(idp: &Idp, world: &World) -> (String, String) {
    let audience = format!("{}api/v2/", world.site.issuer());
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", world.demo.management_client_id.as_str()),
        ("client_secret", world.demo.management_client_secret.expose()),
        ("audience", &audience),
    ];
    let issued = idp.token.answer(&world.site, None::<&str>, &params(&form)).await.unwrap();
    let token = issued.access_token.expose().clone();
    let kid = jose::CompactJws::parse(&token).unwrap().header().kid.clone().unwrap();
    (token, kid)
}

async fn o54_rotations_one_after_the_other_are_known_to_both_nodes_at_once(world: World) {
    let nodes = [world.idp.clone(), other_node(&world)];
    for node in &nodes {
        // Both have read the keys, and time stands still.
        assert!(published(node).await.len() >= 8);
    }
    let mut tokens = Vec::new();
    for rotating in [0, 0, 1, 0] {
        let current = nodes[rotating].keys.rotate(TENANT, jose::Alg::RS256).await.unwrap();
        for node in &nodes {
            let (token, kid) = signed(node, &world).await;
            assert_eq!(kid, current, "the nodes agree which key signs");
            tokens.push((token, kid));
        }
        for node in &nodes {
            let known = published(node).await;
            for (token, kid) in &tokens {
                assert!(known.contains(kid));
                assert!(node.bearer.verify(&world.site, token).await.is_ok(), "{kid}");
            }
        }
    }
    let (first, second) = tokio::join!(
        nodes[0].keys.rotate(TENANT, jose::Alg::RS256),
        nodes[1].keys.rotate(TENANT, jose::Alg::RS256)
    );
    let current = signed(&nodes[0], &world).await.1;
    assert_eq!(current, signed(&nodes[1], &world).await.1);
    assert!([first.unwrap(), second.unwrap()].contains(&current));
    let known = [published(&nodes[0]).await, published(&nodes[1]).await];
    assert_eq!(known[0], known[1]);
}

async fn o54_a_key_that_one_node_revokes_neither_signs_nor_verifies_at_the_other(world: World) {
    let nodes = [world.idp.clone(), other_node(&world)];
    let (token, kid) = signed(&nodes[1], &world).await;
    for node in &nodes {
        assert!(node.bearer.verify(&world.site, &token).await.is_ok());
    }
    // The key got out: it is replaced and taken away at once.
    nodes[0].keys.rotate(TENANT, jose::Alg::RS256).await.unwrap();
    assert!(nodes[0].keys.revoke(TENANT, &kid).await.unwrap());
    for node in &nodes {
        assert!(!published(node).await.contains(&kid));
        assert!(node.bearer.verify(&world.site, &token).await.is_err());
        let (fresh, other) = signed(node, &world).await;
        assert_ne!(other, kid);
        for node in &nodes {
            assert!(node.bearer.verify(&world.site, &fresh).await.is_ok());
        }
    }
}
