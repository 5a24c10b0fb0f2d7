//! `fedswarm methods`.

use comfy_table::{ContentArrangement, Table, presets};
use fedswarm_learning::methods::{NAMES, method};

use crate::failure::Failure;

pub(crate) fn run(json: bool) -> Result<(), Failure> {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["method", "shares", "models may differ", "needs", "paper"]);
    let mut list = Vec::new();
    for name in NAMES {
        let info = method(name)?.info();
        let differ = if info.heterogeneous { "yes" } else { "no" };
        table.add_row([info.name, info.shares, differ, info.needs, info.paper]);
        list.push(serde_json::json!({
            "method": info.name, "shares": info.shares, "heterogeneous": info.heterogeneous,
            "needs": info.needs, "paper": info.paper,
        }));
    }
    if json {
        println!("{}", serde_json::json!({ "methods": list }));
    } else {
        println!("{table}");
    }
    Ok(())
}
