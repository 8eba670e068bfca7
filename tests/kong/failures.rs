//! What `openid-connect` answers to those it does not let in: statuses, bodies, challenges, and the places they are sent
//! to instead.

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jose::{Alg, thumbprint};
use support::{Provider, tokens};

use super::{
    machines::basic,
    methods::{Known, OPAQUE},
    *,
};

const UNAUTHORIZED: &str = r#"{"message":"Unauthorized"}"#;
const FORBIDDEN: &str = r#"{"message":"Forbidden"}"#;
const UNEXPECTED: &str = r#"{"message":"An unexpected error occurred"}"#;

impl Kong {
    /// Status, body, challenge and place of the answer to a request.
    async fn outcome(&self, request: Request) -> (u16, String, Option<String>, Option<String>) {
        let answer = self.send(request).await;
        let header = |name: &str| answer.header(name).map(str::to_owned);
        (answer.status, answer.text().trim().to_owned(), header("www-authenticate"), header("location"))
    }
}

#[tokio::test]
async fn who_is_not_known_gets_401_and_the_word_of_it() {
    let (kong, known) = (Kong::new().await, Known::start());
    let other = Provider::start("other");
    kong.plugin("openid-connect", known.config(json!(["bearer", "client_credentials"]), json!({}))).await;
    let good = known.token(&json!({}));
    let end = if good.ends_with('A') { "B" } else { "A" };
    let forged = format!("{}{end}", &good[..good.len() - 1]);
    let past = tokens::now() - 10;
    let refused = Some(r#"Bearer realm="localhost", error="invalid_token""#);
    let cases = [
        ("nothing", kong.request("GET", "/"), Some(r#"Bearer realm="localhost""#)),
        ("half a pair", kong.request("GET", "/?client_id=app"), Some(r#"Bearer realm="localhost""#)),
        ("a forged signature", kong.request("GET", "/").bearer(&forged), refused),
        ("an expired one", kong.request("GET", "/").bearer(&known.token(&json!({"exp": past}))), refused),
        ("one of another issuer", kong.request("GET", "/").bearer(&other.access_token(&json!({}))), refused),
        ("one that nobody can read", kong.request("GET", "/").bearer("opaque"), refused),
        ("a wrong secret", kong.request("GET", "/").header("Authorization", &basic("app", "wrong")), refused),
        (
            "a token twice",
            kong.request("GET", "/?access_token=a&access_token=b"),
            Some("error=\"invalid_request\""),
        ),
    ];
    for (what, request, challenge) in cases {
        let (status, body, told, _) = kong.outcome(request).await;
        assert_eq!((status, body.as_str()), (401, UNAUTHORIZED), "{what}");
        let told = told.unwrap_or_default();
        let (start, error) = challenge.unwrap().split_once(", ").unwrap_or((challenge.unwrap(), ""));
        assert!(told.contains(start) && told.contains(error), "{what}: {told}");
        assert_eq!(told.contains("error="), challenge.unwrap().contains("error="), "{what}: {told}");
    }
    assert_eq!(kong.upstream.received(), "", "the upstream saw none of them");
    assert_eq!(kong.send(kong.request("GET", "/").bearer(&good)).await.status, 200);
}

#[tokio::test]
async fn the_401_is_worded_sent_elsewhere_or_said_without_its_error() {
    let (kong, known) = (Kong::new().await, Known::start());
    let expired = known.token(&json!({"exp": tokens::now() - 10}));
    let requests = || {
        let bad = [kong.request("GET", "/").bearer(&expired), kong.request("GET", "/").bearer(OPAQUE)];
        let wrong = kong.request("GET", "/").header("Authorization", &basic("app", "wrong"));
        bad.into_iter().chain([wrong, kong.request("GET", "/")]).collect::<Vec<_>>()
    };
    let put = async |more: Value| {
        let methods = json!(["bearer", "client_credentials"]);
        kong.plugin("openid-connect", known.config(methods, more)).await;
    };
    put(json!({"unauthorized_error_message": "Not you", "expose_error_code": false})).await;
    for request in requests() {
        let (status, body, challenge, _) = kong.outcome(request).await;
        assert_eq!((status, body.as_str()), (401, r#"{"message":"Not you"}"#));
        assert_eq!(challenge.as_deref(), Some(r#"Bearer realm="localhost""#));
    }
    put(json!({"unauthorized_redirect_uri": ["https://login.example/?from=gate"]})).await;
    for request in requests() {
        let (status, _, _, place) = kong.outcome(request).await;
        assert_eq!((status, place.as_deref()), (302, Some("https://login.example/?from=gate")));
    }
    put(json!({"display_errors": true})).await;
    for (place, request) in requests().into_iter().enumerate() {
        let (status, body, ..) = kong.outcome(request).await;
        assert!(
            status == 401 && body.contains("\"Unauthorized: ") && !body.contains(OPAQUE),
            "{place}: {body}"
        );
        let reason = ["expired", "", "refuses the credentials", "no credentials"][place];
        assert!(body.contains(reason), "{place}: {body}");
    }
}

#[tokio::test]
async fn who_may_not_gets_403_by_every_rule_and_for_both_kinds_of_credentials() {
    let (kong, known) = (Kong::new().await, Known::start());
    known.claims(json!({
        "scope": "read", "aud": "https://api.example/", "groups": ["staff"], "roles": {"of": ["user"]}, "evil": 1,
    }));
    let consumer = unique("ann-");
    kong.made("POST", "/consumers", json!({"username": consumer})).await;
    let put = async |more: Value| {
        let methods = json!(["bearer", "client_credentials"]);
        kong.plugin("openid-connect", known.config(methods, more)).await;
    };
    let requests = || {
        let machine = kong.request("GET", "/").header("Authorization", &basic("app", "secret"));
        [kong.request("GET", "/").bearer(&known.token(&json!({}))), machine]
    };
    for (more, status) in [
        (json!({"scopes_required": ["write"]}), 403),
        (json!({"scopes_required": ["read write"]}), 403),
        (json!({"scopes_required": ["write", "read"]}), 200),
        (json!({"audience_required": ["https://other.example/"]}), 403),
        (json!({"audience_required": ["https://other.example/", "https://api.example/"]}), 200),
        (json!({"groups_required": ["admins"]}), 403),
        (json!({"groups_required": ["staff"]}), 200),
        (json!({"roles_required": ["user"]}), 403),
        (json!({"roles_required": ["user"], "roles_claim": ["roles", "of"]}), 200),
        (json!({"claims_forbidden": ["absent", "evil"]}), 403),
        (json!({"claims_forbidden": ["absent"]}), 200),
        (json!({"consumer_claim": ["sub"]}), 403),
        (json!({"consumer_claim": ["sub"], "consumer_optional": true}), 200),
        (json!({"consumer_claims": [["nowhere"], ["sub"]], "consumer_by": ["custom_id"]}), 403),
    ] {
        put(more.clone()).await;
        for request in requests() {
            let (got, body, challenge, _) = kong.outcome(request).await;
            assert_eq!(got, status, "{more}: {body}");
            if status == 403 {
                assert_eq!(body, FORBIDDEN, "{more}");
                let told = r#"Bearer realm="localhost", error="insufficient_scope""#;
                assert_eq!(challenge.as_deref(), Some(told), "{more}");
            }
        }
    }
    put(json!({"scopes_required": ["write"], "forbidden_error_message": "No.", "expose_error_code": false}))
        .await;
    for request in requests() {
        let (status, body, challenge, _) = kong.outcome(request).await;
        assert_eq!((status, body.as_str()), (403, r#"{"message":"No."}"#));
        assert_eq!(challenge.as_deref(), Some(r#"Bearer realm="localhost""#));
    }
    put(json!({"scopes_required": ["write"], "forbidden_redirect_uri": ["https://no.example/"]})).await;
    for request in requests() {
        let (status, _, _, place) = kong.outcome(request).await;
        assert_eq!((status, place.as_deref()), (302, Some("https://no.example/")));
    }
    // The claim that names a consumer also finds one.
    let named = known.token(&json!({"sub": consumer}));
    put(json!({"consumer_claim": ["sub"]})).await;
    assert_eq!(kong.send(kong.request("GET", "/").bearer(&named)).await.status, 200);
    let seen = kong.upstream.seen();
    assert_eq!(seen.last().unwrap().header("x-consumer-username"), Some(consumer.as_str()));
}

#[tokio::test]
async fn a_provider_that_is_down_is_500_and_never_401() {
    for more in [json!({}), json!({"unexpected_redirect_uri": ["https://sorry.example/"]})] {
        let (kong, known) = (Kong::new().await, Known::start());
        let (token, place) = (known.token(&json!({})), more["unexpected_redirect_uri"][0].as_str());
        known.provider.stop();
        let methods = json!(["session", "bearer", "client_credentials", "authorization_code"]);
        kong.plugin("openid-connect", known.config(methods, more.clone())).await;
        let machine = kong.request("GET", "/").header("Authorization", &basic("app", "secret"));
        let page = kong.request("GET", "/").header("Accept", "text/html");
        for (what, request) in
            [("a token", kong.request("GET", "/").bearer(&token)), ("a machine", machine), ("a page", page)]
        {
            let (status, body, _, to) = kong.outcome(request).await;
            match place {
                Some(place) => assert_eq!((status, to.as_deref()), (302, Some(place)), "{what}"),
                None if what == "a page" => assert_eq!(status, 500, "{what}: {body}"),
                None => assert_eq!((status, body.as_str()), (500, UNEXPECTED), "{what}"),
            }
        }
        assert_eq!(kong.upstream.received(), "", "the upstream was asked");
    }
}

#[tokio::test]
async fn who_brings_nothing_to_a_login_is_sent_there_and_scripts_are_told_so() {
    let (kong, known) = (Kong::new().await, Known::start());
    kong.plugin("openid-connect", known.config(json!(["session", "authorization_code"]), json!({}))).await;
    let host = format!("localhost:{}", kong.gate.port(9080));
    let page = kong.request("GET", "/page?x=1").header("Host", &host).header("Accept", "text/html");
    let answer = kong.send(page).await;
    assert_eq!(answer.status, 302, "{}", answer.text());
    let place = answer.header("location").unwrap();
    assert!(place.starts_with(&format!("{}authorize?", known.provider.issuer())), "{place}");
    for part in ["response_type=code", "client_id=gate", "code_challenge_method=S256", "scope=openid"] {
        assert!(place.contains(part), "{part}: {place}");
    }
    assert!(answer.header("set-cookie").is_some());
    let script =
        kong.request("GET", "/page").header("Host", &host).header("X-Requested-With", "XMLHttpRequest");
    let (status, body, challenge, _) = kong.outcome(script).await;
    assert_eq!((status, body.as_str()), (401, UNAUTHORIZED));
    assert_eq!(challenge.as_deref(), Some(r#"Bearer realm="localhost""#));
}

#[tokio::test]
async fn a_proof_counts_once_and_for_as_long_as_is_said() {
    let (kong, known) = (Kong::new().await, Known::start());
    let key = tokens::key(Alg::ES256, "proof");
    let public = key.public_jwk();
    let jwk = json!({"kty": public["kty"], "crv": public["crv"], "x": public["x"], "y": public["y"]});
    let token = known.token(&json!({"cnf": {"jkt": thumbprint(&jwk).unwrap()}}));
    let request = |age: i64| {
        let header = json!({"typ": "dpop+jwt", "jwk": jwk});
        let claims = json!({
            "jti": unique("jti-"), "htm": "GET", "htu": format!("http://localhost/{}/x", kong.name),
            "iat": tokens::now() - age, "ath": URL_SAFE_NO_PAD.encode(digest(&SHA256, token.as_bytes())),
        });
        let proof = key.sign_with_header(header.as_object().unwrap(), claims.to_string().as_bytes()).unwrap();
        let request = kong.request("GET", "/x").header("Authorization", &format!("DPoP {token}"));
        request.header("DPoP", &proof)
    };
    let strict = json!({"proof_of_possession_dpop": "strict"});
    kong.plugin("openid-connect", known.config(json!(["bearer"]), strict.clone())).await;
    let good = request(0);
    assert_eq!(kong.send(good.clone()).await.status, 200);
    let seen = kong.upstream.seen().pop().unwrap();
    assert_eq!(
        (seen.header("dpop"), seen.header("authorization")),
        (None, Some(format!("Bearer {token}").as_str()))
    );
    assert_eq!(kong.send(good).await.status, 401, "it was used");
    assert_eq!((kong.send(request(280)).await.status, kong.send(request(310)).await.status), (200, 401));
    let mut short = strict;
    short["dpop_proof_lifetime"] = json!(30);
    kong.plugin("openid-connect", known.config(json!(["bearer"]), short)).await;
    assert_eq!((kong.send(request(20)).await.status, kong.send(request(40)).await.status), (200, 401));
}

#[tokio::test]
async fn a_proof_of_possession_that_is_missing_is_401() {
    let (kong, known) = (Kong::new().await, Known::start());
    let bound = known.token(&json!({"cnf": {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}));
    let by_certificate =
        known.token(&json!({"cnf": {"x5t#S256": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}));
    for (field, value, token) in [
        ("proof_of_possession_dpop", "off", &bound),
        ("proof_of_possession_dpop", "optional", &bound),
        ("proof_of_possession_dpop", "strict", &bound),
        ("proof_of_possession_dpop", "strict", &known.token(&json!({}))),
        ("proof_of_possession_mtls", "optional", &by_certificate),
        ("proof_of_possession_mtls", "strict", &by_certificate),
        ("proof_of_possession_mtls", "strict", &known.token(&json!({}))),
    ] {
        kong.plugin("openid-connect", known.config(json!(["bearer"]), json!({field: value}))).await;
        let (status, body, ..) = kong.outcome(kong.request("GET", "/").bearer(token)).await;
        assert_eq!((status, body.as_str()), (401, UNAUTHORIZED), "{field} {value}");
    }
    // Who gets in without one is said, and let in where that is wanted.
    let mut config =
        known.config(json!(["bearer", "password"]), json!({"proof_of_possession_dpop": "strict"}));
    let path = format!("/services/{}/plugins", kong.name);
    let refused = kong.call("POST", &path, json!({"name": "openid-connect", "config": config})).await;
    assert_eq!(refused.status, 400);
    assert!(refused.json()["fields"]["config"]["auth_methods"].is_string(), "{}", refused.text());
    config["proof_of_possession_auth_methods_validation"] = json!(false);
    kong.plugin("openid-connect", config).await;
    let (status, ..) = kong.outcome(kong.request("GET", "/").bearer(&known.token(&json!({})))).await;
    assert_eq!(status, 401);
    let ann = kong.request("GET", "/").header("Authorization", &basic("ann", "open-sesame"));
    assert_eq!(kong.send(ann).await.status, 200);
}

#[tokio::test]
async fn refused_requests_go_on_as_the_anonymous_consumer_where_there_is_one() {
    let (kong, known) = (Kong::new().await, Known::start());
    let guest = unique("guest-");
    let made = kong.made("POST", "/consumers", json!({"username": guest, "custom_id": unique("c-")})).await;
    let id = made["id"].as_str().unwrap();
    let expired = known.token(&json!({"exp": tokens::now() - 10}));
    let away = json!(["https://login.example/"]);
    for (name, more) in [(guest.as_str(), json!({})), (id, json!({"unauthorized_redirect_uri": away}))] {
        let methods = json!(["bearer", "client_credentials"]);
        let mut more = more;
        more["anonymous"] = json!(name);
        kong.plugin("openid-connect", known.config(methods, more)).await;
        for request in [
            kong.request("GET", "/anonymous"),
            kong.request("GET", "/anonymous").bearer(&expired),
            kong.request("GET", "/anonymous").header("Authorization", &basic("app", "wrong")),
            kong.request("GET", "/anonymous?access_token=a&access_token=b"),
            kong.request("GET", "/anonymous?client_id=app&client_secret=wrong"),
        ] {
            let answer = kong.send(request).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            let seen = kong.upstream.seen();
            let seen = seen.last().unwrap();
            assert_eq!(seen.header("x-consumer-username"), Some(guest.as_str()));
            assert_eq!(seen.header("x-anonymous-consumer"), Some("true"));
            assert!(seen.header("authorization").is_none(), "what was refused is not sent on");
            assert!(seen.target.ends_with("/anonymous"), "nor in the query: {}", seen.target);
        }
        let answer = kong.send(kong.request("GET", "/known").bearer(&known.token(&json!({})))).await;
        assert_eq!(answer.status, 200);
        let seen = kong.upstream.seen();
        assert!(seen.last().unwrap().header("x-anonymous-consumer").is_none());
    }
    kong.plugin("openid-connect", known.config(json!(["bearer"]), json!({"anonymous": "nobody-here"}))).await;
    let (status, body, ..) = kong.outcome(kong.request("GET", "/")).await;
    assert_eq!((status, body.as_str()), (401, UNAUTHORIZED));
}
