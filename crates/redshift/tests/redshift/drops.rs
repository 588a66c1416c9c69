//! Drops that would leave something behind.

use rolecall_aws_testbed::redshift::{Admin, Unknowns};
use rolecall_engine::Engine as _;
use rolecall_engine::dialect::redshift::record::owner_role;

use super::{ALICE, Cluster, UID, ended, owner};

/// What keeps the account, which has been ended for all that.
async fn kept_because(cluster: &Cluster) -> String {
    let applied = cluster.reach(&ended(true)).await.unwrap();
    assert!(!applied.dropped && cluster.exists().await && cluster.is_closed().await, "{applied:?}");
    applied.kept_because.unwrap()
}

#[tokio::test]
async fn a_database_that_only_the_catalogue_shows_is_looked_into() {
    let cluster = Cluster::start().await;
    cluster.put(&owner(UID), 0).await;
    cluster.own_table("other");
    cluster.simulator.blank("svv_redshift_databases", true);
    let why = kept_because(&cluster).await;
    assert!(why.contains("\"hers\" in \"other\""), "{why}");
}

#[tokio::test]
async fn nothing_is_dropped_where_no_database_is_known() {
    let cluster = Cluster::start().await;
    cluster.put(&owner(UID), 0).await;
    cluster.simulator.blank("svv_redshift_databases", true);
    cluster.simulator.blank("pg_database", true);
    let why = kept_because(&cluster).await;
    assert!(why.contains("databases"), "{why}");
    cluster.simulator.blank("pg_database", false);
    assert!(cluster.reach(&ended(true)).await.unwrap().dropped);
}

#[tokio::test]
async fn nothing_is_dropped_whose_privileges_are_not_seen() {
    let unknowns = Unknowns { user_info_with_system_access: true, ..Unknowns::default() };
    let cluster = Cluster::with(Admin::SystemRole, unknowns).await;
    cluster.put(&owner(UID), 0).await;
    cluster.right("other", ALICE).await;
    let why = kept_because(&cluster).await;
    assert!(why.contains("SYSLOG ACCESS UNRESTRICTED"), "{why}");

    cluster.sql("CREATE ROLE rolecall_0123").await;
    cluster.sql(&format!("GRANT ROLE \"{}\" TO ROLE rolecall_0123", owner_role(UID))).await;
    cluster.right("other", "ROLE rolecall_0123").await;
    let applied = cluster.engine.drop_set("rolecall_0123", UID).await.unwrap();
    assert!(applied.kept_because.unwrap().contains("SYSLOG ACCESS UNRESTRICTED"));
    assert!(cluster.has_rights("other", "rolecall_0123").await);
}

#[tokio::test]
async fn a_user_that_is_kept_keeps_its_rights() {
    let cluster = Cluster::start().await;
    cluster.put(&owner(UID), 0).await;
    cluster.right("dev", ALICE).await;
    cluster.own_table("other");
    let why = kept_because(&cluster).await;
    assert!(why.contains("\"hers\" in \"other\""), "{why}");
    assert!(cluster.has_rights("dev", ALICE).await);
}
