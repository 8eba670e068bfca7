//! The forms of the pages, each field wrong in every way: a page with the id `error`, or the same form again with what is
//! wrong, and nothing done. What a registered client may say of itself is tried as its own registration has it.

use serde_json::{Value, json};

use crate::{
    bad_input::{Pairs, Place, doubled, with},
    encoded, posted,
    support::{Browser, Request, Response, browser::Page},
};

const OVERSIZED: usize = 20_000;

/// A form: where it goes, its fields with good values, and what a field that is missing or empty leads to: the id of
/// what the page then has.
struct Form<'a> {
    path: &'static str,
    fields: Pairs<'a>,
    cookies: String,
    without: &'a [(&'static str, &'static str)],
}

impl Form<'_> {
    async fn is_held_to_its_fields(&self, place: &Place) {
        let long = "x".repeat(OVERSIZED);
        let send = async |pairs: &Pairs<'_>| {
            place.door.send(posted(self.path, pairs).header("Cookie", &self.cookies)).await
        };
        for (name, _) in &self.fields {
            let what = format!("{} {name}", self.path);
            let spoilt = [Some(&*long), Some("\0")].map(|value| with(&self.fields, name, value));
            for bad in spoilt.into_iter().chain([doubled(&self.fields, name)]) {
                shows(&send(&bad).await, "error", &what);
            }
            let found = self.without.iter().find(|(field, _)| field == name);
            let (_, id) = found.unwrap_or_else(|| panic!("nothing said of {what}"));
            for bad in [with(&self.fields, name, None), with(&self.fields, name, Some(""))] {
                shows(&send(&bad).await, id, &what);
            }
        }
        let body = encoded(self.fields.iter().copied());
        for kind in ["text/plain", "application/json", "multipart/form-data; boundary=x"] {
            let request = Request::new("POST", self.path).header("Content-Type", kind).body(body.clone());
            shows(&place.door.send(request.header("Cookie", &self.cookies)).await, "error", kind);
        }
        let invalid = posted(self.path, &[]).header("Cookie", &self.cookies).body("state=%zz&a=%ff");
        shows(&place.door.send(invalid).await, "error", self.path);
        for site in ["cross-site", "same-site"] {
            let foreign = posted(self.path, &self.fields).header("Cookie", &self.cookies);
            shows(&place.door.send(foreign.header("Sec-Fetch-Site", site)).await, "error", site);
        }
    }
}

/// A refusal on a page with this id, from which nothing leads to a client.
#[track_caller]
fn shows(answer: &Response, id: &str, what: &str) {
    let text = answer.text();
    assert!(answer.status == 400 && text.contains(&format!("id=\"{id}\"")), "{what}: {answer:?}");
    assert_eq!((answer.header("location"), answer.header("set-cookie")), (None, None), "{what}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{what}");
    assert!(text.len() < 16_384, "{what}: says back what is oversized");
}

fn cookies(browser: &Browser) -> String {
    let cookie = |name: &str| format!("{name}={}", browser.cookie(name).unwrap());
    browser.cookie_names().into_iter().map(cookie).collect::<Vec<_>>().join("; ")
}

fn handle(page: &Page) -> String {
    let form = page.form();
    form.fields.into_iter().find(|(name, _)| name == "state").unwrap().1
}

#[tokio::test]
async fn o10_every_field_of_every_form_may_be_wrong_in_every_way() {
    let place = Place::prepare().await;
    let door = &place.door;
    let (user, password) = (door.gate.variable("DEMO_USER"), door.gate.variable("DEMO_PASSWORD"));

    let mut browser = door.browser();
    let consent = browser.open(&door.authorize(&[("prompt", "login consent")])).await;
    let consent = browser.log_in(&consent, &user, &password).await;
    assert!(consent.has_id("allow"), "{}", consent.response.text());
    let consented = (handle(&consent), cookies(&browser));
    let mut stranger = door.browser();
    let sign_up = stranger.open(&door.authorize(&[("screen_hint", "signup")])).await;
    assert!(sign_up.has_id("submit-signup"), "{}", sign_up.response.text());
    let begun = (handle(&sign_up), cookies(&stranger));

    let before = place.stored().await;
    Form {
        path: "/u/consent",
        fields: vec![("state", &consented.0), ("action", "accept")],
        cookies: consented.1.clone(),
        without: &[("state", "error"), ("action", "error")],
    }
    .is_held_to_its_fields(&place)
    .await;
    for action in ["maybe", "ACCEPT", "accept deny"] {
        let form = [("state", consented.0.as_str()), ("action", action)];
        let answer = door.send(posted("/u/consent", &form).header("Cookie", &consented.1)).await;
        shows(&answer, "error", action);
    }
    Form {
        path: "/u/signup",
        fields: vec![("state", &begun.0), ("email", "new@example.com"), ("password", "Quite-l0ng-enough")],
        cookies: begun.1.clone(),
        without: &[
            ("state", "error"),
            ("email", "error-element-email"),
            ("password", "error-element-password"),
        ],
    }
    .is_held_to_its_fields(&place)
    .await;
    for (name, value, id) in [
        ("email", "nobody", "error-element-email"),
        ("email", "a@b@c", "error-element-email"),
        ("email", "\u{202e}@example.com", "error-element-email"),
        ("password", "short", "error-element-password"),
    ] {
        let fields = [("state", begun.0.as_str()), ("email", "n@example.com"), ("password", "Quite-l0ng-en")];
        let bad = with(&fields.to_vec(), name, Some(value));
        let answer = door.send(posted("/u/signup", &bad).header("Cookie", &begun.1)).await;
        shows(&answer, id, value);
    }
    Form {
        path: "/activate",
        fields: vec![("user_code", "BCDF-GHJK")],
        cookies: consented.1.clone(),
        without: &[("user_code", "submit-code")],
    }
    .is_held_to_its_fields(&place)
    .await;
    Form {
        path: "/u/reset-verify",
        fields: vec![("ticket", "x"), ("password", "Quite-l0ng-enough"), ("password_again", "other")],
        cookies: String::new(),
        without: &[("ticket", "error"), ("password", "error"), ("password_again", "error")],
    }
    .is_held_to_its_fields(&place)
    .await;
    logouts(&place, &consented.1).await;
    assert_eq!(place.stored().await, before, "something was stored, or a session has ended");

    // None of it has used anything up.
    let done = browser.submit(&consent, &[("action", "accept")]).await;
    assert!(done.url.query().is_some_and(|query| query.contains("code=")), "{}", done.url);
}

/// `/oidc/logout` and `/v2/logout` in a browser with a session, which must go on.
async fn logouts(place: &Place, cookies: &str) {
    let (long, client) = ("x".repeat(OVERSIZED), place.client.as_str());
    let good: Pairs<'_> = vec![
        ("client_id", client),
        ("logout_hint", "x"),
        ("ui_locales", "de"),
        ("state", "s"),
        ("confirmation", "x"),
    ];
    for (name, _) in &good {
        let spoilt = [Some(&*long), Some("\0")].map(|value| with(&good, name, value));
        for bad in spoilt.into_iter().chain([doubled(&good, name)]) {
            let answer = place.door.send(posted("/oidc/logout", &bad).header("Cookie", cookies)).await;
            shows(&answer, "error", name);
        }
    }
    for (name, value) in [
        ("id_token_hint", "a.b.c"),
        ("client_id", "nobody"),
        ("post_logout_redirect_uri", "https://evil.example/"),
        ("post_logout_redirect_uri", "javascript:alert(1)"),
    ] {
        for fields in [vec![(name, value)], vec![(name, value), ("confirmation", "x")]] {
            let answer = place.door.send(posted("/oidc/logout", &fields).header("Cookie", cookies)).await;
            shows(&answer, "error", value);
        }
    }
    // A confirmation is this browser's, or it is asked for again.
    let answer =
        place.door.send(posted("/oidc/logout", &[("confirmation", "x")]).header("Cookie", cookies)).await;
    assert!(!answer.text().contains("logged-out"), "{answer:?}");
    for (name, value) in [("returnTo", "https://evil.example/"), ("client_id", "nobody"), ("returnTo", "\0")]
    {
        let query = encoded(with(&vec![("client_id", client), (name, value)], name, Some(value)));
        let request = Request::get(&format!("/v2/logout?{query}")).header("Cookie", cookies);
        shows(&place.door.send(request).await, "error", value);
    }
}

#[tokio::test]
async fn o10_every_member_of_an_update_of_a_registration_may_be_of_the_wrong_type() {
    let place = Place::prepare().await;
    let good = json!({"redirect_uris": ["http://localhost:9/callback"], "client_name": "Registered"});
    let made = place.door.send(Request::new("POST", "/oidc/register").json(&good)).await.json();
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    let (token, path) = (text("registration_access_token"), format!("/oidc/register/{}", text("client_id")));
    let put =
        async |body: &Value| place.door.send(Request::new("PUT", &path).bearer(&token).json(body)).await;
    let mut whole = good.clone();
    whole["client_id"] = made["client_id"].clone();
    let long = "x".repeat(OVERSIZED);
    for name in
        ["client_id", "client_secret", "client_name", "redirect_uris", "grant_types", "jwks", "scope_x"]
    {
        for value in [json!(5), json!({"a": 1}), json!([5]), json!(true), json!(long)] {
            let mut body = whole.clone();
            body[name] = value.clone();
            let answer = put(&body).await;
            // What is no metadata is passed over (RFC 7591 section 2).
            let expected = if name == "scope_x" { 200 } else { 400 };
            let shown: String = value.to_string().chars().take(20).collect();
            assert_eq!(answer.status, expected, "{name}: {shown}: {answer:?}");
        }
    }
    for (kind, text) in [
        ("application/json", "[]"),
        ("application/json", "null"),
        ("application/json", "{"),
        ("application/json", r#"{"client_id":"a","client_id":"b"}"#),
        ("text/plain", "{}"),
        ("application/x-www-form-urlencoded", "client_id=x"),
    ] {
        let request = Request::new("PUT", &path).bearer(&token).header("Content-Type", kind).body(text);
        let answer = place.door.send(request).await;
        assert_eq!(
            (answer.status, &answer.json()["error"]),
            (400, &json!("invalid_client_metadata")),
            "{text}: {answer:?}"
        );
    }
    for headers in [&[][..], &["Bearer"], &["Basic eA=="], &["Bearer a", "Bearer b"]] {
        let request = Request::new("PUT", &path).json(&whole);
        let request = headers.iter().fold(request, |request, value| request.header("Authorization", value));
        assert_eq!(place.door.send(request).await.status, 401, "{headers:?}");
    }
    let read = place.door.send(Request::get(&path).bearer(&token)).await.json();
    assert_eq!(
        (&read["client_name"], &read["redirect_uris"]),
        (&made["client_name"], &made["redirect_uris"])
    );
}
