//! headroom: one endpoint in front of third-party APIs, and the same rate-limit headers on every answer.
//!
//! The layers only look down; `tests/layers.rs` holds the table of allowed arrows. In reading order:
//!
//! 0. [`quota`], [`diagnostic`] and [`fields`] are pure values: what a policy is, what an answer says of it, what is wrong in a
//!    file, the lines of a head.
//! 1. [`document`] reads TOML with spans against a shape; [`form`] knows every spelling of a number or a time, read and
//!    written; [`adapter`] makes checked adapters of files that people write by hand.
//! 2. [`translate`] makes limits of an answer, [`charge`] says what a call uses and of whose budget, [`emit`] makes
//!    standard headers of limits, [`dress`] makes a refusal look like
//!    the provider's, [`rewrite`] replaces an origin in a streaming JSON body, [`recording`] reads one response as text,
//!    [`consumer`] knows a program by its key, [`secret`] is text that is never shown, [`credential`] puts one where a provider
//!    wants it, [`address`] what is public, [`guard`] who may look, [`time`] is moments on two clocks, [`limits`] how much and
//!    how long, [`identity`] a certificate and its key. All pure: no clock, no I/O.
//! 3. [`origin`] is where calls go, [`outbound`] what no client does by itself, [`state`] what survives a restart, [`ledger`] headroom's own count, [`history`] what was
//!    called, [`advice`] what follows from it, [`clock`] the only reader of the time, [`warn`] tells of quotas that run out,
//!    [`trace`] takes calls to OpenTelemetry, [`oauth`] gets tokens for connections,
//!    [`config`] is what the user says, [`admin`] the pages about it all, [`gateway`] the request path.
//! 4. [`simulate`] stands in for providers, [`cli`] wires everything; only it reads files and the environment
//!    ([`state`] has a folder of its own).
//!
//! The heart of it, without any network:
//!
//! ```
//! use headroom::adapter::catalog::Catalog;
//! use headroom::adapter::terms::Terms;
//! use headroom::adapter::{Answer, Call};
//! use headroom::fields::Fields;
//! use headroom::translate::translate;
//! use http::{HeaderName, HeaderValue, Method, StatusCode};
//!
//! let toggl = Catalog::default().get("toggl").ok_or("toggl is built in")?;
//! let terms = Terms::new(&toggl, Some("starter"), None, &Default::default())?;
//! let left = HeaderName::from_static("x-toggl-quota-remaining");
//! let reset = HeaderName::from_static("x-toggl-quota-resets-in");
//! let mut headers = Fields::new();
//! headers.append(left, HeaderValue::from_static("0"));
//! headers.append(reset, HeaderValue::from_static("900"));
//!
//! let translation = translate(
//!     &toggl,
//!     &terms,
//!     &Call { method: &Method::GET, path: Some("/api/v9/workspaces/1/projects"), headers: None, body: None },
//!     &Answer { status: StatusCode::PAYMENT_REQUIRED, headers: &headers, body: None },
//!     "2026-11-21T12:00:00Z".parse()?,
//! );
//! assert_eq!(translation.status, Some(StatusCode::TOO_MANY_REQUESTS));
//! assert_eq!(translation.retry_after, Some(900));
//! assert_eq!(translation.binding_limit().and_then(|limit| limit.limit), Some(240));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod adapter;
pub mod address;
pub mod admin;
pub mod advice;
pub mod charge;
pub mod cli;
pub mod clock;
pub mod config;
pub mod consumer;
pub mod credential;
pub mod diagnostic;
pub mod document;
pub mod dress;
pub mod emit;
pub mod fields;
pub mod form;
pub mod gateway;
pub mod guard;
pub mod history;
pub mod identity;
pub mod ledger;
pub mod limits;
pub mod oauth;
pub mod origin;
pub mod outbound;
pub mod quota;
pub mod recording;
pub mod rewrite;
pub mod secret;
pub mod simulate;
pub mod state;
pub mod time;
pub mod trace;
pub mod translate;
pub mod warn;
