//! One server, as a place to send commands to: to whichever member is primary, or to a certain member.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use mongodb::bson::{Document, doc};
use mongodb::event::EventHandler;
use mongodb::event::cmap::CmapEvent;
use mongodb::event::sdam::{SdamEvent, ServerDescription};
use mongodb::options::{
    AuthMechanism, ClientOptions, Credential, SelectionCriteria, ServerAddress, Tls, TlsOptions,
};
use mongodb::{Client, ServerType};
use rolecall_engine::counters::Counters;
use rolecall_engine::dialect::mongodb::EXTERNAL;
use rolecall_engine::slots::Slots;
use rolecall_engine::{Class, Error, Reason, Stats, kill_point};
use rustls_pki_types::CertificateDer;
use tokio::sync::watch;

use crate::transport::config::Config;
use crate::transport::failure::{self, Health};
use crate::transport::files::PrivateFile;
use crate::transport::identity;
use crate::transport::request::Request;

/// The server keeps the time-outs of commands; this much later it is considered gone.
const GRACE: Duration = Duration::from_secs(2);
/// Where a command has no answer for so long, and the member does not answer the driver's checks either, it is
/// considered gone.
const SILENCE: Duration = Duration::from_secs(8);
/// How often the driver checks each member, and how long that may take by far.
const HEARTBEAT: Duration = Duration::from_secs(3);
const LATE_HEARTBEAT: Duration = Duration::from_secs(6);

/// One server. Nothing is connected before the first command.
#[derive(Debug)]
pub(crate) struct Server {
    config: Config,
    counters: Arc<Counters>,
    /// For commands to the primary.
    slots: Slots,
    health: Arc<Health>,
    /// Before the files, which it reads: fields are dropped in this order.
    client: tokio::sync::Mutex<Option<Client>>,
    ca: PrivateFile,
    identity: PrivateFile,
    /// What the admin user shows: its certificate first.
    chain: Vec<CertificateDer<'static>>,
    /// The newest version of the protocol that the primary speaks, as it said last; 0 before.
    protocol: AtomicI32,
    /// Counts how often the driver has found a primary that was none before.
    primaries: Arc<watch::Sender<u64>>,
}

impl Server {
    pub(crate) fn new(config: Config) -> Result<Self, Error> {
        let texts = identity::check(&config)?;
        let file = |text: &str| PrivateFile::new(text).map_err(|error| no_file(&error));
        Ok(Self {
            counters: Arc::default(),
            slots: Slots::new(config.max_connections, 0, config.acquire_timeout),
            health: Arc::default(),
            ca: file(&texts.ca)?,
            identity: file(secrecy::ExposeSecret::expose_secret(&texts.identity))?,
            chain: texts.chain,
            client: tokio::sync::Mutex::default(),
            protocol: AtomicI32::new(0),
            primaries: Arc::new(watch::Sender::new(0)),
            config,
        })
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn stats(&self) -> Stats {
        self.counters.read()
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The driver could not reach this member when it last checked.
    pub(crate) fn is_failing(&self, member: &ServerAddress) -> bool {
        self.health.is_failing(member)
    }

    /// Changes whenever the driver finds a primary that was none before.
    pub(crate) fn primaries(&self) -> watch::Receiver<u64> {
        self.primaries.subscribe()
    }

    /// Notes what the primary said of itself.
    pub(crate) fn speaks(&self, hello: &Document) {
        if let Ok(protocol) = hello.get_i32("maxWireVersion") {
            self.protocol.store(protocol, Relaxed);
        }
    }

    /// The newest version of the protocol that the primary speaks.
    pub(crate) async fn protocol(&self) -> Result<i32, Error> {
        if self.protocol.load(Relaxed) == 0 {
            self.hello().await?;
        }
        Ok(self.protocol.load(Relaxed))
    }

    /// Gives up the connections. Commands under way keep theirs until they end.
    pub(crate) async fn close(&self) {
        drop(self.client.lock().await.take());
    }

    /// Sends a command to the primary, or to the only server there is.
    pub(crate) async fn run(&self, request: &Request) -> Result<Document, Error> {
        self.send(request, None).await
    }

    /// Waits for an answer; else for how long was waited for it.
    async fn answered<T>(
        &self,
        member: Option<&ServerAddress>,
        deadline: Duration,
        answer: impl IntoFuture<Output = T>,
    ) -> Result<T, Duration> {
        let begun = Instant::now();
        let mut answer = pin!(answer.into_future());
        let mut wait = SILENCE.min(deadline);
        loop {
            if let Ok(answer) = tokio::time::timeout(wait, &mut answer).await {
                return Ok(answer);
            }
            let waited = begun.elapsed();
            let silent = self.health.silent_for(member).is_some_and(|silent| silent >= LATE_HEARTBEAT);
            if silent || waited >= deadline {
                return Err(waited);
            }
            wait = Duration::from_secs(1).min(deadline.saturating_sub(waited));
        }
    }

    /// Sends a command to this member, whatever it is.
    pub(crate) async fn run_on(&self, member: &ServerAddress, request: &Request) -> Result<Document, Error> {
        self.send(request, Some(member)).await
    }

    async fn send(&self, request: &Request, member: Option<&ServerAddress>) -> Result<Document, Error> {
        let client = self.client(&request.what).await?;
        let database = client.database(&request.database);
        let mut action = database.run_command(self.timed(request));
        if let Some(member) = member {
            action = action.selection_criteria(only(member));
        }
        // Members are asked beside each other, each for a short time.
        let _slot = match member {
            None => Some(self.slots.take(|| self.config.address.to_string()).await?),
            Some(_) => None,
        };
        self.counters.sent(1);
        let deadline = self.config.connect_timeout + self.config.command_timeout + GRACE;
        kill_point::reached("mongodb.sends", &request.what);
        let answer = self.answered(member, deadline, action).await;
        kill_point::reached("mongodb.answered", &request.what);
        let answer = match answer {
            Err(waited) => return Err(self.silent(&request.what, waited)),
            Ok(Err(error)) => return Err(failure::said(&request.what, &error, self.failure_context())),
            Ok(Ok(answer)) => answer,
        };
        // A change that too few members have confirmed is reported beside the answer.
        match answer.get_document("writeConcernError") {
            Ok(unconfirmed) => Err(failure::unconfirmed(&request.what, unconfirmed)),
            Err(_) => Ok(answer),
        }
    }

    /// Sends a command that answers with a list in parts to this member, else to the primary, and reads all of it.
    pub(crate) async fn list(
        &self,
        request: &Request,
        member: Option<&ServerAddress>,
    ) -> Result<Vec<Document>, Error> {
        let client = self.client(&request.what).await?;
        let database = client.database(&request.database);
        let reading = async {
            let mut action = database.run_cursor_command(self.timed(request));
            if let Some(member) = member {
                action = action.selection_criteria(only(member));
            }
            action.await?.try_collect().await
        };
        let _slot = match member {
            None => Some(self.slots.take(|| self.config.address.to_string()).await?),
            Some(_) => None,
        };
        self.counters.sent(1);
        let deadline = self.config.connect_timeout + self.config.command_timeout + GRACE;
        match self.answered(member, deadline, reading).await {
            Err(waited) => Err(self.silent(&request.what, waited)),
            Ok(answer) => {
                answer.map_err(|error| failure::said(&request.what, &error, self.failure_context()))
            }
        }
    }

    /// The command with the time that the server gives it.
    fn timed(&self, request: &Request) -> Document {
        let mut command = request.command.clone();
        let limit = self.config.command_timeout.as_millis();
        command.insert("maxTimeMS", i64::try_from(limit).unwrap_or(i64::MAX));
        command
    }

    async fn client(&self, what: &str) -> Result<Client, Error> {
        let mut client = self.client.lock().await;
        if let Some(client) = &*client {
            return Ok(client.clone());
        }
        let connecting = tokio::time::timeout(self.config.connect_timeout, self.connect()).await;
        let new = match connecting {
            Err(_) => return Err(self.silent(what, self.config.connect_timeout)),
            Ok(Err(error)) => return Err(failure::said(what, &error, self.failure_context())),
            Ok(Ok(new)) => new,
        };
        *client = Some(new.clone());
        Ok(new)
    }

    async fn connect(&self) -> mongodb::error::Result<Client> {
        let mut options = ClientOptions::parse(self.config.address.uri()).await?;
        let tls = TlsOptions::builder()
            .ca_file_path(self.ca.path().to_owned())
            .cert_key_file_path(self.identity.path().to_owned())
            .build();
        options.tls = Some(Tls::Enabled(tls));
        options.credential = Some(
            Credential::builder()
                // Without the user's name, which the driver sends in a way that the server refuses: the certificate
                // reports it, and whose that is has been checked.
                .source(EXTERNAL.to_owned())
                .mechanism(AuthMechanism::MongoDbX509)
                .build(),
        );
        options.app_name = Some("rolecall".to_owned());
        options.connect_timeout = Some(self.config.connect_timeout);
        options.server_selection_timeout = Some(self.config.connect_timeout);
        options.heartbeat_freq = Some(HEARTBEAT);
        options.max_pool_size = Some(u32::try_from(self.config.max_connections.max(1)).unwrap_or(u32::MAX));
        options.min_pool_size = None;
        options.max_idle_time = Some(self.config.idle_timeout);
        // What is run again is decided here, after another reading.
        options.retry_reads = Some(false);
        options.retry_writes = Some(false);
        let counters = Arc::clone(&self.counters);
        options.cmap_event_handler = Some(EventHandler::callback(move |event| match event {
            CmapEvent::ConnectionCreated(_) => counters.opened(),
            CmapEvent::ConnectionClosed(_) => counters.closed(),
            _ => {}
        }));
        let health = Arc::clone(&self.health);
        let primaries = Arc::clone(&self.primaries);
        options.sdam_event_handler = Some(EventHandler::callback(move |event| {
            if announces_a_primary(&event) {
                primaries.send_modify(|primaries| *primaries += 1);
            }
            health.note(event);
        }));
        Client::with_options(options)
    }

    /// What failures are classified by.
    pub(crate) fn failure_context(&self) -> failure::Context<'_> {
        failure::Context { health: &self.health, config: &self.config, chain: &self.chain }
    }

    fn silent(&self, what: &str, deadline: Duration) -> Error {
        Error {
            class: Class::Unreachable,
            reason: Reason::DatabaseUnreachable,
            attempted: what.to_owned(),
            code: String::new(),
            detail: format!("{} has not answered within {} s", self.config.address, deadline.as_secs()),
            remedy: "check the server and the network between".to_owned(),
        }
    }
}

/// Chooses this member, whatever it is.
fn only(member: &ServerAddress) -> SelectionCriteria {
    let member = member.clone();
    SelectionCriteria::Predicate(Arc::new(move |server| *server.address() == member))
}

/// A `hello`, which every member answers.
pub(crate) fn hello() -> Request {
    Request::new("reading the state of the replica set", "admin", doc! { "hello": 1 })
}

fn no_file(error: &io::Error) -> Error {
    Error {
        class: Class::Transient,
        reason: Reason::TlsFailed,
        attempted: "keeping the certificates for the driver".to_owned(),
        code: String::new(),
        detail: error.to_string(),
        remedy: String::new(),
    }
}

/// Does this announce a primary that was none before, as far as the driver knew? So it is after a broken connection
/// too, when the server answers again.
fn announces_a_primary(event: &SdamEvent) -> bool {
    let writes = |server: &ServerDescription| {
        matches!(server.server_type(), ServerType::RsPrimary | ServerType::Standalone)
    };
    matches!(event, SdamEvent::ServerDescriptionChanged(change)
        if writes(&change.new_description) && !writes(&change.previous_description))
}
