//! The token endpoint, and what its tokens are good for.

use base::Random;
use idp::{
    model::{RotationType, TokenDialect},
    repository::ResourceServers,
};
use jose::{Alg, SigningKey, half_hash};
use oauth::{ClientAuthMethod, Verifier};
use serde_json::{Value, json};

use crate::{
    Person, World, on_every_database, params,
    world::{AUDIENCE, CALLBACK, TENANT, basic, claims, other_client, refusal},
};

on_every_database! {
    a_code_gives_tokens_with_auth0s_claims,
    without_an_audience_the_access_token_is_opaque_and_good_for_userinfo,
    an_rfc9068_token_says_so,
    o03_the_redirect_uri_must_be_repeated,
    o04_a_reused_code_ends_what_was_made_from_it,
    o05_a_code_is_good_for_a_minute,
    o06_the_verifier_must_fit_and_may_not_appear_from_nowhere,
    o07_a_refresh_token_is_its_clients_alone,
    o08_a_client_proves_itself_one_way_and_by_its_own_method,
    o09_assertions_are_for_us_recent_and_used_once,
    o11_a_rotated_refresh_token_that_comes_back_ends_the_family,
    o11_within_the_leeway_the_last_token_is_accepted_once_more,
    o11_refresh_tokens_expire_as_the_client_says,
    o12_a_refresh_asks_for_no_more_than_was_granted,
    client_credentials_give_what_was_granted,
}

async fn a_code_gives_tokens_with_auth0s_claims(world: World) {
    let (_, issued) = world.tokens("openid profile email offline_access read:things", Some(AUDIENCE)).await;
    let access = claims(issued.access_token.expose());
    assert_eq!(access["iss"], "http://localhost:9400/");
    assert_eq!(access["aud"], json!([AUDIENCE, "http://localhost:9400/userinfo"]));
    assert_eq!(access["azp"], json!(world.demo.client_id));
    assert_eq!(access["scope"], "openid profile email offline_access read:things");
    assert_eq!(access["exp"].as_i64().unwrap() - access["iat"].as_i64().unwrap(), 86_400);
    assert!(access["sub"].as_str().unwrap().starts_with("auth0|"));
    assert!(access.get("gty").is_none());
    let id = claims(issued.id_token.as_ref().unwrap().expose());
    assert_eq!(id["iss"], "http://localhost:9400/");
    assert_eq!(id["aud"], json!(world.demo.client_id));
    assert_eq!(id["nonce"], "the nonce");
    assert_eq!(id["email"], "demo@example.com");
    assert_eq!(id["name"], "Demo User");
    assert!(id["updated_at"].is_number());
    assert_eq!(id["at_hash"], json!(half_hash(Alg::RS256, issued.access_token.expose())));
    assert!(id.get("auth_time").is_none() && id.get("jti").is_none());
    assert_eq!(id["exp"].as_i64().unwrap() - id["iat"].as_i64().unwrap(), 36_000);
    assert!(issued.refresh_token.as_ref().unwrap().expose().starts_with("v1."));
    let wire = issued.to_wire();
    assert_eq!((wire["token_type"].as_str(), wire["expires_in"].as_i64()), (Some("Bearer"), Some(86_400)));
    let refreshed = world.refresh(issued.refresh_token.unwrap().expose()).await.unwrap();
    let again = claims(refreshed.id_token.unwrap().expose());
    assert_eq!((&again["sub"], &again["sid"]), (&id["sub"], &id["sid"]));
    assert!(again.get("nonce").is_none());
}

async fn without_an_audience_the_access_token_is_opaque_and_good_for_userinfo(world: World) {
    let (_, issued) = world.tokens("openid email", None).await;
    assert!(!issued.access_token.expose().contains('.'));
    assert!(issued.refresh_token.is_none(), "nobody asked");
    let about = world.idp.userinfo.claims(&world.site, issued.access_token.expose()).await.unwrap();
    assert_eq!(about["email"], "demo@example.com");
    assert!(about.get("name").is_none());
    world.advance(86_400);
    assert_eq!(
        refusal(world.idp.userinfo.claims(&world.site, issued.access_token.expose()).await),
        "invalid_token"
    );
}

async fn an_rfc9068_token_says_so(world: World) {
    let mut api = world.repository.resource_server(TENANT, AUDIENCE).await.unwrap().unwrap();
    api.token_dialect = TokenDialect::Rfc9068ProfileAuthz;
    world.repository.update_resource_server(TENANT, &api).await.unwrap();
    let issued = world.token(&[("grant_type", "client_credentials"), ("audience", AUDIENCE)]).await.unwrap();
    let jws = jose::CompactJws::parse(issued.access_token.expose()).unwrap();
    assert!(jws.header().has_typ("at+jwt"));
    let access = claims(issued.access_token.expose());
    assert_eq!(access["client_id"], json!(world.demo.client_id));
    assert_eq!(access["permissions"], json!(["read:things", "write:things"]));
    assert!(access.get("azp").is_none() && access.get("gty").is_none());
}

async fn o03_the_redirect_uri_must_be_repeated(world: World) {
    let verifier = Verifier::generate(&Random::system());
    let mut person = Person::new();
    for (uri, wanted) in
        [("", "invalid_request"), ("http://localhost:9080/anything/callback", "invalid_grant")]
    {
        let code = person.code(&world, "openid", None, &verifier).await;
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
            ("redirect_uri", uri),
            ("code_verifier", verifier.expose()),
        ];
        assert_eq!(refusal(world.token(&form).await), wanted);
    }
}

async fn o04_a_reused_code_ends_what_was_made_from_it(world: World) {
    let verifier = Verifier::generate(&Random::system());
    let code = Person::new().code(&world, "openid offline_access", Some(AUDIENCE), &verifier).await;
    let issued = world.redeem(&code, &verifier).await.unwrap();
    let access = issued.access_token.expose();
    assert!(world.idp.userinfo.claims(&world.site, access).await.is_ok());
    world.advance(30);
    assert_eq!(refusal(world.redeem(&code, &verifier).await), "invalid_grant");
    assert_eq!(refusal(world.idp.userinfo.claims(&world.site, access).await), "invalid_token");
    assert_eq!(refusal(world.refresh(issued.refresh_token.unwrap().expose()).await), "invalid_grant");
}

async fn o05_a_code_is_good_for_a_minute(world: World) {
    let verifier = Verifier::generate(&Random::system());
    let mut person = Person::new();
    let early = person.code(&world, "openid", None, &verifier).await;
    world.advance(59);
    assert!(world.redeem(&early, &verifier).await.is_ok());
    let late = person.code(&world, "openid", None, &verifier).await;
    world.advance(60);
    assert_eq!(refusal(world.redeem(&late, &verifier).await), "invalid_grant");
}

async fn o06_the_verifier_must_fit_and_may_not_appear_from_nowhere(world: World) {
    let verifier = Verifier::generate(&Random::system());
    let mut person = Person::new();
    let code = person.code(&world, "openid", None, &verifier).await;
    let other = Verifier::generate(&Random::system());
    assert_eq!(refusal(world.redeem(&code, &other).await), "invalid_grant");
    let code = person.code(&world, "openid", None, &verifier).await;
    let form = [("grant_type", "authorization_code"), ("code", code.as_str()), ("redirect_uri", CALLBACK)];
    assert_eq!(refusal(world.token(&form).await), "invalid_grant");
    let bare = crate::world::answer(&person.authorize(&world, &[]).await, "code").unwrap();
    assert_eq!(refusal(world.redeem(&bare, &verifier).await), "invalid_grant", "a downgrade");
}

async fn o07_a_refresh_token_is_its_clients_alone(world: World) {
    let (_, issued) = world.tokens("openid offline_access", None).await;
    let (id, secret) = other_client(&world).await;
    let token = issued.refresh_token.unwrap();
    let form = params(&[("grant_type", "refresh_token"), ("refresh_token", token.expose())]);
    let stolen = world.idp.token.answer(&world.site, Some(basic(&id, &secret).as_str()), &form).await;
    assert_eq!(refusal(stolen), "invalid_grant");
    assert!(world.refresh(token.expose()).await.is_ok(), "it is still the owner's");
}

async fn o08_a_client_proves_itself_one_way_and_by_its_own_method(world: World) {
    let (id, secret) = (world.demo.client_id.clone(), world.demo.client_secret.expose().clone());
    let own = [("grant_type", "client_credentials"), ("audience", AUDIENCE)];
    let ask = async |header: Option<String>, extra: &[(&str, &str)]| {
        let form = params(&[&own[..], extra].concat());
        world.idp.token.answer(&world.site, header.as_deref(), &form).await
    };
    let post = [("client_id", id.as_str()), ("client_secret", secret.as_str())];
    assert!(ask(Some(world.basic()), &[]).await.is_ok());
    assert!(ask(None, &post).await.is_ok());
    assert_eq!(refusal(ask(Some(world.basic()), &post).await), "invalid_request");
    assert_eq!(refusal(ask(Some(world.basic()), &[("client_id", "other")]).await), "invalid_request");
    assert_eq!(refusal(ask(None, &post[..1]).await), "invalid_client");
    assert_eq!(refusal(ask(None, &[]).await), "invalid_client");
    for wrong in ["", "x", &secret[..63], &format!("{secret}\0"), &secret.to_lowercase()] {
        assert_eq!(
            refusal(ask(None, &[("client_id", &id), ("client_secret", wrong)]).await),
            "invalid_client"
        );
    }
    assert_eq!(refusal(ask(Some("Basic !!!".to_owned()), &[]).await), "invalid_client");
    let unknown = basic("nobody", &world.demo.client_secret);
    assert_eq!(refusal(ask(Some(unknown), &[]).await), "invalid_client");
    let mut client = world.demo_client().await;
    client.token_endpoint_auth_method = Some(ClientAuthMethod::ClientSecretPost);
    world.save(&client).await;
    assert_eq!(refusal(ask(Some(world.basic()), &[]).await), "invalid_client");
    assert!(ask(None, &post).await.is_ok());
    client.token_endpoint_auth_method = Some(ClientAuthMethod::None);
    world.save(&client).await;
    assert_eq!(refusal(ask(None, &post).await), "invalid_client");
    assert_eq!(
        refusal(ask(None, &post[..1]).await),
        "unauthorized_client",
        "public clients have no credentials"
    );
}

async fn o09_assertions_are_for_us_recent_and_used_once(world: World) {
    let key = SigningKey::generate(Alg::ES256, "k".to_owned()).unwrap();
    let mut client = world.demo_client().await;
    client.token_endpoint_auth_method = Some(ClientAuthMethod::PrivateKeyJwt);
    client.jwks = Some(json!({ "keys": [key.public_jwk()] }));
    world.save(&client).await;
    let id = client.client_id.as_str();
    let now = world.clock.now().secs();
    let send = async |token: &str| {
        let form = params(&[
            ("grant_type", "client_credentials"),
            ("audience", AUDIENCE),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", token),
        ]);
        world.idp.token.answer(&world.site, None, &form).await
    };
    let claims = |changes: Value| {
        let mut all = json!({
            "iss": id, "sub": id, "aud": "http://localhost:9400/", "exp": now + 60, "jti": Random::system().token(8),
        });
        for (name, value) in changes.as_object().unwrap() {
            all[name] = value.clone();
        }
        all.to_string()
    };
    let signed = |changes: Value| key.sign(None, claims(changes).as_bytes()).unwrap();
    let good = signed(json!({}));
    assert!(send(&good).await.is_ok());
    assert_eq!(refusal(send(&good).await), "invalid_client", "used before");
    assert!(send(&signed(json!({"aud": "http://localhost:9400/oauth/token"}))).await.is_ok());
    for wrong in [
        json!({"iss": "other"}),
        json!({"sub": "other"}),
        json!({"aud": "https://elsewhere.example/"}),
        json!({"aud": ["http://localhost:9400/", "https://elsewhere.example/"]}),
        json!({"aud": []}),
        json!({"exp": now}),
        json!({"exp": now + 86_400}),
        json!({"exp": null}),
        json!({"nbf": now + 120}),
        json!({"jti": null}),
    ] {
        assert_eq!(refusal(send(&signed(wrong.clone())).await), "invalid_client", "{wrong}");
    }
    let other = SigningKey::generate(Alg::ES256, "k".to_owned()).unwrap();
    assert_eq!(
        refusal(send(&other.sign(None, claims(json!({})).as_bytes()).unwrap()).await),
        "invalid_client"
    );
    let secret = world.demo.client_secret.expose().as_bytes();
    let hmac = SigningKey::from_hmac_secret(Alg::HS256, "k".to_owned(), secret).unwrap();
    let symmetric = hmac.sign(None, claims(json!({})).as_bytes()).unwrap();
    assert_eq!(refusal(send(&symmetric).await), "invalid_client", "another method");
    assert_eq!(
        refusal(world.token(&[("grant_type", "client_credentials"), ("audience", AUDIENCE)]).await),
        "invalid_client"
    );
    client.token_endpoint_auth_method = Some(ClientAuthMethod::ClientSecretJwt);
    world.save(&client).await;
    assert!(send(&symmetric).await.is_ok());
    assert_eq!(refusal(send(&signed(json!({}))).await), "invalid_client");
}

async fn o11_a_rotated_refresh_token_that_comes_back_ends_the_family(world: World) {
    let (_, issued) = world.tokens("openid offline_access", None).await;
    let first = issued.refresh_token.unwrap();
    let second = world.refresh(first.expose()).await.unwrap();
    let next = second.refresh_token.unwrap();
    assert_ne!(next, first);
    assert!(world.idp.userinfo.claims(&world.site, second.access_token.expose()).await.is_ok());
    assert_eq!(refusal(world.refresh(first.expose()).await), "invalid_grant");
    assert_eq!(refusal(world.refresh(next.expose()).await), "invalid_grant", "the copy's owner is unknown");
    let dead = world.idp.userinfo.claims(&world.site, second.access_token.expose()).await;
    assert_eq!(refusal(dead), "invalid_token");
}

async fn o11_within_the_leeway_the_last_token_is_accepted_once_more(world: World) {
    let mut client = world.demo_client().await;
    client.refresh_token.leeway = 10;
    world.save(&client).await;
    let (_, issued) = world.tokens("openid offline_access", None).await;
    let first = issued.refresh_token.unwrap();
    let answers = futures_of(&world, first.expose(), 5).await;
    assert_eq!(answers.iter().filter(|ok| **ok).count(), 5, "all of them come within the leeway");
    world.advance(5);
    let second = world.refresh(first.expose()).await.unwrap().refresh_token.unwrap();
    world.refresh(second.expose()).await.unwrap();
    assert_eq!(refusal(world.refresh(first.expose()).await), "invalid_grant", "its successor is in use");

    let (_, issued) = world.tokens("openid offline_access", None).await;
    let first = issued.refresh_token.unwrap();
    world.refresh(first.expose()).await.unwrap();
    world.advance(11);
    assert_eq!(refusal(world.refresh(first.expose()).await), "invalid_grant");
}

/// Whether each of several parallel refreshes with one token succeeded.
async fn futures_of(world: &World, token: &str, count: usize) -> Vec<bool> {
    let (idp, site, basic) = (&world.idp, &world.site, world.basic());
    let tries: Vec<_> = (0..count)
        .map(|_| {
            let (idp, site, basic, token) = (idp.clone(), site.clone(), basic.clone(), token.to_owned());
            tokio::spawn(async move {
                let form = params(&[("grant_type", "refresh_token"), ("refresh_token", &token)]);
                idp.token.answer(&site, Some(basic.as_str()), &form).await.is_ok()
            })
        })
        .collect();
    let mut answers = Vec::new();
    for outcome in tries {
        answers.push(outcome.await.unwrap());
    }
    answers
}

async fn o11_refresh_tokens_expire_as_the_client_says(world: World) {
    let mut client = world.demo_client().await;
    let policy = &mut client.refresh_token;
    policy.rotation_type = RotationType::NonRotating;
    policy.expiration_type = idp::model::ExpirationType::Expiring;
    (policy.token_lifetime, policy.idle_token_lifetime) = (1000, 400);
    (policy.infinite_token_lifetime, policy.infinite_idle_token_lifetime) = (false, false);
    world.save(&client).await;
    let (_, issued) = world.tokens("openid offline_access", None).await;
    let token = issued.refresh_token.unwrap();
    for _ in 0..2 {
        world.advance(399);
        let refreshed = world.refresh(token.expose()).await.unwrap();
        assert!(refreshed.refresh_token.is_none(), "it stays the same");
    }
    world.advance(399);
    assert_eq!(refusal(world.refresh(token.expose()).await), "invalid_grant", "its life is over");
    let (_, issued) = world.tokens("openid offline_access", None).await;
    world.advance(400);
    assert_eq!(refusal(world.refresh(issued.refresh_token.unwrap().expose()).await), "invalid_grant", "idle");
}

async fn o12_a_refresh_asks_for_no_more_than_was_granted(world: World) {
    let (_, issued) = world.tokens("openid offline_access read:things", Some(AUDIENCE)).await;
    let token = issued.refresh_token.unwrap();
    let ask = async |token: &str, scope: &str| {
        world.token(&[("grant_type", "refresh_token"), ("refresh_token", token), ("scope", scope)]).await
    };
    assert_eq!(refusal(ask(token.expose(), "openid write:things").await), "invalid_scope");
    let less = ask(token.expose(), "read:things").await.unwrap();
    assert_eq!(less.scope.to_string(), "read:things");
    assert!(less.id_token.is_none());
    let all = world.refresh(less.refresh_token.unwrap().expose()).await.unwrap();
    assert_eq!(all.scope.to_string(), "openid offline_access read:things");
}

async fn client_credentials_give_what_was_granted(mut world: World) {
    let grant = ("grant_type", "client_credentials");
    let all = world.token(&[grant, ("audience", AUDIENCE)]).await.unwrap();
    assert_eq!(all.scope.to_string(), "read:things write:things");
    let access = claims(all.access_token.expose());
    assert_eq!(access["sub"], json!(format!("{}@clients", world.demo.client_id)));
    assert_eq!((&access["aud"], &access["gty"]), (&json!(AUDIENCE), &json!("client-credentials")));
    assert!(all.refresh_token.is_none() && all.id_token.is_none());
    let some = [grant, ("audience", AUDIENCE), ("scope", "openid read:things admin")];
    assert_eq!(world.token(&some).await.unwrap().scope.to_string(), "read:things");
    let only_openid = [grant, ("audience", AUDIENCE), ("scope", "openid")];
    assert_eq!(world.token(&only_openid).await.unwrap().scope.len(), 2);
    assert_eq!(
        refusal(world.token(&[grant, ("audience", AUDIENCE), ("scope", "admin")]).await),
        "invalid_scope"
    );
    assert_eq!(refusal(world.token(&[grant]).await), "access_denied");
    assert_eq!(refusal(world.token(&[grant, ("audience", "urn:nobody")]).await), "access_denied");
    let management = world.site.management_audience();
    assert_eq!(refusal(world.token(&[grant, ("audience", &management)]).await), "access_denied");
    assert_eq!(refusal(world.token(&[("grant_type", "magic")]).await), "unsupported_grant_type");
    assert_eq!(refusal(world.token(&[("audience", AUDIENCE)]).await), "invalid_request");
    let body = json!({ "default_audience": AUDIENCE });
    world.idp.management.tenants.update(&world.site, body.as_object().unwrap().clone()).await.unwrap();
    world.reload().await;
    assert!(world.token(&[grant]).await.is_ok());
    let mut client = world.demo_client().await;
    client.grant_types = vec!["authorization_code".to_owned()];
    world.save(&client).await;
    assert_eq!(refusal(world.token(&[grant, ("audience", AUDIENCE)]).await), "unauthorized_client");
}
