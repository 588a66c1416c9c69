//! The modules of one target, as `mod` declares them, and what each file mentions.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use syn::{Attribute, Item, ItemUse, UseTree, Visibility};

use super::mentions::{self, Mention};

/// A module, by its place in [`Modules`].
pub(super) type Id = usize;

/// The modules of one target; the first is the root.
pub(super) struct Modules {
    all: Vec<Module>,
}

/// One module.
pub(super) struct Module {
    /// The names that lead to it from the root.
    pub(super) path: Vec<String>,
    /// The module around it.
    pub(super) parent: Option<Id>,
    /// The outermost module of the same file: itself, unless it is written inside another one.
    pub(super) of_file: Id,
    /// The file.
    pub(super) file: PathBuf,
    /// What a name refers to here; a name may refer to several things, for example a type and a function.
    pub(super) names: HashMap<String, Vec<Meaning>>,
    /// The paths before `::*` in imports.
    pub(super) globs: Vec<Vec<String>>,
    /// Every path that is written here, but those that are only passed on (`pub use`).
    pub(super) mentions: Vec<Mention>,
}

/// What a name refers to in a module.
pub(super) enum Meaning {
    /// A module below.
    Module(Id),
    /// Something that is defined here.
    Item,
    /// What this path leads to.
    Import(Vec<String>),
}

impl Modules {
    /// Reads a target from its root file. `read` gives a file's text, or nothing where there is no such file.
    ///
    /// # Errors
    /// When a module has no file, or a file is no Rust.
    pub(super) fn load(root: &Path, read: &dyn Fn(&Path) -> Option<String>) -> anyhow::Result<Self> {
        let mut modules = Self { all: Vec::new() };
        let dir = root.parent().unwrap_or(Path::new("")).to_owned();
        modules.add_file(root, &dir, Vec::new(), None, read)?;
        Ok(modules)
    }

    pub(super) fn get(&self, id: Id) -> &Module {
        &self.all[id]
    }

    /// All modules with their places.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Id, &Module)> {
        self.all.iter().enumerate()
    }

    /// Adds the module of a file; its own modules lie in `dir`.
    fn add_file(
        &mut self,
        file: &Path,
        dir: &Path,
        path: Vec<String>,
        parent: Option<Id>,
        read: &dyn Fn(&Path) -> Option<String>,
    ) -> anyhow::Result<Id> {
        let text = read(file)
            .with_context(|| format!("module {}: there is no file {}", path.join("::"), file.display()))?;
        let parsed = syn::parse_file(&text).with_context(|| format!("parsing {}", file.display()))?;
        let id = self.all.len();
        self.push(file, path, parent, id);
        self.add_items(id, &parsed.items, dir, read)?;
        Ok(id)
    }

    fn push(&mut self, file: &Path, path: Vec<String>, parent: Option<Id>, of_file: Id) {
        self.all.push(Module {
            path,
            parent,
            of_file,
            file: file.to_owned(),
            names: HashMap::new(),
            globs: Vec::new(),
            mentions: Vec::new(),
        });
    }

    fn add_items(
        &mut self,
        id: Id,
        items: &[Item],
        dir: &Path,
        read: &dyn Fn(&Path) -> Option<String>,
    ) -> anyhow::Result<()> {
        for item in items {
            if mentions::is_for_tests(mentions::attributes(item)) {
                continue;
            }
            match item {
                Item::Mod(module) => {
                    let name = module.ident.to_string();
                    let mut path = self.all[id].path.clone();
                    path.push(name.clone());
                    let below = match &module.content {
                        Some((_, items)) => {
                            let below = self.all.len();
                            let (file, of_file) = (self.all[id].file.clone(), self.all[id].of_file);
                            self.push(&file, path, Some(id), of_file);
                            self.add_items(below, items, &dir.join(&name), read)?;
                            below
                        }
                        None => {
                            let (file, dir) = file_of(&module.attrs, &name, dir, &self.all[id].file, read);
                            self.add_file(&file, &dir, path, Some(id), read)?
                        }
                    };
                    self.mean(id, &name, Meaning::Module(below));
                }
                Item::Use(import) => self.add_use(id, import),
                other => {
                    if let Some(name) = defined(other) {
                        self.mean(id, &name, Meaning::Item);
                    }
                    let found = mentions::in_item(other);
                    for import in &found.imports {
                        self.add_use(id, import);
                    }
                    self.all[id].mentions.extend(found.paths);
                }
            }
        }
        Ok(())
    }

    fn mean(&mut self, id: Id, name: &str, meaning: Meaning) {
        self.all[id].names.entry(name.to_owned()).or_default().push(meaning);
    }

    fn add_use(&mut self, id: Id, import: &ItemUse) {
        if import.leading_colon.is_some() {
            return;
        }
        // Passing a name on is no use of it: who takes it from here uses the place where it is defined.
        let passed_on = !matches!(import.vis, Visibility::Inherited);
        let mut leaves = Vec::new();
        flatten(&import.tree, &mut Vec::new(), &mut leaves);
        for Leaf { path, name, line } in leaves {
            match name {
                Some(name) => self.mean(id, &name, Meaning::Import(path.clone())),
                None => self.all[id].globs.push(path.clone()),
            }
            if !passed_on {
                self.all[id].mentions.push(Mention { path, line });
            }
        }
    }
}

/// One name that a `use` brings in; none for `*`.
struct Leaf {
    path: Vec<String>,
    name: Option<String>,
    line: usize,
}

fn flatten(tree: &UseTree, before: &mut Vec<String>, leaves: &mut Vec<Leaf>) {
    let mut leaf =
        |path: Vec<String>, name: Option<String>, line: usize| leaves.push(Leaf { path, name, line });
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            flatten(&path.tree, before, leaves);
            before.pop();
        }
        UseTree::Group(group) => {
            for tree in &group.items {
                flatten(tree, before, leaves);
            }
        }
        UseTree::Name(name) => {
            let line = name.ident.span().start().line;
            let ident = name.ident.to_string();
            if ident == "self" {
                leaf(before.clone(), before.last().cloned(), line);
            } else {
                leaf([before.as_slice(), std::slice::from_ref(&ident)].concat(), Some(ident), line);
            }
        }
        UseTree::Rename(rename) => {
            let mut path = before.clone();
            if rename.ident != "self" {
                path.push(rename.ident.to_string());
            }
            leaf(path, Some(rename.rename.to_string()), rename.ident.span().start().line);
        }
        UseTree::Glob(glob) => leaf(before.clone(), None, glob.star_token.span.start().line),
    }
}

/// The file of `mod name;`, and where the modules below it lie.
fn file_of(
    attributes: &[Attribute],
    name: &str,
    dir: &Path,
    declared_in: &Path,
    read: &dyn Fn(&Path) -> Option<String>,
) -> (PathBuf, PathBuf) {
    if let Some(given) = mentions::path_attribute(attributes) {
        let file = declared_in.parent().unwrap_or(Path::new("")).join(given);
        let below = file.parent().unwrap_or(Path::new("")).to_owned();
        return (file, below);
    }
    let below = dir.join(name);
    let flat = dir.join(format!("{name}.rs"));
    let file = if read(&flat).is_some() { flat } else { below.join("mod.rs") };
    (file, below)
}

/// The name that an item defines in its module.
fn defined(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::TraitAlias(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(ident.to_string())
}
