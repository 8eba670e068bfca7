//! The query of a request: what is in it under a name, and without it.

use gateway::plugin::RequestHead;
use http::uri::PathAndQuery;

/// The name of one piece, decoded.
fn name(piece: &str) -> Option<std::borrow::Cow<'_, str>> {
    form_urlencoded::parse(piece.as_bytes()).next().map(|(name, _)| name)
}

/// The values under a name, as they were written.
pub(crate) fn values<'q>(query: &'q str, wanted: &'q str) -> impl Iterator<Item = &'q str> {
    let pieces = query.split('&').filter(move |piece| name(piece).is_some_and(|name| name == wanted));
    pieces.map(|piece| piece.split_once('=').map_or("", |(_, value)| value))
}

/// The one value under a name, decoded; `None` too where there are several.
pub(crate) fn one(query: &str, wanted: &str) -> Option<String> {
    let mut found = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == wanted);
    let value = found.next()?.1.into_owned();
    found.next().is_none().then_some(value)
}

/// The pieces whose names are not `hidden`, in the bytes that they were written in.
pub(crate) fn without(query: &str, hidden: impl Fn(&str) -> bool) -> String {
    let kept: Vec<&str> =
        query.split('&').filter(|piece| !name(piece).is_some_and(|name| hidden(&name))).collect();
    kept.join("&")
}

/// Takes pieces out of what goes upstream. The rest keeps its bytes.
pub(crate) fn remove(head: &mut RequestHead, hidden: impl Fn(&str) -> bool) {
    let Some(query) = head.query() else { return };
    let kept = without(query, hidden);
    let target = if kept.is_empty() { head.path().to_owned() } else { format!("{}?{kept}", head.path()) };
    // A part of a valid query is one.
    if let Ok(target) = PathAndQuery::from_maybe_shared(target) {
        head.target = target;
    }
}
