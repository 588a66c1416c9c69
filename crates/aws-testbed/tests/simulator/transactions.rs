//! Transactions, and what two of them may not do at once.

use std::time::Duration;

use super::{Cluster, refusal, rows, run};

const USERS: &str = "SELECT usename FROM pg_user WHERE usesysid > 101 ORDER BY usename";

#[tokio::test]
async fn a_text_of_several_statements_is_one_transaction() {
    let cluster = Cluster::start().await;
    let text = "CREATE USER a PASSWORD DISABLE; CREATE USER b PASSWORD DISABLE; DROP USER ghost";
    assert_eq!(refusal(&cluster.admin, text).await, "42704");
    assert_eq!(rows(&cluster.admin, USERS).await, Vec::<String>::new());
    // A mistake at its end keeps all of it from running.
    assert_eq!(refusal(&cluster.admin, "CREATE USER a PASSWORD DISABLE; SET ROLE x").await, "42601");
    assert_eq!(rows(&cluster.admin, USERS).await, Vec::<String>::new());
    run(&cluster.admin, "CREATE USER a PASSWORD DISABLE; CREATE USER b PASSWORD DISABLE").await;
    assert_eq!(rows(&cluster.admin, USERS).await, ["a", "b"]);
}

#[tokio::test]
async fn after_an_error_a_transaction_can_only_be_ended() {
    let cluster = Cluster::start().await;
    run(&cluster.admin, "BEGIN").await;
    run(&cluster.admin, "CREATE USER a PASSWORD DISABLE").await;
    assert_eq!(refusal(&cluster.admin, "DROP USER ghost").await, "42704");
    assert_eq!(refusal(&cluster.admin, "SELECT 1").await, "25P02");
    assert_eq!(refusal(&cluster.admin, "CREATE USER b PASSWORD DISABLE").await, "25P02");
    run(&cluster.admin, "COMMIT").await;
    assert_eq!(rows(&cluster.admin, USERS).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_transaction_sees_its_own_changes_and_others_see_them_when_it_commits() {
    let cluster = Cluster::start().await;
    let other = cluster.another().await;
    run(&cluster.admin, "BEGIN").await;
    run(&cluster.admin, "CREATE USER a PASSWORD DISABLE; CREATE ROLE r; GRANT ROLE r TO a").await;
    assert_eq!(rows(&cluster.admin, "SELECT role_name FROM svv_user_grants").await, ["r"]);
    assert_eq!(rows(&other, USERS).await, Vec::<String>::new());
    run(&cluster.admin, "COMMIT").await;
    assert_eq!(rows(&other, USERS).await, ["a"]);
    run(&other, "BEGIN; DROP USER a; ROLLBACK").await;
    assert_eq!(rows(&cluster.admin, USERS).await, ["a"]);
}

/// Waits until the simulator has this statement, which waits for another transaction there.
async fn arrived(cluster: &Cluster, statement: &str) {
    while cluster.redshift.statements().last().is_none_or(|(_, text)| text != statement) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_slower_of_two_transactions_on_one_user_fails_and_its_connection_with_it() {
    let cluster = Cluster::start().await;
    let other = cluster.another().await;
    run(&cluster.admin, "CREATE USER a PASSWORD DISABLE; CREATE USER b PASSWORD DISABLE").await;
    run(&cluster.admin, "BEGIN").await;
    run(&cluster.admin, "ALTER USER a CONNECTION LIMIT 0").await;
    run(&other, "ALTER USER b CONNECTION LIMIT 0").await;
    let second = "ALTER USER a CONNECTION LIMIT 1";
    let waiting = async {
        arrived(&cluster, second).await;
        run(&cluster.admin, "COMMIT").await;
    };
    let (code, ()) = tokio::join!(refusal(&other, second), waiting);
    assert_eq!(code, "XX000");
    for text in ["ROLLBACK", "SELECT 1", second] {
        assert_eq!(refusal(&other, text).await, "XX000", "{text}");
    }
    let limit = "SELECT connection_limit FROM svv_user_info WHERE user_name = 'a'";
    assert_eq!(rows(&cluster.admin, limit).await, ["0"]);
    run(&cluster.another().await, second).await;
}

#[tokio::test]
async fn the_second_transaction_goes_on_when_the_first_rolls_back() {
    let cluster = Cluster::start().await;
    let other = cluster.another().await;
    run(&cluster.admin, "CREATE USER a PASSWORD DISABLE; CREATE ROLE r").await;
    run(&cluster.admin, "BEGIN").await;
    run(&cluster.admin, "GRANT ROLE r TO a").await;
    let waiting = async {
        arrived(&cluster, "DROP ROLE r").await;
        run(&cluster.admin, "ROLLBACK").await;
    };
    tokio::join!(run(&other, "DROP ROLE r"), waiting);
    assert_eq!(rows(&cluster.admin, "SELECT role_name FROM svv_roles WHERE role_name = 'r'").await.len(), 0);
}

#[tokio::test]
async fn a_transaction_that_began_before_another_ones_change_fails() {
    let cluster = Cluster::start().await;
    let other = cluster.another().await;
    run(&cluster.admin, "CREATE USER a PASSWORD DISABLE; CREATE ROLE r").await;
    run(&other, "BEGIN").await;
    run(&cluster.admin, "GRANT ROLE r TO a").await;
    assert_eq!(refusal(&other, "REVOKE ROLE r FROM a").await, "XX000");
}

#[tokio::test]
async fn transactions_that_wait_for_each_other_do_not_wait_forever() {
    let cluster = Cluster::start().await;
    let other = cluster.another().await;
    run(&cluster.admin, "CREATE USER a PASSWORD DISABLE; CREATE USER b PASSWORD DISABLE").await;
    run(&cluster.admin, "BEGIN").await;
    run(&cluster.admin, "ALTER USER a NOCREATEDB").await;
    run(&other, "BEGIN; ALTER USER b NOCREATEDB").await;
    let (one, two) = tokio::join!(
        cluster.admin.simple_query("ALTER USER b NOCREATEDB"),
        other.simple_query("ALTER USER a NOCREATEDB")
    );
    assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
}

#[tokio::test]
async fn a_connection_that_goes_rolls_back() {
    let cluster = Cluster::start().await;
    let other = cluster.another().await;
    run(&cluster.admin, "CREATE USER a PASSWORD DISABLE").await;
    run(&other, "BEGIN; ALTER USER a CONNECTION LIMIT 0").await;
    drop(other);
    run(&cluster.admin, "ALTER USER a CONNECTION LIMIT 5").await;
}

#[tokio::test]
async fn statements_wait_no_longer_than_their_timeout() {
    let cluster = Cluster::start().await;
    let other = cluster.another().await;
    run(&cluster.admin, "CREATE USER a PASSWORD DISABLE").await;
    run(&cluster.admin, "BEGIN; ALTER USER a NOCREATEDB").await;
    run(&other, "SET statement_timeout TO 50").await;
    assert_eq!(refusal(&other, "ALTER USER a NOCREATEDB").await, "57014");
}

#[tokio::test]
async fn tests_make_it_go_wrong() {
    let cluster = Cluster::start().await;
    let redshift = &cluster.redshift;
    redshift.fail_next("create user", 1, "53400");
    assert_eq!(refusal(&cluster.admin, "CREATE USER a PASSWORD DISABLE").await, "53400");
    run(&cluster.admin, "CREATE USER a PASSWORD DISABLE").await;
    assert_eq!(redshift.counts()["create user"], 2);
    redshift.reset_counts();
    redshift.conflict_next("", 1);
    assert_eq!(refusal(&cluster.admin, "SELECT process FROM stv_sessions").await, "XX000");
    assert_eq!(redshift.counts().into_iter().collect::<Vec<_>>(), [("select stv_sessions".to_owned(), 1)]);
    assert_eq!(redshift.statements().last().unwrap().1, "SELECT process FROM stv_sessions");

    let client = cluster.another().await;
    redshift.freeze();
    let query = client.simple_query("SELECT 1");
    tokio::pin!(query);
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut query).await.is_err());
    redshift.thaw();
    query.await.unwrap();
    redshift.delay("select", Some(Duration::from_millis(50)));
    let started = std::time::Instant::now();
    run(&client, "SELECT 1").await;
    assert!(started.elapsed() >= Duration::from_millis(50));
    redshift.drop_connections();
    assert!(client.simple_query("SELECT 1").await.is_err());
    redshift.set_down(true);
    assert!(redshift.connect("a", "b", "dev").await.is_err());
    redshift.set_down(false);
    cluster.another().await;
    redshift.lock_out(super::ADMIN);
    let locked = redshift.connect(super::ADMIN, "Passw0rd1", "dev").await.map(drop).unwrap_err();
    assert_eq!(locked.sqlstate(), Some("28000"));
}
