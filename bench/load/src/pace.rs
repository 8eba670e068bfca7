//! When the next request is due.

use std::{
    cell::Cell,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tokio::sync::Semaphore;

/// How often the clock of a fixed rate is looked at.
const BEAT: Duration = Duration::from_micros(100);

/// Gives out requests.
#[derive(Debug)]
pub(crate) enum Pace {
    /// The next one is due at once.
    Closed { over: Cell<bool> },
    /// One after each `period`, whatever becomes of those before.
    Fixed { due: Arc<Semaphore>, origin: Instant, period: Duration, given: Cell<u32> },
}

impl Pace {
    /// A closed loop, or a fixed rate from now on for `length`.
    pub(crate) fn new(rate: Option<f64>, length: Duration) -> anyhow::Result<Self> {
        let Some(rate) = rate else { return Ok(Self::Closed { over: Cell::new(false) }) };
        let (due, origin, period) =
            (Arc::new(Semaphore::new(0)), Instant::now(), Duration::from_secs_f64(1.0 / rate));
        let permits = Arc::clone(&due);
        // The runtime's timers are a millisecond apart: too coarse for what is due fifty times in one.
        thread::Builder::new().spawn(move || beat(&permits, origin, period, length))?;
        Ok(Self::Fixed { due, origin, period, given: Cell::new(0) })
    }

    /// No more after this; those of a fixed rate that were due are still given out.
    pub(crate) fn end(&self) {
        if let Self::Closed { over } = self {
            over.set(true);
        }
    }

    /// The instant at which the next request was due.
    pub(crate) async fn next(&self) -> Option<Instant> {
        match self {
            Self::Closed { over } => (!over.get()).then(Instant::now),
            Self::Fixed { due, origin, period, given } => {
                due.acquire().await.ok()?.forget();
                let number = given.get();
                given.set(number + 1);
                Some(*origin + *period * number)
            }
        }
    }
}

/// Makes requests due, then lets the workers take what is left and end.
fn beat(due: &Semaphore, origin: Instant, period: Duration, length: Duration) {
    let mut made = 0;
    loop {
        let passed = origin.elapsed().min(length);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // requests of one run
        let reached = (passed.as_secs_f64() / period.as_secs_f64()) as usize;
        due.add_permits(reached.saturating_sub(made));
        made = made.max(reached);
        if passed == length {
            break;
        }
        thread::sleep(BEAT);
    }
    while due.available_permits() > 0 {
        thread::sleep(BEAT);
    }
    due.close();
}
