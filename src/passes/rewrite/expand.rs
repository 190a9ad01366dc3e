//! Fills the holes of families with the cells of tables: from families and tables to numbered rules whose bodies are plain text.
//!
//! In a row, `{a|b}` alternate in step over all cells; cells with commas are alternatives that combine freely, the first column slowest.
//! A cell `-` is empty. In a body, `{hole}` is the cell, `{hole:text}` is `text` unless the cell is empty, `$hole` is the cell's words as
//! operands.

use super::RuleError;
use super::parse::{Entry, File, Line, Row, Template, split_outside_braces};

/// A rule without holes.
#[derive(Debug)]
pub(super) struct Concrete {
    pub(super) number: u32,
    pub(super) name: String,
    pub(super) pattern: Vec<Line>,
    pub(super) replacement: Vec<Line>,
    pub(super) guards: Vec<Line>,
    pub(super) within: Vec<Line>,
    pub(super) line: usize,
}

/// All rules of a file, in order.
pub(super) fn expand(name: &'static str, file: &File) -> Result<Vec<Concrete>, RuleError> {
    let mut rules = Vec::new();
    let mut number = 0;
    for entry in &file.entries {
        match entry {
            Entry::From(first) => number = *first,
            Entry::Rule(template) => {
                let template = &file.templates[*template];
                rules
                    .push(fill(template, number, template.line, &[]).map_err(|e| e.in_file(name))?);
                number += 1;
            }
            Entry::Table(table) => {
                let family = &file.templates[table.family];
                for row in &table.rows {
                    for cells in instances(row).map_err(|e| e.in_file(name))? {
                        rules.push(
                            fill(family, number, row.line, &cells).map_err(|e| e.in_file(name))?,
                        );
                        number += 1;
                    }
                }
            }
        }
    }
    Ok(rules)
}

/// What is wrong with a line.
pub(super) struct Fault {
    pub(super) line: usize,
    pub(super) message: String,
}

impl Fault {
    pub(super) fn in_file(self, file: &'static str) -> RuleError {
        RuleError {
            file,
            line: self.line,
            message: self.message,
        }
    }
}

/// A cell of one instance of a row.
struct Cell {
    text: String,
    /// Whether the row has other instances that differ in this cell by a comma: then the rule's name says which one it is.
    chosen: bool,
}

/// The rows that a row with alternatives stands for.
fn instances(row: &Row) -> Result<Vec<Vec<Cell>>, Fault> {
    let fault = |message: String| Fault {
        line: row.line,
        message,
    };
    let counts: Vec<usize> = row
        .cells
        .iter()
        .filter_map(|cell| braces(cell))
        .map(|(_, inner, _)| inner.split('|').count())
        .collect();
    let steps = counts.first().copied().unwrap_or(1);
    if counts.iter().any(|count| *count != steps) {
        return Err(fault(
            "the alternatives in braces of a row must be equally many".to_owned(),
        ));
    }
    let mut instances = Vec::new();
    for step in 0..steps {
        let mut partial: Vec<Vec<Cell>> = vec![Vec::new()];
        for cell in &row.cells {
            let cell = match braces(cell) {
                Some((before, inner, after)) => {
                    let choice = inner.split('|').nth(step).unwrap_or_default();
                    format!("{before}{choice}{after}")
                }
                None => cell.clone(),
            };
            let choices: Vec<&str> = cell.split(',').map(str::trim).collect();
            let mut next = Vec::new();
            for prefix in &partial {
                for choice in &choices {
                    let mut cells: Vec<Cell> = prefix
                        .iter()
                        .map(|cell| Cell {
                            text: cell.text.clone(),
                            chosen: cell.chosen,
                        })
                        .collect();
                    let text = if *choice == "-" { "" } else { choice };
                    cells.push(Cell {
                        text: text.to_owned(),
                        chosen: choices.len() > 1,
                    });
                    next.push(cells);
                }
            }
            partial = next;
        }
        instances.append(&mut partial);
    }
    Ok(instances)
}

/// The text before, in and after the first braces.
fn braces(cell: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = cell.split_once('{')?;
    let (inner, after) = rest.split_once('}')?;
    Some((before, inner, after))
}

fn fill(template: &Template, number: u32, line: usize, cells: &[Cell]) -> Result<Concrete, Fault> {
    let mut name = template.name.clone();
    for (index, cell) in cells.iter().enumerate() {
        if (index == 0 || cell.chosen) && !cell.text.is_empty() {
            // `_` says "in place" and belongs to the word before it.
            name.push_str(if cell.text == "_" { "" } else { " " });
            name.push_str(&cell.text);
        }
    }
    let body = |lines: &[Line]| {
        lines
            .iter()
            .map(|line| {
                let text =
                    fill_line(&line.text, &template.params, cells).map_err(|message| Fault {
                        line: line.number,
                        message,
                    })?;
                Ok(Line {
                    text,
                    number: line.number,
                })
            })
            .collect::<Result<Vec<_>, Fault>>()
    };
    Ok(Concrete {
        number,
        name,
        pattern: body(&template.pattern)?,
        replacement: body(&template.replacement)?,
        guards: body(&template.guards)?,
        within: body(&template.within)?,
        line,
    })
}

fn fill_line(text: &str, params: &[String], cells: &[Cell]) -> Result<String, String> {
    let cell = |name: &str| {
        let index = params.iter().position(|param| param == name);
        index
            .map(|index| cells[index].text.as_str())
            .ok_or_else(|| format!("there is no hole `{name}`"))
    };
    let mut filled = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '$']) {
        filled.push_str(&rest[..at]);
        if rest[at..].starts_with('{') {
            let end = rest[at..].find('}').ok_or("a brace is not closed")? + at;
            let hole = &rest[at + 1..end];
            match hole.split_once(':') {
                Some((name, text)) if !cell(name)?.is_empty() => filled.push_str(text),
                Some(_) => {}
                None => filled.push_str(cell(hole)?),
            }
            rest = &rest[end + 1..];
        } else {
            let end = rest[at + 1..].find(|found: char| !found.is_alphanumeric() && found != '_');
            let end = end.map_or(rest.len(), |end| at + 1 + end);
            let words: Vec<String> = cell(&rest[at..end])?
                .split_whitespace()
                .map(|word| format!("%{word}"))
                .collect();
            filled.push_str(&words.join(", "));
            rest = &rest[end..];
        }
    }
    filled.push_str(rest);
    Ok(filled)
}

/// The guards that the lines of a `where` part name, with their arguments' names.
pub(super) fn guards(lines: &[Line]) -> Result<Vec<(usize, String, Vec<String>)>, Fault> {
    let mut guards = Vec::new();
    for line in lines {
        for guard in split_outside_braces(&line.text, ',')
            .into_iter()
            .filter(|guard| !guard.is_empty())
        {
            let parts = guard
                .strip_suffix(')')
                .and_then(|guard| guard.split_once('('));
            let (name, args) = parts.ok_or_else(|| Fault {
                line: line.number,
                message: format!("`{guard}` is not a guard"),
            })?;
            let args = args
                .split(',')
                .map(|arg| arg.trim().trim_start_matches('%').to_owned())
                .collect();
            guards.push((line.number, name.trim().to_owned(), args));
        }
    }
    Ok(guards)
}
