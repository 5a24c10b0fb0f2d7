//! `fedswarm methods`.

use comfy_table::{ContentArrangement, Table, presets};
use fedswarm_learning::methods::{Heads, NAMES, method};

use crate::failure::Failure;

pub(crate) fn run(json: bool) -> Result<(), Failure> {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["method", "shares", "models may differ", "needs", "head=etf", "paper"]);
    let mut list = Vec::new();
    for name in NAMES {
        let method = method(name)?;
        let info = method.info();
        let head = match method.heads() {
            Heads::Either => "yes".to_owned(),
            Heads::Etf => "always".to_owned(),
            Heads::Linear(why) => format!("no: {why}"),
        };
        let differ = if info.heterogeneous { "yes" } else { "no" };
        table.add_row([info.name, info.shares, differ, info.needs, &head, info.paper]);
        list.push(serde_json::json!({
            "method": info.name, "shares": info.shares, "heterogeneous": info.heterogeneous,
            "needs": info.needs, "etf_head": head, "paper": info.paper,
        }));
    }
    if json {
        println!("{}", serde_json::json!({ "methods": list }));
    } else {
        println!("{table}");
    }
    Ok(())
}
