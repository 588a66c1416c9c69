//! Permission sets: their members, and dropping them.

use futures::future::join_all;
use rolecall_engine::{CatalogQuery, Class, Reason, Want};

use super::desired::DesiredAccount;
use super::objects::{Set, Sort, expected};
use super::{Harness, Outcome, cases, check, check_eq};

cases![
    a_member_has_the_rights_and_nobody_else,
    a_live_member_gets_and_loses_sets,
    accounts_start_while_sets_are_synced,
    only_existing_sets_of_ours_are_granted,
    sets_are_listed,
    a_set_is_dropped_only_when_it_is_unused_and_ours,
    a_server_that_is_away_says_so_about_sets,
];

/// That the account is a member of these sets too, and has its session in that logical database.
fn with_sets(mut desired: DesiredAccount, database: &str, sets: &[&Set<'_>]) -> DesiredAccount {
    if let Want::Enabled(enabled) = &mut desired.0.want {
        enabled.sets = sets.iter().map(|set| set.role.clone()).collect();
        enabled.databases = [database.to_owned()].into();
    }
    desired
}

async fn a_member_has_the_rights_and_nobody_else(h: &dyn Harness) -> Outcome {
    let (objects, Sort { read, write, .. }) = (h.objects(), h.objects().sort());
    let (database, role) = (objects.database("shop").await, h.role("reader", None).await);
    for object in ["orders", "payments"] {
        objects.create(&database, object).await;
    }
    let (set, other) = (Set::new(h, &database), Set::new(h, &database));
    set.must(&[("orders", read)]).await?;
    other.must(&[]).await?;
    let [member, stranger] = [h.name("alice"), h.name("mallory")];
    let desired = with_sets(DesiredAccount::start(&member, &database)?.roles([&role]), &database, &[&set]);
    desired.must(h.engine()).await?;
    with_sets(DesiredAccount::start(&stranger, &database)?, &database, &[&other]).must(h.engine()).await?;
    for (user, object, privilege, expected) in [
        (&member, "orders", read, true),
        (&member, "orders", write, false),
        (&member, "payments", read, false),
        (&stranger, "orders", read, false),
    ] {
        check_eq!((object, objects.can(user, &database, object, privilege).await), (object, expected));
    }
    // Its members can use the new privileges at once.
    set.must(&[("orders", read), ("payments", read)]).await?;
    check!(objects.can(&member, &database, "payments", read).await, "{member}");
    desired.clone().end(false).must(h.engine()).await?;
    check!(!objects.can(&member, &database, "orders", read).await, "{member}");
    // Enabled again without the set, it has none of it.
    let without = with_sets(DesiredAccount::start(&member, &database)?, &database, &[&other]);
    without.must(h.engine()).await?;
    check!(!objects.can(&member, &database, "orders", read).await, "{member}");
    without.end(true).must(h.engine()).await?;
    check_eq!(set.privileges().await.len(), 2);
    Ok(())
}

async fn a_live_member_gets_and_loses_sets(h: &dyn Harness) -> Outcome {
    let (objects, Sort { read, .. }) = (h.objects(), h.objects().sort());
    let (database, user) = (objects.database("shop").await, h.name("alice"));
    for object in ["orders", "payments"] {
        objects.create(&database, object).await;
    }
    let (first, second) = (Set::new(h, &database), Set::new(h, &database));
    first.must(&[("orders", read)]).await?;
    second.must(&[("payments", read)]).await?;
    let desired = DesiredAccount::start(&user, &database)?;
    for (sets, orders, payments) in
        [(vec![&first], true, false), (vec![&first, &second], true, true), (vec![&second], false, true)]
    {
        let desired = with_sets(desired.clone(), &database, &sets);
        let desired = if sets.len() == 1 && orders { desired } else { desired.live() };
        desired.must(h.engine()).await?;
        check_eq!(
            [
                objects.can(&user, &database, "orders", read).await,
                objects.can(&user, &database, "payments", read).await
            ],
            [orders, payments]
        );
    }
    Ok(())
}

async fn accounts_start_while_sets_are_synced(h: &dyn Harness) -> Outcome {
    let (objects, Sort { read, write, .. }) = (h.objects(), h.objects().sort());
    let database = objects.database("shop").await;
    let names: Vec<String> = (0..20).map(|i| format!("object{i}")).collect();
    for name in &names {
        objects.create(&database, name).await;
    }
    let set = Set::new(h, &database);
    set.must(&[("object0", read)]).await?;
    let syncs = async {
        for round in 0..4 {
            let privilege = if round % 2 == 0 { write } else { read };
            let wanted: Vec<_> =
                names.iter().flat_map(|name| [(name.as_str(), read), (name.as_str(), privilege)]).collect();
            set.must(&wanted).await?;
        }
        Ok::<(), String>(())
    };
    let starts = (0..16).map(async |_| {
        let desired = with_sets(DesiredAccount::start(&h.name("crowd"), &database)?, &database, &[&set]);
        desired.must(h.engine()).await?;
        desired.end(true).must(h.engine()).await.map(drop)
    });
    let (synced, started) = futures::join!(syncs, join_all(starts));
    synced?;
    started.into_iter().collect()
}

async fn only_existing_sets_of_ours_are_granted(h: &dyn Harness) -> Outcome {
    let (database, user) = (h.objects().database("shop").await, h.name("alice"));
    let set = Set { uid: "them", ..Set::new(h, &database) };
    let desired = with_sets(DesiredAccount::start(&user, &database)?, &database, &[&set]);
    check_eq!(desired.clone().reason(h.engine()).await?, Reason::DbRoleNotFound);
    set.must(&[]).await?;
    check_eq!(desired.reason(h.engine()).await?, Reason::DbRoleNotGrantable);
    check!(h.user_state(&user).await.is_none(), "{user}");
    Ok(())
}

async fn sets_are_listed(h: &dyn Harness) -> Outcome {
    let database = h.objects().database("shop").await;
    let [used, unused] = [Set::new(h, &database), Set::new(h, &database)];
    for set in [&used, &unused] {
        set.must(&[]).await?;
    }
    for user in [h.name("alice"), h.name("bob")] {
        with_sets(DesiredAccount::start(&user, &database)?, &database, &[&used]).must(h.engine()).await?;
    }
    let listed = h.engine().list_sets().await.map_err(|error| error.to_string())?;
    let found = |set: &Set<'_>| {
        let entry = listed.iter().find(|entry| entry.role == set.role);
        entry.map(|entry| (entry.record.clone(), entry.members))
    };
    check_eq!(found(&used), Some((Some(used.record()), 2)));
    check_eq!(found(&unused), Some((Some(unused.record()), 0)));
    Ok(())
}

async fn a_set_is_dropped_only_when_it_is_unused_and_ours(h: &dyn Harness) -> Outcome {
    let (objects, Sort { read, .. }) = (h.objects(), h.objects().sort());
    let database = objects.database("shop").await;
    objects.create(&database, "orders").await;
    let set = Set::new(h, &database);
    set.must(&[("orders", read)]).await?;
    let desired = with_sets(DesiredAccount::start(&h.name("alice"), &database)?, &database, &[&set]);
    desired.must(h.engine()).await?;
    let drop = async |role: &str, uid: &str| {
        let applied = h.engine().drop_set(role, uid).await.map_err(|error| error.to_string())?;
        check!(applied.dropped != applied.kept_because.is_some(), "{applied:?}");
        Ok::<bool, String>(applied.dropped)
    };
    check!(!drop(&set.role, "us").await?, "it has a member");
    check!(objects.can(desired.0.account.as_str(), &database, "orders", read).await, "nothing was taken");
    desired.end(true).must(h.engine()).await?;
    check!(!drop(&set.role, "them").await?, "it is ours");
    check_eq!(set.privileges().await, expected(&[("orders", read)]));
    check!(drop(&set.role, "us").await? && drop(&set.role, "us").await?, "{}", set.role);
    check!(!set.read().await?.sets.contains_key(&set.role), "{}", set.role);
    let role = h.role("reader", None).await;
    check!(!drop(&role, "us").await? && h.role_exists(&role).await, "{role} is no set");
    Ok(())
}

async fn a_server_that_is_away_says_so_about_sets(h: &dyn Harness) -> Outcome {
    let (away, database) = (h.unreachable(), h.objects().database("shop").await);
    let set = Set::new(h, &database);
    let catalog = set.read().await?;
    let query = CatalogQuery { database, sets: Default::default() };
    let errors = [
        away.read_objects(&query).await.err(),
        away.sync_sets(&[set.desired(&catalog, &[])], &catalog).await.err(),
        away.list_sets().await.err(),
        away.drop_set(&set.role, "us").await.err(),
    ];
    for error in errors {
        let Some(error) = error else { return Err("it answers".to_owned()) };
        check_eq!((error.class, error.reason), (Class::Unreachable, Reason::DatabaseUnreachable));
    }
    Ok(())
}
