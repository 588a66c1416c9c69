//! A plan as commands for people who review a change. Nothing here is sent.
//!
//! The commands are those that are sent. A user's list of roles is replaced as a whole, so that what the user has is
//! needed, too.

use std::collections::BTreeSet;
use std::time::Duration;

use rolecall_engine::dialect::mongodb::RoleName;
use rolecall_engine::objects::Catalog;
use rolecall_engine::plan::{Activate, Adjust, End, Plan};
use rolecall_engine::sets::{DesiredSet, plan_set};

use crate::statements::change::Change;
use crate::statements::set;
use crate::statements::user::custom_data;
use crate::transport::request::Request;

/// The commands of a plan, in their order, as mongosh runs them. `has`: the roles and permission sets of the user.
pub fn preview(plan: &Plan, has: &BTreeSet<String>) -> Vec<String> {
    let requests = match plan {
        Plan::Nothing => Vec::new(),
        Plan::Activate(plan) => activate(plan),
        Plan::Adjust(plan) => adjust(plan, has),
        Plan::End(plan) => end(plan),
    };
    requests.into_iter().map(shown).collect()
}

/// The command that gives a permission set what it should have, as mongosh runs it; none where it has that, or where it
/// is more than a server can handle.
pub fn preview_set(desired: &DesiredSet, catalog: &Catalog) -> Vec<String> {
    let state = catalog.sets.get(&desired.role);
    if plan_set(desired, catalog).is_nothing() {
        return Vec::new();
    }
    let (Ok(name), Ok(privileges)) = (RoleName::parse(&desired.role), set::wanted(desired, catalog)) else {
        return Vec::new();
    };
    let command = set::command(&name.role, state.is_some(), &privileges);
    vec![shown(CHANGE.request(String::new(), &name.database, command))]
}

/// What is waited for is not shown.
const CHANGE: Change = Change { confirmed_within: Duration::ZERO };

fn activate(plan: &Activate) -> Vec<Request> {
    let (account, data) = (&plan.account, custom_data(&plan.owner, None));
    let roles = named(plan.grant.iter().chain(&plan.grant_sets));
    let mut requests = create_roles(&plan.create_roles);
    requests.push(match plan.create {
        true => CHANGE.create(account, &roles, data),
        false => CHANGE.enable(account, &roles, data),
    });
    requests
}

fn adjust(plan: &Adjust, has: &BTreeSet<String>) -> Vec<Request> {
    let kept = has.iter().filter(|role| !plan.revoke.contains(role));
    let roles = named(kept.chain(&plan.grant).chain(&plan.grant_sets));
    let mut requests = create_roles(&plan.create_roles);
    requests.push(CHANGE.adjust(&plan.account, &roles));
    requests
}

fn end(plan: &End) -> Vec<Request> {
    let mut requests = vec![CHANGE.lock(&plan.account)];
    requests.extend(plan.drop.then(|| CHANGE.drop_user(&plan.account)));
    requests
}

fn create_roles(roles: &[String]) -> Vec<Request> {
    named(roles).iter().map(|role| CHANGE.create_role(role)).collect()
}

/// Those that can be names of roles: no server has others.
fn named<'a>(roles: impl IntoIterator<Item = &'a String>) -> BTreeSet<RoleName> {
    roles.into_iter().filter_map(|role| RoleName::parse(role).ok()).collect()
}

fn shown(request: Request) -> String {
    let mut command = request.command;
    command.remove("writeConcern");
    let database = serde_json::Value::from(request.database);
    // A document of texts, numbers and lists always has a JSON form.
    let command = serde_json::to_string(&command).unwrap_or_default();
    format!("db.getSiblingDB({database}).runCommand({command})")
}

#[cfg(test)]
mod tests {
    use rolecall_engine::objects::SetState;
    use rolecall_engine::{AccountName, Owner};
    use rolecall_policy::{Privilege, PrivilegeSet};

    use super::*;

    #[test]
    fn a_permission_set_is_made_and_replaced() {
        let find = PrivilegeSet::from_iter([Privilege::Find]);
        let mut catalog = set::tests::catalog(&["orders".to_owned()]);
        let desired = set::tests::desired(vec![(0, find)]);
        let made = preview_set(&desired, &catalog);
        let [made] = made.as_slice() else { panic!("one command: {made:?}") };
        assert!(
            made.starts_with(r#"db.getSiblingDB("shop").runCommand({"createRole":"rolecall:1","#),
            "{made}"
        );
        let privilege = r#"{"resource":{"db":"shop","collection":"orders"},"actions":["find"]}"#;
        assert!(made.contains(privilege), "{made}");
        catalog.sets.insert(desired.role.clone(), SetState::default());
        let replaced = preview_set(&desired, &catalog);
        assert!(replaced[0].contains(r#""updateRole":"rolecall:1""#) && replaced[0].contains(privilege));
    }

    #[test]
    fn what_a_reviewer_sees() {
        let account = AccountName::new("a,b").unwrap();
        let activate = Activate {
            account: account.clone(),
            owner: Owner { uid: "uid".into(), admin: "shop/events".into(), ..Owner::default() },
            session_database: None,
            create: true,
            create_roles: vec!["new@shop".into()],
            close_first: false,
            take_over_from: None,
            revoke: Vec::new(),
            settings: BTreeSet::new(),
            expires: false,
            grant: vec!["new@shop".into()],
            grant_sets: vec!["rolecall:4567@shop".into()],
            verifier: None,
        };
        let adjust = Adjust {
            account: account.clone(),
            owner_uid: "uid".into(),
            record: None,
            session_database: None,
            create_roles: Vec::new(),
            revoke: vec!["read@shop".into()],
            grant: vec!["readWrite@shop".into()],
            grant_sets: Vec::new(),
            enable: false,
            terminate: true,
            verifier: None,
            strays: Default::default(),
        };
        let end = End {
            account,
            owner_uid: "uid".into(),
            take_over: None,
            session_database: None,
            revoke: vec!["read@shop".into()],
            settings: BTreeSet::new(),
            expires: false,
            drop: true,
            reassign_to: None,
        };
        let has = BTreeSet::from(["read@shop".to_owned(), "read@hr".to_owned()]);
        let plans = [Plan::Nothing, Plan::Activate(activate), Plan::Adjust(adjust), Plan::End(end)];
        let shown: Vec<String> =
            plans.iter().map(|plan| format!("// {plan}\n{}", preview(plan, &has).join(";\n"))).collect();
        insta::assert_snapshot!(shown.join("\n\n"));
    }
}
