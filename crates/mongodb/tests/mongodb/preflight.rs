//! What a server is, and what its admin user lacks.

use std::collections::BTreeSet;

use mongodb::bson::{Document, doc};
use rolecall_engine::{Engine as _, Finding, Needs, Reason, Want, plan};
use rolecall_mongodb::Mongodb;
use rolecall_testbed::{Mongo, MongoAdmin};

use crate::bench::{Bench, ended, wanted};

fn needs(roles: &[&str]) -> Needs {
    Needs { roles: roles.iter().map(|role| (*role).to_owned()).collect(), ..Needs::default() }
}

/// Runs the commands of a remedy as somebody who pastes them would, as far as they are commands of the server.
async fn paste(bench: &Bench<'_>, message: &str) {
    let (_, commands) = message.split_once("run db.").unwrap_or_else(|| panic!("no command in {message}"));
    for command in commands.split("; db.") {
        let (database, rest) = command.split_once(").runCommand(").unwrap();
        let database = database.strip_prefix("getSiblingDB(").unwrap();
        let database: String = serde_json::from_str(database).unwrap();
        let command: Document = serde_json::from_str(rest.strip_suffix(')').unwrap()).unwrap();
        bench.run(&database, command).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_privileges_are_enough() {
    let bench = Bench::new(Mongo::shared().await.unwrap(), MongoAdmin::documented()).await;
    let preflight =
        bench.engine.preflight(&needs(&["readWrite@shop", "readAnyDatabase@admin"])).await.unwrap();
    assert_eq!(preflight.findings, []);
    assert!(preflight.version.starts_with("6.0."), "{preflight:?}");
    let again = bench.engine.preflight(&Needs::default()).await.unwrap();
    assert_eq!(preflight.identity, again.identity);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_missing_privilege_is_named_with_the_command_that_gives_it() {
    let bench = Bench::new(Mongo::shared().await.unwrap(), MongoAdmin::nothing()).await;
    let needs = needs(&["readWrite@shop", "read@hr"]);
    let preflight = bench.engine.preflight(&needs).await.unwrap();
    let objects: Vec<&str> = preflight.findings.iter().map(|finding| &*finding.object).collect();
    assert_eq!(objects, ["$external", "every database", "the cluster", "read@hr", "readWrite@shop"]);
    let messages: Vec<&str> = preflight.findings.iter().map(|finding| &*finding.message).collect();
    for privilege in [
        "createUser",
        "updateUser",
        "dropUser",
        "viewUser",
        "setAuthenticationRestriction",
        "changeCustomData",
        "revokeRole",
        "inprog",
        "grantRole",
    ] {
        assert!(messages.iter().any(|message| message.contains(privilege)), "{privilege}: {messages:#?}");
    }
    for Finding { reason, message, .. } in &preflight.findings {
        assert_eq!(*reason, Reason::MissingMongoPrivileges, "{message}");
        paste(&bench, message).await;
    }
    let preflight = bench.engine.preflight(&needs).await.unwrap();
    assert_eq!(preflight.findings, []);
    bench.bring(&wanted(&rolecall_testbed::unique("alice"), &["readWrite@shop", "read@hr"])).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn creating_roles_needs_createrole() {
    let bench = Bench::new(Mongo::shared().await.unwrap(), MongoAdmin::documented()).await;
    // What every database has is not created.
    let needs = Needs { create_missing_roles: true, ..needs(&["read@hr", "reader@shop"]) };
    let preflight = bench.engine.preflight(&needs).await.unwrap();
    let [finding] = &preflight.findings[..] else { panic!("{preflight:?}") };
    assert!(
        finding.message.contains("missingDbRoles") && finding.message.contains("createRole"),
        "{finding:?}"
    );
    paste(&bench, &finding.message).await;
    assert_eq!(bench.engine.preflight(&needs).await.unwrap().findings, []);
    // That is enough: it need not see them, nor which are there.
    let (user, role) =
        (rolecall_testbed::unique("alice"), format!("{}@shop", rolecall_testbed::unique("reader")));
    for roles in [&["read@hr", &role][..], &["read@hr", &role, "read@shop"]] {
        let mut desired = wanted(&user, roles);
        if let Want::Enabled(enabled) = &mut desired.want {
            enabled.create_missing_roles = true;
        }
        bench.bring(&desired).await.unwrap();
        assert!(bench.settled(&desired).await.is_nothing());
        assert_eq!(bench.user(&user).await.unwrap().get_array("roles").unwrap().len(), roles.len());
        bench.bring(&ended(&user, true)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn built_in_roles_that_give_nothing_but_data_are_not_taken_for_powerful() {
    let seeing = MongoAdmin::documented().database("", &["viewRole"]);
    let bench = Bench::new(Mongo::shared().await.unwrap(), seeing).await;
    let harmless = [
        "read@shop",
        "readWrite@shop",
        "dbAdmin@shop",
        "enableSharding@shop",
        "read@admin",
        "readWrite@admin",
        "readAnyDatabase@admin",
        "readWriteAnyDatabase@admin",
        "dbAdminAnyDatabase@admin",
        "clusterMonitor@admin",
    ];
    let observed = bench.engine.observe(&wanted("alice", &harmless).query()).await.unwrap();
    assert_eq!(observed.roles.len(), harmless.len(), "{observed:?}");
    for (role, facts) in &observed.roles {
        assert!(facts.attributes.is_empty(), "{role}: {facts:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_custom_role_with_power_over_users_is_recognized() {
    let seeing = MongoAdmin::documented().database("", &["viewRole"]);
    let bench = Bench::new(Mongo::shared().await.unwrap(), seeing).await;
    for (resource, action) in [
        (doc! { "db": "admin", "collection": "system.users" }, "update"),
        (doc! { "anyResource": true }, "insert"),
        (doc! { "db": "$external", "collection": "" }, "changeCustomData"),
        (doc! { "cluster": true }, "replSetConfigure"),
    ] {
        let name = rolecall_testbed::unique("powerful");
        let privileges = vec![doc! { "resource": resource, "actions": ["find", action] }];
        let privileges = match action {
            "replSetConfigure" => vec![doc! { "resource": { "cluster": true }, "actions": [action] }],
            _ => privileges,
        };
        bench.run("admin", doc! { "createRole": &name, "privileges": privileges, "roles": [] }).await;
        let desired = wanted(&rolecall_testbed::unique("alice"), &[&format!("{name}@admin")]);
        let observed = bench.engine.observe(&desired.query()).await.unwrap();
        let refusal = plan::plan(&desired, &observed).unwrap_err();
        assert_eq!(refusal.reason, Reason::DbRoleNotGrantable, "{refusal}");
        assert!(refusal.message.contains(action), "{refusal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_are_distinguished_and_one_has_the_same_identity_through_each_member() {
    let (one, other) = (Mongo::builder().members(2).start().await.unwrap(), Mongo::shared().await.unwrap());
    let [one, other] =
        [Bench::new(&one, MongoAdmin::documented()).await, Bench::new(other, MongoAdmin::documented()).await];
    let identity = one.engine.preflight(&Needs::default()).await.unwrap().identity;
    assert_ne!(identity, other.engine.preflight(&Needs::default()).await.unwrap().identity);
    let mut seen = BTreeSet::new();
    for member in 0..2 {
        let mut config = one.config();
        config.address = rolecall_mongodb::Address::parse(&one.mongo.address(member)).unwrap();
        seen.insert(Mongodb::new(config).unwrap().preflight(&Needs::default()).await.unwrap().identity);
    }
    assert_eq!(seen, BTreeSet::from([identity]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_does_not_exist_is_named() {
    let bench = Bench::new(Mongo::shared().await.unwrap(), MongoAdmin::documented()).await;
    let user = rolecall_testbed::unique("alice");
    let error = bench.bring(&wanted(&user, &["read@shop", "ghost@shop"])).await.unwrap_err();
    assert_eq!((error.reason, &*error.code), (Reason::DbRoleNotFound, "MongoDB 31"), "{error}");
    assert!(error.to_string().contains("ghost@shop"), "{error}");
    assert!(bench.user(&user).await.is_none(), "{user}");
    // An account that was kept stays so.
    bench.bring(&wanted(&user, &["read@shop"])).await.unwrap();
    let open = bench.log_in(&user).await.unwrap();
    bench.bring(&ended(&user, false)).await.unwrap();
    bench.bring(&wanted(&user, &["ghost@shop"])).await.unwrap_err();
    let kept = bench.user(&user).await.unwrap();
    assert!(kept.get_document("customData").unwrap().get_bool("teleport-auto-user").unwrap(), "{kept}");
    assert!(bench.settled(&ended(&user, false)).await.is_nothing(), "{kept}");
    drop(open);
}
