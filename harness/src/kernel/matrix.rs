//! `kernels.toml`: which kernels there are, and where they come from. Data, not code.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::debian::version;
use super::lock::Lock;
use super::openpgp::Keyring;
use crate::error::usage;

const MATRIX: &str = include_str!("../../../kernels/kernels.toml");
const LOCK: &str = include_str!("../../../kernels/kernels.lock");
const KEYRINGS: [(&str, &str); 2] = [
    ("debian", include_str!("../../../kernels/keys/debian.asc")),
    (
        "debian-security",
        include_str!("../../../kernels/keys/debian-security.asc"),
    ),
];

/// Everything that can be asked for by name, with what vouches for it.
#[derive(Debug)]
pub struct Matrix {
    series: Vec<Series>,
    sources: BTreeMap<String, Source>,
    packages: BTreeMap<String, Packages>,
    /// What each series resolved to when the lock was last renewed.
    pub lock: Lock,
    /// The file it was read from; `None` for the one that is built in.
    file: Option<PathBuf>,
}

/// What `--kernel NAME` can name.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Series {
    /// As `5.10`.
    pub name: String,
    /// Which source it comes from.
    pub source: String,
    /// Which list of packages makes a kernel of it.
    packages: String,
}

/// Which packages make a kernel. `{abi}` in their names is what those of one kernel have in common.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Packages {
    /// Without these there is no kernel. The first decides which kernels there are.
    pub required: Vec<String>,
    /// Modules, where the kernel boots without them: archives drop them earlier than the image.
    #[serde(default)]
    pub optional: Vec<String>,
}

/// Where kernels come from.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Source {
    /// A Debian archive.
    Debian(Archive),
}

/// A Debian archive, or one built like it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Archive {
    /// Base addresses, tried in this order.
    pub mirrors: Vec<String>,
    /// As `bookworm-security`.
    pub suite: String,
    /// As `main`.
    #[serde(default = "main_component")]
    pub component: String,
    /// As `amd64`.
    #[serde(default = "amd64")]
    pub architecture: String,
    /// The name of the keys that sign it.
    pub keyring: String,
}

fn main_component() -> String {
    "main".to_owned()
}

fn amd64() -> String {
    "amd64".to_owned()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Data {
    source: BTreeMap<String, Source>,
    packages: BTreeMap<String, Packages>,
    series: Vec<Series>,
}

impl Matrix {
    /// The one that is built in.
    pub fn built_in() -> Result<Self> {
        Self::parse(MATRIX, Lock::parse(LOCK)?, None)
    }

    /// One from a file; the lock (`NAME.lock`) and the folder `keys` are looked for beside it.
    pub fn read(path: &Path) -> Result<Self> {
        let name = path.display();
        let text =
            fs::read_to_string(path).map_err(|e| usage(format!("cannot read {name}: {e}")))?;
        let lock_path = path.with_extension("lock");
        let lock = match fs::read_to_string(&lock_path) {
            Ok(text) => {
                Lock::parse(&text).map_err(|e| usage(format!("{}: {e:#}", lock_path.display())))?
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Lock::default(),
            Err(e) => return Err(usage(format!("cannot read {}: {e}", lock_path.display()))),
        };
        Self::parse(&text, lock, Some(path.to_owned())).map_err(|e| usage(format!("{name}: {e:#}")))
    }

    fn parse(text: &str, lock: Lock, file: Option<PathBuf>) -> Result<Self> {
        let Data {
            source,
            packages,
            mut series,
        } = toml::from_str(text)?;
        series.sort_by(|a, b| version::compare(&a.name, &b.name));
        let matrix = Self {
            series,
            sources: source,
            packages,
            lock,
            file,
        };
        matrix.check()?;
        Ok(matrix)
    }

    fn check(&self) -> Result<()> {
        for pair in self.series.windows(2) {
            if pair[0].name == pair[1].name {
                bail!("series {} is there twice", pair[0].name);
            }
        }
        for series in &self.series {
            let name = &series.name;
            if !name.starts_with(|c: char| c.is_ascii_digit())
                || name.contains(['/', ',', '*', '?'])
            {
                bail!("series {name:?} is not named like a version");
            }
            let Source::Debian(archive) = self.source(series)?;
            if archive.mirrors.is_empty() {
                bail!("source {} has no mirrors", series.source);
            }
            if !self
                .packages(series)?
                .required
                .first()
                .is_some_and(|first| first.contains("{abi}"))
            {
                bail!(
                    "the first package of {} has no {{abi}} in its name",
                    series.packages
                );
            }
        }
        Ok(())
    }

    /// All series, the oldest first.
    pub fn series(&self) -> &[Series] {
        &self.series
    }

    /// The series of this name.
    pub fn find(&self, name: &str) -> Option<&Series> {
        self.series.iter().find(|series| series.name == name)
    }

    /// Where a series comes from.
    pub fn source(&self, series: &Series) -> Result<&Source> {
        let Series { name, source, .. } = series;
        self.sources
            .get(source)
            .with_context(|| format!("series {name} names an unknown source, {source}"))
    }

    /// The packages that make a kernel of a series, with `{abi}` in their names.
    pub fn packages(&self, series: &Series) -> Result<&Packages> {
        let Series { name, packages, .. } = series;
        self.packages
            .get(packages)
            .with_context(|| format!("series {name} names an unknown list of packages, {packages}"))
    }

    /// The keys of an archive: from the folder `keys` beside the file, else those that are built in.
    pub fn keyring(&self, name: &str) -> Result<Keyring> {
        if let Some(file) = &self.file {
            let path = file.with_file_name("keys").join(format!("{name}.asc"));
            if path.exists() {
                let text = fs::read_to_string(&path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                return Keyring::parse(name, &text);
            }
        }
        match KEYRINGS.iter().find(|(known, _)| *known == name) {
            Some((_, text)) => Keyring::parse(name, text),
            None => Err(usage(format!(
                "there is no keyring {name:?}: put it into keys/{name}.asc"
            ))),
        }
    }
}
