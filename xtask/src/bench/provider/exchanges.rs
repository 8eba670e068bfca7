//! What clients do at a provider, as plans for the load generator.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

/// What access tokens are signed with.
pub(super) const ALGORITHMS: [&str; 3] = ["RS256", "ES256", "EdDSA"];
pub(super) const LOGINS: &str = "password logins";
/// Everything that is measured.
pub(super) const NAMES: [&str; 7] = [
    "client credentials, RS256",
    "client credentials, ES256",
    "client credentials, EdDSA",
    "introspections",
    "refreshes",
    "code flows",
    LOGINS,
];
/// Nobody listens there; nobody goes there either.
pub(super) const CALLBACK: &str = "http://localhost:9/callback";
/// RFC 7636 appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// The identifier of the API whose tokens are signed with `alg`.
pub(super) fn audience(alg: &str) -> String {
    format!("https://api.example/{alg}")
}

/// A provider, an application of it, and who logs in.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) port: u16,
    pub(super) client: String,
    pub(super) secret: String,
    pub(super) user: String,
    pub(super) password: String,
}

/// Something that clients do again and again.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) name: &'static str,
    port: u16,
    prologue: Vec<Value>,
    steps: Vec<Value>,
}

impl Exchange {
    pub(super) fn plan(&self, connections: usize, seconds: f64, watch: &[u32]) -> Value {
        json!({
            "address": format!("127.0.0.1:{}", self.port),
            "connections": connections,
            "warm_up": 0.5,
            "seconds": seconds,
            "cookies": true,
            "prologue": self.prologue,
            "steps": self.steps,
            "watch": watch,
        })
    }
}

/// How a provider's endpoints are called.
struct Paths {
    token: &'static str,
    introspection: &'static str,
    authorization: &'static str,
}

impl Subject {
    fn headers(&self) -> Vec<String> {
        vec![format!("Host: localhost:{}", self.port), "User-Agent: load".to_owned()]
    }

    fn get(&self, target: &str, expect: u16, captures: Value) -> Value {
        json!({ "target": target, "headers": self.headers(), "expect": [expect], "captures": captures })
    }

    fn post(&self, target: &str, form: &str, expect: u16, captures: Value) -> Value {
        let mut headers = self.headers();
        headers.push("Content-Type: application/x-www-form-urlencoded".to_owned());
        json!({
            "method": "POST", "target": target, "headers": headers, "body": form, "expect": [expect],
            "captures": captures,
        })
    }

    /// A form of the application, which proves itself in the header.
    fn own(&self, target: &str, form: &str, captures: Value) -> Value {
        let mut step = self.post(target, form, 200, captures);
        let basic = STANDARD.encode(format!("{}:{}", self.client, self.secret));
        if let Some(headers) = step.get_mut("headers").and_then(Value::as_array_mut) {
            headers.push(json!(format!("Authorization: Basic {basic}")));
        }
        step
    }

    fn exchange(&self, name: &'static str, prologue: Vec<Value>, steps: Vec<Value>) -> Exchange {
        Exchange { name, port: self.port, prologue, steps }
    }

    fn authorize(&self, paths: &Paths, more: &str) -> String {
        format!(
            "{}?client_id={}&redirect_uri=http%3A%2F%2Flocalhost%3A9%2Fcallback&response_type=code&\
             scope=openid%20offline_access&code_challenge={CHALLENGE}&code_challenge_method=S256{more}",
            paths.authorization, self.client
        )
    }

    fn redeem(&self, paths: &Paths, captures: Value) -> Value {
        let form = format!(
            "grant_type=authorization_code&code={{code}}&redirect_uri=http%3A%2F%2Flocalhost%3A9%2Fcallback&\
             code_verifier={VERIFIER}"
        );
        self.own(paths.token, &form, captures)
    }

    /// What both providers can be asked once somebody is logged in; `redirect` is the status of their redirects.
    fn of_users(&self, paths: &Paths, redirect: u16, login: Vec<Value>) -> [Exchange; 2] {
        let code = json!([{ "name": "code", "after": "code=", "until": "& \r\n" }]);
        let refresh = json!([{ "name": "refresh", "after": "\"refresh_token\":\"", "until": "\"" }]);
        let authorize = self.get(&self.authorize(paths, ""), redirect, code);
        let with_token =
            [login.clone(), vec![authorize.clone(), self.redeem(paths, refresh.clone())]].concat();
        let form = "grant_type=refresh_token&refresh_token={refresh}";
        let refreshed = self.own(paths.token, form, refresh);
        [
            self.exchange("refreshes", with_token, vec![refreshed]),
            self.exchange("code flows", login, vec![authorize, self.redeem(paths, json!([]))]),
        ]
    }

    /// `target` is the parameter that names an API.
    fn of_machines(&self, paths: &Paths, target: &str) -> Vec<Exchange> {
        let body = |alg: &str| {
            let api = audience(alg).replace(':', "%3A").replace('/', "%2F");
            format!("grant_type=client_credentials&{target}={api}")
        };
        let names = NAMES.into_iter().zip(ALGORITHMS);
        let mut all: Vec<Exchange> = names
            .map(|(name, alg)| {
                self.exchange(name, vec![], vec![self.own(paths.token, &body(alg), json!([]))])
            })
            .collect();
        let token = json!([{ "name": "token", "after": "\"access_token\":\"", "until": "\"" }]);
        let active = json!([{ "name": "active", "after": "\"active\":true", "until": ",}" }]);
        // The rival introspects opaque tokens only.
        let form =
            if target == "audience" { body("ES256") } else { "grant_type=client_credentials".to_owned() };
        all.push(self.exchange(
            "introspections",
            vec![self.own(paths.token, &form, token)],
            vec![self.own(paths.introspection, "token={token}", active)],
        ));
        all
    }
}

/// Everything that is measured of Portcullis.
pub(super) fn own(subject: &Subject) -> Vec<Exchange> {
    let paths =
        Paths { token: "/oauth/token", introspection: "/oauth/introspect", authorization: "/authorize" };
    let encode =
        |text: &str| text.replace('%', "%25").replace('&', "%26").replace('+', "%2B").replace('@', "%40");
    let login = |more: &str| {
        let handle = json!([{ "name": "handle", "after": "state=", "until": "& \r\n" }]);
        let (user, password) = (encode(&subject.user), encode(&subject.password));
        let form = format!("state={{handle}}&username={user}&password={password}");
        vec![
            subject.get(&subject.authorize(&paths, more), 302, handle),
            subject.post("/u/login?state={handle}", &form, 303, json!([])),
        ]
    };
    let mut all = subject.of_machines(&paths, "audience");
    all.extend(subject.of_users(&paths, 302, login("")));
    all.push(subject.exchange(LOGINS, vec![], login("&prompt=login")));
    all
}

/// Everything that is measured of `oidc-provider`, whose example pages take any password.
pub(super) fn rival(subject: &Subject) -> Vec<Exchange> {
    let paths = Paths { token: "/token", introspection: "/token/introspection", authorization: "/auth" };
    let uid = json!([{ "name": "uid", "after": "/interaction/", "until": "?& \r\n" }]);
    let resume = || subject.get("/auth/{uid}", 303, json!([]));
    let login = vec![
        subject.get(&subject.authorize(&paths, "&prompt=consent"), 303, uid.clone()),
        subject.post("/interaction/{uid}", "prompt=login&login=somebody&password=any", 303, json!([])),
        subject.get("/auth/{uid}", 303, uid),
        subject.post("/interaction/{uid}", "prompt=consent", 303, json!([])),
        resume(),
    ];
    let mut all = subject.of_machines(&paths, "resource");
    all.extend(subject.of_users(&paths, 303, login));
    all
}
