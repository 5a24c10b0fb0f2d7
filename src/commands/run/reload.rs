//! Reading lists again while the node runs.

use std::path::Path;

use fedswarm_node::NodeHandle;
use fedswarm_node::run_config::RunConfig;
use serde_json::json;

use crate::commands::events;

/// Puts the lists of the configuration file in force. Nothing else of it is looked at; if anything is wrong with it, the lists that
/// are in force stay.
pub(super) async fn lists(config: &Path, node: &NodeHandle, json: bool) {
    let loaded = RunConfig::load(config).and_then(|config| config.lists.parse());
    let done = match loaded {
        Ok(lists) => {
            let len = lists.len();
            node.network().set_lists(lists).await.map(|()| len).map_err(|e| e.to_string())
        }
        Err(error) => Err(error.to_string()),
    };
    match &done {
        Ok((allow, block)) => tracing::info!(allow, block, "lists are in force"),
        Err(reason) => tracing::warn!(reason, "the lists that were in force stay"),
    }
    if json {
        events::print(&match done {
            Ok((allow, block)) => json!({ "event": "lists", "allow": allow, "block": block }),
            Err(reason) => json!({ "event": "lists_refused", "reason": reason }),
        });
    }
}
