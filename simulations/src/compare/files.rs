//! The files of a comparison.

use std::path::Path;

use super::Comparison;
use crate::results::write_atomically;
use crate::{Error, report};

/// The columns of `methods.csv` behind method and seed.
const COLUMNS: [&str; 14] = [
    "last",
    "best",
    "peer_spread",
    "worst_peer",
    "reached",
    "up_numbers",
    "down_numbers",
    "up_bytes",
    "down_bytes",
    "beside_bytes",
    "recomputation_bytes",
    "overhead_bytes",
    "sent_bytes",
    "seconds_per_round",
];

impl Comparison {
    /// Writes `compare.html`, `compare.json`, `compare.md`, `compare.csv` (accuracy: a line per method, seed and round) and
    /// `methods.csv` (everything else: a line per method and seed) into a folder.
    ///
    /// # Errors
    /// [`Error::Io`] with the file that could not be written.
    pub fn write(&self, folder: &Path) -> Result<(), Error> {
        std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        let path = folder.join("compare.json");
        let json = serde_json::to_vec_pretty(self).map_err(|error| Error::io("write", &path)(error.into()))?;
        write_atomically(&path, &json)?;
        for (name, table) in [("compare.csv", self.rounds_csv()), ("methods.csv", self.methods_csv())] {
            let path = folder.join(name);
            let bytes = table.map_err(|error| Error::io("write", &path)(std::io::Error::other(error)))?;
            write_atomically(&path, &bytes)?;
        }
        write_atomically(&folder.join("compare.html"), report::comparison(self).as_bytes())?;
        write_atomically(&folder.join("compare.md"), self.markdown().as_bytes())
    }

    fn rounds_csv(&self) -> Result<Vec<u8>, csv::Error> {
        let mut out = csv::Writer::from_writer(Vec::new());
        out.write_record(["method", "seed", "round", "accuracy"])?;
        for row in &self.methods {
            for (seed, of) in self.seeds.iter().zip(&row.by_seed) {
                for (round, accuracy) in of.by_round.iter().enumerate() {
                    let (seed, round, accuracy) = (seed.to_string(), round.to_string(), format!("{accuracy:.6}"));
                    out.write_record([row.method.as_str(), &seed, &round, &accuracy])?;
                }
            }
        }
        out.into_inner().map_err(|error| error.into_error().into())
    }

    fn methods_csv(&self) -> Result<Vec<u8>, csv::Error> {
        let mut out = csv::Writer::from_writer(Vec::new());
        out.write_record(["method", "seed"].into_iter().chain(COLUMNS))?;
        for row in &self.methods {
            for (seed, of) in self.seeds.iter().zip(&row.by_seed) {
                let fraction = |x: f64| format!("{x:.6}");
                let bytes = |x: f64| format!("{x:.1}");
                let cells: [String; COLUMNS.len()] = [
                    of.by_round.last().copied().map(fraction).unwrap_or_default(),
                    fraction(of.best),
                    of.peer_spread.map(fraction).unwrap_or_default(),
                    fraction(of.worst_peer),
                    of.reached.map(|round| round.to_string()).unwrap_or_default(),
                    bytes(of.costs.up_numbers),
                    bytes(of.costs.down_numbers),
                    bytes(of.costs.up),
                    bytes(of.costs.down),
                    bytes(of.costs.beside),
                    of.costs.recomputation.map(bytes).unwrap_or_default(),
                    bytes(of.costs.overhead),
                    bytes(of.sent),
                    format!("{:.4}", of.seconds_per_round),
                ];
                let seed = seed.to_string();
                out.write_record([row.method.as_str(), &seed].into_iter().chain(cells.iter().map(String::as_str)))?;
            }
        }
        out.into_inner().map_err(|error| error.into_error().into())
    }
}
