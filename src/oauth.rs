//! Tokens of OAuth 2 (RFC 6749) for a connection: by client credentials or a refresh token, one request at a time, ahead of
//! their end, and once more when a provider no longer takes one.
//!
//! A request for a token is a task of its own: the caller that needed it may hang up, and a refresh token that was rotated
//! meanwhile must not be lost. It is stored before it is used.

mod client;
mod held;
mod keeper;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ring::digest;
use tokio::sync::watch;
use url::Url;

pub use client::Client;
pub use keeper::{Keeper, ROWS, part};

use crate::adapter::CredentialPlace;
use crate::clock;
use crate::credential::Credential;
use crate::secret::Secret;
use crate::state::WarningRow;
use crate::time::Nanos;
use held::{Held, Look, Verdict};

/// How a connection gets its tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The token endpoint.
    pub token_url: Url,
    /// Who asks.
    pub client_id: String,
    /// Its secret, where it has one.
    pub client_secret: Option<Secret>,
    /// With one, the grant is `refresh_token`; without, `client_credentials`.
    pub refresh_token: Option<Secret>,
    /// What is asked for.
    pub scopes: Vec<String>,
    /// More parameters, such as `audience`. Some endpoints want secrets in them.
    pub parameters: Vec<(String, Secret)>,
    /// Where client and secret stand.
    pub client_auth: ClientAuth,
}

/// Where a client says who it is (RFC 6749, section 2.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientAuth {
    /// In `Authorization`.
    #[default]
    Basic,
    /// In the body.
    Body,
}

impl Settings {
    /// Names these settings and the place of the token: other settings have other tokens.
    fn identity(&self, place: &CredentialPlace) -> Identity {
        hash([format!("{place:?}").as_str(), &self.spelled()])
    }

    /// Names the line of refresh tokens that follow from the configured one. Whoever configures another begins another.
    fn line(&self) -> Option<String> {
        let first = self.refresh_token.as_ref()?;
        let hash = hash([self.token_url.as_str(), &self.client_id, first.expose()]);
        Some(hash.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    fn spelled(&self) -> String {
        let expose = |secret: &Option<Secret>| {
            let text = secret.as_ref().map(Secret::expose);
            format!("{text:?}")
        };
        let parameters = self.parameters.iter();
        let parameters: Vec<_> = parameters
            .map(|(name, value)| (name, value.expose()))
            .collect();
        format!(
            "{} {:?} {} {} {:?} {:?} {:?}",
            self.token_url,
            self.client_id,
            expose(&self.client_secret),
            expose(&self.refresh_token),
            self.scopes,
            parameters,
            self.client_auth
        )
    }
}

type Identity = [u8; 32];

fn hash<'a>(parts: impl IntoIterator<Item = &'a str>) -> Identity {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        // With its length before it, so that no two lists spell the same.
        context.update(&part.len().to_le_bytes());
        context.update(part.as_bytes());
    }
    let mut hash = [0; 32];
    for (to, from) in hash.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    hash
}

/// Why there is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The token endpoint said no, with this code of RFC 6749, section 5.2.
    Refused(&'static str),
    /// It answered this status, and no code that is known.
    Status(u16),
    /// It did not answer in time.
    TimedOut,
    /// It could not be reached.
    Unreachable,
    /// It answered something else than a token.
    Nonsense,
    /// The token cannot stand where the provider wants it.
    Unfit,
}

impl Reason {
    /// Waiting does not help: somebody has to look at it.
    #[must_use]
    pub const fn is_refusal(self) -> bool {
        match self {
            Self::Status(status) => status < 500 && status != 429,
            Self::Refused(_) | Self::Nonsense | Self::Unfit => true,
            Self::TimedOut | Self::Unreachable => false,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(code) => write!(out, "its token endpoint answers `{code}`"),
            Self::Status(status) => write!(out, "its token endpoint answers {status}"),
            Self::TimedOut => out.write_str("its token endpoint does not answer in time"),
            Self::Unreachable => out.write_str("its token endpoint cannot be reached"),
            Self::Nonsense => {
                out.write_str("its token endpoint answers something else than a bearer token")
            }
            Self::Unfit => out.write_str("the token cannot stand where the provider wants it"),
        }
    }
}

/// There is no token now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unavailable {
    /// Why.
    pub reason: Reason,
    /// Seconds until headroom asks again, at least 1.
    pub retry_after: u64,
}

/// A token, in its place.
pub struct Token {
    credential: Credential,
    /// The provider has answered something else than 401 to it.
    was_accepted: AtomicBool,
}

impl Token {
    fn new(credential: Credential) -> Self {
        Self {
            credential,
            was_accepted: AtomicBool::new(false),
        }
    }

    /// To be put into a call.
    #[must_use]
    pub const fn credential(&self) -> &Credential {
        &self.credential
    }

    /// The provider took it.
    pub fn accepted(&self) {
        self.was_accepted.store(true, Ordering::Relaxed);
    }

    fn was_accepted(&self) -> bool {
        self.was_accepted.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Token {
    /// Without the token.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Token").finish_non_exhaustive()
    }
}

/// What a token endpoint gave.
pub struct Issued {
    /// The access token.
    pub token: Secret,
    /// How long it lasts, where that is told.
    pub lifetime: Option<Duration>,
    /// The refresh token for the next time, where it is another one.
    pub refresh_token: Option<Secret>,
}

/// Asks a token endpoint.
pub trait Ask: Send + Sync + 'static {
    /// Asks once, with the newest refresh token where there is one.
    fn ask<'a>(
        &'a self,
        settings: &'a Settings,
        refresh_token: Option<&'a Secret>,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<Issued, Reason>> + Send + 'a>>;
}

/// The tokens of one connection, or of several with the same settings.
pub struct Tokens {
    settings: Settings,
    place: CredentialPlace,
    identity: Identity,
    ask: Arc<dyn Ask>,
    keeper: Arc<Keeper>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    held: Held,
    running: Option<Renewal>,
}

type Outcome = Result<Arc<Token>, Unavailable>;

/// A request for a token that is on its way.
#[derive(Clone)]
pub struct Renewal(watch::Receiver<Option<Outcome>>);

impl Renewal {
    /// What came of it.
    ///
    /// # Errors
    /// There is no token.
    pub async fn ended(mut self) -> Result<Arc<Token>, Unavailable> {
        let outcome = self.0.wait_for(Option::is_some).await;
        let outcome = outcome.ok().and_then(|outcome| outcome.clone());
        outcome.unwrap_or(Err(Unavailable {
            reason: Reason::Unreachable,
            retry_after: 1,
        }))
    }

    /// Its task is gone without an outcome.
    fn is_lost(&self) -> bool {
        self.0.has_changed().is_err()
    }
}

impl Tokens {
    /// What tells these tokens from others, whatever they are now: to be hashed, never to be shown.
    #[must_use]
    pub const fn identity(&self) -> &[u8] {
        &self.identity
    }

    /// The token to call with. Waits for one where there is none, or where the provider has just refused the one there is.
    ///
    /// # Errors
    /// There is none.
    pub async fn token(self: &Arc<Self>) -> Result<Arc<Token>, Unavailable> {
        let renewal = {
            let mut state = self.lock();
            match state.held.look(clock::moment().steady) {
                Look::Use(token) => return Ok(token),
                Look::Renew(token) => {
                    self.renew(&mut state);
                    return Ok(token);
                }
                Look::Suspected(token) => (self.renew(&mut state), Some(token)),
                Look::Unavailable(unavailable) => return Err(unavailable),
                Look::Need => (self.renew(&mut state), None),
            }
        };
        let (renewal, before) = renewal;
        renewal.ended().await.or_else(|error| before.ok_or(error))
    }

    /// The provider has answered 401 to this token. Where that means that it is not good any more, another one is asked for.
    pub fn refused(self: &Arc<Self>, token: &Arc<Token>) -> Option<Renewal> {
        let mut state = self.lock();
        match state.held.refused(token, clock::moment().steady) {
            // Somebody else's call was refused before, and what it began has not ended.
            Verdict::Keep if state.held.is_suspected() => Some(self.renew(&mut state)),
            Verdict::Keep => None,
            Verdict::Other(token) => Some(Renewal(watch::channel(Some(Ok(token))).1)),
            Verdict::Renew => Some(self.renew(&mut state)),
        }
    }

    /// Begins a request, unless one is on its way.
    fn renew(self: &Arc<Self>, state: &mut State) -> Renewal {
        if let Some(running) = state.running.as_ref().filter(|running| !running.is_lost()) {
            return running.clone();
        }
        let (sender, receiver) = watch::channel(None);
        let renewal = Renewal(receiver);
        state.running = Some(renewal.clone());
        let tokens = Arc::clone(self);
        tokio::spawn(async move {
            let outcome = tokens.ask_once().await;
            sender.send_replace(Some(outcome));
        });
        renewal
    }

    async fn ask_once(&self) -> Outcome {
        let asked = clock::moment().steady;
        let line = self.settings.line();
        let newest = line.as_deref().and_then(|line| self.keeper.newest(line));
        let refresh_token = newest.as_ref().or(self.settings.refresh_token.as_ref());
        let issued = self.ask.ask(&self.settings, refresh_token).await;
        let made = match issued {
            Ok(issued) => {
                if let (Some(line), Some(next)) = (line, issued.refresh_token)
                    && Some(&next) != refresh_token
                {
                    self.keeper.keep(&line, next).await;
                }
                Credential::new(&self.place, &issued.token)
                    .map(|credential| (Arc::new(Token::new(credential)), issued.lifetime))
                    .map_err(|_unfit| Reason::Unfit)
            }
            Err(reason) => Err(reason),
        };
        let (now, random) = (clock::moment().steady, clock::random());
        let mut state = self.lock();
        state.running = None;
        match made {
            Ok((token, lifetime)) => {
                let lifetime = lifetime.map(Nanos::from);
                if state.held.succeeded(&token, lifetime, asked, random) {
                    tracing::info!(
                        token.endpoint = self.endpoint(),
                        "There are tokens for the provider again."
                    );
                }
                Ok(token)
            }
            Err(reason) => {
                let (unavailable, is_news) = state.held.failed(reason, now, random);
                if is_news {
                    tracing::warn!(
                        token.endpoint = self.endpoint(),
                        "There is no new token for the provider: {reason}. Headroom tries again, more and more seldom."
                    );
                }
                Err(unavailable)
            }
        }
    }

    fn endpoint(&self) -> String {
        self.settings.token_url.origin().ascii_serialization()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Tokens {
    /// Without tokens.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Tokens")
            .field("endpoint", &self.endpoint())
            .finish_non_exhaustive()
    }
}

/// The tokens of all connections. A configuration that is read again finds those that it had.
pub struct Registry {
    ask: Arc<dyn Ask>,
    keeper: Arc<Keeper>,
    made: Mutex<HashMap<Identity, Arc<Tokens>>>,
}

impl Registry {
    /// Without any tokens yet.
    #[must_use]
    pub fn new(ask: impl Ask, keeper: Keeper) -> Self {
        Self {
            ask: Arc::new(ask),
            keeper: Arc::new(keeper),
            made: Mutex::default(),
        }
    }

    /// A store was found late, with these rows of [`ROWS`]: gives those that have to be written into it.
    #[must_use]
    pub fn take_over(&self, rows: &[WarningRow]) -> Vec<WarningRow> {
        self.keeper.take_over(rows)
    }

    /// The tokens of these settings.
    #[must_use]
    pub fn tokens(&self, settings: &Settings, place: &CredentialPlace) -> Arc<Tokens> {
        let identity = settings.identity(place);
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let tokens = made.entry(identity).or_insert_with(|| {
            Arc::new(Tokens {
                settings: settings.clone(),
                place: place.clone(),
                identity,
                ask: Arc::clone(&self.ask),
                keeper: Arc::clone(&self.keeper),
                state: Mutex::default(),
            })
        });
        Arc::clone(tokens)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Registry").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
