//! What may be remembered of a token, and what must not: one test or more for each rule of the verdict cache.

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jose::Alg;
use rp::bearer::ClaimPath;
use serde_json::json;

use super::*;

fn only_tokens(config: &mut Config) {
    config.login = None;
}

fn introspected(config: &mut Config) {
    config.login = None;
    config.bearer.as_mut().unwrap().verification = Verification::Discovered(introspection(None));
}

#[tokio::test]
async fn what_is_refused_is_not_remembered() {
    let gate = Gate::with(only_tokens).await;
    let early = gate.idp.token(json!({"nbf": gate.clock.now().secs() + 130}));
    assert!(gate.bearer(&early).await.is(401));
    gate.pass(10);
    assert!(gate.bearer(&early).await.passed());
    // A key that is not there yet.
    let later = Arc::new(idp::key("later"));
    gate.idp.script(|script| script.key = Some(later.clone()));
    let unknown = gate.idp.token(json!({}));
    assert!(gate.bearer(&unknown).await.is(401));
    gate.idp.script(|script| script.published.push(later.public_jwk()));
    gate.pass(31);
    assert!(gate.bearer(&unknown).await.passed());
    // An endpoint that changes its mind.
    let asking = gate.sibling(introspected);
    assert!(asking.bearer("opaque").await.is(401));
    let exp = gate.clock.now().secs() + 600;
    gate.idp.answer("/introspect", 200, json!({"active": true, "exp": exp, "sub": "u"}));
    assert!(asking.bearer("opaque").await.passed());
}

#[tokio::test]
async fn j52_nothing_but_the_very_bytes_finds_a_verdict() {
    let gate = Gate::with(only_tokens).await;
    let token = gate.idp.token(json!({"aud": "https://api.example/", "tid": "t"}));
    for _ in 0..2 {
        assert!(gate.bearer(&token).await.passed());
    }
    let [header, payload, signature] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
    let json =
        |part: &str| -> Value { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap() };
    let with = |part: &str, name: &str, value: Value| {
        let mut changed = json(part);
        changed[name] = value;
        URL_SAFE_NO_PAD.encode(changed.to_string())
    };
    for (name, value) in [
        ("exp", json!(gate.clock.now().secs() + 3601)),
        ("aud", json!("https://other.example/")),
        ("iss", json!("https://other.example/")),
        ("tid", json!("u")),
        ("sub", json!("admin")),
        ("scope", json!("admin")),
    ] {
        let forged = format!("{header}.{}.{signature}", with(payload, name, value));
        assert!(gate.bearer(&forged).await.is(401), "{name}");
    }
    for (name, value) in
        [("alg", json!("ES384")), ("kid", json!("2")), ("typ", json!("JWT")), ("typ", json!("logout+jwt"))]
    {
        let forged = format!("{}.{payload}.{signature}", with(header, name, value));
        assert!(gate.bearer(&forged).await.is(401), "{name}");
    }
    let mut bytes = token.clone().into_bytes();
    for at in [0, bytes.len() / 2, bytes.len() - 10] {
        bytes[at] ^= 1;
        let flipped = String::from_utf8(bytes.clone()).unwrap();
        assert!(!gate.bearer(&flipped).await.passed(), "a bit of byte {at}");
        bytes[at] ^= 1;
    }
    assert!(gate.bearer(&token[..token.len() - 1]).await.is(401));
    assert!(gate.bearer(&token).await.passed());
}

#[tokio::test]
async fn j52_an_opaque_token_that_is_cut_or_longer_is_another_one() {
    let gate = Gate::with(introspected).await;
    let exp = gate.clock.now().secs() + 600;
    gate.idp.answer("/introspect", 200, json!({"active": true, "exp": exp, "sub": "u"}));
    assert!(gate.bearer("0paque-token").await.passed());
    gate.idp.answer("/introspect", 200, json!({"active": false}));
    for other in ["0paque-toke", "0paque-token0", "0paque-tokeN", "paque-token", "0paque-token="] {
        assert!(gate.bearer(other).await.is(401), "{other}");
    }
    assert!(gate.bearer("0paque-token").await.passed(), "this one is remembered");
    let asked: Vec<_> = gate.idp.hits("/introspect").iter().map(|hit| hit.form["token"].clone()).collect();
    assert_eq!(asked.len(), 6, "each of the others was asked for: {asked:?}");
}

#[tokio::test]
async fn j52_a_verdict_is_of_one_configuration() {
    let gate = Gate::with(only_tokens).await;
    let token = gate.idp.token(json!({"exp": gate.clock.now().secs() + 60}));
    assert!(gate.bearer(&token).await.passed());
    let status = async |change: &dyn Fn(&mut Config)| {
        let other = gate.sibling(|config| {
            config.login = None;
            change(config);
        });
        other.bearer(&token).await.status.map(|status| status.as_u16())
    };
    let rule = |path: &str| {
        ClaimRule::Test(ClaimTest {
            claim: ClaimRef { path: ClaimPath::parse(path).unwrap(), document: Document::Any },
            any_of: Vec::new(),
            all_of: Vec::new(),
            none_of: Vec::new(),
        })
    };
    assert_eq!(status(&|_| ()).await, None);
    assert_eq!(status(&|config| config.issuers = vec!["https://x/".to_owned()]).await, Some(401));
    assert_eq!(status(&|config| config.alg = Some(Alg::RS256)).await, Some(401));
    assert_eq!(status(&|config| config.required_scopes = vec!["admin".to_owned()]).await, Some(403));
    assert_eq!(status(&|config| config.claim_rules = vec![rule("absent")]).await, Some(403));
    assert_eq!(status(&|config| config.claim_rules = vec![rule("sub")]).await, None);
    let audience =
        |config: &mut Config| config.bearer.as_mut().unwrap().audience.values = vec!["x".to_owned()];
    assert_eq!(status(&audience).await, Some(403));
    let client = |config: &mut Config| config.bearer.as_mut().unwrap().audience.is_client = true;
    assert_eq!(status(&client).await, Some(403));
    let segment = |config: &mut Config| config.bearer.as_mut().unwrap().cache_segment = Some("s".to_owned());
    assert_eq!(status(&segment).await, None);
}

#[tokio::test]
async fn slack_and_leeway_extend_no_verdict() {
    let gate = Gate::with(only_tokens).await;
    let now = gate.clock.now().secs();
    let token = gate.idp.token(json!({"exp": now + 10, "iat": now + 100}));
    assert!(gate.bearer(&token).await.passed());
    gate.pass(10);
    assert!(gate.bearer(&token).await.is(401), "j53: the slack of iat is not one of exp");
    let lenient = gate.sibling(|config| {
        config.login = None;
        config.expiry_leeway = Duration::from_secs(30);
    });
    assert!(lenient.bearer(&token).await.passed());
    gate.pass(29);
    assert!(lenient.bearer(&token).await.passed());
    gate.pass(1);
    assert!(lenient.bearer(&token).await.is(401));
}

#[tokio::test]
async fn an_answer_of_the_endpoint_counts_for_its_own_time_and_never_after_exp() {
    let gate = Gate::with(introspected).await;
    let exp = gate.clock.now().secs() + 20;
    gate.idp.answer("/introspect", 200, json!({"active": true, "exp": exp, "sub": "u"}));
    assert!(gate.bearer("opaque").await.passed());
    gate.pass(19);
    assert!(gate.bearer("opaque").await.passed());
    assert_eq!(gate.idp.hits("/introspect").len(), 1);
    gate.pass(1);
    assert!(gate.bearer("opaque").await.is(401), "j53: the token is over, whatever the endpoint says");
}

#[tokio::test]
async fn without_the_cache_everything_is_asked_each_time() {
    let gate = Gate::with(|config| {
        introspected(config);
        config.bearer.as_mut().unwrap().uncached = true;
    })
    .await;
    let exp = gate.clock.now().secs() + 600;
    gate.idp.answer("/introspect", 200, json!({"active": true, "exp": exp, "sub": "u"}));
    for asked in 1..=3 {
        assert!(gate.bearer("opaque").await.passed());
        assert_eq!(gate.idp.hits("/introspect").len(), asked);
    }
    gate.idp.answer("/introspect", 200, json!({"active": false}));
    assert!(gate.bearer("opaque").await.is(401), "a token that is revoked is refused at once");
}

#[tokio::test]
async fn a_token_of_another_kind_is_no_hit_for_what_it_shares_with_an_access_token() {
    let gate = Gate::with(only_tokens).await;
    let now = gate.clock.now().secs();
    let claims = json!({"iss": gate.idp.issuer(), "sub": "u", "aud": "x", "iat": now, "exp": now + 60});
    assert!(gate.bearer(&gate.idp.sign("at+jwt", &claims)).await.passed());
    for typ in ["logout+jwt", "dpop+jwt", "rt+jwt"] {
        assert!(gate.bearer(&gate.idp.sign(typ, &claims)).await.is(401), "{typ}");
    }
}
