//! The program as it is run: TLS, supervisors, logs. What `headroom check` says of a file that `serve` refuses.

mod certificates;
mod checks;
mod draining;
mod logs;
mod packaging;
mod reload;
mod supervisor;
pub(crate) mod tls;
