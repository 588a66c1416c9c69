//! Ends that meet something.

use rolecall_aws_testbed::redshift::{Admin, Unknowns};
use rolecall_engine::dialect::redshift::record::owner_role;
use rolecall_engine::{Engine as _, MARKER, Reason};

use super::{Cluster, UID, enabled, ended, owner};

/// What an account keeps that has ended.
fn kept() -> [String; 2] {
    [owner_role(UID), MARKER.to_owned()]
}

#[tokio::test]
async fn roles_are_taken_where_sessions_cannot_be_ended() {
    let unknowns = Unknowns { user_info_with_system_access: true, ..Unknowns::default() };
    let cluster = Cluster::with(Admin::SystemRoleWithSyslog, unknowns).await;
    cluster.put(&owner(UID), 2).await;
    let error = cluster.reach(&ended(false)).await.unwrap_err();
    assert_eq!(error.reason, Reason::MissingSystemAccess, "{error}");
    assert_eq!(cluster.sessions().await, 2);
    assert!(cluster.is_closed().await);
    assert!(cluster.roles_of_alice().await.iter().eq(&kept()), "{:?}", cluster.roles_of_alice().await);
}

#[tokio::test]
async fn a_session_that_may_not_be_ended_keeps_no_other_from_being_ended() {
    let cluster = Cluster::start().await;
    cluster.put(&owner(UID), 3).await;
    cluster.engine.observe(&ended(false).query()).await.unwrap();
    cluster.simulator.fail_next("select", 1, "42501");
    let error = cluster.reach(&ended(false)).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.reason), ("42501", Reason::MissingSystemAccess), "{error}");
    assert_eq!(cluster.sessions().await, 1);
    cluster.reach(&ended(false)).await.unwrap();
    assert_eq!(cluster.sessions().await, 0);
}

#[tokio::test]
async fn sessions_that_are_not_seen_are_not_taken_for_ended() {
    let cluster = Cluster::start().await;
    cluster.put(&owner(UID), 1).await;
    let plan = cluster.plan(&ended(false)).await;
    cluster.simulator.blank("stv_sessions", true);
    let error = cluster.engine.apply(&plan).await.unwrap_err();
    assert_eq!(error.reason, Reason::MissingSystemAccess, "{error}");
    cluster.simulator.blank("stv_sessions", false);
    cluster.engine.apply(&plan).await.unwrap();
    assert_eq!(cluster.sessions().await, 0);
}

#[tokio::test]
async fn roles_that_are_still_there_are_not_taken_for_revoked() {
    let cluster = Cluster::start().await;
    cluster.put(&owner(UID), 0).await;
    cluster.simulator.ignore_next("revoke role", 1);
    let error = cluster.reach(&ended(false)).await.unwrap_err();
    assert_eq!(error.reason, Reason::LeftoverMembership, "{error}");
    assert!(error.remedy.contains("REVOKE ROLE \"reader\" FROM \"alice\""), "{error}");
    cluster.reach(&ended(false)).await.unwrap();
    assert!(cluster.roles_of_alice().await.iter().eq(&kept()));
}

#[tokio::test]
async fn sessions_of_a_user_that_somebody_dropped_are_ended() {
    let cluster = Cluster::start().await;
    cluster.put(&owner(UID), 2).await;
    cluster.sql("DROP USER alice").await;
    assert_eq!(cluster.sessions().await, 2);
    let applied = cluster.reach(&ended(false)).await.unwrap();
    assert!(applied.dropped, "{applied:?}");
    assert_eq!(cluster.sessions().await, 0);
    assert!(cluster.plan(&ended(false)).await.is_nothing());
}

/// A login that is under way shows only when it is through.
#[tokio::test]
async fn sessions_of_a_user_that_somebody_dropped_are_looked_for_twice() {
    let cluster = Cluster::start().await;
    cluster.simulator.reset_counts();
    assert!(cluster.plan(&ended(false)).await.is_nothing());
    assert_eq!(cluster.simulator.counts()["select stv_sessions"], 2);
}

#[tokio::test]
async fn the_account_of_a_predecessor_is_closed_whatever_becomes_of_the_record() {
    for desired in [ended(true), enabled()] {
        let cluster = Cluster::start().await;
        cluster.put(&owner("predecessor"), 1).await;
        cluster.simulator.fail_next("create role", 1, "42501");
        cluster.reach(&desired).await.unwrap_err();
        assert!(cluster.is_closed().await, "{:?}", desired.want);
        assert_eq!(cluster.sessions().await, 0, "{:?}", desired.want);

        let applied = cluster.reach(&desired).await.unwrap();
        let roles = cluster.roles_of_alice().await;
        assert!(applied.dropped || roles.contains(&owner_role(UID)), "{applied:?} {roles:?}");
        assert!(!roles.contains(&owner_role("predecessor")), "{roles:?}");
    }
}

#[tokio::test]
async fn a_marker_that_somebody_dropped_is_made_anew() {
    let cluster = Cluster::start().await;
    cluster.reach(&enabled()).await.unwrap();
    cluster.reach(&ended(true)).await.unwrap();
    cluster.sql(&format!("DROP ROLE \"{MARKER}\" FORCE")).await;
    let error = cluster.reach(&enabled()).await.unwrap_err();
    assert_eq!(error.class, rolecall_engine::Class::Transient, "{error}");
    cluster.reach(&enabled()).await.unwrap();
    assert!(cluster.roles_of_alice().await.contains(MARKER));
}
