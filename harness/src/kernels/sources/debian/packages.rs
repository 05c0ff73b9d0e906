//! `Packages`: the packages of an archive, one stanza for each.

use anyhow::{Context, Result, bail};

use crate::kernels::source::{Artifact, is_sha256};
use crate::kernels::sources::packages::Packages;
use crate::kernels::version;

/// The limit for a package. Kernel packages without debugging symbols are smaller.
const MAX_PACKAGE: u64 = 2 << 30;

/// The fields of a package that the harness needs, as far as the stanza has them.
#[derive(Clone, Copy, Debug, Default)]
struct Stanza<'a> {
    package: &'a str,
    version: Option<&'a str>,
    filename: Option<&'a str>,
    size: Option<&'a str>,
    sha256: Option<&'a str>,
}

/// All packages of an index, in its order.
fn stanzas(text: &str) -> impl Iterator<Item = Stanza<'_>> {
    let mut lines = text.lines();
    std::iter::from_fn(move || {
        let mut stanza = Stanza::default();
        let mut empty = true;
        for line in lines.by_ref() {
            if line.trim_end().is_empty() {
                if empty {
                    continue;
                }
                return Some(stanza);
            }
            empty = false;
            // A line that begins with a blank continues a field. The fields that are needed have one line.
            if line.starts_with([' ', '\t']) {
                continue;
            }
            let Some((name, value)) = line.split_once(':') else {
                continue;
            };
            let value = value.trim();
            match name {
                "Package" => stanza.package = value,
                "Version" => stanza.version = Some(value),
                "Filename" => stanza.filename = Some(value),
                "Size" => stanza.size = Some(value),
                "SHA256" => stanza.sha256 = Some(value),
                _ => {}
            }
        }
        (!empty).then_some(stanza)
    })
}

impl Stanza<'_> {
    fn artifact(&self) -> Result<Artifact> {
        let package = self.package;
        let need = |field: &str, value: Option<&str>| {
            value
                .map(str::to_owned)
                .with_context(|| format!("the package index has no {field} for {package}"))
        };
        let size: u64 = need("Size", self.size)?
            .parse()
            .with_context(|| format!("the Size of {package} is not a number"))?;
        let artifact = Artifact {
            package: package.to_owned(),
            version: need("Version", self.version)?,
            path: need("Filename", self.filename)?,
            size: Some(size),
            sha256: need("SHA256", self.sha256)?.to_ascii_lowercase(),
            url: None,
        };
        if !is_sha256(&artifact.sha256) {
            bail!("the SHA256 of {package} is not 64 hexadecimal digits");
        }
        if size > MAX_PACKAGE {
            bail!("{package} has {size} bytes, more than the limit");
        }
        if artifact.path.starts_with('/') || artifact.path.split('/').any(|part| part == "..") {
            bail!(
                "the Filename of {package} is outside of the archive: {}",
                artifact.path
            );
        }
        Ok(artifact)
    }
}

/// What to search in an index.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Query<'a> {
    /// The series, as `5.10`.
    pub(crate) series: &'a str,
    /// The packages of a kernel.
    pub(crate) packages: &'a Packages,
    /// An upstream version (`5.10.262`), a package version (`5.10.262-1`) or an abi (`5.10.0-46`); the newest
    /// of the series if absent.
    pub(crate) exact: Option<&'a str>,
}

/// The packages of the newest matching kernel, or `None` if there is none.
///
/// Prefers a kernel with all packages to a newer one without some, since archives publish and remove the packages of a
/// kernel one by one. A kernel without a required package does not count.
pub(crate) fn newest(index: &str, query: Query<'_>) -> Result<Option<Vec<Artifact>>> {
    let mut best: Option<Vec<Artifact>> = None;
    for (abi, version) in kernels(index, query) {
        let find = |patterns: &[String]| parts(index, patterns, abi, version);
        let required = find(&query.packages.required)?;
        if required.len() < query.packages.required.len() {
            continue;
        }
        let optional = find(&query.packages.optional)?;
        let complete = optional.len() == query.packages.optional.len();
        if complete || best.is_none() {
            best = Some([required, optional].concat());
        }
        if complete {
            break;
        }
    }
    Ok(best)
}

/// The matching kernels, the newest first, each as abi and package version.
fn kernels<'a>(index: &'a str, query: Query<'_>) -> Vec<(&'a str, &'a str)> {
    let Some(first) = query.packages.required.first() else {
        return Vec::new();
    };
    let mut found: Vec<_> = stanzas(index)
        .filter_map(|stanza| Some((abi(first, stanza.package)?, stanza.version?)))
        .filter(|(abi, version)| query.accepts(abi, version))
        .collect();
    found.sort_by(|(abi_a, a), (abi_b, b)| {
        version::compare(b, a).then_with(|| version::compare(abi_b, abi_a))
    });
    found
}

/// The packages of this version that the index has.
fn parts(index: &str, patterns: &[String], abi: &str, version: &str) -> Result<Vec<Artifact>> {
    let names: Vec<_> = patterns
        .iter()
        .map(|pattern| pattern.replace("{abi}", abi))
        .collect();
    let mut found = Vec::new();
    for name in &names {
        let stanza = stanzas(index).find(|s| s.package == name && s.version == Some(version));
        found.extend(stanza.map(|stanza| stanza.artifact()).transpose()?);
    }
    Ok(found)
}

/// All upstream versions of a series in an index, the newest first.
pub(crate) fn versions(index: &str, query: Query<'_>) -> Vec<String> {
    let mut found: Vec<_> = kernels(index, query)
        .into_iter()
        .map(|(_, v)| version::upstream(v).to_owned())
        .collect();
    found.dedup();
    found
}

impl Query<'_> {
    fn accepts(&self, abi: &str, version: &str) -> bool {
        let upstream = version::upstream(version);
        let of_series = |s: &str| {
            s.strip_prefix(self.series)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-', '~']))
        };
        of_series(upstream)
            && of_series(abi)
            && abi != self.series
            && self
                .exact
                .is_none_or(|exact| [upstream, version, abi].contains(&exact))
    }
}

/// The part of a package name that matches `{abi}` in the pattern.
pub(crate) fn abi<'a>(pattern: &str, package: &'a str) -> Option<&'a str> {
    let (prefix, suffix) = pattern.split_once("{abi}")?;
    package.strip_prefix(prefix)?.strip_suffix(suffix)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA: &str = "e08baa43706ba6e8daff58029b039f46beecfb3b3750c6fa0d6d5ca508a46a43";

    fn stanza(package: &str, version: &str) -> String {
        format!(
            "Package: {package}\nSource: linux (1)\nVersion: {version}\nDescription: a\n kernel\n Size: 7\n .\n\
             Filename: pool/{package}_{version}.deb\nSize: 42\nSHA256: {SHA}\n\n"
        )
    }

    fn packages(required: &[&str], optional: &[&str]) -> Packages {
        let own = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Packages {
            required: own(required),
            optional: own(optional),
        }
    }

    fn single() -> Packages {
        packages(&["linux-image-{abi}-cloud-amd64"], &[])
    }

    fn query<'a>(series: &'a str, packages: &'a Packages) -> Query<'a> {
        Query {
            series,
            packages,
            exact: None,
        }
    }

    #[test]
    fn the_newest_of_a_series() {
        let index: String = [
            ("linux-image-5.10.0-9-cloud-amd64", "5.10.70-1"),
            ("linux-image-5.10.0-46-cloud-amd64", "5.10.262-1"),
            ("linux-image-5.10.0-46-cloud-amd64-unsigned", "5.10.262-1"),
            ("linux-image-5.10.0-46-cloud-amd64-dbg", "5.10.262-1"),
            ("linux-image-5.10.0-45-cloud-amd64", "5.10.259-1"),
            ("linux-image-5.10-cloud-amd64", "5.10.999-1"),
            ("linux-image-5.100.0-1-cloud-amd64", "5.100.1-1"),
            ("linux-image-cloud-amd64", "5.10.999-1"),
        ]
        .map(|(package, version)| stanza(package, version))
        .concat();
        let packages = single();
        let found = newest(&index, query("5.10", &packages)).unwrap().unwrap();
        assert_eq!(
            found,
            [Artifact {
                package: "linux-image-5.10.0-46-cloud-amd64".into(),
                version: "5.10.262-1".into(),
                path: "pool/linux-image-5.10.0-46-cloud-amd64_5.10.262-1.deb".into(),
                size: Some(42),
                sha256: SHA.into(),
                url: None,
            }]
        );
        assert_eq!(
            versions(&index, query("5.10", &packages)),
            ["5.10.262", "5.10.259", "5.10.70"]
        );
        assert_eq!(newest(&index, query("5.1", &packages)).unwrap(), None);
        for exact in ["5.10.70", "5.10.70-1", "5.10.0-9"] {
            let query = Query {
                exact: Some(exact),
                ..query("5.10", &packages)
            };
            assert_eq!(
                newest(&index, query).unwrap().unwrap()[0].version,
                "5.10.70-1",
                "{exact}"
            );
        }
        let missing = Query {
            exact: Some("5.10.1"),
            ..query("5.10", &packages)
        };
        assert_eq!(newest(&index, missing).unwrap(), None);
    }

    #[test]
    fn incomplete_kernel_is_skipped() {
        let (binary, modules) = (
            "linux-binary-{abi}-cloud-amd64",
            "linux-modules-{abi}-cloud-amd64",
        );
        let index = [
            stanza("linux-binary-7.3.5+deb13-cloud-amd64", "7.3.5-1"),
            stanza("linux-binary-7.3.4+deb13-cloud-amd64", "7.3.4-1"),
            stanza("linux-modules-7.3.4+deb13-cloud-amd64", "7.3.4-1"),
            stanza("linux-modules-7.3.5+deb13-cloud-amd64", "7.3.5-2"),
            stanza("linux-binary-7.2.1+deb13-cloud-amd64", "7.2.1-1"),
            stanza("linux-binary-7.2.2+deb13-cloud-amd64", "7.2.2-1"),
        ]
        .concat();
        let names = |series: &str, packages: &Packages| {
            let found = newest(&index, query(series, packages)).unwrap();
            found.map(|found| found.iter().map(|a| a.path.clone()).collect::<Vec<_>>())
        };
        let both = [
            "pool/linux-binary-7.3.4+deb13-cloud-amd64_7.3.4-1.deb".to_owned(),
            "pool/linux-modules-7.3.4+deb13-cloud-amd64_7.3.4-1.deb".to_owned(),
        ];
        let all_required = packages(&[binary, modules], &[]);
        let modules_optional = packages(&[binary], &[modules]);
        assert_eq!(names("7.3", &all_required).unwrap(), both);
        assert_eq!(names("7.3", &modules_optional).unwrap(), both);
        assert_eq!(names("7.2", &all_required), None);
        assert_eq!(
            names("7.2", &modules_optional).unwrap(),
            ["pool/linux-binary-7.2.2+deb13-cloud-amd64_7.2.2-1.deb"]
        );
    }

    #[test]
    fn malformed_text_does_not_panic() {
        let good = stanza("linux-image-6.1.0-1-cloud-amd64", "6.1.1-1");
        let packages = single();
        for index in [
            good.clone(),
            good.trim_end().to_owned(),
            good.replace('\n', "\r\n"),
            format!("\n\n \n{good}\n\n"),
            format!("no colon\nPackage\n: x\n\n{good}"),
            format!("Package: linux-image-6.1.0-2-cloud-amd64\n\n{good}"),
        ] {
            let found = newest(&index, query("6.1", &packages)).unwrap().unwrap();
            assert_eq!(
                (found[0].version.as_str(), found[0].size),
                ("6.1.1-1", Some(42)),
                "{index:?}"
            );
        }
        assert_eq!(newest("", query("6.1", &packages)).unwrap(), None);
    }

    #[test]
    fn invalid_field_is_named() {
        let good = stanza("linux-image-6.1.0-1-cloud-amd64", "6.1.1-1");
        let packages = single();
        for (index, message) in [
            (good.replace("\nSHA256: ", "\nMD5: "), "no SHA256"),
            (good.replace(SHA, "abc"), "not 64 hexadecimal digits"),
            (
                good.replace("\nSize: 42", "\nSize: many"),
                "is not a number",
            ),
            (
                good.replace("\nSize: 42", "\nSize: 99999999999"),
                "more than the limit",
            ),
            (good.replace("pool/", "/etc/"), "is outside of the archive"),
            (
                good.replace("pool/", "pool/../../"),
                "is outside of the archive",
            ),
            (good.replace("\nFilename", "\nFile"), "no Filename"),
        ] {
            let error = format!("{:#}", newest(&index, query("6.1", &packages)).unwrap_err());
            assert!(error.contains(message), "{error} should say {message}");
            assert!(error.contains("linux-image-6.1.0-1-cloud-amd64"), "{error}");
        }
    }
}
