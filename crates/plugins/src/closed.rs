//! What stands in for plugins that cannot be used: nobody knows what they would have refused.

use std::{
    any::Any,
    sync::{Arc, LazyLock},
};

use gateway::{
    plugin::{Flow, Phases, Plugin, PluginRequest},
    route::{Entry, Layer},
};
use http::StatusCode;

static LAYER: LazyLock<Arc<Layer>> = LazyLock::new(|| {
    let entries = vec![entry("closed", "what is configured for this caller cannot be used")];
    Arc::new(Layer { entries, ..Layer::default() })
});

/// Answers 503 to whoever it is brought by: a consumer, or a group.
pub fn layer() -> Arc<Layer> {
    Arc::clone(&LAYER)
}

/// Answers 503 before any other plugin runs, and says `why`.
pub fn entry(name: &'static str, why: &'static str) -> Entry {
    Entry::new(name, i64::MAX, Arc::new(Closed { name, why }))
}

struct Closed {
    name: &'static str,
    why: &'static str,
}

impl Plugin for Closed {
    fn name(&self) -> &'static str {
        self.name
    }

    fn phases(&self) -> Phases {
        Phases::REWRITE
    }

    fn rewrite(&self, request: &mut PluginRequest<'_>) -> Flow {
        Flow::respond(request.error(StatusCode::SERVICE_UNAVAILABLE, self.why))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
