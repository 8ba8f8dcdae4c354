//! The comparison's part of `docs/performance.md`, and its pictures. What people have written around it stays.

use std::fs;
use std::io;
use std::path::Path;

use crate::fairness;
use crate::growth::CURVES;
use crate::plots::{Plot, plots};
use crate::report::{aligned, table};
use crate::results::Results;
use crate::scenario::{Field, SCENARIOS, Scenario};
use crate::targets;

/// Everything between these two lines is written by `compare`.
const BEGIN: &str = "<!-- compare: begin -->";
const END: &str = "<!-- compare: end -->";
/// Where the pictures are, beside the page.
const PICTURES: &str = "performance";
/// The scenario whose answers are laid side by side.
const ANSWERS: &str = "plaintext-64";

/// Writes the page's part and the pictures into the folder `docs`.
///
/// # Errors
/// When the page is missing, has no place for it, or a file cannot be written.
pub fn write(results: &Results, docs: &Path) -> io::Result<()> {
    let path = docs.join("performance.md");
    let plots = plots(results);
    let page = with_part(&fs::read_to_string(&path)?, &part(results, &plots))
        .ok_or_else(|| io::Error::other(format!("{} has no lines {BEGIN} and {END}", path.display())))?;
    fs::create_dir_all(docs.join(PICTURES))?;
    for plot in &plots {
        fs::write(docs.join(PICTURES).join(&plot.file), &plot.svg)?;
    }
    fs::write(path, page)
}

/// None without a place for it.
fn with_part(page: &str, part: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{part}\n{END}{after}"))
}

fn part(results: &Results, plots: &[Plot]) -> String {
    let mut sections = vec![about(results)];
    let mut section = |title: &str, text: Option<String>| {
        sections.extend(text.map(|text| format!("### {title}\n\n{text}")));
    };
    section("Where we must stand", targets::table(results));
    section("Pictures", pictures(plots));
    section("How cost grows", steps(results));
    section("Whether they answer alike", answers(results));
    let scenarios = SCENARIOS.iter().filter(|scenario| scenario.field == Field::All);
    let rows =
        scenarios.map(|scenario| (scenario, results.rows(scenario))).filter(|(_, rows)| !rows.is_empty());
    sections.extend(rows.map(|(scenario, rows)| table(scenario, &rows)));
    sections.join("\n")
}

fn about(results: &Results) -> String {
    let mut lines = vec![["this run", ""].map(str::to_string).to_vec()];
    lines.extend(results.about().map(|(what, value)| vec![what.to_string(), value.to_string()]));
    lines.extend(results.left_out().map(|(server, why)| vec![format!("without {server}"), why.to_string()]));
    aligned_to_the_left(&lines)
}

fn aligned_to_the_left(lines: &[Vec<String>]) -> String {
    aligned(lines).replacen("-:|\n", "--|\n", 1)
}

fn pictures(plots: &[Plot]) -> Option<String> {
    let pictures: Vec<String> =
        plots.iter().map(|plot| format!("![{}]({PICTURES}/{})\n", plot.caption, plot.file)).collect();
    (!pictures.is_empty()).then(|| pictures.join("\n"))
}

fn steps(results: &Results) -> Option<String> {
    let steps: Vec<String> = CURVES.iter().filter_map(|curve| curve.steps(results)).collect();
    (!steps.is_empty()).then(|| steps.join("\n"))
}

fn answers(results: &Results) -> Option<String> {
    fairness::table(&results.rows(Scenario::named(ANSWERS)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Key, Record};
    use crate::report::tests::sample;
    use crate::server::OURS;

    fn results() -> Results {
        let mut results = Results::default();
        let key = |scenario| Key::new(scenario, OURS);
        for record in [
            Record::About("kernel".to_string(), "Linux 6".to_string()),
            Record::LeftOut("ntex".to_string(), "error: no".to_string()),
            Record::Slice(key(ANSWERS), 0, sample(10)),
            Record::Head(key(ANSWERS), 113, "content-length content-type date server".to_string()),
            Record::Slice(key("fields-1"), 0, sample(10)),
            Record::Slice(key("fields-3"), 0, sample(11)),
        ] {
            results.add(record).unwrap();
        }
        results
    }

    #[test]
    fn only_what_is_between_the_marks_is_written_anew() {
        let page = format!("# Page\n\nabove\n{BEGIN}\nold\n{END}\nbelow\n");
        let written = with_part(&page, "new").unwrap();
        assert_eq!(written, format!("# Page\n\nabove\n{BEGIN}\n\nnew\n{END}\nbelow\n"));
        assert_eq!(with_part(&written, "new").unwrap(), written);
        assert_eq!(with_part("# Page\n", "new"), None);
    }

    #[test]
    fn the_part_says_who_was_left_out_and_shows_what_was_measured() {
        let results = results();
        let part = part(&results, &plots(&results));
        for expected in [
            "| without ntex | error: no |",
            "### plaintext-64 (64 connections)",
            "performance/cpu-fields.svg",
        ] {
            assert!(part.contains(expected), "{expected} in {part}");
        }
        assert!(!part.contains("### fields-1"), "the points of a curve have no table of their own");
    }

    #[test]
    fn the_page_and_its_pictures_are_written() {
        let docs = tempfile::tempdir().unwrap();
        let page = docs.path().join("performance.md");
        fs::write(&page, "no place").unwrap();
        assert!(write(&results(), docs.path()).is_err());
        fs::write(&page, format!("{BEGIN}\n{END}\n")).unwrap();
        write(&results(), docs.path()).unwrap();
        assert!(fs::read_to_string(page).unwrap().contains("plaintext-64"));
        assert!(docs.path().join("performance/cpu-fields.svg").exists());
    }
}
