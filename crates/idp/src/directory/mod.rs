//! A tenant as one document, in the layout of Auth0's deploy CLI (`tenant.yaml`): clients, APIs, client grants,
//! connections, roles and settings, which name one another by name. Reading and writing the file is the binary's.
//!
//! Importing makes what is not there and changes what is, through the Management API's own services, so that the same
//! rules hold; it deletes nothing, and importing again changes nothing.

mod export;
mod import;

use serde_json::{Map, Value};

use crate::{IdpError, management::ManagementError};

/// Kinds of things that deploy CLI writes and this build does not have. Told, and left out.
const NOT_HERE: &[&str] = &[
    "actionModules",
    "actions",
    "attackProtection",
    "branding",
    "clientAuthCredentials",
    "connectionProfiles",
    "customDomains",
    "emailProvider",
    "emailTemplates",
    "eventStreams",
    "flowVaultConnections",
    "flows",
    "forms",
    "guardianFactorProviders",
    "guardianFactorTemplates",
    "guardianFactors",
    "guardianPhoneFactorMessageTypes",
    "guardianPhoneFactorSelectedProvider",
    "guardianPolicies",
    "hooks",
    "logStreams",
    "migrations",
    "networkACLs",
    "organizations",
    "pages",
    "partials",
    "phoneProviders",
    "phoneTemplates",
    "prompts",
    "rateLimitPolicies",
    "riskAssessment",
    "rules",
    "rulesConfigs",
    "rulesSettings",
    "scimConfigurations",
    "selfServiceProfiles",
    "supplementalSignals",
    "themes",
    "tokenExchangeProfiles",
    "triggers",
    "userAttributeProfiles",
];

/// Why a document is not imported. What came before the thing that is named was.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// One thing of it is refused, as the Management API would refuse it.
    #[error("{place}: {error}")]
    Refused {
        /// `clients[2] (My App)`.
        place: String,
        /// Why.
        error: ManagementError,
    },
    /// The document has another shape.
    #[error("{place}: {reason}")]
    Shape {
        /// Where.
        place: String,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// The provider failed.
    #[error(transparent)]
    Internal(#[from] IdpError),
}

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Things made.
    pub created: usize,
    /// Things changed, or found to be as they should.
    pub updated: usize,
    /// What was left out, each in a sentence.
    pub left_out: Vec<String>,
}

pub use export::export;
pub use import::import;

/// A tenant as one document.
pub type Document = Map<String, Value>;
