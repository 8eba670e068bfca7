//! What clients learn of a logout through the browser: frames that tell them, and a frame that they ask.

use axum::http::{Method, StatusCode};
use jose::CompactJws;
use serde_json::{Value, json};

use super::world::{Agent, Answer, HTTPS, Payload, World, claims};

const FRAME: &str = "http://localhost:9080/front?keep=1";
const RETURN: &str = "http://localhost:9080/";

fn sha256(text: &str) -> String {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn logged_in<'w>(world: &'w World, agent: &mut Agent<'w>) -> Answer {
    let page = agent.open(&world.authorize(&[])).await;
    agent.log_in(&page).await
}

fn logout(params: &[(&str, &str)]) -> String {
    format!("/oidc/logout?{}", crate::fields::to_query(params.iter().copied()))
}

#[tokio::test]
async fn the_session_state_fits_the_cookie_as_long_as_the_session_lives() {
    let world = World::new().await;
    let mut agent = world.agent();
    let back = logged_in(&world, &mut agent).await;
    // What the script at check_session_iframe computes (Session Management section 3.2).
    let unchanged = |agent: &Agent<'_>, session_state: &str| {
        let salt = session_state.split_once('.').unwrap().1;
        let state = agent.cookies.get("pc_idp_state").map_or("", String::as_str);
        let text = format!("{} http://localhost:9080 {state} {salt}", world.seeded.client_id);
        format!("{}.{salt}", sha256(&text)) == session_state
    };
    let first = back.param("session_state").unwrap();
    assert!(!first.contains(' ') && unchanged(&agent, &first), "{first}");
    assert_ne!(agent.cookies["pc_idp_state"], agent.cookies["pc_idp"]);
    let silent = world.authorize(&[("prompt", "none")]);
    let second = agent.get(&silent).await.param("session_state").unwrap();
    assert!(second != first && unchanged(&agent, &second) && unchanged(&agent, &first));
    // A browser that lost it gets it back, and another login of the same user changes nothing.
    agent.cookies.remove("pc_idp_state");
    assert!(!unchanged(&agent, &first));
    agent.get(&silent).await;
    assert!(unchanged(&agent, &first));
    let page = agent.open(&world.authorize(&[("prompt", "login")])).await;
    let third = agent.log_in(&page).await.param("session_state").unwrap();
    assert!(unchanged(&agent, &third) && unchanged(&agent, &first));
    let page = agent.get("/oidc/logout").await;
    agent.submit(&page, &[]).await;
    assert!(!unchanged(&agent, &third) && !agent.cookies.contains_key("pc_idp_state"));
    // Without openid there is no session to tell of; a JWT has it among its claims.
    let page = agent.open(&world.authorize(&[("scope", "profile")])).await;
    assert!(agent.log_in(&page).await.param("session_state").is_none());
    let signed = agent.get(&world.authorize(&[("prompt", "none"), ("response_mode", "jwt")])).await;
    assert!(claims(&signed.param("response").unwrap())["session_state"].is_string());
    let refused = world.agent().get(&silent).await;
    assert!(refused.param("error").is_some() && refused.param("session_state").is_none());
}

#[tokio::test]
async fn o18_any_page_may_frame_the_one_that_clients_ask_and_its_script_is_ours() {
    let world = World::new().await;
    let mut agent = world.agent();
    for (host, cookie) in [("localhost:9400", "pc_idp_state"), (HTTPS, "__Host-pc_idp_state")] {
        agent.host = host;
        let discovery = agent.get("/.well-known/openid-configuration").await.json();
        let url = discovery["check_session_iframe"].as_str().unwrap().to_owned();
        let page = agent.get(&url[url.find("/oidc/").unwrap()..]).await;
        assert_eq!((page.status, page.header("x-frame-options")), (StatusCode::OK, None));
        let policy = page.header("content-security-policy").unwrap();
        assert_eq!(policy, "default-src 'none'; script-src 'self'; base-uri 'none'");
        assert!(page.body.contains(&format!("data-cookie=\"{cookie}\"")), "{}", page.body);
    }
    let script = agent.get("/u/check-session.js").await;
    assert_eq!(script.header("content-type"), Some("text/javascript; charset=utf-8"));
}

#[tokio::test]
async fn frames_of_the_logout_page_tell_every_client_of_the_session() {
    let world = World::new().await;
    world.set_client(json!({ "frontchannel_logout_uri": FRAME })).await;
    let other = json!({
        "frontchannel_logout_uri": "https://other.example/a;b,c", "callbacks": ["https://other.example/cb"],
        "frontchannel_logout_session_required": true,
    });
    let other = world.client(other).await;
    let mut agent = world.agent();
    let code = agent.code(&[]).await;
    let id_token = world.redeem(&code).await.json()["id_token"].as_str().unwrap().to_owned();
    let sid = claims(&id_token)["sid"].as_str().unwrap().to_owned();
    let query = [("client_id", other.client_id.as_str()), ("redirect_uri", "https://other.example/cb")];
    agent.code(&query).await;
    let query = [("id_token_hint", id_token.as_str()), ("post_logout_redirect_uri", RETURN), ("state", "s")];
    let page = agent.get(&logout(&query)).await;
    assert_eq!(page.status, StatusCode::OK, "{page:?}");
    assert!(page.has_id("logged-out") && !agent.cookies.contains_key("pc_idp"));
    let asked = format!("iss=http%3A%2F%2Flocalhost%3A9400%2F&amp;sid={sid}\"");
    let asked = asked.replace("&amp;", page.between("localhost%3A9400%2F", "sid=").unwrap());
    for start in ["http://localhost:9080/front?keep=1", "https://other.example/a;b,c?"] {
        assert!(page.body.contains(start), "{}", page.body);
    }
    assert_eq!(page.body.matches(&asked).count(), 2, "{}", page.body);
    // Exactly these, and nothing that could take the page away.
    let policy = page.header("content-security-policy").unwrap();
    let sources = policy.split("frame-src ").nth(1).unwrap().split(' ').collect::<Vec<_>>();
    let mut expected = ["http://localhost:9080/front", "https://other.example/a%3Bb%2Cc"];
    expected.sort_unstable();
    let mut found = sources.clone();
    found.sort_unstable();
    assert_eq!(found, expected, "{policy}");
    assert!(page.body.contains("sandbox=\"allow-same-origin allow-scripts\""));
    assert!(page.body.contains("href=\"http://localhost:9080/?state=s\""), "{}", page.body);
    // Nobody is told twice, and a session without such clients needs no page.
    let again = agent.get(&logout(&query)).await;
    assert_eq!(again.location().as_deref(), Some("http://localhost:9080/?state=s"));
}

#[tokio::test]
async fn a_client_of_the_implicit_flow_is_told_too() {
    let world = World::new().await;
    world.set_tenant(json!({ "flags": { "enable_implicit_flow": true } })).await;
    let grants = ["authorization_code", "implicit", "client_credentials"];
    world.set_client(json!({ "frontchannel_logout_uri": FRAME, "grant_types": grants })).await;
    let mut agent = world.agent();
    let page = agent.open(&world.authorize(&[("response_type", "id_token")])).await;
    let id_token = agent.log_in(&page).await.param("id_token").unwrap();
    assert!(CompactJws::parse(&id_token).is_ok());
    let page = agent.get(&logout(&[("id_token_hint", &id_token)])).await;
    assert!(page.has_id("logged-out") && !page.has_id("continue"), "{page:?}");
    assert!(page.body.contains("<iframe hidden"), "{page:?}");
    let v2 = world.client(json!({ "frontchannel_logout_uri": FRAME, "allowed_logout_urls": [RETURN] })).await;
    agent.code(&[("client_id", &v2.client_id)]).await;
    let query = [("client_id", v2.client_id.as_str()), ("returnTo", RETURN)];
    let page = agent.get(&format!("/v2/logout?{}", crate::fields::to_query(query.into_iter()))).await;
    assert!(page.body.contains("<iframe hidden") && page.has_id("continue"), "{page:?}");
}

#[tokio::test]
async fn o44_where_a_client_is_told_is_on_its_own_origin() {
    let world = World::new().await;
    let token = world.management_token("").await;
    let path = format!("clients/{}", world.seeded.client_id);
    for bad in ["https://other.example/front", "http://localhost:9081/front", "javascript:alert(1)", "x"] {
        let body = Some(json!({ "frontchannel_logout_uri": bad }));
        let refused = world.call(&token, "PATCH", &path, body).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{bad}: {}", refused.body);
    }
    world.set_tenant(json!({ "flags": { "enable_dynamic_client_registration": true } })).await;
    let register = async |change: Value| {
        let mut body = json!({ "redirect_uris": ["https://a.example/cb"] });
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        world.agent().send(Method::POST, "/oidc/register", Some(Payload::Json(&body))).await
    };
    let wish = json!({
        "frontchannel_logout_uri": "https://a.example/front", "frontchannel_logout_session_required": true,
        "backchannel_logout_uri": "https://a.example/back", "backchannel_logout_session_required": true,
    });
    let made = register(wish.clone()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    for (name, value) in wish.as_object().unwrap() {
        assert_eq!(&made.json()[name], value, "{name}");
    }
    for bad in [
        json!({ "frontchannel_logout_uri": "https://b.example/front" }),
        json!({ "backchannel_logout_uri": "https://169.254.169.254/latest" }),
        json!({ "backchannel_logout_uri": 1 }),
        json!({ "backchannel_logout_session_required": "yes" }),
    ] {
        assert_eq!(register(bad.clone()).await.status, StatusCode::BAD_REQUEST, "{bad}");
    }
}
