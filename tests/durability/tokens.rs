//! `kill -9` during token traffic, two hundred times: no code and no rotated refresh token is good twice, and no user,
//! client, session or revocation that was answered is lost.
//!
//! Every round six writers work until the process is killed, right after the answer to one of them, each in its turn.
//! Then all that this round did is judged after the restart.

use std::{collections::BTreeMap, sync::Arc};

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::{net::TcpStream, sync::Notify, task::JoinSet};
use url::Url;

use super::management_token;
use crate::support::{Connection, Portcullis, Request, Response, browser::Page, unique, within};

/// Processes, each with a database of its own, and how often each is killed.
const PROCESSES: usize = 4;
const KILLS: usize = 50;
/// Users that are made in one round.
const MAX_USERS: usize = 3;
const CALLBACK: &str = "http://localhost:9/callback";

/// What a writer does again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Redeems codes, each twice at once.
    Codes,
    /// Refreshes, each time with the token that came last.
    Refreshes,
    Users,
    Clients,
    /// Logs in.
    Sessions,
    /// Revokes refresh tokens and ends sessions.
    Revocations,
}

const KINDS: [Kind; 6] =
    [Kind::Codes, Kind::Refreshes, Kind::Users, Kind::Clients, Kind::Sessions, Kind::Revocations];

/// Whose answer is the last one before the kill, and how many of them there must be.
struct Last {
    kind: Kind,
    number: usize,
    reached: Notify,
}

/// What became of a writer's work by the time of the kill.
#[derive(Debug, Default)]
struct Work {
    /// A code, and whether one of its redemptions succeeded.
    codes: Vec<(String, bool)>,
    /// Refresh tokens in their order. The last one was under way in the end, unless it is the only one.
    chain: Vec<String>,
    /// Where what was made can be read.
    made: Vec<String>,
    /// Cookies of sessions that are there.
    sessions: Vec<Jar>,
    /// Refresh tokens that were revoked.
    revoked: Vec<String>,
    /// Cookies of sessions that were ended.
    ended: Vec<Jar>,
}

/// Cookies by name.
type Jar = BTreeMap<String, String>;

/// The provider, the application whose tokens these are, and what it takes to manage them.
#[derive(Clone, Debug)]
struct Provider {
    port: u16,
    client: String,
    secret: String,
    user: String,
    password: String,
    token: String,
    /// A session that every round uses.
    jar: Jar,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 6)]
async fn f02_two_hundred_kills_spend_nothing_twice_and_lose_nothing_that_was_answered() {
    let processes: JoinSet<_> = (0..PROCESSES).map(kill_again_and_again).collect();
    let mut done = BTreeMap::<&str, usize>::new();
    for (what, count) in processes.join_all().await.into_iter().flatten() {
        *done.entry(what).or_default() += count;
    }
    println!("{done:?}");
    assert!(done.values().all(|count| *count >= PROCESSES * KILLS / KINDS.len()), "{done:?}");
}

/// What one process did between its kills. None of it was lost or good twice.
async fn kill_again_and_again(process: usize) -> BTreeMap<&'static str, usize> {
    let gate = Portcullis::dev();
    let provider = Provider::prepare(&gate).await;
    let mut done = BTreeMap::new();
    for round in (process..).step_by(PROCESSES).take(KILLS) {
        let last = Last {
            kind: KINDS[round % KINDS.len()],
            number: 1 + round / KINDS.len() % 3,
            reached: Notify::new(),
        };
        let last = Arc::new(last);
        let mut writers = JoinSet::new();
        for kind in KINDS {
            writers.spawn(provider.clone().write_until_killed(kind, Arc::clone(&last)));
        }
        within("answers to writes", last.reached.notified()).await;
        gate.kill9();
        let work = writers.join_all().await;
        gate.restart();
        join_all(work.iter().map(|work| provider.judge(round, work))).await;
        for work in &work {
            let counts = [
                ("codes", work.codes.len()),
                ("refreshes", work.chain.len().saturating_sub(1)),
                ("users and clients", work.made.len()),
                ("sessions", work.sessions.len()),
                ("revocations", work.revoked.len() + work.ended.len()),
            ];
            counts.into_iter().for_each(|(what, count)| *done.entry(what).or_default() += count);
        }
    }
    done
}

impl Provider {
    async fn prepare(gate: &Portcullis) -> Self {
        let mut provider = Self {
            port: gate.port(9400),
            client: String::new(),
            secret: String::new(),
            user: gate.variable("DEMO_USER"),
            password: gate.variable("DEMO_PASSWORD"),
            token: management_token(gate).await,
            jar: Jar::new(),
        };
        let client = json!({
            "name": unique("tokens-"),
            "app_type": "regular_web",
            "callbacks": [CALLBACK],
            "grant_types": ["authorization_code", "refresh_token"],
            "token_endpoint_auth_method": "client_secret_post",
            "refresh_token": {"rotation_type": "rotating", "leeway": 0},
        });
        let client = provider.manage("POST", "clients", Some(&client)).await.unwrap().json();
        provider.client = client["client_id"].as_str().unwrap().to_owned();
        provider.secret = client["client_secret"].as_str().unwrap().to_owned();
        let connection = provider.manage("GET", "connections", None).await.unwrap().json();
        let path = format!("connections/{}/clients", connection[0]["id"].as_str().unwrap());
        let enable = json!([{"client_id": provider.client, "status": true}]);
        assert_eq!(provider.manage("PATCH", &path, Some(&enable)).await.unwrap().status, 204);
        provider.jar = provider.log_in().await.unwrap();
        provider
    }

    /// Does one thing after another until the process is gone.
    async fn write_until_killed(self, kind: Kind, last: Arc<Last>) -> Work {
        let mut work = Work::default();
        let mut answers = 0;
        while self.write(kind, &mut work).await.is_ok() {
            answers += 1;
            if kind == last.kind && answers == last.number {
                last.reached.notify_one();
            }
        }
        work
    }

    /// One thing, and a note of it. An error when the process went away over it.
    async fn write(&self, kind: Kind, work: &mut Work) -> Result<(), Unanswered> {
        match kind {
            Kind::Codes => {
                let code = self.code(&self.jar).await?;
                let both = tokio::join!(self.redeem(&code), self.redeem(&code));
                let good = |answer: &&Result<Response, Unanswered>| {
                    answer.as_ref().is_ok_and(|one| one.status == 200)
                };
                let redeemed = [&both.0, &both.1].iter().filter(|answer| good(answer)).count();
                assert!(redeemed <= 1, "a code was good twice: {both:?}");
                work.codes.push((code, redeemed == 1));
                both.0.and(both.1)?;
            }
            Kind::Refreshes => {
                let Some(current) = work.chain.last().cloned() else {
                    work.chain.push(self.refresh_token().await?);
                    return Ok(());
                };
                // Known to be under way before it is known to be done.
                work.chain.push(String::new());
                let answer = self.refresh(&current).await?;
                assert_eq!(answer.status, 200, "{answer:?}");
                let next = answer.json()["refresh_token"].as_str().unwrap().to_owned();
                *work.chain.last_mut().unwrap() = next;
            }
            Kind::Users if work.made.len() >= MAX_USERS => {
                // Every password costs a hash, and more of them show nothing more.
                let user = work.made.last().unwrap();
                let change = json!({"user_metadata": {"change": unique("change-")}});
                let changed = self.manage("PATCH", user, Some(&change)).await?;
                assert_eq!(changed.status, 200, "{changed:?}");
            }
            Kind::Users => {
                let user = json!({
                    "connection": "Username-Password-Authentication",
                    "email": format!("{}@example.com", unique("user-")),
                    "password": unique("Long-enough-1-"),
                });
                let made = self.manage("POST", "users", Some(&user)).await?;
                assert_eq!(made.status, 201, "{made:?}");
                let id = made.json()["user_id"].as_str().unwrap().replace('|', "%7C");
                work.made.push(format!("users/{id}"));
            }
            Kind::Clients => {
                let made = self.manage("POST", "clients", Some(&json!({"name": unique("client-")}))).await?;
                assert_eq!(made.status, 201, "{made:?}");
                work.made.push(format!("clients/{}", made.json()["client_id"].as_str().unwrap()));
            }
            Kind::Sessions => work.sessions.push(self.log_in().await?),
            Kind::Revocations if work.revoked.len() <= work.ended.len() => {
                let token = self.refresh_token().await?;
                let answer = self.post("/oauth/revoke", &[("token", &token)]).await?;
                assert_eq!(answer.status, 200, "{answer:?}");
                work.revoked.push(token);
            }
            Kind::Revocations => {
                let jar = self.log_in().await?;
                let code = self.code(&jar).await?;
                let tokens = self.redeem(&code).await?.json();
                let sid = claims(tokens["id_token"].as_str().unwrap())["sid"].as_str().unwrap().to_owned();
                let ended = self.manage("DELETE", &format!("sessions/{sid}"), None).await?;
                assert_eq!(ended.status, 202, "{ended:?}");
                work.ended.push(jar);
            }
        }
        Ok(())
    }

    /// What a round did, after the restart.
    async fn judge(&self, round: usize, work: &Work) {
        for (code, redeemed) in &work.codes {
            let mut good = usize::from(*redeemed);
            for _ in 0..2 {
                good += usize::from(self.redeem(code).await.unwrap().status == 200);
            }
            assert!(good <= 1, "round {round}: a code was good {good} times");
        }
        if let [old @ .., last] = work.chain.as_slice() {
            let unsure = last.is_empty();
            let (old, current) = match old {
                [old @ .., current] if unsure => (old, current),
                _ => (old, last),
            };
            let answer = self.refresh(current).await.unwrap();
            let fits = answer.status == 200 || (unsure && answer.json()["error"] == "invalid_grant");
            assert!(fits, "round {round}: {} old ones, {answer:?}", old.len());
            for token in old.iter().rev().take(2) {
                let again = self.refresh(token).await.unwrap();
                assert_eq!(again.json()["error"], "invalid_grant", "round {round}: {again:?}");
            }
        }
        for read in join_all(work.made.iter().map(|path| self.manage("GET", path, None))).await {
            let read = read.unwrap();
            assert_eq!(read.status, 200, "round {round}: something that was made is lost: {read:?}");
        }
        for token in &work.revoked {
            let answer = self.refresh(token).await.unwrap();
            assert_eq!(answer.json()["error"], "invalid_grant", "round {round}: a revocation is lost");
        }
        for (jars, there) in [(&work.sessions, true), (&work.ended, false)] {
            for jar in jars {
                let silent = self.authorize(jar, &[("prompt", "none")]).await.unwrap();
                let back = location(&silent);
                let found = back.query_pairs().any(|(name, _)| name == "code");
                assert_eq!(found, there, "round {round}: {back}");
            }
        }
    }

    /// The cookies of a new session of the demo user.
    async fn log_in(&self) -> Result<Jar, Unanswered> {
        let mut jar = Jar::new();
        let start = self.authorize(&jar, &[]).await?;
        keep(&mut jar, &start);
        let login = location(&start);
        let target = format!("{}?{}", login.path(), login.query().unwrap_or_default());
        let response = self.ask(Request::get(&target).header("Cookie", &cookies(&jar))).await?;
        keep(&mut jar, &response);
        let page = Page { url: login, response };
        let form = page.form();
        let mut fields = form.fields;
        fields.retain(|(name, _)| name != "username" && name != "password");
        fields.push(("username".to_owned(), self.user.clone()));
        fields.push(("password".to_owned(), self.password.clone()));
        let target = match form.action.query() {
            Some(query) => format!("{}?{query}", form.action.path()),
            None => form.action.path().to_owned(),
        };
        let request = posted(&target, fields.iter().map(|(name, value)| (name.as_str(), value.as_str())))
            .header("Cookie", &cookies(&jar))
            .header("Origin", &format!("http://localhost:{}", self.port));
        let done = self.ask(request).await?;
        assert!(matches!(done.status, 302 | 303), "{done:?}");
        keep(&mut jar, &done);
        Ok(jar)
    }

    async fn code(&self, jar: &Jar) -> Result<String, Unanswered> {
        let answer = self.authorize(jar, &[]).await?;
        let back = location(&answer);
        let code = back.query_pairs().find(|(name, _)| name == "code");
        Ok(code.unwrap_or_else(|| panic!("{back}")).1.into_owned())
    }

    async fn refresh_token(&self) -> Result<String, Unanswered> {
        let code = self.code(&self.jar).await?;
        let tokens = self.redeem(&code).await?.json();
        Ok(tokens["refresh_token"].as_str().unwrap_or_else(|| panic!("{tokens}")).to_owned())
    }

    async fn authorize(&self, jar: &Jar, extra: &[(&str, &str)]) -> Result<Response, Unanswered> {
        let own = [
            ("client_id", self.client.as_str()),
            ("redirect_uri", CALLBACK),
            ("response_type", "code"),
            ("scope", "openid offline_access"),
        ];
        let request = Request::get(&format!("/authorize?{}", encoded(own.iter().chain(extra).copied())));
        self.ask(if jar.is_empty() { request } else { request.header("Cookie", &cookies(jar)) }).await
    }

    async fn redeem(&self, code: &str) -> Result<Response, Unanswered> {
        let form = [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", CALLBACK)];
        self.post("/oauth/token", &form).await
    }

    async fn refresh(&self, token: &str) -> Result<Response, Unanswered> {
        self.post("/oauth/token", &[("grant_type", "refresh_token"), ("refresh_token", token)]).await
    }

    /// A form of the application, which proves itself in it.
    async fn post(&self, path: &str, form: &[(&str, &str)]) -> Result<Response, Unanswered> {
        let own = [("client_id", self.client.as_str()), ("client_secret", self.secret.as_str())];
        self.ask(posted(path, form.iter().copied().chain(own))).await
    }

    async fn manage(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Response, Unanswered> {
        let request = Request::new(method, &format!("/api/v2/{path}")).bearer(&self.token);
        self.ask(match body {
            Some(body) => request.json(body),
            None => request,
        })
        .await
    }

    /// One request.
    async fn ask(&self, request: Request) -> Result<Response, Unanswered> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.map_err(Unanswered::NoConnection)?;
        let mut connection = Connection::over(stream);
        connection.send(request.header("Host", &format!("localhost:{}", self.port)).bytes()).await;
        connection.response().await.ok_or(Unanswered::Closed)
    }
}

/// Why a request has no answer: before a kill as it should be, after a restart a failure.
#[derive(Debug)]
enum Unanswered {
    #[allow(dead_code)] // told by a test that fails
    NoConnection(std::io::Error),
    Closed,
}

fn posted<'a>(path: &str, form: impl IntoIterator<Item = (&'a str, &'a str)>) -> Request {
    let body = encoded(form);
    Request::new("POST", path).header("Content-Type", "application/x-www-form-urlencoded").body(body)
}

fn encoded<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

fn location(answer: &Response) -> Url {
    let location = answer.header("location").unwrap_or_else(|| panic!("{answer:?}"));
    Url::parse("http://localhost/").unwrap().join(location).unwrap()
}

fn keep(jar: &mut Jar, answer: &Response) {
    for line in answer.all("set-cookie") {
        let (name, value) = line.split(';').next().unwrap().split_once('=').unwrap();
        jar.insert(name.to_owned(), value.to_owned());
    }
}

fn cookies(jar: &Jar) -> String {
    jar.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
}

/// What an ID token says.
fn claims(token: &str) -> Value {
    let jws = jose::CompactJws::parse(token).unwrap();
    serde_json::from_slice(&jws.payload_unverified().unwrap()).unwrap()
}
