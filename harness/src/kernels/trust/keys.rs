//! The trusted keys: those in the repository, and a key that is downloaded by its fingerprint.

use std::fs;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::openpgp::Keyring;
use crate::kernels::cache::{Cache, write_atomically};
use crate::kernels::download::http::Client;
use crate::support::progress::Notes;

/// The limit for a key.
const MAX_KEY: u64 = 4 << 20;

/// The keys of an archive.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "the name of a keyring in keys/, or a list of keys, each with fingerprint and url"
)]
pub(crate) enum Keys {
    /// The name of a keyring in `keys/`.
    Keyring(String),
    /// Keys that are downloaded.
    Remote(Vec<RemoteKey>),
}

/// A key that is not in the repository. Its fingerprint identifies it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RemoteKey {
    /// The fingerprint of the primary key, 40 hexadecimal digits.
    pub(crate) fingerprint: String,
    /// The URLs to download it from.
    pub(crate) url: String,
}

impl RemoteKey {
    /// The key, from the cache or downloaded.
    pub(crate) fn get(
        &self,
        cache: &Cache,
        client: &Client,
        offline: bool,
        notes: &Notes<'_>,
    ) -> Result<Keyring> {
        let path = cache.key(&self.fingerprint);
        if let Ok(bytes) = fs::read(&path)
            && let Ok(keyring) = Keyring::with_fingerprint(&self.fingerprint, &bytes)
        {
            return Ok(keyring);
        }
        if offline {
            bail!(
                "key {} is not in the cache, and --offline forbids the download",
                self.fingerprint
            );
        }
        let context = || format!("cannot get key {}", self.fingerprint);
        let bytes = client
            .get(&self.url, MAX_KEY, notes)
            .with_context(context)?;
        let keyring = Keyring::with_fingerprint(&self.fingerprint, &bytes).with_context(context)?;
        // Only saves a download in the next run, so a read-only cache is no error.
        if let Some(dir) = path.parent()
            && fs::create_dir_all(dir).is_ok()
        {
            let _ = write_atomically(&path, &bytes);
        }
        Ok(keyring)
    }
}
