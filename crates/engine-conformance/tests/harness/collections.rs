//! Collections of a real MongoDB server.

use std::collections::BTreeSet;

use async_trait::async_trait;
use mongodb::bson::{Document, doc};
use rolecall_engine_conformance::{Objects, SetPrivileges, Sort};
use rolecall_policy::{ObjectKind, Privilege};

use super::mongo::{MongoServer, list};
use crate::common::unique;

fn privilege(database: &str, object: &str, privilege: Privilege) -> Document {
    let resource = doc! { "db": database, "collection": object };
    doc! { "resource": resource, "actions": [privilege.mongodb_action().unwrap()] }
}

fn role(set: &str) -> &str {
    set.split_once('@').unwrap().0
}

#[async_trait]
impl Objects for MongoServer {
    fn sort(&self) -> Sort {
        Sort { kind: ObjectKind::Collection, read: Privilege::Find, write: Privilege::Insert }
    }

    async fn database(&self, base: &str) -> String {
        let database = unique(base);
        // A database exists as long as it contains something. What views are kept in stays behind, and is no object.
        self.run(&database, doc! { "create": "v", "viewOn": "nothing", "pipeline": [] }).await;
        self.run(&database, doc! { "drop": "v" }).await;
        database
    }

    async fn create(&self, database: &str, object: &str) {
        self.run(database, doc! { "create": object }).await;
    }

    async fn create_foreign(&self, _: &str, _: &str) -> bool {
        // Who may grant anything in a database may grant everything in it.
        false
    }

    async fn rename(&self, database: &str, from: &str, to: &str) {
        let (from, to) = (format!("{database}.{from}"), format!("{database}.{to}"));
        self.run("admin", doc! { "renameCollection": from, "to": to }).await;
    }

    async fn drop(&self, database: &str, object: &str) {
        self.run(database, doc! { "drop": object }).await;
    }

    async fn grant(&self, database: &str, object: &str, what: Privilege, set: &str) {
        let privileges = vec![privilege(database, object, what)];
        self.run(database, doc! { "grantPrivilegesToRole": role(set), "privileges": privileges }).await;
    }

    async fn revoke(&self, database: &str, object: &str, what: Privilege, set: &str) {
        let privileges = vec![privilege(database, object, what)];
        self.run(database, doc! { "revokePrivilegesFromRole": role(set), "privileges": privileges }).await;
    }

    async fn privileges_of(&self, database: &str, set: &str) -> SetPrivileges {
        let answer = self.run(database, doc! { "listCollections": 1, "nameOnly": true }).await;
        let there: BTreeSet<&str> = list(answer.get_document("cursor").unwrap(), "firstBatch")
            .into_iter()
            .map(|collection| collection.get_str("name").unwrap())
            .collect();
        let (role, home) = set.split_once('@').unwrap();
        let ask = doc! { "rolesInfo": { "role": role, "db": home }, "showPrivileges": true };
        let answer = self.run(home, ask).await;
        let mut found = SetPrivileges::new();
        for privilege in list(&answer, "roles").iter().flat_map(|role| list(role, "privileges")) {
            let resource = privilege.get_document("resource").unwrap();
            let collection = resource.get_str("collection").unwrap();
            if resource.get_str("db").unwrap() == database && there.contains(collection) {
                let actions = privilege.get_array("actions").unwrap().iter();
                let privileges = actions.map(|action| Privilege::parse(action.as_str().unwrap()).unwrap());
                found.extend(privileges.map(|privilege| (collection.to_owned(), privilege)));
            }
        }
        found
    }

    async fn can(&self, user: &str, database: &str, object: &str, privilege: Privilege) -> bool {
        let Some(client) = self.client(user).await else { return false };
        let command = match privilege {
            Privilege::Find => doc! { "find": object },
            Privilege::Insert => doc! { "insert": object, "documents": [{}] },
            other => panic!("the suite tries no {other}"),
        };
        client.database(database).run_command(command).await.is_ok()
    }
}
