//! `cargo xtask generate`: files that follow from the code.

use std::fs;
use std::io::{ErrorKind, Write, stdout};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::chart;

/// Options of the generator.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Change nothing; show the difference and fail when there is one.
    #[arg(long)]
    check: bool,
}

/// Writes the generated files, or compares them with those that are there.
///
/// # Errors
/// When a file cannot be read or written; with `--check` also when one differs.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let root = crate::root();
    let mut stale = Vec::new();
    for (path, wanted) in files()? {
        let found = read(&root.join(&path))?;
        if found == wanted {
            continue;
        }
        if args.check {
            print_difference(&path, &found, &wanted);
        } else {
            write(&root.join(&path), &wanted)?;
            println!("wrote {}", path.display());
        }
        stale.push(path);
    }
    if args.check && !stale.is_empty() {
        bail!(
            "{} generated file(s) are out of date; run `cargo xtask generate` and commit them",
            stale.len()
        );
    }
    Ok(())
}

/// Fails when a generated file is out of date, and shows the difference.
///
/// # Errors
/// As [`run`] with `--check`.
pub(crate) fn check() -> anyhow::Result<()> {
    run(&Args { check: true })
}

/// Every generated file, by its path from the workspace's root.
fn files() -> anyhow::Result<Vec<(PathBuf, String)>> {
    let mut files = rolecall_api::generated_files().context("generating from crates/api")?;
    let of_chart = chart::files(&crate::root(), &files).context("generating files of the chart")?;
    files.extend(of_chart);
    Ok(files)
}

/// The text of a file; nothing when it does not exist.
fn read(path: &Path) -> anyhow::Result<String> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        other => other.with_context(|| format!("reading {}", path.display())),
    }
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
    }
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

fn print_difference(path: &Path, found: &str, wanted: &str) {
    let headers = [format!("{} (as it is)", path.display()), format!("{} (generated)", path.display())];
    let diff = similar::TextDiff::from_lines(found, wanted);
    // Whoever reads only the start of it may close the pipe.
    let _ = writeln!(stdout(), "{}", diff.unified_diff().context_radius(3).header(&headers[0], &headers[1]));
}
