//! The framing of a command's standard streams on their serial ports, one port for each direction.
//!
//! A frame is a type (one byte), the length of its content (two bytes, little-endian), and the content. The guest writes
//! as fast as the host reads. The other direction has no flow control (the port drops bytes that exceed its buffer), so the
//! host sends at most [`WINDOW`] bytes of input ahead and waits for [`Frame::Taken`].

/// The longest content of a frame, in bytes.
pub const CONTENT_LIMIT: usize = 4096;

/// Bytes of input that may be unread: well below the 4 KiB buffer of the guest's port.
pub const WINDOW: usize = 1024;

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// To the host: standard output, or all output of a terminal.
    Stdout(Vec<u8>),
    /// To the host: standard error.
    Stderr(Vec<u8>),
    /// To the host: the next bytes of standard output are in the [shared memory](crate::output), this many.
    SharedStdout(u32),
    /// To the host: the same for standard error.
    SharedStderr(u32),
    /// To the host: the next bytes of the archive of [`crate::job::Command::out`].
    Archive(Vec<u8>),
    /// To the host: the same in the shared memory.
    SharedArchive(u32),
    /// To the host: the end of an archive, with the reason if it is not complete.
    ArchiveEnd(Vec<u8>),
    /// To the host: the command took this many bytes of input.
    Taken(u16),
    /// To the guest: standard input.
    Stdin(Vec<u8>),
    /// To the guest: end of the input.
    End,
    /// To the guest: the new size of the terminal.
    Window(Window),
}

/// The size of a terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Window {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

const HEADER: usize = 3;

impl Frame {
    /// The encoded frame. Content beyond [`CONTENT_LIMIT`] is an error of the caller, and is truncated.
    pub fn encode(&self) -> Vec<u8> {
        let window =
            |Window { rows, columns }: Window| [rows.to_le_bytes(), columns.to_le_bytes()].concat();
        let (kind, content) = match self {
            Self::Stdout(bytes) => (1, bytes.clone()),
            Self::Stderr(bytes) => (2, bytes.clone()),
            Self::Taken(count) => (3, count.to_le_bytes().to_vec()),
            Self::Stdin(bytes) => (4, bytes.clone()),
            Self::End => (5, Vec::new()),
            Self::Window(size) => (6, window(*size)),
            Self::SharedStdout(count) => (7, count.to_le_bytes().to_vec()),
            Self::SharedStderr(count) => (8, count.to_le_bytes().to_vec()),
            Self::Archive(bytes) => (9, bytes.clone()),
            Self::SharedArchive(count) => (10, count.to_le_bytes().to_vec()),
            Self::ArchiveEnd(why) => (11, why.clone()),
        };
        let content = &content[..content.len().min(CONTENT_LIMIT)];
        let [low, high] = (content.len() as u16).to_le_bytes();
        [&[kind, low, high], content].concat()
    }

    fn decode(kind: u8, content: &[u8]) -> Option<Self> {
        let number = |at: usize| {
            let bytes = content.get(at..at + 2)?;
            Some(u16::from_le_bytes(bytes.try_into().ok()?))
        };
        let count = || Some(u32::from_le_bytes(content.try_into().ok()?));
        match (kind, content.len()) {
            (1, _) => Some(Self::Stdout(content.to_vec())),
            (2, _) => Some(Self::Stderr(content.to_vec())),
            (3, 2) => number(0).map(Self::Taken),
            (4, _) => Some(Self::Stdin(content.to_vec())),
            (5, 0) => Some(Self::End),
            (6, 4) => Some(Self::Window(Window {
                rows: number(0)?,
                columns: number(2)?,
            })),
            (7, 4) => count().map(Self::SharedStdout),
            (8, 4) => count().map(Self::SharedStderr),
            (9, _) => Some(Self::Archive(content.to_vec())),
            (10, 4) => count().map(Self::SharedArchive),
            (11, _) => Some(Self::ArchiveEnd(content.to_vec())),
            _ => None,
        }
    }
}

/// Invalid bytes. The stream cannot be resynchronized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Garbled;

/// Cuts what arrives into frames.
#[derive(Debug, Default)]
pub struct Decoder(Vec<u8>);

impl Decoder {
    /// Decodes the next bytes, and passes each complete frame to `each`. Buffers at most one frame and `bytes`.
    pub fn push(&mut self, bytes: &[u8], mut each: impl FnMut(Frame)) -> Result<(), Garbled> {
        self.0.extend_from_slice(bytes);
        let mut at = 0;
        while let Some(&[kind, low, high]) = self.0.get(at..at + HEADER) {
            let length = usize::from(u16::from_le_bytes([low, high]));
            if length > CONTENT_LIMIT {
                return Err(Garbled);
            }
            let Some(content) = self.0.get(at + HEADER..at + HEADER + length) else {
                break;
            };
            each(Frame::decode(kind, content).ok_or(Garbled)?);
            at += HEADER + length;
        }
        self.0.drain(..at);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames() -> Vec<Frame> {
        let window = Window {
            rows: 24,
            columns: 300,
        };
        vec![
            Frame::Stdout(b"out\n\0\xff".to_vec()),
            Frame::Stderr(vec![b'e'; CONTENT_LIMIT]),
            Frame::SharedStdout(1 << 20),
            Frame::SharedStderr(3),
            Frame::Archive(b"out".to_vec()),
            Frame::SharedArchive(4),
            Frame::ArchiveEnd(b"why".to_vec()),
            Frame::Taken(513),
            Frame::Stdin(Vec::new()),
            Frame::End,
            Frame::Window(window),
        ]
    }

    #[test]
    fn frames_survive_any_chunking() {
        let bytes = frames().iter().flat_map(Frame::encode).collect::<Vec<_>>();
        for size in [1, 2, 3, 7, 4096, bytes.len()] {
            let (mut decoder, mut read) = (Decoder::default(), Vec::new());
            for chunk in bytes.chunks(size) {
                decoder.push(chunk, |frame| read.push(frame)).unwrap();
            }
            assert_eq!(read, frames(), "{size}");
            assert!(decoder.0.is_empty());
        }
    }

    #[test]
    fn invalid_bytes_are_refused_after_the_valid_frames() {
        for garbage in [
            &[0, 0, 0][..],
            &[7, 0, 0],
            &[10, 0, 0],
            &[12, 0, 0],
            &[1, 1, 16], // one byte too long
            &[3, 1, 0, 0],
            &[5, 1, 0, 0],
            b"forged\n",
        ] {
            let mut read = Vec::new();
            let bytes = [&Frame::End.encode(), garbage].concat();
            let result = Decoder::default().push(&bytes, |frame| read.push(frame));
            assert_eq!(
                (result, read),
                (Err(Garbled), vec![Frame::End]),
                "{garbage:?}"
            );
        }
    }
}
