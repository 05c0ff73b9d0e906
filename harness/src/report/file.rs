//! Reads reports, and replaces output files atomically.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::model::{Report, SCHEMA_VERSION};
use crate::support::{atomic, error::usage};

/// Reads a report.
///
/// # Errors
///
/// All are usage errors: the file cannot be read, or is not a report of this format.
pub fn read(path: &Path) -> Result<Report> {
    #[derive(Deserialize)]
    struct Version {
        schema_version: u32,
    }
    let name = path.display();
    let text = fs::read(path).map_err(|e| usage(format!("cannot read the report {name}: {e}")))?;
    let Version { schema_version } = serde_json::from_slice(&text)
        .map_err(|e| usage(format!("{name} is not a report of the harness: {e}")))?;
    // In format 1 all kernels are of x86-64, which is the default.
    if !(1..=SCHEMA_VERSION).contains(&schema_version) {
        return Err(usage(format!(
            "{name} has format {schema_version}; this harness reads formats 1 to {SCHEMA_VERSION}"
        )));
    }
    let mut report: Report = serde_json::from_slice(&text).map_err(|e| {
        usage(format!(
            "{name} is not a complete report of the harness: {e}"
        ))
    })?;
    report.schema_version = SCHEMA_VERSION;
    Ok(report)
}

/// The report as JSON text.
pub fn json(report: &Report) -> Result<String> {
    let mut text =
        serde_json::to_string_pretty(report).context("cannot write the report as JSON")?;
    text.push('\n');
    Ok(text)
}

/// An output file that is replaced atomically: a reader sees either the old content or the new one.
#[derive(Clone, Debug)]
pub struct OutputFile {
    path: PathBuf,
}

impl OutputFile {
    /// Checks that the file can be written, before anything is booted.
    pub fn prepare(path: &Path) -> Result<Self> {
        let name = path.display();
        // Renaming would replace a device or a pipe, and a symbolic link instead of its target.
        let path = match fs::canonicalize(path) {
            Ok(existing) if !existing.is_file() => {
                return Err(usage(format!(
                    "cannot write {name}: it is not a regular file"
                )));
            }
            Ok(existing) => existing,
            Err(_) => path.to_owned(),
        };
        let file = Self { path };
        tempfile::tempfile_in(file.folder())
            .map_err(|e| usage(format!("cannot write {name}: {e}")))?;
        Ok(file)
    }

    /// Replaces the content.
    pub fn replace(&self, content: &str) -> Result<()> {
        atomic::write(&self.path, content.as_bytes())
            .with_context(|| format!("cannot write {}", self.path.display()))
    }

    fn folder(&self) -> &Path {
        match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{report::testing, support::error::exit_code};
    use protocol::event::Outcome;

    fn report() -> Report {
        let scenario = testing::scenario("attach", "fexit", "5.5", "5.10.1", Outcome::Failed);
        Report::new(vec![testing::kernel("5.10.1", vec![scenario])])
    }

    #[test]
    fn report_round_trips_and_leaves_no_temporary_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report.json");
        let file = OutputFile::prepare(&path).unwrap();
        file.replace("old").unwrap();
        file.replace(&json(&report()).unwrap()).unwrap();
        assert_eq!(read(&path).unwrap(), report());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn writing_through_a_symlink_keeps_the_symlink() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        OutputFile::prepare(&link).unwrap().replace("new").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert!(link.is_symlink());
    }

    #[test]
    fn unwritable_report_path_is_a_usage_error() {
        let dir = tempfile::tempdir().unwrap();
        for path in [
            dir.path().join("missing/report.json"),
            dir.path().into(),
            "/dev/null".into(),
        ] {
            let error = OutputFile::prepare(&path).unwrap_err();
            assert_eq!(exit_code(&error), 2);
            assert!(
                error.to_string().contains(&path.display().to_string()),
                "{error}"
            );
        }
    }

    #[test]
    fn invalid_report_error_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.json");
        let text = json(&report()).unwrap();
        for (content, part) in [
            ("not json", "not a report"),
            (
                r#"{"schema_version": 99}"#,
                "has format 99; this harness reads formats 1 to 2",
            ),
            (r#"{"schema_version": 1}"#, "not a complete report"),
            (&text[..text.len() / 2], "not a report"),
        ] {
            fs::write(&path, content).unwrap();
            let error = read(&path).unwrap_err();
            assert_eq!(exit_code(&error), 2);
            let message = error.to_string();
            assert!(
                message.contains(part) && message.contains("x.json"),
                "{message}"
            );
        }
        let error = read(&dir.path().join("none.json")).unwrap_err();
        assert!(error.to_string().contains("none.json"), "{error}");
    }
}
