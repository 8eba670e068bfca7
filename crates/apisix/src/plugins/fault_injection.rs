//! APISIX's `fault-injection`: what may be written, and what it means.

use std::{sync::Arc, time::Duration};

use base::Random;
use expr::{Expression, Template};
use gateway::{error::ConfigError, plugin::Plugin};
use plugins::fixed_answer::{Answer, Body, Config, Delay, Which, compile};
use serde_json::{Map, Value};

use super::{
    CompileContext, DialectPlugin,
    conf::{header_values, integer, text},
};
use crate::schema::Schema;

/// The plugin of the dialect.
pub struct FaultInjection {
    schema: Schema,
    random: Random,
}

impl FaultInjection {
    /// With these dice.
    pub fn new(random: Random) -> Self {
        Self { schema: schema(), random }
    }
}

impl DialectPlugin for FaultInjection {
    fn name(&self) -> &'static str {
        "fault-injection"
    }

    fn priority(&self) -> i64 {
        11000
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn check_after_schema(&self, conf: &Map<String, Value>) -> Result<(), String> {
        for part in ["abort", "delay"] {
            if let Some(part) = conf.get(part) {
                which(part).map_err(|error| error.reason)?;
            }
        }
        Ok(())
    }

    fn compile(&self, conf: &Value, _cx: &CompileContext<'_>) -> Result<Arc<dyn Plugin>, ConfigError> {
        let delay = conf.get("delay").map(|delay| {
            let seconds = delay.get("duration").and_then(Value::as_f64).unwrap_or(0.0);
            let time = Duration::try_from_secs_f64(seconds)
                .map_err(|_| ConfigError::new("delay.duration", "not a time"))?;
            Ok::<_, ConfigError>(Delay { time, which: which(delay)? })
        });
        let answer = conf.get("abort").map(|abort| {
            let body = Template::parse(text(abort, "body").unwrap_or_default())
                .map_err(|error| ConfigError::new("abort.body", error.to_string()))?;
            Ok::<_, ConfigError>(Answer {
                status: integer(abort, "http_status")
                    .and_then(|status| u16::try_from(status).ok())
                    .unwrap_or(0),
                body: Body::Template(body),
                headers: header_values(abort.get("headers"))?,
                which: which(abort)?,
            })
        });
        compile(Config { delay: delay.transpose()?, answer: answer.transpose()?, late: false }, &self.random)
    }
}

/// Which requests: a share of them, and those of which any of the lists of conditions holds.
fn which(part: &Value) -> Result<Which, ConfigError> {
    let lists = part.get("vars").and_then(Value::as_array);
    let conditions = lists.into_iter().flatten().map(|vars| {
        Expression::compile(vars)
            .map_err(|error| ConfigError::new("vars", format!("failed to create vars expression: {error}")))
    });
    let percentage = integer(part, "percentage").and_then(|percentage| u8::try_from(percentage).ok());
    Ok(Which { percentage, conditions: conditions.collect::<Result<_, _>>()? })
}

pub(crate) fn schema() -> Schema {
    let percentage = || {
        Schema::integer()
            .at_least(0)
            .at_most(100)
            .doc("of a hundred requests, so many; all where it is left out")
    };
    let vars = || {
        Schema::array(Schema::array(Schema::any()))
            .at_most(20)
            .doc("lists of conditions, as a route's `vars`; any of the lists must hold")
    };
    let abort = Schema::object()
        .required("http_status", Schema::integer().at_least(200).at_most(599).doc("status of the answer"))
        .field("body", Schema::string().length(0, 1 << 20).doc("its body, with variables"))
        .field(
            "headers",
            Schema::map(Schema::any_of(vec![Schema::string(), Schema::number()]))
                .doc("its headers; values may hold variables"),
        )
        .field("percentage", percentage())
        .field("vars", vars());
    let delay = Schema::object()
        .required("duration", Schema::number().at_least(0).at_most(3600).doc("seconds, with fractions"))
        .field("percentage", percentage())
        .field("vars", vars());
    Schema::object()
        .at_least(1)
        .field("abort", abort.doc("answer requests in place of the upstream"))
        .field("delay", delay.doc("make requests wait first"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plugins::tests::told;

    #[test]
    fn what_is_written_is_checked_in_apisix_words() {
        let told = |conf: Value| told(FaultInjection::new(Random::seeded(1)), conf);
        assert_eq!(told(json!({"abort": {"http_status": 503, "body": "x", "headers": {"X-A": 1}}})), "fine");
        assert_eq!(told(json!({"delay": {"duration": 0.25, "percentage": 50}})), "fine");
        assert_eq!(
            told(json!({"abort": {"http_status": 100}})),
            "property \"abort\" validation failed: property \"http_status\" validation failed: expected 100 to be at least 200"
        );
        assert_eq!(
            told(json!({"abort": {}})),
            "property \"abort\" validation failed: property \"http_status\" is required"
        );
        assert!(
            told(json!({"delay": {"duration": 1, "percentage": 101}}))
                .contains("expected 101 to be at most 100")
        );
        let odd = told(json!({"abort": {"http_status": 200, "vars": [[["arg_x", "=!", "y"]]]}}));
        assert!(odd.starts_with("failed to create vars expression: "), "{odd}");
        assert!(told(json!({})).contains("at least 1"));
    }
}
