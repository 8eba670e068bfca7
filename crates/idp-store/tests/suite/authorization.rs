//! `/authorize`, login, sign-up and consent.

use base::{Random, Secret};
use idp::{AuthorizeOutcome, Browser, LoginOutcome, SignUpError, SignUpOutcome, model::ResponseMode};
use oauth::Verifier;

use crate::{
    Person, World, on_every_database,
    world::{AUDIENCE, CALLBACK, answer, login_page},
};

on_every_database! {
    a_login_gives_a_code_with_state_and_issuer,
    o01_a_redirect_uri_is_the_registered_string_or_an_error_page,
    o03_a_redirect_uri_may_be_left_out_only_where_it_is_clear,
    o06_pkce_is_required_of_public_clients_and_plain_is_refused,
    o12_unknown_scopes_are_left_out_and_an_unknown_api_is_refused,
    o13_response_types_modes_and_prompts_that_do_not_work_are_refused,
    o14_requests_with_what_does_not_work_are_refused_by_name,
    o16_third_parties_ask_once_and_denying_tells_the_client,
    o17_a_transaction_belongs_to_its_browser_and_a_login_makes_a_new_session,
    o19_a_wrong_name_and_a_wrong_password_look_the_same,
    o20_ten_failures_lock_the_account_at_this_address,
    o50_oversized_state_and_nonce_are_refused,
    a_session_is_used_again_and_prompt_and_max_age_are_obeyed,
    a_session_ends_idle_and_at_its_limit,
    a_blocked_user_is_told_only_after_the_right_password,
    sign_up_makes_a_user_who_can_log_in,
    a_client_without_the_users_connection_gets_no_code,
    management_scopes_are_not_for_users,
}

fn page_error(outcome: &AuthorizeOutcome) -> bool {
    matches!(outcome, AuthorizeOutcome::ErrorPage(_))
}

fn error(outcome: &AuthorizeOutcome) -> String {
    answer(outcome, "error").unwrap_or_else(|| panic!("{outcome:?}"))
}

async fn a_login_gives_a_code_with_state_and_issuer(world: World) {
    let mut person = Person::new();
    let page =
        login_page(person.authorize(&world, &[("scope", "openid"), ("response_mode", "form_post")]).await);
    let shown = world.idp.login.page(&world.site, &page.handle, &person.browser).await.unwrap().unwrap();
    assert_eq!(shown.client.name, "APISIXClientCredentials (Test Application)");
    assert_eq!(shown.connection.unwrap().name, "Username-Password-Authentication");
    let outcome = person.log_in(&world, &page).await;
    assert!(answer(&outcome, "code").is_some());
    assert_eq!(answer(&outcome, "state").as_deref(), Some("the state"));
    assert_eq!(answer(&outcome, "iss").as_deref(), Some("http://localhost:9400/"));
    let AuthorizeOutcome::Respond(response) = outcome else { panic!() };
    assert_eq!(response.mode, ResponseMode::FormPost);
    assert_eq!(response.location(), CALLBACK);
}

async fn o01_a_redirect_uri_is_the_registered_string_or_an_error_page(world: World) {
    for wrong in [
        "http://localhost:9080/callback/",
        "http://localhost:9080/callback?x=1",
        "http://localhost:9080/callback#x",
        "http://localhost:9080/Callback",
        "http://localhost:9081/callback",
        "http://127.0.0.1:9080/callback",
        "http://LOCALHOST:9080/callback",
        "https://localhost:9080/callback",
        "http://user@localhost:9080/callback",
        "http://localhost:9080/anything/../callback",
        "http://localhost:9080/%63allback",
        "http://localhost:9080/callback http://evil.example/",
        "http://evil.example/callback",
        "//localhost:9080/callback",
        "javascript:alert(1)",
    ] {
        let outcome = Person::new().authorize(&world, &[("redirect_uri", wrong)]).await;
        assert!(page_error(&outcome), "{wrong}");
    }
    let unknown = Person::new().authorize(&world, &[("client_id", "nobody")]).await;
    assert!(page_error(&unknown));
    assert!(page_error(&Person::new().authorize(&world, &[("client_id", "")]).await));
}

async fn o03_a_redirect_uri_may_be_left_out_only_where_it_is_clear(world: World) {
    assert!(
        page_error(&Person::new().authorize(&world, &[("redirect_uri", "")]).await),
        "two are registered"
    );
    let mut client = world.demo_client().await;
    client.callbacks = vec![CALLBACK.to_owned()];
    world.save(&client).await;
    login_page(Person::new().authorize(&world, &[("redirect_uri", "")]).await);
    let openid = Person::new().authorize(&world, &[("redirect_uri", ""), ("scope", "openid")]).await;
    assert!(page_error(&openid), "OpenID Connect requires it");
}

async fn o06_pkce_is_required_of_public_clients_and_plain_is_refused(world: World) {
    let verifier = Verifier::generate(&Random::system());
    let challenge = verifier.challenge();
    let plain = [("code_challenge", verifier.expose()), ("code_challenge_method", "plain")];
    assert_eq!(error(&Person::new().authorize(&world, &plain).await), "invalid_request");
    let bare = [("code_challenge", challenge.as_str())];
    assert_eq!(error(&Person::new().authorize(&world, &bare).await), "invalid_request");
    let lone = [("code_challenge_method", "S256")];
    assert_eq!(error(&Person::new().authorize(&world, &lone).await), "invalid_request");
    let mut client = world.demo_client().await;
    client.token_endpoint_auth_method = Some(oauth::ClientAuthMethod::None);
    world.save(&client).await;
    assert_eq!(error(&Person::new().authorize(&world, &[]).await), "invalid_request");
    let good = [("code_challenge", challenge.as_str()), ("code_challenge_method", "S256")];
    login_page(Person::new().authorize(&world, &good).await);
}

async fn o12_unknown_scopes_are_left_out_and_an_unknown_api_is_refused(world: World) {
    let (_, issued) = world.tokens("openid read:things admin:all", Some(AUDIENCE)).await;
    assert_eq!(issued.scope.to_string(), "openid read:things");
    let none = Person::new().authorize(&world, &[("audience", "https://nobody.example/")]).await;
    assert_eq!(error(&none), "access_denied");
    assert!(answer(&none, "error_description").unwrap().starts_with("Service not found"));
    let bad = Person::new().authorize(&world, &[("scope", "openid \"x")]).await;
    assert_eq!(error(&bad), "invalid_scope");
}

async fn o13_response_types_modes_and_prompts_that_do_not_work_are_refused(world: World) {
    for kind in ["token", "id_token", "code token", "none", "CODE"] {
        let outcome = Person::new().authorize(&world, &[("response_type", kind)]).await;
        assert_eq!(error(&outcome), "unsupported_response_type", "{kind}");
    }
    let hybrid = Person::new().authorize(&world, &[("response_type", "code id_token")]).await;
    assert_eq!(error(&hybrid), "unauthorized_client", "the demo application has no implicit grant");
    assert_eq!(error(&Person::new().authorize(&world, &[("response_type", "")]).await), "invalid_request");
    assert!(page_error(&Person::new().authorize(&world, &[("response_mode", "web_message")]).await));
    assert!(page_error(&Person::new().authorize(&world, &[("response_mode", "magic")]).await));
    assert_eq!(error(&Person::new().authorize(&world, &[("prompt", "none login")]).await), "invalid_request");
    assert_eq!(error(&Person::new().authorize(&world, &[("prompt", "other")]).await), "invalid_request");
    assert_eq!(error(&Person::new().authorize(&world, &[("prompt", "none")]).await), "login_required");
    let mut client = world.demo_client().await;
    client.grant_types = vec!["client_credentials".to_owned()];
    world.save(&client).await;
    assert_eq!(error(&Person::new().authorize(&world, &[]).await), "unauthorized_client");
}

async fn o14_requests_with_what_does_not_work_are_refused_by_name(world: World) {
    let cases = [
        ("request", "invalid_request_object"),
        ("registration", "registration_not_supported"),
        ("resource", "invalid_target"),
    ];
    for (name, code) in cases {
        assert_eq!(error(&Person::new().authorize(&world, &[(name, "x")]).await), code);
    }
}

async fn o16_third_parties_ask_once_and_denying_tells_the_client(world: World) {
    let mut client = world.demo_client().await;
    client.is_first_party = false;
    world.save(&client).await;
    let mut person = Person::new();
    let asked = [("scope", "openid email")];
    let page = login_page(person.authorize(&world, &asked).await);
    let before_login =
        world.idp.consent.decide(&world.site, &page.handle, &person.browser, true).await.unwrap();
    assert!(page_error(&before_login), "nobody is logged in");
    let AuthorizeOutcome::Consent(consent) = person.log_in(&world, &page).await else {
        panic!("a consent page")
    };
    let shown = world.idp.consent.page(&world.site, &consent.handle, &person.browser).await.unwrap().unwrap();
    let scopes: Vec<_> = shown.scopes.iter().map(|scope| scope.value.as_str()).collect();
    assert_eq!(scopes, ["openid", "email"]);
    let resumed =
        world.idp.authorization.resume(&world.site, &consent.handle, &person.browser).await.unwrap();
    assert!(matches!(resumed, AuthorizeOutcome::Consent(_)), "going on does not skip the page");
    let stranger = Browser { session: person.browser.session.clone(), ..Browser::default() };
    let stolen = world.idp.consent.decide(&world.site, &consent.handle, &stranger, true).await.unwrap();
    assert!(page_error(&stolen));
    let denied =
        world.idp.consent.decide(&world.site, &consent.handle, &person.browser, false).await.unwrap();
    assert_eq!(error(&denied), "access_denied");
    let again = world.idp.consent.decide(&world.site, &consent.handle, &person.browser, true).await.unwrap();
    assert!(page_error(&again), "a decision is made once");

    assert_eq!(
        error(&person.authorize(&world, &[("prompt", "none"), ("scope", "openid email")]).await),
        "consent_required"
    );
    let AuthorizeOutcome::Consent(consent) = person.authorize(&world, &asked).await else { panic!() };
    let allowed =
        world.idp.consent.decide(&world.site, &consent.handle, &person.browser, true).await.unwrap();
    assert!(answer(&allowed, "code").is_some());
    let silent = person.authorize(&world, &[("prompt", "none"), ("scope", "openid email")]).await;
    assert!(answer(&silent, "code").is_some(), "what was allowed is not asked again");
    let more = person.authorize(&world, &[("scope", "openid email profile")]).await;
    assert!(matches!(more, AuthorizeOutcome::Consent(_)), "more is");
}

async fn o17_a_transaction_belongs_to_its_browser_and_a_login_makes_a_new_session(world: World) {
    let mut victim = Person::new();
    let page = login_page(victim.authorize(&world, &[]).await);
    let mut other = Person::new();
    login_page(other.authorize(&world, &[]).await);
    let password = world.demo.password.clone();
    let swapped = other.attempt(&world, &page, &world.demo.user.clone(), &password).await;
    assert!(matches!(swapped, LoginOutcome::Expired));
    assert!(world.idp.login.page(&world.site, &page.handle, &other.browser).await.unwrap().is_none());

    victim.browser.session = Some(Secret::new("chosen by somebody else, quite long enough".to_owned()));
    victim.log_in(&world, &page).await;
    let first = victim.browser.session.clone().unwrap();
    assert_ne!(first.expose(), "chosen by somebody else, quite long enough");
    let again = login_page(victim.authorize(&world, &[("prompt", "login")]).await);
    victim.log_in(&world, &again).await;
    assert_ne!(victim.browser.session.as_ref().unwrap(), &first);
    victim.browser.session = Some(first);
    let old = victim.authorize(&world, &[("prompt", "none")]).await;
    assert_eq!(error(&old), "login_required", "the session before is over");
}

async fn o19_a_wrong_name_and_a_wrong_password_look_the_same(world: World) {
    let mut person = Person::new();
    let page = login_page(person.authorize(&world, &[]).await);
    let wrong = Secret::new("wrong".to_owned());
    for name in [world.demo.user.as_str(), "nobody@example.com", "", &"x".repeat(500)] {
        assert!(matches!(person.attempt(&world, &page, name, &wrong).await, LoginOutcome::Wrong), "{name}");
    }
    let (login, password) = (&world.idp.login, Secret::new("Some-Passw0rd".to_owned()));
    let sign_up =
        login.sign_up(&world.site, &page.handle, &person.browser, &world.demo.user, None, &password).await;
    assert!(matches!(sign_up.unwrap(), SignUpOutcome::Refused(SignUpError::Rejected)));
}

async fn o20_ten_failures_lock_the_account_at_this_address(world: World) {
    let mut person = Person::new();
    let page = login_page(person.authorize(&world, &[]).await);
    let (user, right) = (world.demo.user.clone(), world.demo.password.clone());
    let wrong = Secret::new("wrong".to_owned());
    for _ in 0..10 {
        assert!(matches!(person.attempt(&world, &page, &user, &wrong).await, LoginOutcome::Wrong));
    }
    assert!(matches!(person.attempt(&world, &page, &user, &right).await, LoginOutcome::Blocked));
    let upper = user.to_uppercase();
    assert!(matches!(person.attempt(&world, &page, &upper, &right).await, LoginOutcome::Blocked));
    person.browser.ip = Some(std::net::IpAddr::from([198, 51, 100, 7]));
    assert!(matches!(person.attempt(&world, &page, &user, &right).await, LoginOutcome::Done(_)));
}

async fn o50_oversized_state_and_nonce_are_refused(world: World) {
    let long = "x".repeat(5000);
    assert!(page_error(&Person::new().authorize(&world, &[("state", &long)]).await));
    assert_eq!(error(&Person::new().authorize(&world, &[("nonce", &long)]).await), "invalid_request");
    let scope = "s ".repeat(5000);
    assert_eq!(error(&Person::new().authorize(&world, &[("scope", &scope)]).await), "invalid_scope");
}

async fn a_session_is_used_again_and_prompt_and_max_age_are_obeyed(world: World) {
    let mut person = Person::new();
    let page = login_page(person.authorize(&world, &[]).await);
    person.log_in(&world, &page).await;
    assert!(answer(&person.authorize(&world, &[]).await, "code").is_some());
    assert!(answer(&person.authorize(&world, &[("prompt", "none")]).await, "code").is_some());
    world.advance(100);
    assert!(answer(&person.authorize(&world, &[("max_age", "100")]).await, "code").is_some());
    login_page(person.authorize(&world, &[("max_age", "99")]).await);
    login_page(person.authorize(&world, &[("max_age", "0")]).await);
    login_page(person.authorize(&world, &[("prompt", "select_account")]).await);
    let silent = person.authorize(&world, &[("max_age", "99"), ("prompt", "none")]).await;
    assert_eq!(error(&silent), "login_required");
    let page = login_page(person.authorize(&world, &[("prompt", "login")]).await);
    assert!(answer(&person.log_in(&world, &page).await, "code").is_some());
    assert!(matches!(person.authorize(&world, &[("prompt", "consent")]).await, AuthorizeOutcome::Consent(_)));
}

async fn a_session_ends_idle_and_at_its_limit(world: World) {
    let mut person = Person::new();
    let page = login_page(person.authorize(&world, &[]).await);
    person.log_in(&world, &page).await;
    for _ in 0..2 {
        world.advance(71 * 3600);
        assert!(answer(&person.authorize(&world, &[]).await, "code").is_some(), "use keeps it");
    }
    world.advance(25 * 3600);
    assert!(answer(&person.authorize(&world, &[]).await, "code").is_some());
    world.advance(3600);
    login_page(person.authorize(&world, &[]).await);
    let mut idle = Person::new();
    let page = login_page(idle.authorize(&world, &[]).await);
    idle.log_in(&world, &page).await;
    world.advance(72 * 3600);
    login_page(idle.authorize(&world, &[]).await);
}

async fn a_blocked_user_is_told_only_after_the_right_password(world: World) {
    let users = &world.idp.management.users;
    let found = users.list(&world.site, Default::default(), idp::repository::Page::ALL).await.unwrap();
    let id = &found.items[0].user_id;
    let mut person = Person::new();
    let page = login_page(person.authorize(&world, &[]).await);
    person.log_in(&world, &page).await;
    let body = serde_json::json!({ "blocked": true });
    users.update(&world.site, id, body.as_object().unwrap().clone()).await.unwrap();
    let page = login_page(person.authorize(&world, &[]).await);
    let (user, right) = (world.demo.user.clone(), world.demo.password.clone());
    let wrong = Secret::new("wrong".to_owned());
    assert!(matches!(person.attempt(&world, &page, &user, &wrong).await, LoginOutcome::Wrong));
    assert!(matches!(person.attempt(&world, &page, &user, &right).await, LoginOutcome::UserBlocked));
}

async fn sign_up_makes_a_user_who_can_log_in(world: World) {
    let mut person = Person::new();
    let page = login_page(person.authorize(&world, &[("screen_hint", "signup"), ("scope", "openid")]).await);
    assert_eq!(page.screen_hint, Some(idp::model::ScreenHint::SignUp));
    let sign_up = async |email: &str, password: &str| {
        let password = Secret::new(password.to_owned());
        world
            .idp
            .login
            .sign_up(&world.site, &page.handle, &person.browser, email, None, &password)
            .await
            .unwrap()
    };
    assert!(matches!(
        sign_up("not an address", "Good-Passw0rd").await,
        SignUpOutcome::Refused(SignUpError::Email)
    ));
    let weak = sign_up("new@example.org", "password").await;
    assert!(matches!(weak, SignUpOutcome::Refused(SignUpError::WeakPassword(_))));
    let SignUpOutcome::Done(session) = sign_up("New@example.org", "Good-Passw0rd").await else { panic!() };
    person.browser.session = Some(session.cookie);
    let outcome = world.idp.authorization.resume(&world.site, &page.handle, &person.browser).await.unwrap();
    assert!(answer(&outcome, "code").is_some());
    let mut later = Person::new();
    let page = login_page(later.authorize(&world, &[]).await);
    let password = Secret::new("Good-Passw0rd".to_owned());
    assert!(matches!(
        later.attempt(&world, &page, "new@EXAMPLE.org", &password).await,
        LoginOutcome::Done(_)
    ));
}

async fn a_client_without_the_users_connection_gets_no_code(world: World) {
    let mut person = Person::new();
    let page = login_page(person.authorize(&world, &[]).await);
    person.log_in(&world, &page).await;
    let mut another = Person::new();
    let page = login_page(another.authorize(&world, &[]).await);
    let connection = idp::repository::Connections::connection(
        &*world.repository,
        "dev",
        "Username-Password-Authentication",
    );
    let connection = connection.await.unwrap().unwrap();
    let off = [(world.demo.client_id.clone(), false)];
    world.idp.management.connections.set_clients(&world.site, &connection.id, &off).await.unwrap();
    let password = world.demo.password.clone();
    let attempt = another.attempt(&world, &page, &world.demo.user.clone(), &password).await;
    assert!(matches!(attempt, LoginOutcome::Wrong));
    for mut person in [person, another] {
        assert_eq!(
            error(&person.authorize(&world, &[]).await),
            "invalid_request",
            "there is no page to show"
        );
    }
}

async fn management_scopes_are_not_for_users(world: World) {
    let audience = world.site.management_audience();
    let outcome = Person::new().authorize(&world, &[("audience", &audience), ("scope", "read:users")]).await;
    assert_eq!(error(&outcome), "access_denied");
}
