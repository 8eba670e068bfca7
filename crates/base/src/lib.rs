//! Ground floor: time, randomness, secrets and sealing, as values that are passed in; a map that several floors use; and
//! YAML, read strictly.
//!
//! Nothing here does I/O, and nothing below the binary reads the system clock or the system's random source
//! except through [`Clock`] and [`Random`]: expiry, rotation and lockout are tested by moving the clock.

mod clock;
mod keyring;
mod random;
mod sealed_text;
mod secret;
mod weak_map;
pub mod yaml;

pub use clock::{Clock, UnixMillis};
pub use keyring::{Keyring, KeyringError, SealError};
pub use random::Random;
pub use sealed_text::TextSealer;
pub use secret::{Secret, same_bytes};
pub use weak_map::WeakMap;
