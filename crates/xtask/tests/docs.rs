//! The book: its links lead somewhere, and its table of contents names pages that there are.

#![allow(clippy::expect_used, clippy::panic, reason = "a test says what went wrong")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use regex::Regex;
use rolecall_testbed::components::{charts, mdbook};
use rolecall_xtask::root;

/// The pages, by their paths from the root of the repository.
fn pages() -> BTreeMap<PathBuf, String> {
    let mut paths = vec![PathBuf::from("charts/rolecall/README.md"), PathBuf::from("README.md")];
    for folder in ["docs", "docs/kinds"] {
        let entries = fs::read_dir(root().join(folder)).expect("the book").flatten();
        let files = entries.map(|entry| Path::new(folder).join(entry.file_name()));
        paths.extend(files.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    }
    paths
        .into_iter()
        .map(|path| (path.clone(), fs::read_to_string(root().join(path)).expect("a page")))
        .collect()
}

/// A page as mdBook and GitHub read it: with tables.
fn parsed(page: &str) -> Parser<'_> {
    Parser::new_ext(page, Options::ENABLE_TABLES)
}

/// Where the links of a page lead.
fn links(page: &str) -> Vec<String> {
    let target = |event| match event {
        Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => Some(dest_url.to_string()),
        _ => None,
    };
    parsed(page).filter_map(target).collect()
}

/// The blocks of commands of a page.
fn commands(page: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut open: Option<String> = None;
    for event in parsed(page) {
        match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language))) if &*language == "sh" => {
                open = Some(String::new());
            }
            Event::Text(text) => {
                if let Some(block) = &mut open {
                    block.push_str(&text);
                }
            }
            Event::End(TagEnd::CodeBlock) => blocks.extend(open.take()),
            _ => {}
        }
    }
    blocks.into_iter().map(|block| block.replace("\\\n", " ")).collect()
}

/// The anchors that a page offers: one for each heading.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    let mut title: Option<String> = None;
    for event in parsed(page) {
        match event {
            Event::Start(Tag::Heading { .. }) => title = Some(String::new()),
            Event::Text(text) | Event::Code(text) => {
                if let Some(title) = &mut title {
                    title.push_str(&text);
                }
            }
            Event::End(TagEnd::Heading(_)) => {
                let title = title.take().unwrap_or_default().to_lowercase();
                let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
                anchors.insert(kept.map(|c| if c == ' ' { '-' } else { c }).collect());
            }
            _ => {}
        }
    }
    anchors
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
        for target in links(page) {
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
fn mdbook_builds_every_page_without_a_warning_and_no_link_within_the_book_is_dead() {
    let dir = tempfile::tempdir().expect("a directory");
    let output = Command::new(mdbook().expect("mdBook"))
        .args(["build", "--dest-dir"])
        .arg(dir.path())
        .arg(root().join("docs"))
        .output()
        .expect("mdBook runs");
    let said =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    let warned = ["WARN", "ERROR"].iter().any(|level| said.contains(level));
    assert!(output.status.success() && !warned, "{said}");

    let html: BTreeMap<PathBuf, String> = pages()
        .keys()
        .filter_map(|path| path.strip_prefix("docs").ok())
        .filter(|path| *path != Path::new("SUMMARY.md"))
        .map(|path| path.with_extension("html"))
        .map(|path| (path.clone(), fs::read_to_string(dir.path().join(&path)).expect("a page of its own")))
        .collect();
    let content = Regex::new("(?s)<main>(.*)</main>").expect("an expression");
    let link = Regex::new("<a [^>]*href=\"([^\"]*)\"").expect("an expression");
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for (path, page) in &html {
        let content = content.captures(page).and_then(|found| found.get(1)).expect("a text").as_str();
        for target in link.captures_iter(content).filter_map(|found| Some(found.get(1)?.as_str())) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file =
                if file.is_empty() { path.clone() } else { normal(&path.with_file_name("").join(file)) };
            // What leaves the book is read in the repository.
            if target.contains("://") || target.starts_with("../") && !html.contains_key(&file) {
                continue;
            }
            seen += 1;
            let page = html.get(&file);
            let there =
                page.is_some_and(|page| anchor.is_empty() || page.contains(&format!("id=\"{anchor}\"")));
            if !there {
                wrong.push(format!("{}: {target}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(seen > 100, "{seen}");
}

#[test]
fn the_runbook_has_a_section_for_all_that_goes_wrong_at_night() {
    let runbook = &pages()[Path::new("docs/runbook.md")];
    let sections = anchors(runbook);
    for section in [
        "a-session-stays-ending-or-a-namespace-terminating",
        "a-failover-of-the-database",
        "the-credentials-of-the-admin-user-are-lost",
        "rotated-authorities",
        "etcd-is-restored-from-a-backup",
        "an-upgrade-goes-wrong",
        "too-small-for-its-work",
    ] {
        assert!(sections.contains(section), "{section}: {sections:#?}");
    }
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
fn the_table_of_contents_names_every_page_once() {
    let summary = fs::read_to_string(root().join("docs/SUMMARY.md")).expect("a table of contents");
    let listed = summary.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0));
    let mut seen = BTreeSet::new();
    for page in listed {
        assert!(root().join("docs").join(page).exists(), "{page} does not exist");
        assert!(seen.insert(page), "{page} is there twice");
    }
    let files = pages();
    let files: BTreeSet<&str> =
        files.keys().filter_map(|path| path.to_str()?.strip_prefix("docs/")).collect();
    let unlisted: Vec<_> = files.difference(&seen).filter(|page| **page != "SUMMARY.md").collect();
    assert!(unlisted.is_empty(), "the table of contents does not name {unlisted:?}");
}

#[test]
fn anchors_are_made_as_readers_expect() {
    let found = anchors("# A `b` c, d!\ntext\n```sh\n# no heading\n```\n### RolecallNoLeader\n");
    assert_eq!(found, ["a-b-c-d".to_owned(), "rolecallnoleader".to_owned()].into());
    assert_eq!(links("a [b](c) `[d](e)`\n```\n[f](g)\n```\n| a |\n|---|\n| [h](i) |\n"), ["c", "i"]);
}
