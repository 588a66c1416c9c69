//! `cargo xtask demo`.

/// Options of the demo.
#[derive(clap::Args)]
pub(crate) struct Args {}

/// Runs the demo.
#[expect(clippy::unused_async, reason = "the demo will start servers")]
pub(crate) async fn run(_args: Args) -> anyhow::Result<()> {
    anyhow::bail!("the demo is not built yet")
}
