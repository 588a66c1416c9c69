//! How live accounts are corrected.

use rolecall_engine::{Class, Dialect, Inventory, Plan, Reason};
use rolecall_pki::credentials::password;
use secrecy::SecretString;

use super::desired::{DesiredAccount, closed, owner, seen, working};
use super::{Harness, Outcome, State, Trace, cases, check, check_eq};

cases![
    a_role_is_added_without_disturbing_anybody,
    a_lost_role_ends_the_backends,
    a_login_that_was_taken_is_given_back,
    what_somebody_stored_for_it_goes_without_disturbing_anybody,
    a_password_is_replaced,
    a_record_that_was_lost_is_written_again_without_disturbing_anybody,
    an_account_without_record_that_is_not_as_it_was_left_is_left_alone,
    what_has_become_somebody_elses_is_not_adjusted,
    what_somebody_else_has_ended_is_started_anew,
];

async fn a_role_is_added_without_disturbing_anybody(h: &dyn Harness) -> Outcome {
    let (user, one, two) = (h.name("alice"), h.role("one", None).await, h.role("two", None).await);
    let desired = DesiredAccount::start(&user, &h.database())?;
    desired.clone().roles([&one]).must(h.engine()).await?;
    check!(h.log_in(&user).await, "{user}");
    desired.clone().roles([&one, &two]).live().must(h.engine()).await?;
    check_eq!(seen(h, &user).await?, State { backends: 1, ..working([&one, &two]) });
    Ok(())
}

async fn a_lost_role_ends_the_backends(h: &dyn Harness) -> Outcome {
    let (user, one, two) = (h.name("alice"), h.role("one", None).await, h.role("two", None).await);
    let desired = DesiredAccount::start(&user, &h.database())?;
    desired.clone().roles([&one, &two]).must(h.engine()).await?;
    check!(h.log_in(&user).await && h.log_in(&user).await, "{user}");
    desired.clone().roles([&two]).live().must(h.engine()).await?;
    let backends = if h.keeps_lost_roles() { 0 } else { 2 };
    check_eq!(seen(h, &user).await?, State { backends, ..working([&two]) });
    check!(h.log_in(&user).await, "it goes on with what it has");
    Ok(())
}

async fn a_login_that_was_taken_is_given_back(h: &dyn Harness) -> Outcome {
    let (user, one) = (h.name("alice"), h.role("one", None).await);
    let desired = DesiredAccount::start(&user, &h.database())?.roles([&one]);
    desired.must(h.engine()).await?;
    h.put(&user, &State { login: false, ..working([&one]) }).await;
    desired.live().must(h.engine()).await?;
    check_eq!(seen(h, &user).await?, working([&one]));
    Ok(())
}

async fn what_somebody_stored_for_it_goes_without_disturbing_anybody(h: &dyn Harness) -> Outcome {
    // There it goes when the account ends.
    if h.engine().dialect() == Dialect::Redshift {
        return Ok(());
    }
    let (user, one) = (h.name("alice"), h.role("one", None).await);
    let desired = DesiredAccount::start(&user, &h.database())?.roles([&one]);
    desired.must(h.engine()).await?;
    check!(h.log_in(&user).await, "{user}");
    for trace in [
        Trace::Setting { in_database: false },
        Trace::Setting { in_database: true },
        Trace::Limit,
        Trace::Right,
    ] {
        if !h.leave(&user, &trace).await {
            continue;
        }
        let shown = h.engine().inventory().await.map_err(|error| error.to_string())?;
        let strays = |shown: &Inventory| {
            shown.accounts.iter().find(|entry| entry.account.as_str() == user).map(|entry| entry.strays)
        };
        check!(strays(&shown) == Some(true), "{trace:?}: {shown:?}");
        let plan = desired.clone().live().plan(h.engine()).await?;
        check!(matches!(&plan, Plan::Adjust(adjust) if adjust.only_takes_strays()), "{trace:?}: {plan}");
        desired.clone().live().must(h.engine()).await?;
        check_eq!(seen(h, &user).await?, State { backends: 1, ..working([&one]) });
        let shown = h.engine().inventory().await.map_err(|error| error.to_string())?;
        check!(strays(&shown) == Some(false), "{trace:?}: {shown:?}");
    }
    Ok(())
}

async fn a_password_is_replaced(h: &dyn Harness) -> Outcome {
    let user = h.name("alice");
    let desired = DesiredAccount::start(&user, &h.database())?;
    let verifier = || {
        let text = password::generate().map_err(|error| error.to_string())?;
        Ok::<SecretString, String>(password::verifier(h.engine().dialect(), &desired.0.account, &text))
    };
    if !h.has_passwords() {
        let desired = desired.clone().password(Some(verifier()?));
        check_eq!(desired.reason(h.engine()).await?, Reason::Unsupported);
        check!(h.user_state(&user).await.is_none(), "{user}");
        return Ok(());
    }
    desired.clone().password(Some(verifier()?)).must(h.engine()).await?;
    check!(seen(h, &user).await?.password, "it is stored");
    let plan = desired.clone().live().password(Some(verifier()?)).plan(h.engine()).await?;
    check!(matches!(plan, Plan::Adjust(_)), "{plan}");
    h.engine().apply(&plan).await.map_err(|error| error.to_string())?;
    let shown = format!("{plan:?}");
    check!(!shown.contains("SCRAM") && !shown.contains("md5"), "a plan shows no verifier");
    let plan = desired.clone().live().password(None).plan(h.engine()).await?;
    check!(plan.is_nothing(), "{plan}");
    desired.end(false).must(h.engine()).await?;
    check_eq!(seen(h, &user).await?, closed());
    Ok(())
}

async fn a_record_that_was_lost_is_written_again_without_disturbing_anybody(h: &dyn Harness) -> Outcome {
    let (user, one) = (h.name("alice"), h.role("one", None).await);
    let desired = DesiredAccount::start(&user, &h.database())?.roles([&one]);
    desired.must(h.engine()).await?;
    check!(h.log_in(&user).await, "{user}");
    h.put(&user, &State { owner: None, backends: 1, ..working([&one]) }).await;
    let plan = desired.clone().live().plan(h.engine()).await?;
    check!(matches!(plan, Plan::Adjust(_)), "{plan}");
    desired.clone().live().must(h.engine()).await?;
    check_eq!(seen(h, &user).await?, State { backends: 1, ..working([&one]) });
    // Whoever has it by then keeps it.
    let theirs = State { owner: Some(owner("them")), backends: 1, ..working([&one]) };
    h.put(&user, &theirs).await;
    let Err(error) = h.engine().apply(&plan).await else { return Err("it was carried out".to_owned()) };
    check_eq!((error.class, error.reason), (Class::Transient, Reason::AccountInUse));
    check_eq!(seen(h, &user).await?, theirs);
    Ok(())
}

async fn an_account_without_record_that_is_not_as_it_was_left_is_left_alone(h: &dyn Harness) -> Outcome {
    let (user, one, two) = (h.name("alice"), h.role("one", None).await, h.role("two", None).await);
    let desired = DesiredAccount::start(&user, &h.database())?.roles([&one]);
    desired.must(h.engine()).await?;
    check!(h.log_in(&user).await, "{user}");
    // As if somebody else had created it again, and worked with it.
    let theirs = State { owner: None, backends: 1, ..working([&one, &two]) };
    h.put(&user, &theirs).await;
    check_eq!(desired.live().reason(h.engine()).await?, Reason::AccountInUse);
    check_eq!(seen(h, &user).await?, theirs);
    Ok(())
}

async fn what_has_become_somebody_elses_is_not_adjusted(h: &dyn Harness) -> Outcome {
    let (user, one, two) = (h.name("alice"), h.role("one", None).await, h.role("two", None).await);
    let desired = DesiredAccount::start(&user, &h.database())?;
    desired.clone().roles([&one]).must(h.engine()).await?;
    let plan = desired.clone().roles([&two]).live().plan(h.engine()).await?;
    check!(matches!(plan, Plan::Adjust(_)), "{plan}");
    let theirs = State { owner: Some(owner("them")), ..working([&one]) };
    h.put(&user, &theirs).await;
    let Err(error) = h.engine().apply(&plan).await else { return Err("it was carried out".to_owned()) };
    check_eq!((error.class, error.reason), (Class::Transient, Reason::AccountInUse));
    check_eq!(seen(h, &user).await?, theirs);
    Ok(())
}

async fn what_somebody_else_has_ended_is_started_anew(h: &dyn Harness) -> Outcome {
    let (user, one) = (h.name("alice"), h.role("one", None).await);
    h.put(&user, &State { owner: Some(owner("them")), ..closed() }).await;
    // We think that a session of ours is live: somebody else took the account over since, and has finished.
    let desired = DesiredAccount::start(&user, &h.database())?.roles([&one]).live();
    let plan = desired.plan(h.engine()).await?;
    check!(matches!(plan, Plan::Activate(_)), "{plan}");
    desired.must(h.engine()).await?;
    check_eq!(seen(h, &user).await?, working([&one]));
    Ok(())
}
