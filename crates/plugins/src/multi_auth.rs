//! Several ways to find out which consumer a request comes from, of which the first that succeeds counts.

use std::{any::Any, sync::Arc};

use bytes::Bytes;
use gateway::{
    error::{ConfigError, ErrorBody, Failure},
    plugin::{BodyInspector, Flow, Phases, Plugin, PluginRequest, Suspended, Verdict},
};
use http::{HeaderValue, StatusCode, header};

/// The engine's name of it.
pub const NAME: &str = "multi-auth";

/// The compiled form.
struct MultiAuth {
    plugins: Vec<Arc<dyn Plugin>>,
}

/// Compiles a plugin that tries `plugins` in this order; those that have to wait for somebody come after the others.
///
/// # Errors
///
/// When there is none.
pub fn compile(plugins: Vec<Arc<dyn Plugin>>) -> Result<Arc<dyn Plugin>, ConfigError> {
    if plugins.is_empty() {
        return Err(ConfigError::new("auth_plugins", "there is none"));
    }
    Ok(Arc::new(MultiAuth { plugins }))
}

impl Plugin for MultiAuth {
    fn name(&self) -> &'static str {
        NAME
    }

    fn phases(&self) -> Phases {
        Phases::REWRITE
    }

    fn rewrite(&self, request: &mut PluginRequest<'_>) -> Flow {
        let mut challenges = Vec::new();
        let mut waiting = Vec::new();
        let mut inspectors = Vec::new();
        for plugin in &self.plugins {
            match plugin.rewrite(request) {
                Flow::Continue => return Flow::Continue,
                Flow::Respond(reply) => challenges.extend(challenge(reply.headers())),
                Flow::Suspend(future) => waiting.push(future),
                // It answers at a path of its own, whoever asks.
                Flow::Read(reader) => return Flow::Read(reader),
                Flow::Inspect(inspector) => inspectors.push(inspector),
            }
        }
        if let Some(limit) = inspectors.iter().map(|inspector| inspector.limit).max() {
            let judge = move |body: Result<Bytes, Failure>| {
                waiting.extend(inspectors.into_iter().map(|inspector| inspected(inspector, &body)));
                Box::pin(first_of(waiting, challenges)) as Suspended
            };
            return Flow::Inspect(BodyInspector { limit, judge: Box::new(judge) });
        }
        if waiting.is_empty() {
            return Flow::Respond(refusal(challenges));
        }
        Flow::Suspend(Box::pin(first_of(waiting, challenges)))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// What one of several makes of the body, which may be longer than it takes.
fn inspected(inspector: BodyInspector, body: &Result<Bytes, Failure>) -> Suspended {
    let body = match body {
        Ok(body) if body.len() > inspector.limit => Err(Failure::TOO_LARGE),
        body => body.clone(),
    };
    (inspector.judge)(body)
}

async fn first_of(waiting: Vec<Suspended>, mut challenges: Vec<HeaderValue>) -> Verdict {
    for future in waiting {
        let verdict = future.await;
        match &verdict.reply {
            None => return verdict,
            Some(reply) => challenges.extend(challenge(reply.headers())),
        }
    }
    Verdict { reply: Some(refusal(challenges)), ..Verdict::default() }
}

fn challenge(headers: &http::HeaderMap) -> Vec<HeaderValue> {
    headers.get_all(header::WWW_AUTHENTICATE).iter().cloned().collect()
}

/// 401 with the challenge of every plugin, so that the client learns of all of them.
fn refusal(challenges: Vec<HeaderValue>) -> Box<gateway::plugin::Reply> {
    let errors = ErrorBody { member: "message" };
    let mut reply = errors.reply(StatusCode::UNAUTHORIZED, "Authorization Failed", false);
    for challenge in challenges {
        reply.headers_mut().append(header::WWW_AUTHENTICATE, challenge);
    }
    Box::new(reply)
}

#[cfg(test)]
mod tests {
    use gateway::{
        plugin::{HostName, Peer, RequestHead},
        route::{Backend, Matcher, Route},
    };
    use http::{HeaderMap, HeaderName, Method, Version};

    use super::*;

    /// Succeeds or fails, at once or later, and says so in a header.
    struct Way {
        name: &'static str,
        succeeds: bool,
        waits: bool,
    }

    impl Plugin for Way {
        fn name(&self) -> &'static str {
            self.name
        }

        fn phases(&self) -> Phases {
            Phases::REWRITE
        }

        fn rewrite(&self, _request: &mut PluginRequest<'_>) -> Flow {
            let reply = (!self.succeeds).then(|| refusal(vec![HeaderValue::from_static(self.name)]));
            let seen = (HeaderName::from_static("x-way"), HeaderValue::from_static(self.name));
            match reply {
                _ if self.waits => {
                    let verdict = Verdict { reply, response: vec![seen], ..Verdict::default() };
                    Flow::Suspend(Box::pin(async move { verdict }))
                }
                Some(reply) => Flow::Respond(reply),
                None => Flow::Continue,
            }
        }

        fn as_any(&self) -> &dyn Any {
            self
        }
    }

    /// What comes of trying these: the way that waited and succeeded, or the challenges; `None`: one did not wait.
    async fn tried(ways: &[(&'static str, bool, bool)]) -> Option<Vec<HeaderValue>> {
        let way = |&(name, succeeds, waits): &(&'static str, bool, bool)| {
            Arc::new(Way { name, succeeds, waits }) as Arc<dyn Plugin>
        };
        let plugin = compile(ways.iter().map(way).collect()).unwrap();
        let ip = [127, 0, 0, 1].into();
        let (local_port, https, trusted) = (2, false, false);
        let peer = Peer {
            ip,
            port: 1,
            local_ip: ip,
            local_port,
            https,
            trusted,
            server_name: None,
            certificate: None,
        };
        let mut head = RequestHead {
            named: None,
            method: Method::GET,
            target: http::uri::PathAndQuery::from_static("/"),
            host: HostName::parse(&HeaderValue::from_static("a")).unwrap(),
            headers: HeaderMap::new(),
            version: Version::HTTP_11,
            websocket: false,
            sending: Default::default(),
        };
        let route = Arc::new(Route {
            id: "1".into(),
            name: None,
            dialect: "test",
            service_id: None,
            service_name: None,
            matcher: Matcher::default(),
            plan: Arc::default(),
            backend: Backend::None(StatusCode::NOT_FOUND, ""),
            timeouts: None,
            websocket: false,
            errors: ErrorBody { member: "message" },
        });
        let flow = plugin.rewrite(&mut PluginRequest {
            head: &mut head,
            peer: &peer,
            route: &route,
            response: &mut Vec::new(),
            consumers: &Arc::default(),
            attached: &mut None,
            brought: &mut None,
            decided: &mut gateway::condition::Decided::default(),
            notes: &mut Default::default(),
        });
        let verdict = match flow {
            Flow::Continue => return None,
            Flow::Respond(reply) => Verdict { reply: Some(reply), ..Verdict::default() },
            Flow::Suspend(future) => future.await,
            Flow::Read(_) | Flow::Inspect(_) => panic!("it reads no body"),
        };
        match verdict.reply {
            Some(reply) => Some(challenge(reply.headers())),
            None => Some(verdict.response.into_iter().map(|(_, value)| value).collect()),
        }
    }

    #[tokio::test]
    async fn ways_that_wait_are_tried_after_those_that_do_not() {
        let (good, bad, now, later) = (true, false, false, true);
        assert_eq!(tried(&[("a", good, later), ("b", good, now)]).await, None);
        assert_eq!(tried(&[("a", bad, later), ("b", bad, now), ("c", good, later)]).await.unwrap(), ["c"]);
        assert_eq!(tried(&[("a", bad, later), ("b", bad, now)]).await.unwrap(), ["b", "a"]);
        assert!(compile(Vec::new()).is_err());
    }
}
