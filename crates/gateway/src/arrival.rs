//! A request while its route is looked for: the conditions a route can put on it.

use std::{borrow::Cow, sync::Arc};

use expr::{Variable, Variables};
use http::{HeaderMap, StatusCode, Version};
use percent_encoding::percent_decode_str;

use crate::{
    consumer::Consumer,
    plugin::{Peer, RequestHead},
    route::Route,
};

/// A cleaned request, its sender, and the route whose conditions are being tried.
pub(crate) struct Arrival<'a> {
    pub(crate) head: &'a RequestHead,
    pub(crate) peer: &'a Peer,
}

impl Arrival<'_> {
    /// Whether the conditions of `route` beside host and path hold.
    pub(crate) fn satisfies(&self, route: &Arc<Route>) -> bool {
        let matcher = &route.matcher;
        let seen = Seen { head: self.head, peer: self.peer, route, consumer: None, answer: None };
        (matcher.methods.is_empty() || matcher.methods.contains(&self.head.method))
            && (matcher.remotes.is_empty()
                || matcher.remotes.iter().any(|network| network.contains(&self.peer.ip)))
            && matcher.vars.as_ref().is_none_or(|vars| vars.matches(&seen))
    }
}

/// A request as conditions see it.
pub(crate) struct Seen<'a> {
    pub(crate) head: &'a RequestHead,
    pub(crate) peer: &'a Peer,
    pub(crate) route: &'a Route,
    /// Who it was found to come from: nobody while its route is looked for.
    pub(crate) consumer: Option<&'a Consumer>,
    /// What it was answered with; `None`: nothing yet.
    pub(crate) answer: Option<AnswerStatus>,
}

/// The status of an answer.
#[derive(Clone, Copy)]
pub(crate) struct AnswerStatus {
    /// What the client gets.
    pub(crate) sent: StatusCode,
    /// What the upstream said.
    pub(crate) upstream: Option<StatusCode>,
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
            Variable::ConsumerName => Cow::Borrowed(self.consumer?.name()),
            Variable::Status => Cow::Owned(self.answer?.sent.as_str().to_owned()),
            Variable::UpstreamStatus => Cow::Owned(self.answer?.upstream?.as_str().to_owned()),
            Variable::ConsumerGroupId => Cow::Borrowed(self.consumer?.groups.first()?),
        })
    }
}

const fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}

/// The first argument of this name, decoded as HTML forms are encoded.
fn argument<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    query.split('&').find_map(|pair| {
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
