//! Log in, sign up, log out.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::visit::Visit;
use crate::support::unique;

/// What a header made by the gateway says.
fn decoded(header: &Value) -> Value {
    serde_json::from_slice(&STANDARD.decode(header.as_str().unwrap()).unwrap()).unwrap()
}

#[tokio::test]
async fn a_login_leads_back_to_the_page_first_asked_for() {
    let visit = Visit::start().await;
    visit.open_login("/anything/test?x=1&y=%20z");
    visit.log_in_well();
    let echo = visit.expect_echo("/anything/test?x=1&y=%20z");
    assert_eq!(echo["args"], serde_json::json!({"x": "1", "y": " z"}));
    let userinfo = decoded(&echo["headers"]["X-Userinfo"]);
    assert_eq!(userinfo["email"], visit.gate.variable("DEMO_USER").as_str());
    assert_eq!(decoded(&echo["headers"]["X-Id-Token"])["sub"], userinfo["sub"]);
    let cookies = echo["headers"]["Cookie"].as_str().unwrap_or_default();
    assert!(!cookies.contains("session"), "the session went upstream: {cookies}");
    assert!(!visit.browser.readable_cookies().contains("session"));
    // The session is there to stay.
    visit.browser.open(&visit.at("/anything/again"));
    visit.expect_echo("/anything/again");
    visit.browser.expect_calm();
}

#[tokio::test]
async fn a_wrong_password_is_told_and_can_be_corrected() {
    let visit = Visit::start().await;
    visit.open_login("/anything/wrong");
    visit.log_in("not the password");
    assert!(!visit.browser.text("[role=alert]").is_empty());
    visit.browser.text("#login-title");
    visit.log_in_well();
    visit.expect_echo("/anything/wrong");
    visit.browser.expect_calm();
}

#[tokio::test]
async fn a_new_user_signs_up_and_is_logged_in() {
    let visit = Visit::start().await;
    let (email, password) = (format!("{}@example.com", unique("new-")), unique("Long-enough-1-"));
    visit.open_login("/anything/welcome");
    visit.browser.click("#signup-link");
    visit.browser.fill("#email", &email);
    visit.browser.fill("#password", &password);
    visit.browser.click("#submit-signup");
    let echo = visit.expect_echo("/anything/welcome");
    assert_eq!(decoded(&echo["headers"]["X-Userinfo"])["email"], email.as_str());
    visit.browser.expect_calm();
}

#[tokio::test]
async fn after_logout_the_next_visit_asks_again() {
    let visit = Visit::start().await;
    visit.open_login("/anything/inside");
    visit.log_in_well();
    visit.expect_echo("/anything/inside");
    visit.browser.open(&visit.at("/anything/logout"));
    // Nothing is served there; it is where the demo application may send people after a logout.
    assert_eq!(visit.browser.json()["error_msg"], "404 Route Not Found");
    assert_eq!(visit.browser.url(), visit.at("/"));
    visit.open_login("/anything/inside");
    visit.log_in_well();
    visit.expect_echo("/anything/inside");
    visit.browser.expect_calm();
}

#[tokio::test]
async fn two_tabs_that_log_in_at_once_are_both_logged_in() {
    let visit = Visit::start().await;
    let first = visit.browser.tab();
    visit.open_login("/anything/one");
    let second = visit.browser.new_tab();
    visit.open_login("/anything/two");
    visit.browser.go_to(&first);
    visit.log_in_well();
    visit.expect_echo("/anything/one");
    visit.browser.go_to(&second);
    visit.log_in_well();
    visit.expect_echo("/anything/two");
    visit.browser.expect_calm();
}
