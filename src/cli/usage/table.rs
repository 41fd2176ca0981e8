//! Columns that stand below each other.

use crate::cli::ink::{Ink, cut};
use crate::cli::quota::view::plain;

/// A column: its title, its fields, and the field of the last line, which sums the others up.
pub(super) struct Column {
    pub(super) title: String,
    pub(super) fields: Vec<String>,
    pub(super) sum: String,
    /// Numbers stand right, names left.
    pub(super) is_number: bool,
}

impl Column {
    fn width(&self) -> usize {
        let fields = self.fields.iter().chain([&self.title, &self.sum]);
        fields.map(|field| field.chars().count()).max().unwrap_or(0)
    }
}

const INDENT: &str = "  ";
const GAP: &str = "  ";

/// Names get no shorter than that.
const SHORTEST: usize = 8;

/// How wide a table would be with names as short as may be.
pub(super) fn least_width(columns: &[Column]) -> usize {
    let widths = columns.iter().map(|column| match column.is_number {
        true => column.width(),
        false => column.width().min(SHORTEST),
    });
    INDENT.len() + widths.map(|width| width + GAP.len()).sum::<usize>() - GAP.len()
}

/// The table. The longest names give way until it fits, if it can.
pub(super) fn text(columns: &[Column], width: usize, ink: Ink) -> String {
    let mut widths: Vec<usize> = columns.iter().map(Column::width).collect();
    let whole = |widths: &[usize]| {
        INDENT.len() + widths.iter().map(|width| width + GAP.len()).sum::<usize>() - GAP.len()
    };
    while whole(&widths) > width {
        let names = widths.iter_mut().zip(columns);
        let names = names.filter(|(width, column)| !column.is_number && **width > SHORTEST);
        let Some((longest, _)) = names.max_by_key(|(width, _)| **width) else {
            break;
        };
        *longest -= 1;
    }
    let line = |field: &dyn Fn(&Column) -> String| {
        let fields = columns.iter().zip(&widths).map(|(column, width)| {
            let field = cut(&plain(&field(column)), *width);
            if column.is_number {
                format!("{field:>width$}")
            } else {
                format!("{field:<width$}")
            }
        });
        let fields: Vec<_> = fields.collect();
        format!("{INDENT}{}", fields.join(GAP))
            .trim_end()
            .to_owned()
    };
    let mut text = format!("{}\n", ink.dim(&line(&|column| column.title.clone())));
    let rows = columns.first().map_or(0, |column| column.fields.len());
    for row in 0..rows {
        let field = |column: &Column| column.fields.get(row).cloned().unwrap_or_default();
        text.push_str(&line(&field));
        text.push('\n');
    }
    text.push_str(&ink.bold(&line(&|column| column.sum.clone())));
    text.push('\n');
    text
}
