//! The Helm chart, rendered by real Helm, in both of its versions.

mod crds;
mod guards;
mod monitoring;
mod network;
mod pods;
mod render;
mod rights;
mod values;
