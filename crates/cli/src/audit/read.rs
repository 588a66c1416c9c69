//! The audit log from files.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rolecall_ledger::{Key, Lines};
use serde_json::Value;

/// The lines in these files; `-` is standard input. Files are taken in the order in which they were begun.
///
/// # Errors
///
/// A file that cannot be read.
pub(crate) fn read(files: &[PathBuf]) -> anyhow::Result<Lines> {
    let mut parts = Vec::new();
    for file in files {
        let name = file.display().to_string();
        let mut lines = Lines::default();
        lines.add(&name, &content(file).with_context(|| format!("reading the audit log {name}"))?);
        parts.push(lines);
    }
    parts.sort_by_cached_key(|lines| {
        let first = lines.found.first().and_then(|line| line.fields.get("time"));
        first.and_then(Value::as_str).and_then(|time| time.parse::<jiff::Timestamp>().ok())
    });
    let mut all = Lines::default();
    for lines in parts {
        all.found.extend(lines.found);
        all.broken.extend(lines.broken);
        all.others += lines.others;
    }
    Ok(all)
}

/// The keys in these files.
///
/// # Errors
///
/// One that cannot be read, or is none.
pub(crate) fn keys(files: &[PathBuf]) -> anyhow::Result<Vec<Key>> {
    let read = |file: &PathBuf| {
        let what = || format!("the key {}", file.display());
        Key::new(&std::fs::read(file).with_context(what)?).with_context(what)
    };
    files.iter().map(read).collect()
}

fn content(file: &Path) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    if file == Path::new("-") {
        std::io::stdin().lock().read_to_end(&mut bytes)?;
    } else {
        bytes = std::fs::read(file)?;
    }
    // A log may have anything in its other lines.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
