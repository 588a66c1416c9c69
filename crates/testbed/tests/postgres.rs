//! PostgreSQL servers of the testbed: log in, crash, hang, many at once.

use std::time::Instant;

use rolecall_testbed::{PgVersion, Postgres, Result, rows};

#[tokio::test]
async fn every_version_accepts_a_certificate_and_a_password() -> Result<()> {
    for version in PgVersion::ALL {
        let started = Instant::now();
        let pg = Postgres::start(version).await?;
        println!("{version} started in {:?}", started.elapsed());
        let number = pg.value("postgres", "show server_version_num").await?.unwrap();
        assert_eq!(number[..2], version.major().to_string());

        let admin = pg.create_admin("teleport-admin").await?;
        let client = pg.connect("postgres", &admin).await?;
        let who =
            rows(&client, "select current_user, rolsuper from pg_roles where rolname = current_user").await?;
        assert_eq!(who, [[Some("teleport-admin".to_owned()), Some("f".to_owned())]]);

        let expired = pg.expired_client_cert("teleport-admin")?;
        assert!(pg.connect("postgres", &expired).await.is_err());

        pg.create_password_user("alice", "it's secret", "createrole").await?;
        pg.connect_with_password("postgres", "alice", "it's secret").await?;
        let error = pg.connect_with_password("postgres", "alice", "wrong").await.unwrap_err();
        assert_eq!(error.sqlstate(), Some("28P01"));
    }
    Ok(())
}

#[tokio::test]
async fn a_german_server_speaks_german() -> Result<()> {
    let pg = Postgres::german().start().await?;
    println!("{}", pg.version());
    let admin = pg.create_admin("teleport-admin").await?;
    let client = pg.connect("postgres", &admin).await?;
    let error = rows(&client, "select * from missing").await.unwrap_err();
    assert_eq!(error.sqlstate(), Some("42P01"));
    assert!(error.to_string().contains("existiert nicht"), "{error}");
    Ok(())
}
