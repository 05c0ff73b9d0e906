//! The initramfs: all files of a VM.
//!
//! The format is a `newc` cpio archive. It is not compressed, since decompression costs the guest more than reading,
//! above all in emulation. The same content gives the same bytes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::sync::OnceLock;

use cpio::newc::{self, ModeFileType};
use protocol::job::{JOB_PATH, Job, MODULES_DIR};

/// The name of the entry that ends an archive.
const END: &str = "TRAILER!!!";

/// A file of the image: its absolute path and its content.
pub type File = (String, Vec<u8>);

/// An initramfs. Adding a path creates its parent directories with mode 0755.
#[derive(Clone, Debug)]
pub struct Initramfs<'a> {
    /// By path without the leading slash, so that a directory sorts before its contents.
    nodes: BTreeMap<String, Node<'a>>,
}

#[derive(Clone, Debug)]
struct Node<'a> {
    kind: Kind<'a>,
    permissions: u32,
}

#[derive(Clone, Debug)]
enum Kind<'a> {
    Dir,
    File(Cow<'a, [u8]>),
    Symlink(String),
    CharDevice { major: u32, minor: u32 },
}

/// Why a node cannot be part of an image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// The path is relative, or has an empty part, `.`, `..` or a NUL byte.
    #[error(
        "`{0}` cannot be a path in an initramfs: it must be absolute, without `.`, `..`, empty parts or NUL bytes"
    )]
    Path(String),
    /// A part of the path exists and is not a directory.
    #[error("`{path}` cannot be added to the initramfs: `/{parent}` is not a directory")]
    Parent {
        /// The path.
        path: String,
        /// The part of it that is not a directory.
        parent: String,
    },
    /// The path exists already.
    #[error("`{0}` was added to the initramfs twice")]
    Duplicate(String),
    /// The format has 32 bits for a size.
    #[error("`{0}` is too large for an initramfs: the format ends at 4 GiB")]
    Size(String),
    /// The job cannot be written as JSON.
    #[error("the job cannot be written as JSON: {0}")]
    Job(String),
}

impl Default for Initramfs<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> Initramfs<'a> {
    /// An initramfs with only the root directory.
    pub fn new() -> Self {
        Self {
            nodes: BTreeMap::new(),
        }
    }

    /// Adds a directory, or changes the mode of an existing one.
    pub fn dir(&mut self, path: &str, permissions: u32) -> Result<&mut Self, ImageError> {
        let key = self.make_parents(path)?;
        match self.nodes.get(&key) {
            Some(Node {
                kind: Kind::File(_) | Kind::Symlink(_) | Kind::CharDevice { .. },
                ..
            }) => {
                return Err(ImageError::Duplicate(path.to_owned()));
            }
            Some(_) | None => self.nodes.insert(
                key,
                Node {
                    kind: Kind::Dir,
                    permissions,
                },
            ),
        };
        Ok(self)
    }

    /// Adds a regular file.
    pub fn file(
        &mut self,
        path: &str,
        permissions: u32,
        content: impl Into<Cow<'a, [u8]>>,
    ) -> Result<&mut Self, ImageError> {
        let content = content.into();
        if u32::try_from(content.len()).is_err() {
            return Err(ImageError::Size(path.to_owned()));
        }
        self.add(
            path,
            Node {
                kind: Kind::File(content),
                permissions,
            },
        )
    }

    /// Adds a symbolic link.
    pub fn symlink(&mut self, path: &str, target: &str) -> Result<&mut Self, ImageError> {
        self.add(
            path,
            Node {
                kind: Kind::Symlink(target.to_owned()),
                permissions: 0o777,
            },
        )
    }

    /// Adds a character device.
    pub fn char_device(
        &mut self,
        path: &str,
        permissions: u32,
        (major, minor): (u32, u32),
    ) -> Result<&mut Self, ImageError> {
        self.add(
            path,
            Node {
                kind: Kind::CharDevice { major, minor },
                permissions,
            },
        )
    }

    fn add(&mut self, path: &str, node: Node<'a>) -> Result<&mut Self, ImageError> {
        let key = self.make_parents(path)?;
        if self.nodes.contains_key(&key) {
            return Err(ImageError::Duplicate(path.to_owned()));
        }
        self.nodes.insert(key, node);
        Ok(self)
    }

    /// Adds the parent directories of `path`, and returns its key.
    fn make_parents(&mut self, path: &str) -> Result<String, ImageError> {
        let bad = || ImageError::Path(path.to_owned());
        let key = path.strip_prefix('/').ok_or_else(bad)?;
        if key == END
            || key.contains('\0')
            || key.split('/').any(|part| matches!(part, "" | "." | ".."))
        {
            return Err(bad());
        }
        for (slash, _) in key.match_indices('/') {
            let parent = &key[..slash];
            match self.nodes.get(parent) {
                Some(Node {
                    kind: Kind::Dir, ..
                }) => {}
                Some(_) => {
                    return Err(ImageError::Parent {
                        path: path.to_owned(),
                        parent: parent.to_owned(),
                    });
                }
                None => {
                    self.nodes.insert(
                        parent.to_owned(),
                        Node {
                            kind: Kind::Dir,
                            permissions: 0o755,
                        },
                    );
                }
            }
        }
        Ok(key.to_owned())
    }

    /// Writes the archive.
    pub fn write_to(&self, mut out: impl Write) -> io::Result<()> {
        // Without an entry for the root it keeps the kernel's mode.
        let root = Node {
            kind: Kind::Dir,
            permissions: 0o755,
        };
        let all = std::iter::once((".", &root))
            .chain(self.nodes.iter().map(|(path, node)| (path.as_str(), node)));
        for (inode, (path, node)) in (1..).zip(all) {
            node.write(inode, path, &mut out)?;
        }
        newc::trailer(out)?;
        Ok(())
    }

    /// The archive as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // Writing to a vector cannot fail.
        let _ = self.write_to(&mut bytes);
        bytes
    }
}

impl Node<'_> {
    fn write(&self, inode: u32, path: &str, out: &mut impl Write) -> io::Result<()> {
        let entry = newc::Builder::new(path).ino(inode).mode(self.permissions);
        let (entry, content): (_, &[u8]) = match &self.kind {
            Kind::Dir => (
                entry.nlink(2).set_mode_file_type(ModeFileType::Directory),
                &[],
            ),
            Kind::File(content) => (entry.set_mode_file_type(ModeFileType::Regular), content),
            Kind::Symlink(target) => (
                entry.set_mode_file_type(ModeFileType::Symlink),
                target.as_bytes(),
            ),
            Kind::CharDevice { major, minor } => (
                entry
                    .set_mode_file_type(ModeFileType::Char)
                    .rdev_major(*major)
                    .rdev_minor(*minor),
                &[],
            ),
        };
        let size = u32::try_from(content.len()).map_err(io::Error::other)?;
        let mut writer = entry.write(out, size);
        writer.write_all(content)?;
        writer.finish()?;
        Ok(())
    }
}

/// The initramfs of a VM: `/init`, its job, its kernel modules (`NAME.ko` and content), and more files.
pub fn build(
    init: &[u8],
    job: &Job,
    modules: &[File],
    extra: &[File],
) -> Result<Vec<u8>, ImageError> {
    let mut image = start(init, job, modules)?;
    for (path, content) in extra {
        image.file(path, 0o644, content)?;
    }
    Ok(image.to_bytes())
}

/// The token in each event of this run's guests, so that other programs cannot forge events. The standard library takes
/// the key of each `RandomState` from the system's random numbers.
pub fn token() -> &'static str {
    static TOKEN: OnceLock<String> = OnceLock::new();
    TOKEN.get_or_init(|| {
        let [high, low] = [(); 2].map(|()| RandomState::new().hash_one("fexit"));
        format!("{high:016x}{low:016x}")
    })
}

/// The initramfs of a VM, to which the caller may add files. The job gets this run's [`token`].
///
/// It has `/dev/console` and `/dev/null`, because the kernel does not mount `devtmpfs` on an initramfs, and `/init` has no
/// stdout without the first.
pub fn start<'a>(
    init: &'a [u8],
    job: &Job,
    modules: &'a [File],
) -> Result<Initramfs<'a>, ImageError> {
    let job = Job {
        token: token().to_owned(),
        ..job.clone()
    };
    let job = serde_json::to_vec(&job).map_err(|error| ImageError::Job(error.to_string()))?;
    let mut image = Initramfs::new();
    image
        .char_device("/dev/console", 0o600, (5, 1))?
        .char_device("/dev/null", 0o666, (1, 3))?
        .file("/init", 0o755, init)?
        .file(JOB_PATH, 0o600, job)?
        .dir(MODULES_DIR, 0o755)?;
    for (name, content) in modules {
        image.file(&format!("{MODULES_DIR}/{name}"), 0o644, content)?;
    }
    Ok(image)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_precede_their_entries_in_any_call_order() {
        let (mut a, mut b) = (Initramfs::new(), Initramfs::new());
        a.file("/x/y/z", 0o644, &b"z"[..])
            .unwrap()
            .dir("/x-", 0o700)
            .unwrap();
        b.dir("/x-", 0o700).unwrap().dir("/x/y", 0o755).unwrap();
        b.file("/x/y/z", 0o644, &b"z"[..]).unwrap();
        let names: Vec<_> = a.nodes.keys().map(String::as_str).collect();
        assert_eq!(names, ["x", "x-", "x/y", "x/y/z"]);
        assert_eq!(a.to_bytes(), b.to_bytes());
    }

    #[test]
    fn invalid_paths_are_refused() {
        for path in [
            "",
            "/",
            "init",
            "/a//b",
            "/a/",
            "/./a",
            "/a/../b",
            "/a\0b",
            "/TRAILER!!!",
        ] {
            let error = Initramfs::new().file(path, 0o644, &b""[..]).unwrap_err();
            assert_eq!(error, ImageError::Path(path.into()), "{path:?}");
        }
    }

    #[test]
    fn adding_a_path_twice_is_an_error() {
        let mut image = Initramfs::new();
        image.file("/a", 0o644, &b"1"[..]).unwrap();
        assert_eq!(
            image.file("/a", 0o644, &b"2"[..]).unwrap_err(),
            ImageError::Duplicate("/a".into())
        );
        assert_eq!(
            image.dir("/a", 0o755).unwrap_err(),
            ImageError::Duplicate("/a".into())
        );
        assert_eq!(
            image.file("/a/b", 0o644, &b""[..]).unwrap_err(),
            ImageError::Parent {
                path: "/a/b".into(),
                parent: "a".into()
            }
        );
    }
}
