//! What the claims of a verified token or session decide, and what the upstream learns of them.

use serde_json::{Value, json};

use super::{CLIENT, decoded, expect_refused, guarded, login};
use crate::support::{Portcullis, Provider, Request, Response, Site, shared, tokens};

fn bearer(further: Value) -> Value {
    let mut conf = json!({"bearer_only": true, "use_jwks": true});
    conf.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
    conf
}

fn error(answer: &Response) -> (u16, String) {
    (answer.status, answer.json()["error"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn rules_over_claims_let_through_and_keep_out() {
    let provider = Provider::start(CLIENT);
    let rules = json!({"claim_rules": [
        {"claim": "realm_access.roles", "any_of": ["editor", "admin"], "none_of": ["suspended"]},
        {"claim": "https://example.com/plan", "any_of": ["paid"]},
        {"any": [{"claim": "groups", "all_of": ["staff", "berlin"]}, {"claim": ["apps", "my.app"], "any_of": ["owner"]}]},
    ]});
    let site = guarded(shared(), &provider, bearer(rules)).await;
    let token = |roles: Value, plan: Value, groups: Value, app: Value| {
        provider.access_token(&json!({"realm_access": {"roles": roles}, "https://example.com/plan": plan,
                                      "groups": groups, "apps": {"my.app": app}}))
    };
    let none = || Value::Null;
    for good in [
        token(json!(["editor"]), json!("paid"), json!(["berlin", "staff"]), none()),
        token(json!("admin"), json!(["paid"]), none(), json!("owner")),
    ] {
        assert_eq!(site.with_token(&good).await.status, 200);
        assert_eq!(site.with_token(&good).await.status, 200, "and again, from memory");
    }
    let one = |name: &str| format!("the claim {name} does not satisfy the rules of this route");
    for (bad, expected) in [
        (token(json!(["editors"]), json!("paid"), none(), json!("owner")), one("realm_access.roles")),
        (
            token(json!(["admin", "suspended"]), json!("paid"), none(), json!("owner")),
            one("realm_access.roles"),
        ),
        (token(json!(["admin"]), json!("Paid"), none(), json!("owner")), one("https://example.com/plan")),
        (token(json!(["admin"]), json!("paid"), json!(["staff"]), json!("x")), one("groups or apps.my.app")),
    ] {
        for _ in 0..2 {
            assert_eq!(error(&site.with_token(&bad).await), (403, expected.clone()));
        }
    }
    assert_eq!(site.reached(), 4);
}

#[tokio::test]
async fn j50_scopes_are_found_in_scope_and_scp_as_whole_words() {
    let provider = Provider::start(CLIENT);
    let site = guarded(shared(), &provider, bearer(json!({"required_scopes": ["admin"]}))).await;
    let many: Vec<String> = (0..500).map(|number| format!("s{number}")).collect();
    let mut reached = 0;
    for (claims, status) in [
        (json!({"scope": "read admin"}), 200),
        (json!({"scope": ["read", "admin"]}), 200),
        (json!({"scp": "admin"}), 200),
        (json!({"scp": ["admin"]}), 200),
        (json!({"scope": format!("{} admin", many.join(" "))}), 200),
        (json!({"scope": "not-admin admin-not administrator"}), 403),
        (json!({"scope": "read\u{a0}admin"}), 403),
        (json!({"scope": "read\tadmin"}), 403),
        (json!({"scope": "read,admin"}), 403),
        (json!({"scope": ["read admin"]}), 403),
        (json!({"scope": "ADMIN"}), 403),
        (json!({"scope": {"admin": true}}), 403),
        (json!({"scope": many.join(" ")}), 403),
        (json!({"permissions": ["admin"]}), 403),
    ] {
        let answer = site.with_token(&provider.access_token(&claims)).await;
        assert_eq!(answer.status, status, "{claims}");
        reached += usize::from(status == 200);
    }
    assert_eq!(site.reached(), reached);
}

#[tokio::test]
async fn r40_claims_become_headers_that_no_client_and_no_value_can_forge() {
    let provider = Provider::start(CLIENT);
    let headers = json!({"claim_headers": {
        "X-User-Email": "email", "X-Roles": ["realm_access", "roles"], "X-Groups": "groups", "X-Absent": "absent",
    }});
    let site = guarded(shared(), &provider, bearer(headers)).await;
    let groups: Vec<String> = (0..300).map(|number| format!("group-{number}")).collect();
    for (claim, header) in [
        (json!("u@example.com"), "u@example.com"),
        (json!("a\r\nX-Roles: admin"), "a%0D%0AX-Roles: admin"),
        (json!("a\u{1f600}"), "a%F0%9F%98%80"),
        (json!("a,admin"), "a%2Cadmin"),
        (json!(7), "7"),
    ] {
        let token = provider.access_token(
            &json!({"email": claim, "realm_access": {"roles": ["a", "b,c", "d%"]}, "groups": groups}),
        );
        let spellings =
            ["X-User-Email", "x_user_email", "X.User-Email", "X-ROLES", "x_roles", "X-Absent", "X_Absent"];
        let request = Request::get(&site.target("x")).bearer(&token);
        let request = spellings.iter().fold(request, |request, name| request.header(name, "forged"));
        let request = request.header("Connection", "close, X-User-Email");
        assert_eq!(site.gate.send(request).await.status, 200, "{claim}");
        let seen = site.last();
        assert_eq!(seen.message.all("x-user-email"), [header], "{claim}");
        assert_eq!(seen.message.all("x-roles"), ["a,b%2Cc,d%25"]);
        assert_eq!(seen.message.all("x-groups"), [groups.join(",")]);
        assert!(!String::from_utf8_lossy(&seen.raw).contains("forged"), "h01 h02: {seen:?}");
    }
}

#[tokio::test]
async fn a_session_is_judged_and_told_by_its_own_claims() {
    let gate = std::sync::Arc::new(Portcullis::dev());
    let provider = Provider::start(CLIENT);
    let further = json!({
        "claim_rules": [{"claim": "team", "in": "id_token", "any_of": ["ops"]}],
        "claim_headers": {"X-Team": "team", "X-Name": {"claim": "name", "in": "userinfo"}},
    });
    let site: Site = login::site(gate, &provider, further).await;
    provider.claim(json!({"team": ["dev"]}));
    let browser = site.logged_in_or_not().await;
    let answer = site.with_cookies("page", &login::cookies(&browser)).await;
    assert_eq!(error(&answer), (403, "the claim team does not satisfy the rules of this route".to_owned()));
    assert_eq!(site.reached(), 0);
    provider.claim(json!({"team": ["dev", "ops"]}));
    let browser = site.logged_in().await;
    let request = Request::get(&site.target("page")).header("Cookie", &login::cookies(&browser));
    assert_eq!(
        site.gate.send(request.header("X-Team", "forged").header("x_name", "forged")).await.status,
        200
    );
    let seen = site.last();
    assert_eq!((seen.header("x-team"), seen.header("x-name")), (Some("dev,ops"), Some("A User")));
    assert!(!String::from_utf8_lossy(&seen.raw).contains("forged"));
}

#[tokio::test]
async fn j42_two_issuers_with_one_key_are_told_apart_by_the_keys_and_rules_of_each() {
    let (own, other) = (Provider::start(CLIENT), Provider::start(CLIENT));
    let stranger = Provider::start(CLIENT);
    own.share_keys_with(&other);
    let here = guarded(shared(), &own, bearer(json!({}))).await;
    assert_eq!(here.with_token(&own.access_token(&json!({}))).await.status, 200);
    expect_refused(&here, "a token of the other issuer, by the same key", &other.access_token(&json!({})))
        .await;
    let both = json!({"additional_issuers": [{
        "discovery": other.discovery(), "audiences": ["api://there"], "required_scopes": ["there"],
        "claim_rules": [{"claim": "tid", "any_of": ["t"]}],
    }]});
    let site = guarded(shared(), &own, bearer(both)).await;
    let there = json!({"aud": "api://there", "scope": "there", "tid": "t"});
    for _ in 0..2 {
        assert_eq!(site.with_token(&own.access_token(&json!({}))).await.status, 200);
        assert_eq!(site.with_token(&other.access_token(&there)).await.status, 200);
        assert_eq!(decoded(&site.last(), "x-userinfo")["iss"], other.issuer());
    }
    for (name, value) in [("aud", json!("https://api.example/")), ("scope", json!("x")), ("tid", json!("u"))]
    {
        let mut claims = there.clone();
        claims[name] = value;
        assert_eq!(site.with_token(&other.access_token(&claims)).await.status, 403, "{name}");
    }
    // A key of the other issuer's own.
    other.rotate("other-2", true);
    assert_eq!(site.with_token(&other.access_token(&there)).await.status, 200);
    let as_own = other.access_token(&json!({"iss": own.issuer()}));
    expect_refused(&site, "a token that claims to be of the first, by a key of the second", &as_own).await;
    expect_refused(&site, "an issuer that nobody named", &stranger.access_token(&json!({}))).await;
    assert!(stranger.hits("/.well-known/openid-configuration").is_empty(), "nothing is fetched for it");
    assert!(stranger.hits("/jwks").is_empty());
}

#[tokio::test]
async fn a_token_comes_from_the_cookie_or_header_that_is_named() {
    let provider = Provider::start(CLIENT);
    let token = provider.access_token(&json!({}));
    let cookie = guarded(shared(), &provider, bearer(json!({"auth_accept_token_as": "cookie:at"}))).await;
    let get = |site: &Site| Request::get(&site.target("x"));
    let send = async |site: &Site, request: Request| site.gate.send(request).await.status;
    assert_eq!(send(&cookie, get(&cookie).header("Cookie", &format!("a=b; at={token}"))).await, 200);
    assert_eq!(cookie.last().header("x-access-token"), Some(token.as_str()));
    assert_eq!(send(&cookie, get(&cookie).bearer(&token)).await, 401);
    assert_eq!(
        send(&cookie, get(&cookie).bearer(&token).header("Cookie", &format!("at={token}"))).await,
        400,
        "j47"
    );
    assert_eq!(send(&cookie, get(&cookie).header("Cookie", &format!("at={token}; at=x"))).await, 400, "r14");
    let named =
        guarded(shared(), &provider, bearer(json!({"auth_accept_token_as_header_name": "X-Token"}))).await;
    assert_eq!(send(&named, get(&named).header("X-Token", &format!("Bearer {token}"))).await, 200);
    assert_eq!(send(&named, get(&named).header("X-Token", &token)).await, 200);
    assert_eq!(send(&named, get(&named).bearer(&token)).await, 401);
    let plain = guarded(shared(), &provider, bearer(json!({}))).await;
    let own = get(&plain).header("X-Access-Token", &token);
    assert_eq!(send(&plain, own).await, 401, "the gate's own header is no way in");
}

#[tokio::test]
async fn a_symmetric_key_verifies_hs_tokens_and_nothing_else() {
    let provider = Provider::start(CLIENT);
    let secret = "a secret of at least thirty-two bytes";
    let further = json!({"bearer_only": true, "symmetric_key": secret});
    let site = guarded(shared(), &provider, further).await;
    let now = tokens::now();
    let claims = json!({"iss": provider.issuer(), "sub": "machine", "iat": now, "exp": now + 60});
    let mint = |alg: jose::Alg, secret: &str| {
        let key = jose::SigningKey::from_hmac_secret(alg, "k".to_owned(), secret.as_bytes()).unwrap();
        tokens::mint(&key, &claims)
    };
    assert_eq!(site.with_token(&mint(jose::Alg::HS256, secret)).await.status, 200);
    expect_refused(&site, "another key", &mint(jose::Alg::HS256, &secret.replace('a', "b"))).await;
    expect_refused(&site, "another hash", &mint(jose::Alg::HS512, &secret.repeat(2))).await;
    expect_refused(&site, "j04: a token by the provider's key", &provider.access_token(&json!({}))).await;
}
