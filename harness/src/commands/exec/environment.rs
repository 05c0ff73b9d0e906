//! The environment of a program in the VM.

use std::{
    collections::BTreeMap,
    env,
    ffi::{OsStr, OsString},
};

use crate::support::error::usage;

/// The variables that are passed to the program, in addition to `PATH`. Other variables may be secrets, which every program
/// in the VM could read. `--env` passes more.
const PASSED: &[&str] = &[
    // Terminal, language and time.
    "CLICOLOR",
    "CLICOLOR_FORCE",
    "COLORTERM",
    "LANG",
    "LANGUAGE",
    "NO_COLOR",
    "TERM",
    "TZ",
    // Variables that cargo and cargo-nextest set for a test, and that Rust programs use.
    "CARGO",
    "CARGO_CRATE_NAME",
    "CARGO_PRIMARY_PACKAGE",
    "CARGO_TARGET_TMPDIR",
    "LD_LIBRARY_PATH",
    "NEXTEST",
    "NEXTEST_EXECUTION_MODE",
    "OUT_DIR",
    "RUST_BACKTRACE",
    "RUST_LIB_BACKTRACE",
    "RUST_LOG",
    "RUST_LOG_STYLE",
    "RUST_MIN_STACK",
];
const PASSED_PREFIXES: &[&str] = &[
    "CARGO_BIN_EXE_",
    "CARGO_MANIFEST_",
    "CARGO_PKG_",
    "LC_",
    "RUST_TEST_",
];

/// The folders after those of the host's `PATH`.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The environment of a program. `added` has `NAME=VALUE`, or `NAME` for the host's value.
pub(super) fn of_program(added: &[OsString]) -> anyhow::Result<Vec<(OsString, OsString)>> {
    let mut all: BTreeMap<_, _> = env::vars_os().filter(|(name, _)| passes(name)).collect();
    let mut path = all.remove(OsStr::new("PATH")).unwrap_or_default();
    if !path.is_empty() {
        path.push(":");
    }
    path.push(PATH);
    all.insert("PATH".into(), path);
    for (name, value) in [
        ("HOME", "/root"),
        ("USER", "root"),
        ("LOGNAME", "root"),
        ("SHELL", "/bin/sh"),
    ] {
        all.insert(name.into(), value.into());
    }
    for variable in added {
        let (name, value) = split(variable)?;
        all.insert(name, value);
    }
    Ok(all.into_iter().collect())
}

fn passes(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    let starts = |prefix: &&str| name.starts_with(*prefix);
    PASSED.contains(&name.as_ref()) || PASSED_PREFIXES.iter().any(starts)
}

fn split(variable: &OsStr) -> anyhow::Result<(OsString, OsString)> {
    use std::os::unix::ffi::OsStrExt as _;
    let shown = || variable.to_string_lossy();
    let bytes = variable.as_bytes();
    let (name, value) = match bytes.iter().position(|&byte| byte == b'=') {
        Some(at) => {
            let [name, value] = [&bytes[..at], &bytes[at + 1..]].map(OsStr::from_bytes);
            (name, value.to_owned())
        }
        None => {
            let value = env::var_os(variable);
            let value = value
                .ok_or_else(|| usage(format!("--env {}: there is no such variable", shown())))?;
            (variable, value)
        }
    };
    if name.is_empty() {
        return Err(usage(format!("--env {}: a variable needs a name", shown())));
    }
    Ok((name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(all: &[(OsString, OsString)], name: &str) -> Option<String> {
        let found = all.iter().find(|(other, _)| other == name)?;
        Some(found.1.to_string_lossy().into_owned())
    }

    #[test]
    fn only_listed_variables_are_passed() {
        for name in [
            "CARGO_MANIFEST_DIR",
            "CARGO_PKG_NAME",
            "LC_ALL",
            "LD_LIBRARY_PATH",
            "RUST_BACKTRACE",
            "RUST_TEST_THREADS",
            "TERM",
        ] {
            assert!(passes(name.as_ref()), "{name}");
        }
        for name in [
            "AWS_SECRET_ACCESS_KEY",
            "CARGO_REGISTRIES_MINE_TOKEN",
            "CARGO_REGISTRY_TOKEN",
            "GITHUB_TOKEN",
            "HOME",
            "LD_PRELOAD",
            "LCD",
            "MY_PASSWORD",
            "SSH_AUTH_SOCK",
            "TERMCAP",
            "TMPDIR",
        ] {
            assert!(!passes(name.as_ref()), "{name}");
        }
        let all = of_program(&[]).unwrap();
        assert_eq!(find(&all, "HOME").as_deref(), Some("/root"));
        assert!(find(&all, "PATH").unwrap().ends_with("/sbin:/bin"));
        assert_eq!(
            find(&all, "CARGO_MANIFEST_DIR"),
            env::var("CARGO_MANIFEST_DIR").ok()
        );
    }

    #[test]
    fn requested_variables_come_last() {
        let added =
            ["HOME=/elsewhere", "EMPTY=", "EQUALS=a=b", "CARGO_PKG_NAME"].map(OsString::from);
        let all = of_program(&added).unwrap();
        assert_eq!(find(&all, "HOME").as_deref(), Some("/elsewhere"));
        assert_eq!(find(&all, "EMPTY").as_deref(), Some(""));
        assert_eq!(find(&all, "EQUALS").as_deref(), Some("a=b"));
        assert_eq!(find(&all, "CARGO_PKG_NAME").as_deref(), Some("harness"));
        for bad in ["=value", "NO_SUCH_VARIABLE_HERE"] {
            assert!(of_program(&[bad.into()]).is_err(), "{bad}");
        }
    }
}
