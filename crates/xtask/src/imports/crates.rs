//! One package: its library and its binaries, and which file uses which.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cargo_metadata::{Package, TargetKind};

use super::modules::{Id, Meaning, Module, Modules};

/// The library and the binaries of a package.
pub(super) struct Crate {
    /// The name by which the binaries know the library.
    library_name: String,
    /// The library first, where there is one.
    targets: Vec<Modules>,
    has_library: bool,
}

/// A file: a target and the outermost module of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct FileId {
    target: usize,
    module: Id,
}

/// A use of one file by another, with the first place that shows it.
pub(super) struct Use {
    /// The path as it is written.
    pub(super) path: String,
    /// The line.
    pub(super) line: usize,
}

impl Crate {
    /// Reads a package of the workspace.
    ///
    /// # Errors
    /// When a file is missing or cannot be parsed.
    pub(super) fn of_package(
        package: &Package,
        read: &dyn Fn(&Path) -> Option<String>,
    ) -> anyhow::Result<Self> {
        let root_of = |kind: &TargetKind| {
            let targets = package.targets.iter().filter(|target| target.kind.contains(kind));
            targets.map(|target| target.src_path.clone().into_std_path_buf()).collect::<Vec<_>>()
        };
        let library = root_of(&TargetKind::Lib).into_iter().next();
        let name = package.name.replace('-', "_");
        Self::load(&name, library.as_deref(), &root_of(&TargetKind::Bin), read)
    }

    /// Reads a package from the roots of its library and its binaries.
    ///
    /// # Errors
    /// As [`Self::of_package`].
    pub(super) fn load(
        name: &str,
        library: Option<&Path>,
        binaries: &[PathBuf],
        read: &dyn Fn(&Path) -> Option<String>,
    ) -> anyhow::Result<Self> {
        let roots = library.into_iter().chain(binaries.iter().map(PathBuf::as_path));
        let targets = roots.map(|root| Modules::load(root, read)).collect::<anyhow::Result<_>>()?;
        Ok(Self { library_name: name.to_owned(), targets, has_library: library.is_some() })
    }

    /// Every file.
    pub(super) fn files(&self) -> Vec<FileId> {
        let all = self.targets.iter().enumerate().flat_map(|(target, modules)| {
            let of_files = modules.iter().filter(|(id, module)| module.of_file == *id);
            of_files.map(move |(module, _)| FileId { target, module })
        });
        all.collect()
    }

    /// Where a file lies.
    pub(super) fn path(&self, file: FileId) -> &Path {
        &self.module(file).file
    }

    /// The names of a file's module, from the root.
    pub(super) fn names(&self, file: FileId) -> &[String] {
        &self.module(file).path
    }

    /// Whether the module of one file lies inside that of another.
    pub(super) fn is_inside(&self, inner: FileId, outer: FileId) -> bool {
        inner != outer && inner.target == outer.target && self.names(inner).starts_with(self.names(outer))
    }

    /// Which file uses which.
    pub(super) fn uses(&self) -> BTreeMap<(FileId, FileId), Use> {
        let mut uses = BTreeMap::new();
        for (target, modules) in self.targets.iter().enumerate() {
            for (id, module) in modules.iter() {
                let from = FileId { target, module: module.of_file };
                for mention in &module.mentions {
                    let Some(to) = self.definition((target, id), &mention.path) else {
                        continue;
                    };
                    let to = FileId { target: to.0, module: self.targets[to.0].get(to.1).of_file };
                    if from != to {
                        let use_ = || Use { path: mention.path.join("::"), line: mention.line };
                        uses.entry((from, to)).or_insert_with(use_);
                    }
                }
            }
        }
        uses
    }

    fn module(&self, file: FileId) -> &Module {
        self.targets[file.target].get(file.module)
    }

    /// The module in which that is defined to which a path leads. None for what is of another crate, and for a module
    /// itself: naming it is no use of what it defines.
    fn definition(&self, from: ModuleId, path: &[String]) -> Option<ModuleId> {
        match self.lookup(from, path, &mut Vec::new())? {
            Target::Item(place) => Some(place),
            Target::Module => None,
        }
    }

    /// What a path leads to that is written in a module. `following`: the imports that are being followed, by their
    /// module; one may lead to itself, as `use tracing;` does.
    fn lookup<'a>(
        &'a self,
        from: ModuleId,
        path: &[String],
        following: &mut Following<'a>,
    ) -> Option<Target> {
        let (first, rest) = path.split_first()?;
        let start = match first.as_str() {
            "crate" => (from.0, 0),
            "self" => from,
            "super" => self.around(from)?,
            name if self.has_library && from.0 != 0 && name == self.library_name => (0, 0),
            name => return self.named(from, name, rest, following),
        };
        self.walk(start, rest, following)
    }

    /// Follows names from a module on.
    fn walk<'a>(&'a self, at: ModuleId, path: &[String], following: &mut Following<'a>) -> Option<Target> {
        match path.split_first() {
            None => Some(Target::Module),
            Some((name, rest)) if name == "super" => self.walk(self.around(at)?, rest, following),
            Some((name, rest)) => self.named(at, name, rest, following),
        }
    }

    /// What a name refers to in a module, followed by more names.
    fn named<'a>(
        &'a self,
        at: ModuleId,
        name: &str,
        rest: &[String],
        following: &mut Following<'a>,
    ) -> Option<Target> {
        let module = self.targets[at.0].get(at.1);
        let meanings = module.names.get(name).map(Vec::as_slice).unwrap_or_default();
        let found = meanings.iter().find_map(|meaning| match meaning {
            Meaning::Module(below) => self.walk((at.0, *below), rest, following),
            Meaning::Item => Some(Target::Item(at)),
            Meaning::Import(path) => self.follow(at, path, rest, following),
        });
        found.or_else(|| {
            let name = [&[name.to_owned()], rest].concat();
            module.globs.iter().find_map(|glob| self.follow(at, glob, &name, following))
        })
    }

    /// What an import leads to, followed by more names.
    fn follow<'a>(
        &'a self,
        at: ModuleId,
        import: &'a [String],
        rest: &[String],
        following: &mut Following<'a>,
    ) -> Option<Target> {
        if following.contains(&(at, import)) {
            return None;
        }
        following.push((at, import));
        let found = self.lookup(at, &[import, rest].concat(), following);
        following.pop();
        found
    }

    /// The module around another one.
    fn around(&self, (target, module): ModuleId) -> Option<ModuleId> {
        Some((target, self.targets[target].get(module).parent?))
    }
}

/// A module of a target.
type ModuleId = (usize, Id);

type Following<'a> = Vec<(ModuleId, &'a [String])>;

/// What a path leads to.
enum Target {
    /// A module itself.
    Module,
    /// Something that this module defines.
    Item(ModuleId),
}
