//! What programs under test find in their environment.

use std::env;
use std::ffi::OsString;
use std::path::Path;

/// The whole environment of a program under test, for `env_clear().envs(...)`: of the caller's only how other programs
/// and temporary files are found. A proxy, a kubeconfig or settings of psql are not the test's.
pub fn environment(home: &Path) -> Vec<(&'static str, OsString)> {
    let kept = ["PATH", "TMPDIR"].into_iter().filter_map(|name| Some((name, env::var_os(name)?)));
    kept.chain([("HOME", home.as_os_str().to_owned()), ("LC_ALL", "C".into())]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_else_of_the_callers_comes_along() {
        let names: Vec<&str> = environment(Path::new("/home")).into_iter().map(|(name, _)| name).collect();
        assert!(names.iter().all(|name| ["PATH", "TMPDIR", "HOME", "LC_ALL"].contains(name)), "{names:?}");
    }
}
