//! What holds for every input, not only for the recorded ones.

mod charge;
mod documents;
mod headers;
mod translation;
mod windows;
