//! Accounts that are created through roles of ours, so that nobody pays for those that were created before.

use rolecall_engine::{Engine as _, Reason};
use rolecall_postgres::{Config, Postgres as Engine};
use rolecall_testbed::PgVersion;

use crate::common::{
    Bench, Failure, apply, enabled, ended, ended_giving_to, literal, live, owner, quote, unique,
};

/// Versions on which a creator becomes a member of what it creates.
fn versions() -> impl Iterator<Item = PgVersion> {
    PgVersion::ALL.into_iter().filter(|version| version.major() >= 16)
}

/// An admin user whose creators hold two accounts each, and who holds more than that itself.
async fn bench(version: PgVersion) -> (Bench, String) {
    let mut bench = Bench::new(version).await;
    let role = bench.role("reader").await;
    bench.engine = small(&bench);
    (bench, role)
}

fn small(bench: &Bench) -> Engine {
    Engine::new(Config { accounts_per_creator: 2, ..bench.config() }).unwrap()
}

fn without_creators(bench: &Bench) -> Engine {
    Engine::new(Config { accounts_per_creator: 0, ..bench.config() }).unwrap()
}

/// Who has ADMIN OPTION on a role.
async fn holder(bench: &Bench, account: &str) -> String {
    let query = format!(
        "select string_agg(r.rolname, ' ' order by 1) from pg_auth_members m join pg_roles r on r.oid = m.member
         where m.roleid = {}::regrole and m.admin_option",
        literal(&quote(account))
    );
    bench.value(&query).await
}

/// Another role, of somebody else.
async fn unique_login(bench: &Bench) -> String {
    let name = unique("dba");
    bench.sql(&format!("create role {name} login")).await;
    name
}

/// The creator roles of an admin user.
async fn creators(bench: &Bench, which: &str) -> String {
    bench
        .value(&format!(
            "select count(*) from pg_roles r where starts_with(r.rolname, 'rolecall-creator:' || '{}'::regrole::oid) and {which}",
            bench.admin
        ))
        .await
}

#[tokio::test]
async fn many_accounts_are_spread_over_creator_roles_and_live_as_before() {
    for version in versions() {
        let (bench, role) = bench(version).await;
        let users: Vec<String> = (0..7).map(|_| unique("alice")).collect();
        for user in &users {
            bench.reach(&enabled(user, &[&role])).await;
            bench.login(user).await.unwrap();
            let holder = holder(&bench, user).await;
            assert!(holder.starts_with("rolecall-creator:") && !holder.contains(' '), "{version}: {holder}");
        }
        let open = "exists (select from pg_auth_members m where m.roleid = r.oid and m.set_option and m.inherit_option)";
        assert_eq!(
            creators(&bench, &format!("r.rolname like '%:accounts' and {open}")).await,
            "1",
            "{version}"
        );
        assert_eq!(
            creators(&bench, "r.rolname like '%:accounts'").await,
            "4",
            "{version}: two in each, one is open"
        );
        assert_eq!(creators(&bench, "r.rolcanlogin").await, "0");
        let comments = creators(&bench, "shobj_description(r.oid, 'pg_authid') like '%Rolecall%'").await;
        assert_eq!(comments, creators(&bench, "true").await, "{version}: each says what it is for");
        assert_eq!(
            bench
                .engine
                .inventory()
                .await
                .unwrap()
                .accounts
                .iter()
                .filter(|e| !e.manageable && users.iter().any(|u| u == e.account.as_str()))
                .count(),
            0
        );
        // Ended, kept and started again; ended and dropped. Another process knows as much.
        bench.reach(&ended(&users[0], false)).await;
        assert!(bench.login(&users[0]).await.is_err());
        let memberships = format!(
            "select count(*) from pg_auth_members m where m.member = {}::regrole and m.roleid = {}::regrole",
            literal(&quote(&users[0])),
            literal(&quote(&role))
        );
        assert_eq!(bench.value(&memberships).await, "0", "{version}");
        let bench = Bench { engine: small(&bench), ..bench };
        bench.reach(&enabled(&users[0], &[&role])).await;
        bench.login(&users[0]).await.unwrap();
        for user in &users {
            assert!(bench.reach(&ended(user, true)).await.dropped, "{version}: {user}");
        }
    }
}

#[tokio::test]
async fn an_account_made_before_moves_when_it_starts_again() {
    for version in versions() {
        let (bench, role) = bench(version).await;
        let before = without_creators(&bench);
        let (user, kept, live) = (unique("alice"), unique("owner"), unique("live"));
        for user in [&user, &kept, &live] {
            apply(&before, &enabled(user, &[&role])).await.unwrap();
        }
        let _open = bench.login(&live).await.unwrap();
        bench.sql(&format!("create table {kept}_t (); alter table {kept}_t owner to {}", quote(&kept))).await;
        for user in [&user, &kept] {
            apply(&before, &ended(user, false)).await.unwrap();
        }
        // Somebody else's first: creators are in use from now on.
        bench.reach(&enabled(&unique("first"), &[&role])).await;
        for user in [&user, &kept] {
            assert_eq!(holder(&bench, user).await, bench.admin);
            bench.reach(&enabled(user, &[&role])).await;
            bench.login(user).await.unwrap();
        }
        assert!(holder(&bench, &user).await.starts_with("rolecall-creator:"), "{version}");
        assert_eq!(holder(&bench, &kept).await, bench.admin, "{version}: what it owns would be lost");
        // All end, the one that was live all the time, too.
        for (user, dropped) in [(&user, true), (&kept, false), (&live, true)] {
            assert_eq!(bench.reach(&ended(user, true)).await.dropped, dropped, "{version}: {user}");
            assert!(bench.login(user).await.is_err(), "{version}: {user}");
        }
        bench.sql(&format!("drop table {kept}_t")).await;
    }
}

#[tokio::test]
async fn what_is_taken_by_the_admin_user_as_well_is_given_after_that() {
    for version in versions() {
        let (bench, role) = bench(version).await;
        bench.reach(&enabled(&unique("first"), &[&role])).await;
        let user = unique("alice");
        apply(&without_creators(&bench), &enabled(&user, &[&role])).await.unwrap();
        let _open = bench.login(&user).await.unwrap();
        // It is closed first, and what it has is taken and given again.
        bench.reach(&enabled(&user, &[&role])).await;
        bench.login(&user).await.unwrap();
        assert!(bench.reach(&ended(&user, true)).await.dropped, "{version}");
    }
}

#[tokio::test]
async fn kept_accounts_move_when_there_is_time_and_nothing_else_does() {
    for version in versions() {
        let (bench, role) = bench(version).await;
        let before = without_creators(&bench);
        let (kept, live, owning, foreign) =
            (unique("kept"), unique("live"), unique("owning"), unique("foreign"));
        for user in [&kept, &live, &owning] {
            apply(&before, &enabled(user, &[&role])).await.unwrap();
        }
        let mut start = enabled(&foreign, &[]);
        start.owner = owner("uid-2");
        apply(&before, &start).await.unwrap();
        let mut end = ended(&foreign, false);
        end.owner = owner("uid-2");
        apply(&before, &end).await.unwrap();
        bench
            .sql(&format!("create table {owning}_t (); alter table {owning}_t owner to {}", quote(&owning)))
            .await;
        for user in [&kept, &owning] {
            apply(&before, &ended(user, false)).await.unwrap();
        }
        // What a database administrator stored for an account, or let somebody do with it, would go with it.
        let [set, member, administered] = ["set", "member", "administered"].map(unique);
        for user in [&set, &member, &administered] {
            apply(&before, &enabled(user, &[])).await.unwrap();
            apply(&before, &ended(user, false)).await.unwrap();
        }
        bench
            .sql(&format!(
                "alter role {set} set log_statement = 'all'; grant pg_monitor to {member};
                 grant {administered} to {} with admin option, inherit false, set false",
                unique_login(&bench).await
            ))
            .await;
        let number = format!("select oid from pg_roles where rolname = '{kept}'");
        let first = bench.value(&number).await;
        bench.observe(&ended(&kept, false)).await;
        bench.engine.tidy("uid-1").await.unwrap();
        assert_ne!(bench.value(&number).await, first, "{version}");
        assert!(holder(&bench, &kept).await.starts_with("rolecall-creator:"), "{version}");
        for user in [&live, &owning, &foreign, &set, &member] {
            assert_eq!(holder(&bench, user).await, bench.admin, "{version}: {user}");
        }
        assert!(holder(&bench, &administered).await.contains(&bench.admin), "{version}");
        let entries = bench.engine.inventory().await.unwrap().accounts;
        let moved = entries.iter().find(|entry| entry.account.as_str() == kept).unwrap();
        assert!(!moved.enabled && moved.owner == Some(owner("uid-1")) && moved.manageable, "{moved:?}");
        assert!(bench.login(&live).await.is_ok() && bench.login(&kept).await.is_err());
        bench.engine.tidy("uid-1").await.unwrap();
        bench.sql(&format!("drop table {owning}_t")).await;
    }
}

#[tokio::test]
async fn what_somebody_did_to_creator_roles_keeps_nobody_in() {
    for version in versions() {
        for (what, statements) in [
            ("taken away", "alter role \"{creator}\" nocreaterole"),
            ("no way to become it", "revoke \"{creator}\" from {admin} granted by {admin}"),
            ("no way to what it holds", "revoke \"{holder}\" from \"{creator}\" granted by {admin} cascade"),
            ("not there", "drop role \"{creator}\""),
            ("nothing to grant", "revoke {role} from \"{group}\" granted by {admin} cascade"),
        ] {
            let (bench, role) = bench(version).await;
            let user = unique("alice");
            bench.reach(&enabled(&user, &[&role])).await;
            let client = bench.login(&user).await.unwrap();
            let holder = holder(&bench, &user).await;
            let creator = holder.trim_end_matches(":accounts");
            let (group, _) = creator.rsplit_once(':').unwrap();
            let statements = statements
                .replace("{creator}", creator)
                .replace("{holder}", &holder)
                .replace("{admin}", &bench.admin)
                .replace("{group}", group)
                .replace("{role}", &role);
            bench.sql(&statements).await;
            // It may have to be named what is left and who can take it; nobody stays in, or gets in.
            let result = bench.apply(&ended(&user, false)).await;
            assert!(bench.login(&user).await.is_err(), "{version}, {what}: {result:?}");
            assert!(client.simple_query("select 1").await.is_err(), "{version}, {what}: {result:?}");
            // Others start as ever.
            bench.reach(&enabled(&unique("bob"), &[&role])).await;
        }
    }
}

#[tokio::test]
async fn without_the_holder_a_superuser_has_to_give_the_account_back() {
    for version in versions() {
        let (bench, role) = bench(version).await;
        let user = unique("alice");
        bench.reach(&enabled(&user, &[&role])).await;
        bench.sql(&format!("drop role \"{}\"", holder(&bench, &user).await)).await;
        let Err(Failure::Error(error)) = bench.apply(&ended(&user, true)).await else {
            panic!("{version}: it worked")
        };
        assert_eq!(error.reason, Reason::MissingAdminOption, "{version}: {error}");
        bench.sql(&format!("grant {user} to {} with admin option", bench.admin)).await;
        bench.apply(&ended(&user, true)).await.unwrap();
        assert!(bench.login(&user).await.is_err(), "{version}");
    }
}

#[tokio::test]
async fn what_users_own_is_given_away_through_their_creators() {
    for version in versions() {
        let (bench, role) = bench(version).await;
        let (user, heir) = (unique("alice"), unique("heir"));
        bench.reach(&enabled(&user, &[&role])).await;
        assert!(holder(&bench, &user).await.starts_with("rolecall-creator:"), "{version}");
        bench
            .sql(&format!(
                "create role {heir}; grant {heir} to {} with inherit true, set true; grant create on schema public to {heir};
                 create table {user}_t (); alter table {user}_t owner to {user}",
                bench.admin
            ))
            .await;
        let applied = bench.reach(&ended_giving_to(&user, &heir)).await;
        assert!(applied.dropped && applied.reassigned.is_some(), "{version}: {applied:?}");
        let owner = format!("select pg_get_userbyid(relowner) from pg_class where relname = '{user}_t'");
        assert_eq!(bench.value(&owner).await, heir, "{version}");
        bench.sql(&format!("drop table {user}_t")).await;
    }
}

#[tokio::test]
async fn what_somebody_stored_for_a_live_account_is_taken_through_its_creator() {
    for version in versions() {
        let (bench, role) = bench(version).await;
        let user = unique("alice");
        let start = live(enabled(&user, &[&role]));
        bench.reach(&start).await;
        bench
            .sql(&format!(
                "alter role {user} connection limit 3; alter role {user} set search_path = x; alter role {user} createrole;
                 grant pg_monitor to {user}"
            ))
            .await;
        bench.apply(&start).await.unwrap();
        let left = format!(
            "select rolconnlimit || ' ' || rolcreaterole || ' ' || coalesce(rolconfig::text, '') from pg_roles where rolname = '{user}'"
        );
        assert_eq!(bench.value(&left).await, "-1 false ", "{version}");
        bench.login(&user).await.unwrap();
    }
}

#[tokio::test]
async fn another_admin_user_needs_one_statement_for_each_creator() {
    for version in versions() {
        let (theirs, role) = bench(version).await;
        let (ours, _) = bench(version).await;
        let user = unique("alice");
        theirs.reach(&enabled(&user, &[&role])).await;
        let Err(Failure::Error(error)) = ours.apply(&ended(&user, false)).await else {
            panic!("{version}: it worked")
        };
        assert_eq!(error.reason, Reason::MissingAdminOption, "{error}");
        let creator = holder(&theirs, &user).await;
        let creator = creator.trim_end_matches(":accounts");
        ours.sql(&format!("grant \"{creator}\" to {} with inherit false, set true", ours.admin)).await;
        ours.reach(&ended(&user, false)).await;
        assert!(theirs.login(&user).await.is_err());
        // They do not fight: each creates in its own.
        let (one, two) = (unique("bob"), unique("carol"));
        theirs.reach(&enabled(&one, &[])).await;
        ours.reach(&enabled(&two, &[])).await;
        assert_ne!(holder(&theirs, &one).await, holder(&theirs, &two).await, "{version}");
    }
}

#[tokio::test]
async fn two_operators_with_one_admin_user_share_creators() {
    let (bench, role) = bench(PgVersion::V17).await;
    let (one, two) = (small(&bench), small(&bench));
    for number in 0..6 {
        for (engine, uid) in [(&one, "uid-1"), (&two, "uid-2")] {
            let mut start = enabled(&unique("alice"), &[&role]);
            start.owner = owner(uid);
            apply(engine, &start).await.unwrap_or_else(|error| panic!("{number}, {uid}: {error:?}"));
            let mut end = ended(start.account.as_str(), true);
            end.owner = owner(uid);
            assert!(apply(engine, &end).await.unwrap().dropped);
        }
    }
}

#[tokio::test]
async fn a_creator_without_accounts_goes() {
    let (bench, role) = bench(PgVersion::V18).await;
    let users: Vec<String> = (0..8).map(|_| unique("alice")).collect();
    for user in &users {
        bench.reach(&enabled(user, &[&role])).await;
        bench.reach(&ended(user, true)).await;
    }
    let left: u32 = creators(&bench, "r.rolname like '%:accounts'").await.parse().unwrap();
    assert!(left <= 2, "{left} pairs are left of 4");
}

#[tokio::test]
async fn superusers_and_older_servers_have_no_creator_roles() {
    for (version, attributes) in [(PgVersion::V15, "createrole"), (PgVersion::V18, "superuser")] {
        let mut bench =
            Bench::on(rolecall_testbed::Postgres::shared(version).await.unwrap(), attributes).await;
        let role = bench.role("reader").await;
        bench.engine = small(&bench);
        for _ in 0..5 {
            bench.reach(&enabled(&unique("alice"), &[&role])).await;
        }
        assert_eq!(creators(&bench, "true").await, "0", "{version}");
    }
}
