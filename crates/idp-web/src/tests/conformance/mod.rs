//! What the OpenID Foundation's conformance suite (release 5.1.43) checks of a provider, module by module: the tests are
//! called as its modules are. What it warns about counts as a failure.

mod ciba;
mod dynamic;
mod fapi2;
mod flows;
mod logouts;
mod requests;

use std::collections::BTreeMap;

use axum::http::{Method, StatusCode};
use jose::{Alg, CompactJws, KeySet, half_hash};
use serde_json::{Value, json};

use super::world::{Agent, Answer, Payload, World, basic, claims};

/// The callback of the suite's clients.
const CALLBACK: &str = "https://suite.example/test/a/p/callback";
const ISSUER: &str = "http://localhost:9400/";

/// A tenant as it is set up for the suite: everything that the plans ask for is switched on.
struct Suite {
    world: World,
}

impl Suite {
    async fn new() -> Self {
        let world = World::new().await;
        let flags = json!({
            "enable_dynamic_client_registration": true, "enable_implicit_flow": true,
            "enable_unsigned_request_objects": true, "enable_unsigned_id_tokens": true,
            "scope_claims_in_userinfo_alone": true,
        });
        world.set_tenant(json!({ "flags": flags })).await;
        let token = world.management_token("").await;
        let found = world.call(&token, "GET", "connections", None).await.json();
        let path = format!("connections/{}", found[0]["id"].as_str().unwrap());
        let open = json!({ "is_domain_connection": true });
        assert_eq!(world.call(&token, "PATCH", &path, Some(open)).await.status, StatusCode::OK);
        Self { world }
    }

    async fn try_to_register(&self, change: Value) -> Answer {
        let mut metadata = json!({
            "client_name": "The suite", "redirect_uris": [CALLBACK], "contacts": ["certification@oidf.org"],
            "response_types": ["code"], "grant_types": ["authorization_code"],
            "token_endpoint_auth_method": "client_secret_basic",
        });
        metadata.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        self.world.agent().send(Method::POST, "/oidc/register", Some(Payload::Json(&metadata))).await
    }

    async fn register(&self, change: Value) -> Party<'_> {
        let made = self.try_to_register(change).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
        assert_eq!(made.header("content-type"), Some("application/json"));
        Party { world: &self.world, registered: made.json() }
    }

    /// A client for a response type, as the suite registers it.
    async fn client_of(&self, response_type: &str) -> Party<'_> {
        let words: Vec<&str> = response_type.split(' ').collect();
        let code = words.contains(&"code").then_some("authorization_code");
        let implicit = (words != ["code"]).then_some("implicit");
        let grants: Vec<&str> = code.into_iter().chain(implicit).collect();
        self.register(json!({ "response_types": [response_type], "grant_types": grants })).await
    }
}

/// A client that the suite has registered.
struct Party<'w> {
    world: &'w World,
    registered: Value,
}

/// The parameters of an authorization response.
type Callback = BTreeMap<String, String>;

impl Party<'_> {
    fn text(&self, name: &str) -> &str {
        self.registered[name].as_str().unwrap_or_else(|| panic!("no {name}: {}", self.registered))
    }

    /// `/authorize` with the suite's parameters; `-` takes one away.
    fn request(&self, response_type: &str, change: &[(&str, &str)]) -> String {
        let mut params = vec![
            ("client_id", self.text("client_id")),
            ("redirect_uri", CALLBACK),
            ("scope", "openid"),
            ("state", "a-state-of-10"),
            ("nonce", "a-nonce-of-10"),
            ("response_type", response_type),
        ];
        for (name, value) in change {
            params.retain(|(known, _)| known != name);
            params.extend((*value != "-").then_some((*name, *value)));
        }
        format!("/authorize?{}", crate::fields::to_query(params.into_iter()))
    }

    /// A whole authorization in a browser, by whatever pages there are.
    async fn authorize(
        &self,
        agent: &mut Agent<'_>,
        response_type: &str,
        change: &[(&str, &str)],
    ) -> Callback {
        let page = agent.open(&self.request(response_type, change)).await;
        through(agent, page).await
    }

    /// A token request with the client's secret.
    async fn token(&self, form: &[(&str, &str)]) -> Answer {
        let mut agent = self.world.agent();
        agent.extra.push(("authorization", basic(self.text("client_id"), self.text("client_secret"))));
        agent.post("/oauth/token", form).await
    }

    async fn redeem(&self, code: &str) -> Answer {
        self.token(&[("grant_type", "authorization_code"), ("code", code), ("redirect_uri", CALLBACK)]).await
    }

    /// The tokens of a code, as the suite looks at them.
    async fn tokens(&self, code: &str) -> Value {
        let answer = self.redeem(code).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("pragma"), Some("no-cache"));
        let tokens = answer.json();
        assert_eq!(tokens["token_type"], "Bearer");
        assert!(tokens["expires_in"].as_i64().unwrap() > 0 && tokens["access_token"].is_string());
        tokens
    }

    async fn userinfo(&self, token: &str) -> Answer {
        userinfo(self.world, token).await
    }

    /// An ID token's claims: signed by the key that it names, for this client, now.
    async fn id_token(&self, token: &str, alg: Alg) -> Value {
        let keys = self.world.agent().get("/.well-known/jwks.json").await.body;
        let jws = CompactJws::parse(token).unwrap();
        let kid = jws.header().kid.clone();
        assert!(kid.is_some_and(|kid| keys.contains(&*kid)), "the key is named and published");
        KeySet::parse(keys.as_bytes()).unwrap().verify(&jws, &[alg]).unwrap();
        let said = claims(token);
        let now = self.world.clock.now().secs();
        assert_eq!((&said["iss"], &said["aud"]), (&json!(ISSUER), &json!(self.text("client_id"))));
        assert!(said["exp"].as_i64().unwrap() > now && said["iat"].as_i64().unwrap() <= now);
        assert!(said["sub"].as_str().is_some_and(|sub| (1..=255).contains(&sub.len()) && sub.is_ascii()));
        said
    }

    /// Everything that an authorization gave is what it should be; the subject.
    async fn check(&self, back: &Callback, response_type: &str) -> String {
        assert_eq!(back.get("error"), None, "{response_type}: {back:?}");
        assert_eq!(back["state"], "a-state-of-10");
        assert_eq!(back["iss"], ISSUER);
        let mut subjects = Vec::new();
        if let Some(id_token) = back.get("id_token") {
            let said = self.id_token(id_token, Alg::RS256).await;
            assert_eq!(said["nonce"], "a-nonce-of-10");
            for (name, hashed) in [("c_hash", "code"), ("at_hash", "access_token")] {
                let expected = back.get(hashed).map(|value| json!(half_hash(Alg::RS256, value)));
                assert_eq!(said.get(name).cloned(), expected, "{response_type}: {name}");
            }
            subjects.push(said["sub"].clone());
        }
        if let Some(token) = back.get("access_token") {
            assert_eq!((back["token_type"].as_str(), back.contains_key("expires_in")), ("Bearer", true));
            subjects.push(self.userinfo(token).await.json()["sub"].clone());
        }
        if let Some(code) = back.get("code") {
            let tokens = self.tokens(code).await;
            let said = self.id_token(tokens["id_token"].as_str().unwrap(), Alg::RS256).await;
            assert_eq!(said["nonce"], "a-nonce-of-10");
            subjects.push(said["sub"].clone());
            let answer = self.userinfo(tokens["access_token"].as_str().unwrap()).await;
            assert_eq!(answer.header("content-type"), Some("application/json"));
            subjects.push(answer.json()["sub"].clone());
        }
        subjects.dedup();
        assert_eq!(subjects.len(), 1, "{response_type}: {subjects:?}");
        subjects[0].as_str().unwrap().to_owned()
    }

    /// What the suite does in the end.
    async fn unregister(&self) {
        let mut agent = self.manager();
        let answer = agent.send(Method::DELETE, &self.place(), None).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT);
    }

    fn manager(&self) -> Agent<'_> {
        let mut agent = self.world.agent();
        agent.extra.push(("authorization", format!("Bearer {}", self.text("registration_access_token"))));
        agent
    }

    fn place(&self) -> String {
        self.text("registration_client_uri").strip_prefix("http://localhost:9400").unwrap().to_owned()
    }
}

/// Goes through login and consent to the callback, or to a page that is neither: then there are no parameters.
async fn through(agent: &mut Agent<'_>, mut page: Answer) -> Callback {
    for _ in 0..4 {
        if page.has_id("login-title") {
            page = agent.log_in(&page).await;
        } else if page.has_id("allow") {
            let next = agent.submit(&page, &[("action", "accept")]).await;
            page = agent.follow(next).await;
        }
    }
    callback(&page)
}

/// The parameters of an answer by redirect or by form.
fn callback(answer: &Answer) -> Callback {
    if let Some(location) = answer.location() {
        let params = location.split_once(['?', '#']).map_or("", |(_, params)| params);
        let params = oauth::form::parse(params.as_bytes()).unwrap().into_owned();
        return params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    }
    let field = |input: &str| {
        let attribute = |name: &str| {
            input.split_once(&format!("{name}=\"")).unwrap().1.split('"').next().unwrap().to_owned()
        };
        (attribute("name"), attribute("value"))
    };
    match answer.has_id("form-post") {
        true => answer.body.split("<input type=\"hidden\" ").skip(1).map(field).collect(),
        false => Callback::new(),
    }
}

async fn userinfo(world: &World, token: &str) -> Answer {
    let mut agent = world.agent();
    agent.extra.push(("authorization", format!("Bearer {token}")));
    agent.get("/userinfo").await
}

/// An error response as RFC 6749 section 5.2 has it, with one of these codes.
#[track_caller]
fn is_error(answer: &Answer, codes: &[&str]) {
    let body = answer.json();
    let code = body["error"].as_str().unwrap_or_default();
    assert!(codes.contains(&code), "{codes:?}: {}", answer.body);
    let expected = if code == "invalid_client" { [400, 401] } else { [400, 400] };
    assert!(expected.contains(&answer.status.as_u16()), "{} {}", answer.status, answer.body);
    assert!(answer.header("content-type").is_some_and(|kind| kind.starts_with("application/json")));
    let allowed = |byte: u8| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    assert!(body["error_description"].as_str().unwrap_or_default().bytes().all(allowed));
    let unexpected = body.as_object().unwrap().keys().find(|name| !name.starts_with("error"));
    assert_eq!(unexpected, None);
}

/// The same of an authorization response.
#[track_caller]
fn is_refusal(back: &Callback, codes: &[&str]) {
    let code = back.get("error").map(String::as_str).unwrap_or_default();
    assert!(codes.contains(&code), "{codes:?}: {back:?}");
    let known = ["error", "error_description", "error_uri", "state", "iss"];
    assert!(back.keys().all(|name| known.contains(&name.as_str())), "{back:?}");
}
