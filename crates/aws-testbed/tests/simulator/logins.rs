//! Who gets in.

use jiff::SignedDuration;
use rolecall_aws_testbed::redshift::{Admin, Authentication, Redshift};

use super::{ADMIN, Cluster, rows, run};

/// The SQLSTATE with which a login is refused.
async fn refused(redshift: &Redshift, login: &str, password: &str, database: &str) -> String {
    let error = redshift.connect(login, password, database).await.map(drop).unwrap_err();
    error.sqlstate().unwrap_or_else(|| panic!("{error}")).to_owned()
}

#[tokio::test]
async fn a_connection_limit_of_zero_keeps_new_logins_out_and_leaves_open_ones() {
    let cluster = Cluster::start().await;
    run(&cluster.admin, "CREATE USER alice PASSWORD DISABLE").await;
    let (login, password) = cluster.temporary("alice");
    let inside = cluster.redshift.connect(&login, &password, "dev").await.unwrap();
    run(&cluster.admin, "ALTER USER alice CONNECTION LIMIT 0").await;
    assert_eq!(refused(&cluster.redshift, &login, &password, "dev").await, "53300");
    assert_eq!(rows(&inside, "SELECT current_user").await, ["alice"]);
    run(&cluster.admin, "ALTER USER alice CONNECTION LIMIT UNLIMITED").await;
    // A temporary password is used again and again.
    cluster.redshift.connect(&login, &password, "dev").await.unwrap();
}

#[tokio::test]
async fn a_connection_limit_does_not_concern_superusers() {
    let cluster = Cluster::start().await;
    let password = cluster.redshift.create_admin("boss", Admin::Superuser).unwrap();
    run(&cluster.admin, "ALTER USER boss CONNECTION LIMIT 0").await;
    cluster.redshift.connect("boss", &password, "dev").await.unwrap();
}

#[tokio::test]
async fn nologin_and_valid_until_stop_passwords_and_not_iam() {
    let cluster = Cluster::start().await;
    let password = cluster.redshift.create_user("alice").unwrap();
    let (login, temporary) = cluster.temporary("alice");
    run(&cluster.admin, "ALTER USER alice NOLOGIN").await;
    assert_eq!(refused(&cluster.redshift, "alice", &password, "dev").await, "28000");
    cluster.redshift.connect(&login, &temporary, "dev").await.unwrap();
    run(&cluster.admin, "ALTER USER alice LOGIN PASSWORD 'Passw0rd1'").await;
    cluster.redshift.connect("alice", "Passw0rd1", "dev").await.unwrap();
    run(&cluster.admin, "ALTER USER alice VALID UNTIL '2020-01-01 00:00:00'").await;
    assert_eq!(refused(&cluster.redshift, "alice", "Passw0rd1", "dev").await, "28000");
    cluster.redshift.connect(&login, &temporary, "dev").await.unwrap();
    run(&cluster.admin, "ALTER USER alice VALID UNTIL 'infinity'").await;
    cluster.redshift.connect("alice", "Passw0rd1", "dev").await.unwrap();
}

#[tokio::test]
async fn five_wrong_passwords_lock_a_user_until_it_gets_a_new_one() {
    let cluster = Cluster::start().await;
    let password = cluster.redshift.create_user("alice").unwrap();
    for _ in 0..4 {
        assert_eq!(refused(&cluster.redshift, "alice", "wrong", "dev").await, "28000");
    }
    cluster.redshift.connect("alice", &password, "dev").await.unwrap();
    for _ in 0..5 {
        assert_eq!(refused(&cluster.redshift, "alice", "wrong", "dev").await, "28000");
    }
    assert_eq!(refused(&cluster.redshift, "alice", &password, "dev").await, "28000");
    let (login, temporary) = cluster.temporary("alice");
    cluster.redshift.connect(&login, &temporary, "dev").await.unwrap();
    run(&cluster.admin, "ALTER USER alice PASSWORD 'Passw0rd1'").await;
    cluster.redshift.connect("alice", "Passw0rd1", "dev").await.unwrap();
}

#[tokio::test]
async fn temporary_passwords_are_for_one_login_name_and_end() {
    let cluster = Cluster::start().await;
    let own = cluster.redshift.create_user("alice").unwrap();
    run(&cluster.admin, "CREATE USER bob PASSWORD DISABLE").await;
    let (login, password) = cluster.temporary("alice");
    for other in ["alice", "IAMA:alice", "IAM:bob", "IAM:Alice", "IAM:alice:group"] {
        assert_eq!(refused(&cluster.redshift, other, &password, "dev").await, "28000", "{other}");
    }
    assert_eq!(refused(&cluster.redshift, &login, &own, "dev").await, "28000");
    let inside = cluster.redshift.connect(&login, &password, "dev").await.unwrap();
    cluster.redshift.advance(SignedDuration::from_secs(899));
    cluster.redshift.connect(&login, &password, "dev").await.unwrap();
    cluster.redshift.advance(SignedDuration::from_secs(1));
    assert_eq!(refused(&cluster.redshift, &login, &password, "dev").await, "28000");
    assert_eq!(rows(&inside, "SELECT current_user").await, ["alice"], "who is inside stays");
}

#[tokio::test]
async fn credentials_for_a_user_that_is_not_there_are_refused_at_the_login() {
    let cluster = Cluster::start().await;
    let (login, password) = cluster.temporary("ghost");
    assert_eq!(refused(&cluster.redshift, &login, &password, "dev").await, "42704");
    assert_eq!(refused(&cluster.redshift, "ghost", "anything", "dev").await, "28000");
    cluster.redshift.create_user("alice").unwrap();
    let (login, password) = cluster.temporary("alice");
    assert_eq!(refused(&cluster.redshift, &login, &password, "nowhere").await, "3D000");
    run(&cluster.admin, "CREATE USER bob PASSWORD DISABLE").await;
    assert_eq!(refused(&cluster.redshift, "bob", "anything", "dev").await, "28000");
}

#[tokio::test]
async fn passwords_are_asked_for_in_clear_text_and_as_md5() {
    for authentication in [Authentication::Cleartext, Authentication::Md5] {
        let redshift = Redshift::builder().authentication(authentication).start().await.unwrap();
        let password = redshift.create_admin(ADMIN, Admin::Superuser).unwrap();
        let admin = redshift.connect(ADMIN, &password, "dev").await.unwrap();
        // md5 over `Passw0rd1` and `alice`.
        let md5 = "md55db27412b2ef8f98e4636a6e2e2b1a71";
        run(&admin, &format!("CREATE USER alice PASSWORD '{md5}'")).await;
        redshift.connect("alice", "Passw0rd1", "dev").await.unwrap();
        assert_eq!(refused(&redshift, "alice", "Passw0rd2", "dev").await, "28000");
    }
}

#[tokio::test]
async fn the_digest_of_the_server_is_unknown_to_clients_of_postgresql() {
    let redshift = Redshift::builder().authentication(Authentication::Digest).start().await.unwrap();
    let password = redshift.create_admin(ADMIN, Admin::Superuser).unwrap();
    let error = redshift.connect(ADMIN, &password, "dev").await.map(drop).unwrap_err();
    assert_eq!(error.sqlstate(), None, "{error}");
}

#[tokio::test]
async fn the_server_calls_itself_8_0_2_and_takes_no_plain_connections() {
    let cluster = Cluster::start().await;
    assert_eq!(rows(&cluster.admin, "SHOW server_version").await, ["8.0.2"]);
    let mut config = tokio_postgres::Config::new();
    config.host("localhost").port(cluster.redshift.port()).user(ADMIN).dbname("dev").password("x");
    config.ssl_mode(tokio_postgres::config::SslMode::Disable);
    let error = config.connect(tokio_postgres::NoTls).await.map(drop).unwrap_err();
    assert_eq!(error.code().unwrap().code(), "28000");
}
