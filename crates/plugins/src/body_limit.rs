//! Refuses requests whose body is longer than a route means to take: at once where the length is said, otherwise when
//! the body has grown too long.

use std::{any::Any, sync::Arc};

use gateway::plugin::{Flow, Phases, Plugin, PluginRequest};
use http::{StatusCode, header};

/// How long a body may be.
#[derive(Clone, Debug)]
pub struct Config {
    /// Bytes.
    pub limit: u64,
    /// Whether a body without a length said in advance is refused.
    pub demands_length: bool,
    /// What a client whose body is too long is told.
    pub message: String,
    /// Whether it works in the second round, after the plugins that find out who is calling.
    pub late: bool,
}

/// The compiled form.
struct BodyLimit(Config);

/// Compiles `config`.
pub fn compile(config: Config) -> Arc<dyn Plugin> {
    Arc::new(BodyLimit(config))
}

impl Plugin for BodyLimit {
    fn name(&self) -> &'static str {
        "body-limit"
    }

    fn phases(&self) -> Phases {
        if self.0.late { Phases::ACCESS } else { Phases::REWRITE }
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

impl BodyLimit {
    fn judge(&self, request: &mut PluginRequest<'_>) -> Flow {
        let Config { limit, demands_length, message, .. } = &self.0;
        let length = request.head.headers.get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        match length {
            Some(length) if length > *limit => {
                return Flow::respond(request.error(StatusCode::PAYLOAD_TOO_LARGE, message));
            }
            None if *demands_length && has_body(request) => {
                let text = "A valid Content-Length header is required";
                return Flow::respond(request.error(StatusCode::LENGTH_REQUIRED, text));
            }
            _ => {}
        }
        let sending = &mut request.head.sending;
        sending.body_limit = Some(sending.body_limit.map_or(*limit, |other| other.min(*limit)));
        Flow::Continue
    }
}

/// Whether a request without a length may have a body: its transfer coding went with the connection's headers.
fn has_body(request: &PluginRequest<'_>) -> bool {
    use http::Method;
    !matches!(request.head.method, Method::GET | Method::HEAD | Method::OPTIONS | Method::DELETE)
}
