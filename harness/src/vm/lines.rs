//! Splits a stream of bytes into lines.

/// A line without its line end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Its text; invalid UTF-8 is replaced.
    pub(super) text: String,
    /// Whether it was longer than the limit.
    pub(super) truncated: bool,
}

/// Splits a stream into lines, and keeps at most `limit` bytes of each.
#[derive(Debug)]
pub(super) struct Lines {
    partial: Vec<u8>,
    truncated: bool,
    limit: usize,
}

impl Lines {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            partial: Vec::new(),
            truncated: false,
            limit,
        }
    }

    /// Takes the next bytes, and returns each complete line.
    pub(super) fn push(&mut self, mut bytes: &[u8], mut each: impl FnMut(Line)) {
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            self.append(&bytes[..end]);
            bytes = &bytes[end + 1..];
            each(self.take());
        }
        self.append(bytes);
    }

    /// The last line, if the stream ended without a line end.
    pub(super) fn finish(&mut self) -> Option<Line> {
        (!self.partial.is_empty()).then(|| self.take())
    }

    fn append(&mut self, bytes: &[u8]) {
        let room = self.limit - self.partial.len();
        self.truncated |= bytes.len() > room;
        self.partial
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn take(&mut self) -> Line {
        let text = String::from_utf8_lossy(self.partial.trim_ascii_end()).into_owned();
        self.partial.clear();
        Line {
            text,
            truncated: std::mem::take(&mut self.truncated),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(limit: usize, chunks: &[&[u8]]) -> Vec<(String, bool)> {
        let mut lines = Lines::new(limit);
        let mut all = Vec::new();
        for chunk in chunks {
            lines.push(chunk, |line| all.push(line));
        }
        all.extend(lines.finish());
        all.into_iter()
            .map(|line| (line.text, line.truncated))
            .collect()
    }

    fn whole(texts: &[&str]) -> Vec<(String, bool)> {
        texts.iter().map(|&text| (text.to_owned(), false)).collect()
    }

    #[test]
    fn lines_are_joined_across_reads() {
        let stream = "one\r\n\ntwö\nlast".as_bytes();
        let expected = whole(&["one", "", "twö", "last"]);
        assert_eq!(lines(100, &[stream]), expected);
        for split in 0..stream.len() {
            assert_eq!(
                lines(100, &[&stream[..split], &stream[split..]]),
                expected,
                "{split}"
            );
        }
        let bytes: Vec<_> = stream.chunks(1).collect();
        assert_eq!(lines(100, &bytes), expected);
    }

    #[test]
    fn long_line_is_truncated_and_the_next_is_not() {
        let expected = vec![("abcd".to_owned(), true), ("efgh".to_owned(), false)];
        assert_eq!(lines(4, &[b"abcdXXXXX", b"XX\nefgh"]), expected);
    }

    #[test]
    fn invalid_utf8_is_replaced() {
        assert_eq!(lines(9, &[b"\xff\x00a\n"]), whole(&["\u{fffd}\0a"]));
        assert_eq!(lines(9, &[]), whole(&[]));
    }
}
