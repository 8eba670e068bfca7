//! Links in mails: addresses that are proven, passwords that are changed.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::world::{Agent, Answer, Payload, World};

const NEW_PASSWORD: &str = "Tr0ubador-and-3-more";

async fn admin(world: &World) -> (String, String) {
    let token = world.management_token("").await;
    let users = world.call(&token, "GET", "users", None).await.json();
    (token, users[0]["user_id"].as_str().unwrap().to_owned())
}

/// The path of a ticket's link.
fn path(url: &str) -> String {
    url.strip_prefix("http://localhost:9400")
        .unwrap_or_else(|| panic!("{url}"))
        .trim_end_matches('#')
        .to_owned()
}

/// The link of the mail that was sent last.
fn mailed(world: &World) -> String {
    let mails = world.mails();
    let text = mails.last().expect("a mail").text.expose().clone();
    path(text.split_whitespace().find(|word| word.starts_with("http")).unwrap())
}

async fn post_json(agent: &mut Agent<'_>, path: &str, body: &Value) -> Answer {
    agent.send(Method::POST, path, Some(Payload::Json(body))).await
}

async fn logs_in(world: &World, password: &str) -> bool {
    let mut agent = world.agent();
    let page = agent.open(&world.authorize(&[])).await;
    let user = world.seeded.user.clone();
    let answer = agent.submit(&page, &[("username", &user), ("password", password)]).await;
    agent.follow(answer).await.param("code").is_some()
}

#[tokio::test]
async fn o23_a_password_ticket_works_once_and_ends_what_the_old_password_opened() {
    let world = World::new().await;
    let (token, user) = admin(&world).await;
    let mut agent = world.agent();
    let code = agent.code(&[("scope", "openid offline_access")]).await;
    let refresh = world.redeem(&code).await.json()["refresh_token"].as_str().unwrap().to_owned();
    let order = json!({ "user_id": user, "result_url": "https://app.example/done?x=1", "includeEmailInRedirect": true });
    let made = world.call(&token, "POST", "tickets/password-change", Some(order)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    let link = path(made.json()["ticket"].as_str().unwrap());
    assert!(link.starts_with("/u/reset-verify?ticket=") && link.len() > 60, "{link}");

    let mut person = world.agent();
    let page = person.get(&link).await;
    assert_eq!((page.status, page.header("referrer-policy")), (StatusCode::OK, Some("no-referrer")));
    // Looking, a weak password and a slip of the finger use nothing up.
    let weak = person.submit(&page, &[("password", "a")]).await;
    assert!(weak.status == StatusCode::BAD_REQUEST && weak.has_id("error-element-password"), "{weak:?}");
    let slip = person.submit(&page, &[("password", NEW_PASSWORD), ("password_again", "x")]).await;
    assert_eq!(slip.status, StatusCode::BAD_REQUEST);
    let done = person.submit(&page, &[("password", NEW_PASSWORD), ("password_again", NEW_PASSWORD)]).await;
    let location = done.location().unwrap_or_else(|| panic!("{done:?}"));
    assert!(
        location.starts_with("https://app.example/done?x=1&")
            && location.contains("email=demo%40example.com")
    );
    person.submit(&page, &[("password", "An0ther-password-x")]).await.is_error_page();
    person.get(&link).await.is_error_page();

    assert!(!logs_in(&world, world.seeded.password.expose()).await && logs_in(&world, NEW_PASSWORD).await);
    assert!(agent.get(&world.authorize(&[("prompt", "none")])).await.param("error").is_some());
    let answer = world.token(&[("grant_type", "refresh_token"), ("refresh_token", &refresh)]).await;
    assert_eq!(answer.json()["error"], "invalid_grant");
}

#[tokio::test]
async fn o23_a_newer_link_time_and_other_users_void_a_link() {
    let world = World::new().await;
    let (token, user) = admin(&world).await;
    let ticket = async |body: Value| {
        let made = world.call(&token, "POST", "tickets/password-change", Some(body)).await;
        path(made.json()["ticket"].as_str().unwrap_or_else(|| panic!("{}", made.body)))
    };
    let first = ticket(json!({ "user_id": user })).await;
    let second = ticket(json!({ "user_id": user, "ttl_sec": 60 })).await;
    let mut person = world.agent();
    person.get(&first).await.is_error_page();
    assert_eq!(person.get(&second).await.status, StatusCode::OK);
    // Cut, longer, or of another kind, it is nobody's.
    let cut = &second[..second.len() - 1];
    for bad in
        [cut, &format!("{second}A"), &second.replace("reset-verify", "email-verification"), "/u/reset-verify"]
    {
        person.get(bad).await.is_error_page();
    }
    world.clock.advance(std::time::Duration::from_secs(61));
    person.get(&second).await.is_error_page();
    let third = ticket(json!({ "user_id": user })).await;
    let blocked = json!({ "blocked": true });
    let path = format!("users/{}", user.replace('|', "%7C"));
    assert_eq!(world.call(&token, "PATCH", &path, Some(blocked)).await.status, StatusCode::OK);
    person.get(&third).await.is_error_page();
}

#[tokio::test]
async fn o49_a_link_proves_the_address_that_it_was_made_for() {
    let world = World::new().await;
    let (token, user) = admin(&world).await;
    let path_of_user = format!("users/{}", user.replace('|', "%7C"));
    let unproven = json!({ "email": "new@example.com", "email_verified": false });
    assert_eq!(world.call(&token, "PATCH", &path_of_user, Some(unproven)).await.status, StatusCode::OK);
    let ticket = async || {
        let body = json!({ "user_id": user });
        let made = world.call(&token, "POST", "tickets/email-verification", Some(body)).await;
        path(made.json()["ticket"].as_str().unwrap_or_else(|| panic!("{}", made.body)))
    };
    let verified =
        async || world.call(&token, "GET", &path_of_user, None).await.json()["email_verified"].clone();
    let old = ticket().await;
    let other = json!({ "email": "other@example.com" });
    assert_eq!(world.call(&token, "PATCH", &path_of_user, Some(other)).await.status, StatusCode::OK);
    let mut person = world.agent();
    person.get(&old).await.is_error_page();
    assert_eq!(verified().await, false);
    let link = ticket().await;
    let page = person.get(&link).await;
    assert!(page.status == StatusCode::OK && page.has_id("message"), "{page:?}");
    assert_eq!(verified().await, true);
    person.get(&link).await.is_error_page();
}

#[tokio::test]
async fn tickets_of_nobody_or_with_odd_terms_are_refused_by_name() {
    let world = World::new().await;
    let (token, user) = admin(&world).await;
    let connection = world.call(&token, "GET", "connections", None).await.json()[0]["id"].clone();
    let by_mail = json!({ "connection_id": connection, "email": "Demo@example.com" });
    let made = world.call(&token, "POST", "tickets/password-change", Some(by_mail)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    let cases = [
        ("email-verification", json!({}), 400, "user_id"),
        ("email-verification", json!({ "user_id": "auth0|no" }), 404, "user"),
        ("email-verification", json!({ "user_id": user, "client_id": "no" }), 404, "client"),
        ("email-verification", json!({ "user_id": user, "result_url": "javascript:x" }), 400, "result_url"),
        ("email-verification", json!({ "user_id": user, "ttl_sec": "60" }), 400, "ttl_sec"),
        ("email-verification", json!({ "user_id": user, "ttl_sec": -1 }), 400, "ttl_sec"),
        ("email-verification", json!({ "user_id": user, "evil": 1 }), 400, "evil"),
        (
            "email-verification",
            json!({ "user_id": user, "organization_id": "org_x" }),
            403,
            "organization_id",
        ),
        ("password-change", json!({ "email": "demo@example.com" }), 400, "user_id"),
        ("password-change", json!({ "user_id": user, "email": "demo@example.com" }), 400, "user_id"),
        ("password-change", json!({ "user_id": user, "new_password": "x" }), 403, "password"),
        ("password-change", json!({ "connection_id": connection, "email": "no@example.com" }), 404, "user"),
        (
            "password-change",
            json!({ "connection_id": "con_no", "email": "no@example.com" }),
            404,
            "connection",
        ),
    ];
    for (kind, body, status, name) in cases {
        let answer = world.call(&token, "POST", &format!("tickets/{kind}"), Some(body.clone())).await;
        assert_eq!(answer.status.as_u16(), status, "{kind} {body}: {}", answer.body);
        assert!(answer.json()["message"].as_str().unwrap().contains(name), "{kind} {body}: {}", answer.body);
    }
}

#[tokio::test]
async fn o19_a_forgotten_password_is_answered_alike_for_everybody_and_mailed_to_its_owner() {
    let world = World::new().await;
    let mut agent = world.agent();
    let login = agent.open(&world.authorize(&[])).await;
    assert!(login.has_id("reset-link"));
    let state = login.between("/u/reset-password/request?state=", "\"").unwrap().to_owned();
    let page = agent.get(&format!("/u/reset-password/request?state={state}")).await;
    let unknown = agent.submit(&page, &[("email", "nobody@example.com")]).await;
    assert!(world.mails().is_empty());
    let known = agent.submit(&page, &[("email", "Demo@Example.com")]).await;
    assert_eq!((unknown.status, &unknown.body), (StatusCode::OK, &known.body));
    let mails = world.mails();
    assert_eq!((mails.len(), mails[0].to.as_str()), (1, "demo@example.com"));
    // The link is at the configured origin, whatever host is claimed.
    let mut evil = world.agent();
    evil.extra.push(("x-forwarded-host", "evil.example".to_owned()));
    let order = json!({
        "client_id": world.seeded.client_id, "connection": "Username-Password-Authentication",
        "email": "demo@example.com",
    });
    let answer = post_json(&mut evil, "/dbconnections/change_password", &order).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert!(answer.header("content-type").unwrap().starts_with("text/html"));
    let page = agent.get(&mailed(&world)).await;
    let done = agent.submit(&page, &[("password", NEW_PASSWORD)]).await;
    assert!(done.has_id("message"), "{done:?}");
    assert!(logs_in(&world, NEW_PASSWORD).await);
    let nobody = json!({
        "client_id": world.seeded.client_id, "connection": "Username-Password-Authentication",
        "email": "nobody@example.com",
    });
    assert_eq!(post_json(&mut evil, "/dbconnections/change_password", &nobody).await.body, answer.body);
    // A flood of requests is no flood of mails.
    let before = world.mails().len();
    for _ in 0..20 {
        post_json(&mut evil, "/dbconnections/change_password", &order).await;
    }
    assert!(world.mails().len() - before <= 3, "{}", world.mails().len());
}

#[tokio::test]
async fn a_new_password_leads_back_to_where_the_application_begins_its_logins() {
    // OpenID Connect Core section 4.
    let world = World::new().await;
    world.set_client(json!({ "initiate_login_uri": "https://app.example/login?from=provider" })).await;
    let order = json!({
        "client_id": world.seeded.client_id, "connection": "Username-Password-Authentication",
        "email": "demo@example.com",
    });
    let mut agent = world.agent();
    post_json(&mut agent, "/dbconnections/change_password", &order).await;
    let page = agent.get(&mailed(&world)).await;
    let done = agent.submit(&page, &[("password", NEW_PASSWORD)]).await;
    let expected = "https://app.example/login?from=provider&iss=http%3A%2F%2Flocalhost%3A9400%2F&login_hint=demo%40example.com";
    assert_eq!(done.location().as_deref(), Some(expected), "{done:?}");
}

#[tokio::test]
async fn o39_a_mail_goes_to_one_address_and_leads_to_the_tenant_s_own_origin() {
    let world = World::new().await;
    let order = |email: &str| {
        json!({
            "client_id": world.seeded.client_id, "connection": "Username-Password-Authentication", "email": email,
        })
    };
    let mut agent = world.agent();
    for bad in [
        "demo@example.com\r\nBcc: evil@evil.example",
        "demo@example.com\nSubject: x",
        "demo@example.com, evil@evil.example",
        "demo@example.com;evil@evil.example",
        "\"demo@example.com\" <evil@evil.example>",
    ] {
        post_json(&mut agent, "/dbconnections/change_password", &order(bad)).await;
        assert!(world.mails().is_empty(), "{bad:?}");
    }
    // The link's host is configured, and not what the request names.
    agent.host = "evil.example";
    for name in ["x-forwarded-host", "forwarded", "x-original-host"] {
        agent.extra.push((name, "host=evil.example".to_owned()));
    }
    post_json(&mut agent, "/dbconnections/change_password", &order("demo@example.com")).await;
    let mails = world.mails();
    let [mail] = mails.as_slice() else { panic!("{mails:?}") };
    assert_eq!(mail.to, "demo@example.com");
    assert!(!mail.subject.contains(['\r', '\n']) && !mail.text.expose().contains("evil"), "{mail:?}");
    assert!(mailed(&world).starts_with("/u/"));
}

#[tokio::test]
async fn somebody_signs_up_without_a_page_and_confirms_the_address() {
    let world = World::new().await;
    let mut agent = world.agent();
    let order = json!({
        "client_id": world.seeded.client_id, "connection": "Username-Password-Authentication",
        "email": "New@example.com", "password": NEW_PASSWORD, "given_name": "New", "user_metadata": { "a": "b" },
    });
    let made = post_json(&mut agent, "/dbconnections/signup", &order).await;
    assert_eq!(made.status, StatusCode::OK, "{}", made.body);
    let body = made.json();
    assert_eq!((&body["email"], &body["email_verified"]), (&json!("new@example.com"), &json!(false)));
    assert_eq!(body["_id"].as_str().unwrap().len(), 24);
    let again = post_json(&mut agent, "/dbconnections/signup", &order).await;
    assert_eq!((again.status, &again.json()["code"]), (StatusCode::BAD_REQUEST, &json!("invalid_signup")));
    let (token, _) = admin(&world).await;
    let page = agent.get(&mailed(&world)).await;
    assert!(page.has_id("message"), "{page:?}");
    let user = format!("users/auth0%7C{}", body["_id"].as_str().unwrap());
    let user = world.call(&token, "GET", &user, None).await.json();
    assert_eq!((&user["email_verified"], &user["user_metadata"]), (&json!(true), &json!({ "a": "b" })));
    for (member, value, code) in [
        ("password", json!("a"), "invalid_password"),
        ("email", json!("no address"), "invalid_body"),
        ("connection", json!("Other"), "unauthorized"),
        ("client_id", json!("other"), "unauthorized"),
        ("email_verified", json!(true), "invalid_body"),
        ("app_metadata", json!({ "admin": true }), "invalid_body"),
        ("user_metadata", json!({ "a": 1 }), "invalid_body"),
        ("given_name", json!(1), "invalid_body"),
    ] {
        let mut order = order.clone();
        order[member] = value;
        let answer = post_json(&mut agent, "/dbconnections/signup", &order).await;
        assert_eq!(
            (answer.status, &answer.json()["code"]),
            (StatusCode::BAD_REQUEST, &json!(code)),
            "{member}"
        );
        assert!(!answer.body.contains(NEW_PASSWORD));
    }
}
