//! Reads the layout of a rule file: short names, rules, families of rules, and the tables that fill families in.
//!
//! Bodies stay text here, since a family's body has holes; [`super::expand`] fills them and [`super::expr`] reads what comes out.

use super::RuleError;

/// A rule file.
#[derive(Debug, Default)]
pub(super) struct File {
    /// Short names of operators and what they stand for.
    pub(super) shorts: Vec<(String, String)>,
    /// Rules and families by name, in order.
    pub(super) templates: Vec<Template>,
    /// What makes rules, in order.
    pub(super) entries: Vec<Entry>,
}

/// Something in a rule file that makes rules or says how they are numbered.
#[derive(Debug)]
pub(super) enum Entry {
    /// The number of the next rule.
    From(u32),
    /// The rule with this index among the templates.
    Rule(usize),
    /// Rows for a family.
    Table(Table),
}

/// A rule or a family of rules.
#[derive(Debug)]
pub(super) struct Template {
    pub(super) name: String,
    /// Names of the holes of a family; one that begins with `$` is filled with several operands.
    pub(super) params: Vec<String>,
    pub(super) pattern: Vec<Line>,
    pub(super) replacement: Vec<Line>,
    pub(super) guards: Vec<Line>,
    pub(super) within: Vec<Line>,
    pub(super) line: usize,
    is_family: bool,
}

/// The rows of a table.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) family: usize,
    pub(super) rows: Vec<Row>,
}

/// A row: one cell for each hole of the family.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) cells: Vec<String>,
    pub(super) line: usize,
}

/// A line of a body.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) text: String,
    pub(super) number: usize,
}

#[derive(Clone, Copy)]
enum Part {
    Match,
    Become,
    Where,
    Within,
}

/// Reads a rule file.
pub(super) fn parse(name: &'static str, text: &str) -> Result<File, RuleError> {
    let mut parser = Parser {
        file: File::default(),
        part: None,
    };
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim_end();
        if !line.is_empty() {
            parser.line(line, index + 1).map_err(|message| RuleError {
                file: name,
                line: index + 1,
                message,
            })?;
        }
    }
    parser.finish().map_err(|(line, message)| RuleError {
        file: name,
        line,
        message,
    })
}

struct Parser {
    file: File,
    /// The part of the last template that lines go to; `None` outside a template.
    part: Option<Part>,
}

impl Parser {
    fn line(&mut self, line: &str, number: usize) -> Result<(), String> {
        if line.starts_with(char::is_whitespace) {
            return match line.trim_start().strip_prefix('|') {
                Some(row) => self.row(row, number),
                None => self.body(line.trim_start(), number),
            };
        }
        self.part = None;
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.trim();
        match word {
            "from" => {
                let first = rest
                    .parse()
                    .map_err(|_| format!("`{rest}` is not a number"))?;
                self.file.entries.push(Entry::From(first));
            }
            "short" => {
                let (name, op) = rest
                    .split_once('=')
                    .ok_or("`short NAME = OPERATOR` is expected")?;
                self.file
                    .shorts
                    .push((name.trim().to_owned(), op.trim().to_owned()));
            }
            "rule" => {
                self.template(rest, Vec::new(), number, false)?;
                self.file
                    .entries
                    .push(Entry::Rule(self.file.templates.len() - 1));
            }
            "family" => {
                let (name, params) = rest
                    .strip_suffix(')')
                    .and_then(|rest| rest.split_once('('))
                    .ok_or("`family NAME(HOLE, …)` is expected")?;
                let params = params
                    .split(',')
                    .map(|param| param.trim().to_owned())
                    .collect();
                self.template(name, params, number, true)?;
            }
            "table" => {
                let family = self
                    .file
                    .templates
                    .iter()
                    .position(|found| found.is_family && found.name == rest);
                let family = family.ok_or_else(|| format!("there is no family `{rest}` above"))?;
                self.file.entries.push(Entry::Table(Table {
                    family,
                    rows: Vec::new(),
                }));
            }
            _ => {
                return Err(format!(
                    "`{word}` is not one of from, short, rule, family, table"
                ));
            }
        }
        Ok(())
    }

    fn template(
        &mut self,
        name: &str,
        params: Vec<String>,
        line: usize,
        is_family: bool,
    ) -> Result<(), String> {
        if self.file.templates.iter().any(|found| found.name == name) {
            return Err(format!("`{name}` is defined twice"));
        }
        self.part = Some(Part::Match);
        self.file.templates.push(Template {
            name: name.to_owned(),
            params,
            pattern: Vec::new(),
            replacement: Vec::new(),
            guards: Vec::new(),
            within: Vec::new(),
            line,
            is_family,
        });
        Ok(())
    }

    fn row(&mut self, row: &str, line: usize) -> Result<(), String> {
        let cells: Vec<String> = split_outside_braces(row, '|')
            .into_iter()
            .map(str::to_owned)
            .collect();
        let Some(Entry::Table(table)) = self.file.entries.last_mut() else {
            return Err("a row stands outside a table".to_owned());
        };
        let params = &self.file.templates[table.family].params;
        if cells.len() != params.len() {
            return Err(format!(
                "the row has {} cells, the family {} holes",
                cells.len(),
                params.len()
            ));
        }
        table.rows.push(Row { cells, line });
        Ok(())
    }

    fn body(&mut self, line: &str, number: usize) -> Result<(), String> {
        let Some(mut part) = self.part else {
            return Err("the line stands outside a rule".to_owned());
        };
        let (word, mut rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "match" => part = Part::Match,
            "become" => part = Part::Become,
            "where" => part = Part::Where,
            "within" => part = Part::Within,
            _ => rest = line,
        }
        self.part = Some(part);
        let Some(template) = self.file.templates.last_mut() else {
            return Err("there is no rule above".to_owned());
        };
        let lines = match part {
            Part::Match => &mut template.pattern,
            Part::Become => &mut template.replacement,
            Part::Where => &mut template.guards,
            Part::Within => &mut template.within,
        };
        lines.push(Line {
            text: rest.trim().to_owned(),
            number,
        });
        Ok(())
    }

    /// The first row of a table repeats the names of the holes, so that the table can be read by itself.
    fn finish(mut self) -> Result<File, (usize, String)> {
        for template in &self.file.templates {
            if template.pattern.is_empty() || template.replacement.is_empty() {
                return Err((
                    template.line,
                    format!("`{}` has no match or no become", template.name),
                ));
            }
        }
        for entry in &mut self.file.entries {
            let Entry::Table(table) = entry else { continue };
            let params = &self.file.templates[table.family].params;
            match table.rows.first() {
                Some(head) if head.cells == *params => drop(table.rows.remove(0)),
                Some(head) => {
                    return Err((
                        head.line,
                        format!("the table's head is not `{}`", params.join(" | ")),
                    ));
                }
                None => {}
            }
        }
        Ok(self.file)
    }
}

/// The pieces between separators that do not stand in braces, trimmed.
pub(super) fn split_outside_braces(text: &str, separator: char) -> Vec<&str> {
    let (mut pieces, mut start, mut depth) = (Vec::new(), 0, 0_usize);
    for (at, found) in text.char_indices() {
        match found {
            '{' | '(' => depth += 1,
            '}' | ')' => depth = depth.saturating_sub(1),
            _ if found == separator && depth == 0 => {
                pieces.push(text[start..at].trim());
                start = at + found.len_utf8();
            }
            _ => {}
        }
    }
    pieces.push(text[start..].trim());
    pieces
}
