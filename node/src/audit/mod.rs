//! Checking a folder: every record derived again from what is kept beside it. The checks themselves are
//! [`fedswarm_protocol::audit`]; here the files are found, and findings get the names of the files that they are in.

mod folder;
pub mod layout;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fedswarm_protocol::audit::{Auditor, Depth, Finding, Place, RoundReport};
use fedswarm_protocol::blob;
use fedswarm_protocol::codec;
use fedswarm_protocol::hash::Digest;
use fedswarm_protocol::message::Committed;

use crate::Error;
use folder::Folder;

/// Something that is not as it should be, and the file that it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileFinding {
    /// The file, relative to the folder.
    pub file: PathBuf,
    /// The round, if it is about one.
    pub round: Option<u64>,
    /// The part and its field, such as `record: model_root`.
    pub field: String,
    /// What should be there.
    pub expected: String,
    /// What is there.
    pub found: String,
}

/// How a folder was checked, and with what result.
#[derive(Clone, Debug, Default)]
pub struct Audit {
    /// The network's name.
    pub name: String,
    /// The network's id.
    pub network: Digest,
    /// Rounds that hold and were recomputed from their signed inputs.
    pub recomputed: Vec<u64>,
    /// Rounds that hold by chain and certificate; their inputs are not kept.
    pub chained: Vec<u64>,
    /// Rounds that hold by their certificate alone; the record before is not here or does not hold.
    pub certified: Vec<u64>,
    /// Rounds that do not hold.
    pub failed: Vec<u64>,
    /// Rounds without a record between others that have one: the node was away.
    pub absent: Vec<u64>,
    /// The last round's state hash, if the last record holds.
    pub state: Option<Digest>,
    /// What is wrong: at most one finding per round, in their order, then files that no round uses.
    pub findings: Vec<FileFinding>,
}

impl Audit {
    /// Rounds that have a record, or should have one.
    #[must_use]
    pub const fn rounds(&self) -> usize {
        self.recomputed.len() + self.chained.len() + self.certified.len() + self.failed.len()
    }
}

/// Checks everything in a folder. `progress` hears of every round: which, and the last one.
///
/// # Errors
/// A folder that is not there, is not one of a run or node, is in use, or cannot be read. What is wrong with its contents is
/// no error but a finding.
pub fn audit(path: &Path, progress: &mut dyn FnMut(&RoundReport, u64)) -> Result<Audit, Error> {
    let folder = Folder::open(path)?;
    let rounds = folder.rounds()?;
    let Some(&last) = rounds.last() else {
        return Err(Error::file(path, "no certified record: there is nothing to verify yet"));
    };
    let auditor = Auditor::new(&folder.manifest)?;
    let audit = Audit { name: folder.manifest.name.clone(), network: auditor.network(), ..Audit::default() };
    let mut walk = Walk { folder: &folder, auditor, audit, read: BTreeSet::new(), kept_from: u64::MAX };
    match folder.kept_from()? {
        Some(Ok(round)) => walk.kept_from = round,
        Some(Err(text)) => walk.bad_kept_from(text),
        None => {}
    }
    // A run that ended has all the rounds of its manifest.
    let last = if folder.must_be_whole() { last.max(folder.manifest.rounds) } else { last };
    let all: Vec<u64> = if folder.must_be_whole() { (1..=last).collect() } else { rounds };
    let mut next = 1;
    for round in all {
        walk.audit.absent.extend(next..round);
        next = round + 1;
        let report = walk.round(round)?;
        progress(&report, last);
    }
    walk.audit.state = walk.auditor.head().map(|record| record.state_hash());
    walk.other_blobs()?;
    Ok(walk.audit)
}

struct Walk<'a> {
    folder: &'a Folder,
    auditor: Auditor,
    audit: Audit,
    /// Blobs that the auditor has read, and so checked.
    read: BTreeSet<Digest>,
    kept_from: u64,
}

impl Walk<'_> {
    fn round(&mut self, round: u64) -> Result<RoundReport, Error> {
        let report = match self.folder.record(round)? {
            None => self.unreadable(round, "file", "a record", "nothing: it is missing".to_owned()),
            Some(bytes) => match codec::decode::<Committed>(&bytes, codec::MAX_STRUCT_BYTES) {
                Err(error) => self.unreadable(round, "encoding", "a record with its certificate", error.to_string()),
                Ok(committed) => self.check(round, &committed)?,
            },
        };
        let list = match (&report.finding, report.depth) {
            (Some(_), _) => &mut self.audit.failed,
            (None, Depth::Recomputed) => &mut self.audit.recomputed,
            (None, Depth::Chained) => &mut self.audit.chained,
            (None, Depth::Certificate) => &mut self.audit.certified,
        };
        list.push(round);
        if let Some(finding) = &report.finding {
            let finding = self.in_file(finding);
            self.audit.findings.push(finding);
        }
        Ok(report)
    }

    fn check(&mut self, round: u64, committed: &Committed) -> Result<RoundReport, Error> {
        let bundle = self.folder.inputs(round)?;
        let mut failed = None;
        let (folder, read) = (self.folder, &mut self.read);
        let mut report = self.auditor.round(round, committed, bundle.as_deref(), &mut |root| match folder.blob(root) {
            Ok(bytes) => {
                read.insert(*root);
                bytes
            }
            Err(error) => {
                failed = Some(error);
                None
            }
        });
        if let Some(error) = failed {
            return Err(error);
        }
        if bundle.is_none() && round >= self.kept_from && report.finding.is_none() {
            report.finding = Some(Finding {
                round,
                place: Place::Inputs,
                field: "file".to_owned(),
                expected: format!("the signed inputs, which are kept from round {} on", self.kept_from),
                found: "nothing: it is missing".to_owned(),
            });
        }
        Ok(report)
    }

    fn unreadable(&mut self, round: u64, field: &str, expected: &str, found: String) -> RoundReport {
        self.auditor.skip();
        let (place, field, expected) = (Place::Record, field.to_owned(), expected.to_owned());
        let finding = Some(Finding { round, place, field, expected, found });
        RoundReport { round, depth: Depth::Certificate, inputs: 0, finding }
    }

    fn in_file(&self, finding: &Finding) -> FileFinding {
        let Finding { round, place, field, expected, found } = finding.clone();
        let file = match &place {
            Place::Record | Place::Certificate => self.folder.record_file(round),
            Place::Inputs | Place::Receipt(_) | Place::Update(_) => self.folder.inputs_file(round),
            Place::Payload { root, .. } | Place::Base(root) => layout::blob_file(root),
        };
        FileFinding { file, round: Some(round), field: format!("{place}: {field}"), expected, found }
    }

    fn bad_kept_from(&mut self, text: String) {
        let file = Path::new(layout::INPUTS).join(layout::KEPT_FROM);
        let (field, expected) = ("round".to_owned(), "a number".to_owned());
        self.audit.findings.push(FileFinding { file, round: None, field, expected, found: text });
    }

    /// Files that no round needed must still be what their names say.
    fn other_blobs(&mut self) -> Result<(), Error> {
        for digest in self.folder.blobs()?.difference(&self.read) {
            let Some(bytes) = self.folder.blob(digest)? else { continue };
            let found = blob::root(&bytes);
            if found != *digest {
                self.audit.findings.push(FileFinding {
                    file: layout::blob_file(digest),
                    round: None,
                    field: "digest".to_owned(),
                    expected: digest.to_string(),
                    found: found.to_string(),
                });
            }
        }
        Ok(())
    }
}
