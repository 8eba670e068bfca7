//! Which targets of an upstream are well, and what becomes of requests when some are not.

use super::*;

/// What Kong says when no target can be asked.
const NO_PEER: &str = "failure to get a peer from the ring-balancer";

impl Kong {
    /// Leads the service to an upstream of these targets with these checks, and tells the upstream's name.
    pub(super) async fn balanced(&self, targets: &[&Upstream], upstream: Value) -> String {
        let host = format!("{}.local", self.name);
        let mut body = upstream;
        body["name"] = json!(host);
        self.made("POST", "/upstreams", body).await;
        for target in targets {
            self.made("POST", &format!("/upstreams/{host}/targets"), json!({"target": target.node()})).await;
        }
        self.made("PATCH", &format!("/services/{}", self.name), json!({"host": host})).await;
        host
    }

    /// The health of a target as the Admin API tells it.
    async fn health(&self, host: &str, target: &Upstream) -> String {
        let all = self.ask("GET", &format!("/upstreams/{host}/health")).await.json();
        let all = all["data"].as_array().unwrap();
        let one = all.iter().find(|found| found["target"] == target.node().as_str()).unwrap();
        one["health"].as_str().unwrap().to_owned()
    }

    /// Says how a target is.
    async fn settle(&self, host: &str, target: &Upstream, word: &str) {
        let path = format!("/upstreams/{host}/targets/{}/{word}", target.node());
        assert_eq!(self.ask("PUT", &path).await.status, 204, "{path}");
    }

    /// What so many requests are answered with.
    pub(super) async fn answers(&self, count: usize) -> Vec<String> {
        self.answers_to(&self.request("GET", "/x"), count).await
    }

    /// What one request is answered with, so many times.
    pub(super) async fn answers_to(&self, request: &Request, count: usize) -> Vec<String> {
        let mut all = Vec::new();
        for _ in 0..count {
            let answer = self.send(request.clone()).await;
            all.push(if answer.status == 200 { answer.text() } else { answer.status.to_string() });
        }
        all
    }
}

/// A target that answers with its name.
pub(super) fn named(name: &'static str) -> Upstream {
    Upstream::scripted(move |_| Answer::text(name))
}

#[tokio::test]
async fn a_target_that_fails_its_checks_gets_no_requests_and_without_one_that_is_well_nobody_is_asked() {
    let kong = Kong::new().await;
    let (one, two) = (named("one"), named("two"));
    let active = json!({
        "http_path": "/ready", "headers": {"X-Check": ["a", "b"]},
        "healthy": {"interval": 0.1, "successes": 1}, "unhealthy": {"interval": 0.1, "http_failures": 1, "tcp_failures": 1},
    });
    let host = kong.balanced(&[&one, &two], json!({"healthchecks": {"active": active}})).await;
    let becomes = async |target: &Upstream, health: &str| {
        within(health, async { while kong.health(&host, target).await != health {} }).await;
    };
    within("a check", async {
        while one.seen_with("/ready").is_empty() {
            kong.health(&host, &one).await;
        }
    })
    .await;
    let seen = one.seen_with("/ready").pop().unwrap();
    let lines = seen.message.all("x-check");
    assert_eq!((lines, seen.header("host")), (vec!["a", "b"], Some(one.node().as_str())));
    one.answer(Answer::with(503, &[], ""));
    becomes(&one, "UNHEALTHY").await;
    assert_eq!(kong.answers(6).await, vec!["two"; 6]);
    two.stop();
    becomes(&two, "UNHEALTHY").await;
    let none = kong.send(kong.request("GET", "/x")).await;
    assert_eq!((none.status, none.json()["message"].as_str()), (503, Some(NO_PEER)));
    one.script(|_| Answer::text("one"));
    becomes(&one, "HEALTHY").await;
    assert_eq!(kong.answers(3).await, vec!["one"; 3]);
}

#[tokio::test]
async fn what_clients_are_answered_counts_until_somebody_says_that_the_target_is_well() {
    let kong = Kong::new().await;
    let (bad, good) = (Upstream::scripted(|_| Answer::with(500, &[], "bad")), named("good"));
    let passive = json!({"unhealthy": {"http_failures": 2, "http_statuses": [500]}});
    let host = kong.balanced(&[&bad, &good], json!({"healthchecks": {"passive": passive}})).await;
    let answers = kong.answers(12).await;
    assert_eq!(answers.iter().filter(|answer| *answer == "500").count(), 2, "{answers:?}");
    assert_eq!(kong.health(&host, &bad).await, "UNHEALTHY");
    // Another service of the same upstream knows it too.
    let other = unique("kong-");
    kong.made("POST", "/services", json!({"name": other, "host": host})).await;
    kong.made("POST", &format!("/services/{other}/routes"), json!({"paths": [format!("/{other}")]})).await;
    for _ in 0..4 {
        assert_eq!(kong.send(Request::get(&format!("/{other}"))).await.text(), "good");
    }
    kong.settle(&host, &bad, "healthy").await;
    assert_eq!(kong.health(&host, &bad).await, "HEALTHY");
    assert!(kong.answers(2).await.contains(&"500".to_owned()));
    kong.settle(&host, &bad, "unhealthy").await;
    assert_eq!(kong.answers(4).await, vec!["good"; 4]);
    kong.settle(&host, &good, "unhealthy").await;
    assert_eq!(kong.answers(1).await, ["503"]);
}

#[tokio::test]
async fn with_too_little_weight_that_is_well_nobody_is_asked() {
    let kong = Kong::new().await;
    let targets = [named("a"), named("b"), named("c")];
    let [a, b, c] = &targets;
    let host = kong.balanced(&[a, b, c], json!({"healthchecks": {"threshold": 50}})).await;
    kong.settle(&host, a, "unhealthy").await;
    assert!(kong.answers(6).await.iter().all(|answer| answer != "a" && answer != "503"));
    kong.settle(&host, b, "unhealthy").await;
    assert_eq!(kong.answers(2).await, ["503", "503"], "a third is less than half");
    kong.made("PATCH", &format!("/upstreams/{host}"), json!({"healthchecks": {"threshold": 33}})).await;
    assert_eq!(kong.answers(2).await, ["c", "c"]);
}

#[tokio::test]
async fn upstreams_that_do_not_answer_are_spoken_of_in_kongs_words() {
    let kong = Kong::new().await;
    let said = async |path: &str| {
        let answer = kong.send(Request::new("POST", path)).await;
        (answer.status, answer.json()["message"].as_str().unwrap().to_owned())
    };
    let own = format!("/{}", kong.name);
    kong.upstream.answer(Answer::Close);
    let broken = (502, "An invalid response was received from the upstream server".to_owned());
    assert_eq!(said(&own).await, broken);
    kong.made("PATCH", &format!("/services/{}", kong.name), json!({"read_timeout": 50})).await;
    kong.upstream.answer(Answer::Stall);
    assert_eq!(said(&own).await, (504, "The upstream server is timing out".to_owned()));
    // Until the kernel has closed the listener it takes connections: such a one breaks, and nobody times out meanwhile.
    kong.made("PATCH", &format!("/services/{}", kong.name), json!({"read_timeout": 60_000})).await;
    kong.upstream.stop();
    assert_eq!(said(&own).await, broken);
    kong.made(
        "PATCH",
        &format!("/services/{}", kong.name),
        json!({"host": format!("{}.invalid", kong.name)}),
    )
    .await;
    assert_eq!(said(&own).await, (503, "name resolution failed".to_owned()));
    let empty = format!("{}.local", kong.name);
    kong.made("POST", "/upstreams", json!({"name": empty})).await;
    kong.made("PATCH", &format!("/services/{}", kong.name), json!({"host": empty})).await;
    assert_eq!(said(&own).await, (503, NO_PEER.to_owned()));
}
