//! Files of YAML or JSON documents, read without trust: bounded in size, depth and what anchors unfold to.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;
use serde_saphyr::Spanned;

/// The largest file that is read.
const MAX_FILE: u64 = 32 << 20;

/// What kustomize reads in a directory.
const KUSTOMIZATIONS: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// One document of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Where it is.
    pub place: Location,
    /// What it says.
    pub value: Value,
}

/// Where a document is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The file as it was named.
    pub file: String,
    /// Which of the file's documents, from 1. Empty ones do not count.
    pub document: usize,
    /// The line where it begins; 0 where that is not known.
    pub line: u64,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, document {}", self.file, self.document)?;
        if self.line > 1 {
            write!(f, " (line {})", self.line)?;
        }
        Ok(())
    }
}

/// All documents of these files, in order. Of a directory the files `*.yaml`, `*.yml` and `*.json` are read, by name,
/// without its subdirectories and its kustomization; `-` is standard input.
///
/// # Errors
///
/// What cannot be read, naming the file and the place in it.
pub fn documents(paths: &[PathBuf]) -> anyhow::Result<Vec<Document>> {
    let mut all = Vec::new();
    for path in paths {
        for file in files(path)? {
            let name = if is_stdin(&file) { "standard input".to_owned() } else { file.display().to_string() };
            all.extend(parse(&read_text(&file)?, &name)?);
        }
    }
    Ok(all)
}

/// What a reader should know about directories that are kustomizations: they say more than the files in them.
pub fn kustomizations(paths: &[PathBuf]) -> Vec<String> {
    let note = |directory: &PathBuf| {
        let found = KUSTOMIZATIONS.iter().map(|name| directory.join(name)).find(|path| path.is_file())?;
        let (found, directory) = (found.display(), directory.display());
        Some(format!(
            "{found} is left out; for what it puts together: kubectl kustomize {directory}, and -f - to read it"
        ))
    };
    paths.iter().filter_map(note).collect()
}

/// The documents in a text. A YAML or JSON list at the top is read as its items.
///
/// # Errors
///
/// Text that is not YAML, naming the place.
pub fn parse(text: &str, file: &str) -> anyhow::Result<Vec<Document>> {
    let options = serde_saphyr::options! {
        with_snippet: false,
        // As kubectl reads it.
        legacy_octal_numbers: true,
        budget: serde_saphyr::budget! {
            max_documents: 10_000,
            max_nodes: 2_000_000,
            max_events: 4_000_000,
        },
    };
    let values: Vec<Spanned<Value>> = serde_saphyr::from_multiple_with_options(text, options)
        .map_err(|error| anyhow!("{file} is not YAML that can be read: {error}"))?;
    let mut documents = Vec::new();
    for (index, spanned) in values.into_iter().enumerate() {
        let place = Location { file: file.to_owned(), document: index + 1, line: spanned.defined.line() };
        match spanned.value {
            Value::Array(items) => {
                documents.extend(items.into_iter().map(|value| Document { place: place.clone(), value }));
            }
            value => documents.push(Document { place, value }),
        }
    }
    Ok(documents)
}

/// The text of a file, or of standard input where it is `-`.
///
/// # Errors
///
/// A file that cannot be read, is too large or is not UTF-8.
pub fn read_text(path: &Path) -> anyhow::Result<String> {
    let reading = || format!("reading {}", path.display());
    let mut bytes = Vec::new();
    let read = if is_stdin(path) {
        io::stdin().lock().take(MAX_FILE + 1).read_to_end(&mut bytes)
    } else {
        File::open(path).with_context(reading)?.take(MAX_FILE + 1).read_to_end(&mut bytes)
    };
    read.with_context(reading)?;
    if bytes.len() as u64 > MAX_FILE {
        bail!(
            "{} is larger than {} MiB; name the files that matter, one by one",
            path.display(),
            MAX_FILE >> 20
        );
    }
    String::from_utf8(bytes).map_err(|error| {
        anyhow!("{} is not text in UTF-8 (at byte {})", path.display(), error.utf8_error().valid_up_to())
    })
}

/// What a document says, as a type. Fields of `spec` that the type does not have are mistakes, as they are for
/// kubectl.
///
/// # Errors
///
/// The field that does not fit, and why.
pub fn typed<T: DeserializeOwned>(document: &Document) -> anyhow::Result<T> {
    let mut unknown = Vec::new();
    let mut track = serde_path_to_error::Track::new();
    let deserializer = serde_path_to_error::Deserializer::new(&document.value, &mut track);
    let read: Result<T, _> = serde_ignored::deserialize(deserializer, |path| {
        // Between a field and an optional value serde_ignored puts a question mark.
        unknown.push(path.to_string().replace(".?", ""));
    });
    match read {
        Ok(value) => {
            unknown.retain(|path| path == "spec" || path.starts_with("spec."));
            match unknown.first() {
                None => Ok(value),
                Some(path) => bail!("{}: there is no field {path}", document.place),
            }
        }
        Err(error) => {
            let at = track.path();
            let path = at.to_string();
            // The document itself is called a dot.
            let field = if path == "." { String::new() } else { format!("{path}: ") };
            let hint = if fits_as_text::<T>(&document.value, &at) {
                " (YAML reads unquoted on, off, yes, no and numbers as such: quote it)"
            } else {
                ""
            };
            bail!("{}: {field}{error}{hint}", document.place)
        }
    }
}

/// Would the word or number that does not fit, at this path, do as a text?
fn fits_as_text<T: DeserializeOwned>(value: &Value, path: &serde_path_to_error::Path) -> bool {
    let mut value = value.clone();
    let mut at = Some(&mut value);
    for segment in path {
        at = at.and_then(|value| match segment {
            Segment::Seq { index } => value.get_mut(index),
            Segment::Map { key } | Segment::Enum { variant: key } => value.get_mut(key),
            Segment::Unknown => None,
        });
    }
    let Some(found @ (Value::Bool(_) | Value::Number(_))) = at else { return false };
    *found = Value::String(found.to_string());
    let mut track = serde_path_to_error::Track::new();
    let read = T::deserialize(serde_path_to_error::Deserializer::new(&value, &mut track));
    // What does not fit elsewhere is another error.
    read.is_ok() || track.path().to_string() != path.to_string()
}

fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

fn files(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if is_stdin(path) || !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let reading = || format!("reading the directory {}", path.display());
    let mut files = Vec::new();
    for entry in path.read_dir().with_context(reading)? {
        let file = entry.with_context(reading)?.path();
        let extension = file.extension().and_then(|extension| extension.to_str());
        let kustomizes = KUSTOMIZATIONS.iter().any(|name| file.file_name() == Some(name.as_ref()));
        if matches!(extension, Some("yaml" | "yml" | "json")) && !kustomizes && file.is_file() {
            files.push(file);
        }
    }
    if files.is_empty() {
        let note = kustomizations(&[path.to_owned()]).pop().map(|note| format!(" ({note})"));
        bail!("there is no *.yaml, *.yml or *.json in {}{}", path.display(), note.unwrap_or_default());
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        parse(text, "f.yaml").expect_err("cannot be read").to_string()
    }

    #[test]
    fn documents_know_where_they_stand() {
        let read = parse("---\n# nothing\n---\na: 1\n---\n- b: 2\n- b: 3\n", "f.yaml").expect("reads");
        let places: Vec<_> = read.iter().map(|document| document.place.to_string()).collect();
        assert_eq!(
            places,
            ["f.yaml, document 1 (line 4)", "f.yaml, document 2 (line 6)", "f.yaml, document 2 (line 6)"]
        );
    }

    #[test]
    fn invalid_yaml_is_reported_with_its_place() {
        assert!(
            error("a: [1, 2\nb: }").starts_with("f.yaml is not YAML that can be read: "),
            "{}",
            error("a: [1")
        );
        assert!(error("a: 1\na: 2\n").contains("line 2"), "{}", error("a: 1\na: 2\n"));
    }

    #[test]
    fn anchors_cannot_hurt() {
        assert!(!error("&a [*a]").is_empty());
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let previous = format!("*a{}, ", level - 1).repeat(10);
            bomb.push_str(&format!("a{level}: &a{level} [{previous}]\n"));
        }
        assert!(!error(&bomb).is_empty());
        assert!(!error(&"[".repeat(100_000)).is_empty());
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "[-a-c:{}\\[\\]&* \n'\"|>!#?,]{0,60}") {
            let _ = parse(&text, "f.yaml");
        }
    }
}
