//! The files of a run's folder. Each appears whole or not at all.

use std::fs;
use std::path::Path;

use super::{FORMAT, Results};
use crate::{Error, report};

/// The name of the file with everything in it.
pub const RESULTS_FILE: &str = "results.json";
const ROUNDS_FILE: &str = "rounds.csv";
const REPORT_FILE: &str = "report.html";

impl Results {
    /// Writes `results.json`, `rounds.csv` and `report.html` into a folder, which is made if it is not there.
    ///
    /// # Errors
    /// [`Error::Io`] with the file that could not be written; no file is left half-written.
    pub fn write(&self, folder: &Path) -> Result<(), Error> {
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        let csv_path = folder.join(ROUNDS_FILE);
        let csv = self.rounds_csv().map_err(|error| Error::io("write", &csv_path)(std::io::Error::other(error)))?;
        write_atomically(&csv_path, &csv)?;
        write_atomically(&folder.join(REPORT_FILE), report::html(self).as_bytes())?;
        // Last, so that a folder with results has everything.
        let path = folder.join(RESULTS_FILE);
        let json = serde_json::to_vec_pretty(self).map_err(|error| Error::io("write", &path)(error.into()))?;
        write_atomically(&path, &json)
    }

    /// Reads a run's `results.json`.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read, [`Error::Text`] when it is not this version's.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(RESULTS_FILE);
        let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
        let results: Self = serde_json::from_slice(&bytes).map_err(|error| Error::Text {
            path: path.clone(),
            line: Some(error.line()).filter(|line| *line > 0),
            problem: format!("not the results of a run: {error}"),
        })?;
        if results.format != FORMAT {
            let problem = format!("format {}; this version of fedswarm reads format {FORMAT}", results.format);
            return Err(Error::Text { path, line: None, problem });
        }
        Ok(results)
    }

    /// One line per certified round, one column per peer.
    fn rounds_csv(&self) -> Result<Vec<u8>, csv::Error> {
        let mut out = csv::Writer::from_writer(Vec::new());
        let fixed =
            "round view aggregator inputs train_ms collect_ms agree_ms certified_at_ms loss accuracy local_accuracy";
        let has_gates = self.rounds.iter().any(|round| !round.gates.is_empty());
        let mut header: Vec<String> = fixed.split(' ').map(str::to_owned).collect();
        header.extend(self.peers.iter().map(|peer| format!("accuracy {}", peer.name)));
        if has_gates {
            header.extend(self.peers.iter().map(|peer| format!("gate {}", peer.name)));
        }
        header.push("record_hash".to_owned());
        out.write_record(&header)?;
        let optional = |value: Option<f64>| value.map(|v| format!("{v:.6}")).unwrap_or_default();
        for round in &self.rounds {
            let phases = round.phases_ms;
            let mut row = vec![
                round.round.to_string(),
                round.view.to_string(),
                self.peers.get(round.aggregator).map(|peer| peer.name.clone()).unwrap_or_default(),
                round.inputs.to_string(),
                format!("{:.1}", phases.train),
                format!("{:.1}", phases.collect),
                format!("{:.1}", phases.agree),
                format!("{:.1}", round.certified_at_ms),
                optional(round.loss),
                format!("{:.6}", round.accuracy),
                optional(round.local_accuracy),
            ];
            row.extend((0..self.peers.len()).map(|peer| optional(round.accuracies.get(peer).copied())));
            if has_gates {
                row.extend((0..self.peers.len()).map(|peer| optional(round.gates.get(peer).copied())));
            }
            row.push(round.record_hash.clone());
            out.write_record(&row)?;
        }
        out.into_inner().map_err(|error| error.into_error().into())
    }
}

/// Writes a file so that a reader sees the old one or the new one, never half of one.
///
/// # Errors
/// [`Error::Io`] with the file's path.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    fedswarm_node::files::write_atomically(path, bytes).map_err(Error::io("write", path))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::results::fixture;

    #[test]
    fn results_survive_the_way_to_disk_and_back() {
        let folder = tempfile::tempdir().unwrap();
        let results = fixture::fedmoe();
        results.write(folder.path()).unwrap();
        let read = Results::read(folder.path()).unwrap();
        // JSON's decimals may cost the last bit of a fraction; everything that is named or counted is the same.
        assert_eq!(
            (&read.scenario, &read.classes, &read.command),
            (&results.scenario, &results.classes, &results.command)
        );
        assert_eq!(read.summary.bytes, results.summary.bytes);
        assert_eq!((read.peers.len(), read.rounds.len()), (results.peers.len(), results.rounds.len()));
        for (read, round) in read.rounds.iter().zip(&results.rounds) {
            assert_eq!((read.round, read.view, read.aggregator), (round.round, round.view, round.aggregator));
            assert!((read.accuracy - round.accuracy).abs() < 1e-12);
        }
        let mut names: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(names, ["report.html", "results.json", "rounds.csv"], "nothing half-written is left");
    }

    #[test]
    fn the_csv_has_a_line_per_round_and_a_column_per_peer() {
        let results = fixture::fedmoe();
        let bytes = results.rounds_csv().unwrap();
        let mut reader = csv::Reader::from_reader(bytes.as_slice());
        let header = reader.headers().unwrap().clone();
        assert_eq!(header.iter().filter(|name| name.starts_with("accuracy ")).count(), 8);
        let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
        assert_eq!(rows.len(), results.rounds.len());
        let column = header.iter().position(|name| name == "accuracy").unwrap();
        let last: f64 = rows.last().unwrap()[column].parse().unwrap();
        assert!((last - results.summary.accuracy.last).abs() < 1e-6);
    }

    #[test]
    fn the_line_has_the_promised_keys_and_no_others() {
        let line = fixture::fedmoe().summary.to_json_line().unwrap();
        assert!(!line.contains('\n'));
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        let keys = |v: &serde_json::Value| v.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
        // serde_json's map is sorted.
        assert_eq!(
            keys(&value),
            "accuracy bytes distinct_record_hashes local_accuracy method nodes peak_rss_bytes record_hash rounds \
             rounds_certified seconds seed state_hash"
        );
        assert_eq!(keys(&value["accuracy"]), "best by_round last per_node_last");
        assert_eq!(keys(&value["local_accuracy"]), "best by_round last per_node_last");
        assert_eq!(keys(&value["bytes"]), "by_kind exchange received sent");
        assert_eq!(keys(&value["seconds"]), "per_round_median start total");
    }

    #[test]
    fn a_run_without_baseline_says_null() {
        let mut results = fixture::fedmoe();
        results.summary.local_accuracy = None;
        assert!(results.summary.to_json_line().unwrap().contains("\"local_accuracy\":null"));
    }

    #[test]
    fn results_of_another_format_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut results = fixture::fedmoe();
        results.format = 99;
        results.write(folder.path()).unwrap();
        let message = Results::read(folder.path()).unwrap_err().to_string();
        assert!(message.contains("format 99") && message.contains("results.json"), "{message}");
    }

    #[test]
    fn a_failed_write_names_the_file_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let taken = folder.path().join("taken");
        fs::create_dir_all(taken.join("inside")).unwrap();
        let error = write_atomically(&taken, b"x").unwrap_err();
        assert!(error.to_string().contains("taken"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
