//! What Linux knows about a process, read from `/proc`.

use std::fs;
use std::path::PathBuf;

fn file(process: Option<u32>, name: &str) -> Option<String> {
    let process = process.map_or_else(|| "self".to_owned(), |id| id.to_string());
    fs::read_to_string(PathBuf::from("/proc").join(process).join(name)).ok()
}

/// Ticks per second in `/proc`: the same on every Linux that Rust runs on.
const TICKS: f64 = 100.0;

/// Fields of `stat` after the name, which may hold blanks.
fn stat(process: Option<u32>) -> Option<Vec<String>> {
    let text = file(process, "stat")?;
    Some(text.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
}

/// Processor time of a process so far, user and system, in seconds.
#[must_use]
pub fn cpu_seconds(process: Option<u32>) -> Option<f64> {
    let fields = stat(process)?;
    let ticks = |i: usize| fields.get(i)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS)
}

/// Seconds since this process was started, to a hundredth.
#[must_use]
pub fn seconds_since_exec() -> Option<f64> {
    let started: f64 = stat(None)?.get(19)?.parse().ok()?;
    let up: f64 = fs::read_to_string("/proc/uptime").ok()?.split_whitespace().next()?.parse().ok()?;
    Some(up - started / TICKS)
}

fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Memory that a process has resident, in bytes.
#[must_use]
pub fn rss_bytes(process: Option<u32>) -> Option<u64> {
    kibibytes(&file(process, "status")?, "VmRSS:")
}

/// The most that a process has had resident so far, in bytes.
#[must_use]
pub fn peak_rss_bytes(process: Option<u32>) -> Option<u64> {
    kibibytes(&file(process, "status")?, "VmHWM:")
}

/// Memory that a process has resident, with what it shares divided by how many share it.
#[must_use]
pub fn pss_bytes(process: Option<u32>) -> Option<u64> {
    kibibytes(&file(process, "smaps_rollup")?, "Pss:")
}

/// Of that, what no file is behind: heaps and stacks.
#[must_use]
pub fn anonymous_pss_bytes(process: Option<u32>) -> Option<u64> {
    kibibytes(&file(process, "smaps_rollup")?, "Pss_Anon:")
}

/// Open files and sockets of this process.
#[must_use]
pub fn descriptors() -> Option<usize> {
    Some(fs::read_dir("/proc/self/fd").ok()?.count())
}

/// The load that other processes put on the machine, averaged over a minute.
#[must_use]
pub fn load() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_descriptors_and_an_age() {
        assert!(rss_bytes(None).is_some_and(|bytes| bytes > 1 << 20));
        assert!(pss_bytes(None).is_some_and(|bytes| bytes > 1 << 18));
        assert!(descriptors().is_some_and(|count| count >= 3));
        assert!(cpu_seconds(None).is_some());
        assert!(seconds_since_exec().is_some_and(|age| (0.0..86_400.0).contains(&age)));
    }

    #[test]
    fn sizes_are_read_in_bytes() {
        assert_eq!(kibibytes("Rss:  9 kB\nPss:\t 12 kB\nPss_Anon: 3 kB\n", "Pss:"), Some(12 << 10));
        assert_eq!(kibibytes("Rss:  9 kB\n", "Pss:"), None);
    }
}
