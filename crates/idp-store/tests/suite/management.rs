//! The Management API's services and the seed.

use base::Secret;
use idp::{
    LoginOutcome,
    management::{ManagementError, Object},
    repository::{ClientGrantFilter, Page, UserFilter, Users},
    seed,
};
use serde_json::{Value, json};

use crate::{
    Person, World, on_every_database, params,
    world::{AUDIENCE, TENANT, basic, login_page, seed as dev_seed},
};

on_every_database! {
    seeding_again_changes_nothing,
    a_new_client_has_auth0s_defaults,
    o02_urls_that_are_dangerous_cannot_be_registered,
    a_new_api_comes_with_a_test_application,
    client_grants_follow_their_api,
    o40_users_cannot_be_given_what_is_not_theirs_to_give,
    a_new_password_ends_sessions_and_replaces_the_old,
    connections_of_other_strategies_are_refused,
    o42_the_caller_needs_a_management_token_and_its_scope,
    tenant_settings_merge,
    o52_an_imported_hash_opens_for_its_password_and_is_replaced_at_the_first_login,
}

fn object(value: Value) -> Object {
    value.as_object().unwrap().clone()
}

async fn seeding_again_changes_nothing(world: World) {
    let again = seed::dev(&world.idp, &dev_seed()).await.unwrap();
    assert_eq!(again.client_id, world.demo.client_id);
    assert_eq!(again.client_secret, world.demo.client_secret);
    assert_eq!(again.password, world.demo.password);
    assert_eq!(again.management_client_secret, world.demo.management_client_secret);
    assert_eq!((again.client_id.len(), again.client_secret.expose().len()), (32, 64));
    let management = &world.idp.management;
    let clients = management.clients.list(&world.site, Page::ALL).await.unwrap();
    assert_eq!(clients.total, 3, "all applications, the demo and the management application");
    assert_eq!(management.resource_servers.list(&world.site, Page::ALL).await.unwrap().total, 2);
    assert_eq!(management.users.list(&world.site, UserFilter::default(), Page::ALL).await.unwrap().total, 1);
    let moved = seed::DevSeed { callbacks: vec!["http://localhost:9180/callback".to_owned()], ..dev_seed() };
    seed::dev(&world.idp, &moved).await.unwrap();
    assert_eq!(world.demo_client().await.callbacks.len(), 3);
    let api = management.resource_servers.read(&world.site, AUDIENCE).await.unwrap();
    assert_eq!(api.introspection_clients, std::slice::from_ref(&world.demo.client_id));
}

async fn a_new_client_has_auth0s_defaults(world: World) {
    let clients = &world.idp.management.clients;
    let made = clients.create(&world.site, object(json!({"name": "My App"}))).await.unwrap();
    let wire = Value::Object(made.to_wire("dev", true));
    assert_eq!(wire["client_id"].as_str().unwrap().len(), 32);
    assert_eq!(wire["client_secret"].as_str().unwrap().len(), 64);
    assert_eq!(
        wire["grant_types"],
        json!(["authorization_code", "implicit", "refresh_token", "client_credentials"])
    );
    assert_eq!(wire["jwt_configuration"]["lifetime_in_seconds"], 36_000);
    assert_eq!(wire["refresh_token"]["rotation_type"], "non-rotating");
    assert_eq!((&wire["is_first_party"], &wire["tenant"]), (&json!(true), &json!("dev")));
    assert!(wire.get("token_endpoint_auth_method").is_none());
    assert!(made.to_wire("dev", false).get("client_secret").is_none());
    let spa = clients.create(&world.site, object(json!({"name": "Spa", "app_type": "spa"}))).await.unwrap();
    assert!(spa.is_public());
    assert_eq!(serde_json::to_value(&spa.refresh_token).unwrap()["rotation_type"], "rotating");
    let id = &made.client_id;
    let rotated = clients.rotate_secret(&world.site, id).await.unwrap();
    assert_ne!(rotated.client_secret, made.client_secret);
    let body = object(json!({"name": "Renamed", "refresh_token": {"leeway": 5}}));
    let updated = clients.update(&world.site, id, body).await.unwrap();
    assert_eq!((updated.name.as_str(), updated.refresh_token.leeway), ("Renamed", 5));
    assert_eq!(world.client(id).await, updated);
    clients.delete(&world.site, id).await.unwrap();
    assert_eq!(clients.read(&world.site, id).await.unwrap_err().status(), 404);
    let global =
        clients.list(&world.site, Page::ALL).await.unwrap().items.into_iter().find(|client| client.global);
    assert_eq!(clients.delete(&world.site, &global.unwrap().client_id).await.unwrap_err().status(), 403);
}

async fn o02_urls_that_are_dangerous_cannot_be_registered(world: World) {
    for (member, bad) in [
        ("callbacks", json!(["javascript:alert(1)"])),
        ("callbacks", json!(["https://a.example/#x"])),
        ("callbacks", json!(["https://*.example/"])),
        ("allowed_logout_urls", json!(["data:text/html,x"])),
        ("web_origins", json!(["https://a.example/path"])),
        ("initiate_login_uri", json!("http://a.example/")),
        ("logo_uri", json!("javascript:alert(1)")),
        ("grant_types", json!(["magic"])),
        ("unknown_member", json!(1)),
        ("jwt_configuration", json!({"alg": "none"})),
    ] {
        let mut body = object(json!({"name": "x"}));
        body.insert(member.to_owned(), bad.clone());
        let error = world.idp.management.clients.create(&world.site, body).await.unwrap_err();
        assert_eq!(error.status(), 400, "{member} {bad}");
        assert_eq!(error.to_wire()["errorCode"], "invalid_body");
    }
}

async fn a_new_api_comes_with_a_test_application(world: World) {
    let management = &world.idp.management;
    let body = object(json!({
        "name": "Things", "identifier": "urn:things", "scopes": [{"value": "read:it", "description": "Read it"}],
    }));
    let api = management.resource_servers.create(&world.site, body.clone()).await.unwrap();
    assert_eq!((api.id.len(), api.signing_alg.as_str(), api.token_lifetime), (24, "RS256", 86_400));
    let clients = management.clients.list(&world.site, Page::ALL).await.unwrap().items;
    let test = clients.into_iter().find(|client| client.name == "Things (Test Application)").unwrap();
    let header = basic(&test.client_id, test.client_secret.as_ref().unwrap());
    let form = params(&[("grant_type", "client_credentials"), ("audience", "urn:things")]);
    let issued = world.idp.token.answer(&world.site, Some(header.as_str()), &form).await.unwrap();
    assert_eq!(issued.scope.to_string(), "read:it");
    let again = management.resource_servers.create(&world.site, body).await.unwrap_err();
    assert_eq!(again.status(), 409);
    let renamed =
        management.resource_servers.update(&world.site, "urn:things", object(json!({"name": "T"}))).await;
    assert_eq!(renamed.unwrap().name, "T");
    let moved = object(json!({"identifier": "urn:other"}));
    assert_eq!(
        management.resource_servers.update(&world.site, &api.id, moved).await.unwrap_err().status(),
        400
    );
    management.resource_servers.delete(&world.site, &api.id).await.unwrap();
    assert!(world.idp.token.answer(&world.site, Some(header.as_str()), &form).await.is_err());
    let system = management.resource_servers.delete(&world.site, &world.site.management_audience()).await;
    assert_eq!(system.unwrap_err().status(), 403);
}

async fn client_grants_follow_their_api(world: World) {
    let grants = &world.idp.management.client_grants;
    let body = |scope: Value| {
        object(json!({"client_id": world.demo.management_client_id, "audience": AUDIENCE, "scope": scope}))
    };
    assert_eq!(grants.create(&world.site, body(json!(["nothing"]))).await.unwrap_err().status(), 400);
    let made = grants.create(&world.site, body(json!(["read:things"]))).await.unwrap();
    assert!(made.id.starts_with("cgr_"));
    assert_eq!(grants.create(&world.site, body(json!([]))).await.unwrap_err().status(), 409);
    let updated = grants.update(&world.site, &made.id, object(json!({"scope": []}))).await.unwrap();
    assert!(updated.scope.is_empty());
    let moved = object(json!({"audience": "urn:x"}));
    assert_eq!(grants.update(&world.site, &made.id, moved).await.unwrap_err().status(), 400);
    let filter = ClientGrantFilter { audience: Some(AUDIENCE), ..ClientGrantFilter::default() };
    assert_eq!(grants.list(&world.site, filter, Page::ALL).await.unwrap().total, 2);
    grants.delete(&world.site, &made.id).await.unwrap();
    assert_eq!(grants.read(&world.site, &made.id).await.unwrap_err().status(), 404);
}

async fn o40_users_cannot_be_given_what_is_not_theirs_to_give(world: World) {
    let users = &world.idp.management.users;
    let body = object(json!({
        "connection": "Username-Password-Authentication", "email": "Ann@example.org", "password": "Good-Passw0rd",
        "user_metadata": {"a": 1}, "app_metadata": {"role": "x"}, "user_id": "ann",
    }));
    let made = users.create(&world.site, body.clone()).await.unwrap();
    assert_eq!(made.user_id, "auth0|ann");
    let wire = Value::Object(made.to_wire());
    assert_eq!(wire["identities"][0]["user_id"], "ann");
    assert_eq!((&wire["name"], &wire["nickname"]), (&json!("ann@example.org"), &json!("ann")));
    assert_eq!(users.create(&world.site, body).await.unwrap_err().status(), 409);
    for member in
        ["user_id", "created_at", "logins_count", "last_ip", "identities", "tenant", "id", "verify_email"]
    {
        let mut body = Object::new();
        body.insert(member.to_owned(), json!(1));
        let error = users.update(&world.site, &made.user_id, body).await.unwrap_err();
        assert!(matches!(error.status(), 400 | 403), "{member}");
    }
    let body = object(json!({"user_metadata": {"a": null, "b": 2}, "email_verified": true}));
    let updated = users.update(&world.site, &made.user_id, body).await.unwrap();
    assert_eq!(Value::Object(updated.user_metadata.clone()), json!({"b": 2}));
    assert!(updated.email_verified);
    let moved =
        users.update(&world.site, &made.user_id, object(json!({"email": "new@example.org"}))).await.unwrap();
    assert!(!moved.email_verified, "another address has to be proven again");
    let taken = object(json!({"email": world.demo.user}));
    assert_eq!(users.update(&world.site, &made.user_id, taken).await.unwrap_err().status(), 409);
    users.delete(&world.site, &made.user_id).await.unwrap();
    assert_eq!(users.read(&world.site, &made.user_id).await.unwrap_err().status(), 404);
    let weak = object(json!({
        "connection": "Username-Password-Authentication", "email": "b@example.org", "password": "password1",
    }));
    let error = users.create(&world.site, weak).await.unwrap_err();
    assert!(error.to_string().contains("too weak"));
}

async fn a_new_password_ends_sessions_and_replaces_the_old(world: World) {
    let (mut person, issued) = world.tokens("openid offline_access", None).await;
    let users = &world.idp.management.users;
    let found = users.list(&world.site, UserFilter::default(), Page::ALL).await.unwrap();
    let body =
        object(json!({"password": "Another-Passw0rd", "connection": "Username-Password-Authentication"}));
    users.update(&world.site, &found.items[0].user_id, body).await.unwrap();
    let page = crate::world::login_page(person.authorize(&world, &[]).await);
    assert!(world.refresh(issued.refresh_token.unwrap().expose()).await.is_err());
    assert!(world.idp.userinfo.claims(&world.site, issued.access_token.expose()).await.is_err());
    let (user, old) = (world.demo.user.clone(), world.demo.password.clone());
    let new = base::Secret::new("Another-Passw0rd".to_owned());
    assert!(matches!(person.attempt(&world, &page, &user, &old).await, idp::LoginOutcome::Wrong));
    assert!(matches!(person.attempt(&world, &page, &user, &new).await, idp::LoginOutcome::Done(_)));
}

async fn connections_of_other_strategies_are_refused(world: World) {
    let connections = &world.idp.management.connections;
    let google = object(json!({"name": "google", "strategy": "google-oauth2"}));
    assert_eq!(connections.create(&world.site, google).await.unwrap_err().status(), 403);
    let scripts =
        object(json!({"name": "db", "strategy": "auth0", "options": {"customScripts": {"login": "x"}}}));
    assert_eq!(connections.create(&world.site, scripts).await.unwrap_err().status(), 403);
    assert_eq!(
        connections.create(&world.site, object(json!({"name": "db"}))).await.unwrap_err().status(),
        400
    );
    let body = object(json!({"name": "db", "strategy": "auth0", "options": {"passwordPolicy": "low"}}));
    let made = connections.create(&world.site, body.clone()).await.unwrap();
    assert_eq!(made.realms, ["db"]);
    assert_eq!(connections.create(&world.site, body).await.unwrap_err().status(), 409);
    let renamed = object(json!({"name": "other"}));
    assert_eq!(connections.update(&world.site, &made.id, renamed).await.unwrap_err().status(), 400);
    let client =
        world.idp.management.clients.create(&world.site, object(json!({"name": "App"}))).await.unwrap();
    let body = object(json!({"enabled_clients": [client.client_id], "display_name": "DB"}));
    let changed = connections.update(&world.site, &made.id, body).await.unwrap();
    assert_eq!(changed.enabled_clients, [client.client_id]);
    connections.delete(&world.site, &made.id).await.unwrap();
    assert_eq!(connections.read(&world.site, &made.id).await.unwrap_err().status(), 404);
}

async fn o42_the_caller_needs_a_management_token_and_its_scope(world: World) {
    let management = &world.idp.management;
    let ask = async |header: Option<&str>| management.caller(&world.site, header).await;
    assert_eq!(ask(None).await.unwrap_err().status(), 401);
    assert_eq!(ask(Some("Basic x")).await.unwrap_err().status(), 401);
    let other = world.token(&[("grant_type", "client_credentials"), ("audience", AUDIENCE)]).await.unwrap();
    let foreign = format!("Bearer {}", other.access_token.expose());
    assert_eq!(ask(Some(&foreign)).await.unwrap_err().status(), 401);
    let header = basic(&world.demo.management_client_id, &world.demo.management_client_secret);
    let audience = world.site.management_audience();
    let form =
        params(&[("grant_type", "client_credentials"), ("audience", &audience), ("scope", "read:users")]);
    let issued = world.idp.token.answer(&world.site, Some(header.as_str()), &form).await.unwrap();
    let bearer = format!("bearer {}", issued.access_token.expose());
    let caller = ask(Some(&bearer)).await.unwrap();
    assert!(caller.require_any(&["read:clients", "read:users"]).is_ok());
    let refused = caller.require_any(&["update:users", "create:users"]).unwrap_err();
    assert_eq!(
        Value::Object(refused.to_wire()),
        json!({
            "statusCode": 403, "error": "Forbidden",
            "message": "Insufficient scope, expected any of: update:users,create:users",
            "errorCode": "insufficient_scope",
        })
    );
    world.advance(86_400);
    assert!(matches!(ask(Some(&bearer)).await, Err(ManagementError::Unauthorized(_))));
}

async fn tenant_settings_merge(mut world: World) {
    let tenants = &world.idp.management.tenants;
    let body = object(json!({"flags": {"auth0_claims": true}, "session_lifetime": 24}));
    tenants.update(&world.site, body).await.unwrap();
    world.reload().await;
    assert!(world.site.tenant.settings.flags.auth0_claims);
    assert_eq!(world.site.tenant.settings.idle_session_lifetime, 72.0);
    let unknown = object(json!({"flags": {"magic": true}}));
    assert_eq!(world.idp.management.tenants.update(&world.site, unknown).await.unwrap_err().status(), 400);
    let (_, issued) = world.tokens("openid profile", None).await;
    let id = crate::world::claims(issued.id_token.unwrap().expose());
    assert!(id["updated_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(world.site.tenant.id, TENANT);
}

async fn o52_an_imported_hash_opens_for_its_password_and_is_replaced_at_the_first_login(world: World) {
    const PASSWORD: &str = "Imported passw0rd";
    let jobs = &world.idp.management.jobs;
    let connection = world.idp.management.connections.list(&world.site, Page::ALL).await.unwrap();
    let connection = connection.items[0].clone();
    // Made with Python's hashlib.
    let file = json!([
        { "email": "md5@example.com", "custom_password_hash": {
            "algorithm": "md5", "salt": { "value": "salt" },
            "hash": { "value": "04ec23eeff0fe32de8664172a0c9bdf5", "encoding": "hex" },
        } },
        { "email": "scrypt@example.com", "custom_password_hash": {
            "algorithm": "scrypt", "salt": { "value": "salt" }, "keylen": 32, "cost": 1024,
            "hash": { "value": "gs0kybfxsIyHXl4fDdKxUb+w/ZDUzCPijL4j8XRCHi8=", "encoding": "base64" },
        } },
        { "email": "ldap@example.com", "custom_password_hash": {
            "algorithm": "ldap", "hash": { "value": "{SSHA}NcgbwYeq2POV7VoH5ajmIjVUWkFzYWx0" },
        } },
        { "email": "md4@example.com", "custom_password_hash": {
            "algorithm": "md4", "hash": { "value": "00", "encoding": "hex" },
        } },
    ]);
    let (_, order) = jobs
        .begin_import(&world.site, &connection.id, file.to_string().as_bytes(), false, None)
        .await
        .unwrap();
    jobs.import(&world.site, order).await.unwrap();
    let kept = async |name: &str| {
        let found = world.repository.user_by_identifier(TENANT, &connection.name, name).await.unwrap();
        found.and_then(|(_, hash)| hash)
    };
    assert!(kept("md4@example.com").await.is_none());
    for name in ["md5@example.com", "scrypt@example.com", "ldap@example.com"] {
        let mut person = Person::new();
        let page = login_page(person.authorize(&world, &[]).await);
        let before = kept(name).await.unwrap();
        let attempt = async |password: &str| {
            person.attempt(&world, &page, name, &Secret::new(password.to_owned())).await
        };
        assert!(matches!(attempt("Imported passw0re").await, LoginOutcome::Wrong), "{name}");
        assert_eq!(kept(name).await.unwrap(), before);
        assert!(matches!(attempt(PASSWORD).await, LoginOutcome::Done(_)), "{name}");
        let after = kept(name).await.unwrap();
        assert!(after.starts_with("$argon2id$"), "{name}: {after}");
        let mut again = Person::new();
        let page = login_page(again.authorize(&world, &[]).await);
        let right = Secret::new(PASSWORD.to_owned());
        assert!(matches!(again.attempt(&world, &page, name, &right).await, LoginOutcome::Done(_)));
    }
}
