//! Which variables a program finds in the VM.

use std::{
    collections::BTreeMap,
    env,
    ffi::{OsStr, OsString},
};

use crate::support::error::usage;

/// What speaks of this machine or session, and is wrong or of no use in a VM.
const LEFT_OUT: &[&str] = &[
    "COLUMNS",
    "DBUS_SESSION_BUS_ADDRESS",
    "DISPLAY",
    "GPG_AGENT_INFO",
    "HOME",
    "HOSTNAME",
    "LD_AUDIT",
    "LD_PRELOAD",
    "LINES",
    "LOGNAME",
    "MAIL",
    "OLDPWD",
    "PWD",
    "SHELL",
    "SHLVL",
    "STY",
    "TEMP",
    "TMP",
    "TMPDIR",
    "TMUX",
    "USER",
    "WAYLAND_DISPLAY",
    "_",
];
const LEFT_OUT_FAMILIES: &[&str] = &["SSH_", "SUDO_", "XAUTH", "XDG_", "HARNESS_"];

/// Where programs are looked for behind the folders of our own `PATH`.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Our environment without what makes no sense there, with what `wanted` adds: `NAME=VALUE`, or `NAME` for ours.
pub(super) fn of_program(wanted: &[OsString]) -> anyhow::Result<Vec<(OsString, OsString)>> {
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
    for variable in wanted {
        let (name, value) = split(variable)?;
        all.insert(name, value);
    }
    Ok(all.into_iter().collect())
}

fn passes(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    let in_family = |family: &&str| name.starts_with(*family);
    !LEFT_OUT.contains(&name.as_ref()) && !LEFT_OUT_FAMILIES.iter().any(in_family)
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
    fn ours_passes_but_for_what_speaks_of_this_machine() {
        for name in [
            "CARGO_MANIFEST_DIR",
            "RUST_BACKTRACE",
            "TERM",
            "LD_LIBRARY_PATH",
            "HOMEWARD",
        ] {
            assert!(passes(name.as_ref()), "{name}");
        }
        for name in [
            "HOME",
            "TMPDIR",
            "LD_PRELOAD",
            "SSH_AUTH_SOCK",
            "XDG_RUNTIME_DIR",
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
    fn what_is_asked_for_comes_last() {
        let wanted =
            ["HOME=/elsewhere", "EMPTY=", "EQUALS=a=b", "CARGO_PKG_NAME"].map(OsString::from);
        let all = of_program(&wanted).unwrap();
        assert_eq!(find(&all, "HOME").as_deref(), Some("/elsewhere"));
        assert_eq!(find(&all, "EMPTY").as_deref(), Some(""));
        assert_eq!(find(&all, "EQUALS").as_deref(), Some("a=b"));
        assert_eq!(find(&all, "CARGO_PKG_NAME").as_deref(), Some("harness"));
        for bad in ["=value", "NO_SUCH_VARIABLE_HERE"] {
            assert!(of_program(&[bad.into()]).is_err(), "{bad}");
        }
    }
}
