//! How many programs a launch has, as a formula over its arguments.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::triton::signature::{Signature, Value};
use crate::triton::text::{Reader, is_name};

/// Programs along the three axes: each a product of numbers, arguments, and `cdiv(argument, tile)`.
///
/// ```
/// use planish_pool::Grid;
///
/// let grid: Grid = "cdiv(rows, 64) * 4".parse()?;
/// assert_eq!(grid.programs(|_| Some(100))?, [8, 1, 1]);
/// assert_eq!(grid.to_string(), "cdiv(rows, 64) * 4, 1, 1");
/// # Ok::<(), planish_pool::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Grid {
    axes: [Vec<Factor>; 3],
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Factor {
    One(Term),
    /// So many tiles of the second cover the first.
    Tiles(Term, Term),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Term {
    Number(u32),
    Name(String),
}

/// The most programs that a device takes along each axis.
const MOST: [u64; 3] = [(1 << 31) - 1, 65_535, 65_535];

impl Grid {
    /// The number of programs along each axis, with the value of each argument. No program at all
    /// is a launch that is not to be made.
    pub fn programs(&self, value: impl Fn(&str) -> Option<u64>) -> Result<[u32; 3], Error> {
        let mut programs = [0; 3];
        for (axis, factors) in self.axes.iter().enumerate() {
            let mut product = Some(1_u64);
            for factor in factors {
                let count = match factor {
                    Factor::One(term) => self.value_of(term, &value)?,
                    Factor::Tiles(whole, tile) => {
                        let (whole, tile) =
                            (self.value_of(whole, &value)?, self.value_of(tile, &value)?);
                        if tile == 0 {
                            return Err(self.wrong("a tile has the size 0".to_owned()));
                        }
                        whole.div_ceil(tile)
                    }
                };
                product = product.and_then(|product| product.checked_mul(count));
            }
            let most = MOST[axis];
            programs[axis] = product
                .filter(|product| *product <= most)
                .and_then(|product| u32::try_from(product).ok())
                .ok_or_else(|| self.wrong(format!("axis {axis} has more than {most} programs")))?;
        }
        Ok(programs)
    }

    /// The same with numbers instead of the names of constants. Every name that is left must be one
    /// of the launch's arguments.
    pub(super) fn resolved(&self, signature: &Signature) -> Result<Self, Error> {
        let mut grid = self.clone();
        for factor in grid.axes.iter_mut().flatten() {
            let terms = match factor {
                Factor::One(term) => vec![term],
                Factor::Tiles(whole, tile) => vec![whole, tile],
            };
            for term in terms {
                let Term::Name(name) = term else { continue };
                let known = signature.parameters().iter().any(|one| one.name == *name);
                match signature.constant(name) {
                    Some(Value::Int(number)) => {
                        let number = u32::try_from(number);
                        *term = Term::Number(number.map_err(|_| {
                            self.wrong(format!("the constant `{name}` does not fit"))
                        })?);
                    }
                    None if known => {}
                    _ => return Err(self.wrong(format!("there is no number `{name}`"))),
                }
            }
        }
        Ok(grid)
    }

    fn value_of(&self, term: &Term, value: impl Fn(&str) -> Option<u64>) -> Result<u64, Error> {
        match term {
            Term::Number(number) => Ok((*number).into()),
            Term::Name(name) => {
                value(name).ok_or_else(|| self.wrong(format!("`{name}` has no value")))
            }
        }
    }

    fn wrong(&self, reason: String) -> Error {
        Error::Triton {
            what: format!("use the grid `{self}`"),
            reason,
        }
    }
}

impl FromStr for Grid {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut reader = Reader::new("grid", text);
        let one = || vec![Factor::One(Term::Number(1))];
        let mut axes = [one(), one(), one()];
        for axis in &mut axes {
            axis.clear();
            loop {
                axis.push(factor(&mut reader)?);
                if !reader.take('*') {
                    break;
                }
            }
            if reader.at_end() {
                break;
            }
            reader.expect(',')?;
        }
        if !reader.at_end() {
            return Err(reader.wrong("there are three axes"));
        }
        Ok(Self { axes })
    }
}

impl TryFrom<String> for Grid {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Grid> for String {
    fn from(grid: Grid) -> Self {
        grid.to_string()
    }
}

impl fmt::Display for Grid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (axis, factors) in self.axes.iter().enumerate() {
            let comma = if axis == 0 { "" } else { ", " };
            f.write_str(comma)?;
            for (at, factor) in factors.iter().enumerate() {
                let times = if at == 0 { "" } else { " * " };
                write!(f, "{times}{factor}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Factor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(term) => term.fmt(f),
            Self::Tiles(whole, tile) => write!(f, "cdiv({whole}, {tile})"),
        }
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

fn factor(reader: &mut Reader<'_>) -> Result<Factor, Error> {
    let mut ahead = reader.clone();
    if ahead.word()? == "cdiv" && ahead.take('(') {
        *reader = ahead;
        let whole = term(reader)?;
        reader.expect(',')?;
        let tile = term(reader)?;
        reader.expect(')')?;
        return Ok(Factor::Tiles(whole, tile));
    }
    term(reader).map(Factor::One)
}

fn term(reader: &mut Reader<'_>) -> Result<Term, Error> {
    let word = reader.word()?;
    if is_name(word) {
        return Ok(Term::Name(word.to_owned()));
    }
    word.parse()
        .map(Term::Number)
        .map_err(|_| reader.wrong(&format!("`{word}` is not a number, found")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_put_in_and_arguments_stay() {
        let signature: Signature = "rows: i32, BLOCK: 64, N: 200".parse().expect("signature");
        let grid: Grid = "cdiv(rows, BLOCK) * cdiv(N, BLOCK)".parse().expect("grid");
        let grid = grid.resolved(&signature).expect("resolved");
        assert_eq!(grid.to_string(), "cdiv(rows, 64) * cdiv(200, 64), 1, 1");
        let rows = |name: &str| (name == "rows").then_some(65);
        assert_eq!(grid.programs(rows).expect("programs"), [8, 1, 1]);
        assert_eq!(grid.programs(|_| Some(0)).expect("programs"), [0, 1, 1]);
    }

    #[test]
    fn what_cannot_be_launched_is_refused() {
        let signature: Signature = "rows: i32, YES: true".parse().expect("signature");
        let resolve = |text: &str| {
            let grid: Grid = text.parse().expect(text);
            grid.resolved(&signature).expect_err(text).to_string()
        };
        assert!(resolve("cdiv(columns, 4)").ends_with("there is no number `columns`"));
        assert!(resolve("YES").ends_with("there is no number `YES`"));
        let programs = |text: &str| {
            let grid: Grid = text.parse().expect(text);
            grid.programs(|_| Some(1 << 40))
                .expect_err(text)
                .to_string()
        };
        assert!(programs("rows").contains("axis 0 has more than"));
        assert!(programs("rows * rows").contains("axis 0 has more than"));
        assert!(programs("1, 65536").contains("axis 1 has more than 65535 programs"));
        assert!(programs("cdiv(rows, 0)").contains("the size 0"));
        for text in ["", "1,2,3,4", "cdiv(x)", "2 +", "99999999999"] {
            assert!(text.parse::<Grid>().is_err(), "{text}");
        }
    }
}
