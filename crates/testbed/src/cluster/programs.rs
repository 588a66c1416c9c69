//! The programs of a cluster, their flags, and when they count as ready.

use std::fs;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::kubeconfig::Identity;
use super::{Cluster, probe};
use crate::account::Account;
use crate::error::{Error, Result};
use crate::ports;
use crate::process::{Program, Spec};

/// A start takes two seconds; a loaded machine may need much longer.
const START_TIMEOUT: Duration = Duration::from_secs(120);
pub(super) const STOP_TIMEOUT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);

impl Cluster {
    /// Starts everything, on another port when the first one is taken meanwhile.
    pub(super) async fn launch(&mut self) -> Result<()> {
        *self.etcd.get_mut() = Some(self.launch_etcd().await?);
        let mut attempts = 0;
        let apiserver = loop {
            attempts += 1;
            match self.launch_apiserver().await {
                Ok(apiserver) => break apiserver,
                Err(Error::Start { log, .. }) if log.contains("address already in use") && attempts < 10 => {
                    self.port = ports::free()?;
                }
                Err(error) => return Err(error),
            }
        };
        *self.apiserver.get_mut() = Some(apiserver);
        let kubeconfig = self.kubeconfig_for(&Identity::Admin).await?;
        fs::write(self.kubeconfig(), kubeconfig).map_err(Error::io("writing", &self.kubeconfig()))?;
        if !self.controllers.is_empty() {
            *self.controller_manager.get_mut() = Some(self.launch_controller_manager()?);
        }
        Ok(())
    }

    /// etcd on Unix sockets: no ports to collide, nobody else on the machine can speak to it.
    pub(super) async fn launch_etcd(&self) -> Result<Program> {
        let socket = self.directory().join("etcd.sock");
        // The two advertised addresses have to look like host and port; nobody ever uses them.
        let args = vec![
            "--name=testbed".to_owned(),
            format!("--data-dir={}", self.path("etcd")),
            "--unsafe-no-fsync".to_owned(),
            "--log-level=warn".to_owned(),
            format!("--listen-client-urls=unix://{}", socket.display()),
            "--advertise-client-urls=http://localhost:2379".to_owned(),
            format!("--listen-peer-urls=unix://{}", self.path("etcd-peer.sock")),
            "--initial-advertise-peer-urls=http://localhost:2380".to_owned(),
            "--initial-cluster=testbed=http://localhost:2380".to_owned(),
        ];
        let etcd = self.start_program("etcd", &self.etcd_binary, args)?;
        let deadline = Instant::now() + START_TIMEOUT;
        while UnixStream::connect(&socket).is_err() {
            wait(&etcd, deadline).await?;
        }
        Ok(etcd)
    }

    pub(super) async fn launch_apiserver(&self) -> Result<Program> {
        let mut args = vec![
            format!("--etcd-servers=unix://{}", self.path("etcd.sock")),
            "--bind-address=127.0.0.1".to_owned(),
            // Never used: without it a machine that has no network is refused, and loopback is no valid endpoint.
            "--advertise-address=127.0.0.1".to_owned(),
            "--endpoint-reconciler-type=none".to_owned(),
            format!("--secure-port={}", self.port),
            format!("--tls-cert-file={}", self.path("server.crt")),
            format!("--tls-private-key-file={}", self.path("server.key")),
            format!("--client-ca-file={}", self.path("ca.crt")),
            format!("--service-account-key-file={}", self.path("service-accounts.crt")),
            format!("--service-account-signing-key-file={}", self.path("service-accounts.key")),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
            "--authorization-mode=RBAC".to_owned(),
            "--profiling=false".to_owned(),
        ];
        args.extend(self.apiserver_flags.iter().cloned());
        let apiserver = self.start_program("kube-apiserver", &self.kubernetes.apiserver(), args)?;
        let deadline = Instant::now() + START_TIMEOUT;
        // Ready, and the namespace that it makes for itself right after is there.
        for path in ["/readyz", "/api/v1/namespaces/default"] {
            while !probe::is_ok(self.port, &self.authority, &self.admin, path).await? {
                wait(&apiserver, deadline).await?;
            }
        }
        Ok(apiserver)
    }

    pub(super) fn launch_controller_manager(&self) -> Result<Program> {
        let args = vec![
            format!("--kubeconfig={}", self.kubeconfig().display()),
            format!("--controllers={}", self.controllers.join(",")),
            "--leader-elect=false".to_owned(),
            // It serves nobody.
            "--secure-port=0".to_owned(),
            "--use-service-account-credentials=false".to_owned(),
        ];
        self.start_program("kube-controller-manager", &self.kubernetes.controller_manager(), args)
    }

    fn start_program(
        &self,
        name: &'static str,
        program: &std::path::Path,
        args: Vec<String>,
    ) -> Result<Program> {
        Program::start(Spec {
            name,
            program,
            args,
            env: vec![("HOME", self.path(""))],
            dir: self.directory(),
            log: self.log_path(name),
            account: Account::Own,
            // Nobody needs the data, and the orderly way waits for open watches.
            end_signal: "KILL",
        })
    }
}

/// Waits a little for a program that is starting.
async fn wait(program: &Program, deadline: Instant) -> Result<()> {
    if !program.is_running() {
        return Err(program.failure("ended while starting"));
    }
    if Instant::now() > deadline {
        return Err(program.failure("was not ready in time"));
    }
    tokio::time::sleep(POLL).await;
    Ok(())
}
