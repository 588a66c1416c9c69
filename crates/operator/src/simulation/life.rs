//! One life of the operator: from its start to its end, or to a crash.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rolecall_aws::Aws;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use super::api::Api;
use super::checks::Auditor;
use super::cluster::{Cluster, ClusterClock};
use super::network::Network;
use super::watching;
use crate::ports::Ports;
use crate::{Settings, Shared, controller};

/// See the module. Each life has its own runtime, so that no task outlives it.
pub(super) struct Life {
    cluster: Arc<Cluster>,
    runtime: Option<Runtime>,
    _shared: Arc<Shared>,
}

impl Life {
    /// An operator starts, and knows nothing.
    pub(super) fn begin(cluster: &Arc<Cluster>) -> Self {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        cluster.log(|| "an operator starts".to_owned());
        cluster.begin_life();
        let shared = runtime.block_on(async {
            cluster.clock.start();
            let ports = Ports {
                api_server: Arc::new(Api(Arc::clone(cluster))),
                clock: Arc::new(ClusterClock(Arc::clone(cluster))),
                audit_log: Arc::new(Auditor(Arc::clone(cluster))),
                engines: Arc::new(Network(Arc::clone(cluster))),
                aws: Arc::new(Aws::of_process()),
            };
            let shared = Shared::new(ports, Arc::default(), settings());
            watching::start(cluster, &shared);
            let never = CancellationToken::new();
            tokio::spawn(controller::workers::run(Arc::clone(&shared), never.clone(), never));
            let settled = Arc::clone(&shared);
            tokio::spawn(async move {
                settled.coverage.settled().await;
                settled.trigger_missing_admins();
            });
            shared
        });
        Self { cluster: Arc::clone(cluster), runtime: Some(runtime), _shared: shared }
    }

    /// Lets time pass. False: the operator died meanwhile.
    pub(super) fn live(&self, time: Duration) -> bool {
        let Some(runtime) = &self.runtime else { return false };
        runtime.block_on(async {
            tokio::select! {
                biased;
                () = self.cluster.died.notified() => false,
                () = tokio::time::sleep(time) => true,
            }
        })
    }

    /// Does something while the operator is there.
    pub(super) fn during<T>(&self, what: impl FnOnce() -> T) -> T {
        match &self.runtime {
            Some(runtime) => runtime.block_on(async { what() }),
            None => what(),
        }
    }
}

impl Life {
    /// Everything that the operator knew and did is gone.
    pub(super) fn end(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.block_on(async { self.cluster.clock.stop() });
        }
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.end();
    }
}

fn settings() -> Settings {
    Settings {
        cluster_name: "here".to_owned(),
        recorded_cluster: "here".to_owned(),
        namespaces: BTreeSet::new(),
        teardown_deadline: Duration::from_secs(120),
        resync_interval: Duration::from_secs(30),
        reconcile_timeout: Duration::from_secs(120),
        keep_unused_sets: Duration::from_secs(30),
        admission_enforced: true,
        max_connections_per_server: 5,
    }
}
