//! The contract between Rolecall and any database server, and the engines that fulfil it.
//!
//! An engine knows one server and one admin user on it. It answers what an account *is* ([`Engine::observe`]),
//! a pure function says what has to change ([`plan::plan`]), the engine changes it ([`Engine::apply`]) and the
//! caller observes again: a plan on what is then seen must be [`Plan::Nothing`]. No engine decides anything by
//! itself, and none remembers anything about accounts between two calls.
//!
//! The map of this crate:
//!
//! | module | holds |
//! |---|---|
//! | [`account`] | what an account should be and what it is |
//! | [`plan`] | the pure step from the one to the other |
//! | [`server`] | what a server is and can: probe, census |
//! | [`error`] | what went wrong, told apart by code, never by text |
//! | [`postgres`] | PostgreSQL 15 to 18 |
//! | [`fake`] | an engine in memory, for tests |
//! | [`conformance`] | the suite that every engine passes |
//! | [`credentials`] | client certificates and password verifiers for users |

pub mod account;
pub mod credentials;
pub mod error;
pub mod plan;
pub mod postgres;
pub mod server;

use async_trait::async_trait;

pub use account::{Account, AccountName, Desired, Observed, Owner, Query, Want};
pub use error::{Class, Error, Reason};
pub use plan::{Plan, Refusal};
pub use server::{Census, CensusEntry, Finding, Needs, Probe, Stats};

/// The role (PostgreSQL, Redshift) or custom-data key (MongoDB) that marks an account as managed. The name is
/// Teleport's, so that both can work on one server.
pub const MARKER: &str = "teleport-auto-user";

/// Prefix of the roles that belong to Rolecall itself (permission sets). No `ProvisioningRole` can give one.
pub const OWN_ROLE_PREFIX: &str = "rolecall:";

/// One database server, reached as its admin user.
///
/// # Guarantees that every implementation gives
///
/// - A call that returns has come to an end on the server too: statements are bounded by time-outs that the
///   *server* keeps, so that a dropped future leaves nothing running for longer than those.
/// - `apply` of a [`Plan::Activate`] either enables the account completely or leaves it disabled; of a
///   [`Plan::End`] returns `Ok` only after the server was read back and shows no login, no backend and no login
///   under way.
/// - Only accounts that carry the marker are changed, and the check is made again under the account's lock.
/// - Nothing secret is in any error, `Debug` or `Display` output.
///
/// # Caveats
///
/// Two calls for one account at the same time are safe but wasteful; callers keep one task per account.
#[async_trait]
pub trait Engine: Send + Sync + std::fmt::Debug {
    /// Looks at the server itself: version, identity, and what the admin user lacks for `needs`. Also makes sure
    /// that the marker exists and is usable.
    ///
    /// # Errors
    ///
    /// When the server cannot be reached or refuses the admin user. What is merely missing is a [`Finding`].
    async fn probe(&self, needs: &Needs) -> Result<Probe, Error>;

    /// Lists the managed accounts of the server, in one query.
    ///
    /// # Errors
    ///
    /// When the server cannot be reached or refuses the query.
    async fn census(&self) -> Result<Census, Error>;

    /// Reads one account and what is needed to decide about it. Calls made at the same time may share a query.
    ///
    /// # Errors
    ///
    /// When the server cannot be reached or refuses the query. An account, role or database that is not there is
    /// no error: the answer says so.
    async fn observe(&self, query: &Query) -> Result<Observed, Error>;

    /// Carries out a plan. What [`Plan::Nothing`] asks is nothing.
    ///
    /// # Errors
    ///
    /// What the server answered, classed. After an error the account must be observed again before the next plan.
    async fn apply(&self, plan: &Plan) -> Result<Applied, Error>;

    /// What the engine did so far, for metrics.
    fn stats(&self) -> Stats {
        Stats::default()
    }

    /// Gives up idle connections. The engine stays usable: the next call connects again.
    async fn close(&self);
}

/// What became of a plan beyond its success.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The account does not exist any more.
    pub dropped: bool,
    /// Why an account that should have been dropped was kept (disabled) instead: what the server said and what
    /// depends on it.
    pub kept_because: Option<String>,
    /// Memberships that could not be revoked, with the statement that does it. They do not hold an end back.
    pub leftovers: Vec<account::Leftover>,
}
