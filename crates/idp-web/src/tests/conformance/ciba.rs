//! The plan fapi-ciba-id1, for clients with assertions.

use std::time::Duration;

use axum::http::StatusCode;
use idp::model::Client;
use jose::{Alg, CompactJws, SigningKey};
use serde_json::{Value, json};

use super::{ISSUER, is_error};
use crate::tests::world::{Answer, World, claims, signed};

const GRANT: &str = "urn:openid:params:grant-type:ciba";
const HOOK: &str = "https://suite.example/test/a/p/ciba-notification-endpoint";

struct Bank {
    client: Client,
    key: SigningKey,
}

impl Bank {
    async fn new(world: &World, change: Value) -> Self {
        let key = SigningKey::generate(Alg::PS256, "k".to_owned()).unwrap();
        let mut body = json!({
            "app_type": "regular_web", "grant_types": [GRANT, "refresh_token"],
            "token_endpoint_auth_method": "private_key_jwt", "token_endpoint_auth_signing_alg": "PS256",
            "backchannel_authentication_request_signing_alg": "PS256",
            "jwt_configuration": { "alg": "PS256" }, "jwks": { "keys": [key.public_jwk()] },
        });
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        Self { client: world.client(body).await, key }
    }

    fn id(&self) -> &str {
        &self.client.client_id
    }

    /// A form with the client's assertion.
    async fn post(
        &self,
        world: &World,
        path: &str,
        form: &[(&str, &str)],
        key: Option<&SigningKey>,
    ) -> Answer {
        let (now, id) = (world.clock.now().secs(), self.id());
        let claims =
            json!({ "iss": id, "sub": id, "aud": ISSUER, "jti": unique(), "iat": now, "exp": now + 60 });
        let assertion = signed(key.unwrap_or(&self.key), json!({}), &claims);
        let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        let proof = [("client_assertion_type", kind), ("client_assertion", assertion.as_str())];
        world.agent().post(path, &[form, &proof].concat()).await
    }

    /// A signed request with `change` laid over a good one (a null takes a claim away).
    fn request(&self, world: &World, change: &Value) -> Value {
        let now = world.clock.now().secs();
        let mut request = json!({
            "iss": self.id(), "aud": ISSUER, "iat": now, "nbf": now, "exp": now + 300, "jti": unique(),
            "scope": "openid", "login_hint": world.seeded.user, "client_notification_token": "a-token",
            "binding_message": "1234",
        });
        for (name, value) in change.as_object().into_iter().flatten() {
            match value {
                Value::Null => drop(request.as_object_mut().unwrap().shift_remove(name)),
                value => request[name] = value.clone(),
            }
        }
        request
    }

    async fn begin(&self, world: &World, change: &Value) -> Answer {
        let request = signed(&self.key, json!({}), &self.request(world, change));
        self.post(world, "/bc-authorize", &[("request", &request)], None).await
    }

    async fn begun(&self, world: &World, change: &Value) -> String {
        let answer = self.begin(world, change).await;
        assert_eq!(answer.status, StatusCode::OK, "{change}: {}", answer.body);
        let begun = answer.json();
        assert!(begun["expires_in"].as_i64().unwrap() > 0 && begun["interval"].as_i64().unwrap() > 0);
        begun["auth_req_id"].as_str().unwrap().to_owned()
    }

    async fn poll(&self, world: &World, id: &str) -> Answer {
        self.post(world, "/oauth/token", &[("grant_type", GRANT), ("auth_req_id", id)], None).await
    }
}

fn unique() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("ciba-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

async fn decide(world: &World, id: &str, action: &str) {
    let answer = world.agent().get(&format!("/dev/ciba?auth_req_id={id}&action={action}")).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.body);
}

#[tokio::test]
async fn fapi_ciba_id1_flow_multiple_calls_and_refresh_by_poll_and_by_ping() {
    let world = World::new().await;
    let ping = json!({
        "backchannel_token_delivery_mode": "ping", "backchannel_client_notification_endpoint": HOOK,
    });
    for change in [json!({}), ping] {
        let bank = Bank::new(&world, change.clone()).await;
        // -ensure-other-scope-order, -with-potentially-bad-binding-message: good ones here.
        for wish in
            [json!({}), json!({ "scope": "offline_access openid" }), json!({ "requested_expiry": 30 })]
        {
            let id = bank.begun(&world, &wish).await;
            // -multiple-call-to-token-endpoint.
            is_error(&bank.poll(&world, &id).await, &["authorization_pending"]);
            is_error(&bank.poll(&world, &id).await, &["slow_down"]);
            decide(&world, &id, "allow").await;
            if change != json!({}) {
                let told = world.network.told().await;
                assert_eq!((told.0.as_str(), told.1["authorization"].as_str()), (HOOK, "Bearer a-token"));
                assert_eq!(serde_json::from_slice::<Value>(&told.2).unwrap(), json!({ "auth_req_id": id }));
            }
            world.clock.advance(Duration::from_secs(20));
            let answer = bank.poll(&world, &id).await;
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
            let tokens = answer.json();
            let id_token = tokens["id_token"].as_str().unwrap();
            assert_eq!(CompactJws::parse(id_token).unwrap().alg().unwrap(), Alg::PS256);
            let said = claims(id_token);
            assert_eq!((&said["iss"], &said["aud"]), (&json!(ISSUER), &json!(bank.id())));
            // -refresh-token.
            if let Some(refresh) = tokens["refresh_token"].as_str() {
                let form = [("grant_type", "refresh_token"), ("refresh_token", refresh)];
                let again = bank.post(&world, "/oauth/token", &form, None).await;
                assert_eq!(again.status, StatusCode::OK, "{}", again.body);
                assert_eq!(claims(again.json()["id_token"].as_str().unwrap())["sub"], said["sub"]);
            } else {
                assert!(wish.get("scope").is_none());
            }
            is_error(&bank.poll(&world, &id).await, &["invalid_grant"]);
        }
    }
}

#[tokio::test]
async fn fapi_ciba_id1_user_rejects_expiry_wrong_id_and_other_client() {
    let world = World::new().await;
    let (bank, other) = (Bank::new(&world, json!({})).await, Bank::new(&world, json!({})).await);
    // -user-rejects-authentication.
    let id = bank.begun(&world, &json!({})).await;
    decide(&world, &id, "deny").await;
    is_error(&bank.poll(&world, &id).await, &["access_denied"]);
    // -auth-req-id-expired; -with-requested-expiry: a number and its text are the same.
    for expiry in [json!(30), json!("30")] {
        let answer = bank.begin(&world, &json!({ "requested_expiry": expiry })).await;
        assert_eq!(answer.json()["expires_in"], 30, "{}", answer.body);
        let id = answer.json()["auth_req_id"].as_str().unwrap().to_owned();
        world.clock.advance(Duration::from_secs(31));
        is_error(&bank.poll(&world, &id).await, &["expired_token"]);
    }
    // -ensure-wrong-auth-req-id-in-token-endpoint-request, -with-wrong-client.
    let id = bank.begun(&world, &json!({})).await;
    is_error(&bank.poll(&world, &format!("{id}x")).await, &["invalid_grant"]);
    is_error(&other.poll(&world, &id).await, &["invalid_grant"]);
    // -ensure-client-assertion-in-token-endpoint, -signature-algorithm-RS256-fails.
    let form = [("grant_type", GRANT), ("auth_req_id", id.as_str()), ("client_id", bank.id())];
    is_error(&world.agent().post("/oauth/token", &form).await, &["invalid_client", "invalid_request"]);
    let weak = SigningKey::generate(Alg::RS256, "k".to_owned()).unwrap();
    is_error(&bank.post(&world, "/oauth/token", &form[..2], Some(&weak)).await, &["invalid_client"]);
    let request = signed(&bank.key, json!({}), &bank.request(&world, &json!({})));
    let answer = bank.post(&world, "/bc-authorize", &[("request", &request)], Some(&weak)).await;
    is_error(&answer, &["invalid_client"]);
}

#[tokio::test]
async fn fapi_ciba_id1_request_objects_are_judged_claim_by_claim() {
    let world = World::new().await;
    let (bank, other) = (Bank::new(&world, json!({})).await, Bank::new(&world, json!({})).await);
    let now = world.clock.now().secs();
    for change in [
        // -ensure-request-object-missing-aud, -iss, -exp, -iat, -nbf and -jti-fails.
        json!({ "aud": null }),
        json!({ "iss": null }),
        json!({ "exp": null }),
        json!({ "iat": null }),
        json!({ "nbf": null }),
        json!({ "jti": null }),
        // -bad-aud, -bad-iss, -expired-exp, -exp-is-70-minutes-in-future, -iat-is-week-in-past, -nbf-…-fails.
        json!({ "aud": "https://other.example/" }),
        json!({ "iss": other.id() }),
        json!({ "exp": now - 300 }),
        json!({ "exp": now + 70 * 60 }),
        json!({ "iat": now - 7 * 86_400 }),
        json!({ "nbf": now + 600 }),
        json!({ "nbf": now - 70 * 60 }),
        // -ensure-authorization-request-with-multiple-hints-fails.
        json!({ "id_token_hint": "x" }),
        json!({ "login_hint": null }),
    ] {
        is_error(&bank.begin(&world, &change).await, &["invalid_request", "invalid_request_object"]);
    }
    let codes = ["invalid_request", "invalid_request_object"];
    let request = bank.request(&world, &json!({}));
    let weak = SigningKey::generate(Alg::RS256, "k".to_owned()).unwrap();
    // -signature-algorithm-is-not-none, -bad, -RS256; -signed-by-another-client.
    let encode = |value: &Value| {
        use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
        URL_SAFE_NO_PAD.encode(value.to_string())
    };
    let good = signed(&bank.key, json!({}), &request);
    for object in [
        format!("{}.{}.", encode(&json!({ "alg": "none" })), encode(&request)),
        format!("{}.AAAA", good.rsplit_once('.').unwrap().0),
        signed(&weak, json!({}), &request),
        signed(&other.key, json!({}), &request),
    ] {
        is_error(&bank.post(&world, "/bc-authorize", &[("request", &object)], None).await, &codes);
    }
    // -ensure-unsigned-request-fails.
    let user = world.seeded.user.clone();
    let form = [("scope", "openid"), ("login_hint", user.as_str())];
    is_error(&bank.post(&world, "/bc-authorize", &form, None).await, &codes);
    // -with-potentially-bad-binding-message: told so by its own code.
    let odd = json!({ "binding_message": "1234 \u{1F44D}\u{1F3FF} \u{1F44D}\u{1F3FE} x".repeat(10) });
    is_error(&bank.begin(&world, &odd).await, &["invalid_binding_message"]);
}

#[tokio::test]
async fn fapi_ciba_id1_acr_values_are_told_in_the_id_token_or_refused_before_anybody_is_asked() {
    let world = World::new().await;
    let bank = Bank::new(&world, json!({})).await;
    for (wish, acr) in [(json!({ "acr_values": "urn:other 1" }), json!("1")), (json!({}), Value::Null)] {
        let id = bank.begun(&world, &wish).await;
        decide(&world, &id, "allow").await;
        let tokens = bank.poll(&world, &id).await.json();
        assert_eq!(claims(tokens["id_token"].as_str().unwrap())["acr"], acr, "{wish}");
    }
    let factor = "http://schemas.openid.net/pape/policies/2007/06/multi-factor";
    let refused = bank.begin(&world, &json!({ "acr_values": factor })).await;
    is_error(&refused, &["unmet_authentication_requirements"]);
    // The scopes of an identity are the same as at the authorization endpoint.
    let id = bank.begun(&world, &json!({ "scope": "openid phone address" })).await;
    decide(&world, &id, "allow").await;
    let tokens = bank.poll(&world, &id).await.json();
    assert_eq!(tokens.get("scope").cloned().unwrap_or(json!("openid phone address")), "openid phone address");
}

#[tokio::test]
async fn fapi_ciba_id1_clients_register_themselves_for_poll_and_for_ping() {
    let suite = super::Suite::new().await;
    let key = SigningKey::generate(Alg::PS256, "k".to_owned()).unwrap();
    let metadata = json!({
        "grant_types": [GRANT], "response_types": [], "redirect_uris": null, "jwks": { "keys": [key.public_jwk()] },
        "backchannel_user_code_parameter": false, "backchannel_token_delivery_mode": "poll",
        "backchannel_authentication_request_signing_alg": "PS256", "id_token_signed_response_alg": "PS256",
        "token_endpoint_auth_method": "private_key_jwt", "token_endpoint_auth_signing_alg": "PS256",
        "tls_client_certificate_bound_access_tokens": true,
    });
    let mut ping = metadata.clone();
    ping["backchannel_token_delivery_mode"] = json!("ping");
    ping["backchannel_client_notification_endpoint"] = json!(HOOK);
    let mut mtls = metadata.clone();
    mtls["token_endpoint_auth_method"] = json!("self_signed_tls_client_auth");
    mtls.as_object_mut().unwrap().shift_remove("token_endpoint_auth_signing_alg");
    for metadata in [metadata, ping, mtls] {
        let party = suite.register(metadata.clone()).await;
        for name in [
            "grant_types",
            "response_types",
            "backchannel_token_delivery_mode",
            "backchannel_client_notification_endpoint",
            "backchannel_authentication_request_signing_alg",
            "id_token_signed_response_alg",
            "token_endpoint_auth_method",
            "tls_client_certificate_bound_access_tokens",
        ] {
            assert_eq!(party.registered.get(name), metadata.get(name), "{name}: {}", party.registered);
        }
    }
}
