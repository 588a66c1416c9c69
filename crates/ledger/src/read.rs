//! Lines from what a log collector made of them.
//!
//! What a line may be wrapped in: `kubectl logs` with `--prefix` and `--timestamps`; the files of a container runtime
//! (CRI), where a long line is in several parts; and a JSON object of a collector with the line as text in one of the
//! fields that are usual for that. Everything else is another line of the log, and is passed over. The operator's log may
//! be in the same stream, with words in it that somebody else has chosen: a line is never looked for within other text.

use std::collections::HashMap;
use std::fmt;

use serde_json::{Map, Value};

use crate::canonical::Strict;

/// The fields in which collectors put the text of a line: Docker and Fluent Bit, Vector and Filebeat, Promtail, journald,
/// OpenTelemetry, Splunk, Cloud Logging.
const TEXT_FIELDS: [&str; 9] =
    ["log", "message", "line", "MESSAGE", "body", "_raw", "event", "textPayload", "msg"];
/// The fields in which collectors put a line that they have parsed.
const OBJECT_FIELDS: [&str; 4] = ["log_processed", "jsonPayload", "event", "body"];

/// Where a line was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The file; `-` is standard input.
    pub file: String,
    /// The number of its line there, from 1.
    pub line: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// A line of the audit log as it was found.
#[derive(Clone, Debug)]
pub struct Read {
    /// Where.
    pub place: Place,
    /// Its fields.
    pub fields: Map<String, Value>,
}

/// The lines that were found.
#[derive(Clone, Debug, Default)]
pub struct Lines {
    /// Those of the audit log, in the order of the input.
    pub found: Vec<Read>,
    /// Those that begin like one and cannot be read: they were cut or changed.
    pub broken: Vec<Place>,
    /// How many others there are.
    pub others: u64,
}

impl Lines {
    /// Adds what is in one file.
    pub fn add(&mut self, file: &str, text: &str) {
        // Parts of a line of a container runtime that its end is missing of, by stream.
        let mut parts: HashMap<&str, String> = HashMap::new();
        for (number, line) in (1_u64..).zip(text.lines()) {
            let place = Place { file: file.to_owned(), line: number };
            let line = without_prefixes(line);
            match cri(line) {
                Some(Cri { stream, whole: false, text }) => {
                    parts.entry(stream).or_default().push_str(text);
                }
                Some(Cri { stream, whole: true, text }) => match parts.remove(stream) {
                    Some(begun) => self.take(place, &(begun + text)),
                    None => self.take(place, text),
                },
                None => self.take(place, line),
            }
        }
        for rest in parts.into_values() {
            let line = u64::try_from(text.lines().count()).unwrap_or(u64::MAX);
            self.take(Place { file: file.to_owned(), line }, &rest);
        }
    }

    fn take(&mut self, place: Place, text: &str) {
        let text = text.trim();
        match object(text) {
            Some(fields) => self.found.push(Read { place, fields }),
            None if text.starts_with(r#"{""#) && text.contains(r#""chain":""#) && !is_of_operator(text) => {
                self.broken.push(place);
            }
            None if text.is_empty() => {}
            None => self.others += 1,
        }
    }
}

/// The line of the audit log that a text is, or that it wraps.
fn object(text: &str) -> Option<Map<String, Value>> {
    if !text.starts_with('{') {
        return None;
    }
    let Strict(object) = serde_json::from_str(text).ok()?;
    if is_line(&object) {
        return Some(object);
    }
    // The operator's own log in JSON: what is in its fields was chosen by others.
    if object.contains_key("level") && object.contains_key("target") {
        return None;
    }
    let inner = OBJECT_FIELDS.iter().filter_map(|field| object.get(*field)?.as_object());
    if let Some(inner) = inner.into_iter().find(|inner| is_line(inner)) {
        return Some(inner.clone());
    }
    let texts = TEXT_FIELDS.iter().filter_map(|field| object.get(*field)?.as_str());
    texts.into_iter().find_map(|text| {
        let Strict(object) = serde_json::from_str(without_prefixes(text.trim())).ok()?;
        is_line(&object).then_some(object)
    })
}

fn is_line(object: &Map<String, Value>) -> bool {
    ["ledger", "chain", "seq", "event"].iter().all(|field| object.contains_key(*field))
}

fn is_of_operator(text: &str) -> bool {
    text.contains(r#""level":"#) && text.contains(r#""target":"#)
}

/// Without what `kubectl logs` writes before a line: `[pod/NAME/CONTAINER] ` and a time.
fn without_prefixes(line: &str) -> &str {
    let bare = match line.strip_prefix("[pod/").and_then(|rest| rest.split_once("] ")) {
        Some((_, rest)) => rest,
        None => line,
    };
    if cri(bare).is_some() {
        return bare;
    }
    match bare.split_once(' ') {
        Some((time, rest)) if time.parse::<jiff::Timestamp>().is_ok() => rest,
        _ => bare,
    }
}

/// A line in the file of a container runtime: `TIME STREAM P|F TEXT`.
struct Cri<'a> {
    stream: &'a str,
    whole: bool,
    text: &'a str,
}

fn cri(line: &str) -> Option<Cri<'_>> {
    let mut parts = line.splitn(4, ' ');
    let (time, stream, tags) = (parts.next()?, parts.next()?, parts.next()?);
    let text = parts.next().unwrap_or_default();
    let tag = tags.split(':').next()?;
    let fits = matches!(stream, "stdout" | "stderr") && matches!(tag, "F" | "P");
    (fits && time.parse::<jiff::Timestamp>().is_ok()).then_some(Cri { stream, whole: tag == "F", text })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::chain::samples;

    fn read(text: &str) -> Lines {
        let mut lines = Lines::default();
        lines.add("f", text);
        lines
    }

    #[test]
    fn a_line_is_found_in_whatever_a_collector_wraps_it_in() {
        let line = samples::chain("c", 2, None, None).remove(1);
        let time = "2026-11-30T19:00:00.123456789Z";
        let (one, two) = line.split_at(40);
        for wrapped in [
            line.clone(),
            format!("  {line}\r"),
            format!("[pod/rolecall-operator-5d/operator] {line}"),
            format!("{time} {line}"),
            format!("[pod/rolecall-operator-5d/operator] {time} {line}"),
            format!("{time} stderr F {line}"),
            format!("{time} stderr P {one}\n{time} stdout F hello\n{time} stderr F {two}"),
            json!({"log": format!("{line}\n"), "stream": "stderr", "time": time}).to_string(),
            json!({"message": line, "kubernetes": {"pod": "x"}}).to_string(),
            json!({"log": format!("{time} stderr F {line}")})
                .to_string()
                .replace(&format!("{time} stderr F "), ""),
            json!({"log_processed": serde_json::from_str::<Value>(&line).unwrap()}).to_string(),
        ] {
            let lines = read(&wrapped);
            assert_eq!(lines.found.len(), 1, "{wrapped}");
            assert_eq!(crate::canonical::canonical(&lines.found[0].fields), line);
        }
    }

    #[test]
    fn what_others_chose_within_the_operators_log_is_no_line() {
        let line = samples::chain("c", 1, None, None).remove(0);
        for other in [
            format!("2026-11-30T19:00:00Z  INFO rolecall_operator: {line}"),
            json!({"level": "INFO", "target": "x", "message": line}).to_string(),
            json!({"level": "INFO", "target": "x", "fields": {"message": line}}).to_string(),
            format!("note {line}"),
        ] {
            let lines = read(&other);
            assert!(lines.found.is_empty() && lines.broken.is_empty(), "{other}");
            assert_eq!(lines.others, 1);
        }
    }

    #[test]
    fn a_line_that_was_cut_is_named() {
        let line = samples::chain("c", 2, None, None).remove(1);
        let lines = read(&format!("{}\n{line}\n", &line[..line.len() - 5]));
        assert_eq!((lines.found.len(), lines.broken.len()), (1, 1));
        assert_eq!(lines.broken[0].to_string(), "f:1");
        let twice = line.replacen('{', r#"{"event":"ended","#, 1);
        assert_eq!(read(&twice).broken.len(), 1, "a field twice");
    }
}
