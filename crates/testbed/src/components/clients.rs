//! Clients as applications use them, one for each family, for which a session's Secret is made.
//!
//! Each is a small program that uses a third-party library. It is given the folder of a mounted Secret, logs in by what
//! is in it, and prints the name that the server knows it by.

use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};

use super::{debian, go, npm, pip};
use crate::cache;
use crate::error::{Error, Result};
use crate::progress::Progress;

const PYTHON: [(&str, &str); 5] = [
    ("requirements.txt", include_str!("../../components/clients/python/requirements.txt")),
    ("libpq.py", include_str!("../../components/clients/python/libpq.py")),
    ("mongodb.py", include_str!("../../components/clients/python/mongodb.py")),
    ("psql.py", include_str!("../../components/clients/python/psql.py")),
    ("mongosh.py", include_str!("../../components/clients/python/mongosh.py")),
];

const NODE: [(&str, &str); 3] = [
    ("package.json", include_str!("../../components/clients/node/package.json")),
    ("package-lock.json", include_str!("../../components/clients/node/package-lock.json")),
    ("client.js", include_str!("../../components/clients/node/client.js")),
];

const GO: [(&str, &str); 3] = [
    ("go.mod", include_str!("../../components/clients/go/go.mod")),
    ("go.sum", include_str!("../../components/clients/go/go.sum")),
    ("main.go", include_str!("../../components/clients/go/main.go")),
];

const JAVA: [(&str, &str); 2] = [
    ("pom.xml", include_str!("../../components/clients/java/pom.xml")),
    ("Client.java", include_str!("../../components/clients/java/Client.java")),
];

const REDSHIFT_PYTHON: [(&str, &str); 2] = [
    ("requirements.txt", include_str!("../../components/clients/redshift/requirements.txt")),
    ("client.py", include_str!("../../components/clients/redshift/client.py")),
];

const REDSHIFT_JAVA: [(&str, &str); 2] = [
    ("pom.xml", include_str!("../../components/clients/redshift/java/pom.xml")),
    ("Client.java", include_str!("../../components/clients/redshift/java/Client.java")),
];

const MONGOSH: [(&str, &str); 3] = [
    ("package.json", include_str!("../../components/mongosh/package.json")),
    ("package-lock.json", include_str!("../../components/mongosh/package-lock.json")),
    (".npmrc", include_str!("../../components/mongosh/.npmrc")),
];

/// The driver's file, which Maven has no lock file for, and its SHA-256.
const DRIVER: (&str, &str) =
    ("postgresql-42.7.14.jar", "73914527305a40cce504b0d3d90b23caf565136912d607ae8ae7c5895512332c");
const REDSHIFT_DRIVER: (&str, &str) =
    ("redshift-jdbc42-2.3.0.jar", "133009e292b583654c45e37bce15947d4e17a60a5804f730cb8abd22320b4295");

/// Copies a project's dependencies into a folder; its version is part of the lock.
const COPY_DEPENDENCIES: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.11.0:copy-dependencies";

/// A client program that is given the folder of a mounted Secret.
#[derive(Clone, Debug)]
pub struct Client {
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(&'static str, OsString)>,
}

impl Client {
    /// The command that logs in by what is in `folder`. It knows nothing of the caller's environment.
    pub fn command(&self, folder: &Path) -> Command {
        self.command_for(folder.as_os_str(), folder)
    }

    /// The command that logs in by a URL, of a client that takes one ([`jdbc`]). `home`: an empty folder.
    pub fn command_for_url(&self, url: &str, home: &Path) -> Command {
        self.command_for(OsStr::new(url), home)
    }

    fn command_for(&self, argument: &OsStr, home: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .arg(argument)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            // Some read files in the home directory.
            .env("HOME", home)
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null());
        command
    }
}

/// Prepares all of them.
///
/// # Errors
/// The first failure, naming what has to be installed when that is the reason.
pub fn prepare() -> Result<()> {
    libpq()?;
    node()?;
    go()?;
    jdbc()?;
    redshift_connector()?;
    redshift_jdbc()?;
    mongosh_files()?;
    Ok(())
}

/// PostgreSQL's own library, as Python has it (psycopg 3).
///
/// # Errors
/// When Python or pip is missing, or the packages cannot be fetched.
pub fn libpq() -> Result<Client> {
    python_client("libpq.py")
}

/// MongoDB from Python (PyMongo).
///
/// # Errors
/// When Python or pip is missing, or the packages cannot be fetched.
pub fn pymongo() -> Result<Client> {
    python_client("mongodb.py")
}

/// Writes programs `psql` and `mongosh` into a folder that replace them: they log in as these do, with the same
/// library or one that reads the same files, and print the name that the server knows them by.
///
/// # Errors
/// As [`libpq`], and when the files cannot be written.
pub fn shells(folder: &Path) -> Result<()> {
    for (name, script) in [("psql", "psql.py"), ("mongosh", "mongosh.py")] {
        wrap(&folder.join(name), &python_client(script)?)?;
    }
    Ok(())
}

/// Writes a program `psql` into a folder that is PostgreSQL's own, of the machine's Debian or Ubuntu.
///
/// # Errors
/// On other distributions, when the packages cannot be fetched, and when the file cannot be written.
pub fn psql(folder: &Path) -> Result<()> {
    let (program, environment) = debian::psql()?;
    let environment = environment.into_iter().map(|(name, value)| (name, value.into())).collect();
    wrap(&folder.join("psql"), &Client { program, arguments: Vec::new(), environment })
}

/// Writes a program `mongosh` into a folder that is MongoDB's own.
///
/// # Errors
/// When npm is missing, the packages cannot be fetched, and when the file cannot be written.
pub fn mongosh(folder: &Path) -> Result<()> {
    let dir = mongosh_files()?;
    let script = dir.join("node_modules/mongosh/bin/mongosh.js");
    let client =
        Client { program: PathBuf::from("node"), arguments: vec![script.into()], environment: Vec::new() };
    wrap(&folder.join("mongosh"), &client)
}

fn mongosh_files() -> Result<PathBuf> {
    let name = "mongosh";
    cache::ensure(name, &MONGOSH, |dir| {
        let progress = Progress::start(format!("fetching {name}"));
        npm::install(name, &MONGOSH, dir)?;
        progress.done();
        Ok(())
    })
}

/// Writes a program that runs another one with an environment and arguments of its own.
fn wrap(path: &Path, client: &Client) -> Result<()> {
    let quoted = |text: &OsStr| format!("'{}'", text.to_string_lossy().replace('\'', "'\\''"));
    let mut script = "#!/bin/sh\n".to_owned();
    for (name, value) in &client.environment {
        script.push_str(&format!("export {name}={}\n", quoted(value)));
    }
    let words =
        [client.program.as_os_str()].into_iter().chain(client.arguments.iter().map(OsString::as_os_str));
    let words: Vec<String> = words.map(quoted).collect();
    script.push_str(&format!("exec {} \"$@\"\n", words.join(" ")));
    fs::write(path, script)
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o755)))
        .map_err(Error::io("writing", path))
}

/// Redshift from Python (redshift_connector).
///
/// # Errors
/// As [`libpq`].
pub fn redshift_connector() -> Result<Client> {
    python("the Python driver of Redshift", "client-redshift-python", &REDSHIFT_PYTHON, "client.py")
}

/// Redshift from Java (its JDBC driver).
///
/// # Errors
/// As [`jdbc`].
pub fn redshift_jdbc() -> Result<Client> {
    java("the JDBC driver of Redshift", "client-redshift-java", &REDSHIFT_JAVA, REDSHIFT_DRIVER)
}

fn python_client(script: &str) -> Result<Client> {
    python("the Python clients", "client-python", &PYTHON, script)
}

/// A script with packages of PyPI; the first of `files` is their list.
fn python(name: &str, component: &str, files: &[(&str, &str)], script: &str) -> Result<Client> {
    // A wheel is made for one version of Python.
    let version = pip::python(name, "import sys; print(*sys.version_info[:2], sys.executable)")?;
    let inputs: Vec<_> = files.iter().copied().chain([("python", version.as_str())]).collect();
    let dir = cache::ensure(component, &inputs, |dir| {
        let progress = Progress::start(format!("fetching {name}"));
        pip::install(name, files[0], dir)?;
        write(&files[1..], dir)?;
        progress.done();
        Ok(())
    })?;
    let program = version.splitn(3, ' ').nth(2).unwrap_or("python3");
    Ok(Client {
        program: PathBuf::from(program),
        arguments: vec![dir.join(script).into()],
        environment: vec![
            ("PYTHONPATH", dir.join("package").into()),
            ("PYTHONDONTWRITEBYTECODE", "1".into()),
        ],
    })
}

/// PostgreSQL from Node.js (node-postgres).
///
/// # Errors
/// When npm is missing, or the packages cannot be fetched.
pub fn node() -> Result<Client> {
    let name = "the Node.js client";
    let dir = cache::ensure("client-node", &NODE, |dir| {
        let progress = Progress::start(format!("fetching {name}"));
        npm::install(name, &NODE, dir)?;
        progress.done();
        Ok(())
    })?;
    Ok(Client {
        program: PathBuf::from("node"),
        arguments: vec![dir.join("client.js").into()],
        environment: Vec::new(),
    })
}

/// PostgreSQL from Go (pgx).
///
/// # Errors
/// When Go is missing or the build fails.
pub fn go() -> Result<Client> {
    let dir = cache::ensure("client-go", &GO, |dir| go::build("the Go client", &GO, dir, "", &["."]))?;
    Ok(Client { program: dir.join("go-client"), arguments: Vec::new(), environment: Vec::new() })
}

/// PostgreSQL from Java (pgjdbc).
///
/// # Errors
/// When a JDK or Maven is missing, or the driver cannot be fetched.
pub fn jdbc() -> Result<Client> {
    java("the Java client", "client-java", &JAVA, DRIVER)
}

/// A program with a driver of Maven Central.
fn java(
    name: &str,
    component: &str,
    files: &[(&str, &str); 2],
    driver: (&'static str, &'static str),
) -> Result<Client> {
    let inputs = [files[0], files[1], driver, ("plugin", COPY_DEPENDENCIES)];
    let dir = cache::ensure(component, &inputs, |dir| fetch_driver(name, files, driver, dir))?;
    let path = std::env::join_paths([dir.join("lib").join(driver.0), dir.join("classes")])
        .map_err(|error| failed(name, error.to_string()))?;
    Ok(Client {
        program: PathBuf::from("java"),
        arguments: vec!["-cp".into(), path, "Client".into()],
        environment: Vec::new(),
    })
}

fn fetch_driver(name: &str, files: &[(&str, &str)], (file, sha256): (&str, &str), dir: &Path) -> Result<()> {
    let progress = Progress::start(format!("fetching {name}"));
    write(files, dir)?;
    run(
        Command::new("mvn")
            .args([
                "--batch-mode",
                "--quiet",
                "--strict-checksums",
                COPY_DEPENDENCIES,
                "-DoutputDirectory=lib",
            ])
            .current_dir(dir),
        name,
        "Maven",
        "Install it: apt-get install maven",
    )?;
    let driver = dir.join("lib").join(file);
    let content = fs::read(&driver).map_err(Error::io("reading", &driver))?;
    let found: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    if found != sha256 {
        return Err(failed(name, format!("{file} has the SHA-256 {found}, and {sha256} is expected")));
    }
    run(
        Command::new("javac").args(["-d", "classes", "Client.java"]).current_dir(dir),
        name,
        "a JDK (11 or newer)",
        "Install it: apt-get install default-jdk-headless",
    )?;
    progress.done();
    Ok(())
}

fn run(command: &mut Command, name: &str, program: &'static str, remedy: &'static str) -> Result<()> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| {
        if error.kind() == ErrorKind::NotFound {
            return Error::Missing { program, purpose: format!("prepare {name}"), remedy };
        }
        Error::io("running", Path::new(command.get_program()))(error)
    })?;
    if output.status.success() {
        return Ok(());
    }
    let stderr =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    Err(failed(name, stderr))
}

fn write(files: &[(&str, &str)], dir: &Path) -> Result<()> {
    for (file, text) in files {
        let path = dir.join(file);
        fs::write(&path, text).map_err(Error::io("writing", &path))?;
    }
    Ok(())
}

fn failed(name: &str, detail: String) -> Error {
    Error::Build { component: name.to_owned(), detail }
}
