//! Every parameter of every endpoint missing, doubled, oversized and of the wrong type: the RFC's error code, a page with
//! the id `error` where nothing may be sent back, nothing stored, and nothing that fails on our side. The grants of the
//! token endpoint and the calls of the Management API are tried in `crates/idp-web/src/tests`.

use serde_json::{Value, json};
use url::Url;

use crate::{
    CHALLENGE, Door, encoded,
    management::Administrator,
    posted,
    support::{Request, Response},
};

const CALLBACK: &str = "http://localhost:9/callback";
/// The demo API.
const API: &str = "https://example.com/";
const DATABASE: &str = "Username-Password-Authentication";
/// More than any parameter may have.
const OVERSIZED: usize = 20_000;
/// What a form can hold though no parameter of any protocol does.
const NUL: &str = "\0";

/// What a request is told.
#[derive(Clone, Copy, Debug)]
enum Told {
    /// A page, or at endpoints without pages JSON, with this code.
    Here(&'static str),
    /// The same, but through the client's own address where there is one.
    Back(&'static str),
    /// That all is well: it was no required parameter, or is one that is passed over when it says nothing.
    Nothing,
}

use Told::{Back, Here, Nothing};

/// A parameter: its name and a good value, what its absence is told, and values that are no good.
struct Row(&'static str, &'static str, Told, &'static [(&'static str, Told)]);

/// Parameters of `/authorize` and `/oauth/par`. The client comes on top.
const AUTHORIZATION: &[Row] = &[
    Row(
        "redirect_uri",
        CALLBACK,
        Here("invalid_request"),
        &[
            ("http://localhost:9/callback/", Here("invalid_request")),
            ("http://localhost:9/callback?x", Here("invalid_request")),
            ("javascript:alert(1)", Here("invalid_request")),
            ("\u{1f4a9}", Here("invalid_request")),
        ],
    ),
    Row(
        "response_type",
        "code",
        Back("invalid_request"),
        &[("[]", Back("unsupported_response_type")), ("code code", Back("unsupported_response_type"))],
    ),
    Row(
        "scope",
        "openid profile",
        Nothing,
        &[("\u{1f4a9}", Back("invalid_scope")), ("a\"b", Back("invalid_scope"))],
    ),
    Row("nonce", "n", Nothing, &[]),
    Row(
        "code_challenge",
        CHALLENGE,
        Back("invalid_request"),
        &[("short", Back("invalid_request")), ("\u{1f4a9}", Back("invalid_request"))],
    ),
    Row(
        "code_challenge_method",
        "S256",
        Back("invalid_request"),
        &[("plain", Back("invalid_request")), ("s256", Back("invalid_request"))],
    ),
    Row(
        "response_mode",
        "query",
        Nothing,
        &[("[]", Here("invalid_request")), ("web_message", Here("invalid_request"))],
    ),
    Row(
        "prompt",
        "login",
        Nothing,
        &[("[]", Back("invalid_request")), ("none login", Back("invalid_request"))],
    ),
    Row(
        "max_age",
        "100",
        Nothing,
        &[
            ("-1", Back("invalid_request")),
            ("1.5", Back("invalid_request")),
            ("99999999999999999999", Back("invalid_request")),
            ("{}", Back("invalid_request")),
        ],
    ),
    Row("display", "page", Nothing, &[("[]", Back("invalid_request"))]),
    Row("ui_locales", "de en", Nothing, &[]),
    Row("login_hint", "a@example.com", Nothing, &[]),
    Row("acr_values", "1", Nothing, &[]),
    Row(
        "claims",
        r#"{"userinfo":{"email":null}}"#,
        Nothing,
        &[
            ("[]", Back("invalid_request")),
            ("5", Back("invalid_request")),
            (r#"{"userinfo":[]}"#, Back("invalid_request")),
            (r#"{"userinfo":{},"userinfo":{}}"#, Back("invalid_request")),
        ],
    ),
    Row(
        "dpop_jkt",
        "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I",
        Nothing,
        &[("x", Back("invalid_request"))],
    ),
    Row("screen_hint", "login", Nothing, &[]),
];

/// What those endpoints know too, where no value is good here.
const NEVER_GOOD: [(&str, &str, &str); 9] = [
    ("id_token_hint", "a.b.c", "invalid_request"),
    ("request", "a.b.c", "invalid_request_object"),
    ("request_uri", "urn:ietf:params:oauth:request_uri:x", "invalid_request_uri"),
    ("audience", "https://nobody.example/", "access_denied"),
    ("resource", "relative", "invalid_target"),
    ("authorization_details", "{}", "invalid_authorization_details"),
    ("registration", "{}", "registration_not_supported"),
    ("organization", "org_1", "invalid_request"),
    ("invitation", "x", "invalid_request"),
];

/// The endpoints that clients post to, which answer in JSON.
const ENDPOINTS: [(&str, &[Row]); 5] = [
    ("/oauth/par", AUTHORIZATION),
    (
        "/oauth/introspect",
        &[
            Row("token", "x", Here("invalid_request"), &[]),
            Row("token_type_hint", "access_token", Nothing, &[]),
        ],
    ),
    (
        "/oauth/revoke",
        &[
            Row("token", "x", Here("invalid_request"), &[]),
            Row("token_type_hint", "refresh_token", Nothing, &[]),
        ],
    ),
    (
        "/oauth/device/code",
        &[
            Row(
                "scope",
                "openid",
                Nothing,
                &[("\u{1f4a9}", Here("invalid_scope")), ("a\\", Here("invalid_scope"))],
            ),
            Row("audience", API, Nothing, &[("https://nobody.example/", Here("access_denied"))]),
        ],
    ),
    (
        "/bc-authorize",
        &[
            Row("scope", "openid", Here("invalid_scope"), &[("email", Here("invalid_scope"))]),
            Row(
                "login_hint",
                "demo@example.com",
                Here("invalid_request"),
                &[("-1", Here("unknown_user_id"))],
            ),
            Row(
                "binding_message",
                "W4",
                Nothing,
                &[("\u{1f4a9}", Here("invalid_binding_message")), ("<b>", Here("invalid_binding_message"))],
            ),
            Row(
                "acr_values",
                "1",
                Nothing,
                &[(
                    "http://schemas.openid.net/pape/policies/2007/06/multi-factor",
                    Here("unmet_authentication_requirements"),
                )],
            ),
            Row("audience", API, Nothing, &[("https://nobody.example/", Here("access_denied"))]),
            Row(
                "requested_expiry",
                "60",
                Nothing,
                &[("-1", Here("invalid_request")), ("x", Here("invalid_request"))],
            ),
        ],
    ),
];

/// A client with every grant, at a provider of its own that registers clients.
pub(super) struct Place {
    pub(super) door: Door,
    administrator: Administrator,
    pub(super) client: String,
    secret: String,
}

pub(super) type Pairs<'a> = Vec<(&'a str, &'a str)>;

impl Place {
    pub(super) async fn prepare() -> Self {
        let administrator = Administrator::of(Door::alone()).await;
        let settings = json!({"flags": {"enable_dynamic_client_registration": true}});
        let changed = administrator.call("PATCH", "tenants/settings", Some(settings)).await;
        assert_eq!(changed.status, 200, "{changed:?}");
        let grants = [
            "authorization_code",
            "refresh_token",
            "urn:ietf:params:oauth:grant-type:device_code",
            "urn:openid:params:grant-type:ciba",
        ];
        let client = json!({
            "name": "Bad", "app_type": "regular_web", "callbacks": [CALLBACK], "grant_types": grants,
            "token_endpoint_auth_method": "client_secret_post",
        });
        let client = administrator.call("POST", "clients", Some(client)).await.json();
        let connection = administrator.call("GET", "connections", None).await.json();
        let path = format!("connections/{}/clients", connection[0]["id"].as_str().unwrap());
        let enable = json!([{"client_id": client["client_id"], "status": true}]);
        assert_eq!(administrator.call("PATCH", &path, Some(enable)).await.status, 204);
        let text = |member: &str| client[member].as_str().unwrap().to_owned();
        let door = administrator.door.clone();
        Self { client: text("client_id"), secret: text("client_secret"), door, administrator }
    }

    /// What administrators see of it.
    pub(super) async fn stored(&self) -> Vec<Value> {
        let mut all = Vec::new();
        for path in ["clients?per_page=100", "users", "grants", "tenants/settings", "connections"] {
            all.push(self.administrator.call("GET", path, None).await.json());
        }
        let user = all[1][0]["user_id"].as_str().unwrap().replace('|', "%7C");
        for kind in ["sessions", "refresh-tokens"] {
            all.push(self.administrator.call("GET", &format!("users/{user}/{kind}"), None).await.json());
        }
        all
    }

    fn good<'a>(&'a self, rows: &[Row], with_secret: bool) -> Pairs<'a> {
        let mut pairs: Pairs<'a> = rows.iter().map(|row| (row.0, row.1)).collect();
        pairs.push(("client_id", &self.client));
        if with_secret {
            pairs.push(("client_secret", &self.secret));
        }
        pairs
    }

    async fn authorize(&self, pairs: &Pairs<'_>) -> Response {
        let state = [("state", "st&te")].into_iter().chain(pairs.iter().copied());
        self.door.get(&format!("/authorize?{}", encoded(state))).await
    }
}

/// The pairs with another value for `name`, or without it.
pub(super) fn with<'a>(pairs: &Pairs<'a>, name: &str, value: Option<&'a str>) -> Pairs<'a> {
    let changed = pairs.iter().filter_map(|(known, old)| match (*known == name, value) {
        (true, None) => None,
        (true, Some(value)) => Some((*known, value)),
        (false, _) => Some((*known, *old)),
    });
    changed.collect()
}

pub(super) fn doubled<'a>(pairs: &Pairs<'a>, name: &str) -> Pairs<'a> {
    let once_more = pairs.iter().find(|(known, _)| *known == name).copied();
    pairs.iter().copied().chain(once_more).collect()
}

/// At `/authorize`: by page, by redirect, or on to the login.
#[track_caller]
fn judge_page(answer: &Response, told: Told, what: &str) {
    match told {
        Here(code) => {
            assert_eq!(answer.status, 400, "{what}: {answer:?}");
            let text = answer.text();
            assert!(text.contains("id=\"error\"") && text.contains(code), "{what}: {text}");
            assert_eq!(answer.header("cache-control"), Some("no-store"), "{what}");
            assert_eq!((answer.header("location"), answer.header("set-cookie")), (None, None), "{what}");
        }
        Back(code) => {
            assert!(answer.status == 302 && answer.header("set-cookie").is_none(), "{what}: {answer:?}");
            let location = answer.header("location").unwrap();
            assert!(location.starts_with(CALLBACK) && location.len() < 1024, "{what}: {location}");
            let back = Url::parse(location).unwrap();
            let value = |name: &str| {
                back.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
            };
            assert_eq!(value("error").as_deref(), Some(code), "{what}: {location}");
            assert_eq!(value("state").as_deref(), Some("st&te"), "{what}");
            assert!(value("iss").is_some() && value("code").is_none(), "{what}: {location}");
        }
        Nothing => {
            let on = answer.header("location").is_some_and(|location| location.starts_with("/u/login?"));
            assert!(answer.status == 302 && on, "{what}: {answer:?}");
        }
    }
}

/// At the endpoints that answer in JSON.
#[track_caller]
fn judge_json(answer: &Response, told: Told, what: &str) {
    match told {
        Here(code) | Back(code) => {
            assert_eq!(answer.status, 400, "{what}: {answer:?}");
            assert_eq!(answer.json()["error"], code, "{what}: {}", answer.text());
            assert_eq!(answer.header("cache-control"), Some("no-store"), "{what}");
            assert!(answer.text().len() < 1024, "{what}");
        }
        Nothing => assert!(matches!(answer.status, 200 | 201), "{what}: {answer:?}"),
    }
}

#[tokio::test]
async fn o10_every_parameter_of_every_endpoint_may_be_wrong_in_every_way() {
    let place = Place::prepare().await;
    let before = place.stored().await;
    authorization_requests(&place).await;
    posted_requests(&place).await;
    pages(&place).await;
    userinfo(&place).await;
    assert_eq!(place.stored().await, before, "something was stored");
    registrations(&place).await;
    sign_ups(&place).await;
}

async fn authorization_requests(place: &Place) {
    let (long, good) = ("x".repeat(OVERSIZED), place.good(AUTHORIZATION, false));
    judge_page(&place.authorize(&good).await, Nothing, "a good request");
    let client = Row(
        "client_id",
        "",
        Here("invalid_request"),
        &[("nobody", Here("invalid_request")), ("\u{1f4a9}", Here("invalid_request"))],
    );
    for Row(name, _, missing, wrong) in AUTHORIZATION.iter().chain([&client]) {
        judge_page(&place.authorize(&with(&good, name, None)).await, *missing, &format!("no {name}"));
        judge_page(&place.authorize(&with(&good, name, Some(""))).await, *missing, &format!("empty {name}"));
        // Two readers could take one of them each.
        for bad in [doubled(&good, name), with(&good, name, Some(&long)), with(&good, name, Some(NUL))] {
            judge_page(&place.authorize(&bad).await, Here("invalid_request"), name);
        }
        for (value, told) in *wrong {
            let answer = place.authorize(&with(&good, name, Some(value))).await;
            judge_page(&answer, *told, &format!("{name}={value}"));
        }
    }
    for (name, value, code) in NEVER_GOOD {
        let bad: Pairs<'_> = good.iter().copied().chain([(name, value)]).collect();
        judge_page(&place.authorize(&bad).await, Back(code), name);
        if name != "resource" {
            judge_page(&place.authorize(&doubled(&bad, name)).await, Here("invalid_request"), name);
        }
        judge_page(&place.authorize(&with(&bad, name, Some(&long))).await, Here("invalid_request"), name);
    }
    for state in ["x".repeat(5000), long] {
        let query = encoded(good.iter().copied().chain([("state", state.as_str())]));
        judge_page(&place.door.get(&format!("/authorize?{query}")).await, Here("invalid_request"), "state");
    }
    for query in ["%", "client_id=%ff", "client_id=%00", &"a=1&".repeat(101), &"x".repeat(60_000)] {
        let answer = place.door.get(&format!("/authorize?{query}")).await;
        let shown: String = query.chars().take(20).collect();
        // A target that long is refused before anybody reads it.
        assert!(matches!(answer.status, 400 | 414 | 431), "{shown}: {answer:?}");
    }
}

async fn posted_requests(place: &Place) {
    let long = "x".repeat(OVERSIZED);
    for (path, rows) in ENDPOINTS {
        let good = place.good(rows, true);
        let post = async |pairs: &Pairs<'_>| place.door.post(path, pairs).await;
        judge_json(&post(&good).await, Nothing, path);
        for Row(name, _, missing, wrong) in rows {
            let what = format!("{path} {name}");
            judge_json(&post(&with(&good, name, None)).await, *missing, &what);
            judge_json(&post(&with(&good, name, Some(""))).await, *missing, &what);
            for bad in [doubled(&good, name), with(&good, name, Some(&long)), with(&good, name, Some(NUL))] {
                judge_json(&post(&bad).await, Here("invalid_request"), &what);
            }
            for (value, told) in *wrong {
                judge_json(&post(&with(&good, name, Some(value))).await, *told, &format!("{what}={value}"));
            }
            for value in [json!(["x"]), json!(5), json!({}), json!(true)] {
                let mut body: Value =
                    good.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
                body[*name] = value;
                let answer = place.door.send(Request::new("POST", path).json(&body)).await;
                judge_json(&answer, Here("invalid_request"), &format!("{what} in JSON: {body}"));
            }
        }
        let in_query = posted(&format!("{path}?client_id={}", place.client), &good);
        judge_json(&place.door.send(in_query).await, Here("invalid_request"), path);
        let body = encoded(good.iter().copied());
        for kind in ["", "text/plain", "multipart/form-data; boundary=x"] {
            let request = Request::new("POST", path).body(body.clone());
            let request = if kind.is_empty() { request } else { request.header("Content-Type", kind) };
            judge_json(&place.door.send(request).await, Here("invalid_request"), kind);
        }
        assert_eq!(place.door.get(path).await.status, 405, "{path}");
    }
    for (name, value, code) in NEVER_GOOD {
        let good = place.good(AUTHORIZATION, true);
        let bad: Pairs<'_> = good.into_iter().chain([(name, value)]).collect();
        // RFC 9126 section 2.1: a request_uri is never pushed.
        let code = if name == "request_uri" { "invalid_request" } else { code };
        judge_json(&place.door.post("/oauth/par", &bad).await, Here(code), name);
    }
}

/// Pages that take a handle, a code, a ticket or an address.
async fn pages(place: &Place) {
    let (long, evil) = ("x".repeat(OVERSIZED), "https://evil.example/");
    let (id, secret) = (place.client.as_str(), encoded([("returnTo", evil)]));
    let evil_logout = encoded([("post_logout_redirect_uri", evil)]);
    for target in [
        "/u/login".to_owned(),
        "/u/login?state=x".to_owned(),
        "/u/signup?state=x".to_owned(),
        "/u/consent?state=x".to_owned(),
        "/authorize/resume".to_owned(),
        "/authorize/resume?state=x".to_owned(),
        "/u/reset-password/request".to_owned(),
        "/u/reset-verify?ticket=x".to_owned(),
        "/u/email-verification?ticket=x".to_owned(),
        "/oidc/logout?id_token_hint=a.b.c".to_owned(),
        "/oidc/logout?client_id=nobody".to_owned(),
        format!("/oidc/logout?{evil_logout}"),
        format!("/oidc/logout?client_id={id}&{evil_logout}"),
        format!("/v2/logout?{secret}"),
        format!("/v2/logout?client_id={id}&{secret}"),
        "/v2/logout?client_id=nobody".to_owned(),
        format!("/activate?user_code={long}"),
    ] {
        let answer = place.door.get(&target).await;
        let text = answer.text();
        assert!(answer.status == 400 && text.contains("id=\"error\""), "{target}: {answer:?}");
        assert!(answer.header("location").is_none() && !text.contains(evil), "{target}: {text}");
    }
    let query_readers =
        ["/u/login", "/oidc/logout", "/v2/logout", "/activate", "/u/reset-verify", "/u/consent"];
    for path in query_readers {
        for query in ["state=a&state=a", "state=%00", "state=%ff", "state=%", &format!("state={long}")] {
            let answer = place.door.get(&format!("{path}?{query}")).await;
            judge_page(&answer, Here("invalid_"), path);
        }
    }
    assert_eq!(place.door.get("/u/users-export?job=x&key=y").await.status, 404);
    login_forms(place, &long).await;
}

/// The login's own form, each field wrong in every way.
async fn login_forms(place: &Place, long: &str) {
    let begun = place.authorize(&place.good(AUTHORIZATION, false)).await;
    let location = begun.header("location").unwrap().to_owned();
    let handle = location.split_once("state=").unwrap().1;
    let cookie = begun.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let good = vec![("state", handle), ("username", "nobody"), ("password", "wrong")];
    let send =
        async |pairs: &Pairs<'_>| place.door.send(posted("/u/login", pairs).header("Cookie", &cookie)).await;
    let again = send(&good).await;
    assert!(again.status == 400 && again.text().contains("login-title"), "{again:?}");
    for (name, _) in &good {
        for bad in [doubled(&good, name), with(&good, name, Some(long)), with(&good, name, Some(NUL))] {
            judge_page(&send(&bad).await, Here("invalid_request"), name);
        }
        for bad in [with(&good, name, None), with(&good, name, Some(""))] {
            let answer = send(&bad).await;
            let id = if *name == "state" { "id=\"error\"" } else { "id=\"login-title\"" };
            assert!(answer.status == 400 && answer.text().contains(id), "{name}: {answer:?}");
        }
    }
    judge_page(&place.door.post("/u/login", &good).await, Here("invalid_request"), "another browser");
    let foreign = posted("/u/login", &good).header("Cookie", &cookie).header("Sec-Fetch-Site", "cross-site");
    judge_page(&place.door.send(foreign).await, Here("invalid_request"), "another site");
    let json = Request::new("POST", "/u/login").json(&json!({"state": [handle]})).header("Cookie", &cookie);
    judge_page(&place.door.send(json).await, Here("invalid_request"), "JSON");
}

async fn userinfo(place: &Place) {
    let long = format!("Bearer {}", "x".repeat(OVERSIZED));
    for (header, status, code) in [
        ("Bearer x", 401, "invalid_token"),
        ("DPoP x", 401, "invalid_token"),
        (long.as_str(), 401, "invalid_token"),
        ("Bearer", 400, "invalid_request"),
        ("Bearer a b", 400, "invalid_request"),
    ] {
        let answer = place.door.send(Request::get("/userinfo").header("Authorization", header)).await;
        let shown: String = header.chars().take(20).collect();
        assert_eq!((answer.status, &answer.json()["error"]), (status, &json!(code)), "{shown}");
        // What is refused as a bearer's may be good under DPoP (RFC 9449 section 7.2): that is said after the reason.
        let challenges = answer.all("www-authenticate");
        assert!(challenges.first().is_some_and(|challenge| challenge.contains(code)), "{shown}");
    }
    // RFC 6750 section 3.1: who shows no token is told no code.
    for request in [
        Request::get("/userinfo"),
        Request::get("/userinfo?access_token=x"),
        Request::get("/userinfo").header("Authorization", "Basic eA=="),
        posted("/userinfo", &[("access_token", "")]),
    ] {
        let answer = place.door.send(request).await;
        assert!(answer.status == 401 && answer.text().is_empty(), "{answer:?}");
    }
    let twice = [("access_token", "x"), ("access_token", "x")];
    for request in [
        posted("/userinfo", &twice),
        posted("/userinfo", &twice[..1]).bearer("x"),
        posted("/userinfo", &[("access_token", NUL)]),
        Request::get("/userinfo").bearer("x").header("Authorization", "Bearer x"),
    ] {
        let answer = place.door.send(request).await;
        assert_eq!((answer.status, &answer.json()["error"]), (400, &json!("invalid_request")), "{answer:?}");
    }
}

/// RFC 7591 section 3.2.2.
async fn registrations(place: &Place) {
    let good = json!({"redirect_uris": [CALLBACK], "client_name": "Registered"});
    let send = async |body: &Value| place.door.send(Request::new("POST", "/oidc/register").json(body)).await;
    assert_eq!(send(&good).await.status, 201);
    let before = place.stored().await;
    let texts = [
        "client_name",
        "token_endpoint_auth_method",
        "application_type",
        "client_uri",
        "policy_uri",
        "tos_uri",
        "jwks_uri",
        "subject_type",
        "id_token_signed_response_alg",
        "userinfo_signed_response_alg",
        "request_object_signing_alg",
        "token_endpoint_auth_signing_alg",
        "initiate_login_uri",
    ];
    let lists = [
        "redirect_uris",
        "grant_types",
        "response_types",
        "contacts",
        "request_uris",
        "post_logout_redirect_uris",
    ];
    let flags = ["dpop_bound_access_tokens", "require_pushed_authorization_requests"];
    let long = "x".repeat(OVERSIZED);
    let wrong = [json!(5), json!({"a": 1}), json!([5]), json!([["x"]]), json!(-1.5), json!(long)];
    for name in texts.iter().chain(&lists).chain(&flags).chain(&["jwks"]) {
        for value in &wrong {
            let mut body = good.clone();
            body[*name] = value.clone();
            let answer = send(&body).await;
            let shown: String = value.to_string().chars().take(20).collect();
            assert_eq!(answer.status, 400, "{name}: {shown}: {answer:?}");
            let code = answer.json()["error"].as_str().unwrap_or_default().to_owned();
            let codes = ["invalid_client_metadata", "invalid_redirect_uri"];
            assert!(codes.contains(&code.as_str()), "{name}: {shown}: {}", answer.text());
        }
    }
    let raw = [
        "",
        "[]",
        "null",
        "{",
        r#"{"redirect_uris":["http://localhost/a"],"redirect_uris":["http://localhost/b"]}"#,
        r#"{"redirect_uris":["http://localhost/a"],"client_name":"\u0000"}"#,
        r#"{"client_name":"no address"}"#,
    ];
    for text in raw {
        let request = Request::new("POST", "/oidc/register").header("Content-Type", "application/json");
        let answer = place.door.send(request.body(text)).await;
        assert_eq!(answer.status, 400, "{text}: {answer:?}");
    }
    judge_json(&place.door.post("/oidc/register", &[]).await, Here("invalid_client_metadata"), "a form");
    for method in ["GET", "PUT", "DELETE"] {
        for token in ["x", &long] {
            let target = format!("/oidc/register/{}", place.client);
            let request = Request::new(method, &target).bearer(token);
            let request = if method == "PUT" { request.json(&good) } else { request };
            let answer = place.door.send(request).await;
            assert_eq!((answer.status, &answer.json()["error"]), (401, &json!("invalid_token")), "{method}");
        }
    }
    assert_eq!(place.stored().await, before, "a client was registered");
}

async fn sign_ups(place: &Place) {
    let before = place.stored().await;
    let good = json!({
        "client_id": place.client, "email": "new@example.com", "password": "Quite-l0ng-enough", "connection": DATABASE,
    });
    let long = "x".repeat(OVERSIZED);
    for name in ["client_id", "email", "password", "connection"] {
        let wrong = [json!(null), json!(5), json!({}), json!(["x"]), json!(""), json!("\0"), json!(long)];
        for value in wrong {
            let mut body = good.clone();
            body[name] = value.clone();
            let answer = place.door.send(Request::new("POST", "/dbconnections/signup").json(&body)).await;
            assert!(answer.status == 400 && answer.json()["code"].is_string(), "{name}: {answer:?}");
            if name == "password" || name == "email" && value.is_string() && value != "" && value != "\0" {
                continue;
            }
            let path = "/dbconnections/change_password";
            let answer = place.door.send(Request::new("POST", path).json(&body)).await;
            assert_eq!(answer.status, 400, "{path} {name}: {answer:?}");
        }
    }
    assert_eq!(place.stored().await, before, "an account was made");
}
