//! The plugins: one file or folder each, with a neutral configuration that no user ever writes. The dialects translate
//! theirs into it and compile it here; the engine runs what comes out and has never heard of any of them.
//! `json_schema` is no plugin but what several read their operators' schemas with; nor is `closed`, which stands in for
//! plugins that cannot be used, nor `multipart`, which reads bodies.
//!
//! All plugins, by name:

pub mod acl;
pub mod attach_consumer_label;
mod authentication;
pub mod basic_auth;
mod body_digest;
pub mod body_limit;
pub mod closed;
pub mod consumer_restriction;
pub mod cors;
pub mod exchange_log;
pub mod exchange_marks;
mod fields;
pub mod fixed_answer;
pub mod grants;
pub mod hash_key;
mod header_rule;
pub mod hmac_auth;
mod hmac_signature;
pub mod ip_restriction;
pub mod json_schema;
pub mod jwt_auth;
pub mod key_auth;
pub mod login_methods;
pub mod multi_auth;
pub mod multipart;
pub mod openid_connect;
pub mod prometheus;
mod query;
pub mod rate_limit;
pub mod redirect;
pub mod request_edit;
pub mod request_id;
pub mod response_edit;
pub mod signed_request;
pub mod text;
pub mod upstream_path;

pub use authentication::{Fallback, Places, Realm, Refusal};
