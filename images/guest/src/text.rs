//! Bounds the length of texts in events.

/// `text`, without its middle if it is longer than `limit` bytes.
pub(crate) fn bounded(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let is_boundary = |at: &usize| text.is_char_boundary(*at);
    let head_end = (0..=limit / 2).rev().find(is_boundary).unwrap_or(0);
    let tail_start = (text.len() - limit / 2..text.len())
        .find(is_boundary)
        .unwrap_or(text.len());
    let (head, tail) = (&text[..head_end], &text[tail_start..]);
    let left_out = text.len() - head.len() - tail.len();
    format!("{head}\n[... {left_out} bytes left out ...]\n{tail}")
}

/// The last `limit` bytes of a stream.
#[derive(Debug)]
pub(crate) struct Tail {
    bytes: Vec<u8>,
    limit: usize,
    truncated: bool,
}

impl Tail {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            bytes: Vec::new(),
            limit,
            truncated: false,
        }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        if let Some(excess) = self
            .bytes
            .len()
            .checked_sub(self.limit)
            .filter(|excess| *excess > 0)
        {
            self.bytes.drain(..excess);
            self.truncated = true;
        }
    }

    /// The last `count` complete lines.
    pub(crate) fn lines(&self, count: usize) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        let lines: Vec<&str> = text.lines().skip(usize::from(self.truncated)).collect();
        lines[lines.len().saturating_sub(count)..].join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_keeps_head_and_tail() {
        assert_eq!(bounded("short", 5), "short");
        assert_eq!(
            bounded("0123456789", 4),
            "01\n[... 6 bytes left out ...]\n89"
        );
        // Never within a character.
        assert_eq!(bounded("ääääää", 6), "ä\n[... 8 bytes left out ...]\nä");
    }

    #[test]
    fn tail_keeps_the_last_complete_lines() {
        let mut tail = Tail::new(16);
        tail.push(b"one\ntwo\n");
        assert_eq!(tail.lines(9), "one\ntwo");
        assert_eq!(tail.lines(1), "two");
        for _ in 0..1000 {
            tail.push(b"three\nfour\n");
        }
        assert_eq!(tail.lines(9), "three\nfour");
        tail.push(b"\xff\n");
        assert_eq!(tail.lines(1), "\u{fffd}");
    }
}
