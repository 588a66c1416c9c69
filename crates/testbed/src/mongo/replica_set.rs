//! The members as one replica set: its start, its primary, its failover.

use std::time::{Duration, Instant};

use mongodb::Client;
use mongodb::bson::{Bson, Document, doc};

use super::client::{Reach, Who, is_of_an_election, run_on};
use super::{Mongo, ROOT};
use crate::error::{Error, Result};

/// An election takes a second or two; a loaded machine may need much longer.
const TIMEOUT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);
/// The code of what could not be done in time.
const EXCEEDED_TIME_LIMIT: i32 = 262;

impl Mongo {
    /// Makes the replica set and its superuser. Until there is a user, only the members' own certificate logs in.
    pub(super) async fn initiate(&self) -> Result<()> {
        let first = self.client(Who::Member, Reach::One(0)).await?;
        if self.replica_set {
            let members: Vec<Document> = (0_i32..)
                .zip(0..self.members.len())
                .map(|(id, member)| doc! { "_id": id, "host": self.address(member) })
                .collect();
            // Failures are noticed soon, and a busy machine is not taken for one.
            let settings = doc! { "heartbeatIntervalMillis": 500, "electionTimeoutMillis": 3000 };
            let config = doc! { "_id": Self::REPLICA_SET, "members": members, "settings": settings };
            run_on(&first, "admin", doc! { "replSetInitiate": config }).await?;
        }
        // Of several members, another one than the first may win the election.
        for member in 0..self.members.len() {
            self.until_serving(member).await?;
        }
        let client = self.client(Who::Member, self.everywhere()).await?;
        self.until_primary(&client).await?;
        let root = doc! {
            "createUser": format!("CN={ROOT}"),
            "roles": [{ "role": "root", "db": "admin" }],
            "writeConcern": { "w": "majority" },
        };
        run_on(&client, "$external", root).await.map(drop)
    }

    /// The member that takes writes at this moment; none during an election.
    ///
    /// # Errors
    /// When no running member answers.
    pub async fn primary(&self) -> Result<Option<usize>> {
        for member in 0..self.members.len() {
            if self.is_running(member).await && self.state(member).await? == State::Primary {
                return Ok(Some(member));
            }
        }
        Ok(None)
    }

    /// Makes the primary of a set of three or more hand over, as a failover does, and returns the new one.
    ///
    /// # Errors
    /// When no other member takes over in time.
    pub async fn step_down(&self) -> Result<usize> {
        let old = self.until("no member is primary", async || self.primary().await).await?;
        let client = self.client(Who::Root, Reach::One(old)).await?;
        let step_down = doc! { "replSetStepDown": 10, "secondaryCatchUpPeriodSecs": 5 };
        let stepped = async || match run_on(&client, "admin", step_down.clone()).await {
            // No other member has caught up yet.
            Err(error) if error.mongo_code() == Some(EXCEEDED_TIME_LIMIT) => Ok(None),
            answer => answer.map(Some),
        };
        self.until("the primary did not step down", stepped).await?;
        let other = async || Ok(self.primary().await?.filter(|new| *new != old));
        self.until("no other member became primary", other).await
    }

    /// Makes a member the only one of its set and so its primary, as somebody does who has lost the others: what only
    /// they had is lost with them.
    ///
    /// # Errors
    /// When it refuses, or does not become primary in time.
    pub async fn survive_alone(&self, member: usize) -> Result<()> {
        let client = self.client(Who::Member, Reach::One(member)).await?;
        let answer = run_on(&client, "admin", doc! { "replSetGetConfig": 1 }).await?;
        let mut config = answer.get_document("config").cloned().unwrap_or_default();
        let address = self.address(member);
        let members = config.get_array("members").cloned().unwrap_or_default();
        let alone: Vec<Bson> = members
            .into_iter()
            .filter(|one| {
                one.as_document().is_some_and(|one| one.get_str("host").is_ok_and(|host| host == address))
            })
            .collect();
        config.insert("members", alone);
        config.insert("version", config.get_i32("version").unwrap_or(1) + 1);
        run_on(&client, "admin", doc! { "replSetReconfig": config, "force": true }).await?;
        client.shutdown().immediate(true).await;
        let primary = async || Ok((self.state(member).await? == State::Primary).then_some(()));
        self.until("the member that is left did not become primary", primary).await
    }

    /// Waits until a member serves reads, and writes when there is no other that could.
    pub(super) async fn until_serving(&self, member: usize) -> Result<()> {
        let alone = self.members.len() == 1;
        let serving = async || {
            let state = self.state(member).await?;
            Ok((state == State::Primary || !alone && state == State::Secondary).then_some(()))
        };
        self.until("a member does not serve reads", serving).await
    }

    async fn until_primary(&self, client: &Client) -> Result<()> {
        let primary = async || {
            let hello = run_on(client, "admin", doc! { "hello": 1 }).await?;
            Ok(hello.get_bool("isWritablePrimary").unwrap_or(false).then_some(()))
        };
        self.until("no member became primary", primary).await
    }

    async fn state(&self, member: usize) -> Result<State> {
        // As a member: a user's login may need a majority, which is missing.
        let client = self.client(Who::Member, Reach::One(member)).await?;
        let hello = run_on(&client, "admin", doc! { "hello": 1 }).await?;
        client.shutdown().immediate(true).await;
        let says = |name: &str| hello.get_bool(name).unwrap_or(false);
        Ok(match (says("isWritablePrimary"), says("secondary")) {
            (true, _) => State::Primary,
            (false, true) => State::Secondary,
            (false, false) => State::Neither,
        })
    }

    /// Asks until there is an answer; elections meanwhile are waited for.
    async fn until<T>(&self, problem: &str, mut ask: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            match ask().await {
                Ok(Some(answer)) => return Ok(answer),
                Ok(None) => {}
                // Members that stop, start or elect refuse what is asked a moment later.
                Err(Error::Mongo { source, .. })
                    if is_of_an_election(&source) && Instant::now() < deadline => {}
                Err(error) => return Err(error),
            }
            if Instant::now() > deadline {
                let log = crate::process::tail(&self.members[0].dir.join("log"));
                return Err(Error::Start { program: "MongoDB".to_owned(), problem: problem.to_owned(), log });
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Primary,
    Secondary,
    /// Starting, recovering, or outside of the set.
    Neither,
}
