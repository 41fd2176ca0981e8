//! Certificates and their keys: each stands in a file of its own, whose path is in the configuration.

use rustls::pki_types::CertificateDer;

use super::reader::Reader;
use crate::document::{Fields, Node};
use crate::identity::{Identity, Unfit, authorities};

impl Reader<'_> {
    /// A certificate and its key, from the files that these two keys name.
    pub(super) fn identity(&mut self, fields: &Fields<'_>, keys: [&str; 2]) -> Option<Identity> {
        let [certificate, key] = keys.map(|key| fields.get(key));
        // A missing key has been told where both are required; both files are looked at, for the mistakes of both.
        let (chain, secret) = (self.file_of(certificate), self.file_of(key));
        let unfit = match Identity::parse(&chain?, &secret?) {
            Ok(identity) => return Some(identity),
            Err(unfit) => unfit,
        };
        let (node, problem, help) = match unfit {
            Unfit::Certificate(problem) => (
                certificate?,
                problem,
                "write a PEM file with the certificate first and its chain behind it",
            ),
            Unfit::Key(problem) => (
                key?,
                problem,
                "write the PEM file with this certificate's own private key, without a passphrase",
            ),
        };
        self.bad_file(node, &problem, help);
        None
    }

    /// What a connection shows its provider, if anything: both files, or neither.
    pub(super) fn client_identity(&mut self, fields: &Fields<'_>) -> Option<Identity> {
        let keys = ["client_certificate", "client_key"];
        let [certificate, key] = keys;
        let (present, missing) = match keys.map(|key| fields.get(key).is_some()) {
            [true, false] => (certificate, key),
            [false, true] => (key, certificate),
            _ => return self.identity(fields, keys),
        };
        self.mistakes.push(
            "missing-key",
            fields.key_span(present),
            format!("`{present}` is there without `{missing}`"),
            "a certificate and its key go together: write both, or neither",
        );
        None
    }

    /// The certificate authorities in the file that a value names.
    pub(super) fn authorities(&mut self, node: Node<'_>) -> Option<Vec<CertificateDer<'static>>> {
        let text = self.file_of(Some(node))?;
        match authorities(&text) {
            Ok(found) => Some(found),
            Err(problem) => {
                let help = "write a PEM file with the certificates of the authorities";
                self.bad_file(node, &problem, help);
                None
            }
        }
    }

    /// The text of the file that a value names.
    fn file_of(&mut self, node: Option<Node<'_>>) -> Option<String> {
        let node = node?;
        let written = node.text()?;
        if written.starts_with("file:") {
            // The content would be taken for a path, and shown.
            let help = "write the path alone, without `file:`";
            self.bad_file(node, "the path of a file stands here", help);
            return None;
        }
        let path = self.text(node)?;
        match self.outside.file(&path) {
            Ok(text) => Some(text),
            Err(error) => {
                let problem = format!("the file cannot be read: {error}");
                let help =
                    "name a file that can be read; a relative path begins at this file's folder";
                self.bad_file(node, &problem, help);
                None
            }
        }
    }

    fn bad_file(&mut self, node: Node<'_>, problem: &str, help: &str) {
        self.mistakes
            .push("bad-certificate", node.span(), problem, help);
    }
}
