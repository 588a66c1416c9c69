//! Ending an account that has no session.

use rolecall_engine::{AccountName, Applied, Class, Desired, Error, Observed, Plan, Want, plan};

use super::Server;

/// What ending an account takes, by what the server shows of it.
#[derive(Clone, Debug)]
pub enum PlannedEnd {
    /// It is not ours to end, and no session of ours has access through it.
    NotOurs {
        /// Somebody else's sessions can use it.
        usable: bool,
    },
    /// Nothing is left to take away.
    AlreadyEnded {
        /// The account still exists.
        exists: bool,
    },
    /// Its access can be used, or something is left of it.
    Needed(Box<NeededEnd>),
}

/// The plan that ends an account.
#[derive(Clone, Debug)]
pub struct NeededEnd(Plan);

/// Reads an account without any session, and plans its end: it is disabled, and with `drop` dropped where that is
/// possible, after what it owns was given to `reassign_to`. Nothing is changed.
///
/// # Errors
///
/// What the server answered, or that the account may be ours and can be used, but must be left alone.
pub async fn plan_end(
    server: &Server,
    account: AccountName,
    drop: bool,
    reassign_to: Option<String>,
) -> Result<PlannedEnd, Error> {
    let want = Want::Ended { drop, reassign_to };
    let desired = Desired { account, owner: server.owner.clone(), session_database: None, want };
    let observed = server.engine.observe(&desired.query()).await?;
    if let Err(refusal) = plan::check_ended(&desired, &observed, true) {
        return Err(Error {
            class: Class::Refused,
            reason: refusal.reason,
            attempted: format!("ending {}", desired.account),
            code: String::new(),
            detail: refusal.message,
            remedy: String::new(),
        });
    }
    // Planning an end is never refused: what is not ours is left alone.
    let plan = plan::plan(&desired, &observed).unwrap_or_default();
    Ok(if plan.is_nothing() {
        without_plan(&desired, &observed)
    } else {
        PlannedEnd::Needed(Box::new(NeededEnd(plan)))
    })
}

fn without_plan(desired: &Desired, observed: &Observed) -> PlannedEnd {
    match &observed.account {
        Some(account) if !plan::is_ours_to_end(desired, observed) => {
            PlannedEnd::NotOurs { usable: account.enabled || account.backends > 0 }
        }
        account => PlannedEnd::AlreadyEnded { exists: account.is_some() },
    }
}

impl NeededEnd {
    /// Carries it out; the engine reads the account back before it answers.
    ///
    /// # Errors
    ///
    /// What the server answered.
    pub async fn carry_out(&self, server: &Server) -> Result<Applied, Error> {
        server.engine.apply(&self.0).await
    }
}

#[cfg(test)]
mod tests {
    use rolecall_engine::{Account, Owner};

    use super::*;

    fn planned(account: Option<Account>) -> PlannedEnd {
        let owner = Owner { uid: "us".into(), admin: "shop/orders".into(), ..Owner::default() };
        let account_name = AccountName::new("alice").unwrap();
        let want = Want::Ended { drop: false, reassign_to: None };
        let desired = Desired { account: account_name, owner, session_database: None, want };
        without_plan(&desired, &Observed { account, ..Observed::default() })
    }

    #[test]
    fn an_account_without_a_plan_is_ended_already_or_not_ours() {
        let of = |uid: &str, enabled| {
            let owner = Owner { uid: uid.into(), admin: format!("shop/{uid}"), ..Owner::default() };
            Some(Account { managed: true, owner: Some(owner), enabled, ..Account::default() })
        };
        assert!(matches!(planned(None), PlannedEnd::AlreadyEnded { exists: false }));
        assert!(matches!(planned(of("us", false)), PlannedEnd::AlreadyEnded { exists: true }));
        assert!(matches!(planned(of("them", false)), PlannedEnd::NotOurs { usable: false }));
        assert!(matches!(planned(of("them", true)), PlannedEnd::NotOurs { usable: true }));
        let unmanaged = Account { enabled: true, ..Account::default() };
        assert!(matches!(planned(Some(unmanaged)), PlannedEnd::NotOurs { usable: true }));
    }
}
