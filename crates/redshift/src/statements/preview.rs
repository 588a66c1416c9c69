//! A plan as statements for people who review a change. Nothing here is sent.
//!
//! The statements are those that are sent. Left out is what only the cluster knows: the processes that are ended, the
//! settings that are cleared, what is given to another owner, the role that records the owner.

use rolecall_engine::MARKER;
use rolecall_engine::plan::{Activate, Adjust, End, Plan};

use super::{Statement, role, user};

/// The statements of a plan, in their order, without passwords.
pub fn preview(plan: &Plan) -> Vec<String> {
    let statements = match plan {
        Plan::Nothing => Vec::new(),
        Plan::Activate(plan) => activate(plan),
        Plan::Adjust(plan) => adjust(plan),
        Plan::End(plan) => end(plan),
    };
    statements.into_iter().map(|statement| statement.sql).collect()
}

fn activate(plan: &Activate) -> Vec<Statement> {
    let account = &plan.account;
    let mut statements = Vec::new();
    statements.extend(plan.create_roles.iter().map(|role| role::create(role)));
    if plan.create {
        statements.push(user::create(account));
        statements.push(role::grant(MARKER, account));
    }
    statements.extend(plan.revoke.iter().map(|role| role::revoke(role, account)));
    statements.extend(plan.grant.iter().chain(&plan.grant_sets).map(|role| role::grant(role, account)));
    statements.push(user::open(account));
    statements
}

fn adjust(plan: &Adjust) -> Vec<Statement> {
    let account = &plan.account;
    let mut statements = Vec::new();
    statements.extend(plan.create_roles.iter().map(|role| role::create(role)));
    statements.extend(plan.revoke.iter().map(|role| role::revoke(role, account)));
    statements.extend(plan.grant.iter().chain(&plan.grant_sets).map(|role| role::grant(role, account)));
    statements.extend(plan.enable.then(|| user::open(account)));
    statements
}

fn end(plan: &End) -> Vec<Statement> {
    let account = &plan.account;
    let mut statements = vec![user::close(account), user::disable_password(account)];
    statements.extend(plan.revoke.iter().map(|role| role::revoke(role, account)));
    statements.extend(plan.drop.then(|| user::drop(account)));
    statements
}
