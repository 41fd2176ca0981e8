//! What holds for every input, not only for the recorded ones.

mod charge;
mod documents;
mod headers;
mod meters;
mod preferences;
mod translation;
mod usage;
mod windows;
