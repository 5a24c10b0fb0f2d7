//! Makes a run's `report.html` and `rounds.csv` again from its `results.json`, after the page's code has changed:
//!
//! ```text
//! cargo build --release --workspace --examples
//! target/release/examples/render_report runs/fedmoe-seed1
//! ```

use std::error::Error;
use std::path::PathBuf;

use fedswarm_simulations::results::Results;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("name the folder of a run")?);
    Results::read(&folder)?.write(&folder)?;
    println!("{}", folder.join("report.html").display());
    Ok(())
}
