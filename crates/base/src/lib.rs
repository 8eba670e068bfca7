//! Ground floor: time, randomness, secrets and sealing, as values that are passed in, and a map that several floors use.
//!
//! Nothing here does I/O, and nothing below the binary reads the system clock or the system's random source
//! except through [`Clock`] and [`Random`]: expiry, rotation and lockout are tested by moving the clock.

mod clock;
mod keyring;
mod random;
mod secret;
mod weak_map;

pub use clock::{Clock, UnixMillis};
pub use keyring::{Keyring, KeyringError, SealError};
pub use random::Random;
pub use secret::{Secret, same_bytes};
pub use weak_map::WeakMap;
