//! Answers requests itself, or makes them wait: faults on purpose, examples of answers that nobody gives yet, and routes
//! that are closed.

use std::{any::Any, sync::Arc, time::Duration};

use base::Random;
use bytes::Bytes;
use expr::{Expression, Part, Template, Variables};
use gateway::{
    error::{ConfigError, escape_html},
    plugin::{Flow, Phases, Plugin, PluginRequest, Reply, Verdict},
};
use http::{HeaderName, HeaderValue, StatusCode, header};

use crate::text::{Text, response_header};

/// How long a request may be made to wait.
const MAX_DELAY: Duration = Duration::from_secs(3600);

/// What happens to requests.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// First they wait.
    pub delay: Option<Delay>,
    /// Then they are answered.
    pub answer: Option<Answer>,
    /// Whether it works in the second round, after the plugins that find out who is calling.
    pub late: bool,
}

/// How long, and which.
#[derive(Clone, Debug)]
pub struct Delay {
    /// How long.
    pub time: Duration,
    /// Which.
    pub which: Which,
}

/// Which requests.
#[derive(Clone, Debug, Default)]
pub struct Which {
    /// Of a hundred, so many; all where it is left out.
    pub percentage: Option<u8>,
    /// Any of these conditions holds; empty: always.
    pub conditions: Vec<Expression>,
}

/// The answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: Body,
    /// Its headers; `Content-Type` among them.
    pub headers: Vec<(String, Text)>,
    /// Which requests it is for.
    pub which: Which,
}

/// The body of the answer.
#[derive(Clone, Debug)]
pub enum Body {
    /// This text.
    Text(Bytes),
    /// This text, with variables.
    Template(Template),
    /// The gate's own words for its status and this message, as the route's dialect has them.
    Message(String),
}

/// The compiled form.
struct FixedAnswer {
    delay: Option<Delay>,
    answer: Option<Compiled>,
    late: bool,
    random: Random,
}

struct Compiled {
    status: StatusCode,
    body: Body,
    headers: Vec<(HeaderName, Text)>,
    which: Which,
}

/// Compiles `config`.
///
/// # Errors
///
/// A status out of range, a header that is not to be set, and a delay of more than an hour.
pub fn compile(config: Config, random: &Random) -> Result<Arc<dyn Plugin>, ConfigError> {
    let Config { delay, answer, late } = config;
    if delay.as_ref().is_some_and(|delay| delay.time > MAX_DELAY) {
        return Err(ConfigError::new("delay", "no request waits longer than an hour"));
    }
    let answer = answer.map(|answer| {
        let status =
            StatusCode::from_u16(answer.status).ok().filter(|status| (200..600).contains(&status.as_u16()));
        let headers = answer.headers.into_iter();
        Ok(Compiled {
            status: status.ok_or_else(|| ConfigError::new("status", "a status from 200 to 599 is needed"))?,
            body: answer.body,
            headers: headers
                .map(|(name, value)| Ok((response_header("headers", &name)?, value)))
                .collect::<Result<_, ConfigError>>()?,
            which: answer.which,
        })
    });
    Ok(Arc::new(FixedAnswer { delay, answer: answer.transpose()?, late, random: random.clone() }))
}

impl Plugin for FixedAnswer {
    fn name(&self) -> &'static str {
        "fixed-answer"
    }

    fn phases(&self) -> Phases {
        if self.late { Phases::ACCESS } else { Phases::REWRITE }
    }

    fn rewrite(&self, request: &mut PluginRequest<'_>) -> Flow {
        self.judge(request)
    }

    fn access(&self, request: &mut PluginRequest<'_>) -> Flow {
        self.judge(request)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl FixedAnswer {
    fn judge(&self, request: &PluginRequest<'_>) -> Flow {
        let delay = self.delay.as_ref().filter(|delay| self.concerns(&delay.which, request));
        let answer = self.answer.as_ref().filter(|answer| self.concerns(&answer.which, request));
        let reply = answer.map(|answer| answer.reply(request));
        match (delay, reply) {
            (None, None) => Flow::Continue,
            (None, Some(reply)) => Flow::respond(reply),
            (Some(delay), reply) => {
                let time = delay.time;
                Flow::Suspend(Box::pin(async move {
                    tokio::time::sleep(time).await;
                    Verdict { reply: reply.map(Box::new), ..Verdict::default() }
                }))
            }
        }
    }

    fn concerns(&self, which: &Which, request: &PluginRequest<'_>) -> bool {
        let chosen = which.percentage.is_none_or(|percentage| {
            // Of the numbers below 25600, as many are below 256 times the percentage.
            let drawn = u16::from_be_bytes(self.random.bytes()) % 25_600;
            drawn < u16::from(percentage) * 256
        });
        chosen
            && (which.conditions.is_empty() || {
                let variables = request.variables();
                which.conditions.iter().any(|condition| condition.matches(&variables))
            })
    }
}

impl Compiled {
    fn reply(&self, request: &PluginRequest<'_>) -> Reply {
        let variables = request.variables();
        let is_page = self.headers.iter().any(|(name, value)| {
            let names_html = |part: &Part| matches!(part, Part::Text(text) if text.contains("html") || text.contains("xml"));
            *name == header::CONTENT_TYPE && value.parts().iter().any(names_html)
        });
        let mut reply = match &self.body {
            Body::Message(message) => request.error(self.status, message),
            Body::Text(bytes) => Reply::new(bytes.clone()),
            Body::Template(template) => Reply::new(Bytes::from(fill(template, &variables, is_page))),
        };
        *reply.status_mut() = self.status;
        let headers = reply.headers_mut();
        for (name, value) in &self.headers {
            if let Some(value) = value.header(&variables, None) {
                headers.insert(name.clone(), value);
            }
        }
        let has_body = !reply.body().is_empty();
        if has_body && !reply.headers().contains_key(header::CONTENT_TYPE) {
            let plain = HeaderValue::from_static("text/plain; charset=utf-8");
            reply.headers_mut().insert(header::CONTENT_TYPE, plain);
            let nosniff = HeaderValue::from_static("nosniff");
            reply.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
        }
        reply
    }
}

/// What a client chose is no markup of a page's.
fn fill(template: &Template, variables: &dyn Variables, is_page: bool) -> String {
    let mut out = String::new();
    for part in template.parts() {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Variable(variable) => {
                let value = variables.value(variable).unwrap_or_default();
                if is_page { out.push_str(&escape_html(&value)) } else { out.push_str(&value) }
            }
            Part::Capture(_) => {}
        }
    }
    out
}
