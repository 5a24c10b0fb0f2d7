//! What an operator's monitoring asks of a process: `/metrics` in the text form of `OpenMetrics`, which Prometheus scrapes, and
//! `/health`, which says 200 or 503 with a reason.
//!
//! Nobody proves who they are here and nothing is encrypted, so it listens on loopback addresses only. A client gets one answer
//! and is done; what it may send, how long it may take, and how many there may be at once are bounded (`server.rs`), so that a
//! broken one costs the process next to nothing.

#![forbid(unsafe_code)]

mod page;
mod request;
mod server;

pub use page::Page;
pub use server::{Error, Server, Source, serve};
