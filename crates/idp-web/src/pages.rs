//! The pages people see. Templates are compiled in and escape what they print; what a page may load and who may frame
//! it is said by [`crate::headers`].

use std::any::Any;

use askama::{Template, Values};
use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use idp::Site;

use crate::{headers, words::Language};

tokio::task_local! {
    /// Whose pages this task makes, and for whom.
    static LOOK: Look;
}

/// What of a tenant and a browser shows on every page.
#[derive(Clone, Debug, Default)]
pub(crate) struct Look {
    language: Language,
    enabled: Vec<Language>,
    picture: Option<String>,
    support_url: Option<String>,
    support_email: Option<String>,
}

impl Look {
    /// That of a request.
    pub(crate) fn of(site: &Site, headers: &HeaderMap) -> Self {
        let settings = &site.tenant.settings;
        let enabled: Vec<Language> =
            settings.enabled_locales.iter().filter_map(|tag| Language::of(tag)).collect();
        let accepted = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
        Self {
            language: Language::liked(accepted.unwrap_or_default(), &enabled),
            enabled,
            picture: settings.picture_url.clone(),
            support_url: settings.support_url.clone(),
            support_email: settings.support_email.clone(),
        }
    }

    /// Makes what `answer` makes look like this.
    pub(crate) async fn on<F: Future>(self, answer: F) -> F::Output {
        LOOK.scope(self, answer).await
    }

    /// The tenant's picture, for where an application has none.
    pub(crate) fn picture(&self) -> Option<&str> {
        self.picture.as_deref()
    }
}

/// That of the request under way.
pub(crate) fn look() -> Look {
    LOOK.try_with(Clone::clone).unwrap_or_default()
}

impl Values for Look {
    fn get_value<'a>(&'a self, key: &str) -> Option<&'a dyn Any> {
        (key == LANGUAGE).then_some(&self.language as &dyn Any)
    }
}

/// The value that the filters of templates look for.
const LANGUAGE: &str = "language";

/// What templates do to texts.
#[expect(unreachable_pub, reason = "the attribute makes public functions of them")]
mod filters {
    use std::fmt::Display;

    use askama::Values;

    use super::{LANGUAGE, Language};

    fn language(values: &dyn Values) -> Language {
        askama::get_value::<Language>(values, LANGUAGE).copied().unwrap_or_default()
    }

    /// Says a text in the page's language.
    #[askama::filter_fn]
    pub(super) fn say<T: Display>(text: T, values: &dyn Values) -> askama::Result<String> {
        Ok(language(values).say(&text.to_string()).to_owned())
    }

    /// The tag of the page's language; `tag` is what the page is written in.
    #[askama::filter_fn]
    pub(super) fn lang<T: Display>(tag: T, values: &dyn Values) -> askama::Result<String> {
        let language = language(values);
        Ok(if language == Language::default() { tag.to_string() } else { language.tag().to_owned() })
    }
}

/// The script of the page whose frames tell clients of a logout.
pub(crate) const CONTINUE: &str = include_str!("../assets/continue.js");
/// The script of the page that clients' pages frame.
pub(crate) const CHECK: &str = include_str!("../assets/check-session.js");
/// The style sheet of all pages.
pub(crate) const STYLE: &str = include_str!("../assets/style.css");
/// The script of the page that sends itself on.
pub(crate) const SUBMIT: &str = include_str!("../assets/submit.js");
/// The script of the page that hands its answer to another window.
pub(crate) const MESSAGE: &str = include_str!("../assets/message.js");

/// `/u/login`.
#[derive(Template)]
#[template(path = "login.html")]
pub(crate) struct Login<'a> {
    pub(crate) application: &'a str,
    pub(crate) state: &'a str,
    pub(crate) username: &'a str,
    /// Whether the connection knows user names besides e-mail addresses.
    pub(crate) usernames: bool,
    /// Whether one may sign up here.
    pub(crate) signup: bool,
    /// Whether one may ask for a new password by mail.
    pub(crate) reset: bool,
    pub(crate) problem: Option<&'a str>,
    pub(crate) about: About<'a>,
}

/// What an application says of itself beside its name. Each is a URL of a harmless scheme.
#[derive(Clone, Copy, Default)]
pub(crate) struct About<'a> {
    pub(crate) logo: Option<&'a str>,
    pub(crate) policy: Option<&'a str>,
    pub(crate) terms: Option<&'a str>,
}

/// `/u/signup`.
#[derive(Template)]
#[template(path = "signup.html")]
pub(crate) struct Signup<'a> {
    pub(crate) application: &'a str,
    pub(crate) state: &'a str,
    pub(crate) email: &'a str,
    pub(crate) username: &'a str,
    /// Whether the connection wants a user name too.
    pub(crate) usernames: bool,
    pub(crate) problem: Option<Problem<'a>>,
}

/// What is wrong with one field of a form; the page says it under the id `error-element-FIELD`.
#[derive(Clone, Copy)]
pub(crate) struct Problem<'a> {
    /// The id of the field.
    pub(crate) field: &'a str,
    pub(crate) text: &'a str,
}

impl Signup<'_> {
    fn is_wrong(&self, field: &str) -> bool {
        self.problem.is_some_and(|problem| problem.field == field)
    }
}

/// `/u/reset-password/request`.
#[derive(Template)]
#[template(path = "reset_request.html")]
pub(crate) struct ResetRequest<'a> {
    pub(crate) state: &'a str,
    /// Whether it was asked for already.
    pub(crate) sent: bool,
}

/// `/u/reset-verify`.
#[derive(Template)]
#[template(path = "reset_password.html")]
pub(crate) struct ResetPassword<'a> {
    pub(crate) account: &'a str,
    pub(crate) ticket: &'a str,
    pub(crate) problem: Option<&'a str>,
}

/// Something that is done.
#[derive(Template)]
#[template(path = "message.html")]
pub(crate) struct Message<'a> {
    pub(crate) title: &'a str,
    pub(crate) text: &'a str,
}

/// `/u/consent`.
#[derive(Template)]
#[template(path = "consent.html")]
pub(crate) struct Consent<'a> {
    pub(crate) application: &'a str,
    pub(crate) account: &'a str,
    pub(crate) state: &'a str,
    /// Scope and what it means.
    pub(crate) scopes: &'a [(String, String)],
    /// The APIs.
    pub(crate) audiences: &'a [String],
    /// What exactly is to be done: its type, and all of it as JSON.
    pub(crate) details: &'a [(String, String)],
    /// What the person is to compare with what the client shows.
    pub(crate) binding_message: Option<&'a str>,
}

/// `/activate`.
#[derive(Template)]
#[template(path = "activate.html")]
pub(crate) struct Activate<'a> {
    pub(crate) user_code: &'a str,
    pub(crate) problem: Option<&'a str>,
}

/// After a deferred request was decided.
#[derive(Template)]
#[template(path = "decided.html")]
pub(crate) struct Decided {
    pub(crate) allowed: bool,
}

/// `/oidc/logout`, where the person is asked first.
#[derive(Template)]
#[template(path = "confirm_logout.html")]
pub(crate) struct ConfirmLogout<'a> {
    /// Only good for this browser's session.
    pub(crate) confirmation: &'a str,
    /// Parameters of the request that the answer needs again.
    pub(crate) carried: &'a [(&'a str, &'a str)],
}

/// After a logout that leads nowhere else.
#[derive(Template)]
#[template(path = "logged_out.html")]
pub(crate) struct LoggedOut;

/// After a logout that clients are told of by frames.
#[derive(Template)]
#[template(path = "logging_out.html")]
pub(crate) struct LoggingOut<'a> {
    pub(crate) frames: &'a [String],
    /// Where it goes on.
    pub(crate) then: Option<&'a str>,
}

/// What clients' pages frame to learn whether the session is still the same.
#[derive(Template)]
#[template(path = "check_session.html")]
pub(crate) struct CheckSession<'a> {
    /// The cookie that the script compares.
    pub(crate) cookie: &'a str,
}

/// An error that cannot or must not be sent to a client.
#[derive(Template)]
#[template(path = "error.html")]
pub(crate) struct ErrorPage<'a> {
    pub(crate) code: &'a str,
    pub(crate) description: &'a str,
    pub(crate) help: Help<'a>,
}

/// Where somebody finds help who cannot go on.
#[derive(Clone, Copy, Default)]
pub(crate) struct Help<'a> {
    pub(crate) url: Option<&'a str>,
    pub(crate) email: Option<&'a str>,
}

/// The answer of an authorization by OAuth 2.0 Form Post Response Mode.
#[derive(Template)]
#[template(path = "form_post.html")]
pub(crate) struct FormPost<'a> {
    pub(crate) action: &'a str,
    pub(crate) params: &'a [(&'a str, &'a str)],
}

/// The answer of an authorization for a script of the client's page.
#[derive(Template)]
#[template(path = "web_message.html")]
pub(crate) struct WebMessage<'a> {
    /// Who alone may read it.
    pub(crate) origin: &'a str,
    /// The parameters as a JSON object.
    pub(crate) response: &'a str,
}

/// Renders a page.
pub(crate) fn page(status: StatusCode, template: &impl Template) -> Response {
    page_in(status, template, None)
}

/// Renders a page in the languages that an authorization request asks for, before those of the browser.
pub(crate) fn page_in(status: StatusCode, template: &impl Template, ui_locales: Option<&str>) -> Response {
    let mut look = look();
    let asked = ui_locales.and_then(|locales| Language::asked(locales, &look.enabled));
    look.language = asked.unwrap_or(look.language);
    match template.render_with_values(&look) {
        Ok(html) => {
            let mut response = (status, Body::from(html)).into_response();
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
            headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(headers::PAGE_POLICY));
            headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
            response
        }
        Err(error) => {
            tracing::error!(%error, "a page could not be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// The page that carries an authorization response to `action` in a form. The one page with a script.
pub(crate) fn form_post(action: &str, params: &[(&str, &str)]) -> Response {
    let mut response = page(StatusCode::OK, &FormPost { action, params });
    let policy = HeaderValue::from_static(headers::SCRIPT_POLICY);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}

/// The page that hands an authorization response to the window that opened or frames it, if that is `origin`'s. It is
/// nothing to click on, so that origin may frame it.
pub(crate) fn web_message(origin: &str, response: &str) -> Response {
    let mut page = page(StatusCode::OK, &WebMessage { origin, response });
    match HeaderValue::from_str(&headers::message_policy(origin)) {
        Ok(policy) => {
            page.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
            page.headers_mut().remove(header::X_FRAME_OPTIONS);
            page
        }
        Err(_) => {
            error_page(StatusCode::BAD_REQUEST, "invalid_request", "The page to answer has no usable origin.")
        }
    }
}

/// The page whose frames tell clients of a logout.
pub(crate) fn logging_out(frames: &[String], then: Option<&str>) -> Response {
    let mut page = page(StatusCode::OK, &LoggingOut { frames, then });
    if let Ok(policy) = HeaderValue::from_str(&headers::frames_policy(frames)) {
        page.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    page
}

/// The page that clients' pages frame: anybody's, for the answer depends on whose it is.
pub(crate) fn check_session(cookie: &str) -> Response {
    let mut page = page(StatusCode::OK, &CheckSession { cookie });
    let policy = HeaderValue::from_static(headers::CHECK_POLICY);
    page.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    page.headers_mut().remove(header::X_FRAME_OPTIONS);
    page
}

/// An error page.
pub(crate) fn error_page(status: StatusCode, code: &str, description: &str) -> Response {
    let look = look();
    let help = Help { url: look.support_url.as_deref(), email: look.support_email.as_deref() };
    page(status, &ErrorPage { code, description, help })
}

/// The style sheet and the scripts. They change only with the binary, so browsers ask again after an hour.
pub(crate) fn asset(content_type: &'static str, text: &'static str) -> Response {
    let headers = [(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, "public, max-age=3600")];
    (headers, text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn o38_names_and_descriptions_are_inert_in_pages() {
        let evil = "\"><script>alert(1)</script><img src=x onerror=alert(1)>'";
        let scopes = [(evil.to_owned(), evil.to_owned())];
        let pages = [
            Login {
                application: evil,
                state: evil,
                username: evil,
                usernames: true,
                signup: true,
                reset: true,
                problem: Some(evil),
                about: About { logo: Some(evil), policy: Some(evil), terms: Some(evil) },
            }
            .render(),
            Signup {
                application: evil,
                state: evil,
                email: evil,
                username: evil,
                usernames: true,
                problem: Some(Problem { field: evil, text: evil }),
            }
            .render(),
            Consent {
                application: evil,
                account: evil,
                state: evil,
                scopes: &scopes,
                audiences: &[evil.to_owned()],
                details: &scopes,
                binding_message: Some(evil),
            }
            .render(),
            Activate { user_code: evil, problem: Some(evil) }.render(),
            ConfirmLogout { confirmation: evil, carried: &[("state", evil)] }.render(),
            ErrorPage { code: evil, description: evil, help: Help { url: Some(evil), email: Some(evil) } }
                .render(),
            ResetRequest { state: evil, sent: false }.render(),
            ResetPassword { account: evil, ticket: evil, problem: Some(evil) }.render(),
            Message { title: evil, text: evil }.render(),
            FormPost { action: evil, params: &[("state", evil)] }.render(),
            WebMessage { origin: evil, response: evil }.render(),
            LoggingOut { frames: &[evil.to_owned()], then: Some(evil) }.render(),
            CheckSession { cookie: evil }.render(),
        ];
        for page in pages {
            let page = page.unwrap();
            let raw = page.matches(evil).count()
                + page.matches("<script>").count()
                + page.matches("<img src=x").count();
            assert_eq!(raw, 0, "{page}");
        }
    }

    #[test]
    fn pages_have_the_ids_that_tests_and_tools_look_for() {
        let login = Login {
            application: "a",
            state: "s",
            username: "",
            usernames: false,
            signup: false,
            reset: false,
            problem: None,
            about: About::default(),
        };
        let signup =
            Signup { application: "a", state: "s", email: "", username: "", usernames: false, problem: None };
        let consent = Consent {
            application: "a",
            account: "u",
            state: "s",
            scopes: &[],
            audiences: &[],
            details: &[],
            binding_message: None,
        };
        let activate = Activate { user_code: "", problem: None };
        let confirm = ConfirmLogout { confirmation: "c", carried: &[] };
        let telling =
            LoggingOut { frames: &["https://a.example/".to_owned()], then: Some("https://a.example/") };
        let pages: [(String, &[&str]); 8] = [
            (telling.render().unwrap(), &["logged-out", "continue"]),
            (activate.render().unwrap(), &["user_code", "submit-code"]),
            (
                login.render().unwrap(),
                &["login-title", "username", "password", "submit-login", "cancel-login"],
            ),
            (signup.render().unwrap(), &["email", "password", "submit-signup", "cancel-signup"]),
            (consent.render().unwrap(), &["allow", "deny"]),
            (confirm.render().unwrap(), &["confirm-logout"]),
            (LoggedOut.render().unwrap(), &["logged-out"]),
            (ErrorPage { code: "c", description: "d", help: Help::default() }.render().unwrap(), &["error"]),
        ];
        for (page, ids) in pages {
            assert!(page.matches("<form").count() <= 1, "{page}");
            for id in ids {
                assert_eq!(page.matches(&format!("id=\"{id}\"")).count(), 1, "{id}");
            }
        }
    }
}
