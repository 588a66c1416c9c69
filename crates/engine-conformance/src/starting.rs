//! How accounts start.

use std::collections::BTreeSet;

use futures::future::join_all;
use rolecall_engine::{Class, Plan, Reason};

use super::desired::{DesiredAccount, closed, owner, seen, working};
use super::{Harness, Outcome, State, Trace, cases, check, check_eq};

cases![
    a_new_account_has_exactly_its_roles,
    a_new_account_needs_no_role,
    starting_twice_changes_nothing,
    a_kept_account_is_reset,
    what_is_left_over_and_open_is_closed_first,
    an_unmanaged_user_is_never_touched,
    the_admin_user_is_no_account,
    an_account_in_use_elsewhere_is_left_alone,
    an_account_that_a_predecessor_left_is_closed_and_taken_over,
    whose_an_account_is_has_to_be_certain,
    an_idle_account_is_taken_over,
    a_managed_account_without_record_is_taken_over,
    what_was_taken_over_meanwhile_is_noticed,
    what_was_created_meanwhile_is_noticed,
    a_missing_role_leaves_nothing_behind,
    a_missing_role_is_created_where_that_is_wanted,
    a_role_that_may_not_be_granted_is_named,
    roles_with_attributes_are_for_those_named_literally,
    leftovers_keep_it_from_starting,
    rights_of_its_own_are_revoked_or_at_least_no_hindrance,
    any_name_works,
    many_start_at_once,
    one_account_started_twice_at_once_starts_once,
];

async fn a_new_account_has_exactly_its_roles(h: &dyn Harness) -> Outcome {
    let (user, reader, writer) =
        (h.name("alice"), h.role("reader", None).await, h.role("writer", None).await);
    let desired = DesiredAccount::start(&user, &h.database())?.roles([&writer, &reader]);
    let applied = desired.must(h.engine()).await?;
    check!(!applied.dropped && applied.kept_because.is_none() && applied.leftovers.is_empty(), "{applied:?}");
    check_eq!(seen(h, &user).await?, working([&reader, &writer]));
    check!(h.log_in(&user).await, "{user}");
    Ok(())
}

async fn a_new_account_needs_no_role(h: &dyn Harness) -> Outcome {
    let user = h.name("bare");
    DesiredAccount::start(&user, &h.database())?.must(h.engine()).await?;
    check_eq!(seen(h, &user).await?, working::<&str>([]));
    Ok(())
}

async fn starting_twice_changes_nothing(h: &dyn Harness) -> Outcome {
    let (user, reader) = (h.name("alice"), h.role("reader", None).await);
    let desired = DesiredAccount::start(&user, &h.database())?.roles([&reader]);
    desired.must(h.engine()).await?;
    check!(h.log_in(&user).await, "{user}");
    let plan = desired.live().plan(h.engine()).await?;
    check!(plan.is_nothing(), "{plan}");
    check_eq!(seen(h, &user).await?.backends, 1);
    Ok(())
}

async fn a_kept_account_is_reset(h: &dyn Harness) -> Outcome {
    let (user, old, new) = (h.name("kept"), h.role("old", None).await, h.role("new", None).await);
    let desired = DesiredAccount::start(&user, &h.database())?;
    desired.clone().roles([&old]).must(h.engine()).await?;
    desired.clone().end(false).must(h.engine()).await?;
    for trace in [
        Trace::Setting { in_database: false },
        Trace::Setting { in_database: true },
        Trace::Password,
        Trace::Limit,
    ] {
        h.leave(&user, &trace).await;
    }
    desired.roles([&new]).must(h.engine()).await?;
    check_eq!(seen(h, &user).await?, working([&new]));
    Ok(())
}

async fn what_is_left_over_and_open_is_closed_first(h: &dyn Harness) -> Outcome {
    let (user, reader) = (h.name("open"), h.role("reader", None).await);
    h.put(&user, &State { backends: 2, ..working([&reader]) }).await;
    // Our own record, no live session: whatever is inside does not belong there.
    DesiredAccount::start(&user, &h.database())?.roles([&reader]).must(h.engine()).await?;
    check_eq!(seen(h, &user).await?, working([&reader]));
    Ok(())
}

async fn an_unmanaged_user_is_never_touched(h: &dyn Harness) -> Outcome {
    let (user, reader) = (h.name("dba"), h.role("reader", None).await);
    let before = State { login: true, memberships: BTreeSet::from([reader.clone()]), ..State::default() };
    h.put(&user, &before).await;
    let desired = DesiredAccount::start(&user, &h.database())?.roles([&reader]);
    check_eq!(desired.reason(h.engine()).await?, Reason::UserConflict);
    let plan = desired.clone().end(true).plan(h.engine()).await?;
    check!(plan.is_nothing(), "{plan}");
    // Not even by a plan that was made when it was managed.
    let gone = h.name("gone");
    start_with_role(h, &gone).await?;
    let plans = [
        rename(DesiredAccount::start(&gone, &h.database())?.plan(h.engine()).await?, &user),
        rename(DesiredAccount::start(&gone, &h.database())?.end(true).plan(h.engine()).await?, &user),
    ];
    for plan in plans {
        // Some servers do not even let the admin user try.
        check!(h.engine().apply(&plan).await.is_err(), "it was carried out: {plan}");
    }
    check_eq!(seen(h, &user).await?, before);
    Ok(())
}

async fn the_admin_user_is_no_account(h: &dyn Harness) -> Outcome {
    let observed = h.engine().observe(&DesiredAccount::start(&h.name("x"), &h.database())?.0.query()).await;
    let admin = observed.map_err(|error| error.to_string())?.admin_user;
    let desired = DesiredAccount::start(&admin, &h.database())?;
    check_eq!(desired.reason(h.engine()).await?, Reason::InvalidUsername);
    let plan = desired.end(true).plan(h.engine()).await?;
    check!(plan.is_nothing(), "{plan}");
    Ok(())
}

/// Starts an account.
async fn start_with_role(h: &dyn Harness, user: &str) -> Outcome {
    DesiredAccount::start(user, &h.database())?.must(h.engine()).await.map(drop)
}

/// The same plan for another account.
fn rename(plan: Plan, user: &str) -> Plan {
    let Ok(account) = rolecall_engine::AccountName::new(user) else { return plan };
    match plan {
        Plan::Activate(plan) => Plan::Activate(rolecall_engine::plan::Activate { account, ..plan }),
        Plan::Adjust(plan) => Plan::Adjust(rolecall_engine::plan::Adjust { account, ..plan }),
        Plan::End(plan) => Plan::End(rolecall_engine::plan::End { account, ..plan }),
        Plan::Nothing => Plan::Nothing,
    }
}

async fn an_account_in_use_elsewhere_is_left_alone(h: &dyn Harness) -> Outcome {
    let reader = h.role("reader", None).await;
    let enabled = State { owner: Some(owner("them")), ..working([&reader]) };
    let busy = State { login: false, backends: 1, ..enabled.clone() };
    for before in [enabled, busy] {
        let user = h.name("theirs");
        h.put(&user, &before).await;
        let desired = DesiredAccount::start(&user, &h.database())?;
        check_eq!(desired.reason(h.engine()).await?, Reason::AccountInUse);
        check_eq!(desired.clone().live().reason(h.engine()).await?, Reason::AccountInUse);
        let plan = desired.end(true).plan(h.engine()).await?;
        check!(plan.is_nothing(), "{plan}");
        check_eq!(seen(h, &user).await?, before);
    }
    Ok(())
}

/// The DatabaseAdmin was created again from the same manifests, without a teardown before.
async fn an_account_that_a_predecessor_left_is_closed_and_taken_over(h: &dyn Harness) -> Outcome {
    let (reader, old) = (h.role("reader", None).await, h.role("old", None).await);
    let left = State { owner: Some(predecessor()), ..working([&old]) };
    let user = h.name("rebuilt");
    h.put(&user, &left).await;
    DesiredAccount::start(&user, &h.database())?.roles([&reader]).must(h.engine()).await?;
    check_eq!(seen(h, &user).await?, working([&reader]));
    for drop in [false, true] {
        let user = h.name("ended");
        h.put(&user, &left).await;
        DesiredAccount::start(&user, &h.database())?.end(drop).must(h.engine()).await?;
        let seen = h.user_state(&user).await;
        match seen {
            None => check!(drop, "it is gone"),
            Some(seen) => check_eq!((drop, seen), (false, closed())),
        }
    }
    Ok(())
}

async fn whose_an_account_is_has_to_be_certain(h: &dyn Harness) -> Outcome {
    let reader = h.role("reader", None).await;
    for cluster in ["", "unnamed:1", "green"] {
        // A uid belongs to one cluster.
        let uid = format!("before us in {cluster:?}");
        let owner = rolecall_engine::Owner { uid, cluster: cluster.to_owned(), ..predecessor() };
        let before = State { owner: Some(owner), ..working([&reader]) };
        let user = h.name("unclear");
        h.put(&user, &before).await;
        let desired = DesiredAccount::start(&user, &h.database())?;
        check_eq!(desired.reason(h.engine()).await?, Reason::AccountInUse);
        let end = desired.end(true);
        let plan = end.plan(h.engine()).await?;
        check!(plan.is_nothing(), "{plan}");
        check_eq!(seen(h, &user).await?, before);
        // Nor is an access said to be over that may be the one which is there.
        let observed = h.engine().observe(&end.0.query()).await.map_err(|error| error.to_string())?;
        let is_open = rolecall_engine::plan::check_ended(&end.0, &observed, true).is_err();
        check_eq!((cluster, is_open), (cluster, cluster != "green"));
    }
    Ok(())
}

fn predecessor() -> rolecall_engine::Owner {
    rolecall_engine::Owner { uid: "before us".to_owned(), ..owner("us") }
}

async fn an_idle_account_is_taken_over(h: &dyn Harness) -> Outcome {
    let (user, reader) = (h.name("idle"), h.role("reader", None).await);
    h.put(&user, &State { owner: Some(owner("them")), ..closed() }).await;
    DesiredAccount::start(&user, &h.database())?.roles([&reader]).must(h.engine()).await?;
    check_eq!(seen(h, &user).await?, working([&reader]));
    let plan = DesiredAccount::start(&user, &h.database())?.of("them").end(true).plan(h.engine()).await?;
    check!(plan.is_nothing(), "{plan}");
    Ok(())
}

async fn a_managed_account_without_record_is_taken_over(h: &dyn Harness) -> Outcome {
    let (user, reader, old) = (h.name("alien"), h.role("reader", None).await, h.role("old", None).await);
    // As Teleport leaves it when a teardown failed: enabled, with roles, and nobody inside.
    h.put(&user, &State { owner: None, ..working([&old]) }).await;
    let desired = DesiredAccount::start(&user, &h.database())?.roles([&reader]);
    desired.must(h.engine()).await?;
    let seen = seen(h, &user).await?;
    check!(seen.login && seen.memberships.contains(&reader) && seen.owner == Some(owner("us")), "{seen:?}");
    Ok(())
}

async fn what_was_taken_over_meanwhile_is_noticed(h: &dyn Harness) -> Outcome {
    let user = h.name("raced");
    h.put(&user, &closed()).await;
    let ours = DesiredAccount::start(&user, &h.database())?;
    let plan = ours.plan(h.engine()).await?;
    let end = {
        h.put(&user, &State { login: true, ..closed() }).await;
        ours.clone().end(true).plan(h.engine()).await?
    };
    let theirs = State { owner: Some(owner("them")), ..working::<&str>([]) };
    h.put(&user, &theirs).await;
    for plan in [plan, end] {
        let Err(error) = h.engine().apply(&plan).await else {
            return Err(format!("it was carried out: {plan}"));
        };
        check_eq!((error.class, error.reason), (Class::Transient, Reason::AccountInUse));
    }
    check_eq!(seen(h, &user).await?, theirs);
    Ok(())
}

async fn what_was_created_meanwhile_is_noticed(h: &dyn Harness) -> Outcome {
    let user = h.name("raced");
    let plan = DesiredAccount::start(&user, &h.database())?.plan(h.engine()).await?;
    let by_hand = State { login: true, ..State::default() };
    h.put(&user, &by_hand).await;
    let Err(error) = h.engine().apply(&plan).await else { return Err("it was carried out".to_owned()) };
    check_eq!(error.class, Class::Transient);
    check_eq!(seen(h, &user).await?, by_hand);
    Ok(())
}

async fn a_missing_role_leaves_nothing_behind(h: &dyn Harness) -> Outcome {
    let (user, reader, ghost) = (h.name("alice"), h.role("reader", None).await, h.missing_role("ghost"));
    let desired = DesiredAccount::start(&user, &h.database())?.roles([&reader, &ghost]);
    check_eq!(desired.reason(h.engine()).await?, Reason::DbRoleNotFound);
    check!(h.user_state(&user).await.is_none(), "{user}");
    // And where the role is dropped between reading and changing.
    let plan = desired.clone().creating_roles().plan(h.engine()).await?;
    let Plan::Activate(mut plan) = plan else { return Err(format!("{plan}")) };
    plan.create_roles.clear();
    let Err(error) = h.engine().apply(&Plan::Activate(plan)).await else {
        return Err("it was carried out".to_owned());
    };
    check_eq!((error.class, error.reason), (Class::Refused, Reason::DbRoleNotFound));
    check!(h.user_state(&user).await.is_none(), "{user}");
    Ok(())
}

async fn a_missing_role_is_created_where_that_is_wanted(h: &dyn Harness) -> Outcome {
    let (user, ghost) = (h.name("alice"), h.missing_role("Ghost \"1\""));
    let desired = DesiredAccount::start(&user, &h.database())?.roles([&ghost]).creating_roles();
    if !h.creates_roles() {
        check_eq!(desired.reason(h.engine()).await?, Reason::DbRoleNotFound);
        return Ok(());
    }
    desired.must(h.engine()).await?;
    check!(h.role_exists(&ghost).await, "{ghost}");
    check_eq!(seen(h, &user).await?, working([&ghost]));
    check!(!h.log_in(&ghost).await, "{ghost}");
    Ok(())
}

async fn a_role_that_may_not_be_granted_is_named(h: &dyn Harness) -> Outcome {
    let user = h.name("alice");
    let Some(role) = h.foreign_role("theirs").await else { return Ok(()) };
    let desired = DesiredAccount::start(&user, &h.database())?.roles([&role]);
    check_eq!(desired.reason(h.engine()).await?, h.engine().dialect().not_grantable(&role, "admin").0);
    check!(h.user_state(&user).await.is_none(), "{user}");
    Ok(())
}

async fn roles_with_attributes_are_for_those_named_literally(h: &dyn Harness) -> Outcome {
    let (user, powerful) = (h.name("alice"), h.role("powerful", Some("CREATEROLE")).await);
    let desired = DesiredAccount::start(&user, &h.database())?.roles([&powerful]);
    check_eq!(desired.reason(h.engine()).await?, Reason::DbRoleNotGrantable);
    desired.literally().must(h.engine()).await?;
    check_eq!(seen(h, &user).await?, working([&powerful]));
    // A managed account is no role, however it is named.
    let other = h.name("bob");
    let Some(user) = h.role_of(&user) else { return Ok(()) };
    let desired = DesiredAccount::start(&other, &h.database())?.roles([&user]).literally();
    check_eq!(desired.reason(h.engine()).await?, Reason::DbRoleNotGrantable);
    Ok(())
}

async fn leftovers_keep_it_from_starting(h: &dyn Harness) -> Outcome {
    let role = h.role("stale", None).await;
    for trace in [Trace::Membership(role), Trace::Member, Trace::Attribute, Trace::Prepared] {
        let user = h.name("left");
        h.put(&user, &working::<&str>([])).await;
        if !h.leave(&user, &trace).await {
            continue;
        }
        let desired = DesiredAccount::start(&user, &h.database())?;
        check_eq!((&trace, desired.reason(h.engine()).await?), (&trace, Reason::LeftoverMembership));
        // It does not delay an end, but is reported.
        let applied = desired.clone().end(false).must(h.engine()).await?;
        check!(!applied.leftovers.is_empty(), "{trace:?}: {applied:?}");
        check!(!seen(h, &user).await?.login, "{trace:?}");
        check_eq!((&trace, desired.reason(h.engine()).await?), (&trace, Reason::LeftoverMembership));
    }
    Ok(())
}

async fn rights_of_its_own_are_revoked_or_at_least_no_hindrance(h: &dyn Harness) -> Outcome {
    let user = h.name("direct");
    h.put(&user, &closed()).await;
    if !h.leave(&user, &Trace::Right).await {
        return Ok(());
    }
    let desired = DesiredAccount::start(&user, &h.database())?;
    desired.must(h.engine()).await?;
    check_eq!(seen(h, &user).await?, working::<&str>([]));
    let applied = desired.end(true).must(h.engine()).await?;
    check!(applied.dropped, "{applied:?}");
    Ok(())
}

async fn any_name_works(h: &dyn Harness) -> Outcome {
    let role = h.role("Röle 'x' \"y\" $1 %s \\", None).await;
    for base in [
        "alice@example.com",
        "Upper Case",
        "it's",
        "say \"hi\"",
        "back\\slash",
        "100% $1 $$ $rolecall$ {}",
        "--; DROP ROLE postgres",
        "ünïcödé",
        "🦀🦀",
        "remote-bob-leaf.example.org",
    ] {
        let user = h.name(base);
        let desired = DesiredAccount::start(&user, &h.database())?.roles([&role]);
        if !h.takes_name(&user) {
            check_eq!((&user, desired.reason(h.engine()).await?), (&user, Reason::InvalidUsername));
            continue;
        }
        desired.must(h.engine()).await?;
        check_eq!(seen(h, &user).await?, working([&role]));
        check!(h.log_in(&user).await, "{user}");
        desired.clone().end(false).must(h.engine()).await?;
        check_eq!(seen(h, &user).await?, closed());
        desired.must(h.engine()).await?;
        let applied = desired.end(true).must(h.engine()).await?;
        check!(applied.dropped && h.user_state(&user).await.is_none(), "{user}: {applied:?}");
    }
    let (name, most) = (h.name("x"), h.longest_name());
    let longest = format!("{name}{}", "x".repeat(most - name.len()));
    DesiredAccount::start(&longest, &h.database())?.must(h.engine()).await?;
    check!(h.user_state(&longest).await.is_some(), "{longest}");
    let longer = match DesiredAccount::start(&format!("{longest}x"), &h.database()) {
        Ok(desired) => Some(desired.reason(h.engine()).await?),
        Err(_) => None,
    };
    check!(longer.is_none_or(|reason| reason == Reason::InvalidUsername), "{longer:?}");
    Ok(())
}

async fn many_start_at_once(h: &dyn Harness) -> Outcome {
    let roles = [h.role("one", None).await, h.role("two", None).await, h.role("three", None).await];
    let users: Vec<String> = (0..25).map(|_| h.name("crowd")).collect();
    let starts = users.iter().enumerate().map(async |(i, user)| {
        let roles = roles.iter().cycle().skip(i % 3).take(2);
        DesiredAccount::start(user, &h.database())?.roles(roles).must(h.engine()).await
    });
    for result in join_all(starts).await {
        result?;
    }
    for (i, user) in users.iter().enumerate() {
        check_eq!(seen(h, user).await?, working(roles.iter().cycle().skip(i % 3).take(2)));
    }
    let ends = users
        .iter()
        .map(async |user| DesiredAccount::start(user, &h.database())?.end(true).must(h.engine()).await);
    for result in join_all(ends).await {
        check!(result?.dropped, "dropped");
    }
    Ok(())
}

async fn one_account_started_twice_at_once_starts_once(h: &dyn Harness) -> Outcome {
    let (user, reader) = (h.name("twice"), h.role("reader", None).await);
    let desired = DesiredAccount::start(&user, &h.database())?.roles([&reader]);
    let both = join_all([desired.bring(h.engine()), desired.bring(h.engine())]).await;
    check!(both.iter().any(Result::is_ok), "{both:?}");
    check_eq!(seen(h, &user).await?, working([&reader]));
    let plan = desired.live().plan(h.engine()).await?;
    check!(plan.is_nothing(), "{plan}");
    Ok(())
}
