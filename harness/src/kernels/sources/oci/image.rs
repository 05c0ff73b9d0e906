//! The name of an image: `oci:ghcr.io/cilium/ci-kernels:6.6`, or `lvh:6.6`, whose repository is in `kernels.toml`.

use std::collections::BTreeMap;

use anyhow::Result;
use oci_spec::distribution::Reference;
use oci_spec::image::{Digest, DigestAlgorithm};
use serde::Deserialize;

use crate::kernels::source::{Kind, Source};
use crate::support::error::usage;

/// The prefix of the name of any image.
pub(crate) const OCI: &str = "oci";

/// Short names of repositories, as `lvh`.
pub(crate) type Repositories = BTreeMap<String, Repository>;

/// A repository in `kernels.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Repository {
    /// As `quay.io/lvh-images/kernel-images`.
    repository: String,
    /// The end of the newest tag of a series, as `-main`. A name that ends with it, or with the version of a build
    /// (`-20260817.013106`), is a whole tag.
    #[serde(default)]
    newest: String,
}

/// An image in a registry.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    scheme: &'static str,
    reference: Reference,
    /// The digest in its name.
    pub(crate) digest: Option<String>,
}

impl Image {
    /// The image that a name means; none if it is not the name of an image.
    pub(crate) fn named(name: &str, repositories: &Repositories) -> Result<Option<Self>> {
        let Some((prefix, rest)) = name.split_once(':') else {
            return Ok(None);
        };
        let image = match repositories.get(prefix) {
            Some(repository) => repository.image(rest),
            None if prefix == OCI => rest.to_owned(),
            None => return Ok(None),
        };
        let image = match rest.contains(['*', '?']) {
            true => Err("a pattern does not match images: name one tag".to_owned()),
            false => Self::parse(&image),
        };
        image
            .map(Some)
            .map_err(|why| usage(format!("the kernel {name:?}: {why}")))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let (scheme, text) = match text.split_once("://") {
            Some(("http", rest)) => (Some("http"), rest),
            Some(("https", rest)) => (Some("https"), rest),
            Some((other, _)) => return Err(format!("{other} is neither http nor https")),
            None => (None, text),
        };
        let reference: Reference = text.parse().map_err(|why| {
            format!("{text:?} does not name an image, as HOST/REPOSITORY:TAG does: {why}")
        })?;
        let digest = reference.digest().map(sha256).transpose()?;
        Ok(Self {
            scheme: scheme.unwrap_or(match is_loopback(reference.registry()) {
                true => "http",
                false => "https",
            }),
            digest,
            reference,
        })
    }

    /// As `quay.io/lvh-images/kernel-images`.
    pub(crate) fn repository(&self) -> String {
        format!(
            "{}/{}",
            self.reference.registry(),
            self.reference.repository()
        )
    }

    pub(crate) fn tag(&self) -> Option<&str> {
        self.reference.tag()
    }

    /// Whether a kernel is from this image: the one with its digest, or one that its tag meant.
    pub(crate) fn is(&self, source: &Source) -> bool {
        let version = &*source.package_version;
        let (tag, digest) = match version.split_once('@') {
            Some((tag, digest)) => (Some(tag), digest),
            None => (None, version),
        };
        source.kind == Kind::Oci
            && source.name == self.repository()
            && match &self.digest {
                Some(own) => own == digest,
                None => self.tag() == tag,
            }
    }

    /// What verifies the registry's answers.
    pub(crate) fn transport(&self) -> &'static str {
        match self.scheme {
            "https" => "TLS",
            _ => "plain HTTP",
        }
    }

    /// The base of its addresses.
    pub(crate) fn url(&self) -> String {
        format!(
            "{}://{}/v2/{}",
            self.scheme,
            self.reference.resolve_registry(),
            self.reference.repository()
        )
    }
}

impl Repository {
    fn image(&self, name: &str) -> String {
        let Self { repository, newest } = self;
        let (tag, digest) = match name.split_once('@') {
            Some((tag, digest)) => (tag, format!("@{digest}")),
            None => (name, String::new()),
        };
        let is_whole = newest.is_empty() || tag.ends_with(newest) || is_build(tag);
        match (tag.is_empty(), is_whole) {
            (true, _) if !digest.is_empty() => format!("{repository}{digest}"),
            (_, true) => format!("{repository}:{tag}{digest}"),
            (_, false) => format!("{repository}:{tag}{newest}{digest}"),
        }
    }
}

/// Whether the tag ends with the version of a build, as `-20260817.013106`.
fn is_build(tag: &str) -> bool {
    let is_number = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    tag.rsplit_once('-')
        .and_then(|(_, version)| version.split_once('.'))
        .is_some_and(|(day, time)| is_number(day) && is_number(time))
}

/// A digest in its only accepted form.
fn sha256(text: &str) -> Result<String, String> {
    let digest: Digest = text.parse().map_err(|why| format!("{why}"))?;
    match digest.algorithm() {
        DigestAlgorithm::Sha256 => Ok(digest.to_string()),
        other => Err(format!("a digest by {other} is not supported: use sha256")),
    }
}

/// As docker and crane do, a registry on this machine is asked over plain HTTP.
fn is_loopback(registry: &str) -> bool {
    let host = registry.split(':').next().unwrap_or(registry);
    host == "localhost"
        || host
            .parse()
            .is_ok_and(|address: std::net::Ipv4Addr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repositories() -> Repositories {
        toml::from_str(
            "lvh = { repository = 'quay.io/lvh-images/kernel-images', newest = '-main' }\n\
             ci-kernels = { repository = 'ghcr.io/cilium/ci-kernels' }",
        )
        .unwrap()
    }

    fn manifest(name: &str) -> String {
        let image = Image::named(name, &repositories()).unwrap().unwrap();
        let version = image.digest.clone();
        let version = version.or(image.tag().map(str::to_owned)).unwrap();
        format!("{} {version}", image.url())
    }

    #[test]
    fn names_of_images() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let lvh = "https://quay.io/v2/lvh-images/kernel-images";
        let cases = [
            ("lvh:6.6", format!("{lvh} 6.6-main")),
            ("lvh:bpf-next", format!("{lvh} bpf-next-main")),
            ("lvh:rhel8.10", format!("{lvh} rhel8.10-main")),
            ("lvh:6.6-main", format!("{lvh} 6.6-main")),
            (
                "lvh:6.6-20260817.013106",
                format!("{lvh} 6.6-20260817.013106"),
            ),
            (&*format!("lvh:6.6@{digest}"), format!("{lvh} {digest}")),
            (&*format!("lvh:@{digest}"), format!("{lvh} {digest}")),
            (
                "ci-kernels:6.6",
                "https://ghcr.io/v2/cilium/ci-kernels 6.6".into(),
            ),
            (
                "oci:a.example/b/c",
                "https://a.example/v2/b/c latest".into(),
            ),
            (
                "oci:localhost:5000/k:1",
                "http://localhost:5000/v2/k 1".into(),
            ),
            ("oci:127.1.2.3/k:1", "http://127.1.2.3/v2/k 1".into()),
            (
                "oci:https://localhost/k:1",
                "https://localhost/v2/k 1".into(),
            ),
            (
                "oci:http://10.0.0.1:5000/k:1",
                "http://10.0.0.1:5000/v2/k 1".into(),
            ),
            (
                "oci:localhost.evil.example/k:1",
                "https://localhost.evil.example/v2/k 1".into(),
            ),
            (
                "oci:busybox",
                "https://index.docker.io/v2/library/busybox latest".into(),
            ),
        ];
        for (name, expected) in cases {
            assert_eq!(manifest(name), expected, "{name}");
        }
    }

    #[test]
    fn other_names_are_not_of_images_and_invalid_ones_are_refused() {
        for name in ["5.10", "ubuntu-22.04", "other:6.6", "https://a/b#sha256=1"] {
            assert!(Image::named(name, &repositories()).unwrap().is_none());
        }
        for (name, message) in [
            ("oci:", "the kernel \"oci:\": \"\" does not name an image"),
            ("lvh:", "does not name an image"),
            (
                "lvh:6.*",
                "the kernel \"lvh:6.*\": a pattern does not match images",
            ),
            ("oci:ftp://a.example/b", "neither http nor https"),
            ("oci:a.example/b@sha256:12", "does not name an image"),
            ("oci:a.example/../b", "does not name an image"),
        ] {
            let error = Image::named(name, &repositories()).unwrap_err();
            assert_eq!(crate::support::error::exit_code(&error), 2, "{name}");
            assert!(error.to_string().contains(message), "{error}");
        }
        let sha512 = format!("oci:a.example/b@sha512:{}", "ab".repeat(64));
        let error = Image::named(&sha512, &repositories()).unwrap_err();
        assert!(error.to_string().contains("use sha256"), "{error}");
    }
}
