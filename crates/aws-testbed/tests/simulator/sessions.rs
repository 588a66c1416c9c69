//! What is shown of sessions, and ending them.

use jiff::SignedDuration;

use super::{ADMIN, Cluster, refusal, rows, run};
use rolecall_aws_testbed::redshift::{Admin, Redshift, Unknowns};

const SESSIONS: &str = "SELECT user_name FROM stv_sessions ORDER BY process";

#[tokio::test]
async fn stv_sessions_pads_and_cuts_login_names_with_their_prefix() {
    let cluster = Cluster::start().await;
    let long = "l".repeat(60);
    for user in ["alice", &long] {
        run(&cluster.admin, &format!("CREATE USER \"{user}\" PASSWORD DISABLE")).await;
    }
    for login in ["alice", "IAM:alice", "IAMA:alice:group1,group2", &format!("IAM:{long}")] {
        cluster.redshift.open_session(login, "dev").unwrap();
    }
    let found = rows(&cluster.admin, SESSIONS).await;
    let padded = |login: &str| format!("{login:50}");
    let expected = [
        padded("rdsdb"),
        padded(ADMIN),
        padded("alice"),
        padded("IAM:alice"),
        padded("IAMA:alice:group1,group2"),
        format!("IAM:{}", "l".repeat(46)),
    ];
    assert_eq!(found, expected);
    let one = rows(&cluster.admin, "SELECT process FROM stv_sessions WHERE user_name = 'IAM:alice'").await;
    assert_eq!(one.len(), 1, "padding does not count when char is compared");
}

#[tokio::test]
async fn pg_stat_activity_is_late() {
    let cluster = Cluster::start().await;
    run(&cluster.admin, "CREATE USER alice PASSWORD DISABLE").await;
    let query = "SELECT procpid FROM pg_stat_activity WHERE usename = 'alice'";
    let session = cluster.redshift.open_session("IAM:alice", "dev").unwrap();
    assert_eq!(rows(&cluster.admin, query).await.len(), 0);
    cluster.redshift.advance(SignedDuration::from_secs(11));
    assert_eq!(rows(&cluster.admin, query).await.len(), 1);
    cluster.redshift.close_session(session);
    assert_eq!(
        rows(&cluster.admin, "SELECT process FROM stv_sessions WHERE user_name = 'IAM:alice'").await.len(),
        0
    );
    assert_eq!(rows(&cluster.admin, query).await.len(), 1);
    cluster.redshift.advance(SignedDuration::from_secs(11));
    assert_eq!(rows(&cluster.admin, query).await.len(), 0);
}

#[tokio::test]
async fn a_superuser_ends_any_session() {
    let cluster = Cluster::start().await;
    run(&cluster.admin, "CREATE USER alice PASSWORD DISABLE").await;
    let (login, password) = cluster.temporary("alice");
    let client = cluster.redshift.connect(&login, &password, "dev").await.unwrap();
    let process = rows(&client, "SELECT pg_backend_pid()").await.remove(0);
    assert_eq!(rows(&cluster.admin, &format!("SELECT pg_terminate_backend({process})")).await, ["1"]);
    let refused = client.simple_query("SELECT 1").await.unwrap_err();
    assert!(refused.is_closed() || refused.code().is_some_and(|code| code.code() == "57P01"), "{refused:?}");
    while !cluster.redshift.logins("alice").is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(rows(&cluster.admin, &format!("SELECT pg_terminate_backend({process})")).await, ["0"]);
}

#[tokio::test]
async fn others_end_their_own_sessions_alone() {
    let cluster = Cluster::with(Admin::SystemRoleWithSyslog).await;
    let password = cluster.redshift.create_user("bob").unwrap();
    let one = cluster.redshift.connect("bob", &password, "dev").await.unwrap();
    let session = cluster.redshift.open_session("IAM:bob", "dev").unwrap();
    let terminate = format!("SELECT pg_terminate_backend({})", session.process);
    assert_eq!(refusal(&cluster.admin, &terminate).await, "42501");
    assert_eq!(refusal(&cluster.admin, "SELECT pg_terminate_backend(1)").await, "42501");
    assert_eq!(rows(&one, &terminate).await, ["1"]);

    let unknowns = Unknowns { terminate_with_system_superuser: true, ..Unknowns::default() };
    let lenient = Redshift::builder().unknowns(unknowns).start().await.unwrap();
    let password = lenient.create_admin(ADMIN, Admin::SystemRole).unwrap();
    let admin = lenient.connect(ADMIN, &password, "dev").await.unwrap();
    lenient.create_user("bob").unwrap();
    let session = lenient.open_session("bob", "dev").unwrap();
    assert_eq!(rows(&admin, &format!("SELECT pg_terminate_backend({})", session.process)).await, ["1"]);
}

/// The SQLSTATE that ends a statement, or empty where the connection ends.
fn spawn(client: tokio_postgres::Client, statement: &'static str) -> tokio::task::JoinHandle<String> {
    tokio::spawn(async move {
        let error = client.simple_query(statement).await.unwrap_err();
        error.code().map(|code| code.code().to_owned()).unwrap_or_default()
    })
}

#[tokio::test]
async fn what_runs_is_in_stv_recents_and_its_user_cancels_it() {
    let cluster = Cluster::start().await;
    let password = cluster.redshift.create_user("alice").unwrap();
    let other = cluster.redshift.create_user("bob").unwrap();
    let connect =
        async |user: &str, password: &str| cluster.redshift.connect(user, password, "dev").await.unwrap();
    let (running, asking) = (connect("alice", &password).await, connect("alice", &password).await);
    let bob = connect("bob", &other).await;
    let process = rows(&running, "SELECT pg_backend_pid()").await.remove(0);
    cluster.redshift.delay("select svv_roles", Some(std::time::Duration::from_secs(600)));
    let running = spawn(running, "SELECT role_name FROM svv_roles");
    let recents = "SELECT query FROM stv_recents WHERE status = 'Running' AND user_name = 'alice' AND pid = ";
    let recents = format!("{recents}{process}");
    while rows(&asking, &recents).await.is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(rows(&asking, &recents).await[0].trim_end(), "SELECT role_name FROM svv_roles");
    assert_eq!(rows(&bob, &recents).await, [""; 0], "others see nothing of it");
    let cancel = format!("SELECT pg_cancel_backend({process})");
    assert_eq!(refusal(&bob, &cancel).await, "42501");
    assert_eq!(rows(&asking, &cancel).await, ["1"]);
    assert_eq!(running.await.unwrap(), "57014");
    assert_eq!(rows(&asking, &recents).await, [""; 0]);
}
