//! A standby of a server: it follows by streaming replication, can be cut off, and takes the server's place.

use std::fs;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::Postgres;
use crate::error::{Error, Result};
use crate::ports;
use crate::scratch::{Scratch, copy_tree};

/// Replication takes milliseconds; a loaded machine may need much longer.
const TIMEOUT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(10);

impl Postgres {
    /// Makes a standby that follows this server asynchronously, and waits until it does. It has the same certificates,
    /// users and system identifier, and its own address.
    ///
    /// This server is stopped and started again meanwhile: its data is copied at rest.
    ///
    /// # Errors
    /// When one of the two does not start, or the standby does not follow.
    pub async fn standby(&self) -> Result<Self> {
        self.stop().await;
        let dir = Scratch::new("pgstandby", self.account)?;
        let data = dir.path().join("data");
        copy_tree(&self.data(), &data, self.account)?;
        self.start_again().await?;
        let standby = Self {
            installation: self.installation.clone(),
            port: ports::free()?,
            server_authority: Arc::clone(&self.server_authority),
            client_authority: Arc::clone(&self.client_authority),
            account: self.account,
            program: Mutex::new(None),
            dir,
        };
        let primary = format!(
            "host={} port={} user=postgres application_name=standby",
            self.socket_dir().display(),
            self.port()
        );
        let own = [
            ("unix_socket_directories", standby.socket_dir().display().to_string()),
            ("primary_conninfo", primary),
            ("hot_standby", "on".to_owned()),
        ];
        for (name, value) in own {
            standby.set(name, &value)?;
        }
        let signal = data.join("standby.signal");
        fs::write(&signal, "").map_err(Error::io("writing", &signal))?;
        standby.account.own(&signal)?;
        let standby = standby.create().await?;
        standby.caught_up_with(self).await?;
        Ok(standby)
    }

    /// Waits until this standby has replayed all that `primary` has written until now.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn caught_up_with(&self, primary: &Self) -> Result<()> {
        let position = primary.value("postgres", "select pg_current_wal_flush_lsn()").await?;
        let position = position.unwrap_or_default();
        let query = format!("select coalesce(pg_last_wal_replay_lsn() >= '{position}', false)");
        self.until("caught up with its primary", &query).await
    }

    /// Cuts this standby off from its primary, which does not wait for it.
    ///
    /// # Errors
    /// When it keeps following.
    pub async fn cut_off(&self) -> Result<()> {
        self.set("primary_conninfo", "")?;
        self.sql("postgres", "select pg_reload_conf()").await?;
        self.until("cut off", "select not exists (select from pg_stat_wal_receiver)").await
    }

    /// Promotes this standby to a primary, on its own timeline.
    ///
    /// # Errors
    /// When it is not promoted in time.
    pub async fn promote(&self) -> Result<()> {
        self.sql("postgres", "select pg_promote(true, 60)").await?;
        self.until("a primary", "select not pg_is_in_recovery()").await
    }

    /// Waits until a query answers with true.
    async fn until(&self, what: &str, query: &str) -> Result<()> {
        let deadline = Instant::now() + TIMEOUT;
        while self.value("postgres", query).await?.as_deref() != Some("t") {
            if Instant::now() > deadline {
                return Err(Error::Build {
                    component: "PostgreSQL".to_owned(),
                    detail: format!("the standby was not {what} in time:\n{}", self.log()),
                });
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Adds a parameter to postgresql.conf, where the last line of a name wins.
    fn set(&self, name: &str, value: &str) -> Result<()> {
        let path = self.data().join("postgresql.conf");
        let file = fs::OpenOptions::new().append(true).open(&path);
        let line = format!("{name} = '{}'\n", value.replace('\'', "''"));
        file.and_then(|mut file| file.write_all(line.as_bytes())).map_err(Error::io("writing", &path))
    }
}
