//! Logins, tried with what is, or was, in Secrets.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use anyhow::{Context, Result};
use futures::StreamExt;
use rolecall_testbed::Certificate;
use tokio_postgres::Client;

use super::judge::{Facts, Login};
use crate::lane::Lane;
use crate::objects::{Kind, is_active, name_of, secret_data};
use crate::server::{DATABASE, Server};
use crate::world::World;

/// Credentials of so many sessions that are over are tried.
const REMEMBERED: usize = 40;
/// So many connections of users stay open over the next faults.
const HELD: usize = 6;
const AT_ONCE: usize = 8;
/// MongoDB's driver takes 10 s for a login that is refused: they are tried that seldom.
const REFUSALS_OF_MONGO: usize = 8;

/// How much is tried each time, beside so many other lanes.
#[derive(Debug)]
struct Bounds {
    /// Live sessions, and such that are over: those that were not tried for the longest time.
    each: usize,
    /// Of them, on MongoDB: clients for it are expensive.
    mongo: usize,
    refusals_of_mongo: usize,
}

/// What is remembered of sessions: their credentials, those that were tried last at the end.
pub(super) struct Logins {
    credentials: VecDeque<Credentials>,
    held: VecDeque<Client>,
    times: usize,
    bounds: Bounds,
}

#[derive(Clone)]
struct Credentials {
    session: String,
    uid: String,
    account: (Server, String),
    data: BTreeMap<String, String>,
}

impl Logins {
    /// Those of one of so many lanes: one alone tries everything each time.
    pub(super) fn of(lanes: usize) -> Self {
        let bounds = match lanes {
            1 => Bounds { each: REMEMBERED, mongo: REMEMBERED, refusals_of_mongo: REFUSALS_OF_MONGO },
            _ => Bounds { each: 4, mongo: 1, refusals_of_mongo: REFUSALS_OF_MONGO * lanes },
        };
        Self { credentials: VecDeque::new(), held: VecDeque::new(), times: 0, bounds }
    }

    /// Keeps the credentials of all sessions that give access now.
    pub(super) async fn remember(&mut self, lane: &Lane) -> Result<()> {
        let sessions = lane.objects.list(Kind::Session).await?;
        let secrets = lane.objects.list(Kind::Secret).await?;
        let secrets: BTreeMap<&str, _> = secrets.iter().map(|secret| (name_of(secret), secret)).collect();
        for session in sessions.iter().filter(|session| is_active(session)) {
            let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
            let Some(server) = Server::of(&text(&session["spec"]["database"])) else { continue };
            let Some(secret) = secrets.get(name_of(session)) else { continue };
            let (uid, data) = (text(&session["metadata"]["uid"]), secret_data(secret));
            // The last ones count: a Secret may have been made again.
            self.credentials.retain(|known| known.uid != uid || known.data == data);
            if !self.credentials.iter().any(|known| known.uid == uid) {
                let (name, user) =
                    (name_of(session).to_owned(), lane.username(&text(&session["spec"]["user"])));
                self.credentials.push_front(Credentials {
                    session: name,
                    uid,
                    account: (server, user),
                    data,
                });
            }
        }
        Ok(())
    }

    /// Tries no more what these sessions had, where that is a password.
    pub(super) fn forget_passwords(&mut self, sessions: &[String]) {
        let vanished = |one: &Credentials| sessions.contains(&one.session);
        self.credentials.retain(|one| !(vanished(one) && one.data.contains_key("password")));
    }

    /// Tries them: those of live sessions have to work, the others must not.
    pub(super) async fn tried(&mut self, world: &World, facts: &Facts) -> Vec<Login> {
        let live: Vec<_> = facts.sessions.iter().filter(|session| session.is_live(facts.now)).collect();
        let uids: BTreeSet<&str> = live.iter().map(|session| session.uid.as_str()).collect();
        let open: BTreeSet<(Server, String)> =
            live.iter().filter_map(|session| Some((session.server?, session.username.clone()))).collect();
        let over = self.credentials.iter().filter(|one| !uids.contains(one.uid.as_str())).count();
        for _ in REMEMBERED..over {
            // Those that were tried least recently stand in front.
            if let Some(tried) = self.credentials.iter().rposition(|one| !uids.contains(one.uid.as_str())) {
                self.credentials.remove(tried);
            }
        }
        self.times += 1;
        let refusals_of_mongo = self.times.is_multiple_of(self.bounds.refusals_of_mongo);
        let (mut live, mut over, mut mongo) = (0, 0, 0);
        let (due, rest): (Vec<_>, Vec<_>) = self.credentials.drain(..).partition(|one| {
            let should = uids.contains(one.uid.as_str());
            let is_mongo = one.account.0 == Server::Events;
            // A certificate works until it runs out, whenever its account is enabled.
            let tells = should || one.data.contains_key("password") || !open.contains(&one.account);
            let count = if should { &mut live } else { &mut over };
            let is_due = tells
                && *count < self.bounds.each
                && (!is_mongo || mongo < self.bounds.mongo && (should || refusals_of_mongo));
            if is_due {
                *count += 1;
                mongo += usize::from(is_mongo);
            }
            is_due
        });
        let tried =
            due.iter().map(async |one| (one, uids.contains(one.uid.as_str()), one.log_in(world).await));
        let tried: Vec<_> = futures::stream::iter(tried).buffer_unordered(AT_ONCE).collect().await;
        let mut logins = Vec::new();
        self.held.retain(|client| !client.is_closed());
        for (one, should, result) in tried {
            let refused = match result {
                Ok(client) => {
                    self.held.extend(client.filter(|_| should));
                    None
                }
                Err(error) => Some(format!("{error:#}")),
            };
            let (session, account) = (one.session.clone(), one.account.clone());
            logins.push(Login { session, account, should, refused });
        }
        while self.held.len() > HELD {
            self.held.pop_front();
        }
        self.credentials.extend(rest.into_iter().chain(due));
        logins
    }
}

impl Credentials {
    /// Logs in past everything that may be broken; with a connection where it can be kept.
    async fn log_in(&self, world: &World) -> Result<Option<Client>> {
        let value =
            |key: &str| self.data.get(key).cloned().with_context(|| format!("its Secret has no {key}"));
        let (server, user) = &self.account;
        let Some(pg) = world.postgres(*server) else {
            let identity = Certificate {
                common_name: user.clone(),
                cert_pem: value("tls.crt")?,
                key_pem: value("tls.key")?,
            };
            let client = world.mongo.connect(&identity).await?;
            let found = client
                .database(DATABASE)
                .run_command(mongodb::bson::doc! { "find": "notes", "limit": 1 })
                .await;
            client.shutdown().immediate(true).await;
            found.context("reading")?;
            return Ok(None);
        };
        if let Some(password) = self.data.get("password") {
            return Ok(Some(pg.connect_with_password(DATABASE, user, password).await?));
        }
        let identity = Certificate {
            common_name: user.clone(),
            cert_pem: value("tls.crt")?,
            key_pem: value("tls.key")?,
        };
        Ok(Some(pg.connect(DATABASE, &identity).await?))
    }
}

impl std::fmt::Debug for Logins {
    /// Credentials are not shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Logins").field("credentials", &self.credentials.len()).finish_non_exhaustive()
    }
}
