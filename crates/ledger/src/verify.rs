//! Whether lines are missing, changed, repeated, or in another order.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::chain::{HMAC_SHA_256, Head, Key, hash};
use crate::read::{Lines, Place, Read};

/// What the lines are checked against.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The keys that chains may be sealed with. With any, a chain without one is a fault.
    pub keys: Vec<Key>,
    /// Lines that have to be there: what was published elsewhere.
    pub heads: Vec<Head>,
    /// Lines from the very first on have to be there.
    pub complete: bool,
}

/// What was found.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verification {
    /// Nothing is wrong.
    pub ok: bool,
    /// The chains, in the order in which they begin.
    pub chains: Vec<ChainSummary>,
    /// What is wrong.
    pub faults: Vec<Fault>,
    /// What cannot be told from these lines alone.
    pub notes: Vec<String>,
    /// Lines of the input that are no lines of an audit log.
    pub other_lines: u64,
}

/// The lines of one writer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChainSummary {
    /// Its id.
    pub chain: String,
    /// Who wrote it, as its first line says.
    pub writer: String,
    /// How many lines are there.
    pub lines: u64,
    /// The number of the first.
    pub first: u64,
    /// The number of the last.
    pub last: u64,
    /// When the first was written.
    pub from: Option<Timestamp>,
    /// When the last was written.
    pub until: Option<Timestamp>,
    /// The last line, as it is published elsewhere.
    pub head: String,
    /// Its writer ended it in order.
    pub stopped: bool,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// The chain.
    pub chain: String,
    /// The number of the line in it; of several missing ones the first.
    pub seq: u64,
    /// Where it is, or the line before the missing one.
    pub place: String,
    /// What it is.
    pub kind: Kind,
    /// A sentence.
    pub message: String,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// Lines are not there.
    Missing,
    /// A line says something else than when it was written.
    Changed,
    /// A line stands before one that was written earlier.
    Moved,
    /// A line stands there twice.
    Repeated,
    /// A line cannot be read.
    Unreadable,
    /// A chain is not sealed as it should be.
    Unsealed,
}

/// One line, with what the chain is about.
struct Line<'a> {
    place: &'a Place,
    fields: &'a Map<String, Value>,
    seq: u64,
    hash: &'a str,
    previous: &'a str,
}

impl<'a> Line<'a> {
    fn text(&self, field: &str) -> &'a str {
        self.fields.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    fn time(&self) -> Option<Timestamp> {
        self.text("time").parse().ok()
    }
}

/// Checks lines.
///
/// # Errors
///
/// A chain that is sealed with a key, where none is there to check it with: its id.
pub fn verify(lines: &Lines, options: &Options) -> Result<Verification, String> {
    let mut found = Verification { other_lines: lines.others, ..Verification::default() };
    // A disk that was full leaves such a line, and the whole one follows. Where it does not, it is missing below.
    found.notes.extend(
        lines
            .broken
            .iter()
            .map(|place| format!("{place} begins like a line of the audit log and is cut off or spoiled")),
    );
    let mut chains: BTreeMap<&str, Vec<Line<'_>>> = BTreeMap::new();
    for read in &lines.found {
        match line(read) {
            Some((chain, line)) => chains.entry(chain).or_default().push(line),
            None => found.faults.push(Fault {
                chain: String::new(),
                seq: 0,
                place: read.place.to_string(),
                kind: Kind::Unreadable,
                message: format!("{} lacks the chain, number or hash of a line", read.place),
            }),
        }
    }
    for (id, lines) in &chains {
        check_chain(id, lines, options, &mut found)?;
    }
    found.chains.sort_by(|a, b| (a.from, &a.chain).cmp(&(b.from, &b.chain)));
    check_order_of_chains(&chains, options, &mut found);
    for head in &options.heads {
        check_head(head, "was published", &chains, &mut found, true);
    }
    if found.chains.is_empty() {
        found.faults.push(Fault {
            chain: String::new(),
            seq: 0,
            place: String::new(),
            kind: Kind::Missing,
            message: "there is no line of an audit log".to_owned(),
        });
    }
    found.ok = found.faults.is_empty();
    Ok(found)
}

fn line(read: &Read) -> Option<(&str, Line<'_>)> {
    let text = |field: &str| read.fields.get(field)?.as_str();
    let line = Line {
        place: &read.place,
        fields: &read.fields,
        seq: read.fields.get("seq")?.as_u64().filter(|seq| *seq > 0)?,
        hash: text("hash")?,
        previous: text("previous")?,
    };
    Some((text("chain")?, line))
}

/// Checks the lines of one chain, and adds what they are to `found`.
fn check_chain(
    id: &str,
    lines: &[Line<'_>],
    options: &Options,
    found: &mut Verification,
) -> Result<(), String> {
    let key = key(id, lines, options, found)?;
    let (Some(first), Some(newest)) = (lines.first(), lines.iter().max_by_key(|line| line.seq)) else {
        return Ok(());
    };
    let mut fault = |line: &Line<'_>, seq: u64, kind: Kind, message: String| {
        let place = line.place.to_string();
        found.faults.push(Fault { chain: id.to_owned(), seq, place, kind, message });
    };
    let mut by_seq: BTreeMap<u64, &Line<'_>> = BTreeMap::new();
    let mut highest: Option<&Line<'_>> = None;
    for line in lines {
        let seq = line.seq;
        if hash(line.fields, key) != line.hash {
            let place = line.place;
            fault(
                line,
                seq,
                Kind::Changed,
                format!(
                    "line {seq} of chain {id} ({place}) was changed: its hash is not that of its content"
                ),
            );
        }
        if let Some(other) = by_seq.get(&seq) {
            let (kind, how) = match other.hash == line.hash {
                true => (Kind::Repeated, "stands twice"),
                false => (Kind::Changed, "is there with two contents"),
            };
            let message = format!("line {seq} of chain {id} {how}: {} and {}", other.place, line.place);
            fault(line, seq, kind, message);
            continue;
        }
        if let Some(before) = highest.filter(|before| before.seq > seq) {
            let message =
                format!("line {seq} of chain {id} ({}) stands after line {}", line.place, before.seq);
            fault(line, seq, Kind::Moved, message);
        } else {
            highest = Some(line);
        }
        by_seq.insert(seq, line);
    }
    let lowest = by_seq.values().next().map_or(1, |line| line.seq);
    let mut before: Option<&Line<'_>> = None;
    for line in by_seq.values().copied() {
        let seq = line.seq;
        match before {
            Some(before) if before.seq + 1 < seq => {
                let missing = (before.seq + 1, seq - 1);
                let message = format!(
                    "{} of chain {id} {} missing: after line {} ({}) comes line {seq}",
                    numbers(missing),
                    are(missing),
                    before.seq,
                    before.place
                );
                fault(before, missing.0, Kind::Missing, message);
            }
            Some(before) if before.hash != line.previous => {
                let message = format!(
                    "line {seq} of chain {id} ({}) does not follow line {}: one of the two was changed",
                    line.place, before.seq
                );
                fault(line, seq, Kind::Changed, message);
            }
            None if seq == 1 && !(line.previous.is_empty() && line.text("event") == "start") => {
                let message = format!("line 1 of chain {id} ({}) does not begin it", line.place);
                fault(line, 1, Kind::Changed, message);
            }
            _ => {}
        }
        before = Some(line);
    }
    if lowest > 1 {
        let message = format!("{} of chain {id} {} not here", numbers((1, lowest - 1)), are((1, lowest - 1)));
        // The oldest lines may have been deleted because they are old: whether they may be missing is not known yet.
        if options.complete {
            fault(first, 1, Kind::Missing, message);
        } else {
            found.notes.push(message);
        }
    }
    let head = Head { chain: id.to_owned(), seq: newest.seq, hash: newest.hash.to_owned() };
    found.chains.push(ChainSummary {
        chain: id.to_owned(),
        writer: by_seq.get(&1).map_or("", |line| line.text("writer")).to_owned(),
        lines: u64::try_from(lines.len()).unwrap_or(u64::MAX),
        first: lowest,
        last: newest.seq,
        from: by_seq.values().next().and_then(|line| line.time()),
        until: newest.time(),
        head: head.to_string(),
        stopped: newest.text("event") == "stop",
    });
    Ok(())
}

/// The key that a chain is sealed with. Where its first line is not there, the one that fits.
fn key<'k>(
    id: &str,
    lines: &[Line<'_>],
    options: &'k Options,
    found: &mut Verification,
) -> Result<Option<&'k Key>, String> {
    let fits = |line: &Line<'_>, key: Option<&Key>| hash(line.fields, key) == line.hash;
    let sealing = options.keys.iter().find(|key| lines.iter().any(|line| fits(line, Some(key))));
    if sealing.is_some() {
        return Ok(sealing);
    }
    let says = lines.iter().find(|line| line.seq == 1).map(|line| line.text("algorithm"));
    let Some(first) = lines.first() else { return Ok(None) };
    if options.keys.is_empty() {
        return match says {
            Some(HMAC_SHA_256) => Err(id.to_owned()),
            // It begins before the input: no line of it fits without a key. A single one may have been changed.
            None if lines.len() > 1 && !lines.iter().any(|line| fits(line, None)) => Err(id.to_owned()),
            _ => Ok(None),
        };
    }
    found.faults.push(Fault {
        chain: id.to_owned(),
        seq: first.seq,
        place: first.place.to_string(),
        kind: Kind::Unsealed,
        message: format!("chain {id} ({}) is not sealed with the key", first.place),
    });
    Ok(None)
}

/// Each chain names the line before it. The oldest may follow one that is not there any more.
fn check_order_of_chains(
    chains: &BTreeMap<&str, Vec<Line<'_>>>,
    options: &Options,
    found: &mut Verification,
) {
    let oldest = found.chains.first().map(|chain| chain.chain.clone()).unwrap_or_default();
    let mut followed = BTreeSet::new();
    for summary in found.chains.clone() {
        let id = summary.chain.as_str();
        let first = chains.get(id).and_then(|lines| lines.iter().find(|line| line.seq == 1));
        let Some(first) = first else {
            if id != oldest && !options.complete {
                // Said above as a note: here it is known that older lines are there.
                found.faults.push(Fault {
                    chain: id.to_owned(),
                    seq: 1,
                    place: String::new(),
                    kind: Kind::Missing,
                    message: format!(
                        "chain {id} begins with line {}, and lines that are older are there",
                        summary.first
                    ),
                });
            }
            continue;
        };
        let mut names_one = false;
        for (field, how) in
            [("follows", "was the last of the file"), ("published", "was published by its writer")]
        {
            let text = first.text(field);
            if text.is_empty() {
                continue;
            }
            names_one = true;
            match text.parse::<Head>() {
                Ok(head) => {
                    followed.insert(head.chain.clone());
                    let how = format!("{how} when chain {id} began");
                    check_head(&head, &how, chains, found, options.complete || id != oldest);
                }
                Err(error) => found.faults.push(Fault {
                    chain: id.to_owned(),
                    seq: 1,
                    place: first.place.to_string(),
                    kind: Kind::Changed,
                    message: format!("line 1 of chain {id}: {error}"),
                }),
            }
        }
        if !names_one && id != oldest {
            found.notes.push(format!(
                "chain {id} names no line before it: its operator knew of none, and what was written before it is not tied to it"
            ));
        }
    }
    for summary in &found.chains {
        if !summary.stopped && !followed.contains(&summary.chain) && options.heads.is_empty() {
            found.notes.push(format!(
                "chain {} is open at line {}: whether later lines were cut off shows only beside what was published (--lease, --head)",
                summary.chain, summary.last
            ));
        }
    }
}

/// A line of which something else says that it was written.
fn check_head(
    head: &Head,
    how: &str,
    chains: &BTreeMap<&str, Vec<Line<'_>>>,
    found: &mut Verification,
    must: bool,
) {
    let Head { chain, seq, hash } = head;
    let Some(lines) = chains.get(chain.as_str()) else {
        let message = format!("chain {chain}, whose line {seq} {how}, is not here");
        if must {
            let kind = Kind::Missing;
            found.faults.push(Fault { chain: chain.clone(), seq: *seq, place: String::new(), kind, message });
        } else {
            found.notes.push(message);
        }
        return;
    };
    let there = lines.iter().find(|line| line.seq == *seq);
    let (kind, message) = match there {
        Some(line) if line.hash == hash => return,
        Some(line) => {
            (Kind::Changed, format!("line {seq} of chain {chain} ({}) is not the one that {how}", line.place))
        }
        None => {
            let last = lines.iter().map(|line| line.seq).max().unwrap_or(0);
            // What is missing in the middle was found there.
            if last > *seq {
                return;
            }
            let missing = (last + 1, *seq);
            (
                Kind::Missing,
                format!(
                    "{} of chain {chain} {} missing at its end: line {seq} {how}",
                    numbers(missing),
                    are(missing)
                ),
            )
        }
    };
    let place = there.map(|line| line.place.to_string()).unwrap_or_default();
    let fault = Fault { chain: chain.clone(), seq: *seq, place, kind, message };
    if !found.faults.contains(&fault) {
        found.faults.push(fault);
    }
}

fn numbers((first, last): (u64, u64)) -> String {
    if first == last { format!("line {first}") } else { format!("lines {first} to {last}") }
}

fn are((first, last): (u64, u64)) -> &'static str {
    if first == last { "is" } else { "are" }
}

#[cfg(test)]
mod tests;
