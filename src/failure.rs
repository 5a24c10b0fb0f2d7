//! How a command ends badly: what was wrong, where, what to do, and the exit code.

use std::process::ExitCode;

/// A command that did not do what it was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    text: String,
    bad_input: bool,
    /// What to print with `--json` instead of the text.
    json: Option<serde_json::Value>,
}

impl Failure {
    /// Bad usage or bad input: exit code 2.
    pub(crate) fn input(text: impl Into<String>) -> Self {
        Self { text: text.into(), bad_input: true, json: None }
    }

    /// Anything else: exit code 1.
    pub(crate) fn failed(text: impl Into<String>) -> Self {
        Self { text: text.into(), bad_input: false, json: None }
    }

    /// Says with `--json` this instead of the text.
    pub(crate) fn with_json(self, json: serde_json::Value) -> Self {
        Self { json: Some(json), ..self }
    }

    /// Prints the error on stderr, and as JSON on stdout if that was asked for.
    pub(crate) fn report(&self, json: bool) -> ExitCode {
        eprintln!("error: {}", self.text);
        if json {
            match &self.json {
                Some(value) => println!("{value}"),
                None => println!("{}", serde_json::json!({ "error": self.text })),
            }
        }
        ExitCode::from(if self.bad_input { 2 } else { 1 })
    }
}

/// An error with everything that caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

impl From<fedswarm_simulations::Error> for Failure {
    fn from(error: fedswarm_simulations::Error) -> Self {
        Self { text: chain(&error), bad_input: error.is_bad_input(), json: None }
    }
}

impl From<fedswarm_node::Error> for Failure {
    fn from(error: fedswarm_node::Error) -> Self {
        use fedswarm_node::Error as E;
        let bad_input = matches!(
            error,
            E::File { .. }
                | E::Config(_)
                | E::VoteLog { .. }
                | E::Manifest(_)
                | E::Learning(_)
                | E::Network(fedswarm_network::Error::PortInUse { .. })
        );
        Self { text: chain(&error), bad_input, json: None }
    }
}

impl From<fedswarm_network::key_file::KeyError> for Failure {
    fn from(error: fedswarm_network::key_file::KeyError) -> Self {
        Self { text: chain(&error), bad_input: true, json: None }
    }
}

impl From<fedswarm_learning::Error> for Failure {
    fn from(error: fedswarm_learning::Error) -> Self {
        Self { text: chain(&error), bad_input: true, json: None }
    }
}
