//! Lets consumers in or keeps them out, by their name, their groups, or the route or service they ask for.

use std::{any::Any, collections::HashSet, sync::Arc};

use gateway::{
    error::{ConfigError, ErrorBody},
    plugin::{Flow, Phases, Plugin, PluginRequest},
};
use http::{Method, StatusCode};
use smallvec::SmallVec;

/// The engine's name of it.
pub const NAME: &str = "consumer-restriction";

/// What is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Subject {
    /// The consumer's name.
    #[default]
    Consumer,
    /// The groups it belongs to.
    Group,
    /// The route.
    Route,
    /// The route's service.
    Service,
}

/// Who gets in.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// What is looked at.
    pub subject: Subject,
    /// Only these; `None`: everybody.
    pub allowed: Option<Vec<String>>,
    /// Not these.
    pub denied: Vec<String>,
    /// These, if they are not in `allowed`, only with these methods.
    pub methods: Vec<(String, Vec<Method>)>,
    /// Status for those who do not get in.
    pub status: StatusCode,
    /// What they are told.
    pub refusal: String,
    /// What those are told of whom nothing is known.
    pub unknown: String,
}

/// The compiled form.
struct ConsumerRestriction {
    subject: Subject,
    allowed: Option<HashSet<String>>,
    denied: HashSet<String>,
    methods: Vec<(String, Vec<Method>)>,
    status: StatusCode,
    refusal: String,
    unknown: String,
}

/// Compiles `config`.
///
/// # Errors
///
/// When it restricts nothing.
pub fn compile(config: Config) -> Result<Arc<dyn Plugin>, ConfigError> {
    let Config { subject, allowed, denied, methods, status, refusal, unknown } = config;
    if allowed.is_none() && denied.is_empty() && methods.is_empty() {
        return Err(ConfigError::new("whitelist", "nobody is let in or kept out"));
    }
    Ok(Arc::new(ConsumerRestriction {
        subject,
        allowed: allowed.map(|allowed| allowed.into_iter().collect()),
        denied: denied.into_iter().collect(),
        methods,
        status,
        refusal,
        unknown,
    }))
}

impl ConsumerRestriction {
    /// Every value counts: one that is denied denies, one that is allowed allows.
    fn allows(&self, values: &[&str], method: &Method) -> bool {
        if values.iter().any(|value| self.denied.contains(*value)) {
            return false;
        }
        if let Some(allowed) = &self.allowed {
            return values.iter().any(|value| allowed.contains(*value));
        }
        values.iter().all(|value| {
            let named = self.methods.iter().find(|(user, _)| user == value);
            named.is_none_or(|(_, methods)| methods.contains(method))
        })
    }
}

impl Plugin for ConsumerRestriction {
    fn name(&self) -> &'static str {
        NAME
    }

    fn phases(&self) -> Phases {
        Phases::ACCESS
    }

    fn access(&self, request: &mut PluginRequest<'_>) -> Flow {
        let consumer = request.consumer();
        let values: SmallVec<[&str; 4]> = match self.subject {
            Subject::Consumer => consumer.map(|consumer| consumer.name()).into_iter().collect(),
            Subject::Group => {
                consumer.into_iter().flat_map(|consumer| consumer.groups.iter().map(Arc::as_ref)).collect()
            }
            Subject::Route => [&*request.route.id].into_iter().filter(|id| !id.is_empty()).collect(),
            Subject::Service => request.route.service_id.as_deref().into_iter().collect(),
        };
        let errors = ErrorBody { member: "message" };
        if values.is_empty() {
            return Flow::respond(errors.reply(StatusCode::UNAUTHORIZED, &self.unknown, false));
        }
        if self.allows(&values, &request.head.method) {
            return Flow::Continue;
        }
        Flow::respond(errors.reply(self.status, &self.refusal, false))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
