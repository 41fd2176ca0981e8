//! Where a caller's HTTP/2 connection is between two frames (RFC 9113, section 4.1): only for telling whether a head, or
//! another frame that is not a body, has begun and did not end. What frames mean is h2's to say.

const HEADER: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// The frame that the last byte was of.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// The frame's own header, as far as it has come.
    header: [u8; HEADER],
    has: usize,
    /// Bytes of its payload that have not come.
    left: usize,
    /// Its block of fields goes on in the next frame.
    is_open: bool,
}

impl Frames {
    /// Goes on by these bytes. Whether a frame ended among them that is not a body, and no head is open behind it.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> bool {
        let mut has_finished = false;
        while let Some((&first, rest)) = bytes.split_first() {
            if let Some(place) = self.header.get_mut(self.has) {
                *place = first;
                self.has += 1;
                bytes = rest;
                if self.has == HEADER {
                    let [a, b, c, ..] = self.header;
                    self.left = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                    has_finished |= self.left == 0 && self.end();
                }
            } else {
                let length = bytes.len().min(self.left);
                bytes = bytes.get(length..).unwrap_or_default();
                self.left -= length;
                has_finished |= self.left == 0 && self.end();
            }
        }
        has_finished
    }

    fn end(&mut self) -> bool {
        let [_, _, _, kind, flags, ..] = self.header;
        if matches!(kind, HEADERS | CONTINUATION) {
            self.is_open = flags & END_HEADERS == 0;
        }
        self.has = 0;
        kind != DATA && !self.is_open
    }

    /// Something has begun that is not a body, and did not end.
    pub(super) fn is_in_head(&self) -> bool {
        let [_, _, _, kind, ..] = self.header;
        let is_in_data = self.has == HEADER && kind == DATA;
        self.is_open || (self.has > 0 && !is_in_data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, length: u8) -> Vec<u8> {
        let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, 1];
        frame.extend(std::iter::repeat_n(7, usize::from(length)));
        frame
    }

    #[test]
    fn heads_are_open_until_their_last_byte_however_they_are_cut() {
        let bytes = [
            frame(4, 0, 6),
            frame(HEADERS, 0, 5),
            frame(CONTINUATION, 0, 0),
            frame(CONTINUATION, END_HEADERS, 3),
            frame(DATA, 1, 200),
        ]
        .concat();
        // SETTINGS; then the block of fields; then DATA, whose own header is no body yet.
        let open = |at: usize| match at {
            0 | 15 | 50 => false,
            ..59 => true,
            _ => false,
        };
        for step in [1, 2, 7] {
            let mut frames = Frames::default();
            for (index, piece) in bytes.chunks(step).enumerate() {
                frames.feed(piece);
                let at = index * step + piece.len();
                assert_eq!(frames.is_in_head(), open(at), "{at} in steps of {step}");
            }
        }
        assert!(Frames::default().feed(&bytes));
        assert!(!Frames::default().feed(&frame(DATA, 0, 9)));
        assert!(!Frames::default().feed(&frame(HEADERS, 0, 9)));
    }
}
