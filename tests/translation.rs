//! Every case of every provider: `snapshots/<id>/<situation>.http` beside the reviewed `<situation>.snap`.

use crate::support::cases::{Case, all};

#[test]
fn cases_translate_as_reviewed() {
    insta::glob!("../snapshots", "[a-z]*/*.http", |path| {
        let case = Case::read(path);
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path(path.parent().unwrap());
        settings.set_prepend_module_to_snapshot(false);
        settings.remove_snapshot_suffix();
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!(case.situation.as_str(), case.describe()));
    });
}

/// Evidence needs its source, its moment, and the word when it was constructed.
#[test]
fn cases_tell_their_source_and_their_now() {
    for case in all() {
        let place = format!("{}/{}", case.provider, case.situation);
        let source = case.recording.circumstance("source").unwrap_or_default();
        assert!(source.starts_with("http"), "{place} has no `# source:`");
        assert!(
            case.recording.circumstance("now").is_some(),
            "{place} has no `# now:`"
        );
        for (name, _) in &case.recording.circumstances {
            let known = [
                "source",
                "now",
                "method",
                "path",
                "plan",
                "time_zone",
                "note",
            ];
            assert!(
                known.contains(&name.as_str()),
                "{place}: `# {name}:` means nothing"
            );
        }
    }
}
