//! The book: its links lead somewhere, and its table of contents names pages that there are.

#![allow(clippy::expect_used, clippy::panic, reason = "a test says what went wrong")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rolecall_testbed::components::charts;
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

/// The blocks of commands of a page.
fn commands(page: &str) -> Vec<String> {
    let blocks = page.split("```sh\n").skip(1);
    blocks.filter_map(|rest| Some(rest.split_once("```")?.0.replace("\\\n", " "))).collect()
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
fn every_file_that_is_named_exists() {
    let mut wrong = Vec::new();
    for (path, page) in &pages() {
        let words = page.split(|c: char| c.is_whitespace() || "`\"'()[],;".contains(c));
        for word in words.map(|word| word.trim_end_matches(['.', ':'])) {
            let ours =
                ["charts/", "deploy/", "kustomize/", "docs/"].iter().any(|start| word.starts_with(start));
            let file = word.split('#').next().unwrap_or(word);
            if ours && !root().join(file).exists() {
                wrong.push(format!("{}: {word}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_block_of_commands_can_be_read_by_a_shell() {
    for (path, page) in pages() {
        for block in commands(&page) {
            let output = Command::new("sh").args(["-n", "-c", &block]).output().expect("a shell");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{}: {said}\n{block}", path.display());
        }
    }
}

#[test]
fn every_installation_by_helm_is_one_that_the_chart_takes() {
    let mut seen = 0;
    for (path, page) in pages() {
        let lines: Vec<String> =
            commands(&page).iter().flat_map(|block| block.lines()).map(str::to_owned).collect();
        for line in
            lines.iter().filter(|line| line.starts_with("helm install") || line.starts_with("helm upgrade"))
        {
            let words: Vec<&str> = line.split_whitespace().collect();
            let set =
                words.windows(2).filter(|pair| pair[0] == "--set").map(|pair| pair[1].trim_matches('\''));
            let output = Command::new(charts::helm_4().expect("helm"))
                .args(["template", "rolecall", "charts/rolecall"])
                .args(set.flat_map(|value| ["--set", value]))
                .current_dir(root())
                .output()
                .expect("helm runs");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{}: {line}\n{said}", path.display());
            seen += 1;
        }
    }
    assert!(seen > 4, "{seen}");
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
