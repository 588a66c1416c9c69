//! The members of a server, and what accounts run on each of them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::future::join_all;
use mongodb::bson::{Bson, Document, Timestamp};
use mongodb::options::ServerAddress;
use rolecall_engine::{AccountName, Class, Error, Reason};

use crate::statements::operation::{self, Operation};
use crate::transport::address::supported;
use crate::transport::server::{Server, hello};

/// How long a member is waited for that does not answer at all.
const MEMBER_TIMEOUT: Duration = Duration::from_secs(2);
/// For how long a member that the replica set could not reach is not waited for.
const AWAY: Duration = Duration::from_secs(60);
/// For how long that is good enough to say that an access has ended.
const CERTAIN: Duration = Duration::from_secs(5);
/// How long a majority may take to confirm what the primary shows.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// What a `hello` says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Hello {
    /// The data-bearing members, except hidden ones; `None` for a server without replica set, or one
    /// that is dialled directly.
    pub(crate) members: Option<Vec<ServerAddress>>,
    /// The name of the replica set.
    pub(crate) set: Option<String>,
    /// The latest change that a majority has confirmed.
    pub(crate) confirmed: Option<Timestamp>,
    /// The latest change that the member has made.
    pub(crate) latest: Option<Timestamp>,
}

/// What runs on all members.
#[derive(Clone, Debug, Default)]
pub(crate) struct MembersSeen {
    /// By account: the member, and the operation or idle connection.
    pub(crate) operations: BTreeMap<AccountName, Vec<(String, Operation)>>,
    /// Members that were asked and have answered.
    pub(crate) asked: Vec<ServerAddress>,
    /// Members that did not answer.
    pub(crate) unasked: Vec<String>,
    /// Members that have not yet made the change that was asked for.
    pub(crate) behind: Vec<String>,
}

/// What is asked of every member.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MemberQuery<'a> {
    /// Only what this account runs.
    pub(crate) account: Option<&'a AccountName>,
    /// Which members have not made this change before they are asked.
    pub(crate) after: Option<Timestamp>,
}

/// Members that neither we nor the rest of the replica set can reach.
///
/// Not state of an account: forgetting an entry costs no more than finding it out again.
#[derive(Debug, Default)]
pub(crate) struct Away(Mutex<HashMap<String, Instant>>);

impl Away {
    pub(crate) fn add(&self, members: &[String]) {
        let mut away = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        away.extend(members.iter().map(|member| (member.clone(), Instant::now())));
    }

    pub(crate) fn contains(&self, member: &str) -> bool {
        let mut away = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        away.retain(|_, since| since.elapsed() < AWAY);
        away.contains_key(member)
    }

    /// Was that found out just now? A member can come back to its set at any time, and still not answer us.
    pub(crate) fn is_certain(&self, member: &str) -> bool {
        let away = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        away.get(member).is_some_and(|since| since.elapsed() < CERTAIN)
    }

    fn remove(&self, member: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(member);
    }
}

impl Hello {
    /// # Errors
    ///
    /// `Unsupported` for a server where users cannot be provisioned: a sharded cluster, a service, a member that has an
    /// address that cannot be dialled.
    pub(crate) fn read(answer: &Document, direct: bool) -> Result<Self, Error> {
        if answer.get_str("msg").is_ok_and(|is| is == "isdbgrid") {
            return Err(unsupported(
                "it is a mongos: other mongos keep users in their caches, and what runs there cannot be seen",
            ));
        }
        let set = answer.get_str("setName").ok().map(str::to_owned);
        let names: Vec<&str> = ["hosts", "passives"]
            .iter()
            .filter_map(|list| answer.get_array(list).ok())
            .flatten()
            .filter_map(Bson::as_str)
            .collect();
        let members: Vec<ServerAddress> = names.iter().map(|name| address(name)).collect::<Result<_, _>>()?;
        for member in &members {
            if let ServerAddress::Tcp { host, .. } = member {
                supported(host)?;
            }
        }
        if direct && members.len() > 1 {
            return Err(unsupported(
                "directConnection=true reaches one member of several: without it the others can be seen",
            ));
        }
        let write = answer.get_document("lastWrite").ok();
        let time = |key: &str| {
            write
                .and_then(|write| write.get_document(key).ok())
                .and_then(|time| time.get_timestamp("ts").ok())
        };
        Ok(Self {
            members: (set.is_some() && !direct).then_some(members),
            set,
            confirmed: time("majorityOpTime"),
            latest: time("opTime"),
        })
    }
}

/// A member that is not understood is never left out: what runs there would not be seen.
fn address(name: &str) -> Result<ServerAddress, Error> {
    ServerAddress::parse(name).map_err(|_| {
        unsupported(&format!("the replica set has the member {name:?}, which is not a host with a port"))
    })
}

fn unsupported(why: &str) -> Error {
    Error {
        class: Class::Refused,
        reason: Reason::Unsupported,
        attempted: "reading the state of the server".to_owned(),
        code: String::new(),
        detail: why.to_owned(),
        remedy: "use a replica set or a single server, and the addresses of its members".to_owned(),
    }
}

impl Server {
    pub(crate) async fn hello(&self) -> Result<Hello, Error> {
        Ok(self.hello_and_answer().await?.0)
    }

    /// What the primary says, and its whole answer.
    pub(crate) async fn hello_and_answer(&self) -> Result<(Hello, Document), Error> {
        let answer = self.run(&hello()).await?;
        self.speaks(&answer);
        Ok((Hello::read(&answer, self.config().address.is_direct())?, answer))
    }

    /// The latest change that a member has made.
    pub(crate) async fn latest_of(&self, member: &ServerAddress) -> Result<Option<Timestamp>, Error> {
        let request = hello();
        let asked = self.run_on(member, &request);
        match tokio::time::timeout(MEMBER_TIMEOUT, asked).await {
            Ok(answer) => Ok(Hello::read(&answer?, false)?.latest),
            Err(_) => Err(Error {
                class: Class::Unreachable,
                reason: Reason::DatabaseUnreachable,
                attempted: format!("reading the state of the member {member}"),
                code: String::new(),
                detail: format!("it has not answered within {} s", MEMBER_TIMEOUT.as_secs()),
                remedy: "check the member and the network between".to_owned(),
            }),
        }
    }

    /// Waits until a majority has what the primary showed at this moment.
    ///
    /// # Errors
    ///
    /// `Transient` when that takes too long.
    pub(crate) async fn until_confirmed(
        &self,
        what: &str,
        at: Option<Timestamp>,
        hello: &Hello,
    ) -> Result<(), Error> {
        let Some(at) = at.filter(|_| hello.set.is_some()) else { return Ok(()) };
        let begun = Instant::now();
        let (mut confirmed, mut pause) = (hello.confirmed, FIRST_PAUSE);
        while confirmed.is_none_or(|confirmed| confirmed < at) {
            if begun.elapsed() > CONFIRMED_WITHIN {
                return Err(Error {
                    class: Class::Transient,
                    reason: Reason::ServerRefused,
                    attempted: what.to_owned(),
                    code: String::new(),
                    detail: "a majority of the replica set has not confirmed what the primary shows"
                        .to_owned(),
                    remedy: "check that a majority of the members is up and keeps up with the primary"
                        .to_owned(),
                });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            confirmed = self.hello().await?.confirmed;
        }
        Ok(())
    }

    /// Asks every member at once. Those that are known to be away are not waited for.
    pub(crate) async fn ask_members(
        &self,
        hello: &Hello,
        query: MemberQuery<'_>,
        away: &Away,
    ) -> Result<MembersSeen, Error> {
        let what = match query.account {
            Some(account) => format!("reading what {:?} runs", account.as_str()),
            None => "reading what accounts run".to_owned(),
        };
        let request = operation::operations(what, query.account);
        let mut seen = MembersSeen::default();
        let Some(members) = &hello.members else {
            let entries = self.list(&request, None).await?;
            seen.add(&self.config().address.to_string(), &entries);
            return Ok(seen);
        };
        let answers = members.iter().map(async |member| {
            if away.contains(&member.to_string()) && self.is_failing(member) {
                return (member, None);
            }
            let ask = async {
                let mut behind = false;
                // The only one has just answered.
                if members.len() > 1 || query.after.is_some() {
                    // First: what begins after the change is refused.
                    let latest = self.latest_of(member).await?;
                    behind = query.after.is_some_and(|after| latest.is_none_or(|latest| latest < after));
                }
                Ok::<_, Error>((behind, self.list(&request, Some(member)).await?))
            };
            (member, Some(ask.await))
        });
        for (member, answer) in join_all(answers).await {
            match answer {
                Some(Ok((behind, entries))) => {
                    away.remove(&member.to_string());
                    seen.add(&member.to_string(), &entries);
                    seen.asked.push(member.clone());
                    if behind {
                        seen.behind.push(member.to_string());
                    }
                }
                // A member that shuts down, or does not know the admin user yet, does not let it in. The primary did.
                Some(Err(error)) if error.class != Class::Unreachable => return Err(error),
                _ => seen.unasked.push(member.to_string()),
            }
        }
        Ok(seen)
    }
}

impl MembersSeen {
    fn add(&mut self, member: &str, entries: &[Document]) {
        for (account, operations) in operation::read(entries) {
            let operations = operations.into_iter().map(|operation| (member.to_owned(), operation));
            self.operations.entry(account).or_default().extend(operations);
        }
    }

    /// What an account runs at this moment.
    pub(crate) fn running<'a>(
        &'a self,
        account: &AccountName,
    ) -> impl Iterator<Item = &'a (String, Operation)> + use<'a> {
        self.operations.get(account).into_iter().flatten().filter(|(_, operation)| operation.active)
    }

    /// The connections of an account; of one that is locked those that run something, as the others can do nothing any
    /// more, and stay only until their user tries.
    pub(crate) fn backends(&self, account: &AccountName, locked: bool) -> u32 {
        let count = if locked {
            self.running(account).count()
        } else {
            self.operations.get(account).map_or(0, Vec::len)
        };
        u32::try_from(count).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use mongodb::bson::doc;

    use super::*;

    fn members(answer: &Document) -> Option<Vec<String>> {
        let hello = Hello::read(answer, false).unwrap();
        hello.members.map(|members| members.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn members_without_data_are_not_asked() {
        let answer = doc! {
            "setName": "rs", "hosts": ["M0:27017", "m1:27018"], "passives": ["m2"], "arbiters": ["m3:27017"],
        };
        assert_eq!(members(&answer).unwrap(), ["m0:27017", "m1:27018", "m2:27017"]);
        assert_eq!(members(&doc! { "isWritablePrimary": true }), None);
    }

    #[test]
    fn servers_whose_users_are_made_in_another_way_are_refused() {
        for answer in [
            doc! { "msg": "isdbgrid" },
            // Behind a name of one's own.
            doc! { "setName": "atlas-x", "hosts": ["ac-shard-00-00.ab1cd.mongodb.net:27017"] },
            doc! { "setName": "rs0", "hosts": ["orders.cluster-x.eu-west-1.docdb.amazonaws.com:27017"] },
        ] {
            assert_eq!(Hello::read(&answer, false).unwrap_err().reason, Reason::Unsupported, "{answer}");
        }
    }

    #[test]
    fn a_member_whose_address_is_not_understood_is_not_left_out() {
        let answer = doc! { "setName": "rs", "hosts": ["m0:27017", "m1:port"] };
        let error = Hello::read(&answer, false).unwrap_err();
        assert_eq!(error.reason, Reason::Unsupported);
        assert!(error.to_string().contains("m1:port"), "{error}");
    }

    #[test]
    fn one_member_dialled_directly_does_for_a_set_of_one_only() {
        let one = doc! { "setName": "rs", "hosts": ["m0:27017"] };
        assert_eq!(Hello::read(&one, true).unwrap().members, None);
        let three = doc! { "setName": "rs", "hosts": ["m0:27017", "m1:27017", "m2:27017"] };
        assert_eq!(Hello::read(&three, true).unwrap_err().reason, Reason::Unsupported);
    }

    #[test]
    fn a_member_that_is_away_is_forgotten_when_it_answers() {
        let away = Away::default();
        away.add(&["m1:27017".to_owned()]);
        assert!(away.contains("m1:27017") && !away.contains("m2:27017"));
        assert!(away.is_certain("m1:27017") && !away.is_certain("m2:27017"));
        away.remove("m1:27017");
        assert!(!away.contains("m1:27017") && !away.is_certain("m1:27017"));
    }
}
