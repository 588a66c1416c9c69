//! connect
use crate::Exit;
use crate::args::{ConnectArgs, Global};

/// The command.
pub async fn run(_global: &Global, _args: ConnectArgs) -> anyhow::Result<Exit> {
    Ok(Exit::Done)
}
