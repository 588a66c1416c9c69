//! A plan as statements for people who review a change. Nothing here is sent.
//!
//! The parts are those of what is sent. Left out is what keeps two changes apart (locks, guards, time-outs), and on 16
//! and later a REVOKE names who granted, which only the server knows.

use rolecall_engine::MARKER;
use rolecall_engine::plan::{Activate, Adjust, End, Plan};

use crate::quote::{identifier, literal};
use crate::statements::{membership, role};
use crate::transport::message::Message;
use crate::transport::version::Dialect;

/// A REVOKE that names no grantor, and what has no options, is written as for this version.
const WITHOUT_GRANTORS: Dialect = Dialect(15);
/// How memberships in permission sets are granted.
const WITH_OPTIONS: Dialect = Dialect(16);

/// The statements of a plan, in their order, without passwords.
pub fn preview(plan: &Plan) -> Vec<String> {
    let mut message = Message::new();
    match plan {
        Plan::Nothing => {}
        Plan::Activate(plan) => activate(&mut message, plan),
        Plan::Adjust(plan) => adjust(&mut message, plan),
        Plan::End(plan) => end(&mut message, plan),
    }
    message.texts().map(str::to_owned).collect()
}

fn activate(message: &mut Message, plan: &Activate) {
    let account = identifier(plan.account.as_str());
    create_roles(message, &plan.create_roles);
    if plan.create {
        message.push("", format!("CREATE ROLE {account} NOLOGIN"));
    }
    role::record(message, &plan.account, &plan.owner);
    if plan.create {
        membership::grant(message, &plan.account, [MARKER].into_iter());
    }
    membership::revoke(message, &plan.account, &plan.revoke, WITHOUT_GRANTORS, false);
    membership::grant(message, &plan.account, plan.grant.iter().map(String::as_str));
    membership::grant_sets(message, &plan.account, &plan.grant_sets, WITH_OPTIONS);
    message.push("", format!("ALTER ROLE {account} LOGIN"));
}

fn adjust(message: &mut Message, plan: &Adjust) {
    create_roles(message, &plan.create_roles);
    membership::revoke(message, &plan.account, &plan.revoke, WITHOUT_GRANTORS, false);
    membership::grant(message, &plan.account, plan.grant.iter().map(String::as_str));
    membership::grant_sets(message, &plan.account, &plan.grant_sets, WITH_OPTIONS);
    if plan.enable {
        message.push("", format!("ALTER ROLE {} LOGIN", identifier(plan.account.as_str())));
    }
    if plan.terminate {
        terminate(message, plan.account.as_str());
    }
}

fn end(message: &mut Message, plan: &End) {
    let account = identifier(plan.account.as_str());
    message.push("", format!("ALTER ROLE {account} NOLOGIN PASSWORD NULL"));
    terminate(message, plan.account.as_str());
    membership::revoke(message, &plan.account, &plan.revoke, WITHOUT_GRANTORS, false);
    role::reset_settings(message, &plan.account, &plan.settings);
    if let Some(role) = &plan.reassign_to {
        // In every logical database where it owns something.
        message.push("", format!("REASSIGN OWNED BY {account} TO {}", identifier(role)));
    }
    if plan.drop {
        message.push("", format!("DROP ROLE {account}"));
    }
}

fn create_roles(message: &mut Message, roles: &[String]) {
    for role in roles {
        message.push("", format!("CREATE ROLE {} NOLOGIN", identifier(role)));
    }
}

fn terminate(message: &mut Message, account: &str) {
    let of = literal(account);
    message.push(
        "",
        format!("SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE usename = {of}"),
    );
}
