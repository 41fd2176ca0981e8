//! Parts of a header's value. By bytes: patterns of characters cost several times as much.

/// The value of a key in `k=v; k=v` or `k=v, k=v`.
pub(super) fn key_value<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    let mut rest = text;
    loop {
        let value = strip_key(rest, key);
        let part = value.unwrap_or(rest);
        let end = memchr::memchr2(b';', b',', part.as_bytes());
        if let Some(value) = value {
            let value = value.get(..end.unwrap_or(value.len()))?;
            return Some(value.trim_ascii().trim_matches('"'));
        }
        rest = part.get(end? + 1..)?;
    }
}

/// What stands behind `key=`, with blanks around the key.
fn strip_key<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    let (name, rest) = text.trim_ascii_start().split_at_checked(key.len())?;
    if !name.eq_ignore_ascii_case(key) {
        return None;
    }
    // Nearly always there is no blank.
    rest.strip_prefix('=')
        .or_else(|| rest.trim_ascii_start().strip_prefix('='))
}

/// What stands before and after the first such byte, an ASCII one.
pub(super) fn cut(text: &str, separator: u8) -> Option<(&str, &str)> {
    let at = text.bytes().position(|byte| byte == separator)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}
