//! What is read.

use std::collections::BTreeSet;

use futures::future::join_all;
use rolecall_engine::{AccountName, Dialect, Needs, Query, Reason};

use super::desired::{DesiredAccount, closed, owner, working};
use super::{Harness, Outcome, State, cases, check, check_eq};

cases![
    what_is_not_there_is_no_error,
    impossible_names_are_not_there,
    everybody_who_reads_at_once_gets_their_own,
    logical_databases_and_who_may_connect,
    the_inventory_lists_managed_accounts,
    a_preflight_reports_what_the_server_is,
    idle_connections_are_given_up_and_come_back,
];

async fn what_is_not_there_is_no_error(h: &dyn Harness) -> Outcome {
    let (ghost, role, database) = (h.name("ghost"), h.missing_role("role"), h.missing_database());
    let query = Query {
        account: AccountName::new(&ghost).map_err(|refusal| refusal.to_string())?,
        owner_uid: "us".to_owned(),
        session_database: Some(h.database()),
        sets: Default::default(),
        roles: BTreeSet::from([role]),
        databases: BTreeSet::from([database]),
        to_end: false,
    };
    let observed = h.engine().observe(&query).await.map_err(|error| error.to_string())?;
    check!(observed.account.is_none(), "{observed:?}");
    // A role that the admin user may not read is assumed to exist.
    check!(observed.roles.values().all(|role| role.unseen) || !h.creates_roles(), "{observed:?}");
    check!(observed.databases.is_empty(), "{observed:?}");
    check!(!observed.admin_user.is_empty(), "{observed:?}");
    Ok(())
}

async fn impossible_names_are_not_there(h: &dyn Harness) -> Outcome {
    let (user, reader) = (h.name("alice"), h.role("reader", None).await);
    // Cut off after 63 or 127 bytes, this would be a role that exists.
    let long = format!("{reader}{}", "x".repeat(128));
    let desired = DesiredAccount::start(&user, &h.database())?;
    for role in [long.as_str(), "nul\0", ""] {
        let desired = desired.clone().roles([&reader, role]).creating_roles();
        check_eq!((role, desired.reason(h.engine()).await?), (role, Reason::DbRoleInvalid));
    }
    for database in [long.as_str(), "nul\0", ""] {
        let mut desired = desired.clone();
        if let rolecall_engine::Want::Enabled(enabled) = &mut desired.0.want {
            enabled.databases = BTreeSet::from([database.to_owned()]);
        }
        check_eq!((database, desired.reason(h.engine()).await?), (database, Reason::DatabaseNameNotFound));
    }
    check!(h.user_state(&user).await.is_none(), "{user}");
    Ok(())
}

async fn everybody_who_reads_at_once_gets_their_own(h: &dyn Harness) -> Outcome {
    let users: Vec<String> = (0..30).map(|_| h.name("reader")).collect();
    let roles = [h.role("one", None).await, h.role("two", None).await];
    for (i, user) in users.iter().enumerate().filter(|(i, _)| i % 3 > 0) {
        h.put(user, &working([&roles[i % 2]])).await;
    }
    let reads = users.iter().enumerate().map(async |(i, user)| {
        let desired = DesiredAccount::start(user, &h.database())?.roles([&roles[i % 2]]);
        let observed = h.engine().observe(&desired.0.query()).await.map_err(|error| error.to_string())?;
        check_eq!(observed.roles.keys().collect::<Vec<_>>(), [&roles[i % 2]]);
        match observed.account {
            None => check_eq!(i % 3, 0),
            Some(account) => {
                check!(account.managed && account.enabled && i % 3 > 0, "{user}: {account:?}");
                check_eq!(account.memberships.iter().map(|m| &m.role).collect::<Vec<_>>(), [&roles[i % 2]]);
            }
        }
        Ok(())
    });
    join_all(reads).await.into_iter().collect()
}

async fn logical_databases_and_who_may_connect(h: &dyn Harness) -> Outcome {
    let (user, reader, other) = (h.name("alice"), h.role("reader", None).await, h.role("other", None).await);
    let Some(database) = h.closed_database("closed", Some(&reader)).await else { return Ok(()) };
    let desired = DesiredAccount::start(&user, &database)?;
    check_eq!(desired.clone().roles([&other]).reason(h.engine()).await?, Reason::MissingConnect);
    check!(h.user_state(&user).await.is_none(), "{user}");
    desired.clone().roles([&reader]).must(h.engine()).await?;
    desired.end(true).must(h.engine()).await?;
    let Some(nobody) = h.closed_database("nobody", None).await else { return Ok(()) };
    let desired = DesiredAccount::start(&user, &nobody)?.roles([&reader]);
    check_eq!(desired.reason(h.engine()).await?, Reason::MissingConnect);
    Ok(())
}

async fn the_inventory_lists_managed_accounts(h: &dyn Harness) -> Outcome {
    let [ours, theirs, alien, by_hand] = ["ours", "theirs", "alien", "hand"].map(|base| h.name(base));
    let role = h.role("reader", None).await;
    DesiredAccount::start(&ours, &h.database())?.roles([&role]).must(h.engine()).await?;
    check!(h.log_in(&ours).await, "{ours}");
    h.put(&theirs, &State { owner: Some(owner("them")), ..closed() }).await;
    h.put(&alien, &State { owner: None, ..closed() }).await;
    h.put(&by_hand, &State { login: true, ..State::default() }).await;
    let inventory = h.engine().inventory().await.map_err(|error| error.to_string())?;
    let find = |name: &str| inventory.accounts.iter().find(|entry| entry.account.as_str() == name).cloned();
    let entry = |name: &str| find(name).map(|entry| (entry.owner, entry.enabled, entry.backends));
    check_eq!(entry(&ours), Some((Some(owner("us")), true, 1)));
    check_eq!(entry(&theirs), Some((Some(owner("them")), false, 0)));
    check_eq!(entry(&alien), Some((None, false, 0)));
    check_eq!(entry(&by_hand), None);
    check_eq!(find(&ours).map(|entry| entry.memberships), Some(BTreeSet::from([role])));
    check_eq!(find(&theirs).map(|entry| entry.memberships), Some(BTreeSet::new()));
    Ok(())
}

async fn a_preflight_reports_what_the_server_is(h: &dyn Harness) -> Outcome {
    let reader = h.role("reader", None).await;
    let mut needs =
        Needs { roles: BTreeSet::from([reader]), databases: [h.database()].into(), ..Needs::default() };
    let preflight = h.engine().preflight(&needs).await.map_err(|error| error.to_string())?;
    check!(!preflight.version.is_empty() && !preflight.identity.is_empty(), "{preflight:?}");
    check!(preflight.findings.iter().all(|finding| finding.reason == Reason::PublicConnect), "{preflight:?}");
    let Some(role) = h.foreign_role("theirs").await else { return Ok(()) };
    needs.roles.insert(role.clone());
    let preflight = h.engine().preflight(&needs).await.map_err(|error| error.to_string())?;
    let (reason, text) = match h.engine().dialect() {
        Dialect::PostgreSql | Dialect::Redshift => (Reason::MissingAdminOption, "WITH ADMIN OPTION"),
        Dialect::MongoDb => (Reason::MissingMongoPrivileges, "grantPrivilegesToRole"),
    };
    let found = preflight.findings.iter().find(|finding| finding.reason == reason);
    check!(
        found.is_some_and(|finding| finding.object == role && finding.message.contains(text)),
        "{preflight:?}"
    );
    Ok(())
}

async fn idle_connections_are_given_up_and_come_back(h: &dyn Harness) -> Outcome {
    let desired = DesiredAccount::start(&h.name("alice"), &h.database())?;
    desired.must(h.engine()).await?;
    h.engine().close().await;
    desired.end(true).must(h.engine()).await?;
    Ok(())
}
