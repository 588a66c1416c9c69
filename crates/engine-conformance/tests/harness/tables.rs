//! Tables of a real PostgreSQL server.

use async_trait::async_trait;
use rolecall_engine_conformance::{Harness, Objects, SetPrivileges, Sort};
use rolecall_policy::{ObjectKind, Privilege};

use super::real::{Admin, RealServer};
use crate::common::{literal, quote};

fn table(name: &str) -> String {
    format!("app.{}", quote(name))
}

#[async_trait]
impl Objects for RealServer {
    fn sort(&self) -> Sort {
        Sort { kind: ObjectKind::Table, read: Privilege::Select, write: Privilege::Insert }
    }

    async fn database(&self, base: &str) -> String {
        let (database, admin) = (self.closed_database(base, None).await.unwrap(), self.admin());
        let quoted = quote(&database);
        let setup = format!(
            "grant connect on database {quoted} to {admin} with grant option;
             create schema app; grant usage on schema app to {admin} with grant option"
        );
        self.sql(&database, &setup).await;
        database
    }

    async fn create(&self, database: &str, object: &str) {
        let (table, admin) = (table(object), self.admin());
        let statements =
            format!("create table {table} (id int); grant all on {table} to {admin} with grant option");
        self.sql(database, &statements).await;
    }

    async fn create_foreign(&self, database: &str, object: &str) -> bool {
        self.sql(database, &format!("create table {} (id int)", table(object))).await;
        self.kind() != Admin::Superuser
    }

    async fn rename(&self, database: &str, from: &str, to: &str) {
        self.sql(database, &format!("alter table {} rename to {}", table(from), quote(to))).await;
    }

    async fn drop(&self, database: &str, object: &str) {
        self.sql(database, &format!("drop table {}", table(object))).await;
    }

    async fn grant(&self, database: &str, object: &str, privilege: Privilege, set: &str) {
        let statement = format!("grant {privilege} on {} to {}", table(object), quote(set));
        self.as_admin(database, &statement).await;
    }

    async fn revoke(&self, database: &str, object: &str, privilege: Privilege, set: &str) {
        let statement = format!("revoke {privilege} on {} from {}", table(object), quote(set));
        self.as_admin(database, &statement).await;
    }

    async fn privileges_of(&self, database: &str, set: &str) -> SetPrivileges {
        let query = format!(
            "select c.relname, a.privilege_type from pg_class c, aclexplode(c.relacl) a, pg_roles r
             where a.grantee = r.oid and r.rolname = {}",
            literal(set)
        );
        let rows = self.rows(database, &query).await.into_iter();
        rows.map(|row| {
            let [name, privilege] = [0, 1].map(|column| row[column].clone().unwrap());
            (name, Privilege::parse(&privilege).unwrap())
        })
        .collect()
    }

    async fn can(&self, user: &str, database: &str, object: &str, privilege: Privilege) -> bool {
        let Ok(client) = self.connect(user, database).await else { return false };
        let table = table(object);
        let statement = match privilege {
            Privilege::Select => format!("select from {table}"),
            Privilege::Insert => format!("insert into {table} values (1)"),
            other => panic!("the suite tries no {other}"),
        };
        client.batch_execute(&statement).await.is_ok()
    }
}
