use super::*;

async fn many() -> Gate {
    let gate = Gate::new().await;
    gate.created("services/s", json!({"upstream": upstream()})).await;
    for at in 0..12 {
        let mut body =
            json!({"uri": format!("/r{at}"), "name": format!("route-{at}"), "upstream": upstream()});
        if at % 2 == 0 {
            body["labels"] = json!({"even": "yes"});
        }
        if at == 3 {
            body["service_id"] = json!("s");
        }
        gate.created(&format!("routes/{}", 12 - at), body).await;
    }
    gate.created("routes/p", json!({"paths": ["/x", "/special"], "upstream": upstream()})).await;
    gate
}

fn ids(told: &Told) -> Vec<String> {
    let list = told.json()["list"].clone();
    list.as_array().unwrap().iter().map(|one| one["value"]["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn pages_are_cut_from_the_order_of_creation() {
    let gate = many().await;
    let first = gate.get("routes?page=1&page_size=10").await;
    assert_eq!((ids(&first).len(), &first.json()["total"]), (10, &json!(13)));
    assert_eq!(ids(&first)[0], "12");
    assert_eq!(ids(&gate.get("routes?page=2&page_size=10").await), ["2", "1", "p"]);
    assert_eq!(ids(&gate.get("routes?page=-3&page_size=10").await).len(), 10);
    assert_eq!(ids(&gate.get("routes?page=9e15&page_size=500").await), Vec::<String>::new());
    for ignored in
        ["routes?page=1", "routes?page_size=3", "routes?page=x&page_size=3", "routes?page=1&page_size=NaN"]
    {
        assert_eq!(ids(&gate.get(ignored).await).len(), 13, "{ignored}");
    }
    for size in ["9", "501", "-1"] {
        let told = gate.get(&format!("routes?page=1&page_size={size}")).await;
        assert_eq!((told.status.as_u16(), told.text.as_str()), (400, "page_size must be between 10 and 500"));
    }
}

#[tokio::test]
async fn filters_narrow_the_list_and_its_total() {
    let gate = many().await;
    assert_eq!(ids(&gate.get("routes?name=route-1%24").await), ["11"]);
    assert_eq!(ids(&gate.get("routes?uri=spec").await), ["p"]);
    let even = gate.get("routes?label=even&page=1&page_size=10").await;
    assert_eq!((ids(&even).len(), &even.json()["total"]), (6, &json!(6)));
    assert_eq!(ids(&gate.get("routes?filter=service_id%3Ds").await), ["9"]);
    assert_eq!(ids(&gate.get("routes?filter=service_id%3Ds%26upstream_id%3D1").await), Vec::<String>::new());
    assert_eq!(ids(&gate.get("routes?filter=status%3D1").await).len(), 13);
    assert_eq!(ids(&gate.get("routes?label=even&name=route-0").await), ["12"]);
}

#[tokio::test]
async fn a12_patterns_of_filters_are_linear_and_bounded() {
    let gate = many().await;
    for pattern in ["%28", "%28%3F%3Da%29", "%28a%7B1000%7D%29%7B1000%7D", &"a".repeat(1025)] {
        let (status, text) = gate.get(&format!("routes?name={pattern}")).await.refusal();
        assert!(status == 400 && text.starts_with("name: "), "{text}");
    }
    assert_eq!(gate.get("routes?uri=%28a%2B%29%2B%24").await.status, 200);
}
