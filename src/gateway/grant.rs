//! The credential that one call gets.

use std::sync::Arc;

use http::StatusCode;

use super::connection::Access;
use super::error::Problem;
use crate::credential::Credential;
use crate::oauth::{Token, Tokens};

/// What a call shows the provider.
pub(super) enum Grant<'a> {
    /// What its caller sent.
    Callers,
    Own(&'a Credential),
    Token(&'a Arc<Tokens>, Arc<Token>),
}

impl Access {
    /// The credential for one call. Waits for a token, where there is none yet.
    pub(super) async fn grant(&self) -> Result<Grant<'_>, Problem> {
        Ok(match self {
            Self::Callers => Grant::Callers,
            Self::Own(credential) => Grant::Own(credential),
            Self::Tokens(tokens) => {
                let token = tokens.token().await.map_err(Problem::Credential)?;
                Grant::Token(tokens, token)
            }
        })
    }
}

impl Grant<'_> {
    /// The connection's own credential.
    pub(super) fn credential(&self) -> Option<&Credential> {
        match self {
            Self::Callers => None,
            Self::Own(credential) => Some(credential),
            Self::Token(_, token) => Some(token.credential()),
        }
    }

    /// What the provider made of it.
    pub(super) fn answered(&self, status: StatusCode) {
        if let Self::Token(_, token) = self
            && status != StatusCode::UNAUTHORIZED
        {
            token.accepted();
        }
    }

    /// The same, and whether there is another token now for a call that may be sent again. One that may not is not held up
    /// for the others' sake.
    pub(super) async fn is_renewed(&mut self, status: StatusCode, is_repeatable: bool) -> bool {
        self.answered(status);
        let Self::Token(tokens, token) = self else {
            return false;
        };
        if status != StatusCode::UNAUTHORIZED {
            return false;
        }
        let Some(renewal) = tokens.refused(token) else {
            return false;
        };
        if !is_repeatable {
            return false;
        }
        match renewal.ended().await {
            Ok(renewed) => {
                *token = renewed;
                true
            }
            Err(_) => false,
        }
    }
}
