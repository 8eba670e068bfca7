//! Routes that take requests over TLS only.

use std::{any::Any, sync::Arc};

use gateway::plugin::{Flow, Phases, Plugin, PluginRequest};
use http::{HeaderValue, StatusCode, header};

/// Answers requests in the clear: with Kong's 426, or with a redirect of this status.
struct HttpsOnly(StatusCode);

/// A plugin for such a route.
pub(super) fn compile(status: StatusCode) -> Arc<dyn Plugin> {
    Arc::new(HttpsOnly(status))
}

impl Plugin for HttpsOnly {
    fn name(&self) -> &'static str {
        "https-only"
    }

    fn phases(&self) -> Phases {
        Phases::REWRITE
    }

    fn rewrite(&self, request: &mut PluginRequest<'_>) -> Flow {
        if request.peer.https {
            return Flow::Continue;
        }
        let mut reply = request.error(self.0, "Please use HTTPS protocol");
        let headers = reply.headers_mut();
        if self.0 == StatusCode::UPGRADE_REQUIRED {
            headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(header::UPGRADE, HeaderValue::from_static("TLS/1.2, HTTP/1.1"));
        } else {
            let location = format!("https://{}{}", request.head.public_host().name(), request.head.target);
            if let Ok(location) = HeaderValue::from_str(&location) {
                headers.insert(header::LOCATION, location);
            }
        }
        Flow::respond(reply)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
