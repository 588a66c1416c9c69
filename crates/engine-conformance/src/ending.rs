//! How accounts end.

use futures::future::join_all;
use rolecall_engine::{Class, Reason, plan};

use super::desired::{DesiredAccount, closed, owner, seen, working};
use super::{Harness, Outcome, State, Trace, cases, check, check_eq};

cases![
    an_end_takes_everything_and_keeps_the_account,
    an_end_drops_where_that_is_wanted,
    what_is_ended_stays_ended,
    what_has_gone_has_ended,
    what_has_gone_meanwhile_is_noticed,
    what_owns_something_is_kept_and_closed,
    what_owns_something_is_dropped_where_somebody_else_gets_it,
    what_nobody_else_can_get_keeps_the_account,
    a_right_in_another_database_is_no_hindrance,
    a_prepared_transaction_keeps_the_account,
    an_end_reports_what_it_cannot_revoke,
    another_owners_account_is_not_ended,
    what_lost_its_record_is_not_over_while_it_can_be_used,
    a_session_database_that_is_gone_delays_nothing,
    many_end_at_once,
    an_unreachable_server_is_distinguished_from_one_that_refuses,
];

async fn an_end_takes_everything_and_keeps_the_account(h: &dyn Harness) -> Outcome {
    let (user, reader, writer) =
        (h.name("alice"), h.role("reader", None).await, h.role("writer", None).await);
    let desired = DesiredAccount::start(&user, &h.database())?.roles([&reader]);
    desired.must(h.engine()).await?;
    check!(h.log_in(&user).await && h.log_in(&user).await, "{user}");
    // What happened since: a role that policy knows nothing of, and what the user can do for itself.
    h.put(&user, &State { backends: 2, ..working([&reader, &writer]) }).await;
    for trace in [
        Trace::Setting { in_database: false },
        Trace::Setting { in_database: true },
        Trace::Password,
        Trace::Limit,
    ] {
        h.leave(&user, &trace).await;
    }
    let applied = desired.end(false).must(h.engine()).await?;
    check_eq!((applied.dropped, &applied.kept_because), (false, &None));
    let seen = seen(h, &user).await?;
    check!(seen.memberships.is_empty() || !applied.leftovers.is_empty(), "{seen:?}, {applied:?}");
    check_eq!(State { memberships: closed().memberships, ..seen }, closed());
    check!(!h.log_in(&user).await, "{user}");
    Ok(())
}

async fn an_end_drops_where_that_is_wanted(h: &dyn Harness) -> Outcome {
    let (user, reader) = (h.name("alice"), h.role("reader", None).await);
    let desired = DesiredAccount::start(&user, &h.database())?.roles([&reader]);
    desired.must(h.engine()).await?;
    check!(h.log_in(&user).await, "{user}");
    let applied = desired.end(true).must(h.engine()).await?;
    check!(applied.dropped, "{applied:?}");
    check!(h.user_state(&user).await.is_none(), "{user}");
    check!(h.role_exists(&reader).await, "{reader}");
    Ok(())
}

async fn what_is_ended_stays_ended(h: &dyn Harness) -> Outcome {
    let user = h.name("alice");
    let desired = DesiredAccount::start(&user, &h.database())?;
    desired.must(h.engine()).await?;
    desired.clone().end(false).must(h.engine()).await?;
    let plan = desired.clone().end(false).plan(h.engine()).await?;
    check!(plan.is_nothing(), "{plan}");
    // Kept at first, to be dropped now.
    let applied = desired.end(true).must(h.engine()).await?;
    check!(applied.dropped && h.user_state(&user).await.is_none(), "{applied:?}");
    Ok(())
}

async fn what_has_gone_has_ended(h: &dyn Harness) -> Outcome {
    let desired = DesiredAccount::start(&h.name("nobody"), &h.database())?;
    for drop in [false, true] {
        let plan = desired.clone().end(drop).plan(h.engine()).await?;
        check!(plan.is_nothing(), "{plan}");
    }
    Ok(())
}

async fn what_has_gone_meanwhile_is_noticed(h: &dyn Harness) -> Outcome {
    let (user, role) = (h.name("gone"), h.role("reader", None).await);
    let desired = DesiredAccount::start(&user, &h.database())?.roles([&role]);
    desired.must(h.engine()).await?;
    let adjust = desired.clone().roles::<&str>([]).live().plan(h.engine()).await?;
    let restart = desired.plan(h.engine()).await?;
    let end = desired.clone().end(true).plan(h.engine()).await?;
    desired.end(true).must(h.engine()).await?;
    for plan in [adjust, restart, end] {
        let Err(error) = h.engine().apply(&plan).await else {
            return Err(format!("it was carried out: {plan}"));
        };
        check_eq!((error.class, error.reason), (Class::Transient, Reason::AccountInUse));
    }
    check!(h.user_state(&user).await.is_none(), "{user}");
    Ok(())
}

async fn what_owns_something_is_kept_and_closed(h: &dyn Harness) -> Outcome {
    let (user, reader) = (h.name("owner"), h.role("reader", None).await);
    let desired = DesiredAccount::start(&user, &h.database())?.roles([&reader]);
    desired.must(h.engine()).await?;
    if !h.leave(&user, &Trace::OwnedObject).await {
        return Ok(());
    }
    let applied = desired.clone().end(true).must(h.engine()).await?;
    check!(!applied.dropped, "{applied:?}");
    let Some(why) = applied.kept_because else { return Err("nothing says why".to_owned()) };
    check!(!why.is_empty(), "{why}");
    check_eq!(seen(h, &user).await?, closed());
    // It is no hindrance for the next session.
    desired.must(h.engine()).await?;
    check_eq!(seen(h, &user).await?, working([&reader]));
    Ok(())
}

async fn what_owns_something_is_dropped_where_somebody_else_gets_it(h: &dyn Harness) -> Outcome {
    let (user, reader) = (h.name("owner"), h.role("reader", None).await);
    let Some(heir) = h.new_owner("heir").await else { return Ok(()) };
    let desired = DesiredAccount::start(&user, &h.database())?.roles([&reader]);
    desired.must(h.engine()).await?;
    // Where nothing is owned there is nothing to give.
    let applied = desired.clone().end_giving_to(&heir).must(h.engine()).await?;
    check_eq!((applied.dropped, applied.reassigned), (true, None));
    desired.must(h.engine()).await?;
    check!(h.leave(&user, &Trace::OwnedObject).await && !h.owns_something(&heir).await, "{user}");
    let applied = desired.end_giving_to(&heir).must(h.engine()).await?;
    check!(applied.dropped && applied.kept_because.is_none(), "{applied:?}");
    let Some(reassigned) = applied.reassigned else { return Err("nothing says what was given".to_owned()) };
    check_eq!((reassigned.to.as_str(), reassigned.objects.len()), (heir.as_str(), 1));
    check!(h.user_state(&user).await.is_none() && h.owns_something(&heir).await, "{user}");
    Ok(())
}

async fn what_nobody_else_can_get_keeps_the_account(h: &dyn Harness) -> Outcome {
    let user = h.name("owner");
    if h.new_owner("heir").await.is_none() {
        return Ok(());
    }
    let desired = DesiredAccount::start(&user, &h.database())?;
    desired.must(h.engine()).await?;
    h.leave(&user, &Trace::OwnedObject).await;
    let nobody = h.missing_role("nobody");
    let applied = desired.clone().end_giving_to(&nobody).must(h.engine()).await?;
    check_eq!((applied.dropped, applied.reassigned), (false, None));
    let Some(why) = applied.kept_because else { return Err("nothing says why".to_owned()) };
    check!(why.contains(&nobody), "{why}");
    check_eq!(seen(h, &user).await?, closed());
    // It is no hindrance for the next session.
    desired.must(h.engine()).await.map(drop)
}

async fn a_right_in_another_database_is_no_hindrance(h: &dyn Harness) -> Outcome {
    let user = h.name("direct");
    let desired = DesiredAccount::start(&user, &h.database())?;
    desired.must(h.engine()).await?;
    if !h.leave(&user, &Trace::Right).await {
        return Ok(());
    }
    let applied = desired.end(true).must(h.engine()).await?;
    check!(applied.dropped && h.user_state(&user).await.is_none(), "{applied:?}");
    Ok(())
}

async fn a_prepared_transaction_keeps_the_account(h: &dyn Harness) -> Outcome {
    let user = h.name("prepared");
    let desired = DesiredAccount::start(&user, &h.database())?;
    desired.must(h.engine()).await?;
    if !h.leave(&user, &Trace::Prepared).await {
        return Ok(());
    }
    // Without the account nothing would show whose it is, and it could still be committed.
    let applied = desired.end(true).must(h.engine()).await?;
    let Some(why) = applied.kept_because else { return Err("nothing says why".to_owned()) };
    check!(!applied.dropped && why.contains("ROLLBACK PREPARED"), "{why}");
    check_eq!(seen(h, &user).await?, closed());
    Ok(())
}

async fn an_end_reports_what_it_cannot_revoke(h: &dyn Harness) -> Outcome {
    let (user, role) = (h.name("alice"), h.role("theirs", None).await);
    let desired = DesiredAccount::start(&user, &h.database())?;
    desired.must(h.engine()).await?;
    if !h.leave(&user, &Trace::Membership(role.clone())).await {
        return Ok(());
    }
    let applied = desired.end(false).must(h.engine()).await?;
    let Some(left) = applied.leftovers.first() else { return Err("nothing is reported".to_owned()) };
    let account = rolecall_engine::AccountName::new(&user).map_err(|refusal| refusal.to_string())?;
    let message = left.message(&account);
    check!(message.contains("REVOKE") && message.contains(&role), "{message}");
    let seen = seen(h, &user).await?;
    check!(!seen.login && seen.memberships.contains(&role), "{seen:?}");
    Ok(())
}

async fn another_owners_account_is_not_ended(h: &dyn Harness) -> Outcome {
    let user = h.name("theirs");
    let desired = DesiredAccount::start(&user, &h.database())?;
    desired.must(h.engine()).await?;
    let plan = desired.clone().end(true).plan(h.engine()).await?;
    for theirs in [
        State { owner: Some(owner("them")), ..working::<&str>([]) },
        State { owner: None, ..working::<&str>([]) },
    ] {
        h.put(&user, &theirs).await;
        let Err(error) = h.engine().apply(&plan).await else { return Err("it was carried out".to_owned()) };
        check_eq!((error.class, error.reason), (Class::Transient, Reason::AccountInUse));
        check_eq!(seen(h, &user).await?, theirs);
    }
    Ok(())
}

async fn what_lost_its_record_is_not_over_while_it_can_be_used(h: &dyn Harness) -> Outcome {
    let user = h.name("forgotten");
    let desired = DesiredAccount::start(&user, &h.database())?;
    desired.must(h.engine()).await?;
    let end = desired.end(false);
    for (left, usable) in [(working::<&str>([]), true), (closed(), false)] {
        let left = State { owner: None, ..left };
        h.put(&user, &left).await;
        let observed = h.engine().observe(&end.0.query()).await.map_err(|error| error.to_string())?;
        let plan = plan::plan(&end.0, &observed).map_err(|refusal| refusal.to_string())?;
        check!(plan.is_nothing(), "{plan}");
        // Where we never enabled it, it is none of our business.
        check_eq!(plan::check_ended(&end.0, &observed, false), Ok(()));
        let refused = plan::check_ended(&end.0, &observed, true).err().map(|refusal| refusal.reason);
        check_eq!(refused, usable.then_some(Reason::UserConflict));
        check_eq!(seen(h, &user).await?, left);
    }
    Ok(())
}

async fn a_session_database_that_is_gone_delays_nothing(h: &dyn Harness) -> Outcome {
    let user = h.name("alice");
    DesiredAccount::start(&user, &h.database())?.must(h.engine()).await?;
    let elsewhere = DesiredAccount::start(&user, &h.missing_database())?;
    check_eq!(elsewhere.clone().reason(h.engine()).await?, Reason::DatabaseNameNotFound);
    elsewhere.end(false).must(h.engine()).await?;
    check_eq!(seen(h, &user).await?, closed());
    Ok(())
}

async fn many_end_at_once(h: &dyn Harness) -> Outcome {
    let reader = h.role("reader", None).await;
    let users: Vec<String> = (0..20).map(|_| h.name("crowd")).collect();
    for user in &users {
        h.put(user, &working([&reader])).await;
    }
    for user in users.iter().step_by(5) {
        check!(h.log_in(user).await, "{user}");
    }
    // Put there by somebody else, so that on some servers the memberships are not ours to take.
    let ends = users
        .iter()
        .map(async |user| DesiredAccount::start(user, &h.database())?.end(false).must(h.engine()).await);
    for result in join_all(ends).await {
        result?;
    }
    for user in &users {
        let seen = seen(h, user).await?;
        check!(!seen.login && seen.backends == 0, "{user}: {seen:?}");
    }
    Ok(())
}

async fn an_unreachable_server_is_distinguished_from_one_that_refuses(h: &dyn Harness) -> Outcome {
    let away = h.unreachable();
    let desired = DesiredAccount::start(&h.name("alice"), &h.database())?;
    let plan = desired.plan(h.engine()).await?;
    let errors = [
        away.observe(&desired.0.query()).await.err(),
        away.apply(&plan).await.err(),
        away.inventory().await.err(),
        away.preflight(&Default::default()).await.err(),
    ];
    for error in errors {
        let Some(error) = error else { return Err("it answers".to_owned()) };
        check_eq!((error.class, error.reason), (Class::Unreachable, Reason::DatabaseUnreachable));
        check!(!error.attempted.is_empty() && !error.remedy.is_empty(), "{error}");
    }
    Ok(())
}
