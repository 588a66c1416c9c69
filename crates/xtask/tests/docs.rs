//! The book: its links lead somewhere, and its table of contents names pages that there are.

#![allow(clippy::expect_used, clippy::panic, reason = "a test says what went wrong")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use rolecall_xtask::root;

/// The pages, by their paths from the root of the repository.
fn pages() -> BTreeMap<PathBuf, String> {
    let mut pages = BTreeMap::new();
    for entry in fs::read_dir(root().join("docs")).expect("the book").flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "md") {
            let path = Path::new("docs").join(entry.file_name());
            pages.insert(path, fs::read_to_string(entry.path()).expect("a page"));
        }
    }
    for path in ["charts/rolecall/README.md", "README.md"] {
        pages.insert(path.into(), fs::read_to_string(root().join(path)).expect("a page"));
    }
    pages
}

/// Text outside of code, where brackets are links.
fn prose(page: &str) -> String {
    let mut code = false;
    let mut kept = String::new();
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            code = !code;
        } else if !code {
            kept.extend(line.split('`').step_by(2).chain(["\n"]));
        }
    }
    kept
}

/// The anchors that a page offers: one for each heading.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut code = false;
    let headings = page.lines().filter(|line| {
        code ^= line.starts_with("```");
        !code && line.starts_with('#')
    });
    headings
        .map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

/// `a/../b` is `b`.
fn normal(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut path, part| {
        match part {
            std::path::Component::ParentDir => drop(path.pop()),
            part => path.push(part),
        }
        path
    })
}

#[test]
fn every_link_leads_to_a_file_or_a_heading() {
    let pages = pages();
    let mut wrong = Vec::new();
    for (path, page) in &pages {
        for target in prose(page)
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split_once(')').map(|link| link.0.to_owned()))
        {
            if target.contains("://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let file = match file {
                "" => path.clone(),
                file => normal(&path.parent().unwrap_or(Path::new("")).join(file)),
            };
            let there = root().join(&file).exists();
            let headed =
                anchor.is_empty() || pages.get(&file).is_some_and(|page| anchors(page).contains(anchor));
            if !there || !headed {
                wrong.push(format!("{}: {target}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_table_of_contents_names_no_page_twice() {
    let summary = fs::read_to_string(root().join("docs/SUMMARY.md")).expect("a table of contents");
    let listed = summary.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0));
    let mut seen = BTreeSet::new();
    for page in listed {
        assert!(root().join("docs").join(page).exists(), "{page} does not exist");
        assert!(seen.insert(page), "{page} is there twice");
    }
    assert!(seen.len() > 10, "{seen:?}");
}

#[test]
fn anchors_are_made_as_readers_expect() {
    let found = anchors("# A `b` c, d!\ntext\n```sh\n# no heading\n```\n### RolecallNoLeader\n");
    assert_eq!(found, ["a-b-c-d".to_owned(), "rolecallnoleader".to_owned()].into());
    assert_eq!(prose("a [b](c) `[d](e)`\n```\n[f](g)\n```\n"), "a [b](c) \n");
}
