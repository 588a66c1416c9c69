//! What all reconcilers share: the cache, the work queue, the servers, and the way to the API server.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;
use rolecall_aws::Aws;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::account::drift::AppliedAccounts;
use crate::account::given::Given;
use crate::account::issued::IssuedStore;
use crate::account::looked_at::LookedAt;
use crate::account::orphan_store::OrphanStore;
use crate::account::passwords::PasswordStore;
use crate::account::reports::{AccountReport, AccountReports};
use crate::api_writer::{ApiWriter, WriteObserver};
use crate::audit::Audit;
use crate::cache::{Cache, Cached, ClockReading, Source};
use crate::clock_skew::ClockSkew;
use crate::clock_steps::ClockSteps;
use crate::controller::workqueue::{PER_GROUP, Workqueue};
use crate::coverage::Coverage;
use crate::database_admin::{FailoverWatch, KnownNeeds};
use crate::drain::{Drain, Mode};
use crate::metrics::Metrics;
use crate::model::{AccountKey, ObjectKey, Priority, ReconcileKey, Triggers};
use crate::ports::{Clock, Engines, Ports};
use crate::servers::Servers;
use crate::servers::connect::Connector;
use crate::servers::teardown_secret::TeardownSecrets;
use crate::sets::{Listeners, SetRegistry};
use crate::settings::Settings;

/// How long after a change a server's accounts are counted again: many changes, one count.
const RECOUNT: Duration = Duration::from_secs(3);
/// And how much longer for each session there is: a count goes through all of them, so that its share stays the same.
const RECOUNT_EACH: Duration = Duration::from_millis(20);

/// How long after an access began or ended the status of its DatabaseUser says so: what happens meanwhile is written
/// with it.
pub(crate) const REPORT_AFTER: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug)]
pub struct Shared {
    cache: RwLock<Cache>,
    /// Which namespaces are worked in.
    pub coverage: Arc<Coverage>,
    /// What has to be reconciled.
    pub queue: Arc<Workqueue<ReconcileKey>>,
    /// Whether sessions start at all.
    pub drain: Arc<Drain>,
    /// The servers.
    pub servers: Servers,
    /// The API server, for writing.
    pub api: ApiWriter,
    /// What the status of each DatabaseUser says of its accounts.
    pub reports: AccountReports,
    /// The passwords of accounts.
    pub passwords: PasswordStore,
    /// The credentials of sessions.
    pub issued: IssuedStore,
    /// Sessions that are over, whose Secrets were looked for once more.
    pub looked_at: LookedAt,
    /// How live accounts were left.
    pub applied: AppliedAccounts,
    /// Accounts that can be used though no session accounts for them.
    pub orphans: OrphanStore,
    /// What is kept for the teardown of each server.
    pub teardown_secrets: TeardownSecrets,
    /// The audit log of accesses.
    pub audit: Arc<Audit>,
    /// The permission sets that accounts want.
    pub sets: SetRegistry,
    /// The logical databases that announce changes of their objects.
    pub listeners: Listeners,
    /// What sessions need from the admin user of each server.
    pub needs: KnownNeeds,
    /// Which servers are watched for failovers.
    pub failover_watch: FailoverWatch,
    /// What is counted.
    pub metrics: Metrics,
    /// How far the API server's clock differs from this machine's.
    pub clock_skew: Arc<ClockSkew>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// By how much it was put forward.
    pub clock_steps: ClockSteps,
    /// How servers are reached.
    pub engines: Arc<dyn Engines>,
    /// The AWS credentials.
    pub aws: Arc<Aws>,
    /// What was set at the start.
    pub settings: Settings,
}

impl Shared {
    /// Nothing reconciled yet. `clock_skew` is measured by whoever asks the API server.
    pub fn new(ports: Ports, clock_skew: Arc<ClockSkew>, settings: Settings) -> Arc<Self> {
        let events_dropped = Counter::default();
        let api = ApiWriter::new(ports.api_server, events_dropped.clone());
        let metrics = Metrics::new(events_dropped, &ports.audit_log.counters());
        Arc::new(Self {
            cache: RwLock::new(Cache::new(settings.cluster_name.clone())),
            coverage: Arc::default(),
            queue: Workqueue::new(PER_GROUP),
            drain: Arc::default(),
            servers: Servers::default(),
            api,
            reports: AccountReports::default(),
            passwords: PasswordStore::default(),
            issued: IssuedStore::default(),
            looked_at: LookedAt::default(),
            applied: AppliedAccounts::default(),
            orphans: OrphanStore::default(),
            teardown_secrets: TeardownSecrets::default(),
            audit: Arc::new(Audit::new(ports.audit_log)),
            sets: SetRegistry::default(),
            listeners: Listeners::default(),
            needs: KnownNeeds::default(),
            failover_watch: FailoverWatch::default(),
            metrics,
            clock_skew,
            clock: ports.clock,
            clock_steps: ClockSteps::default(),
            engines: ports.engines,
            aws: ports.aws,
            settings,
        })
    }

    /// The cache, for reading. Never held across an await.
    pub fn cache(&self) -> RwLockReadGuard<'_, Cache> {
        // A poisoned lock means that a reader panicked (which changes nothing) or that an index was not finished;
        // the next event of the object concerned mends it, and the process goes on ending accesses.
        self.cache.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an object from a watch or a list into the cache, and triggers what depends on it.
    pub fn observe_event<K: Cached>(&self, object: K, source: Source) {
        let clock = self.clock_reading();
        self.trigger(self.change(|cache| cache.observe_event(object, source, clock)));
    }

    /// As [`Self::observe_event`], with the answer to a write. It changes only objects that are cached.
    pub fn observe_written<K: Cached>(&self, object: K) {
        self.trigger(self.change(|cache| cache.observe_written(object)));
    }

    /// What servers are made with.
    pub fn connector(&self) -> Connector<'_> {
        Connector { api: &self.api, settings: &self.settings, engines: &*self.engines, aws: &self.aws }
    }

    /// What decisions about sessions are based on besides the cache.
    pub(crate) fn given(&self) -> Given<'_> {
        Given { issued: &self.issued, admission_enforced: self.settings.admission_enforced }
    }

    /// What this machine's clock shows.
    pub fn now(&self) -> Timestamp {
        let now = self.clock.now();
        self.clock_steps.read(now, Instant::now());
        now
    }

    /// What this machine's clock shows, and by how much it differs from that of the API server.
    pub fn clock_reading(&self) -> ClockReading {
        ClockReading { now: self.now(), ahead: self.clock_skew.ahead() }
    }

    /// Counts the accounts of a server again, soon.
    pub fn recount(&self, admin: &ObjectKey) {
        let sessions = u32::try_from(self.cache().sessions_on(admin)).unwrap_or(u32::MAX);
        let wait = RECOUNT.saturating_add(RECOUNT_EACH.saturating_mul(sessions));
        let at = Instant::now() + wait.min(self.settings.resync_interval.max(RECOUNT));
        self.queue.add_at(ReconcileKey::Admin(admin.clone()), Priority::Normal, at);
    }

    /// Writes what became of an account into the status of its DatabaseUser: at once where a person should know, and
    /// otherwise soon, together with what else becomes of the user's accounts until then. Who is about to be uninstalled puts
    /// nothing off.
    pub(crate) fn report(&self, account: &AccountKey, report: AccountReport) -> bool {
        let user = ReconcileKey::User(report.user.clone());
        let may_wait = report.is_routine() && self.drain.mode() == Mode::Normal;
        let news = self.reports.set(account, report);
        match (news, may_wait) {
            (false, _) => {}
            (true, true) => self.queue.add_at(user, Priority::Normal, Instant::now() + REPORT_AFTER),
            (true, false) => self.queue.add(user, Priority::Normal),
        }
        news
    }

    /// Forgets an object that is gone, and what is kept of it alone.
    pub fn forget<K: Cached>(&self, key: &ObjectKey) {
        let (uid, triggers) = self.change(|cache| {
            let uid = K::cached(cache, key).and_then(|cached| cached.uid.clone());
            (uid, cache.forget::<K>(key))
        });
        if let Some(uid) = uid {
            self.issued.set(&uid, None);
            self.audit.forget(&uid);
        }
        self.trigger(triggers);
    }

    /// Once everything is listed: what was kept for a DatabaseAdmin that was removed by force meanwhile is deleted.
    pub(crate) fn trigger_missing_admins(&self) {
        let missing = self.cache().missing_admins();
        self.trigger(
            missing.into_iter().map(|admin| (ReconcileKey::Admin(admin), Priority::Normal)).collect(),
        );
    }

    /// Reconciles every account each time that sessions may do something else than before, as long as this is polled.
    pub(crate) async fn follow_drain(&self, mut changes: watch::Receiver<Mode>) {
        while changes.changed().await.is_ok() {
            match *changes.borrow_and_update() {
                Mode::Draining => {
                    tracing::warn!(
                        "an uninstall is being prepared: every access ends, and no session starts"
                    );
                }
                Mode::NoStarts => {
                    tracing::info!(
                        "the Lease says that an uninstall is being prepared: no session starts before that is clear"
                    );
                }
                Mode::Normal => {
                    tracing::info!("no uninstall is being prepared any more: sessions start again");
                }
            }
            let triggers = self.cache().account_triggers(Priority::Urgent);
            self.trigger(triggers);
        }
    }

    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Cache) -> T) -> T {
        change(&mut self.cache.write().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn trigger(&self, triggers: Triggers) {
        self.enqueue(self.coverage.admit(triggers));
    }

    pub(crate) fn enqueue(&self, triggers: Triggers) {
        for (work, priority) in triggers {
            self.queue.add(work, priority);
        }
    }
}

impl WriteObserver for Shared {
    fn observe_written<K: Cached>(&self, object: K) {
        Shared::observe_written(self, object);
    }
}

#[cfg(test)]
impl Shared {
    /// With an API server that is not there.
    pub(crate) fn alone() -> Arc<Self> {
        Self::with_api_server("http://127.0.0.1:1")
    }

    /// With an API server at that address.
    pub(crate) fn with_api_server(url: &str) -> Arc<Self> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let settings = Settings {
            cluster_name: String::new(),
            recorded_cluster: String::new(),
            namespaces: std::collections::BTreeSet::new(),
            teardown_deadline: Duration::from_secs(300),
            resync_interval: Duration::from_secs(60),
            reconcile_timeout: Duration::from_secs(120),
            keep_unused_sets: Duration::from_secs(600),
            admission_enforced: true,
            max_connections_per_server: 5,
        };
        let clock_skew = Arc::new(ClockSkew::default());
        let ports = Ports::of_process(
            kube::Config::new(url.parse().unwrap()),
            &clock_skew,
            Aws::of_process(),
            Arc::new(crate::audit::samples::Nowhere),
        )
        .unwrap();
        Self::new(ports, clock_skew, settings)
    }
}
