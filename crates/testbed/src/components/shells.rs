//! Shells whose completion is tested, of the machine's Debian or Ubuntu.

use std::path::PathBuf;

use super::debian;
use crate::error::Result;

/// Shells beside the machine's own bash.
#[derive(Clone, Debug)]
pub struct Shells {
    root: PathBuf,
    environment: Vec<(&'static str, String)>,
}

impl Shells {
    /// Fetches them unless they are in the cache (seconds).
    ///
    /// # Errors
    /// On other distributions, and when the packages cannot be fetched.
    pub fn prepare() -> Result<Self> {
        let (root, environment) = debian::shells()?;
        Ok(Self { root, environment })
    }

    /// zsh. Its modules are part of it, except for a few such as that for regular expressions.
    pub fn zsh(&self) -> PathBuf {
        let program = |dir: &str| self.root.join(dir).join("zsh-static");
        // From Debian 13 on everything lies below /usr.
        Some(program("bin")).filter(|path| path.exists()).unwrap_or_else(|| program("usr/bin"))
    }

    /// The folder of zsh's functions.
    pub fn zsh_functions(&self) -> PathBuf {
        self.root.join("usr/share/zsh/functions")
    }

    /// fish, and what it needs in its environment: libraries that the machine may lack.
    pub fn fish(&self) -> (PathBuf, &[(&'static str, String)]) {
        (self.root.join(debian::FISH), &self.environment)
    }

    /// What bash sources so that it completes.
    pub fn bash_completion(&self) -> PathBuf {
        self.root.join("usr/share/bash-completion/bash_completion")
    }
}
