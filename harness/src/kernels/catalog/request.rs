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
mod tests {
    use super::*;
    use crate::kernels::catalog::lock::Lock;

    /// The series of Debian, and two more that are not in `all`.
    fn matrix() -> Matrix {
        let names = [
            "5.10", "6.1", "6.12", "6.16", "6.17", "6.18", "6.19", "7.0", "7.1", "7.2", "7.3",
        ];
        let locked = |name: &&str| {
            format!(
                "[[kernel]]\nseries = '{name}'\nversion = '{name}.1'\nsource = 's'\nverified_by = ''\n\
                 [[kernel.package]]\nname = ''\nversion = ''\npath = ''\nsha256 = '{}'\n",
                "0".repeat(64)
            )
        };
        let lock: String = names.iter().map(locked).collect();
        let text = format!(
            "[source.s]\nkind = 'url'\nfiles = [{{ url = 'http://x', sha256 = '{}' }}]\n\
             [images.lvh]\nrepository = 'quay.io/lvh-images/kernel-images'\nnewest = '-main'\n\
             [groups]\nold = ['4.*', '5.10', '6.1']\n\
             [[series]]\nnames = {names:?}\nsource = 's'\n\
             [[series]]\nnames = ['4.18', '8.0']\nsource = 's'\nin_all = false\n\
             [[series]]\nnames = ['5.10', '6.1']\nsource = 's'\narch = ['arm64']\n",
            "0".repeat(64)
        );
        Matrix::parse(
            &text,
            Lock::parse(&format!("version = 1\n{lock}")).unwrap(),
            None,
        )
        .unwrap()
    }

    fn expand(requests: &[&str]) -> Result<Vec<String>> {
        expand_for(&[Arch::X86_64], requests)
    }

    fn expand_for(arches: &[Arch], requests: &[&str]) -> Result<Vec<String>> {
        let requests: Vec<_> = requests
            .iter()
            .flat_map(|request| request.split(','))
            .map(|word| word.trim().to_owned())
            .collect();
        let versions = ["5.10.262", "5.10.9", "6.1.192-built", "5.10.223:arm64"].map(str::to_owned);
        super::expand(&matrix(), &versions, arches, &requests)
    }

    #[test]
    fn expands_requests() {
        assert_eq!(expand(&["5.10"]).unwrap(), ["5.10"]);
        assert_eq!(
            expand(&["5.10, 6.1", "7.3,"]).unwrap(),
            ["5.10", "6.1", "7.3"]
        );
        assert_eq!(expand(&["6.1,5.10,6.1"]).unwrap(), ["6.1", "5.10"]);
        assert_eq!(
            expand(&["6.1?"]).unwrap(),
            ["6.12", "6.16", "6.17", "6.18", "6.19"]
        );
        assert_eq!(expand(&["5.10.262"]).unwrap(), ["5.10.262"]);
        assert_eq!(expand(&["6.1.192-2"]).unwrap(), ["6.1.192-2"]);
        assert_eq!(
            expand(&["latest,7.*"]).unwrap(),
            ["7.3", "7.0", "7.1", "7.2"]
        );
        let all = expand(&["all"]).unwrap();
        assert_eq!(
            (all.len(), all[0].as_str(), all[10].as_str()),
            (11, "5.10", "7.3")
        );
        assert_eq!(expand(&["*"]).unwrap(), all);
        // The others must be asked for.
        assert_eq!(expand(&["8.0,8.*"]).unwrap(), ["8.0"]);
        assert_eq!(expand(&["5.10.2*"]).unwrap(), ["5.10.262"]);
        assert_eq!(expand(&["*-built"]).unwrap(), ["6.1.192-built"]);
        assert_eq!(expand(&["4.18.5"]).unwrap(), ["4.18.5"]);
        assert_eq!(expand(&["lvh:6.6"]).unwrap(), ["lvh:6.6"]);
        assert_eq!(expand(&["old,5.10"]).unwrap(), ["4.18", "5.10", "6.1"]);
    }

    #[test]
    fn architecture_is_named_with_the_kernel_or_for_all() {
        let both = [Arch::X86_64, Arch::Arm64];
        for (arches, words, names) in [
            (&both[1..], "6.1", &["6.1:arm64"][..]),
            (&both, "6.1", &["6.1", "6.1:arm64"]),
            (&both[..1], "6.1:aarch64,5.10", &["6.1:arm64", "5.10"]),
            (
                &both[1..],
                "all,6.1:amd64",
                &["5.10:arm64", "6.1:arm64", "6.1"],
            ),
            (&both[1..], "5.*,latest", &["5.10:arm64", "6.1:arm64"]),
            (
                &both[1..],
                "5.10.2*,6.1.9",
                &["5.10.223:arm64", "6.1.9:arm64"],
            ),
            (&both[1..], "lvh:6.6", &["lvh:6.6"]),
        ] {
            assert_eq!(expand_for(arches, &[words]).unwrap(), names, "{words}");
        }
        let error = expand_for(&both, &["7.3"]).unwrap_err().to_string();
        assert!(
            error.contains("has no such name for arm64; the most similar is 6.1\n"),
            "{error}"
        );
        let matrix = matrix();
        let request = Request::parse(&matrix, "6.1.9:aarch64").unwrap();
        assert_eq!(
            (request.series.name.as_str(), request.exact),
            ("6.1:arm64", Some("6.1.9"))
        );
    }

    #[test]
    fn built_kernel_is_found_by_its_name_or_release() {
        let mut matrix = matrix();
        matrix.add_built(["el9.6", "6.1", "6", "a", "b-a", "all", "4.19"].map(str::to_owned));
        let request = |text| {
            let request = Request::parse(&matrix, text).unwrap();
            (request.series.name.as_str(), request.exact)
        };
        assert_eq!(request("el9.6"), ("el9.6", None));
        for (release, series) in [
            ("5.14.0-el9.6-built", "el9.6"),
            ("6.1.192-el9.6-built", "el9.6"),
            ("6.1.192-a-built", "a"),
            ("6.1.192-b-a-built", "b-a"),
            ("6.1.192-built", "6.1"),
            ("6.1.192-c-built", "6.1"),
            ("4.19.1-built", "4.19"),
        ] {
            assert_eq!(request(release), (series, Some(release)));
        }
        // A version of a named kernel, as with a distribution's.
        assert_eq!(request("el9.6-5.14.0"), ("el9.6", Some("5.14.0")));
        assert_eq!(
            matrix.series().iter().filter(|s| s.name == "6.1").count(),
            1
        );
        assert!(matrix.find("all").is_none());
        assert!(matrix.is_taken("6.1") && matrix.is_taken("old") && matrix.is_taken("all"));
        assert!(!matrix.is_taken("el9.6") && !matrix.is_taken("el9.5"));
    }

    #[test]
    fn unknown_kernel_error_has_similar_names_and_what_is_accepted() {
        let cases = [
            ("5.11", "no such name; the most similar are 5.10, 6.1\n"),
            ("4.17", "the most similar is 4.18\n"),
            (
                "4.17",
                "if it has this tag (lvh:4.17, oci:HOST/REPOSITORY:4.17)",
            ),
            ("6.2.1", "the most similar are 6.1, 6.12\n"),
            ("99", "the most similar is 8.0\n"),
            ("lastest", "the most similar is latest\n"),
            ("lastest", "(lvh:TAG, oci:HOST/REPOSITORY:TAG)"),
            ("lvm:6.6", "kernels.toml has no such name"),
            ("lvh:6.*", "a pattern does not match images"),
            ("6.*.9", "`harness kernels list` lists the names"),
            ("9.*", "unknown kernel \"9.*\": no known kernel matches"),
            ("5.10.3*", "unknown kernel \"5.10.3*\""),
            ("5.[*", "unknown kernel \"5.[*\""),
            ("5.10.", "unknown kernel \"5.10.\""),
            ("5.10.1/../x", "unknown kernel"),
            ("", "no kernel is named"),
            (" , ", "no kernel is named"),
        ];
        for (word, message) in cases {
            let error = expand(&[word]).unwrap_err();
            assert_eq!(crate::support::error::exit_code(&error), 2, "{word}");
            assert!(
                error.to_string().contains(message),
                "{error} should say {message}"
            );
        }
    }
}
