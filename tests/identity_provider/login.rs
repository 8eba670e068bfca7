//! Logins of people: code flow, userinfo, refresh, sessions, logout.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;

use crate::Door;

#[tokio::test]
async fn a_login_gives_tokens_of_the_origin_it_began_at() {
    for door in Door::both() {
        let mut browser = door.browser();
        let audience = door.gate.variable("AUTH0_AUDIENCE");
        let wanted = [("audience", audience.as_str()), ("scope", "openid profile email read:things no:such")];
        let tokens = door.log_in(&mut browser, &wanted).await;
        assert_eq!((&tokens["token_type"], &tokens["expires_in"]), (&json!("Bearer"), &json!(86_400)));
        assert_eq!(tokens["scope"], "openid profile email read:things");

        let id = door.claims(&tokens["id_token"]).await;
        assert_eq!(
            (&id["aud"], &id["nonce"]),
            (&json!(door.gate.variable("AUTH0_CLIENT_ID")), &json!("n-1"))
        );
        assert_eq!((&id["email"], &id["auth_time"]), (&json!(door.gate.variable("DEMO_USER")), &json!(null)));
        assert!(id["sid"].is_string() && id["at_hash"].is_string() && id["updated_at"].is_i64());

        let access = door.claims(&tokens["access_token"]).await;
        assert_eq!(access["aud"], json!([audience, door.url("userinfo")]));
        assert_eq!((&access["sub"], &access["azp"]), (&id["sub"], &id["aud"]));
        assert_eq!(access["scope"], tokens["scope"]);
        let userinfo = door.userinfo(tokens["access_token"].as_str().unwrap()).await;
        assert_eq!((userinfo.status, &userinfo.json()["sub"]), (200, &id["sub"]));

        let name = if door.secure { "__Host-pc_idp" } else { "pc_idp" };
        assert!(browser.cookie(name).is_some(), "{:?}", browser.cookie_names());
    }
}

#[tokio::test]
async fn without_an_audience_the_token_is_opaque_and_good_for_userinfo_of_its_issuer_only() {
    let [plain, secure] = Door::both();
    let tokens = plain.log_in(&mut plain.browser(), &[]).await;
    let token = tokens["access_token"].as_str().unwrap();
    assert!(!token.contains('.'));
    assert_eq!(plain.userinfo(token).await.json()["email"], plain.gate.variable("DEMO_USER"));
    assert_eq!(secure.userinfo(token).await.status, 401);
    assert_eq!(plain.userinfo(tokens["id_token"].as_str().unwrap()).await.status, 401);
    assert_eq!(plain.introspect(token).await["active"], true);
}

#[tokio::test]
async fn a_session_answers_silently_and_no_session_says_so() {
    for door in Door::both() {
        let mut browser = door.browser();
        assert_eq!(door.visit(&mut browser, &[("prompt", "none")]).await["error"], "login_required");
        door.log_in(&mut browser, &[]).await;
        assert!(door.visit(&mut browser, &[("prompt", "none")]).await.contains_key("code"));
        let tokens = door.log_in(&mut browser, &[("prompt", "login")]).await;
        assert!(door.claims(&tokens["id_token"]).await["auth_time"].is_i64());
    }
}

#[tokio::test]
async fn o11_a_refresh_token_rotates_and_its_reuse_ends_the_family() {
    for door in Door::both() {
        let first = door.log_in(&mut door.browser(), &[("scope", "openid offline_access")]).await;
        let refresh = async |token: &str| {
            door.demo("/oauth/token", &[("grant_type", "refresh_token"), ("refresh_token", token)]).await
        };
        let old = first["refresh_token"].as_str().unwrap();
        let second = refresh(old).await.json();
        let new = second["refresh_token"].as_str().unwrap();
        assert_ne!(old, new);
        let (before, after) = (door.claims(&first["id_token"]).await, door.claims(&second["id_token"]).await);
        assert_eq!(
            (&before["sub"], &before["sid"], &before["iss"]),
            (&after["sub"], &after["sid"], &after["iss"])
        );
        assert!(after["nonce"].is_null());
        for spent in [old, new] {
            let answer = refresh(spent).await;
            assert_eq!((answer.status, &answer.json()["error"]), (400, &json!("invalid_grant")));
        }
        let access = second["access_token"].as_str().unwrap();
        assert_eq!(door.userinfo(access).await.status, 401);
    }
}

#[tokio::test]
async fn o04_a_code_that_many_redeem_at_once_is_good_for_one_whose_tokens_die() {
    let [door, _] = Door::both();
    let code = door.visit(&mut door.browser(), &[]).await["code"].clone();
    let mut tries = JoinSet::new();
    for _ in 0..20 {
        let (door, code) = (door.clone(), code.clone());
        tries.spawn(async move { door.redeem(&code).await });
    }
    let (good, bad): (Vec<_>, Vec<_>) =
        tries.join_all().await.into_iter().partition(|answer| answer.status == 200);
    assert_eq!((good.len(), bad.len()), (1, 19));
    assert!(bad.iter().all(|answer| answer.status == 400 && answer.json()["error"] == "invalid_grant"));
    let token = good[0].json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(door.userinfo(&token).await.status, 401);
}

#[tokio::test]
async fn o05_a_code_is_good_for_a_minute_and_max_age_is_kept() {
    let door = Door::alone();
    let mut browser = door.browser();
    let code = door.visit(&mut browser, &[]).await["code"].clone();
    door.gate.advance(Duration::from_secs(61)).await;
    assert_eq!(door.redeem(&code).await.json()["error"], "invalid_grant");
    let silent =
        async |browser: &mut _, age| door.visit(browser, &[("prompt", "none"), ("max_age", age)]).await;
    assert_eq!(silent(&mut browser, "30").await["error"], "login_required");
    let answer = silent(&mut browser, "600").await;
    let tokens = door.redeem(&answer["code"]).await.json();
    let id = door.claims(&tokens["id_token"]).await;
    assert!(id["auth_time"].as_i64().unwrap() + 61 <= id["iat"].as_i64().unwrap(), "{id}");
}

#[tokio::test]
async fn o20_guesses_lock_the_account_for_a_while() {
    let door = Door::alone();
    let mut browser = door.browser();
    let user = door.gate.variable("DEMO_USER");
    let page = browser.open(&door.authorize(&[])).await;
    for _ in 0..10 {
        assert_eq!(browser.log_in(&page, &user, "wrong").await.status(), 400);
    }
    let password = door.gate.variable("DEMO_PASSWORD");
    assert_eq!(browser.log_in(&page, &user, &password).await.status(), 429);
    door.gate.advance(Duration::from_secs(16 * 60)).await;
    let page = browser.log_in(&page, &user, &password).await;
    assert!(door.arrived(&page).contains_key("code"));
}

#[tokio::test]
async fn o17_a_login_page_of_one_browser_is_of_no_use_in_another() {
    for door in Door::both() {
        let page = door.browser().open(&door.authorize(&[])).await;
        let (user, password) = (door.gate.variable("DEMO_USER"), door.gate.variable("DEMO_PASSWORD"));
        let mut other = door.browser();
        other.open(&door.authorize(&[])).await;
        let refused = other.log_in(&page, &user, &password).await;
        assert_eq!(refused.status(), 400);
        assert!(refused.has_id("error"));
        assert_eq!(door.visit(&mut other, &[("prompt", "none")]).await["error"], "login_required");
    }
}

#[tokio::test]
async fn a_logout_with_the_sessions_token_ends_it_and_goes_back() {
    for door in Door::both() {
        let mut browser = door.browser();
        let tokens = door.log_in(&mut browser, &[]).await;
        let back = format!("http://localhost:{}/", door.gate.port(9080));
        let params = [
            ("id_token_hint", tokens["id_token"].as_str().unwrap()),
            ("post_logout_redirect_uri", &back),
            ("state", "bye"),
        ];
        let page = browser.open(&format!("{}?{}", door.url("oidc/logout"), crate::encoded(params))).await;
        assert_eq!(page.url.as_str(), format!("{back}?state=bye"));
        assert_eq!(door.visit(&mut browser, &[("prompt", "none")]).await["error"], "login_required");
    }
}

#[tokio::test]
async fn a_logout_without_proof_asks_first_and_an_unknown_place_is_refused() {
    for door in Door::both() {
        let mut browser = door.browser();
        door.log_in(&mut browser, &[]).await;
        let asked = browser.open(&door.url("oidc/logout")).await;
        assert!(asked.has_id("confirm-logout"));
        assert!(door.visit(&mut browser, &[("prompt", "none")]).await.contains_key("code"));
        let client = door.gate.variable("AUTH0_CLIENT_ID");
        for path in ["oidc/logout?post_logout_redirect_uri", "v2/logout?returnTo"] {
            let url = format!("{}=https://evil.example/&client_id={client}", door.url(path));
            let page = browser.open(&url).await;
            assert_eq!(page.status(), 400, "{url}");
            assert!(page.has_id("error"));
        }
        assert!(browser.submit(&asked, &[]).await.has_id("logged-out"));
        assert_eq!(door.visit(&mut browser, &[("prompt", "none")]).await["error"], "login_required");
        door.log_in(&mut browser, &[]).await;
        let page = browser.open(&format!("{}?client_id={client}", door.url("v2/logout"))).await;
        assert_eq!(page.url.as_str(), format!("http://localhost:{}/", door.gate.port(9080)));
        assert_eq!(door.visit(&mut browser, &[("prompt", "none")]).await["error"], "login_required");
    }
}
