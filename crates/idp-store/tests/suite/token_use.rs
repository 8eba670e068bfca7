//! What tokens are good for: introspection, revocation, `/userinfo`, keys and issuers.

use idp::{EndpointError, repository::ResourceServers};
use jose::{Alg, KeySet, SigningKey};
use serde_json::{Value, json};

use crate::{
    World, on_every_database, params,
    world::{AUDIENCE, TENANT, basic, claims, other_client, refusal},
};

on_every_database! {
    o45_introspection_tells_only_who_has_to_do_with_the_token,
    o45_revocation_ends_tokens_of_the_caller_only,
    o46_userinfo_takes_access_tokens_of_its_own_only,
    o47_a_blocked_user_has_no_tokens,
    o48_a_cut_or_longer_opaque_token_is_refused,
    o53_the_key_set_is_public_and_o54_survives_rotation,
    hs256_tokens_verify_with_the_secret,
    o40_who_has_a_signing_secret_cannot_make_tokens_for_others,
    discovery_lists_what_works,
    each_origin_is_an_issuer_of_its_own,
}

async fn introspect(world: &World, header: &str, token: &str) -> Result<Value, EndpointError> {
    let form = params(&[("token", token), ("token_type_hint", "refresh_token")]);
    world.idp.introspection.answer(&world.site, Some(header), &form).await.map(Value::Object)
}

async fn o45_introspection_tells_only_who_has_to_do_with_the_token(world: World) {
    let (_, issued) = world.tokens("openid offline_access read:things", Some(AUDIENCE)).await;
    let (id, secret) = other_client(&world).await;
    let (mine, theirs) = (world.basic(), basic(&id, &secret));
    let access = issued.access_token.expose();
    let answer = introspect(&world, &mine, access).await.unwrap();
    assert_eq!(answer["active"], true);
    assert_eq!(
        (&answer["client_id"], &answer["scope"]),
        (&json!(world.demo.client_id), &json!(issued.scope.to_string()))
    );
    assert_eq!(introspect(&world, &theirs, access).await.unwrap(), json!({ "active": false }));
    let refresh = issued.refresh_token.unwrap();
    assert_eq!(introspect(&world, &mine, refresh.expose()).await.unwrap()["active"], true);
    assert_eq!(introspect(&world, &theirs, refresh.expose()).await.unwrap(), json!({ "active": false }));
    assert_eq!(
        introspect(&world, &mine, issued.id_token.unwrap().expose()).await.unwrap(),
        json!({ "active": false })
    );
    assert_eq!(introspect(&world, &mine, "nonsense").await.unwrap(), json!({ "active": false }));
    assert_eq!(refusal(introspect(&world, "Basic bm9ib2R5Ong=", access).await), "invalid_client");
    let nameless = params(&[("token", access), ("client_id", &world.demo.client_id)]);
    assert_eq!(refusal(world.idp.introspection.answer(&world.site, None, &nameless).await), "invalid_client");

    // The demo application is the gateway of the demo API: it may look at tokens that others got for it.
    let grant = json!({"client_id": id, "audience": AUDIENCE, "scope": ["read:things"]});
    world.idp.management.client_grants.create(&world.site, grant.as_object().unwrap().clone()).await.unwrap();
    let form = params(&[("grant_type", "client_credentials"), ("audience", AUDIENCE)]);
    let other = world.idp.token.answer(&world.site, Some(theirs.as_str()), &form).await.unwrap();
    let answer = introspect(&world, &mine, other.access_token.expose()).await.unwrap();
    assert_eq!((&answer["active"], &answer["client_id"]), (&json!(true), &json!(id)));
    world.advance(86_400);
    assert_eq!(introspect(&world, &mine, access).await.unwrap(), json!({ "active": false }));
}

async fn o45_revocation_ends_tokens_of_the_caller_only(world: World) {
    let (id, secret) = other_client(&world).await;
    let revoke = async |header: &str, token: &str| {
        world.idp.revocation.revoke(&world.site, Some(header), &params(&[("token", token)])).await.unwrap();
    };
    let good = async |token: &str| world.idp.userinfo.claims(&world.site, token).await.is_ok();
    let (_, jwt) = world.tokens("openid offline_access", Some(AUDIENCE)).await;
    revoke(&basic(&id, &secret), jwt.refresh_token.as_ref().unwrap().expose()).await;
    revoke(&basic(&id, &secret), jwt.access_token.expose()).await;
    assert!(good(jwt.access_token.expose()).await);
    revoke(&world.basic(), jwt.access_token.expose()).await;
    assert!(!good(jwt.access_token.expose()).await);
    let refreshed = world.refresh(jwt.refresh_token.unwrap().expose()).await.unwrap();
    assert!(good(refreshed.access_token.expose()).await, "one token was revoked, not the login");
    revoke(&world.basic(), refreshed.refresh_token.as_ref().unwrap().expose()).await;
    assert!(!good(refreshed.access_token.expose()).await);
    assert_eq!(refusal(world.refresh(refreshed.refresh_token.unwrap().expose()).await), "invalid_grant");
    let (_, opaque) = world.tokens("openid", None).await;
    revoke(&world.basic(), opaque.access_token.expose()).await;
    assert!(!good(opaque.access_token.expose()).await);
    revoke(&world.basic(), "nonsense").await;
}

async fn o46_userinfo_takes_access_tokens_of_its_own_only(world: World) {
    let (_, issued) = world.tokens("openid", Some(AUDIENCE)).await;
    let ask = async |token: &str| world.idp.userinfo.claims(&world.site, token).await;
    assert!(ask(issued.access_token.expose()).await.is_ok());
    assert_eq!(refusal(ask(issued.id_token.unwrap().expose()).await), "invalid_token");
    let (_, plain) = world.tokens("read:things", Some(AUDIENCE)).await;
    assert_eq!(refusal(ask(plain.access_token.expose()).await), "invalid_token");
    let machine = world.token(&[("grant_type", "client_credentials"), ("audience", AUDIENCE)]).await.unwrap();
    assert_eq!(refusal(ask(machine.access_token.expose()).await), "invalid_token");
    let (_, opaque) = world.tokens("profile", None).await;
    assert_eq!(refusal(ask(opaque.access_token.expose()).await), "insufficient_scope");
}

async fn o47_a_blocked_user_has_no_tokens(world: World) {
    let (mut person, issued) = world.tokens("openid offline_access", Some(AUDIENCE)).await;
    let id = claims(issued.access_token.expose())["sub"].as_str().unwrap().to_owned();
    let body = json!({ "blocked": true });
    world.idp.management.users.update(&world.site, &id, body.as_object().unwrap().clone()).await.unwrap();
    assert_eq!(
        refusal(world.idp.userinfo.claims(&world.site, issued.access_token.expose()).await),
        "invalid_token"
    );
    assert_eq!(
        introspect(&world, &world.basic(), issued.access_token.expose()).await.unwrap()["active"],
        false
    );
    let body = json!({ "blocked": false });
    world.idp.management.users.update(&world.site, &id, body.as_object().unwrap().clone()).await.unwrap();
    assert_eq!(
        refusal(world.refresh(issued.refresh_token.unwrap().expose()).await),
        "invalid_grant",
        "revoked for good"
    );
    crate::world::login_page(person.authorize(&world, &[]).await);
}

async fn o48_a_cut_or_longer_opaque_token_is_refused(world: World) {
    let (_, issued) = world.tokens("openid offline_access", None).await;
    let (access, refresh) = (issued.access_token.expose(), issued.refresh_token.unwrap());
    for token in [&access[..access.len() - 1], &format!("{access}x"), &format!("{access}=")] {
        assert_eq!(refusal(world.idp.userinfo.claims(&world.site, token).await), "invalid_token");
    }
    let refresh = refresh.expose();
    for token in [&refresh[..refresh.len() - 1], &format!("{refresh}x"), &refresh[3..]] {
        assert_eq!(refusal(world.refresh(token).await), "invalid_grant");
    }
    assert!(world.refresh(refresh).await.is_ok());
}

async fn o53_the_key_set_is_public_and_o54_survives_rotation(world: World) {
    let ask = [("grant_type", "client_credentials"), ("audience", AUDIENCE)];
    let before = world.token(&ask).await.unwrap();
    let jwks = world.idp.keys.jwks(TENANT).await.unwrap();
    for key in jwks["keys"].as_array().unwrap() {
        let members: Vec<_> = key.as_object().unwrap().keys().map(String::as_str).collect();
        let public = ["kty", "n", "e", "crv", "x", "y", "use", "alg", "kid", "x5c", "x5t"];
        assert!(members.iter().all(|member| public.contains(member)), "{members:?}");
    }
    let published: Vec<_> = jwks["keys"].as_array().unwrap().iter().map(|key| key["kid"].clone()).collect();
    let kid = world.idp.keys.rotate(TENANT, Alg::RS256).await.unwrap();
    assert!(published.contains(&json!(kid)), "the new key was published before it signed");
    let after = world.token(&ask).await.unwrap();
    let jws = jose::CompactJws::parse(after.access_token.expose()).unwrap();
    assert_eq!(jws.header().kid.as_deref(), Some(kid.as_str()));
    let set = KeySet::parse(world.idp.keys.jwks(TENANT).await.unwrap().to_string().as_bytes()).unwrap();
    for token in [&before, &after] {
        let jws = jose::CompactJws::parse(token.access_token.expose()).unwrap();
        assert!(set.verify(&jws, &[Alg::RS256]).is_ok(), "the old key stays published");
    }
    let old = jose::CompactJws::parse(before.access_token.expose()).unwrap().header().kid.clone().unwrap();
    assert!(!world.idp.keys.revoke(TENANT, &kid).await.unwrap(), "only previous keys are revoked");
    assert!(world.idp.keys.revoke(TENANT, &old).await.unwrap());
    assert_eq!(
        introspect(&world, &world.basic(), before.access_token.expose()).await.unwrap()["active"],
        false
    );
    assert_eq!(
        introspect(&world, &world.basic(), after.access_token.expose()).await.unwrap()["active"],
        true
    );
}

async fn hs256_tokens_verify_with_the_secret(world: World) {
    let mut client = world.demo_client().await;
    client.jwt_configuration.alg = Some("HS256".to_owned());
    world.save(&client).await;
    let mut api = world.repository.resource_server(TENANT, AUDIENCE).await.unwrap().unwrap();
    api.signing_alg = "HS256".to_owned();
    world.repository.update_resource_server(TENANT, &api).await.unwrap();
    let (_, issued) = world.tokens("openid", Some(AUDIENCE)).await;
    let id_token = issued.id_token.unwrap();
    let jws = jose::CompactJws::parse(id_token.expose()).unwrap();
    let secret = client.client_secret.as_ref().unwrap().expose();
    let key = jose::VerifyingKey::from_hmac_secret(secret.as_bytes(), Alg::HS256).unwrap();
    assert!(jws.verify(&key).is_ok());
    assert!(jws.header().kid.is_none());
    let answer = introspect(&world, &world.basic(), issued.access_token.expose()).await.unwrap();
    assert_eq!((&answer["active"], &answer["aud"]), (&json!(true), &json!(AUDIENCE)));
    assert_eq!(refusal(world.idp.userinfo.claims(&world.site, id_token.expose()).await), "invalid_token");
    let forged = SigningKey::from_hmac_secret(Alg::HS256, String::new(), &[7; 32]).unwrap();
    let payload = Value::Object(claims(issued.access_token.expose())).to_string();
    let forged = forged.sign(None, payload.as_bytes()).unwrap();
    assert_eq!(refusal(world.idp.userinfo.claims(&world.site, &forged).await), "invalid_token");
}

async fn o40_who_has_a_signing_secret_cannot_make_tokens_for_others(world: World) {
    let mut client = world.demo_client().await;
    client.jwt_configuration.alg = Some("HS256".to_owned());
    world.save(&client).await;
    let mut api = world.repository.resource_server(TENANT, AUDIENCE).await.unwrap().unwrap();
    api.signing_alg = "HS256".to_owned();
    world.repository.update_resource_server(TENANT, &api).await.unwrap();
    let (_, issued) = world.tokens("openid", None).await;
    let user = claims(issued.id_token.unwrap().expose())["sub"].clone();
    let management = world.site.management_audience();
    let userinfo = world.site.userinfo_audience();
    let now = world.clock.now().secs();
    for secret in [&client.client_secret, &api.signing_secret] {
        let secret = secret.as_ref().unwrap().expose().as_bytes();
        let key = SigningKey::from_hmac_secret(Alg::HS256, String::new(), secret).unwrap();
        let forge = |subject: &Value, audience: &str| {
            let payload = json!({
                "iss": world.site.issuer(), "sub": subject, "aud": [client.client_id, AUDIENCE, audience],
                "azp": world.demo.management_client_id, "iat": now, "exp": now + 60, "jti": "a.b",
                "scope": "openid email update:users",
            });
            key.sign(Some("JWT"), payload.to_string().as_bytes()).unwrap()
        };
        let about = world.idp.userinfo.claims(&world.site, &forge(&user, &userinfo)).await;
        assert_eq!(refusal(about), "invalid_token");
        let machine = json!(format!("{}@clients", world.demo.management_client_id));
        let bearer = format!("Bearer {}", forge(&machine, &management));
        assert_eq!(world.idp.management.caller(&world.site, Some(&bearer)).await.unwrap_err().status(), 401);
    }
}

async fn discovery_lists_what_works(world: World) {
    let document = world.idp.discovery.document(&world.site);
    assert_eq!(document["issuer"], "http://localhost:9400/");
    let keys = world.idp.keys.jwks(TENANT).await.unwrap();
    for alg in document["id_token_signing_alg_values_supported"].as_array().unwrap() {
        let has = keys["keys"].as_array().unwrap().iter().filter(|key| key["alg"] == *alg).count();
        assert!(has >= 2 || alg == "HS256", "{alg}");
        let mut client = world.demo_client().await;
        client.jwt_configuration.alg = Some(alg.as_str().unwrap().to_owned());
        world.save(&client).await;
        let (_, issued) = world.tokens("openid", None).await;
        let jws = issued.id_token.unwrap();
        assert_eq!(jose::CompactJws::parse(jws.expose()).unwrap().alg().unwrap().as_str(), alg);
    }
    assert_eq!(document["code_challenge_methods_supported"], json!(["S256"]));
}

async fn each_origin_is_an_issuer_of_its_own(world: World) {
    let secure = world.idp.site("localhost:9401").await.unwrap().unwrap();
    assert_eq!(secure.issuer(), "https://localhost:9401/");
    let form = params(&[("grant_type", "client_credentials"), ("audience", AUDIENCE)]);
    let issued = world.idp.token.answer(&secure, Some(world.basic().as_str()), &form).await.unwrap();
    assert_eq!(claims(issued.access_token.expose())["iss"], "https://localhost:9401/");
    // The Management API goes by every origin's name.
    let login = basic(&world.demo.management_client_id, &world.demo.management_client_secret);
    for audience in ["http://localhost:9400/api/v2/", "https://localhost:9401/api/v2/"] {
        let form = params(&[("grant_type", "client_credentials"), ("audience", audience)]);
        let issued = world.idp.token.answer(&world.site, Some(login.as_str()), &form).await.unwrap();
        assert!(
            issued.access_token.expose().len() < jose::MAX_TOKEN_BYTES,
            "{}",
            issued.access_token.expose().len()
        );
        let header = format!("Bearer {}", issued.access_token.expose());
        for site in [&world.site, &secure] {
            let caller = world.idp.management.caller(site, Some(&header)).await.unwrap();
            assert!(caller.require_any(&["read:clients"]).is_ok());
        }
    }
    for (host, origin) in [
        ("LOCALHOST:9400", "http://localhost:9400"),
        ("127.0.0.1:9401", "https://localhost:9401"),
        ("somewhere.example", "http://localhost:9400"),
    ] {
        assert_eq!(&*world.idp.site(host).await.unwrap().unwrap().origin, origin, "{host}");
    }
}
