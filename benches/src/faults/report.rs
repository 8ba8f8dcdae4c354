//! What was seen, as tables, and those tables in a document.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use super::target::Kind;

/// What was seen of one server.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The row.
    pub what: String,
    /// What is asked of ours.
    pub bound: String,
    /// What was seen, in words.
    pub seen: String,
    /// Whether that is within the bound.
    pub holds: bool,
    /// Whether it depends on how busy the machine is.
    pub timed: bool,
}

impl Finding {
    /// A fact, however busy the machine is.
    pub fn fact(
        what: impl Into<String>,
        bound: impl Into<String>,
        seen: impl Into<String>,
        holds: bool,
    ) -> Finding {
        Finding { what: what.into(), bound: bound.into(), seen: seen.into(), holds, timed: false }
    }

    /// A time or a share of CPU.
    pub fn timed(
        what: impl Into<String>,
        bound: impl Into<String>,
        seen: impl Into<String>,
        holds: bool,
    ) -> Finding {
        Finding { timed: true, ..Finding::fact(what, bound, seen, holds) }
    }
}

/// What was seen of each server, beside what it is and what is asked.
#[derive(Debug)]
struct Row {
    what: String,
    bound: String,
    cells: Vec<(Kind, String)>,
}

/// The rows of one table.
#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<Row>,
    /// Rows of ours that are out of bounds.
    pub missed: Vec<String>,
}

impl Report {
    /// Adds what was seen of a server. Times out of bounds are not counted as missed if they are `excused`.
    pub fn add(&mut self, kind: Kind, findings: Vec<Finding>, excused: bool) {
        for finding in findings {
            let verdict = if kind == Kind::Waterspout && !finding.holds { " **missed**" } else { "" };
            println!("  {}: {}{verdict}", finding.what, finding.seen);
            let counts = kind == Kind::Waterspout && !(finding.timed && excused);
            if counts && !finding.holds {
                let Finding { what, seen, bound, .. } = &finding;
                self.missed.push(format!("{what}: {seen}, and the bound is {bound}"));
            }
            let cell = (kind, finding.seen + verdict);
            match self.rows.iter_mut().find(|row| row.what == finding.what) {
                Some(row) => row.cells.push(cell),
                None => {
                    self.rows.push(Row { what: finding.what, bound: finding.bound, cells: vec![cell] });
                }
            }
        }
    }

    /// As Markdown.
    pub fn table(&self, kinds: &[Kind]) -> String {
        let mut text = "| fault | bound |".to_owned();
        kinds.iter().for_each(|kind| _ = write!(text, " {} |", kind.name()));
        text += "\n| --- | --- |";
        kinds.iter().for_each(|_| text += " --- |");
        text.push('\n');
        for Row { what, bound, cells } in &self.rows {
            _ = write!(text, "| {what} | {bound} |");
            for kind in kinds {
                let cell = cells.iter().find(|(of, _)| of == kind).map_or("", |(_, seen)| seen.as_str());
                _ = write!(text, " {cell} |");
            }
            text.push('\n');
        }
        text
    }
}

/// Puts `text` between the marks of this program in `document`.
///
/// # Errors
/// When the document cannot be read or written, or has no marks.
pub fn replace_section(document: &Path, text: &str) -> io::Result<()> {
    let old = fs::read_to_string(document)?;
    fs::write(document, with_section(&old, text).ok_or_else(|| io::Error::other("no marks in it"))?)
}

/// Puts the rows of `table` in the place of those in `document` that begin alike.
///
/// # Errors
/// When the document cannot be read or written, or has no such row.
pub fn replace_rows(document: &Path, table: &str) -> io::Result<()> {
    let old = fs::read_to_string(document)?;
    fs::write(document, with_rows(&old, table).ok_or_else(|| io::Error::other("a row is not in it"))?)
}

const BEGIN: &str = "<!-- faults: written by `cargo run --release -p benches --bin faults -- --write` -->\n";
const END: &str = "<!-- end of faults -->\n";

fn with_section(document: &str, text: &str) -> Option<String> {
    let (before, rest) = document.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{}\n{END}{after}", text.trim_end().to_owned() + "\n"))
}

fn with_rows(document: &str, table: &str) -> Option<String> {
    let name = |row: &str| row.strip_prefix("| ")?.split_once(" |").map(|(name, _)| name.to_owned());
    let mut lines: Vec<&str> = document.lines().collect();
    for row in table.lines().skip(2) {
        let place = lines.iter_mut().find(|line| name(line) == name(row))?;
        *place = row;
    }
    Some(lines.join("\n") + "\n")
}

/// Bytes in the unit that is read most easily.
pub fn bytes(bytes: i64) -> String {
    let size = bytes.unsigned_abs() as f64;
    let sign = if bytes < 0 { "-" } else { "" };
    match size {
        _ if size < 1024.0 => format!("{bytes} B"),
        _ if size < 1024.0 * 1024.0 => format!("{sign}{:.1} KiB", size / 1024.0),
        _ => format!("{sign}{:.1} MiB", size / (1024.0 * 1024.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_replaced_and_nothing_else() {
        let document = format!("above\n{BEGIN}old\n{END}below\n");
        let once = with_section(&document, "new\n").unwrap();
        assert_eq!(once, format!("above\n{BEGIN}\nnew\n\n{END}below\n"));
        assert_eq!(with_section(&once, "new\n").unwrap(), once);
        assert_eq!(with_section("nothing", "new"), None);
    }

    #[test]
    fn rows_take_the_place_of_those_that_begin_alike() {
        let document = "above\n| fault | bound |\n| --- | --- |\n| a | 1 |\n| a b | 2 |\nbelow\n";
        let head = "| fault | bound |\n| --- | --- |\n";
        let replaced = with_rows(document, &format!("{head}| a b | 3 |\n"));
        assert_eq!(replaced.unwrap(), document.replace("| a b | 2 |", "| a b | 3 |"));
        assert_eq!(with_rows(document, &format!("{head}| b | 3 |\n")), None);
    }

    #[test]
    fn what_ours_misses_is_kept_and_what_others_miss_is_not() {
        let mut report = Report::default();
        let late = || vec![Finding::timed("a", "1 s", "2 s", false)];
        report.add(Kind::Nginx, late(), false);
        report.add(Kind::Waterspout, late(), true);
        assert!(report.missed.is_empty());
        report.add(Kind::Waterspout, late(), false);
        assert_eq!(report.missed.len(), 1);
        assert!(
            report.table(&[Kind::Waterspout, Kind::Nginx]).contains("| a | 1 s | 2 s **missed** | 2 s |")
        );
    }
}
