//! The kinds of faults, and which comes when: it follows from a seed.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

macro_rules! kinds {
    ($($(#[$doc:meta])+ $kind:ident = $name:literal, $reach:ident, $weight:literal;)*) => {
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

            /// To what it happens.
            pub fn reach(self) -> Reach {
                match self { $(Self::$kind => Reach::$reach,)* }
            }

            /// How often it comes, beside the others: what stops all lanes comes rarely, what takes a minute or two only once.
            fn weight(self) -> u32 {
                match self { $(Self::$kind => $weight,)* }
            }
        }
    };
}

/// To what a fault happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// To one lane: others go on beside it.
    Lane,
    /// To what all lanes share: it happens to all of them, and to nothing else meanwhile.
    All,
}

kinds! {
    /// The operator is killed at a random moment.
    OperatorKilled = "operator-killed", Lane, 480;
    /// The operator dies between two side effects.
    OperatorKillPoint = "operator-kill-point", Lane, 960;
    /// The operator is frozen for some time.
    OperatorFrozen = "operator-frozen", Lane, 96;
    /// Two operators work, as if each had the lead.
    TwoLeaders = "two-leaders", Lane, 192;
    /// The operator is frozen between two side effects, another takes over, and the first one goes on.
    LateLeader = "late-leader", Lane, 288;
    /// The leader is frozen until its Lease is taken over.
    LeaderLost = "leader-lost", All, 1;
    /// The operator's clock jumps, and jumps back.
    ClockJumped = "clock-jumped", Lane, 96;
    /// A server is killed, and starts again.
    DatabaseKilled = "database-killed", All, 2;
    /// A server is frozen for some time.
    DatabaseFrozen = "database-frozen", All, 1;
    /// A server restarts in order.
    DatabaseRestarted = "database-restarted", All, 2;
    /// A server has no connections left.
    DatabaseFull = "database-full", All, 1;
    /// A server takes no changes.
    DatabaseReadOnly = "database-read-only", All, 2;
    /// A standby that lags behind takes the place of the server.
    DatabaseFailedOver = "database-failed-over", All, 2;
    /// Each statement on a server takes 25 s.
    DatabaseSlow = "database-slow", Lane, 0;
    /// A server cannot be reached.
    DatabaseUnreachable = "database-unreachable", Lane, 16;
    /// The connections of operators to a server are ended.
    ConnectionsKilled = "connections-killed", Lane, 640;
    /// The primary of the replica set hands over.
    MongoElection = "mongodb-election", All, 2;
    /// The primary of the replica set is killed.
    MongoKilled = "mongodb-killed", All, 1;
    /// The primary of the replica set is frozen.
    MongoFrozen = "mongodb-frozen", All, 1;
    /// The primary of the replica set is killed with writes that no other member has: it takes them back.
    MongoRolledBack = "mongodb-rolled-back", All, 1;
    /// The API server is killed, and starts again.
    ApiKilled = "api-server-killed", All, 1;
    /// The API server is frozen for some time.
    ApiFrozen = "api-server-frozen", All, 1;
    /// The operator's connections to the API server end.
    ApiUnreachable = "api-unreachable", Lane, 192;
    /// The operator hears nothing of the API server any more.
    ApiSilent = "api-silent", Lane, 0;
    /// Answers of the API server are late.
    ApiSlow = "api-slow", Lane, 96;
    /// Answers of the API server come out of order.
    ApiJumbled = "api-out-of-order", Lane, 192;
    /// etcd goes back to a snapshot.
    EtcdRestored = "etcd-restored", All, 1;
    /// The Secret of a live session is deleted.
    SecretDeleted = "secret-deleted", Lane, 720;
    /// The Secrets of a DatabaseAdmin are deleted, and made again.
    AdminSecretsDeleted = "admin-secrets-deleted", Lane, 128;
    /// A DatabaseAdmin is deleted while sessions live, its Secrets first.
    AdminDeleted = "admin-deleted", Lane, 96;
    /// A namespace with a live session is deleted.
    NamespaceDeleted = "namespace-deleted", Lane, 16;
    /// Somebody takes the finalizers off live sessions and deletes them.
    FinalizerRemoved = "finalizer-removed", Lane, 640;
    /// Many sessions of one account are made and deleted at random moments.
    SessionsDeleted = "sessions-deleted", Lane, 1120;
    /// Policy takes a user's roles, and gives them again.
    RolesTaken = "roles-taken", Lane, 320;
    /// Somebody changes the login or the roles of accounts by hand.
    AccountChanged = "account-changed", Lane, 720;
    /// Somebody limits live accounts by hand.
    AccountLimited = "account-limited", Lane, 480;
    /// Somebody drops accounts by hand.
    AccountDropped = "account-dropped", Lane, 480;
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
    kinds: Vec<(Kind, u32)>,
    /// Those that have not come yet: each comes once before any comes as its weight says.
    first: Vec<Kind>,
    drawn: usize,
}

/// What comes next.
#[derive(Debug)]
pub struct Next {
    /// Its number, from 1.
    pub number: usize,
    /// Its kind.
    pub kind: Kind,
    /// What else is left to chance in it; how much of that is used does not change what comes next.
    pub random: StdRng,
}

impl Schedule {
    /// One of these kinds; of all, where there is none. Some may have other weights than usual; what has 0 comes once.
    pub fn new(seed: u64, kinds: &[Kind], weights: &[(Kind, u32)]) -> Self {
        let kinds = if kinds.is_empty() { Kind::ALL } else { kinds };
        let weight = |kind: Kind| {
            weights
                .iter()
                .rfind(|(other, _)| *other == kind)
                .map_or_else(|| kind.weight(), |(_, weight)| *weight)
        };
        let first = kinds.to_vec();
        let mut kinds: Vec<(Kind, u32)> = kinds.iter().map(|kind| (*kind, weight(*kind))).collect();
        if kinds.iter().all(|(_, weight)| *weight == 0) {
            kinds.iter_mut().for_each(|(_, weight)| *weight = 1);
        }
        Self { random: StdRng::seed_from_u64(seed), kinds, first, drawn: 0 }
    }

    /// What comes next.
    pub fn draw(&mut self) -> Next {
        self.drawn += 1;
        let kind = self.kind();
        Next { number: self.drawn, kind, random: StdRng::seed_from_u64(self.random.random()) }
    }

    fn kind(&mut self) -> Kind {
        if let Some(kind) = self.first.choose(&mut self.random).copied() {
            self.first.retain(|other| *other != kind);
            return kind;
        }
        let chosen = self.kinds.choose_weighted(&mut self.random, |(_, weight)| *weight);
        // It cannot fail: there are kinds, and not all weights are zero.
        chosen.map_or(Kind::OperatorKilled, |(kind, _)| *kind)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn first(seed: u64, count: usize) -> Vec<Kind> {
        let mut schedule = Schedule::new(seed, &[], &[]);
        (0..count).map(|_| schedule.draw().kind).collect()
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
        let mut schedule = Schedule::new(1, &[Kind::ApiSlow, Kind::TwoLeaders], &[]);
        assert!((0..50).all(|_| matches!(schedule.draw().kind, Kind::ApiSlow | Kind::TwoLeaders)));
        let mut schedule = Schedule::new(1, &[Kind::ApiSlow, Kind::TwoLeaders], &[(Kind::ApiSlow, 0)]);
        assert_eq!((0..50).filter(|_| schedule.draw().kind == Kind::ApiSlow).count(), 1);
    }
}
