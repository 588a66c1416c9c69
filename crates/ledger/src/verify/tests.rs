use proptest::prelude::*;

use super::*;
use crate::chain::samples::{chain, head};

fn check_with(lines: &[String], options: &Options) -> Verification {
    let mut read = Lines::default();
    read.add("f", &lines.join("\n"));
    verify(&read, options).unwrap()
}

fn check(lines: &[String]) -> Verification {
    check_with(lines, &Options::default())
}

fn kinds(found: &Verification) -> Vec<(Kind, u64)> {
    found.faults.iter().map(|fault| (fault.kind, fault.seq)).collect()
}

fn ten() -> Vec<String> {
    chain("c", 10, None, None)
}

#[test]
fn a_chain_as_it_was_written_is_whole() {
    let found = check(&ten());
    assert!(found.ok, "{found:?}");
    let [summary] = found.chains.as_slice() else { panic!("{found:?}") };
    assert_eq!((summary.lines, summary.first, summary.last, summary.stopped), (10, 1, 10, false));
    assert_eq!(summary.head, head(&ten()[9]).to_string());
    assert!(found.notes[0].contains("open at line 10"), "{:?}", found.notes);
}

#[test]
fn a_line_that_is_missing_is_named() {
    let mut lines = ten();
    lines.remove(4);
    let found = check(&lines);
    assert_eq!(kinds(&found), [(Kind::Missing, 5)]);
    assert_eq!(found.faults[0].message, "line 5 of chain c is missing: after line 4 (f:4) comes line 6");
    lines.drain(4..6);
    let found = check(&lines);
    assert!(found.faults[0].message.starts_with("lines 5 to 7 of chain c are missing"), "{found:?}");
}

#[test]
fn a_line_that_was_changed_is_named() {
    let mut lines = ten();
    lines[4] = lines[4].replace("uid-4", "uid-9");
    let found = check(&lines);
    assert_eq!(kinds(&found), [(Kind::Changed, 5)]);
    assert!(found.faults[0].message.contains("f:5") && found.faults[0].message.contains("was changed"));
}

#[test]
fn a_line_that_was_changed_with_its_hash_does_not_fit_the_next() {
    let mut lines = ten();
    let mut fields: Map<String, Value> = serde_json::from_str(&lines[4]).unwrap();
    fields.insert("uid".into(), "uid-9".into());
    let new = hash(&fields, None);
    fields.insert("hash".into(), new.into());
    lines[4] = Value::from(fields).to_string();
    assert_eq!(kinds(&check(&lines)), [(Kind::Changed, 6)]);
}

#[test]
fn lines_that_changed_places_are_named() {
    let mut lines = ten();
    lines.swap(4, 5);
    assert_eq!(kinds(&check(&lines)), [(Kind::Moved, 5)]);
}

#[test]
fn a_line_that_stands_twice_is_named() {
    let mut lines = ten();
    lines.insert(7, lines[4].clone());
    let found = check(&lines);
    assert_eq!(kinds(&found), [(Kind::Repeated, 5)]);
    assert!(found.faults[0].message.ends_with("f:5 and f:8"), "{found:?}");
}

#[test]
fn an_end_that_was_cut_off_shows_beside_what_was_published() {
    let lines = ten();
    let options = Options { heads: vec![head(&lines[8])], ..Options::default() };
    assert!(check_with(&lines, &options).ok, "lines after the published one are no fault");
    assert!(check_with(&lines[..9], &options).ok);
    let found = check_with(&lines[..7], &options);
    assert_eq!(kinds(&found), [(Kind::Missing, 9)]);
    assert!(found.faults[0].message.contains("lines 8 to 9 of chain c are missing at its end"), "{found:?}");
    let other =
        Options { heads: vec![Head { hash: "0".repeat(64), ..head(&lines[4]) }], ..Options::default() };
    assert_eq!(kinds(&check_with(&lines, &other)), [(Kind::Changed, 5)]);
}

#[test]
fn an_end_that_was_cut_off_shows_by_the_next_chain() {
    let first = chain("a", 5, None, None);
    let second = chain("b", 5, None, Some(&head(&first[3])));
    let all = |first: &[String]| [first, &second].concat();
    let found = check(&all(&first));
    assert!(found.ok && found.notes.len() == 1, "{found:?}");
    assert_eq!(kinds(&check(&all(&first[..2]))), [(Kind::Missing, 4)]);
    let found = check(&second);
    assert!(found.ok && found.notes[0].contains("chain a"), "the oldest lines may be gone: {found:?}");
    let complete = Options { complete: true, ..Options::default() };
    assert_eq!(kinds(&check_with(&second, &complete)), [(Kind::Missing, 4)]);
}

#[test]
fn a_chain_that_is_missing_between_two_is_named() {
    let at = |chain: &[String], seconds: u32| -> Vec<String> {
        let mut previous = String::new();
        let shift = |line: &String| {
            let mut fields: Map<String, Value> = serde_json::from_str(line).unwrap();
            let time: Timestamp = fields["time"].as_str().unwrap().parse().unwrap();
            let time = time + jiff::SignedDuration::from_secs(seconds.into());
            fields.insert("time".into(), time.to_string().into());
            fields.insert("previous".into(), previous.clone().into());
            previous = hash(&fields, None);
            fields.insert("hash".into(), previous.clone().into());
            Value::from(fields).to_string()
        };
        chain.iter().map(shift).collect()
    };
    let a = chain("a", 3, None, None);
    let b = at(&chain("b", 3, None, Some(&head(&a[2]))), 100);
    let c = at(&chain("c", 3, None, Some(&head(&b[2]))), 200);
    assert!(check(&[&a[..], &b, &c].concat()).ok);
    assert_eq!(kinds(&check(&[&a[..], &c].concat())), [(Kind::Missing, 3)]);
    assert_eq!(kinds(&check(&[&a[..], &b[1..], &c].concat())), [(Kind::Missing, 1)]);
}

#[test]
fn chains_of_several_pods_may_be_mixed() {
    let a = chain("a", 6, None, None);
    let b = chain("b", 6, None, Some(&head(&a[2])));
    let mixed: Vec<String> = a.iter().zip(&b).flat_map(|(a, b)| [a.clone(), b.clone()]).collect();
    assert!(check(&mixed).ok, "{:?}", check(&mixed));
}

#[test]
fn a_key_finds_whoever_wrote_the_chain_anew() {
    let key = Key::new(b"a key of the audit log").unwrap();
    let with = Options { keys: vec![key.clone()], ..Options::default() };
    let sealed = chain("c", 5, Some(&key), None);
    assert!(check_with(&sealed, &with).ok);
    assert_eq!(kinds(&check_with(&chain("c", 5, None, None), &with))[0], (Kind::Unsealed, 1));
    let other = Options { keys: vec![Key::new(b"another key, as long").unwrap()], ..Options::default() };
    assert!(!check_with(&sealed, &other).ok);
    let mut read = Lines::default();
    read.add("f", &sealed.join("\n"));
    assert_eq!(verify(&read, &Options::default()).unwrap_err(), "c", "it cannot be checked without the key");
    let mut middle = Lines::default();
    middle.add("f", &sealed[2..].join("\n"));
    assert!(verify(&middle, &Options::default()).is_err());
    assert!(verify(&middle, &with).unwrap().ok);
}

#[test]
fn nothing_is_not_whole() {
    assert_eq!(kinds(&check(&["hello".to_owned()])), [(Kind::Missing, 0)]);
}

#[test]
fn a_line_that_was_torn_is_missing_unless_it_was_written_again() {
    let mut lines = ten();
    let half = lines[4].len() / 2;
    let whole = lines[4].clone();
    lines[4].truncate(half);
    let found = check(&lines);
    assert_eq!(kinds(&found), [(Kind::Missing, 5)]);
    assert!(found.notes[0].starts_with("f:5 "), "{found:?}");
    lines.insert(5, whole);
    assert!(check(&lines).ok);
}

proptest! {
    #[test]
    fn any_line_that_is_taken_out_of_the_middle_is_missed(at in 1_usize..9) {
        let mut lines = ten();
        lines.remove(at);
        prop_assert!(!check(&lines).ok);
    }

    #[test]
    fn any_byte_that_is_changed_is_noticed(at in 0_usize..10, byte in any::<prop::sample::Index>(), to in 32_u8..127) {
        let mut lines = ten();
        let mut bytes = lines[at].clone().into_bytes();
        let byte = byte.index(bytes.len());
        prop_assume!(bytes[byte] != to);
        bytes[byte] = to;
        if let Ok(text) = String::from_utf8(bytes) {
            let same = serde_json::from_str::<Value>(&text).ok() == serde_json::from_str(&lines[at]).ok();
            lines[at] = text;
            // A cut is noticed beside what was published only: the last line may have become none at all.
            let published = Options { heads: vec![head(&ten()[9])], complete: true, ..Options::default() };
            prop_assert_eq!(check_with(&lines, &published).ok, same);
        }
    }

    #[test]
    fn any_two_lines_that_change_places_are_noticed(a in 0_usize..10, b in 0_usize..10) {
        prop_assume!(a != b);
        let mut lines = ten();
        lines.swap(a, b);
        prop_assert!(!check(&lines).ok);
    }

    #[test]
    fn no_input_makes_it_panic(text in "\\PC{0,200}", cut in 0_usize..400) {
        let mut read = Lines::default();
        read.add("f", &text);
        let line = &ten()[3];
        let cut = cut.min(line.len());
        if line.is_char_boundary(cut) {
            read.add("g", &format!("{}{text}", &line[..cut]));
        }
        let _ = verify(&read, &Options::default());
    }
}
