//! Swarms on one machine: real libp2p nodes, scenarios, reports.
