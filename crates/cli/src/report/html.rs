//! A report as one page that needs nothing else: no script, style or font from elsewhere, and none of what people wrote
//! is run. It can be read without its script, which only searches and filters.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use askama::Template;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use rolecall_ledger::State;
use sha2::{Digest, Sha256};

use super::show::{join, names, state, time};
use super::{Item, Report};

const STYLE: &str = include_str!("../../templates/report.css");
const SCRIPT: &str = include_str!("../../templates/report.js");

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    report: &'a Report,
    style: &'static str,
    script: &'static str,
    policy: String,
    made_at: String,
    since: String,
    until: String,
    rows: Vec<Row<'a>>,
    users: BTreeSet<&'a str>,
    databases: BTreeSet<&'a str>,
    states: BTreeSet<&'a str>,
    lanes: Vec<Lane<'a>>,
    ticks: Vec<Tick>,
    ledger: String,
    faults: Vec<&'a str>,
    reach: Vec<ReachRow<'a>>,
}

struct Row<'a> {
    item: &'a Item,
    state: &'static str,
    word: &'static str,
    db_roles: String,
    permissions: String,
    roles: String,
    approved_by: String,
    started: String,
    ended: String,
    expires: String,
    evidence: String,
    notes: Vec<String>,
}

/// The accesses of a user on a database, on one line of time.
struct Lane<'a> {
    user: &'a str,
    database: &'a str,
    bars: Vec<Bar<'a>>,
}

struct Bar<'a> {
    id: &'a str,
    state: &'static str,
    x: String,
    width: String,
    title: String,
}

struct Tick {
    x: String,
    label: String,
}

struct ReachRow<'a> {
    item: &'a super::ReachItem,
    labels: Vec<String>,
    names: String,
    db_roles: String,
    roles: String,
}

/// How wide the line of time is, in its own units.
const WIDTH: f64 = 1000.0;
/// The narrowest bar: it can still be seen.
const NARROWEST: f64 = 2.0;
/// How many times are written above the lines.
const TICKS: i32 = 5;

/// The page.
///
/// # Errors
///
/// None, in truth: it is written to memory.
pub fn page(report: &Report) -> anyhow::Result<String> {
    let span = Span::of(report);
    let (ledger, faults) = ledger(report);
    let page = Page {
        report,
        style: STYLE,
        script: SCRIPT,
        policy: policy(),
        made_at: spaced(Some(report.made_at)),
        since: spaced(report.since),
        until: spaced(Some(report.until)),
        rows: report.accesses.iter().map(row).collect(),
        users: report.accesses.iter().map(|item| &*item.access.user).collect(),
        databases: report.accesses.iter().map(|item| &*item.access.database).collect(),
        states: report.accesses.iter().map(|item| item.access.state.as_str()).collect(),
        lanes: lanes(report, span),
        ticks: (0..=TICKS).map(|tick| span.tick(tick)).collect(),
        ledger,
        faults,
        reach: reach(report),
    };
    page.render().context("writing the page")
}

/// What the page may load and run: the style and the script that are in it, and nothing else.
fn policy() -> String {
    let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)));
    format!(
        "default-src 'none'; style-src {}; script-src {}; base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
}

fn row(item: &Item) -> Row<'_> {
    let access = &item.access;
    let permissions: Vec<String> = access
        .permissions
        .iter()
        .map(|(privilege, objects)| format!("{privilege} on {objects} objects"))
        .collect();
    let mut notes = item.disagreement.clone();
    notes.extend(access.returned.iter().map(|back| {
        format!("came back, noticed at {}: {} ({})", spaced(Some(back.at)), back.action, back.cause)
    }));
    Row {
        item,
        state: access.state.as_str(),
        word: state(item),
        db_roles: join(&access.db_roles).replace(',', ", "),
        permissions: permissions.join(", "),
        roles: join(&access.roles).replace(',', ", "),
        approved_by: join(&access.approved_by).replace(',', ", "),
        started: spaced(access.started_at),
        ended: spaced(access.ended_at),
        expires: spaced(access.expires_at),
        evidence: access.evidence.join(" "),
        notes,
    }
}

/// A time that may be broken after the day.
fn spaced(at: Option<Timestamp>) -> String {
    time(at).replace('T', " ").replace('Z', "")
}

fn ledger(report: &Report) -> (String, Vec<&str>) {
    let Some(ledger) = &report.sources.ledger else { return (String::new(), Vec::new()) };
    let found = &ledger.verification;
    let lines: u64 = found.chains.iter().map(|chain| chain.lines).sum();
    let text = format!(
        "{lines} lines in {}, from {} to {}",
        if found.chains.len() == 1 {
            "one chain".to_owned()
        } else {
            format!("{} chains", found.chains.len())
        },
        spaced(ledger.from),
        spaced(ledger.until)
    );
    (text, found.faults.iter().map(|fault| &*fault.message).collect())
}

fn reach(report: &Report) -> Vec<ReachRow<'_>> {
    report.reach.iter().flat_map(|reach| &reach.items).map(reach_row).collect()
}

fn reach_row(item: &super::ReachItem) -> ReachRow<'_> {
    ReachRow {
        item,
        labels: item.labels.iter().map(|(key, value)| format!("{key}={value}")).collect(),
        names: names(&item.database_names),
        db_roles: item.db_roles.join(", "),
        roles: item.roles.join(", "),
    }
}

fn lanes(report: &Report, span: Span) -> Vec<Lane<'_>> {
    let mut lanes: BTreeMap<(&str, &str), Vec<Bar<'_>>> = BTreeMap::new();
    for item in &report.accesses {
        let access = &item.access;
        let Some(from) = access.started_at.or(access.ended_at) else { continue };
        let open = !matches!(access.state, State::Ended | State::Refused);
        let until = access.ended_at.filter(|_| !open).unwrap_or(report.until);
        let (x, width) = span.bar(from, until);
        let end = if open { "open".to_owned() } else { spaced(Some(until)) };
        lanes.entry((&access.user, &access.database)).or_default().push(Bar {
            id: &access.id,
            state: access.state.as_str(),
            x: format!("{x:.1}"),
            width: format!("{width:.1}"),
            title: format!("{} to {end}: {}, {}", spaced(Some(from)), state(item), access.why),
        });
    }
    lanes.into_iter().map(|((user, database), bars)| Lane { user, database, bars }).collect()
}

/// The time that is shown.
#[derive(Clone, Copy)]
struct Span {
    from: Timestamp,
    seconds: f64,
}

impl Span {
    fn of(report: &Report) -> Self {
        let first = report.accesses.iter().filter_map(|item| item.access.started_at).min();
        let from = match (report.since, first) {
            (Some(since), Some(first)) => since.max(first.min(report.until)),
            (since, first) => since.or(first).unwrap_or(report.until),
        };
        Self { from, seconds: report.until.duration_since(from).as_secs_f64().max(1.0) }
    }

    fn x(self, at: Timestamp) -> f64 {
        (at.duration_since(self.from).as_secs_f64() / self.seconds * WIDTH).clamp(0.0, WIDTH)
    }

    fn bar(self, from: Timestamp, until: Timestamp) -> (f64, f64) {
        let (from, until) = (self.x(from), self.x(until));
        let width = (until - from).max(NARROWEST);
        (from.min(WIDTH - width), width)
    }

    fn tick(self, number: i32) -> Tick {
        let part = f64::from(number) / f64::from(TICKS);
        let after = jiff::SignedDuration::from_secs_f64(self.seconds * part);
        let at = self.from.checked_add(after).unwrap_or(self.from);
        // The day is enough where there are several.
        let label = if self.seconds > 5.0 * 86_400.0 { "%Y-%m-%d" } else { "%m-%d %H:%M" };
        Tick { x: format!("{:.1}", part * 100.0), label: at.strftime(label).to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn what_people_wrote_is_text_wherever_it_stands() {
        let evil = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(1)>";
        let mut access = samples::access("a", State::Ended);
        for field in [
            &mut access.id,
            &mut access.namespace,
            &mut access.session,
            &mut access.user,
            &mut access.database,
            &mut access.database_name,
            &mut access.username,
            &mut access.why,
            &mut access.requested_by,
            &mut access.reason,
        ] {
            *field = evil.to_owned();
        }
        access.db_roles = BTreeSet::from([evil.to_owned()]);
        access.roles = BTreeSet::from([evil.to_owned()]);
        access.approved_by = BTreeSet::from([evil.to_owned()]);
        access.evidence = vec![evil.to_owned()];
        let mut report = samples::report(vec![access]);
        report.missing.push(evil.to_owned());
        report.accesses[0].disagreement.push(evil.to_owned());
        let text = page(&report).unwrap();
        assert!(!text.contains("<img") && !text.contains("alert(1)</script>"), "{text}");
        assert_eq!(text.matches("<script").count(), 1);
        assert!(text.matches("&#60;img").count() >= 14, "{}", text.matches("&#60;img").count());
    }

    #[test]
    fn the_page_loads_nothing_and_says_so() {
        let text = page(&samples::report(vec![samples::access("a", State::Active)])).unwrap();
        for outside in ["src=", "url(", "@import", "<link", "http-equiv=\"refresh\"", " style=", " onclick"] {
            assert!(!text.contains(outside), "{outside}");
        }
        assert!(!text.replace("http://www.w3.org/2000/svg", "").contains("://"), "no address of anything");
        // The hashes are those of what stands between the tags.
        let between = |tag: &str| {
            let (_, rest) = text.split_once(&format!("<{tag}>")).unwrap();
            rest.split_once(&format!("</{tag}>")).unwrap().0.to_owned()
        };
        for tag in ["style", "script"] {
            let hash = STANDARD.encode(Sha256::digest(between(tag)));
            assert!(
                text.contains(&format!("sha256-{hash}").replace('+', "&#43;")) || text.contains(&hash),
                "{tag}"
            );
        }
    }

    #[test]
    fn a_bar_is_where_its_access_was() {
        let report =
            samples::report(vec![samples::access("a", State::Ended), samples::access("b", State::Active)]);
        let span = Span::of(&report);
        let lanes = lanes(&report, span);
        let [lane] = lanes.as_slice() else { panic!("one user, one database") };
        assert_eq!((&*lane.bars[0].x, &*lane.bars[0].width), ("0.0", "4.2"));
        assert_eq!((&*lane.bars[1].x, &*lane.bars[1].width), ("0.0", "1000.0"));
    }
}
