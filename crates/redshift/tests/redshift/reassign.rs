//! What an account owns, given to another user before it is dropped.

use rolecall_aws_testbed::redshift::{Admin, Kind, Object, Unknowns};
use rolecall_engine::account::Desired;
use rolecall_engine::{Engine as _, Needs, Reason, Want};

use super::{Cluster, UID, desired, owner};

fn ended_giving_to(user: &str) -> Desired {
    desired(Want::Ended { drop: true, reassign_to: Some(user.to_owned()) })
}

impl Cluster {
    /// The owner of her table.
    async fn owner_of_table(&self, database: &str) -> Option<String> {
        let query = "SELECT u.usename FROM pg_class c JOIN pg_user u ON u.usesysid = c.relowner WHERE c.relname = 'hers'";
        self.simulator.sql(database, query).await.unwrap().pop()?.pop()?
    }

    async fn kept_because(&self, heir: &str) -> String {
        let applied = self.reach(&ended_giving_to(heir)).await.unwrap();
        assert!(!applied.dropped && applied.reassigned.is_none() && self.is_closed().await, "{applied:?}");
        assert_eq!(self.owner_of_table("dev").await.as_deref(), Some("alice"));
        applied.kept_because.unwrap()
    }
}

#[tokio::test]
async fn tables_and_schemas_go_to_the_other_user_in_every_database() {
    let cluster = Cluster::start().await;
    cluster.sql("CREATE USER heir PASSWORD DISABLE").await;
    cluster.put(&owner(UID), 1).await;
    cluster.own_table("dev");
    cluster.own_table("other");
    cluster.own("other", &Object::new(Kind::Schema, "mine", ""));
    cluster.right("other", "alice").await;
    let applied = cluster.reach(&ended_giving_to("heir")).await.unwrap();
    assert!(applied.dropped && !cluster.exists().await, "{applied:?}");
    let reassigned = applied.reassigned.unwrap();
    assert_eq!(reassigned.to, "heir");
    assert_eq!(
        reassigned.objects,
        [
            r#"1 object in the database "dev" (TABLE "app"."hers")"#,
            r#"2 objects in the database "other" (SCHEMA "mine", TABLE "app"."hers")"#
        ]
    );
    for database in ["dev", "other"] {
        assert_eq!(cluster.owner_of_table(database).await.as_deref(), Some("heir"), "{database}");
    }
}

#[tokio::test]
async fn nothing_is_given_away_beside_what_works_with_the_rights_of_its_owner() {
    for kind in [Kind::View, Kind::MaterializedView, Kind::Function, Kind::Procedure] {
        let cluster = Cluster::start().await;
        cluster.sql("CREATE USER heir PASSWORD DISABLE").await;
        cluster.put(&owner(UID), 0).await;
        cluster.own_table("dev");
        cluster.own("other", &Object::new(kind, "app", "code"));
        let why = cluster.kept_because("heir").await;
        assert!(why.contains("code") && why.contains("\"other\""), "{kind:?}: {why}");
    }
}

#[tokio::test]
async fn who_must_not_get_anything_gets_nothing() {
    let cluster = Cluster::start().await;
    cluster.put(&owner(UID), 0).await;
    cluster.own_table("dev");
    cluster.sql("CREATE USER dba PASSWORD 'Secret123' CREATEUSER; CREATE USER bob PASSWORD DISABLE").await;
    cluster.sql("GRANT ROLE \"teleport-auto-user\" TO bob").await;
    let names = ["dba", "bob", "alice", "nobody"];
    for heir in names {
        let why = cluster.kept_because(heir).await;
        assert!(why.contains(&format!("the user {heir:?}")), "{why}");
    }
    let needs = Needs { new_owners: names.map(str::to_owned).into(), ..Needs::default() };
    let preflight = cluster.engine.preflight(&needs).await.unwrap();
    let named: Vec<&str> = preflight
        .findings
        .iter()
        .filter(|finding| finding.reason == Reason::CannotReassign)
        .map(|finding| finding.object.as_str())
        .collect();
    assert_eq!(named, ["alice", "bob", "dba", "nobody"]);
}

#[tokio::test]
async fn an_admin_user_who_may_not_give_it_away_keeps_the_account() {
    let unknowns = Unknowns { user_info_with_system_access: true, ..Unknowns::default() };
    let cluster = Cluster::with(Admin::SystemRoleWithSyslog, unknowns).await;
    cluster.sql("CREATE USER heir PASSWORD DISABLE").await;
    cluster.put(&owner(UID), 0).await;
    cluster.own_table("dev");
    let why = cluster.kept_because("heir").await;
    assert!(why.contains("42501") && why.contains("CREATEUSER"), "{why}");
    assert!(why.contains("it owns TABLE \"app\".\"hers\""), "{why}");
}
