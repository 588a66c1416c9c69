//! Every statement, as text.

use rolecall_engine::plan::{Activate, Adjust, End, Plan};
use rolecall_engine::{AccountName, Owner};
use rolecall_policy::{ObjectKind, Privilege, PrivilegeSet};

use super::object::{self, Grantee, READABLE, Target};
use super::preview::preview;
use super::query::Identity;
use super::{Statement, query, role, user};
use crate::execution::record;
use crate::reads::objects::Objects;
use crate::reads::observe::Seen;
use crate::transport::config::{Auth, Config};
use crate::transport::connect;

fn owner() -> Owner {
    Owner {
        uid: "0b6e0c4e-9d6e-4c1a-8f0e-1a2b3c4d5e6f".into(),
        admin: "shop/dwh".into(),
        cluster: "blue".into(),
        ..Owner::default()
    }
}

/// Every statement that can be sent, with names that try to end their quotes.
pub(super) fn all() -> Vec<Statement> {
    let account = AccountName::new("al.ice+x@example.com").unwrap();
    let set = "rolecall_0123456789abcdef0123456789abcdef01234567";
    let config = Config::new("wh", 5439, "admin", Auth::Password("secret".into()));
    let mut all: Vec<Statement> = connect::settings(&config).to_vec();
    all.extend(["BEGIN", "COMMIT"].map(|sql| Statement::new("transaction", sql)));
    all.push(connect::version());
    // Accounts.
    all.extend([
        user::create(&account),
        user::claim(&account),
        user::close(&account),
        user::open(&account),
        user::disable_password(&account),
        user::set_password(&account, &"md50123456789abcdef0123456789abcdef".to_owned().into()),
        user::no_superuser(&account),
        user::restrict_syslog(&account),
        user::disable_password_and_expiry(&account),
        user::no_session_timeout(&account),
        user::reset(&account, "search_path"),
        user::reset(&account, "my.Setting"),
        user::drop(&account),
        user::terminate(&account, 4711),
    ]);
    // Roles and records.
    all.extend(record::changes(&owner(), &[]));
    all.extend([
        role::create("re\"a der"),
        role::drop(set),
        role::grant("re\"a der", &account),
        role::grant("sys:monitor", &account),
        role::revoke("re\"a der", &account),
        role::grant_to_role("rolecall_owner_u", set),
        role::revoke_from_role("rolecall_owner_u", set),
    ]);
    // Objects.
    let targets = [
        Target::of(ObjectKind::Table, "app", "or\"ders", ""),
        Target::of(ObjectKind::View, "app", "v", ""),
        Target::of(ObjectKind::Schema, "app", "app", ""),
        Target::of(ObjectKind::Function, "app", "f", "integer, character varying"),
        Target::of(ObjectKind::Procedure, "app", "p", ""),
    ];
    let (role, account_name) = (Grantee::Role(set), Grantee::User(account.as_str()));
    for target in &targets {
        let kind = match target {
            Target::Schema(_) => ObjectKind::Schema,
            Target::Function { .. } | Target::Procedure { .. } => ObjectKind::Function,
            _ => ObjectKind::Table,
        };
        let privileges = PrivilegeSet::of_kind(kind).intersection(READABLE.into_iter().collect());
        all.extend([
            object::grant(privileges, &[target], role),
            object::revoke(privileges, &[target], role),
            object::revoke_all(target, role),
            object::revoke_all(target, account_name),
        ]);
    }
    let select = PrivilegeSet::from_iter([Privilege::Select]);
    all.push(object::grant(select, &[&targets[0], &targets[1]], role));
    all.push(object::revoke(select, &[&targets[0], &targets[1]], role));
    all.push(object::revoke_all(&Target::Database("de\"v".into()), account_name));
    all.push(object::set_owner(&targets[0], "grave\"yard"));
    all.push(object::set_owner(&targets[2], "graveyard"));
    // Reads.
    all.extend(Seen::statements(None));
    all.extend(Seen::statements(Some(&["alice", "rdsdb"])).into_iter().take(3));
    all.extend(Objects::statements("o'h\\ara"));
    let sets = [set, "rolecall_1"];
    for identity in [Identity::Roles(&sets), Identity::Roles(&[]), Identity::User("alice"), Identity::Public]
    {
        all.extend([
            query::relation_privileges(identity),
            query::schema_privileges(identity),
            query::function_privileges(identity),
            query::database_privileges(identity),
        ]);
    }
    all.push(query::default_privileges("alice"));
    all.extend(query::owned(105));
    all
}

#[test]
fn every_statement_as_text() {
    let texts: Vec<String> =
        all().iter().map(|statement| format!("-- {}\n{}", statement.what, statement.sql)).collect();
    insta::assert_snapshot!(texts.join("\n"));
}

#[test]
fn what_a_reviewer_sees() {
    let account = AccountName::new("alice").unwrap();
    let activate = Activate {
        account: account.clone(),
        owner: owner(),
        session_database: None,
        create: true,
        create_roles: vec!["new".into()],
        close_first: false,
        take_over_from: None,
        revoke: Vec::new(),
        settings: Default::default(),
        expires: false,
        grant: vec!["new".into(), "reader".into()],
        grant_sets: vec!["rolecall_4567".into()],
        verifier: Some("md50123456789abcdef0123456789abcdef".to_owned().into()),
    };
    let adjust = Adjust {
        account: account.clone(),
        owner_uid: "1".into(),
        record: None,
        session_database: None,
        create_roles: Vec::new(),
        revoke: vec!["old".into()],
        grant: vec!["new".into()],
        grant_sets: Vec::new(),
        enable: true,
        terminate: true,
        verifier: None,
        strays: Default::default(),
    };
    let end = End {
        account,
        owner_uid: "1".into(),
        take_over: None,
        session_database: None,
        revoke: vec!["new".into()],
        settings: Default::default(),
        expires: false,
        drop: true,
        reassign_to: Some("heir".into()),
    };
    let plans = [Plan::Nothing, Plan::Activate(activate), Plan::Adjust(adjust), Plan::End(end)];
    let shown: Vec<String> =
        plans.iter().map(|plan| format!("-- {plan}\n{}", preview(plan).join(";\n"))).collect();
    assert!(!shown.concat().contains("md5"));
    insta::assert_snapshot!(shown.join("\n\n"));
}

#[test]
fn a_statement_shows_no_verifier() {
    let account = AccountName::new("alice").unwrap();
    let verifier = "md50123456789abcdef0123456789abcdef".to_owned().into();
    let statement = user::set_password(&account, &verifier);
    assert!(!format!("{statement:?}").contains("md5"), "{statement:?}");
    assert!(user::is_verifier(&verifier));
    for text in ["SCRAM-SHA-256$4096:x", "secret", "md5", "md5 0123456789abcdef0123456789abcde"] {
        assert!(!user::is_verifier(&text.to_owned().into()), "{text}");
    }
}
