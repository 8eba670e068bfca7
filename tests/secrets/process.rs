//! S08 and S12: the process's own surface, and what a storm of logins costs.

use std::fs;

use crate::support::{Portcullis, Request, shared};

#[tokio::test]
async fn s08_no_secret_is_in_the_arguments_and_no_core_is_dumped() {
    let gate = shared();
    let arguments = fs::read_to_string(format!("/proc/{}/cmdline", gate.pid())).unwrap();
    for (name, value) in gate.variables() {
        let secret = name.contains("SECRET") || name.contains("KEY") || name.contains("PASSWORD");
        assert!(!secret || value.is_empty() || !arguments.contains(&value), "{name} is in the arguments");
    }
    let limits = fs::read_to_string(format!("/proc/{}/limits", gate.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let words: Vec<&str> = core.split_whitespace().collect();
    assert_eq!((words[4], words[5]), ("0", "0"), "{core}");
}

#[tokio::test]
async fn s12_a_storm_of_logins_does_not_keep_the_gateway_waiting() {
    let gate = Portcullis::dev();
    let site = crate::support::Site::on(std::sync::Arc::new(gate), serde_json::json!({})).await;
    let (user, identity) = (site.gate.variable("DEMO_USER"), site.gate.port(9400));
    assert!(!user.is_empty(), "there is no demo user");
    // The password grant is not there; every login form's POST costs one Argon2id. The forms themselves are checked
    // before the hash, so each client opens one of its own.
    let before = site.gate.resident();
    let mut storm = tokio::task::JoinSet::new();
    for n in 0..100 {
        let (gate, user) = (site.gate.clone(), user.clone());
        storm.spawn(async move {
            let mut browser = crate::support::Browser::new();
            let query = format!(
                "client_id={}&response_type=code&scope=openid&state=state-{n}&redirect_uri=http://localhost:{}/callback",
                gate.variable("AUTH0_CLIENT_ID"),
                gate.port(9080)
            );
            let page = browser.open(&format!("http://localhost:{identity}/authorize?{query}")).await;
            browser.log_in(&page, &user, "not the password").await.status()
        });
    }
    for _ in 0..200 {
        let asked = tokio::time::timeout(std::time::Duration::from_secs(5), site.get("good")).await;
        assert_eq!(asked.expect("the gateway waited for the hashing").status, 200);
    }
    while let Some(status) = storm.join_next().await {
        let status = status.unwrap();
        assert!((400..500).contains(&status) || status == 200, "{status}");
    }
    // 100 hashes at once would be gigabytes; the pool lets a few run at a time.
    let grown = site.gate.resident().saturating_sub(before);
    assert!(grown < 256 << 20, "memory grew by {grown} bytes");
    assert_eq!(Request::get("/.well-known/openid-configuration").send(identity).await.status, 200);
}
