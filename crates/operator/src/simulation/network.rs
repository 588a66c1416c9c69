//! How the operator reaches the servers: late, and not always.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rolecall_engine::{
    Applied, Catalog, CatalogQuery, Class, DesiredSet, Dialect, Engine, Error, Inventory, Needs, Observed,
    Plan, Preflight, Query, Reason, SetEntry, SomeObjects, SyncedSet,
};
use rolecall_engine_conformance::fake::Fake;

use super::cluster::Cluster;
use super::invariants::Break;
use super::server::{Server, UNMANAGED};
use super::store::When;
use crate::ports::Engines;

/// See the module.
#[derive(Debug)]
pub(super) struct Network(pub(super) Arc<Cluster>);

impl Engines for Network {
    fn postgres(&self, config: rolecall_postgres::Config) -> Result<Arc<dyn Engine>, Error> {
        let server = self.0.servers.get(config.host.as_str()).ok_or_else(Fake::unreachable)?;
        Ok(Arc::new(Connection { cluster: Arc::clone(&self.0), server: Arc::clone(server) }))
    }

    fn mongodb(&self, _: rolecall_mongodb::Config) -> Result<Arc<dyn Engine>, Error> {
        Err(Fake::unreachable())
    }

    fn redshift(&self, _: rolecall_redshift::Config) -> Result<Arc<dyn Engine>, Error> {
        Err(Fake::unreachable())
    }
}

/// An engine for one of the servers.
#[derive(Debug)]
struct Connection {
    cluster: Arc<Cluster>,
    server: Arc<Server>,
}

impl Connection {
    async fn call<T>(&self, what: &str, effect: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let Self { cluster, server } = self;
        cluster.survive(When::Before).await;
        let (hangs, slow, failure) = {
            let mut faults = server.faults();
            let mut due = None;
            faults.failures.retain_mut(|(left, when, class)| {
                let is_due = *left == 0 && due.is_none();
                if is_due {
                    due = Some((*when, *class));
                }
                *left = left.saturating_sub(1);
                !is_due
            });
            (faults.hangs, faults.slow, due)
        };
        let latencies: &[u64] = if slow { &[0, 1_000, 5_000, 20_000] } else { &[0, 0, 1, 2, 30] };
        cluster.wait(latencies).await;
        if hangs {
            tokio::time::sleep(Duration::from_secs(10)).await;
            return Err(Fake::unreachable());
        }
        if let Some((When::Before, class)) = failure {
            cluster.log(|| format!("  {}: {what} fails before its effect: {class:?}", server.host));
            return Err(failed(class));
        }
        let answer = effect.await;
        cluster.log(|| format!("  {}: {what}: {:?}", server.host, answer.as_ref().err().map(|e| e.reason)));
        cluster.survive(When::After).await;
        cluster.wait(latencies).await;
        if let Some((When::After, class)) = failure {
            cluster.log(|| format!("  {}: {what} fails after its effect: {class:?}", server.host));
            return Err(failed(class));
        }
        answer
    }
}

fn failed(class: Class) -> Error {
    let reason =
        if class == Class::Unreachable { Reason::DatabaseUnreachable } else { Reason::ServerRefused };
    Error { class, reason, detail: "on purpose".to_owned(), ..Fake::unreachable() }
}

#[async_trait]
impl Engine for Connection {
    fn dialect(&self) -> Dialect {
        self.server.fake.dialect()
    }

    async fn preflight(&self, needs: &Needs) -> Result<Preflight, Error> {
        self.call("preflight", self.server.fake.preflight(needs)).await
    }

    async fn inventory(&self) -> Result<Inventory, Error> {
        self.call("inventory", self.server.fake.inventory()).await
    }

    async fn observe(&self, query: &Query) -> Result<Observed, Error> {
        let effect = async {
            let observed = self.server.fake.observe(query).await;
            if observed.is_ok() {
                self.cluster.evidence().observed(self.server.host, query.account.as_str());
            }
            observed
        };
        let observed = self.call(&format!("observe {}", query.account), effect).await?;
        self.cluster.evidence().shown(self.server.host, query.account.as_str(), observed.account.as_ref());
        Ok(observed)
    }

    async fn apply(&self, plan: &Plan) -> Result<Applied, Error> {
        let effect = async {
            if matches!(plan, Plan::End(_)) && self.cluster.breaks(Break::EndsAreLost) {
                return Ok(Applied::default());
            }
            let applied = self.server.fake.apply(plan).await;
            self.cluster.check_plan(&self.server, plan);
            if self.cluster.breaks(Break::OthersAreChanged) {
                self.server.fake.state().users.remove(UNMANAGED);
            }
            applied
        };
        let applied = self.call(&format!("apply {plan}"), effect).await?;
        if let Plan::End(end) = plan
            && !self.cluster.breaks(Break::EndsAreNotReadBack)
        {
            // It was read back.
            self.cluster.evidence().shown(self.server.host, end.account.as_str(), None);
        }
        Ok(applied)
    }

    async fn read_objects(&self, query: &CatalogQuery) -> Result<Catalog, Error> {
        self.call("read objects", self.server.fake.read_objects(query)).await
    }

    async fn read_some_objects(&self, query: &CatalogQuery, some: &SomeObjects) -> Result<Catalog, Error> {
        self.call("read some objects", self.server.fake.read_some_objects(query, some)).await
    }

    async fn sync_sets(&self, desired: &[DesiredSet], catalog: &Catalog) -> Result<Vec<SyncedSet>, Error> {
        self.call("sync sets", self.server.fake.sync_sets(desired, catalog)).await
    }

    async fn list_sets(&self) -> Result<Vec<SetEntry>, Error> {
        self.call("list sets", self.server.fake.list_sets()).await
    }

    async fn drop_set(&self, role: &str, owner_uid: &str) -> Result<Applied, Error> {
        self.call("drop set", self.server.fake.drop_set(role, owner_uid)).await
    }

    async fn close(&self) {}
}
