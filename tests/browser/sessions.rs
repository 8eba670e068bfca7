//! What an application's page learns of a logout through the browser: by a frame that it asks, and by one that tells it.

use serde_json::{Value, json};

use super::visit::Visit;
use crate::support::{Answer, Upstream, unique};

/// RFC 7636 appendix B.
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// The callback: it frames the provider's page and asks it whether the session is still the one it was told of. Every
/// answer is shown.
const PAGE: &str = r#"<!doctype html>
<title>An application</title>
<link rel="icon" href="data:,">
<button id="ask">Is it?</button>
<div id="answers"></div>
<iframe id="provider" src="FRAME"></iframe>
<script>
const frame = document.getElementById('provider')
const state = new URLSearchParams(location.search).get('session_state')
const ask = (text) => frame.contentWindow.postMessage(text, 'ORIGIN')
let answers = 0
addEventListener('message', (event) => {
  if (event.origin !== 'ORIGIN') return
  const line = document.createElement('pre')
  line.id = `answer-${++answers}`
  line.textContent = event.data
  document.getElementById('answers').append(line)
  if (answers === 1) ask('nonsense')
})
document.getElementById('ask').addEventListener('click', () => ask(`CLIENT ${state}`))
frame.addEventListener('load', () => ask(`CLIENT ${state}`))
</script>
"#;

#[tokio::test]
async fn an_application_learns_of_a_logout_by_its_frames() {
    let visit = Visit::start().await;
    let upstream = Upstream::start();
    let origin = format!("http://localhost:{}", upstream.port());
    let [callback, front, out] = ["callback", "front", "out"].map(|path| format!("{origin}/{path}"));
    let client = json!({
        "name": unique("A page "), "app_type": "regular_web", "oidc_conformant": true, "callbacks": [callback],
        "allowed_logout_urls": [out], "frontchannel_logout_uri": front,
        "frontchannel_logout_session_required": true,
    });
    let client = visit.manage("POST", "clients", &client).await.json();
    let client = client["client_id"].as_str().unwrap().to_owned();
    let found = visit.manage("GET", "connections?name=Username-Password-Authentication", &Value::Null).await;
    let path = format!("connections/{}/clients", found.json()[0]["id"].as_str().unwrap());
    visit.manage("PATCH", &path, &json!([{"client_id": client, "status": true}])).await;
    let issuer = visit.gate.variable("ISSUER");
    let page = PAGE
        .replace("FRAME", &format!("{issuer}oidc/check-session"))
        .replace("ORIGIN", issuer.trim_end_matches('/'))
        .replace("CLIENT", &client);
    upstream.script(move |seen| match seen.path() {
        "/callback" => Answer::with(200, &[("Content-Type", "text/html")], &page),
        "/front" => Answer::with(200, &[("Content-Type", "text/html")], "<!doctype html><title>Out</title>"),
        "/out" => {
            Answer::with(200, &[("Content-Type", "text/html")], "<!doctype html><h1 id=\"out\">Out</h1>")
        }
        _ => Answer::with(404, &[], ""),
    });
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("client_id", &client)
        .append_pair("response_type", "code")
        .append_pair("scope", "openid")
        .append_pair("code_challenge", CHALLENGE)
        .append_pair("code_challenge_method", "S256")
        .append_pair("redirect_uri", &callback)
        .finish();
    visit.browser.open(&format!("{issuer}authorize?{query}"));
    visit.log_in_well();
    assert_eq!(visit.browser.text("#answer-1"), "unchanged");
    assert_eq!(visit.browser.text("#answer-2"), "error");
    let application = visit.browser.tab();
    visit.browser.new_tab();
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("client_id", &client)
        .append_pair("post_logout_redirect_uri", &out)
        .finish();
    visit.browser.open(&format!("{issuer}oidc/logout?{query}"));
    visit.browser.click("#confirm-logout");
    assert_eq!(visit.browser.text("#out"), "Out");
    // The frame was there before the browser went on.
    let told: Vec<String> = upstream.seen_with("/front").into_iter().map(|seen| seen.target).collect();
    let [told] = told.as_slice() else { panic!("{told:?}") };
    let told: Vec<(String, String)> =
        form_urlencoded::parse(told.split_once('?').unwrap().1.as_bytes()).into_owned().collect();
    assert_eq!(told[0], ("iss".to_owned(), issuer.clone()));
    assert!(told[1].0 == "sid" && told[1].1.len() == 32, "{told:?}");
    visit.browser.go_to(&application);
    visit.browser.click("#ask");
    assert_eq!(visit.browser.text("#answer-3"), "changed");
    visit.browser.expect_calm();
}
