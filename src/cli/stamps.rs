//! Whether files have to be read again.

/// What the files looked like. Nobody knows that of the moment when they were first read, so they are read once more at the
/// first look: they may have changed since.
#[derive(Default)]
pub(super) struct Stamps(Option<u64>);

impl Stamps {
    /// Whether the files have to be read.
    pub(super) fn is_new(&mut self, stamp: u64) -> bool {
        self.0.replace(stamp) != Some(stamp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_changed_before_the_first_look_are_read() {
        let mut stamps = Stamps::default();
        let looks = [1, 1, 2, 2, 1].map(|stamp| stamps.is_new(stamp));
        assert_eq!(looks, [true, false, true, false, true]);
    }
}
