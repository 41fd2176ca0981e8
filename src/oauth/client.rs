//! The token endpoint over HTTP: `oauth2` writes requests and reads answers, reqwest carries them.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use oauth2::basic::{BasicClient, BasicErrorResponseType, BasicTokenType};
use oauth2::{
    AuthType, ClientId, ClientSecret, HttpRequest, HttpResponse, RefreshToken, RequestTokenError,
    Scope, TokenResponse as _, TokenUrl,
};
use reqwest::Client as Http;

use super::{Ask, ClientAuth, Issued, Reason, Settings};
use crate::outbound;
use crate::secret::Secret;

/// For a connection, and for the whole exchange.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(30);

/// The longest answer, in bytes. Tokens are a few thousand.
const LONGEST: usize = 256 * 1024;

/// Asks token endpoints.
#[derive(Debug, Clone)]
pub struct Client(Http);

impl Client {
    /// A client with this idea of whom to trust.
    ///
    /// # Errors
    /// It cannot be set up; the reason is for people.
    pub fn new(tls: rustls::ClientConfig) -> Result<Self, String> {
        outbound::builder(tls)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .build()
            .map(Self)
            .map_err(|error| format!("the client of token endpoints cannot be set up: {error}"))
    }

    async fn exchange(
        &self,
        settings: &Settings,
        refresh_token: Option<&Secret>,
    ) -> Result<Issued, Reason> {
        let status = Arc::new(AtomicU16::new(0));
        let http = |request| send(self.0.clone(), request, Arc::clone(&status));
        let client = BasicClient::new(ClientId::new(settings.client_id.clone()))
            .set_token_uri(TokenUrl::from_url(settings.token_url.clone()))
            .set_auth_type(match settings.client_auth {
                ClientAuth::Basic => AuthType::BasicAuth,
                ClientAuth::Body => AuthType::RequestBody,
            });
        let client = match &settings.client_secret {
            Some(secret) => client.set_client_secret(ClientSecret::new(secret.expose().to_owned())),
            None => client,
        };
        let scopes = settings.scopes.iter().cloned().map(Scope::new);
        let parameters = settings.parameters.iter();
        let parameters = parameters.map(|(name, value)| (name.clone(), value.expose().to_owned()));
        let answer = match refresh_token {
            Some(token) => {
                let token = RefreshToken::new(token.expose().to_owned());
                let request = client.exchange_refresh_token(&token).add_scopes(scopes);
                parameters
                    .fold(request, |request, (name, value)| {
                        request.add_extra_param(name, value)
                    })
                    .request_async(&http)
                    .await
            }
            None => {
                let request = client.exchange_client_credentials().add_scopes(scopes);
                parameters
                    .fold(request, |request, (name, value)| {
                        request.add_extra_param(name, value)
                    })
                    .request_async(&http)
                    .await
            }
        };
        let answer = answer.map_err(|error| reason(error, status.load(Ordering::Relaxed)))?;
        if !matches!(answer.token_type(), BasicTokenType::Bearer) {
            return Err(Reason::Nonsense);
        }
        Ok(Issued {
            token: Secret::from(answer.access_token().secret().as_str()),
            lifetime: answer.expires_in(),
            refresh_token: answer
                .refresh_token()
                .map(|token| Secret::from(token.secret().as_str())),
        })
    }
}

/// One exchange. `status` is told as soon as it is known.
async fn send(
    http: Http,
    request: HttpRequest,
    status: Arc<AtomicU16>,
) -> Result<HttpResponse, Trouble> {
    let request = reqwest::Request::try_from(request)?;
    let mut answer = http.execute(request).await?;
    status.store(answer.status().as_u16(), Ordering::Relaxed);
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await? {
        if body.len().saturating_add(piece.len()) > LONGEST {
            return Err(Trouble::TooLong);
        }
        body.extend_from_slice(&piece);
    }
    let mut response = HttpResponse::new(body);
    *response.status_mut() = answer.status();
    *response.headers_mut() = answer.headers().clone();
    Ok(response)
}

impl Ask for Client {
    fn ask<'a>(
        &'a self,
        settings: &'a Settings,
        refresh_token: Option<&'a Secret>,
    ) -> Pin<Box<dyn Future<Output = Result<Issued, Reason>> + Send + 'a>> {
        Box::pin(self.exchange(settings, refresh_token))
    }
}

/// What kept an answer away.
#[derive(Debug)]
enum Trouble {
    TimedOut,
    Unreachable,
    TooLong,
}

impl From<reqwest::Error> for Trouble {
    fn from(error: reqwest::Error) -> Self {
        let is_timeout = error.is_timeout();
        // The URL may carry a tenant's name; what is asked stands in the body.
        tracing::debug!(error = ?error.without_url(), "A token endpoint could not be asked.");
        if is_timeout {
            Self::TimedOut
        } else {
            Self::Unreachable
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{self:?}")
    }
}

impl std::error::Error for Trouble {}

/// What an error means. Its own text is left alone: it may repeat the answer, with a token in it.
fn reason(
    error: RequestTokenError<Trouble, oauth2::basic::BasicErrorResponse>,
    status: u16,
) -> Reason {
    match error {
        RequestTokenError::Request(Trouble::TimedOut) => Reason::TimedOut,
        RequestTokenError::Request(Trouble::Unreachable) => Reason::Unreachable,
        RequestTokenError::Request(Trouble::TooLong) => Reason::Nonsense,
        _ if matches!(status, 429 | 500..) => Reason::Status(status),
        RequestTokenError::ServerResponse(answer) => match answer.error() {
            BasicErrorResponseType::InvalidClient => Reason::Refused("invalid_client"),
            BasicErrorResponseType::InvalidGrant => Reason::Refused("invalid_grant"),
            BasicErrorResponseType::InvalidRequest => Reason::Refused("invalid_request"),
            BasicErrorResponseType::InvalidScope => Reason::Refused("invalid_scope"),
            BasicErrorResponseType::UnauthorizedClient => Reason::Refused("unauthorized_client"),
            BasicErrorResponseType::UnsupportedGrantType => {
                Reason::Refused("unsupported_grant_type")
            }
            // Whatever it says, it is not repeated.
            BasicErrorResponseType::Extension(_) => Reason::Status(status),
        },
        RequestTokenError::Parse(..) | RequestTokenError::Other(_) if status == 200 => {
            Reason::Nonsense
        }
        RequestTokenError::Parse(..) | RequestTokenError::Other(_) => Reason::Status(status),
    }
}
