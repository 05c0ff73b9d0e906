//! `kernels.toml`: the series of kernels and their sources.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::lock::Lock;
use crate::kernels::arch::Arch;
use crate::kernels::source::OWN_SOURCE;
use crate::kernels::sources::kernel_org::Releases;
use crate::kernels::sources::oci::image::{Image, OCI, Repositories};
use crate::kernels::sources::packages::Packages;
use crate::kernels::sources::rpm::repository::Repositories as RpmRepositories;
use crate::kernels::sources::ubuntu_mainline::Builds;
use crate::kernels::sources::url::Files;
use crate::kernels::trust::openpgp::Keyring;
use crate::kernels::{sources::debian::archive::Archive, version};
use crate::support::error::usage;

const MATRIX: &str = include_str!("../../../../kernels/kernels.toml");
const LOCK: &str = include_str!("../../../../kernels/kernels.lock");
const KEYRINGS: [(&str, &str); 2] = [
    (
        "debian",
        include_str!("../../../../kernels/keys/debian.asc"),
    ),
    (
        "debian-security",
        include_str!("../../../../kernels/keys/debian-security.asc"),
    ),
];

/// What `--kernel` means by itself.
const WORDS: [&str; 3] = ["all", "built", "latest"];

/// All series with their sources, keys and lock.
#[derive(Debug)]
pub(crate) struct Matrix {
    series: Vec<Series>,
    sources: BTreeMap<String, Source>,
    packages: BTreeMap<(String, Arch), Packages>,
    /// Names for several series: the words of `--kernel` that each means.
    groups: BTreeMap<String, Vec<String>>,
    /// Short names of repositories of images.
    images: Repositories,
    /// The kernel of each series at the last update of the lock.
    pub(crate) lock: Lock,
    /// Its file; `None` for the built-in matrix.
    file: Option<PathBuf>,
}

/// A series of kernels, which `--kernel` can name.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    /// As `5.10`, or `5.10:arm64`.
    pub(crate) name: String,
    pub(crate) arch: Arch,
    /// The name of its source.
    pub(crate) source: String,
    /// Whether `all` includes it.
    pub(crate) in_all: bool,
    /// The name of the list of its packages.
    packages: Option<String>,
    /// The upstream version of its kernels, if its name is not that.
    version: Option<String>,
}

impl Series {
    /// Its name without the architecture.
    pub(crate) fn base_name(&self) -> &str {
        Arch::split(&self.name).0
    }

    /// Whether its name is a version, as `5.10`.
    pub(crate) fn is_version(&self) -> bool {
        self.name.starts_with(|c: char| c.is_ascii_digit())
    }

    /// What the versions of its kernels begin with; absent if it is the newest kernel of its archive.
    pub(crate) fn version(&self) -> Option<&str> {
        let name = self.is_version().then_some(self.base_name());
        self.version.as_deref().or(name)
    }
}

/// Series that differ only in their names.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    names: Vec<String>,
    source: String,
    packages: Option<String>,
    version: Option<String>,
    #[serde(default = "yes")]
    in_all: bool,
    #[serde(default = "x86_64")]
    arch: Vec<Arch>,
}

fn yes() -> bool {
    true
}

fn x86_64() -> Vec<Arch> {
    vec![Arch::X86_64]
}

/// A source of kernels.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Source {
    /// A Debian archive.
    Debian(Archive),
    /// RPM repositories.
    Rpm(RpmRepositories),
    /// Ubuntu's builds of upstream releases.
    UbuntuMainline(Builds),
    /// Releases of kernel.org, which the harness builds.
    KernelOrg(Releases),
    /// Files at URLs.
    Url(Files),
    /// Kernels that the harness built from the user's own source.
    #[serde(skip)]
    Own,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Data {
    source: BTreeMap<String, Source>,
    #[serde(default)]
    packages: BTreeMap<String, Packages>,
    #[serde(default)]
    groups: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    images: Repositories,
    series: Vec<Entry>,
}

/// The packages of a kernel that has none.
static NO_PACKAGES: Packages = Packages {
    required: Vec::new(),
    optional: Vec::new(),
};

impl Matrix {
    /// The built-in matrix.
    pub(crate) fn built_in() -> Result<Self> {
        Self::parse(MATRIX, Lock::parse(LOCK)?, None)
    }

    /// Reads a matrix. The lock (`NAME.lock`) and the folder `keys` are in the same folder.
    pub(crate) fn read(path: &Path) -> Result<Self> {
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

    pub(crate) fn parse(text: &str, lock: Lock, file: Option<PathBuf>) -> Result<Self> {
        let Data {
            source,
            packages,
            groups,
            images,
            series: entries,
        } = toml::from_str(text)?;
        let mut series: Vec<_> = entries.into_iter().flat_map(Entry::series).collect();
        series.sort_by(order);
        let of_arch = |(name, packages): (String, Packages)| {
            Arch::ALL.map(|arch| ((name.clone(), arch), packages.of(arch)))
        };
        let matrix = Self {
            series,
            sources: source,
            packages: packages.into_iter().flat_map(of_arch).collect(),
            groups,
            images,
            lock,
            file,
        };
        matrix.check()?;
        Ok(matrix)
    }

    /// Adds the series of built kernels that it does not have.
    pub(crate) fn add_built(&mut self, names: impl IntoIterator<Item = String>) {
        for name in names {
            if self.find(&name).is_none() && !self.is_taken(&name) {
                self.series.push(Series {
                    name,
                    arch: Arch::X86_64,
                    source: OWN_SOURCE.to_owned(),
                    in_all: false,
                    packages: None,
                    version: None,
                });
            }
        }
        self.series.sort_by(order);
        self.sources.insert(OWN_SOURCE.to_owned(), Source::Own);
    }

    /// Whether this means kernels that the harness did not build.
    pub(crate) fn is_taken(&self, name: &str) -> bool {
        let series = self.find(name);
        WORDS.contains(&name)
            || self.groups.contains_key(name)
            || series.is_some_and(|series| series.source != OWN_SOURCE)
    }

    fn check(&self) -> Result<()> {
        for pair in self.series.windows(2) {
            if pair[0].name == pair[1].name {
                bail!("series {} is there twice", pair[0].name);
            }
        }
        for (group, words) in &self.groups {
            if WORDS.contains(&group.as_str()) || self.find(group).is_some() {
                bail!("the group {group} is named like a kernel");
            }
            if let Some(nested) = words.iter().find(|word| self.groups.contains_key(*word)) {
                bail!("the group {group} contains a group, {nested}");
            }
        }
        if self.images.contains_key(OCI) {
            bail!("{OCI} means any image, so it cannot be the name of a repository");
        }
        for series in &self.series {
            let name = series.base_name();
            let allowed = |c: char| c.is_ascii_alphanumeric() || ".-+~".contains(c);
            if !name.starts_with(|c: char| c.is_ascii_alphanumeric())
                || !name.chars().all(allowed)
                || WORDS.contains(&name)
            {
                bail!("series {name:?} is not named like a version or a distribution");
            }
            self.check_source(series)
                .with_context(|| format!("source {}", series.source))?;
        }
        Ok(())
    }

    fn check_source(&self, series: &Series) -> Result<()> {
        let (mirrors, packed) = match self.source(series)? {
            Source::Debian(archive) => (&archive.mirrors, true),
            Source::Rpm(repositories) if series.arch == Arch::X86_64 => {
                (&repositories.mirrors, true)
            }
            Source::Rpm(_) => bail!("{} can only be of x86_64", series.name),
            Source::UbuntuMainline(builds) => (&builds.mirrors, true),
            Source::KernelOrg(releases) => (&releases.mirrors, false),
            Source::Url(files) => return files.check(),
            Source::Own => return Ok(()),
        };
        if mirrors.is_empty() {
            bail!("it has no mirrors");
        }
        if !packed {
            return Ok(());
        }
        let first = self.packages(series)?.required.first();
        if !first.is_some_and(|first| first.contains("{abi}")) {
            bail!(
                "{} needs a list of packages whose first name has an {{abi}}",
                series.name
            );
        }
        Ok(())
    }

    /// All series, the oldest first.
    pub(crate) fn series(&self) -> &[Series] {
        &self.series
    }

    /// The series of this name.
    pub(crate) fn find(&self, name: &str) -> Option<&Series> {
        self.series.iter().find(|series| series.name == name)
    }

    /// Where a series comes from.
    pub(crate) fn source(&self, series: &Series) -> Result<&Source> {
        let Series { name, source, .. } = series;
        self.sources
            .get(source)
            .with_context(|| format!("series {name} names an unknown source, {source}"))
    }

    /// Where kernels to build come from.
    pub(crate) fn releases(&self) -> Option<&Releases> {
        self.sources.values().find_map(|source| match source {
            Source::KernelOrg(releases) => Some(releases),
            _ => None,
        })
    }

    /// The packages that make a kernel of a series, with `{abi}` in their names.
    pub(crate) fn packages(&self, series: &Series) -> Result<&Packages> {
        let Series {
            name,
            packages,
            arch,
            ..
        } = series;
        match packages {
            None => Ok(&NO_PACKAGES),
            Some(list) => self.packages.get(&(list.clone(), *arch)).with_context(|| {
                format!("series {name} names an unknown list of packages, {list}")
            }),
        }
    }

    /// The series of an architecture, the oldest first.
    pub(crate) fn of(&self, arch: Arch) -> impl DoubleEndedIterator<Item = &Series> {
        self.series.iter().filter(move |series| series.arch == arch)
    }

    /// The series that `all` means.
    pub(crate) fn usual(&self, arch: Arch) -> impl DoubleEndedIterator<Item = &Series> {
        self.of(arch).filter(|series| series.in_all)
    }

    /// The words of `--kernel` that a group means.
    pub(crate) fn group(&self, name: &str) -> Option<&[String]> {
        self.groups.get(name).map(Vec::as_slice)
    }

    /// The names of all groups.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &str> {
        self.groups.keys().map(String::as_str)
    }

    /// The image that a name means, as `lvh:6.6`; none if it is not the name of an image.
    pub(crate) fn image(&self, name: &str) -> Result<Option<Image>> {
        Image::named(name, &self.images)
    }

    /// The short names of repositories of images.
    pub(crate) fn repositories(&self) -> impl Iterator<Item = &str> {
        self.images.keys().map(String::as_str)
    }

    /// The keys of an archive: from the folder `keys` next to the file, else the built-in ones.
    pub(crate) fn keyring(&self, name: &str) -> Result<Keyring> {
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

impl Entry {
    fn series(self) -> impl Iterator<Item = Series> {
        let Self {
            names,
            source,
            packages,
            version,
            in_all,
            arch,
        } = self;
        let of_name = move |name: String| {
            arch.clone()
                .into_iter()
                .map(move |arch| (arch.qualify(&name), arch))
        };
        names
            .into_iter()
            .flat_map(of_name)
            .map(move |(name, arch)| Series {
                name,
                arch,
                source: source.clone(),
                packages: packages.clone(),
                version: version.clone(),
                in_all,
            })
    }
}

/// By architecture, and the oldest first.
fn order(a: &Series, b: &Series) -> Ordering {
    let by_version = || version::compare(a.base_name(), b.base_name());
    a.arch.cmp(&b.arch).then_with(by_version)
}

#[cfg(test)]
mod tests;
