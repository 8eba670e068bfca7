//! A client of the W3C WebDriver protocol, as much of it as the tests need, and a headless Chromium behind it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpStream},
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::http1::{Kind, Message, Read as Parsed, read};

/// How the protocol marks a reference to an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// How long the driver waits for an element to be on the page, in milliseconds.
const PATIENCE: u64 = 30_000;
/// For one answer of the driver: a busy machine starts a browser slowly.
const DEADLINE: Duration = Duration::from_secs(120);

/// A browser with a profile of its own; closed when it is dropped.
pub(crate) struct Chromium {
    session: String,
    driver: Driver,
    _profile: TempDir,
}

struct Driver {
    process: Child,
    port: u16,
}

impl Chromium {
    /// A new one.
    pub(crate) fn start() -> Self {
        Self::new(false)
    }

    /// A new one that takes any certificate: it has no store that a test could put an authority into.
    pub(crate) fn trusting() -> Self {
        Self::new(true)
    }

    fn new(trusting: bool) -> Self {
        let profile = tempfile::Builder::new().prefix("portcullis-chromium-").tempdir().unwrap();
        let driver = Driver::start();
        let flags = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            &format!("--user-data-dir={}", profile.path().display()),
        ];
        let wanted = json!({
            "browserName": "chrome",
            "acceptInsecureCerts": trusting,
            "unhandledPromptBehavior": "ignore",
            "timeouts": {"implicit": PATIENCE, "pageLoad": 60_000},
            "goog:chromeOptions": {"binary": "/usr/bin/chromium", "args": flags},
            "goog:loggingPrefs": {"browser": "ALL"},
        });
        let answer =
            driver.call("POST", "/session", &json!({"capabilities": {"alwaysMatch": wanted}})).unwrap();
        let session = answer["sessionId"].as_str().unwrap().to_owned();
        Self { session, driver, _profile: profile }
    }

    /// Opens a page in the current tab and waits until it is loaded.
    pub(crate) fn open(&self, url: &str) {
        self.must("POST", "url", &json!({ "url": url }));
    }

    /// Where the current tab is.
    pub(crate) fn url(&self) -> String {
        self.must("GET", "url", &Value::Null).as_str().unwrap().to_owned()
    }

    /// Waits until an element is on the page; its text.
    pub(crate) fn text(&self, selector: &str) -> String {
        let element = self.element(selector);
        self.must("GET", &format!("element/{element}/text"), &Value::Null).as_str().unwrap().to_owned()
    }

    /// Waits for a field and replaces what is in it.
    pub(crate) fn fill(&self, selector: &str, text: &str) {
        let element = self.element(selector);
        self.must("POST", &format!("element/{element}/clear"), &json!({}));
        self.must("POST", &format!("element/{element}/value"), &json!({ "text": text }));
    }

    /// Waits for an element and clicks it.
    pub(crate) fn click(&self, selector: &str) {
        let element = self.element(selector);
        self.must("POST", &format!("element/{element}/click"), &json!({}));
    }

    /// The JSON that the page shows, once it shows any.
    pub(crate) fn json(&self) -> Value {
        let text = self.text("body > pre");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// The handle of the current tab.
    pub(crate) fn tab(&self) -> String {
        self.must("GET", "window", &Value::Null).as_str().unwrap().to_owned()
    }

    /// Opens another tab, goes there, and says which it is.
    pub(crate) fn new_tab(&self) -> String {
        let tab = self.must("POST", "window/new", &json!({"type": "tab"}));
        let tab = tab["handle"].as_str().unwrap().to_owned();
        self.go_to(&tab);
        tab
    }

    /// Goes to a tab.
    pub(crate) fn go_to(&self, tab: &str) {
        self.must("POST", "window", &json!({ "handle": tab }));
    }

    /// The names of the cookies that scripts of the page may read.
    pub(crate) fn readable_cookies(&self) -> String {
        let script = json!({"script": "return document.cookie", "args": []});
        self.must("POST", "execute/sync", &script).as_str().unwrap().to_owned()
    }

    /// Fails the test if a page has opened a dialog, broken its own policy or failed in a script.
    pub(crate) fn expect_calm(&self) {
        let dialog = self.call("GET", "alert/text", &Value::Null);
        assert_eq!(dialog.unwrap_err(), "no such alert");
        let log = self.must("POST", "se/log", &json!({"type": "browser"}));
        let bad = |entry: &&Value| {
            let message = entry["message"].as_str().unwrap_or_default();
            entry["source"] == "javascript" || message.contains("Content Security Policy")
        };
        let bad: Vec<&Value> = log.as_array().unwrap().iter().filter(bad).collect();
        assert!(bad.is_empty(), "the console says {bad:#?}");
    }

    fn element(&self, selector: &str) -> String {
        let found = self.call("POST", "element", &json!({"using": "css selector", "value": selector}));
        match found {
            Ok(element) => element[ELEMENT].as_str().unwrap().to_owned(),
            Err(error) => {
                let page = self.call("GET", "source", &Value::Null).unwrap_or_default();
                panic!("no {selector} at {}: {error}\n{}", self.url(), page.as_str().unwrap_or_default())
            }
        }
    }

    fn must(&self, method: &str, command: &str, body: &Value) -> Value {
        self.call(method, command, body).unwrap_or_else(|error| panic!("{method} {command}: {error}"))
    }

    fn call(&self, method: &str, command: &str, body: &Value) -> Result<Value, String> {
        self.driver.call(method, &format!("/session/{}/{command}", self.session), body)
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // The browser is no child of ours; only the driver can end it.
        let _ = self.driver.call("DELETE", &format!("/session/{}", self.session), &Value::Null);
    }
}

impl Driver {
    fn start() -> Self {
        let mut process = Command::new("/usr/bin/chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("chromedriver: {error}; `cargo xtask install` installs it"));
        let output = BufReader::new(process.stdout.take().unwrap());
        let (sender, port) = mpsc::channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let port = line.split_once("started successfully on port ");
                if let Some(port) = port.and_then(|(_, port)| port.trim_end_matches('.').parse::<u16>().ok())
                {
                    let _ = sender.send(port);
                }
            }
        });
        let port = port.recv_timeout(DEADLINE).expect("chromedriver says its port");
        Self { process, port }
    }

    /// One command; the error's code where it fails.
    fn call(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut stream =
            TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).map_err(|error| error.to_string())?;
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost:{}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.port,
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).map_err(|error| error.to_string())?;
        let answer = answer(stream).map_err(|error| format!("{method} {path}: {error}"))?;
        let mut answer: Value = serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?;
        let value = answer["value"].take();
        match value["error"].as_str() {
            // A page's own value may have a member of this name; errors have all three.
            Some(code) if value["stacktrace"].is_string() => Err(code.to_owned()),
            _ => Ok(value),
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The driver keeps the connection open, so that the end of the answer is where its length says.
fn answer(mut stream: TcpStream) -> Result<Message, String> {
    let (mut bytes, mut block) = (Vec::new(), [0; 4096]);
    loop {
        let length = stream.read(&mut block).map_err(|error| error.to_string())?;
        bytes.extend_from_slice(&block[..length]);
        match read(&bytes, Kind::Response, length == 0) {
            Parsed::Whole(message, _) => return Ok(message),
            Parsed::Malformed(why) => return Err(why),
            Parsed::Partial if length == 0 => return Err("the connection ended".to_owned()),
            Parsed::Partial => {}
        }
    }
}
