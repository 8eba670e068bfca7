//! Routes that take calls of gRPC only.

use std::{any::Any, sync::Arc};

use gateway::plugin::{Flow, Phases, Plugin, PluginRequest};
use http::{HeaderName, HeaderValue, Response, StatusCode, Version, header};

/// As what a call says that it is one, whatever stands behind it.
const CALL: &[u8] = b"application/grpc";

/// Turns away what is no call, in Kong's words.
struct CallsOnly {
    /// Whether a call must come over TLS.
    tls: bool,
}

/// A plugin for such a route.
pub(super) fn compile(tls: bool) -> Arc<dyn Plugin> {
    Arc::new(CallsOnly { tls })
}

impl Plugin for CallsOnly {
    fn name(&self) -> &'static str {
        "calls-only"
    }

    fn phases(&self) -> Phases {
        Phases::REWRITE
    }

    fn rewrite(&self, request: &mut PluginRequest<'_>) -> Flow {
        let kind = request.head.headers.get(header::CONTENT_TYPE);
        if !kind.is_some_and(|kind| kind.as_bytes().starts_with(CALL)) {
            let text = "Non-gRPC request matched gRPC route";
            return Flow::respond(request.error(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
        }
        if request.head.version != Version::HTTP_2 {
            let mut reply = request.error(StatusCode::UPGRADE_REQUIRED, "Please use HTTP2 protocol");
            reply.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
            reply.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("HTTP/2"));
            return Flow::respond(reply);
        }
        if self.tls && !request.peer.https {
            let mut reply = Response::new(bytes::Bytes::new());
            for (name, value) in [
                ("content-type", "application/grpc"),
                ("grpc-status", "1"),
                ("grpc-message", "gRPC request matched gRPCs route"),
            ] {
                reply.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            return Flow::respond(reply);
        }
        Flow::Continue
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
