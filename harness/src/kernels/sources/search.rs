//! Searches the packages of a kernel in an index.

use std::sync::Arc;

use anyhow::Result;

use super::index::{Entry, Index};
use crate::kernels::source::Artifact;
use crate::kernels::sources::packages::{Packages, abi};
use crate::kernels::version;

/// What to search in an index.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Query<'a> {
    /// The upstream version of the series, as `5.10`; any version if absent.
    pub(crate) series: Option<&'a str>,
    /// The packages of a kernel.
    pub(crate) packages: &'a Packages,
    /// An upstream version (`5.10.262`), a package version (`5.10.262-1`) or an abi (`5.10.0-46`); the newest
    /// of the series if absent.
    pub(crate) exact: Option<&'a str>,
}

/// The newest matching kernel of several indices, with the index that lists it. A complete one comes first.
pub(crate) fn newest_of<'a>(
    indices: &'a [Arc<Index>],
    query: Query<'_>,
) -> Result<Option<(Vec<Artifact>, &'a Index)>> {
    let mut best: Option<(Vec<Artifact>, &Index)> = None;
    for index in indices {
        let Some(found) = newest(index, query)? else {
            continue;
        };
        let better = best.as_ref().is_none_or(|(best, _)| {
            let complete = |artifacts: &[Artifact]| query.packages.is_complete(artifacts);
            complete(&found)
                .cmp(&complete(best))
                .then_with(|| (index.order)(&found[0].version, &best[0].version))
                .is_gt()
        });
        if better {
            best = Some((found, index));
        }
    }
    Ok(best)
}

/// The packages of the newest matching kernel, or `None` if there is none.
///
/// Prefers a kernel with all packages to a newer one without some, since archives publish and remove the packages of a
/// kernel one by one. A kernel without a required package does not count.
pub(crate) fn newest(index: &Index, query: Query<'_>) -> Result<Option<Vec<Artifact>>> {
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
fn kernels<'a>(index: &'a Index, query: Query<'_>) -> Vec<(&'a str, &'a str)> {
    let Some(first) = query.packages.required.first() else {
        return Vec::new();
    };
    let of_first =
        |entry: &'a Entry| Some((abi(first, &entry.package)?, entry.version.as_deref()?));
    let mut found: Vec<_> = index
        .entries
        .iter()
        .filter_map(of_first)
        .filter(|(abi, version)| query.accepts(abi, version))
        .collect();
    found.sort_by(|(abi_a, a), (abi_b, b)| {
        (index.order)(b, a).then_with(|| (index.order)(abi_b, abi_a))
    });
    found
}

/// The packages of this version that the index has.
fn parts(index: &Index, patterns: &[String], abi: &str, version: &str) -> Result<Vec<Artifact>> {
    let names: Vec<_> = patterns
        .iter()
        .map(|pattern| pattern.replace("{abi}", abi))
        .collect();
    let mut found = Vec::new();
    for name in &names {
        let is_it =
            |entry: &&Entry| entry.package == *name && entry.version.as_deref() == Some(version);
        let entry = index.entries.iter().find(is_it);
        found.extend(entry.map(Entry::artifact).transpose()?);
    }
    Ok(found)
}

/// All upstream versions of a series in an index, the newest first.
pub(crate) fn versions(index: &Index, query: Query<'_>) -> Vec<String> {
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
        let of_series = |s: &str| match self.series {
            Some(series) => s
                .strip_prefix(series)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-', '~'])),
            None => s.starts_with(|c: char| c.is_ascii_digit()),
        };
        of_series(upstream)
            && of_series(abi)
            && self.series != Some(abi)
            && self
                .exact
                .is_none_or(|exact| [upstream, version, abi].contains(&exact))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::sources::debian::packages::parse;

    const SHA: &str = "e08baa43706ba6e8daff58029b039f46beecfb3b3750c6fa0d6d5ca508a46a43";

    fn stanza(package: &str, version: &str) -> String {
        format!(
            "Package: {package}\nSource: linux (1)\nVersion: {version}\nDescription: a\n kernel\n Size: 7\n .\n\
             Filename: pool/{package}_{version}.deb\nSize: 42\nSHA256: {SHA}\n\n"
        )
    }

    fn parsed(text: &str) -> Index {
        Index {
            entries: parse(text),
            order: version::compare,
            valid_until: None,
            verified_by: String::new(),
        }
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
            series: Some(series),
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
        let found = newest(&parsed(&index), query("5.10", &packages))
            .unwrap()
            .unwrap();
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
            versions(&parsed(&index), query("5.10", &packages)),
            ["5.10.262", "5.10.259", "5.10.70"]
        );
        assert_eq!(
            newest(&parsed(&index), query("5.1", &packages)).unwrap(),
            None
        );
        for exact in ["5.10.70", "5.10.70-1", "5.10.0-9"] {
            let query = Query {
                exact: Some(exact),
                ..query("5.10", &packages)
            };
            assert_eq!(
                newest(&parsed(&index), query).unwrap().unwrap()[0].version,
                "5.10.70-1",
                "{exact}"
            );
        }
        let missing = Query {
            exact: Some("5.10.1"),
            ..query("5.10", &packages)
        };
        assert_eq!(newest(&parsed(&index), missing).unwrap(), None);
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
            let found = newest(&parsed(&index), query(series, packages)).unwrap();
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
            let found = newest(&parsed(&index), query("6.1", &packages))
                .unwrap()
                .unwrap();
            assert_eq!(
                (found[0].version.as_str(), found[0].size),
                ("6.1.1-1", Some(42)),
                "{index:?}"
            );
        }
        assert_eq!(newest(&parsed(""), query("6.1", &packages)).unwrap(), None);
    }

    #[test]
    fn invalid_field_is_named() {
        let good = stanza("linux-image-6.1.0-1-cloud-amd64", "6.1.1-1");
        let packages = single();
        for (index, message) in [
            (good.replace("\nSHA256: ", "\nMD5: "), "no SHA-256"),
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
            (good.replace("\nFilename", "\nFile"), "no path"),
        ] {
            let error = format!(
                "{:#}",
                newest(&parsed(&index), query("6.1", &packages)).unwrap_err()
            );
            assert!(error.contains(message), "{error} should say {message}");
            assert!(error.contains("linux-image-6.1.0-1-cloud-amd64"), "{error}");
        }
    }
}
