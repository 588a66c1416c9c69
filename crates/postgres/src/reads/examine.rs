//! What a person who looks for a fault wants to know: clock, event triggers, pg_hba.conf.

use std::collections::BTreeSet;

use rolecall_engine::examine::{EventTrigger, Examination, Hba, HbaRule};
use rolecall_engine::{Class, Error};
use serde::Deserialize;

use crate::Postgres;
use crate::reads::observe::parse;
use crate::transport::message::Message;
use crate::transport::server::Place;
use crate::transport::sqlstate::INSUFFICIENT_PRIVILEGE;

#[derive(Deserialize)]
struct Trigger {
    name: String,
    event: String,
    function: String,
    owner: String,
}

#[derive(Deserialize)]
struct Rule {
    line: u32,
    connection: Option<String>,
    databases: Option<Vec<String>>,
    users: Option<Vec<String>>,
    method: Option<String>,
    options: Option<Vec<String>>,
    error: Option<String>,
}

impl Postgres {
    pub(crate) async fn examine_server(&self, databases: &BTreeSet<String>) -> Result<Examination, Error> {
        let place = self.server.place(None);
        let mut found = Examination { clock: self.clock(&place).await?, ..Examination::default() };
        found.hba = self.hba(&place, &mut found.unread).await?;
        let mut all = databases.clone();
        let (Place::Any(own) | Place::Exactly(own)) = place;
        all.insert(own);
        for database in all {
            match self.event_triggers(&database).await {
                Ok(triggers) => found.event_triggers.extend(triggers),
                Err(error) => {
                    found
                        .unread
                        .push(format!("the event triggers of the logical database {database:?}: {error}"));
                }
            }
        }
        Ok(found)
    }

    async fn clock(&self, place: &Place) -> Result<Option<i64>, Error> {
        let clock = Message::one(
            "reading the clock",
            "SELECT (EXTRACT(epoch FROM pg_catalog.clock_timestamp()) * 1000000)::pg_catalog.int8",
        );
        Ok(self.server.run(place, &clock).await?.value().and_then(|value| value.parse().ok()))
    }

    async fn event_triggers(&self, database: &str) -> Result<Vec<EventTrigger>, Error> {
        let message = Message::one(
            format!("reading the event triggers of {database:?}"),
            "SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object('name', t.evtname, 'event', t.evtevent,
'function', t.evtfoid::pg_catalog.regprocedure::pg_catalog.text, 'owner', pg_catalog.pg_get_userbyid(t.evtowner)) ORDER BY t.evtname), '[]')
FROM pg_catalog.pg_event_trigger t WHERE t.evtenabled <> 'D' AND t.evtenabled <> 'R'",
        );
        let reply = self.server.run(&Place::Exactly(database.to_owned()), &message).await?;
        let triggers: Vec<Trigger> = parse(&reply, || message.attempted(0).to_owned())?;
        let named = |Trigger { name, event, function, owner }| EventTrigger {
            database: database.to_owned(),
            name,
            event,
            function,
            owner,
        };
        Ok(triggers.into_iter().map(named).collect())
    }

    async fn hba(&self, place: &Place, unread: &mut Vec<String>) -> Result<Hba, Error> {
        let message = Message::one(
            "reading pg_hba.conf",
            "SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object('line', h.line_number, 'connection', h.type,
'databases', h.database, 'users', h.user_name, 'method', h.auth_method, 'options', h.options, 'error', h.error)
ORDER BY h.line_number), '[]') FROM pg_catalog.pg_hba_file_rules h",
        );
        let reply = match self.server.run(place, &message).await {
            Ok(reply) => reply,
            Err(error) if error.code == INSUFFICIENT_PRIVILEGE => return Ok(Hba::Closed),
            Err(error) if error.class == Class::Unreachable => return Err(error),
            Err(error) => {
                unread.push(format!("pg_hba.conf: {error}"));
                return Ok(Hba::Closed);
            }
        };
        let rules: Vec<Rule> = parse(&reply, || message.attempted(0).to_owned())?;
        Ok(Hba::Rules(rules.into_iter().map(HbaRule::from).collect()))
    }
}

impl From<Rule> for HbaRule {
    fn from(rule: Rule) -> Self {
        Self {
            line: rule.line,
            connection: rule.connection.unwrap_or_default(),
            databases: rule.databases.unwrap_or_default(),
            users: rule.users.unwrap_or_default(),
            method: rule.method.unwrap_or_default(),
            options: rule.options.unwrap_or_default(),
            fault: rule.error,
        }
    }
}
