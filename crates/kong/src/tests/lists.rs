//! Pages and tags.

use serde_json::{Value, json};

use super::World;

async fn with_tagged(count: usize) -> World {
    let world = World::new().await;
    for at in 0..count {
        let tags = if at % 2 == 0 { json!(["all", "even"]) } else { json!(["all", "odd"]) };
        let made = world
            .json("POST", "/services", json!({"name": format!("s{at}"), "host": "a", "tags": tags}))
            .await;
        assert_eq!(made.status, 201, "{made:?}");
    }
    world
}

#[tokio::test]
async fn pages_cover_everything_once() {
    let world = with_tagged(7).await;
    let (mut path, mut seen) = ("/services?size=3".to_owned(), Vec::new());
    for turn in 0.. {
        let page = world.get(&path).await;
        let data = page.body["data"].as_array().unwrap().clone();
        assert!(data.len() == 3 || turn == 2, "{page:?}");
        seen.extend(data.iter().map(|entity| entity["name"].as_str().unwrap().to_owned()));
        match page.body["next"].as_str() {
            Some(next) => {
                assert!(next.contains("size=3") && page.body["offset"].is_string());
                path = next.to_owned();
            }
            None => {
                assert!(page.body.get("offset").is_none());
                break;
            }
        }
    }
    seen.sort();
    assert_eq!(seen, (0..7).map(|at| format!("s{at}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn absurd_pages_are_refused() {
    let world = with_tagged(1).await;
    for (query, code, message) in [
        ("size=0", 9, "size must be an integer between 1 and 1000"),
        ("size=1001", 9, "size must be an integer between 1 and 1000"),
        ("size=1.5", 9, "size must be an integer between 1 and 1000"),
        ("size=x", 9, "size must be a number"),
        ("offset=x", 7, "'x' is not a valid offset: bad base64 encoding"),
        ("offset=eHh4", 7, "'eHh4' is not a valid offset: bad json encoding"),
    ] {
        let refused = world.get(&format!("/services?{query}")).await;
        assert_eq!(
            (refused.status, &refused.body["code"], refused.message()),
            (400, &json!(code), message),
            "{query}"
        );
    }
}

#[tokio::test]
async fn tags_are_joined_by_and_or_by_or() {
    let world = with_tagged(4).await;
    let count = async |tags: &str| {
        let found = world.get(&format!("/services?tags={tags}")).await;
        found.body["data"].as_array().map_or(Value::Null, |data| json!(data.len()))
    };
    assert_eq!(count("all").await, 4);
    assert_eq!(count("all,odd").await, 2);
    assert_eq!(count("odd,even").await, 0);
    assert_eq!(count("odd/even").await, 4);
    for mixed in ["a,b/c", "a,", ""] {
        let refused = world.get(&format!("/services?tags={mixed}")).await;
        assert_eq!((refused.status, &refused.body["code"]), (400, &json!(11)), "{mixed}");
        assert!(refused.body["options"]["tags"].is_string());
    }
    world.json("POST", "/services", json!({"host": "a", "tags": ["a/b"]})).await.assert_violation(json!({
        "tags": ["invalid tag 'a/b': expected printable ascii (except `,` and `/`) or valid utf-8 sequences"]
    }));
}
