//! Tells the upstream what the labels of the consumer say.
//!
//! The headers it sets are claims of the gate's: whatever the client sent under their names, in any spelling an upstream
//! might fold into them, is removed first, whether or not there is a consumer.

use std::{any::Any, sync::Arc};

use gateway::{
    error::ConfigError,
    is_same_header, is_the_gates,
    plugin::{Flow, Phases, Plugin, PluginRequest},
};
use http::{HeaderName, HeaderValue};
use smallvec::SmallVec;

/// The engine's name of it.
pub const NAME: &str = "attach-consumer-label";

/// Headers, and the labels whose values they get.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// In any order.
    pub headers: Vec<(HeaderName, String)>,
}

/// The compiled form.
struct AttachConsumerLabel {
    headers: Vec<(HeaderName, String)>,
}

/// Compiles `config`.
///
/// # Errors
///
/// When there is no header, or one that is not a label's to set.
pub fn compile(config: Config) -> Result<Arc<dyn Plugin>, ConfigError> {
    let Config { headers } = config;
    if headers.is_empty() {
        return Err(ConfigError::new("headers", "there is none"));
    }
    if let Some((name, _)) = headers.iter().find(|(name, _)| is_the_gates(name.as_str()) || name == "host") {
        return Err(ConfigError::new("headers", format!("{name} says what only the gate knows")));
    }
    Ok(Arc::new(AttachConsumerLabel { headers }))
}

impl Plugin for AttachConsumerLabel {
    fn name(&self) -> &'static str {
        NAME
    }

    fn phases(&self) -> Phases {
        Phases::ACCESS
    }

    fn access(&self, request: &mut PluginRequest<'_>) -> Flow {
        let consumer = request.consumer().cloned();
        let headers = &mut request.head.headers;
        let claimed = |name: &HeaderName| {
            self.headers.iter().any(|(own, _)| is_same_header(own.as_str(), name.as_str()))
        };
        let claimed: SmallVec<[HeaderName; 4]> =
            headers.keys().filter(|name| claimed(name)).cloned().collect();
        for name in claimed {
            headers.remove(name);
        }
        let Some(consumer) = consumer else { return Flow::Continue };
        for (name, label) in &self.headers {
            let value =
                consumer.labels.get(label).and_then(|value| HeaderValue::from_bytes(value.as_bytes()).ok());
            headers.extend(value.map(|value| (name.clone(), value)));
        }
        Flow::Continue
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
