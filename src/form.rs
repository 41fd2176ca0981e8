//! Every spelling of a number or a time, read and written: what an adapter's `form` names.
//!
//! The form is declared for each value and never guessed; a text that is not of its form is `None`, because an odd header
//! is input and not an error. No clock (`now` is an argument), no I/O, no floating point, no panic on any text.

mod calendar;
mod duration;
mod number;
mod time;

pub(crate) use number::read_digits;
pub use number::{Decimal, NumberForm, read_number, write_number};
pub use time::{Moment, TimeForm, read_retry_after};

#[cfg(test)]
mod tests;
