//! Tokens as the known providers shape them, with the configurations of `docs/providers.md`.

use serde_json::{Value, json};

use super::{CLIENT, decoded, expect_refused, guarded};
use crate::support::{Answer, Provider, Site, shared, tokens};

async fn site(provider: &Provider, further: Value) -> Site {
    let mut conf = json!({"bearer_only": true});
    conf.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
    guarded(shared(), provider, conf).await
}

fn challenge(answer: &crate::support::Response) -> &str {
    answer.header("www-authenticate").unwrap_or_default()
}

#[tokio::test]
async fn auth0_has_permissions_and_names_that_are_urls() {
    let provider = Provider::start(CLIENT);
    let site = site(
        &provider,
        json!({
            "claim_validator": {"audience": {"values": ["https://api.example/"]}},
            "claim_rules": [
                {"claim": "permissions", "all_of": ["read:things"]},
                {"claim": "https://example.com/roles", "any_of": ["admin"]},
            ],
            "claim_headers": {"X-Roles": "https://example.com/roles"},
        }),
    )
    .await;
    let claims = json!({
        "sub": "auth0|5f7c8ec7c33c6c004bbafe82", "aud": ["https://api.example/", "https://t.auth0.com/userinfo"],
        "azp": "client", "scope": "openid read:things", "permissions": ["read:things", "write:things"], "gty": "password",
        "https://example.com/roles": ["admin", "ops"],
    });
    assert_eq!(site.with_token(&provider.access_token(&claims)).await.status, 200);
    assert_eq!(site.last().header("x-roles"), Some("admin,ops"));
    let mut less = claims;
    less["permissions"] = json!(["read:thing"]);
    assert_eq!(site.with_token(&provider.access_token(&less)).await.status, 403);
    // Without an audience Auth0 gives an opaque token; with encryption, a JWE. Neither can be judged here.
    provider.lie("/introspect", |_| Answer::with(404, &[], ""));
    let jwe = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIiwiaXNzIjoieCJ9..aXY.Y2lwaGVy.dGFn";
    let local = self::site(&provider, json!({"use_jwks": true})).await;
    expect_refused(&local, "an encrypted token", jwe).await;
    assert!(challenge(&local.with_token(jwe).await).contains("encrypted"));
    expect_refused(&local, "an opaque token", "0paque_Token-of.no").await;
}

#[tokio::test]
async fn okta_has_scp_as_a_list_and_cid() {
    let provider = Provider::start(CLIENT);
    let further = json!({
        "use_jwks": true, "required_scopes": ["things.read"],
        "claim_validator": {"audience": {"values": ["api://default"]}},
        "claim_rules": [{"claim": "cid", "any_of": ["0oa1client"]}],
    });
    let site = site(&provider, further).await;
    let claims = json!({
        "ver": 1, "jti": "AT.x", "aud": "api://default", "cid": "0oa1client", "uid": "00u1user",
        "scp": ["openid", "things.read"], "auth_time": tokens::now(), "sub": "user@example.com",
    });
    assert_eq!(site.with_token(&provider.access_token(&claims)).await.status, 200);
    for (name, value) in
        [("cid", json!("0oa2")), ("scp", json!(["things.reader"])), ("aud", json!("https://org.okta.com"))]
    {
        let mut other = claims.clone();
        other[name] = value;
        assert_eq!(site.with_token(&provider.access_token(&other)).await.status, 403, "{name}");
    }
    // Access tokens of the org server are for Okta itself; their keys are not published.
    let org = Provider::start(CLIENT);
    org.rotate("org-key", false);
    let token = org.access_token(&json!({"iss": provider.issuer(), "aud": provider.issuer()}));
    expect_refused(&site, "a token of the org server", &token).await;
    assert!(challenge(&site.with_token(&token).await).contains("the provider publishes no key for it"));
}

#[tokio::test]
async fn entra_has_tenants_two_versions_and_groups_that_are_elsewhere() {
    let provider = Provider::start(CLIENT);
    let host = provider.issuer();
    let (v2, v1) = (format!("{host}{{tenantid}}/v2.0"), format!("{host}{{tenantid}}/"));
    let tenant = "11111111-2222-3333-4444-555555555555";
    let further = json!({
        "use_jwks": true, "required_scopes": ["Things.Read"],
        "claim_validator": {
            "issuer": {"valid_issuers": [v2, v1]},
            "audience": {"values": ["6e74172b-be56-4843-9ff4-e66a39bb12e3", "api://things"]},
        },
        "claim_rules": [
            {"claim": "tid", "any_of": [tenant]},
            {"any": [{"claim": "azp", "any_of": ["app"]}, {"claim": "appid", "any_of": ["app"]}]},
            {"claim": "groups", "none_of": ["suspended"]},
        ],
    });
    let site = site(&provider, further).await;
    let version_2 = json!({
        "ver": "2.0", "iss": v2.replace("{tenantid}", tenant), "aud": "6e74172b-be56-4843-9ff4-e66a39bb12e3",
        "azp": "app", "azpacr": "1", "oid": "o", "tid": tenant, "scp": "Things.Read User.Read", "groups": ["g"],
    });
    let version_1 = json!({
        "ver": "1.0", "iss": v1.replace("{tenantid}", tenant), "aud": "api://things", "appid": "app", "appidacr": "1",
        "oid": "o", "tid": tenant, "scp": "Things.Read", "groups": ["g"],
    });
    for claims in [&version_2, &version_1] {
        let answer = site.with_token(&provider.access_token(claims)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let mut overage = version_2.clone();
    overage.as_object_mut().unwrap().remove("groups");
    overage["_claim_names"] = json!({"groups": "src1"});
    overage["_claim_sources"] = json!({"src1": {"endpoint": "https://graph.windows.net/x"}});
    let answer = site.with_token(&provider.access_token(&overage)).await;
    assert_eq!((answer.status, answer.text().contains("the claim groups")), (403, true), "{answer:?}");
    let other = "99999999-2222-3333-4444-555555555555";
    let mut foreign = version_2.clone();
    (foreign["tid"], foreign["iss"]) = (json!(other), json!(format!("{host}{other}/v2.0")));
    assert_eq!(site.with_token(&provider.access_token(&foreign)).await.status, 403, "another tenant");
    foreign["tid"] = json!(tenant);
    expect_refused(&site, "a tenant that the issuer does not name", &provider.access_token(&foreign)).await;
}

#[tokio::test]
async fn a_document_of_every_tenant_is_believed_where_it_was_asked_for_as_such() {
    let provider = Provider::start(CLIENT);
    let host = provider.issuer();
    let mut described = provider.described();
    described["issuer"] = json!(format!("{host}{{tenantid}}/v2.0"));
    for path in ["/organizations/v2.0", "/one-tenant/v2.0", "/one-tenant"] {
        let described = described.clone();
        let path = format!("{path}/.well-known/openid-configuration");
        provider.lie(&path, move |_| Answer::json(&described));
    }
    let of = |tenant: &str| {
        provider.access_token(&json!({"iss": format!("{host}{tenant}/v2.0"), "tid": tenant, "sub": "s"}))
    };
    let at = async |path: &str, validator: Value| {
        let discovery = format!("{host}{path}/.well-known/openid-configuration");
        site(&provider, json!({"use_jwks": true, "discovery": discovery, "claim_validator": validator})).await
    };
    let all = at("organizations/v2.0", json!({})).await;
    assert_eq!(all.with_token(&of("tenant-1")).await.status, 200);
    assert_eq!(all.with_token(&of("tenant-2")).await.status, 200);
    let mixed = json!({"iss": format!("{host}tenant-1/v2.0"), "tid": "tenant-2", "sub": "s"});
    expect_refused(&all, "a tenant that the issuer does not name", &provider.access_token(&mixed)).await;
    // A tenant's own document does not speak for the others, unless the operator says so.
    let one = at("one-tenant/v2.0", json!({})).await;
    assert_eq!(one.with_token(&of("one-tenant")).await.status, 503);
    let named = json!({"issuer": {"valid_issuers": [described["issuer"]]}});
    let named = at("one-tenant", named).await;
    assert_eq!(named.with_token(&of("tenant-3")).await.status, 200);
}

#[tokio::test]
async fn keycloak_has_nested_roles_and_an_audience_of_its_own() {
    let provider = Provider::start(CLIENT);
    let mut keys = provider.published();
    let encryption = json!({"kty": "RSA", "use": "enc", "alg": "RSA-OAEP", "kid": "enc-1", "e": "AQAB",
                            "n": "x".repeat(342)});
    keys["keys"].as_array_mut().unwrap().insert(0, encryption);
    provider.lie("/jwks", move |_| Answer::json(&keys));
    let further = json!({
        "use_jwks": true,
        "claim_rules": [
            {"claim": "azp", "any_of": ["web"]},
            {"claim": "realm_access.roles", "any_of": ["admin"]},
            {"claim": "resource_access.account.roles", "any_of": ["view-profile"]},
        ],
        "claim_headers": {"X-Roles": "realm_access.roles"},
    });
    let site = site(&provider, further).await;
    let claims = json!({
        "typ": "Bearer", "aud": "account", "azp": "web", "acr": "1", "sid": "s", "scope": "email profile",
        "realm_access": {"roles": ["offline_access", "admin"]},
        "resource_access": {"account": {"roles": ["manage-account", "view-profile"]}},
        "preferred_username": "user",
    });
    assert_eq!(site.with_token(&provider.access_token(&claims)).await.status, 200);
    assert_eq!(site.last().header("x-roles"), Some("offline_access,admin"));
    for typ in ["ID", "Refresh", "Offline", "Logout"] {
        let mut other = claims.clone();
        other["typ"] = json!(typ);
        expect_refused(&site, typ, &provider.access_token(&other)).await;
    }
}

#[tokio::test]
async fn google_has_opaque_access_tokens_and_two_spellings_of_its_name() {
    let provider = Provider::start(CLIENT);
    let mut metadata = provider.described();
    metadata.as_object_mut().unwrap().remove("introspection_endpoint");
    provider.lie("/.well-known/openid-configuration", move |_| Answer::json(&metadata));
    let issuers = ["https://accounts.google.com", "accounts.google.com"];
    let named = [provider.issuer().as_str(), issuers[0], issuers[1]].map(str::to_owned);
    let further = json!({
        "claim_validator": {"issuer": {"valid_issuers": named}, "audience": {"values": ["service.example"]}},
        "claim_rules": [{"claim": "email_verified", "any_of": [true]}, {"claim": "hd", "any_of": ["example.com"]}],
    });
    let site = site(&provider, further).await;
    for iss in issuers {
        let claims = json!({
            "iss": iss, "aud": "service.example", "azp": "109", "sub": "109", "hd": "example.com",
            "email": "robot@example.com", "email_verified": true,
        });
        assert_eq!(site.with_token(&provider.access_token(&claims)).await.status, 200, "{iss}");
        let mut unverified = claims.clone();
        unverified["email_verified"] = json!("true");
        assert_eq!(site.with_token(&provider.access_token(&unverified)).await.status, 403, "r41");
    }
    expect_refused(&site, "an access token of Google's", "ya29.a0AfB_byC-x").await;
    assert!(
        challenge(&site.with_token("ya29.a0AfB_byC-x").await).contains("no endpoint URI for introspection")
    );
}

#[tokio::test]
async fn authgear_has_flags_under_urls_and_its_endpoint_as_audience() {
    let provider = Provider::start(CLIENT);
    let issuer = provider.issuer();
    let further = json!({
        "claim_validator": {"audience": {"values": [issuer]}},
        "claim_rules": [
            {"claim": "https://authgear.com/claims/user/is_anonymous", "any_of": [false]},
            {"claim": "https://authgear.com/claims/user/roles", "any_of": ["store:manager"]},
        ],
        "claim_headers": {"X-User-Verified": "https://authgear.com/claims/user/is_verified"},
    });
    let site = site(&provider, further).await;
    let claims = json!({
        "aud": [issuer], "client_id": "web", "scope": "openid offline_access",
        "https://authgear.com/claims/user/is_anonymous": false,
        "https://authgear.com/claims/user/is_verified": true,
        "https://authgear.com/claims/user/roles": ["store:manager"],
    });
    assert_eq!(site.with_token(&provider.access_token(&claims)).await.status, 200);
    assert_eq!(site.last().header("x-user-verified"), Some("true"));
    let mut anonymous = claims.clone();
    anonymous["https://authgear.com/claims/user/is_anonymous"] = json!(true);
    assert_eq!(site.with_token(&provider.access_token(&anonymous)).await.status, 403);
    // Its opaque tokens are introspected, and judged by the same rules.
    let mut answer = claims;
    let now = tokens::now();
    (answer["active"], answer["exp"], answer["sub"]) = (json!(true), json!(now + 60), json!("u"));
    provider.lie("/introspect", move |_| Answer::json(&answer));
    assert_eq!(site.with_token("opaque-of-authgear").await.status, 200);
    assert_eq!(decoded(&site.last(), "x-userinfo")["client_id"], "web");
    assert_eq!(site.last().header("x-user-verified"), Some("true"));
}
