//! Several ways to find out which consumer a request comes from, of which the first that succeeds counts.

use std::{any::Any, sync::Arc};

use gateway::{
    error::{ConfigError, ErrorBody},
    plugin::{Flow, Phases, Plugin, PluginRequest, Suspended, Verdict},
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
        for plugin in &self.plugins {
            match plugin.rewrite(request) {
                Flow::Continue => return Flow::Continue,
                Flow::Respond(reply) => challenges.extend(challenge(reply.headers())),
                Flow::Suspend(future) => waiting.push(future),
                // It answers at a path of its own, whoever asks.
                Flow::Read(reader) => return Flow::Read(reader),
            }
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
