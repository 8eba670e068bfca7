use std::{fmt, sync::Arc, time::Duration};

use ::redis::{Value, cmd};
use aws_lc_rs::digest;
use base::UnixMillis;

use super::{RedisLinks, RedisSettings, StorageError, link::Link, millis};

/// A proof is remembered for so long after it is over, because another node's clock may be behind.
const SKEW: Duration = Duration::from_secs(60);

/// The proofs of possession that several nodes have been shown, so that one which one node took is worth nothing at
/// another (RFC 9449 section 11.1).
pub struct SharedProofs {
    link: Arc<Link>,
    prefix: String,
}

impl SharedProofs {
    /// Those in the Redis of `settings`.
    pub fn new(links: &RedisLinks, settings: &RedisSettings) -> Self {
        Self { link: links.link(settings), prefix: settings.prefix.clone() }
    }

    /// Notes that the key with this thumbprint has shown the proof `jti`, which is worth nothing after `until`; whether
    /// it was the first time.
    ///
    /// # Errors
    ///
    /// When the storage does not answer: then nobody knows.
    pub async fn show(
        &self,
        thumbprint: &str,
        jti: &str,
        until: UnixMillis,
        now: UnixMillis,
    ) -> Result<bool, StorageError> {
        let lasts = until.since(now) + SKEW;
        let mut command = cmd("SET");
        command.arg(self.key(thumbprint, jti)).arg(1).arg("NX").arg("PX").arg(millis(lasts));
        Ok(self.link.ask(command).await? != Value::Nil)
    }

    fn key(&self, thumbprint: &str, jti: &str) -> String {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&thumbprint.len().to_be_bytes());
        context.update(thumbprint.as_bytes());
        context.update(jti.as_bytes());
        let mut key = format!("{}:proof:", self.prefix);
        for byte in context.finish().as_ref().iter().take(16) {
            key.push_str(&format!("{byte:02x}"));
        }
        key
    }
}

impl fmt::Debug for SharedProofs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedProofs").field("link", &self.link).finish_non_exhaustive()
    }
}
