//! The page of metrics.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

/// What stands before every name.
const PREFIX: &str = "fedswarm";

/// Metrics as they are at one moment.
#[derive(Clone, Debug, Default)]
pub struct Page(Vec<Family>);

#[derive(Clone, Debug)]
struct Family {
    name: &'static str,
    help: &'static str,
    samples: Samples,
}

#[derive(Clone, Debug)]
enum Samples {
    /// What goes up and down.
    Gauge(f64),
    Gauges(&'static str, Vec<(String, f64)>),
    /// What only goes up, until the process starts again.
    Counters(&'static str, Vec<(String, u64)>),
    Counter(u64),
}

impl Page {
    /// Adds what goes up and down. The name gets `fedswarm_` before it.
    pub fn gauge(&mut self, name: &'static str, help: &'static str, value: f64) {
        self.0.push(Family { name, help, samples: Samples::Gauge(value) });
    }

    /// Adds what goes up and down, one value for each value of a label.
    pub fn gauges(&mut self, name: &'static str, help: &'static str, label: &'static str, values: Vec<(String, f64)>) {
        self.0.push(Family { name, help, samples: Samples::Gauges(label, values) });
    }

    /// Adds what only goes up. The name gets `fedswarm_` before it and `_total` behind it.
    pub fn counter(&mut self, name: &'static str, help: &'static str, value: u64) {
        self.0.push(Family { name, help, samples: Samples::Counter(value) });
    }

    /// Adds what only goes up, one value for each value of a label.
    pub fn counters(
        &mut self,
        name: &'static str,
        help: &'static str,
        label: &'static str,
        values: Vec<(String, u64)>,
    ) {
        self.0.push(Family { name, help, samples: Samples::Counters(label, values) });
    }

    /// Memory of this process, where the system tells it.
    pub fn memory(&mut self) {
        if let Some(bytes) = resident_bytes() {
            self.gauge("memory_resident_bytes", "Memory of the process that is in use", bytes as f64);
        }
    }

    /// The text.
    ///
    /// # Errors
    /// None that is known: writing to a text does not fail.
    pub fn to_text(&self) -> Result<String, fmt::Error> {
        let mut registry = Registry::with_prefix(PREFIX);
        registry.register_collector(Box::new(self.clone()));
        let mut out = String::new();
        text::encode(&mut out, &registry)?;
        Ok(out)
    }
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for Family { name, help, samples } in &self.0 {
            match samples {
                Samples::Gauge(value) => {
                    let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
                    ConstGauge::new(*value).encode(metric)?;
                }
                Samples::Counter(value) => {
                    let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
                    ConstCounter::new(*value).encode(metric)?;
                }
                Samples::Gauges(label, values) => {
                    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
                    for (of, value) in values {
                        let labels = [(*label, of.as_str())];
                        ConstGauge::new(*value).encode(metric.encode_family(&labels)?)?;
                    }
                }
                Samples::Counters(label, values) => {
                    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
                    for (of, value) in values {
                        let labels = [(*label, of.as_str())];
                        ConstCounter::new(*value).encode(metric.encode_family(&labels)?)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// `VmRSS` of `/proc/self/status`, in bytes.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_page_reads_as_openmetrics_does() {
        let mut page = Page::default();
        page.gauge("round", "Last certified round", 7.0);
        page.counter("bans", "Bans", 2);
        page.counters("bytes", "Bytes", "kind", vec![("a \"b\"\n".to_owned(), 5)]);
        page.gauges("peers", "Peers", "path", vec![("direct".to_owned(), 1.5)]);
        let expected = "# HELP fedswarm_round Last certified round\n# TYPE fedswarm_round gauge\nfedswarm_round 7.0\n\
                        # HELP fedswarm_bans Bans\n# TYPE fedswarm_bans counter\nfedswarm_bans_total 2\n\
                        # HELP fedswarm_bytes Bytes\n# TYPE fedswarm_bytes counter\n\
                        fedswarm_bytes_total{kind=\"a \\\"b\\\"\\n\"} 5\n\
                        # HELP fedswarm_peers Peers\n# TYPE fedswarm_peers gauge\nfedswarm_peers{path=\"direct\"} 1.5\n# EOF\n";
        let text = page.to_text().unwrap();
        assert_eq!(text, expected);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_knows_its_memory() {
        assert!(resident_bytes().unwrap() > 1 << 20);
    }
}
