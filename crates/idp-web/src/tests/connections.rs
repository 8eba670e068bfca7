//! Options of connections and clients that are either kept to or refused by name.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::world::World;

const CONNECTION: &str = "Username-Password-Authentication";

async fn send(world: &World, method: &str, path: &str, body: Value) -> (StatusCode, Value) {
    let token = world.management_token("").await;
    let answer = world.call(&token, method, path, Some(body)).await;
    let told = if answer.status == StatusCode::NO_CONTENT { Value::Null } else { answer.json() };
    (answer.status, told)
}

/// Gives the demo connection these options.
async fn set_options(world: &World, options: Value) {
    let connection = world.idp.repository().connection("dev", CONNECTION).await.unwrap().unwrap();
    let path = format!("connections/{}", connection.id);
    let (status, told) = send(world, "PATCH", &path, json!({ "options": options })).await;
    assert_eq!(status, StatusCode::OK, "{told}");
}

#[tokio::test]
async fn what_a_connection_cannot_do_is_refused_by_name() {
    let world = World::new().await;
    for (options, name) in [
        (json!({ "authentication_methods": { "passkey": { "enabled": true } } }), "passkey.enabled=true"),
        (json!({ "authentication_methods": { "email_otp": { "enabled": true } } }), "email_otp.enabled=true"),
        (json!({ "authentication_methods": { "phone_otp": { "enabled": true } } }), "phone_otp.enabled=true"),
        (json!({ "authentication_methods": { "password": { "enabled": false } } }), "password.enabled=false"),
        (
            json!({ "authentication_methods": { "password": { "enabled": true, "signup_behavior": "block" } } }),
            "password.signup_behavior",
        ),
    ] {
        let body = json!({ "name": "db", "strategy": "auth0", "options": options });
        let (status, told) = send(&world, "POST", "connections", body).await;
        assert_eq!((status, &told["errorCode"]), (StatusCode::FORBIDDEN, &json!("operation_not_supported")));
        assert!(told["message"].as_str().unwrap().contains(name), "{told}");
    }
    for (options, name) in [
        (json!({ "mfa": { "active": true, "evil": 1 } }), "evil"),
        (json!({ "mfa": true }), "options.mfa"),
        (json!({ "passkey_options": { "challenge_ui": "loud" } }), "options.passkey_options.challenge_ui"),
        (json!({ "password_history": { "enable": true, "size": 25 } }), "options.password_history.size"),
        (json!({ "password_history": { "enable": "yes" } }), "options.password_history.enable"),
    ] {
        let body = json!({ "name": "db", "strategy": "auth0", "options": options });
        let (status, told) = send(&world, "POST", "connections", body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{told}");
        assert!(told["message"].as_str().unwrap().contains(name), "{told}");
    }
}

#[tokio::test]
async fn what_auth0s_tools_send_of_a_connection_by_default_is_taken() {
    let world = World::new().await;
    let options = json!({
        "mfa": { "active": true, "return_enroll_settings": true },
        "authentication_methods": {
            "password": { "enabled": true, "api_behavior": "required", "signup_behavior": "allow" },
            "passkey": { "enabled": false }, "email_otp": { "enabled": false }, "phone_otp": { "enabled": false },
        },
        "passkey_options": {
            "challenge_ui": "both", "progressive_enrollment_enabled": true, "local_enrollment_enabled": true,
        },
        "password_history": { "enable": false, "size": 5 },
        "passwordPolicy": "good", "import_mode": false, "customScripts": {}, "disable_signup": false,
        "password_dictionary": { "enable": false, "dictionary": [] }, "strategy_version": 2,
        "password_complexity_options": { "min_length": 8 }, "brute_force_protection": true,
        "password_no_personal_info": { "enable": false }, "enabledDatabaseCustomization": false,
        "disable_self_service_change_password": false,
    });
    let body = json!({ "name": "db", "strategy": "auth0", "options": options });
    let (status, made) = send(&world, "POST", "connections", body).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    for name in ["mfa", "authentication_methods", "passkey_options", "password_history"] {
        assert_eq!(made["options"][name], options[name], "{name}");
    }
}

#[tokio::test]
async fn a_connection_with_a_history_refuses_the_last_passwords() {
    let world = World::new().await;
    set_options(&world, json!({ "password_history": { "enable": true, "size": 3 } })).await;
    let body = json!({ "connection": CONNECTION, "email": "h@example.com", "password": "Passw0rd-one" });
    let (_, user) = send(&world, "POST", "users", body).await;
    let path = format!("users/{}", user["user_id"].as_str().unwrap().replace('|', "%7C"));
    let change = async |password: &str| {
        world.clock.advance(std::time::Duration::from_secs(1));
        send(&world, "PATCH", &path, json!({ "password": password, "connection": CONNECTION })).await
    };
    for (password, taken) in [
        ("Passw0rd-one", false),
        ("Passw0rd-two", true),
        ("Passw0rd-one", false),
        ("Passw0rd-three", true),
        ("Passw0rd-one", false),
        ("Passw0rd-three", false),
        ("Passw0rd-four", true),
        // It is not among the last three any more.
        ("Passw0rd-one", true),
        ("Passw0rd-three", false),
    ] {
        let (status, told) = change(password).await;
        assert_eq!(status == StatusCode::OK, taken, "{password}: {told}");
        assert!(taken || told["message"].as_str().unwrap().starts_with("PasswordHistoryError"), "{told}");
    }
    // A link in a mail leads past no rule either.
    let ticket = json!({ "user_id": user["user_id"] });
    let (status, ticket) = send(&world, "POST", "tickets/password-change", ticket).await;
    assert_eq!(status, StatusCode::CREATED, "{ticket}");
    let url = ticket["ticket"].as_str().unwrap();
    let place = url.find("/u/").unwrap();
    let mut agent = world.agent();
    let page = agent.get(url[place..].trim_end_matches('#')).await;
    let again = [("password", "Passw0rd-four"), ("password_again", "Passw0rd-four")];
    let refused = agent.submit(&page, &again).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{}", refused.body);
    assert!(refused.body.contains("used this password before"), "{}", refused.body);
    // Switched off, nothing is remembered from the next change on.
    set_options(&world, json!({})).await;
    assert_eq!(change("Passw0rd-four").await.0, StatusCode::OK);
    set_options(&world, json!({ "password_history": { "enable": true, "size": 24 } })).await;
    assert_eq!(change("Passw0rd-one").await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_client_without_single_sign_on_asks_for_a_login_each_time() {
    let world = World::new().await;
    let mut agent = world.agent();
    agent.code(&[]).await;
    assert!(agent.get(&world.authorize(&[])).await.param("code").is_some());
    world.set_client(json!({ "sso_disabled": true })).await;
    let silent = agent.get(&world.authorize(&[("prompt", "none")])).await;
    assert_eq!(silent.param("error").as_deref(), Some("login_required"), "{silent:?}");
    for _ in 0..2 {
        let page = agent.open(&world.authorize(&[])).await;
        assert!(page.has_id("login-title"), "{page:?}");
        assert!(agent.log_in(&page).await.param("code").is_some());
    }
}

#[tokio::test]
async fn what_a_client_cannot_do_is_refused_by_name_and_defaults_are_taken() {
    let world = World::new().await;
    for (name, value) in [
        ("cross_origin_authentication", json!(true)),
        ("cross_origin_auth", json!(true)),
        ("is_token_endpoint_ip_header_trusted", json!(true)),
        ("allowed_clients", json!(["x"])),
    ] {
        let mut body = json!({ "name": "x" });
        body[name] = value;
        let (status, told) = send(&world, "POST", "clients", body.clone()).await;
        assert_eq!((status, &told["errorCode"]), (StatusCode::FORBIDDEN, &json!("operation_not_supported")));
        assert!(told["message"].as_str().unwrap().contains(name.trim_end_matches("entication")), "{told}");
        body.as_object_mut().unwrap().remove("name");
        let path = format!("clients/{}", world.seeded.client_id);
        assert_eq!(send(&world, "PATCH", &path, body).await.0, StatusCode::FORBIDDEN, "{name}");
    }
    let defaults = json!({
        "name": "x", "cross_origin_auth": false, "is_token_endpoint_ip_header_trusted": false,
        "allowed_clients": [], "sso_disabled": false, "custom_login_page_on": true, "oidc_conformant": true,
    });
    let (status, made) = send(&world, "POST", "clients", defaults).await;
    assert_eq!(
        (status, &made["cross_origin_authentication"]),
        (StatusCode::CREATED, &json!(false)),
        "{made}"
    );
}

#[tokio::test]
async fn a_connection_that_is_not_the_clients_is_not_found_and_no_page_is_shown() {
    let world = World::new().await;
    let (status, made) =
        send(&world, "POST", "connections", json!({ "name": "staff", "strategy": "auth0" })).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let long = "x".repeat(3000);
    // There is a connection `staff`, but not for this client: nobody is told the difference.
    for name in ["nobody", "staff", made["id"].as_str().unwrap(), "*", "a b", &long] {
        let told = world.agent().get(&world.authorize(&[("connection", name)])).await;
        assert_eq!(told.param("error").as_deref(), Some("invalid_request"), "{name}: {told:?}");
        assert_eq!(told.param("error_description").as_deref(), Some("the connection was not found"));
        assert_eq!(told.param("state").as_deref(), Some("xyz"));
        let pushed = world.push(&[("connection", name)]).await;
        assert_eq!(pushed.status, StatusCode::BAD_REQUEST, "{name}: {}", pushed.body);
        assert_eq!(pushed.json()["error_description"], "the connection was not found");
    }
    let silent = [("connection", "nobody"), ("prompt", "none")];
    let told = world.agent().get(&world.authorize(&silent)).await;
    assert_eq!(told.param("error").as_deref(), Some("invalid_request"), "before the session is looked at");
}

#[tokio::test]
async fn a_connection_is_asked_for_by_its_name_or_realm_and_a_session_of_it_will_do() {
    let world = World::new().await;
    let connection = world.idp.repository().connection("dev", CONNECTION).await.unwrap().unwrap();
    let path = format!("connections/{}", connection.id);
    let realms = json!({ "realms": [CONNECTION, "people"] });
    assert_eq!(send(&world, "PATCH", &path, realms).await.0, StatusCode::OK);
    let mut agent = world.agent();
    for name in [CONNECTION, "people"] {
        agent.code(&[("connection", name)]).await;
        let silent = [("connection", name), ("prompt", "none")];
        let again = agent.get(&world.authorize(&silent)).await;
        assert!(again.param("code").is_some(), "{name}: {again:?}");
    }
    // A session of one connection is none of another.
    let (_, other) =
        send(&world, "POST", "connections", json!({ "name": "staff", "strategy": "auth0" })).await;
    let path = format!("connections/{}/clients", other["id"].as_str().unwrap());
    let enable = json!([{ "client_id": world.seeded.client_id, "status": true }]);
    assert_eq!(send(&world, "PATCH", &path, enable).await.0, StatusCode::NO_CONTENT);
    let elsewhere = agent.get(&world.authorize(&[("connection", "staff"), ("prompt", "none")])).await;
    assert_eq!(elsewhere.param("error").as_deref(), Some("login_required"), "{elsewhere:?}");
}

#[tokio::test]
async fn a_client_without_connections_is_told_so_and_no_page_is_shown() {
    let world = World::new().await;
    let connection = world.idp.repository().connection("dev", CONNECTION).await.unwrap().unwrap();
    let path = format!("connections/{}/clients", connection.id);
    let disable = json!([{ "client_id": world.seeded.client_id, "status": false }]);
    assert_eq!(send(&world, "PATCH", &path, disable).await.0, StatusCode::NO_CONTENT);
    let told = world.agent().get(&world.authorize(&[])).await;
    assert_eq!(told.param("error").as_deref(), Some("invalid_request"), "{told:?}");
    let description = told.param("error_description");
    assert_eq!(description.as_deref(), Some("no connections enabled for the client"));
    let silent = world.agent().get(&world.authorize(&[("prompt", "none")])).await;
    assert_eq!(silent.param("error").as_deref(), Some("login_required"), "{silent:?}");
}

#[tokio::test]
async fn pages_that_a_request_hints_at_give_way_to_the_login_page_where_there_are_none() {
    let world = World::new().await;
    let mut agent = world.agent();
    let hinted = [("screen_hint", "reset-password")];
    let page = agent.open(&world.authorize(&hinted)).await;
    assert!(page.has_id("submit-reset-request"), "{}", page.body);
    let sent = agent.submit(&page, &[("email", world.seeded.user.as_str())]).await;
    assert!(sent.has_id("reset-sent") && world.mails().len() == 1, "{}", sent.body);
    let login = agent.get(sent.between("id=\"login-link\" href=\"", "\"").unwrap()).await;
    assert!(agent.log_in(&login).await.param("code").is_some());

    set_options(&world, json!({ "disable_signup": true })).await;
    for hint in [("screen_hint", "signup"), ("prompt", "create")] {
        let mut agent = world.agent();
        let page = agent.open(&world.authorize(&[hint])).await;
        assert!(page.has_id("username") && !page.has_id("signup-link"), "{hint:?}: {}", page.body);
        assert!(agent.log_in(&page).await.param("code").is_some());
    }
}
