//! The image: built, packed, and run as a container would run it. And the kubectl plugin's archives.
//!
//! Each builds the operator, with everything that it depends on, for another target than the other tests do: minutes with the
//! profile `dev`, a quarter of an hour as a release. So all of it is run by `cargo xtask test --full` only. What is about the
//! Dockerfile needs buildah beside what the testbed fetches.

mod dockerfile;
mod packed;
mod plugin;
mod root;
mod works;

use std::process::Command;

use anyhow::{Context, Result, ensure};
use rolecall_testbed::components::images;

use root::Root;

/// Runs a command that has to succeed; what it says.
fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("starting {command:?}"))?;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{command:?} failed:\n{error}");
    Ok(String::from_utf8(output.stdout)?)
}

#[tokio::test]
#[ignore = "it builds for another target: cargo xtask test --full"]
async fn the_operator_works_from_the_root_file_system_of_its_image() -> Result<()> {
    let root = Root::build("dev", std::env::consts::ARCH).await?;
    root.assert_names_no_place_of_this_machine()?;
    works::assert_works(&root, None).await
}

#[tokio::test]
#[ignore = "it builds a release: cargo xtask test --full"]
async fn a_release_works_and_is_packed_the_same_each_time() -> Result<()> {
    let root = Root::build("release", std::env::consts::ARCH).await?;
    packed::assert_has_no_kill_points(&root)?;
    packed::assert_packed_the_same(&root)?;
    works::assert_works(&root, None).await
}

#[tokio::test]
#[ignore = "it builds for another machine: cargo xtask test --full"]
async fn the_operator_works_on_arm64() -> Result<()> {
    let root = Root::build("release", "aarch64").await?;
    packed::assert_packed_the_same(&root)?;
    let emulator = (std::env::consts::ARCH != "aarch64").then(images::qemu_aarch64).transpose()?;
    works::assert_works(&root, emulator.as_deref()).await
}

#[tokio::test]
#[ignore = "it builds for another machine: cargo xtask test --full"]
async fn the_plugin_is_a_static_program_for_each_machine() -> Result<()> {
    // What differs between machines does not differ between profiles, and a release takes four times as long.
    tokio::task::spawn_blocking(|| plugin::assert_packed_for_each_machine("dev")).await?
}

#[tokio::test]
#[ignore = "it builds in an image of its own: cargo xtask test --full"]
async fn the_dockerfile_makes_the_image_that_the_scripts_make() -> Result<()> {
    let root = Root::build("dev", std::env::consts::ARCH).await?;
    tokio::task::spawn_blocking(move || dockerfile::assert_makes(&root)).await?
}
