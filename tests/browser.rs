//! A real browser at the login: headless Chromium, driven by its own driver.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

mod support;

#[path = "browser/login.rs"]
mod login;
#[path = "browser/sessions.rs"]
mod sessions;
#[path = "browser/spa.rs"]
mod spa;
#[path = "browser/third_party.rs"]
mod third_party;
#[path = "browser/visit.rs"]
mod visit;
#[path = "browser/webdriver.rs"]
mod webdriver;
