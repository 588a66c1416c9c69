//! Properties of plans, on the server in memory: whatever is found there, and whatever is desired.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what went wrong")]

use std::collections::{BTreeMap, BTreeSet};

use futures::executor::block_on;
use proptest::prelude::*;
use rolecall_engine::account::{Credential, Enabled, Leftover, WantedRole};
use rolecall_engine::{AccountName, Desired, Engine, Owner, Plan, Want, plan};
use rolecall_engine_conformance::fake::{Fake, Role, ServerState, User};

const ROLES: [&str; 4] = ["reader", "writer", "powerful", "theirs"];

fn owner(uid: &str) -> Owner {
    Owner { uid: uid.to_owned(), admin: "shop/orders".to_owned(), cluster: String::new(), ..Owner::default() }
}

fn some_roles() -> impl Strategy<Value = BTreeSet<String>> {
    prop::collection::btree_set(prop::sample::select(&ROLES[..]).prop_map(str::to_owned), 0..4)
}

fn user() -> impl Strategy<Value = User> {
    let owner = prop_oneof![Just(None), Just(Some(owner("us"))), Just(Some(owner("them")))];
    let leftover = prop_oneof![
        3 => Just(BTreeSet::new()),
        1 => Just(BTreeSet::from([Leftover::Member { member: "bob".to_owned() }])),
        1 => Just(BTreeSet::from([Leftover::Attribute { attribute: "CREATEDB".to_owned() }])),
        1 => Just(BTreeSet::from([Leftover::Prepared { gid: "g".to_owned(), database: "app".to_owned() }])),
    ];
    let memberships = prop::collection::btree_set(
        (prop::sample::select(&ROLES[..]), prop::sample::select(&["admin", "admin", "postgres"][..]))
            .prop_map(|(role, grantor)| (role.to_owned(), grantor.to_owned())),
        0..4,
    );
    let blocks = prop_oneof![3 => Just(None), 1 => Just(Some("it owns 1 object".to_owned()))];
    (
        (prop::bool::weighted(0.8), owner, any::<bool>(), memberships),
        (leftover, any::<bool>(), any::<bool>(), any::<bool>(), 0_u32..3, blocks),
    )
        .prop_map(
            |(
                (managed, owner, login, memberships),
                (leftovers, settings, limits, password, backends, blocks_drop),
            )| User {
                managed,
                owner,
                login,
                memberships,
                leftovers,
                settings: if settings { [None, Some("app".to_owned())].into() } else { BTreeSet::new() },
                limits,
                password: password.then(|| "x".to_owned()),
                backends,
                rights: BTreeSet::new(),
                blocks_drop,
            },
        )
}

fn want() -> impl Strategy<Value = Want> {
    let credential = prop_oneof![
        Just(Credential::External),
        Just(Credential::Password { set: None }),
        Just(Credential::Password { set: Some("SCRAM-SHA-256$y".into()) }),
    ];
    let roles = some_roles().prop_flat_map(|roles| {
        let literally = prop::collection::vec(any::<bool>(), roles.len());
        literally.prop_map(move |literally| {
            roles
                .iter()
                .cloned()
                .zip(literally)
                .map(|(role, named_literally)| (role, WantedRole { named_literally }))
                .collect::<BTreeMap<_, _>>()
        })
    });
    prop_oneof![
        3 => (roles, credential, any::<bool>(), any::<bool>()).prop_map(|(roles, credential, in_use, create)| {
            Want::Enabled(Enabled {
                roles,
                databases: BTreeSet::from(["app".to_owned()]),
                credential,
                in_use,
                create_missing_roles: create,
                ..Enabled::default()
            })
        }),
        2 => any::<bool>().prop_map(|drop| Want::Ended { drop, reassign_to: None }),
    ]
}

fn desired() -> impl Strategy<Value = Desired> {
    want().prop_map(|want| Desired {
        account: AccountName::new("alice").unwrap(),
        owner: owner("us"),
        session_database: Some("app".to_owned()),
        want,
    })
}

/// A server with some of the roles, and perhaps with the user.
fn server() -> impl Strategy<Value = ServerState> {
    (prop::option::weighted(0.8, user()), some_roles()).prop_map(|(user, roles)| {
        let mut server = ServerState::default();
        for name in roles {
            let attributes = if name == "powerful" { vec!["CREATEROLE".to_owned()] } else { Vec::new() };
            let grantable = name != "theirs";
            server.roles.insert(name, Role { attributes, grantable, ..Role::default() });
        }
        server.users.extend(user.map(|user| ("alice".to_owned(), user)));
        server
    })
}

fn fake(server: &ServerState) -> Fake {
    let fake = Fake::new();
    *fake.state() = server.clone();
    fake
}

fn alice(fake: &Fake) -> Option<User> {
    fake.state().users.get("alice").cloned()
}

fn plan_for(fake: &Fake, desired: &Desired) -> Result<Plan, rolecall_engine::Refusal> {
    plan::plan(desired, &block_on(fake.observe(&desired.query())).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// A plan that was carried out leaves nothing to do.
    #[test]
    fn what_was_carried_out_is_done(server in server(), desired in desired()) {
        let fake = fake(&server);
        let Ok(plan) = plan_for(&fake, &desired) else { return Ok(()) };
        let applied = block_on(fake.apply(&plan)).unwrap();
        let mut settled = plan::settled(&desired);
        if applied.kept_because.is_some() {
            settled.want = Want::Ended { drop: false, reassign_to: None };
        }
        let left = plan_for(&fake, &settled).unwrap();
        prop_assert!(left.is_nothing(), "{plan} left {left}\n{:?}", alice(&fake));
    }

    /// No plan touches a user that does not carry the marker, or works for somebody else.
    #[test]
    fn what_is_not_ours_is_left_alone(server in server(), desired in desired()) {
        let before = server.users.get("alice");
        let foreign = before.is_some_and(|user| {
            let theirs = user.owner.as_ref().is_some_and(|owner| owner.uid != "us");
            !user.managed || theirs && (user.login || user.backends > 0)
        });
        if !foreign {
            return Ok(());
        }
        let fake = fake(&server);
        match plan_for(&fake, &desired) {
            Err(_) => prop_assert!(matches!(desired.want, Want::Enabled(_)), "an end is never refused"),
            Ok(plan) => prop_assert!(plan.is_nothing(), "{plan}"),
        }
    }

    /// A plan that does not fit what is there any more changes nothing that is not ours.
    #[test]
    fn a_plan_that_is_too_late_does_no_harm(then in server(), now in server(), desired in desired()) {
        let Ok(plan) = plan_for(&fake(&then), &desired) else { return Ok(()) };
        let fake = fake(&now);
        let before = alice(&fake);
        let foreign = before.as_ref().is_some_and(|user| {
            let theirs = user.owner.as_ref().is_some_and(|owner| owner.uid != "us");
            !user.managed || theirs && (user.login || user.backends > 0)
        });
        let _ = block_on(fake.apply(&plan));
        if foreign {
            prop_assert_eq!(format!("{:?}", alice(&fake)), format!("{before:?}"), "{}", plan);
        }
    }

    /// An end takes the login and everything that the admin user can take.
    #[test]
    fn an_end_leaves_nothing(server in server(), drop in any::<bool>()) {
        let fake = fake(&server);
        let ours = server.users.get("alice").is_some_and(|user| {
            user.managed && user.owner.as_ref().is_some_and(|owner| owner.uid == "us")
        });
        if !ours {
            return Ok(());
        }
        let desired = Desired {
            account: AccountName::new("alice").unwrap(),
            owner: owner("us"),
            session_database: None,
            want: Want::Ended { drop, reassign_to: None },
        };
        let plan = plan_for(&fake, &desired).unwrap();
        let applied = block_on(fake.apply(&plan)).unwrap();
        match alice(&fake) {
            None => prop_assert!(drop && applied.dropped),
            Some(user) => {
                prop_assert!(!user.login && user.backends == 0 && user.settings.is_empty() && !user.limits);
                prop_assert!(user.memberships.iter().all(|(_, grantor)| grantor != "admin"));
                prop_assert!(!drop || applied.kept_because.is_some());
            }
        }
    }

    /// The text of a plan names the account and contains no verifier.
    #[test]
    fn a_plan_can_be_read(server in server(), desired in desired()) {
        let Ok(plan) = plan_for(&fake(&server), &desired) else { return Ok(()) };
        let text = format!("{plan} {plan:?}");
        prop_assert!(plan.is_nothing() || text.contains("alice"));
        prop_assert!(!text.contains("SCRAM"));
    }
}
