//! Which keys to trust: those in the repository, or one that is named by its fingerprint and fetched.

use std::fs;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::openpgp::Keyring;
use crate::kernels::cache::{Cache, write_atomically};
use crate::kernels::download::http::Client;

/// Far larger than any key.
const MAX_KEY: u64 = 4 << 20;

/// A key that is not in the repository. Its fingerprint is the anchor: no other key has the same.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RemoteKey {
    /// Of the primary key, 40 hexadecimal digits.
    pub(crate) fingerprint: String,
    /// Where it can be had.
    pub(crate) url: String,
}

impl RemoteKey {
    /// The key, from the cache if it was fetched before.
    pub(crate) fn get(&self, cache: &Cache, client: &Client, offline: bool) -> Result<Keyring> {
        let path = cache.key(&self.fingerprint);
        if let Ok(text) = fs::read_to_string(&path)
            && let Ok(keyring) = Keyring::with_fingerprint(&self.fingerprint, &text)
        {
            return Ok(keyring);
        }
        if offline {
            bail!(
                "key {} is not in the cache, and --offline forbids to fetch it",
                self.fingerprint
            );
        }
        let context = || format!("cannot get key {}", self.fingerprint);
        let bytes = client.get(&self.url, MAX_KEY).with_context(context)?;
        let text = String::from_utf8(bytes).with_context(context)?;
        let keyring = Keyring::with_fingerprint(&self.fingerprint, &text).with_context(context)?;
        // Only saves the next run from fetching it again, so a cache that is read-only may stay as it is.
        if let Some(dir) = path.parent()
            && fs::create_dir_all(dir).is_ok()
        {
            let _ = write_atomically(&path, text.as_bytes());
        }
        Ok(keyring)
    }
}
