//! `repomd.xml`, which lists the metadata of a repository, and `primary.xml`, which lists its packages.

use std::io::BufRead;

use anyhow::{Context, Result, bail};
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};
use url::Url;

use crate::kernels::source::is_sha256;
use crate::kernels::sources::index::Entry;

/// The list of packages, as `repomd.xml` describes it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Primary {
    /// Its path below the repository.
    pub(crate) path: String,
    /// Lower-case hexadecimal.
    pub(crate) sha256: String,
    pub(crate) size: Option<u64>,
}

/// An element with its text or its attributes, and the names of those that it is in.
struct Element<'a> {
    name: &'a str,
    parents: &'a [String],
    start: &'a BytesStart<'static>,
    text: &'a str,
}

impl Element<'_> {
    fn attribute(&self, name: &str) -> Option<String> {
        let attribute = self.start.try_get_attribute(name).ok()??;
        Some(
            attribute
                .normalized_value(XmlVersion::Implicit1_0)
                .ok()?
                .into_owned(),
        )
    }

    fn is_in(&self, parent: &str) -> bool {
        self.parents.last().is_some_and(|last| last == parent)
    }
}

/// Calls `each` at the end of each element.
fn elements(source: impl BufRead, mut each: impl FnMut(&Element<'_>)) -> Result<()> {
    let mut reader = Reader::from_reader(source);
    reader.config_mut().trim_text(true);
    let mut open: Vec<String> = Vec::new();
    let mut starts: Vec<(BytesStart<'static>, String)> = Vec::new();
    let mut buffer = Vec::new();
    loop {
        let event = reader
            .read_event_into(&mut buffer)
            .context("it is not XML")?;
        match event {
            Event::Start(start) => {
                let name = String::from_utf8_lossy(start.local_name().as_ref()).into_owned();
                open.push(name);
                starts.push((start.into_owned(), String::new()));
            }
            Event::Empty(start) => {
                let name = String::from_utf8_lossy(start.local_name().as_ref()).into_owned();
                each(&Element {
                    name: &name,
                    parents: &open,
                    start: &start.into_owned(),
                    text: "",
                });
            }
            Event::Text(text) => {
                if let Some((_, all)) = starts.last_mut() {
                    all.push_str(&text.decode().context("it is not UTF-8")?);
                }
            }
            Event::End(_) => {
                if let (Some(name), Some((start, text))) = (open.pop(), starts.pop()) {
                    each(&Element {
                        name: &name,
                        parents: &open,
                        start: &start,
                        text: &text,
                    });
                }
            }
            Event::Eof => return Ok(()),
            _ => {}
        }
        buffer.clear();
    }
}

/// Finds the list of packages in `repomd.xml`.
pub(crate) fn primary(repomd: &[u8]) -> Result<Primary> {
    let (mut path, mut sha256, mut size) = (None, None, None);
    let mut found = None;
    elements(repomd, |element| match element.name {
        "location" if element.is_in("data") => path = element.attribute("href"),
        "checksum" if element.is_in("data") => {
            let is_sha256 = element.attribute("type").as_deref() == Some("sha256");
            sha256 = is_sha256.then(|| element.text.to_ascii_lowercase());
        }
        "size" if element.is_in("data") => size = element.text.parse().ok(),
        "data" => {
            let one = (path.take(), sha256.take(), size.take());
            if element.attribute("type").as_deref() == Some("primary") {
                found = Some(one);
            }
        }
        _ => {}
    })
    .context("repomd.xml cannot be read")?;
    let Some((Some(path), Some(sha256), size)) = found else {
        bail!("repomd.xml lists no packages with a SHA-256 (type primary)");
    };
    if !is_sha256(&sha256) || path.starts_with('/') || path.split('/').any(|part| part == "..") {
        bail!("repomd.xml describes its list of packages wrongly: {path}, SHA-256 {sha256}");
    }
    Ok(Primary { path, sha256, size })
}

/// The packages of an architecture in `primary.xml`, each as `NAME-VERSION-RELEASE`, with paths below `folder`.
pub(crate) fn packages(
    source: impl BufRead,
    architecture: &str,
    folder: &str,
) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let mut entry = Entry::default();
    let mut is_ours = false;
    elements(source, |element| match element.name {
        "name" if element.is_in("package") => entry.package = element.text.to_owned(),
        "arch" if element.is_in("package") => is_ours = element.text == architecture,
        "version" if element.is_in("package") => {
            let part = |name| element.attribute(name).unwrap_or_default();
            entry.version = Some(format!("{}-{}", part("ver"), part("rel")));
        }
        "checksum" if element.is_in("package") => {
            let is_sha256 = element.attribute("type").as_deref() == Some("sha256");
            entry.sha256 = is_sha256.then(|| element.text.to_owned());
        }
        "size" if element.is_in("package") => entry.size = element.attribute("package"),
        "location" if element.is_in("package") => {
            let href = element.attribute("href");
            entry.path = href.map(|href| location(folder, &href));
        }
        "package" => {
            let mut entry = std::mem::take(&mut entry);
            if std::mem::take(&mut is_ours) {
                let version = entry.version.as_deref().unwrap_or_default();
                entry.package = format!("{}-{version}", entry.package);
                entries.push(entry);
            }
        }
        _ => {}
    })
    .context("the list of packages cannot be read")?;
    Ok(entries)
}

/// Where a package is: below the folder of a mirror, or, if that is a URL, where `href` leads to on the same server. Amazon's
/// packages are outside of the folder that lists them.
fn location(folder: &str, href: &str) -> String {
    let on_server = |base: Url| {
        let url = base.join(href).ok()?;
        (url.origin() == base.origin()).then(|| url.to_string())
    };
    Url::parse(&format!("{folder}/"))
        .ok()
        .and_then(on_server)
        .unwrap_or_else(|| format!("{folder}/{href}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA: &str = "e08baa43706ba6e8daff58029b039f46beecfb3b3750c6fa0d6d5ca508a46a43";

    fn repomd(path: &str, checksum: &str) -> String {
        format!(
            r#"<?xml version="1.0"?><repomd xmlns="http://linux.duke.edu/metadata/repo"><revision>1</revision>
            <data type="filelists"><checksum type="sha256">00</checksum><location href="f"/></data>
            <data type="primary"><checksum type="sha256">{checksum}</checksum><open-checksum type="sha256">0</open-checksum>
            <location href="{path}"/><size>42</size></data>
            <data type="other"><checksum type="sha256">11</checksum><location href="o"/></data></repomd>"#
        )
    }

    #[test]
    fn repomd_names_the_list_of_packages() {
        let good = repomd("repodata/1-primary.xml.gz", &SHA.to_uppercase());
        assert_eq!(
            primary(good.as_bytes()).unwrap(),
            Primary {
                path: "repodata/1-primary.xml.gz".into(),
                sha256: SHA.into(),
                size: Some(42)
            }
        );
        for (text, message) in [
            (
                good.replace("primary\"", "secondary\""),
                "lists no packages",
            ),
            (good.replace("sha256", "sha"), "lists no packages"),
            (repomd("../x", SHA), "wrongly"),
            (repomd("/x", SHA), "wrongly"),
            (repomd("x", "abc"), "wrongly"),
            (good.replace("</data>", "</date>"), "cannot be read"),
            (String::new(), "lists no packages"),
        ] {
            let error = format!("{:#}", primary(text.as_bytes()).unwrap_err());
            assert!(error.contains(message), "{error} should say {message}");
        }
    }

    #[test]
    fn package_may_be_elsewhere_on_the_server_but_on_no_other() {
        let folder = "https://cdn.test/al2023/core/guids/1a/x86_64";
        for (folder, href, expected) in [
            (
                folder,
                "../../../../blobstore/2b/kernel.rpm",
                "https://cdn.test/al2023/blobstore/2b/kernel.rpm",
            ),
            (
                folder,
                "Packages/kernel.rpm",
                "https://cdn.test/al2023/core/guids/1a/x86_64/Packages/kernel.rpm",
            ),
            (
                folder,
                "https://other.test/kernel.rpm",
                "https://cdn.test/al2023/core/guids/1a/x86_64/https://other.test/kernel.rpm",
            ),
            ("9/os", "../kernel.rpm", "9/os/../kernel.rpm"),
        ] {
            assert_eq!(location(folder, href), expected);
        }
    }

    #[test]
    fn packages_of_an_architecture() {
        let package = |name: &str, arch: &str| {
            format!(
                r#"<package type="rpm"><name>{name}</name><arch>{arch}</arch>
                <version epoch="0" ver="5.14.0" rel="570.12.1.el9_6"/>
                <checksum type="sha256" pkgid="YES">{SHA}</checksum><summary>a &amp; b</summary>
                <size package="42" installed="7" archive="8"/><location href="Packages/{name}.rpm"/>
                <format><rpm:provides><rpm:entry name="x"/></rpm:provides><file>/boot</file></format></package>"#
            )
        };
        let text = format!(
            r#"<metadata xmlns:rpm="http://linux.duke.edu/metadata/rpm">{}{}</metadata>"#,
            package("kernel-core", "aarch64"),
            package("kernel-core", "x86_64")
        );
        let found = packages(text.as_bytes(), "x86_64", "9/os").unwrap();
        let artifact = found[0].artifact().unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(artifact.package, "kernel-core-5.14.0-570.12.1.el9_6");
        assert_eq!(artifact.version, "5.14.0-570.12.1.el9_6");
        assert_eq!(artifact.path, "9/os/Packages/kernel-core.rpm");
        assert_eq!((artifact.size, artifact.sha256.as_str()), (Some(42), SHA));
        for malformed in [&text[..text.len() / 2], "<a><b></a>"] {
            drop(packages(malformed.as_bytes(), "x86_64", ""));
        }
    }
}
