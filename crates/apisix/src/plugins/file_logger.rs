//! APISIX's `file-logger`: what may be written, and what it means.

use std::{sync::Arc, time::Duration};

use expr::Expression;
use gateway::{error::ConfigError, plugin::Plugin};
use plugins::exchange_log::{Batches, Config, Services, Target, compile};
use serde_json::{Map, Value};

use super::{
    CompileContext, DialectPlugin,
    conf::text,
    log_shape::{self, body_fields, format_fields, shape},
};
use crate::schema::Schema;

/// The plugin of the dialect.
pub struct FileLogger {
    schema: Schema,
    metadata: Schema,
    services: Services,
}

impl FileLogger {
    /// With this place to work.
    pub fn new(services: Services) -> Self {
        Self { schema: schema(), metadata: metadata(), services }
    }
}

impl DialectPlugin for FileLogger {
    fn name(&self) -> &'static str {
        "file-logger"
    }

    fn priority(&self) -> i64 {
        399
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn metadata_schema(&self) -> Option<&Schema> {
        Some(&self.metadata)
    }

    fn apply_metadata(&self, conf: &mut Map<String, Value>, metadata: &Value) {
        log_shape::apply_metadata(conf, metadata);
        if let (Some(path), false) = (metadata.get("path"), conf.contains_key("path")) {
            conf.insert("path".to_owned(), path.clone());
        }
    }

    fn compile(&self, conf: &Value, _cx: &CompileContext<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
        let condition = conf.get("match").map(|lists| {
            let lists = lists.as_array().into_iter().flatten().map(Expression::compile_for_logs);
            let lists = lists.collect::<Result<Vec<_>, _>>();
            lists.map_err(|error| ConfigError::new("match", error.to_string()))
        });
        let path = text(conf, "path").ok_or_else(|| {
            ConfigError::new("", "property \"path\" is not set in either the plugin conf or the metadata")
        })?;
        let config = Config {
            name: "file-logger",
            shape: shape(conf)?,
            only: condition.transpose()?.unwrap_or_default(),
            target: Target::File(path.to_owned()),
            batches: FILE,
        };
        compile(config, &self.services)
    }
}

/// Lines are written soon, and those that come together in one go.
const FILE: Batches = Batches {
    most: 1000,
    idle: Duration::from_millis(50),
    oldest: Duration::from_millis(500),
    retries: 0,
    retry_delay: Duration::ZERO,
    waiting: 8192,
};

fn path_field(schema: Schema) -> Schema {
    schema.field(
        "path",
        Schema::string().length(1, 4096).doc(
            "the file; `/dev/stdout` and `/dev/stderr` are the process's own. Needed here or in `plugin_metadata`",
        ),
    )
}

/// What `plugin_metadata` may hold: a shape and a file for routes that say none.
pub(crate) fn metadata() -> Schema {
    path_field(log_shape::metadata())
}

pub(crate) fn schema() -> Schema {
    let schema = path_field(Schema::object()).field(
        "match",
        Schema::array(Schema::array(Schema::any()))
            .at_most(20)
            .doc("lists of conditions; only requests of which any list holds are logged"),
    );
    body_fields(format_fields(schema))
}
