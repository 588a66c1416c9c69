//! Files of vectors, as every crate that checks some of them reads them.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// One file: the cases of one kind.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, bound = "E: DeserializeOwned")]
pub(crate) struct File<E> {
    pub(crate) kind: String,
    #[serde(rename = "about")]
    _about: String,
    pub(crate) cases: Vec<Case<E>>,
}

/// One case. `E`: what is expected.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, bound = "E: DeserializeOwned")]
pub(crate) struct Case<E> {
    pub(crate) id: String,
    pub(crate) input: Value,
    pub(crate) expect: E,
    #[serde(rename = "departure")]
    _departure: Option<u32>,
    #[serde(rename = "note")]
    _note: Option<String>,
}

/// The directory that `ROLECALL_VECTORS` names, else this one of the crate.
pub(crate) fn directory(manifest: &str) -> PathBuf {
    std::env::var_os("ROLECALL_VECTORS")
        .map_or_else(|| Path::new(manifest).join("tests/vectors"), PathBuf::from)
}

/// The files of a directory, in the order of their names; none where it cannot be read.
pub(crate) fn files(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    files
}

/// Reads a file.
pub(crate) fn read<E: DeserializeOwned>(path: &Path) -> Result<File<E>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    serde_json::from_str(&text).map_err(|error| error.to_string())
}
