//! The entry point to a network: discovery for those who know nobody yet.
