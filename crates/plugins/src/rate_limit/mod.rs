//! Lets so many requests through in a time, by whatever tells them apart: address, consumer, credential, header, path, or
//! any text of variables.
//!
//! Counters are the process's, exact over all its cores, or those of a Redis that several nodes share. Where that does not
//! answer, the configuration says whether requests go on uncounted or are answered 500.

mod counter;
mod redis;
mod table;
#[cfg(test)]
mod tests;

use std::{any::Any, net::IpAddr, sync::Arc};

use base::{Clock, UnixMillis};
use bytes::Bytes;
use expr::{Part, Template, Variable, Variables};
use gateway::{
    error::{ConfigError, ErrorBody},
    plugin::{Flow, Phases, Plugin, PluginRequest, Reply, Verdict},
};
use http::{HeaderName, HeaderValue, StatusCode, header};
use rp::session::RedisScripts;
use smallvec::SmallVec;
use time::{Date, Month, OffsetDateTime};

pub use self::{
    counter::{MAX_COUNT, MAX_SLIDING},
    table::Counters,
};
use self::{
    counter::{Span, Spent},
    redis::Asked,
};
use crate::openid_connect::CREDENTIAL_IDENTIFIER;

/// Seconds of the longest window: ten years.
pub const MAX_WINDOW: u64 = 315_360_000;
/// Bytes of what tells requests apart that count; longer ones are told apart by their beginning and length.
const MAX_KEY: usize = 1024;

/// How many of which requests.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whose counters these are: limits of one scope count together.
    pub scope: String,
    /// All of these hold.
    pub rules: Vec<Rule>,
    /// Where is counted.
    pub store: Store,
    /// Whether requests go on uncounted where counting fails.
    pub degrades: bool,
    /// What the client is told whose request is one too many.
    pub refusal: Refusal,
    /// The headers of a single limit: that which has the least left.
    pub tightest: Option<Names>,
    /// Whether a refusal says when to come again (RFC 9110 section 10.2.3).
    pub retry_after: bool,
    /// What a failure to count is answered with.
    pub failure: String,
}

/// One limit.
#[derive(Clone, Debug)]
pub struct Rule {
    /// What tells requests apart.
    pub key: Key,
    /// How many.
    pub count: Amount,
    /// In what time.
    pub window: Window,
    /// The headers that tell the client.
    pub names: Option<Names>,
}

/// What tells requests apart. Where a request has none of it, its address does.
#[derive(Clone, Debug)]
pub enum Key {
    /// A variable or several, with text between them.
    Variables(Template),
    /// The same; requests that have none of the variables are not counted.
    VariablesOrNone(Template),
    /// Nothing: all count together.
    Constant(String),
    /// The client's address.
    Address,
    /// The consumer.
    Consumer,
    /// The credential, or else the consumer.
    Credential,
    /// The service of the route.
    Service,
    /// A header.
    Header(HeaderName),
    /// Whether the path is this one.
    Path(String),
}

/// A number, or a text that a request makes into one.
#[derive(Clone, Debug)]
pub enum Amount {
    /// This.
    Fixed(u64),
    /// What the variables say; a request for which that is no number above 0 cannot be counted.
    Variable(Template),
}

/// In what time.
#[derive(Clone, Debug)]
pub enum Window {
    /// Seconds from the first request on.
    Fixed(Amount),
    /// The last so many seconds.
    Sliding(Amount),
    /// The second, minute … of the calendar, in UTC.
    Calendar(Period),
}

/// A period of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// A second.
    Second,
    /// A minute.
    Minute,
    /// An hour.
    Hour,
    /// A day.
    Day,
    /// A month.
    Month,
    /// A year.
    Year,
}

/// Where is counted.
#[derive(Clone, Debug)]
pub enum Store {
    /// In this process.
    Local,
    /// In a Redis.
    Redis(RedisScripts),
}

/// Names of the headers that tell the client of a limit.
#[derive(Clone, Debug)]
pub struct Names {
    /// How many.
    pub limit: HeaderName,
    /// How many are left.
    pub remaining: HeaderName,
    /// Seconds until the window ends.
    pub reset: Option<HeaderName>,
}

/// What the client is told whose request is one too many.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The status.
    pub status: u16,
    /// The message; the member of its JSON body is the dialect's.
    pub message: String,
}

/// What instances share.
#[derive(Clone, Debug)]
pub struct Services {
    /// The process's counters.
    pub counters: Arc<Counters>,
    /// The wall clock.
    pub clock: Clock,
}

/// The compiled form.
struct RateLimit {
    config: Arc<Config>,
    status: StatusCode,
    services: Services,
}

/// A limit that a request is counted at.
struct Due {
    /// The rule's place.
    place: usize,
    key: String,
    limit: u64,
    span: Span,
}

/// Compiles `config`.
///
/// # Errors
///
/// No limit, amounts out of range, and a status out of range.
pub fn compile(config: Config, services: &Services) -> Result<Arc<dyn Plugin>, ConfigError> {
    if config.rules.is_empty() {
        return Err(ConfigError::new("rules", "there is no limit"));
    }
    for rule in &config.rules {
        let most = if matches!(rule.window, Window::Sliding(_)) { MAX_SLIDING } else { MAX_COUNT };
        in_range(&rule.count, "count", most)?;
        if let Window::Fixed(amount) | Window::Sliding(amount) = &rule.window {
            in_range(amount, "time_window", MAX_WINDOW)?;
        }
    }
    let status = StatusCode::from_u16(config.refusal.status).ok().filter(|status| status.as_u16() >= 200);
    let status = status.ok_or_else(|| ConfigError::new("status", "a status from 200 to 599 is needed"))?;
    Ok(Arc::new(RateLimit { config: Arc::new(config), status, services: services.clone() }))
}

fn in_range(amount: &Amount, member: &str, most: u64) -> Result<(), ConfigError> {
    match amount {
        Amount::Fixed(number) if *number == 0 || *number > most => {
            Err(ConfigError::new(member, format!("from 1 to {most} is possible")))
        }
        _ => Ok(()),
    }
}

impl Plugin for RateLimit {
    fn name(&self) -> &'static str {
        "rate-limit"
    }

    fn phases(&self) -> Phases {
        Phases::ACCESS
    }

    fn access(&self, request: &mut PluginRequest<'_>) -> Flow {
        let now = self.services.clock.now();
        let html = request.head.prefers_html();
        let errors = request.errors();
        let Some(due) = self.due(request, now) else {
            tracing::warn!(route = %request.route.id, "the limit of a request cannot be told");
            return match self.config.degrades {
                true => Flow::Continue,
                false => Flow::respond(self.failed(errors, html)),
            };
        };
        if due.is_empty() {
            return Flow::Continue;
        }
        let redis = match &self.config.store {
            Store::Local => {
                let spent = self.spend(&due, now.0);
                let verdict = self.verdict(&due, &spent, errors, html);
                request.response.extend(verdict.response);
                return verdict.reply.map_or(Flow::Continue, Flow::Respond);
            }
            Store::Redis(redis) => redis.clone(),
        };
        let own =
            Self { config: Arc::clone(&self.config), status: self.status, services: self.services.clone() };
        Flow::Suspend(Box::pin(async move {
            let asked: Vec<Asked> = due
                .iter()
                .map(|due| {
                    let key = own.name_of(due);
                    Asked { key, span: due.span, limit: due.limit }
                })
                .collect();
            match redis::spend(&redis, &asked, now.0).await {
                Ok(spent) => own.verdict(&due, &spent, errors, html),
                Err(_) if own.config.degrades => Verdict::default(),
                Err(_) => Verdict::respond(own.failed(errors, html)),
            }
        }))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl RateLimit {
    /// The limits that this request is counted at; `None` when one of them cannot be told.
    fn due(&self, request: &PluginRequest<'_>, now: UnixMillis) -> Option<SmallVec<[Due; 2]>> {
        let variables = request.variables();
        let mut all = SmallVec::new();
        for (place, rule) in self.config.rules.iter().enumerate() {
            let Some(key) = rule.key.of(request, &variables) else { continue };
            // Of several rules, one whose numbers the request does not say is not its own.
            let is_optional = matches!(rule.key, Key::VariablesOrNone(_));
            let Some((limit, span)) = rule.numbers(&variables, now.0) else {
                if is_optional {
                    continue;
                }
                return None;
            };
            all.push(Due { place, key, limit, span });
        }
        Some(all)
    }

    /// Counts the request at all of its limits, or at none.
    fn spend(&self, due: &[Due], now: i64) -> SmallVec<[Spent; 2]> {
        let mut spent: SmallVec<[Spent; 2]> = SmallVec::new();
        let mut counted: SmallVec<[_; 2]> = SmallVec::new();
        for Due { place, key, limit, span } in due {
            let counter = self.services.counters.find(&self.config.scope, *place, key, now);
            let one = counter.spend(*span, *limit, now);
            if one.allowed {
                counted.push(counter);
            }
            spent.push(one);
        }
        if spent.iter().any(|one| !one.allowed) {
            for counter in &counted {
                counter.refund();
            }
            for one in spent.iter_mut().filter(|one| one.allowed) {
                one.used = one.used.saturating_sub(1);
            }
        }
        spent
    }

    fn verdict(&self, due: &[Due], spent: &[Spent], errors: ErrorBody, html: bool) -> Verdict {
        let config = &self.config;
        let mut told = Vec::new();
        let mut tell = |names: &Names, limit: u64, spent: &Spent| {
            told.push((names.limit.clone(), HeaderValue::from(limit)));
            told.push((names.remaining.clone(), HeaderValue::from(limit.saturating_sub(spent.used))));
            if let Some(reset) = &names.reset {
                told.push((reset.clone(), HeaderValue::from(seconds(spent.reset))));
            }
        };
        for (due, spent) in due.iter().zip(spent) {
            let names = config.rules.get(due.place).and_then(|rule| rule.names.as_ref());
            if let Some(names) = names {
                tell(names, due.limit, spent);
            }
        }
        let pairs = || due.iter().zip(spent);
        let stopped = pairs().filter(|(_, spent)| !spent.allowed).max_by_key(|(_, spent)| spent.reset);
        let tightest = pairs().min_by_key(|(due, spent)| due.limit.saturating_sub(spent.used));
        if let (Some(names), Some((due, spent))) = (&config.tightest, stopped.or(tightest)) {
            tell(names, due.limit, spent);
        }
        let Some((_, spent)) = stopped else {
            return Verdict { response: told, ..Verdict::default() };
        };
        let mut reply = errors.reply(self.status, &config.refusal.message, html);
        if config.retry_after {
            told.push((header::RETRY_AFTER, HeaderValue::from(seconds(spent.reset).max(1))));
        }
        reply.headers_mut().extend(told);
        if matches!(self.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
            *reply.body_mut() = Bytes::new();
        }
        Verdict::respond(reply)
    }

    fn failed(&self, errors: ErrorBody, html: bool) -> Reply {
        errors.reply(StatusCode::INTERNAL_SERVER_ERROR, &self.config.failure, html)
    }

    /// What the counter is called where others count too.
    fn name_of(&self, due: &Due) -> String {
        // Lengths in front, so that no key can be read as another scope's.
        let scope = &self.config.scope;
        format!("{}:{scope}:{}:{}", scope.len(), due.place, due.key)
    }
}

impl Rule {
    fn numbers(&self, variables: &impl Variables, now: i64) -> Option<(u64, Span)> {
        let count = self.count.of(variables)?;
        let millis = |amount: &Amount| {
            let seconds = amount.of(variables)?.min(MAX_WINDOW);
            i64::try_from(seconds.checked_mul(1000)?).ok()
        };
        let span = match &self.window {
            Window::Fixed(amount) => Span::FromFirst(millis(amount)?),
            Window::Sliding(amount) => Span::Sliding(millis(amount)?),
            Window::Calendar(period) => period.around(now),
        };
        Some((count, span))
    }
}

impl Amount {
    fn of(&self, variables: &impl Variables) -> Option<u64> {
        match self {
            Self::Fixed(number) => Some(*number),
            Self::Variable(template) => {
                let (text, _) = fill(template, variables);
                text.trim().parse().ok().filter(|number| *number > 0)
            }
        }
    }
}

impl Key {
    /// What tells this request from others; `None`: it is not counted.
    fn of(&self, request: &PluginRequest<'_>, variables: &impl Variables) -> Option<String> {
        let address = || plain(request.peer.ip);
        let own = match self {
            Self::Variables(template) => Some(fill(template, variables)).filter(|(_, found)| *found > 0),
            Self::VariablesOrNone(template) => {
                let (text, found) = fill(template, variables);
                return (found > 0).then(|| bounded(text));
            }
            Self::Constant(text) => Some((text.clone(), 1)),
            Self::Address => None,
            Self::Consumer => request.consumer().map(|consumer| (consumer.id.to_string(), 1)),
            Self::Credential => {
                let credential = request.attached.as_ref().and_then(|attached| attached.credential());
                let id = credential.map(|credential| credential.id.to_string());
                let known = id.or_else(|| Some(request.consumer()?.id.to_string()));
                // Only the gate says so.
                let told = || request.head.headers.get(CREDENTIAL_IDENTIFIER)?.to_str().ok();
                known.or_else(|| told().map(|text| format!("claim {text}"))).map(|id| (id, 1))
            }
            Self::Service => request.route.service_id.as_ref().map(|id| (id.to_string(), 1)),
            Self::Header(name) => {
                let value = request.head.headers.get(name);
                value.map(|value| (String::from_utf8_lossy(value.as_bytes()).into_owned(), 1))
            }
            Self::Path(path) => (request.head.path() == path).then(|| (path.clone(), 1)),
        };
        Some(own.map_or_else(address, |(text, _)| bounded(text)))
    }
}

/// The text, and how many of its variables the request has.
fn fill(template: &Template, variables: &impl Variables) -> (String, usize) {
    let (mut out, mut found) = (String::new(), 0);
    for part in template.parts() {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Variable(Variable::RemoteAddr) => {
                found += 1;
                let address = variables.value(&Variable::RemoteAddr).unwrap_or_default();
                out.push_str(&address.parse().map(plain).unwrap_or(address.into_owned()));
            }
            Part::Variable(variable) => {
                if let Some(value) = variables.value(variable) {
                    found += 1;
                    out.push_str(&value);
                }
            }
            Part::Capture(_) => {}
        }
    }
    (out, found)
}

/// `::ffff:10.0.0.1` is 10.0.0.1, and is counted as it.
fn plain(address: IpAddr) -> String {
    address.to_canonical().to_string()
}

fn bounded(mut text: String) -> String {
    if text.len() > MAX_KEY {
        let length = text.len();
        let end = (0..=MAX_KEY).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push_str(&format!("…{length}"));
    }
    text
}

/// Whole seconds, rounded up: a client that waits so long is not too early.
fn seconds(millis: i64) -> i64 {
    millis.max(0).div_euclid(1000) + i64::from(millis.max(0).rem_euclid(1000) > 0)
}

impl Period {
    /// The period that `now` lies in.
    fn around(self, now: i64) -> Span {
        let round = |length: i64| {
            let start = now.div_euclid(length) * length;
            Span::Between(start, start + length)
        };
        match self {
            Self::Second => round(1000),
            Self::Minute => round(60_000),
            Self::Hour => round(3_600_000),
            Self::Day => round(86_400_000),
            Self::Month | Self::Year => self.dated(now).unwrap_or_else(|| round(31 * 86_400_000)),
        }
    }

    /// A month or a year, which have no length of their own.
    fn dated(self, now: i64) -> Option<Span> {
        let today = OffsetDateTime::from_unix_timestamp(now.div_euclid(1000)).ok()?;
        let (year, month) = (today.year(), today.month());
        let (start, end) = match self {
            Self::Year => ((year, Month::January), (year + 1, Month::January)),
            _ if month == Month::December => ((year, month), (year + 1, Month::January)),
            _ => ((year, month), (year, month.next())),
        };
        let millis = |(year, month)| {
            let first = Date::from_calendar_date(year, month, 1).ok()?;
            first.midnight().assume_utc().unix_timestamp().checked_mul(1000)
        };
        Some(Span::Between(millis(start)?, millis(end)?))
    }
}
