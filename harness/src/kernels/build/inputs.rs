//! What a build is made from besides the source, read before it starts.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::config::{Config, Symbols};
use super::options::BuildOptions;
use super::tools::Tools;
use super::vendor;
use super::workarounds::{self, Workaround};
use crate::kernels::files::manifest;
use crate::support::error::usage;

/// The fragments that every kernel is built with.
const FRAGMENTS: [(&str, &str); 2] = [
    (
        "base.config",
        include_str!("../../../../kernels/config/base.config"),
    ),
    (
        "fexit.config",
        include_str!("../../../../kernels/config/fexit.config"),
    ),
];

/// The fragment of a kernel without a base configuration.
const SMALL: (&str, &str) = (
    "small.config",
    include_str!("../../../../kernels/config/small.config"),
);

/// Variables of `make` that the harness sets.
const OWN: [&str; 7] = [
    "ARCH",
    "INSTALL_MOD_PATH",
    "KBUILD_OUTPUT",
    "KCONFIG_CONFIG",
    "LOCALVERSION",
    "O",
    "PAHOLE",
];

/// Configuration, variables and tools.
#[derive(Clone, Debug)]
pub(super) struct Inputs {
    base: Option<Base>,
    /// The names and texts of the fragments of the harness.
    fragments: Vec<(&'static str, &'static str)>,
    /// Those of the user's.
    user: Vec<(String, String)>,
    /// The user's variables for `make`.
    pub(super) make: Vec<String>,
    pub(super) tools: Tools,
}

/// The configuration to start from.
#[derive(Clone, Debug)]
enum Base {
    Vendor,
    File { path: PathBuf, text: String },
}

impl Inputs {
    /// Reads the user's files. Every error is a usage error.
    pub(super) fn read(options: &BuildOptions, tools: &Tools) -> Result<Self> {
        let read = |option: &str, path: &Path| {
            fs::read_to_string(path)
                .map_err(|e| usage(format!("{option} {} cannot be read: {e}", path.display())))
        };
        let base = match &options.base_config {
            None => None,
            Some(path) if path.as_os_str() == "vendor" => Some(Base::Vendor),
            Some(path) => Some(Base::File {
                text: read("--base-config", path)?,
                path: path.clone(),
            }),
        };
        let small = base.is_none().then_some(SMALL);
        let fragments = FRAGMENTS.into_iter().chain(small).collect();
        let mut user = Vec::new();
        for path in &options.fragment {
            let text = read("--fragment", path)?;
            let name = path.display().to_string();
            // The options do not depend on the source, only whether they apply.
            Config::default()
                .add(&name, &text, &Symbols::default())
                .map_err(|e| usage(format!("{e:#}")))?;
            user.push((name, text));
        }
        for argument in &options.make_arg {
            check_variable(argument)?;
        }
        Ok(Self {
            base,
            fragments,
            user,
            make: options.make_arg.clone(),
            tools: tools.clone(),
        })
    }

    /// A checksum of all of it, and of the data that decides about workarounds.
    pub(super) fn digest(&self) -> String {
        let Self {
            base,
            fragments,
            user,
            make,
            tools,
        } = self;
        let base = match base {
            None => "none",
            Some(Base::Vendor) => "vendor",
            Some(Base::File { text, .. }) => text,
        };
        let workarounds = workarounds::DATA;
        let user: Vec<_> = user.iter().map(|(_, text)| text).collect();
        manifest::digest(
            format!("{base:?} {fragments:?} {user:?} {workarounds:?} {make:?} {tools:?}")
                .as_bytes(),
        )
    }

    /// The requested options for a source. The user's come last, and count.
    pub(super) fn config(&self, symbols: &Symbols, workarounds: &[Workaround]) -> Result<Config> {
        let mut config = Config::default();
        for (name, text) in &self.fragments {
            config.add(name, text, symbols)?;
        }
        for workaround in workarounds {
            workaround.configure(&mut config, symbols)?;
        }
        for (name, text) in &self.user {
            config.add(name, text, symbols)?;
        }
        Ok(config)
    }

    /// The configuration to start from, and its path.
    pub(super) fn base(&self, tree: &Path) -> Result<Option<(PathBuf, String)>> {
        Ok(match &self.base {
            None => None,
            Some(Base::File { path, text }) => Some((path.clone(), text.clone())),
            Some(Base::Vendor) => {
                let path = vendor::config(tree)?;
                let text = fs::read_to_string(&path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                let below = path.strip_prefix(tree).unwrap_or(&path);
                Some((below.to_owned(), text))
            }
        })
    }
}

/// Refuses what is not a variable, or one that the harness sets.
fn check_variable(argument: &str) -> Result<()> {
    let name = argument.split_once('=').map_or("", |(name, _)| name);
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || !name.chars().all(allowed) {
        return Err(usage(format!(
            "--make-arg {argument:?} is not a variable with its value: write VAR=VALUE"
        )));
    }
    if OWN.contains(&name) {
        return Err(usage(format!(
            "--make-arg {argument:?}: the harness itself sets {name}"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::error::exit_code;

    fn inputs(options: &BuildOptions) -> Result<Inputs> {
        let tools = Tools {
            compiler: "gcc 12".to_owned(),
            linker: "ld 2.40".to_owned(),
            pahole: "v1.24".to_owned(),
        };
        Inputs::read(options, &tools)
    }

    fn text(options: &BuildOptions) -> String {
        let config = inputs(options).unwrap().config(&Symbols::default(), &[]);
        config.unwrap().on("")
    }

    #[test]
    fn fragments_request_what_fexit_requires_and_leave_a_base_its_drivers() {
        let plain = text(&BuildOptions::default());
        let based = text(&BuildOptions {
            base_config: Some("vendor".into()),
            ..BuildOptions::default()
        });
        for text in [&plain, &based] {
            for option in [
                "BPF_SYSCALL",
                "BPF_JIT",
                "DEBUG_INFO_BTF",
                "FUNCTION_TRACER",
            ] {
                assert!(text.contains(&format!("CONFIG_{option}=y\n")), "{option}");
            }
            // It is requested where the source defines it.
            assert!(!text.contains("BTF_MODULES"));
        }
        assert!(plain.contains("# CONFIG_DRM is not set\n"));
        assert!(!based.contains("CONFIG_DRM"));
    }

    #[test]
    fn everything_that_changes_the_kernel_changes_the_digest() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("some.config");
        fs::write(&path, "CONFIG_A=y\n").unwrap();
        let options = [
            BuildOptions::default(),
            BuildOptions {
                fragment: vec![path.clone()],
                ..BuildOptions::default()
            },
            BuildOptions {
                base_config: Some(path.clone()),
                ..BuildOptions::default()
            },
            BuildOptions {
                base_config: Some("vendor".into()),
                ..BuildOptions::default()
            },
            BuildOptions {
                make_arg: vec!["KCFLAGS=-O1".to_owned()],
                ..BuildOptions::default()
            },
        ];
        let digests: Vec<_> = options
            .iter()
            .map(|o| inputs(o).unwrap().digest())
            .collect();
        for (i, digest) in digests.iter().enumerate() {
            assert!(!digests[..i].contains(digest), "{:?}", options[i]);
        }
        // How it is built is no input.
        let jobs = BuildOptions {
            jobs: Some(3),
            again: true,
            ..BuildOptions::default()
        };
        assert_eq!(inputs(&jobs).unwrap().digest(), digests[0]);
        fs::write(&path, "CONFIG_A=m\n").unwrap();
        assert_ne!(inputs(&options[1]).unwrap().digest(), digests[1]);
        assert_ne!(inputs(&options[2]).unwrap().digest(), digests[2]);
    }

    #[test]
    fn only_variables_that_the_harness_does_not_set_are_make_arguments() {
        let with = |argument: &str| {
            inputs(&BuildOptions {
                make_arg: vec![argument.to_owned()],
                ..BuildOptions::default()
            })
        };
        assert!(with("KCFLAGS=-Wno-error -O2").is_ok());
        assert!(with("OBJECT_FILES_NON_STANDARD_x.o=y").is_ok());
        for (argument, message) in [
            ("modules", "write VAR=VALUE"),
            ("=x", "write VAR=VALUE"),
            ("-j4", "write VAR=VALUE"),
            ("-C=x", "write VAR=VALUE"),
            ("a b=c", "write VAR=VALUE"),
            ("O=/tmp", "itself sets O"),
            ("LOCALVERSION=-x", "itself sets LOCALVERSION"),
        ] {
            let error = with(argument).unwrap_err();
            assert_eq!(exit_code(&error), 2, "{argument}");
            assert!(error.to_string().contains(message), "{error}");
        }
    }

    #[test]
    fn unreadable_or_invalid_file_is_a_usage_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bad.config");
        fs::write(&path, "A=y\n").unwrap();
        for (options, message) in [
            (
                BuildOptions {
                    fragment: vec![path],
                    ..BuildOptions::default()
                },
                "bad.config, line 1",
            ),
            (
                BuildOptions {
                    fragment: vec!["/nothing".into()],
                    ..BuildOptions::default()
                },
                "--fragment /nothing",
            ),
            (
                BuildOptions {
                    base_config: Some("/nothing".into()),
                    ..BuildOptions::default()
                },
                "--base-config /nothing",
            ),
        ] {
            let error = inputs(&options).unwrap_err();
            assert_eq!(exit_code(&error), 2);
            assert!(error.to_string().contains(message), "{error}");
        }
    }
}
