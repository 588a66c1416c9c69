//! The kinds of faults, and which comes when: it follows from a seed.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

macro_rules! kinds {
    ($($(#[$doc:meta])+ $kind:ident = $name:literal, $weight:literal;)*) => {
        /// A kind of fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Kind {
            $($(#[$doc])+ $kind,)*
        }

        impl Kind {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$kind,)*];

            /// Its name in tables and on the command line.
            pub fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }

            /// How often it comes, beside the others: what takes long comes rarely.
            fn weight(self) -> u32 {
                match self { $(Self::$kind => $weight,)* }
            }
        }
    };
}

kinds! {
    /// The operator is killed at a random moment.
    OperatorKilled = "operator-killed", 8;
    /// The operator dies between two side effects.
    OperatorKillPoint = "operator-kill-point", 24;
    /// The operator is frozen for some time.
    OperatorFrozen = "operator-frozen", 3;
    /// Two operators work, as if each had the lead.
    TwoLeaders = "two-leaders", 4;
    /// The operator is frozen between two side effects, another takes over, and the first one goes on.
    LateLeader = "late-leader", 6;
    /// The leader is frozen until its Lease is taken over.
    LeaderLost = "leader-lost", 1;
    /// A server is killed, and starts again.
    DatabaseKilled = "database-killed", 4;
    /// A server is frozen for some time.
    DatabaseFrozen = "database-frozen", 3;
    /// A server restarts in order.
    DatabaseRestarted = "database-restarted", 3;
    /// A server has no connections left.
    DatabaseFull = "database-full", 3;
    /// A server takes no changes.
    DatabaseReadOnly = "database-read-only", 3;
    /// A standby that lags behind takes the place of the server.
    DatabaseFailedOver = "database-failed-over", 3;
    /// Each statement on a server takes 25 s.
    DatabaseSlow = "database-slow", 1;
    /// A server cannot be reached.
    DatabaseUnreachable = "database-unreachable", 3;
    /// The primary of the replica set hands over.
    MongoElection = "mongodb-election", 2;
    /// The primary of the replica set is killed.
    MongoKilled = "mongodb-killed", 2;
    /// The primary of the replica set is frozen.
    MongoFrozen = "mongodb-frozen", 2;
    /// The API server is killed, and starts again.
    ApiKilled = "api-server-killed", 1;
    /// The API server is frozen for some time.
    ApiFrozen = "api-server-frozen", 2;
    /// The operator's connections to the API server end.
    ApiUnreachable = "api-unreachable", 3;
    /// The operator hears nothing of the API server any more.
    ApiSilent = "api-silent", 2;
    /// Answers of the API server are late.
    ApiSlow = "api-slow", 3;
    /// etcd goes back to a snapshot.
    EtcdRestored = "etcd-restored", 1;
    /// The Secret of a live session is deleted.
    SecretDeleted = "secret-deleted", 4;
    /// The Secrets of a DatabaseAdmin are deleted, and made again.
    AdminSecretsDeleted = "admin-secrets-deleted", 3;
    /// A DatabaseAdmin is deleted while sessions live, its Secrets first.
    AdminDeleted = "admin-deleted", 2;
    /// A namespace with a live session is deleted.
    NamespaceDeleted = "namespace-deleted", 1;
    /// Somebody takes the finalizers off live sessions and deletes them.
    FinalizerRemoved = "finalizer-removed", 4;
    /// Somebody changes accounts by hand.
    AccountChanged = "account-changed", 4;
}

impl Kind {
    /// The kind of that name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }
}

/// See the module.
#[derive(Debug)]
pub struct Schedule {
    random: StdRng,
    kinds: Vec<Kind>,
    /// Those that have not come yet: each comes once before any comes as its weight says.
    first: Vec<Kind>,
}

impl Schedule {
    /// One of these kinds; of all, where there is none.
    pub fn new(seed: u64, kinds: &[Kind]) -> Self {
        let kinds = if kinds.is_empty() { Kind::ALL.to_vec() } else { kinds.to_vec() };
        Self { random: StdRng::seed_from_u64(seed), first: kinds.clone(), kinds }
    }

    /// What comes next.
    pub fn next_kind(&mut self) -> Kind {
        if let Some(kind) = self.first.choose(&mut self.random).copied() {
            self.first.retain(|other| *other != kind);
            return kind;
        }
        let chosen = self.kinds.choose_weighted(&mut self.random, |kind| kind.weight());
        // It cannot fail: there are kinds, and their weights are above zero.
        chosen.copied().unwrap_or(Kind::OperatorKilled)
    }

    /// What else is left to chance in a fault; how much of it is used does not change what comes next.
    pub fn random(&mut self) -> StdRng {
        StdRng::seed_from_u64(self.random.random())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn first(seed: u64, count: usize) -> Vec<Kind> {
        let mut schedule = Schedule::new(seed, &[]);
        (0..count).map(|_| schedule.next_kind()).collect()
    }

    #[test]
    fn a_seed_gives_the_same_faults_each_time_and_another_seed_others() {
        assert_eq!(first(7, 200), first(7, 200));
        assert_ne!(first(7, 200), first(8, 200));
    }

    #[test]
    fn each_kind_comes_once_before_any_comes_again() {
        let kinds: BTreeSet<Kind> = first(3, Kind::ALL.len()).into_iter().collect();
        assert_eq!(kinds.len(), Kind::ALL.len());
        for kind in Kind::ALL {
            assert_eq!(Kind::of(kind.name()), Some(*kind));
        }
    }

    #[test]
    fn only_chosen_kinds_come() {
        let mut schedule = Schedule::new(1, &[Kind::ApiSlow, Kind::TwoLeaders]);
        assert!((0..50).all(|_| matches!(schedule.next_kind(), Kind::ApiSlow | Kind::TwoLeaders)));
    }
}
