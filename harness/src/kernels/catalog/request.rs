//! The argument of `--kernel`.

use anyhow::Result;
use glob::Pattern;

use super::matrix::{Matrix, Series};
use crate::kernels::arch::Arch;
use crate::kernels::source::{Artifact, BUILT, Kind, Resolved, Source};
use crate::kernels::sources::packages::Packages;
use crate::kernels::sources::search::Query;
use crate::kernels::sources::url;
use crate::kernels::version;
use crate::support::error::usage;

/// A request for one kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) series: &'a Series,
    /// Absent if the request is for any version of the series.
    pub(crate) exact: Option<&'a str>,
    /// What the user typed: `6.1.192`, `ubuntu-22.04-5.15.0-25`.
    pub(crate) text: &'a str,
}

impl<'a> Request<'a> {
    /// A request for any version of a series.
    pub(crate) fn of(series: &'a Series) -> Self {
        Self {
            series,
            exact: None,
            text: &series.name,
        }
    }

    /// What to search in an index.
    pub(crate) fn query<'q>(&self, packages: &'q Packages) -> Query<'q>
    where
        'a: 'q,
    {
        Query {
            series: self.series.version(),
            packages,
            exact: self.exact,
        }
    }

    /// The kernel that answers it. Its version is that of its first package.
    pub(crate) fn resolved(
        &self,
        kind: Kind,
        artifacts: Vec<Artifact>,
        verified_by: &str,
    ) -> Resolved {
        let package_version = artifacts
            .first()
            .map(|artifact| artifact.version.clone())
            .unwrap_or_default();
        Resolved {
            requested: self.text.to_owned(),
            series: self.series.name.clone(),
            version: version::upstream(&package_version).to_owned(),
            source: Source {
                kind,
                name: self.series.source.clone(),
                package_version,
                artifacts,
                verified_by: verified_by.to_owned(),
                notes: Vec::new(),
                build: None,
            },
        }
    }

    pub(crate) fn parse(matrix: &'a Matrix, text: &'a str) -> Result<Self> {
        let (name, arch) = Arch::split(text);
        let arch = arch.unwrap_or_default();
        if let Some(series) = matrix.find(&arch.qualify(name)) {
            return Ok(Self::of(series));
        }
        if let Some(series) = of_release(matrix, text) {
            let exact = Some(text);
            return Ok(Self {
                series,
                exact,
                text,
            });
        }
        // 6.1.5 belongs to 6.1, but a matrix may have a series 6.1.5.
        let longest = matrix
            .of(arch)
            .filter(|series| exact(series, name).is_some())
            .max_by_key(|series| series.name.len());
        match longest {
            Some(series) if !name.contains(['*', '?', '/']) => Ok(Self {
                series,
                exact: exact(series, name),
                text,
            }),
            _ => Err(unknown(matrix, name, arch)),
        }
    }
}

/// The series that the release of a built kernel names: el9.6 of 5.14.0-el9.6-built.
fn of_release<'a>(matrix: &'a Matrix, text: &str) -> Option<&'a Series> {
    let release = text.strip_suffix(BUILT)?;
    let is_named = |series: &&Series| {
        let version = release.strip_suffix(&series.name);
        !series.is_version() && version.is_some_and(|version| version.ends_with('-'))
    };
    let named = matrix.of(Arch::X86_64).filter(is_named);
    named.max_by_key(|series| series.name.len())
}

/// The exact version of a series that the text names: 5.10.262 of 5.10, or 5.15.0-25 of ubuntu-22.04-5.15.0-25.
fn exact<'a>(series: &Series, text: &'a str) -> Option<&'a str> {
    let rest = text.strip_prefix(series.base_name())?;
    if rest.len() < 2 || !rest.starts_with(['.', '-']) {
        return None;
    }
    if series.is_version() {
        return Some(text);
    }
    let version = rest.strip_prefix('-')?;
    version
        .starts_with(|c: char| c.is_ascii_digit())
        .then_some(version)
}

/// Expands the words of `--kernel` (`5.10`, `6.*`, `all`, `latest:arm64`) to one name per kernel. A word without an
/// architecture means all `arches`. A pattern that matches no series matches the exact `versions`.
pub(crate) fn expand(
    matrix: &Matrix,
    versions: &[String],
    arches: &[Arch],
    words: &[String],
) -> Result<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    for word in words.iter().filter(|word| !word.is_empty()) {
        let (word, arch) = match is_complete(matrix, word)? {
            true => (word.as_str(), None),
            false => Arch::split(word),
        };
        let arches = arch.as_ref().map_or(arches, std::slice::from_ref);
        for arch in arches {
            for word in words_of(matrix, word) {
                for name in expand_word(matrix, versions, &word, *arch)? {
                    if !names.contains(&name) {
                        names.push(name);
                    }
                }
            }
        }
    }
    if names.is_empty() {
        return Err(usage(format!("no kernel is named; {}", choices(matrix))));
    }
    Ok(names)
}

/// The words of a group, or the word itself.
fn words_of(matrix: &Matrix, word: &str) -> Vec<String> {
    let group = matrix.group(word);
    group.map_or_else(|| vec![word.to_owned()], <[String]>::to_vec)
}

/// Whether this names one kernel outside of the matrix: a URL, or an image.
fn is_complete(matrix: &Matrix, word: &str) -> Result<bool> {
    if url::is_url(word) {
        return url::parse(word).map(|_| true);
    }
    Ok(matrix.image(word)?.is_some())
}

fn expand_word(
    matrix: &Matrix,
    versions: &[String],
    word: &str,
    arch: Arch,
) -> Result<Vec<String>> {
    if is_complete(matrix, word)? {
        return Ok(vec![word.to_owned()]);
    }
    let of_series = |series: &Series| series.name.clone();
    let found: Vec<String> = match word {
        "all" => matrix.usual(arch).map(of_series).collect(),
        "latest" => matrix
            .usual(arch)
            .next_back()
            .map(of_series)
            .into_iter()
            .collect(),
        _ if word.contains(['*', '?']) => {
            let pattern = Pattern::new(word).map_err(|_| unknown(matrix, word, arch))?;
            let matches = |series: &&Series| pattern.matches(series.base_name());
            let usual = matrix.usual(arch).filter(matches).map(of_series);
            let any = matrix.of(arch).filter(matches).map(of_series);
            let is_exact = |version: &&String| {
                let (version, of) = Arch::split(version);
                of.unwrap_or_default() == arch && pattern.matches(version)
            };
            let exact = versions.iter().filter(is_exact).cloned();
            [usual.collect(), any.collect(), exact.collect()]
                .into_iter()
                .find(|found: &Vec<_>| !found.is_empty())
                .unwrap_or_default()
        }
        _ => {
            let name = arch.qualify(word);
            Request::parse(matrix, &name)?;
            return Ok(vec![name]);
        }
    };
    if found.is_empty() {
        return Err(unknown(matrix, word, arch));
    }
    Ok(found)
}

/// The names that are most similar.
const SIMILAR: usize = 3;

fn unknown(matrix: &Matrix, word: &str, arch: Arch) -> anyhow::Error {
    let of_arch = match arch == Arch::host() {
        true => String::new(),
        false => format!(" for {arch}"),
    };
    let why = match word.contains(['*', '?']) {
        true => format!("no known kernel{of_arch} matches this pattern"),
        false => format!("kernels.toml has no such name{of_arch}"),
    };
    let similar = similar(matrix, word, arch);
    let similar = match similar.as_slice() {
        [] => String::new(),
        [name] => format!("; the most similar is {name}"),
        names => format!("; the most similar are {}", names.join(", ")),
    };
    usage(format!(
        "unknown kernel {word:?}: {why}{similar}\n{}\n{}",
        choices(matrix),
        others(matrix, word)
    ))
}

/// What can be named, without the names.
fn choices(matrix: &Matrix) -> String {
    let groups: String = matrix.groups().map(|group| format!("{group}, ")).collect();
    format!(
        "`harness kernels list` lists the names. Also accepted: all, latest, built, {groups}a pattern (6.*), an exact version \
         (5.10.262); a pattern of exact versions (5.10.2*) means those that are locked or cached."
    )
}

/// How to boot a kernel that has no name.
fn others(matrix: &Matrix, word: &str) -> String {
    let tag = match word.starts_with(|c: char| c.is_ascii_digit()) && !word.contains(['*', '?']) {
        true => word,
        false => "TAG",
    };
    let images = matrix.repositories();
    let images: String = images.map(|name| format!("{name}:{tag}, ")).collect();
    format!(
        "For another kernel name an image of a registry, if it has this tag ({images}oci:HOST/REPOSITORY:{tag}), an \
         address with a checksum (https://...#sha256=...), or your own kernel (--kernel-image FILE): see docs/kernels.md."
    )
}

/// The series next to a version: the newest that is not newer, and the oldest that is. For another word, the names that
/// resemble it.
fn similar<'a>(matrix: &'a Matrix, word: &str, arch: Arch) -> Vec<&'a str> {
    let names = matrix.of(arch).map(Series::base_name);
    if word.starts_with(|c: char| c.is_ascii_digit()) {
        let versions = names.filter(|name| name.starts_with(|c: char| c.is_ascii_digit()));
        let (older, newer): (Vec<_>, Vec<_>) =
            versions.partition(|name| version::compare(name, word).is_le());
        return older
            .last()
            .into_iter()
            .chain(newer.first())
            .copied()
            .collect();
    }
    let names = names
        .chain(matrix.groups())
        .chain(["all", "latest", "built"]);
    let mut alike: Vec<_> = names
        .map(|name| (strsim::jaro_winkler(name, word), name))
        .filter(|(likeness, _)| *likeness > 0.7)
        .collect();
    alike.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    alike
        .into_iter()
        .map(|(_, name)| name)
        .take(SIMILAR)
        .collect()
}

#[cfg(test)]
mod tests;
