//! What holds for every input, not only for the recorded ones.

mod charge;
mod documents;
mod headers;
mod preferences;
mod translation;
mod windows;
