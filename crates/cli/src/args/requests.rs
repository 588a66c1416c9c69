//! The arguments of `requests`, `approve` and `deny`.

use clap::Args;

/// `requests`.
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = REQUESTS_EXAMPLES)]
pub struct RequestsArgs {
    /// Of every namespace.
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
}

const REQUESTS_EXAMPLES: &str = "\
Examples:
  # Who waits for approval, and for what?
  kubectl rolecall requests

  # What exactly does one of them ask for?
  kubectl get dbs alice-orders -o jsonpath='{.status.request}'";

/// `approve`.
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = APPROVE_EXAMPLES)]
pub struct ApproveArgs {
    /// The DatabaseSession, by name.
    #[arg(value_name = "SESSION")]
    pub session: String,

    /// Why, for the reader and the audit log.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,

    /// Which request.
    #[command(flatten)]
    pub read: Read,
}

/// `deny`.
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = DENY_EXAMPLES)]
pub struct DenyArgs {
    /// The DatabaseSession, by name.
    #[arg(value_name = "SESSION")]
    pub session: String,

    /// Why, for the reader and the audit log.
    #[arg(long, value_name = "TEXT")]
    pub reason: String,

    /// Which request.
    #[command(flatten)]
    pub read: Read,
}

/// How it is known that a request was read before it is decided.
#[derive(Clone, Debug, Default, Args)]
pub struct Read {
    /// Decide only if the hash of the request begins with this: that of the one which was read before.
    #[arg(long, value_name = "HASH")]
    pub hash: Option<String>,

    /// Do not ask.
    #[arg(short, long)]
    pub yes: bool,
}

const APPROVE_EXAMPLES: &str = "\
Examples:
  # Read what is asked for, and say yes or no
  kubectl rolecall approve alice-orders --reason 'agreed on the phone'

  # Of what was read before, and of nothing else
  kubectl rolecall approve alice-orders --hash 4c9f01d2

It takes the verb approve on each ProvisioningRole that asks for approval; whoever asked for the session never decides. Where \
you may decide on behalf of some of the roles only, others have to decide on behalf of the rest.";

const DENY_EXAMPLES: &str = "\
Examples:
  # That is final
  kubectl rolecall deny alice-orders --reason 'not during the freeze'";
