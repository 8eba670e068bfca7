//! What a browser without JavaScript does: keeps cookies, follows redirects, fills in forms.

use std::{collections::BTreeMap, path::PathBuf};

use url::Url;

use super::{Connection, Request, Response, tls};

/// Redirects in a row before it gives up.
const MAX_REDIRECTS: usize = 20;

/// A browser with an empty jar. Cookies do not separate ports (RFC 6265 section 8.5); all hosts here are `localhost`.
#[derive(Default)]
pub(crate) struct Browser {
    cookies: BTreeMap<String, Cookie>,
    authority: Option<PathBuf>,
    /// The port where it finds every server, whatever address it goes to.
    through: Option<u16>,
    /// Where it has been, in order, redirects included.
    pub(crate) history: Vec<Url>,
}

struct Cookie {
    value: String,
    path: String,
    secure: bool,
}

/// What a browser shows.
#[derive(Debug)]
pub(crate) struct Page {
    /// Where it is from.
    pub(crate) url: Url,
    /// The answer.
    pub(crate) response: Response,
}

/// The one form of a page.
#[derive(Clone, Debug)]
pub(crate) struct Form {
    /// Where it goes.
    pub(crate) action: Url,
    /// The fields that are filled in already, hidden ones among them.
    pub(crate) fields: Vec<(String, String)>,
}

impl Browser {
    /// A new one.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A new one that trusts the CA in this file.
    pub(crate) fn trusting(authority: PathBuf) -> Self {
        Self { authority: Some(authority), ..Self::default() }
    }

    /// Finds every server at this port of this machine from now on, as behind a balancer.
    pub(crate) const fn go_through(&mut self, port: u16) {
        self.through = Some(port);
    }

    /// The value of a cookie.
    pub(crate) fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies.get(name).map(|cookie| cookie.value.as_str())
    }

    /// The names of all cookies.
    pub(crate) fn cookie_names(&self) -> Vec<&str> {
        self.cookies.keys().map(String::as_str).collect()
    }

    /// Puts a cookie into the jar, as an attacker might.
    pub(crate) fn plant(&mut self, name: &str, value: &str) {
        let cookie = Cookie { value: value.to_owned(), path: "/".to_owned(), secure: false };
        self.cookies.insert(name.to_owned(), cookie);
    }

    /// Opens a page and follows redirects to where they end.
    pub(crate) async fn open(&mut self, url: &str) -> Page {
        let page = self.load(Request::get, Url::parse(url).unwrap()).await;
        self.follow(page).await
    }

    /// Opens a page and stays there.
    pub(crate) async fn open_only(&mut self, url: &str) -> Page {
        self.load(Request::get, Url::parse(url).unwrap()).await
    }

    /// Sends the form of a page with these fields set, and follows redirects.
    pub(crate) async fn submit(&mut self, page: &Page, fields: &[(&str, &str)]) -> Page {
        let form = page.form();
        let body = form.filled(fields);
        let origin = page.url.origin().ascii_serialization();
        let request = |target: &str| {
            Request::new("POST", target)
                .header("Content-Type", "application/x-www-form-urlencoded")
                .header("Origin", &origin)
                .body(body.as_str())
        };
        let page = self.load(request, form.action).await;
        self.follow(page).await
    }

    /// Logs in as the demo user on the embedded provider's login page.
    pub(crate) async fn log_in(&mut self, page: &Page, user: &str, password: &str) -> Page {
        assert!(page.has_id("login-title"), "not the login page: {} {}", page.url, page.response.text());
        self.submit(page, &[("username", user), ("password", password)]).await
    }

    async fn follow(&mut self, mut page: Page) -> Page {
        for _ in 0..MAX_REDIRECTS {
            let Some(location) = page.location() else { return page };
            page = self.load(Request::get, location).await;
        }
        panic!("more than {MAX_REDIRECTS} redirects: {:?}", self.history);
    }

    async fn load(&mut self, request: impl Fn(&str) -> Request, url: Url) -> Page {
        let port = url.port_or_known_default().unwrap();
        let target = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let host = match url.port() {
            Some(port) => format!("{}:{port}", url.host_str().unwrap()),
            None => url.host_str().unwrap().to_owned(),
        };
        let mut request =
            request(&target).header("Host", &host).header("Accept", "text/html,application/xhtml+xml");
        let cookies: Vec<String> = self
            .cookies
            .iter()
            .filter(|(_, cookie)| url.path().starts_with(&cookie.path))
            .filter(|(_, cookie)| !cookie.secure || url.scheme() == "https")
            .map(|(name, cookie)| format!("{name}={}", cookie.value))
            .collect();
        if !cookies.is_empty() {
            request = request.header("Cookie", &cookies.join("; "));
        }
        let port = self.through.unwrap_or(port);
        let response = request.send_over(self.connect(&url, port).await).await;
        response.all("set-cookie").into_iter().for_each(|line| self.keep(line));
        self.history.push(url.clone());
        Page { url, response }
    }

    async fn connect(&self, url: &Url, port: u16) -> Connection {
        if url.scheme() == "http" {
            return Connection::open(port).await;
        }
        let authority = self.authority.as_deref().unwrap_or_else(|| panic!("{url}: trusts nobody"));
        let config = tls::client(authority, &tls::Wanted::default());
        Connection::over(tls::handshake(config, port, url.host_str().unwrap()).await.unwrap())
    }

    fn keep(&mut self, line: &str) {
        let mut parts = line.split(';').map(str::trim);
        let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else { return };
        let mut cookie = Cookie { value: value.to_owned(), path: "/".to_owned(), secure: false };
        let mut gone = false;
        for attribute in parts {
            match attribute.split_once('=').unwrap_or((attribute, "")) {
                (key, path) if key.eq_ignore_ascii_case("path") => cookie.path = path.to_owned(),
                (key, age) if key.eq_ignore_ascii_case("max-age") => {
                    gone |= age.parse::<i64>().is_ok_and(|age| age <= 0);
                }
                (key, _) if key.eq_ignore_ascii_case("secure") => cookie.secure = true,
                (key, date) if key.eq_ignore_ascii_case("expires") => gone |= date.contains("1970"),
                _ => {}
            }
        }
        if gone {
            self.cookies.remove(name);
        } else {
            self.cookies.insert(name.to_owned(), cookie);
        }
    }
}

impl Form {
    /// Its content with these fields set, as a browser sends it.
    fn filled(&self, fields: &[(&str, &str)]) -> String {
        let mut body = form_urlencoded::Serializer::new(String::new());
        for (name, value) in self.fields.iter().filter(|(name, _)| !fields.iter().any(|(set, _)| set == name))
        {
            body.append_pair(name, value);
        }
        body.extend_pairs(fields).finish()
    }
}

impl Page {
    /// Its status code.
    pub(crate) const fn status(&self) -> u16 {
        self.response.status
    }

    /// Where it sends the browser.
    pub(crate) fn location(&self) -> Option<Url> {
        let redirects = matches!(self.response.status, 301 | 302 | 303 | 307 | 308);
        let location = self.response.header("location").filter(|_| redirects)?;
        Some(self.url.join(location).unwrap())
    }

    /// Whether an element of this id is on it.
    pub(crate) fn has_id(&self, id: &str) -> bool {
        let text = self.response.text();
        [format!("id=\"{id}\""), format!("id='{id}'"), format!("id={id}")]
            .iter()
            .any(|attribute| text.contains(attribute))
    }

    /// Its form.
    pub(crate) fn form(&self) -> Form {
        let text = self.response.text();
        let from = text.find("<form").unwrap_or_else(|| panic!("no form on {}: {text}", self.url));
        let form = &text[from..];
        let form = &form[..form.find("</form>").unwrap_or(form.len())];
        let (opening, inside) = form.split_once('>').unwrap();
        let action = attribute(opening, "action").unwrap_or_default();
        assert!(attribute(opening, "method").is_some_and(|method| method.eq_ignore_ascii_case("post")));
        let fields = inside
            .split("<input")
            .skip(1)
            .filter_map(|rest| {
                let tag = rest.split('>').next().unwrap_or_default();
                let kind = attribute(tag, "type").unwrap_or_default();
                let chosen =
                    !matches!(kind.as_str(), "submit" | "checkbox" | "radio") || tag.contains("checked");
                let name = attribute(tag, "name").filter(|_| chosen)?;
                Some((name, attribute(tag, "value").unwrap_or_default()))
            })
            .collect();
        let action = if action.is_empty() { self.url.clone() } else { self.url.join(&action).unwrap() };
        Form { action, fields }
    }
}

/// The value of an attribute of a tag, with its character references resolved.
fn attribute(tag: &str, name: &str) -> Option<String> {
    let from = tag.find(&format!(" {name}=")).or_else(|| tag.find(&format!("\n{name}=")))?;
    let value = &tag[from + name.len() + 2..];
    let value = match value.chars().next()? {
        quote @ ('"' | '\'') => value[1..].split(quote).next()?,
        _ => value.split([' ', '\n', '>', '/']).next()?,
    };
    let plain = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#34;", "\""),
        ("&#x22;", "\""),
        ("&#39;", "'"),
        ("&#x27;", "'"),
        ("&#38;", "&"),
        ("&#60;", "<"),
        ("&#62;", ">"),
        ("&amp;", "&"),
    ];
    Some(plain.iter().fold(value.to_owned(), |text, (reference, letter)| text.replace(reference, letter)))
}
