//! Reading a node's metrics, with a grammar of its own: what `OpenMetrics` says of lines, and nothing more.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Asks for a page: its status, and its body.
pub(crate) fn get(addr: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {addr}\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
    assert_eq!(length.parse(), Ok(body.len()));
    (status, body.to_owned())
}

/// The value of a metric without labels.
pub(crate) fn value(page: &str, name: &str) -> f64 {
    let found = parse(page).into_iter().find(|sample| sample.name == name && sample.labels.is_empty());
    found.unwrap_or_else(|| panic!("there is no {name} in:\n{page}")).value
}

/// The values of a metric by its only label.
pub(crate) fn values(page: &str, name: &str) -> Vec<(String, f64)> {
    let all = parse(page).into_iter().filter(|sample| sample.name == name);
    all.map(|sample| (sample.labels.values().next().unwrap().clone(), sample.value)).collect()
}

/// A line with a value.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Reads a page strictly: families with their help and type before their samples, no family twice, names and numbers well formed,
/// counters that end in `_total`, and the end marked.
pub(crate) fn parse(page: &str) -> Vec<Sample> {
    let mut kinds: BTreeMap<String, String> = BTreeMap::new();
    let (mut helped, mut current, mut samples) = (None, String::new(), Vec::new());
    let mut lines = page.strip_suffix("# EOF\n").expect("the end is marked").lines();
    for line in lines.by_ref() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, text) = help.split_once(' ').unwrap_or_else(|| panic!("no text: {line}"));
            assert!(is_name(name) && !text.is_empty(), "{line}");
            helped = Some(name.to_owned());
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert_eq!(helped.take().as_deref(), Some(name), "{line}");
            assert!(matches!(kind, "gauge" | "counter"), "{line}");
            assert!(kinds.insert(name.to_owned(), kind.to_owned()).is_none(), "twice: {line}");
            current = name.to_owned();
        } else {
            let (id, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
            let (name, labels) = match id.split_once('{') {
                None => (id, BTreeMap::new()),
                Some((name, rest)) => (name, labels_of(rest.strip_suffix('}').expect(line))),
            };
            let family = match kinds[&current].as_str() {
                "counter" => name.strip_suffix("_total").unwrap_or_else(|| panic!("a counter: {line}")),
                _ => name,
            };
            assert!(family == current && is_name(name), "{line} is not of {current}");
            let value: f64 = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
            assert!(value.is_finite() && value >= 0.0, "{line}");
            samples.push(Sample { name: name.to_owned(), labels, value });
        }
    }
    samples
}

fn labels_of(text: &str) -> BTreeMap<String, String> {
    let label = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap();
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).expect("quoted");
        assert!(is_name(name) && !value.contains(['"', '\\', ',']), "{pair}");
        (name.to_owned(), value.to_owned())
    };
    text.split(',').map(label).collect()
}
