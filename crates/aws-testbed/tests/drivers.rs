//! The simulator of Redshift and the front of AWS with the drivers that others wrote for the real ones.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fmt::Write;

use rolecall_aws_testbed::front::AwsFront;
use rolecall_aws_testbed::redshift::{Admin, Authentication, Redshift};
use rolecall_aws_testbed::sigv4::Keys;
use rolecall_testbed::components::clients::{self, Client};

/// Statements with what becomes of each, in every driver.
const STATEMENTS: [(&str, &str); 14] = [
    ("SELECT current_user", "row boss"),
    ("CREATE USER \"Alice\" PASSWORD DISABLE CONNECTION LIMIT 0", ""),
    ("CREATE ROLE reader", ""),
    ("GRANT ROLE reader TO \"Alice\"", ""),
    ("SELECT user_name, role_name, admin_option FROM svv_user_grants", "row Alice|reader|f"),
    (
        "SELECT user_name, connection_limit, superuser FROM svv_user_info WHERE user_name = 'Alice'",
        "row Alice|0|f",
    ),
    ("SELECT usename, valuntil, useconfig FROM pg_user WHERE usename = 'Alice'", "row Alice|-|-"),
    ("SELECT trim(user_name), trim(db_name) FROM stv_sessions WHERE user_name = 'rdsdb'", "row rdsdb|dev"),
    ("SELECT database_name FROM svv_redshift_databases WHERE database_type = 'local'", "row dev"),
    ("SET ROLE reader", "error 42601"),
    ("SELECT rolname FROM pg_roles", "error 42P01"),
    ("DROP ROLE reader", "error 2BP01"),
    ("SELECT pg_terminate_backend(1)", "row 0"),
    ("DROP USER \"Alice\"", ""),
];

fn expected() -> String {
    let mut text = String::new();
    for (_, outcome) in STATEMENTS {
        if !outcome.is_empty() {
            writeln!(text, "{outcome}").unwrap();
        }
        if !outcome.starts_with("error") {
            writeln!(text, "done").unwrap();
        }
    }
    text
}

/// Runs a driver and returns what it printed.
async fn run(client: Client, redshift: &Redshift, settings: &[(&str, String)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut lines = format!("host={}\nport={}\ndatabase=dev\n", redshift.host(), redshift.port());
    for (name, value) in settings {
        writeln!(lines, "{name}={value}").unwrap();
    }
    let statements = STATEMENTS.map(|(statement, _)| statement).join("\n");
    for (file, text) in
        [("settings", lines.as_str()), ("statements", &statements), ("ca.pem", redshift.ca_pem())]
    {
        std::fs::write(folder.path().join(file), text).unwrap();
    }
    let output =
        tokio::task::spawn_blocking(move || client.command(folder.path()).output().unwrap()).await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

async fn prepare(client: fn() -> rolecall_testbed::Result<Client>) -> Client {
    tokio::task::spawn_blocking(client).await.unwrap().unwrap()
}

async fn with_passwords(client: fn() -> rolecall_testbed::Result<Client>) {
    let client = prepare(client).await;
    for authentication in [Authentication::Cleartext, Authentication::Md5, Authentication::Digest] {
        let redshift = Redshift::builder().authentication(authentication).start().await.unwrap();
        let password = redshift.create_admin("boss", Admin::Superuser).unwrap();
        let settings = |password: &str| [("user", "boss".to_owned()), ("password", password.to_owned())];
        let text = run(client.clone(), &redshift, &settings(&password)).await;
        assert_eq!(text, expected(), "{authentication:?}");
        let text = run(client.clone(), &redshift, &settings("Wrong1234")).await;
        assert_eq!(text, "login 28000\n", "{authentication:?}");
    }
}

#[tokio::test]
async fn the_python_driver_of_redshift_works_on_the_simulator() {
    with_passwords(clients::redshift_connector).await;
}

#[tokio::test]
async fn the_jdbc_driver_of_redshift_works_on_the_simulator() {
    with_passwords(clients::redshift_jdbc).await;
}

#[tokio::test]
async fn boto3_gets_credentials_from_the_front_that_the_simulator_accepts() {
    let client = prepare(clients::redshift_connector).await;
    let redshift = Redshift::start().await.unwrap();
    redshift.create_admin("boss", Admin::Superuser).unwrap();
    let keys = Keys::new("AKIDBOSS", "secret/+", Some("session/+="));
    let front = AwsFront::start("eu-west-1", keys.clone()).await.unwrap();
    front.add_cluster("shop", redshift.issuer());
    let settings = |secret: &str, user: &str| {
        [
            ("user", user.to_owned()),
            ("cluster", "shop".to_owned()),
            ("region", "eu-west-1".to_owned()),
            ("endpoint", front.url()),
            ("AWS_ACCESS_KEY_ID", keys.access_key_id.clone()),
            ("AWS_SECRET_ACCESS_KEY", secret.to_owned()),
            ("AWS_SESSION_TOKEN", keys.session_token.clone().unwrap()),
        ]
    };
    let text = run(client.clone(), &redshift, &settings(&keys.secret, "boss")).await;
    assert_eq!(text, expected());
    let text = run(client.clone(), &redshift, &settings(&keys.secret, "ghost")).await;
    assert_eq!(text, "login 42704\n");
    let text = run(client, &redshift, &settings("wrong", "boss")).await;
    assert!(text.contains("SignatureDoesNotMatch"), "{text}");
}
