//! Plugins that stand in resources of their own: for every route, or for those that name them.

use std::sync::Arc;

use gateway::route::Entry;
use plugins::closed;
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
        Self { entries: vec![closed::entry("global-rule", "a global rule cannot be used")] }
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
