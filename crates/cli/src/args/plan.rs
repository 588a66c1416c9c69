//! The arguments of `plan`.

use std::path::PathBuf;

use clap::Args;

use super::Cluster;

/// `plan`.
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = EXAMPLES)]
pub struct PlanArgs {
    /// The manifests: YAML or JSON files, directories of them, or - for standard input. Objects of other kinds are
    /// ignored. Repeat it for several.
    #[arg(short, long = "filename", value_name = "FILE", required_unless_present = "kustomize")]
    pub files: Vec<PathBuf>,

    /// What kustomize puts together of this directory: `kubectl kustomize` is run, else `kustomize build`.
    #[arg(short, long, value_name = "DIRECTORY", conflicts_with = "files")]
    pub kustomize: Option<PathBuf>,

    /// Compare with these manifests instead of the cluster, which is then not asked: what they lack is new, and what
    /// only they have is deleted. Repeat it for several.
    #[arg(long, value_name = "FILE")]
    pub against: Vec<PathBuf>,

    /// Objects of the cluster that the manifests lack are deleted, as a tool does that prunes.
    #[arg(long, conflicts_with = "against")]
    pub prune: bool,

    /// Objects of a server, for which gained and lost privileges are shown: as for explain. For one server alone write
    /// DATABASE=FILE. Repeat it for several.
    #[arg(long, value_name = "[DATABASE=]FILE")]
    pub objects: Vec<String>,

    /// The name of the cluster.
    #[command(flatten)]
    pub cluster: Cluster,
}

const EXAMPLES: &str = "\
Examples:
  # Who would gain or lose what, and which sessions would end?
  kubectl rolecall plan -f manifests/

  # The same for an overlay, as a comment on a pull request
  kubectl rolecall plan --kustomize overlays/prod -o markdown > comment.md

  # Without a cluster: the branch against main, on these tables
  kubectl rolecall plan -f manifests/ --against ../main/manifests \\
    --objects orders=tables.csv

Exit status: 2 where somebody's access grows, else 0. -o json prints an object of kind Plan, which docs/plan-json.md \
describes.

Nothing is changed, anywhere. The statements are those that the operator runs, without the locks and checks around \
them; without a live session they are those of the next one that asks for everything.";
