//! References in values: `${NAME}`, `${NAME:-default}` and `file:PATH`. They are resolved after the file was parsed, in
//! string values only, so that a value can never become structure.

/// The environment and the files, handed in by the command line.
pub trait Outside {
    /// A variable of the environment.
    fn variable(&self, name: &str) -> Option<String>;
    /// The content of a text file.
    ///
    /// # Errors
    /// It cannot be read; the reason is for people.
    fn file(&self, path: &str) -> Result<String, String>;
}

/// The text has nothing in it but references, and `:` between them: no default, and no part that is written out.
pub(super) fn is_reference(text: &str) -> bool {
    if text.starts_with("file:") {
        return true;
    }
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !text.is_empty()
        && text.split(':').all(|part| {
            let name = part
                .strip_prefix("${")
                .and_then(|rest| rest.strip_suffix('}'));
            name.is_some_and(|name| !name.is_empty() && name.chars().all(is_name))
        })
}

/// The text with its references resolved.
///
/// # Errors
/// What cannot be resolved, and what to do about it.
pub(super) fn resolve(text: &str, outside: &dyn Outside) -> Result<String, (String, &'static str)> {
    if let Some(path) = text.strip_prefix("file:") {
        let content = outside.file(path).map_err(|error| {
            (
                format!("cannot read the file {path}: {error}"),
                "name a file that can be read; a relative path begins at this file's folder",
            )
        })?;
        return Ok(content.trim_end_matches(['\r', '\n']).to_owned());
    }
    let mut resolved = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (before, reference) = rest.split_at(start);
        resolved.push_str(before);
        let Some(end) = reference.find('}') else {
            return Err((
                format!("the reference in \"{text}\" has no end"),
                "close it: \"${NAME}\"",
            ));
        };
        let inner = reference.get(2..end).unwrap_or_default();
        let (name, default) = match inner.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inner, None),
        };
        // As in the shell, an empty variable takes the default.
        let value = outside
            .variable(name)
            .filter(|value| !value.is_empty() || default.is_none());
        match (value, default) {
            (Some(value), _) => resolved.push_str(&value),
            (None, Some(default)) => resolved.push_str(default),
            (None, None) => {
                return Err((
                    format!("the environment has no variable {name}"),
                    "set it, give a default (\"${NAME:-default}\"), or write the value",
                ));
            }
        }
        rest = reference.get(end + 1..).unwrap_or_default();
    }
    resolved.push_str(rest);
    Ok(resolved)
}
