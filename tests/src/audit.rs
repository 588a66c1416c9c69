//! The audit log of an operator.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use rolecall_ledger::{Accesses, Lines, Verification};

/// A file that an operator writes its audit log to. It goes with the last copy of this value.
#[derive(Clone, Debug)]
pub struct AuditFile(Arc<Temporary>);

#[derive(Debug)]
struct Temporary(PathBuf);

impl Default for AuditFile {
    fn default() -> Self {
        let name = format!("rolecall-{}-{:016x}.audit.jsonl", std::process::id(), rand::random::<u64>());
        Self(Arc::new(Temporary(std::env::temp_dir().join(name))))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // It was never made where nothing was written.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl AuditFile {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0.0
    }

    /// Everything so far.
    pub fn text(&self) -> String {
        std::fs::read_to_string(self.path()).unwrap_or_default()
    }

    /// Its lines.
    pub fn lines(&self) -> Lines {
        let mut lines = Lines::default();
        lines.add("audit", &self.text());
        lines
    }

    /// Whether it is whole.
    ///
    /// # Errors
    /// When it cannot be checked.
    pub fn verify(&self) -> Result<Verification> {
        rolecall_ledger::verify(&self.lines(), &rolecall_ledger::verify::Options::default())
            .map_err(|chain| anyhow::anyhow!("chain {chain} is sealed"))
    }

    /// The accesses that it tells of.
    pub fn accesses(&self) -> Accesses {
        Accesses::of(&self.lines())
    }

    /// Waits until it contains `text`.
    ///
    /// # Errors
    /// When it does not within [`TIMEOUT`](crate::TIMEOUT).
    pub async fn wait_for(&self, text: &str) -> Result<()> {
        let found = async {
            while !self.text().contains(text) {
                // A file cannot be watched.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let found = tokio::time::timeout(crate::TIMEOUT, found).await;
        found.with_context(|| format!("the audit log does not say {text:?}:\n{}", self.text()))
    }
}
