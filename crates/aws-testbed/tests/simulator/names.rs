//! Names and texts.

use super::{Cluster, refusal, rows, run};

#[tokio::test]
async fn roles_have_no_colon_slash_dot_or_newline_and_no_reserved_word() {
    let cluster = Cluster::start().await;
    for name in ["rolecall:x", "a/b", "a.b", "a\nb", "sys:own"] {
        assert_eq!(refusal(&cluster.admin, &format!("CREATE ROLE \"{name}\"")).await, "42602", "{name}");
    }
    assert_eq!(refusal(&cluster.admin, "CREATE ROLE \"tag\"").await, "42939");
    let long = "x".repeat(128);
    assert_eq!(refusal(&cluster.admin, &format!("CREATE ROLE \"{long}\"")).await, "42622");
}

#[tokio::test]
async fn a_role_is_not_called_like_a_user() {
    let cluster = Cluster::start().await;
    run(&cluster.admin, "CREATE USER \"Alice\" PASSWORD DISABLE").await;
    assert_eq!(refusal(&cluster.admin, "CREATE ROLE \"Alice\"").await, "42710");
    run(&cluster.admin, "CREATE ROLE reader").await;
    assert_eq!(refusal(&cluster.admin, "CREATE USER reader PASSWORD DISABLE").await, "42710");
    assert_eq!(refusal(&cluster.admin, "CREATE ROLE reader").await, "42710");
    assert_eq!(refusal(&cluster.admin, "CREATE USER \"Alice\" PASSWORD DISABLE").await, "42710");
}

#[tokio::test]
async fn quoted_users_keep_their_case_and_everything_else_is_folded() {
    let cluster = Cluster::start().await;
    run(&cluster.admin, "CREATE USER \"STeve\" PASSWORD DISABLE; CREATE USER Bob PASSWORD DISABLE").await;
    let users =
        rows(&cluster.admin, "SELECT usename FROM pg_user WHERE usesysid > 101 ORDER BY usesysid").await;
    assert_eq!(users, ["STeve", "bob"]);
    assert_eq!(refusal(&cluster.admin, "DROP USER \"steve\"").await, "42704");
    run(&cluster.admin, "CREATE ROLE \"Reader\"; GRANT ROLE \"READER\" TO \"STeve\"").await;
    assert_eq!(
        rows(&cluster.admin, "SELECT user_name, role_name FROM svv_user_grants").await,
        ["STeve|reader"]
    );
}

#[tokio::test]
async fn a_backslash_escapes_in_texts() {
    let cluster = Cluster::start().await;
    assert_eq!(rows(&cluster.admin, r"SELECT 'a\\b', 'a\'b', 'a''b'").await, [r"a\b|a'b|a'b"]);
    // What doubles quotes alone is an injection.
    let name = r"\' OR true --";
    let query = format!("SELECT usename FROM pg_user WHERE usename = '{}'", name.replace('\'', "''"));
    assert!(rows(&cluster.admin, &query).await.len() > 1);
}

#[tokio::test]
async fn passwords_have_a_form() {
    let cluster = Cluster::start().await;
    for bad in
        ["short1A", "nouppercase1", "NOLOWERCASE1", "NoDigitsHere", "With Blank1", "With@Sign1", "md5xyz"]
    {
        let text = format!("CREATE USER a PASSWORD '{bad}'");
        assert_eq!(refusal(&cluster.admin, &text).await, "22023", "{bad}");
    }
    assert_eq!(refusal(&cluster.admin, "CREATE USER a PASSWORD DISABLE CREATEUSER").await, "0A000");
    assert_eq!(refusal(&cluster.admin, "CREATE USER a PASSWORD DISABLE SESSION TIMEOUT 59").await, "22023");
}
