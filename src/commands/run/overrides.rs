//! Flags and environment variables that take the place of what the configuration file says.

use std::net::SocketAddr;
use std::path::PathBuf;

use fedswarm_node::run_config::RunConfig;

/// Each overrides the key of the same name in the file, and each has an environment variable, which overrides the file and is
/// overridden by the flag. Paths are relative to the working directory.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Instead of what the file says")]
pub(crate) struct Overrides {
    /// The network's manifest.
    #[arg(long, value_name = "FILE", env = "FEDSWARM_MANIFEST")]
    manifest: Option<PathBuf>,
    /// The node's key file.
    #[arg(long, value_name = "FILE", env = "FEDSWARM_KEY")]
    key: Option<PathBuf>,
    /// Folder of the node's records, statements and models.
    #[arg(long, value_name = "DIR", env = "FEDSWARM_FOLDER")]
    folder: Option<PathBuf>,
    /// tcp, quic or tcp+quic.
    #[arg(long, value_name = "KIND", env = "FEDSWARM_TRANSPORT")]
    transport: Option<String>,
    /// Addresses to listen on.
    #[arg(long, value_name = "ADDRESS", env = "FEDSWARM_LISTEN", value_delimiter = ',')]
    listen: Vec<String>,
    /// Addresses of bootstrap nodes.
    #[arg(long, value_name = "ADDRESS", env = "FEDSWARM_BOOTSTRAPS", value_delimiter = ',')]
    bootstraps: Vec<String>,
    /// Whether to look for peers in the local network.
    #[arg(long, value_name = "BOOL", env = "FEDSWARM_MDNS")]
    mdns: Option<bool>,
    /// Use of relays: auto, always or never.
    #[arg(long, value_name = "WHEN", env = "FEDSWARM_RELAY")]
    relay: Option<String>,
    /// Addresses of ports that you forwarded by hand.
    #[arg(long, value_name = "ADDRESS", env = "FEDSWARM_EXTERNAL", value_delimiter = ',')]
    external: Vec<String>,
    /// Images: a file or folder, or `bundled`.
    #[arg(long, value_name = "PATH", env = "FEDSWARM_DATA")]
    data: Option<PathBuf>,
    /// Name of the node's own model.
    #[arg(long, value_name = "NAME", env = "FEDSWARM_MODEL")]
    model: Option<String>,
    /// flex, ndarray, wgpu or cuda.
    #[arg(long, value_name = "DEVICE", env = "FEDSWARM_DEVICE")]
    device: Option<String>,
    /// Training threads.
    #[arg(long, value_name = "N", env = "FEDSWARM_THREADS")]
    threads: Option<usize>,
    /// Loopback address for metrics and health, such as 127.0.0.1:9464.
    #[arg(long, value_name = "ADDRESS", env = "FEDSWARM_METRICS")]
    metrics: Option<SocketAddr>,
    /// How many seconds a node that is asked to stop may take to finish its round.
    #[arg(long, value_name = "S", env = "FEDSWARM_STOP_SECONDS")]
    stop_seconds: Option<u64>,
}

impl Overrides {
    /// The configuration with these in their places.
    pub(crate) fn apply(&self, mut config: RunConfig) -> RunConfig {
        set(&mut config.manifest, &self.manifest);
        set(&mut config.key, &self.key);
        set(&mut config.folder, &self.folder);
        set_some(&mut config.transport, &self.transport);
        set_list(&mut config.listen, &self.listen);
        set_list(&mut config.bootstraps, &self.bootstraps);
        set(&mut config.mdns, &self.mdns);
        set(&mut config.reach.relay, &self.relay);
        set_list(&mut config.reach.external, &self.external);
        set(&mut config.data.path, &self.data);
        set_some(&mut config.model, &self.model);
        set(&mut config.device, &self.device);
        set_some(&mut config.threads, &self.threads);
        set_some(&mut config.metrics, &self.metrics);
        set_some(&mut config.stop_seconds, &self.stop_seconds);
        config
    }
}

fn set<T: Clone>(place: &mut T, value: &Option<T>) {
    if let Some(value) = value {
        place.clone_from(value);
    }
}

fn set_some<T: Clone>(place: &mut Option<T>, value: &Option<T>) {
    if value.is_some() {
        place.clone_from(value);
    }
}

fn set_list(place: &mut Vec<String>, value: &[String]) {
    if !value.is_empty() {
        *place = value.to_vec();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        overrides: Overrides,
    }

    fn config() -> RunConfig {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("node.toml");
        let text = "manifest = \"m\"\nkey = \"k\"\nfolder = \"f\"\nlisten = [\"/ip4/127.0.0.1/tcp/1\"]\n[data]\npath = \"bundled\"\n";
        std::fs::write(&file, text).unwrap();
        RunConfig::load(&file).unwrap()
    }

    /// Each flag with a value that is nobody's default.
    const LINE: [(&str, &str); 15] = [
        ("manifest", "other.manifest"),
        ("key", "other.key"),
        ("folder", "elsewhere"),
        ("transport", "quic"),
        ("listen", "/ip4/127.0.0.1/tcp/7,/ip4/127.0.0.1/tcp/8"),
        ("bootstraps", "/ip4/127.0.0.1/tcp/9"),
        ("mdns", "false"),
        ("relay", "never"),
        ("external", "/ip4/203.0.113.5/tcp/4001"),
        ("data", "images"),
        ("model", "cnn2"),
        ("device", "ndarray"),
        ("threads", "3"),
        ("metrics", "127.0.0.1:9464"),
        ("stop-seconds", "4"),
    ];

    #[test]
    fn every_flag_takes_the_place_of_its_key() {
        let words = LINE.iter().flat_map(|(flag, value)| [format!("--{flag}"), (*value).to_owned()]);
        let line = Line::parse_from(["run".to_owned()].into_iter().chain(words));
        let text = format!("{:?}", line.overrides.apply(config()));
        for (flag, value) in LINE {
            for value in value.split(',') {
                assert!(text.contains(value), "--{flag} {value} is not in {text}");
            }
        }
        assert!(!text.contains("/tcp/1\""), "what the file says to listen on is replaced: {text}");
    }

    #[test]
    fn without_flags_the_file_holds() {
        let config = config();
        let line = Line::parse_from(["run"]);
        assert_eq!(format!("{:?}", line.overrides.apply(config.clone())), format!("{config:?}"));
    }

    #[test]
    fn every_flag_has_its_variable() {
        let command = Line::command();
        let all: Vec<_> = command.get_arguments().filter(|arg| arg.get_id() != "help").collect();
        assert_eq!(all.len(), LINE.len(), "a new flag belongs into this test");
        for arg in all {
            let long = arg.get_long().unwrap();
            let expected = format!("FEDSWARM_{}", long.to_uppercase().replace('-', "_"));
            assert_eq!(arg.get_env().unwrap().to_str().unwrap(), expected);
            assert!(LINE.iter().any(|(flag, _)| *flag == long), "--{long}");
        }
    }
}
