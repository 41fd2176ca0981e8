//! One reading's value, spelled as the adapter says it is read.

use http::HeaderName;

use super::super::draft::Piece;
use super::super::example;
use super::{Scene, State, UNIT};
use crate::adapter::reading::{Extract, Narrow, Quantity, Reading, Source, Spelling};
use crate::form::{Decimal, Moment, NumberForm, TimeForm};

/// Header (or body), piece and quantities of a reading.
pub(super) type Spelled<'a> = (Option<HeaderName>, Piece<'a>, Vec<Quantity>);

/// Writes one state.
pub(super) struct Pen<'a, 's> {
    pub(super) scene: &'s Scene<'a>,
    pub(super) state: &'s State,
    /// The documented window in seconds, which rates refer to.
    pub(super) window: Option<u64>,
}

impl<'a> Pen<'a, '_> {
    /// `Ok(None)`: the state does not know what the reading tells.
    pub(super) fn spell(&self, reading: &'a Reading) -> Result<Option<Spelled<'a>>, String> {
        let header = match &reading.source {
            Source::Header(name) => Some(name.clone()),
            Source::Body => None,
            Source::Headers(pattern) => {
                let Some(label) = self.state.label.as_deref() else {
                    return Err(format!(
                        "the name of the header `{pattern}` is not known without a label"
                    ));
                };
                let name = example::text(pattern.as_str(), Some(label))
                    .and_then(|name| name.parse::<HeaderName>().ok());
                if name.is_none() {
                    return Err(format!("no header `{pattern}` can be named by `{label}`"));
                }
                name
            }
        };
        let spelled = match &reading.extract {
            Extract::One(narrow, quantity, spelling) => {
                let Some(text) = self.text(*quantity, spelling, reading)? else {
                    return Ok(None);
                };
                (narrowed(narrow, text, reading)?, vec![*quantity])
            }
            Extract::Slash(key, first) => {
                let plain = Spelling::Number(NumberForm::Number);
                let left = self.text(*first, &plain, reading)?;
                let limit = self.text(Quantity::Limit, &plain, reading)?;
                let Some((left, limit)) = left.zip(limit) else {
                    return Ok(None);
                };
                let text = format!("{left}/{limit}");
                let piece = match key {
                    Some(key) => Piece::Key(key, text),
                    None => Piece::Whole(text),
                };
                (piece, vec![*first, Quantity::Limit])
            }
            Extract::Windowed => {
                let Some(limit) = self.state.limit else {
                    return Ok(None);
                };
                match self.state.window {
                    Some(secs) => (
                        Piece::Whole(format!("{limit};w={secs}")),
                        vec![Quantity::Limit, Quantity::Window],
                    ),
                    None => (Piece::Whole(limit.to_string()), vec![Quantity::Limit]),
                }
            }
            Extract::Groups(pattern, parts) => return self.groups(pattern, parts, reading, header),
            Extract::Each(each, parts) => {
                let mut members = Vec::new();
                let mut quantities = Vec::new();
                let mut identity = None;
                for (pointer, quantity, spelling) in parts {
                    // One member that means nothing does not silence the others.
                    if let Ok(Some(text)) = self.text(*quantity, spelling, reading) {
                        if *quantity == Quantity::Label {
                            identity = Some(members.len());
                        }
                        members.push((pointer, text));
                        quantities.push(*quantity);
                    }
                }
                if quantities
                    .iter()
                    .all(|quantity| *quantity == Quantity::Label)
                {
                    return Ok(None);
                }
                (Piece::Element(each, members, identity), quantities)
            }
        };
        let (piece, quantities) = spelled;
        Ok(Some((header, piece, quantities)))
    }

    /// A pattern with several groups, as its template spells it.
    fn groups(
        &self,
        pattern: &regex::Regex,
        parts: &[(usize, Quantity, Spelling)],
        reading: &Reading,
        header: Option<HeaderName>,
    ) -> Result<Option<Spelled<'a>>, String> {
        let Some(template) = reading.write.as_ref().filter(|_| header.is_some()) else {
            return Err(format!("the pattern `{pattern}` has no `write`"));
        };
        let mut text = template.clone();
        let mut quantities = Vec::new();
        for (_, quantity, spelling) in parts {
            let place = format!("{{{}}}", quantity.name());
            if !text.contains(&place) {
                continue;
            }
            let Some(value) = self.text(*quantity, spelling, reading)? else {
                return Ok(None);
            };
            text = text.replace(&place, &value);
            quantities.push(*quantity);
        }
        if !pattern.is_match(&text) {
            return Err(format!("`{text}` does not fit the pattern `{pattern}`"));
        }
        Ok(Some((header, Piece::Part(text), quantities)))
    }

    /// The text of a quantity. `Ok(None)`: the state does not know it.
    fn text(
        &self,
        quantity: Quantity,
        spelling: &Spelling,
        reading: &Reading,
    ) -> Result<Option<String>, String> {
        let state = self.state;
        let number = match quantity {
            Quantity::Limit => state.limit,
            Quantity::Remaining => state.remaining,
            Quantity::Used => state
                .limit
                .zip(state.remaining)
                .map(|(limit, left)| limit.saturating_sub(left)),
            Quantity::Cost => state.cost,
            Quantity::Reset | Quantity::Window | Quantity::Label => None,
        };
        let moment = match quantity {
            Quantity::Reset => state.reset,
            Quantity::Window => state
                .window
                .and_then(|secs| i64::try_from(secs).ok())
                .map(|secs| Moment::In(jiff::SignedDuration::from_secs(secs))),
            _ => None,
        };
        let text = match spelling {
            Spelling::Name => state.label.as_deref().map(str::to_owned),
            Spelling::Number(form) => match number {
                Some(number) => Some(
                    form.write(Decimal::from(number), self.window)
                        .ok_or_else(|| {
                            format!("{number} cannot be written as \"{}\"", form.name())
                        })?,
                ),
                None => None,
            },
            Spelling::Time(forms) => match moment {
                Some(moment) => Some(self.time(quantity, forms, moment).ok_or_else(|| {
                    format!("its {} cannot be written in its form", quantity.name())
                })?),
                None => None,
            },
        };
        let ignored = text.as_deref().is_some_and(|text| {
            reading
                .ignore
                .iter()
                .any(|ignored| ignored.eq_ignore_ascii_case(text))
        });
        if ignored {
            return Err(format!(
                "a {} of {} means nothing here",
                quantity.name(),
                text.unwrap_or_default()
            ));
        }
        Ok(text)
    }

    /// The first form is the one that the provider sends today.
    fn time(&self, quantity: Quantity, forms: &[TimeForm], moment: Moment) -> Option<String> {
        let now = self.scene.now;
        forms.iter().find_map(|form| match quantity {
            Quantity::Window => form.write(moment, now, Some(UNIT)),
            _ => form.write_up(moment, now, Some(UNIT)),
        })
    }
}

fn narrowed<'a>(narrow: &'a Narrow, text: String, reading: &Reading) -> Result<Piece<'a>, String> {
    Ok(match narrow {
        Narrow::Whole => Piece::Whole(text),
        Narrow::Json(pointer) => Piece::Json(pointer, text),
        Narrow::Key(key) => Piece::Key(key, text),
        Narrow::Item(item) => Piece::Item(*item, text),
        Narrow::Pattern(pattern) => {
            let template = reading
                .write
                .as_ref()
                .filter(|_| !matches!(reading.source, Source::Body));
            let Some(template) = template else {
                return Err(format!("the pattern `{pattern}` has no `write`"));
            };
            let whole = template.replace("{}", &text);
            let found = pattern.captures(&whole).and_then(|found| found.get(1));
            if found.is_none_or(|found| found.as_str() != text) {
                return Err(format!("`{whole}` does not fit the pattern `{pattern}`"));
            }
            Piece::Part(whole)
        }
    })
}
