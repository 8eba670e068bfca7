//! A request while its route is looked for: the conditions a route can put on it.

use std::{borrow::Cow, cell::Cell, sync::Arc, time::Duration};

use base::{Clock, UnixMillis};
use expr::{Datum, ExchangeVariable, Fact, Facts, Variable, Variables};
use http::{HeaderMap, StatusCode, Version};
use percent_encoding::percent_decode_str;
use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};

use crate::{
    consumer::Consumer,
    fields::Fields,
    plugin::{Exchange, Peer, RequestHead},
    route::Route,
};

/// A cleaned request, its sender, and the route whose conditions are being tried.
pub(crate) struct Arrival<'a> {
    pub(crate) head: &'a RequestHead,
    pub(crate) peer: &'a Peer,
    /// Asked by conditions on the time alone.
    clock: &'a Clock,
    /// What its body says; `None`: nobody has read it.
    fields: Option<&'a Fields>,
    /// Whether a route did not take it because nobody has read its body.
    asks_for_body: Cell<bool>,
}

impl<'a> Arrival<'a> {
    /// A request whose body nobody has read.
    pub(crate) const fn new(head: &'a RequestHead, peer: &'a Peer, clock: &'a Clock) -> Self {
        Self { head, peer, clock, fields: None, asks_for_body: Cell::new(false) }
    }

    /// The same with what its body says.
    pub(crate) const fn with_fields(self, fields: &'a Fields) -> Self {
        Self { fields: Some(fields), ..self }
    }

    /// Whether the route depends on the body.
    pub(crate) const fn asks_for_body(&self) -> bool {
        self.asks_for_body.get()
    }

    /// Whether the conditions of `route` beside host and path hold.
    pub(crate) fn satisfies(&self, route: &Arc<Route>) -> bool {
        let matcher = &route.matcher;
        let seen = Seen { head: self.head, peer: self.peer, route, consumer: None, answer: None };
        let seen = Arriving { seen, clock: self.clock, fields: self.fields };
        (matcher.methods.is_empty() || matcher.methods.contains(&self.head.method))
            && (matcher.remotes.is_empty()
                || matcher.remotes.iter().any(|network| network.contains(&self.peer.ip)))
            && matcher.vars.as_ref().is_none_or(|vars| {
                if vars.reads_body() && self.fields.is_none() {
                    self.asks_for_body.set(true);
                    return false;
                }
                vars.matches(&seen)
            })
            && matcher.rule.as_ref().is_none_or(|rule| rule.holds(self))
    }
}

impl Facts for Arrival<'_> {
    fn each(&self, fact: &Fact, judge: &mut dyn FnMut(Datum<'_>)) {
        let (head, peer) = (self.head, self.peer);
        let segments = || head.path().split('/').filter(|segment| !segment.is_empty());
        let text = |text: &str, judge: &mut dyn FnMut(Datum<'_>)| judge(Datum::Text(text.as_bytes()));
        match fact {
            Fact::Protocol => text(peer.scheme(), judge),
            Fact::ServerName => peer.server_name.iter().for_each(|name| text(name, judge)),
            Fact::Method => text(head.method.as_str(), judge),
            Fact::Host => text(head.host(), judge),
            Fact::Path => text(head.path(), judge),
            Fact::SegmentCount => judge(Datum::Number(i64::try_from(segments().count()).unwrap_or(i64::MAX))),
            Fact::Segments(first, last) if first == last => {
                segments().nth(*first).iter().for_each(|segment| text(segment, judge));
            }
            Fact::Segments(first, last) => {
                let some: Vec<&str> = segments().skip(*first).take(last - first + 1).collect();
                if some.len() == last - first + 1 {
                    text(&some.join("/"), judge);
                }
            }
            Fact::Header(name) => {
                let values = head.headers.get_all(&**name).iter();
                values.for_each(|value| judge(Datum::Text(value.as_bytes())));
            }
            Fact::Query(name) => {
                arguments(head.query().unwrap_or_default(), name).for_each(|value| text(&value, judge));
            }
            Fact::SourceAddress => judge(Datum::Address(peer.ip.to_canonical())),
            Fact::SourcePort => judge(Datum::Number(peer.port.into())),
            Fact::DestinationAddress => judge(Datum::Address(peer.local_ip.to_canonical())),
            Fact::DestinationPort => judge(Datum::Number(peer.local_port.into())),
        }
    }
}

/// A request as the conditions of routes see it.
struct Arriving<'a> {
    seen: Seen<'a>,
    clock: &'a Clock,
    fields: Option<&'a Fields>,
}

impl Variables for Arriving<'_> {
    fn value(&self, name: &Variable) -> Option<Cow<'_, str>> {
        match name {
            Variable::Exchange(measure) => moment(self.clock.now(), *measure).map(Cow::Owned),
            of_body if of_body.is_of_body() => self.fields?.value(of_body),
            other => self.seen.value(other),
        }
    }
}

/// A request as conditions see it.
pub(crate) struct Seen<'a> {
    pub(crate) head: &'a RequestHead,
    pub(crate) peer: &'a Peer,
    pub(crate) route: &'a Route,
    /// Who it was found to come from: nobody while its route is looked for.
    pub(crate) consumer: Option<&'a Consumer>,
    /// The answer, once there is one.
    pub(crate) answer: Option<Answer<'a>>,
}

/// The head of an answer as conditions see it.
pub(crate) struct Answer<'a> {
    pub(crate) status: StatusCode,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) upstream: Option<&'a str>,
    /// What the upstream said; `None`: the answer is not its own.
    pub(crate) upstream_status: Option<StatusCode>,
}

impl Variables for Seen<'_> {
    fn value<'a>(&'a self, name: &Variable) -> Option<Cow<'a, str>> {
        let (head, peer) = (self.head, self.peer);
        Some(match name {
            Variable::Uri => Cow::Borrowed(head.path()),
            Variable::RequestUri => Cow::Borrowed(head.target.as_str()),
            Variable::Host => Cow::Borrowed(head.host()),
            Variable::HttpHost => Cow::Borrowed(head.authority()),
            Variable::RemoteAddr => Cow::Owned(peer.ip.to_string()),
            Variable::RemotePort => Cow::Owned(peer.port.to_string()),
            Variable::ServerAddr => Cow::Owned(peer.local_ip.to_string()),
            Variable::ServerPort => Cow::Owned(peer.local_port.to_string()),
            Variable::ServerProtocol => Cow::Borrowed(protocol(head.version)),
            Variable::Scheme => Cow::Borrowed(peer.scheme()),
            Variable::RequestMethod => Cow::Borrowed(head.method.as_str()),
            Variable::QueryString => Cow::Borrowed(head.query().filter(|query| !query.is_empty())?),
            Variable::Arg(name) => argument(head.query()?, name)?,
            Variable::Header(name) => joined(&head.headers, name)?,
            Variable::Cookie(name) => Cow::Borrowed(head.cookies(name).next()?),
            Variable::RouteId => Cow::Borrowed(&self.route.id),
            Variable::RouteName => Cow::Borrowed(self.route.name.as_deref()?),
            Variable::ServiceId => Cow::Borrowed(self.route.service_id.as_deref()?),
            Variable::PathGroup(name) => Cow::Borrowed(self.route.path_group(head.path(), name)?),
            Variable::FirstOf(all, text) => {
                all.iter().find_map(|one| self.value(one)).unwrap_or_else(|| Cow::Owned(text.to_string()))
            }
            Variable::ConsumerName => Cow::Borrowed(self.consumer?.name()),
            Variable::ConsumerGroupId => Cow::Borrowed(self.consumer?.groups.first()?),
            Variable::Status => Cow::Owned(self.answer.as_ref()?.status.as_str().to_owned()),
            Variable::UpstreamStatus => {
                Cow::Owned(self.answer.as_ref()?.upstream_status?.as_str().to_owned())
            }
            Variable::SentHeader(name) => joined(self.answer.as_ref()?.headers, name)?,
            Variable::UpstreamAddr => Cow::Borrowed(self.answer.as_ref()?.upstream?),
            Variable::PostArg(_)
            | Variable::PostPath(_)
            | Variable::GraphqlOperation
            | Variable::GraphqlName
            | Variable::GraphqlRootField(_)
            | Variable::Exchange(_) => return None,
        })
    }
}

/// An exchange that has ended, as texts of variables see it.
pub(crate) struct Ended<'a>(pub(crate) &'a Exchange<'a>);

impl Variables for Ended<'_> {
    fn value<'a>(&'a self, name: &Variable) -> Option<Cow<'a, str>> {
        let exchange = self.0;
        match name {
            Variable::Exchange(measure) => measured(exchange, *measure).map(Cow::Owned),
            Variable::Status => Some(Cow::Owned(exchange.status.as_str().to_owned())),
            Variable::UpstreamStatus => {
                exchange.upstream_status.map(|status| Cow::Owned(status.as_str().to_owned()))
            }
            Variable::UpstreamAddr => exchange.upstream.map(Cow::Borrowed),
            Variable::SentHeader(name) => joined(exchange.headers?, name),
            name => {
                let seen = Seen {
                    head: exchange.head?,
                    peer: exchange.peer,
                    route: exchange.route,
                    consumer: exchange.consumer.map(Arc::as_ref),
                    answer: None,
                };
                seen.value(name).map(|value| Cow::Owned(value.into_owned()))
            }
        }
    }
}

fn measured(exchange: &Exchange<'_>, measure: ExchangeVariable) -> Option<String> {
    let seconds = |time: Duration| format!("{:.3}", time.as_secs_f64());
    Some(match measure {
        ExchangeVariable::TimeIso8601 | ExchangeVariable::Msec => return moment(exchange.at, measure),
        ExchangeVariable::RequestTime => seconds(exchange.took),
        ExchangeVariable::UpstreamResponseTime => seconds(exchange.upstream_took?),
        ExchangeVariable::BodyBytesSent => exchange.sent.to_string(),
        ExchangeVariable::RequestLength => exchange.received.to_string(),
    })
}

fn moment(at: UnixMillis, measure: ExchangeVariable) -> Option<String> {
    match measure {
        ExchangeVariable::TimeIso8601 => Some(iso8601(at.secs())),
        ExchangeVariable::Msec => Some(format!("{}.{:03}", at.secs(), at.0.rem_euclid(1000))),
        _ => None,
    }
}

/// A moment in UTC, as nginx writes it.
fn iso8601(seconds: i64) -> String {
    const SHAPE: &[BorrowedFormatItem<'_>] =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]+00:00");
    let moment = OffsetDateTime::from_unix_timestamp(seconds).ok();
    moment.and_then(|moment| moment.format(SHAPE).ok()).unwrap_or_default()
}

const fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}

/// The first argument of this name, decoded as HTML forms are encoded.
pub(crate) fn argument<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    arguments(query, name).next()
}

/// All of that name.
fn arguments<'a>(query: &'a str, name: &str) -> impl Iterator<Item = Cow<'a, str>> {
    query.split('&').filter(|pair| !pair.is_empty()).filter_map(move |pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(key) == name).then(|| decode(value))
    })
}

fn decode(text: &str) -> Cow<'_, str> {
    if text.contains('+') {
        let spaced = text.replace('+', " ");
        return Cow::Owned(percent_decode_str(&spaced).decode_utf8_lossy().into_owned());
    }
    percent_decode_str(text).decode_utf8_lossy()
}

/// All values of a header, so that a condition judges every one of them (RFC 9110 section 5.2).
fn joined<'a>(headers: &'a HeaderMap, name: &str) -> Option<Cow<'a, str>> {
    let mut values = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    let first = values.next()?;
    Some(values.fold(first, |joined, value| Cow::Owned(format!("{joined}, {value}"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_nginx_writes_them() {
        assert_eq!(iso8601(0), "1970-01-01T00:00:00+00:00");
        assert_eq!(iso8601(951_782_399), "2000-02-28T23:59:59+00:00");
        assert_eq!(iso8601(951_782_400), "2000-02-29T00:00:00+00:00");
        assert_eq!(iso8601(1_800_000_000), "2027-01-15T08:00:00+00:00");
        assert_eq!(iso8601(4_102_444_799), "2099-12-31T23:59:59+00:00");
    }
}
