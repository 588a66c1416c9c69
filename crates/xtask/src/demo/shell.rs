//! Runs the very lines that the tour shows.

use std::path::Path;
use std::process::{Output, Stdio};

use anyhow::Context;
use tokio::process::Command;

/// What a command came to.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) ok: bool,
    /// Standard output and error, in the order in which they came.
    pub(super) text: String,
}

/// A shell with an environment of its own.
#[derive(Clone, Debug)]
pub(super) struct Shell {
    environment: Vec<(String, String)>,
}

impl Shell {
    /// A shell whose home is `home`, so that nobody's settings for psql and kubectl play a part, and which finds the
    /// programs in `programs` first.
    pub(super) fn new(home: &Path, programs: &Path) -> Self {
        let mut path = programs.as_os_str().to_owned();
        if let Some(others) = std::env::var_os("PATH") {
            path.push(":");
            path.push(others);
        }
        let environment = [
            ("HOME", home.display().to_string()),
            ("PATH", path.to_string_lossy().into_owned()),
            ("LC_ALL", "C".to_owned()),
        ];
        Self { environment: environment.map(|(name, value)| (name.to_owned(), value)).to_vec() }
    }

    /// Sets a variable for all lines from now on.
    pub(super) fn export(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// The value of a variable.
    pub(super) fn variable(&self, name: &str) -> &str {
        self.environment.iter().rev().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// Whether a program can be found.
    pub(super) async fn has(&self, program: &str) -> bool {
        self.run(&format!("command -v {program}")).await.is_ok_and(|answer| answer.ok)
    }

    /// Runs one line of shell in the workspace's root.
    ///
    /// # Errors
    /// When there is no shell.
    pub(super) async fn run(&self, line: &str) -> anyhow::Result<Answer> {
        let output: Output = Command::new("sh")
            .args(["-c", &format!("exec 2>&1\n{line}")])
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(crate::root())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .context("running sh")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(Answer { ok: output.status.success(), text })
    }
}
