//! Text that nobody may see: a credential, a client's secret, a token. Printing it shows that there is one, and no more.

use std::fmt;
use std::sync::Arc;

/// A secret.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(Arc<str>);

impl Secret {
    /// The text itself: for whoever it is meant for, never for a log, an error or a page.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(Arc::from(text))
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(Arc::from(text))
    }
}

/// What stands for every secret.
const SHOWN: &str = "(secret)";

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(SHOWN)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(SHOWN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_printed() {
        let secret = Secret::from("hunter2".to_owned());
        for text in [
            format!("{secret}"),
            format!("{secret:>20}"),
            format!("{secret:?}"),
            format!("{:#?}", Some(secret.clone())),
        ] {
            assert!(!text.contains("hunter2"), "{text}");
            assert!(text.contains(SHOWN), "{text}");
        }
        assert_eq!(secret.expose(), "hunter2");
        assert_eq!(secret, Secret::from("hunter2"));
    }
}
