//! Teleport's YAML to Rolecall's kinds.

use crate::Exit;
use crate::args::{ConvertArgs, Global};

/// The command.
pub fn run(_global: &Global, _args: &ConvertArgs) -> anyhow::Result<Exit> {
    Ok(Exit::Done)
}
