//! The contract between Rolecall and any database server. It knows no engine: each is a crate of its own.
//!
//! An engine knows one server and one admin user on it. It answers what an account *is* ([`Engine::observe`]),
//! a pure function says what has to change ([`plan::plan`]), the engine changes it ([`Engine::apply`]) and the
//! caller observes again: a plan on what is then seen must be [`Plan::Nothing`]. No engine decides anything by
//! itself, and none remembers anything about accounts between two calls.
//!
//! The map of this crate:
//!
//! | module | contains |
//! |---|---|
//! | [`name`] | names of accounts |
//! | [`account`] | what an account should be and what it is |
//! | [`plan`] | the pure step from the one to the other |
//! | [`server`] | what a server is and can: preflight, inventory |
//! | [`history`] | where a server is in its history: failovers |
//! | [`objects`] | the objects of a logical database, and what permission sets may do with them |
//! | [`sets`] | permission sets: names, the desired and the synced set, the pure step to what has to change |
//! | [`error`] | what went wrong, classified by code, never by text |
//! | [`login`] | logins of the admin user that change over time |
//! | [`examine`] | what a person wants to know who looks for a fault |
//! | [`activity`] | what a user runs, seen and stopped as that user |
//! | [`dialect`] | what differs between kinds of servers in decisions and messages |
//! | [`kill_point`] | where tests let the program die, in debug builds |
//! | [`address`], [`slots`], [`idle`], [`counters`] | what engines do alike: addresses, connections, figures |

pub mod account;
pub mod activity;
pub mod address;
mod certificate;
pub mod changes;
mod claim;
pub mod counters;
pub mod dialect;
pub mod error;
pub mod examine;
pub mod history;
pub mod idle;
pub mod kill_point;
pub mod login;
pub mod name;
pub mod objects;
mod owner;
pub mod plan;
pub mod server;
pub mod sets;
pub mod slots;
mod urgency;

use std::fmt;

use async_trait::async_trait;

pub use account::{Account, Desired, Observed, Query, Want};
pub use activity::{Activity, Running, Stop};
pub use certificate::ClientCertificate;
pub use changes::{ChangedObjects, Changes};
pub use claim::{Claim, UNNAMED_CLUSTER};
pub use dialect::Dialect;
pub use error::{Class, Error, Reason, Refusal};
pub use examine::{Examination, Examine};
pub use history::{History, HistoryChange, HistoryWatch};
pub use login::{Login, LoginSource};
pub use name::AccountName;
pub use objects::{Catalog, CatalogQuery, ObjectRef, SomeObjects};
pub use owner::Owner;
pub use plan::Plan;
pub use server::{Finding, Inventory, InventoryEntry, Needs, Preflight, Stats};
pub use sets::{DesiredSet, SetEntry, SetRecord, SyncedSet, set_role_name};
pub use urgency::{is_urgent, urgent};

/// The role (PostgreSQL, Redshift) or custom-data key (MongoDB) that marks an account as managed. The name is
/// Teleport's, so that both can work on one server.
pub const MARKER: &str = "teleport-auto-user";

/// Prefix of the roles that belong to Rolecall itself (permission sets), where a name can have a colon: ask
/// [`Dialect::is_own_role`]. No `ProvisioningRole` can give one.
pub const OWN_ROLE_PREFIX: &str = "rolecall:";

/// One database server, reached as its admin user.
///
/// # Guarantees that every implementation gives
///
/// - A call that has returned has ended on the server too: statements are bounded by time-outs that the
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
    /// What kind of server it is, as far as names and remedies go. [`Dialect::set_name`] names permission sets.
    fn dialect(&self) -> Dialect;

    /// Checks the server itself: version, identity, and what the admin user lacks for `needs`. Also makes sure
    /// that the marker exists and is usable.
    ///
    /// # Errors
    ///
    /// When the server cannot be reached or refuses the admin user. Anything missing is only a [`Finding`].
    async fn preflight(&self, needs: &Needs) -> Result<Preflight, Error>;

    /// Reads where the server is in its history, and watches for what may have changed it: a connection that breaks,
    /// another member that becomes primary.
    ///
    /// # Errors
    ///
    /// When the server cannot be reached or refuses the query; `Unsupported` where the engine cannot know.
    async fn watch_history(&self) -> Result<HistoryWatch, Error> {
        Err(Error::unsupported("watching the history of the server".to_owned()))
    }

    /// Does the server take client certificates of the CA that has issued `certificate`, which is shown to it and to
    /// nobody else? `None`: it does, or there is nothing to report. Nobody logs in, and nothing is created.
    ///
    /// # Errors
    ///
    /// When the server cannot be reached, or does not say.
    async fn check_client_ca(&self, _certificate: &ClientCertificate) -> Result<Option<Finding>, Error> {
        Ok(None)
    }

    /// Lists the managed accounts of the server, in one query.
    ///
    /// # Errors
    ///
    /// When the server cannot be reached or refuses the query.
    async fn inventory(&self) -> Result<Inventory, Error>;

    /// Looks at the server as a whole: [`Self::preflight`], and [`Self::inventory`] where that succeeds. An engine may ask for
    /// both at once.
    ///
    /// # Errors
    ///
    /// As [`Self::preflight`].
    async fn look(&self, needs: &Needs) -> Result<(Preflight, Result<Inventory, Error>), Error> {
        let preflight = self.preflight(needs).await?;
        let inventory = self.inventory().await;
        Ok((preflight, inventory))
    }

    /// Reads one account and what is needed to decide about it. Calls made at the same time may share a query.
    ///
    /// # Errors
    ///
    /// When the server cannot be reached or refuses the query. An account, role or database that is not there is
    /// no error: the answer says so.
    async fn observe(&self, query: &Query) -> Result<Observed, Error>;

    /// Carries out a plan. [`Plan::Nothing`] does nothing.
    ///
    /// # Errors
    ///
    /// What the server answered, classed. After an error the account must be observed again before the next plan. An
    /// account that is not any more what the plan took it for is left as it is: [`Error::is_of_changed_account`].
    async fn apply(&self, plan: &Plan) -> Result<Applied, Error>;

    /// Reads the objects of a logical database, and what the permission sets asked for may do with them, as of one
    /// moment.
    ///
    /// # Errors
    ///
    /// `DatabaseNameNotFound` or `MissingConnect` where the admin user cannot connect to that database; what the server
    /// answered.
    async fn read_objects(&self, query: &CatalogQuery) -> Result<Catalog, Error>;

    /// As [`Self::read_objects`], but only some of the objects, with the schemas that they lie in. Those that are not
    /// there are left out; [`Catalog::elsewhere`] is empty, for the caller to fill in. Whether a set has what no set has
    /// is not read.
    ///
    /// # Errors
    ///
    /// As [`Self::read_objects`]; `Unsupported` where the engine names no objects that have changed.
    async fn read_some_objects(&self, query: &CatalogQuery, _some: &SomeObjects) -> Result<Catalog, Error> {
        Err(Error::unsupported(format!("reading some objects of {:?}", query.database)))
    }

    /// Watches for changes of the objects of a logical database, and of the rights on them, that others make. A
    /// connection is kept for it until the stream is dropped; `None` where there is none to spare. Nothing is reported
    /// where [`Catalog::announced`] is false.
    ///
    /// This is only a hint to read earlier than planned: changes may be missed, and anybody can pretend that there is
    /// one.
    ///
    /// # Errors
    ///
    /// When the server cannot be reached; `Unsupported` where the engine cannot watch.
    async fn watch_objects(&self, database: &str) -> Result<Option<Changes>, Error> {
        Err(Error::unsupported(format!("watching for changes in {database:?}")))
    }

    /// Gives the sets of one logical database the desired privileges, and no others: creates their roles, grants,
    /// revokes, and reads back. One answer for each desired set, in their order.
    ///
    /// The catalogue must have been read for these sets, and the desired sets must number objects as it does. What has
    /// changed on the server since is safe: objects are identified by what the server's own grants go by (PostgreSQL:
    /// their ids; MongoDB: their names), and one that is gone is skipped.
    ///
    /// Calls for one database must follow one another; grants that others make at the same time lose nothing.
    ///
    /// # Errors
    ///
    /// When the server cannot be reached any more. What it refuses for a single object or set is in the set's answer.
    async fn sync_sets(&self, desired: &[DesiredSet], catalog: &Catalog) -> Result<Vec<SyncedSet>, Error>;

    /// Lists the permission sets of the server, whosever they are.
    ///
    /// # Errors
    ///
    /// When the server cannot be reached or refuses the query.
    async fn list_sets(&self) -> Result<Vec<SetEntry>, Error>;

    /// Drops a permission set that nobody is a member of and that carries the record of `owner_uid`, with its
    /// privileges in every logical database. [`Applied::kept_because`] says why one was kept; one that is not there
    /// counts as dropped.
    ///
    /// # Errors
    ///
    /// When the server cannot be reached.
    async fn drop_set(&self, role: &str, owner_uid: &str) -> Result<Applied, Error>;

    /// Goes on with what can wait, for a few seconds at most: nothing depends on it. It changes only accounts of this owner, by
    /// `Owner::uid`, and none that may log in.
    ///
    /// # Errors
    ///
    /// When the server cannot be reached.
    async fn tidy(&self, _owner_uid: &str) -> Result<(), Error> {
        Ok(())
    }

    /// This logical database is not needed any more: idle connections to it are closed, so that it can be dropped.
    fn release_database(&self, _database: &str) {}

    /// What the engine did so far, for metrics.
    fn stats(&self) -> Stats {
        Stats::default()
    }

    /// Closes idle connections. The engine stays usable: the next call connects again.
    async fn close(&self);
}

/// What an account owned and somebody else owns now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reassigned {
    /// Who owns it.
    pub to: String,
    /// What it is, for people, one text for each logical database: `2 objects in the database "shop" (table app.a, table
    /// app.b)`.
    pub objects: Vec<String>,
}

impl fmt::Display for Reassigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "what it owned belongs to {:?} now: {}", self.to, self.objects.join(", "))
    }
}

/// The outcome of a plan beyond its success.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The account does not exist any more.
    pub dropped: bool,
    /// Why an account that should have been dropped was kept (disabled) instead: what the server said and what
    /// depends on it.
    pub kept_because: Option<String>,
    /// What it owned and somebody else owns now.
    pub reassigned: Option<Reassigned>,
    /// Why limits and settings are still stored for it: a rule of the server does not let them be cleared. They do not
    /// delay an end.
    pub not_reset: Option<String>,
    /// Memberships that could not be revoked, with the statement that does it. They do not delay an end.
    pub leftovers: Vec<account::Leftover>,
}

impl Applied {
    /// What people should know of a drop: what somebody else owns now, and why it did not happen.
    pub fn remarks(&self) -> Option<String> {
        let reassigned = self.reassigned.as_ref().map(ToString::to_string);
        let all: Vec<String> = reassigned.into_iter().chain(self.kept_because.clone()).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}
