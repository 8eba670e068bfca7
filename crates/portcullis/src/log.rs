//! The process's own log, on stderr. Levels come from the configuration; `RUST_LOG` overrides them.

use std::{io::IsTerminal, panic::PanicHookInfo};

use tracing_subscriber::{EnvFilter, fmt};

use crate::config::Log;

/// Starts logging. A second call changes nothing.
pub(crate) fn start(log: &Log) {
    std::panic::set_hook(Box::new(report));
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(directives(&log.level)));
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    let _ = if log.json {
        builder.json().flatten_event(true).try_init()
    } else {
        builder.with_ansi(std::io::stderr().is_terminal()).try_init()
    };
}

/// A bug, by its place alone: the message of a panic may hold what the code was working on.
fn report(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    if cfg!(debug_assertions) {
        tracing::error!(place, %panic, "a bug: this piece of work was given up");
    } else {
        tracing::error!(place, "a bug: this piece of work was given up");
    }
}

/// Libraries speak up from `warn` on: at finer levels they print headers and frames, which hold tokens.
fn directives(level: &str) -> String {
    let libraries = ["h2", "hyper", "hyper_util", "rustls", "sqlx", "tokio_tungstenite", "tungstenite"];
    let quiet = if level == "error" { "error" } else { "warn" };
    let libraries: Vec<String> = libraries.iter().map(|name| format!(",{name}={quiet}")).collect();
    // Who changed what is always told.
    format!("{level},audit=info{}", libraries.concat())
}
