//! Plugins that stand in resources of their own: for every route, or for those that name them.

use std::{any::Any, sync::Arc};

use gateway::{
    plugin::{Flow, Phases, Plugin, PluginRequest},
    route::Entry,
};
use http::StatusCode;
use serde_json::Value;

use super::Pass;
use crate::resources::Kind;

/// The plugins of a global rule.
#[derive(Debug)]
pub(crate) struct GlobalRule {
    pub(crate) entries: Vec<Entry>,
}

impl GlobalRule {
    /// What stands in for a rule that cannot be used: nobody knows what it would have refused.
    pub(crate) fn closed() -> Self {
        Self { entries: vec![Entry::new("global-rule", i64::MAX, Arc::new(Unusable))] }
    }
}

impl Pass<'_> {
    /// A global rule; `None` when it is gone.
    pub(crate) fn global_rule(&mut self, id: &str) -> Result<Option<Arc<GlobalRule>>, String> {
        if self.view.find(Kind::GlobalRule, id).is_none() {
            return Ok(None);
        }
        let entries = self.shared_plugins(Kind::GlobalRule, id)?;
        Ok(Some(Arc::new(GlobalRule { entries })))
    }

    /// The plugins of a resource that is little more than a set of them.
    pub(super) fn shared_plugins(&mut self, kind: Kind, id: &str) -> Result<Vec<Entry>, String> {
        let value = self.open(kind, id)?;
        let name = kind.name(id);
        let plugins = value.get("plugins").and_then(Value::as_object);
        plugins.into_iter().flatten().map(|(plugin, conf)| self.plugin(plugin, conf, &name)).collect()
    }
}

/// Answers 503 to everything.
struct Unusable;

impl Plugin for Unusable {
    fn name(&self) -> &'static str {
        "global-rule"
    }

    fn phases(&self) -> Phases {
        Phases::REWRITE
    }

    fn rewrite(&self, request: &mut PluginRequest<'_>) -> Flow {
        let why = "a global rule cannot be used";
        Flow::respond(request.error(StatusCode::SERVICE_UNAVAILABLE, why))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
