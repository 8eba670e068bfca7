//! `/v2/logout` and `/oidc/logout`.

use idp::LogoutOutcome;

use crate::{
    Person, World, on_every_database, params,
    world::{answer, refusal},
};

on_every_database! {
    an_id_token_of_the_session_ends_it_without_asking,
    o15_hints_that_prove_nothing_lead_to_a_question_or_an_error,
    o11_logout_ends_the_clients_refresh_tokens,
    v2_logout_returns_to_allowed_places_only,
}

const HOME: &str = "http://localhost:9080/";

async fn signed_in(world: &World, person: &mut Person) -> bool {
    answer(&person.authorize(world, &[("prompt", "none")]).await, "code").is_some()
}

async fn an_id_token_of_the_session_ends_it_without_asking(world: World) {
    let (mut person, issued) = world.tokens("openid", None).await;
    let hint = issued.id_token.unwrap();
    let form =
        params(&[("id_token_hint", hint.expose()), ("post_logout_redirect_uri", HOME), ("state", "a&b")]);
    let outcome = world.idp.logout.oidc(&world.site, &form, &person.browser).await.unwrap();
    let LogoutOutcome::Redirect(url) = outcome else { panic!("{outcome:?}") };
    assert_eq!(url, "http://localhost:9080/?state=a%26b");
    assert!(!signed_in(&world, &mut person).await);
}

async fn o15_hints_that_prove_nothing_lead_to_a_question_or_an_error(world: World) {
    let (mut person, issued) = world.tokens("openid", None).await;
    let hint = issued.id_token.unwrap().expose().clone();
    let page = async |form: &[(&str, &str)]| {
        let outcome = world.idp.logout.oidc(&world.site, &params(form), &person.browser).await.unwrap();
        match outcome {
            LogoutOutcome::ErrorPage(_) => "error",
            LogoutOutcome::Confirm { .. } => "confirm",
            LogoutOutcome::Redirect(_) => "redirect",
            LogoutOutcome::SignedOut => "done",
            LogoutOutcome::Tell { .. } => "tell",
        }
    };
    let unsigned = format!("eyJhbGciOiJub25lIn0.{}.", hint.split('.').nth(1).unwrap());
    let (signed, signature) = hint.rsplit_once('.').unwrap();
    let altered =
        format!("{signed}.{}{}", if signature.starts_with('A') { "B" } else { "A" }, &signature[1..]);
    for bad in [unsigned.as_str(), altered.as_str(), "x", issued.access_token.expose()] {
        assert_eq!(page(&[("id_token_hint", bad), ("post_logout_redirect_uri", HOME)]).await, "error");
    }
    assert_eq!(page(&[("id_token_hint", &hint), ("client_id", "other")]).await, "error");
    for wrong in ["http://localhost:9080/?x=1", "http://localhost:9080", "https://evil.example/"] {
        assert_eq!(page(&[("id_token_hint", &hint), ("post_logout_redirect_uri", wrong)]).await, "error");
    }
    assert_eq!(page(&[("post_logout_redirect_uri", HOME)]).await, "error", "whose address is that?");
    assert_eq!(page(&[]).await, "confirm");
    assert_eq!(page(&[("confirmation", "guessed")]).await, "confirm");
    let client = ("client_id", world.demo.client_id.as_str());
    assert_eq!(page(&[client, ("post_logout_redirect_uri", HOME)]).await, "confirm");
    assert_eq!(page(&[("logout_hint", "guessed")]).await, "confirm");
    world.advance(36_000);
    assert_eq!(page(&[("id_token_hint", &hint)]).await, "confirm", "expired");
    let outcome = world.idp.logout.oidc(&world.site, &params(&[]), &person.browser).await.unwrap();
    let LogoutOutcome::Confirm { confirmation } = outcome else { panic!("{outcome:?}") };
    let mut other = Person::new();
    let login = crate::world::login_page(other.authorize(&world, &[]).await);
    other.log_in(&world, &login).await;
    let form = params(&[("confirmation", &confirmation)]);
    let elsewhere = world.idp.logout.oidc(&world.site, &form, &other.browser).await.unwrap();
    assert!(matches!(elsewhere, LogoutOutcome::Confirm { .. }), "it is good for one browser");
    assert!(signed_in(&world, &mut person).await);
    let outcome = world.idp.logout.oidc(&world.site, &form, &person.browser).await.unwrap();
    assert!(matches!(outcome, LogoutOutcome::SignedOut));
    assert!(!signed_in(&world, &mut person).await);
    let again = world.idp.logout.oidc(&world.site, &params(&[]), &person.browser).await.unwrap();
    assert!(matches!(again, LogoutOutcome::SignedOut), "nobody to ask");
}

async fn o11_logout_ends_the_clients_refresh_tokens(world: World) {
    let (person, issued) = world.tokens("openid offline_access", None).await;
    let form = params(&[("client_id", &world.demo.client_id), ("returnTo", HOME)]);
    let outcome = world.idp.logout.v2(&world.site, &form, &person.browser).await.unwrap();
    assert!(matches!(outcome, LogoutOutcome::Redirect(url) if url == HOME));
    assert_eq!(refusal(world.refresh(issued.refresh_token.unwrap().expose()).await), "invalid_grant");
}

async fn v2_logout_returns_to_allowed_places_only(world: World) {
    let (mut person, _) = world.tokens("openid", None).await;
    let client = ("client_id", world.demo.client_id.as_str());
    for form in [
        vec![client, ("returnTo", "https://evil.example/")],
        vec![("returnTo", HOME)],
        vec![("client_id", "nobody")],
    ] {
        let outcome = world.idp.logout.v2(&world.site, &params(&form), &person.browser).await.unwrap();
        assert!(matches!(outcome, LogoutOutcome::ErrorPage(_)), "{form:?}");
    }
    assert!(signed_in(&world, &mut person).await, "a bad request changes nothing");
    let form = params(&[client, ("returnTo", "http://localhost:9080/?bye=1")]);
    let outcome = world.idp.logout.v2(&world.site, &form, &person.browser).await.unwrap();
    assert!(matches!(outcome, LogoutOutcome::Redirect(url) if url == "http://localhost:9080/?bye=1"));
    assert!(!signed_in(&world, &mut person).await);
    let first = world.idp.logout.v2(&world.site, &params(&[client]), &person.browser).await.unwrap();
    assert!(matches!(first, LogoutOutcome::Redirect(url) if url == HOME));
    let bare = world.idp.logout.v2(&world.site, &params(&[]), &person.browser).await.unwrap();
    assert!(matches!(bare, LogoutOutcome::SignedOut));
}
