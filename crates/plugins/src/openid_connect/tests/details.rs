//! The finer rules of logins: how the answer comes back, what a session keeps, when the provider is asked again, and ID
//! tokens that are encrypted.

use aws_lc_rs::{
    aead,
    encoding::{AsDer, Pkcs8V1Der},
    rsa::{KeySize, OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PrivateDecryptingKey},
};
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rp::session::LoginCookies;
use serde_json::json;

use super::*;

fn login(config: &mut Config) -> &mut LoginConfig {
    config.login.as_mut().unwrap()
}

fn form_post(config: &mut Config) {
    let login = login(config);
    login.way_back.mode = ResponseMode::FormPost;
    login.cookies.logins = LoginCookies { cross_site: true, ..LoginCookies::default() };
}

/// The answer at the end of `location`, as the provider's page posts it.
fn posted(gate: &Gate, location: &str) -> Asking {
    let url = Url::parse(&gate.idp.authorize(location)).unwrap();
    let bare = &url[..url::Position::AfterPath];
    get(bare).with("origin", "https://idp.example").form(url.query().unwrap())
}

#[tokio::test]
async fn r12_a_login_by_form_post_comes_back_as_a_form_and_in_no_other_way() {
    let gate = Gate::with(form_post).await;
    let mut jar = Jar::default();
    let away = jar.go(&gate, PAGE).await;
    assert!(away.location().contains("response_mode=form_post"), "{away:?}");
    assert!(away.set_cookies()[0].ends_with("; Secure; HttpOnly; SameSite=None"));
    let callback = gate.idp.authorize(away.location());
    for method in [Method::GET, Method::HEAD, Method::PUT] {
        let got = jar.send(&gate, get(&callback).method(method)).await;
        assert!(got.is(405) && got.header("allow") == "POST", "{got:?}");
    }
    let in_the_query = get(&callback).form("");
    assert!(jar.clone().send(&gate, in_the_query).await.is(400), "the query is not looked at");
    let garbled = get("https://app.example/callback").form("code=%zz");
    assert!(jar.clone().send(&gate, garbled).await.is(400));
    let stranger = Jar::default().send(&gate, posted(&gate, away.location())).await;
    assert!(stranger.is(400), "{stranger:?}");
    let back = jar.send(&gate, posted(&gate, away.location())).await;
    assert_eq!((back.status, back.location()), (Some(StatusCode::SEE_OTHER), PAGE), "{back:?}");
    assert!(
        back.set_cookies().iter().any(|line| line.starts_with("__Host-session=pc~") && line.ends_with("Lax"))
    );
    assert!(jar.go(&gate, PAGE).await.passed());

    let query = Gate::new().await;
    let mut jar = Jar::default();
    let away = jar.go(&query, PAGE).await;
    assert!(!away.location().contains("response_mode"));
    let got = jar.send(&query, posted(&query, away.location())).await;
    assert!(got.is(405) && got.header("allow") == "GET", "{got:?}");
}

#[tokio::test]
async fn a_session_keeps_what_it_is_to_keep_and_tells_no_more() {
    let contents =
        |access_token, claims, id_token, userinfo| Contents { access_token, claims, id_token, userinfo };
    for contents in [
        contents(true, false, false, false),
        contents(false, true, false, false),
        contents(false, false, true, false),
        contents(false, false, false, true),
        contents(false, false, false, false),
        contents(true, true, true, true),
    ] {
        let gate = Gate::with(|config| {
            login(config).contents = contents;
            config.headers.raw_id_token = true;
            config.headers.refresh_token = true;
        })
        .await;
        let mut jar = Jar::log_in(&gate, PAGE).await;
        let got = jar.go(&gate, PAGE).await;
        assert!(got.passed(), "{contents:?}");
        let told = ["x-access-token", "x-refresh-token", "x-id-token", "x-raw-id-token", "x-userinfo"]
            .map(|name| got.told(name).is_some());
        let Contents { access_token, claims, id_token, userinfo } = contents;
        assert_eq!(told, [access_token, access_token, claims, id_token, userinfo], "{contents:?}");
        if claims {
            assert_eq!(got.told_json("x-id-token")["sub"], "user");
        }
        assert_eq!(gate.idp.hits("/userinfo").len(), usize::from(userinfo), "{contents:?}");
        gate.pass(600);
        assert!(
            jar.go(&gate, PAGE).await.passed(),
            "without a token nothing is to be refreshed: {contents:?}"
        );
        let out = jar.go(&gate, "https://app.example/logout").await;
        assert_eq!(out.location().contains("id_token_hint="), id_token, "{contents:?}");
        assert_eq!(out.location().contains("client_id="), !id_token, "{contents:?}");
    }
}

#[tokio::test]
async fn after_a_while_the_provider_is_asked_without_a_page_whether_the_login_still_holds() {
    let gate = Gate::with(|config| {
        login(config).refresh_session_interval = Some(Duration::from_secs(300));
        login(config).authorization_params = vec![("prompt".to_owned(), "login".to_owned())];
    })
    .await;
    let first = Jar::log_in(&gate, PAGE).await;
    let mut jar = first.clone();
    gate.pass(299);
    assert!(jar.go(&gate, PAGE).await.passed());
    gate.pass(1);
    let api = jar.send(&gate, get(PAGE).with("accept", "application/json")).await;
    assert!(api.is(401) && api.location().is_empty(), "{api:?}");
    let away = jar.go(&gate, PAGE).await;
    assert!(away.is(302) && away.location().contains("prompt=none"), "{away:?}");
    assert!(!away.location().contains("prompt=login"));
    let back = jar.go(&gate, &gate.idp.authorize(away.location())).await;
    assert_eq!((back.status, back.location()), (Some(StatusCode::FOUND), PAGE), "{back:?}");
    assert!(jar.go(&gate, PAGE).await.passed());
    assert!(gate.store.lines.lock().unwrap().is_empty(), "it is the same session");
    // It ends when it would have ended without.
    for _ in 0..288 {
        gate.pass(300);
        let away = jar.go(&gate, PAGE).await;
        if !away.location().contains("prompt=none") {
            break;
        }
        jar.go(&gate, &gate.idp.authorize(away.location())).await;
    }
    let away = jar.go(&gate, PAGE).await;
    assert!(
        away.is(302) && !away.location().contains("prompt=none"),
        "a day has passed since the login: {away:?}"
    );
}

#[tokio::test]
async fn a_login_that_the_provider_does_not_confirm_is_over_and_the_user_is_asked() {
    let gate =
        Gate::with(|config| login(config).refresh_session_interval = Some(Duration::from_secs(300))).await;
    for error in ["login_required", "interaction_required", "consent_required", "account_selection_required"]
    {
        let old = Jar::log_in(&gate, PAGE).await;
        let mut jar = old.clone();
        gate.pass(300);
        let away = jar.go(&gate, PAGE).await;
        let state = Url::parse(away.location()).unwrap();
        let state = state.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
        let back = jar.go(&gate, &format!("https://app.example/callback?error={error}&state={state}")).await;
        assert!(back.is(302) && !back.location().contains("prompt="), "{error}: {back:?}");
        assert!(jar.go(&gate, &gate.idp.authorize(back.location())).await.is(302), "{error}");
        assert!(jar.go(&gate, PAGE).await.passed(), "{error}");
        let dead = old.clone().go(&gate, PAGE).await;
        assert!(dead.is(302) && !dead.location().contains("prompt=none"), "{error}: {dead:?}");
    }
    let mut jar = Jar::log_in(&gate, PAGE).await;
    let old = jar.clone();
    gate.pass(300);
    gate.idp.script(|script| script.id_token = Some(Box::new(|claims| claims["sub"] = json!("other"))));
    gate.idp.answer("/userinfo", 200, json!({"sub": "other"}));
    let away = jar.go(&gate, PAGE).await;
    assert!(jar.go(&gate, &gate.idp.authorize(away.location())).await.is(302));
    assert_eq!(jar.go(&gate, PAGE).await.told_json("x-id-token")["sub"], "other");
    let dead = old.clone().go(&gate, PAGE).await;
    assert!(!dead.location().contains("prompt=none"), "somebody else's login ends the session: {dead:?}");
}

#[tokio::test]
async fn the_answer_arrives_at_another_path_and_comes_back_by_another_scheme_where_that_is_said() {
    let gate = Gate::with(|config| {
        let login = login(config);
        login.redirect_uri = Some("https://app.example/outside/callback".to_owned());
        login.way_back.local_path = Some("/callback".to_owned());
    })
    .await;
    let mut jar = Jar::default();
    let away = jar.go(&gate, PAGE).await;
    let callback = gate.idp.authorize(away.location());
    assert!(callback.starts_with("https://app.example/outside/callback?"));
    let outside = jar.go(&gate, &callback).await;
    assert!(
        outside.is(302) && outside.location().starts_with(&gate.idp.0.url),
        "it is a page like any other"
    );
    assert!(jar.go(&gate, &callback.replace("/outside", "")).await.is(302));
    assert!(jar.go(&gate, PAGE).await.passed());

    let gate = Gate::with(|config| login(config).way_back.scheme = Some("https")).await;
    let mut jar = Jar::default();
    let away = jar.go(&gate, "http://localhost/page").await;
    let callback = gate.idp.authorize(away.location());
    assert!(callback.starts_with("https://localhost/callback?"), "{callback}");
    let back = jar.go(&gate, &callback.replace("https:", "http:")).await;
    assert_eq!(back.location(), "https://localhost/page");
}

#[tokio::test]
async fn a_logout_goes_where_it_is_sent_with_what_it_is_to_tell() {
    let place = "https://idp.example/bye?x=1";
    let of = |id_token_hint, client_id, post: bool| {
        move |config: &mut Config| {
            let login = login(config);
            login.logout = LogoutConfig {
                place: Some(place.to_owned()),
                id_token_hint,
                client_id,
                ..LogoutConfig::default()
            };
            login.post_logout_redirect_uri = post.then(|| "/home".to_owned());
        }
    };
    for (hint, client, post) in
        [(false, false, false), (true, false, true), (false, true, false), (true, true, true)]
    {
        let gate = Gate::with(of(hint, client, post)).await;
        let mut jar = Jar::log_in(&gate, PAGE).await;
        let out = jar.go(&gate, "https://app.example/logout").await;
        let told = |name: &str| out.location().contains(&format!("{name}="));
        assert!(out.location().starts_with(place), "{out:?}");
        let told = (told("id_token_hint"), told("client_id"), told("post_logout_redirect_uri"));
        assert_eq!(told, (hint, client, post), "{out:?}");
    }
    let gate = Gate::cold(|_| ()).await;
    gate.idp.script(|script| {
        script.metadata = Some(Box::new(|metadata| {
            metadata.as_object_mut().unwrap().remove("end_session_endpoint");
            metadata["ping_end_session_endpoint"] = json!("https://ping.example/end");
        }));
    });
    let out = Jar::default().go(&gate, "https://app.example/logout").await;
    assert_eq!(out.location(), "https://ping.example/end?TargetResource=https%3A%2F%2Fapp.example");
}

#[tokio::test]
async fn a_logout_page_that_loads_an_image_is_given_one() {
    let gate = Gate::new().await;
    for (accept, is_image) in [
        ("image/png", true),
        ("image/avif,image/png,*/*;q=0.8", true),
        ("image/png,text/html;q=0.9", true),
        ("text/html,image/png", false),
        ("text/html;q=0.9,image/png;q=0.8", false),
        ("text/html,image/apng,*/*", false),
        ("*/*", false),
    ] {
        let mut jar = Jar::log_in(&gate, PAGE).await;
        let old = jar.clone();
        let asking = get("https://app.example/logout").with("accept", accept);
        let asking = asking.with("cookie", &jar.line());
        let reply = jar.send(&gate, asking).await;
        let is = reply.headers.get("content-type").is_some_and(|kind| kind == "image/png");
        assert_eq!(
            (is, reply.status.unwrap().as_u16()),
            (is_image, if is_image { 200 } else { 302 }),
            "{accept}"
        );
        assert!(jar.0.is_empty() && old.clone().go(&gate, PAGE).await.is(302), "{accept}");
    }
    let jar = Jar::log_in(&gate, PAGE).await;
    let foreign =
        get("https://app.example/logout").with("accept", "image/png").with("sec-fetch-site", "cross-site");
    assert!(jar.clone().send(&gate, foreign).await.body.contains("confirm-logout"), "r19");
    assert!(jar.clone().go(&gate, PAGE).await.passed());
}

/// A key that ID tokens are encrypted for: its PEM, and its public half.
fn decryption_key() -> (String, OaepPublicEncryptingKey) {
    let key = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
    let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&key).unwrap();
    let text = STANDARD.encode(der.as_ref());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n");
    (pem, OaepPublicEncryptingKey::new(key.public_key()).unwrap())
}

/// A compact JWE of `plain`: RSA-OAEP-256 and A256GCM, with `further` header members.
fn encrypted(plain: &str, key: &OaepPublicEncryptingKey, further: &str) -> String {
    let header = format!(r#"{{"alg":"RSA-OAEP-256","enc":"A256GCM","cty":"JWT"{further}}}"#);
    let header = URL_SAFE_NO_PAD.encode(header);
    let content_key: [u8; 32] = idp::random().bytes();
    let mut wrapped = vec![0; key.ciphertext_size()];
    let wrapped = key.encrypt(&OAEP_SHA256_MGF1SHA256, &content_key, &mut wrapped, None).unwrap().to_vec();
    let iv: [u8; 12] = idp::random().bytes();
    let sealing = aead::LessSafeKey::new(aead::UnboundKey::new(&aead::AES_256_GCM, &content_key).unwrap());
    let mut text = plain.as_bytes().to_vec();
    let nonce = aead::Nonce::assume_unique_for_key(iv);
    let tag =
        sealing.seal_in_place_separate_tag(nonce, aead::Aad::from(header.as_bytes()), &mut text).unwrap();
    let parts = [wrapped.as_slice(), &iv, &text, tag.as_ref()].map(|part| URL_SAFE_NO_PAD.encode(part));
    format!("{header}.{}", parts.join("."))
}

/// What a provider makes of an ID token.
type Lie = Box<dyn Fn(&str) -> String + Send>;

#[tokio::test]
async fn an_id_token_that_is_encrypted_is_opened_and_then_verified_as_any_other() {
    let (pem, public) = decryption_key();
    let keys = DecryptionKeys::read(Secret::new(pem)).unwrap();
    let gate = Gate::with(|config| {
        login(config).decryption = Some(keys.clone());
        config.headers.raw_id_token = true;
    })
    .await;
    let public = Arc::new(public);
    let encrypting = {
        let public = Arc::clone(&public);
        move |response: &mut Value| {
            let token = response["id_token"].as_str().unwrap().to_owned();
            response["id_token"] = json!(encrypted(&token, &public, ""));
        }
    };
    gate.idp.script(|script| script.token_response = Some(Box::new(encrypting)));
    let mut jar = Jar::log_in(&gate, PAGE).await;
    let got = jar.go(&gate, PAGE).await;
    assert_eq!(got.told_json("x-id-token")["sub"], "user");
    assert_eq!(got.told("x-raw-id-token").unwrap().split('.').count(), 3, "the upstream could not open it");
    gate.pass(600);
    assert!(jar.go(&gate, PAGE).await.told("x-access-token").is_some(), "a refreshed one is encrypted too");

    let (_, other) = decryption_key();
    let forged = idp::key("1").sign(Some("JWT"), br#"{"sub":"user"}"#).unwrap();
    let (bomb, public) = (encrypted("x", &public, r#","zip":"DEF""#), Arc::clone(&public));
    let lies: Vec<(&str, Lie)> = vec![
        ("in the clear", Box::new(str::to_owned)),
        ("for another key", Box::new(move |token| encrypted(token, &other, ""))),
        ("j43: packed", Box::new(move |_| bomb.clone())),
        (
            "j45: RSA1_5",
            Box::new(|_| {
                format!("{}.AA.AA.AA.AA", URL_SAFE_NO_PAD.encode(r#"{"alg":"RSA1_5","enc":"A128GCM"}"#))
            }),
        ),
        (
            "dir",
            Box::new(|_| format!("{}..AA.AA.AA", URL_SAFE_NO_PAD.encode(r#"{"alg":"dir","enc":"A128GCM"}"#))),
        ),
        (
            "j44: PBES2",
            Box::new(|_| {
                let header = r#"{"alg":"PBES2-HS256+A128KW","enc":"A128GCM","p2s":"AA","p2c":2147483647}"#;
                format!("{}.AA.AA.AA.AA", URL_SAFE_NO_PAD.encode(header))
            }),
        ),
        ("too long", Box::new(|_| format!("{}.AA.AA.AA.AA", "A".repeat(20_000)))),
        (
            "a forgery within",
            Box::new({
                let public = Arc::clone(&public);
                move |_| encrypted(&forged, &public, "")
            }),
        ),
        ("no token within", Box::new(move |_| encrypted(r#"{"sub":"user"}"#, &public, ""))),
    ];
    for (what, lie) in lies {
        gate.idp.script(|script| {
            script.token_response = Some(Box::new(move |response| {
                let token = response["id_token"].as_str().unwrap().to_owned();
                response["id_token"] = json!(lie(&token));
            }));
        });
        let mut jar = Jar::default();
        let away = jar.go(&gate, PAGE).await;
        let got = jar.go(&gate, &gate.idp.authorize(away.location())).await;
        assert!(got.is(502) && jar.0.is_empty(), "{what}: {got:?}");
    }
}

#[tokio::test]
async fn a_decryption_key_that_proves_nothing_or_is_none_is_refused() {
    let public = idp::key("1").public_jwk().to_string();
    for bad in
        ["", "nonsense", "{}", r#"{"kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAA"}"#, r#"{"keys":[]}"#, &public]
    {
        let error = DecryptionKeys::read(Secret::new(bad.to_owned())).unwrap_err();
        assert_eq!(error.path, "id_token_decryption_key", "{bad}");
    }
    let (pem, _) = decryption_key();
    let two = DecryptionKeys::read(Secret::new(format!("{pem}\n{pem}"))).unwrap();
    assert_eq!(two.iter().count(), 2);
}

#[tokio::test]
async fn paths_that_collide_and_cookies_that_could_not_come_back_are_refused() {
    let gate = Gate::new().await;
    let refused = |change: &dyn Fn(&mut LoginConfig)| {
        let mut config = config(&gate.idp);
        change(login(&mut config));
        compile(config, &gate.services).err().map(|error| error.path)
    };
    let path = |path: &str| Some(path.to_owned());
    assert_eq!(refused(&|_| ()), None);
    assert_eq!(
        refused(&|login| login.logout.backchannel_path = path("/logout")),
        path("backchannel_logout_path")
    );
    assert_eq!(
        refused(&|login| login.logout.backchannel_path = path("/callback")),
        path("backchannel_logout_path")
    );
    let both = |login: &mut LoginConfig| {
        login.logout.backchannel_path = path("/x");
        login.logout.frontchannel_path = path("/x");
    };
    assert_eq!(refused(&both), path("frontchannel_logout_path"));
    for bad in ["x", "//x", "https://x/", "/x?y", "/\\x"] {
        assert_eq!(
            refused(&|login| login.logout.backchannel_path = path(bad)),
            path("backchannel_logout_path")
        );
        assert_eq!(refused(&|login| login.way_back.local_path = path(bad)), path("local_redirect_uri_path"));
    }
    assert_eq!(refused(&|login| login.logout.place = path("//evil")), path("redirect_after_logout_uri"));
    let insecure = |login: &mut LoginConfig| {
        login.way_back.mode = ResponseMode::FormPost;
        login.cookies.secure = Some(false);
    };
    assert_eq!(refused(&insecure), path("response_mode"));
    let twice = |login: &mut LoginConfig| {
        login.authorization_params = vec![("response_mode".to_owned(), "form_post".to_owned())];
    };
    assert_eq!(refused(&twice), path("authorization_params.response_mode"));
}
