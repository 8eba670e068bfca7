//! Users by search, and records linked to one another.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::world::{Answer, World};

const PASSWORD: &str = "corr3ct-Horse-battery";

/// An administrator with four users beside the demo user.
struct People {
    world: World,
    token: String,
}

impl People {
    async fn new() -> Self {
        let world = World::new().await;
        let token = world.management_token("").await;
        let people = Self { world, token };
        for (name, plan, age) in [
            ("Jane Doe", "pro", 30),
            ("John Doe", "free", 20),
            ("Jim Roe", "pro", 40),
            ("Zoë (X)", "free", 50),
        ] {
            let local = name.split(' ').next().unwrap().to_lowercase().replace('ë', "e");
            people.add(&local, json!({ "name": name, "app_metadata": { "plan": plan, "age": age } })).await;
            people.world.clock.advance(std::time::Duration::from_secs(60));
        }
        people
    }

    async fn add(&self, local: &str, more: Value) -> String {
        let mut user = json!({
            "connection": "Username-Password-Authentication", "email": format!("{local}@people.example"),
            "password": PASSWORD, "user_id": local,
        });
        user.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let made = self.call("POST", "users", Some(user)).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
        made.json()["user_id"].as_str().unwrap().to_owned()
    }

    async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.world.call(&self.token, method, path, body).await
    }

    /// The local ids of what a search finds.
    async fn found(&self, query: &[(&str, &str)]) -> Vec<String> {
        let path = format!("users?{}", crate::fields::to_query(query.iter().copied()));
        let answer = self.call("GET", &path, None).await;
        assert_eq!(answer.status, StatusCode::OK, "{query:?}: {}", answer.body);
        let users = answer.json();
        let users = users.as_array().unwrap().iter();
        users.map(|user| user["user_id"].as_str().unwrap().trim_start_matches("auth0|").to_owned()).collect()
    }
}

#[tokio::test]
async fn users_are_found_by_every_kind_of_condition() {
    let people = People::new().await;
    let cases: [(&str, &[&str]); 12] = [
        ("name:\"Jane Doe\"", &["jane"]),
        ("name:doe", &["jane", "john"]),
        ("email:j*@people.example", &["jane", "john", "jim"]),
        ("app_metadata.plan:\"pro\" AND app_metadata.age:[35 TO *]", &["jim"]),
        ("app_metadata.plan:pro OR name:zoë", &["jane", "jim", "zoe"]),
        ("email:*people* AND NOT name:doe", &["jim", "zoe"]),
        ("user_id:\"auth0|john\"", &["john"]),
        ("email:jane@people.example", &["jane"]),
        ("blocked:false AND email_verified:false", &["jane", "john", "jim", "zoe"]),
        ("created_at:[2027-01-15T08:01 TO *]", &["john", "jim", "zoe"]),
        ("roe", &["jim"]),
        ("email:nobody@people.example", &[]),
    ];
    for (q, expected) in cases {
        assert_eq!(people.found(&[("q", q), ("search_engine", "v3")]).await, expected, "{q}");
    }
    let sorted = [("q", "email:*@people.example"), ("sort", "app_metadata.age:-1"), ("per_page", "3")];
    assert_eq!(people.found(&sorted).await, ["zoe", "jim", "jane"]);
    let second = [("q", "email:*@people.example"), ("sort", "name:1"), ("per_page", "2"), ("page", "1")];
    assert_eq!(people.found(&second).await, ["john", "zoe"]);
    assert_eq!(people.found(&[("sort", "created_at:-1"), ("per_page", "1")]).await, ["zoe"]);
    let totals =
        people.call("GET", "users?q=name:doe&include_totals=true&per_page=1&fields=email", None).await;
    assert_eq!(
        totals.json(),
        json!({ "users": [{ "email": "jane@people.example" }], "start": 0, "limit": 1, "length": 1, "total": 2 })
    );
}

#[tokio::test]
async fn o37_searches_that_are_none_are_refused_quickly() {
    let people = People::new().await;
    let long = format!("users?q={}", "a".repeat(3000));
    for path in [
        "users?q=name:(a",
        "users?q=%22",
        "users?q=name:%5B1",
        "users?q=a&search_engine=v2",
        "users?q=a&sort=name",
        "users?sort=name:0",
        "users?q=a&q=b",
        "users?q=a&page=90&per_page=100",
        &long,
    ] {
        let answer = people.call("GET", path, None).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}: {}", answer.body);
        assert_eq!(answer.json()["errorCode"], "invalid_query_string");
    }
    // What looks like SQL or a pattern is a text like any other.
    for q in ["name:\"' OR 1=1 --\"", "name:\"%\"", "email:\"_ane@people.example\""] {
        assert_eq!(people.found(&[("q", q)]).await, Vec::<String>::new(), "{q}");
    }
}

#[tokio::test]
async fn a_linked_record_leads_to_the_other_until_it_is_unlinked() {
    let people = People::new().await;
    let link = json!({ "provider": "auth0", "user_id": "john" });
    let linked = people.call("POST", "users/auth0%7Cjane/identities", Some(link.clone())).await;
    assert_eq!(linked.status, StatusCode::CREATED, "{}", linked.body);
    assert_eq!(linked.json()[1]["user_id"], "john");
    assert_eq!(linked.json()[1]["profileData"]["email"], "john@people.example");
    assert_eq!(people.call("GET", "users/auth0%7Cjohn", None).await.status, StatusCode::NOT_FOUND);
    assert_eq!(people.found(&[("q", "name:doe")]).await, ["jane"]);
    assert_eq!(people.found(&[("q", "identities.user_id:john")]).await, ["jane"]);

    // John's password opens Jane's account.
    let mut agent = people.world.agent();
    let page = agent.open(&people.world.authorize(&[])).await;
    let fields = [("username", "john@people.example"), ("password", PASSWORD)];
    let answer = agent.submit(&page, &fields).await;
    let answer = agent.follow(answer).await;
    let tokens = people.world.redeem(&answer.param("code").unwrap()).await.json();
    let mut reader = people.world.agent();
    reader.extra.push(("authorization", format!("Bearer {}", tokens["access_token"].as_str().unwrap())));
    assert_eq!(reader.get("/userinfo").await.json()["sub"], "auth0|jane");

    let again = people.call("POST", "users/auth0%7Cjim/identities", Some(link)).await;
    assert_eq!(again.status, StatusCode::BAD_REQUEST, "{}", again.body);
    let unlinked = people.call("DELETE", "users/auth0%7Cjane/identities/auth0/john", None).await;
    assert_eq!((unlinked.status, unlinked.json().as_array().unwrap().len()), (StatusCode::OK, 1));
    assert_eq!(people.call("GET", "users/auth0%7Cjohn", None).await.status, StatusCode::OK);
    let gone = people.call("DELETE", "users/auth0%7Cjane/identities/auth0/john", None).await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn o40_only_another_record_can_be_linked() {
    let people = People::new().await;
    let cases = [
        json!({}),
        json!({ "provider": "auth0" }),
        json!({ "provider": "auth0", "user_id": 1 }),
        json!({ "provider": "auth0", "user_id": "jane" }),
        json!({ "provider": "auth0", "user_id": "nobody" }),
        json!({ "provider": "auth0", "user_id": "john", "evil": 1 }),
        json!({ "provider": "auth0", "user_id": "john", "connection_id": "con_other" }),
        json!({ "link_with": "a.b.c" }),
        json!({ "link_with": people.token }),
        json!({ "link_with": "x", "provider": "auth0", "user_id": "john" }),
    ];
    for body in cases {
        let answer = people.call("POST", "users/auth0%7Cjane/identities", Some(body.clone())).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}: {}", answer.body);
    }
    let link = Some(json!({ "provider": "auth0", "user_id": "john" }));
    assert_eq!(people.call("POST", "users/auth0%7Cno/identities", link).await.status, StatusCode::NOT_FOUND);
    let own = people.call("DELETE", "users/auth0%7Cjane/identities/auth0/jane", None).await;
    assert_eq!(own.status, StatusCode::BAD_REQUEST);
    let patched = people.call("PATCH", "users/auth0%7Cjane", Some(json!({ "linked": [] }))).await;
    assert_eq!(patched.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_user_has_a_picture_and_an_address_in_lower_case_unless_told_otherwise() {
    let people = People::new().await;
    let login = json!({ "connection": "Username-Password-Authentication", "password": PASSWORD });
    let make = async |more: Value| {
        let mut body = login.clone();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let made = people.call("POST", "users", Some(body)).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
        made.json()
    };
    let made = make(json!({ "email": "Test@Test.com" })).await;
    let gravatar = "https://s.gravatar.com/avatar/b642b4217b34b1e8d3bd915fc65c4452?s=480&r=pg\
                    &d=https%3A%2F%2Fcdn.auth0.com%2Favatars%2Fte.png";
    assert_eq!((&made["email"], &made["picture"]), (&json!("test@test.com"), &json!(gravatar)));
    let own = make(json!({ "email": "own@test.com", "picture": "https://a.example/p.png" })).await;
    assert_eq!(own["picture"], "https://a.example/p.png");

    // Only the case is another: it is still the proven address.
    let path = format!("users/{}", made["user_id"].as_str().unwrap().replace('|', "%7C"));
    people.call("PATCH", &path, Some(json!({ "email_verified": true }))).await;
    let changed = people.call("PATCH", &path, Some(json!({ "email": "TEST@test.com" }))).await.json();
    assert_eq!((&changed["email"], &changed["email_verified"]), (&json!("test@test.com"), &json!(true)));

    let world = &people.world;
    let mut agent = world.agent();
    let page = agent.open(&world.authorize(&[])).await;
    let answer = agent.submit(&page, &[("username", "tEST@Test.com"), ("password", PASSWORD)]).await;
    let code = agent.follow(answer).await.param("code").unwrap();
    let tokens = world.redeem(&code).await.json();
    let claims = super::world::claims(tokens["id_token"].as_str().unwrap());
    agent.extra = vec![("authorization", format!("Bearer {}", tokens["access_token"].as_str().unwrap()))];
    let told = agent.get("/userinfo").await.json();
    for said in [&claims, &told] {
        assert_eq!((&said["picture"], &said["email"]), (&json!(gravatar), &json!("test@test.com")), "{said}");
    }
}

#[tokio::test]
async fn an_imported_user_has_a_picture_and_an_address_in_lower_case_like_any_other() {
    let world = World::new().await;
    let token = world.management_token("").await;
    let connections = world.call(&token, "GET", "connections", None).await.json();
    let connection = connections[0]["id"].as_str().unwrap();
    let site = world.idp.site("localhost:9400").await.unwrap().unwrap();
    let jobs = &world.idp.management.jobs;
    for (upsert, address) in [(false, "Mixed@Example.com"), (true, "MIXED@example.COM")] {
        let file = json!([{ "email": address, "user_id": "mixed" }]).to_string();
        let (_, order) = jobs.begin_import(&site, connection, file.as_bytes(), upsert, None).await.unwrap();
        jobs.import(&site, order).await.unwrap();
        let user = world.call(&token, "GET", "users/auth0%7Cmixed", None).await;
        assert_eq!(user.status, StatusCode::OK, "{}", user.body);
        let user = user.json();
        assert_eq!(user["email"], "mixed@example.com", "{address}");
        let picture = user["picture"].as_str().unwrap();
        assert!(picture.starts_with("https://s.gravatar.com/avatar/"), "{picture}");
    }
}
