//! The text of OpenMetrics in the words of Prometheus' format 0.0.4, for those who read only that.

/// Counters are announced by their whole name, information is a gauge, and there are neither units nor an end.
pub(super) fn of(openmetrics: &str) -> String {
    let mut text = String::with_capacity(openmetrics.len());
    let mut help: Option<(&str, &str)> = None;
    for line in openmetrics.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            // Said together with the type, which tells the name.
            (Some("#"), Some("HELP"), Some(name), Some(words)) => help = Some((name, words)),
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                let (suffix, kind) = match kind {
                    "counter" => ("_total", kind),
                    "info" => ("_info", "gauge"),
                    _ => ("", kind),
                };
                if let Some((_, words)) = help.take().filter(|(of, _)| *of == name) {
                    text.push_str(&format!("# HELP {name}{suffix} {words}\n"));
                }
                text.push_str(&format!("# TYPE {name}{suffix} {kind}\n"));
            }
            (Some("#"), ..) => {}
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_older_format_announces_whole_names() {
        let newer = "# HELP a Some calls\n# TYPE a counter\na_total{x=\"# TYPE\"} 1\n\
                     # HELP b_seconds A time\n# TYPE b_seconds gauge\n# UNIT b_seconds seconds\nb_seconds 2.5\n\
                     # HELP c What runs\n# TYPE c info\nc_info{version=\"1\"} 1\n# EOF\n";
        let older = "# HELP a_total Some calls\n# TYPE a_total counter\na_total{x=\"# TYPE\"} 1\n\
                     # HELP b_seconds A time\n# TYPE b_seconds gauge\nb_seconds 2.5\n\
                     # HELP c_info What runs\n# TYPE c_info gauge\nc_info{version=\"1\"} 1\n";
        assert_eq!(super::of(newer), older);
    }
}
