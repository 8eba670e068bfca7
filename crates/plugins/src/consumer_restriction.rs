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

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(config: Config, values: &[&str], method: &Method) -> bool {
        let config = Config { status: StatusCode::FORBIDDEN, ..config };
        let plugin = compile(config).unwrap();
        plugin.as_any().downcast_ref::<ConsumerRestriction>().unwrap().allows(values, method)
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn the_list_of_those_kept_out_goes_first_and_every_value_counts() {
        let config =
            || Config { allowed: Some(names(&["a", "b"])), denied: names(&["b"]), ..Config::default() };
        for (values, expected) in
            [(&["a"][..], true), (&["b"], false), (&["a", "b"], false), (&["c"], false), (&["c", "a"], true)]
        {
            assert_eq!(allows(config(), values, &Method::GET), expected, "{values:?}");
        }
    }

    #[test]
    fn methods_bind_those_who_are_named_and_not_let_in_already() {
        let methods = || vec![("a".to_owned(), vec![Method::GET])];
        let only = || Config { methods: methods(), ..Config::default() };
        assert!(allows(only(), &["a"], &Method::GET) && !allows(only(), &["a"], &Method::PUT));
        assert!(allows(only(), &["b"], &Method::PUT));
        let listed = Config { allowed: Some(names(&["a"])), methods: methods(), ..Config::default() };
        assert!(allows(listed, &["a"], &Method::PUT));
        assert!(compile(Config::default()).is_err(), "it restricts nothing");
    }
}
