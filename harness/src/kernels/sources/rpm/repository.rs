//! A repository: `repomd.xml`, which may be signed, and the list of packages whose checksum it has.

use std::io::{BufReader, Read};

use anyhow::{Context, Result, bail};
use rpm_version::rpm_evr_compare;
use serde::Deserialize;

use super::metadata::{self, Primary};
use crate::kernels::download::http::{Client, Expected};
use crate::kernels::download::unpack::uncompressed;
use crate::kernels::files::manifest::digest;
use crate::kernels::sources::index::Index;
use crate::kernels::sources::lists::{Files, Listing};
use crate::kernels::sources::url::is_url;
use crate::kernels::trust::keys::Keys;
use crate::kernels::trust::openpgp::Keyring;
use crate::support::progress::Notes;

/// Limits for `repomd.xml`, and for the list of packages, also uncompressed.
const MAX_REPOMD: u64 = 16 << 20;
const MAX_PRIMARY: u64 = 2 << 30;

const REPOMD: &str = "repomd.xml";
const SIGNATURE: &str = "repomd.xml.asc";
const PRIMARY: &str = "primary";
const MIRROR_LIST: &str = "mirror.list";

/// The RPM repositories of a distribution in `kernels.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Repositories {
    /// Base addresses, tried in this order.
    pub(crate) mirrors: Vec<String>,
    /// The paths of the repositories below a mirror; of several, the newest kernel counts. A path that ends in
    /// `mirror.list` is a file with the URL of the repository.
    repositories: Vec<String>,
    /// As `x86_64`.
    #[serde(default = "x86_64")]
    architecture: String,
    /// The keys that sign its packages.
    #[serde(alias = "keyring")]
    pub(crate) keys: Keys,
    /// Whether these keys also sign `repomd.xml`; if so, one without a signature is refused.
    #[serde(default)]
    signed_metadata: bool,
}

fn x86_64() -> String {
    "x86_64".to_owned()
}

impl Repositories {
    /// The repositories.
    pub(crate) fn listings(&self) -> Vec<Box<dyn Listing + '_>> {
        let repository = |path| Box::new(Repository { of: self, path }) as Box<dyn Listing>;
        self.repositories
            .iter()
            .map(|path| repository(path))
            .collect()
    }
}

/// One repository.
struct Repository<'a> {
    of: &'a Repositories,
    path: &'a str,
}

impl Listing for Repository<'_> {
    fn name(&self) -> &str {
        self.path
    }

    fn id(&self) -> String {
        let key = format!("{} {}", self.of.mirrors.join(" "), self.of.architecture);
        let name = self.path.replace('/', "_");
        format!("{name}-{}", &digest(key.as_bytes())[..12])
    }

    fn mirrors(&self) -> &[String] {
        &self.of.mirrors
    }

    fn file_names(&self) -> &'static [&'static str] {
        &[PRIMARY, MIRROR_LIST, SIGNATURE, REPOMD]
    }

    fn fetch(
        &self,
        client: &Client,
        base: &str,
        keyring: &Keyring,
        notes: &Notes<'_>,
    ) -> Result<(Files, Index)> {
        let mut files = Files::new();
        if self.path.ends_with(MIRROR_LIST) {
            let list = client.get(&format!("{base}/{}", self.path), MAX_REPOMD, notes)?;
            files.insert(MIRROR_LIST, list);
        }
        let folder = self.folder(&files)?;
        let url = match is_url(&folder) {
            true => folder.clone(),
            false => format!("{base}/{folder}"),
        };
        let repomd = format!("{url}/repodata/{REPOMD}");
        files.insert(REPOMD, client.get(&repomd, MAX_REPOMD, notes)?);
        if self.of.signed_metadata {
            let signature = client.get(&format!("{repomd}.asc"), MAX_REPOMD, notes)?;
            files.insert(SIGNATURE, signature);
        }
        let context = || repomd.clone();
        let (primary, verified_by) = self.repomd(&files, keyring).with_context(context)?;
        let location = format!("{url}/{}", primary.path);
        let bytes = client.get(&location, primary.size.unwrap_or(MAX_PRIMARY), notes)?;
        primary.expected().check_bytes(&location, &bytes)?;
        let index = self
            .index(&bytes, &folder, verified_by)
            .with_context(|| location)?;
        files.insert(PRIMARY, bytes);
        Ok((files, index))
    }

    fn verify(&self, files: &Files, keyring: &Keyring) -> Result<Index> {
        let (primary, verified_by) = self.repomd(files, keyring)?;
        let bytes = files.get(PRIMARY).context("it has no list of packages")?;
        primary.expected().check_bytes(PRIMARY, bytes)?;
        self.index(bytes, &self.folder(files)?, verified_by)
    }
}

impl Repository<'_> {
    /// The path of the repository below a mirror, or its URL.
    fn folder(&self, files: &Files) -> Result<String> {
        let Some(list) = files.get(MIRROR_LIST) else {
            return Ok(self.path.trim_end_matches('/').to_owned());
        };
        let list = String::from_utf8_lossy(list);
        let first = list.lines().map(str::trim).find(|line| !line.is_empty());
        match first {
            Some(url) if is_url(url) => Ok(url.trim_end_matches('/').to_owned()),
            _ => bail!("{} does not begin with the URL of a repository", self.path),
        }
    }

    /// Where `repomd.xml` says that the packages are listed, and what verified it.
    fn repomd(&self, files: &Files, keyring: &Keyring) -> Result<(Primary, String)> {
        let repomd = files.get(REPOMD).context("it has no repomd.xml")?;
        let path = self.path;
        let verified_by = if self.of.signed_metadata {
            let signature = files.get(SIGNATURE).context("it has no repomd.xml.asc")?;
            let fingerprint =
                keyring.verify_detached(repomd, &String::from_utf8_lossy(signature))?;
            format!(
                "OpenPGP key {}, repomd.xml of {path}; the signature of each package",
                fingerprint.to_uppercase()
            )
        } else {
            let keys = keyring.name();
            format!("the signature of each package by one of the keys {keys}; {path} has no other")
        };
        Ok((metadata::primary(repomd)?, verified_by))
    }

    fn index(&self, primary: &[u8], folder: &str, verified_by: String) -> Result<Index> {
        let text = BufReader::new(uncompressed(primary)?.take(MAX_PRIMARY));
        Ok(Index {
            entries: metadata::packages(text, &self.of.architecture, folder)?,
            order: rpm_evr_compare,
            valid_until: None,
            verified_by,
        })
    }
}

impl Primary {
    fn expected(&self) -> Expected<'_> {
        Expected {
            size: self.size,
            sha256: &self.sha256,
            according_to: REPOMD,
        }
    }
}
