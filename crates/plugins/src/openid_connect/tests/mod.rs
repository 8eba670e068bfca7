//! Protocol tests against a scripted provider.
