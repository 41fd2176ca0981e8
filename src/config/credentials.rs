//! `credential` and `[connections.NAME.oauth2]`: read, and checked beside the adapter. No message repeats what it is about.

use url::Url;

use super::reader::Reader;
use super::{Access, ConnectionConfig, OAuth2};
use crate::adapter::Adapter;
use crate::credential::{Credential, Unfit};
use crate::diagnostic::Mistakes;
use crate::document::{Fields, Node};
use crate::oauth::{ClientAuth, Settings};
use crate::secret::Secret;

impl Reader<'_> {
    /// What the provider gets.
    pub(super) fn access(&mut self, fields: &Fields<'_>) -> Access {
        let credential = fields.get("credential");
        let oauth2 = fields.get("oauth2").and_then(Node::table);
        if let (Some(_), Some(_)) = (credential, &oauth2) {
            self.mistakes.push(
                "two-credentials",
                fields.key_span("oauth2"),
                "the connection has a credential already, and the provider gets exactly one",
                "write either `credential` or `[connections.NAME.oauth2]`",
            );
        }
        match (credential, oauth2) {
            (Some(node), _) => self
                .secret(node)
                .map_or_else(Access::default, Access::Credential),
            (None, Some(table)) => self.oauth2(&table).unwrap_or_default(),
            (None, None) => Access::Callers,
        }
    }

    fn oauth2(&mut self, table: &Fields<'_>) -> Option<Access> {
        let token_url = table.get("token_url").and_then(|node| self.token_url(node));
        let client_id = table.get("client_id").and_then(|node| self.filled(node));
        let client_secret = table
            .get("client_secret")
            .and_then(|node| self.filled(node));
        let refresh_token = table
            .get("refresh_token")
            .and_then(|node| self.filled(node));
        let scopes = table.get("scopes").map_or_else(Vec::new, |node| {
            let names = self.names(node);
            names.into_iter().map(|(name, _)| name).collect()
        });
        let mut parameters = Vec::new();
        if let Some(node) = table.get("audience") {
            parameters.extend(self.secret(node).map(|text| ("audience".to_owned(), text)));
        }
        let more = table.get("parameters").and_then(Node::table);
        for (name, span, node) in more.iter().flat_map(Fields::entries) {
            if OWN_PARAMETERS.contains(&name) || parameters.iter().any(|(known, _)| known == name) {
                self.mistakes.push(
                    "reserved-parameter",
                    span,
                    format!("`{name}` is written by headroom itself"),
                    "take it out; what it says has a key of its own",
                );
                continue;
            }
            parameters.extend(self.secret(node).map(|text| (name.to_owned(), text)));
        }
        if client_secret.is_none()
            && refresh_token.is_none()
            && !(table.get("client_secret").is_some() || table.get("refresh_token").is_some())
        {
            self.mistakes.push(
                "no-grant",
                table.key_span("token_url"),
                "there is neither a `client_secret` nor a `refresh_token`, so nothing shows who asks",
                "write client_secret = \"${NAME}\" for client credentials, or refresh_token = \"${NAME}\"",
            );
        }
        Some(Access::OAuth2(Box::new(OAuth2 {
            settings: Settings {
                token_url: token_url?,
                client_id: client_id?,
                client_secret: client_secret.map(Secret::from),
                refresh_token: refresh_token.map(Secret::from),
                scopes,
                parameters,
                client_auth: match table.text("client_auth") {
                    Some("body") => ClientAuth::Body,
                    _ => ClientAuth::Basic,
                },
            },
            in_providers_place: table.text("place") == Some("provider"),
        })))
    }

    fn secret(&mut self, node: Node<'_>) -> Option<Secret> {
        self.text(node).map(Secret::from)
    }

    /// A text that is there, and is one line.
    fn filled(&mut self, node: Node<'_>) -> Option<String> {
        let text = self.text(node)?;
        if text.is_empty() || text.chars().any(char::is_control) {
            self.mistakes.push(
                "bad-credential",
                node.span(),
                "this is empty, or has a control character in it",
                "write one line; the line break at the end of a file is taken off",
            );
            return None;
        }
        Some(text)
    }

    fn token_url(&mut self, node: Node<'_>) -> Option<Url> {
        let text = self.text(node)?;
        let problem = match Url::parse(&text) {
            Ok(url) => match unfit(&url) {
                None => return Some(url),
                Some(problem) => problem.to_owned(),
            },
            Err(error) => format!("this is not a URL: {error}"),
        };
        self.mistakes.push(
            "bad-url",
            node.span(),
            problem,
            "write the token endpoint, as in \"https://login.example.com/oauth2/token\"",
        );
        None
    }
}

/// What headroom writes into a request for a token.
const OWN_PARAMETERS: [&str; 6] = [
    "grant_type",
    "client_id",
    "client_secret",
    "refresh_token",
    "scope",
    "redirect_uri",
];

/// Why secrets cannot be sent there.
fn unfit(url: &Url) -> Option<&'static str> {
    // A name without a dot is one of this machine or of its own network: `http://keycloak:8080` beside it in a container.
    let is_near = match url.host() {
        Some(url::Host::Domain(name)) => !name.contains('.') || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback() || address.is_private(),
        Some(url::Host::Ipv6(address)) => address.is_loopback() || address.is_unique_local(),
        None => false,
    };
    match url.scheme() {
        "https" => {}
        "http" if is_near => {}
        "http" => return Some("over http anybody on the way could read the client's secret"),
        _ => return Some("a token endpoint is reached by https"),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Some("a token endpoint's URL cannot carry credentials");
    }
    url.fragment()
        .map(|_| "a token endpoint's URL cannot have a fragment")
}

impl ConnectionConfig {
    /// A credential has to fit the place that the adapter gives it.
    pub(super) fn check_credential(&self, adapter: &Adapter, mistakes: &mut Mistakes) {
        let Access::Credential(secret) = &self.access else {
            return;
        };
        if let Err(Unfit { problem, help }) = Credential::new(&adapter.credential, secret) {
            mistakes.push(
                "bad-credential",
                self.spans.credential.clone(),
                problem,
                help,
            );
        }
    }
}
