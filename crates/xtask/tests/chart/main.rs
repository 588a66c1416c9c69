//! The Helm chart, rendered by real Helm, in both of its versions.

#![allow(clippy::expect_used, clippy::panic, reason = "a test says what went wrong")]

mod admission;
mod cluster;
mod crds;
mod guards;
mod hooks;
mod kustomize;
mod monitoring;
mod network;
mod notes;
mod pods;
mod render;
mod rights;
mod samples;
mod schemas;
mod snapshots;
mod values;
