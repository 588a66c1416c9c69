//! `cargo xtask bench`.

/// Options of the benchmarks.
#[derive(clap::Args)]
pub(crate) struct Args {}

/// Runs the benchmarks.
#[expect(clippy::unused_async, reason = "the benchmarks will start servers")]
pub(crate) async fn run(_args: Args) -> anyhow::Result<()> {
    anyhow::bail!("the benchmarks are not built yet")
}
