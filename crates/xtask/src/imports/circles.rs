//! Circles of files that use each other.
//!
//! A module and what lies inside it may use each other. So a circle is none where one of its files is the module around
//! all others.

use std::collections::btree_map::{BTreeMap, Entry};
use std::collections::{BTreeSet, VecDeque};
use std::fmt;

use petgraph::algo::tarjan_scc;
use petgraph::graphmap::DiGraphMap;

use super::crates::{Crate, FileId, Use};

/// Files that use each other in a circle.
pub(super) struct Circle {
    /// One circle, link by link.
    links: Vec<Link>,
    /// The files that hang together, as modules; those of the circle among them.
    modules: Vec<Vec<String>>,
}

/// One file uses another.
struct Link {
    from: String,
    line: usize,
    to: String,
    path: String,
}

impl fmt::Display for Circle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} files use each other in a circle, for example", self.modules.len())?;
        for Link { from, line, to, path } in &self.links {
            write!(f, "\n    {from}:{line} uses {to} ({path})")?;
        }
        if self.modules.len() > self.links.len() {
            let modules: Vec<String> = self.modules.iter().map(|path| path.join("::")).collect();
            write!(f, "\n    all of them: {}", modules.join(", "))?;
        }
        Ok(())
    }
}

type Graph = DiGraphMap<FileId, ()>;

/// The circles of a package; each file is in one of them at most.
pub(super) fn find(parsed: &Crate) -> Vec<Circle> {
    let uses = parsed.uses();
    let graph = Graph::from_edges(uses.keys().copied());
    let mut circles = Vec::new();
    for files in knots(parsed, &graph) {
        circles.push(circle(parsed, &uses, &files));
    }
    circles
}

/// Sets of files in which each reaches each, without the modules around all others of a set.
fn knots(parsed: &Crate, graph: &Graph) -> Vec<BTreeSet<FileId>> {
    let mut found = Vec::new();
    for component in tarjan_scc(graph) {
        if component.len() < 2 {
            continue;
        }
        let around =
            |file: &FileId| component.iter().all(|other| other == file || parsed.is_inside(*other, *file));
        match component.iter().copied().find(|file| around(file)) {
            // Every circle through it is of a module and what lies inside it. Others may be left without it.
            Some(outer) => {
                let rest: BTreeSet<FileId> =
                    component.iter().copied().filter(|file| *file != outer).collect();
                found.extend(knots(parsed, &within(graph, &rest)));
            }
            None => found.push(component.into_iter().collect()),
        }
    }
    found
}

/// The part of a graph between some files.
fn within(graph: &Graph, files: &BTreeSet<FileId>) -> Graph {
    let inside = |(from, to, _): &(FileId, FileId, &())| files.contains(from) && files.contains(to);
    Graph::from_edges(graph.all_edges().filter(inside).map(|(from, to, ())| (from, to)))
}

fn circle(parsed: &Crate, uses: &BTreeMap<(FileId, FileId), Use>, files: &BTreeSet<FileId>) -> Circle {
    let graph = Graph::from_edges(uses.keys().copied());
    let graph = within(&graph, files);
    let rounds = files.iter().filter_map(|file| shortest(&graph, *file));
    // The shortest that is not one of a module and what lies inside it.
    let is_one = |round: &Vec<FileId>| {
        !round.iter().any(|outer| round.iter().all(|file| file == outer || parsed.is_inside(*file, *outer)))
    };
    let round = rounds.filter(is_one).min_by_key(Vec::len).unwrap_or_default();
    let shown = |file: FileId| {
        let path = parsed.path(file);
        path.strip_prefix(crate::root()).unwrap_or(path).display().to_string()
    };
    let links = (0..round.len()).filter_map(|index| {
        let (from, to) = (round[index], round[(index + 1) % round.len()]);
        let Use { path, line } = uses.get(&(from, to))?;
        Some(Link { from: shown(from), line: *line, to: shown(to), path: path.clone() })
    });
    Circle {
        links: links.collect(),
        modules: files.iter().map(|file| parsed.names(*file).to_vec()).collect(),
    }
}

/// The shortest way from a file back to itself.
fn shortest(graph: &Graph, start: FileId) -> Option<Vec<FileId>> {
    let mut before: BTreeMap<FileId, FileId> = BTreeMap::new();
    let mut waiting = VecDeque::from([start]);
    while let Some(at) = waiting.pop_front() {
        for next in graph.neighbors(at) {
            if next == start {
                let mut round = vec![at];
                while let Some(previous) = before.get(&round[round.len() - 1]) {
                    round.push(*previous);
                }
                round.reverse();
                return Some(round);
            }
            if let Entry::Vacant(unseen) = before.entry(next) {
                unseen.insert(at);
                waiting.push_back(next);
            }
        }
    }
    None
}
