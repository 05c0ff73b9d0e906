//! A suite of an archive: its signed release file, and the package index that this lists.

use std::io::Read;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};

use super::packages::parse;
use super::release::{Listed, Release};
use crate::kernels::arch::Arch;
use crate::kernels::download::attempt::HttpError;
use crate::kernels::download::http::{Client, Expected};
use crate::kernels::files::manifest::digest;
use crate::kernels::sources::debian::archive::Archive;
use crate::kernels::sources::index::Index;
use crate::kernels::sources::lists::{Files, Listing};
use crate::kernels::trust::openpgp::{Keyring, Signed};
use crate::kernels::version;
use crate::support::progress::Notes;

/// Limits for release files and package indices.
const MAX_RELEASE: u64 = 16 << 20;
const MAX_PACKAGES: u64 = 512 << 20;

const IN_RELEASE: &str = "InRelease";
const RELEASE: &str = "Release";
const SIGNATURE: &str = "Release.gpg";
const PACKAGES: &str = "Packages.xz";

/// One suite of an archive.
pub(crate) struct Suite<'a> {
    pub(crate) archive: &'a Archive,
    pub(crate) arch: Arch,
    /// As `bookworm-security`.
    pub(crate) name: &'a str,
}

impl Archive {
    /// Its suites, with the packages of an architecture.
    pub(crate) fn listings(&self, arch: Arch) -> Vec<Box<dyn Listing + '_>> {
        let suite = |name| {
            Box::new(Suite {
                archive: self,
                arch,
                name,
            }) as Box<dyn Listing>
        };
        self.suites().iter().map(|name| suite(name)).collect()
    }
}

impl Listing for Suite<'_> {
    fn name(&self) -> &str {
        self.name
    }

    fn id(&self) -> String {
        let Archive {
            component, mirrors, ..
        } = self.archive;
        let architecture = self.arch.debian();
        let key = format!("{} {component} {architecture}", mirrors.join(" "));
        format!(
            "{}-{}",
            self.name.replace('/', "_"),
            &digest(key.as_bytes())[..12]
        )
    }

    fn mirrors(&self) -> &[String] {
        &self.archive.mirrors
    }

    /// The packages first: a reader of new packages and an old release file downloads both.
    fn file_names(&self) -> &'static [&'static str] {
        &[PACKAGES, SIGNATURE, RELEASE, IN_RELEASE]
    }

    fn fetch(
        &self,
        client: &Client,
        base: &str,
        keyring: &Keyring,
        notes: &Notes<'_>,
    ) -> Result<(Files, Index)> {
        let suite = format!("{}/dists/{}", base.trim_end_matches('/'), self.name);
        let get = |name: &str| client.get(&format!("{suite}/{name}"), MAX_RELEASE, notes);
        let mut files = Files::new();
        match get(IN_RELEASE) {
            Err(HttpError::NotFound { .. }) => {
                files.insert(RELEASE, get(RELEASE)?);
                files.insert(SIGNATURE, get(SIGNATURE)?);
            }
            other => drop(files.insert(IN_RELEASE, other?)),
        }
        let context = || suite.clone();
        let (signed, release) = self.release(&files, keyring).with_context(context)?;
        let path = self.packages_path();
        let listed = release.find(&path).with_context(context)?;
        let packages = download(client, &suite, &path, &listed, notes)?;
        let index = self
            .index(&signed, &release, &packages)
            .with_context(context)?;
        files.insert(PACKAGES, packages);
        Ok((files, index))
    }

    fn verify(&self, files: &Files, keyring: &Keyring) -> Result<Index> {
        let (signed, release) = self.release(files, keyring)?;
        let path = self.packages_path();
        let packages = file(files, PACKAGES)?;
        release
            .find(&path)?
            .expected()
            .check_bytes(&path, packages)?;
        self.index(&signed, &release, packages)
    }
}

impl Suite<'_> {
    fn packages_path(&self) -> String {
        let (component, architecture) = (&self.archive.component, self.arch.debian());
        format!("{component}/binary-{architecture}/{PACKAGES}")
    }

    /// The release file, whose signature is inline or in a file of its own.
    fn release(&self, files: &Files, keyring: &Keyring) -> Result<(Signed, Release)> {
        let text = |bytes: &[u8]| {
            String::from_utf8(bytes.to_vec()).context("the release file is not text")
        };
        let signed = match files.get(IN_RELEASE) {
            Some(bytes) => keyring.verify_inline(&text(bytes)?)?,
            None => {
                let release = file(files, RELEASE)?;
                let signature = text(file(files, SIGNATURE)?)?;
                Signed {
                    fingerprint: keyring.verify_detached(release, &signature)?,
                    text: text(release)?,
                }
            }
        };
        let release = Release::new(signed.text.clone(), self.name)?;
        Ok((signed, release))
    }

    fn index(&self, signed: &Signed, release: &Release, packages: &[u8]) -> Result<Index> {
        let suite = self.name;
        let mut text = String::new();
        liblzma::read::XzDecoder::new_multi_decoder(packages)
            .take(MAX_PACKAGES)
            .read_to_string(&mut text)
            .context("the package index cannot be unpacked")?;
        let date = release.date().unwrap_or("unknown date");
        Ok(Index {
            entries: parse(&text),
            order: version::compare,
            valid_until: release.expired(SystemTime::now()).map(str::to_owned),
            verified_by: format!(
                "OpenPGP key {}, {suite} of {date}",
                signed.fingerprint.to_uppercase()
            ),
        })
    }
}

/// Downloads by checksum, since the archive may change in between; else by name.
fn download(
    client: &Client,
    suite: &str,
    path: &str,
    listed: &Listed,
    notes: &Notes<'_>,
) -> Result<Vec<u8>> {
    if listed.size > MAX_PACKAGES {
        bail!(
            "{suite}/{path} has {} bytes, more than the limit",
            listed.size
        );
    }
    let folder = path.trim_end_matches(PACKAGES);
    let by_hash = format!("{suite}/{folder}by-hash/SHA256/{}", listed.sha256);
    let plain = format!("{suite}/{path}");
    let (url, bytes) = match client.get(&by_hash, listed.size, notes) {
        Ok(bytes) => (by_hash, bytes),
        Err(_) => {
            let bytes = client.get(&plain, listed.size, notes)?;
            (plain, bytes)
        }
    };
    listed.expected().check_bytes(&url, &bytes)?;
    Ok(bytes)
}

fn file<'a>(files: &'a Files, name: &str) -> Result<&'a [u8]> {
    let bytes = files
        .get(name)
        .with_context(|| format!("{name} is missing"))?;
    Ok(bytes)
}

impl Listed {
    fn expected(&self) -> Expected<'_> {
        Expected {
            size: Some(self.size),
            sha256: &self.sha256,
            according_to: "the signed release file",
        }
    }
}
