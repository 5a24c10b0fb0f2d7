//! How much memory this process has used.

/// The peak resident set size of this process in bytes: `VmHWM` of `/proc/self/status` on Linux.
///
/// `None` on other systems, or when the file cannot be read.
#[must_use]
pub fn peak_rss_bytes() -> Option<u64> {
    if cfg!(target_os = "linux") { parse(&std::fs::read_to_string("/proc/self/status").ok()?) } else { None }
}

fn parse(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_high_water_mark_is_read_in_bytes() {
        assert_eq!(parse("Name:\tx\nVmPeak:\t 9 kB\nVmHWM:\t   2048 kB\nVmRSS:\t 1 kB\n"), Some(2048 * 1024));
    }

    #[test]
    fn a_status_without_the_mark_gives_nothing() {
        assert_eq!(parse("Name:\tx\n"), None);
        assert_eq!(parse("VmHWM:\t many kB\n"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_used_more_than_a_megabyte() {
        assert!(peak_rss_bytes().is_some_and(|bytes| bytes > 1 << 20));
    }
}
