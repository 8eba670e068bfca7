//! What stands in for the plugins of a consumer or a group that cannot be used: nobody knows what they would have refused.

use std::{
    any::Any,
    sync::{Arc, LazyLock},
};

use gateway::{
    plugin::{Flow, Phases, Plugin, PluginRequest},
    route::{Entry, Layer},
};
use http::StatusCode;

const NAME: &str = "closed";

static LAYER: LazyLock<Arc<Layer>> = LazyLock::new(|| {
    let entries = vec![Entry::new(NAME, i64::MAX, Arc::new(Closed))];
    Arc::new(Layer { entries, ..Layer::default() })
});

/// Answers 503 to whoever it is brought by.
pub fn layer() -> Arc<Layer> {
    Arc::clone(&LAYER)
}

struct Closed;

impl Plugin for Closed {
    fn name(&self) -> &'static str {
        NAME
    }

    fn phases(&self) -> Phases {
        Phases::REWRITE
    }

    fn rewrite(&self, request: &mut PluginRequest<'_>) -> Flow {
        let why = "what is configured for this caller cannot be used";
        Flow::respond(request.error(StatusCode::SERVICE_UNAVAILABLE, why))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
