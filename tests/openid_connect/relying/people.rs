//! Who is who: e-mail addresses, two identities at once, one person at two providers.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{CLIENT, decoded, guarded, guarded_at, login};
use crate::support::{Answer, Portcullis, Provider, Request, shared, tokens, unique};

/// Two addresses, and only when the provider has verified them.
fn allow_list() -> Value {
    json!([
        {"claim": "email", "any_of": ["alice@corp.example", "bob@corp.example"]},
        {"claim": "email_verified", "any_of": [true]},
    ])
}

/// Addresses that some reader takes for one on the list, and what is said of their verification.
fn impostors() -> Vec<(Value, Value)> {
    let address = |text: &str| (json!(text), json!(true));
    let mut all: Vec<(Value, Value)> = [
        "alice@evil@corp.example",
        "alice@corp.example@evil.example",
        "alice@corp.example.",
        "Alice@corp.example",
        "alice@CORP.example",
        " alice@corp.example",
        "alice@corp.example ",
        "alice@corp.example,bob@evil.example",
        "\"alice@corp.example\"@evil.example",
        "alice+x@corp.example",
        "\u{430}lice@corp.example",
        "alice@corp.example\n",
        "",
    ]
    .map(address)
    .into();
    let of = "alice@corp.example";
    all.extend([
        (json!(of), json!(false)),
        (json!(of), json!("true")),
        (json!(of), json!(1)),
        (json!(of), Value::Null),
        (json!({"address": of}), json!(true)),
        (Value::Null, json!(true)),
    ]);
    all
}

#[tokio::test]
async fn r41_an_address_counts_as_it_is_and_only_when_it_is_verified() {
    let provider = Provider::start(CLIENT);
    let rules = json!({"claim_rules": allow_list()});
    let site = login::site(shared(), &provider, rules.clone()).await;
    let mut bearer = rules;
    bearer["bearer_only"] = json!(true);
    bearer["use_jwks"] = json!(true);
    let api = guarded(shared(), &provider, bearer).await;
    for (email, verified) in impostors() {
        let claims = json!({"email": email, "email_verified": verified});
        let answer = api.with_token(&provider.access_token(&claims)).await;
        assert_eq!(answer.status, 403, "{claims}: {answer:?}");
        assert!(!answer.text().contains("corp.example"), "the list is nobody's business: {}", answer.text());
        provider.claim(claims.clone());
        let userinfo = json!({"sub": "user-1", "email": email, "email_verified": verified});
        provider.lie("/userinfo", move |_| Answer::json(&userinfo));
        let browser = site.logged_in_or_not().await;
        let page = site.with_cookies("page", &login::cookies(&browser)).await;
        assert_eq!(page.status, 403, "{claims}: {page:?}");
        provider.claim(json!({}));
    }
    assert_eq!((api.reached(), site.reached()), (0, 0));
    let good = json!({"email": "alice@corp.example", "email_verified": true});
    assert_eq!(api.with_token(&provider.access_token(&good)).await.status, 200);
    provider.be_honest();
    provider.claim(good);
    site.logged_in().await;
}

#[tokio::test]
async fn r42_a_token_wins_over_a_cookie_and_their_claims_are_not_mixed() {
    let provider = Provider::start(CLIENT);
    let site =
        login::site(shared(), &provider, json!({"use_jwks": true, "set_raw_id_token_header": true})).await;
    let cookies = login::cookies(&site.logged_in().await);
    let host = format!("localhost:{}", site.gate.port(9080));
    let both = async |token: &str| {
        let request = Request::get(&site.target("page")).header("Host", &host).header("Cookie", &cookies);
        site.gate.send(request.bearer(token)).await
    };
    let token = provider.access_token(&json!({"sub": "machine", "name": "A Machine"}));
    assert_eq!(both(&token).await.status, 200);
    let seen = site.last();
    assert_eq!(decoded(&seen, "x-userinfo")["sub"], "machine");
    assert_eq!(seen.header("x-access-token"), Some(token.as_str()));
    for name in ["x-id-token", "x-raw-id-token", "x-refresh-token", "cookie"] {
        assert_eq!(seen.header(name), None, "{name} is the session's");
    }
    assert!(!String::from_utf8_lossy(&seen.raw).contains("user-1"), "{seen:?}");
    let reached = site.reached();
    let stranger = Provider::start(CLIENT);
    let forged = stranger.access_token(&json!({"iss": provider.issuer()}));
    for (what, token) in [("a forged one", forged.as_str()), ("noise", "noise")] {
        let answer = both(token).await;
        assert_eq!(
            (answer.status, site.reached()),
            (401, reached),
            "{what} is not rescued by a cookie: {answer:?}"
        );
    }
    let over = provider.access_token(&json!({"exp": tokens::now() - 600}));
    assert_eq!((both(&over).await.status, site.reached()), (401, reached));
    assert_eq!(site.with_cookies("page", &cookies).await.status, 200, "the session is as it was");
    assert_eq!(decoded(&site.last(), "x-userinfo")["sub"], "user-1");
}

/// The gate keeps no accounts: a person is an issuer and a subject. The same address and even the same subject at another
/// provider is somebody else, whatever that provider says.
#[tokio::test]
async fn r43_the_same_name_at_another_provider_is_somebody_else() {
    let gate = Arc::new(Portcullis::dev());
    let (ours, theirs) = (Provider::start(CLIENT), Provider::start(CLIENT));
    let said = json!({"sub": "user-1", "sid": "s1", "email": "alice@corp.example", "email_verified": false});
    for provider in [&ours, &theirs] {
        provider.claim(said.clone());
    }
    let secret = json!({"secret": "0123456789abcdef"});
    let site = async |provider: &Provider| {
        guarded_at(Arc::clone(&gate), provider, |path| {
            json!({"redirect_uri": format!("{path}/callback"), "logout_path": format!("{path}/logout"),
                   "backchannel_logout_path": format!("{path}/back"), "session": secret})
        })
        .await
    };
    let (here, there) = (site(&ours).await, site(&theirs).await);
    let cookies = login::cookies(&here.logged_in().await);
    let foreign = login::cookies(&there.logged_in().await);
    assert_eq!(here.with_cookies("page", &foreign).await.status, 302, "no session here");
    assert_eq!(there.with_cookies("page", &cookies).await.status, 302);
    let token = theirs.signed("logout+jwt", &json!({
        "iss": theirs.issuer(), "aud": CLIENT, "iat": tokens::now(), "exp": tokens::now() + 120, "jti": unique("jti-"),
        "sub": "user-1", "sid": "s1", "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
    }));
    for (site, status) in [(&here, 400), (&there, 200)] {
        let request = Request::new("POST", &site.target("back"));
        let request = request.header("Content-Type", "application/x-www-form-urlencoded");
        let answer = gate.send(request.body(format!("logout_token={token}"))).await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
    assert_eq!(here.with_cookies("page", &cookies).await.status, 200, "their logout is not ours");
    assert_eq!(there.with_cookies("page", &foreign).await.status, 302);

    // A token of theirs opens nothing of ours, and where both are taken the upstream is told whose word it is.
    let own = guarded(Arc::clone(&gate), &ours, json!({"bearer_only": true, "use_jwks": true})).await;
    super::super::expect_refused(&own, "another provider's", &theirs.access_token(&json!({}))).await;
    let both = json!({"bearer_only": true, "use_jwks": true,
                      "additional_issuers": [{"discovery": theirs.discovery(), "claim_rules": [
                          {"claim": "email_verified", "any_of": [true]}]}]});
    let both = guarded(Arc::clone(&gate), &ours, both).await;
    assert_eq!(both.with_token(&ours.access_token(&json!({}))).await.status, 200);
    assert_eq!(decoded(&both.last(), "x-userinfo")["iss"], ours.issuer());
    assert_eq!(both.with_token(&theirs.access_token(&json!({}))).await.status, 403, "not without proof");
}

#[tokio::test]
async fn r30_a_refresh_that_gives_another_identity_ends_the_session() {
    let gate = Arc::new(Portcullis::dev());
    let provider = Provider::start(CLIENT);
    let site = login::site(Arc::clone(&gate), &provider, json!({"access_token_expires_leeway": 3300})).await;
    for (what, claims) in [
        ("another subject", json!({"sub": "user-2"})),
        ("another issuer", json!({"iss": "https://evil.example/"})),
        ("another audience", json!({"aud": "another"})),
    ] {
        let cookies = login::cookies(&site.logged_in().await);
        gate.advance(Duration::from_secs(301)).await;
        let sign = provider.signer();
        provider.make_id_tokens(move |mut said| {
            said.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
            sign(&said)
        });
        let reached = site.reached();
        let answer = site.with_cookies("page", &cookies).await;
        assert_eq!((answer.status, site.reached()), (302, reached), "{what}: {answer:?}");
        provider.make_good_id_tokens();
        let answer = site.with_cookies("page", &cookies).await;
        assert_eq!((answer.status, site.reached()), (302, reached), "{what}: it is over for good");
    }
}
