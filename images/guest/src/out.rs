//! Sends files and folders to the host after the command has ended, each as a tar archive.

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, PipeWriter, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::thread;

use anyhow::{Context as _, Result, bail};
use protocol::frame::{CONTENT_LIMIT, Frame};
use protocol::job::{OUT, OUT_BYTES};
use tar::{Builder, EntryType, Header};

use crate::output::{Output, Relayed, Stream};

/// Files of this size and smaller ones are read before their header is written: those of `/proc` and `/sys` have another
/// size than their contents.
const SMALL: u64 = 4096;
const SMALL_LIMIT: u64 = 64 << 20;

/// Sends all of them, in order.
pub(crate) fn send_all(paths: &[OsString], output: &mut Output) -> Result<()> {
    let mut left = OUT_BYTES;
    for path in paths {
        let (archive, end) = io::pipe()?;
        let path = path.clone();
        let packer = thread::spawn(move || Packer::new(end, left).pack(Path::new(&path)));
        let archive = File::from(OwnedFd::from(archive));
        while output.relay(&archive, Stream::Archive)? != Relayed::End {}
        let packed = packer.join();
        let packed = packed.unwrap_or_else(|_| bail!("the thread that packs it panicked"));
        let mut why = Vec::new();
        match packed {
            Ok(rest) => left = rest,
            Err(error) => why = format!("{error:#}").into_bytes(),
        }
        why.truncate(CONTENT_LIMIT);
        output.send(&Frame::ArchiveEnd(why))?;
    }
    output.drain()
}

/// Writes the archive of a file or folder.
struct Packer {
    archive: Builder<PipeWriter>,
    /// Bytes that may still be sent.
    left: u64,
}

impl Packer {
    fn new(to: PipeWriter, left: u64) -> Self {
        Self {
            archive: Builder::new(to),
            left,
        }
    }

    /// Packs it all, and returns how many bytes may still be sent.
    fn pack(mut self, path: &Path) -> Result<u64> {
        // Only here a link is followed.
        let path = path.canonicalize()?;
        let metadata = fs::metadata(&path)?;
        if !metadata.is_file() && !metadata.is_dir() {
            bail!("it is neither a file nor a folder");
        }
        self.add(&path, Path::new(OUT), &metadata)?;
        self.archive.finish()?;
        Ok(self.left)
    }

    /// Adds a file, a folder with its contents, or an entry for the host to count.
    fn add(&mut self, from: &Path, name: &Path, metadata: &Metadata) -> Result<()> {
        let context = || format!("cannot read {}", from.display());
        let mut header = Header::new_gnu();
        header.set_mode(metadata.permissions().mode() & 0o777);
        header.set_size(0);
        if metadata.is_file() {
            header.set_entry_type(EntryType::Regular);
            return self
                .add_file(from, name, metadata.len(), header)
                .with_context(context);
        }
        header.set_entry_type(match metadata.is_dir() {
            true => EntryType::Directory,
            false => EntryType::Symlink,
        });
        self.archive.append_data(&mut header, name, io::empty())?;
        if metadata.is_dir() {
            for entry in fs::read_dir(from).with_context(context)? {
                let entry = entry.with_context(context)?;
                // What is removed meanwhile is no error.
                if let Ok(metadata) = entry.metadata() {
                    self.add(&entry.path(), &name.join(entry.file_name()), &metadata)?;
                }
            }
        }
        Ok(())
    }

    fn add_file(
        &mut self,
        from: &Path,
        name: &Path,
        mut length: u64,
        mut header: Header,
    ) -> Result<()> {
        let (file, mut content) = (File::open(from)?, Vec::new());
        if length <= SMALL {
            (&file).take(SMALL_LIMIT).read_to_end(&mut content)?;
            length = content.len() as u64;
        }
        let left = self.left.checked_sub(length);
        self.left = left.with_context(|| {
            format!("all files to copy have more than {OUT_BYTES} bytes together")
        })?;
        header.set_size(length);
        // The archive must have as many bytes as the header says.
        let content = content
            .as_slice()
            .chain(file)
            .chain(io::repeat(0))
            .take(length);
        Ok(self.archive.append_data(&mut header, name, content)?)
    }
}
