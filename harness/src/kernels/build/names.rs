//! What a built kernel is called.

use anyhow::Result;

use crate::kernels::catalog::matrix::Matrix;
use crate::kernels::source::BUILT;
use crate::support::error::usage;

/// The names of a kernel that is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Names {
    /// The upstream version, from the Makefile.
    pub(super) version: String,
    /// What `--kernel` calls it: its own name, or the series of its version.
    pub(super) series: String,
    /// What is added to the version in its release: `-el9.6-built`.
    pub(super) local_version: String,
}

impl Names {
    /// `name` is what the user or the vendor calls it.
    pub(super) fn new(matrix: &Matrix, version: &str, name: Option<&str>) -> Result<Self> {
        let number: fexit::KernelVersion = version.parse()?;
        let (series, local_version) = match name {
            Some(name) => {
                check(matrix, name)?;
                (name.to_owned(), format!("-{name}{BUILT}"))
            }
            None => (number.series().to_string(), BUILT.to_owned()),
        };
        Ok(Self {
            version: version.to_owned(),
            series,
            local_version,
        })
    }

    /// `uname -r`, unless the source has a local version of its own.
    pub(super) fn release(&self) -> String {
        format!("{}{}", self.version, self.local_version)
    }
}

/// A name must be part of a release, and not mean another kernel.
fn check(matrix: &Matrix, name: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || ".-".contains(c);
    if !name.starts_with(|c: char| c.is_ascii_alphabetic())
        || !name.chars().all(allowed)
        || name.len() > LONGEST
    {
        return Err(usage(format!(
            "--name {name:?}: a name begins with a letter, consists of letters, digits, dots and dashes, and has at most \
             {LONGEST} of them"
        )));
    }
    if matrix.is_taken(name) {
        return Err(usage(format!(
            "--name {name}: `harness --kernel {name}` means something else already; choose another name"
        )));
    }
    Ok(())
}

/// A release has at most 64 characters.
const LONGEST: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::error::exit_code;

    fn names(version: &str, name: Option<&str>) -> Result<Names> {
        Names::new(&Matrix::built_in().unwrap(), version, name)
    }

    #[test]
    fn name_tells_two_kernels_of_one_version_apart() {
        let el = |minor| names("5.14.0", Some(minor)).unwrap();
        assert_eq!(el("el9.5").release(), "5.14.0-el9.5-built");
        assert_eq!(el("el9.6").release(), "5.14.0-el9.6-built");
        assert_eq!(el("el9.6").series, "el9.6");
        let plain = names("5.5.0-rc5", None).unwrap();
        assert_eq!(plain.release(), "5.5.0-rc5-built");
        assert_eq!(plain.series, "5.5");
        // No series of kernels.toml is needed.
        assert_eq!(names("4.18.0", None).unwrap().series, "4.18");
    }

    #[test]
    fn invalid_or_taken_name_is_a_usage_error() {
        let long = "x".repeat(33);
        for (name, message) in [
            ("", "begins with a letter"),
            ("9.6", "begins with a letter"),
            ("a b", "letters, digits"),
            ("a/b", "letters, digits"),
            (&*long, "at most 32"),
            ("el9", "something else"),
            ("all", "something else"),
            ("distros", "something else"),
        ] {
            let error = names("5.14.0", Some(name)).unwrap_err();
            assert_eq!(exit_code(&error), 2, "{name}");
            assert!(error.to_string().contains(message), "{error}");
        }
    }
}
