//! Scripts that a Redis runs for plugins that keep something else than sessions there.

use std::sync::Arc;

use ::redis::{Value, cmd};

use super::{
    link::{Link, RedisLinks, StorageError},
    settings::RedisSettings,
};

/// A Redis that runs scripts.
#[derive(Clone, Debug)]
pub struct RedisScripts {
    link: Arc<Link>,
    prefix: String,
}

impl RedisLinks {
    /// The Redis of these settings; those that name the same one share its connection.
    pub fn scripts(&self, settings: &RedisSettings) -> RedisScripts {
        RedisScripts { link: self.link(settings), prefix: settings.prefix.clone() }
    }
}

impl RedisScripts {
    /// Runs `script` on these keys, to which the prefix of the settings is added, and returns the numbers it answers.
    ///
    /// # Errors
    ///
    /// Redis does not answer, or answers something else.
    pub async fn run(
        &self,
        script: &'static str,
        keys: &[String],
        arguments: &[i64],
    ) -> Result<Vec<i64>, StorageError> {
        let mut command = cmd("EVAL");
        command.arg(script).arg(keys.len());
        for key in keys {
            command.arg(format!("{}{key}", self.prefix));
        }
        for argument in arguments {
            command.arg(*argument);
        }
        match self.link.ask(command).await? {
            Value::Array(items) => {
                let number = |item| match item {
                    Value::Int(number) => Ok(number),
                    _ => Err(StorageError),
                };
                items.into_iter().map(number).collect()
            }
            _ => Err(StorageError),
        }
    }
}
