//! Where a login leads back to.

use super::*;

#[tokio::test]
async fn r15_the_way_back_never_leaves_the_origin() {
    let gate = Gate::new().await;
    let pages = [
        "https://app.example//evil.example/",
        "https://app.example/%2F%2Fevil.example",
        "https://app.example/%5Cevil.example",
        "https://app.example/?rd=https://evil.example",
        "https://app.example/@evil.example",
        "https://app.example/.evil.example",
        "https://app.example/x?next=//evil.example&a=%0d%0aLocation:%20https://evil.example",
    ];
    for page in pages.map(str::to_owned).into_iter().chain(tricks()) {
        let mut jar = Jar::default();
        let away = jar.go(&gate, &page).await;
        let back = jar.go(&gate, &gate.idp.authorize(away.location())).await;
        assert!(back.location().starts_with("https://app.example/"), "{}", back.location());
        assert_eq!(Url::parse(back.location()).unwrap().host_str(), Some("app.example"));
        assert_eq!(back.location(), page, "what was asked for is what is returned to");
    }
}

/// Addresses that some reader takes for another host: every way to begin, with every way to name the host.
fn tricks() -> impl Iterator<Item = String> {
    let starts = [
        "/",
        "//",
        "///",
        "/\\",
        "/\\/",
        "/%2f",
        "/%2F%2f",
        "/%5c",
        "/%5C%5c",
        "/%09/",
        "/%0d%0a/",
        "/%0a//",
        "/%00/",
        "/.",
        "/..;/",
        "/./%2f",
        "/;/",
        "/@",
        "/:80/",
        "/https:",
        "/https://",
        "/javascript:",
        "/data:text/html,",
        "/%68ttps://",
        "/?/",
        "/?next=//",
        "/?url=https://",
        "/?a=%0d%0aLocation:%20https://",
        "/?\\",
        "/?@",
        "/?%2f%2f",
    ];
    let hosts = [
        "evil.example",
        "evil.example:443",
        "evil.example%2f..",
        "user:pass@evil.example",
        "evil%E3%80%82example",
    ];
    let url = |(start, host): (&str, &str)| format!("https://app.example{start}{host}");
    let pairs = starts.into_iter().flat_map(move |start| hosts.into_iter().map(move |host| (start, host)));
    // As the engine hands them over: a URL parser has been there, and dot segments are gone.
    pairs.map(url).filter_map(|text| Some(Url::parse(&text).ok()?.to_string()))
}

#[tokio::test]
async fn a_page_whose_address_has_letters_beyond_ascii_is_returned_to() {
    let gate = Gate::new().await;
    let login = rp::session::Login::begin(
        &gate.services.random,
        gate.clock.now(),
        "https://app.example",
        "/caf\u{e9}?q=\u{fc}",
        "https://app.example/callback",
    );
    let reply = answer::redirect(StatusCode::FOUND, &login.return_to, Vec::new());
    assert_eq!(reply.headers()["location"], "https://app.example/caf%C3%A9?q=%C3%BC");
    let split = answer::redirect(StatusCode::FOUND, "https://a/\r\nSet-Cookie: x=1", Vec::new());
    assert_eq!(split.headers()["location"], "https://a/%0D%0ASet-Cookie: x=1");
}
