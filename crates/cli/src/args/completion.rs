//! The arguments of `completion` and `man`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// `completion`.
#[derive(Clone, Debug, Args)]
#[command(after_help = COMPLETION_EXAMPLES)]
pub struct CompletionArgs {
    /// For which program: bash, zsh, fish, or kubectl.
    #[arg(value_enum, hide_possible_values = true)]
    pub shell: Shell,
}

/// What completes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// Bash.
    Bash,
    /// Zsh.
    Zsh,
    /// Fish.
    Fish,
    /// kubectl, in whatever shell it completes.
    Kubectl,
}

const COMPLETION_EXAMPLES: &str = "\
Examples:
  # Whatever kubectl completes: subcommands, flags, and names of databases
  kubectl rolecall completion kubectl > ~/.local/bin/kubectl_complete-rolecall
  chmod +x ~/.local/bin/kubectl_complete-rolecall

  # Where the plugin is called by its own name
  source <(kubectl-rolecall completion bash)
  kubectl-rolecall completion fish > ~/.config/fish/completions/kubectl-rolecall.fish

Names of databases, users and sessions come from the cluster of the command line that is completed; it is waited for two \
seconds at most. kubectl finds kubectl_complete-rolecall on the PATH; a link of that name to the plugin does the same.";

/// `man`.
#[derive(Clone, Debug, Args)]
#[command(after_help = MAN_EXAMPLES)]
pub struct ManArgs {
    /// Where the pages go; the directory is made.
    pub directory: PathBuf,
}

const MAN_EXAMPLES: &str = "\
Examples:
  # A page for the plugin and one for each of its commands
  kubectl rolecall man ~/.local/share/man/man1
  man kubectl-rolecall-explain";
