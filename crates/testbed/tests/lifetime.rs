//! Nothing outlives its owner: not after a panic, not after a kill, and a crashed or frozen server behaves like one.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rolecall_testbed::{Mongo, PgVersion, Postgres, Result};

/// Set for the child process that holds a server and is then killed.
const HOLDER: &str = "ROLECALL_TESTBED_HOLDER";

/// Not really a test: what `a_killed_owner_leaves_nothing_behind` runs in another process.
#[tokio::test]
async fn holder() -> Result<()> {
    if std::env::var_os(HOLDER).is_some() {
        let pg = Postgres::start(PgVersion::V17).await?;
        // A second backend, and a frozen one: both have to go as well.
        let _client = pg.superuser("postgres").await?;
        pg.pause().await;
        let mongo = Mongo::start().await?;
        mongo.pause(0).await;
        println!("directory={} {}", pg.socket_dir().display(), mongo.dir().display());
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    Ok(())
}

#[test]
fn a_killed_owner_leaves_nothing_behind() {
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["holder", "--exact", "--nocapture"])
        .env(HOLDER, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(owner.stdout.take().unwrap());
    let line = output.lines().map_while(|line| line.ok()).find(|line| line.contains("directory=")).unwrap();
    let dirs: Vec<_> = line.split_once("directory=").unwrap().1.split(' ').map(PathBuf::from).collect();
    assert!(dirs.iter().all(|dir| dir.is_dir()));
    assert!(processes_of(&dirs[0]) > 4, "postmaster, supervisor, sweeper and backends");
    assert_eq!(processes_of(&dirs[1]), 3, "mongod, supervisor and sweeper");

    // SIGKILL: no destructor runs.
    owner.kill().unwrap();
    owner.wait().unwrap();
    for dir in dirs {
        until("the directory is gone", || !dir.exists());
        until("the processes are gone", || processes_of(&dir) == 0);
    }
}

#[tokio::test]
async fn a_panic_leaves_nothing_behind() {
    let dir = tokio::spawn(async {
        let pg = Postgres::start(PgVersion::V17).await.unwrap();
        std::panic::panic_any(pg.socket_dir().to_owned());
    })
    .await
    .unwrap_err()
    .into_panic();
    let dir = dir.downcast::<PathBuf>().unwrap();
    assert!(!dir.exists());
    assert_eq!(processes_of(&dir), 0);
}

#[tokio::test]
async fn a_killed_server_keeps_what_was_committed() -> Result<()> {
    let pg = Postgres::start(PgVersion::V17).await?;
    let port = pg.port();
    let client = pg.superuser("postgres").await?;
    pg.sql("postgres", "create table kept (n int); insert into kept values (7)").await?;
    pg.kill().await;
    assert!(!pg.is_running().await);
    assert!(client.simple_query("select 1").await.is_err());

    pg.start_again().await?;
    assert_eq!(pg.port(), port);
    assert_eq!(pg.value("postgres", "select n from kept").await?.as_deref(), Some("7"));
    assert!(pg.log().contains("automatic recovery"));
    pg.restart().await?;
    assert_eq!(pg.value("postgres", "select n from kept").await?.as_deref(), Some("7"));
    Ok(())
}

#[tokio::test]
async fn a_paused_server_answers_later() -> Result<()> {
    let pg = Postgres::start(PgVersion::V15).await?;
    let client = pg.superuser("postgres").await?;
    pg.pause().await;
    let query = client.simple_query("select 1");
    tokio::pin!(query);
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut query).await.is_err());
    pg.unpause().await;
    assert!(query.await.is_ok());
    Ok(())
}

#[tokio::test]
async fn many_servers_start_at_once() -> Result<()> {
    let started = Instant::now();
    let mut starting = tokio::task::JoinSet::new();
    for index in 0..12 {
        starting.spawn(Postgres::start(PgVersion::ALL[index % PgVersion::ALL.len()]));
    }
    let mut servers = Vec::new();
    while let Some(server) = starting.join_next().await {
        servers.push(server.unwrap()?);
    }
    println!("12 servers started in {:?}", started.elapsed());
    for server in &servers {
        assert_eq!(server.value("postgres", "select 1").await?.as_deref(), Some("1"));
    }
    Ok(())
}

/// How many processes name `dir` in their command line or work in it.
fn processes_of(dir: &Path) -> usize {
    let belongs = |process: &Path| {
        let command = std::fs::read(process.join("cmdline")).unwrap_or_default();
        let cwd = std::fs::read_link(process.join("cwd")).unwrap_or_default();
        cwd.starts_with(dir) || String::from_utf8_lossy(&command).contains(&dir.display().to_string())
    };
    std::fs::read_dir("/proc").into_iter().flatten().flatten().filter(|entry| belongs(&entry.path())).count()
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
