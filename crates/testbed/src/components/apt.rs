//! Packages of Debian and Ubuntu, downloaded and unpacked without installing anything and without a right of root.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::error::{Error, Result};

/// apt, with options that make it work without rights.
pub(super) struct Apt {
    component: &'static str,
    options: Vec<String>,
    dir: PathBuf,
}

impl Apt {
    /// With the package lists of the machine. `component` is what errors are about, `dir` an empty directory to work
    /// in.
    pub(super) fn of_machine(component: &'static str, dir: &Path) -> Self {
        let mut apt = Self { component, options: Vec::new(), dir: dir.to_owned() };
        // As root it would otherwise download as a user who may not write here.
        apt.set("APT::Sandbox::User", "root");
        apt
    }

    /// With its own lists, which are downloaded now.
    ///
    /// # Errors
    /// When the package archive cannot be reached.
    pub(super) fn with_own_lists(component: &'static str, dir: &Path) -> Result<Self> {
        let mut apt = Self::of_machine(component, dir);
        apt.read_own_lists()?;
        Ok(apt)
    }

    /// With these sources in place of the machine's, as if nothing were installed.
    ///
    /// # Errors
    /// When the package archive cannot be reached.
    pub(super) fn with_sources(component: &'static str, dir: &Path, sources: &str) -> Result<Self> {
        let mut apt = Self::of_machine(component, dir);
        let list = dir.join("sources.list");
        fs::write(&list, sources).map_err(Error::io("writing", &list))?;
        apt.set("Dir::Etc::sourcelist", &list.display().to_string());
        for other in ["Etc::sourceparts", "Etc::preferences", "Etc::preferencesparts", "State::status"] {
            apt.set(&format!("Dir::{other}"), "/dev/null");
        }
        apt.read_own_lists()?;
        Ok(apt)
    }

    fn read_own_lists(&mut self) -> Result<()> {
        for (key, path) in [("State", "lists/partial"), ("Cache", "archives/partial")] {
            let home = self.dir.join(key);
            fs::create_dir_all(home.join(path)).map_err(Error::io("creating", &home))?;
            self.set(&format!("Dir::{key}"), &home.display().to_string());
        }
        self.set("Acquire::Languages", "none");
        self.run("apt-get", &["update"]).map(drop)
    }

    fn set(&mut self, key: &str, value: &str) {
        self.options.extend(["-o".to_owned(), format!("{key}={value}")]);
    }

    /// The libraries that `package` depends on, directly or not, but those whose name begins like one of `left_out`.
    ///
    /// # Errors
    /// When apt fails.
    pub(super) fn libraries(&self, package: &str, left_out: &[&str]) -> Result<Vec<String>> {
        let mut arguments = vec!["depends", "--recurse"];
        arguments.extend(["--no-recommends", "--no-suggests", "--no-conflicts", "--no-breaks"]);
        arguments.extend(["--no-replaces", "--no-enhances", package]);
        let listed = self.run("apt-cache", &arguments)?;
        let wanted = |line: &&str| {
            (line.starts_with("lib") || line.starts_with("zlib"))
                && !left_out.iter().any(|prefix| line.starts_with(prefix))
                // The other architectures of a multi-architecture machine.
                && !line.contains(':')
        };
        Ok(listed.lines().filter(wanted).map(str::to_owned).collect())
    }

    /// Downloads packages and unpacks them below `root`.
    ///
    /// # Errors
    /// When one is not available.
    pub(super) fn unpack<S: AsRef<str>>(&self, packages: &[S], root: &Path) -> Result<()> {
        let packages = packages.iter().map(AsRef::as_ref);
        self.run("apt-get", &["download"].into_iter().chain(packages).collect::<Vec<_>>())?;
        for entry in fs::read_dir(&self.dir).map_err(Error::io("reading", &self.dir))?.flatten() {
            let path = entry.path();
            if path.extension() == Some(OsStr::new("deb")) {
                output(self.component, Command::new("dpkg-deb").arg("-x").arg(&path).arg(root))?;
                fs::remove_file(&path).map_err(Error::io("removing", &path))?;
            }
        }
        Ok(())
    }

    /// Runs one of apt's programs and returns what it says.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub(super) fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(program);
        command.args(&self.options).args(arguments).current_dir(&self.dir).env("LC_ALL", "C");
        command.env_remove("APT_CONFIG");
        Ok(String::from_utf8_lossy(&output(self.component, &mut command)?.stdout).into_owned())
    }
}

/// Runs a command that has to succeed.
///
/// # Errors
/// When it does not, with what it said.
pub(super) fn output(component: &str, command: &mut Command) -> Result<Output> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| {
        if error.kind() == ErrorKind::NotFound {
            let purpose = format!("fetch {component}");
            return Error::Missing { program: "apt-get", purpose, remedy: "Only Debian and Ubuntu have it" };
        }
        Error::io("running", Path::new(command.get_program()))(error)
    })?;
    if output.status.success() {
        Ok(output)
    } else {
        let detail = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(Error::Build { component: component.to_owned(), detail })
    }
}

/// The value of a variable in /etc/os-release, for example `VERSION_CODENAME`; empty when there is none.
pub(super) fn os_release(name: &str) -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    value.unwrap_or_default().trim_matches('"').to_owned()
}
