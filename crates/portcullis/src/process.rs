//! The process itself: its limits, and the signals that end it.

use std::{os::unix::process::CommandExt, process::Command, time::Duration};

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::timeout,
};

/// Variable from which the allocator learns, before `main`, the size above which a block comes from the system and goes
/// back to it when it is freed.
const LARGEST_KEPT: &str = "MIMALLOC_ARENA_MAX_OBJECT_SIZE";
/// With its unit: a bare number would be bytes, and every block above 64 KiB one of the system's. Each of those has an
/// address of its own, and the allocator's map of addresses grows with every new one.
const LARGEST: &str = "8MiB";

/// Starts the program over with the allocator told to keep no block above 8 MiB. It would keep them all, and an idle
/// process the 19 MiB of every password thread: each hash takes one such block. Without effect when it is told
/// already, or when the system does not let a program start itself.
pub(crate) fn settle_allocator() {
    if std::env::var_os(LARGEST_KEPT).is_none() {
        // By its own path: started through `/proc/self/exe` it would be listed under the name `exe`.
        let Ok(program) = std::env::current_exe() else { return };
        let mut arguments = std::env::args_os();
        let mut command = Command::new(program);
        arguments.next().into_iter().for_each(|name| {
            command.arg0(name);
        });
        let error = command.args(arguments).env(LARGEST_KEPT, LARGEST).exec();
        tracing::debug!(%error, "the allocator keeps large blocks");
    }
}

/// Keeps secrets out of core dumps, and lets the process open as many files as it may. With `closed`, other processes
/// of the same user cannot read its memory and environment either; `dev` stays open to debuggers and to memory
/// measurements.
pub(crate) fn harden(closed: bool) {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = setrlimit(Resource::Core, none) {
        tracing::warn!(%error, "core dumps cannot be turned off");
    }
    if closed && let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "the process cannot be closed to debuggers");
    }
    let files = getrlimit(Resource::Nofile);
    if files.current != files.maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files })
    {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
}

/// SIGTERM and SIGINT.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From here on the signals end the process through [`Signals::next`] only.
    pub(crate) fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The next of them.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Waits for `work`, at most `limit`. A second signal ends the process at once.
    pub(crate) async fn drain(mut self, work: impl Future<Output = ()>, limit: Duration) {
        tokio::select! {
            done = timeout(limit, work) => {
                if done.is_err() {
                    tracing::warn!(?limit, "requests in flight were cut off");
                }
            }
            () = self.next() => std::process::exit(1),
        }
    }
}
