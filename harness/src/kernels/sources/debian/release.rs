//! `Release`: the signed list of an archive's index files.

use std::time::SystemTime;

use anyhow::{Context, Result, bail};

use crate::kernels::source::is_sha256;

/// The signed text of `InRelease`, or `Release`.
#[derive(Debug)]
pub(crate) struct Release {
    text: String,
}

/// The entry of an index file in `Release`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    /// In bytes.
    pub(crate) size: u64,
    /// Lower-case hexadecimal.
    pub sha256: String,
}

impl Release {
    /// Parses a text whose signature is verified, and checks that it is for `suite`.
    ///
    /// The keys of an archive sign all of its suites: without this check an attacker could substitute another suite.
    pub(crate) fn new(text: String, suite: &str) -> Result<Self> {
        let release = Self { text };
        if ["Suite", "Codename"]
            .iter()
            .all(|name| release.field(name) != Some(suite))
        {
            bail!(
                "the archive answered for suite {} instead of {suite}",
                release
                    .field("Codename")
                    .or(release.field("Suite"))
                    .unwrap_or("(unnamed)")
            );
        }
        Ok(release)
    }

    /// The size and checksum of an index file, named relative to the folder of the suite.
    pub(crate) fn find(&self, path: &str) -> Result<Listed> {
        let mut in_list = false;
        for line in self.text.lines() {
            if !line.starts_with(' ') {
                in_list = line.trim_end() == "SHA256:";
                continue;
            }
            let mut words = line.split_ascii_whitespace();
            let (Some(sha256), Some(size), Some(name)) = (words.next(), words.next(), words.next())
            else {
                continue;
            };
            if in_list && name == path {
                if !is_sha256(sha256) {
                    bail!("the release file has a malformed checksum for {path}");
                }
                let size = size
                    .parse()
                    .with_context(|| format!("the release file has no size for {path}"))?;
                return Ok(Listed {
                    size,
                    sha256: sha256.to_ascii_lowercase(),
                });
            }
        }
        bail!("the release file does not list {path} with a SHA256")
    }

    /// The date of the file.
    pub(crate) fn date(&self) -> Option<&str> {
        self.field("Date")
    }

    /// The end of its validity, if that is in the past.
    ///
    /// Only a note: an attacker may withhold newer kernels with an old file, but an old file also comes from a cache without
    /// network or from an archive whose support has ended, and tests of old kernels need old files.
    pub(crate) fn expired(&self, now: SystemTime) -> Option<&str> {
        let until = self.field("Valid-Until")?;
        let end = httpdate::parse_http_date(&until.replace(" UTC", " GMT")).ok()?;
        (end < now).then_some(until)
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const SHA: &str = "1f75f55a8e77228bd1dba6eba18622ca2882fb9bbe189a0c43e2480fc4eb70a1";

    fn text() -> String {
        format!(
            "Origin: Debian\r\nSuite: stable-security\r\nCodename: trixie-security\r\n\
             Date: Sat, 21 Nov 2026 00:53:03 UTC\r\nValid-Until: Sat, 28 Nov 2026 00:53:03 UTC\r\n\
             MD5Sum:\r\n d41d8cd98f00b204e9800998ecf8427e 0 main/binary-amd64/Packages.xz\r\n\
             SHA256:\r\n {SHA}   311880 main/binary-amd64/Packages.xz\r\n abc 1 bad\r\n {SHA} x worse\r\n"
        )
    }

    #[test]
    fn finds_a_file_in_the_sha256_list() {
        let release = Release::new(text(), "trixie-security").unwrap();
        assert_eq!(
            release.find("main/binary-amd64/Packages.xz").unwrap(),
            Listed {
                size: 311_880,
                sha256: SHA.into()
            }
        );
        assert!(release.find("main/binary-arm64/Packages.xz").is_err());
        assert!(
            release
                .find("bad")
                .unwrap_err()
                .to_string()
                .contains("malformed")
        );
        assert!(release.find("worse").is_err());
        assert_eq!(release.date(), Some("Sat, 21 Nov 2026 00:53:03 UTC"));
    }

    #[test]
    fn release_of_another_suite_is_refused() {
        assert!(Release::new(text(), "stable-security").is_ok());
        let error = Release::new(text(), "bookworm-security")
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "the archive answered for suite trixie-security instead of bookworm-security"
        );
        assert!(Release::new(String::new(), "sid").is_err());
    }

    #[test]
    fn reads_valid_until() {
        let release = Release::new(text(), "trixie-security").unwrap();
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_827_183);
        assert_eq!(release.expired(end - Duration::from_secs(60)), None);
        assert_eq!(
            release.expired(end + Duration::from_secs(60)),
            Some("Sat, 28 Nov 2026 00:53:03 UTC")
        );
        let eternal = Release::new("Suite: sid\n".into(), "sid").unwrap();
        assert_eq!(eternal.expired(end), None);
    }
}
