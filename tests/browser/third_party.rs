//! An application of somebody else asks for consent.

use serde_json::{Value, json};

use super::visit::Visit;
use crate::support::unique;

/// RFC 7636 appendix B.
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

impl Visit {
    /// Makes a third party's application, which everybody may log in to; where its login begins, and where it ends.
    async fn third_party(&self) -> (String, String) {
        let back = format!("http://localhost:{}/anything/third-party", self.gate.port(9480));
        let client = json!({
            "name": unique("Somebody else's "),
            "app_type": "regular_web",
            "is_first_party": false,
            "callbacks": [&back],
            "oidc_conformant": true,
        });
        let client = self.manage("POST", "clients", &client).await.json();
        let connections =
            self.manage("GET", "connections?name=Username-Password-Authentication", &Value::Null).await;
        let connection = format!("connections/{}", connections.json()[0]["id"].as_str().unwrap());
        self.manage("PATCH", &connection, &json!({"is_domain_connection": true})).await;
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("client_id", client["client_id"].as_str().unwrap())
            .append_pair("response_type", "code")
            .append_pair("scope", "openid profile")
            .append_pair("state", "st-1")
            .append_pair("code_challenge", CHALLENGE)
            .append_pair("code_challenge_method", "S256")
            .append_pair("redirect_uri", &back)
            .finish();
        (format!("{}authorize?{query}", self.gate.variable("ISSUER")), back)
    }
}

#[tokio::test]
async fn a_third_party_gets_a_code_when_the_user_allows_it() {
    let visit = Visit::start().await;
    let (login, back) = visit.third_party().await;
    visit.browser.open(&login);
    visit.log_in_well();
    visit.browser.text("#deny");
    visit.browser.click("#allow");
    let echo = visit.browser.json();
    assert!(visit.browser.url().starts_with(&back));
    assert!(echo["args"]["code"].is_string() && echo["args"]["state"] == "st-1", "{echo:#}");
    visit.browser.expect_calm();
}

#[tokio::test]
async fn a_third_party_gets_an_error_when_the_user_denies_it() {
    let visit = Visit::start().await;
    let (login, back) = visit.third_party().await;
    visit.browser.open(&login);
    visit.log_in_well();
    visit.browser.click("#deny");
    let echo = visit.browser.json();
    assert!(visit.browser.url().starts_with(&back));
    assert_eq!((&echo["args"]["error"], &echo["args"]["state"]), (&json!("access_denied"), &json!("st-1")));
    assert!(echo["args"]["code"].is_null());
    visit.browser.expect_calm();
}
