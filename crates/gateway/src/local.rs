//! Tasks of one core.

use std::{future::Future, pin::Pin};

/// Runs hyper's tasks on the core they were made on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalExecutor;

impl<F> hyper::rt::Executor<F> for LocalExecutor
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// The future that `make` makes, in a box. Its room is there before it is made, so that it is made where it stays:
/// `Box::pin` is handed a future that has been made elsewhere, and moves all of it, empty rooms included.
pub(crate) fn boxed<F: Future>(make: impl FnOnce() -> F) -> Pin<Box<F>> {
    let room = Box::new_uninit();
    Box::into_pin(Box::write(room, make()))
}
