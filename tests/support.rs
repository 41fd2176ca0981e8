//! What the tests share.

pub(crate) mod answers;
pub(crate) mod cases;
pub(crate) mod faulty;
pub(crate) mod frames;
pub(crate) mod harness;
pub(crate) mod program;
pub(crate) mod sources;
pub(crate) mod translations;
pub(crate) mod upstream;
