//! HTTP/1.1 as strictly as it can be read (RFC 9112): what another reader might see otherwise is a mistake.

use std::fmt;

/// A message's head, in the order of its lines.
pub(crate) struct Head {
    pub(crate) first: String,
    /// Names in lower case.
    pub(crate) fields: Vec<(String, Vec<u8>)>,
    pub(crate) length: usize,
}

/// How long the body is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    None,
    Length(usize),
    Chunked,
}

impl fmt::Debug for Head {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "`{}`", self.first)?;
        for (name, value) in &self.fields {
            write!(out, ", `{name}: {}`", value.escape_ascii())?;
        }
        Ok(())
    }
}

impl Head {
    /// `None`: its end is not there yet.
    pub(crate) fn read(bytes: &[u8]) -> Result<Option<Self>, String> {
        let Some(end) = bytes.windows(4).position(|piece| piece == b"\r\n\r\n") else {
            return Ok(None);
        };
        let mut lines = bytes[..end]
            .split(|byte| *byte == b'\n')
            .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let first = lines.next().unwrap_or_default();
        if !first
            .iter()
            .all(|byte| matches!(byte, b' '..=b'~' | 0x80..))
        {
            return Err(format!("first line {}", first.escape_ascii()));
        }
        let mut fields = Vec::new();
        for line in lines {
            let colon = line.iter().position(|byte| *byte == b':');
            let (name, value) = line.split_at(colon.unwrap_or_default());
            let is_token = !name.is_empty()
                && name
                    .iter()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte));
            let is_value = value
                .iter()
                .all(|byte| !matches!(byte, 0..=8 | 10..=31 | 127));
            if !is_token || !is_value {
                return Err(format!("field line {}", line.escape_ascii()));
            }
            let name = String::from_utf8_lossy(name).to_ascii_lowercase();
            fields.push((name, value[1..].trim_ascii().to_vec()));
        }
        Ok(Some(Self {
            first: String::from_utf8_lossy(first).into_owned(),
            fields,
            length: end + 4,
        }))
    }

    pub(crate) fn all(&self, name: &str) -> Vec<&[u8]> {
        let lines = self.fields.iter().filter(|(other, _)| other == name);
        lines.map(|(_, value)| value.as_slice()).collect()
    }

    /// The one framing.
    pub(crate) fn framing(&self) -> Result<Framing, String> {
        match (
            self.all("content-length").as_slice(),
            self.all("transfer-encoding").as_slice(),
        ) {
            ([], []) => Ok(Framing::None),
            ([length], []) if length.iter().all(u8::is_ascii_digit) => {
                let length = std::str::from_utf8(length)
                    .ok()
                    .and_then(|length| length.parse().ok());
                length
                    .map(Framing::Length)
                    .ok_or_else(|| format!("{self:?}"))
            }
            ([], [b"chunked"]) => Ok(Framing::Chunked),
            _ => Err(format!("framing of {self:?}")),
        }
    }
}

/// How long a body in chunks is, with its framing. `None`: its end is not there yet.
pub(crate) fn chunked_length(bytes: &[u8]) -> Result<Option<usize>, String> {
    let mut at = 0;
    loop {
        let rest = &bytes[at..];
        let Some(line) = rest.windows(2).position(|piece| piece == b"\r\n") else {
            return Ok(None);
        };
        let size = std::str::from_utf8(&rest[..line])
            .ok()
            .filter(|size| size.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let size = size.and_then(|size| usize::from_str_radix(size, 16).ok());
        let size = size.ok_or_else(|| format!("chunk size {}", rest[..line].escape_ascii()))?;
        at += line + 2;
        if size == 0 {
            let trailers = &bytes[at..];
            if trailers.starts_with(b"\r\n") {
                return Ok(Some(at + 2));
            }
            let end = trailers.windows(4).position(|piece| piece == b"\r\n\r\n");
            return Ok(end.map(|end| at + end + 4));
        }
        let Some(end) = bytes.get(at + size..at + size + 2) else {
            return Ok(None);
        };
        if end != b"\r\n" {
            return Err("a chunk is longer than its size".to_owned());
        }
        at += size + 2;
    }
}
