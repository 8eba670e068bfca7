//! A route of a test's own with an upstream behind it, and a way to try many bad requests on it.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Answer, Connection, Portcullis, Request, Response, Seen, Upstream, shared, unique};

/// Everything below one path goes to one recording upstream.
pub(crate) struct Site {
    /// The gateway.
    pub(crate) gate: Arc<Portcullis>,
    /// **U**.
    pub(crate) upstream: Upstream,
    /// The path, without a slash at the end.
    pub(crate) path: String,
}

impl Site {
    /// An open route on the shared instance.
    pub(crate) async fn new() -> Self {
        Self::with_plugins(json!({})).await
    }

    /// A route with these plugins on the shared instance.
    pub(crate) async fn with_plugins(plugins: Value) -> Self {
        Self::on(shared(), plugins).await
    }

    /// An open route on an instance of its own, for tests that measure the process.
    pub(crate) async fn alone() -> Self {
        Self::on(Arc::new(Portcullis::dev()), json!({})).await
    }

    /// A route with these plugins on this instance.
    pub(crate) async fn on(gate: Arc<Portcullis>, plugins: Value) -> Self {
        let (upstream, id) = (Upstream::start(), unique("site-"));
        let path = format!("/{id}");
        gate.admin().route(&id, &format!("{path}/*"), &upstream, plugins).await;
        Self { gate, upstream, path }
    }

    /// A target below the site's path.
    pub(crate) fn target(&self, rest: &str) -> String {
        format!("{}/{rest}", self.path)
    }

    /// One `GET` below the site's path.
    pub(crate) async fn get(&self, rest: &str) -> Response {
        self.gate.get(&self.target(rest)).await
    }

    /// Fails the test unless a good request is served as ever.
    pub(crate) async fn still_serves(&self) {
        assert!(self.gate.is_running(), "the process is gone");
        self.upstream.answer(Answer::text("ok"));
        let answer = self.get("good").await;
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (200, "ok"),
            "a good request is no longer served"
        );
    }
}

/// Tries one bad request after another and reports all that went wrong at the end.
pub(crate) struct Probe<'a> {
    site: &'a Site,
    failures: Vec<String>,
}

impl<'a> Probe<'a> {
    /// On this site.
    pub(crate) const fn new(site: &'a Site) -> Self {
        Self { site, failures: Vec::new() }
    }

    /// Notes a failure.
    pub(crate) fn fail(&mut self, case: &str, why: impl AsRef<str>) {
        self.failures.push(format!("{case}: {}", why.as_ref()));
    }

    /// Notes a failure unless `good`.
    pub(crate) fn check(&mut self, case: &str, good: bool, why: impl AsRef<str>) {
        if !good {
            self.fail(case, why);
        }
    }

    /// The bytes must be answered with one of `statuses` and the connection closed, and nothing may reach U.
    pub(crate) async fn refuses(&mut self, case: &str, bytes: impl AsRef<[u8]>, statuses: &[u16]) {
        let before = self.site.upstream.received();
        let mut connection = self.site.gate.connect().await;
        connection.send(&bytes).await;
        match connection.response().await {
            Some(answer) if statuses.contains(&answer.status) => {
                let rest = connection.rest().await;
                let rest = String::from_utf8_lossy(&rest).into_owned();
                self.check(case, rest.is_empty(), format!("{} was followed by {rest:?}", answer.status));
            }
            Some(answer) => self.fail(case, format!("answered {}, not {statuses:?}", answer.status)),
            None => self.fail(case, format!("closed without an answer, not {statuses:?}")),
        }
        let after = self.site.upstream.received();
        let sent = after.strip_prefix(&before).unwrap_or(&after);
        self.check(case, sent.is_empty(), format!("the upstream got {sent:?}"));
    }

    /// The bytes must be refused with one of `statuses`, or go upstream as one well-framed request with `body`, and
    /// nothing that follows them may go upstream as a request of its own.
    pub(crate) async fn refuses_or_forwards(
        &mut self,
        case: &str,
        bytes: impl AsRef<[u8]>,
        statuses: &[u16],
        body: &[u8],
    ) -> Option<Response> {
        let before = self.site.upstream.seen().len();
        let mut connection = self.site.gate.connect().await;
        connection.send(&bytes).await;
        let answer = connection.response().await;
        connection.half_close().await;
        connection.rest().await;
        let new = self.site.upstream.seen().split_off(before);
        match &answer {
            Some(answer) if statuses.contains(&answer.status) => {
                self.check(case, new.is_empty(), format!("refused, but the upstream saw {new:?}"));
            }
            Some(answer) if answer.status == 200 => match new.as_slice() {
                [seen] => self.check_framing(case, seen, body),
                _ => self.fail(case, format!("the upstream saw {} requests: {new:?}", new.len())),
            },
            Some(answer) => self.fail(case, format!("answered {}, not {statuses:?} nor 200", answer.status)),
            None => self.fail(case, "closed without an answer"),
        }
        answer
    }

    /// The bytes must go upstream as one well-framed request with `body`.
    pub(crate) async fn forwards(&mut self, case: &str, bytes: impl AsRef<[u8]>, body: &[u8]) {
        self.refuses_or_forwards(case, bytes, &[], body).await;
    }

    fn check_framing(&mut self, case: &str, seen: &Seen, body: &[u8]) {
        let (lengths, codings) = (seen.message.all("content-length"), seen.message.all("transfer-encoding"));
        let digits = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let framed = match (lengths.as_slice(), codings.as_slice()) {
            ([length], []) => digits(length),
            ([], [coding]) => *coding == "chunked",
            ([], []) => true,
            _ => false,
        };
        self.check(case, framed, format!("framed upstream as {lengths:?} and {codings:?}"));
        self.check(case, seen.message.body == body, format!("the body became {:?}", seen.message.body));
        self.check(case, !seen.target.contains("smuggled"), "a smuggled request went upstream");
    }

    /// Fails the test if anything went wrong, or if the gateway no longer serves good requests.
    pub(crate) async fn finish(self) {
        let site = self.site;
        self.report();
        site.still_serves().await;
    }

    /// Fails the test if anything went wrong.
    pub(crate) fn report(self) {
        assert!(self.failures.is_empty(), "{} failed:\n{}", self.failures.len(), self.failures.join("\n"));
    }
}
