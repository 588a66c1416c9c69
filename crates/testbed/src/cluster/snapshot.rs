//! Copies of all objects, as a backup of etcd has them, and going back to one.

use std::fs;
use std::path::PathBuf;

use rustix::process::Signal;

use super::Cluster;
use super::programs::STOP_TIMEOUT;
use crate::account::Account;
use crate::error::{Error, Result};
use crate::process::Program;
use crate::scratch::copy_tree;

impl Cluster {
    /// Copies all objects as they are now, in place of an earlier copy. Writes wait meanwhile.
    ///
    /// # Errors
    /// When files cannot be read or written.
    pub async fn take_snapshot(&self) -> Result<()> {
        let etcd = self.etcd.lock().await;
        // Frozen, its files are what a crash would leave, which it starts from.
        if let Some(program) = etcd.as_ref() {
            program.pause().await;
        }
        let copied =
            remove(&self.snapshot()).and_then(|()| copy_tree(&self.data(), &self.snapshot(), Account::Own));
        if let Some(program) = etcd.as_ref() {
            program.unpause();
        }
        copied
    }

    /// Makes all objects what they were at [`Cluster::take_snapshot`]: the API server, etcd and the controller manager
    /// are killed and started again. Resource versions go back too, as after `etcdutl snapshot restore`.
    ///
    /// # Errors
    /// When there is no snapshot, or something does not start.
    pub async fn restore_snapshot(&self) -> Result<()> {
        let mut controllers = self.controller_manager.lock().await;
        let mut etcd = self.etcd.lock().await;
        for program in [&mut controllers, &mut etcd] {
            end(program.take()).await;
        }
        self.kill_api_server().await;
        remove(&self.data())?;
        copy_tree(&self.snapshot(), &self.data(), Account::Own)?;
        *etcd = Some(self.launch_etcd().await?);
        self.start_api_server().await?;
        if !self.controllers.is_empty() {
            *controllers = Some(self.launch_controller_manager()?);
        }
        Ok(())
    }

    fn data(&self) -> PathBuf {
        self.directory().join("etcd")
    }

    fn snapshot(&self) -> PathBuf {
        self.directory().join("etcd-snapshot")
    }
}

async fn end(program: Option<Program>) {
    if let Some(program) = program {
        program.end(Signal::KILL, false, STOP_TIMEOUT).await;
    }
}

fn remove(directory: &std::path::Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io("removing", directory)(error))
        }
        _ => Ok(()),
    }
}
