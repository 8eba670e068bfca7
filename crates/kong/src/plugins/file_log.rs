//! Kong's `file-log`.

use std::{sync::Arc, time::Duration};

use gateway::{error::ConfigError, plugin::Plugin};
use plugins::exchange_log::{Batches, Config, Services, Shape, Target, compile};
use serde_json::{Map, Value};

use super::{DialectPlugin, conf::text};
use crate::schema::{Field, Schema};

/// The plugin of the dialect.
pub struct FileLog(Services);

impl FileLog {
    /// With this place to work.
    pub const fn new(services: Services) -> Self {
        Self(services)
    }
}

impl DialectPlugin for FileLog {
    fn name(&self) -> &'static str {
        "file-log"
    }

    fn priority(&self) -> i64 {
        9
    }

    fn schema(&self) -> Arc<Schema> {
        Arc::new(schema())
    }

    fn compile(&self, config: &Map<String, Value>) -> Result<Arc<dyn Plugin>, ConfigError> {
        let config = Config {
            name: "file-log",
            shape: Shape::Kong,
            only: Vec::new(),
            target: Target::File(text(config, "path").unwrap_or_default().to_owned()),
            batches: Batches {
                most: 1000,
                idle: Duration::from_millis(50),
                oldest: Duration::from_millis(500),
                retries: 0,
                retry_delay: Duration::ZERO,
                waiting: 8192,
            },
        };
        compile(config, &self.0)
    }
}

fn path(text: &str) -> Result<(), String> {
    if text.chars().any(|letter| "*&%\\`".contains(letter)) {
        return Err("not a valid filename".to_owned());
    }
    Ok(())
}

fn schema() -> Schema {
    Schema::new()
        .field(
            "path",
            Field::string().required().text(path).doc("the file; `/dev/stdout` is the process's own"),
        )
        .field(
            "reopen",
            Field::boolean()
                .required()
                .default(false)
                .doc("it is opened for each batch, whatever is said here"),
        )
        .field("custom_fields_by_lua", Field::opaque())
}
