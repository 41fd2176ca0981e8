//! Where a connection's calls go, and URLs below it that are made without changing one byte. No I/O.

use serde_json::Value;
use url::Url;

/// The longest URI that hyper takes.
const LONGEST: usize = 65_534;

/// Where a connection's calls go: scheme, host, port, and a path before every path where the base URL has one.
#[derive(Debug, Clone)]
pub struct Origin {
    /// `https://api.example.com` as a URL, so that it is parsed once.
    root: Url,
    /// The same as text, without the slash at the end.
    base: String,
    /// Lower-case host with its port where that is not the scheme's own.
    authority: String,
    /// `""` or `/v2`: never with a slash at the end.
    prefix: String,
}

impl Origin {
    /// Reads a base URL.
    ///
    /// # Errors
    ///
    /// A sentence for people when it is no `http` or `https` URL, or carries credentials, a query or a fragment.
    pub fn parse(base_url: &str) -> Result<Self, String> {
        // What may carry a password is not repeated.
        let shown = if base_url.contains('@') {
            "this"
        } else {
            base_url
        };
        let url =
            Url::parse(base_url).map_err(|error| format!("`{shown}` is not a URL: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("`{shown}` is neither http nor https"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("a base URL cannot carry credentials".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("a base URL cannot have a query or a fragment".to_owned());
        }
        let base = url.origin().ascii_serialization();
        let authority = base
            .split_once("://")
            .map(|(_, authority)| authority.to_owned())
            .unwrap_or_default();
        let prefix = url.path().trim_end_matches('/').to_owned();
        let root = Url::parse(&base).map_err(|error| format!("`{base}` is not a URL: {error}"))?;
        Ok(Self {
            root,
            base,
            authority,
            prefix,
        })
    }

    /// The URL of a raw path and query, byte for byte; `None` where that cannot be had.
    pub(crate) fn url(&self, target: &str) -> Option<Url> {
        exact_url(&self.root, [&self.base, &self.prefix, target])
    }

    /// What follows the base URL in `reference`, when it is an absolute URL (or one without a scheme) within it.
    pub(crate) fn strip<'a>(&self, reference: &'a str) -> Option<&'a str> {
        let scheme = self.root.scheme();
        let rest = match reference.split_once("//")? {
            ("", rest) => rest,
            (before, rest) => {
                before
                    .strip_suffix(':')
                    .filter(|found| found.eq_ignore_ascii_case(scheme))?;
                rest
            }
        };
        let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let default_port = if scheme == "https" { ":443" } else { ":80" };
        let authority = authority.strip_suffix(default_port).unwrap_or(authority);
        if !authority.eq_ignore_ascii_case(&self.authority) {
            return None;
        }
        let path = path.strip_prefix(self.prefix.as_str())?;
        (path.is_empty() || path.starts_with(['/', '?', '#'])).then_some(path)
    }

    /// What URLs of this API begin with, for looking in bodies.
    pub(crate) fn base_url(&self) -> String {
        format!("{}{}", self.base, self.prefix)
    }

    /// Host and port.
    pub(crate) fn server(&self) -> (String, u16) {
        let host = self.root.host_str().unwrap_or_default();
        let port = self.root.port_or_known_default().unwrap_or(0);
        (host.to_owned(), port)
    }

    /// Without TLS the provider speaks HTTP/1.1 for certain.
    pub(crate) fn is_plain(&self) -> bool {
        self.root.scheme() == "http"
    }
}

/// The URL of exactly this text: `root` with a path and query after it.
///
/// reqwest takes a `Url`, and parsing one changes what callers write every day: `'` in a query becomes `%27` (each
/// `SOQL` and `OData` filter), `"`, `{` and `}` are encoded, `\` becomes `/`. It goes on to use the text of the URL
/// alone, which hyper's own parser checks again. So where parsing would change the text, the parsed parts of the root
/// are taken and the text is put in beside them, through the way that `url` offers for URLs that were stored. That way
/// checks itself in debug builds, by parsing; Cargo.toml turns those checks off for the one crate. Where they are on
/// nevertheless the answer is `None`: better refused than altered.
fn exact_url(root: &Url, pieces: [&str; 3]) -> Option<Url> {
    let text = pieces.concat();
    if text.len() > LONGEST {
        return None;
    }
    let parsed = Url::parse(&text).ok()?;
    if parsed.as_str() == text {
        return Some(parsed);
    }
    // (serialization, scheme_end, username_end, host_start, host_end, host, port, path_start, query_start, fragment)
    let mut parts = root
        .serialize_internal(serde_json::value::Serializer)
        .ok()?;
    let list = parts.as_array_mut()?;
    *list.get_mut(8)? = text.find('?').map_or(Value::Null, Value::from);
    *list.get_mut(0)? = Value::from(text.as_str());
    let url = Url::deserialize_internal(parts).ok()?;
    (url.as_str() == text && url.origin() == root.origin()).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_keep_every_byte_and_the_origin() {
        let root = Url::parse("https://api.example.com:8443").unwrap();
        for target in [
            "/",
            "/?",
            "/a?",
            "//a//b",
            "/a;b=1",
            "/a%2Fb",
            "/a%2fb",
            "/q?a='b'",
            "/\"q\"?a=`b`",
            "/{\"a\"}?{}",
            "/a|b^c\\d",
            "/a?b?c",
            "/é?é",
            "/@evil.example/",
            "//evil.example/",
            "/a:80@b",
            "/%00",
            "/a?x[]=1",
        ] {
            let url =
                exact_url(&root, ["https://api.example.com:8443", "/v1", target]).expect(target);
            assert_eq!(
                url.as_str(),
                format!("https://api.example.com:8443/v1{target}")
            );
            assert_eq!(url.host_str(), Some("api.example.com"));
            assert_eq!(url.port(), Some(8443));
            let uri: http::Uri = url.as_str().parse().expect(target);
            assert_eq!(
                uri.path_and_query().unwrap().as_str(),
                format!("/v1{target}")
            );
        }
    }

    #[test]
    fn urls_that_hyper_would_not_take_are_not_made() {
        let root = Url::parse("http://a").unwrap();
        let longest = format!("/{}", "a".repeat(LONGEST - "http://a/".len()));
        let url = exact_url(&root, ["http://a", "", &longest]).unwrap();
        assert!(url.as_str().parse::<http::Uri>().is_ok());
        assert_eq!(exact_url(&root, ["http://a", "", &(longest + "a")]), None);
    }
}
